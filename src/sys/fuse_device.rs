//! `/dev/fuse` seen from a running mount.

use std::os::fd::BorrowedFd;

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::fs::{Mode, OFlags};

/// Whether this process may open `/dev/fuse` once more, which giving each
/// reader thread a descriptor of its own takes. An ordinary user whose mount
/// was made by `fusermount3` may lack the right.
#[must_use]
pub fn can_reopen() -> bool {
    rustix::fs::open("/dev/fuse", OFlags::RDWR | OFlags::CLOEXEC, Mode::empty()).is_ok()
}

/// Whether reading `/dev/fuse` would return at once.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Pending {
    /// A request is waiting, or the connection has ended.
    Request,
    /// It would sleep.
    Nothing,
}

/// Looks without waiting; poll(2).
#[must_use]
pub fn pending(device: BorrowedFd<'_>) -> Pending {
    let now = Timespec {
        tv_sec: 0,
        tv_nsec: 0,
    };
    match poll(
        &mut [PollFd::from_borrowed_fd(device, PollFlags::IN)],
        Some(&now),
    ) {
        Ok(0) => Pending::Nothing,
        // What is wrong is for the reader to find.
        Ok(_) | Err(_) => Pending::Request,
    }
}
