/** A bootstrap node's memory as JSON: descriptors, lists, and its vote of the current interval so that it never votes twice. */

import { asArray, asFields, asTuple, asUint, Malformed } from '../wire/index.js'
import { MAX_ARCHIVED_LISTS, MAX_STORED_DESCRIPTORS } from './limits.js'
import type { RelayList } from './types.js'
import type { Vote, VoteEntry } from './vote.js'

export interface AgreementState {
  readonly version: 1
  /** [signed descriptor in base64, first seen in Unix seconds]. */
  readonly descriptors: readonly (readonly [string, number])[]
  /** Signed lists in base64. */
  readonly lists: readonly string[]
  /** The signed vote in base64. */
  readonly vote?: string
}

export function writeState(entries: readonly VoteEntry[], lists: readonly RelayList[], vote: Vote | undefined): AgreementState {
  return {
    version: 1,
    descriptors: entries.map((entry) => [toBase64(entry.signed.raw), entry.firstSeen] as const),
    lists: lists.map((list) => toBase64(list.raw)),
    ...(vote ? { vote: toBase64(vote.raw) } : {})
  }
}

/** Throws `Malformed`. What the bytes say is still to be verified. */
export function readState(value: unknown): {
  readonly descriptors: readonly { readonly raw: Uint8Array; readonly firstSeen: number }[]
  readonly lists: readonly Uint8Array[]
  readonly vote: Uint8Array | undefined
} {
  const fields = asFields(value, ['version', 'descriptors', 'lists'], ['vote'])
  if (fields.version !== 1) throw new Malformed('state of another version')
  return {
    descriptors: asArray(fields.descriptors, 'descriptors', MAX_STORED_DESCRIPTORS).map((entry) => {
      const [raw, firstSeen] = asTuple(entry, 'descriptor', 2)
      return { raw: fromBase64(raw), firstSeen: asUint(firstSeen, 'first seen') }
    }),
    lists: asArray(fields.lists, 'lists', MAX_ARCHIVED_LISTS).map(fromBase64),
    vote: fields.vote === undefined ? undefined : fromBase64(fields.vote)
  }
}

function toBase64(bytes: Uint8Array): string {
  return Buffer.from(bytes).toString('base64')
}

function fromBase64(text: unknown): Uint8Array {
  if (typeof text !== 'string' || !/^[A-Za-z0-9+/]*={0,2}$/.test(text)) throw new Malformed('not base64')
  return new Uint8Array(Buffer.from(text, 'base64'))
}
