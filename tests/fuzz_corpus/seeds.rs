//! Makes the seed corpus: for each parser inputs that it must accept (`ok-`)
//! and inputs that are wrong in one way (`bad-`).

use keepfs::codec::batch::{SealSum, SlotBuf, Tail, Workers, seal_slots};
use keepfs::codec::geometry::Geometry;
use keepfs::codec::header::{Header, OpenFlag, SparseFlag, seal_header};
use keepfs::codec::journal::{JournalHead, NewSlot, Record, Replaced, SlotTag};
use keepfs::codec::kdf::{KdfCost, Passphrase};
use keepfs::codec::names::PinFile;
use keepfs::codec::vault::{Credential, Slot, create_vault};
use keepfs::name::PlainName;
use keepfs::types::{ChunkNo, DirId, FileId, PlainLen};

use super::bodies;

/// A seed: its target, its name, its bytes.
type Seed = (&'static str, &'static str, Vec<u8>);

const COST: KdfCost = KdfCost {
    memory_kib: KdfCost::MIN_MEMORY_KIB,
    passes: KdfCost::MIN_PASSES,
    lanes: 1,
};

/// A new vault file and the slot that opens it.
pub(crate) fn keys() -> (Vec<u8>, Vec<u8>) {
    let (master, vault) = create_vault(Geometry::DEFAULT).unwrap();
    let slot = Slot::wrap(&master, &vault, &bodies::credential(), &COST, "fuzz").unwrap();
    (
        vault.encode().sealed().bytes().to_vec(),
        slot.sealed().bytes().to_vec(),
    )
}

/// All seeds but the keys, and but the recovery texts: those are the example of
/// docs/FORMAT.md and need no keys.
pub(crate) fn all() -> Vec<Seed> {
    [
        vaults(),
        slot_files(),
        headers(),
        journals(),
        names(),
        pins(),
        links(),
        xattrs(),
        slots(),
    ]
    .concat()
}

fn changed(bytes: &[u8], at: usize, byte: u8) -> Vec<u8> {
    let mut bytes = bytes.to_vec();
    bytes[at] = byte;
    bytes
}

fn vaults() -> Vec<Seed> {
    let small = bodies::vault().encode().sealed().bytes().to_vec();
    let large = create_vault(Geometry::from_log2(20).unwrap()).unwrap().1;
    vec![
        ("vault_file", "ok-4k", small.clone()),
        (
            "vault_file",
            "ok-1m",
            large.encode().sealed().bytes().to_vec(),
        ),
        ("vault_file", "bad-format", changed(&small, 8, 2)),
        ("vault_file", "bad-chunk-size", changed(&small, 10, 21)),
        ("vault_file", "bad-reserved", changed(&small, 13, 1)),
        ("vault_file", "bad-short", small[..63].to_vec()),
    ]
}

fn slot_files() -> Vec<Seed> {
    let genuine = include_bytes!("seeds/keys/slot").to_vec();
    let (master, vault) = create_vault(Geometry::DEFAULT).unwrap();
    let passphrase = Passphrase::from_bytes(b"of another vault".to_vec()).unwrap();
    let credential = Credential::Passphrase(passphrase);
    let foreign = Slot::wrap(&master, &vault, &credential, &COST, "").unwrap();
    vec![
        ("slot", "ok-key-file", genuine.clone()),
        ("slot", "bad-foreign", foreign.sealed().bytes().to_vec()),
        ("slot", "bad-version", changed(&genuine, 8, 2)),
        ("slot", "bad-kind", changed(&genuine, 10, 5)),
        ("slot", "bad-label-length", changed(&genuine, 96, 65)),
        (
            "slot",
            "bad-commit",
            changed(&genuine, 104, genuine[104] ^ 1),
        ),
    ]
}

