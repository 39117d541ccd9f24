#![allow(clippy::unwrap_used, reason = "tests stop at the first surprise")]

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use super::*;
use crate::codec::entry::{RawEntry, classify};
use crate::codec::geometry::Geometry;
use crate::codec::keys::KeyTree;
use crate::codec::names::PinFile;
use crate::codec::vault::create_vault;
use crate::name::PlainName;
use crate::sys::fs::mutation::Mutation;
use crate::sys::fs::mutation::faults::{Plan, Scope, arm};
use crate::sys::fs::{XattrMode, is_not_regular};
use crate::types::DirId;

const DIR: DirId = DirId::new([7; 16]);

struct World {
    temp: tempfile::TempDir,
    root: StoreDir,
    keys: KeyTree,
}

impl World {
    fn new() -> Self {
        let temp = tempfile::tempdir().unwrap();
        let (master, file) = create_vault(Geometry::DEFAULT).unwrap();
        Self {
            root: StoreDir::open_root(temp.path()).unwrap(),
            temp,
            keys: KeyTree::derive(file.vault_id(), &master),
        }
    }

    fn path(&self, name: &CipherName) -> PathBuf {
        self.temp.path().join(name.entry())
    }

    fn short(&self, name: &str) -> CipherName {
        self.keys
            .cipher_name(DIR, &PlainName::new(name.as_bytes()).unwrap())
    }

    fn long(&self) -> CipherName {
        self.short(&"long".repeat(50))
    }

    fn pin(&self) -> PinFile {
        PinFile::new(None, self.keys.seal_pin(DIR, DIR))
    }

    /// A directory that only looks empty.
    fn leftover_dir(&self, name: &CipherName) -> StoreDir {
        self.root.mkdir(name, 0o755).unwrap();
        let dir = self.root.open_dir(&entry_of(name)).unwrap();
        dir.replace_internal(Internal::Pin, self.pin().sealed())
            .unwrap();
        dir.create_file(&self.long(), 0o644).unwrap();
        dir.unlink(&entry_of(&self.long())).unwrap();
        let path = self.path(name);
        std::fs::write(path.join(format!("~keepfs-{:032x}.tmp", 5)), "half").unwrap();
        let aside = path.join("keepfs.rm-00");
        std::fs::create_dir(&aside).unwrap();
        std::fs::write(aside.join("keepfs.dir"), "old").unwrap();
        dir
    }
}

fn tree(path: &Path) -> BTreeSet<PathBuf> {
    let mut all = BTreeSet::new();
    for entry in std::fs::read_dir(path).unwrap() {
        let entry = entry.unwrap().path();
        if entry.is_dir() && !entry.is_symlink() {
            all.extend(tree(&entry));
        }
        all.insert(entry);
    }
    all
}

fn errno<T: std::fmt::Debug>(result: io::Result<T>) -> Option<i32> {
    result.unwrap_err().raw_os_error()
}

#[test]
fn a_long_name_never_stands_without_its_side_file() {
    type Create = fn(&World, &CipherName) -> io::Result<()>;
    let ways: [Create; 6] = [
        |w, n| w.root.create_file(n, 0o600).map(drop),
        |w, n| w.root.mkdir(n, 0o700),
        |w, n| w.root.symlink(n, &w.keys.seal_target(b"x").unwrap()),
        |w, n| w.root.mknod(n, libc::S_IFIFO | 0o600, 0),
        |w, n| w.root.hard_link(&entry_of(&w.short("old")), &w.root, n),
        |w, n| {
            w.root
                .rename(&entry_of(&w.short("old")), &w.root, n, RenameMode::Replace)
        },
    ];
    for way in ways {
        for passed in 0.. {
            let world = World::new();
            world.root.create_file(&world.short("old"), 0o600).unwrap();
            let long = world.long();
            let armed = arm(Scope::Thread, Plan::kill_after(passed));
            let done = way(&world, &long);
            let fired = armed.fired();
            drop(armed);
            let entry = world.root.stat(&entry_of(&long)).is_ok();
            if entry {
                let RawEntry::Long(name) = classify(&entry_of(&long)) else {
                    panic!("a long entry has another form")
                };
                let side = world.root.read_side(&name).unwrap();
                assert_eq!(side, long.side().unwrap().bytes.bytes());
            }
            assert_eq!(done.is_ok(), entry);
            if !fired {
                assert!(passed >= 5, "temporary, write, fsync, rename, fsync, entry");
                break;
            }
        }
    }
}

