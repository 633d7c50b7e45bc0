use std::{net::Ipv6Addr, time::Duration};

use super::{client, client_with, connect, connect_client, identity, loopback, node, node_with, read_all, within};
use crate::{
    Admit, CloseReason, DialRole, Link, LinkLimits, QuicConfig, QuicTransport, StreamKind, StreamSend, Transport, TransportError,
    limits::IDLE_TIMEOUT,
};

#[tokio::test]
async fn a_client_link_has_no_peer() {
    let node = node();
    let client = client();
    assert_eq!(client.node_id(), None);
    let (dialled, accepted) = connect_client(&client, &node).await;
    assert_eq!(dialled.peer(), Some(node.id));
    assert!(!dialled.is_authenticated() && !dialled.inbound());
    assert_eq!(dialled.remote_address(), node.address);
    assert_eq!(accepted.peer(), None);
    assert!(!accepted.is_authenticated() && accepted.inbound());
    assert_ne!(dialled.id(), accepted.id());
    assert_eq!(accepted.open(StreamKind::Rpc).await.unwrap_err(), TransportError::NodeOnly);
    assert!(!format!("{accepted:?} {client:?}").contains("127."), "no address is printed");
}

#[tokio::test]
async fn a_client_that_opens_nothing_is_a_client() {
    let node = node_with(|config| config.limits.handshake_deadline = Duration::from_millis(300));
    let client = client();
    let (dialled, accepted) = connect(&client, &node, DialRole::Client).await;
    assert_eq!(accepted.peer(), None);
    let (mut send, _recv) = dialled.open(StreamKind::Circuit).await.unwrap();
    within(send.write_all(b"later")).await.unwrap();
    send.finish();
    let (kind, _send, mut recv) = within(accepted.accept()).await.unwrap();
    assert_eq!(kind, StreamKind::Circuit);
    assert_eq!(within(read_all(&mut recv)).await.unwrap(), b"later");
}

#[tokio::test]
async fn nodes_prove_themselves_to_each_other_and_open_streams_both_ways() {
    let (a, b) = (node(), node());
    let (dialled, accepted) = connect(&a.transport, &b, DialRole::Node).await;
    assert_eq!((dialled.peer(), accepted.peer()), (Some(b.id), Some(a.id)));
    assert!(dialled.is_authenticated() && accepted.is_authenticated());
    assert!(!dialled.inbound() && accepted.inbound());
    // The listener also sees where the dialler listens: one socket serves both.
    assert_eq!(accepted.remote_address(), a.address);
    for (opener, other, kind) in [(&dialled, &accepted, StreamKind::Rpc), (&accepted, &dialled, StreamKind::Circuit)] {
        let (mut send, mut recv) = within(opener.open(kind)).await.unwrap();
        within(send.write_all(b"question")).await.unwrap();
        send.finish();
        let (seen, mut their_send, mut their_recv) = within(other.accept()).await.unwrap();
        assert_eq!(seen, kind);
        assert_eq!(within(read_all(&mut their_recv)).await.unwrap(), b"question");
        within(their_send.write_all(b"answer")).await.unwrap();
        their_send.finish();
        assert_eq!(within(read_all(&mut recv)).await.unwrap(), b"answer");
    }
    let stats = dialled.stats();
    assert!(stats.rtt > Duration::ZERO && stats.sent_bytes > 1200 && stats.received_bytes > 1200 && stats.mtu >= 1200);
    assert!(stats.received_datagrams > 0 && stats.sent_packets > 0 && stats.congestion_window > 0);
}

#[tokio::test]
async fn links_count_their_streams_and_know_their_age() {
    let (a, b) = (node(), node());
    let (dialled, accepted) = connect(&a.transport, &b, DialRole::Node).await;
    assert_eq!(dialled.open_streams(), 0);
    let (mut send, recv) = dialled.open(StreamKind::Rpc).await.unwrap();
    within(send.write_all(b"x")).await.unwrap();
    let theirs = within(accepted.accept()).await.unwrap();
    assert_eq!((dialled.open_streams(), accepted.open_streams()), (2, 2));
    assert_eq!(dialled.idle_for(), Duration::ZERO);
    drop((send, recv, theirs));
    assert_eq!((dialled.open_streams(), accepted.open_streams()), (0, 0));
    tokio::time::sleep(Duration::from_millis(30)).await;
    assert!(dialled.idle_for() >= Duration::from_millis(20));
    let idle = dialled.idle_for();
    assert!(dialled.age() >= idle);
}

#[tokio::test]
async fn ipv6_works_as_ipv4_does() {
    let six = QuicTransport::bind(QuicConfig::node((Ipv6Addr::LOCALHOST, 0).into(), identity()));
    let Ok(transport) = six else {
        // A machine without IPv6 says so, and for no other reason.
        assert!(matches!(six.unwrap_err(), TransportError::Bind(_)));
        return;
    };
    let six = super::Node {
        id: transport.node_id().unwrap(),
        address: transport.local_addr().unwrap(),
        transport,
    };
    assert!(six.address.is_ipv6());
    let client = client();
    connect_client(&client, &six).await;
    // One client, both families; and a node that listens on IPv4 dials IPv6 too.
    let four = node();
    connect_client(&client, &four).await;
    connect(&four.transport, &six, DialRole::Node).await;
}

