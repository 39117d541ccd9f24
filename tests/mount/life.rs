//! Mounting, unmounting, being killed.

use std::fs::{self, File, OpenOptions};
use std::io::Write;
use std::os::unix::fs::FileExt;
use std::process::Command;

use rustix::process::Signal;

use crate::mounted::{Vault, is_mounted, keepfs, pattern, tool, wait_until};

#[test]
fn the_mount_shows_its_type_and_source() {
    let vault = Vault::new();
    let mounted = vault.mount();
    let table = fs::read_to_string("/proc/self/mountinfo").unwrap();
    let point = vault.point();
    let line = table
        .lines()
        .find(|l| l.split(' ').nth(4) == point.to_str())
        .unwrap()
        .to_owned();
    mounted.unmount();
    let (options, tail) = line.split_once(" - ").unwrap();
    let mut tail = tail.split(' ');
    assert_eq!(tail.next(), Some("fuse.keepfs"));
    assert_eq!(
        tail.next(),
        vault.backing().canonicalize().unwrap().to_str()
    );
    for option in ["nosuid", "nodev", "noatime"] {
        assert!(options.contains(option), "{option} is missing: {line}");
    }
}

#[test]
fn the_background_form_returns_when_the_mount_answers() {
    let vault = Vault::new();
    let out = vault.mount_command(&vault.passfile(), &[]);
    assert!(
        out.status.success(),
        "{}",
        String::from_utf8_lossy(&out.stderr)
    );
    fs::write(vault.point().join("f"), "x").unwrap();
    let out = keepfs().arg("unmount").arg(vault.point()).output().unwrap();
    assert!(
        out.status.success(),
        "{}",
        String::from_utf8_lossy(&out.stderr)
    );
    assert!(!is_mounted(&vault.point()));
    // Unmounting has waited: the vault is free and sealed at once.
    let mounted = vault.mount_with(&["--strict"]);
    assert_eq!(fs::read(mounted.path("f")).unwrap(), b"x");
}

#[test]
fn a_second_mount_of_a_vault_is_refused() {
    let vault = Vault::new();
    let mounted = vault.mount();
    let other = vault.plain_dir();
    let out = keepfs()
        .arg("mount")
        .arg(vault.backing())
        .arg(&other)
        .arg("--passfile")
        .arg(vault.passfile())
        .output()
        .unwrap();
    assert!(!out.status.success());
    assert!(!is_mounted(&other));
    assert!(!out.stderr.is_empty(), "refused without a word");
    fs::write(mounted.path("f"), "the first one works on").unwrap();
}

#[test]
fn a_wrong_passphrase_has_its_own_exit_code_and_mounts_nothing() {
    let vault = Vault::new();
    let wrong = vault.plain_dir().join("wrong");
    fs::write(&wrong, "not the passphrase\n").unwrap();
    let out = vault.mount_command(&wrong, &[]);
    let absent = vault.mount_command(&vault.plain_dir().join("absent"), &[]);
    assert!(!out.status.success() && !absent.status.success());
    assert_ne!(out.status.code(), absent.status.code());
    assert!(!is_mounted(&vault.point()));
}

#[test]
fn sigterm_with_data_in_flight_loses_nothing() {
    let vault = Vault::new();
    let mut mounted = vault.mount();
    let content = pattern(24 << 20, 1);
    let mut file = File::create(mounted.path("f")).unwrap();
    file.write_all(&content).unwrap();
    let also = File::create(mounted.path("g")).unwrap();
    also.write_all_at(&content[..100_000], 5_000).unwrap();
    mounted.expect_warning("in use");
    mounted.expect_warning("lazily");
    mounted.signal(Signal::TERM);
    wait_until("it says that it is in use", || {
        mounted.log().contains("in use")
    });
    assert!(
        is_mounted(&vault.point()),
        "the first signal takes nothing away from anybody"
    );
    also.write_all_at(&content[..1_000], 105_000).unwrap();
    mounted.signal(Signal::TERM);
    wait_until("the mount is detached", || !is_mounted(&vault.point()));
    (&file).write_all(b"and after").unwrap();
    drop((file, also));
    assert!(mounted.wait().success());
    mounted.unmount();
    let mounted = vault.mount_with(&["--strict"]);
    assert!(fs::read(mounted.path("f")).unwrap() == [&content[..], b"and after"].concat());
    let also = fs::read(mounted.path("g")).unwrap();
    assert!(also[5_000..105_000] == content[..100_000]);
    assert!(also[105_000..] == content[..1_000]);
}

