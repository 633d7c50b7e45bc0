//! What an edge does with its stream.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::{Context, Poll, Waker};

use anonnet_cells::EndReason;
use anonnet_errors::ErrorKind;

use super::{Answer, INBOUND, OUTBOUND, Pipe};
use crate::limits::{OUTBOUND_HIGH_WATER_BYTES, SPARE_BUFFER_MAX_BYTES};

/// An edge's end of a stream. Dropping it before both directions are done resets the stream.
pub struct StreamHandle {
    pub(super) pipe: Arc<Pipe>,
    pub(super) finished: AtomicBool,
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
        inbound.was_read = true;
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
        if let Some(hold) = self.pipe.hold(INBOUND) {
            hold.release(count);
        }
        self.pipe.outbound().released += count;
        self.pipe.touch();
    }

    /// What the edge has read is not taken where it passes it on.
    #[cfg(any(feature = "exit", feature = "proxy"))]
    pub(crate) fn blocked(&self) {
        if let Some(hold) = self.pipe.hold(INBOUND) {
            hold.pause();
        }
    }

    /// Until the stream is over without having ended well, whatever of it is still to be passed on. For one task at a time.
    #[cfg(any(feature = "exit", feature = "proxy"))]
    pub(crate) fn broken(&self) -> impl Future<Output = ErrorKind> {
        let mut known: Option<Waker> = None;
        std::future::poll_fn(move |cx| {
            if !known.as_ref().is_some_and(|known| known.will_wake(cx.waker())) {
                self.pipe.inbound().breaker = Some(cx.waker().clone());
                known = Some(cx.waker().clone());
            }
            if self.pipe.broken.load(Ordering::Acquire) {
                return Poll::Ready(self.pipe.inbound().ended.unwrap_or(ErrorKind::StreamReset));
            }
            Poll::Pending
        })
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
        if let Some(hold) = self.pipe.hold(OUTBOUND) {
            hold.charge(from.len());
        }
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
