//! Times: while a file is OPEN they wait, for what is written changes them.
//! FORMAT.md, modification time.

use std::time::Duration;

use super::{File, FileError, Phase, clock_now};
use crate::store::file::StoreFile;
use crate::types::{SetTime, Time};

/// Having stood for so long, which is more than a tick of the clock that times
/// files, an unsealed file may have been looked at. Sooner, a look is not worth
/// asking the backing for the file's times.
pub const SEEN_AFTER: Duration = Duration::from_millis(5);

/// More than the kernel waits before it flushes what was written.
const FLUSHED_WITHIN_SECS: i64 = 60;

/// Whose an mtime is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum MtimeOf {
    /// A write's, or a truncation's: the clock was read, and nobody minds if it
    /// was read a moment later.
    Write,
    /// Somebody chose it, as `cp -p` does.
    Choice,
}

/// Times set while the file is OPEN; applied after the seal.
#[derive(Clone, Copy, Debug)]
pub(super) struct PendingTimes {
    atime: SetTime,
    mtime: SetTime,
    mtime_of: MtimeOf,
}

impl PendingTimes {
    pub(super) const NONE: Self = Self {
        atime: SetTime::Omit,
        mtime: SetTime::Omit,
        mtime_of: MtimeOf::Write,
    };

    /// The contents changed now.
    pub(super) fn note_write(&mut self) {
        self.mtime = SetTime::At(clock_now());
        self.mtime_of = MtimeOf::Write;
    }

    fn set(&mut self, atime: SetTime, mtime: SetTime, of: MtimeOf) {
        if atime != SetTime::Omit {
            self.atime = resolve_now(atime);
        }
        if mtime == SetTime::Omit {
            return;
        }
        let mtime = resolve_now(mtime);
        // The kernel sends the time of a write again with a later ctime: after
        // a rename, for one.
        if mtime != self.mtime {
            self.mtime_of = of;
        }
        self.mtime = mtime;
    }

    /// The file `showed` this mtime with other bytes: the time of a write becomes
    /// later, if it is not. Not later than now; and not where the backing keeps
    /// whole seconds, which a nanosecond more would leave the same.
    pub(super) fn become_later_than(&mut self, showed: Time) {
        if let (SetTime::At(mtime), MtimeOf::Write) = (self.mtime, self.mtime_of)
            && showed.nanos != 0
        {
            self.mtime = SetTime::At(mtime.max(showed.next().min(clock_now())));
        }
    }

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

impl File {
    /// Times the mount shows instead of the backing's, while the file is open.
    #[must_use]
    pub fn pending_times(&self) -> (SetTime, SetTime) {
        let times = self.state.lock().times;
        (times.atime, times.mtime)
    }

    /// Sets times: at once on an unchanged file, after the seal on a changed one.
    ///
    /// # Errors
    /// The backing's.
    pub fn set_times(&self, atime: SetTime, mtime: SetTime, of: MtimeOf) -> Result<(), FileError> {
        let mut state = self.state.lock();
        match state.phase {
            Phase::Clean => Ok(self.store()?.set_times(atime, mtime)?),
            Phase::Changed => {
                state.times.set(atime, mtime, of);
                Ok(())
            }
        }
    }

    /// It was created, and the backing shows this mtime: until it is sealed it
    /// keeps one from just before. So nothing that a sync client may see of the
    /// file meanwhile looks newer than what it becomes, or the same. Not where
    /// the backing keeps whole seconds, as over SFTP: there each look at a time
    /// is a round trip, and the seconds are equal.
    pub fn born(&self, mtime: Time) {
        self.state.lock().held = (mtime.nanos != 0).then(|| mtime.a_microsecond_earlier());
    }

    /// Slots of a new file were written: back to its held mtime.
    pub(super) fn hold_mtime(&self) {
        let held = {
            let mut state = self.state.lock();
            let Some(held) = state.held else {
                return;
            };
            // Each content under a time of its own.
            state.held = Some(held.next());
            held
        };
        let set = |store: &StoreFile| store.set_times(SetTime::Omit, SetTime::At(held));
        if let Err(error) = self.store().and_then(|store| Ok(set(&store)?)) {
            tracing::debug!(%error, "a new file shows when it was written to");
        }
    }

    /// Shows on the backing that the file is about to change.
    pub(super) fn move_mtime(store: &StoreFile, to: Time) {
        match store.set_times(SetTime::Omit, SetTime::At(to)) {
            // Somebody else's file that we may write.
            Err(error) if error.raw_os_error() == Some(libc::EPERM) => {}
            Err(error) => tracing::debug!(%error, "the beginning of a change does not show"),
            Ok(()) => {}
        }
    }

    /// It `showed` this mtime with other bytes than it is about to be sealed
    /// with: the time of the last write, if that is what waits, becomes later.
    pub fn become_later_than(&self, showed: Time) {
        self.state.lock().times.become_later_than(showed);
    }
}

/// What the backing shows once changes wait of a file that had this mtime: a
/// later time, but earlier than any of the writes. Many clients go by whole
/// seconds; writes are told of when the kernel's cache is flushed, half a minute
/// later at most. A time that is still to come gives way to the clock's.
pub(super) fn begun_after(was: Time, now: Time) -> Time {
    if was > now {
        return now;
    }
    let second_later = Time {
        secs: was.secs.saturating_add(1),
        ..was
    };
    if second_later.secs < now.secs.saturating_sub(FLUSHED_WITHIN_SECS) {
        second_later
    } else {
        was.next()
    }
}

fn resolve_now(time: SetTime) -> SetTime {
    match time {
        SetTime::Now => SetTime::At(clock_now()),
        SetTime::Omit | SetTime::At(_) => time,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_change_begins_later_than_the_last_and_earlier_than_its_writes() {
        let at = |secs, nanos| Time { secs, nanos };
        let now = at(1_000_000, 5);
        assert_eq!(begun_after(at(1_000, 7), now), at(1_001, 7));
        assert_eq!(begun_after(at(-9, 7), now), at(-8, 7));
        assert_eq!(begun_after(at(999_970, 7), now), at(999_970, 8));
        assert_eq!(begun_after(at(999_970, 999_999_999), now), at(999_971, 0));
        // Of a clock that is ahead.
        assert_eq!(begun_after(at(2_000_000, 7), now), now);
    }

    #[test]
    fn only_the_time_of_a_write_gives_way() {
        let (early, late) = (Time { secs: 5, nanos: 1 }, Time { secs: 9, nanos: 1 });
        let mut times = PendingTimes::NONE;
        times.become_later_than(late);
        assert_eq!(times.mtime, SetTime::Omit);
        times.set(SetTime::Omit, SetTime::At(early), MtimeOf::Choice);
        times.become_later_than(late);
        assert_eq!(times.mtime, SetTime::At(early));
        times.note_write();
        times.set(SetTime::Omit, SetTime::At(early), MtimeOf::Write);
        // The kernel's, with the ctime of a rename.
        times.set(SetTime::Omit, SetTime::At(early), MtimeOf::Choice);
        times.become_later_than(Time { secs: 9, nanos: 0 });
        assert_eq!(times.mtime, SetTime::At(early), "of whole seconds");
        times.become_later_than(late);
        assert_eq!(times.mtime, SetTime::At(late.next()));
        times.become_later_than(Time {
            secs: i64::MAX,
            nanos: 1,
        });
        let SetTime::At(mtime) = times.mtime else {
            panic!("no time");
        };
        assert!(mtime > late.next() && mtime <= clock_now());
    }
}
