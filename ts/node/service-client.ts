/**
 * A client's side of services: finds them, meets them, and keeps the circuits on which streams to them run.
 */

import { errorFromCode, isAnonNetError } from '../errors/index.js'
import { type Engine, onAbort, serviceCrypto } from '../native/index.js'
import { openDescriptor, type ServiceAddress, type ServiceDescriptor, serviceLimits, serviceTimeMs } from '../services/index.js'
import { periodOf } from '../wire/index.js'
import type { CircuitDriver } from './circuits.js'
import type { ServiceCircuits } from './service-circuits.js'
import { lookUp } from './service-lookup.js'
import { meetService } from './service-meeting.js'

/** A circuit to a service takes new streams for so long, and is closed when it had none for so long. */
const CIRCUIT_LIFETIME_MS = 10 * 60_000
const CIRCUIT_IDLE_MS = 2 * 60_000
const LOOK_EVERY_MS = 30_000
/** So long after its time is over a caller still hears why. */
const WORD_MS = 250

export interface ServiceClientParts {
  engine: Engine
  driver: CircuitDriver
  circuits: ServiceCircuits
}

/** A service in its current period. */
export interface ServicePlace {
  readonly address: ServiceAddress
  readonly period: number
  readonly blinded: Uint8Array
}

/** A descriptor that was fetched. */
interface Cached {
  readonly descriptor: ServiceDescriptor
  readonly period: number
  readonly untilMs: number
}

/** A way to a service: one for all streams of one isolation. */
interface Way {
  /** The service and the isolation. */
  readonly key: string
  readonly circuit: Promise<number>
  /** Set once it is there. */
  open: number | undefined
  /** Those who wait for it; when the last of them has given up it is given up too. */
  waiting: number
  readonly abort: AbortController
  /** When it is there or has failed, at the latest. */
  readonly deadlineMs: number
  readonly untilMs: number
  usedMs: number
}

export class ServiceClient {
  readonly #parts: ServiceClientParts
  /** Those that take new streams. */
  readonly #ways = new Map<string, Way>()
  /** All that are open, older ones too. */
  readonly #open = new Set<Way>()
  /** How many are being made. */
  #making = 0
  /** By the service's name. */
  readonly #cache = new Map<string, Cached>()
  readonly #keys = new Map<string, Uint8Array>()
  #timer: NodeJS.Timeout | undefined
  #closed = new AbortController()

  constructor(parts: ServiceClientParts) {
    this.#parts = parts
  }

  /** Keeps a key (X25519 secret, 32 bytes; ours from now on, and wiped) for a service that takes authorised clients only; undefined forgets it. */
  authorize({ name }: ServiceAddress, secret: Uint8Array | undefined): void {
    this.#keys.get(name)?.fill(0)
    if (secret === undefined) this.#keys.delete(name)
    else this.#keys.set(name, secret)
    this.#cache.delete(name)
  }

  /**
   * A circuit at whose other end the service is, for streams of that isolation.
   *
   * @throws ERR_ANONNET_SERVICE_ADDRESS, _SERVICE_NOT_FOUND, _RECORD_INVALID, _CLIENT_AUTH, _CLIENT_AUTH_WRONG, _INTRODUCTION_FAILED,
   * _INTRODUCTION_TIMEOUT, _RENDEZVOUS_FAILED, _NOT_BOOTSTRAPPED, _NO_PATH, _TIMEOUT, _CLOSED, _RESOURCE_LIMIT (too many services at
   * the same time); the signal's reason as it is.
   */
  async circuit(
    address: ServiceAddress,
    isolation: string,
    limits: { timeoutMs: number; signal?: AbortSignal | undefined }
  ): Promise<number> {
    const deadline = performance.now() + limits.timeoutMs
    for (;;) {
      const left = deadline - performance.now()
      const { way, own } = this.#way(address, isolation, left)
      try {
        return await this.#wait(way, { ...limits, timeoutMs: left })
      } catch (error) {
        // The time that is over may be that of whoever asked for the way first.
        const late = !own && performance.now() >= way.deadlineMs - WORD_MS
        if (!late || limits.signal?.aborted || deadline - performance.now() <= WORD_MS) throw error
      }
    }
  }

