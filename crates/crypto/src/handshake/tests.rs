use super::*;
use crate::keys::{CIRCUIT_KEY_LIFETIME_S, CIRCUIT_KEY_OVERLAP_S};
use proptest::prelude::*;
use rand_chacha::ChaCha20Rng;
use rand_core::SeedableRng;

const NOW_S: u64 = 1_000_000;
const ID: NodeId = NodeId([1; 32]);

struct Setup {
    rng: ChaCha20Rng,
    ring: CircuitKeyRing,
}

fn setup() -> Setup {
    let mut rng = ChaCha20Rng::from_seed([7; 32]);
    let ring = CircuitKeyRing::new(CircuitKey::generate(&mut rng), NOW_S);
    Setup { rng, ring }
}

impl Setup {
    fn start(&mut self, extensions: &[u8]) -> (ClientHandshake, Vec<u8>) {
        let onion_key = *self.ring.current_public();
        ClientHandshake::start(&mut self.rng, &ID, &onion_key, extensions).unwrap()
    }

    fn respond(&mut self, request: &[u8]) -> Result<(HopSecrets, Vec<u8>), CryptoError> {
        relay_respond(&mut self.rng, &ID, &self.ring, NOW_S, request, |_| b"reply".to_vec())
    }

    fn refuse(&mut self, request: &[u8]) -> HandshakeFault {
        let result = relay_respond(&mut self.rng, &ID, &self.ring, NOW_S, request, |_| panic!("asked for an answer"));
        fault(result.unwrap_err())
    }
}

fn fault(error: CryptoError) -> HandshakeFault {
    match error {
        CryptoError::Handshake(fault) => fault,
        other => panic!("{other:?}"),
    }
}

fn same(a: &HopSecrets, b: &HopSecrets) -> bool {
    (a.forward, a.backward, a.bind, a.resume) == (b.forward, b.backward, b.bind, b.resume)
}

/// Points of small order, and other encodings of them.
fn low_order() -> [[u8; 32]; 7] {
    let hex = [
        "0000000000000000000000000000000000000000000000000000000000000000",
        "0100000000000000000000000000000000000000000000000000000000000000",
        "e0eb7a7c3b41b8ae1656e3faf19fc46ada098deb9c32b1fd866205165f49b800",
        "5f9c95bca3508c24b1d0b1559c83ef5b04445cc4581c8e86d8224eddd09f1157",
        "ecffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff7f",
        "edffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff7f",
        "eeffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff7f",
    ];
    hex.map(|text| std::array::from_fn(|at| u8::from_str_radix(&text[2 * at..2 * at + 2], 16).unwrap()))
}

#[test]
fn both_sides_agree() {
    let mut setup = setup();
    let (client, request) = setup.start(b"hello");
    assert_eq!(request.len(), REQUEST_LEN + 5);
    let mut seen = Vec::new();
    let (theirs, reply) = relay_respond(&mut setup.rng, &ID, &setup.ring, NOW_S, &request, |extensions| {
        seen = extensions.to_vec();
        b"hi".to_vec()
    })
    .unwrap();
    assert_eq!((seen.as_slice(), reply.len()), (&b"hello"[..], REPLY_LEN + 2));
    assert!(!request.windows(5).any(|window| window == b"hello"), "extensions are sealed");
    let (ours, extensions) = client.finish(&reply).unwrap();
    assert_eq!(extensions, b"hi");
    assert!(same(&ours, &theirs));
    assert_ne!(ours.forward, ours.backward);
    assert_ne!(ours.bind, ours.resume);
}

#[test]
fn two_handshakes_have_nothing_in_common() {
    let mut setup = setup();
    let (_, request) = setup.start(b"");
    // The same request replayed: the relay's own share makes another hop of it.
    let (one, reply_one) = setup.respond(&request).unwrap();
    let (two, reply_two) = setup.respond(&request).unwrap();
    assert_ne!(one.forward, two.forward);
    assert_ne!(one.bind, two.bind);
    assert_ne!(reply_one[..32], reply_two[..32]);
    assert_ne!(setup.start(b"").1[64..], request[64..]);
}

#[test]
fn extensions_have_a_limit_on_both_sides() {
    let mut setup = setup();
    let long = vec![5; MAX_EXTENSIONS_LEN];
    let (client, request) = setup.start(&long);
    let (_, reply) = relay_respond(&mut setup.rng, &ID, &setup.ring, NOW_S, &request, <[u8]>::to_vec).unwrap();
    assert_eq!(client.finish(&reply).unwrap().1, long);
    let longer = vec![5; MAX_EXTENSIONS_LEN + 1];
    let onion_key = *setup.ring.current_public();
    let refused = ClientHandshake::start(&mut setup.rng, &ID, &onion_key, &longer);
    assert_eq!(refused.err(), Some(CryptoError::ExtensionsTooLong));
    let refused = relay_respond(&mut setup.rng, &ID, &setup.ring, NOW_S, &request, |_| longer.clone());
    assert_eq!(refused.err(), Some(CryptoError::ExtensionsTooLong));
    assert_eq!(setup.refuse(&[&request[..], &[0]].concat()), HandshakeFault::Length);
    let (client, _) = setup.start(b"");
    assert_eq!(
        fault(client.finish(&[&reply[..], &[0]].concat()).unwrap_err()),
        HandshakeFault::Length
    );
}

