//! Floor 3: a vault in plain terms. Here, and nowhere below, names and
//! contents cross between plain and cipher.
//!
//! | room | what is kept there |
//! |---|---|
//! | this file | [`LockedVault`], and the [`Vault`] that a credential makes of it |
//! | [`mod@init`] | a new vault |
//! | [`dir`] | directories: names, ids, pins |

pub mod dir;
pub mod file;
pub mod init;

use std::io;
use std::path::Path;
use std::sync::Arc;

pub use init::{InitError, InitOptions, init};

use crate::codec::entry::slot_of_file;
use crate::codec::geometry::Geometry;
use crate::codec::kdf::KdfCaps;
use crate::codec::keys::{Fingerprint, KeyTree, MasterKey};
use crate::codec::secret::MemorySpan;
use crate::codec::vault::{Credential, Slot, SlotError, SlotKind, VaultFile, VaultFileError};
use crate::name::RawName;
use crate::store::{Internal, StoreDir, StoreFile};
use crate::sys::fs::{FileLock, is_not_regular};
use crate::types::{SlotId, VaultId};
use dir::VaultDir;

/// How many slots are tried at most; each may cost seconds and gigabytes.
pub const MAX_SLOTS_TRIED: usize = 32;

/// A vault's directory with its description and key slots read, not unlocked.
pub struct LockedVault {
    root: Arc<StoreDir>,
    /// `keepfs.vault`, open; carries the lock.
    file: StoreFile,
    description: VaultFile,
    slots: Vec<Slot>,
    odd: Vec<OddSlot>,
}

/// An entry of `keepfs.slots` that is no slot of this vault.
#[derive(Debug)]
pub struct OddSlot {
    /// Its name: the backing's word, not fit for a terminal unescaped.
    pub name: RawName,
    /// What is wrong.
    pub why: OddSlotReason,
}

/// Why an entry of `keepfs.slots` is no slot of this vault.
#[derive(Debug, thiserror::Error)]
pub enum OddSlotReason {
    /// Its name is not a slot's.
    #[error("the name is not that of a key slot")]
    Name,
    /// It is a directory, link, FIFO or device.
    #[error("it is not a regular file")]
    NotRegular,
    /// Its name and its contents state different ids.
    #[error("it holds the slot {0}, which its name does not say")]
    OtherSlot(SlotId),
    /// It is of another vault.
    #[error("it belongs to another vault ({0})")]
    ForeignVault(VaultId),
    /// It cannot be parsed.
    #[error(transparent)]
    Malformed(SlotError),
    /// It cannot be read.
    #[error("it cannot be read: {0}")]
    Unreadable(io::Error),
}

/// Why a directory cannot be opened as a vault.
#[derive(Debug, thiserror::Error)]
pub enum VaultError {
    /// There is nothing at that path.
    #[error("there is no such directory")]
    Missing,
    /// Something else than a directory.
    #[error("this is not a directory")]
    NotADirectory,
    /// No `keepfs.vault` inside.
    #[error("this is not a vault: it holds no keepfs.vault")]
    NotAVault,
    /// `keepfs.vault` is a directory, link, FIFO or device.
    #[error("keepfs.vault is not a regular file")]
    NotRegular,
    /// `keepfs.vault` is damaged, or newer than this program.
    #[error(transparent)]
    Malformed(#[from] VaultFileError),
    /// The backing failed.
    #[error("{object} cannot be read: {source}")]
    Backing {
        /// What was read.
        object: &'static str,
        /// What the backing said.
        source: io::Error,
    },
}

/// Why no other mount can be excluded.
#[derive(Debug, thiserror::Error)]
pub enum LockError {
    /// Another process holds the vault.
    #[error("the vault is in use already")]
    AlreadyLocked,
    /// The file system has no locks.
    #[error("the vault's file system has no locks, so a second mount would not be noticed")]
    LocksUnsupported,
    /// The backing failed.
    #[error("keepfs.vault cannot be locked: {0}")]
    Backing(#[from] io::Error),
}

/// Why a vault stays locked.
#[derive(Debug, thiserror::Error)]
pub enum UnlockError {
    /// Not one valid slot.
    #[error("the vault has no valid key slot")]
    NoSlots,
    /// Slots, but none for what was offered.
    #[error("the vault has no key slot that takes a {0}")]
    NoSlotOfKind(SlotKind),
    /// What was offered opens no slot.
    #[error("this opens none of the vault's key slots")]
    WrongCredential,
    /// The best explanation a slot gave: it opened and is damaged, or its cost
    /// is out of bounds.
    #[error(transparent)]
    Slot(SlotError),
}

/// A failed attempt; `vault` is as before, for another one.
#[derive(Debug, thiserror::Error)]
#[error("{error}")]
pub struct UnlockFailed {
    /// The vault, for another attempt.
    pub vault: Box<LockedVault>,
    /// Why.
    #[source]
    pub error: UnlockError,
}

/// What anybody can see of a vault.
#[derive(Debug)]
pub struct VaultInfo<'a> {
    /// `keepfs.vault`.
    pub description: &'a VaultFile,
    /// The valid slots, by name.
    pub slots: &'a [Slot],
    /// Everything else in `keepfs.slots`.
    pub odd: &'a [OddSlot],
}

impl std::fmt::Debug for LockedVault {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("LockedVault")
            .field("vault_id", &self.description.vault_id())
            .finish_non_exhaustive()
    }
}

