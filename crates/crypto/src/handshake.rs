//! The handshake with one hop: X25519 and ML-KEM-768 together, after Tor's ntor-v3.
//!
//! ```text
//! client -> relay  ID[32] | B[32] | X[32] | ek[1184] | record(K1, extensions) | MAC[32]
//! relay -> client  Y[32] | ct[1088] | AUTH[32] | record(K2, extensions)
//! ```
//!
//! The keys are safe as long as one of the two key agreements is. The relay proves that it holds `b`; the client stays
//! unknown. A generator hands out, in this order: client x[32], d | z [64] (FIPS 203); relay y[32], m[32].

use crate::hash::{encap_prefix, h, xof};
use crate::kem::{CT_LEN, EK_LEN, KemPublic, KemSecret};
use crate::keys::{CircuitKey, CircuitKeyRing, NodeId};
use crate::record::{EncryptedMessage, RECORD_OVERHEAD, SingleUseKey};
use crate::{CryptoError, HandshakeFault};
use core::fmt;
use rand_core::CryptoRng;
use subtle::{Choice, ConstantTimeEq};
use zeroize::{Zeroize, ZeroizeOnDrop, Zeroizing};

/// What the hash of a handshake for a circuit ends with; a handshake for a service ends otherwise.
const VERSION_CIRCUIT: &[u8] = b"anonnet:1:circuit";

/// Extensions are opaque here, and at most this long, in bytes.
pub const MAX_EXTENSIONS_LEN: usize = 512;

/// Length of a request without extensions, in bytes.
pub const REQUEST_LEN: usize = 32 + 32 + 32 + EK_LEN + RECORD_OVERHEAD + 32;

/// Length of a reply without extensions, in bytes.
pub const REPLY_LEN: usize = 32 + CT_LEN + 32 + RECORD_OVERHEAD;

/// What both ends of a hop know after the handshake. Wiped when dropped, never printed.
#[derive(Zeroize, ZeroizeOnDrop)]
pub struct HopSecrets {
    /// Seed of the onion layer away from the client.
    pub forward: [u8; 80],
    /// Seed of the onion layer towards the client.
    pub backward: [u8; 80],
    /// Names this circuit, so that what is signed for it is worthless on another.
    pub bind: [u8; 32],
    /// Lets a session continue on another circuit.
    pub resume: [u8; 32],
}

impl fmt::Debug for HopSecrets {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("HopSecrets(..)")
    }
}

/// What both sides put into the hashes.
struct Transcript<'a> {
    id: &'a [u8; 32],
    b: &'a [u8; 32],
    x: &'a [u8; 32],
    ek: &'a [u8; EK_LEN],
}

impl Transcript<'_> {
    /// K1 and the MAC key, from the shared secret of X and B.
    fn request_keys(&self, bx: &[u8; 32]) -> Zeroizing<[u8; 64]> {
        let mut keys = Zeroizing::new([0; 64]);
        let version = VERSION_CIRCUIT;
        let parts: [&[u8]; 7] = [bx, self.id, self.x, self.b, self.ek, &encap_prefix(version), version];
        xof("anonnet:1:hs-kdf1", &parts, keys.as_mut());
        keys
    }

    fn mac(&self, mac_key: &[u8], record: &[u8]) -> [u8; 32] {
        let parts: [&[u8]; 8] = [
            &encap_prefix(mac_key),
            mac_key,
            self.id,
            self.b,
            self.x,
            self.ek,
            &encap_prefix(record),
            record,
        ];
        h("anonnet:1:hs-mac", &parts)
    }

    /// Everything that comes out of the three shared secrets.
    fn schedule(&self, xy: &[u8; 32], xb: &[u8; 32], kem: &[u8; 32], y: &[u8; 32], ct: &[u8; CT_LEN]) -> Schedule {
        let version = VERSION_CIRCUIT;
        let secret: [&[u8]; 11] = [
            xy,
            xb,
            kem,
            self.id,
            self.b,
            self.x,
            y,
            self.ek,
            ct,
            &encap_prefix(version),
            version,
        ];
        schedule_of(&secret)
    }

    fn auth(&self, verify: &[u8; 32], y: &[u8; 32], ct: &[u8; CT_LEN], mac: &[u8; 32], record: &[u8]) -> [u8; 32] {
        let parts: [&[u8]; 11] = [
            verify,
            self.id,
            self.b,
            y,
            ct,
            self.x,
            self.ek,
            mac,
            &encap_prefix(record),
            record,
            b"server",
        ];
        h("anonnet:1:hs-auth", &parts)
    }
}

