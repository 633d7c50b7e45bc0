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

/// Bytes on their way up, copied into memory that V8 owns: external memory is collected too late, and a download would grow by 100 MB.
pub struct Copied(pub(crate) Vec<u8>);

impl napi::bindgen_prelude::ToNapiValue for Copied {
    #[allow(unsafe_code)]
    unsafe fn to_napi_value(env: napi::sys::napi_env, value: Self) -> napi::Result<napi::sys::napi_value> {
        let mut result = std::ptr::null_mut();
        // SAFETY: the environment is the one that napi hands in; the bytes are valid for the call, which copies them.
        let status =
            unsafe { napi::sys::napi_create_buffer_copy(env, value.0.len(), value.0.as_ptr().cast(), std::ptr::null_mut(), &mut result) };
        if status == napi::sys::Status::napi_ok {
            Ok(result)
        } else {
            Err(napi::Error::from_status(napi::Status::GenericFailure))
        }
    }
}
