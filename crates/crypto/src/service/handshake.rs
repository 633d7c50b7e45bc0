//! The handshake between a client and a service: section 5's, with the introduction point's static ML-KEM key beside its X25519 key, so that also
//! what the introduction says is safe as long as one of the two is.
//!
//! ```text
//! INTRODUCE1   A[32] | INTRODUCE2
//! INTRODUCE2   X[32] | ek[1184] | ct_s[1088] | record(K1, length u16 | payload | zeros, 802 in all) | MAC[32]
//! reply        Y[32] | ct[1088] | AUTH[32]
//! ```
//!
//! A names the introduction point; A, B, EK and the subcredential are known to both and not sent. A generator hands out, in this order: client
//! x[32], d | z[64] (FIPS 203), m[32]; service y[32], m[32].

use super::{IntroKeys, KEM_KEY_LEN};
use crate::handshake::{HopSecrets, Schedule, key_half, schedule_of};
use crate::hash::{encap_prefix, h, xof};
use crate::kem::{CT_LEN, KemPublic, KemSecret};
use crate::keys::CircuitKey;
use crate::record::{EncryptedMessage, RECORD_OVERHEAD};
use crate::{CryptoError, HandshakeFault};
use core::fmt;
use rand_core::CryptoRng;
use subtle::{Choice, ConstantTimeEq};
use zeroize::Zeroizing;

const VERSION_SERVICE: &[u8] = b"anonnet:1:service";

/// The longest payload of an introduction in bytes; shorter ones are padded to it.
pub const MAX_PAYLOAD_LEN: usize = 800;
const PLAIN_LEN: usize = 2 + MAX_PAYLOAD_LEN;
const RECORD_LEN: usize = PLAIN_LEN + RECORD_OVERHEAD;
/// Length of what a service gets of an introduction, in bytes.
pub const INTRODUCE2_LEN: usize = 32 + KEM_KEY_LEN + CT_LEN + RECORD_LEN + 32;
/// Length of what a client sends to an introduction point, in bytes.
pub const INTRODUCE1_LEN: usize = 32 + INTRODUCE2_LEN;
/// Length of a service's reply in bytes.
pub const SERVICE_REPLY_LEN: usize = 32 + CT_LEN + 32;
/// Subcredentials that an introduction is tried with: the periods that a client may take for the current one.
pub const MAX_SUBCREDENTIALS: usize = 4;

/// What a client knows of an introduction point.
#[derive(Clone)]
pub struct ServiceEntry {
    /// A, which names it.
    pub auth_key: [u8; 32],
    /// B, the service's X25519 key there.
    pub onion_key: [u8; 32],
    /// The service's ML-KEM key there.
    pub kem_key: Box<[u8; KEM_KEY_LEN]>,
    /// The service's, of the period of the descriptor.
    pub subcredential: [u8; 32],
}

impl fmt::Debug for ServiceEntry {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("ServiceEntry(..)")
    }
}

/// What both put into the hashes.
struct Transcript<'a> {
    auth: &'a [u8; 32],
    subcredential: &'a [u8; 32],
    b: &'a [u8; 32],
    x: &'a [u8; 32],
    ek: &'a [u8; KEM_KEY_LEN],
}

/// The static ML-KEM key and what was sent to it: the introduction's hashes cover them, and what comes out of them is part of the secret.
struct Static<'a> {
    key: &'a [u8; KEM_KEY_LEN],
    ct: &'a [u8; CT_LEN],
    secret: &'a [u8; 32],
}

impl Transcript<'_> {
    /// K1 and the MAC key.
    fn request_keys(&self, bx: &[u8; 32], kem: &Static<'_>) -> Zeroizing<[u8; 64]> {
        let mut keys = Zeroizing::new([0; 64]);
        let version = VERSION_SERVICE;
        let parts: [&[u8]; 11] = [
            bx,
            kem.secret,
            self.auth,
            self.subcredential,
            self.b,
            kem.key,
            self.x,
            self.ek,
            kem.ct,
            &encap_prefix(version),
            version,
        ];
        xof("anonnet:1:hs-kdf1", &parts, keys.as_mut());
        keys
    }

    fn mac(&self, mac_key: &[u8], kem: &Static<'_>, record: &[u8]) -> [u8; 32] {
        let parts: [&[u8]; 10] = [
            &encap_prefix(mac_key),
            mac_key,
            self.auth,
            self.subcredential,
            self.b,
            self.x,
            self.ek,
            kem.ct,
            &encap_prefix(record),
            record,
        ];
        h("anonnet:1:hs-mac", &parts)
    }

    /// Everything that comes out of the four shared secrets.
    fn schedule(&self, secrets: [&[u8; 32]; 4], y: &[u8; 32], ct: &[u8; CT_LEN]) -> Schedule {
        let [xy, xb, kem, kem_s] = secrets;
        let version = VERSION_SERVICE;
        schedule_of(&[
            xy,
            xb,
            kem,
            kem_s,
            self.auth,
            self.subcredential,
            self.b,
            self.x,
            y,
            self.ek,
            ct,
            &encap_prefix(version),
            version,
        ])
    }
}

