//! Entries of directories: moved, renamed, invented, of another kind.

use std::ffi::OsStr;
use std::fs;
use std::os::unix::fs::symlink;
use std::os::unix::net::UnixListener;
use std::path::{Path, PathBuf};

use crate::filled::{cut, flip, long};
use crate::harness::*;
use crate::victim::*;

const STRANGE: Found<'static> = ("name-does-not-open", "whole", None);
const FOREIGN: Found<'static> = ("foreign", "nothing", None);

/// The side file of a long entry.
fn side_file(entry: &Path) -> PathBuf {
    PathBuf::from(format!("{}=", entry.display()))
}

/// Where an entry would be under the same name in another directory.
fn below(dir: &Path, entry: &Path) -> PathBuf {
    dir.join(entry.file_name().unwrap())
}

#[test]
fn a_file_moved_between_directories_is_not_shown_and_found_by_check() {
    let victim = Victim::new();
    let (root, from, to) = (victim.place.vault(), victim.at("box"), victim.at("chest"));
    for dir in [&root, &to] {
        let entry = victim.at("box/inside");
        fs::rename(&entry, below(dir, &entry)).unwrap();
        victim.is_gone("box/inside");
        victim.is_gone("inside");
        victim.others_read_right(&["box/inside"]);
        assert_eq!(victim.names("chest"), ["inside"]);
        victim.check_finds(&[STRANGE]);
        fs::rename(below(dir, &entry), below(&from, &entry)).unwrap();
    }
    victim.is_untouched();
}

#[test]
fn an_invented_name_is_not_shown_and_found_by_check() {
    let victim = Victim::new();
    let dir = victim.place.vault();
    let letter = fs::read(victim.at("letter")).unwrap();
    // Of a legal length, with a file of the vault under it.
    for len in [43, 64, 192] {
        fs::write(dir.join("A".repeat(len)), &letter).unwrap();
    }
    victim.opens();
    victim.others_read_right(&[]);
    assert!(!victim.names("").iter().any(|name| name.starts_with('A')));
    victim.check_finds(&[STRANGE, STRANGE, STRANGE]);
}

#[test]
fn a_changed_letter_of_a_name_makes_it_not_shown_and_found_by_check() {
    let victim = Victim::new();
    let entry = victim.at("letter");
    let name = entry.file_name().unwrap().to_str().unwrap();
    for at in [0, 20, 41] {
        let mut changed = name.to_owned();
        let other = if &name[at..=at] == "B" { "C" } else { "B" };
        changed.replace_range(at..=at, other);
        let moved = entry.with_file_name(changed);
        fs::rename(&entry, &moved).unwrap();
        victim.is_gone("letter");
        victim.others_read_right(&["letter"]);
        victim.check_finds(&[STRANGE]);
        fs::rename(&moved, &entry).unwrap();
    }
}

#[test]
fn a_file_that_the_keeper_adds_is_not_shown() {
    let victim = Victim::new();
    let dir = victim.place.vault();
    let shown = victim.names("");
    for name in [
        "notes.txt",
        "x",
        "-rf",
        ".hidden",
        "A=",
        "keepfs.note",
        ".nfs1",
    ] {
        fs::write(dir.join(name), "read me").unwrap();
    }
    fs::write(dir.join(OsStr::new("\x1b[2J")), "read me").unwrap();
    victim.opens();
    assert_eq!(victim.names(""), shown);
    victim.mounted(&[], |m| {
        assert_eq!(fs::read_dir(m).unwrap().count(), shown.len());
        assert!(fs::read(m.join("notes.txt")).is_err());
    });
    victim.others_read_right(&[]);
    let leftover = ("leftover", "nothing", None);
    let temporary = ("client-temp", "nothing", None);
    let found = [FOREIGN, FOREIGN, FOREIGN, FOREIGN, FOREIGN, FOREIGN];
    victim.check_finds(&[&found[..], &[leftover, temporary]].concat());
    let told = victim.run(&["check", "v"]);
    assert!(!told.stdout.contains('\x1b'), "{:?}", told.stdout);
}

