//! Relays that answer nonsense: the client's circuit ends with a typed error, and nothing else does.

use super::*;
use anonnet_cells::{BodyWriter, Kind, Message, append};
use anonnet_crypto::cgo::RelayLayer;
use anonnet_crypto::handshake::HopSecrets;
use rand_core::Rng;

/// What a liar says to a CREATE, and whether it then hangs up or keeps the stream open.
type Lie = fn(&mut anonnet_testkit::Random, honest: Vec<u8>) -> (Vec<u8>, bool);

fn created(handshake: &[u8]) -> Vec<u8> {
    let mut cells = Vec::new();
    write_fragments(Command::Created, handshake, &mut cells).unwrap();
    cells
}

const LIES: &[(&str, Lie)] = &[
    ("hangs up at once", |_, _| (vec![], true)),
    ("one byte", |_, _| (vec![4], true)),
    ("a truncated answer", |_, honest| {
        (created(&honest)[..CELL_LEN + 500].to_vec(), true)
    }),
    ("the first cell only", |_, honest| (created(&honest)[..CELL_LEN].to_vec(), true)),
    ("random cells", |rng, _| {
        let mut cells = vec![0; 10 * CELL_LEN];
        rng.fill_bytes(&mut cells);
        (cells, false)
    }),
    ("zeros", |_, _| (vec![0; CELL_LEN], false)),
    ("a handshake of random bytes", |rng, mut honest| {
        rng.fill_bytes(&mut honest);
        (created(&honest), false)
    }),
    ("one flipped bit", |rng, mut honest| {
        let at = rng.next_u32() as usize % honest.len();
        honest[at] ^= 1 << (rng.next_u32() % 8);
        (created(&honest), false)
    }),
    ("a handshake of one byte", |_, _| (created(&[1]), false)),
    ("a handshake that is one byte short", |_, honest| {
        (created(&honest[..honest.len() - 1]), false)
    }),
    ("a handshake that is one byte long", |_, honest| {
        (created(&[&honest[..], &[0]].concat()), false)
    }),
    ("the largest handshake", |_, _| (created(&[7; anonnet_cells::MAX_HANDSHAKE]), false)),
    ("a length that no handshake has", |_, honest| {
        let mut cells = created(&honest);
        cells[20..22].copy_from_slice(&[0xff, 0xff]);
        (cells, false)
    }),
    ("cells in the wrong order", |_, honest| {
        let cells = created(&honest);
        ([&cells[CELL_LEN..], &cells[..CELL_LEN]].concat(), false)
    }),
    ("the first cell twice", |_, honest| {
        let cells = created(&honest);
        ([&cells[..CELL_LEN], &cells].concat(), false)
    }),
    ("CREATE instead of CREATED", |_, honest| {
        let mut cells = Vec::new();
        write_fragments(Command::Create, &honest, &mut cells).unwrap();
        (cells, false)
    }),
    ("reserved bytes that are not zero", |_, honest| {
        let mut cells = created(&honest);
        cells[2] = 1;
        (cells, false)
    }),
    ("padding that is not zero", |_, honest| {
        let mut cells = created(&honest);
        *cells.last_mut().unwrap() = 1;
        (cells, false)
    }),
];

fn lying(net: &Net, number: u8, lie: Lie) -> Liar {
    net.liar(number, move |ring, id, _, mut send, mut recv| async move {
        let request = read_create(&mut recv).await;
        let mut rng = rng(request[40].into());
        let (_, honest) = anonnet_relay::handshake(&mut rng, &id, &ring, unix_seconds(), &request).unwrap();
        let (answer, hang_up) = lie(&mut rng, honest);
        let _ = send.write_all(&answer).await;
        if hang_up {
            send.finish();
        }
        // Until the client ends it.
        let _ = recv.read(&mut [0; 64]).await;
    })
}

