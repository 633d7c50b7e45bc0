/** The client's side: keeps the newest list that a majority of the configured bootstrap keys signed. */

import { fault } from '../wire/index.js'
import { ListArchive, listBytes, listQuestion } from './archive.js'
import { MAX_LARGE_REPLY_BYTES } from './limits.js'
import { checkBootstrapKeys, verifyList } from './list.js'
import type { Peer, RelayList, Rng, RpcCall, RpcOrigin, Verify } from './types.js'

/** When every client should have the list after this one, Unix milliseconds. */
export function nextListByMs({ validAfter, freshUntil }: RelayList): number {
  return (freshUntil + (freshUntil - validAfter) * SPREAD_FRACTION) * 1000
}

export interface FetcherOptions {
  /** All configured bootstrap keys. */
  readonly bootstrapKeys: readonly Uint8Array[]
  /** Whom to ask: bootstrap nodes, or relays that cache. */
  readonly sources: readonly Peer[]
  readonly rpc: RpcCall
  /** Unix milliseconds. */
  readonly now: () => number
  readonly rng: Rng
  readonly verify: Verify
  /** Bytes of a list kept from the last time (`cached`). */
  readonly cached?: Uint8Array
  /** With fewer relays in its list the client asks again soon: a network that is just starting. */
  readonly minRelays?: number
  /** Called with each new list. */
  readonly onList?: (list: RelayList) => void
}

const FETCH_TIMEOUT_MS = 10_000
/** Sources asked at the same time. */
const PARALLEL = 2
const FIRST_RETRY_MS = 250
const MAX_RETRY_MS = 60_000
/** How soon a client asks again that has a list with too few relays, or a stale one: an eighth of the interval, within these. */
const MIN_SOON_MS = 100
const MAX_SOON_MS = 60_000
/** After a list is no longer fresh, clients come spread over this part of an interval. */
const SPREAD_FRACTION = 1 / 4

/**
 * Call `run` at `nextRunMs`. `current` is the list to use. Nothing is believed because of where it came from: only what the keys
 * signed, never older than what one has, never expired.
 */
export class ListFetcher {
  readonly #options: FetcherOptions
  readonly #abort = new AbortController()
  readonly #archive = new ListArchive()
  #sources: readonly Peer[]
  #failures = 0
  #nextMs = 0
  #running: Promise<void> | undefined

  /** Throws ERR_ANONNET_CONFIG_INVALID for a wrong set of keys. A cached list that is not good (any more) is left out. */
  constructor(options: FetcherOptions) {
    checkBootstrapKeys(options.bootstrapKeys)
    this.#options = options
    this.#sources = options.sources
    if (options.cached === undefined) return
    try {
      this.#archive.add(this.#verify(options.cached))
      this.#plan(true)
    } catch {
      // It was good when it was kept; by now it has expired, or the keys were changed. A new one is fetched.
    }
  }

  /** Bytes to keep for the next start. */
  get cached(): Uint8Array | undefined {
    return this.#archive.newest?.raw
  }

  /** The newest list whatever its age, for display. */
  get newest(): RelayList | undefined {
    return this.#archive.newest
  }

