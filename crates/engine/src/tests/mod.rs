//! Whole circuits through the engine's own code, over a network in memory. What needs no TCP runs on a clock that stands still.

mod bare;
mod circuits;
mod exit;
mod exit_rules;
mod hostile_client;
mod hostile_relay;
mod limits;
mod proxy;
mod proxy_http;
mod proxy_world;
mod quota;
mod requests;
mod resets;
mod services;
mod services_hostile;
mod standing;

use std::collections::HashMap;
use std::future::Future;
use std::io;
use std::net::{IpAddr, SocketAddr};
use std::pin::Pin;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, RwLock};
use std::time::Duration;

use anonnet_cells::{Assembler, CELL_LEN, Command, write_fragments};
use anonnet_crypto::keys::{CircuitKey, CircuitKeyRing, IdentityKey, NodeId};
use anonnet_errors::ErrorKind;
use anonnet_relay::{ExitPolicy, RelayRules};
use anonnet_testkit::{MemNetwork, MemRecv, MemSend, MemTransport, rng};
use anonnet_transport::{DialRole, Link, LinkPool, PoolConfig, StreamKind, StreamRecv, StreamSend, Transport};
use tokio::sync::{Notify, oneshot};

use crate::bandwidth::Bandwidth;
use crate::client::{BuildRequest, CircuitHandle, build};
use crate::clock::unix_seconds;
use crate::events::{Event, EventQueue, Failure};
use crate::limits::MEMORY_QUOTA_LEAST_BYTES;
use crate::pipe::StreamHandle;
use crate::quota::Quota;
use crate::rpc::Pending;
use crate::server::{
    RateLimit, Resolve, Roles, Server, Services, SourceLimits, accept_links, dns_slots, handshake_gate, large_requests, read_stream_frame,
    serve_link, write_stream_frame,
};
use crate::stats::{RelaySnapshot, RelayStats};

/// Longer than anything here may take on the slowest machine.
const DEADLINE: Duration = Duration::from_secs(60);
/// How long each link of the network takes, one way.
const DELAY: Duration = Duration::from_millis(10);

/// Waits, but not for ever.
async fn soon<F: Future>(work: F) -> F::Output {
    tokio::time::timeout(DEADLINE, work).await.expect("it took too long")
}

