/**
 * Client authorization. The inner part of a descriptor is sealed with a secret that only authorised clients can get at: for each there
 * is an entry of 40 bytes in the outer part, 8 to find it by and the secret under a pad that comes from a key exchange. Entries come in
 * multiples of 16, filled with random ones and in random order, also without any authorization: nobody can tell how many there are.
 */
import { createHash } from 'node:crypto'
import { errorFromCode } from '../errors/index.js'
import { signedMessage } from '../wire/index.js'
import { AUTH_STEP, MAX_AUTH_CLIENTS } from './limits.js'
import type { ServiceCrypto } from './types.js'

const DOMAIN = 'anonnet:1:service-client'
const ID_BYTES = 8
export const SECRET_BYTES = 32
export const ENTRY_BYTES = ID_BYTES + SECRET_BYTES
/** What stands for the secret where there is no authorization. */
export const NO_SECRET: Uint8Array = new Uint8Array(SECRET_BYTES)

/** The outer part's half: a key of this descriptor alone, and the entries one after the other. */
export interface AuthEntries {
  readonly ephemeral: Uint8Array
  readonly entries: Uint8Array
}

/** 8 bytes to find an entry by and 32 to cover it with, SHAKE256 of what client and service share and nobody else has. */
function pads(crypto: ServiceCrypto, secret: Uint8Array, publicKey: Uint8Array, subcredential: Uint8Array): Uint8Array {
  const shared = crypto.x25519Agree(secret, publicKey)
  return new Uint8Array(
    createHash('shake256', { outputLength: ENTRY_BYTES })
      .update(signedMessage(DOMAIN, Buffer.concat([subcredential, shared])))
      .digest()
  )
}

function covered(secret: Uint8Array, pad: Uint8Array): Uint8Array {
  return secret.map((byte, index) => byte ^ (pad[ID_BYTES + index] ?? 0))
}

/**
 * The entries of a descriptor. `clients` are X25519 keys; without any the entries are all random and `secret` is not in them.
 * Throws ERR_ANONNET_RESOURCE_LIMIT for more than MAX_AUTH_CLIENTS, ERR_ANONNET_KEY_INVALID for a key that is none.
 */
export function writeEntries(
  crypto: ServiceCrypto,
  clients: readonly Uint8Array[],
  secret: Uint8Array,
  subcredential: Uint8Array
): AuthEntries {
  if (clients.length > MAX_AUTH_CLIENTS) throw errorFromCode('ERR_ANONNET_RESOURCE_LIMIT', { detail: 'authorised clients' })
  const ephemeralSecret = crypto.randomBytes(32)
  const real = clients.map((client) => {
    const pad = pads(crypto, ephemeralSecret, client, subcredential)
    return Buffer.concat([pad.subarray(0, ID_BYTES), covered(secret, pad)])
  })
  const count = Math.max(AUTH_STEP, Math.ceil(real.length / AUTH_STEP) * AUTH_STEP)
  const all = [...real, ...Array.from({ length: count - real.length }, () => Buffer.from(crypto.randomBytes(ENTRY_BYTES)))]
  return { ephemeral: crypto.x25519Public(ephemeralSecret), entries: Uint8Array.from(Buffer.concat(shuffled(all, crypto))) }
}

/** The secret that an entry holds for a client; undefined when there is none for it. */
export function readEntry(
  crypto: ServiceCrypto,
  { ephemeral, entries }: AuthEntries,
  clientSecret: Uint8Array,
  subcredential: Uint8Array
): Uint8Array | undefined {
  const pad = pads(crypto, clientSecret, ephemeral, subcredential)
  for (let at = 0; at + ENTRY_BYTES <= entries.length; at += ENTRY_BYTES) {
    const entry = entries.subarray(at, at + ENTRY_BYTES)
    if (Buffer.compare(entry.subarray(0, ID_BYTES), pad.subarray(0, ID_BYTES)) === 0) return covered(entry.subarray(ID_BYTES), pad)
  }
  return undefined
}

function shuffled<T>(items: readonly T[], crypto: ServiceCrypto): T[] {
  const order = items.map((item) => ({ item, by: Buffer.from(crypto.randomBytes(8)).readBigUInt64BE() }))
  return order.sort((a, b) => (a.by < b.by ? -1 : 1)).map(({ item }) => item)
}
