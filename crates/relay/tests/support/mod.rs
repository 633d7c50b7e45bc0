//! A client and its relays in one thread, with the wires between them open to the test.

#![allow(dead_code, clippy::unwrap_used, clippy::indexing_slicing, clippy::panic)]

use anonnet_cells::{Assembler, CELL_LEN, Command, EndReason, Host, Target, write_fragments};
use anonnet_circuit::{ClientCircuit, Event, ExtendRequest, Hop, HopEvent};
use anonnet_crypto::keys::{CircuitKey, CircuitKeyRing, NodeId};
use anonnet_relay::{BackwardPump, ForwardPump, RelayCircuit, RelayError, RelayEvent, RelayRules};
use rand_chacha::ChaCha20Rng;
use rand_core::{Rng, SeedableRng};
use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

pub const NOW_S: u64 = 1_000_000;

/// What an application at one end has seen of its streams.
#[derive(Debug, Default)]
pub struct Seen {
    pub connected: Vec<u16>,
    pub begun: Vec<u16>,
    pub names: Vec<(u16, String)>,
    pub data: BTreeMap<u16, Vec<u8>>,
    pub finished: Vec<u16>,
    pub ended: Vec<(u16, EndReason)>,
    pub resolved: Vec<(u16, EndReason, usize)>,
    pub hops: Vec<usize>,
    pub ready: bool,
}

pub enum Stage {
    Circuit(RelayCircuit),
    Pumps(ForwardPump, BackwardPump),
    Gone,
}

pub struct Relay {
    pub hop: Hop,
    pub ring: CircuitKeyRing,
    pub stage: Stage,
    pub awaiting: Option<Assembler>,
}

impl Relay {
    pub fn circuit(&mut self) -> &mut RelayCircuit {
        let Stage::Circuit(circuit) = &mut self.stage else {
            panic!("not a circuit")
        };
        circuit
    }
}

/// Wire `i` lies before relay `i`: `forward[i]` goes to it, `backward[i]` comes from it.
pub struct Chain {
    pub rng: ChaCha20Rng,
    pub client: ClientCircuit,
    pub relays: Vec<Relay>,
    pub forward: Vec<Vec<u8>>,
    pub backward: Vec<Vec<u8>>,
    pub seen: Seen,
    pub exit_seen: Seen,
    pub client_error: Option<anonnet_circuit::CircuitError>,
    pub relay_errors: Vec<Option<RelayError>>,
    /// How many RELAY_EARLY cells passed each wire away from the client.
    pub early: Vec<usize>,
    /// Cells worked on at a time: random up to this many.
    pub max_run: usize,
}

fn relay(rng: &mut ChaCha20Rng, number: usize, allow_private: bool) -> (Relay, Arc<RelayRules>) {
    let mut id = [0; 32];
    rng.fill_bytes(&mut id);
    let key = CircuitKey::generate(rng);
    let address = format!("127.{number}.0.1:9000").parse().unwrap();
    let hop = Hop {
        node_id: NodeId(id),
        onion_key: *key.public(),
        address,
    };
    let rules = Arc::new(RelayRules {
        node_id: hop.node_id,
        addresses: vec![address],
        allow_private,
    });
    let stage = Stage::Circuit(RelayCircuit::new(rules.clone(), None));
    (
        Relay {
            hop,
            ring: CircuitKeyRing::new(key, NOW_S),
            stage,
            awaiting: None,
        },
        rules,
    )
}

impl Chain {
    /// Relays that do not know of each other yet, on a test network or not; `path` is of their numbers.
    pub fn with(seed: u64, hops: usize, allow_private: bool, path: impl FnOnce(Vec<Hop>) -> Vec<Hop>) -> Self {
        let mut rng = ChaCha20Rng::seed_from_u64(seed);
        let mut relays: Vec<Relay> = Vec::new();
        for number in 0..hops {
            let (mut relay, rules) = relay(&mut rng, number + 1, allow_private);
            let previous = relays.last().map(|previous| previous.hop.node_id);
            relay.stage = Stage::Circuit(RelayCircuit::new(rules, previous));
            relays.push(relay);
        }
        let client = ClientCircuit::new(path(relays.iter().map(|relay| relay.hop.clone()).collect())).unwrap();
        Self {
            rng,
            client,
            forward: vec![Vec::new(); hops],
            backward: vec![Vec::new(); hops],
            relay_errors: vec![None; hops],
            early: vec![0; hops],
            relays,
            seen: Seen::default(),
            exit_seen: Seen::default(),
            client_error: None,
            max_run: 64,
        }
    }