fn headers() -> Vec<Seed> {
    let keys = bodies::keys();
    let image = |open, sparse, size, holes| {
        let file_keys = keys.file_keys(FileId::new([0x22; 16]));
        let header = Header {
            file_id: file_keys.file_id(),
            open,
            sparse,
            generation: 1,
            size: PlainLen::new(size),
            seal: SealSum::ZERO,
            birth_dir: DirId::new([0x33; 16]),
            holes,
        };
        seal_header(&file_keys, &header)
            .unwrap()
            .sealed()
            .bytes()
            .to_vec()
    };
    let born = image(OpenFlag::Open, SparseFlag::Dense, 0, 0);
    vec![
        (
            "header",
            "ok-closed",
            image(OpenFlag::Closed, SparseFlag::Dense, 4097, 0),
        ),
        (
            "header",
            "ok-sparse",
            image(OpenFlag::Closed, SparseFlag::Sparse, 1 << 40, 9),
        ),
        ("header", "bad-magic", changed(&born, 0, b'k')),
        ("header", "bad-reserved", changed(&born, 4, 1)),
        ("header", "bad-file-id", changed(&born, 8, 0x23)),
        ("header", "bad-tag", changed(&born, 127, born[127] ^ 0x80)),
        ("header", "bad-short", born[..127].to_vec()),
        ("header", "ok-open", born),
    ]
}

fn journals() -> Vec<Seed> {
    let keys = bodies::keys();
    let head = JournalHead::generate(&keys, b"a machine").unwrap();
    let header = Header {
        file_id: FileId::new([0x22; 16]),
        open: OpenFlag::Closed,
        sparse: SparseFlag::Dense,
        generation: 7,
        size: PlainLen::new(9000),
        seal: SealSum::ZERO,
        birth_dir: DirId::new([0x33; 16]),
        holes: 0,
    };
    let tag = |byte| SlotTag::of(&[byte; 16]);
    let replaced = |chunk, new| Replaced {
        chunk: ChunkNo::new(chunk),
        old: tag(1),
        new,
    };
    let journal = |record: Record, data_len| {
        let front = keys.seal_journal_head(&head).unwrap();
        let frame = keys.seal_frame(head.id, 5, &record, data_len).unwrap();
        [front.sealed().bytes(), frame.sealed().bytes()].concat()
    };
    let file = journal(
        Record::File {
            nr: 3,
            ino: 77,
            base: header,
            place: b"an/entry".to_vec(),
        },
        0,
    );
    let change = Record::Change {
        nr: 3,
        header,
        replaced: vec![
            replaced(0, NewSlot::Stored(tag(2))),
            replaced(2, NewSlot::Placed(tag(3))),
            replaced(1, NewSlot::Hole),
        ],
    };
    let last = file.len() - 1;
    vec![
        ("journal", "ok-change", journal(change, 4136)),
        ("journal", "ok-done", journal(Record::Done { nr: 3 }, 0)),
        ("journal", "bad-magic", changed(&file, 0, b'X')),
        ("journal", "bad-id", changed(&file, 9, !file[9])),
        ("journal", "bad-sequence", changed(&file, 136, !file[136])),
        ("journal", "bad-tag", changed(&file, last, !file[last])),
        ("journal", "bad-short", file[..last].to_vec()),
        ("journal", "ok-file", file),
    ]
}

fn names() -> Vec<Seed> {
    let keys = bodies::keys();
    let root = keys.root_dir_id();
    let name = |len: usize| PlainName::new(&vec![b'n'; len]).unwrap();
    let short = keys.cipher_name(root, &name(5)).entry().as_bytes().to_vec();
    let full = keys
        .cipher_name(root, &name(127))
        .entry()
        .as_bytes()
        .to_vec();
    let elsewhere = keys.cipher_name(DirId::new([1; 16]), &name(5));
    let long = keys.cipher_name(root, &name(255));
    let side = long.side().unwrap();
    let entry = long.entry().as_bytes();
    vec![
        ("names", "ok-127", full),
        (
            "names",
            "ok-long",
            [entry, b"\0", side.bytes.bytes()].concat(),
        ),
        (
            "names",
            "ok-conflict",
            [&short[..], b".sync-conflict-20260101-120000-ABCDEFG"].concat(),
        ),
        (
            "names",
            "ok-long-conflict",
            [entry, b" (1)\0", side.bytes.bytes()].concat(),
        ),
        ("names", "ok-short", short),
        (
            "names",
            "bad-directory",
            elsewhere.entry().as_bytes().to_vec(),
        ),
        ("names", "bad-no-side", entry.to_vec()),
        ("names", "bad-side-file", side.name.as_bytes().to_vec()),
        ("names", "bad-internal", b"keepfs.dir".to_vec()),
        (
            "names",
            "bad-slot-file",
            format!("{}.slot", "0a".repeat(16)).into_bytes(),
        ),
        ("names", "bad-temporary", b".syncthing.name.tmp".to_vec()),
    ]
}

