//! Operations of the view, without the kernel and its round trips: what keepfs
//! itself takes for a request. The backing is in memory (`/dev/shm`) if there
//! is such a place.
#![allow(missing_docs, reason = "criterion's macros make undocumented items")]
#![allow(clippy::unwrap_used, reason = "a benchmark that fails may panic")]

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
/// Bytes of the file that is read and written at random.
const LARGE: u64 = 64 << 20;
const CHUNK: usize = 4096;
/// Bytes of the requests that stream.
const REQUEST: usize = 1 << 20;

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
        let backing = backing.unwrap();
        let key = || Credential::KeyFile(KeyFile::from_bytes(b"benchmark".to_vec()).unwrap());
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
        init(backing.path(), &options).unwrap();
        let caps = KdfCaps { ram_kib: 1 << 22 };
        let vault = LockedVault::open(backing.path()).unwrap();
        let vault = vault.unlock(&key(), &caps, SlotChoice::Any).unwrap();
        match overwrites {
            Overwrites::Journalled => vault.begin_journal(),
            Overwrites::InPlace => {}
        }
        let options = ViewOptions {
            mutability: Mutability::ReadWrite,
            strictness: Strictness::Lenient,
            freshness: Duration::from_secs(1),
        };
        Self {
            view: View::new(Arc::new(vault), options).unwrap(),
            _backing: backing,
        }
    }

    /// A new file with `len` bytes, closed.
    fn file(&self, name: &PlainName, len: u64) -> Ino {
        let (entry, opened) = self
            .view
            .create(&CALLER, Ino::ROOT, name, 0o644, READ_WRITE)
            .unwrap();
        let piece = vec![0x5a; REQUEST];
        let mut at = 0;
        while at < len {
            let rest = usize::try_from(len - at).unwrap().min(piece.len());
            self.write(opened.fh, at, &piece[..rest]);
            at += u64::try_from(rest).unwrap();
        }
        self.view.release(opened.fh);
        entry.attr.ino
    }

    fn write(&self, fh: Fh, at: u64, bytes: &[u8]) {
        self.view
            .write(fh, at, bytes, WriteCaller::KeepSuid)
            .unwrap();
    }
}

fn name(number: u64) -> PlainName {
    PlainName::new(format!("file{number}").as_bytes()).unwrap()
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
            let (entry, opened) = view
                .create(&CALLER, Ino::ROOT, &name, 0o644, READ_WRITE)
                .unwrap();
            mount.write(opened.fh, 0, &content);
            view.release(opened.fh);
            view.unlink(Ino::ROOT, &name).unwrap();
            view.forget(entry.attr.ino, 1);
        });
    });
    for number in 0..ENTRIES {
        let ino = mount.file(&name(number), u64::try_from(SMALL).unwrap());
        view.forget(ino, 1);
    }
    let mut next = (0..ENTRIES).cycle().map(name);
    group.bench_function("lookup", |b| {
        b.iter(|| {
            let entry = view.lookup(Ino::ROOT, &next.next().unwrap()).unwrap();
            view.forget(entry.attr.ino, 1);
        });
    });
    let ino = view.lookup(Ino::ROOT, &name(1)).unwrap().attr.ino;
    let mut out = Vec::new();
    group.bench_function("open-read-close", |b| {
        b.iter(|| {
            let opened = view.open(ino, READ, &CALLER).unwrap();
            view.read(opened.fh, 0, CHUNK, &mut out).unwrap();
            view.release(opened.fh);
        });
    });
    group.throughput(Throughput::Elements(ENTRIES));
    group.bench_function("list-with-attributes", |b| {
        b.iter(|| {
            let opened = view.opendir(Ino::ROOT).unwrap();
            let mut seen = Vec::new();
            let listed = view.readdirplus(opened.fh, 0, &mut |_, entry| {
                seen.extend(entry.map(|entry| entry.attr.ino));
                ControlFlow::Continue(())
            });
            listed.unwrap();
            view.releasedir(opened.fh);
            seen.into_iter().for_each(|ino| view.forget(ino, 1));
        });
    });
    group.finish();
}

fn one_large_file(c: &mut Criterion) {
    for (label, overwrites) in [
        ("in-place", Overwrites::InPlace),
        ("journalled", Overwrites::Journalled),
    ] {
        let mount = Mount::new(overwrites);
        let view = &mount.view;
        let ino = mount.file(&name(0), LARGE);
        let fh = view.open(ino, READ_WRITE, &CALLER).unwrap().fh;
        let mut group = c.benchmark_group(format!("large-file/{label}"));
        // Every chunk once, far from the one before.
        let chunks = LARGE / u64::try_from(CHUNK).unwrap();
        let mut next = (0..chunks)
            .cycle()
            .map(|i| i * 7919 % chunks * u64::try_from(CHUNK).unwrap());
        let mut out = Vec::new();
        group.throughput(Throughput::Elements(1));
        group.bench_function("read-4-KiB-at-random", |b| {
            b.iter(|| {
                view.read(fh, next.next().unwrap(), CHUNK, &mut out)
                    .unwrap()
            });
        });
        let content = vec![0xa5; REQUEST];
        group.bench_function("write-4-KiB-at-random", |b| {
            b.iter(|| mount.write(fh, next.next().unwrap(), &content[..CHUNK]));
        });
        group.throughput(Throughput::Bytes(u64::try_from(REQUEST).unwrap()));
        group.bench_function("read-1-MiB", |b| {
            b.iter(|| view.read(fh, 0, REQUEST, &mut out).unwrap());
        });
        group.bench_function("write-1-MiB", |b| {
            b.iter(|| mount.write(fh, 0, &content));
        });
        group.finish();
        view.release(fh);
        view.seal_all().unwrap();
    }
}

criterion_group!(benches, small_files, one_large_file);
criterion_main!(benches);
