/** A DHT node: answers PING, FIND_NODE, FIND_VALUE and STORE, looks up, publishes, and keeps its table and its store in order. */

import type { Peer, RpcCall, RpcOrigin, Signer, Verify } from '../directory/types.js'
import { fault, fromHex, guard, Malformed, nodeIdOf, prefixOf, toHex, WIDE_PREFIX } from '../wire/index.js'
import { commonBits, idInBucket } from './id.js'
import {
  BUCKET_REFRESH_MS,
  BUCKET_SIZE,
  CLEANUP_INTERVAL_MS,
  FAR_BITS,
  LOOKUP_PATHS,
  MAX_CANDIDATES,
  MAX_FIND_REPLY_BYTES,
  MAX_SMALL_REPLY_BYTES,
  RPC_TIMEOUT_MS,
  SERVICE_LOOKUP_PATHS,
  STORE_CONCURRENCY
} from './limits.js'
import { type LookupResult, lookup, type QueryResult } from './lookup.js'
import { type FindReply, readEmpty, readFindReply, readStore, readTarget, writeFindReply } from './messages.js'
import { Patience } from './patience.js'
import { PREFIX_LIMITS, type PrefixLimits } from './prefixes.js'
import { type Publication, Publications } from './publications.js'
import { checkTime, type DhtRecord, isTimely, parseRecord, type RecordClass, type SignedRecord } from './record.js'
import { RecordStore, type StoreRoom } from './store.js'
import { type Contact, contactOf, RoutingTable } from './table.js'
import { TokenKey } from './token.js'

export interface DhtNodeOptions {
  /** The node's identity: signs what it publishes. */
  readonly signer: Signer
  readonly verify: Verify
  readonly rpc: RpcCall
  /** Unix milliseconds. */
  readonly now: () => number
  /** Cryptographically random bytes. */
  readonly randomBytes: (count: number) => Uint8Array
  /** Other limits per address prefix: only for test networks whose nodes share addresses. */
  readonly prefixLimits?: PrefixLimits
  /** Less room than docs/limits.md says, for small machines. */
  readonly room?: StoreRoom
}

export interface FindOptions {
  readonly signal?: AbortSignal
}

/** Call `run` at `nextRunMs`; hand it requests with the prefix 'dht.'; keep `contacts` for the next start. */
export class DhtNode {
  readonly nodeId: string
  readonly table: RoutingTable
  readonly store: RecordStore
  readonly #options: DhtNodeOptions
  readonly #prefixLimits: PrefixLimits
  readonly #self: Uint8Array
  readonly #tokens: TokenKey
  readonly #publications: Publications
  readonly #abort = new AbortController()
  readonly #patience = new Patience()
  /** Node ids that are being pinged before they may enter the table. */
  readonly #candidates = new Set<string>()
  readonly #challenged = new Set<string>()
  #cleanUpMs: number

