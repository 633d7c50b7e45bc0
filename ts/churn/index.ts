/** Which circuits there are, and which stream goes on which. Pure: events, the clock and randomness are handed in. */
export { LOCAL_CODES } from './builds.js'
export { type IsolationParts, isolationKey } from './isolation.js'
export { BASE_PORTS, POOL_LIMITS, type PoolLimits } from './limits.js'
export { newPool, type PoolSummary, poolSummary, step } from './pool.js'
export { hedgeDelayMs, stallDelayMs, withSample } from './timing.js'
export type * from './types.js'
