//! `keepfs.slots`: what is in it, which slot opens, and changing it.
//!
//! A slot's file is written once, under a name of its own, and removed whole:
//! two devices that change the keys while they do not see each other touch
//! different files. What is in the directory and is no slot is named, so that
//! nobody can hide a way in there.
//!
//! | file | what it holds |
//! |---|---|
//! | this file | reading the slots and trying them |
//! | `edit` | [`SlotEditor`]: adding, removing, tidying |

mod edit;

use std::io;
use std::ops::ControlFlow;

pub use edit::{SlotEditError, SlotEditor, TidyStep};

use serde::{Deserialize, Serialize};

use crate::codec::entry::{SLOT_SUFFIX, slot_file_name, slot_of_file};
use crate::codec::kdf::{KdfCaps, KdfError};
use crate::codec::keys::MasterKey;
use crate::codec::vault::{Credential, Slot, SlotError, SlotKind, VaultFile};
use crate::name::RawName;
use crate::store::internal::is_temporary;
use crate::store::{Internal, StoreDir};
use crate::sys::fs::is_not_regular;
use crate::types::{FileKind, SlotId, Time, VaultId};

/// How many slots are tried at most, and how many a vault may be given; each
/// may cost seconds and gigabytes.
pub const MAX_SLOTS: usize = 32;
/// How many entries of `keepfs.slots` are looked at; no honest vault has as
/// many.
pub const MAX_SLOT_FILES: usize = 1024;

/// A valid slot, as it lies in its file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StoredSlot {
    /// What the file holds.
    pub slot: Slot,
    /// When the backing says it was written; not to be trusted.
    pub modified: Time,
}

/// An entry of `keepfs.slots` that is no slot of this vault.
#[derive(Debug)]
pub struct OddSlot {
    /// Its name: the backing's word, not fit for a terminal unescaped.
    pub name: RawName,
    /// What is wrong.
    pub why: OddSlotReason,
}

/// Why an entry of `keepfs.slots` is no slot of this vault.
#[derive(Debug, thiserror::Error)]
pub enum OddSlotReason {
    /// Its name is not a slot's.
    #[error("the name is not that of a key slot")]
    Name,
    /// Its name is a slot's with something behind: a sync client's copy.
    #[error("it is a sync client's copy of the slot {of}: {standing}")]
    ConflictCopy {
        /// The slot that its name begins with.
        of: SlotId,
        /// How it compares with that slot.
        standing: CopyStanding,
    },
    /// keepfs was killed while it wrote a slot.
    #[error("it was left by a keepfs that did not come to its end")]
    Temporary,
    /// It is a directory, link, FIFO or device.
    #[error("it is not a regular file")]
    NotRegular,
    /// Its name and its contents state different ids.
    #[error("it holds the slot {0}, which its name does not say")]
    OtherSlot(SlotId),
    /// It is of another vault.
    #[error("it belongs to another vault ({0})")]
    ForeignVault(VaultId),
    /// It cannot be parsed.
    #[error(transparent)]
    Malformed(SlotError),
    /// It cannot be read.
    #[error("it cannot be read: {0}")]
    Unreadable(io::Error),
}

/// How a conflict copy compares with the slot it is a copy of.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum CopyStanding {
    /// The slot is there, the same byte for byte.
    Same,
    /// The slot is not there; the copy is whole and could take its place. It
    /// was lost, or it was removed on purpose.
    Alone,
    /// The slot's file is there and no slot; the copy is whole.
    Whole,
    /// The slot is there and the copy is damaged.
    Damaged,
    /// The slot is there, and the copy says something else.
    Differs,
    /// Neither is whole.
    Lost,
    /// It is another vault's.
    Foreign,
    /// A later version made it.
    Newer,
    /// It cannot be read, or is no regular file.
    Unreadable,
}

