/** Which circuits and relays are not to be relied on: stalled streams, probes, circuits that ended, relays that failed. */
import { fits, offer } from './assign.js'
import type { Draft } from './draft.js'
import { probeTimeoutMs, stallDelayMs } from './timing.js'
import type { PoolCircuit, PoolRequest } from './types.js'

/** Prefers other relays for a while, longer each time. */
export function avoidRelay(draft: Draft, nodeId: string, named = false): void {
  const { avoidFirstMs, avoidMaxMs, maxAvoided } = draft.limits
  const before = draft.avoided.get(nodeId)
  // Several circuits through one relay end at once: that is one failure.
  if (before !== undefined && before.untilMs > draft.nowMs) {
    if (named && !before.named) draft.avoided.set(nodeId, { ...before, named })
    return
  }
  const count = (before?.count ?? 0) + 1
  draft.avoided.delete(nodeId)
  draft.avoided.set(nodeId, { untilMs: draft.nowMs + Math.min(avoidMaxMs, avoidFirstMs * 2 ** Math.min(count - 1, 30)), count, named })
  if (draft.avoided.size <= maxAvoided) return
  for (const [oldest] of draft.avoided.entries()) {
    draft.avoided.delete(oldest)
    break
  }
}

/** A relay did its part. */
export function forgive(draft: Draft, nodeId: string): void {
  draft.avoided.delete(nodeId)
}

/** Forgets failures that are long over. */
export function forgetOld(draft: Draft): void {
  for (const [nodeId, { untilMs }] of [...draft.avoided.entries()]) {
    if (draft.nowMs - untilMs > draft.limits.avoidMaxMs) draft.avoided.delete(nodeId)
  }
}

/** Streams of a circuit that are connected: those that would be lost with it. */
function connectedStreams(draft: Draft, circuit: PoolCircuit): number {
  let connecting = 0
  for (const request of draft.requests.values()) if (request.attached?.circuit === circuit.id) connecting += 1
  return circuit.open - connecting
}

/** Makes circuits suspect whose streams do not get connected, and with each of them the others that share a relay with it. */
export function watchStalls(draft: Draft): void {
  const delayMs = stallDelayMs(draft)
  for (const request of [...draft.requests.values()]) {
    const { attached } = request
    if (attached === undefined || attached.stallMs > draft.nowMs) continue
    const circuit = draft.circuits.get(attached.circuit)
    if (circuit === undefined) {
      // Its end was told a while ago, and no failure of this request with it: it had been connected.
      draft.requests.delete(request.id)
      continue
    }
    if (request.deadlineMs <= draft.nowMs) {
      // The target is slow, the circuit is not: from here on the stream's own timeout counts.
      draft.requests.delete(request.id)
      continue
    }
    const heardAgoMs = draft.nowMs - Math.max(circuit.heardMs, attached.sinceMs)
    const alive = circuit.probe === undefined && heardAgoMs < delayMs
    draft.requests.set(request.id, {
      ...request,
      attached: { ...attached, stallMs: draft.nowMs + (alive ? delayMs - heardAgoMs : delayMs) }
    })
    if (!alive && circuit.probe === undefined) suspect(draft, circuit, delayMs)
  }
}

function suspect(draft: Draft, circuit: PoolCircuit, delayMs: number): void {
  probe(draft, circuit, 0)
  let probes = 0
  for (const other of [...draft.circuits.values()]) {
    const shares = other.id !== circuit.id && other.path.some((nodeId) => circuit.path.includes(nodeId))
    if (!shares || other.probe !== undefined || other.untilMs <= draft.nowMs || draft.nowMs - other.heardMs < delayMs) continue
    probes += 1
    if (probes > draft.limits.maxProbes) return
    probe(draft, other, 0)
  }
}

function probe(draft: Draft, circuit: PoolCircuit, silent: number): void {
  const timeoutMs = probeTimeoutMs(draft)
  const sinceMs = circuit.probe?.sinceMs ?? draft.nowMs
  draft.demandChanged = true
  draft.circuits.set(circuit.id, { ...circuit, probe: { sinceMs, untilMs: draft.nowMs + timeoutMs, silent } })
  draft.actions.push({ type: 'probe', circuit: circuit.id, timeoutMs })
}

