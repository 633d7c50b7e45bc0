/**
 * Reaching a service: a descriptor, a rendezvous point that waits, an introduction, and the meeting. A try that comes to nothing in time gets
 * another one beside it, by another introduction point; a descriptor whose points all fail, or all take long, is fetched again, a few times: the
 * service may just be replacing them.
 */
import type { ErrorCode } from '../errors/index.js'
import { MAX_REACH_TRIES, REACH_HEDGE_MIN_MS, REACH_HEDGE_MS, REACH_PARALLEL, REACH_PAUSE_MS, REACH_ROUNDS } from './limits.js'

/** A try: a circuit to a rendezvous point, and one introduction after the other. */
export interface ReachTry {
  readonly id: number
  /** Number of the introduction point in the descriptor. */
  readonly point: number
  readonly startedMs: number
  readonly phase: 'rendezvous' | 'introduce' | 'meet'
}

/** Immutable. Times are of one monotonic clock, in milliseconds. */
export interface ReachState {
  readonly phase: 'lookup' | 'trying' | 'pausing' | 'done'
  /** Introduction points of the descriptor, in the order to try. */
  readonly points: number
  readonly nextPoint: number
  readonly tries: ReadonlyMap<number, ReachTry>
  readonly started: number
  /** Where the fetching of a descriptor goes on beside tries that take long. */
  readonly looking: boolean
  /** When the descriptor in use came. */
  readonly sinceMs: number
  /** Descriptors that were fetched for this request: none while it uses one that was kept and may be old. */
  readonly fetched: number
  /** While pausing: when the next descriptor is fetched. */
  readonly untilMs: number
  readonly lastCode: ErrorCode
  /** How long a try may take before another one is begun beside it. */
  readonly hedgeMs: number
}

export type ReachEvent =
  | { readonly type: 'begin' }
  | { readonly type: 'descriptor'; readonly points: number; readonly cached: boolean }
  | { readonly type: 'noDescriptor'; readonly code: ErrorCode }
  /** The rendezvous point of a try waits. */
  | { readonly type: 'waits'; readonly attempt: number }
  /** The introduction point of a try passed it on. */
  | { readonly type: 'introduced'; readonly attempt: number }
  | { readonly type: 'met'; readonly attempt: number }
  | { readonly type: 'failed'; readonly attempt: number; readonly code: ErrorCode }
  | { readonly type: 'tick' }

export type ReachAction =
  /** `fresh`: not from the cache. */
  | { readonly type: 'lookup'; readonly fresh: boolean }
  | { readonly type: 'rendezvous'; readonly attempt: number }
  | { readonly type: 'introduce'; readonly attempt: number; readonly point: number }
  | { readonly type: 'meet'; readonly attempt: number }
  | { readonly type: 'drop'; readonly attempt: number }
  | { readonly type: 'done'; readonly attempt: number }
  | { readonly type: 'fail'; readonly code: ErrorCode }

export interface ReachStep {
  readonly state: ReachState
  readonly actions: readonly ReachAction[]
  readonly wakeAtMs: number | undefined
}

export function newReach(hedgeMs = REACH_HEDGE_MS): ReachState {
  return {
    hedgeMs: Math.min(REACH_HEDGE_MS, Math.max(REACH_HEDGE_MIN_MS, hedgeMs)),
    phase: 'lookup',
    points: 0,
    nextPoint: 0,
    tries: new Map(),
    started: 0,
    looking: false,
    sinceMs: 0,
    fetched: 0,
    untilMs: 0,
    lastCode: 'ERR_ANONNET_INTRODUCTION_FAILED'
  }
}

/** One step; what comes after the end changes nothing. */
export function reachStep(before: ReachState, event: ReachEvent, nowMs: number): ReachStep {
  if (before.phase === 'done') return { state: before, actions: [], wakeAtMs: undefined }
  switch (event.type) {
    case 'begin':
      return { state: before, actions: [{ type: 'lookup', fresh: false }], wakeAtMs: undefined }
    case 'noDescriptor':
      // What runs goes on.
      if (before.looking && before.tries.size > 0) return supply({ ...before, looking: false, fetched: REACH_ROUNDS }, [], nowMs)
      return finish(before, [{ type: 'fail', code: event.code }])
    case 'descriptor': {
      const state: ReachState = {
        ...before,
        phase: 'trying',
        looking: false,
        sinceMs: nowMs,
        points: event.points,
        nextPoint: 0,
        fetched: before.fetched + (event.cached ? 0 : 1)
      }
      return supply(state, [], nowMs)
    }
    case 'waits':
      return advance(before, event.attempt, 'introduce', nowMs)
    case 'introduced':
      return advance(before, event.attempt, 'meet', nowMs)
    case 'met': {
      if (!before.tries.has(event.attempt)) return waiting(before, [], nowMs)
      const others = [...before.tries.keys()].filter((id) => id !== event.attempt)
      return finish(before, [
        { type: 'done', attempt: event.attempt },
        ...others.map((attempt): ReachAction => ({ type: 'drop', attempt }))
      ])
    }
    case 'failed': {
      if (!before.tries.has(event.attempt)) return waiting(before, [], nowMs)
      const tries = new Map(before.tries)
      tries.delete(event.attempt)
      return supply({ ...before, tries, lastCode: event.code }, [{ type: 'drop', attempt: event.attempt }], nowMs)
    }
    default:
      if (before.phase !== 'pausing') return supply(before, [], nowMs)
      return nowMs >= before.untilMs ? again(before, []) : { state: before, actions: [], wakeAtMs: before.untilMs }
  }
}

