//! What a relay keeps for `.anon` services: who is reached through it, and who waits for whom. `V` is how the engine reaches a circuit.

use crate::bucket::TokenBucket;
use crate::limits::{INTRODUCTION_BURST, INTRODUCTION_RATE, MAX_INTRODUCTION_POINTS, MAX_RENDEZVOUS_POINTS};
use anonnet_cells::{Cookie, IntroduceStatus};
use std::collections::HashMap;

/// Which entry of a table was made: a later one of the same name is another.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Ticket(u64);

struct Point<V> {
    ticket: Ticket,
    circuit: V,
    rate: TokenBucket,
}

/// The introduction points of a relay, by their authentication keys.
pub struct Introductions<V> {
    points: HashMap<[u8; 32], Point<V>>,
    made: u64,
}

impl<V> Default for Introductions<V> {
    fn default() -> Self {
        Self {
            points: HashMap::new(),
            made: 0,
        }
    }
}

impl<V> Introductions<V> {
    /// Makes an introduction point. One with the same key is replaced: who asks has proved that the key is theirs, and their circuit before may be
    /// dead without this relay knowing it. `None` where the relay has as many as it takes.
    pub fn insert(&mut self, auth_key: [u8; 32], circuit: V) -> Option<Ticket> {
        if self.points.len() >= MAX_INTRODUCTION_POINTS && !self.points.contains_key(&auth_key) {
            return None;
        }
        self.made += 1;
        let ticket = Ticket(self.made);
        let rate = TokenBucket::new(INTRODUCTION_RATE, INTRODUCTION_BURST);
        self.points.insert(auth_key, Point { ticket, circuit, rate });
        Some(ticket)
    }

    /// Its circuit is over.
    pub fn remove(&mut self, auth_key: &[u8; 32], ticket: Ticket) {
        if self.points.get(auth_key).is_some_and(|point| point.ticket == ticket) {
            self.points.remove(auth_key);
        }
    }

    /// The circuit to pass an introduction on to, unless there is none, or it has had enough.
    pub fn find(&self, auth_key: &[u8; 32], now_ns: u64) -> Result<&V, IntroduceStatus> {
        let point = self.points.get(auth_key).ok_or(IntroduceStatus::Unknown)?;
        point.rate.try_take(now_ns, 1).map_err(|_| IntroduceStatus::Busy)?;
        Ok(&point.circuit)
    }

    /// How many there are.
    pub fn len(&self) -> usize {
        self.points.len()
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.points.is_empty()
    }
}

/// The clients that wait for a service, by their cookies.
pub struct Rendezvous<V> {
    waiting: HashMap<Cookie, (Ticket, V)>,
    made: u64,
}

impl<V> Default for Rendezvous<V> {
    fn default() -> Self {
        Self {
            waiting: HashMap::new(),
            made: 0,
        }
    }
}

impl<V> Rendezvous<V> {
    /// A client waits. `None` where another one waits with that cookie, or as many as the relay takes.
    pub fn insert(&mut self, cookie: Cookie, circuit: V) -> Option<Ticket> {
        if self.waiting.len() >= MAX_RENDEZVOUS_POINTS || self.waiting.contains_key(&cookie) {
            return None;
        }
        self.made += 1;
        let ticket = Ticket(self.made);
        self.waiting.insert(cookie, (ticket, circuit));
        Some(ticket)
    }

    /// Whoever waits with that cookie, once.
    pub fn take(&mut self, cookie: &Cookie) -> Option<V> {
        self.waiting.remove(cookie).map(|(_, circuit)| circuit)
    }

    /// The client waits no more.
    pub fn remove(&mut self, cookie: &Cookie, ticket: Ticket) {
        if self.waiting.get(cookie).is_some_and(|(other, _)| *other == ticket) {
            self.waiting.remove(cookie);
        }
    }

    /// How many wait.
    pub fn len(&self) -> usize {
        self.waiting.len()
    }

    /// Whether nobody waits.
    pub fn is_empty(&self) -> bool {
        self.waiting.is_empty()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn key(number: usize) -> [u8; 32] {
        let mut key = [0; 32];
        key[..8].copy_from_slice(&number.to_be_bytes());
        key
    }

    #[test]
    fn introduction_points_are_bounded_replaced_by_their_owner_and_found() {
        let mut table = Introductions::default();
        for number in 0..MAX_INTRODUCTION_POINTS {
            assert!(table.insert(key(number), number).is_some());
        }
        assert!(table.insert(key(MAX_INTRODUCTION_POINTS), 0).is_none());
        let old = table.insert(key(1), 1).unwrap();
        let new = table.insert(key(1), 77).unwrap();
        table.remove(&key(1), old);
        assert_eq!(table.find(&key(1), 0), Ok(&77));
        table.remove(&key(1), new);
        assert_eq!(table.find(&key(1), 0), Err(IntroduceStatus::Unknown));
        assert_eq!(table.len(), MAX_INTRODUCTION_POINTS - 1);
        assert!(!table.is_empty());
        assert!(table.insert(key(MAX_INTRODUCTION_POINTS), 0).is_some());
    }

    #[test]
    fn introductions_of_one_point_have_a_rate_and_the_others_none_of_it() {
        let mut table = Introductions::default();
        table.insert(key(1), 1);
        table.insert(key(2), 2);
        let passed = |table: &Introductions<i32>, now| (0..1000).filter(|_| table.find(&key(1), now).is_ok()).count() as u64;
        assert_eq!(passed(&table, 0), INTRODUCTION_BURST);
        assert_eq!(table.find(&key(1), 0), Err(IntroduceStatus::Busy));
        assert_eq!(table.find(&key(2), 0), Ok(&2));
        assert_eq!(passed(&table, 1_000_000_000), INTRODUCTION_RATE);
    }

    #[test]
    fn attack_44_a_cookie_is_taken_once_and_not_by_a_second_client() {
        let mut table = Rendezvous::default();
        let cookie = |number: usize| {
            let mut cookie = [0; 20];
            cookie[..8].copy_from_slice(&number.to_be_bytes());
            cookie
        };
        let first = table.insert(cookie(1), 1).unwrap();
        assert!(table.insert(cookie(1), 2).is_none());
        assert_eq!(table.take(&cookie(2)), None);
        assert_eq!(table.take(&cookie(1)), Some(1));
        assert_eq!(table.take(&cookie(1)), None);
        assert!(table.is_empty());
        // The first client's end does not touch the next one with that cookie.
        table.insert(cookie(1), 3).unwrap();
        table.remove(&cookie(1), first);
        assert_eq!(table.len(), 1);
        for number in 2..=MAX_RENDEZVOUS_POINTS {
            assert!(table.insert(cookie(number), number).is_some());
        }
        assert!(table.insert(cookie(0), 0).is_none());
    }
}
