//! With a journal: a kill at any change leaves every file whole, with all that
//! any operation had promised; replaying can be killed, too.

use std::os::unix::ffi::OsStrExt;

use super::workload::{Op, Start, apply, base, empties, goes_by_parts, imagine};
use super::*;
use crate::sys::fs::mutation::faults::{After, Fault};
use crate::vault::journal::replay::{Fate, Whose};

/// A vault with one safe file, on which `ops` were done until something
/// failed. Returns what the file may hold then: the state that was promised
/// last, and the one that was being made.
fn interrupted(world: &World, start: Start, ops: &[Op], plan: Plan) -> Option<States> {
    let file = start.file(world);
    file.set_place(
        world
            .backing("f")
            .file_name()
            .map_or_else(Vec::new, |name| {
                std::os::unix::ffi::OsStrExt::as_bytes(name).to_vec()
            }),
    );
    let armed = arm(Scope::Thread, plan);
    let (mut promised, mut tried, mut emptied) = (base(), base(), false);
    let mut by_parts = false;
    for (index, &op) in ops.iter().enumerate() {
        imagine(&mut tried, op, index + 2);
        emptied |= empties(op);
        by_parts = goes_by_parts(op);
        if apply(&file, op, index + 2).is_err() {
            break;
        }
        promised.clone_from(&tried);
        // What is written into an emptied file is safe from its sync on.
        emptied &= !matches!(op, Op::Sync | Op::Seal);
    }
    armed.fired().then(|| States {
        states: vec![promised, tried],
        by_parts,
        emptied,
    })
}

/// What a file may hold after an interruption.
pub(super) struct States {
    /// From what was promised last to what was being made.
    states: Vec<Vec<u8>>,
    /// Whether the last operation consists of several changes.
    by_parts: bool,
    /// Whether it was emptied: nothing was promised since.
    emptied: bool,
}

impl States {
    /// Any of these; a mixture of two that follow each other, too, if they come
    /// `by_parts`.
    pub(super) fn any_of(states: Vec<Vec<u8>>, by_parts: bool) -> Self {
        Self {
            states,
            by_parts,
            emptied: false,
        }
    }

    pub(super) fn allow(&self, plain: &[u8]) -> bool {
        let mixed = |pair: &[Vec<u8>]| {
            pair.iter().any(|state| state.len() == plain.len())
                && plain
                    .iter()
                    .enumerate()
                    .all(|(at, byte)| pair.iter().any(|state| state.get(at) == Some(byte)))
        };
        self.states.iter().any(|state| *state == plain)
            || self.by_parts && self.states.windows(2).any(mixed)
    }
}

/// Mounts again, as it were.
pub(super) fn recover(world: &mut World) {
    // The killed mount's lock goes with it.
    world.vault = world.reopened();
    let replays = world.vault.replay_journals(Whose::ThisMachines);
    for replay in replays.unwrap() {
        assert!(matches!(replay.fate, Fate::Replayed { .. }), "{replay:?}");
    }
    world.vault.begin_journal();
}

fn assert_whole(world: &World, allowed: impl Fn(&[u8]) -> bool, what: &str) {
    assert_whole_as(world, Start::Sealed, allowed, what);
}

/// Whole, and sealed only if it was before.
pub(super) fn assert_whole_as(
    world: &World,
    start: Start,
    allowed: impl Fn(&[u8]) -> bool,
    what: &str,
) {
    let (file, standing) = world
        .try_open("f", Access::ReadWrite)
        .unwrap_or_else(|error| panic!("{what}: {error}"));
    assert_eq!(standing, start.standing(), "{what}");
    let mut plain = Vec::new();
    file.read(off(0), 64 * C, &mut plain)
        .unwrap_or_else(|error| panic!("{what}: {error}"));
    assert!(
        allowed(&plain),
        "{what}: neither old nor new ({} bytes)",
        plain.len()
    );
    if start == Start::Sealed {
        file.verify_seal()
            .unwrap_or_else(|error| panic!("{what}: {error}"));
    }
    let left: Vec<_> = world.vault.root.journals().unwrap();
    assert!(left.is_empty(), "{what}: {left:?}");
}

