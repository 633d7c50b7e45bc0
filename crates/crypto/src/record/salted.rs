//! Records of a key that outlives them: each gets a key of its own, from a random salt that is kept with it.

use super::{EncryptedMessage, RECORD_OVERHEAD, SingleUseKey, derive};
use crate::{CryptoError, RecordFault};
use core::fmt;
use rand_core::CryptoRng;
use zeroize::Zeroizing;

/// Length of the salt of one record in bytes.
pub const SALT_LEN: usize = 32;

/// What [`LongLivedKey::seal`] adds to its plaintext, in bytes.
pub const SALTED_OVERHEAD: usize = SALT_LEN + RECORD_OVERHEAD;

/// A key that seals many records over a long time, in several processes if need be. Records are salt[32] | record.
pub struct LongLivedKey(Zeroizing<[u8; 32]>);

impl LongLivedKey {
    /// Takes the key over.
    pub fn new(key: Zeroizing<[u8; 32]>) -> Self {
        Self(key)
    }

    /// Seal a record, [`SALTED_OVERHEAD`] bytes longer than the plaintext. `aad` is authenticated and not stored.
    pub fn seal(&self, rng: &mut impl CryptoRng, purpose: &str, aad: &[u8], plaintext: &[u8]) -> Result<Vec<u8>, CryptoError> {
        let mut salt = [0; SALT_LEN];
        rng.fill_bytes(&mut salt);
        let message = self.key(&salt, purpose)?.seal(aad, plaintext)?;
        Ok([&salt[..], &message.to_bytes()].concat())
    }

    /// Open a record. [`RecordFault::Length`], [`RecordFault::Nonce`], [`RecordFault::Forged`].
    pub fn open(&self, purpose: &str, aad: &[u8], record: &[u8]) -> Result<Zeroizing<Vec<u8>>, CryptoError> {
        let (salt, rest) = record.split_first_chunk().ok_or(RecordFault::Length)?;
        self.key(salt, purpose)?.open(aad, &EncryptedMessage::from_bytes(rest)?)
    }

    fn key(&self, salt: &[u8; SALT_LEN], purpose: &str) -> Result<SingleUseKey, CryptoError> {
        let mut key = Zeroizing::new([0; 32]);
        derive(&self.0, Some(salt), purpose, key.as_mut())?;
        Ok(SingleUseKey::new(key))
    }
}

impl fmt::Debug for LongLivedKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("LongLivedKey(..)")
    }
}
