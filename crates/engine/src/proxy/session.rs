//! One client of a proxy: which protocol it speaks, and a stream for what it asks.

use std::net::SocketAddr;
use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use anonnet_errors::{ErrorKind, Retry};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use super::listener::ProxyStats;
use super::standing::{Answers, Offer, Question};
use super::{http_session, socks_session};
use crate::client::CircuitHandle;
use crate::events::{Event, EventQueue, ProxyProtocol, ProxyRequestEvent};
use crate::limits::{PROXY_ATTACH_TIMEOUT, PROXY_ATTEMPTS_MAX, PROXY_CONNECT_TIMEOUT, STANDING_PATIENCE};
use crate::pipe::{Answer, StreamHandle};
use crate::rpc::Pending;

/// Which circuit a request goes to, and whether that answer stands.
pub(crate) struct Chosen {
    pub(crate) circuit: u32,
    pub(crate) handle: CircuitHandle,
    pub(crate) offer: Option<Offer>,
}

pub(crate) type Choice = Result<Chosen, ErrorKind>;

/// How a proxy asks TypeScript for a circuit.
#[derive(Clone)]
pub(crate) struct Attach {
    pub(crate) events: EventQueue,
    pub(crate) pending: Arc<Pending<Choice>>,
    pub(crate) answers: Arc<Answers>,
    pub(crate) stats: Arc<ProxyStats>,
}

pub(super) struct Client {
    pub(super) attach: Attach,
    pub(super) listener: u32,
    pub(super) remote: SocketAddr,
}

/// What a client wants.
pub(super) struct Wish {
    pub(super) protocol: ProxyProtocol,
    pub(super) resolve: bool,
    pub(super) host: String,
    pub(super) port: u16,
    pub(super) literal: bool,
    pub(super) user: Option<Vec<u8>>,
    pub(super) password: Option<Vec<u8>>,
}

/// A stream that the far end has accepted.
pub(super) struct Opened {
    pub(super) handle: StreamHandle,
    pub(super) answer: Answer,
    circuit: u32,
}

impl Client {
    /// Asks for a circuit and opens the stream on it; on another one where a circuit failed before the far end had answered.
    pub(super) async fn open(&self, wish: &Wish) -> Result<Opened, ErrorKind> {
        self.attach.stats.requests.add(1);
        let (mut attempt, mut again) = (1, None);
        let result = loop {
            match self.try_open(wish, &mut again).await {
                Err(kind) if attempt < PROXY_ATTEMPTS_MAX && kind.retry() == Retry::Now && kind != ErrorKind::StreamReset => attempt += 1,
                result => break result,
            }
        };
        if result.is_err() {
            self.attach.stats.refused.add(1);
        }
        result
    }

    async fn try_open(&self, wish: &Wish, again: &mut Option<u32>) -> Result<Opened, ErrorKind> {
        let (request, chosen) = self.attach.pending.ask().ok_or(ErrorKind::ResourceLimit)?;
        let _place = self.attach.pending.forget_later(request);
        let question = self.question(wish);
        // What failed is asked about.
        if again.is_none()
            && let Some((circuit, handle)) = self.attach.answers.find(&question)
        {
            let mut opening = pin!(open_on(wish, circuit, handle));
            let opened = match tokio::time::timeout(STANDING_PATIENCE, &mut opening).await {
                Ok(opened) => opened,
                Err(_) => {
                    self.tell(wish, request, again.replace(request), Some(circuit));
                    opening.await
                }
            };
            match &opened {
                // Of a quick failure nothing was told, so it is not told as one.
                Err(kind) if again.is_none() => {
                    if kind.retry() == Retry::Now {
                        self.attach.answers.withdraw(Some(circuit));
                    }
                }
                _ => self.report(request, circuit, &opened),
            }
            return opened;
        }
        self.tell(wish, request, again.replace(request), None);
        let Ok(Ok(choice)) = tokio::time::timeout(PROXY_ATTACH_TIMEOUT, chosen).await else {
            return Err(ErrorKind::Timeout);
        };
        let Chosen { circuit, handle, offer } = choice?;
        let opened = open_on(wish, circuit, handle).await;
        if opened.is_ok()
            && let Some(offer) = offer
        {
            self.attach.answers.learn(&question, circuit, offer);
        }
        self.report(request, circuit, &opened);
        opened
    }

    fn question(&self, wish: &Wish) -> Question {
        Question {
            listener: self.listener,
            client: self.remote.ip(),
            user: wish.user.clone(),
            password: wish.password.clone(),
            resolve: wish.resolve,
            host: wish.host.clone(),
            port: wish.port,
        }
    }

