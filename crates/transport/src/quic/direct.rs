//! A direct link: one stream of bytes between two programs that know each other's address.
//!
//! It is a link between nodes (TLS, proof of both identities, sizes, congestion) with a protocol name of its own and with one stream, so that a
//! link that nobody reads holds up nothing but itself. Each direction starts with the stream's type byte.

use std::{
    fmt,
    future::{Future, poll_fn},
    net::SocketAddr,
    pin::Pin,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    task::{Context, Poll},
    time::Duration,
};

use anonnet_crypto::keys::{IdentityKey, NodeId};
use bytes::Bytes;
use tokio::{
    sync::{Notify, OwnedSemaphorePermit, Semaphore},
    time::timeout,
};

use super::{Admission, QuicConfig, QuicLink, QuicRecv, QuicSend, QuicTransport};
use crate::{
    error::{CloseReason, TransportError},
    limits::{DIRECT_FAREWELL, DIRECT_FIRST_WINDOW, DIRECT_GROWTH_TOTAL, DIRECT_WINDOW, HANDSHAKE_DEADLINE, LinkLimits},
    traits::{DialRole, Link, StreamKind, StreamRecv, StreamSend, Transport},
};

/// Boxed, so that what is polled is compiled here, where size counts and not speed.
type Work<T> = Pin<Box<dyn Future<Output = T> + Send>>;

/// Gets the streams of a listener.
type OnStream = Box<dyn Fn(DirectStream) + Send + Sync>;

/// What the receiving half has seen.
#[derive(Default)]
struct Flow {
    /// Everything came.
    ended: bool,
    /// The last read brought so much that more is likely to be on its way.
    flows: bool,
    window: u32,
    /// Read since the window grew.
    read: u64,
    /// What it grew by, of what all links of a listener may.
    earned: Vec<OwnedSemaphorePermit>,
}

/// One end of a direct link. The link ends with it.
pub struct DirectStream {
    send: Mutex<QuicSend>,
    recv: Mutex<QuicRecv>,
    flow: Mutex<Flow>,
    growth: Option<Arc<Semaphore>>,
    link: QuicLink,
    /// Keeps the socket: one of its own where we dialled, the listener's else.
    transport: QuicTransport,
}

impl fmt::Debug for DirectStream {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.link.fmt(f)
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// What a stream's end means: whoever ends its link before its time has reset it.
const fn stream_error(error: TransportError) -> TransportError {
    match error {
        TransportError::Closed(CloseReason::Peer) => TransportError::StreamReset,
        error => error,
    }
}

impl DirectStream {
    fn new(transport: QuicTransport, link: QuicLink, growth: Option<Arc<Semaphore>>, send: QuicSend, recv: QuicRecv) -> Self {
        let flow = Flow {
            window: DIRECT_FIRST_WINDOW,
            ..Flow::default()
        };
        Self {
            send: Mutex::new(send),
            recv: Mutex::new(recv),
            flow: Mutex::new(flow),
            growth,
            link,
            transport,
        }
    }

    /// Dials a direct listener as `identity`; done once it has taken the stream.
    ///
    /// # Errors
    /// As [`Transport::dial`], and `Closed`, `StreamReset` where the listener takes no more.
    pub fn dial(identity: Arc<IdentityKey>, node: NodeId, address: SocketAddr, deadline: Duration) -> Work<Result<Self, TransportError>> {
        Box::pin(async move {
            let dialled = timeout(deadline, Self::dial_now(identity, node, address)).await;
            dialled.unwrap_or(Err(TransportError::Timeout))
        })
    }

    async fn dial_now(identity: Arc<IdentityKey>, node: NodeId, address: SocketAddr) -> Result<Self, TransportError> {
        let transport = QuicTransport::bind(QuicConfig {
            identity: Some(identity),
            limits: LinkLimits::direct(0),
            ..QuicConfig::client()
        })?;
        let link = transport.dial(node, address, DialRole::Node).await?;
        let (mut send, mut recv) = link.open(StreamKind::Direct).await?;
        send.announce().await?;
        let mut byte = [0];
        recv.read_exact(&mut byte).await?;
        if byte != [StreamKind::Direct.byte()] {
            return Err(TransportError::Protocol("first byte of a direct link"));
        }
        Ok(Self::new(transport, link, None, send, recv))
    }

    /// Listens as `identity` until `stop` is notified; what is up then goes on. To be called inside a tokio runtime.
    ///
    /// # Errors
    /// `Bind`.
    pub fn listen(
        address: SocketAddr,
        identity: Arc<IdentityKey>,
        links: usize,
        admission: Arc<dyn Admission>,
        stop: Arc<Notify>,
        on_stream: OnStream,
    ) -> Result<(NodeId, SocketAddr), TransportError> {
        let node = identity.public().node_id();
        let mut config = QuicConfig::node(address, identity).with_admission(admission);
        config.limits = LinkLimits::direct(links);
        let transport = QuicTransport::bind(config)?;
        let bound = transport.local_addr()?;
        spawn(Box::pin(serve(transport, stop, on_stream.into())));
        Ok((node, bound))
    }

    /// Takes the stream of a link that a direct listener accepted. `growth`: what the windows of its links may grow by. To be given up after a
    /// while: the dialler may be silent.
    pub(crate) async fn accept(transport: QuicTransport, link: QuicLink, growth: Arc<Semaphore>) -> Result<Self, TransportError> {
        if !link.is_authenticated() {
            return Err(TransportError::Identity);
        }
        let (kind, mut send, recv) = link.accept().await?;
        send.write_all(&[kind.byte()]).await?;
        Ok(Self::new(transport, link, Some(growth), send, recv))
    }

