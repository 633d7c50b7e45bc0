//! A last hop that lies to a client, and a client that lies to a last hop. Both know the keys of the circuit, and make cells that are
//! recognised and whose content is wrong. Each attack is named after its row in docs/security.md.

#![allow(clippy::unwrap_used, clippy::indexing_slicing, clippy::panic)]

mod support;

use anonnet_cells::{BODY_LEN, Body, CELL_LEN, CellError, Command, Extend, Kind, MAX_DATA, Message};
use anonnet_circuit::limits::{INITIAL_WINDOW, MAX_HOPS, MAX_RELAY_EARLY};
use anonnet_circuit::{CircuitError, ClientCircuit, StreamError, Violation};
use rand_chacha::ChaCha20Rng;
use rand_core::SeedableRng;
use support::{HostileClient, HostileHop, body, hop, message, raw, violation};

const TARGET: &[u8] = &[4, 1, 2, 3, 4, 0, 80];

#[test]
fn attack_05_relay_early_towards_the_client() {
    let mut hostile = HostileHop::new(1);
    hostile.client.begin_dir(&mut Vec::new()).unwrap();
    let content = body(&[message(Kind::Connected, 1, 1, &[])]);
    let mut run = hostile.cell(Command::RelayEarly, &content);
    assert_eq!(
        hostile.receive(&mut run),
        Err(violation(Violation::WrongCommand(Command::RelayEarly)))
    );
    // While the circuit is built as well.
    let mut hostile = HostileHop::new(2);
    let mut run = hostile.cell(Command::RelayEarly, &body(&[message(Kind::Extended, 0, 0, &[1])]));
    assert_eq!(
        hostile.receive(&mut run),
        Err(violation(Violation::WrongCommand(Command::RelayEarly)))
    );
}

#[test]
fn attack_06_extend_without_relay_early_or_in_another_shape() {
    let handshake = [7; 1500];
    let extend = Extend {
        node_id: [1; 32],
        address: "1.2.3.4:5".parse().unwrap(),
        handshake: &handshake,
    };
    let [first, second] = extend.write().unwrap();
    let part = |more, data| Message {
        more,
        ..message(Kind::Extend, 0, 0, data)
    };
    let (one, two) = (body(&[part(true, &first)]), body(&[part(false, &second)]));
    let refused = |cells: &[(Command, &Body)]| {
        let mut hostile = HostileClient::new();
        let (last, before) = cells.split_last().unwrap();
        before
            .iter()
            .for_each(|(command, body)| assert_eq!(hostile.tell_as(*command, body), Ok(vec![])));
        hostile.tell_as(last.0, last.1).unwrap_err()
    };
    let (early, relay) = (Command::RelayEarly, Command::Relay);
    let shape = violation(Violation::ExtendShape);
    assert_eq!(refused(&[(relay, &one)]), violation(Violation::WrongState(Kind::Extend)));
    assert_eq!(refused(&[(early, &one), (relay, &two)]), CircuitError::Cell(CellError::Interrupted));
    // One cell, three cells, another stream, a number, or company.
    assert_eq!(refused(&[(early, &two)]), shape);
    assert_eq!(
        refused(&[
            (early, &body(&[part(true, &first[..1000])])),
            (early, &body(&[part(true, &first[1000..])]))
        ]),
        shape
    );
    assert_eq!(
        refused(&[(
            early,
            &body(&[Message {
                stream: 1,
                ..part(true, &first)
            }])
        )]),
        shape
    );
    assert_eq!(
        refused(&[(
            early,
            &body(&[Message {
                seq: 1,
                ..part(true, &first)
            }])
        )]),
        shape
    );
    assert_eq!(
        refused(&[(early, &body(&[part(true, &first[..100]), part(false, &second)]))]),
        shape
    );
    assert_eq!(refused(&[(early, &body(&[message(Kind::BeginDir, 1, 1, &[])]))]), shape);
    // Whole, and then nothing more may come.
    let mut hostile = HostileClient::new();
    assert_eq!(hostile.tell_as(early, &one), Ok(vec![]));
    assert_eq!(hostile.tell_as(early, &two).unwrap().len(), 1);
    assert_eq!(
        hostile.tell(&body(&[message(Kind::BeginDir, 1, 1, &[])])),
        Err(violation(Violation::Unexpected))
    );
    // Not once a stream was opened.
    let mut hostile = HostileClient::new();
    hostile.tell(&body(&[message(Kind::BeginDir, 1, 1, &[])])).unwrap();
    assert_eq!(hostile.tell_as(early, &one), Err(violation(Violation::WrongState(Kind::Extend))));
}

#[test]
fn attack_06_a_path_is_of_bounded_length() {
    let mut rng = ChaCha20Rng::seed_from_u64(1);
    let mut path = |hops: usize| ClientCircuit::new((0..hops).map(|_| hop(&mut rng).0).collect());
    assert!(path(MAX_HOPS).is_ok());
    for hops in [0, MAX_HOPS + 1] {
        assert_eq!(path(hops).unwrap_err(), StreamError::Path { hops });
    }
    // A last hop counts as well.
    let mut hostile = HostileClient::new();
    let first = body(&[Message {
        more: true,
        ..message(Kind::Extend, 0, 0, &[1])
    }]);
    hostile.tell_as(Command::RelayEarly, &first).unwrap();
    let mut run = vec![0; CELL_LEN];
    for _ in 1..MAX_RELAY_EARLY {
        run[0] = Command::RelayEarly as u8;
        assert_eq!(hostile.receive(&mut run), Err(violation(Violation::Unrecognised)));
    }
    run[0] = Command::RelayEarly as u8;
    assert_eq!(hostile.receive(&mut run), Err(violation(Violation::TooManyEarly)));
}

