/**
 * Answers what proxy clients ask: which circuit. The proxies themselves are in Rust; no byte of theirs comes here.
 */

import { BlockList, isIPv4 } from 'node:net'
import { isolationKey } from '../churn/index.js'
import { errorFromCode, registryEntry, wrapError } from '../errors/index.js'
import type { Engine, ProxyRequestEvent } from '../native/index.js'
import type { ServiceAddress } from '../services/index.js'
import { checkHost, parseUdpAddress, serviceOf } from './address.js'
import type { CircuitDriver } from './circuits.js'

/** The native side asks again at once; this is for a busy event loop. */
const AGAIN_WITHIN_MS = 2_000

/** Warnings about names that clients resolved themselves come no more often. */
const LITERAL_WARNING_MS = 60_000

/** Addresses that nobody looks up: their use says nothing about a name. */
const PRIVATE = new BlockList()
for (const [network, bits] of [
  ['10.0.0.0', 8],
  ['127.0.0.0', 8],
  ['169.254.0.0', 16],
  ['172.16.0.0', 12],
  ['192.168.0.0', 16]
] as const) {
  PRIVATE.addSubnet(network, bits, 'ipv4')
}
PRIVATE.addAddress('::1', 'ipv6')
PRIVATE.addSubnet('fc00::', 7, 'ipv6')
PRIVATE.addSubnet('fe80::', 10, 'ipv6')

function isPrivate(address: string): boolean {
  return PRIVATE.check(address, isIPv4(address) ? 'ipv4' : 'ipv6')
}

/** A client's request, through all its tries. */
interface Entry {
  /** The driver's id. */
  readonly id: number
  readonly listener: number
  /** The native side's id of the try that runs; undefined between a failed one and the next. */
  native: number | undefined
}

/** How long a request may wait for a circuit to its service: less than the native side waits for the answer. */
const SERVICE_TIMEOUT_MS = 55_000

/** Whom to tell, and whom to ask. */
export interface ProxyHooks {
  /** A circuit to a service, for streams of that isolation. */
  service: (service: ServiceAddress, isolation: string, limits: { timeoutMs: number }) => Promise<number>
  /** Such a circuit failed to carry a stream. */
  onServiceFailed: (circuit: number, code: string) => void
  /** A SOCKS client sent a public address, so it may have asked its own resolver for the name; told once a minute at most. */
  onLiteral: () => void
  /** A request was connected, or refused for good with a code. */
  onAnswer: (code: string | undefined) => void
}

/** Gives each request of a proxy client a circuit. */
export class ProxyRequests {
  readonly #engine: Engine
  readonly #driver: CircuitDriver
  /** By the native id of the last try. */
  readonly #entries = new Map<number, Entry>()
  /** Why a try failed, until it is asked again. */
  readonly #failures = new Map<number, string>()
  /** Requests for services; each try is one of its own. */
  readonly #services = new Set<number>()

  readonly #hooks: ProxyHooks
  #warnedMs = Number.NEGATIVE_INFINITY

  constructor(engine: Engine, driver: CircuitDriver, hooks: ProxyHooks) {
    this.#engine = engine
    this.#driver = driver
    this.#hooks = hooks
  }

  /** A new request, or the next try of one that failed before it was connected. */
  requested(event: ProxyRequestEvent): void {
    const before = event.again
    const entry = before === undefined ? undefined : this.#entries.get(before)
    if (before === undefined || entry === undefined) {
      this.#begin(event)
      return
    }
    const code = this.#failures.get(before) ?? 'ERR_ANONNET_CIRCUIT_CLOSED'
    this.#forget(before)
    entry.native = event.request
    this.#entries.set(event.request, entry)
    this.#driver.failed(entry.id, wrapError({ code }))
  }

