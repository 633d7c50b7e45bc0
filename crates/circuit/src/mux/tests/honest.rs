//! Two honest ends, whatever they do and however slow the wire is: no violation, no byte lost or out of place, no limit passed, nothing left behind.

use super::super::Side;
use super::{App, Node, Plain};
use crate::error::StreamError;
use crate::event::StreamId;
use crate::limits::{INITIAL_WINDOW, MAX_CIRCUIT_CREDIT, MAX_STREAMS, MAX_WINDOW};
use anonnet_cells::{CELL_LEN, EndReason, Host, Kind, MAX_TARGET_LEN, Target};
use proptest::prelude::*;

struct Pair {
    client: Node,
    hop: Node,
    /// Each flush is some milliseconds after the one before it.
    now: u64,
}

impl Pair {
    fn new() -> Self {
        Self {
            client: Node::new(Side::Client),
            hop: Node::new(Side::LastHop),
            now: 0,
        }
    }

    fn begin(&mut self) -> Result<StreamId, StreamError> {
        let mut buffer = [0; MAX_TARGET_LEN];
        let target = Target {
            host: Host::Name("example.org"),
            port: 80,
        };
        let payload = target.write(&mut buffer).unwrap();
        self.open(Kind::Begin, payload)
    }

    fn open(&mut self, kind: Kind, payload: &[u8]) -> Result<StreamId, StreamError> {
        let client = &mut self.client;
        let stream = client.mux.begin(&mut Plain, kind, payload, &mut client.out)?;
        client.apps.insert(
            stream,
            App {
                resolve: kind == Kind::Resolve,
                ..App::default()
            },
        );
        Ok(stream)
    }

    /// Puts what an end has written on the wire.
    fn post(&mut self) {
        let (client, hop) = (&mut self.client, &mut self.hop);
        hop.inbox.extend(client.out.chunks(CELL_LEN).map(<[u8]>::to_vec));
        client.inbox.extend(hop.out.chunks(CELL_LEN).map(<[u8]>::to_vec));
        client.out.clear();
        hop.out.clear();
    }

    /// Lets some cells arrive, which must not be a violation, and checks what must hold at all times.
    fn deliver(&mut self, to_client: bool, count: usize) {
        self.post();
        let node = if to_client { &mut self.client } else { &mut self.hop };
        for _ in 0..count {
            let Some(cell) = node.inbox.pop_front() else { break };
            node.receive(cell).unwrap();
        }
        for node in [&self.client, &self.hop] {
            assert!(node.mux.open_streams() <= MAX_STREAMS);
            let Some(table) = &node.mux.table else { continue };
            let (mut outstanding, mut floor) = (0, 0);
            for stream in table.iter() {
                assert!(stream.limit - stream.sent <= MAX_WINDOW);
                assert!(stream.receiving.outstanding() <= MAX_WINDOW);
                outstanding += stream.outstanding();
                floor += stream.outstanding().min(INITIAL_WINDOW);
            }
            assert!(outstanding <= MAX_CIRCUIT_CREDIT.max(floor));
            assert!(table.iter().map(|stream| stream.extra_credit()).sum::<u64>() <= MAX_CIRCUIT_CREDIT);
        }
    }

    fn flush(&mut self) {
        self.now += 7_000;
        for node in [&mut self.client, &mut self.hop] {
            node.mux.flush(&mut Plain, self.now, &mut node.out).unwrap();
            assert!(!node.mux.needs_flush());
        }
    }

    /// Lets everything arrive, with every application reading, until nothing moves.
    fn settle(&mut self) {
        loop {
            self.flush();
            self.post();
            if self.client.inbox.is_empty() && self.hop.inbox.is_empty() {
                return;
            }
            self.deliver(true, usize::MAX);
            self.deliver(false, usize::MAX);
            for node in [&mut self.client, &mut self.hop] {
                let streams: Vec<_> = node.apps.keys().copied().collect();
                streams.into_iter().for_each(|stream| node.consume(stream, u64::MAX));
            }
        }
    }

    fn connect_all(&mut self) {
        for stream in std::mem::take(&mut self.hop.opened) {
            let (hop, app) = (&mut self.hop, &self.client.apps[&stream]);
            if app.resolve {
                let address = "1.2.3.4".parse().unwrap();
                hop.mux
                    .resolved(&mut Plain, stream, EndReason::Done, &[address], &mut hop.out)
                    .unwrap();
                hop.apps.get_mut(&stream).unwrap().ended = Some(EndReason::Done);
            } else if !hop.apps[&stream].over() {
                hop.mux.connected(&mut Plain, stream, &mut hop.out).unwrap();
                hop.apps.get_mut(&stream).unwrap().connected = true;
            }
        }
    }

