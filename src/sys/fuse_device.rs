//! `/dev/fuse` seen from a running mount.

use rustix::fs::{Mode, OFlags};

/// Whether this process may open `/dev/fuse` once more, which giving each
/// reader thread a descriptor of its own takes. An ordinary user whose mount
/// was made by `fusermount3` may lack the right.
#[must_use]
pub fn can_reopen() -> bool {
    rustix::fs::open("/dev/fuse", OFlags::RDWR | OFlags::CLOEXEC, Mode::empty()).is_ok()
}
