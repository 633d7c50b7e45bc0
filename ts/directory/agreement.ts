/**
 * How the configured bootstrap nodes agree on the list of each interval, without I/O and without a clock: `poll` says what to
 * send, `settle` takes the answers, `handle` answers the others. All times are Unix milliseconds, handed in.
 *
 * Each interval: vote for the relays one knows; exchange votes (one's own and those heard of) until all are there or the wait is
 * over; compute the list; sign it; exchange signatures; a list that a majority signed is finished. A node that starts in the
 * middle asks all others first, so that it neither votes twice nor for an interval whose list exists.
 */
import { errorFromCode } from '../errors/index.js'
import { asBytesUpTo, asFields, fault, guard, Malformed, nodeIdOf, toHex } from '../wire/index.js'
import { ListArchive, listBytes, listQuestion } from './archive.js'
import { clamp } from './clamp.js'
import { type Exchange, readAnnouncement, readExchange, takeVotes, writeAnnouncement, writeExchange } from './exchange.js'
import {
  MAX_CALL_TIMEOUT_MS,
  MAX_DESCRIPTOR_BYTES,
  MAX_EXCHANGE_PAUSE_MS,
  MAX_LARGE_REPLY_BYTES,
  MAX_SMALL_REPLY_BYTES,
  MAX_VOTE_WAIT_MS,
  MIN_CALL_TIMEOUT_MS,
  MIN_EXCHANGE_PAUSE_MS
} from './limits.js'
import { checkBootstrapKeys, decodeBody, isBetterList, openList, verifySignedList } from './list.js'
import { newPeer, type PeerState } from './peers.js'
import { Round, type RoundContext } from './round.js'
import { type AgreementState, readState, writeState } from './state.js'
import { DescriptorStore, type StoreWatcher } from './store.js'
import type { Peer, RelayList, RpcOrigin, Signer, Verify } from './types.js'
import { DescriptorCache, issueVote, parseVote } from './vote.js'

/** A bootstrap node as it stands in the configuration. */
export interface BootstrapNode {
  /** Ed25519, 32 bytes. */
  readonly publicKey: Uint8Array
  /** 'ip:port'. */
  readonly address: string
}

export interface AgreementOptions {
  /** All of them, this node included: at least three. */
  readonly bootstraps: readonly BootstrapNode[]
  readonly self: Signer
  readonly verify: Verify
  /** Length of an interval; one hour on a real network. The same at all bootstrap nodes. */
  readonly intervalMs: number
  /** What toState gave. */
  readonly state?: unknown
  /** Which relays to vote for; without it, all that are stored. */
  readonly relays?: StoreWatcher
  /** It asks the others and takes descriptors, but does not vote before `begin`. */
  readonly held?: boolean
}

/** A call that is due. Hand its answer, or undefined when it failed, to `settle`. */
export interface Outgoing {
  readonly peer: Peer
  readonly method: 'vote.exchange' | 'vote.signature' | 'list.get'
  readonly params: unknown
  readonly timeoutMs: number
  readonly maxReplyBytes: number
  readonly interval: number
  /** What `announced` becomes when the other side has it. */
  readonly announcing: string
}

export class Agreement {
  readonly store: DescriptorStore
  readonly archive = new ListArchive()
  readonly #options: AgreementOptions
  readonly #keys: readonly Uint8Array[]
  readonly #context: RoundContext
  readonly #cache: DescriptorCache
  readonly #peers: readonly PeerState[]
  readonly #rounds = new Map<number, Round>()
  readonly #rejected = new Set<string>()
  #current = -1
  #bornInterval = -1
  #held: boolean

