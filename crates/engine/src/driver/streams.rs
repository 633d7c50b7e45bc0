//! The streams of a circuit's end, and the way of a run's events to them.

use std::collections::{HashMap, VecDeque};
use std::sync::Arc;

use anonnet_errors::ErrorKind;

use crate::pipe::{Answer, Mailbox, Pipe, StreamHandle};
use crate::quota::Account;

pub(super) struct Entry {
    pub(super) pipe: Arc<Pipe>,
    /// What was taken from the pipe and not yet sent.
    pub(super) unsent: Vec<u8>,
    pub(super) sent: usize,
    pub(super) finished: bool,
    pub(super) far_finished: bool,
}

#[derive(Default)]
pub(super) struct Streams {
    pub(super) entries: HashMap<u16, Entry>,
    /// Streams that want to send, or said something: each in its turn.
    pub(super) turns: VecDeque<u16>,
    pub(super) touched: Vec<u16>,
    pub(super) account: Option<Arc<Account>>,
}

/// Where the events of a run go. Bytes of one stream are gathered outside its lock.
pub(crate) struct Router<'a> {
    streams: &'a mut Streams,
    mailbox: &'a Arc<Mailbox>,
    current: Option<u16>,
    bytes: Vec<u8>,
    /// Bytes of them that were there before.
    old: usize,
    read: u64,
}

impl<'a> Router<'a> {
    pub(super) fn new(streams: &'a mut Streams, mailbox: &'a Arc<Mailbox>) -> Self {
        Self {
            streams,
            mailbox,
            current: None,
            bytes: Vec::new(),
            old: 0,
            read: 0,
        }
    }

    /// After the run; how many bytes it had for streams.
    pub(super) fn done(mut self) -> u64 {
        self.put_back();
        self.read
    }

    pub(crate) fn data(&mut self, stream: u16, data: &[u8]) {
        if self.current != Some(stream) {
            self.put_back();
            let Some(entry) = self.streams.entries.get(&stream) else { return };
            self.bytes = std::mem::take(&mut entry.pipe.inbound().bytes);
            self.old = self.bytes.len();
            self.current = Some(stream);
            self.streams.touched.push(stream);
        }
        self.read += data.len() as u64;
        self.bytes.extend_from_slice(data);
    }

    fn put_back(&mut self) {
        if let Some(entry) = self.current.take().and_then(|stream| self.streams.entries.get(&stream)) {
            let count = self.bytes.len() - self.old;
            entry.pipe.arrived(std::mem::take(&mut self.bytes), count);
        }
        self.bytes = Vec::new();
    }

    pub(crate) fn answered(&mut self, stream: u16, answer: Answer) {
        if let Some(entry) = self.streams.entries.get(&stream) {
            entry.pipe.inbound().answer = Some(answer);
            self.streams.touched.push(stream);
        }
    }

    pub(crate) fn finished(&mut self, stream: u16) {
        // Its last bytes first: an edge on another thread must not see the end without them.
        self.put_back();
        if let Some(entry) = self.streams.entries.get_mut(&stream) {
            entry.far_finished = true;
            entry.pipe.inbound().finished = true;
            self.streams.touched.push(stream);
            self.streams.turns.push_back(stream);
        }
    }

    pub(crate) fn ended(&mut self, stream: u16, kind: Option<ErrorKind>) {
        self.put_back();
        self.streams.remove(stream, kind);
    }

    pub(crate) fn credit(&mut self, stream: u16) {
        self.streams.turns.push_back(stream);
    }

    /// Makes the pipe of a stream that the far end opened.
    pub(crate) fn open(&mut self, stream: u16) -> StreamHandle {
        self.streams.open(stream, self.mailbox)
    }
}

impl Streams {
    pub(super) fn open(&mut self, stream: u16, mailbox: &Arc<Mailbox>) -> StreamHandle {
        let (pipe, handle) = Pipe::new(stream, mailbox, self.account.as_ref());
        self.entries.insert(
            stream,
            Entry {
                pipe,
                unsent: Vec::new(),
                sent: 0,
                finished: false,
                far_finished: false,
            },
        );
        handle
    }

    pub(super) fn remove(&mut self, stream: u16, kind: Option<ErrorKind>) {
        if let Some(entry) = self.entries.remove(&stream) {
            end(&entry.pipe, kind, self.account.as_ref());
        }
    }

    pub(super) fn end_all(&mut self, kind: ErrorKind) {
        for (_, entry) in self.entries.drain() {
            end(&entry.pipe, Some(kind), self.account.as_ref());
        }
    }
}

fn end(pipe: &Arc<Pipe>, kind: Option<ErrorKind>, account: Option<&Arc<Account>>) {
    pipe.end(kind);
    if let Some(account) = account.filter(|_| pipe.is_draining()) {
        account.drains(pipe);
    }
}

/// However a circuit ends, its streams' edges hear of it.
impl Drop for Streams {
    fn drop(&mut self) {
        self.end_all(ErrorKind::CircuitClosed);
    }
}
