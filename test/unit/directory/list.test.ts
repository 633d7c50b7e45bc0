import { describe, expect, it } from 'vitest'
import { ListArchive, listBytes } from '../../../ts/directory/archive.js'
import { computeConsensus } from '../../../ts/directory/consensus.js'
import { applyDiff, diff } from '../../../ts/directory/difference.js'
import {
  CLOCK_TOLERANCE_S,
  MAX_ARCHIVED_LISTS,
  MAX_LIST_VALIDITY_MS,
  MAX_WEIGHT_BYTES_PER_S,
  MAX_WEIGHT_MEDIANS,
  MIN_LIST_VALIDITY_MS
} from '../../../ts/directory/limits.js'
import { decodeBody, encodeBody, encodeList, LIST_DOMAIN, listMessage, openList, verifyList } from '../../../ts/directory/list.js'
import type { RelayDescriptor, Signer } from '../../../ts/directory/types.js'
import { DescriptorCache, issueVote, parseVote, type Vote } from '../../../ts/directory/vote.js'
import { decodeCbor, encodeCbor, fromHex, nodeIdOf, sha256, signedMessage, toHex } from '../../../ts/wire/index.js'
import { codeOf, makeDescriptor, makeSigner, START_S, verify } from './helpers.js'

const HOUR_MS = 3600_000
const INTERVAL = Math.floor((START_S * 1000) / HOUR_MS)
const START_MS = INTERVAL * HOUR_MS
const bootstraps = [1, 2, 3].map((seed) => makeSigner(seed))
const keys = bootstraps.map((signer) => signer.publicKey)
const voters = new Set(keys.map(toHex))
const cache = new DescriptorCache(verify)
const INVALID = 'ERR_ANONNET_LIST_INVALID'

type Listing = readonly [seed: number, overrides?: Partial<RelayDescriptor>, firstSeen?: number]

function vote(voter: Signer, listings: readonly Listing[], interval = INTERVAL): Vote {
  const entries = listings.map(([seed, overrides, firstSeen]) => ({
    signed: cache.parse(makeDescriptor(makeSigner(seed), { issued: Math.floor(START_MS / 1000), ...overrides })),
    firstSeen: firstSeen ?? START_S - 9999
  }))
  return parseVote(issueVote(interval, HOUR_MS, entries, voter), HOUR_MS, voters, cache)
}

function signList(body: Uint8Array, signers: readonly Signer[] = bootstraps): Uint8Array {
  const message = listMessage(sha256(body))
  return encodeList(
    body,
    signers.map((signer) => [signer.publicKey, signer.sign(message)] as const)
  )
}

function listOf(listings: readonly Listing[], interval = INTERVAL): Uint8Array {
  return signList(
    computeConsensus(
      interval,
      HOUR_MS,
      bootstraps.map((signer) => vote(signer, listings, interval))
    )
  )
}

const idOf = (seed: number) => nodeIdOf(makeSigner(seed).publicKey)
const check = (bytes: Uint8Array, nowMs = START_MS) => verifyList(bytes, keys, nowMs, verify)

