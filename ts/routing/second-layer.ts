/**
 * The second layer: four relays, each kept for 1 to 12 days, of which one stands behind the guard in every path to or from a service. Who
 * makes us build such paths again and again, or kills the relays in them, so never gets to see more than these, and not the guard.
 */
import * as v from 'valibot'
import type { RelayList } from '../directory/types.js'
import type { AnonNetError } from '../errors/index.js'
import { guardTiers } from './guards.js'
import { SECOND_LAYER_FILE_MAX_CHARS, SECOND_LAYER_MAX_MS, SECOND_LAYER_MIN_MS, SECOND_LAYER_SIZE } from './limits.js'
import { indexOf } from './list.js'
import { damagedFile, parseStateFile } from './state-file.js'
import type { GuardState, SecondLayer } from './types.js'
import { chooseWeighted } from './weights.js'

const FORMAT_VERSION = 1

/** No relays yet: `refreshSecondLayer` draws them. */
export function newSecondLayer(): SecondLayer {
  return { relays: [] }
}

/**
 * Drops what expired or left the list, and draws what is missing, the guard in use excepted. A relay that merely fails stays: else whoever
 * can make relays fail could lead us to his own. The same object if nothing changed.
 */
export function refreshSecondLayer(layer: SecondLayer, list: RelayList, guards: GuardState, rng: () => number, nowMs: number): SecondLayer {
  const { byId, relays, surplus } = indexOf(list)
  const kept = layer.relays
    .filter(({ nodeId, expiresAtMs }) => expiresAtMs > nowMs && byId.has(nodeId))
    // A clock that was far ahead when the relay was drawn must not make it immortal.
    .map((relay) => (relay.expiresAtMs > nowMs + SECOND_LAYER_MAX_MS ? { ...relay, expiresAtMs: nowMs + SECOND_LAYER_MAX_MS } : relay))
  const guard = guardTiers(guards, list, false, nowMs)[0]?.[0]
  const drawn = [...kept]
  while (drawn.length < SECOND_LAYER_SIZE) {
    const left = relays.filter((relay) => relay !== guard && !drawn.some(({ nodeId }) => nodeId === relay.nodeId))
    const relay = chooseWeighted(left, 'middle', surplus, rng)
    if (relay === undefined) break
    const share = Math.max(rng(), rng())
    drawn.push({
      nodeId: relay.nodeId,
      expiresAtMs: Math.round(nowMs + SECOND_LAYER_MIN_MS + share * (SECOND_LAYER_MAX_MS - SECOND_LAYER_MIN_MS))
    })
  }
  const same = drawn.length === layer.relays.length && drawn.every((relay, index) => relay === layer.relays[index])
  return same ? layer : { relays: drawn }
}

const fileSchema = v.strictObject({
  version: v.literal(FORMAT_VERSION),
  relays: v.pipe(
    v.array(
      v.strictObject({
        nodeId: v.pipe(v.string(), v.regex(/^[0-9a-f]{64}$/)),
        expiresAtMs: v.pipe(v.number(), v.safeInteger(), v.minValue(0))
      })
    ),
    v.maxLength(SECOND_LAYER_SIZE)
  )
})

/** The text to write, with mode 0600. */
export function secondLayerToJson(layer: SecondLayer): string {
  return `${JSON.stringify({ version: FORMAT_VERSION, relays: layer.relays }, undefined, 2)}\n`
}

/** The layer of a file, or a new one without a file. A damaged file gives a new one and the error to warn with. */
export function loadSecondLayer(text: string | undefined): { readonly layer: SecondLayer; readonly warning?: AnonNetError } {
  if (text === undefined) return { layer: newSecondLayer() }
  try {
    const { relays } = parseStateFile(text, 'second layer', SECOND_LAYER_FILE_MAX_CHARS, fileSchema)
    if (new Set(relays.map(({ nodeId }) => nodeId)).size !== relays.length) throw damagedFile('second layer', 'a relay twice')
    return { layer: { relays } }
  } catch (error) {
    return { layer: newSecondLayer(), warning: error as AnonNetError }
  }
}
