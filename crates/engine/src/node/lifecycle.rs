//! How a node begins and ends.

use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::sync::{Arc, Mutex, RwLock, Weak};
use std::time::Duration;

use anonnet_crypto::keystore::StoredKeys;
use anonnet_errors::{ErrorKind, HasKind};
#[cfg(feature = "exit")]
use anonnet_relay::ExitPolicy;
use anonnet_relay::RelayRules;
use anonnet_transport::{LinkEvent, LinkPool, LinkState, PoolConfig, QuicConfig, QuicTransport, Transport};
use tokio::runtime::Handle;
use tokio::sync::Semaphore;

use super::{Inner, Node, NodeOptions, StoredAt};
use crate::bandwidth::Bandwidth;
use crate::bugs;
use crate::client::Circuits;
use crate::events::{Event, EventQueue, OpId, OpValue};
use crate::keyfile::{self, KeyFileError};
use crate::limits::POW_SOLVERS_MAX;
use crate::memory;
use crate::ops::Operations;
#[cfg(feature = "proxy")]
use crate::proxy::{Answers, Attach};
use crate::quota::Quota;
use crate::rng::os_rng;
use crate::rpc::Pending;
#[cfg(feature = "exit")]
use crate::server::dns_slots;
use crate::server::{Door, Server, Services, SourceLimits, accept_links, handshake_gate, large_requests, serve_link};
use crate::stats::RelayStats;
use crate::sync::lock;
use crate::task::spawn;
use crate::waiting::Incoming;

/// Proxied requests that wait for a circuit.
#[cfg(feature = "proxy")]
const ATTACH_PENDING_MAX: usize = 8192;
/// How often a draining node looks whether it is empty.
const DRAIN_POLL: Duration = Duration::from_millis(50);
/// How long the links' farewells may take.
const GOODBYE: Duration = Duration::from_secs(2);

/// The keys of the file, or new ones, written there where that is asked for.
fn keys(stored: Option<&StoredAt>) -> Result<StoredKeys, KeyFileError> {
    let Some(stored) = stored else { return Ok(keyfile::generate()) };
    let passphrase = stored.passphrase.as_ref().map(|passphrase| passphrase.as_slice());
    match keyfile::load(&stored.path, passphrase) {
        Err(KeyFileError::Missing) => {
            let keys = keyfile::generate();
            keyfile::create(&stored.path, &keys, passphrase, &mut os_rng())?;
            Ok(keys)
        }
        other => other,
    }
}

impl Node {
    /// Starts a node: reads or makes its keys, binds its socket and serves.
    pub fn start(options: NodeOptions, events: EventQueue, runtime: Handle) -> Result<Self, ErrorKind> {
        let _runtime = runtime.enter();
        #[cfg(feature = "exit")]
        let policy = ExitPolicy::parse(&options.exit_policy).map_err(|error| error.kind())?;
        #[cfg(not(feature = "exit"))]
        if options.roles.exit || !options.exit_policy.is_empty() {
            return Err(ErrorKind::NotBuilt);
        }
        let StoredKeys { identity, circuit } = keys(options.keys.as_ref()).map_err(|error| error.kind())?;
        let identity = Arc::new(identity);
        let node_id = identity.public().node_id();
        let limits = SourceLimits::new(options.links, options.handshakes);
        let config = match options.listen {
            Some(address) => QuicConfig::node(address, Arc::clone(&identity)),
            None => QuicConfig::client(),
        };
        let transport = QuicTransport::bind(config.with_admission(Arc::new(Door(Arc::clone(&limits))))).map_err(|error| error.kind())?;
        let listening = match options.listen {
            Some(_) => Some(transport.local_addr().map_err(|error| error.kind())?),
            None => None,
        };
        let pool_config = if listening.is_some() {
            PoolConfig::node(node_id)
        } else {
            PoolConfig::client()
        };
        let link_events = events.clone();
        let pool = LinkPool::new(transport.clone(), pool_config, move |event| report_link(&link_events, &event));
        let rules = RelayRules {
            node_id,
            addresses: listening.into_iter().collect(),
            allow_private: options.allow_private,
        };
        let server = Arc::new(Server {
            node_id,
            ring: RwLock::new(circuit),
            roles: options.roles,
            rules: Arc::new(rules),
            #[cfg(feature = "exit")]
            policy,
            #[cfg(feature = "exit")]
            allow_private: options.allow_private,
            pool,
            events: events.clone(),
            requests: Pending::rpc(),
            large_requests: large_requests(),
            bandwidth: Bandwidth::new(options.bandwidth_rate, options.bandwidth_burst),
            quota: Quota::new(memory::quota_bytes()),
            stats: RelayStats::default(),
            gate: handshake_gate(std::thread::available_parallelism().map_or(1, usize::from)),
            services: Services::default(),
            limits: Arc::clone(&limits),
            #[cfg(feature = "exit")]
            resolver: options.resolver,
            #[cfg(feature = "exit")]
            names: dns_slots(),
            draining: AtomicBool::new(false),
        });
        if listening.is_some() {
            // The pool belongs to the server: a strong reference here would keep both for ever.
            let weak: Weak<Server<QuicTransport>> = Arc::downgrade(&server);
            server.pool.on_link(move |link| {
                if let Some(server) = weak.upgrade() {
                    spawn(serve_link(server, link));
                }
            });
            spawn(accept_links(Arc::clone(&server), transport.clone()));
        }
        bugs::tell(&events);
        let circuits = Circuits::default();
        #[cfg(feature = "proxy")]
        let attach = Attach {
            events: events.clone(),
            pending: Arc::new(Pending::new(ATTACH_PENDING_MAX)),
            answers: Arc::new(Answers::new(Arc::clone(&circuits))),
            stats: Arc::default(),
        };
        let inner = Inner {
            identity,
            stored: options.keys,
            transport,
            server,
            limits,
            listening,
            operations: Operations::new(events.clone(), runtime.clone()),
            events,
            circuits,
            streams: Mutex::default(),
            delivering: Arc::default(),
            #[cfg(feature = "proxy")]
            proxies: Mutex::default(),
            #[cfg(feature = "proxy")]
            attach,
            introductions: Mutex::default(),
            incoming: Incoming::default(),
            forwarded: Arc::default(),
            solvers: Semaphore::new(POW_SOLVERS_MAX),
            next_id: AtomicU32::new(1),
            closed: AtomicBool::new(false),
            runtime,
        };
        Ok(Self { inner: Arc::new(inner) })
    }