/// Every sequence, interrupted by `fault` at every change until none is left.
fn sweep(start: Start, fault: Fault, after: impl Fn(&mut World, &str, &States)) {
    for (index, ops) in start.sequences().iter().enumerate() {
        for skip in 0.. {
            let mut world = World::journalled();
            let plan = Plan::at(skip, fault, After::Stop);
            let Some(states) = interrupted(&world, start, ops, plan) else {
                break;
            };
            let what = format!("{index}: {start:?}, {ops:?}, {fault:?} after {skip} changes");
            if states.emptied {
                let was_emptied = world.bytes("f").is_empty();
                recover(&mut world);
                match world.try_open("f", Access::ReadWrite) {
                    Ok((file, _)) => assert!(!was_emptied || content(&file).is_empty(), "{what}"),
                    Err(error) => panic!("{what}: {error}"),
                }
            } else {
                after(&mut world, &what, &states);
            }
        }
    }
}

#[test]
fn a_kill_at_any_change_leaves_the_file_old_or_new() {
    for fault in [
        Fault::Fail(libc::EIO),
        Fault::ShortWrite(1),
        Fault::ShortWrite(200),
        Fault::ShortWrite(SLOT + 30),
    ] {
        for start in Start::ALL {
            sweep(start, fault, |world, what, states| {
                recover(world);
                assert_whole_as(world, start, |plain| states.allow(plain), what);
            });
        }
    }
}

/// Brings journals in, killed at every change of it in turn until one comes through.
fn replay_with_kills(world: &mut World) {
    for skip in 0.. {
        world.vault = world.reopened();
        let armed = arm(Scope::Thread, Plan::kill_after(skip));
        let done = world.vault.replay_journals(Whose::ThisMachines).is_ok();
        drop(armed);
        if done {
            break;
        }
    }
}

#[test]
fn a_kill_at_any_change_of_a_replay_is_made_good_by_the_next() {
    for start in Start::ALL {
        let fault = Fault::ShortWrite(SLOT + 30);
        sweep(start, fault, |world, what, states| {
            replay_with_kills(world);
            recover(world);
            assert_whole_as(world, start, |plain| states.allow(plain), what);
        });
    }
}

#[test]
fn a_replay_of_less_than_everything_may_be_killed_too() {
    for start in Start::ALL {
        let mut world = World::journalled();
        let file = start.file(&world);
        let mut plain = base();
        file.write(off(5), &pattern(2, 2 * C)).unwrap();
        overlay(&mut plain, 5, &pattern(2, 2 * C));
        file.sync().unwrap();
        file.write(off(C), &pattern(3, 3 * C)).unwrap();
        drop(file);
        // Of the second change the cut has left the record and not all slots.
        let name = world.vault.root.journals().unwrap().remove(0);
        let path = world.path.join(std::ffi::OsStr::from_bytes(name.bytes()));
        let mut journal = fs::read(&path).unwrap();
        let end = journal.iter().rposition(|&byte| byte != 0).unwrap();
        journal[end - 9] ^= 1;
        fs::write(&path, journal).unwrap();
        replay_with_kills(&mut world);
        recover(&mut world);
        assert_whole_as(&world, start, |found| found == plain, &format!("{start:?}"));
    }
}

/// What follows a refused change.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Then {
    WriteOn,
    Close,
}

#[test]
fn a_refused_change_changes_nothing_and_the_next_one_works() {
    for fault in [Fault::Fail(libc::ENOSPC), Fault::Torn(50, libc::ENOSPC)] {
        for start in Start::ALL {
            for ops in start.sequences() {
                for then in [Then::WriteOn, Then::Close] {
                    for skip in 0.. {
                        if !refuse(start, &ops, skip, fault, then) {
                            break;
                        }
                    }
                }
            }
        }
    }
}

