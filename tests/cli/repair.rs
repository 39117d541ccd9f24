//! `keepfs check --repair` and `--salvage`: what is damaged is repaired or
//! taken out, nothing is deleted, and afterwards the vault is whole.

use std::collections::BTreeSet;
use std::fs::{self, OpenOptions, Permissions};
use std::os::unix::fs::{FileExt, PermissionsExt};
use std::path::{Path, PathBuf};

use serde_json::{Value, json};

use crate::check::{CASES, Harm};
use crate::filled::*;
use crate::harness::*;

fn repair(place: &Place, words: &[&str]) -> (i32, Value) {
    check(place, &[&["--repair", "--quarantine", "q"], words].concat())
}

/// The remedies that a report tells of.
fn remedies(report: &Value) -> Vec<&str> {
    let steps = report["repair"].as_array().unwrap().iter();
    steps.map(|step| step["remedy"].as_str().unwrap()).collect()
}

/// Contents of all files below a directory.
fn contents(dir: &Path) -> BTreeSet<Vec<u8>> {
    let mut found = BTreeSet::new();
    let mut open: Vec<PathBuf> = vec![dir.to_owned()];
    while let Some(dir) = open.pop() {
        for entry in fs::read_dir(dir).into_iter().flatten() {
            let path = entry.unwrap().path();
            let kind = path.symlink_metadata().unwrap().file_type();
            if kind.is_dir() {
                open.push(path);
            } else if kind.is_symlink() {
                found.insert(
                    fs::read_link(path)
                        .unwrap()
                        .into_os_string()
                        .into_encoded_bytes(),
                );
            } else {
                found.insert(fs::read(path).unwrap());
            }
        }
    }
    found
}

fn cat(place: &Place, path: &str) -> Ran {
    place.run(&["cat", "--keyfile", "key", &format!("v:{path}")])
}

/// What is done about each kind of finding in the table of damage.
fn remedy_of(kind: &str) -> Option<&'static str> {
    match kind {
        "chunks" | "header" | "cut" | "too-short" | "interrupted-create" | "wrong-seal"
        | "link" => Some("set-aside"),
        "name-does-not-open" => Some("move-home"),
        "nothing-opens" | "bad-pin" => Some("pin"),
        "no-side-file" | "wrong-side-file" => Some("new-name"),
        "attribute" => Some("drop-attributes"),
        "journal" => Some("bring-in"),
        "orphaned-side-file" | "foreign" | "conflict-copy" | "leftover" | "client-temp" => None,
        other => panic!("no remedy is expected for {other}"),
    }
}

#[test]
fn each_kind_of_damage_is_repaired_and_nothing_is_deleted() {
    let place = filled();
    let (good, quarantine) = (place.root().join("good"), place.root().join("q"));
    copy_tree(&place.vault(), &good);
    for (what, harm, kind, loss, ..) in CASES {
        fs::remove_dir_all(place.vault()).unwrap();
        copy_tree(&good, &place.vault());
        harm(&place);
        let before = snapshot(&place.vault());
        let held = contents(&place.vault());
        let expected: Vec<&str> = remedy_of(kind).into_iter().collect();
        assert_eq!(expected.is_empty(), *loss == "nothing", "{what}");

        let (code, report) = repair(&place, &[]);
        assert_eq!(remedies(&report), expected, "{what}: {report}");
        assert_eq!(code == code::DONE, expected.is_empty(), "{what}");
        assert_eq!(snapshot(&place.vault()), before, "{what}: looked only");
        assert!(!quarantine.exists(), "{what}: looked only");

        let (code, report) = repair(&place, &["--yes"]);
        assert_eq!(code, code::DONE, "{what}: {report}");
        assert_eq!(remedies(&report), expected, "{what}: {report}");
        for step in report["repair"].as_array().unwrap() {
            assert_eq!(step["done"], true, "{what}: {step}");
        }
        let (code, _) = check(&place, &[]);
        assert_eq!(code, code::DONE, "{what}: whole afterwards");

        let mut kept = contents(&place.vault());
        kept.extend(contents(&quarantine));
        let lost: Vec<_> = held.difference(&kept).map(Vec::len).collect();
        assert_eq!(lost, Vec::<usize>::new(), "{what}: contents are gone");
        let taken = matches!(
            expected.as_slice(),
            ["set-aside" | "drop-attributes" | "bring-in"] | ["pin"]
        );
        assert!(taken || !quarantine.exists(), "{what}: an empty quarantine");
        if quarantine.exists() {
            fs::remove_dir_all(&quarantine).unwrap();
        }
    }
}

