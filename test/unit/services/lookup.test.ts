import fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import { LOOKUP_ANSWERS, LOOKUP_DENIALS, LOOKUP_MAX_ASKED, LOOKUP_SETTLE_MS } from '../../../ts/services/limits.js'
import { type LookupAction, type LookupEvent, lookupStep, newLookup } from '../../../ts/services/lookup.js'

/** Runs a lookup by hand. */
function make() {
  let state = newLookup<string>()
  const all: LookupAction<string>[] = []
  const step = (event: LookupEvent<string>, nowMs = 0) => {
    const result = lookupStep(state, event, nowMs)
    state = result.state
    all.push(...result.actions)
    return result
  }
  return { step, all, asks: () => all.filter((action) => action.type === 'ask'), end: () => all.find((action) => action.type === 'done') }
}

describe('a lookup of a descriptor', () => {
  it('asks three at once, at both replicas, and takes the highest of three answers', () => {
    const { step, asks, end } = make()
    step({ type: 'begin' })
    expect(asks().map((ask) => ask.type === 'ask' && ask.replica)).toEqual([0, 1, 0])
    step({ type: 'found', ask: 0, revision: 5, value: 'old' })
    step({ type: 'found', ask: 2, revision: 9, value: 'new' })
    expect(end()).toBeUndefined()
    step({ type: 'found', ask: 1, revision: 5, value: 'old' })
    expect(end()).toEqual({ type: 'done', value: 'new', denied: false })
  })

  it('a last hop that lies with an old valid record, or says that there is none, changes nothing', () => {
    for (const lie of [{ type: 'found', ask: 0, revision: 1, value: 'old' } as const, { type: 'denied', ask: 0 } as const]) {
      const { step, end } = make()
      step({ type: 'begin' })
      step(lie)
      step({ type: 'found', ask: 1, revision: 2, value: 'new' })
      step({ type: 'found', ask: 2, revision: 2, value: 'new' })
      expect(end()).toEqual({ type: 'done', value: 'new', denied: false })
    }
  })

  it('replaces those that do not answer, and waits for no third for ever', () => {
    const { step, asks, end } = make()
    step({ type: 'begin' })
    step({ type: 'failed', ask: 0 })
    step({ type: 'found', ask: 1, revision: 3, value: 'it' }, 100)
    expect(asks().length).toBeGreaterThan(3)
    const { wakeAtMs } = step({ type: 'tick' }, 200)
    expect(wakeAtMs).toBe(100 + LOOKUP_SETTLE_MS)
    step({ type: 'tick' }, 100 + LOOKUP_SETTLE_MS)
    expect(end()).toEqual({ type: 'done', value: 'it', denied: false })
  })

  it('believes nobody alone that there is nothing', () => {
    const { step, end } = make()
    step({ type: 'begin' })
    for (let ask = 0; ask < LOOKUP_DENIALS; ask++) {
      expect(end()).toBeUndefined()
      step({ type: 'denied', ask })
    }
    expect(end()).toEqual({ type: 'done', value: undefined, denied: true })
  })

  it('always ends, never asks too many or too many at once, and never lowers what it has', () => {
    fc.assert(
      fc.property(
        fc.array(fc.tuple(fc.constantFrom('found', 'denied', 'failed'), fc.nat(LOOKUP_MAX_ASKED), fc.nat(9)), { maxLength: 60 }),
        (script) => {
          const { step, asks, end } = make()
          const open = new Set<number>()
          let best = -1
          const run = (event: LookupEvent<string>) => {
            for (const action of step(event).actions) if (action.type === 'ask') open.add(action.ask)
          }
          run({ type: 'begin' })
          const answer = (type: string, ask: number, revision: number) => {
            if (!open.delete(ask)) return
            if (type === 'found' && end() === undefined) best = Math.max(best, revision)
            run(type === 'found' ? { type, ask, revision, value: String(revision) } : { type: type as 'denied', ask })
            expect(open.size).toBeLessThanOrEqual(LOOKUP_ANSWERS)
          }
          for (const [type, ask, revision] of script) answer(type, ask, revision)
          while (end() === undefined && open.size > 0) answer('failed', [...open][0] ?? 0, 0)
          expect(end()).toBeDefined()
          expect(asks().length).toBeLessThanOrEqual(LOOKUP_MAX_ASKED)
          const done = end()
          expect(done?.type === 'done' && done.value).toBe(best < 0 ? undefined : String(best))
        }
      )
    )
  })
})
