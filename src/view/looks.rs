//! How objects of the backing looked, and what the kernel was told of them: to
//! notice changes that are not ours, and to make ours noticed.

use std::hash::{DefaultHasher, Hash, Hasher};
use std::io;
use std::sync::atomic::Ordering;

use super::inodes::Node;
use crate::sys::fs::Stat;
use crate::types::{FileKind, SetTime, Time};
use crate::vault::file::clock_now;

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
    /// of the same size moves on as little as the backing can show, by `set`,
    /// which looks again. FORMAT.md, modification time.
    pub fn saw_times(&self, stat: &Stat, set: impl FnMut(SetTime) -> io::Result<Stat>) {
        let earlier = self.earlier.lock().clone();
        let look = if earlier.contains(&Seen::of(stat)) {
            unlike(&earlier, stat, clock_now(), set)
        } else {
            Seen::of(stat)
        };
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

/// Moves an mtime on until the file looks like none of the `earlier` looks, in
/// steps of what the backing keeps; if those are coarse, to one step after `now` at
/// most.
fn unlike(
    earlier: &[Seen],
    stat: &Stat,
    now: Time,
    mut set: impl FnMut(SetTime) -> io::Result<Stat>,
) -> Seen {
    let mut look = Seen::of(stat);
    let mut step = 1;
    for _ in 0..3 {
        let mut wanted = look;
        while earlier.contains(&wanted) {
            wanted.mtime = wanted.mtime.later(step);
        }
        if step > 1 && wanted.mtime > now.later(step) {
            break;
        }
        match set(SetTime::At(wanted.mtime)) {
            Ok(stat) => look = Seen::of(&stat),
            Err(error) => {
                tracing::debug!(%error, "an mtime could not be moved on");
                break;
            }
        }
        if !earlier.contains(&look) {
            break;
        }
        step = coarser(step, look.mtime);
    }
    look
}

/// The next step to try, in nanoseconds, if one of `tried` led to this mtime: what
/// divides it, or twice as much.
const fn coarser(tried: u32, shown: Time) -> u32 {
    let step = match shown.nanos {
        0 => 1_000_000_000,
        nanos if nanos % 10_000_000 == 0 => 10_000_000,
        _ => 1_000,
    };
    if step > tried { step } else { tried * 2 }
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

#[cfg(test)]
mod tests {
    use super::*;

    const fn file(mtime: Time) -> Stat {
        Stat::of_empty_file(2, mtime)
    }

    #[test]
    fn an_mtime_moves_on_as_little_as_the_backing_can_show() {
        let now = Time {
            secs: 1000,
            nanos: 712_345_678,
        };
        // What a backing keeps, and how much more it shows then.
        for (tick, expected) in [
            (1, 1),
            (100, 1_000),
            (1_000, 1_000),
            (10_000_000, 10_000_000),
            (1_000_000_000, 1_000_000_000),
            (2_000_000_000, 2_000_000_000),
        ] {
            let kept = |time: Time| {
                let nanos = time.secs * 1_000_000_000 + i64::from(time.nanos);
                let kept = nanos - nanos % i64::from(tick);
                Time {
                    secs: kept / 1_000_000_000,
                    nanos: u32::try_from(kept % 1_000_000_000).unwrap_or(0),
                }
            };
            let shown = kept(now);
            let earlier = [Seen::of(&file(shown))];
            let mut asked = 0;
            let look = unlike(&earlier, &file(shown), now, |wanted| {
                asked += 1;
                let SetTime::At(wanted) = wanted else {
                    panic!("no time");
                };
                Ok(file(kept(wanted)))
            });
            assert_eq!(look.mtime, shown.later(expected), "{tick}");
            assert!(asked <= 3);
        }
    }

    #[test]
    fn coarse_times_run_no_further_than_one_step_ahead() {
        let at = |secs| Time { secs, nanos: 0 };
        let earlier: Vec<_> = (1000..1005).map(|secs| Seen::of(&file(at(secs)))).collect();
        let whole = |wanted| match wanted {
            SetTime::At(Time { secs, .. }) => Ok(file(at(secs))),
            SetTime::Now | SetTime::Omit => Err(io::ErrorKind::InvalidInput.into()),
        };
        let look = |now| unlike(&earlier, &file(at(1000)), at(now), whole).mtime;
        assert_eq!(look(1000), at(1000));
        assert_eq!(look(1004), at(1005));
    }
}
