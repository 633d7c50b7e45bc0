/**
 * The circuit pool: `step` takes a state, an event and the time, and gives a new state and what to do. No clock, no I/O, no randomness of
 * its own; a run replays from its events.
 */
import { errorFromCode } from '../errors/index.js'
import { admit, cancelled, connected, offer, refuse, released, streamFailed, taken } from './assign.js'
import { buildFailed, built, coverRequests, hedge, supply } from './builds.js'
import { Draft } from './draft.js'
import { circuitClosed, forgetOld, overdueProbes, probed, watchStalls } from './health.js'
import { BASE_PORTS, POOL_LIMITS, type PoolLimits } from './limits.js'
import type { PoolEnvironment, PoolEvent, PoolState, PoolStep } from './types.js'

/** An empty pool, which builds nothing before a list is there. */
export function newPool(limits: Partial<PoolLimits> = {}): PoolState {
  return {
    limits: { ...POOL_LIMITS, ...limits },
    usable: false,
    exitsMs: Infinity,
    closed: false,
    circuits: new Map(),
    builds: new Map(),
    requests: new Map(),
    avoided: new Map(),
    ports: new Map(),
    basePorts: BASE_PORTS,
    claims: [],
    buildTimesMs: [],
    timeouts: { inARow: 0, sinceMs: -Infinity },
    connectTimesMs: [],
    failures: 0,
    retryMs: 0,
    poolRetryMs: 0,
    lastBuildCode: undefined,
    nextBuild: 1
  }
}

/** One step of the pool. */
export function step(state: PoolState, event: PoolEvent, env: PoolEnvironment): PoolStep {
  const draft = new Draft(state, env)
  handle(draft, event)
  if (draft.demandChanged) coverRequests(draft)
  if (draft.supplyChanged) supply(draft)
  return { state: draft.state(), actions: draft.actions, wakeAtMs: wakeAtMs(draft) }
}

function handle(draft: Draft, event: PoolEvent): void {
  switch (event.type) {
    case 'tick':
      return tick(draft)
    case 'list':
      return listChanged(draft, event)
    case 'request':
      return admit(draft, event)
    case 'taken':
      return taken(draft, event.circuit)
    case 'cancel':
      return cancelled(draft, event.request)
    case 'connected':
      return connected(draft, event.request)
    case 'streamFailed':
      return streamFailed(draft, event.request, event.code)
    case 'streamClosed':
      released(draft, event.circuit)
      return endUseless(draft)
    case 'counted':
      return counted(draft, event.streams)
    case 'buildStarted': {
      const build = draft.builds.get(event.build)
      if (build !== undefined) draft.builds.set(build.id, { ...build, path: event.path })
      return
    }
    case 'built':
      return built(draft, event.build, event.circuit)
    case 'buildFailed':
      return buildFailed(draft, event)
    case 'circuitClosed':
      return circuitClosed(draft, event.circuit, event.code)
    case 'probed':
      return probed(draft, event.circuit, event.alive)
    case 'networkChanged':
      return networkChanged(draft)
    case 'close':
      return close(draft)
    default:
      throw errorFromCode('ERR_ANONNET_INTERNAL', { detail: `pool event ${String((event satisfies never as { type: unknown }).type)}` })
  }
}

function tick(draft: Draft): void {
  overdue(draft)
  overdueProbes(draft)
  watchStalls(draft)
  endUseless(draft)
  forgetOld(draft)
  coverRequests(draft)
  hedge(draft)
  draft.supplyChanged = true
}

function listChanged(draft: Draft, { usable, exitsMs = Infinity }: Extract<PoolEvent, { readonly type: 'list' }>): void {
  draft.usable = usable
  draft.exitsMs = exitsMs
  for (const request of [...draft.requests.values()]) if (request.exitless) draft.requests.set(request.id, { ...request, exitless: false })
  draft.basePorts = BASE_PORTS
  draft.supplyChanged = true
  draft.demandChanged = true
  if (!usable) return
  draft.poolRetryMs = Math.min(draft.poolRetryMs, draft.nowMs)
  // What was ready for anybody is of no use if its exit left the list.
  for (const circuit of [...draft.circuits.values()]) {
    const idle = circuit.isolation === undefined && circuit.kind === 'exit'
    if (idle && !draft.env.accepts(circuit.path[2], undefined)) draft.endCircuit(circuit.id)
    else offer(draft, circuit.id)
  }
}

/** What failed on another network says nothing of this one. */
function networkChanged(draft: Draft): void {
  draft.avoided.clear()
  draft.failures = 0
  draft.retryMs = 0
  draft.poolRetryMs = 0
  draft.supplyChanged = true
  draft.demandChanged = true
}

