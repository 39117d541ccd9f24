//! What is fuzzed: one function per parser of the format, used by the targets
//! under `fuzz/` and by `tests/fuzz_corpus.rs`. Each takes any bytes, asserts
//! what must hold for all of them, and says whether they were accepted.

use keepfs::codec::batch::{Holes, SlotTerms, Tail, Workers, open_slots, slot_terms};
use keepfs::codec::entry::{ConflictBase, RawEntry, classify, conflict_bases, slot_of_file};
use keepfs::codec::geometry::Geometry;
use keepfs::codec::header::{claimed_file_id, open_header, seal_header};
use keepfs::codec::journal::{FrameHead, JournalHead};
use keepfs::codec::kdf::KdfCaps;
use keepfs::codec::keys::KeyTree;
use keepfs::codec::link::target_plain_len;
use keepfs::codec::names::{PIN_RECORD_LEN, PinFile};
use keepfs::codec::recovery::Typed;
use keepfs::codec::vault::{Credential, KeyFile, Slot, SlotKind, VaultFile};
use keepfs::codec::xattr::XattrOwner;
use keepfs::name::{PlainName, RawName};
use keepfs::types::{ChunkNo, FileId};

/// What became of an input.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Verdict {
    /// It is what the format allows and, where it is sealed, authentic.
    Accepted,
    /// It is not.
    Refused,
}
use Verdict::{Accepted, Refused};

/// The vault whose keys everything is tried with, and its one slot.
const VAULT: &[u8] = include_bytes!("seeds/keys/vault");
const SLOT: &[u8] = include_bytes!("seeds/keys/slot");

/// Opens the slot of the corpus.
pub(crate) const KEY_FILE: &[u8] = b"key file of the fuzz corpus";
/// Owner of the attributes of the corpus.
pub(crate) const OWNER: XattrOwner = XattrOwner::File(FileId::new([0x11; 16]));

/// The credential that opens the slot of the corpus.
pub(crate) fn credential() -> Credential {
    Credential::KeyFile(KeyFile::from_bytes(KEY_FILE.to_vec()).expect("it is not empty"))
}

/// The vault of the corpus.
pub(crate) fn vault() -> VaultFile {
    VaultFile::parse(VAULT).expect("the corpus has a valid vault file")
}

/// The keys of the vault of the corpus.
pub(crate) fn keys() -> KeyTree {
    let slot = Slot::parse(SLOT).expect("the corpus has a valid slot");
    let master = slot
        .unwrap(&vault(), &credential(), &KdfCaps { ram_kib: 0 })
        .expect("the slot belongs to the vault");
    KeyTree::derive(vault().vault_id(), &master)
}

/// `keepfs.vault`: what parses has exactly one form.
pub(crate) fn vault_file(_: &KeyTree, bytes: &[u8]) -> Verdict {
    let Ok(vault) = VaultFile::parse(bytes) else {
        return Refused;
    };
    assert_eq!(vault.encode().sealed().bytes(), bytes);
    Accepted
}

/// A slot file: only the genuine one opens. Kinds with a passphrase are
/// parsed and not paid for.
pub(crate) fn slot(_: &KeyTree, bytes: &[u8]) -> Verdict {
    let Ok(slot) = Slot::parse(bytes) else {
        return Refused;
    };
    assert!(bytes.len() <= Slot::MAX_LEN);
    assert!(slot.label().len() <= Slot::MAX_LABEL_LEN);
    assert_eq!(slot.cost().is_some(), slot.kind().takes_passphrase());
    let opened = match slot.kind() {
        SlotKind::KeyFile => slot.unwrap(&vault(), &credential(), &KdfCaps { ram_kib: 0 }),
        SlotKind::Passphrase | SlotKind::PassphraseAndKeyFile | SlotKind::Recovery => {
            return Refused;
        }
    };
    if opened.is_err() {
        return Refused;
    }
    assert_eq!(bytes, SLOT);
    Accepted
}

