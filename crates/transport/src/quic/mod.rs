//! The QUIC transport: quinn with raw public keys and a hybrid key exchange.

mod auth;
mod caught;
mod congestion;
mod convert;
mod direct;
mod incoming;
mod kx;
mod link;
mod listen;
mod settings;
mod size;
mod socket;
mod streams;
mod tls;
mod udp;
mod unpad;

#[cfg(test)]
mod tests;

use std::{
    fmt,
    net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr},
    pin::Pin,
    sync::{Arc, Mutex as StdMutex, PoisonError, atomic::Ordering},
};

use anonnet_crypto::keys::{IdentityKey, NodeId};
use quinn::{ClientConfig, Connection, Endpoint, NoneTokenStore};
use rustls::crypto::CryptoProvider;
use tokio::{
    sync::{Mutex, mpsc},
    time::{Instant, timeout_at},
};

#[cfg(feature = "fuzzing")]
pub use self::unpad::unpadded_len;
pub use self::{
    direct::{DirectLink, DirectStream, OnDirect},
    link::QuicLink,
    listen::{Admission, Admit, AdmitAll},
    streams::{QuicRecv, QuicSend},
};
use self::{
    incoming::Control,
    link::Established,
    listen::{KnownRelays, Listener},
    settings::{End, transport},
    size::{Paths, Size},
    streams::{Shared, TEARDOWN},
    unpad::Unpadded,
};
use crate::{
    error::TransportError,
    limits::{LinkLimits, SIZE_DEADLINE},
    traits::{DialRole, Transport},
};

/// A connection, and its control stream where we proved an identity.
type Dialling = Pin<Box<dyn Future<Output = Result<(Connection, Option<Control>), TransportError>> + Send>>;

/// How a [`QuicTransport`] is set up.
#[derive(Clone)]
pub struct QuicConfig {
    /// The address to listen at, and to dial from. `None`: dial only, from ephemeral ports.
    pub bind: Option<SocketAddr>,
    /// Needed to listen, and to dial as a node.
    pub identity: Option<Arc<IdentityKey>>,
    /// Asked about every connection attempt.
    pub admission: Arc<dyn Admission>,
    /// The limits of links.
    pub limits: LinkLimits,
    /// Gets the links of a direct listener, which come out nowhere else.
    pub on_direct: Option<OnDirect>,
}

impl QuicConfig {
    /// A client: dials only, has no identity.
    pub fn client() -> Self {
        Self {
            bind: None,
            identity: None,
            admission: Arc::new(AdmitAll),
            limits: LinkLimits::default(),
            on_direct: None,
        }
    }

    /// A node that listens at `bind` and admits everybody.
    pub fn node(bind: SocketAddr, identity: Arc<IdentityKey>) -> Self {
        Self {
            bind: Some(bind),
            identity: Some(identity),
            ..Self::client()
        }
    }

    /// The same with another admission.
    #[must_use]
    pub fn with_admission(mut self, admission: Arc<dyn Admission>) -> Self {
        self.admission = admission;
        self
    }
}

impl fmt::Debug for QuicConfig {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("QuicConfig")
            .field("listens", &self.bind.is_some())
            .finish_non_exhaustive()
    }
}

/// Links over QUIC. Clones are the same transport; it closes with the last of them.
#[derive(Clone)]
pub struct QuicTransport(Arc<Inner>);

struct Inner {
    identity: Option<Arc<IdentityKey>>,
    limits: LinkLimits,
    provider: Arc<CryptoProvider>,
    known: KnownRelays,
    paths: Paths,
    endpoints: StdMutex<Endpoints>,
    inbound: Option<Mutex<mpsc::Receiver<QuicLink>>>,
}

/// A socket per address family; a node's first is the one it listens on.
#[derive(Default)]
struct Endpoints {
    v4: Option<Endpoint>,
    v6: Option<Endpoint>,
    closed: bool,
}

impl Endpoints {
    fn all(&self) -> impl Iterator<Item = &Endpoint> {
        self.v4.iter().chain(&self.v6)
    }
}

impl fmt::Debug for QuicTransport {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("QuicTransport")
            .field("listens", &self.0.inbound.is_some())
            .finish_non_exhaustive()
    }
}

