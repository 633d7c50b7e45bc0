//! A circuit of section 11: it carries one of that section's messages, and streams only once it is joined with a service's.

use super::ClientCircuit;
use crate::error::{CircuitError, StreamError, Violation};
use crate::event::Event;
use crate::last_hop::{LastHop, Way};
use crate::limits::MAX_JOIN_HANDSHAKES;
use crate::mux::{Mux, Side};
use crate::seal::write_message;
use anonnet_cells::{CellError, Cookie, INTRODUCE1_LEN, INTRODUCE2_LEN, IntroduceStatus, Kind, Message, RENDEZVOUS2_LEN, Reassembly};
use anonnet_crypto::cgo::ClientLayer;
use anonnet_crypto::handshake::HopSecrets;
use anonnet_crypto::service::{self, IntroKeys, ServiceClient};

const _: () = assert!(INTRODUCE1_LEN == service::INTRODUCE1_LEN && INTRODUCE2_LEN == service::INTRODUCE2_LEN);
const _: () = assert!(RENDEZVOUS2_LEN == service::SERVICE_REPLY_LEN && anonnet_cells::ESTABLISH_INTRO_LEN == service::ESTABLISH_LEN);

/// What the last hop was asked, and what may come from it now.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Stage {
    /// ESTABLISH_INTRO went out.
    EstablishingIntro,
    /// Introductions come.
    Intro,
    /// INTRODUCE1 went out.
    Introducing,
    /// ESTABLISH_RENDEZVOUS went out.
    EstablishingRendezvous,
    /// RENDEZVOUS2 may come.
    Rendezvous,
    /// Nothing more.
    Over,
}

/// A circuit's part in section 11.
pub(super) struct Role {
    stage: Stage,
    parts: Reassembly,
    /// Those that the service may answer.
    #[expect(clippy::vec_box, reason = "they come so, and are not moved again")]
    handshakes: Vec<Box<ServiceClient>>,
}

impl ClientCircuit {
    /// Whether one of section 11's messages may be sent: the circuit is complete, and nothing was.
    pub fn is_unused(&self) -> bool {
        self.is_ready() && self.role.is_none() && !self.joined && !self.mux.was_used()
    }

    /// Whether the service is at the other end.
    pub const fn is_joined(&self) -> bool {
        self.joined
    }

    /// Asks the last hop to wait for a service that says the cookie: [`Event::RendezvousEstablished`].
    /// [`StreamError::NotReady`] unless the circuit is unused.
    pub fn establish_rendezvous(&mut self, cookie: &Cookie, out: &mut Vec<u8>) -> Result<(), StreamError> {
        self.take_role(Stage::EstablishingRendezvous, Kind::EstablishRendezvous, cookie, out)
    }

    /// Takes the state of an introduction whose answer may come over this circuit. [`StreamError::NotReady`] before
    /// [`Event::RendezvousEstablished`]; [`StreamError::Limit`] for more than [`MAX_JOIN_HANDSHAKES`].
    pub fn expect_service(&mut self, handshake: Box<ServiceClient>) -> Result<(), StreamError> {
        let role = self.role.as_mut().filter(|role| role.stage == Stage::Rendezvous);
        let role = role.ok_or(StreamError::NotReady)?;
        if role.handshakes.len() >= MAX_JOIN_HANDSHAKES {
            return Err(StreamError::Limit);
        }
        role.handshakes.push(handshake);
        Ok(())
    }

    /// Hands an INTRODUCE1 to the last hop: [`Event::IntroduceAck`]. [`StreamError::NotReady`] unless the circuit is unused.
    pub fn introduce(&mut self, message: &[u8], out: &mut Vec<u8>) -> Result<(), StreamError> {
        if message.len() != INTRODUCE1_LEN {
            return Err(StreamError::Cell(CellError::Payload { kind: Kind::Introduce1 }));
        }
        self.take_role(Stage::Introducing, Kind::Introduce1, message, out)
    }

