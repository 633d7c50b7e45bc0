use std::{
    net::{IpAddr, Ipv4Addr, SocketAddr},
    sync::{
        Arc, Mutex,
        atomic::{AtomicBool, AtomicUsize, Ordering},
    },
    time::Duration,
};

use tokio::net::UdpSocket;

use super::{Node, client, loopback, node, read_all, within};
use crate::{
    DialRole, Link, StreamKind, StreamSend, Transport,
    limits::{CLIENT_UDP_PAYLOAD, CLIENT_UDP_PAYLOAD_JUMBO, CLIENT_UDP_PAYLOAD_ORDINARY},
};

/// Forwards datagrams between one dialler and a node, and writes down the length and the first byte of each.
pub(super) struct Proxy {
    pub(super) node: Node,
    pub(super) address: SocketAddr,
    seen: Arc<Mutex<Vec<(bool, usize, u8)>>>,
    cut: Arc<AtomicBool>,
    cut_back: Arc<AtomicBool>,
    /// The longest datagram that the path carries.
    most: Arc<AtomicUsize>,
}

impl Proxy {
    pub(super) async fn new(node: Node) -> Self {
        let outer = UdpSocket::bind(loopback()).await.unwrap();
        let inner = UdpSocket::bind(loopback()).await.unwrap();
        inner.connect(node.address).await.unwrap();
        let address = outer.local_addr().unwrap();
        let (seen, cut) = (Arc::new(Mutex::new(Vec::new())), Arc::new(AtomicBool::new(false)));
        let cut_back = Arc::new(AtomicBool::new(false));
        let most = Arc::new(AtomicUsize::new(usize::MAX));
        let carried = Arc::clone(&most);
        let (log, stopped, back_stopped) = (Arc::clone(&seen), Arc::clone(&cut), Arc::clone(&cut_back));
        tokio::spawn(async move {
            let (mut there, mut back) = ([0; 65536], [0; 65536]);
            let mut dialler = None;
            loop {
                tokio::select! {
                    Ok((length, from)) = outer.recv_from(&mut there) => {
                        if length > carried.load(Ordering::Relaxed) {
                            continue;
                        }
                        dialler = Some(from);
                        log.lock().unwrap().push((true, length, there[0]));
                        if !stopped.load(Ordering::Relaxed) {
                            let _ = inner.send(&there[..length]).await;
                        }
                    }
                    Ok(length) = inner.recv(&mut back) => {
                        if length > carried.load(Ordering::Relaxed) {
                            continue;
                        }
                        log.lock().unwrap().push((false, length, back[0]));
                        if let Some(dialler) = dialler && !stopped.load(Ordering::Relaxed) && !back_stopped.load(Ordering::Relaxed) {
                            let _ = outer.send_to(&back[..length], dialler).await;
                        }
                    }
                }
            }
        });
        Self {
            node,
            address,
            seen,
            cut,
            cut_back,
            most,
        }
    }

    /// The path loses longer datagrams without a word.
    fn carry(&self, most: usize) {
        self.most.store(most, Ordering::Relaxed);
    }

    pub(super) fn cut(&self) {
        self.cut.store(true, Ordering::Relaxed);
    }

    pub(super) fn cut_back(&self) {
        self.cut_back.store(true, Ordering::Relaxed);
    }

    fn mend_back(&self) {
        self.cut_back.store(false, Ordering::Relaxed);
    }

    /// Lengths of all short-header packets so far, there and back.
    fn lengths(&self) -> (Vec<usize>, Vec<usize>) {
        let seen = self.seen.lock().unwrap();
        let side = |there| {
            seen.iter()
                .filter(|(way, _, first)| *way == there && first & 0x80 == 0)
                .map(|(_, length, _)| *length)
                .collect()
        };
        (side(true), side(false))
    }
}

/// Sends as much there and has it sent back.
async fn echo(link: &crate::QuicLink, size: usize) {
    let (mut send, mut recv) = within(link.open(StreamKind::Circuit)).await.unwrap();
    within(send.write_all(&vec![7; size])).await.unwrap();
    send.finish();
    assert_eq!(within(read_all(&mut recv)).await.unwrap().len(), size);
}

