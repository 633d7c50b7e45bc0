//! A link of the network in memory: two ends, and streams between them.

use std::net::SocketAddr;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, OnceLock, PoisonError, Weak};
use std::time::Duration;

use anonnet_crypto::keys::NodeId;
use anonnet_transport::{CloseReason, Link, LinkStats, StreamKind, TransportError};
use tokio::sync::{Mutex as AsyncMutex, mpsc, watch};
use tokio::time::Instant;

use crate::lane::{Lane, MemRecv, MemSend};

static NEXT_LINK: AtomicU64 = AtomicU64::new(1);

type Incoming = (StreamKind, MemSend, MemRecv);

/// What one side of a link knows and holds.
pub(crate) struct End {
    pub(crate) peer: Option<NodeId>,
    pub(crate) remote: SocketAddr,
    id: u64,
    arrive: mpsc::UnboundedSender<Incoming>,
    incoming: AsyncMutex<mpsc::UnboundedReceiver<Incoming>>,
    /// Halves that are held, and since when it is so many.
    held: Mutex<(usize, Instant)>,
    sent: AtomicU64,
}

impl End {
    pub(crate) fn new(peer: Option<NodeId>, remote: SocketAddr) -> Self {
        let (arrive, incoming) = mpsc::unbounded_channel();
        Self {
            peer,
            remote,
            id: NEXT_LINK.fetch_add(1, Ordering::Relaxed),
            arrive,
            incoming: AsyncMutex::new(incoming),
            held: Mutex::new((0, Instant::now())),
            sent: AtomicU64::new(0),
        }
    }
}

pub(crate) struct Shared {
    dialler: End,
    listener: End,
    authenticated: bool,
    delay: Duration,
    born: Instant,
    /// Who closed it; nobody: it was cut.
    closed: OnceLock<Option<bool>>,
    gone: watch::Sender<bool>,
    lanes: Mutex<Vec<Weak<Lane>>>,
}

/// One side of a link.
#[derive(Clone)]
pub struct MemLink {
    shared: Arc<Shared>,
    inbound: bool,
}

impl MemLink {
    /// The two sides of a new link, the dialler's first.
    pub(crate) fn pair(dialler: End, listener: End, authenticated: bool, delay: Duration) -> (Self, Self) {
        let shared = Arc::new(Shared {
            dialler,
            listener,
            authenticated,
            delay,
            born: Instant::now(),
            closed: OnceLock::new(),
            gone: watch::Sender::new(false),
            lanes: Mutex::default(),
        });
        let other = Self {
            shared: Arc::clone(&shared),
            inbound: true,
        };
        (Self { shared, inbound: false }, other)
    }

    fn end(&self) -> &End {
        if self.inbound {
            &self.shared.listener
        } else {
            &self.shared.dialler
        }
    }

    fn other(&self) -> Self {
        Self {
            shared: Arc::clone(&self.shared),
            inbound: !self.inbound,
        }
    }

    fn finish(&self, by: Option<bool>) {
        if self.shared.closed.set(by).is_err() {
            return;
        }
        self.shared.gone.send_replace(true);
        let lanes = std::mem::take(&mut *self.shared.lanes.lock().unwrap_or_else(PoisonError::into_inner));
        lanes.iter().filter_map(Weak::upgrade).for_each(|lane| lane.wake());
    }

    /// Ends the link for both sides as a loss of the network does, with no goodbye.
    pub(crate) fn cut(&self) {
        self.finish(None);
    }

    pub(crate) fn check(&self) -> Result<(), TransportError> {
        self.close_reason().map_or(Ok(()), |reason| Err(TransportError::Closed(reason)))
    }

    pub(crate) async fn gone(&self) {
        let _ = self.shared.gone.subscribe().wait_for(|gone| *gone).await;
    }

    pub(crate) fn arrival(&self) -> Instant {
        Instant::now() + self.shared.delay
    }

    pub(crate) fn count_sent(&self, bytes: usize) {
        self.end().sent.fetch_add(bytes as u64, Ordering::Relaxed);
    }

    pub(crate) fn hold(&self, change: isize) {
        let mut held = self.end().held.lock().unwrap_or_else(PoisonError::into_inner);
        *held = (held.0.saturating_add_signed(change), Instant::now());
    }

    /// Gives the peer a stream of ours.
    pub(crate) fn deliver(&self, stream: Incoming) {
        let _ = self.other().end().arrive.send(stream);
    }

    fn lane(&self) -> Arc<Lane> {
        let lane = Lane::new();
        let mut lanes = self.shared.lanes.lock().unwrap_or_else(PoisonError::into_inner);
        lanes.retain(|lane| lane.strong_count() > 0);
        lanes.push(Arc::downgrade(&lane));
        lane
    }
}

impl Link for MemLink {
    type Send = MemSend;
    type Recv = MemRecv;

    fn id(&self) -> u64 {
        self.end().id
    }

    fn peer(&self) -> Option<NodeId> {
        self.end().peer
    }

    fn is_authenticated(&self) -> bool {
        self.shared.authenticated
    }

    fn inbound(&self) -> bool {
        self.inbound
    }

    fn remote_address(&self) -> SocketAddr {
        self.end().remote
    }

    async fn open(&self, kind: StreamKind) -> Result<(MemSend, MemRecv), TransportError> {
        self.check()?;
        if self.inbound && !self.shared.authenticated {
            return Err(TransportError::NodeOnly);
        }
        let (there, back) = (self.lane(), self.lane());
        let theirs = (
            MemSend::new(self.other(), Arc::clone(&back)),
            MemRecv::new(self.other(), Arc::clone(&there)),
        );
        let send = MemSend::new(self.clone(), there).announcing(kind, theirs.0, theirs.1);
        Ok((send, MemRecv::new(self.clone(), back)))
    }

    async fn accept(&self) -> Result<Incoming, TransportError> {
        let mut incoming = self.end().incoming.lock().await;
        tokio::select! {
            biased;
            reason = self.closed() => Err(TransportError::Closed(reason)),
            stream = incoming.recv() => stream.ok_or(TransportError::Closed(CloseReason::Local)),
        }
    }

    fn close(&self) {
        self.finish(Some(self.inbound));
    }

    async fn closed(&self) -> CloseReason {
        self.gone().await;
        self.close_reason().unwrap_or(CloseReason::Idle)
    }

    fn close_reason(&self) -> Option<CloseReason> {
        self.shared.closed.get().map(|by| match by {
            None => CloseReason::Idle,
            Some(inbound) if *inbound == self.inbound => CloseReason::Local,
            Some(_) => CloseReason::Peer,
        })
    }

    fn stats(&self) -> LinkStats {
        let mut stats = LinkStats::default();
        stats.rtt = self.shared.delay * 2;
        stats.sent_bytes = self.end().sent.load(Ordering::Relaxed);
        stats.received_bytes = self.other().end().sent.load(Ordering::Relaxed);
        stats
    }

    fn open_streams(&self) -> usize {
        self.end().held.lock().unwrap_or_else(PoisonError::into_inner).0
    }

    fn idle_for(&self) -> Duration {
        let held = self.end().held.lock().unwrap_or_else(PoisonError::into_inner);
        if held.0 > 0 { Duration::ZERO } else { held.1.elapsed() }
    }

    fn age(&self) -> Duration {
        self.shared.born.elapsed()
    }
}
