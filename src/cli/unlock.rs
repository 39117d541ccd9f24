//! From the words about a key to what opens the vault.

use std::path::Path;

use super::args::UnlockArgs;
use super::passphrase::{self, Ask};
use super::progress::Waiting;
use super::{key_file, mount, recovery, remember, slots};
use crate::codec::kdf::{KdfCaps, Passphrase};
use crate::codec::vault::{Credential, SlotKind};
use crate::mount::table::printable;
use crate::sys::process;
use crate::vault::{LockError, LockedVault, OpenedSlot, SlotChoice, UnlockError, Vault};

/// What this machine can pay for a passphrase.
#[must_use]
pub fn caps() -> KdfCaps {
    KdfCaps {
        ram_kib: process::total_ram_kib(),
    }
}

/// The vault stays locked.
#[derive(Debug, thiserror::Error)]
#[error("cannot unlock the vault {vault}: {error}")]
pub struct UnlockRefused {
    vault: String,
    /// Why.
    #[source]
    pub error: UnlockError,
}

impl UnlockRefused {
    fn new(vault: &Path, error: UnlockError) -> Self {
        let vault = printable(vault.as_os_str());
        Self { vault, error }
    }
}

/// Which slots to try: the one that was asked for; else first the one that
/// opened the vault last.
///
/// # Errors
/// [`slots::PickError`].
pub fn choice(words: &UnlockArgs, vault: &LockedVault) -> Result<SlotChoice, slots::PickError> {
    let info = vault.info();
    if let Some(digits) = &words.slot {
        return slots::pick(digits, info.slots).map(SlotChoice::Only);
    }
    let last = remember::last_slot(info.description.vault_id());
    Ok(last.map_or(SlotChoice::Any, SlotChoice::First))
}

/// What opens the vault, from where the words say.
///
/// # Errors
/// Nothing could be read there.
pub fn credential(
    words: &UnlockArgs,
    path: &Path,
    vault: &LockedVault,
    choice: SlotChoice,
) -> anyhow::Result<Credential> {
    if words.recovery {
        return Ok(Credential::Recovery(recovery::ask()?));
    }
    let ask = || -> anyhow::Result<Passphrase> {
        Ok(passphrase::passphrase(&words.passphrase, Ask::Once)?.into_passphrase()?)
    };
    let takes = |kind| {
        vault.info().slots.iter().any(|stored| {
            let chosen = match choice {
                SlotChoice::Only(id) => stored.slot.id() == id,
                SlotChoice::First(_) | SlotChoice::Last(_) | SlotChoice::Any => true,
            };
            chosen && stored.slot.kind() == kind
        })
    };
    let Some(key_path) = &words.keyfile else {
        if !takes(SlotKind::Passphrase) && !words.passphrase.names_a_source() {
            // Before anybody types one.
            let error = UnlockError::NoSlotOfKind(SlotKind::Passphrase);
            return Err(UnlockRefused::new(path, error).into());
        }
        return Ok(Credential::Passphrase(ask()?));
    };
    let key_file = key_file::read(key_path)?;
    if words.ask_passphrase || words.passphrase.names_a_source() {
        return Ok(Credential::PassphraseAndKeyFile(ask()?, key_file));
    }
    let alone = Credential::KeyFile(key_file);
    // Without a passphrase an attempt costs nothing.
    if !takes(SlotKind::PassphraseAndKeyFile)
        || (takes(SlotKind::KeyFile) && vault.open_slot(&alone, &caps(), choice).is_ok())
    {
        return Ok(alone);
    }
    // Taken back: a pipe cannot be read twice.
    let Credential::KeyFile(key_file) = alone else {
        return Ok(alone);
    };
    Ok(Credential::PassphraseAndKeyFile(ask()?, key_file))
}

/// What an unlocked vault's keys can be changed with.
pub struct Unlocked {
    /// The master key and the slot that gave it.
    pub opened: OpenedSlot,
    /// What opened it.
    pub credential: Credential,
}

/// Opens the vault in this process, to change its keys. The master key is
/// locked in memory.
///
/// # Errors
/// Nothing could be read, or it opens nothing.
pub fn open(
    words: &UnlockArgs,
    path: &Path,
    vault: &LockedVault,
    choice: SlotChoice,
) -> anyhow::Result<Unlocked> {
    let credential = credential(words, path, vault, choice)?;
    let opened = open_with(path, vault, &credential, choice)?;
    Ok(Unlocked { opened, credential })
}

/// What to do where the file system cannot tell whether somebody else uses
/// the vault.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum WithoutLocks {
    /// Say so and go on.
    Warn,
    /// End there.
    Refuse,
}

/// Opens a vault, still locked, that nobody else may use meanwhile; `advice`
/// says what to do if somebody does.
///
/// # Errors
/// It is no vault, or without a key slot, or in use.
pub fn locked_alone(
    path: &Path,
    without_locks: WithoutLocks,
    advice: &'static str,
) -> anyhow::Result<LockedVault> {
    let locked = LockedVault::open(path)?;
    mount::check_slots(&locked.info())?;
    match locked.lock_exclusive() {
        Ok(()) => {}
        Err(error @ LockError::LocksUnsupported) if without_locks == WithoutLocks::Refuse => {
            let advice = "so no other use of the vault can be excluded; copy it to one that has \
                          locks, and do it there";
            return Err(anyhow::Error::new(error).context(advice));
        }
        Err(error @ LockError::LocksUnsupported) => tracing::warn!("{error}"),
        Err(error @ (LockError::AlreadyLocked | LockError::Backing(_))) => {
            return Err(anyhow::Error::new(error).context(advice));
        }
    }
    Ok(locked)
}

/// Unlocks the vault in this process, to read it. The keys are locked in
/// memory.
///
/// # Errors
/// Nothing could be read, or it opens nothing.
pub fn vault(words: &UnlockArgs, path: &Path, locked: LockedVault) -> anyhow::Result<Vault> {
    process::forbid_dumps()?;
    let choice = choice(words, &locked)?;
    let credential = credential(words, path, &locked, choice)?;
    let waiting = Waiting::begin("Unlocking");
    let vault = locked
        .unlock(&credential, &caps(), choice)
        .map_err(|failed| UnlockRefused::new(path, failed.error))?;
    drop(waiting);
    for span in vault.key_spans() {
        if let Err(error) = process::protect_span(span.addr, span.len) {
            tracing::warn!("the keys may reach swap space: {error}");
            break;
        }
    }
    remember::store(vault.vault_id(), vault.opened_by());
    Ok(vault)
}

/// [`open`] with a credential at hand.
///
/// # Errors
/// It opens nothing.
pub fn open_with(
    path: &Path,
    vault: &LockedVault,
    credential: &Credential,
    choice: SlotChoice,
) -> Result<OpenedSlot, UnlockRefused> {
    let waiting = Waiting::begin("Unlocking");
    let opened = vault
        .open_slot(credential, &caps(), choice)
        .map_err(|error| UnlockRefused::new(path, error))?;
    drop(waiting);
    let span = opened.master.span();
    if let Err(error) = process::protect_span(span.addr, span.len) {
        tracing::warn!("the master key may reach swap space: {error}");
    }
    remember::store(vault.info().description.vault_id(), opened.slot);
    Ok(opened)
}
