#![allow(clippy::unwrap_used, reason = "tests stop at the first surprise")]

use std::fs;
use std::path::{Path, PathBuf};

use super::*;
use crate::codec::entry::slot_file_name;
use crate::codec::kdf::KdfCost;
use crate::codec::vault::{KeyFile, RecoveryCode, SlotImage};
use crate::sys::fs::mutation::faults::{Plan, Scope, arm};
use crate::vault::LockedVault;
use crate::vault::tests::World;

const CAPS: KdfCaps = KdfCaps {
    ram_kib: 1024 * 1024,
};

/// A key file costs nothing, unlike a passphrase.
fn key(bytes: &[u8]) -> Credential {
    Credential::KeyFile(KeyFile::from_bytes(bytes.to_vec()).unwrap())
}

fn locked(path: &Path) -> LockedVault {
    LockedVault::open(path).unwrap()
}

fn opens(path: &Path, bytes: &[u8]) -> bool {
    open(path, bytes, SlotChoice::Any).is_ok()
}

fn open(path: &Path, bytes: &[u8], choice: SlotChoice) -> Result<SlotId, UnlockError> {
    let opened = locked(path).open_slot(&key(bytes), &CAPS, choice)?;
    Ok(opened.slot)
}

/// A slot for `bytes` that is in no vault yet.
fn image(path: &Path, bytes: &[u8]) -> SlotImage {
    let vault = locked(path);
    let opened = vault
        .open_slot(&key(b"key"), &CAPS, SlotChoice::Any)
        .unwrap();
    let description = vault.info().description;
    Slot::wrap(&opened.master, description, &key(bytes), &KdfCost::NONE, "").unwrap()
}

fn add(path: &Path, bytes: &[u8]) -> SlotId {
    let image = image(path, bytes);
    locked(path).edit_slots().unwrap().add(&image).unwrap();
    image.id()
}

fn slots_dir(path: &Path) -> PathBuf {
    path.join("keepfs.slots")
}

fn slot_file(path: &Path, id: SlotId) -> PathBuf {
    slots_dir(path).join(slot_file_name(id))
}

fn files(path: &Path) -> Vec<(String, Vec<u8>)> {
    let mut files: Vec<_> = fs::read_dir(slots_dir(path))
        .unwrap()
        .map(|entry| {
            let entry = entry.unwrap();
            let name = entry.file_name().into_string().unwrap();
            (name, fs::read(entry.path()).unwrap())
        })
        .collect();
    files.sort();
    files
}

#[test]
fn an_added_slot_is_one_new_file_and_nothing_else_changes() {
    let world = World::new();
    let before = files(&world.path);
    let id = add(&world.path, b"second");
    let mut after = files(&world.path);
    after.retain(|(name, _)| *name != slot_file_name(id));
    assert_eq!(after, before);
    assert_eq!(open(&world.path, b"second", SlotChoice::Any).unwrap(), id);
    assert!(opens(&world.path, b"key"));
    assert!(!opens(&world.path, b"third"));
}

#[test]
fn a_kill_at_any_change_of_add_leaves_the_old_keys_and_a_whole_new_one_or_none() {
    let world = World::new();
    for passed in 0.. {
        let image = image(&world.path, b"second");
        let mut vault = locked(&world.path);
        let mut editor = vault.edit_slots().unwrap();
        let armed = arm(Scope::Thread, Plan::kill_after(passed));
        let done = editor.add(&image);
        let fired = armed.fired();
        drop(armed);
        drop(editor);
        assert!(opens(&world.path, b"key"), "after {passed} changes");
        let vault = locked(&world.path);
        let odd = vault.info().odd;
        assert!(
            odd.iter()
                .all(|odd| matches!(odd.why, OddSlotReason::Temporary)),
            "{odd:?}"
        );
        assert_eq!(
            opens(&world.path, b"second"),
            slot_file(&world.path, image.id()).exists()
        );
        tidy(&world.path);
        if slot_file(&world.path, image.id()).exists() {
            fs::remove_file(slot_file(&world.path, image.id())).unwrap();
        }
        assert_eq!(files(&world.path).len(), 1, "tidied");
        if !fired {
            done.unwrap();
            assert!(passed >= 5, "create, write, sync, rename, sync");
            break;
        }
    }
}

