//! The words of the command line. What they mean is decided elsewhere.
//!
//! | file | what it holds |
//! |---|---|
//! | this file | the commands of a vault's and a mount's life |
//! | [`secrets`] | the words about passphrases, key files and recovery codes |
//! | [`key`] | `keepfs key ...` |
//! | [`inside`] | `keepfs ls`, `cat`, `path` |
//! | [`conflicts`] | `keepfs conflicts` |
//! | [`transfer`] | `keepfs export`, `import` |

pub mod conflicts;
pub mod inside;
pub mod key;
pub mod secrets;
pub mod transfer;

use std::ffi::OsString;
use std::path::PathBuf;
use std::time::Duration;

use clap::{ArgAction, Args, Parser, Subcommand};

use super::{exit, size};
use crate::codec::geometry::Geometry;
pub use key::KeyCommand;
pub use secrets::{CostArgs, NewKeyArgs, PassphraseArgs, StrengthArgs, UnlockArgs};

/// What `--version` says: also that a program built for measuring is no use.
const VERSION: &str = if cfg!(keepfs_without_cipher) {
    concat!(
        env!("CARGO_PKG_VERSION"),
        " WITHOUT ENCRYPTION, for measuring alone"
    )
} else {
    env!("CARGO_PKG_VERSION")
};

/// Everything that can be typed after `keepfs`.
#[derive(Debug, Parser)]
#[command(
    name = "keepfs",
    version = VERSION,
    about = "An encrypted file system for folders that somebody else stores",
    long_about = "An encrypted file system for folders that somebody else stores.\n\n\
        A vault is an ordinary directory that holds only ciphertext, one file for each of \
        yours; give it to a sync service, a NAS or a USB stick. Mounted with its passphrase \
        it shows your files as they are.",
    after_long_help = help_end(),
    arg_required_else_help = true,
    max_term_width = 100,
)]
pub struct Cli {
    /// What to do.
    #[command(subcommand)]
    pub command: Command,
}

/// The commands.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// Make a new vault
    Init(InitArgs),
    /// Show a vault's files at a mount point
    Mount(MountArgs),
    /// Take a mount off and wait until everything is in the vault
    #[command(visible_alias = "umount")]
    Unmount(UnmountArgs),
    /// Show what a vault says about itself; needs no passphrase
    Info(InfoArgs),
    /// Look whether a vault is whole, and repair it; needs no mount
    Check(CheckArgs),
    /// List what is in a vault; needs no mount
    Ls(inside::LsArgs),
    /// Print a file of a vault; needs no mount
    Cat(inside::CatArgs),
    /// Print where an object of a vault is on the backing, or the other way round
    Path(inside::PathArgs),
    /// List the conflict copies that sync clients made, and resolve them; needs no mount
    Conflicts(conflicts::ConflictsArgs),
    /// Copy what is in a vault into a directory; needs no mount
    Export(transfer::ExportArgs),
    /// Copy a directory into a vault; needs no mount
    Import(transfer::ImportArgs),
    /// List, add, change and remove what opens a vault
    #[command(subcommand)]
    Key(KeyCommand),
    /// Show what is mounted
    Status(StatusArgs),
    /// Print completions for a shell
    Completions(CompletionsArgs),
    /// Print the manual page, or write all of them into a directory
    #[command(hide = true)]
    Man(ManArgs),
}

fn help_end() -> String {
    format!(
        "Examples:\n  \
         keepfs init ~/Sync/private           make a vault\n  \
         keepfs mount ~/Sync/private ~/open   work in ~/open\n  \
         keepfs unmount ~/open                close it\n\n\
         Exit codes:\n{}",
        exit::table()
    )
}

/// `keepfs init`
#[derive(Debug, Args)]
#[command(after_long_help = "\
Examples:
  keepfs init ~/Sync/private
  keepfs init --chunk-size 64KiB --label laptop ~/Sync/private
  pass show vault | keepfs init ~/Sync/private")]
pub struct InitArgs {
    /// The vault's directory; it must be empty or not exist yet
    pub vault: PathBuf,
    /// Size of the pieces a file is encrypted in, from 4KiB to 1MiB
    ///
    /// Small pieces make small changes cheap; large ones make large files a
    /// little smaller. It cannot be changed later.
    #[arg(long, value_name = "SIZE", default_value = "4KiB", value_parser = size::chunk_size)]
    pub chunk_size: Geometry,
    /// What unlocking shall cost.
    #[command(flatten)]
    pub cost: CostArgs,
    /// A name for this key, at most 64 bytes; anyone can read it
    #[arg(long, value_name = "TEXT", default_value = "", hide_default_value = true,
          value_parser = size::label)]
    pub label: String,
    /// Print the result as JSON
    #[arg(long)]
    pub json: bool,
    /// Make this key file the key, or with a passphrase a part of it
    #[arg(long, value_name = "FILE")]
    pub keyfile: Option<PathBuf>,
    /// Ask for a passphrase too, with --keyfile
    #[arg(long, requires = "keyfile", conflicts_with_all = ["passfile", "extpass", "credential"])]
    pub ask_passphrase: bool,
    /// How strong the passphrase must be.
    #[command(flatten)]
    pub strength: StrengthArgs,
    /// Where the passphrase comes from.
    #[command(flatten)]
    pub passphrase: PassphraseArgs,
}

