/** Paths of services, and the rows of the table of attacks that concern them. */
import fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import type { ListedRelay, RelayList } from '../../../ts/directory/types.js'
import { guardFailed, newGuards, refreshGuards } from '../../../ts/routing/guards.js'
import { SECOND_LAYER_MAX_MS, SECOND_LAYER_MIN_MS, SECOND_LAYER_SIZE } from '../../../ts/routing/limits.js'
import { loadSecondLayer, newSecondLayer, refreshSecondLayer, secondLayerToJson } from '../../../ts/routing/second-layer.js'
import { assertServicePath, isForeign, selectServicePath } from '../../../ts/routing/service-path.js'
import type { GuardState, SecondLayer, ServiceKind } from '../../../ts/routing/types.js'
import { id, listOf, network, relay, seeded } from './relays.js'

const NOW_MS = 1_800_000_000_000
const OWN = ['rendezvous', 'intro', 'lookup'] as const
const FOREIGN = ['introduce', 'meet'] as const

interface Client {
  readonly list: RelayList
  guards: GuardState
  layer: SecondLayer
  readonly rng: () => number
}

function client(list: RelayList, seed = 1): Client {
  const rng = seeded(seed)
  const guards = refreshGuards(newGuards(), list, rng, NOW_MS)
  return { list, guards, layer: refreshSecondLayer(newSecondLayer(), list, guards, rng, NOW_MS), rng }
}

function select(made: Client, kind: ServiceKind, last?: string, without?: string[]) {
  const result = selectServicePath(made.list, made.guards, made.layer, { kind, last, without }, made.rng, NOW_MS)
  made.guards = result.guards
  return result
}

function pathOf(made: Client, kind: ServiceKind, last?: string): readonly ListedRelay[] {
  const result = select(made, kind, last)
  if (!result.ok) throw new Error(`no path for ${kind}`)
  return result.path
}

describe('attack 31: path length and roles', () => {
  it('every path has the length of its kind, a guard first, no relay twice, and a second of the layer', () => {
    fc.assert(
      fc.property(fc.integer({ min: 8, max: 60 }), fc.nat(10_000), (size, seed) => {
        const made = client(network(size), seed)
        const layer = new Set(made.layer.relays.map(({ nodeId }) => nodeId))
        for (const kind of [...OWN, ...FOREIGN]) {
          const last = isForeign(kind) ? id(1 + (seed % size)) : undefined
          const result = select(made, kind, last)
          if (!result.ok) continue
          const { path } = result
          expect(path.length).toBe(isForeign(kind) ? 4 : 3)
          expect(new Set(path.map(({ nodeId }) => nodeId)).size).toBe(path.length)
          expect(path[0]?.roles.guard).toBe(true)
          expect(layer.has(path[1]?.nodeId ?? '')).toBe(true)
          if (last !== undefined) expect(path.at(-1)?.nodeId).toBe(last)
          expect(assertServicePath(kind, path)).toBe(path)
        }
      }),
      { numRuns: 150 }
    )
  })

  it('what is of another length, has a relay twice, or breaks the rules is stopped by the last check', () => {
    const [a, b, c, d] = [1, 2, 4, 5].map((n) => relay({ n })) as [ListedRelay, ListedRelay, ListedRelay, ListedRelay]
    for (const kind of OWN) expect(() => assertServicePath(kind, [a, b, c])).not.toThrow()
    for (const kind of FOREIGN) expect(() => assertServicePath(kind, [a, b, c, d])).not.toThrow()
    for (const kind of OWN)
      for (const path of [
        [a, b],
        [a, b, c, d],
        [a, b, a],
        [a, b, b]
      ])
        expect(() => assertServicePath(kind, path)).toThrow()
    for (const kind of FOREIGN)
      for (const path of [
        [a, b, c],
        [a, b, c, b],
        [a, b, c, d, a]
      ])
        expect(() => assertServicePath(kind, path)).toThrow()
    const exit = relay({ n: 7, exit: true })
    expect(() => assertServicePath('lookup', [exit, b, c])).toThrow()
    expect(() => assertServicePath('lookup', [a, { ...b, address: a.address }, c])).toThrow()
    expect(() => assertServicePath('lookup', [a, b, relay({ n: 8, relay: false })])).toThrow()
  })

  it('a network that is too small has no path rather than a worse one', () => {
    expect(select(client(network(2)), 'lookup').ok).toBe(false)
    const four = client(network(4))
    expect(select({ ...four, layer: newSecondLayer() }, 'lookup').ok).toBe(false)
    expect(select(client(network(20)), 'meet', id(999)).ok).toBe(false)
    expect(select(client(network(20)), 'meet').ok).toBe(false)
  })

  it('a lookup goes to who is in the DHT, and never twice to who was asked', () => {
    const made = client(
      listOf(
        Array.from({ length: 12 }, (_, n) => relay({ n: n + 1, roles: undefined } as never)).map((one, n) => ({
          ...one,
          roles: { relay: true, exit: false, guard: true, dht: n % 2 === 0 }
        }))
      )
    )
    const asked: string[] = []
    for (;;) {
      const result = select(made, 'lookup', undefined, asked)
      if (!result.ok) break
      expect(result.path[2]?.roles.dht).toBe(true)
      asked.push(result.path[2]?.nodeId ?? '')
    }
    expect(new Set(asked).size).toBe(asked.length)
    expect(asked.length).toBeGreaterThanOrEqual(4)
  })
})

