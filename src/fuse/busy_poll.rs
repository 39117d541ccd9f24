//! Waiting awake for the next request. A thread that sleeps in read(2) must be
//! woken, and where the processor has gone idle that takes longer than most
//! requests do themselves, above all in a virtual machine. So whoever has just
//! answered looks for the next request for a moment before it goes to sleep.
//!
//! **Locks**: none. Only the last to answer looks; it yields the processor each
//! time, and nobody looks for a while once nothing came of it.

use std::os::fd::{AsFd, OwnedFd};
use std::sync::atomic::{AtomicU32, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use crate::sys::fuse_device::{self, Pending};

/// How long to look. A program that works through small files asks again well
/// within it.
const LOOK_FOR: Duration = Duration::from_micros(50);

/// Having found nothing so many times in a row, whoever waits sleeps ...
const GIVE_UP_AFTER: u32 = 8;

/// ... but for one time in so many.
const TRY_ONE_IN: u32 = 16;

/// Looks for the next request of one connection.
#[derive(Debug)]
pub(super) struct BusyPoll {
    device: OwnedFd,
    /// Who looks: the one that took this number.
    turn: AtomicU32,
    /// How often in a row nothing was found.
    misses: AtomicU32,
}

/// Looks for the next request when it is dropped: to be made before a reply is
/// sent, in the same block, by what programs do file by file.
#[must_use]
pub(super) struct AfterReply<'a>(&'a BusyPoll);

impl Drop for AfterReply<'_> {
    fn drop(&mut self) {
        self.0.wait();
    }
}

impl BusyPoll {
    /// For the connection behind `device`, an open `/dev/fuse`.
    pub(super) fn new(device: OwnedFd) -> Self {
        Self {
            device,
            turn: AtomicU32::new(0),
            misses: AtomicU32::new(0),
        }
    }

    pub(super) fn after_reply(&self) -> AfterReply<'_> {
        AfterReply(self)
    }

    /// Returns when there is a request to be read, or not for a while.
    fn wait(&self) {
        let misses = self.misses.load(Ordering::Relaxed);
        if misses >= GIVE_UP_AFTER && !misses.is_multiple_of(TRY_ONE_IN) {
            self.misses.store(misses.wrapping_add(1), Ordering::Relaxed);
            return;
        }
        let turn = self.turn.fetch_add(1, Ordering::Relaxed).wrapping_add(1);
        match self.look(turn) {
            Some(Pending::Request) => self.misses.store(0, Ordering::Relaxed),
            Some(Pending::Nothing) => self.misses.store(misses.wrapping_add(1), Ordering::Relaxed),
            None => {}
        }
    }

    /// What there was to be found; `None` if somebody has answered since.
    fn look(&self, turn: u32) -> Option<Pending> {
        let began = Instant::now();
        while self.turn.load(Ordering::Relaxed) == turn {
            match fuse_device::pending(self.device.as_fd()) {
                Pending::Nothing if began.elapsed() < LOOK_FOR => thread::yield_now(),
                found @ (Pending::Request | Pending::Nothing) => return Some(found),
            }
        }
        None
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a failed test may panic")]
    use std::io::{PipeWriter, Write, pipe};

    use super::*;

    fn connection() -> (BusyPoll, PipeWriter) {
        let (device, requests) = pipe().unwrap();
        (BusyPoll::new(device.into()), requests)
    }

    fn misses(poll: &BusyPoll) -> u32 {
        poll.misses.load(Ordering::Relaxed)
    }

    #[test]
    fn a_request_that_is_there_is_found() {
        let (poll, mut requests) = connection();
        drop(poll.after_reply());
        assert_eq!(misses(&poll), 1);
        requests.write_all(b"x").unwrap();
        drop(poll.after_reply());
        assert_eq!(misses(&poll), 0);
    }

    #[test]
    fn whoever_is_not_the_last_to_answer_finds_nothing() {
        let (poll, mut requests) = connection();
        requests.write_all(b"x").unwrap();
        drop(poll.after_reply());
        let turn = poll.turn.load(Ordering::Relaxed);
        assert_eq!(poll.look(turn), Some(Pending::Request));
        drop(poll.after_reply());
        assert_eq!(poll.look(turn), None);
    }

    #[test]
    fn the_end_of_the_connection_is_found() {
        let (poll, requests) = connection();
        drop(requests);
        drop(poll.after_reply());
        assert_eq!(misses(&poll), 0);
    }

    #[test]
    fn where_nothing_ever_comes_few_look_and_one_still_finds() {
        let (poll, mut requests) = connection();
        let looks = |count: u32| {
            let before = poll.turn.load(Ordering::Relaxed);
            for _ in 0..count {
                drop(poll.after_reply());
            }
            poll.turn.load(Ordering::Relaxed) - before
        };
        assert_eq!(looks(GIVE_UP_AFTER), GIVE_UP_AFTER);
        assert_eq!(looks(10 * TRY_ONE_IN), 10);
        requests.write_all(b"x").unwrap();
        assert!(looks(TRY_ONE_IN) >= 1);
        assert_eq!((misses(&poll), looks(3)), (0, 3), "all look again");
    }
}
