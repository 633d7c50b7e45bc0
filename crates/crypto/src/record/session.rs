//! The key of a session: two directions, each a key that counts its records and renews itself.

use super::{Cipher, EncryptedMessage, NONCE_LEN, derive};
use crate::{CryptoError, RecordFault};
use core::fmt;
use zeroize::Zeroizing;

/// How many records a key seals before it is replaced by the next one derived from it.
pub const REKEY_RECORDS: u64 = 1 << 20;

/// How many records a direction of a session carries at most.
pub const SESSION_MAX_RECORDS: u64 = 1 << 32;

/// Which end of the session this is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Role {
    /// Who began it.
    Initiator,
    /// Who answered.
    Responder,
}

/// A key that two ends share for a while. It cannot be cloned, and splitting it consumes it: so there is one sealing end
/// a direction, and no nonce is used twice.
pub struct SessionKey {
    id: [u8; 16],
    expires_s: u64,
    root: Zeroizing<[u8; 32]>,
}

impl SessionKey {
    /// From a shared secret, good for `lifetime_s` seconds from now on.
    pub fn new(root: Zeroizing<[u8; 32]>, now_s: u64, lifetime_s: u64) -> Result<Self, CryptoError> {
        let mut id = [0; 16];
        derive(&root, None, "anonnet:1:session-id", &mut id)?;
        Ok(Self {
            id,
            expires_s: now_s.saturating_add(lifetime_s),
            root,
        })
    }

    /// Its name, the same at both ends; tells nothing of the key.
    pub const fn id(&self) -> &[u8; 16] {
        &self.id
    }

    /// The first second at which it is no longer good, since 1970.
    pub const fn expires_s(&self) -> u64 {
        self.expires_s
    }

    /// A key for something else within the session. `purpose` is `anonnet:1:<purpose>`; both ends get the same.
    pub fn subkey(&self, purpose: &str) -> Result<Zeroizing<[u8; 32]>, CryptoError> {
        let mut key = Zeroizing::new([0; 32]);
        // Two steps, so that no purpose can be that of the session's own keys.
        derive(&self.root, None, "anonnet:1:session-subkeys", key.as_mut())?;
        let mut out = Zeroizing::new([0; 32]);
        derive(&key, None, purpose, out.as_mut())?;
        Ok(out)
    }

    /// The two directions, as this end sees them.
    pub fn split(self, role: Role) -> Result<(Sealer, Opener), CryptoError> {
        let from_initiator = Direction::new(&self, "anonnet:1:session-forward")?;
        let from_responder = Direction::new(&self, "anonnet:1:session-backward")?;
        Ok(match role {
            Role::Initiator => (Sealer(from_initiator), Opener(from_responder)),
            Role::Responder => (Sealer(from_responder), Opener(from_initiator)),
        })
    }
}

/// One direction: nonce = salt[4] | number of the record, as u64.
pub(super) struct Direction {
    key: Zeroizing<[u8; 32]>,
    cipher: Cipher,
    salt: [u8; 4],
    pub(super) count: u64,
    expires_s: u64,
}

impl Direction {
    fn new(session: &SessionKey, purpose: &str) -> Result<Self, CryptoError> {
        let (key, salt) = Self::keys(&session.root, purpose)?;
        Ok(Self {
            cipher: Cipher::new(&key),
            key,
            salt,
            count: 0,
            expires_s: session.expires_s,
        })
    }

    fn keys(from: &[u8; 32], purpose: &str) -> Result<(Zeroizing<[u8; 32]>, [u8; 4]), CryptoError> {
        let (mut key, mut salt) = (Zeroizing::new([0; 32]), [0; 4]);
        derive(from, None, purpose, key.as_mut())?;
        derive(from, Some(b"salt"), purpose, &mut salt)?;
        Ok((key, salt))
    }

    /// The nonce of the next record, if there may be one.
    fn nonce(&self, now_s: u64) -> Result<[u8; NONCE_LEN], CryptoError> {
        if self.count >= SESSION_MAX_RECORDS {
            return Err(RecordFault::Exhausted.into());
        }
        if now_s >= self.expires_s {
            return Err(RecordFault::Expired.into());
        }
        let mut nonce = [0; NONCE_LEN];
        let (salt, count) = nonce.split_at_mut(self.salt.len());
        salt.copy_from_slice(&self.salt);
        count.copy_from_slice(&self.count.to_be_bytes());
        Ok(nonce)
    }

    /// The record is done: count it, and take the next key when it is time.
    fn advance(&mut self) -> Result<(), CryptoError> {
        self.count += 1;
        if self.count.is_multiple_of(REKEY_RECORDS) {
            let (key, salt) = Self::keys(&self.key, "anonnet:1:session-rekey")?;
            (self.cipher, self.key, self.salt) = (Cipher::new(&key), key, salt);
        }
        Ok(())
    }
}

/// The sealing end of a direction. There is one of it: a copy would use the same nonces.
///
/// ```compile_fail,E0599
/// use anonnet_crypto::record::{Role, SessionKey};
/// let key = SessionKey::new(zeroize::Zeroizing::new([0; 32]), 0, 60)?;
/// let (sealer, _) = key.split(Role::Initiator)?;
/// let copy = sealer.clone();
/// # Ok::<(), anonnet_crypto::CryptoError>(())
/// ```
pub struct Sealer(pub(super) Direction);

impl Sealer {
    /// Seal the next record. `aad` is authenticated and not sent.
    /// [`RecordFault::Exhausted`] after [`SESSION_MAX_RECORDS`], [`RecordFault::Expired`] when the lifetime is over.
    pub fn seal(&mut self, now_s: u64, aad: &[u8], plaintext: &[u8]) -> Result<EncryptedMessage, CryptoError> {
        let nonce = self.0.nonce(now_s)?;
        let message = self.0.cipher.seal(nonce, aad, plaintext)?;
        self.0.advance()?;
        Ok(message)
    }

    /// How many records it has sealed.
    pub const fn count(&self) -> u64 {
        self.0.count
    }
}

/// The opening end of a direction. It takes every record once and in order.
pub struct Opener(pub(super) Direction);

impl Opener {
    /// Open the next record. [`RecordFault::Nonce`]: it is another one, so replayed, reordered or cut out;
    /// [`RecordFault::Forged`]; [`RecordFault::Exhausted`]; [`RecordFault::Expired`]. After an error it still expects the same one.
    pub fn open(&mut self, now_s: u64, aad: &[u8], message: &EncryptedMessage) -> Result<Zeroizing<Vec<u8>>, CryptoError> {
        if message.nonce != self.0.nonce(now_s)? {
            return Err(RecordFault::Nonce.into());
        }
        let plaintext = self.0.cipher.open(aad, message)?;
        self.0.advance()?;
        Ok(plaintext)
    }

    /// How many records it has opened.
    pub const fn count(&self) -> u64 {
        self.0.count
    }
}

impl fmt::Debug for SessionKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SessionKey")
            .field("expires_s", &self.expires_s)
            .finish_non_exhaustive()
    }
}

impl fmt::Debug for Sealer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Sealer").field("count", &self.0.count).finish_non_exhaustive()
    }
}

impl fmt::Debug for Opener {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Opener").field("count", &self.0.count).finish_non_exhaustive()
    }
}
