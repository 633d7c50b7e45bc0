// Protocol section 5's hashes and records, from node:crypto alone.
import { createCipheriv, createDecipheriv, createHash, hkdfSync } from 'node:crypto'

export const concat = (...parts: readonly Uint8Array[]): Buffer => Buffer.concat(parts)

/** u64 length, then the bytes. */
export function encap(bytes: Uint8Array): Buffer {
  const length = Buffer.alloc(8)
  length.writeBigUInt64BE(BigInt(bytes.length))
  return concat(length, bytes)
}

export const ascii = (text: string): Buffer => Buffer.from(text, 'ascii')

export function h(domain: string, ...parts: readonly Uint8Array[]): Buffer {
  return createHash('sha3-256')
    .update(concat(encap(ascii(domain)), ...parts))
    .digest()
}

export function xof(domain: string, length: number, ...parts: readonly Uint8Array[]): Buffer {
  return createHash('shake256', { outputLength: length })
    .update(concat(encap(ascii(domain)), ...parts))
    .digest()
}

export function nodeId(publicKey: Uint8Array): Buffer {
  return createHash('sha256').update(ascii('anonnet:1:node-id')).update(publicKey).digest()
}

const zeroNonce = Buffer.alloc(12)

/** nonce[12] | ciphertext | tag[16] under a key that seals once, with nonce 0. */
export function seal(key: Uint8Array, aad: Uint8Array, plaintext: Uint8Array): Buffer {
  const cipher = createCipheriv('aes-256-gcm', key, zeroNonce).setAAD(aad)
  const ciphertext = concat(cipher.update(plaintext), cipher.final())
  return concat(zeroNonce, ciphertext, cipher.getAuthTag())
}

/** The inverse of `seal`; throws when the record was changed. */
export function open(key: Uint8Array, aad: Uint8Array, record: Buffer): Buffer {
  if (record.length < 28 || !record.subarray(0, 12).equals(zeroNonce)) throw new Error('not a record of a single-use key')
  const decipher = createDecipheriv('aes-256-gcm', key, zeroNonce).setAAD(aad).setAuthTag(record.subarray(-16))
  return concat(decipher.update(record.subarray(12, -16)), decipher.final())
}

/** salt[32] | record: a fresh key for every record of a key that outlives them. */
export function sealSalted(key: Uint8Array, salt: Uint8Array, purpose: string, aad: Uint8Array, plaintext: Uint8Array): Buffer {
  return concat(salt, seal(Buffer.from(hkdfSync('sha256', key, salt, purpose, 32)), aad, plaintext))
}
