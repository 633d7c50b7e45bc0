/** A state while a step works on it: the state that was handed in stays as it is, and what does not change is shared. */
import type { PathRequest } from '../routing/types.js'
import type { AvoidedRelay, PoolAction, PoolBuild, PoolCircuit, PoolEnvironment, PoolRequest, PoolState } from './types.js'

/** A map that is copied at the first change. */
export class LazyMap<Key, Value> {
  #map: ReadonlyMap<Key, Value>
  #own: Map<Key, Value> | undefined

  constructor(map: ReadonlyMap<Key, Value>) {
    this.#map = map
  }

  #writable(): Map<Key, Value> {
    if (this.#own === undefined) {
      this.#own = new Map(this.#map)
      this.#map = this.#own
    }
    return this.#own
  }

  get size(): number {
    return this.#map.size
  }

  get(key: Key): Value | undefined {
    return this.#map.get(key)
  }

  has(key: Key): boolean {
    return this.#map.has(key)
  }

  values(): IterableIterator<Value> {
    return this.#map.values()
  }

  entries(): IterableIterator<[Key, Value]> {
    return this.#map.entries()
  }

  set(key: Key, value: Value): void {
    this.#writable().set(key, value)
  }

  delete(key: Key): void {
    if (this.#map.has(key)) this.#writable().delete(key)
  }

  clear(): void {
    if (this.#map.size > 0) this.#writable().clear()
  }

  /** The map as it is now; it is not to be changed afterwards. */
  done(): ReadonlyMap<Key, Value> {
    return this.#map
  }
}

/** The mutable twin of a {@link PoolState}, for the length of one step. */
export class Draft {
  readonly limits: PoolState['limits']
  readonly circuits: LazyMap<number, PoolCircuit>
  readonly builds: LazyMap<number, PoolBuild>
  readonly requests: LazyMap<number, PoolRequest>
  readonly avoided: LazyMap<string, AvoidedRelay>
  readonly ports: LazyMap<number, number>
  readonly actions: PoolAction[] = []
  usable: boolean
  exitsMs: number
  closed: boolean
  basePorts: readonly number[]
  claims: readonly number[]
  buildTimesMs: readonly number[]
  timeouts: PoolState['timeouts']
  connectTimesMs: readonly number[]
  failures: number
  retryMs: number
  poolRetryMs: number
  lastBuildCode: PoolState['lastBuildCode']
  nextBuild: number
  /** Whether the supply of clean circuits has to be looked at. */
  supplyChanged = false
  /** Whether somebody may need a build who has none. */
  demandChanged = false

  constructor(
    state: PoolState,
    readonly env: PoolEnvironment
  ) {
    this.limits = state.limits
    this.circuits = new LazyMap(state.circuits)
    this.builds = new LazyMap(state.builds)
    this.requests = new LazyMap(state.requests)
    this.avoided = new LazyMap(state.avoided)
    this.ports = new LazyMap(state.ports)
    this.usable = state.usable
    this.exitsMs = state.exitsMs
    this.closed = state.closed
    this.basePorts = state.basePorts
    this.claims = state.claims
    this.buildTimesMs = state.buildTimesMs
    this.timeouts = state.timeouts
    this.connectTimesMs = state.connectTimesMs
    this.failures = state.failures
    this.retryMs = state.retryMs
    this.poolRetryMs = state.poolRetryMs
    this.lastBuildCode = state.lastBuildCode
    this.nextBuild = state.nextBuild
  }

  get nowMs(): number {
    return this.env.nowMs
  }

  /** A length of time, varied by the jitter both ways. */
  jittered(ms: number): number {
    const ratio = this.limits.timeJitterRatio
    return Math.round(ms * (1 - ratio + 2 * ratio * this.env.rng()))
  }

  startBuild(request: PathRequest, timeoutMs: number, waiting?: { readonly group: string; readonly hedgeMs: number }): void {
    const build: PoolBuild = {
      id: this.nextBuild,
      request,
      group: waiting?.group,
      path: undefined,
      startedMs: this.nowMs,
      timeoutMs,
      hedgeMs: waiting?.hedgeMs
    }
    this.nextBuild += 1
    this.builds.set(build.id, build)
    this.actions.push({ type: 'build', build: build.id, request, timeoutMs })
  }

  /** Takes a circuit out. What was being connected on it is told by the engine shortly, or had been connected. */
  dropCircuit(id: number): void {
    this.circuits.delete(id)
    this.supplyChanged = true
    this.demandChanged = true
    for (const request of [...this.requests.values()]) {
      if (request.attached?.circuit !== id) continue
      this.requests.set(request.id, { ...request, attached: { ...request.attached, stallMs: this.nowMs + this.limits.graceMs } })
    }
  }

  /** Ends a circuit of ours. */
  endCircuit(id: number): void {
    this.dropCircuit(id)
    this.actions.push({ type: 'close', circuit: id })
  }

  state(): PoolState {
    return {
      limits: this.limits,
      usable: this.usable,
      exitsMs: this.exitsMs,
      closed: this.closed,
      circuits: this.circuits.done(),
      builds: this.builds.done(),
      requests: this.requests.done(),
      avoided: this.avoided.done(),
      ports: this.ports.done(),
      basePorts: this.basePorts,
      claims: this.claims,
      buildTimesMs: this.buildTimesMs,
      timeouts: this.timeouts,
      connectTimesMs: this.connectTimesMs,
      failures: this.failures,
      retryMs: this.retryMs,
      poolRetryMs: this.poolRetryMs,
      lastBuildCode: this.lastBuildCode,
      nextBuild: this.nextBuild
    }
  }
}