#[test]
fn sigterm_on_an_idle_mount_ends_it_at_once() {
    for signal in [Signal::TERM, Signal::INT, Signal::HUP] {
        let vault = Vault::new();
        let mut mounted = vault.mount();
        fs::write(mounted.path("f"), pattern(3 << 20, 7)).unwrap();
        mounted.signal(signal);
        assert!(mounted.wait().success());
        mounted.unmount();
        let mounted = vault.mount_with(&["--strict"]);
        assert!(fs::read(mounted.path("f")).unwrap() == pattern(3 << 20, 7));
    }
}

#[test]
fn an_unmount_that_drops_release_still_seals_every_file() {
    let vault = Vault::new();
    let mut mounted = vault.mount();
    // Teach the kernel that FLUSH is not wanted, so that close asks nothing.
    fs::write(mounted.path("first"), "x").unwrap();
    let mut files: Vec<File> = (0..20)
        .map(|i| {
            let file = File::create(mounted.path(format!("f{i}"))).unwrap();
            file.write_all_at(&pattern(10_000, i), 0).unwrap();
            file.sync_all().unwrap();
            file
        })
        .collect();
    mounted.signal(Signal::STOP);
    files.clear();
    let detached = Command::new("umount")
        .arg("-l")
        .arg(vault.point())
        .status()
        .unwrap();
    let detached = detached.success()
        || Command::new("fusermount3")
            .args(["-u", "-z"])
            .arg(vault.point())
            .status()
            .unwrap()
            .success();
    mounted.signal(Signal::CONT);
    assert!(detached);
    assert!(mounted.wait().success());
    mounted.unmount();
    let mounted = vault.mount_with(&["--strict"]);
    for i in 0..20 {
        assert!(fs::read(mounted.path(format!("f{i}"))).unwrap() == pattern(10_000, i));
    }
}

#[test]
fn umount_by_others_ends_the_daemon() {
    let vault = Vault::new();
    let mut mounted = vault.mount();
    fs::write(mounted.path("f"), pattern(100_000, 2)).unwrap();
    tool("fusermount3", &["-u".as_ref(), vault.point().as_os_str()]);
    assert!(mounted.wait().success());
    mounted.unmount();
    let mounted = vault.mount();
    assert!(fs::read(mounted.path("f")).unwrap() == pattern(100_000, 2));
}

#[test]
fn a_daemon_killed_with_a_file_open_leaves_what_was_synced() {
    let vault = Vault::new();
    let mounted = vault.mount();
    let file = File::create(mounted.path("f")).unwrap();
    file.write_all_at(&pattern(50_000, 3), 0).unwrap();
    file.sync_all().unwrap();
    let out = Command::new("kill")
        .args(["-KILL", &mounted.pid().to_string()])
        .status()
        .unwrap();
    assert!(out.success());
    drop(file);
    mounted.expect_killed();
    // Mounting again clears the dead mount away.
    let mut mounted = vault.mount();
    mounted.expect_warning("dead mount");
    mounted.expect_warning("sealed");
    assert!(fs::read(mounted.path("f")).unwrap() == pattern(50_000, 3));
    let file = OpenOptions::new()
        .append(true)
        .open(mounted.path("f"))
        .unwrap();
    (&file).write_all(b"and more").unwrap();
    drop(file);
    assert_eq!(fs::metadata(mounted.path("f")).unwrap().len(), 50_008);
}

#[test]
fn a_read_only_mount_changes_nothing() {
    let vault = Vault::new();
    let mounted = vault.mount();
    fs::write(mounted.path("f"), "x").unwrap();
    mounted.unmount();
    let before = vault.backing_files();
    let mounted = vault.mount_with(&["--read-only"]);
    assert_eq!(fs::read(mounted.path("f")).unwrap(), b"x");
    let error = fs::write(mounted.path("g"), "y").unwrap_err();
    assert_eq!(error.raw_os_error(), Some(libc::EROFS));
    let error = OpenOptions::new()
        .append(true)
        .open(mounted.path("f"))
        .unwrap_err();
    assert_eq!(error.raw_os_error(), Some(libc::EROFS));
    mounted.unmount();
    assert!(before == vault.backing_files());
}

