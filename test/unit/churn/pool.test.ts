import { describe, expect, it } from 'vitest'
import { BASE_PORTS, POOL_LIMITS, poolSummary } from '../../../ts/churn/index.js'
import { id, listOf, network, relay } from '../routing/relays.js'
import { Hand, of, ready } from './hand.js'
import { World } from './world.js'

describe('the supply', () => {
  it('builds nothing before there is a list, then a few circuits for the web, that may try out guards', () => {
    const hand = new Hand()
    expect(hand.send({ type: 'tick' })).toEqual([])
    expect(hand.wakeAtMs).toBeUndefined()
    const builds = of(hand.send({ type: 'list', usable: true }), 'build')
    expect(builds).toHaveLength(POOL_LIMITS.cleanTarget)
    for (const build of builds) expect(build.request).toEqual({ kind: 'exit', ports: BASE_PORTS, avoid: [], patient: true })
    hand.finish()
    expect(poolSummary(hand.state)).toEqual({ clean: 2, dirty: 0, suspect: 0, building: 0, waiting: 0, connecting: 0, streams: 0 })
  })

  it('replaces what was taken, and keeps more while they go fast, up to a bound', () => {
    const hand = ready()
    const most: number[] = []
    for (let key = 0; key < 40; key++) {
      hand.ask(key, `key ${key}`)
      hand.finish(1000 * (key + 1))
      most.push(poolSummary(hand.state).clean)
    }
    expect(most[0]).toBe(3)
    expect(Math.max(...most)).toBe(POOL_LIMITS.cleanMax)
    hand.after(POOL_LIMITS.claimWindowMs + 1)
    hand.after(POOL_LIMITS.cleanTimeMs)
    hand.finish(100_000)
    expect(poolSummary(hand.state).clean).toBe(POOL_LIMITS.cleanTarget)
  })

  it('builds for ports that were asked for and that no clean circuit takes, and forgets them', () => {
    const hand = ready()
    hand.accepts = (exit, target) => target?.port !== 6667 || exit === id(9)
    const builds = of(hand.ask(1, 'a', 6667), 'build')
    expect(builds.map((build) => build.request.ports)).toEqual([[6667], [6667]])
    expect(builds.map((build) => build.request.target?.port)).toEqual([6667, undefined])
    // The one for nobody in particular goes on after the request is served.
    for (const [index, { build }] of builds.entries()) {
      hand.send({ type: 'buildStarted', build, path: [id(1), id(50 + index), id(9)] })
      hand.send({ type: 'built', build, circuit: 500 + index })
    }
    expect(of(hand.after(1), 'build')).toEqual([])
    for (let port = 1; port <= POOL_LIMITS.maxPorts + 3; port++) hand.ask(port + 10, 'a', port)
    expect(hand.state.ports.size).toBe(POOL_LIMITS.maxPorts)
    hand.after(POOL_LIMITS.portMemoryMs + 1)
    expect(hand.state.ports.size).toBe(0)
  })

  it('takes any exit where none takes the web’s ports, and asks again with the next list', () => {
    const hand = new Hand()
    const [first, second] = of(hand.send({ type: 'list', usable: true }), 'build')
    const noExit = (build: number) => hand.send({ type: 'buildFailed', build, code: 'ERR_ANONNET_NO_PATH', rule: 'exit' })
    expect(of(noExit(first!.build), 'build').map((action) => action.request.ports)).toEqual([[]])
    const [again] = of(noExit(second!.build), 'build')
    expect(again?.request.ports).toEqual([])
    for (const build of [...hand.state.builds.keys()]) noExit(build)
    expect(hand.state.builds.size).toBe(0)
    expect(hand.wakeAtMs).toBe(POOL_LIMITS.poolBackoffMaxMs)
    expect(of(hand.send({ type: 'list', usable: true }), 'build')[0]?.request.ports).toEqual(BASE_PORTS)
  })

  it('gives up a port that no exit takes', () => {
    const hand = ready()
    hand.accepts = (_exit, target) => target?.port !== 25
    const builds = of(hand.ask(1, 'a', 25), 'build')
    for (const { build } of builds) hand.send({ type: 'buildFailed', build, code: 'ERR_ANONNET_NO_PATH', rule: 'exit' })
    expect(hand.last).toEqual([])
    expect(hand.state.ports.has(25)).toBe(false)
    expect(hand.state.requests.size).toBe(0)
    expect(hand.state.basePorts).toBe(BASE_PORTS)
  })

  it('ends clean circuits whose exit left the list', () => {
    const hand = ready()
    hand.accepts = (exit) => exit !== id(2001)
    expect(of(hand.send({ type: 'list', usable: true }), 'close')).toEqual([{ type: 'close', circuit: 101 }])
  })
})