impl LockedVault {
    /// Opens the directory `path` and reads `keepfs.vault` and the slots.
    /// Never opens anything but regular files, and reads no more of them than
    /// a legal one has.
    ///
    /// # Errors
    /// It is no vault, or a damaged or newer one. Bad slots are no error.
    pub fn open(path: &Path) -> Result<Self, VaultError> {
        let root = StoreDir::open_root(path).map_err(bad_root)?;
        let file = root
            .open_internal(Internal::Vault)
            .map_err(bad_vault_file)?;
        let bytes = file.read_head(VaultFile::LEN + 1).map_err(bad_vault_file)?;
        let description = VaultFile::parse(&bytes)?;
        let mut vault = Self {
            root: Arc::new(root),
            file,
            description,
            slots: Vec::new(),
            odd: Vec::new(),
        };
        vault.read_slots().map_err(|source| VaultError::Backing {
            object: "keepfs.slots",
            source,
        })?;
        Ok(vault)
    }

    fn read_slots(&mut self) -> io::Result<()> {
        let dir = match self.root.open_slots() {
            Ok(dir) => dir,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
            Err(error) => return Err(error),
        };
        let mut names: Vec<RawName> = dir.list()?.into_iter().map(|entry| entry.name).collect();
        names.sort();
        for name in names {
            match read_slot(&dir, &name, self.description.vault_id()) {
                Ok(slot) => self.slots.push(slot),
                Err(why) => self.odd.push(OddSlot { name, why }),
            }
        }
        Ok(())
    }

    /// What anybody can see of the vault.
    #[must_use]
    pub fn info(&self) -> VaultInfo<'_> {
        VaultInfo {
            description: &self.description,
            slots: &self.slots,
            odd: &self.odd,
        }
    }

    /// Excludes every other process that calls this, until this vault, or the
    /// [`Vault`] made of it, is dropped or the process ends. Does not wait.
    ///
    /// # Errors
    /// See [`LockError`].
    pub fn lock_exclusive(&self) -> Result<(), LockError> {
        match self.file.try_lock()? {
            FileLock::Held => Ok(()),
            FileLock::Busy => Err(LockError::AlreadyLocked),
            FileLock::Unsupported => Err(LockError::LocksUnsupported),
        }
    }

    /// Tries the slots that take what is offered, one after the other, at most
    /// [`MAX_SLOTS_TRIED`].
    ///
    /// # Errors
    /// None opened; the vault comes back for another attempt.
    pub fn unlock(self, credential: &Credential, caps: &KdfCaps) -> Result<Vault, UnlockFailed> {
        match self.try_slots(credential, caps) {
            Ok(master) => Ok(Vault {
                keys: KeyTree::derive(self.description.vault_id(), &master),
                description: self.description,
                root: self.root,
                _file: self.file,
            }),
            Err(error) => Err(UnlockFailed {
                vault: Box::new(self),
                error,
            }),
        }
    }

    fn try_slots(&self, credential: &Credential, caps: &KdfCaps) -> Result<MasterKey, UnlockError> {
        if self.slots.is_empty() {
            return Err(UnlockError::NoSlots);
        }
        let fitting = self
            .slots
            .iter()
            .filter(|slot| slot.kind() == credential.kind())
            .take(MAX_SLOTS_TRIED);
        let mut best: Option<SlotError> = None;
        for slot in fitting {
            match slot.unwrap(&self.description, credential, caps) {
                Ok(master) => return Ok(master),
                Err(error) => {
                    if best.as_ref().is_none_or(|best| tells(&error) > tells(best)) {
                        best = Some(error);
                    }
                }
            }
        }
        Err(match best {
            None => UnlockError::NoSlotOfKind(credential.kind()),
            Some(SlotError::WrongKey) => UnlockError::WrongCredential,
            Some(error) => UnlockError::Slot(error),
        })
    }
}

