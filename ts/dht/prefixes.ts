/** Counts of addresses per prefix, with a limit on each: many ids behind few addresses get few places. */
import { NARROW_PREFIX, prefixOf, WIDE_PREFIX } from '../wire/index.js'
import { MAX_PER_NARROW_PREFIX, MAX_PER_WIDE_PREFIX } from './limits.js'

export interface PrefixLimits {
  /** Per /24, v6 /48. */
  readonly narrow: number
  /** Per /16, v6 /32. */
  readonly wide: number
}

/** What holds on a real network. A test network whose nodes share an address hands in its own. */
export const PREFIX_LIMITS: PrefixLimits = { narrow: MAX_PER_NARROW_PREFIX, wide: MAX_PER_WIDE_PREFIX }

export class PrefixCounter {
  readonly #counts = new Map<string, number>()

  constructor(readonly limits: PrefixLimits) {}

  /** Counts the address if both its prefixes have room; returns whether it did. */
  add(address: string): boolean {
    const narrow = `n${prefixOf(address, NARROW_PREFIX)}`
    const wide = `w${prefixOf(address, WIDE_PREFIX)}`
    if (this.#count(narrow) >= this.limits.narrow || this.#count(wide) >= this.limits.wide) return false
    this.#counts.set(narrow, this.#count(narrow) + 1)
    this.#counts.set(wide, this.#count(wide) + 1)
    return true
  }

  remove(address: string): void {
    for (const prefix of [`n${prefixOf(address, NARROW_PREFIX)}`, `w${prefixOf(address, WIDE_PREFIX)}`]) {
      const left = this.#count(prefix) - 1
      if (left > 0) this.#counts.set(prefix, left)
      else this.#counts.delete(prefix)
    }
  }

  #count(prefix: string): number {
    return this.#counts.get(prefix) ?? 0
  }
}