  /** Throws ERR_ANONNET_CONFIG_INVALID for a set of bootstrap nodes that cannot agree, ERR_ANONNET_STORE_FAILED for a damaged state. */
  constructor(options: AgreementOptions) {
    this.#options = options
    this.#held = options.held ?? false
    this.#keys = options.bootstraps.map((node) => node.publicKey)
    checkBootstrapKeys(this.#keys)
    const selfKey = toHex(options.self.publicKey)
    const voters = new Set(this.#keys.map(toHex))
    if (!voters.has(selfKey)) throw fault('ERR_ANONNET_CONFIG_INVALID', 'this node is not among the bootstrap nodes')
    if (!Number.isSafeInteger(options.intervalMs) || options.intervalMs < 1000) throw fault('ERR_ANONNET_CONFIG_INVALID', 'interval')
    this.#cache = new DescriptorCache(options.verify)
    this.#context = { intervalMs: options.intervalMs, self: options.self, selfKey, voters, verify: options.verify }
    this.store = new DescriptorStore(this.#cache, options.intervalMs, options.relays)
    this.#peers = options.bootstraps
      .filter((node) => toHex(node.publicKey) !== selfKey)
      .map((node) => newPeer({ nodeId: nodeIdOf(node.publicKey), address: node.address }))
    if (options.state !== undefined) this.#restore(options.state)
  }

  /** The newest finished list. */
  get list(): RelayList | undefined {
    return this.archive.newest
  }

  /** Voters (hex keys) that were seen to send different votes in the current interval. */
  equivocators(): string[] {
    return this.#rounds.get(this.#current)?.equivocators() ?? []
  }

  /** Ends `held`. */
  begin(): void {
    this.#held = false
  }

  /** Moves on, and returns the calls that are due: at most one a peer at a time. */
  poll(nowMs: number): Outgoing[] {
    const round = this.#advance(nowMs)
    const due: Outgoing[] = []
    for (const state of this.#peers) {
      if (state.inFlight || nowMs < state.retryAtMs) continue
      const call = this.#nextCall(state, round, nowMs)
      if (!call) continue
      state.inFlight = true
      due.push(call)
    }
    return due
  }

  /** When `poll` has something to do again, if nothing arrives before. */
  nextPollMs(nowMs: number): number {
    const start = this.#current * this.#options.intervalMs
    const round = this.#rounds.get(this.#current)
    let next = start + this.#options.intervalMs
    if (!round || nowMs >= next || nowMs < start) return nowMs
    const done = this.#listOf(this.#current) !== undefined
    if (!done && nowMs < start + this.#voteWaitMs) next = Math.min(next, start + this.#voteWaitMs)
    for (const state of this.#peers) {
      if (state.inFlight) continue
      const at = Math.max(nowMs, state.retryAtMs)
      if (this.#nextCall(state, round, at)) next = Math.min(next, at)
      else if (!done && !round.complete) next = Math.min(next, Math.max(at, state.nextAskMs))
    }
    return next
  }

  /** Takes the answer to a call; `reply` undefined means that the call failed. Never throws: a wrong answer is a failed call. */
  settle(call: Outgoing, reply: unknown, nowMs: number): void {
    const state = this.#peers.find((other) => other.peer.nodeId === call.peer.nodeId)
    if (!state) return
    state.inFlight = false
    try {
      if (reply === undefined) throw new Malformed('no answer')
      this.#take(call, state, reply, nowMs)
      state.failures = 0
    } catch {
      state.pull = false
      state.asked = true
      state.retryAtMs = nowMs + Math.min(this.#pauseMs * 2 ** Math.min(state.failures++, 16), this.#options.intervalMs / 2)
    }
    this.#advance(nowMs)
  }

  /**
   * Answers 'desc.publish' { descriptor }, 'list.get' { have? }, and from other bootstrap nodes 'vote.exchange' and 'vote.signature'.
   * Throws what becomes the error code of the answer: ERR_ANONNET_RPC_INVALID, _RPC_REFUSED, _DESCRIPTOR_INVALID, _LIST_INVALID,
   * _RATE_LIMITED, _RESOURCE_LIMIT, _NOT_BOOTSTRAPPED.
   */
  handle(method: string, params: unknown, from: RpcOrigin, nowMs: number): unknown {
    this.#advance(nowMs)
    const answer = guard('ERR_ANONNET_RPC_INVALID', () => {
      switch (method) {
        case 'desc.publish':
          return this.#publish(params, from, nowMs)
        case 'list.get':
          return this.archive.get(params)
        case 'vote.exchange':
          return this.#answerExchange(params, this.#peerOf(from))
        case 'vote.signature':
          return this.#answerAnnouncement(params, this.#peerOf(from), nowMs)
        default:
          throw new Malformed('unknown method')
      }
    })
    this.#advance(nowMs)
    return answer
  }

  /** What a restarted node needs to go on, for `state` of the constructor. JSON-able. */
  toState(): AgreementState {
    return writeState(this.store.entries(), this.archive.lists, this.#rounds.get(this.#current)?.own)
  }

  get #voteWaitMs(): number {
    return Math.min(this.#options.intervalMs / 4, MAX_VOTE_WAIT_MS)
  }

  get #pauseMs(): number {
    return clamp(this.#options.intervalMs / 10, MIN_EXCHANGE_PAUSE_MS, MAX_EXCHANGE_PAUSE_MS)
  }

  #listOf(interval: number): RelayList | undefined {
    return this.archive.lists.find((list) => list.interval === interval)
  }

  /** Brings the round of `nowMs` as far as it goes without hearing from anybody. */
  #advance(nowMs: number): Round {
    const interval = Math.floor(nowMs / this.#options.intervalMs)
    if (interval !== this.#current) this.#begin(interval, nowMs)
    const round = this.#round(interval)
    const list = this.#listOf(interval)
    if (list) {
      // Our own may get its majority after another one was taken over; which of the two stays is the same at all nodes.
      if (round.proposal && round.proposal.digest !== list.digest && !this.#rejected.has(round.proposal.digest)) this.#finish(round, nowMs)
      return round
    }
    const surveyed = interval !== this.#bornInterval || this.#peers.every((state) => state.asked)
    if (!round.own && surveyed && !this.#held) {
      const bytes = issueVote(interval, this.#options.intervalMs, this.store.listable(), this.#options.self)
      round.addVote(this.#parseVote(bytes))
    }
    if (round.complete || nowMs >= interval * this.#options.intervalMs + this.#voteWaitMs) round.propose()
    this.#finish(round, nowMs)
    return round
  }

  #finish(round: Round, nowMs: number): void {
    const finished = round.finished()
    if (finished) this.#offer(finished, nowMs)
  }

  #begin(interval: number, nowMs: number): void {
    if (this.#current === -1) this.#bornInterval = interval
    this.#current = interval
    for (const old of this.#rounds.keys()) if (old !== interval && old !== interval + 1) this.#rounds.delete(old)
    this.#rejected.clear()
    this.store.expire(nowMs)
    for (const state of this.#peers) Object.assign(state, { ...newPeer(state.peer), inFlight: state.inFlight })
  }

  #round(interval: number): Round {
    const known = this.#rounds.get(interval)
    if (known) return known
    const round = new Round(interval, this.#context)
    this.#rounds.set(interval, round)
    return round
  }

  #parseVote(bytes: Uint8Array) {
    return parseVote(bytes, this.#options.intervalMs, this.#context.voters, this.#cache)
  }

  #nextCall(state: PeerState, round: Round, nowMs: number): Outgoing | undefined {
    const list = this.#listOf(round.interval)
    const base = { peer: state.peer, interval: round.interval, announcing: '' }
    const timeoutMs = clamp(this.#options.intervalMs / 4, MIN_CALL_TIMEOUT_MS, MAX_CALL_TIMEOUT_MS)
    if (state.pull) {
      return { ...base, method: 'list.get', params: listQuestion(this.list), timeoutMs, maxReplyBytes: MAX_LARGE_REPLY_BYTES }
    }
    if (!list) {
      const missing = round.votes().some((vote) => !state.known.has(vote.digest))
      const ask = !state.asked || state.differs || (!round.complete && nowMs >= state.nextAskMs)
      if (missing || ask) {
        const params = writeExchange(this.#exchange(round, state.known))
        return { ...base, method: 'vote.exchange', params, timeoutMs, maxReplyBytes: MAX_LARGE_REPLY_BYTES }
      }
    }
    const digest = list?.digest ?? round.proposal?.digest
    if (digest === undefined) return undefined
    const signatures = round.signatures(digest)
    const announcing = `${digest}:${signatures.length}`
    if (state.announced === announcing) return undefined
    const params = writeAnnouncement({ interval: round.interval, digest, signatures })
    return { ...base, announcing, method: 'vote.signature', params, timeoutMs, maxReplyBytes: MAX_SMALL_REPLY_BYTES }
  }

  #exchange(round: Round, known: ReadonlySet<string>): Exchange {
    const votes = round.votes()
    return {
      interval: round.interval,
      have: votes.map((vote) => vote.digest),
      votes: takeVotes(votes.filter((vote) => !known.has(vote.digest))).map((vote) => vote.raw),
      list: this.#listOf(round.interval)?.digest
    }
  }

  #take(call: Outgoing, state: PeerState, reply: unknown, nowMs: number): void {
    if (call.method === 'list.get') {
      state.pull = false
      const bytes = listBytes(reply, this.list)
      if (bytes !== this.list?.raw) this.#offer(bytes, nowMs)
      return
    }
    if (call.interval !== this.#current) return
    const round = this.#round(call.interval)
    if (call.method === 'vote.exchange') {
      const exchange = readExchange(reply)
      const sent = readExchange(call.params).have
      this.#mergeExchange(exchange, state, round)
      // What it would not keep is not sent again.
      state.known = new Set([...exchange.have, ...sent])
      state.asked = true
      state.differs = false
      state.nextAskMs = nowMs + this.#pauseMs
    } else {
      this.#mergeAnnouncement(reply, state, nowMs)
      state.announced = call.announcing
    }
  }

  #mergeExchange(exchange: Exchange, state: PeerState, round: Round): void {
    if (exchange.interval !== round.interval) throw new Malformed('another interval')
    for (const bytes of exchange.votes) round.addVote(this.#parseVote(bytes))
    this.#notice(exchange.list, state, round)
  }

  /** A peer has, or says it has, a finished list: to be fetched and verified unless we know it. */
  #notice(digest: string | undefined, state: PeerState, round: Round): void {
    if (digest === undefined || this.#rejected.has(digest) || this.#listOf(round.interval)?.digest === digest) return
    state.pull = true
  }

  #mergeAnnouncement(value: unknown, state: PeerState, nowMs: number): Round {
    const { interval, digest, signatures } = readAnnouncement(value)
    const round = this.#roundFor(interval)
    if (digest === undefined) return round
    round.addSignatures(digest, signatures)
    if (round.hasMajority(digest) && round.proposal?.digest !== digest) this.#notice(digest, state, round)
    else if (!this.#listOf(interval) && round.proposal?.digest !== digest && interval === this.#current) state.differs = true
    if (interval === this.#current) this.#advance(nowMs)
    return round
  }

  #roundFor(interval: number): Round {
    if (interval !== this.#current && interval !== this.#current + 1) throw fault('ERR_ANONNET_RPC_REFUSED', 'another interval')
    return this.#round(interval)
  }

  #peerOf(from: RpcOrigin): PeerState {
    const state = this.#peers.find((other) => other.peer.nodeId === from.nodeId)
    if (!state) throw fault('ERR_ANONNET_RPC_REFUSED', 'not a bootstrap node')
    return state
  }

  #publish(params: unknown, from: RpcOrigin, nowMs: number): unknown {
    const bytes = asBytesUpTo(asFields(params, ['descriptor']).descriptor, 'descriptor', MAX_DESCRIPTOR_BYTES)
    if (from.nodeId === undefined) throw fault('ERR_ANONNET_RPC_REFUSED', 'the link is not authenticated')
    return { seq: this.store.publish(bytes, from.nodeId, nowMs).signed.descriptor.seq }
  }

  #answerExchange(params: unknown, state: PeerState): unknown {
    const exchange = readExchange(params)
    const round = this.#roundFor(exchange.interval)
    this.#mergeExchange(exchange, state, round)
    const answer = this.#exchange(round, new Set(exchange.have))
    if (round.interval === this.#current) {
      state.known = new Set([...exchange.have, ...answer.have])
      // It reached us: whatever kept us from reaching it may be over.
      state.retryAtMs = 0
    }
    return writeExchange(answer)
  }

  #answerAnnouncement(params: unknown, state: PeerState, nowMs: number): unknown {
    const round = this.#mergeAnnouncement(params, state, nowMs)
    const digest = this.#listOf(round.interval)?.digest ?? round.proposal?.digest
    return writeAnnouncement({ interval: round.interval, digest, signatures: digest === undefined ? [] : round.signatures(digest) })
  }

  /** Takes a finished list, ours or another's. Of two of one interval the one that counted more votes stays, then the smaller digest. */
  #offer(bytes: Uint8Array, nowMs: number): void {
    const list = verifySignedList(bytes, this.#keys, this.#options.verify)
    const { intervalMs } = this.#options
    if (list.validAfter * 1000 !== list.interval * intervalMs || list.interval > this.#current + 1)
      throw new Malformed('not of this network')
    const known = this.#listOf(list.interval)
    if (known?.digest === list.digest) return
    if (known && !isBetterList(list, known)) {
      this.#rejected.add(list.digest)
      return
    }
    this.archive.add(list)
    const opened = openList(list.raw)
    if (list.interval === this.#current) this.#round(list.interval).addSignatures(list.digest, opened.signatures)
    for (const entry of decodeBody(opened.body).entries) this.store.adopt(entry.descriptor, entry.firstSeen, nowMs)
  }

  #restore(value: unknown): void {
    try {
      const state = readState(value)
      for (const bytes of state.lists) this.archive.add(verifySignedList(bytes, this.#keys, this.#options.verify))
      const listed = new Map(this.list?.relays.map(({ nodeId, address }) => [nodeId, address]))
      for (const { raw, firstSeen } of state.descriptors) this.store.restore(raw, firstSeen, listed)
      if (state.vote === undefined) return
      const own = this.#parseVote(state.vote)
      this.#round(own.interval).addVote(own)
    } catch (cause) {
      throw errorFromCode('ERR_ANONNET_STORE_FAILED', { detail: 'state of the bootstrap node', cause })
    }
  }
}
