use super::*;
use proptest::prelude::*;
use rand_chacha::ChaCha20Rng;
use rand_core::SeedableRng;

fn rng() -> ChaCha20Rng {
    ChaCha20Rng::from_seed([4; 32])
}

fn key(byte: u8) -> CircuitKey {
    CircuitKey::from_bytes(&[byte; 32])
}

#[test]
fn a_node_id_is_the_hash_of_the_identity_key() {
    // Python: hashlib.sha256(b"anonnet:1:node-id" + bytes(32)).hexdigest()
    let id = NodeId::of(&[0; 32]);
    assert_eq!(id.to_string(), "5ba6db810d64c85d72cd2602519c06f8c1de7235f1a1b0818a481804bed7fa9a");
    assert_eq!(format!("{id:?}"), id.to_string());
    let identity = IdentityKey::generate(&mut rng());
    assert_eq!(identity.public().node_id(), NodeId::of(identity.public().as_bytes()));
    assert_eq!(NodeId([3; 32]).as_bytes(), &[3; 32]);
}

#[test]
fn signatures_verify_and_changed_ones_do_not() {
    let identity = IdentityKey::generate(&mut rng());
    let public = IdentityPublic::from_bytes(identity.public().as_bytes()).unwrap();
    let signature = identity.sign(b"message");
    assert_eq!(public.verify(b"message", &signature), Ok(()));
    assert_eq!(public.verify(b"massage", &signature), Err(CryptoError::BadSignature));
    for at in [0, 31, 32, 63] {
        let mut changed = signature;
        changed[at] ^= 1;
        assert_eq!(public.verify(b"message", &changed), Err(CryptoError::BadSignature));
    }
    let again = IdentityKey::from_bytes(&identity.to_bytes());
    assert_eq!(again.sign(b"message"), signature);
    assert_eq!(again.public(), public);
}

#[test]
fn public_keys_that_are_no_points_or_weak_ones_are_refused() {
    let mut no_point = [0; 32];
    no_point[0] = 2;
    let mut neutral = [0; 32];
    neutral[0] = 1;
    for bytes in [no_point, neutral, [0; 32]] {
        assert_eq!(IdentityPublic::from_bytes(&bytes).err(), Some(CryptoError::InvalidKey));
    }
}

#[test]
fn circuit_keys_agree_and_refuse_points_of_small_order() {
    let (a, b) = (CircuitKey::generate(&mut rng()), key(9));
    assert_eq!(a.agree(b.public()).unwrap(), b.agree(a.public()).unwrap());
    assert_eq!(CircuitKey::from_bytes(&a.to_bytes()).public(), a.public());
    assert_eq!(a.agree(&[0; 32]).err(), Some(CryptoError::InvalidKey));
}

#[test]
fn a_ring_rotates_after_a_week_and_keeps_the_old_key_for_a_day() {
    let mut ring = CircuitKeyRing::new(key(1), 1000);
    assert!(!ring.due(1000) && !ring.due(1000 + CIRCUIT_KEY_LIFETIME_S - 1));
    assert!(ring.due(1000 + CIRCUIT_KEY_LIFETIME_S));
    let rotated_s = 1000 + CIRCUIT_KEY_LIFETIME_S;
    ring.rotate(key(2), rotated_s);
    assert_eq!((ring.current_public(), ring.rotated_at_s()), (key(2).public(), rotated_s));
    assert!(!ring.due(rotated_s));
    let last_s = rotated_s + CIRCUIT_KEY_OVERLAP_S - 1;
    assert!(ring.accepts(key(1).public(), last_s) && ring.accepts(key(2).public(), last_s));
    assert!(!ring.accepts(key(1).public(), last_s + 1) && ring.accepts(key(2).public(), last_s + 1));
    assert!(!ring.accepts(key(3).public(), last_s));
    assert!(!ring.expire(last_s));
    assert!(ring.accepts(key(1).public(), last_s));
    assert!(ring.expire(last_s + 1));
    assert!(!ring.accepts(key(1).public(), last_s), "it is gone, whatever the clock says");
    assert!(!ring.expire(last_s + 1));
    assert_eq!(ring.find(key(2).public(), 0).unwrap().public(), key(2).public());
}

