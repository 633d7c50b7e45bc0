import fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import { isolationKey, newPool, type PoolAction, type PoolState, poolSummary, step } from '../../../ts/churn/index.js'
import { World } from '../../unit/churn/world.js'
import { network, seeded } from '../../unit/routing/relays.js'

/** The row asks for a million, which takes a minute or two: `ANONNET_TEST_FULL=1` runs them all, otherwise it is a tenth. */
const REQUESTS = process.env.ANONNET_TEST_FULL === '1' ? 1_000_000 : 100_000

describe('attack row 40: stream isolation', () => {
  it(`in ${REQUESTS.toLocaleString('en')} random stream requests no two keys are ever on one circuit`, { timeout: 900_000 }, () => {
    const rng = seeded(40)
    const pick = (count: number): number => Math.floor(rng() * count)
    const limits = { maxCircuits: 24, cleanTarget: 2, cleanMax: 3, maxBuilds: 4, streamTimeMs: 3_000, maxStreamsPerCircuit: 8 }
    let state: PoolState = newPool(limits)
    let nowMs = 0
    let nextCircuit = 1
    /** The one key of each circuit, for as long as the circuit lives and after. */
    const keyOf = new Map<number, string>()
    const keyOfRequest = new Map<number, string>()
    const open: number[] = []
    const connecting: number[] = []
    const builds: number[] = []
    const circuits: number[] = []
    let attached = 0
    let violations = 0
    let keysSeen = 0

    const send = (event: Parameters<typeof step>[1]): void => {
      const result = step(state, event, {
        nowMs,
        rng,
        accepts: (exit, target) => target === undefined || (exit.charCodeAt(63) + target.port) % 5 !== 0
      })
      state = result.state
      for (const action of result.actions) act(action)
    }
    const act = (action: PoolAction): void => {
      if (action.type === 'build') builds.push(action.build)
      if (action.type === 'close') circuits.splice(circuits.indexOf(action.circuit) >>> 0, 1)
      if (action.type === 'refuse') keyOfRequest.delete(action.request)
      if (action.type !== 'attach') return
      attached += 1
      connecting.push(action.request)
      const key = keyOfRequest.get(action.request)!
      const before = keyOf.get(action.circuit)
      if (before === undefined) {
        keyOf.set(action.circuit, key)
        keysSeen += 1
      } else if (before !== key) violations += 1
    }

    send({ type: 'list', usable: true })
    for (let request = 1; request <= REQUESTS; request++) {
      // Few values for each part, so that keys that differ in one part only meet all the time.
      const key = isolationKey({
        listener: pick(2),
        client: `127.0.0.${pick(2)}`,
        user: [undefined, '', 'a'][pick(3)],
        token: pick(50) === 0 ? 't' : undefined
      })
      keyOfRequest.set(request, key)
      send({
        type: 'request',
        request,
        isolation: key,
        kind: pick(10) === 0 ? 'resolve' : 'connect',
        target: { host: 'example.org', port: 1 + pick(4) },
        waitMs: 1_000
      })
      nowMs += pick(40)
      for (let turn = 2 + pick(4); turn > 0; turn--) {
        const what = pick(8)
        if (what <= 2 && builds.length > 0) {
          const [build] = builds.splice(pick(builds.length), 1)
          const path = [0, 1, 2].map((hop) => `${hop}${pick(9)}`.padStart(64, '0')) as [string, string, string]
          send({ type: 'buildStarted', build: build!, path })
          if (pick(10) === 0) send({ type: 'buildFailed', build: build!, code: 'ERR_ANONNET_TIMEOUT', hop: pick(4) })
          else {
            circuits.push(nextCircuit)
            send({ type: 'built', build: build!, circuit: nextCircuit++ })
          }
        } else if (what <= 5 && connecting.length > 0) {
          const [one] = connecting.splice(pick(connecting.length), 1)
          const circuit = state.requests.get(one!)?.attached?.circuit
          if (pick(4) === 0) send({ type: 'streamFailed', request: one!, code: 'ERR_ANONNET_CIRCUIT_CLOSED' })
          else {
            send({ type: 'connected', request: one! })
            keyOfRequest.delete(one!)
            if (circuit !== undefined) open.push(circuit)
          }
        } else if (what === 6 && open.length > 0) {
          const [circuit] = open.splice(pick(open.length), 1)
          send({ type: 'streamClosed', circuit: circuit! })
        } else if (what === 7 && circuits.length > 0 && pick(20) === 0) {
          const [circuit] = circuits.splice(pick(circuits.length), 1)
          send({ type: 'circuitClosed', circuit: circuit!, code: 'ERR_ANONNET_CIRCUIT_CLOSED' })
        } else {
          send({ type: 'tick' })
        }
      }
    }
    expect(violations).toBe(0)
    // The run was one: most requests were attached, to circuits of many keys, and circuits were shared.
    expect(attached).toBeGreaterThan(REQUESTS / 2)
    expect(keysSeen).toBeGreaterThan(1_000)
    expect(attached / keysSeen).toBeGreaterThan(2)
  })
})

