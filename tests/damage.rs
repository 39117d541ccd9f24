//! Whole vaults, damaged at random: bits flipped, files cut, spliced, emptied,
//! exchanged, deleted, renamed, moved. Whatever the backing holds, nothing
//! panics, memory stays bounded, no reader gets wrong plaintext, and `check`
//! names what changes what a reader gets.
//!
//! `KEEPFS_DAMAGE_CASES` is the number of cases, `KEEPFS_DAMAGE_SEED` the
//! first one: a failure prints its seed.

#![allow(
    clippy::unwrap_used,
    reason = "a test may unwrap: its failure is the report"
)]

use std::collections::BTreeMap;
use std::fs::{self, OpenOptions};
use std::num::NonZero;
use std::os::unix::fs::{FileExt, symlink};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};
use std::thread;

use keepfs::check::{Depth, Loss, check};
use keepfs::codec::geometry::Geometry;
use keepfs::codec::kdf::{KdfCaps, KdfCost};
use keepfs::codec::vault::{Credential, KeyFile};
use keepfs::codec::xattr::XattrOwner;
use keepfs::name::PlainName;
use keepfs::store::XattrValue;
use keepfs::sys::fs::{DirFd, NodeFd, XattrMode};
use keepfs::types::{Access, FileKind, PlainLen, PlainOff, RenameMode};
use keepfs::vault::dir::VaultDir;
use keepfs::vault::file::File;
use keepfs::vault::init::{InitOptions, init};
use keepfs::vault::{LockedVault, SlotChoice, Vault};
use proptest::test_runner::{RngAlgorithm, TestRng};
use rand_core::Rng;

/// More than this much memory is too much, in KiB. Every file here is small.
const MOST_MEMORY_KIB: u64 = 400 * 1024;

fn key() -> Credential {
    Credential::KeyFile(KeyFile::from_bytes(b"damage".to_vec()).unwrap())
}

fn unlock(path: &Path) -> Option<Vault> {
    let caps = KdfCaps { ram_kib: 1 << 20 };
    let locked = LockedVault::open(path).ok()?;
    locked.unlock(&key(), &caps, SlotChoice::Any).ok()
}

fn name(text: &str) -> PlainName {
    PlainName::new(text.as_bytes()).unwrap()
}

fn write(vault: &Vault, dir: &VaultDir, text: &str, bytes: &[(u64, Vec<u8>)], len: u64) {
    let store = dir.create_file(vault, &name(text), 0o644).unwrap();
    let file = File::create(vault, store, dir.id()).unwrap();
    for (at, bytes) in bytes {
        file.write(PlainOff::new(*at), bytes).unwrap();
    }
    file.set_len(PlainLen::new(len)).unwrap();
    let owner = XattrOwner::File(file.keys().file_id());
    let keys = vault.keys();
    let cipher_name = keys.seal_xattr_name(owner, b"user.note").unwrap();
    let value = keys.seal_xattr_value(owner, b"user.note", b"text").unwrap();
    file.store()
        .unwrap()
        .set_xattr(
            cipher_name.as_bytes(),
            XattrValue::Sealed(value.sealed()),
            XattrMode::Any,
        )
        .unwrap();
    file.seal().unwrap();
}

/// A vault with one of everything.
fn fill(path: &Path) {
    let options = InitOptions {
        geometry: Geometry::DEFAULT,
        cost: KdfCost {
            memory_kib: 64 * 1024,
            passes: 3,
            lanes: 1,
        },
        label: String::new(),
        credential: key(),
    };
    init(path, &options).unwrap();
    let vault = unlock(path).unwrap();
    let root = vault.root_dir();
    let noise = |seed: u8, len: usize| -> Vec<u8> {
        (0..len)
            .map(|at| u8::try_from(at % 251).unwrap().wrapping_mul(seed))
            .collect()
    };
    let plain = |dir: &VaultDir, text: &str, seed: u8, len: usize| {
        let bytes = [(0, noise(seed, len))];
        write(&vault, dir, text, &bytes, u64::try_from(len).unwrap());
    };
    plain(&root, "empty", 0, 0);
    plain(&root, "small", 3, 100);
    plain(&root, "even", 5, 8192);
    plain(&root, "odd", 7, 13_000);
    plain(&root, &"l".repeat(200), 11, 5000);
    write(
        &vault,
        &root,
        "sparse",
        &[(300_000, noise(13, 5000))],
        400_000,
    );
    root.symlink(&vault, &name("link"), b"some/where").unwrap();
    for dir in ["dir", "moved"] {
        root.mkdir(&vault, &name(dir), 0o755).unwrap();
        let inside = root.open_child(&vault, &name(dir)).unwrap();
        plain(&inside, "inside", 17, 6000);
        plain(&inside, &"m".repeat(150), 19, 10);
        inside.mkdir(&vault, &name("sub"), 0o755).unwrap();
        let sub = inside.open_child(&vault, &name("sub")).unwrap();
        plain(&sub, "deep", 23, 4096);
    }
    let (from, to) = ((&root, &name("moved")), (&root, &name("pinned")));
    VaultDir::rename(&vault, from, to, RenameMode::Replace).unwrap();
}

