//! The choke point: every call that changes the backing passes `mutate` or
//! `mutate_write`, where tests can make it fail. Without the feature
//! `fault-injection`, and outside of tests, nothing but the call remains.

use std::io;

/// The kinds of change, one per system call family. Making things durable
/// counts as a change: it fails in the same ways and is a point to crash at.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mutation {
    /// openat(2) with `O_CREAT`
    CreateFile,
    /// mkdirat(2)
    MakeDir,
    /// symlinkat(2)
    MakeSymlink,
    /// mknodat(2)
    MakeNode,
    /// linkat(2)
    Link,
    /// unlinkat(2)
    Unlink,
    /// unlinkat(2) with `AT_REMOVEDIR`
    RemoveDir,
    /// renameat2(2)
    Rename,
    /// pwritev(2)
    Write,
    /// ftruncate(2)
    Truncate,
    /// fallocate(2) with `FALLOC_FL_PUNCH_HOLE`
    PunchHole,
    /// fallocate(2)
    Allocate,
    /// fsync(2) and fdatasync(2)
    Sync,
    /// fchmodat(2)
    SetMode,
    /// fchownat(2)
    SetOwner,
    /// utimensat(2)
    SetTimes,
    /// setxattr(2)
    SetXattr,
    /// removexattr(2)
    RemoveXattr,
}

/// Performs one change.
pub(super) fn mutate<T>(
    op: Mutation,
    call: impl FnOnce() -> rustix::io::Result<T>,
) -> io::Result<T> {
    match verdict(op) {
        Verdict::Fail(error) => Err(error),
        Verdict::Go | Verdict::Short(_) => Ok(call()?),
    }
}

/// Performs one write; `call` gets the number of bytes it may write at most.
pub(super) fn mutate_write(
    call: impl FnOnce(usize) -> rustix::io::Result<usize>,
) -> io::Result<usize> {
    match verdict(Mutation::Write) {
        Verdict::Fail(error) => Err(error),
        Verdict::Short(limit) => Ok(call(limit)?),
        Verdict::Go => Ok(call(usize::MAX)?),
    }
}

enum Verdict {
    Go,
    #[cfg_attr(
        not(any(test, feature = "fault-injection")),
        allow(dead_code, reason = "only injected faults shorten a write")
    )]
    Short(usize),
    #[cfg_attr(
        not(any(test, feature = "fault-injection")),
        allow(dead_code, reason = "only injected faults refuse a call")
    )]
    Fail(io::Error),
}

#[cfg(not(any(test, feature = "fault-injection")))]
#[inline(always)]
fn verdict(_op: Mutation) -> Verdict {
    Verdict::Go
}

#[cfg(any(test, feature = "fault-injection"))]
fn verdict(op: Mutation) -> Verdict {
    faults::verdict(op)
}

/// What was written to files and what was flushed, in order, for tests that
/// work out what a power cut may leave.
#[cfg(any(test, feature = "fault-injection"))]
pub mod record {
    use std::cell::RefCell;

    /// One change of one file's bytes.
    #[derive(Clone, Debug, PartialEq, Eq)]
    pub enum Event {
        /// Bytes were written from here on.
        Write(u64, Vec<u8>),
        /// The length was set.
        Truncate(u64),
        /// So many bytes from here on were freed.
        Punch(u64, u64),
        /// Everything before is safe.
        Sync,
    }

    thread_local! {
        static EVENTS: RefCell<Option<Vec<(u64, Event)>>> = const { RefCell::new(None) };
    }

    /// Begins to record what this thread does.
    pub fn begin() {
        EVENTS.with_borrow_mut(|events| *events = Some(Vec::new()));
    }

    /// Ends it; each event with the inode number of its file.
    #[must_use]
    pub fn end() -> Vec<(u64, Event)> {
        EVENTS.with_borrow_mut(Option::take).unwrap_or_default()
    }

    pub(in crate::sys::fs) fn note(ino: impl FnOnce() -> u64, event: impl FnOnce() -> Event) {
        EVENTS.with_borrow_mut(|events| {
            if let Some(events) = events {
                events.push((ino(), event()));
            }
        });
    }
}

/// Faults on order, for tests.
#[cfg(any(test, feature = "fault-injection"))]
pub mod faults {
    use std::cell::RefCell;
    use std::io;
    use std::sync::Arc;

    use parking_lot::{Mutex, MutexGuard};

    use super::{Mutation, Verdict};

    /// What happens to the chosen call.
    #[derive(Clone, Copy, Debug, PartialEq, Eq)]
    pub enum Fault {
        /// It changes nothing and fails with this errno.
        Fail(i32),
        /// If it is a write, it writes at most so many bytes.
        ShortWrite(usize),
        /// If it is a write, it writes at most so many bytes, and the next
        /// call of the plan's kind fails with this errno.
        Torn(usize, i32),
    }

