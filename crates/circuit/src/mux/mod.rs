//! The streams of a circuit, as both of its ends keep them: numbers, sequence, credit, ends.
//!
//! # How a stream ends
//! END Done says "I send no more data". Every other END is that side's last word on the stream: after it nothing more of the stream comes
//! from there, and whoever hears it answers with its own last word if it has not said it yet. A side that ends after it heard the other's
//! END says Closed at once, which is both; a side that said Done and hears Done or Closed confirms with Closed. So each side knows exactly when the
//! other has nothing more on its way, forgets the stream at that moment, and can refuse everything else without guessing.

mod grant;
mod rate;
mod receive;
mod send;
mod table;
#[cfg(test)]
mod tests;

use crate::event::StreamId;
use crate::limits::MAX_STREAMS;
use anonnet_cells::{EndReason, Resolved, Target};
pub(crate) use rate::micros;
use table::{End, Stream, Table, Use};

/// Which end this is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Side {
    /// Opens streams.
    Client,
    /// Answers them.
    LastHop,
}

/// What came in, for either end.
#[derive(Clone, Copy, Debug)]
pub(crate) enum MuxEvent<'a> {
    Begin { stream: StreamId, target: Target<'a> },
    BeginDir { stream: StreamId },
    Resolve { stream: StreamId, name: &'a str },
    Connected { stream: StreamId },
    Data { stream: StreamId, data: &'a [u8] },
    Finished { stream: StreamId },
    Ended { stream: StreamId, reason: EndReason },
    Credit { stream: StreamId },
    Resolved { stream: StreamId, answer: Resolved<'a> },
}

/// The streams of one end of a circuit.
#[derive(Debug)]
pub(crate) struct Mux {
    table: Option<Box<Table>>,
    /// The last sequence number sent.
    sent_seq: u32,
    /// The last sequence number that came.
    heard_seq: u32,
    /// The number of the newest stream.
    newest: StreamId,
    side: Side,
}

impl Mux {
    pub const fn new(side: Side) -> Self {
        Self {
            table: None,
            sent_seq: 0,
            heard_seq: 0,
            newest: 0,
            side,
        }
    }

    /// Streams in the table, those that only wait for a last word included.
    pub fn open_streams(&self) -> usize {
        self.table.as_ref().map_or(0, |table| table.len())
    }

    /// Whether any stream was ever opened.
    pub const fn was_used(&self) -> bool {
        self.newest != 0
    }

    /// Whether another stream fits.
    pub fn can_open(&self) -> bool {
        self.open_streams() < MAX_STREAMS && self.newest != StreamId::MAX
    }

    /// Whether [`Mux::flush`] has something to do.
    pub fn needs_flush(&self) -> bool {
        self.table.as_ref().is_some_and(|table| table.has_due())
    }

    /// How many bytes may be sent on a stream now.
    pub fn sendable(&self, id: StreamId) -> usize {
        let Some(stream) = self.table.as_ref().and_then(|table| table.get(id)) else {
            return 0;
        };
        let ready = stream.purpose == Use::Data && (self.side == Side::Client || stream.connected);
        if !ready || stream.said != End::Open || stream.heard == End::Final {
            return 0;
        }
        usize::try_from(stream.limit - stream.sent).unwrap_or(usize::MAX)
    }

    #[inline]
    fn get_mut(&mut self, id: StreamId) -> Option<&mut Stream> {
        self.table.as_mut()?.get_mut(id)
    }

    fn mark_due(&mut self, id: StreamId) {
        if let Some(table) = &mut self.table {
            table.mark_due(id);
        }
    }

    fn open(&mut self, id: StreamId, purpose: Use) {
        self.newest = id;
        self.table.get_or_insert_default().push(Stream::new(id, purpose));
    }

    fn remove(&mut self, id: StreamId) {
        if let Some(table) = &mut self.table {
            table.remove(id);
            // An idle circuit holds no table.
            if table.is_empty() {
                self.table = None;
            }
        }
    }
}