#[test]
fn what_was_moved_or_lost_its_pin_reads_as_before() {
    let cases: &[(&str, Harm, &str, &str)] = &[
        (
            "a file in another directory",
            |p| {
                let entry = backing(p, "dir/inside");
                let to = backing(p, "dir/sub").join(entry.file_name().unwrap());
                fs::rename(&entry, to).unwrap();
            },
            "dir/inside",
            "inside",
        ),
        (
            "a directory in another",
            |p| {
                let entry = backing(p, "dir/sub");
                fs::rename(&entry, p.vault().join(entry.file_name().unwrap())).unwrap();
            },
            "dir/sub/deep",
            "deep",
        ),
        (
            "a pin",
            |p| fs::remove_file(backing(p, "pinned").join("keepfs.dir")).unwrap(),
            "pinned/kept",
            "kept",
        ),
        (
            "a pin, and a file moved out",
            |p| {
                let entry = backing(p, "pinned/kept");
                fs::copy(&entry, p.vault().join(entry.file_name().unwrap())).unwrap();
                fs::remove_file(backing(p, "pinned").join("keepfs.dir")).unwrap();
                fs::remove_file(entry).unwrap();
            },
            "",
            "",
        ),
        (
            "a long name in another directory",
            |p| {
                let entry = backing(p, &long());
                let to = backing(p, "dir").join(entry.file_name().unwrap());
                fs::rename(&entry, to).unwrap();
            },
            "LONG",
            "long",
        ),
    ];
    for (what, harm, path, text) in cases {
        let place = filled();
        harm(&place);
        let (code, report) = repair(&place, &["--yes"]);
        assert_eq!(code, code::DONE, "{what}: {report}");
        if !path.is_empty() {
            let path = path.replace("LONG", &long());
            assert_eq!(cat(&place, &path).stdout, *text, "{what}: {report}");
        }
    }
}

#[test]
fn exchanged_directories_are_exchanged_back_pinned_or_not() {
    let place = filled();
    place.run(&["mount", "--keyfile", "key", "v", "m"]).done();
    let m = place.point();
    for dir in ["third", "old fourth"] {
        fs::create_dir(m.join(dir)).unwrap();
        fs::write(m.join(dir).join("x"), dir).unwrap();
    }
    fs::rename(m.join("old fourth"), m.join("fourth")).unwrap();
    place.run(&["unmount", "m"]).done();
    for (a, b) in [
        ("dir", "third"),
        ("dir/sub", "pinned"),
        ("fourth", "pinned"),
    ] {
        let before = snapshot(&place.vault());
        let (one, other) = (backing(&place, a), backing(&place, b));
        let aside = place.root().join("aside");
        fs::rename(&one, &aside).unwrap();
        fs::rename(&other, &one).unwrap();
        fs::rename(&aside, &other).unwrap();
        let (code, report) = repair(&place, &["--yes"]);
        assert_eq!((code, remedies(&report)), (code::DONE, vec!["exchange"]));
        assert_eq!(snapshot(&place.vault()), before, "{a} and {b}");
    }
}

#[test]
fn a_directory_without_files_gets_its_pin_back_from_its_old_path() {
    let place = filled();
    place.run(&["mount", "--keyfile", "key", "v", "m"]).done();
    let m = place.point();
    fs::create_dir_all(m.join("first/only directories")).unwrap();
    fs::rename(m.join("first"), m.join("second")).unwrap();
    place.run(&["unmount", "m"]).done();
    lose_pin(&place, "second");
    let (_, report) = repair(&place, &[]);
    assert_eq!(remedies(&report), ["set-aside"]);
    let (code, report) = repair(&place, &["--yes", "--was", "first"]);
    assert_eq!((code, remedies(&report)), (code::DONE, vec!["pin"]));
    place
        .run(&["ls", "--keyfile", "key", "v:second/only directories"])
        .done();
}

