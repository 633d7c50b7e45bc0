/** Whom a bootstrap node tests when, on a clock that the test moves. */
import { describe, expect, it } from 'vitest'
import {
  FAILED_TESTS_TO_DELIST,
  MAX_RETEST_PAUSE_MS,
  MAX_RUNNING_TESTS,
  MAX_TEST_TIMEOUT_MS,
  MIN_TEST_PAUSE_MS,
  MIN_TEST_TIMEOUT_MS,
  TEST_JITTER,
  TESTS_PER_INTERVAL
} from '../../../ts/directory/limits.js'
import { Reachability, type ReachabilityTest, type Verdict, verdictOf } from '../../../ts/directory/reachability.js'
import { errorFromCode } from '../../../ts/errors/index.js'

const HOUR_MS = 3_600_000
const PERIOD_MS = HOUR_MS / TESTS_PER_INTERVAL
const START_MS = 1_800_000_000_000
const A = 'aa'.repeat(32)
const AT = '127.1.0.1:4000'

function generator(seed = 1): () => number {
  let state = seed
  return () => {
    state = (state * 16_807) % 2_147_483_647
    return state / 2_147_483_647
  }
}

/** The policy and its clock; `answers` says what each test shows. */
class World {
  readonly policy: Reachability
  nowMs = START_MS
  /** When each relay was tested. */
  readonly tested = new Map<string, number[]>()

  constructor(intervalMs = HOUR_MS, rng = generator()) {
    this.policy = new Reachability(intervalMs, rng)
  }

  poll(): ReachabilityTest[] {
    const tests = this.policy.poll(this.nowMs)
    for (const { peer } of tests) this.tested.set(peer.nodeId, [...(this.tested.get(peer.nodeId) ?? []), this.nowMs])
    return tests
  }

  /** Jumps from one due time to the next. */
  runUntil(endMs: number, answers: (nodeId: string) => Verdict): void {
    for (;;) {
      const next = Math.max(this.nowMs, this.policy.nextPollMs())
      if (next > endMs) break
      this.nowMs = next
      for (const test of this.poll()) this.policy.settle(test, answers(test.peer.nodeId), this.nowMs)
    }
    this.nowMs = endMs
  }

  /** The test of the only relay that is due, once it is. */
  next(): ReachabilityTest {
    for (let i = 0; i < 3; i++) {
      this.nowMs = Math.max(this.nowMs, this.policy.nextPollMs())
      const [test] = this.poll()
      if (test) return test
    }
    throw new Error('nothing is due')
  }

  pauses(nodeId: string): number[] {
    const times = this.tested.get(nodeId) ?? []
    return times.slice(1).map((time, index) => time - times[index]!)
  }
}

const nodeId = (index: number): string => index.toString(16).padStart(64, '0')

describe('a relay that publishes', () => {
  it('is tested at once, and may be listed when it has answered', () => {
    const world = new World()
    world.policy.published(A, AT, world.nowMs)
    expect(world.policy.nextPollMs()).toBe(world.nowMs)
    const [test] = world.poll()
    expect(test).toMatchObject({ peer: { nodeId: A, address: AT } })
    expect(world.policy.listable(A, AT)).toBe(false)
    world.policy.settle(test!, 'reached', world.nowMs + 20)
    expect(world.policy.listable(A, AT)).toBe(true)
    expect(world.policy.listable(A, '127.1.0.1:4001')).toBe(false)
    expect(world.policy.listable(nodeId(1), AT)).toBe(false)
  })

  it('may never be listed while it never answers, however often it publishes', () => {
    const world = new World()
    for (let i = 0; i < 50; i++) {
      world.policy.published(A, AT, world.nowMs)
      world.runUntil(world.nowMs + PERIOD_MS / 3, () => 'failed')
      expect(world.policy.listable(A, AT)).toBe(false)
    }
    expect(world.tested.get(A)!.length).toBeGreaterThan(50)
  })

  it('is not tested twice within a second', () => {
    const world = new World(2000)
    for (let i = 0; i < 200; i++) {
      // New addresses do not make it a new relay in this.
      world.policy.published(A, `127.1.0.1:${4000 + (i % 3)}`, world.nowMs)
      world.runUntil(world.nowMs + 70, () => (i % 2 === 0 ? 'failed' : 'reached'))
    }
    const pauses = world.pauses(A)
    expect(pauses.length).toBeGreaterThanOrEqual(12)
    expect(Math.min(...pauses)).toBe(MIN_TEST_PAUSE_MS)
  })

  it('has to be reached anew at another address, whatever a test of the old one shows', () => {
    const world = new World()
    world.policy.published(A, AT, world.nowMs)
    world.policy.settle(world.next(), 'reached', world.nowMs)
    world.nowMs += 5000
    world.policy.published(A, AT, world.nowMs)
    const old = world.next()
    world.policy.published(A, '127.2.0.1:4000', world.nowMs)
    expect([world.policy.listable(A, AT), world.policy.listable(A, '127.2.0.1:4000')]).toEqual([false, false])
    world.policy.settle(old, 'reached', world.nowMs)
    expect(world.policy.listable(A, '127.2.0.1:4000')).toBe(false)
    const moved = world.next()
    expect(moved.peer.address).toBe('127.2.0.1:4000')
    world.policy.settle(moved, 'reached', world.nowMs)
    expect(world.policy.listable(A, '127.2.0.1:4000')).toBe(true)
  })
})

