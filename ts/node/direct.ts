/**
 * Direct links: not anonymous, and as fast as two programs can be connected.
 */

import { errorFromCode } from '../errors/index.js'
import type { DirectStreamEvent, EngineEvent, Hold } from '../native/index.js'
import { joinAddress, parseUdpAddress } from './address.js'
import { BaseNode, type CloseOptions, warn } from './base.js'
import { connected } from './connected.js'
import { advertised } from './options.js'
import { AnonSocket } from './socket.js'

const DEFAULT_LISTEN = '127.0.0.1:0'
const DEFAULT_MAX_LINKS = 256
/** The most that a listener can be told to have at once. */
const MAX_LINKS = 4_096
/** Direct listeners of one node. */
const MAX_LISTENERS = 64
const KEY_BYTES = 32
const DEFAULT_TIMEOUT_MS = 5_000

/** Who is at the other end of a direct link. */
export interface DirectPeer {
  /** What it proved to be, 64 hex digits; a new one each time unless it has a key. */
  nodeId: string
  /** 'ip:port' that it is seen at. */
  address: string
}

/** Gets each direct link that another node opens. */
export type DirectHandler = (socket: AnonSocket, peer: DirectPeer) => void

/** Options of `listenDirect`. */
export interface DirectListenOptions {
  /** UDP address, 'ip:port'; default 127.0.0.1 and any port. */
  listen?: string
  /** The address that others use, 'ip:port'; default: the bound one. */
  advertise?: string
  /** The Ed25519 seed (32 bytes) that the listener's id is made of; default: a fresh one. Never one that the node has elsewhere. */
  key?: Uint8Array
  /** Links at once, 1 to 4,096; default 256. Further ones are refused. */
  maxLinks?: number
  /** As net.Server's: whether a socket's writing half stays open when the other side ends; default false. */
  allowHalfOpen?: boolean
  /** Aborts the start; its reason is thrown as is. */
  signal?: AbortSignal
}

/** Options of `connectDirect`. */
export interface DirectConnectOptions {
  /** Ends the attempt; its reason is thrown as is. */
  signal?: AbortSignal
  /** For the whole of it; default 5,000 ms. */
  timeoutMs?: number
  /** The Ed25519 seed (32 bytes) of the id that the listener sees; default: a fresh one. */
  key?: Uint8Array
  /** As net.Socket's; default false. */
  allowHalfOpen?: boolean
}

/** A listener for direct links. */
export interface DirectListener extends AsyncDisposable {
  /** '<node id>@ip:port', for `connectDirect`. */
  readonly address: string
  /** Takes no more links; those that are up go on. */
  close(): Promise<void>
}

/** Parses '<64 hex digits>@ip:port'. Throws ERR_ANONNET_INVALID_ADDRESS. */
export function parseDirectAddress(address: string): { nodeId: string; address: string; ip: string; port: number } {
  const [, nodeId, at] = /^([0-9a-f]{64})@(.+)$/i.exec(typeof address === 'string' ? address : '') ?? []
  if (nodeId === undefined || at === undefined)
    throw errorFromCode('ERR_ANONNET_INVALID_ADDRESS', { detail: "a direct link's address is '<64 hex digits>@ip:port'" })
  const { ip, port } = parseUdpAddress(at)
  return { nodeId: nodeId.toLowerCase(), address: joinAddress(ip, port), ip, port }
}

function checkKey(key: Uint8Array | undefined): Uint8Array | undefined {
  if (key !== undefined && (!(key instanceof Uint8Array) || key.length !== KEY_BYTES))
    throw errorFromCode('ERR_ANONNET_KEY_INVALID', { detail: 'the key of a direct link has 32 bytes' })
  return key
}

interface Listening {
  handler: DirectHandler
  allowHalfOpen: boolean
  hold: Hold
}

/** A node that has direct links. */
export abstract class DirectNode extends BaseNode {
  readonly #listening = new Map<number, Listening>()

