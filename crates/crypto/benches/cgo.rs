//! The onion layers, per cell of 1104 bytes.

#![allow(clippy::unwrap_used, clippy::indexing_slicing, reason = "a bench stops where it fails")]

use anonnet_crypto::cgo::{ClientLayer, RelayLayer, client_originate, client_receive};
use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use std::hint::black_box;

const BODY_LEN: usize = 1084;

fn seed(hop: u8) -> [u8; 80] {
    std::array::from_fn(|at| hop.wrapping_mul(31).wrapping_add(at as u8))
}

fn cgo(c: &mut Criterion) {
    let mut group = c.benchmark_group("cgo");
    group.throughput(Throughput::Bytes(16 + BODY_LEN as u64));
    let (mut tag, mut body) = ([7u8; 16], [9u8; BODY_LEN]);

    let mut layer = RelayLayer::<BODY_LEN>::new(&seed(1));
    group.bench_function("relay-forward", |b| {
        b.iter(|| layer.forward(1, black_box(&mut tag), black_box(&mut body)))
    });
    let mut layer = RelayLayer::<BODY_LEN>::new(&seed(1));
    group.bench_function("relay-pass-back", |b| {
        b.iter(|| layer.pass_back(1, black_box(&mut tag), black_box(&mut body)))
    });
    let mut layer = RelayLayer::<BODY_LEN>::new(&seed(1));
    group.bench_function("relay-originate", |b| {
        b.iter(|| layer.originate(1, black_box(&mut tag), black_box(&mut body)))
    });
    let mut layer = ClientLayer::<BODY_LEN>::new(&seed(1));
    group.bench_function("client-peel", |b| {
        b.iter(|| layer.peel(1, black_box(&mut tag), black_box(&mut body)))
    });
    let mut layers: Vec<_> = (1..=3).map(|hop| ClientLayer::<BODY_LEN>::new(&seed(hop))).collect();
    group.bench_function("client-originate-3", |b| {
        b.iter(|| client_originate(&mut layers, 1, black_box(&mut tag), black_box(&mut body)));
    });

    // The last relay's and the client's work on a cell that is for them: the keys step with each.
    let mut relay = RelayLayer::<BODY_LEN>::new(&seed(1));
    let mut client = [ClientLayer::<BODY_LEN>::new(&seed(1))];
    group.bench_function("relay-originate+client-recognise", |b| {
        b.iter(|| {
            relay.originate(1, &mut tag, black_box(&mut body));
            client_receive(&mut client, 1, &mut tag, black_box(&mut body))
        });
    });

    let mut layer = RelayLayer::<BODY_LEN>::new(&seed(1));
    group.bench_function("relay-forward-after-rest", |b| {
        b.iter(|| {
            layer.rest();
            layer.forward(1, black_box(&mut tag), black_box(&mut body))
        });
    });
    group.finish();
}

criterion_group!(benches, cgo);
criterion_main!(benches);
