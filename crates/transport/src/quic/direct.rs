//! A direct link: one stream of bytes between two programs that know each other's address.
//!
//! It is a link between nodes (TLS, proof of both identities, sizes, congestion) with a protocol name of its own. It has one stream, the one
//! on which the identities were proved: so a link that nobody reads holds up nothing but itself.

use std::{
    fmt,
    future::{Future, poll_fn},
    net::SocketAddr,
    pin::{Pin, pin},
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicUsize, Ordering},
    },
    task::{Context, Poll},
    time::Duration,
};

use anonnet_crypto::keys::{IdentityKey, NodeId};
use bytes::Bytes;
use quinn::{Connection, ConnectionError, RecvStream, SendStream};
use tokio::{sync::OwnedSemaphorePermit, time::timeout};

use super::{QuicConfig, QuicTransport, convert, incoming::Control, settings::send_window, streams::TEARDOWN};
use crate::{
    error::{CloseReason, TransportError},
    limits::{DIRECT_FAREWELL, DIRECT_FIRST_WINDOW, DIRECT_WINDOW, LinkLimits, NODE_SEND_WINDOW},
    traits::DialRole,
};

/// Boxed, so that what is polled is compiled here, where size counts and not speed.
type Work<T> = Pin<Box<dyn Future<Output = T> + Send>>;

/// Gets the links of a direct listener.
pub type OnDirect = Arc<dyn Fn(DirectLink) + Send + Sync>;

/// A link that a direct listener took.
pub struct DirectLink {
    pub(crate) connection: Connection,
    pub(crate) peer: NodeId,
    pub(crate) control: Control,
    /// What the windows of all links of the listener may still grow by.
    pub(crate) growth: Arc<AtomicUsize>,
    /// The place among the inbound links.
    pub(crate) _permit: Option<OwnedSemaphorePermit>,
}

impl fmt::Debug for DirectLink {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // No address and no identity.
        f.debug_struct("DirectLink").finish_non_exhaustive()
    }
}

impl DirectLink {
    /// Turns the other end away.
    pub fn close(&self) {
        self.connection.close(TEARDOWN, &[]);
    }
}

struct Sending {
    stream: SendStream,
    finished: bool,
}

struct Receiving {
    stream: RecvStream,
    /// Everything came.
    ended: bool,
    /// The last read brought so much that more is likely to be on its way.
    flows: bool,
    window: u32,
    /// Read since the window grew.
    read: usize,
}

/// One end of a direct link. The link ends with it.
pub struct DirectStream {
    connection: Connection,
    peer: NodeId,
    send: Mutex<Sending>,
    recv: Mutex<Receiving>,
    growth: Arc<AtomicUsize>,
    _permit: Option<OwnedSemaphorePermit>,
    /// Keeps the socket: one of its own where we dialled, the listener's else.
    _transport: QuicTransport,
}

impl fmt::Debug for DirectStream {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("DirectStream").finish_non_exhaustive()
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// What the end of a link means: whoever closes it before its time has reset the stream.
fn lost(error: &ConnectionError) -> TransportError {
    match convert::close_reason(error) {
        CloseReason::Peer => TransportError::StreamReset,
        reason => TransportError::Closed(reason),
    }
}

impl DirectStream {
    /// Takes a link over. `transport`: the listener that took it.
    pub fn new(transport: QuicTransport, link: DirectLink) -> Self {
        let DirectLink {
            connection,
            peer,
            control,
            growth,
            _permit,
        } = link;
        connection.set_send_window(send_window(connection.min_rtt(), NODE_SEND_WINDOW));
        Self {
            connection,
            peer,
            send: Mutex::new(Sending {
                stream: control.send,
                finished: false,
            }),
            recv: Mutex::new(Receiving {
                stream: control.recv,
                ended: false,
                flows: false,
                window: DIRECT_FIRST_WINDOW,
                read: 0,
            }),
            growth,
            _permit,
            _transport: transport,
        }
    }

    /// Dials a direct listener as `identity`; done once both have proved who they are.
    ///
    /// # Errors
    /// As [`Transport::dial`](crate::Transport::dial).
    pub fn dial(identity: Arc<IdentityKey>, node: NodeId, address: SocketAddr, deadline: Duration) -> Work<Result<Self, TransportError>> {
        Box::pin(async move {
            let limits = LinkLimits {
                dial_deadline: deadline,
                ..LinkLimits::direct(0)
            };
            let transport = QuicTransport::bind(QuicConfig {
                identity: Some(identity),
                limits,
                ..QuicConfig::client()
            })?;
            let (connection, control) = transport.clone().dialling(node, address, DialRole::Node).await?;
            let link = DirectLink {
                connection,
                peer: node,
                control: control.ok_or(TransportError::NodeOnly)?,
                // Who we dial is our own choice.
                growth: Arc::new(AtomicUsize::new(usize::MAX)),
                _permit: None,
            };
            Ok(Self::new(transport, link))
        })
    }

