//! One message that is not exactly what may come ends the circuit.

use super::super::{Mux, Side};
use super::{Node, Plain};
use crate::error::{CircuitError, StreamError, Violation};
use crate::event::StreamId;
use crate::limits::{INITIAL_WINDOW, MAX_STREAMS, MAX_WINDOW, MIN_WINDOW_STEP};
use anonnet_cells::{EndReason, Kind, MAX_DATA, Message};

/// Hands a mux messages with the right sequence numbers.
struct Liar {
    mux: Mux,
    seq: u32,
    out: Vec<u8>,
    events: Vec<String>,
}

const BEGIN: &[u8] = &[4, 1, 2, 3, 4, 0, 80];

impl Liar {
    fn new(side: Side) -> Self {
        Self {
            mux: Mux::new(side),
            seq: 0,
            out: Vec::new(),
            events: Vec::new(),
        }
    }

    /// A client with one stream, connected or not.
    fn client(connected: bool) -> Self {
        let mut liar = Self::new(Side::Client);
        assert_eq!(liar.mux.begin(&mut Plain, Kind::Begin, BEGIN, &mut liar.out), Ok(1));
        if connected {
            liar.tell(Kind::Connected, 1, &[]).unwrap();
        }
        liar
    }

    /// A last hop with one stream that it has connected.
    fn hop() -> Self {
        let mut liar = Self::new(Side::LastHop);
        liar.tell(Kind::Begin, 1, BEGIN).unwrap();
        liar.mux.connected(&mut Plain, 1, &mut liar.out).unwrap();
        liar
    }

    fn raw(&mut self, kind: Kind, stream: StreamId, seq: u32, data: &[u8]) -> Result<(), CircuitError> {
        let events = &mut self.events;
        self.mux.receive(
            &Message {
                kind,
                stream,
                seq,
                more: false,
                data,
            },
            &mut |event| events.push(format!("{event:?}")),
        )
    }

    fn tell(&mut self, kind: Kind, stream: StreamId, data: &[u8]) -> Result<(), CircuitError> {
        let seq = if kind.changes_stream() { self.seq + 1 } else { 0 };
        let result = self.raw(kind, stream, seq, data);
        self.seq += u32::from(kind.changes_stream());
        result
    }

    fn window(&mut self, offset: u64) -> Result<(), CircuitError> {
        self.tell(Kind::Window, 1, &offset.to_be_bytes())
    }

    fn end(&mut self, reason: EndReason) -> Result<(), CircuitError> {
        self.tell(Kind::End, 1, &[reason as u8])
    }

    fn both() -> [Self; 2] {
        [Self::client(true), Self::hop()]
    }
}

fn violation(violation: Violation) -> Result<(), CircuitError> {
    Err(CircuitError::Violation(violation))
}

#[test]
fn attack_12_sequence_numbers_that_are_not_the_next() {
    for seq in [0, 1, 3, u32::MAX, 2 + (1 << 31), u32::MAX - 1] {
        let mut liar = Liar::client(true);
        let before = liar.mux.open_streams();
        assert_eq!(liar.raw(Kind::Data, 1, seq, b"x"), violation(Violation::Seq), "{seq}");
        assert_eq!(liar.mux.open_streams(), before);
    }
    for mut liar in Liar::both() {
        assert_eq!(liar.raw(Kind::Window, 1, 1, &[0; 8]), violation(Violation::Seq));
    }
    // A message for a stream that is not there is counted all the same, and refused.
    let mut liar = Liar::new(Side::LastHop);
    assert_eq!(liar.raw(Kind::Data, 9, 1, b"x"), violation(Violation::UnknownStream));
}

#[test]
fn attack_12_sequence_numbers_do_not_wrap() {
    let mut liar = Liar::client(true);
    liar.mux.heard_seq = u32::MAX - 1;
    liar.raw(Kind::Data, 1, u32::MAX, b"x").unwrap();
    for seq in [0, 1, u32::MAX] {
        assert_eq!(liar.raw(Kind::Data, 1, seq, b"x"), Err(CircuitError::SeqExhausted));
    }
    liar.mux.sent_seq = u32::MAX - 2;
    let out = liar.out.len();
    assert_eq!(
        liar.mux.send(&mut Plain, 1, &[0; 3 * MAX_DATA], &mut liar.out),
        Err(StreamError::SeqExhausted)
    );
    assert_eq!(liar.out.len(), out);
    assert_eq!(liar.mux.send(&mut Plain, 1, &[0; 2 * MAX_DATA], &mut liar.out), Ok(2 * MAX_DATA));
    assert_eq!(liar.mux.finish(&mut Plain, 1, &mut liar.out), Err(StreamError::SeqExhausted));
    assert_eq!(
        liar.mux.begin(&mut Plain, Kind::Begin, BEGIN, &mut liar.out),
        Err(StreamError::SeqExhausted)
    );
    // What is due cannot be said any more either: the circuit ends.
    let mut liar = Liar::client(true);
    liar.end(EndReason::Reset).unwrap();
    liar.mux.sent_seq = u32::MAX;
    assert_eq!(liar.mux.flush(&mut Plain, 0, &mut liar.out), Err(CircuitError::SeqExhausted));
}