#[test]
fn a_pin_comes_back_from_a_conflict_copy_of_it_or_from_its_note() {
    for note in [true, false] {
        let place = filled();
        place.run(&["mount", "--keyfile", "key", "v", "m"]).done();
        let m = place.point();
        fs::create_dir_all(m.join("first/only directories")).unwrap();
        fs::rename(m.join("first"), m.join("second")).unwrap();
        place.run(&["unmount", "m"]).done();
        let pin = backing(&place, "second").join("keepfs.dir");
        if note {
            fs::remove_file(&pin).unwrap();
            place
                .run(&["ls", "--keyfile", "key", "v:second/only directories"])
                .done();
        } else {
            fs::remove_dir_all(place.vault().join("keepfs.names")).unwrap();
            fs::rename(&pin, pin.with_file_name("keepfs (conflicted copy).dir")).unwrap();
        }
        let (code, report) = repair(&place, &["--yes"]);
        assert_eq!((code, remedies(&report)), (code::DONE, vec!["pin"]));
        assert!(pin.exists());
    }
}

/// A vault in which `begun` was being written when the mount was killed.
fn killed() -> Place {
    let place = filled();
    // With a journal, what was synced is sealed.
    place
        .run(&["mount", "--no-journal", "--keyfile", "key", "v", "m"])
        .done();
    let open = fs::File::create(place.point().join("begun")).unwrap();
    open.write_all_at(&vec![5; 10_000], 0).unwrap();
    open.sync_all().unwrap();
    place.kill();
    drop(open);
    place
}

#[test]
fn a_file_that_a_kill_left_open_is_sealed_and_a_sync_client_can_tell() {
    let place = killed();
    let file = backing(&place, "begun");
    fs::set_permissions(&file, Permissions::from_mode(0o444)).unwrap();
    let before = fs::metadata(&file).unwrap().modified().unwrap();
    let (code, report) = repair(&place, &["--yes"]);
    assert_eq!((code, remedies(&report)), (code::DONE, vec!["seal"]));
    let after = fs::metadata(&file).unwrap();
    assert!(after.modified().unwrap() > before, "same size, other bytes");
    assert_eq!(after.permissions().mode() & 0o777, 0o444);
    assert_eq!(cat(&place, "begun").stdout.into_bytes(), vec![5; 10_000]);
    assert!(!place.root().join("q").exists(), "nothing was taken out");
}

#[test]
fn the_torn_end_of_an_open_file_is_kept_aside_and_the_rest_sealed() {
    let place = killed();
    let file = backing(&place, "begun");
    flip(&file, 128 + 2 * SLOT + 50);
    let torn = fs::read(&file).unwrap();
    let (code, report) = repair(&place, &["--yes"]);
    assert_eq!(
        (code, remedies(&report)),
        (code::DONE, vec!["seal-without-end"])
    );
    assert_eq!(cat(&place, "begun").stdout.into_bytes(), vec![5; 8192]);
    let kept = fs::read(place.root().join("q/0001/tail")).unwrap();
    assert_eq!(kept, torn[128 + 2 * 4136..]);
}

#[test]
fn bytes_behind_a_sealed_end_are_kept_aside() {
    let place = filled();
    let file = backing(&place, "file");
    let whole = fs::read(&file).unwrap();
    let open = OpenOptions::new().write(true).open(&file).unwrap();
    open.write_all_at(b"more", u64::try_from(whole.len()).unwrap())
        .unwrap();
    drop(open);
    let (code, report) = repair(&place, &["--yes"]);
    assert_eq!((code, remedies(&report)), (code::DONE, vec!["cut-extra"]));
    assert_eq!(fs::read(&file).unwrap(), whole);
    assert_eq!(fs::read(place.root().join("q/0001/tail")).unwrap(), b"more");
}

