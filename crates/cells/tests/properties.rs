//! The codecs against whatever proptest thinks of: what was written is read again, and no bytes at all bring a reader down.

#![allow(clippy::unwrap_used, clippy::indexing_slicing)]

use anonnet_cells::{
    Assembler, BODY_LEN, BodyWriter, CELL_LEN, CellError, Command, EndReason, Extend, Host, IntroduceStatus, Kind, MAX_DATA, MAX_HANDSHAKE,
    MAX_TARGET_LEN, MESSAGE_HEADER_LEN, Message, Messages, Reassembly, Resolved, Target, cells, read_cookie, read_introduce1,
    read_rendezvous1, read_window, split, write_fragments, write_resolved,
};
use proptest::prelude::*;
use std::net::{IpAddr, SocketAddr};

/// A message that is allowed: kind and length fit.
fn message() -> impl Strategy<Value = (Kind, u16, u32, bool, Vec<u8>)> {
    let kinds: Vec<Kind> = Kind::ALL.iter().copied().filter(|kind| kind.is_built()).collect();
    (prop::sample::select(kinds), any::<u16>(), any::<u32>(), any::<bool>()).prop_flat_map(|(kind, stream, seq, more)| {
        let shortest = usize::from(kind == Kind::Data);
        prop::collection::vec(any::<u8>(), shortest..=kind.max_len().min(MAX_DATA))
            .prop_map(move |data| (kind, stream, seq, more && kind.comes_in_parts(), data))
    })
}

proptest! {
    #[test]
    fn messages_written_are_read_again(list in prop::collection::vec(message(), 0..12)) {
        let mut body = [0; BODY_LEN];
        let mut writer = BodyWriter::new(&mut body);
        let mut written = Vec::new();
        for (kind, stream, seq, more, data) in &list {
            let message = Message { kind: *kind, stream: *stream, seq: *seq, more: *more, data };
            let room = writer.room();
            match writer.push(&message) {
                Ok(()) => written.push(message),
                Err(error) => {
                    prop_assert_eq!(error, CellError::Full);
                    prop_assert!(room.is_none_or(|room| room < data.len()));
                }
            }
        }
        let read: Result<Vec<_>, _> = Messages::new(&body).collect();
        prop_assert_eq!(read, Ok(written));
    }

    #[test]
    fn random_bodies_are_read_to_an_end(mut body in prop::collection::vec(any::<u8>(), BODY_LEN), kind in 0u8..30, zeros in 0..BODY_LEN) {
        body[0] = kind;
        body[BODY_LEN - zeros..].fill(0);
        let body: [u8; BODY_LEN] = body.try_into().unwrap();
        let (mut used, mut parts) = (0, Reassembly::new());
        for message in Messages::new(&body) {
            let Ok(message) = message else { continue };
            used += MESSAGE_HEADER_LEN + message.data.len();
            prop_assert!(message.data.len() <= message.kind.max_len());
            let _ = parts.receive(&message);
            let _ = Extend::read(message.data);
        }
        prop_assert!(used <= BODY_LEN);
    }

    #[test]
    fn random_payloads_never_panic_and_what_is_read_writes_the_same(bytes in prop::collection::vec(any::<u8>(), 0..400), first in 0u8..8) {
        let mut bytes = bytes;
        if let Some(byte) = bytes.first_mut() {
            *byte = first;
        }
        if let Ok(target) = Target::read(&bytes) {
            let mut buffer = [0; MAX_TARGET_LEN];
            prop_assert_eq!(target.write(&mut buffer).unwrap(), &bytes[..]);
        }
        if let Ok(answer) = Resolved::read(&bytes) {
            prop_assert_eq!(write_resolved(answer.reason, &answer.addresses().collect::<Vec<_>>()).unwrap(), &bytes[..]);
        }
        if let Ok(extend) = Extend::read(&bytes) {
            prop_assert_eq!(&extend.write().unwrap().concat(), &bytes);
        }
        if let Ok(reason) = EndReason::read(&bytes) {
            prop_assert_eq!(bytes[0], reason as u8);
        }
        if let Ok(offset) = read_window(&bytes) {
            prop_assert_eq!(&offset.to_be_bytes()[..], &bytes[..]);
        }
        if let Ok(status) = IntroduceStatus::read(&bytes) {
            prop_assert_eq!(&bytes[..], &[status as u8][..]);
        }
        if let Ok(cookie) = read_cookie(&bytes) {
            prop_assert_eq!(&bytes[..], &cookie[..]);
        }
        let _ = Host::read_resolve(&bytes);
    }

    #[test]
    fn what_relays_pass_on_of_services_is_what_came(bytes in prop::collection::vec(any::<u8>(), 0..3300)) {
        if let Ok((auth, rest)) = read_introduce1(&bytes) {
            prop_assert_eq!([&auth[..], rest].concat(), bytes.clone());
        }
        if let Ok((cookie, rest)) = read_rendezvous1(&bytes) {
            prop_assert_eq!([&cookie[..], rest].concat(), bytes);
        }
    }

    #[test]
    fn random_cells_never_panic(mut run in prop::collection::vec(any::<u8>(), 0..3 * CELL_LEN), command in 0u8..6) {
        if let Some(byte) = run.first_mut() {
            *byte = command;
        }
        let _ = Assembler::new(Command::Create).receive(&run);
        let whole = run.len() % CELL_LEN == 0;
        prop_assert_eq!(cells(&mut run).is_ok(), whole);
        if let Ok(cells) = cells(&mut run) {
            for cell in cells {
                let _ = split(cell);
            }
        }
    }

    #[test]
    fn handshakes_arrive_whole_however_the_cells_are_grouped(handshake in prop::collection::vec(any::<u8>(), 1..=MAX_HANDSHAKE), group in 1usize..3) {
        let mut out = Vec::new();
        write_fragments(Command::Created, &handshake, &mut out).unwrap();
        let mut assembler = Assembler::new(Command::Created);
        let mut whole = None;
        for run in out.chunks(group * CELL_LEN) {
            prop_assert_eq!(&whole, &None);
            whole = assembler.receive(run).unwrap();
        }
        prop_assert_eq!(whole, Some(handshake));
    }

    #[test]
    fn a_changed_byte_of_a_handshake_cell_is_refused_or_stays_in_the_handshake(at in 0..2 * CELL_LEN, bit in 0u8..8) {
        let handshake = vec![0x5a; 1500];
        let mut out = Vec::new();
        write_fragments(Command::Create, &handshake, &mut out).unwrap();
        out[at] ^= 1 << bit;
        if let Ok(Some(read)) = Assembler::new(Command::Create).receive(&out) {
            prop_assert_eq!(read.len(), handshake.len());
        }
    }

    #[test]
    fn extends_and_targets_of_any_address_go_there_and_back(
        node_id: [u8; 32], ip: IpAddr, port in 1u16.., handshake in prop::collection::vec(any::<u8>(), 1..=MAX_HANDSHAKE)
    ) {
        let extend = Extend { node_id, address: SocketAddr::new(ip, port), handshake: &handshake };
        let whole = extend.write().unwrap().concat();
        prop_assert_eq!(Extend::read(&whole), Ok(extend));
        let host = match ip { IpAddr::V4(ip) => Host::V4(ip), IpAddr::V6(ip) => Host::V6(ip) };
        let target = Target { host, port };
        let mut buffer = [0; MAX_TARGET_LEN];
        prop_assert_eq!(Target::read(target.write(&mut buffer).unwrap()), Ok(target));
    }
}
