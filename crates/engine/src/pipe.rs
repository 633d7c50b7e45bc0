//! The pipe between a circuit and one of its streams' edges.
//!
//! A circuit is driven by one task that owns all its cryptographic state. What a stream ends in (a TCP socket at the exit, a proxy's
//! client, a Duplex in JavaScript, an RPC) runs in a task of its own. Between them lies a [`Pipe`]: two byte buffers, each bounded by the
//! stream's credit or by [`OUTBOUND_HIGH_WATER_BYTES`], and a word of state for each direction. Buffers are swapped, not copied, and the
//! locks are taken once a run of cells, never once a cell.

use std::collections::VecDeque;
use std::net::IpAddr;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard};
use std::task::{Context, Poll, Waker};

use anonnet_cells::EndReason;
use anonnet_errors::ErrorKind;

use crate::limits::{OUTBOUND_HIGH_WATER_BYTES, SPARE_BUFFER_MAX_BYTES};
use crate::sync::lock;

/// What an edge tells the far end, besides bytes.
#[derive(Debug)]
pub(crate) enum Answer {
    /// The target took the connection.
    Connected,
    /// What the name resolved to.
    Resolved(Vec<IpAddr>),
}

/// Circuit to edge.
#[derive(Default)]
pub(crate) struct Inbound {
    pub(crate) bytes: Vec<u8>,
    /// The far end has sent all it will.
    pub(crate) finished: bool,
    /// The stream is over in both directions, and why.
    pub(crate) ended: Option<ErrorKind>,
    /// The far end accepted the stream.
    pub(crate) answer: Option<Answer>,
    reader: Option<Waker>,
    answer_reader: Option<Waker>,
}

/// Edge to circuit.
#[derive(Default)]
pub(crate) struct Outbound {
    pub(crate) bytes: Vec<u8>,
    pub(crate) finished: bool,
    pub(crate) reset: Option<EndReason>,
    pub(crate) answer: Option<Answer>,
    /// Bytes that the edge has passed on since the circuit last looked.
    pub(crate) released: usize,
    writer: Option<Waker>,
    /// No more is taken: the stream or its circuit is over.
    pub(crate) closed: bool,
}

impl Outbound {
    pub(crate) fn take_writer(&mut self) -> Option<Waker> {
        self.writer.take()
    }
}

/// The streams of a circuit whose edges did something.
pub(crate) struct Mailbox {
    inner: Mutex<MailboxInner>,
}

#[derive(Default)]
struct MailboxInner {
    dirty: VecDeque<u16>,
    waker: Option<Waker>,
}

impl Mailbox {
    pub(crate) fn new() -> Arc<Self> {
        Arc::new(Self {
            inner: Mutex::new(MailboxInner::default()),
        })
    }

    fn push(&self, stream: u16) {
        let waker = {
            let mut inner = lock(&self.inner);
            inner.dirty.push_back(stream);
            inner.waker.take()
        };
        if let Some(waker) = waker {
            waker.wake();
        }
    }

    /// Moves the ids of the streams that want attention into `into`; where there are none, registers the task.
    pub(crate) fn poll_take(&self, cx: &Context<'_>, into: &mut VecDeque<u16>) -> bool {
        let mut inner = lock(&self.inner);
        if inner.dirty.is_empty() {
            if !inner.waker.as_ref().is_some_and(|waker| waker.will_wake(cx.waker())) {
                inner.waker = Some(cx.waker().clone());
            }
            return false;
        }
        into.append(&mut inner.dirty);
        true
    }
}

pub(crate) struct Pipe {
    stream: u16,
    inbound: Mutex<Inbound>,
    outbound: Mutex<Outbound>,
    dirty: AtomicBool,
    mailbox: Arc<Mailbox>,
}

impl Pipe {
    /// A pipe, and the edge's handle to it.
    pub(crate) fn new(stream: u16, mailbox: &Arc<Mailbox>) -> (Arc<Self>, StreamHandle) {
        let pipe = Arc::new(Self {
            stream,
            inbound: Mutex::default(),
            outbound: Mutex::default(),
            dirty: AtomicBool::new(false),
            mailbox: Arc::clone(mailbox),
        });
        (
            Arc::clone(&pipe),
            StreamHandle {
                pipe,
                finished: AtomicBool::new(false),
            },
        )
    }

    fn touch(&self) {
        if !self.dirty.swap(true, Ordering::AcqRel) {
            self.mailbox.push(self.stream);
        }
    }

    // ---- the circuit's side ----

    pub(crate) fn clear_dirty(&self) {
        self.dirty.store(false, Ordering::Release);
    }

    pub(crate) fn inbound(&self) -> MutexGuard<'_, Inbound> {
        lock(&self.inbound)
    }

    pub(crate) fn outbound(&self) -> MutexGuard<'_, Outbound> {
        lock(&self.outbound)
    }

    /// After a run: whoever waits for something of this stream may look.
    pub(crate) fn wake_reader(&self) {
        let (reader, answer) = {
            let mut inbound = self.inbound();
            (inbound.reader.take(), inbound.answer_reader.take())
        };
        for waker in [reader, answer].into_iter().flatten() {
            waker.wake();
        }
    }

    pub(crate) fn wake_writer(&self) {
        let waker = self.outbound().writer.take();
        if let Some(waker) = waker {
            waker.wake();
        }
    }

    /// Ends the stream for its edge. `None`: nothing went wrong, so what has arrived is all there was.
    pub(crate) fn end(&self, kind: Option<ErrorKind>) {
        {
            let mut inbound = self.inbound();
            inbound.finished |= kind.is_none();
            if inbound.ended.is_none() {
                inbound.ended = Some(kind.unwrap_or(ErrorKind::StreamReset));
            }
        }
        self.outbound().closed = true;
        self.wake_reader();
        self.wake_writer();
    }
}

