//! `keepfs check`: one test case for each thing that can be wrong.

use std::fs::{self, OpenOptions};
use std::os::unix::fs::{FileExt, symlink};
use std::path::Path;
use std::process::Command;

use crate::filled::*;
use crate::harness::*;

#[test]
fn a_whole_vault_has_no_findings_and_is_not_changed() {
    let place = filled();
    let before = snapshot(&place.vault());
    let (code, report) = check(&place, &[]);
    assert_eq!(code, code::DONE, "{report}");
    assert_eq!(findings(&report), []);
    for (what, count) in [("directories", 4), ("files", 7), ("symlinks", 1)] {
        assert_eq!(report[what], count, "{report}");
    }
    let (code, report) = check(&place, &["--quick"]);
    assert_eq!((code, findings(&report)), (code::DONE, Vec::new()));
    let shown = place.run(&["check", "--keyfile", "key", "v"]);
    shown.done();
    assert!(
        shown.stdout.contains("7 files, 4 directories"),
        "{}",
        shown.stdout
    );
    assert_eq!(snapshot(&place.vault()), before);
}

/// Which of the two depths sees it.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Seen {
    Always,
    InFull,
}
use Seen::{Always, InFull};

pub(crate) type Harm = fn(&Place);
/// What is done; how; kind, loss and plain path of the finding; who sees it.
pub(crate) type Case = (
    &'static str,
    Harm,
    &'static str,
    &'static str,
    Option<&'static str>,
    Seen,
);

