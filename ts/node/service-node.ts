/**
 * What a client is for services: it offers its own, and reaches others'.
 */

import { randomBytes } from 'node:crypto'
import { stallDelayMs, withSample } from '../churn/index.js'
import { errorFromCode, isAnonNetError, wrapError } from '../errors/index.js'
import { type EngineEvent, type Hold, type IncomingStreamEvent, onAbort, serviceCrypto } from '../native/index.js'
import { loadSecondLayer } from '../routing/index.js'
import { parseServiceHost, type ServiceAddress, serviceLimits, serviceName } from '../services/index.js'
import { checkHost, parseUdpAddress } from './address.js'
import { type Core, warn } from './base.js'
import type { CircuitDriver } from './circuits.js'
import { HttpNode } from './http-node.js'
import type { NodeOptions } from './options.js'
import { Saver } from './saver.js'
import { ServiceCircuits } from './service-circuits.js'
import { ServiceClient } from './service-client.js'
import { ServiceHost } from './service-host.js'
import { serviceKeyFile } from './service-keys.js'
import { ServiceMeetings } from './service-meetings.js'
import { AnonSocket, type OpenStream } from './socket.js'

/** Name of the second layer's file in the state directory, and of a service's key. */
export const SECOND_LAYER_FILE = 'second-layer.json'
const KEY_FILE = 'service.key'
/** Services of one node. */
const MAX_SERVICES = 128
const DEFAULT_LISTEN_TIMEOUT_MS = 120_000
const DEFAULT_PORT = 80
/** A stream that takes four times what they take, within these, is tried over another circuit. */
const STALL = { stallFirstMs: 3_000, stallMinMs: 1_000, stallMaxMs: 3_000 }
/** Pause before a service looks itself up again that was not found. */
const FIND_AGAIN_MS = 500

/** Gets each stream that a client opens; `port` is the virtual one. */
export type ServiceHandler = (socket: AnonSocket, port: number) => void

/** Options of `listen`. */
export interface ListenOptions {
  /** The virtual port; default 80. */
  port?: number
  /** Several of them; or for each its own target. */
  ports?: readonly number[] | Readonly<Record<number, string>>
  /** 'ip:port' that every stream is connected with, where there is no handler. Its bytes never pass through JavaScript. */
  target?: string
  /** The Ed25519 seed (32 bytes) that the address is made of. */
  key?: Uint8Array
  /** A directory whose file `service.key` is the key, made when it is not there. Without `key` and `stateDir` the address is a new one. */
  stateDir?: string
  /** X25519 keys of the clients that may reach it (32 bytes, hex or base64url); absent or empty: everybody. */
  auth?: readonly (string | Uint8Array)[]
  /** Aborts the start; its reason is thrown as is. */
  signal?: AbortSignal
  /** How long the start may take, in milliseconds; default 120,000. */
  timeoutMs?: number
}

/** A service that is published. */
export interface Service extends AsyncDisposable {
  /** The `.anon` name. */
  readonly address: string
  /** The virtual ports. */
  readonly ports: readonly number[]
  /** Introduction points that are up now. */
  readonly introPoints: number
  /** The effort that clients have to prove now; 0 while there is no load. */
  readonly effort: number
  /** Ends it: clients' streams are reset, nothing is published any more. */
  close(): Promise<void>
}

/** A key of 32 bytes, as it is or in text. Throws ERR_ANONNET_INVALID_ARGUMENT. */
export function parseClientKey(key: string | Uint8Array): Uint8Array {
  if (typeof key === 'string') {
    if (/^[0-9a-f]{64}$/i.test(key)) return Uint8Array.from(Buffer.from(key, 'hex'))
    if (/^[\w-]{43}$/.test(key)) return Uint8Array.from(Buffer.from(key, 'base64url'))
  } else if (key instanceof Uint8Array && key.length === 32) {
    return Uint8Array.from(key)
  }
  throw errorFromCode('ERR_ANONNET_INVALID_ARGUMENT', {
    detail: 'a key for authorization is 64 hex digits, 43 base64url characters or 32 bytes'
  })
}

