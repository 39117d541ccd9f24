//! What happens to the changes of a closed file that wait in the journal for a
//! moment.

use std::fs::{self, OpenOptions};
use std::io::Write;
use std::os::unix::fs::{FileExt, MetadataExt};
use std::path::Path;

use rustix::process::Signal;

use crate::mounted::{Mounted, Vault, is_root, pattern, wait_until};

/// A mount with the files `f` and `g`, each safe in its place.
fn two_safe_files(vault: &Vault) -> Mounted<'_> {
    let mounted = vault.mount();
    for name in ["f", "g"] {
        fs::write(mounted.path(name), pattern(10_000, 1)).unwrap();
    }
    mounted.remount()
}

fn write_over(path: &Path, at: u64, bytes: &[u8]) {
    let file = OpenOptions::new().write(true).open(path).unwrap();
    file.write_all_at(bytes, at).unwrap();
}

fn changed(at: usize, bytes: &[u8]) -> Vec<u8> {
    let mut whole = pattern(10_000, 1);
    whole[at..at + bytes.len()].copy_from_slice(bytes);
    whole
}

fn has_journal(vault: &Vault) -> bool {
    let names = fs::read_dir(vault.backing()).unwrap().map(Result::unwrap);
    names.into_iter().any(|entry| {
        let name = entry.file_name();
        name.as_encoded_bytes().starts_with(b"~keepfs-journal-")
    })
}

fn nothing_waits(mounted: &Mounted<'_>) -> bool {
    mounted.status()["open_for_writing"] == 0
}

#[test]
fn the_changes_of_a_closed_file_are_put_in_place_a_moment_later() {
    let vault = Vault::new();
    let mounted = vault.mount();
    fs::write(mounted.path("f"), pattern(10_000, 1)).unwrap();
    let mounted = mounted.remount();
    let on_backing = vault.only_data_file();
    let before = fs::read(&on_backing).unwrap();
    write_over(&mounted.path("f"), 5_000, b"over it");
    assert_eq!(
        fs::read(mounted.path("f")).unwrap(),
        changed(5_000, b"over it")
    );
    wait_until("it is in its place", || nothing_waits(&mounted));
    let after = fs::read(&on_backing).unwrap();
    assert!(before != after && before.len() == after.len());
    assert_eq!(
        fs::read(mounted.path("f")).unwrap(),
        changed(5_000, b"over it")
    );
}

#[test]
fn what_waits_in_the_journal_outlives_the_daemon() {
    let vault = Vault::new();
    let mounted = two_safe_files(&vault);
    write_over(&mounted.path("f"), 0, b"new");
    wait_until("it is in the journal", || has_journal(&vault));
    mounted.signal(Signal::KILL);
    mounted.expect_killed();
    let mut mounted = vault.mount();
    mounted.expect_warning("dead mount");
    assert_eq!(fs::read(mounted.path("f")).unwrap(), changed(0, b"new"));
}

#[test]
fn what_waits_in_the_journal_goes_with_its_file() {
    let vault = Vault::new();
    let mounted = two_safe_files(&vault);
    write_over(&mounted.path("f"), 0, b"to be removed");
    fs::remove_file(mounted.path("f")).unwrap();
    write_over(&mounted.path("g"), 0, b"to be replaced");
    fs::write(mounted.path("h"), "instead").unwrap();
    fs::rename(mounted.path("h"), mounted.path("g")).unwrap();
    wait_until("nothing of them waits", || nothing_waits(&mounted));
    let mounted = mounted.remount();
    assert!(!mounted.path("f").exists());
    assert_eq!(fs::read(mounted.path("g")).unwrap(), b"instead");
}

#[test]
fn what_waits_in_the_journal_stays_while_its_file_has_a_name() {
    let vault = Vault::new();
    let mounted = two_safe_files(&vault);
    fs::hard_link(mounted.path("f"), mounted.path("second")).unwrap();
    write_over(&mounted.path("f"), 0, b"kept");
    fs::remove_file(mounted.path("f")).unwrap();
    fs::rename(mounted.path("g"), mounted.path("f")).unwrap();
    let mounted = mounted.remount();
    let seen = fs::read(mounted.path("second")).unwrap();
    assert_eq!(seen, changed(0, b"kept"));
}

#[test]
fn what_waits_in_the_journal_follows_its_file_to_another_name() {
    let vault = Vault::new();
    let mounted = two_safe_files(&vault);
    fs::create_dir(mounted.path("d")).unwrap();
    write_over(&mounted.path("f"), 0, b"moved");
    wait_until("it is in the journal", || has_journal(&vault));
    fs::rename(mounted.path("f"), mounted.path("d/f")).unwrap();
    fs::hard_link(mounted.path("d/f"), mounted.path("second")).unwrap();
    mounted.signal(Signal::KILL);
    mounted.expect_killed();
    let mut mounted = vault.mount();
    mounted.expect_warning("dead mount");
    for name in ["d/f", "second"] {
        assert_eq!(fs::read(mounted.path(name)).unwrap(), changed(0, b"moved"));
    }
}

#[test]
fn a_file_that_is_opened_for_each_line_is_whole() {
    let vault = Vault::new();
    let mounted = two_safe_files(&vault);
    let mut expected = pattern(10_000, 1);
    for line in 0..200 {
        let line = format!("line {line}\n");
        let mut file = OpenOptions::new()
            .append(true)
            .open(mounted.path("f"))
            .unwrap();
        file.write_all(line.as_bytes()).unwrap();
        expected.extend_from_slice(line.as_bytes());
        let len = fs::metadata(mounted.path("f")).unwrap().len();
        assert_eq!(len, u64::try_from(expected.len()).unwrap());
    }
    assert_eq!(fs::read(mounted.path("f")).unwrap(), expected);
    wait_until("all of it is in its place", || nothing_waits(&mounted));
    let mounted = mounted.remount();
    assert_eq!(fs::read(mounted.path("f")).unwrap(), expected);
}

#[test]
fn a_waiting_file_that_the_kernel_forgot_is_found_again() {
    if !is_root() {
        eprintln!("not tested: only root makes the kernel forget");
        return;
    }
    let vault = Vault::new();
    let mounted = two_safe_files(&vault);
    let number = fs::metadata(mounted.path("f")).unwrap().ino();
    for round in 0..20 {
        let bytes = format!("round {round:2}");
        write_over(&mounted.path("f"), 100, bytes.as_bytes());
        fs::write("/proc/sys/vm/drop_caches", "2").unwrap();
        let file = mounted.path("f");
        assert_eq!(fs::read(&file).unwrap(), changed(100, bytes.as_bytes()));
        assert_eq!(fs::metadata(&file).unwrap().ino(), number);
    }
}
