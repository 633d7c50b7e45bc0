//! Whole circuits in memory: a client, relays, an exit, with real cryptography and any grouping of cells into runs.

#![allow(clippy::unwrap_used, clippy::indexing_slicing, clippy::print_stdout)]

mod support;

use anonnet_cells::{CELL_LEN, EndReason, Host, Target};
use anonnet_circuit::limits::{INITIAL_WINDOW, MAX_HOPS};
use anonnet_circuit::{ClientCircuit, LastHop, StreamError};
use anonnet_relay::{BackwardPump, ForwardPump, RelayCircuit};
use proptest::prelude::*;
use support::{Chain, Stage, bytes};

#[test]
fn circuits_of_every_length_are_built_with_two_relay_early_cells_a_hop() {
    for hops in 1..=MAX_HOPS {
        let mut chain = Chain::ready(hops as u64, hops);
        assert_eq!(chain.seen.hops, (0..hops).collect::<Vec<_>>());
        // What passes wire i is for the relays from i on, each of which but the last extends once.
        let expected: Vec<_> = (0..hops).map(|i| 2 * (hops - 1 - i)).collect();
        assert_eq!(chain.early, expected);
        let stream = chain.stream();
        assert_eq!(chain.client.send(stream, b"hello", &mut chain.forward[0]), Ok(5));
        chain.run();
        assert_eq!(chain.exit_seen.data[&stream], b"hello");
    }
}

#[test]
fn data_may_follow_begin_at_once() {
    let mut chain = Chain::ready(1, 3);
    let stream = chain
        .client
        .begin(
            Target {
                host: Host::Name("a.b"),
                port: 80,
            },
            &mut chain.forward[0],
        )
        .unwrap();
    let data = bytes(1, 100_000);
    assert_eq!(chain.client.send(stream, &data, &mut chain.forward[0]), Ok(INITIAL_WINDOW as usize));
    assert_eq!(chain.client.sendable(stream), 0);
    chain.run();
    assert_eq!(chain.exit_seen.data[&stream], data[..INITIAL_WINDOW as usize]);
    // The target is connected only now, and takes what came.
    let (exit, out) = chain.exit();
    assert_eq!(exit.send(stream, b"x", out), Err(StreamError::NotConnected));
    exit.consumed(stream, INITIAL_WINDOW as usize).unwrap();
    exit.connected(stream, out).unwrap();
    chain.run();
    assert_eq!(chain.client.sendable(stream), 2 * INITIAL_WINDOW as usize);
}

#[test]
fn refusals_resolves_resets_and_half_closes_reach_the_other_end() {
    let mut chain = Chain::ready(2, 3);
    let target = Target {
        host: Host::V4([1, 2, 3, 4].into()),
        port: 443,
    };
    let refused = chain.client.begin(target, &mut chain.forward[0]).unwrap();
    let named = chain.client.resolve("example.org", &mut chain.forward[0]).unwrap();
    let unnamed = chain.client.resolve("nowhere.example", &mut chain.forward[0]).unwrap();
    chain.run();
    assert_eq!(
        chain.exit_seen.names,
        [(named, "example.org".into()), (unnamed, "nowhere.example".into())]
    );
    let (exit, out) = chain.exit();
    exit.refuse(refused, EndReason::Policy, out).unwrap();
    exit.resolved(named, &["1.2.3.4".parse().unwrap(), "::1".parse().unwrap()], out)
        .unwrap();
    exit.resolved(unnamed, &[], out).unwrap();
    chain.run();
    assert_eq!(chain.seen.ended, [(refused, EndReason::Policy)]);
    assert_eq!(
        chain.seen.resolved,
        [(named, EndReason::Done, 2), (unnamed, EndReason::NotResolved, 0)]
    );
    assert_eq!((chain.client.open_streams(), chain.exit().0.open_streams()), (0, 0));

    // The client ends its half, the exit goes on, then ends its own.
    let stream = chain.stream();
    chain.client.finish(stream, &mut chain.forward[0]).unwrap();
    chain.run();
    assert_eq!(chain.exit_seen.finished, [stream]);
    let (exit, out) = chain.exit();
    assert_eq!(exit.send(stream, b"late", out), Ok(4));
    exit.finish(stream, out).unwrap();
    chain.run();
    assert_eq!(
        (chain.seen.data[&stream].as_slice(), chain.seen.finished.as_slice()),
        (&b"late"[..], &[stream][..])
    );
    assert_eq!((chain.client.open_streams(), chain.exit().0.open_streams()), (0, 0));

    // A reset from either side, with data on its way.
    let (one, other) = (chain.stream(), chain.stream());
    let (exit, out) = chain.exit();
    assert_eq!(exit.send(one, &[7; 50_000], out), Ok(50_000));
    exit.reset(other, EndReason::Reset, out).unwrap();
    chain.client.reset(one, EndReason::Cancelled, &mut chain.forward[0]).unwrap();
    assert_eq!(chain.client.send(other, &[7; 50_000], &mut chain.forward[0]), Ok(50_000));
    chain.run();
    assert_eq!(chain.exit_seen.ended, [(one, EndReason::Cancelled)]);
    assert_eq!(chain.seen.ended[1..], [(other, EndReason::Reset)]);
    assert!(!chain.seen.data.contains_key(&one) && !chain.exit_seen.data.contains_key(&other));
    assert_eq!((chain.client.open_streams(), chain.exit().0.open_streams()), (0, 0));
    assert_eq!(chain.failed(), None);
}

