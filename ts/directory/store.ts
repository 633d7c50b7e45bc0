/** The descriptors that a bootstrap node knows: bounded in number, per address prefix, and in how often a node may publish. */
import { fault, NARROW_PREFIX, prefixOf } from '../wire/index.js'
import { isNewer } from './consensus.js'
import { checkCurrent, isCurrent } from './descriptor.js'
import { MAX_DESCRIPTORS_PER_PREFIX, MAX_STORED_DESCRIPTORS, PUBLISH_BURST } from './limits.js'
import type { DescriptorCache, VoteEntry } from './vote.js'

/** Publications of one node id: a bucket of PUBLISH_BURST, refilled by one each sixth of an interval. */
interface Allowance {
  tokens: number
  updatedMs: number
}

/** Hears which relays come and go, and says which of them may be voted for. */
export interface StoreWatcher {
  /** It published a descriptor. */
  published(nodeId: string, address: string, nowMs: number): void
  /** A majority listed it. */
  adopted(nodeId: string, address: string): void
  removed(nodeId: string): void
  listable(nodeId: string, address: string): boolean
}

export class DescriptorStore {
  readonly #entries = new Map<string, VoteEntry>()
  readonly #perPrefix = new Map<string, number>()
  readonly #allowances = new Map<string, Allowance>()

  constructor(
    readonly cache: DescriptorCache,
    readonly intervalMs: number,
    readonly watcher?: StoreWatcher
  ) {}

  get size(): number {
    return this.#entries.size
  }

  /**
   * Takes a descriptor that its own relay published over an authenticated link. Publishing the same again is fine.
   * Throws ERR_ANONNET_DESCRIPTOR_INVALID (malformed, expired, of another node, older than the one known),
   * ERR_ANONNET_RATE_LIMITED, ERR_ANONNET_RESOURCE_LIMIT. `nowMs` is Unix milliseconds.
   */
  publish(bytes: Uint8Array, publisher: string, nowMs: number): VoteEntry {
    this.#spend(publisher, nowMs)
    const signed = this.cache.parse(bytes)
    const { descriptor } = signed
    if (descriptor.nodeId !== publisher) throw fault('ERR_ANONNET_DESCRIPTOR_INVALID', 'of another node')
    checkCurrent(descriptor, nowMs / 1000)
    const known = this.#entries.get(publisher)
    if (known?.signed.digest === signed.digest) {
      this.watcher?.published(publisher, descriptor.address, nowMs)
      return known
    }
    if (known && descriptor.seq <= known.signed.descriptor.seq) throw fault('ERR_ANONNET_DESCRIPTOR_INVALID', 'older than the known one')
    const entry = this.#put({ signed, firstSeen: known?.firstSeen ?? Math.floor(nowMs / 1000) }, nowMs)
    this.watcher?.published(publisher, descriptor.address, nowMs)
    return entry
  }

  /** Takes over what a majority agreed on, so that a restarted node knows what the others know. Silently leaves out what does not fit. */
  adopt(bytes: Uint8Array, firstSeen: number, nowMs: number): void {
    try {
      const signed = this.cache.parse(bytes)
      const known = this.#entries.get(signed.descriptor.nodeId)
      const { nodeId, address } = signed.descriptor
      if (!isCurrent(signed.descriptor, nowMs / 1000)) return
      if (!known || isNewer(signed, known.signed)) {
        this.#put({ signed, firstSeen: Math.min(firstSeen, known?.firstSeen ?? firstSeen) }, nowMs)
      } else if (known.signed.descriptor.address !== address) {
        return
      }
      this.watcher?.adopted(nodeId, address)
    } catch {
      // The list stays good for its readers: only this node does not vote for that relay again.
    }
  }

