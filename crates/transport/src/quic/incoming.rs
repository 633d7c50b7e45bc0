//! Serves the streams that a peer opens: limits their rate, reads their type, queues them. One task a link.

use std::{
    sync::Arc,
    task::Poll,
    time::{Duration, Instant},
};

use quinn::{Connection, FrameStats, RecvStream, SendStream};
use tokio::{
    sync::{OwnedSemaphorePermit, mpsc},
    task::JoinSet,
    time::{MissedTickBehavior, interval, timeout},
};

use super::{
    link::Incoming,
    streams::{self, Class, QuicRecv, QuicSend, Shared, TEARDOWN},
};
use crate::{
    bucket::Bucket,
    error::CloseReason,
    limits::{FIRST_STREAMS, SILENT_LOOKS_CLIENT, SILENT_LOOKS_NODE, streams_for},
    traits::{StreamKind, StreamRecv},
};

/// The control stream after the link authentication: held open for as long as the link lives, and silent in this version. On a direct link
/// it carries what the two ends tell each other.
pub(crate) struct Control {
    pub(crate) send: SendStream,
    pub(crate) recv: RecvStream,
}

/// How many streams the peer may have open: few at first, more as it uses them.
pub(crate) struct Allowance {
    circuits: u32,
    now: u32,
    most: u32,
}

impl Allowance {
    pub(crate) fn new(circuits: u32) -> Self {
        let most = streams_for(circuits);
        Self {
            circuits,
            now: FIRST_STREAMS.min(most),
            most,
        }
    }

    /// The new number, if it is time for one.
    fn grow(&mut self, in_use: usize) -> Option<u32> {
        if self.now >= self.most || in_use.saturating_mul(2) <= self.now as usize {
            return None;
        }
        self.now = self.now.saturating_mul(2).min(self.most);
        Some(self.now)
    }
}

/// Finds out that a peer is silent although it should acknowledge: sooner than the idle timeout, which must outlast a keep-alive.
#[derive(Default)]
struct Silence {
    sent: u64,
    received: u64,
    looks: u32,
}

impl Silence {
    /// Frames sent that the peer must acknowledge, and datagrams received, so far; true once that went on for `most` looks.
    fn look(&mut self, sent: u64, received: u64, most: u32) -> bool {
        if received != self.received {
            self.looks = 0;
        } else if sent != self.sent || self.looks > 0 {
            // What was sent is repeated at growing intervals, so that not every look sees a new attempt.
            self.looks += 1;
        }
        (self.sent, self.received) = (sent, received);
        self.looks >= most
    }
}

pub(crate) struct Server {
    pub(crate) connection: Connection,
    pub(crate) shared: Arc<Shared>,
    pub(crate) bucket: Bucket,
    pub(crate) allowance: Allowance,
    pub(crate) kind_deadline: Duration,
    pub(crate) control: Option<Control>,
    pub(crate) queue: mpsc::Sender<Incoming>,
    pub(crate) permit: Option<OwnedSemaphorePermit>,
}

/// What became of a stream whose type we wait for.
enum Typed {
    Stream(Incoming),
    /// It ended, or took too long; nothing was lost but the stream.
    Gone,
    /// No such type, or a control stream where there can be none.
    Unknown,
}

/// Reads the type byte of a stream.
async fn typed(send: QuicSend, mut recv: QuicRecv) -> Typed {
    let mut byte = [0];
    match recv.read(&mut byte).await {
        Ok(1) => match StreamKind::from_byte(byte[0]) {
            Some(kind) => Typed::Stream((kind, send, recv)),
            None => Typed::Unknown,
        },
        _ => Typed::Gone,
    }
}

impl Server {
    /// Runs until the link is gone or nobody holds it any more.
    pub(crate) async fn run(mut self, first: Option<Incoming>) {
        let reason = self.serve(first).await;
        if let Some(reason) = reason {
            self.shared.judge(reason);
            self.connection.close(TEARDOWN, &[]);
        }
        if self.connection.close_reason().is_none() {
            // Nobody accepts here any more, but streams may still be in use: the connection closes with the last of them.
            // The place among the inbound links and the control stream are held until then.
            let (connection, control, permit) = (self.connection, self.control, self.permit);
            let watch = connection.closed();
            let idle = Self::until_unused(&self.shared);
            tokio::select! {
                _ = watch => {}
                () = idle => {}
            }
            connection.close(TEARDOWN, &[]);
            drop((control, permit));
        }
    }

    async fn until_unused(shared: &Shared) {
        // Seldom needed and never urgent: links are closed by their owners.
        while shared.open_halves() > 0 {
            tokio::time::sleep(Duration::from_millis(250)).await;
        }
    }

