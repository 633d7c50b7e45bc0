/**
 * Which relays answer: whom a bootstrap node tests when, and for whom it may vote. Without I/O and without a clock: `poll` says
 * whom to test, `settle` takes what came of it. All times are Unix milliseconds, handed in.
 *
 * A relay is a node id at an address. It may be listed once this node reached it, or a majority listed it (then others reached
 * it), until two tests in a row fail. One lost packet delists nobody, and a relay that never answered is never voted for.
 */
import { wrapError } from '../errors/index.js'
import { clamp } from './clamp.js'
import {
  FAILED_TESTS_TO_DELIST,
  MAX_RETEST_PAUSE_MS,
  MAX_RUNNING_TESTS,
  MAX_TEST_TIMEOUT_MS,
  MIN_TEST_PAUSE_MS,
  MIN_TEST_TIMEOUT_MS,
  TEST_JITTER,
  TESTS_PER_INTERVAL
} from './limits.js'
import type { StoreWatcher } from './store.js'
import type { Peer, Rng } from './types.js'

/** What a test showed: `unknown` when it failed for a reason of this node's own. */
export type Verdict = 'reached' | 'failed' | 'unknown'

/** A test that is due. Hand what came of it to `settle`. */
export interface ReachabilityTest {
  readonly peer: Peer
  readonly timeoutMs: number
}

interface RelayState {
  readonly address: string
  /** Reached by us, or listed by a majority. */
  vouched: boolean
  /** Failed tests since the last answer. */
  failures: number
  /** When its last test began. */
  testedMs: number
  /** When its next test begins; undefined until it is drawn. */
  dueMs: number | undefined
  running: ReachabilityTest | undefined
}

/** Codes of a call that did not reach the relay. Who answers a ping with one of them delists himself: the router never does. */
const NOT_REACHED: ReadonlySet<string> = new Set([
  'ERR_ANONNET_LINK_UNREACHABLE',
  'ERR_ANONNET_LINK_IDENTITY',
  'ERR_ANONNET_LINK_PROTOCOL',
  'ERR_ANONNET_LINK_CLOSED',
  'ERR_ANONNET_TIMEOUT',
  // Turned away before it proved who it is.
  'ERR_ANONNET_RATE_LIMITED',
  // Its descriptor has an address that cannot be dialled.
  'ERR_ANONNET_INVALID_ADDRESS',
  'ERR_ANONNET_INVALID_ARGUMENT'
])

/** Codes of our own troubles. From another node they come as RPC_REFUSED. */
const OUR_OWN: ReadonlySet<string> = new Set([
  'ERR_ANONNET_RESOURCE_LIMIT',
  'ERR_ANONNET_CLOSED',
  'ERR_ANONNET_ABORTED',
  'ERR_ANONNET_INTERNAL'
])

/** What the error of a ping says of the relay. A refusal, a reset and a malformed answer all come from it: it was reached. */
export function verdictOf(error: unknown): Verdict {
  const { code } = wrapError(error)
  if (OUR_OWN.has(code)) return 'unknown'
  return NOT_REACHED.has(code) ? 'failed' : 'reached'
}

export class Reachability implements StoreWatcher {
  readonly #rng: Rng
  readonly #periodMs: number
  readonly #retestMs: number
  readonly #timeoutMs: number
  readonly #relays = new Map<string, RelayState>()
  readonly #running = new Set<ReachabilityTest>()
  /** No test is due before this, so that not every request looks through all relays. */
  #earliestMs = Number.POSITIVE_INFINITY

  constructor(intervalMs: number, rng: Rng) {
    this.#rng = rng
    this.#periodMs = Math.max(MIN_TEST_PAUSE_MS, intervalMs / TESTS_PER_INTERVAL)
    this.#retestMs = clamp(this.#periodMs / 10, MIN_TEST_PAUSE_MS, MAX_RETEST_PAUSE_MS)
    this.#timeoutMs = clamp(intervalMs / 4, MIN_TEST_TIMEOUT_MS, MAX_TEST_TIMEOUT_MS)
  }

  /** How many relays are known. */
  get size(): number {
    return this.#relays.size
  }

  /** How many tests are under way. */
  get running(): number {
    return this.#running.size
  }

