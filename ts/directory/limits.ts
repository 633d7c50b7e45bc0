/** Every limit of the directory, with its unit in its name. docs/limits.md lists them; each has a test that reaches it. */

/** A signed relay descriptor on the wire. */
export const MAX_DESCRIPTOR_BYTES = 4096
export const MAX_EXIT_POLICY_LINES = 32
export const MAX_EXIT_POLICY_LINE_CHARS = 64
export const MAX_FAMILY_MEMBERS = 32
export const MAX_PROTOCOL_VERSIONS = 16
/** Descriptors live three hours; shorter ones are for tests and for relays that are about to leave. */
export const MAX_DESCRIPTOR_LIFETIME_S = 3 * 3600
export const MIN_DESCRIPTOR_LIFETIME_S = 10
/** How far ahead of ours another node's clock may be. */
export const CLOCK_TOLERANCE_S = 300

/** Fewest bootstrap nodes that can agree while one of them lies or is dead. */
export const MIN_BOOTSTRAP_NODES = 3
export const MAX_BOOTSTRAP_NODES = 32

/** A relay list on the wire, signatures included. An RPC body ends at 10 MiB. */
export const MAX_LIST_BYTES = 8 * 1024 * 1024
export const MAX_LIST_RELAYS = 8000
/** A list says how long it may be used; longer than this is refused. */
export const MAX_LIST_VALIDITY_MS = 7 * 24 * 3600 * 1000
/** A list is used for this many intervals at most ... */
export const LIST_VALID_INTERVALS = 3
/** ... but on networks with short intervals (tests) for at least this long, so that a busy machine does not lose its network. */
export const MIN_LIST_VALIDITY_MS = 600_000
/** Older lists that a node keeps to answer with differences. */
export const MAX_ARCHIVED_LISTS = 4

/** No relay weighs more than this, whatever it declares (bytes per second). */
export const MAX_WEIGHT_BYTES_PER_S = 1_000_000_000
/** No relay weighs more than this many times the median of the declared rates. */
export const MAX_WEIGHT_MEDIANS = 10

/** One vote of a bootstrap node: fits, with what is around it, into a request of 8 MiB. */
export const MAX_VOTE_BYTES = 7 * 1024 * 1024
/** Votes in one vote.exchange message; what does not fit goes with the next one. */
export const MAX_EXCHANGE_BYTES = 7.5 * 1024 * 1024
/** Two different votes of one node in one interval prove that it equivocates: more are not kept. */
export const MAX_VOTES_PER_VOTER = 2
/** Different lists that one bootstrap node may sign for one interval, as far as we remember: an honest one signs at most one a new vote. */
export const MAX_SIGNED_DIGESTS_PER_VOTER = MAX_VOTES_PER_VOTER * MAX_BOOTSTRAP_NODES
/** A vote that has not arrived by then is not waited for. */
export const MAX_VOTE_WAIT_MS = 60_000

/** Relays whose descriptors a bootstrap node keeps. */
export const MAX_STORED_DESCRIPTORS = 10_000
/** Of these, relays of one /24 (v6: /48). */
export const MAX_DESCRIPTORS_PER_PREFIX = 64
/** Descriptors that one node id may publish at once; it may publish one more each sixth of an interval. */
export const PUBLISH_BURST = 8
/** Descriptors whose signature was found right, remembered so that it is not checked again in each vote. */
export const MAX_VERIFIED_DESCRIPTORS = 20_000
/** How often a bootstrap node asks the others again while votes are missing: a tenth of the interval, within these. */
export const MIN_EXCHANGE_PAUSE_MS = 100
export const MAX_EXCHANGE_PAUSE_MS = 10_000
/** How long one of their calls may take: a quarter of the interval, within these. */
export const MIN_CALL_TIMEOUT_MS = 1000
export const MAX_CALL_TIMEOUT_MS = 10_000
/** A bootstrap node tests each relay that it stores so often in an interval. */
export const TESTS_PER_INTERVAL = 4
/** Failed tests in a row after which a relay is not voted for. */
export const FAILED_TESTS_TO_DELIST = 2
/** Tests that one bootstrap node runs at the same time. */
export const MAX_RUNNING_TESTS = 32
/** Shortest time between two tests of one relay, whatever the interval and however often it publishes. */
export const MIN_TEST_PAUSE_MS = 1000
/** After a first failed test the next one follows in a tenth of the period, at most in this. */
export const MAX_RETEST_PAUSE_MS = 60_000
/** Pauses between tests are shortened by a random part of at most this, so that tests do not fall together. */
export const TEST_JITTER = 0.25
/** How long one test may take: a quarter of the interval, within these. */
export const MIN_TEST_TIMEOUT_MS = 1000
export const MAX_TEST_TIMEOUT_MS = 5000
/** Answers to 'ping'. */
export const MAX_PING_REPLY_BYTES = 256
/** Answers to 'vote.signature' and 'desc.publish'. */
export const MAX_SMALL_REPLY_BYTES = 64 * 1024
/** Answers that carry votes or a list. */
export const MAX_LARGE_REPLY_BYTES = 10 * 1024 * 1024
