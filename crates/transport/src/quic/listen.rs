//! Takes inbound connections: admission, handshake, and the first stream that tells nodes from clients.

use std::{
    collections::HashSet,
    net::{IpAddr, SocketAddr},
    sync::{Arc, PoisonError, RwLock, atomic::AtomicUsize},
};

use anonnet_crypto::keys::IdentityKey;
use quinn::{Connection, Endpoint, Incoming, RecvStream, SendStream, ServerConfig, ValidationTokenConfig};
use tokio::{
    sync::{OwnedSemaphorePermit, Semaphore, mpsc},
    time::{Instant, timeout_at},
};

use super::{
    auth,
    direct::{DirectLink, OnDirect},
    link::{Established, QuicLink},
    settings::{End, link_window, transport},
    size::Size,
    streams::{self, Shared, TEARDOWN},
    tls,
    unpad::Unpadded,
};
use crate::{
    error::TransportError,
    limits::{DIRECT_GROWTH_TOTAL, INCOMING_BUFFER, INCOMING_BUFFER_TOTAL, LINK_QUEUE, LinkLimits},
    traits::{KIND_CONTROL, StreamKind},
};

/// What to do with a connection attempt.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Admit {
    /// Start the handshake.
    Accept,
    /// Make the source prove that it receives at its address first. For one that has, this means [`Admit::Accept`].
    Retry,
    /// Say nothing.
    Ignore,
}

/// Decides on connection attempts before they cost anything.
pub trait Admission: Send + Sync + 'static {
    /// Called once for each attempt, and again after a Retry; must be quick.
    fn admit(&self, remote: SocketAddr) -> Admit;
}

impl<F: Fn(SocketAddr) -> Admit + Send + Sync + 'static> Admission for F {
    fn admit(&self, remote: SocketAddr) -> Admit {
        self(remote)
    }
}

/// Admits everybody.
#[derive(Clone, Copy, Debug, Default)]
pub struct AdmitAll;

impl Admission for AdmitAll {
    fn admit(&self, _remote: SocketAddr) -> Admit {
        Admit::Accept
    }
}

/// The addresses that get unpadded links.
pub(crate) type KnownRelays = Arc<RwLock<HashSet<IpAddr>>>;

/// The configuration that an endpoint starts with, and padded links keep.
pub(crate) fn server_config(identity: &Arc<IdentityKey>, limits: &LinkLimits) -> Result<ServerConfig, TransportError> {
    let mut config = ServerConfig::with_crypto(Arc::new(tls::server(identity, limits.alpn())?));
    let mut tokens = ValidationTokenConfig::default();
    // A token for later would tie a client's connections to each other.
    tokens.sent(0);
    config
        .transport_config(transport(End::ClientAccept(Size::Least), limits))
        .validation_token_config(tokens)
        .migration(true)
        .max_incoming(limits.pending_links)
        .incoming_buffer_size(INCOMING_BUFFER)
        .incoming_buffer_size_total(INCOMING_BUFFER_TOTAL);
    Ok(config)
}

pub(crate) struct Listener {
    endpoint: Endpoint,
    identity: Arc<IdentityKey>,
    admission: Arc<dyn Admission>,
    known: KnownRelays,
    limits: LinkLimits,
    /// By the size of their packets.
    padded: [(Size, Arc<ServerConfig>); Size::ALL.len()],
    plain: Arc<ServerConfig>,
    pending: Arc<Semaphore>,
    links: Arc<Semaphore>,
    ready: mpsc::Sender<QuicLink>,
    on_direct: Option<OnDirect>,
    growth: Arc<AtomicUsize>,
}

impl Listener {
    /// A listener on the endpoint, and where its links come out.
    pub(crate) fn new(
        endpoint: Endpoint,
        config: ServerConfig,
        identity: Arc<IdentityKey>,
        admission: Arc<dyn Admission>,
        known: KnownRelays,
        limits: LinkLimits,
        on_direct: Option<OnDirect>,
    ) -> (Arc<Self>, mpsc::Receiver<QuicLink>) {
        let mut plain = config.clone();
        plain.transport_config(transport(End::NodeAccept, &limits));
        let padded = Size::ALL.map(|size| {
            let mut config = config.clone();
            config.transport_config(transport(End::ClientAccept(size), &limits));
            config.crypto = Arc::new(Unpadded(config.crypto));
            (size, Arc::new(config))
        });
        let (ready, links) = mpsc::channel(LINK_QUEUE);
        let listener = Self {
            endpoint,
            identity,
            admission,
            known,
            padded,
            plain: Arc::new(plain),
            pending: Arc::new(Semaphore::new(limits.pending_links)),
            links: Arc::new(Semaphore::new(limits.inbound_links)),
            limits,
            ready,
            on_direct,
            growth: Arc::new(AtomicUsize::new(DIRECT_GROWTH_TOTAL)),
        };
        (Arc::new(listener), links)
    }

