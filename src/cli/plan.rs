//! From the words of `keepfs mount` to a checked plan. Everything that can be
//! wrong without the passphrase is found here.

use std::ffi::OsString;
use std::path::PathBuf;
use std::time::Duration;

use super::args::{MountArgs, UnlockArgs};
use super::options::{MountOptions, OptionError, Unknown};
use crate::mount::point::{self, NonEmpty, PointError};
use crate::mount::{MountPlan, Overwrites, Trust, Writes};
use crate::sys::mount::{Audience, MountFlag};
use crate::vault::SlotChoice;

/// How long the kernel trusts names and attributes unless told otherwise.
const CACHE_TIMEOUT: Duration = Duration::from_secs(1);

/// The same where every change in a directory is told. Not longer, as what is written
/// through a mapping of a file of the backing is not.
const FOLLOWED_TIMEOUT: Duration = Duration::from_secs(60);

/// The options of a mount, from `-o` lists and flags together.
///
/// # Errors
/// The first option that is wrong.
pub fn options(words: &MountArgs) -> Result<MountOptions, OptionError> {
    let unknown = if words.sloppy {
        Unknown::Ignored
    } else {
        Unknown::Refused
    };
    let mut options = MountOptions::default();
    for list in &words.options {
        options.read(list, unknown)?;
    }
    // A flag is stronger than a list, wherever it stands.
    let raise = |option: &mut Option<bool>, flag: bool, to: bool| {
        if flag {
            *option = Some(to);
        }
    };
    raise(&mut options.read_only, words.read_only, true);
    raise(&mut options.allow_other, words.allow_other, true);
    raise(&mut options.strict, words.strict, true);
    raise(&mut options.writeback, words.no_writeback, false);
    raise(&mut options.journal, words.no_journal, false);
    options.cache_timeout = words.cache_timeout.or(options.cache_timeout);
    Ok(options)
}

/// What opens the vault: the flags, else the option lists.
#[must_use]
pub fn unlock_words(mut words: UnlockArgs, options: &MountOptions) -> UnlockArgs {
    if !words.recovery {
        words.keyfile = words.keyfile.or_else(|| options.keyfile.clone());
    }
    let flags_say = words.passphrase.names_a_source() || words.ask_passphrase || words.recovery;
    if !flags_say {
        words.passphrase.passfile.clone_from(&options.passfile);
        words.passphrase.credential.clone_from(&options.credential);
    }
    words.slot = words.slot.or_else(|| options.slot.clone());
    words
}

/// Checks the mount point and puts the plan together. `vault` is absolute and
/// free of symbolic links.
///
/// # Errors
/// What speaks against the mount point.
pub fn plan(
    vault: PathBuf,
    words: &MountArgs,
    options: &MountOptions,
    slots: SlotChoice,
) -> Result<MountPlan, PointError> {
    let non_empty = match options.non_empty {
        Some(true) => NonEmpty::Allowed,
        Some(false) | None => NonEmpty::Refused,
    };
    let point = point::check(&vault, &words.mountpoint, non_empty)?;
    let source = match &options.fs_name {
        Some(name) => OsString::from(name),
        None => vault.clone().into_os_string(),
    };
    Ok(MountPlan {
        vault,
        point,
        source,
        flags: flags(options),
        audience: match options.allow_other {
            Some(true) => Audience::Everyone,
            Some(false) | None => Audience::Owner,
        },
        cache_timeout: options.cache_timeout.unwrap_or(CACHE_TIMEOUT),
        followed_timeout: options.cache_timeout.unwrap_or(FOLLOWED_TIMEOUT),
        writes: match options.writeback {
            Some(false) => Writes::AtOnce,
            Some(true) | None => Writes::Gathered,
        },
        overwrites: match options.journal {
            Some(false) => Overwrites::InPlace,
            Some(true) | None => Overwrites::Journalled,
        },
        trust: match options.strict {
            Some(true) => Trust::Strict,
            Some(false) | None => Trust::Lenient,
        },
        slots,
    })
}

