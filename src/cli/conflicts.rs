//! `keepfs conflicts`: conflict copies listed and resolved.

use std::ffi::OsStr;
use std::fmt::Write as _;
use std::os::unix::ffi::OsStrExt;

use anyhow::Context;
use indicatif::HumanBytes;
use serde::Serialize;

use super::args::conflicts::{ConflictsArgs, ConflictsCommand, ResolveArgs};
use super::inside::{bring_in_journals, open, split};
use super::progress::Waiting;
use super::{mount, print, print_json, status, unlock};
use crate::codec::conflict::Client;
use crate::mount::table::printable;
use crate::tools::conflicts::{Alone, Conflict, Resolved, Version, find, resolve};
use crate::tools::{PlainPath, ToolError, kind_in_words};
use crate::vault::LockedVault;

/// The listing is not complete.
#[derive(Debug, thiserror::Error)]
#[error("{count} directories could not be read; the first is {first}")]
pub struct ListingIncomplete {
    count: usize,
    #[source]
    first: ToolError,
}

impl ListingIncomplete {
    /// Why the first of them could not be read.
    #[must_use]
    pub fn first(&self) -> &ToolError {
        &self.first
    }
}

/// What `--json` prints. Fields are added, never changed.
#[derive(Serialize)]
struct JsonReport {
    conflicts: Vec<JsonConflict>,
}

#[derive(Serialize)]
struct JsonConflict {
    path: String,
    /// Null where nothing has the name any more.
    itself: Option<JsonVersion>,
    copies: Vec<JsonVersion>,
}

#[derive(Serialize)]
struct JsonVersion {
    path: String,
    kind: &'static str,
    size: u64,
    modified: String,
    newest: bool,
    /// The client that made the copy, where its form is known.
    #[serde(skip_serializing_if = "Option::is_none")]
    client: Option<&'static str>,
    /// The time in the copy's name.
    #[serde(skip_serializing_if = "Option::is_none")]
    named_time: Option<String>,
}

#[derive(Serialize)]
struct JsonResolved {
    kept: Vec<String>,
    removed: Vec<String>,
}

/// `keepfs conflicts`
///
/// # Errors
/// The vault cannot be opened; there is no such object; [`ListingIncomplete`];
/// a conflict is not resolved, and nothing was changed.
pub fn run(words: &ConflictsArgs) -> anyhow::Result<()> {
    match &words.command {
        Some(ConflictsCommand::Resolve(words)) => end(words),
        None => list(words),
    }
}

fn list(words: &ConflictsArgs) -> anyhow::Result<()> {
    let typed = words.path.as_deref().expect("clap asks for it");
    let (path, inside) = split(typed);
    let inside = PlainPath::parse(&inside)?;
    let vault = open(&path, &words.unlock)?;
    let mut conflicts = Vec::new();
    let waiting = Waiting::begin("looking for conflict copies");
    let unread = find::<ToolError>(&vault, &inside, &mut |conflict| {
        conflicts.push(conflict);
        Ok(())
    })?;
    drop(waiting);
    conflicts.sort_by_key(|conflict| conflict.path.bytes());
    if words.json {
        print_json(&JsonReport {
            conflicts: conflicts.iter().map(json).collect(),
        })?;
    } else {
        print(&in_words(&conflicts)?)?;
    }
    let count = unread.len();
    match unread.into_iter().next() {
        Some(first) => Err(ListingIncomplete { count, first }.into()),
        None => Ok(()),
    }
}

fn in_words(conflicts: &[Conflict]) -> Result<String, std::fmt::Error> {
    let mut text = String::new();
    for conflict in conflicts {
        writeln!(text, "{}", shown(&conflict.path))?;
        if conflict.itself.is_none() {
            writeln!(text, "    nothing has this name itself any more")?;
        }
        for version in conflict.versions() {
            let newest = if is_newest(conflict, version) {
                ", the newest"
            } else {
                ""
            };
            let name = if version.copy.is_some() {
                shown(&version.path)
            } else {
                "the file itself".to_owned()
            };
            writeln!(
                text,
                "    {}  {}  {name}{newest}",
                modified(version),
                HumanBytes(version.size),
            )?;
        }
    }
    match conflicts.len() {
        0 => text.push_str("no conflict copies\n"),
        1 => text.push_str("\n1 object has conflict copies; "),
        many => write!(text, "\n{many} objects have conflict copies; ")?,
    }
    if !conflicts.is_empty() {
        text.push_str(
            "to end that:\n  keepfs conflicts resolve --keep newest|mine|theirs|both VAULT:PATH\n",
        );
    }
    Ok(text)
}

fn json(conflict: &Conflict) -> JsonConflict {
    let version = |version: &Version| {
        let origin = version.copy.as_ref().map(|copy| copy.origin());
        let origin = origin.unwrap_or_default();
        JsonVersion {
            path: shown(&version.path),
            kind: kind_in_words(version.stat.kind()),
            size: version.size,
            modified: modified(version),
            newest: is_newest(conflict, version),
            client: origin.client.map(Client::name),
            named_time: origin.when,
        }
    };
    JsonConflict {
        path: shown(&conflict.path),
        itself: conflict.itself.as_ref().map(version),
        copies: conflict.copies.iter().map(version).collect(),
    }
}

fn is_newest(conflict: &Conflict, version: &Version) -> bool {
    conflict.newest().path == version.path
}

fn end(words: &ResolveArgs) -> anyhow::Result<()> {
    let (path, inside) = split(&words.path);
    let inside = PlainPath::parse(&inside)?;
    let failed = || format!("cannot open the vault {}", printable(path.as_os_str()));
    let locked = LockedVault::open(&path).with_context(failed)?;
    mount::check_slots(&locked.info()).with_context(failed)?;
    let alone = Alone::lock(&locked);
    let vault = unlock::vault(&words.unlock, &path, locked)?;
    if alone == Alone::Yes {
        bring_in_journals(&vault)?;
    }
    let waiting = Waiting::begin("reading the version that stays");
    let resolved = resolve(&vault, &inside, words.keep.into(), alone)
        .with_context(|| format!("{} is not resolved", shown(&inside)))?;
    drop(waiting);
    tell(&resolved, words)
}

fn tell(resolved: &Resolved, words: &ResolveArgs) -> anyhow::Result<()> {
    let paths = |paths: &[PlainPath]| paths.iter().map(shown).collect::<Vec<_>>();
    let (kept, removed) = (paths(&resolved.kept), paths(&resolved.removed));
    if words.json {
        return print_json(&JsonResolved { kept, removed });
    }
    let mut text = String::new();
    for path in kept {
        writeln!(text, "kept    {path}")?;
    }
    for path in removed {
        writeln!(text, "removed {path}")?;
    }
    print(&text)
}

fn modified(version: &Version) -> String {
    status::utc(u64::try_from(version.stat.mtime.secs).unwrap_or(0))
}

fn shown(path: &PlainPath) -> String {
    printable(OsStr::from_bytes(&path.bytes()))
}
