//! What the engine sees of a network of links: any transport that can do this carries AnonNet.

use std::{
    future::{Future, poll_fn},
    net::SocketAddr,
    task::{Context, Poll},
    time::Duration,
};

use anonnet_crypto::keys::NodeId;
use bytes::Bytes;

use crate::error::{CloseReason, TransportError};

/// As what we dial.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum DialRole {
    /// Anonymously: the peer learns no identity, every packet has one size, the peer opens no streams.
    Client,
    /// As the node we are: both sides prove their identity before anything else.
    Node,
}

/// What a stream carries, told by its first byte.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum StreamKind {
    /// One request and one response.
    Rpc,
    /// One hop of one circuit.
    Circuit,
}

/// The byte that starts the control stream.
pub(crate) const KIND_CONTROL: u8 = 0x01;
const KIND_RPC: u8 = 0x02;
const KIND_CIRCUIT: u8 = 0x03;

impl StreamKind {
    /// The byte on the wire.
    pub const fn byte(self) -> u8 {
        match self {
            Self::Rpc => KIND_RPC,
            Self::Circuit => KIND_CIRCUIT,
        }
    }

    /// The kind that the byte names, if any.
    pub const fn from_byte(byte: u8) -> Option<Self> {
        match byte {
            KIND_RPC => Some(Self::Rpc),
            KIND_CIRCUIT => Some(Self::Circuit),
            _ => None,
        }
    }
}

/// Figures of one link, as the transport itself counts them.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct LinkStats {
    /// Smoothed round-trip time.
    pub rtt: Duration,
    /// Packets sent.
    pub sent_packets: u64,
    /// Packets of those that were lost.
    pub lost_packets: u64,
    /// Bytes sent, with headers and padding.
    pub sent_bytes: u64,
    /// Bytes received, with headers and padding.
    pub received_bytes: u64,
    /// Datagrams sent.
    pub sent_datagrams: u64,
    /// Datagrams received. Unchanged over a time in which an answer was due: the peer is silent.
    pub received_datagrams: u64,
    /// Bytes that may be under way at once.
    pub congestion_window: u64,
    /// Largest UDP payload in use, in bytes.
    pub mtu: u16,
}

/// A way to reach peers.
pub trait Transport: Clone + Send + Sync + 'static {
    /// Its links.
    type Link: Link;

    /// The address of the listening socket, or of the first one that dialled.
    ///
    /// # Errors
    /// [`TransportError::Address`] while there is no socket.
    fn local_addr(&self) -> Result<SocketAddr, TransportError>;

    /// Connects to a peer and proves that it is `node_id`.
    ///
    /// # Errors
    /// `Unreachable`, `Identity`, `Downgrade`, `Refused`, `Timeout`, `Protocol`, `Address`, `NodeOnly`, `Bind`.
    fn dial(&self, node_id: NodeId, address: SocketAddr, role: DialRole)
    -> impl Future<Output = Result<Self::Link, TransportError>> + Send;

    /// The next inbound link, fully established. `None` once the transport is closed, and at once if it does not listen.
    fn accept(&self) -> impl Future<Output = Option<Self::Link>> + Send;

    /// Ends every link and stops listening.
    fn close(&self);

    /// After [`close`](Self::close): until the goodbyes are on their way.
    fn closed(&self) -> impl Future<Output = ()> + Send;
}

/// A connection to one peer, carrying streams. Clones are the same link.
pub trait Link: Clone + Send + Sync + 'static {
    /// Sending halves.
    type Send: StreamSend;
    /// Receiving halves.
    type Recv: StreamRecv;

    /// Different for every link of this process.
    fn id(&self) -> u64;

    /// The identity that the peer proved: the one asked for where we dialled, `None` for inbound client links.
    fn peer(&self) -> Option<NodeId>;

    /// Whether both sides proved an identity.
    fn is_authenticated(&self) -> bool;

    /// Whether the peer dialled.
    fn inbound(&self) -> bool;

    /// Where the peer is now.
    fn remote_address(&self) -> SocketAddr;

    /// Opens a stream. Its first byte goes out together with the first write. Waits while the peer's limit of streams is reached.
    ///
    /// # Errors
    /// `Closed`; `Limit` for a circuit when only the streams kept for RPC are left; `NodeOnly` towards a client.
    fn open(&self, kind: StreamKind) -> impl Future<Output = Result<(Self::Send, Self::Recv), TransportError>> + Send;

    /// The next stream that the peer opened.
    ///
    /// # Errors
    /// `Closed`, once the link is gone.
    fn accept(&self) -> impl Future<Output = Result<(StreamKind, Self::Send, Self::Recv), TransportError>> + Send;

    /// Ends the link and all of its streams.
    fn close(&self);

    /// Until the link is gone.
    fn closed(&self) -> impl Future<Output = CloseReason> + Send;

    /// Why the link is gone, or `None` while it lives.
    fn close_reason(&self) -> Option<CloseReason>;

    /// What the transport counted.
    fn stats(&self) -> LinkStats;

    /// Halves of streams that are still held, whoever opened them.
    fn open_streams(&self) -> usize;

    /// Since when no half is held; zero while one is.
    fn idle_for(&self) -> Duration;

    /// Since when the link is up.
    fn age(&self) -> Duration;
}