/// Moves some data both ways.
async fn talk(proxy: &Proxy, role: DialRole, dialler: &crate::QuicTransport) -> crate::QuicLink {
    let link = within(dialler.dial(proxy.node.id, proxy.address, role)).await.unwrap();
    let node = proxy.node.transport.clone();
    tokio::spawn(async move {
        let accepted = node.accept().await.unwrap();
        while let Ok((_, mut send, mut recv)) = accepted.accept().await {
            let data = read_all(&mut recv).await.unwrap();
            send.write_all(&data).await.unwrap();
            send.finish();
        }
    });
    for size in [1usize, 300, 1104, 5000, 40_000].repeat(3) {
        echo(&link, size).await;
    }
    link
}

#[tokio::test]
async fn between_a_client_and_its_guard_every_packet_has_one_size() {
    // No network, Ethernet over IPv4 and IPv6, tunnels of several kinds, and the least that IPv6 has.
    let paths = [
        (usize::MAX, CLIENT_UDP_PAYLOAD_JUMBO),
        (1472, CLIENT_UDP_PAYLOAD_ORDINARY),
        (1452, CLIENT_UDP_PAYLOAD_ORDINARY),
        (1372, CLIENT_UDP_PAYLOAD_ORDINARY),
        (1232, CLIENT_UDP_PAYLOAD),
    ];
    for (most, size) in paths {
        let (proxy, client) = (Proxy::new(node()).await, client());
        proxy.carry(most);
        let link = talk(&proxy, DialRole::Client, &client).await;
        // Nothing comes back for a while: packets that ask for an acknowledgement which is overdue have the size too.
        proxy.cut_back();
        let late = tokio::spawn({
            let link = link.clone();
            async move { echo(&link, 1).await }
        });
        tokio::time::sleep(Duration::from_millis(300)).await;
        proxy.mend_back();
        within(late).await.unwrap();
        assert_eq!(link.stats().mtu, size);
        let (there, back) = proxy.lengths();
        for lengths in [there, back] {
            assert!(lengths.len() > 30, "{}", lengths.len());
            assert!(lengths.iter().all(|length| *length == usize::from(size)), "{most}: {lengths:?}");
        }
    }
}

#[tokio::test]
async fn between_relays_nothing_is_padded() {
    let proxy = Proxy::new(node()).await;
    proxy.node.transport.set_known_relays([IpAddr::V4(Ipv4Addr::LOCALHOST)]);
    let dialler = node();
    talk(&proxy, DialRole::Node, &dialler.transport).await;
    let (there, back) = proxy.lengths();
    for lengths in [there, back] {
        assert!(lengths.iter().any(|length| *length < 100), "{lengths:?}");
    }
}

#[tokio::test]
async fn an_unknown_source_is_padded_by_the_listener() {
    let proxy = Proxy::new(node()).await;
    proxy.node.transport.set_known_relays([IpAddr::V4(Ipv4Addr::new(127, 9, 9, 9))]);
    let dialler = node();
    talk(&proxy, DialRole::Node, &dialler.transport).await;
    let (there, back) = proxy.lengths();
    assert!(there.iter().any(|length| *length < 100));
    assert!(back.iter().all(|length| *length >= usize::from(CLIENT_UDP_PAYLOAD)), "{back:?}");
}

#[tokio::test]
async fn packets_grow_between_nodes_and_keep_their_size_towards_a_client() {
    let (a, b) = (node(), node());
    let (to_node, _accepted) = super::connect(&a.transport, &b, DialRole::Node).await;
    let client = client();
    let (to_guard, at_guard) = super::connect_client(&client, &b).await;
    assert_eq!([to_guard.stats().mtu, at_guard.stats().mtu], [CLIENT_UDP_PAYLOAD_JUMBO; 2]);
    within(async {
        while to_node.stats().mtu <= 1_472 {
            let (mut send, _recv) = to_node.open(StreamKind::Rpc).await.unwrap();
            send.write_all(&[1; 100_000]).await.unwrap();
            send.reset();
        }
    })
    .await;
    assert_eq!([to_guard.stats().mtu, at_guard.stats().mtu], [CLIENT_UDP_PAYLOAD_JUMBO; 2]);
}