#[test]
fn a_right_side_file_is_kept_and_a_damaged_one_replaced() {
    let world = World::new();
    let long = world.long();
    world.root.create_file(&long, 0o600).unwrap();
    world.root.unlink(&entry_of(&long)).unwrap();
    let armed = arm(Scope::Thread, Plan::kill_after(u64::MAX));
    world.root.create_file(&long, 0o600).unwrap();
    assert_eq!(armed.seen(), 1, "the entry alone");
    drop(armed);
    let side = world.temp.path().join(long.side().unwrap().name);
    for damage in [&b""[..], &[0; 9999]] {
        std::fs::write(&side, damage).unwrap();
        world.root.unlink(&entry_of(&long)).unwrap();
        world.root.create_file(&long, 0o600).unwrap();
        assert_eq!(
            std::fs::read(&side).unwrap(),
            long.side().unwrap().bytes.bytes()
        );
    }
    assert_eq!(tree(world.temp.path()).len(), 2, "no temporary file stays");
}

#[test]
fn a_failed_side_file_leaves_nothing() {
    let world = World::new();
    for op in [Mutation::Write, Mutation::Sync, Mutation::Rename] {
        let _armed = arm(Scope::Thread, Plan::fail(op, libc::ENOSPC));
        let failed = world.root.create_file(&world.long(), 0o600);
        assert_eq!(errno(failed), Some(libc::ENOSPC));
        assert!(tree(world.temp.path()).is_empty());
    }
}

#[test]
fn a_directory_of_leftovers_is_removed() {
    let world = World::new();
    let name = world.short("dir");
    world.leftover_dir(&name);
    assert!(tree(&world.path(&name)).len() >= 5);
    world.root.rmdir(&entry_of(&name)).unwrap();
    assert!(tree(world.temp.path()).is_empty());
}

#[test]
fn a_directory_with_anything_else_stays_as_it_is() {
    let world = World::new();
    let name = world.short("dir");
    let dir = world.leftover_dir(&name);
    let path = world.path(&name);
    let foreign = world.short("entry").entry().to_owned();
    for extra in ["notes.txt", "keepfs.vault", ".nfs0001", &foreign] {
        std::fs::write(path.join(extra), "x").unwrap();
        let before = tree(world.temp.path());
        let refused = world.root.rmdir(&entry_of(&name));
        assert_eq!(errno(refused), Some(libc::ENOTEMPTY), "{extra}");
        assert_eq!(tree(world.temp.path()), before);
        std::fs::remove_file(path.join(extra)).unwrap();
    }
    // A side file in use.
    dir.create_file(&world.long(), 0o600).unwrap();
    let before = tree(world.temp.path());
    assert_eq!(
        errno(world.root.rmdir(&entry_of(&name))),
        Some(libc::ENOTEMPTY)
    );
    // A directory under an internal name.
    dir.unlink(&entry_of(&world.long())).unwrap();
    std::fs::create_dir(path.join("keepfs.slots")).unwrap();
    assert_eq!(
        errno(world.root.rmdir(&entry_of(&name))),
        Some(libc::ENOTEMPTY)
    );
    std::fs::remove_dir(path.join("keepfs.slots")).unwrap();
    std::fs::write(path.join("keepfs.rm-00/wanted"), "x").unwrap();
    assert_eq!(
        errno(world.root.rmdir(&entry_of(&name))),
        Some(libc::ENOTEMPTY)
    );
    assert_eq!(tree(world.temp.path()).len(), before.len());
}

