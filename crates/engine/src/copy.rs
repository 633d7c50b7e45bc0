//! A TCP socket on one side, a stream's pipe on the other.

use std::io;
use std::pin::Pin;
use std::sync::atomic::{AtomicU64, Ordering};

use anonnet_errors::ErrorKind;
use tokio::io::{AsyncWrite, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::net::tcp::{ReadHalf, WriteHalf};
use tokio::sync::Notify;

use crate::limits::{HALF_CLOSED_IDLE_TIMEOUT, OUTBOUND_HIGH_WATER_BYTES};
use crate::pipe::StreamHandle;

/// Copies both ways until both directions have ended; each may end before the other. `early`: what the socket's peer sent already.
/// On an error, or where this is dropped, the socket is reset, so that its peer can tell a broken transfer from a complete one; the caller
/// resets the stream.
pub(crate) async fn splice(handle: &StreamHandle, mut socket: TcpStream, early: Vec<u8>) -> Result<(), ErrorKind> {
    abort(&socket);
    let result = {
        let (mut read, mut write) = socket.split();
        let half = HalfClosed::default();
        let both = async { tokio::try_join!(upload(handle, &mut read, early, &half), download(handle, &mut write, &half)).map(|_| ()) };
        tokio::select! {
            biased;
            result = both => result,
            // What the socket does not take would keep a stream that is over for ever.
            kind = handle.broken() => Err(kind),
            kind = half.abandoned() => Err(kind),
        }
    };
    if result.is_ok() {
        complete(&socket);
    }
    result
}

/// Watches a stream of which one direction has ended.
#[derive(Default)]
pub(crate) struct HalfClosed {
    moved: AtomicU64,
    ended: Notify,
}

impl HalfClosed {
    fn moved(&self) {
        self.moved.fetch_add(1, Ordering::Relaxed);
    }

    /// One direction has ended.
    pub(crate) fn ended(&self) {
        self.ended.notify_one();
    }

    /// Until one direction has ended and then nothing has moved for [`HALF_CLOSED_IDLE_TIMEOUT`].
    pub(crate) async fn abandoned(&self) -> ErrorKind {
        self.ended.notified().await;
        let mut before = self.moved.load(Ordering::Relaxed);
        loop {
            tokio::time::sleep(HALF_CLOSED_IDLE_TIMEOUT).await;
            let now = self.moved.load(Ordering::Relaxed);
            if std::mem::replace(&mut before, now) == now {
                return ErrorKind::Timeout;
            }
        }
    }
}

/// Makes the close that follows a reset, whoever closes: a task that is ended, or the kernel for a process that is gone.
pub(crate) fn abort<'a, S>(socket: &'a S)
where
    socket2::SockRef<'a>: From<&'a S>,
{
    let _ = socket2::SockRef::from(socket).set_linger(Some(std::time::Duration::ZERO));
}

/// Makes the close that follows an ordinary one, which brings what is still on its way.
pub(crate) fn complete(socket: &TcpStream) {
    let _ = socket2::SockRef::from(socket).set_linger(None);
}

/// What an error of a TCP socket means to the network.
pub(crate) fn socket_kind(error: &io::Error) -> ErrorKind {
    match error.kind() {
        io::ErrorKind::ConnectionRefused => ErrorKind::StreamRefused,
        io::ErrorKind::TimedOut => ErrorKind::Timeout,
        io::ErrorKind::HostUnreachable | io::ErrorKind::NetworkUnreachable | io::ErrorKind::AddrNotAvailable => ErrorKind::HostUnreachable,
        io::ErrorKind::ConnectionReset | io::ErrorKind::BrokenPipe | io::ErrorKind::ConnectionAborted | io::ErrorKind::NotConnected => {
            ErrorKind::StreamReset
        }
        _ => ErrorKind::ResourceLimit,
    }
}

async fn upload(handle: &StreamHandle, read: &mut ReadHalf<'_>, mut buffer: Vec<u8>, half: &HalfClosed) -> Result<(), ErrorKind> {
    if !buffer.is_empty() {
        handle.writable().await?;
        handle.write(&mut buffer);
    }
    loop {
        handle.writable().await?;
        read.readable().await.map_err(|error| socket_kind(&error))?;
        buffer.reserve(OUTBOUND_HIGH_WATER_BYTES);
        match read.try_read_buf(&mut buffer) {
            Ok(0) => break,
            Ok(_) => {
                half.moved();
                handle.write(&mut buffer);
            }
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                // Nothing came after all: an idle stream holds no buffer.
                buffer = Vec::new();
            }
            Err(error) => return Err(socket_kind(&error)),
        }
    }
    handle.finish();
    half.ended();
    Ok(())
}

pub(crate) async fn download(handle: &StreamHandle, write: &mut WriteHalf<'_>, half: &HalfClosed) -> Result<(), ErrorKind> {
    let mut buffer = Vec::new();
    while handle.read(&mut buffer).await? {
        let mut at = 0;
        while let Some(rest) = buffer.get(at..).filter(|rest| !rest.is_empty()) {
            let count = std::future::poll_fn(|cx| {
                let polled = Pin::new(&mut *write).poll_write(cx, rest);
                if polled.is_pending() {
                    handle.blocked();
                }
                polled
            });
            let count = count.await.map_err(|error| socket_kind(&error))?;
            // Credit goes back as the socket takes the bytes.
            handle.release(count);
            half.moved();
            at += count;
        }
        buffer.clear();
    }
    half.ended();
    write.shutdown().await.map_err(|error| socket_kind(&error))
}