/// What comes out of all that two ends have in common.
pub(crate) fn schedule_of(secret: &[&[u8]]) -> Schedule {
    let seed = Zeroizing::new(h("anonnet:1:hs-seed", secret));
    let verify = Zeroizing::new(h("anonnet:1:hs-verify", secret));
    let mut keys = Zeroizing::new([0; 256]);
    xof("anonnet:1:hs-final", &[seed.as_ref()], keys.as_mut());
    Schedule { verify, keys }
}

pub(crate) struct Schedule {
    pub(crate) verify: Zeroizing<[u8; 32]>,
    /// K2[32] | forward[80] | backward[80] | BIND[32] | RESUME[32]
    keys: Zeroizing<[u8; 256]>,
}

impl Schedule {
    pub(crate) fn split(&self) -> (SingleUseKey, HopSecrets) {
        let mut k2 = Zeroizing::new([0; 32]);
        let mut hop = HopSecrets {
            forward: [0; 80],
            backward: [0; 80],
            bind: [0; 32],
            resume: [0; 32],
        };
        let mut rest = self.keys.as_slice();
        let parts: [&mut [u8]; 5] = [k2.as_mut(), &mut hop.forward, &mut hop.backward, &mut hop.bind, &mut hop.resume];
        for part in parts {
            let (head, tail) = rest.split_at(part.len());
            part.copy_from_slice(head);
            rest = tail;
        }
        (SingleUseKey::new(k2), hop)
    }
}

pub(crate) fn key_half(keys: &[u8; 64]) -> (SingleUseKey, &[u8]) {
    let (k1, mac_key) = keys.split_at(32);
    let mut key = Zeroizing::new([0; 32]);
    key.copy_from_slice(k1);
    (SingleUseKey::new(key), mac_key)
}

/// The client's side between its request and the relay's reply.
pub struct ClientHandshake {
    id: NodeId,
    b: [u8; 32],
    x: CircuitKey,
    ek: Box<[u8; EK_LEN]>,
    kem: KemSecret,
    xb: Zeroizing<[u8; 32]>,
    mac: [u8; 32],
}

impl ClientHandshake {
    /// Begin with the relay `id`, whose published circuit key is `onion_key`. Gives the state and the request to send.
    /// [`CryptoError::ExtensionsTooLong`]; [`HandshakeFault::LowOrder`]: the published key is of small order.
    pub fn start(rng: &mut impl CryptoRng, id: &NodeId, onion_key: &[u8; 32], extensions: &[u8]) -> Result<(Self, Vec<u8>), CryptoError> {
        if extensions.len() > MAX_EXTENSIONS_LEN {
            return Err(CryptoError::ExtensionsTooLong);
        }
        let x = CircuitKey::generate(rng);
        let xb = x.agree(onion_key).map_err(|_| HandshakeFault::LowOrder)?;
        let (kem, ek) = KemSecret::generate(rng);

        let transcript = Transcript {
            id: id.as_bytes(),
            b: onion_key,
            x: x.public(),
            ek: &ek,
        };
        let keys = transcript.request_keys(&xb);
        let (k1, mac_key) = key_half(&keys);
        let record = k1.seal(b"", extensions)?.to_bytes();
        let mac = transcript.mac(mac_key, &record);
        let request = [id.as_bytes(), onion_key.as_slice(), x.public(), ek.as_slice(), &record, &mac].concat();
        Ok((
            Self {
                id: *id,
                b: *onion_key,
                x,
                ek,
                kem,
                xb,
                mac,
            },
            request,
        ))
    }

