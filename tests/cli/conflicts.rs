//! Conflict copies of sync clients: in a mount, in listings, and resolved by
//! command.

use std::fs::{self, File};
use std::path::PathBuf;
use std::time::{Duration, SystemTime};

use serde_json::Value;

use crate::filled::{backing, filled, flip, long};
use crate::harness::*;

const SYNCTHING: &str = ".sync-conflict-20261122-101042-ABCDEFG";

fn with_key(place: &Place, words: &[&str]) -> Ran {
    place.run(&[words, &["--keyfile", "key"]].concat())
}

/// What a sync client does when two devices changed `plain`: what is there
/// gets `suffix`. Returns where it is now.
fn set_apart(place: &Place, plain: &str, suffix: &str) -> PathBuf {
    let entry = backing(place, plain);
    let copy = PathBuf::from(format!("{}{suffix}", entry.display()));
    fs::rename(&entry, &copy).unwrap();
    copy
}

/// Another version of `plain`, with this content, made in a mount.
fn write(place: &Place, plain: &str, content: &str) {
    with_key(place, &["mount", "v", "m"]).done();
    fs::write(place.point().join(plain), content).unwrap();
    place.run(&["unmount", "m"]).done();
}

fn set_mtime(path: &PathBuf, seconds: u64) {
    let time = SystemTime::UNIX_EPOCH + Duration::from_secs(seconds);
    File::options()
        .read(true)
        .open(path)
        .unwrap()
        .set_modified(time)
        .unwrap();
}

fn conflicts(place: &Place) -> Vec<Value> {
    let json = with_key(place, &["conflicts", "--json", "v"]).json();
    json["conflicts"].as_array().unwrap().clone()
}

/// A vault in which `f.txt` is `mine` and has the copy `theirs`, which is newer.
/// Returns the shown name of the copy.
fn disputed() -> (Place, String) {
    let place = with_key_file();
    write(&place, "f.txt", "theirs");
    set_apart(&place, "f.txt", SYNCTHING);
    write(&place, "f.txt", "mine");
    set_mtime(&backing(&place, "f.txt"), 1_000_000);
    let shown = conflicts(&place)[0]["copies"][0]["path"]
        .as_str()
        .unwrap()
        .to_owned();
    (place, shown)
}

fn cat(place: &Place, plain: &str) -> String {
    let ran = with_key(place, &["cat", &format!("v:{plain}")]);
    ran.done();
    ran.stdout
}

fn names(place: &Place) -> Vec<String> {
    let listed = with_key(place, &["ls", "-R", "v"]);
    listed.done();
    listed.stdout.lines().map(str::to_owned).collect()
}

#[test]
fn a_mount_shows_a_conflict_copy_and_it_is_a_file_like_any_other() {
    let (place, shown) = disputed();
    assert!(
        shown.starts_with("f [conflict syncthing 2026-11-22 10:10 "),
        "{shown}"
    );
    assert!(shown.ends_with("].txt"), "{shown}");
    assert_eq!(names(&place), [shown.clone(), "f.txt".to_owned()]);
    let before = snapshot(&place.vault());
    with_key(&place, &["mount", "v", "m"]).done();
    let copy = place.point().join(&shown);
    assert_eq!(fs::read_to_string(&copy).unwrap(), "theirs");
    assert_eq!(
        fs::read_to_string(place.point().join("f.txt")).unwrap(),
        "mine"
    );
    assert_eq!(fs::read_dir(place.point()).unwrap().count(), 2);
    assert_eq!(
        snapshot(&place.vault()),
        before,
        "looking renamed something"
    );
    fs::write(&copy, "theirs, edited").unwrap();
    assert_eq!(fs::read_to_string(&copy).unwrap(), "theirs, edited");
    File::options()
        .append(true)
        .open(&copy)
        .unwrap()
        .set_len(6)
        .unwrap();
    // As editors save: a new file renamed over it.
    fs::write(place.point().join("new"), "saved").unwrap();
    fs::rename(place.point().join("new"), &copy).unwrap();
    assert_eq!(fs::read_to_string(&copy).unwrap(), "saved");
    assert_eq!(fs::read_dir(place.point()).unwrap().count(), 2);
    // Renaming it over the original ends the conflict.
    fs::rename(&copy, place.point().join("f.txt")).unwrap();
    assert_eq!(
        fs::read_to_string(place.point().join("f.txt")).unwrap(),
        "saved"
    );
    assert!(!copy.exists());
    place.run(&["unmount", "m"]).done();
    assert_eq!(names(&place), ["f.txt"]);
    assert!(conflicts(&place).is_empty());
    with_key(&place, &["check", "v"]).done();
    let raw = fs::read_dir(place.vault()).unwrap();
    let raw: Vec<_> = raw.map(|entry| entry.unwrap().file_name()).collect();
    assert!(
        raw.iter()
            .all(|name| !name.to_string_lossy().contains("sync-conflict"))
    );
}

