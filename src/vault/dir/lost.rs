//! Directories that lost their pin, and entries that lost their directory:
//! what repair can find out about them.

use std::io;
use std::ops::ControlFlow;
use std::sync::Arc;

use super::{DirError, VaultDir, pins};
use crate::codec::entry::{PIN_NAME, RawEntry, classify};
use crate::codec::geometry::Geometry;
use crate::codec::names::PinFile;
use crate::name::{PlainName, RawName};
use crate::store::StoreDir;
use crate::types::{Access, DirId, FileKind, RenameMode};
use crate::vault::Vault;

/// So many files of a directory are asked where they were born.
const MOST_FILES_ASKED: usize = 64;

/// An id that names in a directory open under.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LostId {
    /// The id.
    pub id: DirId,
    /// How many names open under it.
    pub opens: usize,
}

impl VaultDir {
    /// Opens a directory inside this one as if it had no pin.
    ///
    /// # Errors
    /// What the backing says.
    pub fn open_child_unpinned(&self, vault: &Vault, name: &PlainName) -> Result<Self, DirError> {
        let at = self.resolve(vault, name)?;
        let store = self.store.open_dir(&at.entry())?;
        let place = vault.keys().place(at.under, name);
        Ok(Self::new(Arc::new(store), place, place))
    }

    /// The id that most names here open under; `None` if none opens under any
    /// that is to be thought of: those in copies of its pin, those of the
    /// directories where its files were born, and `more`.
    ///
    /// # Errors
    /// What the backing says.
    pub fn find_id(&self, vault: &Vault, more: &[DirId]) -> Result<Option<LostId>, DirError> {
        let mut candidates = vec![self.place];
        candidates.extend(self.pin_copies(vault)?);
        candidates.extend(self.birth_dirs(vault)?);
        candidates.extend(more);
        candidates.sort_unstable_by_key(|id| *id.bytes());
        candidates.dedup();
        let mut forms = Vec::new();
        self.store.scan(|entry| {
            match classify(&entry.name) {
                form @ (RawEntry::Short(_) | RawEntry::Long(_)) => forms.push(form),
                RawEntry::SideFile(_)
                | RawEntry::Internal
                | RawEntry::ClientTemp
                | RawEntry::Other => {}
            }
            ControlFlow::Continue(())
        })?;
        let counted = candidates.into_iter().map(|id| {
            let under = self.under(id);
            let opens = forms
                .iter()
                .filter(|form| under.open(vault, form).is_some());
            LostId {
                id,
                opens: opens.count(),
            }
        });
        Ok(counted
            .filter(|found| found.opens > 0)
            .max_by_key(|found| found.opens))
    }

    /// Where the directory is: what its id is unless a pin says otherwise.
    #[must_use]
    pub fn place(&self) -> DirId {
        self.place
    }

    /// Whether this directory, whose names open under `id`, was made for
    /// `place`: born there, or pinned there.
    #[must_use]
    pub fn belongs_at(&self, vault: &Vault, place: DirId, id: DirId) -> bool {
        let pinned = pins::read(&self.store).and_then(|pin| pin.opens_at(vault, place));
        id == place || matches!(pinned, Ok(Some(stated)) if stated == id)
    }

    /// Writes a pin that states `id` for the place where the directory is.
    ///
    /// # Errors
    /// What the backing says; the old pin is untouched then, unless only the
    /// last step failed.
    pub fn restore_pin(&self, vault: &Vault, id: DirId) -> Result<(), DirError> {
        let record = vault.keys().seal_pin(self.place, id);
        Ok(pins::write(&self.store, &PinFile::new(None, record))?)
    }

    /// Gives an entry whose own name is lost a new one.
    ///
    /// # Errors
    /// What the backing says, `EEXIST` if the name is taken.
    pub fn name_anew(
        &self,
        vault: &Vault,
        entry: &RawName,
        name: &PlainName,
    ) -> Result<(), DirError> {
        let new = self.resolve_new(vault, name)?;
        self.store
            .rename(entry, &self.store, &new.cipher, RenameMode::NoReplace)?;
        Ok(self.store.sync()?)
    }

    /// The plain name of an entry that was carried out of this directory into
    /// another; its side file may be in either.
    #[must_use]
    pub fn name_of_stray(
        &self,
        vault: &Vault,
        entry: &RawName,
        found_in: &StoreDir,
    ) -> Option<PlainName> {
        match classify(entry) {
            RawEntry::Short(short) => vault.keys().open_name(self.id, &short).ok(),
            RawEntry::Long(long) => {
                let opens = |side: io::Result<Vec<u8>>| {
                    vault
                        .keys()
                        .open_long_name(self.id, &long, &side.ok()?)
                        .ok()
                };
                opens(found_in.read_side(&long)).or_else(|| opens(self.store.read_side(&long)))
            }
            RawEntry::SideFile(_) | RawEntry::Internal | RawEntry::ClientTemp | RawEntry::Other => {
                None
            }
        }
    }

    /// This directory with `id` and no other.
    fn under(&self, id: DirId) -> Self {
        Self::new(Arc::clone(&self.store), id, id)
    }

    /// What conflict copies of the pin state for this place.
    fn pin_copies(&self, vault: &Vault) -> io::Result<Vec<DirId>> {
        let mut names = Vec::new();
        self.store.scan(|entry| {
            // Clients keep the beginning of the name, or all but its extension.
            let name = entry.name.bytes();
            let stem = PIN_NAME.strip_suffix(".dir").unwrap_or(PIN_NAME);
            if name != PIN_NAME.as_bytes() && name.starts_with(stem.as_bytes()) {
                names.push(entry.name);
            }
            ControlFlow::Continue(())
        })?;
        let longest = 2 * crate::codec::names::PIN_RECORD_LEN;
        let read = |name: &RawName| {
            let file = self.store.open_file(name, Access::Read).ok()?;
            let bytes = file.read_head(longest + 1).ok()?;
            vault.keys().open_pin(self.place, &bytes).ok().flatten()
        };
        Ok(names.iter().filter_map(read).collect())
    }

    /// The ids of the directories in which files of this one were made.
    fn birth_dirs(&self, vault: &Vault) -> io::Result<Vec<DirId>> {
        let mut files = Vec::new();
        self.store.scan(|entry| {
            let form = classify(&entry.name);
            if matches!(form, RawEntry::Short(_) | RawEntry::Long(_))
                && matches!(entry.kind, Some(FileKind::Regular) | None)
            {
                files.push(entry.name);
            }
            if files.len() < MOST_FILES_ASKED {
                ControlFlow::Continue(())
            } else {
                ControlFlow::Break(())
            }
        })?;
        let born = |name: &RawName| {
            let file = self.store.open_file(name, Access::Read).ok()?;
            let head = file.read_head(Geometry::HEADER_LEN).ok()?;
            let (_, header) = vault.keys().identify(&head).ok()?;
            Some(header.birth_dir)
        };
        Ok(files.iter().filter_map(born).collect())
    }
}
