use std::sync::Arc;

use anonnet_crypto::keys::IdentityKey;
use quinn::{ConnectionError, TransportErrorCode};
use rustls::{
    Error, SignatureAlgorithm, SignatureScheme,
    crypto::{CryptoProvider, ring},
    pki_types::SubjectPublicKeyInfoDer,
    sign::{Signer, SigningKey},
};
use tokio::net::UdpSocket;

use super::{client, connect_client, identity, loopback, node, raw_client, raw_connect, raw_server, serve, within};
use crate::{
    CloseReason, DialRole, Link, Transport, TransportError,
    quic::{QuicTransport, tls},
};

/// A node's key that does its work wrong.
#[derive(Clone)]
struct Liar {
    claims: Vec<u8>,
    signs_with: Arc<IdentityKey>,
    damage: bool,
    scheme: SignatureScheme,
}

impl std::fmt::Debug for Liar {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Liar")
    }
}

impl SigningKey for Liar {
    fn choose_scheme(&self, _: &[SignatureScheme]) -> Option<Box<dyn Signer>> {
        Some(Box::new(self.clone()))
    }

    fn public_key(&self) -> Option<SubjectPublicKeyInfoDer<'_>> {
        Some(SubjectPublicKeyInfoDer::from(self.claims.as_slice()))
    }

    fn algorithm(&self) -> SignatureAlgorithm {
        SignatureAlgorithm::ED25519
    }
}

impl Signer for Liar {
    fn sign(&self, message: &[u8]) -> Result<Vec<u8>, Error> {
        let mut signature = self.signs_with.sign(message).to_vec();
        if self.damage {
            signature[40] ^= 1;
        }
        Ok(signature)
    }

    fn scheme(&self) -> SignatureScheme {
        self.scheme
    }
}

fn spki(key: &IdentityKey) -> Vec<u8> {
    let mut der = vec![0x30, 0x2a, 0x30, 0x05, 0x06, 0x03, 0x2b, 0x65, 0x70, 0x03, 0x21, 0x00];
    der.extend_from_slice(key.public().as_bytes());
    der
}

/// Dials a listener that presents `claims` and signs as told, wanting the node that `wanted` is.
async fn dial_liar(wanted: &IdentityKey, liar: Liar) -> Result<crate::QuicLink, TransportError> {
    let der = liar.claims.clone();
    let (endpoint, address) = raw_server(tls::server_with(Arc::new(liar), &der, tls::provider(), crate::ALPN).unwrap());
    serve(&endpoint);
    within(client().dial(wanted.public().node_id(), address, DialRole::Client)).await
}

#[tokio::test]
async fn a_raw_key_needs_the_right_signature() {
    let wanted = identity();
    let honest = Liar {
        claims: spki(&wanted),
        signs_with: Arc::clone(&wanted),
        damage: false,
        scheme: SignatureScheme::ED25519,
    };
    // The harness itself is sound: nobody accepts, but the handshake succeeds.
    let link = dial_liar(&wanted, honest.clone()).await.unwrap();
    assert_eq!(link.peer(), Some(wanted.public().node_id()));

    let thief = Liar {
        signs_with: identity(),
        ..honest.clone()
    };
    assert_eq!(dial_liar(&wanted, thief).await.unwrap_err(), TransportError::Identity);
    let damaged = Liar {
        damage: true,
        ..honest.clone()
    };
    assert_eq!(dial_liar(&wanted, damaged).await.unwrap_err(), TransportError::Identity);
    let other = identity();
    let somebody_else = Liar {
        claims: spki(&other),
        signs_with: other,
        ..honest.clone()
    };
    assert_eq!(dial_liar(&wanted, somebody_else).await.unwrap_err(), TransportError::Identity);
    // A scheme that was not offered is refused by rustls, before anybody looks at the signature.
    let scheme = Liar {
        scheme: SignatureScheme::ECDSA_NISTP256_SHA256,
        ..honest
    };
    assert!(matches!(
        dial_liar(&wanted, scheme).await.unwrap_err(),
        TransportError::Protocol(_) | TransportError::Identity
    ));
}

