//! Every change of the backing failing, for every operation: with an error,
//! after a part of a write, for a while, and by a kill.

use std::ops::Range;

use super::*;
use crate::sys::fs::mutation::faults::{After, Fault};

type Operation = Box<dyn Fn(&File) -> Result<(), FileError>>;

/// One operation on the file that [`base`] makes.
struct Case {
    name: String,
    /// What happens before, while nothing fails.
    prepare: Operation,
    operation: Operation,
    /// The content after `prepare`, and after `operation`.
    old: Vec<u8>,
    new: Vec<u8>,
    /// The chunks that may be lost to a kill.
    touched: Range<usize>,
    /// Changes that passed before the fault.
    passed: u64,
}

/// The file before: five chunks and a short one, chunks 1 and 2 perhaps holes.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Base {
    Dense,
    Sparse,
}

const SIZE: usize = 5 * C + 100;

fn base(kind: Base) -> Vec<u8> {
    let mut plain = pattern(1, SIZE);
    if kind == Base::Sparse {
        plain[C..3 * C].fill(0);
    }
    plain
}

fn make(world: &World, name: &str, kind: Base) -> File {
    world.with(name, &pattern(1, SIZE));
    if kind == Base::Sparse {
        let file = world.sealed(name);
        file.punch_hole(off(C), wide(2 * C)).unwrap();
        file.seal().unwrap();
    }
    world.sealed(name)
}

fn write_case(kind: Base, at: usize, count: usize) -> Case {
    let old = base(kind);
    let mut new = old.clone();
    let bytes = pattern(9, count);
    overlay(&mut new, at, &bytes);
    // A write behind the end replaces the last chunk, too.
    let first = (at / C).min(SIZE / C);
    Case {
        name: format!("{count} bytes written at {at}"),
        prepare: Box::new(|_| Ok(())),
        operation: Box::new(move |file| file.write(off(at), &bytes)),
        touched: first..(at + count).div_ceil(C),
        passed: 0,
        old,
        new,
    }
}

fn length_case(kind: Base, to: usize) -> Case {
    let old = base(kind);
    let mut new = old.clone();
    new.resize(to, 0);
    Case {
        name: format!("length set to {to}"),
        prepare: Box::new(|_| Ok(())),
        operation: Box::new(move |file| file.set_len(len(to))),
        touched: to.min(SIZE) / C..usize::MAX,
        passed: 0,
        old,
        new,
    }
}

fn zero_case(kind: Base, at: usize, end: usize, operation: Operation) -> Case {
    let old = base(kind);
    let mut new = old.clone();
    new.resize(SIZE.max(end), 0);
    new[at..end].fill(0);
    Case {
        name: format!("{at}..{end} made zeros"),
        prepare: Box::new(|_| Ok(())),
        operation,
        touched: at / C..if end > SIZE {
            usize::MAX
        } else {
            end.div_ceil(C)
        },
        passed: 0,
        old,
        new,
    }
}

fn punch_case(kind: Base, at: usize, end: usize) -> Case {
    let punch = move |file: &File| file.punch_hole(off(at), wide(end - at));
    zero_case(kind, at, end, Box::new(punch))
}

/// Closing and syncing after a gap.
fn settle_cases(kind: Base) -> [Case; 2] {
    let mut plain = base(kind);
    overlay(&mut plain, 9 * C, b"end");
    let settled = |name: &str, operation: Operation| Case {
        name: name.to_owned(),
        prepare: Box::new(|file| file.write(off(9 * C), b"end")),
        operation,
        old: plain.clone(),
        new: plain.clone(),
        // A gap that nothing declared yet: FORMAT.md, order of writes.
        touched: match kind {
            Base::Dense => SIZE / C + 1..9,
            Base::Sparse => 0..0,
        },
        passed: 0,
    };
    [
        settled("seal", Box::new(File::seal)),
        settled("sync", Box::new(File::sync)),
    ]
}

