import fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import { MAX_REACH_TRIES, REACH_HEDGE_MS, REACH_PARALLEL, REACH_PAUSE_MS, REACH_ROUNDS } from '../../../ts/services/limits.js'
import { newReach, type ReachAction, type ReachEvent, reachStep } from '../../../ts/services/reach.js'

function make() {
  let state = newReach()
  const all: ReachAction[] = []
  const step = (event: ReachEvent, nowMs = 0) => {
    const result = reachStep(state, event, nowMs)
    state = result.state
    all.push(...result.actions)
    return result
  }
  return { step, all, state: () => state }
}

describe('reaching a service', () => {
  it('goes from the descriptor over the rendezvous point to the introduction and the meeting', () => {
    const { step, all } = make()
    step({ type: 'begin' })
    step({ type: 'descriptor', points: 3, cached: false })
    step({ type: 'waits', attempt: 1 })
    step({ type: 'introduced', attempt: 1 })
    step({ type: 'met', attempt: 1 })
    expect(all).toEqual([
      { type: 'lookup', fresh: false },
      { type: 'rendezvous', attempt: 1 },
      { type: 'introduce', attempt: 1, point: 0 },
      { type: 'meet', attempt: 1 },
      { type: 'done', attempt: 1 }
    ])
  })

  it('tries another introduction point at once when one fails, and beside one that takes long', () => {
    const failing = make()
    failing.step({ type: 'begin' })
    failing.step({ type: 'descriptor', points: 3, cached: false })
    failing.step({ type: 'failed', attempt: 1, code: 'ERR_ANONNET_INTRODUCTION_FAILED' })
    expect(failing.all.slice(-2)).toEqual([
      { type: 'drop', attempt: 1 },
      { type: 'rendezvous', attempt: 2 }
    ])
    expect(failing.state().tries.get(2)?.point).toBe(1)

    const slow = make()
    slow.step({ type: 'begin' })
    const { wakeAtMs } = slow.step({ type: 'descriptor', points: 3, cached: false }, 10)
    expect(wakeAtMs).toBe(10 + REACH_HEDGE_MS)
    slow.step({ type: 'tick' }, 10 + REACH_HEDGE_MS)
    expect(slow.state().tries.size).toBe(2)
    slow.step({ type: 'met', attempt: 2 })
    expect(slow.all.slice(-2)).toEqual([
      { type: 'done', attempt: 2 },
      { type: 'drop', attempt: 1 }
    ])
  })

  it('fetches a descriptor again when all points of a kept one fail', () => {
    const { step, all } = make()
    step({ type: 'begin' })
    step({ type: 'descriptor', points: 2, cached: true })
    step({ type: 'failed', attempt: 1, code: 'ERR_ANONNET_INTRODUCTION_FAILED' })
    step({ type: 'failed', attempt: 2, code: 'ERR_ANONNET_INTRODUCTION_FAILED' })
    expect(all.at(-1)).toEqual({ type: 'lookup', fresh: true })
    step({ type: 'descriptor', points: 2, cached: false })
    expect(all.at(-1)).toEqual({ type: 'rendezvous', attempt: 3 })
  })

  it('fetches a descriptor again, after longer and longer pauses, while the points of the last one fail', () => {
    const { step, all } = make()
    step({ type: 'begin' })
    const pauses: number[] = []
    for (let round = 1; round <= REACH_ROUNDS; round++) {
      step({ type: 'descriptor', points: 1, cached: false })
      const { wakeAtMs } = step({ type: 'failed', attempt: round, code: 'ERR_ANONNET_NO_PATH' })
      if (wakeAtMs === undefined) break
      pauses.push(wakeAtMs)
      expect(step({ type: 'tick' }, wakeAtMs - 1).actions).toEqual([])
      expect(step({ type: 'tick' }, wakeAtMs).actions).toEqual([{ type: 'lookup', fresh: true }])
    }
    expect(pauses).toEqual([REACH_PAUSE_MS, 2 * REACH_PAUSE_MS, 4 * REACH_PAUSE_MS])
    expect(all.at(-1)).toEqual({ type: 'fail', code: 'ERR_ANONNET_NO_PATH' })
  })

  it('fetches a descriptor beside tries that take long, once they all do and there is no other point', () => {
    const { step, all, state } = make()
    step({ type: 'begin' })
    // From the cache, whose points may be gone.
    const { wakeAtMs } = step({ type: 'descriptor', points: 1, cached: true }, 0)
    expect(wakeAtMs).toBe(REACH_HEDGE_MS)
    step({ type: 'tick' }, REACH_HEDGE_MS - 1)
    expect(all.at(-1)).toEqual({ type: 'rendezvous', attempt: 1 })
    step({ type: 'tick' }, REACH_HEDGE_MS)
    expect(all.at(-1)).toEqual({ type: 'lookup', fresh: true })
    expect([...state().tries.keys()]).toEqual([1])
    // Once, however often it is looked at meanwhile.
    step({ type: 'tick' }, REACH_HEDGE_MS + 1)
    step({ type: 'tick' }, 10 * REACH_HEDGE_MS)
    expect(all.filter(({ type }) => type === 'lookup').length).toBe(2)

    // What it brings is tried beside the first, which may still meet.
    step({ type: 'descriptor', points: 3, cached: false }, 10 * REACH_HEDGE_MS)
    expect([...state().tries.keys()]).toEqual([1, 2])
    step({ type: 'waits', attempt: 1 })
    step({ type: 'introduced', attempt: 1 })
    step({ type: 'met', attempt: 1 })
    expect(all.slice(-2)).toEqual([
      { type: 'done', attempt: 1 },
      { type: 'drop', attempt: 2 }
    ])
  })

  it('goes on with what runs where no other descriptor can be had', () => {
    const { step, all, state } = make()
    step({ type: 'begin' })
    step({ type: 'descriptor', points: 1, cached: true }, 0)
    step({ type: 'tick' }, REACH_HEDGE_MS)
    step({ type: 'noDescriptor', code: 'ERR_ANONNET_TIMEOUT' }, 2 * REACH_HEDGE_MS)
    expect(state().phase).toBe('trying')
    // It is not asked for again.
    step({ type: 'tick' }, 100 * REACH_HEDGE_MS)
    expect(all.filter(({ type }) => type === 'lookup').length).toBe(2)
    step({ type: 'met', attempt: 1 }, 100 * REACH_HEDGE_MS)
    expect(all.at(-1)).toEqual({ type: 'done', attempt: 1 })
  })

  it('lets the oldest try of an older descriptor go for one of the new', () => {
    const { step, all, state } = make()
    step({ type: 'begin' })
    step({ type: 'descriptor', points: REACH_PARALLEL, cached: true }, 0)
    for (let tries = 1; tries < REACH_PARALLEL; tries++) step({ type: 'tick' }, tries * REACH_HEDGE_MS)
    expect(state().tries.size).toBe(REACH_PARALLEL)
    const later = REACH_PARALLEL * REACH_HEDGE_MS
    step({ type: 'tick' }, later)
    expect(all.at(-1)).toEqual({ type: 'lookup', fresh: true })
    step({ type: 'descriptor', points: 3, cached: false }, later)
    expect(all.slice(-2)).toEqual([
      { type: 'drop', attempt: 1 },
      { type: 'rendezvous', attempt: REACH_PARALLEL + 1 }
    ])
    expect(state().tries.size).toBe(REACH_PARALLEL)
  })

  it('says what failed last, and nothing happens afterwards', () => {
    const { step, all } = make()
    step({ type: 'begin' })
    step({ type: 'descriptor', points: 1, cached: false })
    for (let round = 1; round <= REACH_ROUNDS; round++) {
      if (round > 1) step({ type: 'descriptor', points: 1, cached: false }, round * 1e6)
      const { wakeAtMs } = step({ type: 'failed', attempt: round, code: 'ERR_ANONNET_RENDEZVOUS_FAILED' }, round * 1e6)
      if (wakeAtMs !== undefined) step({ type: 'tick' }, wakeAtMs)
    }
    expect(all.at(-1)).toEqual({ type: 'fail', code: 'ERR_ANONNET_RENDEZVOUS_FAILED' })
    expect(step({ type: 'tick' }, 1e9).actions).toEqual([])
    const none = make()
    none.step({ type: 'begin' })
    none.step({ type: 'noDescriptor', code: 'ERR_ANONNET_SERVICE_NOT_FOUND' })
    expect(none.all.at(-1)).toEqual({ type: 'fail', code: 'ERR_ANONNET_SERVICE_NOT_FOUND' })
    const empty = make()
    empty.step({ type: 'begin' })
    for (let round = 1; round <= REACH_ROUNDS; round++) {
      const { wakeAtMs } = empty.step({ type: 'descriptor', points: 0, cached: false })
      if (wakeAtMs !== undefined) empty.step({ type: 'tick' }, wakeAtMs)
    }
    expect(empty.all.at(-1)?.type).toBe('fail')
  })

  it('always ends, with bounded tries, few at a time, and drops whatever it began but for the one that met', () => {
    const event = fc.tuple(fc.constantFrom('waits', 'introduced', 'met', 'failed', 'tick'), fc.nat(MAX_REACH_TRIES), fc.nat(3_000))
    fc.assert(
      fc.property(fc.nat(4), fc.boolean(), fc.array(event, { maxLength: 80 }), (points, cached, script) => {
        const { step, all, state } = make()
        let nowMs = 0
        const run = (one: ReachEvent) => {
          const { actions } = step(one, nowMs)
          expect(state().tries.size).toBeLessThanOrEqual(REACH_PARALLEL)
          if (actions.some((action) => action.type === 'lookup' && action.fresh)) step({ type: 'descriptor', points, cached: false }, nowMs)
        }
        run({ type: 'begin' })
        run({ type: 'descriptor', points, cached })
        for (const [type, attempt, later] of script) {
          nowMs += later
          run(
            type === 'failed'
              ? { type, attempt, code: 'ERR_ANONNET_TIMEOUT' }
              : type === 'tick'
                ? { type }
                : ({ type, attempt } as ReachEvent)
          )
        }
        for (let round = 0; round < 3 * REACH_ROUNDS; round++) {
          nowMs += 1e6
          run({ type: 'tick' })
          for (let attempt = 1; attempt <= MAX_REACH_TRIES; attempt++) run({ type: 'failed', attempt, code: 'ERR_ANONNET_TIMEOUT' })
        }
        expect(all.filter((action) => action.type === 'done' || action.type === 'fail')).toHaveLength(1)
        const begun = all.flatMap((action) => (action.type === 'rendezvous' ? [action.attempt] : []))
        const over = all.flatMap((action) => (action.type === 'drop' || action.type === 'done' ? [action.attempt] : []))
        expect(begun.length).toBeLessThanOrEqual(MAX_REACH_TRIES)
        expect([...over].sort()).toEqual([...begun].sort())
      })
    )
  })
})
