//! Floor 2: the backing directory. What is written here is ciphertext: bytes
//! come as [`Sealed`], new names as [`CipherName`], and only the codec can
//! make either. What is read is raw: the store verifies nothing.
//!
//! | room | what is kept there |
//! |---|---|
//! | this file | [`StoreDir`]: an open directory and its entries |
//! | [`mod@file`] | [`StoreFile`]: an open regular file |
//! | [`node`] | [`StoreNode`]: owner, mode, times, attributes of any object |
//! | [`internal`] | files of keepfs itself, by fixed names, replaced atomically |
//! | [`journal`] | the journal's file |
//! | [`unfinished`] | objects under temporary names until they are whole |
//! | `leftovers` | removing directories that only hold such files |
//! | [`quarantine`] | what repair takes out, kept outside the vault |
//!
//! Errors are the backing's own, as [`io::Error`] with its errno.

pub mod file;
pub mod internal;
pub mod journal;
mod leftovers;
pub mod node;
pub mod quarantine;
pub mod unfinished;

use std::io;
use std::ops::ControlFlow;
use std::path::Path;

pub use file::{PartialWrite, StoreFile};
pub use internal::Internal;
pub use node::{StoreNode, XattrValue};
pub use quarantine::Quarantine;
pub use unfinished::Unfinished;

use crate::codec::Sealed;
use crate::codec::entry::LongName;
use crate::codec::link::SealedTarget;
use crate::codec::names::{CipherName, MAX_SIDE_LEN, SideFile};
use crate::name::RawName;
use crate::sys::fs::{DirFd, DirLock, FileLock, FsStat, Stat};
use crate::sys::inotify::{Inotify, Told, WatchId};
use crate::types::{Access, FileKind, RenameMode};

/// One entry of a listing; unverified.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RawDirEntry {
    /// The name.
    pub name: RawName,
    /// Inode number.
    pub ino: u64,
    /// Kind, where the file system tells it in listings.
    pub kind: Option<FileKind>,
}

/// Where a rename leads: to a name, or to the entry of a conflict copy that is
/// there already, which has something behind the name.
#[derive(Clone, Copy)]
pub struct Target<'a> {
    /// The name.
    pub name: &'a CipherName,
    /// What a sync client appended to it; usually nothing.
    pub suffix: &'a [u8],
}

impl<'a> From<&'a CipherName> for Target<'a> {
    fn from(name: &'a CipherName) -> Self {
        Self { name, suffix: &[] }
    }
}

impl Target<'_> {
    /// The entry on the backing.
    #[must_use]
    pub fn entry(&self) -> RawName {
        RawName::new(&[self.name.entry().as_bytes(), self.suffix].concat())
    }
}

/// An open directory of the backing.
///
/// Entries are named by one component and never followed if they are links.
/// Existing entries are named as the backing lists them, new ones by a
/// [`CipherName`]; calls that create a long one write its side file first.
#[derive(Debug)]
pub struct StoreDir {
    dir: DirFd,
}

impl StoreDir {
    /// Opens a vault's root by the path a person gave; links in it are followed.
    ///
    /// # Errors
    /// What the backing says.
    pub fn open_root(path: &Path) -> io::Result<Self> {
        DirFd::open_path(path).map(|dir| Self { dir })
    }

    /// [`Self::open_root`] for a directory that is created with `mode`, and
    /// made durable, if it does not exist.
    ///
    /// # Errors
    /// What the backing says.
    pub fn create_root(path: &Path, mode: u32) -> io::Result<Self> {
        DirFd::create_path(path, mode).map(|dir| Self { dir })
    }

    /// Opens a directory inside this one.
    ///
    /// # Errors
    /// What the backing says; `ENOTDIR` for anything else, a link included.
    pub fn open_dir(&self, entry: &RawName) -> io::Result<Self> {
        self.dir.open_dir(entry.bytes()).map(|dir| Self { dir })
    }

