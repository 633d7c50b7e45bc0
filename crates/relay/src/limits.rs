//! What a relay bounds. What needs a clock, a task or a socket to be bounded is the engine's and the transport's.

pub use anonnet_cells::MAX_HANDSHAKE as MAX_CREATE_BYTES;
pub use anonnet_circuit::limits::{MAX_RELAY_EARLY, RELAY_EARLY_PER_EXTEND};

/// EXTENDs that a circuit can carry past its first relay.
pub const MAX_EXTENDS: u8 = MAX_RELAY_EARLY / RELAY_EARLY_PER_EXTEND;
/// Introduction points that a relay is at once.
pub const MAX_INTRODUCTION_POINTS: usize = 4_096;
/// Introductions a second that one introduction point passes on for long.
pub const INTRODUCTION_RATE: u64 = 25;
/// Introductions that one introduction point passes on at once after a pause.
pub const INTRODUCTION_BURST: u64 = 200;
/// Cookies that a relay waits for at once.
pub const MAX_RENDEZVOUS_POINTS: usize = 16_384;
/// Lines of an exit policy.
pub const MAX_POLICY_RULES: usize = 256;