/// Whether there was a change to refuse after so many.
fn refuse(start: Start, ops: &[Op], skip: u64, fault: Fault, then: Then) -> bool {
    let what = format!("{start:?}, {ops:?}, {fault:?} after {skip} changes, {then:?}");
    let world = World::journalled();
    let file = start.file(&world);
    let armed = arm(Scope::Thread, Plan::at(skip, fault, After::Recover));
    let mut plain = base();
    for (index, &op) in ops.iter().enumerate() {
        let mut new = plain.clone();
        imagine(&mut new, op, index + 2);
        // A refused operation on many chunks may stop halfway.
        match apply(&file, op, index + 2) {
            Ok(()) => plain = new,
            Err(_) => plain = content(&file),
        }
        assert!(content(&file) == plain, "{what}");
    }
    let fired = armed.fired();
    drop(armed);
    if then == Then::WriteOn {
        file.write(off(0), b"afterwards").unwrap();
        overlay(&mut plain, 0, b"afterwards");
    }
    file.seal().unwrap();
    assert_eq!(file.stands_sealed(), start == Start::Sealed, "{what}");
    drop(file);
    assert!(world.vault.journal().unwrap().is_empty(), "{what}");
    let (file, standing) = world.try_open("f", Access::Read).unwrap();
    assert_eq!(
        standing,
        start.standing(),
        "{what}: {:?}",
        world.header("f")
    );
    let mut found = Vec::new();
    file.read(off(0), 64 * C, &mut found)
        .unwrap_or_else(|error| panic!("{what}: {error}"));
    assert!(found == plain, "{what}");
    if start == Start::Sealed {
        world.assert_sealed("f", &plain);
    }
    fired
}

#[test]
fn what_stands_in_the_journal_is_read_from_there_and_nothing_changes_in_place() {
    let world = World::journalled();
    world.with("f", &base());
    let before = world.bytes("f");
    let file = world.sealed("f");
    let mut plain = base();
    for (seed, at) in [(2, 10), (3, C - 3), (4, 4 * C), (5, C)] {
        file.write(off(at), &pattern(seed, C + 9)).unwrap();
        overlay(&mut plain, at, &pattern(seed, C + 9));
    }
    file.sync().unwrap();
    assert!(content(&file) == plain);
    assert!(world.bytes("f") == before, "the file itself was touched");
    file.seal().unwrap();
    assert!(world.bytes("f") != before);
    world.assert_sealed("f", &plain);
}

#[test]
fn a_file_that_was_found_open_is_whole_after_a_kill_and_stays_open() {
    let ops = [
        Op::Write(C - 7, C + 20),
        Op::Write(6 * C, 9),
        Op::SetLen(3 * C),
        Op::Seal,
    ];
    for skip in 0.. {
        let mut world = World::journalled();
        let file = Start::FoundOpen.file(&world);
        let armed = arm(Scope::Thread, Plan::kill_after(skip));
        let (mut promised, mut tried) = (base(), base());
        for (index, &op) in ops.iter().enumerate() {
            imagine(&mut tried, op, index + 2);
            if apply(&file, op, index + 2).is_err() {
                break;
            }
            promised.clone_from(&tried);
        }
        let fired = armed.fired();
        drop((armed, file));
        recover(&mut world);
        let (file, standing) = world.try_open("f", Access::Read).unwrap();
        assert_eq!(standing, Standing::Unsealed, "nobody may bless it");
        let plain = content(&file);
        assert!(plain == promised || plain == tried, "after {skip} changes");
        if !fired {
            break;
        }
    }
}

#[test]
fn a_journal_that_somebody_deletes_costs_nothing_that_is_synced_afterwards() {
    let mut world = World::journalled();
    world.with("f", &base());
    let file = world.sealed("f");
    let mut plain = base();
    for round in 2..5 {
        file.write(off(round * 500), &pattern(round, 900)).unwrap();
        overlay(&mut plain, round * 500, &pattern(round, 900));
        for name in world.vault.root.journals().unwrap() {
            fs::remove_file(world.path.join(std::ffi::OsStr::from_bytes(name.bytes()))).unwrap();
        }
        file.sync().unwrap();
        assert!(content(&file) == plain);
    }
    drop(file);
    recover(&mut world);
    assert_whole(&world, |found| found == plain, "the journal was deleted");
}

