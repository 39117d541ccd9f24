//! Conflict copies: objects that are shown under another name than their
//! entry's own (FORMAT.md, section 12). There are two kinds:
//!
//! * an entry to which a sync client appended something, when two devices had
//!   changed the same object;
//! * an entry under one of the directory's ids whose name another one has under
//!   an earlier of them, when two devices made both before they knew of each
//!   other's pin.
//!
//! Looking for a copy by its shown name reads the directory; no name without
//! the form of one costs that.

use std::collections::{HashMap, HashSet};
use std::io;
use std::ops::ControlFlow;

use super::{Resolved, VaultDir};
use crate::codec::conflict::{CopyTag, Origin, shown_name};
use crate::codec::entry::{ConflictBase, RawEntry, classify, conflict_bases};
use crate::name::{PlainName, RawName};
use crate::store::entry_of;
use crate::types::DirId;
use crate::vault::Vault;

/// Shown names remembered for a directory at most.
const MOST_KNOWN: usize = 4096;

/// Where copies were seen last, by their shown names. Only hints: each is
/// looked at again before it is believed.
pub(super) type KnownCopies = HashMap<PlainName, RawName>;

/// A conflict copy that opened.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ConflictCopy {
    /// The name it is a copy of.
    pub of: PlainName,
    /// The id that name opened under.
    pub under: DirId,
    /// What a sync client appended to the entry; empty for the second kind.
    pub suffix: Box<[u8]>,
    /// The name it is shown under.
    pub shown: PlainName,
}

impl ConflictCopy {
    pub(super) fn new(entry: &RawName, (of, under): (PlainName, DirId), suffix: &[u8]) -> Self {
        Self {
            shown: shown_name(&of, entry, suffix),
            of,
            under,
            suffix: suffix.into(),
        }
    }

    /// What its suffix says of where it comes from.
    #[must_use]
    pub fn origin(&self) -> Origin {
        Origin::of(&self.suffix)
    }

    pub(super) fn resolved(self, vault: &Vault) -> Resolved {
        Resolved {
            cipher: vault.keys().cipher_name(self.under, &self.of),
            suffix: self.suffix,
            name: self.of,
            under: self.under,
            shown_as: Some(self.shown),
        }
    }
}

impl VaultDir {
    /// What an entry that does not open as a whole is a conflict copy of.
    pub(super) fn suffixed_copy(&self, vault: &Vault, entry: &RawName) -> Option<ConflictCopy> {
        conflict_bases(entry).find_map(|(base, suffix)| {
            let form = match base {
                ConflictBase::Short(short) => RawEntry::Short(short),
                ConflictBase::Long(long) => RawEntry::Long(long),
            };
            self.open(vault, &form)
                .map(|opened| ConflictCopy::new(entry, opened, suffix))
        })
    }

    /// An entry that opened, as the copy that it is if an earlier id has its
    /// name.
    pub(super) fn second_of_a_name(
        &self,
        vault: &Vault,
        entry: &RawName,
        name: &PlainName,
        under: DirId,
    ) -> io::Result<Option<ConflictCopy>> {
        for id in self.ids(vault) {
            if id == under {
                break;
            }
            if self.is_there(&entry_of(&vault.keys().cipher_name(id, name)))? {
                let opened = (name.clone(), under);
                return Ok(Some(ConflictCopy::new(entry, opened, b"")));
            }
        }
        Ok(None)
    }

    /// The copy that an entry is, whatever it is shown under.
    pub(super) fn as_copy(
        &self,
        vault: &Vault,
        entry: &RawName,
    ) -> io::Result<Option<ConflictCopy>> {
        let form = classify(entry);
        match &form {
            RawEntry::Short(_) | RawEntry::Long(_) => match self.open(vault, &form) {
                Some((name, under)) => self.second_of_a_name(vault, entry, &name, under),
                None => Ok(self.suffixed_copy(vault, entry)),
            },
            RawEntry::Other => Ok(self.suffixed_copy(vault, entry)),
            RawEntry::SideFile(_) | RawEntry::Internal | RawEntry::ClientTemp => Ok(None),
        }
    }

    /// The copy that is shown as `name`, if that has the form of such a name
    /// and no entry has it. Of several the bytewise first.
    pub(super) fn find_copy(
        &self,
        vault: &Vault,
        name: &PlainName,
    ) -> io::Result<Option<ConflictCopy>> {
        let tags: Vec<CopyTag> = CopyTag::in_name(name).collect();
        if tags.is_empty() {
            return Ok(None);
        }
        let known = self.copies.lock().get(name).cloned();
        if let Some(entry) = known
            && self.is_there(&entry)?
            && let Some(copy) = self.copy_shown_as(vault, &entry, name)?
        {
            return Ok(Some(copy));
        }
        let mut candidates = Vec::new();
        self.store.scan(|raw| {
            if tags.contains(&CopyTag::of(&raw.name)) {
                candidates.push(raw.name);
            }
            ControlFlow::Continue(())
        })?;
        candidates.sort();
        for entry in candidates {
            if let Some(copy) = self.copy_shown_as(vault, &entry, name)? {
                self.know_copy(name, &entry);
                return Ok(Some(copy));
            }
        }
        Ok(None)
    }

    fn copy_shown_as(
        &self,
        vault: &Vault,
        entry: &RawName,
        name: &PlainName,
    ) -> io::Result<Option<ConflictCopy>> {
        let copy = self.as_copy(vault, entry)?;
        Ok(copy.filter(|copy| copy.shown == *name))
    }

    pub(super) fn know_copy(&self, name: &PlainName, entry: &RawName) {
        let mut known = self.copies.lock();
        if known.len() >= MOST_KNOWN {
            known.clear();
        }
        known.insert(name.clone(), entry.clone());
    }
}

/// Of copies those that are shown: no entry in `taken` has their name, and of
/// several under one name the bytewise first.
pub(super) fn shown_of<T>(
    mut copies: Vec<T>,
    taken: &HashSet<&PlainName>,
    of: impl Fn(&T) -> (&ConflictCopy, &RawName),
) -> Vec<T> {
    copies.retain(|copy| !taken.contains(&of(copy).0.shown));
    copies.sort_by(|a, b| {
        let ((a, a_entry), (b, b_entry)) = (of(a), of(b));
        (&a.shown, a_entry).cmp(&(&b.shown, b_entry))
    });
    copies.dedup_by(|b, a| of(a).0.shown == of(b).0.shown);
    copies
}
