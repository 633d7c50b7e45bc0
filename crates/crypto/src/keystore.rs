//! A node's keys as the bytes of a file. Reading and writing the file is the caller's.
//!
//! ```text
//! "anonnet-keys" | version u8 = 1 | kind u8
//!   kind 0, open:    identity[32] | circuit key ring | check[32]
//!   kind 1, sealed:  memory KiB u32 | passes u32 | lanes u32 | salt[32] | record
//! ```
//!
//! A record is sealed with Argon2id of the passphrase and the salt, which is fresh each time; everything in front of it is
//! authenticated with it. The costs stand in the file so that they can rise, and are bounded so that a damaged or
//! hostile file cannot ask for more memory or time than that.

use crate::hash::h;
use crate::keys::{CIRCUIT_KEY_RING_MAX_LEN, CircuitKeyRing, IdentityKey};
use crate::record::{EncryptedMessage, RECORD_OVERHEAD, SingleUseKey};
use crate::{CryptoError, StoreFault};
use argon2::{Algorithm, Argon2, Params, Version};
use rand_core::CryptoRng;
use subtle::ConstantTimeEq;
use zeroize::Zeroizing;

const MAGIC: &[u8; 12] = b"anonnet-keys";
const VERSION: u8 = 1;
const OPEN: u8 = 0;
const SEALED: u8 = 1;
const SALT_LEN: usize = 32;

/// Costs that new files get: 64 MiB, three passes, one lane (RFC 9106, where memory is scarce; lanes run one by one here).
const COSTS: Costs = Costs {
    memory_kib: 64 * 1024,
    passes: 3,
    lanes: 1,
};

/// The most memory that a file may ask for, in KiB.
pub const MAX_MEMORY_KIB: u32 = 256 * 1024;

/// The most passes over that memory that a file may ask for.
pub const MAX_PASSES: u32 = 16;

/// The most lanes that a file may ask for.
pub const MAX_LANES: u32 = 8;

/// Length of an encoded store at most, in bytes.
pub const MAX_LEN: usize = MAGIC.len() + 2 + 12 + SALT_LEN + 32 + CIRCUIT_KEY_RING_MAX_LEN + RECORD_OVERHEAD;

/// What a node keeps: who it is, and its circuit keys.
#[derive(Debug)]
pub struct StoredKeys {
    /// Its identity.
    pub identity: IdentityKey,
    /// Its circuit keys.
    pub circuit: CircuitKeyRing,
}

#[derive(Clone, Copy)]
struct Costs {
    memory_kib: u32,
    passes: u32,
    lanes: u32,
}

impl Costs {
    fn to_bytes(self) -> [u8; 12] {
        let mut out = [0; 12];
        let values = [self.memory_kib, self.passes, self.lanes];
        for (to, value) in out.as_chunks_mut::<4>().0.iter_mut().zip(values) {
            *to = value.to_be_bytes();
        }
        out
    }

    fn from_bytes(bytes: &[u8; 12]) -> Result<Self, StoreFault> {
        let [memory_kib, passes, lanes] = bytes.as_chunks::<4>().0 else {
            return Err(StoreFault::Damaged);
        };
        let [memory_kib, passes, lanes] = [memory_kib, passes, lanes].map(|value| u32::from_be_bytes(*value));
        if memory_kib > MAX_MEMORY_KIB || passes > MAX_PASSES || lanes > MAX_LANES {
            return Err(StoreFault::Costs);
        }
        Ok(Self { memory_kib, passes, lanes })
    }

    /// The key of one file.
    fn key(self, passphrase: &[u8], salt: &[u8; SALT_LEN]) -> Result<SingleUseKey, CryptoError> {
        let mut key = Zeroizing::new([0; 32]);
        let params = Params::new(self.memory_kib, self.passes, self.lanes, Some(32)).map_err(|_| StoreFault::Costs)?;
        Argon2::new(Algorithm::Argon2id, Version::V0x13, params)
            .hash_password_into(passphrase, salt, key.as_mut())
            .map_err(|_| StoreFault::Costs)?;
        Ok(SingleUseKey::new(key))
    }
}

