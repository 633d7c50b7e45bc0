//! A circuit at a relay: CREATE, the handshake, last hop, one EXTEND, pumps.

use crate::error::{ExtendFault, RelayError};
use crate::extend::RelayRules;
use crate::pump::{BackwardPump, ForwardPump};
use anonnet_cells::{Assembler, Command, write_fragments};
use anonnet_circuit::{HopEvent, HopLayers, LastHop};
use anonnet_crypto::handshake::{HopSecrets, relay_respond};
use anonnet_crypto::keys::{CircuitKeyRing, NodeId};
use core::fmt;
use rand_core::CryptoRng;
use std::sync::Arc;

/// What happened on a circuit.
#[derive(Clone, Debug)]
pub enum RelayEvent<'a> {
    /// A complete handshake request: answer it with [`RelayCircuit::respond`], or with [`handshake`] and [`RelayCircuit::created`].
    Create(Vec<u8>),
    /// Something for the last hop. An EXTEND in it was validated.
    Hop(HopEvent<'a>),
}

// Nearly all of a circuit's life is the largest variant; a box would only add an allocation.
#[expect(clippy::large_enum_variant)]
enum State {
    /// CREATE cells come.
    Creating(Assembler),
    /// The request is with the engine.
    Answering,
    /// Streams, or an EXTEND.
    Last(LastHop),
}

/// A circuit at a relay, from its first cell until it is extended.
pub struct RelayCircuit {
    rules: Option<Arc<RelayRules>>,
    previous: Option<NodeId>,
    state: State,
}

impl fmt::Debug for RelayCircuit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self.state {
            State::Creating(_) => "RelayCircuit(creating)",
            State::Answering => "RelayCircuit(answering)",
            State::Last(_) => "RelayCircuit(last hop)",
        })
    }
}

/// A relay's side of the handshake: the cryptography alone, for another thread. Gives what [`RelayCircuit::created`] takes.
/// [`RelayError::Handshake`].
pub fn handshake(
    rng: &mut impl CryptoRng,
    node_id: &NodeId,
    ring: &CircuitKeyRing,
    now_s: u64,
    request: &[u8],
) -> Result<(HopSecrets, Vec<u8>), RelayError> {
    // This version knows no extensions: it ignores the client's and gives none.
    Ok(relay_respond(rng, node_id, ring, now_s, request, |_| Vec::new())?)
}

impl RelayCircuit {
    /// A stream of a link on which a circuit may begin; `previous` is the relay at the link's other end, if it proved that it is one.
    pub fn new(rules: Arc<RelayRules>, previous: Option<NodeId>) -> Self {
        Self {
            rules: Some(rules),
            previous,
            state: State::Creating(Assembler::new(Command::Create)),
        }
    }

    /// A service's end of a rendezvous, which is served as the last hop of a circuit is.
    pub const fn of_service(hop: LastHop) -> Self {
        Self {
            rules: None,
            previous: None,
            state: State::Last(hop),
        }
    }

    /// Takes a run of whole cells from the client's side, which it overwrites, and tells what was in them, in order. An error ends the circuit.
    /// Between [`RelayEvent::Create`] and the answer, and from an EXTEND on, any cell is an error.
    pub fn receive(&mut self, run: &mut [u8], sink: &mut impl FnMut(RelayEvent<'_>)) -> Result<(), RelayError> {
        match &mut self.state {
            State::Creating(assembler) => {
                if let Some(request) = assembler.receive(run)? {
                    self.state = State::Answering;
                    sink(RelayEvent::Create(request));
                }
                Ok(())
            }
            State::Answering => Err(RelayError::State),
            State::Last(hop) => {
                let (rules, previous, mut refused) = (&self.rules, self.previous.as_ref(), None);
                hop.receive(run, &mut |event| match &event {
                    HopEvent::Extend(request) => match rules
                        .as_ref()
                        .map_or(Err(ExtendFault::ToSelf), |rules| rules.check(request, previous))
                    {
                        Ok(()) => sink(RelayEvent::Hop(event)),
                        Err(fault) => refused = Some(fault),
                    },
                    _ => sink(RelayEvent::Hop(event)),
                })?;
                refused.map_or(Ok(()), |fault| Err(RelayError::Extend(fault)))
            }
        }
    }

    /// Answers the request: does the cryptography and appends the CREATED cells. [`RelayError::Handshake`], [`RelayError::State`].
    pub fn respond(
        &mut self,
        rng: &mut impl CryptoRng,
        ring: &CircuitKeyRing,
        now_s: u64,
        request: &[u8],
        out: &mut Vec<u8>,
    ) -> Result<(), RelayError> {
        let (secrets, reply) = handshake(rng, &self.rules.as_ref().ok_or(RelayError::State)?.node_id, ring, now_s, request)?;
        self.created(&secrets, &reply, out)
    }

    /// Answers the request with what [`handshake`] gave. [`RelayError::State`] when there is none to answer.
    pub fn created(&mut self, secrets: &HopSecrets, reply: &[u8], out: &mut Vec<u8>) -> Result<(), RelayError> {
        if !matches!(self.state, State::Answering) {
            return Err(RelayError::State);
        }
        write_fragments(Command::Created, reply, out)?;
        self.state = State::Last(LastHop::new(secrets));
        Ok(())
    }

    /// The last hop's end, to send on. [`RelayError::State`] before the handshake.
    pub fn last_hop(&mut self) -> Result<&mut LastHop, RelayError> {
        match &mut self.state {
            State::Last(hop) => Ok(hop),
            _ => Err(RelayError::State),
        }
    }

    /// The layers of a circuit that is joined with another one. [`RelayError::State`], [`RelayError::Circuit`] unless a message of section 11 came.
    pub fn into_layers(self) -> Result<HopLayers, RelayError> {
        match self.state {
            State::Last(hop) => Ok(hop.into_layers()?),
            _ => Err(RelayError::State),
        }
    }

    /// The new hop has answered: appends the EXTENDED cells, to go to the client's side before any other, and gives the pumps for all that follows.
    /// [`RelayError::Circuit`] when no EXTEND came, or for a reply of a length that none has.
    pub fn extended(self, reply: &[u8], out: &mut Vec<u8>) -> Result<(ForwardPump, BackwardPump), RelayError> {
        let State::Last(hop) = self.state else {
            return Err(RelayError::State);
        };
        let layers = hop.extended(reply, out)?;
        Ok((ForwardPump::new(layers.forward, layers.early), BackwardPump::new(layers.backward)))
    }
}
