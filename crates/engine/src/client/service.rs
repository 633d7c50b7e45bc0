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
pub(crate) enum Ask {
    /// Make the last hop wait for that cookie.
    EstablishRendezvous(Cookie),
    /// A service that was introduced to may answer over this circuit.
    Expect(Box<ServiceClient>),
    /// Hand an INTRODUCE1 to the last hop.
    Introduce(Vec<u8>),
    /// Until the service is at the other end.
    AwaitService,
    /// Make the last hop an introduction point.
    EstablishIntro(Box<IntroKeys>, Introduced),
    /// Open introductions with these from now on.
    Subcredentials(Vec<[u8; 32]>),
    /// Answer a client's introduction: the circuit is a service's end from then on.
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
    /// Asks the circuit for something, and waits for what comes of it.
    pub(crate) fn ask(self, ask: Ask) -> impl Future<Output = Result<(), ErrorKind>> + use<> {
        let (answer, answered) = oneshot::channel();
        let asked = self.request_service(ServiceRequest { ask, answer });
        // The handle is not kept: a circuit that is closed meanwhile ends.
        async move {
            asked?;
            answered.await.map_err(|_| ErrorKind::CircuitClosed)?
        }
    }

    /// What introductions are opened with from now on. Nobody waits for it.
    pub(crate) fn set_subcredentials(&self, subcredentials: Vec<[u8; 32]>) -> Result<(), ErrorKind> {
        let (answer, _) = oneshot::channel();
        let ask = Ask::Subcredentials(subcredentials);
        self.request_service(ServiceRequest { ask, answer })
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
                    self.point = Some(Box::new(Point::new(keys, introduced)));
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
    fn new(keys: Box<IntroKeys>, introduced: Introduced) -> Self {
        Self {
            keys,
            introduced,
            subcredentials: Vec::new(),
            seen: HashSet::new(),
            // Twice what an honest introduction point passes on: what more comes is its own doing.
            rate: TokenBucket::new(2 * INTRODUCTION_RATE, 2 * INTRODUCTION_BURST),
        }
    }

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

#[cfg(test)]
mod tests {
    use super::*;
    use anonnet_crypto::service::ServiceEntry;
    use anonnet_testkit::rng;
    use std::sync::Arc;
    use std::sync::atomic::{AtomicUsize, Ordering};

    #[tokio::test]
    async fn attack_41_each_introduction_is_told_once_and_a_point_is_used_up_in_the_end() {
        let keys = Box::new(IntroKeys::generate(&mut rng(1)));
        let bytes = keys.entry();
        let entry = ServiceEntry {
            auth_key: bytes[..32].try_into().unwrap(),
            onion_key: bytes[32..64].try_into().unwrap(),
            kem_key: Box::new(bytes[64..].try_into().unwrap()),
            subcredential: [5; 32],
        };
        let told = Arc::new(AtomicUsize::new(0));
        let counter = Arc::clone(&told);
        let mut point = Point::new(keys, Box::new(move |_, _| _ = counter.fetch_add(1, Ordering::Relaxed)));
        let message = |seed| ServiceClient::start(&mut rng(seed), entry.clone(), b"").unwrap().1[32..].to_vec();
        // None is told before the periods are known.
        assert_eq!(point.take(&message(1)), Ok(()));
        point.subcredentials = vec![[5; 32]];
        for seed in [1, 1, 2, 1] {
            assert_eq!(point.take(&message(seed)), Ok(()));
        }
        assert_eq!(told.load(Ordering::Relaxed), 2);
        for number in 0..INTRODUCTIONS_OF_POINT_MAX - 3 {
            let mut mac = [0; 32];
            mac[..8].copy_from_slice(&number.to_be_bytes());
            point.seen.insert(mac);
        }
        assert_eq!(point.take(&message(3)), Ok(()));
        assert_eq!(point.take(&message(3)), Ok(()));
        assert_eq!(point.take(&message(4)), Err(ErrorKind::ResourceLimit));
        assert_eq!(told.load(Ordering::Relaxed), 3);
    }
}
