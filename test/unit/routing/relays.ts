/** Relays and lists to choose from, and random numbers that replay. */
import type { ListedRelay, RelayList } from '../../../ts/directory/types.js'

/** Uniform in [0, 1), the same for the same seed (mulberry32). */
export function seeded(seed: number): () => number {
  let state = seed >>> 0
  return () => {
    state = (state + 0x6d2b79f5) >>> 0
    let t = state
    t = Math.imul(t ^ (t >>> 15), t | 1)
    t ^= t + Math.imul(t ^ (t >>> 7), t | 61)
    return ((t ^ (t >>> 14)) >>> 0) / 4294967296
  }
}

/** A node id that is easy to tell apart. */
export const id = (n: number): string => n.toString(16).padStart(64, '0')

export interface RelaySpec extends Partial<Omit<ListedRelay, 'roles' | 'nodeId'>> {
  readonly n: number
  readonly exit?: boolean
  readonly guard?: boolean
  readonly relay?: boolean
}

/** A relay: a guard unless said otherwise, in a /16 of its own. */
export function relay({ n, exit = false, guard = !exit, relay: forwards = true, ...rest }: RelaySpec): ListedRelay {
  return {
    nodeId: id(n),
    identity: new Uint8Array(32),
    onionKey: new Uint8Array(32),
    address: `${10 + (n >> 8)}.${n & 255}.0.1:443`,
    roles: { relay: forwards, exit, guard, dht: true },
    exitPolicy: exit ? ['accept *:*'] : [],
    family: [],
    versions: [1],
    bandwidth: 1000,
    issued: 0,
    lifetime: 10_800,
    seq: 1,
    weight: 1000,
    firstSeen: 0,
    ...rest
  }
}

export const VALID_UNTIL_S = 4_000_000_000

export function listOf(relays: readonly ListedRelay[], rest: Partial<RelayList> = {}): RelayList {
  return {
    interval: 1,
    validAfter: 0,
    freshUntil: VALID_UNTIL_S,
    validUntil: VALID_UNTIL_S,
    relays,
    digest: '00'.repeat(32),
    raw: new Uint8Array(),
    ...rest
  }
}

/** A list of so many relays, every third an exit. */
export function network(size: number, change: (spec: RelaySpec) => RelaySpec = (spec) => spec): RelayList {
  return listOf(Array.from({ length: size }, (_, index) => relay(change({ n: index + 1, exit: index % 3 === 2 }))))
}
