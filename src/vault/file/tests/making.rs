//! New files that a kill stops in the middle of a write.

use std::os::unix::ffi::OsStrExt;

use super::journal::recover;
use super::workload::{Op, Start, apply, base, imagine};
use super::*;
use crate::sys::fs::mutation::faults::{After, Fault};

/// A vault with a journal that has begun, and a new file in it.
fn in_the_making() -> (World, File) {
    let world = World::journalled();
    let other = Start::Sealed.file(&world);
    other.write(off(5), b"begins it").unwrap();
    other.seal().unwrap();
    let file = world.create("new");
    let entry = world.backing("new");
    file.set_place(entry.file_name().unwrap().as_bytes().to_vec());
    (world, file)
}

#[test]
fn a_kill_leaves_of_a_new_file_what_was_written_whole() {
    let end = base().len();
    let ops = [
        Op::Write(0, end),
        Op::Write(end, 100),
        Op::Write(end + 100, 6 * C),
        Op::Write(end + 100 + 6 * C, C),
    ];
    let mut shortest = usize::MAX;
    for written in [1, 200, SLOT - 1, SLOT + 30, 3 * SLOT + 7] {
        for skip in 0.. {
            let (mut world, file) = in_the_making();
            let armed = arm(
                Scope::Thread,
                Plan {
                    skip,
                    only: None,
                    fault: Fault::ShortWrite(written),
                    after: After::Stop,
                },
            );
            let mut plain = Vec::new();
            for (index, &op) in ops.iter().enumerate() {
                imagine(&mut plain, op, index + 2);
                if apply(&file, op, index + 2).is_err() {
                    break;
                }
            }
            let fired = armed.fired();
            drop((armed, file));
            recover(&mut world);
            let what = format!("{written} bytes, after {skip} changes");
            let (file, standing) = world.try_open("new", Access::ReadWrite).unwrap();
            assert_eq!(standing, Standing::Unsealed, "{what}: nobody may bless it");
            let mut found = Vec::new();
            file.read(off(0), 64 * C, &mut found)
                .unwrap_or_else(|error| panic!("{what}: {error}"));
            assert!(plain.starts_with(&found), "{what}");
            shortest = shortest.min(found.len());
            // It can be written on.
            file.write(off(found.len()), b"more").unwrap();
            if !fired {
                assert_eq!(found.len(), plain.len());
                break;
            }
        }
    }
    assert_eq!(shortest, 0, "nothing was torn");
}

#[test]
fn a_file_that_another_device_ended_is_not_cut() {
    let (mut world, file) = in_the_making();
    file.write(off(0), &base()).unwrap();
    drop(file);
    world.vault = world.reopened();
    let file = world.unsealed("new");
    file.write(off(base().len()), &pattern(3, 7 * C)).unwrap();
    file.seal().unwrap();
    let plain = content(&file);
    drop(file);
    let bytes = world.bytes("new");
    recover(&mut world);
    assert!(world.bytes("new") == bytes);
    assert!(content(&world.unsealed("new")) == plain);
}

#[test]
fn a_file_that_is_sealed_or_deleted_is_no_longer_in_the_making() {
    let is_empty = |world: &World| world.vault.journal().unwrap().is_empty();
    let (world, file) = in_the_making();
    assert!(is_empty(&world));
    file.write(off(0), b"of less than a page").unwrap();
    assert!(is_empty(&world), "no kill can tear it");
    file.write(off(0), &base()).unwrap();
    assert!(!is_empty(&world));
    file.seal().unwrap();
    assert!(is_empty(&world));
    let (world, file) = in_the_making();
    file.write(off(0), &base()).unwrap();
    file.abandon();
    assert!(is_empty(&world));
}
