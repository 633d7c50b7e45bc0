//! One circuit through this relay: CREATE, then the last hop's work, then, once extended, nothing but pumping.

use std::future::Future;
use std::pin::{Pin, pin};
use std::sync::Arc;

use anonnet_cells::{Assembler, Command, write_fragments};
use anonnet_circuit::ExtendRequest;
use anonnet_errors::{Blame, ErrorKind, HasKind};
use anonnet_relay::{RelayCircuit, RelayEvent};
use anonnet_transport::{DialRole, Link, STREAM_WINDOW, StreamKind, StreamSend, Transport};
use tokio::time::Instant;

use super::Server;
#[cfg(feature = "exit")]
use super::exit;
use super::services;
use super::side::{RelayNote, RelaySide};
use crate::clock::unix_seconds;
use crate::driver::Driver;
use crate::limits::{CREATE_TIMEOUT, EXTEND_TIMEOUT};
use crate::pump::{Pump, Sides, pump};
use crate::quota::{Account, Hold};
use crate::rng::os_rng;
use crate::scratch::CellReader;
use crate::task::spawn;

/// Serves a circuit until it ends; its halves are torn down by being dropped.
pub(super) async fn serve<T: Transport>(
    server: Arc<Server<T>>,
    link: T::Link,
    send: <T::Link as Link>::Send,
    recv: <T::Link as Link>::Recv,
) {
    let _counted = server.stats.circuits.count();
    let account = server.quota.account();
    let kind = tokio::select! {
        biased;
        () = account.reset() => {
            server.stats.memory_resets.add(1);
            ErrorKind::ResourceLimit
        }
        kind = run(&server, &account, &link, send, recv) => kind.unwrap_or_else(|kind| kind),
    };
    if kind.blame() == Blame::Peer {
        server.stats.destroyed.add(1);
    }
}

/// What a circuit needs until it is extended is several times what it needs after that, so each has a box of its own.
async fn run<T: Transport>(
    server: &Arc<Server<T>>,
    account: &Arc<Account>,
    link: &T::Link,
    send: <T::Link as Link>::Send,
    recv: <T::Link as Link>::Recv,
) -> Result<ErrorKind, ErrorKind> {
    match Box::pin(serve_end(server, account, link, send, recv)).await? {
        Served::Over(kind) => Ok(kind),
        Served::Extended(pump) => Ok(pump.await),
    }
}

enum Served<'a> {
    Over(ErrorKind),
    /// What passes its cells from now on.
    Extended(Pin<Box<dyn Future<Output = ErrorKind> + Send + 'a>>),
}

/// Is a circuit's last hop, until it is over or extended.
async fn serve_end<'a, T: Transport>(
    server: &'a Arc<Server<T>>,
    account: &'a Arc<Account>,
    link: &T::Link,
    send: <T::Link as Link>::Send,
    recv: <T::Link as Link>::Recv,
) -> Result<Served<'a>, ErrorKind> {
    let limited = !link.is_authenticated() && !server.limits.allow_handshake(link.remote_address().ip());
    if limited {
        server.stats.handshakes_refused.add(1);
        return Err(ErrorKind::RateLimited);
    }
    let (circuit, recv, out) = create(server, link, recv).await?;
    let mut driver = Driver::new(RelaySide { circuit }, send, recv, out)
        .with_bandwidth(&server.bandwidth)
        .with_account(account);
    let request = loop {
        let note = match driver.note().await {
            Ok(note) => note,
            Err(kind) => {
                driver.end_all(ErrorKind::CircuitClosed);
                return Err(kind);
            }
        };
        match note {
            #[cfg(not(feature = "exit"))]
            RelayNote::Outside { handle } => handle.reset(anonnet_cells::EndReason::Policy),
            // What a client says to a service, and nobody to an exit.
            RelayNote::Port { handle, .. } => handle.reset(anonnet_cells::EndReason::Policy),
            #[cfg(feature = "exit")]
            RelayNote::Begin { handle, host, port } => drop(spawn(exit::serve(Arc::clone(server), handle, host, port))),
            #[cfg(feature = "exit")]
            RelayNote::Resolve { handle, name } => drop(spawn(exit::resolve(Arc::clone(server), handle, name))),
            RelayNote::Directory { handle } => {
                drop(spawn(super::link::serve_directory(
                    Arc::clone(server),
                    handle,
                    link.remote_address(),
                )));
            }
            RelayNote::Extend(request) => break request,
            // A box, since few circuits come here and all of them would be larger by it.
            RelayNote::Service(request) => return Box::pin(services::serve(server, account, driver, request)).await.map(Served::Over),
        }
    };
    let (RelaySide { circuit }, mut send, from_client, mut out) = driver.into_parts();
    let (reply, to_next, from_next) = tokio::time::timeout(EXTEND_TIMEOUT, extend(server, request))
        .await
        .map_err(|_| ErrorKind::Timeout)??;
    let (forward, backward) = circuit.extended(&reply, &mut out).map_err(|error| error.kind())?;
    tell(&mut send, &out, account).await?;
    drop((reply, out));
    let sides = Sides {
        from_client,
        to_client: send,
        from_next,
        to_next,
    };
    let (away, back) = (Pump::Forward(forward), Pump::Backward(backward));
    Ok(Served::Extended(Box::pin(pump(
        sides,
        away,
        back,
        &server.bandwidth,
        account,
        &server.stats,
    ))))
}