#[tokio::test(start_paused = true)]
async fn nonsense_from_a_guard_ends_the_build_with_a_typed_error() {
    let net = Net::new();
    let honest = net.relay(1);
    let client = net.client(1);
    let untouched = client.circuit(&[&honest]).await;
    for (number, (name, lie)) in (10..).zip(LIES) {
        let liar = lying(&net, number, *lie);
        let failure = client.build_path(vec![liar.hop()], Duration::from_secs(9)).await.err().expect(name);
        assert_eq!(failure.hop, Some(0), "{name}");
        let expected = [
            ErrorKind::CellMalformed,
            ErrorKind::HandshakeFailed,
            ErrorKind::CircuitClosed,
            ErrorKind::CircuitProtocol,
        ];
        assert!(expected.contains(&failure.kind), "{name}: {failure:?}");
        // The same link carries circuits on, and so do those that were there.
        assert_eq!(untouched.ask(b"x").await, Ok(b"x".to_vec()), "{name}");
    }
}

#[tokio::test(start_paused = true)]
async fn nonsense_from_a_later_hop_ends_the_circuit_and_the_guard_forgets_it() {
    let net = Net::new();
    let guard = net.relay(1);
    let client = net.client(1);
    for (number, (name, lie)) in (10..).zip(LIES) {
        let liar = lying(&net, number, *lie);
        let failure = client
            .build_path(vec![guard.hop(), liar.hop()], Duration::from_secs(9))
            .await
            .err()
            .expect(name);
        assert_eq!(failure.hop, Some(1), "{name}");
        assert!(
            [ErrorKind::CircuitClosed, ErrorKind::HandshakeFailed].contains(&failure.kind),
            "{name}: {failure:?}"
        );
        guard.without_circuits().await;
    }
}

#[tokio::test(start_paused = true)]
async fn a_guard_that_says_nothing_is_given_up_and_its_link_not_used_again() {
    let net = Net::new();
    let liar = net.liar(1, |_, _, _, send, mut recv| async move {
        while recv.read(&mut [0; 4096]).await.is_ok_and(|count| count > 0) {}
        drop(send);
    });
    let client = net.client(1);
    for links in 1..=2 {
        let failure = client.build_path(vec![liar.hop()], Duration::from_secs(4)).await.err().unwrap();
        assert_eq!(
            failure,
            Failure {
                kind: ErrorKind::Timeout,
                hop: Some(0)
            }
        );
        assert_eq!(liar.links.load(Ordering::Relaxed), links);
    }
}

/// A cell that the hop says to the client as its own.
fn originate(layer: &mut RelayLayer<{ anonnet_cells::BODY_LEN }>, kind: Kind, stream: u16, seq: u32, data: &[u8]) -> Vec<u8> {
    let mut out = Vec::new();
    append::<(), anonnet_cells::CellError>(&mut out, Command::Relay, |tag, body| {
        BodyWriter::new(body).push(&Message {
            kind,
            stream,
            seq,
            more: false,
            data,
        })?;
        layer.originate(Command::Relay as u8, tag, body);
        Ok(())
    })
    .unwrap();
    out
}

/// What a hop that made the circuit honestly says next.
type Word = fn(&mut RelayLayer<{ anonnet_cells::BODY_LEN }>) -> Vec<u8>;