#[test]
fn a_kill_at_any_change_of_remove_leaves_the_slot_or_not_and_the_others_always() {
    let world = World::new();
    for passed in 0.. {
        let id = add(&world.path, b"second");
        let mut vault = locked(&world.path);
        let mut editor = vault.edit_slots().unwrap();
        let armed = arm(Scope::Thread, Plan::kill_after(passed));
        let done = editor.remove(id, None, vault.info().description);
        let fired = armed.fired();
        drop(armed);
        drop(editor);
        assert!(opens(&world.path, b"key"), "after {passed} changes");
        let there = slot_file(&world.path, id).exists();
        assert_eq!(opens(&world.path, b"second"), there);
        if there {
            fs::remove_file(slot_file(&world.path, id)).unwrap();
        }
        if !fired {
            done.unwrap();
            assert!(!there && passed >= 2, "unlink, sync");
            break;
        }
    }
}

#[test]
fn a_kill_at_any_change_of_replace_leaves_a_key_that_opens() {
    for passed in 0.. {
        let world = World::new();
        let old = open(&world.path, b"key", SlotChoice::Any).unwrap();
        let new = image(&world.path, b"new");
        let mut vault = locked(&world.path);
        let mut editor = vault.edit_slots().unwrap();
        let armed = arm(Scope::Thread, Plan::kill_after(passed));
        let done = editor
            .add(&new)
            .and_then(|()| editor.remove(old, Some(new.id()), vault.info().description));
        let fired = armed.fired();
        drop(armed);
        drop(editor);
        let (by_old, by_new) = (opens(&world.path, b"key"), opens(&world.path, b"new"));
        assert!(by_old || by_new, "locked out after {passed} changes");
        if !fired {
            done.unwrap();
            assert!(by_new && !by_old);
            assert!(passed >= 7);
            break;
        }
        assert!(by_old || by_new && passed >= 6);
    }
}

#[test]
fn the_last_slot_and_one_that_is_not_there_are_not_removed() {
    let world = World::new();
    let mut vault = locked(&world.path);
    let only = open(&world.path, b"key", SlotChoice::Any).unwrap();
    let mut editor = vault.edit_slots().unwrap();
    let description = vault.info().description;
    assert!(matches!(
        editor.remove(only, None, description),
        Err(SlotEditError::LastSlot(id)) if id == only
    ));
    let other = SlotId::new([1; 16]);
    assert!(matches!(
        editor.remove(other, None, description),
        Err(SlotEditError::NoSuchSlot(id)) if id == other
    ));
    // A file that is no valid slot does not count as a way in.
    fs::write(slot_file(&world.path, other), b"noise").unwrap();
    assert!(matches!(
        editor.remove(only, None, description),
        Err(SlotEditError::LastSlot(_))
    ));
    assert!(opens(&world.path, b"key"));
}

#[test]
fn one_process_at_a_time_changes_the_slots() {
    let world = World::new();
    let mut vault = locked(&world.path);
    let editor = vault.edit_slots().unwrap();
    assert!(matches!(
        locked(&world.path).edit_slots(),
        Err(SlotEditError::Busy)
    ));
    // Nor does it keep anybody from mounting.
    assert!(opens(&world.path, b"key"));
    vault.lock_exclusive().unwrap();
    drop(editor);
    locked(&world.path).edit_slots().unwrap();
}

#[test]
fn a_vault_is_given_no_more_slots_than_are_tried() {
    let world = World::new();
    for number in 1..MAX_SLOTS {
        add(&world.path, format!("key {number}").as_bytes());
    }
    let extra = image(&world.path, b"one too many");
    let mut vault = locked(&world.path);
    let mut editor = vault.edit_slots().unwrap();
    assert!(matches!(editor.check_room(), Err(SlotEditError::Full)));
    // Changing a key of a full vault works.
    let old = open(&world.path, b"key 1", SlotChoice::Any).unwrap();
    editor.add(&extra).unwrap();
    editor
        .remove(old, Some(extra.id()), vault.info().description)
        .unwrap();
    assert!(opens(&world.path, b"one too many"));
    // A planted 33rd slot: the first 32 are tried, the last one only if asked for.
    let planted = image(&world.path, b"planted");
    fs::write(
        slot_file(&world.path, planted.id()),
        planted.sealed().bytes(),
    )
    .unwrap();
    let vault = locked(&world.path);
    assert_eq!(vault.info().slots.len(), MAX_SLOTS + 1);
    let tried = |choice| {
        let chosen = vault.slots.chosen(SlotKind::KeyFile, &CAPS, choice);
        chosen.unwrap().0
    };
    assert_eq!(tried(SlotChoice::Any).len(), MAX_SLOTS);
    let last = vault.info().slots.last().unwrap().slot.id();
    assert!(!tried(SlotChoice::Any).iter().any(|slot| slot.id() == last));
    let first = tried(SlotChoice::First(last));
    assert_eq!((first.len(), first[0].id()), (MAX_SLOTS, last));
    assert_eq!(tried(SlotChoice::Only(last)).len(), 1);
}

