//! Targets of symbolic links, extended attributes, and what the backing says of
//! modes and times.

use std::fs;
use std::os::unix::fs::{MetadataExt, PermissionsExt, symlink};
use std::path::{Path, PathBuf};
use std::process::Command;

use crate::filled::flip;
use crate::harness::{code, run};
use crate::victim::*;

// ---- symbolic links ----

fn target(link: &Path) -> String {
    fs::read_link(link).unwrap().to_str().unwrap().to_owned()
}

fn point(link: &Path, to: &str) {
    fs::remove_file(link).unwrap();
    symlink(to, link).unwrap();
}

/// The link's target is refused, and named by `check`.
#[track_caller]
fn link_is_refused(victim: &Victim) {
    victim.opens();
    victim.mounted(&[], |m| {
        let error = fs::read_link(m.join("link")).expect_err("refused");
        assert_eq!(error.raw_os_error(), Some(libc::EIO), "{error}");
        assert_eq!(target(&m.join("pointer")), "else/where");
    });
    victim.others_read_right(&[]);
    victim.check_finds(&[("link", "whole", Some("link"))]);
}

#[test]
fn a_changed_letter_of_a_target_is_refused_when_the_link_is_read() {
    let victim = Victim::new();
    let link = victim.at("link");
    let whole = target(&link);
    for at in [0, 30, 40, 50] {
        let mut changed = whole.clone();
        let other = if &whole[at..=at] == "B" { "C" } else { "B" };
        changed.replace_range(at..=at, other);
        point(&link, &changed);
        link_is_refused(&victim);
    }
}

#[test]
fn a_target_of_the_keepers_choice_is_refused_when_the_link_is_read() {
    for chosen in ["/etc/passwd", "../../outside", "A", &"A".repeat(66)] {
        let victim = Victim::new();
        point(&victim.at("link"), chosen);
        link_is_refused(&victim);
    }
}

#[test]
fn a_target_cut_or_extended_is_refused_when_the_link_is_read() {
    let victim = Victim::new();
    let link = victim.at("link");
    let whole = target(&link);
    for changed in [&whole[..whole.len() - 4], &format!("{whole}AAAA")] {
        point(&link, changed);
        link_is_refused(&victim);
    }
}

#[test]
fn the_targets_of_two_links_exchanged_are_not_noticed() {
    let victim = Victim::new();
    exchange(&victim.at("link"), &victim.at("pointer"));
    victim.opens();
    victim.mounted(&["--strict"], |m| {
        assert_eq!(target(&m.join("link")), "else/where");
        assert_eq!(target(&m.join("pointer")), "some/where");
    });
    victim.check_finds(&[]);
}

#[test]
fn a_link_put_back_to_an_older_target_is_not_noticed() {
    let mut victim = Victim::new();
    let kept = victim.keep();
    victim.edit(|m| point(&m.join("link"), "a/newer/place"));
    kept.put_back(&victim, &victim.at("link"));
    victim.opens();
    victim.mounted(&["--strict"], |m| {
        assert_eq!(target(&m.join("link")), "some/where");
    });
    victim.check_finds(&[]);
}

// ---- extended attributes ----

/// An encrypted attribute on the backing: its name, and its value in hex.
type Attribute = (String, String);

/// The encrypted attributes of an object on the backing.
fn attributes(path: &Path) -> Vec<Attribute> {
    let dump = ["--absolute-names", "-d", "-m", "user.keepfs", "-e", "hex"];
    let dump = tool("getfattr", &dump, path);
    let pairs = dump.lines().filter_map(|line| line.split_once('='));
    pairs.map(|(n, v)| (n.to_owned(), v.to_owned())).collect()
}

fn set(path: &Path, name: &str, value: &str) {
    tool("setfattr", &["-n", name, "-v", value], path);
}

fn unset(path: &Path, name: &str) {
    tool("setfattr", &["-x", name], path);
}

/// `letter` with an attribute, which reads right.
fn with_attribute() -> (Victim, PathBuf, Attribute) {
    let mut victim = Victim::new();
    victim.edit(|m| set(&m.join("letter"), "user.note", "private"));
    let file = victim.at("letter");
    let found = attributes(&file);
    assert_eq!(found.len(), 1);
    victim.mounted(&[], |m| shows(m, "letter", &["user.note=\"private\""]));
    victim.check_finds(&[]);
    (victim, file, found[0].clone())
}

/// A mount shows exactly these attributes of a file.
#[track_caller]
fn shows(m: &Path, plain: &str, expected: &[&str]) {
    let dump = tool("getfattr", &["--absolute-names", "-d"], &m.join(plain));
    let shown = dump.lines().filter(|line| line.starts_with("user."));
    assert_eq!(shown.collect::<Vec<_>>(), expected);
}

