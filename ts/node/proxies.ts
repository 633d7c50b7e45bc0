/**
 * Answers what proxy clients ask: which circuit. The proxies themselves are in Rust; no byte of theirs comes here.
 */

import { isolationKey } from '../churn/index.js'
import { errorFromCode, wrapError } from '../errors/index.js'
import type { Engine, ProxyRequestEvent } from '../native/index.js'
import { checkHost, refuseServiceNames } from './address.js'
import type { CircuitDriver } from './circuits.js'

/** Gives each request of a proxy client a circuit. */
export class ProxyRequests {
  readonly #engine: Engine
  readonly #driver: CircuitDriver
  /** Native request id -> the driver's. */
  readonly #requests = new Map<number, number>()

  constructor(engine: Engine, driver: CircuitDriver) {
    this.#engine = engine
    this.#driver = driver
  }

  /** A new request, or one whose circuit ended before it was connected. */
  requested(event: ProxyRequestEvent): void {
    const known = this.#requests.get(event.request)
    if (known !== undefined) {
      this.#driver.failed(known, errorFromCode(event.code ?? 'ERR_ANONNET_CIRCUIT_CLOSED'))
      return
    }
    try {
      this.#begin(event)
    } catch (error) {
      this.#engine.refuse(event.request, wrapError(error).code)
    }
  }

  /** The stream is connected, or the name resolved. */
  connected(request: number): void {
    const id = this.#take(request)
    if (id !== undefined) this.#driver.connected(id)
  }

  /** The client left, or the request ended otherwise. */
  gone(request: number): void {
    const id = this.#take(request)
    if (id !== undefined) this.#driver.cancel(id)
  }

  #take(request: number): number | undefined {
    const id = this.#requests.get(request)
    this.#requests.delete(request)
    return id
  }

  #begin({ request, listener, client, user, password, kind, host, port }: ProxyRequestEvent): void {
    const name = checkHost(host)
    refuseServiceNames(name)
    const isolation = isolationKey({
      listener,
      client,
      ...(user === undefined ? {} : { user }),
      ...(password === undefined ? {} : { password })
    })
    const target = { host: name, port }
    const id = this.#driver.request(
      { isolation, kind, ...(kind === 'connect' ? { target } : {}) },
      {
        attach: (circuit) => this.#engine.attach(request, circuit),
        refuse: (error) => {
          this.#requests.delete(request)
          this.#engine.refuse(request, error.code)
        }
      }
    )
    // The native side answers later, never from within attach: its next event for the request finds the number.
    if (this.#driver.waits(id)) this.#requests.set(request, id)
  }
}
