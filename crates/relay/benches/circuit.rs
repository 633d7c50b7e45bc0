//! What a cell costs at each end and in the middle of a circuit of three hops: layers, messages, credit; no sockets.

#![allow(clippy::unwrap_used, clippy::indexing_slicing, clippy::panic)]

#[path = "../tests/support/mod.rs"]
mod support;

use anonnet_cells::{CELL_LEN, MAX_DATA};
use anonnet_circuit::{Event, HopEvent};
use anonnet_relay::RelayEvent;
use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use std::time::{Duration, Instant};
use support::{Chain, Stage};

const RUN: usize = 32;

/// The stages of one direction, in the order in which a cell meets them.
const STAGES: [&str; 4] = ["send", "guard", "middle", "receive"];

/// Moves a run of full cells over the circuit, and times one of the stages.
fn run(chain: &mut Chain, stream: u16, data: &[u8], upload: bool, timed: usize) -> Duration {
    let mut times = [Duration::ZERO; 4];
    let mut run = Vec::with_capacity(RUN * CELL_LEN);
    let start = Instant::now();
    let sent = if upload {
        chain.client.send(stream, data, &mut run)
    } else {
        chain.exit().0.send(stream, data, &mut run)
    };
    times[0] = start.elapsed();
    assert_eq!(sent, Ok(data.len()));
    for stage in [1, 2] {
        let relay = if upload { stage - 1 } else { 2 - stage };
        let Stage::Pumps(forward, backward) = &mut chain.relays[relay].stage else {
            panic!("not extended")
        };
        let start = Instant::now();
        let result = if upload {
            forward.process(&mut run)
        } else {
            backward.process(&mut run)
        };
        times[if upload { stage } else { 3 - stage }] = start.elapsed();
        assert_eq!(result, Ok(()));
    }
    let mut bytes = 0;
    if upload {
        let start = Instant::now();
        let result = chain.relays[2].circuit().receive(&mut run, &mut |event| {
            if let RelayEvent::Hop(HopEvent::Data { data, .. }) = event {
                bytes += data.len();
            }
        });
        times[3] = start.elapsed();
        assert_eq!(result, Ok(()));
        chain.exit().0.consumed(stream, bytes).unwrap();
    } else {
        let Chain { client, rng, forward, .. } = &mut *chain;
        let start = Instant::now();
        let result = client.receive(&mut run, rng, &mut forward[0], &mut |event| {
            if let Event::Data { data, .. } = event {
                bytes += data.len();
            }
        });
        times[3] = start.elapsed();
        assert_eq!(result, Ok(()));
        chain.client.consumed(stream, bytes).unwrap();
    }
    assert_eq!(bytes, data.len());
    chain.run();
    times[timed]
}

fn circuit(criterion: &mut Criterion) {
    let data = vec![7; RUN * MAX_DATA];
    for (name, upload) in [("upload", true), ("download", false)] {
        let mut group = criterion.benchmark_group(format!("circuit {name}"));
        group.throughput(Throughput::Bytes((RUN * CELL_LEN) as u64));
        for (timed, stage) in STAGES.iter().enumerate() {
            let mut chain = Chain::ready(1, 3);
            let stream = chain.stream();
            group.bench_function(format!("{stage} {RUN} cells"), |bencher| {
                bencher.iter_custom(|count| (0..count).map(|_| run(&mut chain, stream, &data, upload, timed)).sum());
            });
        }
        group.finish();
    }
}

criterion_group!(benches, circuit);
criterion_main!(benches);
