//! stat, chmod, chown, utimens and truncate.

use std::sync::Arc;
use std::time::Duration;

use super::belief::Moment;
use super::files::{HandleAccess, OpenHow, Truncate, clear_set_ids};
use super::inodes::Node;
use super::object::Object;
use super::{Attr, FsError, SetAttr, View};
use crate::codec::link::target_plain_len;
use crate::store::StoreNode;
use crate::sys::fs::Stat;
use crate::types::{Caller, CipherLen, Fh, FileKind, Ino, PlainLen, SetTime};
use crate::vault::file::{File, MtimeOf, clock_now};

impl View {
    /// Attributes of an object; of an open file also after it was deleted.
    ///
    /// # Errors
    /// [`FsError::Stale`] if it is no longer where it was; the backing's.
    pub fn getattr(&self, ino: Ino, fh: Option<Fh>) -> Result<Attr, FsError> {
        let node = self.node(ino)?;
        let moment = self.moment();
        let object = self.object(&node, fh)?;
        let stat = object.stat()?;
        match object {
            Object::Placed(placed) if node.kind != FileKind::Directory => {
                self.attr_of_placed(&node, &placed, &stat, moment)
            }
            Object::Placed(_) => Ok(self.lasting(self.attr_of(&node, &stat), &node, &stat, moment)),
            Object::Open(..) => Ok(self.attr_of(&node, &stat)),
        }
    }

    fn lasting(&self, attr: Attr, node: &Node, stat: &Stat, moment: Moment) -> Attr {
        let parent = node.link().map(|link| link.parent);
        Attr {
            lifetime: self.lifetime(moment, parent.as_ref(), node, stat),
            ..attr
        }
    }

    /// Attributes of what nobody had open a moment ago. If the backing changed
    /// it, the kernel must look its name up again: with the writeback cache it
    /// takes a new size from a new inode only.
    fn attr_of_placed(
        &self,
        node: &Node,
        placed: &StoreNode,
        stat: &Stat,
        moment: Moment,
    ) -> Result<Attr, FsError> {
        let open = node.open.lock();
        let mut stat = *stat;
        if open.file.is_none() && node.looks_foreign(&stat) {
            // Perhaps a change of our own that ended while we waited.
            stat = placed.stat()?;
            if node.looks_foreign(&stat) {
                return Err(FsError::Stale);
            }
        }
        let attr = self.attr_with(node, &stat, open.file.as_deref());
        Ok(if open.file.is_none() {
            self.lasting(attr, node, &stat, moment)
        } else {
            attr
        })
    }

    /// Turns the backing's attributes into the mount's.
    pub(super) fn attr_of(&self, node: &Node, stat: &Stat) -> Attr {
        let file = self.open_file_of(node, None);
        self.attr_with(node, stat, file.as_deref())
    }

    /// The same where the caller knows the open file, if there is one.
    pub(super) fn attr_with(&self, node: &Node, stat: &Stat, file: Option<&File>) -> Attr {
        node.tell(stat);
        let geometry = self.vault.geometry();
        let (mut atime, mut mtime) = (stat.atime, stat.mtime);
        let size = match node.kind {
            FileKind::Regular => match file {
                Some(file) => {
                    let (pending_atime, pending_mtime) = file.pending_times();
                    if let SetTime::At(time) = pending_atime {
                        atime = time;
                    }
                    if let SetTime::At(time) = pending_mtime {
                        mtime = time;
                    }
                    file.size().get()
                }
                None => self.proven_sizes.of(stat).unwrap_or_else(|| {
                    geometry
                        .longest_legal_prefix(CipherLen::new(stat.size))
                        .get()
                }),
            },
            FileKind::Symlink => target_plain_len(stat.size).unwrap_or(0),
            FileKind::Directory
            | FileKind::Fifo
            | FileKind::Socket
            | FileKind::CharDevice
            | FileKind::BlockDevice => stat.size,
        };
        Attr {
            ino: node.ino,
            size,
            blocks: stat.blocks,
            atime,
            mtime,
            ctime: stat.ctime,
            kind: node.kind,
            perm: stat.mode & 0o7777,
            nlink: stat.nlink,
            uid: stat.uid,
            gid: stat.gid,
            rdev: u32::try_from(stat.rdev).unwrap_or(u32::MAX),
            blksize: u32::try_from(geometry.chunk_size()).unwrap_or(4096),
            lifetime: self.options.freshness,
        }
    }

    /// Changes attributes and tells what they are afterwards.
    ///
    /// # Errors
    /// [`FsError::ReadOnly`], [`FsError::Stale`]; the backing's (EPERM, ENOSPC).
    pub fn setattr(
        &self,
        caller: &Caller,
        ino: Ino,
        fh: Option<Fh>,
        change: &SetAttr,
    ) -> Result<Attr, FsError> {
        self.must_be_writable()?;
        let node = self.node(ino)?;
        self.changing_object(&node);
        if let Some(size) = change.size {
            self.set_size(caller, &node, fh, size)?;
        }
        let object = match self.object(&node, fh) {
            // The kernel flushes the times of what was deleted meanwhile, or was
            // replaced underneath and nobody set another time of; a refusal
            // would come back to somebody as a failed sync.
            Err(FsError::Stale)
                if change.only_times()
                    && (node.link().is_none() || asks_nothing(&node, change)) =>
            {
                return Ok(attr_of_deleted(&node, change));
            }
            other => other?,
        };
        if change.uid.is_some() || change.gid.is_some() {
            object.set_owner(change.uid, change.gid)?;
        }
        if let Some(mode) = change.mode {
            object.set_mode(mode & 0o7777)?;
        }
        if change.touches_times() && !Self::stands(&node, &object, change)? {
            Self::set_times(&node, &object, change)?;
        }
        let stat = object.stat()?;
        Ok(self.attr_of(&node, &stat))
    }

