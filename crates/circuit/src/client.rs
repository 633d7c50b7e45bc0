//! The client's end of a circuit.

mod service;

use crate::error::{CircuitError, StreamError, Violation};
use crate::event::{Event, StreamId};
use crate::limits::MAX_HOPS;
use crate::mux::{Mux, MuxEvent, Side, micros};
use crate::seal::{Seal, not_empty};
use anonnet_cells::{
    Assembler, BODY_LEN, BodyWriter, Cell, CellError, Command, EndReason, Extend, Host, Kind, MAX_TARGET_LEN, Message, Messages,
    Reassembly, Target, append, cells, check_name, split, write_fragments,
};
use anonnet_crypto::cgo::{ClientLayer, client_receive};
use anonnet_crypto::handshake::ClientHandshake;
use anonnet_crypto::keys::NodeId;
use core::fmt;
use core::net::SocketAddr;
use core::time::Duration;
use rand_core::CryptoRng;
use zeroize::Zeroizing;

/// A relay of a path.
#[derive(Clone, PartialEq, Eq)]
pub struct Hop {
    /// Who it is.
    pub node_id: NodeId,
    /// Its published circuit key.
    pub onion_key: [u8; 32],
    /// Where the hop before it finds it.
    pub address: SocketAddr,
}

// A path never reaches a log through a derived Debug.
impl fmt::Debug for Hop {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Hop(..)")
    }
}

/// The hop that is being added.
struct Building {
    handshake: ClientHandshake,
    reply: Reply,
}

/// In what form its reply comes.
enum Reply {
    Created(Assembler),
    Extended(Reassembly),
}

/// A circuit, built hop by hop along a path, and the streams on it.
///
/// Give [`ClientCircuit::start`]'s cells to the first hop, feed what comes back to [`ClientCircuit::receive`], and send what it
/// appends, until [`Event::Ready`].
pub struct ClientCircuit {
    path: Box<[Hop]>,
    /// One layer a hop that is built, away from the client.
    forward: Vec<ClientLayer<BODY_LEN>>,
    /// The same, towards the client.
    backward: Vec<ClientLayer<BODY_LEN>>,
    building: Option<Box<Building>>,
    mux: Mux,
    /// What names this circuit to its last hop and this client, until it carries streams.
    bind: Option<Box<Zeroizing<[u8; 32]>>>,
    role: Option<Box<service::Role>>,
    /// A service is at the other end: the last of the layers is one that it shares with this client.
    joined: bool,
}

impl fmt::Debug for ClientCircuit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ClientCircuit")
            .field("built", &self.hops_built())
            .field("hops", &self.path.len())
            .finish_non_exhaustive()
    }
}

impl ClientCircuit {
    /// A circuit along that path, 1 to [`MAX_HOPS`] hops. [`StreamError::Path`] for another length.
    pub fn new(path: Vec<Hop>) -> Result<Self, StreamError> {
        let hops = path.len();
        if hops == 0 || hops > MAX_HOPS {
            return Err(StreamError::Path { hops });
        }
        Ok(Self {
            path: path.into(),
            // One more for a service: a layer's secrets are not left behind by a larger buffer.
            forward: Vec::with_capacity(hops + 1),
            backward: Vec::with_capacity(hops + 1),
            building: None,
            mux: Mux::new(Side::Client),
            bind: None,
            role: None,
            joined: false,
        })
    }

    /// Begins: appends the CREATE cells for the first hop. [`CircuitError::Handshake`] when its key is none; [`CircuitError::State`] when it
    /// was begun before.
    pub fn start(&mut self, rng: &mut impl CryptoRng, out: &mut Vec<u8>) -> Result<(), CircuitError> {
        if self.building.is_some() || !self.forward.is_empty() {
            return Err(CircuitError::State);
        }
        let (handshake, request) = self.handshake(rng)?;
        write_fragments(Command::Create, &request, out)?;
        self.building = Some(Box::new(Building {
            handshake,
            reply: Reply::Created(Assembler::new(Command::Created)),
        }));
        Ok(())
    }

