#![allow(clippy::unwrap_used, reason = "tests stop at the first surprise")]

use std::collections::BTreeMap;
use std::path::PathBuf;

use super::*;
use crate::codec::names::PinFile;
use crate::store::{Internal, XattrValue};
use crate::sys::fs::XattrMode;
use crate::sys::fs::mutation::Mutation;
use crate::sys::fs::mutation::faults::{Plan, Scope, arm};
use crate::types::{FileKind, RenameMode, Time};
use crate::vault::tests::World;

mod copies;
mod gathered;
mod noted;

fn name(text: &str) -> PlainName {
    PlainName::new(text.as_bytes()).unwrap()
}

fn long() -> PlainName {
    name(&"l".repeat(255))
}

fn mkdir(world: &World, dir: &VaultDir, text: &str) -> VaultDir {
    dir.mkdir(&world.vault, &name(text), 0o755).unwrap();
    child(world, dir, text)
}

fn child(world: &World, dir: &VaultDir, text: &str) -> VaultDir {
    dir.open_child(&world.vault, &name(text)).unwrap()
}

fn touch(world: &World, dir: &VaultDir, text: &str) {
    dir.create_file(&world.vault, &name(text), 0o644).unwrap();
}

fn names(world: &World, dir: &VaultDir) -> Vec<String> {
    let listing = dir.list(&world.vault).unwrap();
    let mut names: Vec<String> = listing
        .entries
        .iter()
        .map(|e| String::from_utf8(e.name.bytes().to_vec()).unwrap())
        .collect();
    names.sort();
    names
}

fn rename(
    world: &World,
    from: (&VaultDir, &str),
    to: (&VaultDir, &str),
    mode: RenameMode,
) -> Result<Renamed, DirError> {
    let (from, to) = ((from.0, &name(from.1)), (to.0, &name(to.1)));
    VaultDir::rename(&world.vault, from, to, mode)
}

fn pin_of(dir: &VaultDir) -> Option<Vec<u8>> {
    dir.store().read_internal(Internal::Pin).ok()
}

fn path_of(world: &World, dir: &VaultDir, text: &str) -> PathBuf {
    let entry = world.vault.keys().cipher_name(dir.id(), &name(text));
    world.path.join(entry.entry())
}

#[test]
fn every_kind_of_object_comes_back() {
    let world = World::new();
    let (vault, root) = (&world.vault, world.vault.root_dir());
    root.create_file(vault, &long(), 0o640).unwrap();
    root.mkdir(vault, &name("dir"), 0o750).unwrap();
    root.symlink(vault, &name("link"), b"some/where").unwrap();
    root.mknod(vault, &name("fifo"), libc::S_IFIFO | 0o600, 0)
        .unwrap();
    VaultDir::hard_link(vault, (&root, &long()), (&root, &name("hard"))).unwrap();
    let listing = root.list(vault).unwrap();
    let kinds: BTreeMap<&[u8], FileKind> = listing
        .entries
        .iter()
        .map(|e| (e.name.bytes(), e.kind))
        .collect();
    let all = long();
    let expected = [
        (all.bytes(), FileKind::Regular),
        (b"dir", FileKind::Directory),
        (b"link", FileKind::Symlink),
        (b"fifo", FileKind::Fifo),
        (b"hard", FileKind::Regular),
    ];
    assert_eq!(kinds, expected.into_iter().collect());
    assert_eq!((listing.undecryptable, listing.foreign), (0, 0));
    for listed in &listing.entries {
        let found = root.lookup(vault, &listed.name).unwrap().unwrap();
        assert_eq!(
            (found.entry, found.stat.ino),
            (listed.entry.clone(), listed.ino)
        );
    }
    assert_eq!(root.read_link(vault, &name("link")).unwrap(), b"some/where");
    assert_eq!(root.stat_entry(vault, &name("hard")).unwrap().nlink, 2);
    assert_eq!(root.lookup(vault, &name("none")).unwrap(), None);
    root.unlink(vault, &long()).unwrap();
    root.rmdir(vault, &name("dir")).unwrap();
    assert_eq!(names(&world, &root), ["fifo", "hard", "link"]);
}

#[test]
fn metadata_is_set_by_name() {
    let world = World::new();
    let (vault, root) = (&world.vault, world.vault.root_dir());
    root.symlink(vault, &name("link"), b"x").unwrap();
    touch(&world, &root, "file");
    let at = Time {
        secs: 12,
        nanos: 34,
    };
    for text in ["link", "file"] {
        root.set_times(vault, &name(text), SetTime::Omit, SetTime::At(at))
            .unwrap();
        assert_eq!(root.stat_entry(vault, &name(text)).unwrap().mtime, at);
    }
    root.set_mode(vault, &name("file"), 0o400).unwrap();
    let stat = root.stat_entry(vault, &name("file")).unwrap();
    assert_eq!(stat.perm(), 0o400);
    root.set_owner(vault, &name("file"), (Some(stat.uid), None))
        .unwrap();
}

