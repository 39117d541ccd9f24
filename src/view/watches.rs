//! Which directories of the backing are followed, and what is to be looked at.
//!
//! **Locks**: each is a leaf.

use std::collections::{HashMap, HashSet};
use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use parking_lot::Mutex;

use super::belief::Belief;
use crate::name::RawName;
use crate::store::StoreDir;
use crate::sys::inotify::{Event, Inotify, Told, WatchId};
use crate::types::Ino;
use crate::vault::Vault;

/// Directories followed at most: twice as many as are at hand, and few enough
/// to leave a sync client its share where the system has only 8192.
const MOST_FOLLOWED: usize = 1024;

/// Of these watched closely at most; the others can be let go of.
const MOST_CLOSELY: usize = MOST_FOLLOWED / 2;

/// Something on the backing to be looked at.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(super) enum Suspect {
    /// An entry of a directory.
    Entry(Ino, RawName),
    /// All of a directory: its id may be another one.
    Directory(Ino),
    /// A file that others changed while it was open here.
    File(Ino),
}

/// What happened since the last look.
#[derive(Debug, Default)]
pub(super) struct Round {
    pub(super) suspects: HashSet<Suspect>,
    /// Entries of the directory of the notes.
    pub(super) notes: HashSet<RawName>,
    /// Events were lost.
    pub(super) overflow: bool,
}

/// The directories that are followed.
#[derive(Debug)]
pub(super) struct Watches {
    inotify: Inotify,
    /// Whether nothing can change without being told: not where another machine
    /// may change it.
    misses_nothing: bool,
    /// Counts the times that events were gathered, or more is told from then on.
    rounds: AtomicU64,
    followed: Mutex<Followed>,
    suspects: Mutex<HashSet<Suspect>>,
    /// Which version of the notes the kernel's beliefs go by.
    notes_told: AtomicU64,
    ended: AtomicBool,
    /// Whether it was said that a directory cannot be followed.
    complained: AtomicBool,
}

#[derive(Debug, Default)]
struct Followed {
    by_watch: HashMap<WatchId, Opened>,
    /// How many are watched closely.
    closely: usize,
    notes: Option<WatchId>,
    clock: u64,
}

#[derive(Debug)]
struct Opened {
    ino: Ino,
    belief: Arc<Belief>,
    /// When it was opened last, by the clock above.
    at: u64,
}

impl Followed {
    fn add(&mut self, watch: WatchId, ino: Ino, belief: &Arc<Belief>) {
        self.clock += 1;
        let opened = Opened {
            ino,
            belief: Arc::clone(belief),
            at: self.clock,
        };
        // The kernel may have forgotten the directory meanwhile, and with it
        // whatever it believed.
        if let Some(before) = self.by_watch.insert(watch, opened)
            && !Arc::ptr_eq(&before.belief, belief)
            && before.belief.is_close()
        {
            before.belief.set_close(false);
            self.closely -= 1;
        }
    }

    /// Has less told of a directory, unless the kernel believes something of it.
    fn let_go(&mut self, belief: &Belief) -> bool {
        let was_close = belief.is_close();
        let free = belief.let_go();
        if free && was_close {
            self.closely -= 1;
        }
        free
    }

    /// It is not watched any more, whatever the kernel believes.
    fn remove(&mut self, watch: WatchId) {
        if let Some(opened) = self.by_watch.remove(&watch)
            && opened.belief.is_close()
        {
            opened.belief.set_close(false);
            self.closely -= 1;
        }
    }
}

impl Watches {
    /// Follows nothing yet. On a backing that this machine alone can change it
    /// `misses_nothing`. `notes` is the version of the notes that is known.
    pub(super) fn new(notes: u64, misses_nothing: bool) -> io::Result<Self> {
        Ok(Self {
            inotify: Inotify::new()?,
            misses_nothing,
            rounds: AtomicU64::new(0),
            followed: Mutex::default(),
            suspects: Mutex::default(),
            notes_told: AtomicU64::new(notes),
            ended: AtomicBool::new(false),
            complained: AtomicBool::new(false),
        })
    }

    /// Follows a directory from here on. Where too many are followed, a
    /// quarter goes: those opened the longest ago that are not `at_hand`.
    pub(super) fn follow(
        &self,
        ino: Ino,
        belief: &Arc<Belief>,
        dir: &StoreDir,
        at_hand: impl FnOnce() -> HashSet<Ino>,
    ) {
        let mut followed = self.followed.lock();
        let told = if belief.is_close() {
            Told::Everything
        } else {
            Told::Names
        };
        match dir.watch(&self.inotify, told) {
            Ok(watch) => followed.add(watch, ino, belief),
            Err(error) => self.complain(&error),
        }
        if followed.by_watch.len() > MOST_FOLLOWED {
            self.thin_out(&mut followed, &at_hand());
        }
    }

    /// Whether every change in a directory that is watched closely is told.
    pub(super) const fn miss_nothing(&self) -> bool {
        self.misses_nothing
    }

    /// How often events were gathered, or more was told from then on: raised before
    /// the first, and after the second.
    pub(super) fn round(&self) -> u64 {
        self.rounds.load(Ordering::SeqCst)
    }