#[test]
fn a_killed_rmdir_leaves_the_directory_whole_or_out_of_sight() {
    for passed in 0.. {
        let world = World::new();
        let name = world.short("dir");
        world.leftover_dir(&name);
        let armed = arm(Scope::Thread, Plan::kill_after(passed));
        let done = world.root.rmdir(&entry_of(&name));
        let fired = armed.fired();
        drop(armed);
        if let Ok(dir) = world.root.open_dir(&entry_of(&name)) {
            let pin = dir.read_internal(Internal::Pin).unwrap();
            assert_eq!(pin, world.pin().sealed().bytes());
        } else {
            for entry in world.root.list().unwrap() {
                assert_eq!(classify(&entry.name), RawEntry::Internal);
            }
        }
        if !fired {
            done.unwrap();
            assert!(passed > 6);
            break;
        }
    }
}

#[test]
fn a_failing_rmdir_puts_the_directory_back_with_its_pin() {
    for op in [Mutation::Unlink, Mutation::RemoveDir] {
        let world = World::new();
        let name = world.short("dir");
        let dir = world.leftover_dir(&name);
        // Empty the directory of directories, so that the first removal that
        // can fail is its own; the very first attempt must still be ENOTEMPTY.
        let armed = arm(
            Scope::Thread,
            Plan {
                skip: u64::from(op == Mutation::RemoveDir),
                ..Plan::fail(op, libc::EIO)
            },
        );
        std::fs::remove_dir_all(world.path(&name).join("keepfs.rm-00")).unwrap();
        let failed = world.root.rmdir(&entry_of(&name));
        assert!(armed.fired());
        assert_eq!(errno(failed), Some(libc::EIO));
        let back = world.root.open_dir(&entry_of(&name)).unwrap();
        assert_eq!(
            back.stat_itself().unwrap().ino,
            dir.stat_itself().unwrap().ino
        );
        let pin = back.read_internal(Internal::Pin).unwrap();
        assert_eq!(pin, world.pin().sealed().bytes());
        world.root.rmdir(&entry_of(&name)).unwrap();
        assert!(tree(world.temp.path()).is_empty());
    }
}

#[test]
fn a_rename_replaces_a_directory_of_leftovers() {
    let world = World::new();
    let (from, to) = (world.short("from"), world.short("to"));
    world.root.mkdir(&from, 0o700).unwrap();
    let moved = world.root.stat(&entry_of(&from)).unwrap();
    world.leftover_dir(&to);
    world
        .root
        .rename(&entry_of(&from), &world.root, &to, RenameMode::Replace)
        .unwrap();
    assert_eq!(world.root.stat(&entry_of(&to)).unwrap().ino, moved.ino);
    assert_eq!(tree(world.temp.path()).len(), 1);
}

#[test]
fn a_rename_does_not_replace_a_directory_in_use() {
    let world = World::new();
    let (from, to) = (world.short("from"), world.short("to"));
    world.root.mkdir(&from, 0o700).unwrap();
    let dir = world.leftover_dir(&to);
    dir.create_file(&world.short("entry"), 0o600).unwrap();
    let before = tree(world.temp.path());
    for (mode, expected) in [
        (RenameMode::Replace, libc::ENOTEMPTY),
        (RenameMode::NoReplace, libc::EEXIST),
    ] {
        let refused = world.root.rename(&entry_of(&from), &world.root, &to, mode);
        assert_eq!(errno(refused), Some(expected));
        assert_eq!(tree(world.temp.path()), before);
    }
}

/// SFTP says `EPERM` for every failure.
#[test]
fn a_rename_that_a_network_refuses_without_a_reason_is_told_by_what_is_there() {
    let world = World::new();
    let (from, to) = (world.short("from"), world.short("to"));
    world.root.mkdir(&from, 0o700).unwrap();
    let dir = world.leftover_dir(&to);
    let rename = || {
        let _armed = arm(Scope::Thread, Plan::fail(Mutation::Rename, libc::EPERM));
        world
            .root
            .rename(&entry_of(&from), &world.root, &to, RenameMode::Replace)
    };
    dir.create_file(&world.short("entry"), 0o600).unwrap();
    assert_eq!(errno(rename()), Some(libc::ENOTEMPTY));
    dir.unlink(&entry_of(&world.short("entry"))).unwrap();
    rename().unwrap();

    world.root.rmdir(&entry_of(&to)).unwrap();
    let failed = {
        let _armed = arm(Scope::Thread, Plan::fail(Mutation::Rename, libc::EPERM));
        world
            .root
            .rename(&entry_of(&from), &world.root, &to, RenameMode::Replace)
    };
    assert_eq!(errno(failed), Some(libc::EPERM), "nothing is in the way");
}

