//! Key files.

use std::path::Path;

use anonnet_engine::keyfile::{self, KeyInfo};
use napi::bindgen_prelude::Buffer;
use napi_derive::napi;

use crate::bytes::hex;
use crate::error::{Result, thrown};

/// What may be known of a key file: nothing secret.
#[napi(object, object_from_js = false)]
pub struct NativeKeyInfo {
    pub node_id: String,
    pub public_key: Buffer,
    pub onion_key: Buffer,
    /// Seconds since 1970.
    pub rotated_at: f64,
}

impl From<KeyInfo> for NativeKeyInfo {
    fn from(info: KeyInfo) -> Self {
        Self {
            node_id: hex(&info.node_id),
            public_key: info.public_key.to_vec().into(),
            onion_key: info.onion_key.to_vec().into(),
            rotated_at: info.rotated_at_s as f64,
        }
    }
}

/// The public part of a key file.
#[napi(catch_unwind)]
pub fn key_file_inspect(path: String, passphrase: Option<&[u8]>) -> Result<NativeKeyInfo> {
    keyfile::inspect(Path::new(&path), passphrase).map(Into::into).map_err(thrown)
}

/// Makes a key file where there is none.
#[napi(catch_unwind)]
pub fn key_file_create(path: String, passphrase: Option<&[u8]>) -> Result<NativeKeyInfo> {
    keyfile::create_new(Path::new(&path), passphrase).map(Into::into).map_err(thrown)
}

/// Gives a key file a new circuit key; the old one is accepted for a day more.
#[napi(catch_unwind)]
pub fn key_file_rotate(path: String, passphrase: Option<&[u8]>) -> Result<NativeKeyInfo> {
    keyfile::rotate(Path::new(&path), passphrase).map(Into::into).map_err(thrown)
}

/// The keys, sealed with a passphrase of their own.
#[napi(catch_unwind)]
pub fn key_file_export(path: String, passphrase: Option<&[u8]>, export_passphrase: &[u8]) -> Result<Buffer> {
    keyfile::export(Path::new(&path), passphrase, export_passphrase)
        .map(Into::into)
        .map_err(thrown)
}

/// Makes a key file of exported keys where there is none.
#[napi(catch_unwind)]
pub fn key_file_import(path: String, sealed: &[u8], import_passphrase: &[u8], passphrase: Option<&[u8]>) -> Result<NativeKeyInfo> {
    keyfile::import(Path::new(&path), sealed, import_passphrase, passphrase)
        .map(Into::into)
        .map_err(thrown)
}
