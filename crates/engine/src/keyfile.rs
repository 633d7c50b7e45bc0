//! The key file: read with its permissions checked, written with mode 0600 and replaced as a whole.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Read, Write};
use std::path::{Path, PathBuf};

use anonnet_crypto::keys::{CircuitKey, CircuitKeyRing, IdentityKey};
use anonnet_crypto::keystore::{self, StoredKeys};
use anonnet_errors::{ErrorKind, HasKind};
use rand_core::CryptoRng;
use zeroize::Zeroizing;

use crate::clock::unix_seconds;
use crate::rng::os_rng;

/// A key file that is larger is not one.
const KEY_FILE_MAX_BYTES: u64 = 64 * 1024;

#[derive(Debug, thiserror::Error)]
pub enum KeyFileError {
    #[error("the key file could not be read or written ({0})")]
    Io(io::ErrorKind),
    #[error("there is no key file")]
    Missing,
    #[error("there is a key file already")]
    Exists,
    #[error("others may read the key file")]
    Permissions,
    #[error("the key file is damaged or its passphrase is wrong")]
    Content(ErrorKind),
}

impl HasKind for KeyFileError {
    fn kind(&self) -> ErrorKind {
        match self {
            Self::Io(_) | Self::Missing | Self::Exists => ErrorKind::StoreFailed,
            Self::Permissions => ErrorKind::KeyPermissions,
            Self::Content(kind) => *kind,
        }
    }
}

impl From<io::Error> for KeyFileError {
    fn from(error: io::Error) -> Self {
        match error.kind() {
            io::ErrorKind::NotFound => Self::Missing,
            io::ErrorKind::AlreadyExists => Self::Exists,
            kind => Self::Io(kind),
        }
    }
}

/// Reads a key file.
pub fn load(path: &Path, passphrase: Option<&[u8]>) -> Result<StoredKeys, KeyFileError> {
    let file = File::open(path)?;
    check_mode(&file)?;
    let mut bytes = Zeroizing::new(Vec::new());
    file.take(KEY_FILE_MAX_BYTES + 1).read_to_end(&mut bytes)?;
    if bytes.len() as u64 > KEY_FILE_MAX_BYTES {
        return Err(KeyFileError::Content(ErrorKind::KeyInvalid));
    }
    keystore::decode(&bytes, passphrase).map_err(|error| KeyFileError::Content(error.kind()))
}

/// Writes a key file beside the old one, then puts it in the old one's place: a crash leaves one of them whole.
pub fn save(path: &Path, keys: &StoredKeys, passphrase: Option<&[u8]>, rng: &mut impl CryptoRng) -> Result<(), KeyFileError> {
    write(path, keys, passphrase, rng, true)
}

/// Writes a key file where there is none.
pub fn create(path: &Path, keys: &StoredKeys, passphrase: Option<&[u8]>, rng: &mut impl CryptoRng) -> Result<(), KeyFileError> {
    write(path, keys, passphrase, rng, false)
}

fn write(path: &Path, keys: &StoredKeys, passphrase: Option<&[u8]>, rng: &mut impl CryptoRng, replace: bool) -> Result<(), KeyFileError> {
    let bytes = Zeroizing::new(keystore::encode(keys, passphrase, rng).map_err(|error| KeyFileError::Content(error.kind()))?);
    if let Some(folder) = path.parent().filter(|folder| !folder.as_os_str().is_empty()) {
        create_folder(folder)?;
    }
    let temporary = temporary_path(path, rng);
    let written = (|| {
        let mut file = open_private(&temporary)?;
        file.write_all(&bytes)?;
        file.sync_all()?;
        if replace {
            fs::rename(&temporary, path)
        } else {
            // A link fails where the name is taken; a rename would not.
            fs::hard_link(&temporary, path)?;
            fs::remove_file(&temporary)
        }
    })();
    if let Err(error) = written {
        let _ = fs::remove_file(&temporary);
        return Err(error.into());
    }
    sync_folder(path);
    Ok(())
}

fn temporary_path(path: &Path, rng: &mut impl CryptoRng) -> PathBuf {
    let mut name = path.file_name().unwrap_or_default().to_os_string();
    name.push(format!(".{:08x}.tmp", rng.next_u32()));
    path.with_file_name(name)
}

#[cfg(unix)]
fn check_mode(file: &File) -> Result<(), KeyFileError> {
    use std::os::unix::fs::MetadataExt;
    if file.metadata()?.mode() & 0o077 != 0 {
        return Err(KeyFileError::Permissions);
    }
    Ok(())
}

#[cfg(not(unix))]
fn check_mode(_: &File) -> Result<(), KeyFileError> {
    Ok(())
}

fn open_private(path: &Path) -> io::Result<File> {
    let mut options = OpenOptions::new();
    options.write(true).create_new(true);
    #[cfg(unix)]
    std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
    options.open(path)
}

fn create_folder(folder: &Path) -> io::Result<()> {
    let mut builder = fs::DirBuilder::new();
    builder.recursive(true);
    #[cfg(unix)]
    std::os::unix::fs::DirBuilderExt::mode(&mut builder, 0o700);
    builder.create(folder)
}

/// Makes the new name itself durable; where folders cannot be synced, the rename still is atomic.
fn sync_folder(path: &Path) {
    let folder = path
        .parent()
        .filter(|folder| !folder.as_os_str().is_empty())
        .unwrap_or(Path::new("."));
    if let Ok(folder) = File::open(folder) {
        let _ = folder.sync_all();
    }
}