const commands = fc.array(
  fc.oneof(
    {
      weight: 6,
      arbitrary: fc.record({ do: fc.constant('ask' as const), key: fc.integer({ min: 0, max: 5 }), port: fc.constantFrom(80, 443, 22) })
    },
    { weight: 4, arbitrary: fc.record({ do: fc.constant('run' as const), ms: fc.integer({ min: 0, max: 20_000 }) }) },
    { weight: 1, arbitrary: fc.record({ do: fc.constant('kill' as const), n: fc.nat() }) },
    { weight: 1, arbitrary: fc.record({ do: fc.constant('revive' as const) }) },
    { weight: 1, arbitrary: fc.record({ do: fc.constant('teardown' as const), n: fc.nat() }) },
    { weight: 1, arbitrary: fc.record({ do: fc.constant('end' as const), n: fc.nat() }) },
    { weight: 1, arbitrary: fc.record({ do: fc.constant('down' as const), down: fc.boolean() }) },
    { weight: 1, arbitrary: fc.record({ do: fc.constant('list' as const), usable: fc.boolean() }) }
  ),
  { maxLength: 60 }
)

describe('any course of events', () => {
  it('answers every request once, mixes no keys, keeps its limits, and comes to rest', () => {
    fc.assert(
      fc.property(commands, fc.nat(), fc.boolean(), (course, seed, tellsConnected) => {
        const limits = { maxCircuits: 12, maxBuilds: 6, maxRequests: 20 }
        const world = new World({ list: network(15), seed, limits, silenceMs: 8_000, tellsConnected })
        world.send({ type: 'list', usable: true })
        let asked = 0
        for (const command of course) {
          const ids = [...world.circuits.keys()]
          if (command.do === 'ask') {
            world.request(`key ${command.key}`, { port: command.port })
            asked += 1
          } else if (command.do === 'run') world.run(command.ms)
          else if (command.do === 'kill') world.kill(world.list.relays[command.n % 15]!.nodeId)
          else if (command.do === 'revive') world.revive()
          else if (command.do === 'teardown' && ids.length > 0) world.teardown(ids[command.n % ids.length]!)
          else if (command.do === 'end' && ids.length > 0) world.endStreams(ids[command.n % ids.length]!)
          else if (command.do === 'down') world.networkDown = command.down
          else if (command.do === 'list') world.send({ type: 'list', usable: command.usable })
          expect(world.state.circuits.size + world.state.builds.size).toBeLessThanOrEqual(limits.maxCircuits)
          expect(world.state.builds.size).toBeLessThanOrEqual(limits.maxBuilds)
          expect(world.state.requests.size).toBeLessThanOrEqual(limits.maxRequests)
        }
        world.networkDown = false
        world.revive()
        world.send({ type: 'list', usable: true })
        world.run(120_000)
        // World throws at a second answer; here, that there was one.
        expect(world.outcomes.size).toBe(asked)
        for (const keys of world.keysOf.values()) expect(keys.size).toBe(1)
        for (const circuit of world.state.circuits.values()) expect(world.circuits.has(circuit.id)).toBe(true)
        expect(poolSummary(world.state)).toMatchObject({ waiting: 0, connecting: 0, suspect: 0 })
        // And it is of use again.
        const last = world.request('after all')
        world.run(5_000)
        expect(world.outcomes.get(last)?.result).toBe('connected')
      }),
      { numRuns: 300 }
    )
  })
})
