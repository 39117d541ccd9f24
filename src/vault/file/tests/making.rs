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
                Plan::at(skip, Fault::ShortWrite(written), After::Stop),
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

/// What a kill may leave of a file is put back after it `went_on`; whether replay
/// still ends it.
fn is_ended_after(size: usize, went_on: impl FnOnce(&File)) -> bool {
    let (mut world, file) = in_the_making();
    file.write(off(0), &pattern(1, size)).unwrap();
    let torn = world.bytes("new");
    went_on(&file);
    drop(file);
    world.put("new", &torn[..torn.len() - 1]);
    recover(&mut world);
    let (file, _) = world.try_open("new", Access::Read).unwrap();
    file.read(off(0), 64 * C, &mut Vec::new()).is_ok()
}

#[test]
fn only_a_file_that_a_kill_may_tear_is_in_the_making_and_only_until_it_is_sealed_or_gone() {
    assert!(is_ended_after(3 * C, |_| {}));
    assert!(!is_ended_after(3 * C, |file| file.seal().unwrap()));
    assert!(!is_ended_after(3 * C, |file| file.sync().unwrap()));
    assert!(!is_ended_after(3 * C, File::abandon));
    assert!(!is_ended_after(1000, |_| {}), "within a page");
}

#[test]
fn a_file_in_the_making_keeps_no_journal() {
    let (world, file) = in_the_making();
    file.write(off(0), &base()).unwrap();
    let journal = world.vault.journal().unwrap();
    assert!(journal.is_empty());
    journal.tidy(std::time::Duration::ZERO);
    assert!(world.vault.root.journals().unwrap().is_empty());
    file.write(off(base().len()), &base()).unwrap();
    file.seal().unwrap();
    world.assert_sealed("new", &[base(), base()].concat());
    assert!(world.vault.root.journals().unwrap().is_empty());
}
