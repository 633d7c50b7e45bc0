/**
 * Descriptors of services: the payload of a record that the blinded key signed. Two layers, each sealed: the outer one opens to who knows
 * the address, the inner one to who is authorised besides. Nothing outside of them but the size, and that in steps of 4 KiB.
 */
import { errorFromCode, isAnonNetError } from '../errors/index.js'
import {
  asArray,
  asBytes,
  asBytesUpTo,
  asFields,
  asTuple,
  asUint,
  copyBytes,
  decodeCbor,
  domainHash,
  encodeCbor,
  fault,
  fromHex,
  guard,
  Malformed,
  toHex,
  u64
} from '../wire/index.js'
import { type AuthEntries, ENTRY_BYTES, NO_SECRET, readEntry, SECRET_BYTES, writeEntries } from './authorization.js'
import {
  AUTH_STEP,
  DESCRIPTOR_STEP_BYTES,
  INNER_STEP_BYTES,
  MAX_AUTH_CLIENTS,
  MAX_DESCRIPTOR_BYTES,
  MAX_INTRO_POINTS,
  MAX_POW_EFFORT
} from './limits.js'
import { pad, padToStep, unpad } from './padding.js'
import type { IntroPoint, ServiceCrypto, ServiceDescriptor } from './types.js'

const INVALID = 'ERR_ANONNET_RECORD_INVALID'
const FORMAT = 1
const OUTER_DOMAIN = 'anonnet:1:service-outer'
const INNER_DOMAIN = 'anonnet:1:service-inner'
const KEM_KEY_BYTES = 1184
const OUTER_LIMITS = { maxBytes: MAX_DESCRIPTOR_BYTES, maxDepth: 1, maxItems: 16 }
const INNER_LIMITS = { maxBytes: MAX_DESCRIPTOR_BYTES, maxDepth: 3, maxItems: 64 }

/** Which descriptor of which service: both layers are bound to all of it. */
export interface DescriptorPlace {
  /** The service's own key. */
  readonly publicKey: Uint8Array
  readonly period: number
  /** The record's seq. */
  readonly revision: number
}

interface LayerKeys {
  readonly subcredential: Uint8Array
  readonly outer: Uint8Array
  inner(secret: Uint8Array): Uint8Array
}

function keysOf(crypto: ServiceCrypto, { publicKey, period, revision }: DescriptorPlace): LayerKeys {
  const blinded = crypto.blind(publicKey, period)
  const subcredential = crypto.subcredential(publicKey, period)
  const bound = [blinded, subcredential, u64(revision)]
  return {
    subcredential,
    outer: domainHash(`${OUTER_DOMAIN}-key`, ...bound),
    inner: (secret) => domainHash(`${INNER_DOMAIN}-key`, ...bound, secret)
  }
}

/**
 * Seals a descriptor. `clients`: the X25519 keys of those who may read it, empty for everybody.
 *
 * @returns a multiple of 4096 bytes, 16 KiB at most.
 * @throws ERR_ANONNET_RESOURCE_LIMIT, ERR_ANONNET_KEY_INVALID.
 */
export function sealDescriptor(
  crypto: ServiceCrypto,
  place: DescriptorPlace,
  { introPoints, pow }: ServiceDescriptor,
  clients: readonly Uint8Array[] = []
): Uint8Array {
  if (introPoints.length > MAX_INTRO_POINTS) throw errorFromCode('ERR_ANONNET_RESOURCE_LIMIT', { detail: 'introduction points' })
  const keys = keysOf(crypto, place)
  const secret = clients.length === 0 ? NO_SECRET : crypto.randomBytes(SECRET_BYTES)
  const inner = encodeCbor({
    v: FORMAT,
    points: introPoints.map(({ nodeId, authKey, onionKey, kemKey }) => [fromHex(nodeId, 32), authKey, onionKey, kemKey]),
    ...(pow === undefined || pow.effort === 0 ? {} : { pow: [pow.seed, pow.effort] })
  })
  const { ephemeral, entries } = writeEntries(crypto, clients, secret, keys.subcredential)
  const sealed = crypto.seal(keys.inner(secret), INNER_DOMAIN, padToStep(inner, INNER_STEP_BYTES))
  const outer = encodeCbor({ v: FORMAT, ephemeral, entries, inner: sealed })
  // What sealing adds is the same for every length, so the smallest thing sealed tells it.
  const overhead = crypto.seal(keys.outer, OUTER_DOMAIN, new Uint8Array(0)).length
  const steps = Math.ceil((outer.length + 4 + overhead) / DESCRIPTOR_STEP_BYTES)
  if (steps * DESCRIPTOR_STEP_BYTES > MAX_DESCRIPTOR_BYTES) throw errorFromCode('ERR_ANONNET_RESOURCE_LIMIT', { detail: 'descriptor' })
  return crypto.seal(keys.outer, OUTER_DOMAIN, pad(outer, steps * DESCRIPTOR_STEP_BYTES - overhead))
}