#[test]
fn a_chosen_slot_is_the_only_one_tried() {
    let world = World::new();
    let first = open(&world.path, b"key", SlotChoice::Any).unwrap();
    let second = add(&world.path, b"second");
    assert_eq!(
        open(&world.path, b"second", SlotChoice::First(first)).unwrap(),
        second
    );
    assert_eq!(
        open(&world.path, b"second", SlotChoice::Only(second)).unwrap(),
        second
    );
    assert!(matches!(
        open(&world.path, b"second", SlotChoice::Only(first)),
        Err(UnlockError::WrongCredential {
            kind: SlotKind::KeyFile,
            ..
        })
    ));
    let none = SlotId::new([9; 16]);
    assert!(matches!(
        open(&world.path, b"second", SlotChoice::Only(none)),
        Err(UnlockError::NoSuchSlot(id)) if id == none
    ));
    assert!(opens(&world.path, b"key"));
    let code = Credential::Recovery(RecoveryCode::from_bytes([0; 32]));
    let offered = locked(&world.path).open_slot(&code, &CAPS, SlotChoice::Only(first));
    assert!(matches!(
        offered.err(),
        Some(UnlockError::Slot(SlotError::KindMismatch { .. }))
    ));
}

#[test]
fn a_directory_that_nobody_can_have_filled_honestly_is_not_read() {
    let world = World::new();
    for number in 0..MAX_SLOT_FILES {
        fs::write(slots_dir(&world.path).join(format!("{number}")), "").unwrap();
    }
    let error = LockedVault::open(&world.path).unwrap_err();
    assert!(error.to_string().contains("1024 entries"), "{error}");
}

fn tidy(path: &Path) -> Vec<TidyStep> {
    let mut vault = locked(path);
    let editor = vault.edit_slots().unwrap();
    let steps = editor.odd().iter().map(|odd| {
        let step = editor.tidy_step(odd, None);
        editor.tidy(&odd.name, step).unwrap();
        step
    });
    steps.collect()
}

/// What sync clients make of a slot's name.
fn conflict_names(id: SlotId) -> [String; 6] {
    [
        format!("{id}.sync-conflict-20261122-101010-ABCDEFG.slot"),
        format!("{id} (conflicted copy 2026-11-22 101010).slot"),
        format!("{id} (laptop's conflicted copy 2026-11-22).slot"),
        format!("{id}.slot.conflict1"),
        format!("{id}-laptop-safeBackup-0001.slot"),
        format!("{id}_conflict-20261122-101010.slot"),
    ]
}

#[test]
fn copies_that_sync_clients_make_are_reported_harmless_and_tidied() {
    let world = World::new();
    let id = open(&world.path, b"key", SlotChoice::Any).unwrap();
    let good = fs::read(slot_file(&world.path, id)).unwrap();
    for name in conflict_names(id) {
        let copy = slots_dir(&world.path).join(&name);
        let stand = |bytes: &[u8]| {
            fs::write(&copy, bytes).unwrap();
            assert!(locked(&world.path).info().slots.len() <= 1);
            match locked(&world.path).info().odd {
                [
                    OddSlot {
                        why: OddSlotReason::ConflictCopy { of, standing },
                        ..
                    },
                ] if *of == id => *standing,
                other => panic!("{name}: {other:?}"),
            }
        };
        // The same twice.
        assert_eq!(stand(&good), CopyStanding::Same);
        assert!(opens(&world.path, b"key"));
        assert_eq!(tidy(&world.path), [TidyStep::Remove]);
        // Half of it arrived.
        assert_eq!(stand(&good[..50]), CopyStanding::Damaged);
        assert_eq!(tidy(&world.path), [TidyStep::Remove]);
        // Forged: kept for a person to look at.
        let mut other = good.clone();
        other[60] ^= 1;
        assert_eq!(stand(&other), CopyStanding::Differs);
        assert_eq!(tidy(&world.path), [TidyStep::Leave]);
        assert!(opens(&world.path, b"key"));
        // The original is gone, as after rclone bisync.
        fs::remove_file(slot_file(&world.path, id)).unwrap();
        assert_eq!(stand(&good[..50]), CopyStanding::Lost);
        assert_eq!(tidy(&world.path), [TidyStep::Leave]);
        assert_eq!(stand(&good), CopyStanding::Alone);
        assert_eq!(tidy(&world.path), [TidyStep::Restore(id)]);
        assert_eq!(files(&world.path), [(slot_file_name(id), good.clone())]);
        assert!(opens(&world.path, b"key"));
    }
}

