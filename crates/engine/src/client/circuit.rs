//! Builds a client circuit over a path that TypeScript chose, then serves it until it ends.

use std::net::SocketAddr;
use std::sync::Arc;
use std::task::Poll;
use std::time::{Duration, Instant};

use anonnet_cells::{Host, Target};
use anonnet_circuit::{ClientCircuit, Hop, LastHop};
use anonnet_crypto::keys::NodeId;
use anonnet_errors::{ErrorKind, HasKind};
use anonnet_relay::RelayCircuit;
use anonnet_transport::{DialRole, Link, LinkPool, StreamKind, StreamRecv, StreamSend, Transport};
use tokio::sync::{mpsc, oneshot};

use super::service::{Ask, Incoming, Role, ServiceRequest};
use super::side::{ClientNote, ClientSide};
use crate::driver::Driver;
use crate::events::Failure;
use crate::pipe::StreamHandle;
use crate::rng::os_rng;
use crate::scratch::CellReader;
use crate::server::{RelayNote, RelaySide};
use crate::stats::Traffic;
use crate::task::spawn;

/// A path, guard first.
pub(crate) struct BuildRequest {
    pub(crate) path: Vec<(NodeId, [u8; 32], SocketAddr)>,
    pub(crate) timeout: Duration,
}

enum Open {
    Stream {
        host: String,
        port: u16,
    },
    Directory,
    Resolve {
        name: String,
    },
    #[cfg(feature = "testing")]
    Panic,
}

enum Request {
    Open(OpenRequest),
    Service(ServiceRequest),
}

struct OpenRequest {
    what: Open,
    answer: oneshot::Sender<Result<StreamHandle, ErrorKind>>,
}

/// What the rest of the node holds of a client circuit. The circuit ends when it is closed or the last handle is dropped.
#[derive(Clone)]
pub(crate) struct CircuitHandle {
    /// Boxed, since a channel keeps room for 32.
    requests: mpsc::UnboundedSender<Box<Request>>,
    pub(crate) traffic: Arc<Traffic>,
    pub(crate) hops: Arc<[NodeId]>,
    pub(crate) since: Instant,
}

// Opening takes the handle: one that were kept while the far end's answer is awaited would keep a closed circuit alive.
impl CircuitHandle {
    async fn open(self, what: Open) -> Result<StreamHandle, ErrorKind> {
        let (answer, answered) = oneshot::channel();
        self.requests
            .send(Box::new(Request::Open(OpenRequest { what, answer })))
            .map_err(|_| ErrorKind::CircuitClosed)?;
        answered.await.map_err(|_| ErrorKind::CircuitClosed)?
    }

    pub(super) fn request_service(&self, request: ServiceRequest) -> Result<(), ErrorKind> {
        self.requests
            .send(Box::new(Request::Service(request)))
            .map_err(|_| ErrorKind::CircuitClosed)
    }

    /// A stream to a target, not yet accepted by the far end.
    pub(crate) async fn connect(self, host: &str, port: u16) -> Result<StreamHandle, ErrorKind> {
        self.open(Open::Stream {
            host: host.to_owned(),
            port,
        })
        .await
    }

    /// A stream to the last hop itself.
    pub(crate) async fn directory(self) -> Result<StreamHandle, ErrorKind> {
        self.open(Open::Directory).await
    }

    /// Makes the circuit's task panic.
    #[cfg(feature = "testing")]
    pub(crate) fn plant(&self) {
        let (answer, _) = oneshot::channel();
        let _ = self
            .requests
            .send(Box::new(Request::Open(OpenRequest { what: Open::Panic, answer })));
    }

    /// A question for a name.
    pub(crate) async fn resolve(self, name: &str) -> Result<StreamHandle, ErrorKind> {
        self.open(Open::Resolve { name: name.to_owned() }).await
    }
}

/// What [`build`] tells of a circuit that is over.
pub(crate) type Ended = Box<dyn FnOnce(ErrorKind) + Send>;