#[test]
fn a_copy_is_deleted_in_a_mount_and_made_neither_by_mkdir_nor_by_link() {
    let (place, shown) = disputed();
    with_key(&place, &["mount", "v", "m"]).done();
    let copy = place.point().join(&shown);
    for refused in [
        fs::create_dir(&copy),
        fs::hard_link(place.point().join("f.txt"), &copy),
        File::create_new(&copy).map(drop),
    ] {
        assert_eq!(
            refused.unwrap_err().kind(),
            std::io::ErrorKind::AlreadyExists
        );
    }
    fs::hard_link(&copy, place.point().join("second")).unwrap();
    fs::remove_file(&copy).unwrap();
    assert!(!copy.exists());
    assert_eq!(
        fs::read_to_string(place.point().join("second")).unwrap(),
        "theirs"
    );
    place.run(&["unmount", "m"]).done();
    assert_eq!(names(&place), ["f.txt", "second"]);
}

#[test]
fn copies_of_directories_links_and_long_names_are_shown_also_inside_each_other() {
    let place = filled();
    let inside = set_apart(&place, "dir/inside", ".conflict1");
    assert!(inside.exists());
    set_apart(&place, "dir", " (Case Conflict)");
    set_apart(&place, "link", " (1)");
    set_apart(&place, &long(), SYNCTHING);
    set_apart(&place, "pinned", "_conflict-20261122-101042");
    with_key(&place, &["mount", "v", "m"]).done();
    let find = |start: &str| {
        let mut found = fs::read_dir(place.point()).unwrap().filter_map(|entry| {
            let name = entry.unwrap().file_name().into_string().unwrap();
            name.starts_with(start).then(|| place.point().join(name))
        });
        found.next().unwrap_or_else(|| panic!("no {start}"))
    };
    let dir = find("dir [conflict dropbox ");
    assert_eq!(fs::read(dir.join("sub/deep")).unwrap(), b"deep");
    let in_dir = fs::read_dir(&dir)
        .unwrap()
        .map(|entry| entry.unwrap().path());
    let copy = in_dir.filter(|path| path.to_string_lossy().contains("inside [conflict rclone "));
    assert_eq!(fs::read(copy.last().unwrap()).unwrap(), b"inside");
    let link = find("link [conflict google-drive ");
    assert_eq!(fs::read_link(link).unwrap(), PathBuf::from("some/where"));
    let long = find("llll");
    assert!(
        long.to_string_lossy()
            .contains(" [conflict syncthing 2026-11-22 10:10 ")
    );
    assert_eq!(fs::read(long).unwrap(), b"long");
    let pinned = find("pinned [conflict nextcloud 2026-11-22 10:10 ");
    assert_eq!(fs::read(pinned.join("kept")).unwrap(), b"kept");
    // A directory's copy gets its name back, with all that is in it.
    fs::rename(&dir, place.point().join("dir")).unwrap();
    fs::rename(&pinned, place.point().join("else")).unwrap();
    place.run(&["unmount", "m"]).done();
    assert_eq!(cat(&place, "dir/sub/deep"), "deep");
    assert_eq!(cat(&place, "else/kept"), "kept");
    with_key(&place, &["check", "v"]).done();
}

#[test]
fn conflicts_are_listed_with_both_versions() {
    let (place, shown) = disputed();
    let text = with_key(&place, &["conflicts", "v"]);
    text.done();
    for word in [
        "f.txt\n",
        "the file itself",
        &shown,
        "the newest",
        "resolve --keep",
    ] {
        assert!(text.stdout.contains(word), "{word}: {}", text.stdout);
    }
    let found = conflicts(&place);
    let [conflict] = &found[..] else {
        panic!("{found:?}");
    };
    assert_eq!(conflict["path"], "f.txt");
    assert_eq!(conflict["itself"]["size"], 4);
    assert_eq!(conflict["itself"]["newest"], false);
    let copy = &conflict["copies"][0];
    assert_eq!(
        (&copy["client"], &copy["size"]),
        (&"syncthing".into(), &6.into())
    );
    assert_eq!(copy["named_time"], "2026-11-22 10:10");
    assert_eq!(copy["newest"], true);
    // Below a path, and of one file.
    for path in ["v:/", "v:f.txt"] {
        let json = with_key(&place, &["conflicts", "--json", path]).json();
        assert_eq!(json["conflicts"].as_array().unwrap().len(), 1, "{path}");
    }
    let none = with_key_file();
    write(&none, "f.txt", "x");
    let text = with_key(&none, &["conflicts", "v"]);
    assert_eq!(text.done().stdout, "no conflict copies\n");
}

