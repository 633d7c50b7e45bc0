//! Circuits at their two ends (sections 4, 6 and 7 of the protocol): the client's and the last hop's.
//!
//! Sans-IO: runs of whole cells come in and are worked on in place, events borrow from them; whole cells are appended to a
//! buffer of the caller's. No clock, no socket, no lock; nothing is allocated for a cell except by growing that buffer.
//!
//! Whoever drives an endpoint calls `flush` each time that the buffer has been handed to the link: WINDOWs and the ENDs that
//! answer the other side's are state of their stream until then, never a queue.

#![forbid(unsafe_code)]

mod client;
mod error;
mod event;
mod last_hop;
pub mod limits;
mod mux;
mod seal;

pub use client::{ClientCircuit, Hop};
pub use error::{CircuitError, StreamError, Violation};
pub use event::{Event, ExtendRequest, HopEvent, ServiceRequest, StreamId};
pub use last_hop::{HopLayers, LastHop};
