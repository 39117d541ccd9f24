//! What is left of damaged files, written into a directory outside the vault:
//! every chunk that still authenticates at its place, nothing at the others.

use std::ffi::OsStr;
use std::fs::{self, File};
use std::io;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};

use super::{Finding, Report, Trouble};
use crate::name::RawName;
use crate::store::{StoreDir, StoreFile};
use crate::types::{Access, FileKind};
use crate::vault::Vault;
use crate::vault::file::salvage::{Stretch, salvage as salvage_file};
use crate::vault::file::{Damage, FileError};

/// Directory of what has a name.
const NAMED: &str = "files";
/// Directory of what has none, by its path on the backing.
const NAMELESS: &str = "nameless";

/// One file that something is left of, or nothing.
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
}

/// Why nothing more was salvaged.
#[derive(Debug, thiserror::Error)]
pub enum SalvageError {
    /// The directory for the results.
    #[error("{}: {error}", .path.display())]
    Target {
        /// Which file or directory.
        path: PathBuf,
        /// What the system said.
        #[source]
        error: io::Error,
    },
    /// A file of the vault.
    #[error(transparent)]
    Source(#[from] FileError),
}

/// Writes what is left of every damaged file among the findings into `target`,
/// which must be empty or not exist; changes nothing in the vault. Files of
/// which nothing at all is left are not written and not returned.
///
/// # Errors
/// [`SalvageError::Target`]. What cannot be read of the vault is left out.
pub fn salvage(
    vault: &Vault,
    report: &Report,
    target: &Path,
) -> Result<Vec<Salvaged>, SalvageError> {
    let failed = |path: &Path, error| SalvageError::Target {
        path: path.to_owned(),
        error,
    };
    fs::create_dir_all(target).map_err(|error| failed(target, error))?;
    let mut entries = fs::read_dir(target).map_err(|error| failed(target, error))?;
    if entries.next().is_some() {
        return Err(failed(target, io::ErrorKind::DirectoryNotEmpty.into()));
    }
    let mut done = Vec::new();
    let groups = report
        .findings
        .chunk_by(|a, b| a.cipher_path == b.cipher_path);
    for group in groups.filter(|group| group.iter().any(is_damaged)) {
        one(vault, &group[0], target, &mut done)?;
    }
    Ok(done)
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
        | Trouble::OrphanedSideFile
        | Trouble::Leftover
        | Trouble::ClientTemp
        | Trouble::Foreign => false,
    }
}

/// Where something is, and where what is left of it goes.
struct At {
    cipher_path: Vec<u8>,
    written_to: PathBuf,
}

impl At {
    fn child(&self, entry: &RawName) -> Self {
        Self {
            cipher_path: [&self.cipher_path, &b"/"[..], entry.bytes()].concat(),
            written_to: self.written_to.join(OsStr::from_bytes(entry.bytes())),
        }
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

/// Salvages an object and, if it is a directory, all files in it.
fn one(
    vault: &Vault,
    finding: &Finding,
    target: &Path,
    done: &mut Vec<Salvaged>,
) -> Result<(), SalvageError> {
    let mut keep = |file: &StoreFile, at: At| {
        if let Some((size, gaps)) = write(vault, file, &target.join(&at.written_to))? {
            done.push(Salvaged {
                cipher_path: at.cipher_path,
                written_to: at.written_to,
                size,
                gaps,
            });
        }
        Ok::<(), SalvageError>(())
    };
    let named = finding.plain_path.as_deref().map(|path| below(NAMED, path));
    let free = named.filter(|path| !target.join(path).exists());
    let at = At {
        cipher_path: finding.cipher_path.clone(),
        written_to: free.unwrap_or_else(|| below(NAMELESS, &finding.cipher_path)),
    };
    // An explicit stack: a tree may be deeper than this thread's.
    let mut dirs = match open_path(vault, &finding.cipher_path) {
        Some(Opened::File(file)) => return keep(&file, at),
        Some(Opened::Dir(dir)) => vec![(dir, at)],
        None => return Ok(()),
    };
    while let Some((dir, at)) = dirs.pop() {
        for entry in dir.list().unwrap_or_default() {
            match open(&dir, &entry.name) {
                Some(Opened::File(file)) => keep(&file, at.child(&entry.name))?,
                Some(Opened::Dir(inner)) => dirs.push((inner, at.child(&entry.name))),
                None => {}
            }
        }
    }
    Ok(())
}

/// A path from the vault below a directory of the results.
fn below(top: &str, path: &[u8]) -> PathBuf {
    Path::new(top).join(OsStr::from_bytes(path))
}

type Kept = Option<(u64, Vec<(u64, u64)>)>;

/// Writes what is left of one file; `None`, and no file, if nothing is.
fn write(vault: &Vault, store: &StoreFile, path: &Path) -> Result<Kept, SalvageError> {
    let failed = |error| SalvageError::Target {
        path: path.to_owned(),
        error,
    };
    let mut out = None::<File>;
    let mut gaps: Vec<(u64, u64)> = Vec::new();
    let mut at = 0;
    let salvaged = salvage_file(vault, store, |stretch| {
        match stretch {
            Stretch::Bytes(bytes) => {
                let file = match &mut out {
                    Some(file) => file,
                    None => out.insert(create(path).map_err(failed)?),
                };
                file.write_all_at(bytes, at).map_err(failed)?;
                at += u64::try_from(bytes.len()).unwrap_or(u64::MAX);
            }
            Stretch::Hole(len) => at += len,
            Stretch::Gap(len) => {
                match gaps.last_mut() {
                    Some((_, end)) if *end == at => *end += len,
                    Some(_) | None => gaps.push((at, at + len)),
                }
                at += len;
            }
        }
        Ok::<(), SalvageError>(())
    });
    match salvaged {
        // An empty file that is whole is worth keeping too.
        Ok(size) if out.is_some() || (gaps.is_empty() && size.get() == 0) => {
            let file = match out {
                Some(file) => file,
                None => create(path).map_err(failed)?,
            };
            file.set_len(size.get()).map_err(failed)?;
            file.sync_all().map_err(failed)?;
            Ok(Some((size.get(), gaps)))
        }
        Ok(_) | Err(SalvageError::Source(_)) => Ok(None),
        Err(error @ SalvageError::Target { .. }) => Err(error),
    }
}

fn create(path: &Path) -> io::Result<File> {
    if let Some(parent) = path.parent() {
        fs::create_dir_all(parent)?;
    }
    File::create_new(path)
}
