//! Changes on the backing, told apart: ours, which the view knows, and others,
//! of which the kernel must hear.
//!
//! What happened is no news by itself: what the backing shows now is compared
//! with what the kernel was told last. Nothing here talks to the kernel, and
//! no lock is held when a change is reported.

use std::collections::HashSet;
use std::hash::{DefaultHasher, Hash, Hasher};
use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use super::View;
use super::belief::Belief;
use super::inodes::{BackingKey, Node};
use super::watches::{Suspect, Watches};
use crate::name::{PlainName, RawName};
use crate::sys::fs::Stat;
use crate::types::{FileKind, Ino};
use crate::vault::dir::{StandsFor, VaultDir};

/// What the kernel believes and must ask again.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Change {
    /// What a name in a directory stands for, or that there is none.
    Name(Ino, PlainName),
    /// The attributes of an object.
    Attributes(Ino),
    /// The entries of a directory, and its attributes.
    Listing(Ino),
}

/// What a look at an entry brought.
enum Look {
    /// The kernel knows it as it is, or will ask.
    Known,
    /// Somebody is busy with it: to be looked at again.
    Busy,
    /// Something else than the kernel knows, or nothing any more.
    Other(PlainName),
    /// The file that the kernel knows, with another content.
    Content(PlainName, Ino),
    /// What the kernel knows, with other attributes.
    Attributes(Ino),
    /// The directory of the notes has come or gone.
    Notes,
}

/// Names that we removed and that the kernel was not told to exist since: it
/// knows that they are gone. A fixed number of slots, each with the last that
/// fell into it; one that was pushed out costs the kernel a lookup.
#[derive(Debug)]
pub(super) struct Removed(Box<[AtomicU64]>);

const SLOTS: u64 = 4096;

impl Default for Removed {
    fn default() -> Self {
        Self((0..SLOTS).map(|_| AtomicU64::new(0)).collect())
    }
}

impl Removed {
    fn slot(&self, dir: Ino, name: &PlainName) -> (&AtomicU64, u64) {
        let mut hasher = DefaultHasher::new();
        (dir.get(), name.bytes()).hash(&mut hasher);
        let hash = hasher.finish() | 1;
        let at = usize::try_from(hash / 2 % SLOTS).expect("it is below 4096");
        (&self.0[at], hash)
    }

    /// The name was removed by us.
    pub(super) fn note(&self, dir: Ino, name: &PlainName) {
        let (slot, hash) = self.slot(dir, name);
        slot.store(hash, Ordering::Release);
    }

    /// The kernel is told that the name exists.
    pub(super) fn forget(&self, dir: Ino, name: &PlainName) {
        let (slot, hash) = self.slot(dir, name);
        if slot.load(Ordering::Acquire) == hash {
            slot.store(0, Ordering::Release);
        }
    }

    fn has(&self, dir: Ino, name: &PlainName) -> bool {
        let (slot, hash) = self.slot(dir, name);
        slot.load(Ordering::Acquire) == hash
    }
}

impl View {
    /// Whether each look at the backing may be a round trip.
    pub fn is_on_remote_backing(&self) -> bool {
        self.vault.root_dir().store().is_remote().unwrap_or(false)
    }

    /// Begins to follow the directories in use, and each that comes into use.
    ///
    /// # Errors
    /// inotify is not to be had.
    pub fn follow_changes(&self) -> io::Result<()> {
        let root = self.vault.root_dir();
        let is_local = root.store().is_local()?;
        let watches = Watches::new(self.vault.notes_version(), is_local)?;
        let node = self.inodes.root();
        let belief = node.belief.get_or_init(|| Arc::new(Belief::new()));
        watches.follow(Ino::ROOT, belief, root.store(), HashSet::new);
        watches.follow_notes(&self.vault);
        let _only_once = self.watches.set(watches);
        Ok(())
    }

    /// Ends [`wait_for_changes`](Self::wait_for_changes), and the report that
    /// is being made.
    pub fn follow_no_longer(&self) {
        if let Some(watches) = self.watches.get() {
            watches.end();
        }
    }

    /// Waits until something happens on the backing; false at the end.
    #[must_use]
    pub fn wait_for_changes(&self) -> bool {
        self.watches.get().is_some_and(Watches::wait)
    }

