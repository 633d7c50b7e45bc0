//! The client's circuits.

mod circuit;
mod side;

pub(crate) use circuit::{BuildRequest, CircuitHandle, build};
