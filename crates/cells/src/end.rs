//! END: one byte, why.

use crate::error::CellError;
use crate::kind::Kind;
use anonnet_errors::ErrorKind;

/// Why a direction or a stream ended. [`EndReason::Done`] closes one direction, every other reason closes both.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[repr(u8)]
pub enum EndReason {
    /// This side sends nothing more, and still reads.
    Done = 0,
    /// Both directions are over and nothing is wrong.
    Closed = 1,
    /// The connection to the target broke.
    Reset = 2,
    /// The target refused the connection.
    Refused = 3,
    /// The target cannot be reached.
    Unreachable = 4,
    /// It took too long.
    Timeout = 5,
    /// The name does not resolve.
    NotResolved = 6,
    /// The exit's policy does not allow the target.
    Policy = 7,
    /// A limit of the exit was reached.
    Limit = 8,
    /// The application gave up.
    Cancelled = 9,
    /// Something went wrong inside the relay.
    Internal = 10,
}

impl EndReason {
    /// Every reason, by number.
    pub const ALL: &'static [Self] = &[
        Self::Done,
        Self::Closed,
        Self::Reset,
        Self::Refused,
        Self::Unreachable,
        Self::Timeout,
        Self::NotResolved,
        Self::Policy,
        Self::Limit,
        Self::Cancelled,
        Self::Internal,
    ];

    /// Reads the payload of an END.
    pub fn read(payload: &[u8]) -> Result<Self, CellError> {
        match payload {
            [byte] => Self::from_byte(*byte),
            _ => None,
        }
        .ok_or(CellError::Payload { kind: Kind::End })
    }

    pub(crate) fn from_byte(byte: u8) -> Option<Self> {
        Self::ALL.get(usize::from(byte)).copied()
    }

    /// The registry's entry that the other end's application gets; `None` where nothing is wrong.
    pub const fn kind(self) -> Option<ErrorKind> {
        match self {
            Self::Done | Self::Closed => None,
            Self::Reset | Self::Cancelled => Some(ErrorKind::StreamReset),
            Self::Refused => Some(ErrorKind::StreamRefused),
            Self::Unreachable => Some(ErrorKind::HostUnreachable),
            Self::Timeout => Some(ErrorKind::Timeout),
            Self::NotResolved => Some(ErrorKind::NameNotResolved),
            Self::Policy => Some(ErrorKind::ExitPolicy),
            Self::Limit => Some(ErrorKind::ResourceLimit),
            Self::Internal => Some(ErrorKind::Internal),
        }
    }

    /// The reason that tells the other end of an error of ours; what it need not know becomes [`EndReason::Internal`].
    pub const fn from_kind(kind: ErrorKind) -> Self {
        match kind {
            ErrorKind::StreamReset => Self::Reset,
            ErrorKind::Aborted | ErrorKind::Closed => Self::Cancelled,
            ErrorKind::StreamRefused => Self::Refused,
            ErrorKind::HostUnreachable => Self::Unreachable,
            ErrorKind::Timeout => Self::Timeout,
            ErrorKind::NameNotResolved => Self::NotResolved,
            ErrorKind::ExitPolicy => Self::Policy,
            ErrorKind::ResourceLimit | ErrorKind::RateLimited | ErrorKind::StreamLimit => Self::Limit,
            _ => Self::Internal,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::EndReason;
    use crate::{CellError, Kind};
    use anonnet_errors::ErrorKind;

    #[test]
    fn numbers_and_kinds_agree_both_ways() {
        for (number, reason) in EndReason::ALL.iter().enumerate() {
            assert_eq!(*reason as usize, number);
            assert_eq!(EndReason::read(&[number as u8]), Ok(*reason));
            match reason.kind() {
                None => assert!(matches!(reason, EndReason::Done | EndReason::Closed)),
                Some(ErrorKind::StreamReset) => assert!(matches!(reason, EndReason::Reset | EndReason::Cancelled)),
                Some(kind) => assert_eq!(EndReason::from_kind(kind), *reason),
            }
        }
        assert_eq!(EndReason::from_kind(ErrorKind::KeyInvalid), EndReason::Internal);
        assert_eq!(EndReason::from_kind(ErrorKind::Aborted), EndReason::Cancelled);
        assert_eq!(EndReason::from_kind(ErrorKind::StreamReset), EndReason::Reset);
    }

    #[test]
    fn other_lengths_and_numbers_are_refused() {
        for payload in [&[][..], &[11], &[255], &[0, 0]] {
            assert_eq!(EndReason::read(payload), Err(CellError::Payload { kind: Kind::End }));
        }
    }
}
