//! `keepfs mount`, and the daemon it starts.

use std::io;

use anyhow::Context;

use super::args::MountArgs;
use super::exit::{self, Exit};
use super::progress::Waiting;
use super::{complain, log, message, plan, remember, unlock};
use crate::codec::vault::SlotError;
use crate::mount::daemon;
use crate::mount::launch::{self, StartReport};
use crate::sys::process::{self, EndSignals, InheritedHangup};
use crate::types::{SlotId, VaultId};
use crate::vault::slots::CopyStanding;
use crate::vault::{LockedVault, OddSlot, OddSlotReason, VaultInfo};

/// `keepfs mount`
///
/// # Errors
/// Whatever keeps the mount from coming to be; with `--foreground` also how
/// it ended.
pub fn run(words: MountArgs) -> anyhow::Result<()> {
    let options = plan::options(&words)?;
    // Everything that can be wrong without the passphrase comes first.
    let failed = || format!("cannot open the vault {}", words.vault.display());
    let locked = LockedVault::open(&words.vault).with_context(failed)?;
    check_slots(&locked.info()).with_context(failed)?;
    let vault = std::fs::canonicalize(&words.vault).with_context(failed)?;
    let (foreground, fake) = (words.foreground, words.fake);
    let unlock = plan::unlock_words(words.unlock.clone(), &options);
    let choice = unlock::choice(&unlock, &locked).with_context(failed)?;
    let plan = plan::plan(vault, &words, &options, choice)?;
    if fake {
        return Ok(());
    }
    process::forbid_dumps()?;
    let credential = unlock::credential(&unlock, &words.vault, &locked, choice)?;
    let vault_id = locked.info().description.vault_id();
    drop(locked);
    if foreground {
        let signals = EndSignals::block(InheritedHangup::Respect)?;
        let waiting = Waiting::begin("Unlocking");
        return Ok(daemon::serve(&plan, credential, signals, |slot| {
            drop(waiting);
            remember::store(vault_id, slot);
            Ok(())
        })?);
    }
    let waiting = Waiting::begin("Unlocking");
    let slot = launch::start(&plan, &credential)?;
    drop(waiting);
    remember::store(vault_id, slot);
    Ok(())
}

/// Why no passphrase can open a vault.
#[derive(Debug, thiserror::Error)]
pub enum SlotsError {
    /// No slot at all.
    #[error(
        "it has no key slots; without one nothing opens it: copy keepfs.slots from a backup or another device"
    )]
    None,
    /// Slots, but each is of a later version.
    #[error("its key slots need a newer keepfs")]
    AllNewer,
    /// Slots, but each is another vault's: `keepfs.vault` is the wrong one.
    #[error(
        "its key slots belong to another vault ({0}): keepfs.vault was changed or exchanged; copy it from a backup or another device"
    )]
    AllForeign(VaultId),
    /// No slot, but copies that a sync client made of one.
    #[error(
        "its key slots are missing or damaged, and a sync client left whole copies; keepfs key tidy --yes puts them back"
    )]
    OnlyCopies,
    /// Slots, but none is whole; what is wrong with the first.
    #[error(
        "none of its key slots is whole ({0}); copy keepfs.slots from a backup or another device"
    )]
    AllBad(String),
}

/// Refuses a vault that nothing can open, before anybody types a passphrase.
pub(super) fn check_slots(info: &VaultInfo<'_>) -> Result<(), SlotsError> {
    if !info.slots.is_empty() {
        return Ok(());
    }
    let newer = |odd: &OddSlot| {
        matches!(
            odd.why,
            OddSlotReason::Malformed(SlotError::UnknownVersion(_) | SlotError::UnknownKind(_))
        )
    };
    let restorable = |odd: &OddSlot| {
        matches!(
            odd.why,
            OddSlotReason::ConflictCopy {
                standing: CopyStanding::Alone | CopyStanding::Whole,
                ..
            }
        )
    };
    let foreign = |odd: &OddSlot| {
        if let OddSlotReason::ForeignVault(id) = odd.why {
            Some(id)
        } else {
            None
        }
    };
    let Some(first) = info.odd.first() else {
        return Err(SlotsError::None);
    };
    Err(if info.odd.iter().any(newer) {
        SlotsError::AllNewer
    } else if info.odd.iter().any(restorable) {
        SlotsError::OnlyCopies
    } else if let Some(id) = info.odd.iter().find_map(foreign) {
        SlotsError::AllForeign(id)
    } else {
        SlotsError::AllBad(first.why.to_string())
    })
}

/// The process that [`launch::start`] starts: the plan on standard input, the
/// report on standard output.
#[must_use]
pub fn daemon() -> Exit {
    let mut announced = false;
    match serve(&mut announced) {
        Ok(()) => Exit::Done,
        Err(error) => {
            let exit = exit::of(&error);
            let report = StartReport::Failed {
                code: exit.code(),
                message: message(&error),
            };
            // After the announcement the log has it already, and before it
            // only a caller that is gone cannot be told.
            if !announced && launch::report(&report).is_err() {
                complain(&error);
            }
            exit
        }
    }
}

fn serve(announced: &mut bool) -> anyhow::Result<()> {
    process::forbid_dumps()?;
    let signals = EndSignals::block(InheritedHangup::Override)?;
    let (plan, credential) = launch::receive(launch::unbuffered_stdin()?)?;
    process::leave_terminal()?;
    process::take_name(c"keepfs")?;
    let announce = |slot: SlotId| -> io::Result<()> {
        launch::report(&StartReport::Ready { slot })?;
        *announced = true;
        log::move_to_syslog();
        process::release_stdio()
    };
    Ok(daemon::serve(&plan, credential, signals, announce)?)
}