fn bad_root(source: io::Error) -> VaultError {
    if source.kind() == io::ErrorKind::NotFound {
        VaultError::Missing
    } else if source.kind() == io::ErrorKind::NotADirectory {
        VaultError::NotADirectory
    } else {
        VaultError::Backing {
            object: "the vault's directory",
            source,
        }
    }
}

fn bad_vault_file(source: io::Error) -> VaultError {
    if source.kind() == io::ErrorKind::NotFound {
        VaultError::NotAVault
    } else if is_not_regular(&source) {
        VaultError::NotRegular
    } else {
        VaultError::Backing {
            object: "keepfs.vault",
            source,
        }
    }
}

/// How much an error says about a credential: a slot it opened and that is
/// damaged, before one it does not open, before one that was not tried.
fn tells(error: &SlotError) -> u8 {
    match error {
        SlotError::NotAuthentic | SlotError::FingerprintMismatch => 2,
        SlotError::WrongKey => 1,
        SlotError::Kdf(_)
        | SlotError::ForeignVault(_)
        | SlotError::KindMismatch { .. }
        | SlotError::BadLength { .. }
        | SlotError::BadMagic
        | SlotError::UnknownVersion(_)
        | SlotError::UnknownKind(_)
        | SlotError::ReservedNotZero
        | SlotError::BadLabel
        | SlotError::Random(_) => 0,
    }
}

fn read_slot(dir: &StoreDir, name: &RawName, vault: VaultId) -> Result<Slot, OddSlotReason> {
    let id = slot_of_file(name).ok_or(OddSlotReason::Name)?;
    let bytes = dir.read_internal(Internal::Slot(id)).map_err(|error| {
        if is_not_regular(&error) {
            OddSlotReason::NotRegular
        } else {
            OddSlotReason::Unreadable(error)
        }
    })?;
    let slot = Slot::parse(&bytes).map_err(OddSlotReason::Malformed)?;
    if slot.id() != id {
        return Err(OddSlotReason::OtherSlot(slot.id()));
    }
    if slot.vault_id() != vault {
        return Err(OddSlotReason::ForeignVault(slot.vault_id()));
    }
    Ok(slot)
}

/// An unlocked vault. Shared by reference counting; all methods take `&self`.
pub struct Vault {
    keys: KeyTree,
    description: VaultFile,
    root: Arc<StoreDir>,
    /// Held open for its lock.
    _file: StoreFile,
}

impl Vault {
    /// The keys.
    #[must_use]
    pub fn keys(&self) -> &KeyTree {
        &self.keys
    }

    /// The chunk size and what follows from it.
    #[must_use]
    pub fn geometry(&self) -> Geometry {
        self.description.geometry()
    }

    /// The vault's id; public.
    #[must_use]
    pub fn vault_id(&self) -> VaultId {
        self.description.vault_id()
    }

    /// The commitment to the master key; public.
    #[must_use]
    pub fn fingerprint(&self) -> Fingerprint {
        self.description.fingerprint()
    }

    /// The root directory.
    #[must_use]
    pub fn root_dir(&self) -> VaultDir {
        VaultDir::root(Arc::clone(&self.root), self.keys.root_dir_id())
    }

    /// Where the keys are in memory, to be locked there.
    #[must_use]
    pub fn key_spans(&self) -> Vec<MemorySpan> {
        self.keys.spans()
    }
}

#[cfg(test)]
mod tests;
