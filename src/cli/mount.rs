//! `keepfs mount`, and the daemon it starts.

use std::io;

use anyhow::Context;

use super::args::MountArgs;
use super::exit::{self, Exit};
use super::unlock::{self, Ask};
use super::{complain, log, message, plan};
use crate::codec::vault::SlotError;
use crate::mount::daemon;
use crate::mount::launch::{self, StartReport};
use crate::sys::process::{self, EndSignals, InheritedHangup};
use crate::vault::{LockedVault, OddSlotReason, VaultInfo};

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
    drop(locked);
    let vault = std::fs::canonicalize(&words.vault).with_context(failed)?;
    let plan = plan::plan(vault, &words, &options)?;
    if words.fake {
        return Ok(());
    }
    let foreground = words.foreground;
    let source = plan::passphrase_source(words.passphrase, &options);
    process::forbid_dumps()?;
    let passphrase = unlock::passphrase(&source, Ask::Once)?;
    if foreground {
        let signals = EndSignals::block(InheritedHangup::Respect)?;
        return Ok(daemon::serve(&plan, passphrase, signals, || Ok(()))?);
    }
    Ok(launch::start(&plan, passphrase)?)
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
    /// Slots, but none is whole; what is wrong with the first.
    #[error(
        "none of its key slots is whole ({0}); copy keepfs.slots from a backup or another device"
    )]
    AllBad(String),
}

/// Refuses a vault that no passphrase can open, before anybody types one.
fn check_slots(info: &VaultInfo<'_>) -> Result<(), SlotsError> {
    if !info.slots.is_empty() {
        return Ok(());
    }
    let newer = |why: &OddSlotReason| {
        matches!(
            why,
            OddSlotReason::Malformed(SlotError::UnknownVersion(_) | SlotError::UnknownKind(_))
        )
    };
    match info.odd {
        [] => Err(SlotsError::None),
        odd if odd.iter().any(|slot| newer(&slot.why)) => Err(SlotsError::AllNewer),
        [first, ..] => Err(SlotsError::AllBad(first.why.to_string())),
    }
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
    let (plan, passphrase) = launch::receive(launch::unbuffered_stdin()?)?;
    process::leave_terminal()?;
    process::take_name(c"keepfs")?;
    let announce = || -> io::Result<()> {
        launch::report(&StartReport::Ready)?;
        *announced = true;
        log::move_to_syslog();
        process::release_stdio()
    };
    Ok(daemon::serve(&plan, passphrase, signals, announce)?)
}
