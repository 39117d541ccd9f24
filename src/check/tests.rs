#![allow(clippy::unwrap_used, reason = "tests stop at the first surprise")]

use std::collections::BTreeSet;
use std::fs;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::process::Command;

use super::repair::{Remedy, plan};
use super::*;
use crate::store::Quarantine;
use crate::sys::fs::mutation::faults::{Plan, Scope, arm};
use crate::types::{Access, PlainOff, RenameMode};
use crate::vault::file::File;
use crate::vault::tests::World;

const SLOT: u64 = 4096 + 40;

fn name(text: &str) -> PlainName {
    PlainName::new(text.as_bytes()).unwrap()
}

/// Whether a file is left as it is while it is being written.
#[derive(Clone, Copy, PartialEq, Eq)]
enum End {
    Sealed,
    Open,
}

fn write(world: &World, dir: &VaultDir, text: &str, bytes: &[u8], end: End) {
    let store = dir.create_file(&world.vault, &name(text), 0o644).unwrap();
    let file = File::create(&world.vault, store, dir.id()).unwrap();
    file.write(PlainOff::new(0), bytes).unwrap();
    if end == End::Sealed {
        file.seal().unwrap();
    }
}

fn contents_of(world: &World, dir: &VaultDir, text: &str) -> Option<Vec<u8>> {
    let store = dir
        .open_file(&world.vault, &name(text), Access::Read)
        .ok()?;
    let (file, _) = File::open(&world.vault, store).ok()?;
    let mut bytes = Vec::new();
    file.read(PlainOff::new(0), 1 << 20, &mut bytes).ok()?;
    Some(bytes)
}

fn child(world: &World, text: &str) -> VaultDir {
    let root = world.vault.root_dir();
    root.open_child(&world.vault, &name(text)).unwrap()
}

fn backing(world: &World, dir: &[&str], text: &str) -> PathBuf {
    let (mut at, mut path) = (world.vault.root_dir(), world.path.clone());
    for part in dir.iter().chain([&text]) {
        let found = at.lookup(&world.vault, &name(part)).unwrap().unwrap();
        path.push(std::str::from_utf8(found.entry.bytes()).unwrap());
        if *part != text {
            at = at.open_child(&world.vault, &name(part)).unwrap();
        }
    }
    path
}

fn flip(path: &Path, at: u64) {
    let file = fs::File::options().read(true).write(true).open(path);
    let file = file.unwrap();
    let mut byte = [0];
    file.read_exact_at(&mut byte, at).unwrap();
    file.write_all_at(&[byte[0] ^ 1], at).unwrap();
}

/// Two directories, one of them renamed, with a file in each.
fn world() -> World {
    let world = World::new();
    let root = world.vault.root_dir();
    for dir in ["dir", "old"] {
        root.mkdir(&world.vault, &name(dir), 0o755).unwrap();
        write(
            &world,
            &child(&world, dir),
            "file",
            &[7; 10_000],
            End::Sealed,
        );
    }
    let (from, to) = ((&root, &name("old")), (&root, &name("new")));
    VaultDir::rename(&world.vault, from, to, RenameMode::Replace).unwrap();
    world
}

/// Contents of all files below a directory, values of attributes included.
fn held(dir: &Path) -> BTreeSet<Vec<u8>> {
    let mut found = BTreeSet::new();
    let mut open = vec![dir.to_owned()];
    while let Some(dir) = open.pop() {
        for entry in fs::read_dir(dir).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                open.push(path);
            } else {
                found.insert(fs::read(path).unwrap());
            }
        }
    }
    found
}

fn look(world: &World) -> Report {
    check(&world.vault, Depth::Full, &|_| {})
}

fn is_whole(report: &Report) -> bool {
    let losses = report.findings.iter().map(|f| f.trouble.loss());
    losses.max().is_none_or(|loss| loss == Loss::Nothing)
}

struct Case {
    what: &'static str,
    harm: fn(&World),
    remedy: &'static str,
    /// Where `[7; 10_000]` or the first part of it is afterwards.
    reads: Option<(&'static str, &'static str, usize)>,
    /// Whether files are moved and copied, but not written to.
    keeps_bytes: bool,
}

