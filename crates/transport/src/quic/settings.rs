//! quinn's options, each set on purpose.

use std::{sync::Arc, time::Duration};

use quinn::{AckFrequencyConfig, IdleTimeout, MtuDiscoveryConfig, TransportConfig, VarInt};

use super::{congestion::PathConfig, size::Size};
use crate::{
    limits::{
        CLIENT_SEND_WINDOW, CLIENT_UDP_PAYLOAD, CRYPTO_BUFFER, DIRECT_FIRST_WINDOW, FIRST_STREAMS, IDLE_TIMEOUT, KEEP_ALIVE,
        KEEP_ALIVE_JITTER, LEAST_SEND_WINDOW, LINK_RATE, LinkLimits, NODE_SEND_WINDOW, STREAM_WINDOW, streams_for,
    },
    random,
};

/// Packets a peer may receive before it must acknowledge.
const ACK_THRESHOLD: u32 = 20;

/// As [`ACK_THRESHOLD`] between a client and its guard: there an acknowledgement alone is a whole packet. A start waits [`ACK_DELAY`] once.
const CLIENT_ACK_THRESHOLD: u32 = 40;

/// The longest an acknowledgement may wait for that many packets.
const ACK_DELAY: Duration = Duration::from_millis(5);

/// Bytes sent before the first acknowledgement: more than the packets that one waits for, else every start would wait its delay.
const FIRST_WINDOW: u64 = 32 * 1_200;

const _: () = assert!(FIRST_WINDOW > ACK_THRESHOLD as u64 * CLIENT_UDP_PAYLOAD as u64);

/// What both ends of a link between nodes may find out that the path carries in one packet: jumbo frames and loopback halve
/// the CPU per byte. quinn sends ten packets at once, and the kernel takes no more than 65,507 bytes of them.
pub(crate) const NODE_UDP_PAYLOAD_MOST: u16 = 6_400;

/// After so long a link looks again whether its path carries more. Overflowing socket buffers look like a path that does not.
const BLACK_HOLE_COOLDOWN: Duration = Duration::from_secs(5);

/// Which of the four ends of a link this is.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum End {
    /// A client's end of a link to its guard.
    ClientDial(Size),
    /// The listener's end of a link whose source is not a known relay.
    ClientAccept(Size),
    /// The dialling node's end.
    NodeDial,
    /// The listener's end of a link from a known relay.
    NodeAccept,
}

/// The connection window with which a link's streams, all paused, do not block one more.
pub(crate) fn link_window(circuits: u32, limits: &LinkLimits) -> VarInt {
    if limits.direct {
        return DIRECT_FIRST_WINDOW.into();
    }
    VarInt::from_u64(u64::from(streams_for(circuits).saturating_add(1)) * u64::from(STREAM_WINDOW)).unwrap_or(VarInt::MAX)
}

/// Bytes that may be under way on a link with that round-trip time, up to `most`. On a short path a large window only fills the
/// sockets' buffers until they overflow.
pub(crate) fn send_window(rtt: Duration, most: u64) -> u64 {
    let product = rtt.as_micros().saturating_mul(u128::from(LINK_RATE)) / 1_000_000;
    u64::try_from(product).unwrap_or(u64::MAX).clamp(LEAST_SEND_WINDOW.min(most), most)
}

/// The options for one end. Made anew for each dial: the keep-alive is drawn from its range.
pub(crate) fn transport(end: End, limits: &LinkLimits) -> Arc<TransportConfig> {
    let mut config = TransportConfig::default();
    let circuits = match end {
        End::ClientDial(_) | End::ClientAccept(_) | End::NodeAccept => limits.client_circuits,
        End::NodeDial => limits.node_circuits,
    };
    // It grows with use; a client serves nothing.
    let streams = if limits.direct {
        u32::from(end != End::NodeDial)
    } else if matches!(end, End::ClientDial(_)) {
        0
    } else {
        FIRST_STREAMS.min(streams_for(circuits))
    };
    config
        .max_concurrent_bidi_streams(streams.into())
        .max_concurrent_uni_streams(0u32.into())
        .stream_receive_window(limits.stream_window().into())
        .receive_window(link_window(circuits, limits))
        .send_fairness(true)
        .datagram_receive_buffer_size(None)
        .datagram_send_buffer_size(0)
        .crypto_buffer_size(CRYPTO_BUFFER)
        .allow_spin(false)
        .enable_segmentation_offload(true)
        .max_idle_timeout(Some(idle_timeout(limits)));
    if matches!(end, End::ClientDial(_) | End::NodeDial) {
        let least = limits.keep_alive.saturating_sub(KEEP_ALIVE_JITTER.min(limits.keep_alive / 2));
        let spread = (KEEP_ALIVE_JITTER * 2).min(limits.keep_alive);
        config.keep_alive_interval(Some(random::jitter(least, spread)));
    }
    config.congestion_controller_factory(Arc::new(PathConfig(FIRST_WINDOW)));
    let mut acks = AckFrequencyConfig::default();
    let threshold = match end {
        End::ClientDial(_) | End::ClientAccept(_) => CLIENT_ACK_THRESHOLD,
        End::NodeDial | End::NodeAccept => ACK_THRESHOLD,
    };
    acks.ack_eliciting_threshold(threshold.into()).max_ack_delay(Some(ACK_DELAY));
    config.ack_frequency_config(Some(acks));
    match end {
        End::ClientDial(size) | End::ClientAccept(size) => {
            // Set, not found: what quinn sends to find out about losses is padded to the least size only.
            config
                .send_window(CLIENT_SEND_WINDOW)
                .initial_mtu(size.bytes())
                .min_mtu(size.bytes())
                .mtu_discovery_config(None)
                .pad_to_mtu(true);
        }
        End::NodeDial | End::NodeAccept => {
            let mut discovery = MtuDiscoveryConfig::default();
            discovery
                .upper_bound(NODE_UDP_PAYLOAD_MOST)
                .black_hole_cooldown(BLACK_HOLE_COOLDOWN);
            config
                .send_window(NODE_SEND_WINDOW)
                .mtu_discovery_config(Some(discovery))
                .pad_to_mtu(false);
        }
    }
    Arc::new(config)
}

