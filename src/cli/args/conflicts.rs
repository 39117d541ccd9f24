//! The words of `keepfs conflicts`.

use std::ffi::OsString;

use clap::{Args, Subcommand, ValueEnum};

use super::secrets::UnlockArgs;
use crate::tools::conflicts::Keep;

/// `keepfs conflicts`
#[derive(Debug, Args)]
#[command(
    args_conflicts_with_subcommands = true,
    subcommand_negates_reqs = true,
    after_long_help = "\
When two devices change the same file before either has the other's version, a
sync client keeps both: one under the name itself, the other as a conflict copy.
This lists such files with the size and time of each version. A mount and keepfs
ls show the copies too, as `NAME [conflict CLIENT TIME HASH].EXT`.

Listing changes nothing, and works while the vault is mounted.

Examples:
  keepfs conflicts ~/Sync/private
  keepfs conflicts --json ~/Sync/private:tax
  keepfs conflicts resolve --keep newest ~/Sync/private:tax/report.odt"
)]
pub struct ConflictsArgs {
    /// The vault's directory, and behind a colon a path in it
    #[arg(value_name = "VAULT[:PATH]", required = true)]
    pub path: Option<OsString>,
    /// Print the result as JSON
    #[arg(long)]
    pub json: bool,
    /// What opens the vault.
    #[command(flatten)]
    pub unlock: UnlockArgs,
    /// What to do instead of listing.
    #[command(subcommand)]
    pub command: Option<ConflictsCommand>,
}

/// What can be done about conflicts.
#[derive(Debug, Subcommand)]
pub enum ConflictsCommand {
    /// End a conflict in favour of one version, or keep all of them
    Resolve(ResolveArgs),
}

/// `keepfs conflicts resolve`
#[derive(Debug, Args)]
#[command(after_long_help = "\
PATH is the file itself, and then all its versions are meant; or one conflict
copy, and then that and the file itself. What stays is read and proven whole
before another version is deleted. Directories are resolved only while the vault
is not mounted, and never deleted with anything in them.

In a mount the same is done by renaming a copy over the file, or by deleting it.

Examples:
  keepfs conflicts resolve --keep newest ~/Sync/private:report.odt
  keepfs conflicts resolve --keep both ~/Sync/private:report.odt
  keepfs conflicts resolve --keep theirs \\
      '/home/me/Sync/private:report [conflict syncthing 2026-11-22 10:10 1f3a9c02].odt'")]
pub struct ResolveArgs {
    /// The vault's directory, and behind a colon a path in it
    #[arg(value_name = "VAULT:PATH")]
    pub path: OsString,
    /// Which version stays
    #[arg(long, value_name = "WHICH")]
    pub keep: KeepWord,
    /// Print the result as JSON
    #[arg(long)]
    pub json: bool,
    /// What opens the vault.
    #[command(flatten)]
    pub unlock: UnlockArgs,
}

/// `--keep`
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum KeepWord {
    /// The version that was changed last
    Newest,
    /// The version under the name itself
    Mine,
    /// The conflict copy; it gets the name
    Theirs,
    /// All versions; copies become ordinary files under the names they are shown as
    Both,
}

impl From<KeepWord> for Keep {
    fn from(word: KeepWord) -> Self {
        match word {
            KeepWord::Newest => Self::Newest,
            KeepWord::Mine => Self::Mine,
            KeepWord::Theirs => Self::Theirs,
            KeepWord::Both => Self::Both,
        }
    }
}
