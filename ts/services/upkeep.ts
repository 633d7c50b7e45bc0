/**
 * What a service does to stay reachable: keeps its introduction points, replaces them when they die and before they are old, and publishes
 * its descriptor whenever they change, and again before what is stored of it expires.
 */
import { between, pauseMs } from './backoff.js'
import {
  INTRO_AVOID_MS,
  INTRO_LIFETIME_MAX_MS,
  INTRO_LIFETIME_MIN_MS,
  INTRO_POINTS,
  INTRO_RETIRE_MS,
  INTRO_USES_MAX,
  INTRO_USES_MIN,
  NEW_PERIOD_WITHIN_MS,
  PUBLISH_FIRST_MS,
  PUBLISH_SETTLE_MS,
  REPUBLISH_MAX_MS,
  REPUBLISH_MIN_MS,
  UPKEEP_BACKOFF_FIRST_MS,
  UPKEEP_BACKOFF_MAX_MS
} from './limits.js'

/** An introduction point, on its way or established. */
export interface PointState {
  readonly id: number
  /** The relay, once it was chosen. */
  readonly nodeId: string | undefined
  readonly up: boolean
  /** When it is replaced, at the latest. */
  readonly untilMs: number
  readonly usesLeft: number
  /** Set once it is being replaced: dropped then. Not in new descriptors. */
  readonly dropMs: number | undefined
}

/** The publications of one period. */
export interface PublicationState {
  /** When the next is due. */
  readonly dueMs: number
  readonly running: boolean
  /** Changed while one was running: another follows. */
  readonly again: boolean
  readonly failures: number
  /** Times that it was stored. */
  readonly stored: number
}

/** Immutable. Times are Unix milliseconds. */
export interface UpkeepState {
  readonly startedMs: number
  readonly usable: boolean
  readonly closed: boolean
  readonly points: ReadonlyMap<number, PointState>
  readonly nextId: number
  readonly failures: number
  readonly retryMs: number
  readonly avoided: ReadonlyMap<string, number>
  readonly periods: ReadonlyMap<number, PublicationState>
}

export type UpkeepEvent =
  | { readonly type: 'tick' }
  /** Whether there is a relay list. */
  | { readonly type: 'list'; readonly usable: boolean }
  | { readonly type: 'chosen'; readonly point: number; readonly nodeId: string }
  | { readonly type: 'established'; readonly point: number }
  /** It could not be established, or its circuit ended. */
  | { readonly type: 'lost'; readonly point: number }
  | { readonly type: 'introduced'; readonly point: number }
  /** What the descriptor says changed for another reason. */
  | { readonly type: 'changed' }
  /** `nodes`: of all replicas, the one that the fewest nodes took. */
  | { readonly type: 'published'; readonly period: number; readonly nodes: number }
  | { readonly type: 'close' }

export type UpkeepAction =
  | { readonly type: 'establish'; readonly point: number; readonly avoid: readonly string[] }
  | { readonly type: 'drop'; readonly point: number }
  | { readonly type: 'publish'; readonly period: number; readonly points: readonly number[] }

export interface UpkeepStep {
  readonly state: UpkeepState
  readonly actions: readonly UpkeepAction[]
  readonly wakeAtMs: number | undefined
}

export interface UpkeepEnvironment {
  readonly nowMs: number
  readonly rng: () => number
  /** The periods to publish for now. */
  readonly periods: readonly number[]
}

export function newUpkeep(nowMs: number): UpkeepState {
  return {
    startedMs: nowMs,
    usable: false,
    closed: false,
    points: new Map(),
    nextId: 1,
    failures: 0,
    retryMs: 0,
    avoided: new Map(),
    periods: new Map()
  }
}

interface Draft {
  points: Map<number, PointState>
  periods: Map<number, PublicationState>
  avoided: Map<string, number>
  nextId: number
  failures: number
  retryMs: number
  usable: boolean
  actions: UpkeepAction[]
}

const fresh = (points: Iterable<PointState>): PointState[] => [...points].filter(({ dropMs }) => dropMs === undefined)
const usablePoints = (points: Iterable<PointState>): PointState[] => fresh(points).filter(({ up }) => up)

export function upkeepStep(before: UpkeepState, event: UpkeepEvent, env: UpkeepEnvironment): UpkeepStep {
  if (before.closed) return { state: before, actions: [], wakeAtMs: undefined }
  const { nowMs } = env
  const draft: Draft = {
    ...before,
    points: new Map(before.points),
    periods: new Map(before.periods),
    avoided: new Map([...before.avoided].filter(([, untilMs]) => untilMs > nowMs)),
    actions: []
  }
  if (event.type === 'close') {
    for (const id of draft.points.keys()) draft.actions.push({ type: 'drop', point: id })
    return { state: { ...before, closed: true, points: new Map(), periods: new Map() }, actions: draft.actions, wakeAtMs: undefined }
  }
  apply(draft, event, env)
  retire(draft, env)
  supply(draft, env)
  publish(draft, env, before.startedMs)
  const { actions, ...rest } = draft
  const state: UpkeepState = { ...rest, startedMs: before.startedMs, closed: false }
  return { state, actions, wakeAtMs: wakeAt(state, nowMs) }
}