#[test]
fn two_journals_are_brought_in_however_long_they_claim_to_be() {
    let mut world = World::journalled();
    let mut plains = Vec::new();
    for (name, at) in [("f", 10), ("g", 2 * C)] {
        world.with(name, &base());
        let file = world.sealed(name);
        file.write(off(at), &pattern(7, C)).unwrap();
        file.sync().unwrap();
        let mut plain = base();
        overlay(&mut plain, at, &pattern(7, C));
        plains.push((name, plain));
        drop(file);
        // Killed, and the next mount could not bring its journal in.
        world.vault = world.reopened();
        world.vault.begin_journal();
    }
    let journals = world.vault.root.journals().unwrap();
    assert_eq!(journals.len(), 2);
    for name in &journals {
        let name = std::ffi::OsStr::from_bytes(name.bytes());
        let path = world.path.join(name);
        let journal = fs::OpenOptions::new().write(true).open(path).unwrap();
        journal.set_len(4 << 30).unwrap();
    }
    recover(&mut world);
    for (name, plain) in plains {
        world.assert_sealed(name, &plain);
    }
    assert!(world.vault.root.journals().unwrap().is_empty());
}

#[test]
fn what_only_has_a_journals_name_stops_nothing() {
    let world = World::journalled();
    let planted = |digit: &str| {
        world
            .path
            .join(format!("~keepfs-journal-{}.tmp", digit.repeat(32)))
    };
    fs::create_dir(planted("1")).unwrap();
    fs::write(planted("2"), pattern(3, 5000)).unwrap();
    fs::write(planted("3"), []).unwrap();
    let replays = world.vault.replay_journals(Whose::ThisMachines).unwrap();
    let mut fates: Vec<_> = replays
        .iter()
        .map(|replay| (&replay.name, replay.fate))
        .collect();
    fates.sort_by(|a, b| a.0.bytes().cmp(b.0.bytes()));
    assert!(matches!(fates[0].1, Fate::Unopened(_)), "{fates:?}");
    assert!(matches!(fates[1].1, Fate::Unreadable(_)), "{fates:?}");
    assert_eq!(fates[2].1, Fate::Replayed { files: 0 });
    assert!(planted("1").exists() && planted("2").exists() && !planted("3").exists());
}

#[test]
fn a_deep_tree_is_searched_without_a_deep_stack() {
    let mut world = World::journalled();
    world.with("f", &base());
    let file = world.sealed("f");
    file.set_place(b"elsewhere".to_vec());
    file.write(off(9), b"new").unwrap();
    drop(file);
    let deep = (0..300).fold(world.path.clone(), |path, _| path.join("d"));
    fs::create_dir_all(deep).unwrap();
    recover(&mut world);
    let mut plain = base();
    overlay(&mut plain, 9, b"new");
    assert_whole(&world, |found| found == plain, "in a deep tree");
}

#[test]
fn a_journal_that_is_older_than_the_file_does_nothing() {
    let mut world = World::journalled();
    world.with("f", &base());
    let file = world.sealed("f");
    file.write(off(5), b"first").unwrap();
    file.sync().unwrap();
    let name = world.vault.root.journals().unwrap().remove(0);
    let path = world.path.join(std::ffi::OsStr::from_bytes(name.bytes()));
    let journal = fs::read(&path).unwrap();
    file.seal().unwrap();
    drop(file);
    // The file goes on, and the journal comes back from a backup.
    let file = world.sealed("f");
    file.write(off(C), b"second").unwrap();
    file.seal().unwrap();
    drop(file);
    world.vault = world.reopened();
    fs::write(&path, journal).unwrap();
    recover(&mut world);
    let mut plain = base();
    overlay(&mut plain, 5, b"first");
    overlay(&mut plain, C, b"second");
    assert_whole(&world, |found| found == plain, "an old journal");
}

#[test]
fn a_file_that_was_changed_elsewhere_is_left_alone_and_the_journal_stays() {
    let mut world = World::new();
    world.with("f", &base());
    let before = world.bytes("f");
    // Another device goes on from the same state.
    let file = world.sealed("f");
    file.write(off(0), b"theirs").unwrap();
    file.seal().unwrap();
    drop(file);
    let theirs = world.bytes("f");
    world.put("f", &before);
    world.vault.begin_journal();
    let file = world.sealed("f");
    file.write(off(C), b"ours").unwrap();
    file.write(off(2 * C), b"ours").unwrap();
    drop(file);
    world.put("f", &theirs);
    world.vault = world.reopened();
    let replays = world.vault.replay_journals(Whose::ThisMachines).unwrap();
    assert_eq!(replays[0].fate, Fate::Left { files: 0, left: 1 });
    assert!(world.bytes("f") == theirs);
    assert_eq!(world.vault.root.journals().unwrap().len(), 1);
}

