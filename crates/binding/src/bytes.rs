//! One place for bytes and their text forms. Bytes are copied on entry: JavaScript can change a buffer while Rust looks at it.

use std::net::SocketAddr;

use crate::error::{Result, invalid};

/// Exactly `N` bytes.
pub(crate) fn array<const N: usize>(bytes: &[u8], what: &str) -> Result<[u8; N]> {
    bytes.try_into().map_err(|_| invalid(what))
}

pub(crate) fn hex(bytes: &[u8]) -> String {
    const DIGITS: &[u8; 16] = b"0123456789abcdef";
    let digit = |value: u8| char::from(DIGITS.get(usize::from(value)).copied().unwrap_or(b'?'));
    bytes.iter().flat_map(|byte| [digit(byte >> 4), digit(byte & 15)]).collect()
}

/// A node's id in its text form: 64 hex digits.
pub(crate) fn node_id(text: &str) -> Result<[u8; 32]> {
    let mut id = [0; 32];
    let digits = text.as_bytes();
    if digits.len() != 64 {
        return Err(invalid("node id"));
    }
    for (byte, pair) in id.iter_mut().zip(digits.chunks_exact(2)) {
        let pair = std::str::from_utf8(pair).map_err(|_| invalid("node id"))?;
        *byte = u8::from_str_radix(pair, 16).map_err(|_| invalid("node id"))?;
    }
    Ok(id)
}

/// `ip:port`, `[v6]:port`.
pub(crate) fn address(text: &str) -> Result<SocketAddr> {
    text.parse().map_err(|_| invalid("address"))
}
