/**
 * Iterative lookups over node-disjoint paths: no node is asked on two paths, so a hostile node can spoil only its own. What nodes
 * say of others is hearsay: it steers the lookup and nothing else.
 */
import type { Peer } from '../directory/types.js'
import { Malformed } from '../wire/index.js'
import { compareDistance } from './id.js'
import { ALPHA, ANSWERS_PER_PATH, BUCKET_SIZE, LOOKUP_PATHS, MAX_LOOKUP_QUERIES, MAX_SHORTLIST } from './limits.js'
import { PrefixCounter, type PrefixLimits } from './prefixes.js'
import { type Contact, contactOf } from './table.js'

/** What one node answered: other nodes, and whether it had the value that is looked for. */
export interface QueryResult {
  readonly nodes: readonly Peer[]
  readonly hasValue: boolean
}

export interface LookupOptions {
  readonly target: Uint8Array
  readonly self: Uint8Array
  /** What we know ourselves, closest first. */
  readonly start: readonly Contact[]
  readonly prefixLimits: PrefixLimits
  /** Rejects when the node does not answer, or answers nonsense. */
  readonly query: (contact: Contact) => Promise<QueryResult>
  readonly paths?: number
  readonly signal?: AbortSignal
}

export interface LookupResult {
  /** The nodes that answered, of each path those closest to the target; together sorted, closest first. */
  readonly closest: readonly Contact[]
  /** How many nodes were asked. */
  readonly asked: number
}

/** What all paths of one lookup share. */
interface Shared {
  readonly options: LookupOptions
  /** Id and address: a liar that gives a wrong address for an honest node must not keep the right one from being tried. */
  readonly claimed: Set<string>
  /** Ids that answered, on whichever path. */
  readonly answered: Set<string>
  readonly prefixes: PrefixCounter
}

class Path {
  readonly #shared: Shared
  /** Sorted, closest first; what was asked on another path, or failed, is not in it. */
  #list: { contact: Contact; state: 'new' | 'asked' | 'answered' }[] = []
  readonly #known = new Set<string>()
  #answers = 0

  constructor(shared: Shared) {
    this.#shared = shared
  }

  get closest(): Contact[] {
    return this.#list.filter((entry) => entry.state === 'answered').map((entry) => entry.contact)
  }

  add(contact: Contact): void {
    const { target, self } = this.#shared.options
    const place = placeOf(contact)
    if (this.#known.has(place) || compareDistance(self, self, contact.id) === 0) return
    this.#known.add(place)
    const at = this.#list.findIndex((entry) => compareDistance(target, contact.id, entry.contact.id) < 0)
    this.#list.splice(at < 0 ? this.#list.length : at, 0, { contact, state: 'new' })
    const last = this.#list[this.#list.length - 1]
    if (this.#list.length > MAX_SHORTLIST && last?.state === 'new') this.#list.pop()
  }

  async run(): Promise<void> {
    const inFlight = new Set<Promise<void>>()
    for (;;) {
      const next = inFlight.size < ALPHA ? this.#next() : undefined
      if (next) {
        const call = this.#ask(next).finally(() => inFlight.delete(call))
        inFlight.add(call)
      } else if (inFlight.size > 0) {
        await Promise.race(inFlight)
      } else {
        return
      }
    }
  }

  /** The closest node not yet asked among the 16 closest left, claimed for this path. */
  #next(): Contact | undefined {
    const { options, claimed, answered, prefixes } = this.#shared
    if (this.#answers >= ANSWERS_PER_PATH || options.signal?.aborted) return undefined
    for (let index = 0; index < Math.min(BUCKET_SIZE, this.#list.length); ) {
      const entry = this.#list[index]
      if (entry?.state !== 'new') {
        index++
        continue
      }
      if (claimed.size >= MAX_LOOKUP_QUERIES) return undefined
      const place = placeOf(entry.contact)
      if (claimed.has(place) || answered.has(entry.contact.nodeId) || !prefixes.add(entry.contact.address)) {
        this.#list.splice(index, 1)
        continue
      }
      claimed.add(place)
      entry.state = 'asked'
      return entry.contact
    }
    return undefined
  }

  async #ask(contact: Contact): Promise<void> {
    const { options, answered } = this.#shared
    try {
      const { nodes, hasValue } = await options.query(contact)
      if (answered.has(contact.nodeId)) throw new Malformed('answered on another path')
      answered.add(contact.nodeId)
      const entry = this.#list.find((other) => other.contact === contact)
      if (entry) entry.state = 'answered'
      if (hasValue) this.#answers++
      for (const node of nodes) this.add(contactOf(node))
    } catch {
      this.#list = this.#list.filter((other) => other.contact !== contact)
    }
  }
}

function placeOf(contact: Contact): string {
  return `${contact.nodeId}@${contact.address}`
}

/** Runs a lookup to its end. Never rejects: with nobody to ask, or nobody answering, the result is empty. */
export async function lookup(options: LookupOptions): Promise<LookupResult> {
  const shared: Shared = { options, claimed: new Set(), answered: new Set(), prefixes: new PrefixCounter(options.prefixLimits) }
  const paths = Array.from({ length: options.paths ?? LOOKUP_PATHS }, () => new Path(shared))
  options.start.forEach((contact, index) => {
    paths[index % paths.length]?.add(contact)
  })
  await Promise.all(paths.map((path) => path.run()))
  const closest = new Map<string, Contact>()
  for (const path of paths) for (const contact of path.closest.slice(0, BUCKET_SIZE)) closest.set(contact.nodeId, contact)
  return {
    closest: [...closest.values()].sort((a, b) => compareDistance(options.target, a.id, b.id)),
    asked: shared.claimed.size
  }
}
