//! Links that are shared: at most one dial of a peer at a time, reuse, pauses after failures, an end for what nobody uses.

mod backoff;
mod config;
mod table;

#[cfg(test)]
mod tests;

use std::{
    fmt,
    net::SocketAddr,
    sync::{Arc, Mutex, MutexGuard, PoisonError, Weak},
    time::Duration,
};

use anonnet_crypto::keys::NodeId;
use tokio::time::{Instant, sleep, timeout};

pub use self::config::PoolConfig;
use self::{
    backoff::Backoff,
    table::{Key, Table},
};
use crate::{
    error::{CloseReason, TransportError},
    traits::{DialRole, Link, Transport},
};

/// The least and the most between two looks at idle links.
const REAP_LEAST: Duration = Duration::from_millis(50);
const REAP_MOST: Duration = Duration::from_secs(15);

/// Why a link is down.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum DownReason {
    /// It never was up.
    Dial(TransportError),
    /// It ended.
    Closed(CloseReason),
}

/// Where a link is in its life.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum LinkState {
    /// Being dialled.
    Connecting,
    /// Ready.
    Up,
    /// Gone.
    Down(DownReason),
}

/// A link changed its state.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct LinkEvent {
    /// The peer.
    pub node_id: NodeId,
    /// As what we dialled; `Node` for inbound links.
    pub role: DialRole,
    /// Whether the peer dialled.
    pub inbound: bool,
    /// What it is now.
    pub state: LinkState,
}

type Events = dyn Fn(LinkEvent) + Send + Sync;
type OnLink<L> = dyn Fn(L) + Send + Sync;

/// A shared set of links. Clones are the same pool. Dropping the last clone leaves links that others hold alone.
pub struct LinkPool<T: Transport>(Arc<Inner<T>>);

struct Inner<T: Transport> {
    transport: T,
    config: PoolConfig,
    events: Box<Events>,
    state: Mutex<State<T::Link>>,
}

struct State<L> {
    table: Table<L>,
    backoff: Backoff<Key>,
    on_link: Option<Arc<OnLink<L>>>,
    closed: bool,
}

impl<T: Transport> Clone for LinkPool<T> {
    fn clone(&self) -> Self {
        Self(Arc::clone(&self.0))
    }
}

impl<T: Transport> fmt::Debug for LinkPool<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("LinkPool").field("links", &self.len()).finish_non_exhaustive()
    }
}

const CLOSED: TransportError = TransportError::Closed(CloseReason::Local);

impl<T: Transport> LinkPool<T> {
    /// An empty pool over the transport. `events` is called from tasks of the pool and must not block. To be called inside a runtime.
    pub fn new(transport: T, config: PoolConfig, events: impl Fn(LinkEvent) + Send + Sync + 'static) -> Self {
        let state = State {
            table: Table::new(config.own),
            backoff: Backoff::new(config.backoff_first, config.backoff_most),
            on_link: None,
            closed: false,
        };
        let reap_every = (config.idle_after / 4).clamp(REAP_LEAST, REAP_MOST);
        let inner = Arc::new(Inner {
            transport,
            config,
            events: Box::new(events),
            state: Mutex::new(state),
        });
        tokio::spawn(reap(Arc::downgrade(&inner), reap_every));
        Self(inner)
    }

    /// `handler` is called once for every link that the pool dials as a node from now on: the peer may open streams on it too.
    pub fn on_link(&self, handler: impl Fn(T::Link) + Send + Sync + 'static) {
        self.0.lock().on_link = Some(Arc::new(handler));
    }

    /// A link to the peer: one that is up, else a new one.
    ///
    /// # Errors
    /// `BackingOff` while the peer is left alone after a failure; `Limit` when the pool is full of links in use; `Closed` after
    /// [`close`](Self::close); else those of [`Transport::dial`].
    pub async fn get(&self, node_id: NodeId, address: SocketAddr, role: DialRole) -> Result<T::Link, TransportError> {
        self.get_link((node_id, role), address, false).await
    }

