//! Conflict copies: shown, found, and used like any other object.

use super::*;
use crate::codec::conflict::Client;
use crate::types::Access;

const SYNCTHING: &str = ".sync-conflict-20261122-101042-ABCDEFG";

/// Does what a sync client does: gives the object `text` of `dir` another
/// entry with `suffix`.
fn set_apart(world: &World, dir: &VaultDir, text: &str, suffix: &str) -> RawName {
    let entry = dir.entry_for(&world.vault, &name(text)).unwrap();
    let copy = RawName::new(&[entry.bytes(), suffix.as_bytes()].concat());
    std::fs::rename(path_in(world, dir, &entry), path_in(world, dir, &copy)).unwrap();
    copy
}

/// The directory's path on the backing, by its inode number.
fn here(world: &World, dir: &VaultDir) -> PathBuf {
    use std::os::unix::fs::MetadataExt;
    let wanted = dir.store().stat_itself().unwrap().ino;
    let mut open = vec![world.path.clone()];
    while let Some(path) = open.pop() {
        if path.symlink_metadata().unwrap().ino() == wanted {
            return path;
        }
        let below = std::fs::read_dir(&path).unwrap();
        let below = below.map(|entry| entry.unwrap().path());
        open.extend(below.filter(|path| path.is_dir() && !path.is_symlink()));
    }
    panic!("not in the vault");
}

fn path_in(world: &World, dir: &VaultDir, entry: &RawName) -> PathBuf {
    here(world, dir).join(std::str::from_utf8(entry.bytes()).unwrap())
}

fn copies(world: &World, dir: &VaultDir) -> Vec<Listed> {
    let listed = dir.list(&world.vault).unwrap().entries;
    listed.into_iter().filter(|e| e.copy.is_some()).collect()
}

fn text(name: &PlainName) -> String {
    String::from_utf8(name.bytes().to_vec()).unwrap()
}

fn content(world: &World, dir: &VaultDir, name: &PlainName) -> Vec<u8> {
    let file = dir.open_file(&world.vault, name, Access::Read).unwrap();
    file.read_head(100).unwrap()
}

fn write(world: &World, dir: &VaultDir, text: &str, content: &[u8]) {
    let entry = dir.entry_for(&world.vault, &name(text)).unwrap();
    std::fs::write(path_in(world, dir, &entry), content).unwrap();
}

#[test]
fn a_copy_is_listed_and_found_under_a_name_that_says_what_it_is() {
    let world = World::new();
    let root = world.vault.root_dir();
    write(&world, &root, "report.odt", b"one");
    let entry = set_apart(&world, &root, "report.odt", SYNCTHING);
    write(&world, &root, "report.odt", b"two");
    let copies = copies(&world, &root);
    let [copy] = &copies[..] else {
        panic!("{copies:?}");
    };
    assert_eq!(copy.entry, entry);
    let shown = text(&copy.name);
    assert!(shown.starts_with("report [conflict syncthing 2026-11-22 10:10 "));
    assert!(shown.ends_with("].odt"), "{shown}");
    let of = copy.copy.as_deref().unwrap();
    assert_eq!(of.of, name("report.odt"));
    assert_eq!(of.origin().client, Some(Client::Syncthing));
    // Found also by a directory that was not listed before.
    let fresh = world.vault.root_dir();
    let found = fresh.lookup(&world.vault, &copy.name).unwrap().unwrap();
    assert_eq!((found.entry, found.copy.as_ref()), (entry, Some(of)));
    assert_eq!(content(&world, &fresh, &copy.name), b"one");
    assert_eq!(content(&world, &fresh, &name("report.odt")), b"two");
}

#[test]
fn a_copy_is_there_without_its_original_and_with_a_long_name() {
    let world = World::new();
    let root = world.vault.root_dir();
    root.create_file(&world.vault, &long(), 0o600).unwrap();
    set_apart(&world, &root, &text(&long()), " (1)");
    let listing = root.list(&world.vault).unwrap();
    let [copy] = &listing.entries[..] else {
        panic!("{listing:?}");
    };
    assert_eq!(copy.name.bytes().len(), 255);
    assert!(text(&copy.name).starts_with("llll"));
    assert!(text(&copy.name).contains(" [conflict google-drive "));
    assert!(root.lookup(&world.vault, &long()).unwrap().is_none());
    root.rename_to(&world, &copy.name, &long());
    assert_eq!(names(&world, &root), [text(&long())]);
}

#[test]
fn renaming_a_copy_over_the_original_resolves_the_conflict() {
    let world = World::new();
    let root = world.vault.root_dir();
    write(&world, &root, "f", b"theirs");
    set_apart(&world, &root, "f", SYNCTHING);
    write(&world, &root, "f", b"mine");
    let copy = copies(&world, &root).remove(0);
    root.rename_to(&world, &copy.name, &name("f"));
    assert_eq!(names(&world, &root), ["f"]);
    assert_eq!(content(&world, &root, &name("f")), b"theirs");
    let entry = root.entry_for(&world.vault, &name("f")).unwrap();
    let raw = root.store().list().unwrap();
    assert_eq!(raw.iter().filter(|e| e.name == entry).count(), 1);
}

