import { describe, expect, it } from 'vitest'
import {
  INTRODUCTION_WAIT_MS,
  MAX_POW_EFFORT,
  MAX_POW_NONCES,
  MAX_WAITING_INTRODUCTIONS,
  POW_INTERVAL_MS,
  POW_SEED_MS
} from '../../../ts/services/limits.js'
import { LOAD_LIMITS, Load, type LoadLimits } from '../../../ts/services/load.js'
import type { PowProof } from '../../../ts/services/types.js'
import { seededBytes } from '../dht/helpers.js'

/** Stands for the native proof: the first two bytes of a nonce say which effort it is good for. */
const proves = (_seed: Uint8Array, nonce: Uint8Array, effort: number): boolean => Buffer.from(nonce).readUInt16BE(0) >= effort

let nonces = 0
function proof(load: Load, effort: number, worth = effort, seed = load.suggestion.seed): PowProof {
  const nonce = Buffer.alloc(16)
  nonce.writeUInt16BE(worth)
  nonce.writeUInt32BE(nonces++, 8)
  return { seedHead: seed.subarray(0, 4), nonce, effort }
}

const make = (limits: Partial<LoadLimits> = {}) =>
  new Load({ proves, randomBytes: seededBytes(3), nowMs: 0, limits: { ...LOAD_LIMITS, ...limits } })

/** One interval: so many introductions of each effort come, as many as can are served; returns the efforts served. */
function interval(load: Load, startMs: number, efforts: readonly number[]): number[] {
  const served: number[] = []
  const asked = new Map<number, number>()
  efforts.forEach((effort, index) => {
    const nowMs = startMs + Math.floor((index * POW_INTERVAL_MS) / efforts.length)
    asked.set(index, effort)
    load.offer(index, effort === 0 ? undefined : proof(load, effort), nowMs)
    for (let request = load.next(nowMs); request !== undefined; request = load.next(nowMs)) {
      served.push(asked.get(request) ?? -1)
      load.finished()
    }
  })
  load.tick(startMs + POW_INTERVAL_MS)
  return served
}

describe('introductions', () => {
  it('are served in the order they came while there is room, and need no proof', () => {
    const load = make()
    for (let request = 1; request <= 3; request++) expect(load.offer(request, undefined, 0).verdict).toBe('taken')
    expect([load.next(0), load.next(0), load.next(0), load.next(0)]).toEqual([1, 2, 3, undefined])
    expect(load.suggestion.effort).toBe(0)
    expect(load.tick(POW_INTERVAL_MS).changed).toBe(false)
  })

  it('wait in a bounded queue, the highest effort first; the lowest and latest loses its place', () => {
    const load = make({ waiting: 3 })
    load.offer(1, undefined, 0)
    load.offer(2, proof(load, 5), 0)
    load.offer(3, undefined, 0)
    expect(load.offer(4, undefined, 0)).toEqual({ verdict: 'full', dropped: [] })
    expect(load.offer(5, proof(load, 2), 0)).toEqual({ verdict: 'taken', dropped: [3] })
    expect([load.next(0), load.next(0), load.next(0)]).toEqual([2, 5, 1])
    const large = make()
    for (let request = 0; request < MAX_WAITING_INTRODUCTIONS + 50; request++) large.offer(request, undefined, 0)
    expect(large.waiting).toBe(MAX_WAITING_INTRODUCTIONS)
  })

  it('are begun at a bounded rate and number', () => {
    const load = make({ rate: 10, burst: 4, running: 1000, waiting: 1000 })
    for (let request = 0; request < 100; request++) load.offer(request, undefined, 0)
    const count = (nowMs: number) => {
      let begun = 0
      while (load.next(nowMs) !== undefined) begun++
      return begun
    }
    expect(count(0)).toBe(4)
    expect(load.nextMs(0)).toBe(100)
    expect(count(1_000)).toBe(4)
    expect(count(1_200)).toBe(2)
    const busy = make({ running: 2 })
    for (let request = 0; request < 5; request++) busy.offer(request, undefined, 0)
    expect([busy.next(0), busy.next(0), busy.next(0)]).toEqual([0, 1, undefined])
    expect(busy.nextMs(0)).toBeUndefined()
    busy.finished()
    expect(busy.next(0)).toBe(2)
  })

  it('that waited too long are dropped', () => {
    const load = make({ running: 0 })
    load.offer(1, undefined, 0)
    expect(load.tick(INTRODUCTION_WAIT_MS).dropped).toEqual([1])
    expect(load.waiting).toBe(0)
  })
})