const CASES: &[Case] = &[
    Case {
        what: "a damaged header",
        harm: |w| flip(&backing(w, &["dir"], "file"), 60),
        remedy: "set-aside",
        reads: None,
        keeps_bytes: true,
    },
    Case {
        what: "a lost pin",
        harm: |w| fs::remove_file(backing(w, &[], "new").join("keepfs.dir")).unwrap(),
        remedy: "pin",
        reads: Some(("new", "file", 10_000)),
        keeps_bytes: true,
    },
    Case {
        what: "a damaged pin",
        harm: |w| flip(&backing(w, &[], "new").join("keepfs.dir"), 3),
        remedy: "pin",
        reads: Some(("new", "file", 10_000)),
        keeps_bytes: true,
    },
    Case {
        what: "a file moved away",
        harm: |w| {
            let file = backing(w, &["dir"], "file");
            fs::rename(&file, w.path.join(file.file_name().unwrap())).unwrap();
        },
        remedy: "move-home",
        reads: Some(("dir", "file", 10_000)),
        keeps_bytes: true,
    },
    Case {
        what: "a long name moved away",
        harm: |w| {
            let long = "l".repeat(200);
            write(w, &child(w, "dir"), &long, &[9; 99], End::Sealed);
            let entry = backing(w, &["dir"], &long);
            let to = |path: &str| w.path.join(Path::new(path).file_name().unwrap());
            let (entry, side) = (entry.display().to_string(), format!("{}=", entry.display()));
            fs::rename(&entry, to(&entry)).unwrap();
            fs::rename(&side, to(&side)).unwrap();
        },
        remedy: "move-home",
        reads: Some(("dir", "file", 10_000)),
        keeps_bytes: true,
    },
    Case {
        what: "a lost name",
        harm: |w| {
            let long = "l".repeat(200);
            write(w, &child(w, "dir"), &long, &[9; 99], End::Sealed);
            let entry = backing(w, &["dir"], &long);
            fs::remove_file(format!("{}=", entry.display())).unwrap();
            fs::remove_dir_all(w.path.join("keepfs.names")).unwrap();
        },
        remedy: "new-name",
        reads: Some(("dir", "file", 10_000)),
        keeps_bytes: true,
    },
    Case {
        what: "a file left open",
        harm: |w| write(w, &child(w, "dir"), "open", &[7; 10_000], End::Open),
        remedy: "seal",
        reads: Some(("dir", "open", 10_000)),
        keeps_bytes: false,
    },
    Case {
        what: "a file left open with a torn end",
        harm: |w| {
            write(w, &child(w, "dir"), "open", &[7; 10_000], End::Open);
            flip(&backing(w, &["dir"], "open"), 128 + 2 * SLOT + 60);
        },
        remedy: "seal-without-end",
        reads: Some(("dir", "open", 8192)),
        keeps_bytes: false,
    },
    Case {
        what: "an append torn between two slots",
        harm: |w| {
            write(w, &child(w, "dir"), "open", &[7; 10_000], End::Open);
            let path = backing(w, &["dir"], "open");
            let file = fs::File::options().write(true).open(path).unwrap();
            file.set_len(128 + 2 * SLOT + 17).unwrap();
        },
        remedy: "seal",
        reads: Some(("dir", "open", 8192)),
        keeps_bytes: false,
    },
    Case {
        what: "something behind the end",
        harm: |w| {
            let path = backing(w, &["dir"], "file");
            let len = fs::metadata(&path).unwrap().len();
            let file = fs::File::options().write(true).open(path).unwrap();
            file.write_all_at(b"more", len).unwrap();
        },
        remedy: "cut-extra",
        reads: Some(("dir", "file", 10_000)),
        keeps_bytes: false,
    },
    Case {
        what: "an attribute of nobody",
        harm: |w| {
            let set = Command::new("setfattr")
                .args(["-n", "user.keepfs.AAAA", "-v", "x"])
                .arg(backing(w, &["dir"], "file"))
                .status();
            assert!(set.unwrap().success());
        },
        remedy: "drop-attributes",
        reads: Some(("dir", "file", 10_000)),
        keeps_bytes: true,
    },
];

/// Repairs until nothing is left to do.
fn repair_all(world: &World, quarantine: &mut Quarantine) {
    for _ in 0..10 {
        let steps = plan(&world.vault, &look(world), &[]);
        if steps.is_empty() {
            return;
        }
        for step in steps {
            step.carry_out(&world.vault, quarantine).unwrap();
        }
    }
    panic!("there is always something left to repair");
}

