//! Names: lookup, create, link, rename, remove.

use std::io;
use std::sync::Arc;

use super::ascent::Ascent;
use super::belief::Moment;
use super::files::{OpenHow, Opened};
use super::inodes::{BackingKey, Link, Node};
use super::{Entry, FsError, View};
use crate::name::PlainName;
use crate::sys::caller::as_caller;
use crate::sys::fs::Stat;
use crate::types::{Caller, FileKind, Ino, RenameMode};
use crate::vault::dir::{DirError, VaultDir};
use crate::vault::file::File;

/// Bits of a mode that say what kind of object it is.
const KIND_BITS: u32 = 0o170_000;
const REGULAR: u32 = 0o100_000;

impl View {
    /// Finds `name` in `parent`; the kernel owes one forget for the answer.
    ///
    /// # Errors
    /// [`FsError::NotFound`], [`FsError::Stale`]; the backing's.
    pub fn lookup(&self, parent: Ino, name: &PlainName) -> Result<Entry, FsError> {
        let parent = self.node(parent)?;
        let _names = parent.names.read_recursive();
        let dir = self.dir(&parent)?;
        let moment = self.moment();
        let stat = match dir.stat_entry(&self.vault, name).map_err(FsError::from) {
            // Perhaps the directory's pin has come in the meantime.
            Err(FsError::NotFound) => match self.pin_if_due(&parent)? {
                Some(afresh) => afresh.stat_entry(&self.vault, name)?,
                None => return Err(FsError::NotFound),
            },
            other => other?,
        };
        self.entry(&parent, name, &stat, moment)
    }

    /// The kernel forgot `count` answers about an object.
    pub fn forget(&self, ino: Ino, count: u64) {
        self.inodes.forget(ino, count);
    }

    /// Remembers an object and describes it; raises its lookup count.
    pub(super) fn entry(
        &self,
        parent: &Arc<Node>,
        name: &PlainName,
        stat: &Stat,
        moment: Moment,
    ) -> Result<Entry, FsError> {
        let kind = stat.kind().ok_or(FsError::NotSupported)?;
        let node = self.inodes.remember(parent, name, kind, stat);
        self.removed.forget(parent.ino, name);
        let described = self.describe(&node, parent, name, stat, moment);
        if described.is_err() {
            self.inodes.forget(node.ino, 1);
        }
        described
    }

    /// Attributes and generation as of one moment: no open, write or close of
    /// the file in between.
    fn describe(
        &self,
        node: &Arc<Node>,
        parent: &Arc<Node>,
        name: &PlainName,
        stat: &Stat,
        moment: Moment,
    ) -> Result<Entry, FsError> {
        let mut stat = *stat;
        let open = node.open.lock();
        if open.file.is_none() && node.kind != FileKind::Directory {
            if node.looks_foreign(&stat) {
                // `stat` may be older than a change of our own that ended
                // while we waited: only what is there now counts.
                stat = self.dir(parent)?.stat_entry(&self.vault, name)?;
                if BackingKey::of(&stat) != node.key() {
                    return Err(FsError::Stale);
                }
                if node.looks_foreign(&stat) {
                    node.accept_foreign_change(&stat);
                }
            }
            node.saw(&stat);
        }
        let mut attr = self.attr_with(node, &stat, open.file.as_deref());
        if open.file.is_none() {
            attr.lifetime = self.lifetime(moment, Some(parent), node, &stat);
        }
        Ok(Entry {
            attr,
            generation: node.generation(),
        })
    }

    fn created(
        &self,
        parent: &Arc<Node>,
        dir: &VaultDir,
        name: &PlainName,
    ) -> Result<Entry, FsError> {
        let stat = dir.stat_entry(&self.vault, name)?;
        self.entry(parent, name, &stat, Moment::NONE)
    }

    /// Makes a directory.
    ///
    /// # Errors
    /// [`FsError::Exists`]; the backing's.
    pub fn mkdir(
        &self,
        caller: &Caller,
        parent: Ino,
        name: &PlainName,
        mode: u32,
    ) -> Result<Entry, FsError> {
        self.must_be_writable()?;
        let parent = self.node(parent)?;
        self.changing(&parent);
        let _names = parent.names.read_recursive();
        let dir = self.dir(&parent)?;
        as_caller(*caller, || dir.mkdir(&self.vault, name, mode & 0o7777))?;
        self.created(&parent, &dir, name)
    }

