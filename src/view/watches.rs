//! Which directories of the backing are followed, and what is to be looked at.
//!
//! **Locks**: each is a leaf.

use std::collections::{HashMap, HashSet};
use std::io;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use parking_lot::Mutex;

use crate::name::RawName;
use crate::store::StoreDir;
use crate::sys::inotify::{Event, Inotify, WatchId};
use crate::types::Ino;
use crate::vault::Vault;

/// Directories followed at most: twice as many as are at hand, and few enough
/// to leave a sync client its share where the system has only 8192.
const MOST_FOLLOWED: usize = 1024;

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
    notes: Option<WatchId>,
    clock: u64,
}

#[derive(Clone, Copy, Debug)]
struct Opened {
    ino: Ino,
    /// When it was opened last, by the clock above.
    at: u64,
}

impl Watches {
    /// Follows nothing yet. `notes` is the version of the notes that is known.
    pub(super) fn new(notes: u64) -> io::Result<Self> {
        Ok(Self {
            inotify: Inotify::new()?,
            followed: Mutex::default(),
            suspects: Mutex::default(),
            notes_told: AtomicU64::new(notes),
            ended: AtomicBool::new(false),
            complained: AtomicBool::new(false),
        })
    }

    /// Follows a directory from here on. Where too many are followed, a
    /// quarter goes: those opened the longest ago that are not `at_hand`.
    pub(super) fn follow(&self, ino: Ino, dir: &StoreDir, at_hand: impl FnOnce() -> HashSet<Ino>) {
        match dir.watch(&self.inotify) {
            Ok(watch) => {
                if self.add(ino, watch) > MOST_FOLLOWED {
                    self.thin_out(&at_hand());
                }
            }
            Err(error) => self.complain(&error),
        }
    }

    /// Follows the directory of the notes, if there is one.
    pub(super) fn follow_notes(&self, vault: &Vault) {
        match vault.watch_notes(&self.inotify) {
            Ok(watch) => self.followed.lock().notes = watch,
            Err(error) => self.complain(&error),
        }
    }

    fn add(&self, ino: Ino, watch: WatchId) -> usize {
        let mut followed = self.followed.lock();
        followed.clock += 1;
        let at = followed.clock;
        followed.by_watch.insert(watch, Opened { ino, at });
        followed.by_watch.len()
    }

    fn thin_out(&self, at_hand: &HashSet<Ino>) {
        let mut followed = self.followed.lock();
        let mut idle: Vec<(u64, WatchId)> = followed
            .by_watch
            .iter()
            .filter(|(_, opened)| !at_hand.contains(&opened.ino))
            .map(|(watch, opened)| (opened.at, *watch))
            .collect();
        idle.sort_unstable_by_key(|(at, _)| *at);
        for (_, watch) in idle.into_iter().take(MOST_FOLLOWED / 4) {
            followed.by_watch.remove(&watch);
            self.inotify.unwatch(watch);
        }
    }

    /// Follows a directory no longer: the kernel has forgotten it.
    pub(super) fn forget(&self, ino: Ino) {
        let mut followed = self.followed.lock();
        followed.by_watch.retain(|watch, opened| {
            if opened.ino == ino {
                self.inotify.unwatch(*watch);
            }
            opened.ino != ino
        });
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
        let mut round = Round {
            suspects: std::mem::take(&mut self.suspects.lock()),
            ..Round::default()
        };
        let mut events = Vec::new();
        let read = self.inotify.read(&mut |event| match event {
            Event::Entry(watch, name) => events.push((watch, RawName::new(name))),
            Event::Ended(watch) => {
                self.followed.lock().by_watch.remove(&watch);
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
