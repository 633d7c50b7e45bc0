import { describe, expect, it } from 'vitest'
import type { ListedRelay } from '../../../ts/directory/types.js'
import { chooseWeighted, type Position, positionWeight, surplusOf } from '../../../ts/routing/index.js'
import { relay, seeded } from './relays.js'

const weights = (relays: readonly ListedRelay[], position: Position) => {
  const surplus = surplusOf(relays)
  return relays.map((one) => positionWeight(one, position, surplus))
}

describe('weights by position', () => {
  it('keeps scarce exits for the last hop', () => {
    const relays = [
      relay({ n: 1, guard: false }),
      relay({ n: 2, guard: false }),
      relay({ n: 3, guard: true }),
      relay({ n: 4, exit: true, guard: true })
    ]
    expect(weights(relays, 'exit')[3]).toBe(1000)
    expect(weights(relays, 'guard')[3]).toBe(0)
    expect(weights(relays, 'middle')).toEqual([1000, 1000, 0, 0])
  })

  it('uses what exits have beyond a third elsewhere', () => {
    const relays = [
      relay({ n: 1, exit: true, guard: true }),
      relay({ n: 2, exit: true, guard: true }),
      relay({ n: 3, exit: true, guard: true })
    ]
    const surplus = surplusOf(relays)
    expect(surplus.exit).toBeCloseTo(2 / 3)
    expect(surplus.guard).toBeCloseTo(1 / 2)
    // Each position gets a third of all: 1000 of 3000 as exit is all of E less its surplus, and so on.
    expect(positionWeight(relays[0]!, 'guard', surplus)).toBeCloseTo(1000 * (2 / 3))
    expect(positionWeight(relays[0]!, 'middle', surplus)).toBeCloseTo(1000 / 3)
  })

  it('splits plenty of guards between guard and middle', () => {
    const relays = Array.from({ length: 9 }, (_, n) => relay({ n, guard: true }))
    expect(surplusOf(relays)).toEqual({ exit: 0, guard: expect.closeTo(2 / 3) })
    expect(surplusOf([])).toEqual({ exit: 0, guard: 0 })
  })

  it('uses plain weights where the factors leave nobody, and never a weight of 0', () => {
    const exits = [relay({ n: 1, exit: true }), relay({ n: 2, exit: true, weight: 0 })]
    const surplus = { exit: 0, guard: 0 }
    const rng = seeded(1)
    for (let i = 0; i < 100; i++) expect(chooseWeighted(exits, 'middle', surplus, rng)).toBe(exits[0])
    expect(chooseWeighted([exits[1]!], 'middle', surplus, rng)).toBeUndefined()
    expect(chooseWeighted([], 'exit', surplus, rng)).toBeUndefined()
    for (const weight of [Number.NaN, Number.POSITIVE_INFINITY, -1]) {
      expect(chooseWeighted([relay({ n: 1, weight })], 'exit', surplus, rng)).toBeUndefined()
    }
  })

  it('survives random numbers at the ends of their range', () => {
    const relays = [relay({ n: 1, weight: 0 }), relay({ n: 2, weight: 0.1 }), relay({ n: 3, weight: 0.7 }), relay({ n: 4, weight: 0 })]
    const surplus = surplusOf(relays)
    expect(chooseWeighted(relays, 'exit', surplus, () => 0)).toBe(relays[1])
    expect(chooseWeighted(relays, 'exit', surplus, () => 1 - Number.EPSILON / 2)).toBe(relays[2])
    // Not a number that an rng may give: the last one with a weight answers for it.
    expect(chooseWeighted(relays, 'exit', surplus, () => 1)).toBe(relays[2])
  })

  it('draws by weight (chi-square over 60,000 draws, 9 degrees of freedom)', () => {
    const relays = Array.from({ length: 10 }, (_, n) => relay({ n, exit: true, weight: (n + 1) * 100 }))
    const total = relays.reduce((sum, one) => sum + one.weight, 0)
    const rng = seeded(0xa11ce)
    const counts = new Map<ListedRelay, number>()
    const draws = 60_000
    const surplus = surplusOf(relays)
    for (let i = 0; i < draws; i++) {
      const chosen = chooseWeighted(relays, 'exit', surplus, rng)!
      counts.set(chosen, (counts.get(chosen) ?? 0) + 1)
    }
    const chiSquare = relays.reduce((sum, one) => {
      const expected = (draws * one.weight) / total
      return sum + ((counts.get(one) ?? 0) - expected) ** 2 / expected
    }, 0)
    // 99.9 % of honest draws stay below 27.9; a choice without weights is beyond 10,000.
    expect(chiSquare).toBeLessThan(27.9)
  })
})