    /// Makes a symbolic link; only its encrypted target reaches the backing.
    ///
    /// # Errors
    /// [`FsError::Exists`]; [`FsError::NameTooLong`]; the backing's.
    pub fn symlink(
        &self,
        caller: &Caller,
        parent: Ino,
        name: &PlainName,
        target: &[u8],
    ) -> Result<Entry, FsError> {
        self.must_be_writable()?;
        let parent = self.node(parent)?;
        self.changing(&parent);
        let _names = parent.names.read_recursive();
        let dir = self.dir(&parent)?;
        as_caller(*caller, || dir.symlink(&self.vault, name, target))?;
        self.created(&parent, &dir, name)
    }

    /// Reads a symbolic link.
    ///
    /// # Errors
    /// [`FsError::NotAuthentic`]; [`FsError::Invalid`] if it is none; the backing's.
    pub fn readlink(&self, ino: Ino) -> Result<Vec<u8>, FsError> {
        let node = self.node(ino)?;
        if node.kind != FileKind::Symlink {
            return Err(FsError::Invalid("not a symbolic link"));
        }
        let link = node.link().ok_or(FsError::Stale)?;
        let _names = link.parent.names.read_recursive();
        let dir = self.dir(&link.parent)?;
        dir.read_link(&self.vault, &link.name)
            .map_err(|error| FsError::from(error).stale_if_gone())
    }

    /// Makes a device node, pipe, socket or regular file.
    ///
    /// # Errors
    /// [`FsError::Exists`]; EPERM where the backing's rules forbid it.
    pub fn mknod(
        &self,
        caller: &Caller,
        parent: Ino,
        name: &PlainName,
        mode: u32,
        rdev: u64,
    ) -> Result<Entry, FsError> {
        self.must_be_writable()?;
        let parent = self.node(parent)?;
        self.changing(&parent);
        let _names = parent.names.read_recursive();
        let dir = self.dir(&parent)?;
        if mode & KIND_BITS == REGULAR || mode & KIND_BITS == 0 {
            let file = self.new_file(caller, &dir, name, mode)?;
            file.seal()?;
        } else {
            as_caller(*caller, || dir.mknod(&self.vault, name, mode, rdev))?;
        }
        self.created(&parent, &dir, name)
    }

    /// Creates a regular file on the backing, its image included: it gets its
    /// name when it is a whole file, where the backing can do that.
    fn new_file(
        &self,
        caller: &Caller,
        dir: &VaultDir,
        name: &PlainName,
        mode: u32,
    ) -> Result<File, FsError> {
        let unnamed = as_caller(*caller, || dir.create_unnamed(mode & 0o7777))?;
        let Some(store) = unnamed else {
            return self.new_named_file(caller, dir, name, mode);
        };
        let file = File::create(&self.vault, store, dir.id())?;
        let store = file.store()?;
        match as_caller(*caller, || dir.give_name(&self.vault, &store, name)) {
            Ok(()) => Ok(file),
            // It may stand in the way of names given late only, as where there is
            // no /proc.
            Err(DirError::Backing(error)) if error.kind() != io::ErrorKind::AlreadyExists => {
                self.new_named_file(caller, dir, name, mode)
            }
            Err(refused) => Err(refused.into()),
        }
    }

    /// The same under its name from the start. If the image cannot be written,
    /// the entry is removed again.
    fn new_named_file(
        &self,
        caller: &Caller,
        dir: &VaultDir,
        name: &PlainName,
        mode: u32,
    ) -> Result<File, FsError> {
        let store = as_caller(*caller, || {
            dir.create_file(&self.vault, name, mode & 0o7777)
        })?;
        match File::create(&self.vault, store, dir.id()) {
            Ok(file) => Ok(file),
            Err(error) => {
                if let Err(left) = dir.unlink(&self.vault, name) {
                    tracing::error!(error = %left, "an unfinished file could not be removed");
                }
                Err(error.into())
            }
        }
    }

    /// Creates and opens a regular file.
    ///
    /// # Errors
    /// [`FsError::Exists`]; the backing's.
    pub fn create(
        &self,
        caller: &Caller,
        parent: Ino,
        name: &PlainName,
        mode: u32,
        how: OpenHow,
    ) -> Result<(Entry, Opened), FsError> {
        self.must_be_writable()?;
        let parent = self.node(parent)?;
        self.changing(&parent);
        let _names = parent.names.read_recursive();
        let dir = self.dir(&parent)?;
        let file = Arc::new(self.new_file(caller, &dir, name, mode)?);
        let stat = file.store()?.stat()?;
        file.born(stat.mtime);
        let entry = self.entry(&parent, name, &stat, Moment::NONE)?;
        let node = self.node(entry.attr.ino)?;
        if self
            .vault
            .journal()
            .is_some_and(|journal| journal.takes_notes())
        {
            file.set_place(self.cipher_place(&node));
        }
        // It was born OPEN, so it is sealed when the last handle goes, even
        // one that only reads.
        let opened = self.adopt(&node, file, how.access);
        Ok((entry, opened))
    }

