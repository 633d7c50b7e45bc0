import { describe, expect, it } from 'vitest'
import type { ListedRelay, RelayList } from '../../../ts/directory/types.js'
import {
  assertPath,
  conflict,
  exitAccepts,
  type GuardState,
  guardFailed,
  guardSucceeded,
  newGuards,
  type Path,
  type PathRequest,
  type PathRules,
  prefixOf,
  refreshGuards,
  sameFamily,
  selectPath
} from '../../../ts/routing/index.js'
import { id, listOf, network, type RelaySpec, relay, seeded, VALID_UNTIL_S } from './relays.js'

const NOW = 1_800_000_000_000
const EXIT: PathRequest = { kind: 'exit' }

const guardsOf = (list: RelayList, seed = 1): GuardState => refreshGuards(newGuards(), list, seeded(seed), NOW)
const select = (list: RelayList, request: PathRequest, seed = 1, rules: PathRules = {}, guards = guardsOf(list, seed)) =>
  selectPath(list, guards, request, seeded(seed + 1000), NOW, rules)
function path(list: RelayList, request: PathRequest = EXIT, seed = 1, rules: PathRules = {}, guards = guardsOf(list, seed)): Path {
  const result = select(list, request, seed, rules, guards)
  if (!result.ok) throw new Error(`no path: ${result.rule}`)
  return result.path
}
const rule = (list: RelayList, request: PathRequest = EXIT, rules: PathRules = {}) => {
  const result = select(list, request, 1, rules)
  return result.ok ? 'ok' : `${result.rule} ${result.code}`
}

describe('attack row 31: length and members of a path', () => {
  it('holds for every path of many networks', () => {
    for (let seed = 0; seed < 300; seed++) {
      const rng = seeded(seed)
      const list = network(6 + Math.floor(rng() * 40), (spec: RelaySpec) => {
        const mates = [spec.n - 1, spec.n, spec.n + 1].filter((n) => Math.ceil(n / 3) === Math.ceil(spec.n / 3))
        const twoByTwo = rng() < 0.3 ? { address: `99.${spec.n >> 1}.0.${spec.n & 255}:1` } : {}
        return { ...spec, guard: rng() < 0.6, weight: 1 + Math.floor(rng() * 1000), family: rng() < 0.5 ? mates.map(id) : [], ...twoByTwo }
      })
      const result = select(list, EXIT, seed)
      if (!result.ok) continue
      expect(result.path).toHaveLength(3)
      const [guard, middle, exit] = result.path
      expect(guard.roles.guard).toBe(true)
      expect(exitAccepts(exit)).toBe(true)
      expect(new Set(result.path.map((one) => one.nodeId)).size).toBe(3)
      expect(new Set(result.path.map((one) => prefixOf(one.address))).size).toBe(3)
      for (const [a, b] of [
        [guard, middle],
        [guard, exit],
        [middle, exit]
      ] as const)
        expect(sameFamily(a, b)).toBe(false)
    }
  })

  it('is asserted whoever made the path', () => {
    const [guard, middle, exit] = [relay({ n: 1 }), relay({ n: 2 }), relay({ n: 3, exit: true })] as [ListedRelay, ListedRelay, ListedRelay]
    expect(assertPath([guard, middle, exit])).toEqual([guard, middle, exit])
    const bad: ListedRelay[][] = [
      [],
      [guard, middle],
      [guard, middle, exit, relay({ n: 4 })],
      [guard, guard, exit],
      [guard, middle, guard],
      [guard, exit, exit],
      [exit, middle, guard],
      [guard, relay({ n: 2, relay: false }), exit],
      [guard, relay({ n: 2, address: '10.1.99.99:1' }), exit]
    ]
    for (const wrong of bad) expect(() => assertPath(wrong)).toThrow(expect.objectContaining({ code: 'ERR_ANONNET_INTERNAL' }))
    expect(assertPath([guard, relay({ n: 2, address: '10.1.99.99:1' }), exit], true)).toHaveLength(3)
  })
})