describe('a relay that a majority listed', () => {
  it('may be listed before it was tested, until two tests in a row fail', () => {
    const world = new World()
    world.policy.adopted(A, AT)
    expect(world.policy.listable(A, AT)).toBe(true)
    world.policy.settle(world.next(), 'failed', world.nowMs)
    expect(world.policy.listable(A, AT)).toBe(true)
    world.policy.settle(world.next(), 'reached', world.nowMs)
    for (let failures = 0; failures < FAILED_TESTS_TO_DELIST; failures++) {
      expect(world.policy.listable(A, AT)).toBe(true)
      world.policy.settle(world.next(), 'failed', world.nowMs)
    }
    expect(world.policy.listable(A, AT)).toBe(false)
    // That others list it again does not show that it answers us.
    world.policy.adopted(A, AT)
    expect(world.policy.listable(A, AT)).toBe(false)
    world.policy.settle(world.next(), 'reached', world.nowMs)
    expect(world.policy.listable(A, AT)).toBe(true)
  })

  it('may be listed though our first test of it fails, since others reached it', () => {
    const world = new World()
    world.policy.published(A, AT, world.nowMs)
    world.policy.settle(world.next(), 'failed', world.nowMs)
    expect(world.policy.listable(A, AT)).toBe(false)
    world.policy.adopted(A, AT)
    expect(world.policy.listable(A, AT)).toBe(true)
  })

  it('is not counted out by troubles of our own, which are tried again soon', () => {
    const world = new World()
    world.policy.adopted(A, AT)
    for (let i = 0; i < 5; i++) {
      world.policy.settle(world.next(), 'unknown', world.nowMs)
      expect(world.policy.nextPollMs() - world.nowMs).toBeLessThanOrEqual(MAX_RETEST_PAUSE_MS)
    }
    expect(world.policy.listable(A, AT)).toBe(true)
  })
})

