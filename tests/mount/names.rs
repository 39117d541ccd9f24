//! Names, links, renames, directories.

use std::collections::BTreeSet;
use std::ffi::OsString;
use std::fs::{self, File, OpenOptions};
use std::os::unix::ffi::OsStringExt;
use std::os::unix::fs::{FileTypeExt, MetadataExt, symlink};
use std::sync::atomic::{AtomicBool, Ordering};

use rustix::fs::{CWD, FileType, Mode, RenameFlags, mknodat, renameat_with};
use rustix::io::Errno;

use crate::mounted::{Vault, is_root, pattern};

fn names(dir: &std::path::Path) -> BTreeSet<OsString> {
    fs::read_dir(dir)
        .unwrap()
        .map(|entry| entry.unwrap().file_name())
        .collect()
}

#[test]
fn names_of_1_to_255_bytes_of_any_value_survive() {
    let vault = Vault::new();
    let mounted = vault.mount();
    let mut expected = BTreeSet::new();
    for len in [1, 2, 15, 16, 31, 32, 126, 127, 128, 129, 254, 255] {
        expected.insert(OsString::from_vec(vec![b'n'; len]));
    }
    let odd: Vec<u8> = (1..=255).filter(|&b| b != b'/').collect();
    expected.insert(OsString::from_vec(odd));
    expected.insert(OsString::from(" "));
    expected.insert(OsString::from("..."));
    expected.insert(OsString::from("keepfs.vault"));
    for name in &expected {
        fs::write(mounted.path(name), name.as_encoded_bytes()).unwrap();
    }
    assert_eq!(names(&mounted.path("")), expected);
    let mounted = mounted.remount();
    assert_eq!(names(&mounted.path("")), expected);
    for name in &expected {
        assert_eq!(
            fs::read(mounted.path(name)).unwrap(),
            name.as_encoded_bytes()
        );
        fs::remove_file(mounted.path(name)).unwrap();
    }
    assert!(names(&mounted.path("")).is_empty());
}

#[test]
fn a_name_of_256_bytes_is_too_long() {
    let vault = Vault::new();
    let mounted = vault.mount();
    let error = File::create(mounted.path("n".repeat(256))).unwrap_err();
    assert_eq!(error.raw_os_error(), Some(libc::ENAMETOOLONG));
}

#[test]
fn hard_links_are_one_file() {
    let vault = Vault::new();
    let mounted = vault.mount();
    fs::write(mounted.path("a"), pattern(9_000, 1)).unwrap();
    fs::create_dir(mounted.path("d")).unwrap();
    fs::hard_link(mounted.path("a"), mounted.path("d/b")).unwrap();
    fs::write(mounted.path("d/b"), pattern(12_000, 2)).unwrap();
    let (a, b) = (mounted.path("a"), mounted.path("d/b"));
    assert_eq!(
        fs::metadata(&a).unwrap().ino(),
        fs::metadata(&b).unwrap().ino()
    );
    assert_eq!(fs::metadata(&a).unwrap().nlink(), 2);
    assert!(fs::read(&a).unwrap() == pattern(12_000, 2));
    let mounted = mounted.remount();
    fs::remove_file(mounted.path("a")).unwrap();
    assert!(fs::read(mounted.path("d/b")).unwrap() == pattern(12_000, 2));
    assert_eq!(fs::metadata(mounted.path("d/b")).unwrap().nlink(), 1);
}

#[test]
fn symbolic_links_keep_any_target() {
    let vault = Vault::new();
    let mounted = vault.mount();
    let long = "t/".repeat(300);
    for (i, target) in ["a", "/absolute/path", "../up", "dangling \u{1F5DD}", &long]
        .iter()
        .enumerate()
    {
        symlink(target, mounted.path(format!("l{i}"))).unwrap();
        let link = mounted.path(format!("l{i}"));
        assert_eq!(fs::read_link(&link).unwrap().to_str(), Some(*target));
        let size = fs::symlink_metadata(&link).unwrap().len();
        assert_eq!(size, u64::try_from(target.len()).unwrap());
    }
    let mounted = mounted.remount();
    assert_eq!(
        fs::read_link(mounted.path("l4")).unwrap().to_str(),
        Some(long.as_str())
    );
}

