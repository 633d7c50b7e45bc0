/** The guards' form on disk. A file that is not exactly of this form is refused whole, and the guards begin anew. */
import * as v from 'valibot'
import type { AnonNetError } from '../errors/index.js'
import { newGuards } from './guards.js'
import { GUARD_FILE_MAX_CHARS, GUARD_FILE_MAX_ENTRIES, GUARD_LIFETIME_MAX_MS } from './limits.js'
import { damagedFile, parseStateFile } from './state-file.js'
import type { GuardState, SampledGuard } from './types.js'

const FORMAT_VERSION = 1

const timeMs = v.pipe(v.number(), v.safeInteger(), v.minValue(0))

const fileSchema = v.strictObject({
  version: v.literal(FORMAT_VERSION),
  guards: v.pipe(
    v.array(
      v.strictObject({
        nodeId: v.pipe(v.string(), v.regex(/^[0-9a-f]{64}$/)),
        addedAtMs: timeMs,
        expiresAtMs: timeMs,
        unlistedSinceMs: v.optional(timeMs)
      })
    ),
    v.maxLength(GUARD_FILE_MAX_ENTRIES)
  )
})

/** The text to write, atomically and with mode 0600: it tells whom this client connects to. Reachability is not in it. */
export function guardsToJson(guards: GuardState): string {
  return `${JSON.stringify({ version: FORMAT_VERSION, guards: guards.sampled }, undefined, 2)}\n`
}

/**
 * Reads {@link guardsToJson}'s text.
 * @throws ERR_ANONNET_STORE_FAILED when it is not of that form.
 */
export function guardsFromJson(text: string): GuardState {
  const { guards } = parseStateFile(text, 'guard', GUARD_FILE_MAX_CHARS, fileSchema)
  const sampled: SampledGuard[] = guards.map(({ unlistedSinceMs, ...guard }) =>
    unlistedSinceMs === undefined ? guard : { ...guard, unlistedSinceMs }
  )
  if (new Set(sampled.map((guard) => guard.nodeId)).size !== sampled.length) throw damagedFile('guard', 'a guard twice')
  for (const guard of sampled) {
    const lifetimeMs = guard.expiresAtMs - guard.addedAtMs
    if (lifetimeMs <= 0 || lifetimeMs > GUARD_LIFETIME_MAX_MS) throw damagedFile('guard', 'a lifetime out of range')
  }
  return { ...newGuards(), sampled }
}

/** The guards of a file, or new ones without a file. A damaged file gives new ones and the error to warn with. */
export function loadGuards(text: string | undefined): { readonly guards: GuardState; readonly warning?: AnonNetError } {
  if (text === undefined) return { guards: newGuards() }
  try {
    return { guards: guardsFromJson(text) }
  } catch (error) {
    return { guards: newGuards(), warning: error as AnonNetError }
  }
}
