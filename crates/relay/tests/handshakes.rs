//! Handshakes that were changed, cut or made up, and circuits that wait for one.

#![allow(clippy::unwrap_used, clippy::indexing_slicing, clippy::panic)]

mod support;

use anonnet_cells::{BODY_LEN, BodyWriter, CELL_LEN, CellError, Command, Extend, Kind, Message, append, write_fragments};
use anonnet_circuit::{CircuitError, Violation};
use anonnet_crypto::cgo::{ClientLayer, client_originate};
use anonnet_crypto::keys::NodeId;
use anonnet_crypto::{CryptoError, HandshakeFault};
use anonnet_relay::{ExtendFault, RelayCircuit, RelayError, RelayEvent, TEARDOWN_CODE};
use support::{Chain, Stage};

#[test]
fn a_relay_cannot_answer_for_the_next() {
    // The middle relay does not extend; it makes up the third one's reply.
    let mut chain = Chain::with(20, 3, true, |path| path);
    chain.start();
    let mut twice = None;
    while twice.is_none() {
        chain.relay_in(0);
        chain.relay_in(1);
        chain.relay_back(0);
        chain.client_in();
        if chain.seen.hops.len() == 2 && chain.relays[1].awaiting.is_some() {
            twice = Some(std::mem::replace(&mut chain.relays[1].stage, Stage::Gone));
        }
    }
    let Some(Stage::Circuit(circuit)) = twice else {
        panic!("no circuit")
    };
    circuit.extended(&[1; 1180], &mut chain.backward[1]).unwrap();
    chain.relay_back(0);
    chain.client_in();
    assert!(matches!(chain.client_error, Some(CircuitError::Handshake { hop: 2, .. })));
}

#[test]
fn attack_13_a_handshake_that_was_changed_or_cut_is_refused() {
    let mut chain = Chain::with(21, 1, true, |path| path);
    chain.start();
    let good = chain.forward[0].clone();
    for at in (24..1000).step_by(97) {
        let mut chain = Chain::with(21, 1, true, |path| path);
        chain.forward[0] = good.clone();
        chain.forward[0][at] ^= 1;
        chain.run();
        assert!(
            matches!(chain.relay_errors[0], Some(RelayError::Handshake(CryptoError::Handshake(_)))),
            "byte {at}"
        );
        assert!(chain.backward[0].is_empty());
    }
    // Classical alone: the request without its ML-KEM key.
    let mut chain = Chain::with(21, 1, true, |path| path);
    write_fragments(Command::Create, &[7; 156], &mut chain.forward[0]).unwrap();
    chain.run();
    assert_eq!(chain.relay_errors[0], Some(RelayError::Handshake(HandshakeFault::Length.into())));
}

#[test]
fn a_circuit_that_waits_takes_no_cells_and_no_calls() {
    let mut chain = Chain::with(22, 1, true, |path| path);
    chain.start();
    let mut run = std::mem::take(&mut chain.forward[0]);
    let circuit = chain.relays[0].circuit();
    let mut out = Vec::new();
    assert_eq!(circuit.last_hop().err(), Some(RelayError::State));
    assert_eq!(circuit.created(&secrets(), &[1; 1000], &mut out), Err(RelayError::State));
    let mut requests = Vec::new();
    circuit
        .receive(&mut run, &mut |event| match event {
            RelayEvent::Create(request) => requests.push(request),
            RelayEvent::Hop(event) => panic!("{event:?}"),
        })
        .unwrap();
    assert_eq!(requests.len(), 1);
    let mut more = vec![1; CELL_LEN];
    assert_eq!(circuit.receive(&mut more, &mut |_| {}), Err(RelayError::State));
    assert_eq!(format!("{circuit:?}"), "RelayCircuit(answering)");
    circuit.created(&secrets(), &[1; 1000], &mut out).unwrap();
    assert_eq!(format!("{circuit:?}"), "RelayCircuit(last hop)");
    let Stage::Circuit(circuit) = std::mem::replace(&mut chain.relays[0].stage, Stage::Gone) else {
        panic!("gone")
    };
    assert_eq!(
        circuit.extended(&[1], &mut out).err(),
        Some(RelayError::Circuit(CircuitError::State))
    );
    let rules = anonnet_relay::RelayRules {
        node_id: NodeId([1; 32]),
        addresses: vec![],
        allow_private: false,
    };
    let circuit = RelayCircuit::new(rules.into(), None);
    assert_eq!(format!("{circuit:?}"), "RelayCircuit(creating)");
    assert_eq!(circuit.extended(&[1], &mut out).err(), Some(RelayError::State));
}

