//! Requests between nodes: on the wire a length (u32) and a CBOR body, one request and one answer a stream. What they mean is TypeScript's
//! business; here they are carried, bounded, and given a deadline.

use std::collections::HashMap;
use std::sync::Mutex;
use std::sync::atomic::{AtomicU32, Ordering};

use anonnet_errors::{ErrorKind, HasKind};
use anonnet_transport::{Link, StreamKind, StreamRecv, StreamSend};
use tokio::sync::oneshot;

use crate::limits::RPC_PENDING_MAX;
use crate::sync::lock;

/// Sends a request over a link and waits for the answer.
pub(crate) async fn call<L: Link>(link: &L, body: &[u8], max_reply: usize) -> Result<Vec<u8>, ErrorKind> {
    let (mut send, mut recv) = link.open(StreamKind::Rpc).await.map_err(|error| error.kind())?;
    write_frame(&mut send, body).await?;
    send.finish();
    read_frame(&mut recv, max_reply).await
}

/// The same over a link that nobody else uses; it is closed in the end, also when whoever waits for the answer gives up.
pub(crate) async fn call_and_close<L: Link>(link: L, body: &[u8], max_reply: usize) -> Result<Vec<u8>, ErrorKind> {
    struct Closing<L: Link>(L);
    impl<L: Link> Drop for Closing<L> {
        fn drop(&mut self) {
            self.0.close();
        }
    }
    let link = Closing(link);
    call(&link.0, body, max_reply).await
}

pub(crate) async fn write_frame<S: StreamSend>(send: &mut S, body: &[u8]) -> Result<(), ErrorKind> {
    let length = u32::try_from(body.len()).map_err(|_| ErrorKind::RpcInvalid)?;
    let mut frame = Vec::with_capacity(4 + body.len());
    frame.extend_from_slice(&length.to_be_bytes());
    frame.extend_from_slice(body);
    send.write_all(&frame).await.map_err(|error| error.kind())
}

/// Reads one frame.
pub(crate) async fn read_frame<R: StreamRecv>(recv: &mut R, max: usize) -> Result<Vec<u8>, ErrorKind> {
    read_growing_frame(recv, max, |_, _| Ok(())).await
}

/// Reads one frame. The buffer grows with what arrives, not with what the length says, and only where `grow` allows it: it is told from what
/// length to what length.
pub(crate) async fn read_growing_frame<R: StreamRecv>(
    recv: &mut R,
    max: usize,
    mut grow: impl FnMut(usize, usize) -> Result<(), ErrorKind>,
) -> Result<Vec<u8>, ErrorKind> {
    let mut head = [0; 4];
    recv.read_exact(&mut head).await.map_err(|error| error.kind())?;
    let length = frame_length(head, max)?;
    let mut body = Vec::new();
    while body.len() < length {
        let from = body.len();
        let to = length.min(from + 16 * 1024);
        grow(from, to)?;
        body.resize(to, 0);
        let room = body.get_mut(from..).unwrap_or_default();
        recv.read_exact(room).await.map_err(|error| error.kind())?;
    }
    Ok(body)
}

pub(crate) fn frame_length(head: [u8; 4], max: usize) -> Result<usize, ErrorKind> {
    let length = usize::try_from(u32::from_be_bytes(head)).unwrap_or(usize::MAX);
    if length > max { Err(ErrorKind::RpcInvalid) } else { Ok(length) }
}

/// What was asked of TypeScript and not yet answered, by id. Ids are never 0 and never in use twice.
pub(crate) struct Pending<T> {
    waiting: Mutex<HashMap<u32, oneshot::Sender<T>>>,
    next: AtomicU32,
    max: usize,
}

impl<T> Pending<T> {
    pub(crate) fn new(max: usize) -> Self {
        Self {
            waiting: Mutex::default(),
            next: AtomicU32::new(1),
            max,
        }
    }

    pub(crate) fn rpc() -> Self {
        Self::new(RPC_PENDING_MAX)
    }

    /// A new request; `None` where too many wait already.
    pub(crate) fn ask(&self) -> Option<(u32, oneshot::Receiver<T>)> {
        let mut waiting = lock(&self.waiting);
        if waiting.len() >= self.max {
            return None;
        }
        let id = loop {
            let id = self.next.fetch_add(1, Ordering::Relaxed);
            if id != 0 && !waiting.contains_key(&id) {
                break id;
            }
        };
        let (sender, receiver) = oneshot::channel();
        waiting.insert(id, sender);
        Some((id, receiver))
    }

    /// `false`: nobody waits for it (any more).
    pub(crate) fn answer(&self, id: u32, value: T) -> bool {
        let sender = lock(&self.waiting).remove(&id);
        sender.is_some_and(|sender| sender.send(value).is_ok())
    }

    /// Forgets a request when the guard is dropped: however the wait for its answer ends, its place comes free.
    pub(crate) fn forget_later(&self, id: u32) -> Forget<'_, T> {
        Forget { pending: self, id }
    }
}

pub(crate) struct Forget<'a, T> {
    pending: &'a Pending<T>,
    id: u32,
}

impl<T> Drop for Forget<'_, T> {
    fn drop(&mut self) {
        lock(&self.pending.waiting).remove(&self.id);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pending_requests_are_bounded_and_answered_once() {
        let pending = Pending::new(2);
        let (first, mut answer) = pending.ask().unwrap();
        let (second, _) = pending.ask().unwrap();
        assert_ne!(first, second);
        assert!(pending.ask().is_none());
        assert!(pending.answer(first, 7));
        assert_eq!(answer.try_recv(), Ok(7));
        assert!(!pending.answer(first, 8));
        drop(pending.forget_later(second));
        assert!(!pending.answer(second, 1));
        assert!(pending.ask().is_some());
    }

    #[test]
    fn lengths_over_the_limit_are_refused() {
        assert_eq!(frame_length([0, 0, 0, 9], 9), Ok(9));
        assert_eq!(frame_length([0, 0, 0, 10], 9), Err(ErrorKind::RpcInvalid));
        assert_eq!(frame_length([255; 4], 9), Err(ErrorKind::RpcInvalid));
    }
}
