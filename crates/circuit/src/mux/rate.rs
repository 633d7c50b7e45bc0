//! What a receiver measures to know how much credit is enough: how long the circuit takes without a queue, and what came in that time.
//! Times are those that `flush` was told.

use crate::limits::{INITIAL_WINDOW, MAX_WINDOW, MIN_WINDOW_STEP};
use core::time::Duration;

/// A queue of half that time is not fought: it is what waking up takes on a busy machine.
const LEAST_ROUND: u64 = 16_000;
/// A round trip that takes longer says that nothing was sent, not that the circuit is so long.
const LONGEST_ROUND: u64 = 2_000_000;
/// How long a round trip without a queue is believed.
const BELIEVED: u64 = 4_000_000;
/// A round that took as many times its length was a pause, and says nothing.
const PAUSE: u64 = 4;
/// Rounds without a quarter more than before that end the first search.
const FULL_ROUNDS: u8 = 2;

/// Microseconds, from the same moment on for all times of a circuit.
pub(crate) const fn micros(time: Duration) -> u64 {
    time.as_secs() * 1_000_000 + time.subsec_micros() as u64
}

/// What a round trip of a circuit takes that waits in no queue of its own: from a WINDOW to the first byte that it allowed. It is not the
/// shortest that ever was: where packets are lost, what came after them waits for them on every hop, and a window that takes no account of
/// that would shrink for ever.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct RoundTrip {
    /// Microseconds; 0 while there is none.
    takes: u64,
    /// When it was measured last.
    seen: u64,
}

impl RoundTrip {
    /// Whether it has to be measured again. Whoever grants then waits until the queue is gone, and only then grants.
    pub const fn is_doubtful(&self, now: u64) -> bool {
        self.takes != 0 && now.saturating_sub(self.seen) > BELIEVED
    }

    /// Bytes are counted over so many microseconds; absent while nothing is known.
    pub fn round(&self) -> Option<u64> {
        (self.takes != 0).then(|| self.takes.max(LEAST_ROUND))
    }

    /// A sample. The shortest counts until one is taken `without_queue`; such a one moves it, faster to longer ones than to shorter ones.
    pub fn sample(&mut self, took: u64, now: u64, without_queue: bool) {
        if took > LONGEST_ROUND {
            return;
        }
        let took = took.max(1);
        if self.takes == 0 {
            self.takes = took;
            self.seen = now;
        } else if without_queue {
            self.takes = if took > self.takes {
                self.takes + 3 * took
            } else {
                2 * (self.takes + took)
            } / 4;
            self.seen = now;
        } else {
            self.takes = self.takes.min(took).max(self.takes - self.takes / 8);
        }
    }
}

/// How much a stream delivers in a round trip, and so how large its window is.
#[derive(Debug)]
pub(crate) struct Rate {
    /// When the round began; 0 before the first.
    since: u64,
    /// What was consumed then.
    from: u64,
    /// The most that a round delivered.
    best: u64,
    /// Rounds without growth; at [`FULL_ROUNDS`] the search is over.
    full: u8,
    /// What was consumed when the window was doubled last.
    doubled: u64,
}

impl Rate {
    pub const fn new() -> Self {
        Self {
            since: 0,
            from: 0,
            best: 0,
            full: 0,
            doubled: 0,
        }
    }

    const fn is_search(&self) -> bool {
        self.full < FULL_ROUNDS
    }

    /// The next window. While the rate is searched it doubles with each half of it, to three times what a round delivered at most. Then it is one
    /// and a half times that, so that a faster path shows, and what waits for the next WINDOW; it falls by an eighth a round at most.
    pub fn window(&mut self, window: u64, consumed: u64, keeps_up: bool, now: u64, trip: &RoundTrip) -> u64 {
        let mut next = window;
        match trip.round() {
            Some(round) if self.since != 0 => {
                let took = now.saturating_sub(self.since);
                if took >= round {
                    if took <= PAUSE * round {
                        let delivered = (consumed - self.from).saturating_mul(round) / took;
                        next = self.after(window, delivered, keeps_up);
                    }
                    self.since = now.max(1);
                    self.from = consumed;
                }
            }
            _ if self.since == 0 => {
                self.since = now.max(1);
                self.from = consumed;
            }
            _ => {}
        }
        if self.is_search() && keeps_up && consumed - self.doubled >= window / 2 {
            self.doubled = consumed;
            let most = if self.best == 0 { MAX_WINDOW } else { 3 * self.best };
            next = (2 * next).min(most.max(next));
        }
        next
    }

    fn after(&mut self, window: u64, delivered: u64, keeps_up: bool) -> u64 {
        if self.is_search() {
            self.full = if delivered >= self.best + self.best / 4 { 0 } else { self.full + 1 };
        }
        self.best = self.best.max(delivered);
        if self.is_search() {
            return window;
        }
        let wanted = delivered + delivered / 2 + MIN_WINDOW_STEP;
        let least = window - window / 8;
        let most = if keeps_up { 2 * window } else { window };
        wanted.clamp(least, most).max(INITIAL_WINDOW)
    }
}
