//! Drives one end of a circuit over its link stream: reads runs of cells, lets the state machine process them, moves bytes between it and
//! the streams' pipes, and writes what it has to say. One task owns all of it.

mod streams;

use std::collections::VecDeque;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::task::{Context, Poll};

use anonnet_cells::{CELL_LEN, EndReason, MAX_DATA};
use anonnet_errors::ErrorKind;
use anonnet_transport::{StreamRecv, StreamSend};
use bytes::Bytes;

use crate::bandwidth::{Bandwidth, Pace};
use crate::limits::{CIRCUIT_OUT_HIGH_WATER_BYTES, OUTBOUND_HIGH_WATER_BYTES, STREAM_TURN_BYTES};
use crate::pipe::{Answer, Mailbox, StreamHandle};
use crate::quota::{Account, Hold};
use crate::rest::Rest;
use crate::scratch::{CellReader, circuit_kind};
use crate::stats::Traffic;

pub(crate) use streams::Router;
use streams::Streams;

/// Runs that a circuit processes before other tasks have their turn.
const RUNS_PER_TURN: usize = 4;

/// The state machine of a circuit's end, client or last hop.
pub(crate) trait Side: Send {
    /// What its owner has to deal with: not of an existing stream.
    type Note: Send;

    fn receive(
        &mut self,
        run: &mut [u8],
        out: &mut Vec<u8>,
        router: &mut Router<'_>,
        notes: &mut VecDeque<Self::Note>,
    ) -> Result<(), ErrorKind>;
    fn needs_flush(&mut self) -> bool;
    fn flush(&mut self, out: &mut Vec<u8>) -> Result<(), ErrorKind>;
    fn send(&mut self, stream: u16, data: &[u8], out: &mut Vec<u8>) -> Result<usize, ErrorKind>;
    fn finish(&mut self, stream: u16, out: &mut Vec<u8>) -> Result<(), ErrorKind>;
    fn reset(&mut self, stream: u16, reason: EndReason, out: &mut Vec<u8>) -> Result<(), ErrorKind>;
    fn consumed(&mut self, stream: u16, count: usize) -> Result<(), ErrorKind>;
    fn answer(&mut self, stream: u16, answer: Answer, out: &mut Vec<u8>) -> Result<(), ErrorKind>;
    /// Gives back what is needed only while cells pass.
    fn rest(&mut self);
}

pub(crate) struct Driver<M: Side, S, R> {
    pub(crate) side: M,
    send: S,
    recv: CellReader<R>,
    out: Vec<u8>,
    /// What is on its way into the link, before `out`.
    leaving: Bytes,
    streams: Streams,
    mailbox: Arc<Mailbox>,
    notes: VecDeque<M::Note>,
    traffic: Arc<Traffic>,
    pace: Option<Pace>,
    account: Option<Arc<Account>>,
    /// What the link does not take.
    hold: Option<Arc<Hold>>,
    rest: Rest,
}

impl<M: Side, S: StreamSend, R: StreamRecv> Driver<M, S, R> {
    pub(crate) fn new(side: M, send: S, recv: CellReader<R>, out: Vec<u8>) -> Self {
        Self {
            side,
            send,
            recv,
            out,
            leaving: Bytes::new(),
            streams: Streams::default(),
            mailbox: Mailbox::new(),
            notes: VecDeque::new(),
            traffic: Arc::default(),
            pace: None,
            account: None,
            hold: None,
            rest: Rest::new(),
        }
    }

    /// Counts what is read and written against a relay's limit.
    pub(crate) fn with_bandwidth(mut self, bandwidth: &Arc<Bandwidth>) -> Self {
        self.pace = Some(Pace::new(Arc::clone(bandwidth)));
        self
    }

    /// Counts what is held against a relay's quota.
    pub(crate) fn with_account(mut self, account: &Arc<Account>) -> Self {
        self.streams.account = Some(Arc::clone(account));
        self.account = Some(Arc::clone(account));
        self
    }

    /// Goes on counting where another end of the circuit stopped.
    pub(crate) fn with_traffic(mut self, traffic: Arc<Traffic>) -> Self {
        self.traffic = traffic;
        self
    }

    pub(crate) fn traffic(&self) -> Arc<Traffic> {
        Arc::clone(&self.traffic)
    }

