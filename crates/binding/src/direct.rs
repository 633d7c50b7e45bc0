//! Direct links: streams between two programs that know each other's address.

use anonnet_engine::Peer;
use napi::bindgen_prelude::Uint8Array;
use napi_derive::napi;

use crate::bytes::{address, array, node_id};
use crate::error::{Result, invalid, thrown};
use crate::node::{NativeNode, NativePeer, milliseconds};

/// An Ed25519 seed; absent: a fresh one.
fn seed(key: Option<Uint8Array>) -> Result<Option<[u8; 32]>> {
    key.map(|key| array(&key, "key")).transpose()
}

#[napi]
impl NativeNode {
    /// Listens for direct links, under an identity of its own. `opOk.number`: the listener; `opOk.text`: `ip:port`; `opOk.bytes`: its node id.
    #[napi(catch_unwind)]
    pub fn listen_direct(&self, op: u32, at: String, key: Option<Uint8Array>, max_links: u32) -> Result<()> {
        let links = usize::try_from(max_links).map_err(|_| invalid("maxLinks"))?;
        self.node.listen_direct(op, address(&at)?, seed(key)?, links).map_err(thrown)
    }

    /// Takes no more links; those that are up go on.
    #[napi(catch_unwind)]
    pub fn close_direct(&self, listener: u32) -> bool {
        self.node.close_direct(listener)
    }

    /// Opens a direct link, under an identity of its own. `opOk.number`: the stream.
    #[napi(catch_unwind)]
    pub fn connect_direct(&self, op: u32, peer: NativePeer, key: Option<Uint8Array>, timeout_ms: u32) -> Result<()> {
        let peer = Peer {
            node: node_id(&peer.node_id)?,
            address: address(&peer.address)?,
        };
        self.node
            .connect_direct(op, peer, seed(key)?, milliseconds(timeout_ms))
            .map_err(thrown)
    }
}