    /// Asks TypeScript for a circuit; with one, tells it that the request is under way there.
    fn tell(&self, wish: &Wish, request: u32, again: Option<u32>, circuit: Option<u32>) {
        self.attach.events.push(Event::ProxyRequest(ProxyRequestEvent {
            request,
            listener: self.listener,
            protocol: wish.protocol,
            resolve: wish.resolve,
            host: wish.host.clone(),
            port: wish.port,
            user: wish.user.clone(),
            password: wish.password.clone(),
            client: self.remote,
            literal: wish.literal,
            again,
            circuit,
        }));
    }

    fn report(&self, request: u32, circuit: u32, opened: &Result<Opened, ErrorKind>) {
        self.attach.events.push(match opened {
            Ok(_) => Event::ProxyConnected { request, circuit },
            Err(kind) => Event::ProxyFailed {
                request,
                circuit,
                kind: *kind,
            },
        });
    }

    /// Tells TypeScript how a stream ended; it counts them.
    fn ended(&self, circuit: u32, result: Result<(), ErrorKind>) {
        self.attach.events.push(Event::StreamEnded {
            circuit,
            kind: result.err(),
        });
    }

    /// Ends an opened stream.
    pub(super) fn close(&self, opened: Opened, result: Result<(), ErrorKind>) {
        if let Err(kind) = result {
            opened.handle.reset(anonnet_cells::EndReason::from_kind(kind));
        }
        self.ended(opened.circuit, result);
    }
}

/// Opens a stream and waits until the far end has accepted it.
async fn open_on(wish: &Wish, circuit: u32, handle: CircuitHandle) -> Result<Opened, ErrorKind> {
    let opened = async {
        let handle = if wish.resolve {
            handle.resolve(&wish.host).await?
        } else {
            handle.connect(begin_host(&wish.host), wish.port).await?
        };
        let answer = handle.answer().await?;
        Ok(Opened { handle, answer, circuit })
    };
    tokio::time::timeout(PROXY_CONNECT_TIMEOUT, opened)
        .await
        .unwrap_or(Err(ErrorKind::Timeout))
}

/// Serves a client to its end.
pub(super) async fn serve(client: Client, mut socket: TcpStream) {
    let mut buffer = Vec::new();
    let Ok(true) = read_more(&mut socket, &mut buffer, deadline()).await else {
        return;
    };
    match buffer.first() {
        Some(4 | 5) => socks_session::serve(&client, socket, buffer).await,
        Some(byte) if byte.is_ascii_alphabetic() => http_session::serve(&client, socket, buffer).await,
        _ => {}
    }
}

pub(super) fn deadline() -> tokio::time::Instant {
    tokio::time::Instant::now() + crate::limits::PROXY_HANDSHAKE_TIMEOUT
}

/// Reads what there is; `Ok(false)` at the end.
pub(super) async fn read_more(socket: &mut TcpStream, buffer: &mut Vec<u8>, deadline: tokio::time::Instant) -> Result<bool, ErrorKind> {
    buffer.reserve(4096);
    match tokio::time::timeout_at(deadline, socket.read_buf(buffer)).await {
        Ok(Ok(count)) => Ok(count > 0),
        Ok(Err(error)) => Err(crate::copy::socket_kind(&error)),
        Err(_) => Err(ErrorKind::Timeout),
    }
}

/// How long a client may take to read a refusal.
const FAREWELL: Duration = Duration::from_secs(2);

/// Sends last words and closes so that they arrive: what the client still sends is read, or the close would take them back.
pub(super) async fn farewell(mut socket: TcpStream, bytes: &[u8]) {
    crate::copy::complete(&socket);
    let _ = tokio::time::timeout(FAREWELL, async {
        socket.write_all(bytes).await?;
        socket.shutdown().await?;
        let mut rest = [0; 4096];
        while socket.read(&mut rest).await? > 0 {}
        Ok::<_, std::io::Error>(())
    })
    .await;
}

/// The host that BEGIN names. Behind a rendezvous there are ports only, and no exit is ever told the name of a service: where the circuit leads
/// to an exit, the empty host is refused before it is sent.
fn begin_host(host: &str) -> &str {
    let name = host.strip_suffix('.').unwrap_or(host);
    let label = name.strip_suffix(".alt").unwrap_or(name);
    match label.rsplit('.').next() {
        Some("anon") => "",
        _ => host,
    }
}

#[cfg(test)]
mod tests {
    use super::begin_host;

    #[test]
    fn the_name_of_a_service_is_told_to_nobody() {
        for host in ["abc.anon", "www.abc.anon", "abc.anon.alt", "abc.anon.", "anon"] {
            assert_eq!(begin_host(host), "", "{host}");
        }
        for host in ["example.org", "anon.example", "canon", "abc.onion", "192.0.2.1", "abc.alt"] {
            assert_eq!(begin_host(host), host);
        }
    }
}