    /// The state machine, its halves of the link stream, and what is still to be written.
    pub(crate) fn into_parts(self) -> (M, S, CellReader<R>, Vec<u8>) {
        let out = if self.leaving.is_empty() {
            self.out
        } else {
            [&self.leaving, &*self.out].concat()
        };
        (self.side, self.send, self.recv, out)
    }

    /// Opens a stream of our own: `begin` asks the state machine for it.
    pub(crate) fn open(&mut self, begin: impl FnOnce(&mut M, &mut Vec<u8>) -> Result<u16, ErrorKind>) -> Result<StreamHandle, ErrorKind> {
        let stream = begin(&mut self.side, &mut self.out)?;
        let handle = self.streams.open(stream, &self.mailbox);
        self.count_streams();
        Ok(handle)
    }

    /// Lets the state machine say something of its own.
    pub(crate) fn with_side<T>(&mut self, work: impl FnOnce(&mut M, &mut Vec<u8>) -> T) -> T {
        work(&mut self.side, &mut self.out)
    }

    /// Whether the link has taken what was said, but for what is always allowed to wait.
    pub(crate) fn takes_more(&self) -> bool {
        self.waiting_bytes() < CIRCUIT_OUT_HIGH_WATER_BYTES
    }

    /// Ends every stream, for a circuit that is over.
    pub(crate) fn end_all(&mut self, kind: ErrorKind) {
        self.streams.end_all(kind);
        self.count_streams();
    }

    fn count_streams(&self) {
        self.traffic.streams.store(self.streams.entries.len() as u64, Ordering::Relaxed);
    }

    /// Works until there is something for the owner, or the circuit is over.
    pub(crate) fn poll_note(&mut self, cx: &mut Context<'_>) -> Poll<Result<M::Note, ErrorKind>> {
        for _ in 0..RUNS_PER_TURN {
            // Before anything more is read: a peer must not make more of them wait than one run of cells can hold.
            if let Some(note) = self.notes.pop_front() {
                return Poll::Ready(Ok(note));
            }
            if self.pace.as_mut().is_some_and(|pace| pace.poll_ready(cx).is_pending()) {
                return Poll::Pending;
            }
            let mut progress = self.read(cx)?;
            progress |= self.take_turns(cx)?;
            progress |= self.write(cx)?;
            if !progress {
                if self.rest.poll(cx) {
                    self.side.rest();
                }
                return Poll::Pending;
            }
            self.rest.used();
        }
        cx.waker().wake_by_ref();
        Poll::Pending
    }

    pub(crate) async fn note(&mut self) -> Result<M::Note, ErrorKind> {
        std::future::poll_fn(|cx| self.poll_note(cx)).await
    }

    /// Ends of circuits always read: what a peer may send ahead is bounded by credit.
    fn read(&mut self, cx: &mut Context<'_>) -> Result<bool, ErrorKind> {
        let Self {
            side,
            recv,
            out,
            streams,
            mailbox,
            notes,
            traffic,
            pace,
            ..
        } = self;
        let polled = recv.poll_run(cx, |run| {
            if let Some(pace) = pace {
                pace.charge(run.len());
            }
            let mut router = Router::new(streams, mailbox);
            let result = side.receive(run, out, &mut router, notes);
            traffic.read.fetch_add(router.done(), Ordering::Relaxed);
            result
        });
        let progress = match polled {
            Poll::Pending => false,
            Poll::Ready(result) => result.map(|_| true)?,
        };
        let mut touched = std::mem::take(&mut self.streams.touched);
        for stream in touched.drain(..) {
            if let Some(entry) = self.streams.entries.get(&stream) {
                entry.pipe.wake_reader();
            }
        }
        self.streams.touched = touched;
        Ok(progress)
    }

    fn waiting_bytes(&self) -> usize {
        self.out.len() + self.leaving.len()
    }

    fn take_turns(&mut self, cx: &Context<'_>) -> Result<bool, ErrorKind> {
        let mut progress = self.mailbox.poll_take(cx, &mut self.streams.turns);
        while self.waiting_bytes() < CIRCUIT_OUT_HIGH_WATER_BYTES {
            let Some(stream) = self.streams.turns.pop_front() else { break };
            self.turn(stream)?;
            progress = true;
        }
        if self.side.needs_flush() && self.waiting_bytes() < CIRCUIT_OUT_HIGH_WATER_BYTES {
            self.side.flush(&mut self.out)?;
            progress = true;
        }
        self.count_streams();
        Ok(progress)
    }

