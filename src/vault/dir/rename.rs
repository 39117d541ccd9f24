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
//! 4. Names in it that stand under its place, because they were made before its
//!    pin was known, or under an id that the place had before, are
//!    brought under its id first: they would open under none afterwards. A directory among them is pinned, empty or not, as
//!    somebody may have it open and create in it under the id it had.
//! 5. An entry that reached a directory of rule 2 during the rename is found
//!    by looking again afterwards, and pinned then.
//!
//! An exchange does this for both sides. The root never moves.

use std::io;
use std::sync::Arc;

use super::{DirError, Resolved, VaultDir, pins};
use crate::name::{PlainName, RawName};
use crate::store::{StoreDir, Target};
use crate::types::{DirId, FileKind, RenameMode, SetTime};
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
        let new = to_dir.resolve_target(vault, to_name)?;
        Self::carry(vault, (from_dir, &old), (to_dir, &new), mode)
    }

    /// Gives a conflict copy the name that it is shown under for its own, so
    /// that it is an object like any other.
    ///
    /// # Errors
    /// As of [`Self::rename`]; `ENOENT` if no conflict copy is shown as `name`.
    pub fn adopt_copy(&self, vault: &Vault, name: &PlainName) -> Result<(), DirError> {
        let old = self.resolve_target(vault, name)?;
        if old.shown_as.is_none() {
            return Err(io::Error::from_raw_os_error(libc::ENOENT).into());
        }
        let new = Self::resolved_as(vault, name, self.id);
        Self::carry(vault, (self, &old), (self, &new), RenameMode::NoReplace)?;
        Ok(())
    }

    fn carry(
        vault: &Vault,
        (from_dir, old): (&Self, &Resolved),
        (to_dir, new): (&Self, &Resolved),
        mode: RenameMode,
    ) -> Result<Renamed, DirError> {
        let places = (old.place(vault), new.place(vault));
        let moving = from_dir.depart(vault, old, places)?;
        let exchanged = match mode {
            RenameMode::Exchange => to_dir.depart(vault, new, (places.1, places.0))?,
            RenameMode::Replace | RenameMode::NoReplace => None,
        };
        from_dir
            .store
            .rename(&old.entry(), &to_dir.store, new.target(), mode)?;
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
        let inside = Self::new(Arc::new(self.store.open_dir(&entry)?), here, id);
        if inside.ids(vault).len() > 1 {
            inside.gather(vault)?;
        }
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
            Self::write_pin(vault, &dir, current, (there, id))?;
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

    /// Rule 4: brings the names under other ids under the first, with what sync
    /// clients appended to them. One whose name is taken there gets the name it
    /// is shown under.
    fn gather(&self, vault: &Vault) -> Result<(), DirError> {
        let before = self.store.stat_itself()?;
        let mut gathered = false;
        for found in self.audit(vault)? {
            let Some((name, under)) = found.meaning.object() else {
                continue;
            };
            if under == self.id {
                continue;
            }
            let (new_name, suffix) = match found.meaning.copy() {
                Some(copy) if copy.suffix.is_empty() => (&copy.shown, &[][..]),
                Some(copy) => (name, &copy.suffix[..]),
                None => (name, &[][..]),
            };
            let cipher = vault.keys().cipher_name(self.id, new_name);
            let new = Target {
                name: &cipher,
                suffix,
            };
            if self.is_there(&new.entry())? {
                continue;
            }
            if let Some(side) = cipher.side() {
                vault.keep_side(side)?;
            }
            if found.kind == Some(FileKind::Directory) {
                let places = (
                    vault.keys().place(under, name),
                    vault.keys().place(self.id, new_name),
                );
                self.pin_as_it_is(vault, &found.entry, places)?;
            }
            self.store
                .rename(&found.entry, &self.store, new, RenameMode::NoReplace)?;
            gathered = true;
        }
        if gathered {
            // Its contents are the same to people.
            let itself = self.store.itself()?;
            itself.set_times(SetTime::Omit, SetTime::At(before.mtime))?;
        }
        Ok(())
    }

    /// Pins a directory that is about to come from a name under another id to
    /// one under the first, for both of its places.
    fn pin_as_it_is(
        &self,
        vault: &Vault,
        entry: &RawName,
        (here, there): (DirId, DirId),
    ) -> Result<(), DirError> {
        let keys = vault.keys();
        let dir = self.store.open_dir(entry)?;
        let record_here = pins::read_as_owner(&dir)?.opens_at(vault, here)?;
        let id = record_here.unwrap_or(here);
        let inside = Self::new(Arc::new(self.store.open_dir(entry)?), here, id);
        if inside.ids(vault).len() > 1 {
            inside.gather(vault)?;
        }
        let current = record_here.map(|id| keys.seal_pin(here, id));
        Self::write_pin(vault, &dir, current, (there, id))
    }
}

impl Departure {
    /// Rule 5. The rename has happened and is told as done, whatever fails
    /// here: entries that arrived then count as not decryptable.
    pub(super) fn arrive(self, vault: &Vault) -> Moved {
        let Some(id) = self.unpinned else {
            return self.moved;
        };
        let Moved { place, .. } = self.moved;
        let pin = || VaultDir::write_pin(vault, &self.dir, None, (place, id));
        match VaultDir::id_matters(&self.dir) {
            Ok(true) if pin().is_ok() => Moved { place, id },
            Ok(_) | Err(_) => self.moved,
        }
    }
}
