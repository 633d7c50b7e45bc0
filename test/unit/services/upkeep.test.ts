import fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import {
  INTRO_LIFETIME_MAX_MS,
  INTRO_POINTS,
  INTRO_RETIRE_MS,
  NEW_PERIOD_WITHIN_MS,
  PUBLISH_FIRST_MS,
  PUBLISH_SETTLE_MS,
  REPUBLISH_MAX_MS,
  REPUBLISH_MIN_MS,
  UPKEEP_BACKOFF_MAX_MS
} from '../../../ts/services/limits.js'
import { isPublished, newUpkeep, type UpkeepAction, type UpkeepEvent, upkeepStep } from '../../../ts/services/upkeep.js'
import { SERVICE_TTL_S } from '../../../ts/wire/index.js'
import { seeded } from '../routing/relays.js'

/** A service whose circuits do what the test says. */
class World {
  nowMs = 1_000_000
  periods = [7]
  state = newUpkeep(this.nowMs)
  readonly all: UpkeepAction[] = []
  readonly open = new Set<number>()
  readonly published: { period: number; points: readonly number[]; atMs: number }[] = []
  wakeAtMs: number | undefined
  readonly #rng = seeded(5)

  send(event: UpkeepEvent): UpkeepAction[] {
    const result = upkeepStep(this.state, event, { nowMs: this.nowMs, rng: this.#rng, periods: this.periods })
    this.state = result.state
    this.wakeAtMs = result.wakeAtMs
    for (const action of result.actions) {
      this.all.push(action)
      if (action.type === 'establish') this.open.add(action.point)
      if (action.type === 'drop') this.open.delete(action.point)
      if (action.type === 'publish') this.published.push({ period: action.period, points: action.points, atMs: this.nowMs })
    }
    return [...result.actions]
  }

  /** Everything that was begun goes well. */
  settle(): void {
    for (const { id, up, nodeId } of [...this.state.points.values()]) {
      if (nodeId === undefined) this.send({ type: 'chosen', point: id, nodeId: `node ${id}` })
      if (!up) this.send({ type: 'established', point: id })
    }
    for (const [period, { running }] of [...this.state.periods]) if (running) this.send({ type: 'published', period, nodes: 16 })
  }

  /** Lets time pass as a timer would, with everything going well. */
  pass(ms: number): void {
    const untilMs = this.nowMs + ms
    while (this.wakeAtMs !== undefined && this.wakeAtMs <= untilMs) {
      this.nowMs = this.wakeAtMs
      this.send({ type: 'tick' })
      this.settle()
    }
    this.nowMs = untilMs
    this.send({ type: 'tick' })
  }

  start(): this {
    this.send({ type: 'list', usable: true })
    this.settle()
    this.settle()
    this.pass(PUBLISH_SETTLE_MS)
    this.settle()
    return this
  }
}

describe('the upkeep of a service', () => {
  it('establishes its introduction points at other relays, and publishes once they all are', () => {
    const world = new World()
    expect(world.send({ type: 'tick' })).toEqual([])
    expect(world.send({ type: 'list', usable: true }).map((action) => action.type)).toEqual(Array(INTRO_POINTS).fill('establish'))
    world.send({ type: 'chosen', point: 1, nodeId: 'a' })
    world.send({ type: 'established', point: 1 })
    world.pass(PUBLISH_SETTLE_MS)
    expect(world.published).toEqual([])
    world.settle()
    world.pass(PUBLISH_SETTLE_MS)
    expect(world.published.map(({ points }) => points)).toEqual([[1, 2, 3]])
    world.settle()
    expect(isPublished(world.state, 7)).toBe(true)
  })

  it('waits for the last of them only so long', () => {
    const world = new World()
    world.send({ type: 'list', usable: true })
    world.send({ type: 'chosen', point: 1, nodeId: 'a' })
    world.send({ type: 'established', point: 1 })
    world.nowMs += PUBLISH_FIRST_MS
    world.send({ type: 'tick' })
    expect(world.published.map(({ points }) => points)).toEqual([[1]])
  })

  it('replaces one that dies at once, elsewhere, and publishes the change', () => {
    const world = new World().start()
    const before = world.published.length
    const actions = world.send({ type: 'lost', point: 2 })
    expect(actions).toEqual([{ type: 'establish', point: 4, avoid: ['node 1', 'node 3', 'node 2'] }])
    world.settle()
    world.pass(PUBLISH_SETTLE_MS)
    expect(world.published.length).toBe(before + 1)
    expect(world.published.at(-1)?.points).toEqual([1, 3, 4])
  })

  it('publishes again long before what is stored expires, for ever', () => {
    const world = new World().start()
    world.pass(48 * 3_600_000)
    const times = world.published.map(({ atMs }) => atMs)
    const gaps = times.slice(1).map((atMs, index) => atMs - (times[index] ?? 0))
    expect(Math.max(...gaps)).toBeLessThanOrEqual(REPUBLISH_MAX_MS)
    expect(2 * REPUBLISH_MAX_MS).toBeLessThanOrEqual(SERVICE_TTL_S * 1000)
    expect(new Set(gaps.filter((gap) => gap >= REPUBLISH_MIN_MS)).size).toBeGreaterThan(10)
  })

  it('replaces points when they are old or much used, and keeps the old ones for those who know them', () => {
    const world = new World().start()
    world.pass(INTRO_LIFETIME_MAX_MS + INTRO_RETIRE_MS + 60_000)
    expect(world.open.has(1) || world.open.has(2) || world.open.has(3)).toBe(false)
    expect(world.open.size).toBe(INTRO_POINTS)

    const busy = new World().start()
    for (let use = 0; use < 20_000; use++) busy.send({ type: 'introduced', point: 1 })
    busy.settle()
    busy.pass(PUBLISH_SETTLE_MS)
    expect(busy.published.at(-1)?.points).toEqual([2, 3, 4])
    expect(busy.open.has(1)).toBe(true)
    busy.pass(INTRO_RETIRE_MS)
    expect(busy.open.has(1)).toBe(false)
  })

  it('pauses longer and longer while points cannot be established or nobody stores', () => {
    const world = new World()
    world.send({ type: 'list', usable: true })
    for (let round = 0; round < 40; round++) {
      for (const id of [...world.state.points.keys()]) world.send({ type: 'lost', point: id })
      world.nowMs = Math.max(world.nowMs, world.state.retryMs)
      world.send({ type: 'tick' })
    }
    // 40 rounds of one second each at least, up to five minutes each.
    const establishes = world.all.filter((action) => action.type === 'establish').length
    expect(establishes).toBeLessThan(40 * INTRO_POINTS + 4)
    expect(world.nowMs - 1_000_000).toBeGreaterThan(20 * UPKEEP_BACKOFF_MAX_MS * 0.5)

    const unheard = new World().start()
    unheard.send({ type: 'changed' })
    unheard.pass(PUBLISH_SETTLE_MS)
    const dueMs: number[] = []
    for (let round = 0; round < 12; round++) {
      unheard.send({ type: 'published', period: 7, nodes: 0 })
      const next = unheard.state.periods.get(7)?.dueMs ?? 0
      dueMs.push(next - unheard.nowMs)
      unheard.nowMs = next
      unheard.send({ type: 'tick' })
    }
    expect(dueMs[0]).toBeLessThanOrEqual(1_000)
    expect(dueMs.at(-1)).toBeGreaterThan(UPKEEP_BACKOFF_MAX_MS / 4)
    expect(dueMs.at(-1)).toBeLessThanOrEqual(UPKEEP_BACKOFF_MAX_MS)
  })

  it('publishes for both periods around the change of day, and for the new one at a time that is drawn', () => {
    const world = new World().start()
    world.periods = [7, 8]
    world.send({ type: 'tick' })
    expect(world.published.at(-1)?.period).toBe(7)
    world.pass(NEW_PERIOD_WITHIN_MS)
    expect(world.published.at(-1)?.period).toBe(8)
    world.settle()
    world.periods = [8]
    world.send({ type: 'tick' })
    expect([...world.state.periods.keys()]).toEqual([8])
  })

  it('publishes again when something changed while it published', () => {
    const world = new World().start()
    world.send({ type: 'changed' })
    world.pass(PUBLISH_SETTLE_MS)
    world.settle()
    const before = world.published.length
    world.send({ type: 'changed' })
    world.nowMs += PUBLISH_SETTLE_MS
    world.send({ type: 'tick' })
    world.send({ type: 'changed' })
    world.send({ type: 'published', period: 7, nodes: 3 })
    world.pass(PUBLISH_SETTLE_MS)
    expect(world.published.length).toBe(before + 2)
  })

  it('drops everything at its end and does nothing afterwards', () => {
    const world = new World().start()
    expect(world.send({ type: 'close' }).filter((action) => action.type === 'drop')).toHaveLength(INTRO_POINTS)
    expect(world.send({ type: 'list', usable: true })).toEqual([])
    expect(world.wakeAtMs).toBeUndefined()
  })

  it('never has more points under way than it keeps and replaces, whatever happens', () => {
    const step = fc.tuple(
      fc.constantFrom('lost', 'established', 'chosen', 'tick', 'introduced', 'published'),
      fc.integer({ min: 1, max: 12 }),
      fc.nat(600_000)
    )
    fc.assert(
      fc.property(fc.array(step, { maxLength: 120 }), (script) => {
        const world = new World()
        world.send({ type: 'list', usable: true })
        for (const [type, point, later] of script) {
          world.nowMs += later
          if (type === 'published') world.send({ type, period: 7, nodes: point % 3 })
          else if (type === 'chosen') world.send({ type, point, nodeId: `n${point}` })
          else if (type === 'tick') world.send({ type })
          else world.send({ type, point })
          const fresh = [...world.state.points.values()].filter(({ dropMs }) => dropMs === undefined)
          expect(fresh.length).toBeLessThanOrEqual(INTRO_POINTS)
          for (const { points } of world.published.slice(-1)) expect(points.length).toBeGreaterThan(0)
        }
      }),
      { numRuns: 60 }
    )
  })
})
