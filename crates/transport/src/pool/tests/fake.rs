use std::{
    convert::Infallible,
    net::SocketAddr,
    sync::{
        Arc, Mutex,
        atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering},
    },
    task::{Context, Poll},
    time::Duration,
};

use anonnet_crypto::keys::NodeId;
use bytes::Bytes;
use tokio::{
    sync::watch,
    time::{Instant, sleep},
};

use crate::{CloseReason, DialRole, Link, LinkStats, StreamKind, StreamRecv, StreamSend, Transport, TransportError};

static NEXT: AtomicU64 = AtomicU64::new(1);

/// A link that is told what happens to it.
#[derive(Clone)]
pub(super) struct FakeLink(Arc<Fake>);

struct Fake {
    id: u64,
    peer: Option<NodeId>,
    authenticated: bool,
    inbound: bool,
    streams: AtomicUsize,
    used: Mutex<Instant>,
    closed: watch::Sender<Option<CloseReason>>,
}

impl std::fmt::Debug for FakeLink {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "FakeLink({})", self.0.id)
    }
}

impl FakeLink {
    fn new(peer: Option<NodeId>, authenticated: bool, inbound: bool) -> Self {
        Self(Arc::new(Fake {
            id: NEXT.fetch_add(1, Ordering::Relaxed),
            peer,
            authenticated,
            inbound,
            streams: AtomicUsize::new(0),
            used: Mutex::new(Instant::now()),
            closed: watch::channel(None).0,
        }))
    }

    pub(super) fn dialled(peer: NodeId, role: DialRole) -> Self {
        Self::new(Some(peer), role == DialRole::Node, false)
    }

    pub(super) fn inbound_from(peer: Option<NodeId>) -> Self {
        Self::new(peer, peer.is_some(), true)
    }

    pub(super) fn end(&self, reason: CloseReason) {
        self.0.closed.send_if_modified(|closed| {
            let first = closed.is_none();
            closed.get_or_insert(reason);
            first
        });
    }

    pub(super) fn hold_streams(&self, halves: usize) {
        self.0.streams.store(halves, Ordering::Relaxed);
        *self.0.used.lock().unwrap() = Instant::now();
    }
}

/// There are no streams here.
#[derive(Debug)]
pub(super) struct NoStream(Infallible);

impl StreamSend for NoStream {
    fn poll_write(&mut self, _: &mut Context<'_>, _: &[u8]) -> Poll<Result<usize, TransportError>> {
        match self.0 {}
    }
    fn poll_write_chunk(&mut self, _: &mut Context<'_>, _: &mut Bytes) -> Poll<Result<usize, TransportError>> {
        match self.0 {}
    }
    fn finish(&mut self) {}
    fn reset(&mut self) {}
    fn stopped(&self) -> impl Future<Output = ()> + Send + 'static {
        std::future::ready(())
    }
}

impl StreamRecv for NoStream {
    fn poll_read(&mut self, _: &mut Context<'_>, _: &mut [u8]) -> Poll<Result<usize, TransportError>> {
        match self.0 {}
    }
    fn stop(&mut self) {}
}

impl Link for FakeLink {
    type Send = NoStream;
    type Recv = NoStream;

    fn id(&self) -> u64 {
        self.0.id
    }
    fn peer(&self) -> Option<NodeId> {
        self.0.peer
    }
    fn is_authenticated(&self) -> bool {
        self.0.authenticated
    }
    fn inbound(&self) -> bool {
        self.0.inbound
    }
    fn remote_address(&self) -> SocketAddr {
        super::address()
    }
    async fn open(&self, _: StreamKind) -> Result<(NoStream, NoStream), TransportError> {
        Err(TransportError::Closed(self.closed().await))
    }
    async fn accept(&self) -> Result<(StreamKind, NoStream, NoStream), TransportError> {
        Err(TransportError::Closed(self.closed().await))
    }
    fn close(&self) {
        self.end(CloseReason::Local);
    }
    async fn closed(&self) -> CloseReason {
        self.0.closed.subscribe().wait_for(Option::is_some).await.unwrap().unwrap()
    }
    fn close_reason(&self) -> Option<CloseReason> {
        *self.0.closed.borrow()
    }
    fn stats(&self) -> LinkStats {
        LinkStats::default()
    }
    fn open_streams(&self) -> usize {
        self.0.streams.load(Ordering::Relaxed)
    }
    fn idle_for(&self) -> Duration {
        if self.open_streams() > 0 {
            Duration::ZERO
        } else {
            self.0.used.lock().unwrap().elapsed()
        }
    }
    fn age(&self) -> Duration {
        Duration::ZERO
    }
}

/// A transport whose dials succeed, or fail as told, after a given time.
#[derive(Clone, Default)]
pub(super) struct FakeTransport(Arc<Script>);

#[derive(Default)]
struct Script {
    dials: AtomicUsize,
    takes: Mutex<Duration>,
    fails: Mutex<Option<TransportError>>,
    panics: AtomicBool,
    made: Mutex<Vec<FakeLink>>,
}

impl FakeTransport {
    pub(super) fn dials(&self) -> usize {
        self.0.dials.load(Ordering::Relaxed)
    }

    pub(super) fn dial_takes(&self, time: Duration) {
        *self.0.takes.lock().unwrap() = time;
    }

    pub(super) fn fail(&self, error: Option<TransportError>) {
        *self.0.fails.lock().unwrap() = error;
    }

    /// The next dial panics.
    pub(super) fn panic_once(&self) {
        self.0.panics.store(true, Ordering::Relaxed);
    }

    pub(super) fn made(&self) -> Vec<FakeLink> {
        self.0.made.lock().unwrap().clone()
    }
}

impl Transport for FakeTransport {
    type Link = FakeLink;

    fn local_addr(&self) -> Result<SocketAddr, TransportError> {
        Ok(super::address())
    }

    async fn dial(&self, node_id: NodeId, _: SocketAddr, role: DialRole) -> Result<FakeLink, TransportError> {
        self.0.dials.fetch_add(1, Ordering::Relaxed);
        let takes = *self.0.takes.lock().unwrap();
        if !takes.is_zero() {
            sleep(takes).await;
        }
        assert!(!self.0.panics.swap(false, Ordering::Relaxed), "planted");
        if let Some(error) = self.0.fails.lock().unwrap().clone() {
            return Err(error);
        }
        let link = FakeLink::dialled(node_id, role);
        self.0.made.lock().unwrap().push(link.clone());
        Ok(link)
    }

    async fn accept(&self) -> Option<FakeLink> {
        None
    }
    fn close(&self) {}
    async fn closed(&self) {}
}
