//! Operations of the view, without the kernel and its round trips: what keepfs
//! itself takes for a request. The backing is in memory (`/dev/shm`) if there
//! is such a place.
#![allow(missing_docs, reason = "criterion's macros make undocumented items")]

use std::ops::ControlFlow;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use keepfs::codec::geometry::Geometry;
use keepfs::codec::kdf::{KdfCaps, KdfCost};
use keepfs::codec::vault::{Credential, KeyFile};
use keepfs::name::PlainName;
use keepfs::types::{Caller, Fh, Ino};
use keepfs::vault::init::{InitOptions, init};
use keepfs::vault::{LockedVault, SlotChoice};
use keepfs::view::{
    HandleAccess, Mutability, OpenHow, Strictness, Truncate, View, ViewOptions, WriteCaller,
};
use tempfile::TempDir;

const CALLER: Caller = Caller {
    uid: 0,
    gid: 0,
    umask: 0o022,
};
const READ: OpenHow = OpenHow {
    access: HandleAccess::Read,
    truncate: Truncate::Keep,
};
const READ_WRITE: OpenHow = OpenHow {
    access: HandleAccess::ReadWrite,
    truncate: Truncate::Keep,
};

/// Bytes of a small file.
const SMALL: usize = 1000;
/// Entries of the directory that is listed.
const ENTRIES: u64 = 1000;
const CHUNK: usize = 4096;
/// Bytes of the requests that stream.
const REQUEST: usize = 1 << 20;
/// Requests that fill the file that is read and written at random.
const LARGE: u64 = 64;
/// Chunks of that file.
const CHUNKS: u64 = LARGE << 8;

/// A view on a vault of its own.
struct Mount {
    view: View,
    _backing: TempDir,
}

#[derive(Clone, Copy)]
enum Overwrites {
    Journalled,
    InPlace,
}

impl Mount {
    fn new(overwrites: Overwrites) -> Self {
        let memory = Path::new("/dev/shm");
        let backing = if memory.is_dir() {
            tempfile::tempdir_in(memory)
        } else {
            tempfile::tempdir()
        };
        let backing = backing.expect("a directory can be made");
        let key = || {
            let bytes = b"benchmark".to_vec();
            Credential::KeyFile(KeyFile::from_bytes(bytes).expect("it is not empty"))
        };
        let options = InitOptions {
            geometry: Geometry::DEFAULT,
            cost: KdfCost {
                memory_kib: 64 * 1024,
                passes: 3,
                lanes: 4,
            },
            label: String::new(),
            credential: key(),
        };
        init(backing.path(), &options).expect("the directory is empty");
        let caps = KdfCaps { ram_kib: 1 << 22 };
        let vault = LockedVault::open(backing.path())
            .expect("a vault was made")
            .unlock(&key(), &caps, SlotChoice::Any)
            .expect("its own key opens it");
        match overwrites {
            Overwrites::Journalled => vault.begin_journal(),
            Overwrites::InPlace => {}
        }
        let options = ViewOptions {
            mutability: Mutability::ReadWrite,
            strictness: Strictness::Lenient,
            freshness: Duration::from_secs(1),
            followed: Duration::from_secs(1),
        };
        Self {
            view: View::new(Arc::new(vault), options).expect("the root can be read"),
            _backing: backing,
        }
    }

    /// A new file with these bytes so many times, closed.
    fn file(&self, name: &PlainName, bytes: &[u8], times: u64) -> Ino {
        let (entry, opened) = self
            .view
            .create(&CALLER, Ino::ROOT, name, 0o644, READ_WRITE)
            .expect("the name is new");
        let mut at = 0;
        for _ in 0..times {
            self.write(opened.fh, at, bytes);
            at += u64::try_from(bytes.len()).expect("usize has at most 64 bits");
        }
        self.view.release(opened.fh);
        entry.attr.ino
    }

    fn lookup(&self, name: &PlainName) -> Ino {
        let entry = self.view.lookup(Ino::ROOT, name);
        entry.expect("it was made").attr.ino
    }

