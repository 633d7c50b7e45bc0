/**
 * The relay list: CBOR `[body, [[public key, signature], ...]]`, each signature over
 * ENCAP('anonnet:1:relay-list') | SHA-256(body). The body is what everybody agrees on; its SHA-256 is the list's digest.
 */

import {
  asArray,
  asBytes,
  asBytesUpTo,
  asFields,
  asTuple,
  asUint,
  copyBytes,
  decodeCbor,
  encodeCbor,
  fault,
  guard,
  Malformed,
  sha256,
  signedMessage,
  toHex
} from '../wire/index.js'
import { readDescriptor } from './descriptor.js'
import {
  CLOCK_TOLERANCE_S,
  MAX_BOOTSTRAP_NODES,
  MAX_DESCRIPTOR_BYTES,
  MAX_LIST_BYTES,
  MAX_LIST_RELAYS,
  MAX_LIST_VALIDITY_MS,
  MIN_BOOTSTRAP_NODES
} from './limits.js'
import type { ListedRelay, RelayList, Verify } from './types.js'

export const LIST_DOMAIN = 'anonnet:1:relay-list'
const FORMAT = 1
const INVALID = 'ERR_ANONNET_LIST_INVALID'
export const LIST_CBOR = { maxBytes: MAX_LIST_BYTES, maxDepth: 6, maxItems: 8 * MAX_LIST_RELAYS }

/** One relay of a list as it stands on the wire. */
export interface ListEntry {
  readonly descriptor: Uint8Array
  readonly weight: number
  readonly firstSeen: number
}

/** The body without its relays: times in Unix milliseconds; `votes` are [public key, SHA-256 of the vote], what was counted. */
export interface ListHead {
  readonly interval: number
  readonly validAfterMs: number
  readonly freshUntilMs: number
  readonly validUntilMs: number
  readonly votes: readonly (readonly [Uint8Array, Uint8Array])[]
}

export interface ListBody {
  readonly head: ListHead
  readonly entries: readonly ListEntry[]
}

export type ListSignatures = readonly (readonly [Uint8Array, Uint8Array])[]

export interface OpenedList {
  readonly body: Uint8Array
  readonly digest: Uint8Array
  readonly signatures: ListSignatures
}

/** How many of `count` make a strict majority. */
export function majorityOf(count: number): number {
  return Math.floor(count / 2) + 1
}

/** The body's one encoding. */
export function encodeBody(body: ListBody): Uint8Array {
  const { head, entries } = body
  return encodeCbor({ ...headFields(head), relays: entries.map((entry) => [entry.descriptor, entry.weight, entry.firstSeen]) })
}

export function headFields(head: ListHead): Record<string, unknown> {
  return {
    v: FORMAT,
    interval: head.interval,
    after: head.validAfterMs,
    fresh: head.freshUntilMs,
    until: head.validUntilMs,
    votes: head.votes.map(([voter, digest]) => [voter, digest])
  }
}

export const HEAD_FIELDS = ['v', 'interval', 'after', 'fresh', 'until', 'votes'] as const

/** Checks the fields of a head that were decoded. Throws `Malformed`. */
export function readHead(fields: Record<(typeof HEAD_FIELDS)[number], unknown>): ListHead {
  if (fields.v !== FORMAT) throw new Malformed('unknown format')
  const head = {
    interval: asUint(fields.interval, 'interval'),
    validAfterMs: asUint(fields.after, 'after'),
    freshUntilMs: asUint(fields.fresh, 'fresh'),
    validUntilMs: asUint(fields.until, 'until'),
    votes: asArray(fields.votes, 'votes', MAX_BOOTSTRAP_NODES).map((vote) => {
      const [voter, digest] = asTuple(vote, 'vote', 2)
      return [asBytes(voter, 'voter', 32), asBytes(digest, 'vote digest', 32)] as const
    })
  }
  if (head.validAfterMs >= head.freshUntilMs || head.freshUntilMs > head.validUntilMs) throw new Malformed('times out of order')
  if (head.validUntilMs - head.validAfterMs > MAX_LIST_VALIDITY_MS) throw new Malformed('valid for too long')
  return head
}

/** Decodes a body. Throws `Malformed`. */
export function decodeBody(body: Uint8Array): ListBody {
  const fields = asFields(decodeCbor(body, LIST_CBOR), [...HEAD_FIELDS, 'relays'])
  const entries = asArray(fields.relays, 'relays', MAX_LIST_RELAYS).map((entry) => readEntry(entry))
  return { head: readHead(fields), entries }
}

export function readEntry(value: unknown): ListEntry {
  const [descriptor, weight, firstSeen] = asTuple(value, 'relay', 3)
  return {
    descriptor: asBytesUpTo(descriptor, 'descriptor', MAX_DESCRIPTOR_BYTES),
    weight: asUint(weight, 'weight'),
    firstSeen: asUint(firstSeen, 'first seen')
  }
}

/** What a bootstrap node signs for a list with this digest (32 bytes). */
export function listMessage(digest: Uint8Array): Uint8Array {
  return signedMessage(LIST_DOMAIN, digest)
}

