//! Modes, owners, times, extended attributes, ACLs.

use std::fs::{self, File, OpenOptions};
use std::io::Write;
use std::os::unix::fs::{MetadataExt, OpenOptionsExt, PermissionsExt, chown};

use rustix::fs::{
    AtFlags, CWD, Timespec, Timestamps, UTIME_NOW, UTIME_OMIT, XattrFlags, getxattr, listxattr,
    removexattr, setxattr, utimensat,
};
use rustix::io::Errno;

use crate::mounted::{Vault, is_root, pattern, tool, wait_until};

fn times(path: &std::path::Path) -> ((i64, i64), (i64, i64)) {
    let m = fs::metadata(path).unwrap();
    ((m.atime(), m.atime_nsec()), (m.mtime(), m.mtime_nsec()))
}

fn set(path: &std::path::Path, atime: (i64, i64), mtime: (i64, i64)) {
    let spec = |(tv_sec, tv_nsec)| Timespec { tv_sec, tv_nsec };
    let both = Timestamps {
        last_access: spec(atime),
        last_modification: spec(mtime),
    };
    utimensat(CWD, path, &both, AtFlags::empty()).unwrap();
}

#[test]
fn times_are_kept_to_the_nanosecond_also_before_1970() {
    let vault = Vault::new();
    let mounted = vault.mount();
    let cases = [
        ((1, 0), (0, 1)),
        ((1_700_000_000, 123_456_789), (1_600_000_000, 999_999_999)),
        ((-1, 0), (-1, 999_999_999)),
        ((-86_400, 1), (-1_000_000_000, 500_000_000)),
    ];
    for (i, (atime, mtime)) in cases.iter().enumerate() {
        let path = mounted.path(format!("f{i}"));
        fs::write(&path, "x").unwrap();
        set(&path, *atime, *mtime);
        assert_eq!(times(&path), (*atime, *mtime));
    }
    let mounted = mounted.remount();
    for (i, (atime, mtime)) in cases.iter().enumerate() {
        assert_eq!(times(&mounted.path(format!("f{i}"))), (*atime, *mtime));
    }
}

#[test]
fn now_and_omit_are_obeyed() {
    let vault = Vault::new();
    let mounted = vault.mount();
    let path = mounted.path("f");
    fs::write(&path, "x").unwrap();
    set(&path, (1_000, 1), (2_000, 2));
    set(&path, (0, UTIME_OMIT), (3_000, 3));
    assert_eq!(times(&path), ((1_000, 1), (3_000, 3)));
    set(&path, (0, UTIME_NOW), (0, UTIME_OMIT));
    let (atime, mtime) = times(&path);
    assert!(atime.0 > 1_600_000_000, "access time is now");
    assert_eq!(mtime, (3_000, 3));
}

#[test]
fn a_time_set_on_an_open_file_outlives_its_close() {
    let vault = Vault::new();
    let mounted = vault.mount();
    let path = mounted.path("f");
    let mut file = File::create(&path).unwrap();
    file.write_all(&pattern(50_000, 1)).unwrap();
    set(&path, (5_000, 5), (6_000, 6));
    drop(file);
    assert_eq!(times(&path).1, (6_000, 6));
    let mounted = mounted.remount();
    assert_eq!(times(&mounted.path("f")).1, (6_000, 6));
}

#[test]
fn modes_are_kept_and_the_umask_applies() {
    let vault = Vault::new();
    let mounted = vault.mount();
    let path = mounted.path("f");
    fs::write(&path, "x").unwrap();
    for mode in [0o600, 0o444, 0o000, 0o755, 0o1777] {
        fs::set_permissions(&path, fs::Permissions::from_mode(mode)).unwrap();
        assert_eq!(fs::metadata(&path).unwrap().mode() & 0o7777, mode);
    }
    let script = "umask 027; cd \"$1\"; touch made; mkdir dir; mkfifo pipe";
    let point = mounted.path("");
    tool(
        "sh",
        &[
            "-c".as_ref(),
            script.as_ref(),
            "sh".as_ref(),
            point.as_os_str(),
        ],
    );
    let mode = |name| fs::metadata(mounted.path(name)).unwrap().mode() & 0o7777;
    assert_eq!(
        (mode("made"), mode("dir"), mode("pipe")),
        (0o640, 0o750, 0o640)
    );
}

