/**
 * A relay: forwards circuits (in Rust), says so in its descriptor, caches the relay list for clients.
 */

import type { DhtNode } from '../dht/index.js'
import { DescriptorPublisher, ListFetcher, type PublishedFacts, type RelayList } from '../directory/index.js'
import { errorFromCode } from '../errors/index.js'
import { keyFileInspect, onAbort, verify } from '../native/index.js'
import { type Core, launch, signerOf } from './base.js'
import { DhtMember, type DhtMemberParts } from './dht-member.js'
import {
  bootstrapPeers,
  checked,
  DEFAULT_DECLARED_BANDWIDTH,
  DEFAULT_EXIT_POLICY,
  DEFAULT_RELAY_DRAIN_MS,
  type RelayOptions
} from './options.js'
import { rpcOver } from './rpc.js'
import { cryptoRng, Runner } from './runner.js'
import { Saver } from './saver.js'
import { IDENTITY_FILE, openServerCore, ServerNode } from './server.js'
import { serviceHandler } from './service-rpc.js'
import { listStatus, type NodeStatus } from './status.js'

const LIST_FILE = 'list.bin'
/** The circuit key lives so long; the one before it is accepted for a day more. */
const ONION_KEY_LIFETIME_MS = 7 * 24 * 3_600_000
const ROTATION_CHECK_MS = 3_600_000
/** How long the first publication may take before `createRelay` gives up. */
const PUBLISH_TIMEOUT_MS = 30_000
const PUBLISH_POLL_MS = 100

/** A running relay. */
export class RelayNode extends ServerNode {
  readonly #options: RelayOptions
  readonly #publisher: DescriptorPublisher
  readonly #fetcher: ListFetcher
  readonly #runners: Runner[]
  readonly #saver: Saver
  readonly #member: DhtMember
  readonly #rotation: NodeJS.Timeout
  #rotatedMs: number
  #list: RelayList | undefined

