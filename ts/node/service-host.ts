/**
 * A service that this node offers: does what ts/services decides to stay reachable, meets clients, and takes their streams.
 */

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
  type ServiceAddress,
  serviceLimits,
  serviceTimeMs,
  type UpkeepAction,
  type UpkeepEvent,
  upkeepStep
} from '../services/index.js'
import { periodOf } from '../wire/index.js'
import type { CircuitDriver } from './circuits.js'
import { cryptoRng } from './runner.js'
import type { ServiceCircuits } from './service-circuits.js'
import type { ServiceMeetings } from './service-meetings.js'
import { ServicePublisher } from './service-publisher.js'

const INTRO_TIMEOUT_MS = 10_000
/** A rendezvous point is the client's choice: one that never answers holds a place for so long and so many paths, no more. */
const MEET_TIMEOUT_MS = 4_500
const MEET_TRIES = 2
/** While there is no place for another client, so long until it is looked for one again. */
const FULL_MS = 1_000

export interface ServiceHostParts {
  engine: Engine
  driver: CircuitDriver
  circuits: ServiceCircuits
  /** Of all services of the node. */
  meetings: ServiceMeetings
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
  /** Last hops that are tried for each point that is being established. */
  readonly #tried = new Map<number, Set<string>>()
  /** Introductions that wait for their turn. */
  readonly #introductions = new Map<number, Introduction>()
  /** Circuits on which clients are. */
  readonly #meetings = new Set<number>()
  readonly #abort = new AbortController()
  readonly #load: Load
  readonly #publisher: ServicePublisher
  readonly #unwatch: () => void
  #state = newUpkeep(Date.now())
  #timer: NodeJS.Timeout | undefined
  /** Periods change and loads fall while nothing happens; and no number of introductions puts this off. */
  #looking: NodeJS.Timeout | undefined
  #serving: NodeJS.Timeout | undefined

  constructor(parts: ServiceHostParts) {
    this.#parts = parts
    this.#publisher = new ServicePublisher(parts, this.#abort.signal, () => this.#dispatch({ type: 'changed' }))
    this.#load = new Load({
      proves: (seed, nonce, effort) => this.#blinded().some((blinded) => powVerify(seed, blinded, nonce, effort)),
      randomBytes: serviceCrypto.randomBytes,
      nowMs: performance.now()
    })
    this.#unwatch = parts.driver.watch(() => this.#listChanged())
    this.#listChanged()
  }

  get address(): ServiceAddress {
    return this.#parts.address
  }

  /** Whether a descriptor of the current period was stored. */
  get published(): boolean {
    const { list } = this.#parts.driver
    return list !== undefined && isPublished(this.#state, periodOf(serviceTimeMs(list, Date.now())))
  }

  /** Aborted when it is closed. */
  get ended(): AbortSignal {
    return this.#abort.signal
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
    const { driver } = this.#parts
    if (driver.list === undefined) throw errorFromCode('ERR_ANONNET_NOT_BOOTSTRAPPED')
    const timeMs = serviceTimeMs(driver.list, Date.now())
    await this.#publisher.find(periodOf(timeMs), timeMs, { timeoutMs, signal })
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
    for (const circuit of [...this.#meetings]) {
      this.#left(circuit)
      this.#parts.circuits.close(circuit)
    }
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
    this.#parts.meetings.used(event.circuit)
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
    this.#tried.set(point, new Set())
    // Read for each path that is tried: the others are chosen at the same time, and no relay is to be two of a service's points.
    const others = (also: readonly string[]): Iterable<string> => ({ [Symbol.iterator]: () => [...also, ...this.#others(point)].values() })
    let circuit: number | undefined
    try {
      const onPath = (nodeId: string): void => {
        this.#tried.get(point)?.add(nodeId)
        this.#dispatch({ type: 'chosen', point, nodeId })
      }
      // In a network that is too small for others, one that failed before is better than none.
      const built = await circuits.build('intro', { without: others(avoid), signal, onPath }).catch((error: unknown) => {
        if ((error as { code?: unknown }).code !== 'ERR_ANONNET_NO_PATH') throw error
        return circuits.build('intro', { without: others([]), signal, onPath })
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
    } finally {
      this.#tried.delete(point)
    }
  }

  /** Relays that are, or may become, other introduction points. */
  #others(point: number): string[] {
    const up = [...this.#points].flatMap(([id, { intro }]) => (id === point ? [] : [intro.nodeId]))
    return [...up, ...[...this.#tried].flatMap(([id, tried]) => (id === point ? [] : [...tried]))]
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
    const content = () => ({ introPoints: points.flatMap((id) => this.#points.get(id)?.intro ?? []), pow: this.#load.suggestion })
    try {
      nodes = await this.#publisher.publish(period, content)
      if (nodes === 0) this.#parts.onError(errorFromCode('ERR_ANONNET_NOT_FOUND'), 'a descriptor could not be stored; it is tried again')
    } catch (error) {
      if (!this.#abort.signal.aborted) this.#parts.onError(error, 'a descriptor could not be made')
    }
    const before = isPublished(this.#state, period)
    this.#dispatch({ type: 'published', period, nodes })
    if (nodes === 0 || this.#abort.signal.aborted) return
    this.#parts.onPublished()
    // The first of a service is looked up by whoever waits for it.
    if (before) await this.#publisher.confirm(period)
  }

  /** Meets those whose turn it is. Where there is no place for another client they wait, and who proves the most work goes first. */
  #serve(): void {
    clearTimeout(this.#serving)
    const { meetings } = this.#parts
    while (this.#load.waiting > 0 && meetings.reserve()) {
      const request = this.#load.next(performance.now())
      const introduction = request === undefined ? undefined : this.#introductions.get(request)
      if (request !== undefined && introduction !== undefined) {
        this.#introductions.delete(request)
        void this.#meet(request, introduction)
        continue
      }
      meetings.release()
      if (request === undefined) break
      this.#load.finished()
    }
    const atMs = this.#load.nextMs(performance.now())
    if (atMs === undefined) return
    this.#serving = setTimeout(() => this.#serve(), Math.max(meetings.full ? FULL_MS : 1, atMs - performance.now())).unref()
  }

  async #meet(request: number, { cookie, rendezvous }: Introduction): Promise<void> {
    const { engine, circuits, meetings } = this.#parts
    const { signal } = this.#abort
    let circuit: number | undefined
    try {
      const built = await circuits.build('meet', { last: rendezvous, timeoutMs: MEET_TIMEOUT_MS, tries: MEET_TRIES, signal })
      circuit = built.circuit
      // Streams may come right behind: the circuit is known before the client is told.
      this.#meetings.add(circuit)
      meetings.add(circuit, () => this.#left(built.circuit))
      circuits.onEnd(circuit, () => this.#left(built.circuit))
      await engine.services.acceptRendezvous(request, circuit, cookie, { timeoutMs: MEET_TIMEOUT_MS, signal })
    } catch {
      engine.services.dropIntroduction(request)
      if (circuit === undefined) {
        meetings.release()
      } else {
        this.#left(circuit)
        circuits.close(circuit)
      }
    } finally {
      this.#load.finished()
      if (!signal.aborted) this.#serve()
    }
  }

  #left(circuit: number): void {
    this.#meetings.delete(circuit)
    this.#parts.meetings.delete(circuit)
  }

  #dropAll(requests: readonly number[]): void {
    for (const request of requests) {
      this.#introductions.delete(request)
      this.#parts.engine.services.dropIntroduction(request)
    }
  }
}
