//! Takes the padding off packets before QUIC reads them.
//!
//! Between a client and its guard every packet has one size, and quinn reads padding as what it is, a frame a byte: of an acknowledgement in a
//! packet of 6,400 bytes it read 6,370 frames, a quarter of a guard's CPU (docs/performance.md). The peer chose the bytes, so whatever is
//! not understood here stays as it came.

use std::{any::Any, sync::Arc};

use bytes::BytesMut;
use quinn::{
    ConnectError, ConnectionId, Side,
    crypto::{
        ClientConfig, CryptoError, ExportKeyingMaterialError, HeaderKey, KeyPair, Keys, PacketKey, ServerConfig, Session,
        UnsupportedVersion,
    },
};
use quinn_proto::{TransportError, transport_parameters::TransportParameters};

const PADDING: u8 = 0x00;
const PING: u8 = 0x01;
const ACK: u8 = 0x02;
const ACK_ECN: u8 = 0x03;
const RESET_STREAM: u8 = 0x04;
const STOP_SENDING: u8 = 0x05;
const CRYPTO: u8 = 0x06;
const STREAM: u8 = 0x08;
const STREAM_LAST: u8 = 0x0f;
const STREAM_OFFSET: u8 = 0x04;
const STREAM_LENGTH: u8 = 0x02;
const MAX_DATA: u8 = 0x10;
const MAX_STREAM_DATA: u8 = 0x11;
const MAX_STREAMS: u8 = 0x12;
const MAX_STREAMS_UNI: u8 = 0x13;
const DATA_BLOCKED: u8 = 0x14;
const STREAM_DATA_BLOCKED: u8 = 0x15;
const STREAMS_BLOCKED: u8 = 0x16;
const STREAMS_BLOCKED_UNI: u8 = 0x17;
const RETIRE_CONNECTION_ID: u8 = 0x19;
const HANDSHAKE_DONE: u8 = 0x1e;
const IMMEDIATE_ACK: u8 = 0x1f;
/// ACK_FREQUENCY, the one type of two bytes that quinn sends.
const LONG: [u8; 2] = [0x40, 0xaf];

/// How many bytes of a packet's frames are left without the padding at their end: all, where there is none or where a frame is not one of
/// those above. At least one of what is not empty, since a packet without frames is an error.
pub fn unpadded_len(frames: &[u8]) -> usize {
    let mut rest = frames;
    loop {
        match rest.split_first() {
            Some((&PADDING, _)) if all_zero(rest) => return (frames.len() - rest.len()).max(1),
            Some((&kind, body)) if kind != PADDING => match behind(kind, body) {
                Some(next) => rest = next,
                None => return frames.len(),
            },
            _ => return frames.len(),
        }
    }
}

/// What comes after a frame of that kind. None: it is cut off, of another kind, or reaches to the packet's end.
fn behind(kind: u8, body: &[u8]) -> Option<&[u8]> {
    match kind {
        PING | HANDSHAKE_DONE | IMMEDIATE_ACK => Some(body),
        MAX_DATA | MAX_STREAMS | MAX_STREAMS_UNI | DATA_BLOCKED | STREAMS_BLOCKED | STREAMS_BLOCKED_UNI | RETIRE_CONNECTION_ID => {
            skip(body, 1)
        }
        MAX_STREAM_DATA | STREAM_DATA_BLOCKED | STOP_SENDING => skip(body, 2),
        RESET_STREAM => skip(body, 3),
        ACK | ACK_ECN => {
            let (ranges, body) = number(skip(body, 2)?)?;
            // Every number is a byte at least, so the packet bounds this.
            let numbers = ranges.checked_mul(2)?.checked_add(if kind == ACK { 1 } else { 4 })?;
            skip(body, numbers)
        }
        CRYPTO => counted(skip(body, 1)?),
        STREAM..=STREAM_LAST if kind & STREAM_LENGTH != 0 => counted(skip(body, if kind & STREAM_OFFSET == 0 { 1 } else { 2 })?),
        _ if kind == LONG[0] => skip(body.strip_prefix(&LONG[1..])?, 4),
        _ => None,
    }
}