#[test]
fn a_link_in_the_place_of_a_file_is_not_followed_and_found_by_check() {
    let victim = Victim::new();
    let secret = victim.place.root().join("outside");
    fs::write(&secret, "outside the vault").unwrap();
    let entry = victim.at("letter");
    fs::remove_file(&entry).unwrap();
    symlink(&secret, &entry).unwrap();
    victim.opens();
    victim
        .cat("letter")
        .failed(code::NO_SUCH_OBJECT, &["symbolic link"]);
    victim.mounted(&[], |m| {
        assert!(fs::read(m.join("letter")).is_err());
        assert!(fs::read_link(m.join("letter")).is_err());
        // Nor is it written through.
        assert!(fs::write(m.join("letter"), "written").is_err());
    });
    assert_eq!(fs::read_to_string(&secret).unwrap(), "outside the vault");
    victim.others_read_right(&["letter"]);
    victim.check_finds(&[("link", "whole", Some("letter"))]);
}

#[test]
fn a_link_in_the_place_of_a_directory_is_not_followed_and_found_by_check() {
    let victim = Victim::new();
    let outside = victim.place.root().join("outside");
    let dir = victim.at("box");
    fs::rename(&dir, &outside).unwrap();
    symlink(&outside, &dir).unwrap();
    victim.opens();
    victim.is_gone("box/inside");
    victim.mounted(&[], |m| {
        assert!(fs::read_dir(m.join("box")).is_err());
        assert!(fs::write(m.join("box/new"), "new").is_err());
    });
    assert_eq!(fs::read_dir(&outside).unwrap().count(), 2);
    victim.check_finds(&[("link", "whole", Some("box"))]);
}

#[test]
fn a_link_in_the_place_of_a_slot_directory_is_not_followed() {
    let victim = Victim::new();
    let slots = victim.place.vault().join("keepfs.slots");
    let outside = victim.place.root().join("outside");
    fs::rename(&slots, &outside).unwrap();
    symlink(&outside, &slots).unwrap();
    let ran = victim.run(&["ls", "v"]);
    assert_ne!(ran.code, code::DONE, "{}", ran.stdout);
}

#[test]
fn a_special_file_in_the_place_of_a_file_is_not_read() {
    let victim = Victim::new();
    let (pipe, socket) = (victim.at("letter"), victim.at("other"));
    fs::remove_file(&pipe).unwrap();
    tool("mkfifo", &[], &pipe);
    fs::remove_file(&socket).unwrap();
    // Bound by a short path: a socket's address has room for 108 bytes.
    let bound = victim.place.root().join("s");
    drop(UnixListener::bind(&bound).unwrap());
    fs::rename(bound, &socket).unwrap();
    victim.opens();
    for plain in ["letter", "other"] {
        victim.cat(plain).failed(code::NO_SUCH_OBJECT, &[plain]);
    }
    victim.others_read_right(&["letter", "other"]);
    // They are what they are, as all metadata is; `check` counts them.
    victim.check_finds(&[]);
    let told = victim.run(&["check", "--json", "v"]);
    assert_eq!(told.json()["special"], 2);
}

#[test]
fn a_pipe_in_the_place_of_a_pin_or_a_side_file_does_not_hang() {
    let victim = Victim::new();
    let side = side_file(&victim.at(&long()));
    let pin = victim.at("pinned").join("keepfs.dir");
    for path in [&side, &pin] {
        fs::remove_file(path).unwrap();
        tool("mkfifo", &[], path);
    }
    victim.opens();
    let read = victim.cat("pinned/kept");
    assert_ne!(read.code, code::DONE);
    assert_eq!(read.stdout, "");
    let checked = victim.run(&["check", "v"]);
    assert!([code::DAMAGE_FOUND, 25].contains(&checked.code));
}

#[test]
fn a_directory_in_the_place_of_a_file_is_not_read_as_one() {
    let victim = Victim::new();
    let entry = victim.at("letter");
    fs::remove_file(&entry).unwrap();
    fs::create_dir(&entry).unwrap();
    victim.opens();
    victim
        .cat("letter")
        .failed(code::NO_SUCH_OBJECT, &["directory"]);
    victim.others_read_right(&["letter"]);
    // An empty directory is whole: this is a removed file and a new directory.
    victim.check_finds(&[]);
}

#[test]
fn a_file_in_the_place_of_a_directory_is_not_listed_and_its_files_are_gone() {
    let victim = Victim::new();
    let (dir, letter) = (victim.at("box"), victim.at("letter"));
    fs::remove_dir_all(&dir).unwrap();
    fs::copy(letter, &dir).unwrap();
    victim.opens();
    victim.is_gone("box/inside");
    // The copy is a file of the vault, under a name of the vault.
    victim.reads("box", victim.text("letter"));
    victim.check_finds(&[]);
}

// ---- long names ----

/// What else the keeper has to remove for a side file to be lost.
fn without_names(victim: &Victim) {
    fs::remove_dir_all(victim.place.vault().join("keepfs.names")).unwrap();
}

