//! The client's end of a circuit, as the driver sees it.

use std::collections::VecDeque;
use std::time::Duration;

use anonnet_cells::{EndReason, IntroduceStatus};
use anonnet_circuit::{ClientCircuit, Event};
use anonnet_errors::{ErrorKind, HasKind};

use crate::clock::monotonic_ns;
use crate::driver::{Router, Side};
use crate::pipe::Answer;
use crate::rng::os_rng;

pub(super) struct ClientSide {
    pub(super) circuit: ClientCircuit,
}

/// What the owner of a client circuit waits for.
pub(super) enum ClientNote {
    Ready,
    /// The last hop is what it was asked to be.
    Established,
    IntroduceAck(IntroduceStatus),
    Introduce2(Vec<u8>),
    /// The service is at the other end.
    Joined,
}

impl Side for ClientSide {
    type Note = ClientNote;

    fn rest(&mut self) {
        self.circuit.rest();
    }

    fn receive(
        &mut self,
        run: &mut [u8],
        out: &mut Vec<u8>,
        router: &mut Router<'_>,
        notes: &mut VecDeque<ClientNote>,
    ) -> Result<(), ErrorKind> {
        let mut sink = |event: Event<'_>| match event {
            Event::Data { stream, data } => router.data(stream, data),
            Event::Credit { stream } => router.credit(stream),
            Event::Connected { stream } => router.answered(stream, Answer::Connected),
            Event::Finished { stream } => router.finished(stream),
            Event::Ended { stream, reason } => router.ended(stream, reason.kind()),
            Event::Resolved { stream, answer } => match answer.reason.kind() {
                Some(kind) => router.ended(stream, Some(kind)),
                None => {
                    router.answered(stream, Answer::Resolved(answer.addresses().collect()));
                    router.ended(stream, None);
                }
            },
            Event::Ready => notes.push_back(ClientNote::Ready),
            Event::IntroEstablished | Event::RendezvousEstablished => notes.push_back(ClientNote::Established),
            Event::IntroduceAck(status) => notes.push_back(ClientNote::IntroduceAck(status)),
            Event::Introduce2 { message } => notes.push_back(ClientNote::Introduce2(message.to_vec())),
            Event::Joined => notes.push_back(ClientNote::Joined),
            Event::HopReady(_) => {}
        };
        self.circuit
            .receive(run, &mut os_rng(), out, &mut sink)
            .map_err(|error| error.kind())
    }

    fn needs_flush(&mut self) -> bool {
        self.circuit.needs_flush()
    }

    fn flush(&mut self, out: &mut Vec<u8>) -> Result<(), ErrorKind> {
        self.circuit
            .flush(Duration::from_nanos(monotonic_ns()), out)
            .map_err(|error| error.kind())
    }

    fn send(&mut self, stream: u16, data: &[u8], out: &mut Vec<u8>) -> Result<usize, ErrorKind> {
        self.circuit.send(stream, data, out).map_err(|error| error.kind())
    }

    fn finish(&mut self, stream: u16, out: &mut Vec<u8>) -> Result<(), ErrorKind> {
        self.circuit.finish(stream, out).map_err(|error| error.kind())
    }

    fn reset(&mut self, stream: u16, reason: EndReason, out: &mut Vec<u8>) -> Result<(), ErrorKind> {
        self.circuit.reset(stream, reason, out).map_err(|error| error.kind())
    }

    fn consumed(&mut self, stream: u16, count: usize) -> Result<(), ErrorKind> {
        self.circuit.consumed(stream, count).map_err(|error| error.kind())
    }

    fn answer(&mut self, _: u16, _: Answer, _: &mut Vec<u8>) -> Result<(), ErrorKind> {
        // Only the far end answers streams; an edge of ours that does has a bug.
        Err(ErrorKind::Internal)
    }
}