    /// A circuit through that many relays, ready.
    pub fn ready(seed: u64, hops: usize) -> Self {
        let mut chain = Self::with(seed, hops, true, |path| path);
        chain.start();
        chain.run();
        assert!(chain.seen.ready && chain.failed().is_none(), "{:?}", chain.failed());
        chain
    }

    pub fn start(&mut self) {
        self.client.start(&mut self.rng, &mut self.forward[0]).unwrap();
    }

    /// The first error anywhere, as text.
    pub fn failed(&self) -> Option<String> {
        let relays = self.relay_errors.iter().flatten().map(|error| format!("{error:?}"));
        self.client_error.iter().map(|error| format!("{error:?}")).chain(relays).next()
    }

    fn take(&mut self, forward: bool, wire: usize) -> Vec<u8> {
        let count = 1 + self.rng.next_u32() as usize % self.max_run;
        let queue = if forward {
            &mut self.forward[wire]
        } else {
            &mut self.backward[wire]
        };
        // What is no whole cell comes with the last one.
        let len = if queue.len() / CELL_LEN <= count {
            queue.len()
        } else {
            count * CELL_LEN
        };
        queue.drain(..len).collect()
    }

    /// Relay `i` works on some of what came from the client's side.
    pub fn relay_in(&mut self, i: usize) {
        let mut run = self.take(true, i);
        if run.is_empty() || self.relay_errors[i].is_some() {
            return;
        }
        self.early[i] += run.chunks(CELL_LEN).filter(|cell| cell[0] == Command::RelayEarly as u8).count();
        let last = self.relays.len() - 1;
        let (relay, mut extend, mut create) = (&mut self.relays[i], None, None);
        let result = match &mut relay.stage {
            Stage::Circuit(circuit) => circuit.receive(&mut run, &mut |event| match event {
                RelayEvent::Create(request) => create = Some(request),
                RelayEvent::Hop(HopEvent::Extend(request)) => extend = Some(request),
                RelayEvent::Hop(event) => self.exit_seen.hop(event),
            }),
            Stage::Pumps(forward, _) => forward.process(&mut run),
            Stage::Gone => return,
        };
        if let Err(error) = result {
            // The circuit ends here, in both directions; nothing of the run goes on.
            relay.stage = Stage::Gone;
            self.relay_errors[i] = Some(error);
            return;
        }
        if let Some(request) = create {
            let Self { rng, relays, backward, .. } = self;
            let Relay {
                stage: Stage::Circuit(circuit),
                ring,
                ..
            } = &mut relays[i]
            else {
                return;
            };
            if let Err(error) = circuit.respond(rng, ring, NOW_S, &request, &mut backward[i]) {
                self.relay_errors[i] = Some(error);
            }
        } else if let Some(ExtendRequest { handshake, .. }) = extend {
            assert!(i < last, "extended past the end of the chain");
            write_fragments(Command::Create, &handshake, &mut self.forward[i + 1]).unwrap();
            self.relays[i].awaiting = Some(Assembler::new(Command::Created));
        } else if matches!(self.relays[i].stage, Stage::Pumps(..)) {
            self.forward[i + 1].extend_from_slice(&run);
        }
    }

    /// Relay `i` works on some of what came from relay `i + 1`.
    pub fn relay_back(&mut self, i: usize) {
        let mut run = self.take(false, i + 1);
        if run.is_empty() || self.relay_errors[i].is_some() {
            return;
        }
        let relay = &mut self.relays[i];
        let result = if let Some(assembler) = &mut relay.awaiting {
            match assembler.receive(&run) {
                Ok(None) => Ok(()),
                Ok(Some(reply)) => {
                    relay.awaiting = None;
                    let Stage::Circuit(circuit) = std::mem::replace(&mut relay.stage, Stage::Gone) else {
                        panic!("twice")
                    };
                    circuit
                        .extended(&reply, &mut self.backward[i])
                        .map(|(forward, backward)| relay.stage = Stage::Pumps(forward, backward))
                }
                Err(error) => Err(error.into()),
            }
        } else if let Stage::Pumps(_, backward) = &mut relay.stage {
            let result = backward.process(&mut run);
            if result.is_ok() {
                self.backward[i].extend_from_slice(&run);
            }
            result
        } else {
            Err(RelayError::State)
        };
        if let Err(error) = result {
            relay.stage = Stage::Gone;
            self.relay_errors[i] = Some(error);
        }
    }