fn auth(verify: &[u8; 32], transcript: &Transcript<'_>, y: &[u8; 32], ct: &[u8; CT_LEN], mac: &[u8; 32]) -> [u8; 32] {
    let parts: [&[u8]; 9] = [
        verify,
        transcript.auth,
        transcript.b,
        y,
        ct,
        transcript.x,
        transcript.ek,
        mac,
        b"service",
    ];
    h("anonnet:1:hs-auth", &parts)
}

/// The client's side between its introduction and the service's reply.
pub struct ServiceClient {
    entry: ServiceEntry,
    x: CircuitKey,
    dk: KemSecret,
    ek: Box<[u8; KEM_KEY_LEN]>,
    xb: Zeroizing<[u8; 32]>,
    kem_s: Zeroizing<[u8; 32]>,
    mac: [u8; 32],
}

impl ServiceClient {
    /// Begin. Gives the state and the INTRODUCE1, [`INTRODUCE1_LEN`] bytes.
    /// [`CryptoError::ExtensionsTooLong`]: the payload; [`HandshakeFault::LowOrder`], [`HandshakeFault::KemKey`]: the published keys are none.
    pub fn start(rng: &mut impl CryptoRng, entry: ServiceEntry, payload: &[u8]) -> Result<(Box<Self>, Vec<u8>), CryptoError> {
        let plain = pad(payload)?;
        let x = CircuitKey::generate(rng);
        let xb = x.agree(&entry.onion_key).map_err(|_| HandshakeFault::LowOrder)?;
        let (dk, ek) = KemSecret::generate(rng);
        let (ct_s, kem_s) = KemPublic::new(&entry.kem_key)
            .ok_or(HandshakeFault::KemKey)?
            .encapsulate_random(rng);

        let transcript = Transcript {
            auth: &entry.auth_key,
            subcredential: &entry.subcredential,
            b: &entry.onion_key,
            x: x.public(),
            ek: &ek,
        };
        let kem = Static {
            key: &entry.kem_key,
            ct: &ct_s,
            secret: &kem_s,
        };
        let keys = transcript.request_keys(&xb, &kem);
        let (k1, mac_key) = key_half(&keys);
        let record = k1.seal(b"", &plain)?.to_bytes();
        let mac = transcript.mac(mac_key, &kem, &record);
        let message = [&entry.auth_key[..], x.public(), ek.as_slice(), &ct_s, &record, &mac].concat();
        let state = Self {
            entry,
            x,
            dk,
            ek,
            xb,
            kem_s,
            mac,
        };
        Ok((Box::new(state), message))
    }

    /// Check the service's reply, and give the secrets of the virtual hop. [`HandshakeFault::Length`], [`HandshakeFault::Auth`].
    pub fn finish(&self, reply: &[u8]) -> Result<HopSecrets, CryptoError> {
        let (y, rest) = reply.split_first_chunk::<32>().ok_or(HandshakeFault::Length)?;
        let (ct, rest) = rest.split_first_chunk::<CT_LEN>().ok_or(HandshakeFault::Length)?;
        let given: &[u8; 32] = rest.try_into().map_err(|_| HandshakeFault::Length)?;
        // As in the handshake with a hop: everything is computed before anything is refused.
        let xy = self.x.diffie_hellman(y);
        let kem = self.dk.decapsulate(ct);
        let transcript = Transcript {
            auth: &self.entry.auth_key,
            subcredential: &self.entry.subcredential,
            b: &self.entry.onion_key,
            x: self.x.public(),
            ek: &self.ek,
        };
        let schedule = transcript.schedule([xy.as_bytes(), &self.xb, &kem, &self.kem_s], y, ct);
        let expected = auth(&schedule.verify, &transcript, y, ct, &self.mac);
        let fits = expected.ct_eq(given) & Choice::from(u8::from(xy.was_contributory()));
        if !bool::from(fits) {
            return Err(HandshakeFault::Auth.into());
        }
        Ok(schedule.split().1)
    }
}

impl fmt::Debug for ServiceClient {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("ServiceClient(..)")
    }
}

/// An introduction that opened: what the service needs to answer it.
pub struct Introduction {
    auth: [u8; 32],
    subcredential: [u8; 32],
    b: [u8; 32],
    x: [u8; 32],
    ek: [u8; KEM_KEY_LEN],
    bx: Zeroizing<[u8; 32]>,
    kem_s: Zeroizing<[u8; 32]>,
    mac: [u8; 32],
}

