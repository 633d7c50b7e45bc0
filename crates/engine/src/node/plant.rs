//! Plants panics where bugs could be, for the tests of what becomes of them.

use std::sync::Arc;

use super::Node;
use crate::events::OpId;
use crate::sync::lock;

/// Where a panic is planted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Plant {
    /// In the call itself, under the locks of circuits and streams.
    Call,
    /// In the task of an operation.
    Task,
    /// In the task that serves a circuit, with that number.
    Circuit(u32),
}

impl Node {
    /// Panics there.
    #[allow(clippy::panic)]
    pub fn plant(&self, op: OpId, plant: Plant) -> Result<(), anonnet_errors::ErrorKind> {
        match plant {
            Plant::Call => {
                let _circuits = lock(&self.inner.circuits);
                let _streams = lock(&self.inner.streams);
                panic!("planted in a call");
            }
            Plant::Task => {
                let inner = Arc::clone(&self.inner);
                self.inner.operations.start(op, async move {
                    let _circuits = lock(&inner.circuits);
                    panic!("planted in a task");
                })
            }
            Plant::Circuit(circuit) => {
                let circuit = self.inner.circuit(circuit)?;
                circuit.plant();
                Ok(())
            }
        }
    }
}
