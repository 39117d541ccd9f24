//! `keepfs export` and `import`: whole trees without a mount.

use std::collections::{BTreeMap, BTreeSet};
use std::ffi::OsStr;
use std::fs::{self, File};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::{FileExt, MetadataExt, PermissionsExt, symlink};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use rustix::fs::{
    AtFlags, CWD, FileType, Mode, Timespec, Timestamps, XattrFlags, lgetxattr, llistxattr,
};
use serde_json::Value;

use crate::filled::{backing, filled, flip};
use crate::harness::*;

fn with_key(place: &Place, words: &[&str]) -> Ran {
    place.run(&[words, &["--keyfile", "key"]].concat())
}

/// Runs with `--json`; how it ended and what it printed.
fn json(place: &Place, words: &[&str]) -> (i32, Value) {
    let ran = with_key(place, &[words, &["--json"]].concat());
    let report = serde_json::from_str(&ran.stdout).expect(&ran.stderr);
    (ran.code, report)
}

/// The failures of a report, each as path and reason.
fn failures(report: &Value) -> Vec<(String, String)> {
    let text = |value: &Value| value.as_str().unwrap().to_owned();
    let failures = report["failures"].as_array().unwrap().iter();
    failures
        .map(|failure| (text(&failure["path"]), text(&failure["what"])))
        .collect()
}

fn set_times(path: &Path, atime: (i64, u32), mtime: (i64, u32)) {
    let spec = |(secs, nanos): (i64, u32)| Timespec {
        tv_sec: secs,
        tv_nsec: nanos.into(),
    };
    let times = Timestamps {
        last_access: spec(atime),
        last_modification: spec(mtime),
    };
    rustix::fs::utimensat(CWD, path, &times, AtFlags::SYMLINK_NOFOLLOW).unwrap();
}

fn set_mode(path: &Path, mode: u32) {
    fs::set_permissions(path, fs::Permissions::from_mode(mode)).unwrap();
}

fn set_attribute(path: &Path, name: &str, value: &[u8]) {
    rustix::fs::setxattr(path, name, value, XattrFlags::empty()).unwrap();
}

/// Bytes that do not repeat.
fn pattern(len: usize, seed: u64) -> Vec<u8> {
    let mut state = seed.wrapping_mul(0x9E37_79B9_7F4A_7C15) | 1;
    let step = |_| {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        state.to_le_bytes()[0]
    };
    (0..len).map(step).collect()
}

/// An ACL as its attribute holds it: version, then tag, rights and id of the
/// owner, the user 1234, the group, the mask and others.
const ACL: &[u8] = &[
    2, 0, 0, 0, //
    1, 0, 7, 0, 255, 255, 255, 255, //
    2, 0, 5, 0, 210, 4, 0, 0, //
    4, 0, 5, 0, 255, 255, 255, 255, //
    16, 0, 7, 0, 255, 255, 255, 255, //
    32, 0, 0, 0, 255, 255, 255, 255, //
];

