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

/** The second layer of this client, immutable. */
export interface SecondLayer {
  readonly relays: readonly { readonly nodeId: string; readonly expiresAtMs: number }[]
}

/**
 * What a path of services is for. Whose last hop we choose ourselves: `rendezvous` (a client's, where it waits), `intro` (a service's
 * introduction point), `lookup` (somebody who asks the DHT). Whose last hop the other side chose: `introduce` and `meet`.
 */
export type OwnServiceKind = 'rendezvous' | 'intro' | 'lookup'
export type ForeignServiceKind = 'introduce' | 'meet'
export type ServiceKind = OwnServiceKind | ForeignServiceKind

/** Exactly three relays where we chose the last. */
export type OwnServicePath = readonly [guard: ListedRelay, second: ListedRelay, last: ListedRelay]
/** One more where the other side did: it must not learn who the second layer is. */
export type ForeignServicePath = readonly [guard: ListedRelay, second: ListedRelay, middle: ListedRelay, last: ListedRelay]
export type ServicePath<K extends ServiceKind = ServiceKind> = K extends ForeignServiceKind ? ForeignServicePath : OwnServicePath

export interface ServicePathRequest<K extends ServiceKind = ServiceKind> {
  readonly kind: K
  /** Node id of the last hop; needed where the other side chose it. */
  readonly last?: string | undefined
  /** Node ids that the last hop must not have, where we choose it. */
  readonly without?: readonly string[] | undefined
  /** Node ids to do without where possible: relays that just failed. Never a reason to have no path, nor to leave the second layer. */
  readonly avoid?: ReadonlySet<string> | undefined
  /** Guards that do not let themselves be reached: another of their tier is taken before them. Nothing that the other side has a hand in. */
  readonly unreached?: ReadonlySet<string> | undefined
}

export type ServicePathResult<K extends ServiceKind = ServiceKind> =
  | { readonly ok: true; readonly path: ServicePath<K>; readonly guards: GuardState }
  | { readonly ok: false; readonly code: ErrorCode; readonly guards: GuardState }
