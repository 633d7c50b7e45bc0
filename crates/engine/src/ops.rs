//! Operations under way: each is a task that TypeScript knows by a number of its own choice and can cancel.

use std::collections::HashMap;
use std::future::Future;
use std::sync::{Arc, Mutex};

use anonnet_errors::ErrorKind;
use tokio::runtime::Handle;
use tokio::task::AbortHandle;

use crate::events::{Event, EventQueue, Failure, OpId, OpValue};
use crate::limits::OPERATIONS_MAX;
use crate::sync::lock;
use crate::task::Work;

/// Whoever takes an operation out of the table answers it: so it is answered once.
#[derive(Clone)]
pub(crate) struct Operations {
    running: Arc<Mutex<HashMap<OpId, Option<AbortHandle>>>>,
    events: EventQueue,
    runtime: Handle,
}

impl Operations {
    pub(crate) fn new(events: EventQueue, runtime: Handle) -> Self {
        Self {
            running: Arc::default(),
            events,
            runtime,
        }
    }

    /// Starts an operation; its answer is an event.
    pub(crate) fn start<F>(&self, op: OpId, work: F) -> Result<(), ErrorKind>
    where
        F: Future<Output = Result<OpValue, Failure>> + Send + 'static,
    {
        self.start_making(op, work, |_| {})
    }

    /// As [`start`](Self::start), for an operation that makes something with a number: `unmake` is called with it where the operation was
    /// cancelled at the last moment, so that nobody would ever hear of it.
    pub(crate) fn start_making<F>(&self, op: OpId, work: F, unmake: impl FnOnce(u32) + Send + 'static) -> Result<(), ErrorKind>
    where
        F: Future<Output = Result<OpValue, Failure>> + Send + 'static,
    {
        self.start_boxed(op, Box::pin(work), Box::new(unmake))
    }

    fn start_boxed(&self, op: OpId, work: Work<Result<OpValue, Failure>>, unmake: Box<dyn FnOnce(u32) + Send>) -> Result<(), ErrorKind> {
        {
            let mut running = lock(&self.running);
            if running.len() >= OPERATIONS_MAX {
                return Err(ErrorKind::ResourceLimit);
            }
            if op == 0 || running.contains_key(&op) {
                return Err(ErrorKind::InvalidArgument);
            }
            running.insert(op, None);
        }
        let this = self.clone();
        let task: Work = Box::pin(async move {
            // A panic drops the guard, which then answers; so nobody waits for ever.
            let guard = Unanswered { operations: this, op };
            let result = work.await;
            if let Err(Ok(OpValue { number: Some(number), .. })) = guard.operations.answer(op, result) {
                unmake(number);
            }
        });
        let task = self.runtime.spawn(task);
        // Where the task was faster, its entry is gone already.
        if let Some(entry) = lock(&self.running).get_mut(&op) {
            *entry = Some(task.abort_handle());
        }
        Ok(())
    }

    /// Gives the result back where nobody waits for it any more.
    fn answer(&self, op: OpId, result: Result<OpValue, Failure>) -> Result<(), Result<OpValue, Failure>> {
        if lock(&self.running).remove(&op).is_none() {
            return Err(result);
        }
        self.events.push(Event::OpDone { op, result });
        Ok(())
    }

    pub(crate) fn cancel(&self, op: OpId) {
        let task = lock(&self.running).remove(&op);
        if let Some(task) = task {
            if let Some(task) = task {
                task.abort();
            }
            self.events.push(Event::OpDone {
                op,
                result: Err(ErrorKind::Aborted.into()),
            });
        }
    }

    /// Cancels every operation but one.
    pub(crate) fn cancel_all_but(&self, kept: OpId) {
        let ops: Vec<_> = lock(&self.running).keys().copied().filter(|op| *op != kept).collect();
        for op in ops {
            let task = lock(&self.running).remove(&op);
            if let Some(task) = task {
                if let Some(task) = task {
                    task.abort();
                }
                self.events.push(Event::OpDone {
                    op,
                    result: Err(ErrorKind::Closed.into()),
                });
            }
        }
    }
}

/// Answers an operation whose task ends without having done so. Where it was answered or cancelled, there is nobody to tell any more.
struct Unanswered {
    operations: Operations,
    op: OpId,
}

impl Drop for Unanswered {
    fn drop(&mut self) {
        let _ = self.operations.answer(self.op, Err(ErrorKind::Internal.into()));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn operations_are_bounded_in_number() {
        let operations = Operations::new(EventQueue::new(|| {}), Handle::current());
        for op in 1..=OPERATIONS_MAX {
            operations.start(u32::try_from(op).unwrap(), std::future::pending()).unwrap();
        }
        assert_eq!(operations.start(u32::MAX, std::future::pending()), Err(ErrorKind::ResourceLimit));
        operations.cancel(1);
        assert_eq!(operations.start(u32::MAX, std::future::pending()), Ok(()));
    }

    #[tokio::test]
    async fn an_operation_that_panics_is_answered() {
        let events = EventQueue::new(|| {});
        let operations = Operations::new(events.clone(), Handle::current());
        operations.start(7, async { panic!("planted") }).unwrap();
        tokio::task::yield_now().await;
        let failed = matches!(
            events.drain().pop_front(),
            Some(Event::OpDone {
                op: 7,
                result: Err(Failure {
                    kind: ErrorKind::Internal,
                    hop: None
                })
            })
        );
        assert!(failed);
        assert_eq!(operations.start(7, std::future::pending()), Ok(()));
    }

    #[tokio::test]
    async fn an_operation_is_answered_once() {
        let events = EventQueue::new(|| {});
        let operations = Operations::new(events.clone(), Handle::current());
        operations.start(1, std::future::pending()).unwrap();
        assert_eq!(operations.start(1, std::future::pending()), Err(ErrorKind::InvalidArgument));
        assert_eq!(operations.start(0, std::future::pending()), Err(ErrorKind::InvalidArgument));
        operations.cancel(1);
        operations.cancel(1);
        operations
            .start(2, async {
                Ok(OpValue {
                    number: Some(7),
                    ..OpValue::default()
                })
            })
            .unwrap();
        operations.start(3, std::future::pending()).unwrap();
        // Cancelled when its work was done and its answer not yet given.
        let (late, unmade) = (operations.clone(), Arc::new(Mutex::new(Vec::new())));
        let unmaking = Arc::clone(&unmade);
        let work = async move {
            late.cancel(4);
            Ok(OpValue {
                number: Some(44),
                ..OpValue::default()
            })
        };
        operations
            .start_making(4, work, move |number| unmaking.lock().unwrap().push(number))
            .unwrap();
        tokio::task::yield_now().await;
        operations.cancel_all_but(9);
        let answers: Vec<_> = events
            .drain()
            .into_iter()
            .map(|event| match event {
                Event::OpDone { op, result } => (op, result.map(|value| value.number).map_err(|failure| failure.kind)),
                other => panic!("{other:?}"),
            })
            .collect();
        assert_eq!(*unmade.lock().unwrap(), [44]);
        assert_eq!(
            answers,
            [
                (1, Err(ErrorKind::Aborted)),
                (2, Ok(Some(7))),
                (4, Err(ErrorKind::Aborted)),
                (3, Err(ErrorKind::Closed))
            ]
        );
    }
}
