//! The onion layers: Counter Galois Onion (Tor proposal 359, eprint 2025/583) with AES-128 and POLYVAL.
//!
//! A cell is a tag of 16 bytes and a body of `N`. Each hop has one layer a direction; relays only ever encrypt, clients
//! only ever decrypt. A bit touched anywhere garbles the whole cell and all later ones, and the keys of a layer step with
//! every cell that its hop originates or recognises.
//!
//! The number of counter blocks that a body takes decides where the key stream of the next keys begins and how many bits
//! of the initial counter are cleared. Both follow from `N` at compile time (`Shape`): 493 bytes take 31 blocks and 6
//! bits, 1084 bytes 68 blocks and 7 bits.

#[cfg(target_arch = "x86_64")]
mod counter;
#[cfg(target_arch = "x86_64")]
mod lanes;
mod layer;
mod prf;
mod tweak;
#[cfg(any(test, feature = "vectors"))]
pub mod vectors;
#[cfg(target_arch = "x86_64")]
mod wide;

pub use layer::{ClientLayer, RelayLayer, SEED_LEN, TAG_LEN, client_originate, client_pass, client_receive};

#[cfg(test)]
mod tests;
