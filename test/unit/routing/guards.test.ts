import { describe, expect, it } from 'vitest'
import type { RelayList } from '../../../ts/directory/types.js'
import {
  GUARD_FILE_MAX_ENTRIES,
  GUARD_LIFETIME_MAX_MS,
  GUARD_LIFETIME_MIN_MS,
  GUARD_SAMPLE_MAX,
  GUARD_SAMPLE_TARGET,
  GUARD_UNLISTED_KEPT_MS,
  type GuardState,
  guardFailed,
  guardSampleLimit,
  guardSucceeded,
  guardSummary,
  guardTiers,
  guardTried,
  networkChanged,
  newGuards,
  PRIMARY_GUARDS,
  PRIMARY_RETRY_FIRST_MS,
  PRIMARY_RETRY_MAX_MS,
  refreshGuards,
  SPARE_GUARDS,
  SPARE_RETRY_MAX_MS
} from '../../../ts/routing/index.js'
import { listOf, network, relay, seeded } from './relays.js'

const NOW = 1_800_000_000_000
const DAY = 86_400_000
const half = () => 0.5

const sample = (list: RelayList, seed = 1, nowMs = NOW): GuardState => refreshGuards(newGuards(), list, seeded(seed), nowMs)
const first = (guards: GuardState, list: RelayList, patient = false, nowMs = NOW): string | undefined =>
  guardTiers(guards, list, patient, nowMs)[0]?.[0]?.nodeId
const at = (guards: GuardState, index: number): string => guards.sampled[index]!.nodeId

