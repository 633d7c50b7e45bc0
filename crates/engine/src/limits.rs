//! The engine's limits, each with its unit. docs/limits.md lists them with the test that reaches each.

use std::time::Duration;

use anonnet_cells::{CELL_LEN, MAX_DATA};

use crate::server::RateLimit;

/// Reports that wait for TypeScript before further ones are dropped.
pub const EVENT_QUEUE_MAX: usize = 4096;
/// Panics that wait to be told of; of further ones only the number of events is less.
pub const BUGS_WAITING_MAX: usize = 16;
/// Bytes that an edge may hand to its circuit before it has to wait. Two turns, so that what one read of a socket brings leaves in one batch of
/// packets.
pub const OUTBOUND_HIGH_WATER_BYTES: usize = 2 * STREAM_TURN_BYTES;
/// A larger buffer is given back when its stream has been read empty.
pub const SPARE_BUFFER_MAX_BYTES: usize = 128 * 1024;
/// Cells that are read, processed and written at once: what fits into the ten packets of 6,400 bytes that a link between nodes sends in one call.
/// A few cells more would cost a call and a packet of their own each time.
pub const RUN_CELLS: usize = 57;
/// Encrypted bytes that a circuit's end holds for its link before it takes no more from its streams: two turns, which fit into one run.
pub const CIRCUIT_OUT_HIGH_WATER_BYTES: usize = 2 * STREAM_TURN_CELLS * CELL_LEN;
/// Full cells that one stream may send before the next one has its turn.
pub const STREAM_TURN_CELLS: usize = 28;
/// The same in bytes of the stream.
pub const STREAM_TURN_BYTES: usize = STREAM_TURN_CELLS * MAX_DATA;
const _: () = assert!(2 * STREAM_TURN_CELLS <= RUN_CELLS);
/// A circuit that nothing passes for so long gives back the memory of its expanded keys; the next cell expands them again.
pub const REST_AFTER: Duration = Duration::from_millis(250);
/// What all circuits of a relay may hold together, as a part of the memory: one of so many parts.
pub const MEMORY_QUOTA_SHARE: u64 = 4;
/// The least that all circuits of a relay may hold together, however little memory there is, or where the system does not say.
pub const MEMORY_QUOTA_LEAST_BYTES: usize = 256 * 1024 * 1024;
/// How long a relay waits for the next relay to answer.
pub const EXTEND_TIMEOUT: Duration = Duration::from_secs(5);
/// How long a CREATE may wait for its turn and its cells for one another.
pub const CREATE_TIMEOUT: Duration = Duration::from_millis(1500);
/// CREATEs that wait for a processor; more are refused at once.
pub const CREATE_QUEUE_MAX: usize = 512;
/// How long an exit tries to reach a target.
pub const CONNECT_TIMEOUT: Duration = Duration::from_secs(15);
/// How long an exit tries one of a target's addresses.
pub const CONNECT_ADDRESS_TIMEOUT: Duration = Duration::from_secs(5);
/// How long an exit waits for a name.
pub const DNS_TIMEOUT: Duration = Duration::from_secs(10);
/// Names that an exit resolves at once.
pub const DNS_CONCURRENT_MAX: usize = 64;
/// Addresses that an exit tries for one name, and that an answer to RESOLVE holds.
pub const DNS_ADDRESSES_MAX: usize = 8;
/// A request between nodes on a client link.
pub const RPC_CLIENT_REQUEST_MAX_BYTES: usize = 64 * 1024;
/// A request between nodes that have proved who they are.
pub const RPC_NODE_REQUEST_MAX_BYTES: usize = 10 * 1024 * 1024;
/// What requests may hold together of what each of them is longer than a client's may be.
pub const RPC_LARGE_TOTAL_BYTES: usize = 64 * 1024 * 1024;
/// Requests that wait for an answer from TypeScript.
pub const RPC_PENDING_MAX: usize = 1024;
/// Requests of one link that are under way.
pub const RPC_PER_LINK_MAX: usize = 64;
/// How long TypeScript may take for an answer, and a peer for sending its request.
pub const RPC_ANSWER_TIMEOUT: Duration = Duration::from_secs(30);
/// Connections to one proxy listener.
pub const PROXY_CLIENTS_MAX: usize = 4096;
/// How long a proxy's client may take to say what it wants.
pub const PROXY_HANDSHAKE_TIMEOUT: Duration = Duration::from_secs(60);
/// How long a proxied request may wait for a circuit.
pub const PROXY_ATTACH_TIMEOUT: Duration = Duration::from_secs(60);
/// How long the far end may take to accept a proxied stream.
pub const PROXY_CONNECT_TIMEOUT: Duration = Duration::from_secs(30);
/// How long nothing may move on a stream of which one direction has ended: its program or server may be gone without a word, and TCP does not
/// tell who only hears the end of the other's direction.
pub const HALF_CLOSED_IDLE_TIMEOUT: Duration = Duration::from_secs(300);
/// Answers to proxied requests that stand for the same request.
pub const STANDING_ANSWERS_MAX: usize = 1024;
/// User, password and host of a request for which an answer may stand.
pub const STANDING_QUESTION_MAX_BYTES: usize = 1024;
/// How long a request on a circuit whose answer stood may take before TypeScript is told of it, and watches the circuit.
pub const STANDING_PATIENCE: Duration = Duration::from_millis(100);
/// Circuits that a request is tried on.
pub const PROXY_ATTEMPTS_MAX: u32 = 3;
/// Client circuits of a node.
pub const CLIENT_CIRCUITS_MAX: usize = 16_384;
/// Bytes of one read that goes up to JavaScript.
pub const JS_READ_MAX_BYTES: usize = 64 * 1024;
/// What a read for JavaScript waits for while its stream flows: a crossing costs as much as some ten thousand bytes.
pub const JS_READ_WANTED_BYTES: usize = 32 * 1024;
/// How long such a read waits.
pub const JS_READ_PATIENCE: Duration = Duration::from_millis(1);
/// Largest single write that is taken from JavaScript.
pub const JS_WRITE_MAX_BYTES: usize = 1024 * 1024;
/// Most operations of a node under way.
pub const OPERATIONS_MAX: usize = 65_536;
/// Introductions that wait at a relay for one service's circuit.
pub const INTRODUCTIONS_QUEUED_MAX: usize = 16;
/// How long a relay waits for the service that a client asked it to wait for.
pub const RENDEZVOUS_WAIT: Duration = Duration::from_secs(600);
/// Introductions that a service takes through one introduction point; then it makes another one.
pub const INTRODUCTIONS_OF_POINT_MAX: usize = 16_384;
/// Introductions of one introduction point that wait for the program.
pub const INTRODUCTIONS_WAITING_MAX: usize = 64;
/// How long an introduction waits for the program.
pub const INTRODUCTION_TIMEOUT: Duration = Duration::from_secs(60);
/// Incoming streams of a node that wait for the program.
pub const INCOMING_WAITING_MAX: usize = 1024;
/// How long an incoming stream waits for the program.
pub const INCOMING_TIMEOUT: Duration = Duration::from_secs(30);
/// Links that a direct listener begins with from one address prefix: so many a second for long, and at once.
pub const DIRECT_ATTEMPTS: RateLimit = RateLimit { rate: 100.0, burst: 1024 };
/// Proofs of work that a node makes at once.
pub const POW_SOLVERS_MAX: usize = 2;
