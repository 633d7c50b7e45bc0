use super::*;
use crate::keys::{IdentityKey, IdentityPublic};
use crate::{CryptoError, HandshakeFault};
use proptest::prelude::*;
use rand_chacha::ChaCha12Rng;
use rand_core::SeedableRng;

fn rng(seed: u64) -> ChaCha12Rng {
    ChaCha12Rng::seed_from_u64(seed)
}

fn entry(keys: &IntroKeys, subcredential: [u8; 32]) -> ServiceEntry {
    let bytes = keys.entry();
    ServiceEntry {
        auth_key: bytes[..32].try_into().unwrap(),
        onion_key: bytes[32..64].try_into().unwrap(),
        kem_key: Box::new(bytes[64..].try_into().unwrap()),
        subcredential,
    }
}

#[test]
fn a_blinded_key_signs_what_its_public_half_verifies_and_no_other_does() {
    let identity = IdentityKey::generate(&mut rng(1));
    let public = *identity.public().as_bytes();
    for period in [0, 1, 20_000, u64::MAX] {
        let key = BlindedKey::new(&identity, period);
        let blinded = blind(&public, period).unwrap();
        assert_eq!(key.public(), &blinded);
        let signature = key.sign(b"descriptor");
        let verifier = IdentityPublic::from_bytes(&blinded).unwrap();
        assert_eq!(verifier.verify(b"descriptor", &signature), Ok(()));
        assert!(verifier.verify(b"other", &signature).is_err());
        assert!(identity.public().verify(b"descriptor", &signature).is_err());
        let next = blind(&public, period.wrapping_add(1)).unwrap();
        assert_ne!(next, blinded);
        assert!(
            IdentityPublic::from_bytes(&next)
                .unwrap()
                .verify(b"descriptor", &signature)
                .is_err()
        );
        // The nonces of two periods differ: R is the first half.
        let other = BlindedKey::new(&identity, period.wrapping_add(1)).sign(b"descriptor");
        assert_ne!(other[..32], signature[..32]);
        assert_ne!(subcredential(&public, period), subcredential(&public, period.wrapping_add(1)));
    }
}

#[test]
fn keys_off_the_prime_order_group_are_no_addresses() {
    let mut identity = [0; 32];
    identity[0] = 1;
    assert_eq!(blind(&identity, 1), Err(CryptoError::InvalidKey));
    assert_eq!(blind(&[0xff; 32], 1), Err(CryptoError::InvalidKey));
    // A sound key plus a point of order two: it verifies signatures, and would be a second address of one service.
    let sound = IdentityKey::generate(&mut rng(2)).public();
    let twisted = sound.to_edwards() + curve25519_dalek::constants::EIGHT_TORSION[4];
    let twisted = twisted.compress().to_bytes();
    assert!(IdentityPublic::from_bytes(&twisted).is_ok());
    assert_eq!(blind(&twisted, 1), Err(CryptoError::InvalidKey));
    assert_eq!(subcredential(&twisted, 1), Err(CryptoError::InvalidKey));
}

#[test]
fn an_introduction_gives_both_ends_the_same_secrets() {
    let keys = IntroKeys::generate(&mut rng(3));
    for payload in [&b""[..], b"cookie and place", &[7; MAX_PAYLOAD_LEN]] {
        let (client, message) = ServiceClient::start(&mut rng(4), entry(&keys, [5; 32]), payload).unwrap();
        assert_eq!(message.len(), INTRODUCE1_LEN);
        assert_eq!(message[..32], keys.auth_public);
        let (introduction, opened) = keys.open(&[[1; 32], [5; 32]], &message[32..]).unwrap();
        assert_eq!(opened, payload);
        let (ours, reply) = introduction.respond(&mut rng(6)).unwrap();
        assert_eq!(reply.len(), SERVICE_REPLY_LEN);
        let theirs = client.finish(&reply).unwrap();
        assert_eq!(
            (ours.forward, ours.backward, ours.bind),
            (theirs.forward, theirs.backward, theirs.bind)
        );
        assert_ne!(ours.forward, ours.backward);
        for at in 0..reply.len() {
            let mut changed = reply.clone();
            changed[at] ^= 1;
            if at % 97 == 0 || at >= reply.len() - 32 {
                assert!(client.finish(&changed).is_err(), "byte {at}");
            }
        }
        assert!(client.finish(&reply[1..]).is_err());
    }
    let long = [0; MAX_PAYLOAD_LEN + 1];
    let refused = ServiceClient::start(&mut rng(4), entry(&keys, [5; 32]), &long);
    assert_eq!(refused.err(), Some(CryptoError::ExtensionsTooLong));
}

