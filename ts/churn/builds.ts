/** Circuits on their way: for those who wait, beside slow ones, and ahead of need. */
import { type ErrorCode, isErrorCode } from '../errors/index.js'
import type { PathRequest } from '../routing/types.js'
import { fits, isAvoided, offer, refuse } from './assign.js'
import type { Draft } from './draft.js'
import { avoidRelay, forgive, outrun } from './health.js'
import { backoffMs, buildTimeoutMs, hedgeDelayMs, withSample } from './timing.js'
import type { CircuitPath, PoolBuild, PoolCircuit, PoolEvent, PoolRequest } from './types.js'

type FailureEvent = Extract<PoolEvent, { readonly type: 'buildFailed' }>

/** Stands for every name in questions about ports. */
const ANY_NAME = 'name.invalid'

/** Relays that a new path does without where it can, the surest first: those known to fail, those that may, and those of the builds that it stands beside. */
function avoidList(draft: Draft, request: PoolRequest | undefined, beside: readonly (CircuitPath | undefined)[]): string[] {
  const all = new Set<string>(request?.avoid)
  const failed = [...draft.avoided.entries()].filter(([nodeId]) => isAvoided(draft, nodeId))
  for (const [nodeId, { named }] of failed) if (named) all.add(nodeId)
  for (const [nodeId] of failed) all.add(nodeId)
  for (const path of beside) for (const nodeId of path ?? []) all.add(nodeId)
  return [...all]
}

/** Whether a build, once it is done, could take a request. */
function covers(draft: Draft, build: PoolBuild, request: PoolRequest): boolean {
  if (build.request.kind !== request.kind) return false
  if (request.exit !== undefined && (build.path?.[2] ?? build.request.exit) !== request.exit) return false
  if (build.path !== undefined) {
    if (request.avoid.includes(build.path[2])) return false
    return request.kind === 'dir' || draft.env.accepts(build.path[2], request.target)
  }
  const { target } = build.request
  return request.target === undefined || (target?.host === request.target.host && target.port === request.target.port)
}

/** Whether a request needs a circuit: it waits, or the one that it is on is suspect and no other is at hand. */
function needs(draft: Draft, request: PoolRequest): boolean {
  if (request.attached === undefined) return !request.exitless
  const suspect = draft.circuits.get(request.attached.circuit)
  if (suspect?.probe === undefined) return false
  const { sinceMs } = suspect.probe
  for (const other of draft.circuits.values()) {
    const free = other.isolation === undefined || other.isolation === request.isolation
    if (free && other.heardMs >= sinceMs && fits(draft, other, request)) return false
  }
  return true
}

const hasRoom = (draft: Draft): boolean =>
  draft.builds.size < draft.limits.maxBuilds && draft.builds.size + draft.circuits.size < draft.limits.maxCircuits

/** Whether somebody who waits may have a build; where there are too many circuits, an idle one makes room. */
function makeRoom(draft: Draft): boolean {
  if (hasRoom(draft)) return true
  if (draft.builds.size >= draft.limits.maxBuilds) return false
  let idle: PoolCircuit | undefined
  for (const circuit of draft.circuits.values()) {
    if (circuit.open === 0 && circuit.isolation !== undefined && (idle === undefined || circuit.untilMs < idle.untilMs)) idle = circuit
  }
  if (idle === undefined) return false
  draft.endCircuit(idle.id)
  return true
}

/** Sees to it that a build is under way for every request that needs a circuit. */
export function coverRequests(draft: Draft): void {
  draft.demandChanged = false
  if (!draft.usable || draft.closed || draft.nowMs < draft.retryMs || draft.requests.size === 0) return
  const seen = new Set<string>()
  const taken = new Set<number>()
  for (const request of [...draft.requests.values()]) {
    if (!needs(draft, request)) continue
    const like = `${request.group}${request.target?.host ?? ''}|${request.target?.port ?? ''}|${request.avoid.join()}`
    if (seen.has(like)) continue
    seen.add(like)
    let found = false
    let free: PoolBuild | undefined
    for (const build of draft.builds.values()) {
      if (!covers(draft, build, request)) continue
      if (build.group === request.group) found = true
      else if (build.group === undefined && !taken.has(build.id)) free ??= build
    }
    if (found) continue
    // A build that was begun for nobody may go through what is broken: who is on a suspect circuit gets one of its own, elsewhere.
    if (free !== undefined && request.attached === undefined) {
      taken.add(free.id)
      const hedgeMs = Math.max(draft.nowMs, free.startedMs + hedgeDelayMs(draft))
      draft.builds.set(free.id, { ...free, group: request.group, hedgeMs })
      draft.supplyChanged = true
      continue
    }
    if (!makeRoom(draft)) return
    startFor(draft, request, [])
  }
}