#[test]
fn any_changed_part_of_a_request_is_refused_before_the_relay_answers() {
    let mut setup = setup();
    let (_, request) = setup.start(b"ext");
    for (at, expected) in [
        (0, HandshakeFault::Identity),
        (32, HandshakeFault::CircuitKey),
        (64, HandshakeFault::Mac),
        (96, HandshakeFault::Mac),
        (96 + EK_LEN, HandshakeFault::Mac),
        (96 + EK_LEN + 13, HandshakeFault::Mac),
        (request.len() - 1, HandshakeFault::Mac),
    ] {
        let mut changed = request.clone();
        changed[at] ^= 1;
        assert_eq!(setup.refuse(&changed), expected, "byte {at}");
    }
}

#[test]
fn any_changed_part_of_a_reply_is_refused() {
    let mut setup = setup();
    let length = REPLY_LEN + 5;
    for at in [
        0,
        31,
        32,
        700,
        32 + CT_LEN,
        32 + CT_LEN + 31,
        32 + CT_LEN + 32,
        length - 6,
        length - 1,
    ] {
        let (client, request) = setup.start(b"");
        let (_, mut reply) = setup.respond(&request).unwrap();
        assert_eq!(reply.len(), length);
        reply[at] ^= 1;
        assert_eq!(fault(client.finish(&reply).unwrap_err()), HandshakeFault::Auth, "byte {at}");
    }
}

#[test]
fn a_reply_to_another_request_or_of_another_relay_is_refused() {
    let mut setup = setup();
    let (client, _) = setup.start(b"");
    let (_, other) = setup.start(b"");
    let (_, reply) = setup.respond(&other).unwrap();
    assert_eq!(fault(client.finish(&reply).unwrap_err()), HandshakeFault::Auth);
    // A relay that knows all that is public, but not b.
    let (client, request) = setup.start(b"");
    let impostor = CircuitKeyRing::new(CircuitKey::generate(&mut setup.rng), NOW_S);
    let refused = relay_respond(&mut setup.rng, &ID, &impostor, NOW_S, &request, |_| Vec::new());
    assert_eq!(refused.err(), Some(HandshakeFault::CircuitKey.into()));
    let (_, for_impostor) = ClientHandshake::start(&mut setup.rng, &ID, impostor.current_public(), b"").unwrap();
    let (_, reply) = relay_respond(&mut setup.rng, &ID, &impostor, NOW_S, &for_impostor, |_| Vec::new()).unwrap();
    assert_eq!(fault(client.finish(&reply).unwrap_err()), HandshakeFault::Auth);
}

#[test]
fn points_of_small_order_are_refused_on_every_side() {
    let mut setup = setup();
    let (_, request) = setup.start(b"");
    for point in low_order() {
        let refused = ClientHandshake::start(&mut setup.rng, &ID, &point, b"");
        assert_eq!(refused.err(), Some(HandshakeFault::LowOrder.into()), "as B");
        assert_eq!(setup.refuse(&with_x(&request, &point)), HandshakeFault::LowOrder, "as X");
    }
}

/// The request with another X and the MAC that anybody can make for it, when the shared secret is zero.
fn with_x(request: &[u8], x: &[u8; 32]) -> Vec<u8> {
    let id = request[..32].try_into().unwrap();
    let b = request[32..64].try_into().unwrap();
    let ek = request[96..96 + EK_LEN].try_into().unwrap();
    let transcript = Transcript { id, b, x, ek };
    let keys = transcript.request_keys(&[0; 32]);
    let (k1, mac_key) = key_half(&keys);
    let record = k1.seal(b"", b"").unwrap().to_bytes();
    let mac = transcript.mac(mac_key, &record);
    [id, b, x, &ek[..], &record, &mac].concat()
}

