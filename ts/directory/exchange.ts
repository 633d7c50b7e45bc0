/** The messages of the bootstrap nodes among themselves, 'vote.exchange' and 'vote.signature': forms and strict readers. */

import { asArray, asBytes, asBytesUpTo, asFields, asUint, fromHex, toHex } from '../wire/index.js'
import { MAX_BOOTSTRAP_NODES, MAX_EXCHANGE_BYTES, MAX_VOTE_BYTES, MAX_VOTES_PER_VOTER } from './limits.js'
import { type ListSignatures, readSignatures } from './list.js'
import type { Vote } from './vote.js'

/** 'vote.exchange': the votes the sender has, those it thinks the other lacks; both ways the same. */
export interface Exchange {
  readonly interval: number
  /** Digests (hex) of all votes of the interval that the sender knows. */
  readonly have: readonly string[]
  readonly votes: readonly Uint8Array[]
  /** Digest (hex) of the sender's finished list of the interval. */
  readonly list: string | undefined
}

/** 'vote.signature': the list that the sender holds for right, and everybody's signatures under it that it knows. */
export interface Announcement {
  readonly interval: number
  readonly digest: string | undefined
  readonly signatures: ListSignatures
}

const MAX_VOTES = MAX_VOTES_PER_VOTER * MAX_BOOTSTRAP_NODES

export function writeExchange(exchange: Exchange): Record<string, unknown> {
  return {
    interval: exchange.interval,
    have: exchange.have.map((digest) => fromHex(digest, 32)),
    votes: [...exchange.votes],
    ...(exchange.list === undefined ? {} : { list: fromHex(exchange.list, 32) })
  }
}

/** Throws `Malformed`. */
export function readExchange(value: unknown): Exchange {
  const fields = asFields(value, ['interval', 'have', 'votes'], ['list'])
  return {
    interval: asUint(fields.interval, 'interval'),
    have: asArray(fields.have, 'have', MAX_VOTES).map((digest) => toHex(asBytes(digest, 'digest', 32))),
    votes: asArray(fields.votes, 'votes', MAX_VOTES).map((vote) => asBytesUpTo(vote, 'vote', MAX_VOTE_BYTES)),
    list: fields.list === undefined ? undefined : toHex(asBytes(fields.list, 'list', 32))
  }
}

export function writeAnnouncement(announcement: Announcement): Record<string, unknown> {
  return {
    interval: announcement.interval,
    signatures: announcement.signatures.map(([key, signature]) => [key, signature]),
    ...(announcement.digest === undefined ? {} : { digest: fromHex(announcement.digest, 32) })
  }
}

/** Throws `Malformed`. */
export function readAnnouncement(value: unknown): Announcement {
  const fields = asFields(value, ['interval', 'signatures'], ['digest'])
  return {
    interval: asUint(fields.interval, 'interval'),
    digest: fields.digest === undefined ? undefined : toHex(asBytes(fields.digest, 'digest', 32)),
    signatures: readSignatures(fields.signatures)
  }
}

/** As many of these votes as one message takes; the rest goes with the next. */
export function takeVotes(votes: readonly Vote[]): Vote[] {
  let room = MAX_EXCHANGE_BYTES
  return votes.filter((vote) => {
    if (vote.raw.length > room) return false
    room -= vote.raw.length
    return true
  })
}