/// Sends a client the next hop's answer; meanwhile nothing is read from either side.
pub(super) async fn tell(send: &mut impl StreamSend, answer: &[u8], account: &Arc<Account>) -> Result<(), ErrorKind> {
    let mut writing = pin!(send.write_all(answer));
    let mut hold = None;
    let written = std::future::poll_fn(|cx| {
        let polled = writing.as_mut().poll(cx);
        if polled.is_pending() {
            let hold = hold.get_or_insert_with(|| Hold::new(account));
            hold.block(answer.len() + 2 * STREAM_WINDOW as usize);
        }
        polled
    });
    written.await.map_err(|error| error.kind())
}

type Created<T> = (RelayCircuit, CellReader<<<T as Transport>::Link as Link>::Recv>, Vec<u8>);

/// Reads the CREATE, waits for its turn and answers it.
async fn create<T: Transport>(server: &Arc<Server<T>>, link: &T::Link, recv: <T::Link as Link>::Recv) -> Result<Created<T>, ErrorKind> {
    let deadline = Instant::now() + CREATE_TIMEOUT;
    let mut circuit = RelayCircuit::new(Arc::clone(&server.rules), link.peer());
    let mut recv = CellReader::new(recv);
    let reading = async {
        loop {
            let mut request = None;
            recv.run(|run| {
                let mut sink = |event: RelayEvent<'_>| {
                    if let RelayEvent::Create(bytes) = event {
                        request = Some(bytes);
                    }
                };
                circuit.receive(run, &mut sink).map_err(|error| error.kind())
            })
            .await?;
            if let Some(request) = request {
                return Ok::<_, ErrorKind>(request);
            }
        }
    };
    let request = tokio::time::timeout_at(deadline, reading).await.map_err(|_| ErrorKind::Timeout)??;
    let turn = server.gate.enter(deadline).await.inspect_err(|_| {
        server.stats.handshakes_refused.add(1);
    })?;
    let (secrets, reply) = {
        let ring = server.ring.read().unwrap_or_else(std::sync::PoisonError::into_inner);
        anonnet_relay::handshake(&mut os_rng(), &server.node_id, &ring, unix_seconds(), &request).map_err(|error| error.kind())?
    };
    drop(turn);
    server.stats.handshakes.add(1);
    let mut out = Vec::new();
    circuit.created(&secrets, &reply, &mut out).map_err(|error| error.kind())?;
    Ok((circuit, recv, out))
}

type Extended<T> = (
    Vec<u8>,
    <<T as Transport>::Link as Link>::Send,
    CellReader<<<T as Transport>::Link as Link>::Recv>,
);

/// Opens the next hop's stream and brings its answer.
async fn extend<T: Transport>(server: &Arc<Server<T>>, request: ExtendRequest) -> Result<Extended<T>, ErrorKind> {
    let link = server
        .pool
        .get(request.node_id, request.address, DialRole::Node)
        .await
        .map_err(|error| error.kind())?;
    let (mut send, recv) = link.open(StreamKind::Circuit).await.map_err(|error| error.kind())?;
    let mut cells = Vec::new();
    write_fragments(Command::Create, &request.handshake, &mut cells).map_err(|error| error.kind())?;
    send.write_all(&cells).await.map_err(|error| error.kind())?;
    let mut recv = CellReader::new(recv);
    let mut assembler = Assembler::new(Command::Created);
    loop {
        let reply = recv
            .run(|run| assembler.receive(run).map_err(|error| error.kind()))
            .await?
            .flatten();
        if let Some(reply) = reply {
            return Ok((reply, send, recv));
        }
    }
}
