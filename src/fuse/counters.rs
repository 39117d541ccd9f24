//! How many requests of each kind the kernel sent; what `status` shows.

use std::sync::atomic::{AtomicU64, Ordering};

/// One kind of request: its name, fit for a log, and how often it came.
#[derive(Debug)]
pub struct Counter {
    name: &'static str,
    hits: AtomicU64,
}

impl Counter {
    const fn new(name: &'static str) -> Self {
        Self {
            name,
            hits: AtomicU64::new(0),
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

    pub(super) fn hit(&self) {
        self.hits.fetch_add(1, Ordering::Relaxed);
    }
}

macro_rules! counters {
    ($($name:ident)*) => {
        /// Counts since the mount began. Each is a relaxed atomic: exact in
        /// sum, without order between them.
        #[derive(Debug)]
        pub struct Counters {
            $(pub(super) $name: Counter,)*
        }

        impl Counters {
            /// All zero.
            #[must_use]
            pub const fn new() -> Self {
                Self { $($name: Counter::new(stringify!($name)),)* }
            }

            /// Every counter, in the order of the list in this file.
            pub fn iter(&self) -> impl Iterator<Item = &Counter> {
                [$(&self.$name,)*].into_iter()
            }
        }
    };
}

counters! {
    lookup negative forget getattr setattr readlink symlink mknod mkdir unlink rmdir rename link
    open create read write flush fsync release
    opendir readdir readdirplus releasedir fsyncdir statfs
    setxattr getxattr listxattr removexattr access
    getlk setlk bmap ioctl poll fallocate lseek copy_file_range
    refused panicked
}

impl Counters {
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
            .iter()
            .filter(|c| c.hits() > 0)
            .map(|c| (c.name(), c.hits()))
            .collect();
        assert_eq!(seen, [("read", 2), ("panicked", 1)]);
        assert_eq!((counters.refused(), counters.panicked()), (0, 1));
    }
}
