//! `keepfs ls`, `cat` and `path`: a vault read without a mount.

use std::ffi::{OsStr, OsString};
use std::fmt::Write as _;
use std::io::{self, IsTerminal, Write};
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::path::{Path, PathBuf};

use anyhow::{Context, bail};
use serde::Serialize;

use super::args::inside::{CatArgs, LsArgs, PathArgs};
use super::{mount, status, unlock};
use crate::mount::table::printable;
use crate::tools::list::{Depth, Line, list};
use crate::tools::read::read;
use crate::tools::{PlainPath, kind_in_words};
use crate::types::FileKind;
use crate::vault::journal::replay::{Fate, Whose};
use crate::vault::{LockedVault, Vault};

/// Why what was typed names nothing in a vault.
#[derive(Debug, thiserror::Error)]
pub enum InsideError {
    /// The path is not below the vault's directory.
    #[error("{} is not in the vault's directory {}", printable(.path.as_os_str()), printable(.vault.as_os_str()))]
    Elsewhere {
        /// What was typed.
        path: PathBuf,
        /// The vault.
        vault: PathBuf,
    },
}

/// `VAULT` or `VAULT:PATH`: the shortest beginning that is a directory on disk,
/// followed by a colon or nothing, is the vault.
pub(super) fn split(typed: &OsStr) -> (PathBuf, Vec<u8>) {
    let bytes = typed.as_bytes();
    if Path::new(typed).is_dir() {
        return (typed.into(), Vec::new());
    }
    let colons = bytes.iter().enumerate().filter(|(_, byte)| **byte == b':');
    for (at, _) in colons {
        let vault = Path::new(OsStr::from_bytes(&bytes[..at]));
        if vault.is_dir() {
            return (vault.into(), bytes[at + 1..].to_vec());
        }
    }
    (typed.into(), Vec::new())
}

/// Opens a vault to read it; it may be in use.
pub(super) fn open(path: &Path, words: &super::args::UnlockArgs) -> anyhow::Result<Vault> {
    let failed = || format!("cannot open the vault {}", printable(path.as_os_str()));
    let locked = LockedVault::open(path).with_context(failed)?;
    mount::check_slots(&locked.info()).with_context(failed)?;
    let vault = unlock::vault(words, path, locked)?;
    if vault.has_journals().with_context(failed)? {
        eprintln!(
            "keepfs: the last changes of files may be in a journal and not show here: a mount \
             puts them in place within seconds, or, if the last one did not end, the next one does"
        );
    }
    Ok(vault)
}

/// Brings in what a mount that did not end left in a journal, as the next mount
/// would. Nobody else uses the vault.
///
/// # Errors
/// The backing's; some of it does not fit the files: what is about to be done might
/// be done to the wrong version.
pub(super) fn bring_in_journals(vault: &Vault) -> anyhow::Result<()> {
    let replays = vault
        .replay_journals(Whose::ThisMachines)
        .context("cannot bring in the changes that the last mount left in a journal")?;
    let mut whole = true;
    for replay in replays {
        if replay.fate != (Fate::Replayed { files: 0 }) {
            eprintln!("keepfs: {replay}");
        }
        whole &= !matches!(replay.fate, Fate::Left { .. });
    }
    if !whole {
        bail!("what a journal has of some files does not fit them; keepfs check shows which");
    }
    Ok(())
}

/// One object of `ls --json`, a line each. Fields are added, never changed.
#[derive(Serialize)]
struct JsonLine {
    path: String,
    kind: &'static str,
    size: u64,
    mode: String,
    uid: u32,
    gid: u32,
    links: u32,
    modified: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    target: Option<String>,
}

/// `keepfs ls`
///
/// # Errors
/// The vault cannot be opened; there is no such object.
pub fn ls(words: &LsArgs) -> anyhow::Result<()> {
    let (path, inside) = split(&words.path);
    let inside = PlainPath::parse(&inside)?;
    let vault = open(&path, &words.unlock)?;
    let depth = if words.recursive {
        Depth::Recursive
    } else {
        Depth::Flat
    };
    let mut text = String::new();
    let mut out = Out::new();
    let person = io::stdout().is_terminal();
    list(&vault, &inside, depth, &mut |line: Line| {
        text.clear();
        if words.json {
            text = serde_json::to_string(&json(&line))?;
            text.push('\n');
        } else if words.long {
            long(&line, &inside, &mut text)?;
        } else {
            let mut name = relative(&line.path, &inside);
            if person {
                name = printable(OsStr::from_bytes(&name)).into_bytes();
            }
            name.push(b'\n');
            return out.write(&name);
        }
        out.write(text.as_bytes())
    })
    .or_else(gone_is_done)?;
    out.end()
}

fn json(line: &Line) -> JsonLine {
    JsonLine {
        path: printable(&OsString::from_vec(line.path.bytes())),
        kind: kind_in_words(line.kind),
        size: line.size,
        mode: format!("{:04o}", line.stat.mode & 0o7777),
        uid: line.stat.uid,
        gid: line.stat.gid,
        links: line.stat.nlink,
        modified: modified(line),
        target: line
            .target
            .clone()
            .map(|target| printable(&OsString::from_vec(target))),
    }
}

