//! A bounded run of every fuzz target: the seeds, and the same mutants of
//! them every time. `cargo fuzz run TARGET tests/fuzz_corpus/seeds/TARGET`
//! goes on from there.
#![allow(clippy::unwrap_used, reason = "a failed test may panic")]

#[path = "fuzz_corpus/bodies.rs"]
mod bodies;
#[path = "fuzz_corpus/seeds.rs"]
mod seeds;

use std::collections::BTreeMap;
use std::fs;
use std::path::PathBuf;

use bodies::Verdict;
use keepfs::codec::keys::KeyTree;

/// What a mutant of an accepted seed must be.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Mutants {
    /// All that counts is that nothing panics and the body's assertions hold:
    /// part of the input may vary freely.
    Anything,
    /// Refused, if they differ from every seed behind this many free bytes.
    RefusedBehind(usize),
}

fn seed_dir(target: &str) -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR"))
        .join("tests/fuzz_corpus/seeds")
        .join(target)
}

fn seeds_of(target: &str) -> BTreeMap<String, Vec<u8>> {
    fs::read_dir(seed_dir(target))
        .unwrap()
        .map(|entry| {
            let path = entry.unwrap().path();
            let name = path.file_name().unwrap().to_str().unwrap().to_owned();
            (name, fs::read(path).unwrap())
        })
        .collect()
}

/// Numbers that are the same in every run; Marsaglia's xorshift64.
struct Numbers(u64);

impl Numbers {
    fn below(&mut self, bound: usize) -> usize {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        usize::try_from(self.0 % u64::try_from(bound.max(1)).unwrap()).unwrap()
    }

    fn byte(&mut self) -> u8 {
        u8::try_from(self.below(256)).unwrap()
    }
}

fn mutant(numbers: &mut Numbers, seed: &[u8], other: &[u8]) -> Vec<u8> {
    let mut bytes = seed.to_vec();
    for _ in 0..=numbers.below(3) {
        let at = numbers.below(bytes.len());
        match numbers.below(7) {
            0..=2 if !bytes.is_empty() => bytes[at] ^= 1 << numbers.below(8),
            3 if !bytes.is_empty() => bytes[at] = numbers.byte(),
            4 => bytes.truncate(at),
            5 => bytes.insert(at, numbers.byte()),
            _ => {
                let from = numbers.below(other.len());
                let len = numbers.below(40).min(other.len() - from);
                bytes.splice(
                    at..bytes.len().min(at + len),
                    other[from..from + len].iter().copied(),
                );
            }
        }
    }
    bytes
}

fn run(target: &str, body: fn(&KeyTree, &[u8]) -> Verdict, per_seed: usize, mutants: Mutants) {
    let keys = bodies::keys();
    let seeds = seeds_of(target);
    let genuine = |name: &str| name.starts_with("ok-");
    assert!(seeds.keys().any(|name| genuine(name)), "no genuine seed");
    assert!(seeds.keys().any(|name| !genuine(name)), "no bad seed");
    for (name, seed) in &seeds {
        let accepted = body(&keys, seed) == Verdict::Accepted;
        assert_eq!(accepted, genuine(name), "{target}/{name}");
    }
    let all: Vec<&Vec<u8>> = seeds.values().collect();
    let mut numbers = Numbers(0x6b65_6570_6673_0001);
    for (name, seed) in &seeds {
        for round in 0..per_seed {
            let bytes = mutant(&mut numbers, seed, all[round % all.len()]);
            let verdict = body(&keys, &bytes);
            if let Mutants::RefusedBehind(free) = mutants {
                let same = |seed: &&Vec<u8>| seed.get(free..) == bytes.get(free..);
                if verdict == Verdict::Accepted && !all.iter().any(same) {
                    panic!("{target}: mutant {round} of {name} was accepted: {bytes:02x?}");
                }
            }
        }
    }
    for len in 0..300 {
        let noise: Vec<u8> = (0..len).map(|_| numbers.byte()).collect();
        body(&keys, &noise);
    }
}

#[test]
fn vault_files() {
    run("vault_file", bodies::vault_file, 10_000, Mutants::Anything);
}

#[test]
fn slot_files() {
    run("slot", bodies::slot, 10_000, Mutants::RefusedBehind(0));
}

#[test]
fn headers() {
    run("header", bodies::header, 10_000, Mutants::RefusedBehind(0));
}

#[test]
fn journals() {
    run(
        "journal",
        bodies::journal,
        10_000,
        Mutants::RefusedBehind(0),
    );
}

#[test]
fn names() {
    run("names", bodies::names, 5000, Mutants::Anything);
}

#[test]
fn pins() {
    run("pin", bodies::pin, 10_000, Mutants::Anything);
}

#[test]
fn links() {
    run("link", bodies::link, 10_000, Mutants::RefusedBehind(0));
}

#[test]
fn xattrs() {
    run("xattr", bodies::xattr, 10_000, Mutants::RefusedBehind(0));
}

#[test]
fn slots() {
    run("slots", bodies::slots, 1500, Mutants::RefusedBehind(1));
}

#[test]
fn recovery_texts() {
    run("recovery", bodies::recovery, 5000, Mutants::Anything);
}

#[test]
#[ignore = "replaces the seed corpus; for use after a change of the format, twice: \
            the first run makes the keys that the second compiles in"]
fn write_seeds() {
    let write = |target: &str, name: &str, bytes: &[u8]| {
        fs::create_dir_all(seed_dir(target)).unwrap();
        fs::write(seed_dir(target).join(name), bytes).unwrap();
    };
    if std::env::var_os("KEEPFS_NEW_SEED_KEYS").is_some() {
        let (vault, slot) = seeds::keys();
        write("keys", "vault", &vault);
        write("keys", "slot", &slot);
        return;
    }
    for (target, name, bytes) in seeds::all() {
        write(target, name, &bytes);
    }
}