/** Body and signatures in the form that is fetched. */
export function encodeList(body: Uint8Array, signatures: ListSignatures): Uint8Array {
  return encodeCbor([body, signatures.map(([key, signature]) => [key, signature])])
}

/** Takes a list apart without verifying it. Throws ERR_ANONNET_LIST_INVALID. */
export function openList(bytes: Uint8Array): OpenedList {
  return guard(INVALID, () => {
    const [body, signatures] = asTuple(decodeCbor(bytes, LIST_CBOR), 'list', 2)
    const bodyBytes = asBytesUpTo(body, 'body', MAX_LIST_BYTES)
    return { body: bodyBytes, digest: sha256(bodyBytes), signatures: readSignatures(signatures) }
  })
}

export function readSignatures(value: unknown): ListSignatures {
  return asArray(value, 'signatures', MAX_BOOTSTRAP_NODES).map((pair) => {
    const [key, signature] = asTuple(pair, 'signature', 2)
    return [asBytes(key, 'key', 32), asBytes(signature, 'signature', 64)] as const
  })
}

/** Throws ERR_ANONNET_CONFIG_INVALID unless there are 3 to 32 distinct keys of 32 bytes. */
export function checkBootstrapKeys(keys: readonly Uint8Array[]): void {
  const distinct = new Set(keys.map(toHex))
  if (keys.some((key) => key.length !== 32)) throw fault('ERR_ANONNET_CONFIG_INVALID', 'a bootstrap key is not 32 bytes')
  if (distinct.size !== keys.length || keys.length < MIN_BOOTSTRAP_NODES || keys.length > MAX_BOOTSTRAP_NODES) {
    throw fault('ERR_ANONNET_CONFIG_INVALID', `bootstrap keys must be distinct, ${MIN_BOOTSTRAP_NODES} to ${MAX_BOOTSTRAP_NODES} of them`)
  }
}

/** Whether distinct configured keys that are a strict majority of all configured keys signed this digest. */
export function signedByMajority(digest: Uint8Array, signatures: ListSignatures, keys: readonly Uint8Array[], verify: Verify): boolean {
  const configured = new Set(keys.map(toHex))
  const message = listMessage(digest)
  let count = 0
  for (const [key, signature] of signatures) {
    // Taken out before the check, so that a key counts once however often it comes.
    if (configured.delete(toHex(key)) && verify(key, message, signature)) count++
  }
  return count >= majorityOf(keys.length)
}

/**
 * Verifies a relay list: signatures first, then form, then time. `nowMs` is Unix milliseconds.
 * Returns the list; relays are in ascending order of node id. Throws ERR_ANONNET_LIST_INVALID (also when expired),
 * ERR_ANONNET_CONFIG_INVALID for a wrong set of keys.
 */
export function verifyList(bytes: Uint8Array, bootstrapKeys: readonly Uint8Array[], nowMs: number, verify: Verify): RelayList {
  const list = verifySignedList(bytes, bootstrapKeys, verify)
  if (nowMs + CLOCK_TOLERANCE_S * 1000 < list.validAfter * 1000) throw fault(INVALID, 'not valid yet: check the clock')
  if (nowMs >= list.validUntil * 1000) throw fault(INVALID, 'expired')
  return list
}

/** The same without looking at the time. */
export function verifySignedList(bytes: Uint8Array, bootstrapKeys: readonly Uint8Array[], verify: Verify): RelayList {
  checkBootstrapKeys(bootstrapKeys)
  return guard(INVALID, () => {
    const raw = copyBytes(bytes)
    const opened = openList(raw)
    if (!signedByMajority(opened.digest, opened.signatures, bootstrapKeys, verify)) throw new Malformed('not signed by a majority')
    return readList(raw, opened)
  })
}

function readList(raw: Uint8Array, opened: OpenedList): RelayList {
  const { head, entries } = decodeBody(opened.body)
  let previous = ''
  const relays = entries.map((entry): ListedRelay => {
    // The majority that signed the list checked each descriptor's own signature; here its form has to be right.
    const descriptor = readDescriptor(entry.descriptor)
    if (descriptor.nodeId <= previous) throw new Malformed('relays are not in order, or one is there twice')
    previous = descriptor.nodeId
    return { ...descriptor, weight: entry.weight, firstSeen: entry.firstSeen }
  })
  return {
    interval: head.interval,
    validAfter: head.validAfterMs / 1000,
    freshUntil: head.freshUntilMs / 1000,
    validUntil: head.validUntilMs / 1000,
    relays,
    digest: toHex(opened.digest),
    raw
  }
}

/** Of two lists of one interval, both signed by a majority: the one that counted more votes, then the one with the smaller digest. */
export function isBetterList(list: RelayList, other: RelayList): boolean {
  const votes = (of: RelayList) => decodeBody(openList(of.raw).body).head.votes.length
  return votes(list) !== votes(other) ? votes(list) > votes(other) : list.digest < other.digest
}
