//! `keepfs.vault`: which vault this is. 64 bytes, never changed.
//!
//! | at | bytes | meaning |
//! |---|---|---|
//! | 0 | 8 | `KEEPFSv1` |
//! | 8 | 2 | format = 1 |
//! | 10 | 1 | logarithm of the chunk size, 12 to 20 |
//! | 11 | 5 | zero |
//! | 16 | 16 | vault_id |
//! | 32 | 32 | fingerprint of the master key |
//!
//! [`slot`] has the files in `keepfs.slots`, each of which is one way in;
//! [`credential`] what opens them.

pub mod credential;
pub mod slot;

use sha2::{Digest, Sha256};

use crate::types::VaultId;

use super::Sealed;
use super::geometry::{BadChunkSize, Geometry};
use super::keys::KeyTree;
use super::parts::Parts;
use super::random::{self, RandomError};

pub use super::keys::{Fingerprint, MasterKey};
pub use super::recovery::RecoveryCode;
pub use credential::{Credential, KeyFile, SlotKind};
pub use slot::{Slot, SlotError, SlotImage};

const MAGIC: [u8; 8] = *b"KEEPFSv1";
const FORMAT: u16 = 1;
/// Magic and format: what every version has.
const LEAD_LEN: usize = MAGIC.len() + 2;
/// What the slots are bound to: all but the fingerprint.
const BOUND_LEN: usize = 32;

/// What `keepfs.vault` says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct VaultFile {
    vault_id: VaultId,
    geometry: Geometry,
    fingerprint: Fingerprint,
}

/// `keepfs.vault` as it is written: 64 bytes.
pub struct VaultImage([u8; VaultFile::LEN]);

impl VaultImage {
    /// The bytes to be written.
    #[must_use]
    pub fn sealed(&self) -> Sealed<'_> {
        Sealed::new(&self.0)
    }
}

/// Why a file is no `keepfs.vault`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum VaultFileError {
    /// It is too short or too long.
    #[error("keepfs.vault has {len} bytes instead of 64")]
    BadLength {
        /// Bytes it has.
        len: usize,
    },
    /// Its first bytes are others.
    #[error("keepfs.vault does not describe a vault")]
    BadMagic,
    /// A format this version does not know.
    #[error("the vault needs a newer keepfs (format {0})")]
    UnknownVersion(u16),
    /// The chunk size is none.
    #[error(transparent)]
    BadChunkSize(#[from] BadChunkSize),
    /// A byte that must be zero is not.
    #[error("a reserved byte of keepfs.vault is not zero")]
    ReservedNotZero,
}

impl VaultFile {
    /// Length of the file, in bytes.
    pub const LEN: usize = 64;

    /// Reads `keepfs.vault`. Nothing proves it before a slot was unwrapped
    /// with it.
    ///
    /// # Errors
    /// Whatever differs from the table above.
    pub fn parse(bytes: &[u8]) -> Result<Self, VaultFileError> {
        let bad_length = VaultFileError::BadLength { len: bytes.len() };
        if bytes.len() < LEAD_LEN {
            return Err(bad_length);
        }
        let mut parts = Parts::new(bytes);
        if parts.take() != &MAGIC {
            return Err(VaultFileError::BadMagic);
        }
        let format = parts.u16();
        if format != FORMAT {
            return Err(VaultFileError::UnknownVersion(format));
        }
        if bytes.len() != Self::LEN {
            return Err(bad_length);
        }
        let [chunk_log2] = *parts.take();
        let geometry = Geometry::from_log2(chunk_log2)?;
        if parts.take() != &[0; 5] {
            return Err(VaultFileError::ReservedNotZero);
        }
        Ok(Self {
            vault_id: VaultId::new(*parts.take()),
            geometry,
            fingerprint: Fingerprint::new(*parts.take()),
        })
    }

    /// The bytes that [`Self::parse`] reads; there is one form only.
    #[must_use]
    pub fn encode(&self) -> VaultImage {
        let mut image = [0; Self::LEN];
        let (bound, fingerprint) = image.split_at_mut(BOUND_LEN);
        bound.copy_from_slice(&self.encode_bound());
        fingerprint.copy_from_slice(self.fingerprint.bytes());
        VaultImage(image)
    }

    fn encode_bound(&self) -> [u8; BOUND_LEN] {
        let mut bound = [0; BOUND_LEN];
        bound[..8].copy_from_slice(&MAGIC);
        bound[8..10].copy_from_slice(&FORMAT.to_le_bytes());
        bound[10] = self.geometry.log2();
        bound[16..].copy_from_slice(self.vault_id.bytes());
        bound
    }

    /// The same vault with another chunk size, as a changed byte would say.
    pub(in crate::codec) fn with_geometry(&self, geometry: Geometry) -> Self {
        Self { geometry, ..*self }
    }

