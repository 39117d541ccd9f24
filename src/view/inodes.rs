//! Which objects the kernel knows, and where each is found on the backing.
//!
//! A [`Node`] stands for one object of the backing from its first lookup until
//! the kernel forgets it. Its number is the backing's inode number, so that it
//! is the same after a remount; where that number cannot serve (another
//! device, reserved numbers, still taken by an object that was deleted), a
//! synthetic one from the upper half is used.
//!
//! **Lock order**: `Table`, then nothing. A node's `links` and `open` locks
//! are taken before the table's or alone, never while the table is held.

use std::collections::HashMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, OnceLock, Weak};

use parking_lot::{Mutex, RwLock};

use super::belief::Belief;
use super::looks::Seen;
use crate::name::PlainName;
use crate::sys::fs::Stat;
use crate::types::{DirId, FileId, FileKind, Ino, Time};
use crate::vault::dir::VaultDir;
use crate::vault::file::{ContentMark, File};

/// What identifies an object on the backing while it exists.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct BackingKey {
    /// `st_dev`
    pub dev: u64,
    /// `st_ino`
    pub ino: u64,
}

impl BackingKey {
    /// The key of the object `stat` describes.
    #[must_use]
    pub const fn of(stat: &Stat) -> Self {
        Self {
            dev: stat.dev,
            ino: stat.ino,
        }
    }
}

/// One name of an object.
#[derive(Clone, Debug)]
pub struct Link {
    /// The directory that holds the name.
    pub parent: Arc<Node>,
    /// The name in it.
    pub name: PlainName,
}

/// The open file behind a node, and who uses it.
#[derive(Debug, Default)]
pub struct OpenState {
    /// Present while a handle exists.
    pub file: Option<Arc<File>>,
    /// Handles of any kind.
    pub handles: u64,
    /// Handles that may write.
    pub writers: u64,
    /// Others changed the file while no handle here could write it.
    pub changed_underneath: bool,
}

/// One object that the kernel knows.
#[derive(Debug)]
pub struct Node {
    /// Number in the mount.
    pub ino: Ino,
    /// What it is; never changes.
    pub kind: FileKind,
    /// What it is on the backing. Changed under the table's lock, by a rename;
    /// a leaf lock.
    key: Mutex<BackingKey>,
    /// Raised when the backing changed under a file that was not open, so
    /// that the kernel drops what it cached.
    generation: AtomicU64,
    /// How often the kernel was told of it and has not forgotten. Changed
    /// under the table's lock only.
    lookups: AtomicU64,
    /// Where it is found; empty for the root and for what was deleted.
    pub links: Mutex<Vec<Link>>,
    /// Regular files: the open file.
    pub open: Mutex<OpenState>,
    /// Files and directories: how the backing looked.
    pub seen: Mutex<Option<Seen>>,
    /// Regular files: how the backing looked with other contents than now, the
    /// newest last.
    pub(super) earlier: Mutex<Vec<Seen>>,
    /// Regular files: an mtime that the kernel has, and the backing's in its
    /// place.
    pub(super) moved: Mutex<Option<(Time, Time)>>,
    /// Regular files: the content that the kernel's pages are of.
    pub cached: Mutex<Option<ContentMark>>,
    /// Directories that are followed: what the kernel may believe of them.
    pub belief: OnceLock<Arc<Belief>>,
    /// A digest of the attributes that the kernel was told and that `seen` has not.
    pub(super) told: AtomicU64,
    /// Directories: the id under which the kernel was told of names in it.
    pub told_under: Mutex<Option<DirId>>,
    /// Directories: which notes were known when it was last opened.
    pub notes_seen: AtomicU64,
    /// Regular files: the id its attributes are encrypted under.
    pub file_id: Mutex<Option<FileId>>,
    /// Directories: what is left of one that was removed while known, so that
    /// it can still be looked at.
    pub removed: Mutex<Option<Arc<VaultDir>>>,
    /// Directories: held shared while a name in it is used, exclusively while
    /// it is itself renamed or removed. Taken from the root downward; shared
    /// holders use `read_recursive`, so that a waiting writer blocks nobody
    /// who already holds one.
    pub names: RwLock<()>,
}

impl Node {
    fn new(ino: Ino, kind: FileKind, key: BackingKey, generation: u64, lookups: u64) -> Self {
        Self {
            ino,
            kind,
            key: Mutex::new(key),
            generation: AtomicU64::new(generation),
            lookups: AtomicU64::new(lookups),
            links: Mutex::default(),
            open: Mutex::default(),
            seen: Mutex::new(None),
            earlier: Mutex::default(),
            moved: Mutex::default(),
            cached: Mutex::new(None),
            belief: OnceLock::new(),
            told: AtomicU64::new(0),
            told_under: Mutex::new(None),
            notes_seen: AtomicU64::new(0),
            file_id: Mutex::new(None),
            removed: Mutex::new(None),
            names: RwLock::new(()),
        }
    }

