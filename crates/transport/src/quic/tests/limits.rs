use std::{
    sync::{Arc, Mutex},
    time::{Duration, Instant},
};

use quinn::{Connection, ReadError, RecvStream, SendStream};
use tokio::time::timeout;

use super::{client, client_with, connect, connect_client, node, node_with, raw_client, within};
use crate::{
    CloseReason, DialRole, Link, LinkLimits, MAX_CLIENT_CIRCUITS, QuicLink, StreamKind, StreamSend, Transport, TransportError,
    limits::{ACCEPT_QUEUE, CLIENT_OPEN_BURST, MAX_NODE_CIRCUITS},
    quic::link::Incoming,
};

/// Opens streams of the kind until no more fit; the kind byte goes out with each.
async fn fill(connection: &Connection, kind: u8) -> Vec<(SendStream, RecvStream)> {
    let mut open = Vec::new();
    while let Ok(stream) = timeout(Duration::from_millis(500), connection.open_bi()).await {
        let (mut send, recv) = stream.unwrap();
        send.write_all(&[kind]).await.unwrap();
        open.push((send, recv));
    }
    open
}

/// Accepts in the background, and keeps everything.
fn keep(link: &QuicLink) -> Arc<Mutex<Vec<Incoming>>> {
    let kept = Arc::new(Mutex::new(Vec::new()));
    let (link, into) = (link.clone(), Arc::clone(&kept));
    tokio::spawn(async move {
        while let Ok(stream) = link.accept().await {
            into.lock().unwrap().push(stream);
        }
    });
    kept
}

#[tokio::test]
async fn a_client_has_1024_circuits_and_no_more() {
    assert_eq!(MAX_CLIENT_CIRCUITS, 1024);
    let node = node();
    let (_endpoint, connection) = raw_client(&node).await;
    let (mut first, _recv) = connection.open_bi().await.unwrap();
    first.write_all(&[0x03]).await.unwrap();
    let accepted = within(node.transport.accept()).await.unwrap();
    let kept = keep(&accepted);
    // What is beyond is reset at once.
    let mut open = Vec::new();
    for _ in 1..MAX_CLIENT_CIRCUITS + 200 {
        let (mut send, recv) = within(connection.open_bi()).await.unwrap();
        let _ = send.write_all(&[0x03]).await;
        open.push((send, recv));
    }
    let mut reset = 0;
    within(async {
        while reset < 200 || kept.lock().unwrap().len() < MAX_CLIENT_CIRCUITS as usize {
            for (_, recv) in &mut open {
                if let Ok(result) = timeout(Duration::from_micros(50), recv.read(&mut [0])).await {
                    assert!(matches!(result, Err(ReadError::Reset(code)) if code == 0u32.into()), "{result:?}");
                    reset += 1;
                }
            }
        }
    })
    .await;
    tokio::time::sleep(Duration::from_millis(100)).await;
    assert_eq!((kept.lock().unwrap().len(), reset), (MAX_CLIENT_CIRCUITS as usize, 200));
    assert_eq!(accepted.close_reason(), None);
}

#[tokio::test]
async fn streams_in_all_are_bounded_and_come_back() {
    let node = node_with(|config| config.limits.client_circuits = 100);
    let (_endpoint, connection) = raw_client(&node).await;
    let (mut first, _recv) = connection.open_bi().await.unwrap();
    first.write_all(&[0x02]).await.unwrap();
    let accepted = within(node.transport.accept()).await.unwrap();
    let kept = keep(&accepted);
    let mut open = fill(&connection, 0x02).await;
    assert_eq!(open.len() + 1, 125, "circuits and a quarter for RPC");
    // Streams that end on both sides make room for as many and no more; quinn gives it back in batches of an eighth.
    open.drain(..50);
    kept.lock().unwrap().drain(..51);
    let again = fill(&connection, 0x02).await.len();
    assert!((50 - 125 / 8..=51).contains(&again), "{again}");
    assert_eq!(accepted.close_reason(), None);
}

#[tokio::test]
async fn circuits_leave_room_for_rpc() {
    let (node, client) = (node(), client());
    let (dialled, accepted) = connect_client(&client, &node).await;
    let mut circuits = Vec::new();
    for _ in 0..MAX_CLIENT_CIRCUITS {
        let (mut send, recv) = within(dialled.open(StreamKind::Circuit)).await.unwrap();
        within(send.write_all(b"x")).await.unwrap();
        circuits.push((send, recv, within(accepted.accept()).await.unwrap()));
    }
    assert_eq!(
        within(dialled.open(StreamKind::Circuit)).await.unwrap_err(),
        TransportError::Limit("circuits of a link")
    );
    for _ in 0..1_000 {
        let (mut send, _recv) = within(dialled.open(StreamKind::Rpc)).await.unwrap();
        within(send.write_all(b"x")).await.unwrap();
        let (kind, ..) = within(accepted.accept()).await.unwrap();
        assert_eq!(kind, StreamKind::Rpc);
    }
    circuits.pop();
    within(dialled.open(StreamKind::Circuit)).await.unwrap();
}

