/** A service's descriptors in the DHT: makes and stores them, and looks whether others find what was stored. */

import { setTimeout as setTimeoutAsync } from 'node:timers/promises'
import { issueRecord } from '../dht/index.js'
import { errorFromCode, isAnonNetError } from '../errors/index.js'
import { serviceCrypto } from '../native/index.js'
import { type IntroPoint, type PowSuggestion, revisionAt, revisionKey, sealDescriptor, serviceTimeMs } from '../services/index.js'
import { periodStartS, SERVICE_REPLICAS, SERVICE_TTL_S, serviceKey } from '../wire/index.js'
import type { ServiceHostParts } from './service-host.js'
import { lookUp, store } from './service-lookup.js'

const STORE_TIMEOUT_MS = 30_000
/** Revisions go up with the seconds. */
const REVISION_STEP_MS = 1_000
/** Publications in a row that are made because nobody had the one before. */
const MAX_MISSES = 4
const MISSING: ReadonlySet<string> = new Set(['ERR_ANONNET_NOT_FOUND', 'ERR_ANONNET_SERVICE_NOT_FOUND'])

/** What a descriptor says. */
export interface DescriptorContent {
  introPoints: readonly IntroPoint[]
  pow: PowSuggestion
}

export class ServicePublisher {
  readonly #parts: ServiceHostParts
  readonly #signal: AbortSignal
  /** Told when a descriptor must be published anew. */
  readonly #onStale: () => void
  readonly #revisions = new Map<number, number>()
  /** What was published last, by period. */
  readonly #payloads = new Map<number, Uint8Array>()
  readonly #bornMs = Date.now()
  #misses = 0

  constructor(parts: ServiceHostParts, signal: AbortSignal, onStale: () => void) {
    this.#parts = parts
    this.#signal = signal
    this.#onStale = onStale
  }

  /**
   * Looks the service up over other last hops than it stored through: resolves when what was stored last is found. Those that stored it may have
   * said so only: what nobody has is published again.
   *
   * @throws as `lookUp`; ERR_ANONNET_NOT_FOUND when an older one is found.
   */
  async find(period: number, timeMs: number, limits: { timeoutMs: number; signal: AbortSignal | undefined }): Promise<void> {
    const { engine, circuits, address } = this.#parts
    const place = { blinded: serviceCrypto.blind(address.publicKey, period), period }
    const sought = this.#revisions.get(period)
    try {
      const found = await lookUp({ engine, circuits }, place, timeMs, limits)
      const own = this.#revisions.get(period) ?? 0
      const payload = this.#payloads.get(period)
      if (found.revision !== own || payload === undefined || Buffer.compare(found.payload, payload) !== 0) {
        // One of a run before this one, by a clock that was ahead of ours: it is replaced by nothing that is not newer.
        if (found.revision >= own) {
          this.#revisions.set(period, found.revision)
          this.#onStale()
        }
        throw errorFromCode('ERR_ANONNET_NOT_FOUND', { detail: 'an older descriptor' })
      }
      this.#misses = 0
    } catch (error) {
      const missing = isAnonNetError(error) && MISSING.has(error.code)
      if (missing && this.#revisions.get(period) === sought && this.#misses < MAX_MISSES) {
        this.#misses += 1
        this.#onStale()
      }
      throw error
    }
  }

  /** Looks whether what was stored is found. */
  async confirm(period: number): Promise<void> {
    await this.find(period, this.#timeMs(period), { timeoutMs: STORE_TIMEOUT_MS, signal: this.#signal }).catch(() => undefined)
  }

  /** Stores all replicas of what `content` gives when it is time; returns the number of nodes that took the one that the fewest took. */
  async publish(period: number, content: () => DescriptorContent): Promise<number> {
    // A run that ended in the second in which this one began may have used its number.
    const fresh = Math.floor(this.#bornMs / REVISION_STEP_MS + 1) * REVISION_STEP_MS - Date.now()
    if (fresh > 0) await setTimeoutAsync(fresh, undefined, { ref: false, signal: this.#signal })
    // The seed is wiped when the service is closed; what follows signs before it waits for anything.
    this.#signal.throwIfAborted()
    const { engine, circuits, seed, address, clients } = this.#parts
    const blinded = serviceCrypto.blind(address.publicKey, period)
    const revision = this.#next(period)
    const payload = sealDescriptor(serviceCrypto, { publicKey: address.publicKey, period, revision }, content(), clients)
    this.#payloads.set(period, payload)
    const signer = { publicKey: blinded, sign: (message: Uint8Array) => serviceCrypto.sign(seed, period, message) }
    const asked = new Set<string>()
    const stored = await Promise.all(
      Array.from({ length: SERVICE_REPLICAS }, (_, replica) => {
        const key = serviceKey(blinded, replica)
        const record = { type: 'service', key, seq: revision, issued: periodStartS(period), ttl: SERVICE_TTL_S, payload } as const
        return store({ engine, circuits }, issueRecord(record, signer).raw, asked, { timeoutMs: STORE_TIMEOUT_MS, signal: this.#signal })
      })
    )
    return Math.min(...stored)
  }

  #next(period: number): number {
    const now = revisionAt(revisionKey(this.#parts.seed, period), period, this.#timeMs(period))
    const revision = Math.max(now, (this.#revisions.get(period) ?? 0) + 1)
    this.#revisions.set(period, revision)
    for (const known of this.#revisions.keys()) {
      if (known >= period - 1) continue
      this.#revisions.delete(known)
      this.#payloads.delete(known)
    }
    return revision
  }

  #timeMs(period: number): number {
    const { list } = this.#parts.driver
    return list === undefined ? periodStartS(period) * 1000 : serviceTimeMs(list, Date.now())
  }
}