describe('conflicts', () => {
  it('takes a family only if both sides name it', () => {
    const a = relay({ n: 1, family: [id(2)] })
    expect(sameFamily(a, relay({ n: 2, family: [id(1)] }))).toBe(true)
    expect(sameFamily(a, relay({ n: 2, family: [] }))).toBe(false)
    expect(sameFamily(relay({ n: 1 }), relay({ n: 2, family: [id(1)] }))).toBe(false)
  })

  it('takes /16 and /32, and an address that cannot be read fits nowhere', () => {
    const at = (n: number, address: string) => relay({ n, address })
    expect(conflict(at(1, '10.1.0.1:1'), at(2, '10.1.255.1:1'), false)).toBe(true)
    expect(conflict(at(1, '10.1.0.1:1'), at(2, '10.2.0.1:1'), false)).toBe(false)
    expect(conflict(at(1, '[2001:db8:1::1]:1'), at(2, '[2001:db8:2::1]:1'), false)).toBe(true)
    expect(conflict(at(1, '[2001:db8::1]:1'), at(2, '[2001:db9::1]:1'), false)).toBe(false)
    expect(conflict(at(1, 'nonsense'), at(2, '10.2.0.1:1'), false)).toBe(true)
    expect(conflict(at(1, '10.2.0.1:1'), at(2, 'nonsense'), false)).toBe(false)
    expect(conflict(at(2, 'nonsense'), at(1, '10.2.0.1:1'), false)).toBe(true)
    expect(conflict(at(1, '127.0.0.1:1'), at(2, '127.0.0.1:2'), true)).toBe(false)
    expect(conflict(at(1, '127.0.0.1:1'), at(2, '127.0.0.1:1'), true)).toBe(true)
    expect(conflict(at(1, '10.1.0.1:1'), at(1, '10.2.0.1:1'), true)).toBe(true)
  })
})

