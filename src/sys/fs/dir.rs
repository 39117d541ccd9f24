//! [`DirFd`]: an open directory of the backing and what happens to its entries.

use std::io;
use std::ops::ControlFlow;
use std::os::fd::{AsFd, OwnedFd};
use std::path::Path;

use rustix::fs::{AtFlags, CWD, FileType, Mode, OFlags, RawDir, RenameFlags};
use rustix::io::Errno;

use super::file::{FileFd, FileLock};
use super::mutation::{Mutation, mutate};
use super::node::{NodeFd, proc_path};
use super::{FsStat, Stat, kind_of, mode_bits, restart};
use crate::sys::caller;
use crate::sys::inotify::{Inotify, Told, WatchId};
use crate::types::{Access, FileKind, RenameMode};

/// File systems of one machine, as fstatfs(2) numbers them: ext2 to ext4, XFS,
/// Btrfs, F2FS, bcachefs, ZFS, JFS, tmpfs and ramfs.
const LOCAL: [u32; 9] = [
    0xef53,
    0x5846_5342,
    0x9123_683e,
    0xf2f5_2010,
    0xca45_1a4e,
    0x2fc1_2fc1,
    0x3153_464a,
    0x0102_1994,
    0x8584_58f6,
];

/// File systems to which each look is, or may be, a round trip: NFS, SMB (three
/// numbers), AFS (two), Ceph, 9P, Coda, and FUSE with sshfs and rclone.
const REMOTE: [u32; 10] = [
    0x6969,
    0x517b,
    0xff53_4d42,
    0xfe53_4d42,
    0x6b41_4653,
    0x5346_414f,
    0x00c3_6400,
    0x0102_1997,
    0x7375_7245,
    0x6573_5546,
];

/// A lock on a directory, held until this is dropped.
#[derive(Debug)]
pub struct DirLock(#[expect(dead_code, reason = "held open for its lock")] OwnedFd);

/// An open directory. Every name it takes is one component; others are `EINVAL`.
///
/// A directory that may be searched but not read is held by a path descriptor.
#[derive(Debug)]
pub struct DirFd(OwnedFd);

/// One entry of a listing, as the kernel tells it.
#[derive(Clone, Copy, Debug)]
pub struct DirEntry<'a> {
    /// The name; never `.` or `..`.
    pub name: &'a [u8],
    /// Inode number.
    pub ino: u64,
    /// Kind, where the file system tells it.
    pub kind: Option<FileKind>,
}

impl DirFd {
    /// Opens a directory by its path, following links in it: the path is the
    /// user's own word, not the backing's.
    ///
    /// # Errors
    /// What open(2) says.
    pub fn open_path(path: &Path) -> io::Result<Self> {
        let flags = OFlags::DIRECTORY | OFlags::CLOEXEC;
        let open = |how| restart(|| rustix::fs::open(path, flags | how, Mode::empty()));
        Ok(Self(match open(OFlags::RDONLY) {
            Err(Errno::ACCESS) => open(OFlags::PATH)?,
            other => other?,
        }))
    }