/// A number of QUIC, and what follows it.
fn number(bytes: &[u8]) -> Option<(u64, &[u8])> {
    let length = 1usize << (bytes.first()? >> 6);
    let (number, rest) = bytes.split_at_checked(length)?;
    let value = number.iter().fold(0, |value, byte| value << 8 | u64::from(*byte));
    // Its first two bits are the length.
    Some((value & (u64::MAX >> (66 - 8 * length)), rest))
}

fn skip(mut bytes: &[u8], numbers: u64) -> Option<&[u8]> {
    for _ in 0..numbers {
        (_, bytes) = number(bytes)?;
    }
    Some(bytes)
}

/// What follows a length and so many bytes.
fn counted(bytes: &[u8]) -> Option<&[u8]> {
    let (length, bytes) = number(bytes)?;
    bytes.get(usize::try_from(length).ok()?..)
}

fn all_zero(bytes: &[u8]) -> bool {
    // Compared with zeros by the C library, which is many times faster than a loop in a crate that is optimised for size.
    const ZEROS: [u8; 256] = [0; 256];
    bytes.chunks(ZEROS.len()).all(|part| ZEROS.starts_with(part))
}

/// A side's TLS, whose packets lose their padding once they are opened.
pub(super) struct Unpadded<T: ?Sized>(pub(super) Arc<T>);

impl<T: ClientConfig + ?Sized> ClientConfig for Unpadded<T> {
    fn start_session(
        self: Arc<Self>,
        version: u32,
        server_name: &str,
        params: &TransportParameters,
    ) -> Result<Box<dyn Session>, ConnectError> {
        let session = Arc::clone(&self.0).start_session(version, server_name, params)?;
        Ok(Box::new(UnpaddedSession(session)))
    }
}

impl<T: ServerConfig + ?Sized> ServerConfig for Unpadded<T> {
    fn initial_keys(&self, version: u32, dst_cid: &ConnectionId) -> Result<Keys, UnsupportedVersion> {
        self.0.initial_keys(version, dst_cid)
    }

    fn retry_tag(&self, version: u32, orig_dst_cid: &ConnectionId, packet: &[u8]) -> [u8; 16] {
        self.0.retry_tag(version, orig_dst_cid, packet)
    }

    fn start_session(self: Arc<Self>, version: u32, params: &TransportParameters) -> Box<dyn Session> {
        Box::new(UnpaddedSession(Arc::clone(&self.0).start_session(version, params)))
    }
}

struct UnpaddedSession(Box<dyn Session>);

impl Session for UnpaddedSession {
    fn write_handshake(&mut self, buf: &mut Vec<u8>) -> Option<Keys> {
        let mut keys = self.0.write_handshake(buf)?;
        keys.packet.remote = Box::new(UnpaddedKey(keys.packet.remote));
        Some(keys)
    }

    fn next_1rtt_keys(&mut self) -> Option<KeyPair<Box<dyn PacketKey>>> {
        let KeyPair { local, remote } = self.0.next_1rtt_keys()?;
        let remote = Box::new(UnpaddedKey(remote));
        Some(KeyPair { local, remote })
    }

    fn initial_keys(&self, dst_cid: &ConnectionId, side: Side) -> Keys {
        self.0.initial_keys(dst_cid, side)
    }

    fn handshake_data(&self) -> Option<Box<dyn Any>> {
        self.0.handshake_data()
    }

    fn peer_identity(&self) -> Option<Box<dyn Any>> {
        self.0.peer_identity()
    }

    fn early_crypto(&self) -> Option<(Box<dyn HeaderKey>, Box<dyn PacketKey>)> {
        self.0.early_crypto()
    }

    fn early_data_accepted(&self) -> Option<bool> {
        self.0.early_data_accepted()
    }

    fn is_handshaking(&self) -> bool {
        self.0.is_handshaking()
    }

    fn read_handshake(&mut self, buf: &[u8]) -> Result<bool, TransportError> {
        self.0.read_handshake(buf)
    }

