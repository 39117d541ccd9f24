//! `keepfs check --repair` and `--salvage`

use std::ffi::OsString;
use std::fs;
use std::io;
use std::path::{Component, Path, PathBuf};
use std::time::SystemTime;

use anyhow::Context;
use serde::Serialize;

use super::args::CheckArgs;
use super::check::path;
use super::status;
use crate::check::Report;
use crate::check::repair::{RepairError, Step, plan};
use crate::check::salvage::{Salvaged, State, salvage};
use crate::mount::table::printable;
use crate::store::Quarantine;
use crate::tools::PlainPath;
use crate::types::DirId;
use crate::vault::Vault;

/// Name of the list of gaps, in the directory given to `--salvage`.
const GAPS_NAME: &str = "gaps.json";

/// Why nothing was repaired or salvaged.
#[derive(Debug, thiserror::Error)]
pub enum RepairRefused {
    /// The directory is in the vault.
    #[error("{} is inside the vault; name a directory outside with {option}", printable(.path.as_os_str()))]
    Inside {
        /// Which directory.
        path: PathBuf,
        /// Which option names another.
        option: &'static str,
    },
    /// The quarantine cannot be made.
    #[error("cannot make the quarantine {}: {error}; --quarantine DIR names another, on the vault's file system", printable(.path.as_os_str()))]
    Quarantine {
        /// Which directory.
        path: PathBuf,
        /// What the system said.
        #[source]
        error: io::Error,
    },
}

/// What became of a step.
enum Done {
    /// Nothing: only asked what would be done.
    Planned,
    Carried,
    Failed(RepairError),
}

/// What a repair did, or would do.
pub struct Repaired {
    steps: Vec<(Step, Done)>,
    /// Where what is taken out is, or would be.
    quarantine: PathBuf,
    /// Whether anything is there.
    holds: Holds,
    /// How the vault stands afterwards; `None` if nothing was changed.
    pub after: Option<Report>,
    /// Steps that came to light and were not carried out.
    uncovered: usize,
}

/// Whether the quarantine holds anything.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Holds {
    Nothing,
    Something,
}

/// One step in `--json`. Fields are added, never changed.
#[derive(Serialize)]
pub struct JsonStep {
    cipher_path: String,
    /// Null where the name is not known.
    plain_path: Option<String>,
    remedy: &'static str,
    what: String,
    /// Where it goes, what it is exchanged with, or whose names it holds.
    #[serde(skip_serializing_if = "Option::is_none")]
    target: Option<String>,
    done: bool,
    /// Why it could not be carried out.
    error: Option<String>,
}

/// One salvaged file in `--json` and in the list of gaps. Fields are added,
/// never changed.
#[derive(Serialize)]
pub struct JsonSalvaged {
    cipher_path: String,
    /// Below the directory given.
    written_to: String,
    size: u64,
    /// Lost bytes, each from and to which.
    gaps: Vec<(u64, u64)>,
    /// "sealed" if it is what was sealed; "unproven" if its chunks may be from
    /// different times.
    state: &'static str,
    /// Why it ends early or is not there.
    #[serde(skip_serializing_if = "Option::is_none")]
    error: Option<String>,
}