/// One of everything, below `src`.
fn tree(place: &Place) -> PathBuf {
    let src = place.root().join("src");
    fs::create_dir_all(src.join("dir/sub/empty")).unwrap();
    fs::write(src.join("empty"), "").unwrap();
    fs::write(src.join("chunk"), pattern(4096, 1)).unwrap();
    fs::write(src.join("large"), pattern(3_000_001, 2)).unwrap();
    fs::write(src.join("dir/inside"), "inside").unwrap();
    fs::hard_link(src.join("dir/inside"), src.join("dir/sub/twin")).unwrap();
    fs::hard_link(src.join("dir/inside"), src.join("triplet")).unwrap();
    symlink("../..//etc/passwd", src.join("dir/out")).unwrap();
    symlink("nowhere", src.join("dangling")).unwrap();
    fs::hard_link(src.join("dangling"), src.join("dangling too")).unwrap();
    fs::write(src.join(OsStr::from_bytes(b"not \xff\xfe text\n")), "odd").unwrap();
    fs::write(src.join("f".repeat(255)), "long").unwrap();
    fs::create_dir(src.join("d".repeat(255))).unwrap();
    fs::write(src.join("d".repeat(255)).join("below"), "below").unwrap();
    let sparse = File::create(src.join("sparse")).unwrap();
    sparse.set_len((64 << 20) + 17).unwrap();
    sparse.write_all_at(b"middle", 20_000_000).unwrap();
    sparse.write_all_at(b"end", 63 << 20).unwrap();
    let hole = File::create(src.join("hole")).unwrap();
    hole.set_len(1 << 20).unwrap();
    let node = |name, kind, mode| {
        let mode = Mode::from_raw_mode(mode);
        rustix::fs::mknodat(CWD, src.join(name), kind, mode, 0).unwrap();
    };
    node("pipe", FileType::Fifo, 0o600);
    node("socket", FileType::Socket, 0o600);
    if is_root() {
        let null = rustix::fs::makedev(1, 3);
        let (kind, mode) = (FileType::CharacterDevice, Mode::from_raw_mode(0o600));
        rustix::fs::mknodat(CWD, src.join("device"), kind, mode, null).unwrap();
        rustix::fs::chown(
            src.join("chunk"),
            Some(rustix::fs::Uid::from_raw(1234)),
            Some(rustix::fs::Gid::from_raw(4321)),
        )
        .unwrap();
    }
    set_attribute(&src.join("large"), "user.note", b"a note");
    set_attribute(&src.join("large"), "user.nothing", b"");
    set_attribute(&src.join("dir"), "user.of-dir", b"\0\xff");
    // What is made here from now on would inherit this; what was, has none.
    set_attribute(&src.join("dir"), "system.posix_acl_default", ACL);
    set_attribute(&src.join("chunk"), "system.posix_acl_access", ACL);
    for (name, mode) in [
        ("large", 0o6755),
        ("chunk", 0o4711),
        ("empty", 0o400),
        ("pipe", 0o620),
        ("dir/sub/empty", 0o1777),
        ("dir/sub", 0o2550),
    ] {
        set_mode(&src.join(name), mode);
    }
    set_times(&src.join("empty"), (-10, 1), (-5_000, 999_999_999));
    set_times(&src.join("dangling"), (7, 8), (9, 10));
    set_times(&src.join("pipe"), (11, 12), (13, 14));
    set_times(&src.join("dir/sub"), (15, 16), (17, 18));
    set_times(&src.join("dir"), (19, 20), (21, 22));
    set_times(&src, (23, 24), (1_000_000_000, 123_456_789));
    src
}

/// All that is to be kept of everything at and below `root`.
fn described(root: &Path) -> BTreeMap<PathBuf, String> {
    let mut found = BTreeMap::new();
    let mut open = vec![root.to_owned()];
    let mut twins: BTreeMap<u64, PathBuf> = BTreeMap::new();
    while let Some(path) = open.pop() {
        let meta = fs::symlink_metadata(&path).unwrap();
        let name = path.strip_prefix(root).unwrap().to_owned();
        let mut words = format!(
            "{:o} {} {} {} {}.{}",
            meta.mode(),
            meta.uid(),
            meta.gid(),
            meta.rdev(),
            meta.mtime(),
            meta.mtime_nsec()
        );
        let mut list = vec![0; 4096];
        let len = llistxattr(&path, &mut list[..]).unwrap();
        let names = list[..len].split(|b| *b == 0).filter(|a| !a.is_empty());
        // A listing has no order.
        for attribute in names.collect::<BTreeSet<_>>() {
            let mut value = vec![0; 4096];
            let len = lgetxattr(&path, attribute, &mut value[..]).unwrap();
            words.push_str(&format!(" {attribute:?}={:?}", &value[..len]));
        }
        if meta.is_dir() {
            let mut names: Vec<_> = fs::read_dir(&path)
                .unwrap()
                .map(|entry| entry.unwrap().path())
                .collect();
            names.sort();
            // The last one first, so that twins are met in their order.
            open.extend(names.into_iter().rev());
        } else {
            let first = twins.entry(meta.ino()).or_insert_with(|| name.clone());
            words.push_str(&format!(" {} {first:?}", meta.nlink()));
        }
        if meta.is_file() {
            let bytes = fs::read(&path).unwrap();
            let sum = bytes.iter().fold(1_u64, |sum, byte| {
                sum.wrapping_mul(0x100_0000_01b3) ^ u64::from(*byte)
            });
            words.push_str(&format!(" {} {sum:x}", bytes.len()));
        } else if meta.is_symlink() {
            words.push_str(&format!(" {:?}", fs::read_link(&path).unwrap()));
        }
        found.insert(name, words);
    }
    found
}

