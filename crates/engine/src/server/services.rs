//! What a relay does for `.anon` services: introduction points, rendezvous points, and joining two circuits. Each of these circuits has one
//! message of section 11 behind it; nothing else comes over it until it is joined.

use std::future::Future;
use std::sync::{Arc, Mutex};
use std::task::Poll;

use anonnet_cells::{Cookie, IntroduceStatus, Kind};
use anonnet_circuit::{HopLayers, ServiceRequest};
use anonnet_errors::{ErrorKind, HasKind};
use anonnet_relay::{Introductions, Rendezvous, splice};
use anonnet_transport::{Link, StreamRecv, StreamSend, Transport};
use tokio::sync::{mpsc, oneshot};

use super::Server;
use super::circuit::tell;
use super::side::RelaySide;
use crate::clock::monotonic_ns;
use crate::driver::Driver;
use crate::limits::{INTRODUCTIONS_QUEUED_MAX, RENDEZVOUS_WAIT};
use crate::pump::{Pump, Sides, pump};
use crate::quota::Account;
use crate::scratch::CellReader;
use crate::sync::lock;

type Send<T> = <<T as Transport>::Link as Link>::Send;
type Recv<T> = <<T as Transport>::Link as Link>::Recv;
type LastHop<T> = Driver<RelaySide, Send<T>, Recv<T>>;

/// A service's circuit on its way to the client's that waits for it.
struct Guest<T: Transport> {
    layers: HopLayers,
    send: Send<T>,
    recv: CellReader<Recv<T>>,
    reply: Vec<u8>,
    /// Dropped when the two circuits are over.
    _over: oneshot::Sender<()>,
}

/// The tables of a relay.
pub(crate) struct Services<T: Transport> {
    introductions: Mutex<Introductions<mpsc::Sender<Vec<u8>>>>,
    rendezvous: Mutex<Rendezvous<oneshot::Sender<Guest<T>>>>,
}

impl<T: Transport> Default for Services<T> {
    fn default() -> Self {
        Self {
            introductions: Mutex::default(),
            rendezvous: Mutex::default(),
        }
    }
}

impl<T: Transport> Services<T> {
    /// Introduction points, and clients that wait for a service.
    #[cfg(test)]
    pub(crate) fn counts(&self) -> (usize, usize) {
        (lock(&self.introductions).len(), lock(&self.rendezvous).len())
    }
}

/// Takes an entry out of its table however the circuit ends.
struct Leave<F: FnMut()>(F);

impl<F: FnMut()> Drop for Leave<F> {
    fn drop(&mut self) {
        (self.0)();
    }
}

fn say<S: StreamSend, R: StreamRecv>(driver: &mut Driver<RelaySide, S, R>, kind: Kind, payload: &[u8]) -> Result<(), ErrorKind> {
    driver.with_side(|side, out| {
        let hop = side.circuit.last_hop().map_err(|error| error.kind())?;
        hop.say(kind, payload, out).map_err(|error| error.kind())
    })
}

/// Serves such a circuit until it ends.
pub(super) async fn serve<T: Transport>(
    server: &Arc<Server<T>>,
    account: &Arc<Account>,
    driver: LastHop<T>,
    request: ServiceRequest,
) -> Result<ErrorKind, ErrorKind> {
    match request {
        ServiceRequest::EstablishIntro { auth_key } => introduction_point(server, driver, auth_key).await,
        ServiceRequest::Introduce { auth_key, message } => introduce(server, driver, &auth_key, message).await,
        ServiceRequest::EstablishRendezvous { cookie } => rendezvous_point(server, account, driver, cookie).await,
        ServiceRequest::Rendezvous { cookie, reply } => join(server, driver, &cookie, reply).await,
    }
}

