//! Published answers, and what must hold for any keys, cells and order of cells.

use super::{ClientLayer, RelayLayer, SEED_LEN, client_originate, client_receive, vectors};
use proptest::prelude::*;
use rand_chacha::ChaCha20Rng;
use rand_core::{Rng, SeedableRng};
use serde_json::Value;

const N: usize = 1084;

fn unhex<const L: usize>(value: &Value) -> [u8; L] {
    let text = value.as_str().unwrap();
    let bytes: Vec<u8> = (0..text.len())
        .step_by(2)
        .map(|at| u8::from_str_radix(&text[at..at + 2], 16).unwrap())
        .collect();
    bytes.try_into().unwrap()
}

fn unhex_byte(value: &Value) -> u8 {
    unhex::<1>(value)[0]
}

fn parts(value: &Value) -> vectors::Parts {
    (unhex(&value[0]), unhex(&value[1]), unhex(&value[2]))
}

fn cases<'a>(file: &'a Value, section: &str, count: usize) -> impl Iterator<Item = &'a Value> {
    let cases = file[section]["vectors"].as_array().unwrap();
    assert_eq!(cases.len(), count);
    cases.iter()
}

fn short_cells() -> Value {
    serde_json::from_str(include_str!("../../../../test/fixtures/cgo.json")).unwrap()
}

#[test]
fn published_answers_of_the_parts() {
    let file = short_cells();
    for case in cases(&file, "et", 20) {
        let tweak: [u8; 16 + 1 + 493] = unhex(&case[2]);
        let (tag, body) = (tweak[..16].try_into().unwrap(), tweak[17..].try_into().unwrap());
        let out = vectors::et::<493>(case[0].as_bool().unwrap(), &unhex(&case[1]), tag, tweak[16], body, &unhex(&case[3]));
        assert_eq!(out, unhex(&case[4]));
    }
    for case in cases(&file, "prf", 20) {
        match case[1].as_u64().unwrap() {
            0 => assert_eq!(vectors::prf_body::<493>(&unhex(&case[0]), &unhex(&case[2])), unhex(&case[3])),
            _ => assert_eq!(vectors::prf_next::<493>(&unhex(&case[0]), &unhex(&case[2])), unhex(&case[3])),
        }
    }
    for case in cases(&file, "uiv", 12) {
        let (keys, header): ([u8; 64], [u8; 17]) = (unhex(&case[1]), unhex(&case[2]));
        let from = (keys, [0xee; 16], header[..16].try_into().unwrap());
        let (mut tag, mut body): ([u8; 16], [u8; 493]) = (unhex(&case[3]), unhex(&case[4]));
        if case[0].as_bool().unwrap() {
            vectors::relay(&from).pass_back(header[16], &mut tag, &mut body);
        } else {
            vectors::client(&from).peel(header[16], &mut tag, &mut body);
        }
        assert_eq!((tag, body), (unhex(&case[5][0]), unhex(&case[5][1])));
    }
}

#[test]
fn published_answers_of_relays_and_clients() {
    let file = short_cells();
    for case in cases(&file, "relay", 12) {
        let mut relay = vectors::relay::<493>(&parts(&case[1]));
        let (mut tag, mut body): ([u8; 16], [u8; 493]) = (unhex(&case[3]), unhex(&case[4]));
        // Not inbound is away from the client; inbound cells of this file only pass.
        if case[0].as_bool().unwrap() {
            relay.pass_back(unhex_byte(&case[2]), &mut tag, &mut body);
        } else {
            relay.forward(unhex_byte(&case[2]), &mut tag, &mut body);
        }
        assert_eq!((tag, body), (unhex(&case[5][1][0]), unhex(&case[5][1][1])));
        assert_eq!(vectors::relay_parts(&relay), parts(&case[5][0]));
    }
    for case in cases(&file, "client_originate", 14) {
        let hops = |value: &Value| -> Vec<vectors::Parts> { value.as_array().unwrap().iter().map(parts).collect() };
        let mut layers: Vec<_> = hops(&case[0]).iter().map(vectors::client::<493>).collect();
        let to = case[1].as_u64().unwrap() as usize;
        let (mut tag, mut body) = ([0xee; 16], unhex(&case[3]));
        client_originate(&mut layers[..to], unhex_byte(&case[2]), &mut tag, &mut body);
        assert_eq!((tag, body), (unhex(&case[4][1][0]), unhex(&case[4][1][1])));
        assert_eq!(layers.iter().map(vectors::client_parts).collect::<Vec<_>>(), hops(&case[4][0]));
    }
}

