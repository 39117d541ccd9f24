//! Who works on a run: the thread that has it, and those of rayon's pool that
//! other large runs leave free.

use std::sync::atomic::{AtomicUsize, Ordering};

use super::Workers;
use super::run::Run;

/// Least plaintext worth a thread's while, in bytes.
const BYTES_PER_SHARE: usize = 64 * 1024;

/// Large runs in work now, in all threads.
static IN_WORK: AtomicUsize = AtomicUsize::new(0);

/// Those who work on one run.
pub(super) struct Crew {
    workers: Workers,
    /// How many neighbouring slots each of them takes; never 0.
    pub(super) share: usize,
}

impl Crew {
    pub(super) fn of(run: Run, workers: Workers) -> Self {
        let least = BYTES_PER_SHARE.div_ceil(run.g.slot_size());
        let count = match workers {
            Workers::One => 1,
            Workers::Rayon => {
                let cores = rayon::current_num_threads();
                let in_work = IN_WORK.fetch_add(1, Ordering::Relaxed) + 1;
                free_for_each(cores, in_work)
            }
        };
        Self {
            workers,
            share: run.slots().div_ceil(count).max(least),
        }
    }

    /// Does `work` on each of `pieces`, which are a share each, and puts the
    /// results together in their order; `None` if there are no pieces. The calling
    /// thread takes the first and waits for the others.
    pub(super) fn each<P: Send, R: Send>(
        &self,
        mut pieces: impl Iterator<Item = P>,
        work: impl Fn(usize, P) -> R + Sync,
        combine: impl Fn(R, R) -> R,
    ) -> Option<R> {
        let own = pieces.next()?;
        let others: Vec<P> = pieces.collect();
        if others.is_empty() {
            return Some(work(0, own));
        }
        let mut results: Vec<Option<R>> = others.iter().map(|_| None).collect();
        let own = rayon::in_place_scope(|scope| {
            for ((index, piece), result) in (1..).zip(others).zip(&mut results) {
                let work = &work;
                scope.spawn(move |_| *result = Some(work(index, piece)));
            }
            work(0, own)
        });
        Some(results.into_iter().flatten().fold(own, combine))
    }
}

impl Drop for Crew {
    fn drop(&mut self) {
        match self.workers {
            Workers::One => {}
            Workers::Rayon => {
                IN_WORK.fetch_sub(1, Ordering::Relaxed);
            }
        }
    }
}

/// How many of `cores` each of so many runs can have.
fn free_for_each(cores: usize, in_work: usize) -> usize {
    (cores / in_work.max(1)).max(1)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_large_run_has_all_cores_and_many_have_one_each() {
        let cases = [(1, 1, 1), (2, 1, 2), (2, 2, 1), (16, 3, 5), (16, 40, 1)];
        for (cores, in_work, each) in cases {
            assert_eq!(free_for_each(cores, in_work), each, "{cores}, {in_work}");
        }
    }

    #[test]
    fn results_are_put_together_in_order() {
        let crew = Crew {
            workers: Workers::One,
            share: 1,
        };
        let joined = |pieces: &str| {
            crew.each(
                pieces.chars(),
                |index, piece| format!("{index}{piece}"),
                |a, b| a + &b,
            )
        };
        assert_eq!(joined(""), None);
        assert_eq!(joined("a"), Some("0a".to_owned()));
        assert_eq!(joined("abcde"), Some("0a1b2c3d4e".to_owned()));
    }
}