    /// Takes a run of whole cells, which it overwrites, and tells what was in them, in order. An error ends the circuit; events that came before it
    /// stand.
    pub fn receive(
        &mut self,
        run: &mut [u8],
        rng: &mut impl CryptoRng,
        out: &mut Vec<u8>,
        sink: &mut impl FnMut(Event<'_>),
    ) -> Result<(), CircuitError> {
        for cell in cells(run)? {
            let ready = self.is_ready();
            match &mut self.building {
                None if ready => self.streams(cell, sink)?,
                None => return Err(Violation::Unexpected.into()),
                Some(building) => {
                    let complete = match &mut building.reply {
                        Reply::Created(assembler) => assembler.receive(cell.as_slice())?,
                        Reply::Extended(parts) => {
                            let body = open(&mut self.backward, cell)?;
                            extended(body, parts)?
                        }
                    };
                    if let Some(reply) = complete {
                        self.advance(&reply, rng, out, sink)?;
                    }
                }
            }
        }
        Ok(())
    }

    /// Whether the circuit is complete.
    pub fn is_ready(&self) -> bool {
        self.forward.len() >= self.path.len()
    }

    /// How many hops are part of it already.
    pub fn hops_built(&self) -> usize {
        self.forward.len()
    }

    /// The path it was made with.
    pub fn path(&self) -> &[Hop] {
        &self.path
    }

    /// Streams that count against [`crate::limits::MAX_STREAMS`].
    pub fn open_streams(&self) -> usize {
        self.mux.open_streams()
    }

    /// Whether another stream can be opened now.
    pub fn can_open(&self) -> bool {
        self.is_ready() && self.role.is_none() && self.mux.can_open()
    }

    /// Gives back the memory that the keys take while in use; the next cell takes it again. For circuits that idle.
    pub fn rest(&mut self) {
        self.forward.iter_mut().for_each(ClientLayer::rest);
        self.backward.iter_mut().for_each(ClientLayer::rest);
    }

    /// Opens a stream to a target. Data may be sent on it at once.
    /// [`StreamError::NotReady`], [`StreamError::Limit`], [`StreamError::IdsExhausted`], [`StreamError::Cell`] for a name or port that is none, or a
    /// host that is not at the other end: a service has ports, and an exit has no ports of its own.
    pub fn begin(&mut self, target: Target<'_>, out: &mut Vec<u8>) -> Result<StreamId, StreamError> {
        if self.joined != (target.host == Host::Service) {
            return Err(CellError::Name.into());
        }
        self.open(Kind::Begin, target.write(&mut [0; MAX_TARGET_LEN])?, out)
    }

    /// Opens a stream to the last hop itself, for RPC frames. Errors as of [`ClientCircuit::begin`].
    pub fn begin_dir(&mut self, out: &mut Vec<u8>) -> Result<StreamId, StreamError> {
        self.no_service()?;
        self.open(Kind::BeginDir, &[], out)
    }

    /// Asks the last hop for the addresses of a name; the answer is [`Event::Resolved`]. Errors as of [`ClientCircuit::begin`].
    pub fn resolve(&mut self, name: &str, out: &mut Vec<u8>) -> Result<StreamId, StreamError> {
        check_name(name)?;
        self.no_service()?;
        self.open(Kind::Resolve, name.as_bytes(), out)
    }

    fn no_service(&self) -> Result<(), StreamError> {
        if self.joined { Err(StreamError::NotConnected) } else { Ok(()) }
    }

    fn open(&mut self, kind: Kind, payload: &[u8], out: &mut Vec<u8>) -> Result<StreamId, StreamError> {
        if !self.is_ready() || self.role.is_some() {
            return Err(StreamError::NotReady);
        }
        self.bind = None;
        self.mux.begin(self.forward.as_mut_slice(), kind, payload, out)
    }

    /// Sends as much of `data` as there is credit for, and gives the number of bytes.
    /// [`StreamError::Unknown`], [`StreamError::Finished`], [`StreamError::NotConnected`] (a RESOLVE), [`StreamError::SeqExhausted`].
    pub fn send(&mut self, stream: StreamId, data: &[u8], out: &mut Vec<u8>) -> Result<usize, StreamError> {
        self.mux.send(self.forward.as_mut_slice(), stream, data, out)
    }

    /// How many bytes `send` would take now; 0 for a stream that is over.
    pub fn sendable(&self, stream: StreamId) -> usize {
        self.mux.sendable(stream)
    }

    /// Ends this direction; the other goes on. Nothing happens on a stream that is over.
    pub fn finish(&mut self, stream: StreamId, out: &mut Vec<u8>) -> Result<(), StreamError> {
        self.mux.finish(self.forward.as_mut_slice(), stream, out)
    }

    /// Ends both directions; no event of the stream follows. Nothing happens on a stream that is over, or on one of `resolve`.
    /// [`StreamError::Reason`] for Done.
    pub fn reset(&mut self, stream: StreamId, reason: EndReason, out: &mut Vec<u8>) -> Result<(), StreamError> {
        self.mux.reset(self.forward.as_mut_slice(), stream, reason, out)
    }

    /// The application took `len` bytes of the stream. [`StreamError::Consumed`] when so many never came.
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
        self.mux.flush(self.forward.as_mut_slice(), micros(now), out)
    }

