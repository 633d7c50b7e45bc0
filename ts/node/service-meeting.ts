/**
 * One meeting with a service: does what ts/services decides, over circuits.
 */

import { errorFromCode, wrapError } from '../errors/index.js'
import { type Engine, onAbort, serviceCrypto } from '../native/index.js'
import {
  COOKIE_BYTES,
  type IntroPoint,
  newReach,
  type PowProof,
  type ReachAction,
  type ReachEvent,
  type ReachState,
  reachStep,
  SEED_HEAD_BYTES,
  type ServiceDescriptor,
  writeIntroduction
} from '../services/index.js'
import { cryptoRng } from './runner.js'
import type { ServiceCircuits } from './service-circuits.js'
import type { ServicePlace } from './service-client.js'

/** How long a rendezvous or introduction point may take to answer, and then the service to come. */
const POINT_TIMEOUT_MS = 8_000
const SERVICE_TIMEOUT_MS = 8_000
/** A try is two circuits, one after the other, and what is said on them: it is given as long as so many circuits before they count as slow. */
const TRY_HEDGES = 3

export interface MeetingParts {
  engine: Engine
  circuits: ServiceCircuits
  place: ServicePlace
  descriptor: (fresh: boolean, timeoutMs: number) => Promise<{ descriptor: ServiceDescriptor; cached: boolean }>
  timeoutMs: number
  signal: AbortSignal
}

/** What a try has under way. */
interface Attempt {
  readonly abort: AbortController
  readonly cookie: Uint8Array
  readonly point: IntroPoint
  /** Begun at once, beside the rendezvous. */
  readonly intro: Promise<{ circuit: number }>
  readonly pow: Promise<PowProof | undefined>
  rendezvous: number | undefined
  rendezvousPoint: string
  introduced: boolean
}

class Meeting {
  readonly #parts: MeetingParts
  readonly #attempts = new Map<number, Attempt>()
  readonly #deadlineMs: number
  readonly #subcredential: Uint8Array
  #state: ReachState
  #points: IntroPoint[] = []
  #descriptor: ServiceDescriptor | undefined
  #timer: NodeJS.Timeout | undefined
  #settled = false
  #resolve!: (circuit: number) => void
  #reject!: (reason: unknown) => void

  constructor(parts: MeetingParts) {
    this.#parts = parts
    this.#deadlineMs = performance.now() + parts.timeoutMs
    this.#state = newReach(TRY_HEDGES * parts.circuits.hedgeMs)
    this.#subcredential = serviceCrypto.subcredential(parts.place.address.publicKey, parts.place.period)
  }

