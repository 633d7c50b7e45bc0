//! Both ends of a circuit against a peer that knows its keys: every message is recognised, and none need be right. The application's side
//! does what it likes in between.
#![no_main]

use std::collections::HashMap;
use std::time::Duration;

use anonnet_cells::{
    Assembler, BODY_LEN, Body, BodyWriter, CELL_LEN, CellError, Command, EndReason, Host, Kind, Message, Target, append, write_fragments,
};
use anonnet_circuit::limits::{INITIAL_WINDOW, MAX_CIRCUIT_CREDIT, MAX_STREAMS};
use anonnet_circuit::{ClientCircuit, Event, Hop, HopEvent, LastHop};
use anonnet_crypto::cgo::{ClientLayer, RelayLayer, client_originate};
use anonnet_crypto::handshake::{HopSecrets, relay_respond};
use anonnet_crypto::keys::{CircuitKey, CircuitKeyRing, NodeId};
use anonnet_fuzz::{Input, rng};
use libfuzzer_sys::fuzz_target;

/// The peer's next cell, before it is sealed.
fn body(input: &mut Input<'_>, seq: &mut u32) -> (Command, Body) {
    let mut body: Body = [0; BODY_LEN];
    let shape = input.byte();
    let command = if shape & 0x40 == 0 { Command::Relay } else { Command::RelayEarly };
    if shape & 0x80 != 0 {
        let length = usize::from(input.u16()) % (BODY_LEN + 1);
        let bytes = input.take(length);
        body[..bytes.len()].copy_from_slice(bytes);
        return (command, body);
    }
    let mut writer = BodyWriter::new(&mut body);
    for _ in 0..=shape % 4 {
        let Ok(kind) = Kind::try_from(input.byte()) else { continue };
        let (stream, odd) = (u16::from(input.byte() % 8), input.byte());
        let length = usize::from(input.byte()) * if odd & 2 == 0 { 1 } else { 4 };
        let data = input.take(length);
        let right = if kind.changes_stream() { *seq + 1 } else { 0 };
        let said = if odd < 250 { right } else { u32::from(odd) };
        let more = odd & 1 != 0 && kind.comes_in_parts();
        let message = Message {
            kind,
            stream,
            seq: said,
            more,
            data,
        };
        if writer.push(&message).is_ok() && said != 0 {
            *seq = said;
        }
    }
    (command, body)
}

/// What came and was not taken, by stream: never more than the credit.
#[derive(Default)]
struct Held(HashMap<u16, u64>);

impl Held {
    fn add(&mut self, stream: u16, bytes: usize) {
        *self.0.entry(stream).or_default() += bytes as u64;
        let all: u64 = self.0.values().sum();
        assert!(all <= MAX_CIRCUIT_CREDIT + MAX_STREAMS as u64 * INITIAL_WINDOW);
    }

    fn take(&mut self, stream: u16) -> usize {
        usize::try_from(self.0.remove(&stream).unwrap_or_default()).unwrap()
    }
}

macro_rules! application {
    ($end:expr, $input:expr, $held:expr, $out:expr) => {{
        let (what, stream) = ($input.byte(), u16::from($input.byte() % 8));
        match what % 8 {
            0 => _ = $end.send(stream, &[7; 3000][..usize::from($input.u16()) % 3000], $out),
            1 => _ = $end.finish(stream, $out),
            2 => {
                $held.0.remove(&stream);
                _ = $end.reset(stream, EndReason::Cancelled, $out);
            }
            3 => $end.consumed(stream, $held.take(stream)).unwrap(),
            4 => _ = $end.flush(Duration::from_millis($input.u16().into()), $out),
            5 => _ = $end.consumed(stream, usize::from(u16::MAX) * 64),
            _ => {}
        }
        assert_eq!($out.len() % CELL_LEN, 0);
        $out.clear();
    }};
}

