//! Rates: so many a second, so many at once.

use core::sync::atomic::{AtomicU64, Ordering};
use core::time::Duration;

const NS_PER_S: u128 = 1_000_000_000;

/// A token bucket without a lock. It keeps the one moment at which it will be full again (the generic cell rate algorithm), so that taking is a
/// single exchange, and several tasks share one by reference.
#[derive(Debug)]
pub struct TokenBucket {
    rate_per_s: u64,
    burst: u64,
    /// Nanoseconds at which all that was taken is paid for.
    full_at_ns: AtomicU64,
}

impl TokenBucket {
    /// `rate_per_s` tokens a second, `burst` at once; a rate of 0 is no limit. A burst of less than one token becomes one.
    pub const fn new(rate_per_s: u64, burst: u64) -> Self {
        Self {
            rate_per_s,
            burst: if burst == 0 { 1 } else { burst },
            full_at_ns: AtomicU64::new(0),
        }
    }

    fn cost_ns(&self, tokens: u64) -> u64 {
        let cost = (u128::from(tokens) * NS_PER_S).div_ceil(u128::from(self.rate_per_s.max(1)));
        u64::try_from(cost).unwrap_or(u64::MAX)
    }

    /// Takes `tokens` if they are there, else tells how long to wait until they are. `now_ns` is monotonic, of any origin. More than the burst
    /// is never there at once: then the wait is for the whole burst, and the caller should ask for less.
    pub fn try_take(&self, now_ns: u64, tokens: u64) -> Result<(), Duration> {
        if self.rate_per_s == 0 {
            return Ok(());
        }
        let (cost, burst) = (self.cost_ns(tokens), self.cost_ns(self.burst));
        self.full_at_ns
            .fetch_update(Ordering::Relaxed, Ordering::Relaxed, |full_at| {
                let next = full_at.max(now_ns).saturating_add(cost);
                (next - now_ns <= burst).then_some(next)
            })
            .map(|_| ())
            .map_err(|full_at| Duration::from_nanos((full_at.max(now_ns) - now_ns).saturating_add(cost).saturating_sub(burst)))
    }

    /// Takes `tokens` whether they are there or not, and tells how long to pause before the next: for bytes that are already read.
    pub fn charge(&self, now_ns: u64, tokens: u64) -> Duration {
        if self.rate_per_s == 0 {
            return Duration::ZERO;
        }
        let (cost, burst) = (self.cost_ns(tokens), self.cost_ns(self.burst));
        let charge = |full_at: u64| Some(full_at.max(now_ns).saturating_add(cost));
        let (Ok(before) | Err(before)) = self.full_at_ns.fetch_update(Ordering::Relaxed, Ordering::Relaxed, charge);
        Duration::from_nanos((before.max(now_ns) - now_ns).saturating_add(cost).saturating_sub(burst))
    }
}

#[cfg(test)]
mod tests {
    use super::TokenBucket;
    use core::time::Duration;

    const S: u64 = 1_000_000_000;

    #[test]
    fn the_burst_goes_at_once_and_then_the_rate_holds() {
        let bucket = TokenBucket::new(10, 5);
        for _ in 0..5 {
            assert_eq!(bucket.try_take(7 * S, 1), Ok(()));
        }
        assert_eq!(bucket.try_take(7 * S, 1), Err(Duration::from_millis(100)));
        let taken = (0..10_000u64)
            .filter(|ms| bucket.try_take(7 * S + ms * S / 1000, 1).is_ok())
            .count();
        assert_eq!(taken, 99);
    }

    #[test]
    fn it_never_holds_more_than_the_burst() {
        let bucket = TokenBucket::new(1000, 3);
        let taken = |now| (0..10).filter(|_| bucket.try_take(now, 1).is_ok()).count();
        assert_eq!(taken(0), 3);
        assert_eq!(taken(1_000_000 * S), 3);
    }

    #[test]
    fn the_wait_is_how_long_it_takes() {
        let bucket = TokenBucket::new(1000, 100);
        assert_eq!(bucket.try_take(0, 100), Ok(()));
        let wait = bucket.try_take(0, 50).unwrap_err();
        assert_eq!(wait, Duration::from_millis(50));
        assert!(bucket.try_take(wait.as_nanos() as u64 - 1, 50).is_err());
        assert_eq!(bucket.try_take(wait.as_nanos() as u64, 50), Ok(()));
    }

    #[test]
    fn a_charge_goes_into_debt_and_the_pauses_make_the_rate() {
        let bucket = TokenBucket::new(1_000_000, 100_000);
        let (mut now, mut bytes) = (0, 0u64);
        while now < 10 * S {
            bytes += 65_536;
            now += bucket.charge(now, 65_536).as_nanos() as u64 + 1;
        }
        assert!((10_000_000..=10_000_000 + 100_000 + 2 * 65_536).contains(&bytes), "{bytes}");
        assert!(bucket.try_take(now, 10).is_err());
        assert!(bucket.try_take(now + 10_000, 10).is_ok());
    }

    #[test]
    fn without_a_rate_there_is_no_limit_and_no_number_overflows() {
        let bucket = TokenBucket::new(0, 0);
        assert_eq!(bucket.try_take(0, u64::MAX), Ok(()));
        assert_eq!(bucket.charge(0, u64::MAX), Duration::ZERO);
        let bucket = TokenBucket::new(1, u64::MAX);
        assert_eq!(bucket.charge(u64::MAX, u64::MAX), Duration::ZERO);
        let bucket = TokenBucket::new(u64::MAX, 0);
        assert_eq!(bucket.try_take(u64::MAX, 1), Ok(()));
    }
}
