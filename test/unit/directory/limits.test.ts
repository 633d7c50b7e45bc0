/** Limits that no other test reaches. */
import { describe, expect, it } from 'vitest'
import { computeConsensus } from '../../../ts/directory/consensus.js'
import type { SignedDescriptor } from '../../../ts/directory/descriptor.js'
import { readAnnouncement, readExchange, takeVotes } from '../../../ts/directory/exchange.js'
import {
  MAX_BOOTSTRAP_NODES,
  MAX_DESCRIPTOR_BYTES,
  MAX_EXCHANGE_BYTES,
  MAX_LIST_BYTES,
  MAX_LIST_RELAYS,
  MAX_SIGNED_DIGESTS_PER_VOTER,
  MAX_VOTE_BYTES,
  MAX_VOTES_PER_VOTER
} from '../../../ts/directory/limits.js'
import { checkBootstrapKeys, decodeBody, encodeList, listMessage, openList } from '../../../ts/directory/list.js'
import { Round } from '../../../ts/directory/round.js'
import { DescriptorCache, issueVote, parseVote, type Vote, type VoteEntry } from '../../../ts/directory/vote.js'
import { sha256, toHex } from '../../../ts/wire/index.js'
import { codeOf, INTERVAL_MS, makeDescriptor, makeSigner, START_S, verify } from './helpers.js'

const INTERVAL = Math.floor((START_S * 1000) / INTERVAL_MS)
const sample = new DescriptorCache(verify).parse(makeDescriptor(makeSigner(1)))

/** Entries as if descriptors of that size had been parsed: what is counted here is never parsed again. */
function fabricated(count: number, bytes: number, firstSeen = (index: number) => index): VoteEntry[] {
  return Array.from({ length: count }, (_, index) => {
    const nodeId = index.toString(16).padStart(64, '0')
    const signed: SignedDescriptor = { descriptor: { ...sample.descriptor, nodeId }, raw: new Uint8Array(bytes), digest: nodeId }
    return { signed, firstSeen: firstSeen(index) }
  })
}

const voteWith = (entries: VoteEntry[]): Vote => ({
  voter: '11'.repeat(32),
  interval: INTERVAL,
  entries,
  raw: new Uint8Array(1),
  digest: '22'.repeat(32)
})

describe('a list', () => {
  it('holds 8,000 relays, those seen first', () => {
    const entries = fabricated(MAX_LIST_RELAYS + 5, 10, (index) => (index === 0 ? START_S : index))
    const { entries: listed } = decodeBody(computeConsensus(INTERVAL, INTERVAL_MS, [voteWith(entries)]))
    expect(listed).toHaveLength(MAX_LIST_RELAYS)
    expect(listed.some((entry) => entry.firstSeen === START_S)).toBe(false)
  })

  it('stays within 8 MiB with its signatures, however large the descriptors', () => {
    const body = computeConsensus(INTERVAL, INTERVAL_MS, [voteWith(fabricated(2500, MAX_DESCRIPTOR_BYTES))])
    const list = encodeList(
      body,
      Array.from({ length: MAX_BOOTSTRAP_NODES }, () => [new Uint8Array(32), new Uint8Array(64)] as const)
    )
    expect(list.length).toBeLessThanOrEqual(MAX_LIST_BYTES)
    expect(list.length).toBeGreaterThan(MAX_LIST_BYTES - 64 * 1024)
    expect(openList(list).signatures).toHaveLength(MAX_BOOTSTRAP_NODES)
    expect(codeOf(() => openList(new Uint8Array(MAX_LIST_BYTES + 1)))).toBe('ERR_ANONNET_LIST_INVALID')
  })

  it('is agreed on by 3 to 32 nodes', () => {
    const keys = Array.from({ length: MAX_BOOTSTRAP_NODES + 1 }, (_, index) => makeSigner(index).publicKey)
    checkBootstrapKeys(keys.slice(1))
    checkBootstrapKeys(keys.slice(0, 3))
    expect(codeOf(() => checkBootstrapKeys(keys))).toBe('ERR_ANONNET_CONFIG_INVALID')
    expect(codeOf(() => checkBootstrapKeys(keys.slice(0, 2)))).toBe('ERR_ANONNET_CONFIG_INVALID')
  })
})

