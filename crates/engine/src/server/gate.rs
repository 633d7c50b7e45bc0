//! Circuit handshakes cost a fraction of a millisecond each: only so many run at once, only so many wait, and none waits for long.

use std::sync::atomic::{AtomicUsize, Ordering};

use anonnet_errors::ErrorKind;
use tokio::sync::{Semaphore, SemaphorePermit};
use tokio::time::Instant;

pub(crate) struct HandshakeGate {
    slots: Semaphore,
    waiting: AtomicUsize,
    max_waiting: usize,
}

impl HandshakeGate {
    pub(crate) fn new(at_once: usize, max_waiting: usize) -> Self {
        Self {
            slots: Semaphore::new(at_once.max(1)),
            waiting: AtomicUsize::new(0),
            max_waiting,
        }
    }

    /// Waits for a turn; refused at once where too many wait.
    pub(crate) async fn enter(&self, deadline: Instant) -> Result<SemaphorePermit<'_>, ErrorKind> {
        if let Ok(permit) = self.slots.try_acquire() {
            return Ok(permit);
        }
        let _place = Place::take(self)?;
        match tokio::time::timeout_at(deadline, self.slots.acquire()).await {
            Ok(Ok(permit)) => Ok(permit),
            Ok(Err(_)) => Err(ErrorKind::Closed),
            Err(_) => Err(ErrorKind::RateLimited),
        }
    }
}

/// A place in the queue, given back however the wait ends.
struct Place<'a>(&'a AtomicUsize);

impl<'a> Place<'a> {
    fn take(gate: &'a HandshakeGate) -> Result<Self, ErrorKind> {
        if gate.waiting.fetch_add(1, Ordering::Relaxed) >= gate.max_waiting {
            gate.waiting.fetch_sub(1, Ordering::Relaxed);
            return Err(ErrorKind::RateLimited);
        }
        Ok(Self(&gate.waiting))
    }
}

impl Drop for Place<'_> {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Duration;

    #[tokio::test(start_paused = true)]
    async fn the_queue_is_bounded_in_length_and_time() {
        let gate = HandshakeGate::new(1, 1);
        let soon = || Instant::now() + Duration::from_millis(1500);
        let held = gate.enter(soon()).await.unwrap();
        let (waited, refused) = tokio::join!(gate.enter(soon()), gate.enter(soon()));
        assert!(matches!(waited, Err(ErrorKind::RateLimited)));
        assert!(matches!(refused, Err(ErrorKind::RateLimited)));
        drop(held);
        assert!(gate.enter(soon()).await.is_ok());
    }
}
