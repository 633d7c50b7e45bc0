//! One tokio runtime for all nodes of the process: small, started by the first node, never stopped (a worker thread of Node that ends must
//! not wait for it).

use std::sync::OnceLock;

use anonnet_errors::ErrorKind;
use tokio::runtime::{Builder, Handle, Runtime};

use crate::error::{Result, thrown};

/// More threads than this bring nothing to one process's links.
const WORKERS_MAX: usize = 4;

pub(crate) fn handle() -> Result<Handle> {
    static RUNTIME: OnceLock<Option<Runtime>> = OnceLock::new();
    let runtime = RUNTIME.get_or_init(|| {
        let workers = std::thread::available_parallelism().map_or(1, usize::from).min(WORKERS_MAX);
        Builder::new_multi_thread()
            .worker_threads(workers)
            .max_blocking_threads(64)
            .thread_name("anonnet")
            .enable_all()
            .build()
            .ok()
    });
    runtime
        .as_ref()
        .map(|runtime| runtime.handle().clone())
        .ok_or_else(|| thrown(ErrorKind::ResourceLimit))
}