    /// Ends the node: takes nothing new, lets what is under way finish for `drain` at most, then ends all of it. The operation is answered
    /// last; every other one fails with [`ErrorKind::Closed`].
    pub fn close(&self, op: OpId, drain: Duration) -> Result<(), ErrorKind> {
        let first = !self.inner.closed.swap(true, Ordering::Relaxed);
        let inner = Arc::clone(&self.inner);
        self.inner.operations.start(op, async move {
            if first {
                inner.server.draining.store(true, Ordering::Relaxed);
                let deadline = tokio::time::Instant::now() + drain;
                while tokio::time::Instant::now() < deadline && inner.is_busy() {
                    tokio::time::sleep(DRAIN_POLL).await;
                }
                inner.end_all(op);
            }
            let deadline = tokio::time::Instant::now() + GOODBYE;
            while tokio::time::Instant::now() < deadline && inner.delivering.load(Ordering::Relaxed) > 0 {
                tokio::time::sleep(DRAIN_POLL).await;
            }
            let _ = tokio::time::timeout(GOODBYE, inner.transport.closed()).await;
            Ok(OpValue::default())
        })
    }

    /// Ends the node at once, for a process or worker that ends.
    pub fn abandon(&self) {
        if !self.inner.closed.swap(true, Ordering::Relaxed) {
            let _runtime = self.inner.runtime.enter();
            self.inner.events.close();
            self.inner.end_all(0);
        }
    }
}

impl Inner {
    fn is_busy(&self) -> bool {
        #[cfg(feature = "proxy")]
        if self.attach.stats.open.get() > 0 {
            return true;
        }
        let forwarded = self.forwarded.load(Ordering::Relaxed) > 0;
        forwarded || !lock(&self.streams).is_empty() || self.server.stats.circuits.get() > 0
    }

    fn end_all(&self, op: OpId) {
        #[cfg(feature = "proxy")]
        for (_, task) in lock(&self.proxies).drain() {
            task.abort();
        }
        let streams = std::mem::take(&mut *lock(&self.streams));
        for (_, edge) in streams {
            self.give_up(edge);
        }
        self.incoming.clear();
        lock(&self.circuits).clear();
        self.operations.cancel_all_but(op);
        self.server.pool.close();
        self.transport.close();
    }
}

fn report_link(events: &EventQueue, event: &LinkEvent) {
    let (up, kind) = match &event.state {
        LinkState::Connecting => return,
        LinkState::Up => (true, None),
        LinkState::Down(anonnet_transport::DownReason::Dial(error)) => (false, Some(error.kind())),
        LinkState::Down(_) => (false, Some(ErrorKind::LinkClosed)),
    };
    let authenticated = event.role == anonnet_transport::DialRole::Node;
    events.push(Event::Link {
        up,
        node: Some(event.node_id.0),
        authenticated,
        kind,
    });
}