function counted(draft: Draft, streams: ReadonlyMap<number, number>): void {
  // A stream that is being connected may be in the count or not yet. One too many delays an end, one too few cuts a stream off.
  const connecting = new Map<number, number>()
  for (const { attached } of draft.requests.values()) {
    if (attached !== undefined) connecting.set(attached.circuit, (connecting.get(attached.circuit) ?? 0) + 1)
  }
  for (const circuit of [...draft.circuits.values()]) {
    const count = streams.get(circuit.id)
    if (count === undefined) circuitClosed(draft, circuit.id, 'ERR_ANONNET_CLOSED')
    else draft.circuits.set(circuit.id, { ...circuit, open: count + (connecting.get(circuit.id) ?? 0) })
  }
  endUseless(draft)
}

/** Ends circuits that take no new streams and have none, and clean ones beyond what is ever kept. */
function endUseless(draft: Draft): void {
  let clean = 0
  for (const circuit of draft.circuits.values()) if (circuit.isolation === undefined) clean += 1
  for (const circuit of [...draft.circuits.values()]) {
    const surplus = circuit.isolation === undefined && clean > draft.limits.cleanMax
    if (circuit.open > 0 || (circuit.untilMs > draft.nowMs && !surplus)) continue
    if (circuit.isolation === undefined) clean -= 1
    draft.endCircuit(circuit.id)
  }
}

/** Requests whose time is over, and builds of which nothing was heard. */
function overdue(draft: Draft): void {
  for (const request of [...draft.requests.values()]) {
    if (request.attached !== undefined || request.deadlineMs > draft.nowMs) continue
    const code = draft.usable ? (request.lastCode ?? draft.lastBuildCode ?? 'ERR_ANONNET_TIMEOUT') : 'ERR_ANONNET_NOT_BOOTSTRAPPED'
    refuse(draft, request.id, code)
  }
  for (const build of [...draft.builds.values()]) {
    if (draft.nowMs < build.startedMs + build.timeoutMs + draft.limits.graceMs) continue
    buildFailed(draft, { type: 'buildFailed', build: build.id, code: 'ERR_ANONNET_TIMEOUT' })
  }
}

function close(draft: Draft): void {
  draft.closed = true
  for (const request of [...draft.requests.values()]) {
    if (request.attached === undefined) refuse(draft, request.id, 'ERR_ANONNET_CLOSED')
  }
  for (const circuit of [...draft.circuits.values()]) draft.endCircuit(circuit.id)
  draft.builds.clear()
  draft.requests.clear()
}

function wakeAtMs(draft: Draft): number | undefined {
  if (draft.closed) return undefined
  let next = Infinity
  const at = (ms: number): void => {
    if (ms < next) next = ms
  }
  let waiting = false
  for (const request of draft.requests.values()) {
    if (request.attached === undefined) {
      waiting = true
      at(request.deadlineMs)
    } else {
      at(request.attached.stallMs)
    }
  }
  for (const build of draft.builds.values()) {
    at(build.startedMs + build.timeoutMs + draft.limits.graceMs)
    if (build.hedgeMs !== undefined) at(build.hedgeMs)
  }
  for (const circuit of draft.circuits.values()) {
    if (circuit.open === 0) at(circuit.untilMs)
    if (circuit.probe !== undefined) at(Math.min(circuit.probe.outrunMs ?? Infinity, circuit.probe.untilMs + draft.limits.graceMs))
  }
  if (waiting && draft.retryMs > draft.nowMs) at(draft.retryMs)
  if (draft.poolRetryMs > draft.nowMs) at(draft.poolRetryMs)
  return next === Infinity ? undefined : Math.max(next, draft.nowMs + 1)
}

/** Counts for status. */
export interface PoolSummary {
  readonly clean: number
  readonly dirty: number
  readonly suspect: number
  readonly building: number
  readonly waiting: number
  readonly connecting: number
  readonly streams: number
}

/** How the pool is, without saying whose anything is. */
export function poolSummary(state: PoolState): PoolSummary {
  const circuits = [...state.circuits.values()]
  const requests = [...state.requests.values()]
  const waiting = requests.filter((request) => request.attached === undefined).length
  return {
    clean: circuits.filter((circuit) => circuit.isolation === undefined).length,
    dirty: circuits.filter((circuit) => circuit.isolation !== undefined).length,
    suspect: circuits.filter((circuit) => circuit.probe !== undefined).length,
    building: state.builds.size,
    waiting,
    connecting: requests.length - waiting,
    streams: circuits.reduce((sum, circuit) => sum + circuit.open, 0)
  }
}