  /** The stream is connected, or the name resolved; of a request that was not asked about, because its answer stood, this is the first word. */
  connected(request: number, circuit: number): void {
    const entry = this.#forget(request)
    if (entry !== undefined) this.#driver.connected(entry.id)
    else if (!this.#services.delete(request)) this.#driver.taken(circuit)
    this.#hooks.onAnswer(undefined)
  }

  /** A try failed. The native side asks again where another circuit can help; the driver hears of it then, or now. */
  failed(request: number, code: string, circuit: number): void {
    if (this.#services.delete(request)) {
      // Where the service itself answered, its circuit is good.
      if (code === 'ERR_ANONNET_TIMEOUT' || registryEntry(code)?.retry === 'now') this.#hooks.onServiceFailed(circuit, code)
      if (registryEntry(code)?.retry !== 'now') this.#hooks.onAnswer(code)
      return
    }
    const entry = this.#entries.get(request)
    if (entry === undefined) return
    entry.native = undefined
    if (registryEntry(code)?.retry === 'now') {
      this.#failures.set(request, code)
      // What is not asked again soon is not asked again: its client left, or had its last try.
      setTimeout(() => this.#settle(request, code), AGAIN_WITHIN_MS).unref()
    } else {
      this.#settle(request, code)
    }
  }

  /** A listener was closed, and with it its clients. */
  closed(listener: number): void {
    for (const [request, entry] of this.#entries) if (entry.listener === listener) this.#cancel(request)
  }

  #cancel(request: number): void {
    const entry = this.#forget(request)
    if (entry !== undefined) this.#driver.cancel(entry.id)
  }

  #settle(request: number, code: string): void {
    const entry = this.#forget(request)
    if (entry === undefined || entry.native !== undefined) return
    this.#driver.failed(entry.id, wrapError({ code }))
    this.#driver.cancel(entry.id)
    this.#hooks.onAnswer(code)
  }

  #forget(request: number): Entry | undefined {
    const entry = this.#entries.get(request)
    this.#entries.delete(request)
    this.#failures.delete(request)
    return entry
  }

  #begin({ request, listener, protocol, client, user, password, kind, host, port, literal, circuit }: ProxyRequestEvent): void {
    let entry: Entry | undefined
    try {
      const name = checkHost(host)
      const service = serviceOf(name)
      // What is warned of is asked about each time.
      const warns = literal === true && protocol !== 'http' && !isPrivate(name)
      if (warns) this.#noteLiteral()
      const isolation = isolationKey({
        listener,
        client: parseUdpAddress(client).ip,
        ...(user === undefined ? {} : { user }),
        ...(password === undefined ? {} : { password })
      })
      if (service !== undefined) {
        if (kind === 'resolve') throw errorFromCode('ERR_ANONNET_UNSUPPORTED', { detail: 'a service has no address to look up' })
        this.#toService(request, service, isolation)
        return
      }
      const id = this.#driver.request(
        {
          isolation,
          kind,
          ...(kind === 'connect' ? { target: { host: name, port } } : {}),
          ...(circuit === undefined ? {} : { on: circuit })
        },
        {
          attach: (circuit, stands) => {
            const native = entry === undefined ? request : entry.native
            // Nobody waits for it any more; told later, because the pool is in the middle of its step.
            if (native === undefined || !this.#engine.attach(native, circuit, warns ? undefined : stands()))
              queueMicrotask(() => this.#lost(entry))
          },
          refuse: (error) => {
            const native = entry === undefined ? request : entry.native
            if (native === undefined) return
            this.#forget(native)
            this.#engine.refuse(native, error.code)
            this.#hooks.onAnswer(error.code)
          }
        }
      )
      entry = { id, listener, native: request }
      // The native side answers later, never from within attach: its next event for the request finds the number.
      if (this.#driver.waits(id)) this.#entries.set(request, entry)
    } catch (error) {
      const { code } = wrapError(error)
      this.#engine.refuse(request, code)
      this.#hooks.onAnswer(code)
    }
  }

  #toService(request: number, service: ServiceAddress, isolation: string): void {
    this.#services.add(request)
    this.#hooks.service(service, isolation, { timeoutMs: SERVICE_TIMEOUT_MS }).then(
      (circuit) => {
        if (!this.#engine.attach(request, circuit)) this.#services.delete(request)
      },
      (error: unknown) => {
        this.#services.delete(request)
        const { code } = wrapError(error)
        this.#engine.refuse(request, code)
        this.#hooks.onAnswer(code)
      }
    )
  }

  #noteLiteral(): void {
    const now = performance.now()
    if (now - this.#warnedMs < LITERAL_WARNING_MS) return
    this.#warnedMs = now
    this.#hooks.onLiteral()
  }

  #lost(entry: Entry | undefined): void {
    if (entry === undefined) return
    if (entry.native !== undefined) this.#forget(entry.native)
    this.#driver.cancel(entry.id)
  }
}
