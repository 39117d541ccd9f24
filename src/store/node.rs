//! [`StoreNode`]: any object of the backing, for what concerns its inode and
//! not its contents. A link is meant itself, never its target.

use std::io;

use crate::codec::Sealed;
use crate::sys::fs::{NodeFd, Stat, XattrMode};
use crate::types::SetTime;

/// An object of any kind; holding it opens nothing.
#[derive(Debug)]
pub struct StoreNode(NodeFd);

/// The value of an extended attribute, by who may see it.
#[derive(Clone, Copy)]
pub enum XattrValue<'a> {
    /// A user's attribute, encrypted.
    Sealed(Sealed<'a>),
    /// The backing's own metadata, such as ACLs. Refused with `InvalidInput`
    /// for names in the namespace `user.`, which hold people's contents.
    Metadata(&'a [u8]),
}

impl<'a> XattrValue<'a> {
    pub(in crate::store) fn checked(self, name: &[u8]) -> io::Result<&'a [u8]> {
        match self {
            Self::Sealed(value) => Ok(value.bytes()),
            Self::Metadata(_) if name.starts_with(b"user.") => {
                Err(io::ErrorKind::InvalidInput.into())
            }
            Self::Metadata(value) => Ok(value),
        }
    }
}

impl StoreNode {
    pub(in crate::store) fn new(fd: NodeFd) -> Self {
        Self(fd)
    }

    /// What the backing knows of the object.
    ///
    /// # Errors
    /// What the backing says.
    pub fn stat(&self) -> io::Result<Stat> {
        self.0.stat()
    }

    /// Sets the permission bits, `07777`.
    ///
    /// # Errors
    /// What the backing says; `EOPNOTSUPP` for a link.
    pub fn set_mode(&self, mode: u32) -> io::Result<()> {
        self.0.set_mode(mode)
    }

    /// Sets owner and group; `None` leaves that id.
    ///
    /// # Errors
    /// What the backing says.
    pub fn set_owner(&self, uid: Option<u32>, gid: Option<u32>) -> io::Result<()> {
        self.0.set_owner(uid, gid)
    }

    /// Sets the times.
    ///
    /// # Errors
    /// What the backing says.
    pub fn set_times(&self, atime: SetTime, mtime: SetTime) -> io::Result<()> {
        self.0.set_times(atime, mtime)
    }

    /// Value of an extended attribute, by its name on the backing.
    ///
    /// # Errors
    /// What the backing says.
    pub fn get_xattr(&self, name: &[u8]) -> io::Result<Vec<u8>> {
        self.0.get_xattr(name)
    }

    /// Names of all extended attributes on the backing.
    ///
    /// # Errors
    /// What the backing says.
    pub fn list_xattrs(&self) -> io::Result<Vec<Vec<u8>>> {
        self.0.list_xattrs()
    }

    /// Sets an extended attribute.
    ///
    /// # Errors
    /// What the backing says; see [`XattrValue`].
    pub fn set_xattr(&self, name: &[u8], value: XattrValue<'_>, mode: XattrMode) -> io::Result<()> {
        self.0.set_xattr(name, value.checked(name)?, mode)
    }

    /// Removes an extended attribute.
    ///
    /// # Errors
    /// What the backing says.
    pub fn remove_xattr(&self, name: &[u8]) -> io::Result<()> {
        self.0.remove_xattr(name)
    }
}
