/**
 * A client: circuits, streams, proxies.
 */

import { isolationKey } from '../churn/index.js'
import { errorFromCode, isAnonNetError } from '../errors/index.js'
import type { EngineEvent } from '../native/index.js'
import { guardsToJson, loadGuards } from '../routing/index.js'
import { checkHost, parseTarget, refuseServiceNames, serviceOf, type Target } from './address.js'
import { type Core, launch, openCore, warn } from './base.js'
import { CircuitDriver } from './circuits.js'
import { ClientLists, LIST_FILE } from './client-lists.js'
import { connected } from './connected.js'
import { Dormancy, Readiness, type WakeOptions } from './dormancy.js'
import { checkIsolate } from './http-node.js'
import { bootstrapPeers, checked, DEFAULT_CONNECT_TIMEOUT_MS, DEFAULT_READY_TIMEOUT_MS, type NodeOptions } from './options.js'
import { ProxyRequests } from './proxies.js'
import { ProxyListener } from './proxy-listener.js'
import { overCircuit } from './requests.js'
import { cryptoRng } from './runner.js'
import { Saver } from './saver.js'
import { SECOND_LAYER_FILE, ServiceNode } from './service-node.js'
import { AnonSocket } from './socket.js'
import { type CircuitStatus, listStatus, type NodeStatus } from './status.js'

const GUARDS_FILE = 'guards.json'
const LITERAL_WARNING =
  'a proxy client sent an address instead of a name: it may have asked its own resolver; use socks5h:// or --socks5-hostname'
const DEFAULT_PROXY_ADDRESS = '127.0.0.1:0'

/** Options of `resolve`. */
export interface ResolveOptions {
  /** Questions with different values never share a circuit. */
  isolate?: string
  /** Ends the question; its reason is thrown as is. */
  signal?: AbortSignal
  /** For the whole of it; default 30,000 ms. ERR_ANONNET_TIMEOUT. */
  timeoutMs?: number
}

/** Options of `connect` and `createConnection`. */
export interface ConnectOptions extends ResolveOptions {
  /** As net.Socket's: whether the writing half stays open when the other side ends; default false. */
  allowHalfOpen?: boolean
}

/** What the state directory has of the last time. */
interface Kept {
  list: Uint8Array | undefined
  guards: string | undefined
  layer: string | undefined
}

/** A running client. Made by `createNode`. */
export class AnonNode extends ServiceNode {
  readonly #options: NodeOptions
  readonly #driver: CircuitDriver
  readonly #lists: ClientLists
  readonly #proxyRequests: ProxyRequests
  readonly #proxies = new Set<ProxyListener>()
  readonly #guards: Saver
  readonly #readiness = new Readiness()
  readonly #dormancy: Dormancy

