//! Runs tests/vectors, made by an encoder that shares no code with this crate
//! (scripts/vectors.py), through the public interface of the codec.
//!
//! A case is one file of `key: value` lines: `kind` names the decoder, `expect`
//! is `ok` or the check that must fail. Everything is decoded; what the format
//! makes deterministic is encoded too. The vaults' keys come out of the slots in
//! tests/vectors/keys, as no other way leads to them.
#![allow(
    clippy::unwrap_used,
    reason = "a vector that does not parse is a failed test"
)]

#[path = "vectors_run/case.rs"]
mod case;
#[path = "vectors_run/journal.rs"]
mod journal;
#[path = "vectors_run/refusal.rs"]
mod refusal;

use std::path::Path;

use keepfs::codec::batch::{self, DamageKind, Holes, SealSum, Tail, Workers};
use keepfs::codec::conflict::{self, CopyTag};
use keepfs::codec::entry::{self, ConflictBase, LongName, RawEntry, ShortName};
use keepfs::codec::geometry::Geometry;
use keepfs::codec::header::{self, Header, HeaderError, OpenFlag, SparseFlag};
use keepfs::codec::kdf::{KdfCaps, Passphrase};
use keepfs::codec::keys::{FileKeys, KeyTree};
use keepfs::codec::link::{self, LinkError};
use keepfs::codec::names::{PinError, PinFile};
use keepfs::codec::recovery::{RecoveryCode, Share, Typed};
use keepfs::codec::vault::VaultFile;
use keepfs::codec::vault::credential::{Credential, KeyFile, SlotKind};
use keepfs::codec::vault::slot::Slot;
use keepfs::codec::xattr::XattrOwner;
use keepfs::name::{PlainName, RawName};
use keepfs::types::{ChunkNo, CipherLen, DirId, FileId, PlainLen};
use sha2::{Digest, Sha256};

use case::{Case, RAM_KIB, Refusal, open_vault_of, run, same, unhex};
use refusal::{
    combine_refusal, header_refusal, name_refusal, named_group, recovery_refusal, slot_refusal,
    vault_refusal, xattr_refusal,
};

// ------------------------------------------------------ sections 3, 4 and 5

#[test]
fn key_trees() {
    run("keys", |case| {
        let keys = open_vault_of(case);
        same(
            "root",
            &keys.root_dir_id(),
            &DirId::new(case.array("K(root)")),
        )?;
        let fingerprint = keys.fingerprint();
        same(
            "fingerprint",
            fingerprint.bytes(),
            &case.array("K(fingerprint)"),
        )?;
        let lines: Vec<&str> = case.all("fingerprint_line").collect();
        same(
            "its display form",
            &fingerprint.to_string(),
            &lines.join("\n"),
        )
    });
}

#[test]
fn vault_files() {
    run("vault", |case| {
        let bytes = case.bytes("vault");
        let Some(vault) = case.judge(VaultFile::parse(&bytes).map_err(vault_refusal))? else {
            return Ok(());
        };
        same(
            "vault_id",
            vault.vault_id().bytes(),
            &case.array("vault_id"),
        )?;
        same(
            "chunk_log2",
            &vault.geometry().log2(),
            &case.number("chunk_log2"),
        )?;
        same(
            "fingerprint",
            vault.fingerprint().bytes(),
            &case.array("fingerprint"),
        )?;
        same("encoding", &vault.encode().sealed().bytes(), &&*bytes)
    });
}

/// What the case offers; a case about parsing alone offers an empty code.
fn credential(case: &Case) -> Credential {
    let passphrase = |hex| Passphrase::from_bytes(unhex(hex)).unwrap();
    let key_file = |hex| KeyFile::from_bytes(unhex(hex)).unwrap();
    match (case.find("passphrase"), case.find("key_file")) {
        (Some(phrase), Some(file)) => {
            Credential::PassphraseAndKeyFile(passphrase(phrase), key_file(file))
        }
        (Some(phrase), None) => Credential::Passphrase(passphrase(phrase)),
        (None, Some(file)) => Credential::KeyFile(key_file(file)),
        (None, None) => {
            let code = case.find("recovery").map_or(vec![0; 32], unhex);
            Credential::Recovery(RecoveryCode::from_bytes(code.try_into().unwrap()))
        }
    }
}

