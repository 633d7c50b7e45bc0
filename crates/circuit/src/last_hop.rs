//! The relay's end of a circuit, while it is the last hop.

use crate::error::{CircuitError, StreamError, Violation};
use crate::event::{ExtendRequest, HopEvent, ServiceRequest, StreamId};
use crate::limits::MAX_RELAY_EARLY;
use crate::mux::{Mux, MuxEvent, Side, micros};
use crate::seal::{Seal, not_empty, write_message};
use anonnet_cells::{
    BODY_LEN, Body, Cell, CellError, Command, EndReason, Extend, Kind, Message, Messages, Reassembly, TAG_LEN, cells, read_cookie,
    read_introduce1, read_rendezvous1, split,
};
use anonnet_crypto::cgo::{ClientLayer, RelayLayer, client_pass, client_receive};
use anonnet_crypto::handshake::HopSecrets;
use anonnet_crypto::keys::NodeId;
use anonnet_crypto::service::verify_establish;
use core::fmt;
use core::net::IpAddr;
use core::time::Duration;
use zeroize::Zeroizing;

/// A relay's layers of a circuit, once it is not the last hop any more.
#[derive(Debug)]
pub struct HopLayers {
    /// Away from the client.
    pub forward: RelayLayer<BODY_LEN>,
    /// Towards the client.
    pub backward: RelayLayer<BODY_LEN>,
    /// RELAY_EARLY cells that the circuit has used up.
    pub early: u8,
    /// A service's end only: its way to the rendezvous point.
    pub(crate) way: Option<Box<Way>>,
}

/// The layers of a service's own circuit, inside of which the layer that it shares with its client lies.
#[derive(Debug)]
pub(crate) struct Way {
    /// Away from the service.
    pub(crate) forward: Vec<ClientLayer<BODY_LEN>>,
    /// Towards it.
    pub(crate) backward: Vec<ClientLayer<BODY_LEN>>,
}

/// A relay's own layer, and at a service's end those of its way around it.
impl Seal for HopLayers {
    #[inline]
    fn seal(&mut self, command: Command, tag: &mut [u8; TAG_LEN], body: &mut Body) {
        self.backward.originate(command as u8, tag, body);
        if let Some(way) = &mut self.way {
            client_pass(&mut way.forward, command as u8, tag, body);
        }
    }
}

/// The last hop: streams to the client, or one EXTEND, or one message of section 11. A service's end of a rendezvous is one too: a hop whose cells
/// come and go through the layers of a circuit of its own.
pub struct LastHop {
    layers: HopLayers,
    /// What names this circuit to its client and this hop.
    bind: Zeroizing<[u8; 32]>,
    /// A message of section 11 came, or its first part: nothing else may.
    serving: bool,
    mux: Mux,
    parts: Reassembly,
    extending: bool,
}

impl fmt::Debug for LastHop {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("LastHop")
            .field("streams", &self.mux.open_streams())
            .field("extending", &self.extending)
            .finish_non_exhaustive()
    }
}

impl LastHop {
    /// From what the handshake with the client gave.
    pub fn new(secrets: &HopSecrets) -> Self {
        Self {
            layers: HopLayers {
                forward: RelayLayer::new(&secrets.forward),
                backward: RelayLayer::new(&secrets.backward),
                early: 0,
                way: None,
            },
            bind: Zeroizing::new(secrets.bind),
            serving: false,
            mux: Mux::new(Side::LastHop),
            parts: Reassembly::new(),
            extending: false,
        }
    }

