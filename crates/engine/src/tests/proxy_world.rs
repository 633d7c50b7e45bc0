//! A proxy whose requests TypeScript's stand-in answers.

use super::*;
use crate::client::Circuits;
use crate::events::ProxyRequestEvent;
use crate::proxy::{Answers, Attach, Chosen, Stands, listen};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::task::AbortHandle;

type Chooser = dyn Fn(&ProxyRequestEvent) -> Option<Result<CircuitHandle, ErrorKind>> + Send + Sync;

pub(super) struct Proxy {
    pub(super) address: SocketAddr,
    pub(super) attach: Attach,
    seen: Arc<Mutex<Vec<ProxyRequestEvent>>>,
    /// Whether answers stand from now on.
    pub(super) stands: Arc<Mutex<Option<Stands>>>,
    pub(super) circuits: Circuits,
    pub(super) task: AbortHandle,
}

impl Proxy {
    pub(super) async fn new(choose: impl Fn(&ProxyRequestEvent) -> Result<CircuitHandle, ErrorKind> + Send + Sync + 'static) -> Self {
        Self::choosing(Box::new(move |request| Some(choose(request)))).await
    }

    pub(super) async fn choosing(choose: Box<Chooser>) -> Self {
        let (events, bell) = events();
        let circuits = Circuits::default();
        let attach = Attach {
            events: events.clone(),
            pending: Arc::new(Pending::new(1000)),
            answers: Arc::new(Answers::new(Arc::clone(&circuits))),
            stats: Arc::default(),
        };
        let (address, task) = listen(attach.clone(), 5, "127.0.0.1:0".parse().unwrap()).await.unwrap();
        let seen: Arc<Mutex<Vec<ProxyRequestEvent>>> = Arc::default();
        let (told, pending) = (Arc::clone(&seen), Arc::clone(&attach.pending));
        let (answers, known) = (Arc::clone(&attach.answers), Arc::clone(&circuits));
        let stands: Arc<Mutex<Option<Stands>>> = Arc::default();
        let standing = Arc::clone(&stands);
        tokio::spawn(async move {
            loop {
                bell.notified().await;
                for event in events.drain() {
                    let Event::ProxyRequest(request) = event else { continue };
                    if request.circuit.is_none()
                        && let Some(choice) = choose(&request)
                    {
                        let answer = choice.map(|handle| {
                            let offer = standing.lock().unwrap().map(|stands| {
                                known.lock().unwrap().insert(7, handle.clone());
                                answers.offer(stands)
                            });
                            Chosen { circuit: 7, handle, offer }
                        });
                        pending.answer(request.request, answer);
                    }
                    told.lock().unwrap().push(request);
                }
            }
        });
        Self {
            address,
            attach,
            seen,
            stands,
            circuits,
            task,
        }
    }

    pub(super) fn seen(&self) -> Vec<ProxyRequestEvent> {
        std::mem::take(&mut self.seen.lock().unwrap())
    }

    pub(super) async fn connect(&self) -> TcpStream {
        let socket = TcpStream::connect(self.address).await.unwrap();
        socket.set_nodelay(true).unwrap();
        socket
    }

    /// Sends bytes and ends, and gives what came back; a reset counts as an end.
    pub(super) async fn exchange(&self, bytes: &[u8]) -> Vec<u8> {
        let mut socket = self.connect().await;
        let _ = socket.write_all(bytes).await;
        let _ = socket.shutdown().await;
        rest(&mut socket).await
    }

    pub(super) async fn without_clients(&self) {
        until("the proxy has no clients", || self.attach.stats.open.get() == 0).await;
    }
}

/// What still comes, up to an end or a reset.
pub(super) async fn rest(socket: &mut TcpStream) -> Vec<u8> {
    let (mut all, mut chunk) = (Vec::new(), vec![0; 65536]);
    while let Ok(count) = soon(socket.read(&mut chunk)).await {
        if count == 0 {
            break;
        }
        all.extend_from_slice(&chunk[..count]);
    }
    all
}

/// A proxy whose requests all go to one exit.
pub(super) struct World {
    pub(super) proxy: Proxy,
    pub(super) exit: Relay,
    pub(super) circuit: Circuit,
}

pub(super) async fn world() -> World {
    let net = Net::new();
    let names = Names::new(&[("target.test", &["127.0.0.1"]), ("nine.test", &["9.9.9.9"])]);
    let exit = net.relay_with(
        1,
        Options {
            resolver: names,
            ..Options::default()
        },
    );
    let circuit = net.client(1).circuit(&[&exit]).await;
    let handle = circuit.handle.clone();
    let proxy = Proxy::new(move |_| Ok(handle.clone())).await;
    World { proxy, exit, circuit }
}
