//! The QUIC transport over loopback, and peers that lie to it.

mod auth;
mod direct;
mod limits;
mod links;
mod padding;
mod refusals;
mod streams;

use std::{
    future::Future,
    net::{Ipv4Addr, SocketAddr},
    sync::Arc,
    time::Duration,
};

use anonnet_crypto::keys::{IdentityKey, NodeId};
use quinn::{ClientConfig, Connection, Endpoint, ServerConfig, crypto::rustls::QuicClientConfig};

use super::{QuicConfig, QuicLink, QuicTransport, socket, tls};
use crate::{DialRole, Link, LinkLimits, StreamRecv, StreamSend, Transport};

/// Nothing in these tests may take longer.
const DEADLINE: Duration = Duration::from_secs(20);

async fn within<F: Future>(future: F) -> F::Output {
    tokio::time::timeout(DEADLINE, future).await.expect("took too long")
}

fn identity() -> Arc<IdentityKey> {
    Arc::new(IdentityKey::from_bytes(&crate::random::bytes().unwrap()))
}

fn loopback() -> SocketAddr {
    (Ipv4Addr::LOCALHOST, 0).into()
}

/// A listening node.
struct Node {
    transport: QuicTransport,
    id: NodeId,
    address: SocketAddr,
}

fn node() -> Node {
    node_with(|_| {})
}

fn node_with(change: impl FnOnce(&mut QuicConfig)) -> Node {
    let mut config = QuicConfig::node(loopback(), identity());
    change(&mut config);
    let transport = QuicTransport::bind(config).unwrap();
    Node {
        id: transport.node_id().unwrap(),
        address: transport.local_addr().unwrap(),
        transport,
    }
}

fn client() -> QuicTransport {
    QuicTransport::bind(QuicConfig::client()).unwrap()
}

fn client_with(limits: LinkLimits) -> QuicTransport {
    QuicTransport::bind(QuicConfig {
        limits,
        ..QuicConfig::client()
    })
    .unwrap()
}

/// Both ends of a new link.
async fn connect(dialler: &QuicTransport, node: &Node, role: DialRole) -> (QuicLink, QuicLink) {
    let (dialled, accepted) = within(async { tokio::join!(dialler.dial(node.id, node.address, role), node.transport.accept()) }).await;
    (dialled.unwrap(), accepted.unwrap())
}

/// A client's link, which the node accepts as soon as the first stream is there; that stream's data is `hello`.
async fn connect_client(client: &QuicTransport, node: &Node) -> (QuicLink, QuicLink) {
    let dialled = within(client.dial(node.id, node.address, DialRole::Client)).await.unwrap();
    let (mut send, _recv) = within(dialled.open(crate::StreamKind::Rpc)).await.unwrap();
    within(send.write_all(b"hello")).await.unwrap();
    let accepted = within(node.transport.accept()).await.unwrap();
    let (_, _, mut recv) = within(accepted.accept()).await.unwrap();
    let mut hello = [0; 5];
    within(recv.read_exact(&mut hello)).await.unwrap();
    assert_eq!(&hello, b"hello");
    (dialled, accepted)
}

/// Everything up to the end.
async fn read_all(recv: &mut impl StreamRecv) -> Result<Vec<u8>, crate::TransportError> {
    let mut all = Vec::new();
    let mut buffer = vec![0; 64 * 1024];
    loop {
        match recv.read(&mut buffer).await? {
            0 => return Ok(all),
            count => all.extend_from_slice(&buffer[..count]),
        }
    }
}

/// A connection made with quinn alone, which does whatever the test wants on it.
async fn raw_connect(address: SocketAddr, tls: QuicClientConfig) -> Result<(Endpoint, Connection), quinn::ConnectionError> {
    let endpoint = socket::endpoint(loopback(), None, None).unwrap();
    let config = ClientConfig::new(Arc::new(tls));
    let connection = within(endpoint.connect_with(config, address, tls::SERVER_NAME).unwrap()).await?;
    Ok((endpoint, connection))
}

/// A raw connection that speaks our TLS.
async fn raw_client(node: &Node) -> (Endpoint, Connection) {
    raw_connect(node.address, tls::client(node.id, tls::provider(), crate::ALPN).unwrap().0)
        .await
        .unwrap()
}

/// A listener made with quinn alone.
fn raw_server(tls: quinn::crypto::rustls::QuicServerConfig) -> (Endpoint, SocketAddr) {
    let endpoint = socket::endpoint(loopback(), Some(ServerConfig::with_crypto(Arc::new(tls))), None).unwrap();
    let address = endpoint.local_addr().unwrap();
    (endpoint, address)
}

/// Lets a raw listener finish every handshake, and keeps what comes of it.
fn serve(endpoint: &Endpoint) {
    let endpoint = endpoint.clone();
    tokio::spawn(async move {
        let mut kept = Vec::new();
        while let Some(incoming) = endpoint.accept().await {
            kept.push(incoming.await);
        }
    });
}