/// Plans the repairs, and with `--yes` carries out what was planned; `check`
/// looks at the vault again. What a repair brings to light is planned anew and
/// not carried out: nobody has seen it yet.
///
/// # Errors
/// [`RepairRefused`]; a path that is none.
pub fn repair(
    words: &CheckArgs,
    vault: &Vault,
    report: &Report,
    check: impl Fn() -> Report,
) -> anyhow::Result<Repaired> {
    let stated = words
        .was
        .iter()
        .map(|was| Ok(PlainPath::parse(was.as_encoded_bytes())?.place(vault)))
        .collect::<anyhow::Result<Vec<DirId>>>()?;
    let place = match &words.quarantine {
        Some(path) => path.clone(),
        None => beside(&words.vault)?,
    };
    outside(&place, &words.vault, "--quarantine")?;
    let planned = plan(vault, report, &stated);
    let mut repaired = Repaired {
        steps: Vec::new(),
        quarantine: place,
        holds: Holds::Nothing,
        after: None,
        uncovered: 0,
    };
    if !words.yes || planned.is_empty() {
        let planned = planned.into_iter().map(|step| (step, Done::Planned));
        repaired.steps = planned.collect();
        return Ok(repaired);
    }
    let path = repaired.quarantine.clone();
    let mut quarantine =
        Quarantine::create(&path).map_err(|error| RepairRefused::Quarantine { path, error })?;
    // Taking out comes last: what has no place now may have one then.
    let (last, first): (Vec<Step>, Vec<Step>) = planned
        .into_iter()
        .partition(|step| step.remedy.takes_out());
    let repaired_first = !first.is_empty();
    repaired.carry_out(first, vault, &mut quarantine);
    let mut after = None;
    let last = if repaired_first && !last.is_empty() {
        let report = check();
        let now = plan(vault, &report, &stated);
        after = Some(report);
        last.into_iter().filter(|step| now.contains(step)).collect()
    } else {
        last
    };
    if !last.is_empty() {
        repaired.carry_out(last, vault, &mut quarantine);
        after = None;
    }
    let after = after.unwrap_or_else(check);
    let left = plan(vault, &after, &stated);
    repaired.uncovered = left
        .iter()
        .filter(|step| repaired.steps.iter().all(|(tried, _)| tried != *step))
        .count();
    repaired.after = Some(after);
    if quarantine.holds_something() {
        repaired.holds = Holds::Something;
    } else if let Err(error) = quarantine.discard(&repaired.quarantine) {
        tracing::warn!("the empty quarantine stays: {error}");
    }
    Ok(repaired)
}

/// A new directory beside the vault's.
fn beside(vault: &Path) -> anyhow::Result<PathBuf> {
    let vault = fs::canonicalize(vault)?;
    let now = SystemTime::now()
        .duration_since(SystemTime::UNIX_EPOCH)
        .map_or(0, |since| since.as_secs());
    let mut name = vault.file_name().map_or_else(OsString::new, OsString::from);
    let time: String = status::utc(now)
        .chars()
        .filter(char::is_ascii_alphanumeric)
        .collect();
    name.push(format!(".quarantine-{time}"));
    Ok(vault.with_file_name(name))
}

/// Refuses a directory inside the vault, which would be synced with it, in
/// plain or as strange files.
fn outside(dir: &Path, vault: &Path, option: &'static str) -> anyhow::Result<()> {
    let vault = fs::canonicalize(vault)?;
    let inside = || RepairRefused::Inside {
        path: dir.to_owned(),
        option,
    };
    // The longest beginning that exists; behind it nothing may lead back up.
    let mut there = std::path::absolute(dir)?;
    loop {
        match fs::canonicalize(&there) {
            Ok(found) if found.starts_with(&vault) => return Err(inside().into()),
            Ok(_) => return Ok(()),
            Err(_) if matches!(there.components().next_back(), Some(Component::Normal(_))) => {
                there.pop();
            }
            Err(_) => return Err(inside().into()),
        }
    }
}

/// Salvages what is left of damaged files into the directory `target`, with
/// the list of their gaps.
///
/// # Errors
/// [`RepairRefused`]; what the system says of `target`.
pub fn salvage_into(
    target: &Path,
    words: &CheckArgs,
    vault: &Vault,
    report: &Report,
) -> anyhow::Result<Vec<JsonSalvaged>> {
    outside(target, &words.vault, "--salvage")?;
    let failed = || format!("cannot salvage into {}", printable(target.as_os_str()));
    let salvaged = salvage(vault, report, target).with_context(failed)?;
    let list: Vec<JsonSalvaged> = salvaged.iter().map(JsonSalvaged::new).collect();
    let text = serde_json::to_string_pretty(&list)?;
    fs::write(target.join(GAPS_NAME), text + "\n").with_context(failed)?;
    Ok(list)
}

