/**
 * Connections through the network for undici, and so for Node's own fetch.
 */

import type { Socket } from 'node:net'
import type { Duplex } from 'node:stream'
import type { ConnectionOptions } from 'node:tls'
import { errorFromCode } from '../errors/index.js'
import { AnonAgent, type Dial } from './agent.js'

/** undici keeps what makes fetch's connections under one of these; the second since its version 8. */
const GLOBALS = [Symbol.for('undici.globalDispatcher.1'), Symbol.for('undici.globalDispatcher.2')]
const DEFAULT_PORTS = { 'http:': 80, 'https:': 443 } as const

/** Options of `dispatcher()` and `connector()`. */
export interface DispatcherOptions {
  /** Streams of dispatchers with different values never share a circuit. */
  isolate?: string
  /** Options of tls.connect for https: `ca`, `rejectUnauthorized` and so on. */
  tls?: Omit<ConnectionOptions, 'socket' | 'host' | 'port' | 'path'>
}

/** What undici tells its connector. */
export interface ConnectorOptions {
  hostname: string
  host?: string
  protocol: string
  port: string
  servername?: string
  socketPath?: string | null
}

/** What undici takes as `connect`: `new Agent({ connect: node.connector() })`. */
export type Connector = (
  options: ConnectorOptions,
  callback: (...args: [error: null, socket: Socket] | [error: Error, socket: null]) => void
) => void

/** The type of `fetch`'s option `dispatcher` where Node's types have one. */
export type FetchDispatcher = RequestInit extends { dispatcher?: infer D } ? NonNullable<D> : object

type AgentClass = new (options: { connect: Connector }) => FetchDispatcher

/** A function for undici's option `connect`. It never calls back before it has returned: undici 7 would wait for ever. */
export function connectorOver(dial: Dial, { isolate, tls = {} }: DispatcherOptions): Connector {
  // Its cache of TLS sessions is what is used of it: undici has pools of its own.
  const agent = new AnonAgent(dial, isolate === undefined ? {} : { isolate })
  return ({ hostname, protocol, port, servername, socketPath }, callback) => {
    const secure = protocol === 'https:'
    const options = {
      ...tls,
      host: hostname,
      port: port === '' || port === undefined ? DEFAULT_PORTS[secure ? 'https:' : 'http:'] : Number(port),
      ...(servername ? { servername } : {}),
      ...(socketPath ? { socketPath } : {}),
      ...(secure ? { _defaultAgent: { protocol } } : {})
    }
    let socket: Duplex
    try {
      socket = agent.open(options)
    } catch (error) {
      setImmediate(() => callback(error as Error, null))
      return
    }
    const onError = (error: Error): void => callback(error, null)
    socket.once('error', onError)
    socket.once(secure ? 'secureConnect' : 'connect', () => {
      socket.off('error', onError)
      callback(null, socket as Socket)
    })
  }
}

/** Node's undici is loaded with the first of its globals that is touched, and leaves one Agent where others find it. */
function agentClass(): AgentClass {
  void globalThis.Headers
  for (const symbol of GLOBALS) {
    const dispatcher = (globalThis as Record<symbol, unknown>)[symbol]
    if (typeof dispatcher !== 'object' || dispatcher === null) continue
    // Where a program or NODE_USE_ENV_PROXY put a proxy's agent there, the plain one is inside of it.
    const inside = Object.getOwnPropertySymbols(dispatcher).map((key) => (dispatcher as Record<symbol, unknown>)[key])
    for (const candidate of [dispatcher, ...inside]) {
      const type = (candidate as object | null | undefined)?.constructor
      if (type?.name === 'Agent' && typeof (candidate as { dispatch?: unknown }).dispatch === 'function') return type as AgentClass
    }
  }
  throw errorFromCode('ERR_ANONNET_UNSUPPORTED', {
    detail: 'the dispatcher of this process is no Agent of undici: make one with connect: node.connector()'
  })
}

/** A dispatcher for Node's fetch. Throws ERR_ANONNET_UNSUPPORTED. */
export function dispatcherOver(dial: Dial, options: DispatcherOptions): FetchDispatcher {
  return new (agentClass())({ connect: connectorOver(dial, options) })
}

/** One thing for each isolation value, for as long as somebody has it. */
export class PerIsolation<T extends object> {
  readonly #known = new Map<string, WeakRef<T>>()
  readonly #gone = new FinalizationRegistry<string>((key) => {
    if (this.#known.get(key)?.deref() === undefined) this.#known.delete(key)
  })

  get(isolate: string | undefined, make: () => T): T {
    const key = JSON.stringify(isolate ?? null)
    const known = this.#known.get(key)?.deref()
    if (known !== undefined) return known
    const made = make()
    this.#known.set(key, new WeakRef(made))
    this.#gone.register(made, key)
    return made
  }
}