#[test]
fn published_answers_of_long_cells() {
    let file: Value = serde_json::from_str(include_str!("../../../../test/fixtures/cgo-1084.json")).unwrap();
    for (direction, forward) in [("forward", true), ("backward", false)] {
        for case in file[direction].as_array().unwrap() {
            let seeds: Vec<[u8; SEED_LEN]> = case["seeds"].as_array().unwrap().iter().map(unhex).collect();
            let mut circuit = Circuit::new(&seeds);
            for cell in case["cells"].as_array().unwrap() {
                let (command, message): (u8, [u8; N]) = (unhex_byte(&cell["command"]), unhex(&cell["message"]));
                let wire = if forward {
                    circuit.send(2, command, &message)
                } else {
                    circuit.answer(2, command, &message)
                };
                let expected: [u8; 16 + N] = unhex(&cell["wire"]);
                assert_eq!(
                    (wire.0, wire.1),
                    (expected[..16].try_into().unwrap(), expected[16..].try_into().unwrap())
                );
                let arrived = if forward {
                    circuit.deliver(command, wire)
                } else {
                    circuit.receive(command, wire)
                };
                assert_eq!(arrived, Some((2, message)));
            }
        }
    }
}

type Wire = ([u8; 16], [u8; N]);

/// One direction's layers at both ends; each test uses it in one direction only.
struct Circuit {
    client: Vec<ClientLayer<N>>,
    relays: Vec<RelayLayer<N>>,
}

impl Circuit {
    fn new(seeds: &[[u8; SEED_LEN]]) -> Self {
        Self {
            client: seeds.iter().map(ClientLayer::new).collect(),
            relays: seeds.iter().map(RelayLayer::new).collect(),
        }
    }

    fn random(hops: usize, rng: &mut ChaCha20Rng) -> Self {
        let seeds: Vec<_> = (0..hops).map(|_| random(rng)).collect();
        Self::new(&seeds)
    }

    /// The client's cell for a hop, as the first relay gets it.
    fn send(&mut self, hop: usize, command: u8, message: &[u8; N]) -> Wire {
        let (mut tag, mut body) = ([0; 16], *message);
        client_originate(&mut self.client[..=hop], command, &mut tag, &mut body);
        (tag, body)
    }

    /// Through the relays until one takes it.
    fn deliver(&mut self, command: u8, (mut tag, mut body): Wire) -> Option<(usize, [u8; N])> {
        self.relays
            .iter_mut()
            .position(|relay| relay.forward(command, &mut tag, &mut body))
            .map(|hop| (hop, body))
    }

    /// A hop's cell for the client, as the client gets it.
    fn answer(&mut self, hop: usize, command: u8, message: &[u8; N]) -> Wire {
        let (mut tag, mut body) = ([0; 16], *message);
        self.relays[hop].originate(command, &mut tag, &mut body);
        for relay in self.relays[..hop].iter_mut().rev() {
            relay.pass_back(command, &mut tag, &mut body);
        }
        (tag, body)
    }

    fn receive(&mut self, command: u8, (mut tag, mut body): Wire) -> Option<(usize, [u8; N])> {
        client_receive(&mut self.client, command, &mut tag, &mut body).map(|hop| (hop, body))
    }

    fn rest(&mut self, which: u32) {
        for (at, layer) in self.client.iter_mut().enumerate() {
            if which & (1 << at) != 0 {
                layer.rest();
            }
        }
        for (at, layer) in self.relays.iter_mut().enumerate() {
            if which & (16 << at) != 0 {
                layer.rest();
            }
        }
    }
}

fn random<const L: usize>(rng: &mut ChaCha20Rng) -> [u8; L] {
    let mut out = [0; L];
    rng.fill_bytes(&mut out);
    out
}

/// How many bits of two bodies differ.
fn distance(a: &[u8; N], b: &[u8; N]) -> u32 {
    a.iter().zip(b).map(|(a, b)| (a ^ b).count_ones()).sum()
}

