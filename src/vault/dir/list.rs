//! Listings: every entry opened, and nothing shown that does not.

use std::collections::HashSet;
use std::io;
use std::ops::ControlFlow;

use rayon::prelude::*;

use super::copies::shown_of;
use super::{ConflictCopy, DirError, VaultDir};
use crate::codec::entry::{LongName, NAMES_DIR, PIN_NAME, RawEntry, classify};
use crate::codec::xattr::XATTR_PREFIX;
use crate::name::{PlainName, RawName};
use crate::store::{RawDirEntry, StoreDir};
use crate::types::{DirId, FileKind};
use crate::vault::Vault;

/// From so many entries on, all cores decrypt.
const PARALLEL_FROM: usize = 512;

/// One entry in plain.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Listed {
    /// Its name.
    pub name: PlainName,
    /// Its name on the backing.
    pub entry: RawName,
    /// Its inode number on the backing.
    pub ino: u64,
    /// What it is.
    pub kind: FileKind,
    /// If it is a conflict copy: of what. Its name is the one it is shown
    /// under then.
    pub copy: Option<Box<ConflictCopy>>,
}

/// A directory's contents, and what was left out of them.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Listing {
    /// The entries that opened, in the backing's order; behind them the
    /// conflict copies.
    pub entries: Vec<Listed>,
    /// Entries of the form of a cipher name that do not open here.
    pub undecryptable: u64,
    /// Entries that have nothing to do with the vault.
    pub foreign: u64,
}

/// What an entry of the backing, there or not, stands for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum StandsFor {
    /// An object that is shown under this name.
    Name(PlainName),
    /// The directory's pin, which states its id.
    Pin,
    /// In a vault's root: the directory of the notes.
    Notes,
    /// Nothing that is shown, nor anything that shows it.
    Nothing,
}

enum Verdict {
    Entry(Listed, DirId),
    Copy(Listed, ConflictCopy),
    Undecryptable,
    Foreign,
    Hidden,
}

impl VaultDir {
    /// Lists the directory. Internal entries and the temporary files of sync
    /// clients are left out uncounted.
    ///
    /// # Errors
    /// What the backing says.
    pub fn list(&self, vault: &Vault) -> Result<Listing, DirError> {
        let raw = self.store.list()?;
        let judge = |entry| self.judge(vault, entry);
        let verdicts: Vec<io::Result<Verdict>> = if raw.len() > PARALLEL_FROM {
            raw.into_par_iter().map(judge).collect()
        } else {
            raw.into_iter().map(judge).collect()
        };
        let mut listing = Listing::default();
        let (mut under_others, mut copies) = (Vec::new(), Vec::new());
        for verdict in verdicts {
            match verdict? {
                Verdict::Entry(listed, id) if id == self.id => listing.entries.push(listed),
                Verdict::Entry(listed, id) => under_others.push((listed, id)),
                Verdict::Copy(listed, copy) => copies.push((listed, copy)),
                Verdict::Undecryptable => listing.undecryptable += 1,
                Verdict::Foreign => listing.foreign += 1,
                Verdict::Hidden => {}
            }
        }
        self.add_under_others(vault, &mut listing, under_others, &mut copies);
        self.add_copies(&mut listing, copies);
        Ok(listing)
    }

    /// Adds what opened under another id than the first: as it is where its
    /// name is free.
    fn add_under_others(
        &self,
        vault: &Vault,
        listing: &mut Listing,
        mut under_others: Vec<(Listed, DirId)>,
        copies: &mut Vec<(Listed, ConflictCopy)>,
    ) {
        if under_others.is_empty() {
            return;
        }
        let ids = self.ids(vault);
        under_others.sort_by_key(|(_, under)| ids.iter().position(|id| id == under));
        let mut names: HashSet<PlainName> =
            listing.entries.iter().map(|e| e.name.clone()).collect();
        for (listed, id) in under_others {
            if names.insert(listed.name.clone()) {
                listing.entries.push(listed);
            } else {
                let opened = (listed.name.clone(), id);
                let copy = ConflictCopy::new(&listed.entry, opened, b"");
                copies.push((listed, copy));
            }
        }
    }