describe('who gets which circuit', () => {
  it('one key stays on its circuit, another key gets another one', () => {
    const hand = ready()
    expect(of(hand.ask(1, 'a'), 'attach')).toEqual([{ type: 'attach', request: 1, circuit: 101 }])
    expect(of(hand.ask(2, 'b'), 'attach')).toEqual([{ type: 'attach', request: 2, circuit: 102 }])
    expect(of(hand.ask(3, 'a'), 'attach')).toEqual([{ type: 'attach', request: 3, circuit: 101 }])
    hand.send({ type: 'connected', request: 1 })
    expect(poolSummary(hand.state)).toMatchObject({ dirty: 2, connecting: 2, streams: 3 })
    // Also after all its streams have ended.
    for (const circuit of [101, 101, 102]) hand.send({ type: 'streamClosed', circuit })
    expect(of(hand.ask(4, 'b'), 'attach')[0]?.circuit).toBe(102)
  })

  it('a circuit takes new streams for its time from the first one on, and ends when it is idle', () => {
    const hand = ready()
    hand.nowMs = 500_000
    hand.ask(1, 'a')
    hand.send({ type: 'connected', request: 1 })
    hand.after(POOL_LIMITS.streamTimeMs - 1)
    expect(of(hand.ask(2, 'a'), 'attach')[0]?.circuit).toBe(101)
    hand.send({ type: 'connected', request: 2 })
    hand.after(1)
    expect(of(hand.ask(3, 'a'), 'attach')[0]?.circuit).not.toBe(101)
    expect(of(hand.send({ type: 'streamClosed', circuit: 101 }), 'close')).toEqual([])
    expect(of(hand.send({ type: 'streamClosed', circuit: 101 }), 'close')).toEqual([{ type: 'close', circuit: 101 }])
  })

  it('times vary by a tenth', () => {
    const until = (draw: number) => {
      const hand = ready()
      hand.rng = () => draw
      hand.ask(1, 'a')
      return hand.state.circuits.get(101)!.untilMs
    }
    expect([until(0), until(0.5), until(1)]).toEqual([540_000, 600_000, 660_000])
  })

  it('takes no more streams than a circuit may carry', () => {
    const hand = ready({ maxStreamsPerCircuit: 3 })
    const circuits = [1, 2, 3, 4].map((request) => of(hand.ask(request, 'a'), 'attach')[0]?.circuit)
    expect(circuits).toEqual([101, 101, 101, 102])
  })

  it('minds the exit’s policy and the exit that is asked for', () => {
    const hand = ready()
    hand.accepts = (exit, target) => exit === id(2002) || target?.port === 443
    expect(of(hand.ask(1, 'a', 22), 'attach')[0]?.circuit).toBe(102)
    expect(of(hand.ask(2, 'a', 443, { exit: id(2001) }), 'attach')[0]?.circuit).toBe(101)
    const actions = hand.ask(3, 'a', 443, { exit: id(7) })
    expect(of(actions, 'attach')).toEqual([])
    expect(of(actions, 'build').some((action) => action.request.exit === id(7))).toBe(true)
  })

  it('lookups need no port, and directory questions get circuits of their own', () => {
    const hand = ready()
    hand.accepts = (_exit, target) => target === undefined
    expect(
      of(hand.send({ type: 'request', request: 1, isolation: 'a', kind: 'resolve', target: { host: 'example.org', port: 0 } }), 'attach')
    ).toHaveLength(1)
    const actions = hand.send({ type: 'request', request: 2, isolation: 'directory', kind: 'dir', exit: id(5) })
    const [build] = of(actions, 'build').filter((action) => action.request.kind === 'dir')
    expect(build?.request).toMatchObject({ kind: 'dir', exit: id(5), target: undefined })
    hand.send({ type: 'buildStarted', build: build!.build, path: [id(1), id(4), id(5)] })
    expect(of(hand.send({ type: 'built', build: build!.build, circuit: 900 }), 'attach')).toEqual([
      { type: 'attach', request: 2, circuit: 900 }
    ])
    expect(poolSummary(hand.state)).toMatchObject({ dirty: 2 })
  })

  it('a clean circuit through a relay that just failed is the last choice', () => {
    const hand = ready()
    hand.send({ type: 'circuitClosed', circuit: 999, code: 'ERR_ANONNET_CIRCUIT_CLOSED' })
    const [build] = [...hand.send({ type: 'request', request: 1, isolation: 'd', kind: 'dir' })].filter((action) => action.type === 'build')
    if (build?.type !== 'build') throw new Error('no build')
    hand.send({ type: 'buildStarted', build: build.build, path: [id(1), id(1001), id(3)] })
    hand.send({ type: 'buildFailed', build: build.build, code: 'ERR_ANONNET_EXTEND_REFUSED', hop: 1 })
    expect(of(hand.ask(2, 'a'), 'attach')[0]?.circuit).toBe(102)
    expect(of(hand.ask(3, 'b'), 'attach')[0]?.circuit).toBe(101)
  })
})

