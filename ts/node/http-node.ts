/**
 * What a client is for those who speak HTTP.
 */

import type { Agent } from 'node:https'
import { errorFromCode } from '../errors/index.js'
import type { Target } from './address.js'
import { AnonAgent, type AnonAgentOptions, type Dial } from './agent.js'
import { DirectNode } from './direct.js'
import { type Connector, connectorOver, type DispatcherOptions, dispatcherOver, type FetchDispatcher, PerIsolation } from './dispatcher.js'
import type { AnonSocket } from './socket.js'

/** Throws ERR_ANONNET_INVALID_ARGUMENT. */
export function checkIsolate(isolate: unknown): void {
  if (isolate !== undefined && typeof isolate !== 'string')
    throw errorFromCode('ERR_ANONNET_INVALID_ARGUMENT', { detail: 'isolate is a string' })
}

/** A node through which HTTP clients connect. */
export abstract class HttpNode extends DirectNode {
  readonly #dial: Dial = (target, options) => this.createConnection(target, options)
  readonly #agents = new PerIsolation<AnonAgent>()
  readonly #dispatchers = new PerIsolation<FetchDispatcher>()

  abstract createConnection(target: string | Target, options?: { isolate?: string }): AnonSocket

  /**
   * An agent for node:http and node:https, and for what takes one (ws, axios, got, node-fetch): names are resolved at the exit, idle sockets are
   * kept for later requests of this agent and of no other. The same one for the same `isolate`; with further options a new one each time.
   *
   * @param options `isolate`; those of http.Agent (default: keepAlive, 5,000 ms of idle time); those of tls.connect for https.
   * @throws ERR_ANONNET_INVALID_ARGUMENT, _CLOSED. What `connect` throws is an `error` event of the request.
   */
  agent(options: AnonAgentOptions = {}): Agent {
    this.assertOpen()
    checkIsolate(options.isolate)
    const { isolate, ...others } = options
    const make = (): AnonAgent => new AnonAgent(this.#dial, options)
    return Object.keys(others).length > 0 ? make() : this.#agents.get(isolate, make)
  }

  /**
   * A dispatcher for Node's own fetch: `fetch(url, { dispatcher: node.dispatcher() })`. The same one for the same `isolate`, so that connections are
   * used again; with `tls` a new one each time.
   *
   * @throws ERR_ANONNET_UNSUPPORTED where this process' fetch has a dispatcher that is no Agent; _INVALID_ARGUMENT, _CLOSED. What `connect` throws
   * is the `cause` of fetch's TypeError.
   */
  dispatcher(options: DispatcherOptions = {}): FetchDispatcher {
    this.assertOpen()
    checkIsolate(options.isolate)
    const make = (): FetchDispatcher => dispatcherOver(this.#dial, options)
    return options.tls === undefined ? this.#dispatchers.get(options.isolate, make) : make()
  }

  /**
   * What undici takes as `connect`, for those who make an Agent, Pool or Client of their own: `new Agent({ connect: node.connector() })`.
   *
   * @throws ERR_ANONNET_INVALID_ARGUMENT, _CLOSED.
   */
  connector(options: DispatcherOptions = {}): Connector {
    this.assertOpen()
    checkIsolate(options.isolate)
    return connectorOver(this.#dial, options)
  }
}
