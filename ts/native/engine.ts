/**
 * The typed face of the native node: operation ids become promises, codes become errors, events go to one listener.
 */

import { errorFromCode } from '../errors/index.js'
import { guarded, translate } from './guarded.js'
import { KeepAlive } from './keep-alive.js'
import { loadAddon } from './loader.js'
import type { OperationOptions } from './operations.js'
import { Operations } from './operations.js'
import { ServiceEngine } from './service-engine.js'
import type { EngineEvent, Hop, NativeAddon, NativeNode, NativeNodeOptions, NativeSnapshot, OpOkEvent, PeerAddress } from './types.js'

/** Options of a request that waits for an answer. */
export interface RequestOptions extends OperationOptions {
  timeoutMs: number
  maxReplyBytes: number
}

/** For how long an answer to a proxied request stands, and how many streams its circuit may have. */
export interface Stands {
  ms: number
  streams: number
}

/** Options of an operation with a deadline. */
export interface TimedOptions extends OperationOptions {
  timeoutMs: number
}

/** A view of the same bytes as a Buffer; the native side copies on entry. */
function buffer(bytes: Uint8Array): Buffer {
  return Buffer.isBuffer(bytes) ? bytes : Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength)
}

/** A fresh one is made instead. */
const NO_KEY = new Uint8Array(0)

/** One native node. */
export class Engine {
  readonly keepAlive = new KeepAlive()
  /** What it does for services. */
  readonly services: ServiceEngine
  readonly #native: NativeNode
  readonly #operations: Operations
  readonly #onError: (error: unknown) => void
  #onEvent: ((event: EngineEvent) => void) | undefined
  #early: EngineEvent[] = []
  #draining = false
  #closing: Promise<void> | undefined
  #closed = false