pub(crate) const CASES: &[Case] = &[
    (
        "a bit of a chunk",
        |p| flip(&backing(p, "file"), 128 + SLOT + 99),
        "chunks",
        "part",
        Some("file"),
        InFull,
    ),
    (
        "a bit of a header",
        |p| flip(&backing(p, "file"), 60),
        "header",
        "whole",
        Some("file"),
        Always,
    ),
    (
        "cut at a chunk",
        |p| cut(&backing(p, "file"), 128 + 2 * SLOT),
        "cut",
        "part",
        Some("file"),
        Always,
    ),
    (
        "cut inside a chunk",
        |p| cut(&backing(p, "file"), 128 + SLOT + 1000),
        "cut",
        "part",
        Some("file"),
        Always,
    ),
    (
        "cut inside the header",
        |p| cut(&backing(p, "file"), 100),
        "too-short",
        "whole",
        Some("file"),
        Always,
    ),
    (
        "emptied",
        |p| cut(&backing(p, "file"), 0),
        "interrupted-create",
        "whole",
        Some("file"),
        Always,
    ),
    (
        "a chunk zeroed",
        |p| {
            let file = OpenOptions::new()
                .write(true)
                .open(backing(p, "file"))
                .unwrap();
            file.write_all_at(&vec![0; 4136], 128).unwrap();
        },
        "chunks",
        "part",
        Some("file"),
        InFull,
    ),
    (
        "a chunk of a sparse file zeroed",
        |p| {
            let file = OpenOptions::new()
                .write(true)
                .open(backing(p, "sparse"))
                .unwrap();
            file.write_all_at(&vec![0; 4136], 128 + 122 * SLOT).unwrap();
        },
        "wrong-seal",
        "part",
        Some("sparse"),
        InFull,
    ),
    (
        "chunks exchanged",
        |p| {
            let file = OpenOptions::new()
                .read(true)
                .write(true)
                .open(backing(p, "file"))
                .unwrap();
            let mut slots = vec![0; 2 * 4136];
            file.read_exact_at(&mut slots, 128).unwrap();
            slots.rotate_left(4136);
            file.write_all_at(&slots, 128).unwrap();
        },
        "chunks",
        "part",
        Some("file"),
        InFull,
    ),
    (
        "a chunk of another file",
        |p| {
            let mut slot = vec![0; 4136];
            fs::File::open(backing(p, "twin"))
                .unwrap()
                .read_exact_at(&mut slot, 128)
                .unwrap();
            let file = OpenOptions::new()
                .write(true)
                .open(backing(p, "file"))
                .unwrap();
            file.write_all_at(&slot, 128).unwrap();
        },
        "chunks",
        "part",
        Some("file"),
        InFull,
    ),
    (
        "a file moved to another directory",
        |p| {
            let entry = backing(p, "dir/inside");
            fs::rename(
                &entry,
                backing(p, "dir/sub").join(entry.file_name().unwrap()),
            )
            .unwrap();
        },
        "name-does-not-open",
        "whole",
        None,
        Always,
    ),
    (
        "a directory moved into another",
        |p| {
            let entry = backing(p, "dir/sub");
            fs::rename(&entry, p.vault().join(entry.file_name().unwrap())).unwrap();
        },
        "name-does-not-open",
        "whole",
        None,
        Always,
    ),
    (
        "a directory's name exchanged for another's",
        |p| {
            let (a, b) = (backing(p, "dir/sub"), backing(p, "pinned"));
            fs::remove_dir_all(&b).unwrap();
            fs::rename(a, b).unwrap();
        },
        "nothing-opens",
        "whole",
        Some("pinned"),
        Always,
    ),
    (
        "a pin removed, and its note",
        |p| lose_pin(p, "pinned"),
        "nothing-opens",
        "whole",
        Some("pinned"),
        Always,
    ),
    (
        "a pin cut",
        |p| cut(&backing(p, "pinned").join("keepfs.dir"), 31),
        "bad-pin",
        "whole",
        Some("pinned"),
        Always,
    ),
    (
        "a bit of a pin, its note removed",
        |p| {
            fs::remove_dir_all(p.vault().join("keepfs.names")).unwrap();
            flip(&backing(p, "pinned").join("keepfs.dir"), 3);
        },
        "nothing-opens",
        "whole",
        Some("pinned"),
        Always,
    ),
    (
        "a long name's side file removed, and its second copy",
        |p| {
            fs::remove_dir_all(p.vault().join("keepfs.names")).unwrap();
            let entry = backing(p, &long());
            fs::remove_file(format!("{}=", entry.display())).unwrap();
        },
        "no-side-file",
        "whole",
        None,
        Always,
    ),
    (
        "a long name's side file changed, its second copy removed",
        |p| {
            fs::remove_dir_all(p.vault().join("keepfs.names")).unwrap();
            let entry = backing(p, &long());
            flip(Path::new(&format!("{}=", entry.display())), 5);
        },
        "wrong-side-file",
        "whole",
        None,
        Always,
    ),
    (
        "a long name's entry removed",
        |p| fs::remove_file(backing(p, &long())).unwrap(),
        "orphaned-side-file",
        "nothing",
        None,
        Always,
    ),
    (
        "a link's target changed",
        |p| {
            let link = backing(p, "link");
            let target = fs::read_link(&link).unwrap();
            let mut target = target.to_str().unwrap().to_owned();
            let swapped = if target.starts_with('A') { "B" } else { "A" };
            target.replace_range(..1, swapped);
            fs::remove_file(&link).unwrap();
            symlink(target, &link).unwrap();
        },
        "link",
        "whole",
        Some("link"),
        Always,
    ),
    (
        "an attribute's value changed",
        |p| {
            let changed = Command::new("sh")
                .args(["-c", "n=$(getfattr --absolute-names -m keepfs \"$1\" | sed -n 2p); setfattr -n \"$n\" -v nonsense-of-more-than-forty-bytes-in-all-of-it \"$1\"", "sh"])
                .arg(backing(p, "file"))
                .status();
            assert!(changed.unwrap().success());
        },
        "attribute",
        "part",
        Some("file"),
        Always,
    ),
    (
        "a directory's attribute of another name",
        |p| {
            let changed = Command::new("setfattr")
                .args(["-n", "user.keepfs.AAAA", "-v", "x"])
                .arg(backing(p, "dir"))
                .status();
            assert!(changed.unwrap().success());
        },
        "attribute",
        "part",
        Some("dir"),
        Always,
    ),
    (
        "a foreign file",
        |p| fs::write(p.vault().join("notes.txt"), "x").unwrap(),
        "foreign",
        "nothing",
        None,
        Always,
    ),
    (
        "a conflict copy",
        |p| {
            let file = backing(p, "file");
            fs::copy(
                &file,
                format!("{}.sync-conflict-20261122-101010-ABCDEFG", file.display()),
            )
            .unwrap();
        },
        "conflict-copy",
        "nothing",
        Some("file [conflict syncthing 2026-11-22 10:10"),
        Always,
    ),
    (
        "an interrupted keepfs",
        |p| fs::write(p.vault().join(format!("~keepfs-{:032x}.tmp", 1)), "x").unwrap(),
        "leftover",
        "nothing",
        None,
        Always,
    ),
    (
        "a mount that was killed",
        |p| {
            fs::write(
                p.vault().join(format!("~keepfs-journal-{:032x}.tmp", 1)),
                "x",
            )
            .unwrap()
        },
        "journal",
        "unproven",
        None,
        Always,
    ),
    (
        "a conflict copy of a pin",
        |p| {
            let pin = backing(p, "pinned").join("keepfs.dir");
            fs::copy(&pin, format!("{}.conflict1", pin.display())).unwrap();
        },
        "leftover",
        "nothing",
        None,
        Always,
    ),
    (
        "a sync client at work",
        |p| fs::write(p.vault().join(".syncthing.x.tmp"), "x").unwrap(),
        "client-temp",
        "nothing",
        None,
        Always,
    ),
    (
        "a directory where a file was",
        |p| {
            let file = backing(p, "file");
            fs::remove_file(&file).unwrap();
            fs::create_dir(&file).unwrap();
            fs::write(file.join("notes"), "x").unwrap();
        },
        "foreign",
        "nothing",
        None,
        Always,
    ),
];

