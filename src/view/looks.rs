//! How objects of the backing looked, and what the kernel was told of them: to
//! notice changes that are not ours, and to make ours noticed.

use std::hash::{DefaultHasher, Hash, Hasher};
use std::io;
use std::sync::atomic::Ordering;

use super::inodes::Node;
use crate::sys::fs::Stat;
use crate::types::{FileKind, SetTime, Time};

/// How many earlier looks of a file are remembered.
const EARLIER_LOOKS: usize = 32;

/// How an object of the backing looked when we last looked, to notice changes
/// that are not ours.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Seen {
    size: u64,
    mtime: Time,
    /// Directories: nobody can set it back, as some clients do with the mtime.
    /// Of a file it also changes with its mode and its names.
    ctime: Option<Time>,
}

impl Seen {
    /// What `stat` shows.
    #[must_use]
    pub fn of(stat: &Stat) -> Self {
        Self {
            size: stat.size,
            mtime: stat.mtime,
            ctime: (stat.kind() == Some(FileKind::Directory)).then_some(stat.ctime),
        }
    }

    /// Last change of content.
    #[must_use]
    pub const fn mtime(&self) -> Time {
        self.mtime
    }
}

impl Node {
    /// Records the backing's state after a change of our own.
    pub fn saw(&self, stat: &Stat) {
        *self.seen.lock() = Some(Seen::of(stat));
    }

    /// The contents are about to change, or have: what we saw last shall not be
    /// seen again.
    pub fn leave_behind(&self) {
        let last = *self.seen.lock();
        self.leave(last);
    }

    /// The same of how the backing looks now, while changes are in the journal.
    pub fn leave_behind_as(&self, stat: &Stat) {
        self.leave(Some(Seen::of(stat)));
    }

    fn leave(&self, look: Option<Seen>) {
        let mut earlier = self.earlier.lock();
        if let Some(look) = look.filter(|look| !earlier.contains(look)) {
            if earlier.len() == EARLIER_LOOKS {
                earlier.remove(0);
            }
            earlier.push(look);
        }
    }

    /// Records the backing's state after times were set, by `stat`. Nobody shall
    /// take the file for what it was: an mtime that it had with other contents
    /// of the same size moves on by nanoseconds, by `set`, which looks again.
    /// FORMAT.md, modification time.
    pub fn saw_times(&self, stat: &Stat, set: impl FnOnce(SetTime) -> io::Result<Stat>) {
        let earlier = self.earlier.lock();
        let mut look = Seen::of(stat);
        while earlier.contains(&look) {
            look.mtime = look.mtime.next();
        }
        drop(earlier);
        if look.mtime != stat.mtime {
            match set(SetTime::At(look.mtime)) {
                Ok(stat) => look = Seen::of(&stat),
                Err(error) => {
                    tracing::debug!(%error, "an mtime could not be moved on");
                    look.mtime = stat.mtime;
                }
            }
        }
        *self.seen.lock() = Some(look);
    }

    /// The kernel, which keeps its own idea of a file's mtime, was not given the
    /// one it `asked` for.
    pub fn note_moved(&self, asked: SetTime) {
        let given = self.seen.lock().map(|seen| seen.mtime);
        let mut moved = self.moved.lock();
        *moved = match (asked, given) {
            (SetTime::At(asked), Some(given)) if asked != given => Some((asked, given)),
            // Nothing was asked: what was asked last may still stand.
            (SetTime::Omit, Some(given)) => moved.filter(|(_, moved_to)| *moved_to == given),
            (SetTime::At(_) | SetTime::Now | SetTime::Omit, _) => None,
        };
    }

    /// Whether an mtime that the kernel tells is what the backing `shows` already.
    pub fn shows_as(&self, asked: SetTime, shows: Time) -> bool {
        match asked {
            SetTime::At(asked) => asked == shows || *self.moved.lock() == Some((asked, shows)),
            SetTime::Now | SetTime::Omit => false,
        }
    }

    /// The kernel is told these attributes.
    pub fn tell(&self, stat: &Stat) {
        self.told.store(digest(self.kind, stat), Ordering::Release);
    }

    /// Whether it was told others than these.
    pub fn was_told_others(&self, stat: &Stat) -> bool {
        self.told.load(Ordering::Acquire) != digest(self.kind, stat)
    }

    /// Whether `stat` is not what we saw last. Only for files without handles:
    /// the caller holds `open`.
    pub fn looks_foreign(&self, stat: &Stat) -> bool {
        let before = *self.seen.lock();
        before.is_some_and(|before| before != Seen::of(stat))
    }
}

/// Mode and owner; of a directory its mtime, of anything else the number of its
/// names.
fn digest(kind: FileKind, stat: &Stat) -> u64 {
    let mut hasher = DefaultHasher::new();
    (stat.mode, stat.uid, stat.gid).hash(&mut hasher);
    match kind {
        FileKind::Directory => (stat.mtime.secs, stat.mtime.nanos).hash(&mut hasher),
        FileKind::Regular
        | FileKind::Symlink
        | FileKind::Fifo
        | FileKind::Socket
        | FileKind::CharDevice
        | FileKind::BlockDevice => stat.nlink.hash(&mut hasher),
    }
    hasher.finish()
}