describe('the consensus', () => {
  it('lists what a majority of the votes has, newest descriptor, lower median of first seen', () => {
    const votes = [
      vote(bootstraps[0]!, [[10, { seq: 1 }, 300], [11], [12]]),
      vote(bootstraps[1]!, [[10, { seq: 3 }, 100], [11]]),
      vote(bootstraps[2]!, [[10, { seq: 2 }, 200]])
    ]
    const list = check(signList(computeConsensus(INTERVAL, HOUR_MS, votes)))
    expect(list.relays.map((relay) => relay.nodeId)).toEqual([idOf(10), idOf(11)].sort())
    const relay = list.relays.find((entry) => entry.nodeId === idOf(10))!
    expect([relay.seq, relay.firstSeen]).toEqual([3, 200])
  })

  it('with two votes a relay needs both: none enters from a single source', () => {
    const votes = [vote(bootstraps[0]!, [[10], [11]]), vote(bootstraps[1]!, [[10]])]
    expect(decodeBody(computeConsensus(INTERVAL, HOUR_MS, votes)).entries).toHaveLength(1)
  })

  it('leaves out what has expired when the interval begins, and what comes from the future', () => {
    const issued = Math.floor(START_MS / 1000)
    const listings: Listing[] = [
      [10, { issued: issued - 600, lifetime: 600 }],
      [11, { issued: issued - 600, lifetime: 601 }],
      [12, { issued: issued + 3600 + CLOCK_TOLERANCE_S }],
      [13, { issued: issued + 3600 + CLOCK_TOLERANCE_S + 1 }]
    ]
    expect(check(listOf(listings)).relays.map((relay) => relay.nodeId)).toEqual([idOf(11), idOf(12)].sort())
  })

  it('caps weights: absolutely, and at ten times the median', () => {
    const listings: Listing[] = [
      [10, { bandwidth: 100 }],
      [11, { bandwidth: 200 }],
      [12, { bandwidth: 10 ** 15 }]
    ]
    const weights = new Map(check(listOf(listings)).relays.map((relay) => [relay.nodeId, relay.weight]))
    expect([10, 11, 12].map((seed) => weights.get(idOf(seed)))).toEqual([100, 200, 200 * MAX_WEIGHT_MEDIANS])
    const huge = check(listOf([[10, { bandwidth: 10 ** 15 }]]))
    expect(huge.relays[0]!.weight).toBe(MAX_WEIGHT_BYTES_PER_S)
  })

  it('is valid for three intervals, and on test networks for ten minutes', () => {
    const list = check(listOf([[10]]))
    expect([list.validAfter, list.freshUntil, list.validUntil].map((time) => time * 1000)).toEqual([
      START_MS,
      START_MS + HOUR_MS,
      START_MS + 3 * HOUR_MS
    ])
    expect(decodeBody(computeConsensus(5, 1000, [])).head.validUntilMs).toBe(5000 + MIN_LIST_VALIDITY_MS)
  })

  it('takes one of two descriptors with one seq, whichever vote comes first', () => {
    const votes = bootstraps.map((signer, index) => vote(signer, [[10, { bandwidth: 100 + index }]]))
    expect(computeConsensus(INTERVAL, HOUR_MS, votes)).toEqual(computeConsensus(INTERVAL, HOUR_MS, votes.toReversed()))
  })
})

describe('votes', () => {
  it('are refused from strangers, for other networks, with wrong signatures or forged or repeated relays', () => {
    const raw = issueVote(INTERVAL, HOUR_MS, [], bootstraps[0]!)
    expect(parseVote(raw, HOUR_MS, voters, cache).interval).toBe(INTERVAL)
    expect(codeOf(() => parseVote(raw, 2000, voters, cache))).toBe(INVALID)
    expect(codeOf(() => parseVote(issueVote(INTERVAL, HOUR_MS, [], makeSigner(9)), HOUR_MS, voters, cache))).toBe(INVALID)
    expect(codeOf(() => parseVote(raw.with(raw.length - 1, (raw.at(-1) ?? 0) ^ 1), HOUR_MS, voters, cache))).toBe(INVALID)
    const seal = (relays: unknown) => {
      const body = encodeCbor({ v: 1, voter: bootstraps[0]!.publicKey, interval: INTERVAL, length: HOUR_MS, relays })
      return encodeCbor([body, bootstraps[0]!.sign(signedMessage('anonnet:1:relay-vote', body))])
    }
    const descriptor = makeDescriptor(makeSigner(10))
    expect(parseVote(seal([[descriptor, 5]]), HOUR_MS, voters, cache).entries).toHaveLength(1)
    expect(
      codeOf(() =>
        parseVote(
          seal([
            [descriptor, 5],
            [descriptor, 5]
          ]),
          HOUR_MS,
          voters,
          cache
        )
      )
    ).toBe(INVALID)
    const forged = descriptor.with(descriptor.length - 1, (descriptor.at(-1) ?? 0) ^ 1)
    expect(codeOf(() => parseVote(seal([[forged, 5]]), HOUR_MS, voters, cache))).toBe('ERR_ANONNET_DESCRIPTOR_INVALID')
    expect(codeOf(() => parseVote(seal('x'), HOUR_MS, voters, cache))).toBe(INVALID)
  })
})

