//! What the tests of crashes do to a file: single operations, and sequences in
//! which they meet.

use super::*;

/// One operation on the file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Op {
    Write(usize, usize),
    SetLen(usize),
    Punch(usize, usize),
    Zero(usize, usize),
    Sync,
    /// What comes a second before a seal that nobody waits for.
    Announce,
    Seal,
}

/// Whether it is made of several changes, of which a kill may leave some.
pub(super) fn goes_by_parts(op: Op) -> bool {
    matches!(op, Op::Punch(..) | Op::Zero(..))
}

/// An operation that a program may see half of: to be emptied.
pub(super) fn empties(op: Op) -> bool {
    matches!(op, Op::SetLen(0))
}

pub(super) fn apply(file: &File, op: Op, seed: usize) -> Result<(), FileError> {
    match op {
        Op::Write(at, count) => file.write(off(at), &pattern(seed, count)),
        Op::SetLen(size) => file.set_len(len(size)),
        Op::Punch(at, count) => file.punch_hole(off(at), wide(count)),
        Op::Zero(at, count) => file.zero_range(off(at), wide(count), SizeRule::Grow),
        Op::Sync => file.sync(),
        Op::Announce => file.announce_change().map(drop),
        Op::Seal => file.seal(),
    }
}

/// The same to plaintext.
pub(super) fn imagine(plain: &mut Vec<u8>, op: Op, seed: usize) {
    match op {
        Op::Write(at, count) => overlay(plain, at, &pattern(seed, count)),
        Op::SetLen(size) => plain.resize(size, 0),
        Op::Punch(at, count) => {
            let end = (at + count).min(plain.len());
            plain[at.min(end)..end].fill(0);
        }
        Op::Zero(at, count) => {
            plain.resize(plain.len().max(at + count), 0);
            plain[at..at + count].fill(0);
        }
        Op::Sync | Op::Announce | Op::Seal => {}
    }
}

/// Sequences in which every kind of change meets what stands in the journal.
pub(super) fn sequences() -> Vec<Vec<Op>> {
    use Op::{Announce, Punch, Seal, SetLen, Sync, Write, Zero};
    let end = 5 * C + 100;
    vec![
        vec![Write(10, 50)],
        vec![Write(0, 2 * C)],
        vec![Write(C - 7, C + 20), Sync, Write(C, 9), Seal],
        vec![Write(end, 40), Write(end + 40, 3 * C), Write(end + 10, 20)],
        vec![Write(end, C), Sync, Write(end + 5, C), Sync, Write(2, 3)],
        vec![Write(3 * C, 3 * C), Seal, Write(3 * C + 1, 7)],
        vec![Write(end + 9 * C, 30), Write(end + 4 * C, 5), Seal],
        vec![SetLen(3 * C + 5), Write(C, 10), Seal],
        vec![SetLen(C), SetLen(4 * C), Write(2 * C, 10), Seal],
        vec![SetLen(end + 10), Write(end + 10, 5 * C), SetLen(end), Seal],
        vec![SetLen(20 * C), Write(12 * C, 100), Seal, Write(13 * C, 9)],
        vec![Punch(C, 3 * C), Write(2 * C + 5, 10), Seal],
        vec![Punch(10, end), Seal, Write(C, C), Sync],
        vec![Write(C, C), Punch(0, 4 * C), Zero(4 * C, 3 * C), Seal],
        vec![Write(10, 50), Announce, Write(C, 20), Seal],
        vec![Write(0, 2 * C), Sync, Announce, Write(end, C), Seal],
        vec![
            Write(C, 9),
            Announce,
            SetLen(3 * C),
            Announce,
            Seal,
            Announce,
        ],
        vec![
            SetLen(C),
            Announce,
            SetLen(4 * C),
            Write(5, 5),
            Announce,
            Seal,
        ],
        vec![
            Write(3, 9),
            Announce,
            Punch(C, 2 * C),
            Sync,
            Seal,
            Write(3, 9),
        ],
        vec![Write(3, 9), Announce, SetLen(0), Write(0, 5), Announce],
        vec![SetLen(0)],
        vec![Write(0, C), SetLen(0), Write(0, 2 * C + 5), Seal],
        vec![SetLen(0), Write(5, 10), Sync, Write(7, 3), Seal, SetLen(0)],
    ]
}

pub(super) fn base() -> Vec<u8> {
    pattern(1, 5 * C + 100)
}

/// How a safe file stands before anything happens to it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Start {
    Sealed,
    /// Whole, but OPEN: its writer was killed before it could seal it.
    FoundOpen,
}

impl Start {
    pub(super) const ALL: [Self; 2] = [Self::Sealed, Self::FoundOpen];

    /// Makes the file, and opens it.
    pub(super) fn file(self, world: &World) -> File {
        match self {
            Self::Sealed => {
                world.with("f", &base());
                world.sealed("f")
            }
            Self::FoundOpen => {
                world.create("f").write(off(0), &base()).unwrap();
                world.unsealed("f")
            }
        }
    }

    /// Those that leave it as sealed as it was.
    pub(super) fn sequences(self) -> Vec<Vec<Op>> {
        let mut all = sequences();
        if self == Self::FoundOpen {
            all.retain(|ops| !ops.iter().any(|&op| empties(op)));
        }
        all
    }

    pub(super) const fn standing(self) -> Standing {
        match self {
            Self::Sealed => Standing::Sealed,
            Self::FoundOpen => Standing::Unsealed,
        }
    }
}