#[test]
fn slots() {
    run("slot", |case| {
        let vault = VaultFile::parse(&case.bytes("vault")).unwrap();
        let ram_kib = case.find("ram_kib").map_or(RAM_KIB, |n| n.parse().unwrap());
        let opened = Slot::parse(&case.bytes("slot")).and_then(|slot| {
            let master = slot.unwrap(&vault, &credential(case), &KdfCaps { ram_kib })?;
            Ok((slot, master))
        });
        let Some((slot, master)) = case.judge(opened.map_err(|e| slot_refusal(&e)))? else {
            return Ok(());
        };
        same("slot_id", slot.id().bytes(), &case.array("slot_id"))?;
        let number = match slot.kind() {
            SlotKind::Passphrase => "1",
            SlotKind::KeyFile => "2",
            SlotKind::PassphraseAndKeyFile => "3",
            SlotKind::Recovery => "4",
        };
        same("kind", &number, &case.text("kind_number"))?;
        same("label", &slot.label().as_bytes(), &&*case.bytes("label"))?;
        let cost = slot
            .cost()
            .map(|cost| format!("{} {} {}", cost.memory_kib, cost.passes, cost.lanes));
        same("cost", &cost.as_deref(), &case.find("cost"))?;
        let keys = KeyTree::derive(vault.vault_id(), &master);
        same("fingerprint", &keys.fingerprint(), &vault.fingerprint())
    });
}

/// The letters that a person meant, as a program writes them.
fn canonical(text: &str) -> String {
    let letters = text
        .to_uppercase()
        .replace('O', "0")
        .replace(['I', 'L'], "1");
    letters
        .chars()
        .filter(|letter| letter.is_ascii_alphanumeric())
        .collect()
}

fn typed(hex: &str) -> String {
    String::from_utf8(unhex(hex)).unwrap()
}

#[test]
fn recovery_codes_and_shares() {
    run("recovery", |case| {
        let text = typed(case.text("text"));
        let parsed = match Typed::parse(&text) {
            Ok(Typed::Incomplete { .. }) => Err(Refusal(&["incomplete"])),
            Ok(whole) => Ok(whole),
            Err(error) => {
                let group = named_group(&error).map(|group| group.to_string());
                same("group", &group.as_deref(), &case.find("group"))?;
                Err(recovery_refusal(&error))
            }
        };
        let written = match case.judge(parsed)? {
            Some(Typed::Code(code)) => {
                let written = code.to_text();
                let secret = Credential::Recovery(code).to_pipe();
                same("code", &secret[1..].to_vec(), &case.bytes("code"))?;
                written
            }
            Some(Typed::Share(share)) => {
                same("threshold", &share.threshold(), &case.number("threshold"))?;
                same("number", &share.number(), &case.number("number"))?;
                share.to_text()
            }
            Some(Typed::Incomplete { .. }) | None => return Ok(()),
        };
        same("letters", &written.replace('-', ""), &canonical(&text))
    });
}

#[test]
fn sets_of_shares() {
    run("recovery-set", |case| {
        let shares: Vec<Share> = case
            .all("share")
            .map(|hex| match Typed::parse(&typed(hex)).unwrap() {
                Typed::Share(share) => share,
                Typed::Code(_) | Typed::Incomplete { .. } => panic!("{}: no share", case.path),
            })
            .collect();
        let combined = Share::combine(&shares).map_err(|error| combine_refusal(&error));
        let Some(code) = case.judge(combined)? else {
            return Ok(());
        };
        let secret = Credential::Recovery(code).to_pipe();
        same("code", &secret[1..].to_vec(), &case.bytes("code"))
    });
}

// ---------------------------------------------------------------- section 6