#[test]
fn a_copy_is_deleted_replaced_and_not_made_twice() {
    let world = World::new();
    let (vault, root) = (&world.vault, world.vault.root_dir());
    touch(&world, &root, "f");
    let entry = set_apart(&world, &root, "f", " (1)");
    let copy = copies(&world, &root).remove(0);
    let refused = root.create_file(vault, &copy.name, 0o600).unwrap_err();
    assert!(matches!(refused, DirError::Backing(e) if e.raw_os_error() == Some(libc::EEXIST)));
    assert!(root.mkdir(vault, &copy.name, 0o700).is_err());
    assert!(root.symlink(vault, &copy.name, b"x").is_err());
    // Saving over it, as editors do, replaces the copy itself.
    write(&world, &root, "saved", b"new");
    root.rename_to(&world, &name("saved"), &copy.name);
    assert_eq!(
        root.store()
            .list()
            .unwrap()
            .iter()
            .filter(|e| e.name == entry)
            .count(),
        1
    );
    assert_eq!(content(&world, &root, &copy.name), b"new");
    root.unlink(vault, &copy.name).unwrap();
    assert!(names(&world, &root).is_empty());
    assert!(root.lookup(vault, &copy.name).unwrap().is_none());
}

#[test]
fn a_real_entry_of_the_name_wins() {
    let world = World::new();
    let (vault, root) = (&world.vault, world.vault.root_dir());
    touch(&world, &root, "f");
    set_apart(&world, &root, "f", " (1)");
    let copy = copies(&world, &root).remove(0);
    let fresh = world.vault.root_dir();
    let cipher = vault.keys().cipher_name(root.id(), &copy.name);
    std::fs::write(world.path.join(cipher.entry()), "real").unwrap();
    assert_eq!(fresh.list(vault).unwrap().entries.len(), 1);
    assert_eq!(content(&world, &fresh, &copy.name), b"real");
    let found = fresh.lookup(vault, &copy.name).unwrap().unwrap();
    assert_eq!(found.copy, None);
    fresh.unlink(vault, &copy.name).unwrap();
    assert_eq!(copies(&world, &fresh).len(), 1);
}

#[test]
fn a_copy_of_a_directory_opens_its_names_and_keeps_them_when_it_is_renamed() {
    let world = World::new();
    let (vault, root) = (&world.vault, world.vault.root_dir());
    let dir = mkdir(&world, &root, "photos");
    touch(&world, &dir, "a");
    set_apart(&world, &dir, "a", SYNCTHING);
    mkdir(&world, &dir, "inner");
    set_apart(&world, &root, "photos", " (Case Conflict)");
    mkdir(&world, &root, "photos");
    let copy = copies(&world, &root).remove(0);
    assert_eq!(copy.kind, FileKind::Directory);
    let inside = root.open_child(vault, &copy.name).unwrap();
    assert_eq!(names(&world, &inside).len(), 2);
    touch(&world, &inside, "new");
    root.rename_to(&world, &copy.name, &name("old photos"));
    let renamed = child(&world, &root, "old photos");
    let listing = renamed.list(vault).unwrap();
    assert_eq!((listing.entries.len(), listing.undecryptable), (3, 0));
    assert!(pin_of(&renamed).is_some());
}

#[test]
fn two_objects_of_one_name_under_two_ids_are_both_shown_and_survive_a_rename() {
    let world = World::new();
    let (vault, root) = (&world.vault, world.vault.root_dir());
    // One device makes d/x; another moves its own directory e to d.
    let d = mkdir(&world, &root, "d");
    touch(&world, &d, "x");
    let first = d.entry_for(vault, &name("x")).unwrap();
    let kept = world.path.join("keepfs.kept");
    std::fs::write(path_in(&world, &d, &first), "d/x").unwrap();
    std::fs::rename(path_in(&world, &d, &first), &kept).unwrap();
    root.rmdir(vault, &name("d")).unwrap();
    let e = mkdir(&world, &root, "e");
    touch(&world, &e, "x");
    rename(&world, (&root, "e"), (&root, "d"), RenameMode::Replace).unwrap();
    let d = child(&world, &root, "d");
    std::fs::rename(&kept, path_in(&world, &d, &first)).unwrap();
    let both = names(&world, &d);
    assert_eq!(both.len(), 2, "{both:?}");
    let copy = copies(&world, &d).remove(0);
    assert!(text(&copy.name).starts_with("x [conflict "));
    assert_eq!(content(&world, &d, &copy.name), b"d/x");
    rename(&world, (&root, "d"), (&root, "f"), RenameMode::Replace).unwrap();
    let f = child(&world, &root, "f");
    let listing = f.list(vault).unwrap();
    assert_eq!((listing.entries.len(), listing.undecryptable), (2, 0));
    assert_eq!(content(&world, &f, &copy.name), b"d/x");
}

#[test]
fn a_directory_with_nothing_but_copies_takes_new_names_and_is_not_empty() {
    let world = World::new();
    let (vault, root) = (&world.vault, world.vault.root_dir());
    let dir = mkdir(&world, &root, "d");
    touch(&world, &dir, "a");
    // This suffix makes another legal length of 43.
    set_apart(&world, &dir, "a", "-home-safeBackup-0001");
    let dir = child(&world, &root, "d");
    touch(&world, &dir, "b");
    assert!(
        names(&world, &dir)[0].starts_with("a [conflict"),
        "{:?}",
        names(&world, &dir)
    );
    dir.unlink(vault, &name("b")).unwrap();
    let refused = root.rmdir(vault, &name("d")).unwrap_err();
    assert!(matches!(refused, DirError::Backing(e) if e.raw_os_error() == Some(libc::ENOTEMPTY)));
}

trait RenameTo {
    fn rename_to(&self, world: &World, from: &PlainName, to: &PlainName);
}

impl RenameTo for VaultDir {
    fn rename_to(&self, world: &World, from: &PlainName, to: &PlainName) {
        let mode = RenameMode::Replace;
        VaultDir::rename(&world.vault, (self, from), (self, to), mode).unwrap();
    }
}
