//! One buffer a thread for the run of cells in hand, so that an idle circuit holds none.

use std::cell::RefCell;
use std::task::{Context, Poll, ready};

use anonnet_cells::CELL_LEN;
use anonnet_errors::{ErrorKind, HasKind};
use anonnet_transport::{StreamRecv, TransportError};

use crate::limits::RUN_CELLS;

/// Blocks of a run's size that a thread's heap keeps room for: what one link has under way at least, and as much again.
const CUSHION_BLOCKS: usize = 32;
/// Larger blocks would not come from the heap.
const CUSHION_BLOCK_BYTES: usize = 64 * 1024;

thread_local! {
    static SCRATCH: RefCell<Vec<u8>> = RefCell::new(buffer());
}

/// The scratch buffer, allocated above room that is free again. QUIC copies runs in and out, up to 64 KiB at a time; at the top of its heap glibc
/// gives such pages back to the kernel and faults them in again with the next run. Below a block that stays it keeps them. Room that is never
/// used costs a page a block.
fn buffer() -> Vec<u8> {
    let below: Vec<Vec<u8>> = std::iter::repeat_with(|| Vec::with_capacity(CUSHION_BLOCK_BYTES))
        .take(CUSHION_BLOCKS)
        .collect();
    let scratch = vec![0; RUN_CELLS * CELL_LEN];
    // Neither left out nor moved by the compiler.
    drop(std::hint::black_box(below));
    scratch
}

/// What an error of a circuit's link stream means: whoever resets it ends the circuit, and breaks no rule with that.
pub(crate) fn circuit_kind(error: TransportError) -> ErrorKind {
    if error == TransportError::StreamReset {
        ErrorKind::CircuitClosed
    } else {
        error.kind()
    }
}

/// The reading half of a circuit's stream: cuts what arrives into whole cells and keeps what is left of the last one.
pub(crate) struct CellReader<R> {
    recv: R,
    partial: Vec<u8>,
}

impl<R: StreamRecv> CellReader<R> {
    pub(crate) fn new(recv: R) -> Self {
        Self { recv, partial: Vec::new() }
    }

    /// Reads what is there and gives the whole cells of it to `process`; `None` where no cell is complete yet. A FIN is the circuit's end.
    pub(crate) fn poll_run<T>(
        &mut self,
        cx: &mut Context<'_>,
        process: impl FnOnce(&mut [u8]) -> Result<T, ErrorKind>,
    ) -> Poll<Result<Option<T>, ErrorKind>> {
        SCRATCH.with_borrow_mut(|scratch| {
            let kept = self.partial.len();
            let Some((head, room)) = scratch.split_at_mut_checked(kept) else {
                return Poll::Ready(Err(ErrorKind::Internal));
            };
            let count = ready!(self.recv.poll_read(cx, room)).map_err(circuit_kind)?;
            if count == 0 {
                return Poll::Ready(Err(ErrorKind::CircuitClosed));
            }
            head.copy_from_slice(&self.partial);
            let total = kept + count;
            let whole = total - total % CELL_LEN;
            self.partial.clear();
            self.partial.extend_from_slice(scratch.get(whole..total).unwrap_or_default());
            if whole == 0 {
                return Poll::Ready(Ok(None));
            }
            if self.partial.is_empty() {
                self.partial = Vec::new();
            }
            process(scratch.get_mut(..whole).unwrap_or_default()).map(Some).into()
        })
    }

    /// As [`poll_run`](Self::poll_run), for code that waits.
    pub(crate) async fn run<T>(&mut self, mut process: impl FnMut(&mut [u8]) -> Result<T, ErrorKind>) -> Result<Option<T>, ErrorKind> {
        std::future::poll_fn(|cx| self.poll_run(cx, &mut process)).await
    }
}
