//! What a node does for others: circuits, exit streams, requests.

mod circuit;
#[cfg(feature = "exit")]
mod exit;
mod gate;
mod link;
mod services;
mod side;

use std::collections::HashSet;
use std::net::{IpAddr, SocketAddr};
use std::sync::atomic::AtomicBool;
use std::sync::{Arc, Mutex, RwLock};

use anonnet_crypto::keys::{CircuitKeyRing, NodeId};
use anonnet_errors::ErrorKind;
#[cfg(feature = "exit")]
use anonnet_relay::ExitPolicy;
use anonnet_relay::{PrefixLimiter, RelayRules};
use anonnet_transport::{Admission, Admit, LinkPool, Transport};
use tokio::sync::Semaphore;

use crate::bandwidth::Bandwidth;
use crate::clock::monotonic_ns;
use crate::events::EventQueue;
#[cfg(feature = "exit")]
use crate::limits::DNS_CONCURRENT_MAX;
use crate::limits::{CREATE_QUEUE_MAX, RPC_LARGE_TOTAL_BYTES};
use crate::quota::Quota;
use crate::rpc::Pending;
use crate::stats::RelayStats;
use crate::sync::lock;

#[cfg(feature = "exit")]
pub(crate) use exit::dial;
#[cfg(feature = "exit")]
pub use exit::{Resolve, SystemResolver};
pub(crate) use gate::HandshakeGate;
pub(crate) use link::{accept_links, read_stream_frame, serve_link, write_stream_frame};
pub(crate) use services::Services;
pub(crate) use side::{RelayNote, RelaySide};

/// Who may do how much: new connections or handshakes a second for each address prefix.
#[derive(Clone, Copy, Debug)]
pub struct RateLimit {
    pub rate: f64,
    pub burst: u32,
}

/// Roles of a node towards others.
#[derive(Clone, Copy, Debug, Default)]
pub struct Roles {
    /// Carries circuits.
    pub relay: bool,
    /// Opens streams to targets for the last hop's client.
    pub exit: bool,
}

/// Everything that serving needs, shared by all links of a node.
pub(crate) struct Server<T: Transport> {
    pub(crate) node_id: NodeId,
    pub(crate) ring: RwLock<CircuitKeyRing>,
    pub(crate) roles: Roles,
    pub(crate) rules: Arc<RelayRules>,
    #[cfg(feature = "exit")]
    pub(crate) policy: ExitPolicy,
    #[cfg(feature = "exit")]
    pub(crate) allow_private: bool,
    pub(crate) pool: LinkPool<T>,
    pub(crate) events: EventQueue,
    pub(crate) requests: Pending<Result<Vec<u8>, ErrorKind>>,
    /// Bytes that large requests may still hold.
    pub(crate) large_requests: Semaphore,
    pub(crate) bandwidth: Arc<Bandwidth>,
    pub(crate) quota: Arc<Quota>,
    pub(crate) stats: RelayStats,
    pub(crate) gate: HandshakeGate,
    pub(crate) services: Services<T>,
    pub(crate) limits: Arc<SourceLimits>,
    #[cfg(feature = "exit")]
    pub(crate) resolver: Arc<dyn Resolve>,
    #[cfg(feature = "exit")]
    pub(crate) names: Semaphore,
    /// Nothing new is taken: the node is about to end.
    pub(crate) draining: AtomicBool,
}

pub(crate) fn large_requests() -> Semaphore {
    Semaphore::new(RPC_LARGE_TOTAL_BYTES)
}

#[cfg(feature = "exit")]
pub(crate) fn dns_slots() -> Semaphore {
    Semaphore::new(DNS_CONCURRENT_MAX)
}

pub(crate) fn handshake_gate(at_once: usize) -> HandshakeGate {
    HandshakeGate::new(at_once, CREATE_QUEUE_MAX)
}

/// Limits by where something comes from. Relays of the list have none: they carry other people's circuits.
pub(crate) struct SourceLimits {
    known: RwLock<HashSet<IpAddr>>,
    links: Mutex<PrefixLimiter>,
    handshakes: Mutex<PrefixLimiter>,
}

/// Prefixes that are remembered at once.
const PREFIXES_MAX: usize = 65_536;

impl SourceLimits {
    pub(crate) fn new(links: RateLimit, handshakes: RateLimit) -> Arc<Self> {
        let limiter = |limit: RateLimit| Mutex::new(PrefixLimiter::new(limit.rate, limit.burst, PREFIXES_MAX));
        Arc::new(Self {
            known: RwLock::default(),
            links: limiter(links),
            handshakes: limiter(handshakes),
        })
    }

    pub(crate) fn set_known(&self, addresses: HashSet<IpAddr>) {
        *self.known.write().unwrap_or_else(std::sync::PoisonError::into_inner) = addresses;
    }

    fn is_known(&self, address: IpAddr) -> bool {
        self.known
            .read()
            .unwrap_or_else(std::sync::PoisonError::into_inner)
            .contains(&address)
    }

    fn allow(&self, limiter: &Mutex<PrefixLimiter>, address: IpAddr) -> bool {
        self.is_known(address) || lock(limiter).allow(monotonic_ns(), address)
    }

    pub(crate) fn allow_handshake(&self, address: IpAddr) -> bool {
        self.allow(&self.handshakes, address)
    }
}

/// [`SourceLimits`] as the transport asks them.
pub(crate) struct Door(pub(crate) Arc<SourceLimits>);

impl Admission for Door {
    fn admit(&self, remote: SocketAddr) -> Admit {
        if self.0.allow(&self.0.links, remote.ip()) {
            Admit::Accept
        } else {
            Admit::Ignore
        }
    }
}
