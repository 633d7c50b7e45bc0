/**
 * Votes: which relays a bootstrap node knows. CBOR `[body, signature]`, the signature over ENCAP('anonnet:1:relay-vote') | body.
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
  guard,
  Malformed,
  sha256,
  signedMessage,
  toHex
} from '../wire/index.js'
import { parseDescriptor, type SignedDescriptor } from './descriptor.js'
import { MAX_DESCRIPTOR_BYTES, MAX_LIST_RELAYS, MAX_VERIFIED_DESCRIPTORS, MAX_VOTE_BYTES } from './limits.js'
import type { Signer, Verify } from './types.js'

export const VOTE_DOMAIN = 'anonnet:1:relay-vote'
const FORMAT = 1
const CBOR = { maxBytes: MAX_VOTE_BYTES, maxDepth: 5, maxItems: 6 * MAX_LIST_RELAYS }
/** Envelope and head of a vote, and what CBOR adds to each entry, in bytes. */
const VOTE_OVERHEAD_BYTES = 256
const ENTRY_OVERHEAD_BYTES = 16

export interface VoteEntry {
  readonly signed: SignedDescriptor
  /** Unix seconds. */
  readonly firstSeen: number
}

export interface Vote {
  /** The voter's public key, hex. */
  readonly voter: string
  readonly interval: number
  readonly entries: readonly VoteEntry[]
  readonly raw: Uint8Array
  /** SHA-256 of `raw`, hex. */
  readonly digest: string
}

/** Parses descriptors and remembers which bytes were good, so that each signature is checked once and not in every vote. */
export class DescriptorCache {
  readonly #known = new Map<string, SignedDescriptor>()

  constructor(
    readonly verify: Verify,
    readonly capacity: number = MAX_VERIFIED_DESCRIPTORS
  ) {}

  get size(): number {
    return this.#known.size
  }

  /** Throws ERR_ANONNET_DESCRIPTOR_INVALID. */
  parse(bytes: Uint8Array): SignedDescriptor {
    const digest = toHex(sha256(bytes))
    const known = this.#known.get(digest)
    if (known) return known
    const signed = parseDescriptor(bytes, this.verify)
    if (this.#known.size >= this.capacity) {
      const [oldest] = this.#known.keys()
      if (oldest !== undefined) this.#known.delete(oldest)
    }
    this.#known.set(digest, signed)
    return signed
  }
}

/** Signs a vote. Of more entries than fit, those seen first stay: a flood of new relays cannot push out the old ones. */
export function issueVote(interval: number, intervalMs: number, entries: readonly VoteEntry[], signer: Signer): Uint8Array {
  let room = MAX_VOTE_BYTES - VOTE_OVERHEAD_BYTES
  const chosen = [...entries]
    .sort((a, b) => a.firstSeen - b.firstSeen || compareIds(a, b))
    .slice(0, MAX_LIST_RELAYS)
    .filter((entry) => {
      room -= entry.signed.raw.length + ENTRY_OVERHEAD_BYTES
      return room >= 0
    })
    .sort(compareIds)
  const body = encodeCbor({
    v: FORMAT,
    voter: signer.publicKey,
    interval,
    length: intervalMs,
    relays: chosen.map((entry) => [entry.signed.raw, entry.firstSeen])
  })
  return encodeCbor([body, signer.sign(signedMessage(VOTE_DOMAIN, body))])
}

/**
 * Verifies a vote: its voter is one of `voters` (hex public keys), its signature and every descriptor's are right, no relay twice.
 * Throws ERR_ANONNET_LIST_INVALID.
 */
export function parseVote(bytes: Uint8Array, intervalMs: number, voters: ReadonlySet<string>, cache: DescriptorCache): Vote {
  return guard('ERR_ANONNET_LIST_INVALID', () => {
    const [body, signature] = asTuple(decodeCbor(bytes, CBOR), 'vote', 2)
    const bodyBytes = asBytesUpTo(body, 'body', MAX_VOTE_BYTES)
    const fields = asFields(decodeCbor(bodyBytes, CBOR), ['v', 'voter', 'interval', 'length', 'relays'])
    if (fields.v !== FORMAT || fields.length !== intervalMs) throw new Malformed('another format or another network')
    const voter = asBytes(fields.voter, 'voter', 32)
    if (!voters.has(toHex(voter))) throw new Malformed('not a bootstrap key')
    if (!cache.verify(voter, signedMessage(VOTE_DOMAIN, bodyBytes), asBytes(signature, 'signature', 64)))
      throw new Malformed('wrong signature')
    let previous = ''
    const entries = asArray(fields.relays, 'relays', MAX_LIST_RELAYS).map((value) => {
      const [descriptor, firstSeen] = asTuple(value, 'relay', 2)
      const signed = cache.parse(asBytesUpTo(descriptor, 'descriptor', MAX_DESCRIPTOR_BYTES))
      if (signed.descriptor.nodeId <= previous) throw new Malformed('relays are not in order, or one is there twice')
      previous = signed.descriptor.nodeId
      return { signed, firstSeen: asUint(firstSeen, 'first seen') }
    })
    const raw = copyBytes(bytes)
    return { voter: toHex(voter), interval: asUint(fields.interval, 'interval'), entries, raw, digest: toHex(sha256(raw)) }
  })
}

function compareIds(a: VoteEntry, b: VoteEntry): number {
  return a.signed.descriptor.nodeId < b.signed.descriptor.nodeId ? -1 : 1
}