#[test]
fn geometries() {
    run("geometry", |case| {
        let g = case.geometry();
        let pair = |line: &str| {
            let (left, right) = line.split_once(' ').unwrap();
            (left.parse::<u64>().unwrap(), right.parse::<u64>().unwrap())
        };
        for (plain, cipher) in case.all("map").map(pair) {
            let (n, s) = (PlainLen::new(plain), CipherLen::new(cipher));
            same("st_size", &g.cipher_len(n), &Some(s))?;
            same("n", &g.plain_len(s).ok(), &Some(n))?;
            same("prefix of a legal length", &g.longest_legal_prefix(s), &n)?;
        }
        for (cipher, prefix) in case.all("illegal").map(pair) {
            let s = CipherLen::new(cipher);
            if g.plain_len(s).is_ok() {
                return Err(format!("{cipher} passes for a legal length"));
            }
            same("prefix", &g.longest_legal_prefix(s), &PlainLen::new(prefix))?;
        }
        let top = case.number("max_plain_len");
        same("largest n", &g.max_plain_len(), &PlainLen::new(top))?;
        same("beyond it", &g.cipher_len(PlainLen::new(top + 1)), &None)
    });
}

/// A sum shows its bytes only when it is printed.
fn same_seal(got: SealSum, want: [u8; 16]) -> Result<(), String> {
    same("seal", &format!("{got:?}"), &format!("SealSum({want:?})"))
}

#[test]
fn headers() {
    run("header", |case| {
        let bytes = case.bytes("header");
        let opened = header::claimed_file_id(&bytes).and_then(|_| {
            let whole = bytes.first_chunk().ok_or(HeaderError::TooShort)?;
            header::open_header(&case.file_keys(), whole)
        });
        let Some(header) = case.judge(opened.map_err(header_refusal))? else {
            return Ok(());
        };
        let yes_or_no = |yes| if yes { "yes" } else { "no" };
        let (open, sparse) = (
            yes_or_no(header.open == OpenFlag::Open),
            yes_or_no(header.sparse == SparseFlag::Sparse),
        );
        same("file_id", header.file_id.bytes(), &case.array("file_id"))?;
        same("OPEN", &open, &case.text("open"))?;
        same("SPARSE", &sparse, &case.text("sparse"))?;
        same("generation", &header.generation, &case.number("generation"))?;
        same("size", &header.size.get(), &case.number("size"))?;
        same_seal(header.seal, case.array("seal"))?;
        same(
            "birth_dir_id",
            header.birth_dir.bytes(),
            &case.array("birth_dir_id"),
        )?;
        same("holes", &header.holes, &case.number("holes"))
    });
}

/// Length of the plaintext of a run that is sound; of a run that is not, any
/// length will do.
fn plain_len_of(g: Geometry, cipher: &[u8]) -> usize {
    let rest = cipher.len() % g.slot_size();
    cipher.len() / g.slot_size() * g.chunk_size() + rest.saturating_sub(Geometry::SLOT_OVERHEAD)
}

fn same_plain(case: &Case, plain: &[u8]) -> Result<(), String> {
    same("length", &plain.len(), &case.number("plain_len"))?;
    let hash: [u8; 32] = Sha256::digest(plain).into();
    same(
        "SHA-256 of the plaintext",
        &hash,
        &case.array("plain_sha256"),
    )
}

fn open_slots_with(case: &Case, workers: Workers) -> Result<(), String> {
    let (keys, g, cipher) = (case.file_keys(), case.geometry(), case.bytes("cipher"));
    let first = ChunkNo::new(case.number("first"));
    let tail = match case.text("tail") {
        "inside" => Tail::Inside,
        "last" => Tail::Last,
        other => panic!("tail {other}"),
    };
    let holes = match case.text("holes") {
        "refused" => Holes::Refused,
        "allowed" => Holes::Allowed,
        other => panic!("holes {other}"),
    };
    let mut plain = vec![0xAA; plain_len_of(g, &cipher)];
    let opened = batch::open_slots(&keys, g, first, &cipher, tail, holes, workers, &mut plain);
    if let Err(damage) = opened {
        same("damaged chunk", &damage.chunk.get(), &case.number("chunk"))?;
    }
    let refusal = |kind| {
        Refusal(match kind {
            DamageKind::NotAuthentic => &["not-authentic"],
            DamageKind::UnexpectedHole => &["unexpected-hole"],
            DamageKind::WrongLength => &["wrong-length"],
        })
    };
    if case
        .judge(opened.map_err(|damage| refusal(damage.kind)))?
        .is_none()
    {
        return Ok(());
    }
    same_plain(case, &plain)?;
    let terms = batch::slot_terms(&keys, g, first, &cipher, tail).unwrap();
    same("holes", &terms.holes, &case.number("hole_count"))?;
    same_seal(terms.seal, case.array("seal"))
}

