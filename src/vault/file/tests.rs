//! * here: the life of a file, and what the others share
//! * `standing`: sealed, unsealed, damaged
//! * `tamper`: what the provider may try
//! * `journal`: overwrites that a kill at any moment leaves whole; `workload` has
//!   what is done to the files, here and in others
//! * `making`: new files that a kill tears
//! * `copies`: what a sync client finds that does not know of the journal
//! * `elsewhere`: what another device did, and a journal from before
//! * `power`: power cuts that lose any part of what was not flushed
//! * `holes`: gaps, punching, space reserved
//! * `failing`: every change failing at every point
//! * `threads`: several at once

#![allow(clippy::unwrap_used, reason = "tests stop at the first surprise")]

mod copies;
mod elsewhere;
mod failing;
mod holes;
mod journal;
mod making;
mod power;
mod standing;
mod tamper;
mod threads;
mod workload;

use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::PathBuf;

use super::*;
use crate::codec::header;
use crate::name::PlainName;
use crate::sys::fs::mutation::Mutation;
use crate::sys::fs::mutation::faults::{Plan, Scope, arm};
use crate::types::{PlainOff, SetTime};
use crate::vault::tests::World;

/// Bytes in a chunk of the test vault.
const C: usize = 4096;
/// Bytes in a full slot.
const SLOT: usize = C + 40;

fn wide(n: usize) -> u64 {
    u64::try_from(n).unwrap()
}

fn off(n: usize) -> PlainOff {
    PlainOff::new(wide(n))
}

fn len(n: usize) -> PlainLen {
    PlainLen::new(wide(n))
}

/// Where slot `chunk` begins on the backing.
fn slot_at(chunk: usize) -> usize {
    128 + chunk * SLOT
}

/// `count` bytes without zeros, different for every seed and chunk.
fn pattern(seed: usize, count: usize) -> Vec<u8> {
    (0..count)
        .map(|i| u8::try_from((i * 7 + i / C * 13 + seed * 31) % 255 + 1).unwrap())
        .collect()
}

/// What a write does to plaintext.
fn overlay(plain: &mut Vec<u8>, at: usize, bytes: &[u8]) {
    if plain.len() < at + bytes.len() {
        plain.resize(at + bytes.len(), 0);
    }
    plain[at..at + bytes.len()].copy_from_slice(bytes);
}

fn named(text: &str) -> PlainName {
    PlainName::new(text.as_bytes()).unwrap()
}

/// Files in the root of a vault.
impl World {
    /// A vault whose overwrites go through a journal.
    fn journalled() -> Self {
        let world = Self::in_memory();
        world.vault.begin_journal();
        world
    }

    fn create(&self, name: &str) -> File {
        let root = self.vault.root_dir();
        let store = root.create_file(&self.vault, &named(name), 0o644).unwrap();
        File::create(&self.vault, store, root.id()).unwrap()
    }

    fn store(&self, name: &str, access: Access) -> StoreFile {
        let root = self.vault.root_dir();
        root.open_file(&self.vault, &named(name), access).unwrap()
    }

    fn try_open(&self, name: &str, access: Access) -> Result<(File, Standing), FileError> {
        File::open(&self.vault, self.store(name, access))
    }

    /// Opens for writing a file that must be sealed.
    fn sealed(&self, name: &str) -> File {
        let (file, standing) = self.try_open(name, Access::ReadWrite).unwrap();
        assert_eq!(standing, Standing::Sealed, "{name}");
        file
    }

    /// Opens for writing a file that must not be.
    fn unsealed(&self, name: &str) -> File {
        let (file, standing) = self.try_open(name, Access::ReadWrite).unwrap();
        assert_eq!(standing, Standing::Unsealed, "{name}");
        file
    }

    fn reset(&self, name: &str) -> File {
        let store = self.store(name, Access::ReadWrite);
        File::reset(&self.vault, store, self.vault.root_dir().id(), Vec::new()).unwrap()
    }

    /// A sealed file.
    fn with(&self, name: &str, plain: &[u8]) {
        let file = self.create(name);
        file.write(off(0), plain).unwrap();
        file.seal().unwrap();
    }

    fn backing(&self, name: &str) -> PathBuf {
        let root = self.vault.root_dir().id();
        let entry = self.vault.keys().cipher_name(root, &named(name));
        self.path.join(entry.entry())
    }

    fn bytes(&self, name: &str) -> Vec<u8> {
        fs::read(self.backing(name)).unwrap()
    }

    fn put(&self, name: &str, bytes: &[u8]) {
        fs::write(self.backing(name), bytes).unwrap();
    }

    fn header(&self, name: &str) -> Header {
        let bytes = self.bytes(name);
        let keys = self
            .vault
            .keys()
            .file_keys(header::claimed_file_id(&bytes).unwrap());
        header::open_header(&keys, bytes.first_chunk().unwrap()).unwrap()
    }

