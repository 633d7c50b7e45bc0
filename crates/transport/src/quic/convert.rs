//! quinn's errors in our words.

use quinn::{ConnectError, ConnectionError, ReadError, TransportErrorCode, WriteError};

use crate::error::{CloseReason, TransportError};

/// TLS alert 40: no key exchange, cipher or signature in common.
const ALERT_HANDSHAKE_FAILURE: u8 = 40;
/// TLS alert 47: what a peer says that had no share for our only group.
const ALERT_ILLEGAL_PARAMETER: u8 = 47;
/// TLS alert 120.
const ALERT_NO_ALPN: u8 = 120;

fn crypto(code: TransportErrorCode) -> Option<u8> {
    let code = u64::from(code);
    (0x100..0x200).contains(&code).then_some((code & 0xff) as u8)
}

/// Why an established link ended.
pub(crate) fn close_reason(error: &ConnectionError) -> CloseReason {
    match error {
        ConnectionError::LocallyClosed => CloseReason::Local,
        ConnectionError::ApplicationClosed(_) => CloseReason::Peer,
        ConnectionError::TimedOut => CloseReason::Idle,
        ConnectionError::Reset => CloseReason::Reset,
        ConnectionError::ConnectionClosed(close) if crypto(close.error_code).is_some() => CloseReason::Crypto,
        ConnectionError::ConnectionClosed(close) if close.error_code == TransportErrorCode::NO_ERROR => CloseReason::Peer,
        ConnectionError::TransportError(error) if crypto(error.code).is_some() => CloseReason::Crypto,
        ConnectionError::VersionMismatch
        | ConnectionError::TransportError(_)
        | ConnectionError::ConnectionClosed(_)
        | ConnectionError::CidsExhausted => CloseReason::Protocol,
    }
}

/// Why a handshake that we started failed; `refused` says that we did not like the peer's key.
pub(crate) fn dial_error(error: &ConnectionError, refused: bool) -> TransportError {
    if refused {
        return TransportError::Identity;
    }
    let code = match error {
        ConnectionError::TransportError(error) => error.code,
        ConnectionError::ConnectionClosed(close) => close.error_code,
        ConnectionError::TimedOut => return TransportError::Unreachable,
        ConnectionError::VersionMismatch => return TransportError::Downgrade,
        ConnectionError::ApplicationClosed(_) => return TransportError::Refused,
        other => return TransportError::Closed(close_reason(other)),
    };
    match crypto(code) {
        _ if code == TransportErrorCode::CONNECTION_REFUSED => TransportError::Refused,
        Some(ALERT_HANDSHAKE_FAILURE | ALERT_ILLEGAL_PARAMETER) => TransportError::Downgrade,
        Some(ALERT_NO_ALPN) => TransportError::Protocol("alpn"),
        Some(_) => TransportError::Protocol("tls"),
        None => TransportError::Protocol("quic"),
    }
}

/// Why a dial could not even start.
pub(crate) fn connect_error(error: &ConnectError) -> TransportError {
    match error {
        ConnectError::InvalidRemoteAddress(_) => TransportError::Address,
        ConnectError::EndpointStopping => TransportError::Closed(CloseReason::Local),
        ConnectError::CidsExhausted => TransportError::Limit("connection ids"),
        _ => TransportError::Internal("connect"),
    }
}

/// Why a write failed; `Err` holds the error of the link.
pub(crate) fn write_error(error: &WriteError) -> Result<TransportError, &ConnectionError> {
    match error {
        WriteError::ConnectionLost(error) => Err(error),
        _ => Ok(TransportError::StreamReset),
    }
}

/// Why a read failed; `Err` holds the error of the link.
pub(crate) fn read_error(error: &ReadError) -> Result<TransportError, &ConnectionError> {
    match error {
        ReadError::ConnectionLost(error) => Err(error),
        _ => Ok(TransportError::StreamReset),
    }
}

#[cfg(test)]
mod tests {
    use super::{close_reason, connect_error, dial_error, read_error, write_error};
    use crate::error::{CloseReason, TransportError};
    use quinn::{ApplicationClose, ConnectError, ConnectionClose, ConnectionError, ReadError, TransportErrorCode, WriteError};

    fn closed(error_code: TransportErrorCode) -> ConnectionError {
        ConnectionError::ConnectionClosed(ConnectionClose {
            error_code,
            frame_type: None,
            reason: Default::default(),
        })
    }

    fn left() -> ConnectionError {
        ConnectionError::ApplicationClosed(ApplicationClose {
            error_code: 0u32.into(),
            reason: Default::default(),
        })
    }

    #[test]
    fn ends_have_reasons() {
        let cases = [
            (ConnectionError::LocallyClosed, CloseReason::Local),
            (left(), CloseReason::Peer),
            (closed(TransportErrorCode::NO_ERROR), CloseReason::Peer),
            (ConnectionError::TimedOut, CloseReason::Idle),
            (ConnectionError::Reset, CloseReason::Reset),
            (closed(TransportErrorCode::crypto(40)), CloseReason::Crypto),
            (closed(TransportErrorCode::FLOW_CONTROL_ERROR), CloseReason::Protocol),
            (ConnectionError::VersionMismatch, CloseReason::Protocol),
            (ConnectionError::CidsExhausted, CloseReason::Protocol),
        ];
        for (error, reason) in cases {
            assert_eq!(close_reason(&error), reason, "{error}");
        }
    }

    #[test]
    fn failed_dials_say_why() {
        let cases = [
            (closed(TransportErrorCode::CONNECTION_REFUSED), TransportError::Refused),
            (left(), TransportError::Refused),
            (ConnectionError::TimedOut, TransportError::Unreachable),
            (ConnectionError::VersionMismatch, TransportError::Downgrade),
            (closed(TransportErrorCode::crypto(40)), TransportError::Downgrade),
            (closed(TransportErrorCode::crypto(47)), TransportError::Downgrade),
            (closed(TransportErrorCode::crypto(120)), TransportError::Protocol("alpn")),
            (closed(TransportErrorCode::crypto(80)), TransportError::Protocol("tls")),
            (closed(TransportErrorCode::PROTOCOL_VIOLATION), TransportError::Protocol("quic")),
            (ConnectionError::Reset, TransportError::Closed(CloseReason::Reset)),
        ];
        for (error, expected) in cases {
            assert_eq!(dial_error(&error, false), expected, "{error}");
            assert_eq!(dial_error(&error, true), TransportError::Identity);
        }
        let address = "127.0.0.1:1".parse().unwrap();
        assert_eq!(connect_error(&ConnectError::InvalidRemoteAddress(address)), TransportError::Address);
        assert_eq!(
            connect_error(&ConnectError::EndpointStopping),
            TransportError::Closed(CloseReason::Local)
        );
        assert_eq!(connect_error(&ConnectError::CidsExhausted), TransportError::Limit("connection ids"));
        assert_eq!(
            connect_error(&ConnectError::UnsupportedVersion),
            TransportError::Internal("connect")
        );
    }

    #[test]
    fn streams_end_with_their_link_or_alone() {
        assert_eq!(write_error(&WriteError::Stopped(0u32.into())), Ok(TransportError::StreamReset));
        assert_eq!(write_error(&WriteError::ConnectionLost(left())), Err(&left()));
        assert_eq!(read_error(&ReadError::Reset(0u32.into())), Ok(TransportError::StreamReset));
        assert_eq!(read_error(&ReadError::ConnectionLost(left())), Err(&left()));
    }
}
