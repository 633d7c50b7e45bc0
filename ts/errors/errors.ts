/** The error classes: one a subject, so that `instanceof` tells the area and `code` the case. */
import { inspect } from 'node:util'
import { type Blame, ERROR_REGISTRY, type ErrorCode, type Retry, registryEntry } from './registry.js'
import { scrub } from './scrub.js'

/** What an error can be given besides its code. */
export interface ErrorOptions {
  /** Which argument, file or step; addresses, keys, targets and paths in it are taken out. */
  readonly detail?: string | undefined
  /** What led to it; kept as it is in `cause`, and shown by `inspect` without its text. */
  readonly cause?: unknown
}

const BRAND = Symbol.for('anonnet.error')

/** Frames that `inspect` shows. */
const MAX_FRAMES = 8

/**
 * Every error of AnonNet. `code` is stable, `blame` says whose doing it was, `retry` whether trying again helps, `advice` is one
 * sentence for a person. Neither `message` nor `inspect` shows an address, a key, a target or a path.
 */
export class AnonNetError extends Error {
  readonly code: ErrorCode
  readonly blame: Blame
  readonly retry: Retry
  readonly advice: string

  constructor(code: ErrorCode, options: ErrorOptions = {}) {
    const entry = registryEntry(code) ?? INTERNAL
    const detail = options.detail === undefined ? '' : scrub(options.detail)
    super(detail === '' ? entry.advice : `${entry.advice} (${detail})`, options.cause === undefined ? undefined : { cause: options.cause })
    this.code = entry.code
    this.blame = entry.blame
    this.retry = entry.retry
    this.advice = entry.advice
  }

  /** What `--json` prints: no stack, no cause. */
  toJSON(): { name: string; code: ErrorCode; blame: Blame; retry: Retry; message: string } {
    return { name: this.name, code: this.code, blame: this.blame, retry: this.retry, message: this.message }
  }

  /** The head, the frames by file name only, and the causes by name and code: a cause's own text may hold a path or a target. */
  [inspect.custom](): string {
    const causes = describeCauses(this.cause)
    return [
      `${this.name} [${this.code}]: ${this.message}`,
      `  blame: ${this.blame}, retry: ${this.retry}`,
      ...causes,
      ...frames(this.stack)
    ].join('\n')
  }
}

Object.defineProperty(AnonNetError.prototype, BRAND, { value: true })

function describeCauses(first: unknown): string[] {
  const lines: string[] = []
  let cause = first
  for (let depth = 0; cause !== undefined && cause !== null && depth < 4; depth++) {
    const name = cause instanceof Error ? cause.name : typeof cause
    const code = typeof cause === 'object' && 'code' in cause && typeof cause.code === 'string' ? ` [${scrub(cause.code)}]` : ''
    lines.push(`  cause: ${scrub(name)}${code}`)
    cause = cause instanceof Error ? cause.cause : undefined
  }
  return lines
}

function frames(stack: string | undefined): string[] {
  if (stack === undefined) return []
  return stack
    .split('\n')
    .filter((line) => /^\s+at /.test(line))
    .slice(0, MAX_FRAMES)
    .map((line) => line.replace(/(?:[a-z]+:\/\/)?[^\s()]*[/\\]([^\s()/\\]+:\d+:\d+)/gi, '$1'))
}

/** An argument or a target that is not valid, or something that this version does not do. */
export class ArgumentError extends AnonNetError {}
/** A configuration with an unknown key or an unfitting value. */
export class ConfigError extends AnonNetError {}
/** Use of a node, circuit or stream that was closed. */
export class ClosedError extends AnonNetError {}
/** An operation that was cancelled without a reason of the caller's own. */
export class AbortedError extends AnonNetError {}
/** A local address that could not be bound. */
export class BindError extends AnonNetError {}
/** A file of the state directory that could not be read or written. */
export class StoreError extends AnonNetError {}
/** A key file that is damaged, locked or readable by others. */
export class KeyError extends AnonNetError {}
/** A limit, here or at the other side. */
export class LimitError extends AnonNetError {}
/** A link between two nodes. */
export class LinkError extends AnonNetError {}
/** A request or an answer between nodes. */
export class RpcError extends AnonNetError {}
/** A circuit: its handshakes, its cells, its end. */
export class CircuitError extends AnonNetError {}
/** Something that took too long. */
export class TimeoutError extends AnonNetError {}
/** No relays fit the rules for a path, or there is no relay list yet. */
export class PathError extends AnonNetError {}
/** A stream: what the exit or the target answered. */
export class StreamError extends AnonNetError {}
/** A list, descriptor or record that is not acceptable. */
export class DirectoryError extends AnonNetError {}
/** Something that nobody had. */
export class NotFoundError extends AnonNetError {}
/** A `.anon` service: its address, its descriptor, its introduction points, who may reach it. */
export class ServiceError extends AnonNetError {}
/** A bug of ours. */
export class InternalError extends AnonNetError {}

/** Every public error class; the list is part of the interface, and a test compares it with the exports. */
export const ERROR_CLASSES = [
  AnonNetError,
  ArgumentError,
  ConfigError,
  ClosedError,
  AbortedError,
  BindError,
  StoreError,
  KeyError,
  LimitError,
  LinkError,
  RpcError,
  CircuitError,
  TimeoutError,
  PathError,
  StreamError,
  DirectoryError,
  NotFoundError,
  ServiceError,
  InternalError
] as const