    /// What the backing knows of an entry.
    ///
    /// # Errors
    /// What the backing says.
    pub fn stat(&self, entry: &RawName) -> io::Result<Stat> {
        self.dir.stat(entry.bytes())
    }

    /// What the backing knows of this directory.
    ///
    /// # Errors
    /// What the backing says.
    pub fn stat_itself(&self) -> io::Result<Stat> {
        self.dir.stat_itself()
    }

    /// Lets `inotify` tell what happens to the entries.
    ///
    /// # Errors
    /// What the system says.
    pub fn watch(&self, inotify: &Inotify, told: Told) -> io::Result<WatchId> {
        self.dir.watch(inotify, told)
    }

    /// Whether this machine's kernel makes every change of the backing.
    ///
    /// # Errors
    /// What the system says.
    pub fn is_local(&self) -> io::Result<bool> {
        self.dir.is_local()
    }

    /// Whether it is on a file system to which each look may be a round trip.
    ///
    /// # Errors
    /// What fstatfs(2) says.
    pub fn is_remote(&self) -> io::Result<bool> {
        self.dir.is_remote()
    }

    /// Room on the backing's file system.
    ///
    /// # Errors
    /// What the backing says.
    pub fn stat_fs(&self) -> io::Result<FsStat> {
        self.dir.stat_fs()
    }

    /// All entries, in the backing's order.
    ///
    /// # Errors
    /// What the backing says.
    pub fn list(&self) -> io::Result<Vec<RawDirEntry>> {
        let mut entries = Vec::new();
        self.scan(|entry| {
            entries.push(entry);
            ControlFlow::Continue(())
        })?;
        Ok(entries)
    }

    /// Calls `each` for the entries until it breaks.
    ///
    /// # Errors
    /// What the backing says.
    pub fn scan(&self, mut each: impl FnMut(RawDirEntry) -> ControlFlow<()>) -> io::Result<()> {
        self.dir.scan(|entry| {
            each(RawDirEntry {
                name: RawName::new(entry.name),
                ino: entry.ino,
                kind: entry.kind,
            })
        })
    }

    /// Opens a regular file.
    ///
    /// To write, a file must be read as well. The owner of one that may be
    /// written but not read gets that right for the moment of opening.
    ///
    /// # Errors
    /// What the backing says; [`crate::sys::fs::is_not_regular`].
    pub fn open_file(&self, entry: &RawName, access: Access) -> io::Result<StoreFile> {
        let node = self.dir.node(entry.bytes())?;
        match node.open_file(access) {
            Err(error)
                if access == Access::ReadWrite
                    && error.kind() == io::ErrorKind::PermissionDenied =>
            {
                let mode = node.stat()?.perm();
                if mode & 0o600 != 0o200 || node.set_mode(mode | 0o400).is_err() {
                    return Err(error);
                }
                let opened = node.open_file(access);
                node.set_mode(mode)?;
                opened
            }
            other => other,
        }
        .map(StoreFile::new)
    }

    /// Opens a regular file for reading and writing, also if its own mode
    /// forbids its owner to: for repair, with that right added for the moment
    /// of opening.
    ///
    /// # Errors
    /// What the backing says; [`crate::sys::fs::is_not_regular`].
    pub fn open_file_as_owner(&self, entry: &RawName) -> io::Result<StoreFile> {
        match self.open_file(entry, Access::ReadWrite) {
            Err(error) if error.kind() == io::ErrorKind::PermissionDenied => {
                let node = self.dir.node(entry.bytes())?;
                let mode = node.stat()?.perm();
                if mode & 0o600 == 0o600 || node.set_mode(mode | 0o600).is_err() {
                    return Err(error);
                }
                let opened = node.open_file(Access::ReadWrite);
                node.set_mode(mode)?;
                opened.map(StoreFile::new)
            }
            other => other,
        }
    }

