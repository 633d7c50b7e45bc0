//! Sealed records: AES-256-GCM, the one AEAD form of the project.
//!
//! A nonce must never repeat under one key. No caller chooses one here: a [`SingleUseKey`] seals once, a [`Sealer`]
//! counts, and a [`LongLivedKey`] derives a fresh key for every record. None of the three can be cloned.

mod salted;
mod session;

pub use salted::{LongLivedKey, SALT_LEN, SALTED_OVERHEAD};
pub use session::{Opener, REKEY_RECORDS, Role, SESSION_MAX_RECORDS, Sealer, SessionKey};

use crate::{CryptoError, RecordFault};
use aes_gcm::aead::{AeadInOut, KeyInit};
use aes_gcm::{Aes256Gcm, Nonce, Tag};
use core::fmt;
use hkdf::Hkdf;
use sha2::Sha256;
use zeroize::Zeroizing;

/// Length of a nonce in bytes.
pub const NONCE_LEN: usize = 12;

/// Length of a tag in bytes.
pub const TAG_LEN: usize = 16;

/// What a record's encoding adds to its plaintext, in bytes.
pub const RECORD_OVERHEAD: usize = NONCE_LEN + TAG_LEN;

/// A sealed message. On the wire: nonce[12] | ciphertext | tag[16].
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct EncryptedMessage {
    /// As long as the plaintext.
    pub ciphertext: Vec<u8>,
    /// Which of the key's messages it is.
    pub nonce: [u8; NONCE_LEN],
    /// What makes changes visible.
    pub tag: [u8; TAG_LEN],
}

impl EncryptedMessage {
    /// Its encoding, [`RECORD_OVERHEAD`] bytes longer than the plaintext.
    pub fn to_bytes(&self) -> Vec<u8> {
        [&self.nonce[..], &self.ciphertext, &self.tag].concat()
    }

    /// The inverse of [`Self::to_bytes`]. [`RecordFault::Length`]: too short to be one.
    pub fn from_bytes(bytes: &[u8]) -> Result<Self, CryptoError> {
        let (nonce, rest) = bytes.split_first_chunk().ok_or(RecordFault::Length)?;
        let (ciphertext, tag) = rest.split_last_chunk().ok_or(RecordFault::Length)?;
        Ok(Self {
            ciphertext: ciphertext.to_vec(),
            nonce: *nonce,
            tag: *tag,
        })
    }
}

/// The cipher under all kinds of keys. The only place where a nonce is an argument, and private.
struct Cipher(Aes256Gcm);

impl Cipher {
    fn new(key: &[u8; 32]) -> Self {
        Self(Aes256Gcm::new(key.into()))
    }

    fn seal(&self, nonce: [u8; NONCE_LEN], aad: &[u8], plaintext: &[u8]) -> Result<EncryptedMessage, CryptoError> {
        let mut ciphertext = plaintext.to_vec();
        let tag = self
            .0
            .encrypt_inout_detached(&Nonce::from(nonce), aad, ciphertext.as_mut_slice().into())
            .map_err(|_| RecordFault::Length)?;
        Ok(EncryptedMessage {
            ciphertext,
            nonce,
            tag: tag.into(),
        })
    }

    fn open(&self, aad: &[u8], message: &EncryptedMessage) -> Result<Zeroizing<Vec<u8>>, CryptoError> {
        let mut plaintext = Zeroizing::new(message.ciphertext.clone());
        self.0
            .decrypt_inout_detached(
                &Nonce::from(message.nonce),
                aad,
                plaintext.as_mut_slice().into(),
                &Tag::from(message.tag),
            )
            .map_err(|_| RecordFault::Forged)?;
        Ok(plaintext)
    }
}

/// A key for one record, with nonce 0. Sealing and opening consume it, and it cannot be copied: the nonce cannot repeat.
///
/// ```compile_fail,E0382
/// use anonnet_crypto::record::SingleUseKey;
/// let key = SingleUseKey::new(zeroize::Zeroizing::new([0; 32]));
/// key.seal(b"", b"once")?;
/// key.seal(b"", b"twice")?;
/// # Ok::<(), anonnet_crypto::CryptoError>(())
/// ```
pub struct SingleUseKey(Zeroizing<[u8; 32]>);

impl SingleUseKey {
    /// Takes the key over. Whoever makes two of one key breaks the promise: derive them, never store them.
    pub fn new(key: Zeroizing<[u8; 32]>) -> Self {
        Self(key)
    }

    /// Seal the one record. `aad` is authenticated and not sent.
    pub fn seal(self, aad: &[u8], plaintext: &[u8]) -> Result<EncryptedMessage, CryptoError> {
        Cipher::new(&self.0).seal([0; NONCE_LEN], aad, plaintext)
    }

    /// Open the one record. [`RecordFault::Nonce`], [`RecordFault::Forged`].
    pub fn open(self, aad: &[u8], message: &EncryptedMessage) -> Result<Zeroizing<Vec<u8>>, CryptoError> {
        if message.nonce != [0; NONCE_LEN] {
            return Err(RecordFault::Nonce.into());
        }
        Cipher::new(&self.0).open(aad, message)
    }
}

impl fmt::Debug for SingleUseKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("SingleUseKey(..)")
    }
}

/// HKDF-SHA256 of a key into `out`. `purpose` (`anonnet:1:<purpose>`) keeps what comes out of one key apart.
fn derive(key: &[u8; 32], salt: Option<&[u8]>, purpose: &str, out: &mut [u8]) -> Result<(), CryptoError> {
    Hkdf::<Sha256>::new(salt, key)
        .expand(purpose.as_bytes(), out)
        .map_err(|_| CryptoError::Record(RecordFault::Length))
}

#[cfg(test)]
mod tests;
