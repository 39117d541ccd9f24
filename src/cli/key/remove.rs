//! What goes: `keepfs key remove`, `tidy`.

use std::io::{self, IsTerminal};

use anyhow::Context;

use super::KeyError;
use crate::cli::args::UnlockArgs;
use crate::cli::args::key::{RemoveArgs, TidyArgs};
use crate::cli::{print, say, slots, unlock};
use crate::mount::table::printable;
use crate::name::RawName;
use crate::vault::slots::TidyStep;
use crate::vault::{LockedVault, SlotChoice};

/// `keepfs key remove`
///
/// # Errors
/// Whatever keeps the key from being removed; nothing was changed then.
pub fn remove(words: &RemoveArgs) -> anyhow::Result<()> {
    let mut vault = super::open(&words.vault)?;
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
    let mut stays = None;
    if asks || says_how(&words.unlock) {
        if asks {
            say("To be sure that a key is left, open the vault with one that stays.\n")?;
        }
        // The key that goes is tried last: the same secret may open another.
        let choice = match unlock::choice(&words.unlock, &vault)? {
            only @ SlotChoice::Only(_) => only,
            SlotChoice::Any | SlotChoice::First(_) | SlotChoice::Last(_) => SlotChoice::Last(id),
        };
        let unlocked = unlock::open(&words.unlock, &words.vault, &vault, choice)?;
        if unlocked.opened.slot == id {
            return Err(KeyError::WouldLockOut.into());
        }
        stays = Some(unlocked.opened.slot);
    }
    if !words.yes {
        super::confirm("Remove it?")?;
    }
    editor.remove(id, stays, vault.info().description)?;
    let proof = match stays {
        Some(stays) => format!("The key slot {stays} opens the vault.\n"),
        None => "That one of the others opens the vault was not tried.\n".to_owned(),
    };
    print(&format!(
        "Removed the key slot {id}. {proof}\
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
    let mut vault = LockedVault::open(&words.vault).with_context(|| {
        let vault = printable(words.vault.as_os_str());
        format!("cannot open the vault {vault}")
    })?;
    let mut editor = vault.edit_slots()?;
    let (mut would, mut left, mut failed) = (false, 0usize, 0usize);
    let names: Vec<RawName> = editor.odd().iter().map(|odd| odd.name.clone()).collect();
    for name in names {
        // Judged one by one: a step may change what the next entry is.
        let Some(odd) = editor.odd().iter().find(|odd| odd.name == name) else {
            continue;
        };
        let restore = words.restore.as_deref().filter(|digits| {
            let beginning = odd.name.bytes().get(..digits.len());
            beginning == Some(digits.as_bytes())
        });
        let restore = restore.and(slots::copied_id(odd));
        let step = editor.tidy_step(odd, restore);
        let (shown, why) = (slots::name(odd), odd.why.to_string());
        let done = if words.yes && step != TidyStep::Leave {
            editor.tidy(&name, step)
        } else {
            Ok(())
        };
        let word = match (&done, step, words.yes) {
            (Err(error), _, _) => {
                failed += 1;
                format!("could not be changed: {error}")
            }
            (Ok(()), TidyStep::Leave, _) => {
                left += 1;
                "left for you to look at".to_owned()
            }
            (Ok(()), TidyStep::Remove, true) => "removed".to_owned(),
            (Ok(()), TidyStep::Restore(_), true) => "put back in its place".to_owned(),
            (Ok(()), TidyStep::Exchange(_), true) => {
                "put in the place of the damaged one, which has its name now".to_owned()
            }
            (Ok(()), TidyStep::Remove, false) => "would be removed".to_owned(),
            (Ok(()), TidyStep::Restore(_) | TidyStep::Exchange(_), false) => {
                "would be put back in its place".to_owned()
            }
        };
        would |= !words.yes && step != TidyStep::Leave;
        print(&format!("{shown}: {why} ({word})\n"))?;
        if words.yes {
            editor.reread(vault.info().description)?;
        }
    }
    if would {
        print("Nothing was changed; --yes does it.\n")?;
    } else if left + failed == 0 && editor.odd().is_empty() {
        print("keepfs.slots holds nothing but key slots.\n")?;
    }
    match (failed, left) {
        (0, 0) => Ok(()),
        (0, 1) => Err(KeyError::Odd("one entry".to_owned()).into()),
        (0, many) => Err(KeyError::Odd(format!("{many} entries")).into()),
        (failed, _) => Err(KeyError::NotTidied(failed).into()),
    }
}
