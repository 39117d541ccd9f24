//! Directories, moved and exchanged, and the pins of renamed ones.

use std::fs;
use std::path::PathBuf;

use crate::filled::{cut, flip};
use crate::harness::*;
use crate::victim::*;

const STRANGE: Found<'static> = ("name-does-not-open", "whole", None);

/// Nothing in it opens: no name is told, and nothing new is put there.
#[track_caller]
fn says_nothing(victim: &Victim, dir: &str) {
    let listed = victim.run(&["ls", &format!("v:{dir}")]);
    assert_eq!(listed.stdout, "", "names of {dir}");
    victim.mounted(&[], |m| {
        let new = fs::write(m.join(dir).join("new"), "new");
        let error = new.expect_err("a new file in a directory that does not open");
        assert_eq!(error.raw_os_error(), Some(libc::EIO), "{error}");
    });
}

fn pin(victim: &Victim, dir: &str) -> PathBuf {
    victim.at(dir).join("keepfs.dir")
}

#[test]
fn a_directory_moved_into_another_is_not_shown_and_found_by_check() {
    let victim = Victim::new();
    let (dir, into) = (victim.at("box"), victim.at("chest"));
    fs::rename(&dir, into.join(dir.file_name().unwrap())).unwrap();
    victim.opens();
    for gone in ["box/inside", "box/deep/bottom", "chest/box/inside"] {
        victim.is_gone(gone);
    }
    assert_eq!(victim.names("chest"), ["inside"]);
    victim.others_read_right(&["box/inside", "box/deep/bottom"]);
    victim.check_finds(&[STRANGE]);
}

#[test]
fn a_directory_moved_out_of_another_is_not_shown_and_found_by_check() {
    let victim = Victim::new();
    let dir = victim.at("box/deep");
    let root = victim.place.vault();
    fs::rename(&dir, root.join(dir.file_name().unwrap())).unwrap();
    victim.opens();
    victim.is_gone("box/deep/bottom");
    victim.is_gone("deep/bottom");
    victim.others_read_right(&["box/deep/bottom"]);
    victim.check_finds(&[STRANGE]);
}

#[test]
fn two_directories_exchanged_say_nothing_and_are_found_by_check() {
    let victim = Victim::new();
    exchange(&victim.at("box"), &victim.at("chest"));
    victim.opens();
    for gone in ["box/inside", "box/deep/bottom", "chest/inside"] {
        victim.is_gone(gone);
    }
    says_nothing(&victim, "box");
    says_nothing(&victim, "chest");
    victim.others_read_right(&["box/inside", "box/deep/bottom", "chest/inside"]);
    victim.check_finds(&[
        ("nothing-opens", "whole", Some("box")),
        ("nothing-opens", "whole", Some("chest")),
    ]);
}

#[test]
fn a_directory_copied_over_another_says_nothing_and_is_found_by_check() {
    let victim = Victim::new();
    let kept = victim.keep();
    let (dir, over) = (victim.at("box"), victim.at("chest"));
    fs::remove_dir_all(&over).unwrap();
    crate::filled::copy_tree(&kept.of(&victim, &dir), &over);
    victim.opens();
    victim.is_gone("chest/deep/bottom");
    says_nothing(&victim, "chest");
    victim.others_read_right(&["chest/inside"]);
    victim.check_finds(&[("nothing-opens", "whole", Some("chest"))]);
}

// ---- pins ----

/// What else the keeper has to remove for a pin to be lost.
fn without_notes(victim: &Victim) {
    fs::remove_dir_all(victim.place.vault().join("keepfs.names")).unwrap();
}

#[test]
fn a_pin_removed_exchanged_or_damaged_is_made_up_for_by_its_note() {
    let mut victim = Victim::new();
    victim.edit(|m| fs::rename(m.join("chest"), m.join("moved")).unwrap());
    exchange(&pin(&victim, "pinned"), &pin(&victim, "moved"));
    victim.opens();
    victim.others_read_right(&[]);
    let lost = |path| ("lost-pin", "nothing", Some(path));
    victim.check_finds(&[lost("pinned"), lost("moved")]);
    for dir in ["pinned", "moved"] {
        fs::remove_file(pin(&victim, dir)).unwrap();
    }
    victim.others_read_right(&[]);
    victim.check_finds(&[lost("pinned"), lost("moved")]);
}

