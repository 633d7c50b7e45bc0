//! ML-KEM-768, as the handshakes use it. Apart, so that the code is there once.

use crate::HandshakeFault;
use ml_kem::kem::{Decapsulate, Encapsulate, Key, KeyExport};
use ml_kem::{DecapsulationKey768, EncapsulationKey768, Seed, ml_kem_768::Ciphertext};
use rand_core::CryptoRng;
use zeroize::{Zeroize, Zeroizing};

/// Length of an encapsulation key in bytes.
pub(crate) const EK_LEN: usize = 1184;
/// Length of a ciphertext in bytes.
pub(crate) const CT_LEN: usize = 1088;

/// A fresh key, from 64 random bytes d | z (FIPS 203), and its public half.
#[inline(never)]
pub(crate) fn generate(rng: &mut impl CryptoRng) -> (Box<DecapsulationKey768>, Box<[u8; EK_LEN]>) {
    let mut seed = Seed::default();
    rng.fill_bytes(&mut seed);
    let dk = Box::new(DecapsulationKey768::from_seed(seed));
    seed.zeroize();
    let ek = Box::new(<[u8; EK_LEN]>::from(dk.encapsulation_key().to_bytes()));
    (dk, ek)
}

/// A ciphertext for that key, and the secret in it, from 32 random bytes. [`HandshakeFault::KemKey`].
#[inline(never)]
pub(crate) fn encapsulate(rng: &mut impl CryptoRng, key: &[u8; EK_LEN]) -> Result<([u8; CT_LEN], Zeroizing<[u8; 32]>), HandshakeFault> {
    let key = EncapsulationKey768::new(&Key::<EncapsulationKey768>::from(*key)).map_err(|_| HandshakeFault::KemKey)?;
    let (ct, secret) = key.encapsulate_with_rng(rng);
    Ok((ct.into(), Zeroizing::new(secret.into())))
}

/// The secret in a ciphertext; of one that is none, a secret that nobody knows.
#[inline(never)]
pub(crate) fn decapsulate(key: &DecapsulationKey768, ct: &[u8; CT_LEN]) -> Zeroizing<[u8; 32]> {
    Zeroizing::new(key.decapsulate(&Ciphertext::from(*ct)).into())
}
