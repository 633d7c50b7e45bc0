/** A bootstrap node's directory at work: the agreement, driven over injected calls. */
import { Agreement, type AgreementOptions, type Outgoing } from './agreement.js'
import type { AgreementState } from './state.js'
import type { RelayList, RpcCall, RpcOrigin } from './types.js'

export interface BootstrapDirectoryOptions extends AgreementOptions {
  readonly rpc: RpcCall
  /** Unix milliseconds. */
  readonly now: () => number
  /** Called with each finished list that is newer or better than the last. */
  readonly onList?: (list: RelayList) => void
}

/**
 * Call `run` at `nextRunMs` (which changes after each call and each request handled), hand it the requests with the prefixes
 * 'desc.', 'list.' and 'vote.', and keep `toState` for a restart.
 */
export class BootstrapDirectory {
  readonly agreement: Agreement
  readonly #options: BootstrapDirectoryOptions
  readonly #abort = new AbortController()
  #told: string | undefined

  /** Throws ERR_ANONNET_CONFIG_INVALID, ERR_ANONNET_STORE_FAILED. */
  constructor(options: BootstrapDirectoryOptions) {
    this.#options = options
    this.agreement = new Agreement(options)
    this.#told = this.agreement.list?.digest
  }

  /** The newest finished list. */
  get list(): RelayList | undefined {
    return this.agreement.list
  }

  /** Unix milliseconds; what is in flight wakes itself. */
  nextRunMs(): number {
    return this.agreement.nextPollMs(this.#options.now())
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

  /** Makes the calls that are due. Resolves when they, and those that follow from their answers at once, are settled. Never rejects. */
  async run(): Promise<void> {
    if (this.#abort.signal.aborted) return
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
    await this.run()
  }

  #tell(): void {
    const { list } = this.agreement
    if (!list || list.digest === this.#told) return
    this.#told = list.digest
    this.#options.onList?.(list)
  }
}