describe('attack 42: proofs of work', () => {
  const under = () => {
    const load = make({ running: 0, waiting: 2 })
    for (let round = 0; round < 2; round++) {
      for (let request = 0; request < 9; request++) load.offer(round * 10 + request, proof(load, 3), round * POW_INTERVAL_MS)
      load.tick((round + 1) * POW_INTERVAL_MS)
    }
    expect(load.suggestion.effort).toBeGreaterThan(0)
    return load
  }

  it('without one nobody gets in once it has been asked for a while', () => {
    const load = under()
    expect(load.offer(100, undefined, 2 * POW_INTERVAL_MS).verdict).toBe('no-proof')
  })

  it('who read the descriptor of the interval before is still let in', () => {
    const load = make({ running: 0, waiting: 2 })
    for (let request = 0; request < 9; request++) load.offer(request, undefined, 0)
    load.tick(POW_INTERVAL_MS)
    expect(load.suggestion.effort).toBe(1)
    expect(load.offer(100, undefined, POW_INTERVAL_MS).verdict).not.toBe('no-proof')
  })

  it('a stale seed, a used nonce, and an effort that was not made are refused', () => {
    const load = under()
    const nowMs = 2 * POW_INTERVAL_MS
    expect(load.offer(100, proof(load, 40, 39), nowMs).verdict).toBe('bad-proof')
    const good = proof(load, 40)
    expect(load.offer(101, good, nowMs).verdict).toBe('taken')
    expect(load.offer(102, good, nowMs).verdict).toBe('bad-proof')
    expect(load.offer(103, { ...good, effort: 30 }, nowMs).verdict).toBe('bad-proof')
    const { seed } = load.suggestion
    expect(load.offer(104, proof(load, 50, 50, new Uint8Array(32).fill(9)), nowMs).verdict).toBe('bad-proof')
    load.tick(POW_SEED_MS)
    expect(load.suggestion.seed).not.toEqual(seed)
    expect(load.offer(105, proof(load, 60, 60, seed), POW_SEED_MS).verdict).toBe('taken')
    load.tick(2 * POW_SEED_MS)
    expect(load.offer(106, proof(load, 70, 70, seed), 2 * POW_SEED_MS).verdict).toBe('bad-proof')
  })

  it('remembers a bounded number of nonces, and takes none beyond: a forgotten one could be used twice', () => {
    const load = make({ running: 0, waiting: 1 })
    const { seed } = load.suggestion
    const used = proof(load, 1)
    load.offer(0, used, 0)
    for (let request = 1; request < MAX_POW_NONCES; request++) load.offer(request, proof(load, 1, 1, seed), 0)
    expect(load.offer(-1, used, 0).verdict).toBe('bad-proof')
    expect(load.offer(-2, proof(load, 1, 1, seed), 0).verdict).toBe('bad-proof')
  })

  it('a flood of cheap proofs changes the seed early and keeps nobody out', () => {
    const load = make({ running: 0, waiting: 1 })
    for (let round = 0; round < 2; round++) {
      load.offer(round, undefined, 0)
      load.offer(round, undefined, 0)
      load.tick((round + 1) * POW_INTERVAL_MS)
    }
    const nowMs = 2 * POW_INTERVAL_MS
    const { seed, effort } = load.suggestion
    expect(effort).toBe(1)
    for (let request = 0; request < MAX_POW_NONCES / 2; request++) load.offer(request, proof(load, 1, 1, seed), nowMs)
    expect(load.suggestion.seed).not.toEqual(seed)
    // With the new seed, and with that of the descriptor of before.
    expect(load.offer(-1, proof(load, 50), nowMs).verdict).toBe('taken')
    expect(load.offer(-2, proof(load, 51, 51, seed), nowMs).verdict).toBe('taken')
    expect(load.tick(nowMs).changed).toBe(true)
    expect(load.tick(nowMs).changed).toBe(false)
    // However many more there are.
    for (let request = 0; request < 2 * MAX_POW_NONCES; request++) load.offer(request, proof(load, 1), nowMs)
    expect(load.offer(-3, proof(load, 52), nowMs).verdict).toBe('taken')
  })

  it('those who prove nothing raise it to the least effort, whatever they do afterwards', () => {
    const load = make({ rate: 2, burst: 2, waiting: 20 })
    const asked: number[] = []
    for (let round = 0; round < 40; round++) {
      interval(load, round * POW_INTERVAL_MS, Array(600).fill(0))
      asked.push(load.suggestion.effort)
    }
    // And it stays there: otherwise they had every third interval.
    expect(new Set(asked)).toEqual(new Set([1]))
  })

  it('one introduction without a proof in each interval neither raises nor holds what is asked for', () => {
    const load = make({ rate: 2, burst: 2, waiting: 20 })
    for (let round = 0; round < 20; round++) interval(load, round * POW_INTERVAL_MS, Array(600).fill(40))
    // What still waits of the flood is too late in this one.
    interval(load, 20 * POW_INTERVAL_MS, [0])
    let before = load.suggestion.effort
    expect(before).toBeGreaterThan(40)
    for (let round = 21; before > 0; round++) {
      interval(load, round * POW_INTERVAL_MS, [0])
      expect(load.suggestion.effort).toBeLessThan(before)
      before = load.suggestion.effort
    }
  })

  it('a flood of those who prove nothing holds no more than the least effort once others stop', () => {
    const load = make({ rate: 2, burst: 2, waiting: 20 })
    for (let round = 0; round < 20; round++) interval(load, round * POW_INTERVAL_MS, Array(600).fill(40))
    for (let round = 20; round < 40; round++) interval(load, round * POW_INTERVAL_MS, Array(600).fill(0))
    expect(load.suggestion.effort).toBe(1)
    // Who proves that much is served among them.
    const served = interval(load, 40 * POW_INTERVAL_MS, [...Array(300).fill(0), ...Array(10).fill(1), ...Array(300).fill(0)])
    expect(served).toEqual(Array(10).fill(1))
  })

  it('those that only came too late raise nothing', () => {
    const load = make({ rate: 2, burst: 2, waiting: 20 })
    for (let round = 0; round < 5; round++) interval(load, round * POW_INTERVAL_MS, Array(600).fill(40))
    const { effort } = load.suggestion
    expect(load.waiting).toBeGreaterThan(0)
    load.tick(6 * POW_INTERVAL_MS)
    expect(load.suggestion.effort).toBe(effort)
  })

  it('one introduction of a huge effort does not raise what is asked of all', () => {
    const load = make({ rate: 2, burst: 1, waiting: 5 })
    interval(load, 0, Array(200).fill(0))
    interval(load, POW_INTERVAL_MS, [MAX_POW_EFFORT, ...Array(200).fill(1)])
    expect(load.suggestion.effort).toBeLessThanOrEqual(2)
  })

  it('what is asked for stays within 1.2 times what is needed, and those who pay it get in', () => {
    // A flood of 20 a second, each worth 50; two a second are served. Honest clients come once a second and pay what is asked.
    const load = make({ rate: 2, burst: 2, waiting: 20 })
    let honest = 0
    let servedHonest = 0
    for (let round = 0; round < 60; round++) {
      const asked = Math.max(load.suggestion.effort, 0)
      const efforts = Array.from({ length: 630 }, (_, index) => (index % 21 === 0 ? asked : 50))
      const served = interval(load, round * POW_INTERVAL_MS, efforts)
      // More than any of the flood has: that is what is needed.
      expect(load.suggestion.effort).toBeLessThanOrEqual(Math.ceil(51 * 1.2))
      if (round >= 30) {
        honest += 30
        servedHonest += Math.min(30, served.filter((effort) => effort === asked && asked !== 50).length)
      }
    }
    expect(load.suggestion.effort).toBeGreaterThan(50)
    expect(servedHonest / honest).toBeGreaterThan(0.9)
  })

  it('goes down again when the flood is over', () => {
    const load = make({ rate: 2, burst: 2, waiting: 20 })
    for (let round = 0; round < 5; round++) interval(load, round * POW_INTERVAL_MS, Array(600).fill(40))
    expect(load.suggestion.effort).toBeGreaterThan(1)
    load.tick(6 * POW_INTERVAL_MS)
    load.tick(30 * POW_INTERVAL_MS)
    expect(load.suggestion.effort).toBe(0)
  })
})
