/**
 * Circuits of services: built over paths through the second layer, each for one purpose.
 */

import { hedgeDelayMs, LOCAL_CODES, withSample } from '../churn/index.js'
import { errorFromCode, wrapError } from '../errors/index.js'
import { type Engine, onAbort } from '../native/index.js'
import {
  type PathRules,
  refreshSecondLayer,
  type SecondLayer,
  type ServiceKind,
  secondLayerToJson,
  selectServicePath
} from '../routing/index.js'
import type { CircuitDriver } from './circuits.js'
import { cryptoRng } from './runner.js'
import type { Saver } from './saver.js'

/** A relay that failed is done without for so long, where there are others. */
const AVOID_MS = 60_000
/**
 * A circuit that takes three times what they take, within these, gets another one beside it, over other relays, and each further one after
 * twice the time; so many at most for one that is wanted.
 */
const HEDGE = { hedgeFirstMs: 1_500, hedgeMinMs: 300, hedgeMaxMs: 1_500 }
const MAX_BUILD_TRIES = 4
/** Longest a circuit may take to be built. */
export const SERVICE_BUILD_TIMEOUT_MS = 12_000

export interface ServiceCircuitsParts {
  engine: Engine
  driver: CircuitDriver
  rules: PathRules
  layer: SecondLayer
  saver: Saver
}

/** How a circuit is built. */
export interface BuildOptions {
  /** Node id of the last hop, where the other side chose it. */
  last?: string
  /** Node ids that the last hop must not have; read anew for each path. */
  without?: Iterable<string>
  timeoutMs?: number
  /** Paths that are tried at most. */
  tries?: number
  signal?: AbortSignal | undefined
  /** Told of the last hop before it is built. */
  onPath?: (last: string) => void
}

/** Another path helps against none of these. */
const HOPELESS: ReadonlySet<string> = new Set([
  'ERR_ANONNET_NO_PATH',
  'ERR_ANONNET_NOT_BOOTSTRAPPED',
  'ERR_ANONNET_CLOSED',
  'ERR_ANONNET_RESOURCE_LIMIT'
])

/** A circuit that was built, and its last hop. */
export interface ServiceCircuit {
  circuit: number
  last: string
}

/** Paths that were tried for one circuit. */
interface Tried {
  readonly relays: Set<string>
  /** Those of which nothing was heard yet, the guard first. */
  readonly silent: Set<readonly string[]>
}

export class ServiceCircuits {
  readonly #parts: ServiceCircuitsParts
  /** What to call when a circuit ends. */
  readonly #open = new Map<number, (code: string) => void>()
  readonly #avoided = new Map<string, number>()
  #buildTimesMs: readonly number[] = []
  #layer: SecondLayer

  constructor(parts: ServiceCircuitsParts) {
    this.#parts = parts
    this.#layer = parts.layer
  }

