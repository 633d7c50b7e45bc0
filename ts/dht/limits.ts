/** Every limit of the DHT, with its unit in its name. docs/limits.md lists them; each has a test that reaches it. */

/** Contacts in a bucket, and nodes in an answer. */
export const BUCKET_SIZE = 16
/** Newcomers that wait for a place in a full bucket. */
export const MAX_REPLACEMENTS = 16
/** Contacts of one /24 (v6: /48) and of one /16 (v6: /32) in the whole table, and among those a lookup asks. */
export const MAX_PER_NARROW_PREFIX = 2
export const MAX_PER_WIDE_PREFIX = 8
/** Calls in a row that a contact may leave unanswered. */
export const MAX_FAILURES = 2
/** Strangers that are pinged at the same time before they may enter the table; further ones are dropped. */
export const MAX_CANDIDATES = 16

/** Concurrent questions of one path of a lookup. */
export const ALPHA = 3
/** Node-disjoint paths of a lookup, and of one for a service. */
export const LOOKUP_PATHS = 4
export const SERVICE_LOOKUP_PATHS = 8
/** Nodes that one lookup asks at most. */
export const MAX_LOOKUP_QUERIES = 256
/** Nodes that one path of a lookup remembers; the farthest go. */
export const MAX_SHORTLIST = 128
/** A path of a value lookup goes on until that many nodes on it had the value: never at the first. */
export const ANSWERS_PER_PATH = 3
/** Concurrent STOREs of one publication. */
export const STORE_CONCURRENCY = 8
/** How long a call may take: at first and at most; then so many times what nine of ten answers took, and at least the third. */
export const RPC_TIMEOUT_MS = 3000
export const RPC_TIMEOUT_TIMES = 5
export const MIN_RPC_TIMEOUT_MS = 750
/** Answers whose times are kept, and the fewest that say something. */
export const RPC_TIME_SAMPLES = 64
export const MIN_RPC_TIME_SAMPLES = 8
/** Answers to PING and STORE. */
export const MAX_SMALL_REPLY_BYTES = 4096
/** Answers to FIND_NODE and FIND_VALUE: all publishers of a key. */
export const MAX_FIND_REPLY_BYTES = 512 * 1024

export const MAX_PAYLOAD_BYTES = 16 * 1024
/** A record on the wire: payload, fields and signature. */
export const MAX_RECORD_BYTES = MAX_PAYLOAD_BYTES + 512
export const MAX_RECORD_TTL_S = 24 * 3600
/** How far ahead of ours a publisher's clock may be. */
export const RECORD_CLOCK_TOLERANCE_S = 300
/** Records that a node stores, each (key, publisher) counted: never more than 10,000 keys. */
export const MAX_STORED_RECORDS = 10_000
export const MAX_STORED_BYTES = 64 * 1024 * 1024
/** What each class of records has of these two, in percent: no class can push out another. */
export const CLASS_SHARE_PERCENT = { data: 30, node: 20, service: 50 } as const
export const MAX_PUBLISHERS_PER_KEY = 16
/** A key this many bits farther than the nodes closest to us is far outside our radius: the first to go when there is no room. */
export const FAR_BITS = 4
/** A STORE needs a token from a FIND that is not older. */
export const TOKEN_LIFETIME_MS = 10 * 60 * 1000
/** Records that a node publishes itself. */
export const MAX_PUBLISHED_RECORDS = 1000

export const CLEANUP_INTERVAL_MS = 60_000
export const BUCKET_REFRESH_MS = 3600 * 1000
/** Records are issued and stored anew after half their life, and at least this often. */
export const MAX_REPUBLISH_MS = 3600 * 1000