/// What may be known of a key file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct KeyInfo {
    pub node_id: [u8; 32],
    pub public_key: [u8; 32],
    pub onion_key: [u8; 32],
    pub rotated_at_s: u64,
}

impl From<&StoredKeys> for KeyInfo {
    fn from(keys: &StoredKeys) -> Self {
        let public = keys.identity.public();
        Self {
            node_id: public.node_id().0,
            public_key: *public.as_bytes(),
            onion_key: *keys.circuit.current_public(),
            rotated_at_s: keys.circuit.rotated_at_s(),
        }
    }
}

/// Fresh keys.
pub fn generate() -> StoredKeys {
    let mut rng = os_rng();
    StoredKeys {
        identity: IdentityKey::generate(&mut rng),
        circuit: CircuitKeyRing::new(CircuitKey::generate(&mut rng), unix_seconds()),
    }
}

/// The public part of a key file.
pub fn inspect(path: &Path, passphrase: Option<&[u8]>) -> Result<KeyInfo, KeyFileError> {
    load(path, passphrase).map(|keys| KeyInfo::from(&keys))
}

/// Makes a key file where there is none.
pub fn create_new(path: &Path, passphrase: Option<&[u8]>) -> Result<KeyInfo, KeyFileError> {
    let keys = generate();
    create(path, &keys, passphrase, &mut os_rng())?;
    Ok(KeyInfo::from(&keys))
}

/// Gives a key file a new circuit key.
pub fn rotate(path: &Path, passphrase: Option<&[u8]>) -> Result<KeyInfo, KeyFileError> {
    let mut keys = load(path, passphrase)?;
    keys.circuit.rotate(CircuitKey::generate(&mut os_rng()), unix_seconds());
    save(path, &keys, passphrase, &mut os_rng())?;
    Ok(KeyInfo::from(&keys))
}

/// The keys, sealed with a passphrase of their own.
pub fn export(path: &Path, passphrase: Option<&[u8]>, export_passphrase: &[u8]) -> Result<Vec<u8>, KeyFileError> {
    let keys = load(path, passphrase)?;
    keystore::encode(&keys, Some(export_passphrase), &mut os_rng()).map_err(|error| KeyFileError::Content(error.kind()))
}

/// Makes a key file of exported keys where there is none.
pub fn import(path: &Path, sealed: &[u8], import_passphrase: &[u8], passphrase: Option<&[u8]>) -> Result<KeyInfo, KeyFileError> {
    let keys = keystore::decode(sealed, Some(import_passphrase)).map_err(|error| KeyFileError::Content(error.kind()))?;
    create(path, &keys, passphrase, &mut os_rng())?;
    Ok(KeyInfo::from(&keys))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn folder() -> PathBuf {
        let name = format!(
            "anonnet-keyfile-{}-{:016x}",
            std::process::id(),
            rand_core::Rng::next_u64(&mut os_rng())
        );
        std::env::temp_dir().join(name)
    }

    #[test]
    fn a_key_file_is_private_whole_and_never_overwritten() {
        let folder = folder();
        let path = folder.join("sub").join("identity.key");
        assert!(matches!(inspect(&path, None), Err(KeyFileError::Missing)));
        let made = create_new(&path, Some(b"secret")).unwrap();
        assert_eq!(inspect(&path, Some(b"secret")).unwrap(), made);
        assert!(matches!(inspect(&path, None), Err(KeyFileError::Content(ErrorKind::KeyPassphrase))));
        assert!(matches!(
            inspect(&path, Some(b"wrong")),
            Err(KeyFileError::Content(ErrorKind::KeyPassphrase))
        ));
        assert!(matches!(create_new(&path, None), Err(KeyFileError::Exists)));
        let rotated = rotate(&path, Some(b"secret")).unwrap();
        assert_eq!(rotated.node_id, made.node_id);
        assert_ne!(rotated.onion_key, made.onion_key);

        let sealed = export(&path, Some(b"secret"), b"other").unwrap();
        let copy = folder.join("copy.key");
        assert!(matches!(
            import(&copy, &sealed, b"wrong", None),
            Err(KeyFileError::Content(ErrorKind::KeyPassphrase))
        ));
        assert_eq!(import(&copy, &sealed, b"other", None).unwrap(), rotated);
        assert_eq!(fs::read_dir(&folder).unwrap().count(), 2, "no temporary file is left");
        #[cfg(unix)]
        {
            use std::os::unix::fs::PermissionsExt;
            assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
            fs::set_permissions(&copy, fs::Permissions::from_mode(0o640)).unwrap();
            assert!(matches!(inspect(&copy, None), Err(KeyFileError::Permissions)));
            fs::set_permissions(&copy, fs::Permissions::from_mode(0o600)).unwrap();
        }
        fs::write(&copy, b"garbage").unwrap();
        assert!(matches!(inspect(&copy, None), Err(KeyFileError::Content(ErrorKind::KeyInvalid))));
        fs::write(&copy, vec![0; 70_000]).unwrap();
        assert!(matches!(inspect(&copy, None), Err(KeyFileError::Content(ErrorKind::KeyInvalid))));
        fs::remove_dir_all(&folder).unwrap();
    }
}
