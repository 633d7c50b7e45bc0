//! ML-KEM-768 (FIPS 203), for the circuit handshake and the key exchange of links.
//!
//! Two implementations that agree to the byte: libcrux, which is formally verified, where the processor has AVX2 and the feature
//! `kem-avx2` is on (a quarter to a third of the time, for a larger addon); ml-kem everywhere else. All randomness comes in.

use core::fmt;
use ml_kem::kem::{Decapsulate, Key, KeyExport};
use ml_kem::{DecapsulationKey768, EncapsulationKey768, ml_kem_768::Ciphertext};
use rand_core::CryptoRng;
use zeroize::Zeroizing;

/// Length of an encapsulation key, in bytes.
pub const EK_LEN: usize = 1184;
/// Length of a ciphertext, in bytes.
pub const CT_LEN: usize = 1088;

/// A decapsulation key. Wiped when dropped, never printed.
pub struct KemSecret(Secret);

enum Secret {
    Plain(Box<DecapsulationKey768>),
    #[cfg(all(feature = "kem-avx2", target_arch = "x86_64"))]
    Avx2(avx2::Secret),
}

impl KemSecret {
    /// A fresh key and its public half. The generator hands out d | z.
    pub fn generate(rng: &mut impl CryptoRng) -> (Self, Box<[u8; EK_LEN]>) {
        let mut seed = Zeroizing::new([0; 64]);
        rng.fill_bytes(seed.as_mut());
        Self::from_seed(&seed)
    }

    /// The key of the seed d | z, and its public half.
    pub fn from_seed(seed: &[u8; 64]) -> (Self, Box<[u8; EK_LEN]>) {
        #[cfg(all(feature = "kem-avx2", target_arch = "x86_64"))]
        if avx2::is_there() {
            let (secret, public) = avx2::generate(seed);
            return (Self(Secret::Avx2(secret)), public);
        }
        Self::from_seed_plain(seed)
    }

    fn from_seed_plain(seed: &[u8; 64]) -> (Self, Box<[u8; EK_LEN]>) {
        let key = Box::new(DecapsulationKey768::from_seed((*seed).into()));
        let public = Box::new(<[u8; EK_LEN]>::from(key.encapsulation_key().to_bytes()));
        (Self(Secret::Plain(key)), public)
    }

    /// The secret in a ciphertext; for one that was not made for this key, a secret that nobody else has.
    pub fn decapsulate(&self, ct: &[u8; CT_LEN]) -> Zeroizing<[u8; 32]> {
        match &self.0 {
            Secret::Plain(key) => Zeroizing::new(key.decapsulate(&Ciphertext::from(*ct)).into()),
            #[cfg(all(feature = "kem-avx2", target_arch = "x86_64"))]
            Secret::Avx2(key) => avx2::decapsulate(key, ct),
        }
    }
}

impl fmt::Debug for KemSecret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("KemSecret(..)")
    }
}

/// An encapsulation key that has passed the check of FIPS 203 (section 7.2).
pub struct KemPublic(Public);

enum Public {
    Plain(Box<EncapsulationKey768>),
    #[cfg(all(feature = "kem-avx2", target_arch = "x86_64"))]
    Avx2(Box<avx2::Public>),
}

impl KemPublic {
    /// From its bytes; `None` where a coefficient is not reduced.
    pub fn new(bytes: &[u8; EK_LEN]) -> Option<Self> {
        #[cfg(all(feature = "kem-avx2", target_arch = "x86_64"))]
        if avx2::is_there() {
            return avx2::public(bytes).map(|key| Self(Public::Avx2(key)));
        }
        Self::new_plain(bytes)
    }

    fn new_plain(bytes: &[u8; EK_LEN]) -> Option<Self> {
        let key = EncapsulationKey768::new(&Key::<EncapsulationKey768>::from(*bytes)).ok()?;
        Some(Self(Public::Plain(Box::new(key))))
    }

    /// A ciphertext and the secret in it. The generator hands out the message.
    pub fn encapsulate_random(&self, rng: &mut impl CryptoRng) -> ([u8; CT_LEN], Zeroizing<[u8; 32]>) {
        let mut message = Zeroizing::new([0; 32]);
        rng.fill_bytes(message.as_mut());
        self.encapsulate(&message)
    }

    /// A ciphertext and the secret in it, of a message of 32 random bytes.
    pub fn encapsulate(&self, message: &[u8; 32]) -> ([u8; CT_LEN], Zeroizing<[u8; 32]>) {
        match &self.0 {
            Public::Plain(key) => {
                let (ct, secret) = key.encapsulate_deterministic(&(*message).into());
                (ct.into(), Zeroizing::new(secret.into()))
            }
            #[cfg(all(feature = "kem-avx2", target_arch = "x86_64"))]
            Public::Avx2(key) => avx2::encapsulate(key, message),
        }
    }
}

