//! Who a node is: its identity key, and the circuit keys that handshakes are made with.

use crate::CryptoError;
use core::fmt;
use ed25519_dalek::{Signature, Signer, SigningKey, VerifyingKey};
use rand_core::CryptoRng;
use sha2::{Digest, Sha256};
use subtle::ConstantTimeEq;
use x25519_dalek::{PublicKey, SharedSecret, StaticSecret};
use zeroize::{Zeroize, Zeroizing};

/// What a node id is hashed with.
const NODE_ID_DOMAIN: &[u8] = b"anonnet:1:node-id";

/// How long a circuit key is the current one, in seconds: 7 days.
pub const CIRCUIT_KEY_LIFETIME_S: u64 = 7 * 24 * 3600;

/// How long a circuit key is accepted after its successor came, in seconds: 24 hours.
pub const CIRCUIT_KEY_OVERLAP_S: u64 = 24 * 3600;

/// Length of [`CircuitKeyRing::to_bytes`] at most, in bytes.
pub const CIRCUIT_KEY_RING_MAX_LEN: usize = 1 + 2 * (32 + 8);

/// The name of a node, and its place in the DHT: SHA-256 over `anonnet:1:node-id` and its identity key.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct NodeId(pub [u8; 32]);

impl NodeId {
    /// The name of the node with this Ed25519 public key.
    pub fn of(public_key: &[u8; 32]) -> Self {
        let mut hash = Sha256::new();
        hash.update(NODE_ID_DOMAIN);
        hash.update(public_key);
        Self(hash.finalize().into())
    }

    /// The 32 bytes.
    pub const fn as_bytes(&self) -> &[u8; 32] {
        &self.0
    }
}

impl fmt::Debug for NodeId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// 64 lower-case hexadecimal digits.
impl fmt::Display for NodeId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for byte in &self.0 {
            write!(f, "{byte:02x}")?;
        }
        Ok(())
    }
}

/// A node's Ed25519 secret. Wiped when dropped, never printed.
#[derive(Clone)]
pub struct IdentityKey(SigningKey);

impl IdentityKey {
    /// A fresh one.
    pub fn generate(rng: &mut impl CryptoRng) -> Self {
        let mut seed = Zeroizing::new([0; 32]);
        rng.fill_bytes(seed.as_mut());
        Self::from_bytes(&seed)
    }

    /// From its 32-byte seed (RFC 8032).
    pub fn from_bytes(seed: &[u8; 32]) -> Self {
        Self(SigningKey::from_bytes(seed))
    }

    /// Its 32-byte seed.
    pub fn to_bytes(&self) -> Zeroizing<[u8; 32]> {
        Zeroizing::new(self.0.to_bytes())
    }

    /// Sign a message: Ed25519, 64 bytes.
    pub fn sign(&self, message: &[u8]) -> [u8; 64] {
        self.0.sign(message).to_bytes()
    }

    /// The public half.
    pub fn public(&self) -> IdentityPublic {
        IdentityPublic(self.0.verifying_key())
    }
}

impl fmt::Debug for IdentityKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("IdentityKey(..)")
    }
}

/// A node's Ed25519 public key, known to be a point of large order.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct IdentityPublic(VerifyingKey);

impl IdentityPublic {
    /// From its 32 bytes. [`CryptoError::InvalidKey`]: no point of the curve, or one of small order.
    pub fn from_bytes(bytes: &[u8; 32]) -> Result<Self, CryptoError> {
        let key = VerifyingKey::from_bytes(bytes).map_err(|_| CryptoError::InvalidKey)?;
        if key.is_weak() {
            Err(CryptoError::InvalidKey)
        } else {
            Ok(Self(key))
        }
    }

    /// Its 32 bytes.
    pub fn as_bytes(&self) -> &[u8; 32] {
        self.0.as_bytes()
    }

    /// Check a signature, strictly: one message and key have one valid encoding, small orders are refused.
    pub fn verify(&self, message: &[u8], signature: &[u8; 64]) -> Result<(), CryptoError> {
        self.0
            .verify_strict(message, &Signature::from_bytes(signature))
            .map_err(|_| CryptoError::BadSignature)
    }

    /// The point itself.
    pub(crate) fn to_edwards(self) -> curve25519_dalek::EdwardsPoint {
        self.0.to_edwards()
    }

    /// The node's name.
    pub fn node_id(&self) -> NodeId {
        NodeId::of(self.as_bytes())
    }
}

impl fmt::Debug for IdentityPublic {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "IdentityPublic({})", self.node_id())
    }
}

/// A relay's X25519 secret for circuit handshakes. Wiped when dropped, never printed.
#[derive(Clone)]
pub struct CircuitKey {
    secret: StaticSecret,
    public: [u8; 32],
}

impl CircuitKey {
    /// A fresh one.
    pub fn generate(rng: &mut impl CryptoRng) -> Self {
        let mut bytes = Zeroizing::new([0; 32]);
        rng.fill_bytes(bytes.as_mut());
        Self::from_bytes(&bytes)
    }

    /// From its 32 secret bytes (RFC 7748; clamped when used).
    pub fn from_bytes(bytes: &[u8; 32]) -> Self {
        let secret = StaticSecret::from(*bytes);
        let public = PublicKey::from(&secret).to_bytes();
        Self { secret, public }
    }

    /// Its 32 secret bytes.
    pub fn to_bytes(&self) -> Zeroizing<[u8; 32]> {
        Zeroizing::new(self.secret.to_bytes())
    }

    /// The public half, that descriptors carry.
    pub const fn public(&self) -> &[u8; 32] {
        &self.public
    }

