//! What is left of damaged files, written into a directory outside the vault:
//! every chunk that still authenticates at its place, nothing at the others.

use std::ffi::OsStr;
use std::fs::{self, DirBuilder};
use std::io;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::{DirBuilderExt, FileExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use super::{Finding, Report, Trouble};
use crate::name::RawName;
use crate::store::{StoreDir, StoreFile};
use crate::types::{Access, FileKind};
use crate::vault::Vault;
use crate::vault::file::salvage::{Stretch, salvage as salvage_file};
use crate::vault::file::{Damage, File, FileError};

/// Directory of what has a name.
const NAMED: &str = "files";
/// Directory of what has none, by number.
const NAMELESS: &str = "nameless";

/// One file that something is left of.
#[derive(Debug)]
pub struct Salvaged {
    /// Its path on the backing.
    pub cipher_path: Vec<u8>,
    /// Where it was written, below the directory given.
    pub written_to: PathBuf,
    /// Length of its plaintext, gaps included, in bytes.
    pub size: u64,
    /// Stretches that are lost, each from and to which byte.
    pub gaps: Vec<(u64, u64)>,
    /// Whether all of it is of one time.
    pub state: State,
    /// Why it ends before its end, or could not be written.
    pub error: Option<io::Error>,
}

/// Whether what was salvaged belongs together.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum State {
    /// What is there of it is what was sealed.
    Sealed,
    /// Every chunk is the file's own, but they may be from different times.
    Unproven,
}

/// The directory for the results cannot be made, or is not empty.
#[derive(Debug, thiserror::Error)]
#[error("{}: {error}", .path.display())]
pub struct TargetError {
    /// Which directory.
    path: PathBuf,
    /// What the system said.
    #[source]
    error: io::Error,
}

/// Writes what is left of every damaged file among the findings into `target`,
/// which must be empty or not exist, readable by its owner alone; changes
/// nothing in the vault. What could not be written is among the results with
/// its error; files of which nothing at all is left are not.
///
/// # Errors
/// [`TargetError`]. What cannot be read of the vault is left out.
pub fn salvage(
    vault: &Vault,
    report: &Report,
    target: &Path,
) -> Result<Vec<Salvaged>, TargetError> {
    let failed = |error| TargetError {
        path: target.to_owned(),
        error,
    };
    make_dirs(target).map_err(failed)?;
    if fs::read_dir(target).map_err(failed)?.next().is_some() {
        return Err(failed(io::ErrorKind::DirectoryNotEmpty.into()));
    }
    let mut rescue = Rescue {
        vault,
        target,
        done: Vec::new(),
        nameless: 0,
    };
    let groups = report
        .findings
        .chunk_by(|a, b| a.cipher_path == b.cipher_path);
    for group in groups.filter(|group| group.iter().any(is_damaged)) {
        rescue.object(&group[0]);
    }
    Ok(rescue.done)
}

fn make_dirs(path: &Path) -> io::Result<()> {
    DirBuilder::new().recursive(true).mode(0o700).create(path)
}

/// Whether contents are lost, or out of reach.
fn is_damaged(finding: &Finding) -> bool {
    match &finding.trouble {
        Trouble::File(damage) => !matches!(damage, Damage::InterruptedCreate),
        Trouble::Directory(_)
        | Trouble::NameDoesNotOpen
        | Trouble::NothingOpens { .. }
        | Trouble::NoSideFile
        | Trouble::WrongSideFile
        | Trouble::BadPin(_)
        | Trouble::Chunks(_)
        | Trouble::WrongSeal => true,
        Trouble::Unreadable(_)
        | Trouble::IdlePin
        | Trouble::LeftOpen
        | Trouble::Longer
        | Trouble::Link(_)
        | Trouble::Attribute(_)
        | Trouble::ConflictCopy { .. }
        | Trouble::Hidden
        | Trouble::OrphanedSideFile
        | Trouble::LostPin
        | Trouble::Journal
        | Trouble::Leftover
        | Trouble::ClientTemp
        | Trouble::Foreign => false,
    }
}

enum Opened {
    File(StoreFile),
    Dir(StoreDir),
}

fn open(dir: &StoreDir, entry: &RawName) -> Option<Opened> {
    match dir.stat(entry).ok()?.kind()? {
        FileKind::Regular => Some(Opened::File(dir.open_file(entry, Access::Read).ok()?)),
        FileKind::Directory => Some(Opened::Dir(dir.open_dir(entry).ok()?)),
        FileKind::Symlink
        | FileKind::Fifo
        | FileKind::Socket
        | FileKind::CharDevice
        | FileKind::BlockDevice => None,
    }
}

/// Opens an object by its path on the backing.
fn open_path(vault: &Vault, cipher_path: &[u8]) -> Option<Opened> {
    let root = vault.root_dir();
    let mut parts = cipher_path.split(|&byte| byte == b'/').map(RawName::new);
    let mut found = open(root.store(), &parts.next()?)?;
    for part in parts {
        let Opened::Dir(dir) = &found else {
            return None;
        };
        found = open(dir, &part)?;
    }
    Some(found)
}

