#![allow(clippy::unwrap_used, reason = "tests stop at the first surprise")]

use std::os::unix::fs::symlink;
use std::path::Path;

use super::mutation::Mutation;
use super::mutation::faults::{After, Fault, Plan, Scope, arm};
use super::*;
use crate::types::{Access, RenameMode};

fn temp() -> (tempfile::TempDir, DirFd) {
    let temp = tempfile::tempdir().unwrap();
    let dir = DirFd::open_path(temp.path()).unwrap();
    (temp, dir)
}

fn names(dir: &DirFd) -> Vec<Vec<u8>> {
    let mut names = Vec::new();
    dir.scan(|entry| {
        names.push(entry.name.to_vec());
        std::ops::ControlFlow::Continue(())
    })
    .unwrap();
    names.sort();
    names
}

fn errno<T: std::fmt::Debug>(result: io::Result<T>) -> Option<i32> {
    result.unwrap_err().raw_os_error()
}

/// Runs `work` on a thread of an ordinary user who owns `dir`.
fn unprivileged(dir: &Path, work: impl FnOnce() + Send) {
    if !rustix::process::geteuid().is_root() {
        return work();
    }
    std::os::unix::fs::chown(dir, Some(65534), Some(65534)).unwrap();
    std::thread::scope(|scope| {
        scope.spawn(|| {
            let (uid, gid) = (
                rustix::fs::Uid::from_raw(65534),
                rustix::fs::Gid::from_raw(65534),
            );
            rustix::thread::set_thread_res_gid(gid, gid, gid).unwrap();
            rustix::thread::set_thread_res_uid(uid, uid, uid).unwrap();
            work();
        });
    });
}

#[test]
fn nothing_but_a_regular_file_is_opened_as_one() {
    let (temp, dir) = temp();
    dir.make_node(b"fifo", libc::S_IFIFO | 0o666, 0).unwrap();
    dir.make_node(b"socket", libc::S_IFSOCK | 0o666, 0).unwrap();
    dir.make_dir(b"dir", 0o777).unwrap();
    dir.create_file(b"file", 0o666).unwrap();
    symlink(temp.path().join("file"), temp.path().join("link")).unwrap();
    for name in [&b"fifo"[..], b"socket", b"dir", b"link"] {
        for access in [Access::Read, Access::ReadWrite] {
            let error = dir.open_file(name, access).unwrap_err();
            assert!(is_not_regular(&error), "{error}");
        }
    }
    assert_eq!(
        dir.open_file(b"file", Access::Read).unwrap().access(),
        Access::Read
    );
    assert_eq!(
        errno(dir.open_file(b"none", Access::Read)),
        Some(libc::ENOENT)
    );
}

#[test]
fn a_link_is_not_followed_to_a_directory() {
    let (temp, dir) = temp();
    dir.make_dir(b"dir", 0o777).unwrap();
    symlink("dir", temp.path().join("link")).unwrap();
    assert_eq!(errno(dir.open_dir(b"link")), Some(libc::ENOTDIR));
    dir.open_dir(b"dir").unwrap();
}

#[test]
fn names_are_one_component() {
    let (_temp, dir) = temp();
    for name in [&b""[..], b".", b"..", b"a/b", b"/", b"a\0b"] {
        assert_eq!(errno(dir.create_file(name, 0o666)), Some(libc::EINVAL));
        assert_eq!(errno(dir.stat(name)), Some(libc::EINVAL));
        assert_eq!(errno(dir.unlink(name)), Some(libc::EINVAL));
    }
    assert!(names(&dir).is_empty());
}

#[test]
fn a_listing_has_every_entry_once() {
    let (_temp, dir) = temp();
    let mut expected: Vec<Vec<u8>> = (0..3000)
        .map(|n| format!("{n:0200}").into_bytes())
        .collect();
    for name in &expected {
        dir.make_dir(name, 0o700).unwrap();
    }
    expected.sort();
    assert_eq!(names(&dir), expected);
    assert_eq!(names(&dir), expected, "a second listing starts anew");
}

