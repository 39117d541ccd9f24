//! A new vault, all or nothing: everything is written under temporary names
//! and synced; `keepfs.vault`, without which nothing is a vault, gets its name
//! last.
//!
//! A kill on the way leaves temporary files, and between the last two renames
//! `keepfs.slots` beside the temporary file that was to become `keepfs.vault`.
//! The next attempt recognises exactly that and starts again. Slots without
//! that file are never touched: they may be a vault that is still on its way
//! from another device, and the only copy of its key.

use std::io;
use std::path::Path;

use crate::codec::RandomError;
use crate::codec::entry::{SLOTS_DIR, VAULT_FILE, slot_of_file};
use crate::codec::geometry::Geometry;
use crate::codec::kdf::KdfCost;
use crate::codec::keys::Fingerprint;
use crate::codec::vault::{Credential, Slot, SlotError, SlotImage, VaultFile, create_vault};
use crate::name::RawName;
use crate::store::internal::is_temporary;
use crate::store::{Internal, RawDirEntry, StoreDir};
use crate::types::FileKind;

/// What a new vault shall be like.
pub struct InitOptions {
    /// Chunk size.
    pub geometry: Geometry,
    /// What each attempt at a passphrase shall cost.
    pub cost: KdfCost,
    /// Public label of the first slot, at most 64 bytes.
    pub label: String,
    /// What shall open the vault.
    pub credential: Credential,
}

/// Why there is no new vault.
#[derive(Debug, thiserror::Error)]
pub enum InitError {
    /// There is a vault already.
    #[error("there is a vault in this directory already")]
    AlreadyAVault,
    /// The directory holds something else.
    #[error("the directory is not empty")]
    NotEmpty,
    /// Slots without `keepfs.vault`.
    #[error(
        "the directory holds keepfs.slots but no keepfs.vault: a vault that is incomplete, or still being copied"
    )]
    SlotsWithoutVault,
    /// Something else than a directory.
    #[error("this is not a directory")]
    NotADirectory,
    /// The first slot cannot be made.
    #[error(transparent)]
    Slot(#[from] SlotError),
    /// No randomness.
    #[error(transparent)]
    Random(#[from] RandomError),
    /// The backing failed.
    #[error("the vault cannot be written: {0}")]
    Backing(#[from] io::Error),
}

/// What a killed attempt left, in the order in which it is removed.
#[derive(Default)]
struct Leftovers {
    /// Directories of slots.
    slots: Vec<RawName>,
    /// Temporary files.
    files: Vec<RawName>,
}

/// Makes a vault in `path`, a directory that is empty or does not exist (then
/// it is created, for its owner only). Durable once this returns.
///
/// # Errors
/// No vault has been made, unless the very last step failed, which makes a
/// whole one durable. What was written is removed as far as the backing
/// allows, and is recognised by the next attempt where it does not.
pub fn init(path: &Path, options: &InitOptions) -> Result<Fingerprint, InitError> {
    let leftovers = match StoreDir::open_root(path) {
        Ok(root) => inspect(&root)?,
        Err(error) if error.kind() == io::ErrorKind::NotFound => Leftovers::default(),
        Err(error) if error.kind() == io::ErrorKind::NotADirectory => {
            return Err(InitError::NotADirectory);
        }
        Err(error) => return Err(error.into()),
    };
    // The keys first: this may fail, and takes a second or more.
    let (master, description) = create_vault(options.geometry)?;
    let slot = Slot::wrap(
        &master,
        &description,
        &options.credential,
        &options.cost,
        &options.label,
    )?;
    let root = StoreDir::create_root(path, 0o700)?;
    clean(&root, &leftovers)?;
    write(&root, &description, &slot).map_err(|error| {
        if let Ok(leftovers) = inspect(&root) {
            // What failed first is what matters.
            let _left_behind = clean(&root, &leftovers);
        }
        if error.kind() == io::ErrorKind::AlreadyExists {
            InitError::AlreadyAVault
        } else {
            InitError::Backing(error)
        }
    })?;
    Ok(description.fingerprint())
}

fn write(root: &StoreDir, description: &VaultFile, slot: &SlotImage) -> io::Result<()> {
    let file = root.write_temporary(description.encode().sealed(), 0o644)?;
    let slots = root.write_slots(slot.id(), slot.sealed())?;
    root.settle_slots(&slots)?;
    root.settle_vault(&file)
}

/// What is in the directory, if a killed attempt explains all of it.
fn inspect(root: &StoreDir) -> Result<Leftovers, InitError> {
    let mut left = Leftovers::default();
    let mut descriptions: Vec<VaultFile> = Vec::new();
    let mut settled = None;
    for RawDirEntry { name, .. } in root.list()? {
        let kind = root.stat(&name)?.kind();
        if name.bytes() == VAULT_FILE.as_bytes() {
            return Err(InitError::AlreadyAVault);
        } else if name.bytes() == SLOTS_DIR.as_bytes() {
            settled = Some(name);
        } else if is_temporary(&name) && kind == Some(FileKind::Regular) {
            let bytes = root.read_temporary(&name, VaultFile::LEN)?;
            if bytes.len() > VaultFile::LEN {
                return Err(InitError::NotEmpty);
            }
            descriptions.extend(VaultFile::parse(&bytes));
            left.files.push(name);
        } else if is_temporary(&name)
            && kind == Some(FileKind::Directory)
            && only_slots(&root.open_dir(&name)?)?
        {
            left.slots.push(name);
        } else {
            return Err(InitError::NotEmpty);
        }
    }
    if let Some(name) = settled {
        let [description] = &descriptions[..] else {
            return Err(InitError::SlotsWithoutVault);
        };
        if !all_slots_of(&root.open_dir(&name)?, description)? {
            return Err(InitError::SlotsWithoutVault);
        }
        left.slots.push(name);
    }
    Ok(left)
}

/// Whether a directory holds nothing but regular files called like slots.
fn only_slots(dir: &StoreDir) -> io::Result<bool> {
    for RawDirEntry { name, .. } in dir.list()? {
        let kind = dir.stat(&name)?.kind();
        if slot_of_file(&name).is_none() || kind != Some(FileKind::Regular) {
            return Ok(false);
        }
    }
    Ok(true)
}

/// Whether a directory holds nothing but slots of one vault.
fn all_slots_of(dir: &StoreDir, vault: &VaultFile) -> io::Result<bool> {
    if !only_slots(dir)? {
        return Ok(false);
    }
    for RawDirEntry { name, .. } in dir.list()? {
        let Some(id) = slot_of_file(&name) else {
            return Ok(false);
        };
        let bytes = dir.read_internal(Internal::Slot(id))?;
        if !Slot::parse(&bytes).is_ok_and(|slot| slot.vault_id() == vault.vault_id()) {
            return Ok(false);
        }
    }
    Ok(true)
}

/// Removes leftovers: the file that explains settled slots goes after them.
fn clean(root: &StoreDir, left: &Leftovers) -> io::Result<()> {
    for name in &left.slots {
        let dir = root.open_dir(name)?;
        for RawDirEntry { name, .. } in dir.list()? {
            dir.unlink(&name)?;
        }
        root.rmdir(name)?;
    }
    left.files.iter().try_for_each(|name| root.unlink(name))
}
