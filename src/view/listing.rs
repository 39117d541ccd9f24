//! Directories read out. A listing is taken once, when reading begins, and
//! cookies count in it: they stay good for the life of the handle, whatever
//! happens to the directory.

use std::ops::ControlFlow;
use std::sync::Arc;
use std::sync::atomic::Ordering;

use parking_lot::Mutex;

use super::files::{Opened, PageCache};
use super::handles::DirHandle;
use super::inodes::{BackingKey, Node};
use super::looks::Seen;
use super::{Entry, FsError, View};
use crate::types::{Fh, FileKind, Ino};
use crate::vault::dir::{DirError, Listed, VaultDir};
use crate::vault::file::clock_now;

/// The entries of a directory as they were when reading began.
#[derive(Debug)]
pub struct Snapshot {
    entries: Vec<Listed>,
    parent: Ino,
    dev: u64,
}

/// One entry on its way to the kernel.
#[derive(Debug)]
pub struct DirItem<'a> {
    /// Its number.
    pub ino: Ino,
    /// Where reading continues after it.
    pub cookie: u64,
    /// What it is.
    pub kind: FileKind,
    /// Its plain name.
    pub name: &'a [u8],
}

/// `.` and `..` come before the entries.
const DOTS: usize = 2;

/// Seconds between two times that the coarsest backing tells apart.
const COARSEST_CLOCK: i64 = 2;

impl View {
    /// Opens a directory for reading.
    ///
    /// # Errors
    /// [`FsError::NotDirectory`], [`FsError::Stale`]; the backing's.
    pub fn opendir(&self, ino: Ino) -> Result<Opened, FsError> {
        let node = self.node(ino)?;
        let stat = self.dir(&node)?.store().stat_itself()?;
        // What changed just now may change again without looking different.
        let settled = clock_now().secs.saturating_sub(stat.ctime.secs) > COARSEST_CLOCK;
        let now = settled.then(|| Seen::of(&stat));
        let before = std::mem::replace(&mut *node.seen.lock(), now);
        let unchanged = now.is_some() && before == now;
        // Notes that came since may make names open that did not.
        let notes = self.vault.notes_version();
        let same_notes = node.notes_seen.swap(notes, Ordering::AcqRel) == notes;
        if node.ino != Ino::ROOT {
            // A sync client may have delivered the pin.
            let _afresh = if unchanged {
                self.pin_if_due(&node)?
            } else {
                self.reread_pin(&node)?
            };
        }
        let fh = self.handles.add_dir(DirHandle {
            node,
            snapshot: Mutex::new(None),
        });
        let cache = if unchanged && same_notes {
            PageCache::Keep
        } else {
            PageCache::Drop
        };
        Ok(Opened { fh, cache })
    }

    /// Closes a directory.
    pub fn releasedir(&self, fh: Fh) {
        self.handles.remove_dir(fh);
    }

    /// Makes the directory's entries survive a power cut.
    ///
    /// # Errors
    /// The backing's.
    pub fn fsyncdir(&self, fh: Fh) -> Result<(), FsError> {
        let handle = self.handles.dir(fh)?;
        Ok(self.dir(&handle.node)?.store().sync()?)
    }

    fn snapshot(&self, handle: &DirHandle, cookie: u64) -> Result<Arc<Snapshot>, FsError> {
        let mut kept = handle.snapshot.lock();
        if let (Some(snapshot), true) = (&*kept, cookie > 0) {
            return Ok(Arc::clone(snapshot));
        }
        let node = &handle.node;
        let _names = node.names.read_recursive();
        let dir = self.dir(node)?;
        let listing = dir.list(&self.vault)?;
        if listing.undecryptable > 0 {
            self.counters
                .undecryptable_names
                .fetch_add(listing.undecryptable, Ordering::Relaxed);
            tracing::warn!(
                backing_inode = node.key().ino,
                count = listing.undecryptable,
                "entries on the backing do not authenticate and are not shown"
            );
        }
        let parent = node.link().map_or(node.ino, |link| link.parent.ino);
        let snapshot = Arc::new(Snapshot {
            entries: listing.entries,
            parent,
            dev: node.key().dev,
        });
        *kept = Some(Arc::clone(&snapshot));
        Ok(snapshot)
    }