function again(state: ReachState, actions: ReachAction[]): ReachStep {
  return { state: { ...state, phase: 'lookup' }, actions: [...actions, { type: 'lookup', fresh: true }], wakeAtMs: undefined }
}

function advance(before: ReachState, id: number, phase: 'introduce' | 'meet', nowMs: number): ReachStep {
  const current = before.tries.get(id)
  if (current === undefined) return waiting(before, [], nowMs)
  const state = { ...before, tries: new Map(before.tries).set(id, { ...current, phase }) }
  const action: ReachAction =
    phase === 'introduce' ? { type: 'introduce', attempt: id, point: current.point } : { type: 'meet', attempt: id }
  return waiting(state, [action], nowMs)
}

/** Starts a try where none runs, or beside those that take long. */
function supply(before: ReachState, actions: ReachAction[], nowMs: number): ReachStep {
  let state = before
  if (state.phase !== 'trying') return { state, actions, wakeAtMs: undefined }
  if (nowMs >= slowMs(state)) {
    if (state.nextPoint < state.points && state.started < MAX_REACH_TRIES) {
      const tries = new Map(state.tries)
      // Of an older descriptor there may be some that nothing will come of: the oldest makes room.
      const [oldest] = tries.values()
      if (oldest !== undefined && tries.size >= REACH_PARALLEL && oldest.startedMs < state.sinceMs) {
        tries.delete(oldest.id)
        actions.push({ type: 'drop', attempt: oldest.id })
      }
      if (tries.size < REACH_PARALLEL) {
        const id = state.started + 1
        tries.set(id, { id, point: state.nextPoint, startedMs: nowMs, phase: 'rendezvous' })
        state = { ...state, started: id, nextPoint: state.nextPoint + 1, tries }
        actions.push({ type: 'rendezvous', attempt: id })
      }
    } else if (state.fetched < REACH_ROUNDS && !state.looking) {
      // What the cache had is worth nothing any more; what was fetched may be in the middle of being replaced.
      const untilMs = state.fetched === 0 ? nowMs : Math.max(nowMs, pauseOverMs(state, nowMs))
      if (state.tries.size > 0) {
        if (untilMs <= nowMs) {
          state = { ...state, looking: true }
          actions.push({ type: 'lookup', fresh: true })
        }
      } else if (state.fetched === 0) {
        return again(state, actions)
      } else {
        return { state: { ...state, phase: 'pausing', untilMs }, actions, wakeAtMs: untilMs }
      }
    }
  }
  if (state.tries.size === 0 && !state.looking) return finish(state, [...actions, { type: 'fail', code: state.lastCode }])
  return waiting(state, actions, nowMs)
}

/** When all tries that run have taken long. */
function slowMs({ tries, hedgeMs }: ReachState): number {
  return Math.max(...[...tries.values()].map(({ startedMs }) => startedMs + hedgeMs))
}

/** When the next descriptor is fetched: beside tries counted from when the last one came, else from now. */
function pauseOverMs({ fetched, tries, sinceMs }: ReachState, nowMs: number): number {
  return (tries.size > 0 ? sinceMs : nowMs) + REACH_PAUSE_MS * 2 ** (fetched - 1)
}

function waiting(state: ReachState, actions: readonly ReachAction[], nowMs: number): ReachStep {
  if (state.phase !== 'trying' || state.tries.size === 0) return { state, actions, wakeAtMs: undefined }
  const more = state.nextPoint < state.points && state.started < MAX_REACH_TRIES
  let wakeAtMs: number | undefined
  if (more && (state.tries.size < REACH_PARALLEL || [...state.tries.values()].some(({ startedMs }) => startedMs < state.sinceMs)))
    wakeAtMs = slowMs(state)
  else if (!more && !state.looking && state.fetched < REACH_ROUNDS)
    wakeAtMs = Math.max(slowMs(state), state.fetched === 0 ? 0 : pauseOverMs(state, nowMs))
  return { state, actions, wakeAtMs: wakeAtMs === undefined ? undefined : Math.max(nowMs + 1, wakeAtMs) }
}

function finish(state: ReachState, actions: readonly ReachAction[]): ReachStep {
  return { state: { ...state, phase: 'done', tries: new Map() }, actions, wakeAtMs: undefined }
}