/// The first bytes of a file: an accepted header survives being sealed again.
pub(crate) fn header(keys: &KeyTree, bytes: &[u8]) -> Verdict {
    let claimed = claimed_file_id(bytes);
    let (Ok(image), Ok(file_id)) = (bytes.try_into(), claimed) else {
        return Refused;
    };
    let file_keys = keys.file_keys(file_id);
    let Ok(header) = open_header(&file_keys, image) else {
        return Refused;
    };
    assert_eq!(header.file_id, file_id);
    let again = seal_header(&file_keys, &header).expect("the system has randomness");
    let again = again.sealed().bytes().try_into().expect("128 bytes");
    assert_eq!(open_header(&file_keys, again), Ok(header));
    Accepted
}

/// A journal's head and one frame up to its slots, and nothing behind: a
/// record has exactly one form.
pub(crate) fn journal(keys: &KeyTree, bytes: &[u8]) -> Verdict {
    let Ok(head) = keys.open_journal_head(bytes) else {
        return Refused;
    };
    let rest = &bytes[JournalHead::LEN..];
    let Some(frame) = rest.first_chunk().and_then(FrameHead::parse) else {
        return Refused;
    };
    let len = FrameHead::LEN + frame.record_len();
    let Some(record) = (rest.len() == len)
        .then(|| keys.open_frame(head.id, rest))
        .flatten()
    else {
        return Refused;
    };
    let again = keys
        .seal_frame(head.id, frame.sequence, &record, frame.data_len)
        .expect("the system has randomness");
    let again = again.sealed().bytes();
    assert_eq!(again.len(), len);
    assert_eq!(keys.open_frame(head.id, again), Some(record));
    Accepted
}

/// An entry of the root and, after a NUL, what its side file holds: an
/// accepted name has exactly this entry.
pub(crate) fn names(keys: &KeyTree, bytes: &[u8]) -> Verdict {
    let (entry, side) = split_at_nul(bytes);
    let raw = RawName::new(entry);
    let dir = keys.root_dir_id();
    let check = |name: PlainName, opened: &str| {
        let cipher = keys.cipher_name(dir, &name);
        assert_eq!(cipher.entry(), opened);
        assert_eq!(cipher.side().is_some(), name.bytes().len() > 127);
        Accepted
    };
    let mut last_len = usize::MAX;
    for (base, suffix) in conflict_bases(&raw) {
        let opened = match &base {
            ConflictBase::Short(short) => short.entry(),
            ConflictBase::Long(long) => long.entry(),
        };
        assert!(opened.len() < last_len, "not the longest first");
        last_len = opened.len();
        assert_eq!([opened.as_bytes(), suffix].concat(), entry);
        let name = match &base {
            ConflictBase::Short(short) => keys.open_name(dir, short),
            ConflictBase::Long(long) => keys.open_long_name(dir, long, side),
        };
        if let Ok(name) = name {
            return check(name, opened);
        }
    }
    match classify(&raw) {
        RawEntry::Short(short) => match keys.open_name(dir, &short) {
            Ok(name) => check(name, short.entry()),
            Err(_) => Refused,
        },
        RawEntry::Long(long) => match keys.open_long_name(dir, &long, side) {
            Ok(name) => check(name, long.entry()),
            Err(_) => Refused,
        },
        RawEntry::SideFile(long) => {
            assert_eq!(long.side_name().as_bytes(), entry);
            Refused
        }
        RawEntry::Internal | RawEntry::ClientTemp | RawEntry::Other => {
            if let Some(id) = slot_of_file(&raw) {
                assert_eq!(entry, format!("{id}.slot").as_bytes());
            }
            Refused
        }
    }
}

/// `keepfs.dir`: an accepted pin holds the record that this id would get.
pub(crate) fn pin(keys: &KeyTree, bytes: &[u8]) -> Verdict {
    let place = keys.root_dir_id();
    let Ok(Some(id)) = keys.open_pin(place, bytes) else {
        return Refused;
    };
    let expected = PinFile::new(None, keys.seal_pin(place, id));
    let mut records = bytes.chunks(PIN_RECORD_LEN);
    assert!(records.any(|record| record == expected.sealed().bytes()));
    Accepted
}

