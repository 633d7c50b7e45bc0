//! What `.anon` services need: their cryptography as functions, their circuits as methods of the node.

use anonnet_crypto::keys::{CircuitKey, IdentityKey};
use anonnet_crypto::service::{BlindedKey, Pow, blind, subcredential};
use anonnet_engine::{IntroduceTo, records};
use anonnet_errors::ErrorKind;
use napi::bindgen_prelude::{Buffer, Uint8Array};
use napi_derive::napi;

use crate::bytes::{address, array};
use crate::error::{Result, invalid, thrown};
use crate::node::{NativeNode, milliseconds};

/// The blinded Ed25519 public key of a service in a period.
#[napi(catch_unwind)]
pub fn service_blind(public_key: &[u8], period: u32) -> Result<Buffer> {
    let blinded = blind(&array(public_key, "publicKey")?, period.into()).map_err(thrown)?;
    Ok(blinded.to_vec().into())
}

/// What those who know a service's address have in common in a period.
#[napi(catch_unwind)]
pub fn service_subcredential(public_key: &[u8], period: u32) -> Result<Buffer> {
    let shared = subcredential(&array(public_key, "publicKey")?, period.into()).map_err(thrown)?;
    Ok(shared.to_vec().into())
}

/// A signature by the blinded key of a period; `seed` is the service's Ed25519 seed.
#[napi(catch_unwind)]
pub fn service_sign(seed: &[u8], period: u32, message: &[u8]) -> Result<Buffer> {
    let identity = IdentityKey::from_bytes(&array(seed, "seed")?);
    Ok(BlindedKey::new(&identity, period.into()).sign(message).to_vec().into())
}

/// The Ed25519 public key of a seed.
#[napi(catch_unwind)]
pub fn service_public_key(seed: &[u8]) -> Result<Buffer> {
    Ok(IdentityKey::from_bytes(&array(seed, "seed")?).public().as_bytes().to_vec().into())
}

#[napi(catch_unwind)]
pub fn x25519_public(secret: &[u8]) -> Result<Buffer> {
    Ok(CircuitKey::from_bytes(&array(secret, "secret")?).public().to_vec().into())
}

/// The shared secret of two keys; ERR_ANONNET_KEY_INVALID for a public key of small order.
#[napi(catch_unwind)]
pub fn x25519_agree(secret: &[u8], public_key: &[u8]) -> Result<Buffer> {
    let secret = CircuitKey::from_bytes(&array(secret, "secret")?);
    let shared = secret.agree(&array(public_key, "publicKey")?).map_err(thrown)?;
    Ok(shared.to_vec().into())
}

/// Seals a record with a key that may seal many: salt[32] | nonce[12] | ciphertext | tag[16].
#[napi(catch_unwind)]
pub fn seal_record(key: &[u8], purpose: String, plaintext: &[u8]) -> Result<Buffer> {
    records::seal(array(key, "key")?, &purpose, plaintext)
        .map(Into::into)
        .map_err(thrown)
}

/// Opens a sealed record; ERR_ANONNET_RECORD_INVALID where it does not.
#[napi(catch_unwind)]
pub fn open_record(key: &[u8], purpose: String, record: &[u8]) -> Result<Buffer> {
    records::open(array(key, "key")?, &purpose, record).map(Into::into).map_err(thrown)
}

/// Whether a nonce (16 bytes) solves a service's puzzle; takes about a millisecond.
#[napi(catch_unwind)]
pub fn pow_verify(seed: &[u8], blinded: &[u8], nonce: &[u8], effort: u32) -> Result<bool> {
    let (seed, blinded, nonce) = (array(seed, "seed")?, array(blinded, "blinded")?, array(nonce, "nonce")?);
    Ok(Pow::new(&seed, &blinded, effort).is_ok_and(|mut pow| pow.check(&nonce)))
}

/// What a client knows of an introduction point: from the service's descriptor.
#[napi(object, object_to_js = false)]
pub struct NativeIntroduction {
    pub auth_key: Uint8Array,
    pub onion_key: Uint8Array,
    pub kem_key: Uint8Array,
    pub subcredential: Uint8Array,
}

#[napi]
impl NativeNode {
    /// Solves a service's puzzle. `opOk.bytes`: the nonce. An effort of 1 to 65,536.
    #[napi(catch_unwind)]
    pub fn pow_solve(&self, op: u32, seed: &[u8], blinded: &[u8], effort: u32) -> Result<()> {
        let (seed, blinded) = (array(seed, "seed")?, array(blinded, "blinded")?);
        self.node.pow_solve(op, seed, blinded, effort).map_err(thrown)
    }