    /// Adds a name to an object.
    ///
    /// # Errors
    /// [`FsError::Exists`]; the backing's (EMLINK, EPERM for directories);
    /// [`FsError::NotPermitted`] where it does not show that two names are one
    /// object, as SFTP does not: the two would be written as two.
    pub fn link(&self, ino: Ino, parent: Ino, name: &PlainName) -> Result<Entry, FsError> {
        self.must_be_writable()?;
        let node = self.node(ino)?;
        let parent = self.node(parent)?;
        self.changing(&parent);
        let from = node.link().ok_or(FsError::NotFound)?;
        let _from_names = from.parent.names.read_recursive();
        let _names = parent.names.read_recursive();
        let from_dir = self.dir(&from.parent)?;
        let dir = self.dir(&parent)?;
        VaultDir::hard_link(&self.vault, (&from_dir, &from.name), (&dir, name))
            .map_err(|error| FsError::from(error).stale_if_gone())?;
        let stat = dir.stat_entry(&self.vault, name)?;
        if BackingKey::of(&stat) != node.key() {
            let twin = from_dir.stat_entry(&self.vault, &from.name)?;
            // Nothing that somebody else has put there in the meantime.
            if (stat.size, stat.mtime) == (twin.size, twin.mtime) {
                dir.unlink(&self.vault, name)?;
            }
            return Err(FsError::NotPermitted);
        }
        self.entry(&parent, name, &stat, Moment::NONE)
    }

    /// Removes a name that is not a directory's.
    ///
    /// # Errors
    /// [`FsError::NotFound`], [`FsError::IsDirectory`]; the backing's.
    pub fn unlink(&self, parent: Ino, name: &PlainName) -> Result<(), FsError> {
        self.must_be_writable()?;
        let parent = self.node(parent)?;
        self.changing(&parent);
        let _names = parent.names.read_recursive();
        let dir = self.dir(&parent)?;
        let stat = dir.stat_entry(&self.vault, name)?;
        if stat.kind() == Some(FileKind::Directory) {
            return Err(FsError::IsDirectory);
        }
        dir.unlink(&self.vault, name)?;
        self.removed.note(parent.ino, name);
        self.lost_name(&parent, name, &stat);
        Ok(())
    }

    /// Bookkeeping after the name of `stat`'s object went away.
    fn lost_name(&self, parent: &Arc<Node>, name: &PlainName, stat: &Stat) {
        let Some(node) = self.inodes.find(BackingKey::of(stat)) else {
            return;
        };
        node.remove_link(parent.ino, name);
        if stat.nlink <= 1 || node.kind == FileKind::Directory {
            self.inodes.retire(&node);
            self.forget_closed(&node);
        }
    }

    /// Removes an empty directory.
    ///
    /// # Errors
    /// [`FsError::NotFound`], [`FsError::NotDirectory`], [`FsError::NotEmpty`];
    /// the backing's.
    pub fn rmdir(&self, parent: Ino, name: &PlainName) -> Result<(), FsError> {
        self.must_be_writable()?;
        let parent = self.node(parent)?;
        self.changing(&parent);
        let _names = parent.names.read_recursive();
        let dir = self.dir(&parent)?;
        let stat = dir.stat_entry(&self.vault, name)?;
        if stat.kind() != Some(FileKind::Directory) {
            return Err(FsError::NotDirectory);
        }
        let victim = self.inodes.find(BackingKey::of(&stat));
        let _inside = victim.as_ref().map(|node| node.names.write());
        let removed = victim.as_ref().and_then(|node| self.dir(node).ok());
        dir.rmdir(&self.vault, name)?;
        self.removed.note(parent.ino, name);
        if let Some(node) = &victim {
            self.directories.drop_dir(node.ino);
            *node.removed.lock() = removed;
        }
        self.lost_name(&parent, name, &stat);
        Ok(())
    }

