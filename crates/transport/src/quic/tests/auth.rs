use std::sync::Arc;

use quinn::{Connection, RecvStream, SendStream};

use super::{Node, connect, identity, node, raw_client, raw_server, within};
use crate::{
    CloseReason, DialRole, Link, Transport, TransportError,
    link_auth::{EXPORTER_LABEL, HELLO_LEN, ListenerAuth, PROOF_LEN, REPLY_LEN, Role, Transcript},
    quic::{auth, tls},
};

async fn control(connection: &Connection, hello: &[u8; HELLO_LEN]) -> (SendStream, RecvStream) {
    let (mut send, recv) = connection.open_bi().await.unwrap();
    send.write_all(&[&[0x01], hello.as_slice()].concat()).await.unwrap();
    (send, recv)
}

fn exporter(connection: &Connection) -> [u8; 32] {
    let mut exporter = [0; 32];
    connection.export_keying_material(&mut exporter, EXPORTER_LABEL, b"").unwrap();
    exporter
}

async fn refused(node: &Node, connection: &Connection) {
    assert!(matches!(
        within(connection.closed()).await,
        quinn::ConnectionError::ApplicationClosed(_)
    ));
    // The next link that comes out is another one.
    let other = super::node();
    let (_dialled, accepted) = connect(&other.transport, node, DialRole::Node).await;
    assert_eq!(accepted.peer(), Some(other.id));
}

#[tokio::test]
async fn a_proof_made_for_another_node_is_refused() {
    // A dials M; M passes everything on to B, hoping to be A there.
    let (b, m_key) = (node(), identity());
    let a = node();
    let (m_endpoint, m_address) = raw_server(tls::server(&m_key, crate::ALPN).unwrap());
    let m_id = m_key.public().node_id();
    let dial = tokio::spawn({
        let a = a.transport.clone();
        async move { a.dial(m_id, m_address, DialRole::Node).await }
    });
    let from_a = within(m_endpoint.accept()).await.unwrap().await.unwrap();
    let (mut a_send, mut a_recv) = within(from_a.accept_bi()).await.unwrap();
    let mut first = [0; 1 + HELLO_LEN];
    within(a_recv.read_exact(&mut first)).await.unwrap();

    let (_endpoint, to_b) = raw_client(&b).await;
    let (mut b_send, mut b_recv) = control(&to_b, first.last_chunk().unwrap()).await;
    let mut reply = [0; REPLY_LEN];
    within(b_recv.read_exact(&mut reply)).await.unwrap();

    // B's own proof is worth nothing at A's ...
    let nonce_b = *reply.first_chunk::<32>().unwrap();
    let (_, ours) = ListenerAuth::start(&m_key, first.last_chunk().unwrap(), nonce_b, exporter(&from_a)).unwrap();
    assert_ne!(ours, reply);
    // ... so M gives its own with B's nonce, gets A's proof, and passes that on.
    a_send.write_all(&ours).await.unwrap();
    let mut proof = [0; PROOF_LEN];
    within(a_recv.read_exact(&mut proof)).await.unwrap();
    b_send.write_all(&proof).await.unwrap();
    refused(&b, &to_b).await;
    assert!(dial.await.unwrap().is_ok(), "A has a link with M, as it wanted");
}

#[tokio::test]
async fn a_listeners_proof_passed_on_is_refused_by_the_dialler() {
    let (b, m_key) = (node(), identity());
    let a = node();
    let (m_endpoint, m_address) = raw_server(tls::server(&m_key, crate::ALPN).unwrap());
    let m_id = m_key.public().node_id();
    let dial = tokio::spawn({
        let a = a.transport.clone();
        async move { a.dial(m_id, m_address, DialRole::Node).await }
    });
    let from_a = within(m_endpoint.accept()).await.unwrap().await.unwrap();
    let (mut a_send, mut a_recv) = within(from_a.accept_bi()).await.unwrap();
    let mut first = [0; 1 + HELLO_LEN];
    within(a_recv.read_exact(&mut first)).await.unwrap();
    let (_endpoint, to_b) = raw_client(&b).await;
    let (_send, mut b_recv) = control(&to_b, first.last_chunk().unwrap()).await;
    let mut reply = [0; REPLY_LEN];
    within(b_recv.read_exact(&mut reply)).await.unwrap();
    a_send.write_all(&reply).await.unwrap();
    assert_eq!(within(dial).await.unwrap().unwrap_err(), TransportError::Identity);
}

#[tokio::test]
async fn a_recorded_proof_is_refused() {
    let (key, b) = (identity(), node());
    let b_key = tls_key(&b).await;
    let (_endpoint, first) = raw_client(&b).await;
    let (auth, hello) = crate::link_auth::DiallerAuth::start(Arc::clone(&key), b_key, [7; 32], exporter(&first));
    let (mut send, mut recv) = control(&first, &hello).await;
    let mut reply = [0; REPLY_LEN];
    within(recv.read_exact(&mut reply)).await.unwrap();
    let proof = auth.finish(&reply).unwrap();
    send.write_all(&proof).await.unwrap();
    let accepted = within(b.transport.accept()).await.unwrap();
    assert_eq!(accepted.peer(), Some(key.public().node_id()), "what is recorded is good");

    let (_endpoint, second) = raw_client(&b).await;
    let (mut send, mut recv) = control(&second, &hello).await;
    within(recv.read_exact(&mut reply)).await.unwrap();
    send.write_all(&proof).await.unwrap();
    refused(&b, &second).await;
}

