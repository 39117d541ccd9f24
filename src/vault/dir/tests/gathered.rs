//! Names under the place of a renamed directory.

use super::*;

/// A directory as another device has it that does not know its pin, and sees
/// it empty.
fn without_pin(dir: &VaultDir) -> VaultDir {
    VaultDir {
        id: dir.place,
        confirmed: Arc::new(AtomicBool::new(true)),
        ..dir.clone()
    }
}

/// A renamed directory `b` with a name under its id and one of each kind under
/// its place.
fn pinned_with_names_under_its_place(world: &World) -> VaultDir {
    let root = world.vault.root_dir();
    let dir = mkdir(world, &root, "a");
    touch(world, &dir, "under the id");
    rename(world, (&root, "a"), (&root, "b"), RenameMode::Replace).unwrap();
    let other = without_pin(&child(world, &root, "b"));
    touch(world, &other, "under the place");
    other.create_file(&world.vault, &long(), 0o644).unwrap();
    let full = mkdir(world, &other, "full");
    touch(world, &full, "inside");
    mkdir(world, &other, "empty");
    child(world, &root, "b")
}

#[test]
fn names_under_the_place_of_a_renamed_directory_are_kept_by_the_next_rename() {
    for to in ["c", "a"] {
        let world = World::new();
        let root = world.vault.root_dir();
        let dir = pinned_with_names_under_its_place(&world);
        let before = names(&world, &dir);
        assert_eq!(before.len(), 5);
        let held = child(&world, &dir, "empty");
        let mtime = dir.store().stat_itself().unwrap().mtime;
        rename(&world, (&root, "b"), (&root, to), RenameMode::Replace).unwrap();
        // Whoever had it open creates in it as before.
        touch(&world, &held, "created later");
        let dir = child(&world, &root, to);
        assert_eq!(names(&world, &dir), before, "moved to {to}");
        assert_eq!(dir.store().stat_itself().unwrap().mtime, mtime);
        let listing = dir.list(&world.vault).unwrap();
        assert_eq!(listing.undecryptable, 0);
        assert_eq!(names(&world, &child(&world, &dir, "full")), ["inside"]);
        let empty = child(&world, &dir, "empty");
        assert_eq!(names(&world, &empty), ["created later"]);
    }
}

#[test]
fn a_kill_while_names_are_brought_under_the_id_loses_none() {
    for passed in 0.. {
        let world = World::new();
        let root = world.vault.root_dir();
        let before = names(&world, &pinned_with_names_under_its_place(&world));
        let armed = arm(Scope::Thread, Plan::kill_after(passed));
        let done = rename(&world, (&root, "b"), (&root, "c"), RenameMode::Replace);
        let fired = armed.fired();
        drop(armed);
        let at = if root.lookup(&world.vault, &name("b")).unwrap().is_some() {
            "b"
        } else {
            "c"
        };
        let dir = child(&world, &root, at);
        assert_eq!(names(&world, &dir), before, "after {passed} changes");
        assert_eq!(names(&world, &child(&world, &dir, "full")), ["inside"]);
        if !fired {
            done.unwrap();
            assert!(passed > 10, "names, pins, side files");
            break;
        }
    }
}
