import { inspect } from 'node:util'
import { describe, expect, it } from 'vitest'
import { StoreError } from '../../../ts/errors/index.js'
import {
  GUARD_FILE_MAX_ENTRIES,
  guardFailed,
  guardsFromJson,
  guardsToJson,
  loadGuards,
  newGuards,
  refreshGuards
} from '../../../ts/routing/index.js'
import { GUARD_FILE_MAX_CHARS } from '../../../ts/routing/limits.js'
import { id, listOf, network, seeded } from './relays.js'

const NOW = 1_800_000_000_000
const guard = { nodeId: id(1), addedAtMs: NOW, expiresAtMs: NOW + 1000 }
const file = (...guards: readonly unknown[]) => JSON.stringify({ version: 1, guards })

describe('the guard file', () => {
  it('gives back what was written, without who was reachable', () => {
    const list = network(30)
    let guards = refreshGuards(newGuards(), list, seeded(1), NOW)
    const gone = guards.sampled[1]?.nodeId
    guards = refreshGuards(guards, listOf(list.relays.filter((one) => one.nodeId !== gone)), seeded(2), NOW + 1)
    expect(guards.sampled.some((one) => one.unlistedSinceMs !== undefined)).toBe(true)
    guards = guardFailed(guards, guards.sampled[0]!.nodeId, NOW, () => 0.5, NOW)
    const text = guardsToJson(guards)
    expect(guardsFromJson(text)).toEqual({ ...newGuards(), sampled: guards.sampled })
    expect(loadGuards(text)).toEqual({ guards: guardsFromJson(text) })
    expect(loadGuards(undefined)).toEqual({ guards: newGuards() })
    expect(guardsFromJson(file(guard)).sampled).toEqual([guard])
  })

  it.each([
    ['nothing', ''],
    ['a cut file', file(guard).slice(0, -3)],
    ['no object', '[]'],
    ['null', 'null'],
    ['no guards', '{"version":1}'],
    ['another version', '{"version":2,"guards":[]}'],
    ['an unknown key', '{"version":1,"guards":[],"more":1}'],
    ['an unknown key of a guard', file({ ...guard, more: 1 })],
    ['a short id', file({ ...guard, nodeId: 'abcd' })],
    ['an id in capitals', file({ ...guard, nodeId: 'AB'.repeat(32) })],
    ['a time that is no number', file({ ...guard, addedAtMs: `${NOW}` })],
    ['a time before time', file({ ...guard, addedAtMs: -1 })],
    ['a broken time', file({ ...guard, expiresAtMs: NOW + 0.5 })],
    ['a time beyond numbers', file({ ...guard, expiresAtMs: 1e300 })],
    ['an end before the start', file({ ...guard, expiresAtMs: NOW })],
    ['a guard for ever', file({ ...guard, expiresAtMs: NOW + 10_000_000_000_000 })],
    ['a guard twice', file(guard, guard)],
    ['too many', file(...Array.from({ length: GUARD_FILE_MAX_ENTRIES + 1 }, (_, n) => ({ ...guard, nodeId: id(n) })))],
    ['too much', file(guard) + ' '.repeat(GUARD_FILE_MAX_CHARS)]
  ])('is refused whole with %s, and begins anew with a warning', (_what, text) => {
    expect(() => guardsFromJson(text)).toThrow(StoreError)
    const loaded = loadGuards(text)
    expect(loaded.guards).toEqual(newGuards())
    expect(loaded.warning).toMatchObject({ code: 'ERR_ANONNET_STORE_FAILED', blame: 'local' })
    expect(inspect(loaded.warning)).not.toContain(id(1))
  })
})
