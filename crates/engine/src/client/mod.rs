//! The client's circuits.

mod circuit;
mod service;
mod side;

pub(crate) use circuit::{BuildRequest, CircuitHandle, build};
pub(crate) use service::Ask;
