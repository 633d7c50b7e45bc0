//! Clients that speak raw cells: a relay ends their circuits and goes on with the others.

use super::*;
use crate::limits::CREATE_TIMEOUT;
use anonnet_circuit::{ClientCircuit, Hop};
use rand_core::Rng;

async fn open(client: &Client, relay: &Relay) -> (MemSend, MemRecv) {
    let link = client.pool.get_now(relay.id, relay.address, DialRole::Client).await.unwrap();
    link.open(StreamKind::Circuit).await.unwrap()
}

/// Until the relay has ended the stream.
async fn ended(recv: &mut MemRecv) {
    soon(async { while recv.read(&mut [0; 4096]).await.is_ok_and(|count| count > 0) {} }).await;
}

fn create(handshake: &[u8]) -> Vec<u8> {
    let mut cells = Vec::new();
    write_fragments(Command::Create, handshake, &mut cells).unwrap();
    cells
}

/// An honest CREATE for the relay.
fn honest(relay: &Relay) -> (ClientCircuit, Vec<u8>) {
    let hop = Hop {
        node_id: relay.id,
        onion_key: relay.onion,
        address: relay.address,
    };
    let (mut circuit, mut out) = (ClientCircuit::new(vec![hop]).unwrap(), Vec::new());
    circuit.start(&mut rng(3), &mut out).unwrap();
    (circuit, out)
}

#[tokio::test(start_paused = true)]
async fn malformed_creates_end_their_stream_and_count_as_broken_rules() {
    let net = Net::new();
    let relay = net.relay(1);
    let client = net.client(1);
    let untouched = client.circuit(&[&relay]).await;
    let (_, good) = honest(&relay);
    let length = usize::from(u16::from_be_bytes([good[20], good[21]]));
    let change = |at: usize, byte: u8| {
        let mut cells = good.clone();
        cells[at] = byte;
        cells
    };
    let cases: Vec<(&str, Vec<u8>)> = vec![
        ("a cell of zeros", vec![0; CELL_LEN]),
        ("a cell of ones", vec![0xff; CELL_LEN]),
        ("RELAY first", change(0, 1)),
        ("RELAY_EARLY first", change(0, 2)),
        ("CREATED first", change(0, 4)),
        ("an unknown command", change(0, 5)),
        ("reserved bytes", change(3, 1)),
        ("a tag", change(4, 1)),
        (
            "a total of nothing",
            [change(20, 0)[..21].to_vec(), vec![0], good[22..].to_vec()].concat(),
        ),
        ("a total beyond any handshake", change(20, 0xff)),
        ("an offset that is not next", change(23, 1)),
        ("padding", change(good.len() - 1, 1)),
        ("the first cell twice", [&good[..CELL_LEN], &good].concat()),
        ("one byte of handshake", create(&[1])),
        ("a handshake that is too short", create(&[1; 100])),
        ("the largest handshake, of ones", create(&[1; anonnet_cells::MAX_HANDSHAKE])),
        ("another relay's id", change(place(0), good[place(0)] ^ 1)),
        ("another key", change(place(32), good[place(32)] ^ 1)),
        ("another MAC", change(place(length - 1), good[place(length - 1)] ^ 1)),
        ("a cell after the handshake", [&good[..], &[1; CELL_LEN]].concat()),
    ];
    for (count, (name, cells)) in (1..).zip(&cases) {
        let (mut send, mut recv) = open(&client, &relay).await;
        send.write_all(cells).await.unwrap();
        ended(&mut recv).await;
        until(name, || relay.stats().circuits == 1).await;
        assert_eq!(relay.stats().destroyed, count, "{name}");
        assert_eq!(untouched.ask(b"x").await, Ok(b"x".to_vec()), "{name}");
    }
    assert_eq!(relay.stats().handshakes, 1, "none of them cost one");
}

/// Where a byte of the handshake is in its cells.
fn place(at: usize) -> usize {
    let part = anonnet_cells::MAX_FRAGMENT;
    at / part * CELL_LEN + (CELL_LEN - part) + at % part
}