  run(): Promise<number> {
    const { signal, timeoutMs } = this.#parts
    return new Promise<number>((resolve, reject) => {
      const late = setTimeout(() => this.#fail(this.#lateError()), timeoutMs).unref()
      const unlisten = onAbort(signal, () => this.#fail(signal.reason))
      const finish = (): void => {
        clearTimeout(late)
        clearTimeout(this.#timer)
        unlisten()
      }
      this.#resolve = (circuit) => {
        finish()
        resolve(circuit)
      }
      this.#reject = (reason) => {
        finish()
        reject(reason)
      }
      this.#dispatch({ type: 'begin' })
    })
  }

  get #leftMs(): number {
    return Math.max(1, Math.ceil(this.#deadlineMs - performance.now()))
  }

  #lateError(): Error {
    const waits = [...this.#state.tries.values()].some(({ phase }) => phase === 'meet')
    if (waits) return errorFromCode('ERR_ANONNET_INTRODUCTION_TIMEOUT')
    // What tries failed with tells more than that the time ran out between two of them.
    const { phase, started, tries, lastCode } = this.#state
    return errorFromCode(phase === 'pausing' || started > tries.size ? lastCode : 'ERR_ANONNET_TIMEOUT')
  }

  #dispatch(event: ReachEvent): void {
    if (this.#settled) return
    const result = reachStep(this.#state, event, performance.now())
    this.#state = result.state
    clearTimeout(this.#timer)
    if (result.wakeAtMs !== undefined)
      this.#timer = setTimeout(() => this.#dispatch({ type: 'tick' }), Math.max(1, result.wakeAtMs - performance.now())).unref()
    for (const action of result.actions) this.#perform(action)
  }

  #perform(action: ReachAction): void {
    switch (action.type) {
      case 'lookup':
        void this.#lookUp(action.fresh)
        return
      case 'rendezvous':
        this.#attempt(action.attempt, () => this.#rendezvous(action.attempt))
        return
      case 'introduce':
        this.#attempt(action.attempt, () => this.#introduce(action.attempt))
        return
      case 'meet':
        this.#attempt(action.attempt, () => this.#meet(action.attempt))
        return
      case 'drop':
        this.#drop(action.attempt)
        return
      case 'done': {
        const circuit = this.#attempts.get(action.attempt)?.rendezvous
        this.#attempts.delete(action.attempt)
        this.#overtaken(action.attempt)
        if (circuit !== undefined) this.#succeed(circuit)
        return
      }
      case 'fail':
        this.#fail(errorFromCode(action.code))
        return
    }
  }

  /** Runs a part of a try; whatever it throws is the end of that try. */
  #attempt(id: number, part: () => Promise<void>): void {
    part().catch((error: unknown) => this.#dispatch({ type: 'failed', attempt: id, code: wrapError(error).code }))
  }

  async #lookUp(fresh: boolean): Promise<void> {
    try {
      const { descriptor, cached } = await this.#parts.descriptor(fresh, this.#leftMs)
      this.#descriptor = descriptor
      const { circuits } = this.#parts
      const trying = new Set([...this.#attempts.values()].map(({ point }) => point.nodeId))
      this.#points = descriptor.introPoints
        // Those that did not answer of late come last, and those that are being tried.
        .map((point) => ({ point, by: cryptoRng() + (trying.has(point.nodeId) || circuits.avoids(point.nodeId) ? 1 : 0) }))
        .sort((a, b) => a.by - b.by)
        .map(({ point }) => point)
      this.#dispatch({ type: 'descriptor', points: this.#points.length, cached })
    } catch (error) {
      // The caller is told the error itself, with its detail, rather than its code alone.
      if (this.#attempts.size === 0) this.#fail(error)
      else this.#dispatch({ type: 'noDescriptor', code: wrapError(error).code })
    }
  }

  async #rendezvous(id: number): Promise<void> {
    const { engine, circuits } = this.#parts
    const point = this.#points[this.#state.tries.get(id)?.point ?? 0]
    if (point === undefined) throw errorFromCode('ERR_ANONNET_INTRODUCTION_FAILED')
    const abort = new AbortController()
    const { signal } = abort
    const attempt: Attempt = {
      abort,
      cookie: serviceCrypto.randomBytes(COOKIE_BYTES),
      point,
      intro: circuits.build('introduce', { last: point.nodeId, timeoutMs: this.#leftMs, signal }),
      pow: this.#prove(signal),
      rendezvous: undefined,
      rendezvousPoint: '',
      introduced: false
    }
    // Both are waited for later.
    attempt.intro.catch(() => undefined)
    attempt.pow.catch(() => undefined)
    this.#attempts.set(id, attempt)
    // The introduction point must not learn that it is the rendezvous point as well.
    const built = await circuits.build('rendezvous', { without: [point.nodeId], timeoutMs: this.#leftMs, signal })
    attempt.rendezvous = built.circuit
    attempt.rendezvousPoint = built.last
    circuits.onEnd(built.circuit, () => this.#dispatch({ type: 'failed', attempt: id, code: 'ERR_ANONNET_RENDEZVOUS_FAILED' }))
    await engine.services.establishRendezvous(built.circuit, attempt.cookie, {
      timeoutMs: Math.min(POINT_TIMEOUT_MS, this.#leftMs),
      signal
    })
    this.#dispatch({ type: 'waits', attempt: id })
  }

  async #introduce(id: number): Promise<void> {
    const { engine, circuits } = this.#parts
    const attempt = this.#attempts.get(id)
    if (attempt?.rendezvous === undefined) return
    const { cookie, rendezvousPoint, rendezvous, point } = attempt
    const { signal } = attempt.abort
    let circuit: number | undefined
    try {
      const [intro, pow] = await Promise.all([attempt.intro, attempt.pow])
      circuit = intro.circuit
      const payload = writeIntroduction({ cookie, rendezvous: rendezvousPoint, pow })
      const { authKey, onionKey, kemKey } = point
      const to = { authKey, onionKey, kemKey, subcredential: this.#subcredential }
      await engine.services.introduce(circuit, rendezvous, to, payload, { timeoutMs: Math.min(POINT_TIMEOUT_MS, this.#leftMs), signal })
    } finally {
      if (circuit !== undefined) circuits.close(circuit)
    }
    attempt.introduced = true
    this.#dispatch({ type: 'introduced', attempt: id })
  }

  async #meet(id: number): Promise<void> {
    const attempt = this.#attempts.get(id)
    if (attempt?.rendezvous === undefined) return
    const limits = { timeoutMs: Math.min(SERVICE_TIMEOUT_MS, this.#leftMs), signal: attempt.abort.signal }
    try {
      await this.#parts.engine.services.awaitRendezvous(attempt.rendezvous, limits)
    } catch (error) {
      const { code } = wrapError(error)
      throw code === 'ERR_ANONNET_TIMEOUT' ? errorFromCode('ERR_ANONNET_INTRODUCTION_TIMEOUT', { cause: error }) : error
    }
    this.#dispatch({ type: 'met', attempt: id })
  }

  async #prove(signal: AbortSignal): Promise<PowProof | undefined> {
    const pow = this.#descriptor?.pow
    if (pow === undefined || pow.effort === 0) return undefined
    const nonce = await this.#parts.engine.services.powSolve(pow.seed, this.#parts.place.blinded, pow.effort, { signal })
    return { seedHead: pow.seed.slice(0, SEED_HEAD_BYTES), nonce: Uint8Array.from(nonce), effort: pow.effort }
  }

  #drop(id: number): void {
    const attempt = this.#attempts.get(id)
    if (attempt === undefined) return
    this.#attempts.delete(id)
    const { circuits } = this.#parts
    attempt.abort.abort(errorFromCode('ERR_ANONNET_ABORTED'))
    if (attempt.rendezvous !== undefined) circuits.close(attempt.rendezvous)
    attempt.intro.then(
      ({ circuit }) => circuits.close(circuit),
      () => undefined
    )
  }

  /** Introduction points that got nothing done while a later try got all done. */
  #overtaken(by: number): void {
    for (const [id, { introduced, point }] of this.#attempts) if (id < by && !introduced) this.#parts.circuits.avoid(point.nodeId)
  }

  #succeed(circuit: number): void {
    this.#settled = true
    for (const id of [...this.#attempts.keys()]) this.#drop(id)
    this.#resolve(circuit)
  }

  #fail(reason: unknown): void {
    if (this.#settled) return
    this.#settled = true
    for (const id of [...this.#attempts.keys()]) this.#drop(id)
    this.#reject(reason)
  }
}

/** Meets a service; resolves to the circuit at whose end it is. */
export function meetService(parts: MeetingParts): Promise<number> {
  return new Meeting(parts).run()
}
