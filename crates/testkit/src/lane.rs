//! One direction of a stream: a bounded queue, as long on its way as the link is slow.

use std::collections::VecDeque;
use std::future::Future;
use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, Waker};

use anonnet_transport::{STREAM_WINDOW, StreamKind, StreamRecv, StreamSend, TransportError};
use bytes::{Buf, Bytes};
use tokio::sync::watch;
use tokio::time::{Instant, Sleep, sleep_until};

use crate::link::MemLink;

#[derive(Default)]
struct State {
    /// When it arrives, and what; nothing is the end.
    queue: VecDeque<(Instant, Bytes)>,
    /// Bytes that were sent and not read: the stream's window.
    held: usize,
    finished: bool,
    reset: bool,
    stopped: bool,
    reader: Option<Waker>,
    writer: Option<Waker>,
}

pub(crate) struct Lane {
    state: Mutex<State>,
    /// The receiver has everything, or wants no more.
    over: watch::Sender<bool>,
}

impl Lane {
    pub(crate) fn new() -> Arc<Self> {
        Arc::new(Self {
            state: Mutex::default(),
            over: watch::Sender::new(false),
        })
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Something changed: both ends look again.
    pub(crate) fn wake(&self) {
        let wakers = {
            let mut state = self.lock();
            [state.reader.take(), state.writer.take()]
        };
        wakers.into_iter().flatten().for_each(Waker::wake);
    }
}

/// The half that writes.
pub struct MemSend {
    link: MemLink,
    lane: Arc<Lane>,
    /// The halves that the peer gets with the first byte.
    announce: Option<(StreamKind, MemSend2, MemRecv)>,
}

/// Boxed, since a half cannot hold itself.
type MemSend2 = Box<MemSend>;

impl MemSend {
    pub(crate) fn new(link: MemLink, lane: Arc<Lane>) -> Self {
        link.hold(1);
        Self {
            link,
            lane,
            announce: None,
        }
    }

    pub(crate) fn announcing(mut self, kind: StreamKind, send: MemSend, recv: MemRecv) -> Self {
        self.announce = Some((kind, Box::new(send), recv));
        self
    }

    fn announce(&mut self) {
        if let Some((kind, send, recv)) = self.announce.take() {
            self.link.deliver((kind, *send, recv));
        }
    }
}

impl StreamSend for MemSend {
    fn poll_write(&mut self, cx: &mut Context<'_>, data: &[u8]) -> Poll<Result<usize, TransportError>> {
        self.poll_write_chunk(cx, &mut Bytes::copy_from_slice(data.get(..STREAM_WINDOW as usize).unwrap_or(data)))
    }

    fn poll_write_chunk(&mut self, cx: &mut Context<'_>, data: &mut Bytes) -> Poll<Result<usize, TransportError>> {
        self.link.check()?;
        self.announce();
        let mut state = self.lane.lock();
        if state.stopped || state.reset || state.finished {
            return Poll::Ready(Err(TransportError::StreamReset));
        }
        let count = data.len().min((STREAM_WINDOW as usize).saturating_sub(state.held));
        if count == 0 && !data.is_empty() {
            state.writer = Some(cx.waker().clone());
            return Poll::Pending;
        }
        if count > 0 {
            state.held += count;
            let arrives = self.link.arrival();
            state.queue.push_back((arrives, data.split_to(count)));
            self.link.count_sent(count);
        }
        drop(state);
        self.lane.wake();
        Poll::Ready(Ok(count))
    }

    fn finish(&mut self) {
        self.announce();
        {
            let mut state = self.lane.lock();
            if state.finished || state.reset {
                return;
            }
            state.finished = true;
            let arrives = self.link.arrival();
            state.queue.push_back((arrives, Bytes::new()));
        }
        self.lane.wake();
    }

    fn reset(&mut self) {
        self.lane.lock().reset = true;
        self.lane.wake();
    }

    fn stopped(&self) -> impl Future<Output = ()> + Send + 'static {
        let (mut over, link) = (self.lane.over.subscribe(), self.link.clone());
        async move {
            tokio::select! {
                _ = over.wait_for(|over| *over) => {}
                () = link.gone() => {}
            }
        }
    }
}

impl Drop for MemSend {
    fn drop(&mut self) {
        if !self.lane.lock().finished {
            self.reset();
        }
        self.link.hold(-1);
    }
}

/// The half that reads.
pub struct MemRecv {
    link: MemLink,
    lane: Arc<Lane>,
    timer: Option<Pin<Box<Sleep>>>,
}

impl MemRecv {
    pub(crate) fn new(link: MemLink, lane: Arc<Lane>) -> Self {
        link.hold(1);
        Self { link, lane, timer: None }
    }
}

impl StreamRecv for MemRecv {
    fn poll_read(&mut self, cx: &mut Context<'_>, buffer: &mut [u8]) -> Poll<Result<usize, TransportError>> {
        self.link.check()?;
        let mut state = self.lane.lock();
        if state.reset || state.stopped {
            return Poll::Ready(Err(TransportError::StreamReset));
        }
        let (mut filled, now) = (0, Instant::now());
        while let Some((arrives, chunk)) = state.queue.front_mut() {
            if *arrives > now {
                if filled == 0 {
                    let timer = self.timer.insert(Box::pin(sleep_until(*arrives)));
                    if timer.as_mut().poll(cx).is_ready() {
                        cx.waker().wake_by_ref();
                    }
                }
                break;
            }
            if chunk.is_empty() {
                self.lane.over.send_replace(true);
                return Poll::Ready(Ok(filled));
            }
            let Some(room) = buffer.get_mut(filled..).filter(|room| !room.is_empty()) else {
                break;
            };
            let count = chunk.len().min(room.len());
            chunk.copy_to_slice(room.get_mut(..count).unwrap_or_default());
            filled += count;
            if chunk.is_empty() {
                state.queue.pop_front();
            }
        }
        if filled == 0 && !buffer.is_empty() {
            state.reader = Some(cx.waker().clone());
            return Poll::Pending;
        }
        state.held -= filled;
        let writer = state.writer.take();
        drop(state);
        if let Some(writer) = writer {
            writer.wake();
        }
        Poll::Ready(Ok(filled))
    }

    fn stop(&mut self) {
        self.lane.lock().stopped = true;
        self.lane.over.send_replace(true);
        self.lane.wake();
    }
}

impl Drop for MemRecv {
    fn drop(&mut self) {
        let ended = {
            let state = self.lane.lock();
            state.finished && state.held == 0
        };
        if !ended {
            self.stop();
        }
        self.link.hold(-1);
    }
}
