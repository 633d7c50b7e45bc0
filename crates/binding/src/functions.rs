//! Functions that need no node.

use anonnet_crypto::keys::{IdentityPublic, NodeId};
use anonnet_errors::ErrorKind;
use napi_derive::napi;

use crate::bytes::{array, hex};
use crate::error::Result;

/// Strict Ed25519 verification; `false` also for keys and signatures that are malformed.
#[napi(catch_unwind)]
pub fn verify(public_key: &[u8], message: &[u8], signature: &[u8]) -> bool {
    let (Ok(key), Ok(signature)) = (<&[u8; 32]>::try_from(public_key), <&[u8; 64]>::try_from(signature)) else {
        return false;
    };
    IdentityPublic::from_bytes(key).is_ok_and(|key| key.verify(message, signature).is_ok())
}

/// The node id of an Ed25519 public key (32 bytes), in hex.
#[napi(catch_unwind)]
pub fn node_id_of(public_key: &[u8]) -> Result<String> {
    Ok(hex(NodeId::of(&array(public_key, "publicKey")?).as_bytes()))
}

#[napi(object, object_from_js = false)]
pub struct NativeErrorEntry {
    pub code: &'static str,
    pub blame: &'static str,
    pub retry: &'static str,
    pub advice: &'static str,
}

/// Every error there is.
#[napi(catch_unwind)]
pub fn error_registry() -> Vec<NativeErrorEntry> {
    let entry = |kind: &ErrorKind| NativeErrorEntry {
        code: kind.code(),
        blame: kind.blame().as_str(),
        retry: kind.retry().as_str(),
        advice: kind.advice(),
    };
    ErrorKind::ALL.iter().map(entry).collect()
}

#[napi(object, object_from_js = false)]
pub struct NativeVersion {
    pub version: &'static str,
    pub protocol: u32,
    /// The parts that this addon was built with, of `exit`, `metrics`, `proxy`.
    pub features: Vec<&'static str>,
}

/// Cargo features, and whether they are on.
const FEATURES: [(&str, bool); 3] = [
    ("exit", cfg!(feature = "exit")),
    ("metrics", cfg!(feature = "metrics")),
    ("proxy", cfg!(feature = "proxy")),
];

/// The addon's version, the version of the wire protocol, and what it was built with.
#[napi(catch_unwind)]
pub fn version() -> NativeVersion {
    NativeVersion {
        version: env!("CARGO_PKG_VERSION"),
        protocol: 1,
        features: FEATURES.iter().filter(|(_, on)| *on).map(|(name, _)| *name).collect(),
    }
}
