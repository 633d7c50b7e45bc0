//! Counters of a relay; one snapshot reads them all.

use std::sync::atomic::{AtomicU64, Ordering};

#[cfg(feature = "metrics")]
use anonnet_cells::CELL_LEN;

#[cfg(feature = "metrics")]
use crate::quota::Quota;

/// Bytes that a circuit's streams carried; read by snapshots.
#[derive(Default)]
pub(crate) struct Traffic {
    pub(crate) read: AtomicU64,
    pub(crate) written: AtomicU64,
    pub(crate) streams: AtomicU64,
}

/// Counts for snapshots; nothing without the feature `metrics`.
#[derive(Default)]
pub(crate) struct Counter(#[cfg(feature = "metrics")] AtomicU64);

impl Counter {
    #[cfg_attr(
        not(feature = "metrics"),
        expect(unused_variables, clippy::unused_self, reason = "there is nothing to count in")
    )]
    pub(crate) fn add(&self, count: u64) {
        #[cfg(feature = "metrics")]
        self.0.fetch_add(count, Ordering::Relaxed);
    }

    #[cfg(feature = "metrics")]
    pub(crate) fn get(&self) -> u64 {
        self.0.load(Ordering::Relaxed)
    }
}

/// How many there are now. It decides when a node that drains is empty, so every build counts it.
#[derive(Default)]
pub(crate) struct Gauge(AtomicU64);

impl Gauge {
    /// One more, until the guard is dropped: a panic may not leave it counted.
    pub(crate) fn count(&self) -> Counted<'_> {
        self.0.fetch_add(1, Ordering::Relaxed);
        Counted(&self.0)
    }

    pub(crate) fn get(&self) -> u64 {
        self.0.load(Ordering::Relaxed)
    }
}

pub(crate) struct Counted<'a>(&'a AtomicU64);

impl Drop for Counted<'_> {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }
}

#[derive(Default)]
pub(crate) struct RelayStats {
    pub(crate) circuits: Gauge,
    cells: Counter,
    pub(crate) handshakes: Counter,
    pub(crate) handshakes_refused: Counter,
    #[cfg(feature = "exit")]
    pub(crate) exit_streams: Counter,
    pub(crate) destroyed: Counter,
    pub(crate) memory_resets: Counter,
}

/// What a relay has done since it started.
#[cfg(feature = "metrics")]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct RelaySnapshot {
    pub circuits: u64,
    pub cells_forwarded: u64,
    pub bytes_forwarded: u64,
    pub handshakes: u64,
    pub handshakes_refused: u64,
    pub exit_streams: u64,
    pub destroyed: u64,
    /// Bytes that its circuits hold for somebody who does not take them, and circuits that were reset since they were too many.
    pub memory_held: u64,
    pub memory_resets: u64,
}

impl RelayStats {
    pub(crate) fn forwarded(&self, cells: usize) {
        self.cells.add(cells as u64);
    }

    #[cfg(feature = "metrics")]
    pub(crate) fn snapshot(&self, quota: &Quota) -> RelaySnapshot {
        let cells = self.cells.get();
        RelaySnapshot {
            circuits: self.circuits.get(),
            cells_forwarded: cells,
            bytes_forwarded: cells * CELL_LEN as u64,
            handshakes: self.handshakes.get(),
            handshakes_refused: self.handshakes_refused.get(),
            #[cfg(feature = "exit")]
            exit_streams: self.exit_streams.get(),
            #[cfg(not(feature = "exit"))]
            exit_streams: 0,
            destroyed: self.destroyed.get(),
            memory_held: quota.used() as u64,
            memory_resets: self.memory_resets.get(),
        }
    }
}