#[test]
fn a_copy_takes_the_place_of_a_damaged_slot() {
    let world = World::new();
    let id = open(&world.path, b"key", SlotChoice::Any).unwrap();
    let file = slot_file(&world.path, id);
    let copy = slots_dir(&world.path).join(&conflict_names(id)[0]);
    fs::copy(&file, &copy).unwrap();
    fs::write(&file, b"").unwrap();
    assert!(!opens(&world.path, b"key"));
    let steps = tidy(&world.path);
    assert!(steps.contains(&TidyStep::Exchange(id)), "{steps:?}");
    assert!(opens(&world.path, b"key"));
    assert_eq!(fs::read(&copy).unwrap(), b"");
    assert_eq!(tidy(&world.path), [TidyStep::Remove]);
}

#[test]
fn a_removed_key_does_not_come_back_by_tidying() {
    let world = World::new();
    let id = add(&world.path, b"second");
    let file = slot_file(&world.path, id);
    let bytes = fs::read(&file).unwrap();
    let copy = slots_dir(&world.path).join(&conflict_names(id)[0]);
    fs::write(&copy, &bytes).unwrap();
    let mut vault = locked(&world.path);
    let mut editor = vault.edit_slots().unwrap();
    editor.remove(id, None, vault.info().description).unwrap();
    assert!(!copy.exists(), "a copy goes with its slot");
    drop(editor);
    // One that arrives later, or that the provider kept.
    fs::write(&copy, &bytes).unwrap();
    assert_eq!(tidy(&world.path), [TidyStep::Leave]);
    assert!(!opens(&world.path, b"second"));
    // Asked for, it does.
    let mut vault = locked(&world.path);
    let editor = vault.edit_slots().unwrap();
    let odd = &editor.odd()[0];
    let step = editor.tidy_step(odd, Some(id));
    assert_eq!(step, TidyStep::Restore(id));
    editor.tidy(&odd.name, step).unwrap();
    assert!(opens(&world.path, b"second"));
}

#[test]
fn copies_that_cannot_be_judged_are_left() {
    let world = World::new();
    let id = open(&world.path, b"key", SlotChoice::Any).unwrap();
    let good = fs::read(slot_file(&world.path, id)).unwrap();
    let names = conflict_names(id);
    let copy = |at: usize| slots_dir(&world.path).join(&names[at]);
    fs::create_dir(copy(0)).unwrap();
    std::os::unix::fs::symlink("nowhere", copy(1)).unwrap();
    let mut newer = good.clone();
    newer[8] = 2;
    fs::write(copy(2), newer).unwrap();
    let mut foreign = good.clone();
    foreign[40] ^= 1;
    fs::write(copy(3), foreign).unwrap();
    let standings: Vec<CopyStanding> = locked(&world.path)
        .info()
        .odd
        .iter()
        .map(|odd| {
            let OddSlotReason::ConflictCopy { standing, .. } = odd.why else {
                panic!("{odd:?}");
            };
            standing
        })
        .collect();
    for wanted in [
        CopyStanding::Unreadable,
        CopyStanding::Newer,
        CopyStanding::Foreign,
    ] {
        assert!(standings.contains(&wanted), "{standings:?}");
    }
    assert_eq!(tidy(&world.path), [TidyStep::Leave; 4]);
    assert!(opens(&world.path, b"key"));
}