  /** @internal */
  constructor(core: Core, options: RelayOptions, cached: Uint8Array | undefined) {
    super(core, options)
    this.#options = options
    this.#rotatedMs = rotatedAt(core, options)
    this.#saver = new Saver(core.state, LIST_FILE, (error) => this.warn(error, 'the relay list could not be kept'))
    const peers = bootstrapPeers(options.bootstrap)
    const rpc = rpcOver(core.engine)
    const now = Date.now
    const signer = signerOf(core.engine)
    this.#publisher = new DescriptorPublisher({
      bootstraps: peers,
      rpc,
      now,
      rng: cryptoRng,
      signer,
      facts: this.#facts()
    })
    this.#fetcher = new ListFetcher({
      bootstrapKeys: peers.map(({ publicKey }) => publicKey),
      sources: peers,
      rpc,
      now,
      rng: cryptoRng,
      verify,
      onList: (list) => this.#onList(list),
      ...(cached === undefined ? {} : { cached })
    })
    this.router.on('list', (method, params, from) => this.#fetcher.handle(method, params, from))
    const onError = (error: unknown): void => this.warn(error, 'background work failed')
    const relaxedPrefixes = options.testNetwork?.relaxedPrefixes ?? false
    const onOperation: DhtMemberParts['onOperation'] = (done) => core.diagnostics.emit('dht', done)
    this.#member = new DhtMember({ signer, rpc, router: this.router, bootstrap: peers, relaxedPrefixes, onOperation, onError })
    this.router.on('service', serviceHandler(this.#member.dht, performance.now.bind(performance)))
    this.#runners = [new Runner(this.#publisher, onError), new Runner(this.#fetcher, onError)]
    this.#rotation = setInterval(() => void this.#rotateWhenDue(), ROTATION_CHECK_MS).unref()
    if (this.#fetcher.newest !== undefined) this.#onList(this.#fetcher.newest)
  }

  override status(): NodeStatus {
    return {
      ...this.baseStatus(),
      address: this.address,
      list: listStatus(this.#list),
      circuits: { ready: 0, building: 0, streams: 0 },
      proxies: [],
      relay: this.core.engine.snapshot().relay
    }
  }

  /** @internal */
  get dht(): DhtNode {
    return this.#member.dht
  }

  /** Makes a new circuit key now and publishes it. Circuits that were built with the old one go on; it is accepted for 24 hours more. */
  async rotateOnionKey(): Promise<void> {
    this.assertOpen()
    this.core.engine.rotateOnionKey()
    this.#rotatedMs = Date.now()
    this.#publisher.update(this.#facts())
    await this.#runners[0]?.start()
  }

  /** Publishes and fetches; resolves when a bootstrap node took the descriptor. @internal */
  async begin(): Promise<void> {
    await this.openControl(this.#options.control)
    void this.#runners[1]?.start()
    await this.#published(1)
    this.#member.join(this.#list)
    this.progress(50, 'list', 'the descriptor is published')
  }

  /** Resolves when every bootstrap node took the descriptor. @internal */
  publishedEverywhere(): Promise<void> {
    return this.#published(this.#options.bootstrap.length)
  }

  protected override async stop(): Promise<void> {
    clearInterval(this.#rotation)
    for (const runner of this.#runners) runner.close()
    this.#publisher.close()
    this.#fetcher.close()
    this.#member.close()
    await this.#saver.flush()
  }

  protected override get defaultDrainMs(): number {
    return DEFAULT_RELAY_DRAIN_MS
  }

  async #published(least: number): Promise<void> {
    const { signal } = this.#options
    const deadline = Date.now() + PUBLISH_TIMEOUT_MS
    while (this.#publisher.takenBy < least) {
      signal?.throwIfAborted()
      this.assertOpen()
      if (Date.now() > deadline) throw errorFromCode('ERR_ANONNET_NOT_BOOTSTRAPPED', { detail: 'no bootstrap node took the descriptor' })
      await this.#runners[0]?.start()
      // A run that began elsewhere (a new list starts one) may be the one that publishes: nobody tells of its end.
      if (this.#publisher.takenBy < least) await pause(Math.min(this.#publisher.nextRunMs() - Date.now(), PUBLISH_POLL_MS), signal)
    }
  }

  #facts(): PublishedFacts {
    const { exit = false, exitPolicy, family = [], bandwidth, declaredBandwidth } = this.#options
    return {
      onionKey: Uint8Array.from(this.core.engine.onionKey),
      address: this.address,
      roles: { relay: true, exit, guard: true, dht: true },
      exitPolicy: exit ? [...(exitPolicy ?? DEFAULT_EXIT_POLICY)] : [],
      family: [...family],
      versions: [1],
      bandwidth: declaredBandwidth ?? (bandwidth?.rate || DEFAULT_DECLARED_BANDWIDTH)
    }
  }

  #onList(list: RelayList): void {
    this.#list = list
    this.core.engine.setKnownRelays(list.relays.map(({ nodeId, address }) => ({ nodeId, address })))
    this.core.diagnostics.emit('list:updated', {
      relays: list.relays.length,
      validAfter: list.validAfter,
      freshUntil: list.freshUntil,
      validUntil: list.validUntil
    })
    this.#saver.save(() => list.raw)
    this.#publisher.noteList(list)
    this.#member.join(list)
    this.#runners[0]?.schedule()
    if (list.relays.some(({ nodeId }) => nodeId === this.nodeId)) this.progress(100, 'done', 'the relay is in the list')
  }

  async #rotateWhenDue(): Promise<void> {
    if (this.closed || Date.now() - this.#rotatedMs < ONION_KEY_LIFETIME_MS) return
    await this.rotateOnionKey().catch((error: unknown) => this.warn(error, 'the circuit key could not be rotated'))
  }
}

/** When the circuit key was made: the key file knows; a key in memory is as old as the process. */
function rotatedAt(core: Core, options: RelayOptions): number {
  const path = options.identity ?? core.state?.file(IDENTITY_FILE)
  return path === undefined ? Date.now() : keyFileInspect(path, options.passphrase).rotatedAt * 1000
}

async function pause(delayMs: number, signal: AbortSignal | undefined): Promise<void> {
  await new Promise<void>((resolve) => {
    const done = (): void => {
      clearTimeout(timer)
      unlisten()
      resolve()
    }
    const timer = setTimeout(done, Math.max(10, delayMs))
    const unlisten = onAbort(signal, done)
  })
}

/**
 * Starts a relay; resolves when at least one bootstrap node took its descriptor. It appears in the relay list with the next interval.
 *
 * @throws ERR_ANONNET_CONFIG_INVALID, _BIND_FAILED, _KEY_INVALID, _KEY_PASSPHRASE, _KEY_PERMISSIONS, _STORE_FAILED, _NOT_BOOTSTRAPPED;
 * the reason of `options.signal` as it is.
 */
export async function createRelay(options: RelayOptions): Promise<RelayNode> {
  checked('relay', options)
  const exit = options.exit ?? false
  const core = await openServerCore('relay', options, {
    roles: { relay: true, exit, bootstrap: false },
    ...(exit ? { exitPolicy: [...(options.exitPolicy ?? DEFAULT_EXIT_POLICY)] } : {})
  })
  return launch(core, async () => new RelayNode(core, options, await core.state?.read(LIST_FILE)))
}