#[test]
fn a_kill_at_any_change_of_a_repair_loses_nothing_and_the_next_one_ends_it() {
    for case in CASES {
        let Case { what, remedy, .. } = case;
        for passed in 0.. {
            let world = world();
            (case.harm)(&world);
            let before = held(&world.path);
            let steps = plan(&world.vault, &look(&world), &[]);
            let remedies: Vec<&str> = steps.iter().map(|step| step.remedy.word()).collect();
            assert_eq!(remedies, [*remedy], "{what}");
            let at = |n: u32| world.path.with_file_name(format!("quarantine {n}"));
            let mut first = Quarantine::create(&at(1)).unwrap();
            let armed = arm(Scope::Thread, Plan::kill_after(passed));
            let done = steps[0].carry_out(&world.vault, &mut first);
            let fired = armed.fired();
            drop(armed);
            assert!(fired || done.is_ok(), "{what}: {done:?}");
            let mut second = Quarantine::create(&at(2)).unwrap();
            repair_all(&world, &mut second);
            assert!(is_whole(&look(&world)), "{what} after {passed}");
            if case.keeps_bytes {
                let mut after = held(&world.path);
                after.extend(held(&at(1)));
                after.extend(held(&at(2)));
                let lost = before.difference(&after).count();
                assert_eq!(lost, 0, "{what} after {passed}");
            }
            if let Some((dir, file, len)) = case.reads {
                let read = contents_of(&world, &child(&world, dir), file);
                assert_eq!(read, Some(vec![7; len]), "{what} after {passed}");
            }
            if !fired {
                assert!(passed >= 1, "{what}: nothing was changed");
                break;
            }
        }
    }
}

fn torn_append() -> &'static Case {
    let mut cases = CASES.iter();
    cases
        .find(|case| case.remedy == "seal-without-end")
        .unwrap()
}

#[test]
fn a_torn_end_is_in_the_quarantine_before_it_is_cut() {
    for passed in 0.. {
        let world = world();
        (torn_append().harm)(&world);
        let path = backing(&world, &["dir"], "open");
        let whole = fs::read(&path).unwrap();
        let torn = &whole[128 + 2 * 4136..];
        let steps = plan(&world.vault, &look(&world), &[]);
        let torn_off = matches!(steps[0].remedy, Remedy::SealWithoutEnd { keeps: 8192, .. });
        assert!(torn_off);
        let at = world.path.with_file_name("quarantine");
        let mut quarantine = Quarantine::create(&at).unwrap();
        let armed = arm(Scope::Thread, Plan::kill_after(passed));
        let done = steps[0].carry_out(&world.vault, &mut quarantine);
        let fired = armed.fired();
        drop(armed);
        let there = fs::read(&path).unwrap().ends_with(torn);
        assert!(there || held(&at).contains(torn), "after {passed}");
        if !fired {
            done.unwrap();
            break;
        }
    }
}

#[test]
fn of_two_objects_of_one_name_the_second_is_a_conflict_copy_and_a_hidden_one_is_named() {
    let world = world();
    let (root, vault) = (world.vault.root_dir(), &world.vault);
    let dir = child(&world, "dir");
    let other = child(&world, "new").id();
    dir.restore_pin(vault, other).unwrap();
    assert!(is_whole(&look(&world)));
    let cipher_name = vault.keys().cipher_name(other, &name("file"));
    let store = dir.store().create_file(&cipher_name, 0o644).unwrap();
    let file = File::create(vault, store, other).unwrap();
    file.seal().unwrap();
    let report = look(&world);
    let [finding] = report.findings.as_slice() else {
        panic!("{:?}", report.findings);
    };
    assert!(matches!(&finding.trouble, Trouble::ConflictCopy { of } if of == b"file"));
    let shown = finding.plain_path.clone().unwrap();
    let shown = shown.strip_prefix(b"dir/").unwrap();
    assert!(shown.starts_with(b"file [conflict "));
    let found = root.lookup(vault, &name("dir")).unwrap().unwrap();
    assert!(finding.cipher_path.starts_with(found.entry.bytes()));
    assert_eq!(
        contents_of(&world, &child(&world, "dir"), "file"),
        Some(Vec::new())
    );
    // A third one has the very name that the second is shown under.
    let shown = PlainName::new(shown).unwrap();
    let cipher_name = vault.keys().cipher_name(other, &shown);
    let store = dir.store().create_file(&cipher_name, 0o644).unwrap();
    File::create(vault, store, other).unwrap().seal().unwrap();
    let report = look(&world);
    let hidden = |f: &&Finding| matches!(f.trouble, Trouble::Hidden);
    assert_eq!(report.findings.iter().filter(hidden).count(), 1);
}
