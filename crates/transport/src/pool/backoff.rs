//! When a peer whose dial failed may be dialled again.

use std::{collections::HashMap, hash::Hash, time::Duration};

use tokio::time::Instant;

use crate::{limits::MAX_BACKOFF_PEERS, random};

#[derive(Debug)]
struct Failures {
    count: u32,
    until: Instant,
}

/// Failures by peer, bounded.
#[derive(Debug)]
pub(crate) struct Backoff<K> {
    first: Duration,
    most: Duration,
    peers: HashMap<K, Failures>,
}

impl<K: Eq + Hash + Copy> Backoff<K> {
    pub(crate) fn new(first: Duration, most: Duration) -> Self {
        Self {
            first,
            most,
            peers: HashMap::new(),
        }
    }

    /// How long a peer is still left alone.
    pub(crate) fn remaining(&self, peer: &K, now: Instant) -> Option<Duration> {
        self.peers
            .get(peer)
            .map(|failures| failures.until.saturating_duration_since(now))
            .filter(|rest| !rest.is_zero())
    }

    /// A dial failed: the pause doubles, and is drawn from its upper half, so that peers that failed together do not return together.
    pub(crate) fn failed(&mut self, peer: K, now: Instant) {
        if self.peers.len() >= MAX_BACKOFF_PEERS && !self.peers.contains_key(&peer) {
            let most = self.most;
            self.peers.retain(|_, failures| now < failures.until + most);
            if self.peers.len() >= MAX_BACKOFF_PEERS
                && let Some(oldest) = self.peers.iter().min_by_key(|(_, failures)| failures.until).map(|(key, _)| *key)
            {
                self.peers.remove(&oldest);
            }
        }
        let failures = self.peers.entry(peer).or_insert(Failures { count: 0, until: now });
        let pause = self
            .first
            .saturating_mul(1u32.checked_shl(failures.count).unwrap_or(u32::MAX))
            .min(self.most);
        failures.count = failures.count.saturating_add(1).min(31);
        failures.until = now + random::jitter(pause / 2, pause / 2);
    }

    /// A dial succeeded, or the peer came to us.
    pub(crate) fn succeeded(&mut self, peer: &K) {
        self.peers.remove(peer);
    }
}

#[cfg(test)]
mod tests {
    use super::Backoff;
    use crate::limits::MAX_BACKOFF_PEERS;
    use std::time::Duration;
    use tokio::time::Instant;

    #[test]
    fn pauses_double_up_to_the_most_and_vary() {
        let now = Instant::now();
        let (first, most) = (Duration::from_millis(100), Duration::from_secs(1));
        let mut backoff = Backoff::new(first, most);
        for (round, pause) in [100u64, 200, 400, 800, 1000, 1000].into_iter().enumerate() {
            backoff.failed(1u64, now);
            let rest = backoff.remaining(&1, now).unwrap();
            let pause = Duration::from_millis(pause);
            assert!(rest >= pause / 2 && rest <= pause, "round {round}: {rest:?}");
        }
        for _ in 0..100 {
            backoff.failed(1, now);
        }
        assert!(backoff.remaining(&1, now).unwrap() <= most);
        assert_eq!(backoff.remaining(&1, now + most), None);
        assert_eq!(backoff.remaining(&2, now), None);
        backoff.succeeded(&1);
        backoff.failed(1, now);
        assert!(backoff.remaining(&1, now).unwrap() <= first, "success forgets");
    }

    #[test]
    fn remembers_a_bounded_number_of_peers() {
        let now = Instant::now();
        let mut backoff = Backoff::new(Duration::from_secs(1), Duration::from_secs(2));
        for peer in 0..MAX_BACKOFF_PEERS + 100 {
            backoff.failed(peer, now);
        }
        assert_eq!(backoff.peers.len(), MAX_BACKOFF_PEERS);
        backoff.failed(usize::MAX, now + Duration::from_secs(10));
        assert_eq!(backoff.peers.len(), 1, "what is long over makes room first");
    }
}