describe('selectPath', () => {
  it('says which choice found nobody', () => {
    const g = relay({ n: 1 })
    const m = relay({ n: 2, guard: false })
    const x = relay({ n: 3, exit: true })
    expect(rule(listOf([g, m, x]))).toBe('ok')
    expect(selectPath(undefined, newGuards(), EXIT, seeded(1), NOW)).toMatchObject({
      ok: false,
      rule: 'list',
      code: 'ERR_ANONNET_NOT_BOOTSTRAPPED'
    })
    expect(rule(listOf([g, m, x], { validUntil: NOW / 1000 }))).toBe('list ERR_ANONNET_NOT_BOOTSTRAPPED')
    expect(rule(listOf([g, m]))).toBe('exit ERR_ANONNET_NO_PATH')
    expect(rule(listOf([m, x, relay({ n: 4, guard: false })]))).toBe('guard ERR_ANONNET_NO_PATH')
    expect(rule(listOf([g, x]))).toBe('middle ERR_ANONNET_NO_PATH')
    expect(rule(listOf([g, m, x]), EXIT, { exclude: new Set([id(1)]) })).toBe('guard ERR_ANONNET_NO_PATH')
    expect(rule(listOf([g, m, x]), EXIT, { exclude: new Set([id(2)]) })).toBe('middle ERR_ANONNET_NO_PATH')
    expect(rule(listOf([g, m, { ...x, weight: 0 }]))).toBe('exit ERR_ANONNET_NO_PATH')
    expect(rule(listOf([g, m, { ...x, versions: [2, 3] }]))).toBe('exit ERR_ANONNET_NO_PATH')
    expect(rule(listOf([]))).toBe('exit ERR_ANONNET_NO_PATH')
    expect(VALID_UNTIL_S).toBeGreaterThan(NOW / 1000)
  })

  it('takes exits whose policy lets the target through', () => {
    const list = network(30, (spec) =>
      spec.exit ? { ...spec, exitPolicy: spec.n % 2 ? ['accept *:80'] : ['accept *:443', 'accept 192.0.2.0/24:80'] } : spec
    )
    for (let seed = 0; seed < 40; seed++) {
      expect(path(list, { kind: 'exit', target: { host: 'example.org', port: 443 } }, seed)[2].exitPolicy).toContain('accept *:443')
      expect(path(list, { kind: 'exit', target: { host: 'example.org', port: 80 } }, seed)[2].exitPolicy).toEqual(['accept *:80'])
    }
    const both = new Set(
      Array.from(
        { length: 60 },
        (_, seed) => path(list, { kind: 'exit', target: { host: '192.0.2.1', port: 80 } }, seed)[2].exitPolicy.length
      )
    )
    expect(both).toEqual(new Set([1, 2]))
    expect(rule(list, { kind: 'exit', target: { host: 'example.org', port: 25 } })).toBe('exit ERR_ANONNET_NO_PATH')
  })

  it('prefers exits that take more of the ports that will be asked for, and asks for one of them at least', () => {
    const policies: Record<number, string[]> = { 3: ['accept *:80'], 6: ['accept *:80,443'], 9: ['accept *:22'] }
    const list = network(12, (spec) => (spec.exit ? { ...spec, exitPolicy: policies[spec.n] ?? ['reject *:*'] } : spec))
    for (let seed = 0; seed < 20; seed++) {
      expect(path(list, { kind: 'exit', ports: [443, 80] }, seed)[2].nodeId).toBe(id(6))
      expect(path(list, { kind: 'exit', ports: [443, 80], target: { host: 'a.example', port: 22 } }, seed)[2].nodeId).toBe(id(9))
      expect([id(3), id(6)]).toContain(path(list, { kind: 'exit', ports: [80] }, seed)[2].nodeId)
    }
    expect(rule(list, { kind: 'exit', ports: [9999] })).toBe('exit ERR_ANONNET_NO_PATH')
    expect(rule(list, { kind: 'exit', ports: [] })).toBe('ok')
  })

  it('goes to the exit that is asked for, and nowhere else', () => {
    const list = network(30)
    expect(path(list, { kind: 'exit', exit: id(9) })[2].nodeId).toBe(id(9))
    expect(path(list, { kind: 'exit', exit: id(9), avoid: [id(9)] })[2].nodeId).toBe(id(9))
    expect(rule(list, { kind: 'exit', exit: id(7) })).toBe('exit ERR_ANONNET_NO_PATH')
    expect(rule(list, { kind: 'exit', exit: id(999) })).toBe('exit ERR_ANONNET_NO_PATH')
    expect(path(list, { kind: 'dir', exit: id(7) })[2].nodeId).toBe(id(7))
  })

  it('asks directory questions of any relay, mostly not of scarce exits', () => {
    const list = network(30, (spec) => ({ ...spec, exit: spec.n % 6 === 0 }))
    const asked = Array.from({ length: 100 }, (_, seed) => path(list, { kind: 'dir' }, seed)[2])
    expect(asked.every((one) => !one.roles.exit)).toBe(true)
    expect(new Set(asked).size).toBeGreaterThan(8)
  })

  it('avoids whom it is told to, and takes them rather than nobody', () => {
    const list = network(30)
    const guards = guardsOf(list)
    const plain = path(list, EXIT, 1, {}, guards)
    for (let seed = 0; seed < 30; seed++) {
      const avoid = plain.map((one) => one.nodeId)
      for (const one of path(list, { kind: 'exit', avoid }, seed, {}, guards)) expect(avoid).not.toContain(one.nodeId)
    }
    const everybody = list.relays.map((one) => one.nodeId)
    expect(path(list, { kind: 'exit', avoid: everybody }, 1, {}, guards)[0].nodeId).toBe(guards.sampled[0]?.nodeId)
  })

  it('of those it is told to avoid, takes the least important ones where it must', () => {
    const list = listOf(Array.from({ length: 8 }, (_, n) => relay({ n: n + 1, guard: n < 3, exit: n >= 3 })))
    const guards = guardsOf(list)
    // All eight, those that are known to be dead first: half of the list is given up, and no more.
    const avoid = [4, 5, 6, 7, 8, 1, 2, 3].map(id)
    for (let seed = 0; seed < 50; seed++)
      expect([id(4), id(5), id(6), id(7)]).not.toContain(path(list, { kind: 'exit', avoid }, seed, {}, guards)[2].nodeId)
  })

  it('avoiding never leads beyond the primary guards', () => {
    const list = network(90)
    const guards = guardsOf(list)
    const primary = guards.sampled.slice(0, 3).map((guard) => guard.nodeId)
    for (let taken = 0; taken <= 3; taken++) {
      const chosen = path(list, { kind: 'exit', avoid: primary.slice(0, taken) }, 1, {}, guards)[0].nodeId
      expect(chosen).toBe(primary[taken === 3 ? 0 : taken])
    }
  })

  it('never uses who is excluded', () => {
    const list = network(12)
    const exclude = new Set([id(1), id(3), id(4)])
    for (let seed = 0; seed < 100; seed++)
      for (const one of path(list, EXIT, seed, { exclude })) expect(exclude.has(one.nodeId)).toBe(false)
  })

  it('draws another exit where the first leaves no guard or no middle', () => {
    const family = [id(1), id(2), id(3)]
    const relays = [
      relay({ n: 1, family }),
      relay({ n: 2, family }),
      relay({ n: 3, exit: true, family, weight: 1_000_000 }),
      relay({ n: 4, guard: false }),
      relay({ n: 6, exit: true, weight: 1 })
    ]
    for (let seed = 0; seed < 30; seed++) expect(path(listOf(relays), EXIT, seed)[2].nodeId).toBe(id(6))
  })

  it('finds the only path of the smallest network', () => {
    for (let seed = 0; seed < 20; seed++) {
      const list = listOf([relay({ n: 1 }), relay({ n: 2 }), relay({ n: 3, exit: true })])
      expect(path(list, EXIT, seed)[2].nodeId).toBe(id(3))
    }
  })

  it('holds prefixes apart unless a test network allows it', () => {
    const list = network(9, (spec) => ({ ...spec, address: `127.0.0.1:${spec.n}` }))
    expect(rule(list)).toBe('guard ERR_ANONNET_NO_PATH')
    expect(rule(list, EXIT, { allowSamePrefix: true })).toBe('ok')
  })

  it('notes that a failed guard is being tried out, so that only one attempt is', () => {
    const list = network(30)
    const sampled = guardsOf(list)
    const [p0, p1] = sampled.sampled.map((guard) => guard.nodeId)
    const failed = guardFailed(sampled, p0!, NOW - 60_000, () => 0.5, NOW - 60_000)
    const patient = select(list, { kind: 'exit', patient: true }, 1, {}, failed)
    const second = select(list, { kind: 'exit', patient: true }, 2, {}, patient.guards)
    expect([patient, second].map((result) => result.ok && result.path[0].nodeId)).toEqual([p0, p1])
    expect(select(list, EXIT, 1, {}, failed)).toMatchObject({ ok: true, guards: failed })
  })
})