/// Reading the note of `letter` in a mount is an error, without a value.
#[track_caller]
fn refuses_note(m: &Path) {
    let get = ["--only-values", "--absolute-names", "-n", "user.note"];
    let mut command = Command::new("getfattr");
    let got = run(command.args(get).arg(m.join("letter")), b"");
    got.failed(code::FAILURE, &["Input/output error"]);
}

const DAMAGED: Found<'static> = ("attribute", "part", Some("letter"));

#[test]
fn a_changed_value_of_an_attribute_is_refused_when_it_is_read() {
    let (victim, file, (name, value)) = with_attribute();
    let last = if value.ends_with('0') { "1" } else { "0" };
    let changed = format!("{}{last}", &value[..value.len() - 1]);
    for wrong in [changed.as_str(), &value[..value.len() - 2], "0x00", "plain"] {
        set(&file, &name, wrong);
        victim.opens();
        victim.mounted(&[], |m| refuses_note(m));
        victim.others_read_right(&[]);
        victim.check_finds(&[DAMAGED]);
    }
}

#[test]
fn an_attribute_carried_to_another_file_is_not_shown_there() {
    let (victim, _, (name, value)) = with_attribute();
    set(&victim.at("other"), &name, &value);
    victim.opens();
    victim.mounted(&[], |m| {
        shows(m, "other", &[]);
        shows(m, "letter", &["user.note=\"private\""]);
    });
    victim.check_finds(&[("attribute", "part", Some("other"))]);
}

#[test]
fn the_value_of_another_attribute_is_refused_when_it_is_read() {
    let (mut victim, file, (note, _)) = with_attribute();
    victim.edit(|m| set(&m.join("letter"), "user.rank", "general"));
    let all = attributes(&file);
    let (rank, value) = all.iter().find(|(name, _)| *name != note).unwrap();
    assert_ne!(*rank, note);
    set(&file, &note, value);
    victim.opens();
    victim.mounted(&[], |m| refuses_note(m));
    victim.check_finds(&[DAMAGED]);
}

#[test]
fn an_invented_name_of_an_attribute_is_not_shown_and_found_by_check() {
    let (victim, file, (_, value)) = with_attribute();
    set(&file, &format!("user.keepfs.{}", "A".repeat(43)), &value);
    set(&file, "user.plain", "of the keeper");
    victim.opens();
    victim.mounted(&[], |m| shows(m, "letter", &["user.note=\"private\""]));
    victim.check_finds(&[DAMAGED]);
}

#[test]
fn an_attribute_removed_or_put_back_to_an_older_value_is_not_noticed() {
    let (mut victim, file, (name, value)) = with_attribute();
    victim.edit(|m| set(&m.join("letter"), "user.note", "public"));
    set(&file, &name, &value);
    victim.opens();
    victim.mounted(&["--strict"], |m| {
        shows(m, "letter", &["user.note=\"private\""]);
    });
    victim.check_finds(&[]);
    unset(&file, &name);
    victim.mounted(&["--strict"], |m| shows(m, "letter", &[]));
    victim.check_finds(&[]);
}

// ---- modes and times ----

#[test]
fn modes_and_times_are_the_keepers_to_choose() {
    let victim = Victim::new();
    let file = victim.at("letter");
    fs::set_permissions(&file, fs::Permissions::from_mode(0o4777)).unwrap();
    tool("touch", &["-d", "2001-02-03 04:05:06 UTC"], &file);
    victim.opens();
    victim.mounted(&[], |m| {
        let shown = fs::metadata(m.join("letter")).unwrap();
        assert_eq!(shown.mode() & 0o7777, 0o4777);
        assert_eq!(shown.mtime(), 981_173_106);
        // But a set-user-id bit set there gives nobody anything.
        let table = fs::read_to_string("/proc/self/mountinfo").unwrap();
        let line = table.lines().find(|l| l.contains(m.to_str().unwrap()));
        let options = line.unwrap().split(' ').nth(5).unwrap();
        for option in ["nosuid", "nodev"] {
            assert!(options.split(',').any(|o| o == option), "{options}");
        }
    });
    victim.others_read_right(&[]);
    victim.check_finds(&[]);
}

#[test]
fn an_attribute_of_a_file_whose_header_is_damaged_is_refused() {
    let (victim, file, _) = with_attribute();
    flip(&file, 60);
    victim.refuses("letter", 0);
    victim.mounted(&[], |m| refuses_note(m));
    victim.check_finds(&[("header", "whole", Some("letter"))]);
}
