//! What can go wrong here.

use anonnet_errors::{ErrorKind, HasKind};

/// Why a circuit handshake failed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum HandshakeFault {
    /// The message has not the length that its fixed parts need, or one beyond the limit.
    Length,
    /// The request names another relay.
    Identity,
    /// The request names a circuit key that is not, or no longer, accepted.
    CircuitKey,
    /// A public key of small order, whose shared secret everybody knows.
    LowOrder,
    /// The request's MAC is wrong.
    Mac,
    /// The ML-KEM key is not the encoding of a key.
    KemKey,
    /// The relay did not prove itself, or its answer was changed.
    Auth,
    /// The sealed extensions do not open.
    Record,
}

/// Why a sealed record could not be made or opened.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RecordFault {
    /// Too short, or longer than the cipher allows.
    Length,
    /// The tag does not fit: changed, sealed with another key, or not the next one.
    Forged,
    /// The nonce is not the one that this key takes.
    Nonce,
    /// The key has sealed as many records as it may.
    Exhausted,
    /// The key's lifetime is over.
    Expired,
}

/// Why stored keys could not be read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum StoreFault {
    /// Not a key file, cut off, or changed.
    Damaged,
    /// Written by a later version.
    Version,
    /// The costs of the passphrase function are beyond what this version accepts.
    Costs,
    /// It is sealed and no passphrase was given.
    PassphraseNeeded,
    /// A passphrase was given, and it is not sealed.
    NotSealed,
    /// The passphrase is wrong, or the sealed part was changed: the two cannot be told apart.
    PassphraseWrong,
}

/// An error of this crate. It never holds key material.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum CryptoError {
    /// A public or secret key that is none, or a weak one.
    #[error("not a valid key")]
    InvalidKey,
    /// A signature that does not fit.
    #[error("the signature does not fit")]
    BadSignature,
    /// Extensions longer than [`crate::handshake::MAX_EXTENSIONS_LEN`] handed in by the caller.
    #[error("the extensions are too long")]
    ExtensionsTooLong,
    /// A proof of work with an effort that none has.
    #[error("an effort that no proof of work has")]
    Effort,
    /// The circuit handshake failed.
    #[error("handshake: {0:?}")]
    Handshake(HandshakeFault),
    /// A record could not be sealed or opened.
    #[error("record: {0:?}")]
    Record(RecordFault),
    /// Stored keys could not be read.
    #[error("stored keys: {0:?}")]
    Store(StoreFault),
}

impl HasKind for CryptoError {
    fn kind(&self) -> ErrorKind {
        match self {
            Self::InvalidKey => ErrorKind::KeyInvalid,
            Self::BadSignature => ErrorKind::RecordInvalid,
            Self::ExtensionsTooLong | Self::Effort => ErrorKind::InvalidArgument,
            Self::Handshake(_) => ErrorKind::HandshakeFailed,
            Self::Record(RecordFault::Exhausted | RecordFault::Expired) => ErrorKind::ResourceLimit,
            Self::Record(_) => ErrorKind::RecordInvalid,
            Self::Store(StoreFault::PassphraseNeeded | StoreFault::NotSealed | StoreFault::PassphraseWrong) => ErrorKind::KeyPassphrase,
            Self::Store(_) => ErrorKind::KeyInvalid,
        }
    }
}

impl From<HandshakeFault> for CryptoError {
    fn from(fault: HandshakeFault) -> Self {
        Self::Handshake(fault)
    }
}

impl From<RecordFault> for CryptoError {
    fn from(fault: RecordFault) -> Self {
        Self::Record(fault)
    }
}

impl From<StoreFault> for CryptoError {
    fn from(fault: StoreFault) -> Self {
        Self::Store(fault)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_error_has_its_kind_and_says_nothing_secret() {
        for (error, kind, text) in [
            (CryptoError::InvalidKey, ErrorKind::KeyInvalid, "not a valid key"),
            (CryptoError::BadSignature, ErrorKind::RecordInvalid, "the signature does not fit"),
            (
                CryptoError::ExtensionsTooLong,
                ErrorKind::InvalidArgument,
                "the extensions are too long",
            ),
            (
                CryptoError::Effort,
                ErrorKind::InvalidArgument,
                "an effort that no proof of work has",
            ),
            (HandshakeFault::Mac.into(), ErrorKind::HandshakeFailed, "handshake: Mac"),
            (RecordFault::Forged.into(), ErrorKind::RecordInvalid, "record: Forged"),
            (RecordFault::Exhausted.into(), ErrorKind::ResourceLimit, "record: Exhausted"),
            (RecordFault::Expired.into(), ErrorKind::ResourceLimit, "record: Expired"),
            (StoreFault::Damaged.into(), ErrorKind::KeyInvalid, "stored keys: Damaged"),
            (
                StoreFault::PassphraseNeeded.into(),
                ErrorKind::KeyPassphrase,
                "stored keys: PassphraseNeeded",
            ),
            (
                StoreFault::PassphraseWrong.into(),
                ErrorKind::KeyPassphrase,
                "stored keys: PassphraseWrong",
            ),
            (StoreFault::NotSealed.into(), ErrorKind::KeyPassphrase, "stored keys: NotSealed"),
        ] {
            assert_eq!((error.kind(), error.to_string().as_str()), (kind, text));
        }
    }
}
