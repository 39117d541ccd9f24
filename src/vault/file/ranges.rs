//! Locks over ranges of chunks: requests on different chunks of one file run
//! side by side, requests on the same chunk one after another.

use parking_lot::{Condvar, Mutex};

use crate::types::ChunkNo;

/// Fair reader-writer locks over ranges of chunk numbers.
///
/// A request waits for every earlier request that it conflicts with, and for
/// no other, so nobody starves. Only a handful of requests are ever in flight
/// for one file; a linear scan beats a tree.
#[derive(Debug, Default)]
pub struct RangeLock {
    queue: Mutex<Queue>,
    left: Condvar,
}

#[derive(Debug, Default)]
struct Queue {
    next_ticket: u64,
    /// Holders and waiters in order of arrival.
    requests: Vec<Request>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Mode {
    Shared,
    Exclusive,
}

#[derive(Clone, Copy, Debug)]
struct Request {
    ticket: u64,
    first: ChunkNo,
    last: ChunkNo,
    mode: Mode,
}

impl Request {
    fn conflicts_with(&self, other: &Self) -> bool {
        self.first <= other.last
            && other.first <= self.last
            && (self.mode == Mode::Exclusive || other.mode == Mode::Exclusive)
    }
}

/// The right to work on a range; ends when dropped.
#[derive(Debug)]
pub struct RangeGuard<'a> {
    lock: &'a RangeLock,
    ticket: u64,
}

impl RangeLock {
    /// The chunk number that only holders of a file's tail include.
    pub const END: ChunkNo = ChunkNo::new(u64::MAX);

    /// Waits until nobody changes chunks `first..=last`.
    pub fn shared(&self, first: ChunkNo, last: ChunkNo) -> RangeGuard<'_> {
        self.acquire(first, last, Mode::Shared)
    }

    /// Waits until nobody uses chunks `first..=last`.
    pub fn exclusive(&self, first: ChunkNo, last: ChunkNo) -> RangeGuard<'_> {
        self.acquire(first, last, Mode::Exclusive)
    }

    /// The tail lock: chunk `first` and everything after it. Whoever changes
    /// the length of a file or its last chunk holds it.
    pub fn tail(&self, first: ChunkNo) -> RangeGuard<'_> {
        self.exclusive(first, Self::END)
    }

    fn acquire(&self, first: ChunkNo, last: ChunkNo, mode: Mode) -> RangeGuard<'_> {
        let mut queue = self.queue.lock();
        let ticket = queue.next_ticket;
        queue.next_ticket += 1;
        let mine = Request {
            ticket,
            first,
            last,
            mode,
        };
        queue.requests.push(mine);
        while queue
            .requests
            .iter()
            .take_while(|r| r.ticket != ticket)
            .any(|r| r.conflicts_with(&mine))
        {
            self.left.wait(&mut queue);
        }
        RangeGuard { lock: self, ticket }
    }
}

impl Drop for RangeGuard<'_> {
    fn drop(&mut self) {
        let mut queue = self.lock.queue.lock();
        queue.requests.retain(|r| r.ticket != self.ticket);
        if !queue.requests.is_empty() {
            self.lock.left.notify_all();
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicU64, Ordering};

    use super::*;

    const fn c(n: u64) -> ChunkNo {
        ChunkNo::new(n)
    }

    #[test]
    fn readers_share_and_other_ranges_do_not_wait() {
        let lock = RangeLock::default();
        let _a = lock.shared(c(0), c(5));
        let _b = lock.shared(c(3), c(9));
        let _c = lock.exclusive(c(10), c(11));
        let _d = lock.tail(c(12));
    }

    #[test]
    fn overlapping_writers_exclude_each_other() {
        let lock = RangeLock::default();
        let inside = AtomicU64::new(0);
        std::thread::scope(|scope| {
            for n in 0..4_u64 {
                let (lock, inside) = (&lock, &inside);
                scope.spawn(move || {
                    for _ in 0..500 {
                        let _guard = lock.exclusive(c(n), c(n + 4));
                        assert_eq!(inside.fetch_add(1, Ordering::SeqCst), 0);
                        inside.fetch_sub(1, Ordering::SeqCst);
                    }
                });
            }
        });
        assert!(lock.queue.lock().requests.is_empty());
    }

    #[test]
    fn a_waiting_writer_is_not_overtaken_by_later_readers() {
        let lock = RangeLock::default();
        let order = Mutex::new(Vec::new());
        let first = lock.shared(c(0), c(0));
        std::thread::scope(|scope| {
            scope.spawn(|| {
                let _guard = lock.exclusive(c(0), c(0));
                order.lock().push("writer");
            });
            while lock.queue.lock().requests.len() < 2 {
                std::thread::yield_now();
            }
            scope.spawn(|| {
                let _guard = lock.shared(c(0), c(0));
                order.lock().push("reader");
            });
            while lock.queue.lock().requests.len() < 3 {
                std::thread::yield_now();
            }
            drop(first);
        });
        assert_eq!(*order.lock(), ["writer", "reader"]);
    }
}