fn client(input: &mut Input<'_>) {
    let mut rng = rng();
    let key = CircuitKey::generate(&mut rng);
    let hop = Hop {
        node_id: NodeId([5; 32]),
        onion_key: *key.public(),
        address: "1.2.3.4:5".parse().unwrap(),
    };
    let ring = CircuitKeyRing::new(key, 0);
    let two = input.byte() % 8 == 0;
    let path = vec![hop.clone(); 1 + usize::from(two)];
    let (mut circuit, out) = (ClientCircuit::new(path).unwrap(), &mut Vec::new());
    circuit.start(&mut rng, out).unwrap();
    let request = Assembler::new(Command::Create).receive(out).unwrap().unwrap();
    let (secrets, reply) = relay_respond(&mut rng, &hop.node_id, &ring, 0, &request, |_| Vec::new()).unwrap();
    out.clear();
    let mut run = Vec::new();
    write_fragments(Command::Created, &reply, &mut run).unwrap();
    circuit.receive(&mut run, &mut rng, out, &mut |_| {}).unwrap();
    out.clear();
    let mut layer: RelayLayer<BODY_LEN> = RelayLayer::new(&secrets.backward);
    let (mut seq, mut held) = (0, Held::default());
    while !input.is_empty() {
        match input.byte() % 8 {
            0 => {
                _ = circuit.begin(
                    Target {
                        host: Host::Name("a.test"),
                        port: 1,
                    },
                    out,
                )
            }
            1 => _ = circuit.begin_dir(out),
            2 if input.byte() % 2 == 0 => _ = circuit.establish_rendezvous(&[4; 20], out),
            2 => _ = circuit.resolve("a.test", out),
            3 | 4 => application!(circuit, input, held, out),
            _ => {
                let (command, content) = body(input, &mut seq);
                let mut run = Vec::new();
                append::<(), CellError>(&mut run, command, |tag, body| {
                    *body = content;
                    layer.originate(command as u8, tag, body);
                    Ok(())
                })
                .unwrap();
                let heard = circuit.receive(&mut run, &mut rng, out, &mut |event| match event {
                    Event::Data { stream, data } => held.add(stream, data.len()),
                    Event::Ended { stream, .. } => _ = held.take(stream),
                    _ => {}
                });
                if heard.is_err() {
                    return;
                }
            }
        }
    }
    assert!(circuit.open_streams() <= MAX_STREAMS);
}

fn last_hop(input: &mut Input<'_>) {
    let secrets = HopSecrets {
        forward: [1; 80],
        backward: [2; 80],
        bind: [3; 32],
        resume: [4; 32],
    };
    let mut hop = LastHop::new(&secrets);
    let mut layers: [ClientLayer<BODY_LEN>; 1] = [ClientLayer::new(&secrets.forward)];
    let (mut seq, mut held, out) = (0, Held::default(), &mut Vec::new());
    while !input.is_empty() {
        match input.byte() % 8 {
            0 => _ = hop.connected(u16::from(input.byte() % 8), out),
            1 => _ = hop.refuse(u16::from(input.byte() % 8), EndReason::Policy, out),
            2 => _ = hop.resolved(u16::from(input.byte() % 8), &[[9, 9, 9, 9].into()], out),
            3 | 4 => application!(hop, input, held, out),
            _ => {
                let (command, content) = body(input, &mut seq);
                let mut run = Vec::new();
                append::<(), CellError>(&mut run, command, |tag, body| {
                    *body = content;
                    client_originate(&mut layers, command as u8, tag, body);
                    Ok(())
                })
                .unwrap();
                let heard = hop.receive(&mut run, &mut |event| match event {
                    HopEvent::Data { stream, data } => held.add(stream, data.len()),
                    HopEvent::Ended { stream, .. } => _ = held.take(stream),
                    _ => {}
                });
                if heard.is_err() {
                    return;
                }
            }
        }
    }
    assert!(hop.open_streams() <= MAX_STREAMS);
}

/// Cells that nobody sealed.
fn raw(input: &mut Input<'_>) {
    let secrets = HopSecrets {
        forward: [1; 80],
        backward: [2; 80],
        bind: [3; 32],
        resume: [4; 32],
    };
    let mut run = input.0.to_vec();
    let heard = LastHop::new(&secrets).receive(&mut run, &mut |event| panic!("{event:?}"));
    assert!(heard.is_err() || run.is_empty());
}

fuzz_target!(|data: &[u8]| {
    let mut input = Input(data);
    match input.byte() % 4 {
        0 => client(&mut input),
        1 | 2 => last_hop(&mut input),
        _ => raw(&mut input),
    }
});