    /// What it is on the backing.
    pub fn key(&self) -> BackingKey {
        *self.key.lock()
    }

    /// Generation of the inode number.
    pub fn generation(&self) -> u64 {
        self.generation.load(Ordering::Acquire)
    }

    /// One of its names; none for the root and for deleted objects.
    pub fn link(&self) -> Option<Link> {
        self.links.lock().first().cloned()
    }

    /// Whether it is known by this name.
    pub fn is_called(&self, parent: Ino, name: &PlainName) -> bool {
        let links = self.links.lock();
        links
            .iter()
            .any(|link| link.parent.ino == parent && link.name == *name)
    }

    /// Whether it has a name in this directory.
    pub fn is_in(&self, parent: Ino) -> bool {
        let links = self.links.lock();
        links.iter().any(|link| link.parent.ino == parent)
    }

    /// Forgets one name.
    pub fn remove_link(&self, parent: Ino, name: &PlainName) {
        self.links
            .lock()
            .retain(|link| link.parent.ino != parent || link.name != *name);
    }

    /// Adds a name, in front if `only` it is known to be right.
    fn note_link(&self, parent: &Arc<Node>, name: &PlainName, nlink: u64) {
        let mut links = self.links.lock();
        let known = links
            .iter()
            .position(|l| l.parent.ino == parent.ino && l.name == *name);
        if known == Some(0) {
            return;
        }
        if nlink <= 1 || self.kind == FileKind::Directory {
            // It has one name only, so whatever we knew is outdated.
            links.clear();
        } else if let Some(at) = known {
            links.swap(0, at);
            return;
        }
        let link = Link {
            parent: Arc::clone(parent),
            name: name.clone(),
        };
        links.insert(0, link);
    }

    /// The kernel was told a wrong size; it shall drop what it knows: with the
    /// writeback cache it takes a size from a new inode only.
    pub fn begin_anew(&self) {
        self.generation.fetch_add(1, Ordering::AcqRel);
    }

    /// Accepts that somebody else changed the file: the kernel shall drop what
    /// it cached.
    pub fn accept_foreign_change(&self, stat: &Stat) {
        self.saw(stat);
        self.generation.fetch_add(1, Ordering::AcqRel);
        *self.cached.lock() = None;
        *self.file_id.lock() = None;
    }
}

impl Drop for Node {
    /// Lets go of the parents one by one: a chain of directories may be deeper
    /// than the stack.
    fn drop(&mut self) {
        let mut links = std::mem::take(self.links.get_mut());
        while let Some(link) = links.pop() {
            if let Some(mut parent) = Arc::into_inner(link.parent) {
                links.append(parent.links.get_mut());
            }
        }
    }
}

/// All nodes.
#[derive(Debug)]
pub struct Inodes {
    table: Mutex<Table>,
    root: Arc<Node>,
    /// `st_dev` of the root.
    device: u64,
}

#[derive(Debug)]
struct Table {
    by_ino: HashMap<Ino, Arc<Node>>,
    by_key: HashMap<BackingKey, Ino>,
    /// Directories that the kernel has forgotten, and something known below
    /// them has not: an open file, or one with changes in the journal. A
    /// directory has one node as long as anything holds it.
    held: HashMap<BackingKey, Weak<Node>>,
    next_synthetic: u64,
}

impl Table {
    /// Knows a directory again that something below it still holds.
    fn revive(&mut self, kind: FileKind, key: BackingKey) -> Option<Arc<Node>> {
        let node = self.held.remove(&key)?.upgrade()?;
        if node.kind != kind || self.by_ino.contains_key(&node.ino) {
            return None;
        }
        self.by_ino.insert(node.ino, Arc::clone(&node));
        self.by_key.insert(key, node.ino);
        Some(node)
    }

    /// Remembers a directory for as long as something holds it.
    fn hold(&mut self, key: BackingKey, node: &Arc<Node>) {
        if self.held.len() == self.held.capacity() {
            self.held.retain(|_, node| node.strong_count() > 0);
            self.held.reserve(self.held.len() + 1);
        }
        self.held.insert(key, Arc::downgrade(node));
    }
}

/// Numbers from here on are synthetic; no common file system reaches them.
const FIRST_SYNTHETIC: u64 = 1 << 63;