describe('the sample', () => {
  it('is a fifth of the guards, 60 at most, and three in any case', () => {
    expect([0, 3, 15, 19, 20, 100, 299, 300, 5000].map(guardSampleLimit)).toEqual([
      3,
      3,
      3,
      3,
      4,
      20,
      59,
      GUARD_SAMPLE_MAX,
      GUARD_SAMPLE_MAX
    ])
  })

  it('is drawn once and kept, each guard for 60 to 120 days', () => {
    const list = network(300)
    const guards = sample(list)
    expect(guards.sampled).toHaveLength(GUARD_SAMPLE_TARGET)
    expect(new Set(guards.sampled.map((guard) => guard.nodeId)).size).toBe(GUARD_SAMPLE_TARGET)
    for (const guard of guards.sampled) {
      const lifetime = guard.expiresAtMs - NOW
      expect(lifetime).toBeGreaterThanOrEqual(GUARD_LIFETIME_MIN_MS)
      expect(lifetime).toBeLessThanOrEqual(GUARD_LIFETIME_MAX_MS)
    }
    expect(new Set(guards.sampled.map((guard) => guard.expiresAtMs)).size).toBeGreaterThan(10)
    expect(refreshGuards(guards, list, seeded(2), NOW + 59 * DAY)).toBe(guards)
    const later = refreshGuards(guards, list, seeded(2), NOW + 121 * DAY)
    expect(later.sampled).toHaveLength(GUARD_SAMPLE_TARGET)
    for (const guard of later.sampled) expect(guard.addedAtMs).toBe(NOW + 121 * DAY)
  })

  it('takes all the guards of a tiny network', () => {
    expect(sample(network(4)).sampled).toHaveLength(3)
    expect(sample(listOf([relay({ n: 1 })])).sampled).toHaveLength(1)
    expect(sample(listOf([relay({ n: 1, exit: true })])).sampled).toHaveLength(0)
  })

  it('is drawn by weight', () => {
    const relays = Array.from({ length: 30 }, (_, n) => relay({ n, weight: n < 15 ? 1 : 1000 }))
    for (let seed = 0; seed < 20; seed++) {
      const light = sample(listOf(relays), seed).sampled.filter((guard) => Number.parseInt(guard.nodeId, 16) < 15)
      expect(light).toHaveLength(0)
    }
  })

  it('keeps who left the list for a while, puts new ones behind, and takes them back', () => {
    const list = network(36)
    const guards = sample(list)
    const gone = at(guards, 0)
    const without = listOf(list.relays.filter((one) => one.nodeId !== gone))
    const missing = refreshGuards(guards, without, seeded(3), NOW + DAY)
    expect(at(missing, 0)).toBe(gone)
    expect(missing.sampled[0]?.unlistedSinceMs).toBe(NOW + DAY)
    expect(missing.sampled).toHaveLength(guards.sampled.length + 1)
    expect(first(missing, without)).toBe(at(guards, 1))
    const back = refreshGuards(missing, list, seeded(4), NOW + 2 * DAY)
    expect(back.sampled[0]).toEqual(guards.sampled[0])
    expect(first(back, list)).toBe(gone)
    const forgotten = refreshGuards(missing, without, seeded(4), NOW + DAY + GUARD_UNLISTED_KEPT_MS)
    expect(forgotten.sampled.some((guard) => guard.nodeId === gone)).toBe(false)
  })

  it('counts a relay that is no guard any more as gone', () => {
    const list = network(30)
    const guards = sample(list)
    const demoted = listOf(
      list.relays.map((one) => (one.nodeId === at(guards, 0) ? { ...one, roles: { ...one.roles, guard: false } } : one))
    )
    expect(refreshGuards(guards, demoted, seeded(3), NOW).sampled[0]?.unlistedSinceMs).toBe(NOW)
    expect(guardTiers(guards, demoted, false, NOW).flat()).not.toContainEqual(expect.objectContaining({ nodeId: at(guards, 0) }))
  })

  it('has a limit also for those that left, the longest gone go first', () => {
    let guards = newGuards()
    for (let round = 0; round < 30; round++) {
      const relays = Array.from({ length: 50 }, (_, n) => relay({ n: 1000 * (round + 1) + n, address: `10.${n}.0.1:1` }))
      guards = refreshGuards(guards, listOf(relays), seeded(round), NOW + round * 3_600_000)
      expect(guards.sampled.length).toBeLessThanOrEqual(GUARD_FILE_MAX_ENTRIES)
    }
    expect(guards.sampled).toHaveLength(GUARD_FILE_MAX_ENTRIES)
    expect(Number.parseInt(at(guards, 0), 16)).toBeGreaterThanOrEqual(5000)
  })

  it('survives a clock that was wrong', () => {
    const list = network(30)
    const ahead = sample(list, 1, NOW + 10_000 * DAY)
    const mended = refreshGuards(ahead, list, seeded(2), NOW)
    for (const [index, guard] of mended.sampled.entries()) {
      expect(guard.nodeId).toBe(at(ahead, index))
      expect(guard.expiresAtMs).toBe(NOW + GUARD_LIFETIME_MAX_MS)
      expect(guard.addedAtMs).toBe(NOW)
    }
    const gone = { ...ahead, sampled: ahead.sampled.map((guard) => ({ ...guard, unlistedSinceMs: NOW + 9999 * DAY })) }
    expect(refreshGuards(gone, listOf([]), seeded(2), NOW).sampled[0]?.unlistedSinceMs).toBe(NOW)
  })
})

