//! Directories whose pins other devices took away or exchanged: what is in
//! them opens by the notes.

use super::*;

/// Two devices moved different directories, with a file `x` and two more
/// objects in each, to the name `d`, and a client has merged them.
fn merged(world: &World) -> VaultDir {
    let root = world.vault.root_dir();
    for (from, to) in [("a", "d"), ("b", "e")] {
        let dir = mkdir(world, &root, from);
        touch(world, &dir, "x");
        touch(world, &dir, &format!("from {from}"));
        mkdir(world, &dir, &format!("dir from {from}"));
        rename(world, (&root, from), (&root, to), RenameMode::Replace).unwrap();
    }
    let (d, e) = (child(world, &root, "d"), child(world, &root, "e"));
    // What the other device noted when it moved its own.
    world.vault.note_pin(d.place(), e.id()).unwrap();
    let (d_at, e_at) = (path_of(world, &root, "d"), path_of(world, &root, "e"));
    for entry in std::fs::read_dir(&e_at).unwrap() {
        let entry = entry.unwrap();
        if entry.file_name() != "keepfs.dir" {
            std::fs::rename(entry.path(), d_at.join(entry.file_name())).unwrap();
        }
    }
    std::fs::remove_dir_all(e_at).unwrap();
    child(world, &root, "d")
}

const IN_BOTH: [&str; 5] = ["dir from a", "dir from b", "from a", "from b", "x"];

#[test]
fn two_directories_merged_under_one_name_show_all_of_both() {
    for pin in [true, false] {
        let world = World::new();
        let root = world.vault.root_dir();
        merged(&world);
        if !pin {
            // Clients may rename both pins and leave none.
            std::fs::remove_file(path_of(&world, &root, "d").join("keepfs.dir")).unwrap();
        }
        // As another program sees it, that has to read the notes.
        let vault = &world.reopened();
        let root = vault.root_dir();
        let dir = root.open_child(vault, &name("d")).unwrap();
        for name_of in IN_BOTH {
            assert!(
                dir.lookup(vault, &name(name_of)).unwrap().is_some(),
                "{name_of}"
            );
        }
        let listing = dir.list(vault).unwrap();
        assert_eq!((listing.entries.len(), listing.undecryptable), (6, 0));
        let copies = listing.entries.iter().filter(|e| e.copy.is_some());
        assert_eq!(copies.count(), 1, "the second x");
        dir.create_file(vault, &name("new"), 0o600).unwrap();
        let deep = dir.open_child(vault, &name("dir from b")).unwrap();
        deep.create_file(vault, &name("deep"), 0o600).unwrap();
        // All of it survives the next rename, and needs no note any more.
        let (from, to) = ((&root, &name("d")), (&root, &name("z")));
        VaultDir::rename(vault, from, to, RenameMode::Replace).unwrap();
        std::fs::remove_dir_all(world.path.join("keepfs.names")).unwrap();
        let vault = &world.reopened();
        let moved = vault.root_dir().open_child(vault, &name("z")).unwrap();
        let listing = moved.list(vault).unwrap();
        assert_eq!((listing.entries.len(), listing.undecryptable), (7, 0));
        let deep = moved.open_child(vault, &name("dir from b")).unwrap();
        assert_eq!(deep.list(vault).unwrap().entries.len(), 1);
    }
}

/// A pinned directory `p` with a file and a subdirectory with one, as another
/// device leaves it that removed or renamed it before it knew of `new` and
/// `sub/new`.
fn pin_taken_away(world: &World) {
    let root = world.vault.root_dir();
    let dir = mkdir(world, &root, "first");
    mkdir(world, &dir, "sub");
    touch(world, &dir, "old");
    rename(world, (&root, "first"), (&root, "p"), RenameMode::Replace).unwrap();
    let dir = child(world, &root, "p");
    touch(world, &dir, "new");
    touch(world, &child(world, &dir, "sub"), "new");
    dir.unlink(&world.vault, &name("old")).unwrap();
    std::fs::remove_file(path_of(world, &root, "p").join("keepfs.dir")).unwrap();
}

#[test]
fn what_was_made_in_a_directory_whose_pin_another_device_took_away_opens() {
    let world = World::new();
    pin_taken_away(&world);
    let vault = &world.reopened();
    let dir = vault.root_dir().open_child(vault, &name("p")).unwrap();
    assert!(dir.lookup(vault, &name("new")).unwrap().is_some());
    let sub = dir.open_child(vault, &name("sub")).unwrap();
    assert_eq!(sub.list(vault).unwrap().entries.len(), 1);
    let listing = dir.list(vault).unwrap();
    assert_eq!((listing.entries.len(), listing.undecryptable), (2, 0));
    // Names made now stand beside them, and nothing is refused.
    dir.create_file(vault, &name("newer"), 0o600).unwrap();
    assert_eq!(dir.list(vault).unwrap().entries.len(), 3);
}

#[test]
fn notes_of_other_places_state_nothing_and_what_is_no_note_is_passed_over() {
    let world = World::new();
    pin_taken_away(&world);
    let root = world.vault.root_dir();
    let other = mkdir(&world, &root, "other");
    touch(&world, &other, "own");
    for odd in ["x", "keepfs.dir", &"A".repeat(66)] {
        std::fs::write(world.path.join("keepfs.names").join(odd), "x").unwrap();
    }
    let vault = &world.reopened();
    let other = vault.root_dir().open_child(vault, &name("other")).unwrap();
    assert_eq!(other.ids(vault), [other.id()]);
    let dir = vault.root_dir().open_child(vault, &name("p")).unwrap();
    assert_eq!(dir.ids(vault).len(), 2);
}
