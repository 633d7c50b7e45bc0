//! The pipe between a circuit and one of its streams' edges.
//!
//! A circuit is driven by one task that owns all its cryptographic state. What a stream ends in (a TCP socket at the exit, a proxy's
//! client, a Duplex in JavaScript, an RPC) runs in a task of its own. Between them lies a [`Pipe`]: two byte buffers, each bounded by the
//! stream's credit or by [`OUTBOUND_HIGH_WATER_BYTES`](crate::limits::OUTBOUND_HIGH_WATER_BYTES), and a word of state for each direction. Buffers are swapped, not copied, and the
//! locks are taken once a run of cells, never once a cell.

mod handle;

use std::collections::VecDeque;
use std::net::IpAddr;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard};
use std::task::{Context, Waker};

use anonnet_cells::EndReason;
use anonnet_errors::ErrorKind;

use crate::quota::{Account, Hold};
use crate::sync::lock;

pub use handle::StreamHandle;

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
    /// Whether anybody has begun to read.
    was_read: bool,
    reader: Option<Waker>,
    answer_reader: Option<Waker>,
    breaker: Option<Waker>,
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
    /// The stream is over, and has not ended well.
    broken: AtomicBool,
    mailbox: Arc<Mailbox>,
    /// What waits for the edge and for the circuit, at a relay.
    holds: Option<[Arc<Hold>; 2]>,
}

impl Pipe {
    /// A pipe, and the edge's handle to it.
    pub(crate) fn new(stream: u16, mailbox: &Arc<Mailbox>, account: Option<&Arc<Account>>) -> (Arc<Self>, StreamHandle) {
        let pipe = Arc::new(Self {
            stream,
            inbound: Mutex::default(),
            outbound: Mutex::default(),
            dirty: AtomicBool::new(false),
            broken: AtomicBool::new(false),
            mailbox: Arc::clone(mailbox),
            holds: account.map(|account| [Hold::new(account), Hold::new(account)]),
        });
        (
            Arc::clone(&pipe),
            StreamHandle {
                pipe,
                finished: AtomicBool::new(false),
                flows: AtomicBool::new(false),
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

    fn hold(&self, at: usize) -> Option<&Arc<Hold>> {
        self.holds.as_ref()?.get(at)
    }

    /// Puts in what has arrived: `count` bytes of it are new.
    pub(crate) fn arrived(&self, bytes: Vec<u8>, count: usize) {
        let hold = self.hold(INBOUND);
        if let Some(hold) = hold {
            hold.charge(count);
        }
        let was_read = {
            let mut inbound = self.inbound();
            inbound.bytes = bytes;
            inbound.was_read
        };
        if !was_read && let Some(hold) = hold {
            hold.pause();
        }
    }

    /// `count` bytes of the edge have become cells.
    pub(crate) fn sent(&self, count: usize) {
        if let Some(hold) = self.hold(OUTBOUND) {
            hold.release(count);
        }
    }

    /// The far end gives no credit for what is there.
    pub(crate) fn starves(&self) {
        if let Some(hold) = self.hold(OUTBOUND) {
            hold.pause();
        }
    }

    /// Whether the edge still has something to pass on, although the stream is over.
    pub(crate) fn is_draining(&self) -> bool {
        self.hold(INBOUND).is_some_and(|hold| hold.held() > 0) && self.inbound().finished
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
        self.over();
    }

    /// Ends the stream for its edge in the middle of what it still has to pass on.
    pub(crate) fn break_off(&self) {
        {
            let mut inbound = self.inbound();
            inbound.bytes = Vec::new();
            inbound.finished = false;
            inbound.ended = Some(ErrorKind::CircuitClosed);
        }
        self.over();
    }

    fn over(&self) {
        let breaker = {
            let mut inbound = self.inbound();
            let broken = !inbound.finished;
            self.broken.store(broken, Ordering::Release);
            if broken { inbound.breaker.take() } else { None }
        };
        self.outbound().closed = true;
        self.wake_reader();
        self.wake_writer();
        if let Some(breaker) = breaker {
            breaker.wake();
        }
    }
}

/// Places in [`Pipe::holds`].
const INBOUND: usize = 0;
const OUTBOUND: usize = 1;