#[test]
fn what_authenticates_of_damaged_files_is_salvaged_with_a_map_of_the_gaps() {
    let place = filled();
    let file = backing(&place, "file");
    flip(&file, 128 + SLOT + 40);
    flip(&file, 128 + 2 * SLOT + 40);
    // A header that says nothing any more, and a cut.
    flip(&backing(&place, "twin"), 60);
    cut(&backing(&place, "twin"), 128 + 2 * SLOT + 100);
    // Holes are no gaps, and what they were is known.
    flip(&backing(&place, "sparse"), 128 + 122 * SLOT + 50);
    fs::remove_dir_all(place.vault().join("keepfs.names")).unwrap();
    fs::remove_file(format!("{}=", backing(&place, &long()).display())).unwrap();
    fs::rename(
        backing(&place, "dir/inside"),
        place.vault().join("A".repeat(43)),
    )
    .unwrap();
    let before = snapshot(&place.vault());
    let (code, report) = check(&place, &["--salvage", "s"]);
    assert_eq!(code, code::DAMAGE_FOUND);
    assert_eq!(snapshot(&place.vault()), before);
    let read = |path: &str| fs::read(place.root().join("s").join(path)).unwrap();
    let list: Value = serde_json::from_slice(&read("gaps.json")).unwrap();
    assert_eq!(list, report["salvaged"]);
    let gaps = |path: &str| {
        let list = list.as_array().unwrap();
        let one = list.iter().find(|one| one["written_to"] == path);
        one.unwrap_or_else(|| panic!("{path} is not in {list:?}"))["gaps"].clone()
    };
    let mut expected = vec![7; 20_000];
    expected[4096..3 * 4096].fill(0);
    assert_eq!(read("files/file"), expected);
    assert_eq!(gaps("files/file"), json!([[4096, 12288]]));
    assert_eq!(read("files/twin")[..8192], vec![8; 8192]);
    assert_eq!(gaps("files/twin")[0][0], 8192);
    let sparse = read("files/sparse");
    assert_eq!(sparse, vec![0; 1 << 20]);
    assert_eq!(gaps("files/sparse"), json!([[122 * 4096, 123 * 4096]]));
    let nameless = list.as_array().unwrap().iter().filter(|one| {
        let path = one["written_to"].as_str().unwrap();
        path.starts_with("nameless/") && one["gaps"] == json!([])
    });
    let texts: BTreeSet<Vec<u8>> = nameless
        .map(|one| read(one["written_to"].as_str().unwrap()))
        .collect();
    assert_eq!(
        texts,
        BTreeSet::from([b"inside".to_vec(), b"long".to_vec()])
    );

    // Salvaged, then repaired, in one go.
    let words = ["--yes", "--salvage", "again"];
    let (code, report) = repair(&place, &words);
    assert_eq!(code, code::DONE, "{report}");
    assert_eq!(report["salvaged"], list);
    place
        .run(&["check", "--keyfile", "key", "v", "--salvage", "s"])
        .failed(code::FAILURE, &["cannot salvage into s", "not empty"]);
}

/// A vault in which the provider did something clever, repaired.
fn outwitted(harm: Harm) -> (Place, i32, Value) {
    let place = filled();
    place.run(&["mount", "--keyfile", "key", "v", "m"]).done();
    let m = place.point();
    for dir in ["private", "public"] {
        fs::create_dir(m.join(dir)).unwrap();
        for file in ["one", "two"] {
            fs::write(m.join(dir).join(file), dir).unwrap();
        }
    }
    place.run(&["unmount", "m"]).done();
    harm(&place);
    let (code, report) = repair(&place, &["--yes"]);
    (place, code, report)
}

