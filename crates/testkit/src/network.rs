//! Who is where, and who can reach whom.

use std::collections::HashMap;
use std::net::SocketAddr;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use anonnet_crypto::keys::NodeId;
use anonnet_transport::{DialRole, Link, Transport, TransportError};
use tokio::sync::{Mutex as AsyncMutex, mpsc, watch};
use tokio::time::sleep;

use crate::link::{End, MemLink};

#[derive(Default)]
struct Places {
    listeners: HashMap<SocketAddr, (NodeId, mpsc::UnboundedSender<MemLink>)>,
    /// Every link, with the addresses of its ends.
    links: Vec<(SocketAddr, SocketAddr, MemLink)>,
}

/// A network in memory. Clones are the same network.
#[derive(Clone)]
pub struct MemNetwork {
    places: Arc<Mutex<Places>>,
    delay: Duration,
}

impl MemNetwork {
    /// Every link takes that long in each direction.
    pub fn new(delay: Duration) -> Self {
        Self {
            places: Arc::default(),
            delay,
        }
    }

    fn lock(&self) -> MutexGuard<'_, Places> {
        self.places.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// A place for somebody who only dials.
    pub fn client(&self, address: SocketAddr) -> MemTransport {
        self.place(address, None)
    }

    /// A place for a node, which listens there.
    pub fn node(&self, address: SocketAddr, id: NodeId) -> MemTransport {
        self.place(address, Some(id))
    }

    fn place(&self, address: SocketAddr, id: Option<NodeId>) -> MemTransport {
        let (arrive, arrived) = mpsc::unbounded_channel();
        if let Some(id) = id {
            self.lock().listeners.insert(address, (id, arrive));
        }
        MemTransport {
            network: self.clone(),
            address,
            id,
            arrived: Arc::new(AsyncMutex::new(arrived)),
            closed: Arc::new(watch::Sender::new(false)),
            silent: Arc::default(),
        }
    }

    /// What is at that address is gone from one moment to the next: its links end, and nobody answers there.
    pub fn kill(&self, address: SocketAddr) {
        self.lock().listeners.remove(&address);
        self.end_links(address, MemLink::cut);
    }

    /// Links that are up.
    pub fn links(&self) -> usize {
        self.lock()
            .links
            .iter()
            .filter(|(_, _, link)| link.close_reason().is_none())
            .count()
    }

    fn end_links(&self, address: SocketAddr, end: impl Fn(&MemLink)) {
        let mut touched = Vec::new();
        self.lock().links.retain(|(dialler, listener, link)| {
            let keep = *dialler != address && *listener != address;
            if !keep {
                touched.push(link.clone());
            }
            keep
        });
        touched.iter().for_each(end);
    }
}

/// One place of the network.
#[derive(Clone)]
pub struct MemTransport {
    network: MemNetwork,
    address: SocketAddr,
    id: Option<NodeId>,
    arrived: Arc<AsyncMutex<mpsc::UnboundedReceiver<MemLink>>>,
    closed: Arc<watch::Sender<bool>>,
    silent: Arc<AtomicBool>,
}

impl MemTransport {
    /// From now on dials of ours stay unanswered until their deadline.
    pub fn lose_all_dials(&self) {
        self.silent.store(true, Ordering::Relaxed);
    }
}

impl Transport for MemTransport {
    type Link = MemLink;

    fn local_addr(&self) -> Result<SocketAddr, TransportError> {
        Ok(self.address)
    }

    async fn dial(&self, node_id: NodeId, address: SocketAddr, role: DialRole) -> Result<MemLink, TransportError> {
        if self.silent.load(Ordering::Relaxed) {
            std::future::pending::<()>().await;
        }
        let own = match role {
            DialRole::Client => None,
            DialRole::Node => Some(self.id.ok_or(TransportError::NodeOnly)?),
        };
        sleep(self.network.delay * 2).await;
        let mut places = self.network.lock();
        let (id, arrive) = places.listeners.get(&address).ok_or(TransportError::Unreachable)?.clone();
        if id != node_id {
            return Err(TransportError::Identity);
        }
        let (dialler, listener) = (End::new(Some(id), address), End::new(own, self.address));
        let (ours, theirs) = MemLink::pair(dialler, listener, own.is_some(), self.network.delay);
        arrive.send(theirs).map_err(|_| TransportError::Unreachable)?;
        places.links.push((self.address, address, ours.clone()));
        Ok(ours)
    }

    async fn accept(&self) -> Option<MemLink> {
        self.id?;
        let mut arrived = self.arrived.lock().await;
        tokio::select! {
            biased;
            () = self.closed() => None,
            link = arrived.recv() => link,
        }
    }

    fn close(&self) {
        self.closed.send_replace(true);
        self.network.lock().listeners.remove(&self.address);
        let own = self.address;
        self.network.end_links(own, Link::close);
    }

    async fn closed(&self) {
        let _ = self.closed.subscribe().wait_for(|closed| *closed).await;
    }
}
