//! What goes: `keepfs key remove`, `tidy`.

use std::io::{self, IsTerminal};

use anyhow::Context;

use super::KeyError;
use crate::cli::args::UnlockArgs;
use crate::cli::args::key::{RemoveArgs, TidyArgs};
use crate::cli::{print, say, slots, unlock};
use crate::mount::table::printable;
use crate::vault::slots::TidyStep;
use crate::vault::{LockedVault, SlotEditor};

/// `keepfs key remove`
///
/// # Errors
/// Whatever keeps the key from being removed; nothing was changed then.
pub fn remove(words: &RemoveArgs) -> anyhow::Result<()> {
    let vault = super::open(&words.vault)?;
    let mut editor = vault.edit_slots()?;
    let id = slots::pick(&words.id, editor.slots())?;
    editor.check_removable(id)?;
    if !words.yes {
        let digits = id.to_string();
        let mut shown = String::from("This key goes, the others stay:\n");
        for line in slots::table(editor.slots()) {
            let mark = if line.starts_with(&digits) { '-' } else { ' ' };
            shown.push_str(&format!("  {mark} {line}\n"));
        }
        say(&shown)?;
    }
    let asks = !words.yes && io::stdin().is_terminal();
    if asks || says_how(&words.unlock) {
        if asks {
            say("To be sure that a key is left, open the vault with one that stays.\n")?;
        }
        let unlocked = unlock::open(&words.unlock, &words.vault, &vault)?;
        if unlocked.opened.slot == id {
            return Err(KeyError::WouldLockOut.into());
        }
    }
    if !words.yes {
        super::confirm("Remove it?")?;
    }
    editor.remove(id, vault.info().description)?;
    print(&format!(
        "Removed the key slot {id}.\n\
         Whoever kept a copy of its file, as the vault's provider may have, and has the secret\n\
         it takes can still open the vault. If that secret got out, make a new vault (keepfs\n\
         init), copy the files over and delete this one.\n"
    ))
}

/// Whether the words name a way to open the vault.
fn says_how(words: &UnlockArgs) -> bool {
    words.passphrase.names_a_source() || words.keyfile.is_some() || words.recovery
}

/// `keepfs key tidy`
///
/// # Errors
/// Something could not be changed, or is left that a person has to look at.
pub fn tidy(words: &TidyArgs) -> anyhow::Result<()> {
    let vault = LockedVault::open(&words.vault).with_context(|| {
        let vault = printable(words.vault.as_os_str());
        format!("cannot open the vault {vault}")
    })?;
    let editor = vault.edit_slots()?;
    let mut text = String::new();
    let (mut done, mut left) = (0usize, 0usize);
    for odd in editor.odd() {
        let step = SlotEditor::tidy_step(odd);
        let will = match (step, words.yes) {
            (TidyStep::Leave, _) => "left for you to look at",
            (TidyStep::Remove, true) => "removed",
            (TidyStep::Remove, false) => "would be removed",
            (TidyStep::Restore(_), true) => "put back in its place",
            (TidyStep::Restore(_), false) => "would be put back in its place",
        };
        if words.yes {
            editor.tidy(&odd.name, step)?;
        }
        match step {
            TidyStep::Leave => left += 1,
            TidyStep::Remove | TidyStep::Restore(_) => done += 1,
        }
        text.push_str(&format!("{}: {} ({will})\n", slots::name(odd), odd.why));
    }
    if text.is_empty() {
        text.push_str("keepfs.slots holds nothing but key slots.\n");
    } else if done > 0 && !words.yes {
        text.push_str("Nothing was changed; --yes does it.\n");
    }
    print(&text)?;
    match left {
        0 => Ok(()),
        1 => Err(KeyError::Odd("one entry".to_owned()).into()),
        many => Err(KeyError::Odd(format!("{many} entries")).into()),
    }
}
