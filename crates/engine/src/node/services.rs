//! `.anon` services: what TypeScript commands of them.

use std::net::SocketAddr;
use std::sync::Arc;
#[cfg(feature = "exit")]
use std::sync::atomic::AtomicUsize;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use anonnet_cells::{Cookie, EndReason};
use anonnet_crypto::service::{
    IntroKeys, Introduction, MAX_PAYLOAD_LEN, MAX_SUBCREDENTIALS, POW_EFFORT_MAX, Pow, ServiceClient, ServiceEntry,
};
use anonnet_errors::{ErrorKind, HasKind};
use rand_core::Rng;

use super::streams::{Edge, within};
use super::{Inner, Node};
use crate::client::{Ask, CircuitHandle};
#[cfg(feature = "exit")]
use crate::copy::{socket_kind, splice};
use crate::events::{Event, OpId, OpValue};
#[cfg(feature = "exit")]
use crate::limits::CONNECT_ADDRESS_TIMEOUT;
use crate::pipe::{Answer, StreamHandle};
use crate::rng::os_rng;
#[cfg(feature = "exit")]
use crate::server::dial;
use crate::sync::lock;
#[cfg(feature = "exit")]
use crate::task::spawn;

/// What a client knows of an introduction point.
pub type IntroduceTo = ServiceEntry;

/// What circuits are asked for, one after the other, and what each failure means; and what comes with the operation.
type Steps = Box<dyn FnOnce() -> Result<(Vec<(CircuitHandle, Ask, ErrorKind)>, Option<Vec<u8>>), ErrorKind> + Send>;

/// Tells a thread that nobody waits for it any more.
struct Given(Arc<AtomicBool>);

impl Drop for Given {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Relaxed);
    }
}

impl Node {
    /// Solves a service's puzzle on a thread of its own; the nonce's 16 bytes come with the operation.
    pub fn pow_solve(&self, op: OpId, seed: [u8; 32], blinded: [u8; 32], effort: u32) -> Result<(), ErrorKind> {
        self.check_open()?;
        if effort > POW_EFFORT_MAX {
            return Err(ErrorKind::InvalidArgument);
        }
        let mut pow = Pow::new(&seed, &blinded, effort).map_err(|error| error.kind())?;
        let inner = Arc::clone(&self.inner);
        self.inner.operations.start(op, async move {
            let turn = inner.solvers.acquire().await.map_err(|_| ErrorKind::Closed)?;
            let given_up = Arc::new(AtomicBool::new(false));
            let given = Given(Arc::clone(&given_up));
            let solving = tokio::task::spawn_blocking(move || {
                let mut start = [0; 16];
                os_rng().fill_bytes(&mut start);
                let mut number = u128::from_be_bytes(start);
                while !given_up.load(Ordering::Relaxed) {
                    let nonce = number.to_be_bytes();
                    if pow.check(&nonce) {
                        return Some(nonce);
                    }
                    number = number.wrapping_add(1);
                }
                None
            });
            let nonce = solving.await.ok().flatten().ok_or(ErrorKind::Internal)?;
            drop((given, turn));
            Ok(OpValue {
                bytes: Some(nonce.to_vec()),
                ..OpValue::default()
            })
        })
    }

    // ---- a client ----

    /// Makes the last hop of a circuit wait for a service that says that cookie.
    pub fn establish_rendezvous(&self, op: OpId, circuit: u32, cookie: Cookie, timeout: Duration) -> Result<(), ErrorKind> {
        let circuit = self.inner.circuit(circuit)?;
        let step = (circuit, Ask::EstablishRendezvous(cookie), ErrorKind::RendezvousFailed);
        self.ask(op, timeout, Box::new(move || Ok((vec![step], None))))
    }

