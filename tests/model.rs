//! Random operations on a [`keepfs::view::View`] and on a simple reference in
//! memory must end in the same tree. A remount (a fresh view over the same
//! backing) is one of the operations. A failure prints the shortest sequence
//! found, as Rust.
//!
//! With `KEEPFS_TEST_BACKING=DIR` the vaults are below that directory, which may
//! be on any file system: `scripts/test-network` runs it over SFTP. What a backing
//! lacks must be refused and change nothing.

#![allow(
    clippy::unwrap_used,
    clippy::as_conversions,
    clippy::wildcard_enum_match_arm,
    missing_docs,
    reason = "a test"
)]

mod model {
    pub(crate) mod backing;
    pub(crate) mod ops;
    pub(crate) mod reference;
    pub(crate) mod subject;
}

use keepfs::codec::geometry::Geometry;
use keepfs::mount::Overwrites;
use keepfs::types::Time;
use keepfs::view::FsError;
use model::backing::Backing;
use model::ops::{Op, ops};
use model::reference::{Outcome, Reference};
use model::subject::Subject;
use proptest::prelude::*;

fn run(chunk_log2: u8, overwrites: Overwrites, sequence: &[Op]) {
    let geometry = Geometry::from_log2(chunk_log2).unwrap();
    let mut reference = Reference::new();
    let mut subject = Subject::new(geometry, overwrites);
    let backing = Backing::get();
    for (step, op) in sequence.iter().enumerate() {
        if !backing.forgets_open_files && reference.ends_held(op) {
            // What stays of it would keep its directory from being removed.
            subject.apply(&Op::Release, &reference);
            reference.apply(&Op::Release, geometry.chunk_size());
        }
        // The subject finds its objects by the tree as it is before the step.
        let found = subject.apply(op, &reference);
        if !backing.offers(op) {
            let refused = matches!(found, Outcome::Failed(_)) || reference.is_no_change(op);
            assert!(
                refused,
                "step {step}: {op:?} is not offered here: {found:?}"
            );
            continue;
        }
        let expected = reference.apply(op, geometry.chunk_size());
        assert_eq!(expected, found, "step {step}: {op:?}");
    }
    subject.remount();
    assert_eq!(reference.tree(), subject.tree(), "after the last remount");
}

proptest! {
    #![proptest_config(ProptestConfig {
        cases: cases(),
        max_shrink_iters: 4000,
        failure_persistence: None,
        ..ProptestConfig::default()
    })]

    #[test]
    fn random_operations_agree_with_the_reference_4k(sequence in ops()) {
        run(12, Overwrites::InPlace, &sequence);
    }

    #[test]
    fn random_operations_agree_with_the_reference_by_way_of_the_journal(sequence in ops()) {
        run(12, Overwrites::Journalled, &sequence);
    }

    #[test]
    fn random_operations_agree_with_the_reference_64k(sequence in ops()) {
        run(16, Overwrites::InPlace, &sequence);
    }
}

#[test]
fn a_time_flushed_to_a_file_that_was_replaced_fails_only_if_somebody_set_it() {
    let subject = Subject::new(Geometry::DEFAULT, Overwrites::Journalled);
    let (ino, mtime) = subject.make_and_replace_underneath();
    subject.set_mtime(ino, mtime).unwrap();
    let other = Time { secs: 1, ..mtime };
    let refused = subject.set_mtime(ino, other);
    assert!(matches!(refused, Err(FsError::Stale)), "{refused:?}");
}

/// Sequences per chunk size; `KEEPFS_MODEL_CASES` for longer runs.
fn cases() -> u32 {
    std::env::var("KEEPFS_MODEL_CASES")
        .ok()
        .and_then(|n| n.parse().ok())
        .unwrap_or(1000)
}

/// Sequences on which the two did not agree, as the random ones found them.
mod found {
    use super::model::ops::{Mode, Op, Size};
    use super::{Overwrites, run};

    const fn size(chunks: u64, bytes: i64) -> Size {
        Size { chunks, bytes }
    }

    #[test]
    fn what_the_journal_has_of_a_deleted_file_is_read_while_it_is_open() {
        let sequence = [
            Op::Create(0, 2),
            Op::Write(0, 2, size(3, 0), size(0, 1), 0),
            Op::Hold(0, 2),
            Op::WriteHeld(size(1, 0), size(4, 0), 0),
            Op::Unlink(0, 2),
            Op::AnnounceIdle,
            Op::ReadHeld(size(0, 0), size(1, 1)),
        ];
        run(12, Overwrites::Journalled, &sequence);
    }

    #[test]
    fn a_file_with_changes_in_the_journal_is_found_where_its_directory_went() {
        let sequence = [
            Op::Mkdir(0, 4),
            Op::Create(1, 3),
            Op::Write(1, 3, size(0, 0), size(0, 1), 0),
            Op::Write(1, 3, size(0, 0), size(0, 1), 0),
            Op::Rename((0, 4), (0, 0), Mode::Replace),
            Op::Truncate(1, 3, size(0, 0)),
        ];
        run(12, Overwrites::Journalled, &sequence);
    }

    #[test]
    fn an_open_file_gets_a_second_name_where_its_directory_went() {
        let sequence = [
            Op::Mkdir(0, 2),
            Op::Create(1, 5),
            Op::Mkdir(1, 0),
            Op::Hold(1, 5),
            Op::Rename((0, 2), (0, 3), Mode::Replace),
            Op::Link((1, 5), (0, 0)),
        ];
        run(12, Overwrites::InPlace, &sequence);
    }
}