#[test]
fn reads_are_short_only_at_the_end() {
    let (_temp, dir) = temp();
    let file = dir.create_file(b"file", 0o600).unwrap();
    file.write_at(&[b"hello ", b"", b"world"], 2).unwrap();
    let mut buf = [9; 32];
    assert_eq!(file.read_at(&mut buf, 0).unwrap(), 13);
    assert_eq!(&buf[..14], b"\0\0hello world\x09");
    assert_eq!(file.read_at(&mut buf, 13).unwrap(), 0);
    assert_eq!(file.read_at(&mut buf[..4], 2).unwrap(), 4);
    let parts = vec![&b"xy"[..]; 5000];
    file.write_at(&parts, 0).unwrap();
    assert_eq!(file.stat().unwrap().size, 10_000);
}

#[test]
fn a_short_write_is_continued() {
    let (_temp, dir) = temp();
    let file = dir.create_file(b"file", 0o600).unwrap();
    let armed = arm(
        Scope::Thread,
        Plan {
            skip: 0,
            only: Some(Mutation::Write),
            fault: Fault::ShortWrite(5),
            after: After::Recover,
        },
    );
    file.write_at(&[b"abc", b"defgh", b"i"], 0).unwrap();
    assert!(armed.fired());
    assert_eq!(armed.seen(), 2);
    let mut buf = [0; 9];
    file.read_at(&mut buf, 0).unwrap();
    assert_eq!(&buf, b"abcdefghi");
}

#[test]
fn a_broken_write_tells_how_far_it_came() {
    let (_temp, dir) = temp();
    let file = dir.create_file(b"file", 0o600).unwrap();
    let armed = arm(
        Scope::Thread,
        Plan {
            skip: 0,
            only: Some(Mutation::Write),
            fault: Fault::ShortWrite(5),
            after: After::Stop,
        },
    );
    let (written, error) = file.write_at(&[b"abc", b"defgh"], 0).unwrap_err();
    assert_eq!((written, error.raw_os_error()), (5, Some(libc::EIO)));
    assert_eq!(errno(file.truncate(0)), Some(libc::EIO));
    drop(armed);
    assert_eq!(file.stat().unwrap().size, 5);
    file.truncate(0).unwrap();
}

#[test]
fn a_process_wide_plan_sees_other_threads() {
    const CALLS: u64 = 1000;
    let (_temp, dir) = temp();
    // Only counted: a fault would hit the other tests of this process, which
    // are far from making so many of these calls themselves.
    let plan = Plan {
        skip: u64::MAX,
        ..Plan::fail(Mutation::SetTimes, libc::EIO)
    };
    let armed = arm(Scope::Process, plan);
    let itself = dir.itself().unwrap();
    std::thread::scope(|scope| {
        scope.spawn(|| {
            for _ in 0..CALLS {
                itself.set_times(SetTime::Omit, SetTime::Now).unwrap();
            }
        });
    });
    assert!(armed.seen() >= CALLS);
    assert!(!armed.fired());
}

#[test]
fn holes_are_punched_and_found() {
    let (_temp, dir) = temp();
    let file = dir.create_file(b"file", 0o600).unwrap();
    file.write_at(&[&[7; 16384]], 0).unwrap();
    assert_eq!(file.seek_data(100).unwrap(), Some(100));
    assert_eq!(file.seek_hole(0).unwrap(), 16384);
    if file.punch_hole(4096, 8192).is_err() {
        eprintln!("skipped: the file system punches no holes");
        return;
    }
    assert_eq!(file.seek_hole(0).unwrap(), 4096);
    assert_eq!(file.seek_data(4096).unwrap(), Some(12288));
    assert_eq!(file.seek_data(16384).unwrap(), None);
    assert_eq!(file.stat().unwrap().size, 16384);
    file.allocate(20000, 100).unwrap();
    assert_eq!(file.stat().unwrap().size, 16384);
}

#[test]
fn renames_obey_their_mode() {
    let (_temp, dir) = temp();
    dir.create_file(b"a", 0o600)
        .unwrap()
        .write_at(&[b"A"], 0)
        .unwrap();
    dir.create_file(b"b", 0o600).unwrap();
    assert_eq!(
        errno(dir.rename(b"a", &dir, b"b", RenameMode::NoReplace)),
        Some(libc::EEXIST)
    );
    dir.rename(b"a", &dir, b"b", RenameMode::Exchange).unwrap();
    assert_eq!(dir.stat(b"b").unwrap().size, 1);
    dir.rename(b"b", &dir, b"a", RenameMode::Replace).unwrap();
    assert_eq!(names(&dir), [b"a".to_vec()]);
}

