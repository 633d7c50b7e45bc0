import { describe, expect, it } from 'vitest'
import { POOL_LIMITS, type PoolEvent } from '../../../ts/churn/index.js'
import { buildTimeoutMs } from '../../../ts/churn/timing.js'
import { id } from '../routing/relays.js'
import { Hand, of, ready } from './hand.js'

describe('builds', () => {
  it('that take long get another one beside them, elsewhere, twice', () => {
    const hand = new Hand()
    hand.send({ type: 'list', usable: true })
    for (const build of hand.state.builds.keys()) hand.send({ type: 'buildStarted', build, path: [id(1), id(2), id(3)] })
    hand.ask(1)
    expect(hand.wakeAtMs).toBe(POOL_LIMITS.hedgeFirstMs)
    const [second] = of(hand.after(POOL_LIMITS.hedgeFirstMs), 'build')
    expect(second?.request).toMatchObject({ avoid: [id(1), id(2), id(3)], target: { port: 443 } })
    expect(second?.request.patient).toBeUndefined()
    hand.send({ type: 'buildStarted', build: second!.build, path: [id(4), id(5), id(6)] })
    const [third] = of(hand.after(POOL_LIMITS.hedgeFirstMs), 'build')
    expect(third?.request.avoid).toEqual(expect.arrayContaining([1, 2, 3, 4, 5, 6].map(id)))
    hand.send({ type: 'buildStarted', build: third!.build, path: [id(7), id(8), id(9)] })
    expect(of(hand.after(POOL_LIMITS.hedgeFirstMs - 1), 'build')).toEqual([])
    expect(of(hand.send({ type: 'built', build: third!.build, circuit: 1 }), 'attach')).toEqual([
      { type: 'attach', request: 1, circuit: 1 }
    ])
  })

  it('are tried again at once after the first failure, then with growing pauses', () => {
    const hand = new Hand({ maxPoolBuilds: 0 })
    hand.send({ type: 'list', usable: true })
    const pauses: number[] = []
    let actions = hand.ask(1)
    for (let failure = 0; failure < 8; failure++) {
      const [build] = of(actions, 'build')
      if (build === undefined) throw new Error('no build')
      const failedMs = hand.nowMs
      actions = hand.send({ type: 'buildFailed', build: build.build, code: 'ERR_ANONNET_NO_PATH', rule: 'guard' })
      while (of(actions, 'build').length === 0) {
        hand.nowMs = hand.wakeAtMs!
        actions = hand.send({ type: 'tick' })
      }
      pauses.push(hand.nowMs - failedMs)
    }
    expect(pauses).toEqual([0, 188, 375, 750, 1500, 1500, 1500, 1500])
  })

  it('that go well end the pause', () => {
    const hand = new Hand({ cleanTarget: 4, maxPoolBuilds: 4 })
    hand.send({ type: 'list', usable: true })
    const [good, ...bad] = [...hand.state.builds.keys()]
    hand.send({ type: 'buildStarted', build: good!, path: [id(1), id(2), id(3)] })
    for (const build of bad) hand.send({ type: 'buildFailed', build, code: 'ERR_ANONNET_NO_PATH', rule: 'guard' })
    expect(hand.state.builds.size).toBe(2)
    hand.ask(1, 'a', 443, { exit: id(9) })
    expect([...hand.state.builds.values()].filter((build) => build.group !== undefined)).toHaveLength(0)
    hand.send({ type: 'built', build: good!, circuit: 5 })
    expect([...hand.state.builds.values()].filter((build) => build.group !== undefined)).toHaveLength(1)
    expect(hand.state.builds.size).toBe(4)
  })

  it('say whose fault it was', () => {
    const blame = (event: Omit<Extract<PoolEvent, { type: 'buildFailed' }>, 'type' | 'build'>) => {
      const hand = new Hand()
      const [build] = of(hand.send({ type: 'list', usable: true }), 'build')
      hand.send({ type: 'buildStarted', build: build!.build, path: [id(1), id(2), id(3)] })
      const guards = of(hand.after(70, { type: 'buildFailed', build: build!.build, ...event }), 'guard').map((action) => action.outcome)
      return [guards, [...hand.state.avoided.keys()].map((nodeId) => Number.parseInt(nodeId, 16))]
    }
    expect(blame({ code: 'ERR_ANONNET_TIMEOUT', hop: 0 })).toEqual([['failed'], []])
    expect(blame({ code: 'ERR_ANONNET_EXTEND_REFUSED', hop: 1 })).toEqual([['succeeded'], [2]])
    expect(blame({ code: 'ERR_ANONNET_TIMEOUT', hop: 2 })).toEqual([['succeeded'], [3]])
    expect(blame({ code: 'ERR_ANONNET_CIRCUIT_CLOSED' })).toEqual([[], [2, 3]])
    expect(blame({ code: 'ERR_ANONNET_RESOURCE_LIMIT' })).toEqual([[], []])
    expect(blame({ code: 'ERR_ANONNET_NO_PATH', rule: 'middle' })).toEqual([[], []])
    expect(blame({ code: 'no code' })).toEqual([[], []])
  })

  it('a dead relay does not make them more patient, a network that has become slow does', () => {
    const hand = ready({ poolBackoffMaxMs: 0, backoffMaxMs: 0 })
    hand.send({ type: 'circuitClosed', circuit: 101, code: 'ERR_ANONNET_CIRCUIT_CLOSED' })
    const timeouts: number[] = []
    for (let round = 0; round < 5; round++) {
      const [build, ...beside] = [...hand.state.builds.values()]
      hand.send({ type: 'buildStarted', build: build!.id, path: [id(1), id(10 + round), id(3)] })
      timeouts.push(build!.timeoutMs)
      hand.nowMs += build!.timeoutMs
      // Those that stood beside it met the same silence: together they count as one.
      for (const { id: failed } of [build!, ...beside]) {
        hand.send({ type: 'buildFailed', build: failed, code: 'ERR_ANONNET_TIMEOUT', hop: 1 })
      }
    }
    const { buildTimeoutMinMs: least, buildTimeoutMaxMs: most } = POOL_LIMITS
    expect(timeouts).toEqual([least, least, 2 * least, 4 * least, Math.min(most, 8 * least)])
    hand.finish(900)
    expect(buildTimeoutMs(hand.state)).toBe(least)
  })

  it('do without relays that are known to fail before those that may', () => {
    const hand = ready()
    hand.send({ type: 'circuitClosed', circuit: 101, code: 'ERR_ANONNET_CIRCUIT_CLOSED' })
    const [build] = [...hand.state.builds.keys()]
    hand.send({ type: 'buildStarted', build: build!, path: [id(1), id(5), id(3)] })
    hand.send({ type: 'buildFailed', build: build!, code: 'ERR_ANONNET_EXTEND_REFUSED', hop: 1 })
    expect([...hand.state.builds.values()][0]?.request.avoid).toEqual([id(5), id(1001), id(2001)])
  })

  it('of which nothing is heard, or that nobody asked for, are given up', () => {
    const hand = new Hand()
    const builds = of(hand.send({ type: 'list', usable: true }), 'build')
    hand.nowMs = builds[0]!.timeoutMs + POOL_LIMITS.graceMs
    hand.send({ type: 'tick' })
    for (const { build } of builds) expect(hand.state.builds.has(build)).toBe(false)
    expect(hand.send({ type: 'built', build: builds[0]!.build, circuit: 5 })).toContainEqual({ type: 'close', circuit: 5 })
    const [next] = [...hand.state.builds.keys()]
    expect(hand.send({ type: 'built', build: next!, circuit: 6 })).toContainEqual({ type: 'close', circuit: 6 })
    hand.send({ type: 'buildFailed', build: 12345, code: 'ERR_ANONNET_TIMEOUT' })
    hand.send({ type: 'buildStarted', build: 12345, path: [id(1), id(2), id(3)] })
    expect(hand.state.builds.has(12345)).toBe(false)
  })

  it('are bounded, and idle circuits make room for those who wait', () => {
    const hand = ready({ maxCircuits: 4, maxBuilds: 2 })
    for (let key = 0; key < 30; key++) {
      hand.ask(key, `key ${key}`)
      expect(hand.state.builds.size).toBeLessThanOrEqual(2)
      expect(hand.state.circuits.size + hand.state.builds.size).toBeLessThanOrEqual(4)
      hand.finish(1000 * (key + 1))
      if (hand.state.requests.get(key)?.attached === undefined) continue
      hand.send({ type: 'connected', request: key })
      hand.send({
        type: 'streamClosed',
        circuit: [...hand.state.circuits.values()].find((circuit) => circuit.isolation === `key ${key}`)!.id
      })
    }
    expect(hand.state.requests.size).toBe(0)
  })

  it('have timeouts that follow the network', () => {
    const timeouts = (takesMs: number) => {
      const hand = new Hand()
      hand.send({ type: 'list', usable: true })
      for (let round = 0; round < 12; round++) {
        hand.nowMs += takesMs
        for (const circuit of hand.finish(1000 * (round + 1))) hand.send({ type: 'circuitClosed', circuit, code: 'ERR_ANONNET_CLOSED' })
      }
      return [...hand.state.builds.values()].at(-1)?.timeoutMs
    }
    expect(timeouts(20)).toBe(POOL_LIMITS.buildTimeoutMinMs)
    expect(timeouts(1000)).toBe(3000)
    expect(timeouts(4000)).toBe(POOL_LIMITS.buildTimeoutMaxMs)
  })
})
