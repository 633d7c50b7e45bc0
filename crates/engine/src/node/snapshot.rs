//! What a node is doing, at a glance.

use std::sync::atomic::Ordering;
use std::time::Duration;

use anonnet_transport::Link;

use super::Node;
#[cfg(feature = "metrics")]
use crate::stats::RelaySnapshot;
use crate::sync::lock;

/// A client circuit.
#[derive(Clone, Debug)]
pub struct CircuitSnapshot {
    pub id: u32,
    pub hops: Vec<[u8; 32]>,
    pub age: Duration,
    pub streams: u64,
    pub bytes_read: u64,
    pub bytes_written: u64,
}

/// A link to another node.
#[derive(Clone, Debug)]
pub struct LinkSnapshot {
    pub node: Option<[u8; 32]>,
    pub authenticated: bool,
    pub inbound: bool,
    pub rtt: Duration,
    pub age: Duration,
}

#[cfg(feature = "metrics")]
#[derive(Clone, Copy, Debug, Default)]
pub struct ProxySnapshot {
    pub requests: u64,
    pub open: u64,
    pub refused: u64,
}

#[cfg(feature = "metrics")]
#[derive(Clone, Debug)]
pub struct Snapshot {
    pub circuits: Vec<CircuitSnapshot>,
    pub relay: RelaySnapshot,
    pub links: Vec<LinkSnapshot>,
    pub proxy: ProxySnapshot,
}

impl Node {
    /// The node's own circuits now: what a node works with, so every build has it.
    pub fn circuits(&self) -> Vec<CircuitSnapshot> {
        let mut circuits: Vec<_> = lock(&self.inner.circuits)
            .iter()
            .map(|(id, circuit)| CircuitSnapshot {
                id: *id,
                hops: circuit.hops.iter().map(|hop| hop.0).collect(),
                age: circuit.since.elapsed(),
                streams: circuit.traffic.streams.load(Ordering::Relaxed),
                bytes_read: circuit.traffic.read.load(Ordering::Relaxed),
                bytes_written: circuit.traffic.written.load(Ordering::Relaxed),
            })
            .collect();
        circuits.sort_by_key(|circuit| circuit.id);
        circuits
    }

    /// Its links now, as `circuits`.
    pub fn links(&self) -> Vec<LinkSnapshot> {
        let links = self.inner.server.pool.links().into_iter();
        let told = links.map(|link| LinkSnapshot {
            node: link.peer().map(|id| id.0),
            authenticated: link.is_authenticated(),
            inbound: link.inbound(),
            rtt: link.stats().rtt,
            age: link.age(),
        });
        told.collect()
    }

    /// The node's circuits, links and counters now.
    #[cfg(feature = "metrics")]
    pub fn snapshot(&self) -> Snapshot {
        Snapshot {
            circuits: self.circuits(),
            relay: self.inner.server.stats.snapshot(&self.inner.server.quota),
            links: self.links(),
            proxy: self.proxy_snapshot(),
        }
    }

    #[cfg(all(feature = "metrics", feature = "proxy"))]
    fn proxy_snapshot(&self) -> ProxySnapshot {
        let stats = &self.inner.attach.stats;
        ProxySnapshot {
            requests: stats.requests.get(),
            open: stats.open.get(),
            refused: stats.refused.get(),
        }
    }

    #[cfg(all(feature = "metrics", not(feature = "proxy")))]
    #[expect(clippy::unused_self, reason = "there are no proxies to ask")]
    fn proxy_snapshot(&self) -> ProxySnapshot {
        ProxySnapshot::default()
    }
}