struct Rescue<'a> {
    vault: &'a Vault,
    target: &'a Path,
    done: Vec<Salvaged>,
    nameless: u64,
}

impl Rescue<'_> {
    /// Salvages an object and, if it is a directory, all files in it.
    fn object(&mut self, finding: &Finding) {
        let mut dirs = match open_path(self.vault, &finding.cipher_path) {
            Some(Opened::File(file)) => {
                let named = finding.plain_path.as_deref().map(named);
                return self.file(&file, &finding.cipher_path, named);
            }
            Some(Opened::Dir(dir)) => vec![(dir, finding.cipher_path.clone())],
            None => return,
        };
        // An explicit stack: a tree may be deeper than this thread's. The
        // names in it are not known, and paths may be longer than allowed.
        while let Some((dir, path)) = dirs.pop() {
            for entry in dir.list().unwrap_or_default() {
                let below = [&path, &b"/"[..], entry.name.bytes()].concat();
                match open(&dir, &entry.name) {
                    Some(Opened::File(file)) => self.file(&file, &below, None),
                    Some(Opened::Dir(inner)) => dirs.push((inner, below)),
                    None => {}
                }
            }
        }
    }

    /// Salvages a file, under its own name if it has one and that is free.
    fn file(&mut self, store: &StoreFile, cipher_path: &[u8], named: Option<PathBuf>) {
        let free = named.filter(|path| !self.target.join(path).exists());
        let written_to =
            free.unwrap_or_else(|| Path::new(NAMELESS).join(format!("{:06}", self.nameless + 1)));
        let mut out = Out {
            path: self.target.join(&written_to),
            file: None,
            at: 0,
            gaps: Vec::new(),
        };
        let ended = salvage_file(self.vault, store, |stretch| out.take(&stretch));
        let (size, error) = match ended {
            Ok(size) => (size.get(), out.finish(size.get()).err()),
            // Nothing names its keys, or nothing of it can be read.
            Err(WriteError::Source(_)) if out.file.is_none() => return,
            Err(WriteError::Source(error)) => (out.at, Some(io::Error::other(error))),
            Err(WriteError::Target(error)) => (out.at, Some(error)),
        };
        if out.file.is_none() && error.is_none() {
            return;
        }
        if written_to.starts_with(NAMELESS) {
            self.nameless += 1;
        }
        self.done.push(Salvaged {
            cipher_path: cipher_path.to_vec(),
            written_to,
            size,
            gaps: out.gaps,
            state: self.state(store),
            error,
        });
    }

    fn state(&self, store: &StoreFile) -> State {
        let sealed = || {
            let (file, _) = File::open(self.vault, store.reopen(Access::Read).ok()?).ok()?;
            file.verify_seal().ok()
        };
        match sealed() {
            Some(()) => State::Sealed,
            None => State::Unproven,
        }
    }
}

fn named(path: &[u8]) -> PathBuf {
    Path::new(NAMED).join(OsStr::from_bytes(path))
}

/// Why the contents of one file ended early.
enum WriteError {
    Source(FileError),
    Target(io::Error),
}

impl From<FileError> for WriteError {
    fn from(error: FileError) -> Self {
        Self::Source(error)
    }
}

/// A file that is made when there is something to write.
struct Out {
    path: PathBuf,
    file: Option<fs::File>,
    at: u64,
    gaps: Vec<(u64, u64)>,
}

impl Out {
    fn take(&mut self, stretch: &Stretch<'_>) -> Result<(), WriteError> {
        match stretch {
            Stretch::Bytes(bytes) => {
                let at = self.at;
                self.file()
                    .and_then(|file| file.write_all_at(bytes, at))
                    .map_err(WriteError::Target)?;
                self.at += u64::try_from(bytes.len()).unwrap_or(u64::MAX);
            }
            Stretch::Hole(len) => self.at += len,
            Stretch::Gap(len) => {
                let (at, end) = (self.at, self.at + len);
                match self.gaps.last_mut() {
                    Some((_, last)) if *last == at => *last = end,
                    Some(_) | None => self.gaps.push((at, end)),
                }
                self.at = end;
            }
        }
        Ok(())
    }

    /// Gives the file its length, durably. One that is whole and empty is made too.
    fn finish(&mut self, size: u64) -> io::Result<()> {
        if self.file.is_none() && (size > 0 || !self.gaps.is_empty()) {
            return Ok(());
        }
        let file = self.file()?;
        file.set_len(size)?;
        file.sync_all()
    }

    fn file(&mut self) -> io::Result<&fs::File> {
        if self.file.is_none() {
            if let Some(parent) = self.path.parent() {
                make_dirs(parent)?;
            }
            let mut options = fs::OpenOptions::new();
            let new = options.write(true).create_new(true).mode(0o600);
            self.file = Some(new.open(&self.path)?);
        }
        self.file.as_ref().ok_or(io::ErrorKind::NotFound.into())
    }
}