  /**
   * Takes over what this node knew before a restart. A relay that was not `listed` at its address has to be reached again: it may
   * never have been. Leaves out what does not fit any more; throws ERR_ANONNET_DESCRIPTOR_INVALID for what is damaged.
   */
  restore(bytes: Uint8Array, firstSeen: number, listed: ReadonlyMap<string, string>): void {
    const signed = this.cache.parse(bytes)
    const { nodeId, address, issued } = signed.descriptor
    try {
      // As of its own time: what has expired since then goes when the first interval begins.
      this.#put({ signed, firstSeen }, issued * 1000)
    } catch {
      return
    }
    if (listed.get(nodeId) === address) this.watcher?.adopted(nodeId, address)
    else this.watcher?.published(nodeId, address, issued * 1000)
  }

  /** Removes what has expired. Returns how many. */
  expire(nowMs: number): number {
    let removed = 0
    for (const [nodeId, entry] of this.#entries) {
      if (!isCurrent(entry.signed.descriptor, nowMs / 1000)) {
        this.#remove(nodeId)
        this.watcher?.removed(nodeId)
        removed++
      }
    }
    for (const [nodeId, allowance] of this.#allowances) if (this.#tokens(allowance, nowMs) >= PUBLISH_BURST) this.#allowances.delete(nodeId)
    return removed
  }

  entries(): VoteEntry[] {
    return [...this.#entries.values()]
  }

  /** Those to vote for. */
  listable(): VoteEntry[] {
    const { watcher } = this
    return this.entries().filter(({ signed }) => watcher?.listable(signed.descriptor.nodeId, signed.descriptor.address) ?? true)
  }

  #put(entry: VoteEntry, nowMs: number): VoteEntry {
    const { nodeId, address } = entry.signed.descriptor
    const known = this.#entries.get(nodeId)
    const prefix = prefixOf(address, NARROW_PREFIX)
    const stays = known !== undefined && prefixOf(known.signed.descriptor.address, NARROW_PREFIX) === prefix
    if (!known && this.#entries.size >= MAX_STORED_DESCRIPTORS && this.expire(nowMs) === 0) {
      throw fault('ERR_ANONNET_RESOURCE_LIMIT', 'descriptors')
    }
    if (!stays && (this.#perPrefix.get(prefix) ?? 0) >= MAX_DESCRIPTORS_PER_PREFIX) {
      throw fault('ERR_ANONNET_RESOURCE_LIMIT', 'descriptors of one address prefix')
    }
    if (known) this.#remove(nodeId)
    this.#entries.set(nodeId, entry)
    this.#perPrefix.set(prefix, (this.#perPrefix.get(prefix) ?? 0) + 1)
    return entry
  }

  #remove(nodeId: string): void {
    const entry = this.#entries.get(nodeId)
    if (!entry) return
    this.#entries.delete(nodeId)
    const prefix = prefixOf(entry.signed.descriptor.address, NARROW_PREFIX)
    const left = (this.#perPrefix.get(prefix) ?? 1) - 1
    if (left === 0) this.#perPrefix.delete(prefix)
    else this.#perPrefix.set(prefix, left)
  }

  #tokens(allowance: Allowance, nowMs: number): number {
    return Math.min(PUBLISH_BURST, allowance.tokens + (Math.max(0, nowMs - allowance.updatedMs) * 6) / this.intervalMs)
  }

  #spend(publisher: string, nowMs: number): void {
    const allowance = this.#allowances.get(publisher) ?? { tokens: PUBLISH_BURST, updatedMs: nowMs }
    const tokens = this.#tokens(allowance, nowMs)
    if (tokens < 1) throw fault('ERR_ANONNET_RATE_LIMITED', 'descriptors of one node')
    if (!this.#allowances.has(publisher) && this.#allowances.size >= 2 * MAX_STORED_DESCRIPTORS) {
      const [oldest] = this.#allowances.keys()
      if (oldest !== undefined) this.#allowances.delete(oldest)
    }
    this.#allowances.set(publisher, { tokens: tokens - 1, updatedMs: nowMs })
  }
}