#[test]
fn a_relay_that_answers_with_a_point_of_small_order_is_refused() {
    let mut setup = setup();
    let key = CircuitKey::generate(&mut setup.rng);
    setup.ring = CircuitKeyRing::new(key.clone(), NOW_S);
    for y in low_order() {
        let (client, request) = setup.start(b"");
        // All as an honest relay does it, with the shared secret that such a Y gives: AUTH fits, and still it is refused.
        let (id, b, x) = (&request[..32], &request[32..64], request[64..96].try_into().unwrap());
        let ek: &[u8; EK_LEN] = request[96..96 + EK_LEN].try_into().unwrap();
        let transcript = Transcript {
            id: id.try_into().unwrap(),
            b: b.try_into().unwrap(),
            x,
            ek,
        };
        let (ct, kem) = KemPublic::new(ek).unwrap().encapsulate(&[5; 32]);
        let schedule = transcript.schedule(&[0; 32], key.diffie_hellman(x).as_bytes(), &kem, &y, &ct);
        let record = schedule.split().0.seal(b"", b"").unwrap().to_bytes();
        let mac = request.last_chunk().unwrap();
        let auth = transcript.auth(&schedule.verify, &y, &ct, mac, &record);
        let reply = [&y[..], &ct, &auth, &record].concat();
        assert_eq!(fault(client.finish(&reply).unwrap_err()), HandshakeFault::Auth);
    }
}

/// The request of a client that holds the MAC key and puts anything where its ML-KEM key belongs.
fn with_ek(setup: &mut Setup, ek: &[u8; EK_LEN], record: Option<Vec<u8>>) -> Vec<u8> {
    let b = *setup.ring.current_public();
    let x = CircuitKey::generate(&mut setup.rng);
    let transcript = Transcript {
        id: ID.as_bytes(),
        b: &b,
        x: x.public(),
        ek,
    };
    let keys = transcript.request_keys(&x.agree(&b).unwrap());
    let (k1, mac_key) = key_half(&keys);
    let record = record.unwrap_or_else(|| k1.seal(b"", b"").unwrap().to_bytes());
    let mac = transcript.mac(mac_key, &record);
    [ID.as_bytes(), &b, x.public(), &ek[..], &record, &mac].concat()
}

#[test]
fn an_encapsulation_key_that_is_none_is_refused() {
    let mut setup = setup();
    // Coefficients are 12 bits and below 3329.
    let mut one_too_large = [0; EK_LEN];
    one_too_large[..2].copy_from_slice(&[0x01, 0x0d]);
    for ek in [[0xff; EK_LEN], one_too_large] {
        let request = with_ek(&mut setup, &ek, None);
        assert_eq!(setup.refuse(&request), HandshakeFault::KemKey);
    }
    let mut largest = [0; EK_LEN];
    largest[..2].copy_from_slice(&[0x00, 0x0d]);
    let request = with_ek(&mut setup, &largest, None);
    assert!(setup.respond(&request).is_ok());
}

#[test]
fn a_record_that_does_not_open_is_refused_under_a_mac_that_fits() {
    let mut setup = setup();
    let request = with_ek(&mut setup, &[0; EK_LEN], Some(vec![0; RECORD_OVERHEAD]));
    assert_eq!(setup.refuse(&request), HandshakeFault::Record);
}

#[test]
fn the_previous_circuit_key_works_for_a_day_and_no_longer() {
    let mut setup = setup();
    let (client, request) = setup.start(b"");
    let rotated_s = NOW_S + CIRCUIT_KEY_LIFETIME_S;
    setup.ring.rotate(CircuitKey::generate(&mut setup.rng), rotated_s);
    let last_s = rotated_s + CIRCUIT_KEY_OVERLAP_S - 1;
    let (theirs, reply) = relay_respond(&mut setup.rng, &ID, &setup.ring, last_s, &request, |_| Vec::new()).unwrap();
    assert!(same(&client.finish(&reply).unwrap().0, &theirs));
    let refused = relay_respond(&mut setup.rng, &ID, &setup.ring, last_s + 1, &request, |_| Vec::new());
    assert_eq!(refused.err(), Some(HandshakeFault::CircuitKey.into()));
}

#[test]
fn nothing_prints_a_secret() {
    let mut setup = setup();
    let (client, request) = setup.start(b"");
    assert_eq!(format!("{client:?}"), format!("ClientHandshake {{ id: {}, .. }}", "01".repeat(32)));
    assert_eq!(format!("{:?}", setup.respond(&request).unwrap().0), "HopSecrets(..)");
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn any_bytes_and_any_cut_are_refused(bytes in proptest::collection::vec(any::<u8>(), 0..2000), cut in any::<prop::sample::Index>()) {
        let mut setup = setup();
        let (client, request) = setup.start(b"ext");
        let (_, reply) = setup.respond(&request).unwrap();
        prop_assert!(setup.respond(&bytes).is_err());
        prop_assert!(setup.respond(&request[..cut.index(request.len())]).is_err());
        // Past the names too.
        let named = [&request[..64], &bytes].concat();
        prop_assert!(setup.respond(&named).is_err());
        prop_assert!(client.finish(&reply[..cut.index(reply.len())]).is_err());
        let (client, _) = setup.start(b"");
        prop_assert!(client.finish(&bytes).is_err());
    }
}
