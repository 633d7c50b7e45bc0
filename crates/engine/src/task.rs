//! Tasks. Each type of future that tokio runs brings some kilobytes of its machinery with it; behind a box they share one.

use std::future::Future;
use std::pin::Pin;

use tokio::task::JoinHandle;

/// What a task works on, whatever it is.
pub(crate) type Work<T = ()> = Pin<Box<dyn Future<Output = T> + Send>>;

/// Starts a task on the runtime of the caller. It goes on when the handle is dropped.
pub(crate) fn spawn(work: impl Future<Output = ()> + Send + 'static) -> JoinHandle<()> {
    spawn_boxed(Box::pin(work))
}

fn spawn_boxed(work: Work) -> JoinHandle<()> {
    tokio::spawn(work)
}
