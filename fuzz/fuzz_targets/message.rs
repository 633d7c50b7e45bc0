//! The body of a recognised cell: messages, their parts and payloads.
#![no_main]

use anonnet_cells::{
    BODY_LEN, Body, BodyWriter, EndReason, Extend, Host, IntroduceStatus, Kind, MAX_TARGET_LEN, Messages, Reassembly, Resolved, Target,
    read_cookie, read_introduce1, read_rendezvous1, read_window, write_resolved,
};
use anonnet_fuzz::Input;
use libfuzzer_sys::fuzz_target;

fn payload(kind: Kind, data: &[u8]) {
    match kind {
        Kind::Begin => {
            if let Ok(target) = Target::read(data) {
                assert_eq!(target.write(&mut [0; MAX_TARGET_LEN]).unwrap(), data);
            }
        }
        Kind::Resolve => {
            let _ = Host::read_resolve(data);
        }
        Kind::Resolved => {
            if let Ok(answer) = Resolved::read(data) {
                let addresses: Vec<_> = answer.addresses().collect();
                assert_eq!(write_resolved(answer.reason, &addresses).unwrap(), data);
            }
        }
        Kind::End => {
            if let Ok(reason) = EndReason::read(data) {
                assert_eq!([reason as u8], data);
            }
        }
        Kind::IntroduceAck => {
            if let Ok(status) = IntroduceStatus::read(data) {
                assert_eq!([status as u8], data);
            }
        }
        Kind::EstablishRendezvous => {
            if let Ok(cookie) = read_cookie(data) {
                assert_eq!(cookie, data);
            }
        }
        Kind::Introduce1 => {
            if let Ok((auth, rest)) = read_introduce1(data) {
                assert_eq!([&auth[..], rest].concat(), data);
            }
        }
        Kind::Rendezvous1 => {
            if let Ok((cookie, rest)) = read_rendezvous1(data) {
                assert_eq!([&cookie[..], rest].concat(), data);
            }
        }
        Kind::Window => {
            if let Ok(offset) = read_window(data) {
                assert_eq!(offset.to_be_bytes(), data);
            }
        }
        Kind::Extend => {
            if let Ok(extend) = Extend::read(data) {
                assert_eq!(extend.write().unwrap().concat(), data);
            }
        }
        _ => {}
    }
}

fuzz_target!(|data: &[u8]| {
    let mut input = Input(data);
    let mut parts = Reassembly::new();
    // Two bodies: a message may go on in the second.
    for _ in 0..2 {
        let length = usize::from(input.u16()) % (BODY_LEN + 1);
        let mut body: Body = [0; BODY_LEN];
        let bytes = input.take(length);
        body[..bytes.len()].copy_from_slice(bytes);
        let mut again: Body = [0; BODY_LEN];
        let mut writer = BodyWriter::new(&mut again);
        let mut sound = true;
        for message in Messages::new(&body) {
            let Ok(message) = message else {
                sound = false;
                break;
            };
            writer.push(&message).unwrap();
            payload(message.kind, message.data);
            match parts.receive(&message) {
                Ok(Some(whole)) => payload(message.kind, &whole),
                Ok(None) => {}
                Err(_) => parts = Reassembly::new(),
            }
        }
        if sound {
            assert!(again == body, "there is one way to write a body");
        }
    }
    for kind in [Kind::Begin, Kind::Resolve, Kind::Resolved, Kind::End, Kind::Window, Kind::Extend] {
        payload(kind, input.0);
    }
});
