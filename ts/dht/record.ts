/** Signed records: CBOR `[body, signature]`, the signature over ENCAP('anonnet:1:record') | body, exactly as received. */
import type { Signer, Verify } from '../directory/types.js'
import {
  asBytes,
  asBytesUpTo,
  asFields,
  asTuple,
  asUint,
  copyBytes,
  decodeCbor,
  encodeCbor,
  fault,
  fromHex,
  guard,
  Malformed,
  nodeIdOf,
  SERVICE_OVERLAP_S,
  SERVICE_PERIOD_S,
  SERVICE_REPLICAS,
  SERVICE_TTL_S,
  serviceKey,
  sha256,
  signedMessage,
  toHex
} from '../wire/index.js'
import { MAX_PAYLOAD_BYTES, MAX_RECORD_BYTES, MAX_RECORD_TTL_S, RECORD_CLOCK_TOLERANCE_S } from './limits.js'

export const RECORD_DOMAIN = 'anonnet:1:record'
const FORMAT = 1
const INVALID = 'ERR_ANONNET_RECORD_INVALID'
const LIMITS = { maxBytes: MAX_RECORD_BYTES, maxDepth: 2, maxItems: 32 }

/**
 * `data`: any key, several publishers each. `node`: what a node says of itself, under its own id and by nobody else. `service`: a service's
 * descriptor, by the blinded key of a period and under the keys that follow from it. Its `issued` is the period's start and its `ttl` one
 * for all, so that neither shows a clock: what is stored lives for `ttl` from when it was stored, within the period and its overlap.
 */
export type RecordClass = 'data' | 'node' | 'service'
const CLASS_CODES: Readonly<Record<RecordClass, number>> = { data: 1, node: 2, service: 3 }

export interface DhtRecord {
  readonly type: RecordClass
  /** 32 bytes in hex. */
  readonly key: string
  /** Ed25519 public key, 32 bytes. */
  readonly publisher: Uint8Array
  /** Of two records of one publisher under one key the higher counts. */
  readonly seq: number
  /** Unix seconds. */
  readonly issued: number
  /** Seconds from `issued` on, at most MAX_RECORD_TTL_S. */
  readonly ttl: number
  /** At most MAX_PAYLOAD_BYTES. */
  readonly payload: Uint8Array
}

export interface SignedRecord {
  readonly record: DhtRecord
  /** The publisher's key in hex. */
  readonly publisher: string
  readonly raw: Uint8Array
  /** SHA-256 of `raw`, hex. */
  readonly digest: string
}

/** Signs a record as `signer`. Throws ERR_ANONNET_RECORD_INVALID when a field does not fit. */
export function issueRecord(record: Omit<DhtRecord, 'publisher'>, signer: Signer): SignedRecord {
  return guard(INVALID, () => {
    const body = encodeCbor({
      v: FORMAT,
      type: CLASS_CODES[record.type],
      key: fromHex(record.key, 32),
      publisher: signer.publicKey,
      seq: record.seq,
      issued: record.issued,
      ttl: record.ttl,
      payload: record.payload
    })
    const read = readBody(body)
    return finish(encodeCbor([body, signer.sign(signedMessage(RECORD_DOMAIN, body))]), read)
  })
}

/** Decodes a record and verifies its signature and that its publisher may use its key. See checkTime. Throws ERR_ANONNET_RECORD_INVALID. */
export function parseRecord(bytes: Uint8Array, verify: Verify): SignedRecord {
  return guard(INVALID, () => {
    const [body, signature] = asTuple(decodeCbor(bytes, LIMITS), 'record', 2)
    const bodyBytes = asBytesUpTo(body, 'body', MAX_RECORD_BYTES)
    const record = readBody(bodyBytes)
    if (!verify(record.publisher, signedMessage(RECORD_DOMAIN, bodyBytes), asBytes(signature, 'signature', 64))) {
      throw new Malformed('wrong signature')
    }
    return finish(bytes, record)
  })
}

/** Throws ERR_ANONNET_RECORD_INVALID when the record has expired or was issued in the future. `nowMs` is Unix milliseconds. */
export function checkTime(record: DhtRecord, nowMs: number): void {
  if (!isTimely(record, nowMs)) throw fault(INVALID, 'expired, or issued in the future')
}

/** Whether `nowMs` (Unix milliseconds) is within the record's life, give or take the tolerance for its start. */
export function isTimely(record: DhtRecord, nowMs: number): boolean {
  if (record.type === 'service') return nowMs >= (record.issued - SERVICE_OVERLAP_S) * 1000 && nowMs < lastMs(record)
  return record.issued <= nowMs / 1000 + RECORD_CLOCK_TOLERANCE_S && nowMs < lastMs(record)
}

/** When a record that is stored at `nowMs` goes. Unix milliseconds, both. */
export function expiryMs(record: DhtRecord, nowMs: number): number {
  return record.type === 'service' ? Math.min(lastMs(record), nowMs + record.ttl * 1000) : lastMs(record)
}

function lastMs(record: DhtRecord): number {
  return (record.issued + (record.type === 'service' ? SERVICE_PERIOD_S + SERVICE_OVERLAP_S : record.ttl)) * 1000
}

/** Whether it is where its blinded key says, and tells no time of its own. */
function isServicePlace(key: string, publisher: Uint8Array, issued: number, ttl: number): boolean {
  if (issued % SERVICE_PERIOD_S !== 0 || ttl !== SERVICE_TTL_S) return false
  for (let replica = 0; replica < SERVICE_REPLICAS; replica++) if (serviceKey(publisher, replica) === key) return true
  return false
}

function readBody(body: Uint8Array): DhtRecord {
  const fields = asFields(decodeCbor(body, LIMITS), ['v', 'type', 'key', 'publisher', 'seq', 'issued', 'ttl', 'payload'])
  if (fields.v !== FORMAT) throw new Malformed('unknown format')
  const type = (Object.keys(CLASS_CODES) as RecordClass[]).find((name) => CLASS_CODES[name] === fields.type)
  if (!type) throw new Malformed('unknown type')
  const key = toHex(asBytes(fields.key, 'key', 32))
  const publisher = copyBytes(asBytes(fields.publisher, 'publisher', 32))
  if (type === 'node' && key !== nodeIdOf(publisher)) throw new Malformed('under the key of another node')
  const issued = asUint(fields.issued, 'issued')
  const ttl = asUint(fields.ttl, 'ttl', MAX_RECORD_TTL_S, 1)
  if (type === 'service' && !isServicePlace(key, publisher, issued, ttl)) throw new Malformed('a service record out of place')
  return {
    type,
    key,
    publisher,
    seq: asUint(fields.seq, 'seq'),
    issued,
    ttl,
    payload: copyBytes(asBytesUpTo(fields.payload, 'payload', MAX_PAYLOAD_BYTES))
  }
}

function finish(bytes: Uint8Array, record: DhtRecord): SignedRecord {
  const raw = copyBytes(bytes)
  return { record, publisher: toHex(record.publisher), raw, digest: toHex(sha256(raw)) }
}