/// What nobody has a reason to send.
fn marks() -> Vec<(Body, CircuitError)> {
    let mut marks = vec![
        (
            raw(&[Kind::Data as u8, 0, 1, 0, 0, 0, 1, 0, 0]),
            CircuitError::Cell(CellError::EmptyData),
        ),
        (raw(&[]), violation(Violation::EmptyCell)),
        (raw(&[25, 0, 0, 0, 0, 0, 0, 0, 0]), CircuitError::Cell(CellError::UnknownKind(25))),
        (raw(&[255, 0, 0, 0, 0, 0, 0, 0, 0]), CircuitError::Cell(CellError::UnknownKind(255))),
    ];
    for kind in Kind::ALL.iter().copied().filter(|kind| !kind.is_built()) {
        marks.push((
            raw(&[kind as u8, 0, 0, 0, 0, 0, 0, 0, 0]),
            CircuitError::Cell(CellError::NotBuilt(kind)),
        ));
    }
    marks
}

#[test]
fn attack_08_marks_on_an_idle_circuit_end_it() {
    for (mark, expected) in marks() {
        assert_eq!(HostileHop::new(1).tell(&mark), Err(expected));
        assert_eq!(HostileClient::new().tell(&mark), Err(expected));
        if expected == violation(Violation::EmptyCell) {
            assert_eq!(HostileClient::new().tell_as(Command::RelayEarly, &mark), Err(expected));
        }
    }
    // Padding that is not zero, behind a message that is fine.
    let mut content = body(&[message(Kind::BeginDir, 1, 1, &[])]);
    content[BODY_LEN - 1] = 1;
    assert_eq!(HostileClient::new().tell(&content), Err(CircuitError::Cell(CellError::Padding)));
    // A WINDOW and an END for nothing.
    for kind in [Kind::Window, Kind::End] {
        let (seq, data): (u32, &[u8]) = if kind == Kind::End { (1, &[1]) } else { (0, &[1; 8]) };
        let content = body(&[message(kind, 1, seq, data)]);
        assert_eq!(HostileHop::new(1).tell(&content), Err(violation(Violation::UnknownStream)));
        assert_eq!(HostileClient::new().tell(&content), Err(violation(Violation::UnknownStream)));
    }
}

#[test]
fn attack_08_marks_while_the_circuit_is_built_end_it() {
    for (mark, expected) in marks() {
        let error = HostileHop::new(2).tell(&mark).unwrap_err();
        assert!(
            error == expected || matches!(error, CircuitError::Violation(Violation::WrongState(_))),
            "{error:?}"
        );
    }
    for kind in [Kind::Connected, Kind::Window, Kind::End, Kind::Extend] {
        let content = body(&[message(kind, 1, 0, if kind == Kind::Window { &[1; 8] } else { &[] })]);
        let error = HostileHop::new(2).tell(&content).unwrap_err();
        assert_eq!(error, violation(Violation::WrongState(kind)));
    }
    // EXTENDED for the circuit itself only, of bounded length, and a wrong handshake ends it.
    let extended = |stream, seq, data: &[u8]| {
        HostileHop::new(2)
            .tell(&body(&[message(Kind::Extended, stream, seq, data)]))
            .unwrap_err()
    };
    assert_eq!(extended(1, 0, &[1]), violation(Violation::WrongState(Kind::Extended)));
    assert_eq!(extended(0, 1, &[1]), violation(Violation::WrongState(Kind::Extended)));
    assert!(matches!(extended(0, 0, &[1]), CircuitError::Handshake { hop: 1, .. }));
    let two = body(&[message(Kind::Extended, 0, 0, &[1]), message(Kind::Extended, 0, 0, &[1])]);
    assert_eq!(HostileHop::new(2).tell(&two), Err(violation(Violation::WrongState(Kind::Extended))));
    let part = body(&[Message {
        more: true,
        ..message(Kind::Extended, 0, 0, &[1; MAX_DATA])
    }]);
    let mut hostile = HostileHop::new(2);
    assert_eq!(hostile.tell(&part), Ok(vec![]));
    assert_eq!(
        hostile.tell(&part),
        Err(CircuitError::Cell(CellError::TooLong { kind: Kind::Extended }))
    );
}

#[test]
fn attack_09_window_beyond_what_was_sent_gains_nothing() {
    let mut hostile = HostileHop::new(1);
    let stream = hostile.client.begin_dir(&mut Vec::new()).unwrap();
    hostile.tell(&body(&[message(Kind::Connected, stream, 1, &[])])).unwrap();
    let before = hostile.client.sendable(stream);
    let window = body(&[message(Kind::Window, stream, 0, &(INITIAL_WINDOW + 1).to_be_bytes())]);
    assert_eq!(hostile.tell(&window), Err(violation(Violation::WindowUnearned)));
    assert_eq!(hostile.client.sendable(stream), before);
    // ACK has nothing to say before sessions are built.
    let mut hostile = HostileClient::new();
    hostile.tell(&body(&[message(Kind::Begin, 1, 1, TARGET)])).unwrap();
    let ack = raw(&[Kind::Ack as u8, 0, 0, 0, 0, 0, 0, 0, 4, 0xff, 0xff, 0xff, 0xff]);
    assert_eq!(hostile.tell(&ack), Err(CircuitError::Cell(CellError::NotBuilt(Kind::Ack))));
}

#[test]
fn attack_12_sequence_numbers_out_of_order_end_the_circuit() {
    for seq in [0, 2, 1 << 31, u32::MAX] {
        let mut hostile = HostileClient::new();
        assert_eq!(
            hostile.tell(&body(&[message(Kind::Begin, 1, seq, TARGET)])),
            Err(violation(Violation::Seq))
        );
        assert_eq!(hostile.hop.open_streams(), 0);
    }
}