/// Builds the circuit; then it is served by a task of its own until it ends, which `ended` is told.
pub(crate) async fn build<T: Transport>(
    pool: &LinkPool<T>,
    request: BuildRequest,
    ended: Ended,
    ready: impl FnOnce(CircuitHandle),
) -> Result<(), Failure> {
    let hops: Arc<[NodeId]> = request.path.iter().map(|hop| hop.0).collect();
    let Some((guard, _, address)) = request.path.first().copied() else {
        return Err(ErrorKind::InvalidArgument.into());
    };
    let path = request
        .path
        .into_iter()
        .map(|(node_id, onion_key, address)| Hop {
            node_id,
            onion_key,
            address,
        })
        .collect();
    let mut circuit = ClientCircuit::new(path).map_err(|error| Failure::from(error.kind()))?;
    let deadline = tokio::time::Instant::now() + request.timeout;
    let at = |hop: usize, kind: ErrorKind| Failure {
        kind,
        hop: u8::try_from(hop).ok(),
    };
    // A limit of ours says nothing of the guard: whoever can bring us to one must not push us off it.
    let at_guard = |kind: ErrorKind| match kind {
        ErrorKind::ResourceLimit => Failure::from(kind),
        _ => at(0, kind),
    };

    let link = tokio::time::timeout_at(deadline, pool.get_now(guard, address, DialRole::Client));
    let link = link
        .await
        .map_err(|_| at(0, ErrorKind::Timeout))?
        .map_err(|error| at_guard(error.kind()))?;
    let stream = tokio::time::timeout_at(deadline, link.open(StreamKind::Circuit));
    let (send, recv) = stream
        .await
        .map_err(|_| at(0, ErrorKind::Timeout))?
        .map_err(|error| at_guard(error.kind()))?;
    let mut out = Vec::new();
    circuit.start(&mut os_rng(), &mut out).map_err(|error| at(0, error.kind()))?;
    let mut driver = Driver::new(ClientSide { circuit }, send, CellReader::new(recv), out);
    match tokio::time::timeout_at(deadline, driver.note()).await {
        Ok(Ok(ClientNote::Ready)) => {}
        // Nothing was asked of the last hop.
        Ok(Ok(_)) => return Err(at(driver.side.circuit.hops_built(), ErrorKind::CircuitProtocol)),
        Ok(Err(kind)) => return Err(at(driver.side.circuit.hops_built(), kind)),
        Err(_) => {
            // The guard answered nothing at all in that time: the link may be dead without knowing it.
            if driver.side.circuit.hops_built() == 0 {
                pool.discard(&link);
            }
            return Err(at(driver.side.circuit.hops_built(), ErrorKind::Timeout));
        }
    }
    let (requests, receiver) = mpsc::unbounded_channel();
    let handle = CircuitHandle {
        requests,
        traffic: driver.traffic(),
        hops,
        since: Instant::now(),
    };
    // Known before it is served, so that its end is never told before its beginning.
    ready(handle);
    spawn(serve(driver, receiver, Ending(Some(ended))));
    Ok(())
}

/// Tells of a circuit's end, also where its task panics.
struct Ending(Option<Ended>);

impl Ending {
    fn tell(&mut self, kind: ErrorKind) {
        if let Some(ended) = self.0.take() {
            ended(kind);
        }
    }
}

impl Drop for Ending {
    fn drop(&mut self) {
        self.tell(ErrorKind::Internal);
    }
}

enum Next {
    Request(Request),
    Note(ClientNote),
    Done(ErrorKind),
}

