/** Which circuit a request goes on: its own, a clean one that becomes its own, or none yet. */
import type { ErrorCode } from '../errors/index.js'
import { isErrorCode } from '../errors/index.js'
import type { Draft } from './draft.js'
import { stallDelayMs, withSample } from './timing.js'
import type { PoolCircuit, PoolEvent, PoolRequest } from './types.js'

/** Claims remembered for the predicted need. */
const MAX_CLAIMS = 64

type RequestEvent = Extract<PoolEvent, { readonly type: 'request' }>

/** Ends a request with a code. */
export function refuse(draft: Draft, id: number, code: ErrorCode): void {
  draft.requests.delete(id)
  draft.actions.push({ type: 'refuse', request: id, code })
}

/** Takes in a new request and attaches it if a circuit is there. */
export function admit(draft: Draft, event: RequestEvent): void {
  if (draft.closed) return refuse(draft, event.request, 'ERR_ANONNET_CLOSED')
  const known = draft.requests.has(event.request)
  if (known || (event.kind === 'connect' && event.target === undefined)) {
    // The request under that id goes on: two answers to one request are worse than an error for the second.
    if (!known) refuse(draft, event.request, 'ERR_ANONNET_INVALID_ARGUMENT')
    return
  }
  if (draft.requests.size >= draft.limits.maxRequests) return refuse(draft, event.request, 'ERR_ANONNET_RESOURCE_LIMIT')
  const waitMs = Math.min(draft.limits.maxRequestWaitMs, Math.max(0, event.waitMs ?? draft.limits.requestWaitMs))
  const kind = event.kind === 'dir' ? 'dir' : 'exit'
  const request: PoolRequest = {
    id: event.request,
    isolation: event.isolation,
    kind,
    group: JSON.stringify([kind, event.isolation, event.exit ?? null]),
    // A lookup has no port: any exit will do.
    target: event.kind === 'connect' ? event.target : undefined,
    exit: event.exit,
    deadlineMs: draft.nowMs + waitMs,
    attempts: 0,
    tried: [],
    avoid: [],
    lastCode: undefined,
    exitless: false,
    outran: false,
    attached: undefined
  }
  if (event.on !== undefined) return watch(draft, request, event.on)
  draft.requests.set(request.id, request)
  if (request.target !== undefined) rememberPort(draft, request.target.port)
  if (!assign(draft, request)) draft.demandChanged = true
}

/** Takes in a request that is under way on its key's circuit. Without that circuit it has failed, which is told. */
function watch(draft: Draft, request: PoolRequest, on: number): void {
  const circuit = draft.circuits.get(on)
  if (circuit?.isolation === request.isolation) attached(draft, circuit, request)
}

function rememberPort(draft: Draft, port: number): void {
  if (draft.basePorts.includes(port)) return
  if (!draft.ports.has(port)) draft.supplyChanged = true
  draft.ports.delete(port)
  draft.ports.set(port, draft.nowMs)
  if (draft.ports.size <= draft.limits.maxPorts) return
  // Insertion order is order of use: the first is the one that was not asked for longest.
  for (const [oldest] of draft.ports.entries()) {
    draft.ports.delete(oldest)
    break
  }
}

/** Whether a circuit may take a request, whoever owns it. */
export function fits(draft: Draft, circuit: PoolCircuit, request: PoolRequest): boolean {
  return (
    circuit.kind === request.kind &&
    circuit.probe === undefined &&
    circuit.untilMs > draft.nowMs &&
    circuit.open < draft.limits.maxStreamsPerCircuit &&
    (request.exit === undefined || request.exit === circuit.path[2]) &&
    !request.tried.includes(circuit.id) &&
    !request.avoid.includes(circuit.path[2]) &&
    (request.kind === 'dir' || draft.env.accepts(circuit.path[2], request.target))
  )
}

/** Attaches a waiting request to its key's circuit, else to a clean one, which is that key's from then on. */
export function assign(draft: Draft, request: PoolRequest): boolean {
  let clean: PoolCircuit | undefined
  let cleanIsAvoided = false
  for (const circuit of draft.circuits.values()) {
    if (circuit.isolation !== undefined && circuit.isolation !== request.isolation) continue
    if (!fits(draft, circuit, request)) continue
    if (circuit.isolation === request.isolation) {
      attach(draft, circuit, request)
      return true
    }
    // A clean circuit through a relay that just failed elsewhere is the last choice.
    const avoided = circuit.path.some((nodeId) => isAvoided(draft, nodeId))
    if (clean === undefined || (cleanIsAvoided && !avoided)) {
      clean = circuit
      cleanIsAvoided = avoided
    }
  }
  if (clean === undefined) return false
  claim(draft, clean, request)
  return true
}

function claim(draft: Draft, circuit: PoolCircuit, request: PoolRequest): void {
  const { streamTimeMs } = draft.limits
  draft.claims = [...draft.claims.slice(-(MAX_CLAIMS - 1)), draft.nowMs]
  draft.supplyChanged = true
  attach(draft, { ...circuit, isolation: request.isolation, untilMs: draft.nowMs + draft.jittered(streamTimeMs) }, request)
}

function attach(draft: Draft, circuit: PoolCircuit, request: PoolRequest): void {
  attached(draft, circuit, request)
  draft.actions.push({ type: 'attach', request: request.id, circuit: circuit.id })
}

