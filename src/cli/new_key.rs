//! From the words about a new key to what shall open the vault.

use std::io::{self, IsTerminal};

use super::args::{NewKeyArgs, PassphraseArgs, StrengthArgs};
use super::passphrase::{self, Ask};
use super::{key_file, say, strength};
use crate::codec::kdf::Passphrase;
use crate::codec::vault::{Credential, KeyFile};

/// A passphrase nobody has used yet: typed twice on a terminal, and judged.
///
/// # Errors
/// None could be read; it is too weak.
pub fn passphrase(words: &PassphraseArgs, strength: &StrengthArgs) -> anyhow::Result<Passphrase> {
    let typed = passphrase::passphrase(words, Ask::Twice)?;
    if let Some(required) = strength.require_strength {
        strength::require(&typed, required)?;
    } else if !words.names_a_source()
        && io::stdin().is_terminal()
        && let Some(warning) = strength::warning(&typed)
    {
        say(&format!("{warning}\n"))?;
    }
    Ok(typed.into_passphrase()?)
}

/// A passphrase, a key file, or both as one key; `None` of neither.
#[must_use]
pub fn combine(passphrase: Option<Passphrase>, key_file: Option<KeyFile>) -> Option<Credential> {
    match (passphrase, key_file) {
        (Some(passphrase), None) => Some(Credential::Passphrase(passphrase)),
        (None, Some(key_file)) => Some(Credential::KeyFile(key_file)),
        (Some(passphrase), Some(key_file)) => {
            Some(Credential::PassphraseAndKeyFile(passphrase, key_file))
        }
        (None, None) => None,
    }
}

impl NewKeyArgs {
    /// Whether they say anything about what the new key is.
    #[must_use]
    pub fn say_what(&self) -> bool {
        self.new_passfile.is_some()
            || !self.new_extpass.is_empty()
            || self.new_keyfile.is_some()
            || self.new_recovery
    }

    /// The passphrase, key file or both that they describe. Of a key that is
    /// being replaced and consists of both, the part that is not renewed stays.
    ///
    /// # Errors
    /// Nothing could be read where they say; a passphrase is too weak.
    pub fn credential(&self, replaced: Option<Credential>) -> anyhow::Result<Credential> {
        let (kept_passphrase, kept_file) = match replaced {
            Some(Credential::PassphraseAndKeyFile(passphrase, key_file)) => {
                (Some(passphrase), Some(key_file))
            }
            Some(Credential::Passphrase(_) | Credential::KeyFile(_) | Credential::Recovery(_))
            | None => (None, None),
        };
        let source = PassphraseArgs {
            passfile: self.new_passfile.clone(),
            extpass: self.new_extpass.clone(),
            credential: None,
        };
        let wants_passphrase =
            self.new_keyfile.is_none() || self.ask_new_passphrase || source.names_a_source();
        let passphrase = wants_passphrase
            .then(|| passphrase(&source, &self.strength))
            .transpose()?;
        let named = self
            .new_keyfile
            .as_deref()
            .map(key_file::read)
            .transpose()?;
        let passphrase = passphrase.or(kept_passphrase);
        let key_file = named.or(kept_file);
        Ok(combine(passphrase, key_file).expect("without a key file there is a passphrase"))
    }
}
