//! Rates per address prefix: a /24 of IPv4, a /48 of IPv6.

use core::net::IpAddr;
use std::collections::BTreeMap;

const NS_PER_S: f64 = 1e9;
/// Half of what the counter holds, so that a sum of two never saturates.
const FOR_EVER_NS: u64 = u64::MAX / 2;
const V6: u64 = 1 << 63;

/// How many a second and at once each address prefix may do. It remembers a bounded number of prefixes: when they are more, those that have recovered
/// are forgotten, and if none has, the one that is nearest to it.
#[derive(Debug)]
pub struct PrefixLimiter {
    cost_ns: u64,
    burst_ns: u64,
    max_entries: usize,
    /// For each prefix, the nanoseconds at which all it did is paid for.
    full_at_ns: BTreeMap<u64, u64>,
}

impl PrefixLimiter {
    /// `rate_per_s` a second (a fraction is fine, 0 or less is no limit) and `burst` at once for each prefix; `max_entries` prefixes at most, 1 at least.
    pub fn new(rate_per_s: f64, burst: u32, max_entries: usize) -> Self {
        // A float becomes an integer by saturating: a tiny rate gives a cost of centuries, not an overflow.
        let cost_ns = if rate_per_s > 0.0 {
            ((NS_PER_S / rate_per_s) as u64).clamp(1, FOR_EVER_NS)
        } else {
            0
        };
        Self {
            cost_ns,
            burst_ns: cost_ns.saturating_mul(u64::from(burst.max(1))).min(FOR_EVER_NS),
            max_entries: max_entries.max(1),
            full_at_ns: BTreeMap::new(),
        }
    }

    /// Whether that address may do one more now; if so, it is counted.
    pub fn allow(&mut self, now_ns: u64, address: IpAddr) -> bool {
        if self.cost_ns == 0 {
            return true;
        }
        let prefix = prefix(address);
        let full_at = self.full_at_ns.get(&prefix).copied().unwrap_or(0).max(now_ns);
        let next = full_at.saturating_add(self.cost_ns);
        if next - now_ns > self.burst_ns {
            return false;
        }
        if !self.full_at_ns.contains_key(&prefix) && self.full_at_ns.len() >= self.max_entries {
            self.make_room(now_ns);
        }
        self.full_at_ns.insert(prefix, next);
        true
    }

    /// Prefixes that are remembered now.
    pub fn len(&self) -> usize {
        self.full_at_ns.len()
    }

    /// Whether none is.
    pub fn is_empty(&self) -> bool {
        self.full_at_ns.is_empty()
    }

    fn make_room(&mut self, now_ns: u64) {
        self.full_at_ns.retain(|_, full_at| *full_at > now_ns);
        if self.full_at_ns.len() >= self.max_entries
            && let Some(prefix) = self
                .full_at_ns
                .iter()
                .min_by_key(|(_, full_at)| **full_at)
                .map(|(prefix, _)| *prefix)
        {
            self.full_at_ns.remove(&prefix);
        }
    }
}

/// One number a prefix; addresses of IPv4 in IPv6 are of IPv4.
fn prefix(address: IpAddr) -> u64 {
    match address.to_canonical() {
        IpAddr::V4(ip) => u64::from(u32::from(ip) >> 8),
        // 48 bits are left of 128.
        IpAddr::V6(ip) => V6 | (u128::from(ip) >> 80) as u64,
    }
}

#[cfg(test)]
mod tests {
    use super::PrefixLimiter;
    use core::net::{IpAddr, Ipv4Addr};

    const S: u64 = 1_000_000_000;

    fn taken(limiter: &mut PrefixLimiter, now: u64, address: &str) -> usize {
        (0..100).filter(|_| limiter.allow(now, address.parse().unwrap())).count()
    }

    #[test]
    fn a_prefix_shares_one_bucket_and_others_have_their_own() {
        let mut limiter = PrefixLimiter::new(2.0, 5, 100);
        assert_eq!(taken(&mut limiter, S, "1.2.3.4"), 5);
        assert_eq!(taken(&mut limiter, S, "1.2.3.99"), 0);
        assert_eq!(taken(&mut limiter, S, "::ffff:1.2.3.5"), 0);
        assert_eq!(taken(&mut limiter, S, "1.2.4.4"), 5);
        assert_eq!(taken(&mut limiter, S, "2001:db8:1::1"), 5);
        assert_eq!(taken(&mut limiter, S, "2001:db8:1:ffff::1"), 0);
        assert_eq!(taken(&mut limiter, S, "2001:db8:2::1"), 5);
        assert_eq!(taken(&mut limiter, 2 * S, "1.2.3.4"), 2);
        assert_eq!(limiter.len(), 4);
    }

    #[test]
    fn it_remembers_a_bounded_number_and_forgets_the_recovered_first() {
        let mut limiter = PrefixLimiter::new(1.0, 10, 8);
        assert_eq!(taken(&mut limiter, 0, "9.9.9.9"), 10);
        for i in 0..7 {
            assert!(limiter.allow(0, IpAddr::V4(Ipv4Addr::new(1, 1, i, 1))));
        }
        assert_eq!(limiter.len(), 8);
        // The others have recovered; the busy one has not, and stays.
        assert!(limiter.allow(2 * S, "2.2.2.2".parse().unwrap()));
        assert_eq!(limiter.len(), 2);
        assert_eq!(taken(&mut limiter, 2 * S, "9.9.9.9"), 2);
        // Nobody has recovered: the one nearest to it goes.
        for i in 0..100 {
            assert!(limiter.allow(2 * S, IpAddr::V4(Ipv4Addr::new(3, 3, i, 1))));
            assert!(limiter.len() <= 8);
        }
        assert_eq!(taken(&mut limiter, 2 * S, "9.9.9.9"), 0);
    }

    #[test]
    fn no_rate_no_limit_no_memory_and_odd_rates_do_not_overflow() {
        let mut limiter = PrefixLimiter::new(0.0, 1, 8);
        assert_eq!(taken(&mut limiter, 0, "1.1.1.1"), 100);
        assert!(limiter.is_empty());
        let mut limiter = PrefixLimiter::new(f64::NAN, 1, 8);
        assert_eq!(taken(&mut limiter, 0, "1.1.1.1"), 100);
        let mut limiter = PrefixLimiter::new(1e-300, 3, 0);
        assert_eq!(taken(&mut limiter, 5, "1.1.1.1"), 1);
        assert_eq!(taken(&mut limiter, S, "1.1.1.1"), 0);
    }
}
