/**
 * Looking up a descriptor: several last hops are asked, no two the same, and the highest revision of three answers counts. So one that lies,
 * by hiding the record or by giving an old one that is still valid, changes nothing.
 */
import { SERVICE_REPLICAS } from '../wire/index.js'
import { LOOKUP_ANSWERS, LOOKUP_DENIALS, LOOKUP_MAX_ASKED, LOOKUP_SETTLE_MS } from './limits.js'

/** A lookup under way; immutable. */
export interface LookupState<T> {
  readonly asked: number
  readonly running: ReadonlySet<number>
  /** Good records, and verified-looking denials. */
  readonly found: number
  readonly denied: number
  readonly best: { readonly revision: number; readonly value: T } | undefined
  readonly settleMs: number | undefined
  readonly done: boolean
}

export type LookupEvent<T> =
  | { readonly type: 'begin' }
  /** A record whose signature, key, period and times were verified. */
  | { readonly type: 'found'; readonly ask: number; readonly revision: number; readonly value: T }
  /** The last hop says that nobody has it. */
  | { readonly type: 'denied'; readonly ask: number }
  /** No answer, or one that is worth nothing. */
  | { readonly type: 'failed'; readonly ask: number }
  | { readonly type: 'tick' }

export type LookupAction<T> =
  /** Ask for a replica by a last hop that was not asked yet. */
  | { readonly type: 'ask'; readonly ask: number; readonly replica: number }
  | { readonly type: 'done'; readonly value: T | undefined; readonly denied: boolean }

export interface LookupStep<T> {
  readonly state: LookupState<T>
  readonly actions: readonly LookupAction<T>[]
  readonly wakeAtMs: number | undefined
}

export function newLookup<T>(): LookupState<T> {
  return { asked: 0, running: new Set(), found: 0, denied: 0, best: undefined, settleMs: undefined, done: false }
}

/** One step; what comes after the end changes nothing. */
export function lookupStep<T>(before: LookupState<T>, event: LookupEvent<T>, nowMs: number): LookupStep<T> {
  if (before.done) return { state: before, actions: [], wakeAtMs: undefined }
  let state = before
  if (event.type !== 'begin' && event.type !== 'tick') {
    if (!state.running.has(event.ask)) return waiting(state, [])
    const running = new Set(state.running)
    running.delete(event.ask)
    state = { ...state, running }
    if (event.type === 'found') {
      const better = state.best === undefined || event.revision > state.best.revision
      state = {
        ...state,
        found: state.found + 1,
        best: better ? { revision: event.revision, value: event.value } : state.best,
        settleMs: state.settleMs ?? nowMs + LOOKUP_SETTLE_MS
      }
    } else if (event.type === 'denied') {
      state = { ...state, denied: state.denied + 1 }
    }
  }
  const answers = state.found + state.denied
  const settled = state.best !== undefined && (answers >= LOOKUP_ANSWERS || nowMs >= (state.settleMs ?? Infinity))
  const wanted = state.best === undefined ? LOOKUP_DENIALS : LOOKUP_ANSWERS
  const actions: LookupAction<T>[] = []
  if (!settled && answers < wanted) {
    const running = new Set(state.running)
    let { asked } = state
    // Never more at a time than a lookup that goes well needs.
    while (asked < LOOKUP_MAX_ASKED && running.size < Math.min(LOOKUP_ANSWERS, wanted - answers)) {
      actions.push({ type: 'ask', ask: asked, replica: asked % SERVICE_REPLICAS })
      running.add(asked)
      asked += 1
    }
    state = { ...state, asked, running }
    if (running.size > 0) return waiting(state, actions)
  }
  state = { ...state, done: true }
  actions.push({ type: 'done', value: state.best?.value, denied: state.best === undefined && state.denied > 0 })
  return { state, actions, wakeAtMs: undefined }
}

function waiting<T>(state: LookupState<T>, actions: readonly LookupAction<T>[]): LookupStep<T> {
  return { state, actions, wakeAtMs: state.settleMs }
}
