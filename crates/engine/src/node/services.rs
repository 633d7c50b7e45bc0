//! `.anon` services: what TypeScript commands of them.

use std::collections::HashMap;
use std::future::Future;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use anonnet_cells::{Cookie, EndReason};
use anonnet_crypto::service::{
    IntroKeys, Introduction, MAX_PAYLOAD_LEN, MAX_SUBCREDENTIALS, POW_EFFORT_MAX, Pow, ServiceClient, ServiceEntry,
};
use anonnet_errors::{ErrorKind, HasKind};
use rand_core::Rng;

use super::streams::within;
use super::{Inner, Node};
use crate::copy::splice;
use crate::events::{Event, OpId, OpValue};
use crate::limits::{CONNECT_ADDRESS_TIMEOUT, INCOMING_TIMEOUT, INCOMING_WAITING_MAX, INTRODUCTION_TIMEOUT, INTRODUCTIONS_WAITING_MAX};
use crate::pipe::{Answer, StreamHandle};
use crate::rng::os_rng;
use crate::server::{dial, kind_of};
use crate::sync::lock;

/// What a client knows of an introduction point.
pub type IntroduceTo = ServiceEntry;

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
        self.check_open()?;
        let circuit = self.inner.circuit(circuit)?;
        self.inner.operations.start(op, async move {
            within(timeout, failing(ErrorKind::RendezvousFailed, circuit.establish_rendezvous(cookie))).await?;
            Ok(OpValue::default())
        })
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
        self.check_open()?;
        if payload.len() > MAX_PAYLOAD_LEN {
            return Err(ErrorKind::InvalidArgument);
        }
        let (intro, rend) = (self.inner.circuit(intro_circuit)?, self.inner.circuit(rend_circuit)?);
        self.inner.operations.start(op, async move {
            let (handshake, message) = ServiceClient::start(&mut os_rng(), to, &payload).map_err(|error| error.kind())?;
            within(timeout, async {
                failing(ErrorKind::RendezvousFailed, rend.expect_service(handshake)).await?;
                failing(ErrorKind::IntroductionFailed, intro.introduce(message)).await
            })
            .await?;
            Ok(OpValue::default())
        })
    }

    /// Answered when the service is at the other end of the circuit.
    pub fn await_rendezvous(&self, op: OpId, circuit: u32, timeout: Duration) -> Result<(), ErrorKind> {
        self.check_open()?;
        let inner = Arc::clone(&self.inner);
        self.inner.operations.start(op, async move {
            let circuit = inner.circuit(circuit).map_err(|_| ErrorKind::RendezvousFailed)?;
            within(timeout, failing(ErrorKind::RendezvousFailed, circuit.await_service())).await?;
            Ok(OpValue::default())
        })
    }

    // ---- a service ----

    /// Makes the last hop of a circuit an introduction point with keys of its own; what clients need of them comes with the operation.
    pub fn establish_intro(&self, op: OpId, circuit: u32, timeout: Duration) -> Result<(), ErrorKind> {
        self.check_open()?;
        let handle = self.inner.circuit(circuit)?;
        let weak = Arc::downgrade(&self.inner);
        self.inner.operations.start(op, async move {
            let keys = Box::new(IntroKeys::generate(&mut os_rng()));
            let entry = keys.entry();
            let introduced = Box::new(move |introduction, payload| {
                if let Some(inner) = weak.upgrade() {
                    inner.introduced(circuit, introduction, payload);
                }
            });
            within(
                timeout,
                failing(ErrorKind::IntroductionFailed, handle.establish_intro(keys, introduced)),
            )
            .await?;
            Ok(OpValue {
                bytes: Some(entry),
                ..OpValue::default()
            })
        })
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
        self.check_open()?;
        let introduction = lock(&self.inner.introductions).take(request).ok_or(ErrorKind::Closed)?;
        let handle = self.inner.circuit(circuit)?;
        let weak = Arc::downgrade(&self.inner);
        self.inner.operations.start(op, async move {
            let (secrets, reply) = introduction.respond(&mut os_rng()).map_err(|error| error.kind())?;
            let incoming = Box::new(move |stream, port| {
                if let Some(inner) = weak.upgrade() {
                    Inner::incoming(&inner, circuit, stream, port);
                }
            });
            within(
                timeout,
                failing(ErrorKind::RendezvousFailed, handle.rendezvous(cookie, secrets, reply, incoming)),
            )
            .await?;
            Ok(OpValue::default())
        })
    }

    /// Forgets an introduction; `false` where there is none (any more).
    pub fn drop_introduction(&self, request: u32) -> bool {
        lock(&self.inner.introductions).take(request).is_some()
    }

    /// Accepts an incoming stream; `false` where there is none (any more).
    pub fn accept_stream(&self, stream: u32) -> bool {
        let Some(handle) = lock(&self.inner.incoming).remove(&stream) else {
            return false;
        };
        handle.accept(Answer::Connected);
        lock(&self.inner.streams).insert(stream, Arc::new(handle));
        true
    }

    /// Refuses an incoming stream; `false` where there is none (any more).
    pub fn refuse_stream(&self, stream: u32, kind: ErrorKind) -> bool {
        let handle = lock(&self.inner.incoming).remove(&stream);
        handle.inspect(|handle| handle.reset(EndReason::from_kind(kind))).is_some()
    }

    /// Connects an incoming stream with a target, and copies both ways; answered once connected.
    pub fn forward_stream(&self, op: OpId, stream: u32, target: SocketAddr) -> Result<(), ErrorKind> {
        self.check_open()?;
        let handle = lock(&self.inner.incoming).remove(&stream).ok_or(ErrorKind::Closed)?;
        let forwarding = Forwarding::new(&self.inner);
        self.inner.operations.start(op, async move {
            let connecting = async {
                tokio::select! {
                    biased;
                    // The client gave up meanwhile.
                    kind = handle.ended() => Err(kind),
                    dialled = dial(target) => dialled.map_err(|error| kind_of(&error)),
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
                    tokio::spawn(async move {
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

/// A wait that fails in one way, whatever became of the circuit; what the caller did wrong stays what it is.
async fn failing(as_kind: ErrorKind, work: impl Future<Output = Result<(), ErrorKind>>) -> Result<(), ErrorKind> {
    work.await.map_err(|kind| match kind {
        ErrorKind::InvalidArgument | ErrorKind::IntroductionFailed | ErrorKind::RendezvousFailed | ErrorKind::StreamLimit => kind,
        _ => as_kind,
    })
}

/// Counts a forwarded stream, so that a node that ends lets it finish.
struct Forwarding(Arc<AtomicUsize>);

impl Forwarding {
    fn new(inner: &Inner) -> Self {
        inner.forwarded.fetch_add(1, Ordering::Relaxed);
        Self(Arc::clone(&inner.forwarded))
    }
}

impl Drop for Forwarding {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }
}

impl Inner {
    fn introduced(&self, circuit: u32, introduction: Box<Introduction>, payload: Vec<u8>) {
        let request = self.new_id();
        if lock(&self.introductions).insert(request, circuit, introduction, Instant::now()) {
            self.events.push(Event::Introduced { circuit, request, payload });
        }
    }

    fn incoming(inner: &Arc<Self>, circuit: u32, handle: StreamHandle, port: u16) {
        let stream = inner.new_id();
        {
            let mut incoming = lock(&inner.incoming);
            if incoming.len() >= INCOMING_WAITING_MAX {
                return handle.reset(EndReason::Limit);
            }
            incoming.insert(stream, handle);
        }
        inner.events.push(Event::IncomingStream { circuit, stream, port });
        let weak = Arc::downgrade(inner);
        inner.runtime.spawn(async move {
            tokio::time::sleep(INCOMING_TIMEOUT).await;
            let late = weak.upgrade().and_then(|inner| lock(&inner.incoming).remove(&stream));
            if let Some(handle) = late {
                handle.reset(EndReason::Timeout);
            }
        });
    }
}

struct Waiting {
    circuit: u32,
    since: Instant,
    introduction: Box<Introduction>,
}

/// Introductions that the program has not answered yet.
#[derive(Default)]
pub(super) struct Introductions(HashMap<u32, Waiting>);

impl Introductions {
    /// `false` where as many of that circuit wait as may.
    fn insert(&mut self, request: u32, circuit: u32, introduction: Box<Introduction>, now: Instant) -> bool {
        self.0.retain(|_, waiting| now.duration_since(waiting.since) < INTRODUCTION_TIMEOUT);
        if self.0.values().filter(|waiting| waiting.circuit == circuit).count() >= INTRODUCTIONS_WAITING_MAX {
            return false;
        }
        let waiting = Waiting {
            circuit,
            since: now,
            introduction,
        };
        self.0.insert(request, waiting);
        true
    }

    fn take(&mut self, request: u32) -> Option<Box<Introduction>> {
        let waiting = self.0.remove(&request)?;
        (waiting.since.elapsed() < INTRODUCTION_TIMEOUT).then_some(waiting.introduction)
    }
}