    /// The file is closed in the best of orders.
    fn assert_sealed(&self, name: &str, plain: &[u8]) {
        let file = self.sealed(name);
        assert!(content(&file) == plain, "{name}");
        file.verify_seal().unwrap();
        let header = self.header(name);
        assert_eq!(header.size, len(plain.len()));
        let sparse = header.sparse == SparseFlag::Sparse;
        assert_eq!(sparse, header.holes > 0, "{name}");
    }
}

fn read(file: &File, at: usize, count: usize) -> Result<Vec<u8>, FileError> {
    let mut out = vec![0xee; 3];
    file.read(off(at), count, &mut out)?;
    Ok(out)
}

fn content(file: &File) -> Vec<u8> {
    let size = usize::try_from(file.size().get()).unwrap();
    let plain = read(file, 0, size + 100).unwrap();
    assert_eq!(plain.len(), size);
    plain
}

fn chunk_damage(result: Result<Vec<u8>, FileError>) -> u64 {
    match result {
        Err(FileError::Damaged(Damage::Chunk(damage))) => damage.chunk.get(),
        Err(other) => panic!("not a damaged chunk: {other}"),
        Ok(bytes) => panic!("{} bytes were read", bytes.len()),
    }
}

#[test]
fn a_file_is_born_open_and_sealed_at_its_close() {
    let world = World::new();
    let file = world.create("f");
    assert_eq!(world.bytes("f").len(), 168);
    let born = world.header("f");
    assert_eq!((born.open, born.generation), (OpenFlag::Open, 1));
    assert_eq!(born.birth_dir, world.vault.root_dir().id());
    assert!(file.unsealed_for().is_some());
    let plain = pattern(1, 2 * C + 5);
    file.write(off(0), &plain).unwrap();
    assert_eq!(world.header("f"), born);
    file.seal().unwrap();
    assert!(file.unsealed_for().is_none());
    let sealed = world.header("f");
    assert_eq!((sealed.open, sealed.generation), (OpenFlag::Closed, 2));
    assert_eq!(sealed.file_id, born.file_id);
    world.assert_sealed("f", &plain);
}

#[test]
fn an_empty_file_is_sealed_too() {
    let world = World::new();
    world.create("f").seal().unwrap();
    world.assert_sealed("f", &[]);
    assert_eq!(world.bytes("f").len(), 168);
}

#[test]
fn a_seal_without_changes_writes_nothing() {
    let world = World::new();
    world.with("f", b"content");
    let before = world.bytes("f");
    let file = world.sealed("f");
    let armed = arm(Scope::Thread, Plan::kill_after(0));
    assert_eq!(content(&file), b"content");
    file.verify_seal().unwrap();
    file.seal().unwrap();
    assert_eq!(armed.seen(), 0);
    assert_eq!(world.bytes("f"), before);
}

/// Kills after so many changes; what is on the backing then.
fn after_so_many(world: &World, count: u64) -> (Vec<u8>, Vec<u8>) {
    let name = format!("f{count}");
    world.with(&name, &pattern(1, 3 * C));
    let before = world.bytes(&name);
    let file = world.sealed(&name);
    let _armed = arm(Scope::Thread, Plan::kill_after(count));
    file.write(off(C), &pattern(2, C)).unwrap_err();
    (before, world.bytes(&name))
}

#[test]
fn the_first_change_writes_open_before_any_slot() {
    let world = World::new();
    let (before, after) = after_so_many(&world, 0);
    assert_eq!(before, after);
    let (before, after) = after_so_many(&world, 1);
    assert_eq!(before[128..], after[128..]);
    let header = world.header("f1");
    assert_eq!((header.open, header.generation), (OpenFlag::Open, 3));
    let file = world.unsealed("f1");
    assert_eq!(content(&file), pattern(1, 3 * C));
}

#[test]
fn generations_grow_with_every_header() {
    let world = World::new();
    world.with("f", b"one");
    for round in 1..4 {
        let file = world.sealed("f");
        file.write(off(0), b"two").unwrap();
        assert_eq!(world.header("f").generation, 2 * round + 1);
        file.write(off(1), b"more").unwrap();
        file.seal().unwrap();
        assert_eq!(world.header("f").generation, 2 * round + 2);
    }
    drop(world.reset("f"));
    assert_eq!(world.header("f").generation, 9);
}

const EARLY: Time = Time {
    secs: 1_000_000,
    nanos: 17,
};

fn mtime(world: &World, name: &str) -> (i64, i64) {
    let stat = fs::metadata(world.backing(name)).unwrap();
    (stat.mtime(), stat.mtime_nsec())
}

