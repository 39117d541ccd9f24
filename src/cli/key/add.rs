//! New keys: `keepfs key add`, `change`, `split`.

use std::ffi::OsStr;
use std::io::{self, IsTerminal};
use std::path::Path;

use anyhow::Context;
use serde::Serialize;
use zeroize::Zeroizing;

use super::KeyError;
use crate::cli::args::NewKeyArgs;
use crate::cli::args::key::{AddArgs, ChangeArgs, SplitArgs};
use crate::cli::progress::Waiting;
use crate::cli::recovery::{self, Qr};
use crate::cli::{cost, print, print_all, remember, unlock};
use crate::codec::kdf::KdfCost;
use crate::codec::keys::MasterKey;
use crate::codec::recovery::{RecoveryCode, Share, SplitPlan};
use crate::codec::vault::{Credential, Slot, SlotImage, SlotKind};
use crate::mount::table::printable;
use crate::types::SlotId;
use crate::vault::{LockedVault, SlotEditError, SlotEditor};

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
            label: printable(OsStr::new(label)),
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
    code: Option<Zeroizing<String>>,
}

impl NewKey {
    /// Reads or makes the new key as the words say, and wraps the master key
    /// with it.
    fn make(
        words: &NewKeyArgs,
        vault: &LockedVault,
        master: &MasterKey,
        replaced: Option<Credential>,
        label: String,
    ) -> anyhow::Result<Self> {
        let (credential, code) = if words.new_recovery {
            let code = RecoveryCode::generate()?;
            let text = code.to_text();
            (Credential::Recovery(code), Some(text))
        } else {
            (words.credential(replaced)?, None)
        };
        let kind = credential.kind();
        let cost = cost::of_kind(kind, &words.cost, &unlock::caps())?;
        let waiting = Waiting::begin("Wrapping the master key");
        let image = wrap(master, vault, &credential, &cost, &label)?;
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

    /// A recovery code for a person to copy; nothing for other keys.
    fn code_shown(&self, vault: &Path, qr: Qr) -> Zeroizing<String> {
        let Some(code) = &self.code else {
            return Zeroizing::default();
        };
        Zeroizing::new(format!(
            "Recovery code of the vault {vault} (key slot {id}):\n\n{shown}\n\
             It is shown this once. Whoever has it opens the vault: write it down or print it,\n\
             and keep it where you keep papers that matter.\n",
            vault = printable(vault.as_os_str()),
            id = self.image.id(),
            shown = *recovery::shown(code, qr),
        ))
    }

    /// Shows a recovery code to the person at the terminal, who types a part
    /// of it back before anything is changed.
    fn confirm_code(&self, vault: &Path, qr: Qr) -> anyhow::Result<()> {
        let Some(code) = &self.code else {
            return Ok(());
        };
        print_all(&self.code_shown(vault, qr))?;
        Ok(recovery::confirm(code)?)
    }
}

/// Puts a new key into the vault and says so; `told` is what must reach the
/// reader, a recovery code above all. What nobody could read is taken back:
/// no key stays that nobody has, and nothing else may go before.
fn put(editor: &mut SlotEditor, image: &SlotImage, told: &str) -> anyhow::Result<()> {
    editor.add(image)?;
    print_all(told).map_err(|error| match editor.take_back(image) {
        Ok(()) => error.context("the new key could not be shown and was taken back"),
        Err(left) => error.context(format!(
            "the new key could not be shown; its slot {} is of no use and cannot be removed ({left})",
            image.id()
        )),
    })
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

/// Takes the right to change the slots, before anybody types anything.
fn editor(path: &Path, vault: &mut LockedVault) -> anyhow::Result<SlotEditor> {
    vault.edit_slots().with_context(|| {
        let vault = printable(path.as_os_str());
        format!("cannot change the keys of the vault {vault}")
    })
}

/// Whether a person can be shown something and asked about it.
fn is_attended(json: bool) -> bool {
    !json && io::stdin().is_terminal() && io::stdout().is_terminal()
}

/// `keepfs key add`
///
/// # Errors
/// Whatever keeps the key from being added; nothing was changed then.
pub fn add(words: &AddArgs) -> anyhow::Result<()> {
    let mut vault = super::open(&words.vault)?;
    let mut editor = editor(&words.vault, &mut vault)?;
    editor.check_room()?;
    let choice = unlock::choice(&words.unlock, &vault)?;
    let unlocked = unlock::open(&words.unlock, &words.vault, &vault, choice)?;
    let label = words.new.label.clone().unwrap_or_default();
    let new = NewKey::make(&words.new, &vault, &unlocked.opened.master, None, label)?;
    let qr = words.new.qr.into();
    let told = if words.json {
        as_json(&new.report())?
    } else {
        let (id, kind) = (new.image.id(), new.kind);
        let mut told = Zeroizing::new(String::new());
        if is_attended(words.json) {
            new.confirm_code(&words.vault, qr)?;
        } else {
            told = new.code_shown(&words.vault, qr);
        }
        told.push_str(&format!("Added the key slot {id} ({kind}).\n"));
        told
    };
    put(&mut editor, &new.image, &told)
}

/// `keepfs key change`
///
/// # Errors
/// Whatever keeps the key from being replaced. The old key opens the vault
/// then, or both do.
pub fn change(words: &ChangeArgs) -> anyhow::Result<()> {
    let mut vault = super::open(&words.vault)?;
    let mut editor = editor(&words.vault, &mut vault)?;
    let choice = unlock::choice(&words.unlock, &vault)?;
    let unlocked = unlock::open(&words.unlock, &words.vault, &vault, choice)?;
    let old = unlocked.opened.slot;
    let info = vault.info();
    let replaced = info.slots.iter().find(|stored| stored.slot.id() == old);
    let replaced = &replaced.expect("it opened the vault just now").slot;
    if !replaced.kind().takes_passphrase() && !words.new.say_what() {
        return Err(KeyError::NewKeyUnsaid(replaced.kind()).into());
    }
    let label = match &words.new.label {
        Some(label) => label.clone(),
        None => replaced.label().to_owned(),
    };
    let master = &unlocked.opened.master;
    let new = NewKey::make(&words.new, &vault, master, Some(unlocked.credential), label)?;
    let (id, kind) = (new.image.id(), new.kind);
    let qr = words.new.qr.into();
    let told = if words.json {
        as_json(&Report {
            replaced: Some(old.to_string()),
            ..new.report()
        })?
    } else if is_attended(words.json) {
        new.confirm_code(&words.vault, qr)?;
        Zeroizing::default()
    } else {
        new.code_shown(&words.vault, qr)
    };
    // The new key is in the vault and in its owner's hands before the old one
    // goes.
    put(&mut editor, &new.image, &told)?;
    match editor.remove(old, Some(id), info.description) {
        // Somebody else was faster.
        Ok(()) | Err(SlotEditError::NoSuchSlot(_)) => {}
        Err(error) => {
            return Err(anyhow::Error::new(error).context(format!(
                "the new key {id} is in the vault, and the old one {old} is still there"
            )));
        }
    }
    remember::store(info.description.vault_id(), id);
    if words.json {
        return Ok(());
    }
    print(&format!(
        "Replaced the key slot {old} by {id} ({kind}).\n\
         Whoever kept a copy of the old slot file and has the old key can still open the\n\
         vault with it. If that key got out, make a new vault and copy the files over.\n",
    ))
}

/// `keepfs key split`
///
/// # Errors
/// Whatever keeps the shares from being made; nothing was changed then.
pub fn split(words: &SplitArgs) -> anyhow::Result<()> {
    let plan =
        SplitPlan::new(words.threshold, words.shares).map_err(recovery::RecoveryError::Plan)?;
    let mut vault = super::open(&words.vault)?;
    if words.unlock.recovery {
        let code = recovery::ask()?;
        let shares = code.split(plan)?;
        let choice = unlock::choice(&words.unlock, &vault)?;
        let code = Credential::Recovery(code);
        let opened = unlock::open_with(&words.vault, &vault, &code, choice)?;
        let slots = vault.info().slots;
        let stored = slots.iter().find(|stored| stored.slot.id() == opened.slot);
        let label = stored.map_or("", |stored| stored.slot.label());
        return print_all(&shares_shown(words, plan, &shares, opened.slot, label)?);
    }
    let mut editor = editor(&words.vault, &mut vault)?;
    editor.check_room()?;
    let choice = unlock::choice(&words.unlock, &vault)?;
    let unlocked = unlock::open(&words.unlock, &words.vault, &vault, choice)?;
    let label = words
        .label
        .clone()
        .unwrap_or_else(|| format!("any {} of {} shares", plan.threshold(), plan.shares()));
    let code = RecoveryCode::generate()?;
    let shares = code.split(plan)?;
    let code = Credential::Recovery(code);
    let image = wrap(
        &unlocked.opened.master,
        &vault,
        &code,
        &KdfCost::NONE,
        &label,
    )?;
    let told = shares_shown(words, plan, &shares, image.id(), &label)?;
    put(&mut editor, &image, &told)
}

/// The shares, for people or for a program.
fn shares_shown(
    words: &SplitArgs,
    plan: SplitPlan,
    shares: &[Share],
    id: SlotId,
    label: &str,
) -> anyhow::Result<Zeroizing<String>> {
    if words.json {
        return as_json(&Report {
            threshold: Some(plan.threshold()),
            shares: shares
                .iter()
                .map(|share| share.to_text().to_string())
                .collect(),
            ..Report::new(id, SlotKind::Recovery, label)
        });
    }
    let vault = printable(words.vault.as_os_str());
    let mut text = Zeroizing::new(String::new());
    for share in shares {
        text.push_str(&format!(
            "Share {number} of {shares}; any {threshold} of them open the vault {vault} (key slot {id}):\n\n{shown}\n",
            number = share.number(),
            shares = plan.shares(),
            threshold = plan.threshold(),
            shown = *recovery::shown(&share.to_text(), words.qr.into()),
        ));
    }
    text.push_str(&format!(
        "They are shown this once and stored nowhere. Give each to another person or place.\n\
         To use them:  keepfs mount --recovery {vault} MOUNTPOINT\n"
    ));
    Ok(text)
}

fn as_json(report: &Report) -> anyhow::Result<Zeroizing<String>> {
    let mut text = Zeroizing::new(serde_json::to_string_pretty(report)?);
    text.push('\n');
    Ok(text)
}