    /// Check the relay's reply. Gives the hop's secrets and the relay's extensions.
    /// [`HandshakeFault::Length`], [`HandshakeFault::Auth`], [`HandshakeFault::Record`].
    pub fn finish(self, reply: &[u8]) -> Result<(HopSecrets, Vec<u8>), CryptoError> {
        if reply.len() > REPLY_LEN + MAX_EXTENSIONS_LEN {
            return Err(HandshakeFault::Length.into());
        }
        let (y, rest) = reply.split_first_chunk::<32>().ok_or(HandshakeFault::Length)?;
        let (ct, rest) = rest.split_first_chunk::<CT_LEN>().ok_or(HandshakeFault::Length)?;
        let (auth, record) = rest.split_first_chunk::<32>().ok_or(HandshakeFault::Length)?;
        let message = EncryptedMessage::from_bytes(record).map_err(|_| HandshakeFault::Length)?;

        // Everything is computed before anything is refused: how long it takes says nothing about what was wrong.
        let xy = self.x.diffie_hellman(y);
        let kem = self.kem.decapsulate(ct);
        let transcript = Transcript {
            id: self.id.as_bytes(),
            b: &self.b,
            x: self.x.public(),
            ek: &self.ek,
        };
        let schedule = transcript.schedule(xy.as_bytes(), &self.xb, &kem, y, ct);
        let expected = transcript.auth(&schedule.verify, y, ct, &self.mac, record);
        let fits = expected.ct_eq(auth) & Choice::from(u8::from(xy.was_contributory()));
        if !bool::from(fits) {
            return Err(HandshakeFault::Auth.into());
        }
        let (k2, hop) = schedule.split();
        let extensions = k2.open(b"", &message).map_err(|_| HandshakeFault::Record)?;
        Ok((hop, extensions.to_vec()))
    }
}

impl fmt::Debug for ClientHandshake {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ClientHandshake").field("id", &self.id).finish_non_exhaustive()
    }
}

/// A relay's answer to a client's request. `respond` sees the client's extensions and gives the relay's own, of
/// [`MAX_EXTENSIONS_LEN`] at most; it is called only for a request whose MAC fits. Gives the hop's secrets and the reply.
///
/// The cheap checks come first: lengths and names, then one X25519 for the MAC, then ML-KEM.
/// [`CryptoError::Handshake`] with the fault, [`CryptoError::ExtensionsTooLong`].
pub fn relay_respond(
    rng: &mut impl CryptoRng,
    id: &NodeId,
    ring: &CircuitKeyRing,
    now_s: u64,
    request: &[u8],
    respond: impl FnOnce(&[u8]) -> Vec<u8>,
) -> Result<(HopSecrets, Vec<u8>), CryptoError> {
    if request.len() > REQUEST_LEN + MAX_EXTENSIONS_LEN {
        return Err(HandshakeFault::Length.into());
    }
    let (to, rest) = request.split_first_chunk::<32>().ok_or(HandshakeFault::Length)?;
    let (b, rest) = rest.split_first_chunk::<32>().ok_or(HandshakeFault::Length)?;
    let (x, rest) = rest.split_first_chunk::<32>().ok_or(HandshakeFault::Length)?;
    let (ek, rest) = rest.split_first_chunk::<EK_LEN>().ok_or(HandshakeFault::Length)?;
    let (record, mac) = rest.split_last_chunk::<32>().ok_or(HandshakeFault::Length)?;
    let message = EncryptedMessage::from_bytes(record).map_err(|_| HandshakeFault::Length)?;
    if to != id.as_bytes() {
        return Err(HandshakeFault::Identity.into());
    }
    let key = ring.find(b, now_s).ok_or(HandshakeFault::CircuitKey)?;

    let transcript = Transcript { id: to, b, x, ek };
    let bx = key.diffie_hellman(x);
    let keys = transcript.request_keys(bx.as_bytes());
    let (k1, mac_key) = key_half(&keys);
    let mac_fits = bool::from(transcript.mac(mac_key, record).ct_eq(mac));
    if !bx.was_contributory() {
        return Err(HandshakeFault::LowOrder.into());
    }
    if !mac_fits {
        return Err(HandshakeFault::Mac.into());
    }
    let extensions = k1.open(b"", &message).map_err(|_| HandshakeFault::Record)?;
    let encapsulator = KemPublic::new(ek).ok_or(HandshakeFault::KemKey)?;
    let answer = respond(&extensions);
    if answer.len() > MAX_EXTENSIONS_LEN {
        return Err(CryptoError::ExtensionsTooLong);
    }

    let y = CircuitKey::generate(rng);
    let xy = y.diffie_hellman(x);
    let (ct, kem) = encapsulator.encapsulate_random(rng);
    let schedule = transcript.schedule(xy.as_bytes(), bx.as_bytes(), &kem, y.public(), &ct);
    let (k2, hop) = schedule.split();
    let reply_record = k2.seal(b"", &answer)?.to_bytes();
    let auth = transcript.auth(&schedule.verify, y.public(), &ct, mac, &reply_record);
    let reply = [y.public().as_slice(), &ct, &auth, &reply_record].concat();
    Ok((hop, reply))
}

#[cfg(test)]
mod tests;
