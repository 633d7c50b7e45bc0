/** The circuit pool's state, and what goes in and out. Times are milliseconds of one monotonic clock. */
import type { ErrorCode } from '../errors/index.js'
import type { PathRequest, PathRule, Target } from '../routing/types.js'
import type { PoolLimits } from './limits.js'

/** Node ids of a circuit's relays. */
export type CircuitPath = readonly [guard: string, middle: string, exit: string]

/** A circuit that is ready. */
export interface PoolCircuit {
  readonly id: number
  readonly kind: PathRequest['kind']
  readonly path: CircuitPath
  /** Whose it is, from its first stream to its end; undefined while it is clean. */
  readonly isolation: string | undefined
  /** Takes new streams before that. */
  readonly untilMs: number
  /** Streams attached and not known to have ended. */
  readonly open: number
  /** When it last proved to be alive. */
  readonly heardMs: number
  /** While set it is suspect: a probe is under way and new streams go elsewhere. */
  readonly probe: Probe | undefined
}

/** A question to a circuit whether it is alive. */
export interface Probe {
  readonly sinceMs: number
  readonly untilMs: number
  readonly silent: number
  /** When it is ended, if still silent: others answered what was asked no sooner. */
  readonly outrunMs?: number | undefined
}

/** A circuit on its way. */
export interface PoolBuild {
  readonly id: number
  readonly request: PathRequest
  /** The group of requests that it was started for; undefined: for nobody in particular. */
  readonly group: string | undefined
  /** Known once a path was selected. */
  readonly path: CircuitPath | undefined
  readonly startedMs: number
  readonly timeoutMs: number
  /** When to look whether another is to be started beside it; undefined if one was, or nobody waits for it. */
  readonly hedgeMs: number | undefined
}

/** A request that is not connected yet. */
export interface PoolRequest {
  readonly id: number
  readonly isolation: string
  readonly kind: PathRequest['kind']
  /** Requests of one group can share a circuit as far as isolation goes. */
  readonly group: string
  readonly target: Target | undefined
  readonly exit: string | undefined
  readonly deadlineMs: number
  /** How often it was attached. */
  readonly attempts: number
  /** Circuits and exits that failed it. */
  readonly tried: readonly number[]
  readonly avoid: readonly string[]
  readonly lastCode: ErrorCode | undefined
  /** The list has no exit: it waits for the next one. */
  readonly exitless: boolean
  /** A circuit that it was on was ended before its probe was over: that is done once. */
  readonly outran: boolean
  /** Where it is; undefined while it waits. */
  readonly attached: { readonly circuit: number; readonly sinceMs: number; readonly stallMs: number } | undefined
}

/** A relay that failed. `named`: a build said that it was this one; else it was one of several that it may have been. */
export interface AvoidedRelay {
  readonly named: boolean
  readonly untilMs: number
  readonly count: number
}

/** The pool, immutable. */
export interface PoolState {
  readonly limits: PoolLimits
  /** Whether there is a relay list to build from. */
  readonly usable: boolean
  /** The list has no exit at all: when the next one should be here. Else Infinity. */
  readonly exitsMs: number
  readonly closed: boolean
  readonly circuits: ReadonlyMap<number, PoolCircuit>
  readonly builds: ReadonlyMap<number, PoolBuild>
  readonly requests: ReadonlyMap<number, PoolRequest>
  readonly avoided: ReadonlyMap<string, AvoidedRelay>
  /** Ports asked for, with the time of the last request. */
  readonly ports: ReadonlyMap<number, number>
  /** Ports that clean circuits are for at least; empty if no exit takes them. */
  readonly basePorts: readonly number[]
  /** When clean circuits were taken, the last ones. */
  readonly claims: readonly number[]
  readonly buildTimesMs: readonly number[]
  /** Builds that took too long since the last one that went well. Of those under way at the same time one counts; `sinceMs`: when the last did. */
  readonly timeouts: { readonly inARow: number; readonly sinceMs: number }
  readonly connectTimesMs: readonly number[]
  /** Failed builds since the last one that went well, and when to go on. */
  readonly failures: number
  readonly retryMs: number
  readonly poolRetryMs: number
  readonly lastBuildCode: ErrorCode | undefined
  readonly nextBuild: number
}

/** What happened. */
export type PoolEvent =
  /** The time of `wakeAtMs` has come. */
  | { readonly type: 'tick' }
  /** A relay list was accepted, or the last one is too old. `exitsMs`: it has no exit at all, and the next one should be here then. */
  | { readonly type: 'list'; readonly usable: boolean; readonly exitsMs?: number | undefined }
  /** Somebody wants a stream. `connect` needs a target, `resolve` takes one, `dir` asks the last hop itself. */
  | {
      readonly type: 'request'
      readonly request: number
      readonly isolation: string
      readonly kind: 'connect' | 'resolve' | 'dir'
      readonly target?: Target | undefined
      readonly exit?: string | undefined
      readonly waitMs?: number | undefined
      /** Under way on that circuit already: only to be watched. */
      readonly on?: number | undefined
    }
  /** A stream got connected that was no request: its answer stood. */
  | { readonly type: 'taken'; readonly circuit: number }
  /** Whoever asked went away before being connected. */
  | { readonly type: 'cancel'; readonly request: number }
  | { readonly type: 'connected'; readonly request: number }
  /** A request failed after it was attached and before it was connected. */
  | { readonly type: 'streamFailed'; readonly request: number; readonly code: string }
  /** A stream that had been connected ended. */
  | { readonly type: 'streamClosed'; readonly circuit: number }
  /** How many streams each circuit has in truth: mends the count where reports were lost. Circuits not named are gone. */
  | { readonly type: 'counted'; readonly streams: ReadonlyMap<number, number> }
  | { readonly type: 'buildStarted'; readonly build: number; readonly path: CircuitPath }
  | { readonly type: 'built'; readonly build: number; readonly circuit: number }
  /** `hop` is the one that did not become ready, 0 the guard. `rule`: no path was found, and by which choice. */
  | {
      readonly type: 'buildFailed'
      readonly build: number
      readonly code: string
      readonly hop?: number | undefined
      readonly rule?: PathRule | undefined
    }
  | { readonly type: 'circuitClosed'; readonly circuit: number; readonly code: string }
  /** Any answer at all means alive. */
  | { readonly type: 'probed'; readonly circuit: number; readonly alive: boolean }
  | { readonly type: 'networkChanged' }
  | { readonly type: 'close' }

/** What to do. */
export type PoolAction =
  | { readonly type: 'build'; readonly build: number; readonly request: PathRequest; readonly timeoutMs: number }
  | { readonly type: 'close'; readonly circuit: number }
  | { readonly type: 'attach'; readonly request: number; readonly circuit: number }
  | { readonly type: 'refuse'; readonly request: number; readonly code: ErrorCode }
  | { readonly type: 'probe'; readonly circuit: number; readonly timeoutMs: number }
  | { readonly type: 'guard'; readonly nodeId: string; readonly outcome: 'succeeded' | 'failed'; readonly startedAgoMs: number }

/** What a step is given besides the event. */
export interface PoolEnvironment {
  readonly nowMs: number
  /** Uniform in [0, 1). */
  readonly rng: () => number
  /** Whether the relay of that id is an exit of the current list whose policy takes the target; without one, any target. */
  readonly accepts: (exit: string, target: Target | undefined) => boolean
}

/** What a step gives back: do the actions in order, and come again with a tick at `wakeAtMs`. */
export interface PoolStep {
  readonly state: PoolState
  readonly actions: readonly PoolAction[]
  readonly wakeAtMs: number | undefined
}
