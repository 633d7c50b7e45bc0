//! What goes to the other end.

use super::grant::Pool;
use super::table::{End, Use};
use super::{Mux, Side};
use crate::error::{CircuitError, StreamError};
use crate::event::StreamId;
use crate::limits::MAX_STREAMS;
use crate::seal::Seal;
use anonnet_cells::{BodyWriter, CELL_LEN, CellError, Command, EndReason, Kind, MAX_DATA, Message, WINDOW_LEN, append, write_resolved};
use core::net::IpAddr;

/// A message that waited as state of its stream.
struct Due {
    stream: StreamId,
    seq: u32,
    payload: Payload,
}

enum Payload {
    Window([u8; WINDOW_LEN]),
    Closed([u8; 1]),
}

impl Due {
    fn message(&self) -> Message<'_> {
        let (kind, data): (Kind, &[u8]) = match &self.payload {
            Payload::Window(offset) => (Kind::Window, offset),
            Payload::Closed(reason) => (Kind::End, reason),
        };
        Message {
            kind,
            stream: self.stream,
            seq: self.seq,
            more: false,
            data,
        }
    }
}

impl Mux {
    fn next_seq(&mut self) -> Option<u32> {
        self.sent_seq = self.sent_seq.checked_add(1)?;
        Some(self.sent_seq)
    }

    /// One message that changes a stream, in a cell of its own.
    fn write<S: Seal + ?Sized>(
        &mut self,
        seal: &mut S,
        kind: Kind,
        stream: StreamId,
        data: &[u8],
        out: &mut Vec<u8>,
    ) -> Result<(), StreamError> {
        let seq = self.next_seq().ok_or(StreamError::SeqExhausted)?;
        append(out, Command::Relay, |tag, body| {
            BodyWriter::new(body).push(&Message {
                kind,
                stream,
                seq,
                more: false,
                data,
            })?;
            seal.seal(Command::Relay, tag, body);
            Ok(())
        })
    }

    /// Opens a stream: BEGIN, BEGIN_DIR or RESOLVE, with its payload.
    pub fn begin<S: Seal + ?Sized>(&mut self, seal: &mut S, kind: Kind, data: &[u8], out: &mut Vec<u8>) -> Result<StreamId, StreamError> {
        if self.open_streams() >= MAX_STREAMS {
            return Err(StreamError::Limit);
        }
        let id = self.newest.checked_add(1).ok_or(StreamError::IdsExhausted)?;
        self.write(seal, kind, id, data, out)?;
        self.open(id, if kind == Kind::Resolve { Use::Resolve } else { Use::Data });
        Ok(id)
    }

    /// Answers a BEGIN.
    pub fn connected<S: Seal + ?Sized>(&mut self, seal: &mut S, id: StreamId, out: &mut Vec<u8>) -> Result<(), StreamError> {
        let stream = self.get_mut(id).ok_or(StreamError::Unknown)?;
        if stream.is_over() {
            return Err(StreamError::Unknown);
        }
        if stream.purpose != Use::Data || stream.connected {
            return Err(StreamError::NotConnected);
        }
        stream.connected = true;
        // The target may have been given what came before.
        let due = stream.receiving.is_due();
        self.write(seal, Kind::Connected, id, &[], out)?;
        if due {
            self.mark_due(id);
        }
        Ok(())
    }

    /// Answers a RESOLVE.
    pub fn resolved<S: Seal + ?Sized>(
        &mut self,
        seal: &mut S,
        id: StreamId,
        reason: EndReason,
        addresses: &[IpAddr],
        out: &mut Vec<u8>,
    ) -> Result<(), StreamError> {
        let stream = self.get_mut(id).ok_or(StreamError::Unknown)?;
        if stream.purpose != Use::Resolve {
            return Err(StreamError::NotConnected);
        }
        let payload = write_resolved(reason, addresses)?;
        self.write(seal, Kind::Resolved, id, &payload, out)?;
        self.remove(id);
        Ok(())
    }

    /// Sends as much of `data` as there is credit for, in as many cells as it takes; gives the number of bytes.
    pub fn send<S: Seal + ?Sized>(&mut self, seal: &mut S, id: StreamId, data: &[u8], out: &mut Vec<u8>) -> Result<usize, StreamError> {
        let side = self.side;
        let mut seq = self.sent_seq;
        let stream = self.get_mut(id).ok_or(StreamError::Unknown)?;
        if stream.is_over() {
            return Err(StreamError::Unknown);
        }
        if stream.said != End::Open {
            return Err(StreamError::Finished);
        }
        if stream.purpose != Use::Data || (side == Side::LastHop && !stream.connected) {
            return Err(StreamError::NotConnected);
        }
        let credit = usize::try_from(stream.limit - stream.sent).unwrap_or(usize::MAX);
        let data = data.get(..credit).unwrap_or(data);
        let count = data.len().div_ceil(MAX_DATA);
        if u32::try_from(count).ok().and_then(|count| seq.checked_add(count)).is_none() {
            return Err(StreamError::SeqExhausted);
        }
        stream.sent += data.len() as u64;
        out.reserve(count * CELL_LEN);
        for data in data.chunks(MAX_DATA) {
            seq = seq.wrapping_add(1);
            append::<(), CellError>(out, Command::Relay, |tag, body| {
                BodyWriter::new(body).push(&Message {
                    kind: Kind::Data,
                    stream: id,
                    seq,
                    more: false,
                    data,
                })?;
                seal.seal(Command::Relay, tag, body);
                Ok(())
            })?;
        }
        self.sent_seq = seq;
        Ok(data.len())
    }