/// `keepfs mount`
#[derive(Debug, Args)]
#[command(after_long_help = "\
Examples:
  keepfs mount ~/Sync/private ~/open
  keepfs mount --read-only --passfile /root/key /srv/vault /mnt
  keepfs mount --extpass 'pass show vault' ~/Sync/private ~/open
  keepfs mount --keyfile /media/stick/vault.key ~/Sync/private ~/open
  keepfs mount --recovery ~/Sync/private ~/open
In /etc/fstab, with a link /sbin/mount.keepfs to this program:
  /srv/vault  /mnt  keepfs  noauto,nofail,passfile=/root/key  0  0

Options for -o, separated by commas:
  ro, rw, exec, noexec, suid, nosuid, dev, nodev, atime, noatime, diratime, nodiratime
                        as in mount(8); nosuid, nodev and noatime unless told otherwise
  allow_other, strict, nonempty, writeback, no_writeback,
  journal, no_journal
  cache_timeout=SECONDS
  passfile=FILE, credential=NAME, keyfile=FILE, slot=ID
                        as the flags of these names
  fsname=NAME           shown as the source instead of the vault's path
  defaults, async, relatime, auto, noauto, nofail, user, nouser, users, owner, group,
  _netdev, comment=..., x-...
                        accepted; they are for others to act on")]
pub struct MountArgs {
    /// The vault's directory
    pub vault: PathBuf,
    /// An empty directory to show the files in
    pub mountpoint: PathBuf,
    /// Stay in the foreground until unmounted
    #[arg(short, long)]
    pub foreground: bool,
    /// Allow no changes
    #[arg(short, long)]
    pub read_only: bool,
    /// Let other users in, as the files' modes allow
    ///
    /// An ordinary user needs user_allow_other in /etc/fuse.conf for this.
    #[arg(long)]
    pub allow_other: bool,
    /// Options in the manner of mount(8), see below
    #[arg(short = 'o', value_name = "LIST", action = ArgAction::Append)]
    pub options: Vec<String>,
    /// How long the kernel may trust names and attributes without asking
    /// again [default: 1, and 60 where every change is told]
    ///
    /// What a sync client changes while the vault is mounted shows after that
    /// time at the latest, and at once where this machine tells of changes
    /// (a local directory): there, what rests is trusted for a minute unless
    /// this is given. Set it to 0 to have the kernel ask each time.
    #[arg(long, value_name = "SECONDS", value_parser = size::seconds)]
    pub cache_timeout: Option<Duration>,
    /// Hand each write over at once instead of letting the kernel gather them
    #[arg(long)]
    pub no_writeback: bool,
    /// Write over files in their place, without a journal
    ///
    /// Saves the second write of what is written over. A crash or a power cut
    /// then destroys the 4 KiB that were just being written over, old contents
    /// included.
    #[arg(long)]
    pub no_journal: bool,
    /// Refuse files that were not sealed or do not match their seal
    #[arg(long)]
    pub strict: bool,
    /// What opens the vault.
    #[command(flatten)]
    pub unlock: UnlockArgs,
    /// Take unknown `-o` options for granted (`mount -s`).
    #[arg(skip)]
    pub sloppy: bool,
    /// Check everything, mount nothing (`mount -f`).
    #[arg(skip)]
    pub fake: bool,
}

/// `keepfs unmount`
#[derive(Debug, Args)]
#[command(after_long_help = "\
Examples:
  keepfs unmount ~/open
  keepfs unmount --lazy ~/open")]
pub struct UnmountArgs {
    /// Where the vault is mounted
    pub mountpoint: PathBuf,
    /// Detach it even if it is in use; it ends when its last user does
    #[arg(short, long)]
    pub lazy: bool,
}

/// `keepfs info`
#[derive(Debug, Args)]
#[command(after_long_help = "\
Examples:
  keepfs info ~/Sync/private
  keepfs info --json ~/Sync/private | jq -r .fingerprint")]
pub struct InfoArgs {
    /// The vault's directory
    pub vault: PathBuf,
    /// Print JSON
    #[arg(long)]
    pub json: bool,
}

/// `keepfs check`
#[derive(Debug, Args)]
#[command(after_long_help = "\
Reads every file of the vault and proves every name, header, chunk and seal. What
is wrong is printed a finding a line, with what is lost, the path in the vault's
directory and the plain path where it is known.

It ends with 0 if nothing is lost, with 24 if something is or cannot be proven
whole, and with 25 if something could not be read.

--repair shows what could be done, and with --yes does it and checks again: files
that a crash left open are sealed, directories get their lost keepfs.dir back, what
was moved on the backing is moved home, and what cannot be repaired is moved to a
quarantine beside the vault. Nothing is deleted. What a repair brings to light is
shown and left for the next one. --salvage writes whatever still authenticates of
damaged files into DIR, as plaintext, with a list of the gaps.

