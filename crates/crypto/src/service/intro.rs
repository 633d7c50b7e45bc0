//! An introduction point's keys, and the proof that binds them to one circuit.

use super::KEM_KEY_LEN;
use crate::CryptoError;
use crate::hash::{encap_prefix, h};
use crate::kem::KemSecret;
use crate::keys::{CircuitKey, IdentityKey, IdentityPublic};
use core::fmt;
use rand_core::CryptoRng;
use subtle::ConstantTimeEq;

/// Length of what a descriptor says of an introduction point's keys: auth key[32] | B[32] | ek[1184].
pub const ENTRY_LEN: usize = 32 + 32 + KEM_KEY_LEN;
/// Length of an ESTABLISH_INTRO: auth key[32] | MAC[32] | signature[64].
pub const ESTABLISH_LEN: usize = 32 + 32 + 64;

const SIGNED: &[u8] = b"anonnet:1:establish-intro";

/// The keys of one introduction point, of this service and this circuit alone. Wiped when dropped, never printed.
pub struct IntroKeys {
    auth: IdentityKey,
    pub(super) auth_public: [u8; 32],
    pub(super) onion: CircuitKey,
    pub(super) kem: KemSecret,
    pub(super) kem_public: Box<[u8; KEM_KEY_LEN]>,
}

impl IntroKeys {
    /// Fresh ones. The generator hands out: authentication seed[32], b[32], d | z[64] (FIPS 203).
    pub fn generate(rng: &mut impl CryptoRng) -> Self {
        let auth = IdentityKey::generate(rng);
        let onion = CircuitKey::generate(rng);
        let (kem, kem_public) = KemSecret::generate(rng);
        Self {
            auth_public: *auth.public().as_bytes(),
            auth,
            onion,
            kem,
            kem_public,
        }
    }

    /// What clients need to know of them, [`ENTRY_LEN`] bytes.
    pub fn entry(&self) -> Vec<u8> {
        [&self.auth_public[..], self.onion.public(), self.kem_public.as_slice()].concat()
    }

    /// The ESTABLISH_INTRO for the circuit whose last hop has that BIND.
    pub fn establish(&self, bind: &[u8; 32]) -> Vec<u8> {
        let mac = mac(bind, &self.auth_public);
        let signature = self.auth.sign(&signed(&self.auth_public, &mac));
        [&self.auth_public[..], &mac, &signature].concat()
    }
}

impl fmt::Debug for IntroKeys {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("IntroKeys(..)")
    }
}

fn mac(bind: &[u8; 32], auth: &[u8; 32]) -> [u8; 32] {
    h("anonnet:1:intro-mac", &[&encap_prefix(bind), bind, auth])
}

fn signed(auth: &[u8; 32], mac: &[u8; 32]) -> Vec<u8> {
    [&encap_prefix(SIGNED)[..], SIGNED, auth, mac].concat()
}

/// Checks an ESTABLISH_INTRO that came over the circuit with that BIND, and gives the authentication key. One that was made for another circuit
/// does not fit. [`CryptoError::InvalidKey`], [`CryptoError::BadSignature`].
pub fn verify_establish(bind: &[u8; 32], payload: &[u8]) -> Result<[u8; 32], CryptoError> {
    let payload: &[u8; ESTABLISH_LEN] = payload.try_into().map_err(|_| CryptoError::BadSignature)?;
    let (auth, rest) = payload.split_first_chunk::<32>().ok_or(CryptoError::BadSignature)?;
    let (given, rest) = rest.split_first_chunk::<32>().ok_or(CryptoError::BadSignature)?;
    let signature: &[u8; 64] = rest.try_into().map_err(|_| CryptoError::BadSignature)?;
    if !bool::from(mac(bind, auth).ct_eq(given)) {
        return Err(CryptoError::BadSignature);
    }
    IdentityPublic::from_bytes(auth)?.verify(&signed(auth, given), signature)?;
    Ok(*auth)
}