  /** @internal */
  constructor(core: Core, options: NodeOptions, kept: Kept) {
    super(core)
    this.#options = options
    this.#guards = new Saver(core.state, GUARDS_FILE, (error) => this.#warn(error, 'the guards could not be kept'))
    const { guards, warning } = loadGuards(kept.guards)
    if (warning !== undefined) warn(core, warning, 'the kept guards are damaged: new ones are chosen')
    this.#driver = new CircuitDriver({
      engine: core.engine,
      diagnostics: core.diagnostics,
      rules: { allowSamePrefix: options.testNetwork?.relaxedPrefixes ?? false },
      guards,
      rng: cryptoRng,
      onGuards: (changed) => this.#guards.save(() => Buffer.from(guardsToJson(changed))),
      onReady: () => this.#circuitReady(),
      onDemand: () => this.#dormancy.wake()
    })
    this.prepareServices(this.#driver, options, kept.layer)
    this.#proxyRequests = new ProxyRequests(core.engine, this.#driver, {
      service: (service, isolation, limits) => this.serviceCircuit(service, isolation, limits),
      onServiceFailed: (circuit, code) => this.serviceFailed(circuit, code),
      onLiteral: () => warn(core, errorFromCode('ERR_ANONNET_CONFIG_INVALID'), LITERAL_WARNING),
      onAnswer: (code) => core.diagnostics.emit('stream', code === undefined ? { state: 'connected' } : { state: 'refused', code })
    })
    this.#lists = new ClientLists({
      core,
      driver: this.#driver,
      peers: bootstrapPeers(options.bootstrap),
      cached: kept.list,
      onError: (error, message) => this.#warn(error, message),
      onList: () => this.progress(50, 'list', 'a majority of the bootstrap nodes signed the relay list')
    })
    const { engine, diagnostics } = core
    this.#dormancy = new Dormancy({ engine, diagnostics, driver: this.#driver, lists: this.#lists, readiness: this.#readiness })
    engine.listen((event) => this.#onEvent(event))
  }

  /** The proxy ports that are open. */
  get proxies(): readonly ProxyListener[] {
    return [...this.#proxies]
  }

  /**
   * Connects through three relays, or to a `.anon` service; resolves when the target is connected.
   *
   * @param target 'host:port' or its parts; names are resolved at the exit, never here.
   * @throws ERR_ANONNET_INVALID_ADDRESS, _UNSUPPORTED (`.onion`), _STREAM_REFUSED, _HOST_UNREACHABLE, _NAME_NOT_RESOLVED, _EXIT_POLICY,
   * _NO_PATH, _NOT_BOOTSTRAPPED, _CIRCUIT_CLOSED, _TIMEOUT, _CLOSED; of services _SERVICE_ADDRESS, _SERVICE_NOT_FOUND, _CLIENT_AUTH,
   * _CLIENT_AUTH_WRONG, _INTRODUCTION_FAILED, _INTRODUCTION_TIMEOUT, _RENDEZVOUS_FAILED, _RECORD_INVALID; the signal's reason as it is.
   */
  async connect(target: string | Target, options: ConnectOptions = {}): Promise<AnonSocket> {
    options.signal?.throwIfAborted()
    return connected(this.createConnection(target, options), options.signal)
  }

  /**
   * The same at once: a socket that is not connected yet, as net.createConnection. What is written is sent when it is. Failures are `error` events.
   *
   * @throws ERR_ANONNET_INVALID_ADDRESS, _UNSUPPORTED, _INVALID_ARGUMENT, _CLOSED; the reason of a signal that was aborted before.
   */
  override createConnection(target: string | Target, options: ConnectOptions = {}): AnonSocket {
    this.assertOpen()
    const { host, port } = parseTarget(target)
    const { isolate, signal, timeoutMs = DEFAULT_CONNECT_TIMEOUT_MS, allowHalfOpen = false } = options
    checkIsolate(isolate)
    signal?.throwIfAborted()
    const { engine, diagnostics } = this.core
    const driver = this.#driver
    const service = serviceOf(host)
    return new AnonSocket({
      engine,
      port,
      remote: service && `${service.name}.anon`,
      allowHalfOpen,
      signal,
      onClosed: (circuit) => {
        driver.streamClosed(circuit)
        diagnostics.emit('stream', { state: 'closed', circuit })
      },
      open: async (closed) => {
        const isolation = apiIsolation(isolate)
        const request = { isolation, kind: 'connect' as const, target: { host, port } }
        const limits = { timeoutMs, signal: closed }
        const begunMs = performance.now()
        const opening = service
          ? this.openService(service, port, isolation, limits)
          : overCircuit(driver, request, limits, (on, left) => engine.connect(on, host, port, left))
        const open = await opening.catch((error: unknown) => {
          diagnostics.emit('stream', { state: 'refused', code: codeOf(error), waitedMs: performance.now() - begunMs })
          throw error
        })
        diagnostics.emit('stream', { state: 'connected', circuit: open.circuit, waitedMs: performance.now() - begunMs })
        return 'stream' in open ? open : { stream: open.result, circuit: open.circuit }
      }
    })
  }

  /**
   * Addresses of a name, looked up at an exit.
   *
   * @returns IPv4 and IPv6 addresses as text.
   * @throws as `connect`.
   */
  async resolve(name: string, options: ResolveOptions = {}): Promise<string[]> {
    this.assertOpen()
    const host = checkHost(name)
    refuseServiceNames(host)
    const { isolate, signal, timeoutMs = DEFAULT_CONNECT_TIMEOUT_MS } = options
    checkIsolate(isolate)
    signal?.throwIfAborted()
    const request = { isolation: apiIsolation(isolate), kind: 'resolve' as const }
    const hold = this.core.engine.keepAlive.hold()
    try {
      const done = await overCircuit(this.#driver, request, { timeoutMs, signal }, (circuit, limits) =>
        this.core.engine.resolve(circuit, host, limits)
      )
      this.#driver.streamClosed(done.circuit)
      return done.result
    } finally {
      hold.release()
    }
  }

  /** True from `dormant()` to `wake()`, or to the next request. */
  get asleep(): boolean {
    return this.#dormancy.asleep
  }

  /**
   * Goes to sleep: circuits and links are closed, no timer runs, nothing is sent. Resolves when that is so. Guards, the relay list, the ports of
   * proxies and this object stay. Streams that are open end with ERR_ANONNET_CIRCUIT_CLOSED, what is not connected yet with _ABORTED.
   * The next `connect`, `resolve` or proxy client wakes the node.
   *
   * @throws ERR_ANONNET_CLOSED.
   */
  async dormant(): Promise<void> {
    this.assertOpen()
    this.sleepServices()
    await this.#held(this.#dormancy.sleep())
  }

  /**
   * Wakes the node, if it sleeps, and resolves when a circuit is ready.
   *
   * @throws as `createNode`: ERR_ANONNET_NOT_BOOTSTRAPPED, _TIMEOUT; _ABORTED when the node was made dormant meanwhile; _CLOSED; the signal's reason
   * as it is.
   */
  async wake({ signal, timeoutMs = this.#options.readyTimeoutMs ?? DEFAULT_READY_TIMEOUT_MS }: WakeOptions = {}): Promise<void> {
    this.assertOpen()
    signal?.throwIfAborted()
    this.#dormancy.wake()
    const { clean, dirty } = this.#driver.summary
    if (clean + dirty > 0) return
    await this.#held(this.#readiness.wait({ signal, timeoutMs }, () => this.#notReady()))
  }

  /**
   * Opens a port for SOCKS4, SOCKS4a, SOCKS5 and HTTP proxy clients, all on one.
   *
   * @param options.address 'ip:port', default 127.0.0.1 and any port. Whoever reaches it can use it: keep it on loopback.
   * @throws ERR_ANONNET_BIND_FAILED, _INVALID_ADDRESS, _CLOSED; the signal's reason as it is.
   */
  async listenProxy(options: { address?: string; signal?: AbortSignal } = {}): Promise<ProxyListener> {
    this.assertOpen()
    const { engine, diagnostics } = this.core
    const { address = DEFAULT_PROXY_ADDRESS, signal } = options
    const bound = await engine.listenProxy(address, { signal })
    const listener = new ProxyListener(engine, bound.listener, bound.address, (closed) => {
      this.#proxies.delete(closed)
      this.#proxyRequests.closed(closed.id)
      diagnostics.emit('proxy', { state: 'closed', port: portOf(bound.address) })
    })
    this.#proxies.add(listener)
    diagnostics.emit('proxy', { state: 'listening', port: portOf(bound.address) })
    return listener
  }

  override status(): NodeStatus {
    const circuits = this.core.engine.circuits()
    const { building } = this.#driver.summary
    return {
      ...this.baseStatus(),
      address: null,
      list: listStatus(this.#lists.list),
      circuits: {
        ready: circuits.length,
        building,
        streams: circuits.reduce((sum, { streams }) => sum + streams, 0)
      },
      proxies: this.proxies.map(({ address }) => address),
      relay: null
    }
  }

  override circuits(): CircuitStatus[] {
    return this.core.engine.circuits().map(({ id, hops, ...numbers }) => {
      const path = this.#driver.path(id)
      const addresses = new Map(path?.map((relay) => [relay.nodeId, relay.address]))
      return { id, hops: hops.map((nodeId) => ({ nodeId, address: addresses.get(nodeId) ?? null })), ready: true, ...numbers }
    })
  }

  /** Gets a list and a circuit; resolves when both are there. @internal */
  async begin(): Promise<void> {
    const { signal, readyTimeoutMs = DEFAULT_READY_TIMEOUT_MS, proxy = [], control } = this.#options
    const hold = this.core.engine.keepAlive.hold()
    try {
      const ready = this.#readiness.wait({ signal, timeoutMs: readyTimeoutMs }, () => this.#notReady())
      // Ports that cannot be bound are told at once, not after a minute.
      ready.catch(() => undefined)
      for (const address of typeof proxy === 'string' ? [proxy] : proxy) await this.listenProxy({ address })
      await this.openControl(control)
      signal?.throwIfAborted()
      this.#lists.start()
      await ready
    } finally {
      hold.release()
    }
  }

  protected override async stop(): Promise<void> {
    this.#dormancy.close()
    this.#lists.close()
    await this.stopServices()
    for (const listener of this.#proxies) await listener.close()
    this.#driver.close()
    await this.#lists.flush()
    await this.#guards.flush()
  }

  /** Keeps the process alive until that is over. */
  async #held(what: Promise<void>): Promise<void> {
    const hold = this.core.engine.keepAlive.hold()
    try {
      await what
    } finally {
      hold.release()
    }
  }

  #notReady(): Error {
    const cause = this.#lists.lastError
    if (this.#lists.list === undefined) return errorFromCode('ERR_ANONNET_NOT_BOOTSTRAPPED', { cause })
    return errorFromCode('ERR_ANONNET_TIMEOUT', { detail: 'no circuit could be built', cause: this.#driver.lastError })
  }

  #circuitReady(): void {
    this.progress(100, 'done', 'a circuit is ready')
    this.#readiness.ready()
  }

  #warn(error: unknown, message: string): void {
    if (!this.closed) warn(this.core, error, message)
  }

  #onEvent(event: EngineEvent): void {
    this.#dormancy.onEvent(event)
    if (this.onServiceEvent(event)) return
    switch (event.type) {
      case 'circuitClosed':
        this.#driver.circuitClosed(event.circuit, event.code)
        return
      case 'streamEnded':
        this.#driver.streamClosed(event.circuit)
        this.core.diagnostics.emit('stream', { state: 'closed', circuit: event.circuit, code: event.code })
        return
      case 'proxyRequest':
        // Asked again for a client whose circuit ended with the node's sleep: that wakes nobody.
        if (event.again !== undefined && this.asleep) this.core.engine.refuse(event.request, 'ERR_ANONNET_ABORTED')
        else this.#proxyRequests.requested(event)
        return
      case 'proxyConnected':
        this.#proxyRequests.connected(event.request, event.circuit)
        return
      case 'proxyFailed':
        this.#proxyRequests.failed(event.request, event.code, event.circuit)
        return
      case 'rpcRequest':
        // A client has no roles: whoever asks it anything is refused.
        this.core.engine.rpcReject(event.request)
        return
      default:
        this.onCommonEvent(event)
    }
  }
}

function portOf(address: string): number {
  return Number(address.slice(address.lastIndexOf(':') + 1))
}

/** An abort of the caller's may have any reason. */
function codeOf(error: unknown): string {
  return isAnonNetError(error) ? error.code : 'ERR_ANONNET_ABORTED'
}

function apiIsolation(isolate: string | undefined): string {
  return isolationKey(isolate === undefined ? { listener: 'api' } : { listener: 'api', token: isolate })
}

/**
 * Starts a client; resolves when the first circuit is ready.
 *
 * @throws ERR_ANONNET_CONFIG_INVALID, _INVALID_ADDRESS, _STORE_FAILED, _BIND_FAILED, _NOT_BOOTSTRAPPED (no list in time), _TIMEOUT (no circuit in time);
 * the reason of `options.signal` as it is.
 */
export async function createNode(options: NodeOptions): Promise<AnonNode> {
  checked('client', options)
  const core = await openCore('client', options, () => ({}))
  return launch(core, async () => {
    const list = await core.state?.read(LIST_FILE)
    const guards = (await core.state?.read(GUARDS_FILE))?.toString('utf8')
    const layer = (await core.state?.read(SECOND_LAYER_FILE))?.toString('utf8')
    return new AnonNode(core, options, { list, guards, layer })
  })
}