#[test]
fn a_failing_rename_puts_the_replaced_directory_back() {
    let world = World::new();
    let (from, to) = (world.short("from"), world.short("to"));
    world.root.mkdir(&from, 0o700).unwrap();
    world.leftover_dir(&to);
    let before = tree(world.temp.path());
    // Refused by ENOTEMPTY, set aside, then this one.
    let _armed = arm(
        Scope::Thread,
        Plan {
            skip: 2,
            ..Plan::fail(Mutation::Rename, libc::ENOSPC)
        },
    );
    let failed = world
        .root
        .rename(&entry_of(&from), &world.root, &to, RenameMode::Replace);
    assert_eq!(errno(failed), Some(libc::ENOSPC));
    assert_eq!(tree(world.temp.path()), before);
}

#[test]
fn user_attributes_must_be_sealed() {
    let world = World::new();
    let name = world.short("file");
    let file = world.root.create_file(&name, 0o600).unwrap();
    let node = world.root.node(&entry_of(&name)).unwrap();
    let plain = XattrValue::Metadata(b"plain");
    for refused in [
        file.set_xattr(b"user.x", plain, XattrMode::Any),
        node.set_xattr(b"user.keepfs.x", plain, XattrMode::Any),
    ] {
        assert_eq!(refused.unwrap_err().kind(), io::ErrorKind::InvalidInput);
    }
    assert!(node.list_xattrs().unwrap().is_empty());
    let pin = world.pin();
    node.set_xattr(
        b"user.keepfs.x",
        XattrValue::Sealed(pin.sealed()),
        XattrMode::Any,
    )
    .unwrap();
    assert_eq!(file.list_xattrs().unwrap(), [b"user.keepfs.x".to_vec()]);
}

#[test]
fn regular_files_are_not_made_as_nodes() {
    let world = World::new();
    for mode in [0o600, libc::S_IFREG | 0o600] {
        let refused = world.root.mknod(&world.short("file"), mode, 0).unwrap_err();
        assert_eq!(refused.kind(), io::ErrorKind::InvalidInput);
    }
}

#[test]
fn internal_files_are_read_no_further_than_they_may_be_long() {
    let world = World::new();
    let path = world.temp.path().join("keepfs.dir");
    let sparse = std::fs::File::create(&path).unwrap();
    sparse.set_len(1 << 40).unwrap();
    assert_eq!(world.root.read_internal(Internal::Pin).unwrap().len(), 65);
    std::fs::remove_file(&path).unwrap();
    std::os::unix::fs::symlink("/etc/passwd", &path).unwrap();
    let refused = world.root.read_internal(Internal::Pin).unwrap_err();
    assert!(is_not_regular(&refused));
}

#[test]
fn the_owner_of_an_unreadable_file_can_write_it() {
    let world = World::new();
    let name = world.short("file");
    world.root.create_file(&name, 0o600).unwrap();
    let node = world.root.node(&entry_of(&name)).unwrap();
    node.set_mode(0o200).unwrap();
    let open = || {
        world
            .root
            .open_file(&entry_of(&name), Access::ReadWrite)
            .unwrap();
    };
    if rustix::process::geteuid().is_root() {
        for path in [world.temp.path().to_owned(), world.path(&name)] {
            std::os::unix::fs::chown(path, Some(65534), Some(65534)).unwrap();
        }
        std::thread::scope(|scope| {
            scope.spawn(|| {
                let uid = rustix::fs::Uid::from_raw(65534);
                rustix::thread::set_thread_res_uid(uid, uid, uid).unwrap();
                let denied = world.root.open_file(&entry_of(&name), Access::Read);
                assert_eq!(errno(denied), Some(libc::EACCES));
                open();
            });
        });
    } else {
        open();
    }
    assert_eq!(node.stat().unwrap().perm(), 0o200);
}
