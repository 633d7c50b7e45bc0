/** Numeric socket addresses: the one form on the wire is 'a.b.c.d:port' or '[v6]:port', never a name. */
import { isIPv4, isIPv6 } from 'node:net'
import { Malformed } from './cbor.js'

export interface SocketAddress {
  /** 4 bytes, or 16. */
  readonly ip: Uint8Array
  readonly port: number
}

/** Throws `Malformed` on anything but a numeric address with a port of 1 to 65535. */
export function parseAddress(address: string): SocketAddress {
  const match = /^(?:\[([0-9a-fA-F:.]{2,45})\]|([0-9.]{7,15})):([1-9][0-9]{0,4})$/.exec(address)
  const port = Number(match?.[3])
  if (!match || port > 65535) throw new Malformed('not a numeric address with a port')
  return { ip: parseIp(match[1] ?? match[2] ?? ''), port }
}

/** 4 bytes for IPv4 (also when written as ::ffff:a.b.c.d), 16 for IPv6. Throws `Malformed`. */
export function parseIp(text: string): Uint8Array {
  if (isIPv4(text)) return parseDotted(text)
  if (!isIPv6(text) || text.includes('%')) throw new Malformed('not an IP address')
  const dotted = /^(.*:)(\d+)\.(\d+)\.(\d+)\.(\d+)$/.exec(text)
  const plain = dotted
    ? `${dotted[1]}${((Number(dotted[2]) << 8) | Number(dotted[3])).toString(16)}:${((Number(dotted[4]) << 8) | Number(dotted[5])).toString(16)}`
    : text
  const [head = '', tail] = plain.split('::')
  const left = head === '' ? [] : head.split(':')
  const right = tail === undefined || tail === '' ? [] : tail.split(':')
  const groups = tail === undefined ? left : [...left, ...new Array<string>(8 - left.length - right.length).fill('0'), ...right]
  const bytes = new Uint8Array(16)
  groups.forEach((group, index) => {
    const value = Number.parseInt(group, 16)
    bytes[2 * index] = value >> 8
    bytes[2 * index + 1] = value & 255
  })
  const mapped = bytes.subarray(0, 10).every((byte) => byte === 0) && bytes[10] === 255 && bytes[11] === 255
  return mapped ? bytes.slice(12) : bytes
}

function parseDotted(text: string): Uint8Array {
  const bytes = new Uint8Array(4)
  let index = 0
  for (let at = 0; at < text.length; at++) {
    const digit = text.charCodeAt(at) - 48
    if (digit < 0) index++
    else bytes[index] = (bytes[index] ?? 0) * 10 + digit
  }
  return bytes
}

export interface PrefixBits {
  readonly v4: number
  readonly v6: number
}

/** /24 and /48: one customer. */
export const NARROW_PREFIX: PrefixBits = { v4: 24, v6: 48 }
/** /16 and /32: one provider. */
export const WIDE_PREFIX: PrefixBits = { v4: 16, v6: 32 }

/** A key that addresses of the same prefix share. Throws `Malformed` when `address` is not one. */
export function prefixOf(address: string, bits: PrefixBits): string {
  const { ip } = parseAddress(address)
  const v4 = ip.length === 4
  return `${v4 ? '4' : '6'}:${Buffer.from(ip.subarray(0, (v4 ? bits.v4 : bits.v6) / 8)).toString('hex')}`
}
