/**
 * Path selection: the last hop first, by policy and weight; then the guard, in the order of the sample; then a middle by weight. Never
 * two of the same node, family, or /16 (v4) or /32 (v6). Where a last hop leaves no guard or no middle, another one is drawn.
 */
import type { ListedRelay, RelayList } from '../directory/types.js'
import { errorFromCode } from '../errors/index.js'
import { conflict } from './conflicts.js'
import { exitAccepts } from './exit-policy.js'
import { guardTiers, guardTried } from './guards.js'
import { PATH_LENGTH } from './limits.js'
import { indexOf, type ListIndex } from './list.js'
import type { GuardState, Path, PathRequest, PathResult, PathRule, PathRules } from './types.js'
import { chooseWeighted } from './weights.js'

/**
 * Chooses the three relays of a circuit, or says which choice found nobody. `rng` is uniform in [0, 1) and must not be guessable;
 * `nowMs` is the wall clock. The `guards` of the result replace those handed in.
 */
export function selectPath(
  list: RelayList | undefined,
  guards: GuardState,
  request: PathRequest,
  rng: () => number,
  nowMs: number,
  rules: PathRules = {}
): PathResult {
  const failed = (rule: PathRule): PathResult => ({
    ok: false,
    rule,
    code: rule === 'list' ? 'ERR_ANONNET_NOT_BOOTSTRAPPED' : 'ERR_ANONNET_NO_PATH',
    guards
  })
  if (list === undefined || nowMs >= list.validUntil * 1000) return failed('list')
  const index = indexOf(list)
  const allowSamePrefix = rules.allowSamePrefix === true
  const excluded = (relay: ListedRelay): boolean => rules.exclude?.has(relay.nodeId) === true
  const avoid = ranked(request.avoid ?? [])
  const relays = rules.exclude === undefined ? index.relays : index.relays.filter((relay) => !excluded(relay))
  const tiers = guardTiers(guards, list, request.patient === true, nowMs)

  let exits = lastHops(relays, request)
  let rule: PathRule = 'exit'
  while (exits.length > 0) {
    const exit = preferring(exits, avoid, (some) => chooseWeighted(some, request.kind === 'exit' ? 'exit' : 'middle', index.surplus, rng))
    if (exit === undefined) break
    if (rule === 'exit') rule = 'guard'
    for (const guard of guardsFor(tiers, exit, avoid, (relay) => !excluded(relay) && !conflict(relay, exit, allowSamePrefix))) {
      rule = 'middle'
      const middle = chooseMiddle(relays, guard, exit, avoid, index, allowSamePrefix, rng)
      if (middle === undefined) continue
      const path = assertPath([guard, middle, exit], allowSamePrefix)
      return { ok: true, path, guards: guardTried(guards, guard.nodeId, nowMs) }
    }
    exits = exits.filter((relay) => relay !== exit)
  }
  return failed(rule)
}

/** The relays that can be last. Of exits that fit, those that accept most of the ports that will likely be asked for. */
function lastHops(relays: readonly ListedRelay[], request: PathRequest): readonly ListedRelay[] {
  const pinned = request.exit === undefined ? relays : relays.filter((relay) => relay.nodeId === request.exit)
  if (request.kind === 'dir') return pinned
  const fitting = pinned.filter((relay) => exitAccepts(relay, request.target))
  const ports = request.ports ?? []
  if (ports.length === 0) return fitting
  const scored = fitting.map((relay) => ({ relay, score: ports.filter((port) => exitAccepts(relay, { host: ANY_NAME, port })).length }))
  const best = scored.reduce((most, { score }) => Math.max(most, score), 0)
  if (best === 0 && request.target === undefined) return []
  return scored.filter(({ score }) => score === best).map(({ relay }) => relay)
}

// Stands for every name: only rules that hold for all addresses count for it.
const ANY_NAME = 'name.invalid'

/** How much each is to be avoided: the higher, the more. Who is not in it counts 0. */
type Avoided = ReadonlyMap<string, number>

const ranked = (avoid: readonly string[]): Avoided => new Map(avoid.map((nodeId, at) => [nodeId, avoid.length - at]))

/** Chooses among those not to be avoided; where that finds nobody, among those that are to be avoided less, and in the end among all. */
function preferring(
  relays: readonly ListedRelay[],
  avoid: Avoided,
  choose: (relays: readonly ListedRelay[]) => ListedRelay | undefined
): ListedRelay | undefined {
  for (let part = avoid.size; part > 0; part >>= 1) {
    const chosen = choose(relays.filter((relay) => (avoid.get(relay.nodeId) ?? 0) <= avoid.size - part))
    if (chosen !== undefined) return chosen
  }
  return choose(relays)
}

/** Guards in the order to try. Avoiding reorders a tier and never leads to a lower one, so it cannot be used to push a client on. */
function* guardsFor(
  tiers: readonly (readonly ListedRelay[])[],
  exit: ListedRelay,
  avoid: Avoided,
  fits: (relay: ListedRelay) => boolean
): Generator<ListedRelay> {
  for (const tier of tiers) {
    const some = tier.filter((relay) => relay !== exit && fits(relay))
    yield* some.filter((relay) => !avoid.has(relay.nodeId))
    yield* some.filter((relay) => avoid.has(relay.nodeId))
  }
}

function chooseMiddle(
  relays: readonly ListedRelay[],
  guard: ListedRelay,
  exit: ListedRelay,
  avoid: Avoided,
  index: ListIndex,
  allowSamePrefix: boolean,
  rng: () => number
): ListedRelay | undefined {
  const some = relays.filter((relay) => !conflict(relay, guard, allowSamePrefix) && !conflict(relay, exit, allowSamePrefix))
  return preferring(some, avoid, (left) => chooseWeighted(left, 'middle', index.surplus, rng))
}

/**
 * The last check before a path is used, whoever made it: three relays, no two in conflict, a guard first.
 * @throws ERR_ANONNET_INTERNAL when it does not hold.
 */
export function assertPath(path: readonly ListedRelay[], allowSamePrefix = false): Path {
  const [guard, middle, exit] = path
  if (path.length !== PATH_LENGTH || guard === undefined || middle === undefined || exit === undefined) {
    throw errorFromCode('ERR_ANONNET_INTERNAL', { detail: `a path of ${path.length} relays` })
  }
  const clash =
    conflict(guard, middle, allowSamePrefix) || conflict(guard, exit, allowSamePrefix) || conflict(middle, exit, allowSamePrefix)
  if (clash || !guard.roles.guard || !path.every((relay) => relay.roles.relay)) {
    throw errorFromCode('ERR_ANONNET_INTERNAL', { detail: 'a path against the rules' })
  }
  return [guard, middle, exit]
}
