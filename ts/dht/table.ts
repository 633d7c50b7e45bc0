/** The routing table: 256 buckets of 16 contacts, least recently seen first. Only nodes that answered us get in. */
import type { Peer } from '../directory/types.js'
import { fromHex } from '../wire/index.js'
import { commonBits, compareDistance } from './id.js'
import { BUCKET_SIZE, MAX_FAILURES, MAX_REPLACEMENTS } from './limits.js'
import { PREFIX_LIMITS, PrefixCounter, type PrefixLimits } from './prefixes.js'

export interface Contact extends Peer {
  /** The node id as 32 bytes. */
  readonly id: Uint8Array
}

/** `ping` of a full bucket: this contact, the least recently seen, must answer or make room. */
export type Seen = { readonly kind: 'added' | 'known' | 'refused' } | { readonly kind: 'full'; readonly ping: Contact }

interface Bucket {
  /** Least recently seen first. */
  readonly contacts: Contact[]
  /** Newcomers that answered while the bucket was full, the latest last. */
  readonly replacements: Contact[]
  usedMs: number
}

/** A peer with its id as bytes. Throws `Malformed` when the id is not 64 hex characters. */
export function contactOf(peer: Peer): Contact {
  return { nodeId: peer.nodeId, address: peer.address, id: fromHex(peer.nodeId, 32) }
}

export class RoutingTable {
  readonly #buckets = new Map<number, Bucket>()
  /** Which bucket each contact is in. */
  readonly #index = new Map<string, Bucket>()
  readonly #failures = new Map<string, number>()
  readonly #prefixes: PrefixCounter

  constructor(
    readonly self: Uint8Array,
    limits: PrefixLimits = PREFIX_LIMITS
  ) {
    this.#prefixes = new PrefixCounter(limits)
  }

  get size(): number {
    return this.#index.size
  }

  contacts(): Contact[] {
    return [...this.#buckets.values()].flatMap((bucket) => bucket.contacts)
  }

  has(nodeId: string): boolean {
    return this.#index.has(nodeId)
  }

  /** A node answered us from this address just now. */
  seen(contact: Contact, nowMs: number): Seen {
    const index = commonBits(this.self, contact.id)
    if (index === 8 * this.self.length) return { kind: 'refused' }
    const bucket = this.#bucket(index, nowMs)
    const at = bucket.contacts.findIndex((other) => other.nodeId === contact.nodeId)
    this.#failures.delete(contact.nodeId)
    if (at >= 0) return { kind: this.#touch(bucket, at, contact) }
    if (bucket.contacts.length >= BUCKET_SIZE) {
      remember(bucket.replacements, contact)
      const [oldest] = bucket.contacts
      return oldest ? { kind: 'full', ping: oldest } : { kind: 'refused' }
    }
    if (!this.#prefixes.add(contact.address)) return { kind: 'refused' }
    bucket.contacts.push(contact)
    this.#index.set(contact.nodeId, bucket)
    return { kind: 'added' }
  }

  /** A contact did not answer. After MAX_FAILURES in a row, or at once if `gone`, it goes; returns a newcomer to try in its place. */
  failed(nodeId: string, gone = false): Contact | undefined {
    const bucket = this.#index.get(nodeId)
    const at = bucket?.contacts.findIndex((contact) => contact.nodeId === nodeId) ?? -1
    const contact = bucket?.contacts[at]
    if (!bucket || !contact) return undefined
    const failures = (this.#failures.get(nodeId) ?? 0) + 1
    if (failures < MAX_FAILURES && !gone) {
      this.#failures.set(nodeId, failures)
      return undefined
    }
    bucket.contacts.splice(at, 1)
    this.#index.delete(nodeId)
    this.#failures.delete(nodeId)
    this.#prefixes.remove(contact.address)
    return bucket.replacements.pop()
  }

  /** The `count` contacts closest to `target`, closest first. */
  closest(target: Uint8Array, count: number): Contact[] {
    return this.contacts()
      .sort((a, b) => compareDistance(target, a.id, b.id))
      .slice(0, count)
  }

  /** Notes that a lookup went through the bucket of `target`. */
  used(target: Uint8Array, nowMs: number): void {
    const bucket = this.#buckets.get(commonBits(this.self, target))
    if (bucket) bucket.usedMs = nowMs
  }

  /** Buckets (by common bits) that no lookup went through since `sinceMs`. */
  idle(sinceMs: number): number[] {
    return [...this.#buckets].filter(([, bucket]) => bucket.usedMs <= sinceMs).map(([index]) => index)
  }

  /** Bits that the farthest of the `count` nodes closest to us has in common with us; 0 while we know fewer. */
  radiusBits(count: number): number {
    const nearest = this.closest(this.self, count)
    const last = nearest[count - 1]
    return last ? commonBits(this.self, last.id) : 0
  }

  #bucket(index: number, nowMs: number): Bucket {
    const known = this.#buckets.get(index)
    if (known) return known
    const bucket: Bucket = { contacts: [], replacements: [], usedMs: nowMs }
    this.#buckets.set(index, bucket)
    return bucket
  }

  #touch(bucket: Bucket, at: number, contact: Contact): 'known' | 'refused' {
    const [old] = bucket.contacts.splice(at, 1)
    if (old && old.address !== contact.address) {
      // It moved, and answered at the new place: the new prefix must have room as for anybody else.
      this.#prefixes.remove(old.address)
      if (!this.#prefixes.add(contact.address)) {
        this.#index.delete(contact.nodeId)
        return 'refused'
      }
    }
    bucket.contacts.push(contact)
    return 'known'
  }
}

function remember(replacements: Contact[], contact: Contact): void {
  const at = replacements.findIndex((other) => other.nodeId === contact.nodeId)
  if (at >= 0) replacements.splice(at, 1)
  replacements.push(contact)
  if (replacements.length > MAX_REPLACEMENTS) replacements.shift()
}