#[test]
fn a_directory_is_never_made_to_show_another_ones_contents() {
    // A copy of one in the place of another.
    let (place, code, report) = outwitted(|p| {
        let public = backing(p, "public");
        fs::remove_dir_all(&public).unwrap();
        copy_tree(&backing(p, "private"), &public);
    });
    assert_eq!((code, remedies(&report)), (code::DONE, vec!["set-aside"]));
    assert_eq!(report["repair"][0]["target"], "private");
    let what = report["repair"][0]["what"].as_str().unwrap();
    assert!(what.contains("holds the names of private"), "{what}");
    cat(&place, "public/one").failed(code::NO_SUCH_OBJECT, &[]);
    assert_eq!(cat(&place, "private/one").stdout, "private");
    // Names of one among those of another that lost its pin.
    let (place, _, report) = outwitted(|p| {
        let pinned = backing(p, "pinned");
        lose_pin(p, "pinned");
        for file in ["private/one", "private/two"] {
            let entry = backing(p, file);
            fs::copy(&entry, pinned.join(entry.file_name().unwrap())).unwrap();
        }
    });
    assert_eq!(remedies(&report), ["set-aside"]);
    cat(&place, "pinned/one").failed(code::NO_SUCH_OBJECT, &[]);
    // Exchanged, and one deleted file of old put back so that something opens.
    let (place, code, report) = outwitted(|p| {
        let (private, public) = (backing(p, "private"), backing(p, "public"));
        let old = backing(p, "private/two");
        let bytes = fs::read(&old).unwrap();
        fs::remove_file(&old).unwrap();
        let aside = p.root().join("aside");
        fs::rename(&private, &aside).unwrap();
        fs::rename(&public, &private).unwrap();
        fs::rename(&aside, &public).unwrap();
        fs::write(old, bytes).unwrap();
    });
    assert_eq!(remedies(&report), ["exchange"], "{report}");
    assert_eq!(cat(&place, "private/one").stdout, "private");
    assert_eq!(cat(&place, "public/one").stdout, "public");
    // The file put back now stands in the other's directory, and has a home.
    assert_eq!(code, code::DAMAGE_FOUND);
    let (code, report) = check(&place, &["--repair", "--quarantine", "q2", "--yes"]);
    assert_eq!((code, remedies(&report)), (code::DONE, vec!["move-home"]));
}

#[test]
fn a_pin_comes_before_attributes_and_before_moving_anything() {
    let place = filled();
    place.run(&["mount", "--keyfile", "key", "v", "m"]).done();
    let m = place.point();
    fs::create_dir(m.join("a")).unwrap();
    for file in ["p1", "p2"] {
        fs::write(m.join("a").join(file), file).unwrap();
    }
    let set = std::process::Command::new("setfattr")
        .args(["-n", "user.note", "-v", "important"])
        .arg(m.join("a"))
        .status();
    assert!(set.unwrap().success());
    fs::rename(m.join("a"), m.join("b")).unwrap();
    place.run(&["unmount", "m"]).done();
    let pin = backing(&place, "b").join("keepfs.dir");
    let kept = place.root().join("pin");
    fs::rename(&pin, &kept).unwrap();
    // Another device sees an empty directory and makes a file in it.
    let others: Vec<PathBuf> = fs::read_dir(pin.parent().unwrap())
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .collect();
    for other in &others {
        fs::rename(other, place.root().join(other.file_name().unwrap())).unwrap();
    }
    place.run(&["mount", "--keyfile", "key", "v", "m"]).done();
    fs::write(m.join("b/new"), "new").unwrap();
    place.run(&["unmount", "m"]).done();
    for other in &others {
        fs::rename(place.root().join(other.file_name().unwrap()), other).unwrap();
    }
    let (code, report) = repair(&place, &["--yes"]);
    assert_eq!(
        (code, remedies(&report)),
        (code::DONE, vec!["pin"]),
        "{report}"
    );
    for (file, text) in [("b/p1", "p1"), ("b/p2", "p2"), ("b/new", "new")] {
        assert_eq!(cat(&place, file).stdout, text);
    }
    place.run(&["mount", "--keyfile", "key", "v", "m"]).done();
    let read = std::process::Command::new("getfattr")
        .args(["--only-values", "-n", "user.note"])
        .arg(m.join("b"))
        .output()
        .unwrap();
    assert_eq!(read.stdout, b"important");
    place.run(&["unmount", "m"]).done();
}

#[test]
fn what_comes_to_light_is_not_repaired_before_somebody_saw_it() {
    let place = filled();
    lose_pin(&place, "pinned");
    let file = fs::read_dir(backing(&place, "pinned")).unwrap().next();
    let file = file.unwrap().unwrap().path();
    let len = fs::metadata(&file).unwrap().len();
    let open = OpenOptions::new().write(true).open(&file).unwrap();
    open.write_all_at(b"more", len).unwrap();
    let (code, report) = repair(&place, &["--yes"]);
    assert_eq!((code, remedies(&report)), (code::DAMAGE_FOUND, vec!["pin"]));
    let (code, report) = check(&place, &["--repair", "--quarantine", "q2", "--yes"]);
    assert_eq!((code, remedies(&report)), (code::DONE, vec!["cut-extra"]));
}

