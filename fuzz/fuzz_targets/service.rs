//! The handshake of services: what a service makes of an introduction, a client of an answer, a relay of an ESTABLISH_INTRO.
#![no_main]

use anonnet_crypto::service::{IntroKeys, MAX_PAYLOAD_LEN, ServiceClient, ServiceEntry, verify_establish};
use anonnet_fuzz::{Input, edited, rng};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|data: &[u8]| {
    let mut input = Input(data);
    let mut rng = rng();
    let keys = IntroKeys::generate(&mut rng);
    let mode = input.byte();
    match mode % 6 {
        0 => {
            assert!(keys.open(&[[5; 32]], input.0).is_err());
            return;
        }
        1 => {
            let payload = keys.establish(&[7; 32]);
            let changed = edited(&payload, &mut input);
            assert_eq!(verify_establish(&[7; 32], &changed).is_ok(), changed == payload, "every byte is authenticated");
            assert!(verify_establish(&[8; 32], &changed).is_err());
            return;
        }
        _ => {}
    }
    let bytes = keys.entry();
    let entry = ServiceEntry {
        auth_key: bytes[..32].try_into().unwrap(),
        onion_key: bytes[32..64].try_into().unwrap(),
        kem_key: Box::new(bytes[64..].try_into().unwrap()),
        subcredential: [5; 32],
    };
    let payload = vec![9; usize::from(input.u16()) % (MAX_PAYLOAD_LEN + 1)];
    let (client, message) = ServiceClient::start(&mut rng, entry, &payload).unwrap();
    let message = &message[32..];
    if mode % 6 == 2 {
        let changed = edited(message, &mut input);
        match keys.open(&[[1; 32], [5; 32]], &changed) {
            Ok((_, seen)) => assert!(changed == message && seen == payload),
            Err(_) => assert!(changed != message),
        }
        return;
    }
    if mode % 6 == 3 {
        assert!(client.finish(input.0).is_err());
        return;
    }
    let (introduction, _) = keys.open(&[[5; 32]], message).unwrap();
    let (secrets, reply) = introduction.respond(&mut rng).unwrap();
    let changed = edited(&reply, &mut input);
    match client.finish(&changed) {
        Ok(same) => assert!(changed == reply && same.forward == secrets.forward && same.backward == secrets.backward),
        Err(_) => assert!(changed != reply),
    }
});
