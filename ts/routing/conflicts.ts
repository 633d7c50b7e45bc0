/** Which relays must not meet in one path. */
import type { ListedRelay } from '../directory/types.js'
import { prefixOf } from './address.js'

/** Whether both relays name the other as of their family. One alone cannot drag another in. */
export function sameFamily(a: ListedRelay, b: ListedRelay): boolean {
  return a.family.includes(b.nodeId) && b.family.includes(a.nodeId)
}

// A relay is compared with many others, and its address does not change as long as its descriptor lives.
const prefixes = new WeakMap<ListedRelay, { readonly prefix: string | undefined }>()

function prefix(relay: ListedRelay): string | undefined {
  let entry = prefixes.get(relay)
  if (entry === undefined) {
    entry = { prefix: prefixOf(relay.address) }
    prefixes.set(relay, entry)
  }
  return entry.prefix
}

/** Whether two relays share a node, a family, or (unless a test network allows it) a /16 or /32. What has no readable address fits nowhere. */
export function conflict(a: ListedRelay, b: ListedRelay, allowSamePrefix: boolean): boolean {
  if (a.nodeId === b.nodeId || sameFamily(a, b)) return true
  if (allowSamePrefix) return a.address === b.address
  const own = prefix(a)
  return own === undefined || own === prefix(b)
}
