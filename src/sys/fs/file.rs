//! [`FileFd`]: an open regular file of the backing.

use std::io::{self, IoSlice};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use rustix::fs::{FallocateFlags, FlockOperation, OFlags, SeekFrom};
use rustix::io::Errno;

#[cfg(any(test, feature = "fault-injection"))]
use super::mutation::record::Event;
use super::mutation::{Mutation, mutate, mutate_write};
use super::node::{self, proc_path};
use super::{Stat, XattrMode, mode_bits, restart, timestamps};
use crate::types::{Access, SetTime};

/// A regular file, open for reading or for both; never a device, FIFO or link.
#[derive(Debug)]
pub struct FileFd {
    fd: OwnedFd,
    access: Access,
}

/// How an attempt to lock a whole file ended; flock(2).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FileLock {
    /// Held until every descriptor of this open file is closed.
    Held,
    /// Somebody else holds it.
    Busy,
    /// The file system has no such locks.
    Unsupported,
}

impl AsFd for FileFd {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.fd.as_fd()
    }
}

impl FileFd {
    pub(super) fn new(fd: OwnedFd, access: Access) -> Self {
        Self { fd, access }
    }

    /// Opens the regular file behind a path descriptor.
    pub(super) fn from_node(node: BorrowedFd<'_>, access: Access) -> io::Result<Self> {
        let flags = match access {
            Access::Read => OFlags::RDONLY,
            Access::ReadWrite => OFlags::RDWR,
        };
        let fd = restart(|| {
            rustix::fs::open(
                proc_path(node),
                flags | OFlags::CLOEXEC | OFlags::NONBLOCK | OFlags::NOCTTY,
                rustix::fs::Mode::empty(),
            )
        })?;
        Ok(Self::new(fd, access))
    }

    /// How the file is open.
    #[must_use]
    pub fn access(&self) -> Access {
        self.access
    }

    /// Opens the same file again, on its own open file description.
    ///
    /// # Errors
    /// What open(2) says; the file's mode is checked again.
    pub fn reopen(&self, access: Access) -> io::Result<Self> {
        Self::from_node(self.fd.as_fd(), access)
    }

    /// fstat(2).
    ///
    /// # Errors
    /// What the call says.
    pub fn stat(&self) -> io::Result<Stat> {
        Ok(Stat::from_raw(&rustix::fs::fstat(&self.fd)?))
    }

    /// Reads from byte `at` until `buf` is full or the file ends; returns the
    /// number of bytes read.
    ///
    /// # Errors
    /// What pread(2) says; nothing can be said of `buf` then.
    pub fn read_at(&self, buf: &mut [u8], at: u64) -> io::Result<usize> {
        let mut done = 0;
        while done < buf.len() {
            let from = at.checked_add(offset(done)?).ok_or(Errno::INVAL)?;
            match restart(|| rustix::io::pread(&self.fd, &mut buf[done..], from))? {
                0 => break,
                count => done += count,
            }
        }
        Ok(done)
    }

    /// Writes `parts` one after the other from byte `at`: one pwritev(2), more
    /// only after a short one or for more than 1 024 parts.
    ///
    /// # Errors
    /// What the call says, with the number of bytes that were written before.
    pub fn write_at(&self, parts: &[&[u8]], at: u64) -> Result<(), (u64, io::Error)> {
        const IOV_MAX: usize = 1024;
        let mut slices: Vec<IoSlice<'_>> = parts
            .iter()
            .filter(|part| !part.is_empty())
            .map(|part| IoSlice::new(part))
            .collect();
        let mut left = &mut slices[..];
        let mut written: u64 = 0;
        while !left.is_empty() {
            let batch = &left[..left.len().min(IOV_MAX)];
            let count = at
                .checked_add(written)
                .ok_or_else(|| Errno::FBIG.into())
                .and_then(|from| self.write_some(batch, from))
                .and_then(|count| match count {
                    0 => Err(io::ErrorKind::WriteZero.into()),
                    _ => Ok(count),
                })
                .map_err(|error| (written, error))?;
            #[cfg(any(test, feature = "fault-injection"))]
            self.note(|| {
                let bytes = left.iter().flat_map(|part| part.iter().copied());
                Event::Write(at + written, bytes.take(count).collect())
            });
            IoSlice::advance_slices(&mut left, count);
            written += offset(count).map_err(|error| (written, error))?;
        }
        Ok(())
    }

