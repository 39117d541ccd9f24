//! A vault with one of everything, its places on the backing, and what
//! `keepfs check` says of it.

use std::fs::{self, OpenOptions};
use std::os::unix::fs::{FileExt, symlink};
use std::path::{Path, PathBuf};
use std::process::Command;

use keepfs::codec::kdf::KdfCaps;
use keepfs::codec::vault::{Credential, KeyFile};
use keepfs::name::PlainName;
use keepfs::vault::{LockedVault, SlotChoice};
use serde_json::Value;

use crate::harness::*;

/// Bytes of a full slot: chunk, nonce and tag.
pub(crate) const SLOT: u64 = 4096 + 40;

/// A vault with one of everything, not mounted.
pub(crate) fn filled() -> Place {
    let place = with_key_file();
    place.run(&["mount", "--keyfile", "key", "v", "m"]).done();
    let m = place.point();
    fs::write(m.join("file"), vec![7; 20_000]).unwrap();
    fs::write(m.join("twin"), vec![8; 20_000]).unwrap();
    fs::create_dir_all(m.join("dir/sub")).unwrap();
    fs::write(m.join("dir/inside"), "inside").unwrap();
    fs::write(m.join("dir/sub/deep"), "deep").unwrap();
    fs::create_dir(m.join("old")).unwrap();
    fs::write(m.join("old/kept"), "kept").unwrap();
    fs::rename(m.join("old"), m.join("pinned")).unwrap();
    fs::write(m.join(long()), "long").unwrap();
    symlink("some/where", m.join("link")).unwrap();
    let sparse = fs::File::create(m.join("sparse")).unwrap();
    sparse.set_len(1 << 20).unwrap();
    sparse.write_all_at(b"data", 500_000).unwrap();
    drop(sparse);
    for (name, on) in [("user.note", "file"), ("user.note", "dir")] {
        let set = Command::new("setfattr")
            .args(["-n", name, "-v", "private"])
            .arg(m.join(on))
            .status();
        assert!(set.unwrap().success());
    }
    place.run(&["unmount", "m"]).done();
    place
}

/// Takes the pin of a directory away, and all notes of pins.
pub(crate) fn lose_pin(place: &Place, plain: &str) {
    fs::remove_file(backing(place, plain).join("keepfs.dir")).unwrap();
    fs::remove_dir_all(place.vault().join("keepfs.names")).unwrap();
}

/// A name that needs a side file.
pub(crate) fn long() -> String {
    "l".repeat(200)
}

/// Where a plain path is on the backing.
pub(crate) fn backing(place: &Place, plain: &str) -> PathBuf {
    let key = fs::read(place.root().join("key")).unwrap();
    let credential = Credential::KeyFile(KeyFile::from_bytes(key).unwrap());
    let caps = KdfCaps { ram_kib: 1 << 20 };
    let vault = LockedVault::open(&place.vault()).unwrap();
    let vault = vault.unlock(&credential, &caps, SlotChoice::Any).unwrap();
    let mut dir = vault.root_dir();
    let mut path = place.vault();
    let parts: Vec<&str> = plain.split('/').collect();
    for (at, part) in parts.iter().enumerate() {
        let name = PlainName::new(part.as_bytes()).unwrap();
        let found = dir.lookup(&vault, &name).unwrap().expect(part);
        path.push(std::str::from_utf8(found.entry.bytes()).unwrap());
        if at + 1 < parts.len() {
            dir = dir.open_child(&vault, &name).unwrap();
        }
    }
    path
}

/// Changes one bit of a file.
pub(crate) fn flip(path: &Path, at: u64) {
    let file = OpenOptions::new()
        .read(true)
        .write(true)
        .open(path)
        .unwrap();
    let mut byte = [0];
    file.read_exact_at(&mut byte, at).unwrap();
    file.write_all_at(&[byte[0] ^ 1], at).unwrap();
}

pub(crate) fn cut(path: &Path, len: u64) {
    OpenOptions::new()
        .write(true)
        .open(path)
        .unwrap()
        .set_len(len)
        .unwrap();
}

/// Runs `keepfs check --json`: its exit code and report.
pub(crate) fn check(place: &Place, words: &[&str]) -> (i32, Value) {
    let words = [&["check", "--json", "--keyfile", "key", "v"], words].concat();
    let ran = place.run(&words);
    (ran.code, serde_json::from_str(&ran.stdout).expect("JSON"))
}

/// What was found: kind, loss and plain path of each.
pub(crate) fn findings(report: &Value) -> Vec<(String, String, Option<String>)> {
    let text = |value: &Value| value.as_str().map(str::to_owned);
    report["findings"]
        .as_array()
        .unwrap()
        .iter()
        .map(|finding| {
            for field in ["what", "advice", "cipher_path"] {
                assert!(!finding[field].as_str().unwrap().is_empty(), "{finding}");
            }
            (
                text(&finding["kind"]).unwrap(),
                text(&finding["loss"]).unwrap(),
                text(&finding["plain_path"]),
            )
        })
        .collect()
}

/// Copies a directory with everything in it, holes, times and attributes too.
pub(crate) fn copy_tree(from: &Path, to: &Path) {
    let copied = Command::new("cp")
        .args(["-a", "--sparse=always"])
        .args([from, to])
        .status();
    assert!(copied.unwrap().success());
}