#[test]
fn a_mode_without_any_rights_does_not_stop_an_open_handle() {
    let vault = Vault::new();
    let mounted = vault.mount();
    let path = mounted.path("f");
    let mut file = File::create(&path).unwrap();
    fs::set_permissions(&path, fs::Permissions::from_mode(0o000)).unwrap();
    file.write_all(&pattern(20_000, 2)).unwrap();
    drop(file);
    fs::set_permissions(&path, fs::Permissions::from_mode(0o600)).unwrap();
    assert!(fs::read(&path).unwrap() == pattern(20_000, 2));
}

#[test]
fn owners_are_kept_and_minus_one_leaves_them() {
    if !is_root() {
        eprintln!("not tested: only root gives files away");
        return;
    }
    let vault = Vault::new();
    let mounted = vault.mount();
    let path = mounted.path("f");
    fs::write(&path, "x").unwrap();
    chown(&path, Some(1234), Some(5678)).unwrap();
    chown(&path, None, Some(42)).unwrap();
    let mounted = mounted.remount();
    let meta = fs::metadata(mounted.path("f")).unwrap();
    assert_eq!((meta.uid(), meta.gid()), (1234, 42));
}

#[test]
fn set_id_bits_go_when_another_user_writes() {
    if !is_root() {
        eprintln!("not tested: takes a second user");
        return;
    }
    let vault = Vault::new();
    fs::set_permissions(
        vault.point().parent().unwrap(),
        fs::Permissions::from_mode(0o755),
    )
    .unwrap();
    let mounted = vault.mount_with(&["--allow-other"]);
    fs::set_permissions(mounted.path(""), fs::Permissions::from_mode(0o755)).unwrap();
    let path = mounted.path("f");
    let arrange = || {
        fs::write(&path, "12345678").unwrap();
        fs::set_permissions(&path, fs::Permissions::from_mode(0o6777)).unwrap();
        assert_eq!(fs::metadata(&path).unwrap().mode() & 0o7777, 0o6777);
    };
    for change in ["printf x >>\"$1\"", "truncate -s 3 \"$1\"", ": >\"$1\""] {
        arrange();
        let nobody = [
            "--reuid=65534",
            "--regid=65534",
            "--clear-groups",
            "sh",
            "-c",
            change,
            "sh",
        ];
        let mut args: Vec<&std::ffi::OsStr> = nobody.iter().map(|a| a.as_ref()).collect();
        args.push(path.as_os_str());
        tool("setpriv", &args);
        assert_eq!(
            fs::metadata(&path).unwrap().mode() & 0o7777,
            0o777,
            "{change}"
        );
    }
}

#[test]
fn user_attributes_are_set_listed_read_and_removed() {
    let vault = Vault::new();
    let mounted = vault.mount();
    fs::write(mounted.path("f"), "x").unwrap();
    fs::create_dir(mounted.path("d")).unwrap();
    for name in ["f", "d"] {
        let path = mounted.path(name);
        let value = pattern(1_500, 3);
        setxattr(&path, "user.one", &value, XattrFlags::empty()).unwrap();
        setxattr(&path, "user.empty", b"", XattrFlags::CREATE).unwrap();
        let again = setxattr(&path, "user.one", b"", XattrFlags::CREATE);
        assert_eq!(again, Err(Errno::EXIST));
        let absent = setxattr(&path, "user.two", b"", XattrFlags::REPLACE);
        assert_eq!(absent, Err(Errno::NODATA));
    }
    let mounted = mounted.remount();
    for name in ["f", "d"] {
        let path = mounted.path(name);
        let mut value = vec![0; 4096];
        let len = getxattr(&path, "user.one", &mut value[..]).unwrap();
        assert!(value[..len] == pattern(1_500, 3));
        assert_eq!(
            getxattr(&path, "user.one", &mut [0_u8; 10][..]),
            Err(Errno::RANGE)
        );
        assert_eq!(
            getxattr(&path, "user.two", &mut value[..]),
            Err(Errno::NODATA)
        );
        let len = listxattr(&path, &mut value[..]).unwrap();
        let mut listed: Vec<_> = value[..len]
            .split(|&b| b == 0)
            .filter(|n| !n.is_empty())
            .collect();
        listed.sort_unstable();
        assert_eq!(listed, [&b"user.empty"[..], b"user.one"]);
        removexattr(&path, "user.one").unwrap();
        assert_eq!(removexattr(&path, "user.one"), Err(Errno::NODATA));
    }
}

#[test]
fn file_capabilities_do_not_exist() {
    let vault = Vault::new();
    let mounted = vault.mount();
    fs::write(mounted.path("f"), "x").unwrap();
    let found = getxattr(
        mounted.path("f"),
        "security.capability",
        &mut [0_u8; 64][..],
    );
    assert_eq!(found, Err(Errno::NODATA));
}