#[tokio::test]
async fn a_key_in_another_encoding_is_refused() {
    let wanted = identity();
    let honest = Liar {
        claims: spki(&wanted),
        signs_with: Arc::clone(&wanted),
        damage: false,
        scheme: SignatureScheme::ED25519,
    };
    for change in [
        |der: &mut Vec<u8>| der.push(0),
        |der: &mut Vec<u8>| der.truncate(43),
        |der: &mut Vec<u8>| der.clear(),
        |der: &mut Vec<u8>| der[8] = 0x6e, // X25519's OID
    ] {
        let mut claims = spki(&wanted);
        change(&mut claims);
        let error = dial_liar(&wanted, Liar { claims, ..honest.clone() }).await.unwrap_err();
        assert!(matches!(error, TransportError::Identity | TransportError::Protocol(_)), "{error}");
    }
}

#[tokio::test]
async fn the_wrong_node_is_refused() {
    let node = node();
    let dialled = within(client().dial(super::node().id, node.address, DialRole::Client)).await;
    assert_eq!(dialled.unwrap_err(), TransportError::Identity);
    let dialled = within(super::node().transport.dial(super::node().id, node.address, DialRole::Node)).await;
    assert_eq!(dialled.unwrap_err(), TransportError::Identity);
}

fn classical() -> Arc<CryptoProvider> {
    let mut provider = (*tls::provider()).clone();
    provider.kx_groups = vec![ring::kx_group::X25519, ring::kx_group::SECP256R1];
    Arc::new(provider)
}

#[tokio::test]
async fn a_classical_only_server_is_refused() {
    let key = identity();
    let liar = Liar {
        claims: spki(&key),
        signs_with: Arc::clone(&key),
        damage: false,
        scheme: SignatureScheme::ED25519,
    };
    let tls = tls::server_with(Arc::new(liar), &spki(&key), classical(), crate::ALPN).unwrap();
    let (endpoint, address) = raw_server(tls);
    serve(&endpoint);
    let dialled = within(client().dial(key.public().node_id(), address, DialRole::Client)).await;
    assert_eq!(dialled.unwrap_err(), TransportError::Downgrade);
}

#[tokio::test]
async fn a_classical_only_client_is_refused() {
    let node = node();
    let error = raw_connect(node.address, tls::client(node.id, classical(), crate::ALPN).unwrap().0)
        .await
        .map(|_| ())
        .unwrap_err();
    assert!(
        matches!(&error, ConnectionError::ConnectionClosed(close) if close.error_code == TransportErrorCode::crypto(40)),
        "{error:?}"
    );
    // Nothing came out of it, and the next honest one does.
    let (_dialled, accepted) = connect_client(&client(), &node).await;
    assert_eq!(accepted.peer(), None);
}

#[tokio::test]
async fn another_protocol_is_refused() {
    let node = node();
    let mut config = tls::client_config(node.id, tls::provider(), crate::ALPN).unwrap().0;
    config.alpn_protocols = vec![b"h3".to_vec()];
    let tls = config.try_into().unwrap();
    let error = raw_connect(node.address, tls).await.map(|_| ()).unwrap_err();
    assert!(
        matches!(&error, ConnectionError::ConnectionClosed(close) if close.error_code == TransportErrorCode::crypto(120)),
        "{error:?}"
    );
    connect_client(&client(), &node).await;
}

#[tokio::test]
async fn random_datagrams_do_no_harm() {
    let node = node();
    let socket = UdpSocket::bind(loopback()).await.unwrap();
    let mut seed = 0x9e37_79b9_7f4a_7c15u64;
    let mut next = || {
        seed ^= seed << 13;
        seed ^= seed >> 7;
        seed ^= seed << 17;
        seed
    };
    for round in 0..2_000u64 {
        let length = (next() % 1_500) as usize;
        let mut datagram: Vec<u8> = (0..length).map(|_| next() as u8).collect();
        if round % 3 == 0 && length > 6 {
            // Looks like an Initial of version 1, as far as it goes.
            datagram[0] = 0xc0 | (datagram[0] & 0x0f);
            datagram[1..5].copy_from_slice(&[0, 0, 0, 1]);
            datagram[5] = 8;
        }
        socket.send_to(&datagram, node.address).await.unwrap();
        if round % 100 == 0 {
            tokio::task::yield_now().await;
        }
    }
    let (dialled, accepted) = connect_client(&client(), &node).await;
    assert_eq!((dialled.close_reason(), accepted.close_reason()), (None, None));
}