  /**
   * Starts the native node.
   *
   * @param onError what an event listener threw; events go on.
   * @throws ERR_ANONNET_BIND_FAILED, ERR_ANONNET_KEY_*, ERR_ANONNET_INVALID_ARGUMENT.
   */
  constructor(options: NativeNodeOptions, onError: (error: unknown) => void, addon: NativeAddon = loadAddon()) {
    this.#onError = onError
    this.#native = guarded(() => new addon.NativeNode(options, () => this.#drain()))
    this.#operations = new Operations(this.keepAlive, (op) => {
      if (!this.#closed) this.#native.cancel(op)
    })
    this.services = new ServiceEngine({
      native: this.#native,
      closing: () => this.closing,
      ask: (begin, convert, options) => this.#ask(begin, convert, options)
    })
  }

  /** Receives every event that nobody asked for, from now on; what came before it was set is delivered first. */
  listen(listener: (event: EngineEvent) => void): void {
    this.#onEvent = listener
    const early = this.#early
    this.#early = []
    for (const event of early) this.#dispatch(event)
  }

  /** True from the first call of `close`. */
  get closing(): boolean {
    return this.#closing !== undefined
  }

  get nodeId(): string {
    return guarded(() => this.#native.nodeId())
  }

  get publicKey(): Buffer {
    return guarded(() => this.#native.publicKey())
  }

  get onionKey(): Buffer {
    return guarded(() => this.#native.onionKey())
  }

  /** The bound UDP address, 'ip:port'; undefined for a client. */
  get localAddress(): string | undefined {
    return guarded(() => this.#native.localAddress()) ?? undefined
  }

  /** Ed25519 signature by the node's identity. */
  sign(message: Uint8Array): Buffer {
    return guarded(() => this.#native.sign(buffer(message)))
  }

  /** Makes a new circuit key; the old one is accepted for 24 hours more. */
  rotateOnionKey(): Buffer {
    return guarded(() => this.#native.rotateOnionKey())
  }

  setKnownRelays(relays: PeerAddress[]): void {
    if (!this.closing) guarded(() => this.#native.setKnownRelays(relays))
  }

  /** One request to a node. `fresh`: over a link that is dialled for it alone, so that an answer proves that it is at that address. */
  rpc(peer: PeerAddress, body: Uint8Array, options: RequestOptions & { fresh?: boolean | undefined }): Promise<Buffer> {
    const { nodeId, address } = peer
    return this.#ask(
      (op) => this.#native.rpc(op, { nodeId, address }, buffer(body), options.timeoutMs, options.maxReplyBytes, options.fresh),
      bytesOf,
      options
    )
  }

  /** One request to the last hop of a circuit. */
  circuitRpc(circuit: number, body: Uint8Array, options: RequestOptions): Promise<Buffer> {
    return this.#ask((op) => this.#native.circuitRpc(op, circuit, buffer(body), options.timeoutMs, options.maxReplyBytes), bytesOf, options)
  }

  rpcReply(request: number, body: Uint8Array): void {
    if (!this.closing) guarded(() => this.#native.rpcReply(request, buffer(body)))
  }

  rpcReject(request: number): void {
    if (!this.closing) guarded(() => this.#native.rpcReject(request))
  }

  /**
   * Builds a circuit over the given hops. A callback, not a promise: `done` comes before any later event of the circuit.
   * Background work: it does not keep the process alive.
   */
  buildCircuit(path: Hop[], timeoutMs: number, done: (error: Error | undefined, circuit: number) => void): void {
    this.#call(
      (op) => this.#native.buildCircuit(op, path, timeoutMs),
      (error, answer) => done(error, answer?.number ?? 0)
    )
  }

  closeCircuit(circuit: number): void {
    if (!this.closing) guarded(() => this.#native.closeCircuit(circuit))
  }

  /** Closes every link with all that runs on it. The node goes on: the next operation dials anew. */
  closeLinks(): void {
    if (!this.closing) guarded(() => this.#native.closeLinks())
  }

  /** Addresses of a name, looked up at the circuit's last hop. */
  resolve(circuit: number, host: string, options: TimedOptions): Promise<string[]> {
    return this.#ask(
      (op) => this.#native.resolve(op, circuit, host, options.timeoutMs),
      (answer) => JSON.parse(textOf(answer)) as string[],
      options
    )
  }

  /** Opens a stream at the circuit's last hop; resolves to its id when the target is connected. */
  connect(circuit: number, host: string, port: number, options: TimedOptions): Promise<number> {
    return this.#ask(
      (op) => this.#native.connect(op, circuit, host, port, options.timeoutMs),
      numberOf,
      options,
      (answer) => this.destroy(numberOf(answer))
    )
  }

  /** Reads a chunk of a stream; null is its end. One at a time. Does not keep the process alive: the socket's hold does. */
  read(stream: number, done: (error: Error | undefined, bytes: Buffer | null) => void): void {
    this.#call(
      (op) => this.#native.read(op, stream),
      (error, answer) => done(error, answer?.bytes ?? null)
    )
  }

  /** Hands bytes to a stream's bounded queue. One at a time. */
  write(stream: number, data: Uint8Array, done: (error: Error | undefined) => void): void {
    this.#call(
      (op) => this.#native.write(op, stream, buffer(data)),
      (error) => done(error)
    )
  }

  /** Half-closes a stream after what was written. */
  end(stream: number): void {
    if (!this.closing) guarded(() => this.#native.end(stream))
  }

  destroy(stream: number): void {
    if (!this.closing) guarded(() => this.#native.destroy(stream))
  }

  /** Listens for proxy clients; resolves to the listener and the address that was bound. */
  listenProxy(address: string, options: OperationOptions = {}): Promise<{ listener: number; address: string }> {
    return this.#ask(
      (op) => this.#native.listenProxy(op, address),
      (answer) => ({ listener: numberOf(answer), address: textOf(answer) }),
      options,
      (answer) => this.closeProxy(numberOf(answer))
    )
  }

  closeProxy(listener: number): void {
    if (!this.closing) guarded(() => this.#native.closeProxy(listener))
  }

  /** False: the request is over. With `stands`, the same request gets the circuit again without being asked about. */
  attach(request: number, circuit: number, stands?: Stands): boolean {
    return !this.closing && guarded(() => this.#native.attach(request, circuit, stands?.ms, stands?.streams))
  }

  /** Takes back what stands for a circuit, or everything. */
  withdraw(circuit?: number): void {
    if (!this.closing) guarded(() => this.#native.withdraw(circuit))
  }

  refuse(request: number, code: string): void {
    if (!this.closing) guarded(() => this.#native.refuse(request, code))
  }

  /** Listens for direct links; resolves to the listener, which `destroy` ends, the address that was bound and the id it has. */
  listenDirect(
    at: string,
    key: Uint8Array | undefined,
    maxLinks: number,
    options: OperationOptions
  ): Promise<{ listener: number; address: string; nodeId: string }> {
    return this.#ask(
      (op) => this.#native.listenDirect(op, at, key ?? NO_KEY, maxLinks),
      (answer) => ({ listener: numberOf(answer), address: textOf(answer), nodeId: bytesOf(answer).toString('hex') }),
      options,
      (answer) => this.destroy(numberOf(answer))
    )
  }

  /** Opens a direct link; resolves to its stream. */
  connectDirect(peer: PeerAddress, key: Uint8Array | undefined, options: TimedOptions): Promise<number> {
    return this.#ask(
      (op) => this.#native.connectDirect(op, peer.nodeId, peer.address, key ?? NO_KEY, options.timeoutMs),
      numberOf,
      options,
      (answer) => this.destroy(numberOf(answer))
    )
  }

  /** The node's own circuits. */
  circuits(): NativeSnapshot['circuits'] {
    return guarded(() => this.#native.circuits())
  }

  /** The node's links. */
  links(): NativeSnapshot['links'] {
    return guarded(() => this.#native.links())
  }

  /** Circuits, links and counters. Throws ERR_ANONNET_NOT_BUILT where the addon counts nothing. */
  snapshot(): NativeSnapshot {
    return guarded(() => this.#native.snapshot())
  }

  /** Ends everything; resolves when all of it has ended. Idempotent. */
  close(drainMs: number): Promise<void> {
    this.#closing ??= this.#close(drainMs)
    return this.#closing
  }

  async #close(drainMs: number): Promise<void> {
    try {
      await this.#operations.promise(
        (op) => guarded(() => this.#native.close(op, drainMs)),
        () => undefined
      )
    } finally {
      this.#drain()
      this.#closed = true
      this.#operations.failAll('ERR_ANONNET_CLOSED')
    }
  }

  #ask<T>(
    begin: (op: number) => void,
    convert: (answer: OpOkEvent) => T,
    options: OperationOptions,
    late?: (answer: OpOkEvent) => void
  ): Promise<T> {
    if (this.closing) return Promise.reject(errorFromCode('ERR_ANONNET_CLOSED'))
    return this.#operations.promise((op) => guarded(() => begin(op)), convert, late === undefined ? options : { ...options, late })
  }

  #call(begin: (op: number) => void, settle: (error: Error | undefined, answer: OpOkEvent | undefined) => void): void {
    if (this.closing) {
      queueMicrotask(() => settle(errorFromCode('ERR_ANONNET_CLOSED'), undefined))
      return
    }
    try {
      this.#operations.start(begin, settle, { keepAlive: false })
    } catch (error) {
      queueMicrotask(() => settle(translate(error) as Error, undefined))
    }
  }

  #drain(): void {
    // A listener may close the node or make the native side speak again: one loop at a time empties what waits.
    if (this.#draining || this.#closed) return
    this.#draining = true
    try {
      for (let events = this.#native.drain(); events.length > 0; events = this.#native.drain()) {
        for (const event of events) {
          try {
            if (event.type === 'opOk' || event.type === 'opFailed') this.#operations.answer(event)
            else if (this.#onEvent === undefined) this.#early.push(event)
            else this.#dispatch(event)
          } catch (error) {
            this.#onError(error)
          }
        }
      }
    } catch (error) {
      this.#onError(translate(error))
    } finally {
      this.#draining = false
    }
  }

  #dispatch(event: EngineEvent): void {
    try {
      this.#onEvent?.(event)
    } catch (error) {
      this.#onError(error)
    }
  }
}

function numberOf(answer: OpOkEvent): number {
  if (answer.number === undefined) throw errorFromCode('ERR_ANONNET_INTERNAL', { detail: 'an answer without its number' })
  return answer.number
}

function textOf(answer: OpOkEvent): string {
  if (answer.text === undefined) throw errorFromCode('ERR_ANONNET_INTERNAL', { detail: 'an answer without its text' })
  return answer.text
}

function bytesOf(answer: OpOkEvent): Buffer {
  if (answer.bytes === undefined) throw errorFromCode('ERR_ANONNET_INTERNAL', { detail: 'an answer without its bytes' })
  return answer.bytes
}