#[test]
fn an_introduction_of_another_period_point_or_touched_anywhere_does_not_open() {
    let keys = IntroKeys::generate(&mut rng(3));
    let (_, message) = ServiceClient::start(&mut rng(4), entry(&keys, [5; 32]), b"payload").unwrap();
    let message = &message[32..];
    let mac = Some(CryptoError::Handshake(HandshakeFault::Mac));
    assert_eq!(keys.open(&[[6; 32]], message).err(), mac);
    assert_eq!(keys.open(&[], message).err(), mac);
    assert_eq!(IntroKeys::generate(&mut rng(7)).open(&[[5; 32]], message).err(), mac);
    // Only so many are tried.
    let many = [[1; 32], [2; 32], [3; 32], [4; 32], [5; 32]];
    assert_eq!(keys.open(&many, message).err(), mac);
    assert!(keys.open(&many[1..], message).is_ok());
    for at in (0..message.len()).step_by(61).chain([31, 32, 1215, 1216, message.len() - 1]) {
        let mut changed = message.to_vec();
        changed[at] ^= 0x40;
        assert!(keys.open(&[[5; 32]], &changed).is_err(), "byte {at}");
    }
    assert!(keys.open(&[[5; 32]], &message[1..]).is_err());
    let mut weak = message.to_vec();
    weak[..32].fill(0);
    assert_eq!(keys.open(&[[5; 32]], &weak).err(), Some(HandshakeFault::LowOrder.into()));
    let mut bad = entry(&keys, [5; 32]);
    bad.kem_key = Box::new([0xff; KEM_KEY_LEN]);
    assert_eq!(
        ServiceClient::start(&mut rng(4), bad, b"").err(),
        Some(HandshakeFault::KemKey.into())
    );
    let mut bad = entry(&keys, [5; 32]);
    bad.onion_key = [0; 32];
    assert_eq!(
        ServiceClient::start(&mut rng(4), bad, b"").err(),
        Some(HandshakeFault::LowOrder.into())
    );
}

#[test]
fn establish_intro_fits_one_circuit() {
    let keys = IntroKeys::generate(&mut rng(8));
    let payload = keys.establish(&[1; 32]);
    assert_eq!(payload.len(), ESTABLISH_LEN);
    assert_eq!(verify_establish(&[1; 32], &payload), Ok(keys.auth_public));
    assert_eq!(verify_establish(&[2; 32], &payload), Err(CryptoError::BadSignature));
    for at in 0..payload.len() {
        let mut changed = payload.clone();
        changed[at] ^= 1;
        assert!(verify_establish(&[1; 32], &changed).is_err(), "byte {at}");
    }
    assert!(verify_establish(&[1; 32], &payload[1..]).is_err());
}

#[test]
fn attack_42_work_for_another_seed_service_or_effort_is_none() {
    let solve = |pow: &mut Pow| {
        (0..)
            .map(|number: u128| number.to_be_bytes())
            .find(|nonce| pow.check(nonce))
            .unwrap()
    };
    let mut pow = Pow::new(&[1; 32], &[2; 32], 8).unwrap();
    let nonce = solve(&mut pow);
    assert!(pow.check(&nonce));
    // One nonce in 2^27 passes where it must not; this one does not.
    assert!(!Pow::new(&[3; 32], &[2; 32], 1 << 27).unwrap().check(&nonce));
    assert!(!Pow::new(&[1; 32], &[3; 32], 1 << 27).unwrap().check(&nonce));
    assert!(!Pow::new(&[1; 32], &[2; 32], 1 << 27).unwrap().check(&nonce));
    assert!(Pow::new(&[1; 32], &[2; 32], 1).unwrap().check(&[0; 16]));
    assert_eq!(Pow::new(&[1; 32], &[2; 32], 0).err(), Some(CryptoError::Effort));
    // About one nonce in `effort` is a solution.
    let hits = (0..400u128).filter(|number| pow.check(&number.to_be_bytes())).count();
    assert!((25..=85).contains(&hits), "{hits}");
}

proptest! {
    #[test]
    fn any_bytes_are_refused_without_a_panic(message in proptest::collection::vec(any::<u8>(), 0..3400)) {
        let keys = IntroKeys::generate(&mut rng(9));
        prop_assert!(keys.open(&[[5; 32]], &message).is_err());
        prop_assert!(verify_establish(&[1; 32], &message).is_err());
    }
}
