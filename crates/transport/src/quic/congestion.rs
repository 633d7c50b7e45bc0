//! How much of what a link sends may be under way: about what its path carries in the time that the path takes, and not what the path's
//! buffers hold as well.
//!
//! The rate is what was acknowledged in each round trip, the largest of the last ones; the time is the shortest round trip of the last
//! seconds, for which the queue is drained now and then. Twice their product may be under way: round trips are longer than the shortest one
//! for reasons other than a queue, and a window that takes no account of that carries less than it was made for, and so shrinks. A lost
//! packet says nothing by itself, since radio links lose some whatever is sent: only more of them than chance explains make the link yield.
//! A link carries many circuits; were it to fill the buffers before it, all of them would wait there, however little each had sent. Reasons
//! and figures: docs/adr/0013-links-measure-their-path.md.

use std::{any::Any, sync::Arc, time::Duration};

use quinn::congestion::{Controller, ControllerFactory};
use std::time::Instant;

/// Rounds of which the fastest counts.
const ROUNDS: usize = 8;

/// A queue shorter than that is not fought: it is what waking up takes on a busy machine, and acknowledgements that come together.
const LEAST_TIME: Duration = Duration::from_millis(16);

/// How long a shortest round trip is believed.
const BELIEVED: Duration = Duration::from_secs(10);

/// The least that may be under way, packets.
const LEAST_PACKETS: u64 = 8;

/// What acknowledgements that wait for each other, jitter and busy machines add to a round trip that is not a queue. Without it a window by
/// the shortest round trip carries less than it was made for, and so shrinks.
const HIDDEN_TIME: Duration = Duration::from_millis(10);

/// Losses that make a link yield: one of so many packets, and so many more for chance.
const LOSS_SHARE: u64 = 50;
const LOSS_CHANCE: u64 = 4;

/// Rounds without a quarter more than before that end the first search.
const FULL_ROUNDS: u8 = 2;

/// Acknowledgements of a round that tell whether its packets waited.
const SAMPLE: u8 = 8;

/// Rounds at more than three times the shortest round trip after which that is measured again: the path may have become longer.
const FAR_ROUNDS: u8 = 8;

/// The most under way that any link reaches: its send window is less.
const MOST: u64 = 64 * 1024 * 1024;

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Phase {
    /// Doubles in each round trip until the rate does not grow any more.
    Search { best: u64, full: u8 },
    /// Keeps to what was measured.
    Keep,
    /// Lets the queue drain for one round, to see how long the path is.
    Drain,
}

/// What is known of a path. The time is handed in.
#[derive(Clone, Debug)]
pub(crate) struct Path {
    phase: Phase,
    first: u64,
    mtu: u64,
    window: u64,
    /// Bytes a second, of the last rounds.
    rates: [u64; ROUNDS],
    next_rate: usize,
    /// The shortest round trip, and when one that is nearly as short came last.
    shortest: Duration,
    seen: Instant,
    /// Of this round.
    began: Instant,
    acked: u64,
    lost: u64,
    quickest: Duration,
    heard: u8,
    limited: bool,
    marked: bool,
    /// What losses leave.
    bound: u64,
    /// Rounds in a row that took more than three times the shortest.
    far: u8,
}

impl Path {
    pub(crate) fn new(now: Instant, first: u64, mtu: u64) -> Self {
        Self {
            phase: Phase::Search { best: 0, full: 0 },
            first,
            mtu,
            window: first,
            rates: [0; ROUNDS],
            next_rate: 0,
            shortest: Duration::MAX,
            seen: now,
            began: now,
            acked: 0,
            lost: 0,
            quickest: Duration::MAX,
            heard: 0,
            limited: false,
            marked: false,
            bound: MOST,
            far: 0,
        }
    }

    /// Bytes that may be under way.
    pub(crate) const fn window(&self) -> u64 {
        self.window
    }

    /// A packet of `bytes` was acknowledged. `limited`: there was nothing more to send.
    pub(crate) fn acked(&mut self, now: Instant, sent: Instant, bytes: u64, limited: bool) {
        let took = now.saturating_duration_since(sent);
        self.quickest = self.quickest.min(took);
        if took < self.shortest {
            self.shortest = took;
            self.seen = now;
        } else if took <= self.shortest + self.shortest / 8 {
            self.seen = now;
        }
        self.acked += bytes;
        self.heard = self.heard.saturating_add(1);
        self.limited |= limited;
        if matches!(self.phase, Phase::Search { .. }) {
            if self.heard == SAMPLE && self.is_queued() {
                self.phase = Phase::Keep;
            } else if !limited {
                self.window = (self.window + bytes).min(self.bound);
            }
        }
        let length = now.saturating_duration_since(self.began);
        if sent >= self.began && length >= LEAST_TIME.min(self.shortest.max(HIDDEN_TIME)) {
            self.round(now, length);
        }
    }