describe('tests', () => {
  it('come four times an interval for each relay, and not at the same moment', () => {
    const world = new World()
    for (let i = 0; i < 200; i++) world.policy.adopted(nodeId(i), AT)
    world.runUntil(START_MS + PERIOD_MS, () => 'reached')
    const firsts = [...world.tested.values()].map(([first]) => first! - START_MS)
    expect(firsts).toHaveLength(200)
    // Each tenth of the period has its share.
    for (let tenth = 0; tenth < 10; tenth++) {
      const share = firsts.filter((time) => Math.floor((time * 10) / PERIOD_MS) === tenth).length
      expect(share).toBeGreaterThan(5)
      expect(share).toBeLessThan(40)
    }
    world.runUntil(START_MS + 10 * HOUR_MS, () => 'reached')
    for (let i = 0; i < 200; i++) {
      const pauses = world.pauses(nodeId(i))
      expect(Math.min(...pauses)).toBeGreaterThanOrEqual(PERIOD_MS * (1 - TEST_JITTER))
      expect(Math.max(...pauses)).toBeLessThanOrEqual(PERIOD_MS)
      expect(Math.max(...pauses) - Math.min(...pauses)).toBeGreaterThan(PERIOD_MS / 20)
    }
  })

  it('follow a first failure soon, and those after it with pauses that double up to the period', () => {
    const world = new World(HOUR_MS, () => 0)
    world.policy.adopted(A, AT)
    world.runUntil(START_MS + 4 * HOUR_MS, () => 'failed')
    expect(world.pauses(A).slice(0, 6)).toEqual([
      MAX_RETEST_PAUSE_MS,
      2 * MAX_RETEST_PAUSE_MS,
      4 * MAX_RETEST_PAUSE_MS,
      8 * MAX_RETEST_PAUSE_MS,
      PERIOD_MS,
      PERIOD_MS
    ])
    const middle = new World(400_000, () => 0)
    middle.policy.adopted(A, AT)
    middle.runUntil(START_MS + 100_000, () => 'failed')
    expect(middle.pauses(A)[0]).toBe(10_000)
    const quick = new World(2000, generator(3))
    quick.policy.adopted(A, AT)
    quick.runUntil(START_MS + 10_000, () => 'failed')
    expect(new Set(quick.pauses(A))).toEqual(new Set([MIN_TEST_PAUSE_MS]))
  })

  it('are 32 at the same time at most; the others wait their turn', () => {
    const world = new World()
    for (let i = 0; i < 100; i++) world.policy.published(nodeId(i), AT, world.nowMs + (i % 2))
    world.nowMs += 10
    const first = world.poll()
    expect(first).toHaveLength(MAX_RUNNING_TESTS)
    expect(world.poll()).toEqual([])
    expect(world.policy.nextPollMs()).toBe(Number.POSITIVE_INFINITY)
    // Those that waited longer came first.
    expect(first.every(({ peer }) => Number.parseInt(peer.nodeId, 16) % 2 === 0)).toBe(true)
    world.policy.settle(first[0]!, 'failed', world.nowMs)
    expect(world.policy.nextPollMs()).toBeLessThanOrEqual(world.nowMs)
    expect(world.poll()).toHaveLength(1)
    // Those of relays that moved or went count until they end.
    for (const { peer } of first) world.policy.removed(peer.nodeId)
    expect(world.poll()).toEqual([])
    expect(world.policy.running).toBe(MAX_RUNNING_TESTS)
    for (const test of first) world.policy.settle(test, 'reached', world.nowMs)
    expect(world.policy.listable(first[1]!.peer.nodeId, AT)).toBe(false)
    expect(world.policy.size).toBe(100 - MAX_RUNNING_TESTS)
  })

  it('may take a quarter of the interval, 1 s at least and 5 s at most', () => {
    const timeouts = [1000, 8000, HOUR_MS].map((intervalMs) => {
      const world = new World(intervalMs)
      world.policy.published(A, AT, world.nowMs)
      return world.next().timeoutMs
    })
    expect(timeouts).toEqual([MIN_TEST_TIMEOUT_MS, 2000, MAX_TEST_TIMEOUT_MS])
  })

  it('tell an answer from silence, and from troubles of our own', () => {
    const verdicts = (codes: readonly string[]) => new Set(codes.map((code) => verdictOf(errorFromCode(`ERR_ANONNET_${code}`))))
    expect(verdicts(['RPC_REFUSED', 'RPC_INVALID', 'UNSUPPORTED', 'STREAM_RESET', 'NOT_FOUND'])).toEqual(new Set(['reached']))
    const silence = ['LINK_UNREACHABLE', 'LINK_IDENTITY', 'LINK_PROTOCOL', 'LINK_CLOSED', 'TIMEOUT', 'RATE_LIMITED', 'INVALID_ADDRESS']
    expect(verdicts(silence)).toEqual(new Set(['failed']))
    expect(verdicts(['RESOURCE_LIMIT', 'CLOSED', 'ABORTED', 'INTERNAL'])).toEqual(new Set(['unknown']))
    expect(verdictOf(new TypeError('a bug'))).toBe('unknown')
  })
})
