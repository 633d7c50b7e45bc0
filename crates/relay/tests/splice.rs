//! Two circuits that are joined, without a network: every byte of a client's cell reaches the service through three layers of one circuit and four
//! of the other, and no bit can be touched on the way.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing, clippy::panic)]

use anonnet_cells::{BODY_LEN, CELL_LEN, CellError, Command, append};
use anonnet_circuit::{HopEvent, LastHop, ServiceRequest};
use anonnet_crypto::cgo::{ClientLayer, RelayLayer, client_originate, client_pass, client_receive};
use anonnet_crypto::handshake::HopSecrets;
use anonnet_relay::{RelayError, SplicePump, splice};
use proptest::prelude::*;

fn secrets(number: u8) -> HopSecrets {
    HopSecrets {
        forward: [number; 80],
        backward: [number ^ 0x80; 80],
        bind: [number; 32],
        resume: [0; 32],
    }
}

/// A rendezvous point's layers of one circuit.
fn layers(number: u8) -> anonnet_circuit::HopLayers {
    let secrets = secrets(number);
    let mut hop = LastHop::new(&secrets);
    let mut client: [ClientLayer<BODY_LEN>; 1] = [ClientLayer::new(&secrets.forward)];
    let mut out = Vec::new();
    append::<(), CellError>(&mut out, Command::Relay, |tag, body| {
        anonnet_cells::BodyWriter::new(body).push(&anonnet_cells::Message {
            kind: anonnet_cells::Kind::EstablishRendezvous,
            stream: 0,
            seq: 0,
            more: false,
            data: &[number; 20],
        })?;
        client_originate(&mut client, Command::Relay as u8, tag, body);
        Ok(())
    })
    .unwrap();
    let mut asked = false;
    hop.receive(&mut out, &mut |event| {
        asked = matches!(event, HopEvent::Service(ServiceRequest::EstablishRendezvous { .. }))
    })
    .unwrap();
    assert!(asked);
    hop.into_layers().unwrap()
}

/// The layers that the client of a circuit has after that message: at the rendezvous point both have stepped once.
struct End {
    forward: Vec<ClientLayer<BODY_LEN>>,
    backward: Vec<ClientLayer<BODY_LEN>>,
}

impl End {
    fn new(number: u8) -> Self {
        let secrets = secrets(number);
        let mut forward = vec![ClientLayer::new(&secrets.forward)];
        let (mut tag, mut body) = ([0; 16], [0; BODY_LEN]);
        anonnet_cells::BodyWriter::new(&mut body)
            .push(&anonnet_cells::Message {
                kind: anonnet_cells::Kind::EstablishRendezvous,
                stream: 0,
                seq: 0,
                more: false,
                data: &[number; 20],
            })
            .unwrap();
        client_originate(&mut forward, Command::Relay as u8, &mut tag, &mut body);
        Self {
            forward,
            backward: vec![ClientLayer::new(&secrets.backward)],
        }
    }
}

struct Joined {
    client: End,
    service: End,
    /// What client and service share: the service has the relay's side.
    shared_forward: RelayLayer<BODY_LEN>,
    shared_backward: RelayLayer<BODY_LEN>,
    there: SplicePump,
    back: SplicePump,
}

impl Joined {
    fn new() -> Self {
        let (there, back) = splice(layers(1), layers(2));
        let shared = secrets(3);
        let mut client = End::new(1);
        client.forward.push(ClientLayer::new(&shared.forward));
        client.backward.push(ClientLayer::new(&shared.backward));
        Self {
            client,
            service: End::new(2),
            shared_forward: RelayLayer::new(&shared.forward),
            shared_backward: RelayLayer::new(&shared.backward),
            there,
            back,
        }
    }

    /// A cell of the client's, at the rendezvous point's door.
    fn by_client(&mut self, content: &[u8; BODY_LEN]) -> Vec<u8> {
        let mut cell = Vec::new();
        append::<(), CellError>(&mut cell, Command::Relay, |tag, body| {
            *body = *content;
            client_originate(&mut self.client.forward, Command::Relay as u8, tag, body);
            Ok(())
        })
        .unwrap();
        cell
    }

    fn by_service(&mut self, content: &[u8; BODY_LEN]) -> Vec<u8> {
        let mut cell = Vec::new();
        append::<(), CellError>(&mut cell, Command::Relay, |tag, body| {
            *body = *content;
            self.shared_backward.originate(Command::Relay as u8, tag, body);
            client_pass(&mut self.service.forward, Command::Relay as u8, tag, body);
            Ok(())
        })
        .unwrap();
        cell
    }

    /// What the service makes of it: recognised, and what.
    fn at_service(&mut self, cell: &mut [u8]) -> (bool, Vec<u8>) {
        let parts = anonnet_cells::split(&mut anonnet_cells::cells(cell).unwrap()[0]).unwrap();
        let own = client_receive(&mut self.service.backward, parts.command as u8, parts.tag, parts.body);
        let shared = self.shared_forward.forward(parts.command as u8, parts.tag, parts.body);
        (own.is_none() && shared, parts.body.to_vec())
    }

    fn at_client(&mut self, cell: &mut [u8]) -> (bool, Vec<u8>) {
        let parts = anonnet_cells::split(&mut anonnet_cells::cells(cell).unwrap()[0]).unwrap();
        let hop = client_receive(&mut self.client.backward, parts.command as u8, parts.tag, parts.body);
        (hop == Some(1), parts.body.to_vec())
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn cells_pass_the_joint_both_ways_and_a_touched_one_garbles_all_that_follow(
        contents in prop::collection::vec(any::<[u8; 32]>(), 1..6), at in 4usize..CELL_LEN, bit in 0u8..8, which in 0usize..6, away in any::<bool>()
    ) {
        let mut joined = Joined::new();
        let mut garbled = false;
        for (number, start) in contents.iter().enumerate() {
            let mut content = [0; BODY_LEN];
            content[..32].copy_from_slice(start);
            let mut cell = if away { joined.by_client(&content) } else { joined.by_service(&content) };
            if number == which {
                cell[at] ^= 1 << bit;
                garbled = true;
            }
            let pump = if away { &mut joined.there } else { &mut joined.back };
            pump.process(&mut cell).unwrap();
            let (recognised, came) = if away { joined.at_service(&mut cell) } else { joined.at_client(&mut cell) };
            prop_assert_eq!(recognised, !garbled);
            prop_assert_eq!(came == content, !garbled);
        }
    }
}

#[test]
fn only_relay_cells_pass_and_none_is_for_the_rendezvous_point() {
    for (command, error) in [
        (Command::RelayEarly, RelayError::WrongCommand(Command::RelayEarly)),
        (Command::Create, RelayError::WrongCommand(Command::Create)),
        (Command::Created, RelayError::WrongCommand(Command::Created)),
    ] {
        let mut joined = Joined::new();
        let mut cell = joined.by_client(&[1; BODY_LEN]);
        cell[0] = command as u8;
        assert_eq!(joined.there.process(&mut cell), Err(error));
    }
    let mut joined = Joined::new();
    joined.client.forward.pop();
    let mut cell = joined.by_client(&[1; BODY_LEN]);
    assert_eq!(joined.there.process(&mut cell), Err(RelayError::Recognised));
    assert!(joined.back.process(&mut [0; CELL_LEN - 1]).is_err());
    assert!(joined.back.process(&mut [9; CELL_LEN]).is_err());
}