describe('verifying a list', () => {
  const body = openList(listOf([[10], [11]])).body

  it('needs distinct configured keys that are a strict majority', () => {
    const [a, b, c] = bootstraps as [Signer, Signer, Signer]
    for (const signers of [
      [a, b],
      [c, a],
      [a, b, c],
      [a, makeSigner(9), b]
    ])
      expect(check(signList(body, signers)).relays).toHaveLength(2)
    for (const signers of [[], [a], [a, a], [a, a, a], [a, makeSigner(8), makeSigner(9)]]) {
      expect(codeOf(() => check(signList(body, signers)))).toBe(INVALID)
    }
    const five = [...keys, makeSigner(4).publicKey, makeSigner(5).publicKey]
    expect(codeOf(() => verifyList(signList(body, [a, b]), five, START_MS, verify))).toBe(INVALID)
    expect(verifyList(signList(body, [a, b, c]), five, START_MS, verify).relays).toHaveLength(2)
    const even = [...keys, makeSigner(4).publicKey]
    expect(codeOf(() => verifyList(signList(body, [a, b]), even, START_MS, verify))).toBe(INVALID)
  })

  it('does not count a wrong signature, one for another purpose, or the same key twice', () => {
    const [a, b] = bootstraps as [Signer, Signer, Signer]
    const right = listMessage(sha256(body))
    const lists = [
      encodeList(body, [
        [a.publicKey, a.sign(right)],
        [b.publicKey, a.sign(right)]
      ]),
      encodeList(body, [
        [a.publicKey, a.sign(right)],
        [b.publicKey, b.sign(signedMessage('anonnet:1:relay-vote', sha256(body)))]
      ]),
      encodeList(body, [
        [a.publicKey, a.sign(right)],
        [a.publicKey, a.sign(right)]
      ]),
      encodeList(body, [
        [a.publicKey, a.sign(right)],
        [b.publicKey, b.sign(signedMessage(LIST_DOMAIN, body))]
      ])
    ]
    for (const list of lists) expect(codeOf(() => check(list))).toBe(INVALID)
  })

  it('refuses what is expired or not valid yet', () => {
    const bytes = signList(body)
    expect(check(bytes, START_MS - CLOCK_TOLERANCE_S * 1000).interval).toBe(INTERVAL)
    expect(check(bytes, START_MS + 3 * HOUR_MS - 1).interval).toBe(INTERVAL)
    expect(codeOf(() => check(bytes, START_MS - CLOCK_TOLERANCE_S * 1000 - 1))).toBe(INVALID)
    expect(codeOf(() => check(bytes, START_MS + 3 * HOUR_MS))).toBe(INVALID)
  })

  it('refuses what is malformed though a majority signed it', () => {
    const { head, entries } = decodeBody(body)
    const bodies = [
      encodeBody({ head, entries: [...entries].reverse() }),
      encodeBody({ head, entries: [entries[0]!, entries[0]!] }),
      encodeBody({ head: { ...head, freshUntilMs: head.validAfterMs }, entries }),
      encodeBody({ head: { ...head, validUntilMs: head.freshUntilMs - 1 }, entries }),
      encodeBody({ head: { ...head, validUntilMs: head.validAfterMs + MAX_LIST_VALIDITY_MS + 1 }, entries }),
      encodeBody({ head, entries: [{ ...entries[0]!, descriptor: new Uint8Array(9) }] }),
      encodeBody({ head, entries: [{ ...entries[0]!, weight: -1 }] }),
      encodeCbor({ ...(decodeCbor(body, { maxBytes: 1e6, maxDepth: 9, maxItems: 999 }) as object), v: 2 }),
      encodeCbor([1]),
      new Uint8Array(0)
    ]
    for (const bad of bodies) expect(codeOf(() => check(signList(bad)))).toMatch(/LIST_INVALID|DESCRIPTOR_INVALID/)
  })

  it('refuses sets of keys that are too small, repeated or not keys', () => {
    const bytes = signList(body)
    for (const set of [keys.slice(0, 2), [...keys, keys[0]!], [...keys, new Uint8Array(31)]]) {
      expect(codeOf(() => verifyList(bytes, set, START_MS, verify))).toBe('ERR_ANONNET_CONFIG_INVALID')
    }
  })
})