    fn item<'a>(&self, node: &Node, snapshot: &'a Snapshot, at: usize) -> Option<DirItem<'a>> {
        let cookie = u64::try_from(at).ok()? + 1;
        let dot = |ino, name| DirItem {
            ino,
            cookie,
            kind: FileKind::Directory,
            name,
        };
        match at {
            0 => Some(dot(node.ino, b".")),
            1 => Some(dot(snapshot.parent, b"..")),
            _ => snapshot.entries.get(at - DOTS).map(|entry| DirItem {
                ino: self.inodes.shown_number(BackingKey {
                    dev: snapshot.dev,
                    ino: entry.ino,
                }),
                cookie,
                kind: entry.kind,
                name: entry.name.bytes(),
            }),
        }
    }

    /// Hands out entries from `cookie` on until `emit` breaks off.
    ///
    /// # Errors
    /// [`FsError::BadHandle`]; the backing's.
    pub fn readdir(
        &self,
        fh: Fh,
        cookie: u64,
        emit: &mut dyn FnMut(&DirItem<'_>) -> ControlFlow<()>,
    ) -> Result<(), FsError> {
        let handle = self.handles.dir(fh)?;
        let snapshot = self.snapshot(&handle, cookie)?;
        let mut at = usize::try_from(cookie).unwrap_or(usize::MAX);
        while let Some(item) = self.item(&handle.node, &snapshot, at) {
            if emit(&item).is_break() {
                break;
            }
            at += 1;
        }
        Ok(())
    }

    fn listed_entry(
        &self,
        node: &Arc<Node>,
        dir: &VaultDir,
        listed: &Listed,
    ) -> Result<Entry, FsError> {
        let moment = self.moment();
        let stat = dir.store().stat(&listed.entry).map_err(DirError::from)?;
        self.entry(node, &listed.name, &stat, moment)
    }

    /// As [`readdir`](Self::readdir), with each entry's attributes. An entry's
    /// lookup count is raised if `emit` took it. `None` for `.`, `..` and
    /// entries whose attributes cannot be had.
    ///
    /// # Errors
    /// [`FsError::BadHandle`]; the backing's.
    pub fn readdirplus(
        &self,
        fh: Fh,
        cookie: u64,
        emit: &mut dyn FnMut(&DirItem<'_>, Option<&Entry>) -> ControlFlow<()>,
    ) -> Result<(), FsError> {
        let handle = self.handles.dir(fh)?;
        let snapshot = self.snapshot(&handle, cookie)?;
        let node = &handle.node;
        let _names = node.names.read_recursive();
        let dir = self.dir(node)?;
        let mut at = usize::try_from(cookie).unwrap_or(usize::MAX);
        while let Some(mut item) = self.item(node, &snapshot, at) {
            let listed = at.checked_sub(DOTS).and_then(|i| snapshot.entries.get(i));
            let entry = match listed.map(|listed| self.listed_entry(node, &dir, listed)) {
                None => None,
                Some(Ok(entry)) => Some(entry),
                Some(Err(FsError::NotFound)) => {
                    // Gone since the listing was taken.
                    at += 1;
                    continue;
                }
                Some(Err(_)) => None,
            };
            if let Some(entry) = &entry {
                item.ino = entry.attr.ino;
                item.kind = entry.attr.kind;
            }
            let flow = emit(&item, entry.as_ref());
            if flow.is_break() {
                if let Some(entry) = &entry {
                    self.inodes.forget(entry.attr.ino, 1);
                }
                break;
            }
            at += 1;
        }
        Ok(())
    }
}
