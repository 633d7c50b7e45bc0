/** The relay list that follows from a set of votes. Pure: the same votes in any order give the same bytes. */

import { fromHex } from '../wire/index.js'
import type { SignedDescriptor } from './descriptor.js'
import {
  CLOCK_TOLERANCE_S,
  LIST_VALID_INTERVALS,
  MAX_LIST_BYTES,
  MAX_LIST_RELAYS,
  MAX_WEIGHT_BYTES_PER_S,
  MAX_WEIGHT_MEDIANS,
  MIN_LIST_VALIDITY_MS
} from './limits.js'
import { encodeBody, type ListEntry, type ListHead, majorityOf } from './list.js'
import type { Vote } from './vote.js'

/** Head, signatures and what CBOR adds to each entry, in bytes. */
const LIST_OVERHEAD_BYTES = 16 * 1024
const ENTRY_OVERHEAD_BYTES = 32

interface Candidate {
  readonly signed: SignedDescriptor
  readonly firstSeen: number
  readonly votes: number
}

/**
 * The body of the list of `interval`: relays that a majority of the votes have and whose newest descriptor is alive in the
 * interval; of several descriptors the one with the highest seq; first seen = the lower median.
 */
export function computeConsensus(interval: number, intervalMs: number, votes: readonly Vote[]): Uint8Array {
  const startMs = interval * intervalMs
  const seen = new Map<string, { newest: SignedDescriptor; firstSeen: number[] }>()
  for (const vote of votes) {
    for (const { signed, firstSeen } of vote.entries) {
      const known = seen.get(signed.descriptor.nodeId)
      if (!known) {
        seen.set(signed.descriptor.nodeId, { newest: signed, firstSeen: [firstSeen] })
      } else {
        known.firstSeen.push(firstSeen)
        if (isNewer(signed, known.newest)) known.newest = signed
      }
    }
  }
  const candidates: Candidate[] = []
  for (const { newest, firstSeen } of seen.values()) {
    if (firstSeen.length < majorityOf(votes.length) || !isAlive(newest, startMs, intervalMs)) continue
    candidates.push({ signed: newest, firstSeen: Math.min(lowerMedian(firstSeen), Math.floor(startMs / 1000)), votes: firstSeen.length })
  }
  return encodeBody({ head: headOf(interval, intervalMs, votes), entries: weigh(largest(candidates)) })
}

/** Of two descriptors of one relay: the higher seq; of two with one seq, which only a lying relay issues, the smaller digest. */
export function isNewer(a: SignedDescriptor, b: SignedDescriptor): boolean {
  return a.descriptor.seq !== b.descriptor.seq ? a.descriptor.seq > b.descriptor.seq : a.digest < b.digest
}

/** Judged by the interval alone, since no two nodes' clocks agree: not expired when it begins, not issued after it ends. */
function isAlive({ descriptor }: SignedDescriptor, startMs: number, intervalMs: number): boolean {
  const expiresMs = (descriptor.issued + descriptor.lifetime) * 1000
  return expiresMs > startMs && descriptor.issued * 1000 <= startMs + intervalMs + CLOCK_TOLERANCE_S * 1000
}

function headOf(interval: number, intervalMs: number, votes: readonly Vote[]): ListHead {
  const validAfterMs = interval * intervalMs
  return {
    interval,
    validAfterMs,
    freshUntilMs: validAfterMs + intervalMs,
    validUntilMs: validAfterMs + Math.max(LIST_VALID_INTERVALS * intervalMs, MIN_LIST_VALIDITY_MS),
    votes: votes
      .map((vote) => [vote.voter, vote.digest] as const)
      .sort(([a], [b]) => (a < b ? -1 : 1))
      .map(([voter, digest]) => [fromHex(voter, 32), fromHex(digest, 32)] as const)
  }
}

/** Of more relays than a list holds, those that most votes have and that were seen first. */
function largest(candidates: readonly Candidate[]): Candidate[] {
  let room = MAX_LIST_BYTES - LIST_OVERHEAD_BYTES
  return [...candidates]
    .sort((a, b) => b.votes - a.votes || a.firstSeen - b.firstSeen || byId(a, b))
    .slice(0, MAX_LIST_RELAYS)
    .filter((candidate) => {
      room -= candidate.signed.raw.length + ENTRY_OVERHEAD_BYTES
      return room >= 0
    })
    .sort(byId)
}

function weigh(candidates: readonly Candidate[]): ListEntry[] {
  const cap = Math.min(
    MAX_WEIGHT_BYTES_PER_S,
    MAX_WEIGHT_MEDIANS * lowerMedian(candidates.map((relay) => relay.signed.descriptor.bandwidth))
  )
  return candidates.map(({ signed, firstSeen }) => ({
    descriptor: signed.raw,
    weight: Math.min(signed.descriptor.bandwidth, cap),
    firstSeen
  }))
}

function lowerMedian(values: readonly number[]): number {
  const sorted = [...values].sort((a, b) => a - b)
  return sorted[(sorted.length - 1) >> 1] ?? 0
}

function byId(a: Candidate, b: Candidate): number {
  return a.signed.descriptor.nodeId < b.signed.descriptor.nodeId ? -1 : 1
}
