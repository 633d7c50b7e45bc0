//! TLS 1.3 with raw public keys: the node's Ed25519 key is its certificate.

use std::{
    fmt,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
};

use anonnet_crypto::keys::{IdentityKey, IdentityPublic, NodeId};
use quinn::crypto::rustls::{QuicClientConfig, QuicServerConfig};
use rustls::{
    CertificateError, DigitallySignedStruct, Error, PeerIncompatible, SignatureAlgorithm, SignatureScheme,
    client::{
        Resumption,
        danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier},
    },
    crypto::{CryptoProvider, GetRandomFailed, KeyProvider, SecureRandom, WebPkiSupportedAlgorithms, ring},
    pki_types::{CertificateDer, PrivateKeyDer, ServerName, SubjectPublicKeyInfoDer, UnixTime},
    server::{AlwaysResolvesServerRawPublicKeys, NoServerSessionStorage},
    sign::{CertifiedKey, Signer, SigningKey},
    version::TLS13,
};

use super::{
    caught::{Caught, caught},
    kx::X25519_MLKEM768,
};
use crate::error::TransportError;

/// What every dialler asks for. It is not sent (SNI is off), and the same for all, so that it tells nothing.
pub(crate) const SERVER_NAME: &str = "anonnet";

/// DER of an Ed25519 SubjectPublicKeyInfo, up to the 32 bytes of the key.
const SPKI_PREFIX: [u8; 12] = [0x30, 0x2a, 0x30, 0x05, 0x06, 0x03, 0x2b, 0x65, 0x70, 0x03, 0x21, 0x00];

static KEY_EXCHANGE: Caught = Caught(X25519_MLKEM768);

/// ring's AES-GCM with our one key exchange, and nothing else of it: what the provider does not name, the linker leaves out. (Initial packets
/// are always AES-128; with every node preferring AES-256 the third suite of TLS 1.3 would never be chosen.)
pub(crate) fn provider() -> Arc<CryptoProvider> {
    Arc::new(CryptoProvider {
        cipher_suites: vec![
            ring::cipher_suite::TLS13_AES_256_GCM_SHA384,
            ring::cipher_suite::TLS13_AES_128_GCM_SHA256,
        ],
        kx_groups: vec![&KEY_EXCHANGE],
        signature_verification_algorithms: WebPkiSupportedAlgorithms { all: &[], mapping: &[] },
        secure_random: &SystemRandom,
        key_provider: &NoKeyFiles,
    })
}

/// The system's randomness.
#[derive(Debug)]
struct SystemRandom;

impl SecureRandom for SystemRandom {
    fn fill(&self, buffer: &mut [u8]) -> Result<(), GetRandomFailed> {
        getrandom::fill(buffer).map_err(|_| GetRandomFailed)
    }
}

/// Keys come from the key store, never through TLS.
#[derive(Debug)]
struct NoKeyFiles;

impl KeyProvider for NoKeyFiles {
    fn load_private_key(&self, _: PrivateKeyDer<'static>) -> Result<Arc<dyn SigningKey>, Error> {
        Err(Error::General("keys are not loaded here".into()))
    }
}

fn spki(key: &IdentityPublic) -> [u8; 44] {
    let mut der = [0; 44];
    for (to, from) in der.iter_mut().zip(SPKI_PREFIX.iter().chain(key.as_bytes())) {
        *to = *from;
    }
    der
}

/// The key in a SubjectPublicKeyInfo, if that is the one encoding of an Ed25519 key.
pub(crate) fn key_of(der: &[u8]) -> Option<IdentityPublic> {
    let (prefix, key) = der.split_last_chunk::<32>()?;
    if prefix != SPKI_PREFIX {
        return None;
    }
    IdentityPublic::from_bytes(key).ok()
}

/// How a listener speaks TLS.
pub(crate) fn server(identity: &Arc<IdentityKey>, alpn: &[u8]) -> Result<QuicServerConfig, TransportError> {
    let der = spki(&identity.public());
    let key = NodeKey {
        identity: Arc::clone(identity),
        spki: der,
    };
    server_with(Arc::new(key), &der, provider(), alpn)
}

/// As [`server`], with any key and any provider: tests lie with it.
pub(crate) fn server_with(
    key: Arc<dyn SigningKey>,
    der: &[u8],
    provider: Arc<CryptoProvider>,
    alpn: &[u8],
) -> Result<QuicServerConfig, TransportError> {
    let certified = CertifiedKey::new(vec![CertificateDer::from(der.to_vec())], key);
    let mut config = rustls::ServerConfig::builder_with_provider(provider)
        .with_protocol_versions(&[&TLS13])
        .map_err(|_| TransportError::Internal("tls version"))?
        .with_no_client_auth()
        .with_cert_resolver(Arc::new(AlwaysResolvesServerRawPublicKeys::new(Arc::new(certified))));
    config.alpn_protocols = vec![alpn.to_vec()];
    // Nothing that would tie two connections of a client to each other.
    config.session_storage = Arc::new(NoServerSessionStorage {});
    config.send_tls13_tickets = 0;
    config.max_early_data_size = 0;
    QuicServerConfig::try_from(config).map_err(|_| TransportError::Internal("tls suite"))
}

