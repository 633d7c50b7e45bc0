//! Blinded keys: a service signs each period's descriptors with a key that only those can tell to be its own who know its address.
//!
//! As Tor's rend-spec-v3, appendix A.2, with this protocol's hash. Other than there, the nonce prefix depends on the period: two signatures of
//! one message in two periods would else share their nonce, and give the secret away.

use crate::CryptoError;
use crate::hash::h;
use crate::keys::{IdentityKey, IdentityPublic};
use core::fmt;
use curve25519_dalek::scalar::clamp_integer;
use curve25519_dalek::{EdwardsPoint, Scalar};
use ed25519_dalek::VerifyingKey;
use ed25519_dalek::hazmat::{ExpandedSecretKey, raw_sign};
use sha2::Sha512;
use zeroize::Zeroizing;

/// The factor of a period, as its 32 bytes.
fn factor(public: &[u8; 32], period: u64) -> [u8; 32] {
    clamp_integer(h("anonnet:1:service-blind", &[public, &period.to_be_bytes()]))
}

/// The blinded public key of a period. [`CryptoError::InvalidKey`]: the key is no point, or not one of the large prime order: two addresses must
/// not be the same service.
pub fn blind(public: &[u8; 32], period: u64) -> Result<[u8; 32], CryptoError> {
    let point = IdentityPublic::from_bytes(public)?.to_edwards();
    // Order times point is nothing, if the point is of that order.
    if multiply(&point, &-Scalar::ONE) != -point {
        return Err(CryptoError::InvalidKey);
    }
    Ok(multiply(&point, &Scalar::from_bytes_mod_order(factor(public, period)))
        .compress()
        .to_bytes())
}

/// Of public values only: its time depends on them. Signatures are verified with the same code.
fn multiply(point: &EdwardsPoint, scalar: &Scalar) -> EdwardsPoint {
    EdwardsPoint::vartime_double_scalar_mul_basepoint(scalar, point, &Scalar::ZERO)
}

/// What those who know a service's address in a period have in common: it opens the descriptor, and introductions name nobody without it.
/// [`CryptoError::InvalidKey`] as of [`blind`].
pub fn subcredential(public: &[u8; 32], period: u64) -> Result<[u8; 32], CryptoError> {
    let credential = h("anonnet:1:service-credential", &[public]);
    Ok(h("anonnet:1:service-subcredential", &[&credential, &blind(public, period)?]))
}

/// A service's key of one period. Wiped when dropped, never printed.
pub struct BlindedKey {
    secret: ExpandedSecretKey,
    public: VerifyingKey,
}

impl BlindedKey {
    /// From the service's own key.
    pub fn new(identity: &IdentityKey, period: u64) -> Self {
        let long = ExpandedSecretKey::from(&*identity.to_bytes());
        let factor = factor(identity.public().as_bytes(), period);
        let prefix = Zeroizing::new(h("anonnet:1:service-blind-nonce", &[&long.hash_prefix, &factor]));
        let secret = ExpandedSecretKey {
            scalar: Scalar::from_bytes_mod_order(factor) * long.scalar,
            hash_prefix: *prefix,
        };
        let public = VerifyingKey::from(&secret);
        Self { secret, public }
    }

    /// What [`blind`] gives for the public half.
    pub fn public(&self) -> &[u8; 32] {
        self.public.as_bytes()
    }

    /// Sign a message; [`IdentityPublic::verify`] with the blinded key takes it.
    pub fn sign(&self, message: &[u8]) -> [u8; 64] {
        raw_sign::<Sha512>(&self.secret, message, &self.public).to_bytes()
    }
}

impl fmt::Debug for BlindedKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("BlindedKey(..)")
    }
}