    fn open(&self, ino: Ino, how: OpenHow) -> Fh {
        let opened = self.view.open(ino, how, &CALLER);
        opened.expect("it was made").fh
    }

    fn read(&self, fh: Fh, at: u64, len: usize, out: &mut Vec<u8>) {
        let read = self.view.read(fh, at, len, out);
        read.expect("it is whole");
    }

    fn write(&self, fh: Fh, at: u64, bytes: &[u8]) {
        let written = self.view.write(fh, at, bytes, WriteCaller::KeepSuid);
        written.expect("there is room");
    }
}

fn name(number: u64) -> PlainName {
    PlainName::new(format!("file{number}").as_bytes()).expect("a legal name")
}

/// So that each chunk comes once, far from the one before.
fn far_apart(turn: u64) -> u64 {
    (turn * 7919 % CHUNKS) << 12
}

fn small_files(c: &mut Criterion) {
    let mount = Mount::new(Overwrites::Journalled);
    let view = &mount.view;
    let mut group = c.benchmark_group("small-files");
    group.throughput(Throughput::Elements(1));
    let content = vec![0x5a; SMALL];
    let mut number = 0;
    group.bench_function("create-write-close-unlink", |b| {
        b.iter(|| {
            number += 1;
            let name = name(number);
            let ino = mount.file(&name, &content, 1);
            view.unlink(Ino::ROOT, &name).expect("it was made");
            view.forget(ino, 1);
        });
    });
    for number in 0..ENTRIES {
        let ino = mount.file(&name(number), &content, 1);
        view.forget(ino, 1);
    }
    let mut number = 0;
    group.bench_function("lookup", |b| {
        b.iter(|| {
            number += 1;
            let ino = mount.lookup(&name(number % ENTRIES));
            view.forget(ino, 1);
        });
    });
    let ino = mount.lookup(&name(1));
    let mut out = Vec::new();
    group.bench_function("open-read-close", |b| {
        b.iter(|| {
            let fh = mount.open(ino, READ);
            mount.read(fh, 0, CHUNK, &mut out);
            view.release(fh);
        });
    });
    group.throughput(Throughput::Elements(ENTRIES));
    group.bench_function("list-with-attributes", |b| {
        b.iter(|| {
            let fh = view.opendir(Ino::ROOT).expect("the root is there").fh;
            let mut seen = Vec::new();
            let listed = view.readdirplus(fh, 0, &mut |_, entry| {
                seen.extend(entry.map(|entry| entry.attr.ino));
                ControlFlow::Continue(())
            });
            listed.expect("the root can be read");
            view.releasedir(fh);
            seen.into_iter().for_each(|ino| view.forget(ino, 1));
        });
    });
    group.finish();
}

fn one_large_file(c: &mut Criterion) {
    let content = vec![0xa5; REQUEST];
    let mut out = Vec::new();
    for (label, overwrites) in [
        ("in-place", Overwrites::InPlace),
        ("journalled", Overwrites::Journalled),
    ] {
        let mount = Mount::new(overwrites);
        let ino = mount.file(&name(0), &content, LARGE);
        let fh = mount.open(ino, READ_WRITE);
        let mut group = c.benchmark_group(format!("large-file/{label}"));
        let mut turn = 0;
        group.throughput(Throughput::Elements(1));
        group.bench_function("read-4-KiB-at-random", |b| {
            b.iter(|| {
                turn += 1;
                mount.read(fh, far_apart(turn), CHUNK, &mut out);
            });
        });
        group.bench_function("write-4-KiB-at-random", |b| {
            b.iter(|| {
                turn += 1;
                mount.write(fh, far_apart(turn), &content[..CHUNK]);
            });
        });
        group.throughput(Throughput::Bytes(1 << 20));
        group.bench_function("read-1-MiB", |b| {
            b.iter(|| mount.read(fh, 0, REQUEST, &mut out));
        });
        group.bench_function("write-1-MiB", |b| {
            b.iter(|| mount.write(fh, 0, &content));
        });
        group.finish();
        mount.view.release(fh);
        mount.view.seal_all().expect("there is room");
    }
}

criterion_group!(benches, small_files, one_large_file);
criterion_main!(benches);