    /// SHA-256 of the first 32 bytes, which every slot's key depends on.
    pub(in crate::codec) fn bound_hash(&self) -> [u8; 32] {
        Sha256::digest(self.encode_bound()).into()
    }

    /// Which vault it is.
    #[must_use]
    pub fn vault_id(&self) -> VaultId {
        self.vault_id
    }

    /// Its chunk size.
    #[must_use]
    pub fn geometry(&self) -> Geometry {
        self.geometry
    }

    /// The commitment to its master key.
    #[must_use]
    pub fn fingerprint(&self) -> Fingerprint {
        self.fingerprint
    }
}

/// A new vault: a fresh master key and the file that describes the vault.
///
/// # Errors
/// No randomness.
pub fn create_vault(geometry: Geometry) -> Result<(MasterKey, VaultFile), RandomError> {
    let master = MasterKey::generate()?;
    let vault_id = VaultId::new(random::array()?);
    let vault = VaultFile {
        vault_id,
        geometry,
        fingerprint: KeyTree::derive(vault_id, &master).fingerprint(),
    };
    Ok((master, vault))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a failed test may panic")]
    use proptest::prelude::*;

    use super::*;
    use crate::codec::testing::bit_flips;

    fn vault() -> VaultFile {
        create_vault(Geometry::DEFAULT).unwrap().1
    }

    #[test]
    fn the_bytes_are_those_of_the_table() {
        let (master, vault) = create_vault(Geometry::from_log2(16).unwrap()).unwrap();
        let image = vault.encode();
        let bytes = image.sealed().bytes();
        assert_eq!(bytes.len(), VaultFile::LEN);
        assert_eq!(bytes[..16], *b"KEEPFSv1\x01\0\x10\0\0\0\0\0");
        assert_eq!(bytes[16..32], vault.vault_id().bytes()[..]);
        let keys = KeyTree::derive(vault.vault_id(), &master);
        assert_eq!(bytes[32..], keys.fingerprint().bytes()[..]);
        assert_eq!(VaultFile::parse(bytes), Ok(vault));
    }

    #[test]
    fn two_vaults_share_nothing() {
        let (a, b) = (vault(), vault());
        assert_ne!(a.vault_id(), b.vault_id());
        assert_ne!(a.fingerprint(), b.fingerprint());
    }

    #[test]
    fn each_fault_has_its_own_name() {
        let good = vault().encode().0;
        let with = |at: usize, byte: u8| {
            let mut bytes = good;
            bytes[at] = byte;
            VaultFile::parse(&bytes)
        };
        assert_eq!(with(0, b'X'), Err(VaultFileError::BadMagic));
        assert_eq!(with(8, 2), Err(VaultFileError::UnknownVersion(2)));
        assert_eq!(with(9, 1), Err(VaultFileError::UnknownVersion(257)));
        for log2 in [0, 11, 21, 255] {
            let bad = VaultFileError::BadChunkSize(BadChunkSize(log2));
            assert_eq!(with(10, log2), Err(bad));
        }
        for at in 11..16 {
            assert_eq!(with(at, 1), Err(VaultFileError::ReservedNotZero));
        }
        for len in (0..200).filter(|&len| len != 64) {
            let bytes: Vec<u8> = good.iter().copied().chain([0; 136]).take(len).collect();
            let refused = VaultFile::parse(&bytes);
            assert_eq!(refused, Err(VaultFileError::BadLength { len }));
        }
        let mut newer = good[..40].to_vec();
        newer[8] = 2;
        assert_eq!(
            VaultFile::parse(&newer),
            Err(VaultFileError::UnknownVersion(2))
        );
    }

    #[test]
    fn every_flipped_bit_is_refused_or_describes_another_vault() {
        let vault = vault();
        for flipped in bit_flips(&vault.encode().0) {
            if let Ok(other) = VaultFile::parse(&flipped) {
                assert_ne!(other, vault);
                assert_eq!(other.encode().0[..], flipped);
            }
        }
    }

    proptest! {
        #[test]
        fn what_parses_has_one_form(bytes: [u8; 32], log2 in 0u8..32, rest: [u8; 32]) {
            let mut image = [bytes, rest].concat();
            let _ = VaultFile::parse(&image);
            image[..16].copy_from_slice(b"KEEPFSv1\x01\0\x10\0\0\0\0\0");
            image[10] = log2;
            match VaultFile::parse(&image) {
                Ok(vault) => prop_assert_eq!(&vault.encode().0[..], &image[..]),
                Err(error) => {
                    prop_assert_eq!(error, VaultFileError::BadChunkSize(BadChunkSize(log2)));
                }
            }
        }
    }
}
