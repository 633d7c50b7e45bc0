/** Circuits of services: over which paths, while several are tried at the same time. */
import { afterEach, beforeEach, describe, expect, it, vi } from 'vitest'
import { lookUp, store } from '../../../ts/node/service-lookup.js'
import { useFakeTime, World } from './service-world.js'

beforeEach(useFakeTime)
afterEach(() => void vi.useRealTimers())

const LIMITS = { timeoutMs: 12_000 }

describe('a lookup or a store whose circuits take long', () => {
  it('asks over no last hop twice', async () => {
    const world = new World()
    world.outcome = (path) => (path.length === 3 ? 'silent' : 'built')
    const lastOf = (from: number): string[] => world.paths.slice(from).map((path) => path.at(-1) ?? '')
    const service = { blinded: new Uint8Array(32).fill(7), period: 20_000 }
    for (const run of [
      () => lookUp(world, service, Date.now(), LIMITS).catch(() => undefined),
      () => {
        // All replicas of a descriptor share the names of those that were asked.
        const asked = new Set<string>()
        return Promise.all([0, 1, 2].map(() => store(world, new Uint8Array(9), asked, LIMITS)))
      }
    ]) {
      const from = world.paths.length
      const running = run()
      await vi.advanceTimersByTimeAsync(6_000)
      const last = lastOf(from)
      expect(last.length).toBeGreaterThanOrEqual(12)
      expect(new Set(last).size).toBe(last.length)
      await vi.advanceTimersByTimeAsync(60_000)
      await running
    }
    world.driver.close()
  })
})

describe('the introduction points of a service', () => {
  it('are different relays from the first on, though all are chosen at the same moment and some take long', async () => {
    for (let run = 0; run < 10; run++) {
      const world = new World(14)
      // So few relays that two of three would often be the same, and the first path of each takes long.
      const slow = new Set<string>()
      world.outcome = ([, , last = '']) => {
        if (slow.size >= 3) return 'built'
        slow.add(last)
        return 'silent'
      }
      const establish = vi.spyOn(world.engine.services, 'establishIntro')
      const { host } = await world.host()
      expect(establish).not.toHaveBeenCalled()
      const first = world.paths.map((path) => path.at(-1))
      expect(new Set(first).size).toBe(3)
      await vi.advanceTimersByTimeAsync(2_000)
      expect(host.introPoints).toBe(3)
      const last = world.paths.map((path) => path.at(-1) ?? '')
      expect(new Set(last.slice(3, 6)).size).toBe(3)
      host.close()
      world.driver.close()
    }
  })
})

describe('a circuit of which nothing is heard', () => {
  it('gets one beside it over another guard where there is no link to the first, and over the same guard where there is', async () => {
    for (const linked of [false, true]) {
      const world = new World()
      world.outcome = () => 'silent'
      vi.spyOn(world.engine, 'links').mockImplementation(
        () => (linked ? world.paths.map(([nodeId = '']) => ({ nodeId })) : []) as ReturnType<typeof world.engine.links>
      )
      const building = world.circuits.build('lookup', LIMITS).catch((error: unknown) => error)
      await vi.advanceTimersByTimeAsync(1_600)
      const guards = world.paths.map(([guard]) => guard)
      expect(guards).toHaveLength(2)
      expect([linked, guards[1] === guards[0]]).toEqual([linked, linked])
      await vi.advanceTimersByTimeAsync(12_000)
      expect(await building).toMatchObject({ code: 'ERR_ANONNET_TIMEOUT' })
      world.driver.close()
    }
  })
})
