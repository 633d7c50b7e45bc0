//! What a node is doing, for JavaScript.

use std::time::Duration;

#[cfg(feature = "metrics")]
use anonnet_engine::Snapshot;
use anonnet_engine::{CircuitSnapshot, LinkSnapshot};
use napi_derive::napi;

use crate::bytes::hex;

#[napi(object, object_from_js = false)]
pub struct NativeCircuit {
    pub id: u32,
    pub hops: Vec<String>,
    pub age_ms: f64,
    pub streams: f64,
    pub bytes_read: f64,
    pub bytes_written: f64,
}

#[napi(object, object_from_js = false)]
pub struct NativeRelayStats {
    pub circuits: f64,
    pub cells_forwarded: f64,
    pub bytes_forwarded: f64,
    pub handshakes: f64,
    pub handshakes_refused: f64,
    pub exit_streams: f64,
    pub destroyed: f64,
    pub memory_held: f64,
    pub memory_resets: f64,
}

#[napi(object, object_from_js = false)]
pub struct NativeLink {
    pub node_id: Option<String>,
    pub authenticated: bool,
    pub inbound: bool,
    pub rtt_ms: f64,
    pub age_ms: f64,
}

#[napi(object, object_from_js = false)]
pub struct NativeProxyStats {
    pub requests: f64,
    pub open: f64,
    pub refused: f64,
}

#[napi(object, object_from_js = false)]
pub struct NativeSnapshot {
    pub circuits: Vec<NativeCircuit>,
    pub relay: NativeRelayStats,
    pub links: Vec<NativeLink>,
    pub proxy: NativeProxyStats,
}

fn ms(duration: Duration) -> f64 {
    duration.as_secs_f64() * 1000.0
}

impl From<CircuitSnapshot> for NativeCircuit {
    fn from(circuit: CircuitSnapshot) -> Self {
        Self {
            id: circuit.id,
            hops: circuit.hops.iter().map(|hop| hex(hop)).collect(),
            age_ms: ms(circuit.age),
            streams: circuit.streams as f64,
            bytes_read: circuit.bytes_read as f64,
            bytes_written: circuit.bytes_written as f64,
        }
    }
}

impl From<LinkSnapshot> for NativeLink {
    fn from(link: LinkSnapshot) -> Self {
        Self {
            node_id: link.node.map(|id| hex(&id)),
            authenticated: link.authenticated,
            inbound: link.inbound,
            rtt_ms: ms(link.rtt),
            age_ms: ms(link.age),
        }
    }
}

#[cfg(feature = "metrics")]
impl From<Snapshot> for NativeSnapshot {
    fn from(snapshot: Snapshot) -> Self {
        Self {
            circuits: snapshot.circuits.into_iter().map(NativeCircuit::from).collect(),
            relay: NativeRelayStats {
                circuits: snapshot.relay.circuits as f64,
                cells_forwarded: snapshot.relay.cells_forwarded as f64,
                bytes_forwarded: snapshot.relay.bytes_forwarded as f64,
                handshakes: snapshot.relay.handshakes as f64,
                handshakes_refused: snapshot.relay.handshakes_refused as f64,
                exit_streams: snapshot.relay.exit_streams as f64,
                destroyed: snapshot.relay.destroyed as f64,
                memory_held: snapshot.relay.memory_held as f64,
                memory_resets: snapshot.relay.memory_resets as f64,
            },
            links: snapshot.links.into_iter().map(NativeLink::from).collect(),
            proxy: NativeProxyStats {
                requests: snapshot.proxy.requests as f64,
                open: snapshot.proxy.open as f64,
                refused: snapshot.proxy.refused as f64,
            },
        }
    }
}
