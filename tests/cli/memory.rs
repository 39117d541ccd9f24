//! What is left of secrets in the memory of a daemon, seen from outside as
//! root sees it: every readable page of `/proc/PID/mem` is searched.

use std::fs::{File, read, read_to_string, write};
use std::os::unix::fs::FileExt;

use argon2::{Algorithm, Argon2, Params, Version};
use chacha20poly1305::aead::{Aead, KeyInit};
use chacha20poly1305::{XChaCha20Poly1305, XNonce};
use hkdf::Hkdf;
use sha2::{Digest, Sha256};

use crate::harness::*;

/// Nowhere else in the program or its tests.
const PHRASE: &str = "marmalade 93 thicket 17 cobalt";

/// Secrets by name.
type Secrets = Vec<(&'static str, Vec<u8>)>;

/// One line of `/proc/PID/smaps` and what belongs to it.
struct Region {
    start: u64,
    end: u64,
    flags: String,
}

fn regions(pid: u32) -> Vec<Region> {
    let mut regions: Vec<Region> = Vec::new();
    for line in read_to_string(format!("/proc/{pid}/smaps"))
        .unwrap()
        .lines()
    {
        let first = line.split_whitespace().next().unwrap();
        if let Some((start, end)) = first.split_once('-') {
            let number = |digits| u64::from_str_radix(digits, 16);
            if let (Ok(start), Ok(end)) = (number(start), number(end)) {
                let flags = String::new();
                regions.push(Region { start, end, flags });
            }
        } else if let Some(flags) = line.strip_prefix("VmFlags:") {
            regions.last_mut().unwrap().flags = flags.to_owned();
        }
    }
    assert!(regions.len() > 10);
    regions
}

/// Where `secret` stands, as the flags of each place's region.
fn find(pid: u32, secrets: &Secrets) -> Vec<(&'static str, String)> {
    let memory = File::open(format!("/proc/{pid}/mem")).unwrap();
    let mut begins = [false; 256];
    for (_, secret) in secrets {
        begins[usize::from(secret[0])] = true;
    }
    let mut found = Vec::new();
    let mut searched = 0;
    for region in regions(pid) {
        let mut bytes = vec![0; usize::try_from(region.end - region.start).unwrap()];
        // Some regions cannot be read, like the kernel's own.
        if memory.read_exact_at(&mut bytes, region.start).is_err() {
            continue;
        }
        searched += bytes.len();
        for at in 0..bytes.len() {
            if !begins[usize::from(bytes[at])] {
                continue;
            }
            let starting = secrets.iter().filter(|(_, s)| bytes[at..].starts_with(s));
            found.extend(starting.map(|(name, _)| (*name, region.flags.clone())));
        }
    }
    assert!(searched > 1 << 20, "{searched} bytes were searched");
    found
}

/// `HKDF-SHA-256`, as docs/FORMAT.md has it.
fn expand(salt: &[u8], ikm: &[u8], info: &[u8], len: usize) -> Vec<u8> {
    let mut out = vec![0; len];
    Hkdf::<Sha256>::new(Some(salt), ikm)
        .expand(info, &mut out)
        .unwrap();
    out
}

/// Unlocks the vault by the document alone. The secrets on the way come first,
/// then those that a daemon needs.
fn secrets(place: &Place) -> (Secrets, Secrets) {
    let vault = read(place.vault().join("keepfs.vault")).unwrap();
    let slot = read(place.slot()).unwrap();
    let salt = &slot[48..80];
    let mut hash = vec![0; 32];
    let params = Params::new(64 * 1024, 3, 4, Some(32)).unwrap();
    Argon2::new(Algorithm::Argon2id, Version::V0x13, params)
        .hash_password_into(PHRASE.as_bytes(), salt, &mut hash)
        .unwrap();
    let info = [
        &b"keepfs v1 slot"[..],
        &Sha256::digest(&slot[..100]),
        &Sha256::digest(&vault[..32]),
    ];
    let both = expand(salt, &hash, &info.concat(), 64);
    assert_eq!(both[32..], slot[100..132], "the commitment");
    let cipher = XChaCha20Poly1305::new_from_slice(&both[..32]).unwrap();
    let nonce = XNonce::try_from(&slot[132..156]).unwrap();
    let master = cipher.decrypt(&nonce, &slot[156..204]).unwrap();
    let key = |label: &'static str, len| {
        let info = format!("keepfs v1 {label}");
        (label, expand(&vault[16..32], &master, info.as_bytes(), len))
    };
    let kept = vec![
        key("content", 32),
        key("names", 64),
        key("pins", 64),
        key("dirs", 32),
        key("links", 32),
        key("xattr-names", 64),
        key("xattr-values", 32),
    ];
    let passing = vec![
        ("passphrase", PHRASE.as_bytes().to_vec()),
        ("Argon2id output", hash),
        ("key of the slot", both[..32].to_vec()),
        ("master key", master),
    ];
    (passing, kept)
}

#[test]
fn neither_passphrase_nor_master_key_stay_in_memory_and_the_others_are_locked() {
    if !is_root() {
        eprintln!("passed over: only root can look into a process that forbids it");
        return;
    }
    let place = Place::bare();
    run(
        &mut place.command(CHEAP_INIT),
        format!("{PHRASE}\n").as_bytes(),
    )
    .done();
    let mounted = run(
        &mut place.command(&["mount", "v", "m"]),
        format!("{PHRASE}\n").as_bytes(),
    );
    mounted.done();
    let daemon = place.daemon();
    let (passing, kept) = secrets(&place);
    for work in ["right after unlocking", "after work"] {
        if work == "after work" {
            for number in 0..100 {
                let file = place.point().join(format!("file {number}"));
                write(&file, vec![7; 10_000]).unwrap();
                assert_eq!(read(&file).unwrap().len(), 10_000);
            }
        }
        let left = find(daemon, &passing);
        assert!(left.is_empty(), "{work}: {left:?}");
        let found = find(daemon, &kept);
        for (name, _) in &kept {
            let places: Vec<&String> = found
                .iter()
                .filter(|(found, _)| found == name)
                .map(|(_, flags)| flags)
                .collect();
            assert!(!places.is_empty(), "{work}: the search finds nothing");
            for flags in places {
                let has = |flag| flags.split_whitespace().any(|found| found == flag);
                assert!(has("lo") && has("dd"), "{work}: {name} in {flags}");
            }
        }
    }
    place.run(&["unmount", "m"]).done();
}
