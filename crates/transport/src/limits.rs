//! Every number that a peer could otherwise choose for us. `docs/limits.md` lists them.

use std::time::Duration;

/// The protocol that TLS negotiates.
pub const ALPN: &[u8] = b"anonnet/1";

/// The same for a direct link between two programs: neither is ever taken for the other.
pub const DIRECT_ALPN: &[u8] = b"anonnet-direct/1";

/// The one code that a stream is ever reset or stopped with, and a link closed with: teardown carries no information.
pub const TEARDOWN_CODE: u32 = 0;

/// Bytes a peer may send on one stream before we read: the bound of what a paused circuit holds, per hop and direction.
pub const STREAM_WINDOW: u32 = 256 * 1024;

/// The most of the same on a direct link, which is one stream.
pub const DIRECT_WINDOW: u32 = 4 * 1024 * 1024;

/// What a direct link starts with. It doubles whenever so much was read, so that only who reads ever holds more.
pub const DIRECT_FIRST_WINDOW: u32 = 256 * 1024;

/// What the windows of all links of one direct listener may have grown by, bytes; a link that gets nothing of it stays as it is.
pub const DIRECT_GROWTH_TOTAL: usize = 256 * 1024 * 1024;

/// The most links that a direct listener can be told to have at once.
pub const MAX_DIRECT_LINKS: usize = 4_096;

/// How long the end of a direct link waits, after its last byte, for the other end to have it.
pub const DIRECT_FAREWELL: Duration = Duration::from_secs(10);

/// Circuits that a client may have open on its link to us; one more is reset.
pub const MAX_CLIENT_CIRCUITS: u32 = 1_024;

/// Circuits that an authenticated node may have open on its link with us; one more is reset.
pub const MAX_NODE_CIRCUITS: u32 = 16_384;

/// Streams on top of the circuits, one for so many, that only an RPC can use. More than the eighth of all streams that quinn
/// waits for until it tells the opener of ended ones: with fewer, RPCs would starve on a link full of circuits.
pub const CIRCUITS_PER_RPC_STREAM: u32 = 4;

/// Streams that a new link allows. It doubles whenever half of them are in use, up to circuits and RPC together: quinn keeps
/// a table entry for every stream allowed, used or not.
pub const FIRST_STREAMS: u32 = 64;

/// Bytes written and not yet acknowledged that a link to or from a client keeps.
pub const CLIENT_SEND_WINDOW: u64 = 4 * 1024 * 1024;

/// Bytes written and not yet acknowledged that a link between nodes keeps.
pub const NODE_SEND_WINDOW: u64 = 8 * 1024 * 1024;

/// The least that either keeps.
pub const LEAST_SEND_WINDOW: u64 = 1024 * 1024;

/// Bytes a second that a link is made for: between the least and the most, what it keeps is this times the round-trip time.
pub const LINK_RATE: u64 = 128 * 1024 * 1024;

/// Streams a client may open at once after a pause, on top of [`CLIENT_OPEN_RATE`].
pub const CLIENT_OPEN_BURST: u32 = 4_096;

/// Streams a second that a client may open for long; more is the rapid-reset attack, and ends the link.
pub const CLIENT_OPEN_RATE: u32 = 512;

/// As [`CLIENT_OPEN_BURST`], for authenticated nodes.
pub const NODE_OPEN_BURST: u32 = 32_768;

/// As [`CLIENT_OPEN_RATE`], for authenticated nodes.
pub const NODE_OPEN_RATE: u32 = 8_192;

/// How long a stream may stay without its type byte.
pub const STREAM_KIND_DEADLINE: Duration = Duration::from_secs(5);

/// Streams of one link that wait for somebody to call `accept`.
pub const ACCEPT_QUEUE: usize = 64;

/// How long an inbound handshake may take, and then the first stream that tells a node from a client.
pub const HANDSHAKE_DEADLINE: Duration = Duration::from_secs(5);

/// How long a dial may take, link authentication included.
pub const DIAL_DEADLINE: Duration = Duration::from_secs(5);

/// Inbound links that are not established yet. From half of it on, sources must first prove their address (Retry).
pub const MAX_PENDING_LINKS: usize = 1_024;

/// Inbound links at once.
pub const MAX_INBOUND_LINKS: usize = 8_192;

/// Established inbound links that wait for somebody to call `accept`.
pub const LINK_QUEUE: usize = 128;

/// Bytes of early packets kept for one inbound attempt that is not answered yet.
pub const INCOMING_BUFFER: u64 = 16 * 1024;

/// Bytes of early packets kept for all of those.
pub const INCOMING_BUFFER_TOTAL: u64 = 8 * 1024 * 1024;

/// Bytes of out-of-order TLS messages a peer can make us keep.
pub const CRYPTO_BUFFER: usize = 16 * 1024;

/// The dialler sends something at least this often, plus or minus [`KEEP_ALIVE_JITTER`].
pub const KEEP_ALIVE: Duration = Duration::from_secs(15);

/// Half the width of the keep-alive's spread; drawn anew for every link.
pub const KEEP_ALIVE_JITTER: Duration = Duration::from_secs(3);

