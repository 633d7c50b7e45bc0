//! The bound that the real path is measured against: three links and their onion layers, and nothing else. No proxy, no exit socket, no
//! streams, no flow control of ours; one process, so that nothing is hidden in a kernel's socket copy.
//!
//! `cargo run --release -p anonnet-engine --example bare_chain -- MEGABYTES` prints one JSON object.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing, clippy::print_stdout)]

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Instant;

use anonnet_cells::{BODY_LEN, CELL_LEN, MAX_DATA, TAG_LEN};
use anonnet_crypto::cgo::{ClientLayer, RelayLayer};
use anonnet_crypto::keys::IdentityKey;
use anonnet_transport::{DialRole, Link, QuicConfig, QuicLink, QuicTransport, StreamKind, StreamRecv, StreamSend, Transport};

/// As the engine: what fits into the ten packets that a link between nodes sends in one call.
const RUN: usize = 57 * CELL_LEN;
const RELAY: u8 = 1;

/// The tag and the body of every cell of a run.
fn cells(run: &mut [u8]) -> impl Iterator<Item = (&mut [u8; TAG_LEN], &mut [u8; BODY_LEN])> {
    run.chunks_exact_mut(CELL_LEN).map(|cell| {
        let (head, body) = cell.split_at_mut(CELL_LEN - BODY_LEN);
        (
            (&mut head[CELL_LEN - BODY_LEN - TAG_LEN..]).try_into().unwrap(),
            body.try_into().unwrap(),
        )
    })
}

/// Cuts what arrives into runs of whole cells.
struct Runs<R> {
    recv: R,
    buffer: Vec<u8>,
    whole: usize,
    total: usize,
}

impl<R: StreamRecv> Runs<R> {
    fn new(recv: R) -> Self {
        Self {
            recv,
            buffer: vec![0; RUN],
            whole: 0,
            total: 0,
        }
    }

    /// The next run; `None` at the end.
    async fn next(&mut self) -> Option<&mut [u8]> {
        self.buffer.copy_within(self.whole..self.total, 0);
        let kept = self.total - self.whole;
        let count = self.recv.read(&mut self.buffer[kept..]).await.ok().filter(|count| *count > 0)?;
        self.total = kept + count;
        self.whole = self.total - self.total % CELL_LEN;
        Some(&mut self.buffer[..self.whole])
    }
}

struct Relay {
    transport: QuicTransport,
    identity: Arc<IdentityKey>,
}

fn relay(number: u8) -> Relay {
    let identity = Arc::new(IdentityKey::from_bytes(&[number; 32]));
    let address = SocketAddr::from(([127, number, 0, 1], 0));
    Relay {
        transport: QuicTransport::bind(QuicConfig::node(address, Arc::clone(&identity))).unwrap(),
        identity,
    }
}

impl Relay {
    async fn dialled_by(&self, transport: &QuicTransport, role: DialRole) -> QuicLink {
        transport
            .dial(self.identity.public().node_id(), self.transport.local_addr().unwrap(), role)
            .await
            .unwrap()
    }
}

/// User and system time of this process so far, in seconds.
fn cpu_seconds() -> f64 {
    let stat = std::fs::read_to_string("/proc/self/stat").unwrap();
    let fields: Vec<_> = stat.rsplit(')').next().unwrap().split_whitespace().collect();
    (fields[11].parse::<f64>().unwrap() + fields[12].parse::<f64>().unwrap()) / 100.0
}

#[tokio::main]
async fn main() {
    let megabytes: usize = std::env::args()
        .nth(1)
        .map_or(500, |text| text.parse().expect("a number of megabytes"));
    let wanted = megabytes * 1_000_000 / MAX_DATA * CELL_LEN;
    let relays = [relay(1), relay(2), relay(3)];
    for one in &relays {
        one.transport.set_known_relays([1, 2, 3].map(|number| [127, number, 0, 1].into()));
    }
    let seeds = [[11; 80], [12; 80], [13; 80]];
    let client = QuicTransport::bind(QuicConfig::client()).unwrap();

    // The exit makes cells as fast as its link takes them.
    let exit = relays[2].transport.clone();
    tokio::spawn(async move {
        let link = exit.accept().await.unwrap();
        let (_, mut send, _recv) = link.accept().await.unwrap();
        let mut layer = RelayLayer::<BODY_LEN>::new(&seeds[2]);
        let mut run = vec![0; RUN];
        loop {
            for cell in run.chunks_exact_mut(CELL_LEN) {
                cell[..4].copy_from_slice(&[RELAY, 0, 0, 0]);
            }
            for (tag, body) in cells(&mut run) {
                body.fill(0);
                layer.originate(RELAY, tag, body);
            }
            if send.write_all(&run).await.is_err() {
                return;
            }
        }
    });
    for at in [1, 0] {
        let own = relays[at].transport.clone();
        let link = relays[at + 1].dialled_by(&own, DialRole::Node).await;
        tokio::spawn(async move {
            let back = own.accept().await.unwrap();
            let (_, mut to_client, mut from_client) = back.accept().await.unwrap();
            let (mut to_next, from_next) = link.open(StreamKind::Circuit).await.unwrap();
            let mut first = [0; 1];
            from_client.read_exact(&mut first).await.unwrap();
            to_next.write_all(&first).await.unwrap();
            let mut layer = RelayLayer::<BODY_LEN>::new(&seeds[at]);
            let mut runs = Runs::new(from_next);
            while let Some(run) = runs.next().await {
                for (tag, body) in cells(run) {
                    layer.pass_back(RELAY, tag, body);
                }
                if to_client.write_all(run).await.is_err() {
                    return;
                }
            }
        });
    }
    let link = relays[0].dialled_by(&client, DialRole::Client).await;
    let (mut send, recv) = link.open(StreamKind::Circuit).await.unwrap();
    send.write_all(&[0]).await.unwrap();
    let mut layers = seeds.map(|seed| ClientLayer::<BODY_LEN>::new(&seed));
    let (mut got, mut started) = (0, None);
    let mut runs = Runs::new(recv);
    while let Some(run) = runs.next().await {
        let (began, cpu) = *started.get_or_insert_with(|| (Instant::now(), cpu_seconds()));
        for (tag, body) in cells(run) {
            let last = layers.iter_mut().map(|layer| layer.peel(RELAY, tag, body)).last();
            assert_eq!(last, Some(true), "the last hop's cells are recognised");
        }
        got += run.len();
        if got >= wanted {
            let (seconds, cpu) = (began.elapsed().as_secs_f64(), cpu_seconds() - cpu);
            let gigabytes = got as f64 / CELL_LEN as f64 * MAX_DATA as f64 / 1e9;
            println!(
                "{{\"gigabytes\":{gigabytes:.3},\"seconds\":{seconds:.3},\"megabytesPerSecond\":{:.1},\"cpuSeconds\":{cpu:.2},\"cpuSecondsPerGigabyte\":{:.2}}}",
                gigabytes * 1000.0 / seconds,
                cpu / gigabytes
            );
            std::process::exit(0);
        }
    }
}
