//! Links between peers: the [`Transport`] trait, QUIC as its implementation, and a pool of links.
//!
//! The only crate that opens sockets towards peers. It knows streams and who is at the other end, nothing of cells or circuits.
//! The wire format is that of `docs/protocol.md`, section 3.

#![forbid(unsafe_code)]

mod bucket;
mod error;
pub mod limits;
mod link_auth;
mod pool;
mod quic;
mod random;
mod traits;

pub use error::{CloseReason, TransportError};
pub use limits::{ALPN, LinkLimits, MAX_CLIENT_CIRCUITS, MAX_NODE_CIRCUITS, STREAM_WINDOW, TEARDOWN_CODE};
pub use pool::{DownReason, LinkEvent, LinkPool, LinkState, PoolConfig};
#[cfg(feature = "fuzzing")]
pub use quic::unpadded_len;
pub use quic::{Admission, Admit, AdmitAll, DirectLink, DirectStream, OnDirect, QuicConfig, QuicLink, QuicRecv, QuicSend, QuicTransport};
pub use traits::{DialRole, Link, LinkStats, StreamKind, StreamRecv, StreamSend, Transport};
