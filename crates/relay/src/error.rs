//! What ends a circuit at a relay, and why an exit refuses a target.

use anonnet_cells::{CellError, Command};
use anonnet_circuit::{CircuitError, Violation};
use anonnet_crypto::CryptoError;
use anonnet_errors::{ErrorKind, HasKind};

/// Why an EXTEND is refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ExtendFault {
    /// To this relay itself.
    ToSelf,
    /// Back to the relay that the circuit came from.
    ToPrevious,
    /// To an address that no relay of the public network has.
    PrivateAddress,
}

/// Ends the circuit, always with [`crate::TEARDOWN_CODE`]: the other side learns nothing of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum RelayError {
    /// A cell is malformed.
    #[error("cell: {0}")]
    Cell(#[from] CellError),
    /// The client broke the protocol.
    #[error("circuit: {0}")]
    Circuit(#[from] CircuitError),
    /// The handshake request does not authenticate.
    #[error("handshake: {0}")]
    Handshake(#[from] CryptoError),
    /// The EXTEND is not one that this relay does.
    #[error("extend: {0:?}")]
    Extend(ExtendFault),
    /// A cell with that command where it does not belong.
    #[error("command {0:?} in the wrong place")]
    WrongCommand(Command),
    /// More RELAY_EARLY cells than a circuit has.
    #[error("too many RELAY_EARLY cells")]
    TooManyEarly,
    /// A cell for this hop after it extended the circuit.
    #[error("a cell for a hop that is not the last")]
    Recognised,
    /// A call or a cell that does not fit the state of the circuit.
    #[error("the circuit is not in the state for that")]
    State,
}

impl From<Violation> for RelayError {
    fn from(violation: Violation) -> Self {
        Self::Circuit(violation.into())
    }
}

impl HasKind for RelayError {
    fn kind(&self) -> ErrorKind {
        match self {
            Self::Cell(error) => error.kind(),
            Self::Circuit(error) => error.kind(),
            Self::Handshake(error) => error.kind(),
            Self::Extend(_) => ErrorKind::ExtendRefused,
            Self::WrongCommand(_) | Self::TooManyEarly | Self::Recognised | Self::State => ErrorKind::CircuitProtocol,
        }
    }
}

/// Why an exit does not connect to an address.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Refusal {
    /// Not an address of the public internet.
    #[error("not a public address")]
    PrivateAddress,
    /// The policy rejects it.
    #[error("rejected by the policy")]
    Rejected,
}

impl HasKind for Refusal {
    fn kind(&self) -> ErrorKind {
        ErrorKind::ExitPolicy
    }
}

/// A line of an exit policy that is none.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum PolicyError {
    /// Not `accept` or `reject` and a pattern.
    #[error("line {line}: not `accept PATTERN` or `reject PATTERN`")]
    Form {
        /// From 1.
        line: usize,
    },
    /// The address part is no address, prefix or `*`.
    #[error("line {line}: not an address, a prefix or *")]
    Address {
        /// From 1.
        line: usize,
    },
    /// The port part is no port, range or `*`.
    #[error("line {line}: not a port, a range or *")]
    Port {
        /// From 1.
        line: usize,
    },
    /// More than [`crate::limits::MAX_POLICY_RULES`] lines.
    #[error("{lines} lines")]
    TooLong {
        /// How many.
        lines: usize,
    },
}

impl HasKind for PolicyError {
    fn kind(&self) -> ErrorKind {
        ErrorKind::ConfigInvalid
    }
}
