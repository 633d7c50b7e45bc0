//! Nodes as TypeScript sees them: commands down, events up, over real QUIC on loopback.

#![allow(dead_code)]

use std::net::SocketAddr;
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use anonnet_engine::limits::JS_READ_MAX_BYTES;
use anonnet_engine::{Event, EventQueue, Failure, Node, NodeOptions, OpId, OpValue, PathHop, Peer, RateLimit, Roles, SystemResolver};
use anonnet_errors::ErrorKind;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Notify;

/// Longer than anything here may take on the slowest machine.
pub const DEADLINE: Duration = Duration::from_secs(60);

pub async fn soon<F: Future>(work: F) -> F::Output {
    tokio::time::timeout(DEADLINE, work).await.expect("it took too long")
}

pub async fn until(what: &str, mut so: impl FnMut() -> bool) {
    for _ in 0..3000 {
        if so() {
            return;
        }
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    panic!("never: {what}");
}

pub fn options() -> NodeOptions {
    let no_limit = RateLimit { rate: 0.0, burst: 1 };
    NodeOptions {
        keys: None,
        listen: None,
        roles: Roles::default(),
        exit_policy: vec!["accept *:*".to_owned()],
        allow_private: true,
        bandwidth_rate: 0,
        bandwidth_burst: 0,
        links: no_limit,
        handshakes: no_limit,
        resolver: Arc::new(SystemResolver),
    }
}

pub fn relay_options() -> NodeOptions {
    NodeOptions {
        listen: Some("127.0.0.1:0".parse().unwrap()),
        roles: Roles { relay: true, exit: true },
        ..options()
    }
}

/// A node and what it has told.
pub struct Driven {
    pub node: Node,
    events: EventQueue,
    bell: Arc<Notify>,
    told: Mutex<Vec<Event>>,
    next: AtomicU32,
}

impl Driven {
    pub fn start(options: NodeOptions) -> Result<Self, ErrorKind> {
        let bell = Arc::new(Notify::new());
        let rung = Arc::clone(&bell);
        let events = EventQueue::new(move || rung.notify_waiters());
        let node = Node::start(options, events.clone(), tokio::runtime::Handle::current())?;
        Ok(Self {
            node,
            events,
            bell,
            told: Mutex::default(),
            next: AtomicU32::new(1),
        })
    }

    pub fn client() -> Self {
        Self::start(options()).unwrap()
    }

    pub fn relay() -> Self {
        Self::start(relay_options()).unwrap()
    }

    pub fn hop(&self) -> PathHop {
        PathHop {
            node: self.node.node_id(),
            onion_key: self.node.onion_key(),
            address: self.address(),
        }
    }

    pub fn peer(&self) -> Peer {
        Peer {
            node: self.node.node_id(),
            address: self.address(),
        }
    }

    pub fn address(&self) -> SocketAddr {
        self.node.local_address().unwrap()
    }

    /// The first event that the test looks for, whenever it comes. Others wait for whoever looks for them.
    pub async fn event<T>(&self, mut pick: impl FnMut(&Event) -> Option<T>) -> T {
        soon(async {
            loop {
                let rung = self.bell.notified();
                {
                    let mut told = self.told.lock().unwrap();
                    told.extend(self.events.drain());
                    if let Some((at, picked)) = told.iter().enumerate().find_map(|(at, event)| Some((at, pick(event)?))) {
                        told.remove(at);
                        return picked;
                    }
                }
                rung.await;
            }
        })
        .await
    }

    /// How many events of a sort have been told and not yet been looked at.
    pub fn count(&self, mut of: impl FnMut(&Event) -> bool) -> usize {
        let mut told = self.told.lock().unwrap();
        told.extend(self.events.drain());
        told.iter().filter(|event| of(event)).count()
    }

    pub fn new_op(&self) -> OpId {
        self.next.fetch_add(1, Ordering::Relaxed)
    }

    pub async fn done(&self, wanted: OpId) -> Result<OpValue, Failure> {
        self.event(|event| match event {
            Event::OpDone { op, result } if *op == wanted => Some(match result {
                Ok(value) => Ok(OpValue {
                    bytes: value.bytes.clone(),
                    text: value.text.clone(),
                    number: value.number,
                }),
                Err(failure) => Err(*failure),
            }),
            _ => None,
        })
        .await
    }

    /// Starts an operation and waits for its answer.
    pub async fn op(&self, start: impl FnOnce(OpId) -> Result<(), ErrorKind>) -> Result<OpValue, ErrorKind> {
        let op = self.new_op();
        start(op)?;
        self.done(op).await.map_err(|failure| failure.kind)
    }

    pub async fn build(&self, path: &[&Driven]) -> Result<u32, Failure> {
        let path: Vec<_> = path.iter().map(|relay| relay.hop()).collect();
        let op = self.new_op();
        self.node.build_circuit(op, &path, DEADLINE)?;
        Ok(self.done(op).await?.number.unwrap())
    }

    pub async fn connect(&self, circuit: u32, host: &str, port: u16) -> Result<u32, ErrorKind> {
        let opened = self
            .op(|op| self.node.connect(op, circuit, host.to_owned(), port, DEADLINE))
            .await?;
        Ok(opened.number.unwrap())
    }

    pub async fn write(&self, stream: u32, data: &[u8]) -> Result<(), ErrorKind> {
        for piece in data.chunks(100_000) {
            self.op(|op| self.node.write(op, stream, piece.to_vec())).await?;
        }
        Ok(())
    }

    pub async fn read(&self, stream: u32) -> Result<Option<Vec<u8>>, ErrorKind> {
        Ok(self.op(|op| self.node.read(op, stream)).await?.bytes)
    }

    pub async fn read_all(&self, stream: u32) -> Result<Vec<u8>, ErrorKind> {
        let mut all = Vec::new();
        while let Some(mut bytes) = self.read(stream).await? {
            assert!(!bytes.is_empty() && bytes.len() <= JS_READ_MAX_BYTES);
            all.append(&mut bytes);
        }
        Ok(all)
    }

    pub async fn close(&self, drain: Duration) {
        self.op(|op| self.node.close(op, drain)).await.unwrap();
    }
}

/// Three relays and a client with a circuit over them.
pub async fn three() -> ([Driven; 3], Driven, u32) {
    let (relays, client) = ([Driven::relay(), Driven::relay(), Driven::relay()], Driven::client());
    let circuit = client.build(&[&relays[0], &relays[1], &relays[2]]).await.unwrap();
    (relays, client, circuit)
}

/// A TCP server that does with each connection what the test says.
pub async fn server<F, W>(serve: F) -> u16
where
    F: Fn(TcpStream) -> W + Send + 'static,
    W: Future<Output = ()> + Send + 'static,
{
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    tokio::spawn(async move {
        while let Ok((socket, _)) = listener.accept().await {
            tokio::spawn(serve(socket));
        }
    });
    port
}

pub async fn echo(mut socket: TcpStream) {
    let mut chunk = vec![0; 65536];
    while let Ok(count @ 1..) = socket.read(&mut chunk).await {
        if socket.write_all(&chunk[..count]).await.is_err() {
            return;
        }
    }
    let _ = socket.shutdown().await;
}