#[test]
fn runs_of_slots() {
    run("slots", |case| {
        open_slots_with(case, Workers::One)?;
        open_slots_with(case, Workers::Rayon).map_err(|fault| format!("with rayon: {fault}"))
    });
}

/// What a reader of a whole file ends with; FORMAT.md section 6.5.
enum FileEnd {
    Read {
        plain: Vec<u8>,
        state: &'static str,
    },
    Refused {
        layer: &'static str,
        chunk: Option<u64>,
    },
}

/// A strict reader: state, then contents, then seal.
fn read_file(case: &Case, file: &[u8]) -> FileEnd {
    let refused = |layer| FileEnd::Refused { layer, chunk: None };
    let (keys, g) = (case.keys(), case.geometry());
    if file.len() < Geometry::EMPTY_FILE_LEN {
        return refused("too-short");
    }
    let (head, slots) = file
        .split_first_chunk::<{ Geometry::HEADER_LEN }>()
        .unwrap();
    let opened = header::claimed_file_id(head).and_then(|id| {
        let keys = keys.file_keys(id);
        let header = header::open_header(&keys, head)?;
        Ok((keys, header))
    });
    let Ok((keys, header)) = opened else {
        return refused("header-not-authentic");
    };
    let length = CipherLen::new(u64::try_from(file.len()).unwrap());
    let sealed_length = g.cipher_len(header.size).unwrap();
    let state = match header.open {
        OpenFlag::Closed if length < sealed_length => return refused("cut"),
        OpenFlag::Closed if length == sealed_length => "ok",
        OpenFlag::Closed | OpenFlag::Open => "unsealed",
    };
    let slots_of = |size| {
        let len = g.cipher_len(size).unwrap();
        &slots[..usize::try_from(len.get()).unwrap() - Geometry::HEADER_LEN]
    };
    let is_longer = header.open == OpenFlag::Closed && length > sealed_length;
    if is_longer && ends_with(&keys, g, slots_of(header.size)) {
        return read_slots(&keys, g, &header, slots_of(header.size), state);
    }
    let shown = g.longest_legal_prefix(length);
    read_slots(&keys, g, &header, slots_of(shown), state)
}

/// Whether the last of these slots is a last one.
fn ends_with(keys: &FileKeys, g: Geometry, slots: &[u8]) -> bool {
    let count = (slots.len() - 1) / g.slot_size();
    let slot = &slots[count * g.slot_size()..];
    let first = ChunkNo::new(u64::try_from(count).unwrap());
    let (tail, holes, one) = (Tail::Last, Holes::Refused, Workers::One);
    let mut plain = vec![0; slot.len() - Geometry::SLOT_OVERHEAD];
    batch::open_slots(keys, g, first, slot, tail, holes, one, &mut plain).is_ok()
}