    /// Makes the last hop of a circuit a rendezvous point, waiting for that cookie (20 bytes).
    #[napi(catch_unwind)]
    pub fn establish_rendezvous(&self, op: u32, circuit: u32, cookie: &[u8], timeout_ms: u32) -> Result<()> {
        let cookie = array(cookie, "cookie")?;
        self.node
            .establish_rendezvous(op, circuit, cookie, milliseconds(timeout_ms))
            .map_err(thrown)
    }

    /// Introduces this client to a service, whose answer `rendCircuit` waits for. The payload has 800 bytes at most.
    #[napi(catch_unwind)]
    pub fn introduce(
        &self,
        op: u32,
        intro_circuit: u32,
        rend_circuit: u32,
        to: NativeIntroduction,
        payload: &[u8],
        timeout_ms: u32,
    ) -> Result<()> {
        let to = IntroduceTo {
            auth_key: array(&to.auth_key, "authKey")?,
            onion_key: array(&to.onion_key, "onionKey")?,
            kem_key: Box::new(array(&to.kem_key, "kemKey")?),
            subcredential: array(&to.subcredential, "subcredential")?,
        };
        self.node
            .introduce(op, intro_circuit, rend_circuit, to, payload.to_vec(), milliseconds(timeout_ms))
            .map_err(thrown)
    }

    /// Answered when the service is at the other end of the circuit; `connect` with an empty host then opens its ports.
    #[napi(catch_unwind)]
    pub fn await_rendezvous(&self, op: u32, rend_circuit: u32, timeout_ms: u32) -> Result<()> {
        self.node
            .await_rendezvous(op, rend_circuit, milliseconds(timeout_ms))
            .map_err(thrown)
    }

    /// Makes the last hop of a circuit an introduction point. `opOk.bytes`: authKey[32] | onionKey[32] | kemKey[1184].
    #[napi(catch_unwind)]
    pub fn establish_intro(&self, op: u32, circuit: u32, timeout_ms: u32) -> Result<()> {
        self.node.establish_intro(op, circuit, milliseconds(timeout_ms)).map_err(thrown)
    }

    /// The subcredentials (32 bytes each, 4 at most) of the periods that are current; `false` where there is no such circuit.
    #[napi(catch_unwind)]
    pub fn set_intro_subcredentials(&self, circuit: u32, subcredentials: Vec<Uint8Array>) -> Result<bool> {
        let subcredentials = subcredentials
            .iter()
            .map(|bytes| array(bytes, "subcredential"))
            .collect::<Result<Vec<_>>>()?;
        self.node.set_intro_subcredentials(circuit, subcredentials).map_err(thrown)
    }

    /// Answers an introduction over a circuit to the client's rendezvous point; the circuit then carries the client's streams.
    #[napi(catch_unwind)]
    pub fn accept_rendezvous(&self, op: u32, request: u32, rend_circuit: u32, cookie: &[u8], timeout_ms: u32) -> Result<()> {
        let cookie = array(cookie, "cookie")?;
        self.node
            .accept_rendezvous(op, request, rend_circuit, cookie, milliseconds(timeout_ms))
            .map_err(thrown)
    }

    /// Forgets an introduction.
    #[napi(catch_unwind)]
    pub fn drop_introduction(&self, request: u32) -> bool {
        self.node.drop_introduction(request)
    }

    /// Accepts an incoming stream, which is then read and written as any other.
    #[napi(catch_unwind)]
    pub fn accept_stream(&self, stream: u32) -> bool {
        self.node.accept_stream(stream)
    }

    /// Connects an incoming stream with a TCP target; answered once connected. The copying never passes through JavaScript.
    #[napi(catch_unwind)]
    pub fn forward_stream(&self, op: u32, stream: u32, target: String) -> Result<()> {
        self.node.forward_stream(op, stream, address(&target)?).map_err(thrown)
    }

    /// Refuses an incoming stream with a code of the registry.
    #[napi(catch_unwind)]
    pub fn refuse_stream(&self, stream: u32, code: String) -> Result<bool> {
        let kind = ErrorKind::from_code(&code).ok_or_else(|| invalid("code"))?;
        Ok(self.node.refuse_stream(stream, kind))
    }
}