    /// As [`get`](Self::get), but dials at once even if it failed lately.
    ///
    /// # Errors
    /// As [`get`](Self::get), without `BackingOff`.
    pub async fn get_now(&self, node_id: NodeId, address: SocketAddr, role: DialRole) -> Result<T::Link, TransportError> {
        self.get_link((node_id, role), address, true).await
    }

    async fn get_link(&self, key: Key, address: SocketAddr, now: bool) -> Result<T::Link, TransportError> {
        let (mut outcome, started, evicted) = {
            let mut state = self.0.lock();
            if state.closed {
                return Err(CLOSED);
            }
            let time = Instant::now();
            if let Some(link) = state.table.pick(&key, time) {
                return Ok(link);
            }
            match state.table.dialling(&key) {
                Some(outcome) => (outcome, false, None),
                None => {
                    if !now && let Some(retry_in) = state.backoff.remaining(&key, time) {
                        return Err(TransportError::BackingOff { retry_in });
                    }
                    let evicted = self.0.make_room(&mut state)?;
                    (state.table.start_dial(key), true, evicted)
                }
            }
        };
        if let Some(link) = evicted {
            link.close();
        }
        if started {
            self.0.tell(key, false, LinkState::Connecting);
            // A task of its own: whoever asked first may go away without failing the others.
            tokio::spawn(Arc::clone(&self.0).dial(key, address));
        }
        match outcome.wait_for(Option::is_some).await {
            Ok(outcome) => outcome.clone().unwrap_or(Err(CLOSED)),
            Err(_) => Err(CLOSED),
        }
    }

    /// A link that is up, without dialling.
    pub fn peek(&self, node_id: NodeId, role: DialRole) -> Option<T::Link> {
        self.0.lock().table.pick(&(node_id, role), Instant::now())
    }

    /// Takes an inbound link between nodes for circuits of ours as well. False, and not kept, for every other link.
    /// The streams that the peer opens on it stay the caller's to accept.
    pub fn adopt(&self, link: T::Link) -> bool {
        let Some(peer) = link.peer().filter(|_| link.inbound() && link.is_authenticated()) else {
            return false;
        };
        let key = (peer, DialRole::Node);
        let evicted = {
            let mut state = self.0.lock();
            if state.closed {
                return false;
            }
            let Ok(evicted) = self.0.make_room(&mut state) else { return false };
            state.backoff.succeeded(&key);
            let replaced = state.table.add(key, link.clone(), Instant::now());
            evicted.into_iter().chain(replaced)
        };
        evicted.for_each(|link| link.close());
        self.0.tell(key, true, LinkState::Up);
        tokio::spawn(watch(Arc::downgrade(&self.0), key, link));
        true
    }

    /// No new circuits on that link, because its peer is silent, say. It is closed once its streams are gone.
    pub fn discard(&self, link: &T::Link) {
        self.0.lock().table.discard(link.id());
    }

    /// Every link of the pool.
    pub fn links(&self) -> Vec<T::Link> {
        self.0.lock().table.links().cloned().collect()
    }

    /// Links and dials.
    pub fn len(&self) -> usize {
        self.0.lock().table.size()
    }

    /// Whether there is neither a link nor a dial.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// What the pool dials with.
    pub fn transport(&self) -> &T {
        &self.0.transport
    }

    /// Closes every link, whatever runs on it; new ones are dialled when somebody asks. A dial that is under way goes on, and is told as Up.
    pub fn drop_links(&self) {
        let links: Vec<_> = {
            let mut state = self.0.lock();
            let links: Vec<_> = state.table.links().cloned().collect();
            // So that nobody is handed one that is about to go.
            links.iter().for_each(|link| state.table.discard(link.id()));
            links
        };
        links.iter().for_each(Link::close);
    }

