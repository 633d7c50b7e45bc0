/**
 * An agent for node:http and node:https whose connections go through the network.
 */

import { Agent as HttpAgent, type AgentOptions as HttpAgentOptions } from 'node:http'
import { Agent as HttpsAgent } from 'node:https'
import { isIP } from 'node:net'
import type { Duplex } from 'node:stream'
import type { ConnectionOptions, TLSSocket } from 'node:tls'
import { errorFromCode } from '../errors/index.js'
import type { Target } from './address.js'
import type { AnonSocket } from './socket.js'

/** As Node's own global agents. */
const DEFAULTS: HttpAgentOptions = { keepAlive: true, scheduling: 'lifo', timeout: 5_000 }
/** Frames between the getter of `defaultPort` and `https.request`: three, in every version that is supported. */
const FRAMES = 12

/** Options of `agent()`: ours, those of http.Agent, and those of tls.connect for https. */
export interface AnonAgentOptions extends HttpAgentOptions, Omit<ConnectionOptions, keyof HttpAgentOptions | 'socket' | 'path'> {
  /** Streams of agents with different values never share a circuit. */
  isolate?: string
}

/** Opens a socket that is not connected yet; throws when the target cannot be one. */
export type Dial = (target: Target, options: { isolate?: string }) => AnonSocket

/** What http.Agent hands to `createConnection`, as far as it is read here. */
interface RequestOptions {
  /** Set by node:https, and by nobody else. */
  _defaultAgent?: { protocol?: string } | undefined
  host?: string | null | undefined
  port?: number | string | null | undefined
  servername?: string | null | undefined
  socketPath?: string | null | undefined
  ALPNProtocols?: unknown
}

type Created = (error: Error | null, socket?: Duplex) => void

/** Whether node:https asks. An agent is not told for whom it gives its port; the call stack knows. */
function askedByHttps(): boolean {
  const limit = Error.stackTraceLimit
  try {
    Error.stackTraceLimit = FRAMES
    return new Error().stack?.includes('node:https:') ?? false
  } finally {
    Error.stackTraceLimit = limit
  }
}

/** Whether a request is one of node:https. */
function isSecure(options: object): boolean {
  return (options as RequestOptions)._defaultAgent?.protocol === 'https:'
}

/** One agent for http: and https: requests, with a pool and a TLS session cache of its own. */
export class AnonAgent extends HttpsAgent {
  readonly #dial: Dial
  readonly #isolate: string | undefined

  /** @internal */
  constructor(dial: Dial, { isolate, ...options }: AnonAgentOptions) {
    super({ ...DEFAULTS, ...options } as HttpAgentOptions)
    this.#dial = dial
    this.#isolate = isolate
    // Undefined: node:http and node:https each take their own, so that a request whose protocol is not its module's is refused as ever.
    Object.defineProperty(this, 'protocol', { value: undefined, writable: true, configurable: true })
    Object.defineProperty(this, 'defaultPort', { get: () => (askedByHttps() ? 443 : 80), set: () => undefined, configurable: true })
  }

  /** Requests share a socket only if these are equal; plain ones never one with TLS. */
  override getName(options: object = {}): string {
    const base = isSecure(options) ? HttpsAgent.prototype : HttpAgent.prototype
    return `${isSecure(options) ? 'https' : 'http'}:${base.getName.call(this, options as never)}`
  }

  /** @internal */
  override createConnection(given: unknown, callback?: unknown): Duplex | undefined {
    try {
      return this.open(given as RequestOptions)
    } catch (error) {
      // As an `error` event of the request, where callers look; http.request itself throws for wrong arguments only.
      queueMicrotask(() => (callback as Created)(error as Error))
      return undefined
    }
  }

  /** A socket that is not connected yet, with TLS where the request is one of node:https. @internal */
  open(options: RequestOptions): Duplex {
    return isSecure(options) ? this.#secure(options) : this.#raw(options)
  }

  #secure(options: RequestOptions): TLSSocket {
    const raw = this.#raw(options)
    const { host } = options
    const name = options.servername ?? host ?? ''
    const tls = super.createConnection({
      ...options,
      socket: raw,
      // An address is not a name that TLS could ask for.
      servername: isIP(name) === 0 ? name : '',
      ALPNProtocols: options.ALPNProtocols ?? ['http/1.1']
    } as never) as unknown as TLSSocket
    // The handle below TLS is ours, of which Node knows nothing: who lets an idle socket go must reach it.
    tls.ref = () => {
      raw.ref()
      return tls
    }
    tls.unref = () => {
      raw.unref()
      return tls
    }
    return tls
  }

  #raw({ host, port, socketPath }: RequestOptions): AnonSocket {
    if (socketPath !== undefined && socketPath !== null) {
      throw errorFromCode('ERR_ANONNET_INVALID_ARGUMENT', { detail: 'a socket path leads to this machine, not through the network' })
    }
    const bare = (host ?? '').replace(/^\[(.*)\]$/, '$1')
    return this.#dial({ host: bare, port: Number(port) }, this.#isolate === undefined ? {} : { isolate: this.#isolate })
  }
}
