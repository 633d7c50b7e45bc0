//! A relay's bandwidth limit: one bucket for everything it forwards, and a pause for whoever overdraws it.

use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use anonnet_relay::TokenBucket;
use tokio::time::Sleep;

use crate::clock::monotonic_ns;

/// The bucket; without a limit it costs a comparison.
pub(crate) struct Bandwidth {
    bucket: Option<TokenBucket>,
}

impl Bandwidth {
    /// `rate`: bytes a second, 0 for no limit. `burst`: bytes.
    pub(crate) fn new(rate: u64, burst: u64) -> Arc<Self> {
        Arc::new(Self {
            bucket: (rate > 0).then(|| TokenBucket::new(rate, burst)),
        })
    }
}

/// One direction's place at the bucket: it takes what it reads, and then waits until the bucket is no longer overdrawn.
pub(crate) struct Pace {
    bandwidth: Arc<Bandwidth>,
    pause: Option<Pin<Box<Sleep>>>,
}

impl Pace {
    pub(crate) fn new(bandwidth: Arc<Bandwidth>) -> Self {
        Self { bandwidth, pause: None }
    }

    pub(crate) fn charge(&mut self, bytes: usize) {
        let Some(bucket) = &self.bandwidth.bucket else { return };
        let wait = bucket.charge(monotonic_ns(), bytes as u64);
        if !wait.is_zero() {
            self.pause = Some(Box::pin(tokio::time::sleep(wait)));
        }
    }

    pub(crate) fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        if let Some(pause) = &mut self.pause {
            if pause.as_mut().poll(cx).is_pending() {
                return Poll::Pending;
            }
            self.pause = None;
        }
        Poll::Ready(())
    }
}
