//! The numbers: commands of cells, kinds of messages.

use crate::error::CellError;
use crate::extend::EXTEND_PREFIX_MAX;
use crate::fragment::MAX_HANDSHAKE;
use crate::message::MAX_DATA;
use crate::resolved::MAX_RESOLVED_LEN;
use crate::service::{COOKIE_LEN, ESTABLISH_INTRO_LEN, INTRODUCE1_LEN, INTRODUCE2_LEN, RENDEZVOUS1_LEN, RENDEZVOUS2_LEN};
use crate::target::{MAX_NAME_LEN, MAX_TARGET_LEN};
use crate::window::WINDOW_LEN;

/// The first byte of a cell.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[repr(u8)]
pub enum Command {
    /// An onion cell.
    Relay = 1,
    /// An onion cell that may carry EXTEND; counted by every relay, only away from the client.
    RelayEarly = 2,
    /// A part of a handshake request.
    Create = 3,
    /// A part of a handshake reply.
    Created = 4,
}

impl TryFrom<u8> for Command {
    type Error = CellError;

    fn try_from(byte: u8) -> Result<Self, CellError> {
        match byte {
            1 => Ok(Self::Relay),
            2 => Ok(Self::RelayEarly),
            3 => Ok(Self::Create),
            4 => Ok(Self::Created),
            other => Err(CellError::UnknownCommand(other)),
        }
    }
}

macro_rules! kinds {
    ($($(#[$doc:meta])* $name:ident = $number:literal,)*) => {
        /// What a message is. Every number of the protocol is here; [`Kind::is_built`] says which ones this version speaks.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
        #[repr(u8)]
        pub enum Kind { $($(#[$doc])* $name = $number,)* }

        impl Kind {
            /// Every kind there is, by number.
            pub const ALL: &'static [Self] = &[$(Self::$name,)*];
        }

        impl TryFrom<u8> for Kind {
            type Error = CellError;

            #[inline]
            fn try_from(byte: u8) -> Result<Self, CellError> {
                match byte {
                    $($number => Ok(Self::$name),)*
                    other => Err(CellError::UnknownKind(other)),
                }
            }
        }
    };
}

kinds! {
    /// To the last hop: make the circuit one hop longer.
    Extend = 1,
    /// The answer: the new hop's handshake reply.
    Extended = 2,
    /// Open a stream to a target.
    Begin = 3,
    /// Open a stream to the last hop itself, for its RPC.
    BeginDir = 4,
    /// The stream is open.
    Connected = 5,
    /// Bytes of a stream.
    Data = 6,
    /// Up to which offset the other side may send on a stream.
    Window = 7,
    /// The end of one direction or of both.
    End = 8,
    /// Resolve a name at the exit.
    Resolve = 9,
    /// The addresses, or why there are none.
    Resolved = 10,
    /// Section 8.
    Ack = 11,
    /// Section 8.
    Link = 12,
    /// Section 8.
    Linked = 13,
    /// Section 8.
    Switch = 14,
    /// Section 8.
    Drop = 15,
    /// To the last hop: be an introduction point of a service.
    EstablishIntro = 16,
    /// It is one.
    IntroEstablished = 17,
    /// A client's introduction, to the introduction point.
    Introduce1 = 18,
    /// The same, to the service.
    Introduce2 = 19,
    /// What became of an introduction.
    IntroduceAck = 20,
    /// To the last hop: wait for a cookie.
    EstablishRendezvous = 21,
    /// It waits.
    RendezvousEstablished = 22,
    /// A service's answer, to the rendezvous point.
    Rendezvous1 = 23,
    /// The same, to the client.
    Rendezvous2 = 24,
}

impl Kind {
    /// Whether this version speaks it.
    pub const fn is_built(self) -> bool {
        (self as u8) < (Self::Ack as u8) || self.is_of_services()
    }

    /// Whether it is one of section 11: of the circuit itself, and not on one that carries streams.
    pub const fn is_of_services(self) -> bool {
        (self as u8) >= (Self::EstablishIntro as u8)
    }

    /// Whether it changes a stream, and so carries a sequence number from 1 on; the others carry 0.
    pub const fn changes_stream(self) -> bool {
        matches!(
            self,
            Self::Begin | Self::BeginDir | Self::Connected | Self::Data | Self::End | Self::Resolve | Self::Resolved
        )
    }

    /// The most bytes that a whole message of this kind has, all its parts together.
    #[inline]
    pub const fn max_len(self) -> usize {
        match self {
            Self::Extend => EXTEND_PREFIX_MAX + MAX_HANDSHAKE,
            Self::Extended => MAX_HANDSHAKE,
            Self::Begin => MAX_TARGET_LEN,
            Self::Data => MAX_DATA,
            Self::Window => WINDOW_LEN,
            Self::End => 1,
            Self::Resolve => MAX_NAME_LEN,
            Self::Resolved => MAX_RESOLVED_LEN,
            Self::EstablishIntro => ESTABLISH_INTRO_LEN,
            Self::Introduce1 => INTRODUCE1_LEN,
            Self::Introduce2 => INTRODUCE2_LEN,
            Self::IntroduceAck => 1,
            Self::EstablishRendezvous => COOKIE_LEN,
            Self::Rendezvous1 => RENDEZVOUS1_LEN,
            Self::Rendezvous2 => RENDEZVOUS2_LEN,
            _ => 0,
        }
    }

    /// Whether it may come in parts: only what can be longer than one message.
    pub const fn comes_in_parts(self) -> bool {
        self.max_len() > MAX_DATA
    }
}

#[cfg(test)]
mod tests {
    use super::{Command, Kind};
    use crate::CellError;

    #[test]
    fn every_number_is_its_own_and_the_rest_is_unknown() {
        for byte in 0..=255u8 {
            match Kind::try_from(byte) {
                Ok(kind) => assert_eq!(kind as u8, byte),
                Err(error) => {
                    assert!(byte == 0 || byte > 24);
                    assert_eq!(error, CellError::UnknownKind(byte));
                }
            }
            match Command::try_from(byte) {
                Ok(command) => assert_eq!(command as u8, byte),
                Err(error) => assert_eq!(error, CellError::UnknownCommand(byte)),
            }
        }
        assert_eq!(Kind::ALL.len(), 24);
        assert_eq!(Kind::ALL.iter().filter(|kind| kind.is_built()).count(), 19);
    }

    #[test]
    fn only_what_is_longer_than_a_cell_comes_in_parts() {
        let parts: Vec<_> = Kind::ALL.iter().filter(|kind| kind.comes_in_parts()).collect();
        assert_eq!(
            parts,
            [
                &Kind::Extend,
                &Kind::Extended,
                &Kind::Introduce1,
                &Kind::Introduce2,
                &Kind::Rendezvous1,
                &Kind::Rendezvous2
            ]
        );
    }
}
