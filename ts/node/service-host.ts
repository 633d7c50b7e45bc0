/**
 * A service that this node offers: does what ts/services decides to stay reachable, meets clients, and takes their streams.
 */

import { setTimeout as setTimeoutAsync } from 'node:timers/promises'
import { issueRecord } from '../dht/index.js'
import { errorFromCode } from '../errors/index.js'
import { type Engine, type IncomingStreamEvent, type IntroducedEvent, powVerify, serviceCrypto } from '../native/index.js'
import {
  type Introduction,
  type IntroPoint,
  isPublished,
  Load,
  newUpkeep,
  publishedPeriods,
  readIntroduction,
  revisionAt,
  revisionKey,
  type ServiceAddress,
  sealDescriptor,
  serviceLimits,
  serviceTimeMs,
  type UpkeepAction,
  type UpkeepEvent,
  upkeepStep
} from '../services/index.js'
import { periodOf, periodStartS, SERVICE_REPLICAS, SERVICE_TTL_S, serviceKey } from '../wire/index.js'
import type { CircuitDriver } from './circuits.js'
import { cryptoRng } from './runner.js'
import type { ServiceCircuits } from './service-circuits.js'
import { lookUp, store } from './service-lookup.js'

const INTRO_TIMEOUT_MS = 10_000
const STORE_TIMEOUT_MS = 30_000
const MEET_TIMEOUT_MS = 15_000
/** Revisions go up with the seconds. */
const REVISION_STEP_MS = 1_000

export interface ServiceHostParts {
  engine: Engine
  driver: CircuitDriver
  circuits: ServiceCircuits
  /** Belongs to the host, which wipes it when it is closed. */
  seed: Uint8Array
  address: ServiceAddress
  /** X25519 keys of those who may reach it; empty for everybody. */
  clients: readonly Uint8Array[]
  /** Takes or refuses a stream. */
  onStream: (event: IncomingStreamEvent) => void
  /** Told of what fails in the background. */
  onError: (error: unknown, message: string) => void
  /** Told when a descriptor was stored. */
  onPublished: () => void
}

/** An introduction point that is established. */
interface Point {
  readonly circuit: number
  readonly intro: IntroPoint
}

export class ServiceHost {
  readonly #parts: ServiceHostParts
  readonly #points = new Map<number, Point>()
  /** Introductions that wait for their turn. */
  readonly #introductions = new Map<number, Introduction>()
  /** Circuits on which clients are. */
  readonly #meetings = new Set<number>()
  readonly #abort = new AbortController()
  readonly #revisions = new Map<number, number>()
  /** What was published last, by period. */
  readonly #payloads = new Map<number, Uint8Array>()
  readonly #bornMs = Date.now()
  readonly #load: Load
  readonly #unwatch: () => void
  #state = newUpkeep(Date.now())
  #timer: NodeJS.Timeout | undefined
  /** Periods change and loads fall while nothing happens; and no number of introductions puts this off. */
  #looking: NodeJS.Timeout | undefined
  #serving: NodeJS.Timeout | undefined

