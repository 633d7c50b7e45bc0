/**
 * A server's place in the DHT: joins through the bootstrap nodes and the relays of the list, answers, keeps order.
 */

import { randomBytes } from 'node:crypto'
import { DhtNode, type DhtNodeOptions } from '../dht/index.js'
import type { Peer, RelayList, RpcCall, Signer } from '../directory/types.js'
import { verify } from '../native/index.js'
import type { RpcRouter } from './rpc.js'
import { Runner } from './runner.js'

/** Nodes that are asked at a join. */
const JOIN_PEERS = 16
/** A table smaller than this joins again with the next list. */
const ENOUGH_CONTACTS = 8
/** On one machine all nodes share their prefixes. */
const RELAXED: NonNullable<DhtNodeOptions['prefixLimits']> = { narrow: 1_000, wide: 1_000 }

export interface DhtMemberParts {
  signer: Signer
  rpc: RpcCall
  router: RpcRouter
  /** Asked first, and whenever no list is there. */
  bootstrap: readonly Peer[]
  relaxedPrefixes: boolean
  onOperation: (done: { operation: string; ok: boolean; tookMs: number }) => void
  onError: (error: unknown) => void
}

export class DhtMember {
  readonly dht: DhtNode
  readonly #parts: DhtMemberParts
  readonly #runner: Runner
  #joining: Promise<void> | undefined
  #closed = false

  constructor(parts: DhtMemberParts) {
    this.#parts = parts
    const { signer, rpc, router, relaxedPrefixes } = parts
    this.dht = new DhtNode({
      signer,
      verify,
      rpc,
      now: Date.now,
      randomBytes: (count) => Uint8Array.from(randomBytes(count)),
      ...(relaxedPrefixes ? { prefixLimits: RELAXED } : {})
    })
    router.on('dht', (method, params, from) => this.dht.handle(method, params, from))
    this.#runner = new Runner(this.dht, parts.onError)
    this.#runner.schedule()
  }

  /** Joins, if the table is not full enough yet. */
  join(list: RelayList | undefined): void {
    if (this.#closed || this.dht.table.size >= ENOUGH_CONTACTS) return
    this.#joining ??= this.#join(list).finally(() => {
      this.#joining = undefined
    })
  }

  close(): void {
    this.#closed = true
    this.#runner.close()
    this.dht.close()
  }

  async #join(list: RelayList | undefined): Promise<void> {
    const listed = (list?.relays ?? []).filter(({ roles }) => roles.dht)
    // Any part of the list does, so that not all join through the same few.
    const start = listed.length === 0 ? 0 : randomBytes(4).readUInt32BE() % listed.length
    const some = [...listed.slice(start), ...listed.slice(0, start)].slice(0, JOIN_PEERS)
    const peers = [...this.#parts.bootstrap, ...some].map(({ nodeId, address }) => ({ nodeId, address }))
    const begunMs = performance.now()
    let ok = false
    try {
      ok = (await this.dht.join(peers.filter(({ nodeId }) => nodeId !== this.dht.nodeId))) > 0
    } catch (error) {
      this.#parts.onError(error)
    }
    this.#parts.onOperation({ operation: 'join', ok, tookMs: performance.now() - begunMs })
  }
}
