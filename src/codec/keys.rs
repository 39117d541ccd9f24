//! The key tree: every key of a vault comes from its master key.
//!
//! ```text
//! K(x) = HKDF-SHA-256(salt = vault_id, ikm = master key, info = "keepfs v1 " || x)
//! FK 32 || SK 32 = HKDF-Expand(K(content), "keepfs v1 file" || file_id, 64)
//! ```
//! RFC 5869; FORMAT.md, keys. The label `local` is reserved.

use aes::Aes256;
use cmac::{Cmac, KeyInit};
use hkdf::Hkdf;
use sha2::Sha256;
use zeroize::Zeroize;

use crate::types::{DirId, FileId, VaultId};

use super::random::{self, RandomError};
use super::secret::{MemorySpan, Secret, wipe_stack};

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
    pub(in crate::codec) journal: Secret<32>,
}

impl KeyTree {
    /// Derives every key; each has its own label.
    #[must_use]
    pub fn derive(vault_id: VaultId, master: &MasterKey) -> Self {
        let tree = Self::derive_all(vault_id, master);
        wipe_stack();
        tree
    }

    /// Never inlined, so that all of its stack is below that of its caller.
    #[inline(never)]
    fn derive_all(vault_id: VaultId, master: &MasterKey) -> Self {
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
            journal: key(&tree, b"journal"),
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
            self.journal.span(),
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

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a failed test may panic")]
    use std::collections::HashSet;

    use cmac::Mac;

    use super::*;
    use crate::codec::testing::{file_keys, hex, tree};

    /// RFC 5869, appendix A.1, with the information given in two parts.
    #[test]
    fn the_published_hkdf_vector_comes_out() {
        let salt = hex("000102030405060708090a0b0c");
        let prk = Hkdf::<Sha256>::new(Some(&salt), &[0x0b; 22]);
        let mut out = [0; 42];
        expand(&prk, &[&hex("f0f1f2f3"), &hex("f4f5f6f7f8f9")], &mut out);
        assert_eq!(
            out[..],
            hex(
                "3cb25f25faacd57a90434f64d0362f2a2d2d0a90cf1a5a4c5db02d56ecc4c5bf
                 34007208d5b887185865"
            )
        );
    }

    /// NIST SP 800-38B, appendix D.3, with one prepared state for all messages.
    #[test]
    fn the_published_cmac_vectors_come_out_of_one_prepared_state() {
        let key = hex("603deb1015ca71be2b73aef0857d77811f352c073b6108d72d9810a30914dff4");
        let message = hex(
            "6bc1bee22e409f96e93d7e117393172aae2d8a571e03ac9c9eb76fac45af8e51
                           30c81c46a35ce411e5fbc1191a0a52eff69f2445df4f9b17ad2b417be66c3710",
        );
        let mut mac = Cmac::<Aes256>::new_from_slice(&key).unwrap();
        for (len, expected) in [
            (0, "028962f61b7bf89efc6b551f4667d983"),
            (16, "28a7023f452e8f82bd4bf28d8c37c35c"),
            (40, "aaf3d8f1de5640c232f5b169b9c911e6"),
            (64, "e1992190549f6ed5696a2c056c315410"),
        ] {
            for part in message[..len].chunks(8) {
                mac.update(part);
            }
            assert_eq!(
                mac.finalize_reset().into_bytes()[..],
                hex(expected),
                "{len}"
            );
        }
    }

    #[test]
    fn all_keys_differ() {
        let tree = tree();
        let starts: HashSet<&[u8]> = [
            &tree.root.bytes()[..],
            &tree.fingerprint.bytes()[..16],
            &tree.content.bytes()[..16],
            &tree.names.bytes()[..16],
            &tree.pins.bytes()[..16],
            &tree.dirs.bytes()[..16],
            &tree.links.bytes()[..16],
            &tree.xattr_names.bytes()[..16],
            &tree.xattr_values.bytes()[..16],
        ]
        .into();
        assert_eq!(starts.len(), 9);
    }

    /// Written out with HKDF alone: the label table cannot change unnoticed.
    #[test]
    fn keys_are_derived_by_the_labels_of_the_format() {
        let tree = tree();
        let prk = Hkdf::<Sha256>::new(Some(&[0x17; 16]), &[0x42; 32]);
        let derive = |label: &str, len: usize| {
            let mut out = vec![0; len];
            let info = format!("keepfs v1 {label}");
            prk.expand(info.as_bytes(), &mut out).unwrap();
            out
        };
        assert_eq!(tree.root_dir_id().bytes()[..], derive("root", 16));
        assert_eq!(tree.fingerprint().bytes()[..], derive("fingerprint", 32));
        assert_eq!(tree.names.bytes()[..], derive("names", 64));
        assert_eq!(tree.pins.bytes()[..], derive("pins", 64));
        assert_eq!(tree.dirs.bytes()[..], derive("dirs", 32));
        assert_eq!(tree.links.bytes()[..], derive("links", 32));
        assert_eq!(tree.xattr_names.bytes()[..], derive("xattr-names", 64));
        assert_eq!(tree.xattr_values.bytes()[..], derive("xattr-values", 32));

        let keys = file_keys();
        let content = Hkdf::<Sha256>::from_prk(&derive("content", 32)).unwrap();
        let mut both = [0; 64];
        let info = [&b"keepfs v1 file"[..], &[0x33; 16]].concat();
        content.expand(&info, &mut both).unwrap();
        assert_eq!(keys.file_key().bytes()[..], both[..32]);
        let mut expected = Cmac::<Aes256>::new_from_slice(&both[32..]).unwrap();
        expected.update(b"text");
        let mut mac = keys.seal_mac();
        mac.update(b"text");
        assert_eq!(
            mac.finalize().into_bytes(),
            expected.finalize().into_bytes()
        );
    }

    #[test]
    fn new_files_get_ids_of_their_own() {
        let tree = tree();
        let (a, b) = (tree.new_file().unwrap(), tree.new_file().unwrap());
        assert_ne!(a.file_id(), b.file_id());
        assert_ne!(a.file_key().bytes(), b.file_key().bytes());
    }

    #[test]
    fn all_secret_keys_can_be_locked() {
        let total: usize = tree().spans().iter().map(|span| span.len).sum();
        assert_eq!(total, 5 * 32 + 3 * 64);
    }

    #[test]
    fn a_fingerprint_is_shown_in_groups_people_can_compare() {
        let mut bytes = [0; 32];
        bytes[0] = 0xab;
        bytes[31] = 0x01;
        let shown = Fingerprint::new(bytes).to_string();
        assert_eq!(shown.len(), 79);
        assert!(shown.starts_with("ab00 0000 "));
        assert!(shown.ends_with(" 0000 0001"));
    }
}