#[test]
fn fifos_sockets_and_devices_are_what_they_are() {
    let vault = Vault::new();
    let mounted = vault.mount();
    let mode = Mode::from_bits_truncate(0o640);
    mknodat(CWD, mounted.path("fifo"), FileType::Fifo, mode, 0).unwrap();
    let socket = std::os::unix::net::UnixListener::bind(mounted.path("socket")).unwrap();
    if is_root() {
        let null = rustix::fs::makedev(1, 3);
        mknodat(
            CWD,
            mounted.path("null"),
            FileType::CharacterDevice,
            mode,
            null,
        )
        .unwrap();
        assert_eq!(fs::metadata(mounted.path("null")).unwrap().rdev(), null);
    } else {
        eprintln!("devices are not tested: only root makes them");
    }
    // A bound socket keeps its file, and so the mount, in use.
    drop(socket);
    let mounted = mounted.remount();
    assert!(
        fs::metadata(mounted.path("fifo"))
            .unwrap()
            .file_type()
            .is_fifo()
    );
    assert!(
        fs::metadata(mounted.path("socket"))
            .unwrap()
            .file_type()
            .is_socket()
    );
}

#[test]
fn rename_replaces_or_refuses_or_exchanges() {
    let vault = Vault::new();
    let mounted = vault.mount();
    let (a, b) = (mounted.path("a"), mounted.path("b"));
    fs::write(&a, "a").unwrap();
    fs::write(&b, "b").unwrap();
    let refused = renameat_with(CWD, &a, CWD, &b, RenameFlags::NOREPLACE);
    assert_eq!(refused, Err(Errno::EXIST));
    renameat_with(CWD, &a, CWD, &b, RenameFlags::EXCHANGE).unwrap();
    assert_eq!(
        (fs::read(&a).unwrap(), fs::read(&b).unwrap()),
        (b"b".to_vec(), b"a".to_vec())
    );
    fs::rename(&a, &b).unwrap();
    assert_eq!(names(&mounted.path("")), BTreeSet::from(["b".into()]));
    assert_eq!(fs::read(&b).unwrap(), b"b");
    let whiteout = renameat_with(CWD, &b, CWD, &a, RenameFlags::WHITEOUT);
    assert_eq!(whiteout, Err(Errno::INVAL));
}

#[test]
fn a_renamed_directory_keeps_what_is_in_it() {
    let vault = Vault::new();
    let mounted = vault.mount();
    fs::create_dir_all(mounted.path("a/deep/er")).unwrap();
    fs::write(mounted.path("a/deep/er/f"), "content").unwrap();
    fs::create_dir(mounted.path("elsewhere")).unwrap();
    fs::rename(mounted.path("a/deep"), mounted.path("elsewhere/moved")).unwrap();
    assert_eq!(
        fs::read(mounted.path("elsewhere/moved/er/f")).unwrap(),
        b"content"
    );
    // The old name is free, and a directory born there is another one.
    fs::create_dir(mounted.path("a/deep")).unwrap();
    fs::write(mounted.path("a/deep/g"), "new").unwrap();
    let (x, y) = (mounted.path("a/deep"), mounted.path("elsewhere/moved"));
    renameat_with(CWD, &x, CWD, &y, RenameFlags::EXCHANGE).unwrap();
    let mounted = mounted.remount();
    assert_eq!(fs::read(mounted.path("a/deep/er/f")).unwrap(), b"content");
    assert_eq!(fs::read(mounted.path("elsewhere/moved/g")).unwrap(), b"new");
    fs::remove_file(mounted.path("elsewhere/moved/g")).unwrap();
    fs::remove_dir(mounted.path("elsewhere/moved")).unwrap();
    fs::remove_dir_all(mounted.path("a")).unwrap();
    assert_eq!(
        names(&mounted.path("")),
        BTreeSet::from(["elsewhere".into()])
    );
}

#[test]
fn a_directory_is_removed_only_when_it_is_empty() {
    let vault = Vault::new();
    let mounted = vault.mount();
    fs::create_dir(mounted.path("d")).unwrap();
    fs::write(mounted.path("d/f"), "").unwrap();
    let error = fs::remove_dir(mounted.path("d")).unwrap_err();
    assert_eq!(error.raw_os_error(), Some(libc::ENOTEMPTY));
    fs::remove_file(mounted.path("d/f")).unwrap();
    fs::remove_dir(mounted.path("d")).unwrap();
    assert!(!mounted.path("d").exists());
}

