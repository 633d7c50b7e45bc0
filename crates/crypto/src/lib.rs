//! Keys, hashes, the circuit handshake, the onion layers, sealed records and the key store.
//!
//! No I/O, no clock and no global randomness: bytes, `now` and a generator come in, bytes go out. Secrets are wiped when
//! they are dropped and never printed. The wire format is that of `docs/protocol.md`, sections 2, 5 and 6.

#![forbid(unsafe_code)]

pub mod cgo;
mod error;
pub mod handshake;
pub mod hash;
pub mod kem;
pub mod keys;
pub mod keystore;
pub mod record;
pub mod service;

pub use error::{CryptoError, HandshakeFault, RecordFault, StoreFault};
