//! What an edge does with its stream.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
#[cfg(any(feature = "exit", feature = "proxy"))]
use std::task::Waker;
use std::task::{Context, Poll};
use std::time::Duration;

use anonnet_cells::EndReason;
use anonnet_errors::ErrorKind;
use tokio::time::timeout;

use super::{Answer, INBOUND, OUTBOUND, Pipe};
use crate::limits::{OUTBOUND_HIGH_WATER_BYTES, SPARE_BUFFER_MAX_BYTES};

/// An edge's end of a stream. Dropping it before both directions are done resets the stream.
pub struct StreamHandle {
    pub(super) pipe: Arc<Pipe>,
    pub(super) finished: AtomicBool,
    /// The last read brought so much that more is likely to be on its way.
    pub(super) flows: AtomicBool,
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

    /// As [`read_some`](Self::read_some), for a reader to whom each call costs as much as many bytes: while the stream flows, what comes
    /// within `patience` is joined, up to `wanted`. The first bytes after a pause come at once.
    pub(crate) async fn read_run(&self, wanted: usize, max: usize, patience: Duration) -> Result<Option<Vec<u8>>, ErrorKind> {
        self.arrived(1).await;
        if self.flows.load(Ordering::Relaxed) {
            // Late or not, what is there is taken.
            _ = timeout(patience, self.arrived(wanted)).await;
        }
        let read = self.read_some(max).await;
        let flows = matches!(&read, Ok(Some(bytes)) if bytes.len() >= wanted / 4);
        self.flows.store(flows, Ordering::Relaxed);
        read
    }

    /// Waits until so many bytes are there, or the end is.
    async fn arrived(&self, count: usize) {
        std::future::poll_fn(|cx| {
            let mut inbound = self.pipe.inbound();
            if inbound.bytes.len() >= count || inbound.finished || inbound.ended.is_some() {
                return Poll::Ready(());
            }
            inbound.reader = Some(cx.waker().clone());
            Poll::Pending
        })
        .await;
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

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use tokio::time::{Instant, sleep};

    use super::*;
    use crate::pipe::Mailbox;

    const PATIENCE: Duration = Duration::from_millis(10);

    /// Reads runs of 100, at most 150; what came and how long it took in milliseconds.
    async fn run(handle: &StreamHandle) -> (usize, u128) {
        let began = Instant::now();
        let read = handle.read_run(100, 150, PATIENCE).await.unwrap();
        (read.map_or(0, |bytes| bytes.len()), began.elapsed().as_millis())
    }

    #[tokio::test(start_paused = true)]
    async fn a_stream_that_flows_is_read_in_runs_and_the_first_bytes_at_once() {
        let (pipe, handle) = Pipe::new(1, &Mailbox::new(), None);
        let came = |count: usize| {
            let mut bytes = std::mem::take(&mut pipe.inbound().bytes);
            bytes.resize(bytes.len() + count, 7);
            pipe.arrived(bytes, count);
            pipe.wake_reader();
        };
        came(60);
        assert_eq!(run(&handle).await, (60, 0), "the first bytes come at once");
        let bring = async {
            for _ in 0..3 {
                sleep(Duration::from_millis(2)).await;
                came(40);
            }
        };
        let (read, ()) = tokio::join!(run(&handle), bring);
        assert_eq!(read, (120, 2 + 4), "joined up to what is wanted");
        came(20);
        assert_eq!(run(&handle).await, (20, 10), "no longer than patience");
        came(20);
        assert_eq!(run(&handle).await, (20, 0), "a stream of small pieces waits for nothing");
        came(300);
        assert_eq!(run(&handle).await, (150, 0));
        assert_eq!(run(&handle).await, (150, 0), "nor does one with enough");
        came(30);
        pipe.end(None);
        assert_eq!(run(&handle).await, (30, 0), "nor one at its end");
        assert_eq!(run(&handle).await, (0, 0));
    }
}