/// How a dialler that wants `node_id` speaks TLS; the flag tells afterwards that somebody else answered.
pub(crate) fn client(
    node_id: NodeId,
    provider: Arc<CryptoProvider>,
    alpn: &[u8],
) -> Result<(QuicClientConfig, Arc<AtomicBool>), TransportError> {
    let (config, refused) = client_config(node_id, provider, alpn)?;
    let config = QuicClientConfig::try_from(config).map_err(|_| TransportError::Internal("tls suite"))?;
    Ok((config, refused))
}

/// The same, before QUIC takes it: tests change it.
pub(crate) fn client_config(
    node_id: NodeId,
    provider: Arc<CryptoProvider>,
    alpn: &[u8],
) -> Result<(rustls::ClientConfig, Arc<AtomicBool>), TransportError> {
    let refused = Arc::new(AtomicBool::new(false));
    let verifier = OneNode {
        node_id,
        refused: Arc::clone(&refused),
    };
    let mut config = rustls::ClientConfig::builder_with_provider(provider)
        .with_protocol_versions(&[&TLS13])
        .map_err(|_| TransportError::Internal("tls version"))?
        .dangerous()
        .with_custom_certificate_verifier(Arc::new(verifier))
        .with_no_client_auth();
    config.alpn_protocols = vec![alpn.to_vec()];
    config.enable_sni = false;
    config.resumption = Resumption::disabled();
    config.enable_early_data = false;
    Ok((config, refused))
}

/// Our identity as rustls wants to see it; the secret stays where it is.
struct NodeKey {
    identity: Arc<IdentityKey>,
    spki: [u8; 44],
}

impl fmt::Debug for NodeKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("NodeKey").finish_non_exhaustive()
    }
}

impl SigningKey for NodeKey {
    fn choose_scheme(&self, offered: &[SignatureScheme]) -> Option<Box<dyn Signer>> {
        offered.contains(&SignatureScheme::ED25519).then(|| {
            Box::new(Self {
                identity: Arc::clone(&self.identity),
                spki: self.spki,
            }) as Box<dyn Signer>
        })
    }

    fn public_key(&self) -> Option<SubjectPublicKeyInfoDer<'_>> {
        Some(SubjectPublicKeyInfoDer::from(self.spki.as_slice()))
    }

    fn algorithm(&self) -> SignatureAlgorithm {
        SignatureAlgorithm::ED25519
    }
}

impl Signer for NodeKey {
    fn sign(&self, message: &[u8]) -> Result<Vec<u8>, Error> {
        caught(|| Ok(self.identity.sign(message).to_vec()))
    }

    fn scheme(&self) -> SignatureScheme {
        SignatureScheme::ED25519
    }
}

/// Accepts the key of one node and no other.
#[derive(Debug)]
struct OneNode {
    node_id: NodeId,
    refused: Arc<AtomicBool>,
}

impl OneNode {
    fn refuse(&self, error: CertificateError) -> Error {
        self.refused.store(true, Ordering::Release);
        error.into()
    }
}

impl ServerCertVerifier for OneNode {
    fn verify_server_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        _server_name: &ServerName<'_>,
        _ocsp_response: &[u8],
        _now: UnixTime,
    ) -> Result<ServerCertVerified, Error> {
        caught(|| match key_of(end_entity) {
            Some(key) if intermediates.is_empty() && key.node_id() == self.node_id => Ok(ServerCertVerified::assertion()),
            Some(_) => Err(self.refuse(CertificateError::ApplicationVerificationFailure)),
            None => Err(self.refuse(CertificateError::BadEncoding)),
        })
    }

    fn verify_tls12_signature(
        &self,
        _: &[u8],
        _: &CertificateDer<'_>,
        _: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        Err(PeerIncompatible::Tls12NotOffered.into())
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        let valid = caught(|| {
            Ok(match (key_of(cert), <&[u8; 64]>::try_from(dss.signature())) {
                // The key is looked at again: that it is the right one must not hang on the order in which rustls calls.
                (Some(key), Ok(signature)) => key.node_id() == self.node_id && key.verify(message, signature).is_ok(),
                _ => false,
            })
        });
        if dss.scheme == SignatureScheme::ED25519 && valid? {
            Ok(HandshakeSignatureValid::assertion())
        } else {
            Err(self.refuse(CertificateError::BadSignature))
        }
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        vec![SignatureScheme::ED25519]
    }

    fn requires_raw_public_keys(&self) -> bool {
        true
    }
}
