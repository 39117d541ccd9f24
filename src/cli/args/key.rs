//! The words of `keepfs key`.

use std::path::PathBuf;

use clap::{Args, Subcommand};

use super::super::size;
use super::secrets::{NewKeyArgs, UnlockArgs};

/// `keepfs key`
///
/// A vault has one master key and any number of ways to it: passphrases, key
/// files, both together, recovery codes. Each is a file of its own in
/// keepfs.slots; there is no other way in, and `keepfs key list` shows them
/// all without a passphrase.
#[derive(Debug, Subcommand)]
#[command(after_long_help = "\
Examples:
  keepfs key list ~/Sync/private
  keepfs key add --label phone ~/Sync/private
  keepfs key add --new-recovery ~/Sync/private
  keepfs key change ~/Sync/private")]
pub enum KeyCommand {
    /// Show every way into a vault; needs no passphrase
    List(ListArgs),
    /// Add a passphrase, a key file, both together, or a recovery code
    Add(AddArgs),
    /// Replace a key by a new one
    Change(ChangeArgs),
    /// Remove a key
    Remove(RemoveArgs),
    /// Print shares of a recovery code, some of which open the vault together
    Split(SplitArgs),
    /// Make a good key file
    GenerateFile(GenerateFileArgs),
    /// Clear away what sync clients and interrupted commands left among the keys
    Tidy(TidyArgs),
}

/// `keepfs key list`
#[derive(Debug, Args)]
#[command(after_long_help = "\
It ends with an exit code other than 0 if keepfs.slots holds anything that is
not exactly a key slot of this vault.

Examples:
  keepfs key list ~/Sync/private
  keepfs key list --json ~/Sync/private | jq -r .slots[].label")]
pub struct ListArgs {
    /// The vault's directory
    pub vault: PathBuf,
    /// Print JSON
    #[arg(long)]
    pub json: bool,
}

/// `keepfs key add`
#[derive(Debug, Args)]
#[command(after_long_help = "\
The vault is opened with any key it has. From a pipe, the old passphrase is the
first line of standard input and the new one the second.

Examples:
  keepfs key add --label phone ~/Sync/private
  keepfs key add --passfile old --new-passfile new ~/Sync/private
  keepfs key add --new-keyfile /media/stick/vault.key ~/Sync/private
  keepfs key add --new-recovery --qr --label safe ~/Sync/private")]
pub struct AddArgs {
    /// The vault's directory
    pub vault: PathBuf,
    /// What opens the vault.
    #[command(flatten)]
    pub unlock: UnlockArgs,
    /// What the new key is.
    #[command(flatten)]
    pub new: NewKeyArgs,
    /// Print the result as JSON
    #[arg(long)]
    pub json: bool,
}

/// `keepfs key change`
#[derive(Debug, Args)]
#[command(after_long_help = "\
The key that opens the vault is the one that is replaced. The new one is in the
vault, durably, before the old one goes: whatever happens meanwhile, one of the
two opens it. The label stays unless another is given. A copy of the old slot
file and the old passphrase still open the vault; see keepfs key remove --help.

Examples:
  keepfs key change ~/Sync/private
  printf 'old\\nnew\\n' | keepfs key change ~/Sync/private
  keepfs key change --keyfile old.key --new-keyfile new.key ~/Sync/private")]
pub struct ChangeArgs {
    /// The vault's directory
    pub vault: PathBuf,
    /// What opens the vault.
    #[command(flatten)]
    pub unlock: UnlockArgs,
    /// What the new key is.
    #[command(flatten)]
    pub new: NewKeyArgs,
    /// Print the result as JSON
    #[arg(long)]
    pub json: bool,
}

/// `keepfs key remove`
#[derive(Debug, Args)]
#[command(after_long_help = "\
The last slot is never removed. If a way to open the vault is given (--passfile,
--keyfile, ...), a key that stays must open it first; on a terminal one is
asked for. With --yes and no such way, the other slots are believed to be what they
say they are. Copies that a sync client made of the slot go with it.

Removing a key does not change what the vault is encrypted with. Whoever kept a
copy of the removed slot file, as a provider does, and knows its passphrase can
still open the vault, today's and tomorrow's. If the passphrase got out, make a
new vault, copy the files over and delete the old one.

Examples:
  keepfs key remove ~/Sync/private 1f3a9c02
  keepfs key remove --yes --passfile laptop ~/Sync/private 1f3a9c02")]
pub struct RemoveArgs {
    /// The vault's directory
    pub vault: PathBuf,
    /// Which key: its id as keepfs key list shows it, or its first digits
    #[arg(value_parser = size::slot_digits)]
    pub id: String,
    /// What opens the vault.
    #[command(flatten)]
    pub unlock: UnlockArgs,
    /// Ask nothing
    #[arg(long)]
    pub yes: bool,
}

/// `keepfs key split`
#[derive(Debug, Args)]
#[command(after_long_help = "\
The shares are printed and stored nowhere; fewer than the threshold tell nothing
about the key. keepfs mount --recovery takes them. With --recovery here, the
code that is typed is split, and no new key is made.

Examples:
  keepfs key split --threshold 2 --shares 3 ~/Sync/private
  keepfs key split --threshold 3 --shares 5 --label heirs ~/Sync/private")]
pub struct SplitArgs {
    /// The vault's directory
    pub vault: PathBuf,
    /// How many shares open the vault together, at least 2
    #[arg(long, value_name = "M")]
    pub threshold: u8,
    /// How many shares to print
    #[arg(long, value_name = "N")]
    pub shares: u8,
    /// What opens the vault.
    #[command(flatten)]
    pub unlock: UnlockArgs,
    /// A name for the new key, at most 64 bytes; anyone can read it
    #[arg(long, value_name = "TEXT", value_parser = size::label)]
    pub label: Option<String>,
    /// Show each share as a QR code too
    #[arg(long)]
    pub qr: bool,
    /// Print the result as JSON
    #[arg(long, conflicts_with = "qr")]
    pub json: bool,
}

/// `keepfs key generate-file`
#[derive(Debug, Args)]
#[command(after_long_help = "\
Any file of up to 64 MiB can be a key file, but one that others have too, or
that changes, is a bad one. Keep a copy of it outside the vault and not at the
vault's provider.

Examples:
  keepfs key generate-file /media/stick/vault.key
  keepfs key add --new-keyfile /media/stick/vault.key ~/Sync/private")]
pub struct GenerateFileArgs {
    /// The file to make; it must not exist yet
    pub file: PathBuf,
}

/// `keepfs key tidy`
#[derive(Debug, Args)]
#[command(after_long_help = "\
Shows what it would do; --yes does it. It removes copies that sync clients made
of slots that are there and whole, and what a killed keepfs left; it puts a whole
copy in the place of a damaged slot. A copy whose slot is missing comes back only if
nothing else opens the vault, or with --restore: somebody may have removed that key
on purpose. Anything else it names and leaves alone.

Examples:
  keepfs key tidy ~/Sync/private
  keepfs key tidy --yes ~/Sync/private")]
pub struct TidyArgs {
    /// The vault's directory
    pub vault: PathBuf,
    /// Put the copy of this missing slot back: its id, or its first digits
    #[arg(long, value_name = "ID", value_parser = size::slot_digits)]
    pub restore: Option<String>,
    /// Do it
    #[arg(long)]
    pub yes: bool,
}