    /// One stream's turn: what its edge said, and a bounded piece of what it has to send.
    fn turn(&mut self, stream: u16) -> Result<(), ErrorKind> {
        let Some(entry) = self.streams.entries.get_mut(&stream) else {
            return Ok(());
        };
        entry.pipe.clear_dirty();
        let (released, answer, reset, edge_finished, writer) = {
            let mut outbound = entry.pipe.outbound();
            let mut writer = None;
            if entry.sent == entry.unsent.len() {
                entry.unsent.clear();
                entry.sent = 0;
                std::mem::swap(&mut entry.unsent, &mut outbound.bytes);
                // The edge fills its buffer again while this one is sent.
                writer = outbound.take_writer();
            }
            let released = std::mem::take(&mut outbound.released);
            let finished = outbound.finished && outbound.bytes.is_empty();
            (released, outbound.answer.take(), outbound.reset, finished, writer)
        };
        if let Some(writer) = writer {
            writer.wake();
        }
        if released > 0 {
            self.side.consumed(stream, released)?;
        }
        if let Some(answer) = answer {
            let only = matches!(answer, Answer::Resolved(_));
            self.side.answer(stream, answer, &mut self.out)?;
            if only {
                self.streams.remove(stream, None);
                return Ok(());
            }
        }
        if let Some(reason) = reset {
            self.side.reset(stream, reason, &mut self.out)?;
            self.streams.remove(stream, reason.kind());
            return Ok(());
        }
        let unsent = entry.unsent.get(entry.sent..).unwrap_or_default();
        let piece = unsent.get(..unsent.len().min(STREAM_TURN_BYTES)).unwrap_or_default();
        let count = if piece.is_empty() {
            0
        } else {
            // Room for two turns at once, not one after the other.
            self.out
                .reserve(unsent.len().min(OUTBOUND_HIGH_WATER_BYTES).div_ceil(MAX_DATA) * CELL_LEN);
            self.side.send(stream, piece, &mut self.out)?
        };
        self.traffic.written.fetch_add(count as u64, Ordering::Relaxed);
        entry.sent += count;
        entry.pipe.sent(count);
        if entry.sent < entry.unsent.len() {
            // A short count means that credit is used up; the stream has its turn again when more comes.
            if count == piece.len() {
                self.streams.turns.push_back(stream);
            } else {
                entry.pipe.starves();
            }
            return Ok(());
        }
        if edge_finished && !entry.finished {
            entry.finished = true;
            self.side.finish(stream, &mut self.out)?;
        }
        if entry.finished && entry.far_finished {
            self.streams.remove(stream, None);
            return Ok(());
        }
        if count > 0 {
            entry.unsent = Vec::new();
            entry.sent = 0;
            self.streams.turns.push_back(stream);
        }
        Ok(())
    }

    fn write(&mut self, cx: &mut Context<'_>) -> Result<bool, ErrorKind> {
        let mut progress = false;
        loop {
            if self.leaving.is_empty() {
                if self.out.is_empty() {
                    break;
                }
                // The buffer itself goes to the link, which would make a copy else, and keeps it until the peer has all of it: therefore
                // it must not be much larger than what is in it.
                let mut out = std::mem::take(&mut self.out);
                if out.capacity() > 2 * out.len() {
                    out.shrink_to_fit();
                }
                self.leaving = Bytes::from(out);
            }
            match self.send.poll_write_chunk(cx, &mut self.leaving) {
                Poll::Pending => {
                    let waiting = self.waiting_bytes();
                    if let Some(account) = &self.account {
                        self.hold.get_or_insert_with(|| Hold::new(account)).block(waiting);
                    }
                    return Ok(progress);
                }
                Poll::Ready(result) => {
                    let count = result.map_err(circuit_kind)?;
                    if let Some(hold) = &self.hold {
                        hold.release(count);
                    }
                    if let Some(pace) = &mut self.pace {
                        pace.charge(count);
                    }
                }
            }
            progress = true;
        }
        // An idle circuit holds no buffer.
        self.leaving = Bytes::new();
        Ok(progress)
    }
}

#[cfg(test)]
mod tests;