#[test]
fn a_file_moved_since_is_found_and_one_that_is_gone_is_no_error() {
    for gone in [false, true] {
        let mut world = World::journalled();
        world.with("f", &base());
        let file = world.sealed("f");
        file.set_place(b"elsewhere".to_vec());
        file.write(off(9), b"new").unwrap();
        drop(file);
        let mut plain = base();
        overlay(&mut plain, 9, b"new");
        if gone {
            fs::remove_file(world.backing("f")).unwrap();
        }
        recover(&mut world);
        if !gone {
            assert_whole(&world, |found| found == plain, "moved");
        }
    }
}

#[test]
fn every_cut_and_every_flipped_byte_of_a_journal_leaves_an_earlier_state() {
    let made = || {
        let world = World::journalled();
        world.with("f", &base());
        let file = world.sealed("f");
        let mut states = vec![base()];
        for seed in 2..5 {
            let mut plain = states.last().unwrap().clone();
            file.write(off(seed * C - 9), &pattern(seed, 30)).unwrap();
            overlay(&mut plain, seed * C - 9, &pattern(seed, 30));
            states.push(plain);
        }
        drop(file);
        (world, states)
    };
    for step in 0..60 {
        let (mut world, states) = made();
        let name = world.vault.root.journals().unwrap().remove(0);
        let path = world.path.join(std::ffi::OsStr::from_bytes(name.bytes()));
        let mut bytes = fs::read(&path).unwrap();
        let at = 128 + (bytes.len() - 128) * step / 60;
        if step % 2 == 0 {
            bytes.truncate(at);
        } else {
            bytes[at] ^= 0x10;
        }
        fs::write(&path, bytes).unwrap();
        recover(&mut world);
        let any = |plain: &[u8]| states.iter().any(|state| state == plain);
        assert_whole(&world, any, &format!("step {step}"));
    }
}

#[test]
fn a_flush_writes_ahead_of_the_journals_end_and_needs_no_room_for_it() {
    for refused in [false, true] {
        let mut world = World::journalled();
        world.with("f", &base());
        let file = world.sealed("f");
        let path = || {
            let name = world.vault.root.journals().unwrap().remove(0);
            world.path.join(std::ffi::OsStr::from_bytes(name.bytes()))
        };
        let mut plain = base();
        let mut write = |seed: usize| {
            file.write(off(seed * C), &pattern(seed, C)).unwrap();
            overlay(&mut plain, seed * C, &pattern(seed, C));
        };
        write(1);
        let records = fs::metadata(path()).unwrap().len();
        if refused {
            let full = Plan::fail(Mutation::Write, libc::ENOSPC);
            let armed = arm(Scope::Thread, full);
            file.sync().unwrap();
            assert!(armed.fired());
        } else {
            file.sync().unwrap();
        }
        let length = fs::metadata(path()).unwrap().len();
        assert_eq!(length, records + if refused { 0 } else { 1 << 20 });
        for seed in 2..5 {
            write(seed);
            file.sync().unwrap();
        }
        if !refused {
            assert_eq!(fs::metadata(path()).unwrap().len(), length);
        }
        drop(file);
        recover(&mut world);
        assert_whole(&world, |found| found == plain, "written ahead");
    }
}

#[test]
#[ignore = "writes and reads 4 GiB in memory; scripts/test runs it where there is room"]
fn a_journal_of_four_gib_is_replayed() {
    const PIECE: usize = 256 * C;
    let mut world = World::journalled();
    world.with("f", &vec![1; PIECE]);
    let file = world.sealed("f");
    let writes = (4 << 30) / PIECE + 1;
    let mut bytes = vec![0; PIECE];
    for number in 0..writes {
        bytes[..8].copy_from_slice(&wide(number).to_le_bytes());
        bytes[PIECE - 8..].copy_from_slice(&wide(number).to_le_bytes());
        file.write(off(0), &bytes).unwrap();
    }
    let name = world.vault.root.journals().unwrap().remove(0);
    let path = world.path.join(std::ffi::OsStr::from_bytes(name.bytes()));
    assert!(fs::metadata(path).unwrap().len() > 4 << 30);
    drop(file);
    recover(&mut world);
    assert_whole(&world, |found| found == &bytes[..64 * C], "4 GiB");
}