    /// Until the endpoint is closed.
    pub(crate) async fn run(self: Arc<Self>) {
        while let Some(incoming) = self.endpoint.accept().await {
            self.consider(incoming);
        }
    }

    fn consider(self: &Arc<Self>, incoming: Incoming) {
        let remote = incoming.remote_address();
        let validated = incoming.remote_address_validated();
        let crowded = self.pending.available_permits() <= self.limits.pending_links / 2;
        match self.admission.admit(remote) {
            Admit::Ignore => return incoming.ignore(),
            Admit::Retry if !validated => return retry(incoming),
            Admit::Accept if crowded && !validated => return retry(incoming),
            Admit::Accept | Admit::Retry => {}
        }
        let (Ok(pending), Ok(place)) = (
            Arc::clone(&self.pending).try_acquire_owned(),
            Arc::clone(&self.links).try_acquire_owned(),
        ) else {
            return incoming.refuse();
        };
        let known = self.limits.direct || self.known.read().unwrap_or_else(PoisonError::into_inner).contains(&remote.ip());
        let size = Size::of(&incoming.orig_dst_cid());
        let padded = self.padded.iter().find(|(of, _)| *of == size).filter(|_| !known);
        let config = Arc::clone(padded.map_or(&self.plain, |(_, config)| config));
        let listener = Arc::clone(self);
        tokio::spawn(async move {
            if let Some(link) = listener.establish(incoming, config, place).await {
                drop(pending);
                // A full queue holds the link back; the peer notices as it would a slow node.
                let _ = listener.ready.send(link).await;
            }
        });
    }

    async fn establish(&self, incoming: Incoming, config: Arc<ServerConfig>, place: OwnedSemaphorePermit) -> Option<QuicLink> {
        let deadline = Instant::now() + self.limits.handshake_deadline;
        let connecting = incoming.accept_with(config).ok()?;
        let connection = timeout_at(deadline, connecting).await.ok()?.ok()?;
        let shared = Shared::new();
        let mut established = Established {
            peer: None,
            inbound: true,
            control: None,
            first: None,
            permit: Some(place),
        };
        match timeout_at(deadline, first_stream(&connection)).await {
            // Nor is there anything else for it.
            Err(_) | Ok(First::Gone) if self.limits.direct => {
                connection.close(TEARDOWN, &[]);
                return None;
            }
            // A client that opens nothing for now; what it opens later cannot make a node of it.
            Err(_) | Ok(First::Gone) => {}
            Ok(First::Lost) => return None,
            Ok(First::Stream(KIND_CONTROL, send, recv)) => {
                let proved = timeout_at(deadline, auth::accept(&connection, &self.identity, send, recv)).await;
                let Ok(Ok((peer, control))) = proved else {
                    connection.close(TEARDOWN, &[]);
                    return None;
                };
                connection.set_receive_window(link_window(self.limits.node_circuits, &self.limits));
                if let Some(on_direct) = &self.on_direct {
                    on_direct(DirectLink {
                        connection,
                        peer,
                        control,
                        growth: Arc::clone(&self.growth),
                        _permit: established.permit,
                    });
                    return None;
                }
                established.peer = Some(peer);
                established.control = Some(control);
            }
            Ok(First::Stream(byte, send, recv)) => {
                let Some(kind) = StreamKind::from_byte(byte).filter(|_| !self.limits.direct) else {
                    connection.close(TEARDOWN, &[]);
                    return None;
                };
                let (send, recv) = streams::accepted(&shared, send, recv);
                established.first = Some((kind, send, recv));
            }
        }
        Some(QuicLink::new(connection, shared, established, &self.limits))
    }
}

fn retry(incoming: Incoming) {
    if let Err(error) = incoming.retry() {
        error.into_incoming().ignore();
    }
}

/// What the dialler did first.
enum First {
    Stream(u8, SendStream, RecvStream),
    /// Ended its first stream before its type byte.
    Gone,
    /// Ended the link.
    Lost,
}

async fn first_stream(connection: &Connection) -> First {
    let Ok((send, mut recv)) = connection.accept_bi().await else {
        return First::Lost;
    };
    let mut byte = [0];
    match recv.read(&mut byte).await {
        Ok(Some(1)) => First::Stream(byte[0], send, recv),
        _ if connection.close_reason().is_some() => First::Lost,
        _ => First::Gone,
    }
}
