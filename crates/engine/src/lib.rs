//! The shell around the protocol: tokio tasks that drive circuits and relays over links, the proxies, and the node that TypeScript
//! commands. Commands come down, events go up; bytes of streams and cells stay here.

#![forbid(unsafe_code)]

mod bandwidth;
mod client;
mod clock;
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
pub mod proxy;
mod pump;
mod quota;
pub mod records;
mod rng;
mod rpc;
mod scratch;
mod server;
mod stats;
mod sync;
#[cfg(test)]
mod tests;

pub use events::{Event, EventQueue, Failure, OpId, OpValue, ProxyProtocol, ProxyRequestEvent};
pub use node::{Ask, CircuitSnapshot, IntroduceTo, LinkSnapshot, Node, NodeOptions, PathHop, Peer, ProxySnapshot, Snapshot, StoredAt};
pub use server::{RateLimit, Resolve, Roles, SystemResolver};
pub use stats::RelaySnapshot;