#[test]
fn a_note_forged_or_carried_to_another_place_says_nothing() {
    let victim = Victim::new();
    let notes = victim.place.vault().join("keepfs.names");
    let names = fs::read_dir(&notes).unwrap();
    let names = names.map(|entry| entry.unwrap().file_name().into_string().unwrap());
    // Second copies of side files are there too, and have no dot.
    let text = names.into_iter().find(|name| name.contains('.')).unwrap();
    let (tag, record) = text.split_once('.').unwrap();
    for forged in [
        format!("{}.{record}", "A".repeat(22)),
        format!("{tag}.{}", "A".repeat(43)),
        "keepfs.dir".to_owned(),
    ] {
        fs::write(notes.join(forged), "").unwrap();
    }
    victim.opens();
    victim.others_read_right(&[]);
    victim.check_finds(&[]);
}

#[test]
fn a_pin_removed_with_its_note_is_found_and_no_name_is_guessed() {
    let victim = Victim::new();
    without_notes(&victim);
    fs::remove_file(pin(&victim, "pinned")).unwrap();
    victim.opens();
    victim.is_gone("pinned/kept");
    says_nothing(&victim, "pinned");
    victim.others_read_right(&["pinned/kept"]);
    victim.check_finds(&[("nothing-opens", "whole", Some("pinned"))]);
}

#[test]
fn a_bit_of_any_byte_of_a_pin_without_a_note_is_found_and_no_name_is_guessed() {
    let victim = Victim::new();
    without_notes(&victim);
    let file = pin(&victim, "pinned");
    let len = fs::metadata(&file).unwrap().len();
    assert!([32, 64].contains(&len));
    // The last record is the one that counts.
    for at in len - 32..len {
        flip(&file, at);
        victim.is_gone("pinned/kept");
        victim.check_finds(&[("nothing-opens", "whole", Some("pinned"))]);
        flip(&file, at);
    }
    flip(&file, len - 1);
    says_nothing(&victim, "pinned");
    victim.others_read_right(&["pinned/kept"]);
}

#[test]
fn a_pin_of_another_length_is_an_error_of_its_directory() {
    for len in [0, 1, 31, 33, 63, 65, 96, 1 << 20] {
        let victim = Victim::new();
        cut(&pin(&victim, "pinned"), len);
        victim.opens();
        victim.cat("pinned/kept").failed(code::DAMAGE_FOUND, &[]);
        says_nothing(&victim, "pinned");
        victim.others_read_right(&["pinned/kept"]);
        victim.check_finds(&[("bad-pin", "whole", Some("pinned"))]);
    }
}

#[test]
fn a_pin_carried_into_another_directory_says_nothing_there() {
    let victim = Victim::new();
    for dir in ["box", "chest"] {
        fs::copy(pin(&victim, "pinned"), victim.at(dir).join("keepfs.dir")).unwrap();
    }
    victim.opens();
    victim.others_read_right(&[]);
    victim.check_finds(&[
        ("idle-pin", "nothing", Some("box")),
        ("idle-pin", "nothing", Some("chest")),
    ]);
}

#[test]
fn a_pin_in_the_root_is_not_looked_at() {
    let victim = Victim::new();
    let root = victim.place.vault();
    fs::copy(pin(&victim, "pinned"), root.join("keepfs.dir")).unwrap();
    victim.opens();
    victim.others_read_right(&[]);
}

#[test]
fn two_pins_exchanged_without_notes_say_nothing_and_are_found_by_check() {
    let mut victim = Victim::new();
    victim.edit(|m| fs::rename(m.join("chest"), m.join("moved")).unwrap());
    without_notes(&victim);
    exchange(&pin(&victim, "pinned"), &pin(&victim, "moved"));
    victim.opens();
    for gone in ["pinned/kept", "moved/inside"] {
        victim.is_gone(gone);
    }
    victim.others_read_right(&["pinned/kept", "moved/inside"]);
    victim.check_finds(&[
        ("nothing-opens", "whole", Some("pinned")),
        ("nothing-opens", "whole", Some("moved")),
    ]);
}

#[test]
fn an_older_pin_put_back_without_a_note_says_nothing_and_is_found_by_check() {
    let mut victim = Victim::new();
    let kept = victim.keep();
    let old = kept.of(&victim, &pin(&victim, "pinned"));
    victim.edit(|m| fs::rename(m.join("pinned"), m.join("further")).unwrap());
    victim.edit(|m| fs::rename(m.join("further"), m.join("furthest")).unwrap());
    fs::copy(old, pin(&victim, "furthest")).unwrap();
    without_notes(&victim);
    victim.opens();
    victim.is_gone("furthest/kept");
    victim.others_read_right(&["furthest/kept"]);
    victim.check_finds(&[("nothing-opens", "whole", Some("furthest"))]);
}

