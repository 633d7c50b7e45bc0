//! What the two ends of a circuit take, and what they refuse, cell by cell.

#![allow(clippy::unwrap_used, clippy::indexing_slicing, clippy::panic)]

mod support;

use anonnet_cells::{Assembler, CELL_LEN, CellError, Command, Extend, Kind, Message, append, cells, split, write_fragments};
use anonnet_circuit::{CircuitError, ClientCircuit, Event, HopEvent, LastHop, StreamError, Violation};
use anonnet_crypto::handshake::relay_respond;
use rand_chacha::ChaCha20Rng;
use rand_core::SeedableRng;
use support::{HostileClient, HostileHop, body, hop, message, violation};

const TARGET: &[u8] = &[4, 1, 2, 3, 4, 0, 80];

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