    fn transport_parameters(&self) -> Result<Option<TransportParameters>, TransportError> {
        self.0.transport_parameters()
    }

    fn is_valid_retry(&self, orig_dst_cid: &ConnectionId, header: &[u8], payload: &[u8]) -> bool {
        self.0.is_valid_retry(orig_dst_cid, header, payload)
    }

    fn export_keying_material(&self, output: &mut [u8], label: &[u8], context: &[u8]) -> Result<(), ExportKeyingMaterialError> {
        self.0.export_keying_material(output, label, context)
    }
}

struct UnpaddedKey(Box<dyn PacketKey>);

impl PacketKey for UnpaddedKey {
    fn decrypt(&self, packet: u64, header: &[u8], payload: &mut BytesMut) -> Result<(), CryptoError> {
        self.0.decrypt(packet, header, payload)?;
        payload.truncate(unpadded_len(payload));
        Ok(())
    }

    fn encrypt(&self, packet: u64, buf: &mut [u8], header_len: usize) {
        self.0.encrypt(packet, buf, header_len);
    }

    fn tag_len(&self) -> usize {
        self.0.tag_len()
    }

    fn confidentiality_limit(&self) -> u64 {
        self.0.confidentiality_limit()
    }

    fn integrity_limit(&self) -> u64 {
        self.0.integrity_limit()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn varint(value: u64) -> Vec<u8> {
        match value {
            0..0x40 => vec![value as u8],
            0x40..0x4000 => ((value as u16) | 0x4000).to_be_bytes().to_vec(),
            0x4000..0x4000_0000 => ((value as u32) | 0x8000_0000).to_be_bytes().to_vec(),
            _ => (value | 0xc000_0000_0000_0000).to_be_bytes().to_vec(),
        }
    }

    fn of(kind: u8, numbers: &[u64], data: &[u8]) -> Vec<u8> {
        let numbers = numbers.iter().flat_map(|number| varint(*number));
        [kind].into_iter().chain(numbers).chain(data.iter().copied()).collect()
    }

    /// A frame as a peer may send it, some full of zeros.
    fn frame() -> impl Strategy<Value = Vec<u8>> {
        let number = || prop_oneof![Just(0u64), 0..0x40u64, 0..1u64 << 62];
        let data = || {
            prop_oneof![
                proptest::collection::vec(any::<u8>(), 0..80),
                (0..400usize).prop_map(|count| vec![0; count])
            ]
        };
        let simple = prop_oneof![
            Just((vec![PING, HANDSHAKE_DONE, IMMEDIATE_ACK], 0)),
            Just((
                vec![
                    MAX_DATA,
                    MAX_STREAMS,
                    MAX_STREAMS_UNI,
                    DATA_BLOCKED,
                    STREAMS_BLOCKED,
                    STREAMS_BLOCKED_UNI,
                    RETIRE_CONNECTION_ID
                ],
                1
            )),
            Just((vec![MAX_STREAM_DATA, STREAM_DATA_BLOCKED, STOP_SENDING], 2)),
            Just((vec![RESET_STREAM], 3)),
        ];
        prop_oneof![
            (simple, any::<prop::sample::Index>(), [number(), number(), number()]).prop_map(|((kinds, count), at, numbers)| of(
                *at.get(&kinds),
                &numbers[..count],
                &[]
            )),
            (any::<bool>(), proptest::collection::vec(number(), 0..30)).prop_map(|(ecn, mut numbers)| {
                numbers.truncate(numbers.len() / 2 * 2);
                let ranges = numbers.len() as u64 / 2;
                let tail = if ecn { vec![1, 2, 3] } else { vec![] };
                of(
                    if ecn { ACK_ECN } else { ACK },
                    &[vec![9, 0, ranges, 0], numbers, tail].concat(),
                    &[],
                )
            }),
            (number(), number(), any::<bool>(), data()).prop_map(|(id, offset, fin, data)| {
                let kind = STREAM | STREAM_OFFSET | STREAM_LENGTH | u8::from(fin);
                of(kind, &[id, offset, data.len() as u64], &data)
            }),
            (number(), data()).prop_map(|(id, data)| of(STREAM | STREAM_LENGTH, &[id, data.len() as u64], &data)),
            (number(), data()).prop_map(|(offset, data)| of(CRYPTO, &[offset, data.len() as u64], &data)),
            [number(), number(), number(), number()].prop_map(|numbers| [vec![LONG[0]], of(LONG[1], &numbers, &[])].concat()),
        ]
    }

    proptest! {
        #[test]
        fn padding_goes_and_frames_stay(frames in proptest::collection::vec(frame(), 1..6), padding in 0..7_000usize) {
            let frames = frames.concat();
            let mut packet = frames.clone();
            packet.resize(frames.len() + padding, 0);
            prop_assert_eq!(unpadded_len(&packet), frames.len());
        }

        #[test]
        fn what_reaches_to_the_end_stays(frames in proptest::collection::vec(frame(), 0..3), offset in any::<bool>(), zeros in 0..300usize) {
            // A stream's last frame has no length: zeros behind it are its data.
            let kind = STREAM | if offset { STREAM_OFFSET } else { 0 };
            let packet = [frames.concat(), of(kind, if offset { &[4, 9] } else { &[4] }, &vec![0; zeros])].concat();
            prop_assert_eq!(unpadded_len(&packet), packet.len());
        }

        #[test]
        fn only_zeros_go(bytes in proptest::collection::vec(prop_oneof![3 => Just(0u8), 1 => any::<u8>()], 0..600)) {
            let left = unpadded_len(&bytes);
            prop_assert!(left <= bytes.len() && (left > 0 || bytes.is_empty()));
            prop_assert!(bytes[left..].iter().all(|byte| *byte == 0));
        }
    }

    /// A key that leaves a packet as it is.
    struct Open;

    impl PacketKey for Open {
        fn decrypt(&self, packet: u64, _: &[u8], _: &mut BytesMut) -> Result<(), CryptoError> {
            if packet == 0 { Err(CryptoError) } else { Ok(()) }
        }

        fn encrypt(&self, _: u64, _: &mut [u8], _: usize) {}

        fn tag_len(&self) -> usize {
            16
        }

        fn confidentiality_limit(&self) -> u64 {
            1
        }

        fn integrity_limit(&self) -> u64 {
            2
        }
    }

    #[test]
    fn a_key_opens_packets_without_their_padding() {
        let key = UnpaddedKey(Box::new(Open));
        let packet = BytesMut::from(&[&[PING][..], &[0; 900]].concat()[..]);
        let mut opened = packet.clone();
        key.decrypt(1, &[], &mut opened).unwrap();
        assert_eq!(&opened[..], [PING]);
        // What is not authentic is not looked at.
        let mut refused = packet.clone();
        key.decrypt(0, &[], &mut refused).unwrap_err();
        assert_eq!(refused, packet);
        assert_eq!((key.tag_len(), key.confidentiality_limit(), key.integrity_limit()), (16, 1, 2));
    }

    #[test]
    fn a_packet_of_padding_keeps_a_byte() {
        assert_eq!(unpadded_len(&[0; 1_200]), 1);
        assert_eq!(unpadded_len(&[]), 0);
    }

    #[test]
    fn frames_behind_padding_keep_it() {
        let packet = [&[PING][..], &[0; 40], &[PING]].concat();
        assert_eq!(unpadded_len(&packet), packet.len());
    }

    #[test]
    fn what_is_cut_off_or_not_known_stays() {
        for packet in [
            &[0x30u8, 0, 0][..],
            &[0x1c, 0, 0, 0],
            &[0x40, 0x02, 0, 0],
            &[ACK, 1, 0, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff],
            &[CRYPTO, 0, 200, 0],
            &[STREAM | STREAM_LENGTH, 0, 5, 0],
        ] {
            assert_eq!(unpadded_len(packet), packet.len(), "{packet:?}");
        }
    }
}