    /// Asks the last hop to be an introduction point: [`Event::IntroEstablished`], then [`Event::Introduce2`].
    /// [`StreamError::NotReady`] unless the circuit is unused.
    pub fn establish_intro(&mut self, keys: &IntroKeys, out: &mut Vec<u8>) -> Result<(), StreamError> {
        let bind = self.bind.as_deref().ok_or(StreamError::NotReady)?;
        let payload = keys.establish(bind);
        self.take_role(Stage::EstablishingIntro, Kind::EstablishIntro, &payload, out)
    }

    fn take_role(&mut self, stage: Stage, kind: Kind, payload: &[u8], out: &mut Vec<u8>) -> Result<(), StreamError> {
        if !self.is_unused() {
            return Err(StreamError::NotReady);
        }
        write_message(self.forward.as_mut_slice(), kind, payload, out)?;
        self.role = Some(Box::new(Role {
            stage,
            parts: Reassembly::new(),
            handshakes: Vec::new(),
        }));
        Ok(())
    }

    /// A service's answer: appends the RENDEZVOUS1, and gives the service's end of what the circuit carries from now, on which the client opens
    /// streams. [`StreamError::NotReady`] unless the circuit is unused; it is over then.
    pub fn rendezvous(mut self, cookie: &Cookie, secrets: &HopSecrets, reply: &[u8], out: &mut Vec<u8>) -> Result<LastHop, StreamError> {
        if !self.is_unused() {
            return Err(StreamError::NotReady);
        }
        write_message(self.forward.as_mut_slice(), Kind::Rendezvous1, &[cookie, reply].concat(), out)?;
        let way = Way {
            forward: self.forward,
            backward: self.backward,
        };
        Ok(LastHop::of_service(secrets, way))
    }

    /// A message of the last hop on a circuit with a role. It is what that role waits for, or the end.
    pub(super) fn answered(&mut self, message: &Message<'_>, sink: &mut impl FnMut(Event<'_>)) -> Result<(), CircuitError> {
        let refused = CircuitError::from(Violation::WrongState(message.kind));
        let Some(role) = &mut self.role else { return Err(refused) };
        if message.stream != 0 || message.seq != 0 {
            return Err(refused);
        }
        let (next, event) = match (role.stage, message.kind) {
            (Stage::EstablishingIntro, Kind::IntroEstablished) => (Stage::Intro, Event::IntroEstablished),
            (Stage::EstablishingRendezvous, Kind::RendezvousEstablished) => (Stage::Rendezvous, Event::RendezvousEstablished),
            (Stage::Introducing, Kind::IntroduceAck) => (Stage::Over, Event::IntroduceAck(IntroduceStatus::read(message.data)?)),
            (Stage::Intro, Kind::Introduce2) => {
                if let Some(whole) = role.parts.receive(message)? {
                    if whole.len() != INTRODUCE2_LEN {
                        return Err(CellError::Payload { kind: Kind::Introduce2 }.into());
                    }
                    sink(Event::Introduce2 { message: &whole });
                }
                return Ok(());
            }
            (Stage::Rendezvous, Kind::Rendezvous2) => {
                if let Some(reply) = role.parts.receive(message)? {
                    self.join(&reply)?;
                    sink(Event::Joined);
                }
                return Ok(());
            }
            _ => return Err(refused),
        };
        role.stage = next;
        sink(event);
        Ok(())
    }

    /// The service's answer: one of the handshakes that wait takes it, or the circuit is over.
    fn join(&mut self, reply: &[u8]) -> Result<(), CircuitError> {
        let hop = self.forward.len();
        let role = self.role.take().ok_or(CircuitError::State)?;
        let mut result = Err(Violation::Unexpected.into());
        for handshake in &role.handshakes {
            result = handshake.finish(reply).map_err(|error| CircuitError::Handshake { hop, error });
            if result.is_ok() {
                break;
            }
        }
        let secrets = result?;
        self.forward.push(ClientLayer::new(&secrets.forward));
        self.backward.push(ClientLayer::new(&secrets.backward));
        self.mux = Mux::new(Side::Client);
        self.joined = true;
        Ok(())
    }
}
