//! The key tree: every key of a vault comes from its master key.
//!
//! ```text
//! K(x) = HKDF-SHA-256(salt = vault_id, ikm = master key, info = "keepfs v1 " || x)
//! FK 32 || SK 32 = HKDF-Expand(K(content), "keepfs v1 file" || file_id, 64)
//! ```
//! RFC 5869; FORMAT.md, keys. The labels `journal` and `local` are reserved.

use aes::Aes256;
use cmac::{Cmac, KeyInit};
use hkdf::Hkdf;
use sha2::Sha256;
use zeroize::Zeroize;

use crate::types::{DirId, FileId, VaultId};

use super::random::{self, RandomError};
use super::secret::{MemorySpan, Secret};

const PREFIX: &[u8] = b"keepfs v1 ";
const FILE_INFO: &[u8] = b"keepfs v1 file";

/// The key that all others come from: 32 random bytes, stored only wrapped.
pub struct MasterKey(Secret<32>);

impl MasterKey {
    /// A new master key.
    ///
    /// # Errors
    /// No randomness.
    pub(in crate::codec) fn generate() -> Result<Self, RandomError> {
        Secret::try_make(|bytes| random::fill(bytes)).map(Self)
    }

    /// Takes over a master key that was unwrapped in place.
    pub(in crate::codec) fn from_secret(secret: Secret<32>) -> Self {
        Self(secret)
    }

    /// The bytes, to be wrapped.
    pub(in crate::codec) fn secret(&self) -> &Secret<32> {
        &self.0
    }

    /// Where the key lies.
    #[must_use]
    pub fn span(&self) -> MemorySpan {
        self.0.span()
    }
}

/// A public commitment to a vault's master key, which people compare between
/// devices.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Fingerprint([u8; 32]);

impl Fingerprint {
    pub(in crate::codec) fn new(bytes: [u8; 32]) -> Self {
        Self(bytes)
    }

    /// The 32 bytes.
    #[must_use]
    pub fn bytes(&self) -> &[u8; 32] {
        &self.0
    }
}

impl std::fmt::Display for Fingerprint {
    /// 16 groups of 4 hexadecimal digits, with spaces between: 79 characters.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        for (i, [high, low]) in self.0.as_chunks().0.iter().enumerate() {
            let gap = if i == 0 { "" } else { " " };
            write!(f, "{gap}{high:02x}{low:02x}")?;
        }
        Ok(())
    }
}

/// All keys of an unlocked vault.
pub struct KeyTree {
    root: DirId,
    fingerprint: Fingerprint,
    content: Secret<32>,
    pub(in crate::codec) names: Secret<64>,
    pub(in crate::codec) pins: Secret<64>,
    pub(in crate::codec) dirs: Secret<32>,
    pub(in crate::codec) links: Secret<32>,
    pub(in crate::codec) xattr_names: Secret<64>,
    pub(in crate::codec) xattr_values: Secret<32>,
}

impl KeyTree {
    /// Derives every key; each has its own label.
    #[must_use]
    pub fn derive(vault_id: VaultId, master: &MasterKey) -> Self {
        let tree = Hkdf::<Sha256>::new(Some(vault_id.bytes()), master.0.bytes());
        let mut root = [0; 16];
        expand(&tree, &[PREFIX, b"root"], &mut root);
        let mut fingerprint = [0; 32];
        expand(&tree, &[PREFIX, b"fingerprint"], &mut fingerprint);
        Self {
            root: DirId::new(root),
            fingerprint: Fingerprint::new(fingerprint),
            content: key(&tree, b"content"),
            names: key(&tree, b"names"),
            pins: key(&tree, b"pins"),
            dirs: key(&tree, b"dirs"),
            links: key(&tree, b"links"),
            xattr_names: key(&tree, b"xattr-names"),
            xattr_values: key(&tree, b"xattr-values"),
        }
    }

    /// The commitment to the master key.
    #[must_use]
    pub fn fingerprint(&self) -> Fingerprint {
        self.fingerprint
    }

    /// Id of the vault's root directory.
    #[must_use]
    pub fn root_dir_id(&self) -> DirId {
        self.root
    }

    /// The keys of the files that carry `file_id`.
    #[must_use]
    pub fn file_keys(&self, file_id: FileId) -> FileKeys {
        let content = Hkdf::<Sha256>::from_prk(self.content.bytes())
            .expect("32 bytes are as long as the hash");
        let mut both = [0; 64];
        expand(&content, &[FILE_INFO, file_id.bytes()], &mut both);
        let (file_key, seal_key) = both.split_at(32);
        let keys = FileKeys {
            file_id,
            file_key: Secret::make(|bytes| bytes.copy_from_slice(file_key)),
            seal_mac: Box::new(Cmac::new_from_slice(seal_key).expect("AES-256 takes 32 bytes")),
        };
        both.zeroize();
        keys
    }

    /// Keys for a file that is being created, under a fresh random id.
    ///
    /// # Errors
    /// No randomness.
    pub fn new_file(&self) -> Result<FileKeys, RandomError> {
        Ok(self.file_keys(FileId::new(random::array()?)))
    }

    /// Where the secret keys lie, to be locked into memory.
    #[must_use]
    pub fn spans(&self) -> Vec<MemorySpan> {
        vec![
            self.content.span(),
            self.names.span(),
            self.pins.span(),
            self.dirs.span(),
            self.links.span(),
            self.xattr_names.span(),
            self.xattr_values.span(),
        ]
    }
}

/// The keys of one file's contents: one for header and chunks, one for the seal.
pub struct FileKeys {
    file_id: FileId,
    file_key: Secret<32>,
    seal_mac: Box<Cmac<Aes256>>,
}

impl FileKeys {
    /// The id that names these keys.
    #[must_use]
    pub fn file_id(&self) -> FileId {
        self.file_id
    }

    /// FK: encrypts header and chunks.
    pub(in crate::codec) fn file_key(&self) -> &Secret<32> {
        &self.file_key
    }

    /// AES-256-CMAC under SK, prepared; wiped on drop, like its clones.
    pub(in crate::codec) fn seal_mac(&self) -> Cmac<Aes256> {
        Cmac::clone(&self.seal_mac)
    }
}

/// `HKDF-Expand(prk, info)` into `out`.
pub(in crate::codec) fn expand(prk: &Hkdf<Sha256>, info: &[&[u8]], out: &mut [u8]) {
    prk.expand_multi_info(info, out)
        .expect("all outputs are shorter than 255 hashes");
}

fn key<const N: usize>(tree: &Hkdf<Sha256>, label: &[u8]) -> Secret<N> {
    Secret::make(|bytes| expand(tree, &[PREFIX, label], bytes))
}
