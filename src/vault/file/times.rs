//! Times that are set after the seal, whose write changes them.

use super::{FileError, PendingTimes};
use crate::store::file::StoreFile;
use crate::types::SetTime;

impl PendingTimes {
    /// Sets them, unless the backing shows them already as exactly as it can.
    pub(super) fn apply(self, store: &StoreFile) -> Result<(), FileError> {
        if self.stand(store)? {
            return Ok(());
        }
        match store.set_times(self.atime, self.mtime) {
            // Somebody else's file that we may write: its times are the
            // backing's own, which the header's write has just set.
            Err(error) if error.raw_os_error() == Some(libc::EPERM) => Ok(()),
            other => Ok(other?),
        }
    }

    /// A backing of whole seconds, as SFTP is, shows the second of a write that
    /// was just made: setting it would be one more round trip for the same.
    fn stand(self, store: &StoreFile) -> Result<bool, FileError> {
        if self.atime != SetTime::Omit {
            return Ok(false);
        }
        match self.mtime {
            SetTime::Omit => Ok(true),
            SetTime::Now => Ok(false),
            SetTime::At(wanted) => {
                let shown = store.stat()?.mtime;
                Ok(shown.nanos == 0 && shown.secs == wanted.secs)
            }
        }
    }
}