#[test]
fn a_tree_is_the_same_imported_mounted_and_exported() {
    let place = with_key_file();
    let src = tree(&place);
    let wanted = described(&src);
    let before = snapshot(&place.vault());
    let (code, dry) = json(&place, &["import", "--dry-run", "src", "v"]);
    assert_eq!((code, &dry["dry_run"]), (0, &true.into()));
    assert_eq!(snapshot(&place.vault()), before);
    let (code, report) = json(&place, &["import", "src", "v"]);
    assert_eq!((code, failures(&report)), (0, vec![]));
    for count in ["files", "directories", "symlinks", "special", "hard_links"] {
        assert!(report[count].as_u64().unwrap() > 0, "{report}");
        assert_eq!(report[count], dry[count], "{count}");
    }
    with_key(&place, &["check", "v"]).done();
    place.run(&["mount", "--keyfile", "key", "v", "m"]).done();
    assert_eq!(described(&place.point()), wanted);
    place.run(&["unmount", "m"]).done();
    let before = snapshot(&place.vault());
    with_key(&place, &["export", "--privileged", "v", "out"]).done();
    assert_eq!(snapshot(&place.vault()), before);
    let out = place.root().join("out");
    assert_eq!(described(&out), wanted);
    for sparse in [out.join("sparse"), backing(&place, "sparse")] {
        let stored = fs::metadata(&sparse).unwrap().blocks() * 512;
        assert!(stored < 1 << 20, "{stored} bytes of {sparse:?} are stored");
    }
    // Into a directory that has its ACL already.
    fs::write(src.join("dir/inside"), "new").unwrap();
    set_times(&src.join("dir/inside"), (1, 2), (3, 4));
    for words in [
        &["import", "src", "v"][..],
        &["export", "--privileged", "v", "out"],
    ] {
        let (code, report) = json(&place, &[words, &["--overwrite"]].concat());
        assert_eq!((code, failures(&report)), (0, vec![]));
        let copied = (&report["files"], &report["hard_links"]);
        assert_eq!(copied, (&1.into(), &2.into()), "{words:?}");
    }
    let wanted = described(&src);
    assert_eq!(described(&out), wanted);
    // Once more: nothing is left to do, and nothing changes.
    for words in [
        &["import", "src", "v"][..],
        &["import", "--checksum", "src", "v"],
        &["export", "--privileged", "v", "out"],
        &[
            "export",
            "--privileged",
            "--checksum",
            "--overwrite",
            "v",
            "out",
        ],
    ] {
        let (code, report) = json(&place, words);
        assert_eq!((code, &report["files"]), (0, &0.into()), "{words:?}");
        assert_eq!(report["hard_links"], 0, "{words:?}");
        assert!(report["skipped"].as_u64().unwrap() > 10, "{words:?}");
    }
    assert_eq!(described(&out), wanted);
    with_key(&place, &["check", "v"]).done();
}

#[test]
fn what_the_storage_could_have_privileged_is_not_exported_so() {
    let place = filled();
    let mode = |path: &Path| fs::metadata(path).unwrap().permissions().mode() & 0o7777;
    let set = |path: &Path, mode: u32| {
        fs::set_permissions(path, fs::Permissions::from_mode(mode)).unwrap();
    };
    set(&backing(&place, "file"), 0o6755);
    set(&backing(&place, "dir"), 0o2755);
    with_key(&place, &["export", "v", "out"]).done();
    let out = place.root().join("out");
    assert_eq!(mode(&out.join("file")), 0o755);
    assert_eq!(mode(&out.join("dir")), 0o2755, "new files take its group");
    with_key(&place, &["export", "--privileged", "v:file", "one"]).done();
    assert_eq!(mode(&place.root().join("one/file")), 0o6755);
    if !is_root() {
        println!("passed over: only root makes device nodes");
        return;
    }
    let entry = backing(&place, "twin");
    fs::remove_file(&entry).unwrap();
    rustix::fs::mknodat(
        CWD,
        &entry,
        FileType::CharacterDevice,
        Mode::RUSR,
        rustix::fs::makedev(1, 3),
    )
    .unwrap();
    let (code, report) = json(&place, &["export", "v", "again"]);
    assert_eq!(code, code::NOT_ALL_COPIED);
    assert_eq!(failures(&report).len(), 1, "{report}");
    assert!(!place.root().join("again/twin").exists());
    with_key(&place, &["export", "--privileged", "v:twin", "node"]).done();
    assert!(place.root().join("node/twin").exists());
}

