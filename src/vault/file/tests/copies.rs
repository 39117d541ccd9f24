//! What a sync client finds that does not know of the journal.

use super::workload::{Start, apply, base};
use super::*;
use crate::sys::fs::mutation::faults::{After, Fault};

#[test]
fn a_copy_taken_between_two_changes_has_no_damaged_chunk() {
    let cases = |start: Start| start.sequences().into_iter().map(move |ops| (start, ops));
    for (start, ops) in Start::ALL.into_iter().flat_map(cases) {
        let world = World::journalled();
        let file = start.file(&world);
        for (seed, &op) in ops.iter().enumerate() {
            apply(&file, op, seed)
                .unwrap_or_else(|error| panic!("{start:?} {ops:?}, {op:?}: {error}"));
            world.put("copy", &world.bytes("f"));
            let (copy, _) = world.try_open("copy", Access::Read).unwrap();
            let mut read = Vec::new();
            let result = copy.read(off(0), 64 * C, &mut read);
            assert!(result.is_ok(), "{start:?} {ops:?} after {op:?}: {result:?}");
        }
    }
}

#[test]
fn what_a_failed_checkpoint_left_is_never_called_sealed() {
    let mut half_made = 0;
    for skip in 0.. {
        let world = World::journalled();
        world.with("f", &base());
        let before = world.bytes("f")[128..].to_vec();
        let file = world.sealed("f");
        file.write(off(0), &pattern(2, 3 * C)).unwrap();
        file.write(off(4 * C), &pattern(3, 9)).unwrap();
        file.sync().unwrap();
        file.announce_change().unwrap();
        let armed = arm(
            Scope::Thread,
            Plan::at(skip, Fault::Fail(libc::ENOSPC), After::Recover),
        );
        let sealed = file.seal();
        if !armed.fired() {
            break;
        }
        drop(armed);
        file.write(off(base().len()), &pattern(4, C)).unwrap();
        let now = world.bytes("f");
        if sealed.is_ok() || now[128..][..before.len()] == before {
            continue;
        }
        match world.header("f").open {
            OpenFlag::Open => half_made += 1,
            // It failed after the end: what it says is so.
            OpenFlag::Closed => {
                world.put("copy", &now[..128 + before.len()]);
                world.sealed("copy").verify_seal().unwrap();
            }
        }
    }
    assert!(half_made > 0, "no checkpoint stopped in the middle");
}