/// What a reader gets of an object.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Got {
    /// Contents, and whether that was all. Attributes with them.
    File(Vec<u8>, Vec<(Vec<u8>, Option<Vec<u8>>)>, Ended),
    Link(Option<Vec<u8>>),
    Dir,
    Unopened,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Ended {
    AtTheEnd,
    WithAnError,
}

/// Everything that can be read, by plain path.
fn read_all(vault: &Vault) -> BTreeMap<Vec<u8>, Got> {
    let mut found = BTreeMap::new();
    let mut open = vec![(Vec::new(), vault.root_dir())];
    while let Some((path, dir)) = open.pop() {
        let Ok(listing) = dir.list(vault) else {
            found.insert(path, Got::Unopened);
            continue;
        };
        for entry in listing.entries {
            let below = [&path, &b"/"[..], entry.name.bytes()].concat();
            let got = match entry.kind {
                FileKind::Regular => read_file(vault, &dir, &entry.name),
                FileKind::Directory => match dir.open_child(vault, &entry.name) {
                    Ok(child) => {
                        open.push((below.clone(), child));
                        Got::Dir
                    }
                    Err(_) => Got::Unopened,
                },
                FileKind::Symlink => Got::Link(dir.read_link(vault, &entry.name).ok()),
                FileKind::Fifo
                | FileKind::Socket
                | FileKind::CharDevice
                | FileKind::BlockDevice => Got::Unopened,
            };
            found.insert(below, got);
        }
    }
    found
}

fn read_file(vault: &Vault, dir: &VaultDir, name: &PlainName) -> Got {
    let Ok(store) = dir.open_file(vault, name, Access::Read) else {
        return Got::Unopened;
    };
    let Ok((file, _)) = File::open(vault, store) else {
        return Got::Unopened;
    };
    let (mut bytes, mut piece) = (Vec::new(), Vec::new());
    let mut ended = Ended::AtTheEnd;
    let size = file.size().get();
    while u64::try_from(bytes.len()).unwrap() < size {
        let at = PlainOff::new(u64::try_from(bytes.len()).unwrap());
        if file.read(at, 4096, &mut piece).is_err() || piece.is_empty() {
            ended = Ended::WithAnError;
            break;
        }
        bytes.extend_from_slice(&piece);
    }
    let owner = XattrOwner::File(file.keys().file_id());
    let store = file.store().unwrap();
    let mut attributes = Vec::new();
    for raw in store.list_xattrs().unwrap() {
        let Ok(plain) = vault.keys().open_xattr_name(owner, &raw) else {
            continue;
        };
        let value = store.get_xattr(&raw).unwrap();
        let value = vault.keys().open_xattr_value(owner, &plain, &value).ok();
        attributes.push((plain, value));
    }
    Got::File(bytes, attributes, ended)
}

/// Whether `now` shows nothing but what was written.
fn is_right(was: &Got, now: &Got) -> bool {
    match (was, now) {
        (_, Got::Unopened) => true,
        (Got::File(was, attributes, _), Got::File(now, left, ended)) => {
            let all = *ended == Ended::AtTheEnd && was.len() == now.len();
            let attributes_right = left
                .iter()
                .all(|one| one.1.is_none() || attributes.contains(one));
            // What is shown of a file that lost its end must end with an error.
            attributes_right && was.starts_with(now) && (all || *ended == Ended::WithAnError)
        }
        (Got::Link(was), Got::Link(now)) => now.is_none() || now == was,
        (Got::Dir, Got::Dir) => true,
        (Got::File(..) | Got::Link(_) | Got::Dir | Got::Unopened, _) => false,
    }
}