    #[cfg(test)]
    pub(crate) const fn growth(&self) -> &Arc<AtomicUsize> {
        &self.growth
    }

    /// Who is at the other end, as it proved.
    pub const fn peer(&self) -> NodeId {
        self.peer
    }

    /// Where the other end is.
    pub fn remote_address(&self) -> SocketAddr {
        self.connection.remote_address()
    }

    /// What has arrived, `max` bytes at most; `None` is the end. While the stream flows, what comes within `patience` is joined, up to
    /// `wanted`; the first bytes after a pause come at once. For one reader at a time.
    ///
    /// # Errors
    /// `StreamReset`, `Closed`.
    pub fn read(self: Arc<Self>, wanted: usize, max: usize, patience: Duration) -> Work<Result<Option<Vec<u8>>, TransportError>> {
        Box::pin(async move {
            let mut bytes = Vec::new();
            poll_fn(|cx| self.poll_fill(cx, &mut bytes, 1, max)).await?;
            if bytes.len() < wanted && lock(&self.recv).flows {
                // Late or broken off, what is there is taken.
                let _ = timeout(patience, poll_fn(|cx| self.poll_fill(cx, &mut bytes, wanted, max))).await;
            }
            let mut recv = lock(&self.recv);
            recv.flows = bytes.len() >= wanted / 4;
            recv.read += bytes.len();
            self.grow(&mut recv);
            Ok(if bytes.is_empty() { None } else { Some(bytes) })
        })
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
            let polled = recv.stream.poll_read(cx, bytes.get_mut(filled..).unwrap_or_default());
            let count = if let Poll::Ready(Ok(count)) = polled { count } else { 0 };
            bytes.truncate(filled + count);
            match polled {
                Poll::Ready(Ok(0)) => {
                    recv.ended = true;
                    return Poll::Ready(Ok(()));
                }
                Poll::Ready(Ok(_)) => {}
                Poll::Ready(Err(error)) => return Poll::Ready(Err(convert::read_error(&error).unwrap_or_else(lost))),
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
    fn grow(&self, recv: &mut Receiving) {
        let window = recv.window as usize;
        if recv.window >= DIRECT_WINDOW || recv.read < window {
            return;
        }
        recv.read = 0;
        let taken = self
            .growth
            .fetch_update(Ordering::Relaxed, Ordering::Relaxed, |left| left.checked_sub(window));
        if taken.is_ok() {
            recv.window *= 2;
            self.connection.set_receive_window(recv.window.into());
        }
    }

    /// Writes all of it; done when what is under way and the other end's window had room for it. For one writer at a time.
    ///
    /// # Errors
    /// `StreamReset`, `Closed`.
    pub fn write(self: Arc<Self>, data: Vec<u8>) -> Work<Result<(), TransportError>> {
        let mut data = Bytes::from(data);
        Box::pin(async move {
            while !data.is_empty() {
                // Keeps no state of its own between polls; takes what was written off the chunk.
                let written = poll_fn(|cx| pin!(lock(&self.send).stream.write_chunks(std::slice::from_mut(&mut data))).poll(cx));
                if let Err(error) = written.await {
                    return Err(convert::write_error(&error).unwrap_or_else(lost));
                }
            }
            Ok(())
        })
    }

    /// Nothing more will be written.
    pub fn finish(&self) {
        let mut send = lock(&self.send);
        send.finished = send.stream.finish().is_ok();
    }

    /// Whether both directions came to their end.
    pub fn is_done(&self) -> bool {
        lock(&self.recv).ended && lock(&self.send).finished
    }

    /// Until the other end has everything, or will not get it any more.
    pub fn delivered(self: Arc<Self>) -> Work<()> {
        Box::pin(async move {
            let stopped = lock(&self.send).stream.stopped();
            let _ = timeout(DIRECT_FAREWELL, stopped).await;
        })
    }

    /// Ends the link. What the other end has not got by then is a reset there.
    pub fn close(&self) {
        self.connection.close(TEARDOWN, &[]);
    }
}

impl Drop for DirectStream {
    fn drop(&mut self) {
        // Before the halves, which would end as if they were complete.
        self.close();
        let window = lock(&self.recv).window;
        self.growth.fetch_add((window - DIRECT_FIRST_WINDOW) as usize, Ordering::Relaxed);
    }
}