impl Inodes {
    /// `st_dev` of the root.
    #[must_use]
    pub const fn device(&self) -> u64 {
        self.device
    }

    /// A table that knows the root only.
    #[must_use]
    pub fn new(root: &Stat) -> Self {
        let key = BackingKey::of(root);
        let node = Arc::new(Node::new(Ino::ROOT, FileKind::Directory, key, 0, 1));
        Self {
            table: Mutex::new(Table {
                by_ino: HashMap::from([(Ino::ROOT, Arc::clone(&node))]),
                by_key: HashMap::from([(key, Ino::ROOT)]),
                held: HashMap::new(),
                next_synthetic: FIRST_SYNTHETIC,
            }),
            root: node,
            device: key.dev,
        }
    }

    /// The root's node.
    #[must_use]
    pub fn root(&self) -> &Arc<Node> {
        &self.root
    }

    /// The node of a number the kernel used.
    #[must_use]
    pub fn get(&self, ino: Ino) -> Option<Arc<Node>> {
        self.table.lock().by_ino.get(&ino).cloned()
    }

    /// Every node at this moment.
    #[must_use]
    pub fn all(&self) -> Vec<Arc<Node>> {
        self.table.lock().by_ino.values().cloned().collect()
    }

    /// Number of nodes.
    #[must_use]
    pub fn len(&self) -> usize {
        self.table.lock().by_ino.len()
    }

    /// Whether only the root is known.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() <= 1
    }

    /// Gives back the room of nodes that are gone.
    pub fn shrink(&self) {
        let mut table = self.table.lock();
        table.by_ino.shrink_to_fit();
        table.by_key.shrink_to_fit();
        table.held.retain(|_, node| node.strong_count() > 0);
        table.held.shrink_to_fit();
    }

    /// The live node of an object of the backing.
    #[must_use]
    pub fn find(&self, key: BackingKey) -> Option<Arc<Node>> {
        let table = self.table.lock();
        let ino = table.by_key.get(&key)?;
        table.by_ino.get(ino).cloned()
    }

    /// The number a listing shows for an object that may not have a node.
    #[must_use]
    pub fn shown_number(&self, key: BackingKey) -> Ino {
        let table = self.table.lock();
        match table.by_key.get(&key) {
            Some(&ino) => ino,
            None if self.may_serve(key) => Ino::new(key.ino),
            None => Ino::new(key.ino | FIRST_SYNTHETIC),
        }
    }

    fn may_serve(&self, key: BackingKey) -> bool {
        key.dev == self.device && key.ino > Ino::ROOT.get() && key.ino < FIRST_SYNTHETIC
    }

    /// The node of the object found as `name` in `parent`, with its lookup
    /// count raised by one. Whether the backing changed meanwhile is for the
    /// caller to find out: [`Node::looks_foreign`].
    pub fn remember(
        &self,
        parent: &Arc<Node>,
        name: &PlainName,
        kind: FileKind,
        stat: &Stat,
    ) -> Arc<Node> {
        let key = BackingKey::of(stat);
        let node = self.intern(kind, key);
        node.note_link(parent, name, u64::from(stat.nlink));
        node
    }

    fn intern(&self, kind: FileKind, key: BackingKey) -> Arc<Node> {
        let mut table = self.table.lock();
        if let Some(ino) = table.by_key.get(&key).copied() {
            match table.by_ino.get(&ino) {
                Some(node) if node.kind == kind => {
                    node.lookups.fetch_add(1, Ordering::AcqRel);
                    return Arc::clone(node);
                }
                // The number was given to another object on the backing.
                Some(_) | None => {
                    table.by_key.remove(&key);
                }
            }
        }
        if let Some(node) = table.revive(kind, key) {
            node.lookups.fetch_add(1, Ordering::AcqRel);
            return node;
        }
        let wanted = Ino::new(key.ino);
        let holder = table.by_ino.get(&wanted).cloned();
        let (ino, generation, lookups) = match holder {
            None if self.may_serve(key) => (wanted, 0, 1),
            // A deleted object that the kernel is about to forget: its number
            // is taken over, the outstanding lookups with it.
            Some(old) if self.may_serve(key) && is_retired(&table, &old) => (
                wanted,
                old.generation() + 1,
                old.lookups.load(Ordering::Acquire) + 1,
            ),
            None | Some(_) => {
                let ino = Ino::new(table.next_synthetic);
                table.next_synthetic += 1;
                (ino, 0, 1)
            }
        };
        let node = Arc::new(Node::new(ino, kind, key, generation, lookups));
        table.by_ino.insert(ino, Arc::clone(&node));
        table.by_key.insert(key, ino);
        node
    }

    /// The kernel drops `count` lookups of a node. One whose file could not be
    /// sealed yet stays until [`collect`](Self::collect).
    pub fn forget(&self, ino: Ino, count: u64) {
        if ino == Ino::ROOT {
            return;
        }
        let forgotten = {
            let table = self.table.lock();
            let Some(node) = table.by_ino.get(&ino) else {
                return;
            };
            let before = node.lookups.load(Ordering::Acquire);
            let left = before.saturating_sub(count);
            node.lookups.store(left, Ordering::Release);
            (left == 0).then(|| Arc::clone(node))
        };
        if let Some(node) = forgotten {
            let open = node.open.lock();
            self.collect(&node, &open);
        }
    }

    /// Drops a node that the kernel forgot and that has no open file.
    pub fn collect(&self, node: &Arc<Node>, open: &OpenState) {
        let mut table = self.table.lock();
        let current = table
            .by_ino
            .get(&node.ino)
            .is_some_and(|known| Arc::ptr_eq(known, node));
        if current && open.file.is_none() && node.lookups.load(Ordering::Acquire) == 0 {
            table.by_ino.remove(&node.ino);
            let key = node.key();
            if table.by_key.get(&key) == Some(&node.ino) {
                table.by_key.remove(&key);
                // Other than by the caller.
                if node.kind == FileKind::Directory && Arc::strong_count(node) > 1 {
                    table.hold(key, node);
                }
            }
        }
    }

    /// The object goes on under another number on the backing; the one it has
    /// in the mount stays.
    pub fn renumber(&self, node: &Node, key: BackingKey) {
        let mut table = self.table.lock();
        let old = std::mem::replace(&mut *node.key.lock(), key);
        if old != key && table.by_key.get(&old) == Some(&node.ino) {
            table.by_key.remove(&old);
            table.by_key.insert(key, node.ino);
        }
    }

    /// The object is gone from the backing: its number may be given to
    /// another one there. The node lives on until it is forgotten.
    pub fn retire(&self, node: &Node) {
        let mut table = self.table.lock();
        if table.by_key.get(&node.key()) == Some(&node.ino) {
            table.by_key.remove(&node.key());
        }
    }
}

