//! Sealed records for programs, with a generator of the shell's.

use anonnet_crypto::record::LongLivedKey;
use anonnet_errors::{ErrorKind, HasKind};
use zeroize::Zeroizing;

use crate::rng::os_rng;

/// Seals a record with a key that seals many; `purpose` keeps what comes out of one key apart.
pub fn seal(key: [u8; 32], purpose: &str, plaintext: &[u8]) -> Result<Vec<u8>, ErrorKind> {
    LongLivedKey::new(Zeroizing::new(key))
        .seal(&mut os_rng(), purpose, b"", plaintext)
        .map_err(|error| error.kind())
}

/// Opens one. [`ErrorKind::RecordInvalid`].
pub fn open(key: [u8; 32], purpose: &str, record: &[u8]) -> Result<Vec<u8>, ErrorKind> {
    let plaintext = LongLivedKey::new(Zeroizing::new(key))
        .open(purpose, b"", record)
        .map_err(|error| error.kind())?;
    Ok(plaintext.to_vec())
}