  /** The way for that isolation, or a new one that is `own`. */
  #way(address: ServiceAddress, isolation: string, timeoutMs: number): { way: Way; own: boolean } {
    const key = `${address.name} ${isolation}`
    const now = performance.now()
    let way = this.#ways.get(key)
    if (way !== undefined && (way.untilMs <= now || (way.open !== undefined && !this.#parts.circuits.has(way.open)))) way = undefined
    const own = way === undefined
    if (way === undefined) {
      if (!this.#hasRoom(now)) throw errorFromCode('ERR_ANONNET_RESOURCE_LIMIT', { detail: 'services at the same time' })
      this.#making += 1
      // Whoever gives up first must not take the way from those who wait for the same: it has a deadline of its own.
      const abort = new AbortController()
      const made: Way = {
        key,
        circuit: this.#make(address, timeoutMs, AbortSignal.any([this.#closed.signal, abort.signal])),
        open: undefined,
        waiting: 0,
        abort,
        deadlineMs: now + timeoutMs,
        untilMs: now + CIRCUIT_LIFETIME_MS * (0.8 + 0.2 * Math.random()),
        usedMs: now
      }
      way = made
      this.#ways.set(key, made)
      made.circuit.then(
        (circuit) => {
          this.#making -= 1
          made.open = circuit
          this.#open.add(made)
          this.#parts.circuits.onEnd(circuit, () => {
            this.#open.delete(made)
            this.#forget(made)
          })
          this.#look()
        },
        () => {
          this.#making -= 1
          this.#forget(made)
        }
      )
    }
    way.usedMs = now
    return { way, own }
  }

  async #wait(way: Way, limits: { timeoutMs: number; signal?: AbortSignal | undefined }): Promise<number> {
    // What it fails with says more than that the time is over: where both come to the same moment, its word counts.
    const soon = way.open === undefined && way.deadlineMs <= performance.now() + limits.timeoutMs + WORD_MS
    way.waiting += 1
    try {
      return await withLimits(way.circuit, { ...limits, timeoutMs: soon ? limits.timeoutMs + WORD_MS : limits.timeoutMs })
    } finally {
      way.waiting -= 1
      if (way.waiting === 0 && way.open === undefined) this.#giveUp(way)
    }
  }