describe('a vote', () => {
  it('stays within 7 MiB and 8,000 relays, and keeps those seen first', () => {
    const large = issueVote(INTERVAL, INTERVAL_MS, fabricated(2500, MAX_DESCRIPTOR_BYTES), makeSigner(1))
    expect(large.length).toBeLessThanOrEqual(MAX_VOTE_BYTES)
    expect(large.length).toBeGreaterThan(MAX_VOTE_BYTES - 64 * 1024)
    const many = issueVote(INTERVAL, INTERVAL_MS, fabricated(MAX_LIST_RELAYS + 100, 10), makeSigner(1))
    expect(many.length).toBeLessThan(issueVote(INTERVAL, INTERVAL_MS, fabricated(MAX_LIST_RELAYS, 10), makeSigner(1)).length + 100)
  })

  it('goes into a message only while there is room', () => {
    const votes = [4, 4, 3].map((megabytes) => ({ ...voteWith([]), raw: new Uint8Array(megabytes * 1024 * 1024) }))
    expect(takeVotes(votes)).toEqual([votes[0], votes[2]])
    expect(takeVotes(votes).reduce((sum, vote) => sum + vote.raw.length, 0)).toBeLessThanOrEqual(MAX_EXCHANGE_BYTES)
  })

  it('or a message of too many parts is refused', () => {
    const digests = (count: number) => Array.from({ length: count }, () => new Uint8Array(32))
    const most = MAX_VOTES_PER_VOTER * MAX_BOOTSTRAP_NODES
    expect(readExchange({ interval: 1, have: digests(most), votes: [] }).have).toHaveLength(most)
    expect(() => readExchange({ interval: 1, have: digests(most + 1), votes: [] })).toThrow()
    const signatures = Array.from({ length: MAX_BOOTSTRAP_NODES + 1 }, () => [new Uint8Array(32), new Uint8Array(64)])
    expect(() => readAnnouncement({ interval: 1, signatures })).toThrow()
  })
})

describe('a round', () => {
  const signers = [1, 2, 3].map((seed) => makeSigner(seed))
  const voters = new Set(signers.map((signer) => toHex(signer.publicKey)))
  const make = () =>
    new Round(INTERVAL, { intervalMs: INTERVAL_MS, self: signers[0]!, selfKey: toHex(signers[0]!.publicKey), voters, verify })
  const cache = new DescriptorCache(verify)

  it('keeps two votes of one node, as the proof, and not a third', () => {
    const round = make()
    const votes = [0, 1, 2].map((count) => {
      const entries = fabricated(0, 0).concat(count === 0 ? [] : [{ signed: sample, firstSeen: count }])
      return parseVote(issueVote(INTERVAL, INTERVAL_MS, entries, signers[1]!), INTERVAL_MS, voters, cache)
    })
    expect(votes.map((vote) => round.addVote(vote))).toEqual([true, true, false])
    expect(round.addVote(votes[0]!)).toBe(false)
    expect(round.votes()).toHaveLength(MAX_VOTES_PER_VOTER)
    expect(round.equivocators()).toEqual([toHex(signers[1]!.publicKey)])
    const other = parseVote(issueVote(INTERVAL + 1, INTERVAL_MS, [], signers[2]!), INTERVAL_MS, voters, cache)
    expect(round.addVote(other)).toBe(false)
  })

  it('remembers at most 64 digests that one node signed, and none of strangers', () => {
    const round = make()
    const signs = (index: number, by = signers[1]!) => {
      const digest = sha256(Uint8Array.of(index))
      return round.addSignatures(toHex(digest), [[by.publicKey, by.sign(listMessage(digest))]])
    }
    for (let i = 0; i < MAX_SIGNED_DIGESTS_PER_VOTER; i++) expect(signs(i)).toBe(true)
    expect(signs(200)).toBe(false)
    expect(signs(3)).toBe(false)
    expect(signs(200, signers[2]!)).toBe(true)
    expect(signs(201, makeSigner(9))).toBe(false)
  })
})

describe('the cache of verified descriptors', () => {
  it('forgets the oldest beyond its capacity, and verifies each once while it is in it', () => {
    let verified = 0
    const cache = new DescriptorCache((...check) => {
      verified++
      return verify(...check)
    }, 3)
    const raws = [1, 2, 3, 4].map((seed) => makeDescriptor(makeSigner(seed)))
    for (const raw of raws) for (let i = 0; i < 2; i++) cache.parse(raw)
    expect([cache.size, verified]).toEqual([3, 4])
    cache.parse(raws[0]!)
    expect(verified).toBe(5)
  })
})
