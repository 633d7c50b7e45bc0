//! What a peer can make grow, and how far.

/// Streams that are open at once on a circuit; those that wait for the other side's last END count.
pub const MAX_STREAMS: usize = 500;
/// Credit in bytes that each side of a stream has at first.
pub const INITIAL_WINDOW: u64 = 64 * 1024;
/// The most credit in bytes that one direction of a stream may have ahead of what was sent.
pub const MAX_WINDOW: u64 = 2 * 1024 * 1024;
/// The most credit in bytes of all streams of a circuit in one direction. Only the initial windows of more than 64 streams go beyond
/// it, since no message announces those; then no stream gets more than its initial window.
pub const MAX_CIRCUIT_CREDIT: u64 = 4 * 1024 * 1024;
/// Bytes that a reader takes, at least, between two WINDOWs of a stream: so nobody can send WINDOWs that no data paid for.
pub const MIN_WINDOW_STEP: u64 = INITIAL_WINDOW / 2;
/// WINDOWs that a window's length of data earns: the finer, the less of the window waits for the next one.
pub const WINDOWS_PER_WINDOW: u64 = 8;
/// RELAY_EARLY cells of a circuit.
pub const MAX_RELAY_EARLY: u8 = 16;
/// RELAY_EARLY cells of one EXTEND.
pub const RELAY_EARLY_PER_EXTEND: u8 = 2;
/// Introductions whose answer one rendezvous circuit waits for.
pub const MAX_JOIN_HANDSHAKES: usize = 4;
/// Hops of a circuit: the first by CREATE, the others by EXTEND.
pub const MAX_HOPS: usize = 1 + (MAX_RELAY_EARLY / RELAY_EARLY_PER_EXTEND) as usize;
