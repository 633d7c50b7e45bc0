//! The two halves of a stream. No lock, no allocation and no copy here that quinn does not make.

use std::{
    future::Future,
    pin::pin,
    sync::{
        Arc, OnceLock,
        atomic::{AtomicU64, AtomicUsize, Ordering},
    },
    task::{Context, Poll, ready},
    time::{Duration, Instant},
};

use bytes::Bytes;
use quinn::{ConnectionError, RecvStream, SendStream, VarInt, WriteError};

use super::convert;
use crate::{
    error::{CloseReason, TransportError},
    limits::TEARDOWN_CODE,
    traits::{StreamKind, StreamRecv, StreamSend},
};

pub(crate) const TEARDOWN: VarInt = VarInt::from_u32(TEARDOWN_CODE);

/// What a link and its streams share.
#[derive(Debug)]
pub(crate) struct Shared {
    /// Halves held, by [`Class`]; `AcceptedCircuit` are in `Accepted` as well.
    halves: [AtomicUsize; 4],
    /// When the last half went, in milliseconds since `born`.
    last_used: AtomicU64,
    /// Why we ended the link, where quinn would only say that we did.
    verdict: OnceLock<CloseReason>,
    pub(crate) born: Instant,
}

impl Shared {
    pub(crate) fn new() -> Arc<Self> {
        Arc::new(Self {
            halves: Default::default(),
            last_used: AtomicU64::new(0),
            verdict: OnceLock::new(),
            born: Instant::now(),
        })
    }

    /// The first verdict stands.
    pub(crate) fn judge(&self, reason: CloseReason) {
        let _ = self.verdict.set(reason);
    }

    pub(crate) fn reason(&self, error: &ConnectionError) -> CloseReason {
        match (convert::close_reason(error), self.verdict.get()) {
            (CloseReason::Local, Some(verdict)) => *verdict,
            (reason, _) => reason,
        }
    }

    fn counter(&self, class: Class) -> &AtomicUsize {
        let [opened_rpc, opened_circuit, accepted, accepted_circuit] = &self.halves;
        match class {
            Class::OpenedRpc => opened_rpc,
            Class::OpenedCircuit => opened_circuit,
            Class::Accepted => accepted,
            Class::AcceptedCircuit => accepted_circuit,
        }
    }

    /// Streams of which a half is held.
    pub(crate) fn count(&self, class: Class) -> usize {
        self.counter(class).load(Ordering::Relaxed).div_ceil(2)
    }

    pub(crate) fn open_halves(&self) -> usize {
        [Class::OpenedRpc, Class::OpenedCircuit, Class::Accepted]
            .iter()
            .map(|class| self.counter(*class).load(Ordering::Relaxed))
            .sum()
    }

    pub(crate) fn idle_for(&self) -> Duration {
        if self.open_halves() > 0 {
            return Duration::ZERO;
        }
        self.born
            .elapsed()
            .saturating_sub(Duration::from_millis(self.last_used.load(Ordering::Relaxed)))
    }
}

/// Who opened a stream, and for what.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Class {
    OpenedRpc,
    OpenedCircuit,
    /// By the peer, for anything.
    Accepted,
    /// By the peer, for a circuit.
    AcceptedCircuit,
}

/// Counts one half for as long as it lives.
#[derive(Debug)]
struct Held {
    shared: Arc<Shared>,
    class: Class,
}

impl Held {
    fn new(shared: &Arc<Shared>, class: Class) -> Self {
        shared.counter(class).fetch_add(1, Ordering::Relaxed);
        Self {
            shared: Arc::clone(shared),
            class,
        }
    }

    fn is_circuit(&mut self) {
        if self.class == Class::Accepted {
            self.class = Class::AcceptedCircuit;
            self.shared.counter(Class::AcceptedCircuit).fetch_add(1, Ordering::Relaxed);
        }
    }
}

impl Drop for Held {
    fn drop(&mut self) {
        let now = self.shared.born.elapsed().as_millis() as u64;
        self.shared.last_used.store(now, Ordering::Relaxed);
        self.shared.counter(self.class).fetch_sub(1, Ordering::Relaxed);
        if self.class == Class::AcceptedCircuit {
            self.shared.counter(Class::Accepted).fetch_sub(1, Ordering::Relaxed);
        }
    }
}

/// The sending half of a QUIC stream.
#[derive(Debug)]
pub struct QuicSend {
    inner: SendStream,
    held: Held,
    /// The type byte, until it went out with the first data: alone it would cost a packet.
    kind: Option<StreamKind>,
    done: bool,
}

/// The receiving half of a QUIC stream.
#[derive(Debug)]
pub struct QuicRecv {
    inner: RecvStream,
    held: Held,
}