#[test]
fn listings_leave_out_what_is_not_the_vaults_and_count_it() {
    let world = World::new();
    let root = world.vault.root_dir();
    touch(&world, &root, "file");
    root.create_file(&world.vault, &long(), 0o600).unwrap();
    std::fs::write(world.path.join("notes.txt"), "").unwrap();
    std::fs::write(world.path.join(".nfs00000001"), "").unwrap();
    std::fs::write(world.path.join("A".repeat(43)), "").unwrap();
    std::fs::write(world.path.join(format!("={}", "A".repeat(43))), "").unwrap();
    let listing = root.list(&world.vault).unwrap();
    assert_eq!(listing.entries.len(), 2);
    assert_eq!((listing.undecryptable, listing.foreign), (2, 1));
}

#[test]
fn large_directories_list_in_the_order_of_small_ones() {
    let world = World::new();
    let root = world.vault.root_dir();
    for number in 0..700 {
        touch(&world, &root, &format!("{number}"));
    }
    let listing = root.list(&world.vault).unwrap();
    let raw: Vec<RawName> = root
        .store()
        .list()
        .unwrap()
        .into_iter()
        .map(|e| e.name)
        .filter(|n| !n.bytes().starts_with(b"keepfs"))
        .collect();
    let listed: Vec<RawName> = listing.entries.into_iter().map(|e| e.entry).collect();
    assert_eq!(listed.len(), 700);
    assert_eq!(listed, raw);
}

#[test]
fn a_directory_in_use_keeps_its_id_when_it_moves() {
    let world = World::new();
    let root = world.vault.root_dir();
    let born = mkdir(&world, &root, "a");
    touch(&world, &born, "inside");
    let deep = mkdir(&world, &born, "deep");
    touch(&world, &deep, "deeper");
    let before = born.store().stat_itself().unwrap();

    let renamed = rename(&world, (&root, "a"), (&root, "b"), RenameMode::Replace).unwrap();
    let moved = child(&world, &root, "b");
    assert_eq!(moved.id(), born.id());
    assert_eq!(renamed.moved.unwrap().id, born.id());
    assert_eq!(renamed.exchanged, None);
    assert_eq!(names(&world, &moved), ["deep", "inside"]);
    assert_eq!(names(&world, &child(&world, &moved, "deep")), ["deeper"]);
    assert_eq!(
        pin_of(&moved).unwrap().len(),
        32,
        "no record of the birthplace"
    );
    let after = moved.store().stat_itself().unwrap();
    assert_eq!(after.mtime, before.mtime);

    // Elsewhere, then into its former self's namesake.
    let again = mkdir(&world, &root, "a");
    assert_eq!(again.id(), born.id(), "ids are not unique");
    rename(&world, (&root, "b"), (&again, "c"), RenameMode::Replace).unwrap();
    let moved = child(&world, &again, "c");
    assert_eq!(moved.id(), born.id());
    assert_eq!(pin_of(&moved).unwrap().len(), 64);
    assert_eq!(names(&world, &moved), ["deep", "inside"]);

    // Home: the pin stays and opens nowhere.
    root.rmdir(&world.vault, &name("a")).unwrap_err();
    rename(&world, (&again, "c"), (&root, "home"), RenameMode::Replace).unwrap();
    root.rmdir(&world.vault, &name("a")).unwrap();
    let pin = pin_of(&child(&world, &root, "home"));
    rename(&world, (&root, "home"), (&root, "a"), RenameMode::Replace).unwrap();
    let home = child(&world, &root, "a");
    assert_eq!((home.id(), pin_of(&home)), (born.id(), pin));
    assert_eq!(names(&world, &home), ["deep", "inside"]);
}

#[test]
fn an_empty_directory_moves_without_a_pin() {
    let world = World::new();
    let root = world.vault.root_dir();
    let born = mkdir(&world, &root, "a");
    let renamed = rename(&world, (&root, "a"), (&root, "b"), RenameMode::NoReplace).unwrap();
    let moved = child(&world, &root, "b");
    assert_ne!(moved.id(), born.id());
    assert_eq!(pin_of(&moved), None);
    let told = born.after_move(renamed.moved.unwrap());
    assert_eq!(told.id(), moved.id());
    touch(&world, &told, "x");
    assert_eq!(names(&world, &moved), ["x"]);
}

