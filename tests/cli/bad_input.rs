//! Bad input: each has its message and its exit code, and changes nothing.

use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::Path;
use std::process::Command;

use crate::harness::*;

/// Mounting is refused so, and the vault stays as it was.
#[track_caller]
fn refused(place: &Place, code: i32, words: &[&str]) {
    let before = snapshot(&place.root());
    place.mount(&[]).failed(code, words);
    assert_eq!(snapshot(&place.root()), before, "something was changed");
    assert!(place.entry().is_none());
}

/// Changes one byte of a file, even a read-only one.
fn flip(path: &Path, at: usize) {
    let mut bytes = std::fs::read(path).unwrap();
    bytes[at] ^= 0x10;
    rewrite(path, &bytes);
}

fn rewrite(path: &Path, bytes: &[u8]) {
    std::fs::set_permissions(path, PermissionsExt::from_mode(0o600)).unwrap();
    std::fs::write(path, bytes).unwrap();
}

#[test]
fn a_wrong_passphrase_has_its_own_code_and_no_hint() {
    let place = Place::new();
    for wrong in [
        "correct horsf\n",
        "correct horse \n",
        "Correct horse\n",
        "nothing like it\n",
    ] {
        let ran = run(&mut place.command(&["mount", "v", "m"]), wrong.as_bytes());
        ran.failed(code::WRONG_PASSPHRASE, &["wrong passphrase"]);
        assert!(!ran.stderr.contains(wrong.trim_end()), "{}", ran.stderr);
    }
    assert!(place.entry().is_none());
}

#[test]
fn what_is_no_vault_is_named() {
    let place = Place::bare();
    for words in [&["info", "v"][..], &["mount", "v", "m"]] {
        place
            .unlock(words)
            .failed(code::NOT_A_VAULT, &["no such directory"]);
    }
    std::fs::write(place.vault(), "a file").unwrap();
    for words in [&["info", "v"][..], &["mount", "v", "m"]] {
        place
            .unlock(words)
            .failed(code::NOT_A_VAULT, &["not a directory"]);
    }
    std::fs::remove_file(place.vault()).unwrap();
    std::fs::create_dir(place.vault()).unwrap();
    for words in [&["info", "v"][..], &["mount", "v", "m"]] {
        place
            .unlock(words)
            .failed(code::NOT_A_VAULT, &["keepfs.vault"]);
    }
}

#[test]
fn a_damaged_vault_file_is_damage_and_a_later_one_is_not() {
    let file = |place: &Place| place.vault().join("keepfs.vault");
    let good = Place::new();
    let bytes = std::fs::read(file(&good)).unwrap();
    let cases: &[(&str, Vec<u8>, i32)] = &[
        ("empty", Vec::new(), code::VAULT_DAMAGED),
        ("cut", bytes[..63].to_vec(), code::VAULT_DAMAGED),
        ("too long", [&bytes[..], b"x"].concat(), code::VAULT_DAMAGED),
        ("huge", vec![0; 1 << 20], code::VAULT_DAMAGED),
        (
            "other magic",
            [b"KEEPFSv0", &bytes[8..]].concat(),
            code::VAULT_DAMAGED,
        ),
        (
            "reserved byte",
            [&bytes[..12], b"x", &bytes[13..]].concat(),
            code::VAULT_DAMAGED,
        ),
        (
            "chunk size",
            [&bytes[..10], &[30], &bytes[11..]].concat(),
            code::VAULT_DAMAGED,
        ),
        (
            "later format",
            [&bytes[..8], &[2], &bytes[9..]].concat(),
            code::NEEDS_NEWER,
        ),
    ];
    for (what, bytes, code) in cases {
        rewrite(&file(&good), bytes);
        println!("{what}");
        refused(&good, *code, &["keepfs"]);
    }
}

#[test]
fn a_changed_vault_id_or_fingerprint_opens_nothing() {
    for at in [16, 40] {
        let place = Place::new();
        flip(&place.vault().join("keepfs.vault"), at);
        refused(&place, code::VAULT_DAMAGED, &["vault"]);
    }
}

#[test]
fn a_damaged_slot_is_damage_and_a_later_one_is_not() {
    let place = Place::new();
    let slot = place.slot();
    let bytes = std::fs::read(&slot).unwrap();
    let cases: &[(&str, Vec<u8>, i32)] = &[
        ("empty", Vec::new(), code::SLOT_DAMAGED),
        ("cut", bytes[..bytes.len() - 1].to_vec(), code::SLOT_DAMAGED),
        ("too long", [&bytes[..], b"x"].concat(), code::SLOT_DAMAGED),
        ("huge", vec![b'K'; 1 << 20], code::SLOT_DAMAGED),
        (
            "later version",
            [&bytes[..8], &[2], &bytes[9..]].concat(),
            code::NEEDS_NEWER,
        ),
        (
            "later kind",
            [&bytes[..10], &[9], &bytes[11..]].concat(),
            code::NEEDS_NEWER,
        ),
        (
            "foreign vault",
            [&bytes[..32], &[!bytes[32]], &bytes[33..]].concat(),
            code::VAULT_DAMAGED,
        ),
    ];
    for (what, bytes, code) in cases {
        rewrite(&slot, bytes);
        println!("{what}");
        refused(&place, *code, &["key slots"]);
        let info = place.run(&["info", "--json", "v"]).json();
        assert_eq!(info["slots"], serde_json::json!([]), "{what}");
        assert_eq!(info["invalid"].as_array().unwrap().len(), 1, "{what}");
    }
    std::fs::remove_file(&slot).unwrap();
    refused(&place, code::SLOT_DAMAGED, &["no key slots"]);
    std::fs::remove_dir(place.vault().join("keepfs.slots")).unwrap();
    refused(&place, code::SLOT_DAMAGED, &["no key slots"]);
}