#[test]
fn each_content_of_a_new_file_has_an_mtime_of_its_own_earlier_than_the_last() {
    for world in [World::new(), World::journalled()] {
        let file = world.create("f");
        let (secs, nanos) = mtime(&world, "f");
        file.born(Time {
            secs,
            nanos: u32::try_from(nanos).unwrap(),
        });
        let mut shown = Vec::new();
        for seed in 0..3 {
            file.write(off(0), &pattern(seed, C)).unwrap();
            shown.push(mtime(&world, "f"));
        }
        // Also if it is never closed.
        file.sync().unwrap();
        shown.push(mtime(&world, "f"));
        assert!(shown.is_sorted_by(|a, b| a < b), "{shown:?}");
        assert!(shown[2] < (secs, nanos) && (secs, nanos) <= shown[3]);
    }
}

#[test]
fn times_are_applied_after_the_seal() {
    let world = World::new();
    world.with("f", b"content");
    let file = world.sealed("f");
    let early = SetTime::At(EARLY);
    file.set_times(SetTime::Omit, early, MtimeOf::Choice)
        .unwrap();
    assert_eq!(mtime(&world, "f"), (1_000_000, 17));
    file.write(off(0), b"changed").unwrap();
    let (_, pending) = file.pending_times();
    assert!(pending != early && pending != SetTime::Omit);
    file.set_times(early, early, MtimeOf::Choice).unwrap();
    assert_eq!(file.pending_times(), (early, early));
    assert_ne!(mtime(&world, "f"), (1_000_000, 17));
    {
        let _armed = arm(Scope::Thread, Plan::fail(Mutation::SetTimes, libc::EIO));
        file.seal().unwrap_err();
        assert_eq!(world.header("f").open, OpenFlag::Closed);
        assert_eq!(file.pending_times(), (early, early));
    }
    file.seal().unwrap();
    assert_eq!(mtime(&world, "f"), (1_000_000, 17));
    assert_eq!(file.pending_times(), (SetTime::Omit, SetTime::Omit));
    world.assert_sealed("f", b"changed");
}

#[test]
fn a_file_of_somebody_else_is_sealed_although_its_times_cannot_be_set() {
    let world = World::new();
    let file = world.create("f");
    file.write(off(0), b"content").unwrap();
    let armed = arm(Scope::Thread, Plan::fail(Mutation::SetTimes, libc::EPERM));
    file.seal().unwrap();
    assert!(armed.fired());
    assert!(file.unsealed_for().is_none());
    world.assert_sealed("f", b"content");
}

#[test]
fn now_is_the_moment_of_the_call() {
    let world = World::new();
    let file = world.create("f");
    let before = clock_now();
    file.set_times(SetTime::Now, SetTime::Omit, MtimeOf::Choice)
        .unwrap();
    let after = clock_now();
    let (SetTime::At(atime), mtime) = file.pending_times() else {
        panic!("not resolved");
    };
    assert!(before <= atime && atime <= after);
    assert_eq!(mtime, SetTime::Omit);
}

#[test]
fn the_writable_descriptor_goes_and_comes() {
    let world = World::new();
    let file = world.create("f");
    assert!(file.is_writable());
    file.seal().unwrap();
    file.drop_writer().unwrap();
    assert!(!file.is_writable());
    assert_eq!(file.store().unwrap().access(), Access::Read);
    let refused = file.write(off(0), b"x").unwrap_err();
    assert!(matches!(refused, FileError::NotWritable), "{refused}");
    file.add_writer(world.store("f", Access::ReadWrite));
    file.write(off(0), b"x").unwrap();
    file.seal().unwrap();
    world.assert_sealed("f", b"x");
}

#[test]
fn sizes_around_every_boundary_are_written_grown_and_cut() {
    let world = World::new();
    let sizes = [0, 1, C - 1, C, C + 1, 2 * C - 1, 2 * C, 2 * C + 1, 5 * C];
    for from in sizes {
        for to in sizes {
            let name = format!("{from}-{to}");
            let mut plain = pattern(1, from);
            world.with(&name, &plain);
            let file = world.sealed(&name);
            file.set_len(len(to)).unwrap();
            plain.resize(to, 0);
            assert!(content(&file) == plain, "{name}");
            let more = pattern(2, C / 2 + 3);
            file.write(off(to / 2), &more).unwrap();
            overlay(&mut plain, to / 2, &more);
            assert!(content(&file) == plain, "{name}");
            file.seal().unwrap();
            drop(file);
            world.assert_sealed(&name, &plain);
        }
    }
}

#[test]
fn nothing_grows_beyond_the_largest_file() {
    let world = World::new();
    let file = world.create("f");
    let beyond = [Geometry::DEFAULT.max_plain_len().get(), u64::MAX];
    for at in beyond {
        let refused = file.write(PlainOff::new(at), b"x").unwrap_err();
        assert!(matches!(refused, FileError::TooBig), "{refused}");
    }
    file.set_len(PlainLen::new(u64::MAX)).unwrap_err();
    file.seal().unwrap();
    world.assert_sealed("f", &[]);
}
