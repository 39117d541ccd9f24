//! Making the one who unlocks pay too much, or the one who guesses too little.

use std::fs;

use crate::harness::*;
use crate::victim::{put, remove};

/// A vault with a passphrase of 64 MiB and 4 passes, which opens.
fn with_passphrase() -> Place {
    let place = Place::bare();
    let init = ["init", "--kdf-memory", "64MiB", "--kdf-passes", "4", "v"];
    place.unlock(&init).done();
    place.unlock(&["ls", "v"]).done();
    place
}

/// Gives the only slot other parameters of Argon2id.
fn demand(place: &Place, memory: u32, passes: u32, lanes: u32) {
    let fields = [memory, passes, lanes].map(u32::to_le_bytes).concat();
    put(&place.slot(), 80, &fields);
}

#[test]
fn a_slot_that_is_cheaper_to_guess_is_refused_before_the_passphrase_is_used() {
    let place = with_passphrase();
    let whole = fs::read(place.slot()).unwrap();
    for (memory, passes, lanes) in [(8, 1, 1), (65_535, 4, 4), (65_536, 2, 4), (65_536, 4, 0)] {
        demand(&place, memory, passes, lanes);
        place.unlock(&["ls", "v"]).failed(code::KDF_COST, &[]);
        place.mount(&[]).failed(code::KDF_COST, &[]);
    }
    fs::write(place.slot(), whole).unwrap();
    place.unlock(&["ls", "v"]).done();
}

#[test]
fn a_slot_made_cheaper_within_what_is_allowed_opens_nothing() {
    let place = with_passphrase();
    for (memory, passes, lanes) in [(65_536, 3, 4), (65_536, 4, 1)] {
        demand(&place, memory, passes, lanes);
        place
            .unlock(&["ls", "v"])
            .failed(code::WRONG_PASSPHRASE, &[]);
    }
}

#[test]
fn a_slot_that_asks_for_hours_or_all_memory_is_refused_unpaid_for() {
    let place = with_passphrase();
    for (memory, passes, lanes) in [
        (u32::MAX, 4, 4),
        (4_194_305, 4, 4),
        (65_536, 21, 4),
        (65_536, u32::MAX, 4),
        (65_536, 4, 17),
        (65_536, 4, u32::MAX),
    ] {
        demand(&place, memory, passes, lanes);
        place.unlock(&["ls", "v"]).failed(code::KDF_COST, &[]);
        // Who has a key file pays nothing and is told the same as ever.
        place.run(&["key", "list", "v"]).done();
    }
}

#[test]
fn a_slot_turned_into_one_without_a_passphrase_opens_nothing() {
    let place = with_passphrase();
    let whole = fs::read(place.slot()).unwrap();
    // As a key file, with and without the parameters.
    put(&place.slot(), 10, &[2]);
    place.unlock(&["ls", "v"]).failed(code::SLOT_DAMAGED, &[]);
    demand(&place, 0, 0, 0);
    let passphrase = place.root().join("pass");
    fs::write(&passphrase, PASSPHRASE).unwrap();
    place
        .run(&["ls", "v", "--keyfile", "pass"])
        .failed(code::WRONG_PASSPHRASE, &[]);
    fs::write(place.slot(), whole).unwrap();
    place.unlock(&["ls", "v"]).done();
}

#[test]
fn more_entries_among_the_slots_than_any_vault_has_are_not_read() {
    let place = with_key_file();
    let keep = fs::read(place.slot()).unwrap();
    let name = place.slot();
    let slots = place.vault().join("keepfs.slots");
    for number in 0..1100 {
        fs::write(slots.join(format!("{number:032x}.slot")), &keep).unwrap();
    }
    let ran = place.run(&["ls", "v", "--keyfile", "key"]);
    assert_ne!(ran.code, code::DONE, "{}", ran.stdout);
    assert_eq!(ran.stdout, "");
    for number in 0..1100 {
        remove(&slots.join(format!("{number:032x}.slot")));
    }
    assert!(name.exists());
    place.run(&["ls", "v", "--keyfile", "key"]).done();
}
