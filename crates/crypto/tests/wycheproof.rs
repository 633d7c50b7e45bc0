//! Wycheproof's vectors for X25519 and Ed25519 through our own keys. (Those for AES-GCM are beside the cipher, whose nonce is private.)

use anonnet_crypto::CryptoError;
use anonnet_crypto::keys::{CircuitKey, IdentityPublic};
use wycheproof::{TestResult, eddsa, xdh};

#[test]
fn x25519() {
    let (mut agreed, mut refused) = (0, 0);
    for test in xdh::TestSet::load(xdh::TestName::X25519)
        .unwrap()
        .test_groups
        .into_iter()
        .flat_map(|group| group.tests)
    {
        let Ok(public) = <[u8; 32]>::try_from(test.public_key.as_slice()) else {
            // A key of another length does not even fit into the type.
            assert_ne!(test.result, TestResult::Valid, "{}", test.tc_id);
            continue;
        };
        let key = CircuitKey::from_bytes(test.private_key.as_slice().try_into().unwrap());
        match key.agree(&public) {
            Ok(shared) => {
                assert_eq!(shared.as_slice(), test.shared_secret.as_slice(), "{}", test.tc_id);
                assert!(!test.result.must_fail(), "{}", test.tc_id);
                agreed += 1;
            }
            Err(error) => {
                // What we refuse are exactly the keys of small order.
                assert_eq!(error, CryptoError::InvalidKey);
                assert_eq!(test.shared_secret.as_slice(), [0; 32], "{}", test.tc_id);
                refused += 1;
            }
        }
    }
    assert!(agreed > 400 && refused > 20, "{agreed} {refused}");
}

#[test]
fn ed25519() {
    let (mut valid, mut invalid) = (0, 0);
    for group in eddsa::TestSet::load(eddsa::TestName::Ed25519).unwrap().test_groups {
        let key = IdentityPublic::from_bytes(group.key.pk.as_slice().try_into().unwrap()).unwrap();
        for test in group.tests {
            let fits = <[u8; 64]>::try_from(test.sig.as_slice()).is_ok_and(|signature| key.verify(&test.msg, &signature).is_ok());
            assert_eq!(fits, test.result == TestResult::Valid, "{}", test.tc_id);
            if fits {
                valid += 1;
            } else {
                invalid += 1;
            }
        }
    }
    assert!(valid > 70 && invalid > 40, "{valid} {invalid}");
}