#[test]
fn a_slot_changed_in_any_bound_byte_does_not_open() {
    // Salt, passes, wrapped key: what looks like another passphrase.
    let place = Place::new();
    let good = std::fs::read(place.slot()).unwrap();
    for at in [48, 110] {
        flip(&place.slot(), at);
        refused(&place, code::WRONG_PASSPHRASE, &["wrong passphrase"]);
        rewrite(&place.slot(), &good);
    }
    flip(&place.slot(), good.len() - 1);
    refused(&place, code::SLOT_DAMAGED, &["damaged"]);
}

#[test]
fn argon2_parameters_beyond_the_bounds_are_not_paid() {
    let place = Place::new();
    let good = std::fs::read(place.slot()).unwrap();
    // Memory in KiB at 80, passes at 84, lanes at 88.
    for (at, value) in [(80, 5 << 20), (80, 1024), (84, 1000), (84, 1), (88, 255)] {
        let mut bytes = good.clone();
        bytes[at..at + 4].copy_from_slice(&u32::to_le_bytes(value));
        rewrite(&place.slot(), &bytes);
        println!("{value} at {at}");
        refused(&place, code::KDF_COST, &["Argon2id"]);
    }
}

#[test]
fn init_asks_no_more_memory_than_the_machine_has() {
    let ram = keepfs::sys::process::total_ram_kib();
    if ram / 4 * 3 >= 4 << 20 {
        eprintln!("passed over: this machine can pay every legal cost");
        return;
    }
    let place = Place::bare();
    let ran = place.unlock(&["init", "--kdf-memory", "4GiB", "--kdf-passes", "3", "v"]);
    ran.failed(code::KDF_COST, &["memory"]);
    assert!(!place.vault().exists());
}

#[test]
fn links_fifos_and_directories_where_files_belong_are_not_opened() {
    let replace = |path: &Path, with: &dyn Fn(&Path)| {
        if path.symlink_metadata().unwrap().is_dir() {
            std::fs::remove_dir(path).unwrap();
        } else {
            std::fs::remove_file(path).unwrap();
        }
        with(path);
    };
    let copy = Place::new();
    let fifo = |path: &Path| {
        assert!(Command::new("mkfifo").arg(path).status().unwrap().success());
    };
    let directory = |path: &Path| std::fs::create_dir(path).unwrap();
    let link = |path: &Path| symlink(copy.vault().join("keepfs.vault"), path).unwrap();
    let kinds: [&dyn Fn(&Path); 3] = [&fifo, &directory, &link];
    let place = Place::new();
    for with in kinds {
        replace(&place.vault().join("keepfs.vault"), with);
        place
            .mount(&[])
            .failed(code::VAULT_DAMAGED, &["not a regular file"]);
        place
            .run(&["info", "v"])
            .failed(code::VAULT_DAMAGED, &["not a regular file"]);
    }
    let place = Place::new();
    let slot = place.slot();
    for with in kinds {
        replace(&slot, with);
        place
            .mount(&[])
            .failed(code::SLOT_DAMAGED, &["not a regular file"]);
    }
}

#[test]
fn init_refuses_what_is_not_empty() {
    let place = Place::new();
    let before = snapshot(&place.vault());
    place
        .unlock(CHEAP_INIT)
        .failed(code::NOT_EMPTY, &["already"]);
    assert_eq!(snapshot(&place.vault()), before);
    let place = Place::bare();
    std::fs::create_dir(place.vault()).unwrap();
    std::fs::write(place.vault().join("photo"), "mine").unwrap();
    place
        .unlock(CHEAP_INIT)
        .failed(code::NOT_EMPTY, &["not empty"]);
    assert_eq!(snapshot(&place.vault()).len(), 1);
    let place = Place::bare();
    std::fs::write(place.vault(), "a file").unwrap();
    place
        .unlock(CHEAP_INIT)
        .failed(code::NOT_EMPTY, &["not a directory"]);
}

#[test]
fn init_where_nothing_can_be_written_is_the_backing_s_fault() {
    let place = Place::bare();
    let words = [
        "init",
        "--kdf-memory",
        "64MiB",
        "--kdf-passes",
        "3",
        "/proc/keepfs-test",
    ];
    place
        .unlock(&words)
        .failed(code::BACKING, &["/proc/keepfs-test"]);
}