describe('which guard is used', () => {
  const list = network(60)
  const guards = sample(list)

  it('is the first, as long as it answers', () => {
    expect(first(guards, list)).toBe(at(guards, 0))
    expect(guardTiers(guards, list, false, NOW)[0]).toHaveLength(PRIMARY_GUARDS)
    expect(guardTiers(guards, list, false, NOW).flat()).toHaveLength(PRIMARY_GUARDS + SPARE_GUARDS)
    expect(guardSucceeded(guards, at(guards, 0), NOW)).toBe(guards)
  })

  it('is the next primary one while it fails, and it again when it is back', () => {
    let now = guardFailed(guards, at(guards, 0), NOW - 1, half, NOW)
    expect(first(now, list)).toBe(at(guards, 1))
    const pause = PRIMARY_RETRY_FIRST_MS
    expect(first(now, list, true, NOW + pause - 1)).toBe(at(guards, 1))
    // Somebody who waits does not try it out, a circuit that nobody waits for does; and only one at a time.
    expect(first(now, list, false, NOW + pause)).toBe(at(guards, 1))
    expect(first(now, list, true, NOW + pause)).toBe(at(guards, 0))
    now = guardTried(now, at(guards, 0), NOW + pause)
    expect(first(now, list, true, NOW + pause)).toBe(at(guards, 1))
    expect(guardTried(now, at(guards, 1), NOW)).toBe(now)
    now = guardSucceeded(now, at(guards, 0), NOW + pause + 50)
    expect(first(now, list)).toBe(at(guards, 0))
  })

  it('pauses longer with each failure, within a bound, with jitter', () => {
    let now = guards
    const pauses: number[] = []
    for (let i = 0; i < 9; i++) {
      now = guardFailed(now, at(guards, 0), NOW + i, half, NOW + i)
      pauses.push(now.reach.get(at(guards, 0))!.retryAtMs - NOW - i)
    }
    expect(pauses.slice(0, 3)).toEqual([PRIMARY_RETRY_FIRST_MS, 2 * PRIMARY_RETRY_FIRST_MS, 4 * PRIMARY_RETRY_FIRST_MS])
    expect(pauses[8]).toBe(PRIMARY_RETRY_MAX_MS)
    const pause = (rng: () => number) => guardFailed(guards, at(guards, 0), NOW, rng, NOW).reach.get(at(guards, 0))!.retryAtMs - NOW
    expect(pause(() => 0)).toBe(0.8 * PRIMARY_RETRY_FIRST_MS)
    expect(pause(() => 0.999)).toBeGreaterThan(1.19 * PRIMARY_RETRY_FIRST_MS)
    let spare = guards
    for (let i = 0; i < 9; i++) spare = guardFailed(spare, at(guards, 3), NOW + i, half, NOW + i)
    expect(spare.reach.get(at(guards, 3))!.retryAtMs - NOW - 8).toBe(SPARE_RETRY_MAX_MS)
  })

  it('counts attempts that were under way together as one failure, and no stranger', () => {
    const once = guardFailed(guards, at(guards, 0), NOW - 3000, half, NOW)
    expect(guardFailed(once, at(guards, 0), NOW - 2000, half, NOW + 5)).toBe(once)
    expect(guardFailed(once, at(guards, 0), NOW + 1, half, NOW + 5).reach.get(at(guards, 0))?.failures).toBe(2)
    expect(guardFailed(guards, 'ff'.repeat(32), NOW, half, NOW)).toBe(guards)
    expect(guardSucceeded(guards, 'ff'.repeat(32), NOW)).toBe(guards)
  })
})

/** Everybody who may be tried fails, one after the other. */
function failAll(guards: GuardState, list: RelayList, nowMs: number, answers: (nodeId: string) => boolean = () => false): GuardState {
  let now = guards
  for (const one of guardTiers(now, list, false, nowMs).flat()) {
    if (answers(one.nodeId)) return guardSucceeded(now, one.nodeId, nowMs)
    now = guardFailed(now, one.nodeId, nowMs, half, nowMs)
  }
  return now
}

