//! What the engine tells TypeScript: a bounded queue, and one wake-up for however many events wait.

use std::collections::VecDeque;
use std::net::SocketAddr;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::{Arc, Mutex, Weak};

use anonnet_errors::ErrorKind;

use crate::limits::EVENT_QUEUE_MAX;
use crate::sync::lock;

/// An operation's id, chosen by TypeScript.
pub type OpId = u32;

/// The answer to an operation.
#[derive(Debug, Default)]
pub struct OpValue {
    pub bytes: Option<Vec<u8>>,
    pub text: Option<String>,
    pub number: Option<u32>,
}

/// Why an operation failed, and at which hop where that is known (0 is the guard).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Failure {
    pub kind: ErrorKind,
    pub hop: Option<u8>,
}

impl From<ErrorKind> for Failure {
    fn from(kind: ErrorKind) -> Self {
        Self { kind, hop: None }
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ProxyProtocol {
    Socks4,
    Socks5,
    Http,
}

#[derive(Debug)]
pub struct ProxyRequestEvent {
    pub request: u32,
    pub listener: u32,
    pub protocol: ProxyProtocol,
    pub resolve: bool,
    pub host: String,
    pub port: u16,
    pub user: Option<Vec<u8>>,
    pub password: Option<Vec<u8>>,
    pub client: SocketAddr,
    /// The client gave an address instead of a name.
    pub literal: bool,
    /// The request of the try before this one, where that one's circuit failed.
    pub again: Option<u32>,
    /// The circuit on which the request is under way already, because an answer stood; there is nothing to answer then.
    pub circuit: Option<u32>,
}

#[derive(Debug)]
pub enum Event {
    OpDone {
        op: OpId,
        result: Result<OpValue, Failure>,
    },
    CircuitClosed {
        circuit: u32,
        kind: ErrorKind,
    },
    Link {
        up: bool,
        node: Option<[u8; 32]>,
        authenticated: bool,
        kind: Option<ErrorKind>,
    },
    RpcRequest {
        request: u32,
        node: Option<[u8; 32]>,
        address: SocketAddr,
        via_circuit: bool,
        body: Vec<u8>,
    },
    ProxyRequest(ProxyRequestEvent),
    /// The far end has accepted the stream of a proxied request.
    ProxyConnected {
        request: u32,
        circuit: u32,
    },
    /// A try to open the stream of a proxied request failed.
    ProxyFailed {
        request: u32,
        circuit: u32,
        kind: ErrorKind,
    },
    StreamEnded {
        circuit: u32,
        kind: Option<ErrorKind>,
    },
    /// Somebody asks a service of ours for a rendezvous.
    Introduced {
        circuit: u32,
        request: u32,
        payload: Vec<u8>,
    },
    /// A client of a service of ours opens a stream to one of its ports.
    IncomingStream {
        circuit: u32,
        stream: u32,
        port: u16,
    },
    /// Somebody opened a direct link to a listener of ours.
    DirectStream {
        listener: u32,
        stream: u32,
        node: [u8; 32],
        address: SocketAddr,
    },
    /// A panic was caught: a bug of ours, and the line of the source where it happened.
    Bug {
        place: String,
    },
}

impl Event {
    /// Whether losing it would leave somebody waiting.
    fn essential(&self) -> bool {
        !matches!(self, Self::Link { .. } | Self::StreamEnded { .. } | Self::Bug { .. })
    }
}

type Wake = dyn Fn() + Send + Sync;

struct Inner {
    queue: VecDeque<Event>,
    woken: bool,
    dropped: u64,
    wake: Option<Box<Wake>>,
}

/// The queue. Answers to operations and requests are never dropped: their number is bounded by what was asked for, and by the limits on
/// open requests. Reports are dropped, and counted, while nobody drains.
#[derive(Clone)]
pub struct EventQueue(Arc<Mutex<Inner>>);

/// A queue that may be gone.
pub(crate) struct WeakQueue(Weak<Mutex<Inner>>);

impl WeakQueue {
    pub(crate) fn upgrade(&self) -> Option<EventQueue> {
        self.0.upgrade().map(EventQueue)
    }
}

impl EventQueue {
    pub fn new(wake: impl Fn() + Send + Sync + 'static) -> Self {
        Self(Arc::new(Mutex::new(Inner {
            queue: VecDeque::new(),
            woken: false,
            dropped: 0,
            wake: Some(Box::new(wake)),
        })))
    }

    pub(crate) fn push(&self, event: Event) {
        let mut inner = lock(&self.0);
        if inner.wake.is_none() {
            return;
        }
        if !event.essential() && inner.queue.len() >= EVENT_QUEUE_MAX {
            inner.dropped += 1;
            return;
        }
        inner.queue.push_back(event);
        if !inner.woken {
            // Called under the lock: it only queues a call, and so the order of wake-ups is that of the events. One that panics has not
            // been called: the next event tries again. It may not unwind from here, since the caller may be unwinding already.
            let called = catch_unwind(AssertUnwindSafe(|| inner.wake.as_ref().map(|wake| wake())));
            inner.woken = called.is_ok();
        }
    }

    /// For whoever must not keep the queue alive.
    pub(crate) fn downgrade(&self) -> WeakQueue {
        WeakQueue(Arc::downgrade(&self.0))
    }

    /// Everything that waits.
    pub fn drain(&self) -> VecDeque<Event> {
        let mut inner = lock(&self.0);
        inner.woken = false;
        std::mem::take(&mut inner.queue)
    }

    /// Reports that were dropped because nobody drained.
    pub fn dropped(&self) -> u64 {
        lock(&self.0).dropped
    }

    /// Nothing is taken or told any more; lets go of the callback.
    pub fn close(&self) {
        let mut inner = lock(&self.0);
        inner.wake = None;
        inner.queue.clear();
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::atomic::{AtomicUsize, Ordering};

    fn report() -> Event {
        Event::StreamEnded { circuit: 1, kind: None }
    }

    #[test]
    fn a_wake_up_that_panics_is_tried_again_with_the_next_event() {
        let calls = Arc::new(AtomicUsize::new(0));
        let counter = Arc::clone(&calls);
        let queue = EventQueue::new(move || {
            assert_ne!(counter.fetch_add(1, Ordering::Relaxed), 0, "planted");
        });
        queue.push(report());
        queue.push(report());
        queue.push(report());
        assert_eq!(calls.load(Ordering::Relaxed), 2);
        assert_eq!(queue.drain().len(), 3);
    }

    #[test]
    fn one_wake_up_for_many_events_and_reports_are_bounded() {
        let wakes = Arc::new(AtomicUsize::new(0));
        let counter = Arc::clone(&wakes);
        let queue = EventQueue::new(move || {
            counter.fetch_add(1, Ordering::Relaxed);
        });
        for _ in 0..EVENT_QUEUE_MAX + 5 {
            queue.push(report());
        }
        queue.push(Event::OpDone {
            op: 1,
            result: Ok(OpValue::default()),
        });
        assert_eq!(wakes.load(Ordering::Relaxed), 1);
        assert_eq!(queue.dropped(), 5);
        assert_eq!(queue.drain().len(), EVENT_QUEUE_MAX + 1);
        queue.push(report());
        assert_eq!(wakes.load(Ordering::Relaxed), 2);
        queue.close();
        queue.push(report());
        assert!(queue.drain().is_empty());
        assert_eq!(wakes.load(Ordering::Relaxed), 2);
    }
}
