//! Directories that lost their pin, and entries that lost their directory:
//! what repair can find out about them.

use std::io;
use std::ops::ControlFlow;
use std::sync::Arc;

use super::{DirError, VaultDir, pins};
use crate::codec::entry::{PIN_NAME, RawEntry, classify};
use crate::codec::geometry::Geometry;
use crate::name::{PlainName, RawName};
use crate::types::{Access, DirId, FileKind, RenameMode};
use crate::vault::Vault;

/// So many files of a directory are asked where they were born.
const MOST_FILES_ASKED: usize = 64;

/// What can be said of the id of a directory whose pin is lost.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Identity {
    /// Every name opens without a pin.
    NeedsNone,
    /// A copy of its pin, a note, or a person states this id, and so many names
    /// open under it.
    Stated(DirId, usize),
    /// All names that do not open without a pin, so many, open under this id.
    /// They may have been put here from another directory.
    Guessed(DirId, usize),
    /// Nothing.
    Unknown,
}

impl VaultDir {
    /// Opens the directory `entry` of this one, whose name opened as `name`.
    ///
    /// # Errors
    /// What the backing says; the pin cannot be read, or is none.
    pub fn open_entry(
        &self,
        vault: &Vault,
        entry: &RawName,
        (name, under): (&PlainName, DirId),
    ) -> Result<Self, DirError> {
        let opened = self.open_entry_unpinned(vault, entry, (name, under))?;
        let id = pins::read(&opened.store)?.id_at(vault, opened.place)?;
        Ok(Self::new(opened.store, opened.place, id))
    }

    /// [`Self::open_entry`] as if there were no pin.
    ///
    /// # Errors
    /// What the backing says.
    pub fn open_entry_unpinned(
        &self,
        vault: &Vault,
        entry: &RawName,
        (name, under): (&PlainName, DirId),
    ) -> Result<Self, DirError> {
        let place = vault.keys().place(under, name);
        let store = self.store.open_dir(entry)?;
        Ok(Self::new(Arc::new(store), place, place))
    }

    /// Finds out the id of a directory opened without its pin. `stated` are
    /// ids that a person says it had, `guesses` others that it may have beside
    /// those of the directories where its files were born.
    ///
    /// # Errors
    /// What the backing says.
    pub fn identity(
        &self,
        vault: &Vault,
        stated: &[DirId],
        guesses: &[DirId],
    ) -> Result<Identity, DirError> {
        let mut closed = Vec::new();
        self.store.scan(|entry| {
            match classify(&entry.name) {
                form @ (RawEntry::Short(_) | RawEntry::Long(_)) => closed.push(form),
                RawEntry::SideFile(_)
                | RawEntry::Internal
                | RawEntry::ClientTemp
                | RawEntry::Other => {}
            }
            ControlFlow::Continue(())
        })?;
        closed.retain(|form| match form {
            // Without its side file a long entry says nothing.
            RawEntry::Long(long) if self.read_side(vault, long).is_none() => false,
            RawEntry::Short(_)
            | RawEntry::Long(_)
            | RawEntry::SideFile(_)
            | RawEntry::Internal
            | RawEntry::ClientTemp
            | RawEntry::Other => self.under(self.place).open_as_it_is(vault, form).is_none(),
        });
        if closed.is_empty() {
            return Ok(Identity::NeedsNone);
        }
        let opens = |id: &DirId| {
            let under = self.under(*id);
            let opened = closed
                .iter()
                .filter(|form| under.open_as_it_is(vault, form).is_some());
            (*id, opened.count())
        };
        let copies = self.pin_copies(vault)?;
        let noted = vault.noted_ids(self.place);
        let best = copies
            .iter()
            .chain(&noted)
            .chain(stated)
            .map(opens)
            .max_by_key(|(_, count)| *count);
        if let Some((id, count)) = best
            && count > 0
        {
            return Ok(Identity::Stated(id, count));
        }
        let births = self.birth_dirs(vault)?;
        // One that does not open the first opens not all of them.
        let first = &closed[0];
        let mut fitting = births
            .iter()
            .chain(guesses)
            .filter(|id| self.under(**id).open_as_it_is(vault, first).is_some());
        Ok(match fitting.next().map(opens) {
            Some((id, count)) if count == closed.len() => Identity::Guessed(id, count),
            Some(_) | None => Identity::Unknown,
        })
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
        Self::write_pin(vault, &self.store, None, (self.place, id))
    }

    /// The entry that a name would have here.
    ///
    /// # Errors
    /// What the backing says.
    pub fn entry_for(&self, vault: &Vault, name: &PlainName) -> Result<RawName, DirError> {
        Ok(self.resolve(vault, name)?.entry())
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
        let new = self.resolve(vault, name)?;
        self.store
            .rename(entry, &self.store, new.target(), RenameMode::NoReplace)?;
        Ok(self.store.sync()?)
    }

    /// The plain name that an entry of this directory has under another id.
    #[must_use]
    pub fn name_under(&self, vault: &Vault, entry: &RawName, id: DirId) -> Option<PlainName> {
        self.under(id)
            .open_as_it_is(vault, &classify(entry))
            .map(|(name, _)| name)
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
