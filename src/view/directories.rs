//! Directory descriptors, a bounded number of them: a directory that is not
//! at hand is opened again from its parent, component by component.

use std::collections::HashMap;
use std::sync::Arc;

use parking_lot::Mutex;

use super::inodes::{BackingKey, Node};
use super::{FsError, View};
use crate::types::Ino;
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
}

#[derive(Debug)]
struct Kept {
    dir: Arc<VaultDir>,
    last_use: u64,
}

impl Directories {
    pub(super) fn new(root: VaultDir) -> Self {
        Self {
            root: Arc::new(root),
            open: Mutex::default(),
        }
    }

    fn get(&self, ino: Ino) -> Option<Arc<VaultDir>> {
        let mut open = self.open.lock();
        open.clock += 1;
        let now = open.clock;
        let kept = open.by_ino.get_mut(&ino)?;
        kept.last_use = now;
        Some(Arc::clone(&kept.dir))
    }

    fn keep(&self, ino: Ino, dir: &Arc<VaultDir>) {
        let mut open = self.open.lock();
        if open.by_ino.len() >= MOST_OPEN {
            let mut uses: Vec<u64> = open.by_ino.values().map(|kept| kept.last_use).collect();
            let (_, median, _) = uses.select_nth_unstable(MOST_OPEN / 2);
            let oldest_kept = *median;
            open.by_ino.retain(|_, kept| kept.last_use >= oldest_kept);
        }
        open.clock += 1;
        let kept = Kept {
            dir: Arc::clone(dir),
            last_use: open.clock,
        };
        open.by_ino.insert(ino, kept);
    }

    /// Forgets a directory whose place or id changed, or that is gone.
    pub(super) fn drop_dir(&self, ino: Ino) {
        self.open.lock().by_ino.remove(&ino);
    }
}

impl View {
    /// The directory a node stands for.
    ///
    /// # Errors
    /// [`FsError::NotDirectory`]; [`FsError::Stale`] if it is not where it was.
    pub(super) fn dir(&self, node: &Arc<Node>) -> Result<Arc<VaultDir>, FsError> {
        if node.kind != crate::types::FileKind::Directory {
            return Err(FsError::NotDirectory);
        }
        if node.ino == Ino::ROOT {
            return Ok(Arc::clone(&self.directories.root));
        }
        if let Some(dir) = self.directories.get(node.ino) {
            return Ok(dir);
        }
        let link = node.link().ok_or(FsError::Stale)?;
        let parent = self.dir(&link.parent)?;
        let dir = parent
            .open_child(&self.vault, &link.name)
            .map_err(|error| FsError::from(error).stale_if_gone())?;
        let dir = Arc::new(dir);
        if BackingKey::of(&dir.store().stat_itself()?) != node.key {
            return Err(FsError::Stale);
        }
        self.directories.keep(node.ino, &dir);
        Ok(dir)
    }
}