describe('what goes wrong around it', () => {
  it('counts of streams are mended, and circuits that are gone are forgotten', () => {
    const hand = ready()
    hand.ask(1, 'a')
    hand.send({ type: 'connected', request: 1 })
    hand.ask(2, 'b')
    hand.send({ type: 'connected', request: 2 })
    hand.finish(500)
    const clean = [...hand.state.circuits.values()]
      .filter((circuit) => circuit.isolation === undefined)
      .map((circuit) => [circuit.id, 0] as const)
    hand.ask(3, 'a')
    hand.send({ type: 'counted', streams: new Map([[101, 7], ...clean]) })
    expect(hand.state.circuits.get(101)?.open).toBe(8)
    expect(hand.state.circuits.has(102)).toBe(false)
    expect(hand.state.avoided.size).toBe(0)
  })

  it('a circuit that ends is replaced, its relays avoided for a while, longer each time', () => {
    const hand = ready()
    const until = () => hand.state.avoided.get(id(1001))
    expect(of(hand.send({ type: 'circuitClosed', circuit: 101, code: 'ERR_ANONNET_CIRCUIT_CLOSED' }), 'build')[0]?.request.avoid).toEqual([
      id(1001),
      id(2001)
    ])
    expect(until()).toEqual({ untilMs: POOL_LIMITS.avoidFirstMs, count: 1, named: false })
    const [build] = [...hand.state.builds.keys()]
    hand.nowMs = POOL_LIMITS.avoidFirstMs + 1
    hand.send({ type: 'buildStarted', build: build!, path: [id(1), id(1001), id(3)] })
    hand.send({ type: 'buildFailed', build: build!, code: 'ERR_ANONNET_EXTEND_REFUSED', hop: 1 })
    expect(until()).toEqual({ untilMs: hand.nowMs + 2 * POOL_LIMITS.avoidFirstMs, count: 2, named: true })
    hand.nowMs += 2 * POOL_LIMITS.avoidFirstMs + POOL_LIMITS.avoidMaxMs + 1
    hand.send({ type: 'tick' })
    expect(until()).toBeUndefined()
    // The link to the guard: that is the guard's.
    const [other] = [...hand.state.circuits.keys()]
    hand.send({ type: 'circuitClosed', circuit: other!, code: 'ERR_ANONNET_LINK_CLOSED' })
    expect([...hand.state.avoided.keys()]).toEqual([id(1)])
    hand.send({ type: 'networkChanged' })
    expect(hand.state.avoided.size).toBe(0)
  })

  it('remembers only so many relays that failed', () => {
    const hand = new Hand({ maxAvoided: 4 })
    hand.send({ type: 'list', usable: true })
    for (let round = 0; round < 10; round++) {
      for (const circuit of hand.finish(1000 * (round + 1)))
        hand.send({ type: 'circuitClosed', circuit, code: 'ERR_ANONNET_CIRCUIT_CLOSED' })
      expect(hand.state.avoided.size).toBeLessThanOrEqual(4)
    }
    expect(hand.state.avoided.size).toBe(4)
  })

  it('closing refuses who waits, ends every circuit, and takes nobody any more', () => {
    const hand = ready({ maxBuilds: 2 })
    hand.ask(1, 'a')
    hand.ask(2, 'a', 443, { exit: id(7) })
    const actions = hand.send({ type: 'close' })
    expect(
      of(actions, 'close')
        .map((action) => action.circuit)
        .sort()
    ).toEqual([101, 102])
    expect(of(actions, 'refuse')).toEqual([{ type: 'refuse', request: 2, code: 'ERR_ANONNET_CLOSED' }])
    expect(hand.wakeAtMs).toBeUndefined()
    expect(hand.ask(3)).toEqual([{ type: 'refuse', request: 3, code: 'ERR_ANONNET_CLOSED' }])
    expect(hand.send({ type: 'list', usable: true })).toEqual([])
  })

  it('no list any more: nothing is built, what is ready stays', () => {
    const hand = ready()
    hand.send({ type: 'list', usable: false })
    expect(of(hand.ask(1, 'a'), 'attach')).toHaveLength(1)
    expect(hand.state.builds.size).toBe(0)
  })

  it('the state that was handed in stays as it was', () => {
    const world = new World({ list: network(12) })
    world.send({ type: 'list', usable: true })
    world.run(1000)
    const before = world.state
    const copy = structuredClone({ ...before })
    for (let i = 0; i < 20; i++) world.request(`key ${i % 3}`)
    world.kill(world.list.relays[0]!.nodeId)
    world.run(60_000)
    expect({ ...before }).toEqual(copy)
    expect(world.state).not.toBe(before)
  })

  it('a network of three relays works too', () => {
    const world = new World({ list: listOf([relay({ n: 1 }), relay({ n: 2 }), relay({ n: 3, exit: true })]) })
    world.send({ type: 'list', usable: true })
    const request = world.request('a')
    world.run(1000)
    expect(world.outcomes.get(request)?.result).toBe('connected')
  })
})
