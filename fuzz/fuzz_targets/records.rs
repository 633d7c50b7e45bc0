//! Sealed records, keys, and the key file (without a passphrase: Argon2 is slow, and the same parser comes after it).
#![no_main]

use anonnet_crypto::keys::{CircuitKey, CircuitKeyRing, IdentityKey, IdentityPublic};
use anonnet_crypto::keystore::{StoredKeys, decode, encode};
use anonnet_crypto::record::{EncryptedMessage, LongLivedKey, SingleUseKey};
use anonnet_fuzz::{Input, edited, rng};
use libfuzzer_sys::fuzz_target;
use zeroize::Zeroizing;

fuzz_target!(|data: &[u8]| {
    let mut input = Input(data);
    let mode = input.byte();
    match mode % 5 {
        0 => {
            if let Ok(message) = EncryptedMessage::from_bytes(input.0) {
                assert_eq!(message.to_bytes(), input.0);
                assert!(SingleUseKey::new(Zeroizing::new([1; 32])).open(b"", &message).is_err());
            }
        }
        1 => {
            let key = LongLivedKey::new(Zeroizing::new([1; 32]));
            let sealed = key.seal(&mut rng(), "fuzzing", b"aad", b"some plaintext").unwrap();
            let changed = edited(&sealed, &mut input);
            assert_eq!(key.open("fuzzing", b"aad", &changed).is_ok(), changed == sealed);
            let _ = key.open("fuzzing", b"aad", input.0);
        }
        2 => {
            if let Ok(ring) = CircuitKeyRing::from_bytes(input.0) {
                assert_eq!(ring.to_bytes().as_slice(), input.0);
            }
        }
        3 => {
            assert!(decode(input.0, None).is_err(), "nobody guesses the sum");
            let keys = StoredKeys {
                identity: IdentityKey::generate(&mut rng()),
                circuit: CircuitKeyRing::new(CircuitKey::generate(&mut rng()), 7),
            };
            let file = encode(&keys, None, &mut rng()).unwrap();
            let changed = edited(&file, &mut input);
            assert_eq!(decode(&changed, None).is_ok(), changed == file);
        }
        _ => {
            if let Some((key, rest)) = input.0.split_first_chunk::<32>()
                && let Ok(key) = IdentityPublic::from_bytes(key)
                && let Some((signature, message)) = rest.split_first_chunk::<64>()
            {
                assert!(key.verify(message, signature).is_err());
            }
        }
    }
});
