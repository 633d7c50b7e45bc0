//! A client circuit's part in section 11: what is asked of it, and the introductions of a service.

use std::collections::HashSet;

use anonnet_cells::{Cookie, IntroduceStatus};
use anonnet_circuit::StreamError;
use anonnet_crypto::handshake::HopSecrets;
use anonnet_crypto::service::{IntroKeys, Introduction, MAX_SUBCREDENTIALS, ServiceClient};
use anonnet_errors::{ErrorKind, HasKind};
use anonnet_relay::TokenBucket;
use anonnet_relay::limits::{INTRODUCTION_BURST, INTRODUCTION_RATE};
use anonnet_transport::{StreamRecv, StreamSend};
use tokio::sync::oneshot;

use super::circuit::CircuitHandle;
use super::side::{ClientNote, ClientSide};
use crate::clock::monotonic_ns;
use crate::driver::Driver;
use crate::limits::INTRODUCTIONS_OF_POINT_MAX;
use crate::pipe::StreamHandle;

type Answer = oneshot::Sender<Result<(), ErrorKind>>;
/// Told of each introduction that opens, once.
pub(crate) type Introduced = Box<dyn Fn(Box<Introduction>, Vec<u8>) + Send>;
/// Told of each stream that a client opens, and of its port.
pub(crate) type Incoming = Box<dyn Fn(StreamHandle, u16) + Send>;

/// What is asked of a circuit.
pub(super) enum Ask {
    EstablishRendezvous(Cookie),
    Expect(Box<ServiceClient>),
    Introduce(Vec<u8>),
    AwaitService,
    EstablishIntro(Box<IntroKeys>, Introduced),
    Subcredentials(Vec<[u8; 32]>),
    Rendezvous {
        cookie: Cookie,
        secrets: Box<HopSecrets>,
        reply: Vec<u8>,
        incoming: Incoming,
    },
}

pub(super) struct ServiceRequest {
    pub(super) ask: Ask,
    pub(super) answer: Answer,
}

impl CircuitHandle {
    async fn ask(self, ask: Ask) -> Result<(), ErrorKind> {
        let (answer, answered) = oneshot::channel();
        self.request_service(ServiceRequest { ask, answer })?;
        answered.await.map_err(|_| ErrorKind::CircuitClosed)?
    }

    /// Makes the last hop wait for that cookie.
    pub(crate) async fn establish_rendezvous(self, cookie: Cookie) -> Result<(), ErrorKind> {
        self.ask(Ask::EstablishRendezvous(cookie)).await
    }

    /// A service that was introduced to may answer over this circuit.
    pub(crate) async fn expect_service(self, handshake: Box<ServiceClient>) -> Result<(), ErrorKind> {
        self.ask(Ask::Expect(handshake)).await
    }

    /// Hands an introduction to the last hop.
    pub(crate) async fn introduce(self, message: Vec<u8>) -> Result<(), ErrorKind> {
        self.ask(Ask::Introduce(message)).await
    }

    /// Until the service is at the other end.
    pub(crate) async fn await_service(self) -> Result<(), ErrorKind> {
        self.ask(Ask::AwaitService).await
    }

    /// Makes the last hop an introduction point.
    pub(crate) async fn establish_intro(self, keys: Box<IntroKeys>, introduced: Introduced) -> Result<(), ErrorKind> {
        self.ask(Ask::EstablishIntro(keys, introduced)).await
    }

    /// What introductions are opened with from now on. Nobody waits for it.
    pub(crate) fn set_subcredentials(&self, subcredentials: Vec<[u8; 32]>) -> Result<(), ErrorKind> {
        let (answer, _) = oneshot::channel();
        let ask = Ask::Subcredentials(subcredentials);
        self.request_service(ServiceRequest { ask, answer })
    }

    /// Answers a client's introduction: the circuit is a service's end from then on.
    pub(crate) async fn rendezvous(self, cookie: Cookie, secrets: HopSecrets, reply: Vec<u8>, incoming: Incoming) -> Result<(), ErrorKind> {
        let secrets = Box::new(secrets);
        self.ask(Ask::Rendezvous {
            cookie,
            secrets,
            reply,
            incoming,
        })
        .await
    }
}

/// A service's introduction point.
struct Point {
    keys: Box<IntroKeys>,
    introduced: Introduced,
    subcredentials: Vec<[u8; 32]>,
    /// The introductions that came: none counts twice.
    seen: HashSet<[u8; 32]>,
    rate: TokenBucket,
}

/// Who waits for what of a circuit.
#[derive(Default)]
pub(super) struct Role {
    /// For the last hop's answer to what was asked, and what it means when none comes.
    asked: Option<(Answer, ErrorKind)>,
    /// For the service.
    awaited: Option<Answer>,
    point: Option<Box<Point>>,
}

