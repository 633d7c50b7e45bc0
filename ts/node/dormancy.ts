/**
 * A client's sleep: nothing sent, nothing running, and what is kept across it (guards, the relay list, whatever listens) kept.
 */

import type { Diagnostics } from '../diagnostics/index.js'
import { type AnonNetError, errorFromCode } from '../errors/index.js'
import { type Engine, type EngineEvent, onAbort } from '../native/index.js'
import type { CircuitDriver } from './circuits.js'
import type { ClientLists } from './client-lists.js'

/** How `wake` may be waited for. */
export interface WakeOptions {
  /** Ends the waiting; its reason is thrown as is. The node stays awake. */
  signal?: AbortSignal
  /** For the whole of it; default the node's `readyTimeoutMs`. */
  timeoutMs?: number
}

interface Waiting {
  resolve: () => void
  reject: (reason: unknown) => void
}

/** Those who wait until a circuit is ready. */
export class Readiness {
  readonly #waiting = new Set<Waiting>()

  /** Resolves with the next circuit that is ready. Rejects with the signal's reason, or with what `late` gives when the time is over. */
  wait(limits: { signal: AbortSignal | undefined; timeoutMs: number }, late: () => Error): Promise<void> {
    const { signal, timeoutMs } = limits
    return new Promise((resolve, reject) => {
      const settle = (then: () => void): void => {
        clearTimeout(timer)
        unlisten()
        this.#waiting.delete(waiting)
        then()
      }
      const waiting: Waiting = { resolve: () => settle(resolve), reject: (reason) => settle(() => reject(reason)) }
      // Whoever waits holds the process by other means, or does not.
      const timer = setTimeout(() => waiting.reject(late()), timeoutMs).unref()
      const unlisten = onAbort(signal, () => waiting.reject(signal?.reason))
      this.#waiting.add(waiting)
    })
  }

  ready(): void {
    for (const waiting of [...this.#waiting]) waiting.resolve()
  }

  fail(error: AnonNetError): void {
    for (const waiting of [...this.#waiting]) waiting.reject(error)
  }
}

export interface DormancyParts {
  engine: Engine
  diagnostics: Diagnostics
  driver: CircuitDriver
  lists: ClientLists
  readiness: Readiness
}

/** Puts a client to sleep and wakes it. */
export class Dormancy {
  readonly #parts: DormancyParts
  #asleep = false
  #quiet: (() => void)[] = []

  constructor(parts: DormancyParts) {
    this.#parts = parts
  }

  get asleep(): boolean {
    return this.#asleep
  }

  /** Ends all that runs; resolves when no link is left. */
  sleep(): Promise<void> {
    const { engine, diagnostics, driver, lists, readiness } = this.#parts
    if (!this.#asleep) {
      this.#asleep = true
      const error = errorFromCode('ERR_ANONNET_ABORTED', { detail: 'the node was made dormant' })
      lists.sleep()
      driver.sleep(error)
      readiness.fail(error)
      engine.closeLinks()
      diagnostics.emit('dormant', { state: 'dormant' })
    }
    return new Promise((resolve) => {
      this.#quiet.push(resolve)
      this.#look()
    })
  }

  /** The opposite, at once: lists are looked after and circuits built again. */
  wake(): void {
    if (!this.#asleep) return
    this.#asleep = false
    this.#tell()
    this.#parts.diagnostics.emit('dormant', { state: 'awake' })
    this.#parts.driver.wake()
    this.#parts.lists.wake()
  }

  /** What came up from below; a dial that was under way when the node fell asleep may still bring a link. */
  onEvent(event: EngineEvent): void {
    if (!this.#asleep) return
    if (event.type === 'linkUp') this.#parts.engine.closeLinks()
    else if (event.type === 'linkDown') this.#look()
  }

  /** Nobody waits for a node that is closed. */
  close(): void {
    this.#tell()
    this.#parts.readiness.fail(errorFromCode('ERR_ANONNET_CLOSED'))
  }

  #look(): void {
    const { engine } = this.#parts
    if (engine.closing || engine.links().length === 0) this.#tell()
  }

  #tell(): void {
    for (const resolve of this.#quiet.splice(0)) resolve()
  }
}