/// Moves bytes both ways on several streams at once, each end reading in bits of its own.
fn transfer(seed: u64, hops: usize, sizes: &[(usize, usize)], max_run: usize, bite: usize) {
    let mut chain = Chain::ready(seed, hops);
    chain.max_run = max_run;
    let streams: Vec<_> = sizes.iter().map(|_| chain.stream()).collect();
    let up: Vec<_> = sizes.iter().enumerate().map(|(i, size)| bytes(seed + i as u64, size.0)).collect();
    let down: Vec<_> = sizes.iter().enumerate().map(|(i, size)| bytes(!seed - i as u64, size.1)).collect();
    let (mut sent_up, mut sent_down) = (vec![0; sizes.len()], vec![0; sizes.len()]);
    let (mut read_up, mut read_down) = (vec![0; sizes.len()], vec![0; sizes.len()]);
    loop {
        let mut moved = 0;
        for (i, stream) in streams.iter().copied().enumerate() {
            let len = bite.min(up[i].len() - sent_up[i]);
            let taken = chain
                .client
                .send(stream, &up[i][sent_up[i]..][..len], &mut chain.forward[0])
                .unwrap();
            sent_up[i] += taken;
            let (exit, out) = chain.exit();
            let len = bite.min(down[i].len() - sent_down[i]);
            let given = exit.send(stream, &down[i][sent_down[i]..][..len], out).unwrap();
            sent_down[i] += given;
            moved += taken + given;
        }
        chain.run();
        for (i, stream) in streams.iter().copied().enumerate() {
            let came = chain.seen.data.get(&stream).map_or(0, Vec::len);
            let bit = (came - read_down[i]).min(bite);
            chain.client.consumed(stream, bit).unwrap();
            read_down[i] += bit;
            let came = chain.exit_seen.data.get(&stream).map_or(0, Vec::len);
            let taken = (came - read_up[i]).min(bite);
            chain.exit().0.consumed(stream, taken).unwrap();
            read_up[i] += taken;
            moved += bit + taken;
        }
        chain.run();
        if moved == 0 {
            break;
        }
    }
    for (i, stream) in streams.into_iter().enumerate() {
        assert!(
            chain.exit_seen.data.remove(&stream).unwrap_or_default() == up[i],
            "upload of stream {stream}"
        );
        assert!(
            chain.seen.data.remove(&stream).unwrap_or_default() == down[i],
            "download of stream {stream}"
        );
    }
    assert_eq!(chain.failed(), None);
}

#[test]
fn megabytes_both_ways_through_three_hops() {
    transfer(11, 3, &[(3 << 20, 5 << 20), (1, 0), (0, 2 << 20)], 200, 1 << 20);
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(12))]

    #[test]
    fn whatever_the_chunks_and_runs_all_bytes_arrive(
        seed: u64, hops in 1usize..4, sizes in prop::collection::vec((0usize..300_000, 0usize..300_000), 1..5),
        max_run in 1usize..100, bite in 5_000usize..200_000
    ) {
        transfer(seed, hops, &sizes, max_run, bite);
    }
}

#[test]
fn a_call_makes_as_many_cells_as_it_takes_and_no_more() {
    let mut chain = Chain::ready(3, 3);
    let stream = chain.stream();
    let mut out = Vec::new();
    chain.client.send(stream, &[1; 1075 * 4 + 1], &mut out).unwrap();
    assert_eq!(out.len(), 5 * CELL_LEN);
    // Nothing grows but the buffer, and that once.
    assert_eq!(out.capacity(), out.len());
}

#[test]
fn resting_gives_the_same_cells() {
    let mut chain = Chain::ready(4, 3);
    let stream = chain.stream();
    for round in 0..3 {
        chain.client.rest();
        chain.exit().0.rest();
        for relay in &mut chain.relays {
            if let Stage::Pumps(forward, backward) = &mut relay.stage {
                forward.rest();
                backward.rest();
            }
        }
        chain.client.send(stream, &[round; 3000], &mut chain.forward[0]).unwrap();
        let (exit, out) = chain.exit();
        exit.send(stream, &[round; 3000], out).unwrap();
        chain.run();
    }
    assert_eq!((chain.seen.data[&stream].len(), chain.exit_seen.data[&stream].len()), (9000, 9000));
    assert_eq!(chain.failed(), None);
}

#[test]
fn idle_circuits_are_small() {
    let sizes = [
        size_of::<ForwardPump>(),
        size_of::<BackwardPump>(),
        size_of::<LastHop>(),
        size_of::<RelayCircuit>(),
        size_of::<ClientCircuit>(),
    ];
    // For whoever reads with --nocapture.
    println!("bytes of forward pump, backward pump, last hop, relay circuit, client circuit: {sizes:?}");
    assert!(
        sizes[0] <= 128 && sizes[1] <= 112 && sizes[2] <= 320 && sizes[3] <= 400 && sizes[4] <= 128,
        "{sizes:?}"
    );
}

#[test]
fn pumps_go_to_other_threads() {
    fn is_send<T: Send>() {}
    is_send::<ForwardPump>();
    is_send::<BackwardPump>();
    is_send::<RelayCircuit>();
    is_send::<ClientCircuit>();
}
