//! The words about what opens a vault, shared by the commands.

use std::path::PathBuf;

use clap::Args;

use super::super::size;

/// Where the passphrase comes from. Without any of these: a prompt on a
/// terminal, else the first line of standard input.
#[derive(Clone, Debug, Default, Args)]
pub struct PassphraseArgs {
    /// Read the passphrase from the first line of FILE
    #[arg(long, value_name = "FILE", conflicts_with_all = ["extpass", "credential"])]
    pub passfile: Option<PathBuf>,
    /// Read the passphrase from the first line that CMD prints
    ///
    /// Given once, CMD is split into words as a shell would. Given several
    /// times, the first is the program and the others are its arguments, as
    /// they are.
    #[arg(
        long,
        value_name = "CMD",
        allow_hyphen_values = true,
        conflicts_with = "credential"
    )]
    pub extpass: Vec<String>,
    /// Read the passphrase from the first line of this systemd credential
    ///
    /// A unit's LoadCredential= or LoadCredentialEncrypted= puts it in
    /// $CREDENTIALS_DIRECTORY.
    #[arg(long, value_name = "NAME")]
    pub credential: Option<String>,
}

impl PassphraseArgs {
    /// Whether a source is named.
    #[must_use]
    pub fn names_a_source(&self) -> bool {
        self.passfile.is_some() || !self.extpass.is_empty() || self.credential.is_some()
    }
}

/// What opens the vault.
#[derive(Clone, Debug, Default, Args)]
pub struct UnlockArgs {
    /// Where the passphrase comes from.
    #[command(flatten)]
    pub passphrase: PassphraseArgs,
    /// Open the vault with this key file
    ///
    /// A passphrase is asked for only if the vault wants one with it, or one
    /// of the other flags gives one.
    #[arg(long, value_name = "FILE")]
    pub keyfile: Option<PathBuf>,
    /// Ask for a passphrase too, with --keyfile
    #[arg(long, requires = "keyfile", conflicts_with_all = ["passfile", "extpass", "credential"])]
    pub ask_passphrase: bool,
    /// Open the vault with a recovery code or enough shares of one, which are
    /// asked for, or read from standard input
    #[arg(
        long,
        visible_alias = "recover",
        conflicts_with_all = ["passfile", "extpass", "credential", "keyfile"]
    )]
    pub recovery: bool,
    /// Try this key slot only: its id, or the first digits of it
    ///
    /// Otherwise the slot that opened the vault last on this machine comes
    /// first, then the others.
    #[arg(long, value_name = "ID", value_parser = size::slot_digits)]
    pub slot: Option<String>,
}

/// What unlocking with a passphrase shall cost.
#[derive(Debug, Default, Args)]
pub struct CostArgs {
    /// Memory that unlocking takes, from 64MiB to 4GiB [default: 256MiB, or a
    /// quarter of this machine's]
    #[arg(long, value_name = "SIZE", value_parser = size::kdf_memory)]
    pub kdf_memory: Option<u32>,
    /// Passes over that memory, from 3 to 20 [default: what takes about one
    /// second]
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(3..=20))]
    pub kdf_passes: Option<u32>,
}

/// How strong a new passphrase must be.
#[derive(Debug, Default, Args)]
pub struct StrengthArgs {
    /// Refuse a new passphrase of a lower strength, from 0 (guessed at once)
    /// to 4 (safe)
    ///
    /// The strength is zxcvbn's estimate. Without this flag a weak passphrase
    /// typed on a terminal is warned about and taken.
    #[arg(long, value_name = "0-4", value_parser = clap::value_parser!(u8).range(0..=4))]
    pub require_strength: Option<u8>,
}

/// What the new key shall be. Without any of these: a passphrase, asked for on
/// a terminal, else the next line of standard input.
#[derive(Debug, Default, Args)]
#[command(next_help_heading = "The new key")]
pub struct NewKeyArgs {
    /// Read the new passphrase from the first line of FILE
    #[arg(long, value_name = "FILE", conflicts_with = "new_extpass")]
    pub new_passfile: Option<PathBuf>,
    /// Read the new passphrase from the first line that CMD prints
    #[arg(long, value_name = "CMD", allow_hyphen_values = true)]
    pub new_extpass: Vec<String>,
    /// Make this key file the new key, or with a new passphrase a part of it
    #[arg(long, value_name = "FILE")]
    pub new_keyfile: Option<PathBuf>,
    /// Ask for a new passphrase too, with --new-keyfile
    #[arg(
        long,
        requires = "new_keyfile",
        conflicts_with_all = ["new_passfile", "new_extpass"]
    )]
    pub ask_new_passphrase: bool,
    /// Make a recovery code the new key; it is shown once
    #[arg(
        long,
        conflicts_with_all = ["new_passfile", "new_extpass", "new_keyfile", "require_strength"]
    )]
    pub new_recovery: bool,
    /// Show the recovery code as a QR code too
    #[arg(long, requires = "new_recovery", conflicts_with = "json")]
    pub qr: bool,
    /// What unlocking with it shall cost.
    #[command(flatten)]
    pub cost: CostArgs,
    /// How strong a passphrase must be.
    #[command(flatten)]
    pub strength: StrengthArgs,
    /// A name for the new key, at most 64 bytes; anyone can read it
    #[arg(long, value_name = "TEXT", value_parser = size::label)]
    pub label: Option<String>,
}
