//! ML-KEM with the randomness that the handshakes of services draw.

use crate::HandshakeFault;
use crate::kem::{CT_LEN, EK_LEN, KemPublic, KemSecret};
use rand_core::CryptoRng;
use zeroize::Zeroizing;

/// A fresh key and its public half, from 64 random bytes.
pub(super) fn fresh(rng: &mut impl CryptoRng) -> (KemSecret, Box<[u8; EK_LEN]>) {
    let mut seed = Zeroizing::new([0; 64]);
    rng.fill_bytes(seed.as_mut());
    KemSecret::from_seed(&seed)
}

/// A ciphertext for that key, and the secret in it, from 32 random bytes. [`HandshakeFault::KemKey`].
pub(super) fn encapsulate(rng: &mut impl CryptoRng, key: &[u8; EK_LEN]) -> Result<([u8; CT_LEN], Zeroizing<[u8; 32]>), HandshakeFault> {
    let key = KemPublic::new(key).ok_or(HandshakeFault::KemKey)?;
    let mut message = Zeroizing::new([0; 32]);
    rng.fill_bytes(message.as_mut());
    Ok(key.encapsulate(&message))
}