/** Virtual port → target, undefined for the handler. Throws ERR_ANONNET_INVALID_ARGUMENT, _INVALID_ADDRESS. */
function portsOf({ port, ports, target }: ListenOptions, handler: ServiceHandler | undefined): Map<number, string | undefined> {
  const given: [number, string | undefined][] =
    ports === undefined
      ? [[port ?? DEFAULT_PORT, target]]
      : Array.isArray(ports)
        ? ports.map((one: number) => [one, target])
        : Object.entries(ports).map(([one, own]) => [Number(one), own])
  const invalid = (detail: string): Error => errorFromCode('ERR_ANONNET_INVALID_ARGUMENT', { detail })
  if (port !== undefined && ports !== undefined) throw invalid('either port or ports')
  if (given.length === 0) throw invalid('a service has one port at least')
  for (const [one, own] of given) {
    if (!Number.isInteger(one) || one < 1 || one > 65_535) throw invalid('a virtual port is a number from 1 to 65535')
    if (own !== undefined) parseUdpAddress(own)
    if ((own === undefined) === (handler === undefined)) throw invalid('a service has either a handler or a target for each port')
  }
  return new Map(given)
}

/** A node that offers and reaches services. */
export abstract class ServiceNode extends HttpNode {
  readonly #core: Core
  readonly #layer: Saver
  readonly #hosts = new Map<ServiceHost, Hold>()
  /** Set by `prepareServices`, which the subclass calls once its driver is there. */
  #driver!: CircuitDriver
  #circuits!: ServiceCircuits
  #meetings!: ServiceMeetings
  #client!: ServiceClient
  #connectTimesMs: readonly number[] = []

  /** @internal */
  constructor(core: Core) {
    super(core)
    this.#core = core
    this.#layer = new Saver(core.state, SECOND_LAYER_FILE, (error) => this.#warn(error, 'the second layer could not be kept'))
  }

  /** @internal */
  protected prepareServices(driver: CircuitDriver, options: Pick<NodeOptions, 'testNetwork'>, kept: string | undefined): void {
    const { engine } = this.#core
    const { layer, warning } = loadSecondLayer(kept)
    if (warning !== undefined) this.#warn(warning, 'the kept second layer is damaged: a new one is chosen')
    const rules = { allowSamePrefix: options.testNetwork?.relaxedPrefixes ?? false }
    this.#driver = driver
    this.#circuits = new ServiceCircuits({ engine, driver, rules, layer, saver: this.#layer })
    this.#meetings = new ServiceMeetings({ engine, circuits: this.#circuits })
    this.#client = new ServiceClient({ engine, driver, circuits: this.#circuits })
  }

