/** What path selection needs of a relay list, worked out once for each list. */
import type { ListedRelay, RelayList } from '../directory/types.js'
import { PROTOCOL_VERSION } from './limits.js'
import { type Surplus, surplusOf } from './weights.js'

/** A list's relays that can be in a path, by id and by role, and the factors of its weights. */
export interface ListIndex {
  readonly byId: ReadonlyMap<string, ListedRelay>
  readonly relays: readonly ListedRelay[]
  readonly guards: readonly ListedRelay[]
  readonly surplus: Surplus
}

const indexes = new WeakMap<RelayList, ListIndex>()

/** A relay that can carry circuits at all: it forwards, speaks this protocol, and has a weight. */
function usable(relay: ListedRelay): boolean {
  return relay.roles.relay && relay.versions.includes(PROTOCOL_VERSION) && Number.isFinite(relay.weight) && relay.weight > 0
}

/** The index of a list. */
export function indexOf(list: RelayList): ListIndex {
  let index = indexes.get(list)
  if (index === undefined) {
    const relays = list.relays.filter(usable)
    index = {
      byId: new Map(relays.map((relay) => [relay.nodeId, relay])),
      relays,
      guards: relays.filter((relay) => relay.roles.guard),
      surplus: surplusOf(relays)
    }
    indexes.set(list, index)
  }
  return index
}
