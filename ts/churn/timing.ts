/** Timeouts that follow what this network takes: a fast one finds a dead relay in a second, a slow one is given time. */
import type { Draft } from './draft.js'
import { type PoolLimits, TIME_SAMPLES } from './limits.js'
import type { PoolState } from './types.js'

/** Samples from which on a part of them counts; with fewer, the slowest, and with more room. */
const ENOUGH_SAMPLES = 4
const FEW_SAMPLES_ROOM = 2

/** Adds a measured time, and forgets the oldest beyond {@link TIME_SAMPLES}. */
export function withSample(samples: readonly number[], ms: number): readonly number[] {
  return [...samples.slice(-(TIME_SAMPLES - 1)), Math.max(0, ms)]
}

/** The time that a part of the samples does not exceed; undefined without any. */
export function quantile(samples: readonly number[], part: number): number | undefined {
  const sorted = [...samples].sort((a, b) => a - b)
  return sorted[Math.max(0, Math.ceil(sorted.length * part) - 1)]
}

function scaled(samples: readonly number[], part: number, times: number, first: number, min: number, max: number): number {
  // A client that has just started must not take the patience of a slow network for a dead relay in a fast one.
  const few = samples.length < ENOUGH_SAMPLES
  const ms = quantile(samples, few ? 1 : part)
  return ms === undefined ? first : Math.round(Math.min(max, Math.max(min, ms * times * (few ? FEW_SAMPLES_ROOM : 1))))
}

type HedgeLimits = Pick<PoolLimits, 'hedgeFirstMs' | 'hedgeMinMs' | 'hedgeMaxMs'>
type StallLimits = Pick<PoolLimits, 'stallFirstMs' | 'stallMinMs' | 'stallMaxMs'>
type Times = Pick<PoolState | Draft, 'limits' | 'buildTimesMs' | 'connectTimesMs'>

/**
 * How long a build may take: three times what four of five stay below. One that took too long met a dead relay, or the network is slower
 * than was thought: so the time stays for one more, and doubles from then on until a build goes well.
 */
export function buildTimeoutMs({ limits, buildTimesMs, timeouts }: Times & Pick<PoolState | Draft, 'timeouts'>): number {
  const ms = scaled(buildTimesMs, 0.8, 3, limits.buildTimeoutFirstMs, limits.buildTimeoutMinMs, limits.buildTimeoutMaxMs)
  const doublings = Math.max(0, timeouts.inARow - (buildTimesMs.length > 0 ? 1 : 0))
  return Math.min(limits.buildTimeoutMaxMs, ms * 2 ** Math.min(doublings, 30))
}

/** How long a build may take before another one is started beside it. */
export function hedgeDelayMs({ limits, buildTimesMs }: { limits: HedgeLimits; buildTimesMs: readonly number[] }): number {
  return scaled(buildTimesMs, 0.5, 3, limits.hedgeFirstMs, limits.hedgeMinMs, limits.hedgeMaxMs)
}

/** How long a connection may take before its circuit is suspect. */
export function stallDelayMs({ limits, connectTimesMs }: { limits: StallLimits; connectTimesMs: readonly number[] }): number {
  return scaled(connectTimesMs, 0.5, 4, limits.stallFirstMs, limits.stallMinMs, limits.stallMaxMs)
}

/** How long a probe may take. */
export function probeTimeoutMs({ limits, connectTimesMs }: Times): number {
  return scaled(connectTimesMs, 0.5, 3, limits.probeFirstMs, limits.probeMinMs, limits.probeMaxMs)
}

/** The pause after so many failures in a row: none after the first, then doubling, of which a random half to all is waited. */
export function backoffMs(limits: PoolLimits, failures: number, maxMs: number, rng: () => number): number {
  if (failures <= 1) return 0
  const fullMs = Math.min(maxMs, limits.backoffFirstMs * 2 ** Math.min(failures - 2, 30))
  return Math.round(fullMs * (0.5 + 0.5 * rng()))
}