    fn write_some(&self, parts: &[IoSlice<'_>], from: u64) -> io::Result<usize> {
        mutate_write(|limit| {
            let total: usize = parts.iter().map(|part| part.len()).sum();
            if total <= limit {
                return restart(|| rustix::io::pwritev(&self.fd, parts, from));
            }
            let head: Vec<u8> = parts
                .iter()
                .flat_map(|part| part.iter().copied())
                .take(limit)
                .collect();
            restart(|| rustix::io::pwrite(&self.fd, &head, from))
        })
    }

    /// ftruncate(2) to `len` bytes.
    ///
    /// # Errors
    /// What the call says.
    pub fn truncate(&self, len: u64) -> io::Result<()> {
        mutate(Mutation::Truncate, || {
            restart(|| rustix::fs::ftruncate(&self.fd, len))
        })?;
        #[cfg(any(test, feature = "fault-injection"))]
        self.note(|| Event::Truncate(len));
        Ok(())
    }

    /// Frees the storage of `len` bytes from `from`, which read as zeros then;
    /// the length stays.
    ///
    /// # Errors
    /// What fallocate(2) says, `EOPNOTSUPP` above all.
    pub fn punch_hole(&self, from: u64, len: u64) -> io::Result<()> {
        let flags = FallocateFlags::PUNCH_HOLE | FallocateFlags::KEEP_SIZE;
        mutate(Mutation::PunchHole, || {
            restart(|| rustix::fs::fallocate(&self.fd, flags, from, len))
        })?;
        #[cfg(any(test, feature = "fault-injection"))]
        self.note(|| Event::Punch(from, len));
        Ok(())
    }

    /// Reserves storage for `len` bytes from `from`; the length stays.
    ///
    /// # Errors
    /// What fallocate(2) says.
    pub fn allocate(&self, from: u64, len: u64) -> io::Result<()> {
        mutate(Mutation::Allocate, || {
            restart(|| rustix::fs::fallocate(&self.fd, FallocateFlags::KEEP_SIZE, from, len))
        })
    }

    /// fdatasync(2): contents and length survive a power cut.
    ///
    /// # Errors
    /// What the call says.
    pub fn sync_data(&self) -> io::Result<()> {
        mutate(Mutation::Sync, || {
            restart(|| rustix::fs::fdatasync(&self.fd))
        })?;
        #[cfg(any(test, feature = "fault-injection"))]
        self.note(|| Event::Sync);
        Ok(())
    }

    #[cfg(any(test, feature = "fault-injection"))]
    fn note(&self, event: impl FnOnce() -> Event) {
        let ino = || self.stat().expect("an open file has a stat").ino;
        super::mutation::record::note(ino, event);
    }

    /// fsync(2): as [`Self::sync_data`], with times, mode and owner.
    ///
    /// # Errors
    /// What the call says.
    pub fn sync_all(&self) -> io::Result<()> {
        mutate(Mutation::Sync, || restart(|| rustix::fs::fsync(&self.fd)))?;
        #[cfg(any(test, feature = "fault-injection"))]
        self.note(|| Event::Sync);
        Ok(())
    }

    /// syncfs(2): everything on the file system of this file.
    ///
    /// # Errors
    /// What the call says.
    pub fn sync_file_system(&self) -> io::Result<()> {
        mutate(Mutation::Sync, || restart(|| rustix::fs::syncfs(&self.fd)))
    }

    /// First byte of data at or after `from`; `None` if only a hole follows or
    /// `from` is not inside the file.
    ///
    /// # Errors
    /// What lseek(2) says.
    pub fn seek_data(&self, from: u64) -> io::Result<Option<u64>> {
        match rustix::fs::seek(&self.fd, SeekFrom::Data(from)) {
            Ok(found) => Ok(Some(found)),
            Err(Errno::NXIO) => Ok(None),
            Err(error) => Err(error.into()),
        }
    }

    /// First byte of a hole at or after `from`; the end of the file counts.
    ///
    /// # Errors
    /// What lseek(2) says: `ENXIO` if `from` is not inside the file.
    pub fn seek_hole(&self, from: u64) -> io::Result<u64> {
        Ok(rustix::fs::seek(&self.fd, SeekFrom::Hole(from))?)
    }

    /// futimens(3).
    ///
    /// # Errors
    /// What the call says.
    pub fn set_times(&self, atime: SetTime, mtime: SetTime) -> io::Result<()> {
        mutate(Mutation::SetTimes, || {
            rustix::fs::futimens(&self.fd, &timestamps(atime, mtime))
        })
    }

    /// fchmod(2).
    ///
    /// # Errors
    /// What the call says.
    pub fn set_mode(&self, mode: u32) -> io::Result<()> {
        mutate(Mutation::SetMode, || {
            rustix::fs::fchmod(&self.fd, mode_bits(mode))
        })
    }

    /// fchown(2); `None` leaves that id.
    ///
    /// # Errors
    /// What the call says.
    pub fn set_owner(&self, uid: Option<u32>, gid: Option<u32>) -> io::Result<()> {
        let (uid, gid) = node::owner(uid, gid)?;
        mutate(Mutation::SetOwner, || {
            rustix::fs::fchown(&self.fd, uid, gid)
        })
    }

    /// Value of an extended attribute.
    ///
    /// # Errors
    /// What fgetxattr(2) says.
    pub fn get_xattr(&self, name: &[u8]) -> io::Result<Vec<u8>> {
        node::sized(
            || rustix::fs::fgetxattr_query(&self.fd, name),
            |buf| rustix::fs::fgetxattr(&self.fd, name, buf),
        )
    }

    /// Names of all extended attributes.
    ///
    /// # Errors
    /// What flistxattr(2) says.
    pub fn list_xattrs(&self) -> io::Result<Vec<Vec<u8>>> {
        node::sized(
            || rustix::fs::flistxattr_query(&self.fd),
            |buf| rustix::fs::flistxattr(&self.fd, buf),
        )
        .map(|list| node::split_names(&list))
    }

    /// fsetxattr(2).
    ///
    /// # Errors
    /// What the call says.
    pub fn set_xattr(&self, name: &[u8], value: &[u8], mode: XattrMode) -> io::Result<()> {
        mutate(Mutation::SetXattr, || {
            rustix::fs::fsetxattr(&self.fd, name, value, node::xattr_flags(mode))
        })
    }

    /// fremovexattr(2).
    ///
    /// # Errors
    /// What the call says.
    pub fn remove_xattr(&self, name: &[u8]) -> io::Result<()> {
        mutate(Mutation::RemoveXattr, || {
            rustix::fs::fremovexattr(&self.fd, name)
        })
    }

    /// Tries to lock the whole file against every other open file description.
    ///
    /// # Errors
    /// What flock(2) says, other than the three expected answers.
    pub fn try_lock(&self) -> io::Result<FileLock> {
        try_lock(&self.fd)
    }
}

/// flock(2) with `LOCK_EX | LOCK_NB`.
pub(super) fn try_lock(fd: &OwnedFd) -> io::Result<FileLock> {
    let asked = restart(|| rustix::fs::flock(fd, FlockOperation::NonBlockingLockExclusive));
    match asked {
        Ok(()) => Ok(FileLock::Held),
        Err(Errno::WOULDBLOCK) => Ok(FileLock::Busy),
        // EBADF: network file systems that need a writable descriptor.
        Err(Errno::OPNOTSUPP | Errno::NOSYS | Errno::NOLCK | Errno::INVAL | Errno::BADF) => {
            Ok(FileLock::Unsupported)
        }
        Err(error) => Err(error.into()),
    }
}

fn offset(count: usize) -> io::Result<u64> {
    u64::try_from(count).map_err(|_| Errno::OVERFLOW.into())
}