/// A link over which nothing comes for so long is dead.
pub const IDLE_TIMEOUT: Duration = Duration::from_secs(30);

/// Looks, one a second, in which a node sent and its peer did not even acknowledge: then the peer is dead. A dead relay must be
/// noticed before an EXTEND to it is given up.
pub const SILENT_LOOKS_NODE: u32 = 4;

/// As [`SILENT_LOOKS_NODE`] between a client and its guard, where the silence may be a network that is lost for a moment.
pub const SILENT_LOOKS_CLIENT: u32 = 8;

/// UDP payload of every packet between a client and its guard, where the path is not known to carry more.
pub const CLIENT_UDP_PAYLOAD: u16 = 1_200;

/// The same where it carries an ordinary packet, also through a tunnel: 1,400 bytes over IPv4, 1,420 over IPv6.
pub const CLIENT_UDP_PAYLOAD_ORDINARY: u16 = 1_372;

/// The same where it carries jumbo frames, or is no network: what ten packets of one system call may have.
pub const CLIENT_UDP_PAYLOAD_JUMBO: u16 = 6_400;

/// How long a client tries a larger size before it tries the next smaller one.
pub const SIZE_DEADLINE: Duration = Duration::from_millis(1_500);

/// What we ask of the kernel for a socket's receive and send buffers; it may grant less.
pub const SOCKET_BUFFER: usize = 8 * 1024 * 1024;

/// Links a pool keeps for a client.
pub const MAX_POOL_LINKS_CLIENT: usize = 64;

/// Links a pool keeps for a node.
pub const MAX_POOL_LINKS_NODE: usize = 4_096;

/// A pooled link without a stream is closed after this time.
pub const POOL_IDLE: Duration = Duration::from_secs(300);

/// Pause after a first failed dial; doubled by every further failure, each time with jitter.
pub const BACKOFF_FIRST: Duration = Duration::from_millis(500);

/// The longest pause between two dials of one peer.
pub const BACKOFF_MOST: Duration = Duration::from_secs(60);

/// Peers whose failures a pool remembers.
pub const MAX_BACKOFF_PEERS: usize = 4_096;

/// The limits of links that tests reach by making them small. [`Default`] is the constants of this module.
#[derive(Clone, Debug)]
pub struct LinkLimits {
    /// See [`MAX_CLIENT_CIRCUITS`].
    pub client_circuits: u32,
    /// See [`MAX_NODE_CIRCUITS`].
    pub node_circuits: u32,
    /// See [`CLIENT_OPEN_BURST`].
    pub client_open_burst: u32,
    /// See [`CLIENT_OPEN_RATE`].
    pub client_open_rate: u32,
    /// See [`NODE_OPEN_BURST`].
    pub node_open_burst: u32,
    /// See [`NODE_OPEN_RATE`].
    pub node_open_rate: u32,
    /// See [`HANDSHAKE_DEADLINE`].
    pub handshake_deadline: Duration,
    /// See [`DIAL_DEADLINE`].
    pub dial_deadline: Duration,
    /// See [`STREAM_KIND_DEADLINE`].
    pub kind_deadline: Duration,
    /// See [`MAX_PENDING_LINKS`].
    pub pending_links: usize,
    /// See [`MAX_INBOUND_LINKS`].
    pub inbound_links: usize,
    /// See [`KEEP_ALIVE`].
    pub keep_alive: Duration,
    /// See [`IDLE_TIMEOUT`].
    pub idle_timeout: Duration,
    /// Direct links, which carry one stream of bytes and nothing else.
    pub direct: bool,
}

impl LinkLimits {
    /// Of direct links; a listener has so many.
    pub fn direct(links: usize) -> Self {
        Self {
            inbound_links: links,
            direct: true,
            ..Self::default()
        }
    }

    pub(crate) const fn alpn(&self) -> &'static [u8] {
        if self.direct { DIRECT_ALPN } else { ALPN }
    }

    pub(crate) const fn stream_window(&self) -> u32 {
        if self.direct { DIRECT_WINDOW } else { STREAM_WINDOW }
    }
}

/// Streams of a link that carries so many circuits.
pub(crate) const fn streams_for(circuits: u32) -> u32 {
    circuits.saturating_add(circuits.div_ceil(CIRCUITS_PER_RPC_STREAM))
}

impl Default for LinkLimits {
    fn default() -> Self {
        Self {
            client_circuits: MAX_CLIENT_CIRCUITS,
            node_circuits: MAX_NODE_CIRCUITS,
            client_open_burst: CLIENT_OPEN_BURST,
            client_open_rate: CLIENT_OPEN_RATE,
            node_open_burst: NODE_OPEN_BURST,
            node_open_rate: NODE_OPEN_RATE,
            handshake_deadline: HANDSHAKE_DEADLINE,
            dial_deadline: DIAL_DEADLINE,
            kind_deadline: STREAM_KIND_DEADLINE,
            pending_links: MAX_PENDING_LINKS,
            inbound_links: MAX_INBOUND_LINKS,
            keep_alive: KEEP_ALIVE,
            idle_timeout: IDLE_TIMEOUT,
            direct: false,
        }
    }
}