/// An edge's end of a stream. Dropping it before both directions are done resets the stream.
pub struct StreamHandle {
    pipe: Arc<Pipe>,
    finished: AtomicBool,
}

impl StreamHandle {
    /// Waits until the far end has accepted the stream.
    pub(crate) async fn answer(&self) -> Result<Answer, ErrorKind> {
        std::future::poll_fn(|cx| {
            let mut inbound = self.pipe.inbound();
            if let Some(answer) = inbound.answer.take() {
                return Poll::Ready(Ok(answer));
            }
            if let Some(reason) = inbound.ended {
                return Poll::Ready(Err(reason));
            }
            inbound.answer_reader = Some(cx.waker().clone());
            Poll::Pending
        })
        .await
    }

    /// Swaps what has arrived into `into`, which must be empty; `Ok(false)` at the end. The bytes hold their credit until they are
    /// [released](Self::release).
    pub(crate) fn poll_read(&self, cx: &Context<'_>, into: &mut Vec<u8>) -> Poll<Result<bool, ErrorKind>> {
        let mut inbound = self.pipe.inbound();
        if !inbound.bytes.is_empty() {
            std::mem::swap(&mut inbound.bytes, into);
            // A buffer that once grew to the whole window must not stay with an idle stream.
            if inbound.bytes.capacity() > SPARE_BUFFER_MAX_BYTES {
                inbound.bytes = Vec::new();
            }
            return Poll::Ready(Ok(true));
        }
        if inbound.finished {
            return Poll::Ready(Ok(false));
        }
        if let Some(reason) = inbound.ended {
            return Poll::Ready(Err(reason));
        }
        inbound.reader = Some(cx.waker().clone());
        Poll::Pending
    }

    pub(crate) async fn read(&self, into: &mut Vec<u8>) -> Result<bool, ErrorKind> {
        std::future::poll_fn(|cx| self.poll_read(cx, into)).await
    }

    /// At most `max` bytes of what has arrived.
    pub(crate) async fn read_some(&self, max: usize) -> Result<Option<Vec<u8>>, ErrorKind> {
        std::future::poll_fn(|cx| {
            let mut inbound = self.pipe.inbound();
            if inbound.bytes.is_empty() {
                if inbound.finished {
                    return Poll::Ready(Ok(None));
                }
                if let Some(reason) = inbound.ended {
                    return Poll::Ready(Err(reason));
                }
                inbound.reader = Some(cx.waker().clone());
                return Poll::Pending;
            }
            if inbound.bytes.len() <= max {
                return Poll::Ready(Ok(Some(std::mem::take(&mut inbound.bytes))));
            }
            let rest = inbound.bytes.split_off(max);
            Poll::Ready(Ok(Some(std::mem::replace(&mut inbound.bytes, rest))))
        })
        .await
    }

    /// The edge has passed `count` bytes on: their credit goes back to the sender.
    pub(crate) fn release(&self, count: usize) {
        self.pipe.outbound().released += count;
        self.pipe.touch();
    }

    /// Waits until the stream takes more.
    pub(crate) async fn writable(&self) -> Result<(), ErrorKind> {
        std::future::poll_fn(|cx| {
            let mut outbound = self.pipe.outbound();
            if outbound.closed {
                drop(outbound);
                return Poll::Ready(Err(self.pipe.inbound().ended.unwrap_or(ErrorKind::StreamReset)));
            }
            if outbound.bytes.len() < OUTBOUND_HIGH_WATER_BYTES {
                return Poll::Ready(Ok(()));
            }
            outbound.writer = Some(cx.waker().clone());
            Poll::Pending
        })
        .await
    }

    /// Hands over what `from` holds and leaves an empty buffer there. Call after [`writable`](Self::writable).
    pub(crate) fn write(&self, from: &mut Vec<u8>) {
        {
            let mut outbound = self.pipe.outbound();
            if outbound.bytes.is_empty() {
                std::mem::swap(&mut outbound.bytes, from);
            } else {
                outbound.bytes.extend_from_slice(from);
            }
        }
        from.clear();
        self.pipe.touch();
    }

    /// Nothing more will be written.
    pub(crate) fn finish(&self) {
        self.finished.store(true, Ordering::Relaxed);
        self.pipe.outbound().finished = true;
        self.pipe.touch();
    }

    /// Ends both directions.
    pub(crate) fn reset(&self, reason: EndReason) {
        {
            let mut outbound = self.pipe.outbound();
            if outbound.reset.is_none() {
                outbound.reset = Some(reason);
            }
        }
        self.pipe.touch();
    }

    /// Accepts the stream (the relay's end).
    pub(crate) fn accept(&self, answer: Answer) {
        self.pipe.outbound().answer = Some(answer);
        self.pipe.touch();
    }

    /// Waits until the stream is over in both directions.
    pub(crate) async fn ended(&self) -> ErrorKind {
        std::future::poll_fn(|cx| {
            let mut inbound = self.pipe.inbound();
            if let Some(reason) = inbound.ended {
                return Poll::Ready(reason);
            }
            inbound.answer_reader = Some(cx.waker().clone());
            Poll::Pending
        })
        .await
    }
}

impl StreamHandle {
    /// Whether both directions are done: then there is nothing to reset, although bytes may still be on their way out.
    pub(crate) fn is_done(&self) -> bool {
        let inbound = self.pipe.inbound();
        inbound.ended.is_some() || (inbound.finished && inbound.bytes.is_empty() && self.finished.load(Ordering::Relaxed))
    }
}

impl Drop for StreamHandle {
    fn drop(&mut self) {
        if !self.is_done() {
            self.reset(EndReason::Reset);
        }
    }
}
