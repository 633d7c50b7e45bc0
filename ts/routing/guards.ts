/**
 * The guards of a client: a small sample of the list that is drawn once, kept for months and never outgrown, so that blocking guards
 * does not lead a client to other people's relays. Of the sample, in its order, the first listed ones are primary; the first primary one
 * that answers is used. Everything is a pure function of the state that is handed in.
 */
import type { ListedRelay, RelayList } from '../directory/types.js'
import {
  DOWN_RETRY_MS,
  DOWN_WIDEN_MS,
  DOWN_WINDOW_MS,
  GUARD_FILE_MAX_ENTRIES,
  GUARD_LIFETIME_MAX_MS,
  GUARD_LIFETIME_MIN_MS,
  GUARD_SAMPLE_MAX,
  GUARD_SAMPLE_MAX_RATIO,
  GUARD_SAMPLE_TARGET,
  GUARD_TRIAL_MS,
  GUARD_UNLISTED_KEPT_MS,
  PRIMARY_GUARDS,
  PRIMARY_RETRY_FIRST_MS,
  PRIMARY_RETRY_MAX_MS,
  SPARE_GUARDS,
  SPARE_RETRY_FIRST_MS,
  SPARE_RETRY_MAX_MS
} from './limits.js'
import { indexOf } from './list.js'
import type { GuardReach, GuardState, SampledGuard } from './types.js'
import { chooseWeighted } from './weights.js'

/** No guards yet: `refreshGuards` samples them. */
export function newGuards(): GuardState {
  return { sampled: [], reach: new Map(), downSinceMs: undefined, spare: SPARE_GUARDS }
}

/** How many listed guards a client may have sampled: a fifth of the list's guards, 60 at most, but the primary ones in any case. */
export function guardSampleLimit(listedGuards: number): number {
  return Math.max(PRIMARY_GUARDS, Math.min(GUARD_SAMPLE_MAX, Math.floor(listedGuards * GUARD_SAMPLE_MAX_RATIO)))
}

/**
 * Brings the sample up to date with a list: drops what expired or left the list long ago, and draws new guards for the end of the order
 * where listed ones are missing. `sampled` stays the same array if nothing changed.
 */
export function refreshGuards(guards: GuardState, list: RelayList, rng: () => number, nowMs: number): GuardState {
  const { byId, guards: listed, surplus } = indexOf(list)
  const isListed = (nodeId: string): boolean => byId.get(nodeId)?.roles.guard === true
  let sampled = guards.sampled
    .filter((guard) => guard.expiresAtMs > nowMs)
    .map((guard) => aged(guard, isListed(guard.nodeId), nowMs))
    .filter((guard) => nowMs - (guard.unlistedSinceMs ?? nowMs) < GUARD_UNLISTED_KEPT_MS)

  const known = new Set(sampled.map((guard) => guard.nodeId))
  const wanted = Math.min(guardSampleLimit(listed.length), GUARD_SAMPLE_TARGET)
  let left = listed.filter((relay) => !known.has(relay.nodeId))
  for (let have = sampled.filter((guard) => guard.unlistedSinceMs === undefined).length; have < wanted; have++) {
    const relay = chooseWeighted(left, 'guard', surplus, rng)
    if (relay === undefined) break
    left = left.filter((other) => other !== relay)
    const lifetimeMs = GUARD_LIFETIME_MIN_MS + rng() * (GUARD_LIFETIME_MAX_MS - GUARD_LIFETIME_MIN_MS)
    sampled.push({ nodeId: relay.nodeId, addedAtMs: nowMs, expiresAtMs: Math.round(nowMs + lifetimeMs) })
  }
  if (sampled.length > GUARD_FILE_MAX_ENTRIES) sampled = withoutLongestGone(sampled)

  const same = sampled.length === guards.sampled.length && sampled.every((guard, index) => guard === guards.sampled[index])
  if (same) return guards
  const kept = new Set(sampled.map((guard) => guard.nodeId))
  return { ...guards, sampled, reach: new Map([...guards.reach].filter(([nodeId]) => kept.has(nodeId))) }
}

function aged(guard: SampledGuard, listed: boolean, nowMs: number): SampledGuard {
  // A clock that was far ahead when the guard was drawn must not make it immortal.
  const expiresAtMs = Math.min(guard.expiresAtMs, nowMs + GUARD_LIFETIME_MAX_MS)
  const unlistedSinceMs = listed ? undefined : Math.min(guard.unlistedSinceMs ?? nowMs, nowMs)
  if (expiresAtMs === guard.expiresAtMs && unlistedSinceMs === guard.unlistedSinceMs) return guard
  const { nodeId } = guard
  const addedAtMs = Math.min(guard.addedAtMs, nowMs)
  return unlistedSinceMs === undefined ? { nodeId, addedAtMs, expiresAtMs } : { nodeId, addedAtMs, expiresAtMs, unlistedSinceMs }
}

function withoutLongestGone(sampled: readonly SampledGuard[]): SampledGuard[] {
  const gone = sampled
    .filter((guard) => guard.unlistedSinceMs !== undefined)
    .sort((a, b) => (a.unlistedSinceMs ?? 0) - (b.unlistedSinceMs ?? 0))
    .slice(0, sampled.length - GUARD_FILE_MAX_ENTRIES)
  return sampled.filter((guard) => !gone.includes(guard))
}

const listedSample = (guards: GuardState): readonly SampledGuard[] => guards.sampled.filter((guard) => guard.unlistedSinceMs === undefined)

/** The guards that may be tried now, in order: the primary ones, and some more that widen slowly while nobody answers. */
function allowed(guards: GuardState, nowMs: number): readonly SampledGuard[] {
  const widened = guards.downSinceMs === undefined ? 0 : Math.floor(Math.max(0, nowMs - guards.downSinceMs) / DOWN_WIDEN_MS)
  return listedSample(guards).slice(0, PRIMARY_GUARDS + guards.spare + widened)
}