    /// What happens to the calls after it.
    #[derive(Clone, Copy, Debug, PartialEq, Eq)]
    pub enum After {
        /// They work again.
        Recover,
        /// They change nothing and fail with `EIO`, as if the process had been killed.
        Stop,
    }

    /// One fault: which call, what happens to it, and what follows.
    #[derive(Clone, Copy, Debug)]
    pub struct Plan {
        /// Calls that pass before the fault; `u64::MAX` only counts.
        pub skip: u64,
        /// Counts and hits only this kind; `None` counts all.
        pub only: Option<Mutation>,
        /// The fault.
        pub fault: Fault,
        /// What follows.
        pub after: After,
    }

    impl Plan {
        /// Whatever change comes after `passed` others meets `fault`.
        #[must_use]
        pub fn at(passed: u64, fault: Fault, after: After) -> Self {
            Self {
                skip: passed,
                only: None,
                fault,
                after,
            }
        }

        /// A kill after `passed` changes: all later ones fail.
        #[must_use]
        pub fn kill_after(passed: u64) -> Self {
            Self::at(passed, Fault::Fail(libc::EIO), After::Stop)
        }

        /// The first change of kind `op` fails with `errno`, once.
        #[must_use]
        pub fn fail(op: Mutation, errno: i32) -> Self {
            Self {
                skip: 0,
                only: Some(op),
                fault: Fault::Fail(errno),
                after: After::Recover,
            }
        }
    }

    /// Whose calls are counted.
    #[derive(Clone, Copy, Debug, PartialEq, Eq)]
    pub enum Scope {
        /// The arming thread's.
        Thread,
        /// Every thread's. Arming waits until no other such plan is armed.
        Process,
    }

    struct State {
        plan: Plan,
        seen: u64,
        fired: bool,
    }

    type Shared = Arc<Mutex<State>>;

    thread_local! {
        static OF_THREAD: RefCell<Option<Shared>> = const { RefCell::new(None) };
    }
    static OF_PROCESS: Mutex<Option<Shared>> = Mutex::new(None);
    static ONE_AT_A_TIME: Mutex<()> = Mutex::new(());

    /// An armed plan; dropping it disarms.
    pub struct Armed {
        state: Shared,
        turn: Option<MutexGuard<'static, ()>>,
    }

    impl Armed {
        /// How many changes of the plan's kind were asked for so far.
        #[must_use]
        pub fn seen(&self) -> u64 {
            self.state.lock().seen
        }

        /// Whether the fault has happened.
        #[must_use]
        pub fn fired(&self) -> bool {
            self.state.lock().fired
        }
    }

    impl Drop for Armed {
        fn drop(&mut self) {
            if self.turn.is_some() {
                *OF_PROCESS.lock() = None;
            } else {
                OF_THREAD.with_borrow_mut(|slot| *slot = None);
            }
        }
    }

    /// Arms `plan` until the returned value is dropped.
    #[must_use]
    pub fn arm(scope: Scope, plan: Plan) -> Armed {
        let state = Arc::new(Mutex::new(State {
            plan,
            seen: 0,
            fired: false,
        }));
        let turn = match scope {
            Scope::Thread => {
                OF_THREAD.with_borrow_mut(|slot| *slot = Some(Arc::clone(&state)));
                None
            }
            Scope::Process => {
                let turn = ONE_AT_A_TIME.lock();
                *OF_PROCESS.lock() = Some(Arc::clone(&state));
                Some(turn)
            }
        };
        Armed { state, turn }
    }

    pub(super) fn verdict(op: Mutation) -> Verdict {
        let armed = OF_THREAD
            .with_borrow(Clone::clone)
            .or_else(|| OF_PROCESS.lock().clone());
        let Some(armed) = armed else {
            return Verdict::Go;
        };
        let mut state = armed.lock();
        if state.fired && state.plan.after == After::Stop {
            return Verdict::Fail(io::Error::from_raw_os_error(libc::EIO));
        }
        if state.plan.only.is_some_and(|only| only != op) {
            return Verdict::Go;
        }
        let number = state.seen;
        state.seen += 1;
        let fail = |errno| Verdict::Fail(io::Error::from_raw_os_error(errno));
        match state.plan.fault {
            Fault::Torn(limit, _) if number == state.plan.skip => Verdict::Short(limit),
            Fault::Torn(_, errno) if number.checked_sub(1) == Some(state.plan.skip) => {
                state.fired = true;
                fail(errno)
            }
            Fault::Fail(errno) if number == state.plan.skip => {
                state.fired = true;
                fail(errno)
            }
            Fault::ShortWrite(limit) if number == state.plan.skip => {
                state.fired = true;
                Verdict::Short(limit)
            }
            Fault::Torn(..) | Fault::Fail(_) | Fault::ShortWrite(_) => Verdict::Go,
        }
    }
}
