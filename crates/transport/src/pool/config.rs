//! How a pool is set up.

use std::time::Duration;

use anonnet_crypto::keys::NodeId;

use crate::limits::{BACKOFF_FIRST, BACKOFF_MOST, DIAL_DEADLINE, MAX_POOL_LINKS_CLIENT, MAX_POOL_LINKS_NODE, POOL_IDLE};

/// How a [`LinkPool`](super::LinkPool) is set up.
#[derive(Clone, Debug)]
pub struct PoolConfig {
    /// Who we are, if we are a node: decides between links that crossed.
    pub own: Option<NodeId>,
    /// Links and dials at once. When full, a link without streams gives way.
    pub max_links: usize,
    /// A link without streams is closed after this time.
    pub idle_after: Duration,
    /// Pause after a first failed dial.
    pub backoff_first: Duration,
    /// The longest pause.
    pub backoff_most: Duration,
    /// How long a dial may take.
    pub dial_deadline: Duration,
}

impl PoolConfig {
    /// For a client.
    pub fn client() -> Self {
        Self {
            own: None,
            max_links: MAX_POOL_LINKS_CLIENT,
            idle_after: POOL_IDLE,
            backoff_first: BACKOFF_FIRST,
            backoff_most: BACKOFF_MOST,
            // The transport has its own deadline; this one is for transports that forget it.
            dial_deadline: DIAL_DEADLINE * 2,
        }
    }

    /// For the node with that id.
    pub fn node(own: NodeId) -> Self {
        Self {
            own: Some(own),
            max_links: MAX_POOL_LINKS_NODE,
            ..Self::client()
        }
    }
}