#[test]
fn a_directory_with_attributes_is_pinned_though_empty() {
    let world = World::new();
    let root = world.vault.root_dir();
    let born = mkdir(&world, &root, "a");
    let record = PinFile::new(None, world.vault.keys().seal_pin(born.id(), born.id()));
    born.store()
        .itself()
        .unwrap()
        .set_xattr(
            b"user.keepfs.x",
            XattrValue::Sealed(record.sealed()),
            XattrMode::Any,
        )
        .unwrap();
    rename(&world, (&root, "a"), (&root, "b"), RenameMode::Replace).unwrap();
    assert_eq!(child(&world, &root, "b").id(), born.id());
}

#[test]
fn a_stale_pin_of_an_emptied_directory_misleads_nobody() {
    let world = World::new();
    let root = world.vault.root_dir();
    let born = mkdir(&world, &root, "a");
    touch(&world, &born, "x");
    rename(&world, (&root, "a"), (&root, "b"), RenameMode::Replace).unwrap();
    let at_b = child(&world, &root, "b");
    at_b.unlink(&world.vault, &name("x")).unwrap();
    // Empty but for its pin, which opens at b.
    rename(&world, (&root, "b"), (&root, "c"), RenameMode::Replace).unwrap();
    let at_c = child(&world, &root, "c");
    assert_ne!(at_c.id(), born.id());
    touch(&world, &at_c, "y");
    rename(&world, (&root, "c"), (&root, "b"), RenameMode::Replace).unwrap();
    let back = child(&world, &root, "b");
    assert_eq!(back.id(), at_c.id());
    assert_eq!(names(&world, &back), ["y"]);
}

#[test]
fn an_old_pin_put_back_is_overruled_by_the_next_rename() {
    let world = World::new();
    let root = world.vault.root_dir();
    let dir = mkdir(&world, &root, "a");
    touch(&world, &dir, "x");
    // What a provider may replay: a record that opens at the target.
    let keys = world.vault.keys();
    let wrong = keys.seal_pin(keys.place(root.id(), &name("b")), DirId::new([9; 16]));
    dir.store()
        .replace_internal(Internal::Pin, PinFile::new(None, wrong).sealed())
        .unwrap();
    rename(&world, (&root, "a"), (&root, "b"), RenameMode::Replace).unwrap();
    assert_eq!(names(&world, &child(&world, &root, "b")), ["x"]);
}

#[test]
fn an_exchange_pins_both() {
    let world = World::new();
    let root = world.vault.root_dir();
    for (dir, file) in [("a", "in a"), ("b", "in b")] {
        touch(&world, &mkdir(&world, &root, dir), file);
    }
    touch(&world, &root, "file");
    let (a, b) = (child(&world, &root, "a"), child(&world, &root, "b"));
    let renamed = rename(&world, (&root, "a"), (&root, "b"), RenameMode::Exchange).unwrap();
    assert_eq!(renamed.moved.unwrap().id, a.id());
    assert_eq!(renamed.exchanged.unwrap().id, b.id());
    assert_eq!(names(&world, &child(&world, &root, "b")), ["in a"]);
    assert_eq!(names(&world, &child(&world, &root, "a")), ["in b"]);
    let renamed = rename(&world, (&root, "file"), (&root, "a"), RenameMode::Exchange).unwrap();
    assert_eq!(renamed.moved, None);
    assert_eq!(renamed.exchanged.unwrap().id, b.id());
    assert_eq!(names(&world, &child(&world, &root, "file")), ["in b"]);
}

#[test]
fn a_rename_that_is_killed_anywhere_loses_no_name() {
    for mode in [RenameMode::Replace, RenameMode::Exchange] {
        for passed in 0.. {
            let world = World::new();
            let root = world.vault.root_dir();
            for (dir, file) in [("a", "in a"), ("b", "in b")] {
                touch(&world, &mkdir(&world, &root, dir), file);
            }
            // So that there is a pin with a record to be kept.
            rename(&world, (&root, "a"), (&root, "from"), RenameMode::Replace).unwrap();
            let to = if mode == RenameMode::Exchange {
                "b"
            } else {
                "to"
            };
            let armed = arm(Scope::Thread, Plan::kill_after(passed));
            let done = rename(&world, (&root, "from"), (&root, to), mode);
            let fired = armed.fired();
            drop(armed);
            let mut found = Vec::new();
            for dir in ["from", to, "b"] {
                if root.lookup(&world.vault, &name(dir)).unwrap().is_some() {
                    found.extend(names(&world, &child(&world, &root, dir)));
                }
            }
            found.sort();
            found.dedup();
            assert_eq!(found, ["in a", "in b"], "killed after {passed} changes");
            if !fired {
                done.unwrap();
                assert!(
                    passed >= 6,
                    "create, write, fsync, rename, fsync, mtime, rename"
                );
                break;
            }
        }
    }
}

