/** What a bootstrap node remembers of another one during an interval. */
import type { Peer } from './types.js'

export interface PeerState {
  readonly peer: Peer
  inFlight: boolean
  failures: number
  retryAtMs: number
  nextAskMs: number
  /** Votes of the interval that it has, as far as we know. */
  known: Set<string>
  /** It answered in this interval, or could not be reached. */
  asked: boolean
  /** It signed another list than ours: our votes differ. */
  differs: boolean
  /** It has a finished list that we lack. */
  pull: boolean
  announced: string
}

/** At the start of an interval nothing is known of a peer. */
export function newPeer(peer: Peer): PeerState {
  return {
    peer,
    inFlight: false,
    failures: 0,
    retryAtMs: 0,
    nextAskMs: 0,
    known: new Set(),
    asked: false,
    differs: false,
    pull: false,
    announced: ''
  }
}