#[tokio::test]
async fn an_authenticated_link_has_a_larger_share() {
    const { assert!(MAX_NODE_CIRCUITS > 8 * MAX_CLIENT_CIRCUITS) };
    let (a, b) = (node(), node());
    let (dialled, accepted) = connect(&a.transport, &b, DialRole::Node).await;
    for (opener, other) in [(&dialled, &accepted), (&accepted, &dialled)] {
        let mut held = Vec::new();
        for _ in 0..MAX_CLIENT_CIRCUITS + 100 {
            let (mut send, recv) = within(opener.open(StreamKind::Circuit)).await.unwrap();
            within(send.write_all(b"x")).await.unwrap();
            held.push((send, recv, within(other.accept()).await.unwrap()));
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn rapid_reset_ends_the_link() {
    let node = node();
    let (_endpoint, connection) = raw_client(&node).await;
    let (mut first, _recv) = connection.open_bi().await.unwrap();
    first.write_all(&[0x02]).await.unwrap();
    let accepted = within(node.transport.accept()).await.unwrap();
    let drain = tokio::spawn({
        let accepted = accepted.clone();
        async move {
            let mut count = 0u32;
            while accepted.accept().await.is_ok() {
                count += 1;
            }
            count
        }
    });
    let start = Instant::now();
    let mut opened = 0u32;
    while opened < 100_000 {
        let Ok((mut send, mut recv)) = within(connection.open_bi()).await else {
            break;
        };
        opened += 1;
        if send.write_all(&[0x03]).await.is_err() || send.reset(0u32.into()).is_err() || recv.stop(0u32.into()).is_err() {
            break;
        }
    }
    assert_eq!(within(accepted.closed()).await, CloseReason::Abuse);
    assert!(opened < 100_000);
    // Not sooner than an honest peer may need, and not much later.
    let allowed = f64::from(CLIENT_OPEN_BURST) + start.elapsed().as_secs_f64() * f64::from(crate::limits::CLIENT_OPEN_RATE);
    assert!(opened >= CLIENT_OPEN_BURST, "{opened}");
    assert!(
        f64::from(opened) < allowed + f64::from(MAX_CLIENT_CIRCUITS) * 1.25 + 100.0,
        "{opened} of {allowed}"
    );
    assert!(within(drain).await.unwrap() <= opened);
    // Others are not touched.
    connect_client(&client(), &node).await;
}

#[tokio::test]
async fn inbound_links_are_bounded() {
    let node = node_with(|config| config.limits.inbound_links = 2);
    let client = client();
    let one = connect_client(&client, &node).await;
    let two = connect_client(&client, &node).await;
    let three = within(client.dial(node.id, node.address, DialRole::Client)).await;
    assert_eq!(three.unwrap_err(), TransportError::Refused);
    assert_eq!(two.0.close_reason(), None);
    one.0.close();
    within(one.1.closed()).await;
    drop(one);
    // The place is free once the listener has noticed.
    within(async {
        while client.dial(node.id, node.address, DialRole::Client).await.is_err() {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    })
    .await;
}

#[tokio::test]
async fn pending_links_are_bounded_and_crowds_prove_their_addresses() {
    let node = node_with(|config| {
        config.limits.pending_links = 2;
        config.limits.handshake_deadline = Duration::from_secs(2);
    });
    let limits = LinkLimits {
        dial_deadline: Duration::from_millis(1500),
        ..LinkLimits::default()
    };
    let client = client_with(limits);
    // These say nothing, so that they stay pending until the deadline.
    let mut silent = Vec::new();
    for _ in 0..2 {
        silent.push(within(client.dial(node.id, node.address, DialRole::Client)).await.unwrap());
    }
    let third = within(client.dial(node.id, node.address, DialRole::Client)).await;
    assert_eq!(third.unwrap_err(), TransportError::Refused);
    for _ in 0..2 {
        let accepted = within(node.transport.accept()).await.unwrap();
        assert_eq!(accepted.peer(), None);
    }
    connect_client(&client, &node).await;
}

#[tokio::test]
async fn a_handshake_that_stalls_is_given_up() {
    // A hello that is never followed up: the listener holds no link for it, and the place is free again.
    let node = node_with(|config| {
        config.limits.pending_links = 2;
        config.limits.handshake_deadline = Duration::from_millis(400);
    });
    let proxy = super::padding::Proxy::new(node).await;
    let limits = LinkLimits {
        dial_deadline: Duration::from_millis(100),
        ..LinkLimits::default()
    };
    proxy.cut_back();
    for _ in 0..4 {
        assert!(
            within(client_with(limits.clone()).dial(proxy.node.id, proxy.address, DialRole::Client))
                .await
                .is_err()
        );
    }
    tokio::time::sleep(Duration::from_millis(600)).await;
    connect_client(&client(), &proxy.node).await;
}

#[tokio::test]
async fn a_listener_that_never_answers_the_proof_is_too_slow() {
    let key = super::identity();
    let (endpoint, address) = super::raw_server(crate::quic::tls::server(&key, crate::ALPN).unwrap());
    super::serve(&endpoint);
    let dialler = node_with(|config| config.limits.dial_deadline = Duration::from_millis(500));
    let dialled = within(dialler.transport.dial(key.public().node_id(), address, DialRole::Node)).await;
    assert_eq!(dialled.unwrap_err(), TransportError::Timeout);
}

#[tokio::test]
async fn streams_that_nobody_accepts_wait_outside() {
    let (a, b) = (node(), node());
    let (dialled, accepted) = connect(&a.transport, &b, DialRole::Node).await;
    let mut open = Vec::new();
    while let Ok(stream) = timeout(Duration::from_millis(300), dialled.open(StreamKind::Circuit)).await {
        let (mut send, recv) = stream.unwrap();
        within(send.write_all(b"x")).await.unwrap();
        open.push((send, recv));
        assert!(open.len() < 1_000, "never stops");
    }
    assert!(open.len() >= ACCEPT_QUEUE);
    assert!(accepted.open_streams() <= 2 * (ACCEPT_QUEUE + 1), "{}", accepted.open_streams());
    for _ in 0..open.len() {
        within(accepted.accept()).await.unwrap();
    }
}