  /** A circuit was of no use to a stream: the next gets another one, through other relays if it did not even answer. */
  failed(circuit: number, silent: boolean): void {
    if (silent) this.#parts.circuits.silent(circuit)
    for (const way of this.#ways.values()) if (way.open === circuit) this.#forget(way)
  }

  /** Drops what is known of services: circuits end with their links. */
  sleep(): void {
    this.#ways.clear()
    this.#open.clear()
    clearTimeout(this.#timer)
    this.#timer = undefined
    this.#closed.abort(errorFromCode('ERR_ANONNET_ABORTED', { detail: 'the node was made dormant' }))
    this.#closed = new AbortController()
  }

  close(): void {
    clearTimeout(this.#timer)
    this.#closed.abort(errorFromCode('ERR_ANONNET_CLOSED'))
    for (const secret of this.#keys.values()) secret.fill(0)
    this.#keys.clear()
  }

  async #make(address: ServiceAddress, timeoutMs: number, signal: AbortSignal): Promise<number> {
    const { engine, driver, circuits } = this.#parts
    signal.throwIfAborted()
    const deadline = performance.now() + timeoutMs
    driver.demand()
    await this.#haveList(timeoutMs, signal)
    const place = this.#place(address)
    try {
      return await meetService({
        engine,
        circuits,
        place,
        descriptor: (fresh, left) => this.#descriptor(place, fresh, left, signal),
        timeoutMs: Math.max(1, deadline - performance.now()),
        signal
      })
    } catch (error) {
      throw isAnonNetError(error) && error.code === 'ERR_ANONNET_NOT_FOUND' ? errorFromCode('ERR_ANONNET_SERVICE_NOT_FOUND') : error
    }
  }

  /** Throws ERR_ANONNET_SERVICE_ADDRESS when the key is no key. */
  #place(address: ServiceAddress): ServicePlace {
    const period = periodOf(this.#timeMs())
    try {
      return { address, period, blinded: serviceCrypto.blind(address.publicKey, period) }
    } catch (error) {
      throw errorFromCode('ERR_ANONNET_SERVICE_ADDRESS', { detail: 'its key is none', cause: error })
    }
  }

  #timeMs(): number {
    const { list } = this.#parts.driver
    if (list === undefined) throw errorFromCode('ERR_ANONNET_NOT_BOOTSTRAPPED')
    return serviceTimeMs(list, Date.now())
  }

  async #descriptor(
    { address, period, blinded }: ServicePlace,
    fresh: boolean,
    timeoutMs: number,
    signal: AbortSignal
  ): Promise<{ descriptor: ServiceDescriptor; cached: boolean }> {
    const { name, publicKey } = address
    const kept = this.#cache.get(name)
    if (!fresh && kept !== undefined && kept.period === period && kept.untilMs > performance.now())
      return { descriptor: kept.descriptor, cached: true }
    this.#cache.delete(name)
    const found = await lookUp(this.#parts, { blinded, period }, this.#timeMs(), { timeoutMs, signal })
    const descriptor = openDescriptor(serviceCrypto, { publicKey, period, revision: found.revision }, found.payload, this.#keys.get(name))
    this.#cache.set(name, { descriptor, period, untilMs: performance.now() + serviceLimits.DESCRIPTOR_CACHE_MS })
    const [oldest] = this.#cache.keys()
    if (this.#cache.size > serviceLimits.MAX_CACHED_DESCRIPTORS && oldest !== undefined) this.#cache.delete(oldest)
    return { descriptor, cached: false }
  }

  /** Right after waking, or at the start, the list may still be on its way. */
  #haveList(timeoutMs: number, signal: AbortSignal): Promise<void> {
    const { driver } = this.#parts
    if (driver.list !== undefined) return Promise.resolve()
    return new Promise((resolve, reject) => {
      const settle = (then: () => void): void => {
        clearTimeout(timer)
        unwatch()
        unlisten()
        then()
      }
      const timer = setTimeout(() => settle(() => reject(errorFromCode('ERR_ANONNET_NOT_BOOTSTRAPPED'))), timeoutMs).unref()
      const unwatch = driver.watch(() => {
        if (driver.list !== undefined) settle(resolve)
      })
      const unlisten = onAbort(signal, () => settle(() => reject(signal.reason)))
    })
  }

  #giveUp(way: Way): void {
    this.#forget(way)
    way.abort.abort(errorFromCode('ERR_ANONNET_ABORTED'))
  }

  /** It takes no new streams. */
  #forget(way: Way): void {
    if (this.#ways.get(way.key) === way) this.#ways.delete(way.key)
  }

  /** Closes ways that carry nothing any more. Runs only while there are any. */
  #look(): void {
    if (this.#timer !== undefined || this.#open.size === 0 || this.#closed.signal.aborted) return
    this.#timer = setTimeout(() => {
      this.#timer = undefined
      const now = performance.now()
      for (const way of this.#idle(now)) if (now - way.usedMs >= CIRCUIT_IDLE_MS || way.untilMs <= now) this.#end(way)
      this.#look()
    }, LOOK_EVERY_MS).unref()
  }

  /** Ways without a stream, the one that had none for longest first. */
  #idle(now: number): Way[] {
    const streams = new Map(this.#parts.engine.circuits().map(({ id, streams: open }) => [id, open]))
    for (const way of this.#open) if (way.open !== undefined && (streams.get(way.open) ?? 0) > 0) way.usedMs = now
    return [...this.#open].filter(({ usedMs }) => usedMs < now).sort((a, b) => a.usedMs - b.usedMs)
  }

  /** Whether there may be another way. The link to the guard carries them all: where there are too many, one that is idle goes. */
  #hasRoom(now: number): boolean {
    if (this.#open.size + this.#making < serviceLimits.MAX_WAYS) return true
    const [longest] = this.#idle(now)
    if (longest === undefined || now - longest.usedMs < serviceLimits.MEETING_GRACE_MS) return false
    this.#end(longest)
    return true
  }

  #end(way: Way): void {
    this.#open.delete(way)
    this.#forget(way)
    if (way.open !== undefined) this.#parts.circuits.close(way.open)
  }
}

/** The same promise with a deadline and a signal of one of those who wait for it. */
function withLimits<T>(promise: Promise<T>, { timeoutMs, signal }: { timeoutMs: number; signal?: AbortSignal | undefined }): Promise<T> {
  return new Promise((resolve, reject) => {
    const settle = (then: () => void): void => {
      clearTimeout(timer)
      unlisten()
      then()
    }
    const timer = setTimeout(() => settle(() => reject(errorFromCode('ERR_ANONNET_TIMEOUT'))), timeoutMs).unref()
    const unlisten = onAbort(signal, () => settle(() => reject(signal?.reason)))
    if (signal?.aborted) settle(() => reject(signal.reason))
    promise.then(
      (value) => settle(() => resolve(value)),
      (error: unknown) => settle(() => reject(error))
    )
  })
}