    /// Who is at the other end, as it proved.
    pub fn peer(&self) -> Option<NodeId> {
        self.link.peer()
    }

    /// Where the other end is.
    pub fn remote_address(&self) -> SocketAddr {
        self.link.remote_address()
    }

    /// What has arrived, `max` bytes at most; `None` is the end. While the stream flows, what comes within `patience` is joined, up to
    /// `wanted`; the first bytes after a pause come at once. For one reader at a time.
    ///
    /// # Errors
    /// `StreamReset`, `Closed`.
    pub fn read(self: Arc<Self>, wanted: usize, max: usize, patience: Duration) -> Work<Result<Option<Vec<u8>>, TransportError>> {
        Box::pin(async move { self.read_now(wanted, max, patience).await })
    }

    async fn read_now(&self, wanted: usize, max: usize, patience: Duration) -> Result<Option<Vec<u8>>, TransportError> {
        let mut bytes = Vec::new();
        poll_fn(|cx| self.poll_fill(cx, &mut bytes, 1, max)).await?;
        if bytes.len() < wanted && lock(&self.flow).flows {
            // Late or broken off, what is there is taken.
            let _ = timeout(patience, poll_fn(|cx| self.poll_fill(cx, &mut bytes, wanted, max))).await;
        }
        self.grow(bytes.len());
        lock(&self.flow).flows = bytes.len() >= wanted / 4;
        Ok(if bytes.is_empty() { None } else { Some(bytes) })
    }

    /// Until `bytes` has `least`, or the end is there.
    fn poll_fill(&self, cx: &mut Context<'_>, bytes: &mut Vec<u8>, least: usize, max: usize) -> Poll<Result<(), TransportError>> {
        let mut recv = lock(&self.recv);
        loop {
            let filled = bytes.len();
            if filled >= least {
                return Poll::Ready(Ok(()));
            }
            bytes.resize(max, 0);
            let polled = recv.poll_read(cx, bytes.get_mut(filled..).unwrap_or_default());
            let count = if let Poll::Ready(Ok(count)) = polled { count } else { 0 };
            bytes.truncate(filled + count);
            match polled {
                Poll::Ready(Ok(0)) => {
                    lock(&self.flow).ended = true;
                    return Poll::Ready(Ok(()));
                }
                Poll::Ready(Ok(_)) => {}
                Poll::Ready(Err(error)) => return Poll::Ready(Err(stream_error(error))),
                Poll::Pending => {
                    if filled == 0 {
                        // An idle stream holds no buffer.
                        *bytes = Vec::new();
                    }
                    return Poll::Pending;
                }
            }
        }
    }

    /// A window that was read once is doubled.
    fn grow(&self, count: usize) {
        let mut flow = lock(&self.flow);
        flow.read += count as u64;
        if flow.window >= DIRECT_WINDOW || flow.read < u64::from(flow.window) {
            return;
        }
        flow.read = 0;
        if let Some(growth) = &self.growth {
            let Ok(earned) = Arc::clone(growth).try_acquire_many_owned(flow.window) else {
                return;
            };
            flow.earned.push(earned);
        }
        flow.window *= 2;
        self.link.set_receive_window(flow.window);
    }

    /// Writes all of it; done when what is under way and the other end's window had room for it. For one writer at a time.
    ///
    /// # Errors
    /// `StreamReset`, `Closed`.
    pub fn write(self: Arc<Self>, data: Vec<u8>) -> Work<Result<(), TransportError>> {
        let mut data = Bytes::from(data);
        Box::pin(async move {
            while !data.is_empty() {
                poll_fn(|cx| lock(&self.send).poll_write_chunk(cx, &mut data))
                    .await
                    .map_err(stream_error)?;
            }
            Ok(())
        })
    }

    /// Nothing more will be written.
    pub fn finish(&self) {
        lock(&self.send).finish();
    }

    /// Whether both directions came to their end.
    pub fn is_done(&self) -> bool {
        lock(&self.flow).ended && lock(&self.send).is_done()
    }

    /// Ends the link: at once where a direction is not at its end, else when the other end has everything.
    pub fn end(self: Arc<Self>) -> Work<()> {
        Box::pin(async move {
            if self.is_done() {
                let stopped = lock(&self.send).stopped();
                let _ = timeout(DIRECT_FAREWELL, stopped).await;
            }
            self.link.close();
            if !self.link.inbound() {
                // Until the goodbye is on its way: the socket goes with us.
                let _ = timeout(DIRECT_FAREWELL, self.transport.closed()).await;
            }
        })
    }
}

fn spawn(work: Work<()>) {
    tokio::spawn(work);
}

/// Takes links until the listener is closed.
async fn serve(transport: QuicTransport, stop: Arc<Notify>, on_stream: Arc<dyn Fn(DirectStream) + Send + Sync>) {
    let growth = Arc::new(Semaphore::new(DIRECT_GROWTH_TOTAL));
    loop {
        let link = tokio::select! {
            biased;
            () = stop.notified() => break,
            link = transport.accept() => link,
        };
        let Some(link) = link else { return };
        let (transport, growth, on_stream) = (transport.clone(), Arc::clone(&growth), Arc::clone(&on_stream));
        spawn(Box::pin(async move {
            match timeout(HANDSHAKE_DEADLINE, DirectStream::accept(transport, link.clone(), growth)).await {
                Ok(Ok(direct)) => on_stream(direct),
                _ => link.close(),
            }
        }));
    }
    transport.stop_listening();
    // Those whose handshake was under way.
    while let Ok(Some(link)) = timeout(HANDSHAKE_DEADLINE, transport.accept()).await {
        link.close();
    }
}