/**
 * A circuit proved to be alive by what began at `sinceMs`. What has gone without an answer since before that and carries nothing is given as
 * long again, instead of the whole time of a probe: whoever waits on it is better off here. Once for each request, so that one whose target
 * is slow comes to rest.
 */
export function outrun(draft: Draft, id: number, sinceMs: number): void {
  const alive = draft.circuits.get(id)
  if (alive === undefined) return
  const tookMs = draft.nowMs - sinceMs
  for (const request of [...draft.requests.values()]) {
    const silent = request.attached === undefined ? undefined : draft.circuits.get(request.attached.circuit)
    if (silent?.probe === undefined || silent.probe.outrunMs !== undefined || silent.probe.sinceMs > sinceMs) continue
    const free = alive.isolation === undefined || alive.isolation === request.isolation
    if (request.outran || !free || !fits(draft, alive, request) || connectedStreams(draft, silent) > 0) continue
    const outrunMs = silent.probe.sinceMs + Math.max(draft.limits.outrunMinMs, 2 * tookMs)
    draft.circuits.set(silent.id, { ...silent, probe: { ...silent.probe, outrunMs } })
  }
}

/** The outcome of a probe. */
export function probed(draft: Draft, id: number, alive: boolean): void {
  const circuit = draft.circuits.get(id)
  if (circuit === undefined) return
  if (alive) {
    draft.circuits.set(id, { ...circuit, heardMs: draft.nowMs, probe: undefined })
    if (circuit.probe?.silent === 0) outrun(draft, id, circuit.probe.sinceMs)
    offer(draft, id)
    return
  }
  if (circuit.probe === undefined) return
  const silent = circuit.probe.silent + 1
  if (silent < draft.limits.probesToEndBusy && connectedStreams(draft, circuit) > 0) {
    probe(draft, circuit, silent)
    return
  }
  giveUp(draft, circuit, circuit.probe.sinceMs)
}

function giveUp(draft: Draft, circuit: PoolCircuit, sinceMs: number, change: Partial<PoolRequest> = {}): void {
  const { id } = circuit
  // That it was silent may be this machine's load: the requests on it are moved, and that is not an attempt that failed.
  for (const request of [...draft.requests.values()]) {
    if (request.attached?.circuit === id) draft.requests.set(request.id, { ...request, ...change, attempts: request.attempts - 1 })
  }
  draft.endCircuit(id)
  avoidRelay(draft, circuit.path[1])
  avoidRelay(draft, circuit.path[2])
  // If another circuit through this guard was heard in the meantime, the guard is not the one that is silent.
  const guardHeard = [...draft.circuits.values()].some((other) => other.path[0] === circuit.path[0] && other.heardMs >= sinceMs)
  if (!guardHeard) avoidRelay(draft, circuit.path[0])
}

/** Gives up on circuits that others outran, and on probes whose outcome was never told. */
export function overdueProbes(draft: Draft): void {
  for (const circuit of [...draft.circuits.values()]) {
    if (circuit.probe?.outrunMs !== undefined && circuit.probe.outrunMs <= draft.nowMs)
      giveUp(draft, circuit, circuit.probe.sinceMs, { outran: true })
    else if (circuit.probe !== undefined && draft.nowMs >= circuit.probe.untilMs + draft.limits.graceMs) probed(draft, circuit.id, false)
  }
}

/** A circuit ended without our doing. Its teardown does not say who did it; the guard is the last to be suspected. */
export function circuitClosed(draft: Draft, id: number, code: string): void {
  const circuit = draft.circuits.get(id)
  if (circuit === undefined) return
  draft.dropCircuit(id)
  if (code === 'ERR_ANONNET_CLOSED' || code === 'ERR_ANONNET_ABORTED') return
  if (code.startsWith('ERR_ANONNET_LINK_')) {
    avoidRelay(draft, circuit.path[0])
    return
  }
  avoidRelay(draft, circuit.path[1])
  avoidRelay(draft, circuit.path[2])
}