    /// Takes a run of whole cells, which it overwrites, and tells what was in them, in order. An error ends the circuit; events that came before it
    /// stand.
    pub fn receive(&mut self, run: &mut [u8], sink: &mut impl FnMut(HopEvent<'_>)) -> Result<(), CircuitError> {
        for cell in cells(run)? {
            // Nothing may come while the circuit grows: the client waits for EXTENDED.
            if self.extending {
                return Err(Violation::Unexpected.into());
            }
            self.cell(cell, sink)?;
        }
        Ok(())
    }

    #[inline]
    fn cell(&mut self, cell: &mut Cell, sink: &mut impl FnMut(HopEvent<'_>)) -> Result<(), CircuitError> {
        let parts = split(cell)?;
        let early = parts.command == Command::RelayEarly;
        if let Some(way) = &mut self.layers.way {
            // Nothing else than the client's cells comes through a rendezvous, and no RELAY_EARLY: it would be a mark.
            if parts.command != Command::Relay {
                return Err(Violation::WrongCommand(parts.command).into());
            }
            if client_receive(&mut way.backward, parts.command as u8, parts.tag, parts.body).is_some() {
                return Err(Violation::WrongHop.into());
            }
        }
        if early {
            self.layers.early += 1;
            if self.layers.early > MAX_RELAY_EARLY {
                return Err(Violation::TooManyEarly.into());
            }
        } else if parts.command != Command::Relay {
            return Err(Violation::WrongCommand(parts.command).into());
        }
        if !self.layers.forward.forward(parts.command as u8, parts.tag, parts.body) {
            return Err(Violation::Unrecognised.into());
        }
        let body = not_empty(parts.body)?;
        if early {
            return self.extend(body, sink);
        }
        if self.parts.is_open() && !self.serving {
            return Err(CellError::Interrupted.into());
        }
        for message in Messages::new(body) {
            let message = message?;
            if self.serving || message.kind.is_of_services() {
                self.serve(&message, sink)?;
                continue;
            }
            self.mux.receive(&message, &mut |event| {
                sink(match event {
                    MuxEvent::Begin { stream, target } => HopEvent::Begin { stream, target },
                    MuxEvent::BeginDir { stream } => HopEvent::BeginDir { stream },
                    MuxEvent::Resolve { stream, name } => HopEvent::Resolve { stream, name },
                    MuxEvent::Data { stream, data } => HopEvent::Data { stream, data },
                    MuxEvent::Finished { stream } => HopEvent::Finished { stream },
                    MuxEvent::Ended { stream, reason } => HopEvent::Ended { stream, reason },
                    MuxEvent::Credit { stream } => HopEvent::Credit { stream },
                    // The last hop's mux refuses these.
                    MuxEvent::Connected { .. } | MuxEvent::Resolved { .. } => return,
                });
            })?;
        }
        Ok(())
    }

    /// One of the two cells of an EXTEND: it holds that and nothing else.
    fn extend(&mut self, body: &Body, sink: &mut impl FnMut(HopEvent<'_>)) -> Result<(), CircuitError> {
        let mut messages = Messages::new(body);
        let message = messages.next().ok_or(Violation::ExtendShape)??;
        if let Some(second) = messages.next() {
            second?;
            return Err(Violation::ExtendShape.into());
        }
        if message.kind != Kind::Extend || message.stream != 0 || message.seq != 0 || message.more == self.parts.is_open() {
            return Err(Violation::ExtendShape.into());
        }
        // A circuit that carries streams stays as it is.
        if self.mux.was_used() || self.serving {
            return Err(Violation::WrongState(Kind::Extend).into());
        }
        if let Some(payload) = self.parts.receive(&message)? {
            let extend = Extend::read(&payload)?;
            self.extending = true;
            sink(HopEvent::Extend(ExtendRequest {
                node_id: NodeId(extend.node_id),
                address: extend.address,
                handshake: extend.handshake.to_vec(),
            }));
        }
        Ok(())
    }

    /// Answers an EXTEND with the reply of the new hop: appends the EXTENDED cells, to go to the client before any other, and gives the layers for all
    /// that is only passed on from now. [`CircuitError::State`] when no EXTEND came; [`CircuitError::Cell`] for a reply of a length that none has.
    pub fn extended(mut self, reply: &[u8], out: &mut Vec<u8>) -> Result<HopLayers, CircuitError> {
        if !self.extending {
            return Err(CircuitError::State);
        }
        if reply.is_empty() || reply.len() > Kind::Extended.max_len() {
            return Err(CellError::HandshakeLength { len: reply.len() }.into());
        }
        write_message(&mut self.layers, Kind::Extended, reply, out)?;
        Ok(self.layers)
    }

    /// The one message of section 11 that a circuit has: nothing may come before it, and nothing after it.
    fn serve(&mut self, message: &Message<'_>, sink: &mut impl FnMut(HopEvent<'_>)) -> Result<(), CircuitError> {
        let begun = self.parts.is_open();
        if message.stream != 0 || message.seq != 0 || self.serving != begun || self.mux.was_used() || self.layers.way.is_some() {
            return Err(Violation::WrongState(message.kind).into());
        }
        self.serving = true;
        let whole;
        let payload = if begun || message.kind.comes_in_parts() {
            whole = self.parts.receive(message)?;
            let Some(whole) = &whole else { return Ok(()) };
            whole
        } else {
            message.data
        };
        sink(HopEvent::Service(match message.kind {
            Kind::EstablishIntro => ServiceRequest::EstablishIntro {
                auth_key: verify_establish(&self.bind, payload).map_err(|_| Violation::IntroProof)?,
            },
            Kind::Introduce1 => {
                let (auth_key, message) = read_introduce1(payload)?;
                ServiceRequest::Introduce {
                    auth_key,
                    message: message.to_vec(),
                }
            }
            Kind::EstablishRendezvous => ServiceRequest::EstablishRendezvous {
                cookie: read_cookie(payload)?,
            },
            Kind::Rendezvous1 => {
                let (cookie, reply) = read_rendezvous1(payload)?;
                ServiceRequest::Rendezvous {
                    cookie,
                    reply: reply.to_vec(),
                }
            }
            kind => return Err(Violation::WrongState(kind).into()),
        }));
        Ok(())
    }

    /// Says something of section 11 to the client. [`CircuitError::State`] unless a message of section 11 came.
    pub fn say(&mut self, kind: Kind, payload: &[u8], out: &mut Vec<u8>) -> Result<(), CircuitError> {
        if !self.serving || self.parts.is_open() || !kind.is_of_services() {
            return Err(CircuitError::State);
        }
        Ok(write_message(&mut self.layers, kind, payload, out)?)
    }

    /// The layers of a circuit that is joined with another one. [`CircuitError::State`] unless a message of section 11 came.
    pub fn into_layers(self) -> Result<HopLayers, CircuitError> {
        if self.serving { Ok(self.layers) } else { Err(CircuitError::State) }
    }

    /// A service's end, after its RENDEZVOUS1.
    pub(crate) fn of_service(secrets: &HopSecrets, way: Way) -> Self {
        let mut hop = Self::new(secrets);
        hop.layers.way = Some(Box::new(way));
        hop
    }

    /// Streams that count against [`crate::limits::MAX_STREAMS`].
    pub fn open_streams(&self) -> usize {
        self.mux.open_streams()
    }

    /// Gives back the memory that the keys take while in use; the next cell takes it again. For circuits that idle.
    pub fn rest(&mut self) {
        self.layers.forward.rest();
        self.layers.backward.rest();
        if let Some(way) = &mut self.layers.way {
            way.forward.iter_mut().for_each(ClientLayer::rest);
            way.backward.iter_mut().for_each(ClientLayer::rest);
        }
    }

    /// The stream is connected: nothing can be sent on it before. [`StreamError::Unknown`]; [`StreamError::NotConnected`] for a RESOLVE, or
    /// when it was said before.
    pub fn connected(&mut self, stream: StreamId, out: &mut Vec<u8>) -> Result<(), StreamError> {
        self.mux.connected(&mut self.layers, stream, out)
    }

    /// The stream cannot be had, for that reason; also the answer to a RESOLVE that has none. As [`LastHop::reset`].
    pub fn refuse(&mut self, stream: StreamId, reason: EndReason, out: &mut Vec<u8>) -> Result<(), StreamError> {
        self.reset(stream, reason, out)
    }

    /// The answer to a RESOLVE: the first [`anonnet_cells::MAX_RESOLVED_ADDRESSES`] addresses; none is [`EndReason::NotResolved`].
    /// [`StreamError::Unknown`]; [`StreamError::NotConnected`] for a stream of another kind.
    pub fn resolved(&mut self, stream: StreamId, addresses: &[IpAddr], out: &mut Vec<u8>) -> Result<(), StreamError> {
        let reason = if addresses.is_empty() {
            EndReason::NotResolved
        } else {
            EndReason::Done
        };
        self.mux.resolved(&mut self.layers, stream, reason, addresses, out)
    }

    /// Sends as much of `data` as there is credit for, and gives the number of bytes.
    /// [`StreamError::Unknown`], [`StreamError::Finished`], [`StreamError::NotConnected`], [`StreamError::SeqExhausted`].
    pub fn send(&mut self, stream: StreamId, data: &[u8], out: &mut Vec<u8>) -> Result<usize, StreamError> {
        self.mux.send(&mut self.layers, stream, data, out)
    }

    /// How many bytes `send` would take now; 0 for a stream that is not connected, or over.
    pub fn sendable(&self, stream: StreamId) -> usize {
        self.mux.sendable(stream)
    }

    /// Ends this direction; the other goes on. Nothing happens on a stream that is over. [`StreamError::NotConnected`].
    pub fn finish(&mut self, stream: StreamId, out: &mut Vec<u8>) -> Result<(), StreamError> {
        self.mux.finish(&mut self.layers, stream, out)
    }

    /// Ends both directions; no event of the stream follows. Nothing happens on a stream that is over. [`StreamError::Reason`] for Done.
    pub fn reset(&mut self, stream: StreamId, reason: EndReason, out: &mut Vec<u8>) -> Result<(), StreamError> {
        self.mux.reset(&mut self.layers, stream, reason, out)
    }

    /// The target took `len` bytes of the stream. [`StreamError::Consumed`] when so many never came.
    pub fn consumed(&mut self, stream: StreamId, len: usize) -> Result<(), StreamError> {
        self.mux.consumed(stream, len)
    }

    /// Whether `flush` has something to do.
    pub fn needs_flush(&self) -> bool {
        self.mux.needs_flush()
    }

    /// Appends the WINDOWs and last words that are due. Call it each time the buffer was handed to the link.
    /// `now` is the time since any moment, the same for the circuit's life: by it the circuit knows how much credit its streams need.
    pub fn flush(&mut self, now: Duration, out: &mut Vec<u8>) -> Result<(), CircuitError> {
        self.mux.flush(&mut self.layers, micros(now), out)
    }
}