    /// Introduces this client to a service, whose answer the second circuit waits for; answered when the introduction point has passed it on.
    pub fn introduce(
        &self,
        op: OpId,
        intro_circuit: u32,
        rend_circuit: u32,
        to: IntroduceTo,
        payload: Vec<u8>,
        timeout: Duration,
    ) -> Result<(), ErrorKind> {
        if payload.len() > MAX_PAYLOAD_LEN {
            return Err(ErrorKind::InvalidArgument);
        }
        let (intro, rend) = (self.inner.circuit(intro_circuit)?, self.inner.circuit(rend_circuit)?);
        let steps = move || {
            let (handshake, message) = ServiceClient::start(&mut os_rng(), to, &payload).map_err(|error| error.kind())?;
            let steps = vec![
                (rend, Ask::Expect(handshake), ErrorKind::RendezvousFailed),
                (intro, Ask::Introduce(message), ErrorKind::IntroductionFailed),
            ];
            Ok((steps, None))
        };
        self.ask(op, timeout, Box::new(steps))
    }

    /// Answered when the service is at the other end of the circuit.
    pub fn await_rendezvous(&self, op: OpId, circuit: u32, timeout: Duration) -> Result<(), ErrorKind> {
        let circuit = self.inner.circuit(circuit).map_err(|_| ErrorKind::RendezvousFailed);
        let steps = move || Ok((vec![(circuit?, Ask::AwaitService, ErrorKind::RendezvousFailed)], None));
        self.ask(op, timeout, Box::new(steps))
    }

    // ---- a service ----

    /// Makes the last hop of a circuit an introduction point with keys of its own; what clients need of them comes with the operation.
    pub fn establish_intro(&self, op: OpId, circuit: u32, timeout: Duration) -> Result<(), ErrorKind> {
        let handle = self.inner.circuit(circuit)?;
        let weak = Arc::downgrade(&self.inner);
        let steps = move || {
            let keys = Box::new(IntroKeys::generate(&mut os_rng()));
            let entry = keys.entry();
            let introduced = Box::new(move |introduction, payload| {
                if let Some(inner) = weak.upgrade() {
                    inner.introduced(circuit, introduction, payload);
                }
            });
            let step = (handle, Ask::EstablishIntro(keys, introduced), ErrorKind::IntroductionFailed);
            Ok((vec![step], Some(entry)))
        };
        self.ask(op, timeout, Box::new(steps))
    }

    /// What introductions over that circuit are opened with; `false` where there is no such circuit.
    pub fn set_intro_subcredentials(&self, circuit: u32, subcredentials: Vec<[u8; 32]>) -> Result<bool, ErrorKind> {
        if subcredentials.len() > MAX_SUBCREDENTIALS {
            return Err(ErrorKind::InvalidArgument);
        }
        let circuit = self.inner.circuit(circuit);
        Ok(circuit.is_ok_and(|circuit| circuit.set_subcredentials(subcredentials).is_ok()))
    }

    /// Answers an introduction over a circuit to the client's rendezvous point.
    pub fn accept_rendezvous(&self, op: OpId, request: u32, circuit: u32, cookie: Cookie, timeout: Duration) -> Result<(), ErrorKind> {
        let introduction = lock(&self.inner.introductions).take(request).ok_or(ErrorKind::Closed)?;
        let handle = self.inner.circuit(circuit)?;
        let weak = Arc::downgrade(&self.inner);
        let steps = move || {
            let (secrets, reply) = introduction.respond(&mut os_rng()).map_err(|error| error.kind())?;
            let incoming = Box::new(move |stream, port| {
                if let Some(inner) = weak.upgrade() {
                    inner.incoming(circuit, stream, port);
                }
            });
            let answer = Ask::Rendezvous {
                cookie,
                secrets: Box::new(secrets),
                reply,
                incoming,
            };
            Ok((vec![(handle, answer, ErrorKind::RendezvousFailed)], None))
        };
        self.ask(op, timeout, Box::new(steps))
    }

    /// Asks circuits for one thing after the other. What `steps` has to compute is not computed on the caller's thread.
    fn ask(&self, op: OpId, timeout: Duration, steps: Steps) -> Result<(), ErrorKind> {
        self.check_open()?;
        self.inner.operations.start(op, async move {
            let (steps, bytes) = steps()?;
            within(timeout, async {
                for (circuit, ask, failed) in steps {
                    circuit.ask(ask).await.map_err(|kind| match kind {
                        // What the caller did wrong stays what it is, and what says more already.
                        ErrorKind::InvalidArgument
                        | ErrorKind::IntroductionFailed
                        | ErrorKind::RendezvousFailed
                        | ErrorKind::StreamLimit => kind,
                        _ => failed,
                    })?;
                }
                Ok(())
            })
            .await?;
            Ok(OpValue {
                bytes,
                ..OpValue::default()
            })
        })
    }

