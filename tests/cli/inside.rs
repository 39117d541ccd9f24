//! `keepfs ls`, `cat` and `path`: a vault read without a mount.

use std::fs;
use std::process::Command;

use crate::filled::{backing, filled, flip};
use crate::harness::*;

fn with_key(place: &Place, words: &[&str]) -> Ran {
    place.run(&[words, &["--keyfile", "key"]].concat())
}

#[test]
fn a_listing_shows_what_a_mount_would_show_and_changes_nothing() {
    let place = filled();
    let before = snapshot(&place.vault());
    let flat = with_key(&place, &["ls", "v"]);
    flat.done();
    let long = "l".repeat(200);
    let names = ["dir", "file", "link", &long, "pinned", "sparse", "twin"];
    assert_eq!(flat.stdout.lines().collect::<Vec<_>>(), names);
    let below = with_key(&place, &["ls", "-R", "v:dir"]);
    below.done();
    assert_eq!(
        below.stdout.lines().collect::<Vec<_>>(),
        ["inside", "sub", "sub/deep"]
    );
    let details = with_key(&place, &["ls", "-l", "v:/"]);
    details.done();
    for line in [" 20000 ", "-> some/where", "drwx"] {
        assert!(details.stdout.contains(line), "{line}: {}", details.stdout);
    }
    let json = with_key(&place, &["ls", "--json", "v:./file"]);
    json.done();
    let line: serde_json::Value = serde_json::from_str(&json.stdout).unwrap();
    assert_eq!(
        (&line["path"], &line["size"]),
        (&"file".into(), &20_000.into())
    );
    assert_eq!(line["kind"], "regular file");
    assert_eq!(snapshot(&place.vault()), before);
}

#[test]
fn contents_and_ranges_are_printed() {
    let place = filled();
    let cat = |words: &[&str]| {
        let words = [&["cat", "--keyfile", "key"], words].concat();
        let output = place.command(&words).output().unwrap();
        (output.status.code(), output.stdout)
    };
    assert_eq!(cat(&["v:dir/sub/deep"]), (Some(0), b"deep".to_vec()));
    assert_eq!(cat(&["v:pinned/kept"]), (Some(0), b"kept".to_vec()));
    assert_eq!(cat(&["v:file"]), (Some(0), vec![7; 20_000]));
    let sparse = cat(&["v:sparse", "--offset", "499998", "--length", "8"]);
    assert_eq!(sparse, (Some(0), b"\0\0data\0\0".to_vec()));
    assert_eq!(cat(&["v:file", "--offset", "19999"]), (Some(0), vec![7]));
    assert_eq!(cat(&["v:file", "--offset", "1GiB"]), (Some(0), Vec::new()));
    // While it is mounted, too.
    place.run(&["mount", "--keyfile", "key", "v", "m"]).done();
    assert_eq!(cat(&["v:dir/inside"]), (Some(0), b"inside".to_vec()));
    place.run(&["unmount", "m"]).done();
    // What comes before damage is printed, and not a byte of it.
    flip(&backing(&place, "file"), 128 + 2 * 4136 + 100);
    let damaged = Some(code::DAMAGE_FOUND);
    assert_eq!(cat(&["v:file"]), (damaged, vec![7; 2 * 4096]));
    assert_eq!(
        cat(&["v:file", "--offset", "100"]),
        (damaged, vec![7; 2 * 4096 - 100])
    );
    assert_eq!(
        cat(&["v:file", "--offset", "12288"]),
        (Some(0), vec![7; 20_000 - 12_288])
    );
}

#[test]
fn a_path_leads_to_its_ciphertext_and_back() {
    let place = filled();
    let path = |words: &[&str]| {
        let ran = with_key(&place, &[&["path"], words].concat());
        ran.done();
        ran.stdout.trim_end().to_owned()
    };
    for plain in [
        "file",
        "dir",
        "dir/sub/deep",
        "pinned/kept",
        "link",
        &"l".repeat(200),
    ] {
        let found = path(&[&format!("v:{plain}")]);
        let absolute = backing(&place, plain);
        assert_eq!(place.root().join(&found), absolute);
        for given in [
            found.as_str(),
            absolute.to_str().unwrap(),
            &found["v/".len()..],
        ] {
            assert_eq!(path(&["v", "--plain-of", given]), plain, "{given}");
        }
    }
    for (words, says) in [
        (&["path", "v:nosuch"][..], "nosuch"),
        (
            &["path", "v", "--plain-of", "v/keepfs.vault"],
            "keepfs.vault",
        ),
        (&["path", "v", "--plain-of", "v/nosuch"], "nosuch"),
        (&["path", "v", "--plain-of", "/etc/passwd"], "/etc/passwd"),
        (&["ls", "v:nosuch"], "nosuch"),
        (&["ls", "v:file/below"], "file"),
        (&["ls", "v:../etc"], ".."),
        (&["cat", "v:dir"], "directory"),
        (&["cat", "v:link"], "symbolic link"),
        (&["cat", "v"], "directory"),
    ] {
        with_key(&place, words).failed(code::NO_SUCH_OBJECT, &[says]);
    }
    with_key(&place, &["ls", "nosuch:x"]).failed(code::NOT_A_VAULT, &["nosuch"]);
}

#[test]
fn whoever_stops_reading_early_is_no_error() {
    let place = filled();
    let script = format!(
        "set -o pipefail; '{}' cat --keyfile key v:file | head -c 10 | wc -c",
        program().display()
    );
    let mut shell = Command::new("bash");
    let ran = run(shell.args(["-c", &script]).current_dir(place.root()), b"");
    ran.done();
    assert_eq!(ran.stdout.trim(), "10");
}

#[test]
fn a_vault_whose_name_has_a_colon_is_found() {
    let place = filled();
    fs::rename(place.vault(), place.root().join("a:b")).unwrap();
    let listed = with_key(&place, &["ls", "a:b:dir"]);
    listed.done();
    assert_eq!(listed.stdout, "inside\nsub\n");
}
