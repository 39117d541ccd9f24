//! Sealing and opening runs of slots, by chunk size, on one thread and on
//! all; and what a directory listing costs per name.
#![allow(missing_docs, reason = "criterion's macros make undocumented items")]

use std::hint::black_box;

use criterion::{BenchmarkId, Criterion, Throughput, criterion_group, criterion_main};
use keepfs::codec::batch::{Holes, SlotBuf, Tail, Workers, open_slots, seal_slots, slot_terms};
use keepfs::codec::entry::ShortName;
use keepfs::codec::geometry::Geometry;
use keepfs::codec::keys::KeyTree;
use keepfs::codec::vault::create_vault;
use keepfs::name::PlainName;
use keepfs::types::{ChunkNo, FileId};

/// One request of the kernel: 1 MiB.
const REQUEST: usize = 1 << 20;
const FIRST: ChunkNo = ChunkNo::new(0);

fn keys() -> KeyTree {
    let (master, vault) = create_vault(Geometry::DEFAULT).expect("the system has randomness");
    KeyTree::derive(vault.vault_id(), &master)
}

fn runs(c: &mut Criterion) {
    let keys = keys().file_keys(FileId::new([1; 16]));
    let plain = vec![0x5a; REQUEST];
    for log2 in [12, 16, 20] {
        let g = Geometry::from_log2(log2).expect("a legal chunk size");
        let mut slots = SlotBuf::default();
        let mut out = vec![0; REQUEST];
        for (name, workers) in [("one", Workers::One), ("rayon", Workers::Rayon)] {
            let mut group =
                c.benchmark_group(format!("{}-KiB-chunks/{name}", g.chunk_size() >> 10));
            group.throughput(Throughput::Bytes(1 << 20));
            group.bench_function("seal", |b| {
                b.iter(|| seal_slots(&keys, g, FIRST, &plain, Tail::Inside, workers, &mut slots));
            });
            let cipher = slots.sealed().bytes();
            let (tail, holes) = (Tail::Inside, Holes::Refused);
            group.bench_function("open", |b| {
                b.iter(|| open_slots(&keys, g, FIRST, cipher, tail, holes, workers, &mut out));
            });
            group.finish();
        }
        let cipher = slots.sealed().bytes();
        let mut group = c.benchmark_group(format!("{}-KiB-chunks", g.chunk_size() >> 10));
        group.throughput(Throughput::Bytes(1 << 20));
        group.bench_function("terms", |b| {
            b.iter(|| slot_terms(&keys, g, FIRST, cipher, Tail::Inside));
        });
        group.finish();
    }
}

fn names(c: &mut Criterion) {
    let keys = keys();
    let dir = keys.root_dir_id();
    let mut group = c.benchmark_group("names");
    for len in [8, 40, 127] {
        let name = PlainName::new(&vec![b'n'; len]).expect("a valid name");
        let cipher = keys.cipher_name(dir, &name);
        group.bench_with_input(BenchmarkId::new("seal", len), &name, |b, name| {
            b.iter(|| keys.cipher_name(dir, black_box(name)));
        });
        group.bench_with_input(BenchmarkId::new("open", len), cipher.entry(), |b, entry| {
            b.iter(|| {
                let entry = ShortName::parse(entry.as_bytes()).expect("a legal entry");
                keys.open_name(dir, &entry)
            });
        });
    }
    group.bench_function("file-keys", |b| {
        b.iter(|| keys.file_keys(black_box(FileId::new([1; 16]))));
    });
    group.finish();
}

criterion_group!(benches, runs, names);
criterion_main!(benches);
