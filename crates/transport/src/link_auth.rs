//! How two nodes prove their identities to each other over a fresh link, without I/O.
//!
//! ```text
//! dialler  -> listener   nonce_a[32] | dialler's key[32]
//! listener -> dialler    nonce_b[32] | signature[64]
//! dialler  -> listener   signature[64]
//! ```
//! Both sign the role, both ids, both nonces and the exporter of the TLS session: a signature is worth nothing on another link,
//! for another pair, in the other direction, or a second time.

use anonnet_crypto::keys::{IdentityKey, IdentityPublic, NodeId};

use crate::error::TransportError;

const DOMAIN: &[u8] = b"anonnet:1:link-auth";

/// The label under which TLS exports the bytes that tie a proof to a link.
pub(crate) const EXPORTER_LABEL: &[u8] = b"EXPORTER-anonnet-1-link";

/// Bytes of the dialler's first message.
pub(crate) const HELLO_LEN: usize = 64;
/// Bytes of the listener's answer.
pub(crate) const REPLY_LEN: usize = 96;
/// Bytes of the dialler's proof.
pub(crate) const PROOF_LEN: usize = 64;

/// Whose signature it is.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Role {
    Dialler = 1,
    Listener = 2,
}

/// What both sides know when they sign.
#[derive(Clone, Debug)]
pub(crate) struct Transcript {
    pub(crate) dialler: NodeId,
    pub(crate) listener: NodeId,
    pub(crate) nonce_a: [u8; 32],
    pub(crate) nonce_b: [u8; 32],
    pub(crate) exporter: [u8; 32],
}

impl Transcript {
    /// The bytes that the given side signs.
    pub(crate) fn message(&self, role: Role) -> Vec<u8> {
        let mut message = Vec::with_capacity(8 + DOMAIN.len() + 1 + 5 * 32);
        message.extend_from_slice(&(DOMAIN.len() as u64).to_be_bytes());
        message.extend_from_slice(DOMAIN);
        message.push(role as u8);
        for part in [&self.dialler.0, &self.listener.0, &self.nonce_a, &self.nonce_b, &self.exporter] {
            message.extend_from_slice(part);
        }
        message
    }
}

/// The dialler's side, between its two messages.
pub(crate) struct DiallerAuth {
    identity: std::sync::Arc<IdentityKey>,
    listener: IdentityPublic,
    nonce: [u8; 32],
    exporter: [u8; 32],
}

impl DiallerAuth {
    /// Starts towards the listener whose key TLS has verified.
    pub(crate) fn start(
        identity: std::sync::Arc<IdentityKey>,
        listener: IdentityPublic,
        nonce: [u8; 32],
        exporter: [u8; 32],
    ) -> (Self, [u8; HELLO_LEN]) {
        let mut hello = [0; HELLO_LEN];
        for (to, from) in hello.iter_mut().zip(nonce.iter().chain(identity.public().as_bytes())) {
            *to = *from;
        }
        (
            Self {
                identity,
                listener,
                nonce,
                exporter,
            },
            hello,
        )
    }

    /// Checks the listener's proof and makes ours.
    pub(crate) fn finish(self, reply: &[u8; REPLY_LEN]) -> Result<[u8; PROOF_LEN], TransportError> {
        let (nonce_b, signature) = split::<32, 64, REPLY_LEN>(reply)?;
        let transcript = Transcript {
            dialler: self.identity.public().node_id(),
            listener: self.listener.node_id(),
            nonce_a: self.nonce,
            nonce_b,
            exporter: self.exporter,
        };
        self.listener
            .verify(&transcript.message(Role::Listener), &signature)
            .map_err(|_| TransportError::Identity)?;
        Ok(self.identity.sign(&transcript.message(Role::Dialler)))
    }
}

/// The listener's side, between its message and the dialler's proof.
pub(crate) struct ListenerAuth {
    dialler: IdentityPublic,
    transcript: Transcript,
}

impl ListenerAuth {
    /// Answers a dialler's first message.
    pub(crate) fn start(
        identity: &IdentityKey,
        hello: &[u8; HELLO_LEN],
        nonce: [u8; 32],
        exporter: [u8; 32],
    ) -> Result<(Self, [u8; REPLY_LEN]), TransportError> {
        let (nonce_a, key) = split::<32, 32, HELLO_LEN>(hello)?;
        let dialler = IdentityPublic::from_bytes(&key).map_err(|_| TransportError::Identity)?;
        let listener = identity.public().node_id();
        if dialler.node_id() == listener {
            return Err(TransportError::Protocol("a link to itself"));
        }
        let transcript = Transcript {
            dialler: dialler.node_id(),
            listener,
            nonce_a,
            nonce_b: nonce,
            exporter,
        };
        let signature = identity.sign(&transcript.message(Role::Listener));
        let mut reply = [0; REPLY_LEN];
        for (to, from) in reply.iter_mut().zip(nonce.iter().chain(&signature)) {
            *to = *from;
        }
        Ok((Self { dialler, transcript }, reply))
    }

    /// Checks the dialler's proof: its identity, at last.
    pub(crate) fn finish(self, proof: &[u8; PROOF_LEN]) -> Result<NodeId, TransportError> {
        self.dialler
            .verify(&self.transcript.message(Role::Dialler), proof)
            .map_err(|_| TransportError::Identity)?;
        Ok(self.transcript.dialler)
    }
}

/// The first `A` and the last `B` bytes of `A + B`.
fn split<const A: usize, const B: usize, const N: usize>(bytes: &[u8; N]) -> Result<([u8; A], [u8; B]), TransportError> {
    match (bytes.first_chunk::<A>(), bytes.last_chunk::<B>()) {
        (Some(first), Some(last)) if A + B == N => Ok((*first, *last)),
        _ => Err(TransportError::Internal("lengths")),
    }
}