    /// One cell of the complete circuit.
    #[inline]
    fn streams(&mut self, cell: &mut Cell, sink: &mut impl FnMut(Event<'_>)) -> Result<(), CircuitError> {
        let body = open(&mut self.backward, cell)?;
        for message in Messages::new(body) {
            let message = message?;
            if self.role.is_some() {
                self.answered(&message, sink)?;
                continue;
            }
            self.mux.receive(&message, &mut |event| {
                sink(match event {
                    MuxEvent::Connected { stream } => Event::Connected { stream },
                    MuxEvent::Data { stream, data } => Event::Data { stream, data },
                    MuxEvent::Finished { stream } => Event::Finished { stream },
                    MuxEvent::Ended { stream, reason } => Event::Ended { stream, reason },
                    MuxEvent::Credit { stream } => Event::Credit { stream },
                    MuxEvent::Resolved { stream, answer } => Event::Resolved { stream, answer },
                    // The client's mux refuses these.
                    MuxEvent::Begin { .. } | MuxEvent::BeginDir { .. } | MuxEvent::Resolve { .. } => return,
                });
            })?;
        }
        Ok(())
    }

    /// A hop has answered: check it, and go on to the next.
    fn advance(
        &mut self,
        reply: &[u8],
        rng: &mut impl CryptoRng,
        out: &mut Vec<u8>,
        sink: &mut impl FnMut(Event<'_>),
    ) -> Result<(), CircuitError> {
        let hop = self.forward.len();
        let building = self.building.take().ok_or(CircuitError::State)?;
        let (secrets, _) = building
            .handshake
            .finish(reply)
            .map_err(|error| CircuitError::Handshake { hop, error })?;
        self.forward.push(ClientLayer::new(&secrets.forward));
        self.backward.push(ClientLayer::new(&secrets.backward));
        sink(Event::HopReady(hop));
        if self.is_ready() {
            self.bind = Some(Box::new(Zeroizing::new(secrets.bind)));
            sink(Event::Ready);
            return Ok(());
        }
        let (handshake, request) = self.handshake(rng)?;
        let next = self.path.get(hop + 1).ok_or(CircuitError::State)?;
        let extend = Extend {
            node_id: next.node_id.0,
            address: next.address,
            handshake: &request,
        };
        let [first, second] = extend.write()?;
        for (more, data) in [(true, first), (false, second)] {
            append::<(), CellError>(out, Command::RelayEarly, |tag, body| {
                BodyWriter::new(body).push(&Message {
                    kind: Kind::Extend,
                    stream: 0,
                    seq: 0,
                    more,
                    data: &data,
                })?;
                self.forward.as_mut_slice().seal(Command::RelayEarly, tag, body);
                Ok(())
            })?;
        }
        self.building = Some(Box::new(Building {
            handshake,
            reply: Reply::Extended(Reassembly::new()),
        }));
        Ok(())
    }

    /// Begins the handshake with the hop after those that are built.
    fn handshake(&self, rng: &mut impl CryptoRng) -> Result<(ClientHandshake, Vec<u8>), CircuitError> {
        let hop = self.forward.len();
        let next = self.path.get(hop).ok_or(CircuitError::State)?;
        ClientHandshake::start(rng, &next.node_id, &next.onion_key, &[]).map_err(|error| CircuitError::Handshake { hop, error })
    }
}

/// Takes the layers off a cell, which must come from the last of the hops.
#[inline]
fn open<'a>(layers: &mut [ClientLayer<BODY_LEN>], cell: &'a mut Cell) -> Result<&'a anonnet_cells::Body, CircuitError> {
    let parts = split(cell)?;
    // RELAY_EARLY towards the client would be a way to mark a circuit.
    if parts.command != Command::Relay {
        return Err(Violation::WrongCommand(parts.command).into());
    }
    match client_receive(layers, parts.command as u8, parts.tag, parts.body) {
        None => Err(Violation::Unrecognised.into()),
        Some(hop) if hop + 1 != layers.len() => Err(Violation::WrongHop.into()),
        Some(_) => not_empty(parts.body),
    }
}

/// Reads a body that may only hold a part of EXTENDED.
fn extended(body: &anonnet_cells::Body, parts: &mut Reassembly) -> Result<Option<Vec<u8>>, CircuitError> {
    let mut complete = None;
    for message in Messages::new(body) {
        let message = message?;
        // A second EXTENDED in the same cell would be from a hop that is not the last any more.
        if message.kind != Kind::Extended || message.stream != 0 || message.seq != 0 || complete.is_some() {
            return Err(Violation::WrongState(message.kind).into());
        }
        complete = parts.receive(&message)?;
    }
    Ok(complete)
}