/// Half of 8672 bits, give or take far more than chance ever does.
fn unrelated(a: &[u8; N], b: &[u8; N]) -> bool {
    (3800..4900).contains(&distance(a, b))
}

/// A place in a cell: of the tag, the body, or the command's two values (1 RELAY, 2 RELAY_EARLY).
#[derive(Clone, Copy, Debug)]
enum Touch {
    Tag(usize, u8),
    Body(usize, u8),
    Command,
}

fn touch() -> impl Strategy<Value = Touch> {
    prop_oneof![
        (0..16usize, 0..8u8).prop_map(|(at, bit)| Touch::Tag(at, bit)),
        (0..N, 0..8u8).prop_map(|(at, bit)| Touch::Body(at, bit)),
        Just(Touch::Command),
    ]
}

impl Touch {
    fn apply(self, command: &mut u8, wire: &mut Wire) {
        match self {
            Self::Tag(at, bit) => wire.0[at] ^= 1 << bit,
            Self::Body(at, bit) => wire.1[at] ^= 1 << bit,
            Self::Command => *command ^= 3,
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    /// Long random sequences, for and from any hop, both ends resting now and then.
    #[test]
    fn both_ends_agree(hops in 1..=4usize, seed in any::<u64>()) {
        let mut rng = ChaCha20Rng::seed_from_u64(seed);
        let mut outward = Circuit::random(hops, &mut rng);
        let mut inward = Circuit::random(hops, &mut rng);
        for _ in 0..60 {
            let hop = rng.next_u32() as usize % hops;
            let command = 1 + (rng.next_u32() % 2) as u8;
            let message = random(&mut rng);
            let wire = outward.send(hop, command, &message);
            prop_assert!(unrelated(&wire.1, &message));
            prop_assert_eq!(outward.deliver(command, wire), Some((hop, message)));
            let wire = inward.answer(hop, command, &message);
            prop_assert!(unrelated(&wire.1, &message));
            prop_assert_eq!(inward.receive(command, wire), Some((hop, message)));
            outward.rest(rng.next_u32());
            inward.rest(rng.next_u32());
        }
    }

    /// Whatever is touched on whichever link on the way out: the last hop sees noise, and never again anything else.
    #[test]
    fn a_touched_cell_and_all_later_ones_never_arrive(
        hops in 1..=4usize, link in 0..4usize, before in 0..3usize, touch in touch(), seed in any::<u64>(),
    ) {
        let mut rng = ChaCha20Rng::seed_from_u64(seed);
        let mut circuit = Circuit::random(hops, &mut rng);
        for _ in 0..before {
            let message = random(&mut rng);
            let wire = circuit.send(hops - 1, 1, &message);
            prop_assert!(circuit.deliver(1, wire).is_some());
        }
        let message = random(&mut rng);
        let mut wire = circuit.send(hops - 1, 1, &message);
        let mut command = 1;
        for (hop, relay) in circuit.relays.iter_mut().enumerate() {
            if hop == link % hops {
                touch.apply(&mut command, &mut wire);
            }
            prop_assert!(!relay.forward(command, &mut wire.0, &mut wire.1), "recognised at {hop}");
        }
        prop_assert!(unrelated(&wire.1, &message));
        for _ in 0..4 {
            let hop = rng.next_u32() as usize % hops;
            let mut wire = circuit.send(hop, 1, &message);
            for (hop, relay) in circuit.relays.iter_mut().enumerate() {
                // Hops before the touched link are as they were, and take what is for them.
                let taken = relay.forward(1, &mut wire.0, &mut wire.1);
                prop_assert!(!taken || hop < link % hops);
                if taken {
                    break;
                }
            }
        }
    }

    /// The same on the way in: the client never takes it for a cell of any hop, nor any cell after it that crosses that link.
    /// (It sees the touched bit in the body, for it decrypts; what it goes by is the tag.)
    #[test]
    fn a_touched_answer_and_all_later_ones_never_arrive(
        hops in 1..=4usize, link in 0..4usize, before in 0..3usize, touch in touch(), seed in any::<u64>(),
    ) {
        let mut rng = ChaCha20Rng::seed_from_u64(seed);
        let mut circuit = Circuit::random(hops, &mut rng);
        for _ in 0..before {
            let message = random(&mut rng);
            let wire = circuit.answer(hops - 1, 1, &message);
            prop_assert!(circuit.receive(1, wire).is_some());
        }
        let message = random(&mut rng);
        let link = link % hops;
        let (mut wire, mut command) = (([0; 16], message), 1);
        circuit.relays[hops - 1].originate(1, &mut wire.0, &mut wire.1);
        for hop in (0..hops).rev() {
            if hop == link {
                touch.apply(&mut command, &mut wire);
            }
            if hop > 0 {
                circuit.relays[hop - 1].pass_back(command, &mut wire.0, &mut wire.1);
            }
        }
        for layer in &mut circuit.client {
            prop_assert!(!layer.peel(command, &mut wire.0, &mut wire.1));
        }
        for _ in 0..4 {
            let wire = circuit.answer(hops - 1, 1, &message);
            prop_assert_eq!(circuit.receive(1, wire), None);
        }
    }

    /// A cell dropped, repeated, or exchanged with the next one.
    #[test]
    fn order_is_part_of_the_key(hops in 1..=4usize, what in 0..3u8, seed in any::<u64>()) {
        let mut rng = ChaCha20Rng::seed_from_u64(seed);
        let mut circuit = Circuit::random(hops, &mut rng);
        let message = random(&mut rng);
        let first = circuit.send(hops - 1, 1, &message);
        let second = circuit.send(hops - 1, 1, &message);
        let wrong = match what {
            0 => second,
            1 => {
                prop_assert!(circuit.deliver(1, first).is_some());
                first
            }
            _ => {
                prop_assert_eq!(circuit.deliver(1, second), None);
                first
            }
        };
        prop_assert_eq!(circuit.deliver(1, wrong), None);
        for _ in 0..3 {
            let next = circuit.send(hops - 1, 1, &message);
            prop_assert_eq!(circuit.deliver(1, next), None);
        }
    }
}

/// Every single bit of one cell, through one hop (the property tests sample; this does not).
#[test]
fn no_bit_can_be_touched() {
    let seeds = [[0x51; SEED_LEN]];
    let message = [0x22; N];
    let wire = Circuit::new(&seeds).send(0, 1, &message);
    for bit in 0..8 * (16 + N) {
        let (mut tag, mut body) = wire;
        match bit.checked_sub(128) {
            None => tag[bit / 8] ^= 1 << (bit % 8),
            Some(bit) => body[bit / 8] ^= 1 << (bit % 8),
        }
        assert!(!RelayLayer::new(&seeds[0]).forward(1, &mut tag, &mut body), "bit {bit}");
        assert!(unrelated(&body, &message), "bit {bit}");
    }
}

#[test]
fn the_keys_step_with_every_cell() {
    let mut relay = RelayLayer::<N>::new(&[3; SEED_LEN]);
    let mut seen = std::collections::HashSet::new();
    for _ in 0..50 {
        let (mut tag, mut body) = ([0; 16], [0; N]);
        relay.originate(1, &mut tag, &mut body);
        let (keys, nonce, last) = vectors::relay_parts(&relay);
        assert!(seen.insert(keys) && last == tag && nonce != tag);
        assert!(seen.insert(body[..64].try_into().unwrap()), "key stream repeats");
    }
}

#[test]
fn nothing_prints_keys_and_an_empty_circuit_sends_nothing() {
    assert_eq!(format!("{:?}", RelayLayer::<N>::new(&[3; SEED_LEN])), "RelayLayer<1084>(..)");
    assert_eq!(format!("{:?}", ClientLayer::<N>::new(&[3; SEED_LEN])), "ClientLayer<1084>(..)");
    let (mut tag, mut body) = ([1; 16], [2; N]);
    client_originate::<N>(&mut [], 1, &mut tag, &mut body);
    assert_eq!((tag, body), ([1; 16], [2; N]));
    assert_eq!(client_receive::<N>(&mut [], 1, &mut tag, &mut body), None);
}

/// What a circuit costs while it is idle; docs/performance.md names these.
#[test]
fn a_layer_is_small() {
    assert_eq!(size_of::<RelayLayer<N>>(), 104);
    assert_eq!(size_of::<ClientLayer<N>>(), 104);
}
