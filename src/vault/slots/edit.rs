//! Changing the slots of a vault, one process of this machine at a time.

use std::io;

use super::{CopyStanding, KeySlots, MAX_SLOTS, OddSlot, OddSlotReason, StoredSlot};
use crate::codec::vault::{SlotImage, VaultFile};
use crate::name::RawName;
use crate::store::StoreDir;
use crate::sys::fs::{DirLock, FileLock};
use crate::types::SlotId;

/// The right to change a vault's slots; nobody else on this machine has it
/// meanwhile. Other devices may change theirs: they touch other files.
pub struct SlotEditor {
    dir: StoreDir,
    slots: KeySlots,
    _lock: Option<DirLock>,
}

/// Why the slots were not changed.
#[derive(Debug, thiserror::Error)]
pub enum SlotEditError {
    /// Another process changes them.
    #[error("another keepfs is changing the vault's keys; try again when it is done")]
    Busy,
    /// There is no slot of that id.
    #[error("the vault has no key slot {0}; keepfs key list shows those it has")]
    NoSuchSlot(SlotId),
    /// Without it nothing opens the vault.
    #[error("{0} is the vault's last key slot; without it nobody could ever open the vault")]
    LastSlot(SlotId),
    /// The key that was to stay has gone meanwhile.
    #[error("the key slot {0}, which was to stay, has disappeared meanwhile; nothing was removed")]
    ProofGone(SlotId),
    /// It has as many as are tried.
    #[error("the vault has {MAX_SLOTS} key slots, and more are never tried; remove one first")]
    Full,
    /// The backing failed.
    #[error("keepfs.slots cannot be changed: {0}")]
    Backing(#[from] io::Error),
}

/// What tidying does about one odd entry.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TidyStep {
    /// It is of no use, and goes.
    Remove,
    /// It takes the place of the slot that is missing.
    Restore(SlotId),
    /// It takes the place of the slot that is damaged, which takes its name.
    Exchange(SlotId),
    /// A person has to look at it.
    Leave,
}

impl SlotEditor {
    /// Takes the lock, which goes with the editor or the process, and reads
    /// the slots. Where the backing has no locks there is none.
    ///
    /// # Errors
    /// [`SlotEditError::Busy`]; the backing's.
    pub(in crate::vault) fn open(
        root: &StoreDir,
        vault: &VaultFile,
    ) -> Result<Self, SlotEditError> {
        let dir = root.open_slots()?;
        let lock = match dir.try_lock()? {
            (FileLock::Busy, _) => return Err(SlotEditError::Busy),
            (FileLock::Held, lock) => Some(lock),
            (FileLock::Unsupported, _) => None,
        };
        let slots = KeySlots::read_dir(&dir, vault.vault_id())?;
        Ok(Self {
            dir,
            slots,
            _lock: lock,
        })
    }

    /// The valid slots, by id.
    #[must_use]
    pub fn slots(&self) -> &[StoredSlot] {
        &self.slots.slots
    }

    /// Everything else in the directory, by name.
    #[must_use]
    pub fn odd(&self) -> &[OddSlot] {
        &self.slots.odd
    }

    /// Whether another slot can be added. Slots that are never tried, since
    /// they cost too much or too little anywhere, do not count.
    ///
    /// # Errors
    /// [`SlotEditError::Full`].
    pub fn check_room(&self) -> Result<(), SlotEditError> {
        let usable = |stored: &&StoredSlot| {
            stored
                .slot
                .cost()
                .is_none_or(|cost| cost.check_format_caps().is_ok() && cost.check_floor().is_ok())
        };
        if self.slots.slots.iter().filter(usable).count() >= MAX_SLOTS {
            return Err(SlotEditError::Full);
        }
        Ok(())
    }

    /// Puts a new slot in place. Durable once this returns; no other file is
    /// touched.
    ///
    /// # Errors
    /// The backing's: then there is no new slot, unless only the last step
    /// failed, which makes it durable.
    pub fn add(&mut self, image: &SlotImage) -> Result<(), SlotEditError> {
        Ok(self.dir.add_slot(image.id(), image.sealed())?)
    }