/// The target of a link: its length was known before it was opened.
pub(crate) fn link(keys: &KeyTree, bytes: &[u8]) -> Verdict {
    let foretold = u64::try_from(bytes.len()).ok().and_then(target_plain_len);
    let Ok(target) = keys.open_target(bytes) else {
        return Refused;
    };
    assert_eq!(foretold, u64::try_from(target.len()).ok());
    Accepted
}

/// The name of an attribute and, after a NUL, its value.
pub(crate) fn xattr(keys: &KeyTree, bytes: &[u8]) -> Verdict {
    let (raw, value) = split_at_nul(bytes);
    let Ok(name) = keys.open_xattr_name(OWNER, raw) else {
        return Refused;
    };
    let again = keys.seal_xattr_name(OWNER, &name);
    assert_eq!(again.expect("it was accepted").as_bytes(), raw);
    match keys.open_xattr_value(OWNER, &name, value) {
        Ok(_) => Accepted,
        Err(_) => Refused,
    }
}

/// Flags (bit 0: ends the file, bit 1: holes allowed), the first chunk's
/// number (8), and slots: one thread and several agree, and after a failure
/// nothing unverified is left.
pub(crate) fn slots(keys: &KeyTree, bytes: &[u8]) -> Verdict {
    let Some((&[flags, ref first @ ..], cipher)) = bytes.split_first_chunk::<9>() else {
        return Refused;
    };
    let g = Geometry::DEFAULT;
    let keys = keys.file_keys(FileId::new([0x22; 16]));
    let first = ChunkNo::new(u64::from_le_bytes(*first));
    let tail = if flags & 1 == 0 {
        Tail::Inside
    } else {
        Tail::Last
    };
    let holes = if flags & 2 == 0 {
        Holes::Refused
    } else {
        Holes::Allowed
    };
    let last = (cipher.len() % g.slot_size()).saturating_sub(Geometry::SLOT_OVERHEAD);
    let len = cipher.len() / g.slot_size() * g.chunk_size() + last;
    let open = |workers| {
        let mut out = vec![0xee; len];
        let opened = open_slots(&keys, g, first, cipher, tail, holes, workers, &mut out);
        (opened, out)
    };
    let (opened, out) = open(Workers::One);
    assert_eq!(open(Workers::Rayon), (opened, out.clone()));
    let terms = slot_terms(&keys, g, first, cipher, tail);
    match opened {
        Ok(()) => {
            let SlotTerms { holes: found, .. } = terms.expect("lengths that open have terms");
            assert!(found == 0 || holes == Holes::Allowed);
            if cipher.is_empty() { Refused } else { Accepted }
        }
        Err(damage) => {
            let chunks = damage.chunk.get() - first.get();
            let good = usize::try_from(chunks).expect("within the input") * g.chunk_size();
            let rest = out.get(good..).unwrap_or_default();
            assert!(rest.iter().all(|&byte| byte == 0));
            Refused
        }
    }
}

/// Recovery codes and shares as people type them: what is accepted is written
/// in one form, which is accepted too.
pub(crate) fn recovery(_: &KeyTree, bytes: &[u8]) -> Verdict {
    let text = String::from_utf8_lossy(bytes);
    let written = match Typed::parse(&text) {
        Ok(Typed::Code(code)) => code.to_text(),
        Ok(Typed::Share(share)) => share.to_text(),
        Ok(Typed::Incomplete { .. }) | Err(_) => return Refused,
    };
    match Typed::parse(&written) {
        Ok(Typed::Code(code)) => assert_eq!(code.to_text(), written),
        Ok(Typed::Share(share)) => assert_eq!(share.to_text(), written),
        Ok(Typed::Incomplete { .. }) | Err(_) => panic!("not read back: {}", *written),
    }
    Accepted
}

fn split_at_nul(bytes: &[u8]) -> (&[u8], &[u8]) {
    match bytes.iter().position(|&byte| byte == 0) {
        Some(at) => (&bytes[..at], &bytes[at + 1..]),
        None => (bytes, &[]),
    }
}
