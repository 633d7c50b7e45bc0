//! Sealed records: AES-256-GCM, the one AEAD form of the project.

use crate::{CryptoError, RecordFault};
use aes_gcm::aead::{AeadInOut, KeyInit};
use aes_gcm::{Aes256Gcm, Nonce, Tag};
use core::fmt;
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

    fn seal(key: &[u8; 32], nonce: [u8; NONCE_LEN], aad: &[u8], plaintext: &[u8]) -> Result<Self, CryptoError> {
        let mut ciphertext = plaintext.to_vec();
        let tag = Aes256Gcm::new(key.into())
            .encrypt_inout_detached(&Nonce::from(nonce), aad, ciphertext.as_mut_slice().into())
            .map_err(|_| RecordFault::Length)?;
        Ok(Self {
            ciphertext,
            nonce,
            tag: tag.into(),
        })
    }

    fn open(&self, key: &[u8; 32], aad: &[u8]) -> Result<Zeroizing<Vec<u8>>, CryptoError> {
        let mut plaintext = Zeroizing::new(self.ciphertext.clone());
        Aes256Gcm::new(key.into())
            .decrypt_inout_detached(&Nonce::from(self.nonce), aad, plaintext.as_mut_slice().into(), &Tag::from(self.tag))
            .map_err(|_| RecordFault::Forged)?;
        Ok(plaintext)
    }
}

/// A key for one record, with nonce 0. Sealing and opening consume it, and it cannot be copied: the nonce cannot repeat.
pub struct SingleUseKey(Zeroizing<[u8; 32]>);

impl SingleUseKey {
    /// Takes the key over. Whoever makes two of one key breaks the promise: derive them, never store them.
    pub fn new(key: Zeroizing<[u8; 32]>) -> Self {
        Self(key)
    }

    /// Seal the one record. `aad` is authenticated and not sent.
    pub fn seal(self, aad: &[u8], plaintext: &[u8]) -> Result<EncryptedMessage, CryptoError> {
        EncryptedMessage::seal(&self.0, [0; NONCE_LEN], aad, plaintext)
    }

    /// Open the one record. [`RecordFault::Nonce`], [`RecordFault::Forged`].
    pub fn open(self, aad: &[u8], message: &EncryptedMessage) -> Result<Zeroizing<Vec<u8>>, CryptoError> {
        if message.nonce != [0; NONCE_LEN] {
            return Err(RecordFault::Nonce.into());
        }
        message.open(&self.0, aad)
    }
}

impl fmt::Debug for SingleUseKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("SingleUseKey(..)")
    }
}
