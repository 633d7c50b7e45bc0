//! Direct links: streams between two programs that know each other's address, without a circuit. A listener is in the table of streams, so
//! that it ends as they do.

use std::net::SocketAddr;
use std::sync::atomic::Ordering;
use std::sync::{Arc, Weak};
use std::time::Duration;

use anonnet_crypto::keys::{IdentityKey, NodeId};
use anonnet_errors::{ErrorKind, HasKind};
use anonnet_transport::limits::MAX_DIRECT_LINKS;
use anonnet_transport::{DirectLink, DirectStream, LinkLimits, QuicConfig, QuicTransport, Transport};

use super::streams::Edge;
use super::{Inner, Node, Peer};
use crate::events::{Event, Failure, OpId, OpValue};
use crate::limits::DIRECT_ATTEMPTS;
use crate::rng::os_rng;
use crate::server::{Door, SourceLimits};
use crate::sync::lock;
use crate::task::spawn;

fn identity(seed: Option<[u8; 32]>) -> Arc<IdentityKey> {
    Arc::new(seed.map_or_else(|| IdentityKey::generate(&mut os_rng()), |seed| IdentityKey::from_bytes(&seed)))
}

impl Node {
    /// Listens for direct links under an identity of its own. The listener's number and address, and its node id, come with the operation;
    /// [`destroy`](Node::destroy) ends it: those that are up go on.
    pub fn listen_direct(&self, op: OpId, address: SocketAddr, seed: Option<[u8; 32]>, links: usize) -> Result<(), ErrorKind> {
        self.check_open()?;
        if !(1..=MAX_DIRECT_LINKS).contains(&links) {
            return Err(ErrorKind::InvalidArgument);
        }
        let inner = Arc::clone(&self.inner);
        let unmaking = self.clone();
        let work = async move { inner.listen_direct(address, seed, links).map_err(Failure::from) };
        self.inner
            .operations
            .start_making(op, work, move |listener| unmaking.destroy(listener))
    }

    /// Opens a direct link under an identity of its own; the stream's number comes with the operation.
    pub fn connect_direct(&self, op: OpId, peer: Peer, seed: Option<[u8; 32]>, timeout: Duration) -> Result<(), ErrorKind> {
        self.check_open()?;
        let inner = Arc::clone(&self.inner);
        let unmaking = self.clone();
        let dialling = DirectStream::dial(identity(seed), NodeId(peer.node), peer.address, timeout);
        let work = async move {
            let direct = dialling.await.map_err(|error| error.kind())?;
            let id = inner.new_id();
            lock(&inner.streams).insert(id, Edge::Direct(Arc::new(direct)));
            Ok(OpValue {
                number: Some(id),
                ..OpValue::default()
            })
        };
        self.inner.operations.start_making(op, work, move |stream| unmaking.destroy(stream))
    }
}

impl Inner {
    fn listen_direct(self: &Arc<Self>, address: SocketAddr, seed: Option<[u8; 32]>, links: usize) -> Result<OpValue, ErrorKind> {
        let id = self.new_id();
        let weak = Arc::downgrade(self);
        let limits = SourceLimits::new(DIRECT_ATTEMPTS, DIRECT_ATTEMPTS);
        let mut config = QuicConfig::node(address, identity(seed)).with_admission(Arc::new(Door(limits)));
        config.limits = LinkLimits::direct(links);
        config.on_direct = Some(Arc::new(move |link| take(&weak, id, link)));
        let transport = QuicTransport::bind(config).map_err(|error| error.kind())?;
        let bound = transport.local_addr().map_err(|error| error.kind())?;
        let node = transport.node_id().ok_or(ErrorKind::Internal)?;
        lock(&self.streams).insert(id, Edge::Listener(transport));
        Ok(OpValue {
            bytes: Some(node.0.to_vec()),
            text: Some(bound.to_string()),
            number: Some(id),
        })
    }

    /// Ends a link: at once where a direction is not at its end, else when the other end has everything.
    pub(super) fn give_up_direct(&self, direct: Arc<DirectStream>) {
        if !direct.is_done() {
            return direct.close();
        }
        let delivering = Arc::clone(&self.delivering);
        delivering.fetch_add(1, Ordering::Relaxed);
        let _runtime = self.runtime.enter();
        spawn(async move {
            direct.delivered().await;
            delivering.fetch_sub(1, Ordering::Relaxed);
        });
    }
}

/// Tells the program of a stream, unless its listener has ended meanwhile.
fn take(inner: &Weak<Inner>, listener: u32, link: DirectLink) {
    let Some(inner) = inner.upgrade() else { return link.close() };
    let stream = inner.new_id();
    let mut streams = lock(&inner.streams);
    let Some(Edge::Listener(transport)) = streams.get(&listener) else {
        return link.close();
    };
    let direct = DirectStream::new(transport.clone(), link);
    let (node, address) = (direct.peer().0, direct.remote_address());
    streams.insert(stream, Edge::Direct(Arc::new(direct)));
    inner.events.push(Event::DirectStream {
        listener,
        stream,
        node,
        address,
    });
}