/// Whether `now` is a sparse file in which data became holes, or holes were
/// added: what FORMAT.md says only the seal can tell.
fn has_new_holes(was: &Got, now: &Got) -> bool {
    match (was, now) {
        (Got::File(was, ..), Got::File(now, ..)) => {
            let pairs = was.iter().map(Some).chain(std::iter::repeat(None)).zip(now);
            pairs
                .into_iter()
                .all(|(was, now)| was == Some(now) || *now == 0)
        }
        (Got::File(..) | Got::Link(_) | Got::Dir | Got::Unopened, _) => false,
    }
}

/// Every entry of the backing, deepest last.
fn entries(path: &Path) -> Vec<PathBuf> {
    let mut found = Vec::new();
    let mut open = vec![path.to_owned()];
    while let Some(dir) = open.pop() {
        let mut inside: Vec<PathBuf> = fs::read_dir(dir)
            .unwrap()
            .map(|entry| entry.unwrap().path())
            .collect();
        inside.sort();
        open.extend(inside.iter().filter(|path| is_dir(path)).cloned());
        found.append(&mut inside);
    }
    found
}

fn is_dir(path: &Path) -> bool {
    path.symlink_metadata().unwrap().is_dir()
}

fn is_file(path: &Path) -> bool {
    path.symlink_metadata().unwrap().is_file()
}

struct Dice(TestRng);

impl Dice {
    fn below(&mut self, end: usize) -> usize {
        usize::try_from(self.0.next_u64() % u64::try_from(end.max(1)).unwrap()).unwrap()
    }

    fn pick<'a, T>(&mut self, from: &'a [T]) -> &'a T {
        &from[self.below(from.len())]
    }
}

/// What a damage does to what `check` can know.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Trace {
    /// It leaves one.
    Left,
    /// Something that was whole is gone: nothing tells that it was there.
    Gone,
}

/// Does one thing to the vault at `path`; tells what in words.
fn damage(path: &Path, dice: &mut Dice) -> (String, Trace) {
    let all = entries(path);
    let files: Vec<PathBuf> = all.iter().filter(|path| is_file(path)).cloned().collect();
    let target = dice.pick(&files).clone();
    let bytes = fs::read(&target).unwrap();
    let shown = target.strip_prefix(path).unwrap().display().to_string();
    let open = || OpenOptions::new().write(true).open(&target).unwrap();
    let offset = |at: usize| u64::try_from(at).unwrap();
    match dice.below(11) {
        0 | 1 if !bytes.is_empty() => {
            let at = dice.below(bytes.len());
            let bit = 1 << dice.below(8);
            open().write_all_at(&[bytes[at] ^ bit], offset(at)).unwrap();
            (format!("bit {bit} of byte {at} of {shown}"), Trace::Left)
        }
        2 => {
            let len = dice.below(bytes.len());
            open().set_len(offset(len)).unwrap();
            (format!("{shown} cut to {len}"), Trace::Left)
        }
        3 => {
            let slots = bytes.len().saturating_sub(128) / 4136;
            let len = 128 + 4136 * dice.below(slots + 1);
            open().set_len(offset(len)).unwrap();
            (format!("{shown} cut at a slot, to {len}"), Trace::Left)
        }
        4 => {
            // A piece of a file, or of another one, at another place.
            let source = dice.pick(&files).clone();
            let from = fs::read(&source).unwrap();
            let start = dice.below(from.len());
            let len = dice.below(from.len() - start + 1);
            let at = dice.below(bytes.len() + 1);
            // All of another file is another file, not a splice.
            if at == 0 && len >= bytes.len() {
                return (String::new(), Trace::Left);
            }
            open()
                .write_all_at(&from[start..start + len], offset(at))
                .unwrap();
            let from = source.strip_prefix(path).unwrap().display().to_string();
            let what = format!("{len} bytes at {start} of {from} to {at} of {shown}");
            (what, Trace::Left)
        }
        5 => {
            let slots = bytes.len().saturating_sub(128) / 4136;
            let (a, b) = (dice.below(slots), dice.below(slots));
            if slots < 2 || a == b {
                return (String::new(), Trace::Left);
            }
            let slot = |n: usize| &bytes[128 + n * 4136..][..4136];
            open()
                .write_all_at(slot(a), offset(128 + b * 4136))
                .unwrap();
            open()
                .write_all_at(slot(b), offset(128 + a * 4136))
                .unwrap();
            (
                format!("slots {a} and {b} of {shown} exchanged"),
                Trace::Left,
            )
        }
        6 => {
            let at = dice.below(bytes.len());
            let len = dice.below(bytes.len() - at + 1);
            open().write_all_at(&vec![0; len], offset(at)).unwrap();
            (
                format!("{len} bytes of {shown} zeroed from {at}"),
                Trace::Left,
            )
        }
        7 => {
            fs::remove_file(&target).unwrap();
            (format!("{shown} deleted"), Trace::Gone)
        }
        8 => {
            // One character of a name.
            let entry = dice.pick(&all).clone();
            let old = entry.file_name().unwrap().to_str().unwrap().to_owned();
            let at = dice.below(old.len());
            let new = *dice.pick(b"ABCabc019-_=");
            let mut name = old.clone().into_bytes();
            name[at] = new;
            let to = entry.with_file_name(String::from_utf8(name).unwrap());
            if to.exists() {
                return (String::new(), Trace::Left);
            }
            fs::rename(&entry, &to).unwrap();
            (format!("{old} renamed to {}", to.display()), Trace::Gone)
        }
        9 => {
            let dirs: Vec<&PathBuf> = all.iter().filter(|path| is_dir(path)).collect();
            let entry = dice.pick(&all).clone();
            let to = dice.pick(&dirs).join(entry.file_name().unwrap());
            if to.exists() || to.starts_with(&entry) {
                return (String::new(), Trace::Left);
            }
            fs::rename(&entry, &to).unwrap();
            (
                format!("{} moved to {}", entry.display(), to.display()),
                Trace::Gone,
            )
        }
        _ => {
            let links = all.iter().find(|path| path.is_symlink()).cloned();
            let Some(link) = links else {
                return (String::new(), Trace::Left);
            };
            let mut old = fs::read_link(&link)
                .unwrap()
                .into_os_string()
                .into_string()
                .unwrap();
            let at = dice.below(old.len());
            let new = if old[at..].starts_with('A') { "B" } else { "A" };
            old.replace_range(at..=at, new);
            fs::remove_file(&link).unwrap();
            symlink(&old, &link).unwrap();
            (format!("character {at} of the link's target"), Trace::Left)
        }
    }
}

