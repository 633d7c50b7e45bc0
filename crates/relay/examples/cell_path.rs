//! What `npm run regress` counts instructions of: every step of a cell's way, each in a function of its own that callgrind can tell apart.
//! No sockets, no clock, one seed: the same build does the same work each time.
//!
//! `cell_path RUNS` moves so many runs of 32 full cells up and down a circuit of three hops.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing, clippy::panic)]

#[path = "../tests/support/mod.rs"]
mod support;

use anonnet_cells::{BodyWriter, CELL_LEN, Command, Kind, MAX_DATA, Message, Messages, append, cells, split};
use anonnet_circuit::{Event, HopEvent};
use anonnet_relay::{BackwardPump, ForwardPump, RelayEvent};
use std::hint::black_box;
use support::{Chain, Stage};

/// Cells of a run. The script divides by it.
const RUN: usize = 32;

#[inline(never)]
fn stage_codec_write(data: &[u8], out: &mut Vec<u8>) {
    for seq in 1..=RUN as u32 {
        append(out, Command::Relay, |_, body| {
            BodyWriter::new(body).push(&Message {
                kind: Kind::Data,
                stream: 1,
                seq,
                more: false,
                data,
            })
        })
        .unwrap();
    }
}

#[inline(never)]
fn stage_codec_read(run: &mut [u8]) -> usize {
    let mut bytes = 0;
    for cell in cells(run).unwrap() {
        for message in Messages::new(split(cell).unwrap().body) {
            bytes += message.unwrap().data.len();
        }
    }
    bytes
}

#[inline(never)]
fn stage_relay_pass_back(pump: &mut BackwardPump, run: &mut [u8]) {
    pump.process(run).unwrap();
}

#[inline(never)]
fn stage_relay_pass_forward(pump: &mut ForwardPump, run: &mut [u8]) {
    pump.process(run).unwrap();
}

#[inline(never)]
fn stage_relay_originate(chain: &mut Chain, stream: u16, data: &[u8], run: &mut Vec<u8>) -> usize {
    chain.exit().0.send(stream, data, run).unwrap()
}

#[inline(never)]
fn stage_relay_recognise(chain: &mut Chain, run: &mut [u8]) -> usize {
    let mut bytes = 0;
    let received = chain.relays[2].circuit().receive(run, &mut |event| {
        if let RelayEvent::Hop(HopEvent::Data { data, .. }) = event {
            bytes += data.len();
        }
    });
    received.unwrap();
    bytes
}

#[inline(never)]
fn stage_client_originate(chain: &mut Chain, stream: u16, data: &[u8], run: &mut Vec<u8>) -> usize {
    chain.client.send(stream, data, run).unwrap()
}

#[inline(never)]
fn stage_client_recognise(chain: &mut Chain, run: &mut [u8]) -> usize {
    let Chain { client, rng, forward, .. } = chain;
    let mut bytes = 0;
    let received = client.receive(run, rng, &mut forward[0], &mut |event| {
        if let Event::Data { data, .. } = event {
            bytes += data.len();
        }
    });
    received.unwrap();
    bytes
}

fn pumps(chain: &mut Chain, relay: usize) -> (&mut ForwardPump, &mut BackwardPump) {
    let Stage::Pumps(forward, backward) = &mut chain.relays[relay].stage else {
        panic!("not extended")
    };
    (forward, backward)
}

fn download(chain: &mut Chain, stream: u16, data: &[u8], run: &mut Vec<u8>) {
    run.clear();
    assert_eq!(stage_relay_originate(chain, stream, data, run), data.len());
    stage_relay_pass_back(pumps(chain, 1).1, run);
    stage_relay_pass_back(pumps(chain, 0).1, run);
    assert_eq!(stage_client_recognise(chain, run), data.len());
    chain.client.consumed(stream, data.len()).unwrap();
    chain.run();
}

fn upload(chain: &mut Chain, stream: u16, data: &[u8], run: &mut Vec<u8>) {
    run.clear();
    assert_eq!(stage_client_originate(chain, stream, data, run), data.len());
    stage_relay_pass_forward(pumps(chain, 0).0, run);
    stage_relay_pass_forward(pumps(chain, 1).0, run);
    assert_eq!(stage_relay_recognise(chain, run), data.len());
    chain.exit().0.consumed(stream, data.len()).unwrap();
    chain.run();
}

fn main() {
    let runs: usize = std::env::args()
        .nth(1)
        .and_then(|text| text.parse().ok())
        .expect("how many runs of 32 cells");
    let mut chain = Chain::ready(1, 3);
    let stream = chain.stream();
    let data = vec![7; RUN * MAX_DATA];
    let mut run = Vec::with_capacity(RUN * CELL_LEN);
    for _ in 0..runs {
        download(&mut chain, stream, &data, &mut run);
        upload(&mut chain, stream, &data, &mut run);
        run.clear();
        stage_codec_write(black_box(&data[..MAX_DATA]), &mut run);
        assert_eq!(stage_codec_read(black_box(&mut run)), RUN * MAX_DATA);
    }
}
