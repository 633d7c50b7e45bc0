/**
 * A client's side of services: finds them, meets them, and keeps the circuits on which streams to them run.
 */

import { type AnonNetError, errorFromCode, isAnonNetError, wrapError } from '../errors/index.js'
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
  readonly circuit: Promise<number>
  /** Set once it is there. */
  open: number | undefined
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
   * _INTRODUCTION_TIMEOUT, _RENDEZVOUS_FAILED, _NOT_BOOTSTRAPPED, _NO_PATH, _TIMEOUT, _CLOSED; the signal's reason as it is.
   */
  async circuit(
    address: ServiceAddress,
    isolation: string,
    limits: { timeoutMs: number; signal?: AbortSignal | undefined }
  ): Promise<number> {
    const key = `${address.name} ${isolation}`
    const now = performance.now()
    let way = this.#ways.get(key)
    if (way !== undefined && (way.untilMs <= now || (way.open !== undefined && !this.#parts.circuits.has(way.open)))) way = undefined
    if (way === undefined) {
      // Whoever gives up first must not take the way from those who wait for the same: it has a deadline of its own.
      const made: Way = {
        circuit: this.#make(address, limits.timeoutMs),
        open: undefined,
        deadlineMs: now + limits.timeoutMs,
        untilMs: now + CIRCUIT_LIFETIME_MS * (0.8 + 0.2 * Math.random()),
        usedMs: now
      }
      way = made
      this.#ways.set(key, made)
      made.circuit.then(
        (circuit) => {
          made.open = circuit
          this.#open.add(made)
          this.#parts.circuits.onEnd(circuit, () => {
            this.#open.delete(made)
            this.#forget(key, made)
          })
          this.#look()
        },
        () => this.#forget(key, made)
      )
    }
    way.usedMs = now
    // What it fails with says more than that the time is over: where both come to the same moment, its word counts.
    const soon = way.open === undefined && way.deadlineMs <= now + limits.timeoutMs + WORD_MS
    return withLimits(way.circuit, { ...limits, timeoutMs: soon ? limits.timeoutMs + WORD_MS : limits.timeoutMs })
  }

  /** A circuit was of no use to a stream: the next gets another one. */
  failed(circuit: number): void {
    for (const [key, way] of this.#ways) if (way.open === circuit) this.#forget(key, way)
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

  async #make(address: ServiceAddress, timeoutMs: number): Promise<number> {
    const { engine, driver, circuits } = this.#parts
    const { signal } = this.#closed
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

  #forget(key: string, way: Way): void {
    if (this.#ways.get(key) === way) this.#ways.delete(key)
  }

  /** Closes ways that carry nothing any more. Runs only while there are any. */
  #look(): void {
    if (this.#timer !== undefined || this.#open.size === 0 || this.#closed.signal.aborted) return
    this.#timer = setTimeout(() => {
      this.#timer = undefined
      const streams = new Map(this.#parts.engine.snapshot().circuits.map(({ id, streams: open }) => [id, open]))
      const now = performance.now()
      for (const way of this.#open) {
        if (way.open === undefined) continue
        if ((streams.get(way.open) ?? 0) > 0) way.usedMs = now
        else if (now - way.usedMs >= CIRCUIT_IDLE_MS || way.untilMs <= now) this.#end(way, way.open)
      }
      this.#look()
    }, LOOK_EVERY_MS).unref()
  }

  #end(way: Way, circuit: number): void {
    this.#open.delete(way)
    for (const [key, other] of this.#ways) if (other === way) this.#ways.delete(key)
    this.#parts.circuits.close(circuit)
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

/** What a stream to a service failed with, for those who wait. */
export function serviceError(error: unknown): AnonNetError {
  return wrapError(error, 'ERR_ANONNET_RENDEZVOUS_FAILED')
}