    /// Ends this side's direction.
    pub fn finish<S: Seal + ?Sized>(&mut self, seal: &mut S, id: StreamId, out: &mut Vec<u8>) -> Result<(), StreamError> {
        let side = self.side;
        let Some(stream) = self.get_mut(id) else { return Ok(()) };
        if stream.said != End::Open || stream.is_over() {
            return Ok(());
        }
        if stream.purpose != Use::Data || (side == Side::LastHop && !stream.connected) {
            return Err(StreamError::NotConnected);
        }
        let reason = if stream.heard == End::Half {
            EndReason::Closed
        } else {
            EndReason::Done
        };
        self.say_end(seal, id, reason, out)
    }

    /// Ends both directions. A RESOLVE is answered with the reason; at the client it just goes on, since its answer is on its way.
    pub fn reset<S: Seal + ?Sized>(&mut self, seal: &mut S, id: StreamId, reason: EndReason, out: &mut Vec<u8>) -> Result<(), StreamError> {
        if reason == EndReason::Done {
            return Err(StreamError::Reason);
        }
        let side = self.side;
        let Some(stream) = self.get_mut(id) else { return Ok(()) };
        match (stream.purpose, side) {
            (Use::Resolve, Side::LastHop) => self.resolved(seal, id, reason, &[], out),
            (Use::Resolve, Side::Client) => Ok(()),
            // The last word is said, or will be with the next flush, or nobody sends anything any more.
            (Use::Data, _) if stream.is_over() || (stream.said == End::Half && stream.heard == End::Half) => Ok(()),
            (Use::Data, _) => self.say_end(seal, id, reason, out),
        }
    }

    fn say_end<S: Seal + ?Sized>(&mut self, seal: &mut S, id: StreamId, reason: EndReason, out: &mut Vec<u8>) -> Result<(), StreamError> {
        self.write(seal, Kind::End, id, &[reason as u8], out)?;
        if let Some(stream) = self.get_mut(id) {
            stream.said = if reason == EndReason::Done { End::Half } else { End::Final };
        }
        Ok(())
    }

    /// The application took bytes: perhaps a WINDOW is due.
    #[inline]
    pub fn consumed(&mut self, id: StreamId, len: usize) -> Result<(), StreamError> {
        let Some(stream) = self.get_mut(id) else { return Ok(()) };
        if !stream.receiving.consume(len) {
            return Err(StreamError::Consumed);
        }
        if stream.connected && stream.receiving.is_due() && !stream.due {
            self.mark_due(id);
        }
        Ok(())
    }

    /// Writes all that is due, as many messages to a cell as fit. `now`: microseconds.
    pub fn flush<S: Seal + ?Sized>(&mut self, seal: &mut S, now: u64, out: &mut Vec<u8>) -> Result<(), CircuitError> {
        while let Some(first) = self.next_due(now)? {
            append::<(), CircuitError>(out, Command::Relay, |tag, body| {
                let mut writer = BodyWriter::new(body);
                writer.push(&first.message())?;
                while writer.room().is_some_and(|room| room >= WINDOW_LEN) {
                    let Some(due) = self.next_due(now)? else { break };
                    writer.push(&due.message())?;
                }
                seal.seal(Command::Relay, tag, body);
                Ok(())
            })?;
        }
        Ok(())
    }

    fn next_due(&mut self, now: u64) -> Result<Option<Due>, CircuitError> {
        while let Some(id) = self.table.as_mut().and_then(|table| table.next_due()) {
            let Some((said, heard)) = self.get_mut(id).map(|stream| (stream.said, stream.heard)) else {
                continue;
            };
            if said == End::Final {
                continue;
            }
            if heard == End::Final || (heard == End::Half && said == End::Half) {
                let seq = self.next_seq().ok_or(CircuitError::SeqExhausted)?;
                if heard == End::Final {
                    self.remove(id);
                } else if let Some(stream) = self.get_mut(id) {
                    stream.said = End::Final;
                }
                return Ok(Some(Due {
                    stream: id,
                    seq,
                    payload: Payload::Closed([EndReason::Closed as u8]),
                }));
            }
            if let Some(offset) = self.grant(id, now) {
                return Ok(Some(Due {
                    stream: id,
                    seq: 0,
                    payload: Payload::Window(offset.to_be_bytes()),
                }));
            }
        }
        Ok(None)
    }

    fn grant(&mut self, id: StreamId, now: u64) -> Option<u64> {
        let table = self.table.as_mut()?;
        let mut trip = table.trip;
        let receiving = &mut table.get_mut(id)?.receiving;
        receiving.sample(now, &mut trip);
        let due = receiving.is_due();
        table.trip = trip;
        if !due {
            return None;
        }
        let (mut others, mut streams) = (0, 0);
        for stream in table.iter() {
            let outstanding = stream.outstanding();
            streams += u64::from(outstanding != 0);
            others += if stream.id == id { 0 } else { outstanding };
        }
        let stream = table.get_mut(id)?;
        // Nobody sends data any more: no credit is needed.
        if stream.heard != End::Open {
            return None;
        }
        stream.receiving.grant(Pool { others, streams }, now, &trip)
    }
}