describe('differences', () => {
  const many = Array.from({ length: 30 }, (_, index): Listing => [100 + index])
  const old = listOf(many)

  it('give exactly the new list, and are small when little changed', () => {
    const next = listOf(
      [...many.slice(0, 10), ...many.slice(12), [200], [103, { seq: 9 }]].filter(
        ([seed], index) => seed !== 103 || index > 20
      ) as Listing[],
      INTERVAL + 1
    )
    const difference = diff(old, next)
    expect(applyDiff(old, difference)).toEqual(next)
    expect(difference.length).toBeLessThan(next.length / 3)
    expect(check(applyDiff(old, difference), START_MS + HOUR_MS).interval).toBe(INTERVAL + 1)
  })

  it('carry changed weights without the descriptors', () => {
    const { head, entries } = decodeBody(openList(old).body)
    const heavier = signList(encodeBody({ head, entries: entries.map((entry) => ({ ...entry, weight: entry.weight + 1 })) }))
    expect(applyDiff(old, diff(old, heavier))).toEqual(heavier)
    expect(diff(old, heavier).length).toBeLessThan(heavier.length / 3)
  })

  it('are refused when made for another base, changed, or reaching beyond it', () => {
    const next = listOf(many.slice(3), INTERVAL + 1)
    const difference = diff(old, next)
    expect(codeOf(() => applyDiff(next, difference))).toBe(INVALID)
    const fields = decodeCbor(difference, { maxBytes: 1e6, maxDepth: 9, maxItems: 9999 }) as Record<string, unknown>
    const changes = [
      { ops: [] },
      { ops: [[0, 31]] },
      { ops: [[99, 1, 1]] },
      { ops: [[0, 0]] },
      { ops: [[1]] },
      { ops: new Array(400).fill([0, 30]) },
      { digest: new Uint8Array(32) },
      { v: 2 },
      { head: {} },
      { extra: 1 }
    ]
    for (const change of changes) expect(codeOf(() => applyDiff(old, encodeCbor({ ...fields, ...change })))).toBe(INVALID)
  })
})

describe('the archive', () => {
  // Descriptors live three hours: so do the last three of these lists.
  const lists = Array.from({ length: MAX_ARCHIVED_LISTS + 2 }, (_, index) => {
    const ahead = index - MAX_ARCHIVED_LISTS + 1
    return check(listOf([[10], [11], [12], [13 + index]], INTERVAL + ahead), START_MS + ahead * HOUR_MS)
  })

  it('answers with what the asker lacks', () => {
    const archive = new ListArchive()
    expect(codeOf(() => archive.get({}))).toBe('ERR_ANONNET_NOT_BOOTSTRAPPED')
    for (const list of [...lists].reverse()) archive.add(list)
    expect(archive.lists).toHaveLength(MAX_ARCHIVED_LISTS)
    const newest = lists.at(-1)!
    expect(archive.get({ have: fromHex(newest.digest, 32) })).toEqual({ same: true })
    expect(archive.get({ have: new Uint8Array(32) })).toEqual({ list: newest.raw })
    const base = lists.at(-3)!
    const answer = archive.get({ have: fromHex(base.digest, 32) })
    expect(answer).toHaveProperty('diff')
    expect(listBytes(answer, base)).toEqual(newest.raw)
    expect(archive.get({ have: fromHex(lists[0]!.digest, 32) })).toEqual({ list: newest.raw })
    expect(codeOf(() => archive.get({ have: 5 }))).toBe('ERR_ANONNET_RPC_INVALID')
  })

  it('sends the whole list where a difference would not be smaller', () => {
    const archive = new ListArchive()
    const other = check(listOf([[77]], INTERVAL + 1), START_MS + HOUR_MS)
    archive.add(lists[0]!)
    archive.add(other)
    expect(archive.get({ have: fromHex(lists[0]!.digest, 32) })).toEqual({ list: other.raw })
  })

  it('takes apart only answers that are one', () => {
    for (const answer of [{}, { same: false }, { same: true, list: new Uint8Array(1) }, { list: 5 }, null]) {
      expect(() => listBytes(answer, lists[0])).toThrow()
    }
    expect(() => listBytes({ same: true }, undefined)).toThrow()
    expect(() => listBytes({ diff: new Uint8Array(1) }, undefined)).toThrow()
  })
})
