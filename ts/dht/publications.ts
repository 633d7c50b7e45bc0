/** The records that this node publishes itself: what, and when each is due to be issued and stored anew. */
import type { Signer } from '../directory/types.js'
import { fault } from '../wire/index.js'
import { MAX_PUBLISHED_RECORDS, MAX_REPUBLISH_MS } from './limits.js'
import { type DhtRecord, issueRecord, type SignedRecord } from './record.js'

/** What to publish; times and seq are ours. */
export type Publication = Pick<DhtRecord, 'type' | 'key' | 'ttl' | 'payload'>

interface Entry {
  readonly publication: Publication
  signed: SignedRecord
  dueMs: number
}

export class Publications {
  readonly #entries = new Map<string, Entry>()

  constructor(private readonly signer: Signer) {}

  /** Issues the record and takes it into the ones kept alive. Throws ERR_ANONNET_RECORD_INVALID, ERR_ANONNET_RESOURCE_LIMIT. */
  issue(publication: Publication, nowMs: number): SignedRecord {
    const id = `${publication.type}:${publication.key}`
    const known = this.#entries.get(id)
    if (!known && this.#entries.size >= MAX_PUBLISHED_RECORDS) throw fault('ERR_ANONNET_RESOURCE_LIMIT', 'published records')
    // The clock in milliseconds goes up through restarts, without a counter on disk.
    const seq = Math.max(Math.floor(nowMs), (known?.signed.record.seq ?? 0) + 1)
    const signed = issueRecord({ ...publication, seq, issued: Math.floor(nowMs / 1000) }, this.signer)
    this.#entries.set(id, { publication, signed, dueMs: nowMs + Math.min(MAX_REPUBLISH_MS, publication.ttl * 500) })
    return signed
  }

  /** Stops keeping the record alive; what others store of it expires. */
  withdraw(type: DhtRecord['type'], key: string): void {
    this.#entries.delete(`${type}:${key}`)
  }

  due(nowMs: number): Publication[] {
    return [...this.#entries.values()].filter((entry) => entry.dueMs <= nowMs).map((entry) => entry.publication)
  }

  nextDueMs(): number {
    return Math.min(Number.POSITIVE_INFINITY, ...[...this.#entries.values()].map((entry) => entry.dueMs))
  }
}
