//! Directory descriptors, a bounded number of them: a directory that is not
//! at hand is opened again from its parent, component by component.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;
use std::time::{Duration, Instant};

use parking_lot::Mutex;

use super::ascent::Ascent;
use super::inodes::{BackingKey, Link, Node};
use super::{FsError, View};
use crate::name::PlainName;
use crate::types::{FileKind, Ino};
use crate::vault::dir::VaultDir;

/// Descriptors kept at most; half of them are given back when it is reached.
const MOST_OPEN: usize = 512;

/// The directories at hand.
#[derive(Debug)]
pub(super) struct Directories {
    root: Arc<VaultDir>,
    open: Mutex<Open>,
}

#[derive(Debug, Default)]
struct Open {
    by_ino: HashMap<Ino, Kept>,
    clock: u64,
    /// Raised whenever a directory's place or id changed: what was resolved
    /// before is not kept afterwards.
    epoch: u64,
}

#[derive(Debug)]
struct Kept {
    dir: Arc<VaultDir>,
    /// The place it was opened by: its parent and its name.
    parent: Ino,
    name: PlainName,
    last_use: u64,
    /// When its pin was last looked at.
    pin_seen: Instant,
}

impl Directories {
    pub(super) fn new(root: VaultDir) -> Self {
        Self {
            root: Arc::new(root),
            open: Mutex::default(),
        }
    }

    /// The directory, if it is at hand and was opened by this place.
    fn get(&self, ino: Ino, link: &Link) -> Option<Arc<VaultDir>> {
        let mut open = self.open.lock();
        open.clock += 1;
        let now = open.clock;
        let kept = open.by_ino.get_mut(&ino)?;
        if kept.parent != link.parent.ino || kept.name != link.name {
            open.by_ino.remove(&ino);
            return None;
        }
        kept.last_use = now;
        Some(Arc::clone(&kept.dir))
    }

    fn epoch(&self) -> u64 {
        self.open.lock().epoch
    }

    /// Keeps a directory that was resolved in `epoch`, unless something moved
    /// since.
    fn keep(&self, ino: Ino, link: &Link, dir: &Arc<VaultDir>, epoch: u64) {
        let mut open = self.open.lock();
        if open.epoch != epoch {
            return;
        }
        if open.by_ino.len() >= MOST_OPEN {
            let mut uses: Vec<u64> = open.by_ino.values().map(|kept| kept.last_use).collect();
            let (_, median, _) = uses.select_nth_unstable(MOST_OPEN / 2);
            let oldest_kept = *median;
            open.by_ino.retain(|_, kept| kept.last_use >= oldest_kept);
        }
        open.clock += 1;
        let kept = Kept {
            dir: Arc::clone(dir),
            parent: link.parent.ino,
            name: link.name.clone(),
            last_use: open.clock,
            pin_seen: Instant::now(),
        };
        open.by_ino.insert(ino, kept);
    }

    /// Whether a directory's pin was last looked at longer than `age` ago; if
    /// so, the caller is the one to look now.
    fn pin_is_due(&self, ino: Ino, age: Duration) -> bool {
        let mut open = self.open.lock();
        let Some(kept) = open.by_ino.get_mut(&ino) else {
            // It is read whenever the directory is opened.
            return false;
        };
        let due = kept.pin_seen.elapsed() >= age;
        if due {
            kept.pin_seen = Instant::now();
        }
        due
    }

    /// The directory, if it is at hand, wherever it was opened.
    pub(super) fn find(&self, ino: Ino) -> Option<Arc<VaultDir>> {
        if ino == Ino::ROOT {
            return Some(Arc::clone(&self.root));
        }
        let open = self.open.lock();
        open.by_ino.get(&ino).map(|kept| Arc::clone(&kept.dir))
    }

    /// Those at hand, the root among them.
    pub(super) fn at_hand(&self) -> HashSet<Ino> {
        let open = self.open.lock();
        open.by_ino.keys().copied().chain([Ino::ROOT]).collect()
    }

    /// Forgets all: a directory's id changed underneath, and with it the places
    /// of all below it.
    pub(super) fn drop_all(&self) {
        let mut open = self.open.lock();
        open.by_ino.clear();
        open.epoch += 1;
    }

    /// Forgets a directory whose place or id changed, or that is gone.
    pub(super) fn drop_dir(&self, ino: Ino) {
        let mut open = self.open.lock();
        open.by_ino.remove(&ino);
        open.epoch += 1;
    }
}

impl View {
    /// The directory a node stands for; of a removed one what is left.
    ///
    /// # Errors
    /// [`FsError::NotDirectory`]; [`FsError::Stale`] if it is not where it was.
    pub(super) fn dir(&self, node: &Arc<Node>) -> Result<Arc<VaultDir>, FsError> {
        if node.kind != FileKind::Directory {
            return Err(FsError::NotDirectory);
        }
        let epoch = self.directories.epoch();
        // Upward to the first one at hand, then downward again. No recursion:
        // directories nest deeper than a stack.
        let mut missing: Vec<(Arc<Node>, Link)> = Vec::new();
        let mut ascent = Ascent::new();
        let mut at = Arc::clone(node);
        let mut dir = loop {
            if at.ino == Ino::ROOT {
                break Arc::clone(&self.directories.root);
            }
            let Some(link) = at.link() else {
                break at.removed.lock().clone().ok_or(FsError::Stale)?;
            };
            if let Some(dir) = self.directories.get(at.ino, &link) {
                break dir;
            }
            if !ascent.passes(at.ino) {
                return Err(FsError::Stale);
            }
            let parent = Arc::clone(&link.parent);
            missing.push((at, link));
            at = parent;
        };
        while let Some((child, link)) = missing.pop() {
            dir = self.open_below(&dir, &child, &link)?;
            self.follow(&child, &dir);
            self.directories.keep(child.ino, &link, &dir, epoch);
        }
        Ok(dir)
    }

    /// Looks at a directory's pin again if nobody did for as long as the
    /// kernel believes things; see [`Self::reread_pin`].
    pub(super) fn pin_if_due(&self, node: &Arc<Node>) -> Result<Option<Arc<VaultDir>>, FsError> {
        if self
            .directories
            .pin_is_due(node.ino, self.options.freshness)
        {
            self.reread_pin(node)
        } else {
            Ok(None)
        }
    }

    /// Reads a directory's pin, which a sync client may have delivered,
    /// replaced or removed. The directory afresh if its id has changed.
    ///
    /// # Errors
    /// The pin cannot be read, or is none: the directory is then opened anew,
    /// and refused, until it can.
    pub(super) fn reread_pin(&self, node: &Arc<Node>) -> Result<Option<Arc<VaultDir>>, FsError> {
        let dir = self.dir(node)?;
        match dir.refresh(&self.vault) {
            Ok(now) if now.id() == dir.id() => Ok(None),
            Ok(_) => {
                self.directories.drop_all();
                self.dir(node).map(Some)
            }
            Err(error) => {
                self.directories.drop_all();
                Err(error.into())
            }
        }
    }

    fn open_below(
        &self,
        parent: &VaultDir,
        node: &Node,
        link: &Link,
    ) -> Result<Arc<VaultDir>, FsError> {
        let dir = parent
            .open_child(&self.vault, &link.name)
            .map_err(|error| FsError::from(error).stale_if_gone())?;
        if BackingKey::of(&dir.store().stat_itself()?) == node.key() {
            Ok(Arc::new(dir))
        } else {
            Err(FsError::Stale)
        }
    }
}
