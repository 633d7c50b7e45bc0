import fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import { publishedPeriods, serviceTimeMs } from '../../../ts/services/periods.js'
import { revisionAt, revisionKey } from '../../../ts/services/revision.js'
import { periodOf, periodStartS, SERVICE_OVERLAP_S, SERVICE_PERIOD_S } from '../../../ts/wire/index.js'
import { makeService } from './crypto.js'

const DAY_MS = SERVICE_PERIOD_S * 1000
const PERIOD = 20_000
const START_MS = periodStartS(PERIOD) * 1000

describe('periods', () => {
  it('have whatever a client with any valid list asks for published', () => {
    fc.assert(
      fc.property(fc.nat(3 * DAY_MS), fc.nat(3 * 3_600_000), fc.nat(3 * 3_600_000), (at, ahead, behind) => {
        // The service's list and the client's are at most three hours old, and their clocks are bounded by them.
        const nowMs = START_MS + at
        const service = publishedPeriods(nowMs - behind)
        expect(service).toContain(periodOf(nowMs - behind))
        const client = periodOf(nowMs - Math.max(0, behind - ahead))
        expect(publishedPeriods(nowMs - behind)).toContain(client)
      })
    )
  })

  it('are one, and two around the change of day', () => {
    expect(publishedPeriods(START_MS + DAY_MS / 2)).toEqual([PERIOD])
    expect(publishedPeriods(START_MS + DAY_MS - 1)).toEqual([PERIOD, PERIOD + 1])
    expect(publishedPeriods(START_MS + 1)).toEqual([PERIOD - 1, PERIOD])
  })
})

describe('attack 47: clock skew and time travel', () => {
  const list = { validAfter: START_MS / 1000 + 3600, validUntil: START_MS / 1000 + 4 * 3600 }

  it('a clock that is a day off leads to no other period', () => {
    for (const offMs of [-DAY_MS, DAY_MS, -400 * DAY_MS, 400 * DAY_MS]) {
      const timeMs = serviceTimeMs(list, START_MS + 2 * 3_600_000 + offMs)
      expect(periodOf(timeMs)).toBe(PERIOD)
    }
    expect(serviceTimeMs(list, START_MS + 2 * 3_600_000)).toBe(START_MS + 2 * 3_600_000)
  })

  it('revisions go up with the time, also over a restart, and are exact numbers', () => {
    const key = revisionKey(makeService().seed, PERIOD)
    fc.assert(
      fc.property(fc.nat(SERVICE_PERIOD_S + 2 * SERVICE_OVERLAP_S), fc.integer({ min: 1, max: 5_000 }), (second, later) => {
        const at = (s: number) => revisionAt(key, PERIOD, START_MS + (s - SERVICE_OVERLAP_S) * 1000)
        const last = SERVICE_PERIOD_S + 2 * SERVICE_OVERLAP_S
        const [a, b] = [at(second), at(Math.min(last, second + later))]
        expect(Number.isSafeInteger(a) && Number.isSafeInteger(b)).toBe(true)
        if (second + later <= last) expect(b).toBeGreaterThan(a)
        expect(at(second)).toBe(a)
      }),
      { numRuns: 60 }
    )
  })

  it('revisions say nothing of the clock: whether it is right or a quarter of a day ahead, they are spread alike', () => {
    const sample = (offMs: number) =>
      Array.from({ length: 300 }, (_, n) =>
        revisionAt(revisionKey(makeService(n).seed, PERIOD), PERIOD, START_MS + DAY_MS / 4 + offMs)
      ).sort((a, b) => a - b)
    const [right, ahead] = [sample(0), sample(DAY_MS / 4)]
    // The same secret starts: what the clock adds must vanish in their spread.
    for (const part of [30, 75, 150, 225, 270]) {
      expect(Math.abs((ahead[part] ?? 0) - (right[part] ?? 0)) / ((right[299] ?? 0) - (right[0] ?? 0))).toBeLessThan(0.001)
    }
    const middle = right[150] ?? 0
    expect(middle).toBeGreaterThan(2 ** 46 * 0.35)
    expect(middle).toBeLessThan(2 ** 46 * 0.65)
  })
})
