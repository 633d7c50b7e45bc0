//! Counters of a relay; one snapshot reads them all.

use std::sync::atomic::{AtomicU64, Ordering};

use anonnet_cells::CELL_LEN;

use crate::quota::Quota;

/// Bytes that a circuit's streams carried; read by snapshots.
#[derive(Default)]
pub(crate) struct Traffic {
    pub(crate) read: AtomicU64,
    pub(crate) written: AtomicU64,
    pub(crate) streams: AtomicU64,
}

#[derive(Default)]
pub(crate) struct RelayStats {
    pub(crate) circuits: AtomicU64,
    cells: AtomicU64,
    pub(crate) handshakes: AtomicU64,
    pub(crate) handshakes_refused: AtomicU64,
    pub(crate) exit_streams: AtomicU64,
    pub(crate) destroyed: AtomicU64,
    pub(crate) memory_resets: AtomicU64,
}

/// What a relay has done since it started.
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
        self.cells.fetch_add(cells as u64, Ordering::Relaxed);
    }

    pub(crate) fn snapshot(&self, quota: &Quota) -> RelaySnapshot {
        let read = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
        let cells = read(&self.cells);
        RelaySnapshot {
            circuits: read(&self.circuits),
            cells_forwarded: cells,
            bytes_forwarded: cells * CELL_LEN as u64,
            handshakes: read(&self.handshakes),
            handshakes_refused: read(&self.handshakes_refused),
            exit_streams: read(&self.exit_streams),
            destroyed: read(&self.destroyed),
            memory_held: quota.used() as u64,
            memory_resets: read(&self.memory_resets),
        }
    }
}
