//! The circuit handshake: what a relay makes of a request, and a client of a reply.
#![no_main]

use anonnet_crypto::handshake::{ClientHandshake, relay_respond};
use anonnet_crypto::keys::{CircuitKey, CircuitKeyRing, NodeId};
use anonnet_fuzz::{Input, edited, rng};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|data: &[u8]| {
    let mut input = Input(data);
    let mut rng = rng();
    let key = CircuitKey::generate(&mut rng);
    let (id, onion) = (NodeId([5; 32]), *key.public());
    let ring = CircuitKeyRing::new(key, 0);
    let mode = input.byte();
    if mode % 4 == 0 {
        let _ = relay_respond(&mut rng, &id, &ring, 0, input.0, |extensions| extensions.to_vec());
        return;
    }
    let extensions = vec![9; usize::from(input.byte())];
    let Ok((client, request)) = ClientHandshake::start(&mut rng, &id, &onion, &extensions) else {
        return;
    };
    if mode % 4 == 1 {
        let changed = edited(&request, &mut input);
        let answered = relay_respond(&mut rng, &id, &ring, 0, &changed, |seen| {
            assert_eq!(seen, extensions);
            Vec::new()
        });
        assert_eq!(answered.is_ok(), changed == request, "every byte is authenticated");
        return;
    }
    if mode % 4 == 2 {
        assert!(client.finish(input.0).is_err());
        return;
    }
    let (secrets, reply) = relay_respond(&mut rng, &id, &ring, 0, &request, <[u8]>::to_vec).unwrap();
    let changed = edited(&reply, &mut input);
    match client.finish(&changed) {
        Ok((same, seen)) => {
            assert!(changed == reply && seen == extensions);
            assert!(same.forward == secrets.forward && same.backward == secrets.backward);
        }
        Err(_) => assert!(changed != reply),
    }
});