fn pins() -> Vec<Seed> {
    let keys = bodies::keys();
    let (here, there) = (keys.root_dir_id(), DirId::new([1; 16]));
    let id = DirId::new([2; 16]);
    let (ours, other) = (keys.seal_pin(here, id), keys.seal_pin(there, id));
    let ambiguous = PinFile::new(Some(ours), keys.seal_pin(here, there));
    let two = PinFile::new(Some(ours), other).sealed().bytes().to_vec();
    vec![
        (
            "pin",
            "ok-one",
            PinFile::new(None, ours).sealed().bytes().to_vec(),
        ),
        ("pin", "bad-long", [&two[..], &two[..32]].concat()),
        ("pin", "ok-two", two),
        (
            "pin",
            "bad-elsewhere",
            PinFile::new(None, other).sealed().bytes().to_vec(),
        ),
        ("pin", "bad-ambiguous", ambiguous.sealed().bytes().to_vec()),
        ("pin", "bad-empty", Vec::new()),
    ]
}

fn links() -> Vec<Seed> {
    let keys = bodies::keys();
    let seal = |target: &[u8]| keys.seal_target(target).unwrap().text().as_bytes().to_vec();
    let long = seal(&[b'x'; 700]);
    vec![
        ("link", "ok-short", seal(b"a")),
        ("link", "ok-path", seal(b"../some/where")),
        ("link", "bad-cut", long[..long.len() - 4].to_vec()),
        ("link", "ok-long", long),
        ("link", "bad-empty-target", seal(b"")),
        ("link", "bad-plain", b"/etc/passwd".to_vec()),
    ]
}

fn xattrs() -> Vec<Seed> {
    let keys = bodies::keys();
    let seal = |name: &[u8], of: &[u8], value: &[u8]| {
        let raw = keys.seal_xattr_name(bodies::OWNER, name).unwrap();
        let value = keys.seal_xattr_value(bodies::OWNER, of, value).unwrap();
        [raw.as_bytes(), b"\0", value.sealed().bytes()].concat()
    };
    vec![
        ("xattr", "ok-comment", seal(b"comment", b"comment", b"text")),
        ("xattr", "ok-empty", seal(b"e", b"e", b"")),
        (
            "xattr",
            "ok-longest-name",
            seal(&[b'n'; 159], &[b'n'; 159], &[7; 300]),
        ),
        (
            "xattr",
            "bad-value-of-another",
            seal(b"comment", b"other", b"text"),
        ),
        ("xattr", "bad-plain", b"user.comment\0text".to_vec()),
    ]
}

fn slots() -> Vec<Seed> {
    let file_keys = bodies::keys().file_keys(FileId::new([0x22; 16]));
    let seal = |flags: u8, first: u64, plain: &[u8]| {
        let mut out = SlotBuf::default();
        let (g, number) = (Geometry::DEFAULT, ChunkNo::new(first));
        seal_slots(
            &file_keys,
            g,
            number,
            plain,
            Tail::Last,
            Workers::One,
            &mut out,
        )
        .unwrap();
        [&[flags][..], &first.to_le_bytes(), out.sealed().bytes()].concat()
    };
    let mut holed = seal(3, 7, &[9; 3 * 4096]);
    holed[9 + 4136..9 + 2 * 4136].fill(0);
    let two = seal(1, 0, &[8; 2 * 4096 + 11]);
    vec![
        ("slots", "ok-empty", seal(1, 0, b"")),
        ("slots", "ok-short", seal(1, 1 << 40, b"the last chunk")),
        ("slots", "bad-cut", two[..9 + 2 * 4136].to_vec()),
        ("slots", "bad-place", changed(&two, 1, 1)),
        ("slots", "ok-two", two),
        ("slots", "bad-hole", changed(&holed, 0, 1)),
        ("slots", "ok-hole", holed),
    ]
}