function apply(draft: Draft, event: UpkeepEvent, env: UpkeepEnvironment): void {
  const { nowMs, rng } = env
  const point = 'point' in event ? draft.points.get(event.point) : undefined
  switch (event.type) {
    case 'list':
      draft.usable = event.usable
      return
    case 'chosen':
      if (point !== undefined) draft.points.set(point.id, { ...point, nodeId: event.nodeId })
      return
    case 'established':
      if (point === undefined) return
      draft.points.set(point.id, {
        ...point,
        up: true,
        untilMs: nowMs + between(INTRO_LIFETIME_MIN_MS, INTRO_LIFETIME_MAX_MS, rng),
        usesLeft: between(INTRO_USES_MIN, INTRO_USES_MAX, rng)
      })
      draft.failures = 0
      changed(draft, nowMs)
      return
    case 'lost':
      if (point === undefined) return
      draft.points.delete(point.id)
      if (point.nodeId !== undefined) draft.avoided.set(point.nodeId, nowMs + INTRO_AVOID_MS)
      if (point.up) {
        // A point that was good is replaced at once; the pause is for those that never come to be.
        if (point.dropMs === undefined) changed(draft, nowMs)
      } else {
        draft.failures += 1
        draft.retryMs = nowMs + pauseMs(draft.failures, UPKEEP_BACKOFF_FIRST_MS, UPKEEP_BACKOFF_MAX_MS, rng)
      }
      return
    case 'introduced':
      if (point !== undefined) draft.points.set(point.id, { ...point, usesLeft: point.usesLeft - 1 })
      return
    case 'changed':
      changed(draft, nowMs)
      return
    case 'published':
      published(draft, event, env)
      return
    default:
      return
  }
}

function changed(draft: Draft, nowMs: number): void {
  for (const [period, publication] of draft.periods) {
    const dueMs = Math.min(publication.dueMs, nowMs + PUBLISH_SETTLE_MS)
    draft.periods.set(period, { ...publication, dueMs, again: publication.running, failures: 0 })
  }
}

function published(draft: Draft, event: Extract<UpkeepEvent, { type: 'published' }>, { nowMs, rng }: UpkeepEnvironment): void {
  const publication = draft.periods.get(event.period)
  if (publication === undefined) return
  const good = event.nodes > 0
  const failures = good ? 0 : publication.failures + 1
  const soonMs = good
    ? PUBLISH_SETTLE_MS
    : Math.max(PUBLISH_SETTLE_MS, pauseMs(failures, UPKEEP_BACKOFF_FIRST_MS, UPKEEP_BACKOFF_MAX_MS, rng))
  draft.periods.set(event.period, {
    running: false,
    again: false,
    failures,
    stored: publication.stored + (good ? 1 : 0),
    dueMs: nowMs + (good && !publication.again ? between(REPUBLISH_MIN_MS, REPUBLISH_MAX_MS, rng) : soonMs)
  })
}

/** Points that are old or much used are replaced, and dropped only after their replacement had time to become known. */
function retire(draft: Draft, { nowMs }: UpkeepEnvironment): void {
  let replaced = false
  for (const point of [...draft.points.values()]) {
    if (point.dropMs !== undefined) {
      if (point.dropMs > nowMs) continue
      draft.points.delete(point.id)
      draft.actions.push({ type: 'drop', point: point.id })
    } else if (point.up && (point.untilMs <= nowMs || point.usesLeft <= 0)) {
      draft.points.set(point.id, { ...point, dropMs: nowMs + INTRO_RETIRE_MS })
      replaced = true
    }
  }
  if (replaced) changed(draft, nowMs)
}

function supply(draft: Draft, { nowMs }: UpkeepEnvironment): void {
  if (!draft.usable || draft.retryMs > nowMs) return
  for (let missing = INTRO_POINTS - fresh(draft.points.values()).length; missing > 0; missing--) {
    const inUse = [...draft.points.values()].flatMap(({ nodeId }) => (nodeId === undefined ? [] : [nodeId]))
    const id = draft.nextId
    draft.nextId += 1
    draft.points.set(id, { id, nodeId: undefined, up: false, untilMs: Infinity, usesLeft: Infinity, dropMs: undefined })
    draft.actions.push({ type: 'establish', point: id, avoid: [...inUse, ...draft.avoided.keys()] })
  }
}

function publish(draft: Draft, env: UpkeepEnvironment, startedMs: number): void {
  const { nowMs, periods, rng } = env
  // A period that begins while others are published is not stored just when our clock says: the storing nodes would read the clock off it.
  const first = draft.periods.size === 0
  const pause = (): number => (first ? 0 : between(0, NEW_PERIOD_WITHIN_MS, rng))
  for (const period of draft.periods.keys()) if (!periods.includes(period)) draft.periods.delete(period)
  for (const period of periods) {
    if (!draft.periods.has(period))
      draft.periods.set(period, { dueMs: nowMs + pause(), running: false, again: false, failures: 0, stored: 0 })
  }
  const points = usablePoints(draft.points.values()).map(({ id }) => id)
  const complete = points.length >= INTRO_POINTS || nowMs >= startedMs + PUBLISH_FIRST_MS
  if (!draft.usable || points.length === 0) return
  for (const [period, publication] of draft.periods) {
    if (publication.running || publication.dueMs > nowMs || (publication.stored === 0 && !complete)) continue
    draft.periods.set(period, { ...publication, running: true, again: false })
    draft.actions.push({ type: 'publish', period, points })
  }
}

function wakeAt(state: UpkeepState, nowMs: number): number | undefined {
  let next = Infinity
  const at = (ms: number): void => {
    if (ms > nowMs && ms < next) next = ms
  }
  at(state.retryMs)
  at(state.startedMs + PUBLISH_FIRST_MS)
  for (const { dropMs, untilMs } of state.points.values()) at(dropMs ?? untilMs)
  for (const { dueMs, running } of state.periods.values()) if (!running) at(dueMs)
  return next === Infinity ? undefined : next
}

/** Whether a descriptor of a period was stored at least once. */
export function isPublished(state: UpkeepState, period: number): boolean {
  return (state.periods.get(period)?.stored ?? 0) > 0
}
