//! The circuit handshake: the client's two halves and the relay's answer.

#![allow(clippy::unwrap_used, clippy::indexing_slicing, reason = "a bench stops where it fails")]

use anonnet_crypto::handshake::{ClientHandshake, relay_respond};
use anonnet_crypto::keys::{CircuitKey, CircuitKeyRing, NodeId};
use criterion::{BatchSize, Criterion, criterion_group, criterion_main};
use rand_chacha::ChaCha20Rng;
use rand_core::SeedableRng;

fn handshake(c: &mut Criterion) {
    let mut group = c.benchmark_group("handshake");
    let mut rng = ChaCha20Rng::from_seed([1; 32]);
    let id = NodeId([1; 32]);
    let ring = CircuitKeyRing::new(CircuitKey::generate(&mut rng), 0);
    let onion_key = *ring.current_public();

    let mut start_rng = rng.clone();
    group.bench_function("client-start", |b| {
        b.iter(|| ClientHandshake::start(&mut start_rng, &id, &onion_key, b"").unwrap());
    });
    let (_, request) = ClientHandshake::start(&mut rng, &id, &onion_key, b"").unwrap();
    group.bench_function("relay-respond", |b| {
        b.iter(|| relay_respond(&mut rng, &id, &ring, 0, &request, |_| Vec::new()).unwrap());
    });
    let mut forged = request.clone();
    forged[70] ^= 1;
    group.bench_function("relay-refuse", |b| {
        b.iter(|| relay_respond(&mut rng, &id, &ring, 0, &forged, |_| Vec::new()).unwrap_err());
    });
    let mut finish_rng = rng.clone();
    group.bench_function("client-finish", |b| {
        b.iter_batched(
            || {
                let (client, request) = ClientHandshake::start(&mut finish_rng, &id, &onion_key, b"").unwrap();
                let (_, reply) = relay_respond(&mut finish_rng, &id, &ring, 0, &request, |_| Vec::new()).unwrap();
                (client, reply)
            },
            |(client, reply)| client.finish(&reply).unwrap(),
            BatchSize::SmallInput,
        );
    });
    group.finish();
}

criterion_group!(benches, handshake);
criterion_main!(benches);