function startFor(draft: Draft, request: PoolRequest, beside: readonly (CircuitPath | undefined)[]): void {
  const suspect = request.attached === undefined ? undefined : draft.circuits.get(request.attached.circuit)
  const path: PathRequest = {
    kind: request.kind,
    target: request.target,
    exit: request.exit,
    ports: request.kind === 'exit' ? portsOfGroup(draft, request) : undefined,
    avoid: avoidList(draft, request, [suspect?.path, ...beside])
  }
  // Who is on a suspect circuit has waited already, and more relays than that one may be gone: two ways at once, as soon as the first one's is known.
  const delayMs = suspect !== undefined && beside.length === 0 ? 1 : hedgeDelayMs(draft)
  draft.startBuild(path, buildTimeoutMs(draft), { group: request.group, hedgeMs: draft.nowMs + delayMs })
}

/** The ports that others of the same group wait for: an exit that takes them too saves a circuit. */
function portsOfGroup(draft: Draft, request: PoolRequest): number[] {
  const ports = new Set<number>()
  for (const other of draft.requests.values()) {
    if (other.group === request.group && other.target !== undefined && ports.size < draft.limits.maxPorts) ports.add(other.target.port)
  }
  return [...ports]
}

/** Starts another build beside one that somebody waits for and that takes long. */
export function hedge(draft: Draft): void {
  if (!draft.usable || draft.closed) return
  for (const build of [...draft.builds.values()]) {
    if (build.hedgeMs === undefined || build.hedgeMs > draft.nowMs) continue
    const request = hedgedFor(draft, build)
    draft.builds.set(build.id, { ...build, hedgeMs: request === undefined ? draft.nowMs + hedgeDelayMs(draft) : undefined })
    if (request === undefined) continue
    startFor(
      draft,
      request,
      [...draft.builds.values()].filter((other) => other.group === build.group).map((other) => other.path)
    )
  }
}

/** The request for which a build may get another one beside it. */
function hedgedFor(draft: Draft, build: PoolBuild): PoolRequest | undefined {
  if (!hasRoom(draft)) return undefined
  let beside = 0
  for (const other of draft.builds.values()) if (other.group === build.group) beside += 1
  if (beside > draft.limits.maxHedges) return undefined
  for (const request of draft.requests.values()) if (request.group === build.group && needs(draft, request)) return request
  return undefined
}

/** How many clean circuits there should be: a few, and more while they are taken fast. */
function wantedClean(draft: Draft): number {
  const recent = draft.claims.filter((ms) => draft.nowMs - ms < draft.limits.claimWindowMs).length
  return Math.min(draft.limits.cleanMax, draft.limits.cleanTarget + Math.ceil(recent / 4))
}

/** Builds ahead: enough clean circuits, and one for each port that was asked for lately. */
export function supply(draft: Draft): void {
  draft.supplyChanged = false
  if (!draft.usable || draft.closed || draft.nowMs < draft.poolRetryMs) return
  const clean = [...draft.circuits.values()].filter(
    (circuit) => circuit.isolation === undefined && circuit.kind === 'exit' && circuit.untilMs > draft.nowMs
  )
  const coming = [...draft.builds.values()].filter((build) => build.group === undefined)
  let builds = coming.length
  const start = (ports: readonly number[]): void => {
    if (builds >= draft.limits.maxPoolBuilds || !hasRoom(draft)) return
    builds += 1
    draft.startBuild({ kind: 'exit', ports, avoid: avoidList(draft, undefined, []), patient: true }, buildTimeoutMs(draft))
  }
  for (let have = clean.length + coming.length; have < wantedClean(draft); have++) start(draft.basePorts)
  for (const [port, lastMs] of [...draft.ports.entries()]) {
    if (draft.nowMs - lastMs > draft.limits.portMemoryMs) {
      draft.ports.delete(port)
      continue
    }
    const target = { host: ANY_NAME, port }
    const there = clean.some((circuit) => draft.env.accepts(circuit.path[2], target))
    const onItsWay = coming.some((build) => (build.path ? draft.env.accepts(build.path[2], target) : build.request.ports?.includes(port)))
    if (!there && !onItsWay) start([port])
  }
}

