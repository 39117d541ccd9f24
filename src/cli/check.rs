//! `keepfs check`

use std::ffi::OsStr;
use std::io::{self, IsTerminal};
use std::os::unix::ffi::OsStrExt;
use std::time::{Duration, Instant};

use anyhow::Context;
use indicatif::{HumanBytes, ProgressBar};
use serde::Serialize;

use super::args::CheckArgs;
use super::progress::{Waiting, bytes_bar};
use super::repair::{JsonSalvaged, JsonStep, Repaired, repair, salvage_into};
use super::slots::InvalidReport;
use super::unlock::{self, WithoutLocks};
use crate::check::{Depth, Finding, Loss, Report, Trouble, check, measure};
use crate::mount::table::printable;
use crate::sys::process;
use crate::vault::Vault;

/// Why a check that was carried out is no success.
#[derive(Debug, thiserror::Error)]
pub enum CheckFailed {
    /// Something is lost, or cannot be proven whole.
    #[error(
        "the vault is not whole: {lost} objects damaged or lost, {unproven} not proven, {invalid_slots} strange files among its keys"
    )]
    Damage {
        /// Objects of which a part or all is lost.
        lost: usize,
        /// Objects that may be whole.
        unproven: usize,
        /// Files in `keepfs.slots` that are no slots.
        invalid_slots: usize,
    },
    /// Something could not be read.
    #[error("not everything could be checked: {0} objects could not be read")]
    Unread(usize),
}

/// What `--json` prints. Fields are added, never changed.
#[derive(Serialize)]
struct JsonReport {
    vault: String,
    depth: &'static str,
    directories: u64,
    files: u64,
    symlinks: u64,
    special: u64,
    bytes: u64,
    seconds: f64,
    findings: Vec<JsonFinding>,
    /// Entries of `keepfs.slots` that are no valid slot.
    invalid_slots: Vec<InvalidReport>,
    /// What `--repair` did, or would do.
    #[serde(skip_serializing_if = "Option::is_none")]
    repair: Option<Vec<JsonStep>>,
    /// Where what was taken out of the vault is.
    #[serde(skip_serializing_if = "Option::is_none")]
    quarantine: Option<String>,
    /// What is still wrong after a repair.
    #[serde(skip_serializing_if = "Option::is_none")]
    findings_after: Option<Vec<JsonFinding>>,
    /// What `--salvage` wrote.
    #[serde(skip_serializing_if = "Option::is_none")]
    salvaged: Option<Vec<JsonSalvaged>>,
}

/// What was done besides looking.
struct Rescue {
    repaired: Option<Repaired>,
    salvaged: Option<Vec<JsonSalvaged>>,
}

#[derive(Serialize)]
struct JsonFinding {
    kind: &'static str,
    /// What is lost: nothing, unproven, unknown, part or whole.
    loss: &'static str,
    cipher_path: String,
    /// Null where the name is not known.
    plain_path: Option<String>,
    what: String,
    advice: &'static str,
    /// Runs of damaged chunks, first and last of each.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    chunks: Vec<(u64, u64)>,
}

impl JsonReport {
    fn new(
        words: &CheckArgs,
        report: &Report,
        invalid_slots: Vec<InvalidReport>,
        rescue: Rescue,
        time: Duration,
    ) -> Self {
        let counts = &report.counts;
        let repaired = rescue.repaired.as_ref();
        let after = repaired.and_then(|repaired| repaired.after.as_ref());
        Self {
            vault: printable(words.vault.as_os_str()),
            depth: if words.quick { "quick" } else { "full" },
            directories: counts.directories,
            files: counts.files,
            symlinks: counts.symlinks,
            special: counts.special,
            bytes: counts.bytes,
            seconds: time.as_secs_f64(),
            findings: JsonFinding::all(report),
            invalid_slots,
            repair: repaired.map(Repaired::json),
            quarantine: repaired.and_then(Repaired::quarantine),
            findings_after: after.map(JsonFinding::all),
            salvaged: rescue.salvaged,
        }
    }
}

impl JsonFinding {
    fn all(report: &Report) -> Vec<Self> {
        report.findings.iter().map(Self::new).collect()
    }

    fn new(finding: &Finding) -> Self {
        let runs: &[_] = if let Trouble::Chunks(contents) = &finding.trouble {
            &contents.damaged
        } else {
            &[]
        };
        Self {
            kind: finding.trouble.word(),
            loss: finding.trouble.loss().word(),
            cipher_path: path(&finding.cipher_path),
            plain_path: finding.plain_path.as_deref().map(path),
            what: finding.trouble.to_string(),
            advice: finding.trouble.advice(),
            chunks: runs
                .iter()
                .map(|(first, last)| (first.get(), last.get()))
                .collect(),
        }
    }
}