#[test]
fn one_name_planted_in_an_empty_vault_does_not_take_the_root_away() {
    let place = with_key_file();
    fs::write(place.vault().join("A".repeat(43)), "planted").unwrap();
    let (code, report) = repair(&place, &["--yes"]);
    assert_eq!((code, remedies(&report)), (code::DONE, vec!["set-aside"]));
    assert!(place.vault().join("keepfs.vault").exists());
}

#[test]
fn a_directory_whose_name_is_lost_stays_for_its_side_file_to_come() {
    let place = filled();
    place.run(&["mount", "--keyfile", "key", "v", "m"]).done();
    let name = "d".repeat(200);
    fs::create_dir_all(place.point().join(&name).join("sub")).unwrap();
    place.run(&["unmount", "m"]).done();
    let side = PathBuf::from(format!("{}=", backing(&place, &name).display()));
    let away = place.root().join("side");
    fs::rename(&side, &away).unwrap();
    // With the second copy nothing is lost.
    assert_eq!(check(&place, &[]).0, code::DONE);
    fs::remove_dir_all(place.vault().join("keepfs.names")).unwrap();
    let (code, report) = repair(&place, &["--yes"]);
    assert_eq!(code, code::DAMAGE_FOUND);
    assert_eq!(remedies(&report), [""; 0]);
    fs::rename(&away, &side).unwrap();
    let (code, _) = check(&place, &[]);
    assert_eq!(code, code::DONE);
}

#[test]
fn one_object_that_cannot_be_salvaged_does_not_stop_the_others() {
    let place = filled();
    flip(&backing(&place, "file"), 128 + SLOT - 1);
    // Deeper than a path may be long, below a name that does not open.
    let mut deep = place.vault();
    for _ in 0..15 {
        deep.push("A".repeat(192));
        fs::create_dir(&deep).unwrap();
    }
    fs::copy(backing(&place, "twin"), deep.join("B".repeat(43))).unwrap();
    let (code, report) = check(&place, &["--salvage", "s"]);
    assert_eq!(code, code::DAMAGE_FOUND);
    let salvaged = report["salvaged"].as_array().unwrap();
    assert_eq!(salvaged.len(), 2, "{report}");
    let states: BTreeSet<&str> = salvaged
        .iter()
        .map(|one| one["state"].as_str().unwrap())
        .collect();
    assert_eq!(states, BTreeSet::from(["sealed", "unproven"]));
    let modes = ["s", "s/files", "s/files/file"].map(|path| {
        let path = place.root().join(path);
        fs::metadata(path).unwrap().permissions().mode() & 0o777
    });
    assert_eq!(modes, [0o700, 0o700, 0o600]);
}

#[test]
fn plaintext_and_quarantine_stay_out_of_the_vault() {
    let place = filled();
    flip(&backing(&place, "file"), 60);
    let before = snapshot(&place.vault());
    let run = |words: &[&str]| {
        let words = [&["check", "--keyfile", "key", "v"], words].concat();
        place.run(&words)
    };
    for path in ["v/new/deep", "new/../v/s", "v"] {
        run(&["--salvage", path]).failed(code::USAGE, &["inside the vault", "--salvage"]);
    }
    run(&["--repair", "--yes", "--quarantine", "v/q"])
        .failed(code::USAGE, &["inside the vault", "--quarantine"]);
    fs::write(place.root().join("taken"), "x").unwrap();
    run(&["--repair", "--yes", "--quarantine", "taken"])
        .failed(code::FAILURE, &["cannot make the quarantine taken"]);
    assert_eq!(snapshot(&place.vault()), before);
    // Without being told, it lies beside the vault, and holds no plain name.
    let shown = run(&["--repair", "--yes"]);
    assert_eq!(shown.code, code::DONE, "{}", shown.stderr);
    let name = fs::read_dir(place.root())
        .unwrap()
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .find(|name| name.starts_with("v.quarantine-"))
        .unwrap();
    assert!(shown.stdout.contains(&name), "{}", shown.stdout);
    let told = fs::read_to_string(place.root().join(name).join("report.txt")).unwrap();
    assert!(told.contains("0001\tentry\theader\t"), "{told}");
    assert!(told.contains("0001\tdone\n"), "{told}");
    assert!(!told.contains("file\n"), "{told}");
}