const WORDS: &[(&str, Word)] = &[
    ("a cell of zeros", |_| vec![0; CELL_LEN]),
    ("a RELAY cell of zeros", |_| [&[1][..], &[0; CELL_LEN - 1]].concat()),
    ("a second CREATED", |_| created(&[1; 1000])),
    ("half a cell", |_| vec![1; CELL_LEN / 2]),
    ("CONNECTED for no stream", |layer| originate(layer, Kind::Connected, 9, 1, &[])),
    ("DATA before CONNECTED", |layer| originate(layer, Kind::Data, 1, 1, b"x")),
    ("a BEGIN", |layer| originate(layer, Kind::BeginDir, 1, 1, &[])),
    ("an EXTENDED", |layer| originate(layer, Kind::Extended, 0, 0, &[1; 100])),
    ("a wrong sequence number", |layer| originate(layer, Kind::Connected, 1, 7, &[])),
    ("attack 5: RELAY_EARLY towards the client", |layer| {
        let mut cell = originate(layer, Kind::Connected, 1, 1, &[]);
        cell[0] = Command::RelayEarly as u8;
        cell
    }),
    ("attack 1: the same cell twice", |layer| {
        let cell = originate(layer, Kind::Connected, 1, 1, &[]);
        [cell.clone(), cell].concat()
    }),
    ("attack 3: a flipped bit", |layer| {
        let mut cell = originate(layer, Kind::Connected, 1, 1, &[]);
        cell[CELL_LEN - 1] ^= 0x80;
        cell
    }),
    ("attack 4: a lost cell", |layer| {
        drop(originate(layer, Kind::Connected, 1, 1, &[]));
        originate(layer, Kind::Data, 1, 2, b"x")
    }),
    ("attack 9: a WINDOW far beyond what was sent", |layer| {
        [
            originate(layer, Kind::Connected, 1, 1, &[]),
            originate(layer, Kind::Window, 1, 0, &u64::MAX.to_be_bytes()),
        ]
        .concat()
    }),
    ("attack 10: more than the credit allows", |layer| {
        let mut cells = originate(layer, Kind::Connected, 1, 1, &[]);
        for seq in 2..80 {
            cells.extend(originate(layer, Kind::Data, 1, seq, &[1; anonnet_cells::MAX_DATA]));
        }
        cells
    }),
];

#[tokio::test(start_paused = true)]
async fn attack_08_a_last_hop_that_breaks_the_rules_ends_its_circuit_and_no_other() {
    let net = Net::new();
    let honest = net.relay(1);
    let client = net.client(1);
    let untouched = client.circuit(&[&honest]).await;
    for (number, (name, word)) in (10..).zip(WORDS) {
        let liar = net.liar(number, move |ring, id, _, mut send, mut recv| async move {
            let request = read_create(&mut recv).await;
            let (secrets, reply): (HopSecrets, _) = anonnet_relay::handshake(&mut rng(1), &id, &ring, unix_seconds(), &request).unwrap();
            send.write_all(&created(&reply)).await.unwrap();
            // The BEGIN_DIR.
            recv.read_exact(&mut [0; CELL_LEN]).await.unwrap();
            let _ = send.write_all(&word(&mut RelayLayer::new(&secrets.backward))).await;
            send.finish();
            let _ = recv.read(&mut [0; 64]).await;
        });
        let circuit = client.build_path(vec![liar.hop()], Duration::from_secs(9)).await.unwrap();
        let stream = soon(circuit.handle.clone().directory()).await.unwrap();
        let told = soon(circuit.ended).await.expect(name);
        let expected = if *name == "half a cell" {
            [ErrorKind::CircuitClosed; 2]
        } else {
            [ErrorKind::CellMalformed, ErrorKind::CircuitProtocol]
        };
        assert!(expected.contains(&told), "{name}: {told:?}");
        assert_eq!(soon(stream.ended()).await, told, "{name}");
        assert_eq!(untouched.ask(b"x").await, Ok(b"x".to_vec()), "{name}");
    }
}

#[tokio::test(start_paused = true)]
async fn attack_10_a_next_hop_that_takes_nothing_does_not_make_a_relay_keep_circuits_of_clients_that_left() {
    let net = Net::new();
    let guard = net.relay(1);
    let client = net.client(1);
    let liar = net.liar(2, |ring, id, _, mut send, mut recv| async move {
        answer_create(&ring, &id, &mut send, &mut recv).await;
        std::future::pending::<()>().await;
    });
    let (circuit, streams) = flooded(&client, &guard, &liar).await;
    tokio::time::sleep(Duration::from_secs(3)).await;
    let forwarded = guard.stats().bytes_forwarded;
    assert!(
        (100_000..400_000).contains(&forwarded),
        "a window on each side and one run of cells: {forwarded}"
    );
    drop((circuit, streams));
    guard.without_circuits().await;
}
