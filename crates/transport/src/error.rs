//! What can go wrong with a link. No variant carries an address, a key or prose of the peer's.

use std::{io, time::Duration};

use anonnet_errors::{ErrorKind, HasKind};

/// Why a link ended.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[non_exhaustive]
pub enum CloseReason {
    /// We closed it.
    Local,
    /// The peer closed it.
    Peer,
    /// Nothing came for [`IDLE_TIMEOUT`](crate::limits::IDLE_TIMEOUT).
    Idle,
    /// The peer does not know the link any more.
    Reset,
    /// One side broke the protocol.
    Protocol,
    /// The peer opened streams faster than any honest one.
    Abuse,
    /// The peer could not prove the identity it claimed.
    Identity,
    /// The TLS handshake failed.
    Crypto,
}

/// The error of this crate.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
#[non_exhaustive]
pub enum TransportError {
    /// The socket could not be made or bound.
    #[error("binding failed: {0}")]
    Bind(io::ErrorKind),
    /// Not an address that can be dialled: port 0, or an unspecified or multicast host.
    #[error("not an address that can be dialled")]
    Address,
    /// Nobody answered.
    #[error("no answer")]
    Unreachable,
    /// Somebody else answered.
    #[error("the peer is not the one that was asked for")]
    Identity,
    /// The peer does not do the hybrid key exchange (or nothing else that we do).
    #[error("no common TLS parameters")]
    Downgrade,
    /// The peer broke the protocol.
    #[error("protocol violation: {0}")]
    Protocol(&'static str),
    /// The peer turned us away.
    #[error("turned away")]
    Refused,
    /// Somebody answered, but did not finish in time.
    #[error("too slow")]
    Timeout,
    /// A dial of this peer failed lately.
    #[error("backing off for {retry_in:?}")]
    BackingOff {
        /// When a dial is tried again.
        retry_in: Duration,
    },
    /// A limit of ours was reached.
    #[error("limit reached: {0}")]
    Limit(&'static str),
    /// The peer ended this stream before its time.
    #[error("stream reset")]
    StreamReset,
    /// The link is gone.
    #[error("link closed: {0:?}")]
    Closed(CloseReason),
    /// That needs an identity, or a link between nodes.
    #[error("only for nodes")]
    NodeOnly,
    /// The system's randomness or the TLS library failed.
    #[error("internal: {0}")]
    Internal(&'static str),
}

impl HasKind for TransportError {
    fn kind(&self) -> ErrorKind {
        match self {
            Self::Bind(_) => ErrorKind::BindFailed,
            Self::Address => ErrorKind::InvalidAddress,
            Self::Unreachable | Self::BackingOff { .. } => ErrorKind::LinkUnreachable,
            Self::Identity => ErrorKind::LinkIdentity,
            Self::Downgrade | Self::Protocol(_) => ErrorKind::LinkProtocol,
            Self::Refused => ErrorKind::RateLimited,
            Self::Timeout => ErrorKind::Timeout,
            Self::Limit(_) => ErrorKind::ResourceLimit,
            Self::StreamReset => ErrorKind::StreamReset,
            Self::Closed(reason) => reason.kind(),
            Self::NodeOnly => ErrorKind::InvalidArgument,
            Self::Internal(_) => ErrorKind::Internal,
        }
    }
}

impl HasKind for CloseReason {
    fn kind(&self) -> ErrorKind {
        match self {
            Self::Local | Self::Peer | Self::Idle | Self::Reset => ErrorKind::LinkClosed,
            Self::Protocol | Self::Abuse | Self::Crypto => ErrorKind::LinkProtocol,
            Self::Identity => ErrorKind::LinkIdentity,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::{CloseReason, TransportError};
    use anonnet_errors::{ErrorKind, HasKind};
    use std::time::Duration;

    #[test]
    fn every_error_says_what_it_is() {
        let cases = [
            (TransportError::Bind(std::io::ErrorKind::AddrInUse), ErrorKind::BindFailed),
            (TransportError::Address, ErrorKind::InvalidAddress),
            (TransportError::Unreachable, ErrorKind::LinkUnreachable),
            (TransportError::BackingOff { retry_in: Duration::ZERO }, ErrorKind::LinkUnreachable),
            (TransportError::Identity, ErrorKind::LinkIdentity),
            (TransportError::Downgrade, ErrorKind::LinkProtocol),
            (TransportError::Protocol("x"), ErrorKind::LinkProtocol),
            (TransportError::Refused, ErrorKind::RateLimited),
            (TransportError::Timeout, ErrorKind::Timeout),
            (TransportError::Limit("x"), ErrorKind::ResourceLimit),
            (TransportError::StreamReset, ErrorKind::StreamReset),
            (TransportError::Closed(CloseReason::Idle), ErrorKind::LinkClosed),
            (TransportError::Closed(CloseReason::Abuse), ErrorKind::LinkProtocol),
            (TransportError::Closed(CloseReason::Identity), ErrorKind::LinkIdentity),
            (TransportError::NodeOnly, ErrorKind::InvalidArgument),
            (TransportError::Internal("x"), ErrorKind::Internal),
        ];
        for (error, kind) in cases {
            assert_eq!(error.kind(), kind, "{error}");
        }
    }
}