    /// [`Self::open_path`] for a directory that is created with `mode`, and
    /// made durable, if it does not exist; its parent must.
    ///
    /// # Errors
    /// What the calls say.
    pub fn create_path(path: &Path, mode: u32) -> io::Result<Self> {
        match Self::open_path(path) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                let Some(name) = path.file_name() else {
                    return Err(error);
                };
                let parent = match path.parent() {
                    Some(parent) if parent != Path::new("") => Self::open_path(parent)?,
                    Some(_) | None => Self::open_path(Path::new("."))?,
                };
                parent.make_dir(name.as_encoded_bytes(), mode)?;
                parent.sync()?;
                parent.open_dir(name.as_encoded_bytes())
            }
            other => other,
        }
    }

    /// Opens the directory `name`; a link is not followed.
    ///
    /// # Errors
    /// What openat(2) says; `ENOTDIR` for anything but a directory.
    pub fn open_dir(&self, name: &[u8]) -> io::Result<Self> {
        let name = component(name)?;
        let flags = OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        let open = |how| restart(|| rustix::fs::openat(&self.0, name, flags | how, Mode::empty()));
        Ok(Self(match open(OFlags::RDONLY | OFlags::NONBLOCK) {
            Err(Errno::ACCESS) => open(OFlags::PATH)?,
            other => other?,
        }))
    }

    /// Names the object `name` without opening it.
    ///
    /// # Errors
    /// What openat(2) says.
    pub fn node(&self, name: &[u8]) -> io::Result<NodeFd> {
        let name = component(name)?;
        let flags = OFlags::PATH | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        Ok(NodeFd::new(restart(|| {
            rustix::fs::openat(&self.0, name, flags, Mode::empty())
        })?))
    }

    /// Names this directory itself.
    ///
    /// # Errors
    /// What fcntl(2) says.
    pub fn itself(&self) -> io::Result<NodeFd> {
        Ok(NodeFd::new(self.0.try_clone()?))
    }

    /// Watches this directory.
    ///
    /// # Errors
    /// What inotify_add_watch(2) says; `EACCES` where it may not be read.
    pub fn watch(&self, inotify: &Inotify, told: Told) -> io::Result<WatchId> {
        inotify.watch(self.0.as_fd(), told)
    }

    /// Whether it is on a file system of this machine, whose kernel makes every
    /// change of it. Those that are not known here count as others'.
    ///
    /// # Errors
    /// What fstatfs(2) says.
    pub fn is_local(&self) -> io::Result<bool> {
        self.is_one_of(&LOCAL)
    }

    /// Whether it is on a file system to which each look may be a round trip.
    ///
    /// # Errors
    /// What fstatfs(2) says.
    pub fn is_remote(&self) -> io::Result<bool> {
        self.is_one_of(&REMOTE)
    }

    fn is_one_of(&self, numbers: &[u32]) -> io::Result<bool> {
        let number = rustix::fs::fstatfs(&self.0)?.f_type;
        Ok(numbers.iter().any(|one| i64::from(*one) == number))
    }

    /// Opens the regular file `name`.
    ///
    /// The object is looked at through a path descriptor first, so a FIFO
    /// never blocks and a device is never opened.
    ///
    /// # Errors
    /// [`super::NotRegular`] inside; what openat(2) says.
    pub fn open_file(&self, name: &[u8], access: Access) -> io::Result<FileFd> {
        self.node(name)?.open_file(access)
    }

    /// Creates the regular file `name` and opens it for reading and writing,
    /// whatever its mode.
    ///
    /// # Errors
    /// What openat(2) says; `EEXIST` if anything has that name.
    pub fn create_file(&self, name: &[u8], mode: u32) -> io::Result<FileFd> {
        let name = component(name)?;
        let flags = OFlags::CREATE
            | OFlags::EXCL
            | OFlags::RDWR
            | OFlags::NOFOLLOW
            | OFlags::CLOEXEC
            | OFlags::NOCTTY;
        let mode = mode_bits(caller::masked(mode));
        let fd = mutate(Mutation::CreateFile, || {
            restart(|| rustix::fs::openat(&self.0, name, flags, mode))
        })?;
        Ok(FileFd::new(fd, Access::ReadWrite))
    }

    /// Creates a regular file without a name and opens it for reading and
    /// writing; it goes with its descriptor unless [`Self::give_name`] comes
    /// first. `None` where the file system has no such files.
    ///
    /// # Errors
    /// What openat(2) says.
    pub fn create_unnamed(&self, mode: u32) -> io::Result<Option<FileFd>> {
        let flags = OFlags::TMPFILE | OFlags::RDWR | OFlags::CLOEXEC | OFlags::NOCTTY;
        let mode = mode_bits(caller::masked(mode));
        let made = mutate(Mutation::CreateFile, || {
            restart(|| rustix::fs::openat(&self.0, ".", flags, mode))
        });
        match made {
            Ok(fd) => Ok(Some(FileFd::new(fd, Access::ReadWrite))),
            // The last two are of kernels that do not know the flag.
            Err(error)
                if matches!(
                    Errno::from_io_error(&error),
                    Some(Errno::OPNOTSUPP | Errno::ISDIR | Errno::INVAL)
                ) =>
            {
                Ok(None)
            }
            Err(error) => Err(error),
        }
    }

    /// Gives a file of [`Self::create_unnamed`] its name in this directory.
    ///
    /// # Errors
    /// What linkat(2) says; `EEXIST` if anything has that name.
    pub fn give_name(&self, file: &FileFd, name: &[u8]) -> io::Result<()> {
        let name = component(name)?;
        let path = proc_path(file.as_fd());
        mutate(Mutation::Link, || {
            rustix::fs::linkat(CWD, &path, &self.0, name, AtFlags::SYMLINK_FOLLOW)
        })
    }

    /// mkdirat(2).
    ///
    /// # Errors
    /// What the call says.
    pub fn make_dir(&self, name: &[u8], mode: u32) -> io::Result<()> {
        let name = component(name)?;
        let mode = mode_bits(caller::masked(mode));
        mutate(Mutation::MakeDir, || {
            rustix::fs::mkdirat(&self.0, name, mode)
        })
    }

    /// symlinkat(2).
    ///
    /// # Errors
    /// What the call says.
    pub fn make_symlink(&self, name: &[u8], target: &[u8]) -> io::Result<()> {
        let name = component(name)?;
        mutate(Mutation::MakeSymlink, || {
            rustix::fs::symlinkat(target, &self.0, name)
        })
    }

    /// mknodat(2); `mode` carries the kind, `rdev` counts for devices only.
    ///
    /// # Errors
    /// What the call says.
    pub fn make_node(&self, name: &[u8], mode: u32, rdev: u64) -> io::Result<()> {
        let name = component(name)?;
        let kind = FileType::from_raw_mode(mode);
        let mode = mode_bits(caller::masked(mode));
        mutate(Mutation::MakeNode, || {
            rustix::fs::mknodat(&self.0, name, kind, mode, rdev)
        })
    }

    /// Gives the object `name` a second name in `to`; a symbolic link is
    /// linked itself.
    ///
    /// # Errors
    /// What linkat(2) says.
    pub fn link(&self, name: &[u8], to: &Self, to_name: &[u8]) -> io::Result<()> {
        let (name, to_name) = (component(name)?, component(to_name)?);
        mutate(Mutation::Link, || {
            rustix::fs::linkat(&self.0, name, &to.0, to_name, AtFlags::empty())
        })
    }

    /// Removes an entry that is not a directory.
    ///
    /// # Errors
    /// What unlinkat(2) says.
    pub fn unlink(&self, name: &[u8]) -> io::Result<()> {
        let name = component(name)?;
        mutate(Mutation::Unlink, || {
            rustix::fs::unlinkat(&self.0, name, AtFlags::empty())
        })
    }

    /// Removes an empty directory.
    ///
    /// # Errors
    /// What unlinkat(2) says; `ENOTEMPTY` (some file systems: `EEXIST`).
    pub fn remove_dir(&self, name: &[u8]) -> io::Result<()> {
        let name = component(name)?;
        mutate(Mutation::RemoveDir, || {
            rustix::fs::unlinkat(&self.0, name, AtFlags::REMOVEDIR)
        })
    }

    /// renameat2(2).
    ///
    /// # Errors
    /// What the call says; `EINVAL` where the file system lacks the mode.
    pub fn rename(
        &self,
        name: &[u8],
        to: &Self,
        to_name: &[u8],
        mode: RenameMode,
    ) -> io::Result<()> {
        let (name, to_name) = (component(name)?, component(to_name)?);
        let with = |flags| rustix::fs::renameat_with(&self.0, name, &to.0, to_name, flags);
        mutate(Mutation::Rename, || match mode {
            RenameMode::Replace => rustix::fs::renameat(&self.0, name, &to.0, to_name),
            RenameMode::NoReplace => with(RenameFlags::NOREPLACE),
            RenameMode::Exchange => with(RenameFlags::EXCHANGE),
        })
    }

    /// Renames without replacing, also where the file system cannot exclude a
    /// race.
    ///
    /// # Errors
    /// What renameat2(2) says; `EEXIST` if anything has the new name.
    pub fn rename_new(&self, name: &[u8], to: &Self, to_name: &[u8]) -> io::Result<()> {
        match self.rename(name, to, to_name, RenameMode::NoReplace) {
            Err(error) if error.raw_os_error() == Some(libc::EINVAL) => match to.stat(to_name) {
                Ok(_) => Err(io::ErrorKind::AlreadyExists.into()),
                Err(absent) if absent.kind() == io::ErrorKind::NotFound => {
                    self.rename(name, to, to_name, RenameMode::Replace)
                }
                Err(other) => Err(other),
            },
            other => other,
        }
    }

    /// fstatat(2) of the entry `name` itself.
    ///
    /// # Errors
    /// What the call says.
    pub fn stat(&self, name: &[u8]) -> io::Result<Stat> {
        let name = component(name)?;
        let raw = rustix::fs::statat(&self.0, name, AtFlags::SYMLINK_NOFOLLOW)?;
        Ok(Stat::from_raw(&raw))
    }

    /// fstat(2) of this directory.
    ///
    /// # Errors
    /// What the call says.
    pub fn stat_itself(&self) -> io::Result<Stat> {
        Ok(Stat::from_raw(&rustix::fs::fstat(&self.0)?))
    }

    /// statvfs(3) of the file system this directory is on.
    ///
    /// # Errors
    /// What the call says.
    pub fn stat_fs(&self) -> io::Result<FsStat> {
        let raw = rustix::fs::fstatvfs(&self.0)?;
        Ok(FsStat {
            fragment_size: raw.f_frsize,
            blocks: raw.f_blocks,
            blocks_free: raw.f_bfree,
            blocks_available: raw.f_bavail,
            files: raw.f_files,
            files_free: raw.f_ffree,
            name_max: raw.f_namemax,
        })
    }

    /// Target of the symbolic link `name`.
    ///
    /// # Errors
    /// What readlinkat(2) says; `EINVAL` if the entry is no link.
    pub fn read_link(&self, name: &[u8]) -> io::Result<Vec<u8>> {
        let name = component(name)?;
        Ok(rustix::fs::readlinkat(&self.0, name, Vec::new())?.into_bytes())
    }

    /// Calls `each` for every entry, in the file system's order, until it
    /// breaks. Entries that come and go meanwhile may or may not be seen.
    ///
    /// # Errors
    /// What opening for reading or getdents64(2) says.
    pub fn scan(&self, mut each: impl FnMut(DirEntry<'_>) -> ControlFlow<()>) -> io::Result<()> {
        const BUFFER: usize = 32 * 1024;
        let fd = self.readable()?;
        let mut buffer = Vec::with_capacity(BUFFER);
        let mut listing = RawDir::new(fd, buffer.spare_capacity_mut());
        while let Some(entry) = listing.next() {
            let entry = match entry {
                Err(Errno::INTR) => continue,
                other => other?,
            };
            let name = entry.file_name().to_bytes();
            if name == b"." || name == b".." {
                continue;
            }
            let step = each(DirEntry {
                name,
                ino: entry.ino(),
                kind: kind_of(entry.file_type()),
            });
            if step.is_break() {
                break;
            }
        }
        Ok(())
    }

    /// Excludes every other open directory that this is called on, in any
    /// process, until the lock is dropped; flock(2). Does not wait.
    ///
    /// # Errors
    /// Those of openat(2), and what flock(2) says other than the three
    /// expected answers.
    pub fn try_lock(&self) -> io::Result<(FileLock, DirLock)> {
        let fd = self.open_self(OFlags::RDONLY | OFlags::DIRECTORY)?;
        Ok((super::file::try_lock(&fd)?, DirLock(fd)))
    }

    /// fsync(2): the entries survive a power cut.
    ///
    /// A directory that may not be read cannot be synced by itself; then all
    /// of its file system is, through a nameless temporary file.
    ///
    /// # Errors
    /// What the call says.
    pub fn sync(&self) -> io::Result<()> {
        let direct = mutate(Mutation::Sync, || {
            match restart(|| rustix::fs::fsync(&self.0)) {
                Err(Errno::BADF) => {
                    let fd = self.open_self(OFlags::RDONLY | OFlags::DIRECTORY)?;
                    restart(|| rustix::fs::fsync(&fd))
                }
                // Some file systems do not sync directories, and say so.
                Err(Errno::INVAL) => Ok(()),
                other => other,
            }
        });
        match direct {
            Err(error) if error.kind() == io::ErrorKind::PermissionDenied => {
                self.sync_file_system()
            }
            other => other,
        }
    }

    /// syncfs(2): everything on the file system of this directory survives a
    /// power cut. Linux reports a failed write-back here since 5.8.
    ///
    /// # Errors
    /// What the call says.
    pub fn sync_file_system(&self) -> io::Result<()> {
        mutate(Mutation::Sync, || {
            let fd = match self.readable() {
                Err(Errno::ACCESS) => self.open_self(OFlags::TMPFILE | OFlags::RDWR)?,
                other => other?,
            };
            restart(|| rustix::fs::syncfs(&fd))
        })
    }

    fn readable(&self) -> rustix::io::Result<OwnedFd> {
        self.open_self(OFlags::RDONLY | OFlags::DIRECTORY)
    }

    /// Opens this directory anew. By its descriptor, not by `.`, which the
    /// directory's own search permission would govern.
    fn open_self(&self, how: OFlags) -> rustix::io::Result<OwnedFd> {
        restart(|| {
            rustix::fs::openat(
                CWD,
                proc_path(self.0.as_fd()),
                how | OFlags::CLOEXEC,
                Mode::RUSR | Mode::WUSR,
            )
        })
    }
}

/// Refuses whatever is not one component.
fn component(name: &[u8]) -> io::Result<&[u8]> {
    match name {
        b"" | b"." | b".." => Err(Errno::INVAL.into()),
        _ if name.contains(&b'/') => Err(Errno::INVAL.into()),
        _ => Ok(name),
    }
}