  /**
   * The list to use now: the newest that is valid, else the previous one.
   * Throws ERR_ANONNET_NOT_BOOTSTRAPPED when there was none yet, ERR_ANONNET_LIST_INVALID when all have expired.
   */
  current(): RelayList {
    const nowMs = this.#options.now()
    const usable = this.#archive.lists.find((list) => nowMs < list.validUntil * 1000)
    if (usable) return usable
    if (this.#archive.newest) throw fault('ERR_ANONNET_LIST_INVALID', 'expired')
    throw fault('ERR_ANONNET_NOT_BOOTSTRAPPED', 'no list yet')
  }

  /** Other places to ask from now on. */
  setSources(sources: readonly Peer[]): void {
    this.#sources = sources
  }

  /** Takes a list from anywhere. Returns whether it was new. Throws ERR_ANONNET_LIST_INVALID, also for one older than ours. */
  accept(bytes: Uint8Array): boolean {
    const list = this.#verify(bytes)
    const { newest } = this.#archive
    if (list.digest === newest?.digest) return false
    if (newest && list.interval <= newest.interval) throw fault('ERR_ANONNET_LIST_INVALID', 'older than the one known')
    this.#archive.add(list)
    this.#options.onList?.(list)
    return true
  }

  /** Answers 'list.get' from what we have: a relay serves its clients so. Throws as ListArchive.get does. */
  handle(method: string, params: unknown, _from: RpcOrigin): unknown {
    if (method !== 'list.get') throw fault('ERR_ANONNET_RPC_INVALID', 'unknown method')
    return this.#archive.get(params)
  }

  /** Unix milliseconds. */
  nextRunMs(): number {
    return this.#nextMs
  }

  /** Fetches, whether due or not. Resolves when a newer list is there or all sources were asked; never rejects. One at a time. */
  run(): Promise<void> {
    this.#running ??= this.#fetch().finally(() => {
      this.#running = undefined
    })
    return this.#running
  }

  close(): void {
    this.#abort.abort()
  }

  #verify(bytes: Uint8Array): RelayList {
    return verifyList(bytes, this.#options.bootstrapKeys, this.#options.now(), this.#options.verify)
  }

  async #fetch(): Promise<void> {
    if (this.#abort.signal.aborted) return
    const sources = shuffled(this.#sources, this.#options.rng)
    const round = new AbortController()
    let answered = false
    const worker = async (): Promise<void> => {
      for (let peer = sources.pop(); peer && !round.signal.aborted; peer = sources.pop()) {
        try {
          const fresh = await this.#ask(peer, AbortSignal.any([this.#abort.signal, round.signal]))
          answered = true
          // A source that has nothing newer ends the search only if nothing newer is to be expected.
          if (fresh || this.#isFresh()) round.abort()
        } catch {
          // Dead, lying or without a list: the next one is asked.
        }
      }
    }
    await Promise.all(Array.from({ length: PARALLEL }, worker))
    this.#plan(answered)
  }

  /** Returns whether the peer had a newer list. */
  async #ask(peer: Peer, signal: AbortSignal): Promise<boolean> {
    const have = this.#archive.newest
    const limits = { signal, timeoutMs: FETCH_TIMEOUT_MS, maxReplyBytes: MAX_LARGE_REPLY_BYTES }
    const reply = await this.#options.rpc(peer, 'list.get', listQuestion(have), limits)
    const bytes = listBytes(reply, have)
    return bytes !== have?.raw && this.accept(bytes)
  }

  #isFresh(): boolean {
    const list = this.#archive.newest
    return list !== undefined && this.#options.now() < list.freshUntil * 1000 && list.relays.length >= (this.#options.minRelays ?? 0)
  }

  #plan(answered: boolean): void {
    const { now, rng } = this.#options
    const nowMs = now()
    const list = this.#archive.newest
    this.#failures = answered ? 0 : this.#failures + 1
    if (!list || !answered) {
      const pauseMs = Math.min(FIRST_RETRY_MS * 2 ** Math.min(Math.max(0, this.#failures - 1), 16), MAX_RETRY_MS)
      this.#nextMs = nowMs + pauseMs * (0.5 + rng() / 2)
      return
    }
    const intervalMs = (list.freshUntil - list.validAfter) * 1000
    if (this.#isFresh()) this.#nextMs = list.freshUntil * 1000 + rng() * intervalMs * SPREAD_FRACTION
    else this.#nextMs = nowMs + Math.min(MAX_SOON_MS, Math.max(MIN_SOON_MS, intervalMs / 8)) * (0.5 + rng() / 2)
  }
}

function shuffled<T>(items: readonly T[], rng: Rng): T[] {
  const copy = [...items]
  for (let i = copy.length - 1; i > 0; i--) {
    const j = Math.floor(rng() * (i + 1))
    const [a, b] = [copy[i] as T, copy[j] as T]
    copy[i] = b
    copy[j] = a
  }
  return copy
}