    /// The client works on some of what came.
    pub fn client_in(&mut self) {
        let mut run = self.take(false, 0);
        if run.is_empty() || self.client_error.is_some() {
            return;
        }
        let seen = &mut self.seen;
        if let Err(error) = self
            .client
            .receive(&mut run, &mut self.rng, &mut self.forward[0], &mut |event| seen.client(event))
        {
            self.client_error = Some(error);
        }
    }

    pub fn flush(&mut self) {
        if self.client_error.is_none() {
            self.client.flush(Duration::ZERO, &mut self.forward[0]).unwrap();
        }
        let last = self.relays.len() - 1;
        if self.relay_errors[last].is_none()
            && let Stage::Circuit(circuit) = &mut self.relays[last].stage
            && let Ok(hop) = circuit.last_hop()
        {
            hop.flush(Duration::ZERO, &mut self.backward[last]).unwrap();
        }
    }

    /// Until nothing is on any wire.
    pub fn run(&mut self) {
        loop {
            self.flush();
            let last = self.relays.len() - 1;
            for i in 0..=last {
                self.relay_in(i);
            }
            for i in (0..last).rev() {
                self.relay_back(i);
            }
            self.client_in();
            if self.forward.iter().chain(&self.backward).all(Vec::is_empty) && !self.client.needs_flush() {
                self.flush();
                if self.backward.iter().all(Vec::is_empty) && self.forward[0].is_empty() {
                    return;
                }
            }
        }
    }

    /// The exit, and the wire that it writes on.
    pub fn exit(&mut self) -> (&mut anonnet_circuit::LastHop, &mut Vec<u8>) {
        let last = self.relays.len() - 1;
        (self.relays[last].circuit().last_hop().unwrap(), &mut self.backward[last])
    }

    /// A stream that both ends have connected.
    pub fn stream(&mut self) -> u16 {
        let target = Target {
            host: Host::Name("example.org"),
            port: 80,
        };
        let stream = self.client.begin(target, &mut self.forward[0]).unwrap();
        self.run();
        let (exit, out) = self.exit();
        exit.connected(stream, out).unwrap();
        self.run();
        assert!(self.seen.connected.contains(&stream));
        stream
    }
}

impl Seen {
    fn client(&mut self, event: Event<'_>) {
        match event {
            Event::HopReady(hop) => self.hops.push(hop),
            Event::Ready => self.ready = true,
            Event::Connected { stream } => self.connected.push(stream),
            Event::Data { stream, data } => self.data.entry(stream).or_default().extend_from_slice(data),
            Event::Finished { stream } => self.finished.push(stream),
            Event::Ended { stream, reason } => self.ended.push((stream, reason)),
            Event::Resolved { stream, answer } => self.resolved.push((stream, answer.reason, answer.addresses().count())),
            // Those of services have tests of their own.
            _ => {}
        }
    }

    fn hop(&mut self, event: HopEvent<'_>) {
        match event {
            HopEvent::Extend(_) => panic!("extend"),
            HopEvent::Begin { stream, .. } | HopEvent::BeginDir { stream } => self.begun.push(stream),
            HopEvent::Resolve { stream, name } => self.names.push((stream, name.to_owned())),
            HopEvent::Data { stream, data } => self.data.entry(stream).or_default().extend_from_slice(data),
            HopEvent::Finished { stream } => self.finished.push(stream),
            HopEvent::Ended { stream, reason } => self.ended.push((stream, reason)),
            _ => {}
        }
    }
}

/// Bytes that are the same for the same seed.
pub fn bytes(seed: u64, len: usize) -> Vec<u8> {
    let mut bytes = vec![0; len];
    ChaCha20Rng::seed_from_u64(seed).fill_bytes(&mut bytes);
    bytes
}
