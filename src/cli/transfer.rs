//! `keepfs export` and `import`: whole trees without a mount.

use std::ffi::OsStr;
use std::io::{self, IsTerminal};
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use anyhow::Context;
use indicatif::{HumanBytes, ProgressBar};
use serde::Serialize;

use super::args::UnlockArgs;
use super::args::transfer::{ExportArgs, ImportArgs, TransferArgs};
use super::inside::{bring_in_journals, open, split};
use super::progress::{Waiting, bytes_bar};
use super::unlock::{self, WithoutLocks};
use crate::mount::table::{self, printable};
use crate::sys::process;
use crate::tools::PlainPath;
use crate::tools::conflicts::Alone;
use crate::tools::transfer::ends::{
    Place, TransferError, export as copy_out, import as copy_in, measure_export, measure_import,
};
use crate::tools::transfer::{Compare, Existing, Failure, How, Privileges, Report, Run, Trouble};
use crate::vault::Vault;

/// Why a copy that was carried out is no success.
#[derive(Debug, thiserror::Error)]
pub enum TransferFailed {
    /// Something in the vault is damaged; the rest was copied.
    #[error("{0} objects were not copied as they should be; something in the vault is damaged")]
    Damage(usize),
    /// Something was not copied; the rest was.
    #[error("{0} objects were not copied as they should be; the rest is in its place")]
    Incomplete(usize),
    /// The copy ended early.
    #[error("{path}: {trouble}; mend that and run the same command again: it goes on from here")]
    Stopped {
        /// At what.
        path: String,
        /// Why.
        #[source]
        trouble: Trouble,
    },
    /// The target is a mount of the vault.
    #[error("{} is in a mount of the vault itself", printable(.0.as_os_str()))]
    IntoItself(PathBuf),
}

/// What `--json` prints. Fields are added, never changed.
#[derive(Serialize)]
struct JsonReport {
    directories: u64,
    files: u64,
    symlinks: u64,
    special: u64,
    hard_links: u64,
    bytes: u64,
    skipped: u64,
    seconds: f64,
    dry_run: bool,
    /// Whether all of the source was gone through.
    complete: bool,
    failures: Vec<JsonFailure>,
}

#[derive(Serialize)]
struct JsonFailure {
    path: String,
    what: String,
}

impl JsonFailure {
    fn new(failure: &Failure) -> Self {
        Self {
            path: shown(&failure.path),
            what: failure.trouble.to_string(),
        }
    }
}

/// `keepfs export`
///
/// # Errors
/// The vault cannot be opened; [`TransferError`]; [`TransferFailed`].
pub fn export(words: &ExportArgs) -> anyhow::Result<()> {
    let (path, from) = split(&words.from);
    let from = PlainPath::parse(&from)?;
    refuse_own_mount(&path, &words.to)?;
    let vault = open(&path, &words.unlock)?;
    let place = Place {
        vault: &vault,
        path: &path,
    };
    let to = printable(words.to.as_os_str());
    let privileges = if words.privileged {
        Privileges::Keep
    } else {
        Privileges::Drop
    };
    carry_out(
        &words.how,
        privileges,
        || measure_export(&vault, &from),
        |how, bar| copy_out(place, &from, &words.to, how, &|bytes| bar.inc(bytes)),
    )
    .with_context(|| format!("cannot export all of it into {to}"))
}

/// `keepfs import`
///
/// # Errors
/// The vault cannot be opened, or is mounted; [`TransferError`];
/// [`TransferFailed`].
pub fn import(words: &ImportArgs) -> anyhow::Result<()> {
    let (path, to) = split(&words.to);
    let to = PlainPath::parse(&to)?;
    let (vault, alone) = open_alone(&path, &words.unlock)?;
    if !words.how.dry_run && alone == Alone::Yes {
        bring_in_journals(&vault)?;
    }
    let place = Place {
        vault: &vault,
        path: &path,
    };
    let from = printable(words.from.as_os_str());
    carry_out(
        &words.how,
        Privileges::Keep,
        || measure_import(&words.from, place),
        |how, bar| copy_in(&words.from, place, &to, how, &|bytes| bar.inc(bytes)),
    )
    .with_context(|| format!("cannot import all of {from}"))
}

/// Opens a vault that nobody else may use meanwhile, and tells whether the backing
/// has the locks to be sure of that.
fn open_alone(path: &Path, words: &UnlockArgs) -> anyhow::Result<(Vault, Alone)> {
    let failed = || {
        let vault = printable(path.as_os_str());
        format!("cannot import into the vault {vault}")
    };
    let advice = "unmount it first, or copy into the mount";
    let locked = unlock::locked_alone(path, WithoutLocks::Warn, advice).with_context(failed)?;
    let alone = Alone::lock(&locked);
    Ok((unlock::vault(words, path, locked)?, alone))
}

