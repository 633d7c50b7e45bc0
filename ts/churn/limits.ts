/** Every number of the circuit pool, with its unit. `docs/limits.md` lists them; `newPool` takes others for tests. */

/** Limits and times of a pool. */
export interface PoolLimits {
  /** A circuit takes new streams for so long from its first one on. */
  readonly streamTimeMs: number
  /** A circuit that nobody used is replaced after so long. */
  readonly cleanTimeMs: number
  /** Part by which these two vary, up and down. */
  readonly timeJitterRatio: number
  /** Circuits kept ready for nobody in particular, and how many there may be when they go fast. */
  readonly cleanTarget: number
  readonly cleanMax: number
  /** A circuit that was taken counts towards the predicted need for so long. */
  readonly claimWindowMs: number
  /** A port counts towards the predicted need for so long, and so many ports do. */
  readonly portMemoryMs: number
  readonly maxPorts: number
  /** Streams open on one circuit at a time. */
  readonly maxStreamsPerCircuit: number
  /** Circuits, built and being built. */
  readonly maxCircuits: number
  /** Circuits being built at a time, and how many of them for nobody in particular. */
  readonly maxBuilds: number
  readonly maxPoolBuilds: number
  /** Requests that are not connected yet. */
  readonly maxRequests: number
  /** How long a request waits for a circuit unless it says otherwise, and at most. */
  readonly requestWaitMs: number
  readonly maxRequestWaitMs: number
  /** Circuits that one request is tried on. */
  readonly maxAttempts: number
  /** Time for a build: at first, then a multiple of what builds take, within bounds. */
  readonly buildTimeoutFirstMs: number
  readonly buildTimeoutMinMs: number
  readonly buildTimeoutMaxMs: number
  /** A build that somebody waits for gets a second one beside it after so long; at most `maxHedges` of them. */
  readonly hedgeFirstMs: number
  readonly hedgeMinMs: number
  readonly hedgeMaxMs: number
  readonly maxHedges: number
  /** A stream that is not connected after so long makes its circuit suspect. */
  readonly stallFirstMs: number
  readonly stallMinMs: number
  readonly stallMaxMs: number
  /** Time for an answer to a probe: twice the time of a connection, within bounds; circuits probed at a time. */
  readonly probeFirstMs: number
  readonly probeMinMs: number
  readonly probeMaxMs: number
  readonly maxProbes: number
  /** So long at least a circuit may be silent that carries nothing, once another one was heard whose question went out no sooner. */
  readonly outrunMinMs: number
  /** Silent probes in a row that end a circuit with connected streams; one is enough where nothing is lost. */
  readonly probesToEndBusy: number
  /** A relay that failed is avoided for so long, doubling each time up to the second; so many relays are remembered. */
  readonly avoidFirstMs: number
  readonly avoidMaxMs: number
  readonly maxAvoided: number
  /** Pause after the second failed build in a row, doubling up to a bound: while somebody waits, and while nobody does. */
  readonly backoffFirstMs: number
  readonly backoffMaxMs: number
  readonly poolBackoffMaxMs: number
  /** Beyond its own timeout, how long an answer of the engine may be late before it is given up. */
  readonly graceMs: number
}

/** What a node uses. */
export const POOL_LIMITS: PoolLimits = {
  streamTimeMs: 600_000,
  cleanTimeMs: 1_800_000,
  timeJitterRatio: 0.1,
  cleanTarget: 2,
  cleanMax: 8,
  claimWindowMs: 60_000,
  portMemoryMs: 3_600_000,
  maxPorts: 8,
  maxStreamsPerCircuit: 500,
  maxCircuits: 512,
  maxBuilds: 16,
  maxPoolBuilds: 3,
  maxRequests: 4096,
  requestWaitMs: 30_000,
  maxRequestWaitMs: 120_000,
  maxAttempts: 3,
  buildTimeoutFirstMs: 3_000,
  buildTimeoutMinMs: 1_500,
  buildTimeoutMaxMs: 10_000,
  hedgeFirstMs: 1_000,
  hedgeMinMs: 300,
  hedgeMaxMs: 2_000,
  maxHedges: 2,
  stallFirstMs: 1_000,
  stallMinMs: 700,
  stallMaxMs: 1_500,
  probeFirstMs: 1_000,
  probeMinMs: 700,
  probeMaxMs: 1_500,
  maxProbes: 16,
  outrunMinMs: 300,
  probesToEndBusy: 2,
  avoidFirstMs: 30_000,
  avoidMaxMs: 600_000,
  maxAvoided: 256,
  backoffFirstMs: 250,
  backoffMaxMs: 2_000,
  poolBackoffMaxMs: 30_000,
  graceMs: 2_000
}

/** Ports that circuits are built for before any was asked for. */
export const BASE_PORTS: readonly number[] = [443, 80]

/** Measured times that are kept to work out timeouts. */
export const TIME_SAMPLES = 32
