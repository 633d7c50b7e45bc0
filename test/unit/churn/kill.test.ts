import { describe, expect, it } from 'vitest'
import { POOL_LIMITS, poolSummary } from '../../../ts/churn/index.js'
import { probeTimeoutMs, stallDelayMs } from '../../../ts/churn/timing.js'
import { id, listOf, network, relay } from '../routing/relays.js'
import { of, ready } from './hand.js'
import { type Outcome, World, type WorldOptions } from './world.js'

function started(options: WorldOptions = {}): World {
  const world = new World(options)
  world.send({ type: 'list', usable: true })
  world.run(5_000)
  return world
}

/** Asks and waits; the outcome. */
function ask(world: World, isolation: string, waitMs = 40_000): Outcome {
  const request = world.request(isolation)
  world.run(waitMs)
  const outcome = world.outcomes.get(request)
  if (outcome === undefined) throw new Error('no answer')
  return outcome
}

// The network of the demo: six relays of which two may exit.
const demo = () =>
  listOf([1, 2, 3, 4].map((n) => relay({ n, guard: true })).concat([5, 6].map((n) => relay({ n, exit: true, guard: true }))))

describe('a kill -9 of any relay while idle: the next request succeeds within 5 s', () => {
  const cases = [false, true].flatMap((used) => [1, 2, 3, 4, 5, 6].map((n) => [n, used] as const))

  it.each(cases)('relay %i of the demo network, circuits used before: %s', (n, used) => {
    for (let seed = 1; seed <= 15; seed++) {
      const world = started({ list: demo(), seed })
      if (used) for (let i = 0; i < 6; i++) expect(ask(world, 'a', 100).result).toBe('connected')
      world.run(60_000)
      world.kill(id(n))
      world.run(10)
      const outcome = ask(world, 'a')
      expect(outcome.result).toBe('connected')
      expect(outcome.afterMs).toBeLessThan(5_000)
    }
  })

  it.each([5, 50])('any relay of a larger network, %i ms a hop, also when other keys ask at once', (hopMs) => {
    for (let seed = 1; seed <= 8; seed++) {
      const world = started({ list: network(30), seed, hopMs })
      expect(ask(world, 'a', 5_000).result).toBe('connected')
      const path = [...world.circuits.values()].flatMap((circuit) => circuit.path)
      world.kill(path[seed % path.length]!)
      const requests = ['a', 'b', 'c', 'a'].map((key) => world.request(key))
      world.run(40_000)
      for (const request of requests) {
        expect(world.outcomes.get(request)?.result).toBe('connected')
        expect(world.outcomes.get(request)?.afterMs).toBeLessThan(5_000)
      }
    }
  })

  // Relays that died before this client began are still in the list until the bootstrap nodes have missed them.
  it.each([
    [0, 2],
    [1, 3],
    [2, 3]
  ])('hop %i of the circuit in use, while %i others of nine were dead before', (hop, others) => {
    for (let seed = 1; seed <= 100; seed++) {
      const list = listOf(Array.from({ length: 9 }, (_, n) => relay({ n: n + 1, guard: true, exit: n < 4 })))
      const world = new World({ list, seed })
      // At most one of the three primary guards is dead in the end: a client is not to be driven from guard to guard in seconds.
      const guards = new Set(world.guards.sampled.map(({ nodeId }) => nodeId))
      const dead = [1 + (seed % 4), 5 + (seed % 5), 5 + ((seed + 2) % 5)].slice(0, others).map(id)
      if (dead.filter((nodeId) => guards.has(nodeId)).length > (hop === 0 ? 0 : 1)) continue
      world.kill(...dead)
      world.send({ type: 'list', usable: true })
      expect(ask(world, 'a', 20_000).result).toBe('connected')
      const used = [...world.circuits.values()].find(({ streams }) => streams.size > 0)!
      world.kill(used.path[hop]!)
      const outcome = ask(world, 'a')
      expect(outcome.result).toBe('connected')
      expect(outcome.afterMs, `seed ${seed}`).toBeLessThan(5_000)
    }
  })

  it('also if it is noticed only by a teardown, at once', () => {
    const world = started({ list: demo(), silenceMs: 20 })
    expect(ask(world, 'a', 100).result).toBe('connected')
    world.kill(id(5))
    world.run(30)
    expect(ask(world, 'a').afterMs).toBeLessThan(1_600)
  })

  it('also from an engine that does not tell when a stream is connected', () => {
    for (let seed = 1; seed <= 10; seed++) {
      const world = started({ list: demo(), seed, tellsConnected: false })
      expect(ask(world, 'a', 60_000).result).toBe('connected')
      world.kill(id(1 + (seed % 6)))
      const outcome = ask(world, 'a')
      expect(outcome.result).toBe('connected')
      expect(outcome.afterMs).toBeLessThan(5_000)
    }
  })

  it('avoids the dead relay from then on, and is quick', () => {
    const world = started({ list: network(30) })
    expect(ask(world, 'a', 100).result).toBe('connected')
    const middle = world.circuits.get([...world.circuits.keys()][0]!)!.path[1]
    world.kill(middle)
    ask(world, 'a', 5_000)
    const slow = Array.from({ length: 20 }, (_, i) => ask(world, `key ${i}`, 2_000)).filter((outcome) => outcome.afterMs > 1_000)
    expect(slow).toHaveLength(0)
  })
})