    /// Follows a directory that was just opened, before anything in it is
    /// looked at. What the kernel was told under another id is outdated.
    pub(super) fn follow(&self, node: &Node, dir: &VaultDir) {
        let Some(watches) = self.watches.get() else {
            return;
        };
        let belief = node.belief.get_or_init(|| Arc::new(Belief::new()));
        let at_hand = || self.directories.at_hand();
        watches.follow(node.ino, belief, dir.store(), at_hand);
        let before = node.told_under.lock().replace(dir.id());
        if before.is_some_and(|before| before != dir.id()) {
            watches.suspect(Suspect::Directory(node.ino));
        }
    }

    /// Has something looked at soon, if anything is followed.
    pub(super) fn suspect(&self, what: Suspect) {
        if let Some(watches) = self.watches.get() {
            watches.suspect(what);
        }
    }

    /// Tells of every change since the last report that the kernel cannot know
    /// of. `tell` may sleep.
    pub fn report_changes(&self, tell: &mut dyn FnMut(&Change)) {
        let Some(watches) = self.watches.get() else {
            return;
        };
        let round = watches.gather();
        let mut report = |change: Change| {
            if !watches.has_ended() {
                tell(&change);
            }
        };
        if round.overflow {
            self.report_everything(watches, &mut report);
        }
        for note in &round.notes {
            self.vault.note_changed(note);
        }
        if !round.notes.is_empty() {
            self.report_notes(watches, &mut report);
        }
        let mut listings = HashSet::new();
        for suspect in round.suspects {
            if watches.has_ended() {
                return;
            }
            match suspect {
                Suspect::Entry(dir, entry) => {
                    if self.report_entry(watches, dir, entry, &mut report) {
                        listings.insert(dir);
                    }
                }
                Suspect::Directory(dir) => self.report_directory(dir, &mut report),
                Suspect::File(ino) => report(Change::Attributes(ino)),
            }
        }
        for dir in listings {
            report(Change::Listing(dir));
        }
    }

    /// Reports what an entry has become; whether its directory has changed.
    fn report_entry(
        &self,
        watches: &Watches,
        dir: Ino,
        entry: RawName,
        report: &mut dyn FnMut(Change),
    ) -> bool {
        let Some(node) = self.inodes.get(dir) else {
            watches.forget(dir);
            return false;
        };
        match self.look(&node, &entry) {
            Look::Known => {
                // Perhaps one of many that are our own.
                if let Some(belief) = node.belief.get() {
                    self.relax(&node, belief);
                }
            }
            Look::Busy => watches.suspect(Suspect::Entry(dir, entry)),
            Look::Notes => {
                watches.follow_notes(&self.vault);
                self.report_notes(watches, report);
            }
            Look::Attributes(ino) => report(Change::Attributes(ino)),
            Look::Content(name, ino) => {
                report(Change::Attributes(ino));
                report(Change::Name(dir, name));
            }
            Look::Other(name) => {
                report(Change::Name(dir, name));
                return true;
            }
        }
        false
    }

    /// Looks at an entry without waiting for anybody. What seems to be a change
    /// of others is looked at again while no request uses the directory: a
    /// change of our own is known to us once its request is done.
    fn look(&self, node: &Arc<Node>, entry: &RawName) -> Look {
        let Some(names) = node.names.try_read_recursive() else {
            return Look::Busy;
        };
        let first = self.look_at(node, entry);
        drop(names);
        match first {
            Look::Other(_) | Look::Content(..) | Look::Attributes(_) => {
                match node.names.try_write() {
                    Some(_names) => self.look_at(node, entry),
                    None => Look::Busy,
                }
            }
            Look::Known | Look::Busy | Look::Notes => first,
        }
    }

    fn look_at(&self, node: &Arc<Node>, entry: &RawName) -> Look {
        // Whoever needs what cannot be read here will be told so.
        let Ok(dir) = self.dir(node) else {
            return Look::Known;
        };
        match dir.stands_for(&self.vault, entry) {
            Ok(StandsFor::Name(name)) => self.compare(node, &dir, entry, name),
            Ok(StandsFor::Notes) if node.ino == Ino::ROOT => Look::Notes,
            Ok(StandsFor::Pin) => {
                let _followed_if_it_is_another_id = self.reread_pin(node);
                Look::Known
            }
            Ok(StandsFor::Notes | StandsFor::Nothing) | Err(_) => Look::Known,
        }
    }

