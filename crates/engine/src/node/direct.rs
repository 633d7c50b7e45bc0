//! Direct links: streams between two programs that know each other's address, without a circuit.

use std::collections::HashMap;
use std::net::SocketAddr;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, Weak};
use std::time::Duration;

use anonnet_crypto::keys::{IdentityKey, NodeId};
use anonnet_errors::{ErrorKind, HasKind};
use anonnet_transport::DirectStream;
use anonnet_transport::limits::MAX_DIRECT_LINKS;
use tokio::runtime::Handle;
use tokio::sync::Notify;

use super::streams::Edge;
use super::{Inner, Node, Peer};
use crate::events::{Event, OpId, OpValue};
use crate::limits::{DIRECT_ATTEMPTS, DIRECT_LISTENERS_MAX};
use crate::rng::os_rng;
use crate::server::{Door, SourceLimits};
use crate::sync::lock;
use crate::task::spawn;

/// How often a node that ends looks whether its last bytes have arrived.
const FAREWELL_POLL: Duration = Duration::from_millis(20);

/// The listeners of a node, by number, and the links that wait for their last bytes to arrive.
#[derive(Default)]
pub(super) struct Listeners {
    open: Mutex<HashMap<u32, Arc<Notify>>>,
    ending: Arc<AtomicUsize>,
}

impl Listeners {
    pub(super) fn close_all(&self) {
        for (_, stop) in lock(&self.open).drain() {
            stop.notify_one();
        }
    }

    /// Until nothing waits for its last bytes to arrive.
    pub(super) async fn ended(&self) {
        while self.ending.load(Ordering::Relaxed) > 0 {
            tokio::time::sleep(FAREWELL_POLL).await;
        }
    }

    pub(super) fn give_up(&self, runtime: &Handle, direct: Arc<DirectStream>) {
        let ending = Arc::clone(&self.ending);
        ending.fetch_add(1, Ordering::Relaxed);
        let _runtime = runtime.enter();
        spawn(async move {
            direct.end().await;
            ending.fetch_sub(1, Ordering::Relaxed);
        });
    }
}

fn identity(seed: Option<[u8; 32]>) -> Arc<IdentityKey> {
    Arc::new(seed.map_or_else(|| IdentityKey::generate(&mut os_rng()), |seed| IdentityKey::from_bytes(&seed)))
}

impl Node {
    /// Listens for direct links under an identity of its own. The listener's number and address, and its node id, come with the operation.
    pub fn listen_direct(&self, op: OpId, address: SocketAddr, seed: Option<[u8; 32]>, links: usize) -> Result<(), ErrorKind> {
        self.check_open()?;
        if !(1..=MAX_DIRECT_LINKS).contains(&links) {
            return Err(ErrorKind::InvalidArgument);
        }
        let inner = Arc::clone(&self.inner);
        let unmaking = self.clone();
        let work = async move {
            let id = inner.new_id();
            let stop = Arc::new(Notify::new());
            let limits = SourceLimits::new(DIRECT_ATTEMPTS, DIRECT_ATTEMPTS);
            let weak = Arc::downgrade(&inner);
            {
                let mut open = lock(&inner.direct.open);
                if open.len() >= DIRECT_LISTENERS_MAX {
                    return Err(ErrorKind::ResourceLimit.into());
                }
                open.insert(id, Arc::clone(&stop));
            }
            let on_stream = Box::new(move |direct| take(&weak, id, direct));
            let listening = DirectStream::listen(address, identity(seed), links, Arc::new(Door(limits)), stop, on_stream);
            let (node, bound) = listening.map_err(|error| {
                lock(&inner.direct.open).remove(&id);
                error.kind()
            })?;
            Ok(OpValue {
                bytes: Some(node.0.to_vec()),
                text: Some(bound.to_string()),
                number: Some(id),
            })
        };
        self.inner
            .operations
            .start_making(op, work, move |listener| _ = unmaking.close_direct(listener))
    }

    /// Takes no more links; those that are up go on. `false` where there is no such listener.
    pub fn close_direct(&self, listener: u32) -> bool {
        let stop = lock(&self.inner.direct.open).remove(&listener);
        stop.inspect(|stop| stop.notify_one()).is_some()
    }

    /// Opens a direct link under an identity of its own; the stream's number comes with the operation.
    pub fn connect_direct(&self, op: OpId, peer: Peer, seed: Option<[u8; 32]>, timeout: Duration) -> Result<(), ErrorKind> {
        self.check_open()?;
        let inner = Arc::clone(&self.inner);
        let unmaking = self.clone();
        let work = async move {
            let dialled = DirectStream::dial(identity(seed), NodeId(peer.node), peer.address, timeout).await;
            let direct = dialled.map_err(|error| error.kind())?;
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

/// Tells the program of a stream.
fn take(node: &Weak<Inner>, listener: u32, direct: DirectStream) {
    let Some(inner) = node.upgrade() else { return };
    let (node, address) = (direct.peer().map(|id| id.0), direct.remote_address());
    let stream = inner.new_id();
    let direct = Arc::new(direct);
    // Under the lock of the listeners, so that none comes after its listener has ended.
    let open = lock(&inner.direct.open);
    if !open.contains_key(&listener) {
        drop(open);
        return inner.direct.give_up(&inner.runtime, direct);
    }
    lock(&inner.streams).insert(stream, Edge::Direct(direct));
    inner.events.push(Event::DirectStream {
        listener,
        stream,
        node,
        address,
    });
}