    /// Closes every link and refuses new ones. The transport stays open.
    pub fn close(&self) {
        let links = {
            let mut state = self.0.lock();
            state.closed = true;
            state.on_link = None;
            state.table.clear(&CLOSED)
        };
        links.iter().for_each(Link::close);
    }
}

impl<T: Transport> Inner<T> {
    fn lock(&self) -> MutexGuard<'_, State<T::Link>> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn tell(&self, (node_id, role): Key, inbound: bool, state: LinkState) {
        (self.events)(LinkEvent {
            node_id,
            role,
            inbound,
            state,
        });
    }

    /// The link to close for one more to fit, if any.
    fn make_room(&self, state: &mut State<T::Link>) -> Result<Option<T::Link>, TransportError> {
        if state.table.size() < self.config.max_links {
            return Ok(None);
        }
        let (key, link) = state.table.longest_idle().ok_or(TransportError::Limit("links of the pool"))?;
        state.table.remove(&key, link.id());
        Ok(Some(link))
    }

    async fn dial(self: Arc<Self>, key: Key, address: SocketAddr) {
        // Dropped by a panic too: a dial that never ended would hold up everybody who wants this peer.
        let mut ending = Dialling {
            pool: &self,
            key,
            outcome: Err(TransportError::Internal("dial")),
        };
        let dialled = match timeout(self.config.dial_deadline, self.transport.dial(key.0, address, key.1)).await {
            Ok(dialled) => dialled,
            Err(_) => Err(TransportError::Unreachable),
        };
        let (replaced, on_link) = {
            let mut state = self.lock();
            if state.closed {
                drop(state);
                ending.outcome = Err(CLOSED);
                return if let Ok(link) = dialled {
                    link.close()
                };
            }
            let replaced = match &dialled {
                Ok(link) => {
                    state.backoff.succeeded(&key);
                    state.table.add(key, link.clone(), Instant::now())
                }
                Err(_) => {
                    state.backoff.failed(key, Instant::now());
                    None
                }
            };
            let on_link = state.on_link.clone().filter(|_| key.1 == DialRole::Node);
            (replaced, on_link)
        };
        if let Some(link) = replaced {
            link.close();
        }
        // Told before those who wait go on: whoever counts links by events must not see a use before its Up.
        match &dialled {
            Ok(link) => {
                self.tell(key, false, LinkState::Up);
                if let Some(on_link) = on_link {
                    on_link(link.clone());
                }
                tokio::spawn(watch(Arc::downgrade(&self), key, link.clone()));
            }
            Err(error) => self.tell(key, false, LinkState::Down(DownReason::Dial(error.clone()))),
        }
        ending.outcome = dialled;
    }
}

/// Tells those who wait what a dial came to, once it is dropped.
struct Dialling<'a, T: Transport> {
    pool: &'a Inner<T>,
    key: Key,
    outcome: Result<T::Link, TransportError>,
}

impl<T: Transport> Drop for Dialling<'_, T> {
    fn drop(&mut self) {
        let outcome = std::mem::replace(&mut self.outcome, Err(CLOSED));
        self.pool.lock().table.end_dial(&self.key, outcome);
    }
}

/// Forgets a link once it is gone.
async fn watch<T: Transport>(pool: Weak<Inner<T>>, key: Key, link: T::Link) {
    let reason = link.closed().await;
    if let Some(pool) = pool.upgrade() {
        pool.lock().table.remove(&key, link.id());
        pool.tell(key, link.inbound(), LinkState::Down(DownReason::Closed(reason)));
    }
}

/// Closes links that nobody uses, for as long as there is a pool.
async fn reap<T: Transport>(pool: Weak<Inner<T>>, every: Duration) {
    loop {
        sleep(every).await;
        let Some(pool) = pool.upgrade() else { return };
        let unused = {
            let mut state = pool.lock();
            let unused = state.table.unused(pool.config.idle_after, Instant::now());
            // So that nobody is handed one that is about to go.
            unused.iter().for_each(|link| state.table.discard(link.id()));
            unused
        };
        unused.iter().for_each(Link::close);
    }
}