describe('stalls', () => {
  it('a slow target does not cost the circuit, nor the streams on it', () => {
    const world = started()
    world.blackHoles.add('slow')
    const slow = world.request('slow')
    world.run(20_000)
    expect(world.outcomes.has(slow)).toBe(false)
    expect(world.counts.probe).toBeGreaterThan(0)
    expect(world.counts.attach).toBe(1)
    const { circuit } = [...world.state.requests.values()][0]!.attached!
    expect(world.circuits.has(circuit)).toBe(true)
    world.run(20_000)
    expect(world.state.requests.size).toBe(0)
    expect(world.state.circuits.get(circuit)?.open).toBe(1)
  })

  it('a circuit with connected streams is given two probes, one without is given one', () => {
    const world = started({ silenceMs: 1_000_000 })
    expect(ask(world, 'busy', 1000).result).toBe('connected')
    const busy = [...world.circuits.values()].find((circuit) => circuit.streams.size > 0)!
    const [busyId] = [...world.circuits].find(([, circuit]) => circuit === busy)!
    world.dead.add(busy.path[2])
    world.request('busy')
    const stall = stallDelayMs(world.state)
    const probe = probeTimeoutMs(world.state)
    world.run(stall + probe + 100)
    expect(world.circuits.has(busyId)).toBe(true)
    expect(poolSummary(world.state).suspect).toBeGreaterThan(0)
    world.run(probe)
    expect(world.circuits.has(busyId)).toBe(false)
    world.run(2_000)
    expect([...world.outcomes.values()].map((outcome) => outcome.result)).toEqual(['connected', 'connected'])
  })

  it('whoever waits on a silent circuit is moved when another one was built meanwhile, before the probe is over', () => {
    for (let seed = 1; seed <= 20; seed++) {
      const world = started({ list: network(30), seed, silenceMs: 1_000_000 })
      expect(ask(world, 'a', 5_000).result).toBe('connected')
      const used = [...world.circuits.values()].find(({ streams }) => streams.size > 0)!
      for (const circuit of [...world.circuits.keys()]) world.endStreams(circuit)
      world.kill(used.path[seed % 3]!)
      const outcome = ask(world, 'a', 5_000)
      expect(outcome.result).toBe('connected')
      expect(outcome.afterMs).toBeLessThan(POOL_LIMITS.stallMinMs + POOL_LIMITS.outrunMinMs + 200)
    }
  })

  it('but only once: a target that is slow, behind probes that are, ends no circuit after the other', () => {
    const hand = ready({ cleanTarget: 6, maxPoolBuilds: 9 })
    hand.finish()
    hand.ask(1, 'slow')
    let ended = 0
    for (let round = 0; round < 4; round++) {
      const on = hand.state.requests.get(1)!.attached!.circuit
      hand.after(POOL_LIMITS.stallFirstMs)
      expect(hand.state.circuits.get(on)?.probe).toBeDefined()
      hand.nowMs += 100
      hand.finish(1_000 * (round + 1))
      hand.after(POOL_LIMITS.outrunMinMs)
      if (hand.state.circuits.has(on)) {
        // Answered late, but in time for a probe.
        hand.send({ type: 'probed', circuit: on, alive: true })
        continue
      }
      ended += 1
      hand.send({ type: 'streamFailed', request: 1, code: 'ERR_ANONNET_CIRCUIT_CLOSED' })
    }
    expect(ended).toBe(1)
    expect(hand.state.requests.get(1)).toMatchObject({ attempts: 1, outran: true })
  })

  it('takes no new streams on a suspect circuit, and takes it back when it answers', () => {
    const world = started()
    expect(ask(world, 'a', 1000).result).toBe('connected')
    const [first] = [...world.keysOf.keys()]
    // Asked for while nobody answers, for less than a probe's time.
    world.networkDown = true
    world.request('a')
    world.run(POOL_LIMITS.stallFirstMs + 10)
    expect(world.state.circuits.get(first!)?.probe).toBeDefined()
    world.request('a')
    expect([...world.state.requests.values()].filter((request) => request.attached === undefined)).toHaveLength(1)
    world.send({ type: 'probed', circuit: first!, alive: true })
    expect([...world.state.requests.values()].filter((request) => request.attached === undefined)).toHaveLength(0)
    expect(world.state.circuits.get(first!)).toMatchObject({ probe: undefined, open: 3 })
    world.send({ type: 'probed', circuit: first!, alive: false })
    expect(world.state.circuits.has(first!)).toBe(true)
    world.send({ type: 'probed', circuit: 999, alive: false })
  })

  it('gives up on a probe of which nothing is heard', () => {
    const world = started({ silenceMs: 1_000_000 })
    const request = world.request('a')
    const { circuit } = world.state.requests.get(request)!.attached!
    world.circuits.delete(circuit)
    world.run(0)
    world.state = {
      ...world.state,
      circuits: new Map(world.state.circuits).set(circuit, {
        ...world.state.circuits.get(circuit)!,
        probe: { sinceMs: world.nowMs, untilMs: world.nowMs + 100, silent: 0 }
      })
    }
    world.send({ type: 'tick' })
    expect(world.state.circuits.has(circuit)).toBe(true)
    world.run(100 + POOL_LIMITS.graceMs + 100)
    expect(world.state.circuits.has(circuit)).toBe(false)
  })

  it('blames the guard only if nobody else through it was heard', () => {
    const blamed = (hop: number) => {
      const world = started({ list: network(30), silenceMs: 1_000_000 })
      const request = world.request('a')
      world.run(1_000)
      const { path } = world.circuits.get(world.outcomes.get(request)!.circuit!)!
      world.kill(path[hop]!)
      world.request('a')
      world.run(3_000)
      return path.map((nodeId) => world.state.avoided.has(nodeId))
    }
    expect(blamed(1)).toEqual([false, true, true])
    expect(blamed(0)).toEqual([true, true, true])
  })

  it('builds one replacement while a circuit is suspect, not one after the other', () => {
    const world = started({ list: network(30), silenceMs: 1_000_000 })
    world.request('a')
    world.run(1_000)
    world.kill([...world.circuits.values()].find((circuit) => circuit.streams.size > 0)!.path[1])
    const before = world.counts.build
    world.request('a')
    world.run(POOL_LIMITS.stallFirstMs + POOL_LIMITS.probeFirstMs - 10)
    expect(world.counts.build - before).toBeLessThanOrEqual(2)
  })

  it('moving off silent circuits is not counted as failing', () => {
    const hand = ready({ cleanTarget: 6, maxPoolBuilds: 9 })
    hand.finish()
    const on: number[] = []
    for (const action of hand.ask(1, 'a')) if (action.type === 'attach') on.push(action.circuit)
    for (let move = 0; move < 5; move++) {
      hand.after(POOL_LIMITS.stallFirstMs)
      hand.send({ type: 'probed', circuit: on.at(-1)!, alive: false })
      for (const { id: other } of [...hand.state.circuits.values()]) hand.send({ type: 'probed', circuit: other, alive: true })
      for (const action of hand.send({ type: 'streamFailed', request: 1, code: 'ERR_ANONNET_CIRCUIT_CLOSED' })) {
        if (action.type === 'attach') on.push(action.circuit)
      }
      hand.finish(1000 * (move + 1))
    }
    expect(new Set(on).size).toBe(6)
  })

  it('a request whose circuit ended is waited for, also beyond its stall', () => {
    const hand = ready()
    hand.ask(1, 'a')
    hand.nowMs = POOL_LIMITS.stallFirstMs
    hand.send({ type: 'circuitClosed', circuit: 101, code: 'ERR_ANONNET_CIRCUIT_CLOSED' })
    hand.after(1)
    hand.after(POOL_LIMITS.graceMs - 2)
    const actions = hand.send({ type: 'streamFailed', request: 1, code: 'ERR_ANONNET_CIRCUIT_CLOSED' })
    expect(of(actions, 'attach')).toHaveLength(1)
    // But not for ever: who never hears of it was connected.
    hand.finish(500)
    hand.ask(2, 'b')
    const { circuit } = hand.state.requests.get(2)!.attached!
    hand.send({ type: 'circuitClosed', circuit, code: 'ERR_ANONNET_CIRCUIT_CLOSED' })
    hand.after(POOL_LIMITS.graceMs)
    expect(hand.state.requests.has(2)).toBe(false)
  })
})

