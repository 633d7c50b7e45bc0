//! The messages of `.anon` services (section 11 of the protocol): their lengths, and what a relay reads of them.

use crate::error::CellError;
use crate::kind::Kind;

/// Bytes of a rendezvous cookie.
pub const COOKIE_LEN: usize = 20;
/// Bytes of an ESTABLISH_INTRO: authentication key[32] | MAC[32] | signature[64].
pub const ESTABLISH_INTRO_LEN: usize = 128;
/// Bytes of an INTRODUCE2: what the service gets, opaque to the relay.
pub const INTRODUCE2_LEN: usize = 3166;
/// Bytes of an INTRODUCE1: authentication key[32], then the INTRODUCE2.
pub const INTRODUCE1_LEN: usize = 32 + INTRODUCE2_LEN;
/// Bytes of a RENDEZVOUS2: what the client gets, opaque to the relay.
pub const RENDEZVOUS2_LEN: usize = 1152;
/// Bytes of a RENDEZVOUS1: cookie[20], then the RENDEZVOUS2.
pub const RENDEZVOUS1_LEN: usize = COOKIE_LEN + RENDEZVOUS2_LEN;

/// What a client meets its service with.
pub type Cookie = [u8; COOKIE_LEN];

/// What an introduction point says to an INTRODUCE1: one byte.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum IntroduceStatus {
    /// It was passed on.
    Passed = 0,
    /// There is no such introduction point here.
    Unknown = 1,
    /// The service takes no more for now.
    Busy = 2,
}

impl IntroduceStatus {
    /// Reads the payload of an INTRODUCE_ACK.
    pub fn read(payload: &[u8]) -> Result<Self, CellError> {
        match payload {
            [0] => Ok(Self::Passed),
            [1] => Ok(Self::Unknown),
            [2] => Ok(Self::Busy),
            _ => Err(CellError::Payload { kind: Kind::IntroduceAck }),
        }
    }
}

/// Reads an ESTABLISH_RENDEZVOUS.
pub fn read_cookie(payload: &[u8]) -> Result<Cookie, CellError> {
    payload.try_into().map_err(|_| CellError::Payload {
        kind: Kind::EstablishRendezvous,
    })
}

/// Reads an INTRODUCE1: whose introduction point is meant, and what its service gets.
pub fn read_introduce1(payload: &[u8]) -> Result<([u8; 32], &[u8; INTRODUCE2_LEN]), CellError> {
    let malformed = CellError::Payload { kind: Kind::Introduce1 };
    let (auth, rest) = payload.split_first_chunk().ok_or(malformed)?;
    Ok((*auth, rest.try_into().map_err(|_| malformed)?))
}

/// Reads a RENDEZVOUS1: whom it is for, and what that client gets.
pub fn read_rendezvous1(payload: &[u8]) -> Result<(Cookie, &[u8; RENDEZVOUS2_LEN]), CellError> {
    let malformed = CellError::Payload { kind: Kind::Rendezvous1 };
    let (cookie, rest) = payload.split_first_chunk().ok_or(malformed)?;
    Ok((*cookie, rest.try_into().map_err(|_| malformed)?))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_length_but_one_is_refused() {
        let bytes = vec![7; INTRODUCE1_LEN + 1];
        for len in [
            0,
            19,
            20,
            21,
            31,
            32,
            RENDEZVOUS1_LEN - 1,
            RENDEZVOUS1_LEN,
            RENDEZVOUS1_LEN + 1,
            INTRODUCE1_LEN - 1,
            INTRODUCE1_LEN,
            INTRODUCE1_LEN + 1,
        ] {
            let bytes = &bytes[..len];
            assert_eq!(read_cookie(bytes).is_ok(), len == COOKIE_LEN);
            assert_eq!(read_introduce1(bytes).is_ok(), len == INTRODUCE1_LEN);
            assert_eq!(read_rendezvous1(bytes).is_ok(), len == RENDEZVOUS1_LEN);
        }
        for status in [IntroduceStatus::Passed, IntroduceStatus::Unknown, IntroduceStatus::Busy] {
            assert_eq!(IntroduceStatus::read(&[status as u8]), Ok(status));
        }
        for payload in [&[][..], &[3], &[255], &[0, 0]] {
            assert!(IntroduceStatus::read(payload).is_err());
        }
    }
}