  /** How long a circuit may take before another one is begun beside it. */
  get hedgeMs(): number {
    return hedgeDelayMs({ limits: HEDGE, buildTimesMs: this.#buildTimesMs })
  }

  /** Whether there is a relay list to build from. */
  get usable(): boolean {
    return this.#parts.driver.list !== undefined
  }

  /**
   * Builds a circuit, over another path where one takes long or fails. It belongs to who asked for it: `close` it.
   *
   * @throws ERR_ANONNET_NOT_BOOTSTRAPPED, _NO_PATH, what building it met, _TIMEOUT; the signal's reason as it is.
   */
  build(kind: ServiceKind, options: BuildOptions = {}): Promise<ServiceCircuit> {
    const { signal, timeoutMs = SERVICE_BUILD_TIMEOUT_MS, tries: most = MAX_BUILD_TRIES } = options
    if (signal?.aborted) return Promise.reject(signal.reason)
    const deadline = performance.now() + Math.min(timeoutMs, SERVICE_BUILD_TIMEOUT_MS)
    const tries = new AbortController()
    const slow: Tried = { relays: new Set(), silent: new Set() }
    const { hedgeMs } = this
    return new Promise((resolve, reject) => {
      let started = 0
      let running = 0
      let timer: NodeJS.Timeout | undefined
      const settle = (then: () => void): void => {
        clearTimeout(timer)
        unlisten()
        tries.abort(errorFromCode('ERR_ANONNET_ABORTED'))
        then()
      }
      const unlisten = onAbort(signal, () => settle(() => reject(signal?.reason)))
      const next = (): void => {
        clearTimeout(timer)
        started += 1
        running += 1
        if (started < most) timer = setTimeout(next, Math.min(HEDGE.hedgeMaxMs, hedgeMs * 2 ** (started - 1))).unref()
        const left = Math.max(1, Math.ceil(deadline - performance.now()))
        this.#build(kind, { ...options, timeoutMs: left, signal: tries.signal }, slow).then(
          (built) => settle(() => resolve(built)),
          (error: unknown) => {
            running -= 1
            if (tries.signal.aborted || running > 0) return
            const again = started < most && performance.now() < deadline && !HOPELESS.has(wrapError(error).code)
            if (again) next()
            else settle(() => reject(error))
          }
        )
      }
      next()
    })
  }

  #build(kind: ServiceKind, options: BuildOptions & { timeoutMs: number; signal: AbortSignal }, tried: Tried): Promise<ServiceCircuit> {
    const { engine, driver, rules } = this.#parts
    const { signal, timeoutMs } = options
    const { list } = driver
    if (list !== undefined) this.#keepLayer(refreshSecondLayer(this.#layer, list, driver.guards, cryptoRng, Date.now()))
    const request = {
      kind,
      last: options.last,
      without: [...(options.without ?? [])],
      avoid: new Set([...tried.relays, ...this.#failing()]),
      unreached: this.#unreached(tried)
    }
    const chosen = selectServicePath(list, driver.guards, this.#layer, request, cryptoRng, Date.now(), rules)
    driver.guards = chosen.guards
    if (!chosen.ok) return Promise.reject(errorFromCode(chosen.code))
    const { path } = chosen
    const last = path[path.length - 1]?.nodeId ?? ''
    options.onPath?.(last)
    const own = path.map(({ nodeId }) => nodeId)
    for (const nodeId of own.slice(1)) tried.relays.add(nodeId)
    tried.silent.add(own)
    const startedAtMs = Date.now()
    const startedMs = performance.now()
    const hops = path.map(({ nodeId, onionKey, address }) => ({ nodeId, onionKey: Buffer.from(onionKey), address }))
    return new Promise((resolve, reject) => {
      const unlisten = onAbort(signal, () => reject(signal.reason))
      engine.buildCircuit(hops, timeoutMs, (error, circuit) => {
        unlisten()
        tried.silent.delete(own)
        const hop = error === undefined ? undefined : (error as { hop?: number }).hop
        if (error === undefined || (hop !== undefined && hop > 0)) driver.guardAnswered(hops[0]?.nodeId ?? '', 'succeeded', startedAtMs)
        else if (hop === 0) driver.guardAnswered(hops[0]?.nodeId ?? '', 'failed', startedAtMs)
        if (error !== undefined) {
          const failed = wrapError(error)
          // Without a hop any but the guard may be the one that did not answer, or it is about this machine and none of them.
          const local = hop === undefined && LOCAL_CODES.has(failed.code)
          for (const relay of local ? [] : hop === undefined ? hops.slice(1) : hops.slice(hop, hop + 1)) this.avoid(relay.nodeId)
          reject(failed)
        } else if (signal.aborted) {
          engine.closeCircuit(circuit)
        } else {
          this.#buildTimesMs = withSample(this.#buildTimesMs, performance.now() - startedMs)
          // What was begun before and has not come yet: one of its relays does not answer, none of those that are in this one.
          for (const [, ...relays] of tried.silent) for (const nodeId of relays) if (!own.includes(nodeId)) this.avoid(nodeId)
          driver.adopt(circuit, path)
          this.#open.set(circuit, () => undefined)
          resolve({ circuit, last })
        }
      })
    })
  }

  /** Does without a relay for a minute, where there are others. */
  avoid(nodeId: string): void {
    this.#avoided.set(nodeId, Date.now() + AVOID_MS)
  }

  /** Whether it failed within the last minute. */
  avoids(nodeId: string): boolean {
    return (this.#avoided.get(nodeId) ?? 0) > Date.now()
  }

  /** A circuit did not answer: the relays in it that are ours to choose are done without. */
  silent(circuit: number): void {
    for (const { nodeId } of this.#parts.driver.path(circuit)?.slice(1) ?? []) this.avoid(nodeId)
  }

  /** Calls that when the circuit ends by itself; at once when it already has. */
  onEnd(circuit: number, ended: (code: string) => void): void {
    if (this.#open.has(circuit)) this.#open.set(circuit, ended)
    else ended('ERR_ANONNET_CIRCUIT_CLOSED')
  }

  has(circuit: number): boolean {
    return this.#open.has(circuit)
  }

  /** Ends a circuit; nobody is told. */
  close(circuit: number): void {
    if (this.#open.delete(circuit)) this.#parts.engine.closeCircuit(circuit)
  }

  /** The native side says that a circuit ended. Returns whether it was one of these. */
  closed(circuit: number, code: string): boolean {
    const ended = this.#open.get(circuit)
    if (!this.#open.delete(circuit)) return false
    ended?.(code)
    return true
  }

  /** Guards of tries of which nothing was heard, to which there is no link. One with a link is not to be left because who is behind it is silent. */
  #unreached({ silent }: Tried): ReadonlySet<string> {
    if (silent.size === 0) return new Set()
    const linked = new Set(this.#parts.engine.links().map(({ nodeId }) => nodeId))
    return new Set([...silent].flatMap(([guard]) => (guard === undefined || linked.has(guard) ? [] : [guard])))
  }

  #failing(): ReadonlySet<string> {
    const now = Date.now()
    for (const [nodeId, untilMs] of this.#avoided) if (untilMs <= now) this.#avoided.delete(nodeId)
    return new Set(this.#avoided.keys())
  }

  #keepLayer(layer: SecondLayer): void {
    if (layer === this.#layer) return
    this.#layer = layer
    this.#parts.saver.save(() => Buffer.from(secondLayerToJson(layer)))
  }
}