/// A copy with holes and attributes. Starting cp(1) for each case would take
/// longer than all else.
fn copy(from: &Path, to: &Path) {
    fs::create_dir(to).unwrap();
    let (source, target) = (
        DirFd::open_path(from).unwrap(),
        DirFd::open_path(to).unwrap(),
    );
    copy_attributes(&source.itself().unwrap(), &target.itself().unwrap());
    for entry in fs::read_dir(from).unwrap() {
        let old = entry.unwrap().path();
        let name = old.file_name().unwrap();
        let new = to.join(name);
        if is_dir(&old) {
            copy(&old, &new);
        } else if is_file(&old) {
            let bytes = fs::read(&old).unwrap();
            let file = fs::File::create(&new).unwrap();
            file.set_len(u64::try_from(bytes.len()).unwrap()).unwrap();
            for (number, block) in bytes.chunks(4096).enumerate() {
                if block.iter().any(|byte| *byte != 0) {
                    let at = u64::try_from(number * 4096).unwrap();
                    file.write_all_at(block, at).unwrap();
                }
            }
            let node = |dir: &DirFd| dir.node(name.as_encoded_bytes()).unwrap();
            copy_attributes(&node(&source), &node(&target));
        } else {
            symlink(fs::read_link(&old).unwrap(), new).unwrap();
        }
    }
}

fn copy_attributes(from: &NodeFd, to: &NodeFd) {
    for name in from.list_xattrs().unwrap() {
        let value = from.get_xattr(&name).unwrap();
        to.set_xattr(&name, &value, XattrMode::Any).unwrap();
    }
}

fn most_memory_kib() -> u64 {
    let status = fs::read_to_string("/proc/self/status").unwrap();
    let line = status
        .lines()
        .find(|line| line.starts_with("VmHWM:"))
        .unwrap();
    line.split_whitespace().nth(1).unwrap().parse().unwrap()
}

fn number(variable: &str, otherwise: u64) -> u64 {
    std::env::var(variable)
        .ok()
        .and_then(|n| n.parse().ok())
        .unwrap_or(otherwise)
}

/// How a case ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Outcome {
    /// The keys or the description of the vault were hit.
    DidNotUnlock,
    /// Every reader gets what was written.
    Unchanged,
    /// A reader gets less, and check names it.
    Named,
    /// Things that were whole are gone, which nothing can tell.
    WithoutTrace,
}