/// Both halves of a stream that we opened.
pub(crate) fn opened(shared: &Arc<Shared>, kind: StreamKind, send: SendStream, recv: RecvStream) -> (QuicSend, QuicRecv) {
    let class = if kind == StreamKind::Circuit {
        Class::OpenedCircuit
    } else {
        Class::OpenedRpc
    };
    (
        QuicSend {
            inner: send,
            held: Held::new(shared, class),
            kind: Some(kind),
            done: false,
        },
        QuicRecv {
            inner: recv,
            held: Held::new(shared, class),
        },
    )
}

/// Both halves of a stream that the peer opened.
pub(crate) fn accepted(shared: &Arc<Shared>, send: SendStream, recv: RecvStream) -> (QuicSend, QuicRecv) {
    (
        QuicSend {
            inner: send,
            held: Held::new(shared, Class::Accepted),
            kind: None,
            done: false,
        },
        QuicRecv {
            inner: recv,
            held: Held::new(shared, Class::Accepted),
        },
    )
}

/// The peer's stream turned out to be a circuit.
pub(crate) fn is_circuit(send: &mut QuicSend, recv: &mut QuicRecv) {
    send.held.is_circuit();
    recv.held.is_circuit();
}

impl QuicSend {
    fn error(&self, error: &WriteError) -> TransportError {
        convert::write_error(error).unwrap_or_else(|lost| TransportError::Closed(self.held.shared.reason(lost)))
    }

    /// Writes the type byte and the data under one lock of quinn's, so that they leave in one packet.
    fn poll_first(&mut self, cx: &mut Context<'_>, kind: StreamKind, data: Bytes) -> Poll<Result<usize, TransportError>> {
        let mut chunks = [Bytes::from_static(kind_bytes(kind)), data];
        let written = ready!(pin!(self.inner.write_chunks(&mut chunks)).poll(cx));
        Poll::Ready(match written {
            Ok(written) => {
                self.kind = None;
                Ok(written.bytes.saturating_sub(1))
            }
            Err(error) => Err(self.error(&error)),
        })
    }
}

const fn kind_bytes(kind: StreamKind) -> &'static [u8] {
    match kind {
        StreamKind::Rpc => const { &[StreamKind::Rpc.byte()] },
        StreamKind::Circuit => const { &[StreamKind::Circuit.byte()] },
    }
}

impl StreamSend for QuicSend {
    fn poll_write(&mut self, cx: &mut Context<'_>, data: &[u8]) -> Poll<Result<usize, TransportError>> {
        if data.is_empty() {
            return Poll::Ready(Ok(0));
        }
        if let Some(kind) = self.kind {
            let taken = ready!(self.poll_first(cx, kind, Bytes::copy_from_slice(data)))?;
            if taken > 0 {
                return Poll::Ready(Ok(taken));
            }
        }
        // `write` keeps no state of its own between polls: quinn's own poll_write is this.
        let written = ready!(pin!(self.inner.write(data)).poll(cx));
        Poll::Ready(written.map_err(|error| self.error(&error)))
    }

    fn poll_write_chunk(&mut self, cx: &mut Context<'_>, data: &mut Bytes) -> Poll<Result<usize, TransportError>> {
        if data.is_empty() {
            return Poll::Ready(Ok(0));
        }
        if let Some(kind) = self.kind {
            let taken = ready!(self.poll_first(cx, kind, data.clone()))?;
            bytes::Buf::advance(data, taken);
            if taken > 0 {
                return Poll::Ready(Ok(taken));
            }
        }
        // quinn takes the written part off the chunk itself.
        let written = ready!(pin!(self.inner.write_chunks(std::slice::from_mut(data))).poll(cx));
        Poll::Ready(written.map(|written| written.bytes).map_err(|error| self.error(&error)))
    }

    fn finish(&mut self) {
        if self.kind.is_some() {
            // Without its type byte a stream has no meaning to end well.
            return self.reset();
        }
        self.done = true;
        let _ = self.inner.finish();
    }

    fn reset(&mut self) {
        self.done = true;
        let _ = self.inner.reset(TEARDOWN);
    }

    fn stopped(&self) -> impl Future<Output = ()> + Send + 'static {
        let stopped = self.inner.stopped();
        async move {
            let _ = stopped.await;
        }
    }
}

impl Drop for QuicSend {
    fn drop(&mut self) {
        // quinn would finish it; what was dropped half way must not look complete.
        if !self.done {
            let _ = self.inner.reset(TEARDOWN);
        }
    }
}

impl StreamRecv for QuicRecv {
    fn poll_read(&mut self, cx: &mut Context<'_>, buffer: &mut [u8]) -> Poll<Result<usize, TransportError>> {
        self.inner
            .poll_read(cx, buffer)
            .map_err(|error| convert::read_error(&error).unwrap_or_else(|lost| TransportError::Closed(self.held.shared.reason(lost))))
    }

    fn stop(&mut self) {
        let _ = self.inner.stop(TEARDOWN);
    }
}