/// A mount of the vault is the vault: copying it there would not end.
fn refuse_own_mount(vault: &Path, to: &Path) -> Result<(), TransferFailed> {
    let parent = match to.parent() {
        Some(parent) if parent != Path::new("") => parent,
        Some(_) | None => Path::new("."),
    };
    let real = std::fs::canonicalize(to).or_else(|_| std::fs::canonicalize(parent));
    let (Ok(vault), Ok(real), Ok(mounts)) = (std::fs::canonicalize(vault), real, table::read())
    else {
        return Ok(());
    };
    let own = |mount: &table::MountEntry| {
        mount.is_keepfs() && mount.source == vault && real.starts_with(&mount.point)
    };
    if mounts.iter().any(own) {
        return Err(TransferFailed::IntoItself(to.to_owned()));
    }
    Ok(())
}

fn carry_out(
    words: &TransferArgs,
    privileges: Privileges,
    measure: impl FnOnce() -> Result<u64, TransferError>,
    copy: impl FnOnce(How, &ProgressBar) -> Result<Report, TransferError>,
) -> anyhow::Result<()> {
    if let Err(error) = process::raise_descriptor_limit() {
        tracing::debug!("the limit on open files stays low: {error}");
    }
    let how = how(words, privileges);
    let start = Instant::now();
    let bar = if io::stderr().is_terminal() {
        let waiting = Waiting::begin("Counting");
        let total = measure()?;
        drop(waiting);
        bytes_bar(total)
    } else {
        ProgressBar::hidden()
    };
    let report = copy(how, &bar);
    bar.finish_and_clear();
    let report = report?;
    let time = start.elapsed();
    if words.json {
        super::print_json(&json(&report, how, time))?;
    } else {
        super::print(&text(&report, how, time))?;
    }
    Ok(conclude(report)?)
}

fn how(words: &TransferArgs, privileges: Privileges) -> How {
    How {
        privileges,
        existing: if words.overwrite {
            Existing::Replace
        } else {
            Existing::Keep
        },
        compare: if words.checksum {
            Compare::Contents
        } else {
            Compare::Times
        },
        run: if words.dry_run { Run::Dry } else { Run::Real },
    }
}

fn json(report: &Report, how: How, time: Duration) -> JsonReport {
    let counts = &report.counts;
    let failures = report.failures.iter().chain(&report.stopped);
    JsonReport {
        directories: counts.directories,
        files: counts.files,
        symlinks: counts.symlinks,
        special: counts.special,
        hard_links: counts.hard_links,
        bytes: counts.bytes,
        skipped: counts.skipped,
        seconds: time.as_secs_f64(),
        dry_run: how.run == Run::Dry,
        complete: report.stopped.is_none(),
        failures: failures.map(JsonFailure::new).collect(),
    }
}

/// What was not copied and what was, for a person.
fn text(report: &Report, how: How, time: Duration) -> String {
    let mut text = String::new();
    for failure in &report.failures {
        text.push_str(&format!("{}: {}\n", shown(&failure.path), failure.trouble));
    }
    let counts = &report.counts;
    let copied = match how.run {
        Run::Real => "copied",
        Run::Dry => "to be copied",
    };
    text.push_str(&format!(
        "{copied}: {} files, {} directories, {} symbolic links, {} others, {} hard links, {} in {} s; {} there already\n",
        counts.files,
        counts.directories,
        counts.symlinks,
        counts.special,
        counts.hard_links,
        HumanBytes(counts.bytes),
        time.as_secs_f64().ceil(),
        counts.skipped,
    ));
    text
}

/// What the failures together mean.
fn conclude(report: Report) -> Result<(), TransferFailed> {
    if let Some(Failure { path, trouble }) = report.stopped {
        let path = shown(&path);
        return Err(TransferFailed::Stopped { path, trouble });
    }
    let count = report.failures.len();
    if report.failures.iter().any(|f| f.trouble.is_damage()) {
        Err(TransferFailed::Damage(count))
    } else if count > 0 {
        Err(TransferFailed::Incomplete(count))
    } else {
        Ok(())
    }
}

/// A path in the tree, fit for a terminal; its root is a dot.
fn shown(path: &[u8]) -> String {
    if path.is_empty() {
        ".".to_owned()
    } else {
        printable(OsStr::from_bytes(path))
    }
}