  constructor(options: DhtNodeOptions) {
    this.#options = options
    this.#prefixLimits = options.prefixLimits ?? PREFIX_LIMITS
    this.nodeId = nodeIdOf(options.signer.publicKey)
    this.#self = fromHex(this.nodeId, 32)
    this.table = new RoutingTable(this.#self, this.#prefixLimits)
    this.store = new RecordStore((key) => this.#isFar(key), options.room)
    this.#tokens = new TokenKey(options.randomBytes(32))
    this.#publications = new Publications(options.signer)
    this.#cleanUpMs = options.now() + CLEANUP_INTERVAL_MS
  }

  /** Whom to `join` after a restart. */
  contacts(): Peer[] {
    return this.table.contacts().map(({ nodeId, address }) => ({ nodeId, address }))
  }

  /**
   * Answers 'dht.ping', 'dht.findNode' { target }, 'dht.findValue' { key }, 'dht.store' { record, token }.
   * Throws what becomes the error code of the answer: ERR_ANONNET_RPC_INVALID, _RPC_REFUSED, _RECORD_INVALID, _RESOURCE_LIMIT.
   */
  handle(method: string, params: unknown, from: RpcOrigin): unknown {
    const answer = guard('ERR_ANONNET_RPC_INVALID', () => {
      switch (method) {
        case 'dht.ping':
          readEmpty(params)
          return {}
        case 'dht.findNode':
          return this.#answerFind(readTarget(params, 'target'), from, [])
        case 'dht.findValue': {
          const key = readTarget(params, 'key')
          return this.#answerFind(key, from, this.store.get(toHex(key), this.#options.now()))
        }
        case 'dht.store':
          return this.#answerStore(params, from)
        default:
          throw new Malformed('unknown method')
      }
    })
    if (from.nodeId !== undefined) void this.#meet({ nodeId: from.nodeId, address: from.address })
    return answer
  }

  /** Enters the network through nodes that are known (from the relay list, or of the last time). Returns the size of the table. */
  async join(peers: readonly Peer[], options: FindOptions = {}): Promise<number> {
    await eachOf(peers, MAX_CANDIDATES, (peer) => this.#introduce(peer))
    await this.findNode(this.nodeId, options)
    // Farther buckets, so that others' regions are known before the first lookup.
    const nearest = this.table.radiusBits(1)
    const targets = Array.from({ length: Math.min(nearest, BUCKET_SIZE) }, (_, bits) =>
      idInBucket(this.#self, bits, this.#options.randomBytes(32))
    )
    await eachOf(targets, STORE_CONCURRENCY, (target) => this.#lookup(target, undefined, options).then(() => undefined))
    return this.table.size
  }

  /** The nodes closest to an id (64 hex characters) on each of the disjoint paths, closest first; at most 64. */
  async findNode(target: string, options: FindOptions = {}): Promise<Peer[]> {
    const { closest } = (await this.#lookup(idOf(target), undefined, options)).result
    return closest.map(({ nodeId, address }) => ({ nodeId, address }))
  }

  /**
   * The verified records under a key (64 hex characters), of each publisher the one with the highest seq.
   * Throws ERR_ANONNET_NOT_FOUND, ERR_ANONNET_INVALID_ARGUMENT; with an aborted signal its reason.
   */
  async findValue(
    key: string,
    options: FindOptions & { readonly type?: RecordClass; readonly publisher?: Uint8Array } = {}
  ): Promise<DhtRecord[]> {
    const { records } = await this.#lookup(idOf(key), options.type ?? 'any', options)
    options.signal?.throwIfAborted()
    const publisher = options.publisher && toHex(options.publisher)
    const found = [...records.values()].filter((signed) => publisher === undefined || signed.publisher === publisher)
    if (found.length === 0) throw fault('ERR_ANONNET_NOT_FOUND', 'record')
    return found.sort((a, b) => (a.publisher < b.publisher ? -1 : 1)).map((signed) => signed.record)
  }

  /**
   * Issues a record, stores it around its key and keeps it alive until `withdraw`. `ttl` in seconds. Returns how many nodes took it.
   * Throws ERR_ANONNET_RECORD_INVALID, ERR_ANONNET_RESOURCE_LIMIT, and ERR_ANONNET_NOT_FOUND when no node took it (it is tried again).
   */
  async publish(publication: Publication, options: FindOptions = {}): Promise<number> {
    const signed = this.#publications.issue(publication, this.#options.now())
    const stored = await this.#spread(signed, options)
    if (stored === 0) throw fault('ERR_ANONNET_NOT_FOUND', 'no node to store at')
    return stored
  }

  /**
   * Stores a service's record around its key for somebody else, once. Returns how many nodes took it.
   * Throws ERR_ANONNET_RECORD_INVALID when it is not a service's, not in its time, or its signature is wrong.
   */
  async storeService(raw: Uint8Array, options: FindOptions = {}): Promise<number> {
    const signed = parseRecord(raw, this.#options.verify)
    if (signed.record.type !== 'service') throw fault('ERR_ANONNET_RECORD_INVALID', "not a service's")
    checkTime(signed.record, this.#options.now())
    return this.#spread(signed, options)
  }

  /**
   * The newest record of a service under a key (64 hex characters), as it was signed, verified.
   * Throws ERR_ANONNET_NOT_FOUND, ERR_ANONNET_INVALID_ARGUMENT; with an aborted signal its reason.
   */
  async findService(key: string, options: FindOptions = {}): Promise<Uint8Array> {
    const { records } = await this.#lookup(idOf(key), 'service', options, SERVICE_LOOKUP_PATHS)
    options.signal?.throwIfAborted()
    const [found] = records.values()
    if (found === undefined) throw fault('ERR_ANONNET_NOT_FOUND', 'record')
    return found.raw
  }

  /** Stops keeping a record of ours alive. */
  withdraw(type: RecordClass, key: string): void {
    this.#publications.withdraw(type, key)
  }

  /** Unix milliseconds. */
  nextRunMs(): number {
    return Math.min(this.#cleanUpMs, this.#publications.nextDueMs())
  }

  /** Removes what has expired, publishes anew what is due, refreshes buckets nobody used for an hour. Never rejects. */
  async run(): Promise<void> {
    if (this.#abort.signal.aborted) return
    const nowMs = this.#options.now()
    if (nowMs >= this.#cleanUpMs) {
      this.#cleanUpMs = nowMs + CLEANUP_INTERVAL_MS
      this.store.cleanUp(nowMs)
    }
    const publications = this.#publications.due(nowMs).map((publication) => this.#publications.issue(publication, nowMs))
    await eachOf(publications, 1, (signed) => this.#spread(signed, {}).then(() => undefined))
    for (const bits of this.table.idle(nowMs - BUCKET_REFRESH_MS)) {
      await this.#lookup(idInBucket(this.#self, bits, this.#options.randomBytes(32)), undefined, {})
    }
  }

  /** Ends what is in flight; nothing runs afterwards. */
  close(): void {
    this.#abort.abort()
  }

  #answerFind(target: Uint8Array, from: RpcOrigin, records: readonly SignedRecord[]): unknown {
    const nodes = this.table.closest(target, BUCKET_SIZE + 1).filter((contact) => contact.nodeId !== from.nodeId)
    const token = from.nodeId === undefined ? undefined : this.#tokens.issue(from.nodeId, this.#options.now())
    return writeFindReply(nodes.slice(0, BUCKET_SIZE), token, records)
  }

  #answerStore(params: unknown, from: RpcOrigin): unknown {
    const { record, token } = readStore(params)
    const nowMs = this.#options.now()
    if (from.nodeId === undefined) throw fault('ERR_ANONNET_RPC_REFUSED', 'the link is not authenticated')
    if (!this.#tokens.accepts(token, from.nodeId, nowMs)) throw fault('ERR_ANONNET_RPC_REFUSED', 'no token of the last ten minutes')
    this.store.put(parseRecord(record, this.#options.verify), prefixOf(from.address, WIDE_PREFIX), nowMs)
    return {}
  }

  #isFar(key: string): boolean {
    return commonBits(this.#self, fromHex(key, 32)) < this.table.radiusBits(BUCKET_SIZE) - FAR_BITS
  }

  /** `wanted`: which records count as the value; undefined where nodes are looked for. */
  async #lookup(
    target: Uint8Array,
    wanted: RecordClass | 'any' | undefined,
    options: FindOptions,
    paths: number = LOOKUP_PATHS
  ): Promise<{ result: LookupResult; tokens: Map<string, Uint8Array>; records: Map<string, SignedRecord> }> {
    const tokens = new Map<string, Uint8Array>()
    const records = new Map<string, SignedRecord>()
    const key = toHex(target)
    const nowMs = this.#options.now()
    this.table.used(target, nowMs)
    const counts = ({ record }: SignedRecord): boolean => wanted === 'any' || record.type === wanted
    if (wanted !== undefined) for (const signed of this.store.get(key, nowMs).filter(counts)) keepNewest(records, signed)
    const query = async (contact: Contact): Promise<QueryResult> => {
      const reply = await this.#find(contact, target, wanted !== undefined, options.signal)
      if (reply.token) tokens.set(contact.nodeId, reply.token)
      // Others under the same key are no answer: whoever stores them would otherwise end the path.
      const good = reply.records.flatMap((raw) => this.#checked(raw, key)).filter(counts)
      for (const signed of good) keepNewest(records, signed)
      return { nodes: reply.nodes, hasValue: good.length > 0 }
    }
    const result = await lookup({
      target,
      self: this.#self,
      start: this.table.closest(target, BUCKET_SIZE),
      prefixLimits: this.#prefixLimits,
      query,
      paths,
      ...(options.signal ? { signal: options.signal } : {})
    })
    return { result, tokens, records }
  }

  /** A record somebody returned, verified again. A node that returns a forged one has not answered; an expired one does not count. */
  #checked(raw: Uint8Array, key: string): SignedRecord[] {
    const signed = parseRecord(raw, this.#options.verify)
    if (signed.record.key !== key) throw new Malformed('record of another key')
    return isTimely(signed.record, this.#options.now()) ? [signed] : []
  }

  async #find(contact: Contact, target: Uint8Array, values: boolean, signal: AbortSignal | undefined): Promise<FindReply> {
    const [method, params] = values ? (['dht.findValue', { key: target }] as const) : (['dht.findNode', { target }] as const)
    return this.#call(contact, method, params, MAX_FIND_REPLY_BYTES, readFindReply, signal)
  }

  /** One call; an answer of the right form proves the contact alive, anything else counts against it. */
  async #call<T>(
    contact: Contact,
    method: string,
    params: unknown,
    maxReplyBytes: number,
    read: (value: unknown) => T,
    signal?: AbortSignal
  ): Promise<T> {
    const signals = signal ? AbortSignal.any([signal, this.#abort.signal]) : this.#abort.signal
    const { now, rpc } = this.#options
    const begunMs = now()
    try {
      const reply = read(await rpc(contact, method, params, { signal: signals, timeoutMs: this.#patience.timeoutMs, maxReplyBytes }))
      this.#patience.answered(now() - begunMs)
      this.#seen(contact)
      return reply
    } catch (error) {
      if (!signals.aborted) this.#failed(contact.nodeId, false)
      throw error
    }
  }

  /** Pings a node that we heard from, or of, and lets it into the table if it answers. Never rejects. */
  async #meet(peer: Peer): Promise<void> {
    if (peer.nodeId === this.nodeId || this.table.has(peer.nodeId)) return
    if (this.#candidates.has(peer.nodeId) || this.#candidates.size >= MAX_CANDIDATES || this.#abort.signal.aborted) return
    this.#candidates.add(peer.nodeId)
    await this.#introduce(peer)
    this.#candidates.delete(peer.nodeId)
  }

  /** Never rejects. */
  async #introduce(peer: Peer): Promise<void> {
    try {
      await this.#call(contactOf(peer), 'dht.ping', {}, MAX_SMALL_REPLY_BYTES, readEmpty)
    } catch {
      // It stays a stranger.
    }
  }

  #seen(contact: Contact): void {
    const seen = this.table.seen(contact, this.#options.now())
    if (seen.kind === 'full') void this.#challenge(seen.ping)
  }

  /** A newcomer waits: the contact seen longest ago answers, or goes. */
  async #challenge(contact: Contact): Promise<void> {
    if (this.#challenged.has(contact.nodeId)) return
    this.#challenged.add(contact.nodeId)
    try {
      readEmpty(await this.#options.rpc(contact, 'dht.ping', {}, this.#smallCall))
      this.table.seen(contact, this.#options.now())
    } catch {
      if (!this.#abort.signal.aborted) this.#failed(contact.nodeId, true)
    } finally {
      this.#challenged.delete(contact.nodeId)
    }
  }

  #failed(nodeId: string, gone: boolean): void {
    const newcomer = this.table.failed(nodeId, gone)
    if (newcomer) void this.#introduce(newcomer)
  }

  /** Stores around the record's key, on every path: hostile nodes close to it are not all that have it. Returns how many took it. */
  async #spread(signed: SignedRecord, options: FindOptions): Promise<number> {
    const { result, tokens } = await this.#lookup(fromHex(signed.record.key, 32), undefined, options)
    let stored = 0
    await eachOf(result.closest, STORE_CONCURRENCY, async (contact) => {
      const token = tokens.get(contact.nodeId)
      if (!token) return
      try {
        // A refusal is an answer: it does not count against the contact.
        readEmpty(await this.#options.rpc(contact, 'dht.store', { record: signed.raw, token }, this.#smallCall))
        stored++
      } catch {
        // The others have it.
      }
    })
    return stored
  }

  get #smallCall() {
    return { signal: this.#abort.signal, timeoutMs: RPC_TIMEOUT_MS, maxReplyBytes: MAX_SMALL_REPLY_BYTES }
  }
}

function idOf(hex: string): Uint8Array {
  return guard('ERR_ANONNET_INVALID_ARGUMENT', () => fromHex(hex, 32))
}

function keepNewest(records: Map<string, SignedRecord>, signed: SignedRecord): void {
  const id = `${signed.record.type}:${signed.publisher}`
  const known = records.get(id)
  if (!known || signed.record.seq > known.record.seq) records.set(id, signed)
}

/** Runs `work` over all items, `width` at a time. */
async function eachOf<T>(items: readonly T[], width: number, work: (item: T) => Promise<void>): Promise<void> {
  const rest = [...items]
  const worker = async () => {
    for (let item = rest.shift(); item !== undefined; item = rest.shift()) await work(item)
  }
  await Promise.all(Array.from({ length: Math.min(width, items.length) }, worker))
}