  constructor(parts: ServiceHostParts) {
    this.#parts = parts
    this.#load = new Load({
      proves: (seed, nonce, effort) => this.#blinded().some((blinded) => powVerify(seed, blinded, nonce, effort)),
      randomBytes: serviceCrypto.randomBytes,
      nowMs: performance.now()
    })
    this.#unwatch = parts.driver.watch(() => this.#listChanged())
    this.#listChanged()
  }

  /** Whether a descriptor of the current period was stored. */
  get published(): boolean {
    const { list } = this.#parts.driver
    return list !== undefined && isPublished(this.#state, periodOf(serviceTimeMs(list, Date.now())))
  }

  /** What it asks of clients now. */
  get effort(): number {
    return this.#load.suggestion.effort
  }

  /** Introduction points that are up. */
  get introPoints(): number {
    return this.#points.size
  }

  /**
   * Looks itself up over last hops that it did not store through: resolves when the current descriptor is found.
   *
   * @throws as `lookUp`.
   */
  async find(timeoutMs: number, signal: AbortSignal | undefined): Promise<void> {
    const { engine, circuits, driver, address } = this.#parts
    if (driver.list === undefined) throw errorFromCode('ERR_ANONNET_NOT_BOOTSTRAPPED')
    const timeMs = serviceTimeMs(driver.list, Date.now())
    const period = periodOf(timeMs)
    const place = { blinded: serviceCrypto.blind(address.publicKey, period), period }
    const found = await lookUp({ engine, circuits }, place, timeMs, { timeoutMs, signal })
    const own = this.#revisions.get(period) ?? 0
    const payload = this.#payloads.get(period)
    if (found.revision === own && payload !== undefined && Buffer.compare(found.payload, payload) === 0) return
    // One of a run before this one, by a clock that was ahead of ours: it is replaced by nothing that is not newer.
    if (found.revision >= own) {
      this.#revisions.set(period, found.revision)
      this.#dispatch({ type: 'changed' })
    }
    throw errorFromCode('ERR_ANONNET_NOT_FOUND', { detail: 'an older descriptor' })
  }

  /** Ends its circuits; clients' streams end with them. */
  close(): void {
    if (this.#abort.signal.aborted) return
    this.#dispatch({ type: 'close' })
    this.#abort.abort(errorFromCode('ERR_ANONNET_CLOSED'))
    this.#unwatch()
    clearTimeout(this.#serving)
    for (const request of this.#introductions.keys()) this.#parts.engine.services.dropIntroduction(request)
    this.#introductions.clear()
    for (const circuit of this.#meetings) this.#parts.circuits.close(circuit)
    this.#meetings.clear()
    this.#parts.seed.fill(0)
  }

  /** Whether the circuit is one of its introduction points; then the introduction is taken or dropped. */
  introduced({ circuit, request, body }: IntroducedEvent): boolean {
    const point = [...this.#points].find(([, { circuit: own }]) => own === circuit)?.[0]
    if (point === undefined) return false
    this.#dispatch({ type: 'introduced', point })
    let introduction: Introduction
    try {
      introduction = readIntroduction(body)
    } catch {
      this.#parts.engine.services.dropIntroduction(request)
      return true
    }
    if (this.#meetings.size >= serviceLimits.MAX_MEETINGS) {
      this.#dropAll([request])
      return true
    }
    const { verdict, dropped } = this.#load.offer(request, introduction.pow, performance.now())
    this.#dropAll(verdict === 'taken' ? dropped : [...dropped, request])
    if (verdict === 'taken') {
      this.#introductions.set(request, introduction)
      this.#serve()
    }
    return true
  }

  /** Whether the circuit is one on which a client is; then the stream is taken or refused. */
  incoming(event: IncomingStreamEvent): boolean {
    if (!this.#meetings.has(event.circuit)) return false
    this.#parts.onStream(event)
    return true
  }

  #blinded(): Uint8Array[] {
    return [...this.#state.periods.keys()].map((period) => serviceCrypto.blind(this.#parts.address.publicKey, period))
  }

  #periods(): number[] {
    const { list } = this.#parts.driver
    return list === undefined ? [...this.#state.periods.keys()] : publishedPeriods(serviceTimeMs(list, Date.now()))
  }

  #listChanged(): void {
    this.#dispatch({ type: 'list', usable: this.#parts.driver.list !== undefined })
  }

  #dispatch(event: UpkeepEvent): void {
    if (this.#abort.signal.aborted) return
    const before = [...this.#state.periods.keys()].join()
    const result = upkeepStep(this.#state, event, { nowMs: Date.now(), rng: cryptoRng, periods: this.#periods() })
    this.#state = result.state
    if ([...this.#state.periods.keys()].join() !== before) for (const { circuit } of this.#points.values()) this.#tellPeriods(circuit)
    this.#setTimers(event.type !== 'close' && this.#state.usable, result.wakeAtMs)
    for (const action of result.actions) this.#perform(action)
  }

  #setTimers(awake: boolean, wakeAtMs: number | undefined): void {
    clearTimeout(this.#timer)
    this.#timer = undefined
    if (!awake) {
      clearInterval(this.#looking)
      this.#looking = undefined
      return
    }
    this.#looking ??= setInterval(() => this.#look(), serviceLimits.POW_INTERVAL_MS).unref()
    if (wakeAtMs === undefined) return
    const delay = Math.min(serviceLimits.POW_INTERVAL_MS, Math.max(5, wakeAtMs - Date.now()))
    this.#timer = setTimeout(() => this.#dispatch({ type: 'tick' }), delay).unref()
  }

  #look(): void {
    const { changed, dropped } = this.#load.tick(performance.now())
    this.#dropAll(dropped)
    this.#dispatch({ type: changed ? 'changed' : 'tick' })
  }

  #perform(action: UpkeepAction): void {
    switch (action.type) {
      case 'establish':
        void this.#establish(action.point, action.avoid)
        return
      case 'drop': {
        const point = this.#points.get(action.point)
        this.#points.delete(action.point)
        if (point !== undefined) this.#parts.circuits.close(point.circuit)
        return
      }
      case 'publish':
        void this.#publish(action.period, action.points)
        return
    }
  }

  async #establish(point: number, avoid: readonly string[]): Promise<void> {
    const { engine, circuits } = this.#parts
    const { signal } = this.#abort
    let circuit: number | undefined
    try {
      const onPath = (nodeId: string): void => this.#dispatch({ type: 'chosen', point, nodeId })
      // In a network that is too small for others, one that failed before is better than none.
      const built = await circuits.build('intro', { without: avoid, signal, onPath }).catch((error: unknown) => {
        if ((error as { code?: unknown }).code !== 'ERR_ANONNET_NO_PATH') throw error
        const inUse = [...this.#points.values()].map(({ intro }) => intro.nodeId)
        return circuits.build('intro', { without: inUse, signal, onPath })
      })
      circuit = built.circuit
      const keys = await engine.services.establishIntro(circuit, { timeoutMs: INTRO_TIMEOUT_MS, signal })
      this.#tellPeriods(circuit)
      this.#points.set(point, { circuit, intro: { nodeId: built.last, ...keys } })
      circuits.onEnd(circuit, () => this.#lost(point))
      // Of several that were tried at the same time the one that was faster.
      onPath(built.last)
      if (this.#points.has(point)) this.#dispatch({ type: 'established', point })
    } catch {
      if (circuit !== undefined) circuits.close(circuit)
      this.#dispatch({ type: 'lost', point })
    }
  }

  #lost(point: number): void {
    this.#points.delete(point)
    this.#dispatch({ type: 'lost', point })
  }

  #tellPeriods(circuit: number): void {
    const { address, engine } = this.#parts
    const periods = this.#periods()
    engine.services.setIntroSubcredentials(
      circuit,
      periods.map((period) => serviceCrypto.subcredential(address.publicKey, period))
    )
  }

  async #publish(period: number, points: readonly number[]): Promise<void> {
    let nodes = 0
    try {
      // A run that ended in the second in which this one began may have used its number.
      const fresh = Math.floor(this.#bornMs / REVISION_STEP_MS + 1) * REVISION_STEP_MS - Date.now()
      if (fresh > 0) await setTimeoutAsync(fresh, undefined, { ref: false, signal: this.#abort.signal })
      nodes = await this.#storeAll(period, points)
      if (nodes === 0) this.#parts.onError(errorFromCode('ERR_ANONNET_NOT_FOUND'), 'a descriptor could not be stored; it is tried again')
    } catch (error) {
      if (!this.#abort.signal.aborted) this.#parts.onError(error, 'a descriptor could not be made')
    }
    this.#dispatch({ type: 'published', period, nodes })
    if (nodes > 0 && !this.#abort.signal.aborted) this.#parts.onPublished()
  }

  /** Stores all replicas; returns the number of nodes that took the one that the fewest took. */
  async #storeAll(period: number, points: readonly number[]): Promise<number> {
    const { engine, circuits, seed, address, clients } = this.#parts
    const blinded = serviceCrypto.blind(address.publicKey, period)
    const timeMs = periodTimeMs(this.#parts.driver, period)
    const revision = Math.max(revisionAt(revisionKey(seed, period), period, timeMs), (this.#revisions.get(period) ?? 0) + 1)
    this.#revisions.set(period, revision)
    for (const known of this.#revisions.keys()) {
      if (known >= period - 1) continue
      this.#revisions.delete(known)
      this.#payloads.delete(known)
    }
    const introPoints = points.flatMap((id) => this.#points.get(id)?.intro ?? [])
    const payload = sealDescriptor(
      serviceCrypto,
      { publicKey: address.publicKey, period, revision },
      { introPoints, pow: this.#load.suggestion },
      clients
    )
    this.#payloads.set(period, payload)
    const signer = { publicKey: blinded, sign: (message: Uint8Array) => serviceCrypto.sign(seed, period, message) }
    const asked = new Set<string>()
    const stored = await Promise.all(
      Array.from({ length: SERVICE_REPLICAS }, (_, replica) => {
        const key = serviceKey(blinded, replica)
        const record = { type: 'service', key, seq: revision, issued: periodStartS(period), ttl: SERVICE_TTL_S, payload } as const
        return store({ engine, circuits }, issueRecord(record, signer).raw, asked, {
          timeoutMs: STORE_TIMEOUT_MS,
          signal: this.#abort.signal
        })
      })
    )
    return Math.min(...stored)
  }

  /** Meets those whose turn it is. */
  #serve(): void {
    clearTimeout(this.#serving)
    for (let request = this.#load.next(performance.now()); request !== undefined; request = this.#load.next(performance.now())) {
      const introduction = this.#introductions.get(request)
      this.#introductions.delete(request)
      if (introduction === undefined) this.#load.finished()
      else void this.#meet(request, introduction)
    }
    const atMs = this.#load.nextMs(performance.now())
    if (atMs !== undefined) this.#serving = setTimeout(() => this.#serve(), Math.max(1, atMs - performance.now())).unref()
  }

  async #meet(request: number, { cookie, rendezvous }: Introduction): Promise<void> {
    const { engine, circuits } = this.#parts
    const { signal } = this.#abort
    let circuit: number | undefined
    try {
      const built = await circuits.build('meet', { last: rendezvous, timeoutMs: MEET_TIMEOUT_MS, signal })
      circuit = built.circuit
      // Streams may come right behind: the circuit is known before the client is told.
      this.#meetings.add(circuit)
      circuits.onEnd(circuit, () => this.#meetings.delete(built.circuit))
      await engine.services.acceptRendezvous(request, circuit, cookie, { timeoutMs: MEET_TIMEOUT_MS, signal })
    } catch {
      engine.services.dropIntroduction(request)
      if (circuit !== undefined) {
        this.#meetings.delete(circuit)
        circuits.close(circuit)
      }
    } finally {
      this.#load.finished()
      if (!signal.aborted) this.#serve()
    }
  }

  #dropAll(requests: readonly number[]): void {
    for (const request of requests) {
      this.#introductions.delete(request)
      this.#parts.engine.services.dropIntroduction(request)
    }
  }
}

function periodTimeMs(driver: CircuitDriver, period: number): number {
  return driver.list === undefined ? periodStartS(period) * 1000 : serviceTimeMs(driver.list, Date.now())
}