fn cases(kind: Base) -> Vec<Case> {
    let w = |at, count| write_case(kind, at, count);
    let mut cases = vec![
        // append
        w(SIZE, 10),
        w(SIZE, C - 100),
        w(SIZE, 3 * C),
        // inside, one chunk and several, whole and in part
        w(C + 100, 50),
        w(C, 2 * C),
        w(C + 100, 3 * C),
        w(0, 5 * C),
        // the last chunk, and beyond
        w(SIZE - 20, 10),
        w(5 * C, 100),
        w(SIZE - 20, C),
        w(2 * C + 9, 5 * C),
        // gaps
        w(SIZE + 10, 10),
        w(6 * C + 10, 10),
        w(7 * C + 10, 2 * C),
        w(12 * C, 10),
    ];
    cases.extend(
        [
            SIZE + 10,
            6 * C,
            7 * C + 1,
            12 * C,
            SIZE - 1,
            5 * C,
            2 * C + 50,
            2 * C,
            10,
            0,
        ]
        .map(|to| length_case(kind, to)),
    );
    cases.extend(
        [
            (C, 3 * C),
            (100, 4 * C + 10),
            (2 * C - 10, SIZE),
            (C + 1, C + 9),
        ]
        .map(|(at, end)| punch_case(kind, at, end)),
    );
    let fallback = |file: &File| {
        file.begin_change(SparseFlag::Sparse)?;
        file.zero_slots(ChunkNo::new(1), ChunkNo::new(4))
    };
    cases.push(zero_case(kind, C, 4 * C, Box::new(fallback)));
    let zero_range = |file: &File| file.zero_range(off(SIZE - 20), wide(3 * C), SizeRule::Grow);
    cases.push(zero_case(
        kind,
        SIZE - 20,
        SIZE - 20 + 3 * C,
        Box::new(zero_range),
    ));
    let reserve = |file: &File| file.allocate(off(SIZE), wide(3 * C), SizeRule::Grow);
    cases.push(zero_case(kind, SIZE, SIZE + 3 * C, Box::new(reserve)));
    cases.extend(settle_cases(kind));
    cases
}

/// Runs `check` for every case and every number of changes that pass before
/// the fault; a case ends where its operation needs no more changes.
fn sweep(fault: Fault, after: After, mut check: impl FnMut(&World, &str, Case, File)) {
    let world = World::new();
    for kind in [Base::Dense, Base::Sparse] {
        let count = cases(kind).len();
        for index in 0..count {
            for skip in 0.. {
                let case = cases(kind).swap_remove(index);
                let name = format!("{kind:?} {index} {skip}");
                let file = make(&world, &name, kind);
                (case.prepare)(&file).unwrap();
                let armed = arm(Scope::Thread, Plan::at(skip, fault, after));
                let result = (case.operation)(&file);
                if !armed.fired() {
                    drop(armed);
                    result.unwrap();
                    let refused = matches!(fault, Fault::Fail(_));
                    assert!(skip > 0 || !refused, "{}: changes nothing", case.name);
                    break;
                }
                if result.is_ok() && matches!(fault, Fault::ShortWrite(_)) {
                    // The last change was no longer than that.
                    continue;
                }
                let place = format!("{kind:?}, {}, {fault:?} after {skip}", case.name);
                assert_errno(result, after, &place);
                match after {
                    After::Recover => assert_old_or_new(&file, &case, &place),
                    After::Stop => assert_untouched(&file, &case, &place),
                }
                drop(armed);
                let case = Case {
                    name: place,
                    passed: skip,
                    ..case
                };
                check(&world, &name, case, file);
            }
        }
    }
}

/// What was asked for fails with what the backing said.
fn assert_errno(result: Result<(), FileError>, after: After, place: &str) {
    match result {
        Err(FileError::Io(error)) => {
            let errno = error.raw_os_error();
            let stopped = after == After::Stop && errno == Some(libc::EIO);
            assert!(stopped || errno == Some(libc::ENOSPC), "{place}: {error}");
        }
        Err(other) => panic!("{place}: {other}"),
        Ok(()) => panic!("{place}: the error was swallowed"),
    }
}

fn chunk_of(plain: &[u8], chunk: usize, size: usize) -> &[u8] {
    let end = size.min(plain.len()).min((chunk + 1) * C);
    plain.get(chunk * C..end).unwrap_or_default()
}

/// The size is that before or after; each chunk is whole, old or new.
fn assert_old_or_new(file: &File, case: &Case, place: &str) {
    let size = usize::try_from(file.size().get()).unwrap();
    assert!(size == case.old.len() || size == case.new.len(), "{place}");
    for chunk in 0..size.div_ceil(C) {
        let got = read(file, chunk * C, C).unwrap_or_else(|e| panic!("{place}: {e}"));
        let (old, new) = (
            chunk_of(&case.old, chunk, size),
            chunk_of(&case.new, chunk, size),
        );
        assert!(got == old || got == new, "{place}: chunk {chunk}");
    }
}

/// Chunks that the operation does not replace are as they were.
fn assert_untouched(file: &File, case: &Case, place: &str) {
    let size = usize::try_from(file.size().get()).unwrap();
    let untouched = |chunk: &usize| !case.touched.contains(chunk);
    for chunk in (0..case.old.len().div_ceil(C)).filter(untouched) {
        let got = read(file, chunk * C, C).unwrap_or_else(|e| panic!("{place}: {e}"));
        assert!(
            got == chunk_of(&case.old, chunk, size.max(case.old.len())),
            "{place}: chunk {chunk}"
        );
    }
}

