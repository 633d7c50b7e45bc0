//! One tokio runtime for all nodes of the process: small, started by the first node, never stopped (a worker thread of Node that ends must
//! not wait for it).

use std::sync::OnceLock;

use anonnet_errors::ErrorKind;
use tokio::runtime::{Builder, Handle, Runtime};

use crate::error::{Result, thrown};

/// More threads than this bring nothing to one process's links.
const WORKERS_MAX: usize = 4;

/// One thread for two processors: the other one has the kernel's half of every packet, and JavaScript. With a thread for each, a link's task
/// and a circuit's task keep waking one another across processors: a fifth more CPU a byte and less goodput (docs/performance.md).
fn workers(processors: usize) -> usize {
    (processors / 2).clamp(1, WORKERS_MAX)
}

pub(crate) fn handle() -> Result<Handle> {
    static RUNTIME: OnceLock<Option<Runtime>> = OnceLock::new();
    let runtime = RUNTIME.get_or_init(|| {
        Builder::new_multi_thread()
            .worker_threads(workers(std::thread::available_parallelism().map_or(1, usize::from)))
            .max_blocking_threads(64)
            .thread_name("anonnet")
            .enable_all()
            .build()
            .inspect(|runtime| anonnet_engine::watch(runtime.handle()))
            .ok()
    });
    runtime
        .as_ref()
        .map(|runtime| runtime.handle().clone())
        .ok_or_else(|| thrown(ErrorKind::ResourceLimit))
}
