/** Attack 30, on services: who makes one build circuits until the link to its guard is full. */
import { afterEach, beforeEach, describe, expect, it, vi } from 'vitest'
import { errorFromCode } from '../../../ts/errors/index.js'
import { MAX_MEETINGS, MEETING_GRACE_MS, MEETING_IDLE_MS } from '../../../ts/services/limits.js'
import { id } from '../routing/relays.js'
import { LINK_CIRCUITS, useFakeTime, World } from './service-world.js'

beforeEach(useFakeTime)
afterEach(() => void vi.useRealTimers())

describe('a service that more clients meet than its guard’s link carries', () => {
  it('keeps a bounded number of them and its guard, and closes those that are idle', { timeout: 120_000 }, async () => {
    const world = new World()
    const { host, introduce } = await world.host()
    const guards = world.driver.guards
    const before = world.open.size
    for (let client = 0; client < 1_100; client++) {
      introduce(id(1 + (client % 40)))
      await vi.advanceTimersByTimeAsync(16)
    }
    await vi.advanceTimersByTimeAsync(MEETING_GRACE_MS)
    expect(world.accepted.length).toBeGreaterThan(900)
    expect(world.open.size).toBeGreaterThan(MAX_MEETINGS)
    expect(world.most).toBeLessThan(before + MAX_MEETINGS + 64)
    expect(world.refused).toBe(0)
    expect(world.driver.guards.sampled).toBe(guards.sampled)
    expect(world.driver.guards.reach.size).toBe(0)

    // One of them has a stream.
    const used = world.accepted.at(-1) ?? 0
    world.open.set(used, 1)
    await vi.advanceTimersByTimeAsync(MEETING_IDLE_MS + 60_000)
    expect(world.accepted.filter((circuit) => world.open.has(circuit))).toEqual([used])
    expect(world.meetings.full).toBe(false)
    host.close()
    expect(world.open.has(used)).toBe(false)
    world.driver.close()
  })

  it('makes nobody who has a stream go for a newcomer, who waits for his turn instead', { timeout: 120_000 }, async () => {
    const world = new World()
    const { host, introduce } = await world.host()
    for (let client = 0; world.accepted.length < MAX_MEETINGS; client++) {
      introduce(id(1 + (client % 40)))
      await vi.advanceTimersByTimeAsync(16)
    }
    for (const circuit of world.accepted) world.open.set(circuit, 1)
    introduce(id(7))
    await vi.advanceTimersByTimeAsync(MEETING_GRACE_MS + 5_000)
    expect(world.accepted.length).toBe(MAX_MEETINGS)
    const [first] = world.accepted
    world.open.set(first ?? 0, 0)
    introduce(id(8))
    await vi.advanceTimersByTimeAsync(MEETING_GRACE_MS + 2_000)
    expect(world.accepted.length).toBeGreaterThan(MAX_MEETINGS)
    expect(world.open.has(first ?? 0)).toBe(false)
    host.close()
    world.driver.close()
  })
})

describe('a rendezvous point that never answers', () => {
  it('is given up soon, and five a second of them keep nobody out', async () => {
    const world = new World()
    const { host, introduce } = await world.host()
    const silent = id(9)
    world.outcome = (path) => (path.at(-1) === silent ? 'silent' : 'built')
    const paths = (): number => world.paths.filter((path) => path.length === 4 && path.at(-1) === silent).length
    introduce(silent)
    await vi.advanceTimersByTimeAsync(6_000)
    expect(paths()).toBe(2)
    expect(world.dropped.length).toBe(1)
    // Five a second of them, for half a minute, hold fewer places than there are: who comes with a good one is met at once.
    for (let client = 0; client < 150; client++) {
      introduce(silent)
      if (client % 10 === 0) introduce(id(1 + (client % 8)))
      await vi.advanceTimersByTimeAsync(200)
    }
    expect(world.accepted.length).toBe(15)
    host.close()
    world.driver.close()
  })
})

describe('a link to the guard that is full', () => {
  it('costs neither the guard nor the relays behind it anything, and is told at once', async () => {
    const world = new World()
    const { guards } = world.driver
    const avoid = vi.spyOn(world.circuits, 'avoid')
    for (let circuit = 0; circuit < LINK_CIRCUITS; circuit++) world.open.set(-circuit, 1)
    world.paths.length = 0
    for (let tries = 0; tries < 20; tries++) {
      await expect(world.circuits.build('meet', { last: id(1 + tries) })).rejects.toMatchObject({ code: 'ERR_ANONNET_RESOURCE_LIMIT' })
    }
    expect(world.paths.length).toBe(20)
    expect(avoid).not.toHaveBeenCalled()
    expect(world.driver.guards.reach.size).toBe(0)
    expect(world.driver.guards.sampled).toBe(guards.sampled)
    // A failure of the guard itself is still the guard's.
    world.open.clear()
    vi.spyOn(world.engine, 'buildCircuit').mockImplementation((_hops, _timeoutMs, done) =>
      done(Object.assign(errorFromCode('ERR_ANONNET_LINK_UNREACHABLE'), { hop: 0 }), 0)
    )
    await expect(world.circuits.build('meet', { last: id(1) })).rejects.toMatchObject({ code: 'ERR_ANONNET_LINK_UNREACHABLE' })
    expect(world.driver.guards.reach.size).toBeGreaterThan(0)
    world.driver.close()
  })
})