  /** Whether this node may vote for the relay. */
  listable(nodeId: string, address: string): boolean {
    const state = this.#relays.get(nodeId)
    return state?.address === address && state.vouched && state.failures < FAILED_TESTS_TO_DELIST
  }

  /** The relay published a descriptor: it says that it is up, so it is tested at once. The store limits how often that is. */
  published(nodeId: string, address: string, nowMs: number): void {
    const state = this.#at(nodeId, address)
    state.dueMs = Math.max(nowMs, state.testedMs + MIN_TEST_PAUSE_MS)
    this.#earliestMs = Math.min(this.#earliestMs, state.dueMs)
  }

  /** A majority listed it. Failures that we saw stay: only an answer undoes them. */
  adopted(nodeId: string, address: string): void {
    const state = this.#at(nodeId, address)
    state.vouched = true
    if (state.dueMs === undefined) this.#earliestMs = 0
  }

  /** The store knows it no longer. */
  removed(nodeId: string): void {
    this.#relays.delete(nodeId)
  }

  /** The tests that are due, those that wait the longest first. */
  poll(nowMs: number): ReachabilityTest[] {
    const room = MAX_RUNNING_TESTS - this.#running.size
    if (room <= 0 || nowMs < this.#earliestMs) return []
    this.#earliestMs = Number.POSITIVE_INFINITY
    const due: { nodeId: string; state: RelayState; dueMs: number }[] = []
    for (const [nodeId, state] of this.#relays) {
      if (state.running) continue
      // Many come at once, with a list or a restart: their tests are spread over the period.
      state.dueMs ??= Math.max(nowMs + this.#rng() * this.#periodMs, state.testedMs + MIN_TEST_PAUSE_MS)
      if (state.dueMs <= nowMs) due.push({ nodeId, state, dueMs: state.dueMs })
      else this.#earliestMs = Math.min(this.#earliestMs, state.dueMs)
    }
    due.sort((a, b) => a.dueMs - b.dueMs)
    this.#earliestMs = Math.min(this.#earliestMs, due[room]?.dueMs ?? Number.POSITIVE_INFINITY)
    return due.slice(0, room).map(({ nodeId, state }) => this.#begin(nodeId, state, nowMs))
  }

  /** When `poll` has something to do again, if nothing is settled before. */
  nextPollMs(): number {
    return this.#running.size < MAX_RUNNING_TESTS ? this.#earliestMs : Number.POSITIVE_INFINITY
  }

  /** Takes what a test showed. Of a relay that moved or went meanwhile it says nothing. */
  settle(test: ReachabilityTest, verdict: Verdict, nowMs: number): void {
    this.#running.delete(test)
    const state = this.#relays.get(test.peer.nodeId)
    if (state?.running !== test) return
    state.running = undefined
    if (verdict === 'reached') {
      state.vouched = true
      state.failures = 0
    } else if (verdict === 'failed') {
      state.failures++
    }
    state.dueMs = nowMs + this.#pauseMs(state, verdict)
    this.#earliestMs = Math.min(this.#earliestMs, state.dueMs)
  }

  #at(nodeId: string, address: string): RelayState {
    const known = this.#relays.get(nodeId)
    if (known?.address === address) return known
    const testedMs = known?.testedMs ?? Number.NEGATIVE_INFINITY
    const state: RelayState = { address, vouched: false, failures: 0, testedMs, dueMs: undefined, running: undefined }
    this.#relays.set(nodeId, state)
    return state
  }

  #begin(nodeId: string, state: RelayState, nowMs: number): ReachabilityTest {
    const test = { peer: { nodeId, address: state.address }, timeoutMs: this.#timeoutMs }
    state.running = test
    state.testedMs = nowMs
    this.#running.add(test)
    return test
  }

  /** A period after an answer; after failures first soon, to tell a loss from a death, then doubling up to the period. */
  #pauseMs(state: RelayState, verdict: Verdict): number {
    const doublings = Math.min(Math.max(0, state.failures - 1), 16)
    const pauseMs = verdict === 'reached' ? this.#periodMs : Math.min(this.#retestMs * 2 ** doublings, this.#periodMs)
    return Math.max(MIN_TEST_PAUSE_MS, pauseMs * (1 - TEST_JITTER * this.#rng()))
  }
}
