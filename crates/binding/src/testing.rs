//! Plants panics, so that a test can see what becomes of them. Only with the feature `testing`, which is never shipped.

use std::sync::atomic::{AtomicBool, Ordering};

use anonnet_engine::Plant;
use napi_derive::napi;

use crate::error::{Result, invalid, thrown};
use crate::node::NativeNode;

static CALLBACK: AtomicBool = AtomicBool::new(false);
static FINALIZER: AtomicBool = AtomicBool::new(false);

/// Panics once in the callback that wakes JavaScript.
#[allow(clippy::panic)]
pub(crate) fn callback() {
    if CALLBACK.swap(false, Ordering::Relaxed) {
        panic!("planted in a callback");
    }
}

/// Panics once where the garbage collector ends a node.
#[allow(clippy::panic)]
pub(crate) fn finalizer() {
    if FINALIZER.swap(false, Ordering::Relaxed) {
        panic!("planted in a finalizer");
    }
}

#[napi]
impl NativeNode {
    /// Panics at `place`: in this call, in the task of an operation or of a circuit; or with the next callback or finalizer.
    #[napi(catch_unwind)]
    pub fn plant(&self, op: u32, place: String, circuit: Option<u32>) -> Result<()> {
        let plant = match place.as_str() {
            "call" => Plant::Call,
            "task" => Plant::Task,
            "circuit" => Plant::Circuit(circuit.ok_or_else(|| invalid("circuit"))?),
            "callback" => {
                CALLBACK.store(true, Ordering::Relaxed);
                return Ok(());
            }
            "finalizer" => {
                FINALIZER.store(true, Ordering::Relaxed);
                return Ok(());
            }
            _ => return Err(invalid("place")),
        };
        self.node.plant(op, plant).map_err(thrown)
    }
}
