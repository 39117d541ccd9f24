//! What the backing holds, and what happens when it was tampered with.

use std::fs::{self, File, OpenOptions};
use std::io::Read;
use std::os::unix::fs::{FileExt, symlink};

use rustix::fs::{XattrFlags, getxattr, listxattr, setxattr};

use crate::mounted::{Vault, pattern, tool, walk};

/// Appears in every name and content that the test writes.
const MARKER: &str = "Zq7XvJ2mPw9LkR4tYb6N";

fn contains(haystack: &[u8], needle: &[u8]) -> bool {
    haystack
        .windows(needle.len())
        .any(|window| window == needle)
}

#[test]
fn the_backing_holds_only_ciphertext() {
    let vault = Vault::new();
    let mounted = vault.mount();
    let long = format!("{MARKER}{}", "long".repeat(55));
    let bulk: Vec<u8> = MARKER.bytes().cycle().take(100_000).collect();
    fs::write(mounted.path(MARKER), &bulk).unwrap();
    fs::write(mounted.path(&long), &bulk).unwrap();
    fs::create_dir(mounted.path(format!("dir-{MARKER}"))).unwrap();
    fs::write(mounted.path(format!("dir-{MARKER}/in-{MARKER}")), MARKER).unwrap();
    symlink(
        format!("to/{MARKER}"),
        mounted.path(format!("link-{MARKER}")),
    )
    .unwrap();
    let attribute = format!("user.{MARKER}");
    setxattr(
        mounted.path(MARKER),
        &attribute,
        MARKER.as_bytes(),
        XattrFlags::empty(),
    )
    .unwrap();
    fs::rename(
        mounted.path(MARKER),
        mounted.path(format!("renamed-{MARKER}")),
    )
    .unwrap();
    let (from, to) = (format!("dir-{MARKER}"), format!("moved-{MARKER}"));
    fs::rename(mounted.path(from), mounted.path(to)).unwrap();
    fs::rename(mounted.path(&long), mounted.path(format!("{long}er"))).unwrap();
    let sparse = File::create(mounted.path(format!("sparse-{MARKER}"))).unwrap();
    sparse.write_all_at(MARKER.as_bytes(), 1 << 20).unwrap();
    drop(sparse);
    // A server's log must not tell either.
    let log = mounted.log();
    mounted.unmount();

    let mut bytes = 0;
    let mut seen = log.into_bytes();
    walk(&vault.backing(), &mut |path| {
        seen.extend_from_slice(path.as_os_str().as_encoded_bytes());
        seen.push(b'\n');
        let meta = fs::symlink_metadata(path).unwrap();
        if meta.is_symlink() {
            seen.extend_from_slice(fs::read_link(path).unwrap().as_os_str().as_encoded_bytes());
            return;
        }
        let (mut list, mut value) = (vec![0; 65_536], vec![0; 65_536]);
        let len = listxattr(path, &mut list[..]).unwrap();
        for name in list[..len].split(|&b| b == 0).filter(|n| !n.is_empty()) {
            seen.extend_from_slice(name);
            let len = getxattr(path, name, &mut value[..]).unwrap();
            seen.extend_from_slice(&value[..len]);
        }
        if meta.is_file() {
            bytes += meta.len();
            seen.extend(fs::read(path).unwrap());
        }
    });
    assert!(bytes > 200_000, "the files are there: {bytes} bytes");
    assert!(
        !contains(&seen, MARKER.as_bytes()),
        "plaintext in the backing"
    );
    // Not in another guise either: halves, hex, base64 of the whole.
    for guise in [
        &MARKER[..10],
        &MARKER[10..],
        "5a713758764a",
        "WnE3WHZKMm1Qdz",
    ] {
        assert!(!contains(&seen, guise.as_bytes()), "{guise} in the backing");
    }
}

#[test]
fn damage_in_one_chunk_is_an_error_for_that_chunk_alone() {
    let vault = Vault::new();
    vault.mount().unmount();
    let mounted = vault.mount();
    let content = pattern(10 * 4096 + 50, 1);
    fs::write(mounted.path("secret name"), &content).unwrap();
    mounted.unmount();
    let stored = OpenOptions::new()
        .read(true)
        .write(true)
        .open(vault.only_data_file())
        .unwrap();
    let inside_chunk_5 = 128 + 5 * (4096 + 40) + 1_000;
    let mut byte = [0];
    stored.read_exact_at(&mut byte, inside_chunk_5).unwrap();
    stored.write_all_at(&[byte[0] ^ 1], inside_chunk_5).unwrap();
    drop(stored);

    let mut mounted = vault.mount();
    mounted.expect_warning("");
    let file = File::open(mounted.path("secret name")).unwrap();
    let mut chunk = vec![0; 4096];
    for i in (0..10).rev() {
        let at = i * 4096;
        let outcome = file.read_exact_at(&mut chunk, u64::try_from(at).unwrap());
        if i == 5 {
            assert_eq!(outcome.unwrap_err().raw_os_error(), Some(libc::EIO));
        } else {
            outcome.unwrap();
            assert!(chunk == content[at..at + 4096], "chunk {i}");
        }
    }
    drop(file);
    // The whole chunk can be written anew, and is whole then.
    let file = OpenOptions::new()
        .write(true)
        .open(mounted.path("secret name"))
        .unwrap();
    file.write_all_at(&content[5 * 4096..6 * 4096], 5 * 4096)
        .unwrap();
    drop(file);
    let log = mounted.log();
    assert!(
        !log.contains("secret name"),
        "no plaintext name in a log: {log}"
    );
    assert!(
        log.lines()
            .any(|line| line.contains("WARN") || line.contains("ERROR")),
        "silent: {log}"
    );
    let mut mounted = mounted.remount();
    mounted.expect_warning("");
    assert!(fs::read(mounted.path("secret name")).unwrap() == content);
}

