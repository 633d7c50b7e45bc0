/** The four questions and their answers on the wire: writers, and strict readers. */

import type { Peer } from '../directory/types.js'
import {
  asArray,
  asBytes,
  asBytesUpTo,
  asFields,
  asText,
  asTuple,
  copyBytes,
  fromHex,
  Malformed,
  parseAddress,
  toHex
} from '../wire/index.js'
import { BUCKET_SIZE, MAX_PUBLISHERS_PER_KEY, MAX_RECORD_BYTES } from './limits.js'
import type { SignedRecord } from './record.js'

/** Time (6 bytes) and 16 bytes of an HMAC. */
export const TOKEN_BYTES = 22
const MAX_ADDRESS_CHARS = 64
/** A key may have all its publishers in two classes of records; services have keys that no other class can sign for. */
const MAX_RECORDS_IN_REPLY = 2 * MAX_PUBLISHERS_PER_KEY

/** Answer to 'dht.findNode' { target } and 'dht.findValue' { key }: nodes closer to it, a token for authenticated askers, records. */
export interface FindReply {
  readonly nodes: readonly Peer[]
  readonly token: Uint8Array | undefined
  readonly records: readonly Uint8Array[]
}

export function writeFindReply(
  nodes: readonly Peer[],
  token: Uint8Array | undefined,
  records: readonly SignedRecord[]
): Record<string, unknown> {
  return {
    nodes: nodes.map((node) => [fromHex(node.nodeId, 32), node.address]),
    ...(token === undefined ? {} : { token }),
    ...(records.length === 0 ? {} : { records: records.map((signed) => signed.raw) })
  }
}

/** Throws `Malformed`. The nodes are hearsay: of the right form, and no more is known of them. */
export function readFindReply(value: unknown): FindReply {
  const fields = asFields(value, ['nodes'], ['token', 'records'])
  return {
    nodes: asArray(fields.nodes, 'nodes', BUCKET_SIZE).map((node) => {
      const [id, text] = asTuple(node, 'node', 2)
      const address = asText(text, 'address', MAX_ADDRESS_CHARS)
      parseAddress(address)
      return { nodeId: toHex(asBytes(id, 'id', 32)), address }
    }),
    token: fields.token === undefined ? undefined : copyBytes(asBytes(fields.token, 'token', TOKEN_BYTES)),
    records:
      fields.records === undefined
        ? []
        : asArray(fields.records, 'records', MAX_RECORDS_IN_REPLY).map((record) => asBytesUpTo(record, 'record', MAX_RECORD_BYTES))
  }
}

/** The one field of a FIND: 32 bytes. Throws `Malformed`. */
export function readTarget(params: unknown, name: 'target' | 'key'): Uint8Array {
  return asBytes(asFields(params, [name])[name], name, 32)
}

/** Throws `Malformed`. */
export function readStore(params: unknown): { record: Uint8Array; token: Uint8Array } {
  const fields = asFields(params, ['record', 'token'])
  return { record: asBytesUpTo(fields.record, 'record', MAX_RECORD_BYTES), token: asBytes(fields.token, 'token', TOKEN_BYTES) }
}

/** An answer without content: PING's and STORE's. Throws `Malformed`. */
export function readEmpty(value: unknown): void {
  if (Object.keys(asFields(value, [])).length !== 0) throw new Malformed('not empty')
}
