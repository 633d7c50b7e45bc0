/**
 * Drives the circuit pool: feeds it what happens and does what it decides. Policy is in churn and routing, none of it here.
 */

import { newPool, type PoolAction, type PoolEvent, type PoolState, poolSummary, step } from '../churn/index.js'
import type { Diagnostics } from '../diagnostics/index.js'
import type { ListedRelay, RelayList, Rng } from '../directory/types.js'
import { type AnonNetError, errorFromCode, wrapError } from '../errors/index.js'
import type { Engine, Stands } from '../native/index.js'
import {
  exitAccepts,
  type GuardState,
  guardFailed,
  guardSucceeded,
  guardSummary,
  type Path,
  type PathRules,
  refreshGuards,
  selectPath,
  type Target
} from '../routing/index.js'
import { probe } from './circuit-probe.js'
import { type CircuitRequest, exitsMs, type RequestHandlers } from './circuit-request.js'

export type { CircuitRequest, RequestHandlers } from './circuit-request.js'

/** How often the pool's count of streams is set right by the native side's. */
const COUNT_EVERY_MS = 60_000
const LONGEST_TIMER_MS = 2 ** 31 - 1
export interface CircuitDriverParts {
  engine: Engine
  diagnostics: Diagnostics
  rules: PathRules
  guards: GuardState
  rng: Rng
  /** Called when the guards that are kept on disk changed. */
  onGuards: (guards: GuardState) => void
  /** Called whenever a circuit became ready. */
  onReady: () => void
  /** Called when somebody asks while this sleeps: it is to be woken. */
  onDemand: () => void
}

interface Waiting {
  handlers: RequestHandlers
  last: AnonNetError | undefined
}

/** The circuits of one client. */
export class CircuitDriver {
  readonly #parts: CircuitDriverParts
  readonly #requests = new Map<number, Waiting>()
  readonly #paths = new Map<number, readonly ListedRelay[]>()
  readonly #watchers = new Set<() => void>()
  readonly #building = new Map<number, { path: Path; startedMs: number; kind: 'exit' | 'dir' }>()
  readonly #queue: PoolEvent[] = []
  #relays: ReadonlyMap<string, ListedRelay> = new Map()
  #pool: PoolState = newPool()
  #list: RelayList | undefined
  #guards: GuardState
  /** Circuits for which answers stand below, with the time until which they were to. */
  readonly #standing = new Map<number, number>()
  #nextRequest = 1
  #running = false
  #asleep = false
  #closed = false
  #timer: NodeJS.Timeout | undefined
  #lastError: AnonNetError | undefined
  #counting: NodeJS.Timeout

  constructor(parts: CircuitDriverParts) {
    this.#parts = parts
    this.#guards = parts.guards
    this.#counting = this.#startCounting()
  }

  /** The path of a circuit, the guard first. */
  path(circuit: number): readonly ListedRelay[] | undefined {
    return this.#paths.get(circuit)
  }

  /** The relay list to build from; undefined while there is none, or this sleeps. */
  get list(): RelayList | undefined {
    return this.#asleep || this.#closed ? undefined : this.#list
  }

  /** For paths that are chosen elsewhere; what becomes of the guards there is told here. */
  get guards(): GuardState {
    return this.#guards
  }

  set guards(guards: GuardState) {
    this.#setGuards(guards)
  }

  /** A guard finished the first hop of a circuit that was built elsewhere, or did not. `startedAtMs`: Unix milliseconds. */
  guardAnswered(nodeId: string, outcome: 'succeeded' | 'failed', startedAtMs: number): void {
    this.#guard(nodeId, outcome, startedAtMs)
  }

  /** Takes note of a circuit that was built elsewhere. */
  adopt(circuit: number, path: readonly ListedRelay[]): void {
    this.#paths.set(circuit, path)
  }