impl JsonSalvaged {
    fn new(salvaged: &Salvaged) -> Self {
        Self {
            cipher_path: path(&salvaged.cipher_path),
            written_to: printable(salvaged.written_to.as_os_str()),
            size: salvaged.size,
            gaps: salvaged.gaps.clone(),
            state: match salvaged.state {
                State::Sealed => "sealed",
                State::Unproven => "unproven",
            },
            error: salvaged.error.as_ref().map(ToString::to_string),
        }
    }

    /// A line for a person.
    #[must_use]
    pub fn line(&self) -> String {
        let lost: u64 = self.gaps.iter().map(|(from, to)| to - from).sum();
        let doubt = if self.state == "sealed" {
            ""
        } else {
            ", maybe of different times"
        };
        match &self.error {
            None => format!(
                "salvaged {}: {} of {} bytes{doubt}\n",
                self.written_to,
                self.size - lost,
                self.size
            ),
            Some(error) => format!("salvaging {} failed: {error}\n", self.written_to),
        }
    }
}

impl Repaired {
    /// The steps for `--json`.
    #[must_use]
    pub fn json(&self) -> Vec<JsonStep> {
        let steps = self.steps.iter().map(|(step, done)| JsonStep {
            cipher_path: path(&step.cipher_path),
            plain_path: step.plain_path.as_deref().map(path),
            remedy: step.remedy.word(),
            what: step.remedy.to_string(),
            target: step.remedy.target().map(path),
            done: matches!(done, Done::Carried),
            error: match done {
                Done::Planned | Done::Carried => None,
                Done::Failed(error) => Some(explained(error)),
            },
        });
        steps.collect()
    }

    fn carry_out(&mut self, steps: Vec<Step>, vault: &Vault, quarantine: &mut Quarantine) {
        for step in steps {
            let done = match step.carry_out(vault, quarantine) {
                Ok(()) => Done::Carried,
                Err(error) => Done::Failed(error),
            };
            self.steps.push((step, done));
        }
    }

    /// Where something was taken to; `None` if nothing was.
    #[must_use]
    pub fn quarantine(&self) -> Option<String> {
        (self.holds == Holds::Something).then(|| printable(self.quarantine.as_os_str()))
    }

    /// What was done, or would be, for a person.
    #[must_use]
    pub fn shown(&self) -> String {
        let mut text = String::new();
        for (step, done) in &self.steps {
            let object = path(step.plain_path.as_deref().unwrap_or(&step.cipher_path));
            let remedy = &step.remedy;
            text.push_str(&match done {
                Done::Planned => format!("{object}\n  would {remedy}\n"),
                Done::Carried => format!("{object}\n  done: {remedy}\n"),
                Done::Failed(error) => {
                    format!("{object}\n  could not {remedy}: {}\n", explained(error))
                }
            });
        }
        if self.steps.is_empty() {
            text.push_str("there is nothing that --repair can do\n");
        }
        let count =
            |wanted: fn(&(Step, Done)) -> bool| self.steps.iter().filter(|one| wanted(one)).count();
        let planned = count(|(_, done)| matches!(done, Done::Planned));
        if planned > 0 {
            text.push_str(&format!(
                "nothing was changed; with --yes, {planned} repairs are carried out, and what is \
                 taken out goes to {}\n",
                printable(self.quarantine.as_os_str())
            ));
        }
        let gone = count(|(step, done)| step.remedy.takes_out() && matches!(done, Done::Carried));
        if gone > 0 {
            text.push_str(&format!("{gone} objects are no longer in the vault\n"));
        }
        if let Some(quarantine) = self.quarantine() {
            text.push_str(&format!(
                "what was taken out is in {quarantine}; report.txt there says where it was\n"
            ));
        }
        if self.uncovered > 0 {
            text.push_str(&format!(
                "{} more repairs have come to light: look at them with --repair\n",
                self.uncovered
            ));
        }
        text
    }
}

fn explained(error: &RepairError) -> String {
    match error {
        RepairError::Io(cause) if cause.raw_os_error() == Some(libc::EXDEV) => {
            "the quarantine is on another file system; --quarantine DIR names one on the vault's"
                .to_owned()
        }
        RepairError::Io(_)
        | RepairError::Gone
        | RepairError::Changed
        | RepairError::Dir(_)
        | RepairError::File(_) => error.to_string(),
    }
}
