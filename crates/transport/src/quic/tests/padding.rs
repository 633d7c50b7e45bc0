use std::{
    net::{IpAddr, Ipv4Addr, SocketAddr},
    sync::{
        Arc, Mutex,
        atomic::{AtomicBool, Ordering},
    },
};

use tokio::net::UdpSocket;

use super::{Node, client, loopback, node, read_all, within};
use crate::{DialRole, Link, StreamKind, StreamSend, Transport, limits::CLIENT_UDP_PAYLOAD};

/// Forwards datagrams between one dialler and a node, and writes down the length and the first byte of each.
pub(super) struct Proxy {
    pub(super) node: Node,
    pub(super) address: SocketAddr,
    seen: Arc<Mutex<Vec<(bool, usize, u8)>>>,
    cut: Arc<AtomicBool>,
    cut_back: Arc<AtomicBool>,
}

impl Proxy {
    pub(super) async fn new(node: Node) -> Self {
        let outer = UdpSocket::bind(loopback()).await.unwrap();
        let inner = UdpSocket::bind(loopback()).await.unwrap();
        inner.connect(node.address).await.unwrap();
        let address = outer.local_addr().unwrap();
        let (seen, cut) = (Arc::new(Mutex::new(Vec::new())), Arc::new(AtomicBool::new(false)));
        let cut_back = Arc::new(AtomicBool::new(false));
        let (log, stopped, back_stopped) = (Arc::clone(&seen), Arc::clone(&cut), Arc::clone(&cut_back));
        tokio::spawn(async move {
            let (mut there, mut back) = ([0; 65536], [0; 65536]);
            let mut dialler = None;
            loop {
                tokio::select! {
                    Ok((length, from)) = outer.recv_from(&mut there) => {
                        dialler = Some(from);
                        log.lock().unwrap().push((true, length, there[0]));
                        if !stopped.load(Ordering::Relaxed) {
                            let _ = inner.send(&there[..length]).await;
                        }
                    }
                    Ok(length) = inner.recv(&mut back) => {
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
        }
    }

    pub(super) fn cut(&self) {
        self.cut.store(true, Ordering::Relaxed);
    }

    pub(super) fn cut_back(&self) {
        self.cut_back.store(true, Ordering::Relaxed);
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

/// Moves some data both ways.
async fn talk(proxy: &Proxy, role: DialRole, dialler: &crate::QuicTransport) {
    let link = within(dialler.dial(proxy.node.id, proxy.address, role)).await.unwrap();
    for size in [1usize, 300, 1104, 5000, 40_000] {
        let (mut send, mut recv) = within(link.open(StreamKind::Circuit)).await.unwrap();
        within(send.write_all(&vec![7; size])).await.unwrap();
        send.finish();
        if size == 1 {
            let accepted = within(proxy.node.transport.accept()).await.unwrap();
            tokio::spawn(async move {
                while let Ok((_, mut send, mut recv)) = accepted.accept().await {
                    let data = read_all(&mut recv).await.unwrap();
                    send.write_all(&data).await.unwrap();
                    send.finish();
                }
            });
        }
        assert_eq!(within(read_all(&mut recv)).await.unwrap().len(), size);
    }
}

#[tokio::test]
async fn between_a_client_and_its_guard_every_packet_has_one_size() {
    let proxy = Proxy::new(node()).await;
    talk(&proxy, DialRole::Client, &client()).await;
    let (there, back) = proxy.lengths();
    for lengths in [there, back] {
        assert!(lengths.len() > 40, "{}", lengths.len());
        let full = lengths.iter().filter(|length| **length == usize::from(CLIENT_UDP_PAYLOAD)).count();
        assert_eq!(full, lengths.len(), "{lengths:?}");
    }
}

#[tokio::test]
async fn between_relays_nothing_is_padded() {
    let proxy = Proxy::new(node()).await;
    proxy.node.transport.set_known_relays([IpAddr::V4(Ipv4Addr::LOCALHOST)]);
    talk(&proxy, DialRole::Node, &node().transport).await;
    let (there, back) = proxy.lengths();
    for lengths in [there, back] {
        assert!(lengths.iter().any(|length| *length < 100), "{lengths:?}");
    }
}

#[tokio::test]
async fn an_unknown_source_is_padded_by_the_listener() {
    let proxy = Proxy::new(node()).await;
    proxy.node.transport.set_known_relays([IpAddr::V4(Ipv4Addr::new(127, 9, 9, 9))]);
    talk(&proxy, DialRole::Node, &node().transport).await;
    let (there, back) = proxy.lengths();
    assert!(there.iter().any(|length| *length < 100));
    assert!(back.iter().all(|length| *length >= usize::from(CLIENT_UDP_PAYLOAD)), "{back:?}");
}

#[tokio::test]
async fn packets_grow_between_nodes_and_never_towards_a_client() {
    let (a, b) = (node(), node());
    let (to_node, _accepted) = super::connect(&a.transport, &b, DialRole::Node).await;
    let client = client();
    let (to_guard, _accepted) = super::connect_client(&client, &b).await;
    within(async {
        while to_node.stats().mtu <= 1_472 {
            let (mut send, _recv) = to_node.open(StreamKind::Rpc).await.unwrap();
            send.write_all(&[1; 100_000]).await.unwrap();
            send.reset();
        }
    })
    .await;
    assert_eq!(to_guard.stats().mtu, CLIENT_UDP_PAYLOAD);
}
