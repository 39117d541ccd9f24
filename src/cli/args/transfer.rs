//! The words of the commands that copy whole trees without a mount.

use std::ffi::OsString;
use std::path::PathBuf;

use clap::Args;

use super::secrets::UnlockArgs;

/// `keepfs export`
#[derive(Debug, Args)]
#[command(after_long_help = "\
Copies the contents of the vault, or of the directory PATH in it, into DIR, like
'cp -a SRC/. DIR'; if PATH is no directory, that object alone. DIR is made if it
does not exist. Needs no mount and no FUSE, and changes nothing in the vault, which
may be mounted at the same time.

Kept: modes, times to the nanosecond, owners as far as the caller may, extended
attributes, ACLs, hard links inside the tree, holes. Links are copied, never
followed. Each file appears in DIR whole; when the command ends well, everything is
on the disk. Run it again after an interruption: what is there and equal by size and
time is passed over. Nothing in DIR is ever removed.

Modes and owners are as the storage shows them, which could have changed them. So
set-user-ID and set-group-ID bits of files are dropped and device nodes left out, as a
mount ignores them; --privileged keeps both.

What is damaged is named and left out, the rest is copied, and the exit code is 24.
Where anything else could not be copied, it is 27.

Examples:
  keepfs export ~/Sync/private ~/rescued
  keepfs export ~/Sync/private:tax/2025 /media/stick/tax
  keepfs export ~/Sync/private:letters.txt .
  keepfs export --json --passfile key /srv/vault /srv/plain | jq .failures")]
pub struct ExportArgs {
    /// The vault's directory, and behind a colon a path in it
    #[arg(value_name = "VAULT[:PATH]")]
    pub from: OsString,
    /// Where to copy it to
    #[arg(value_name = "DIR")]
    pub to: PathBuf,
    /// Keep set-ID bits and device nodes
    #[arg(long)]
    pub privileged: bool,
    /// How to copy.
    #[command(flatten)]
    pub how: TransferArgs,
    /// What opens the vault.
    #[command(flatten)]
    pub unlock: UnlockArgs,
}

/// `keepfs import`
#[derive(Debug, Args)]
#[command(after_long_help = "\
Copies the contents of DIR into the vault, or into the directory PATH in it, like
'cp -a DIR/. PATH'; if DIR is no directory, that file alone. PATH is made if it does
not exist. Needs no mount and no FUSE; the vault must not be mounted.

Kept: modes, times to the nanosecond, owners as far as the caller may, extended
attributes of users, ACLs, hard links inside the tree, holes. Links are copied, never
followed. Each file appears in the vault whole; when the command ends well,
everything is on the disk. Run it again after an interruption: what is there and
equal by size and time is passed over. Nothing in the vault is ever removed.

Examples:
  keepfs import ~/documents ~/Sync/private
  keepfs import ~/scans/2025 ~/Sync/private:tax/2025
  keepfs import --dry-run ~/documents ~/Sync/private
  keepfs import --overwrite --checksum ~/documents ~/Sync/private")]
pub struct ImportArgs {
    /// What to copy
    #[arg(value_name = "DIR")]
    pub from: PathBuf,
    /// The vault's directory, and behind a colon a directory in it
    #[arg(value_name = "VAULT[:PATH]")]
    pub to: OsString,
    /// How to copy.
    #[command(flatten)]
    pub how: TransferArgs,
    /// What opens the vault.
    #[command(flatten)]
    pub unlock: UnlockArgs,
}

/// How to copy.
#[derive(Debug, Args)]
pub struct TransferArgs {
    /// Replace what exists in the target and differs
    ///
    /// Each file at once, by its whole new version. A directory is never
    /// replaced, nor by one: both are merged.
    #[arg(long)]
    pub overwrite: bool,
    /// Compare contents, too, before passing a file over as equal
    #[arg(long)]
    pub checksum: bool,
    /// Change nothing, only count what would be copied
    #[arg(short = 'n', long)]
    pub dry_run: bool,
    /// Print JSON
    #[arg(long)]
    pub json: bool,
}