    /// Sets times so that nobody takes the new ones for a change of others.
    fn set_times(node: &Node, object: &Object, change: &SetAttr) -> Result<(), FsError> {
        let open = node.open.lock();
        match (object, &open.file) {
            // It may have been opened since it was reached by its place.
            (Object::Open(file, _), _) | (Object::Placed(_), Some(file)) => {
                file.set_times(change.atime, change.mtime, change.mtime_of())?;
                if file.unsealed_for().is_none() {
                    let store = file.store()?;
                    node.saw_times(&store.stat()?, |mtime| {
                        store.set_times(SetTime::Omit, mtime)?;
                        store.stat()
                    });
                    node.note_moved(change.mtime);
                }
            }
            (Object::Placed(placed), None) => {
                placed.set_times(change.atime, change.mtime)?;
                if node.kind != FileKind::Directory {
                    node.saw_times(&placed.stat()?, |mtime| {
                        placed.set_times(SetTime::Omit, mtime)?;
                        placed.stat()
                    });
                    node.note_moved(change.mtime);
                }
            }
        }
        Ok(())
    }

    /// Whether a change asks for nothing but the mtime that the backing has.
    /// The kernel does so after each rename and link, for the ctime it keeps.
    fn stands(node: &Node, object: &Object, change: &SetAttr) -> Result<bool, FsError> {
        Ok(change.only_times()
            && change.atime == SetTime::Omit
            && Self::is_sealed(object)
            && node.shows_as(change.mtime, object.stat()?.mtime))
    }

    /// Whether the backing's times are the final ones.
    fn is_sealed(object: &Object) -> bool {
        match object {
            Object::Open(file, _) => file.unsealed_for().is_none(),
            Object::Placed(_) => true,
        }
    }

    fn set_size(
        &self,
        caller: &Caller,
        node: &Arc<Node>,
        fh: Option<Fh>,
        size: u64,
    ) -> Result<(), FsError> {
        match node.kind {
            FileKind::Regular => {}
            FileKind::Directory => return Err(FsError::IsDirectory),
            FileKind::Symlink
            | FileKind::Fifo
            | FileKind::Socket
            | FileKind::CharDevice
            | FileKind::BlockDevice => return Err(FsError::Invalid("it has no size to set")),
        }
        let open = fh
            .and_then(|fh| self.handles.file(fh).ok())
            .filter(|handle| handle.access.writes());
        let file = match open {
            Some(handle) => {
                self.with_room(|| handle.file.set_len(PlainLen::new(size)))?;
                Arc::clone(&handle.file)
            }
            None => {
                let how = OpenHow {
                    access: HandleAccess::ReadWrite,
                    truncate: if size == 0 {
                        Truncate::ToZero
                    } else {
                        Truncate::Keep
                    },
                };
                let fh = self.open(node.ino, how, caller)?.fh;
                let handle = self.handles.file(fh)?;
                let file = Arc::clone(&handle.file);
                drop(handle);
                let mut result = self
                    .with_room(|| file.set_len(PlainLen::new(size)))
                    .map_err(FsError::from);
                if result.is_ok() && caller.uid != 0 {
                    result = clear_set_ids(&file);
                }
                self.release(fh);
                return result;
            }
        };
        if caller.uid != 0 {
            clear_set_ids(&file)?;
        }
        Ok(())
    }
}

impl SetAttr {
    fn only_times(&self) -> bool {
        self.mode.is_none() && self.uid.is_none() && self.gid.is_none() && self.size.is_none()
    }

    fn mtime_of(&self) -> MtimeOf {
        match self.mtime {
            SetTime::Now | SetTime::Omit => MtimeOf::Write,
            SetTime::At(mtime) if self.ctime == Some(mtime) => MtimeOf::Write,
            SetTime::At(_) => MtimeOf::Choice,
        }
    }

    fn touches_times(&self) -> bool {
        self.atime != SetTime::Omit || self.mtime != SetTime::Omit
    }
}

/// Whether a change sets nothing but the mtime that was seen last.
fn asks_nothing(node: &Node, change: &SetAttr) -> bool {
    let seen = *node.seen.lock();
    change.atime == SetTime::Omit
        && seen.is_some_and(|seen| node.shows_as(change.mtime, seen.mtime()))
}

/// What is left to say of an object that has no name and is not open.
fn attr_of_deleted(node: &Node, change: &SetAttr) -> Attr {
    let shown = |time| match time {
        SetTime::At(time) => time,
        SetTime::Now | SetTime::Omit => clock_now(),
    };
    Attr {
        ino: node.ino,
        size: 0,
        blocks: 0,
        atime: shown(change.atime),
        mtime: shown(change.mtime),
        ctime: clock_now(),
        kind: node.kind,
        perm: 0,
        nlink: 0,
        uid: 0,
        gid: 0,
        rdev: 0,
        blksize: 4096,
        lifetime: Duration::ZERO,
    }
}