#[test]
fn a_node_is_the_link_and_not_its_target() {
    let (temp, dir) = temp();
    let file = dir.create_file(b"file", 0o600).unwrap();
    symlink("file", temp.path().join("link")).unwrap();
    let before = file.stat().unwrap();
    let link = dir.node(b"link").unwrap();
    let at = SetTime::At(Time { secs: -5, nanos: 7 });
    link.set_times(at, at).unwrap();
    assert_eq!(link.stat().unwrap().mtime, Time { secs: -5, nanos: 7 });
    assert_eq!(link.read_link().unwrap(), b"file");
    assert!(link.set_mode(0o777).is_err());
    assert!(link.set_xattr(b"user.x", b"1", XattrMode::Any).is_err());
    let me = before.uid;
    link.set_owner(Some(me), None).unwrap();
    assert_eq!(
        errno(link.set_owner(Some(u32::MAX), None)),
        Some(libc::EINVAL)
    );
    let after = file.stat().unwrap();
    assert_eq!((before.mtime, before.mode), (after.mtime, after.mode));
    assert!(file.list_xattrs().unwrap().is_empty());
}

#[test]
fn attributes_come_back() {
    let (_temp, dir) = temp();
    let file = dir.create_file(b"file", 0o600).unwrap();
    let node = dir.node(b"file").unwrap();
    node.set_xattr(b"user.a", b"one", XattrMode::Create)
        .unwrap();
    assert_eq!(
        errno(file.set_xattr(b"user.a", b"two", XattrMode::Create)),
        Some(libc::EEXIST)
    );
    assert_eq!(
        errno(file.set_xattr(b"user.b", b"", XattrMode::Replace)),
        Some(libc::ENODATA)
    );
    file.set_xattr(b"user.b", b"", XattrMode::Any).unwrap();
    assert_eq!(file.get_xattr(b"user.a").unwrap(), b"one");
    assert_eq!(node.get_xattr(b"user.b").unwrap(), b"");
    let mut list = node.list_xattrs().unwrap();
    list.sort();
    assert_eq!(list, [b"user.a".to_vec(), b"user.b".to_vec()]);
    assert_eq!(file.list_xattrs().unwrap().len(), 2);
    node.remove_xattr(b"user.a").unwrap();
    file.remove_xattr(b"user.b").unwrap();
    assert!(node.list_xattrs().unwrap().is_empty());
}

#[test]
fn a_directory_that_may_only_be_searched_is_still_usable() {
    let (temp, _) = temp();
    let path = temp.path();
    unprivileged(path, || {
        let dir = DirFd::open_path(path).unwrap();
        dir.make_dir(b"dark", 0o700).unwrap();
        dir.node(b"dark").unwrap().set_mode(0o311).unwrap();
        let dark = dir.open_dir(b"dark").unwrap();
        dark.create_file(b"file", 0o600).unwrap();
        dark.open_file(b"file", Access::ReadWrite).unwrap();
        dark.sync().unwrap();
        assert_eq!(
            errno(dark.scan(|_| std::ops::ControlFlow::Continue(()))),
            Some(libc::EACCES)
        );
        // It has become readable under the open descriptor.
        dark.itself().unwrap().set_mode(0o500).unwrap();
        assert_eq!(names(&dark), [b"file".to_vec()]);
        dark.itself().unwrap().set_mode(0).unwrap();
        dark.itself().unwrap().set_mode(0o700).unwrap();
    });
}

#[test]
fn a_whole_file_is_locked_once() {
    let (_temp, dir) = temp();
    dir.create_file(b"file", 0o600).unwrap();
    let first = dir.open_file(b"file", Access::Read).unwrap();
    let second = dir.open_file(b"file", Access::Read).unwrap();
    assert_eq!(first.try_lock().unwrap(), FileLock::Held);
    assert_eq!(second.try_lock().unwrap(), FileLock::Busy);
    drop(first);
    assert_eq!(second.try_lock().unwrap(), FileLock::Held);
}

#[test]
fn suffixes_differ() {
    let (a, b) = (random_suffix().unwrap(), random_suffix().unwrap());
    assert_eq!(a.len(), 32);
    assert_ne!(a, b);
}