/// What the listener makes of a first stream with these bytes: the raw connection's end.
async fn first_bytes(bytes: &[u8], finish: bool) -> (super::Node, ConnectionError) {
    let node = node();
    let (_endpoint, connection) = raw_client(&node).await;
    let (mut send, _recv) = connection.open_bi().await.unwrap();
    send.write_all(bytes).await.unwrap();
    if finish {
        send.finish().unwrap();
    }
    let error = within(connection.closed()).await;
    (node, error)
}

#[tokio::test]
async fn garbage_on_the_control_stream_ends_the_link() {
    let mut hello = vec![0x01];
    hello.extend_from_slice(&[0xaa; 64]);
    // Not a key (or one whose proof never comes and is cut short), cut short, no such type.
    for (bytes, finish) in [
        (&hello[..], true),
        (&hello[..30], true),
        (&[0x00][..], false),
        (&[0x04][..], false),
        (&[0xff; 100][..], false),
    ] {
        let (node, error) = first_bytes(bytes, finish).await;
        assert!(matches!(error, ConnectionError::ApplicationClosed(_)), "{error:?}");
        connect_client(&client(), &node).await;
    }
}

#[tokio::test]
async fn a_client_cannot_become_a_node_later() {
    for late in [0x01, 0x04] {
        let node = node();
        let (_endpoint, connection) = raw_client(&node).await;
        let (mut send, _recv) = connection.open_bi().await.unwrap();
        send.write_all(&[0x02, 1, 2, 3]).await.unwrap();
        let accepted = within(node.transport.accept()).await.unwrap();
        let (mut send, _recv) = connection.open_bi().await.unwrap();
        send.write_all(&[late; 65]).await.unwrap();
        assert_eq!(within(accepted.closed()).await, CloseReason::Protocol);
        assert!(matches!(within(connection.closed()).await, ConnectionError::ApplicationClosed(_)));
    }
}

#[tokio::test]
async fn a_node_dials_itself_in_vain() {
    let node = node();
    let dialled = within(node.transport.dial(node.id, node.address, DialRole::Node)).await;
    assert_eq!(dialled.unwrap_err(), TransportError::Refused);
    let config = crate::QuicConfig::client();
    assert!(format!("{config:?}").contains("listens: false"));
    drop(QuicTransport::bind(config).unwrap());
}

#[tokio::test]
async fn nobody_resumes_and_nothing_comes_early() {
    // A dialler that would gladly resume and send early data is given nothing to do it with.
    let node = node();
    let mut config = tls::client_config(node.id, tls::provider(), crate::ALPN).unwrap().0;
    config.resumption = rustls::client::Resumption::default();
    config.enable_early_data = true;
    let tls: Arc<quinn::crypto::rustls::QuicClientConfig> = Arc::new(config.try_into().unwrap());
    let endpoint = crate::quic::socket::endpoint(loopback(), None, None).unwrap();
    for _ in 0..2 {
        let connecting = endpoint
            .connect_with(quinn::ClientConfig::new(tls.clone()), node.address, tls::SERVER_NAME)
            .unwrap();
        let connecting = connecting.into_0rtt().map(|_| ()).expect_err("no ticket, no early data");
        let connection = within(connecting).await.unwrap();
        let (mut send, _recv) = connection.open_bi().await.unwrap();
        send.write_all(&[0x02, 1]).await.unwrap();
        let accepted = within(node.transport.accept()).await.unwrap();
        within(accepted.accept()).await.unwrap();
        assert_eq!(
            connection.stats().frame_rx.new_token,
            0,
            "nor a token that would show it as the same one"
        );
        connection.close(0u32.into(), b"");
    }
}

#[tokio::test]
async fn a_client_presents_nothing() {
    let key = identity();
    let (endpoint, address) = raw_server(tls::server(&key, crate::ALPN).unwrap());
    let seen = tokio::spawn(async move {
        let connection = endpoint.accept().await.unwrap().await.unwrap();
        let data = connection
            .handshake_data()
            .unwrap()
            .downcast::<quinn::crypto::rustls::HandshakeData>()
            .unwrap();
        (connection.peer_identity().is_some(), data.server_name, data.protocol)
    });
    let _link = within(client().dial(key.public().node_id(), address, DialRole::Client))
        .await
        .unwrap();
    assert_eq!(within(seen).await.unwrap(), (false, None, Some(b"anonnet/1".to_vec())));
}