#[test]
fn each_kind_of_damage_is_named_with_what_is_lost() {
    let place = filled();
    let good = place.root().join("good");
    copy_tree(&place.vault(), &good);
    for (what, harm, kind, loss, plain, seen) in CASES {
        fs::remove_dir_all(place.vault()).unwrap();
        copy_tree(&good, &place.vault());
        harm(&place);
        let expected = (
            (*kind).to_owned(),
            (*loss).to_owned(),
            plain.map(str::to_owned),
        );
        for (words, must) in [(&[][..], true), (&["--quick"], *seen == Always)] {
            let (code, report) = check(&place, words);
            let mut found = findings(&report);
            for (_, _, plain) in &mut found {
                // The hash in a copy's name is another in each vault.
                if let Some((known, _)) = plain.as_deref().and_then(|p| p.rsplit_once(' '))
                    && known.contains(" [conflict ")
                {
                    *plain = Some(known.to_owned());
                }
            }
            if must {
                assert_eq!(found, std::slice::from_ref(&expected), "{what} {words:?}");
            } else {
                assert_eq!(found, [], "{what} {words:?}");
            }
            let damaged = must && *loss != "nothing";
            let wanted = if damaged {
                code::DAMAGE_FOUND
            } else {
                code::DONE
            };
            assert_eq!(code, wanted, "{what} {words:?}");
        }
    }
}

#[test]
fn bytes_behind_the_end_are_named_and_spoil_nothing() {
    let place = filled();
    let file = backing(&place, "file");
    let len = fs::metadata(&file).unwrap().len();
    let open = OpenOptions::new().write(true).open(&file).unwrap();
    open.write_all_at(b"more", len).unwrap();
    drop(open);
    let kinds = |words: &[&str]| -> Vec<String> {
        let (code, report) = check(&place, words);
        assert_eq!(code, code::DAMAGE_FOUND);
        let found = findings(&report).into_iter();
        found.map(|(kind, _, _)| kind).collect()
    };
    assert_eq!(kinds(&["--quick"]), ["longer"]);
    assert_eq!(kinds(&[]), ["longer"]);
}

#[test]
fn an_older_chunk_put_back_is_noticed() {
    let place = filled();
    let file = backing(&place, "file");
    let mut old = vec![0; 4136];
    fs::File::open(&file)
        .unwrap()
        .read_exact_at(&mut old, 128)
        .unwrap();
    place.run(&["mount", "--keyfile", "key", "v", "m"]).done();
    let open = OpenOptions::new()
        .write(true)
        .open(place.point().join("file"))
        .unwrap();
    open.write_all_at(b"newer", 10).unwrap();
    drop(open);
    place.run(&["unmount", "m"]).done();
    let (code, _) = check(&place, &[]);
    assert_eq!(code, code::DONE);
    let open = OpenOptions::new().write(true).open(&file).unwrap();
    open.write_all_at(&old, 128).unwrap();
    drop(open);
    let (code, report) = check(&place, &[]);
    assert_eq!(code, code::DAMAGE_FOUND);
    assert_eq!(
        findings(&report),
        [(
            "wrong-seal".to_owned(),
            "part".to_owned(),
            Some("file".to_owned())
        )]
    );
}

