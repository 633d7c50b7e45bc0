//! What `.anon` services are made of (section 11 of the protocol): blinded keys, the handshake end to end, the proof of an introduction point,
//! proof of work.

mod blind;
mod handshake;
mod intro;
mod pow;

pub use blind::{BlindedKey, blind, subcredential};
pub use handshake::{
    INTRODUCE1_LEN, INTRODUCE2_LEN, Introduction, MAX_PAYLOAD_LEN, MAX_SUBCREDENTIALS, SERVICE_REPLY_LEN, ServiceClient, ServiceEntry,
};
pub use intro::{ENTRY_LEN, ESTABLISH_LEN, IntroKeys, verify_establish};
pub use pow::{POW_EFFORT_MAX, POW_MEMORY_KIB, Pow};

/// Length of an ML-KEM-768 encapsulation key in bytes.
pub const KEM_KEY_LEN: usize = 1184;

#[cfg(test)]
mod tests;
