/**
 * Who is chosen how often.
 *
 * A relay's chance is its listed weight, times a factor of the position, so that each of the three positions can carry a third of the
 * traffic. With T the weight of all relays, E that of the exits, G that of the guards: exits do other work only with the part of E beyond
 * T/3 (nothing while exits are scarce), and of the rest guards stand in the middle only with the part of G beyond T/3.
 * The factors are about load, not about safety: where they leave nobody, the plain weights are used. A weight of 0 is never chosen.
 */
import type { ListedRelay } from '../directory/types.js'

/** A place in a path. A last hop that only answers directory questions is a middle. */
export type Position = 'guard' | 'middle' | 'exit'

/** The part of exits' and guards' weight that other positions may use, each from 0 to 1. */
export interface Surplus {
  readonly exit: number
  readonly guard: number
}

const isExit = (relay: ListedRelay): boolean => relay.roles.exit
const isGuard = (relay: ListedRelay): boolean => relay.roles.guard
const weightOf = (relay: ListedRelay): number => (relay.weight > 0 && Number.isFinite(relay.weight) ? relay.weight : 0)

/** The surplus of a list. */
export function surplusOf(relays: readonly ListedRelay[]): Surplus {
  const third = relays.reduce((sum, relay) => sum + weightOf(relay), 0) / 3
  const exits = relays.reduce((sum, relay) => sum + (isExit(relay) ? weightOf(relay) : 0), 0)
  const exit = exits > 0 ? Math.max(0, 1 - third / exits) : 0
  const guards = relays.reduce((sum, relay) => sum + (isGuard(relay) ? weightOf(relay) * (isExit(relay) ? exit : 1) : 0), 0)
  return { exit, guard: guards > 0 ? Math.max(0, 1 - third / guards) : 0 }
}

/** A relay's weight in a position. */
export function positionWeight(relay: ListedRelay, position: Position, surplus: Surplus): number {
  if (position === 'exit') return weightOf(relay)
  const asExit = isExit(relay) ? surplus.exit : 1
  if (position === 'guard') return weightOf(relay) * asExit
  return weightOf(relay) * asExit * (isGuard(relay) ? surplus.guard : 1)
}

/** Draws one relay by its weight in a position; undefined if all weights are 0. */
export function chooseWeighted(
  relays: readonly ListedRelay[],
  position: Position,
  surplus: Surplus,
  rng: () => number
): ListedRelay | undefined {
  return draw(relays, (relay) => positionWeight(relay, position, surplus), rng) ?? draw(relays, weightOf, rng)
}

function draw(relays: readonly ListedRelay[], weigh: (relay: ListedRelay) => number, rng: () => number): ListedRelay | undefined {
  const weights = relays.map(weigh)
  const total = weights.reduce((sum, weight) => sum + weight, 0)
  if (!(total > 0)) return undefined
  let left = rng() * total
  let last: ListedRelay | undefined
  for (const [index, relay] of relays.entries()) {
    const weight = weights[index] ?? 0
    if (weight === 0) continue
    last = relay
    left -= weight
    if (left < 0) return relay
  }
  // Rounding can leave a hair of the total: it belongs to the last relay that had a weight.
  return last
}