#[test]
fn a_full_backing_leaves_no_half_vault() {
    if !is_root() {
        eprintln!("passed over: only root can mount a small tmpfs");
        return;
    }
    let place = Place::bare();
    let full = place.root().join("full");
    std::fs::create_dir(&full).unwrap();
    let mounted = Command::new("mount")
        .args(["-t", "tmpfs", "-o", "size=8k", "none"])
        .arg(&full)
        .status();
    assert!(mounted.unwrap().success());
    std::fs::write(full.join("filler"), vec![0; 8192]).unwrap();
    std::fs::create_dir(full.join("v")).unwrap();
    let words = [
        "init",
        "--kdf-memory",
        "64MiB",
        "--kdf-passes",
        "3",
        "full/v",
    ];
    place.unlock(&words).failed(code::BACKING, &["full/v"]);
    assert_eq!(snapshot(&full.join("v")).len(), 0);
}

#[test]
fn each_unfit_mount_point_has_its_own_message() {
    let place = Place::new();
    let mount = |point: &str| place.unlock(&["mount", "v", point]);
    mount("nosuch").failed(code::MOUNT_POINT, &["does not exist"]);
    std::fs::write(place.root().join("file"), "").unwrap();
    mount("file").failed(code::MOUNT_POINT, &["not a directory"]);
    std::fs::create_dir_all(place.root().join("full/below")).unwrap();
    mount("full").failed(code::MOUNT_POINT, &["not empty", "nonempty"]);
    mount("/proc").failed(code::MOUNT_POINT, &["already a mount point"]);
    mount("v").failed(code::MOUNT_POINT, &["inside"]);
    mount(".").failed(code::MOUNT_POINT, &["inside the mount point"]);
    std::fs::create_dir(place.vault().join("below")).unwrap();
    mount("v/below").failed(code::MOUNT_POINT, &["inside the vault"]);
}

#[test]
fn a_mount_point_of_somebody_else_is_refused() {
    if is_root() {
        eprintln!("passed over: root may mount anywhere");
        return;
    }
    let place = Place::new();
    let mount = place.unlock(&["mount", "-o", "nonempty", "v", "/usr"]);
    mount.failed(code::MOUNT_POINT, &["another user"]);
}

#[test]
fn missing_fuse_is_said_with_what_to_do() {
    let place = Place::new();
    if is_root() {
        // In a mount namespace of its own, /dev is empty.
        let script = format!(
            "mount -t tmpfs none /dev && mknod -m 666 /dev/null c 1 3 && \
             echo '{PASSPHRASE}' | '{}' mount v m",
            program().display()
        );
        let mut shell = Command::new("unshare");
        shell
            .args(["--mount", "sh", "-c", &script])
            .current_dir(place.root());
        run(&mut shell, b"").failed(code::FUSE_MISSING, &["/dev/fuse", "modprobe fuse"]);
    } else {
        let mut command = place.command(&["mount", "v", "m"]);
        command.env("PATH", "/nonexistent");
        let input = format!("{PASSPHRASE}\n");
        run(&mut command, input.as_bytes()).failed(code::FUSE_MISSING, &["fuse3"]);
    }
}

#[test]
fn a_mount_the_kernel_refuses_has_its_own_code() {
    let place = Place::new();
    if is_root() {
        // Root without the right to mount.
        let script = format!("echo '{PASSPHRASE}' | '{}' mount v m", program().display());
        let mut shell = Command::new("setpriv");
        shell
            .args(["--bounding-set", "-sys_admin", "--inh-caps", "-sys_admin"])
            .args(["sh", "-c", &script])
            .current_dir(place.root());
        run(&mut shell, b"").failed(code::MOUNT_REFUSED, &["mount failed"]);
    } else if std::fs::read_to_string("/etc/fuse.conf")
        .is_ok_and(|conf| conf.lines().any(|line| line.trim() == "user_allow_other"))
    {
        eprintln!("passed over: /etc/fuse.conf allows allow_other here");
    } else {
        place
            .mount(&["--allow-other"])
            .failed(code::MOUNT_REFUSED, &["user_allow_other"]);
    }
}

#[test]
fn what_is_not_mounted_cannot_be_unmounted_or_shown() {
    let place = Place::new();
    for command in ["unmount", "status"] {
        place
            .run(&[command, "m"])
            .failed(code::NOT_MOUNTED, &["nothing is mounted"]);
        place
            .run(&[command, "nosuch"])
            .failed(code::NOT_MOUNTED, &["nothing is mounted"]);
        place
            .run(&[command, "/proc"])
            .failed(code::NOT_MOUNTED, &["not a keepfs mount"]);
    }
}

#[test]
fn a_daemon_that_is_fed_nonsense_fails_in_words() {
    let ran = run(&mut keepfs(&["__daemon"]), &[0xff; 100]);
    assert_eq!(ran.code, code::FAILURE);
    assert!(ran.stdout.contains("failed"), "{}", ran.stdout);
}
