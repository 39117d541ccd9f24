//! New keys: `keepfs key add`, `change`, `split`.

use std::io::{self, IsTerminal};
use std::path::Path;

use anyhow::Context;
use serde::Serialize;

use super::KeyError;
use crate::cli::args::NewKeyArgs;
use crate::cli::args::key::{AddArgs, ChangeArgs, SplitArgs};
use crate::cli::progress::Waiting;
use crate::cli::recovery::{self, Qr};
use crate::cli::unlock::{self, Unlocked};
use crate::cli::{cost, print, print_json};
use crate::codec::kdf::KdfCost;
use crate::codec::keys::MasterKey;
use crate::codec::recovery::{RecoveryCode, SplitPlan};
use crate::codec::vault::{Credential, Slot, SlotImage, SlotKind};
use crate::mount::table::printable;
use crate::types::SlotId;
use crate::vault::{LockedVault, SlotEditor};

/// What a key without a passphrase costs.
const NO_COST: KdfCost = KdfCost {
    memory_kib: 0,
    passes: 0,
    lanes: 0,
};

/// What `--json` prints about a new key. Fields are added, never changed.
#[derive(Serialize)]
struct Report {
    id: String,
    kind: String,
    label: String,
    /// The slot that it replaced.
    #[serde(skip_serializing_if = "Option::is_none")]
    replaced: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    recovery_code: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    threshold: Option<u8>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    shares: Vec<String>,
}

impl Report {
    fn new(id: SlotId, kind: SlotKind, label: &str) -> Self {
        Self {
            id: id.to_string(),
            kind: kind.to_string(),
            label: label.to_owned(),
            replaced: None,
            recovery_code: None,
            threshold: None,
            shares: Vec::new(),
        }
    }
}

/// A new key that is ready to be put into the vault.
struct NewKey {
    image: SlotImage,
    kind: SlotKind,
    label: String,
    /// The text of a recovery code, to be shown.
    code: Option<zeroize::Zeroizing<String>>,
}

impl NewKey {
    /// Reads or makes the new key as the words say, and wraps the master key
    /// with it.
    fn make(
        words: &NewKeyArgs,
        vault: &LockedVault,
        unlocked: &mut Unlocked,
        label: String,
    ) -> anyhow::Result<Self> {
        let (credential, code) = if words.new_recovery {
            let code = RecoveryCode::generate()?;
            let text = code.to_text();
            (Credential::Recovery(code), Some(text))
        } else {
            (words.credential(unlocked.key_file.take())?, None)
        };
        let kind = credential.kind();
        let cost = if kind.takes_passphrase() {
            let _waiting = Waiting::begin("Finding out what this machine can pay");
            cost::cost(&words.cost, &unlock::caps())?
        } else {
            NO_COST
        };
        let waiting = Waiting::begin("Wrapping the master key");
        let image = wrap(&unlocked.opened.master, vault, &credential, &cost, &label)?;
        drop(waiting);
        Ok(Self {
            image,
            kind,
            label,
            code,
        })
    }

    fn report(&self) -> Report {
        Report {
            recovery_code: self.code.as_ref().map(|code| code.to_string()),
            ..Report::new(self.image.id(), self.kind, &self.label)
        }
    }

    /// Shows a recovery code. With a person at the terminal it must be typed
    /// back in part before anything is changed.
    fn show_code(&self, vault: &Path, qr: Qr) -> anyhow::Result<()> {
        let Some(code) = &self.code else {
            return Ok(());
        };
        let shown = recovery::shown(code, qr);
        print(&format!(
            "Recovery code of the vault {vault} (key slot {id}):\n\n{shown}\n\
             It is shown this once. Whoever has it opens the vault: write it down or print it,\n\
             and keep it where you keep papers that matter.\n",
            vault = printable(vault.as_os_str()),
            id = self.image.id(),
            shown = *shown,
        ))?;
        if io::stdin().is_terminal() {
            recovery::confirm(code)?;
        }
        Ok(())
    }
}

fn wrap(
    master: &MasterKey,
    vault: &LockedVault,
    credential: &Credential,
    cost: &KdfCost,
    label: &str,
) -> anyhow::Result<SlotImage> {
    let description = vault.info().description;
    Slot::wrap(master, description, credential, cost, label).context("cannot make the key slot")
}

/// The right to change the slots, taken before anybody types anything.
fn editor(path: &Path, vault: &LockedVault) -> anyhow::Result<SlotEditor> {
    let failed = || {
        let vault = printable(path.as_os_str());
        format!("cannot change the keys of the vault {vault}")
    };
    let editor = vault.edit_slots().with_context(failed)?;
    editor.check_room().with_context(failed)?;
    Ok(editor)
}

