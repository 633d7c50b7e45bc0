//! What a relay bounds. The engine enforces those that need a clock, a task or a socket.

pub use anonnet_cells::MAX_HANDSHAKE as MAX_CREATE_BYTES;
pub use anonnet_circuit::limits::{MAX_RELAY_EARLY, RELAY_EARLY_PER_EXTEND};

/// EXTENDs that a circuit can carry past its first relay.
pub const MAX_EXTENDS: u8 = MAX_RELAY_EARLY / RELAY_EARLY_PER_EXTEND;
/// Milliseconds that a handshake may wait in the queue.
pub const CREATE_DEADLINE_MS: u64 = 1_500;
/// Milliseconds until an EXTEND gives up.
pub const EXTEND_DEADLINE_MS: u64 = 5_000;
/// Bytes of one circuit in one direction that a relay holds at most: a stream window of the transport.
pub const STREAM_WINDOW_BYTES: u64 = 128 * 1024;
/// Circuits of one client link.
pub const MAX_CIRCUITS_PER_CLIENT_LINK: usize = 1_024;
/// Lines of an exit policy.
pub const MAX_POLICY_RULES: usize = 256;
/// Address prefixes that a limiter remembers, unless told otherwise.
pub const MAX_PREFIXES: usize = 4_096;