describe('whose fault it is', () => {
  it('middles and exits that fail do not cost the guard (attack row 30)', () => {
    const world = started({ list: network(60), silenceMs: 50 })
    const guard = world.guards.sampled[0]!.nodeId
    const middles = new Set<string>()
    for (let round = 0; round < 100; round++) {
      for (const [id, circuit] of [...world.circuits]) {
        expect(circuit.path[0]).toBe(guard)
        middles.add(circuit.path[1])
        world.teardown(id)
      }
      world.run(2_000)
    }
    expect(world.guardsUsed).toEqual(new Set([guard]))
    expect(middles.size).toBeGreaterThan(5)
  })

  it('hostile middles that swallow everything lead to the primary guards and no further', () => {
    const world = new World({ list: network(90), silenceMs: 500 })
    const primary = world.guards.sampled.slice(0, 3).map((guard) => guard.nodeId)
    const evil = world.list.relays.filter((one) => !world.guards.sampled.some((guard) => guard.nodeId === one.nodeId) && !one.roles.exit)
    for (const one of evil.slice(0, evil.length - 6)) world.dead.add(one.nodeId)
    world.send({ type: 'list', usable: true })
    for (let round = 0; round < 30; round++) {
      world.request(`key ${round}`)
      world.run(20_000)
    }
    for (const guard of world.guardsUsed) expect(primary).toContain(guard)
    expect([...world.outcomes.values()].every((outcome) => outcome.result === 'connected')).toBe(true)
  })

  it('a dead guard is replaced by the next primary one, and used again when it is back', () => {
    const world = new World({ list: network(60) })
    const [first, second] = world.guards.sampled.map((guard) => guard.nodeId)
    world.dead.add(first!)
    world.send({ type: 'list', usable: true })
    world.run(20_000)
    expect([...world.circuits.values()].every((circuit) => circuit.path[0] === second)).toBe(true)
    expect(ask(world, 'a', 3_000).result).toBe('connected')
    world.dead.delete(first!)
    world.run(POOL_LIMITS.cleanTimeMs * 1.2)
    expect([...world.circuits.values()].some((circuit) => circuit.path[0] === first)).toBe(true)
  })

  it('when all is down it waits without a storm of builds, and is back in seconds', () => {
    const world = started({ list: network(60), silenceMs: 1_000 })
    world.networkDown = true
    for (const circuit of [...world.circuits.keys()]) world.teardown(circuit, 'ERR_ANONNET_LINK_CLOSED')
    const before = world.counts.build
    const sampled = world.guards.sampled
    const request = world.request('a', { waitMs: 120_000 })
    world.run(110_000)
    expect(world.counts.build - before).toBeLessThan(200)
    expect(world.guards.downSinceMs).toBeDefined()
    world.networkDown = false
    world.run(8_000)
    expect(world.outcomes.get(request)?.result).toBe('connected')
    expect(world.guards.sampled).toBe(sampled)
    expect(world.guards.downSinceMs).toBeUndefined()
    world.run(60_000)
    expect(poolSummary(world.state).clean).toBeGreaterThanOrEqual(POOL_LIMITS.cleanTarget)
  })
})
