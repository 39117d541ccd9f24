//! Files whose length somebody else changed, or whose header does not tell it, and
//! a journal that knows them from before.

use super::journal::recover;
use super::workload::{Start, base};
use super::*;
use crate::vault::journal::replay::{Fate, Whose};

/// A file that was found OPEN, some chunk of which is in the journal of a killed
/// mount; what `change` does to it where nothing is known of that stays.
fn assert_left(change: impl FnOnce(&File)) {
    let mut world = World::journalled();
    let file = Start::FoundOpen.file(&world);
    file.write(off(9), b"here").unwrap();
    file.sync().unwrap();
    drop(file);
    // Another device: without that journal.
    world.vault = world.reopened();
    let file = world.unsealed("f");
    change(&file);
    file.seal().unwrap();
    let plain = content(&file);
    drop(file);
    let bytes = world.bytes("f");
    let replays = world.vault.replay_journals(Whose::ThisMachines).unwrap();
    let fates: Vec<_> = replays.iter().map(|replay| replay.fate).collect();
    assert_eq!(fates, [Fate::Left { files: 0, left: 1 }]);
    assert!(world.bytes("f") == bytes, "it was touched");
    assert!(content(&world.unsealed("f")) == plain);
}

#[test]
fn an_open_file_that_somebody_else_made_longer_or_shorter_is_left_alone() {
    assert_left(|file| file.write(off(base().len()), &pattern(7, 10 * C)).unwrap());
    assert_left(|file| file.write(off(base().len()), &pattern(7, 10)).unwrap());
    assert_left(|file| file.set_len(len(3 * C + 5)).unwrap());
    assert_left(|file| file.set_len(len(30 * C)).unwrap());
}

#[test]
fn a_file_longer_than_its_closed_header_says_loses_nothing_to_a_killed_change() {
    for skip in 0.. {
        let mut world = World::journalled();
        world.with("f", &base());
        let short = world.bytes("f");
        let file = world.sealed("f");
        file.write(off(base().len()), &pattern(2, 3 * C)).unwrap();
        file.seal().unwrap();
        let mut plain = content(&file);
        drop(file);
        // A copy that a client made in the middle of the append.
        let mut bytes = world.bytes("f");
        bytes[..128].copy_from_slice(&short[..128]);
        world.put("f", &bytes);
        let file = world.unsealed("f");
        assert!(content(&file) == plain);
        let armed = arm(Scope::Thread, Plan::kill_after(skip));
        let written = file.write(off(9), b"here");
        let fired = armed.fired();
        drop((armed, file));
        recover(&mut world);
        let found = content(&world.unsealed("f"));
        let old = found == plain;
        overlay(&mut plain, 9, b"here");
        assert!(
            found == plain || old && written.is_err(),
            "after {skip} changes"
        );
        if !fired {
            break;
        }
    }
}