/** A circuit is ready: it is clean, and the one who waits longest and fits takes it. */
export function built(draft: Draft, id: number, circuit: number): void {
  const build = draft.builds.get(id)
  draft.builds.delete(id)
  draft.demandChanged = true
  if (build?.path === undefined || draft.closed || draft.circuits.has(circuit)) {
    // Not asked for, or too late: nobody would ever end it.
    if (!draft.circuits.has(circuit)) draft.actions.push({ type: 'close', circuit })
    return
  }
  draft.buildTimesMs = withSample(draft.buildTimesMs, draft.nowMs - build.startedMs)
  draft.timeouts = { inARow: 0, sinceMs: draft.nowMs }
  draft.failures = 0
  draft.retryMs = 0
  draft.poolRetryMs = 0
  draft.lastBuildCode = undefined
  draft.supplyChanged = true
  for (const nodeId of build.path) forgive(draft, nodeId)
  draft.actions.push({ type: 'guard', nodeId: build.path[0], outcome: 'succeeded', startedAgoMs: draft.nowMs - build.startedMs })
  draft.circuits.set(circuit, {
    id: circuit,
    kind: build.request.kind,
    path: build.path,
    isolation: undefined,
    untilMs: draft.nowMs + draft.jittered(draft.limits.cleanTimeMs),
    open: 0,
    heardMs: draft.nowMs,
    probe: undefined
  })
  outrun(draft, circuit, build.startedMs)
  // Its own group first, so that one who asks for many keys does not starve another; then whoever waits.
  offer(draft, circuit, build.group)
  offer(draft, circuit)
}

/** Codes that are about this machine and say nothing of any relay. */
export const LOCAL_CODES: ReadonlySet<string> = new Set<ErrorCode>([
  'ERR_ANONNET_ABORTED',
  'ERR_ANONNET_CLOSED',
  'ERR_ANONNET_INTERNAL',
  'ERR_ANONNET_INVALID_ARGUMENT',
  'ERR_ANONNET_RESOURCE_LIMIT'
])

/** A build failed: whose fault it is, and when to go on. */
export function buildFailed(draft: Draft, event: FailureEvent): void {
  const build = draft.builds.get(event.build)
  if (build === undefined) return
  draft.builds.delete(build.id)
  draft.supplyChanged = true
  draft.demandChanged = true
  const code: ErrorCode = isErrorCode(event.code) ? event.code : 'ERR_ANONNET_INTERNAL'
  draft.lastBuildCode = code
  if (event.rule === 'exit') {
    noExit(draft, build, code)
    return
  }
  if (event.rule === undefined) blame(draft, build, code, event.hop)
  draft.failures += 1
  draft.retryMs = draft.nowMs + backoffMs(draft.limits, draft.failures, draft.limits.backoffMaxMs, draft.env.rng)
  if (build.group !== undefined) return
  draft.poolRetryMs = draft.nowMs + backoffMs(draft.limits, draft.failures, draft.limits.poolBackoffMaxMs, draft.env.rng)
}

/**
 * No exit takes what was asked for. Where there are exits, that is their word; a list without any is one of a network that is just coming up,
 * or was hard to reach from where lists are made, and who has the time waits for the next one.
 */
function noExit(draft: Draft, build: PoolBuild, code: ErrorCode): void {
  const { target, ports = [] } = build.request
  if (build.group !== undefined) {
    for (const request of [...draft.requests.values()]) {
      const same = request.group === build.group && request.target?.host === target?.host && request.target?.port === target?.port
      if (!same || request.attached !== undefined) continue
      const lastCode = request.lastCode ?? code
      if (draft.exitsMs > request.deadlineMs) refuse(draft, request.id, lastCode)
      else draft.requests.set(request.id, { ...request, lastCode, exitless: true })
    }
    return
  }
  for (const port of ports) draft.ports.delete(port)
  if (ports === draft.basePorts && ports.length > 0) draft.basePorts = []
  else if (ports.length === 0) draft.poolRetryMs = draft.nowMs + draft.limits.poolBackoffMaxMs
}

/**
 * Only a failure of the first hop is the guard's. Later ones are the relay's that was being reached, and prove the guard good: a middle
 * that fails on purpose must not push a client off its guard.
 */
function blame(draft: Draft, build: PoolBuild, code: ErrorCode, hop: number | undefined): void {
  const startedAgoMs = draft.nowMs - build.startedMs
  if (code === 'ERR_ANONNET_TIMEOUT' && build.startedMs >= draft.timeouts.sinceMs) {
    draft.timeouts = { inARow: draft.timeouts.inARow + 1, sinceMs: draft.nowMs }
  }
  if (build.path === undefined || (hop === undefined && LOCAL_CODES.has(code))) return
  const [guard, middle, exit] = build.path
  if (hop === 0) {
    draft.actions.push({ type: 'guard', nodeId: guard, outcome: 'failed', startedAgoMs })
    return
  }
  if (hop === 1 || hop === 2) {
    draft.actions.push({ type: 'guard', nodeId: guard, outcome: 'succeeded', startedAgoMs })
    avoidRelay(draft, hop === 1 ? middle : exit, true)
    return
  }
  avoidRelay(draft, middle)
  avoidRelay(draft, exit)
}
