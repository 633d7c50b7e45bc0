//! What the two ends report.

use anonnet_cells::{Cookie, EndReason, IntroduceStatus, Resolved, Target};
use anonnet_crypto::keys::NodeId;
use core::net::SocketAddr;

/// A stream of a circuit: from 1 on, each number once.
pub type StreamId = u16;

/// What happened on the client's end.
#[derive(Clone, Copy, Debug)]
pub enum Event<'a> {
    /// The hop with this number, from 0, is part of the circuit.
    HopReady(usize),
    /// The circuit is complete; streams can be opened.
    Ready,
    /// The last hop has connected the stream.
    Connected {
        /// The stream.
        stream: StreamId,
    },
    /// Bytes of a stream.
    Data {
        /// The stream.
        stream: StreamId,
        /// Never empty; call `consumed` once the application has taken them.
        data: &'a [u8],
    },
    /// The other side sends nothing more; it still reads.
    Finished {
        /// The stream.
        stream: StreamId,
    },
    /// Both directions are over.
    Ended {
        /// The stream.
        stream: StreamId,
        /// Why; never Done.
        reason: EndReason,
    },
    /// There is more credit to send on.
    Credit {
        /// The stream.
        stream: StreamId,
    },
    /// The answer to `resolve`.
    Resolved {
        /// The stream, which is over.
        stream: StreamId,
        /// The addresses, or why there are none.
        answer: Resolved<'a>,
    },
    /// The last hop is an introduction point of this service now.
    IntroEstablished,
    /// A client's introduction, still sealed.
    Introduce2 {
        /// [`anonnet_cells::INTRODUCE2_LEN`] bytes.
        message: &'a [u8],
    },
    /// What became of `introduce`.
    IntroduceAck(IntroduceStatus),
    /// The last hop waits for the cookie.
    RendezvousEstablished,
    /// The service is at the other end; streams to its ports can be opened.
    Joined,
}

/// An EXTEND of the client. Not yet validated: that is the relay's.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ExtendRequest {
    /// The relay to extend to.
    pub node_id: NodeId,
    /// Where it is.
    pub address: SocketAddr,
    /// What to send it in CREATE cells.
    pub handshake: Vec<u8>,
}

/// What section 11 asks of a last hop.
#[derive(Clone, Debug)]
pub enum ServiceRequest {
    /// Be an introduction point. That it was asked for this circuit, by who holds the key, was checked.
    EstablishIntro {
        /// The key, which names the introduction point.
        auth_key: [u8; 32],
    },
    /// Pass an introduction on.
    Introduce {
        /// To which introduction point.
        auth_key: [u8; 32],
        /// The INTRODUCE2.
        message: Vec<u8>,
    },
    /// Wait for a service.
    EstablishRendezvous {
        /// What it will say.
        cookie: Cookie,
    },
    /// Join this circuit with the client's that waits for that.
    Rendezvous {
        /// The cookie.
        cookie: Cookie,
        /// The RENDEZVOUS2.
        reply: Vec<u8>,
    },
}

/// What happened on the last hop's end.
#[derive(Clone, Debug)]
pub enum HopEvent<'a> {
    /// Make the circuit one hop longer.
    Extend(ExtendRequest),
    /// Open a stream to a target.
    Begin {
        /// The stream.
        stream: StreamId,
        /// Where to.
        target: Target<'a>,
    },
    /// Open a stream to this relay's RPC.
    BeginDir {
        /// The stream.
        stream: StreamId,
    },
    /// Resolve a name.
    Resolve {
        /// The stream.
        stream: StreamId,
        /// The name.
        name: &'a str,
    },
    /// Bytes of a stream; they may come before it is connected.
    Data {
        /// The stream.
        stream: StreamId,
        /// Never empty; call `consumed` once the target has taken them.
        data: &'a [u8],
    },
    /// The client sends nothing more; it still reads.
    Finished {
        /// The stream.
        stream: StreamId,
    },
    /// Both directions are over.
    Ended {
        /// The stream.
        stream: StreamId,
        /// Why; never Done.
        reason: EndReason,
    },
    /// There is more credit to send on.
    Credit {
        /// The stream.
        stream: StreamId,
    },
    /// Do something for a service or its client.
    Service(ServiceRequest),
}