Examples:
  keepfs check ~/Sync/private
  keepfs check --quick --passfile key /srv/vault
  keepfs check --json ~/Sync/private | jq -r '.findings[].plain_path'
  keepfs check --repair ~/Sync/private
  keepfs check --repair --yes --salvage ~/rescued ~/Sync/private
  keepfs check --repair --was tax/2024 ~/Sync/private")]
pub struct CheckArgs {
    /// The vault's directory
    pub vault: PathBuf,
    /// Look at names, headers and lengths only, not at the contents
    #[arg(long, conflicts_with_all = ["repair", "salvage"])]
    pub quick: bool,
    /// Show how what is wrong could be repaired
    #[arg(long)]
    pub repair: bool,
    /// Carry the repairs out
    #[arg(long, requires = "repair")]
    pub yes: bool,
    /// Keep what is taken out of the vault in this new directory
    #[arg(long, value_name = "DIR", requires = "repair")]
    pub quarantine: Option<PathBuf>,
    /// A path that a directory without its keepfs.dir once had; may be repeated
    #[arg(long, value_name = "PATH", requires = "repair")]
    pub was: Vec<OsString>,
    /// Write what is left of damaged files into this new directory, in plain
    #[arg(long, value_name = "DIR")]
    pub salvage: Option<PathBuf>,
    /// Print JSON
    #[arg(long)]
    pub json: bool,
    /// What opens the vault.
    #[command(flatten)]
    pub unlock: UnlockArgs,
}

/// `keepfs status`
#[derive(Debug, Args)]
#[command(after_long_help = "\
Examples:
  keepfs status
  keepfs status --json ~/open | jq .mounts[0].open_for_writing
  keepfs status --stats ~/open      what the kernel asked for, and how long it took")]
pub struct StatusArgs {
    /// Show this mount only
    pub mountpoint: Option<PathBuf>,
    /// Also show how many requests of each kind came, and how long they took
    #[arg(long)]
    pub stats: bool,
    /// Print JSON
    #[arg(long)]
    pub json: bool,
}

/// `keepfs completions`
#[derive(Debug, Args)]
#[command(after_long_help = "\
Examples:
  keepfs completions bash > ~/.local/share/bash-completion/completions/keepfs
  keepfs completions fish > ~/.config/fish/completions/keepfs.fish")]
pub struct CompletionsArgs {
    /// Which shell
    pub shell: clap_complete::Shell,
}

/// `keepfs man`
#[derive(Debug, Args)]
pub struct ManArgs {
    /// Where to write the pages; without it keepfs(1) is printed
    pub directory: Option<PathBuf>,
}

/// What mount(8) passes to a helper `mount.TYPE`.
#[derive(Debug, Parser)]
#[command(
    name = "mount.keepfs",
    version = VERSION,
    about = "Mounts a keepfs vault for mount(8)"
)]
pub struct HelperCli {
    /// The vault's directory
    pub vault: PathBuf,
    /// An empty directory to show the files in
    pub mountpoint: PathBuf,
    /// Options in the manner of mount(8)
    #[arg(short = 'o', value_name = "LIST", action = ArgAction::Append)]
    pub options: Vec<String>,
    /// Pass over unknown options
    #[arg(short)]
    pub sloppy: bool,
    /// Check everything, mount nothing
    #[arg(short)]
    pub fake: bool,
    /// Accepted: there is no mtab to write
    #[arg(short)]
    pub no_mtab: bool,
    /// Accepted
    #[arg(short)]
    pub verbose: bool,
    /// Accepted
    #[arg(short = 't', value_name = "TYPE")]
    pub fs_type: Option<String>,
}

impl HelperCli {
    /// The same as a [`Command::Mount`].
    #[must_use]
    pub fn into_command(self) -> Command {
        Command::Mount(MountArgs {
            vault: self.vault,
            mountpoint: self.mountpoint,
            foreground: false,
            read_only: false,
            allow_other: false,
            options: self.options,
            cache_timeout: None,
            no_writeback: false,
            no_journal: false,
            strict: false,
            unlock: UnlockArgs::default(),
            sloppy: self.sloppy,
            fake: self.fake,
        })
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests may fail loudly")]
    use super::*;
    use clap::CommandFactory;

    #[test]
    fn the_command_line_is_consistent() {
        Cli::command().debug_assert();
        HelperCli::command().debug_assert();
    }

    #[test]
    fn what_mount_passes_to_its_helper_is_understood() {
        let words = "mount.keepfs /v /m -sfnv -o rw,nofail -t fuse.keepfs";
        let helper = HelperCli::try_parse_from(words.split(' ')).unwrap();
        let Command::Mount(mount) = helper.into_command() else {
            panic!("not a mount");
        };
        assert_eq!(mount.options, ["rw,nofail"]);
        assert!(mount.sloppy && mount.fake);
    }

    #[test]
    fn umount_is_unmount() {
        let cli = Cli::try_parse_from(["keepfs", "umount", "-l", "/m"]).unwrap();
        assert!(matches!(cli.command, Command::Unmount(words) if words.lazy));
    }
}