#[test]
fn a_key_that_was_to_stay_and_is_gone_stops_a_removal() {
    let world = World::new();
    let first = open(&world.path, b"key", SlotChoice::Any).unwrap();
    let second = add(&world.path, b"second");
    add(&world.path, b"third");
    let mut vault = locked(&world.path);
    let mut editor = vault.edit_slots().unwrap();
    // Sync takes it away while a person is asked.
    fs::remove_file(slot_file(&world.path, second)).unwrap();
    assert!(matches!(
        editor.remove(first, Some(second), vault.info().description),
        Err(SlotEditError::ProofGone(id)) if id == second
    ));
    assert!(opens(&world.path, b"key"));
}

#[test]
fn slots_that_cost_nothing_to_plant_do_not_hide_the_real_one() {
    let world = World::new();
    let passphrase = || {
        let typed = crate::codec::kdf::Passphrase::from_bytes(b"real".to_vec()).unwrap();
        Credential::Passphrase(typed)
    };
    let cost = KdfCost {
        memory_kib: KdfCost::MIN_MEMORY_KIB,
        passes: KdfCost::MIN_PASSES,
        lanes: 1,
    };
    let vault = locked(&world.path);
    let opened = vault
        .open_slot(&key(b"key"), &CAPS, SlotChoice::Any)
        .unwrap();
    let description = vault.info().description;
    let real = Slot::wrap(&opened.master, description, &passphrase(), &cost, "").unwrap();
    locked(&world.path)
        .edit_slots()
        .unwrap()
        .add(&real)
        .unwrap();
    for number in 0..40u8 {
        let id = SlotId::new([0, 0, 0, number, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0]);
        let mut planted = real.sealed().bytes().to_vec();
        planted[16..32].copy_from_slice(id.bytes());
        // Half of them too cheap, half too expensive.
        let memory: u32 = if number % 2 == 0 { 1024 } else { u32::MAX };
        planted[80..84].copy_from_slice(&memory.to_le_bytes());
        fs::write(slot_file(&world.path, id), planted).unwrap();
    }
    let found = locked(&world.path)
        .open_slot(&passphrase(), &CAPS, SlotChoice::Any)
        .unwrap();
    assert_eq!(found.slot, real.id());
    locked(&world.path)
        .edit_slots()
        .unwrap()
        .check_room()
        .unwrap();
    // A wrong one says that some were not tried.
    let wrong = crate::codec::kdf::Passphrase::from_bytes(b"wrong".to_vec()).unwrap();
    let error = locked(&world.path)
        .open_slot(&Credential::Passphrase(wrong), &CAPS, SlotChoice::Any)
        .err()
        .unwrap();
    let words = error.to_string();
    assert!(
        words.starts_with("wrong passphrase; a key slot was not tried"),
        "{words}"
    );
}

#[test]
fn what_has_no_place_among_the_slots_is_named_and_left() {
    let world = World::new();
    let id = open(&world.path, b"key", SlotChoice::Any).unwrap();
    fs::write(slots_dir(&world.path).join("README"), "").unwrap();
    // A name that goes on with a letter is not a copy's.
    fs::write(slots_dir(&world.path).join(format!("{id}abc")), "").unwrap();
    fs::write(slots_dir(&world.path).join(format!("{id}")), "").unwrap();
    let odd = locked(&world.path);
    assert!(
        odd.info()
            .odd
            .iter()
            .all(|odd| matches!(odd.why, OddSlotReason::Name)),
        "{:?}",
        odd.info().odd
    );
    assert_eq!(tidy(&world.path), [TidyStep::Leave; 3]);
    assert_eq!(files(&world.path).len(), 4);
}

#[test]
fn two_devices_that_add_keys_offline_both_keep_theirs() {
    let world = World::new();
    let temp = tempfile::tempdir().unwrap();
    let device = temp.path().join("v");
    fs::create_dir_all(slots_dir(&device)).unwrap();
    fs::copy(world.path.join("keepfs.vault"), device.join("keepfs.vault")).unwrap();
    for (name, bytes) in files(&world.path) {
        fs::write(slots_dir(&device).join(name), bytes).unwrap();
    }
    add(&world.path, b"here");
    add(&device, b"there");
    // Syncing is the union: no file has two versions.
    for (name, bytes) in files(&device) {
        let target = slots_dir(&world.path).join(name);
        assert!(!target.exists() || fs::read(&target).unwrap() == bytes);
        fs::write(target, bytes).unwrap();
    }
    for bytes in [&b"key"[..], b"here", b"there"] {
        assert!(opens(&world.path, bytes));
    }
    assert!(locked(&world.path).info().odd.is_empty());
}