impl std::fmt::Display for CopyStanding {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::Same => "the same, to the byte",
            Self::Alone => "whole, and the slot itself is missing: lost, or removed on purpose",
            Self::Whole => "whole, and the slot itself is damaged",
            Self::Damaged => "damaged, and the slot itself is whole",
            Self::Differs => "whole, and different; a slot never changes, so one was forged",
            Self::Lost => "damaged, and so is the slot itself, or it is missing",
            Self::Foreign => "of another vault",
            Self::Newer => "made by a newer keepfs",
            Self::Unreadable => "not a file that can be read",
        })
    }
}

/// Which slots are tried, and in which order.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum SlotChoice {
    /// All that take what is offered, by id.
    Any,
    /// This one first, if it is there; then the others.
    First(SlotId),
    /// The others first; then this one.
    Last(SlotId),
    /// This one and no other.
    Only(SlotId),
}

/// Why a vault stays locked.
#[derive(Debug, thiserror::Error)]
pub enum UnlockError {
    /// Not one valid slot.
    #[error("the vault has no valid key slot")]
    NoSlots,
    /// Slots, but none for what was offered.
    #[error("the vault has no key slot that takes a {0}")]
    NoSlotOfKind(SlotKind),
    /// Slots, but not the one that was asked for.
    #[error("the vault has no key slot {0}; keepfs key list shows those it has")]
    NoSuchSlot(SlotId),
    /// What was offered opens no slot that was tried. No hint more.
    #[error("wrong {kind}{}", untried(.skipped.as_ref(), *.odd))]
    WrongCredential {
        /// What was offered.
        kind: SlotKind,
        /// Why some slots were not tried, if some were not.
        skipped: Option<KdfError>,
        /// How many entries of `keepfs.slots` are no slots.
        odd: usize,
    },
    /// The best explanation a slot gave: it opened and is damaged, or its cost
    /// is out of bounds.
    #[error(transparent)]
    Slot(SlotError),
}

/// What else may be wrong, where a credential opened nothing.
fn untried(skipped: Option<&KdfError>, odd: usize) -> String {
    let mut words = String::new();
    if let Some(why) = skipped {
        words.push_str(&format!("; a key slot was not tried: {why}"));
    }
    if odd > 0 {
        words.push_str("; keepfs key list names what is wrong among the key slots");
    }
    words
}

/// A master key, and the slot that gave it.
pub struct OpenedSlot {
    /// The key.
    pub master: MasterKey,
    /// The slot.
    pub slot: SlotId,
}

/// What `keepfs.slots` holds.
#[derive(Debug, Default)]
pub(in crate::vault) struct KeySlots {
    /// The valid slots, by id.
    pub(in crate::vault) slots: Vec<StoredSlot>,
    /// Everything else, by name.
    pub(in crate::vault) odd: Vec<OddSlot>,
}

impl KeySlots {
    /// Reads the directory of slots in a vault's root; one that is missing
    /// holds nothing.
    pub(in crate::vault) fn read(root: &StoreDir, vault: VaultId) -> io::Result<Self> {
        match root.open_slots() {
            Ok(dir) => Self::read_dir(&dir, vault),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(Self::default()),
            Err(error) => Err(error),
        }
    }

    fn read_dir(dir: &StoreDir, vault: VaultId) -> io::Result<Self> {
        let mut found = Self::default();
        for name in names(dir)? {
            match read_slot(dir, &name, vault) {
                Ok(slot) => found.slots.push(slot),
                Err(why) => found.odd.push(OddSlot { name, why }),
            }
        }
        let copies: Vec<(usize, OddSlotReason)> = found
            .odd
            .iter()
            .enumerate()
            .filter_map(|(at, odd)| {
                let of = copied_slot(&odd.name)?;
                let standing = standing(dir, &odd.name, of, vault, &found);
                Some((at, OddSlotReason::ConflictCopy { of, standing }))
            })
            .collect();
        for (at, why) in copies {
            found.odd[at].why = why;
        }
        Ok(found)
    }

