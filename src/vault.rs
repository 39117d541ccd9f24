//! Floor 3: a vault in plain terms. Here, and nowhere below, names and
//! contents cross between plain and cipher.
//!
//! | room | what is kept there |
//! |---|---|
//! | this file | [`LockedVault`], and the [`Vault`] that a credential makes of it |
//! | [`mod@init`] | a new vault |
//! | [`slots`] | the ways in: reading, trying, adding and removing key slots |
//! | [`dir`] | directories: names, ids, pins |
//! | `notes` | which ids directories had, kept apart from them |
//! | [`mod@file`] | regular files: chunks, holes, seals |
//! | [`journal`] | what shall replace live slots, before it does |

pub mod dir;
pub mod file;
pub mod init;
pub mod journal;
mod notes;
pub mod slots;

use std::io;
use std::path::Path;
use std::sync::{Arc, OnceLock};

pub use init::{InitError, InitOptions, init};
pub use slots::{
    OddSlot, OddSlotReason, OpenedSlot, SlotChoice, SlotEditError, SlotEditor, StoredSlot,
    UnlockError,
};

use crate::codec::geometry::Geometry;
use crate::codec::kdf::KdfCaps;
use crate::codec::keys::{Fingerprint, KeyTree};
use crate::codec::secret::MemorySpan;
use crate::codec::vault::{Credential, VaultFile, VaultFileError};
use crate::store::{Internal, StoreDir, StoreFile};
use crate::sys::fs::{FileLock, is_not_regular};
use crate::types::{SlotId, VaultId};
use dir::VaultDir;
use journal::Journal;
use notes::Notes;
use slots::KeySlots;

/// A vault's directory with its description and key slots read, not unlocked.
pub struct LockedVault {
    root: Arc<StoreDir>,
    /// `keepfs.vault`, open; carries the lock.
    file: StoreFile,
    description: VaultFile,
    slots: KeySlots,
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
    pub slots: &'a [StoredSlot],
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
        let slots = KeySlots::read(&root, description.vault_id()).map_err(|source| {
            VaultError::Backing {
                object: "keepfs.slots",
                source,
            }
        })?;
        Ok(Self {
            root: Arc::new(root),
            file,
            description,
            slots,
        })
    }

    /// What anybody can see of the vault.
    #[must_use]
    pub fn info(&self) -> VaultInfo<'_> {
        VaultInfo {
            description: &self.description,
            slots: &self.slots.slots,
            odd: &self.slots.odd,
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
    /// [`slots::MAX_SLOTS`].
    ///
    /// # Errors
    /// None opened; the vault comes back for another attempt.
    pub fn unlock(
        self,
        credential: &Credential,
        caps: &KdfCaps,
        choice: SlotChoice,
    ) -> Result<Vault, UnlockFailed> {
        match self.open_slot(credential, caps, choice) {
            Ok(opened) => Ok(Vault {
                keys: Arc::new(KeyTree::derive(self.description.vault_id(), &opened.master)),
                description: self.description,
                opened_by: opened.slot,
                root: self.root,
                notes: Notes::default(),
                journal: OnceLock::new(),
                _file: self.file,
            }),
            Err(error) => Err(UnlockFailed {
                vault: Box::new(self),
                error,
            }),
        }
    }

    /// The master key itself, to wrap it once more.
    ///
    /// # Errors
    /// No slot opened.
    pub fn open_slot(
        &self,
        credential: &Credential,
        caps: &KdfCaps,
        choice: SlotChoice,
    ) -> Result<OpenedSlot, UnlockError> {
        self.slots.open(&self.description, credential, caps, choice)
    }

    /// The right to change the slots, which are read again under its lock:
    /// what opens the vault from here on is there.
    ///
    /// # Errors
    /// See [`SlotEditError`].
    pub fn edit_slots(&mut self) -> Result<SlotEditor, SlotEditError> {
        let editor = SlotEditor::open(&self.root, &self.description)?;
        self.slots = KeySlots::read(&self.root, self.description.vault_id())?;
        Ok(editor)
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

/// An unlocked vault. Shared by reference counting; all methods take `&self`.
pub struct Vault {
    keys: Arc<KeyTree>,
    description: VaultFile,
    opened_by: SlotId,
    root: Arc<StoreDir>,
    notes: Notes,
    journal: OnceLock<Arc<Journal>>,
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

    /// The slot that opened it.
    #[must_use]
    pub fn opened_by(&self) -> SlotId {
        self.opened_by
    }

    /// The root directory.
    #[must_use]
    pub fn root_dir(&self) -> VaultDir {
        VaultDir::root(Arc::clone(&self.root), self.keys.root_dir_id())
    }

    /// From here on, overwrites go through a journal. For a mount, which has
    /// the vault to itself.
    pub fn begin_journal(&self) {
        self.journal
            .get_or_init(|| Arc::new(Journal::new(Arc::clone(&self.root), Arc::clone(&self.keys))));
    }

    /// The journal, if overwrites go through one.
    #[must_use]
    pub fn journal(&self) -> Option<&Arc<Journal>> {
        self.journal.get()
    }

    /// Where the keys are in memory, to be locked there.
    #[must_use]
    pub fn key_spans(&self) -> Vec<MemorySpan> {
        self.keys.spans()
    }
}

#[cfg(test)]
pub(crate) mod tests;