#[test]
fn data_beyond_the_credit_ends_the_circuit() {
    for mut liar in Liar::both() {
        for _ in 0..INITIAL_WINDOW / 1024 {
            liar.tell(Kind::Data, 1, &[0; 1024]).unwrap();
        }
        assert_eq!(liar.mux.consumed(1, INITIAL_WINDOW as usize + 1), Err(StreamError::Consumed));
        assert_eq!(liar.tell(Kind::Data, 1, &[0]), violation(Violation::Credit));
    }
}

#[test]
fn data_for_a_stream_that_was_reset_is_taken_up_to_the_credit_and_not_reported() {
    for mut liar in Liar::both() {
        liar.tell(Kind::Data, 1, &[0; 1024]).unwrap();
        liar.mux.reset(&mut Plain, 1, EndReason::Cancelled, &mut liar.out).unwrap();
        liar.events.clear();
        for _ in 1..INITIAL_WINDOW / 1024 {
            liar.tell(Kind::Data, 1, &[0; 1024]).unwrap();
        }
        assert_eq!(liar.tell(Kind::Data, 1, &[0]), violation(Violation::Credit));
        assert_eq!(liar.events, Vec::<String>::new());
    }
    for mut liar in Liar::both() {
        liar.mux.reset(&mut Plain, 1, EndReason::Cancelled, &mut liar.out).unwrap();
        liar.end(EndReason::Closed).unwrap();
        assert_eq!(liar.mux.open_streams(), 0);
        assert_eq!(liar.tell(Kind::Data, 1, &[0]), violation(Violation::UnknownStream));
    }
}

#[test]
fn attack_09_window_beyond_what_was_sent() {
    for mut liar in Liar::both() {
        // None is earned before 32 KiB were sent.
        let sendable = liar.mux.sendable(1);
        assert_eq!(liar.window(INITIAL_WINDOW + 1), violation(Violation::WindowUnearned));
        assert_eq!(liar.window(u64::MAX), violation(Violation::WindowTooLarge));
        assert_eq!(liar.window(MAX_WINDOW + 1), violation(Violation::WindowTooLarge));
        assert_eq!(liar.mux.sendable(1), sendable);
    }
    for mut liar in Liar::both() {
        let sent = liar.mux.send(&mut Plain, 1, &[0; MIN_WINDOW_STEP as usize], &mut liar.out).unwrap() as u64;
        assert_eq!(sent, MIN_WINDOW_STEP);
        assert_eq!(liar.window(sent + MAX_WINDOW + 1), violation(Violation::WindowTooLarge));
        liar.window(sent + MAX_WINDOW).unwrap();
        assert_eq!(liar.mux.sendable(1) as u64, MAX_WINDOW);
        assert_eq!(liar.window(sent + MAX_WINDOW), violation(Violation::WindowNotGrowing));
        assert_eq!(liar.window(0), violation(Violation::WindowNotGrowing));
        // One was earned, and it came.
        liar.mux
            .send(&mut Plain, 1, &[0; MIN_WINDOW_STEP as usize - 1], &mut liar.out)
            .unwrap();
        assert_eq!(liar.window(sent + MAX_WINDOW + 1), violation(Violation::WindowUnearned));
        liar.mux.send(&mut Plain, 1, &[0], &mut liar.out).unwrap();
        liar.window(sent + MAX_WINDOW + 1).unwrap();
    }
}

