//! What can go wrong on a circuit, and in the calls that use one.

use anonnet_cells::{CellError, Command, Kind};
use anonnet_crypto::CryptoError;
use anonnet_errors::{ErrorKind, HasKind};

/// How the other side broke the protocol.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Violation {
    /// A sequence number that is not the next one, or one where there is none.
    Seq,
    /// A message for a stream that is not open.
    UnknownStream,
    /// A new stream whose number is not the next one.
    StreamNumber,
    /// More than [`crate::limits::MAX_STREAMS`] streams.
    StreamLimit,
    /// A message of that kind where it does not belong.
    WrongState(Kind),
    /// More DATA than there was credit.
    Credit,
    /// A WINDOW that does not grow.
    WindowNotGrowing,
    /// A WINDOW beyond what one stream or the circuit may have.
    WindowTooLarge,
    /// A WINDOW that the data sent since does not account for.
    WindowUnearned,
    /// A cell with that command where it does not belong.
    WrongCommand(Command),
    /// More than [`crate::limits::MAX_RELAY_EARLY`] RELAY_EARLY cells.
    TooManyEarly,
    /// An EXTEND that is not exactly two RELAY_EARLY cells.
    ExtendShape,
    /// A cell that no hop recognises: it was changed, repeated, lost or put out of order on its way.
    Unrecognised,
    /// A cell that another hop than the last one made.
    WrongHop,
    /// A cell while none may come.
    Unexpected,
    /// A cell without a message: it could only be a mark.
    EmptyCell,
    /// An ESTABLISH_INTRO that was not made for this circuit, or not by who holds the key.
    IntroProof,
}

/// Ends the circuit.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum CircuitError {
    /// A cell or message is malformed.
    #[error("cell: {0}")]
    Cell(#[from] CellError),
    /// The other side broke the protocol.
    #[error("violation: {0:?}")]
    Violation(Violation),
    /// The handshake with a hop failed.
    #[error("handshake with hop {hop}: {error}")]
    Handshake {
        /// Which hop, from 0.
        hop: usize,
        /// Why.
        error: CryptoError,
    },
    /// The sequence numbers are used up.
    #[error("sequence numbers are used up")]
    SeqExhausted,
    /// A call that does not fit the state of the circuit.
    #[error("the circuit is not in the state for that")]
    State,
}

impl From<Violation> for CircuitError {
    fn from(violation: Violation) -> Self {
        Self::Violation(violation)
    }
}

impl HasKind for CircuitError {
    fn kind(&self) -> ErrorKind {
        match self {
            Self::Cell(error) => error.kind(),
            Self::Violation(_) => ErrorKind::CircuitProtocol,
            Self::Handshake { error, .. } => error.kind(),
            Self::SeqExhausted => ErrorKind::CircuitClosed,
            Self::State => ErrorKind::Internal,
        }
    }
}

/// A call on a stream, or one that would open one, was refused. The circuit goes on, except after [`StreamError::SeqExhausted`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum StreamError {
    /// The circuit is not built yet.
    #[error("the circuit is not ready")]
    NotReady,
    /// There is no such stream, or it is over.
    #[error("no such stream")]
    Unknown,
    /// This side has ended its direction.
    #[error("the stream was finished")]
    Finished,
    /// The stream is not connected yet, or is no stream of data.
    #[error("the stream is not connected")]
    NotConnected,
    /// As many streams as a circuit may have.
    #[error("no more streams on this circuit")]
    Limit,
    /// The stream numbers of this circuit are used up.
    #[error("stream numbers are used up")]
    IdsExhausted,
    /// The sequence numbers are used up: close the circuit.
    #[error("sequence numbers are used up")]
    SeqExhausted,
    /// The application cannot have taken more than arrived.
    #[error("more bytes consumed than received")]
    Consumed,
    /// A reason that does not say why both directions end.
    #[error("not a reason to reset a stream")]
    Reason,
    /// The path has no hops, or too many.
    #[error("a path of {hops} hops")]
    Path {
        /// How many.
        hops: usize,
    },
    /// The target or the answer does not fit a message.
    #[error("cell: {0}")]
    Cell(#[from] CellError),
}

impl HasKind for StreamError {
    fn kind(&self) -> ErrorKind {
        match self {
            Self::NotReady | Self::Unknown | Self::Finished => ErrorKind::Closed,
            Self::Limit | Self::IdsExhausted => ErrorKind::StreamLimit,
            Self::SeqExhausted => ErrorKind::CircuitClosed,
            Self::NotConnected | Self::Consumed | Self::Reason | Self::Path { .. } => ErrorKind::InvalidArgument,
            Self::Cell(error) => error.kind(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::{CircuitError, StreamError, Violation};
    use anonnet_cells::CellError;
    use anonnet_crypto::HandshakeFault;
    use anonnet_errors::{ErrorKind, HasKind};

    #[test]
    fn each_error_has_its_kind() {
        let circuit = [
            (CircuitError::Cell(CellError::Padding), ErrorKind::CellMalformed),
            (CircuitError::from(Violation::Seq), ErrorKind::CircuitProtocol),
            (
                CircuitError::Handshake {
                    hop: 1,
                    error: HandshakeFault::Auth.into(),
                },
                ErrorKind::HandshakeFailed,
            ),
            (CircuitError::SeqExhausted, ErrorKind::CircuitClosed),
            (CircuitError::State, ErrorKind::Internal),
        ];
        for (error, kind) in circuit {
            assert_eq!(error.kind(), kind, "{error}");
        }
        let stream = [
            (StreamError::NotReady, ErrorKind::Closed),
            (StreamError::Unknown, ErrorKind::Closed),
            (StreamError::Finished, ErrorKind::Closed),
            (StreamError::NotConnected, ErrorKind::InvalidArgument),
            (StreamError::Limit, ErrorKind::StreamLimit),
            (StreamError::IdsExhausted, ErrorKind::StreamLimit),
            (StreamError::SeqExhausted, ErrorKind::CircuitClosed),
            (StreamError::Consumed, ErrorKind::InvalidArgument),
            (StreamError::Reason, ErrorKind::InvalidArgument),
            (StreamError::Path { hops: 0 }, ErrorKind::InvalidArgument),
            (StreamError::Cell(CellError::Name), ErrorKind::InvalidAddress),
            (StreamError::Cell(CellError::Full), ErrorKind::Internal),
        ];
        for (error, kind) in stream {
            assert_eq!(error.kind(), kind, "{error}");
        }
    }
}
