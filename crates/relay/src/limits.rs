//! What a relay bounds. What needs a clock, a task or a socket to be bounded is the engine's and the transport's.

pub use anonnet_cells::MAX_HANDSHAKE as MAX_CREATE_BYTES;
pub use anonnet_circuit::limits::{MAX_RELAY_EARLY, RELAY_EARLY_PER_EXTEND};

/// EXTENDs that a circuit can carry past its first relay.
pub const MAX_EXTENDS: u8 = MAX_RELAY_EARLY / RELAY_EARLY_PER_EXTEND;
/// Lines of an exit policy.
pub const MAX_POLICY_RULES: usize = 256;
