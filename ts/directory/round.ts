/**
 * One interval's agreement as one bootstrap node sees it: the votes it knows, the list that follows from them, and who signed what.
 *
 * The set of votes only grows, and two different votes of one node take that node out of the count. So whatever the order in which
 * votes arrive, nodes that know the same votes compute the same list; nodes that do not, exchange votes until they do.
 */

import { fromHex, sha256, toHex } from '../wire/index.js'
import { computeConsensus } from './consensus.js'
import { MAX_SIGNED_DIGESTS_PER_VOTER, MAX_VOTES_PER_VOTER } from './limits.js'
import { encodeList, type ListSignatures, listMessage, majorityOf } from './list.js'
import type { Signer, Verify } from './types.js'
import type { Vote } from './vote.js'

/** A list that this node computed. */
interface Proposal {
  readonly body: Uint8Array
  readonly digest: string
  /** The votes that were counted, as a key. */
  readonly of: string
}

export interface RoundContext {
  readonly intervalMs: number
  readonly self: Signer
  readonly selfKey: string
  /** Configured public keys, hex. */
  readonly voters: ReadonlySet<string>
  readonly verify: Verify
}

export class Round {
  readonly #votes = new Map<string, Vote[]>()
  /** digest -> signer -> signature, all verified. */
  readonly #signatures = new Map<string, Map<string, Uint8Array>>()
  #proposal: Proposal | undefined

  constructor(
    readonly interval: number,
    private readonly context: RoundContext
  ) {}

  get own(): Vote | undefined {
    return this.#votes.get(this.context.selfKey)?.[0]
  }

  get proposal(): Proposal | undefined {
    return this.#proposal
  }

  votes(): Vote[] {
    return [...this.#votes.values()].flat()
  }

  hasVote(digest: string): boolean {
    return this.votes().some((vote) => vote.digest === digest)
  }

  /** Whether every configured node's vote is known. */
  get complete(): boolean {
    return this.#votes.size === this.context.voters.size
  }

  /** Voters (hex keys) that sent two different votes; the votes themselves are the proof. */
  equivocators(): string[] {
    return [...this.#votes].filter(([, votes]) => votes.length > 1).map(([voter]) => voter)
  }

  /** Returns whether the vote was new. A third vote of one voter adds nothing to the proof and is dropped. */
  addVote(vote: Vote): boolean {
    if (vote.interval !== this.interval) return false
    const known = this.#votes.get(vote.voter) ?? []
    if (known.length >= MAX_VOTES_PER_VOTER || known.some((other) => other.digest === vote.digest)) return false
    this.#votes.set(vote.voter, [...known, vote])
    return true
  }

  /** Computes and signs the list of the votes known, if a majority voted and the votes are not those of the last time. */
  propose(): void {
    const counted = [...this.#votes.values()].flatMap((votes) => (votes.length === 1 ? votes : []))
    if (counted.length < majorityOf(this.context.voters.size)) return
    const of = counted
      .map((vote) => vote.digest)
      .sort()
      .join()
    if (this.#proposal?.of === of) return
    const body = computeConsensus(this.interval, this.context.intervalMs, counted)
    const digest = sha256(body)
    this.#proposal = { body, digest: toHex(digest), of }
    this.#put(toHex(digest), this.context.selfKey, this.context.self.sign(listMessage(digest)))
  }

  /** Verifies and keeps signatures under a digest (hex). Returns whether one was new. */
  addSignatures(digest: string, signatures: ListSignatures): boolean {
    const message = listMessage(fromHex(digest, 32))
    let added = false
    for (const [key, signature] of signatures) {
      const signer = toHex(key)
      if (
        !this.context.voters.has(signer) ||
        this.#signatures.get(digest)?.has(signer) ||
        this.#digestsOf(signer) >= MAX_SIGNED_DIGESTS_PER_VOTER
      )
        continue
      if (!this.context.verify(key, message, signature)) continue
      this.#put(digest, signer, signature)
      added = true
    }
    return added
  }

  /** The signatures known for a digest, in the order of the keys. */
  signatures(digest: string): ListSignatures {
    return [...(this.#signatures.get(digest) ?? [])]
      .sort(([a], [b]) => (a < b ? -1 : 1))
      .map(([signer, signature]) => [fromHex(signer, 32), signature] as const)
  }

  hasMajority(digest: string): boolean {
    return (this.#signatures.get(digest)?.size ?? 0) >= majorityOf(this.context.voters.size)
  }

  /** The signed list of our own proposal, once a majority signed it. */
  finished(): Uint8Array | undefined {
    if (!this.#proposal || !this.hasMajority(this.#proposal.digest)) return undefined
    return encodeList(this.#proposal.body, this.signatures(this.#proposal.digest))
  }

  #put(digest: string, signer: string, signature: Uint8Array): void {
    const of = this.#signatures.get(digest) ?? new Map<string, Uint8Array>()
    of.set(signer, signature)
    this.#signatures.set(digest, of)
  }

  #digestsOf(signer: string): number {
    return [...this.#signatures.values()].filter((signers) => signers.has(signer)).length
  }
}