    /// Has everything told of a directory that is followed.
    pub(super) fn watch_closely(&self, ino: Ino, belief: &Arc<Belief>, dir: &StoreDir) {
        let mut followed = self.followed.lock();
        if belief.is_close() || followed.closely >= MOST_CLOSELY {
            return;
        }
        match dir.watch(&self.inotify, Told::Everything) {
            Ok(watch) => {
                followed.add(watch, ino, belief);
                followed.closely += 1;
                // Nobody was told of what has changed since it was looked at last.
                self.rounds.fetch_add(1, Ordering::SeqCst);
                belief.set_close(true);
            }
            Err(error) => self.complain(&error),
        }
    }

    /// Has names alone told of a directory, unless the kernel believes something
    /// of it.
    pub(super) fn watch_names(&self, belief: &Belief, dir: &StoreDir) {
        let mut followed = self.followed.lock();
        if belief.is_close()
            && followed.let_go(belief)
            && let Err(error) = dir.watch(&self.inotify, Told::Names)
        {
            self.complain(&error);
        }
    }

    /// Follows the directory of the notes, if there is one.
    pub(super) fn follow_notes(&self, vault: &Vault) {
        match vault.watch_notes(&self.inotify) {
            Ok(watch) => self.followed.lock().notes = watch,
            Err(error) => self.complain(&error),
        }
    }

    fn thin_out(&self, followed: &mut Followed, at_hand: &HashSet<Ino>) {
        let mut idle: Vec<(u64, WatchId)> = followed
            .by_watch
            .iter()
            .filter(|(_, opened)| !at_hand.contains(&opened.ino))
            .map(|(watch, opened)| (opened.at, *watch))
            .collect();
        idle.sort_unstable_by_key(|(at, _)| *at);
        let mut left = MOST_FOLLOWED / 4;
        for (_, watch) in idle {
            let belief = Arc::clone(&followed.by_watch[&watch].belief);
            if left > 0 && followed.let_go(&belief) {
                followed.by_watch.remove(&watch);
                self.inotify.unwatch(watch);
                left -= 1;
            }
        }
    }

    /// Follows a directory no longer: the kernel has forgotten it.
    pub(super) fn forget(&self, ino: Ino) {
        let mut followed = self.followed.lock();
        let of_it = |(watch, opened): (&WatchId, &Opened)| (opened.ino == ino).then_some(*watch);
        let gone: Vec<WatchId> = followed.by_watch.iter().filter_map(of_it).collect();
        for watch in gone {
            followed.remove(watch);
            self.inotify.unwatch(watch);
        }
    }

    /// Says once that not all is followed. A directory that may not be read is
    /// no matter.
    fn complain(&self, error: &io::Error) {
        let is_usual = matches!(
            error.kind(),
            io::ErrorKind::PermissionDenied | io::ErrorKind::NotFound
        );
        if !is_usual && !self.complained.swap(true, Ordering::Relaxed) {
            tracing::warn!(
                "in some directories, changes made underneath are seen after the cache timeout only: {error}"
            );
        }
    }

    /// Whether this version of the notes is another one than when this was
    /// asked last.
    pub(super) fn are_new_notes(&self, version: u64) -> bool {
        self.notes_told.swap(version, Ordering::AcqRel) != version
    }

    /// Has something looked at.
    pub(super) fn suspect(&self, what: Suspect) {
        self.suspects.lock().insert(what);
        self.inotify.ring();
    }

    /// Ends this: there is nothing to wait for any more.
    pub(super) fn end(&self) {
        self.ended.store(true, Ordering::Release);
        self.inotify.ring();
    }

    pub(super) fn has_ended(&self) -> bool {
        self.ended.load(Ordering::Acquire)
    }

    /// Waits until something happens; false at the end.
    pub(super) fn wait(&self) -> bool {
        !self.has_ended() && self.inotify.wait().is_ok() && !self.has_ended()
    }

    /// Everything that has happened, each entry once.
    pub(super) fn gather(&self) -> Round {
        self.rounds.fetch_add(1, Ordering::SeqCst);
        let mut round = Round {
            suspects: std::mem::take(&mut self.suspects.lock()),
            ..Round::default()
        };
        let mut events = Vec::new();
        let read = self.inotify.read(&mut |event| match event {
            Event::Entry(watch, name) => events.push((watch, RawName::new(name))),
            Event::Ended(watch) => {
                self.followed.lock().remove(watch);
            }
            Event::Overflow => round.overflow = true,
        });
        if read.is_err() {
            self.end();
        }
        let followed = self.followed.lock();
        for (watch, name) in events {
            if let Some(opened) = followed.by_watch.get(&watch) {
                round.suspects.insert(Suspect::Entry(opened.ino, name));
            } else if followed.notes == Some(watch) {
                round.notes.insert(name);
            }
        }
        round
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::StoreDir;

    #[test]
    fn what_was_looked_at_before_everything_was_told_is_not_believed() {
        let dir = tempfile::tempdir().expect("a directory");
        let store = StoreDir::open_root(dir.path()).expect("it opens");
        let watches = Watches::new(0, true).expect("inotify is there");
        let belief = Arc::new(Belief::new());
        watches.follow(Ino::ROOT, &belief, &store, HashSet::new);
        let before = watches.round();
        watches.watch_closely(Ino::ROOT, &belief, &store);
        assert!(belief.is_close());
        assert_ne!(watches.round(), before);
    }
}
