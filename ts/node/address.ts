/**
 * The text forms of targets, UDP addresses and bootstrap nodes.
 */

import { isIP, isIPv4, isIPv6 } from 'node:net'
import { errorFromCode } from '../errors/index.js'
import { nodeIdOf } from '../native/index.js'
import { isServiceHost, parseServiceHost, type ServiceAddress } from '../services/index.js'

/** Where a stream goes. */
export interface Target {
  /** A DNS name, or an IPv4 or IPv6 literal without brackets. Resolved at the exit, never here. */
  host: string
  /** 1 to 65535. */
  port: number
}

/** '<public key>@ip:port' with the key as 64 hex digits or 43 base64url characters, or the same in parts. */
export type BootstrapEntry = string | { publicKey: string | Uint8Array; address: string }

/** A bootstrap node, parsed. */
export interface BootstrapPeer {
  /** Ed25519, 32 bytes. */
  publicKey: Uint8Array
  /** 64 hex digits. */
  nodeId: string
  /** 'ip:port', IPv6 in brackets. */
  address: string
}

const MAX_HOST_LENGTH = 253
const HOST_NAME = /^(?!-)[a-z0-9_-]{1,63}(?<!-)(\.(?!-)[a-z0-9_-]{1,63}(?<!-))*\.?$/i

function invalid(detail: string): Error {
  return errorFromCode('ERR_ANONNET_INVALID_ADDRESS', { detail })
}

function parsePort(text: string, least: number): number {
  const port = /^\d{1,5}$/.test(text) ? Number(text) : Number.NaN
  if (!(port >= least && port <= 65535)) throw invalid('the port is not a number from 1 to 65535')
  return port
}

/** 'host:port' or '[v6]:port' in two parts; the last colon divides. */
function split(text: string): [string, string] {
  const bracketed = /^\[([^\]]*)\]:(.*)$/.exec(text)
  if (bracketed !== null) {
    const [, host = '', port = ''] = bracketed
    if (!isIPv6(host)) throw invalid('what stands in brackets is not an IPv6 address')
    return [host, port]
  }
  const colon = text.lastIndexOf(':')
  if (colon < 0) throw invalid('there is no port')
  const host = text.slice(0, colon)
  if (host.includes(':')) throw invalid('an IPv6 address needs brackets')
  return [host, text.slice(colon + 1)]
}

/** Checks a host: an IP literal or a DNS name. Returns it in lower case, without a final dot. */
export function checkHost(host: string): string {
  if (typeof host !== 'string' || host.length === 0 || host.length > MAX_HOST_LENGTH) throw invalid('the name is empty or too long')
  if (isIP(host) !== 0) return host.toLowerCase()
  if (!HOST_NAME.test(host)) throw invalid('the name has characters that names have not')
  const name = host.toLowerCase().replace(/\.$/, '')
  // 1.2.3 and 0x7f.1 are addresses to some resolvers: only what is plainly a name or an address goes out.
  if (/^(0x[0-9a-f]*|\d+)$/.test(name.slice(name.lastIndexOf('.') + 1))) throw invalid('the name looks like an unusual form of an address')
  return name
}

/**
 * Parses a target. A `.anon` name is checked besides: a mistyped one fails here, before anything is sent.
 *
 * @throws ERR_ANONNET_INVALID_ADDRESS; ERR_ANONNET_SERVICE_ADDRESS; ERR_ANONNET_UNSUPPORTED for names of other networks' hidden services.
 */
export function parseTarget(target: string | Target): Target {
  const [host, port] =
    typeof target === 'string'
      ? split(target)
      : [(target as Partial<Target> | null)?.host ?? '', String((target as Partial<Target> | null)?.port ?? '')]
  const checked = { host: checkHost(host), port: parsePort(port, 1) }
  serviceOf(checked.host)
  return checked
}

/**
 * The service that a host (from `checkHost`) names; undefined for other hosts. No exit is ever asked for the names of services: it, and the DNS
 * root, would learn them.
 *
 * @throws ERR_ANONNET_SERVICE_ADDRESS; ERR_ANONNET_UNSUPPORTED for `.onion`.
 */
export function serviceOf(host: string): ServiceAddress | undefined {
  if (/(^|\.)onion$/.test(host)) throw errorFromCode('ERR_ANONNET_UNSUPPORTED', { detail: 'services of Tor are reached through Tor' })
  return isServiceHost(host) ? parseServiceHost(host) : undefined
}

/** Throws ERR_ANONNET_UNSUPPORTED for what names a service: those have no addresses to look up. */
export function refuseServiceNames(host: string): void {
  if (serviceOf(host) !== undefined) throw errorFromCode('ERR_ANONNET_UNSUPPORTED', { detail: 'a service has no address to look up' })
}

/** Parses 'ip:port' of this or another node; port 0 only where `anyPort`. Throws ERR_ANONNET_INVALID_ADDRESS. */
export function parseUdpAddress(address: string, anyPort = false): { ip: string; port: number } {
  if (typeof address !== 'string') throw invalid('an address is a string')
  const [ip, port] = split(address)
  if (isIP(ip) === 0) throw invalid('the address has no literal IP')
  return { ip, port: parsePort(port, anyPort ? 0 : 1) }
}

/** 'ip:port', IPv6 in brackets. */
export function joinAddress(ip: string, port: number): string {
  return isIPv4(ip) ? `${ip}:${port}` : `[${ip}]:${port}`
}

function parseKey(key: string | Uint8Array): Uint8Array {
  if (typeof key === 'string') {
    if (/^[0-9a-f]{64}$/i.test(key)) return Uint8Array.from(Buffer.from(key, 'hex'))
    if (/^[\w-]{43}$/.test(key)) return Uint8Array.from(Buffer.from(key, 'base64url'))
  } else if (key instanceof Uint8Array && key.length === 32) {
    return Uint8Array.from(key)
  }
  throw invalid('the public key of a bootstrap node is 64 hex digits, 43 base64url characters or 32 bytes')
}

/** Parses an entry of the bootstrap list. Throws ERR_ANONNET_INVALID_ADDRESS, ERR_ANONNET_KEY_INVALID. */
export function parseBootstrap(entry: BootstrapEntry): BootstrapPeer {
  let parts = entry as { publicKey: string | Uint8Array; address: string }
  if (typeof entry === 'string') {
    const at = entry.indexOf('@')
    if (at < 0) throw invalid("a bootstrap entry is '<public key>@ip:port'")
    parts = { publicKey: entry.slice(0, at), address: entry.slice(at + 1) }
  } else if (typeof entry !== 'object' || entry === null) {
    throw invalid("a bootstrap entry is '<public key>@ip:port' or an object of both")
  }
  const publicKey = parseKey(parts.publicKey)
  const { ip, port } = parseUdpAddress(parts.address)
  return { publicKey, nodeId: nodeIdOf(publicKey), address: joinAddress(ip, port) }
}

/** The text form of a bootstrap node: 'hex@ip:port'. */
export function formatBootstrap(publicKey: Uint8Array, address: string): string {
  return `${Buffer.from(publicKey).toString('hex')}@${address}`
}
