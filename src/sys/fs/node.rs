//! [`NodeFd`]: any object of the backing, by a descriptor that names it
//! without opening it (`O_PATH`). Nothing a planted device or FIFO does can be
//! set off this way.

use std::io;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};

use rustix::fs::{AtFlags, CWD, Gid, Uid, XattrFlags};
use rustix::io::Errno;

use super::file::FileFd;
use super::mutation::{Mutation, mutate};
use super::{NotRegular, Stat, XattrMode, mode_bits, timestamps};
use crate::types::{Access, FileKind, SetTime};

/// Any object, a symbolic link itself included.
#[derive(Debug)]
pub struct NodeFd(OwnedFd);

impl NodeFd {
    pub(super) fn new(fd: OwnedFd) -> Self {
        Self(fd)
    }

    /// fstat(2).
    ///
    /// # Errors
    /// What the call says.
    pub fn stat(&self) -> io::Result<Stat> {
        Ok(Stat::from_raw(&rustix::fs::fstat(&self.0)?))
    }

    /// Opens the object, which must be a regular file.
    ///
    /// # Errors
    /// [`NotRegular`] inside, before anything else is opened; what open(2) says.
    pub fn open_file(&self, access: Access) -> io::Result<FileFd> {
        if self.stat()?.kind() != Some(FileKind::Regular) {
            return Err(io::Error::other(NotRegular));
        }
        FileFd::from_node(self.0.as_fd(), access)
    }

    /// chmod(2) of the object itself.
    ///
    /// # Errors
    /// What the call says; `EOPNOTSUPP` for a symbolic link.
    pub fn set_mode(&self, mode: u32) -> io::Result<()> {
        mutate(Mutation::SetMode, || {
            rustix::fs::chmodat(
                CWD,
                proc_path(self.0.as_fd()),
                mode_bits(mode),
                AtFlags::empty(),
            )
        })
    }

    /// chown(2) of the object itself; `None` leaves that id.
    ///
    /// # Errors
    /// What the call says.
    pub fn set_owner(&self, uid: Option<u32>, gid: Option<u32>) -> io::Result<()> {
        let (uid, gid) = owner(uid, gid)?;
        mutate(Mutation::SetOwner, || {
            rustix::fs::chownat(&self.0, "", uid, gid, AtFlags::EMPTY_PATH)
        })
    }

    /// utimensat(2) of the object itself.
    ///
    /// # Errors
    /// What the call says.
    pub fn set_times(&self, atime: SetTime, mtime: SetTime) -> io::Result<()> {
        let times = timestamps(atime, mtime);
        mutate(Mutation::SetTimes, || {
            rustix::fs::utimensat(CWD, proc_path(self.0.as_fd()), &times, AtFlags::empty())
        })
    }

    /// Target of the symbolic link.
    ///
    /// # Errors
    /// What readlinkat(2) says; `EINVAL` or `ENOENT` if the object is no link.
    pub fn read_link(&self) -> io::Result<Vec<u8>> {
        Ok(rustix::fs::readlinkat(&self.0, "", Vec::new())?.into_bytes())
    }

    /// Value of an extended attribute.
    ///
    /// # Errors
    /// What getxattr(2) says.
    pub fn get_xattr(&self, name: &[u8]) -> io::Result<Vec<u8>> {
        let path = proc_path(self.0.as_fd());
        sized(
            || rustix::fs::getxattr_query(&path, name),
            |buf| rustix::fs::getxattr(&path, name, buf),
        )
    }

    /// Names of all extended attributes.
    ///
    /// # Errors
    /// What listxattr(2) says.
    pub fn list_xattrs(&self) -> io::Result<Vec<Vec<u8>>> {
        let path = proc_path(self.0.as_fd());
        sized(
            || rustix::fs::listxattr_query(&path),
            |buf| rustix::fs::listxattr(&path, buf),
        )
        .map(|list| split_names(&list))
    }

    /// setxattr(2) of the object itself.
    ///
    /// # Errors
    /// What the call says.
    pub fn set_xattr(&self, name: &[u8], value: &[u8], mode: XattrMode) -> io::Result<()> {
        mutate(Mutation::SetXattr, || {
            rustix::fs::setxattr(proc_path(self.0.as_fd()), name, value, xattr_flags(mode))
        })
    }

    /// removexattr(2) of the object itself.
    ///
    /// # Errors
    /// What the call says.
    pub fn remove_xattr(&self, name: &[u8]) -> io::Result<()> {
        mutate(Mutation::RemoveXattr, || {
            rustix::fs::removexattr(proc_path(self.0.as_fd()), name)
        })
    }
}

/// Path that leads to the object of `fd` itself, whatever it is.
pub(in crate::sys) fn proc_path(fd: BorrowedFd<'_>) -> String {
    format!("/proc/self/fd/{}", fd.as_raw_fd())
}

/// The two ids for chown(2). The largest number means "leave it" to the
/// kernel and is refused here.
pub(super) fn owner(uid: Option<u32>, gid: Option<u32>) -> io::Result<(Option<Uid>, Option<Gid>)> {
    if uid == Some(u32::MAX) || gid == Some(u32::MAX) {
        return Err(Errno::INVAL.into());
    }
    Ok((uid.map(Uid::from_raw), gid.map(Gid::from_raw)))
}

pub(super) fn xattr_flags(mode: XattrMode) -> XattrFlags {
    match mode {
        XattrMode::Any => XattrFlags::empty(),
        XattrMode::Create => XattrFlags::CREATE,
        XattrMode::Replace => XattrFlags::REPLACE,
    }
}

/// Asks for a size, then for that many bytes; again if they grew in between.
pub(super) fn sized(
    query: impl Fn() -> rustix::io::Result<usize>,
    fetch: impl Fn(&mut [u8]) -> rustix::io::Result<usize>,
) -> io::Result<Vec<u8>> {
    loop {
        let mut buf = vec![0; query()?];
        if buf.is_empty() {
            return Ok(buf);
        }
        match fetch(&mut buf) {
            Ok(len) => {
                buf.truncate(len);
                return Ok(buf);
            }
            Err(Errno::RANGE) => {}
            Err(error) => return Err(error.into()),
        }
    }
}

/// Splits the NUL-terminated names that listxattr(2) returns.
pub(super) fn split_names(list: &[u8]) -> Vec<Vec<u8>> {
    list.split(|&byte| byte == 0)
        .filter(|name| !name.is_empty())
        .map(<[u8]>::to_vec)
        .collect()
}
