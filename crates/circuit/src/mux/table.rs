//! The streams of a circuit.

use super::grant::Receiving;
use super::rate::RoundTrip;
use crate::event::StreamId;
use crate::limits::INITIAL_WINDOW;

/// How far one side has ended a stream.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum End {
    /// It may send data.
    Open,
    /// END Done: it sends no more data, and still reads.
    Half,
    /// Any other END: nothing more of this stream comes from it.
    Final,
}

/// What a stream is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Use {
    /// Data both ways.
    Data,
    /// One question, one answer.
    Resolve,
}

/// One stream. It stays in the table until each side has said its last word, so that whatever is still on its way is known.
#[derive(Debug)]
pub(crate) struct Stream {
    pub id: StreamId,
    pub purpose: Use,
    pub connected: bool,
    /// What this side has said.
    pub said: End,
    /// What the other side has said.
    pub heard: End,
    /// It is in the table's list of streams with something to flush.
    pub due: bool,
    /// Up to which offset this side may send.
    pub limit: u64,
    /// What it has sent.
    pub sent: u64,
    /// WINDOWs that came.
    pub windows: u32,
    /// The other direction.
    pub receiving: Receiving,
}

impl Stream {
    pub fn new(id: StreamId, purpose: Use) -> Self {
        Self {
            id,
            purpose,
            connected: false,
            said: End::Open,
            heard: End::Open,
            due: false,
            limit: INITIAL_WINDOW,
            sent: 0,
            windows: 0,
            receiving: Receiving::new(),
        }
    }

    /// Whether the application is done with it: only the protocol still needs it.
    pub fn is_over(&self) -> bool {
        self.said == End::Final || self.heard == End::Final
    }

    /// Bytes that the other side may still make this side hold.
    pub fn outstanding(&self) -> u64 {
        match (self.said, self.heard) {
            (End::Final, _) | (_, End::Final) => 0,
            (_, End::Open) => self.receiving.outstanding(),
            (_, End::Half) => self.receiving.backlog(),
        }
    }

    /// Credit that the other side gave beyond the initial window.
    pub fn extra_credit(&self) -> u64 {
        if self.said == End::Open && self.heard != End::Final {
            (self.limit - self.sent).saturating_sub(INITIAL_WINDOW)
        } else {
            0
        }
    }
}

/// All streams of a circuit, by number. Made with the first stream, given back with the last.
#[derive(Debug, Default)]
pub(crate) struct Table {
    streams: Vec<Stream>,
    due: Vec<StreamId>,
    /// Where the last search ended: cells of one stream come in bunches.
    cursor: usize,
    /// How long the circuit takes; all streams of it measure the same.
    pub trip: RoundTrip,
}

impl Table {
    pub fn len(&self) -> usize {
        self.streams.len()
    }

    pub fn is_empty(&self) -> bool {
        self.streams.is_empty()
    }

    /// Adds a stream whose number is above all others.
    pub fn push(&mut self, stream: Stream) {
        self.streams.push(stream);
    }

    pub fn get(&self, id: StreamId) -> Option<&Stream> {
        let at = self.streams.binary_search_by_key(&id, |stream| stream.id).ok()?;
        self.streams.get(at)
    }

    #[inline]
    pub fn get_mut(&mut self, id: StreamId) -> Option<&mut Stream> {
        if self.streams.get(self.cursor).is_none_or(|stream| stream.id != id) {
            self.cursor = self.streams.binary_search_by_key(&id, |stream| stream.id).ok()?;
        }
        self.streams.get_mut(self.cursor)
    }

    pub fn remove(&mut self, id: StreamId) {
        if let Ok(at) = self.streams.binary_search_by_key(&id, |stream| stream.id)
            && self.streams.remove(at).due
        {
            self.due.retain(|due| *due != id);
        }
    }

    pub fn iter(&self) -> impl Iterator<Item = &Stream> {
        self.streams.iter()
    }

    /// Remembers that the stream has something to flush; once is enough.
    pub fn mark_due(&mut self, id: StreamId) {
        if let Some(stream) = self.get_mut(id)
            && !stream.due
        {
            stream.due = true;
            self.due.push(id);
        }
    }

    pub fn has_due(&self) -> bool {
        !self.due.is_empty()
    }

    /// Takes one stream off the list of those with something to flush.
    pub fn next_due(&mut self) -> Option<StreamId> {
        let id = self.due.pop()?;
        if let Some(stream) = self.get_mut(id) {
            stream.due = false;
        }
        Some(id)
    }
}
