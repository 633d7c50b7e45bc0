//! What a relay allows, by address and by rate, on a clock that stands still.

use super::*;
use crate::limits::CIRCUIT_OUT_HIGH_WATER_BYTES;

const RATE: u64 = 100_000;

/// One client's attempts: how many of so many are made.
async fn built(client: &Client, relay: &Relay, attempts: usize) -> usize {
    let mut built = 0;
    for _ in 0..attempts {
        built += usize::from(client.build(&[relay]).await.is_ok());
    }
    built
}

#[tokio::test(start_paused = true)]
async fn attack_15_handshakes_are_limited_for_each_address_prefix() {
    let net = Net::new();
    let relay = net.relay_with(
        1,
        Options {
            handshakes: RateLimit { rate: 1.0, burst: 5 },
            ..Options::default()
        },
    );
    let (greedy, other) = (net.client(1), net.client(2));
    // Each attempt takes four link delays: the twenty together less than a second.
    assert!((5..=6).contains(&built(&greedy, &relay, 20).await));
    assert!(relay.stats().handshakes_refused >= 14);
    assert_eq!(built(&other, &relay, 3).await, 3, "honest clients of other prefixes notice nothing");
    tokio::time::sleep(Duration::from_secs(3)).await;
    assert!(
        (3..=4).contains(&built(&greedy, &relay, 20).await),
        "the rate, once the burst is used up"
    );
    // Links between nodes are not limited: they carry other people's circuits. Nor are relays of the list that come as clients.
    let middle = net.relay(7);
    let many = net.client(3);
    for _ in 0..20 {
        many.circuit(&[&middle, &relay]).await;
    }
    relay.server.limits.set_known([greedy.transport.local_addr().unwrap().ip()].into());
    assert_eq!(built(&greedy, &relay, 20).await, 20);
}

/// How long the last hop of a path takes to send so many bytes.
async fn time_to_send(net: &Net, path: &[&Relay], bytes: usize) -> Duration {
    path.last().unwrap().answer(move |_| Some(Ok(vec![1; bytes])));
    let circuit = net.client(1).circuit(path).await;
    let began = tokio::time::Instant::now();
    assert_eq!(circuit.ask(b"?").await.unwrap().len(), bytes);
    began.elapsed()
}

#[tokio::test(start_paused = true)]
async fn a_relay_carries_no_more_than_its_bandwidth() {
    let limited = || Options {
        rate: RATE,
        burst: RATE,
        ..Options::default()
    };
    let bytes = 1_000_000;
    // A middle relay counts what it reads; a last hop what it writes.
    let net = Net::new();
    let (guard, last) = (net.relay_with(1, limited()), net.relay(2));
    let middle = time_to_send(&net, &[&guard, &last], bytes).await.as_secs_f64();
    let net = Net::new();
    let (guard, last) = (net.relay(1), net.relay_with(2, limited()));
    let end = time_to_send(&net, &[&guard, &last], bytes).await.as_secs_f64();
    // Cells and WINDOWs on top, less the burst.
    let least = (bytes as f64 / 1075.0 * 1104.0 - RATE as f64 * 1.8) / RATE as f64;
    for seconds in [middle, end] {
        assert!((least..least + 2.5).contains(&seconds), "{middle} and {end}, not {least}");
    }
}

#[tokio::test(start_paused = true)]
async fn circuits_share_a_relays_bandwidth() {
    let net = Net::new();
    let relay = net.relay_with(
        1,
        Options {
            rate: RATE,
            burst: 10_000,
            ..Options::default()
        },
    );
    relay.answer(|_| Some(Ok(vec![1; 300_000])));
    let began = tokio::time::Instant::now();
    let (one, two) = (net.client(1), net.client(2));
    let (one, two) = (one.circuit(&[&relay]).await, two.circuit(&[&relay]).await);
    let (first, second) = tokio::join!(one.ask(b"?"), two.ask(b"?"));
    assert_eq!(first.unwrap().len() + second.unwrap().len(), 600_000);
    // Cells on top, less the burst and the last run of each circuit, for which nobody has to wait. Each with a bucket of its own: half.
    let least = (600_000.0 / 1075.0 * 1104.0 - 10_000.0 - 2.0 * CIRCUIT_OUT_HIGH_WATER_BYTES as f64) / RATE as f64;
    let seconds = began.elapsed().as_secs_f64();
    assert!((least..least + 3.0).contains(&seconds), "{seconds}, not {least}");
}

#[tokio::test(start_paused = true)]
async fn a_link_that_nobody_uses_is_closed_and_made_again() {
    let net = Net::new();
    let relay = net.relay(1);
    let client = net.client(1);
    drop(client.circuit(&[&relay]).await);
    tokio::time::sleep(Duration::from_secs(3600)).await;
    assert_eq!(net.network.links(), 0);
    assert_eq!(client.circuit(&[&relay]).await.ask(b"x").await, Ok(b"x".to_vec()));
}
