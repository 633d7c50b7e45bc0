//! AES-256-GCM records, for comparison with the onion layers and for what the public `seal` costs.

#![allow(clippy::unwrap_used, clippy::indexing_slicing, reason = "a bench stops where it fails")]

use anonnet_crypto::record::{LongLivedKey, Role, SessionKey};
use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use rand_chacha::ChaCha20Rng;
use rand_core::SeedableRng;
use std::hint::black_box;
use zeroize::Zeroizing;

fn aead(c: &mut Criterion) {
    let mut group = c.benchmark_group("aead");
    let text = [5u8; 1104];
    group.throughput(Throughput::Bytes(text.len() as u64));

    let split = |role| {
        SessionKey::new(Zeroizing::new([1; 32]), 0, u64::MAX)
            .and_then(|key| key.split(role))
            .unwrap()
    };
    let ((mut sealer, _), (_, mut opener)) = (split(Role::Initiator), split(Role::Responder));
    group.bench_function("session-seal", |b| b.iter(|| sealer.seal(0, b"", black_box(&text)).unwrap()));
    let (mut sealer, _) = split(Role::Initiator);
    group.bench_function("session-seal+open", |b| {
        b.iter(|| {
            let message = sealer.seal(0, b"", black_box(&text)).unwrap();
            opener.open(0, b"", &message).unwrap()
        });
    });
    let key = LongLivedKey::new(Zeroizing::new([2; 32]));
    let mut rng = ChaCha20Rng::from_seed([3; 32]);
    group.bench_function("long-lived-seal", |b| {
        b.iter(|| key.seal(&mut rng, "anonnet:1:bench", b"", black_box(&text)).unwrap());
    });
    group.finish();
}

criterion_group!(benches, aead);
criterion_main!(benches);