#[test]
fn attack_09_windows_of_a_circuit_together() {
    let mut liar = Liar::new(Side::Client);
    for stream in 1..=3 {
        assert_eq!(liar.mux.begin(&mut Plain, Kind::Begin, BEGIN, &mut liar.out), Ok(stream));
        liar.tell(Kind::Connected, stream, &[]).unwrap();
        liar.mux
            .send(&mut Plain, stream, &[0; MIN_WINDOW_STEP as usize], &mut liar.out)
            .unwrap();
    }
    let most = (MIN_WINDOW_STEP + MAX_WINDOW).to_be_bytes();
    liar.tell(Kind::Window, 1, &most).unwrap();
    liar.tell(Kind::Window, 2, &most).unwrap();
    assert_eq!(liar.tell(Kind::Window, 3, &most), violation(Violation::WindowTooLarge));
}

#[test]
fn messages_for_streams_that_are_not_there() {
    for kind in [Kind::Data, Kind::Window, Kind::End, Kind::Connected, Kind::Resolved] {
        let data: &[u8] = match kind {
            Kind::Window => &[1; 8],
            Kind::Connected => &[],
            _ => &[1],
        };
        assert_eq!(
            Liar::client(true).tell(kind, 2, data),
            violation(Violation::UnknownStream),
            "{kind:?}"
        );
        assert_eq!(
            Liar::client(true).tell(kind, 0, data),
            violation(Violation::WrongState(kind)),
            "{kind:?}"
        );
    }
    for kind in [Kind::Begin, Kind::BeginDir, Kind::Resolve, Kind::Extend, Kind::Extended] {
        assert_eq!(
            Liar::client(true).tell(kind, 2, BEGIN),
            violation(Violation::WrongState(kind)),
            "{kind:?}"
        );
    }
    for kind in [Kind::Connected, Kind::Resolved, Kind::Extend, Kind::Extended] {
        assert_eq!(Liar::hop().tell(kind, 1, &[]), violation(Violation::WrongState(kind)), "{kind:?}");
    }
}

#[test]
fn a_client_opens_one_stream_after_the_other() {
    for number in [0, 1, 3, StreamId::MAX] {
        let mut liar = Liar::hop();
        let expected = if number == 0 {
            Violation::WrongState(Kind::BeginDir)
        } else {
            Violation::StreamNumber
        };
        assert_eq!(liar.tell(Kind::BeginDir, number, &[]), violation(expected));
        assert_eq!(liar.mux.open_streams(), 1);
    }
    let mut liar = Liar::new(Side::LastHop);
    for number in 1..=MAX_STREAMS as StreamId {
        liar.tell(Kind::BeginDir, number, &[]).unwrap();
    }
    assert_eq!(
        liar.tell(Kind::BeginDir, MAX_STREAMS as StreamId + 1, &[]),
        violation(Violation::StreamLimit)
    );
    let mut liar = Liar::hop();
    liar.mux.newest = StreamId::MAX;
    assert_eq!(liar.tell(Kind::BeginDir, 1, &[]), violation(Violation::StreamNumber));
}

#[test]
fn nothing_comes_before_connected_but_a_refusal() {
    for (kind, data) in [
        (Kind::Data, &b"x"[..]),
        (Kind::Window, &[1; 8]),
        (Kind::End, &[0]),
        (Kind::Resolved, &[5]),
    ] {
        assert_eq!(
            Liar::client(false).tell(kind, 1, data),
            violation(Violation::WrongState(kind)),
            "{kind:?}"
        );
    }
    let mut liar = Liar::client(false);
    liar.end(EndReason::Refused).unwrap();
    assert_eq!(liar.events, ["Ended { stream: 1, reason: Refused }"]);
    assert_eq!(
        liar.tell(Kind::Connected, 1, &[]),
        violation(Violation::WrongState(Kind::Connected))
    );
    assert_eq!(
        Liar::client(true).tell(Kind::Connected, 1, &[]),
        violation(Violation::WrongState(Kind::Connected))
    );
}

#[test]
fn nothing_comes_after_an_end() {
    for reason in [EndReason::Done, EndReason::Closed, EndReason::Reset] {
        for (kind, data) in [(Kind::Data, &b"x"[..]), (Kind::End, &[0])] {
            for mut liar in Liar::both() {
                liar.end(reason).unwrap();
                assert_eq!(
                    liar.tell(kind, 1, data),
                    violation(Violation::WrongState(kind)),
                    "{reason:?} {kind:?}"
                );
            }
        }
    }
    // After the last word not even a WINDOW or another last word.
    for (kind, data) in [(Kind::Window, &[1; 8][..]), (Kind::End, &[2])] {
        for mut liar in Liar::both() {
            liar.end(EndReason::Reset).unwrap();
            assert_eq!(liar.tell(kind, 1, data), violation(Violation::WrongState(kind)), "{kind:?}");
        }
    }
}

