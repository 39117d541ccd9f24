//! What can be done about findings. [`plan`] only looks; [`Step::carry_out`]
//! changes one object. Nothing is ever deleted: what is taken out or replaced
//! is kept in a [`Quarantine`] outside the vault.
//!
//! A repair may uncover more: the inside of a directory can be looked at only
//! once its pin is back. That is another plan, for a person to look at.
//!
//! What the provider could have arranged is not believed: a directory gets no
//! id that another one has, and nothing is moved to one of two places that fit.

mod directories;
mod remedy;

use std::collections::HashSet;
use std::io;

pub use remedy::Remedy;

use self::directories::Directories;
use super::{Finding, Report, Trouble};
use crate::codec::header::HeaderError;
use crate::codec::xattr::{XATTR_PREFIX, XattrOwner};
use crate::name::{PlainName, RawName};
use crate::store::quarantine::{Deed, Kept, Quarantine, Reason};
use crate::store::{StoreDir, StoreFile, StoreNode};
use crate::types::{Access, DirId, FileKind, PlainLen};
use crate::vault::Vault;
use crate::vault::dir::{DirError, VaultDir};
use crate::vault::file::settle::Unfinished;
use crate::vault::file::{Damage, File, FileError};
use crate::vault::journal::replay::{Fate, Whose};