    /// Takes a slot away again that was just added and is of no use.
    ///
    /// # Errors
    /// The backing's.
    pub fn take_back(&mut self, image: &SlotImage) -> Result<(), SlotEditError> {
        Ok(self.dir.remove_slot(image.id())?)
    }

    /// Whether a slot is there and not the last one.
    ///
    /// # Errors
    /// [`SlotEditError::NoSuchSlot`], [`SlotEditError::LastSlot`].
    pub fn check_removable(&self, id: SlotId) -> Result<(), SlotEditError> {
        if self.slots.find(id).is_none() {
            return Err(SlotEditError::NoSuchSlot(id));
        }
        if self.slots.slots.len() == 1 {
            return Err(SlotEditError::LastSlot(id));
        }
        Ok(())
    }

    /// Removes a slot for good, durably, and every copy of it that a sync
    /// client made. `stays` is a slot that is known to open the vault.
    ///
    /// # Errors
    /// As of [`Self::check_removable`]; [`SlotEditError::ProofGone`]; the
    /// backing's.
    pub fn remove(
        &mut self,
        id: SlotId,
        stays: Option<SlotId>,
        vault: &VaultFile,
    ) -> Result<(), SlotEditError> {
        // As it is now, with what was added here and what sync brought.
        self.reread(vault)?;
        self.check_removable(id)?;
        if let Some(stays) = stays
            && self.slots.find(stays).is_none()
        {
            return Err(SlotEditError::ProofGone(stays));
        }
        self.dir.remove_slot(id)?;
        self.slots.slots.retain(|stored| stored.slot.id() != id);
        // A copy would bring the removed key back.
        let copies = self.slots.odd.iter().filter(|odd| {
            matches!(
                odd.why,
                OddSlotReason::ConflictCopy {
                    of,
                    standing: CopyStanding::Same,
                } if of == id
            )
        });
        for copy in copies {
            self.dir.unlink(&copy.name)?;
        }
        Ok(self.dir.sync()?)
    }

    /// Looks at the directory again.
    ///
    /// # Errors
    /// The backing's.
    pub fn reread(&mut self, vault: &VaultFile) -> Result<(), SlotEditError> {
        self.slots = KeySlots::read_dir(&self.dir, vault.vault_id())?;
        Ok(())
    }

    /// What tidying would do about an odd entry. Nothing that might still be
    /// needed is ever removed, and a slot that is missing, perhaps since
    /// somebody removed it, comes back only if nothing else opens the vault or
    /// if it is the one to `restore`.
    #[must_use]
    pub fn tidy_step(&self, odd: &OddSlot, restore: Option<SlotId>) -> TidyStep {
        match odd.why {
            OddSlotReason::Temporary => TidyStep::Remove,
            OddSlotReason::ConflictCopy { of, standing } => match standing {
                CopyStanding::Same | CopyStanding::Damaged => TidyStep::Remove,
                CopyStanding::Whole => TidyStep::Exchange(of),
                CopyStanding::Alone if self.slots.slots.is_empty() || restore == Some(of) => {
                    TidyStep::Restore(of)
                }
                CopyStanding::Alone
                | CopyStanding::Differs
                | CopyStanding::Lost
                | CopyStanding::Foreign
                | CopyStanding::Newer
                | CopyStanding::Unreadable => TidyStep::Leave,
            },
            OddSlotReason::Name
            | OddSlotReason::NotRegular
            | OddSlotReason::OtherSlot(_)
            | OddSlotReason::ForeignVault(_)
            | OddSlotReason::Malformed(_)
            | OddSlotReason::Unreadable(_) => TidyStep::Leave,
        }
    }

    /// Does it, durably.
    ///
    /// # Errors
    /// The backing's; `EEXIST` if the slot came back meanwhile.
    pub fn tidy(&self, name: &RawName, step: TidyStep) -> Result<(), SlotEditError> {
        match step {
            TidyStep::Remove => {
                self.dir.unlink(name)?;
                self.dir.sync()?;
            }
            TidyStep::Restore(id) => self.dir.restore_slot(name, id)?,
            TidyStep::Exchange(id) => self.dir.exchange_slot(name, id)?,
            TidyStep::Leave => {}
        }
        Ok(())
    }
}
