//! A node: what TypeScript commands. Every method returns at once; what takes time is an operation whose answer is an event.

mod direct;
mod lifecycle;
#[cfg(feature = "testing")]
mod plant;
#[cfg(feature = "proxy")]
mod proxies;
mod services;
mod snapshot;
mod streams;

use std::collections::HashMap;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, AtomicU32, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use anonnet_crypto::keys::{CircuitKey, IdentityKey, NodeId};
use anonnet_crypto::keystore::StoredKeys;
use anonnet_errors::{ErrorKind, HasKind};
use anonnet_transport::{DialRole, QuicTransport, Transport};
use tokio::runtime::Handle;
use tokio::sync::Semaphore;
#[cfg(feature = "proxy")]
use tokio::task::AbortHandle;
use zeroize::Zeroizing;

use crate::client::{BuildRequest, CircuitHandle, Circuits, build};
use crate::clock::unix_seconds;
use crate::events::{Event, EventQueue, OpId, OpValue};
use crate::keyfile;
use crate::limits::CLIENT_CIRCUITS_MAX;
use crate::ops::Operations;
#[cfg(feature = "proxy")]
use crate::proxy::Attach;
use crate::rng::os_rng;
use crate::rpc;
#[cfg(feature = "exit")]
use crate::server::Resolve;
use crate::server::{RateLimit, Roles, Server, SourceLimits};
use crate::sync::lock;
use crate::waiting::{Incoming, Introductions};

#[cfg(feature = "testing")]
pub use plant::Plant;
pub use services::IntroduceTo;
pub use snapshot::{CircuitSnapshot, LinkSnapshot};
#[cfg(feature = "metrics")]
pub use snapshot::{ProxySnapshot, Snapshot};
use streams::Edge;

/// A key file and what opens it.
pub struct StoredAt {
    pub path: PathBuf,
    pub passphrase: Option<Zeroizing<Vec<u8>>>,
}

/// What a node is made of. Nothing of it changes while the node lives.
pub struct NodeOptions {
    /// Where the keys are kept; made where there are none. `None`: fresh keys, in memory only.
    pub keys: Option<StoredAt>,
    /// The UDP address to serve others on. `None`: a client only.
    pub listen: Option<SocketAddr>,
    pub roles: Roles,
    /// Lines of an exit policy; the first that matches decides, no match refuses.
    pub exit_policy: Vec<String>,
    /// For test networks only: targets and relays at private addresses are allowed.
    pub allow_private: bool,
    /// Bytes a second that a relay carries, 0 for no limit, and how many at once.
    pub bandwidth_rate: u64,
    pub bandwidth_burst: u64,
    /// New links a second from one address prefix.
    pub links: RateLimit,
    /// Circuit handshakes a second from one address prefix.
    pub handshakes: RateLimit,
    #[cfg(feature = "exit")]
    pub resolver: Arc<dyn Resolve>,
}

/// Another node and where it is.
#[derive(Clone, Copy, Debug)]
pub struct Peer {
    pub node: [u8; 32],
    pub address: SocketAddr,
}

/// A request to another node.
#[derive(Clone, Debug)]
pub struct Ask {
    pub body: Vec<u8>,
    pub timeout: Duration,
    pub max_reply: usize,
    /// Over a link that is dialled for it alone, so that an answer proves that the peer is at that address.
    pub fresh: bool,
}

/// One relay of a path.
#[derive(Clone, Copy, Debug)]
pub struct PathHop {
    pub node: [u8; 32],
    pub onion_key: [u8; 32],
    pub address: SocketAddr,
}

