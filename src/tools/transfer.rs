//! Whole trees into a vault and out of it, without a mount, with everything
//! that a mount keeps: modes, owners, times, attributes, links and holes.
//!
//! | file | what it holds |
//! |---|---|
//! | this file | what is asked for, what came of it, the stack of tasks |
//! | [`ends`] | [`ends::export`] and [`ends::import`]: where a copy begins and ends |
//! | `walk` | one object copied, and when a directory is done |
//! | `contents` | the bytes and holes of one file |
//! | [`tree`] | what a copy needs of the two trees |
//! | `plain`, `sealed` | a plain directory and a vault as such trees |
//!
//! An object appears in the target whole: it is made under a temporary name
//! and renamed when contents, attributes, mode and times are set. Nothing in
//! the target is ever removed, but what an earlier copy left unfinished. So a
//! copy that was cut off at any moment goes on when it is run again.
//!
//! **Durability**: when a copy ends, everything on the target's file system
//! has been synced, by one syncfs(2). After a power cut in the middle, files
//! that were already in their place may have lost contents as they may after
//! cp(1); comparing contents ([`Compare::Contents`]) finds them.
//!
//! Objects are tasks of a stack shared by as many threads as there are cores;
//! the chunks of one large piece are shared by rayon's. The stack keeps the
//! walk depth first, so that few directories are open.

mod contents;
pub mod ends;
mod plain;
mod sealed;
pub mod tree;
mod walk;

use std::collections::HashMap;
use std::sync::Arc;

use parking_lot::Mutex;

use self::tree::{Tree, TreeError};
use crate::name::PlainName;
use crate::sys::fs::Stat;
use crate::tasks::Tasks;
use crate::types::FileKind;

/// What happens to an object of the target that differs from its source.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Existing {
    /// It stays, and is reported.
    Keep,
    /// It is replaced, atomically; a directory never, nor by one.
    Replace,
}

/// When a file counts as copied already.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Compare {
    /// Size and time of the last change are equal.
    Times,
    /// And so are all bytes.
    Contents,
}

/// Whether anything is changed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Run {
    /// Yes.
    Real,
    /// No: only counts what would be done.
    Dry,
}

/// What becomes of set-ID bits of files, and of device nodes. The storage
/// could have set either.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Privileges {
    /// Bits are dropped, devices left out and reported.
    Drop,
    /// They are kept.
    Keep,
}

/// How to copy.
#[derive(Clone, Copy, Debug)]
pub struct How {
    /// What becomes of set-ID bits and devices.
    pub privileges: Privileges,
    /// What happens to what is there and differs.
    pub existing: Existing,
    /// When a file counts as equal.
    pub compare: Compare,
    /// Whether anything is changed.
    pub run: Run,
}

/// What was copied, or left because it was there.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counts {
    /// Directories gone through.
    pub directories: u64,
    /// Regular files copied.
    pub files: u64,
    /// Symbolic links copied.
    pub symlinks: u64,
    /// FIFOs, sockets and devices copied.
    pub special: u64,
    /// Further names of copied objects.
    pub hard_links: u64,
    /// Bytes of the copied regular files, holes included.
    pub bytes: u64,
    /// Objects that were there already and equal.
    pub skipped: u64,
}

