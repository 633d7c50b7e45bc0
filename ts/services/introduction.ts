/** What a client tells a service through the introduction point: sealed by the native side, here its form. Always 256 bytes. */
import { asBytes, asFields, asTuple, asUint, copyBytes, decodeCbor, encodeCbor, fromHex, guard, toHex } from '../wire/index.js'
import { INTRODUCE_BYTES, MAX_POW_EFFORT } from './limits.js'
import { pad, unpad } from './padding.js'
import type { Introduction, PowProof } from './types.js'

const LIMITS = { maxBytes: INTRODUCE_BYTES, maxDepth: 2, maxItems: 16 }
export const COOKIE_BYTES = 20
export const SEED_HEAD_BYTES = 4

/** The 256 bytes of an introduction. */
export function writeIntroduction({ cookie, rendezvous, pow }: Introduction): Uint8Array {
  const value = {
    cookie,
    rendezvous: fromHex(rendezvous, 32),
    ...(pow === undefined ? {} : { pow: [pow.seedHead, pow.nonce, pow.effort] })
  }
  return pad(encodeCbor(value), INTRODUCE_BYTES)
}

/** Reads what a client sent. Throws ERR_ANONNET_RECORD_INVALID. */
export function readIntroduction(bytes: Uint8Array): Introduction {
  return guard('ERR_ANONNET_RECORD_INVALID', () => {
    const fields = asFields(decodeCbor(unpad(bytes), LIMITS), ['cookie', 'rendezvous'], ['pow'])
    return {
      cookie: copyBytes(asBytes(fields.cookie, 'cookie', COOKIE_BYTES)),
      rendezvous: toHex(asBytes(fields.rendezvous, 'rendezvous', 32)),
      pow: fields.pow === undefined ? undefined : readPow(fields.pow)
    }
  })
}

function readPow(value: unknown): PowProof {
  const [seedHead, nonce, effort] = asTuple(value, 'pow', 3)
  return {
    seedHead: copyBytes(asBytes(seedHead, 'seed', SEED_HEAD_BYTES)),
    nonce: copyBytes(asBytes(nonce, 'nonce', 16)),
    effort: asUint(effort, 'effort', MAX_POW_EFFORT, 1)
  }
}
