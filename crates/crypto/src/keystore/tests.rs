use super::*;
use crate::keys::CircuitKey;
use proptest::prelude::*;
use rand_chacha::ChaCha20Rng;
use rand_core::SeedableRng;

/// The least that Argon2 takes, so that tests are quick.
const CHEAP: Costs = Costs {
    memory_kib: 8,
    passes: 1,
    lanes: 1,
};

fn rng() -> ChaCha20Rng {
    ChaCha20Rng::from_seed([2; 32])
}

fn keys() -> StoredKeys {
    let mut rng = rng();
    let mut circuit = CircuitKeyRing::new(CircuitKey::generate(&mut rng), 5);
    circuit.rotate(CircuitKey::generate(&mut rng), 77);
    StoredKeys {
        identity: IdentityKey::generate(&mut rng),
        circuit,
    }
}

fn same(a: &StoredKeys, b: &StoredKeys) -> bool {
    a.identity.to_bytes() == b.identity.to_bytes() && a.circuit.to_bytes() == b.circuit.to_bytes()
}

fn fault(bytes: &[u8], passphrase: Option<&[u8]>) -> StoreFault {
    match decode(bytes, passphrase).unwrap_err() {
        CryptoError::Store(fault) => fault,
        other => panic!("{other:?}"),
    }
}

#[test]
fn open_and_sealed_stores_come_back() {
    let keys = keys();
    let open = encode(&keys, None, &mut rng()).unwrap();
    assert!(same(&decode(&open, None).unwrap(), &keys));
    let sealed = encode(&keys, Some(b"correct horse"), &mut rng()).unwrap();
    assert_eq!(sealed.len(), MAX_LEN);
    assert!(same(&decode(&sealed, Some(b"correct horse")).unwrap(), &keys));
    assert_eq!(fault(&sealed, Some(b"incorrect")), StoreFault::PassphraseWrong);
    assert_eq!(fault(&sealed, None), StoreFault::PassphraseNeeded);
    assert_eq!(fault(&open, Some(b"correct horse")), StoreFault::NotSealed);
    let seed = keys.identity.to_bytes();
    assert!(open.windows(32).any(|window| window == seed.as_slice()));
    assert!(!sealed.windows(32).any(|window| window == seed.as_slice()));
}

#[test]
fn each_sealing_has_a_salt_of_its_own() {
    let mut rng = rng();
    let one = encode_with(&keys(), Some(b"p"), &mut rng, CHEAP).unwrap();
    let two = encode_with(&keys(), Some(b"p"), &mut rng, CHEAP).unwrap();
    assert_ne!(one[26..58], two[26..58]);
    assert_ne!(one[70..], two[70..]);
}

#[test]
fn costs_beyond_the_bounds_are_refused_before_memory_is_taken() {
    let sealed = encode_with(&keys(), Some(b"p"), &mut rng(), CHEAP).unwrap();
    let at = MAGIC.len() + 2;
    for (offset, most) in [(0, MAX_MEMORY_KIB), (4, MAX_PASSES), (8, MAX_LANES)] {
        for value in [most + 1, u32::MAX] {
            let mut bytes = sealed.clone();
            bytes[at + offset..at + offset + 4].copy_from_slice(&value.to_be_bytes());
            assert_eq!(fault(&bytes, Some(b"p")), StoreFault::Costs);
        }
    }
    // Less than Argon2 can work with.
    let mut bytes = sealed.clone();
    bytes[at..at + 12].fill(0);
    assert_eq!(fault(&bytes, Some(b"p")), StoreFault::Costs);
    // Other costs within the bounds are another key.
    bytes[at..at + 12].copy_from_slice(&Costs { passes: 2, ..CHEAP }.to_bytes());
    assert_eq!(fault(&bytes, Some(b"p")), StoreFault::PassphraseWrong);
    assert!(decode(&sealed, Some(b"p")).is_ok());
}

#[test]
fn damage_is_told_from_a_later_version() {
    let open = encode(&keys(), None, &mut rng()).unwrap();
    for length in 0..open.len() {
        assert_eq!(fault(&open[..length], None), StoreFault::Damaged, "cut to {length}");
    }
    let mut bytes = open.clone();
    bytes[12] = 2;
    assert_eq!(fault(&bytes, None), StoreFault::Version);
    bytes[12..14].copy_from_slice(&[1, 2]);
    assert_eq!(fault(&bytes, None), StoreFault::Damaged);
    assert_eq!(fault(&[0; MAX_LEN + 1], None), StoreFault::Damaged);
    let sealed = encode_with(&keys(), Some(b"p"), &mut rng(), CHEAP).unwrap();
    for length in 14..sealed.len() {
        let fault = fault(&sealed[..length], Some(b"p"));
        assert!(
            matches!(fault, StoreFault::Damaged | StoreFault::PassphraseWrong),
            "cut to {length}: {fault:?}"
        );
    }
}

#[test]
fn a_payload_that_is_sealed_well_and_makes_no_sense_is_damaged() {
    let payload = [1; 40];
    let mut bytes = [&MAGIC[..], &[VERSION, OPEN]].concat();
    bytes.extend_from_slice(&payload);
    bytes.extend_from_slice(&check(&payload));
    assert_eq!(fault(&bytes, None), StoreFault::Damaged);
    bytes.truncate(14);
    bytes.extend_from_slice(&payload[..20]);
    bytes.extend_from_slice(&check(&payload[..20]));
    assert_eq!(fault(&bytes, None), StoreFault::Damaged);
}

#[test]
fn debug_shows_no_secret() {
    let keys = keys();
    let shown = format!("{keys:?}");
    assert_eq!(
        shown,
        "StoredKeys { identity: IdentityKey(..), circuit: CircuitKeyRing { rotated_at_s: 77, previous: true, .. } }"
    );
}

proptest! {
    #[test]
    fn any_bytes_are_refused(bytes in proptest::collection::vec(any::<u8>(), 0..300), sealed in any::<bool>()) {
        let passphrase: Option<&[u8]> = sealed.then_some(b"p");
        prop_assert!(decode(&bytes, passphrase).is_err());
        // Past the header too, with costs that do not take the test's time.
        let header = [&MAGIC[..], &[VERSION, u8::from(sealed)], &CHEAP.to_bytes()].concat();
        let header = if sealed { &header[..] } else { &header[..14] };
        prop_assert!(decode(&[header, &bytes].concat(), passphrase).is_err());
    }

    #[test]
    fn any_changed_bit_is_noticed(at in any::<prop::sample::Index>(), bit in 0..8u8, sealed in any::<bool>()) {
        let passphrase: Option<&[u8]> = sealed.then_some(b"p");
        let mut bytes = encode_with(&keys(), passphrase, &mut rng(), CHEAP).unwrap();
        // The costs have a test of their own; changing them here could take 256 MiB.
        let at = at.index(bytes.len());
        prop_assume!(!(sealed && (14..26).contains(&at)));
        bytes[at] ^= 1 << bit;
        prop_assert!(decode(&bytes, passphrase).is_err());
    }
}
