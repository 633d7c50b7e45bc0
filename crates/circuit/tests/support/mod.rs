//! A client whose relay is the test, and a last hop whose client is.

#![allow(dead_code, clippy::unwrap_used, clippy::indexing_slicing, clippy::panic)]

use anonnet_cells::{Assembler, BODY_LEN, Body, BodyWriter, CellError, Command, Kind, Message, append, write_fragments};
use anonnet_circuit::{CircuitError, ClientCircuit, Hop, LastHop, Violation};
use anonnet_crypto::cgo::{ClientLayer, RelayLayer, client_originate};
use anonnet_crypto::handshake::{HopSecrets, relay_respond};
use anonnet_crypto::keys::{CircuitKey, CircuitKeyRing, NodeId};
use rand_chacha::ChaCha20Rng;
use rand_core::{Rng, SeedableRng};

pub fn message(kind: Kind, stream: u16, seq: u32, data: &[u8]) -> Message<'_> {
    Message {
        kind,
        stream,
        seq,
        more: false,
        data,
    }
}

/// A body of any bytes at all: what the codec would not write.
pub fn raw(bytes: &[u8]) -> Body {
    let mut body = [0; BODY_LEN];
    body[..bytes.len()].copy_from_slice(bytes);
    body
}

pub fn body(messages: &[Message<'_>]) -> Body {
    let mut body = [0; BODY_LEN];
    let mut writer = BodyWriter::new(&mut body);
    messages.iter().for_each(|message| writer.push(message).unwrap());
    body
}

/// A client with a circuit of one hop, whose relay is the test.
pub struct HostileHop {
    pub client: ClientCircuit,
    pub layer: RelayLayer<BODY_LEN>,
    pub rng: ChaCha20Rng,
    pub out: Vec<u8>,
}

pub fn hop(rng: &mut ChaCha20Rng) -> (Hop, CircuitKeyRing) {
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
    pub fn new(hops: usize) -> Self {
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

    pub fn receive(&mut self, run: &mut [u8]) -> Result<Vec<String>, CircuitError> {
        let mut events = Vec::new();
        self.client
            .receive(run, &mut self.rng, &mut self.out, &mut |event| events.push(format!("{event:?}")))?;
        Ok(events)
    }

    pub fn cell(&mut self, command: Command, content: &Body) -> Vec<u8> {
        let mut run = Vec::new();
        append::<_, CellError>(&mut run, command, |tag, body| {
            *body = *content;
            self.layer.originate(command as u8, tag, body);
            Ok(())
        })
        .unwrap();
        run
    }

    pub fn tell(&mut self, content: &Body) -> Result<Vec<String>, CircuitError> {
        let mut run = self.cell(Command::Relay, content);
        self.receive(&mut run)
    }
}

/// A last hop whose client is the test.
pub struct HostileClient {
    pub hop: LastHop,
    pub layers: [ClientLayer<BODY_LEN>; 1],
}

impl HostileClient {
    pub fn new() -> Self {
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

    pub fn tell_as(&mut self, command: Command, content: &Body) -> Result<Vec<String>, CircuitError> {
        let mut run = Vec::new();
        append::<_, CellError>(&mut run, command, |tag, body| {
            *body = *content;
            client_originate(&mut self.layers, command as u8, tag, body);
            Ok(())
        })
        .unwrap();
        self.receive(&mut run)
    }

    pub fn receive(&mut self, run: &mut [u8]) -> Result<Vec<String>, CircuitError> {
        let mut events = Vec::new();
        self.hop.receive(run, &mut |event| events.push(format!("{event:?}")))?;
        Ok(events)
    }

    pub fn tell(&mut self, content: &Body) -> Result<Vec<String>, CircuitError> {
        self.tell_as(Command::Relay, content)
    }
}

pub fn violation(violation: Violation) -> CircuitError {
    CircuitError::Violation(violation)
}