#[test]
fn an_entry_that_arrives_during_the_rename_of_an_empty_directory_is_kept() {
    let world = World::new();
    let root = world.vault.root_dir();
    let born = mkdir(&world, &root, "a");
    let at = root.resolve(&world.vault, &name("a")).unwrap();
    let keys = world.vault.keys();
    let places = (
        keys.place(root.id(), &name("a")),
        keys.place(root.id(), &name("b")),
    );
    let departure = root.depart(&world.vault, &at, places).unwrap().unwrap();
    touch(&world, &born, "late");
    root.store()
        .rename(
            &at.entry(),
            root.store(),
            &keys.cipher_name(root.id(), &name("b")),
            RenameMode::Replace,
        )
        .unwrap();
    assert_eq!(departure.arrive(&world.vault).id, born.id());
    assert_eq!(names(&world, &child(&world, &root, "b")), ["late"]);
}

#[test]
fn directories_without_rights_are_moved_by_their_owner() {
    let world = World::new();
    let root = world.vault.root_dir();
    let dir = mkdir(&world, &root, "a");
    touch(&world, &dir, "x");
    root.set_mode(&world.vault, &name("a"), 0o000).unwrap();
    let path = path_of(&world, &root, "a");
    let go = || {
        rename(&world, (&root, "a"), (&root, "b"), RenameMode::Replace).unwrap();
    };
    if rustix::process::geteuid().is_root() {
        for path in [&world.path, &path] {
            std::os::unix::fs::chown(path, Some(65534), Some(65534)).unwrap();
        }
        std::thread::scope(|scope| {
            scope.spawn(|| {
                let uid = rustix::fs::Uid::from_raw(65534);
                rustix::thread::set_thread_res_uid(uid, uid, uid).unwrap();
                let denied = root.open_child(&world.vault, &name("a")).unwrap_err();
                assert!(matches!(denied, DirError::Backing(_)), "{denied}");
                go();
            });
        });
    } else {
        go();
    }
    assert_eq!(root.stat_entry(&world.vault, &name("b")).unwrap().perm(), 0);
    root.set_mode(&world.vault, &name("b"), 0o700).unwrap();
    assert_eq!(names(&world, &child(&world, &root, "b")), ["x"]);
}

#[test]
fn only_absence_means_that_there_is_no_pin() {
    let world = World::new();
    let root = world.vault.root_dir();
    mkdir(&world, &root, "a");
    let pin = path_of(&world, &root, "a").join("keepfs.dir");
    std::fs::write(&pin, "short").unwrap();
    let open = || root.open_child(&world.vault, &name("a")).unwrap_err();
    assert!(matches!(open(), DirError::PinMalformed(_)));
    std::fs::write(&pin, [0; 96]).unwrap();
    assert!(matches!(open(), DirError::PinMalformed(_)));
    std::fs::remove_file(&pin).unwrap();
    std::fs::create_dir(&pin).unwrap();
    assert!(matches!(open(), DirError::PinUnreadable(_)));
    std::fs::remove_dir(&pin).unwrap();
    std::os::unix::fs::symlink("nowhere", &pin).unwrap();
    assert!(matches!(open(), DirError::PinUnreadable(_)));
    std::fs::remove_file(&pin).unwrap();
    root.open_child(&world.vault, &name("a")).unwrap();
}

