//! A relay's part of a circuit, from CREATE to the pumps of a middle hop, and what a relay allows: exits, rates, extensions.
//!
//! Sans-IO: runs of whole cells and `now` come in, bytes and events go out. The two pumps of a middle hop share nothing, take no lock and
//! allocate nothing.

#![forbid(unsafe_code)]

mod bucket;
mod circuit;
mod error;
mod extend;
pub mod limits;
pub mod policy;
mod prefix;
mod pump;
mod services;

pub use anonnet_cells::TEARDOWN_CODE;
pub use bucket::TokenBucket;
pub use circuit::{RelayCircuit, RelayEvent, handshake};
pub use error::{ExtendFault, PolicyError, Refusal, RelayError};
pub use extend::RelayRules;
pub use policy::ExitPolicy;
pub use prefix::PrefixLimiter;
pub use pump::{BackwardPump, ForwardPump, SplicePump, splice};
pub use services::{Introductions, Rendezvous, Ticket};