function attached(draft: Draft, circuit: PoolCircuit, request: PoolRequest): void {
  draft.circuits.set(circuit.id, { ...circuit, open: circuit.open + 1 })
  draft.requests.set(request.id, {
    ...request,
    attempts: request.attempts + 1,
    attached: { circuit: circuit.id, sinceMs: draft.nowMs, stallMs: draft.nowMs + stallDelayMs(draft) }
  })
}

/** Whether a relay failed so recently that others are preferred. */
export function isAvoided(draft: Draft, nodeId: string): boolean {
  return (draft.avoided.get(nodeId)?.untilMs ?? 0) > draft.nowMs
}

/** Offers a circuit to those who wait, the longest waiting first; if a group is named, to it only. */
export function offer(draft: Draft, id: number, group?: string): void {
  for (const request of [...draft.requests.values()]) {
    const circuit = draft.circuits.get(id)
    if (circuit === undefined) return
    if (request.attached !== undefined || (group !== undefined && request.group !== group)) continue
    if (circuit.isolation !== undefined && circuit.isolation !== request.isolation) continue
    if (!fits(draft, circuit, request)) continue
    if (circuit.isolation === undefined) claim(draft, circuit, request)
    else attach(draft, circuit, request)
  }
}

/** One stream less on a circuit. */
export function released(draft: Draft, id: number | undefined): void {
  const circuit = id === undefined ? undefined : draft.circuits.get(id)
  if (circuit === undefined || circuit.open === 0) return
  draft.circuits.set(circuit.id, { ...circuit, open: circuit.open - 1 })
  // An idle circuit can make room for somebody who waits for a build.
  if (circuit.open === 1) draft.demandChanged = true
}

/** The client went away. */
export function cancelled(draft: Draft, id: number): void {
  const request = draft.requests.get(id)
  draft.requests.delete(id)
  released(draft, request?.attached?.circuit)
}

/** A request reached its target: from here on only its circuit's count of streams knows of it. */
export function connected(draft: Draft, id: number): void {
  const request = draft.requests.get(id)
  draft.requests.delete(id)
  if (request?.attached === undefined) return
  draft.connectTimesMs = withSample(draft.connectTimesMs, draft.nowMs - request.attached.sinceMs)
  const circuit = draft.circuits.get(request.attached.circuit)
  if (circuit !== undefined) draft.circuits.set(circuit.id, { ...circuit, heardMs: draft.nowMs, probe: undefined })
}

/** One stream more on a circuit, connected without having been a request. */
export function taken(draft: Draft, id: number): void {
  const circuit = draft.circuits.get(id)
  if (circuit !== undefined) draft.circuits.set(id, { ...circuit, open: circuit.open + 1, heardMs: draft.nowMs, probe: undefined })
}

/** Codes that say that the circuit failed and not the target. */
const CIRCUIT_CODES: ReadonlySet<string> = new Set<ErrorCode>([
  'ERR_ANONNET_CIRCUIT_CLOSED',
  'ERR_ANONNET_CIRCUIT_PROTOCOL',
  'ERR_ANONNET_CELL_MALFORMED',
  'ERR_ANONNET_HANDSHAKE_FAILED',
  'ERR_ANONNET_EXTEND_REFUSED',
  'ERR_ANONNET_LINK_CLOSED',
  'ERR_ANONNET_LINK_PROTOCOL',
  'ERR_ANONNET_LINK_UNREACHABLE',
  'ERR_ANONNET_STREAM_LIMIT'
])

/** Codes with which another exit may do better. */
const EXIT_CODES: ReadonlySet<string> = new Set<ErrorCode>(['ERR_ANONNET_RESOURCE_LIMIT', 'ERR_ANONNET_RATE_LIMITED'])

/** An attached request failed before it was connected: another circuit if that can help, else the end. */
export function streamFailed(draft: Draft, id: number, reason: string): void {
  const code: ErrorCode = isErrorCode(reason) ? reason : 'ERR_ANONNET_INTERNAL'
  const request = draft.requests.get(id)
  if (request === undefined) return refuse(draft, id, code)
  const circuit = request.attached === undefined ? undefined : draft.circuits.get(request.attached.circuit)
  released(draft, circuit?.id)
  const otherExit = EXIT_CODES.has(code)
  const again = (otherExit || CIRCUIT_CODES.has(code)) && request.attempts < draft.limits.maxAttempts && request.deadlineMs > draft.nowMs
  if (!again) return refuse(draft, id, code)
  // The circuit said itself that it takes no more: nobody else need ask.
  if (circuit !== undefined && code === 'ERR_ANONNET_STREAM_LIMIT') expire(draft, circuit.id)
  const waiting: PoolRequest = {
    ...request,
    attached: undefined,
    lastCode: code,
    tried: circuit === undefined ? request.tried : [...request.tried, circuit.id],
    avoid: circuit !== undefined && otherExit ? [...request.avoid, circuit.path[2]] : request.avoid
  }
  draft.requests.set(id, waiting)
  if (!assign(draft, waiting)) draft.demandChanged = true
}

function expire(draft: Draft, id: number): void {
  const circuit = draft.circuits.get(id)
  if (circuit !== undefined) draft.circuits.set(id, { ...circuit, untilMs: Math.min(circuit.untilMs, draft.nowMs) })
}
