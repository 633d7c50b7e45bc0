//! A last hop that lies to a client, and a client that lies to a last hop. Both know the keys of the circuit, and make cells that are
//! recognised and whose content is wrong. Each attack is named after its row in docs/security.md.

#![allow(clippy::unwrap_used, clippy::indexing_slicing, clippy::panic)]

use anonnet_cells::{
    Assembler, BODY_LEN, Body, BodyWriter, CELL_LEN, CellError, Command, Extend, Kind, MAX_DATA, Message, append, cells, split,
    write_fragments,
};
use anonnet_circuit::limits::{INITIAL_WINDOW, MAX_HOPS, MAX_RELAY_EARLY};
use anonnet_circuit::{CircuitError, ClientCircuit, Event, Hop, HopEvent, LastHop, StreamError, Violation};
use anonnet_crypto::cgo::{ClientLayer, RelayLayer, client_originate};
use anonnet_crypto::handshake::{HopSecrets, relay_respond};
use anonnet_crypto::keys::{CircuitKey, CircuitKeyRing, NodeId};
use rand_chacha::ChaCha20Rng;
use rand_core::{Rng, SeedableRng};

const TARGET: &[u8] = &[4, 1, 2, 3, 4, 0, 80];

fn message(kind: Kind, stream: u16, seq: u32, data: &[u8]) -> Message<'_> {
    Message {
        kind,
        stream,
        seq,
        more: false,
        data,
    }
}

/// A body of any bytes at all: what the codec would not write.
fn raw(bytes: &[u8]) -> Body {
    let mut body = [0; BODY_LEN];
    body[..bytes.len()].copy_from_slice(bytes);
    body
}

