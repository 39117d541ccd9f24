//! `keepfs key`: every way into a vault.
//!
//! | file | what it holds |
//! |---|---|
//! | this file | `list`, `generate-file`, and what the others share |
//! | [`add`] | `add`, `change`, `split`: new keys |
//! | [`remove`] | `remove`, `tidy`: what goes |

pub mod add;
pub mod remove;

use std::io::{self, IsTerminal};
use std::path::Path;

use anyhow::Context;
use serde::Serialize;

use super::args::KeyCommand;
use super::args::key::{GenerateFileArgs, ListArgs};
use super::passphrase::stdin_line;
use super::slots::{self, InvalidReport, SlotReport};
use super::{key_file, mount};
use crate::mount::table::printable;
use crate::sys::process;
use crate::vault::LockedVault;

/// Why a command about keys was not carried out.
#[derive(Debug, thiserror::Error)]
pub enum KeyError {
    /// The key that opened the vault cannot be renewed without being told how.
    #[error("a {0} is not typed anew; say what replaces it: --new-passfile, --new-keyfile, ...")]
    NewKeyUnsaid(crate::codec::vault::SlotKind),
    /// A person said no.
    #[error("not confirmed; nothing was changed")]
    NotConfirmed,
    /// There is no person.
    #[error("there is no terminal to ask on; --yes confirms")]
    NobodyToAsk,
    /// The key that was shown to be at hand is the one that should go.
    #[error("the key that was given is the very one to be removed; give one that stays")]
    WouldLockOut,
    /// Something in `keepfs.slots` is not a slot.
    #[error("not exactly a key slot of this vault: {0} in keepfs.slots")]
    Odd(String),
    /// Some of the steps of tidying failed; the others were taken.
    #[error("{0} of the entries in keepfs.slots could not be changed")]
    NotTidied(usize),
}

/// `keepfs key ...`
///
/// # Errors
/// Whatever kept it from being carried out.
pub fn run(command: KeyCommand) -> anyhow::Result<()> {
    process::forbid_dumps()?;
    match command {
        KeyCommand::List(words) => list(&words),
        KeyCommand::Add(words) => add::add(&words),
        KeyCommand::Change(words) => add::change(&words),
        KeyCommand::Remove(words) => remove::remove(&words),
        KeyCommand::Split(words) => add::split(&words),
        KeyCommand::GenerateFile(words) => generate_file(&words),
        KeyCommand::Tidy(words) => remove::tidy(&words),
    }
}

/// Opens a vault's directory, whose keys are about to be changed.
fn open(path: &Path) -> anyhow::Result<LockedVault> {
    let failed = || format!("cannot open the vault {}", printable(path.as_os_str()));
    let locked = LockedVault::open(path).with_context(failed)?;
    mount::check_slots(&locked.info()).with_context(failed)?;
    Ok(locked)
}

/// What `list --json` prints. Fields are added, never changed.
#[derive(Serialize)]
struct ListReport {
    slots: Vec<SlotReport>,
    /// Entries of `keepfs.slots` that are no valid slot.
    invalid: Vec<InvalidReport>,
}

fn list(words: &ListArgs) -> anyhow::Result<()> {
    let locked = LockedVault::open(&words.vault).with_context(|| {
        let vault = printable(words.vault.as_os_str());
        format!("cannot open the vault {vault}")
    })?;
    let info = locked.info();
    let report = ListReport {
        slots: info.slots.iter().map(SlotReport::new).collect(),
        invalid: info.odd.iter().map(InvalidReport::new).collect(),
    };
    if words.json {
        super::print_json(&report)?;
    } else {
        let invalid = report.invalid.iter().map(InvalidReport::line);
        let lines: Vec<String> = slots::table(info.slots)
            .into_iter()
            .chain(invalid)
            .collect();
        super::print(&format!("{}\n", lines.join("\n")))?;
    }
    match info.odd.len() {
        0 if info.slots.is_empty() => Ok(mount::check_slots(&info)?),
        0 => Ok(()),
        1 => Err(KeyError::Odd("one entry".to_owned()).into()),
        many => Err(KeyError::Odd(format!("{many} entries")).into()),
    }
}

fn generate_file(words: &GenerateFileArgs) -> anyhow::Result<()> {
    key_file::generate(&words.file)?;
    let file = printable(words.file.as_os_str());
    super::print(&format!(
        "Made the key file {file}.\n\
         Whoever has it has the key, and without it the key is lost: keep a copy, and\n\
         keep it away from the vault's provider.\n\
         Add it to a vault with:  keepfs key add --new-keyfile {file} VAULT\n"
    ))
}

/// Asks the person at the terminal for a yes.
fn confirm(question: &str) -> anyhow::Result<()> {
    if !io::stdin().is_terminal() {
        return Err(KeyError::NobodyToAsk.into());
    }
    super::say(&format!("{question} Type yes to go on: "))?;
    if stdin_line()?.is_some_and(|line| line.eq_ignore_ascii_case(b"yes")) {
        Ok(())
    } else {
        Err(KeyError::NotConfirmed.into())
    }
}
