/** The relay's side: issues its descriptor, publishes it at every bootstrap node, and again long before it expires. */
import { isAnonNetError } from '../errors/index.js'
import { nodeIdOf } from '../wire/index.js'
import { type DescriptorFacts, issueDescriptor } from './descriptor.js'
import { MAX_DESCRIPTOR_LIFETIME_S, MAX_SMALL_REPLY_BYTES } from './limits.js'
import type { Peer, RelayList, Rng, RpcCall, Signer } from './types.js'

/** What a relay says of itself; times and seq are the publisher's. */
export type PublishedFacts = Omit<DescriptorFacts, 'issued' | 'lifetime' | 'seq'>

export interface PublisherOptions {
  readonly bootstraps: readonly Peer[]
  readonly rpc: RpcCall
  /** Unix milliseconds. */
  readonly now: () => number
  readonly rng: Rng
  readonly signer: Signer
  readonly facts: PublishedFacts
  /** Seconds; three hours unless a test wants less. */
  readonly lifetimeS?: number
}

const PUBLISH_TIMEOUT_MS = 5000
const FIRST_RETRY_MS = 250
const MAX_RETRY_MS = 60_000
/** A third of the lifetime, so that two whole attempts can fail before anybody sees an expired descriptor. */
const REISSUE_FRACTION = 1 / 3

interface Target {
  readonly peer: Peer
  /** seq that it took, or 0. */
  taken: number
  failures: number
  retryAtMs: number
  inFlight: boolean
}

/** Call `run` at `nextRunMs`. */
export class DescriptorPublisher {
  readonly nodeId: string
  readonly #options: PublisherOptions
  readonly #targets: readonly Target[]
  readonly #abort = new AbortController()
  #facts: PublishedFacts
  #current: { raw: Uint8Array; seq: number; issuedMs: number } | undefined
  #changed = true
  #publishedMs = 0

  constructor(options: PublisherOptions) {
    this.#options = options
    this.#facts = options.facts
    this.nodeId = nodeIdOf(options.signer.publicKey)
    this.#targets = options.bootstraps.map((peer) => ({ peer, taken: 0, failures: 0, retryAtMs: 0, inFlight: false }))
  }

  /** The descriptor's bytes, once issued. */
  get raw(): Uint8Array | undefined {
    return this.#current?.raw
  }

  /** How many bootstrap nodes took the current descriptor. */
  get takenBy(): number {
    return this.#targets.filter((target) => target.taken === this.#current?.seq).length
  }

  /** New facts (a rotated circuit key, another address): a new descriptor with the next `run`. */
  update(facts: PublishedFacts): void {
    this.#facts = facts
    this.#changed = true
  }

  /** A list that was made well after we published and does not have us: the bootstrap nodes forgot, or never heard. Publishes again. */
  noteList(list: RelayList): void {
    if (!this.#current || list.relays.some((relay) => relay.nodeId === this.nodeId)) return
    if (list.validAfter * 1000 <= this.#publishedMs) return
    const now = this.#options.now()
    for (const target of this.#targets) {
      target.taken = 0
      target.retryAtMs = Math.max(target.retryAtMs, now + FIRST_RETRY_MS * this.#options.rng())
    }
    this.#publishedMs = now
  }

  /** Unix milliseconds. */
  nextRunMs(): number {
    if (!this.#current || this.#changed) return this.#options.now()
    const waiting = this.#targets.filter((target) => target.taken !== this.#current?.seq && !target.inFlight)
    return Math.min(this.#reissueMs(), ...waiting.map((target) => target.retryAtMs))
  }

  /**
   * Issues a new descriptor if one is due, and publishes where it has not arrived. Resolves when the calls are settled.
   * Throws ERR_ANONNET_DESCRIPTOR_INVALID when the facts do not fit; a refusal by a bootstrap node is retried with backoff.
   */
  async run(): Promise<void> {
    if (this.#abort.signal.aborted) return
    const nowMs = this.#options.now()
    if (!this.#current || this.#changed || nowMs >= this.#reissueMs()) this.#issue(nowMs)
    const current = this.#current
    if (!current) return
    const due = this.#targets.filter((target) => !target.inFlight && target.taken !== current.seq && nowMs >= target.retryAtMs)
    await Promise.all(due.map((target) => this.#publish(target, current)))
  }

  close(): void {
    this.#abort.abort()
  }

  get #lifetimeS(): number {
    return this.#options.lifetimeS ?? MAX_DESCRIPTOR_LIFETIME_S
  }

  #reissueMs(): number {
    return (this.#current?.issuedMs ?? 0) + this.#lifetimeS * 1000 * REISSUE_FRACTION
  }

  #issue(nowMs: number): void {
    // The clock in milliseconds goes up through restarts, without a counter on disk.
    const seq = Math.max(Math.floor(nowMs), (this.#current?.seq ?? 0) + 1)
    const facts = { ...this.#facts, issued: Math.floor(nowMs / 1000), lifetime: this.#lifetimeS, seq }
    this.#current = { raw: issueDescriptor(facts, this.#options.signer), seq, issuedMs: nowMs }
    this.#changed = false
    for (const target of this.#targets) target.retryAtMs = 0
  }

  async #publish(target: Target, current: { raw: Uint8Array; seq: number }): Promise<void> {
    const { rpc, now, rng } = this.#options
    target.inFlight = true
    const limits = { signal: this.#abort.signal, timeoutMs: PUBLISH_TIMEOUT_MS, maxReplyBytes: MAX_SMALL_REPLY_BYTES }
    try {
      await rpc(target.peer, 'desc.publish', { descriptor: current.raw }, limits)
      target.taken = current.seq
      target.failures = 0
      this.#publishedMs = now()
    } catch (error) {
      const pauseMs = Math.min(FIRST_RETRY_MS * 2 ** Math.min(target.failures++, 16), MAX_RETRY_MS)
      // A node that says "too often" means it: no quick retries there.
      const refused = isAnonNetError(error) && error.code === 'ERR_ANONNET_RATE_LIMITED'
      target.retryAtMs = now() + (refused ? MAX_RETRY_MS : pauseMs) * (0.5 + rng() / 2)
    } finally {
      target.inFlight = false
    }
  }
}