/// The bytes of a key file, sealed when there is a passphrase. Without one they are the bare secrets: wipe them after use.
pub fn encode(keys: &StoredKeys, passphrase: Option<&[u8]>, rng: &mut impl CryptoRng) -> Result<Vec<u8>, CryptoError> {
    encode_with(keys, passphrase, rng, COSTS)
}

fn encode_with(keys: &StoredKeys, passphrase: Option<&[u8]>, rng: &mut impl CryptoRng, costs: Costs) -> Result<Vec<u8>, CryptoError> {
    // Filled to its full size at once: a growing vector would leave copies of the keys behind.
    let mut payload = Zeroizing::new(Vec::with_capacity(32 + CIRCUIT_KEY_RING_MAX_LEN));
    payload.extend_from_slice(keys.identity.to_bytes().as_ref());
    payload.extend_from_slice(&keys.circuit.to_bytes());
    let mut out = Vec::with_capacity(MAX_LEN);
    out.extend_from_slice(MAGIC);
    out.push(VERSION);
    let Some(passphrase) = passphrase else {
        out.push(OPEN);
        out.extend_from_slice(&payload);
        out.extend_from_slice(&check(&payload));
        return Ok(out);
    };
    let mut salt = [0; SALT_LEN];
    rng.fill_bytes(&mut salt);
    out.push(SEALED);
    out.extend_from_slice(&costs.to_bytes());
    out.extend_from_slice(&salt);
    let record = costs.key(passphrase, &salt)?.seal(&out, &payload)?;
    out.extend_from_slice(&record.to_bytes());
    Ok(out)
}

/// The inverse of [`encode`]. [`CryptoError::Store`] with what is wrong. A passphrase for a file that is not sealed is
/// refused: somebody put another file there, or believes it protected.
pub fn decode(bytes: &[u8], passphrase: Option<&[u8]>) -> Result<StoredKeys, CryptoError> {
    if bytes.len() > MAX_LEN {
        return Err(StoreFault::Damaged.into());
    }
    let rest = bytes.strip_prefix(MAGIC).ok_or(StoreFault::Damaged)?;
    let ([version, kind], rest) = rest.split_first_chunk().ok_or(StoreFault::Damaged)?;
    match (*version, *kind, passphrase) {
        (VERSION, OPEN, None) => {
            let (payload, sum) = rest.split_last_chunk::<32>().ok_or(StoreFault::Damaged)?;
            if bool::from(check(payload).ct_eq(sum)) {
                parse(payload)
            } else {
                Err(StoreFault::Damaged.into())
            }
        }
        (VERSION, OPEN, Some(_)) => Err(StoreFault::NotSealed.into()),
        (VERSION, SEALED, None) => Err(StoreFault::PassphraseNeeded.into()),
        (VERSION, SEALED, Some(passphrase)) => {
            let (costs, rest) = rest.split_first_chunk().ok_or(StoreFault::Damaged)?;
            let (salt, record) = rest.split_first_chunk().ok_or(StoreFault::Damaged)?;
            let record = EncryptedMessage::from_bytes(record).map_err(|_| StoreFault::Damaged)?;
            let header = bytes.get(..MAGIC.len() + 2 + costs.len() + salt.len()).ok_or(StoreFault::Damaged)?;
            let key = Costs::from_bytes(costs)?.key(passphrase, salt)?;
            parse(&key.open(header, &record).map_err(|_| StoreFault::PassphraseWrong)?)
        }
        (VERSION, ..) => Err(StoreFault::Damaged.into()),
        _ => Err(StoreFault::Version.into()),
    }
}

fn check(payload: &[u8]) -> [u8; 32] {
    h("anonnet:1:key-file", &[payload])
}

fn parse(payload: &[u8]) -> Result<StoredKeys, CryptoError> {
    let (seed, ring) = payload.split_first_chunk().ok_or(StoreFault::Damaged)?;
    let circuit = CircuitKeyRing::from_bytes(ring).map_err(|_| StoreFault::Damaged)?;
    Ok(StoredKeys {
        identity: IdentityKey::from_bytes(seed),
        circuit,
    })
}

#[cfg(test)]
mod tests;
