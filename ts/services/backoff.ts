/** Pauses after failures. */

/** None after the first failure, then doubling up to the most; half of it random. */
export function pauseMs(failures: number, firstMs: number, maxMs: number, rng: () => number): number {
  if (failures <= 1) return 0
  return Math.round(Math.min(maxMs, firstMs * 2 ** Math.min(failures - 2, 30)) * (0.5 + 0.5 * rng()))
}

/** A number drawn uniformly between two. */
export function between(min: number, max: number, rng: () => number): number {
  return Math.round(min + rng() * (max - min))
}
