//! The UDP socket that quinn works on: as its own for tokio, without the call that only finds out that nothing more is there.

use std::{
    fmt,
    future::Future,
    io::{self, IoSliceMut},
    net::SocketAddr,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll, ready},
};

use quinn::{
    AsyncUdpSocket, UdpPoller,
    udp::{RecvMeta, Transmit, UdpSocketState},
};
use tokio::{io::Interest, net::UdpSocket};

/// Whether a call that brought fewer messages than it had room for has emptied the socket. Elsewhere a call brings one message.
const EMPTY_WHEN_SHORT: bool = cfg!(any(target_os = "linux", target_os = "android"));

/// A bound socket.
#[derive(Debug)]
pub(crate) struct Udp {
    io: UdpSocket,
    state: UdpSocketState,
}

impl Udp {
    /// Takes over a socket, which becomes non-blocking. To be called inside a tokio runtime.
    pub(crate) fn new(socket: std::net::UdpSocket) -> io::Result<Self> {
        let state = UdpSocketState::new((&socket).into())?;
        Ok(Self {
            io: UdpSocket::from_std(socket)?,
            state,
        })
    }
}

/// Until the socket has room for a datagram.
async fn writable(socket: Arc<Udp>) -> io::Result<()> {
    socket.io.writable().await
}

impl AsyncUdpSocket for Udp {
    fn create_io_poller(self: Arc<Self>) -> Pin<Box<dyn UdpPoller>> {
        Box::pin(Poller {
            socket: self,
            wait: writable,
            waiting: Box::pin(None),
        })
    }

    fn try_send(&self, transmit: &Transmit<'_>) -> io::Result<()> {
        self.io.try_io(Interest::WRITABLE, || self.state.send((&self.io).into(), transmit))
    }

    fn poll_recv(&self, cx: &mut Context<'_>, bufs: &mut [IoSliceMut<'_>], meta: &mut [RecvMeta]) -> Poll<io::Result<usize>> {
        let room = bufs.len().min(meta.len());
        loop {
            ready!(self.io.poll_recv_ready(cx))?;
            let mut received = None;
            let result = self.io.try_io(Interest::READABLE, || {
                let count = self.state.recv((&self.io).into(), bufs, meta)?;
                received = Some(count);
                // Fewer than there was room for: then the queue was empty, and whatever comes later makes the socket readable again, so that
                // the next look need not ask the kernel. Readiness that the runtime saw since this call began is not taken back by it.
                if EMPTY_WHEN_SHORT && count < room {
                    return Err(io::ErrorKind::WouldBlock.into());
                }
                Ok(())
            });
            match (received, result) {
                (Some(count), _) => return Poll::Ready(Ok(count)),
                (None, Err(error)) if error.kind() != io::ErrorKind::WouldBlock => return Poll::Ready(Err(error)),
                (None, _) => {}
            }
        }
    }

    fn local_addr(&self) -> io::Result<SocketAddr> {
        self.io.local_addr()
    }

    fn max_transmit_segments(&self) -> usize {
        self.state.max_gso_segments()
    }

    fn max_receive_segments(&self) -> usize {
        self.state.gro_segments()
    }

    fn may_fragment(&self) -> bool {
        self.state.may_fragment()
    }
}

/// Waits for room in the socket's send buffer, as often as it is asked to.
struct Poller<F> {
    socket: Arc<Udp>,
    wait: fn(Arc<Udp>) -> F,
    /// Allocated once: quinn asks before every send.
    waiting: Pin<Box<Option<F>>>,
}

impl<F: Future<Output = io::Result<()>> + Send + Sync + 'static> UdpPoller for Poller<F> {
    fn poll_writable(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        if self.waiting.is_none() {
            let wait = (self.wait)(Arc::clone(&self.socket));
            self.waiting.set(Some(wait));
        }
        let polled = self.waiting.as_mut().as_pin_mut().map_or(Poll::Ready(Ok(())), |wait| wait.poll(cx));
        if polled.is_ready() {
            self.waiting.set(None);
        }
        polled
    }
}

impl<F> fmt::Debug for Poller<F> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Poller").finish_non_exhaustive()
    }
}