#[test]
fn a_second_rotation_drops_the_oldest_key() {
    let mut ring = CircuitKeyRing::new(key(1), 0);
    ring.rotate(key(2), 10);
    ring.rotate(key(3), 20);
    let accepted = [1, 2, 3].map(|byte| ring.accepts(key(byte).public(), 20));
    assert_eq!(accepted, [false, true, true]);
}

#[test]
fn a_key_from_the_future_is_due() {
    let ring = CircuitKeyRing::new(key(1), 10 * CIRCUIT_KEY_OVERLAP_S);
    assert!(!ring.due(9 * CIRCUIT_KEY_OVERLAP_S));
    assert!(ring.due(9 * CIRCUIT_KEY_OVERLAP_S - 1));
    let mut far = CircuitKeyRing::new(key(1), 0);
    far.rotate(key(2), u64::MAX);
    assert!(far.accepts(key(1).public(), u64::MAX - 1), "no overflow");
}

#[test]
fn a_ring_comes_back_from_its_bytes() {
    let mut ring = CircuitKeyRing::new(key(1), 7);
    for length in [41, CIRCUIT_KEY_RING_MAX_LEN] {
        let bytes = ring.to_bytes();
        assert_eq!(bytes.len(), length);
        let again = CircuitKeyRing::from_bytes(&bytes).unwrap();
        assert_eq!(again.to_bytes(), bytes);
        assert_eq!(
            (again.current_public(), again.rotated_at_s()),
            (ring.current_public(), ring.rotated_at_s())
        );
        for cut in 0..length {
            assert_eq!(CircuitKeyRing::from_bytes(&bytes[..cut]).err(), Some(CryptoError::InvalidKey));
        }
        assert!(CircuitKeyRing::from_bytes(&[&bytes[..], &[0]].concat()).is_err());
        ring.rotate(key(2), 8);
    }
    let mut three = ring.to_bytes();
    three[0] = 3;
    assert!(CircuitKeyRing::from_bytes(&three).is_err());
}

#[test]
fn debug_shows_no_secret() {
    let identity = IdentityKey::from_bytes(&[0xab; 32]);
    let public = identity.public();
    assert_eq!(format!("{identity:?} {:?}", key(0xab)), "IdentityKey(..) CircuitKey(..)");
    assert_eq!(format!("{public:?}"), format!("IdentityPublic({})", public.node_id()));
    let ring = CircuitKeyRing::new(key(0xab), 5);
    assert_eq!(format!("{ring:?}"), "CircuitKeyRing { rotated_at_s: 5, previous: false, .. }");
}

proptest! {
    #[test]
    fn any_bytes_are_a_ring_or_an_error(bytes in proptest::collection::vec(any::<u8>(), 0..100)) {
        match CircuitKeyRing::from_bytes(&bytes) {
            Ok(ring) => prop_assert_eq!(ring.to_bytes().to_vec(), bytes),
            Err(error) => prop_assert_eq!(error, CryptoError::InvalidKey),
        }
    }

    #[test]
    fn rings_of_the_right_shape_come_back(count in 1..=2u8, bytes in any::<[u8; 32]>(), since in any::<u64>()) {
        let entry = [&bytes[..], &since.to_be_bytes()].concat();
        let all = [&[count][..], &entry.repeat(usize::from(count))].concat();
        let ring = CircuitKeyRing::from_bytes(&all).unwrap();
        prop_assert_eq!(ring.to_bytes().to_vec(), all);
    }

    #[test]
    fn any_bytes_as_public_keys_and_signatures(bytes in any::<[u8; 32]>(), half in any::<[u8; 32]>()) {
        let signature: [u8; 64] = [bytes, half].concat().try_into().unwrap();
        if let Ok(public) = IdentityPublic::from_bytes(&bytes) {
            prop_assert!(public.verify(b"", &signature).is_err());
        }
        prop_assert!(key(1).agree(&bytes).is_ok());
    }
}