impl QuicTransport {
    /// Opens the socket, if one is asked for, and starts to listen. To be called inside a tokio runtime.
    ///
    /// # Errors
    /// `Bind`; `NodeOnly` if `bind` is given without an identity.
    pub fn bind(config: QuicConfig) -> Result<Self, TransportError> {
        let QuicConfig {
            bind,
            identity,
            admission,
            limits,
            on_direct,
        } = config;
        let known = KnownRelays::default();
        let mut endpoints = Endpoints::default();
        let mut inbound = None;
        if let Some(address) = bind {
            let identity = identity.clone().ok_or(TransportError::NodeOnly)?;
            let server = listen::server_config(&identity, &limits)?;
            let endpoint = socket::endpoint(address, Some(server.clone()), Some(&identity))?;
            let (listener, links) = Listener::new(
                endpoint.clone(),
                server,
                identity,
                admission,
                Arc::clone(&known),
                limits.clone(),
                on_direct,
            );
            tokio::spawn(listener.run());
            *(if address.is_ipv4() { &mut endpoints.v4 } else { &mut endpoints.v6 }) = Some(endpoint);
            inbound = Some(Mutex::new(links));
        }
        let endpoints = StdMutex::new(endpoints);
        Ok(Self(Arc::new(Inner {
            identity,
            limits,
            provider: tls::provider(),
            known,
            paths: Paths::default(),
            endpoints,
            inbound,
        })))
    }

    /// Links from these addresses are between relays and not padded. Replaces what was set before; counts for new links.
    pub fn set_known_relays(&self, addresses: impl IntoIterator<Item = IpAddr>) {
        *self.0.known.write().unwrap_or_else(PoisonError::into_inner) = addresses.into_iter().collect();
    }

    /// New links are not answered any more; those that are up go on.
    pub fn stop_listening(&self) {
        for endpoint in self.0.lock().all() {
            endpoint.set_server_config(None);
        }
    }

    /// Who we are, if anybody.
    pub fn node_id(&self) -> Option<NodeId> {
        self.0.identity.as_ref().map(|identity| identity.public().node_id())
    }

    /// The endpoint that reaches the address, opened now if it is the first of its family.
    fn endpoint(&self, address: SocketAddr) -> Result<Endpoint, TransportError> {
        let mut endpoints = self.0.lock();
        if endpoints.closed {
            return Err(TransportError::Closed(crate::CloseReason::Local));
        }
        let (slot, any): (_, IpAddr) = match address {
            SocketAddr::V4(_) => (&mut endpoints.v4, Ipv4Addr::UNSPECIFIED.into()),
            SocketAddr::V6(_) => (&mut endpoints.v6, Ipv6Addr::UNSPECIFIED.into()),
        };
        if let Some(endpoint) = slot {
            return Ok(endpoint.clone());
        }
        let endpoint = socket::endpoint((any, 0).into(), None, None)?;
        *slot = Some(endpoint.clone());
        Ok(endpoint)
    }
}

impl QuicTransport {
    /// One handshake.
    async fn connect(
        &self,
        node_id: NodeId,
        address: SocketAddr,
        end: End,
        size: Option<Size>,
        deadline: Instant,
    ) -> Result<Connection, TransportError> {
        let (tls, refused) = tls::client(node_id, Arc::clone(&self.0.provider), self.0.limits.alpn())?;
        let tls = Arc::new(tls);
        // Packets of one size are a client's.
        let mut config = match size {
            Some(_) => ClientConfig::new(Arc::new(Unpadded(tls))),
            None => ClientConfig::new(tls),
        };
        config
            .transport_config(transport(end, &self.0.limits))
            .token_store(Arc::new(NoneTokenStore))
            .version(1);
        if let Some(size) = size {
            let first_id = size.first_id()?;
            config.initial_dst_cid_provider(Arc::new(move || first_id));
        }
        let connecting = self
            .endpoint(address)?
            .connect_with(config, address, tls::SERVER_NAME)
            .map_err(|error| convert::connect_error(&error))?;
        match timeout_at(deadline, connecting).await {
            Err(_) => Err(TransportError::Unreachable),
            Ok(Err(error)) => Err(convert::dial_error(&error, refused.load(Ordering::Acquire))),
            Ok(Ok(connection)) => Ok(connection),
        }
    }