// Minifiers rename classes; the names are interface, so they are written down. On the prototype, as Error's own.
const NAMES = [
  'AnonNetError',
  'ArgumentError',
  'ConfigError',
  'ClosedError',
  'AbortedError',
  'BindError',
  'StoreError',
  'KeyError',
  'LimitError',
  'LinkError',
  'RpcError',
  'CircuitError',
  'TimeoutError',
  'PathError',
  'StreamError',
  'DirectoryError',
  'NotFoundError',
  'ServiceError',
  'InternalError'
] as const
ERROR_CLASSES.forEach((type, index) => {
  Object.defineProperty(type.prototype, 'name', { value: NAMES[index], writable: true, configurable: true })
})

const INTERNAL = ERROR_REGISTRY[ERROR_REGISTRY.length - 1] as (typeof ERROR_REGISTRY)[number]

const CLASS_OF: { readonly [Code in ErrorCode]: typeof AnonNetError } = {
  ERR_ANONNET_INVALID_ARGUMENT: ArgumentError,
  ERR_ANONNET_INVALID_ADDRESS: ArgumentError,
  ERR_ANONNET_CONFIG_INVALID: ConfigError,
  ERR_ANONNET_CLOSED: ClosedError,
  ERR_ANONNET_ABORTED: AbortedError,
  ERR_ANONNET_UNSUPPORTED: ArgumentError,
  ERR_ANONNET_NOT_BUILT: ArgumentError,
  ERR_ANONNET_BIND_FAILED: BindError,
  ERR_ANONNET_STORE_FAILED: StoreError,
  ERR_ANONNET_KEY_INVALID: KeyError,
  ERR_ANONNET_KEY_PASSPHRASE: KeyError,
  ERR_ANONNET_KEY_PERMISSIONS: KeyError,
  ERR_ANONNET_RESOURCE_LIMIT: LimitError,
  ERR_ANONNET_RATE_LIMITED: LimitError,
  ERR_ANONNET_LINK_UNREACHABLE: LinkError,
  ERR_ANONNET_LINK_IDENTITY: LinkError,
  ERR_ANONNET_LINK_PROTOCOL: LinkError,
  ERR_ANONNET_LINK_CLOSED: LinkError,
  ERR_ANONNET_RPC_INVALID: RpcError,
  ERR_ANONNET_RPC_REFUSED: RpcError,
  ERR_ANONNET_HANDSHAKE_FAILED: CircuitError,
  ERR_ANONNET_CELL_MALFORMED: CircuitError,
  ERR_ANONNET_CIRCUIT_PROTOCOL: CircuitError,
  ERR_ANONNET_CIRCUIT_CLOSED: CircuitError,
  ERR_ANONNET_EXTEND_REFUSED: CircuitError,
  ERR_ANONNET_TIMEOUT: TimeoutError,
  ERR_ANONNET_NO_PATH: PathError,
  ERR_ANONNET_NOT_BOOTSTRAPPED: PathError,
  ERR_ANONNET_STREAM_REFUSED: StreamError,
  ERR_ANONNET_STREAM_RESET: StreamError,
  ERR_ANONNET_HOST_UNREACHABLE: StreamError,
  ERR_ANONNET_NAME_NOT_RESOLVED: StreamError,
  ERR_ANONNET_EXIT_POLICY: StreamError,
  ERR_ANONNET_STREAM_LIMIT: LimitError,
  ERR_ANONNET_LIST_INVALID: DirectoryError,
  ERR_ANONNET_DESCRIPTOR_INVALID: DirectoryError,
  ERR_ANONNET_RECORD_INVALID: DirectoryError,
  ERR_ANONNET_NOT_FOUND: NotFoundError,
  ERR_ANONNET_SERVICE_ADDRESS: ServiceError,
  ERR_ANONNET_SERVICE_NOT_FOUND: ServiceError,
  ERR_ANONNET_INTRODUCTION_FAILED: ServiceError,
  ERR_ANONNET_INTRODUCTION_TIMEOUT: ServiceError,
  ERR_ANONNET_RENDEZVOUS_FAILED: ServiceError,
  ERR_ANONNET_CLIENT_AUTH: ServiceError,
  ERR_ANONNET_CLIENT_AUTH_WRONG: ServiceError,
  ERR_ANONNET_INTERNAL: InternalError
}

/** The error of a code, in its class. A code that is not of the registry becomes an {@link InternalError} that names it. */
export function errorFromCode(code: string, options: ErrorOptions = {}): AnonNetError {
  const entry = registryEntry(code)
  if (entry === undefined) {
    const shown = /^[A-Z0-9_]{1,64}$/.test(code) ? code : 'not a code'
    return new InternalError('ERR_ANONNET_INTERNAL', { ...options, detail: `unknown code: ${shown}` })
  }
  return new CLASS_OF[entry.code](entry.code, options)
}

/** Whether a value is an error of AnonNet, also when it comes from another copy of this package. */
export function isAnonNetError(value: unknown): value is AnonNetError {
  return typeof value === 'object' && value !== null && BRAND in value
}

/**
 * What to throw for a failed operation: the reason of its signal, as it is, when the caller cancelled it; else the error of the code.
 */
export function reasonFor(code: string, options: ErrorOptions & { readonly signal?: AbortSignal | undefined } = {}): unknown {
  if (code === 'ERR_ANONNET_ABORTED' && options.signal?.aborted === true) return options.signal.reason
  return errorFromCode(code, options)
}

/**
 * An {@link AnonNetError} for whatever was thrown: itself, or the error of the code that it carries (the addon's errors carry one), or
 * else of `fallback`, with the thrown value as the cause.
 */
export function wrapError(thrown: unknown, fallback: ErrorCode = 'ERR_ANONNET_INTERNAL'): AnonNetError {
  if (isAnonNetError(thrown)) return thrown
  const code = typeof thrown === 'object' && thrown !== null && 'code' in thrown ? thrown.code : undefined
  const known = typeof code === 'string' && code.startsWith('ERR_ANONNET_') ? code : fallback
  return errorFromCode(known, { cause: thrown })
}
