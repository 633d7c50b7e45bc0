import fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import {
  exitAccepts,
  guardFailed,
  guardSampleLimit,
  guardSucceeded,
  guardsFromJson,
  guardsToJson,
  guardTiers,
  newGuards,
  parseExitPolicy,
  parseIp,
  prefixOf,
  refreshGuards,
  sameFamily,
  selectPath
} from '../../../ts/routing/index.js'
import { id, listOf, relay, seeded } from '../../unit/routing/relays.js'

const NOW = 1_800_000_000_000

const networks = fc
  .array(
    fc.record({
      exit: fc.boolean(),
      guard: fc.boolean(),
      relay: fc.boolean(),
      weight: fc.oneof(fc.constant(0), fc.integer({ min: 1, max: 1_000_000 })),
      prefix: fc.integer({ min: 0, max: 12 }),
      family: fc.array(fc.integer({ min: 0, max: 20 }).map(id), { maxLength: 6 }),
      exitPolicy: fc.constantFrom(['accept *:*'], ['accept *:80'], ['reject *:80', 'accept *:*'], ['broken'])
    }),
    { maxLength: 20 }
  )
  .map((specs) => listOf(specs.map(({ prefix, ...spec }, n) => relay({ n, address: `10.${prefix}.0.${n}:443`, ...spec }))))

describe('any network', () => {
  it('gives a path that keeps every rule, or a reason; and the guards never outgrow their limit', () => {
    fc.assert(
      fc.property(
        networks,
        fc.nat(),
        fc.constantFrom<'exit' | 'dir'>('exit', 'dir'),
        fc.array(fc.integer({ min: 0, max: 20 }).map(id)),
        (list, seed, kind, avoid) => {
          const rng = seeded(seed)
          let guards = refreshGuards(newGuards(), list, rng, NOW)
          expect(guards.sampled.length).toBeLessThanOrEqual(guardSampleLimit(list.relays.filter((one) => one.roles.guard).length))
          const sampled = new Set(guards.sampled.map((guard) => guard.nodeId))
          const target = { host: 'example.org', port: 80 }
          for (let round = 0; round < 5; round++) {
            const result = selectPath(list, guards, { kind, target, avoid, patient: round % 2 === 0 }, rng, NOW + round * 10_000)
            guards = result.guards
            if (!result.ok) {
              expect(['exit', 'guard', 'middle']).toContain(result.rule)
              continue
            }
            const [guard, middle, exit] = result.path
            expect(sampled.has(guard.nodeId) && guard.roles.guard).toBe(true)
            if (kind === 'exit') expect(exitAccepts(exit, target)).toBe(true)
            expect(new Set(result.path.map((one) => prefixOf(one.address))).size).toBe(3)
            expect(sameFamily(guard, middle) || sameFamily(guard, exit) || sameFamily(middle, exit)).toBe(false)
            for (const one of result.path) expect(one.roles.relay && one.weight > 0).toBe(true)
            const answered = rng() < 0.5
            guards = answered ? guardSucceeded(guards, guard.nodeId, NOW) : guardFailed(guards, guard.nodeId, NOW, rng, NOW)
          }
          expect(guards.sampled.every((guard) => sampled.has(guard.nodeId))).toBe(true)
          expect(guardsFromJson(guardsToJson(guards)).sampled).toEqual(guards.sampled)
        }
      ),
      { numRuns: 500 }
    )
  })

  it('finds a path whenever there is one', () => {
    fc.assert(
      fc.property(networks, fc.nat(), (list, seed) => {
        const rng = seeded(seed)
        const guards = refreshGuards(newGuards(), list, rng, NOW)
        const usable = list.relays.filter((one) => one.roles.relay && one.weight > 0)
        const first = guardTiers(guards, list, false, NOW).flat()
        const clash = (a: (typeof usable)[number], b: (typeof usable)[number]) =>
          a.nodeId === b.nodeId || prefixOf(a.address) === prefixOf(b.address) || sameFamily(a, b)
        const exists = first.some((guard) =>
          usable.some(
            (exit) => exitAccepts(exit) && !clash(guard, exit) && usable.some((middle) => !clash(middle, guard) && !clash(middle, exit))
          )
        )
        expect(selectPath(list, guards, { kind: 'exit' }, rng, NOW).ok).toBe(exists)
      }),
      { numRuns: 500 }
    )
  })

  it('never throws on guards that come and go', () => {
    fc.assert(
      fc.property(fc.array(fc.tuple(networks, fc.integer({ min: 0, max: 200 })), { maxLength: 8 }), fc.nat(), (steps, seed) => {
        const rng = seeded(seed)
        let guards = newGuards()
        let now = NOW
        for (const [list, days] of steps) {
          now += days * 86_400_000
          guards = refreshGuards(guards, list, rng, now)
          const listed = guards.sampled.filter((guard) => guard.unlistedSinceMs === undefined)
          const byId = new Map(list.relays.map((one) => [one.nodeId, one]))
          for (const guard of listed) expect(byId.get(guard.nodeId)?.roles.guard).toBe(true)
          expect(new Set(guards.sampled.map((guard) => guard.nodeId)).size).toBe(guards.sampled.length)
          for (const guard of guards.sampled) expect(guard.expiresAtMs).toBeGreaterThan(now)
        }
      }),
      { numRuns: 200 }
    )
  })
})

describe('any text', () => {
  it('is an address as node:net reads it, or none', async () => {
    const { isIP } = await import('node:net')
    const pieces = fc
      .array(fc.constantFrom('0', '1', 'f', 'ffff', '255', '256', ':', '::', '.', '10', '%', '/', '00'), { maxLength: 16 })
      .map((parts) => parts.join(''))
    fc.assert(
      fc.property(fc.oneof(fc.ipV4(), fc.ipV6(), pieces, fc.string()), (text) => {
        const known = text.includes('%') ? 0 : isIP(text)
        expect(parseIp(text) !== undefined).toBe(known !== 0)
        if (known === 4) expect(parseIp(text)?.bytes.join('.')).toBe(text)
      }),
      { numRuns: 5000 }
    )
  })

  it('is a policy or none, without a crash', () => {
    const words = fc
      .array(fc.constantFrom('accept ', 'reject ', '*', ':', '80', '-', ',', '10.0.0.0', '/8', '[::1]', ' '), { maxLength: 8 })
      .map((parts) => parts.join(''))
    fc.assert(
      fc.property(
        fc.array(fc.oneof(words, fc.string()), { maxLength: 4 }),
        fc.oneof(fc.ipV4(), fc.ipV6(), fc.domain(), fc.string()),
        fc.integer({ min: 1, max: 65535 }),
        (lines, host, port) => {
          parseExitPolicy(lines)
          expect(typeof exitAccepts(relay({ n: 1, exit: true, exitPolicy: lines }), { host, port })).toBe('boolean')
        }
      ),
      { numRuns: 2000 }
    )
  })
})
