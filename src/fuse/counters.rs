//! How many requests of each kind the kernel sent and how long they took; what
//! `status` shows. Always on: three relaxed additions and two readings of the
//! clock a request.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

/// Times are told apart by powers of two of microseconds, up to 8 seconds and
/// above.
const BUCKETS: usize = 25;

/// One kind of request: its name, fit for a log, how often it came, and how
/// long it took from being decoded to having an answer.
#[derive(Debug)]
pub struct Counter {
    name: &'static str,
    hits: AtomicU64,
    total_ns: AtomicU64,
    buckets: [AtomicU64; BUCKETS],
}

impl Counter {
    const fn new(name: &'static str) -> Self {
        Self {
            name,
            hits: AtomicU64::new(0),
            total_ns: AtomicU64::new(0),
            buckets: [const { AtomicU64::new(0) }; BUCKETS],
        }
    }

    /// The name of the request, in FUSE's spelling and lower case.
    #[must_use]
    pub const fn name(&self) -> &'static str {
        self.name
    }

    /// How often it came since the mount began.
    #[must_use]
    pub fn hits(&self) -> u64 {
        self.hits.load(Ordering::Relaxed)
    }

    /// What all of them took together, in nanoseconds.
    #[must_use]
    pub fn total_ns(&self) -> u64 {
        self.total_ns.load(Ordering::Relaxed)
    }

    /// How many took less than 1, 2, 4, 8, ... microseconds, but not less than
    /// half of that; in the last, those that took longer than any.
    #[must_use]
    pub fn under_us(&self) -> Vec<u64> {
        let load = |bucket: &AtomicU64| bucket.load(Ordering::Relaxed);
        self.buckets.iter().map(load).collect()
    }

    pub(super) fn hit(&self) {
        self.hits.fetch_add(1, Ordering::Relaxed);
    }

    pub(super) fn took(&self, time: Duration) {
        let ns = u64::try_from(time.as_nanos()).unwrap_or(u64::MAX);
        self.total_ns.fetch_add(ns, Ordering::Relaxed);
        let bits = u64::BITS - (ns / 1000).leading_zeros();
        let bucket = usize::try_from(bits).map_or(BUCKETS - 1, |bits| bits.min(BUCKETS - 1));
        self.buckets[bucket].fetch_add(1, Ordering::Relaxed);
    }
}

macro_rules! counters {
    (requests: $($request:ident)*; outcomes: $($outcome:ident)*;) => {
        /// Counts since the mount began. Each is a relaxed atomic: exact in
        /// sum, without order between them.
        #[derive(Debug)]
        pub struct Counters {
            $(pub(super) $request: Counter,)*
            $(pub(super) $outcome: Counter,)*
        }

        impl Counters {
            /// All zero.
            #[must_use]
            pub const fn new() -> Self {
                Self {
                    $($request: Counter::new(stringify!($request)),)*
                    $($outcome: Counter::new(stringify!($outcome)),)*
                }
            }

            /// Every kind of request, in the order of the list in this file. What
            /// became of them is counted apart.
            pub fn requests(&self) -> impl Iterator<Item = &Counter> {
                [$(&self.$request,)*].into_iter()
            }
        }
    };
}

counters! {
    requests:
    lookup forget getattr setattr readlink symlink mknod mkdir unlink rmdir rename link
    open create read write flush fsync release
    opendir readdir readdirplus releasedir fsyncdir statfs
    setxattr getxattr listxattr removexattr access
    getlk setlk bmap ioctl poll fallocate lseek copy_file_range;
    outcomes:
    negative refused panicked;
}

impl Counters {
    /// Lookups that found nothing.
    #[must_use]
    pub fn negative(&self) -> u64 {
        self.negative.hits()
    }

    /// Requests that ended in an error, other than a name that does not exist.
    #[must_use]
    pub fn refused(&self) -> u64 {
        self.refused.hits()
    }

    /// Requests that hit a defect of keepfs and were answered EIO.
    #[must_use]
    pub fn panicked(&self) -> u64 {
        self.panicked.hits()
    }
}

impl Default for Counters {
    fn default() -> Self {
        Self::new()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_counter_counts_alone_under_its_own_name() {
        let counters = Counters::new();
        counters.read.hit();
        counters.read.hit();
        counters.panicked.hit();
        let seen: Vec<_> = counters
            .requests()
            .filter(|c| c.hits() > 0)
            .map(|c| (c.name(), c.hits()))
            .collect();
        assert_eq!(seen, [("read", 2)]);
        assert_eq!((counters.refused(), counters.panicked()), (0, 1));
    }

    #[test]
    fn times_fall_between_powers_of_two() {
        let counters = Counters::new();
        for (ns, bucket) in [(0, 0), (999, 0), (1000, 1), (1999, 1), (2000, 2), (8000, 4)] {
            let before = counters.read.under_us()[bucket];
            counters.read.took(Duration::from_nanos(ns));
            assert_eq!(counters.read.under_us()[bucket], before + 1, "{ns} ns");
        }
        counters.read.took(Duration::from_secs(3600));
        assert_eq!(counters.read.under_us().last(), Some(&1));
        assert_eq!(counters.read.total_ns(), 3_600_000_013_998);
    }
}