#[test]
fn parts_of_a_vault_and_single_files_are_copied() {
    let place = filled();
    let root = place.root();
    with_key(&place, &["export", "v:dir/sub", "sub"]).done();
    assert_eq!(fs::read(root.join("sub/deep")).unwrap(), b"deep");
    with_key(&place, &["export", "v:file", "one"]).done();
    assert_eq!(fs::read(root.join("one/file")).unwrap(), vec![7; 20_000]);
    let text = with_key(&place, &["export", "v:file", "one"]);
    assert!(
        text.done().stdout.contains("1 there already"),
        "{}",
        text.stdout
    );
    with_key(&place, &["import", "sub", "v:dir/new"]).done();
    with_key(&place, &["import", "one/file", "v:dir/new"]).done();
    let listed = with_key(&place, &["ls", "v:dir/new"]);
    assert_eq!(listed.stdout, "deep\nfile\n");
    for (words, code, says) in [
        (
            &["export", "v:nosuch", "x"][..],
            code::NO_SUCH_OBJECT,
            "nosuch",
        ),
        (&["import", "sub", "v:file"], code::NO_SUCH_OBJECT, "file"),
        (&["import", "sub", "v:no/where"], code::NO_SUCH_OBJECT, "no"),
        (&["import", "nosuch", "v"], code::NOT_ALL_COPIED, "nosuch"),
        (
            &["export", "v", "no/where"],
            code::NOT_ALL_COPIED,
            "no/where",
        ),
        (&["export", "v", "key"], code::NOT_ALL_COPIED, "key"),
    ] {
        with_key(&place, words).failed(code, &[says]);
    }
    assert!(!root.join("x").exists());
}

#[test]
fn what_differs_is_listed_and_left_until_it_may_be_replaced() {
    let place = filled();
    let out = place.root().join("out");
    with_key(&place, &["export", "v", "out"]).done();
    let whole = described(&out);
    fs::write(out.join("file"), "mine").unwrap();
    let twin = fs::metadata(out.join("twin")).unwrap();
    fs::write(out.join("twin"), vec![9; 20_000]).unwrap();
    set_times(
        &out.join("twin"),
        (1, 1),
        (twin.mtime(), u32::try_from(twin.mtime_nsec()).unwrap()),
    );
    fs::remove_file(out.join("dir/inside")).unwrap();
    fs::create_dir(out.join("dir/inside")).unwrap();
    fs::write(out.join("extra"), "extra").unwrap();
    let (code, report) = json(&place, &["export", "v", "out"]);
    assert_eq!(code, code::NOT_ALL_COPIED);
    let found = failures(&report);
    let paths: Vec<_> = found.iter().map(|(path, _)| path.as_str()).collect();
    assert_eq!(paths, ["dir/inside", "file"]);
    assert!(found[0].1.contains("directory"), "{found:?}");
    assert!(found[1].1.contains("--overwrite"), "{found:?}");
    assert_eq!(fs::read(out.join("file")).unwrap(), b"mine");
    let (_, report) = json(&place, &["export", "--checksum", "v", "out"]);
    assert_eq!(failures(&report).len(), 3, "{report}");
    let replace = ["export", "--checksum", "--overwrite", "v", "out"];
    let (code, report) = json(&place, &replace);
    assert_eq!(code, code::NOT_ALL_COPIED);
    assert_eq!(failures(&report).len(), 1, "{report}");
    assert_eq!(report["files"], 2);
    fs::remove_dir(out.join("dir/inside")).unwrap();
    with_key(&place, &["export", "v", "out"]).done();
    assert_eq!(fs::read(out.join("extra")).unwrap(), b"extra");
    fs::remove_file(out.join("extra")).unwrap();
    // Times of directories are the vault's again once the copy is through.
    with_key(&place, &["export", "v", "out"]).done();
    assert_eq!(described(&out), whole);
    // And into the vault.
    fs::write(out.join("dir/sub/deep"), "deeper").unwrap();
    let (code, report) = json(&place, &["import", "out", "v"]);
    assert_eq!(code, code::NOT_ALL_COPIED);
    assert_eq!(failures(&report)[0].0, "dir/sub/deep");
    with_key(&place, &["import", "--overwrite", "out", "v"]).done();
    let cat = with_key(&place, &["cat", "v:dir/sub/deep"]);
    assert_eq!(cat.stdout, "deeper");
    with_key(&place, &["check", "v"]).done();
}

