//! The client's circuits.

mod circuit;
mod service;
mod side;

use std::collections::HashMap;
use std::sync::{Arc, Mutex};

pub(crate) use circuit::{BuildRequest, CircuitHandle, build};
pub(crate) use service::Ask;

/// The circuits of a node by number. A number names a circuit and does not hold it: whoever holds a handle keeps the circuit alive.
pub(crate) type Circuits = Arc<Mutex<HashMap<u32, CircuitHandle>>>;
