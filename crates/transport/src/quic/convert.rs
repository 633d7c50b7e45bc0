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