#[test]
fn damage_is_listed_and_the_rest_is_exported() {
    let place = filled();
    let out = place.root().join("out");
    flip(&backing(&place, "file"), 128 + 2 * 4136 + 100);
    let stray = backing(&place, "dir/sub/deep");
    fs::rename(&stray, place.vault().join(stray.file_name().unwrap())).unwrap();
    let (code, report) = json(&place, &["export", "v", "out"]);
    assert_eq!(code, code::DAMAGE_FOUND);
    let found = failures(&report);
    let paths: Vec<_> = found.iter().map(|(path, _)| path.as_str()).collect();
    assert_eq!(paths, [".", "file"]);
    assert!(found[1].1.contains("chunk 2"), "{found:?}");
    assert!(!out.join("file").exists());
    assert_eq!(fs::read(out.join("twin")).unwrap(), vec![8; 20_000]);
    assert_eq!(fs::read(out.join("dir/inside")).unwrap(), b"inside");
    let left = fs::read_dir(&out).unwrap();
    let names = left.map(|entry| entry.unwrap().file_name());
    assert!(names.into_iter().all(|n| !n.as_bytes().starts_with(b".")));
}

#[test]
fn links_planted_in_the_target_are_not_followed() {
    let place = filled();
    let root = place.root();
    let away = root.join("away");
    fs::create_dir_all(away.join("sub")).unwrap();
    fs::write(away.join("secret"), "secret").unwrap();
    let out = root.join("out");
    fs::create_dir(&out).unwrap();
    symlink("../away", out.join("dir")).unwrap();
    symlink("../away/secret", out.join("file")).unwrap();
    let before = described(&away);
    let (code, report) = json(&place, &["export", "--overwrite", "v", "out"]);
    assert_eq!(code, code::NOT_ALL_COPIED);
    assert_eq!(failures(&report)[0].0, "dir");
    assert_eq!(failures(&report).len(), 1);
    assert_eq!(described(&away), before);
    assert!(!out.join("file").is_symlink());
    assert_eq!(fs::read(out.join("file")).unwrap(), vec![7; 20_000]);
    assert_eq!(fs::read(out.join("pinned/kept")).unwrap(), b"kept");
}

#[test]
fn a_vault_is_not_copied_into_itself() {
    let place = filled();
    let root = place.root();
    fs::create_dir(place.vault().join("plain")).unwrap();
    symlink("v/plain", root.join("way")).unwrap();
    let before = snapshot(&place.vault());
    for words in [
        &["export", "v", "v"][..],
        &["export", "v", "v/new"],
        &["export", "v", "v/plain"],
        &["export", "v", "way"],
        &["import", "v", "v"],
        &["import", "v/plain", "v"],
        &["import", "v/keepfs.vault", "v"],
        &["import", ".", "v"],
    ] {
        with_key(&place, words).failed(code::NOT_ALL_COPIED, &["vault"]);
    }
    // A directory of the vault that bears the name of the vault's own.
    fs::create_dir_all(root.join("src/v")).unwrap();
    fs::write(root.join("src/v/plain"), "text").unwrap();
    fs::remove_dir(place.vault().join("plain")).unwrap();
    with_key(&place, &["import", "src", "v:apart"]).done();
    let (code, report) = json(&place, &["export", "v:apart", "."]);
    assert_eq!(code, code::NOT_ALL_COPIED);
    assert_eq!(failures(&report)[0].0, "v");
    assert!(!place.vault().join("plain").exists());
    assert_ne!(snapshot(&place.vault()), before);
}

#[test]
fn a_mounted_vault_is_exported_but_nothing_imported() {
    let place = filled();
    place.run(&["mount", "--keyfile", "key", "v", "m"]).done();
    fs::create_dir(place.root().join("src")).unwrap();
    with_key(&place, &["import", "src", "v"]).failed(code::VAULT_IN_USE, &["unmount"]);
    with_key(&place, &["export", "v", "out"]).done();
    let same = fs::read(place.root().join("out/file")).unwrap();
    assert_eq!(same, fs::read(place.point().join("file")).unwrap());
    with_key(&place, &["export", "v", "m/copy"]).failed(code::NOT_ALL_COPIED, &["itself"]);
    let words = ["export", "../v", "copy", "--keyfile", "../key"];
    let mut there = place.command(&words);
    run(there.current_dir(place.point()), b"").failed(code::NOT_ALL_COPIED, &["itself"]);
    place.run(&["unmount", "m"]).done();
}