    /// Creates an empty regular file and opens it for reading and writing.
    ///
    /// # Errors
    /// What the backing says; `EEXIST` if anything has that name.
    pub fn create_file(&self, name: &CipherName, mode: u32) -> io::Result<StoreFile> {
        let name = self.with_side(name)?;
        self.dir.create_file(name, mode).map(StoreFile::new)
    }

    /// Creates a regular file that has no name yet, open for reading and writing;
    /// `None` where the backing has no such files.
    ///
    /// # Errors
    /// What the backing says.
    pub fn create_unnamed(&self, mode: u32) -> io::Result<Option<StoreFile>> {
        Ok(self.dir.create_unnamed(mode)?.map(StoreFile::new))
    }

    /// Gives a file of [`Self::create_unnamed`] its name.
    ///
    /// # Errors
    /// What the backing says; `EEXIST` if anything has that name.
    pub fn give_name(&self, file: &StoreFile, name: &CipherName) -> io::Result<()> {
        let name = self.with_side(name)?;
        self.dir.give_name(file.fd(), name)
    }

    /// Creates an empty directory.
    ///
    /// # Errors
    /// What the backing says.
    pub fn mkdir(&self, name: &CipherName, mode: u32) -> io::Result<()> {
        let name = self.with_side(name)?;
        self.dir.make_dir(name, mode)
    }

    /// Creates a symbolic link.
    ///
    /// # Errors
    /// What the backing says; `ENAMETOOLONG` if it cannot hold the target.
    pub fn symlink(&self, name: &CipherName, target: &SealedTarget) -> io::Result<()> {
        let name = self.with_side(name)?;
        self.dir.make_symlink(name, target.sealed().bytes())
    }

    /// Creates a FIFO, socket or device node; `mode` carries the kind.
    ///
    /// # Errors
    /// What the backing says; `InvalidInput` for a regular file, which
    /// [`Self::create_file`] makes.
    pub fn mknod(&self, name: &CipherName, mode: u32, rdev: u64) -> io::Result<()> {
        if matches!(mode & libc::S_IFMT, 0 | libc::S_IFREG) {
            return Err(io::ErrorKind::InvalidInput.into());
        }
        let name = self.with_side(name)?;
        self.dir.make_node(name, mode, rdev)
    }

    /// Gives an object of this directory the name `name` in `to` as well.
    ///
    /// # Errors
    /// What the backing says.
    pub fn hard_link(&self, entry: &RawName, to: &Self, name: &CipherName) -> io::Result<()> {
        let name = to.with_side(name)?;
        self.dir.link(entry.bytes(), &to.dir, name)
    }

    /// Removes an entry that is no directory. A long one's side file stays:
    /// another device may still have the entry.
    ///
    /// # Errors
    /// What the backing says.
    pub fn unlink(&self, entry: &RawName) -> io::Result<()> {
        self.dir.unlink(entry.bytes())
    }

    /// Removes a directory that holds nothing, or nothing but files of keepfs
    /// that have lost their meaning: pins, orphaned side files, leftovers.
    ///
    /// Those are removed under a name of their own, `keepfs.rm-…`, so that a
    /// crash leaves no half-emptied directory in sight.
    ///
    /// # Errors
    /// What the backing says; `ENOTEMPTY` changes nothing.
    pub fn rmdir(&self, entry: &RawName) -> io::Result<()> {
        match self.dir.remove_dir(entry.bytes()) {
            Err(error) if leftovers::is_not_empty(&error) => match self.set_aside(entry)? {
                Some(aside) => aside.remove(),
                None => Err(error),
            },
            other => other,
        }
    }