    /// One thing that an end or the wire does.
    fn act(&mut self, (what, at_client, pick, len): (u8, bool, usize, usize)) {
        match what {
            0 => {
                let _ = self.begin();
                return;
            }
            1 => {
                let _ = self.open(Kind::BeginDir, &[]);
                return;
            }
            2 => {
                let _ = self.open(Kind::Resolve, b"example.org");
                return;
            }
            3..=8 => return self.deliver(at_client, len % 64),
            9..=10 => return self.flush(),
            11..=12 => return self.connect_all(),
            _ => {}
        }
        let node = if at_client { &mut self.client } else { &mut self.hop };
        let Some(stream) = node.apps.keys().nth(pick % node.apps.len().max(1)).copied() else {
            return;
        };
        match what {
            13..=16 => {
                node.send(stream, len);
            }
            17..=21 => node.consume(stream, len as u64),
            22 => {
                let app = node.apps.get_mut(&stream).unwrap();
                if node.mux.finish(&mut Plain, stream, &mut node.out).is_ok() && !app.over() {
                    app.finished = true;
                }
            }
            _ => {
                let over = node.apps[&stream].over();
                node.mux.reset(&mut Plain, stream, EndReason::Cancelled, &mut node.out).unwrap();
                let app = node.apps.get_mut(&stream).unwrap();
                // The question of a RESOLVE goes on at the client.
                app.reset |= !(over || app.resolve && at_client);
                node.opened.retain(|opened| *opened != stream);
            }
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(300))]

    #[test]
    fn honest_ends_never_break_the_rules_and_forget_every_stream(
        actions in prop::collection::vec((0u8..24, any::<bool>(), any::<usize>(), 0usize..200_000), 1..250)
    ) {
        let mut pair = Pair::new();
        for action in actions {
            pair.act(action);
        }
        pair.settle();
        pair.connect_all();
        pair.settle();
        // Whatever was sent on a stream that nobody reset has arrived.
        for (from, to) in [(&pair.client, &pair.hop), (&pair.hop, &pair.client)] {
            for (stream, app) in &from.apps {
                let Some(other) = to.apps.get(stream) else { continue };
                if !app.reset && !other.reset && !app.resolve && app.ended.is_none() && other.ended.is_none() {
                    prop_assert_eq!(app.sent, other.received);
                }
            }
        }
        for node in [&mut pair.client, &mut pair.hop] {
            for stream in node.apps.keys().copied().collect::<Vec<_>>() {
                node.mux.finish(&mut Plain, stream, &mut node.out).unwrap();
            }
        }
        // The last END of one side may be what the other answers.
        pair.settle();
        prop_assert!(pair.client.mux.table.is_none(), "{:?}", pair.client.mux);
        prop_assert!(pair.hop.mux.table.is_none(), "{:?}", pair.hop.mux);
    }

}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(24))]

    #[test]
    fn a_transfer_of_any_chunks_arrives_and_the_window_grows_only_for_a_reader(
        chunks in prop::collection::vec(1usize..300_000, 1..24), upload in any::<bool>(), batch in 1usize..200
    ) {
        let mut pair = Pair::new();
        let stream = pair.begin().unwrap();
        pair.settle();
        pair.connect_all();
        pair.settle();
        let total: usize = chunks.iter().sum();
        for chunk in chunks {
            let mut left = chunk;
            while left > 0 {
                let sender = if upload { &mut pair.client } else { &mut pair.hop };
                left -= sender.send(stream, left);
                pair.deliver(!upload, batch);
                let reader = if upload { &mut pair.hop } else { &mut pair.client };
                reader.consume(stream, u64::MAX);
                pair.flush();
                pair.deliver(upload, usize::MAX);
            }
        }
        pair.settle();
        let reader = if upload { &pair.hop } else { &pair.client };
        prop_assert_eq!(reader.apps[&stream].received, total as u64);
    }
}

#[test]
fn a_reader_that_stops_stops_its_own_stream_and_no_other() {
    let mut pair = Pair::new();
    let (slow, fast) = (pair.begin().unwrap(), pair.begin().unwrap());
    pair.settle();
    pair.connect_all();
    pair.settle();
    assert_eq!(pair.hop.send(slow, 10 << 20), INITIAL_WINDOW as usize);
    let mut moved = 0;
    while moved < 10 << 20 {
        let sent = pair.hop.send(fast, 1 << 20);
        assert!(sent > 0);
        moved += sent;
        pair.deliver(true, usize::MAX);
        pair.client.consume(fast, u64::MAX);
        pair.flush();
        pair.deliver(false, usize::MAX);
        assert_eq!(pair.hop.mux.sendable(slow), 0);
    }
    pair.client.consume(slow, u64::MAX);
    pair.flush();
    pair.deliver(false, usize::MAX);
    assert!(pair.hop.mux.sendable(slow) > 0);
}