describe('attack 29: finding a guard by forced rendezvous', () => {
  it('10,000 introductions to rendezvous points of the attacker show one guard and four of the second layer', () => {
    const made = client(network(200))
    const [guards, seconds] = [new Set<string>(), new Set<string>()]
    // The attacker's relays, which are neither our guards nor in our second layer: those he cannot choose to be.
    const taken = new Set([...made.guards.sampled.slice(0, 3), ...made.layer.relays].map(({ nodeId }) => nodeId))
    const hostile = made.list.relays.map(({ nodeId }) => nodeId).filter((nodeId) => !taken.has(nodeId))
    for (let round = 0; round < 10_000; round++) {
      const path = pathOf(made, 'meet', hostile[round % hostile.length])
      guards.add(path[0]?.nodeId ?? '')
      seconds.add(path[1]?.nodeId ?? '')
      made.layer = refreshSecondLayer(made.layer, made.list, made.guards, made.rng, NOW_MS + round)
    }
    expect(guards.size).toBe(1)
    expect(seconds.size).toBe(SECOND_LAYER_SIZE)
  }, 30_000)

  it('nor does a rendezvous point of the family or the network of the guard lead to another guard', () => {
    const made = client(network(60))
    const guard = pathOf(made, 'lookup')[0] as ListedRelay
    const twin = relay({ n: 900, address: guard.address.replace('.0.1:', '.0.9:'), family: [guard.nodeId] })
    const list = listOf([...made.list.relays.map((one) => (one === guard ? { ...one, family: [twin.nodeId] } : one)), twin])
    for (let round = 0; round < 50; round++) expect(pathOf({ ...made, list }, 'meet', twin.nodeId)[0]?.nodeId).toBe(guard.nodeId)
  })

  it('with every relay as a rendezvous point, the guard itself too, no more than the primary guards show', () => {
    const made = client(network(60))
    const guards = new Set<string>()
    for (let round = 0; round < 600; round++) guards.add(pathOf(made, 'meet', id(1 + (round % 60)))[0]?.nodeId ?? '')
    expect(guards.size).toBeLessThanOrEqual(2)
  })
})

describe('attack 30: finding a guard by forced rebuilding', () => {
  it('killing circuits, and the relays behind the guard, a hundred times shows four of them and no more', () => {
    const made = client(network(200))
    const seconds = new Set<string>()
    for (let round = 0; round < 100; round++) {
      seconds.add(pathOf(made, 'intro')[1]?.nodeId ?? '')
      made.layer = refreshSecondLayer(made.layer, made.list, made.guards, made.rng, NOW_MS + round * 60_000)
    }
    expect(seconds.size).toBeLessThanOrEqual(SECOND_LAYER_SIZE)
  })
})

