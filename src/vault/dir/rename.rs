//! Renames. A directory keeps its id when it moves, if its id matters; the
//! rules, in the order in which they apply:
//!
//! 1. What a reader will find at the new place is the record of the pin that
//!    opens there, else the new place itself. If that is the directory's id,
//!    nothing is written. (Moving back to the birthplace is such a case.)
//! 2. A directory without entries and without encrypted attributes moves as it
//!    is, and its id becomes what a reader finds at the new place.
//! 3. Any other gets the record of the new place beside the record of the
//!    current one, if it has one there, durably, before the rename. A crash
//!    before the rename leaves the old record (or the old place) in force, one
//!    after it the new; the record of the place it is not at opens nothing.
//!    A record of any other place is dropped by this.
//! 4. An entry that reached a directory of rule 2 during the rename is found
//!    by looking again afterwards, and pinned then.
//!
//! An exchange does this for both sides. The root never moves.

use super::{DirError, Resolved, VaultDir, pins};
use crate::codec::names::PinFile;
use crate::name::PlainName;
use crate::store::StoreDir;
use crate::types::{DirId, FileKind, RenameMode};
use crate::vault::Vault;

/// Where a directory is after it moved.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Moved {
    /// Its place.
    pub place: DirId,
    /// The id its names are encrypted under from now on.
    pub id: DirId,
}

/// What a rename did to directories; `None` for everything else.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Renamed {
    /// The directory that was renamed.
    pub moved: Option<Moved>,
    /// The directory that was exchanged for it.
    pub exchanged: Option<Moved>,
}

/// A directory that is ready to be moved.
pub(super) struct Departure {
    dir: StoreDir,
    moved: Moved,
    /// The id to be kept if the directory is found in use after the rename.
    unpinned: Option<DirId>,
}

impl VaultDir {
    /// Renames an entry, also into another directory. Directories keep their
    /// ids as the rules above say; the caller keeps creates in them away
    /// meanwhile.
    ///
    /// Without privileges, a directory that somebody else owns and that may
    /// not be written cannot be pinned: `EACCES`, where plain directories can
    /// be renamed within their parent.
    ///
    /// # Errors
    /// What the backing says; a pin that cannot be read, or is none;
    /// [`DirError::NothingOpens`] of the target directory.
    pub fn rename(
        vault: &Vault,
        from: (&Self, &PlainName),
        to: (&Self, &PlainName),
        mode: RenameMode,
    ) -> Result<Renamed, DirError> {
        let (from_dir, from_name) = from;
        let (to_dir, to_name) = to;
        let old = from_dir.resolve(vault, from_name)?;
        let new = to_dir.resolve_new(vault, to_name)?;
        let places = (
            vault.keys().place(old.under, from_name),
            vault.keys().place(new.under, to_name),
        );
        let moving = from_dir.depart(vault, &old, places)?;
        let exchanged = match mode {
            RenameMode::Exchange => to_dir.depart(vault, &new, (places.1, places.0))?,
            RenameMode::Replace | RenameMode::NoReplace => None,
        };
        from_dir
            .store
            .rename(&old.entry(), &to_dir.store, &new.cipher, mode)?;
        Ok(Renamed {
            moved: moving.map(|departure| departure.arrive(vault)),
            exchanged: exchanged.map(|departure| departure.arrive(vault)),
        })
    }

    /// Pins the entry `at`, if it is a directory that needs it, for its way
    /// from the first place to the second.
    pub(super) fn depart(
        &self,
        vault: &Vault,
        at: &Resolved,
        places: (DirId, DirId),
    ) -> Result<Option<Departure>, DirError> {
        let (here, there) = places;
        let entry = at.entry();
        if self.store.stat(&entry)?.kind() != Some(FileKind::Directory) {
            return Ok(None);
        }
        let dir = self.store.open_dir(&entry)?;
        let pin = pins::read_as_owner(&dir)?;
        let record_here = pin.opens_at(vault, here)?;
        let id = record_here.unwrap_or(here);
        let found_there = pin.id_at(vault, there)?;
        let arriving_as = |id, unpinned| {
            let moved = Moved { place: there, id };
            (moved, unpinned)
        };
        let (moved, unpinned) = if found_there == id {
            arriving_as(id, None)
        } else if Self::id_matters(&dir)? {
            let keys = vault.keys();
            let current = record_here.map(|id| keys.seal_pin(here, id));
            pins::write(&dir, &PinFile::new(current, keys.seal_pin(there, id)))?;
            arriving_as(id, None)
        } else {
            arriving_as(found_there, Some(id))
        };
        Ok(Some(Departure {
            dir,
            moved,
            unpinned,
        }))
    }
}

impl Departure {
    /// Rule 4. The rename has happened and is told as done, whatever fails
    /// here: entries that arrived then count as not decryptable.
    pub(super) fn arrive(self, vault: &Vault) -> Moved {
        let Some(id) = self.unpinned else {
            return self.moved;
        };
        let Moved { place, .. } = self.moved;
        let pin = || {
            let record = vault.keys().seal_pin(place, id);
            pins::write(&self.dir, &PinFile::new(None, record))
        };
        match VaultDir::id_matters(&self.dir) {
            Ok(true) if pin().is_ok() => Moved { place, id },
            Ok(_) | Err(_) => self.moved,
        }
    }
}