struct Inner {
    identity: Arc<IdentityKey>,
    stored: Option<StoredAt>,
    transport: QuicTransport,
    server: Arc<Server<QuicTransport>>,
    limits: Arc<SourceLimits>,
    listening: Option<SocketAddr>,
    events: EventQueue,
    operations: Operations,
    circuits: Circuits,
    streams: Mutex<HashMap<u32, Edge>>,
    /// Direct links that are over here, and whose last bytes are on their way.
    delivering: Arc<AtomicUsize>,
    #[cfg(feature = "proxy")]
    proxies: Mutex<HashMap<u32, AbortHandle>>,
    #[cfg(feature = "proxy")]
    attach: Attach,
    /// Introductions to services of ours, until the program answers them.
    introductions: Mutex<Introductions>,
    /// Streams of clients of services of ours, the same.
    incoming: Incoming,
    /// Those that are connected with a target.
    forwarded: Arc<AtomicUsize>,
    /// Proofs of work that may still be begun.
    solvers: Semaphore,
    next_id: AtomicU32,
    closed: AtomicBool,
    runtime: Handle,
}

impl Inner {
    /// A number for a circuit, stream or listener: never 0. Four thousand million of them pass before one comes again.
    fn new_id(&self) -> u32 {
        loop {
            let id = self.next_id.fetch_add(1, Ordering::Relaxed);
            if id != 0 {
                return id;
            }
        }
    }

    fn circuit(&self, id: u32) -> Result<CircuitHandle, ErrorKind> {
        lock(&self.circuits).get(&id).cloned().ok_or(ErrorKind::CircuitClosed)
    }

    fn dial_role(&self) -> DialRole {
        if self.listening.is_some() {
            DialRole::Node
        } else {
            DialRole::Client
        }
    }
}

/// A handle to a node. The node ends with [`close`](Node::close).
#[derive(Clone)]
pub struct Node {
    inner: Arc<Inner>,
}

impl Node {
    /// The node's id.
    pub fn node_id(&self) -> [u8; 32] {
        self.inner.server.node_id.0
    }

    /// Its Ed25519 public key.
    pub fn public_key(&self) -> [u8; 32] {
        *self.inner.identity.public().as_bytes()
    }

    /// The X25519 key that circuits are made with now.
    pub fn onion_key(&self) -> [u8; 32] {
        *self
            .inner
            .server
            .ring
            .read()
            .unwrap_or_else(PoisonError::into_inner)
            .current_public()
    }

    /// The UDP address that is served, once bound.
    pub fn local_address(&self) -> Option<SocketAddr> {
        self.inner.listening
    }

    /// An Ed25519 signature by the node's identity.
    pub fn sign(&self, message: &[u8]) -> [u8; 64] {
        self.inner.identity.sign(message)
    }

    /// Makes a new circuit key; the old one is accepted for a day more. Kept on disk where the keys are.
    pub fn rotate_onion_key(&self) -> Result<[u8; 32], ErrorKind> {
        self.check_open()?;
        let mut ring = self.inner.server.ring.write().unwrap_or_else(PoisonError::into_inner);
        let mut rotated = anonnet_crypto::keys::CircuitKeyRing::from_bytes(&ring.to_bytes()).map_err(|error| error.kind())?;
        rotated.rotate(CircuitKey::generate(&mut os_rng()), unix_seconds());
        if let Some(stored) = &self.inner.stored {
            let identity = IdentityKey::from_bytes(&self.inner.identity.to_bytes());
            let keys = StoredKeys {
                identity,
                circuit: rotated,
            };
            let passphrase = stored.passphrase.as_ref().map(|passphrase| passphrase.as_slice());
            keyfile::save(&stored.path, &keys, passphrase, &mut os_rng()).map_err(|error| error.kind())?;
            *ring = keys.circuit;
        } else {
            *ring = rotated;
        }
        Ok(*ring.current_public())
    }

    /// The relays of the list: they are spared the limits on address prefixes, and links with them are not padded.
    pub fn set_known_relays(&self, relays: &[SocketAddr]) {
        let addresses: std::collections::HashSet<_> = relays.iter().map(|relay| relay.ip()).collect();
        self.inner.limits.set_known(addresses.clone());
        self.inner.transport.set_known_relays(addresses);
    }