/// The half of a stream that we write. Dropping it unfinished resets it.
pub trait StreamSend: Send + Unpin + 'static {
    /// Takes at least one byte of `data`, unless that is empty.
    ///
    /// # Errors
    /// `StreamReset`, `Closed`.
    fn poll_write(&mut self, cx: &mut Context<'_>, data: &[u8]) -> Poll<Result<usize, TransportError>>;

    /// Takes bytes from the front of `data` without copying them.
    ///
    /// # Errors
    /// `StreamReset`, `Closed`.
    fn poll_write_chunk(&mut self, cx: &mut Context<'_>, data: &mut Bytes) -> Poll<Result<usize, TransportError>>;

    /// Writes all of `data`. Not to be cancelled half way.
    ///
    /// # Errors
    /// `StreamReset`, `Closed`.
    fn write_all(&mut self, mut data: &[u8]) -> impl Future<Output = Result<(), TransportError>> + Send {
        async move {
            while !data.is_empty() {
                let taken = poll_fn(|cx| self.poll_write(cx, data)).await?;
                data = data.get(taken..).unwrap_or_default();
            }
            Ok(())
        }
    }

    /// Writes all of `data` without copying. Not to be cancelled half way.
    ///
    /// # Errors
    /// `StreamReset`, `Closed`.
    fn write_chunk(&mut self, mut data: Bytes) -> impl Future<Output = Result<(), TransportError>> + Send {
        async move {
            while !data.is_empty() {
                poll_fn(|cx| self.poll_write_chunk(cx, &mut data)).await?;
            }
            Ok(())
        }
    }

    /// Nothing more will be written. A second call does nothing.
    fn finish(&mut self);

    /// Nothing more will be written, and what was need not arrive. A second call does nothing.
    fn reset(&mut self);

    /// Until the peer stopped the stream, or has everything after [`finish`](Self::finish), or the link is gone.
    fn stopped(&self) -> impl Future<Output = ()> + Send + 'static;
}

/// The half of a stream that we read. Dropping it before its end stops it.
pub trait StreamRecv: Send + Unpin + 'static {
    /// Fills as much of `buffer` as is there. 0 means that the peer finished (unless `buffer` is empty).
    ///
    /// # Errors
    /// `StreamReset`, `Closed`.
    fn poll_read(&mut self, cx: &mut Context<'_>, buffer: &mut [u8]) -> Poll<Result<usize, TransportError>>;

    /// As [`poll_read`](Self::poll_read). Cancelling it loses nothing.
    ///
    /// # Errors
    /// `StreamReset`, `Closed`.
    fn read(&mut self, buffer: &mut [u8]) -> impl Future<Output = Result<usize, TransportError>> + Send {
        async move { poll_fn(|cx| self.poll_read(cx, buffer)).await }
    }

    /// Fills all of `buffer`. Not to be cancelled half way.
    ///
    /// # Errors
    /// `StreamReset`, also where the peer finished too early; `Closed`.
    fn read_exact(&mut self, buffer: &mut [u8]) -> impl Future<Output = Result<(), TransportError>> + Send {
        async move {
            let mut filled = 0;
            while let Some(rest) = buffer.get_mut(filled..)
                && !rest.is_empty()
            {
                match poll_fn(|cx| self.poll_read(cx, rest)).await? {
                    0 => return Err(TransportError::StreamReset),
                    count => filled += count,
                }
            }
            Ok(())
        }
    }

    /// We read no more. A second call does nothing.
    fn stop(&mut self);
}