    /// What an entry stands for, by its name and what is beside it.
    ///
    /// # Errors
    /// What the backing says.
    pub fn stands_for(&self, vault: &Vault, entry: &RawName) -> Result<StandsFor, DirError> {
        let form = classify(entry);
        Ok(match &form {
            RawEntry::Short(_) | RawEntry::Long(_) | RawEntry::Other => {
                let (copy, name) = match self.open(vault, &form) {
                    Some((name, under)) if under == self.id => (None, Some(name)),
                    Some((name, under)) => (
                        self.second_of_a_name(vault, entry, &name, under)?,
                        Some(name),
                    ),
                    None => (self.suffixed_copy(vault, entry), None),
                };
                let name = copy.map(|copy| copy.shown).or(name);
                name.map_or(StandsFor::Nothing, StandsFor::Name)
            }
            RawEntry::Internal if entry.bytes() == PIN_NAME.as_bytes() => StandsFor::Pin,
            RawEntry::Internal if entry.bytes() == NAMES_DIR.as_bytes() => StandsFor::Notes,
            RawEntry::SideFile(_) | RawEntry::Internal | RawEntry::ClientTemp => StandsFor::Nothing,
        })
    }

    /// Whether a note says anything about this directory.
    #[must_use]
    pub fn is_noted(&self, vault: &Vault) -> bool {
        !vault.noted_ids(self.place).is_empty()
    }

    fn add_copies(&self, listing: &mut Listing, copies: Vec<(Listed, ConflictCopy)>) {
        if copies.is_empty() {
            return;
        }
        let taken: HashSet<&PlainName> = listing.entries.iter().map(|e| &e.name).collect();
        let copies = shown_of(copies, &taken, |(listed, copy)| (copy, &listed.entry));
        for (mut listed, copy) in copies {
            self.know_copy(&copy.shown, &listed.entry);
            listed.name = copy.shown.clone();
            listed.copy = Some(Box::new(copy));
            listing.entries.push(listed);
        }
    }

    fn judge(&self, vault: &Vault, raw: RawDirEntry) -> io::Result<Verdict> {
        let form = classify(&raw.name);
        let opened = match &form {
            RawEntry::Short(_) | RawEntry::Long(_) => self.open(vault, &form),
            RawEntry::Other => None,
            RawEntry::SideFile(_) | RawEntry::Internal | RawEntry::ClientTemp => {
                return Ok(Verdict::Hidden);
            }
        };
        let (name, under, copy) = if let Some((name, under)) = opened {
            (name, under, None)
        } else if let Some(copy) = self.suffixed_copy(vault, &raw.name) {
            // Also of an entry whose suffix happens to make a legal length.
            (copy.shown.clone(), copy.under, Some(copy))
        } else if form == RawEntry::Other {
            return Ok(Verdict::Foreign);
        } else {
            return Ok(Verdict::Undecryptable);
        };
        let kind = match raw.kind {
            Some(kind) => Some(kind),
            None => match self.store.stat(&raw.name) {
                Ok(stat) => stat.kind(),
                Err(error) if error.kind() == io::ErrorKind::NotFound => {
                    return Ok(Verdict::Hidden);
                }
                Err(error) => return Err(error),
            },
        };
        let Some(kind) = kind else {
            return Ok(Verdict::Foreign);
        };
        let listed = Listed {
            name,
            entry: raw.name,
            ino: raw.ino,
            kind,
            copy: None,
        };
        Ok(match copy {
            Some(copy) => Verdict::Copy(listed, copy),
            None => Verdict::Entry(listed, under),
        })
    }

    /// The plain name of an entry, and the id it opened under.
    pub(super) fn open(&self, vault: &Vault, form: &RawEntry) -> Option<(PlainName, DirId)> {
        self.open_under(vault, form, &[self.id]).or_else(|| {
            let others = self.ids(vault);
            self.open_under(vault, form, &others[1..])
        })
    }

