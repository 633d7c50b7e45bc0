//! Circuits from their first cell to their end.

use super::*;
use crate::limits::{EXTEND_TIMEOUT, OUTBOUND_HIGH_WATER_BYTES};
use anonnet_circuit::limits::{INITIAL_WINDOW, MAX_STREAMS};

#[tokio::test(start_paused = true)]
async fn three_relays_carry_a_request_to_the_last_and_its_answer_back() {
    let net = Net::new();
    let [guard, middle, last] = net.relays();
    last.answer(|body| Some(Ok([b"to ", body.as_slice()].concat())));
    let circuit = net.client(1).circuit(&[&guard, &middle, &last]).await;
    assert_eq!(circuit.ask(b"you").await, Ok(b"to you".to_vec()));
    assert_eq!(&circuit.handle.hops[..], [guard.id, middle.id, last.id]);
    for relay in [&guard, &middle, &last] {
        assert_eq!((relay.stats().handshakes, relay.stats().circuits), (1, 1));
    }
    assert!(guard.stats().cells_forwarded > 4);
    assert_eq!(last.stats().cells_forwarded, 0);
    // The last handle ends the circuit, everywhere.
    drop(circuit.handle);
    assert_eq!(soon(circuit.ended).await, Ok(ErrorKind::Closed));
    for relay in [&guard, &middle, &last] {
        relay.without_circuits().await;
        assert_eq!(relay.stats().destroyed, 0);
    }
}

#[tokio::test(start_paused = true)]
async fn a_megabyte_both_ways_arrives_whole_and_in_order() {
    let net = Net::new();
    let [guard, middle, last] = net.relays();
    last.answer(|mut body| {
        body.reverse();
        Some(Ok(body))
    });
    let circuit = net.client(1).circuit(&[&guard, &middle, &last]).await;
    let mut sent = anonnet_testkit::bytes(7, 60_000);
    let answer = circuit.ask(&sent).await.unwrap();
    sent.reverse();
    assert_eq!(answer, sent);
    let large = anonnet_testkit::bytes(8, 3_000_000);
    let answer = large.clone();
    last.answer(move |_| Some(Ok(answer.clone())));
    assert!(circuit.ask(b"?").await.unwrap() == large);
}

#[tokio::test(start_paused = true)]
async fn attack_10_a_reader_that_stops_holds_one_window_and_stalls_no_other_stream() {
    let net = Net::new();
    let [guard, middle, last] = net.relays();
    last.answer(|body| Some(Ok(if body == b"flood" { vec![7; 10_000_000] } else { body })));
    let circuit = net.client(1).circuit(&[&guard, &middle, &last]).await;
    let stalled = soon(circuit.handle.clone().directory()).await.unwrap();
    write_stream_frame(&stalled, b"flood").await.unwrap();
    tokio::time::sleep(Duration::from_secs(20)).await;
    let read = circuit.handle.traffic.read.load(Ordering::Relaxed);
    assert_eq!(read, INITIAL_WINDOW, "all that the stream has credit for, and not a byte more");
    // The others go on, and the stalled one too once it is read.
    for _ in 0..100 {
        assert_eq!(circuit.ask(b"still there?").await, Ok(b"still there?".to_vec()));
    }
    assert_eq!(read_stream_frame(&stalled, 10_000_000).await.unwrap().len(), 10_000_000);
}

#[tokio::test(start_paused = true)]
async fn a_writer_is_held_back_by_a_far_end_that_does_not_read() {
    let net = Net::new();
    let guard = net.relay(1);
    let last = net.relay_with(
        2,
        Options {
            resolver: Arc::new(super::exit_rules::Slow),
            ..Options::default()
        },
    );
    let circuit = net.client(1).circuit(&[&guard, &last]).await;
    let stream = soon(circuit.handle.clone().connect("slow.test", 1)).await.unwrap();
    let mut taken = 0;
    let kind = loop {
        match soon(stream.writable()).await {
            Ok(()) => stream.write(&mut vec![1; 10_000]),
            Err(kind) => break kind,
        }
        taken += 10_000;
        tokio::task::yield_now().await;
    };
    // Whoever waits to write is told when the stream is refused after all.
    assert_eq!(kind, ErrorKind::Timeout);
    let window = usize::try_from(INITIAL_WINDOW).unwrap();
    assert!((window..=window + 3 * OUTBOUND_HIGH_WATER_BYTES).contains(&taken), "{taken}");
}

#[tokio::test(start_paused = true)]
async fn when_a_relay_dies_its_circuits_end_and_their_streams_with_them() {
    for dead in 0..3 {
        let net = Net::new();
        let relays: [Relay; 3] = net.relays();
        relays[2].answer(|_| None);
        let client = net.client(1);
        let circuit = client.circuit(&[&relays[0], &relays[1], &relays[2]]).await;
        let stream = soon(circuit.handle.clone().directory()).await.unwrap();
        write_stream_frame(&stream, b"a question").await.unwrap();
        tokio::time::sleep(Duration::from_secs(1)).await;
        net.network.kill(relays[dead].address);
        let told = soon(circuit.ended).await.unwrap();
        assert_eq!(told.retry(), anonnet_errors::Retry::Now, "{told:?}");
        assert_eq!(soon(stream.ended()).await, told);
        assert_eq!(soon(read_stream_frame(&stream, 100)).await, Err(told));
        assert_eq!(soon(circuit.handle.clone().directory()).await.err(), Some(ErrorKind::CircuitClosed));
        for relay in &relays {
            relay.without_circuits().await;
        }
        // Others are not concerned.
        let fresh = net.relay(9);
        assert_eq!(client.circuit(&[&fresh]).await.ask(b"x").await, Ok(b"x".to_vec()));
    }
}

