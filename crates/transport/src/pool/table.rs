//! The links of a pool by peer, and the choice among them. No I/O.

use std::{collections::HashMap, time::Duration};

use anonnet_crypto::keys::NodeId;
use tokio::{sync::watch, time::Instant};

use crate::{
    error::TransportError,
    traits::{DialRole, Link},
};

/// Links kept to one peer: one a direction, and some that are about to end. A further one pushes out the oldest.
pub(crate) const MAX_LINKS_PER_PEER: usize = 4;

/// Whom a link is with, and as what we dialled.
pub(crate) type Key = (NodeId, DialRole);

/// What a dial came to; `None` while it goes on.
pub(crate) type Outcome<L> = Option<Result<L, TransportError>>;

struct Entry<L> {
    link: L,
    /// Not for new circuits.
    discarded: bool,
    /// When it was last handed out.
    given: Instant,
}

struct Peer<L> {
    /// Oldest first.
    links: Vec<Entry<L>>,
    dial: Option<watch::Sender<Outcome<L>>>,
}

pub(crate) struct Table<L> {
    own: Option<NodeId>,
    peers: HashMap<Key, Peer<L>>,
    links: usize,
    dials: usize,
}

impl<L: Link> Table<L> {
    pub(crate) fn new(own: Option<NodeId>) -> Self {
        Self {
            own,
            peers: HashMap::new(),
            links: 0,
            dials: 0,
        }
    }

    /// Links and dials.
    pub(crate) fn size(&self) -> usize {
        self.links + self.dials
    }

    pub(crate) fn links(&self) -> impl Iterator<Item = &L> {
        self.peers.values().flat_map(|peer| &peer.links).map(|entry| &entry.link)
    }

    /// The link that new circuits use. Of links that crossed it is the one dialled by the lower id: both ends choose the same.
    pub(crate) fn pick(&mut self, key: &Key, now: Instant) -> Option<L> {
        let inbound_first = self.own.is_some_and(|own| key.0 < own);
        let peer = self.peers.get_mut(key)?;
        let usable = peer
            .links
            .iter_mut()
            .filter(|entry| !entry.discarded && entry.link.close_reason().is_none());
        // The last of the greatest: the newest.
        let best = usable.max_by_key(|entry| entry.link.inbound() == inbound_first)?;
        best.given = now;
        Some(best.link.clone())
    }

    /// A dial that goes on.
    pub(crate) fn dialling(&self, key: &Key) -> Option<watch::Receiver<Outcome<L>>> {
        self.peers.get(key)?.dial.as_ref().map(watch::Sender::subscribe)
    }

    /// Notes a dial.
    pub(crate) fn start_dial(&mut self, key: Key) -> watch::Receiver<Outcome<L>> {
        let (sender, receiver) = watch::channel(None);
        let peer = self.peers.entry(key).or_insert_with(|| Peer {
            links: Vec::new(),
            dial: None,
        });
        if peer.dial.replace(sender).is_none() {
            self.dials += 1;
        }
        receiver
    }

    /// A dial is over; everybody who waits is told.
    pub(crate) fn end_dial(&mut self, key: &Key, outcome: Result<L, TransportError>) {
        let Some(peer) = self.peers.get_mut(key) else { return };
        if let Some(dial) = peer.dial.take() {
            self.dials -= 1;
            dial.send_replace(Some(outcome));
        }
        if peer.links.is_empty() {
            self.peers.remove(key);
        }
    }

    /// Keeps a link; returns the one that it pushes out.
    pub(crate) fn add(&mut self, key: Key, link: L, now: Instant) -> Option<L> {
        let wanted = self.own.is_some_and(|own| key.0 < own) == link.inbound();
        let peer = self.peers.entry(key).or_insert_with(|| Peer {
            links: Vec::new(),
            dial: None,
        });
        if link.inbound()
            && wanted
            && let Some(dial) = &peer.dial
        {
            // Whoever waits for our dial can go: this link would be chosen anyway.
            dial.send_replace(Some(Ok(link.clone())));
        }
        peer.links.push(Entry {
            link,
            discarded: false,
            given: now,
        });
        self.links += 1;
        if peer.links.len() > MAX_LINKS_PER_PEER {
            self.links -= 1;
            return Some(peer.links.remove(0).link);
        }
        None
    }

    pub(crate) fn remove(&mut self, key: &Key, id: u64) {
        let Some(peer) = self.peers.get_mut(key) else { return };
        let before = peer.links.len();
        peer.links.retain(|entry| entry.link.id() != id);
        self.links -= before - peer.links.len();
        if peer.links.is_empty() && peer.dial.is_none() {
            self.peers.remove(key);
        }
    }

    /// No new circuits on that link.
    pub(crate) fn discard(&mut self, id: u64) {
        for entry in self.peers.values_mut().flat_map(|peer| &mut peer.links) {
            if entry.link.id() == id {
                entry.discarded = true;
            }
        }
    }

    /// Links that nobody used for `idle`, and discarded ones without a stream.
    pub(crate) fn unused(&self, idle: Duration, now: Instant) -> Vec<L> {
        let entries = self.peers.values().flat_map(|peer| &peer.links);
        let unused = entries.filter(|entry| {
            let rests = entry.link.idle_for() >= idle && now.saturating_duration_since(entry.given) >= idle;
            rests || (entry.discarded && entry.link.open_streams() == 0)
        });
        unused.map(|entry| entry.link.clone()).collect()
    }

    /// The link without streams that rests the longest: what gives way when the table is full.
    pub(crate) fn longest_idle(&self) -> Option<(Key, L)> {
        let entries = self
            .peers
            .iter()
            .flat_map(|(key, peer)| peer.links.iter().map(move |entry| (key, entry)));
        let idle = entries.filter(|(_, entry)| entry.link.open_streams() == 0);
        idle.max_by_key(|(_, entry)| entry.link.idle_for())
            .map(|(key, entry)| (*key, entry.link.clone()))
    }

    /// Empties the table, and tells those who wait.
    pub(crate) fn clear(&mut self, error: &TransportError) -> Vec<L> {
        let mut links = Vec::new();
        for (_, peer) in self.peers.drain() {
            if let Some(dial) = peer.dial {
                dial.send_replace(Some(Err(error.clone())));
            }
            links.extend(peer.links.into_iter().map(|entry| entry.link));
        }
        (self.links, self.dials) = (0, 0);
        links
    }
}