#[test]
fn what_changes_a_vault_without_a_mount_brings_in_a_journal_first() {
    let place = filled();
    let with_key = |words: &[&str]| place.run(&[words, &["--keyfile", "key"]].concat());
    fs::write(place.point().with_file_name("new"), "new").unwrap();
    for words in [
        &["import", "new", "v"][..],
        &["conflicts", "resolve", "--keep", "both", "v:file"],
    ] {
        with_key(&["mount", "v", "m"]).done();
        let path = place.point().join("file");
        let file = fs::File::options().write(true).open(&path).unwrap();
        file.write_all_at(words[0].as_bytes(), 0).unwrap();
        file.sync_all().unwrap();
        place.kill();
        drop(file);
        let dry = with_key(&["import", "--dry-run", "new", "v:dry"]);
        assert!(!dry.stderr.contains("last state"), "{}", dry.stderr);
        let ran = with_key(words);
        assert!(
            ran.stderr.contains("1 files brought to their last state"),
            "{}",
            ran.stderr
        );
        let shown = with_key(&["cat", "v:file"]);
        assert!(shown.stdout.starts_with(words[0]), "{words:?}");
        assert!(!shown.stderr.contains("may be in a journal"));
    }
}

#[test]
fn readers_without_a_mount_tell_of_a_journal() {
    let place = filled();
    let tells = |words: &[&str]| {
        let ran = place.run(&[words, &["--keyfile", "key"]].concat());
        assert_eq!(ran.code, 0, "{}", ran.stderr);
        ran.stderr.contains("may be in a journal")
    };
    let mount = || {
        place.run(&["mount", "--keyfile", "key", "v", "m"]).done();
    };
    assert!(!tells(&["ls", "v"]));
    mount();
    let path = place.point().join("file");
    let file = fs::File::options().write(true).open(&path).unwrap();
    file.write_all_at(b"changed", 0).unwrap();
    file.sync_all().unwrap();
    place.kill();
    drop(file);
    assert!(tells(&["ls", "v"]));
    assert!(tells(&["cat", "v:file"]));
    mount();
    assert!(fs::read(&path).unwrap().starts_with(b"changed"));
    place.run(&["unmount", "m"]).done();
    assert!(!tells(&["ls", "v"]));
}

#[test]
fn a_file_that_a_kill_left_open_is_unproven() {
    let place = filled();
    // With a journal, what was synced is sealed.
    place
        .run(&["mount", "--no-journal", "--keyfile", "key", "v", "m"])
        .done();
    let open = fs::File::create(place.point().join("begun")).unwrap();
    open.write_all_at(b"synced", 0).unwrap();
    open.sync_all().unwrap();
    place.kill();
    drop(open);
    let (code, report) = check(&place, &[]);
    assert_eq!(code, code::DAMAGE_FOUND);
    assert_eq!(
        findings(&report),
        [(
            "left-open".to_owned(),
            "unproven".to_owned(),
            Some("begun".to_owned())
        )]
    );
}

#[test]
fn every_run_of_damaged_chunks_is_told() {
    let place = filled();
    let file = backing(&place, "file");
    for chunk in [0, 1, 3] {
        flip(&file, 128 + chunk * SLOT + 40);
    }
    let (_, report) = check(&place, &[]);
    let chunks = &report["findings"][0]["chunks"];
    assert_eq!(*chunks, serde_json::json!([[0, 1], [3, 3]]));
    let shown = place.run(&["check", "--keyfile", "key", "v"]);
    assert!(shown.stdout.contains("3 of its chunks"), "{}", shown.stdout);
    assert!(
        shown.stderr.contains("1 objects damaged"),
        "{}",
        shown.stderr
    );
}

#[test]
fn what_is_no_key_slot_is_a_finding_and_a_mounted_vault_is_not_checked() {
    let place = filled();
    fs::write(place.vault().join("keepfs.slots/notes"), "").unwrap();
    let (code, report) = check(&place, &[]);
    assert_eq!(code, code::DAMAGE_FOUND);
    assert_eq!(report["invalid_slots"][0]["name"], "notes");
    fs::remove_file(place.vault().join("keepfs.slots/notes")).unwrap();
    place.run(&["mount", "--keyfile", "key", "v", "m"]).done();
    place
        .run(&["check", "--keyfile", "key", "v"])
        .failed(code::VAULT_IN_USE, &["unmount it first"]);
    place.run(&["unmount", "m"]).done();
    place
        .run(&["check", "v", "--keyfile", "nosuch"])
        .failed(code::KEY_FILE, &["nosuch"]);
    place
        .run(&["check", "m", "--keyfile", "key"])
        .failed(code::NOT_A_VAULT, &["keepfs.vault"]);
}
