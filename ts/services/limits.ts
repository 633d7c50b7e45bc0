/** Every limit of `.anon` services, with its unit in its name. docs/limits.md lists them. */

/** Introduction points that a service keeps, and the most that a descriptor may have. */
export const INTRO_POINTS = 3
export const MAX_INTRO_POINTS = 6
/** Authorised clients of one service. */
export const MAX_AUTH_CLIENTS = 128
/** Entries for clients come in multiples of so many, those that nobody can open included. */
export const AUTH_STEP = 16
/** A descriptor is padded to a multiple of this on the wire, its inner part to a multiple of the other, in bytes. */
export const DESCRIPTOR_STEP_BYTES = 4096
export const INNER_STEP_BYTES = 2048
/** The largest descriptor: a record's payload. */
export const MAX_DESCRIPTOR_BYTES = 16 * 1024
/** Every INTRODUCE payload has this size. */
export const INTRODUCE_BYTES = 256

/** A descriptor is stored anew after a time drawn between these two: well before what is stored of it expires. */
export const REPUBLISH_MIN_MS = 60 * 60_000
export const REPUBLISH_MAX_MS = 90 * 60_000
/** A period that begins while others are published is first stored within so long, at a time drawn. */
export const NEW_PERIOD_WITHIN_MS = 3_600_000
/** Changes so close together are published together. */
export const PUBLISH_SETTLE_MS = 300
/** The first publication waits so long for the rest of the introduction points. */
export const PUBLISH_FIRST_MS = 3_000
/** An introduction point is replaced after a time, or a number of introductions, drawn between each two. */
export const INTRO_LIFETIME_MIN_MS = 18 * 3_600_000
export const INTRO_LIFETIME_MAX_MS = 24 * 3_600_000
export const INTRO_USES_MIN = 8_192
export const INTRO_USES_MAX = 15_000
/** One that is replaced is kept so long for those who have the descriptor of before. */
export const INTRO_RETIRE_MS = 10 * 60_000
/** A relay that failed as an introduction point is done without for so long. */
export const INTRO_AVOID_MS = 10 * 60_000
/** Pause after failures in a row: doubles from the first to the second, half of it random. */
export const UPKEEP_BACKOFF_FIRST_MS = 500
export const UPKEEP_BACKOFF_MAX_MS = 300_000

/** Answers that a lookup wants, each by another last hop, and the last hops that it asks at most. */
export const LOOKUP_ANSWERS = 3
export const LOOKUP_MAX_ASKED = 8
/** While nobody had it, so many say so before it counts as not there. */
export const LOOKUP_DENIALS = 5
/** Once it has one good answer a lookup waits so long for the others. */
export const LOOKUP_SETTLE_MS = 2_000
/** A descriptor that was fetched is used again for so long, unless it fails. */
export const DESCRIPTOR_CACHE_MS = 30 * 60_000
/** Descriptors that a client keeps. */
export const MAX_CACHED_DESCRIPTORS = 256

/** Tries to reach a service within one request, and how many run at the same time. */
export const MAX_REACH_TRIES = 16
export const REACH_PARALLEL = 3
/** When all points of a descriptor failed it is fetched again, after a pause of so long that doubles: what died may just be replaced. */
export const REACH_ROUNDS = 4
export const REACH_PAUSE_MS = 1_000
/** A try that has come to nothing after so long gets another one beside it: many times what building a circuit takes, between these two. */
export const REACH_HEDGE_MIN_MS = 900
export const REACH_HEDGE_MS = 2_500

/** Introductions that wait for their rendezvous, and rendezvous under way at the same time. */
export const MAX_WAITING_INTRODUCTIONS = 128
export const MAX_RUNNING_RENDEZVOUS = 32
/**
 * Clients that the services of a node have circuits to at the same time: half of what the link to the guard carries. One without a stream
 * for so long is closed; where there are too many, the one idle for longest, once it was for the other time.
 */
export const MAX_MEETINGS = 512
export const MEETING_IDLE_MS = 4 * 60_000
export const MEETING_GRACE_MS = 10_000
/** Services that a client has ways to at the same time, those that are being made included. */
export const MAX_WAYS = 256
/** Introductions a second that a service takes for long, and after a pause. */
export const INTRODUCTION_RATE = 64
export const INTRODUCTION_BURST = 256
/** An introduction that waited so long is dropped: its client has given up. */
export const INTRODUCTION_WAIT_MS = 20_000
/** The suggested effort is looked at anew after so long, and never rises above the other. */
export const POW_INTERVAL_MS = 30_000
export const MAX_POW_EFFORT = 10_000
/** The next suggestion is so many times what was just enough. */
export const POW_RAISE = 1.2
/** Calm intervals lower it to this part. */
export const POW_LOWER = 0.6
/** A seed is replaced after so long; the one before it is accepted as long again. */
export const POW_SEED_MS = 2 * 3_600_000
/** Nonces remembered of one seed. Once half of them are used the next seed follows. */
export const MAX_POW_NONCES = 65_536