/// Why a step was not carried out.
#[derive(Debug, thiserror::Error)]
pub enum RepairError {
    /// It is not there any more.
    #[error("it is gone")]
    Gone,
    /// It is not as it was when this was planned.
    #[error("it has changed since this was planned; check again")]
    Changed,
    /// A directory.
    #[error(transparent)]
    Dir(#[from] DirError),
    /// A file.
    #[error(transparent)]
    File(#[from] FileError),
    /// The backing or the quarantine.
    #[error(transparent)]
    Io(#[from] io::Error),
}

/// One object and what will be done to it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Step {
    /// Its path on the backing.
    pub cipher_path: Vec<u8>,
    /// Its path in plain, where it is known.
    pub plain_path: Option<Vec<u8>>,
    /// The word for what is wrong.
    pub why: &'static str,
    /// What will be done.
    pub remedy: Remedy,
}

/// An object found again by its path on the backing.
enum Spot {
    Root(VaultDir),
    Entry {
        parent: VaultDir,
        entry: RawName,
        /// `None` where it does not open.
        name: Option<(PlainName, DirId)>,
        kind: Option<FileKind>,
    },
}

impl Spot {
    fn find(vault: &Vault, cipher_path: &[u8]) -> Result<Self, RepairError> {
        let mut parent = vault.root_dir();
        if cipher_path.is_empty() {
            return Ok(Self::Root(parent));
        }
        let mut parts = cipher_path.split(|&byte| byte == b'/').peekable();
        while let Some(part) = parts.next() {
            let entry = RawName::new(part);
            let meaning = parent.meaning_of(vault, &entry)?.ok_or(RepairError::Gone)?;
            let name = meaning.object().map(|(name, under)| (name.clone(), under));
            if parts.peek().is_none() {
                let kind = parent.store().stat(&entry)?.kind();
                return Ok(Self::Entry {
                    parent,
                    entry,
                    name,
                    kind,
                });
            }
            let (name, under) = name.ok_or(RepairError::Gone)?;
            parent = parent.open_entry(vault, &entry, (&name, under))?;
        }
        Err(RepairError::Gone)
    }

    fn entry(&self) -> Result<(&StoreDir, &RawName), RepairError> {
        match self {
            Self::Root(_) => Err(RepairError::Gone),
            Self::Entry { parent, entry, .. } => Ok((parent.store(), entry)),
        }
    }

    /// The entry with the name that it opened as.
    fn named(&self) -> Result<(&VaultDir, &RawName, (&PlainName, DirId)), RepairError> {
        match self {
            Self::Root(_) | Self::Entry { name: None, .. } => Err(RepairError::Gone),
            Self::Entry {
                parent,
                entry,
                name: Some((name, under)),
                ..
            } => Ok((parent, entry, (name, *under))),
        }
    }

    fn open_dir(&self, vault: &Vault) -> Result<VaultDir, RepairError> {
        if let Self::Root(dir) = self {
            return Ok(dir.clone());
        }
        let (parent, entry, name) = self.named()?;
        Ok(parent.open_entry(vault, entry, name)?)
    }

    /// The directory at this path without its pin; the root has none.
    fn unpinned_dir(&self, vault: &Vault) -> Result<VaultDir, RepairError> {
        let (parent, entry, name) = self.named()?;
        Ok(parent.open_entry_unpinned(vault, entry, name)?)
    }

    fn open_file(&self, vault: &Vault) -> Result<File, RepairError> {
        let (parent, entry) = self.entry()?;
        Ok(File::open(vault, parent.open_file(entry, Access::Read)?)?.0)
    }

    fn writable_file(&self) -> Result<StoreFile, RepairError> {
        let (parent, entry) = self.entry()?;
        Ok(parent.open_file_as_owner(entry)?)
    }

    fn node(&self) -> Result<StoreNode, RepairError> {
        Ok(match self {
            Self::Root(dir) => dir.store().itself()?,
            Self::Entry { parent, entry, .. } => parent.store().node(entry)?,
        })
    }
}

/// What can be done about the findings of a full check. `stated` are ids that
/// a person says directories without a pin had. What cannot be read, what does
/// no harm, what needs a newer keepfs, and what nothing is known about that
/// would be worse elsewhere, is left alone.
#[must_use]
pub fn plan(vault: &Vault, report: &Report, stated: &[DirId]) -> Vec<Step> {
    let mut directories = Directories::of(vault, report, stated);
    let mut steps: Vec<Step> = Vec::new();
    let mut seen = HashSet::new();
    let holds_journal = |group: &[Finding]| {
        group
            .iter()
            .any(|one| matches!(one.trouble, Trouble::Journal))
    };
    // First of all: what looks damaged may be in it.
    let journals_only = holds_journal(&report.findings);
    let groups = report
        .findings
        .chunk_by(|a, b| a.cipher_path == b.cipher_path)
        .filter(|group| !journals_only || holds_journal(group));
    for group in groups {
        let Ok(spot) = Spot::find(vault, &group[0].cipher_path) else {
            continue;
        };
        let mut planner = Planner {
            vault,
            spot: &spot,
            group,
            directories: &mut directories,
        };
        for step in planner.steps() {
            // The parts of one matter may each lead to the same remedy.
            if seen.insert((step.cipher_path.clone(), step.remedy.word())) {
                steps.push(step);
            }
        }
    }
    one_step_an_exchange(&mut steps);
    attributes_last(&mut steps);
    steps
}

/// Attributes of a directory are judged when it has the right id again.
fn attributes_last(steps: &mut Vec<Step>) {
    let settled: HashSet<Vec<u8>> = steps
        .iter()
        .filter(|step| step.remedy.settles_all())
        .map(|step| step.cipher_path.clone())
        .collect();
    steps.retain(|step| {
        step.remedy != Remedy::DropAttributes || !settled.contains(&step.cipher_path)
    });
}

/// An exchange puts both directories right: the partner's own steps go.
fn one_step_an_exchange(steps: &mut Vec<Step>) {
    let mut partners: Vec<Vec<u8>> = Vec::new();
    for step in steps.iter() {
        if let Remedy::Exchange { cipher_path, .. } = &step.remedy
            && !partners.contains(&step.cipher_path)
        {
            partners.push(cipher_path.clone());
        }
    }
    steps.retain(|step| !partners.contains(&step.cipher_path));
}

struct Planner<'s, 'a> {
    vault: &'a Vault,
    spot: &'s Spot,
    group: &'a [Finding],
    directories: &'s mut Directories<'a>,
}

impl Planner<'_, '_> {
    /// What is to be done about all findings of one object: nothing while a
    /// part of it cannot be read, nothing besides taking it out, and nothing
    /// about attributes, which a directory's id opens, before that is right.
    fn steps(&mut self) -> Vec<Step> {
        let unread = |finding: &Finding| matches!(finding.trouble, Trouble::Unreadable(_));
        if self.group.iter().any(unread) {
            return Vec::new();
        }
        let mut steps = Vec::new();
        for finding in self.group {
            steps.extend(self.step(finding));
        }
        let decisive = |step: &&Step| step.remedy.settles_all();
        if let Some(one) = steps.iter().find(decisive).cloned() {
            return vec![one];
        }
        steps
    }

    fn step(&mut self, finding: &Finding) -> Option<Step> {
        let remedy = match &finding.trouble {
            Trouble::Directory(DirError::PinMalformed(_) | DirError::NothingOpens)
            | Trouble::NothingOpens { .. }
            | Trouble::LostPin
            | Trouble::BadPin(_) => self.directories.remedy(self.spot, &finding.cipher_path),
            Trouble::NameDoesNotOpen => return self.stray(finding),
            Trouble::NoSideFile | Trouble::WrongSideFile => self.nameless(),
            Trouble::LeftOpen | Trouble::Longer | Trouble::Chunks(_) => self.file(),
            Trouble::File(Damage::Header(HeaderError::UnknownFlags(_))) => None,
            Trouble::WrongSeal | Trouble::File(_) | Trouble::Link(_) => Some(Remedy::SetAside),
            Trouble::Attribute(_) => Some(Remedy::DropAttributes),
            Trouble::Journal => Some(Remedy::BringIn),
            Trouble::Directory(_)
            | Trouble::Unreadable(_)
            | Trouble::IdlePin
            | Trouble::ConflictCopy { .. }
            | Trouble::Hidden
            | Trouble::OrphanedSideFile
            | Trouble::Leftover
            | Trouble::ClientTemp
            | Trouble::Foreign => None,
        };
        remedy.map(|remedy| Step {
            cipher_path: finding.cipher_path.clone(),
            plain_path: finding.plain_path.clone(),
            why: finding.trouble.word(),
            remedy,
        })
    }

    /// An entry that does not open: its directory may have lost its pin, or it
    /// was carried here from another.
    fn stray(&mut self, finding: &Finding) -> Option<Step> {
        if let Some(step) = self.directories.of_stray(finding) {
            return Some(step);
        }
        let (parent, entry) = match self.spot {
            Spot::Root(_) => return None,
            Spot::Entry { parent, entry, .. } => (parent, entry),
        };
        Some(Step {
            cipher_path: finding.cipher_path.clone(),
            plain_path: None,
            why: finding.trouble.word(),
            remedy: self
                .directories
                .home_of(parent, entry)
                .unwrap_or(Remedy::SetAside),
        })
    }

    /// An object whose name is lost. A directory stays: under another name,
    /// nothing in it would open, and its side file may still come.
    fn nameless(&mut self) -> Option<Remedy> {
        let Spot::Entry {
            parent,
            entry,
            kind,
            ..
        } = self.spot
        else {
            return None;
        };
        if let Some(home) = self.directories.home_of(parent, entry) {
            return Some(home);
        }
        if *kind == Some(FileKind::Directory) {
            return None;
        }
        let mark = entry.bytes().get(1..13)?;
        let name = [b"keepfs-lost-name-", mark].concat();
        let name = PlainName::new(&name).ok()?;
        Some(Remedy::NewName { name })
    }

    /// How a file can be brought to an end; `None` if it cannot be looked at.
    fn file(&self) -> Option<Remedy> {
        let file = self.spot.open_file(self.vault).ok()?;
        if !file.says_open() {
            let store = self
                .spot
                .entry()
                .ok()
                .and_then(|(parent, entry)| parent.open_file(entry, Access::Read).ok())?;
            if let Some(front) = File::open_to_sealed_end(self.vault, store).ok()? {
                let stored = front.store().ok()?.stat().ok()?.size;
                return Some(Remedy::CutExtra {
                    bytes: stored.saturating_sub(front.sealed_end().get()),
                });
            }
        }
        let whole = file.size().get();
        Some(match file.unfinished().ok()? {
            Unfinished::Whole if file.stands_sealed() => Remedy::SetAside,
            Unfinished::Whole => Remedy::Seal,
            Unfinished::TornFrom { len, .. } if len.get() > 0 && !file.stands_sealed() => {
                Remedy::SealWithoutEnd {
                    keeps: len.get(),
                    of: whole,
                }
            }
            Unfinished::TornFrom { .. } | Unfinished::Damaged => Remedy::SetAside,
        })
    }
}

impl Step {
    /// Does it, durably, and tells the quarantine's report.
    ///
    /// # Errors
    /// It has changed since; what the backing says: the object is as it was
    /// then, or repaired in part.
    pub fn carry_out(&self, vault: &Vault, quarantine: &mut Quarantine) -> Result<(), RepairError> {
        let spot = Spot::find(vault, &self.cipher_path)?;
        let task = self.prepare(vault, &spot)?;
        let why = Reason {
            word: self.why,
            cipher_path: &self.cipher_path,
        };
        let kept = quarantine.begin(task.deed(), why)?;
        let done = task.carry_out(vault, &spot, &kept);
        quarantine.end(kept, if done.is_ok() { "done" } else { "failed" });
        done
    }

    /// Finds everything that the step needs, and that it is still so.
    fn prepare(&self, vault: &Vault, spot: &Spot) -> Result<Task, RepairError> {
        Ok(match &self.remedy {
            Remedy::Seal => {
                let (file, _) = File::open(vault, spot.writable_file()?)?;
                match file.unfinished()? {
                    found @ Unfinished::Whole => Task::Seal(file, found),
                    Unfinished::TornFrom { .. } | Unfinished::Damaged => {
                        return Err(RepairError::Changed);
                    }
                }
            }
            Remedy::SealWithoutEnd { keeps, .. } => {
                let (file, _) = File::open(vault, spot.writable_file()?)?;
                match file.unfinished()? {
                    found @ Unfinished::TornFrom { len, .. } if len == PlainLen::new(*keeps) => {
                        Task::Seal(file, found)
                    }
                    Unfinished::TornFrom { .. } | Unfinished::Whole | Unfinished::Damaged => {
                        return Err(RepairError::Changed);
                    }
                }
            }
            Remedy::CutExtra { .. } => {
                let front = File::open_to_sealed_end(vault, spot.writable_file()?)?;
                Task::CutExtra(front.ok_or(RepairError::Changed)?)
            }
            Remedy::Pin { id, .. } => Task::Pin(spot.unpinned_dir(vault)?, *id),
            Remedy::DropPin => Task::DropPin(spot.unpinned_dir(vault)?),
            Remedy::Exchange { cipher_path, .. } => {
                Task::Exchange(Spot::find(vault, cipher_path)?, cipher_path.clone())
            }
            Remedy::MoveHome { cipher_dir, .. } => {
                let home = Spot::find(vault, cipher_dir)?.open_dir(vault)?;
                Task::MoveHome(home, cipher_dir.clone())
            }
            Remedy::NewName { name } => {
                let (parent, _) = spot.named_parent()?;
                Task::NewName(parent.entry_for(vault, name)?, name.clone())
            }
            Remedy::BringIn => Task::BringIn,
            Remedy::DropAttributes => Task::DropAttributes,
            Remedy::SetAside | Remedy::SetAsideCopy { .. } => Task::SetAside,
        })
    }
}

impl Spot {
    fn named_parent(&self) -> Result<(&VaultDir, &RawName), RepairError> {
        match self {
            Self::Root(_) => Err(RepairError::Gone),
            Self::Entry { parent, entry, .. } => Ok((parent, entry)),
        }
    }
}

/// A step with all that it needs.
enum Task {
    Seal(File, Unfinished),
    CutExtra(File),
    Pin(VaultDir, DirId),
    DropPin(VaultDir),
    Exchange(Spot, Vec<u8>),
    MoveHome(VaultDir, Vec<u8>),
    NewName(RawName, PlainName),
    BringIn,
    DropAttributes,
    SetAside,
}

impl Task {
    fn deed(&self) -> Deed<'_> {
        match self {
            Self::Seal(_, Unfinished::TornFrom { at, .. }) => Deed::Tail(*at),
            Self::Seal(_, Unfinished::Whole | Unfinished::Damaged) => Deed::Seal,
            Self::CutExtra(front) => Deed::Tail(front.sealed_end()),
            Self::Pin(..) | Self::DropPin(_) => Deed::Pin,
            Self::Exchange(_, path) | Self::MoveHome(_, path) => Deed::Moved(path),
            Self::NewName(entry, _) => Deed::Renamed(entry),
            Self::DropAttributes => Deed::Attributes,
            Self::BringIn | Self::SetAside => Deed::Entry,
        }
    }

    fn carry_out(self, vault: &Vault, spot: &Spot, kept: &Kept) -> Result<(), RepairError> {
        match self {
            Self::Seal(file, found) => {
                if let Unfinished::TornFrom { at, .. } = found {
                    kept.copy_tail(&*file.store()?, at)?;
                }
                file.seal_as_found(found)?;
            }
            Self::CutExtra(front) => {
                kept.copy_tail(&*front.store()?, front.sealed_end())?;
                front.cut_to_sealed_end()?;
            }
            Self::Pin(dir, id) => {
                kept.take_pin(dir.store())?;
                dir.restore_pin(vault, id)?;
            }
            Self::DropPin(dir) => kept.take_pin(dir.store())?,
            Self::Exchange(other, _) => {
                let (parent, entry) = spot.entry()?;
                let (other_parent, other_entry) = other.entry()?;
                parent.exchange_as_they_are(entry, other_parent, other_entry)?;
            }
            Self::MoveHome(home, _) => {
                let (parent, entry) = spot.entry()?;
                parent.move_with_side(entry, home.store())?;
            }
            Self::NewName(_, name) => {
                let (parent, entry) = spot.named_parent()?;
                parent.name_anew(vault, entry, &name)?;
            }
            Self::DropAttributes => drop_attributes(vault, spot, kept)?,
            Self::BringIn => {
                let (parent, entry) = spot.entry()?;
                match vault.replay_journal(entry, Whose::Anybodys)? {
                    Fate::InUse => return Err(RepairError::Changed),
                    // Kept in any case: what does not fit may be wanted.
                    Fate::Replayed { .. }
                    | Fate::Left { .. }
                    | Fate::Elsewhere
                    | Fate::Unreadable(_)
                    | Fate::Unopened(_) => kept.take(parent, entry)?,
                }
            }
            Self::SetAside => {
                let (parent, entry) = spot.entry()?;
                kept.take(parent, entry)?;
            }
        }
        Ok(())
    }
}

fn drop_attributes(vault: &Vault, spot: &Spot, kept: &Kept) -> Result<(), RepairError> {
    let is_dir = match spot {
        Spot::Root(_) => true,
        Spot::Entry { kind, .. } => *kind == Some(FileKind::Directory),
    };
    let owner = if is_dir {
        XattrOwner::Dir(spot.open_dir(vault)?.id())
    } else {
        XattrOwner::File(spot.open_file(vault)?.keys().file_id())
    };
    let node = spot.node()?;
    let keys = vault.keys();
    for name in node.list_xattrs()? {
        if !name.starts_with(XATTR_PREFIX.as_bytes()) {
            continue;
        }
        let value = node.get_xattr(&name)?;
        let opened = keys
            .open_xattr_name(owner, &name)
            .and_then(|plain| keys.open_xattr_value(owner, &plain, &value));
        if opened.is_err() {
            kept.take_attribute(&node, &name)?;
        }
    }
    Ok(())
}