    /// Renames the entry `entry` to `target` in `to`. A target directory that
    /// [`Self::rmdir`] would remove is replaced like an empty one.
    ///
    /// # Errors
    /// What the backing says; `EINVAL` where it lacks `mode`.
    pub fn rename<'t>(
        &self,
        entry: &RawName,
        to: &Self,
        target: impl Into<Target<'t>>,
        mode: RenameMode,
    ) -> io::Result<()> {
        let target = target.into();
        to.with_side(target.name)?;
        let target = target.entry();
        let rename = || {
            self.dir
                .rename(entry.bytes(), &to.dir, target.bytes(), mode)
        };
        match rename() {
            Err(error) if mode == RenameMode::Replace && leftovers::may_be_not_empty(&error) => {
                let Some(aside) = to.set_aside_instead(&target, error)? else {
                    return Err(io::Error::from_raw_os_error(libc::ENOTEMPTY));
                };
                match rename() {
                    Ok(()) => {
                        aside.remove_unseen();
                        Ok(())
                    }
                    Err(error) => {
                        aside.put_back()?;
                        Err(error)
                    }
                }
            }
            other => other,
        }
    }

    /// Target of a symbolic link, as it stands on the backing.
    ///
    /// # Errors
    /// What the backing says.
    pub fn read_link(&self, entry: &RawName) -> io::Result<Vec<u8>> {
        self.dir.read_link(entry.bytes())
    }

    /// An entry as an object with owner, mode, times and attributes.
    ///
    /// # Errors
    /// What the backing says.
    pub fn node(&self, entry: &RawName) -> io::Result<StoreNode> {
        self.dir.node(entry.bytes()).map(StoreNode::new)
    }

    /// This directory as such an object.
    ///
    /// # Errors
    /// What the system says.
    pub fn itself(&self) -> io::Result<StoreNode> {
        self.dir.itself().map(StoreNode::new)
    }

    /// The entries survive a power cut once this returns.
    ///
    /// # Errors
    /// What the backing says.
    pub fn sync(&self) -> io::Result<()> {
        self.dir.sync()
    }

    /// Excludes other processes that call this for the same directory, until
    /// the lock is dropped. Does not wait.
    ///
    /// # Errors
    /// See [`DirFd::try_lock`].
    pub fn try_lock(&self) -> io::Result<(FileLock, DirLock)> {
        self.dir.try_lock()
    }

    /// What the side file of a long entry holds; longer ones are cut one byte
    /// behind the longest legal length.
    ///
    /// # Errors
    /// What the backing says.
    pub fn read_side(&self, entry: &LongName) -> io::Result<Vec<u8>> {
        self.read_bounded(entry.side_name().as_bytes(), MAX_SIDE_LEN)
    }

    /// The entry's name, after its side file, if it needs one, is durable.
    fn with_side<'n>(&self, name: &'n CipherName) -> io::Result<&'n [u8]> {
        if let Some(side) = name.side() {
            self.ensure_side(side)?;
        }
        Ok(name.entry().as_bytes())
    }

    fn ensure_side(&self, side: SideFile<'_>) -> io::Result<()> {
        match self.read_bounded(side.name.as_bytes(), side.bytes.len()) {
            Ok(found) if found == side.bytes.bytes() => Ok(()),
            // Absent, damaged or something else: put the right one in place.
            Ok(_) | Err(_) => self.replace(side.name.as_bytes(), side.bytes),
        }
    }

    /// The first `max + 1` bytes of a regular file.
    fn read_bounded(&self, name: &[u8], max: usize) -> io::Result<Vec<u8>> {
        StoreFile::new(self.dir.open_file(name, Access::Read)?).read_head(max.saturating_add(1))
    }

    /// Puts `bytes` under `name`, atomically and durably: temporary name,
    /// fsync, rename, fsync of the directory. As accessible as the directory.
    fn replace(&self, name: &[u8], bytes: Sealed<'_>) -> io::Result<()> {
        let mode = self.stat_itself()?.mode & 0o666 | 0o600;
        let temporary = self.write_temporary(bytes, mode)?;
        self.settle(&temporary, name, RenameMode::Replace)?;
        self.sync()
    }
}

/// The entry of an existing object, by the name it would be given.
#[must_use]
pub fn entry_of(name: &CipherName) -> RawName {
    RawName::new(name.entry().as_bytes())
}

#[cfg(test)]
mod tests;