/// The key under which a node listens.
async fn tls_key(node: &Node) -> anonnet_crypto::keys::IdentityPublic {
    let (_endpoint, connection) = raw_client(node).await;
    let identity = connection
        .peer_identity()
        .unwrap()
        .downcast::<Vec<rustls::pki_types::CertificateDer<'static>>>()
        .unwrap();
    tls::key_of(&identity[0]).unwrap()
}

#[tokio::test]
async fn after_the_proofs_the_control_stream_is_silent() {
    // More bytes, its end, a second one: each ends the link.
    for case in 0..3 {
        let (key, b) = (identity(), node());
        let (_endpoint, connection) = raw_client(&b).await;
        connection.set_max_concurrent_bi_streams(10u32.into());
        let mut control = auth::dial(&connection, &key).await.unwrap();
        let accepted = within(b.transport.accept()).await.unwrap();
        assert_eq!(accepted.peer(), Some(key.public().node_id()));
        let mut second = None;
        match case {
            0 => control.send.write_all(b"!").await.unwrap(),
            1 => control.send.finish().unwrap(),
            _ => {
                let (mut send, recv) = connection.open_bi().await.unwrap();
                send.write_all(&[0x01]).await.unwrap();
                second = Some((send, recv));
            }
        }
        assert_eq!(within(accepted.closed()).await, CloseReason::Protocol, "case {case}");
        drop(second);
    }
}

#[test]
fn every_part_of_the_transcript_counts() {
    let (a, b) = (identity(), identity());
    let base = Transcript {
        dialler: a.public().node_id(),
        listener: b.public().node_id(),
        nonce_a: [1; 32],
        nonce_b: [2; 32],
        exporter: [3; 32],
    };
    let message = base.message(Role::Dialler);
    assert_eq!(message.len(), 8 + 19 + 1 + 160);
    assert_eq!(&message[..28], b"\0\0\0\0\0\0\0\x13anonnet:1:link-auth\x01");
    let mut all = vec![message, base.message(Role::Listener)];
    all.push(
        Transcript {
            dialler: base.listener,
            listener: base.dialler,
            ..base.clone()
        }
        .message(Role::Dialler),
    );
    all.push(
        Transcript {
            nonce_a: [9; 32],
            ..base.clone()
        }
        .message(Role::Dialler),
    );
    all.push(
        Transcript {
            nonce_b: [9; 32],
            ..base.clone()
        }
        .message(Role::Dialler),
    );
    all.push(
        Transcript {
            exporter: [9; 32],
            ..base.clone()
        }
        .message(Role::Dialler),
    );
    let distinct: std::collections::HashSet<_> = all.iter().collect();
    assert_eq!(distinct.len(), all.len());
}

#[test]
fn the_two_sides_agree_and_any_flipped_bit_is_seen() {
    let (a, b) = (identity(), identity());
    let start = || crate::link_auth::DiallerAuth::start(Arc::clone(&a), b.public(), [1; 32], [3; 32]);
    let (dialler, hello) = start();
    let (listener, reply) = ListenerAuth::start(&b, &hello, [2; 32], [3; 32]).unwrap();
    let proof = dialler.finish(&reply).unwrap();
    assert_eq!(listener.finish(&proof).unwrap(), a.public().node_id());
    for bit in (0..REPLY_LEN * 8).step_by(37) {
        let mut reply = reply;
        reply[bit / 8] ^= 1 << (bit % 8);
        assert_eq!(start().0.finish(&reply), Err(TransportError::Identity));
    }
    for bit in (0..PROOF_LEN * 8).step_by(37) {
        let mut proof = proof;
        proof[bit / 8] ^= 1 << (bit % 8);
        let (listener, _) = ListenerAuth::start(&b, &hello, [2; 32], [3; 32]).unwrap();
        assert_eq!(listener.finish(&proof), Err(TransportError::Identity));
    }
    let (_, own) = crate::link_auth::DiallerAuth::start(Arc::clone(&b), b.public(), [1; 32], [3; 32]);
    assert!(matches!(
        ListenerAuth::start(&b, &own, [2; 32], [3; 32]),
        Err(TransportError::Protocol(_))
    ));
    // The identity point has small order: a key that anybody can sign for.
    let mut small = [0; HELLO_LEN];
    small[32] = 1;
    let answered = ListenerAuth::start(&b, &small, [2; 32], [3; 32]);
    assert!(answered.is_err() || answered.unwrap().0.finish(&[0; 64]).is_err());
}
