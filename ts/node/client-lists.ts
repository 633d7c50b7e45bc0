/**
 * A client's relay list: the first from bootstrap nodes, later ones through circuits, so that nobody sees who asks.
 */

import { ListFetcher, type Peer, type RelayList, type RpcCall } from '../directory/index.js'
import { type AnonNetError, errorFromCode, isAnonNetError } from '../errors/index.js'
import { verify } from '../native/index.js'
import type { BootstrapPeer } from './address.js'
import type { Core } from './base.js'
import type { CircuitDriver } from './circuits.js'
import { overCircuit } from './requests.js'
import { RPC_TIMEOUT_MS, rpcOver, rpcThrough } from './rpc.js'
import { cryptoRng, Runner } from './runner.js'
import { Saver } from './saver.js'

/** Name of the file in the state directory. */
export const LIST_FILE = 'list.bin'
/** With fewer relays no path of three exists: the list is asked for again soon. */
const MIN_RELAYS = 3
/** Directory questions of this client share circuits with each other and with nothing else. */
const ISOLATION = 'directory'
const LONGEST_TIMER_MS = 2 ** 31 - 1

export interface ClientListsParts {
  core: Core
  driver: CircuitDriver
  peers: readonly BootstrapPeer[]
  cached: Uint8Array | undefined
  onError: (error: unknown, message: string) => void
  onList: () => void
}

export class ClientLists {
  readonly #parts: ClientListsParts
  readonly #fetcher: ListFetcher
  readonly #runner: Runner
  readonly #saver: Saver
  readonly #direct: RpcCall
  #list: RelayList | undefined
  #asleep = false
  #expiry: NodeJS.Timeout | undefined
  #lastError: AnonNetError | undefined

  constructor(parts: ClientListsParts) {
    this.#parts = parts
    const { core, peers, cached, onError } = parts
    this.#direct = rpcOver(core.engine)
    this.#saver = new Saver(core.state, LIST_FILE, (error) => onError(error, 'the relay list could not be kept'))
    this.#fetcher = new ListFetcher({
      bootstrapKeys: peers.map(({ publicKey }) => publicKey),
      sources: peers,
      rpc: (peer, method, params, options) => this.#ask(peer, method, params, options),
      now: Date.now,
      rng: cryptoRng,
      verify,
      minRelays: MIN_RELAYS,
      onList: (list) => this.#take(list),
      ...(cached === undefined ? {} : { cached })
    })
    this.#runner = new Runner(this.#fetcher, (error) => onError(error, 'the relay list could not be fetched'))
  }

  /** The list in use. */
  get list(): RelayList | undefined {
    return this.#list
  }

  /** Why the last question failed. */
  get lastError(): AnonNetError | undefined {
    return this.#lastError
  }

  /** Uses what was kept on disk at once, and fetches what is newer. */
  start(): void {
    const { newest } = this.#fetcher
    if (newest === undefined) {
      void this.#runner.start()
      return
    }
    this.#take(newest)
    this.#runner.schedule()
  }

  /** Asks nobody before `wake`. */
  sleep(): void {
    this.#asleep = true
    clearTimeout(this.#expiry)
    this.#runner.pause()
  }

  /** Uses the list again, if it is still valid; else fetches one as at the start. */
  wake(): void {
    this.#asleep = false
    const list = this.#list
    if (list !== undefined && Date.now() >= list.validUntil * 1000) this.#list = undefined
    else if (list !== undefined) this.#use(list)
    this.#runner.resume()
    if (this.#list === undefined) void this.#runner.start()
  }

  close(): void {
    clearTimeout(this.#expiry)
    this.#runner.close()
    this.#fetcher.close()
  }

  /** Resolves when the list is on the disk. */
  flush(): Promise<void> {
    return this.#saver.flush()
  }

  #take(list: RelayList): void {
    const { core, onList } = this.#parts
    this.#list = list
    this.#saver.save(() => list.raw)
    core.diagnostics.emit('list:updated', {
      relays: list.relays.length,
      validAfter: list.validAfter,
      freshUntil: list.freshUntil,
      validUntil: list.validUntil
    })
    onList()
    // An answer that was under way when the node fell asleep is kept for later.
    if (!this.#asleep) this.#use(list)
  }

  #use(list: RelayList): void {
    const leftMs = Math.max(0, list.validUntil * 1000 - Date.now())
    clearTimeout(this.#expiry)
    this.#expiry = setTimeout(() => this.#expired(), Math.min(leftMs, LONGEST_TIMER_MS)).unref()
    this.#parts.driver.setList(list)
  }

  #expired(): void {
    this.#list = undefined
    this.#parts.driver.setList(undefined)
  }

  #ask: RpcCall = async (peer, method, params, options = {}) => {
    if (this.#asleep) throw errorFromCode('ERR_ANONNET_ABORTED')
    try {
      if (this.#list === undefined) return await this.#direct(peer, method, params, options)
      return await this.#throughCircuit(peer, method, params, options)
    } catch (error) {
      if (isAnonNetError(error)) this.#lastError = error
      throw error
    }
  }

  /** Asks the last hop of a circuit; a bootstrap node only when no circuit answers, which a list that grows old is worse than. */
  async #throughCircuit(peer: Peer, method: string, params: unknown, options: Parameters<RpcCall>[3] = {}): Promise<unknown> {
    const { core, driver } = this.#parts
    const { timeoutMs = RPC_TIMEOUT_MS, signal } = options
    try {
      const done = await overCircuit(driver, { isolation: ISOLATION, kind: 'dir' }, { timeoutMs, signal }, (circuit, limits) =>
        rpcThrough(core.engine, circuit)(peer, method, params, { ...options, timeoutMs: limits.timeoutMs })
      )
      driver.streamClosed(done.circuit)
      return done.result
    } catch (error) {
      if (signal?.aborted || this.#asleep) throw error
      return this.#direct(peer, method, params, options)
    }
  }
}