    /// The shared secret with another's public key. [`CryptoError::InvalidKey`]: the other key is of small order.
    pub fn agree(&self, public: &[u8; 32]) -> Result<Zeroizing<[u8; 32]>, CryptoError> {
        let shared = self.diffie_hellman(public);
        if shared.was_contributory() {
            Ok(Zeroizing::new(shared.to_bytes()))
        } else {
            Err(CryptoError::InvalidKey)
        }
    }

    /// The raw shared secret, for those who must go on computing before they refuse.
    pub(crate) fn diffie_hellman(&self, public: &[u8; 32]) -> SharedSecret {
        self.secret.diffie_hellman(&PublicKey::from(*public))
    }
}

impl fmt::Debug for CircuitKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("CircuitKey(..)")
    }
}

/// A circuit key and the second from which it counts: its birth, or for a previous one the day of its successor.
#[derive(Clone)]
struct Dated {
    key: CircuitKey,
    since_s: u64,
}

/// A relay's circuit keys: the current one, and the one before it while clients may still know only that.
#[derive(Clone)]
pub struct CircuitKeyRing {
    current: Dated,
    previous: Option<Dated>,
}

impl CircuitKeyRing {
    /// A ring with one key that was made now.
    pub fn new(key: CircuitKey, now_s: u64) -> Self {
        Self {
            current: Dated { key, since_s: now_s },
            previous: None,
        }
    }

    /// The key to publish.
    pub fn current_public(&self) -> &[u8; 32] {
        self.current.key.public()
    }

    /// When the current key came, in seconds since 1970.
    pub fn rotated_at_s(&self) -> u64 {
        self.current.since_s
    }

    /// Make `new_key` the current one; the one before it stays accepted for [`CIRCUIT_KEY_OVERLAP_S`], an older one not.
    pub fn rotate(&mut self, new_key: CircuitKey, now_s: u64) {
        let old = core::mem::replace(
            &mut self.current,
            Dated {
                key: new_key,
                since_s: now_s,
            },
        );
        self.previous = Some(Dated {
            key: old.key,
            since_s: now_s,
        });
    }

    /// Whether the current key has served its [`CIRCUIT_KEY_LIFETIME_S`] and wants a successor.
    /// A key from the future (the clock was wrong when it was made) is due as well: else it would serve for too long.
    pub fn due(&self, now_s: u64) -> bool {
        let since_s = self.current.since_s;
        now_s.saturating_sub(since_s) >= CIRCUIT_KEY_LIFETIME_S || since_s.saturating_sub(now_s) > CIRCUIT_KEY_OVERLAP_S
    }

    /// The key with that public half, if it is accepted now.
    pub fn find(&self, public: &[u8; 32], now_s: u64) -> Option<&CircuitKey> {
        let previous = self.previous.as_ref().filter(|old| Self::overlaps(old, now_s)).map(|old| &old.key);
        [Some(&self.current.key), previous]
            .into_iter()
            .flatten()
            .find(|key| key.public().ct_eq(public).into())
    }

    /// Whether a handshake with that public key is accepted now.
    pub fn accepts(&self, public: &[u8; 32], now_s: u64) -> bool {
        self.find(public, now_s).is_some()
    }

    /// Forget (and wipe) the previous key once its time is over. True when there was one to forget.
    pub fn expire(&mut self, now_s: u64) -> bool {
        let over = self.previous.as_ref().is_some_and(|old| !Self::overlaps(old, now_s));
        if over {
            self.previous = None;
        }
        over
    }

    fn overlaps(old: &Dated, now_s: u64) -> bool {
        now_s < old.since_s.saturating_add(CIRCUIT_KEY_OVERLAP_S)
    }

    /// For the key store: count u8, then for each key secret[32] | since u64, the current one first.
    pub fn to_bytes(&self) -> Zeroizing<Vec<u8>> {
        let keys = [Some(&self.current), self.previous.as_ref()];
        let mut out = Zeroizing::new(Vec::with_capacity(CIRCUIT_KEY_RING_MAX_LEN));
        out.push(1 + u8::from(self.previous.is_some()));
        for dated in keys.into_iter().flatten() {
            out.extend_from_slice(dated.key.to_bytes().as_ref());
            out.extend_from_slice(&dated.since_s.to_be_bytes());
        }
        out
    }

    /// The inverse of [`Self::to_bytes`]. [`CryptoError::InvalidKey`]: any other length or count.
    pub fn from_bytes(bytes: &[u8]) -> Result<Self, CryptoError> {
        let (&count, rest) = bytes.split_first().ok_or(CryptoError::InvalidKey)?;
        let (current, rest) = Self::take(rest)?;
        let (previous, rest) = match count {
            1 => (None, rest),
            2 => Self::take(rest).map(|(old, rest)| (Some(old), rest))?,
            _ => return Err(CryptoError::InvalidKey),
        };
        if rest.is_empty() {
            Ok(Self { current, previous })
        } else {
            Err(CryptoError::InvalidKey)
        }
    }

    fn take(bytes: &[u8]) -> Result<(Dated, &[u8]), CryptoError> {
        let (secret, rest) = bytes.split_first_chunk::<32>().ok_or(CryptoError::InvalidKey)?;
        let (since, rest) = rest.split_first_chunk::<8>().ok_or(CryptoError::InvalidKey)?;
        let mut secret = *secret;
        let key = CircuitKey::from_bytes(&secret);
        secret.zeroize();
        Ok((
            Dated {
                key,
                since_s: u64::from_be_bytes(*since),
            },
            rest,
        ))
    }
}

impl fmt::Debug for CircuitKeyRing {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let previous = self.previous.is_some();
        f.debug_struct("CircuitKeyRing")
            .field("rotated_at_s", &self.current.since_s)
            .field("previous", &previous)
            .finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests;
