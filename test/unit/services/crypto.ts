/** The operations of services in plain JavaScript, independent of the addon: only what the tests need, not in constant time. */
import { createCipheriv, createDecipheriv, createHash, createHmac, hkdfSync } from 'node:crypto'
import { ed25519, x25519 } from '@noble/curves/ed25519.js'
import type { ServiceCrypto } from '../../../ts/services/types.js'
import { seededBytes } from '../dht/helpers.js'
import { verify } from '../directory/helpers.js'

const Point = ed25519.Point
const ORDER = Point.Fn.ORDER

function number(bytes: Uint8Array): bigint {
  return [...bytes].reduceRight((sum, byte) => (sum << 8n) | BigInt(byte), 0n)
}

function bytesOf(value: bigint): Uint8Array {
  return Uint8Array.from({ length: 32 }, (_, index) => Number((value >> BigInt(8 * index)) & 255n))
}

function factor(publicKey: Uint8Array, period: number): bigint {
  const hash = createHash('sha512').update('blind').update(publicKey).update(String(period)).digest()
  return (number(hash) % (ORDER - 1n)) + 1n
}

/** Deterministic for a seed. */
export function plainCrypto(seed = 1): ServiceCrypto {
  const randomBytes = seededBytes(seed)
  const keyFor = (key: Uint8Array, purpose: string, salt: Uint8Array) => Buffer.from(hkdfSync('sha256', key, salt, purpose, 32))
  const blind = (publicKey: Uint8Array, period: number) => Point.fromBytes(publicKey).multiply(factor(publicKey, period)).toBytes()
  return {
    publicKey: (secret) => ed25519.getPublicKey(secret),
    blind,
    subcredential: (publicKey, period) =>
      new Uint8Array(createHash('sha256').update('sub').update(publicKey).update(String(period)).digest()),
    sign: (secret, period, message) => {
      const publicKey = ed25519.getPublicKey(secret)
      const scalar = (ed25519.utils.getExtendedPublicKey(secret).scalar * factor(publicKey, period)) % ORDER
      const blinded = blind(publicKey, period)
      const nonce = number(createHmac('sha512', secret).update(message).digest()) % ORDER
      const r = Point.BASE.multiply(nonce).toBytes()
      const challenge = number(createHash('sha512').update(r).update(blinded).update(message).digest()) % ORDER
      return new Uint8Array(Buffer.concat([r, bytesOf((nonce + challenge * scalar) % ORDER)]))
    },
    verify,
    x25519Public: (secret) => x25519.getPublicKey(secret),
    x25519Agree: (secret, publicKey) => x25519.getSharedSecret(secret, publicKey),
    seal: (key, purpose, plaintext) => {
      const salt = randomBytes(32)
      const cipher = createCipheriv('aes-256-gcm', keyFor(key, purpose, salt), Buffer.alloc(12))
      return new Uint8Array(Buffer.concat([salt, cipher.update(plaintext), cipher.final(), cipher.getAuthTag()]))
    },
    open: (key, purpose, record) => {
      const bytes = Buffer.from(record)
      const decipher = createDecipheriv('aes-256-gcm', keyFor(key, purpose, bytes.subarray(0, 32)), Buffer.alloc(12))
      decipher.setAuthTag(bytes.subarray(-16))
      return new Uint8Array(Buffer.concat([decipher.update(bytes.subarray(32, -16)), decipher.final()]))
    },
    randomBytes
  }
}

/** A service's seed and key. */
export function makeService(n = 1, crypto = plainCrypto()): { seed: Uint8Array; publicKey: Uint8Array } {
  const seed = new Uint8Array(createHash('sha256').update(`service ${n}`).digest())
  return { seed, publicKey: crypto.publicKey(seed) }
}
