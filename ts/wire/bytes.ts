/** Small things on bytes: hex, hashes, and the one form in which anything is signed. */
import { createHash } from 'node:crypto'
import { Malformed } from './cbor.js'

export function toHex(bytes: Uint8Array): string {
  return Buffer.from(bytes.buffer, bytes.byteOffset, bytes.length).toString('hex')
}

/** Bytes of a hex string of exactly `length` bytes; throws `Malformed` on any other. */
export function fromHex(hex: string, length: number): Uint8Array {
  if (hex.length !== length * 2 || !/^[0-9a-f]*$/.test(hex)) throw new Malformed('not lower-case hex of the right length')
  return new Uint8Array(Buffer.from(hex, 'hex'))
}

export function compareBytes(a: Uint8Array, b: Uint8Array): number {
  return Buffer.compare(a, b)
}

export function sha256(...parts: readonly Uint8Array[]): Uint8Array {
  const hash = createHash('sha256')
  for (const part of parts) hash.update(part)
  return new Uint8Array(hash.digest())
}

/** The name of a node: SHA-256('anonnet:1:node-id' || public key) in hex. */
export function nodeIdOf(publicKey: Uint8Array): string {
  return createHash('sha256').update('anonnet:1:node-id').update(publicKey).digest('hex')
}

/** What is signed: ENCAP(domain) | bytes, ENCAP(x) = u64 big-endian length, then x. No signature can be taken for another kind's. */
export function signedMessage(domain: string, bytes: Uint8Array): Uint8Array {
  const message = Buffer.alloc(8 + domain.length + bytes.length)
  message.writeBigUInt64BE(BigInt(domain.length), 0)
  message.write(domain, 8, 'ascii')
  message.set(bytes, 8 + domain.length)
  return message
}

/** A copy that does not keep a larger buffer alive. */
export function copyBytes(bytes: Uint8Array): Uint8Array {
  return Uint8Array.prototype.slice.call(bytes)
}