#[test]
fn a_large_directory_is_listed_whole_while_it_is_being_emptied() {
    let vault = Vault::new();
    let mounted = vault.mount();
    fs::create_dir(mounted.path("d")).unwrap();
    for i in 0..3_000 {
        File::create(mounted.path(format!("d/file number {i}"))).unwrap();
    }
    let mut seen = BTreeSet::new();
    for entry in fs::read_dir(mounted.path("d")).unwrap() {
        let entry = entry.unwrap();
        fs::remove_file(entry.path()).unwrap();
        assert!(seen.insert(entry.file_name()), "listed twice");
    }
    assert_eq!(seen.len(), 3_000);
    assert!(names(&mounted.path("d")).is_empty());
}

#[test]
fn an_absent_name_is_seen_as_soon_as_it_is_made_here() {
    let vault = Vault::new();
    let mounted = vault.mount_with(&["--cache-timeout", "60"]);
    for _ in 0..2 {
        assert!(!mounted.path("f").exists());
    }
    fs::write(mounted.path("f"), "x").unwrap();
    assert!(mounted.path("f").exists());
    fs::remove_file(mounted.path("f")).unwrap();
    assert!(!mounted.path("f").exists());
}

#[test]
fn inode_numbers_are_the_same_after_a_remount() {
    let vault = Vault::new();
    let mounted = vault.mount();
    fs::create_dir(mounted.path("d")).unwrap();
    fs::write(mounted.path("d/f"), "x").unwrap();
    let ino = |path| fs::metadata(path).unwrap().ino();
    let before = (ino(mounted.path("d")), ino(mounted.path("d/f")));
    let mounted = mounted.remount();
    assert_eq!(before, (ino(mounted.path("d")), ino(mounted.path("d/f"))));
}

#[test]
fn creating_what_has_appeared_underneath_opens_it_unless_it_must_be_new() {
    let vault = Vault::new();
    let mounted = vault.mount();
    fs::write(mounted.path("f"), "from elsewhere").unwrap();
    mounted.unmount();
    let stored = vault.only_data_file();
    let aside = vault.plain_dir().join("aside");
    for exclusive in [true, false] {
        fs::rename(&stored, &aside).unwrap();
        let mounted = vault.mount_with(&["--cache-timeout", "60"]);
        assert!(!mounted.path("f").exists());
        fs::rename(&aside, &stored).unwrap();
        let mut options = OpenOptions::new();
        options
            .read(true)
            .write(true)
            .create(true)
            .create_new(exclusive);
        let outcome = options.open(mounted.path("f"));
        if exclusive {
            assert_eq!(outcome.unwrap_err().raw_os_error(), Some(libc::EEXIST));
        } else {
            assert_eq!(
                std::io::read_to_string(outcome.unwrap()).unwrap(),
                "from elsewhere"
            );
        }
    }
}

#[test]
fn a_new_file_gets_its_name_when_it_is_whole() {
    let vault = Vault::new();
    let mounted = vault.mount();
    fs::create_dir(mounted.path("d")).unwrap();
    let is_dir = |entry: &fs::DirEntry| entry.file_type().unwrap().is_dir();
    let entries = fs::read_dir(vault.backing()).unwrap().map(Result::unwrap);
    let dirs: Vec<_> = entries
        .filter(|entry| is_dir(entry) && entry.file_name().len() == 43)
        .collect();
    assert_eq!(dirs.len(), 1);
    let done = AtomicBool::new(false);
    let mut looks = 0_u64;
    std::thread::scope(|scope| {
        scope.spawn(|| {
            for n in 0..3000 {
                File::create_new(mounted.path(format!("d/{n}"))).unwrap();
            }
            done.store(true, Ordering::Release);
        });
        while !done.load(Ordering::Acquire) {
            for entry in fs::read_dir(dirs[0].path()).unwrap().flatten() {
                // It may be gone again.
                if let Ok(found) = entry.metadata() {
                    assert!(found.len() >= 168, "{} bytes", found.len());
                    looks += 1;
                }
            }
        }
    });
    assert!(looks > 3000, "{looks} looks");
}