#[tokio::test]
async fn closing_is_seen_by_everybody() {
    let node = node();
    let client = client();
    assert_eq!(client.local_addr(), Err(TransportError::Address));
    let (dialled, accepted) = connect_client(&client, &node).await;
    assert!(client.local_addr().is_ok());
    assert_eq!(dialled.close_reason(), None);
    dialled.close();
    assert_eq!(within(dialled.closed()).await, CloseReason::Local);
    assert_eq!(within(accepted.closed()).await, CloseReason::Peer);
    assert_eq!(accepted.close_reason(), Some(CloseReason::Peer));
    assert_eq!(
        within(accepted.accept()).await.unwrap_err(),
        TransportError::Closed(CloseReason::Peer)
    );
    assert_eq!(
        within(dialled.open(StreamKind::Rpc)).await.unwrap_err(),
        TransportError::Closed(CloseReason::Local)
    );

    let (dialled, _accepted) = connect_client(&client, &node).await;
    let (mut send, mut recv) = dialled.open(StreamKind::Circuit).await.unwrap();
    within(send.write_all(b"x")).await.unwrap();
    node.transport.close();
    assert!(within(node.transport.accept()).await.is_none());
    assert_eq!(within(dialled.closed()).await, CloseReason::Peer);
    assert_eq!(within(read_all(&mut recv)).await, Err(TransportError::Closed(CloseReason::Peer)));
    assert_eq!(within(send.write_all(b"y")).await, Err(TransportError::Closed(CloseReason::Peer)));
    within(node.transport.closed()).await;
    assert_eq!(
        within(node.transport.dial(node.id, node.address, DialRole::Node))
            .await
            .unwrap_err(),
        TransportError::Closed(CloseReason::Local)
    );
}

#[tokio::test]
async fn a_transport_closes_with_its_last_clone() {
    let node = node();
    let (dialled, _accepted) = connect_client(&client(), &node).await;
    assert_eq!(within(dialled.closed()).await, CloseReason::Local);
    let client = client();
    assert!(within(client.accept()).await.is_none(), "it does not listen");
    let (dialled, accepted) = connect_client(&client, &node).await;
    drop(dialled);
    assert_eq!(within(accepted.closed()).await, CloseReason::Peer, "a link nobody holds closes");
}

#[tokio::test]
async fn what_cannot_be_dialled_is_refused_at_once() {
    let node = node();
    let client = client();
    let dial = |address: &str, role| {
        let address = address.parse().unwrap();
        let client = client.clone();
        async move { within(client.dial(node.id, address, role)).await.unwrap_err() }
    };
    assert_eq!(dial("127.0.0.1:0", DialRole::Client).await, TransportError::Address);
    assert_eq!(dial("0.0.0.0:9", DialRole::Client).await, TransportError::Address);
    assert_eq!(dial("224.0.0.1:9", DialRole::Client).await, TransportError::Address);
    assert_eq!(dial("127.0.0.1:9", DialRole::Node).await, TransportError::NodeOnly);
    let no_identity = QuicConfig {
        bind: Some(loopback()),
        ..QuicConfig::client()
    };
    assert_eq!(QuicTransport::bind(no_identity).unwrap_err(), TransportError::NodeOnly);
    let taken = QuicConfig::node(node.address, identity());
    assert_eq!(
        QuicTransport::bind(taken).unwrap_err(),
        TransportError::Bind(std::io::ErrorKind::AddrInUse)
    );
}

#[tokio::test]
async fn silence_is_unreachable() {
    let silent = std::net::UdpSocket::bind(loopback()).unwrap();
    let limits = LinkLimits {
        dial_deadline: Duration::from_millis(300),
        ..LinkLimits::default()
    };
    let dialled = within(client_with(limits).dial(node().id, silent.local_addr().unwrap(), DialRole::Client)).await;
    assert_eq!(dialled.unwrap_err(), TransportError::Unreachable);
}

#[tokio::test]
async fn a_peer_that_vanishes_is_noticed() {
    let proxy = super::padding::Proxy::new(node()).await;
    let limits = LinkLimits {
        keep_alive: Duration::from_millis(300),
        idle_timeout: Duration::from_secs(2),
        ..LinkLimits::default()
    };
    let client = client_with(limits);
    let link = within(client.dial(proxy.node.id, proxy.address, DialRole::Client)).await.unwrap();
    tokio::time::sleep(Duration::from_secs(3)).await;
    assert_eq!(link.close_reason(), None, "the keep-alive keeps it up");
    let before = link.stats().received_datagrams;
    proxy.cut();
    assert_eq!(within(link.closed()).await, CloseReason::Idle);
    assert!(link.stats().received_datagrams <= before + 2);
    assert!(IDLE_TIMEOUT > Duration::from_secs(15));
}

