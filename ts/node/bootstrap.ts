/**
 * A bootstrap node: agrees with the others on the relay list of each interval, signs it and gives it out.
 */

import type { DhtNode } from '../dht/index.js'
import { BootstrapDirectory, type RelayList } from '../directory/index.js'
import { errorFromCode } from '../errors/index.js'
import { verify } from '../native/index.js'
import type { BootstrapEntry } from './address.js'
import { type Core, launch, signerOf } from './base.js'
import { DhtMember } from './dht-member.js'
import { type BootstrapOptions, bootstrapPeers, checked, DEFAULT_LIST_INTERVAL_MS } from './options.js'
import { rpcOver } from './rpc.js'
import { cryptoRng, Runner } from './runner.js'
import { Saver } from './saver.js'
import { openServerCore, ServerNode } from './server.js'
import { listStatus, type NodeStatus } from './status.js'

const STATE_FILE = 'directory.json'
/** What changed is on disk at most this much later. */
const SAVE_EVERY_MS = 1_000

/** A running bootstrap node. */
export class BootstrapNode extends ServerNode {
  readonly #options: BootstrapOptions
  readonly #saver: Saver
  readonly #saved: unknown
  #directory: BootstrapDirectory | undefined
  #runner: Runner | undefined
  #saveTimer: NodeJS.Timeout | undefined
  #list: RelayList | undefined
  #member: DhtMember | undefined

  /** @internal */
  constructor(core: Core, options: BootstrapOptions, saved: unknown) {
    super(core, options)
    this.#options = options
    this.#saved = saved
    this.#saver = new Saver(core.state, STATE_FILE, (error) => this.warn(error, 'the directory could not be kept'))
    for (const family of ['desc', 'list', 'vote']) {
      this.router.on(family, (method, params, from) => {
        if (this.#directory === undefined) throw errorFromCode('ERR_ANONNET_NOT_BOOTSTRAPPED')
        const result = this.#directory.handle(method, params, from)
        this.#runner?.schedule()
        if (family !== 'list') this.#saveSoon()
        return result
      })
    }
  }

  override status(): NodeStatus {
    return {
      ...this.baseStatus(),
      address: this.address,
      list: listStatus(this.#list),
      circuits: { ready: 0, building: 0, streams: 0 },
      proxies: [],
      relay: null
    }
  }

  /** @internal */
  get dht(): DhtNode | undefined {
    return this.#member?.dht
  }

  /** Whether a majority signed a list that this node gives out. */
  hasList(): boolean {
    return this.#list !== undefined
  }

  /**
   * Tells the node who all the bootstrap nodes are, itself included; from then on they agree on lists. Once only.
   * For networks whose addresses are known only after all have started; else give `bootstrap` to `createBootstrap`.
   *
   * @throws ERR_ANONNET_CONFIG_INVALID when there are less than 3, or this node is not among them, or it was told before.
   */
  join(bootstrap: readonly BootstrapEntry[]): void {
    this.prepare(bootstrap)
    this.beginAgreement()
  }

  /** The first half of `join`: takes descriptors and tests whether their relays answer, but does not vote yet. @internal */
  prepare(bootstrap: readonly BootstrapEntry[]): void {
    this.assertOpen()
    if (this.#directory !== undefined) throw errorFromCode('ERR_ANONNET_CONFIG_INVALID', { detail: 'bootstrap: was told before' })
    const peers = bootstrapPeers(bootstrap)
    const signer = signerOf(this.core.engine)
    const rpc = rpcOver(this.core.engine)
    this.#directory = new BootstrapDirectory({
      bootstraps: peers,
      self: signer,
      verify,
      intervalMs: this.#options.testNetwork?.listIntervalMs ?? DEFAULT_LIST_INTERVAL_MS,
      rpc,
      now: Date.now,
      rng: cryptoRng,
      held: true,
      onSettled: () => this.#runner?.schedule(),
      onList: (list) => this.#onList(list),
      ...(this.#saved === undefined ? {} : { state: this.#saved })
    })
    const directory = this.#directory
    const saving = {
      run: () => {
        // Runs that only test relays are frequent, and leave nothing to keep.
        if (directory.agreementDue()) this.#saveSoon()
        return directory.run()
      },
      nextRunMs: () => directory.nextRunMs()
    }
    this.#runner = new Runner(saving, (error) => this.warn(error, 'the agreement failed'), { overlapping: true })
    this.#member = new DhtMember({
      signer,
      rpc,
      router: this.router,
      bootstrap: peers,
      relaxedPrefixes: this.#options.testNetwork?.relaxedPrefixes ?? false,
      onOperation: (done) => this.core.diagnostics.emit('dht', done),
      onError: (error) => this.warn(error, 'the DHT could not be kept in order')
    })
    if (this.#directory.list !== undefined) this.#onList(this.#directory.list)
  }

  /** The second half. @internal */
  beginAgreement(): void {
    this.#directory?.begin()
    void this.#runner?.start()
    this.#member?.join(this.#list)
  }

  /** Resolves when no test of a relay is under way. @internal */
  async relaysTested(): Promise<void> {
    await this.#directory?.tested()
  }

  /** @internal */
  async begin(): Promise<void> {
    await this.openControl(this.#options.control)
    if (this.#options.bootstrap !== undefined) this.join(this.#options.bootstrap)
  }

  protected override async stop(): Promise<void> {
    clearTimeout(this.#saveTimer)
    this.#runner?.close()
    this.#directory?.close()
    this.#member?.close()
    this.#save()
    await this.#saver.flush()
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
    this.progress(100, 'done', 'a majority signed a list')
    this.#member?.join(list)
    this.#save()
  }

  #saveSoon(): void {
    if (this.core.state === undefined || this.closed) return
    this.#saveTimer ??= setTimeout(() => {
      this.#saveTimer = undefined
      this.#save()
    }, SAVE_EVERY_MS).unref()
  }

  #save(): void {
    const directory = this.#directory
    if (directory !== undefined) this.#saver.save(() => Buffer.from(JSON.stringify(directory.toState())))
  }
}

/** The state of the last run; a damaged file is an error: going on without it could mean to vote twice. */
async function readState(core: Core): Promise<unknown> {
  const bytes = await core.state?.read(STATE_FILE)
  if (bytes === undefined) return undefined
  try {
    return JSON.parse(bytes.toString('utf8'))
  } catch (error) {
    throw errorFromCode('ERR_ANONNET_STORE_FAILED', { detail: `${STATE_FILE} is damaged`, cause: error })
  }
}

/**
 * Starts a bootstrap node; resolves when it listens. It gives out a list as soon as a majority of the bootstrap nodes signed one.
 *
 * @throws ERR_ANONNET_CONFIG_INVALID, _BIND_FAILED, _KEY_INVALID, _KEY_PASSPHRASE, _KEY_PERMISSIONS, _STORE_FAILED;
 * the reason of `options.signal` as it is.
 */
export async function createBootstrap(options: BootstrapOptions): Promise<BootstrapNode> {
  checked('bootstrap', options)
  const core = await openServerCore('bootstrap', options, { roles: { relay: false, exit: false, bootstrap: true } })
  return launch(core, async () => new BootstrapNode(core, options, await readState(core)))
}
