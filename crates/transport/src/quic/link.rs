//! One QUIC connection as a link.

use std::{
    fmt,
    net::SocketAddr,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use anonnet_crypto::keys::NodeId;
use quinn::Connection;
use tokio::sync::{Mutex, OwnedSemaphorePermit, mpsc};

use super::{
    incoming::{self, Allowance, Control},
    settings::send_window,
    streams::{self, Class, QuicRecv, QuicSend, Shared, TEARDOWN},
};
use crate::{
    bucket::Bucket,
    error::{CloseReason, TransportError},
    limits::{ACCEPT_QUEUE, CLIENT_SEND_WINDOW, LinkLimits, NODE_SEND_WINDOW},
    traits::{Link, LinkStats, StreamKind},
};

/// A stream of the peer's, ready to be handed out.
pub(crate) type Incoming = (StreamKind, QuicSend, QuicRecv);

/// Who is at the other end, and on whose initiative.
pub(crate) struct Established {
    pub(crate) peer: Option<NodeId>,
    pub(crate) inbound: bool,
    /// The control stream, on links between nodes.
    pub(crate) control: Option<Control>,
    /// The first stream of a client, which told that it is one.
    pub(crate) first: Option<Incoming>,
    /// The place among the inbound links.
    pub(crate) permit: Option<OwnedSemaphorePermit>,
}

/// A link over QUIC. Once all clones and all streams are gone, it closes.
#[derive(Clone)]
pub struct QuicLink(Arc<Inner>);

struct Inner {
    connection: Connection,
    shared: Arc<Shared>,
    id: u64,
    peer: Option<NodeId>,
    authenticated: bool,
    inbound: bool,
    /// Circuits we may open; 0 towards clients.
    circuits: u32,
    incoming: Mutex<mpsc::Receiver<Incoming>>,
}

static NEXT_ID: AtomicU64 = AtomicU64::new(1);

impl QuicLink {
    /// Takes over an established connection and starts serving the peer's streams. `shared` is what `first` counts on.
    pub(crate) fn new(connection: Connection, shared: Arc<Shared>, established: Established, limits: &LinkLimits) -> Self {
        let Established {
            peer,
            inbound,
            control,
            first,
            permit,
        } = established;
        let authenticated = control.is_some();
        let (queue, incoming) = mpsc::channel(ACCEPT_QUEUE);
        let (burst, rate, circuits) = if authenticated {
            (limits.node_open_burst, limits.node_open_rate, limits.node_circuits)
        } else {
            (limits.client_open_burst, limits.client_open_rate, limits.client_circuits)
        };
        let most = if authenticated { NODE_SEND_WINDOW } else { CLIENT_SEND_WINDOW };
        connection.set_send_window(send_window(connection.min_rtt(), most));
        let server = incoming::Server {
            connection: connection.clone(),
            shared: Arc::clone(&shared),
            bucket: Bucket::new(burst, rate, shared.born),
            allowance: Allowance::new(circuits),
            kind_deadline: limits.kind_deadline,
            control,
            queue,
            permit,
        };
        tokio::spawn(server.run(first));
        Self(Arc::new(Inner {
            connection,
            shared,
            id: NEXT_ID.fetch_add(1, Ordering::Relaxed),
            peer,
            authenticated,
            inbound,
            circuits: if authenticated || !inbound { circuits } else { 0 },
            incoming: Mutex::new(incoming),
        }))
    }

    fn lost(&self) -> TransportError {
        TransportError::Closed(self.close_reason().unwrap_or(CloseReason::Local))
    }
}

impl fmt::Debug for QuicLink {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // No address and no identity: links are logged.
        f.debug_struct("QuicLink")
            .field("id", &self.0.id)
            .field("inbound", &self.0.inbound)
            .finish_non_exhaustive()
    }
}

impl Link for QuicLink {
    type Send = QuicSend;
    type Recv = QuicRecv;

    fn id(&self) -> u64 {
        self.0.id
    }

    fn peer(&self) -> Option<NodeId> {
        self.0.peer
    }

    fn is_authenticated(&self) -> bool {
        self.0.authenticated
    }

    fn inbound(&self) -> bool {
        self.0.inbound
    }

    fn remote_address(&self) -> SocketAddr {
        self.0.connection.remote_address()
    }

    async fn open(&self, kind: StreamKind) -> Result<(QuicSend, QuicRecv), TransportError> {
        if self.0.circuits == 0 {
            return Err(TransportError::NodeOnly);
        }
        if kind == StreamKind::Circuit && self.0.shared.count(Class::OpenedCircuit) >= self.0.circuits as usize {
            return Err(TransportError::Limit("circuits of a link"));
        }
        match self.0.connection.open_bi().await {
            Ok((send, recv)) => Ok(streams::opened(&self.0.shared, kind, send, recv)),
            Err(error) => Err(TransportError::Closed(self.0.shared.reason(&error))),
        }
    }

    async fn accept(&self) -> Result<Incoming, TransportError> {
        self.0.incoming.lock().await.recv().await.ok_or_else(|| self.lost())
    }

    fn close(&self) {
        self.0.connection.close(TEARDOWN, &[]);
    }

    async fn closed(&self) -> CloseReason {
        let error = self.0.connection.closed().await;
        self.0.shared.reason(&error)
    }

    fn close_reason(&self) -> Option<CloseReason> {
        self.0.connection.close_reason().map(|error| self.0.shared.reason(&error))
    }

    fn stats(&self) -> LinkStats {
        let stats = self.0.connection.stats();
        LinkStats {
            rtt: stats.path.rtt,
            sent_packets: stats.path.sent_packets,
            lost_packets: stats.path.lost_packets,
            sent_bytes: stats.udp_tx.bytes,
            received_bytes: stats.udp_rx.bytes,
            sent_datagrams: stats.udp_tx.datagrams,
            received_datagrams: stats.udp_rx.datagrams,
            congestion_window: stats.path.cwnd,
            mtu: stats.path.current_mtu,
        }
    }

    fn open_streams(&self) -> usize {
        self.0.shared.open_halves()
    }

    fn idle_for(&self) -> Duration {
        self.0.shared.idle_for()
    }

    fn age(&self) -> Duration {
        self.0.shared.born.elapsed()
    }
}