/**
 * The guards to try for a path, best tier first. A lower tier is for when the higher ones fit no path; within a tier the order counts.
 * Only patient paths try out a failed guard whose pause is over while others answer.
 */
export function guardTiers(guards: GuardState, list: RelayList, patient: boolean, nowMs: number): ListedRelay[][] {
  const { byId } = indexOf(list)
  const entries = allowed(guards, nowMs).flatMap((guard, index) => {
    const relay = byId.get(guard.nodeId)
    if (relay?.roles.guard !== true) return []
    const reach = guards.reach.get(guard.nodeId)
    return [{ relay, primary: index < PRIMARY_GUARDS, failing: reach !== undefined, retryAtMs: reach?.retryAtMs ?? 0 }]
  })
  const good = (entry: (typeof entries)[number]): boolean => !entry.failing || (patient && entry.retryAtMs <= nowMs)
  const rest = entries.filter((entry) => !good(entry)).sort((a, b) => a.retryAtMs - b.retryAtMs)
  const tiers = [
    entries.filter((entry) => good(entry) && entry.primary),
    entries.filter((entry) => good(entry) && !entry.primary),
    rest.filter((entry) => entry.retryAtMs <= nowMs && entry.primary),
    rest.filter((entry) => entry.retryAtMs <= nowMs && !entry.primary),
    rest.filter((entry) => entry.retryAtMs > nowMs)
  ]
  return tiers.filter((tier) => tier.length > 0).map((tier) => tier.map((entry) => entry.relay))
}

/** Notes that a path is about to use a guard: one that failed is left to this attempt alone for a while. */
export function guardTried(guards: GuardState, nodeId: string, nowMs: number): GuardState {
  const reach = guards.reach.get(nodeId)
  if (reach === undefined) return guards
  return { ...guards, reach: new Map(guards.reach).set(nodeId, { ...reach, retryAtMs: nowMs + GUARD_TRIAL_MS }) }
}

/** A guard finished the first hop of a circuit. */
export function guardSucceeded(guards: GuardState, nodeId: string, nowMs: number): GuardState {
  const index = listedSample(guards).findIndex((guard) => guard.nodeId === nodeId)
  if (index < 0) return guards
  const spare = Math.max(SPARE_GUARDS, index - PRIMARY_GUARDS + 1)
  if (!guards.reach.has(nodeId) && guards.downSinceMs === undefined && guards.spare === spare) return guards
  const reach = new Map(guards.reach)
  reach.delete(nodeId)
  // What failed while the network was down says nothing of the guards: the primary ones come first again at once.
  const sinceMs = guards.downSinceMs === undefined ? nowMs + 1 : guards.downSinceMs - DOWN_WINDOW_MS
  for (const [other, { failedAtMs }] of guards.reach) if (failedAtMs >= sinceMs) reach.delete(other)
  return { ...guards, reach, downSinceMs: undefined, spare }
}

/**
 * A guard did not finish the first hop. An attempt that was begun before the last failure that counted is the same failure. When
 * everybody who may be tried has failed, the network is down: pauses become short, and nobody's failures add up.
 */
export function guardFailed(guards: GuardState, nodeId: string, startedAtMs: number, rng: () => number, nowMs: number): GuardState {
  const index = listedSample(guards).findIndex((guard) => guard.nodeId === nodeId)
  const before = guards.reach.get(nodeId)
  if (index < 0 || (before !== undefined && startedAtMs < before.failedAtMs)) return guards
  const failures = (before?.failures ?? 0) + 1
  const pauseMs =
    index < PRIMARY_GUARDS
      ? Math.min(PRIMARY_RETRY_MAX_MS, PRIMARY_RETRY_FIRST_MS * 2 ** (failures - 1))
      : Math.min(SPARE_RETRY_MAX_MS, SPARE_RETRY_FIRST_MS * 2 ** (failures - 1))
  const jitter = 0.8 + 0.4 * rng()
  const reach = new Map<string, GuardReach>(guards.reach).set(nodeId, {
    failures,
    failedAtMs: nowMs,
    retryAtMs: nowMs + Math.round(pauseMs * jitter)
  })
  const tryable = allowed(guards, nowMs)
  if (!tryable.every((guard) => reach.has(guard.nodeId))) return { ...guards, reach }
  for (const guard of tryable) {
    const entry = reach.get(guard.nodeId)
    if (entry === undefined) continue
    reach.set(guard.nodeId, { ...entry, failures: 1, retryAtMs: Math.min(entry.retryAtMs, entry.failedAtMs + DOWN_RETRY_MS) })
  }
  return { ...guards, reach, downSinceMs: guards.downSinceMs ?? nowMs }
}

/** The network is another one now (an interface came up, the machine woke): what was unreachable may be reachable. */
export function networkChanged(guards: GuardState): GuardState {
  return { ...guards, reach: new Map(), downSinceMs: undefined }
}

/** Counts for status and events. */
export interface GuardSummary {
  /** Sampled and listed. */
  readonly sampled: number
  readonly primary: number
  /** Primary guards that are not known to fail. */
  readonly reachable: number
  readonly networkDown: boolean
}

/** How the guards are, without saying who they are. */
export function guardSummary(guards: GuardState): GuardSummary {
  const listed = listedSample(guards)
  const primary = listed.slice(0, PRIMARY_GUARDS)
  return {
    sampled: listed.length,
    primary: primary.length,
    reachable: primary.filter((guard) => !guards.reach.has(guard.nodeId)).length,
    networkDown: guards.downSinceMs !== undefined
  }
}