    pub(in crate::vault) fn find(&self, id: SlotId) -> Option<&StoredSlot> {
        self.slots.iter().find(|stored| stored.slot.id() == id)
    }

    /// Tries slots one after the other, at most [`MAX_SLOTS`].
    pub(in crate::vault) fn open(
        &self,
        vault: &VaultFile,
        credential: &Credential,
        caps: &KdfCaps,
        choice: SlotChoice,
    ) -> Result<OpenedSlot, UnlockError> {
        if self.slots.is_empty() {
            return Err(UnlockError::NoSlots);
        }
        let (chosen, skipped) = self.chosen(credential.kind(), caps, choice)?;
        let mut best: Option<SlotError> = None;
        for slot in chosen {
            match slot.unwrap(vault, credential, caps) {
                Ok(master) => {
                    let slot = slot.id();
                    return Ok(OpenedSlot { master, slot });
                }
                Err(error) => {
                    if best.as_ref().is_none_or(|best| tells(&error) > tells(best)) {
                        best = Some(error);
                    }
                }
            }
        }
        Err(match (best, skipped) {
            (None, None) => UnlockError::NoSlotOfKind(credential.kind()),
            (None, Some(why)) => UnlockError::Slot(why.into()),
            (Some(SlotError::WrongKey), skipped) => UnlockError::WrongCredential {
                kind: credential.kind(),
                skipped,
                odd: self.odd.len(),
            },
            (Some(error), _) => UnlockError::Slot(error),
        })
    }

    /// The slots to be tried, in their order, and why one that takes what is
    /// offered is not among them. What costs too much or too little is left
    /// out before the slots are counted: it costs nothing to plant.
    fn chosen(
        &self,
        kind: SlotKind,
        caps: &KdfCaps,
        choice: SlotChoice,
    ) -> Result<(Vec<&Slot>, Option<KdfError>), UnlockError> {
        if let SlotChoice::Only(id) = choice {
            let stored = self.find(id).ok_or(UnlockError::NoSuchSlot(id))?;
            return Ok((vec![&stored.slot], None));
        }
        let mut skipped = None;
        let mut chosen = Vec::new();
        for stored in self.slots.iter().filter(|s| s.slot.kind() == kind) {
            match affordable(&stored.slot, caps) {
                Ok(()) => chosen.push(&stored.slot),
                Err(why) => skipped = Some(why),
            }
        }
        // Stable: the others keep their order.
        match choice {
            SlotChoice::First(id) => chosen.sort_by_key(|slot| slot.id() != id),
            SlotChoice::Last(id) => chosen.sort_by_key(|slot| slot.id() == id),
            SlotChoice::Any | SlotChoice::Only(_) => {}
        }
        chosen.truncate(MAX_SLOTS);
        Ok((chosen, skipped))
    }
}

/// Whether the cost of a slot is within all bounds.
fn affordable(slot: &Slot, caps: &KdfCaps) -> Result<(), KdfError> {
    let Some(cost) = slot.cost() else {
        return Ok(());
    };
    cost.check_caps(caps)?;
    cost.check_floor()
}

/// The names in the directory, sorted.
fn names(dir: &StoreDir) -> io::Result<Vec<RawName>> {
    let mut names = Vec::new();
    dir.scan(|entry| {
        names.push(entry.name);
        if names.len() > MAX_SLOT_FILES {
            return ControlFlow::Break(());
        }
        ControlFlow::Continue(())
    })?;
    if names.len() > MAX_SLOT_FILES {
        return Err(io::Error::other(format!(
            "it has more than {MAX_SLOT_FILES} entries, which no honest vault has"
        )));
    }
    names.sort();
    Ok(names)
}