/// Passes introductions on to the service at the other end of this circuit.
async fn introduction_point<T: Transport>(
    server: &Arc<Server<T>>,
    mut driver: LastHop<T>,
    auth_key: [u8; 32],
) -> Result<ErrorKind, ErrorKind> {
    let (sender, mut introductions) = mpsc::channel(INTRODUCTIONS_QUEUED_MAX);
    let table = &server.services.introductions;
    let ticket = lock(table).insert(auth_key, sender).ok_or(ErrorKind::ResourceLimit)?;
    let _leave = Leave(|| lock(table).remove(&auth_key, ticket));
    say(&mut driver, Kind::IntroEstablished, &[])?;
    loop {
        let message = std::future::poll_fn(|cx| {
            match driver.poll_note(cx) {
                Poll::Ready(Ok(_)) => return Poll::Ready(Err(ErrorKind::CircuitProtocol)),
                Poll::Ready(Err(kind)) => return Poll::Ready(Err(kind)),
                Poll::Pending => {}
            }
            // A service that takes nothing makes its clients hear so, and not the relay hold what they say.
            if driver.takes_more() {
                introductions.poll_recv(cx).map(Ok)
            } else {
                Poll::Pending
            }
        });
        match message.await? {
            Some(message) => say(&mut driver, Kind::Introduce2, &message)?,
            // The service has made this introduction point again, over another circuit.
            None => return Ok(ErrorKind::CircuitClosed),
        }
    }
}

/// A client's introduction: passes it on and says what became of it.
async fn introduce<T: Transport>(
    server: &Arc<Server<T>>,
    mut driver: LastHop<T>,
    auth_key: &[u8; 32],
    message: Vec<u8>,
) -> Result<ErrorKind, ErrorKind> {
    let status = {
        let table = lock(&server.services.introductions);
        match table.find(auth_key, monotonic_ns()).map(|service| service.try_send(message)) {
            Ok(Ok(())) => IntroduceStatus::Passed,
            Ok(Err(mpsc::error::TrySendError::Full(_))) => IntroduceStatus::Busy,
            Ok(Err(mpsc::error::TrySendError::Closed(_))) => IntroduceStatus::Unknown,
            Err(status) => status,
        }
    };
    say(&mut driver, Kind::IntroduceAck, &[status as u8])?;
    driver.note().await?;
    Err(ErrorKind::CircuitProtocol)
}

/// Waits for the service that says the cookie, and then joins the two circuits.
async fn rendezvous_point<T: Transport>(
    server: &Arc<Server<T>>,
    account: &Arc<Account>,
    mut driver: LastHop<T>,
    cookie: Cookie,
) -> Result<ErrorKind, ErrorKind> {
    let (sender, mut guest) = oneshot::channel();
    let table = &server.services.rendezvous;
    let ticket = lock(table).insert(cookie, sender).ok_or(ErrorKind::ResourceLimit)?;
    let leave = Leave(|| lock(table).remove(&cookie, ticket));
    say(&mut driver, Kind::RendezvousEstablished, &[])?;
    let coming = std::future::poll_fn(|cx| {
        match driver.poll_note(cx) {
            Poll::Ready(Ok(_)) => return Poll::Ready(Err(ErrorKind::CircuitProtocol)),
            Poll::Ready(Err(kind)) => return Poll::Ready(Err(kind)),
            Poll::Pending => {}
        }
        std::pin::Pin::new(&mut guest).poll(cx).map_err(|_| ErrorKind::RendezvousFailed)
    });
    let guest = tokio::time::timeout(RENDEZVOUS_WAIT, coming)
        .await
        .map_err(|_| ErrorKind::Timeout)??;
    drop(leave);
    say(&mut driver, Kind::Rendezvous2, &guest.reply)?;
    let (RelaySide { circuit }, mut send, from_client, out) = driver.into_parts();
    let layers = circuit.into_layers().map_err(|error| error.kind())?;
    tell(&mut send, &out, account).await?;
    let (there, back) = splice(layers, guest.layers);
    let sides = Sides {
        from_client,
        to_client: send,
        from_next: guest.recv,
        to_next: guest.send,
    };
    let (there, back) = (Pump::Splice(there), Pump::Splice(back));
    Ok(pump(sides, there, back, &server.bandwidth, account, &server.stats).await)
}

/// A service's answer: hands its circuit to the client's, and waits until both are over.
async fn join<T: Transport>(server: &Arc<Server<T>>, driver: LastHop<T>, cookie: &Cookie, reply: Vec<u8>) -> Result<ErrorKind, ErrorKind> {
    let waiting = lock(&server.services.rendezvous).take(cookie).ok_or(ErrorKind::RendezvousFailed)?;
    let (RelaySide { circuit }, send, recv, _) = driver.into_parts();
    let (over, joined) = oneshot::channel();
    let guest = Guest {
        layers: circuit.into_layers().map_err(|error| error.kind())?,
        send,
        recv,
        reply,
        _over: over,
    };
    waiting.send(guest).map_err(|_| ErrorKind::RendezvousFailed)?;
    let _ = joined.await;
    Ok(ErrorKind::CircuitClosed)
}