#[test]
fn files_cut_short_or_emptied_are_not_served_but_can_be_replaced() {
    let vault = Vault::new();
    let mounted = vault.mount();
    fs::write(mounted.path("f"), pattern(20_000, 2)).unwrap();
    mounted.unmount();
    let stored = vault.only_data_file();
    for len in [0, 100, 128 + 4096 + 40, 128 + 2 * (4096 + 40) + 7] {
        OpenOptions::new()
            .write(true)
            .open(&stored)
            .unwrap()
            .set_len(len)
            .unwrap();
        let mut mounted = vault.mount();
        mounted.expect_warning("");
        let path = mounted.path("f");
        assert!(fs::metadata(&path).is_ok(), "stat works at {len}");
        let error = File::open(&path)
            .and_then(|mut f| f.read_to_end(&mut Vec::new()))
            .unwrap_err();
        assert_eq!(error.raw_os_error(), Some(libc::EIO), "cut to {len}");
        fs::write(&path, pattern(20_000, 2)).unwrap();
        assert!(fs::read(&path).unwrap() == pattern(20_000, 2));
        mounted.unmount();
    }
}

#[test]
fn looking_changes_nothing_in_the_vault() {
    let vault = Vault::new();
    let mounted = vault.mount();
    fs::create_dir_all(mounted.path("a/b")).unwrap();
    fs::write(mounted.path("a/b/f"), pattern(50_000, 3)).unwrap();
    symlink("f", mounted.path("a/b/l")).unwrap();
    fs::rename(mounted.path("a"), mounted.path("c")).unwrap();
    mounted.unmount();
    let listing = || {
        let args = [
            "-c",
            "cd \"$1\" && find . -printf '%p %y %m %s %T@ %C@ %n\\n' | sort",
            "sh",
        ];
        let backing = vault.backing();
        let mut args: Vec<&std::ffi::OsStr> = args.iter().map(|a| a.as_ref()).collect();
        args.push(backing.as_os_str());
        (tool("sh", &args), vault.backing_files())
    };
    let before = listing();
    let mounted = vault.mount();
    tool("find", &[mounted.path("").as_os_str(), "-ls".as_ref()]);
    fs::read(mounted.path("c/b/f")).unwrap();
    fs::read_link(mounted.path("c/b/l")).unwrap();
    assert!(!mounted.path("absent").exists());
    mounted.unmount();
    let after = listing();
    assert_eq!(before.0, after.0, "names, sizes or times changed");
    assert!(before.1 == after.1, "contents changed");
}

#[test]
fn a_fifo_where_a_file_belongs_does_not_hang_a_reader() {
    let vault = Vault::new();
    let mounted = vault.mount();
    fs::write(mounted.path("f"), "x").unwrap();
    mounted.unmount();
    let stored = vault.only_data_file();
    fs::remove_file(&stored).unwrap();
    tool("mkfifo", &[stored.as_os_str()]);
    let mut mounted = vault.mount();
    mounted.expect_warning("");
    // It is shown as the FIFO it is; a program that opens it without waiting
    // gets an empty pipe of its own machine, never a hung daemon.
    let kind = fs::metadata(mounted.path("f")).unwrap().file_type();
    assert!(!kind.is_file());
    assert!(fs::read_dir(mounted.path("")).unwrap().count() == 1);
}

#[test]
fn strict_mounts_refuse_a_chunk_that_was_put_back() {
    let vault = Vault::new();
    let mounted = vault.mount();
    fs::write(mounted.path("f"), pattern(20_000, 4)).unwrap();
    mounted.unmount();
    let stored = vault.only_data_file();
    let old = fs::read(&stored).unwrap();
    let mounted = vault.mount();
    let file = OpenOptions::new()
        .write(true)
        .open(mounted.path("f"))
        .unwrap();
    file.write_all_at(&pattern(20_000, 5), 0).unwrap();
    drop(file);
    mounted.unmount();
    let slot_2 = 128 + 2 * (4096 + 40);
    let file = OpenOptions::new().write(true).open(&stored).unwrap();
    file.write_all_at(&old[slot_2..slot_2 + 4136], u64::try_from(slot_2).unwrap())
        .unwrap();
    drop(file);
    let mut mounted = vault.mount_with(&["--strict"]);
    mounted.expect_warning("");
    let error = fs::read(mounted.path("f")).unwrap_err();
    assert_eq!(error.raw_os_error(), Some(libc::EIO));
}