fn read_slot(dir: &StoreDir, name: &RawName, vault: VaultId) -> Result<StoredSlot, OddSlotReason> {
    let Some(id) = slot_of_file(name) else {
        return Err(strange(dir, name));
    };
    let stat = dir.stat(name).map_err(OddSlotReason::Unreadable)?;
    let bytes = dir.read_internal(Internal::Slot(id)).map_err(unreadable)?;
    let slot = Slot::parse(&bytes).map_err(OddSlotReason::Malformed)?;
    if slot.id() != id {
        return Err(OddSlotReason::OtherSlot(slot.id()));
    }
    if slot.vault_id() != vault {
        return Err(OddSlotReason::ForeignVault(slot.vault_id()));
    }
    Ok(StoredSlot {
        slot,
        modified: stat.mtime,
    })
}

/// What is wrong with an entry whose name is not a slot's.
fn strange(dir: &StoreDir, name: &RawName) -> OddSlotReason {
    let kind = dir.stat(name).map(|stat| stat.kind());
    match kind {
        Ok(Some(FileKind::Regular)) if is_temporary(name) => OddSlotReason::Temporary,
        Ok(_) => OddSlotReason::Name,
        Err(error) => OddSlotReason::Unreadable(error),
    }
}

fn unreadable(error: io::Error) -> OddSlotReason {
    if is_not_regular(&error) {
        OddSlotReason::NotRegular
    } else {
        OddSlotReason::Unreadable(error)
    }
}

/// The slot that `name` is a conflict copy of, by its form: 32 hexadecimal
/// digits and something else than the ending of a slot's name behind them.
fn copied_slot(name: &RawName) -> Option<SlotId> {
    let (digits, rest) = name.bytes().split_at_checked(32)?;
    let whole = [digits, SLOT_SUFFIX.as_bytes()].concat();
    let of = slot_of_file(&RawName::new(&whole))?;
    let is_other = rest.first().is_some_and(|b| !b.is_ascii_alphanumeric());
    (is_other && rest != SLOT_SUFFIX.as_bytes()).then_some(of)
}

fn standing(
    dir: &StoreDir,
    name: &RawName,
    of: SlotId,
    vault: VaultId,
    slots: &KeySlots,
) -> CopyStanding {
    let Ok(bytes) = dir.read_slot_copy(name) else {
        return CopyStanding::Unreadable;
    };
    let copy = match Slot::parse(&bytes) {
        Ok(copy) => Some(copy),
        Err(SlotError::UnknownVersion(_) | SlotError::UnknownKind(_)) => {
            return CopyStanding::Newer;
        }
        Err(_) => None,
    };
    let copy = copy.filter(|copy| copy.id() == of);
    if copy.as_ref().is_some_and(|copy| copy.vault_id() != vault) {
        return CopyStanding::Foreign;
    }
    let file = RawName::new(slot_file_name(of).as_bytes());
    match (copy, slots.find(of)) {
        (Some(copy), Some(stored)) if copy == stored.slot => CopyStanding::Same,
        (Some(_), Some(_)) => CopyStanding::Differs,
        (None, Some(_)) => CopyStanding::Damaged,
        (Some(_), None) if slots.odd.iter().any(|odd| odd.name == file) => CopyStanding::Whole,
        (Some(_), None) => CopyStanding::Alone,
        (None, None) => CopyStanding::Lost,
    }
}

/// How much an error says about a credential: a slot it opened and that is
/// damaged, before one it does not open, before one that was not tried.
fn tells(error: &SlotError) -> u8 {
    match error {
        SlotError::NotAuthentic
        | SlotError::FingerprintMismatch
        | SlotError::VaultFileChanged(_) => 2,
        SlotError::WrongKey => 1,
        SlotError::Kdf(_)
        | SlotError::ForeignVault(_)
        | SlotError::KindMismatch { .. }
        | SlotError::BadLength { .. }
        | SlotError::BadMagic
        | SlotError::UnknownVersion(_)
        | SlotError::UnknownKind(_)
        | SlotError::ReservedNotZero
        | SlotError::BadLabel
        | SlotError::Random(_) => 0,
    }
}

#[cfg(test)]
mod tests;