#[tokio::test(start_paused = true)]
async fn a_relay_that_is_not_there_fails_the_build_at_its_hop() {
    let net = Net::new();
    let [guard, middle, last] = net.relays();
    let client = net.client(1);
    net.network.kill(last.address);
    let failure = client.build(&[&guard, &middle, &last]).await.err().unwrap();
    assert_eq!(failure.hop, Some(2));
    net.network.kill(guard.address);
    let failure = client.build(&[&guard, &middle]).await.err().unwrap();
    assert_eq!(failure.hop, Some(0));
    middle.without_circuits().await;
}

#[tokio::test(start_paused = true)]
async fn a_wrong_key_or_identity_of_a_hop_is_refused() {
    let net = Net::new();
    let [guard, middle] = net.relays();
    let client = net.client(1);
    let path = |first: (NodeId, [u8; 32], SocketAddr), second| vec![first, second];
    let stranger = (middle.id, guard.onion, middle.address);
    let failure = client.build_path(path(guard.hop(), stranger), DEADLINE).await.err().unwrap();
    assert_eq!(failure.hop, Some(1));
    let elsewhere = (middle.id, middle.onion, guard.address);
    let failure = client.build_path(vec![elsewhere], DEADLINE).await.err().unwrap();
    assert_eq!((failure.kind, failure.hop), (ErrorKind::LinkIdentity, Some(0)));
    let failure = client.build_path(vec![], DEADLINE).await.err().unwrap();
    assert_eq!(failure.kind, ErrorKind::InvalidArgument);
    guard.without_circuits().await;
    middle.without_circuits().await;
}

#[tokio::test(start_paused = true)]
async fn a_guard_that_cannot_be_dialled_costs_the_time_that_was_given_and_no_more() {
    let net = Net::new();
    let guard = net.relay(1);
    let client = net.client(1);
    client.transport.lose_all_dials();
    let began = tokio::time::Instant::now();
    let failure = client.build_path(vec![guard.hop()], Duration::from_secs(3)).await.err().unwrap();
    assert_eq!(
        failure,
        Failure {
            kind: ErrorKind::Timeout,
            hop: Some(0)
        }
    );
    assert_eq!(began.elapsed().as_secs(), 3);
}

#[tokio::test(start_paused = true)]
async fn an_extend_to_a_relay_that_cannot_be_dialled_gives_up_in_time() {
    let net = Net::new();
    let [guard, middle] = net.relays();
    guard.server.pool.transport().lose_all_dials();
    let began = tokio::time::Instant::now();
    let failure = net.client(1).build(&[&guard, &middle]).await.err().unwrap();
    assert_eq!(failure.hop, Some(1));
    assert!((EXTEND_TIMEOUT..EXTEND_TIMEOUT + Duration::from_secs(1)).contains(&began.elapsed()));
    guard.without_circuits().await;
}

#[tokio::test(start_paused = true)]
async fn streams_are_limited_in_number_and_their_places_come_free() {
    let net = Net::new();
    let last = net.relay(1);
    last.answer(|_| None);
    let circuit = net.client(1).circuit(&[&last]).await;
    let mut streams = Vec::new();
    for _ in 0..MAX_STREAMS {
        streams.push(soon(circuit.handle.clone().directory()).await.unwrap());
    }
    assert_eq!(soon(circuit.handle.clone().directory()).await.err(), Some(ErrorKind::StreamLimit));
    drop(streams);
    last.answer(|body| Some(Ok(body)));
    tokio::time::sleep(Duration::from_secs(1)).await;
    assert_eq!(circuit.ask(b"again").await, Ok(b"again".to_vec()));
}

#[tokio::test(start_paused = true)]
async fn many_circuits_share_a_link_and_one_that_ends_takes_no_other_with_it() {
    let net = Net::new();
    let [guard, last] = net.relays();
    let client = net.client(1);
    let mut circuits = Vec::new();
    for _ in 0..20 {
        circuits.push(client.circuit(&[&guard, &last]).await);
    }
    assert_eq!(net.network.links(), 2);
    drop(circuits.split_off(1));
    tokio::time::sleep(Duration::from_secs(1)).await;
    assert_eq!((guard.stats().circuits, last.stats().circuits), (1, 1));
    assert_eq!(circuits[0].ask(b"x").await, Ok(b"x".to_vec()));
}

#[tokio::test(start_paused = true)]
async fn a_node_that_is_no_relay_or_drains_carries_nothing_new() {
    let net = Net::new();
    let plain = net.relay_with(
        1,
        Options {
            roles: Roles::default(),
            ..Options::default()
        },
    );
    let relay = net.relay(2);
    let client = net.client(1);
    assert_eq!(client.build(&[&plain]).await.err().unwrap().hop, Some(0));
    let before = client.circuit(&[&relay]).await;
    relay.server.draining.store(true, Ordering::Relaxed);
    assert_eq!(client.build(&[&relay]).await.err().unwrap().hop, Some(0));
    assert_eq!(before.ask(b"x").await, Ok(b"x".to_vec()), "what is under way goes on");
}