    /// Packets were lost, `bytes` in all. `persistent`: nothing came through for long.
    pub(crate) fn lost(&mut self, bytes: u64, persistent: bool) {
        self.lost += bytes;
        if persistent {
            self.rates = [0; ROUNDS];
            self.bound = MOST;
            self.phase = Phase::Search { best: 0, full: 0 };
            self.window = self.least();
        }
    }

    /// The path says that it is full.
    pub(crate) const fn marked(&mut self) {
        self.marked = true;
    }

    pub(crate) fn resized(&mut self, mtu: u64) {
        self.mtu = mtu;
        self.window = self.window.max(self.least());
    }

    const fn least(&self) -> u64 {
        LEAST_PACKETS * self.mtu
    }

    /// What chance explains of the losses of this round.
    const fn excess(&self) -> u64 {
        (self.acked + self.lost) / LOSS_SHARE + LOSS_CHANCE * self.mtu
    }

    /// Whether all packets of this round waited in the path.
    fn is_queued(&self) -> bool {
        self.quickest > self.shortest + (self.shortest / 4).max(LEAST_TIME / 2)
    }

    fn rate(&self) -> u64 {
        self.rates.iter().copied().max().unwrap_or(0)
    }

    /// What the path carries while a packet is under way.
    fn product(&self) -> u64 {
        over(self.rate(), self.shortest.max(LEAST_TIME))
    }

    fn round(&mut self, now: Instant, length: Duration) {
        let rate = u64::try_from(u128::from(self.acked) * 1_000_000 / length.as_micros().max(1)).unwrap_or(u64::MAX);
        // A round with nothing to send shows less than the path carries.
        if !self.limited || rate > self.rate() {
            if let Some(slot) = self.rates.get_mut(self.next_rate) {
                *slot = rate;
            }
            self.next_rate = (self.next_rate + 1) % ROUNDS;
        }
        let is_far = self.quickest > 3 * self.shortest.max(LEAST_TIME);
        self.far = if is_far { self.far + 1 } else { 0 };
        let yields = self.marked || self.lost > self.excess();
        if yields {
            self.bound = (self.window.min(self.acked + self.lost) / 10 * 8).max(self.least());
        } else if self.bound < MOST {
            self.bound += self.bound / 16 + self.mtu;
        }
        self.phase = match self.phase {
            Phase::Search { .. } if yields => Phase::Keep,
            Phase::Search { best, full } if !self.limited => {
                let grows = rate >= best + best / 4;
                let full = if grows { 0 } else { full + 1 };
                if full >= FULL_ROUNDS {
                    Phase::Keep
                } else {
                    Phase::Search {
                        best: best.max(rate),
                        full,
                    }
                }
            }
            Phase::Keep if self.far >= FAR_ROUNDS || now.saturating_duration_since(self.seen) > BELIEVED => Phase::Drain,
            Phase::Drain => {
                self.shortest = self.quickest;
                self.seen = now;
                self.far = 0;
                Phase::Keep
            }
            phase => phase,
        };
        let product = self.product();
        let wanted = match self.phase {
            Phase::Search { .. } => self.window,
            Phase::Keep => 2 * product + over(self.rate(), HIDDEN_TIME),
            Phase::Drain => product / 2,
        };
        if self.bound >= wanted && !yields {
            self.bound = MOST;
        }
        self.window = wanted.min(self.bound).max(self.least());
        self.began = now;
        self.acked = 0;
        self.lost = 0;
        self.quickest = Duration::MAX;
        self.heard = 0;
        self.limited = false;
        self.marked = false;
    }
}

/// Bytes at `rate` bytes a second in that time.
fn over(rate: u64, time: Duration) -> u64 {
    u64::try_from(u128::from(rate) * time.as_micros() / 1_000_000)
        .unwrap_or(u64::MAX)
        .min(MOST)
}

/// Makes the controllers of links; `0`: bytes that may be under way before the first acknowledgement.
#[derive(Debug)]
pub(crate) struct PathConfig(pub(crate) u64);

impl ControllerFactory for PathConfig {
    fn build(self: Arc<Self>, now: Instant, current_mtu: u16) -> Box<dyn Controller> {
        Box::new(Path::new(now, self.0, current_mtu.into()))
    }
}

impl Controller for Path {
    fn on_ack(&mut self, now: Instant, sent: Instant, bytes: u64, app_limited: bool, _: &quinn_proto::RttEstimator) {
        self.acked(now, sent, bytes, app_limited);
    }

    fn on_congestion_event(&mut self, _: Instant, _: Instant, is_persistent_congestion: bool, lost_bytes: u64) {
        if lost_bytes == 0 {
            self.marked();
        } else {
            self.lost(lost_bytes, is_persistent_congestion);
        }
    }

    fn on_mtu_update(&mut self, new_mtu: u16) {
        self.resized(new_mtu.into());
    }

    fn window(&self) -> u64 {
        Self::window(self)
    }

    fn clone_box(&self) -> Box<dyn Controller> {
        Box::new(self.clone())
    }

    fn initial_window(&self) -> u64 {
        self.first
    }

    fn into_any(self: Box<Self>) -> Box<dyn Any> {
        self
    }
}

#[cfg(test)]
mod tests;
