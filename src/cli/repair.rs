//! `keepfs check --repair` and `--salvage`

use std::ffi::OsString;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::time::SystemTime;

use anyhow::Context;
use serde::Serialize;

use super::args::CheckArgs;
use super::check::path;
use super::status;
use crate::check::Report;
use crate::check::repair::{RepairError, Step, plan};
use crate::check::salvage::{Salvaged, salvage};
use crate::mount::table::printable;
use crate::store::Quarantine;
use crate::tools::PlainPath;
use crate::types::DirId;
use crate::vault::Vault;

/// Name of the list of gaps, in the directory given to `--salvage`.
const GAPS_NAME: &str = "gaps.json";

/// So often a repair may uncover more to repair: once a level of directories.
const MOST_ROUNDS: usize = 256;

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
    /// Where what was taken out is, or would be.
    quarantine: PathBuf,
    /// How the vault stands afterwards; `None` if nothing was changed.
    pub after: Option<Report>,
}

/// One step in `--json`. Fields are added, never changed.
#[derive(Serialize)]
pub struct JsonStep {
    cipher_path: String,
    /// Null where the name is not known.
    plain_path: Option<String>,
    remedy: &'static str,
    what: String,
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
}

/// Plans the repairs, and with `--yes` carries them out; `check` looks at the
/// vault again.
///
/// # Errors
/// [`RepairRefused`]; a path that is none.
pub fn repair(
    words: &CheckArgs,
    vault: &Vault,
    report: &Report,
    check: impl Fn() -> Report,
) -> anyhow::Result<Repaired> {
    let more = words
        .was
        .iter()
        .map(|was| {
            let was = PlainPath::parse(was.as_encoded_bytes())?;
            Ok(was.place(vault))
        })
        .collect::<anyhow::Result<Vec<DirId>>>()?;
    let place = match &words.quarantine {
        Some(path) => path.clone(),
        None => beside(&words.vault)?,
    };
    outside(&place, &words.vault, "--quarantine")?;
    let first = plan(vault, report, &more);
    let mut repaired = Repaired {
        steps: Vec::new(),
        quarantine: place,
        after: None,
    };
    if !words.yes || first.is_empty() {
        let planned = first.into_iter().map(|step| (step, Done::Planned));
        repaired.steps = planned.collect();
        return Ok(repaired);
    }
    let quarantine =
        Quarantine::create(&repaired.quarantine).map_err(|error| RepairRefused::Quarantine {
            path: repaired.quarantine.clone(),
            error,
        })?;
    let mut waiting = next_round(first, &repaired.steps);
    for _ in 0..MOST_ROUNDS {
        for step in waiting {
            let done = match step.carry_out(vault, &quarantine) {
                Ok(()) => Done::Carried,
                Err(error) => Done::Failed(error),
            };
            repaired.steps.push((step, done));
        }
        let after = check();
        waiting = next_round(plan(vault, &after, &more), &repaired.steps);
        repaired.after = Some(after);
        if waiting.is_empty() {
            break;
        }
    }
    if let Err(error) = quarantine.end(&repaired.quarantine) {
        tracing::warn!("the empty quarantine stays: {error}");
    }
    Ok(repaired)
}

/// What of a plan is carried out next: taking out comes last, for what has no
/// place now may have one once a directory is back. Nothing is tried twice.
fn next_round(plan: Vec<Step>, tried: &[(Step, Done)]) -> Vec<Step> {
    let is_new = |step: &Step| {
        !tried.iter().any(|(old, _)| {
            old.cipher_path == step.cipher_path && old.remedy.word() == step.remedy.word()
        })
    };
    let (last, first): (Vec<Step>, Vec<Step>) = plan
        .into_iter()
        .filter(is_new)
        .partition(|step| step.remedy == crate::check::repair::Remedy::SetAside);
    if first.is_empty() { last } else { first }
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
    let mut above = Some(dir);
    while let Some(path) = above {
        let path = if path == Path::new("") {
            Path::new(".")
        } else {
            path
        };
        if let Ok(found) = fs::canonicalize(path) {
            if found.starts_with(&vault) {
                return Err(RepairRefused::Inside {
                    path: dir.to_owned(),
                    option,
                }
                .into());
            }
            break;
        }
        above = path.parent();
    }
    Ok(())
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
        }
    }

    /// A line for a person.
    #[must_use]
    pub fn line(&self) -> String {
        let lost: u64 = self.gaps.iter().map(|(from, to)| to - from).sum();
        format!(
            "salvaged {}: {} of {} bytes\n",
            self.written_to,
            self.size - lost,
            self.size
        )
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
            done: matches!(done, Done::Carried),
            error: match done {
                Done::Planned | Done::Carried => None,
                Done::Failed(error) => Some(explained(error)),
            },
        });
        steps.collect()
    }

    /// Where something was taken to; `None` if nothing was.
    #[must_use]
    pub fn quarantine(&self) -> Option<String> {
        let used = |(step, done): &(Step, Done)| step.takes_out() && matches!(done, Done::Carried);
        let used = self.steps.iter().any(used);
        used.then(|| printable(self.quarantine.as_os_str()))
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
        let planned = self
            .steps
            .iter()
            .filter(|(_, done)| matches!(done, Done::Planned));
        match planned.count() {
            0 if self.steps.is_empty() => text.push_str("there is nothing to repair\n"),
            0 => {}
            count => text.push_str(&format!(
                "nothing was changed; with --yes, {count} repairs are carried out, and what is \
                 taken out goes to {}\n",
                printable(self.quarantine.as_os_str())
            )),
        }
        if let Some(quarantine) = self.quarantine() {
            text.push_str(&format!(
                "what was taken out is in {quarantine}; report.txt there says where it was\n"
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
        RepairError::Io(_) | RepairError::Gone | RepairError::Dir(_) | RepairError::File(_) => {
            error.to_string()
        }
    }
}