    /// A client's link with the largest size that its path carries. Whatever is refused, is refused in every size.
    async fn connect_sized(&self, node_id: NodeId, address: SocketAddr, deadline: Instant) -> Result<Connection, TransportError> {
        let sizes = self.0.paths.sizes(address);
        for (tried, size) in sizes.iter().enumerate() {
            let last = tried + 1 == sizes.len();
            let until = if last {
                deadline
            } else {
                deadline.min(Instant::now() + SIZE_DEADLINE)
            };
            match self.connect(node_id, address, End::ClientDial(*size), Some(*size), until).await {
                Err(TransportError::Unreachable) if !last && Instant::now() < deadline => {}
                Err(error) => return Err(error),
                Ok(connection) => {
                    self.0.paths.came_up(*size, tried + 1);
                    return Ok(connection);
                }
            }
        }
        Err(TransportError::Unreachable)
    }
}

impl QuicTransport {
    /// Boxed, so that it is compiled once and here, where size counts and not speed, and not again wherever somebody dials.
    fn dialling(self, node_id: NodeId, address: SocketAddr, role: DialRole) -> Dialling {
        Box::pin(async move { self.dial_now(node_id, address, role).await })
    }

    async fn dial_now(
        &self,
        node_id: NodeId,
        address: SocketAddr,
        role: DialRole,
    ) -> Result<(Connection, Option<Control>), TransportError> {
        let ip = address.ip();
        if address.port() == 0 || ip.is_unspecified() || ip.is_multicast() {
            return Err(TransportError::Address);
        }
        let identity = match (role, &self.0.identity) {
            (DialRole::Client, _) => None,
            (DialRole::Node, Some(identity)) => Some(identity),
            (DialRole::Node, None) => return Err(TransportError::NodeOnly),
        };
        let deadline = Instant::now() + self.0.limits.dial_deadline;
        let connection = match role {
            DialRole::Node => self.connect(node_id, address, End::NodeDial, None, deadline).await?,
            DialRole::Client => self.connect_sized(node_id, address, deadline).await?,
        };
        let control = match identity {
            None => None,
            Some(identity) => match timeout_at(deadline, auth::dial(&connection, identity)).await {
                Ok(Ok(control)) => Some(control),
                Ok(Err(error)) => {
                    connection.close(TEARDOWN, &[]);
                    return Err(error);
                }
                Err(_) => {
                    connection.close(TEARDOWN, &[]);
                    return Err(TransportError::Timeout);
                }
            },
        };
        Ok((connection, control))
    }
}

impl Inner {
    fn lock(&self) -> std::sync::MutexGuard<'_, Endpoints> {
        self.endpoints.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn close(&self) {
        let mut endpoints = self.lock();
        endpoints.closed = true;
        for endpoint in endpoints.all() {
            endpoint.close(TEARDOWN, &[]);
        }
    }
}

impl Drop for Inner {
    fn drop(&mut self) {
        self.close();
    }
}

impl Transport for QuicTransport {
    type Link = QuicLink;

    fn local_addr(&self) -> Result<SocketAddr, TransportError> {
        let endpoints = self.0.lock();
        let endpoint = endpoints.all().next().ok_or(TransportError::Address)?;
        endpoint.local_addr().map_err(|error| TransportError::Bind(error.kind()))
    }

    async fn dial(&self, node_id: NodeId, address: SocketAddr, role: DialRole) -> Result<QuicLink, TransportError> {
        let (connection, control) = self.clone().dialling(node_id, address, role).await?;
        let established = Established {
            peer: Some(node_id),
            inbound: false,
            control,
            first: None,
            permit: None,
        };
        Ok(QuicLink::new(connection, Shared::new(), established, &self.0.limits))
    }

    async fn accept(&self) -> Option<QuicLink> {
        self.0.inbound.as_ref()?.lock().await.recv().await
    }

    fn close(&self) {
        self.0.close();
    }

    async fn closed(&self) {
        let endpoints: Vec<_> = self.0.lock().all().cloned().collect();
        for endpoint in endpoints {
            endpoint.wait_idle().await;
        }
    }
}
