/** Every number of path selection, with its unit. `docs/limits.md` lists them. */

const DAY_MS = 86_400_000

/** Relays in a path. */
export const PATH_LENGTH = 3

/** Protocol version that a relay must speak. */
export const PROTOCOL_VERSION = 1

/** Guards that are preferred, in order; one is used, the others stand in. */
export const PRIMARY_GUARDS = 3

/** Guards that a client samples while all is well. */
export const GUARD_SAMPLE_TARGET = 20

/** Most guards of the list that a client may ever have sampled at a time, whatever an attacker blocks. */
export const GUARD_SAMPLE_MAX = 60

/** Largest part of the listed guards that may be sampled; in a small network {@link PRIMARY_GUARDS} are. */
export const GUARD_SAMPLE_MAX_RATIO = 0.2

/** Entries in the state file: sampled guards that left the list are kept for a while in the hope that they come back. */
export const GUARD_FILE_MAX_ENTRIES = 120

/** Largest guard file that is read, in characters. */
export const GUARD_FILE_MAX_CHARS = 65_536

/** A guard is kept for a time drawn between these two. */
export const GUARD_LIFETIME_MIN_MS = 60 * DAY_MS
export const GUARD_LIFETIME_MAX_MS = 120 * DAY_MS

/** A sampled guard that no list has had for so long is forgotten. */
export const GUARD_UNLISTED_KEPT_MS = 20 * DAY_MS

/** Guards beyond the primary ones that are tried before the network itself is held to be down. */
export const SPARE_GUARDS = 2

/** Pause before a failed primary guard is tried again: doubles with every failure up to the second, with jitter of a fifth. */
export const PRIMARY_RETRY_FIRST_MS = 15_000
export const PRIMARY_RETRY_MAX_MS = 600_000

/** The same for the other sampled guards. */
export const SPARE_RETRY_FIRST_MS = 60_000
export const SPARE_RETRY_MAX_MS = 3_600_000

/** While the network is down every guard may be tried again after so long. */
export const DOWN_RETRY_MS = 5_000

/** Once the network is back, failures of guards from so long before it went down are forgiven too. */
export const DOWN_WINDOW_MS = 60_000

/** While the network is down, one more guard of the sample may be tried each time this has passed. */
export const DOWN_WIDEN_MS = 60_000

/** A guard that is being tried out is left to that one attempt for so long. */
export const GUARD_TRIAL_MS = 10_000

/** Lines of an exit policy. */
export const EXIT_POLICY_MAX_LINES = 256

/** Characters of one line. */
export const EXIT_POLICY_MAX_LINE_CHARS = 256

/** Relays of the second layer: the only ones that stand behind the guard in paths to and from services. */
export const SECOND_LAYER_SIZE = 4

/** A relay of the second layer is kept for a time between these two, the longer of two that are drawn. */
export const SECOND_LAYER_MIN_MS = DAY_MS
export const SECOND_LAYER_MAX_MS = 12 * DAY_MS

/** Largest file of the second layer that is read, in characters. */
export const SECOND_LAYER_FILE_MAX_CHARS = 4_096

/** Relays in a path of services: whose last hop we chose, and whose last hop the other side chose. */
export const OWN_PATH_LENGTH = 3
export const FOREIGN_PATH_LENGTH = 4
