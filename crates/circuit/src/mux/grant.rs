//! How much credit this side gives: the receiving half of flow control.

use super::rate::{Rate, RoundTrip};
use crate::limits::{INITIAL_WINDOW, MAX_CIRCUIT_CREDIT, MAX_WINDOW, MIN_WINDOW_STEP, WINDOWS_PER_WINDOW};

/// What came on a stream, and up to where more may come.
#[derive(Debug)]
pub(crate) struct Receiving {
    /// Bytes that came.
    received: u64,
    /// Bytes that the application took.
    consumed: u64,
    /// Up to which offset the other side may send.
    granted: u64,
    /// What was consumed when the last WINDOW was made.
    granted_at: u64,
    /// How far ahead of the application the other side may be.
    window: u64,
    /// How much of it the stream needs.
    rate: Rate,
    /// A byte from that offset on was allowed by the WINDOW of `asked`; [`NONE`] when no round trip is measured.
    awaited: u64,
    /// When that WINDOW was made, microseconds.
    asked: u64,
    /// Nothing was queued when it was made.
    asked_empty: bool,
    /// The sender stopped right before that byte: it waited for the WINDOW.
    blocked: bool,
}

/// No offset.
const NONE: u64 = u64::MAX;

/// What the other streams of the circuit leave.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Pool {
    /// Outstanding credit of the other streams, bytes.
    pub others: u64,
    /// Streams of the circuit, this one too.
    pub streams: u64,
}

impl Receiving {
    pub const fn new() -> Self {
        Self {
            received: 0,
            consumed: 0,
            granted: INITIAL_WINDOW,
            granted_at: 0,
            window: INITIAL_WINDOW,
            rate: Rate::new(),
            awaited: NONE,
            asked: 0,
            asked_empty: false,
            blocked: false,
        }
    }

    /// Counts bytes that came; false when there was no credit for them.
    #[inline]
    pub fn receive(&mut self, len: usize) -> bool {
        let received = self.received + len as u64;
        if received > self.granted {
            return false;
        }
        self.received = received;
        self.blocked |= received == self.awaited;
        true
    }

    /// Counts bytes that the application took; false when so many never came.
    #[inline]
    pub fn consume(&mut self, len: usize) -> bool {
        if len as u64 > self.backlog() {
            return false;
        }
        self.consumed += len as u64;
        true
    }

    /// Whether the first byte came that the last WINDOW allowed: [`Receiving::sample`] has to be told when.
    #[inline]
    pub const fn is_answered(&self) -> bool {
        self.received > self.awaited
    }

    /// Bytes that come before the one that is awaited.
    #[cfg(test)]
    pub const fn before_awaited(&self) -> u64 {
        self.awaited.saturating_sub(self.received)
    }

    /// Ends the measurement of a round trip, if there is an answer, and if the sender waited for it.
    pub fn sample(&mut self, now: u64, trip: &mut RoundTrip) {
        if self.is_answered() {
            self.awaited = NONE;
            if self.blocked {
                trip.sample(now.saturating_sub(self.asked), now, self.asked_empty);
            }
        }
    }

    /// Whether a WINDOW may be due: the application took an eighth of a window since the last one.
    pub fn is_due(&self) -> bool {
        self.consumed - self.granted_at >= (self.window / WINDOWS_PER_WINDOW).max(MIN_WINDOW_STEP)
    }

    /// Bytes that came and were not taken.
    pub const fn backlog(&self) -> u64 {
        self.received - self.consumed
    }

    /// Bytes that may have to be held: those, and what may still come.
    pub const fn outstanding(&self) -> u64 {
        self.granted - self.consumed
    }

    /// The offset of the next WINDOW, if one is worth sending. The window follows what the stream delivers, while the reader keeps up, within
    /// the circuit's credit and the stream's share of it. Where the round trip is doubtful it waits until half a window is left: then
    /// nothing is queued, and the next sample is believed.
    pub fn grant(&mut self, pool: Pool, now: u64, trip: &RoundTrip) -> Option<u64> {
        let empty = self.consumed - self.granted_at >= self.window / 2;
        if !self.is_due() || (trip.is_doubtful(now) && !empty) {
            return None;
        }
        let keeps_up = self.backlog() <= self.window / 4;
        let share = (MAX_CIRCUIT_CREDIT / pool.streams.max(1)).min(MAX_WINDOW);
        self.window = self
            .rate
            .window(self.window, self.consumed, keeps_up, now, trip)
            .min(share)
            .min(MAX_CIRCUIT_CREDIT.saturating_sub(pool.others))
            .max(INITIAL_WINDOW);
        let offset = self.consumed + self.window;
        if offset < self.granted + MIN_WINDOW_STEP {
            return None;
        }
        if self.awaited == NONE {
            self.awaited = self.granted;
            self.blocked = self.received == self.granted;
            self.asked = now;
            self.asked_empty = empty && trip.is_doubtful(now);
        }
        self.granted = offset;
        self.granted_at = self.consumed;
        Some(offset)
    }
}