fn long(line: &Line, below: &PlainPath, text: &mut String) -> std::fmt::Result {
    let letter = match line.kind {
        Some(FileKind::Regular) => '-',
        Some(FileKind::Directory) => 'd',
        Some(FileKind::Symlink) => 'l',
        Some(FileKind::Fifo) => 'p',
        Some(FileKind::Socket) => 's',
        Some(FileKind::CharDevice) => 'c',
        Some(FileKind::BlockDevice) => 'b',
        None => '?',
    };
    let rights: String = "rwxrwxrwx"
        .chars()
        .zip((0..9).rev())
        .map(|(right, bit)| {
            if line.stat.mode >> bit & 1 == 1 {
                right
            } else {
                '-'
            }
        })
        .collect();
    write!(
        text,
        "{letter}{rights} {:>5} {:>5} {:>12} {}  {}",
        line.stat.uid,
        line.stat.gid,
        line.size,
        modified(line),
        printable(OsStr::from_bytes(&relative(&line.path, below)))
    )?;
    if let Some(target) = &line.target {
        write!(text, " -> {}", printable(OsStr::from_bytes(target)))?;
    }
    text.push('\n');
    Ok(())
}

fn modified(line: &Line) -> String {
    status::utc(u64::try_from(line.stat.mtime.secs).unwrap_or(0))
}

/// The path as seen from where the listing began.
fn relative(path: &PlainPath, below: &PlainPath) -> Vec<u8> {
    let (path, below) = (path.bytes(), below.bytes());
    let rest = path
        .strip_prefix(&below[..])
        .map(|rest| rest.strip_prefix(b"/").unwrap_or(rest))
        .filter(|rest| !rest.is_empty());
    rest.unwrap_or(&path).to_vec()
}

/// `keepfs cat`
///
/// # Errors
/// The vault cannot be opened; the file is not there, or damaged: what came
/// before the damage has been written.
pub fn cat(words: &CatArgs) -> anyhow::Result<()> {
    let (path, inside) = split(&words.path);
    let inside = PlainPath::parse(&inside)?;
    let vault = open(&path, &words.unlock)?;
    let mut out = Out::new();
    let len = words.length.unwrap_or(u64::MAX);
    read(&vault, &inside, words.offset, len, &mut |bytes: &[u8]| {
        out.write(bytes)
    })
    .or_else(gone_is_done)?;
    out.end()
}

/// `keepfs path`
///
/// # Errors
/// The vault cannot be opened; there is no such object.
pub fn path(words: &PathArgs) -> anyhow::Result<()> {
    let (path, inside) = split(&words.path);
    let mut answer = if let Some(cipher) = &words.plain_of {
        let cipher = below(cipher, &path)?;
        let vault = open(&path, &words.unlock)?;
        PlainPath::from_backing(&vault, &cipher)?.bytes()
    } else {
        let inside = PlainPath::parse(&inside)?;
        let vault = open(&path, &words.unlock)?;
        let inside = inside.on_backing(&vault)?;
        let path = path.join(OsStr::from_bytes(&inside));
        path.into_os_string().into_vec()
    };
    // A person's terminal is not to be controlled by a name.
    if io::stdout().is_terminal() {
        answer = printable(OsStr::from_bytes(&answer)).into_bytes();
    }
    answer.push(b'\n');
    let mut out = Out::new();
    out.write(&answer).or_else(gone_is_done)?;
    out.end()
}

/// The part of a path on the backing below the vault's directory.
fn below(cipher: &Path, vault: &Path) -> anyhow::Result<Vec<u8>> {
    let inside = if cipher.is_relative() && !cipher.starts_with(vault) {
        cipher.to_owned()
    } else {
        let elsewhere = || InsideError::Elsewhere {
            path: cipher.to_owned(),
            vault: vault.to_owned(),
        };
        // The last part may be a link of the vault's, which is not to be followed.
        let parent = cipher.parent().unwrap_or(cipher);
        let vault = std::fs::canonicalize(vault)?;
        let parent = std::fs::canonicalize(parent)?;
        let inside = parent.strip_prefix(&vault).map_err(|_| elsewhere())?;
        inside.join(cipher.file_name().ok_or_else(elsewhere)?)
    };
    Ok(inside.into_os_string().into_vec())
}

/// Standard output, buffered, in whole pieces.
struct Out(io::BufWriter<io::StdoutLock<'static>>);

impl Out {
    fn new() -> Self {
        Self(io::BufWriter::with_capacity(64 * 1024, io::stdout().lock()))
    }

    fn write(&mut self, bytes: &[u8]) -> anyhow::Result<()> {
        Ok(self.0.write_all(bytes)?)
    }

    fn end(mut self) -> anyhow::Result<()> {
        self.0
            .flush()
            .map_err(anyhow::Error::new)
            .or_else(gone_is_done)
    }
}

/// Whoever read us has seen enough, like head(1).
fn gone_is_done(error: anyhow::Error) -> anyhow::Result<()> {
    match error.downcast_ref::<io::Error>() {
        Some(cause) if cause.kind() == io::ErrorKind::BrokenPipe => Ok(()),
        Some(_) | None => Err(error),
    }
}