/// Kills a copy once `begun` holds.
fn kill_when(place: &Place, words: &[&str], begun: impl Fn() -> bool) {
    let words = [words, &["--keyfile", "key"]].concat();
    let mut command = place.command(&words);
    let mut child = command
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .spawn()
        .unwrap();
    wait_for("something was copied", &begun);
    child.kill().unwrap();
    assert!(!child.wait().unwrap().success(), "it was through already");
}

#[test]
fn a_killed_copy_leaves_nothing_half_and_goes_on() {
    const FILES: u64 = 60;
    let place = with_key_file();
    let root = place.root();
    let src = root.join("src");
    fs::create_dir_all(src.join("dir")).unwrap();
    for number in 0..FILES {
        let name = src.join(format!("dir/{number}"));
        fs::write(name, pattern(2_000_000, number)).unwrap();
    }
    set_mode(&src.join("dir"), 0o500);
    let wanted = described(&src);
    // Unread, as they come and go meanwhile.
    let files = |dir: &Path| {
        let list = Command::new("find").arg(dir).args(["-type", "f"]).output();
        let list = String::from_utf8(list.unwrap().stdout).unwrap();
        list.lines()
            .filter(|path| !path.contains("~keepfs"))
            .count()
    };
    let keys = files(&place.vault());
    kill_when(&place, &["import", "src", "v"], || {
        files(&place.vault()) > keys + 3
    });
    // What is left over does no harm.
    let checked = with_key(&place, &["check", "v"]);
    assert_eq!(checked.code, code::DONE, "{}", checked.stdout);
    let (code, report) = json(&place, &["import", "src", "v"]);
    assert_eq!(code, 0);
    let skipped = report["skipped"].as_u64().unwrap();
    assert!(skipped > 3 && skipped < FILES, "{report}");
    let (_, checked) = json(&place, &["check", "v"]);
    assert_eq!(checked["findings"], serde_json::json!([]));
    let out = root.join("out");
    kill_when(&place, &["export", "v", "out"], || {
        out.exists() && files(&out) > 3
    });
    for (path, bytes) in snapshot(&out) {
        let name = path.strip_prefix(&out).unwrap();
        if let Some(bytes) = bytes.filter(|_| !name.to_str().unwrap().contains("~keepfs")) {
            assert!(bytes == fs::read(src.join(name)).unwrap(), "{name:?}");
        }
    }
    let (code, report) = json(&place, &["export", "v", "out"]);
    assert_eq!(code, 0);
    assert!(report["skipped"].as_u64().unwrap() > 3, "{report}");
    assert_eq!(described(&out), wanted);
    set_mode(&src.join("dir"), 0o700);
    set_mode(&out.join("dir"), 0o700);
}

#[test]
fn what_cannot_be_read_is_listed_and_the_rest_imported() {
    if is_root() {
        eprintln!("passed over: root may read everything");
        return;
    }
    let place = with_key_file();
    let src = place.root().join("src");
    fs::create_dir_all(src.join("closed")).unwrap();
    fs::write(src.join("secret"), "secret").unwrap();
    fs::write(src.join("open"), "open").unwrap();
    set_mode(&src.join("secret"), 0);
    set_mode(&src.join("closed"), 0);
    fs::create_dir(src.join("empty")).unwrap();
    set_mode(&src.join("empty"), 0o400);
    for _again in 0..2 {
        let (code, report) = json(&place, &["import", "src", "v"]);
        assert_eq!(code, code::NOT_ALL_COPIED);
        let found = failures(&report);
        let paths: Vec<_> = found.iter().map(|(path, _)| path.as_str()).collect();
        assert_eq!(paths, ["closed", "secret"]);
    }
    set_mode(&src.join("closed"), 0o700);
    assert_eq!(with_key(&place, &["ls", "v"]).stdout, "empty\nopen\n");
    assert_eq!(with_key(&place, &["cat", "v:open"]).stdout, "open");
}
