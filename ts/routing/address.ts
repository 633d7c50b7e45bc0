/** IP addresses as numbers, and the prefixes that hold relays apart. */

/** An address: 4 or 16 bytes. An IPv4-mapped IPv6 address counts as the IPv4 address that it is. */
export interface IpAddress {
  readonly family: 4 | 6
  readonly bytes: readonly number[]
}

/** Parses a literal, without port and brackets; undefined for anything else, also for a name. */
export function parseIp(text: string): IpAddress | undefined {
  return text.includes(':') ? parseV6(text) : parseV4(text)
}

function parseV4(text: string): IpAddress | undefined {
  const parts = text.split('.')
  if (parts.length !== 4) return undefined
  const bytes: number[] = []
  for (const part of parts) {
    // No leading zeros: some parsers read them as octal, and two readings of one address are one too many.
    if (!/^(?:0|[1-9]\d{0,2})$/.test(part)) return undefined
    const value = Number(part)
    if (value > 255) return undefined
    bytes.push(value)
  }
  return { family: 4, bytes }
}

function parseV6(text: string): IpAddress | undefined {
  let rest = text
  let tail: readonly number[] = []
  const lastColon = rest.lastIndexOf(':')
  if (rest.includes('.')) {
    const v4 = parseV4(rest.slice(lastColon + 1))
    if (v4 === undefined) return undefined
    tail = v4.bytes
    rest = rest.slice(0, lastColon + 1)
    // 'x::' before the IPv4 part keeps its '::', 'x:' loses the colon that joined the two.
    if (!rest.endsWith('::')) rest = rest.slice(0, -1)
  }
  const halves = rest.split('::')
  if (halves.length > 2) return undefined
  const head = groups(halves[0] ?? '')
  const end = halves.length === 2 ? groups(halves[1] ?? '') : []
  if (head === undefined || end === undefined) return undefined
  const known = head.length + end.length + tail.length
  if (halves.length === 2 ? known > 14 : known !== 16) return undefined
  const bytes = [...head, ...new Array<number>(16 - known).fill(0), ...end, ...tail]
  const mapped = bytes.slice(0, 10).every((byte) => byte === 0) && bytes[10] === 255 && bytes[11] === 255
  return mapped ? { family: 4, bytes: bytes.slice(12) } : { family: 6, bytes }
}

function groups(text: string): number[] | undefined {
  if (text === '') return []
  const bytes: number[] = []
  for (const group of text.split(':')) {
    if (!/^[0-9a-f]{1,4}$/i.test(group)) return undefined
    const value = Number.parseInt(group, 16)
    bytes.push(value >> 8, value & 255)
  }
  return bytes
}

/** The address part of 'ip:port' or '[ip]:port'. */
export function parseHostOfAddress(address: string): IpAddress | undefined {
  const match = /^(?:\[([^\]]*)\]|([^:[\]]*)):\d{1,5}$/.exec(address)
  const host = match?.[1] ?? match?.[2]
  return host === undefined ? undefined : parseIp(host)
}

/** What two relays of one path must not share: the /16 of IPv4, the /32 of IPv6. Undefined for what is no address. */
export function prefixOf(address: string): string | undefined {
  const ip = parseHostOfAddress(address)
  if (ip === undefined) return undefined
  return `${ip.family}/${ip.bytes.slice(0, ip.family === 4 ? 2 : 4).join('.')}`
}

/** Whether the first `bits` bits of two addresses of one family are the same. */
export function inNetwork(ip: IpAddress, network: IpAddress, bits: number): boolean {
  if (ip.family !== network.family) return false
  for (let index = 0, left = bits; left > 0; index++, left -= 8) {
    const mask = left >= 8 ? 255 : (255 << (8 - left)) & 255
    if (((ip.bytes[index] ?? 0) & mask) !== ((network.bytes[index] ?? 0) & mask)) return false
  }
  return true
}
