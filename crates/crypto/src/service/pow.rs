//! Proof of work: Argon2id, because it needs memory and is in the tree already (docs/adr/0022).

use crate::CryptoError;
use crate::hash::h;
use argon2::{Algorithm, Argon2, Block, Params, Version};
use core::fmt;

/// Memory that one try takes, in KiB.
pub const POW_MEMORY_KIB: u32 = 2 * 1024;
/// The most tries, on average, that a client is ready to make.
pub const POW_EFFORT_MAX: u32 = 65_536;

/// A puzzle: for a service's period, a seed of the service and an effort. Holds the memory that it works in.
pub struct Pow {
    salt: [u8; 32],
    /// A solution's number is at most this.
    most: u32,
    memory: Vec<Block>,
}

impl Pow {
    /// [`CryptoError::Effort`] for an effort of 0.
    pub fn new(seed: &[u8; 32], blinded: &[u8; 32], effort: u32) -> Result<Self, CryptoError> {
        let most = u32::MAX.checked_div(effort).ok_or(CryptoError::Effort)?;
        Ok(Self {
            salt: h("anonnet:1:service-pow", &[seed, blinded, &effort.to_be_bytes()]),
            most,
            memory: vec![Block::new(); POW_MEMORY_KIB as usize],
        })
    }

    /// Whether that is a solution. One in `effort` is, on average.
    pub fn check(&mut self, nonce: &[u8; 16]) -> bool {
        let Ok(params) = Params::new(POW_MEMORY_KIB, 1, 1, Some(32)) else {
            return false;
        };
        let mut out = [0; 32];
        let hashed = Argon2::new(Algorithm::Argon2id, Version::V0x13, params).hash_password_into_with_memory(
            nonce,
            &self.salt,
            &mut out,
            &mut self.memory,
        );
        let [a, b, c, d, ..] = out;
        hashed.is_ok() && u32::from_be_bytes([a, b, c, d]) <= self.most
    }
}

impl fmt::Debug for Pow {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Pow").field("most", &self.most).finish_non_exhaustive()
    }
}