    /// Compares an entry with what the kernel was told of its name.
    fn compare(&self, parent: &Node, dir: &VaultDir, entry: &RawName, name: PlainName) -> Look {
        let stat = match dir.store().stat(entry) {
            Ok(stat) => stat,
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                return if self.removed.has(parent.ino, &name) {
                    Look::Known
                } else {
                    Look::Other(name)
                };
            }
            Err(_) => return Look::Known,
        };
        let known = self.inodes.find(BackingKey::of(&stat));
        let Some(node) = known
            .filter(|node| stat.kind() == Some(node.kind) && node.is_called(parent.ino, &name))
        else {
            return Look::Other(name);
        };
        if node.kind == FileKind::Directory || !node.looks_foreign(&stat) {
            return if node.was_told_others(&stat) {
                Look::Attributes(node.ino)
            } else {
                Look::Known
            };
        }
        // What we do to a file ourselves, we do and record under this lock.
        let Some(mut open) = node.open.try_lock() else {
            return Look::Busy;
        };
        let still = |stat: Stat| BackingKey::of(&stat) == node.key() && node.looks_foreign(&stat);
        if !dir.store().stat(entry).is_ok_and(still) {
            return Look::Known;
        }
        match &open.file {
            None => Look::Content(name, node.ino),
            Some(file) => {
                open.changed_underneath |= open.writers == 0 && file.unsealed_for().is_none();
                Look::Known
            }
        }
    }

    /// Reports all that the kernel may believe of a directory's entries.
    fn report_directory(&self, dir: Ino, report: &mut dyn FnMut(Change)) {
        let Some(node) = self.inodes.get(dir) else {
            return;
        };
        for child in self.inodes.all() {
            if child.is_in(dir) {
                report(Change::Attributes(child.ino));
            }
        }
        self.report_new_names(&node, report);
        report(Change::Listing(dir));
    }

    /// Reports the names of a directory that the kernel may take for absent.
    fn report_new_names(&self, node: &Arc<Node>, report: &mut dyn FnMut(Change)) {
        let names = node.names.read_recursive();
        let listed = self.dir(node).and_then(|dir| Ok(dir.list(&self.vault)?));
        drop(names);
        let Ok(listing) = listed else {
            return;
        };
        for listed in listing.entries {
            let key = BackingKey {
                dev: node.key().dev,
                ino: listed.ino,
            };
            let known = self.inodes.find(key);
            if !known.is_some_and(|known| known.is_called(node.ino, &listed.name)) {
                report(Change::Name(node.ino, listed.name));
            }
        }
    }

    /// Where there are other notes, reports the directories they may be about.
    fn report_notes(&self, watches: &Watches, report: &mut dyn FnMut(Change)) {
        if !watches.are_new_notes(self.vault.notes_version()) {
            return;
        }
        for ino in self.directories.at_hand() {
            let noted = self.inodes.get(ino).and_then(|node| self.dir(&node).ok());
            if noted.is_some_and(|dir| dir.is_noted(&self.vault)) {
                self.report_directory(ino, report);
            }
        }
    }

    /// Events were lost: the kernel shall ask about everything.
    fn report_everything(&self, watches: &Watches, report: &mut dyn FnMut(Change)) {
        let at_hand = self.directories.at_hand();
        self.directories.drop_all();
        watches.follow_notes(&self.vault);
        self.report_notes(watches, report);
        for node in self.inodes.all() {
            report(match node.kind {
                FileKind::Directory => Change::Listing(node.ino),
                FileKind::Regular
                | FileKind::Symlink
                | FileKind::Fifo
                | FileKind::Socket
                | FileKind::CharDevice
                | FileKind::BlockDevice => Change::Attributes(node.ino),
            });
        }
        for node in at_hand.iter().filter_map(|ino| self.inodes.get(*ino)) {
            if watches.has_ended() {
                return;
            }
            self.report_new_names(&node, report);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_removal_of_ours_is_known_until_the_name_is_told_again() {
        let removed = Removed::default();
        let name = PlainName::new(b"name").expect("a legal name");
        let dir = Ino::new(7);
        assert!(!removed.has(dir, &name));
        removed.note(dir, &name);
        assert!(removed.has(dir, &name) && !removed.has(Ino::new(8), &name));
        removed.forget(Ino::new(8), &name);
        assert!(removed.has(dir, &name));
        removed.forget(dir, &name);
        assert!(!removed.has(dir, &name));
    }
}