impl IntroKeys {
    /// Opens an INTRODUCE2: gives what answers it, and the payload. [`CryptoError::Handshake`] with the fault; a wrong subcredential cannot be told
    /// from a changed message.
    pub fn open(&self, subcredentials: &[[u8; 32]], message: &[u8]) -> Result<(Box<Introduction>, Vec<u8>), CryptoError> {
        let message: &[u8; INTRODUCE2_LEN] = message.try_into().map_err(|_| HandshakeFault::Length)?;
        let (x, rest) = message.split_first_chunk::<32>().ok_or(HandshakeFault::Length)?;
        let (ek, rest) = rest.split_first_chunk::<KEM_KEY_LEN>().ok_or(HandshakeFault::Length)?;
        let (ct_s, rest) = rest.split_first_chunk::<CT_LEN>().ok_or(HandshakeFault::Length)?;
        let (record, mac) = rest.split_last_chunk::<32>().ok_or(HandshakeFault::Length)?;
        let bx = self.onion.diffie_hellman(x);
        if !bx.was_contributory() {
            return Err(HandshakeFault::LowOrder.into());
        }
        let bx = Zeroizing::new(bx.to_bytes());
        let kem_s = self.kem.decapsulate(ct_s);
        let kem = Static {
            key: &self.kem_public,
            ct: ct_s,
            secret: &kem_s,
        };
        // All of them, whichever fits: how long it takes does not tell the period.
        let mut found = None;
        for subcredential in subcredentials.iter().take(MAX_SUBCREDENTIALS) {
            let transcript = Transcript {
                auth: &self.auth_public,
                subcredential,
                b: self.onion.public(),
                x,
                ek,
            };
            let keys = transcript.request_keys(&bx, &kem);
            let (k1, mac_key) = key_half(&keys);
            if bool::from(transcript.mac(mac_key, &kem, record).ct_eq(mac)) {
                found = Some((k1, *subcredential));
            }
        }
        let (k1, subcredential) = found.ok_or(HandshakeFault::Mac)?;
        let sealed = EncryptedMessage::from_bytes(record).map_err(|_| HandshakeFault::Length)?;
        let payload = unpad(&k1.open(b"", &sealed).map_err(|_| HandshakeFault::Record)?)?;
        let introduction = Introduction {
            auth: self.auth_public,
            subcredential,
            b: *self.onion.public(),
            x: *x,
            ek: *ek,
            bx,
            kem_s,
            mac: *mac,
        };
        Ok((Box::new(introduction), payload))
    }
}

impl Introduction {
    /// What no two introductions have in common, for the replay cache.
    pub fn mac(&self) -> &[u8; 32] {
        &self.mac
    }

    /// Answer it. Gives the secrets of the virtual hop and the reply, [`SERVICE_REPLY_LEN`] bytes. [`HandshakeFault::KemKey`]: the client's key is
    /// none.
    pub fn respond(self, rng: &mut impl CryptoRng) -> Result<(HopSecrets, Vec<u8>), CryptoError> {
        let y = CircuitKey::generate(rng);
        let xy = y.diffie_hellman(&self.x);
        let (ct, kem) = KemPublic::new(&self.ek).ok_or(HandshakeFault::KemKey)?.encapsulate_random(rng);
        let transcript = Transcript {
            auth: &self.auth,
            subcredential: &self.subcredential,
            b: &self.b,
            x: &self.x,
            ek: &self.ek,
        };
        let schedule = transcript.schedule([xy.as_bytes(), &self.bx, &kem, &self.kem_s], y.public(), &ct);
        let proof = auth(&schedule.verify, &transcript, y.public(), &ct, &self.mac);
        let (_, secrets) = schedule.split();
        Ok((secrets, [&y.public()[..], &ct, &proof].concat()))
    }
}

impl fmt::Debug for Introduction {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Introduction(..)")
    }
}

fn pad(payload: &[u8]) -> Result<Zeroizing<Vec<u8>>, CryptoError> {
    let len = u16::try_from(payload.len()).map_err(|_| CryptoError::ExtensionsTooLong)?;
    if payload.len() > MAX_PAYLOAD_LEN {
        return Err(CryptoError::ExtensionsTooLong);
    }
    let mut plain = Zeroizing::new(Vec::with_capacity(PLAIN_LEN));
    plain.extend_from_slice(&len.to_be_bytes());
    plain.extend_from_slice(payload);
    plain.resize(PLAIN_LEN, 0);
    Ok(plain)
}

fn unpad(plain: &[u8]) -> Result<Vec<u8>, CryptoError> {
    let (len, rest) = plain.split_first_chunk::<2>().ok_or(HandshakeFault::Length)?;
    let (payload, padding) = rest
        .split_at_checked(u16::from_be_bytes(*len).into())
        .ok_or(HandshakeFault::Record)?;
    if padding.iter().any(|byte| *byte != 0) {
        return Err(HandshakeFault::Record.into());
    }
    Ok(payload.to_vec())
}
