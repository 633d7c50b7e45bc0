//! What comes from the other end. Every message is either exactly what may come now, or the end of the circuit.

use super::table::{End, Use};
use super::{Mux, MuxEvent, Side};
use crate::error::{CircuitError, Violation};
use crate::event::StreamId;
use crate::limits::{MAX_CIRCUIT_CREDIT, MAX_STREAMS, MAX_WINDOW, MIN_WINDOW_STEP};
use anonnet_cells::{EndReason, Host, Kind, Message, Resolved, Target, read_window};

impl Mux {
    /// One message of a stream.
    #[inline]
    pub fn receive(&mut self, message: &Message<'_>, sink: &mut impl FnMut(MuxEvent<'_>)) -> Result<(), CircuitError> {
        let expected = if message.kind.changes_stream() {
            self.heard_seq.checked_add(1).ok_or(CircuitError::SeqExhausted)?
        } else {
            0
        };
        if message.seq != expected {
            return Err(Violation::Seq.into());
        }
        if message.stream == 0 {
            return Err(Violation::WrongState(message.kind).into());
        }
        if expected != 0 {
            self.heard_seq = expected;
        }
        match message.kind {
            Kind::Data => self.data(message.stream, message.data, sink),
            Kind::Window => self.window(message.stream, read_window(message.data)?, sink),
            Kind::End => self.end(message.stream, EndReason::read(message.data)?, sink),
            kind => match self.side {
                Side::Client => self.answer(kind, message, sink),
                Side::LastHop => self.request(kind, message, sink),
            },
        }
    }

    #[inline]
    fn data(&mut self, id: StreamId, data: &[u8], sink: &mut impl FnMut(MuxEvent<'_>)) -> Result<(), CircuitError> {
        // A client may send before it is answered; the last hop answers first.
        let side = self.side;
        let stream = self.get_mut(id).ok_or(Violation::UnknownStream)?;
        if stream.heard != End::Open || stream.purpose != Use::Data || (side == Side::Client && !stream.connected) {
            return Err(Violation::WrongState(Kind::Data).into());
        }
        if !stream.receiving.receive(data.len()) {
            return Err(Violation::Credit.into());
        }
        let answered = stream.receiving.is_answered();
        // What was on its way when this side reset the stream ends here; the credit above bounds it.
        if stream.said != End::Final {
            sink(MuxEvent::Data { stream: id, data });
        }
        if answered {
            self.mark_due(id);
        }
        Ok(())
    }

    fn window(&mut self, id: StreamId, offset: u64, sink: &mut impl FnMut(MuxEvent<'_>)) -> Result<(), CircuitError> {
        let side = self.side;
        let stream = self.get_mut(id).ok_or(Violation::UnknownStream)?;
        if stream.heard == End::Final || stream.purpose != Use::Data || (side == Side::Client && !stream.connected) {
            return Err(Violation::WrongState(Kind::Window).into());
        }
        if offset <= stream.limit {
            return Err(Violation::WindowNotGrowing.into());
        }
        if offset - stream.sent.min(offset) > MAX_WINDOW {
            return Err(Violation::WindowTooLarge.into());
        }
        if u64::from(stream.windows + 1) * MIN_WINDOW_STEP > stream.sent {
            return Err(Violation::WindowUnearned.into());
        }
        stream.windows += 1;
        stream.limit = offset;
        let usable = stream.said == End::Open;
        let extra: u64 = self
            .table
            .iter()
            .flat_map(|table| table.iter())
            .map(|stream| stream.extra_credit())
            .sum();
        if extra > MAX_CIRCUIT_CREDIT {
            return Err(Violation::WindowTooLarge.into());
        }
        if usable {
            sink(MuxEvent::Credit { stream: id });
        }
        Ok(())
    }

    fn end(&mut self, id: StreamId, reason: EndReason, sink: &mut impl FnMut(MuxEvent<'_>)) -> Result<(), CircuitError> {
        let side = self.side;
        let stream = self.get_mut(id).ok_or(Violation::UnknownStream)?;
        let early = side == Side::Client && !stream.connected;
        let (said, heard) = (stream.said, stream.heard);
        if stream.purpose != Use::Data || heard == End::Final || (reason == EndReason::Done && (heard != End::Open || early)) {
            return Err(Violation::WrongState(Kind::End).into());
        }
        stream.heard = if reason == EndReason::Done { End::Half } else { End::Final };
        match (said, stream.heard) {
            // Both have said their last word.
            (End::Final, End::Final) => {
                self.remove(id);
                return Ok(());
            }
            // This side has reset the stream, and waits for the other's last word.
            (End::Final, _) => return Ok(()),
            // The other side still reads what this side has to send.
            (End::Open, End::Half) => {}
            // Now it is this side's turn to say the last word.
            _ => self.mark_due(id),
        }
        // An application that ended and heard the end is done with the stream, whatever else the two sides still have to say.
        if said == End::Open || heard == End::Open {
            let graceful = reason == EndReason::Done || (reason == EndReason::Closed && said == End::Half);
            sink(if graceful {
                MuxEvent::Finished { stream: id }
            } else {
                MuxEvent::Ended { stream: id, reason }
            });
        }
        Ok(())
    }

    /// What only a last hop sends.
    fn answer(&mut self, kind: Kind, message: &Message<'_>, sink: &mut impl FnMut(MuxEvent<'_>)) -> Result<(), CircuitError> {
        let id = message.stream;
        let refused = Violation::WrongState(kind).into();
        let stream = match kind {
            Kind::Connected | Kind::Resolved => self.get_mut(id).ok_or(Violation::UnknownStream)?,
            _ => return Err(refused),
        };
        if kind == Kind::Resolved {
            if stream.purpose != Use::Resolve {
                return Err(refused);
            }
            let answer = Resolved::read(message.data)?;
            self.remove(id);
            sink(MuxEvent::Resolved { stream: id, answer });
            return Ok(());
        }
        if stream.purpose != Use::Data || stream.connected || stream.heard != End::Open {
            return Err(refused);
        }
        stream.connected = true;
        if stream.said != End::Final {
            sink(MuxEvent::Connected { stream: id });
        }
        Ok(())
    }

    /// What only a client sends.
    fn request(&mut self, kind: Kind, message: &Message<'_>, sink: &mut impl FnMut(MuxEvent<'_>)) -> Result<(), CircuitError> {
        let id = message.stream;
        let (purpose, event) = match kind {
            Kind::Begin => (
                Use::Data,
                MuxEvent::Begin {
                    stream: id,
                    target: Target::read(message.data)?,
                },
            ),
            Kind::BeginDir => (Use::Data, MuxEvent::BeginDir { stream: id }),
            Kind::Resolve => (
                Use::Resolve,
                MuxEvent::Resolve {
                    stream: id,
                    name: Host::read_resolve(message.data)?,
                },
            ),
            _ => return Err(Violation::WrongState(kind).into()),
        };
        if self.newest.checked_add(1) != Some(id) {
            return Err(Violation::StreamNumber.into());
        }
        if self.open_streams() >= MAX_STREAMS {
            return Err(Violation::StreamLimit.into());
        }
        self.open(id, purpose);
        sink(event);
        Ok(())
    }
}