#[test]
fn a_pinned_directory_moved_back_to_its_former_name_is_not_noticed() {
    let mut victim = Victim::new();
    let before = victim.at("pinned");
    victim.edit(|m| fs::rename(m.join("pinned"), m.join("further")).unwrap());
    fs::rename(victim.at("further"), before).unwrap();
    // Undoing a rename is bringing back an older state of two directories.
    victim.opens();
    victim.reads("pinned/kept", victim.text("further/kept"));
    victim.is_gone("further/kept");
    victim.check_finds(&[]);
}

// ---- not noticed ----

#[test]
fn a_removed_directory_is_not_noticed() {
    let victim = Victim::new();
    fs::remove_dir_all(victim.at("box")).unwrap();
    victim.opens();
    victim.is_gone("box/inside");
    victim.others_read_right(&["box/inside", "box/deep/bottom"]);
    victim.check_finds(&[]);
}

#[test]
fn a_directory_put_back_to_an_older_state_is_not_noticed() {
    let mut victim = Victim::new();
    let kept = victim.keep();
    victim.edit(|m| {
        fs::write(m.join("box/inside"), "newer").unwrap();
        fs::write(m.join("box/more"), "more").unwrap();
        fs::remove_file(m.join("box/deep/bottom")).unwrap();
    });
    kept.put_back(&victim, &victim.at("box"));
    victim.opens();
    for plain in ["box/inside", "box/deep/bottom"] {
        victim.reads(plain, &lines(plain, 300));
    }
    victim.is_gone("box/more");
    victim.check_finds(&[]);
}

#[test]
fn the_whole_vault_put_back_to_an_older_state_is_not_noticed() {
    let mut victim = Victim::new();
    let kept = victim.keep();
    victim.edit(|m| {
        fs::write(m.join("letter"), "newer").unwrap();
        fs::remove_dir_all(m.join("box")).unwrap();
    });
    let vault = victim.place.vault();
    kept.put_back(&victim, &vault);
    victim.opens();
    victim.reads("letter", &lines("letter", 20_000));
    victim.reads("box/inside", &lines("box/inside", 300));
    victim.check_finds(&[]);
}

#[test]
fn entries_exchanged_between_directories_born_at_one_place_are_not_noticed() {
    let mut victim = Victim::new();
    victim.edit(|m| {
        fs::rename(m.join("box"), m.join("first")).unwrap();
        fs::create_dir(m.join("box")).unwrap();
        fs::write(m.join("box/inside"), "in the second").unwrap();
    });
    let (first, second) = (victim.at("first/inside"), victim.at("box/inside"));
    // Equal names show as equal,
    assert_eq!(first.file_name(), second.file_name());
    // and what is under them can be exchanged, as whole files always can.
    exchange(&first, &second);
    let deep = victim.at("first/deep");
    fs::rename(&deep, second.with_file_name(deep.file_name().unwrap())).unwrap();
    victim.opens();
    victim.reads("first/inside", "in the second");
    victim.reads("box/inside", &lines("box/inside", 300));
    victim.reads("box/deep/bottom", &lines("box/deep/bottom", 300));
    victim.is_gone("first/deep/bottom");
    victim.check_finds(&[]);
}

#[test]
fn entries_put_into_a_pinned_directory_from_one_born_at_its_place_are_not_noticed() {
    let mut victim = Victim::new();
    // `aside` was born as `target`; `target` was born as `box` and is pinned.
    victim.edit(|m| {
        fs::create_dir(m.join("target")).unwrap();
        fs::write(m.join("target/guest"), "from aside").unwrap();
        fs::rename(m.join("target"), m.join("aside")).unwrap();
        fs::rename(m.join("box"), m.join("target")).unwrap();
    });
    victim.check_finds(&[]);
    let (guest, host) = (victim.at("aside/guest"), victim.at("target"));
    fs::rename(&guest, host.join(guest.file_name().unwrap())).unwrap();
    victim.opens();
    victim.reads("target/guest", "from aside");
    victim.is_gone("aside/guest");
    victim.others_read_right(&["aside/guest"]);
    victim.check_finds(&[]);
}
