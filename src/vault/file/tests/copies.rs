//! What a sync client finds that does not know of the journal.

use super::journal::{Op, apply, base, imagine, sequences};
use super::*;

/// Whether something becomes longer other than by what is written at its end.
fn leaves_gap(ops: &[Op]) -> bool {
    let mut plain = base();
    ops.iter().any(|&op| {
        let before = plain.len();
        imagine(&mut plain, op, 1);
        let written_from = match op {
            Op::Write(at, _) => at,
            Op::SetLen(_) | Op::Punch(..) | Op::Zero(..) | Op::Sync | Op::Announce | Op::Seal => {
                usize::MAX
            }
        };
        plain.len() > before && written_from > before
    })
}

/// In a file that was found OPEN the holes of a gap are in place before its former last slot.
#[test]
fn a_copy_taken_between_two_changes_has_no_damaged_chunk() {
    let worlds = [true, false].map(|sealed| sequences().into_iter().map(move |ops| (sealed, ops)));
    for (sealed, ops) in worlds.into_iter().flatten() {
        if !sealed && leaves_gap(&ops) {
            continue;
        }
        let world = World::journalled();
        world.with("f", &base());
        let file = if sealed {
            world.sealed("f")
        } else {
            let left = world.sealed("f");
            left.write(off(5), &pattern(9, C)).unwrap();
            left.announce_change().unwrap();
            let open = world.bytes("f");
            left.seal().unwrap();
            world.put("f", &open);
            world.unsealed("f")
        };
        for (seed, &op) in ops.iter().enumerate() {
            apply(&file, op, seed).unwrap_or_else(|error| panic!("{ops:?}, {op:?}: {error}"));
            world.put("copy", &world.bytes("f"));
            let (copy, _) = world.try_open("copy", Access::Read).unwrap();
            let mut read = Vec::new();
            let result = copy.read(off(0), 64 * C, &mut read);
            assert!(result.is_ok(), "{ops:?} after {op:?}: {result:?}");
        }
    }
}