    /// Renames; a moved directory keeps every name inside it readable.
    ///
    /// # Errors
    /// [`FsError::NotFound`], [`FsError::Exists`], [`FsError::NotEmpty`]; the
    /// backing's.
    pub fn rename(
        &self,
        from: (Ino, &PlainName),
        to: (Ino, &PlainName),
        mode: RenameMode,
    ) -> Result<(), FsError> {
        self.must_be_writable()?;
        let from_parent = self.node(from.0)?;
        let to_parent = self.node(to.0)?;
        self.changing(&from_parent);
        self.changing(&to_parent);
        let _from_names = from_parent.names.read_recursive();
        let _to_names = to_parent.names.read_recursive();
        let from_dir = self.dir(&from_parent)?;
        let to_dir = self.dir(&to_parent)?;

        let source = from_dir.stat_entry(&self.vault, from.1)?;
        let target = to_dir.lookup(&self.vault, to.1)?.map(|found| found.stat);
        let source_node = self.inodes.find(BackingKey::of(&source));
        let target_node = target
            .as_ref()
            .and_then(|stat| self.inodes.find(BackingKey::of(stat)));
        // Two names of one object: nothing happens, as rename(2) wants it.
        let same = target.as_ref().map(BackingKey::of) == Some(BackingKey::of(&source));
        if same && mode == RenameMode::Replace {
            return Ok(());
        }
        // What moves must not gain names meanwhile: an empty directory's id
        // changes with its place.
        let is_dir = |node: &&Arc<Node>| node.kind == FileKind::Directory;
        let _inside_source = source_node
            .as_ref()
            .filter(is_dir)
            .map(|node| node.names.write());
        let _inside_target = target_node
            .as_ref()
            .filter(is_dir)
            .filter(|_| !same)
            .map(|node| node.names.write());
        VaultDir::rename(&self.vault, (&from_dir, from.1), (&to_dir, to.1), mode)?;
        if mode != RenameMode::Exchange {
            self.removed.note(from_parent.ino, from.1);
        }
        self.removed.forget(to_parent.ino, to.1);
        for node in [&source_node, &target_node].into_iter().flatten() {
            self.directories.drop_dir(node.ino);
        }
        if mode == RenameMode::Exchange {
            if let Some(node) = &target_node {
                moved(node, (&to_parent, to.1), (&from_parent, from.1));
                self.renumber(node, &from_dir, from.1);
            }
        } else if let Some(target) = &target {
            self.lost_name(&to_parent, to.1, target);
        }
        if let Some(node) = &source_node {
            moved(node, (&from_parent, from.1), (&to_parent, to.1));
            self.renumber(node, &to_dir, to.1);
        }
        for node in [&source_node, &target_node].into_iter().flatten() {
            if let Some(file) = self.open_file_of(node, None) {
                file.set_place(self.cipher_place(node));
            }
        }
        Ok(())
    }

    /// Where a node is on the backing: entries from the root downward, joined
    /// by `/`; empty where that cannot be said. A hint for whoever replays the
    /// journal, so it is computed and not looked up.
    pub(super) fn cipher_place(&self, node: &Node) -> Vec<u8> {
        let mut entries = Vec::new();
        let mut ascent = Ascent::new();
        let mut next = node.link();
        while let Some(link) = next {
            if !ascent.passes(link.parent.ino) {
                return Vec::new();
            }
            let Ok(dir) = self.dir(&link.parent) else {
                return Vec::new();
            };
            entries.push(dir.usual_entry(&self.vault, &link.name));
            next = link.parent.link();
        }
        entries.reverse();
        entries
            .iter()
            .map(|entry| entry.bytes())
            .collect::<Vec<_>>()
            .join(&b'/')
    }

    /// Keeps a renamed node known as what it is: a backing that makes its
    /// numbers up, as rclone does, may have given the object another one.
    fn renumber(&self, node: &Arc<Node>, dir: &VaultDir, name: &PlainName) {
        if let Ok(stat) = dir.stat_entry(&self.vault, name)
            && stat.kind() == Some(node.kind)
        {
            self.inodes.renumber(node, BackingKey::of(&stat));
        }
    }

    /// Opens a node's file afresh for `access`, by its place.
    pub(super) fn place_of(&self, node: &Node) -> Result<(Link, Arc<VaultDir>), FsError> {
        let link = node.link().ok_or(FsError::Stale)?;
        let dir = self.dir(&link.parent)?;
        Ok((link, dir))
    }
}

/// A known node changed its place.
fn moved(node: &Arc<Node>, from: (&Arc<Node>, &PlainName), to: (&Arc<Node>, &PlainName)) {
    let mut links = node.links.lock();
    links.retain(|l| l.parent.ino != from.0.ino || l.name != *from.1);
    links.insert(
        0,
        Link {
            parent: Arc::clone(to.0),
            name: to.1.clone(),
        },
    );
}