#[test]
fn a_pin_that_comes_late_is_found_and_older_names_stay() {
    let world = World::new();
    let root = world.vault.root_dir();
    let source = mkdir(&world, &root, "a");
    touch(&world, &source, "moved");
    let before = mkdir(&world, &root, "b");
    touch(&world, &before, "own");
    touch(&world, &before, "both");
    touch(&world, &source, "both");
    // A client has delivered the entries of `a`, moved to `b`, not yet the pin.
    let (a, b) = (path_of(&world, &root, "a"), path_of(&world, &root, "b"));
    for entry in std::fs::read_dir(&a).unwrap() {
        let entry = entry.unwrap();
        std::fs::rename(entry.path(), b.join(entry.file_name())).unwrap();
    }
    let early = child(&world, &root, "b");
    assert_eq!(early.list(&world.vault).unwrap().undecryptable, 2);
    let keys = world.vault.keys();
    let pin = PinFile::new(None, keys.seal_pin(before.id(), source.id()));
    early
        .store()
        .replace_internal(Internal::Pin, pin.sealed())
        .unwrap();
    let late = early.refresh(&world.vault).unwrap();
    assert_eq!(late.id(), source.id());
    let [both, copy, moved, own] = &names(&world, &late)[..] else {
        panic!("{:?}", names(&world, &late));
    };
    assert_eq!([both, moved, own], ["both", "moved", "own"]);
    assert!(copy.starts_with("both [conflict "), "{copy}");
    // Everything works on the name under the place, too.
    let own = late.lookup(&world.vault, &name("own")).unwrap().unwrap();
    assert_eq!(
        late.stat_entry(&world.vault, &name("own")).unwrap().ino,
        own.stat.ino
    );
    let taken = late
        .create_file(&world.vault, &name("own"), 0o600)
        .unwrap_err();
    let DirError::Backing(taken) = taken else {
        panic!("{taken}")
    };
    assert_eq!(taken.kind(), io::ErrorKind::AlreadyExists);
    rename(
        &world,
        (&late, "moved"),
        (&late, "own"),
        RenameMode::Replace,
    )
    .unwrap();
    assert_eq!(names(&world, &late), ["both", copy, "own"]);
    late.unlink(&world.vault, &name("own")).unwrap();
    late.unlink(&world.vault, &name("both")).unwrap();
    assert_eq!(names(&world, &late), ["both"], "the other one of that name");
}

#[test]
fn a_directory_in_which_nothing_opens_takes_no_entries() {
    let world = World::new();
    let root = world.vault.root_dir();
    let dir = mkdir(&world, &root, "a");
    touch(&world, &dir, "x");
    let path = path_of(&world, &root, "a");
    let lost = path_of(&world, &root, "lost");
    std::fs::rename(&path, &lost).unwrap();
    let moved = child(&world, &root, "lost");
    assert_eq!(moved.list(&world.vault).unwrap().undecryptable, 1);
    let refused = moved
        .create_file(&world.vault, &name("y"), 0o600)
        .unwrap_err();
    assert!(matches!(refused, DirError::NothingOpens));
    let refused = moved.mkdir(&world.vault, &name("y"), 0o700).unwrap_err();
    assert!(matches!(refused, DirError::NothingOpens));
    touch(&world, &root, "f");
    let refused = rename(&world, (&root, "f"), (&moved, "y"), RenameMode::Replace).unwrap_err();
    assert!(matches!(refused, DirError::NothingOpens));
    std::fs::rename(&lost, &path).unwrap();
    touch(&world, &child(&world, &root, "a"), "y");
    // Foreign files alone prove nothing.
    let other = mkdir(&world, &root, "b");
    std::fs::write(path_of(&world, &root, "b").join("desktop.ini"), "").unwrap();
    touch(&world, &other, "z");
}

#[test]
fn the_check_of_an_id_is_made_once_for_an_open_directory() {
    let world = World::new();
    let dir = mkdir(&world, &world.vault.root_dir(), "a");
    touch(&world, &dir, "x");
    let path = path_of(&world, &world.vault.root_dir(), "a");
    std::fs::remove_file(path.join(world.vault.keys().cipher_name(dir.id(), &name("x")).entry()))
        .unwrap();
    std::fs::write(path.join("A".repeat(43)), "").unwrap();
    touch(&world, &dir, "y");
}

#[test]
fn rmdir_takes_pins_and_orphans_along() {
    let world = World::new();
    let root = world.vault.root_dir();
    let dir = mkdir(&world, &root, "a");
    dir.create_file(&world.vault, &long(), 0o600).unwrap();
    rename(&world, (&root, "a"), (&root, "b"), RenameMode::Replace).unwrap();
    root.rmdir(&world.vault, &name("b")).unwrap_err();
    let dir = child(&world, &root, "b");
    dir.unlink(&world.vault, &long()).unwrap();
    assert_eq!(dir.store().list().unwrap().len(), 2, "a pin and an orphan");
    root.rmdir(&world.vault, &name("b")).unwrap();
    assert!(names(&world, &root).is_empty());
}

#[test]
fn what_the_backing_refuses_comes_through() {
    let world = World::new();
    let root = world.vault.root_dir();
    let _armed = arm(
        Scope::Thread,
        Plan::fail(Mutation::CreateFile, libc::EDQUOT),
    );
    let refused = root
        .create_file(&world.vault, &name("x"), 0o600)
        .unwrap_err();
    let DirError::Backing(error) = refused else {
        panic!("{refused}")
    };
    assert_eq!(error.raw_os_error(), Some(libc::EDQUOT));
}