/// Looks until it is so.
async fn until(what: &str, mut so: impl FnMut() -> bool) {
    for _ in 0..4000 {
        if so() {
            return;
        }
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    panic!("never: {what}");
}

const NO_LIMIT: RateLimit = RateLimit { rate: 0.0, burst: 1 };

/// A resolver that knows these names and no others.
#[derive(Default)]
struct Names(HashMap<&'static str, Vec<IpAddr>>);

impl Names {
    fn new(names: &[(&'static str, &[&str])]) -> Arc<Self> {
        let parse = |addresses: &[&str]| addresses.iter().map(|address| address.parse().unwrap()).collect();
        Arc::new(Self(names.iter().map(|(name, addresses)| (*name, parse(addresses))).collect()))
    }
}

impl Resolve for Names {
    fn resolve(&self, name: &str) -> Pin<Box<dyn Future<Output = io::Result<Vec<IpAddr>>> + Send>> {
        let found = self.0.get(name).cloned().ok_or_else(|| io::Error::from(io::ErrorKind::NotFound));
        Box::pin(async move { found })
    }
}

/// How a relay of a test is made.
struct Options {
    roles: Roles,
    policy: &'static [&'static str],
    allow_private: bool,
    resolver: Arc<dyn Resolve>,
    rate: u64,
    burst: u64,
    handshakes: RateLimit,
    /// Bytes that all circuits may hold.
    quota: usize,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            roles: Roles { relay: true, exit: true },
            policy: &["accept *:*"],
            allow_private: true,
            resolver: Names::new(&[]),
            rate: 0,
            burst: 0,
            handshakes: NO_LIMIT,
            quota: MEMORY_QUOTA_LEAST_BYTES,
        }
    }
}

/// What an answerer of requests does with one.
type Answerer = dyn Fn(Vec<u8>) -> Option<Result<Vec<u8>, ErrorKind>> + Send + Sync;

struct Relay {
    id: NodeId,
    onion: [u8; 32],
    address: SocketAddr,
    server: Arc<Server<MemTransport>>,
    /// Takes the place of TypeScript; it echoes unless a test puts something else here.
    answer: Arc<Mutex<Arc<Answerer>>>,
}

impl Relay {
    fn stats(&self) -> RelaySnapshot {
        self.server.stats.snapshot(&self.server.quota)
    }

    fn answer(&self, answer: impl Fn(Vec<u8>) -> Option<Result<Vec<u8>, ErrorKind>> + Send + Sync + 'static) {
        *self.answer.lock().unwrap() = Arc::new(answer);
    }

    fn hop(&self) -> (NodeId, [u8; 32], SocketAddr) {
        (self.id, self.onion, self.address)
    }

    async fn without_circuits(&self) {
        until("the relay has no circuits", || self.stats().circuits == 0).await;
    }
}

/// An event queue and what rings when there is something in it.
fn events() -> (EventQueue, Arc<Notify>) {
    let bell = Arc::new(Notify::new());
    let rung = Arc::clone(&bell);
    (EventQueue::new(move || rung.notify_one()), bell)
}

struct Net {
    network: MemNetwork,
}

impl Net {
    fn new() -> Self {
        Self {
            network: MemNetwork::new(DELAY),
        }
    }

    /// Each relay has an address prefix of its own.
    fn relay(&self, number: u8) -> Relay {
        self.relay_with(number, Options::default())
    }

    fn relay_with(&self, number: u8, options: Options) -> Relay {
        let mut rng = rng(u64::from(number));
        let id = IdentityKey::generate(&mut rng).public().node_id();
        let ring = CircuitKeyRing::new(CircuitKey::generate(&mut rng), unix_seconds());
        let address = SocketAddr::from(([10, number, 0, 1], 9000));
        let onion = *ring.current_public();
        let transport = self.network.node(address, id);
        let (events, bell) = events();
        let server = Arc::new(Server {
            node_id: id,
            ring: RwLock::new(ring),
            roles: options.roles,
            rules: Arc::new(RelayRules {
                node_id: id,
                addresses: vec![address],
                allow_private: true,
            }),
            policy: ExitPolicy::parse(options.policy).unwrap(),
            allow_private: options.allow_private,
            pool: LinkPool::new(transport.clone(), PoolConfig::node(id), |_| {}),
            events: events.clone(),
            requests: Pending::rpc(),
            large_requests: large_requests(),
            bandwidth: Bandwidth::new(options.rate, options.burst),
            quota: Quota::new(options.quota),
            stats: RelayStats::default(),
            gate: handshake_gate(2),
            services: Services::default(),
            limits: SourceLimits::new(NO_LIMIT, options.handshakes),
            resolver: options.resolver,
            names: dns_slots(),
            draining: AtomicBool::new(false),
        });
        let weak = Arc::downgrade(&server);
        server.pool.on_link(move |link| {
            if let Some(server) = weak.upgrade() {
                tokio::spawn(serve_link(server, link));
            }
        });
        tokio::spawn(accept_links(Arc::clone(&server), transport));
        let answer: Arc<Mutex<Arc<Answerer>>> = Arc::new(Mutex::new(Arc::new(|body| Some(Ok(body)))));
        let (asked, server_asked) = (Arc::clone(&answer), Arc::clone(&server));
        tokio::spawn(async move {
            loop {
                bell.notified().await;
                for event in events.drain() {
                    let Event::RpcRequest { request, body, .. } = event else { continue };
                    let answer = Arc::clone(&asked.lock().unwrap());
                    if let Some(answer) = answer(body) {
                        server_asked.requests.answer(request, answer);
                    }
                }
            }
        });
        Relay {
            id,
            onion,
            address,
            server,
            answer,
        }
    }

    fn relays<const N: usize>(&self) -> [Relay; N] {
        std::array::from_fn(|at| self.relay(u8::try_from(at + 1).unwrap()))
    }

    fn client(&self, number: u8) -> Client {
        let transport = self.network.client(SocketAddr::from(([192, 168, number, 1], 5000)));
        Client {
            pool: LinkPool::new(transport.clone(), PoolConfig::client(), |_| {}),
            transport,
        }
    }
}

struct Client {
    pool: LinkPool<MemTransport>,
    transport: MemTransport,
}

/// A circuit of a client, and how it ends.
struct Circuit {
    handle: CircuitHandle,
    ended: oneshot::Receiver<ErrorKind>,
}

impl Client {
    async fn build(&self, path: &[&Relay]) -> Result<Circuit, Failure> {
        self.build_path(path.iter().map(|relay| relay.hop()).collect(), Duration::from_secs(20))
            .await
    }

    async fn build_path(&self, path: Vec<(NodeId, [u8; 32], SocketAddr)>, timeout: Duration) -> Result<Circuit, Failure> {
        let (tell, ended) = oneshot::channel();
        let mut handle = None;
        let ending = Box::new(move |kind| _ = tell.send(kind));
        soon(build(&self.pool, BuildRequest { path, timeout }, ending, |built| {
            handle = Some(built)
        }))
        .await?;
        Ok(Circuit {
            handle: handle.unwrap(),
            ended,
        })
    }

    async fn circuit(&self, path: &[&Relay]) -> Circuit {
        self.build(path).await.unwrap()
    }
}

impl Circuit {
    /// Asks the last hop, with no time limit of its own.
    async fn ask(&self, body: &[u8]) -> Result<Vec<u8>, ErrorKind> {
        let stream = soon(self.handle.clone().directory()).await?;
        soon(write_stream_frame(&stream, body)).await?;
        soon(read_stream_frame(&stream, 16 * 1024 * 1024)).await
    }

    /// A stream that the far end has accepted.
    async fn stream(&self, host: &str, port: u16) -> Result<StreamHandle, ErrorKind> {
        let stream = soon(self.handle.clone().connect(host, port)).await?;
        soon(stream.answer()).await?;
        Ok(stream)
    }
}

/// Everything that comes on a stream until its end, its credit given back.
async fn read_all(stream: &StreamHandle) -> Result<Vec<u8>, ErrorKind> {
    let (mut all, mut chunk) = (Vec::new(), Vec::new());
    while soon(stream.read(&mut chunk)).await? {
        stream.release(chunk.len());
        all.append(&mut chunk);
    }
    Ok(all)
}

async fn write_all(stream: &StreamHandle, data: &[u8]) -> Result<(), ErrorKind> {
    for piece in data.chunks(50_000) {
        soon(stream.writable()).await?;
        stream.write(&mut piece.to_vec());
    }
    Ok(())
}

/// A node that does with the streams it is opened what the test says, and how many links it was given.
struct Liar {
    id: NodeId,
    onion: [u8; 32],
    address: SocketAddr,
    links: Arc<AtomicUsize>,
}

impl Liar {
    fn hop(&self) -> (NodeId, [u8; 32], SocketAddr) {
        (self.id, self.onion, self.address)
    }
}

impl Net {
    fn liar<F, W>(&self, number: u8, lie: F) -> Liar
    where
        F: Fn(Arc<CircuitKeyRing>, NodeId, StreamKind, MemSend, MemRecv) -> W + Send + Sync + 'static,
        W: Future<Output = ()> + Send + 'static,
    {
        let mut rng = rng(u64::from(number) + 1000);
        let id = IdentityKey::generate(&mut rng).public().node_id();
        let ring = Arc::new(CircuitKeyRing::new(CircuitKey::generate(&mut rng), unix_seconds()));
        let onion = *ring.current_public();
        let address = SocketAddr::from(([10, number, 0, 1], 9000));
        let (transport, links) = (self.network.node(address, id), Arc::new(AtomicUsize::new(0)));
        let counter = Arc::clone(&links);
        tokio::spawn(async move {
            let lie = Arc::new(lie);
            while let Some(link) = transport.accept().await {
                counter.fetch_add(1, Ordering::Relaxed);
                let (lie, ring) = (Arc::clone(&lie), Arc::clone(&ring));
                tokio::spawn(async move {
                    while let Ok((kind, send, recv)) = link.accept().await {
                        tokio::spawn(lie(Arc::clone(&ring), id, kind, send, recv));
                    }
                });
            }
        });
        Liar { id, onion, address, links }
    }
}

/// The CREATE that comes on a circuit's stream.
async fn read_create(recv: &mut MemRecv) -> Vec<u8> {
    let (mut assembler, mut cell) = (Assembler::new(Command::Create), vec![0; CELL_LEN]);
    loop {
        recv.read_exact(&mut cell).await.unwrap();
        if let Some(request) = assembler.receive(&cell).unwrap() {
            return request;
        }
    }
}

/// Answers the CREATE that comes on a circuit's stream, as an honest relay does.
async fn answer_create(ring: &CircuitKeyRing, id: &NodeId, send: &mut MemSend, recv: &mut MemRecv) {
    let request = read_create(recv).await;
    let (_, reply) = anonnet_relay::handshake(&mut rng(1), id, ring, unix_seconds(), &request).unwrap();
    let mut cells = Vec::new();
    write_fragments(Command::Created, &reply, &mut cells).unwrap();
    send.write_all(&cells).await.unwrap();
}

/// A circuit whose streams have more to send than a next relay that takes nothing lets go on.
async fn flooded(client: &Client, guard: &Relay, next: &Liar) -> (Circuit, Vec<StreamHandle>) {
    let circuit = client
        .build_path(vec![guard.hop(), next.hop()], Duration::from_secs(9))
        .await
        .unwrap();
    let mut streams = Vec::new();
    for _ in 0..8 {
        let stream = soon(circuit.handle.clone().connect("name.test", 80)).await.unwrap();
        write_all(&stream, &[7; 60_000]).await.unwrap();
        streams.push(stream);
    }
    (circuit, streams)
}
