/**
 * Paths of services: guard, one of the second layer, and then the last hop, with a middle before it where the other side chose that.
 * No relay twice, and what we choose ourselves shares no family and no /16 or /32. A last hop that the other side chose is only held
 * apart by its node id: were it more, he could learn the guard's network, or push us to another guard, by what we refuse.
 */
import type { ListedRelay, RelayList } from '../directory/types.js'
import { errorFromCode } from '../errors/index.js'
import { conflict } from './conflicts.js'
import { guardTiers, guardTried } from './guards.js'
import { FOREIGN_PATH_LENGTH, OWN_PATH_LENGTH } from './limits.js'
import { indexOf, type ListIndex } from './list.js'
import type {
  ForeignServicePath,
  GuardState,
  OwnServicePath,
  PathRules,
  SecondLayer,
  ServiceKind,
  ServicePath,
  ServicePathRequest,
  ServicePathResult
} from './types.js'
import { chooseWeighted } from './weights.js'

interface Surroundings {
  readonly index: ListIndex
  readonly relays: readonly ListedRelay[]
  readonly same: boolean
  readonly avoid: ReadonlySet<string>
  readonly rng: () => number
}

/** Whether the other side chooses the last hop of such paths. */
export function isForeign(kind: ServiceKind): boolean {
  return kind === 'introduce' || kind === 'meet'
}

/**
 * Chooses a path. `rng` is uniform in [0, 1) and must not be guessable; `nowMs` is the wall clock. ERR_ANONNET_NO_PATH where there is none:
 * never one through other relays than those of the layer.
 */
export function selectServicePath<K extends ServiceKind>(
  list: RelayList | undefined,
  guards: GuardState,
  layer: SecondLayer,
  request: ServicePathRequest<K>,
  rng: () => number,
  nowMs: number,
  rules: PathRules = {}
): ServicePathResult<K> {
  if (list === undefined || nowMs >= list.validUntil * 1000) return { ok: false, code: 'ERR_ANONNET_NOT_BOOTSTRAPPED', guards }
  const index = indexOf(list)
  const relays = index.relays.filter(({ nodeId }) => rules.exclude?.has(nodeId) !== true)
  const around: Surroundings = { index, relays, same: rules.allowSamePrefix === true, avoid: request.avoid ?? new Set(), rng }
  const named = request.last === undefined ? undefined : index.byId.get(request.last)
  const possible = request.last === undefined ? !isForeign(request.kind) : named !== undefined
  if (possible) {
    for (const guard of guardTiers(guards, list, false, nowMs).flatMap((tier) => reachedFirst(tier, request.unreached))) {
      if (guard === named) continue
      for (const second of shuffled(layer, around)) {
        if (second === named || conflict(second, guard, around.same)) continue
        const path = isForeign(request.kind) ? foreign(around, guard, second, named) : own(around, guard, second, request, named)
        if (path === undefined) continue
        return {
          ok: true,
          path: assertServicePath(request.kind, path, around.same),
          guards: guardTried(guards, guard.nodeId, nowMs)
        }
      }
    }
  }
  return { ok: false, code: 'ERR_ANONNET_NO_PATH', guards }
}

function reachedFirst(tier: readonly ListedRelay[], unreached: ReadonlySet<string> | undefined): readonly ListedRelay[] {
  if (unreached === undefined || unreached.size === 0) return tier
  return [...tier.filter(({ nodeId }) => !unreached.has(nodeId)), ...tier.filter(({ nodeId }) => unreached.has(nodeId))]
}

/** The listed relays of the layer in random order, those that just failed last. */
function shuffled(layer: SecondLayer, { index, avoid, rng }: Surroundings): ListedRelay[] {
  return layer.relays
    .flatMap(({ nodeId }) => index.byId.get(nodeId) ?? [])
    .map((relay) => ({ relay, by: rng() + (avoid.has(relay.nodeId) ? 1 : 0) }))
    .sort((a, b) => a.by - b.by)
    .map(({ relay }) => relay)
}

/** One by weight; of those that just failed only where there is nobody else. */
function draw({ index, avoid, rng }: Surroundings, relays: readonly ListedRelay[]): ListedRelay | undefined {
  const good = relays.filter(({ nodeId }) => !avoid.has(nodeId))
  return chooseWeighted(good, 'middle', index.surplus, rng) ?? chooseWeighted(relays, 'middle', index.surplus, rng)
}

function own(
  around: Surroundings,
  guard: ListedRelay,
  second: ListedRelay,
  request: ServicePathRequest,
  named: ListedRelay | undefined
): OwnServicePath | undefined {
  const fits = (relay: ListedRelay): boolean => !conflict(relay, guard, around.same) && !conflict(relay, second, around.same)
  const from = named === undefined ? around.relays : [named]
  const some = from.filter(
    (relay) => fits(relay) && (request.kind !== 'lookup' || relay.roles.dht) && request.without?.includes(relay.nodeId) !== true
  )
  const last = draw(around, some)
  return last && [guard, second, last]
}

function foreign(
  around: Surroundings,
  guard: ListedRelay,
  second: ListedRelay,
  last: ListedRelay | undefined
): ForeignServicePath | undefined {
  if (last === undefined) return undefined
  const some = around.relays.filter((relay) => [guard, second, last].every((other) => !conflict(relay, other, around.same)))
  const middle = draw(around, some)
  return middle && [guard, second, middle, last]
}

/**
 * The last check before a path is used, whoever made it: its length is that of its kind, no relay is in it twice, none of those that we
 * chose are in conflict, a guard comes first.
 * @throws ERR_ANONNET_INTERNAL when it does not hold.
 */
export function assertServicePath<K extends ServiceKind>(kind: K, path: readonly ListedRelay[], allowSamePrefix = false): ServicePath<K> {
  const length = isForeign(kind) ? FOREIGN_PATH_LENGTH : OWN_PATH_LENGTH
  if (path.length !== length) throw errorFromCode('ERR_ANONNET_INTERNAL', { detail: `a path of ${path.length} relays` })
  const twice = new Set(path.map(({ nodeId }) => nodeId)).size !== length
  const ours = isForeign(kind) ? path.slice(0, -1) : path
  const clash = ours.some((relay, at) => ours.slice(at + 1).some((other) => conflict(relay, other, allowSamePrefix)))
  if (twice || clash || path[0]?.roles.guard !== true || !path.every((relay) => relay.roles.relay)) {
    throw errorFromCode('ERR_ANONNET_INTERNAL', { detail: 'a path against the rules' })
  }
  return path as ServicePath<K>
}