describe('the second layer', () => {
  it('has four relays without the guard in use, each kept for 1 to 12 days, most for longer', () => {
    const spans: number[] = []
    for (let seed = 1; seed < 80; seed++) {
      const made = client(network(100), seed)
      expect(made.layer.relays).toHaveLength(SECOND_LAYER_SIZE)
      expect(made.layer.relays.some(({ nodeId }) => nodeId === made.guards.sampled[0]?.nodeId)).toBe(false)
      spans.push(...made.layer.relays.map(({ expiresAtMs }) => expiresAtMs - NOW_MS))
    }
    expect(Math.min(...spans)).toBeGreaterThanOrEqual(SECOND_LAYER_MIN_MS)
    expect(Math.max(...spans)).toBeLessThanOrEqual(SECOND_LAYER_MAX_MS)
    const average = spans.reduce((sum, span) => sum + span, 0) / spans.length
    // Of two uniform draws the longer: two thirds of the way.
    expect((average - SECOND_LAYER_MIN_MS) / (SECOND_LAYER_MAX_MS - SECOND_LAYER_MIN_MS)).toBeGreaterThan(0.58)
  })

  it('replaces only what expired or left the list, and stays the same object otherwise', () => {
    const made = client(network(100))
    expect(refreshSecondLayer(made.layer, made.list, made.guards, made.rng, NOW_MS)).toBe(made.layer)
    const first = made.layer.relays[0]
    const without = listOf(made.list.relays.filter(({ nodeId }) => nodeId !== first?.nodeId))
    const next = refreshSecondLayer(made.layer, without, made.guards, made.rng, NOW_MS)
    expect(next.relays.filter((one) => made.layer.relays.includes(one))).toHaveLength(SECOND_LAYER_SIZE - 1)
    expect(next.relays).toHaveLength(SECOND_LAYER_SIZE)
    const failed = guardFailed(made.guards, made.guards.sampled[0]?.nodeId ?? '', NOW_MS, made.rng, NOW_MS)
    expect(refreshSecondLayer(made.layer, made.list, failed, made.rng, NOW_MS)).toBe(made.layer)
    const later = refreshSecondLayer(made.layer, made.list, made.guards, made.rng, NOW_MS + SECOND_LAYER_MAX_MS)
    expect(later.relays.some((one) => made.layer.relays.includes(one))).toBe(false)
  })

  it('does not live for ever because a clock was once far ahead', () => {
    const made = client(network(100))
    const far = { relays: made.layer.relays.map((one) => ({ ...one, expiresAtMs: NOW_MS + 400 * SECOND_LAYER_MAX_MS })) }
    const next = refreshSecondLayer(far, made.list, made.guards, made.rng, NOW_MS)
    for (const { expiresAtMs } of next.relays) expect(expiresAtMs).toBeLessThanOrEqual(NOW_MS + SECOND_LAYER_MAX_MS)
  })

  it('comes back from its file, and a damaged file gives a new one with a warning', () => {
    const { layer } = client(network(100))
    expect(loadSecondLayer(secondLayerToJson(layer))).toEqual({ layer })
    expect(loadSecondLayer(undefined)).toEqual({ layer: newSecondLayer() })
    const twice = { relays: [layer.relays[0], layer.relays[0]] } as SecondLayer
    for (const text of [
      '',
      '{',
      '[]',
      '{"version":2,"relays":[]}',
      secondLayerToJson(twice),
      ' '.repeat(5_000),
      '{"version":1,"relays":[{"nodeId":"x","expiresAtMs":1}]}'
    ]) {
      const { layer: fresh, warning } = loadSecondLayer(text)
      expect([text, fresh.relays.length, warning?.code]).toEqual([text, 0, 'ERR_ANONNET_STORE_FAILED'])
    }
  })
})
