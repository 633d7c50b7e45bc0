/** A bootstrap node's directory at work: the agreement and the tests of the relays, driven over injected calls. */
import { Agreement, type AgreementOptions, type Outgoing } from './agreement.js'
import { MAX_PING_REPLY_BYTES } from './limits.js'
import { Reachability, type ReachabilityTest, type Verdict, verdictOf } from './reachability.js'
import type { AgreementState } from './state.js'
import type { RelayList, Rng, RpcCall, RpcOrigin } from './types.js'

export interface BootstrapDirectoryOptions extends Omit<AgreementOptions, 'relays'> {
  readonly rpc: RpcCall
  /** Unix milliseconds. */
  readonly now: () => number
  readonly rng: Rng
  /** Called when a call was settled, which may have changed `nextRunMs`. */
  readonly onSettled?: () => void
  /** Called with each finished list that is newer or better than the last. */
  readonly onList?: (list: RelayList) => void
}

/**
 * Call `run` at `nextRunMs` (which changes after each call settled and each request handled), hand it the requests with the prefixes
 * 'desc.', 'list.' and 'vote.', and keep `toState` for a restart.
 */
export class BootstrapDirectory {
  readonly agreement: Agreement
  readonly reachability: Reachability
  readonly #options: BootstrapDirectoryOptions
  readonly #abort = new AbortController()
  readonly #testing = new Set<Promise<void>>()
  #told: string | undefined

  /** Throws ERR_ANONNET_CONFIG_INVALID, ERR_ANONNET_STORE_FAILED. */
  constructor(options: BootstrapDirectoryOptions) {
    this.#options = options
    this.reachability = new Reachability(options.intervalMs, options.rng)
    this.agreement = new Agreement({ ...options, relays: this.reachability })
    this.#told = this.agreement.list?.digest
  }

  /** The newest finished list. */
  get list(): RelayList | undefined {
    return this.agreement.list
  }

  /** Unix milliseconds; what is in flight wakes itself. */
  nextRunMs(): number {
    return Math.min(this.agreement.nextPollMs(this.#options.now()), this.reachability.nextPollMs())
  }

  /** Whether the next run moves the agreement on, and with it what `toState` gives; tests of relays do not change that. */
  agreementDue(): boolean {
    const nowMs = this.#options.now()
    return this.agreement.nextPollMs(nowMs) <= nowMs
  }

  /** Ends `held`: from the next run on it votes. */
  begin(): void {
    this.agreement.begin()
  }

  /** Resolves when no test is under way. Never rejects. */
  async tested(): Promise<void> {
    while (this.#testing.size > 0) await Promise.all(this.#testing)
  }

  toState(): AgreementState {
    return this.agreement.toState()
  }

  /** Answers a request. Throws an AnonNetError whose code is the answer. */
  handle(method: string, params: unknown, from: RpcOrigin): unknown {
    const answer = this.agreement.handle(method, params, from, this.#options.now())
    void this.run()
    return answer
  }

  /**
   * Makes the calls that are due, and begins the tests. Resolves when the calls, and those that follow from their answers at once,
   * are settled; no vote waits for a test. Never rejects.
   */
  async run(): Promise<void> {
    if (this.#abort.signal.aborted) return
    this.#test()
    const due = this.agreement.poll(this.#options.now())
    this.#tell()
    await Promise.all(due.map((call) => this.#make(call)))
  }

  /** Ends what is in flight; nothing runs afterwards. */
  close(): void {
    this.#abort.abort()
  }

  async #make(call: Outgoing): Promise<void> {
    const { peer, method, params, timeoutMs, maxReplyBytes } = call
    let reply: unknown
    try {
      reply = await this.#options.rpc(peer, method, params, { signal: this.#abort.signal, timeoutMs, maxReplyBytes })
    } catch {
      reply = undefined
    }
    this.agreement.settle(call, reply, this.#options.now())
    this.#options.onSettled?.()
    await this.run()
  }

  #test(): void {
    for (const test of this.reachability.poll(this.#options.now())) {
      const testing = this.#ping(test).finally(() => this.#testing.delete(testing))
      this.#testing.add(testing)
    }
  }

  async #ping(test: ReachabilityTest): Promise<void> {
    const limits = { signal: this.#abort.signal, timeoutMs: test.timeoutMs, maxReplyBytes: MAX_PING_REPLY_BYTES, fresh: true }
    let verdict: Verdict = 'reached'
    try {
      await this.#options.rpc(test.peer, 'ping', null, limits)
    } catch (error) {
      verdict = verdictOf(error)
    }
    if (this.#abort.signal.aborted) return
    this.reachability.settle(test, verdict, this.#options.now())
    // One place is free again.
    this.#test()
    this.#options.onSettled?.()
  }

  #tell(): void {
    const { list } = this.agreement
    if (!list || list.digest === this.#told) return
    this.#told = list.digest
    this.#options.onList?.(list)
  }
}