async fn serve<S: StreamSend, R: StreamRecv>(
    mut driver: Driver<ClientSide, S, R>,
    mut requests: mpsc::UnboundedReceiver<Box<Request>>,
    mut ending: Ending,
) {
    let mut role = Role::default();
    loop {
        let next = std::future::poll_fn(|cx| {
            match requests.poll_recv(cx) {
                Poll::Ready(Some(request)) => return Poll::Ready(Next::Request(*request)),
                Poll::Ready(None) => return Poll::Ready(Next::Done(ErrorKind::Closed)),
                Poll::Pending => {}
            }
            match driver.poll_note(cx) {
                Poll::Ready(Ok(note)) => Poll::Ready(Next::Note(note)),
                Poll::Ready(Err(kind)) => Poll::Ready(Next::Done(kind)),
                Poll::Pending => Poll::Pending,
            }
        })
        .await;
        match next {
            Next::Request(Request::Service(ServiceRequest {
                ask:
                    Ask::Rendezvous {
                        cookie,
                        secrets,
                        reply,
                        incoming,
                    },
                answer,
            })) => {
                if !driver.side.circuit.is_unused() {
                    let _ = answer.send(Err(ErrorKind::InvalidArgument));
                    continue;
                }
                let traffic = driver.traffic();
                let (ClientSide { circuit }, send, recv, mut out) = driver.into_parts();
                match circuit.rendezvous(&cookie, &secrets, &reply, &mut out) {
                    Err(error) => return ending.tell(error.kind()),
                    Ok(hop) => {
                        let _ = answer.send(Ok(()));
                        let driver = Driver::new(service_side(hop), send, recv, out).with_traffic(traffic);
                        // A box, since few circuits come here and all of them would be larger by it.
                        let kind = Box::pin(serve_service(driver, requests, incoming)).await;
                        return ending.tell(kind);
                    }
                }
            }
            Next::Request(Request::Service(request)) => role.take(&mut driver, request),
            Next::Note(note) => {
                if let Err(kind) = role.note(note) {
                    role.fail();
                    return ending.tell(kind);
                }
            }
            Next::Request(Request::Open(request)) => {
                let opened = driver.open(|side, out| open(&mut side.circuit, &request.what, out));
                // Nobody waits any more: the dropped handle resets the stream.
                let _ = request.answer.send(opened);
            }
            Next::Done(kind) => {
                role.fail();
                driver.end_all(if kind == ErrorKind::Closed {
                    ErrorKind::CircuitClosed
                } else {
                    kind
                });
                ending.tell(kind);
                return;
            }
        }
    }
}

fn service_side(hop: LastHop) -> RelaySide {
    RelaySide {
        circuit: RelayCircuit::of_service(hop),
    }
}

/// Serves a service's end of a rendezvous until it is over.
async fn serve_service<S: StreamSend, R: StreamRecv>(
    mut driver: Driver<RelaySide, S, R>,
    mut requests: mpsc::UnboundedReceiver<Box<Request>>,
    incoming: Incoming,
) -> ErrorKind {
    loop {
        let next = std::future::poll_fn(|cx| {
            match requests.poll_recv(cx) {
                // Nothing can be asked of it any more: whoever does hears so by the dropped request.
                Poll::Ready(Some(_)) => cx.waker().wake_by_ref(),
                Poll::Ready(None) => return Poll::Ready(Err(ErrorKind::Closed)),
                Poll::Pending => {}
            }
            driver.poll_note(cx)
        });
        match next.await {
            Ok(RelayNote::Port { handle, port }) => incoming(handle, port),
            // A service has ports and nothing else; what is dropped here resets its stream.
            Ok(_) => {}
            Err(kind) => {
                driver.end_all(if kind == ErrorKind::Closed {
                    ErrorKind::CircuitClosed
                } else {
                    kind
                });
                return kind;
            }
        }
    }
}

#[cfg_attr(feature = "testing", allow(clippy::panic))]
fn open(circuit: &mut ClientCircuit, what: &Open, out: &mut Vec<u8>) -> Result<u16, ErrorKind> {
    match what {
        Open::Stream { host, port } => {
            // A service has ports, and no name behind its rendezvous point.
            let host = match host.as_str() {
                "" => Host::Service,
                host => Host::parse(host).map_err(|_| ErrorKind::InvalidAddress)?,
            };
            circuit.begin(Target { host, port: *port }, out)
        }
        Open::Directory => circuit.begin_dir(out),
        Open::Resolve { name } => circuit.resolve(name, out),
        #[cfg(feature = "testing")]
        Open::Panic => panic!("planted in a circuit"),
    }
    .map_err(|error| error.kind())
}