/// The kernel's restrictions: nosuid, nodev and noatime unless lifted.
fn flags(options: &MountOptions) -> Vec<MountFlag> {
    let lifted = |option: Option<bool>| option == Some(true);
    let asked_not = |option: Option<bool>| option == Some(false);
    let table = [
        (MountFlag::ReadOnly, options.read_only == Some(true)),
        (MountFlag::NoSuid, !lifted(options.suid)),
        (MountFlag::NoDev, !lifted(options.dev)),
        (MountFlag::NoExec, asked_not(options.exec)),
        (MountFlag::NoAtime, !lifted(options.atime)),
        (MountFlag::NoDirAtime, asked_not(options.dir_atime)),
    ];
    let set = table.into_iter().filter(|(_, set)| *set);
    set.map(|(flag, _)| flag).collect()
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests may fail loudly")]
    use super::*;
    use crate::cli::args::{Cli, Command};
    use clap::Parser;

    fn words(line: &str) -> MountArgs {
        let line = format!("keepfs mount /v /m {line}");
        let cli = Cli::try_parse_from(line.split_whitespace()).unwrap();
        let Command::Mount(words) = cli.command else {
            panic!("not a mount");
        };
        words
    }

    fn flags_of(line: &str) -> Vec<MountFlag> {
        flags(&options(&words(line)).unwrap())
    }

    #[test]
    fn a_mount_is_nosuid_nodev_noatime_unless_told_otherwise() {
        use MountFlag::{NoAtime, NoDev, NoExec, NoSuid, ReadOnly};
        assert_eq!(flags_of(""), [NoSuid, NoDev, NoAtime]);
        assert_eq!(flags_of("-o suid,dev,atime"), []);
        assert_eq!(
            flags_of("-o ro,noexec"),
            [ReadOnly, NoSuid, NoDev, NoExec, NoAtime]
        );
    }

    #[test]
    fn a_flag_is_stronger_than_a_list() {
        let options = options(&words(
            "--read-only --no-writeback --cache-timeout 3 -o rw,writeback,cache_timeout=9",
        ))
        .unwrap();
        assert_eq!(options.read_only, Some(true));
        assert_eq!(options.writeback, Some(false));
        assert_eq!(options.cache_timeout, Some(Duration::from_secs(3)));
    }

    #[test]
    fn a_passphrase_flag_is_stronger_than_the_list() {
        let from_list = options(&words("-o passfile=/list")).unwrap();
        let source = |line| unlock_words(words(line).unlock, &from_list);
        let path = |words: &UnlockArgs| words.passphrase.passfile.clone();
        assert_eq!(path(&source("")), Some("/list".into()));
        assert_eq!(path(&source("--passfile /flag")), Some("/flag".into()));
        for line in ["--extpass program", "--credential name", "--recovery"] {
            assert_eq!(path(&source(line)), None, "{line}");
        }
        assert_eq!(source("--extpass program").passphrase.extpass, ["program"]);
    }

    #[test]
    fn a_list_can_name_key_file_credential_and_slot() {
        let options = options(&words("-o keyfile=/k,credential=c,slot=1F3A")).unwrap();
        let from_list = unlock_words(words("").unlock, &options);
        assert_eq!(from_list.keyfile, Some("/k".into()));
        assert_eq!(from_list.passphrase.credential.as_deref(), Some("c"));
        assert_eq!(from_list.slot.as_deref(), Some("1f3a"));
        let flags = unlock_words(words("--keyfile /f --slot 9").unlock, &options);
        assert_eq!(flags.keyfile, Some("/f".into()));
        assert_eq!(flags.slot.as_deref(), Some("9"));
    }

    #[test]
    fn the_source_is_the_vault_unless_named() {
        let base = tempfile::tempdir().unwrap();
        let (vault, point) = (base.path().join("v"), base.path().join("m"));
        std::fs::create_dir(&vault).unwrap();
        std::fs::create_dir(&point).unwrap();
        for (line, source) in [("", vault.to_str().unwrap()), ("-o fsname=a", "a")] {
            let mut words = words(line);
            words.mountpoint = point.clone();
            let options = options(&words).unwrap();
            let plan = plan(vault.clone(), &words, &options, SlotChoice::Any).unwrap();
            assert_eq!(plan.source.to_str(), Some(source));
        }
    }
}