/// Why an object was not copied, or not with all that belongs to it.
#[derive(Debug, thiserror::Error)]
pub enum Trouble {
    /// The source failed.
    #[error("cannot be read: {0}")]
    Source(#[source] TreeError),
    /// The target failed.
    #[error("cannot be written: {0}")]
    Target(#[source] TreeError),
    /// It is there, and another.
    #[error("exists in the target and differs; --overwrite replaces it")]
    Differs,
    /// One of the two is a directory, the other is not.
    #[error("the target has a {0} of that name, which is never replaced; move it away")]
    OtherKind(&'static str),
    /// What was read is not of one moment.
    #[error("changed while it was copied; run the same command again")]
    Changed,
    /// It was copied, an attribute was not.
    #[error("was copied without an extended attribute: {0}")]
    Attribute(#[source] TreeError),
    /// Entries of a directory of which not even the name is known.
    #[error("{0} names in it do not open; keepfs check says which")]
    NamesLost(u64),
    /// A device node, and those were not asked for.
    #[error("is a device node, which the storage could have made; --privileged copies it")]
    Device,
    /// Something that Linux does not have.
    #[error("is of an unknown kind")]
    UnknownKind,
    /// The copy ended before its turn came.
    #[error("was not reached")]
    Stopped,
}

impl Trouble {
    /// Whether the vault's bytes are not what was stored.
    #[must_use]
    pub fn is_damage(&self) -> bool {
        match self {
            Self::NamesLost(_) => true,
            Self::Source(error) | Self::Attribute(error) => error.is_damage(),
            Self::Target(_)
            | Self::Differs
            | Self::OtherKind(_)
            | Self::Changed
            | Self::Device
            | Self::UnknownKind
            | Self::Stopped => false,
        }
    }

    /// Whether everything else would fail, too: the target is full, or
    /// cannot be written to at all.
    fn ends_it_all(&self) -> bool {
        match self {
            Self::Target(error) => matches!(
                error.code(),
                Some(libc::ENOSPC | libc::EDQUOT | libc::EROFS)
            ),
            Self::Source(_)
            | Self::Differs
            | Self::OtherKind(_)
            | Self::Changed
            | Self::Attribute(_)
            | Self::NamesLost(_)
            | Self::Device
            | Self::UnknownKind
            | Self::Stopped => false,
        }
    }
}

/// Something that was not copied as it should.
#[derive(Debug)]
pub struct Failure {
    /// Its path in the copied tree, in plain; nothing for the tree's root.
    pub path: Vec<u8>,
    /// What is wrong.
    pub trouble: Trouble,
}

/// How a copy ended.
#[derive(Debug, Default)]
pub struct Report {
    /// What was copied.
    pub counts: Counts,
    /// What was not, by path.
    pub failures: Vec<Failure>,
    /// What ended the copy before its end, if anything.
    pub stopped: Option<Failure>,
}

/// Hears how many more bytes of regular files were dealt with, from several
/// threads at once.
pub type Progress<'a> = dyn Fn(u64) + Sync + 'a;

/// A directory that is being copied. Whoever gives back the last reference
/// finishes it.
struct Job<D, E> {
    parent: Option<Arc<Self>>,
    path: Vec<PlainName>,
    source: D,
    /// `None` in a dry run where it does not exist.
    target: Option<Arc<E>>,
    /// What the target is to look like in the end; `None` to leave it.
    look: Option<Stat>,
}

impl<D, E> Job<D, E> {
    fn path_of(&self, name: &PlainName) -> Vec<PlainName> {
        self.path.iter().chain([name]).cloned().collect()
    }
}

/// A chain of parents is as long as the tree is deep: not for recursion.
impl<D, E> Drop for Job<D, E> {
    fn drop(&mut self) {
        let mut parent = self.parent.take();
        while let Some(job) = parent {
            parent = Arc::into_inner(job).and_then(|mut job| job.parent.take());
        }
    }
}

/// An entry of a directory that is to be copied.
struct Task<D, E> {
    job: Arc<Job<D, E>>,
    name: PlainName,
}

/// An object with several names.
enum Linked<D, E> {
    /// Somebody copies it under its first name; these names come after.
    Busy(Vec<Task<D, E>>),
    /// It is in the target, at this path.
    Done(Vec<PlainName>),
}

type Links<D, E> = HashMap<(u64, u64), Linked<D, E>>;

struct Engine<'a, S: Tree, T: Tree> {
    source: &'a S,
    target: &'a T,
    /// The target's root; `None` in a dry run where it does not exist.
    root: Option<Arc<T::Dir>>,
    how: How,
    progress: &'a Progress<'a>,
    counts: Mutex<Counts>,
    failures: Mutex<Vec<Failure>>,
    stopped: Mutex<Option<Failure>>,
    tasks: Tasks<Task<S::Dir, T::Dir>>,
    /// A leaf among the locks, as are all the others here.
    links: Mutex<Links<S::Dir, T::Dir>>,
}

/// What is copied.
enum Subject {
    /// All that is in the source directory, which the target shall look like.
    Inside(Stat),
    /// One entry of it.
    Entry(PlainName),
}

impl<'a, S: Tree, T: Tree> Engine<'a, S, T> {
    fn new(
        source: &'a S,
        target: &'a T,
        root: Option<Arc<T::Dir>>,
        how: How,
        progress: &'a Progress<'a>,
    ) -> Self {
        Self {
            source,
            target,
            root,
            how,
            progress,
            counts: Mutex::default(),
            failures: Mutex::default(),
            stopped: Mutex::default(),
            tasks: Tasks::default(),
            links: Mutex::default(),
        }
    }

    /// Copies from the directory `source`, on all cores, and syncs.
    fn run(self, source: S::Dir, subject: Subject) -> Report {
        self.start(source, subject);
        self.tasks.run(|task| self.task(task));
        self.conclude()
    }

    /// Makes the first tasks.
    fn start(&self, source: S::Dir, subject: Subject) {
        let (look, entry) = match subject {
            Subject::Inside(stat) => (Some(stat), None),
            Subject::Entry(name) => (None, Some(name)),
        };
        let job = Arc::new(Job {
            parent: None,
            path: Vec::new(),
            source,
            target: self.root.clone(),
            look,
        });
        match entry {
            Some(name) => self.tasks.push(vec![Task {
                job: Arc::clone(&job),
                name,
            }]),
            None => match self.source.list(&job.source) {
                Ok(listing) => self.enter(&job, listing),
                Err(error) => self.report(&[], Trouble::Source(error)),
            },
        }
        self.release(job);
    }

    /// Syncs, and says what was done.
    fn conclude(self) -> Report {
        if let (Some(root), Run::Real) = (&self.root, self.how.run)
            && let Err(error) = self.target.sync(root)
        {
            let trouble = Trouble::Target(error);
            let path = Vec::new();
            self.stopped.lock().get_or_insert(Failure { path, trouble });
        }
        let mut failures = self.failures.into_inner();
        failures.sort_by(|a, b| a.path.cmp(&b.path));
        Report {
            counts: self.counts.into_inner(),
            failures,
            stopped: self.stopped.into_inner(),
        }
    }

    fn is_stopped(&self) -> bool {
        self.stopped.lock().is_some()
    }

    fn report(&self, path: &[PlainName], trouble: Trouble) {
        let path = path.iter().map(PlainName::bytes).collect::<Vec<_>>();
        let path = path.join(&b'/');
        if trouble.ends_it_all() {
            self.stopped.lock().get_or_insert(Failure { path, trouble });
        } else if !matches!(trouble, Trouble::Stopped) {
            self.failures.lock().push(Failure { path, trouble });
        }
    }
}

/// Bytes of regular files below a directory, roughly: what cannot be looked at
/// is left out.
fn measure<T: Tree>(tree: &T, dir: T::Dir) -> u64 {
    let mut total = 0;
    let mut open = vec![dir];
    while let Some(dir) = open.pop() {
        for (name, _) in tree.list(&dir).unwrap_or_default().entries {
            let Ok(Some(stat)) = tree.find(&dir, &name) else {
                continue;
            };
            match stat.kind() {
                Some(FileKind::Regular) => total += stat.size,
                Some(FileKind::Directory) => open.extend(tree.open_dir(&dir, &name).ok()),
                Some(_) | None => {}
            }
        }
    }
    total
}

#[cfg(test)]
mod tests;