fn read_slots(
    keys: &FileKeys,
    g: Geometry,
    header: &Header,
    slots: &[u8],
    state: &'static str,
) -> FileEnd {
    let holes = match header.sparse {
        SparseFlag::Sparse => Holes::Allowed,
        SparseFlag::Dense => Holes::Refused,
    };
    let (first, tail, workers) = (ChunkNo::new(0), Tail::Last, Workers::One);
    let mut plain = vec![0; plain_len_of(g, slots)];
    if let Err(damage) = batch::open_slots(keys, g, first, slots, tail, holes, workers, &mut plain)
    {
        let layer = match damage.kind {
            DamageKind::NotAuthentic => "chunk-not-authentic",
            DamageKind::UnexpectedHole => "unexpected-hole",
            DamageKind::WrongLength => "chunk-wrong-length",
        };
        let chunk = Some(damage.chunk.get());
        return FileEnd::Refused { layer, chunk };
    }
    let terms = batch::slot_terms(keys, g, first, slots, tail).unwrap();
    let refused = |layer| FileEnd::Refused { layer, chunk: None };
    match state {
        "ok" if terms.seal != header.seal => refused("seal-mismatch"),
        "ok" if terms.holes != header.holes => refused("hole-count-mismatch"),
        state => FileEnd::Read { plain, state },
    }
}

#[test]
fn files() {
    run("file", |case| match read_file(case, &case.bytes("file")) {
        FileEnd::Read { plain, state } => {
            same("outcome", &state, &case.text("expect"))?;
            same_plain(case, &plain)
        }
        FileEnd::Refused { layer, chunk } => {
            same("outcome", &layer, &case.text("expect"))?;
            let wanted = case.find("chunk").map(|n| n.parse().unwrap());
            same("damaged chunk", &chunk, &wanted)
        }
    });
}

// --------------------------------------------------- sections 7, 8, 9 and 10

#[test]
fn names() {
    run("name", |case| {
        let (keys, dir) = (case.keys(), DirId::new(case.array("dir_id")));
        let entry = case.text("entry");
        let side = case.find("side").map(unhex);
        let opened = match &side {
            None => ShortName::parse(entry.as_bytes())
                .ok_or(Refusal(&["not-a-name"]))
                .and_then(|short| keys.open_name(dir, &short).map_err(name_refusal)),
            Some(side) => LongName::parse(entry.as_bytes())
                .ok_or(Refusal(&["not-a-name"]))
                .and_then(|long| keys.open_long_name(dir, &long, side).map_err(name_refusal)),
        };
        let Some(name) = case.judge(opened)? else {
            return Ok(());
        };
        let plain = PlainName::new(&case.bytes("plain")).unwrap();
        same("plain name", &name.bytes(), &plain.bytes())?;
        let encoded = keys.cipher_name(dir, &plain);
        same("entry", &encoded.entry(), &entry)?;
        let made = encoded.side().map(|side| (side.name, side.bytes.bytes()));
        let side_name = format!("{entry}=");
        same(
            "side file",
            &made,
            &side.as_deref().map(|side| (&*side_name, side)),
        )
    });
}

#[test]
fn places() {
    run("place", |case| {
        let parent = DirId::new(case.array("parent"));
        let name = PlainName::new(&case.bytes("name")).unwrap();
        let place = case.keys().place(parent, &name);
        same("place", &place, &DirId::new(case.array("place")))
    });
}

#[test]
fn pins() {
    run("pin", |case| {
        let (keys, place) = (case.keys(), DirId::new(case.array("place")));
        let pin = case.bytes("pin");
        let opened = keys.open_pin(place, &pin).map_err(|error| {
            Refusal(match error {
                PinError::BadLength { .. } => &["bad-length"],
                PinError::Ambiguous => &["ambiguous"],
            })
        });
        let opened = opened.and_then(|id| id.ok_or(Refusal(&["none"])));
        let Some(id) = case.judge(opened)? else {
            return Ok(());
        };
        same("dir_id", &id, &DirId::new(case.array("dir_id")))?;
        let made = PinFile::new(None, keys.seal_pin(place, id));
        let at = case.number::<usize>("record") * 32;
        same("record", &made.sealed().bytes(), &&pin[at..at + 32])
    });
}