#[test]
fn acls_are_kept_and_inherited() {
    let vault = Vault::new();
    let mounted = vault.mount();
    fs::create_dir(mounted.path("d")).unwrap();
    let dir = mounted.path("d");
    tool(
        "setfacl",
        &[
            "-m".as_ref(),
            "u:1234:rwx,d:u:4321:r-x".as_ref(),
            dir.as_os_str(),
        ],
    );
    fs::write(dir.join("f"), "x").unwrap();
    let mounted = mounted.remount();
    let acl = |path: std::path::PathBuf| tool("getfacl", &["-pn".as_ref(), path.as_os_str()]);
    assert!(acl(mounted.path("d")).contains("user:1234:rwx"));
    assert!(acl(mounted.path("d/f")).contains("user:4321:r-x"));
}

#[test]
fn writing_changes_mtime_and_reading_does_not() {
    let vault = Vault::new();
    let mounted = vault.mount();
    let path = mounted.path("f");
    fs::write(&path, "x").unwrap();
    set(&path, (1_000, 0), (1_000, 0));
    fs::read(&path).unwrap();
    assert_eq!(times(&path).1, (1_000, 0));
    let mut file = OpenOptions::new().append(true).open(&path).unwrap();
    file.write_all(b"y").unwrap();
    drop(file);
    let after = times(&path).1;
    assert!(after.0 > 1_600_000_000);
    let mounted = mounted.remount();
    assert!(times(&mounted.path("f")).1.0 > 1_600_000_000);
}

#[test]
fn the_coming_and_going_of_the_journal_does_not_show() {
    let vault = Vault::new();
    let mounted = vault.mount();
    fs::write(mounted.path("f"), pattern(10_000, 1)).unwrap();
    // The kernel tells of a close after it; until then there is no need for a journal.
    wait_until("it is sealed", || mounted.status()["open_for_writing"] == 0);
    let top = |mounted: &crate::mounted::Mounted<'_>| times(&mounted.path("."));
    let before = top(&mounted);
    let mut file = OpenOptions::new()
        .write(true)
        .open(mounted.path("f"))
        .unwrap();
    file.write_all(b"over it").unwrap();
    file.sync_all().unwrap();
    let is_journal = |entry: fs::DirEntry| {
        let name = entry.file_name();
        name.as_encoded_bytes().starts_with(b"~keepfs-journal-")
    };
    let journals = || fs::read_dir(vault.backing()).unwrap().map(Result::unwrap);
    assert!(journals().any(is_journal), "nothing was to be hidden");
    assert_eq!(top(&mounted).1, before.1);
    drop(file);
    let mounted = mounted.remount();
    assert!(!journals().any(is_journal));
    assert_eq!(top(&mounted).1, before.1);
}

/// How a sync client knows a file: by size and mtime.
fn looks(path: &std::path::Path) -> (u64, (i64, i64)) {
    (fs::metadata(path).unwrap().len(), times(path).1)
}

/// What is written to it goes to the daemon at once.
fn new_without_cache(path: &std::path::Path) -> fs::File {
    let mut how = OpenOptions::new();
    how.write(true).create_new(true);
    how.custom_flags(libc::O_DIRECT).open(path).unwrap()
}

#[test]
fn a_new_file_does_not_end_up_looking_as_it_did_unsealed() {
    let vault = Vault::new();
    let mounted = vault.mount();
    let path = mounted.path("f");
    let file = new_without_cache(&path);
    std::os::unix::fs::FileExt::write_all_at(&file, &pattern(8192, 1), 0).unwrap();
    let on_backing = vault.only_data_file();
    let unsealed = (looks(&on_backing), fs::read(&on_backing).unwrap());
    std::thread::sleep(std::time::Duration::from_millis(50));
    set(&path, unsealed.0.1, unsealed.0.1);
    drop(file);
    wait_until("it is sealed", || mounted.status()["open_for_writing"] == 0);
    let sealed = (looks(&on_backing), fs::read(&on_backing).unwrap());
    assert!(unsealed.1 != sealed.1, "nothing changed");
    assert!(unsealed.0 != sealed.0, "it looks as before");
}