#[tokio::test]
async fn a_dead_node_is_noticed_by_the_first_that_needs_it() {
    let proxy = super::padding::Proxy::new(node()).await;
    let dialler = node();
    let link = within(dialler.transport.dial(proxy.node.id, proxy.address, DialRole::Node))
        .await
        .unwrap();
    tokio::time::sleep(Duration::from_millis(1500)).await;
    proxy.cut();
    // As long as nobody asks anything of it, it may be just quiet.
    tokio::time::sleep(Duration::from_secs(3)).await;
    assert_eq!(link.close_reason(), None);
    let start = std::time::Instant::now();
    let (mut send, _recv) = within(link.open(StreamKind::Circuit)).await.unwrap();
    within(send.write_all(&[1; 1104])).await.unwrap();
    assert_eq!(within(link.closed()).await, CloseReason::Idle);
    let took = start.elapsed();
    assert!(took >= Duration::from_secs(3) && took < Duration::from_secs(10), "{took:?}");
    assert!(took < IDLE_TIMEOUT);
}

#[tokio::test]
async fn a_quiet_link_is_not_a_dead_one() {
    // Asked a little now and then, acknowledged late, and quiet in between: nothing of that is silence.
    let (a, b) = (node(), node());
    let (dialled, accepted) = connect(&a.transport, &b, DialRole::Node).await;
    let client = client();
    let (to_guard, from_client) = connect_client(&client, &b).await;
    for pause in [950, 990, 1010, 5_000] {
        for (opener, other) in [(&dialled, &accepted), (&accepted, &dialled), (&to_guard, &from_client)] {
            let (mut send, _recv) = within(opener.open(StreamKind::Rpc)).await.unwrap();
            within(send.write_all(b"x")).await.unwrap();
            within(other.accept()).await.unwrap();
        }
        tokio::time::sleep(Duration::from_millis(pause)).await;
    }
    for link in [&dialled, &accepted, &to_guard, &from_client] {
        assert_eq!(link.close_reason(), None);
    }
}

#[tokio::test]
async fn admission_decides_before_anything_else() {
    use std::sync::{
        Arc, Mutex,
        atomic::{AtomicUsize, Ordering},
    };
    let answer = Arc::new(Mutex::new(Admit::Retry));
    let asked = Arc::new(AtomicUsize::new(0));
    let node = node_with(|config| {
        let (answer, asked) = (Arc::clone(&answer), Arc::clone(&asked));
        config.admission = Arc::new(move |_| {
            asked.fetch_add(1, Ordering::Relaxed);
            *answer.lock().unwrap()
        });
    });
    connect_client(&client(), &node).await;
    assert!(asked.load(Ordering::Relaxed) >= 2, "asked again once the address is proved");
    asked.store(0, Ordering::Relaxed);
    *answer.lock().unwrap() = Admit::Ignore;
    let limits = LinkLimits {
        dial_deadline: Duration::from_millis(300),
        ..LinkLimits::default()
    };
    let dialled = within(client_with(limits).dial(node.id, node.address, DialRole::Client)).await;
    assert_eq!(dialled.unwrap_err(), TransportError::Unreachable);
    assert!(asked.load(Ordering::Relaxed) >= 1);
    *answer.lock().unwrap() = Admit::Accept;
    connect_client(&client(), &node).await;
}

#[tokio::test]
async fn a_node_that_was_killed_and_came_back_says_so() {
    let key = identity();
    // It lives in a runtime of its own, which ends without a goodbye.
    let life = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(1)
        .enable_all()
        .build()
        .unwrap();
    let first = {
        let key = std::sync::Arc::clone(&key);
        life.spawn(async move { QuicTransport::bind(QuicConfig::node(loopback(), key)).unwrap() })
            .await
            .unwrap()
    };
    let node = super::Node {
        id: first.node_id().unwrap(),
        address: first.local_addr().unwrap(),
        transport: first,
    };
    let client = client();
    let (dialled, accepted) = connect_client(&client, &node).await;
    life.shutdown_background();
    tokio::time::sleep(Duration::from_millis(100)).await;
    drop(accepted);
    let super::Node { transport, address, .. } = node;
    drop(transport);
    let bind = || QuicTransport::bind(QuicConfig::node(address, std::sync::Arc::clone(&key)));
    let _second = within(async {
        loop {
            match bind() {
                Ok(transport) => return transport,
                Err(_) => tokio::time::sleep(Duration::from_millis(20)).await,
            }
        }
    })
    .await;
    assert_eq!(dialled.close_reason(), None);
    let (mut send, _recv) = within(dialled.open(StreamKind::Circuit)).await.unwrap();
    within(send.write_all(&[1; 5_000])).await.unwrap();
    assert_eq!(within(dialled.closed()).await, CloseReason::Reset);
}
