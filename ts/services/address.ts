/** The names of services: base32(key[32] | checksum[2] | version[1]) + '.anon'; '.anon.alt' means the same (RFC 9476). */
import { errorFromCode } from '../errors/index.js'
import { domainHash } from '../wire/index.js'
import type { ServiceAddress } from './types.js'

const ALPHABET = 'abcdefghijklmnopqrstuvwxyz234567'
const VERSION = 1
const NAME_CHARS = 56
const CHECKSUM_DOMAIN = 'anonnet:1:service-checksum'

/** Whether a host (lower case) names a service, rightly or not: nobody else may be asked for it. */
export function isServiceHost(host: string): boolean {
  return /(^|\.)anon(\.alt)?$/.test(host)
}

function checksum(publicKey: Uint8Array): Uint8Array {
  return domainHash(CHECKSUM_DOMAIN, publicKey, Uint8Array.of(VERSION)).subarray(0, 2)
}

/** The 56 characters of a service's key. */
export function serviceName(publicKey: Uint8Array): string {
  const bytes = [...publicKey, ...checksum(publicKey), VERSION]
  let name = ''
  for (let at = 0; at < bytes.length; at += 5) {
    // Five bytes are eight characters; 35 bytes come out even. 40 bits are more than a shift can hold.
    let value = bytes.slice(at, at + 5).reduce((sum, byte) => sum * 256 + byte, 0)
    let part = ''
    for (let i = 0; i < 8; i++) {
      part = `${ALPHABET[value % 32] ?? ''}${part}`
      value = Math.floor(value / 32)
    }
    name += part
  }
  return name
}

function bad(detail: string): Error {
  return errorFromCode('ERR_ANONNET_SERVICE_ADDRESS', { detail })
}

/**
 * The service that a host names; what stands before the 56 characters are sub-domains of it.
 *
 * @param host lower case; '<56 characters>.anon' or '.anon.alt'.
 * @throws ERR_ANONNET_SERVICE_ADDRESS when it was mistyped: length, characters, checksum or version do not fit.
 */
export function parseServiceHost(host: string): ServiceAddress {
  const name = /(?:^|\.)([^.]*)\.anon(?:\.alt)?$/.exec(host)?.[1]
  if (name === undefined) throw bad('the name has no key before its ending')
  if (name.length !== NAME_CHARS) throw bad(`the name has ${name.length} characters, not ${NAME_CHARS}`)
  const bytes: number[] = []
  for (let at = 0; at < NAME_CHARS; at += 8) {
    let value = 0
    for (const letter of name.slice(at, at + 8)) {
      const digit = ALPHABET.indexOf(letter)
      if (digit < 0) throw bad('the name has a character that such names have not')
      value = value * 32 + digit
    }
    for (let i = 4; i >= 0; i--) bytes.push(Math.floor(value / 256 ** i) % 256)
  }
  const publicKey = Uint8Array.from(bytes.slice(0, 32))
  const expected = checksum(publicKey)
  if (bytes[34] !== VERSION) throw bad('the name is of another version')
  if (bytes[32] !== expected[0] || bytes[33] !== expected[1]) throw bad('the checksum is wrong: a character was mistyped')
  return { publicKey, name }
}
