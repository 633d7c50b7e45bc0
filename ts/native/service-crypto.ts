/**
 * The addon's operations on the keys of services, in the form that ts/services takes them.
 */

import { randomBytes } from 'node:crypto'
import { guarded } from './guarded.js'
import { verify } from './keys.js'
import { loadAddon } from './loader.js'

/** Copies: what comes from the native side must not keep a larger buffer alive, nor change. */
function bytes(call: () => Buffer): Uint8Array {
  return Uint8Array.from(guarded(call))
}

/** Errors are those of the addon: ERR_ANONNET_KEY_INVALID, _RECORD_INVALID, _INVALID_ARGUMENT. */
export const serviceCrypto = {
  publicKey: (seed: Uint8Array) => bytes(() => loadAddon().servicePublicKey(seed)),
  blind: (publicKey: Uint8Array, period: number) => bytes(() => loadAddon().serviceBlind(publicKey, period)),
  subcredential: (publicKey: Uint8Array, period: number) => bytes(() => loadAddon().serviceSubcredential(publicKey, period)),
  sign: (seed: Uint8Array, period: number, message: Uint8Array) => bytes(() => loadAddon().serviceSign(seed, period, message)),
  verify,
  x25519Public: (secret: Uint8Array) => bytes(() => loadAddon().x25519Public(secret)),
  x25519Agree: (secret: Uint8Array, publicKey: Uint8Array) => bytes(() => loadAddon().x25519Agree(secret, publicKey)),
  seal: (key: Uint8Array, purpose: string, plaintext: Uint8Array) => bytes(() => loadAddon().sealRecord(key, purpose, plaintext)),
  open: (key: Uint8Array, purpose: string, record: Uint8Array) => bytes(() => loadAddon().openRecord(key, purpose, record)),
  randomBytes: (count: number) => Uint8Array.from(randomBytes(count))
}

/** Whether a nonce (16 bytes) proves an effort; takes about a millisecond. */
export function powVerify(seed: Uint8Array, blinded: Uint8Array, nonce: Uint8Array, effort: number): boolean {
  return guarded(() => loadAddon().powVerify(seed, blinded, nonce, effort))
}
