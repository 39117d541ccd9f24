//! Floor 4: is a vault whole? [`check`] reads everything, writes nothing and
//! needs no mount. What is wrong is named object by object, by what is lost.
//!
//! | file | what it holds |
//! |---|---|
//! | this file | [`check`]: the walk over directories, on all cores |
//! | [`finding`] | what can be wrong, how much of it is lost, what to do |
//! | [`repair`] | what can be done about it, and doing it |
//! | [`salvage`] | what is left of damaged files, written elsewhere |
//! | `object` | one file, link, directory or attribute examined |
//!
//! Directories and files are tasks of a stack shared by as many threads as
//! there are cores; the chunks of one large piece are shared by rayon's. The
//! stack keeps the walk depth first, so that few directories are open.

pub mod finding;
mod object;
pub mod repair;
pub mod salvage;

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use parking_lot::Mutex;

pub use finding::{Finding, Loss, Trouble};

use crate::name::{PlainName, RawName};
use crate::tasks::Tasks;
use crate::types::{DirId, FileKind};
use crate::vault::Vault;
use crate::vault::dir::VaultDir;

/// How closely a vault is looked at.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Depth {
    /// Names, headers and lengths.
    Quick,
    /// And every chunk and seal.
    Full,
}

/// What was looked at.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counts {
    /// Directories, the root included.
    pub directories: u64,
    /// Regular files.
    pub files: u64,
    /// Symbolic links.
    pub symlinks: u64,
    /// FIFOs, sockets, devices.
    pub special: u64,
    /// Bytes of regular files on the backing.
    pub bytes: u64,
}

/// How a check ended.
#[derive(Debug, Default)]
pub struct Report {
    /// What was looked at.
    pub counts: Counts,
    /// What is wrong, by path on the backing.
    pub findings: Vec<Finding>,
    /// The directories that could be looked at.
    pub homes: Vec<Home>,
}

/// A directory where entries may belong that are found elsewhere.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Home {
    /// The id that names in it are encrypted under.
    pub id: DirId,
    /// Its path on the backing.
    pub cipher: Vec<u8>,
    /// Its path in plain.
    pub plain: Vec<u8>,
}

/// Hears how far a check is, from several threads at once.
pub trait Progress: Sync {
    /// So many more bytes of regular files were dealt with.
    fn advance(&self, bytes: u64);
}

impl<F: Fn(u64) + Sync> Progress for F {
    fn advance(&self, bytes: u64) {
        self(bytes);
    }
}

/// Checks every object of an unlocked vault. Nothing else should change the
/// vault meanwhile: what does shows as damage.
#[must_use]
pub fn check(vault: &Vault, depth: Depth, progress: &dyn Progress) -> Report {
    let checker = Checker {
        vault,
        depth,
        progress,
        counts: AtomicCounts::default(),
        findings: Mutex::default(),
        homes: Mutex::default(),
        tasks: Tasks::default(),
    };
    checker.tasks.push(vec![Task::Dir {
        dir: Arc::new(vault.root_dir()),
        at: Place::root(),
    }]);
    checker.tasks.run(|task| match task {
        Task::Dir { dir, at } => checker.dir(&dir, &at),
        Task::Child {
            parent,
            entry,
            name,
            under,
            at,
        } => checker.child(&parent, &entry, (&name, under), &at),
        Task::File { parent, entry, at } => checker.file(&parent, &entry, &at),
    });
    let mut findings = checker.findings.into_inner();
    findings.sort_by(|a, b| a.cipher_path.cmp(&b.cipher_path));
    Report {
        counts: checker.counts.read(),
        findings,
        homes: checker.homes.into_inner(),
    }
}

/// How many bytes of regular files [`check`] will deal with, roughly: what
/// cannot be looked at is left out.
#[must_use]
pub fn measure(vault: &Vault) -> u64 {
    let mut total = 0;
    let mut open = vec![Arc::clone(vault.root_dir().store())];
    while let Some(dir) = open.pop() {
        for entry in dir.list().unwrap_or_default() {
            let Ok(stat) = dir.stat(&entry.name) else {
                continue;
            };
            match stat.kind() {
                Some(FileKind::Regular) => total += stat.size,
                Some(FileKind::Directory) => {
                    open.extend(dir.open_dir(&entry.name).ok().map(Arc::new));
                }
                Some(_) | None => {}
            }
        }
    }
    total
}

/// Where an object is: its path on the backing and in plain.
#[derive(Clone, Debug)]
struct Place {
    cipher: Vec<u8>,
    /// `None` from an entry on whose name does not open.
    plain: Option<Vec<u8>>,
}

impl Place {
    fn root() -> Self {
        Self {
            cipher: Vec::new(),
            plain: Some(Vec::new()),
        }
    }

    fn child(&self, entry: &RawName, name: Option<&PlainName>) -> Self {
        let join = |path: &[u8], name: &[u8]| {
            let slash = if path.is_empty() { &b""[..] } else { b"/" };
            [path, slash, name].concat()
        };
        let plain = self.plain.as_deref().zip(name);
        Self {
            cipher: join(&self.cipher, entry.bytes()),
            plain: plain.map(|(path, name)| join(path, name.bytes())),
        }
    }
}

enum Task {
    /// A directory, its entries and what is below.
    Dir { dir: Arc<VaultDir>, at: Place },
    /// A directory that is still to be opened.
    Child {
        parent: Arc<VaultDir>,
        entry: RawName,
        name: PlainName,
        /// The id that its name opened under.
        under: DirId,
        at: Place,
    },
    /// A regular file.
    File {
        parent: Arc<VaultDir>,
        entry: RawName,
        at: Place,
    },
}

#[derive(Default)]
struct AtomicCounts {
    directories: AtomicU64,
    files: AtomicU64,
    symlinks: AtomicU64,
    special: AtomicU64,
    bytes: AtomicU64,
}

impl AtomicCounts {
    fn read(&self) -> Counts {
        let of = |count: &AtomicU64| count.load(Ordering::Relaxed);
        Counts {
            directories: of(&self.directories),
            files: of(&self.files),
            symlinks: of(&self.symlinks),
            special: of(&self.special),
            bytes: of(&self.bytes),
        }
    }
}

struct Checker<'a> {
    vault: &'a Vault,
    depth: Depth,
    progress: &'a dyn Progress,
    counts: AtomicCounts,
    findings: Mutex<Vec<Finding>>,
    homes: Mutex<Vec<Home>>,
    tasks: Tasks<Task>,
}

impl Checker<'_> {
    fn report(&self, at: &Place, trouble: Trouble) {
        self.findings.lock().push(Finding {
            cipher_path: at.cipher.clone(),
            plain_path: at.plain.clone(),
            trouble,
        });
    }

    fn add_home(&self, dir: &VaultDir, at: &Place) {
        self.homes.lock().push(Home {
            id: dir.id(),
            cipher: at.cipher.clone(),
            plain: at.plain.clone().unwrap_or_default(),
        });
    }

    fn count(counter: &AtomicU64, more: u64) {
        counter.fetch_add(more, Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests;
