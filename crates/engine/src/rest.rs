//! Notices when no cell has passed for a while, so that a circuit can let go of what it needs only while they do.

use std::future::Future;
use std::pin::Pin;
use std::task::{Context, Poll};

use tokio::time::{Instant, Sleep, sleep};

use crate::limits::REST_AFTER;

/// For the one task that works on a circuit's end. It holds a timer only while it waits for the pause.
pub(crate) struct Rest {
    /// Cells passed since the timer was set.
    used: bool,
    timer: Option<Pin<Box<Sleep>>>,
}

impl Rest {
    /// Of a circuit that was just built, which needed its keys.
    pub(crate) const fn new() -> Self {
        Self { used: true, timer: None }
    }

    pub(crate) fn used(&mut self) {
        self.used = true;
    }

    /// True once for each pause, when it has lasted [`REST_AFTER`]; at the earliest then the task is woken for it.
    pub(crate) fn poll(&mut self, cx: &mut Context<'_>) -> bool {
        if self.timer.is_none() && !self.used {
            return false;
        }
        loop {
            let timer = self.timer.get_or_insert_with(|| {
                self.used = false;
                Box::pin(sleep(REST_AFTER))
            });
            if timer.as_mut().poll(cx) == Poll::Pending {
                return false;
            }
            if !self.used {
                self.timer = None;
                return true;
            }
            self.used = false;
            timer.as_mut().reset(Instant::now() + REST_AFTER);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Duration;

    async fn poll(rest: &mut Rest) -> bool {
        std::future::poll_fn(|cx| Poll::Ready(rest.poll(cx))).await
    }

    #[tokio::test(start_paused = true)]
    async fn a_pause_is_told_once_and_use_puts_it_off() {
        let mut rest = Rest::new();
        assert!(!poll(&mut rest).await);
        tokio::time::advance(REST_AFTER / 2).await;
        rest.used();
        assert!(!poll(&mut rest).await);
        tokio::time::advance(REST_AFTER / 2 + Duration::from_millis(1)).await;
        // The timer is over, but cells passed meanwhile.
        assert!(!poll(&mut rest).await);
        tokio::time::advance(REST_AFTER + Duration::from_millis(1)).await;
        assert!(poll(&mut rest).await);
        assert!(rest.timer.is_none());
        tokio::time::advance(REST_AFTER * 4).await;
        assert!(!poll(&mut rest).await);
        rest.used();
        assert!(!poll(&mut rest).await);
        tokio::time::advance(REST_AFTER + Duration::from_millis(1)).await;
        assert!(poll(&mut rest).await);
    }

    #[tokio::test(start_paused = true)]
    async fn the_task_is_woken_for_it() {
        let mut rest = Rest::new();
        let began = Instant::now();
        std::future::poll_fn(|cx| if rest.poll(cx) { Poll::Ready(()) } else { Poll::Pending }).await;
        assert!(began.elapsed() >= REST_AFTER);
    }
}
