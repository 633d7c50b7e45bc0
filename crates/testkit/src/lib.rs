//! What tests share, and nothing that ships: a network in memory and a generator with a seed.
//!
//! The network keeps to tokio's clock, so a test with `start_paused` runs its minutes in milliseconds.

#![forbid(unsafe_code)]

mod lane;
mod link;
mod network;

pub use lane::{MemRecv, MemSend};
pub use link::MemLink;
pub use network::{MemNetwork, MemTransport};

use rand_chacha::ChaCha12Rng;
use rand_core::{Rng, SeedableRng};

/// The generator of tests.
pub type Random = ChaCha12Rng;

/// A generator that gives the same values every time.
pub fn rng(seed: u64) -> Random {
    Random::seed_from_u64(seed)
}

/// Bytes that look random and are the same every time.
pub fn bytes(seed: u64, len: usize) -> Vec<u8> {
    let mut bytes = vec![0; len];
    rng(seed).fill_bytes(&mut bytes);
    bytes
}
