//! What the keeper of a vault learns without a key.

use std::fs;
use std::path::Path;

use crate::harness::snapshot;
use crate::victim::*;

/// The size of the plain file, from the size of the backing's: docs/FORMAT.md,
/// section 6.1.
fn plain_len(file: &Path) -> u64 {
    let slot = u64::try_from(SLOT).unwrap();
    let stored = fs::metadata(file).unwrap().len() - HEADER;
    stored / slot * (slot - 40) + stored % slot - 40
}

#[test]
fn sizes_number_and_tree_of_the_files_are_visible() {
    let victim = Victim::new();
    for plain in ["letter", "exact", "box/inside", "sparse"] {
        let len = u64::try_from(victim.text(plain).len()).unwrap();
        assert_eq!(plain_len(&victim.at(plain)), len, "{plain}");
    }
    let all = snapshot(&victim.place.vault());
    let files = all.iter().filter(|(_, bytes)| {
        let bytes = bytes.as_deref().unwrap_or_default();
        bytes.starts_with(b"KPF1")
    });
    // letter, other, exact, sparse, the long name and one in each directory.
    assert_eq!(files.count(), 9);
    let deep = victim.at("box/deep/bottom");
    let depth = deep.strip_prefix(victim.place.vault()).unwrap();
    assert_eq!(depth.components().count(), 3);
}

#[test]
fn contents_names_targets_and_attributes_are_not_visible() {
    let mut victim = Victim::new();
    victim.edit(|m| {
        let set = ["-n", "user.note", "-v", "private-value"];
        tool("setfattr", &set, &m.join("letter"));
    });
    let mut seen = Vec::new();
    for (path, bytes) in snapshot(&victim.place.vault()) {
        seen.extend_from_slice(path.to_str().unwrap().as_bytes());
        seen.extend_from_slice(&bytes.unwrap_or_default());
        if let Ok(target) = fs::read_link(&path) {
            seen.extend_from_slice(target.to_str().unwrap().as_bytes());
        } else {
            let dump = ["--absolute-names", "-d", "-m", "-"];
            seen.extend_from_slice(tool("getfattr", &dump, &path).as_bytes());
        }
    }
    for private in [
        "letter",
        "line 000001",
        "inside",
        "llllllll",
        "some/where",
        "user.note",
        "private-value",
    ] {
        let found = seen.windows(private.len()).any(|w| w == private.as_bytes());
        assert!(!found, "{private} is on the backing");
    }
}

#[test]
fn which_chunks_of_a_file_changed_is_visible_to_who_keeps_versions() {
    let mut victim = Victim::new();
    let file = victim.at("letter");
    let before = fs::read(&file).unwrap();
    victim.edit(|m| {
        let letter = fs::OpenOptions::new().write(true).open(m.join("letter"));
        std::os::unix::fs::FileExt::write_all_at(&letter.unwrap(), b"x", 9000).unwrap();
    });
    let after = fs::read(&file).unwrap();
    let changed = (0..5).filter(|index| {
        let from = usize::try_from(slot_at(*index)).unwrap();
        let to = (from + SLOT).min(after.len());
        before[from..to] != after[from..to]
    });
    assert_eq!(changed.collect::<Vec<_>>(), [2]);
}

#[test]
fn a_file_that_did_not_change_can_be_told_from_one_that_did() {
    let mut victim = Victim::new();
    let before = snapshot(&victim.place.vault());
    victim.edit(|m| fs::write(m.join("box/inside"), lines("new", 300)).unwrap());
    let after = snapshot(&victim.place.vault());
    let changed: Vec<_> = after
        .iter()
        .filter(|(path, bytes)| before.get(*path) != Some(bytes))
        .map(|(path, _)| path.clone())
        .collect();
    assert_eq!(changed, [victim.at("box/inside")]);
}
