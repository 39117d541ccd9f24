//! The words of the commands that read a vault without a mount.

use std::ffi::OsString;
use std::path::PathBuf;

use clap::Args;

use super::super::size;
use super::secrets::UnlockArgs;

/// `keepfs ls`
#[derive(Debug, Args)]
#[command(after_long_help = "\
Needs no mount and no FUSE, and changes nothing. The vault may be mounted at the
same time. Symbolic links in PATH are not followed.

Examples:
  keepfs ls ~/Sync/private
  keepfs ls -l ~/Sync/private:tax/2025
  keepfs ls --recursive --json --passfile key /srv/vault")]
pub struct LsArgs {
    /// The vault's directory, and behind a colon a path in it
    #[arg(value_name = "VAULT[:PATH]")]
    pub path: OsString,
    /// Show rights, owner, size and time
    #[arg(short, long)]
    pub long: bool,
    /// Show what is in directories too
    #[arg(short = 'R', long)]
    pub recursive: bool,
    /// Print JSON, an object a line
    #[arg(long, conflicts_with = "long")]
    pub json: bool,
    /// What opens the vault.
    #[command(flatten)]
    pub unlock: UnlockArgs,
}

/// `keepfs cat`
#[derive(Debug, Args)]
#[command(after_long_help = "\
Needs no mount and no FUSE, and changes nothing. Where the file is damaged, what
comes before the damage is printed, and the exit code is 24.

Examples:
  keepfs cat ~/Sync/private:letters.txt
  keepfs cat --offset 1MiB --length 64KiB ~/Sync/private:disk.img | xxd")]
pub struct CatArgs {
    /// The vault's directory, and behind a colon the file's path in it
    #[arg(value_name = "VAULT:PATH")]
    pub path: OsString,
    /// Begin so many bytes from the file's start
    #[arg(long, value_name = "SIZE", default_value = "0", value_parser = size::bytes)]
    pub offset: u64,
    /// Print no more than so many bytes
    #[arg(long, value_name = "SIZE", value_parser = size::bytes)]
    pub length: Option<u64>,
    /// What opens the vault.
    #[command(flatten)]
    pub unlock: UnlockArgs,
}

/// `keepfs path`
#[derive(Debug, Args)]
#[command(after_long_help = "\
Prints where the ciphertext of an object is, or with --plain-of which object a
file of the backing is.

Examples:
  keepfs path ~/Sync/private:tax/2025.pdf
  keepfs path ~/Sync/private --plain-of ~/Sync/private/fXcJ0...Rw/9mKq...bE")]
pub struct PathArgs {
    /// The vault's directory, and behind a colon the object's path in it
    #[arg(value_name = "VAULT[:PATH]")]
    pub path: OsString,
    /// Print the plain path of this file of the backing
    #[arg(long, value_name = "FILE", allow_hyphen_values = true)]
    pub plain_of: Option<PathBuf>,
    /// What opens the vault.
    #[command(flatten)]
    pub unlock: UnlockArgs,
}