fn body(messages: &[Message<'_>]) -> Body {
    let mut body = [0; BODY_LEN];
    let mut writer = BodyWriter::new(&mut body);
    messages.iter().for_each(|message| writer.push(message).unwrap());
    body
}

/// A client with a circuit of one hop, whose relay is the test.
struct HostileHop {
    client: ClientCircuit,
    layer: RelayLayer<BODY_LEN>,
    rng: ChaCha20Rng,
    out: Vec<u8>,
}

fn hop(rng: &mut ChaCha20Rng) -> (Hop, CircuitKeyRing) {
    let (key, mut id) = (CircuitKey::generate(rng), [0; 32]);
    rng.fill_bytes(&mut id);
    let hop = Hop {
        node_id: NodeId(id),
        onion_key: *key.public(),
        address: "1.2.3.4:5".parse().unwrap(),
    };
    (hop, CircuitKeyRing::new(key, 0))
}

impl HostileHop {
    /// The first of `hops` hops; the circuit is ready if there is no other.
    fn new(hops: usize) -> Self {
        let mut rng = ChaCha20Rng::seed_from_u64(7);
        let (first, ring) = hop(&mut rng);
        let mut path = vec![first.clone()];
        path.extend((1..hops).map(|_| hop(&mut rng).0));
        let mut client = ClientCircuit::new(path).unwrap();
        let mut out = Vec::new();
        client.start(&mut rng, &mut out).unwrap();
        let mut assembler = Assembler::new(Command::Create);
        let request = assembler.receive(&out).unwrap().unwrap();
        let (secrets, reply) = relay_respond(&mut rng, &first.node_id, &ring, 0, &request, |_| Vec::new()).unwrap();
        let mut hostile = Self {
            client,
            layer: RelayLayer::new(&secrets.backward),
            rng,
            out: Vec::new(),
        };
        let mut run = Vec::new();
        write_fragments(Command::Created, &reply, &mut run).unwrap();
        hostile.receive(&mut run).unwrap();
        hostile
    }

    fn receive(&mut self, run: &mut [u8]) -> Result<Vec<String>, CircuitError> {
        let mut events = Vec::new();
        self.client
            .receive(run, &mut self.rng, &mut self.out, &mut |event| events.push(format!("{event:?}")))?;
        Ok(events)
    }

    fn cell(&mut self, command: Command, content: &Body) -> Vec<u8> {
        let mut run = Vec::new();
        append::<_, CellError>(&mut run, command, |tag, body| {
            *body = *content;
            self.layer.originate(command as u8, tag, body);
            Ok(())
        })
        .unwrap();
        run
    }

    fn tell(&mut self, content: &Body) -> Result<Vec<String>, CircuitError> {
        let mut run = self.cell(Command::Relay, content);
        self.receive(&mut run)
    }
}

/// A last hop whose client is the test.
struct HostileClient {
    hop: LastHop,
    layers: [ClientLayer<BODY_LEN>; 1],
}

impl HostileClient {
    fn new() -> Self {
        let secrets = HopSecrets {
            forward: [1; 80],
            backward: [2; 80],
            bind: [3; 32],
            resume: [4; 32],
        };
        Self {
            hop: LastHop::new(&secrets),
            layers: [ClientLayer::new(&secrets.forward)],
        }
    }

    fn tell_as(&mut self, command: Command, content: &Body) -> Result<Vec<String>, CircuitError> {
        let mut run = Vec::new();
        append::<_, CellError>(&mut run, command, |tag, body| {
            *body = *content;
            client_originate(&mut self.layers, command as u8, tag, body);
            Ok(())
        })
        .unwrap();
        self.receive(&mut run)
    }

    fn receive(&mut self, run: &mut [u8]) -> Result<Vec<String>, CircuitError> {
        let mut events = Vec::new();
        self.hop.receive(run, &mut |event| events.push(format!("{event:?}")))?;
        Ok(events)
    }

    fn tell(&mut self, content: &Body) -> Result<Vec<String>, CircuitError> {
        self.tell_as(Command::Relay, content)
    }
}

fn violation(violation: Violation) -> CircuitError {
    CircuitError::Violation(violation)
}

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

#[test]
fn a_cell_of_an_inner_hop_ends_the_circuit_once_there_is_another() {
    let mut rng = ChaCha20Rng::seed_from_u64(9);
    let ((first, ring), (second, second_ring)) = (hop(&mut rng), hop(&mut rng));
    let mut client = ClientCircuit::new(vec![first.clone(), second.clone()]).unwrap();
    let (mut run, mut out, mut ready) = (Vec::new(), Vec::new(), false);
    client.start(&mut rng, &mut run).unwrap();
    let request = Assembler::new(Command::Create).receive(&run).unwrap().unwrap();
    let (secrets, reply) = relay_respond(&mut rng, &first.node_id, &ring, 0, &request, |_| Vec::new()).unwrap();
    run.clear();
    write_fragments(Command::Created, &reply, &mut run).unwrap();
    client.receive(&mut run, &mut rng, &mut out, &mut |_| {}).unwrap();

    // The first relay extends by its own code, and its layer goes on as the test's.
    let (mut last, mut extend) = (LastHop::new(&secrets), None);
    last.receive(&mut out, &mut |event| match event {
        HopEvent::Extend(request) => extend = Some(request),
        event => panic!("{event:?}"),
    })
    .unwrap();
    let (_, reply) = relay_respond(&mut rng, &second.node_id, &second_ring, 0, &extend.unwrap().handshake, |_| {
        Vec::new()
    })
    .unwrap();
    run.clear();
    let mut layers = last.extended(&reply, &mut run).unwrap();
    assert_eq!((layers.early, run.len()), (2, 2 * CELL_LEN));
    client
        .receive(&mut run, &mut rng, &mut out, &mut |event| ready |= matches!(event, Event::Ready))
        .unwrap();
    assert!(ready && client.is_ready() && client.can_open());

    let stream = client.begin_dir(&mut out).unwrap();
    run.clear();
    append::<_, CellError>(&mut run, Command::Relay, |tag, content| {
        *content = body(&[message(Kind::Connected, stream, 1, &[])]);
        layers.backward.originate(Command::Relay as u8, tag, content);
        Ok(())
    })
    .unwrap();
    let error = client
        .receive(&mut run, &mut rng, &mut out, &mut |event| panic!("{event:?}"))
        .unwrap_err();
    assert_eq!(error, violation(Violation::WrongHop));
}

#[test]
fn cells_that_are_none_end_the_circuit_at_both_ends() {
    for len in [1, CELL_LEN - 1, CELL_LEN + 1] {
        let expected = Err(CircuitError::Cell(CellError::Length { len }));
        assert_eq!(HostileHop::new(1).receive(&mut vec![1; len]), expected);
        assert_eq!(HostileClient::new().receive(&mut vec![1; len]), expected);
    }
    for command in [Command::Create, Command::Created] {
        let mut cell = vec![0; CELL_LEN];
        cell[0] = command as u8;
        let expected = Err(violation(Violation::WrongCommand(command)));
        assert_eq!(HostileHop::new(1).receive(&mut cell.clone()), expected);
        assert_eq!(HostileHop::new(2).receive(&mut cell.clone()), expected);
        assert_eq!(HostileClient::new().receive(&mut cell), expected);
    }
    let mut cell = vec![0; CELL_LEN];
    (cell[0], cell[1]) = (1, 1);
    assert_eq!(
        HostileHop::new(1).receive(&mut cell.clone()),
        Err(CircuitError::Cell(CellError::Reserved))
    );
    assert_eq!(
        HostileClient::new().receive(&mut cell),
        Err(CircuitError::Cell(CellError::Reserved))
    );
}

#[test]
fn a_client_takes_nothing_before_it_has_begun_and_a_wrong_reply_ends_it() {
    let mut rng = ChaCha20Rng::seed_from_u64(3);
    let mut out = Vec::new();
    let mut client = ClientCircuit::new(vec![hop(&mut rng).0]).unwrap();
    let mut run = Vec::new();
    write_fragments(Command::Created, &[1; 1200], &mut run).unwrap();
    let mut none = |event: Event<'_>| panic!("{event:?}");
    assert_eq!(
        client.receive(&mut run.clone(), &mut rng, &mut out, &mut none),
        Err(violation(Violation::Unexpected))
    );
    assert_eq!(client.begin_dir(&mut out), Err(StreamError::NotReady));
    client.start(&mut rng, &mut out).unwrap();
    assert_eq!(client.start(&mut rng, &mut out), Err(CircuitError::State));
    assert_eq!(client.begin_dir(&mut out), Err(StreamError::NotReady));
    assert!(!client.can_open() && !client.is_ready());
    let error = client.receive(&mut run, &mut rng, &mut out, &mut none).unwrap_err();
    assert!(matches!(error, CircuitError::Handshake { hop: 0, .. }));
    // A key that is none is seen before anything is sent.
    let mut weak = hop(&mut rng).0;
    weak.onion_key = [0; 32];
    let mut client = ClientCircuit::new(vec![weak]).unwrap();
    let written = out.len();
    assert!(matches!(
        client.start(&mut rng, &mut out),
        Err(CircuitError::Handshake { hop: 0, .. })
    ));
    assert_eq!(out.len(), written);
}

#[test]
fn nothing_is_extended_unless_it_was_asked_for() {
    let mut out = Vec::new();
    assert_eq!(HostileClient::new().hop.extended(&[1], &mut out).unwrap_err(), CircuitError::State);
    let handshake = [7; 1500];
    let extend = Extend {
        node_id: [1; 32],
        address: "[2001:db8::1]:5".parse().unwrap(),
        handshake: &handshake,
    };
    let [first, second] = extend.write().unwrap();
    for len in [0, Kind::Extended.max_len() + 1] {
        let mut hostile = HostileClient::new();
        for (more, data) in [(true, &first), (false, &second)] {
            let content = body(&[Message {
                more,
                ..message(Kind::Extend, 0, 0, data)
            }]);
            hostile.tell_as(Command::RelayEarly, &content).unwrap();
        }
        let error = hostile.hop.extended(&vec![1; len], &mut out).unwrap_err();
        assert_eq!(error, CircuitError::Cell(CellError::HandshakeLength { len }));
    }
    assert!(out.is_empty());
}

#[test]
fn several_messages_of_a_cell_come_in_order() {
    let mut hostile = HostileClient::new();
    let content = body(&[
        message(Kind::Begin, 1, 1, TARGET),
        message(Kind::Data, 1, 2, b"early"),
        message(Kind::Resolve, 2, 3, b"example.org"),
        message(Kind::End, 1, 4, &[0]),
    ]);
    let events = hostile.tell(&content).unwrap();
    assert_eq!(events.len(), 4);
    assert!(
        events[0].starts_with("Begin")
            && events[1].starts_with("Data")
            && events[2].starts_with("Resolve")
            && events[3].starts_with("Finished")
    );
    let mut run = Vec::new();
    hostile.hop.resolved(2, &["1.2.3.4".parse().unwrap()], &mut run).unwrap();
    assert_eq!(cells(&mut run).unwrap().len(), 1);
    assert_eq!(split(&mut cells(&mut run).unwrap()[0]).unwrap().command, Command::Relay);
}

#[test]
fn what_is_printed_of_an_end_holds_no_path_and_no_key() {
    let hostile = HostileHop::new(3);
    let shown = format!("{:?} {:?} {:?}", hostile.client, hostile.client.path(), HostileClient::new().hop);
    assert!(shown.contains("built: 1") && !shown.contains("1.2.3.4"), "{shown}");
    let id = format!("{:?}", hostile.client.path()[0].node_id);
    assert!(!shown.contains(&id) && hostile.client.hops_built() == 1);
    let event = HopEvent::BeginDir { stream: 1 };
    assert_eq!(format!("{event:?}"), "BeginDir { stream: 1 }");
}