    /// Forgets an introduction; `false` where there is none (any more).
    pub fn drop_introduction(&self, request: u32) -> bool {
        lock(&self.inner.introductions).take(request).is_some()
    }

    /// Accepts an incoming stream; `false` where there is none (any more).
    pub fn accept_stream(&self, stream: u32) -> bool {
        let Some(handle) = self.inner.incoming.take(stream) else {
            return false;
        };
        handle.accept(Answer::Connected);
        lock(&self.inner.streams).insert(stream, Edge::Circuit(Arc::new(handle)));
        true
    }

    /// Refuses an incoming stream; `false` where there is none (any more).
    pub fn refuse_stream(&self, stream: u32, kind: ErrorKind) -> bool {
        let handle = self.inner.incoming.take(stream);
        handle.inspect(|handle| handle.reset(EndReason::from_kind(kind))).is_some()
    }

    /// Connects an incoming stream with a target, and copies both ways; answered once connected. [`ErrorKind::NotBuilt`] without the feature `exit`,
    /// which brings what opens sockets.
    #[cfg(not(feature = "exit"))]
    pub fn forward_stream(&self, _: OpId, _: u32, _: SocketAddr) -> Result<(), ErrorKind> {
        Err(ErrorKind::NotBuilt)
    }

    /// Connects an incoming stream with a target, and copies both ways; answered once connected.
    #[cfg(feature = "exit")]
    pub fn forward_stream(&self, op: OpId, stream: u32, target: SocketAddr) -> Result<(), ErrorKind> {
        self.check_open()?;
        let handle = self.inner.incoming.take(stream).ok_or(ErrorKind::Closed)?;
        let forwarding = Forwarding::new(&self.inner);
        self.inner.operations.start(op, async move {
            let connecting = async {
                tokio::select! {
                    biased;
                    // The client gave up meanwhile.
                    kind = handle.ended() => Err(kind),
                    dialled = dial(target) => dialled.map_err(|error| socket_kind(&error)),
                }
            };
            let connected = tokio::time::timeout(CONNECT_ADDRESS_TIMEOUT, connecting).await;
            match connected.unwrap_or(Err(ErrorKind::Timeout)) {
                Err(kind) => {
                    handle.reset(EndReason::from_kind(kind));
                    Err(kind.into())
                }
                Ok(socket) => {
                    handle.accept(Answer::Connected);
                    spawn(async move {
                        if let Err(kind) = splice(&handle, socket, Vec::new()).await {
                            handle.reset(EndReason::from_kind(kind));
                        }
                        drop(forwarding);
                    });
                    Ok(OpValue::default())
                }
            }
        })
    }
}

#[cfg(feature = "exit")]
/// Counts a forwarded stream, so that a node that ends lets it finish.
struct Forwarding(Arc<AtomicUsize>);

#[cfg(feature = "exit")]
impl Forwarding {
    fn new(inner: &Inner) -> Self {
        inner.forwarded.fetch_add(1, Ordering::Relaxed);
        Self(Arc::clone(&inner.forwarded))
    }
}

#[cfg(feature = "exit")]
impl Drop for Forwarding {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }
}

impl Inner {
    fn introduced(&self, circuit: u32, introduction: Box<Introduction>, payload: Vec<u8>) {
        let request = self.new_id();
        if lock(&self.introductions).insert(request, circuit, introduction) {
            self.events.push(Event::Introduced { circuit, request, payload });
        }
    }

    fn incoming(&self, circuit: u32, handle: StreamHandle, port: u16) {
        let stream = self.new_id();
        if self.incoming.insert(stream, handle) {
            self.events.push(Event::IncomingStream { circuit, stream, port });
        }
    }
}