    /// `Some` if we have to end the link ourselves.
    async fn serve(&mut self, first: Option<Incoming>) -> Option<CloseReason> {
        if let Some(first) = first {
            self.hand_out(first).await?;
        }
        let queue = self.queue.clone();
        let mut waiting: JoinSet<Typed> = JoinSet::new();
        let mut scratch = [0];
        let most = if self.control.is_some() {
            SILENT_LOOKS_NODE
        } else {
            SILENT_LOOKS_CLIENT
        };
        let mut silence = Silence::default();
        let mut looks = interval(Duration::from_secs(1));
        looks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            let typed = tokio::select! {
                () = queue.closed() => return None,
                stream = self.connection.accept_bi() => {
                    let Ok((send, recv)) = stream else { return None };
                    if !self.bucket.take(Instant::now()) {
                        return Some(CloseReason::Abuse);
                    }
                    // The one that just came is not counted yet. Those without a type do not count: what a peer can make us
                    // keep out of the engine's sight stays small.
                    let in_use = (self.shared.count(Class::Accepted) + 1).saturating_sub(waiting.len());
                    if let Some(streams) = self.allowance.grow(in_use) {
                        self.connection.set_max_concurrent_bi_streams(streams.into());
                    }
                    match self.first_look(send, recv, &mut waiting).await {
                        Some(typed) => typed,
                        None => continue,
                    }
                }
                _ = looks.tick() => {
                    let stats = self.connection.stats();
                    if silence.look(to_acknowledge(&stats.frame_tx), stats.udp_rx.datagrams, most) {
                        return Some(CloseReason::Idle);
                    }
                    continue;
                }
                Some(typed) = waiting.join_next() => typed.unwrap_or(Typed::Gone),
                read = control_read(self.control.as_mut(), &mut scratch) => {
                    // Neither an end nor data belongs there. A lost link is no fault of the peer's.
                    return read.is_ok().then_some(CloseReason::Protocol);
                }
            };
            match typed {
                Typed::Stream(stream) => self.hand_out(stream).await?,
                Typed::Gone => {}
                Typed::Unknown => return Some(CloseReason::Protocol),
            }
        }
    }

    /// Queues a stream for whoever calls `accept`; `None` if nobody will.
    async fn hand_out(&self, (kind, mut send, mut recv): Incoming) -> Option<()> {
        if kind == StreamKind::Circuit {
            if self.shared.count(Class::AcceptedCircuit) >= self.allowance.circuits as usize {
                // Dropped: both halves end with the teardown code.
                return Some(());
            }
            streams::is_circuit(&mut send, &mut recv);
        }
        self.queue.send((kind, send, recv)).await.ok()
    }

    /// Takes the type if it came with the stream, which it does; else waits for it aside, so that no stream holds up another.
    async fn first_look(&self, send: SendStream, recv: RecvStream, waiting: &mut JoinSet<Typed>) -> Option<Typed> {
        let (send, recv) = streams::accepted(&self.shared, send, recv);
        let mut read = Box::pin(typed(send, recv));
        let now = std::future::poll_fn(|cx| Poll::Ready(read.as_mut().poll(cx))).await;
        if let Poll::Ready(typed) = now {
            return Some(typed);
        }
        let deadline = self.kind_deadline;
        waiting.spawn(async move { timeout(deadline, read).await.unwrap_or(Typed::Gone) });
        None
    }
}

/// Frames sent that a living peer answers at least with an acknowledgement. Acknowledgements themselves are not among them.
fn to_acknowledge(sent: &FrameStats) -> u64 {
    let streams = sent.stream + sent.reset_stream + sent.stop_sending;
    let credit = sent.max_data + sent.max_stream_data + sent.max_streams_bidi + sent.data_blocked + sent.stream_data_blocked;
    let path = sent.path_challenge + sent.new_connection_id + sent.retire_connection_id + sent.ping;
    streams + credit + path + sent.streams_blocked_bidi + sent.crypto
}

/// Reads the control stream, for ever where there is none.
async fn control_read(control: Option<&mut Control>, scratch: &mut [u8]) -> Result<(), quinn::ConnectionError> {
    match control {
        Some(control) => match control.recv.read(scratch).await {
            Err(quinn::ReadError::ConnectionLost(error)) => Err(error),
            _ => Ok(()),
        },
        None => std::future::pending().await,
    }
}

#[cfg(test)]
mod tests {
    use super::{Allowance, Silence, to_acknowledge};
    use crate::limits::{FIRST_STREAMS, MAX_NODE_CIRCUITS, streams_for};

    #[test]
    fn acknowledgements_ask_for_nothing() {
        let mut sent = quinn::ConnectionStats::default().frame_tx;
        sent.acks = 100;
        sent.connection_close = 1;
        assert_eq!(to_acknowledge(&sent), 0);
        (sent.stream, sent.ping, sent.reset_stream) = (3, 2, 1);
        assert_eq!(to_acknowledge(&sent), 6);
    }

    #[test]
    fn silence_is_sending_without_any_answer() {
        let mut silence = Silence::default();
        assert!(!silence.look(10, 10, 3));
        // Nobody sends: that is not silence.
        assert!((0..100).all(|_| !silence.look(10, 10, 3)));
        // An answer starts it anew.
        assert!(!silence.look(11, 10, 3) && !silence.look(12, 10, 3) && !silence.look(13, 11, 3));
        assert!(!silence.look(14, 11, 3) && !silence.look(14, 11, 3));
        assert!(silence.look(14, 11, 3));
    }

    #[test]
    fn the_allowance_doubles_with_use_up_to_its_most() {
        let mut allowance = Allowance::new(MAX_NODE_CIRCUITS);
        assert_eq!(allowance.grow(FIRST_STREAMS as usize / 2), None);
        assert_eq!(allowance.grow(FIRST_STREAMS as usize / 2 + 1), Some(FIRST_STREAMS * 2));
        assert_eq!(allowance.grow(FIRST_STREAMS as usize / 2 + 1), None);
        let most = streams_for(MAX_NODE_CIRCUITS);
        while allowance.grow(usize::MAX).is_some() {}
        assert_eq!((allowance.now, most), (20_480, 20_480));
        // What is free beside the circuits is more than the eighth that quinn withholds.
        assert!(most - MAX_NODE_CIRCUITS > most / 8);
        let mut small = Allowance::new(3);
        assert_eq!((small.now, small.grow(100)), (4, None));
    }
}