/// What a sync client for which newer wins would take, and keep.
#[test]
fn the_backing_shows_no_later_time_than_in_the_end() {
    let vault = Vault::new();
    let mounted = vault.mount();
    let path = mounted.path("f");
    let file = new_without_cache(&path);
    let write = |file: &fs::File, n| {
        std::os::unix::fs::FileExt::write_all_at(file, &pattern(8192, n), 0).unwrap();
    };
    write(&file, 1);
    let on_backing = vault.only_data_file();
    let mut seen = vec![looks(&on_backing).1];
    std::thread::sleep(std::time::Duration::from_millis(50));
    write(&file, 2);
    seen.push(looks(&on_backing).1);
    drop(file);
    let in_the_end = |seen: &[(i64, i64)]| {
        let last = looks(&on_backing).1;
        for at in seen {
            assert!(*at < last, "{at:?} was shown, {last:?} in the end");
        }
        assert_eq!(times(&path).1, last, "the mount shows another");
    };
    wait_until("it is sealed", || mounted.status()["open_for_writing"] == 0);
    in_the_end(&seen);
    // By way of the journal: announced and put in place seconds after it was written.
    let before = times(&path).1;
    let file = OpenOptions::new().write(true).open(&path).unwrap();
    write(&file, 3);
    drop(file);
    let mut shown = vec![before];
    wait_until("it is in place", || {
        shown.push(looks(&on_backing).1);
        mounted.status()["open_for_writing"] == 0
    });
    let last = looks(&on_backing).1;
    // Putting it in place takes less than a tick; what shows longer counts.
    let mut seen: Vec<_> = shown
        .windows(2)
        .filter(|two| two[0] == two[1] && two[0] != last)
        .map(|two| two[0])
        .collect();
    seen.dedup();
    assert!(seen.len() >= 2, "it was never announced: {seen:?}");
    in_the_end(&seen);
    // The kernel tells the time it knows once more, with the new name.
    fs::rename(&path, mounted.path("g")).unwrap();
    drop(fs::File::open(mounted.path("g")).unwrap());
    let mounted = mounted.remount();
    assert_eq!(times(&mounted.path("g")).1, last);
}

#[test]
fn size_or_mtime_on_the_backing_differs_after_every_change() {
    let vault = Vault::new();
    let mounted = vault.mount();
    let path = mounted.path("f");
    let old = (1_000_000_000, 123_456_789);
    fs::write(&path, pattern(10_000, 1)).unwrap();
    set(&path, old, old);
    let mounted = mounted.remount();
    let on_backing = vault.only_data_file();
    let mut seen = vec![(looks(&on_backing), fs::read(&on_backing).unwrap())];
    assert_eq!(seen[0].0.1, old);
    let write = |at: u64, bytes: &[u8]| {
        let file = OpenOptions::new().write(true).open(&path).unwrap();
        std::os::unix::fs::FileExt::write_all_at(&file, bytes, at).unwrap();
        file
    };
    let changes: [(&str, &dyn Fn()); 10] = [
        ("written over, time put back", &|| {
            drop(write(0, b"1"));
            set(&path, old, old);
        }),
        ("once more", &|| {
            drop(write(0, b"2"));
            set(&path, old, old);
        }),
        ("synced and written over", &|| {
            write(5_000, b"3").sync_all().unwrap();
        }),
        ("the same bytes", &|| drop(write(5_000, b"3"))),
        ("longer", &|| drop(write(10_000, b"4"))),
        ("shorter", &|| write(0, b"").set_len(10_000).unwrap()),
        ("a hole", &|| {
            let path = path.to_str().unwrap();
            tool(
                "fallocate",
                &["-p", "-o", "4096", "-l", "4096", path].map(AsRef::as_ref),
            );
        }),
        ("emptied and written again", &|| {
            fs::write(&path, pattern(10_000, 2)).unwrap();
            set(&path, old, old);
        }),
        ("one byte", &|| {
            drop(write(1, b"5"));
        }),
        ("and back to the first time", &|| {
            drop(write(1, b"6"));
            set(&path, old, old);
        }),
    ];
    for (what, change) in changes {
        change();
        let mut meanwhile = Vec::new();
        wait_until("it is in its place", || {
            meanwhile.push((looks(&on_backing), fs::read(&on_backing).unwrap()));
            mounted.status()["open_for_writing"] == 0
        });
        let now = (looks(&on_backing), fs::read(&on_backing).unwrap());
        for before in &seen {
            assert!(before.1 != now.1, "{what}: nothing changed");
            assert!(before.0 != now.0, "{what}: looks as before");
        }
        if times(&path).1.0 == old.0 {
            let late = times(&on_backing).1.1 - old.1;
            assert!((0..20).contains(&late), "{what}: {late} ns");
        }
        // Nor as it looked while it waited, with other bytes.
        for (look, bytes) in meanwhile {
            assert!(
                look != now.0 || bytes == now.1,
                "{what}: looks as meanwhile"
            );
        }
        seen.push(now);
    }
}
