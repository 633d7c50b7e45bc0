//! What can be wrong with a cell.

use crate::kind::Kind;
use anonnet_errors::{ErrorKind, HasKind};

/// A cell or a message is not what the protocol allows. All of these end the circuit.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum CellError {
    /// A run of bytes is not a whole number of cells.
    #[error("not a whole number of cells: {len} bytes")]
    Length {
        /// Bytes in the run.
        len: usize,
    },
    /// A command byte that does not exist.
    #[error("unknown command {0}")]
    UnknownCommand(u8),
    /// A command that does not belong here.
    #[error("command {0:?} in the wrong place")]
    WrongCommand(crate::kind::Command),
    /// The reserved bytes are not zero.
    #[error("reserved bytes are not zero")]
    Reserved,
    /// The tag of a CREATE or CREATED cell is not zero.
    #[error("the tag of a handshake cell is not zero")]
    Tag,
    /// The bytes after the last message are not zero.
    #[error("padding is not zero")]
    Padding,
    /// A message kind that does not exist.
    #[error("unknown message kind {0}")]
    UnknownKind(u8),
    /// A message kind of the protocol that this version does not speak.
    #[error("message kind {0:?} is not spoken here")]
    NotBuilt(Kind),
    /// A message reaches beyond the end of its cell.
    #[error("a message reaches beyond its cell")]
    Truncated,
    /// More bytes than that kind may have.
    #[error("{kind:?} is too long")]
    TooLong {
        /// The kind of the message.
        kind: Kind,
    },
    /// The payload of a message is not of its form.
    #[error("{kind:?} is malformed")]
    Payload {
        /// The kind of the message.
        kind: Kind,
    },
    /// A DATA message without data.
    #[error("empty DATA")]
    EmptyData,
    /// `more` on a kind that always fits one message.
    #[error("{kind:?} does not come in parts")]
    NotFragmentable {
        /// The kind of the message.
        kind: Kind,
    },
    /// Another message came where the next part was due.
    #[error("a message in parts was interrupted")]
    Interrupted,
    /// A part of a handshake is not the next one, or the parts do not agree on the length.
    #[error("handshake cells do not follow each other")]
    Fragment,
    /// A handshake longer than any can be, or empty.
    #[error("a handshake of {len} bytes")]
    HandshakeLength {
        /// The length that was announced.
        len: usize,
    },
    /// A cell after the handshake was complete.
    #[error("a cell too many")]
    Extra,
    /// A host name that is not one.
    #[error("not a host name")]
    Name,
    /// Does not fit into what is left of the cell.
    #[error("no room left in the cell")]
    Full,
}

impl HasKind for CellError {
    fn kind(&self) -> ErrorKind {
        match self {
            Self::Name => ErrorKind::InvalidAddress,
            Self::Full => ErrorKind::Internal,
            _ => ErrorKind::CellMalformed,
        }
    }
}