  /** Wakes the client if it sleeps. */
  demand(): void {
    if (this.#asleep) this.#parts.onDemand()
  }

  /** Calls `watcher` whenever `list` may have changed; returns what ends that. */
  watch(watcher: () => void): () => void {
    this.#watchers.add(watcher)
    return () => this.#watchers.delete(watcher)
  }

  /** Why the last that failed did. */
  get lastError(): AnonNetError | undefined {
    return this.#lastError
  }

  /** Counts for `status()`. */
  get summary(): ReturnType<typeof poolSummary> {
    return poolSummary(this.#pool)
  }

  /** Takes a verified list; undefined when the last one is too old to use. */
  setList(list: RelayList | undefined): void {
    this.#list = list
    // Whether an exit takes a target may be another matter now.
    if (this.#standing.size > 0) this.#parts.engine.withdraw()
    this.#standing.clear()
    this.#relays = new Map(list?.relays.map((relay) => [relay.nodeId, relay]))
    if (list !== undefined) this.#setGuards(refreshGuards(this.#guards, list, this.#parts.rng, Date.now()))
    this.#dispatch({ type: 'list', usable: list !== undefined, exitsMs: exitsMs(list) })
    for (const watcher of this.#watchers) watcher()
  }

  /** Asks for a circuit; returns the request's id. The handlers may be called before this returns. */
  request(request: CircuitRequest, handlers: RequestHandlers): number {
    const id = this.#nextRequest
    this.#nextRequest += 1
    if (this.#closed) {
      handlers.refuse(errorFromCode('ERR_ANONNET_CLOSED'))
      return id
    }
    if (this.#asleep) this.#parts.onDemand()
    this.#requests.set(id, { handlers, last: undefined })
    this.#dispatch({ type: 'request', request: id, ...request })
    // Its circuit is gone: the native side hears of that itself, and asks.
    if (request.on !== undefined && !this.#pool.requests.has(id)) this.#requests.delete(id)
    return id
  }

  /** Whether a request is still to be answered. */
  waits = (request: number): boolean => this.#requests.has(request)

  /** The stream of a request is connected; the request is over. */
  connected(request: number): void {
    if (this.#requests.delete(request)) this.#dispatch({ type: 'connected', request })
  }

  /** A stream got connected on a circuit without having been asked about, because an answer stood. */
  taken(circuit: number): void {
    this.#dispatch({ type: 'taken', circuit })
  }

  /** The stream of a request failed before it was connected; the pool attaches it elsewhere or refuses it. */
  failed(request: number, error: unknown): void {
    const waiting = this.#requests.get(request)
    if (waiting === undefined) return
    waiting.last = wrapError(error)
    this.#dispatch({ type: 'streamFailed', request, code: waiting.last.code })
  }

  /** Nobody wants the request any more. */
  cancel(request: number): void {
    if (this.#requests.delete(request)) this.#dispatch({ type: 'cancel', request })
  }

  /** A stream that had been connected ended. */
  streamClosed(circuit: number): void {
    this.#dispatch({ type: 'streamClosed', circuit })
  }

  /** The native side says that a circuit ended. */
  circuitClosed(circuit: number, code: string): void {
    if (this.#paths.delete(circuit)) this.#parts.diagnostics.emit('circuit:closed', { circuit, code })
    this.#dispatch({ type: 'circuitClosed', circuit, code })
  }

  /** Ends every circuit, refuses whatever is not connected yet with that error, and builds nothing before `wake`. Guards stay. */
  sleep(error: AnonNetError): void {
    if (this.#closed || this.#asleep) return
    this.#asleep = true
    clearInterval(this.#counting)
    const waiting = [...this.#requests.values()]
    this.#requests.clear()
    this.#building.clear()
    this.#queue.length = 0
    const { circuits, nextBuild } = this.#pool
    // A fresh pool, whose builds cannot be taken for those that are still under way.
    this.#pool = { ...newPool(), nextBuild }
    this.#schedule(undefined)
    for (const id of circuits.keys()) this.#parts.engine.closeCircuit(id)
    for (const { handlers } of waiting) handlers.refuse(error)
    for (const watcher of this.#watchers) watcher()
  }

  /** Takes requests again; builds with the next list that it is given. */
  wake(): void {
    if (this.#closed || !this.#asleep) return
    this.#asleep = false
    this.#counting = this.#startCounting()
  }

  /** Refuses what waits and builds nothing any more. */
  close(): void {
    if (this.#closed) return
    this.#dispatch({ type: 'close' })
    this.#closed = true
    clearInterval(this.#counting)
    clearTimeout(this.#timer)
    const waiting = [...this.#requests.values()]
    this.#requests.clear()
    for (const { handlers } of waiting) handlers.refuse(errorFromCode('ERR_ANONNET_CLOSED'))
  }

  #startCounting(): NodeJS.Timeout {
    return setInterval(() => this.#count(), COUNT_EVERY_MS).unref()
  }

  #count(): void {
    const circuits = this.#parts.engine.circuits()
    this.#dispatch({ type: 'counted', streams: new Map(circuits.map(({ id, streams }) => [id, streams])) })
  }

  #dispatch(event: PoolEvent): void {
    if (this.#closed) return
    this.#queue.push(event)
    if (this.#running) return
    this.#running = true
    try {
      let wakeAtMs: number | undefined
      for (let next = this.#queue.shift(); next !== undefined; next = this.#queue.shift()) {
        const result = step(this.#pool, next, {
          nowMs: performance.now(),
          rng: this.#parts.rng,
          accepts: (exit, target) => this.#accepts(exit, target)
        })
        this.#pool = result.state
        this.#withdraw()
        wakeAtMs = result.wakeAtMs
        for (const action of result.actions) this.#perform(action)
      }
      this.#schedule(wakeAtMs)
    } finally {
      this.#running = false
    }
  }

  /** Takes back the answers for circuits that take no new streams, or are suspect. */
  #withdraw(): void {
    for (const [id, untilMs] of this.#standing) {
      const circuit = this.#pool.circuits.get(id)
      if (circuit?.untilMs === untilMs && circuit.probe === undefined) continue
      this.#standing.delete(id)
      this.#parts.engine.withdraw(id)
    }
  }

  /** For how long the same request gets the circuit again. It is its isolation key's until its end, so only its time and its streams count. */
  #stands(id: number): Stands | undefined {
    const circuit = this.#pool.circuits.get(id)
    const ms = circuit === undefined ? 0 : Math.floor(circuit.untilMs - performance.now())
    if (circuit === undefined || ms <= 0 || circuit.probe !== undefined) return undefined
    this.#standing.set(id, circuit.untilMs)
    return { ms, streams: this.#pool.limits.maxStreamsPerCircuit }
  }

  #accepts(exit: string, target: Target | undefined): boolean {
    const relay = this.#relays.get(exit)
    return relay !== undefined && exitAccepts(relay, target)
  }

  #schedule(wakeAtMs: number | undefined): void {
    clearTimeout(this.#timer)
    this.#timer = undefined
    if (wakeAtMs === undefined || this.#closed) return
    const delay = Math.min(Math.max(0, Math.ceil(wakeAtMs - performance.now())), LONGEST_TIMER_MS)
    this.#timer = setTimeout(() => this.#dispatch({ type: 'tick' }), delay).unref()
  }

  #perform(action: PoolAction): void {
    switch (action.type) {
      case 'build':
        this.#build(action)
        return
      case 'close':
        this.#parts.engine.closeCircuit(action.circuit)
        return
      case 'attach':
        this.#attach(action.request, action.circuit)
        return
      case 'refuse':
        this.#refuse(action.request, action.code)
        return
      case 'probe':
        this.#probe(action.circuit, action.timeoutMs)
        return
      case 'guard':
        this.#guard(action.nodeId, action.outcome, Date.now() - action.startedAgoMs)
        return
    }
  }

  #attach(request: number, circuit: number): void {
    const waiting = this.#requests.get(request)
    if (waiting === undefined) return
    try {
      waiting.handlers.attach(circuit, () => this.#stands(circuit))
    } catch (error) {
      this.failed(request, error)
    }
  }

  #refuse(request: number, code: string): void {
    const waiting = this.#requests.get(request)
    if (waiting === undefined) return
    this.#requests.delete(request)
    // What the last attempt met says more than the pool's summary of the same.
    const error = waiting.last?.code === code ? waiting.last : errorFromCode(code, { cause: waiting.last })
    waiting.handlers.refuse(error)
  }

  #build({ build, request, timeoutMs }: Extract<PoolAction, { type: 'build' }>): void {
    const { engine, diagnostics, rng, rules } = this.#parts
    const result = selectPath(this.#list, this.#guards, request, rng, Date.now(), rules)
    this.#setGuards(result.guards)
    if (!result.ok) {
      this.#lastError = errorFromCode(result.code)
      diagnostics.emit('circuit:failed', { code: result.code })
      this.#dispatch({ type: 'buildFailed', build, code: result.code, rule: result.rule })
      return
    }
    const [guard, middle, exit] = result.path
    this.#building.set(build, { path: result.path, startedMs: performance.now(), kind: request.kind })
    this.#dispatch({ type: 'buildStarted', build, path: [guard.nodeId, middle.nodeId, exit.nodeId] })
    const hops = result.path.map(({ nodeId, onionKey, address }) => ({ nodeId, onionKey: Buffer.from(onionKey), address }))
    engine.buildCircuit(hops, timeoutMs, (error, circuit) => this.#built(build, error, circuit))
  }

  #built(build: number, error: Error | undefined, circuit: number): void {
    const { diagnostics, engine } = this.#parts
    const started = this.#building.get(build)
    this.#building.delete(build)
    if (this.#closed) return
    if (started === undefined) {
      // Begun before a sleep: nobody knows it any more.
      if (error === undefined) engine.closeCircuit(circuit)
      return
    }
    if (error === undefined) {
      this.#paths.set(circuit, started.path)
      diagnostics.emit('circuit:built', { circuit, kind: started.kind, buildMs: performance.now() - started.startedMs })
      this.#dispatch({ type: 'built', build, circuit })
      if (this.#paths.has(circuit) && !engine.closing) this.#parts.onReady()
      return
    }
    this.#lastError = wrapError(error)
    const { code } = this.#lastError
    const { hop } = error as { hop?: number }
    diagnostics.emit('circuit:failed', { code, hop })
    this.#dispatch(hop === undefined ? { type: 'buildFailed', build, code } : { type: 'buildFailed', build, code, hop })
  }

  #probe(circuit: number, timeoutMs: number): void {
    void probe(this.#parts.engine, circuit, timeoutMs).then((alive) => this.#dispatch({ type: 'probed', circuit, alive }))
  }

  #guard(nodeId: string, outcome: 'succeeded' | 'failed', startedAtMs: number): void {
    const nowMs = Date.now()
    if (outcome === 'succeeded') this.#setGuards(guardSucceeded(this.#guards, nodeId, nowMs))
    else this.#setGuards(guardFailed(this.#guards, nodeId, startedAtMs, this.#parts.rng, nowMs))
  }

  #setGuards(guards: GuardState): void {
    const before = this.#guards
    if (guards === before) return
    this.#guards = guards
    if (guards.sampled !== before.sampled) this.#parts.onGuards(guards)
    const now = guardSummary(guards)
    const was = guardSummary(before)
    const { diagnostics } = this.#parts
    if (now.sampled !== was.sampled || now.primary !== was.primary || now.reachable !== was.reachable) {
      diagnostics.emit('guard', { sampled: now.sampled, primary: now.primary, reachable: now.reachable })
    }
    if (now.networkDown !== was.networkDown) diagnostics.emit('network', { state: now.networkDown ? 'down' : 'up' })
  }
}
