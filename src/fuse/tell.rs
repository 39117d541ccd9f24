//! Telling the kernel that what it believes is outdated.
//!
//! Each call may sleep until requests in the same directory are answered: it
//! must not come from a thread that answers them, nor with a lock held that
//! they take.

use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt;

use fuser::{INodeNo, Notifier};

use crate::view::Change;

/// An offset that leaves an inode's pages alone.
const NO_PAGES: i64 = -1;

/// Speaks to the kernel of one mount. After the mount's end nobody listens.
#[derive(Debug)]
pub struct Teller(Notifier);

impl Teller {
    pub(super) const fn new(notifier: Notifier) -> Self {
        Self(notifier)
    }

    /// Makes the kernel ask again about what has changed. Pages of files are
    /// never among it: whether those are outdated is found out when the file
    /// is opened, and they may be newer than anything we have seen.
    pub fn tell(&self, change: &Change) {
        // An error says that the kernel knows no such thing, or has gone.
        let _told = match change {
            Change::Name(dir, name) => self
                .0
                .inval_entry(INodeNo(dir.get()), OsStr::from_bytes(name.bytes())),
            Change::Attributes(ino) => self.0.inval_inode(INodeNo(ino.get()), NO_PAGES, 0),
            Change::Listing(dir) => self.0.inval_inode(INodeNo(dir.get()), 0, 0),
        };
    }
}