/// Damages a copy of the vault `good` at `path` and reads what is left.
fn case(seed: u64, good: &Path, path: &Path, expected: &BTreeMap<Vec<u8>, Got>) -> Outcome {
    copy(good, path);
    let mut bytes = [0; 32];
    bytes[..8].copy_from_slice(&seed.to_le_bytes());
    let mut dice = Dice(TestRng::from_seed(RngAlgorithm::ChaCha, &bytes));
    let times = 1 + dice.below(3);
    let done: Vec<(String, Trace)> = (0..times).map(|_| damage(path, &mut dice)).collect();
    let context = || format!("KEEPFS_DAMAGE_SEED={seed}: {done:#?}");
    let outcome = judge(path, expected, &done, &context);
    fs::remove_dir_all(path).unwrap();
    outcome
}

/// Whether a path is of, or below, what has something behind its cipher name
/// and is shown as a conflict copy.
fn is_copy(name: &[u8]) -> bool {
    name.windows(11).any(|part| part == b" [conflict ")
}

fn judge(
    path: &Path,
    expected: &BTreeMap<Vec<u8>, Got>,
    done: &[(String, Trace)],
    context: &dyn Fn() -> String,
) -> Outcome {
    let Some(vault) = unlock(path) else {
        return Outcome::DidNotUnlock;
    };
    let now = read_all(&vault);
    for (name, got) in &now {
        let shown = String::from_utf8_lossy(name);
        let Some(was) = expected.get(name) else {
            let known = expected.values().any(|was| is_right(was, got));
            assert!(is_copy(name) && known, "{shown} is new; {}", context());
            continue;
        };
        let only_seal_tells = name == b"/sparse" && has_new_holes(was, got);
        let right = is_right(was, got) || only_seal_tells;
        assert!(right, "{shown} reads wrong; {}", context());
    }
    let report = check(&vault, Depth::Full, &|_| {});
    let losses = report.findings.iter().map(|f| f.trouble.loss());
    let worst = losses.max().unwrap_or(Loss::Nothing);
    if now == *expected {
        Outcome::Unchanged
    } else if worst > Loss::Nothing {
        Outcome::Named
    } else {
        let gone = done.iter().any(|(_, trace)| *trace == Trace::Gone);
        assert!(gone, "check says nothing; {}", context());
        // Things are missing, and nothing else is different.
        let rest_is_right = now
            .iter()
            .all(|(name, got)| is_copy(name) || expected[name] == *got);
        assert!(rest_is_right, "check says nothing; {}", context());
        Outcome::WithoutTrace
    }
}

#[test]
fn no_damage_panics_or_yields_wrong_plaintext_and_check_names_what_changes() {
    let temp = tempfile::tempdir().unwrap();
    let good = temp.path().join("good");
    fill(&good);
    let expected = read_all(&unlock(&good).unwrap());
    assert_eq!(expected.len(), 17);
    let first = number("KEEPFS_DAMAGE_SEED", 0);
    let next = AtomicU64::new(first);
    let end = first + number("KEEPFS_DAMAGE_CASES", 1000);
    let work = |worker: usize| {
        let path = temp.path().join(format!("vault {worker}"));
        let seeds = std::iter::from_fn(|| {
            let seed = next.fetch_add(1, Ordering::Relaxed);
            (seed < end).then_some(seed)
        });
        seeds
            .map(|seed| case(seed, &good, &path, &expected))
            .collect::<Vec<Outcome>>()
    };
    let workers = thread::available_parallelism().map_or(1, NonZero::get);
    let outcomes: Vec<Outcome> = thread::scope(|scope| {
        let running: Vec<_> = (0..workers)
            .map(|worker| {
                scope.spawn({
                    let work = &work;
                    move || work(worker)
                })
            })
            .collect();
        running
            .into_iter()
            .flat_map(|worker| worker.join().unwrap())
            .collect()
    });
    let with = |wanted| {
        outcomes
            .iter()
            .filter(|outcome| **outcome == wanted)
            .count()
    };
    println!(
        "{} vaults: {} read as before, {} less and check named it, {} less without a trace, {} did not unlock",
        outcomes.len(),
        with(Outcome::Unchanged),
        with(Outcome::Named),
        with(Outcome::WithoutTrace),
        with(Outcome::DidNotUnlock),
    );
    assert!(most_memory_kib() < MOST_MEMORY_KIB);
    assert!(with(Outcome::Named) > 0);
}