/// `keepfs key add`
///
/// # Errors
/// Whatever keeps the key from being added; nothing was changed then.
pub fn add(words: &AddArgs) -> anyhow::Result<()> {
    let vault = super::open(&words.vault)?;
    let mut editor = editor(&words.vault, &vault)?;
    let mut unlocked = unlock::open(&words.unlock, &words.vault, &vault)?;
    // A key file that opened the vault is no part of another key.
    unlocked.key_file = None;
    let label = words.new.label.clone().unwrap_or_default();
    let new = NewKey::make(&words.new, &vault, &mut unlocked, label)?;
    if io::stdin().is_terminal() && !words.json {
        new.show_code(&words.vault, words.new.qr.into())?;
        editor.add(&new.image)?;
    } else {
        // Nothing is shown that does not open the vault.
        editor.add(&new.image)?;
        if !words.json {
            new.show_code(&words.vault, words.new.qr.into())?;
        }
    }
    if words.json {
        return print_json(&new.report());
    }
    print(&format!(
        "Added the key slot {} ({}).\n",
        new.image.id(),
        new.kind
    ))
}

/// `keepfs key change`
///
/// # Errors
/// Whatever keeps the key from being replaced. The old key opens the vault
/// then, or both do.
pub fn change(words: &ChangeArgs) -> anyhow::Result<()> {
    let vault = super::open(&words.vault)?;
    let mut editor = vault.edit_slots()?;
    let mut unlocked = unlock::open(&words.unlock, &words.vault, &vault)?;
    let old = unlocked.opened.slot;
    let info = vault.info();
    let replaced = info.slots.iter().find(|stored| stored.slot.id() == old);
    let replaced = &replaced.expect("it opened the vault just now").slot;
    if !replaced.kind().takes_passphrase() {
        if !words.new.say_what() {
            return Err(KeyError::NewKeyUnsaid(replaced.kind()).into());
        }
        unlocked.key_file = None;
    }
    let label = match &words.new.label {
        Some(label) => label.clone(),
        None => replaced.label().to_owned(),
    };
    let new = NewKey::make(&words.new, &vault, &mut unlocked, label)?;
    if io::stdin().is_terminal() && !words.json {
        new.show_code(&words.vault, words.new.qr.into())?;
    }
    editor.replace(old, &new.image, info.description)?;
    if words.json {
        return print_json(&Report {
            replaced: Some(old.to_string()),
            ..new.report()
        });
    }
    if !io::stdin().is_terminal() {
        new.show_code(&words.vault, words.new.qr.into())?;
    }
    print(&format!(
        "Replaced the key slot {old} by {} ({}).\n\
         Whoever kept a copy of the old slot file and knows the old key can still open the\n\
         vault with it. If that key got out, make a new vault and copy the files over.\n",
        new.image.id(),
        new.kind
    ))
}

/// `keepfs key split`
///
/// # Errors
/// Whatever keeps the shares from being made; nothing was changed then.
pub fn split(words: &SplitArgs) -> anyhow::Result<()> {
    let plan =
        SplitPlan::new(words.threshold, words.shares).map_err(recovery::RecoveryError::Plan)?;
    let vault = super::open(&words.vault)?;
    let label = words
        .label
        .clone()
        .unwrap_or_else(|| format!("any {} of {} shares", plan.threshold(), plan.shares()));
    let code = if words.unlock.recovery {
        recovery::ask()?
    } else {
        RecoveryCode::generate()?
    };
    let shares = code.split(plan)?;
    let code = Credential::Recovery(code);
    let id = if words.unlock.recovery {
        let choice = unlock::choice(&words.unlock, &vault)?;
        unlock::open_with(&words.vault, &vault, &code, choice)?.slot
    } else {
        let mut editor = editor(&words.vault, &vault)?;
        let unlocked = unlock::open(&words.unlock, &words.vault, &vault)?;
        let image = wrap(&unlocked.opened.master, &vault, &code, &NO_COST, &label)?;
        editor.add(&image)?;
        image.id()
    };
    if words.json {
        return print_json(&Report {
            threshold: Some(plan.threshold()),
            shares: shares
                .iter()
                .map(|share| share.to_text().to_string())
                .collect(),
            ..Report::new(id, SlotKind::Recovery, &label)
        });
    }
    for share in &shares {
        let shown = recovery::shown(&share.to_text(), words.qr.into());
        print(&format!(
            "Share {number} of {shares}; any {threshold} of them open the vault {vault} (key slot {id}):\n\n{shown}\n",
            number = share.number(),
            shares = plan.shares(),
            threshold = plan.threshold(),
            vault = printable(words.vault.as_os_str()),
            shown = *shown,
        ))?;
    }
    print(&format!(
        "They are shown this once and stored nowhere. Give each to another person or place.\n\
         To use them:  keepfs mount --recovery {} MOUNTPOINT\n",
        printable(words.vault.as_os_str())
    ))
}
