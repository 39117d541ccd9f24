//! Listings: every entry opened, and nothing shown that does not.

use std::collections::HashSet;
use std::io;
use std::ops::ControlFlow;

use rayon::prelude::*;

use super::{DirError, VaultDir};
use crate::codec::entry::{ConflictBase, LongName, RawEntry, ShortName, classify, conflict_bases};
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
}

/// A directory's contents, and what was left out of them.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Listing {
    /// The entries that opened, in the backing's order.
    pub entries: Vec<Listed>,
    /// Entries of the form of a cipher name that do not open here.
    pub undecryptable: u64,
    /// Conflict copies that a sync client made of entries that do.
    pub conflicts: u64,
    /// Entries that have nothing to do with the vault.
    pub foreign: u64,
}

enum Verdict {
    Entry(Listed, DirId),
    Undecryptable,
    Conflict,
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
        let mut under_place = Vec::new();
        for verdict in verdicts {
            match verdict? {
                Verdict::Entry(listed, id) if id == self.id => listing.entries.push(listed),
                Verdict::Entry(listed, _) => under_place.push(listed),
                Verdict::Undecryptable => listing.undecryptable += 1,
                Verdict::Conflict => listing.conflicts += 1,
                Verdict::Foreign => listing.foreign += 1,
                Verdict::Hidden => {}
            }
        }
        if !under_place.is_empty() {
            let names: HashSet<PlainName> =
                listing.entries.iter().map(|e| e.name.clone()).collect();
            under_place.retain(|listed| !names.contains(&listed.name));
            listing.entries.append(&mut under_place);
        }
        Ok(listing)
    }

    fn judge(&self, vault: &Vault, raw: RawDirEntry) -> io::Result<Verdict> {
        let opened = match classify(&raw.name) {
            form @ (RawEntry::Short(_) | RawEntry::Long(_)) => self.open(vault, &form),
            RawEntry::SideFile(_) | RawEntry::Internal | RawEntry::ClientTemp => {
                return Ok(Verdict::Hidden);
            }
            RawEntry::Other => {
                return Ok(if self.is_conflict_copy(vault, &raw.name) {
                    Verdict::Conflict
                } else {
                    Verdict::Foreign
                });
            }
        };
        let Some((name, id)) = opened else {
            // A copy's suffix may happen to make another legal length.
            return Ok(if self.is_conflict_copy(vault, &raw.name) {
                Verdict::Conflict
            } else {
                Verdict::Undecryptable
            });
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
        };
        Ok(Verdict::Entry(listed, id))
    }

    fn is_conflict_copy(&self, vault: &Vault, entry: &RawName) -> bool {
        conflict_bases(entry).any(|(base, _)| match base {
            ConflictBase::Short(short) => self.open_short(vault, &short).is_some(),
            ConflictBase::Long(long) => self.open_long(vault, &long).is_some(),
        })
    }

    /// The plain name of an entry, and the id it opened under.
    pub(super) fn open(&self, vault: &Vault, form: &RawEntry) -> Option<(PlainName, DirId)> {
        match form {
            RawEntry::Short(short) => self.open_short(vault, short),
            RawEntry::Long(long) => self.open_long(vault, long),
            RawEntry::SideFile(_) | RawEntry::Internal | RawEntry::ClientTemp | RawEntry::Other => {
                None
            }
        }
    }

    pub(super) fn open_short(
        &self,
        vault: &Vault,
        short: &ShortName,
    ) -> Option<(PlainName, DirId)> {
        self.ids().find_map(|id| {
            let name = vault.keys().open_name(id, short).ok()?;
            Some((name, id))
        })
    }

    pub(super) fn open_long(&self, vault: &Vault, long: &LongName) -> Option<(PlainName, DirId)> {
        let side = self.store.read_side(long).ok()?;
        self.ids().find_map(|id| {
            let name = vault.keys().open_long_name(id, long, &side).ok()?;
            Some((name, id))
        })
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
                RawEntry::Long(long) => met |= self.store.read_side(long).is_ok(),
                RawEntry::SideFile(_)
                | RawEntry::Internal
                | RawEntry::ClientTemp
                | RawEntry::Other => return ControlFlow::Continue(()),
            }
            opened = self.open(vault, &form).is_some();
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
