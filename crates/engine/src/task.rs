//! Tasks. What is not on the cells' way runs boxed: tokio's part of a task is then compiled once, and not for each kind of task there is.

use std::future::Future;
use std::pin::Pin;

use tokio::runtime::Handle;
use tokio::task::JoinHandle;

type Work = Pin<Box<dyn Future<Output = ()> + Send>>;

/// Starts a task on that runtime.
pub(crate) fn spawn_on(runtime: &Handle, work: impl Future<Output = ()> + Send + 'static) -> JoinHandle<()> {
    let work: Work = Box::pin(work);
    runtime.spawn(work)
}

/// Starts a task on the runtime that this one runs on.
pub(crate) fn spawn(work: impl Future<Output = ()> + Send + 'static) -> JoinHandle<()> {
    let work: Work = Box::pin(work);
    tokio::spawn(work)
}
