//! What a circuit's last hop does for its client outside the network: names and connections.

use std::future::Future;
use std::io;
use std::net::{IpAddr, SocketAddr};
use std::pin::Pin;
use std::sync::Arc;

use anonnet_cells::EndReason;
use anonnet_transport::Transport;
use tokio::net::{TcpSocket, TcpStream};

use super::Server;
use super::side::OwnedHost;
use crate::copy::{abort, socket_kind, splice};
use crate::limits::{CONNECT_ADDRESS_TIMEOUT, CONNECT_TIMEOUT, DNS_ADDRESSES_MAX, DNS_TIMEOUT};
use crate::pipe::{Answer, StreamHandle};

/// How names become addresses; tests put their own in its place.
pub trait Resolve: Send + Sync + 'static {
    fn resolve(&self, name: &str) -> Pin<Box<dyn Future<Output = io::Result<Vec<IpAddr>>> + Send>>;
}

/// The operating system's resolver.
pub struct SystemResolver;

impl Resolve for SystemResolver {
    fn resolve(&self, name: &str) -> Pin<Box<dyn Future<Output = io::Result<Vec<IpAddr>>> + Send>> {
        let name = name.to_owned();
        Box::pin(async move { Ok(tokio::net::lookup_host((name, 0)).await?.map(|address| address.ip()).collect()) })
    }
}

/// Looks a name up, in a bounded number at once and a bounded time.
async fn look_up<T: Transport>(server: &Server<T>, name: &str) -> Result<Vec<IpAddr>, EndReason> {
    let asked = async {
        let _slot = server.names.acquire().await.map_err(|_| EndReason::Internal)?;
        server.resolver.resolve(name).await.map_err(|_| EndReason::NotResolved)
    };
    let mut addresses = tokio::time::timeout(DNS_TIMEOUT, asked).await.map_err(|_| EndReason::Timeout)??;
    let mut seen = std::collections::HashSet::new();
    addresses.retain(|address| seen.insert(*address));
    addresses.truncate(DNS_ADDRESSES_MAX);
    if addresses.is_empty() {
        Err(EndReason::NotResolved)
    } else {
        Ok(addresses)
    }
}

/// Answers a RESOLVE. Private addresses are nobody's business.
pub(super) async fn resolve<T: Transport>(server: Arc<Server<T>>, handle: StreamHandle, name: String) {
    if !server.roles.exit {
        return handle.reset(EndReason::Policy);
    }
    match look_up(&server, &name).await {
        Err(reason) => handle.reset(reason),
        Ok(mut addresses) => {
            addresses.retain(|address| server.allow_private || anonnet_relay::policy::is_public(*address));
            if addresses.is_empty() {
                handle.reset(EndReason::Policy);
            } else {
                handle.accept(Answer::Resolved(addresses));
                handle.ended().await;
            }
        }
    }
}

/// Serves a BEGIN: resolves, checks the policy on what it resolved to, connects, and copies both ways.
pub(super) async fn serve<T: Transport>(server: Arc<Server<T>>, handle: StreamHandle, host: OwnedHost, port: u16) {
    if !server.roles.exit || !server.policy.may_allow_port(port) {
        return handle.reset(EndReason::Policy);
    }
    let connecting = async {
        tokio::select! {
            biased;
            // The client gave up meanwhile.
            _ = handle.ended() => Err(EndReason::Closed),
            connected = connect(&server, host, port) => connected,
        }
    };
    match tokio::time::timeout(CONNECT_TIMEOUT, connecting)
        .await
        .unwrap_or(Err(EndReason::Timeout))
    {
        Err(reason) => handle.reset(reason),
        Ok(socket) => {
            server.stats.exit_streams.add(1);
            handle.accept(Answer::Connected);
            if let Err(kind) = splice(&handle, socket, Vec::new()).await {
                handle.reset(EndReason::from_kind(kind));
            }
        }
    }
}

async fn connect<T: Transport>(server: &Server<T>, host: OwnedHost, port: u16) -> Result<TcpStream, EndReason> {
    let addresses = match host {
        OwnedHost::Address(address) => vec![address],
        OwnedHost::Name(name) => look_up(server, &name).await?,
    };
    let mut failure = EndReason::Policy;
    for address in addresses {
        if server.policy.check(address, port, server.allow_private).is_err() {
            continue;
        }
        let attempt = tokio::time::timeout(CONNECT_ADDRESS_TIMEOUT, dial(SocketAddr::new(address, port)));
        match attempt.await {
            Ok(Ok(socket)) => return Ok(socket),
            Ok(Err(error)) => failure = EndReason::from_kind(socket_kind(&error)),
            Err(_) => failure = EndReason::Timeout,
        }
    }
    Err(failure)
}

/// Connects. A target may have accepted what is given up on the way here: it sees a reset, and no connection that ended well.
pub(crate) async fn dial(target: SocketAddr) -> io::Result<TcpStream> {
    let socket = if target.is_ipv4() {
        TcpSocket::new_v4()
    } else {
        TcpSocket::new_v6()
    }?;
    abort(&socket);
    let _ = socket.set_nodelay(true);
    socket.connect(target).await
}