/// Runs `work` in a vault whose backing has room for four MiB; only root can.
fn on_a_small_backing(work: impl FnOnce(&Vault) + std::panic::UnwindSafe) {
    if !crate::mounted::is_root() {
        eprintln!("not tested: only root mounts a small backing");
        return;
    }
    let vault = Vault::new();
    let backing = vault.backing();
    let keep = tempfile::tempdir().unwrap();
    let copy = |from: &std::path::Path, to: &std::path::Path| {
        let (from, to) = (from.join("."), to.to_owned());
        tool("cp", &["-a".as_ref(), from.as_os_str(), to.as_os_str()]);
    };
    copy(&backing, keep.path());
    let size = ["-t", "tmpfs", "-o", "size=4m", "tmpfs"].map(std::ffi::OsStr::new);
    tool("mount", &[&size[..], &[backing.as_os_str()]].concat());
    let outcome = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| {
        copy(keep.path(), &backing);
        work(&vault);
    }));
    tool("umount", &[backing.as_os_str()]);
    outcome.unwrap();
}

/// A mount that is going to meet the end of its backing.
fn mount_expecting_no_room(vault: &Vault) -> crate::mounted::Mounted<'_> {
    let mut mounted = vault.mount();
    mounted.expect_warning("No space");
    mounted.expect_warning("no space");
    mounted
}

fn fill(path: &std::path::Path) -> Option<i32> {
    let mut file = File::create(path).unwrap();
    let outcome = file
        .write_all(&pattern(8 << 20, 5))
        .and_then(|()| file.sync_all());
    outcome.unwrap_err().raw_os_error()
}

/// The kernel tells of a failed write to whoever syncs the whole mount next, and
/// unmounting would refuse; once told, it is told.
fn hear_of_failures(mounted: &crate::mounted::Mounted<'_>) {
    let _told = rustix::fs::syncfs(File::open(mounted.path("")).unwrap());
}

#[test]
fn a_full_backing_is_an_error_at_write_or_close_and_never_silent() {
    on_a_small_backing(|vault| {
        let mounted = mount_expecting_no_room(vault);
        fs::write(mounted.path("small"), pattern(100_000, 4)).unwrap();
        assert_eq!(fill(&mounted.path("large")), Some(libc::ENOSPC));
        fs::remove_file(mounted.path("large")).unwrap();
        assert!(fs::read(mounted.path("small")).unwrap() == pattern(100_000, 4));
        fs::write(mounted.path("again"), pattern(100_000, 6)).unwrap();
        hear_of_failures(&mounted);
    });
}

#[test]
fn writing_over_files_needs_little_room_and_emptying_them_none() {
    on_a_small_backing(|vault| {
        let mounted = vault.mount();
        fs::write(mounted.path("file"), pattern(1 << 20, 1)).unwrap();
        fs::write(mounted.path("room"), pattern(200_000, 2)).unwrap();
        mounted.unmount();
        let mounted = mount_expecting_no_room(vault);
        assert_eq!(fill(&mounted.path("filler")), Some(libc::ENOSPC));
        hear_of_failures(&mounted);
        fs::remove_file(mounted.path("room")).unwrap();
        // Five times what there is room for.
        let new = pattern(1 << 20, 3);
        let file = OpenOptions::new()
            .write(true)
            .open(mounted.path("file"))
            .unwrap();
        for (round, piece) in new.chunks(1 << 16).enumerate() {
            let at = u64::try_from(round << 16).unwrap();
            std::os::unix::fs::FileExt::write_all_at(&file, piece, at).unwrap();
            file.sync_all().unwrap();
        }
        drop(file);
        assert!(fs::read(mounted.path("file")).unwrap() == new);
        // Nothing is left at all, and the file to be emptied was safe.
        if let Ok(mut last) = File::create(mounted.path("last")) {
            let mut grows = || last.write_all(&[0; 4096]).and_then(|()| last.sync_all());
            while grows().is_ok() {}
        }
        hear_of_failures(&mounted);
        fs::write(mounted.path("filler"), "").unwrap();
        fs::write(mounted.path("more"), pattern(100_000, 4)).unwrap();
        let mounted = mounted.remount();
        assert!(fs::read(mounted.path("file")).unwrap() == new);
        assert_eq!(fs::metadata(mounted.path("filler")).unwrap().len(), 0);
        assert!(fs::read(mounted.path("more")).unwrap() == pattern(100_000, 4));
    });
}