fn kind_of(error: StreamError) -> ErrorKind {
    match error {
        StreamError::NotReady => ErrorKind::InvalidArgument,
        error => error.kind(),
    }
}

impl Role {
    /// Does what is asked. What changes the circuit's end altogether is its owner's.
    pub(super) fn take<S: StreamSend, R: StreamRecv>(&mut self, driver: &mut Driver<ClientSide, S, R>, request: ServiceRequest) {
        let ServiceRequest { ask, answer } = request;
        let (result, failed) = match ask {
            Ask::EstablishRendezvous(cookie) => {
                let asked = driver.with_side(|side, out| side.circuit.establish_rendezvous(&cookie, out));
                (asked, ErrorKind::RendezvousFailed)
            }
            Ask::Introduce(message) => {
                let asked = driver.with_side(|side, out| side.circuit.introduce(&message, out));
                (asked, ErrorKind::IntroductionFailed)
            }
            Ask::EstablishIntro(keys, introduced) => {
                let asked = driver.with_side(|side, out| side.circuit.establish_intro(&keys, out));
                if asked.is_ok() {
                    self.point = Some(Box::new(Point {
                        keys,
                        introduced,
                        subcredentials: Vec::new(),
                        seen: HashSet::new(),
                        // Twice what an honest introduction point passes on: what more comes is its own doing.
                        rate: TokenBucket::new(2 * INTRODUCTION_RATE, 2 * INTRODUCTION_BURST),
                    }));
                }
                (asked, ErrorKind::IntroductionFailed)
            }
            Ask::Expect(handshake) => {
                let expected = driver.side.circuit.expect_service(handshake);
                let _ = answer.send(expected.map_err(kind_of));
                return;
            }
            Ask::AwaitService if driver.side.circuit.is_joined() => {
                let _ = answer.send(Ok(()));
                return;
            }
            Ask::AwaitService => {
                self.awaited = Some(answer);
                return;
            }
            Ask::Subcredentials(mut subcredentials) => {
                subcredentials.truncate(MAX_SUBCREDENTIALS);
                if let Some(point) = &mut self.point {
                    point.subcredentials = subcredentials;
                }
                return;
            }
            // Its owner's.
            Ask::Rendezvous { .. } => (Err(StreamError::NotReady), ErrorKind::RendezvousFailed),
        };
        match result {
            Ok(()) => self.asked = Some((answer, failed)),
            Err(error) => _ = answer.send(Err(kind_of(error))),
        }
    }

    /// The last hop said something. An error ends the circuit.
    pub(super) fn note(&mut self, note: ClientNote) -> Result<(), ErrorKind> {
        let said = match note {
            // A circuit becomes ready once.
            ClientNote::Ready => return Err(ErrorKind::CircuitProtocol),
            ClientNote::Introduce2(message) => return self.point.as_mut().map_or(Ok(()), |point| point.take(&message)),
            ClientNote::Joined => {
                if let Some(awaited) = self.awaited.take() {
                    let _ = awaited.send(Ok(()));
                }
                return Ok(());
            }
            ClientNote::Established | ClientNote::IntroduceAck(IntroduceStatus::Passed) => Ok(()),
            ClientNote::IntroduceAck(_) => Err(ErrorKind::IntroductionFailed),
        };
        if let Some((answer, _)) = self.asked.take() {
            let _ = answer.send(said);
        }
        Ok(())
    }

    /// The circuit is over.
    pub(super) fn fail(&mut self) {
        if let Some((answer, failed)) = self.asked.take() {
            let _ = answer.send(Err(failed));
        }
        if let Some(awaited) = self.awaited.take() {
            let _ = awaited.send(Err(ErrorKind::RendezvousFailed));
        }
    }
}

impl Point {
    /// An INTRODUCE2. Nothing is told of one that does not open, or came before. An error ends the circuit: the introduction point floods, or is used
    /// up.
    fn take(&mut self, message: &[u8]) -> Result<(), ErrorKind> {
        self.rate.try_take(monotonic_ns(), 1).map_err(|_| ErrorKind::RateLimited)?;
        let Ok((introduction, payload)) = self.keys.open(&self.subcredentials, message) else {
            return Ok(());
        };
        if self.seen.contains(introduction.mac()) {
            return Ok(());
        }
        if self.seen.len() >= INTRODUCTIONS_OF_POINT_MAX {
            return Err(ErrorKind::ResourceLimit);
        }
        self.seen.insert(*introduction.mac());
        (self.introduced)(introduction, payload);
        Ok(())
    }
}