  /**
   * NOT anonymous: listens for direct links, over which both ends see each other's IP address. For programs that know each other and want the
   * speed of one encrypted, authenticated link (QUIC, hybrid post-quantum TLS, both ends prove an identity). The listener has an identity of its
   * own; nothing ties it to what the node does anonymously but the machine it runs on. Keeps the process alive until it is closed.
   *
   * @param handler gets each link as a socket, and who opened it.
   * @throws ERR_ANONNET_INVALID_ADDRESS, _INVALID_ARGUMENT, _CONFIG_INVALID (all addresses, and none to tell), _KEY_INVALID, _BIND_FAILED,
   * _RESOURCE_LIMIT (more than 64 listeners), _CLOSED; the signal's reason as it is.
   */
  async listenDirect(options: DirectListenOptions, handler: DirectHandler): Promise<DirectListener> {
    this.assertOpen()
    const { listen = DEFAULT_LISTEN, key, maxLinks = DEFAULT_MAX_LINKS, allowHalfOpen = false, signal } = options
    if (typeof handler !== 'function') throw errorFromCode('ERR_ANONNET_INVALID_ARGUMENT', { detail: 'a direct listener needs a handler' })
    if (!Number.isInteger(maxLinks) || maxLinks < 1 || maxLinks > MAX_LINKS)
      throw errorFromCode('ERR_ANONNET_INVALID_ARGUMENT', { detail: `maxLinks is a number from 1 to ${MAX_LINKS}` })
    const { ip, port } = parseUdpAddress(listen, true)
    // Whether there is one, before anything is bound; which port it gets is known later.
    advertised(options, joinAddress(ip, port || 1))
    if (this.#listening.size >= MAX_LISTENERS) throw errorFromCode('ERR_ANONNET_RESOURCE_LIMIT')
    const { engine } = this.core
    const bound = await engine.listenDirect(joinAddress(ip, port), checkKey(key), maxLinks, { signal })
    const id = bound.listener
    const listening = { handler, allowHalfOpen, hold: engine.keepAlive.hold() }
    this.#listening.set(id, listening)
    const close = async (): Promise<void> => this.#end(id)
    return { address: `${bound.nodeId}@${advertised(options, bound.address)}`, close, [Symbol.asyncDispose]: close }
  }

  /**
   * NOT anonymous: connects straight to a direct listener, over which both ends see each other's IP address. Resolves when the listener has
   * proved that it is the one of that id. The socket is what `connect` gives: bytes, back-pressure, half-close.
   *
   * @param address '<node id>@ip:port', as the listener's `address`.
   * @throws ERR_ANONNET_INVALID_ADDRESS, _KEY_INVALID, _LINK_UNREACHABLE (nobody answered), _LINK_IDENTITY (somebody else did), _LINK_PROTOCOL (no
   * direct listener), _RATE_LIMITED (it has as many links as it takes), _LINK_CLOSED, _TIMEOUT (answered, and no
   * further), _CLOSED; the signal's reason as it is.
   */
  async connectDirect(address: string, options: DirectConnectOptions = {}): Promise<AnonSocket> {
    this.assertOpen()
    const { signal, timeoutMs = DEFAULT_TIMEOUT_MS, key, allowHalfOpen = false } = options
    const { ip, port, ...peer } = parseDirectAddress(address)
    checkKey(key)
    signal?.throwIfAborted()
    const { engine } = this.core
    const open = async (closed: AbortSignal): Promise<{ stream: number }> => ({
      stream: await engine.connectDirect(peer, key, { timeoutMs, signal: closed })
    })
    return connected(new AnonSocket({ engine, port, remote: ip, allowHalfOpen, signal, open }), signal)
  }

  override close(options: CloseOptions = {}): Promise<void> {
    for (const id of [...this.#listening.keys()]) this.#end(id)
    return super.close(options)
  }

  /** @internal */
  protected override onCommonEvent(event: EngineEvent): boolean {
    if (event.type !== 'directStream') return super.onCommonEvent(event)
    // Not before whoever awaits the listener, whose answer may have come in the same batch, has it.
    setImmediate(() => this.#onStream(event))
    return true
  }

  #end(id: number): void {
    this.#listening.get(id)?.hold.release()
    if (this.#listening.delete(id)) this.core.engine.destroy(id)
  }

  #onStream({ listener, stream, nodeId, address }: DirectStreamEvent): void {
    const { engine } = this.core
    const listening = this.#listening.get(listener)
    if (listening === undefined) {
      engine.destroy(stream)
      return
    }
    const { handler, allowHalfOpen } = listening
    const { ip, port } = parseUdpAddress(address)
    const socket = new AnonSocket({ engine, port, remote: ip, linger: true, allowHalfOpen, open: () => Promise.resolve({ stream }) })
    // One peer's broken link must not end the program of who forgot to listen for it.
    socket.on('error', () => undefined)
    socket.once('connect', () => {
      try {
        handler(socket, { nodeId, address })
      } catch (error) {
        socket.destroy()
        if (!this.closed) warn(this.core, error, 'the handler of a direct listener threw')
      }
    })
  }
}