/**
 * Opens the descriptor of a record whose signature, key and times were verified.
 *
 * @throws ERR_ANONNET_RECORD_INVALID; ERR_ANONNET_CLIENT_AUTH when it needs authorization and there is no `clientSecret`,
 * ERR_ANONNET_CLIENT_AUTH_WRONG when that one is not authorised.
 */
export function openDescriptor(
  crypto: ServiceCrypto,
  place: DescriptorPlace,
  payload: Uint8Array,
  clientSecret?: Uint8Array
): ServiceDescriptor {
  return guard(INVALID, () => {
    if (payload.length > MAX_DESCRIPTOR_BYTES) throw new Malformed('too large')
    const keys = keysOf(crypto, place)
    const outer = readOuter(unpad(opened(crypto, keys.outer, OUTER_DOMAIN, payload)))
    return readInner(unpad(openInner(crypto, keys, outer, clientSecret)))
  })
}

function opened(crypto: ServiceCrypto, key: Uint8Array, purpose: string, sealed: Uint8Array): Uint8Array {
  try {
    return crypto.open(key, purpose, sealed)
  } catch {
    throw fault(INVALID, 'does not open')
  }
}

function openInner(
  crypto: ServiceCrypto,
  keys: LayerKeys,
  outer: AuthEntries & { inner: Uint8Array },
  clientSecret: Uint8Array | undefined
): Uint8Array {
  const attempt = (secret: Uint8Array): Uint8Array | undefined => {
    try {
      return crypto.open(keys.inner(secret), INNER_DOMAIN, outer.inner)
    } catch {
      return undefined
    }
  }
  const open = attempt(NO_SECRET)
  if (open !== undefined) return open
  if (clientSecret === undefined) throw errorFromCode('ERR_ANONNET_CLIENT_AUTH')
  const secret = readEntry(crypto, outer, clientSecret, keys.subcredential)
  const plain = secret === undefined ? undefined : attempt(secret)
  if (plain === undefined) throw errorFromCode('ERR_ANONNET_CLIENT_AUTH_WRONG')
  return plain
}

function readOuter(bytes: Uint8Array): AuthEntries & { inner: Uint8Array } {
  const fields = asFields(decodeCbor(bytes, OUTER_LIMITS), ['v', 'ephemeral', 'entries', 'inner'])
  if (fields.v !== FORMAT) throw new Malformed('unknown format')
  const entries = asBytesUpTo(fields.entries, 'entries', MAX_AUTH_CLIENTS * ENTRY_BYTES)
  if (entries.length === 0 || entries.length % (AUTH_STEP * ENTRY_BYTES) !== 0) throw new Malformed('entries out of step')
  return {
    ephemeral: asBytes(fields.ephemeral, 'ephemeral', 32),
    entries,
    inner: asBytesUpTo(fields.inner, 'inner', MAX_DESCRIPTOR_BYTES)
  }
}

function readInner(bytes: Uint8Array): ServiceDescriptor {
  const fields = asFields(decodeCbor(bytes, INNER_LIMITS), ['v', 'points'], ['pow'])
  if (fields.v !== FORMAT) throw new Malformed('unknown format')
  const introPoints = asArray(fields.points, 'points', MAX_INTRO_POINTS).map(readPoint)
  if (new Set(introPoints.map(({ authKey }) => toHex(authKey))).size !== introPoints.length) throw new Malformed('a point twice')
  return { introPoints, pow: fields.pow === undefined ? undefined : readPow(fields.pow) }
}

function readPoint(value: unknown): IntroPoint {
  const [nodeId, authKey, onionKey, kemKey] = asTuple(value, 'point', 4)
  return {
    nodeId: toHex(asBytes(nodeId, 'node', 32)),
    authKey: copyBytes(asBytes(authKey, 'key', 32)),
    onionKey: copyBytes(asBytes(onionKey, 'key', 32)),
    kemKey: copyBytes(asBytes(kemKey, 'key', KEM_KEY_BYTES))
  }
}

function readPow(value: unknown): { seed: Uint8Array; effort: number } {
  const [seed, effort] = asTuple(value, 'pow', 2)
  return { seed: copyBytes(asBytes(seed, 'seed', 32)), effort: asUint(effort, 'effort', MAX_POW_EFFORT, 1) }
}

/** Whether an error says that somebody is not authorised, rather than that something is broken. */
export function isAuthError(error: unknown): boolean {
  return isAnonNetError(error) && (error.code === 'ERR_ANONNET_CLIENT_AUTH' || error.code === 'ERR_ANONNET_CLIENT_AUTH_WRONG')
}