#[test]
fn a_conflict_is_resolved_in_favour_of_one_version_or_all() {
    for (keep, content) in [
        ("newest", "theirs"),
        ("mine", "mine"),
        ("theirs", "theirs"),
        ("both", "mine"),
    ] {
        for by_copy in [false, true] {
            let (place, shown) = disputed();
            let path = if by_copy {
                format!("v:{shown}")
            } else {
                "v:f.txt".to_owned()
            };
            let json = ["conflicts", "resolve", "--keep", keep, "--json", &path];
            let json = with_key(&place, &json).json();
            assert_eq!(json["kept"][0], "f.txt", "{keep}");
            assert_eq!(cat(&place, "f.txt"), content, "{keep}");
            assert!(conflicts(&place).is_empty(), "{keep}");
            if keep == "both" {
                assert_eq!(names(&place), [shown.clone(), "f.txt".to_owned()]);
                assert_eq!(cat(&place, &shown), "theirs");
            } else {
                assert_eq!(names(&place), ["f.txt"], "{keep}");
            }
            with_key(&place, &["check", "v"]).done();
        }
    }
}

#[test]
fn where_the_original_is_gone_a_copy_gets_its_name() {
    let place = with_key_file();
    write(&place, "f", "one");
    set_apart(&place, "f", "..path1");
    write(&place, "f", "two");
    let second = set_apart(&place, "f", "..path2");
    set_mtime(&second, 2_000_000_000);
    let found = conflicts(&place);
    assert_eq!(found[0]["itself"], Value::Null);
    assert_eq!(found[0]["copies"].as_array().unwrap().len(), 2);
    let resolve = |keep: &str| with_key(&place, &["conflicts", "resolve", "--keep", keep, "v:f"]);
    resolve("mine").failed(code::NOT_RESOLVED, &["no version has the name f itself"]);
    resolve("theirs").failed(code::NOT_RESOLVED, &["2 conflict copies"]);
    resolve("both").done();
    assert_eq!(cat(&place, "f"), "two");
    assert_eq!(names(&place).len(), 2);
    assert!(conflicts(&place).is_empty());
}

#[test]
fn a_version_that_is_not_whole_is_not_kept_at_the_cost_of_another() {
    let (place, shown) = disputed();
    let before = names(&place);
    let copy = place.vault().join(
        fs::read_dir(place.vault())
            .unwrap()
            .map(|entry| entry.unwrap().file_name())
            .find(|name| name.to_string_lossy().contains("sync-conflict"))
            .unwrap(),
    );
    flip(&copy, 140);
    let resolve =
        |keep: &str| with_key(&place, &["conflicts", "resolve", "--keep", keep, "v:f.txt"]);
    for keep in ["newest", "theirs"] {
        resolve(keep).failed(code::DAMAGE_FOUND, &[&shown, "damaged chunks"]);
    }
    assert_eq!(names(&place), before);
    resolve("mine").done();
    assert_eq!(names(&place), ["f.txt"]);
}

#[test]
fn a_full_directory_is_never_deleted_and_two_kinds_are_not_one_of_the_other() {
    let place = filled();
    set_apart(&place, "dir", " (1)");
    write(&place, "dir", "now a file");
    let resolve =
        |keep: &str, path: &str| with_key(&place, &["conflicts", "resolve", "--keep", keep, path]);
    resolve("newest", "v:dir").failed(code::NOT_RESOLVED, &["regular file", "directory"]);
    resolve("both", "v:dir").done();
    assert_eq!(cat(&place, "dir"), "now a file");
    set_apart(&place, "pinned", " (1)");
    with_key(&place, &["mount", "v", "m"]).done();
    fs::create_dir(place.point().join("pinned")).unwrap();
    let copy = conflicts(&place)[0]["copies"][0]["path"]
        .as_str()
        .unwrap()
        .to_owned();
    resolve("theirs", "v:pinned").failed(code::VAULT_IN_USE, &["rename them in the mount"]);
    place.run(&["unmount", "m"]).done();
    resolve("mine", "v:pinned").failed(code::NOT_RESOLVED, &[&copy, "not empty"]);
    resolve("theirs", "v:pinned").done();
    assert_eq!(cat(&place, "pinned/kept"), "kept");
    assert!(conflicts(&place).is_empty());
}

#[test]
fn what_has_no_conflict_copies_is_not_resolved() {
    let place = filled();
    for path in ["v:file", "v:dir", "v:nosuch"] {
        with_key(&place, &["conflicts", "resolve", "--keep", "newest", path])
            .failed(code::NO_SUCH_OBJECT, &[path.strip_prefix("v:").unwrap()]);
    }
    with_key(&place, &["conflicts", "v:nosuch"]).failed(code::NO_SUCH_OBJECT, &["nosuch"]);
    place.run(&["conflicts"]).failed(code::USAGE, &["VAULT"]);
}

#[test]
fn an_export_has_the_conflict_copies_too() {
    let (place, shown) = disputed();
    with_key(&place, &["export", "v", "out"])
        .code
        .eq(&0)
        .then_some(())
        .unwrap();
    let out = place.root().join("out");
    assert_eq!(fs::read_to_string(out.join(&shown)).unwrap(), "theirs");
    assert_eq!(fs::read_to_string(out.join("f.txt")).unwrap(), "mine");
}