#[test]
fn credit_of_one_circuit_reaches_its_limit_and_stays_there() {
    let mut pair = Pair::new();
    let streams: Vec<_> = (0..3).map(|_| pair.begin().unwrap()).collect();
    pair.settle();
    pair.connect_all();
    // One after the other reads fast; the first two alone could take all of the credit.
    for round in 0..60 {
        for stream in &streams {
            pair.hop.send(*stream, 1 << 22);
            pair.deliver(true, usize::MAX);
            pair.client.consume(*stream, u64::MAX);
            pair.flush();
            pair.deliver(false, usize::MAX);
        }
        let outstanding: u64 = pair
            .client
            .mux
            .table
            .as_ref()
            .unwrap()
            .iter()
            .map(|stream| stream.outstanding())
            .sum();
        assert!(outstanding <= MAX_CIRCUIT_CREDIT);
        assert!(round < 20 || outstanding > MAX_CIRCUIT_CREDIT / 2, "{outstanding}");
    }
}

#[test]
fn an_ordinary_end_takes_three_messages_and_each_side_sees_it_once() {
    for crossing in [false, true] {
        let mut pair = Pair::new();
        let stream = pair.begin().unwrap();
        pair.settle();
        pair.connect_all();
        pair.settle();
        let (client, hop) = (pair.client.mux.sent_seq, pair.hop.mux.sent_seq);
        pair.client.mux.finish(&mut Plain, stream, &mut pair.client.out).unwrap();
        if !crossing {
            pair.settle();
        }
        pair.hop.mux.finish(&mut Plain, stream, &mut pair.hop.out).unwrap();
        pair.settle();
        // Each side's last word, and one END Done, or two that crossed.
        let ends = (pair.client.mux.sent_seq - client, pair.hop.mux.sent_seq - hop);
        assert_eq!(ends, (2, 1 + u32::from(crossing)));
        assert!(pair.client.mux.table.is_none() && pair.hop.mux.table.is_none());
        assert!(pair.client.apps[&stream].heard_finished && pair.hop.apps[&stream].heard_finished);
    }
}

#[test]
fn windows_are_state_and_share_a_cell() {
    let mut pair = Pair::new();
    let streams: Vec<_> = (0..30).map(|_| pair.begin().unwrap()).collect();
    pair.settle();
    pair.connect_all();
    pair.settle();
    for stream in &streams {
        assert_eq!(pair.hop.send(*stream, 1 << 20), INITIAL_WINDOW as usize);
    }
    pair.deliver(true, usize::MAX);
    for stream in &streams {
        // Byte by byte: many occasions, one WINDOW.
        for _ in 0..64 {
            pair.client.consume(*stream, INITIAL_WINDOW / 64);
        }
    }
    assert!(pair.client.mux.needs_flush());
    pair.client.mux.flush(&mut Plain, pair.now, &mut pair.client.out).unwrap();
    assert_eq!(pair.client.out.len(), CELL_LEN);
    pair.deliver(false, 1);
    for stream in &streams {
        assert_eq!(pair.hop.mux.sendable(*stream), 2 * INITIAL_WINDOW as usize);
    }
}

#[test]
fn as_many_streams_as_a_circuit_has_and_not_one_more() {
    let mut pair = Pair::new();
    let streams: Vec<_> = (0..MAX_STREAMS).map(|_| pair.begin().unwrap()).collect();
    assert!(!pair.client.mux.can_open());
    assert_eq!(pair.begin(), Err(StreamError::Limit));
    pair.settle();
    assert_eq!(pair.hop.mux.open_streams(), MAX_STREAMS);
    // One that ends makes room for one.
    pair.client
        .mux
        .reset(&mut Plain, streams[7], EndReason::Cancelled, &mut pair.client.out)
        .unwrap();
    assert_eq!(pair.begin(), Err(StreamError::Limit));
    pair.settle();
    assert_eq!(pair.begin(), Ok(MAX_STREAMS as StreamId + 1));
    pair.settle();
}

#[test]
fn stream_numbers_are_never_used_again() {
    let mut pair = Pair::new();
    for number in 1..=StreamId::MAX {
        assert_eq!(pair.begin(), Ok(number));
        pair.client
            .mux
            .reset(&mut Plain, number, EndReason::Cancelled, &mut pair.client.out)
            .unwrap();
        pair.settle();
        pair.client.apps.clear();
        pair.hop.apps.clear();
    }
    assert!(!pair.client.mux.can_open());
    assert_eq!(pair.begin(), Err(StreamError::IdsExhausted));
}