/// A cell of a client that knows the keys of the relay's layer.
fn forged(layers: &mut [ClientLayer<BODY_LEN>; 1], command: Command, message: Message<'_>, run: &mut Vec<u8>) {
    append::<_, CellError>(run, command, |tag, body| {
        BodyWriter::new(body).push(&message)?;
        client_originate(layers, command as u8, tag, body);
        Ok(())
    })
    .unwrap();
}

#[test]
fn attack_08_a_cell_for_a_hop_that_is_not_the_last_any_more() {
    let mut chain = Chain::with(23, 1, true, |path| path);
    chain.start();
    let circuit = chain.relays[0].circuit();
    circuit.receive(&mut std::mem::take(&mut chain.forward[0]), &mut |_| {}).unwrap();
    let (secrets, mut out, mut run) = (secrets(), Vec::new(), Vec::new());
    circuit.created(&secrets, &[1; 1000], &mut out).unwrap();
    let mut layers = [ClientLayer::new(&secrets.forward)];
    let extend = Extend {
        node_id: [9; 32],
        address: "127.0.0.9:1".parse().unwrap(),
        handshake: &[7; 1500],
    };
    for (more, data) in [true, false].into_iter().zip(extend.write().unwrap()) {
        forged(
            &mut layers,
            Command::RelayEarly,
            Message {
                kind: Kind::Extend,
                stream: 0,
                seq: 0,
                more,
                data: &data,
            },
            &mut run,
        );
    }
    circuit.receive(&mut run, &mut |_| {}).unwrap();
    let Stage::Circuit(circuit) = std::mem::replace(&mut chain.relays[0].stage, Stage::Gone) else {
        panic!("gone")
    };
    let (mut forward, _) = circuit.extended(&[1; 1180], &mut out).unwrap();
    let begin = Message {
        kind: Kind::BeginDir,
        stream: 1,
        seq: 1,
        more: false,
        data: &[],
    };
    run.clear();
    forged(&mut layers, Command::Relay, begin, &mut run);
    assert_eq!(forward.process(&mut run), Err(RelayError::Recognised));
}

fn secrets() -> anonnet_crypto::handshake::HopSecrets {
    anonnet_crypto::handshake::HopSecrets {
        forward: [1; 80],
        backward: [2; 80],
        bind: [3; 32],
        resume: [4; 32],
    }
}

#[test]
fn the_same_code_ends_every_circuit_and_each_error_has_its_kind() {
    use anonnet_errors::{ErrorKind, HasKind};
    assert_eq!(TEARDOWN_CODE, 0);
    let cases = [
        (RelayError::Cell(CellError::Reserved), ErrorKind::CellMalformed),
        (RelayError::from(Violation::Seq), ErrorKind::CircuitProtocol),
        (RelayError::Handshake(HandshakeFault::Mac.into()), ErrorKind::HandshakeFailed),
        (RelayError::Extend(ExtendFault::ToSelf), ErrorKind::ExtendRefused),
        (RelayError::WrongCommand(Command::Create), ErrorKind::CircuitProtocol),
        (RelayError::TooManyEarly, ErrorKind::CircuitProtocol),
        (RelayError::Recognised, ErrorKind::CircuitProtocol),
        (RelayError::State, ErrorKind::CircuitProtocol),
        (
            RelayError::Circuit(CircuitError::Cell(CellError::EmptyData)),
            ErrorKind::CellMalformed,
        ),
        (RelayError::Circuit(CircuitError::SeqExhausted), ErrorKind::CircuitClosed),
    ];
    for (error, kind) in cases {
        assert_eq!(error.kind(), kind, "{error}");
    }
}
