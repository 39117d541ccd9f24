//! What a daemon tells of the requests it served: how many of each kind came,
//! and how long they took inside it. Counted by `fuse/counters.rs`.

use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::fuse::counters::{Counter, Counters};

/// Everything since the mount began.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Statistics {
    /// Kinds of requests that came at least once.
    pub operations: Vec<Operation>,
    /// Lookups that found nothing.
    pub negative_lookups: u64,
    /// Requests that ended in an error, other than a name that does not exist.
    pub refused: u64,
}

/// One kind of request.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Operation {
    /// FUSE's name of it, in lower case.
    pub name: String,
    /// How many came.
    pub count: u64,
    /// What all of them took together, in nanoseconds.
    pub total_ns: u64,
    /// How many took less than 1, 2, 4, 8, ... microseconds, but not less than
    /// half of that; in the last, those that took longer than any.
    pub under_us: Vec<u64>,
}

impl Statistics {
    /// What the counters show now.
    #[must_use]
    pub fn of(counters: &Counters) -> Self {
        Self {
            operations: counters
                .requests()
                .filter(|counter| counter.hits() > 0)
                .map(Operation::of)
                .collect(),
            negative_lookups: counters.negative(),
            refused: counters.refused(),
        }
    }
}

impl Operation {
    fn of(counter: &Counter) -> Self {
        Self {
            name: counter.name().to_owned(),
            count: counter.hits(),
            total_ns: counter.total_ns(),
            under_us: counter.under_us(),
        }
    }

    /// Those whose time is known: a request that is refused unseen has none.
    fn timed(&self) -> u64 {
        self.under_us.iter().sum()
    }

    /// What one took on average.
    #[must_use]
    pub fn mean(&self) -> Option<Duration> {
        let mean = self.total_ns.checked_div(self.timed())?;
        Some(Duration::from_nanos(mean))
    }

    /// What `per_mille` of a thousand took less than, to the next power of two of
    /// microseconds.
    #[must_use]
    pub fn below(&self, per_mille: u64) -> Option<Duration> {
        let wanted = (self.timed() * per_mille).div_ceil(1000).max(1);
        let mut seen = 0;
        let bucket = self.under_us.iter().position(|&count| {
            seen += count;
            seen >= wanted
        })?;
        let bucket = u32::try_from(bucket).ok()?;
        Some(Duration::from_micros(1_u64.checked_shl(bucket)?))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn operation(under_us: &[u64]) -> Operation {
        Operation {
            name: "read".to_owned(),
            count: under_us.iter().sum(),
            total_ns: 9_000,
            under_us: under_us.to_vec(),
        }
    }

    #[test]
    fn percentiles_are_the_bounds_of_their_buckets() {
        let one = operation(&[0, 5, 4, 1]);
        let us = |n| Some(Duration::from_micros(n));
        assert_eq!(one.below(500), us(2));
        assert_eq!(one.below(501), us(4));
        assert_eq!(one.below(900), us(4));
        assert_eq!(one.below(990), us(8));
        assert_eq!(one.mean(), Some(Duration::from_nanos(900)));
    }

    #[test]
    fn what_was_never_timed_has_no_times() {
        let none = operation(&[0, 0]);
        assert_eq!((none.mean(), none.below(500)), (None, None));
    }
}