    fn check_open(&self) -> Result<(), ErrorKind> {
        if self.inner.closed.load(Ordering::Relaxed) {
            Err(ErrorKind::Closed)
        } else {
            Ok(())
        }
    }

    /// Everything that has happened since the last call.
    pub fn drain(&self) -> std::collections::VecDeque<Event> {
        self.inner.events.drain()
    }

    // ---- requests between nodes ----

    /// Asks another node; the answer's bytes come with the operation.
    pub fn rpc(&self, op: OpId, peer: Peer, ask: Ask) -> Result<(), ErrorKind> {
        self.check_open()?;
        let inner = Arc::clone(&self.inner);
        self.inner.operations.start(op, async move {
            let Ask {
                body,
                timeout,
                max_reply,
                fresh,
            } = ask;
            let (node, address, role) = (NodeId(peer.node), peer.address, inner.dial_role());
            let call = async {
                let pool = &inner.server.pool;
                if fresh {
                    let link = pool.transport().dial(node, address, role).await.map_err(|error| error.kind())?;
                    return rpc::call_and_close(link, &body, max_reply).await;
                }
                let link = pool.get_now(node, address, role).await.map_err(|error| error.kind())?;
                rpc::call(&link, &body, max_reply).await
            };
            let bytes = tokio::time::timeout(timeout, call).await.unwrap_or(Err(ErrorKind::Timeout))?;
            Ok(OpValue {
                bytes: Some(bytes),
                ..OpValue::default()
            })
        })
    }

    /// Answers a request of another node.
    pub fn rpc_reply(&self, request: u32, body: Vec<u8>) -> bool {
        self.inner.server.requests.answer(request, Ok(body))
    }

    /// Refuses a request of another node: its stream is reset.
    pub fn rpc_reject(&self, request: u32) -> bool {
        self.inner.server.requests.answer(request, Err(ErrorKind::RpcRefused))
    }

    // ---- circuits ----

    /// Builds a circuit; its number comes with the operation.
    pub fn build_circuit(&self, op: OpId, path: &[PathHop], timeout: Duration) -> Result<(), ErrorKind> {
        self.check_open()?;
        if lock(&self.inner.circuits).len() >= CLIENT_CIRCUITS_MAX {
            return Err(ErrorKind::ResourceLimit);
        }
        let inner = Arc::clone(&self.inner);
        let path = path.iter().map(|hop| (NodeId(hop.node), hop.onion_key, hop.address)).collect();
        let unmaking = self.clone();
        let unmake = move |circuit| _ = unmaking.close_circuit(circuit);
        let work = async move {
            let id = inner.new_id();
            let weak = Arc::downgrade(&inner);
            let ended = Box::new(move |kind| {
                if let Some(inner) = weak.upgrade() {
                    lock(&inner.circuits).remove(&id);
                    inner.events.push(Event::CircuitClosed { circuit: id, kind });
                }
            });
            let handle = build(&inner.server.pool, BuildRequest { path, timeout }, ended, |handle| {
                lock(&inner.circuits).insert(id, handle);
            });
            handle.await?;
            Ok(OpValue {
                number: Some(id),
                ..OpValue::default()
            })
        };
        self.inner.operations.start_making(op, work, unmake)
    }

    /// Closes a circuit and all its streams; `false` where there is none.
    pub fn close_circuit(&self, circuit: u32) -> bool {
        lock(&self.inner.circuits).remove(&circuit).is_some()
    }

    /// Closes every link to other nodes, with all that runs on them; the next operation dials anew.
    pub fn close_links(&self) {
        self.inner.server.pool.drop_links();
    }

    /// Cancels an operation, which then fails with [`ErrorKind::Aborted`].
    pub fn cancel(&self, op: OpId) {
        self.inner.operations.cancel(op);
    }
}
