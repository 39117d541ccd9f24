//! Runs a request so that a defect costs that request alone.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::time::Instant;

use fuser::Errno;

use super::counters::{Counter, Counters};
use super::errno::{BadRequest, Refusal, errno};
use crate::view::FsError;

/// Runs `work`. A panic becomes [`BadRequest::Panicked`]: only this request
/// fails, the thread and the mount live on. The view's locks do not poison,
/// and each of its operations leaves its tables whole at every step that can
/// panic, so going on is sound (architecture rule 9).
pub(super) fn guarded<T>(
    counters: &Counters,
    counter: &Counter,
    work: impl FnOnce() -> Result<T, Refusal>,
) -> Result<T, Errno> {
    counter.hit();
    let began = Instant::now();
    let outcome = catch_unwind(AssertUnwindSafe(work)).unwrap_or_else(|_panic| {
        counters.panicked.hit();
        tracing::error!(
            request = counter.name(),
            "a request met a defect and was answered EIO"
        );
        Err(BadRequest::Panicked.into())
    });
    counter.took(began.elapsed());
    outcome.map_err(|refusal| {
        if !matches!(refusal, Refusal::View(FsError::NotFound)) {
            counters.refused.hit();
        }
        errno(&refusal)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_panicking_request_is_answered_with_eio_and_counted() {
        let counters = Counters::new();
        let outcome: Result<(), Errno> = guarded(&counters, &counters.write, || {
            panic!("a defect, on purpose")
        });
        assert_eq!(outcome.map_err(Errno::code), Err(libc::EIO));
        assert_eq!((counters.panicked(), counters.refused()), (1, 1));
    }

    #[test]
    fn a_missing_name_is_no_refusal() {
        let counters = Counters::new();
        let outcome: Result<(), Errno> =
            guarded(
                &counters,
                &counters.unlink,
                || Err(FsError::NotFound.into()),
            );
        assert_eq!(outcome.map_err(Errno::code), Err(libc::ENOENT));
        assert_eq!(counters.refused(), 0);
    }
}