  /**
   * Publishes a service; resolves when another node can find it. It is kept reachable, and keeps the process alive, until it is closed.
   *
   * @param handler gets each stream; without one `target` (or `ports` with targets) says what they are connected with.
   * @throws ERR_ANONNET_INVALID_ARGUMENT, _INVALID_ADDRESS, _RESOURCE_LIMIT (more than 128), _KEY_PERMISSIONS, _KEY_INVALID, _STORE_FAILED, _TIMEOUT
   * (not reachable in time), _CLOSED; the signal's reason as it is.
   */
  async listen(options: ListenOptions, handler?: ServiceHandler): Promise<Service> {
    this.assertOpen()
    const { signal, timeoutMs = DEFAULT_LISTEN_TIMEOUT_MS } = options
    signal?.throwIfAborted()
    const ports = portsOf(options, handler)
    const clients = (options.auth ?? []).map(parseClientKey)
    if (clients.length > serviceLimits.MAX_AUTH_CLIENTS) throw errorFromCode('ERR_ANONNET_RESOURCE_LIMIT', { detail: 'authorised clients' })
    const seed = await seedOf(options)
    if (this.#hosts.size >= MAX_SERVICES) throw errorFromCode('ERR_ANONNET_RESOURCE_LIMIT', { detail: 'services' })
    const publicKey = serviceCrypto.publicKey(seed)
    const address: ServiceAddress = { publicKey, name: serviceName(publicKey) }
    if ([...this.#hosts.keys()].some((host) => host.address.name === address.name))
      throw errorFromCode('ERR_ANONNET_INVALID_ARGUMENT', {
        detail: 'this node publishes that service already: give all its ports in one call'
      })
    this.assertOpen()
    const { engine } = this.#core
    let published = (): void => undefined
    const host = new ServiceHost({
      engine,
      driver: this.#driver,
      circuits: this.#circuits,
      meetings: this.#meetings,
      seed,
      address,
      clients,
      onStream: (event) => this.#onStream(event, ports, handler),
      onError: (error, message) => this.#warn(error, message),
      onPublished: () => published()
    })
    this.#hosts.set(host, engine.keepAlive.hold())
    const close = async (): Promise<void> => this.#end(host)
    try {
      await reachable(host, { signal, timeoutMs }, (told) => {
        published = told
      })
    } catch (error) {
      await close()
      throw this.closed ? errorFromCode('ERR_ANONNET_CLOSED') : error
    }
    return {
      address: `${address.name}.anon`,
      ports: [...ports.keys()],
      get introPoints() {
        return host.introPoints
      },
      get effort() {
        return host.effort
      },
      close,
      [Symbol.asyncDispose]: close
    }
  }

  /**
   * Keeps a key for a service that takes authorised clients only. It is not written to the disk.
   *
   * @param address the `.anon` name.
   * @param key the client's X25519 secret (32 bytes, hex or base64url); undefined forgets it.
   * @throws ERR_ANONNET_SERVICE_ADDRESS, _INVALID_ADDRESS, _INVALID_ARGUMENT, _CLOSED.
   */
  authorize(address: string, key: string | Uint8Array | undefined): void {
    this.assertOpen()
    this.#client.authorize(parseServiceHost(checkHost(address)), key === undefined ? undefined : parseClientKey(key))
  }

  /** A circuit to a service. @internal */
  protected serviceCircuit(
    service: ServiceAddress,
    isolation: string,
    limits: { timeoutMs: number; signal?: AbortSignal | undefined }
  ): Promise<number> {
    return this.#client.circuit(service, isolation, limits)
  }

  /** A circuit did not carry a stream to its service. @internal */
  protected serviceFailed(circuit: number, code: string): void {
    this.#client.failed(circuit, code === 'ERR_ANONNET_TIMEOUT')
  }

  /** Opens a stream to a service; once more over another circuit where that can help. @internal */
  protected async openService(
    service: ServiceAddress,
    port: number,
    isolation: string,
    limits: { timeoutMs: number; signal: AbortSignal }
  ): Promise<OpenStream> {
    const deadline = performance.now() + limits.timeoutMs
    const left = (): { timeoutMs: number; signal: AbortSignal } => ({
      timeoutMs: Math.max(1, Math.ceil(deadline - performance.now())),
      signal: limits.signal
    })
    for (let tries = 0; ; tries += 1) {
      const circuit = await this.#client.circuit(service, isolation, left())
      try {
        // A circuit that does not answer may be dead without anybody having noticed: another one is faster than to wait for that.
        const { timeoutMs, signal } = left()
        const stallMs = stallDelayMs({ limits: STALL, connectTimesMs: this.#connectTimesMs })
        const firstMs = tries === 0 ? Math.min(timeoutMs, stallMs) : timeoutMs
        const begunMs = performance.now()
        const stream = await this.#core.engine.connect(circuit, '', port, { timeoutMs: firstMs, signal })
        this.#connectTimesMs = withSample(this.#connectTimesMs, performance.now() - begunMs)
        return { circuit, stream }
      } catch (error) {
        if (!isAnonNetError(error)) throw error
        const again = error.code === 'ERR_ANONNET_TIMEOUT' || (error.retry === 'now' && error.code !== 'ERR_ANONNET_STREAM_RESET')
        if (again) this.serviceFailed(circuit, error.code)
        if (!again || tries > 0) throw error
      }
    }
  }

  /** Events that concern services; returns false for the others. @internal */
  protected onServiceEvent(event: EngineEvent): boolean {
    switch (event.type) {
      case 'circuitClosed':
        this.#circuits.closed(event.circuit, event.code)
        // The driver wants to know as well.
        return false
      case 'introduced':
        if (![...this.#hosts.keys()].some((host) => host.introduced(event))) this.#core.engine.services.dropIntroduction(event.request)
        return true
      case 'incomingStream':
        if (![...this.#hosts.keys()].some((host) => host.incoming(event)))
          this.#core.engine.services.refuseStream(event.stream, 'ERR_ANONNET_STREAM_REFUSED')
        return true
      default:
        return false
    }
  }

  /** The node sleeps: what was met is forgotten. Services come back with the next list. @internal */
  protected sleepServices(): void {
    this.#client.sleep()
  }

  /** @internal */
  protected async stopServices(): Promise<void> {
    this.#client.close()
    for (const host of [...this.#hosts.keys()]) this.#end(host)
    await this.#layer.flush()
  }

  #end(host: ServiceHost): void {
    host.close()
    this.#hosts.get(host)?.release()
    this.#hosts.delete(host)
  }

  #onStream(
    { stream, circuit, port }: IncomingStreamEvent,
    ports: ReadonlyMap<number, string | undefined>,
    handler: ServiceHandler | undefined
  ): void {
    const { services } = this.#core.engine
    const target = ports.get(port)
    if (!ports.has(port)) {
      services.refuseStream(stream, 'ERR_ANONNET_STREAM_REFUSED')
    } else if (target !== undefined) {
      // The client is told why by the native side; here nobody waits for it.
      services.forwardStream(stream, target).catch(() => undefined)
    } else if (handler !== undefined && services.acceptStream(stream)) {
      const { engine } = this.#core
      const socket = new AnonSocket({ engine, port, linger: true, allowHalfOpen: false, open: () => Promise.resolve({ stream, circuit }) })
      // One client's broken connection must not end the program of who forgot to listen for it.
      socket.on('error', () => undefined)
      socket.once('connect', () => {
        try {
          handler(socket, port)
        } catch (error) {
          socket.destroy()
          this.#warn(error, 'the handler of a service threw')
        }
      })
    }
  }

  #warn(error: unknown, message: string): void {
    if (!this.closed) warn(this.#core, error, message)
  }
}

async function seedOf({ key, stateDir }: ListenOptions): Promise<Uint8Array> {
  if (key !== undefined) {
    if (!(key instanceof Uint8Array) || key.length !== 32)
      throw errorFromCode('ERR_ANONNET_KEY_INVALID', { detail: 'a service key has 32 bytes' })
    return Uint8Array.from(key)
  }
  return stateDir === undefined ? Uint8Array.from(randomBytes(32)) : serviceKeyFile(`${stateDir}/${KEY_FILE}`)
}

/** Waits until the service was stored and is found again through others. */
function reachable(
  host: ServiceHost,
  { signal, timeoutMs }: { signal: AbortSignal | undefined; timeoutMs: number },
  onPublished: (told: () => void) => void
): Promise<void> {
  const deadline = performance.now() + timeoutMs
  return new Promise((resolve, reject) => {
    const tries = new AbortController()
    let looking = false
    let lastError: unknown
    const settle = (then: () => void): void => {
      clearTimeout(timer)
      unlistenSignal()
      unlistenEnd()
      onPublished(() => undefined)
      tries.abort(errorFromCode('ERR_ANONNET_ABORTED'))
      then()
    }
    const late = (): Error => errorFromCode('ERR_ANONNET_TIMEOUT', { detail: 'the service could not be found by others', cause: lastError })
    const timer = setTimeout(() => settle(() => reject(late())), timeoutMs).unref()
    const unlistenSignal = onAbort(signal, () => settle(() => reject(signal?.reason)))
    const unlistenEnd = onAbort(host.ended, () => settle(() => reject(host.ended.reason)))
    const look = async (): Promise<void> => {
      if (looking || !host.published) return
      looking = true
      try {
        await host.find(Math.max(1, deadline - performance.now()), tries.signal)
        settle(resolve)
      } catch (error) {
        lastError = wrapError(error)
        looking = false
        if (!tries.signal.aborted) setTimeout(() => void look(), FIND_AGAIN_MS).unref()
      }
    }
    onPublished(() => void look())
    void look()
  })
}
