//! A relay's part of an extended circuit: cells in on one side, one onion layer, cells out on the other. One task for both directions.

use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use anonnet_cells::CELL_LEN;
use anonnet_errors::{ErrorKind, HasKind};
use anonnet_relay::{BackwardPump, ForwardPump, RelayError, SplicePump};
use anonnet_transport::{STREAM_WINDOW, StreamRecv, StreamSend};

use crate::bandwidth::{Bandwidth, Pace};
use crate::quota::{Account, Hold};
use crate::rest::Rest;
use crate::scratch::{CellReader, circuit_kind};
use crate::stats::RelayStats;

/// Runs that a direction processes before other tasks have their turn.
const RUNS_PER_TURN: usize = 4;

/// What happens to the cells of one direction.
pub(crate) enum Pump {
    Forward(ForwardPump),
    Backward(BackwardPump),
    /// Of two circuits that are joined.
    Splice(SplicePump),
}

impl Pump {
    fn process(&mut self, run: &mut [u8]) -> Result<(), RelayError> {
        match self {
            Self::Forward(pump) => pump.process(run),
            Self::Backward(pump) => pump.process(run),
            Self::Splice(pump) => pump.process(run),
        }
    }

    fn rest(&mut self) {
        match self {
            Self::Forward(pump) => pump.rest(),
            Self::Backward(pump) => pump.rest(),
            Self::Splice(pump) => pump.rest(),
        }
    }
}

/// One direction: reads from one side only while the other side takes what it has.
struct Direction<R, S> {
    recv: CellReader<R>,
    send: S,
    process: Pump,
    /// What the outgoing link did not take yet.
    rest: Vec<u8>,
    written: usize,
    pace: Pace,
    /// Watches, while this direction is blocked, whether its source is still there.
    left: Option<Pin<Box<dyn Future<Output = ()> + Send>>>,
    account: Arc<Account>,
    /// While this direction is blocked: `rest`, and what its source may send meanwhile.
    hold: Option<Arc<Hold>>,
}

impl<R: StreamRecv, S: StreamSend> Direction<R, S> {
    fn new(recv: CellReader<R>, send: S, process: Pump, bandwidth: &Arc<Bandwidth>, account: &Arc<Account>) -> Self {
        Self {
            recv,
            send,
            process,
            rest: Vec::new(),
            written: 0,
            pace: Pace::new(Arc::clone(bandwidth)),
            left: None,
            account: Arc::clone(account),
            hold: None,
        }
    }

    fn write_rest(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), ErrorKind>> {
        while let Some(rest) = self.rest.get(self.written..).filter(|rest| !rest.is_empty()) {
            match self.send.poll_write(cx, rest) {
                Poll::Pending => return Poll::Pending,
                Poll::Ready(result) => self.written += result.map_err(circuit_kind)?,
            }
        }
        if self.rest.capacity() > 0 {
            self.rest = Vec::new();
            self.written = 0;
            if let Some(hold) = &self.hold {
                hold.clear();
            }
        }
        Poll::Ready(Ok(()))
    }

    fn block(&mut self) {
        let hold = self.hold.get_or_insert_with(|| Hold::new(&self.account));
        hold.block(self.rest.len() + STREAM_WINDOW as usize);
    }

    /// Whether the source is gone while this direction is blocked and so does not read: `reverse` is the half that writes to it. Without this
    /// a next hop that takes nothing would make us keep the circuits of clients that left long ago.
    fn source_left(&mut self, reverse: &impl StreamSend, cx: &mut Context<'_>) -> bool {
        if self.rest.is_empty() {
            self.left = None;
            return false;
        }
        self.left
            .get_or_insert_with(|| Box::pin(reverse.stopped()))
            .as_mut()
            .poll(cx)
            .is_ready()
    }

    /// Ready only when the circuit is over.
    fn poll(&mut self, cx: &mut Context<'_>, stats: &RelayStats, pause: &mut Rest) -> Poll<ErrorKind> {
        for _ in 0..RUNS_PER_TURN {
            match self.write_rest(cx) {
                Poll::Pending => return Poll::Pending,
                Poll::Ready(Err(kind)) => return Poll::Ready(kind),
                Poll::Ready(Ok(())) => {}
            }
            if self.pace.poll_ready(cx).is_pending() {
                return Poll::Pending;
            }
            let Self {
                recv,
                send,
                process,
                rest,
                pace,
                ..
            } = self;
            let polled = recv.poll_run(cx, |run| {
                process.process(run).map_err(|error| error.kind())?;
                stats.forwarded(run.len() / CELL_LEN);
                pace.charge(run.len());
                // Most runs are taken at once, straight from the scratch buffer.
                let mut at = 0;
                while let Some(left) = run.get(at..).filter(|left| !left.is_empty()) {
                    match send.poll_write(&mut Context::from_waker(std::task::Waker::noop()), left) {
                        Poll::Ready(result) => at += result.map_err(circuit_kind)?,
                        Poll::Pending => {
                            rest.extend_from_slice(left);
                            break;
                        }
                    }
                }
                Ok(())
            });
            match polled {
                Poll::Pending => return Poll::Pending,
                Poll::Ready(Ok(_)) => pause.used(),
                Poll::Ready(Err(kind)) => return Poll::Ready(kind),
            }
            if !self.rest.is_empty() {
                self.block();
            }
        }
        cx.waker().wake_by_ref();
        Poll::Pending
    }
}

/// The two sides of an extended circuit, or two joined ones: then the next one is the service's.
pub(crate) struct Sides<R1, S1, R2, S2> {
    pub(crate) from_client: CellReader<R1>,
    pub(crate) to_client: S1,
    pub(crate) from_next: CellReader<R2>,
    pub(crate) to_next: S2,
}

/// Pumps until one side ends; dropping the halves then tears both sides down. Not an async function, which would keep room for what it is given
/// beside what it makes of it: most of an idle circuit.
pub(crate) fn pump<R1: StreamRecv, S1: StreamSend, R2: StreamRecv, S2: StreamSend>(
    sides: Sides<R1, S1, R2, S2>,
    away: Pump,
    back: Pump,
    bandwidth: &Arc<Bandwidth>,
    account: &Arc<Account>,
    stats: &RelayStats,
) -> impl Future<Output = ErrorKind> {
    let mut away = Direction::new(sides.from_client, sides.to_next, away, bandwidth, account);
    let mut back = Direction::new(sides.from_next, sides.to_client, back, bandwidth, account);
    let mut pause = Rest::new();
    std::future::poll_fn(move |cx| match back.poll(cx, stats, &mut pause) {
        Poll::Ready(kind) => Poll::Ready(kind),
        Poll::Pending => match away.poll(cx, stats, &mut pause) {
            Poll::Pending if away.source_left(&back.send, cx) || back.source_left(&away.send, cx) => Poll::Ready(ErrorKind::CircuitClosed),
            Poll::Pending => {
                if pause.poll(cx) {
                    away.process.rest();
                    back.process.rest();
                }
                Poll::Pending
            }
            polled => polled,
        },
    })
}
