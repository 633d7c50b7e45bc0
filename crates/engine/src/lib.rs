//! The shell around the protocol: tokio tasks that drive circuits and relays over links, the proxies, and the node that TypeScript
//! commands. Commands come down, events go up; bytes of streams and cells stay here.

#![forbid(unsafe_code)]

mod bandwidth;
mod bugs;
mod client;
mod clock;
#[cfg(any(feature = "exit", feature = "proxy"))]
mod copy;
mod driver;
mod events;
#[cfg(feature = "fuzzing")]
#[doc(hidden)]
pub mod fuzzing;
pub mod keyfile;
pub mod limits;
mod memory;
mod node;
mod ops;
mod pipe;
#[cfg(feature = "proxy")]
pub mod proxy;
mod pump;
mod quota;
pub mod records;
mod rest;
mod rng;
mod rpc;
mod scratch;
mod server;
mod stats;
mod sync;
mod task;
mod waiting;
// Whole networks need all parts; what has a part left out is tested room by room, and as an addon (scripts/features.mjs).
#[cfg(test)]
#[cfg(all(feature = "exit", feature = "metrics", feature = "proxy"))]
mod tests;

pub use bugs::watch;
pub use events::{Event, EventQueue, Failure, OpId, OpValue, ProxyProtocol, ProxyRequestEvent};
#[cfg(feature = "testing")]
pub use node::Plant;
pub use node::{Ask, CircuitSnapshot, IntroduceTo, LinkSnapshot, Node, NodeOptions, PathHop, Peer, StoredAt};
#[cfg(feature = "metrics")]
pub use node::{ProxySnapshot, Snapshot};
#[cfg(feature = "proxy")]
pub use proxy::Stands;
pub use server::{RateLimit, Roles};
#[cfg(feature = "exit")]
pub use server::{Resolve, SystemResolver};
#[cfg(feature = "metrics")]
pub use stats::RelaySnapshot;
