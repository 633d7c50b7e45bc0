/** Value types of path selection, shared with churn and node. */
import type { ListedRelay } from '../directory/types.js'
import type { ErrorCode } from '../errors/index.js'

/** Where a stream goes: an IPv4 address, an IPv6 address (brackets allowed) or a DNS name, and a port (1 to 65535). */
export interface Target {
  readonly host: string
  readonly port: number
}

/** What a path is for. */
export interface PathRequest {
  /** `exit`: the last hop opens streams to targets. `dir`: the last hop answers questions itself (BEGIN_DIR). */
  readonly kind: 'exit' | 'dir'
  /** The exit's policy must accept it. */
  readonly target?: Target | undefined
  /** Ports that will likely be asked for: of the exits that fit, those that accept most of them are taken. */
  readonly ports?: readonly number[] | undefined
  /** Node id that the last hop must have. */
  readonly exit?: string | undefined
  /** Node ids to do without where possible, the most important first: relays that just failed. Never a reason to have no path. */
  readonly avoid?: readonly string[] | undefined
  /** Nobody waits for this circuit: it may try out whether a guard that failed is back. */
  readonly patient?: boolean | undefined
}

/** A path is exactly three relays. The type says so, and {@link assertPath} besides. */
export type Path = readonly [guard: ListedRelay, middle: ListedRelay, exit: ListedRelay]

/** Which choice found nobody: `list` means that there is no usable relay list. */
export type PathRule = 'list' | 'exit' | 'guard' | 'middle'

/** Settings of a network, and relays that are never used. */
export interface PathRules {
  /** Test networks on one machine only: two relays of one /16 or /32 may be in a path. */
  readonly allowSamePrefix?: boolean | undefined
  /** Node ids that are never chosen, for example this node's own. */
  readonly exclude?: ReadonlySet<string> | undefined
}

/** The outcome of a selection; `guards` replaces the state that was handed in. */
export type PathResult =
  | { readonly ok: true; readonly path: Path; readonly guards: GuardState }
  | { readonly ok: false; readonly rule: PathRule; readonly code: ErrorCode; readonly guards: GuardState }

/** A guard that this client keeps. Times are wall-clock milliseconds. */
export interface SampledGuard {
  readonly nodeId: string
  readonly addedAtMs: number
  /** From then on it is replaced: 60 to 120 days after it was added. */
  readonly expiresAtMs: number
  /** Since when no list has it as a guard; undefined while listed. */
  readonly unlistedSinceMs?: number | undefined
}

/** What is known of a guard's reachability; not kept on disk. */
export interface GuardReach {
  /** Failures in a row. */
  readonly failures: number
  /** When the last of them began to count. */
  readonly failedAtMs: number
  /** Before that, only a path that finds no other guard uses it. */
  readonly retryAtMs: number
}

/** The guards of a client, immutable: every function returns another. `sampled` is the array that goes to the disk. */
export interface GuardState {
  /** In the order of preference, which never changes: the first listed ones are the primary guards. */
  readonly sampled: readonly SampledGuard[]
  readonly reach: ReadonlyMap<string, GuardReach>
  /** Since when all guards that may be tried have failed, undefined while one answers. */
  readonly downSinceMs: number | undefined
  /** How many of the sample, in order, may be tried besides the primary ones while not all have failed. */
  readonly spare: number
}