/// Whether a node stands for a deleted object that nobody has open.
fn is_retired(table: &Table, node: &Arc<Node>) -> bool {
    table.by_key.get(&node.key()) != Some(&node.ino)
        && node.open.try_lock().is_some_and(|open| open.handles == 0)
        && node.kind != FileKind::Directory
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests stop at the first surprise")]

    use super::*;

    fn stat(ino: u64) -> Stat {
        Stat::of_empty_file(ino, Time { secs: 0, nanos: 0 })
    }

    #[test]
    fn an_object_that_got_another_number_is_the_node_it_was() {
        let inodes = Inodes::new(&stat(1));
        let name = PlainName::new(b"a").unwrap();
        let look =
            |ino| inodes.remember(&inodes.root().clone(), &name, FileKind::Regular, &stat(ino));
        let node = look(10);
        inodes.renumber(&node, BackingKey::of(&stat(20)));
        assert!(Arc::ptr_eq(&look(20), &node));
        assert_eq!(node.ino, Ino::new(10), "its number in the mount stays");
        // What has the old number now is something else.
        assert!(!Arc::ptr_eq(&look(10), &node));
        inodes.retire(&node);
        assert!(inodes.find(BackingKey::of(&stat(20))).is_none());
    }

    #[test]
    fn a_directory_is_one_node_as_long_as_something_below_it_is_known() {
        let inodes = Inodes::new(&stat(1));
        let name = |name: &str| PlainName::new(name.as_bytes()).unwrap();
        let root = inodes.root().clone();
        let look = |called| inodes.remember(&root, &name(called), FileKind::Directory, &stat(10));
        let dir = look("a");
        let file = inodes.remember(&dir, &name("f"), FileKind::Regular, &stat(11));
        inodes.forget(dir.ino, 1);
        assert!(inodes.get(dir.ino).is_none(), "the kernel has forgotten it");
        drop(dir);
        let dir = look("b");
        let above = file.link().unwrap().parent;
        assert!(Arc::ptr_eq(&above, &dir));
        assert!(above.is_called(Ino::ROOT, &name("b")), "it was renamed");
        assert!(inodes.get(dir.ino).is_some());
        // With nothing below it, it is forgotten for good.
        inodes.forget(file.ino, 1);
        drop((file, above));
        inodes.forget(dir.ino, 1);
        drop(dir);
        inodes.shrink();
        assert!(inodes.table.lock().held.is_empty());
    }
}