#[test]
fn a_resolve_has_one_answer_of_its_own_kind() {
    let asked = || {
        let mut liar = Liar::new(Side::Client);
        assert_eq!(liar.mux.begin(&mut Plain, Kind::Resolve, b"a.b", &mut liar.out), Ok(1));
        liar
    };
    for (kind, data) in [
        (Kind::Data, &b"x"[..]),
        (Kind::Window, &[1; 8]),
        (Kind::End, &[2]),
        (Kind::Connected, &[]),
    ] {
        assert_eq!(asked().tell(kind, 1, data), violation(Violation::WrongState(kind)), "{kind:?}");
    }
    let mut liar = asked();
    liar.tell(Kind::Resolved, 1, &[0, 4, 1, 2, 3, 4]).unwrap();
    assert_eq!(liar.tell(Kind::Resolved, 1, &[5]), violation(Violation::UnknownStream));
    assert!(matches!(asked().tell(Kind::Resolved, 1, &[0]), Err(CircuitError::Cell(_))));
    // At the last hop no data follows the question.
    let mut liar = Liar::new(Side::LastHop);
    liar.tell(Kind::Resolve, 1, b"a.b").unwrap();
    assert_eq!(liar.tell(Kind::Data, 1, b"x"), violation(Violation::WrongState(Kind::Data)));
    assert_eq!(liar.mux.connected(&mut Plain, 1, &mut liar.out), Err(StreamError::NotConnected));
    assert_eq!(liar.mux.send(&mut Plain, 1, b"x", &mut liar.out), Err(StreamError::NotConnected));
    assert_eq!(liar.mux.finish(&mut Plain, 1, &mut liar.out), Err(StreamError::NotConnected));
    liar.mux.reset(&mut Plain, 1, EndReason::NotResolved, &mut liar.out).unwrap();
    assert_eq!(liar.mux.open_streams(), 0);
}

#[test]
fn calls_that_do_not_fit_the_stream_are_refused_and_write_nothing() {
    let mut liar = Liar::new(Side::LastHop);
    liar.tell(Kind::Begin, 1, BEGIN).unwrap();
    assert_eq!(liar.mux.send(&mut Plain, 1, b"x", &mut liar.out), Err(StreamError::NotConnected));
    assert_eq!(liar.mux.sendable(1), 0);
    assert_eq!(liar.mux.finish(&mut Plain, 1, &mut liar.out), Err(StreamError::NotConnected));
    assert_eq!(
        liar.mux.reset(&mut Plain, 1, EndReason::Done, &mut liar.out),
        Err(StreamError::Reason)
    );
    assert_eq!(
        liar.mux.resolved(&mut Plain, 1, EndReason::Policy, &[], &mut liar.out),
        Err(StreamError::NotConnected)
    );
    liar.mux.connected(&mut Plain, 1, &mut liar.out).unwrap();
    assert_eq!(liar.mux.connected(&mut Plain, 1, &mut liar.out), Err(StreamError::NotConnected));
    liar.mux.finish(&mut Plain, 1, &mut liar.out).unwrap();
    assert_eq!(liar.mux.send(&mut Plain, 1, b"x", &mut liar.out), Err(StreamError::Finished));
    let len = liar.out.len();
    liar.mux.finish(&mut Plain, 1, &mut liar.out).unwrap();
    assert_eq!(liar.mux.send(&mut Plain, 9, b"x", &mut liar.out), Err(StreamError::Unknown));
    assert_eq!(liar.mux.connected(&mut Plain, 9, &mut liar.out), Err(StreamError::Unknown));
    liar.end(EndReason::Reset).unwrap();
    assert_eq!(liar.mux.send(&mut Plain, 1, b"x", &mut liar.out), Err(StreamError::Unknown));
    assert_eq!(liar.mux.connected(&mut Plain, 1, &mut liar.out), Err(StreamError::Unknown));
    assert_eq!(liar.mux.sendable(1), 0);
    for stream in [1, 9] {
        liar.mux.reset(&mut Plain, stream, EndReason::Reset, &mut liar.out).unwrap();
        liar.mux.finish(&mut Plain, stream, &mut liar.out).unwrap();
    }
    assert_eq!(liar.out.len(), len);
}

#[test]
fn an_idle_end_holds_no_table() {
    let node = Node::new(Side::Client);
    assert!(node.mux.table.is_none() && size_of::<Mux>() <= 24, "{}", size_of::<Mux>());
}