#[tokio::test(start_paused = true)]
async fn truncated_creates_end_in_time_wherever_they_stop() {
    let net = Net::new();
    let relay = net.relay(1);
    let client = net.client(1);
    let (_, good) = honest(&relay);
    for length in [0, 1, 3, 19, 500, CELL_LEN - 1, CELL_LEN, CELL_LEN + 1, 2 * CELL_LEN - 1] {
        for finish in [true, false] {
            let (mut send, mut recv) = open(&client, &relay).await;
            // Without a byte there is no stream.
            if length > 0 || finish {
                send.write_all(&good[..length]).await.unwrap();
                if finish {
                    send.finish();
                }
                let began = tokio::time::Instant::now();
                ended(&mut recv).await;
                assert!(began.elapsed() < CREATE_TIMEOUT + Duration::from_millis(100), "{length}");
            }
        }
    }
    relay.without_circuits().await;
    assert_eq!((relay.stats().handshakes, relay.stats().destroyed), (0, 0), "nobody broke a rule");
}

#[tokio::test(start_paused = true)]
async fn a_create_that_trickles_is_cut_off_at_its_deadline() {
    let net = Net::new();
    let relay = net.relay(1);
    let (_, good) = honest(&relay);
    let (mut send, mut recv) = open(&net.client(1), &relay).await;
    let began = tokio::time::Instant::now();
    for byte in good.chunks(1) {
        if send.write_all(byte).await.is_err() {
            break;
        }
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    ended(&mut recv).await;
    assert!(began.elapsed() < CREATE_TIMEOUT + Duration::from_millis(200));
    relay.without_circuits().await;
}

#[tokio::test(start_paused = true)]
async fn nonsense_after_the_handshake_ends_the_circuit() {
    let net = Net::new();
    let relay = net.relay(1);
    let client = net.client(1);
    let mut random = vec![0; 3 * CELL_LEN];
    rng(1).fill_bytes(&mut random);
    random[0] = 1;
    let cases: [(&str, Vec<u8>, bool); 5] = [
        ("random cells", random.clone(), true),
        ("a RELAY cell that nobody recognises", random[..CELL_LEN].to_vec(), true),
        ("a second CREATE", create(&[1; 1000]), true),
        ("a cell of zeros", vec![0; CELL_LEN], true),
        ("half a cell and no more", random[..CELL_LEN / 2].to_vec(), false),
    ];
    let mut broken = 0;
    for (name, cells, breaks) in cases {
        let (mut send, mut recv) = open(&client, &relay).await;
        let (mut circuit, out) = honest(&relay);
        send.write_all(&out).await.unwrap();
        let mut reply = vec![0; 2 * CELL_LEN];
        soon(recv.read_exact(&mut reply)).await.unwrap();
        circuit.receive(&mut reply, &mut rng(4), &mut Vec::new(), &mut |_| {}).unwrap();
        assert!(circuit.is_ready());
        send.write_all(&cells).await.unwrap();
        if !breaks {
            send.finish();
        }
        ended(&mut recv).await;
        relay.without_circuits().await;
        broken += u64::from(breaks);
        assert_eq!(relay.stats().destroyed, broken, "{name}");
    }
}

#[tokio::test(start_paused = true)]
async fn attack_17_streams_that_are_opened_and_reset_leave_nothing_behind() {
    let net = Net::new();
    let relay = net.relay(1);
    let client = net.client(1);
    for _ in 0..2000 {
        let (mut send, recv) = open(&client, &relay).await;
        send.write_all(&[3]).await.unwrap();
        drop((send, recv));
    }
    relay.without_circuits().await;
    assert_eq!(client.circuit(&[&relay]).await.ask(b"x").await, Ok(b"x".to_vec()));
}

#[tokio::test(start_paused = true)]
async fn attack_54_random_changes_to_an_honest_create_never_harm_the_relay() {
    let net = Net::new();
    let relay = net.relay(1);
    let client = net.client(1);
    let (_, good) = honest(&relay);
    let mut random = rng(54);
    for _ in 0..300 {
        let mut cells = good.clone();
        for _ in 0..=random.next_u32() % 3 {
            let at = random.next_u32() as usize % cells.len();
            cells[at] ^= 1 << (random.next_u32() % 8);
        }
        let (mut send, mut recv) = open(&client, &relay).await;
        send.write_all(&cells).await.unwrap();
        ended(&mut recv).await;
    }
    relay.without_circuits().await;
    assert_eq!(relay.stats().handshakes, 0);
    assert_eq!(client.circuit(&[&relay]).await.ask(b"x").await, Ok(b"x".to_vec()));
}