#[cfg(test)]
mod tests {
    use super::{Pool, Receiving, RoundTrip};
    use crate::limits::{INITIAL_WINDOW, MAX_CIRCUIT_CREDIT, MAX_WINDOW, MIN_WINDOW_STEP, WINDOWS_PER_WINDOW};

    const ALONE: Pool = Pool { others: 0, streams: 1 };

    fn take(receiving: &mut Receiving, len: u64) {
        assert!(receiving.receive(len as usize));
        assert!(receiving.consume(len as usize));
    }

    #[test]
    fn a_reader_that_keeps_up_gets_the_largest_window_and_no_more() {
        let mut receiving = Receiving::new();
        let mut windows = Vec::new();
        for _ in 0..20 {
            let half = receiving.window / 2;
            take(&mut receiving, half);
            receiving.grant(ALONE, 0, &RoundTrip::default()).unwrap();
            windows.push(receiving.outstanding());
        }
        assert_eq!(windows[..5], [2, 4, 8, 16, 32].map(|times| times * INITIAL_WINDOW));
        assert_eq!(windows[19], MAX_WINDOW);
    }

    #[test]
    fn a_slow_reader_keeps_its_window() {
        let mut receiving = Receiving::new();
        for _ in 0..20 {
            while receiving.receive(1024) {}
            assert!(receiving.consume(MIN_WINDOW_STEP as usize));
            assert!(receiving.grant(ALONE, 0, &RoundTrip::default()).is_some());
            assert_eq!(receiving.outstanding(), INITIAL_WINDOW);
        }
    }

    #[test]
    fn nothing_is_granted_before_half_a_window_was_taken() {
        let mut receiving = Receiving::new();
        take(&mut receiving, MIN_WINDOW_STEP - 1);
        assert_eq!(receiving.grant(ALONE, 0, &RoundTrip::default()), None);
        take(&mut receiving, 1);
        assert_eq!(
            receiving.grant(ALONE, 0, &RoundTrip::default()),
            Some(MIN_WINDOW_STEP + 2 * INITIAL_WINDOW)
        );
        assert_eq!(receiving.grant(ALONE, 0, &RoundTrip::default()), None);
    }

    #[test]
    fn a_large_window_is_granted_by_eighths() {
        let mut receiving = Receiving::new();
        for _ in 0..20 {
            let half = receiving.window / 2;
            take(&mut receiving, half);
            receiving.grant(ALONE, 0, &RoundTrip::default());
        }
        let step = MAX_WINDOW / WINDOWS_PER_WINDOW;
        for _ in 0..3 * WINDOWS_PER_WINDOW {
            take(&mut receiving, step - 1);
            assert_eq!(receiving.grant(ALONE, 0, &RoundTrip::default()), None);
            take(&mut receiving, 1);
            let offset = receiving.consumed + MAX_WINDOW;
            assert_eq!(receiving.grant(ALONE, 0, &RoundTrip::default()), Some(offset));
        }
    }

    #[test]
    fn the_circuits_credit_and_the_share_bound_a_window_but_never_below_the_first() {
        let grant = |pool| {
            let mut receiving = Receiving::new();
            for _ in 0..10 {
                let half = receiving.window / 2;
                take(&mut receiving, half);
                receiving.grant(pool, 0, &RoundTrip::default());
            }
            receiving.window
        };
        assert_eq!(
            grant(Pool {
                others: MAX_CIRCUIT_CREDIT - 3 * INITIAL_WINDOW,
                streams: 2
            }),
            3 * INITIAL_WINDOW
        );
        assert_eq!(grant(Pool { others: 0, streams: 16 }), 4 * INITIAL_WINDOW);
        assert_eq!(
            grant(Pool {
                others: MAX_CIRCUIT_CREDIT,
                streams: 2
            }),
            INITIAL_WINDOW
        );
        assert_eq!(grant(Pool { others: 0, streams: 500 }), INITIAL_WINDOW);
    }

    #[test]
    fn no_credit_no_bytes_and_nothing_taken_that_never_came() {
        let mut receiving = Receiving::new();
        assert!(receiving.receive(INITIAL_WINDOW as usize));
        assert!(!receiving.receive(1));
        assert!(!receiving.consume(INITIAL_WINDOW as usize + 1));
        assert!(receiving.consume(INITIAL_WINDOW as usize));
        assert!(!receiving.consume(1));
    }
}