fn idle_timeout(limits: &LinkLimits) -> IdleTimeout {
    IdleTimeout::try_from(limits.idle_timeout).unwrap_or_else(|_| VarInt::from_u32(IDLE_TIMEOUT.as_millis() as u32).into())
}

// A single lost keep-alive must not end a link.
const _: () = assert!(KEEP_ALIVE.as_millis() + KEEP_ALIVE_JITTER.as_millis() < IDLE_TIMEOUT.as_millis());

#[cfg(test)]
mod tests {
    use super::{End, Size, link_window, send_window, transport};
    use crate::limits::{LEAST_SEND_WINDOW, LINK_RATE, LinkLimits, MAX_CLIENT_CIRCUITS, NODE_SEND_WINDOW, STREAM_WINDOW, streams_for};
    use std::time::Duration;

    #[test]
    fn paused_streams_never_fill_the_link() {
        let limits = LinkLimits::default();
        assert!(
            link_window(MAX_CLIENT_CIRCUITS, &limits).into_inner() > u64::from(streams_for(MAX_CLIENT_CIRCUITS)) * u64::from(STREAM_WINDOW)
        );
        assert!(link_window(u32::MAX, &limits).into_inner() > 0);
    }

    #[test]
    fn the_send_window_follows_the_path() {
        let ms = Duration::from_millis;
        assert_eq!(send_window(ms(0), NODE_SEND_WINDOW), LEAST_SEND_WINDOW);
        assert_eq!(send_window(ms(40), NODE_SEND_WINDOW), LINK_RATE / 25);
        assert_eq!(send_window(ms(10_000), NODE_SEND_WINDOW), NODE_SEND_WINDOW);
        assert_eq!(send_window(Duration::MAX, 1000), 1000);
    }

    #[test]
    fn a_direct_link_is_one_stream_whose_window_is_earned() {
        let limits = LinkLimits::direct(7);
        assert_eq!(limits.inbound_links, 7);
        let text = |end| format!("{:?}", transport(end, &limits));
        for (end, streams) in [(End::NodeDial, 0), (End::NodeAccept, 1)] {
            let text = text(end);
            assert!(text.contains(&format!("max_concurrent_bidi_streams: {streams},")), "{text}");
            assert!(text.contains("stream_receive_window: 4194304, receive_window: 262144,"), "{text}");
            assert!(text.contains("pad_to_mtu: false"));
        }
    }

    #[test]
    fn the_options_are_those_of_the_protocol() {
        let limits = LinkLimits::default();
        let text = |end| format!("{:?}", transport(end, &limits));
        let sized = Size::ALL
            .into_iter()
            .flat_map(|size| [End::ClientDial(size), End::ClientAccept(size)]);
        for end in sized.chain([End::NodeDial, End::NodeAccept]) {
            let text = text(end);
            assert!(text.contains("max_concurrent_uni_streams: 0,"), "{text}");
            assert!(text.contains("allow_spin: false"));
            assert!(text.contains("stream_receive_window: 262144"));
            assert!(text.contains("datagram_receive_buffer_size: None"));
            let padded = matches!(end, End::ClientDial(_) | End::ClientAccept(_));
            if let End::ClientDial(size) | End::ClientAccept(size) = end {
                let bytes = size.bytes();
                assert!(
                    text.contains(&format!(
                        "initial_mtu: {bytes}, min_mtu: {bytes}, mtu_discovery_config: None, pad_to_mtu: true"
                    )),
                    "{text}"
                );
            }
            assert_eq!(text.contains("pad_to_mtu: true"), padded);
            assert_eq!(text.contains("mtu_discovery_config: None"), padded);
            assert!(text.contains(if padded {
                "ack_eliciting_threshold: 40"
            } else {
                "ack_eliciting_threshold: 20"
            }));
            let dials = matches!(end, End::ClientDial(_) | End::NodeDial);
            assert_eq!(text.contains("keep_alive_interval: None"), !dials);
        }
        assert!(text(End::ClientDial(Size::Least)).contains("max_concurrent_bidi_streams: 0,"));
        for end in [End::ClientAccept(Size::Jumbo), End::NodeAccept, End::NodeDial] {
            assert!(text(end).contains("max_concurrent_bidi_streams: 64,"));
        }
    }
}