/// After a failure that was undone: later writes work, the seal is right.
fn assert_goes_on(world: &World, name: &str, case: &Case, file: File) {
    let place = &case.name;
    let mut plain = content(&file);
    for at in [C - 5, plain.len(), plain.len() + 3 * C] {
        file.write(off(at), b"later write")
            .unwrap_or_else(|e| panic!("{place}: {e}"));
        overlay(&mut plain, at, b"later write");
        assert!(content(&file) == plain, "{place}");
    }
    file.seal().unwrap();
    assert!(file.unsealed_for().is_none());
    drop(file);
    world.assert_sealed(name, &plain);
}

#[test]
fn a_change_that_is_refused_leaves_the_old_content_and_the_seal_exact() {
    sweep(
        Fault::Fail(libc::ENOSPC),
        After::Recover,
        |world, name, case, file| assert_goes_on(world, name, &case, file),
    );
}

#[test]
fn a_write_that_stops_in_the_middle_is_undone() {
    for torn in [1, SLOT - 1, SLOT + 1, 2 * SLOT + 700] {
        sweep(
            Fault::Torn(torn, libc::ENOSPC),
            After::Recover,
            |world, name, case, file| assert_goes_on(world, name, &case, file),
        );
    }
}

#[test]
fn a_refused_change_can_be_closed_at_once() {
    for fault in [Fault::Fail(libc::ENOSPC), Fault::Torn(50, libc::ENOSPC)] {
        sweep(fault, After::Recover, |world, name, case, file| {
            let plain = content(&file);
            file.seal().unwrap_or_else(|e| panic!("{}: {e}", case.name));
            drop(file);
            world.assert_sealed(name, &plain);
        });
    }
}

#[test]
fn a_short_write_that_goes_on_is_no_error() {
    let world = World::new();
    for kind in [Base::Dense, Base::Sparse] {
        for (index, case) in cases(kind).into_iter().enumerate() {
            let name = format!("{kind:?} {index}");
            let file = make(&world, &name, kind);
            (case.prepare)(&file).unwrap();
            let armed = arm(
                Scope::Thread,
                Plan {
                    skip: 1,
                    only: Some(Mutation::Write),
                    fault: Fault::ShortWrite(SLOT / 2),
                    after: After::Recover,
                },
            );
            (case.operation)(&file).unwrap();
            drop(armed);
            assert!(content(&file) == case.new, "{}", case.name);
            file.seal().unwrap();
            drop(file);
            world.assert_sealed(&name, &case.new);
        }
    }
}

/// The backing refuses everything from some point on, undoing included, and
/// works again later: then the file works, too. It is sealed if nothing had
/// been written, and otherwise stays OPEN; it is never sealed wrongly.
#[test]
fn a_backing_that_comes_back_finds_no_false_seal() {
    for fault in [
        Fault::Fail(libc::ENOSPC),
        Fault::ShortWrite(1),
        Fault::ShortWrite(SLOT + 9),
    ] {
        sweep(fault, After::Stop, |world, name, case, file| {
            let place = &case.name;
            let before = file.size();
            file.write(PlainOff::new(0), &pattern(4, C))
                .unwrap_or_else(|e| panic!("{place}: {e}"));
            file.seal().unwrap_or_else(|e| panic!("{place}: {e}"));
            drop(file);
            let (file, standing) = world
                .try_open(name, Access::ReadWrite)
                .unwrap_or_else(|e| panic!("{place}: {e}"));
            assert_eq!(file.size(), before.max(len(C)), "{place}");
            assert_eq!(read(&file, 0, C).unwrap(), pattern(4, C));
            match standing {
                Standing::Sealed => {
                    content(&file);
                    file.verify_seal().unwrap();
                }
                Standing::Unsealed => {
                    let written = case.passed > 1 || fault != Fault::Fail(libc::ENOSPC);
                    assert!(written, "{place}: nothing was lost");
                }
            }
        });
    }
}

#[test]
fn a_kill_costs_at_most_the_chunks_being_replaced() {
    // Shorter than a header is left out: a header is written whole or not at
    // all, it lies within one sector.
    for fault in [
        Fault::Fail(libc::EIO),
        Fault::ShortWrite(200),
        Fault::ShortWrite(SLOT + 30),
    ] {
        sweep(fault, After::Stop, |world, name, case, file| {
            drop(file);
            match world.try_open(name, Access::Read) {
                Ok((file, _)) => assert_untouched(&file, &case, &case.name),
                Err(FileError::Damaged(Damage::InterruptedCreate)) => {
                    assert!(case.new.is_empty(), "{}", case.name);
                }
                Err(error) => panic!("{}: {error}", case.name),
            }
        });
    }
}
