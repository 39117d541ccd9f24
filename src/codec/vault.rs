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
//! [`slot`] has the files in `keepfs.slots`, each of which is one way in.

pub mod slot;

use sha2::{Digest, Sha256};

use crate::types::VaultId;

use super::Sealed;
use super::geometry::{BadChunkSize, Geometry};
use super::keys::KeyTree;
use super::parts::Parts;
use super::random::{self, RandomError};

pub use super::keys::{Fingerprint, MasterKey};
pub use slot::{Credential, KeyFile, RecoveryCode, Slot, SlotError, SlotImage, SlotKind};

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