describe('when the network is down', () => {
  const list = network(60)
  const guards = sample(list)

  it('is noticed when all that may be tried fail, and then it is not the guards who pay', () => {
    const down = failAll(guards, list, NOW)
    expect(guardSummary(down)).toEqual({ sampled: guards.sampled.length, primary: 3, reachable: 0, networkDown: true })
    for (const reach of down.reach.values()) {
      expect(reach.failures).toBe(1)
      expect(reach.retryAtMs - NOW).toBeLessThanOrEqual(5000)
    }
    let long = down
    for (let minute = 1; minute < 60; minute++) long = failAll(long, list, NOW + minute * 1000)
    for (const reach of long.reach.values()) expect(reach.failures).toBe(1)
  })

  it('is over with the first answer, and the first primary guard comes first at once', () => {
    const down = failAll(guards, list, NOW)
    const up = guardSucceeded(down, at(guards, 4), NOW + 600_000)
    expect(guardSummary(up)).toMatchObject({ reachable: 3, networkDown: false })
    expect(first(up, list, false, NOW + 600_000)).toBe(at(guards, 0))
  })

  it('does not forgive what failed long before', () => {
    const before = guardFailed(guards, at(guards, 0), NOW - 600_000, half, NOW - 600_000)
    const up = guardSucceeded(failAll(before, list, NOW), at(guards, 1), NOW + 1000)
    expect(up.reach.size).toBe(0)
    const quiet = guardSucceeded(guardFailed(before, at(guards, 1), NOW, half, NOW), at(guards, 2), NOW + 1)
    expect([...quiet.reach.keys()]).toEqual([at(guards, 0), at(guards, 1)])
  })

  it('is forgotten on another network', () => {
    const other = networkChanged(failAll(guards, list, NOW))
    expect(guardSummary(other)).toMatchObject({ reachable: 3, networkDown: false })
    expect(other.sampled).toBe(guards.sampled)
  })

  it('tries only these again, the one that waited longest first', () => {
    const down = failAll(guards, list, NOW)
    const next = first(down, list, false, NOW + 1)!
    const tried = guardTried(down, next, NOW + 1)
    expect(first(tried, list, false, NOW + 2)).not.toBe(next)
  })
})

describe('attack row 32: guard rotation', () => {
  it('blocking the primary guard for 10 minutes moves the client to the next one and no further', () => {
    const list = network(300)
    let guards = sample(list)
    const order = guards.sampled
    const used = new Set<string>()
    for (let second = 0; second <= 600; second++) {
      const nowMs = NOW + second * 1000
      for (const patient of [false, true]) {
        const guard = first(guards, list, patient, nowMs)!
        used.add(guard)
        guards = guard === order[0]?.nodeId ? guardFailed(guards, guard, nowMs, half, nowMs) : guardSucceeded(guards, guard, nowMs)
      }
      guards = refreshGuards(guards, list, seeded(second), nowMs)
    }
    expect([...used].sort()).toEqual(
      order
        .slice(0, 2)
        .map((guard) => guard.nodeId)
        .sort()
    )
    expect(guards.sampled).toBe(order)
  })

  it('blocking every guard but the attacker’s, for days, never leads beyond the sample', () => {
    const list = network(300)
    const limit = guardSampleLimit(200)
    let guards = sample(list)
    const order = guards.sampled.map((guard) => guard.nodeId)
    const used = new Set<string>()
    for (let minute = 0; minute < 3 * 24 * 60; minute += 3) {
      const nowMs = NOW + minute * 60_000
      for (const one of guardTiers(guards, list, true, nowMs).flat()) used.add(one.nodeId)
      guards = refreshGuards(failAll(guards, list, nowMs), list, seeded(minute), nowMs)
    }
    expect(used.size).toBeLessThanOrEqual(Math.min(limit, GUARD_SAMPLE_MAX))
    expect([...used].every((nodeId) => order.includes(nodeId))).toBe(true)
  })

  it('while all are blocked it widens by one a minute, so a guard beyond the spare ones is found in the end and kept', () => {
    const list = network(300)
    let guards = sample(list)
    const answering = at(guards, PRIMARY_GUARDS + SPARE_GUARDS + 1)
    let found: number | undefined
    for (let second = 0; second < 600 && found === undefined; second += 5) {
      const nowMs = NOW + second * 1000
      guards = failAll(guards, list, nowMs, (nodeId) => nodeId === answering)
      if (!guardSummary(guards).networkDown && second > 0) found = second
    }
    expect(found).toBeGreaterThanOrEqual(120)
    expect(found).toBeLessThanOrEqual(130)
    const nowMs = NOW + found! * 1000 + 1
    expect(
      guardTiers(guards, list, false, nowMs)
        .flat()
        .map((one) => one.nodeId)
    ).toContain(answering)
    const primaryBack = guardSucceeded(guards, at(guards, 0), nowMs)
    expect(guardTiers(primaryBack, list, false, nowMs).flat()).toHaveLength(PRIMARY_GUARDS + SPARE_GUARDS)
  })
})