#[test]
fn links() {
    run("link", |case| {
        let text = case.bytes("text");
        let opened = case.keys().open_target(&text).map_err(|error| {
            Refusal(match error {
                LinkError::Malformed => &["bad-text", "too-short"],
                LinkError::NotAuthentic => &["not-authentic"],
                LinkError::NotAPath => &["not-a-path"],
            })
        });
        let Some(target) = case.judge(opened)? else {
            return Ok(());
        };
        same("target", &target, &case.bytes("target"))?;
        let length = link::target_plain_len(u64::try_from(text.len()).unwrap());
        same(
            "its length by stat",
            &length,
            &u64::try_from(target.len()).ok(),
        )
    });
}

fn owner(case: &Case) -> XattrOwner {
    match case.text("owner") {
        "file" => XattrOwner::File(FileId::new(case.array("id"))),
        "dir" => XattrOwner::Dir(DirId::new(case.array("id"))),
        other => panic!("owner {other}"),
    }
}

#[test]
fn xattr_names() {
    run("xattr-name", |case| {
        let (keys, owner, raw) = (case.keys(), owner(case), case.bytes("raw"));
        let opened = keys.open_xattr_name(owner, &raw);
        let Some(name) = case.judge(opened.map_err(|e| xattr_refusal(&e)))? else {
            return Ok(());
        };
        same("name", &name, &case.bytes("name"))?;
        let made = keys.seal_xattr_name(owner, &name).unwrap();
        same("name on the backing", &made.as_bytes(), &&*raw)
    });
}

#[test]
fn xattr_values() {
    run("xattr-value", |case| {
        let (owner, name) = (owner(case), case.bytes("name"));
        let opened = case
            .keys()
            .open_xattr_value(owner, &name, &case.bytes("raw"));
        match case.judge(opened.map_err(|e| xattr_refusal(&e)))? {
            Some(value) => same("value", &value, &case.bytes("value")),
            None => Ok(()),
        }
    });
}

// --------------------------------------------------------------- section 12

#[test]
fn entries() {
    run("entry", |case| {
        let raw = RawName::new(&case.bytes("raw"));
        let class = match entry::classify(&raw) {
            RawEntry::Short(_) => "short",
            RawEntry::Long(_) => "long",
            RawEntry::SideFile(_) => "side-file",
            RawEntry::Internal => "internal",
            RawEntry::ClientTemp => "temporary",
            RawEntry::Other => "other",
        };
        same("class", &class, &case.text("class"))?;
        let mut bases = Vec::new();
        for (base, suffix) in entry::conflict_bases(&raw) {
            let (form, run) = match &base {
                ConflictBase::Short(short) => ("short", short.entry()),
                ConflictBase::Long(long) => ("long", long.entry()),
            };
            same(
                "run and suffix",
                &[run.as_bytes(), suffix].concat().as_slice(),
                &raw.bytes(),
            )?;
            bases.push(format!("{form} {}", run.len()));
        }
        same(
            "bases",
            &bases,
            &case.all("base").map(str::to_owned).collect(),
        )
    });
}

#[test]
fn copies() {
    run("copy", |case| {
        let of = PlainName::new(&case.bytes("of")).expect("a name");
        let entry = RawName::new(&case.bytes("entry"));
        let shown = conflict::shown_name(&of, &entry, &case.bytes("suffix"));
        same("shown", &shown.bytes(), &case.bytes("shown").as_slice())?;
        let tag = CopyTag::of(&entry);
        let found = CopyTag::in_name(&shown).any(|found| found == tag);
        same("tag found in the shown name", &found, &true)
    });
}

// ------------------------------------------------------------------ the set

#[test]
fn every_kind_has_its_test() {
    let dir = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/vectors");
    let mut kinds: Vec<String> = std::fs::read_dir(dir)
        .unwrap()
        .map(|item| item.unwrap().file_name().into_string().unwrap())
        .collect();
    kinds.sort();
    let tested = [
        "copy",
        "entry",
        "file",
        "frame",
        "geometry",
        "header",
        "journal",
        "keys",
        "link",
        "name",
        "pin",
        "place",
        "recovery",
        "recovery-set",
        "slot",
        "slots",
        "vault",
        "xattr-name",
        "xattr-value",
    ];
    assert_eq!(kinds, tested);
}