    /// [`Self::open`] under the directory's first id alone.
    pub(super) fn open_as_it_is(
        &self,
        vault: &Vault,
        form: &RawEntry,
    ) -> Option<(PlainName, DirId)> {
        self.open_under(vault, form, &[self.id])
    }

    /// The side file of a long entry, or the second copy of it that is kept in
    /// `keepfs.names`; the first that belongs to the entry, or what there is.
    pub(super) fn read_side(&self, vault: &Vault, long: &LongName) -> Option<Vec<u8>> {
        let beside = self.store.read_side(long).ok();
        match beside {
            Some(side) if long.names_side(&side) => Some(side),
            other => {
                let mut kept = vault.kept_sides(long).into_iter();
                kept.find(|side| long.names_side(side)).or(other)
            }
        }
    }

    fn open_under(
        &self,
        vault: &Vault,
        form: &RawEntry,
        ids: &[DirId],
    ) -> Option<(PlainName, DirId)> {
        let keys = vault.keys();
        let mut ids = ids.iter();
        match form {
            RawEntry::Short(short) => {
                ids.find_map(|id| Some((keys.open_name(*id, short).ok()?, *id)))
            }
            RawEntry::Long(long) => {
                let side = self.read_side(vault, long)?;
                ids.find_map(|id| Some((keys.open_long_name(*id, long, &side).ok()?, *id)))
            }
            RawEntry::SideFile(_) | RawEntry::Internal | RawEntry::ClientTemp | RawEntry::Other => {
                None
            }
        }
    }

    /// Whether the entries agree with the id: at least one of them opens, or
    /// none has the form of a name. Stops at the first that opens.
    ///
    /// A directory that may not be listed is given the benefit of the doubt.
    pub(super) fn id_is_plausible(&self, vault: &Vault) -> Result<bool, DirError> {
        let mut met = false;
        let mut opened = false;
        let scanned = self.store.scan(|entry| {
            let form = classify(&entry.name);
            match &form {
                RawEntry::Short(_) => met = true,
                // Without its side file a long entry says nothing.
                RawEntry::Long(long) => met |= self.read_side(vault, long).is_some(),
                RawEntry::Other => {}
                RawEntry::SideFile(_) | RawEntry::Internal | RawEntry::ClientTemp => {
                    return ControlFlow::Continue(());
                }
            }
            opened = self.open(vault, &form).is_some()
                || self.suffixed_copy(vault, &entry.name).is_some();
            if opened {
                ControlFlow::Break(())
            } else {
                ControlFlow::Continue(())
            }
        });
        match scanned {
            Err(error) if error.kind() == io::ErrorKind::PermissionDenied => Ok(true),
            Err(error) => Err(error.into()),
            Ok(()) => Ok(opened || !met),
        }
    }

    /// Whether the directory holds anything that its id matters to: entries,
    /// known or not, or encrypted attributes of its own.
    pub(super) fn id_matters(store: &StoreDir) -> io::Result<bool> {
        let mut entries = false;
        let scanned = store.scan(|entry| match classify(&entry.name) {
            RawEntry::Short(_) | RawEntry::Long(_) | RawEntry::Other => {
                entries = true;
                ControlFlow::Break(())
            }
            RawEntry::SideFile(_) | RawEntry::Internal | RawEntry::ClientTemp => {
                ControlFlow::Continue(())
            }
        });
        match scanned {
            // What cannot be seen may well be there.
            Err(error) if error.kind() == io::ErrorKind::PermissionDenied => return Ok(true),
            other => other?,
        }
        if entries {
            return Ok(true);
        }
        match store.itself()?.list_xattrs() {
            Ok(names) => Ok(names
                .iter()
                .any(|name| name.starts_with(XATTR_PREFIX.as_bytes()))),
            Err(error) if error.raw_os_error() == Some(libc::EOPNOTSUPP) => Ok(false),
            Err(error) => Err(error),
        }
    }
}