impl fmt::Debug for KemPublic {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("KemPublic(..)")
    }
}

/// libcrux, entered only on processors with AVX2: its AVX2 functions do not ask themselves.
#[cfg(all(feature = "kem-avx2", target_arch = "x86_64"))]
mod avx2 {
    use super::{CT_LEN, EK_LEN};
    use core::ops::IndexMut;
    use libcrux_ml_kem::mlkem768::{MlKem768Ciphertext, MlKem768PrivateKey, MlKem768PublicKey, avx2};
    use zeroize::{Zeroize, Zeroizing};

    pub(super) type Public = MlKem768PublicKey;

    pub(super) struct Secret(Box<MlKem768PrivateKey>);

    impl Drop for Secret {
        fn drop(&mut self) {
            IndexMut::<core::ops::RangeFrom<usize>>::index_mut(&mut *self.0, 0..).zeroize();
        }
    }

    pub(super) fn is_there() -> bool {
        std::arch::is_x86_feature_detected!("avx2")
    }

    pub(super) fn generate(seed: &[u8; 64]) -> (Secret, Box<[u8; EK_LEN]>) {
        let (secret, public) = avx2::generate_key_pair(*seed).into_parts();
        (Secret(Box::new(secret)), Box::new(public.into()))
    }

    pub(super) fn decapsulate(key: &Secret, ct: &[u8; CT_LEN]) -> Zeroizing<[u8; 32]> {
        Zeroizing::new(avx2::decapsulate(&key.0, &MlKem768Ciphertext::from(ct)))
    }

    pub(super) fn public(bytes: &[u8; EK_LEN]) -> Option<Box<Public>> {
        let key = Box::new(Public::from(bytes));
        avx2::validate_public_key(&key).then_some(key)
    }

    pub(super) fn encapsulate(key: &Public, message: &[u8; 32]) -> ([u8; CT_LEN], Zeroizing<[u8; 32]>) {
        let (ct, secret) = avx2::encapsulate(key, *message);
        (ct.into(), Zeroizing::new(secret))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn array<const N: usize>() -> impl Strategy<Value = [u8; N]> {
        proptest::collection::vec(any::<u8>(), N).prop_map(|bytes| bytes.try_into().unwrap())
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(48))]

        /// Whatever this processor takes, and ml-kem: the same keys, ciphertexts and secrets, each with the other's.
        #[test]
        fn implementations_agree(seed in array::<64>(), message in array::<32>(), flip in 0..CT_LEN) {
            let (fast, public) = KemSecret::from_seed(&seed);
            let (plain, plain_public) = KemSecret::from_seed_plain(&seed);
            prop_assert_eq!(&public, &plain_public);
            let (ct, secret) = KemPublic::new(&public).unwrap().encapsulate(&message);
            prop_assert_eq!(&(ct, secret.clone()), &KemPublic::new_plain(&public).unwrap().encapsulate(&message));
            prop_assert_eq!(&fast.decapsulate(&ct), &secret);
            prop_assert_eq!(&plain.decapsulate(&ct), &secret);
            let mut touched = ct;
            touched[flip] ^= 1;
            prop_assert_ne!(&fast.decapsulate(&touched), &secret);
            prop_assert_eq!(fast.decapsulate(&touched), plain.decapsulate(&touched));
        }

        /// Both refuse the same public keys: those with a coefficient of 3329 or more.
        #[test]
        fn unreduced_keys_are_refused(seed in array::<64>(), at in 0..384_usize, value in 0..4096_u16) {
            let (_, mut public) = KemSecret::from_seed(&seed);
            // Coefficient 2·at of the three polynomials, 12 bits.
            public[3 * at] = value as u8;
            public[3 * at + 1] = public[3 * at + 1] & 0xf0 | (value >> 8) as u8;
            prop_assert_eq!(KemPublic::new(&public).is_some(), value < 3329);
            prop_assert_eq!(KemPublic::new_plain(&public).is_some(), value < 3329);
        }
    }

    #[test]
    fn the_processor_decides_and_nothing_secret_is_printed() {
        let (secret, public) = KemSecret::from_seed(&[3; 64]);
        #[cfg(all(feature = "kem-avx2", target_arch = "x86_64"))]
        assert_eq!(matches!(secret.0, Secret::Avx2(_)), std::arch::is_x86_feature_detected!("avx2"));
        assert_eq!(format!("{secret:?}"), "KemSecret(..)");
        assert_eq!(format!("{:?}", KemPublic::new(&public).unwrap()), "KemPublic(..)");
    }
}
