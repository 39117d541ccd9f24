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

use crate::codec::entry::{SLOT_SUFFIX, slot_of_file};
use crate::codec::kdf::KdfCaps;
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
    /// The slot is not there; the copy is whole and could take its place.
    Alone,
    /// The slot is there and the copy is damaged.
    Damaged,
    /// The slot is there, and the copy says something else.
    Differs,
    /// Neither is whole.
    Lost,
}

impl std::fmt::Display for CopyStanding {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::Same => "the same, to the byte",
            Self::Alone => "whole, and the slot itself is missing",
            Self::Damaged => "damaged, and the slot itself is whole",
            Self::Differs => "whole, and different; a slot never changes, so one was forged",
            Self::Lost => "damaged, and the slot itself is missing",
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
    /// What was offered opens no slot. No hint more.
    #[error("wrong {0}")]
    WrongCredential(SlotKind),
    /// The best explanation a slot gave: it opened and is damaged, or its cost
    /// is out of bounds.
    #[error(transparent)]
    Slot(SlotError),
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
        for odd in &mut found.odd {
            if let Some(of) = copied_slot(&odd.name) {
                let standing = standing(dir, &odd.name, of, &found.slots)?;
                odd.why = OddSlotReason::ConflictCopy { of, standing };
            }
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
        let mut best: Option<SlotError> = None;
        for slot in self.chosen(credential.kind(), choice)? {
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
        Err(match best {
            None => UnlockError::NoSlotOfKind(credential.kind()),
            Some(SlotError::WrongKey) => UnlockError::WrongCredential(credential.kind()),
            Some(error) => UnlockError::Slot(error),
        })
    }

    /// The slots to be tried, in their order.
    fn chosen(&self, kind: SlotKind, choice: SlotChoice) -> Result<Vec<&Slot>, UnlockError> {
        if let SlotChoice::Only(id) = choice {
            let stored = self.find(id).ok_or(UnlockError::NoSuchSlot(id))?;
            return Ok(vec![&stored.slot]);
        }
        let fitting = |stored: &&StoredSlot| stored.slot.kind() == kind;
        let mut chosen: Vec<&Slot> = self
            .slots
            .iter()
            .filter(fitting)
            .map(|stored| &stored.slot)
            .collect();
        if let SlotChoice::First(id) = choice {
            // Stable: the others keep their order.
            chosen.sort_by_key(|slot| slot.id() != id);
        }
        chosen.truncate(MAX_SLOTS);
        Ok(chosen)
    }
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
    slots: &[StoredSlot],
) -> io::Result<CopyStanding> {
    let copy = dir.read_slot_copy(name).unwrap_or_default();
    let whole = Slot::parse(&copy).is_ok_and(|slot| slot.id() == of);
    Ok(match slots.iter().any(|stored| stored.slot.id() == of) {
        true if !whole => CopyStanding::Damaged,
        true if dir.read_internal(Internal::Slot(of))? == copy => CopyStanding::Same,
        true => CopyStanding::Differs,
        false if whole => CopyStanding::Alone,
        false => CopyStanding::Lost,
    })
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