/// `keepfs check`
///
/// # Errors
/// The vault cannot be opened; [`CheckFailed`].
pub fn run(words: &CheckArgs) -> anyhow::Result<()> {
    let failed = || {
        let vault = printable(words.vault.as_os_str());
        format!("cannot check the vault {vault}")
    };
    let without_locks = if words.yes {
        WithoutLocks::Refuse
    } else {
        WithoutLocks::Warn
    };
    let advice = "unmount it first: what changes meanwhile would look like damage";
    let locked = unlock::locked_alone(&words.vault, without_locks, advice).with_context(failed)?;
    let invalid: Vec<InvalidReport> = locked.info().odd.iter().map(InvalidReport::new).collect();
    let vault = unlock::vault(&words.unlock, &words.vault, locked)?;
    if let Err(error) = process::raise_descriptor_limit() {
        tracing::debug!("the limit on open files stays low: {error}");
    }
    let depth = if words.quick {
        Depth::Quick
    } else {
        Depth::Full
    };
    let start = Instant::now();
    let look = || {
        let bar = bar(&vault, depth);
        let report = check(&vault, depth, &|bytes| bar.inc(bytes));
        bar.finish_and_clear();
        report
    };
    let report = look();
    let salvaged = words
        .salvage
        .as_deref()
        .map(|target| salvage_into(target, words, &vault, &report))
        .transpose()?;
    let repaired = words
        .repair
        .then(|| repair(words, &vault, &report, look))
        .transpose()?;
    let rescue = Rescue { repaired, salvaged };
    let after = rescue.repaired.as_ref().and_then(|r| r.after.as_ref());
    let outcome = conclude(after.unwrap_or(&report), invalid.len());
    let time = start.elapsed();
    if words.json {
        super::print_json(&JsonReport::new(words, &report, invalid, rescue, time))?;
    } else {
        let mut text = shown(&report, &invalid, time);
        for salvaged in rescue.salvaged.iter().flatten() {
            text.push_str(&salvaged.line());
        }
        if let Some(repaired) = &rescue.repaired {
            text.push_str(&repaired.shown());
        }
        if let Some(after) = after {
            text.push_str("after the repair:\n");
            text.push_str(&shown(after, &invalid, time));
        }
        super::print(&text)?;
    }
    Ok(outcome?)
}

/// A bar with bytes, rate and the time that remains, on a terminal.
fn bar(vault: &Vault, depth: Depth) -> ProgressBar {
    if depth == Depth::Quick || !io::stderr().is_terminal() {
        return ProgressBar::hidden();
    }
    let waiting = Waiting::begin("Counting");
    let total = measure(vault);
    drop(waiting);
    bytes_bar(total)
}

/// What the findings together mean.
fn conclude(report: &Report, invalid_slots: usize) -> Result<(), CheckFailed> {
    let with = |wanted: &[Loss]| {
        let losses = report.findings.iter().map(|finding| finding.trouble.loss());
        losses.filter(|loss| wanted.contains(loss)).count()
    };
    let lost = with(&[Loss::Part, Loss::Whole]);
    let unproven = with(&[Loss::Unproven]);
    let unread = with(&[Loss::Unknown]);
    if lost + unproven + invalid_slots > 0 {
        Err(CheckFailed::Damage {
            lost,
            unproven,
            invalid_slots,
        })
    } else if unread > 0 {
        Err(CheckFailed::Unread(unread))
    } else {
        Ok(())
    }
}

/// The findings and what was looked at, for a person.
fn shown(report: &Report, invalid: &[InvalidReport], time: Duration) -> String {
    let mut text = String::new();
    for slot in invalid {
        text.push_str(&format!("keepfs.slots/{}\n", slot.line()));
    }
    for finding in &report.findings {
        let trouble = &finding.trouble;
        let cipher = path(&finding.cipher_path);
        match finding.plain_path.as_deref() {
            Some(plain) => text.push_str(&format!("{}\n  on the backing: {cipher}\n", path(plain))),
            None => text.push_str(&format!("{cipher}\n")),
        }
        text.push_str(&format!(
            "  {trouble}\n  lost: {}; {}\n",
            trouble.loss().word(),
            trouble.advice()
        ));
    }
    let counts = &report.counts;
    text.push_str(&format!(
        "{} files, {} directories, {} symbolic links, {} in {} s; {} findings\n",
        counts.files,
        counts.directories,
        counts.symlinks,
        HumanBytes(counts.bytes),
        time.as_secs_f64().ceil(),
        report.findings.len() + invalid.len(),
    ));
    text
}

/// A path in the vault, fit for a terminal; the root is a dot.
pub(super) fn path(bytes: &[u8]) -> String {
    if bytes.is_empty() {
        ".".to_owned()
    } else {
        printable(OsStr::from_bytes(bytes))
    }
}