describe('attack row 30: guard discovery by forced rebuild', () => {
  it('killing the middle a hundred times does not change the guard', () => {
    const list = network(60)
    let guards = guardsOf(list)
    const used = new Set<string>()
    for (let round = 0; round < 100; round++) {
      const result = selectPath(list, guards, { kind: 'exit', avoid: [] }, seeded(round), NOW + round * 1000)
      if (!result.ok) throw new Error(result.rule)
      used.add(result.path[0].nodeId)
      // The first hop was done when the middle failed: that is what churn reports.
      guards = guardSucceeded(result.guards, result.path[0].nodeId, NOW + round * 1000)
    }
    expect([...used]).toEqual([guardsOf(list).sampled[0]?.nodeId])
  })
})

describe('how often a relay is chosen', () => {
  it('follows the weights of the position (chi-square over 30,000 paths)', () => {
    const list = network(30, (spec) => ({ ...spec, weight: 100 * (1 + (spec.n % 5)) }))
    const guards = guardsOf(list)
    const rng = seeded(7)
    const counts = new Map<string, number>()
    const draws = 30_000
    for (let i = 0; i < draws; i++) {
      const result = selectPath(list, guards, EXIT, rng, NOW)
      if (!result.ok) throw new Error(result.rule)
      const exit = result.path[2].nodeId
      counts.set(exit, (counts.get(exit) ?? 0) + 1)
    }
    const exits = list.relays.filter((one) => one.roles.exit)
    const total = exits.reduce((sum, one) => sum + one.weight, 0)
    const chiSquare = exits.reduce((sum, one) => {
      const expected = (draws * one.weight) / total
      return sum + ((counts.get(one.nodeId) ?? 0) - expected) ** 2 / expected
    }, 0)
    // 9 degrees of freedom: 99.9 % of honest draws stay below 27.9.
    expect(chiSquare).toBeLessThan(27.9)
  })
})