#[test]
fn a_side_file_removed_or_changed_is_made_up_for_by_its_second_copy() {
    let victim = Victim::new();
    let side = side_file(&victim.at(&long()));
    flip(&side, 5);
    victim.others_read_right(&[]);
    fs::remove_file(&side).unwrap();
    victim.opens();
    assert!(victim.names("").contains(&long()));
    victim.others_read_right(&[]);
    victim.check_finds(&[]);
}

#[test]
fn a_long_name_without_any_side_file_is_not_listed_and_found_by_check() {
    let victim = Victim::new();
    without_names(&victim);
    fs::remove_file(side_file(&victim.at(&long()))).unwrap();
    victim.opens();
    assert!(!victim.names("").contains(&long()));
    victim.others_read_right(&[&long()]);
    victim.check_finds(&[("no-side-file", "whole", None)]);
}

#[test]
fn a_changed_side_file_without_a_second_copy_is_not_listed_and_found_by_check() {
    type Change = fn(&Path);
    let changes: [Change; 4] = [
        |side| flip(side, 5),
        |side| cut(side, 20),
        |side| splice(side, |bytes| bytes.push(0)),
        |side| fs::write(side, "evil").unwrap(),
    ];
    for change in changes {
        let victim = Victim::new();
        without_names(&victim);
        change(&side_file(&victim.at(&long())));
        victim.opens();
        assert!(!victim.names("").contains(&long()));
        victim.others_read_right(&[&long()]);
        victim.check_finds(&[("wrong-side-file", "whole", None)]);
    }
}

#[test]
fn the_side_file_of_another_name_is_not_taken() {
    let mut victim = Victim::new();
    let other = "o".repeat(200);
    victim.edit(|m| fs::write(m.join(&other), "the other").unwrap());
    let (a, b) = (victim.at(&long()), victim.at(&other));
    without_names(&victim);
    exchange(&side_file(&a), &side_file(&b));
    victim.opens();
    let shown = victim.names("");
    assert!(!shown.contains(&other) && !shown.contains(&long()));
    let wrong = ("wrong-side-file", "whole", None);
    victim.check_finds(&[wrong, wrong]);
}

#[test]
fn a_long_name_carried_into_another_directory_is_not_shown() {
    let victim = Victim::new();
    let (entry, dir) = (victim.at(&long()), victim.at("box"));
    for path in [entry.clone(), side_file(&entry)] {
        fs::copy(&path, below(&dir, &path)).unwrap();
    }
    victim.opens();
    assert_eq!(victim.names("box"), ["deep", "inside"]);
    victim.others_read_right(&[]);
    victim.check_finds(&[STRANGE]);
}

// ---- conflict copies ----

/// The name under which a copy of `letter` is shown.
fn copy_of_letter(victim: &Victim) -> String {
    let names = victim.names("");
    let mut copies = names
        .iter()
        .filter(|name| name.starts_with("letter [conflict "));
    let copy = copies.next().expect("the copy is shown").clone();
    assert_eq!(copies.next(), None);
    copy
}

#[test]
fn a_conflict_copy_is_shown_beside_its_original_and_never_in_its_place() {
    let victim = Victim::new();
    let shown = victim.names("");
    let (letter, other) = (victim.at("letter"), victim.at("other"));
    for suffix in [
        ".sync-conflict-20261122-101010-ABCDEFG",
        " (conflicted copy 2026-11-22 101010)",
        ".sh",
        " (1)",
    ] {
        let copy = format!("{}{suffix}", letter.display());
        fs::copy(&other, &copy).unwrap();
        victim.reads("letter", victim.text("letter"));
        let shown = copy_of_letter(&victim);
        assert!(
            shown.ends_with(']'),
            "no extension from the keeper: {shown}"
        );
        victim.reads(&shown, victim.text("other"));
        victim.check_finds(&[("conflict-copy", "nothing", Some(&shown))]);
        fs::remove_file(copy).unwrap();
    }
    assert_eq!(victim.names(""), shown);
}

#[test]
fn a_file_renamed_to_its_conflict_copy_is_shown_as_that_only() {
    let victim = Victim::new();
    let entry = victim.at("letter");
    fs::rename(&entry, format!("{}.conflict1", entry.display())).unwrap();
    victim.opens();
    victim.is_gone("letter");
    victim.others_read_right(&["letter"]);
    let shown = copy_of_letter(&victim);
    victim.reads(&shown, victim.text("letter"));
    victim.check_finds(&[("conflict-copy", "nothing", Some(&shown))]);
}
