//! Entries of the backing directory, sorted by their form alone. Nothing here
//! is proof: a name is authentic only once it has been opened.

use sha2::{Digest, Sha256};

use crate::name::RawName;
use crate::types::SlotId;

use super::text;

/// Pin of a directory that was renamed, inside it.
pub const PIN_NAME: &str = "keepfs.dir";
/// The vault's description, in its root.
pub const VAULT_FILE: &str = "keepfs.vault";
/// Directory of the key slots, in the vault's root.
pub const SLOTS_DIR: &str = "keepfs.slots";
/// Directory of what outlives the entries it is about, in the vault's root.
pub const NAMES_DIR: &str = "keepfs.names";
/// How the name of a key slot's file ends, after 32 hexadecimal digits.
pub const SLOT_SUFFIX: &str = ".slot";
/// How the name of a directory that is being removed begins.
pub const ASIDE_PREFIX: &str = "keepfs.rm-";

/// Longest name that becomes a short entry, in bytes.
pub(in crate::codec) const MAX_SHORT_PLAIN: usize = 127;
/// Marks long entries, and ends their side files.
const LONG_MARK: u8 = b'=';
const HASH_LEN: usize = 32;
/// Length of a long entry: the mark and 43 characters.
const LONG_LEN: usize = 1 + text::encoded_len(HASH_LEN);
/// Legal lengths of a short entry: 16 bytes of SIV and 16 to 128 of padded
/// name, in base64url.
const SHORT_LENS: [usize; 8] = [43, 64, 86, 107, 128, 150, 171, 192];

/// An entry of a legal form for a name of up to 127 bytes.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct ShortName {
    text: Box<str>,
    siv: Box<[u8]>,
}

impl ShortName {
    /// Takes a legal length, strict base64url text; `None` for all else.
    #[must_use]
    pub fn parse(entry: &[u8]) -> Option<Self> {
        if !SHORT_LENS.contains(&entry.len()) {
            return None;
        }
        let siv = text::decode(entry)?;
        let text = std::str::from_utf8(entry).ok()?;
        Some(Self {
            text: text.into(),
            siv: siv.into(),
        })
    }

    /// The entry's name on the backing.
    #[must_use]
    pub fn entry(&self) -> &str {
        &self.text
    }

    pub(in crate::codec) fn siv(&self) -> &[u8] {
        &self.siv
    }
}

/// An entry of a legal form for a name of 128 bytes or more, which stands in
/// its side file.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct LongName {
    text: Box<str>,
    hash: [u8; HASH_LEN],
}

impl LongName {
    /// Characters of a long entry.
    pub const LEN: usize = LONG_LEN;

    /// Takes `=` and 43 characters of strict base64url; `None` for all else.
    #[must_use]
    pub fn parse(entry: &[u8]) -> Option<Self> {
        let (&LONG_MARK, digits) = entry.split_first()? else {
            return None;
        };
        let hash = text::decode(digits)?.try_into().ok()?;
        let text = std::str::from_utf8(entry).ok()?;
        Some(Self {
            text: text.into(),
            hash,
        })
    }

    /// The long entry for the sealed name in `side`.
    pub(in crate::codec) fn of_side(side: &[u8]) -> Self {
        let hash: [u8; HASH_LEN] = Sha256::digest(side).into();
        Self {
            text: format!("={}", text::encode(&hash)).into(),
            hash,
        }
    }

    /// The entry's name on the backing.
    #[must_use]
    pub fn entry(&self) -> &str {
        &self.text
    }

    /// The side file's name on the backing.
    #[must_use]
    pub fn side_name(&self) -> String {
        format!("{}=", self.text)
    }

    /// Whether `side` is what a side file of this entry holds.
    #[must_use]
    pub fn names_side(&self, side: &[u8]) -> bool {
        <[u8; HASH_LEN]>::from(Sha256::digest(side)) == self.hash
    }
}

/// What the form of an entry of the backing says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum RawEntry {
    /// The form of a name of up to 127 bytes.
    Short(ShortName),
    /// The form of a longer name.
    Long(LongName),
    /// The form of a side file; the long name is the one it belongs to.
    SideFile(LongName),
    /// A file of keepfs itself, or a conflict copy of one.
    Internal,
    /// A temporary file of a sync client or of a network file system.
    ClientTemp,
    /// A conflict copy, or a file that has nothing to do with the vault.
    Other,
}

/// Sorts an entry by its form. Total; an entry of the form of a cipher name is
/// never taken for anything else.
#[must_use]
pub fn classify(name: &RawName) -> RawEntry {
    let entry = name.bytes();
    if let Some(short) = ShortName::parse(entry) {
        RawEntry::Short(short)
    } else if let Some(long) = LongName::parse(entry) {
        RawEntry::Long(long)
    } else if let Some((long, suffix)) = long_and_side(entry) {
        if suffix.is_empty() {
            RawEntry::SideFile(long)
        } else {
            RawEntry::Internal
        }
    } else if is_internal(entry) {
        RawEntry::Internal
    } else if is_client_temp(entry) {
        RawEntry::ClientTemp
    } else {
        RawEntry::Other
    }
}

/// The name that an entry may be a conflict copy of.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ConflictBase {
    /// A name of up to 127 bytes.
    Short(ShortName),
    /// A longer name.
    Long(LongName),
}

/// The leading runs of `name` that have the form of a cipher name, longest
/// first, each with what follows it (never empty). The first that opens is the
/// name that `name` is a conflict copy of.
pub fn conflict_bases(name: &RawName) -> impl Iterator<Item = (ConflictBase, &[u8])> {
    let entry = name.bytes();
    let long = entry
        .split_at_checked(LONG_LEN)
        .filter(|(_, suffix)| !suffix.is_empty() && !suffix.starts_with(&[LONG_MARK]))
        .and_then(|(run, suffix)| Some((ConflictBase::Long(LongName::parse(run)?), suffix)));
    let short = SHORT_LENS.iter().rev().filter_map(move |&len| {
        let (run, suffix) = entry.split_at_checked(len)?;
        let base = ConflictBase::Short(ShortName::parse(run)?);
        (!suffix.is_empty()).then_some((base, suffix))
    });
    long.into_iter().chain(short)
}

/// Name of the file of the slot `id`, in [`SLOTS_DIR`].
#[must_use]
pub fn slot_file_name(id: SlotId) -> String {
    format!("{id}{SLOT_SUFFIX}")
}

/// The slot whose file is called `name`; `None` unless [`slot_file_name`]
/// would have called it so.
#[must_use]
pub fn slot_of_file(name: &RawName) -> Option<SlotId> {
    let digits = name.bytes().strip_suffix(SLOT_SUFFIX.as_bytes())?;
    let digits = std::str::from_utf8(digits).ok()?;
    let lower_hex = digits
        .bytes()
        .all(|b| matches!(b, b'0'..=b'9' | b'a'..=b'f'));
    if digits.len() != 32 || !lower_hex {
        return None;
    }
    let number = u128::from_str_radix(digits, 16).ok()?;
    Some(SlotId::new(number.to_be_bytes()))
}

/// `=` and 43 characters and `=`, with whatever follows.
fn long_and_side(entry: &[u8]) -> Option<(LongName, &[u8])> {
    let (run, rest) = entry.split_at_checked(LONG_LEN)?;
    let suffix = rest.strip_prefix(&[LONG_MARK])?;
    Some((LongName::parse(run)?, suffix))
}

fn is_internal(entry: &[u8]) -> bool {
    entry.starts_with(b"keepfs") || entry.starts_with(b"~keepfs")
}

/// How temporary and bookkeeping files begin.
const TEMP_PREFIXES: &[&str] = &[
    ".nfs",
    ".fuse_hidden",
    ".stfolder",
    ".stversions",
    ".sync_",
    "._sync_",
    ".csync_journal.db",
    ".owncloudsync.log",
    ".nextcloudsync.log",
    ".unison.",
    ".getxfer.",
];

/// How they end. Each has a character that base64url has not.
const TEMP_SUFFIXES: &[&str] = &[
    ".partial",
    "~",
    ".sbak",
    ".part",
    ".nextcloud",
    ".owncloud",
    ".rclonelink",
    ".!sync",
    ".!Sync",
    ".SyncPart",
    ".SyncTemp",
    ".SyncOld",
    ".insyncdl",
    ".mega",
];

/// What they are called as a whole.
const TEMP_NAMES: &[&str] = &[
    ".stignore",
    ".dropbox",
    ".dropbox.attr",
    ".dropbox.cache",
    ".debris",
    ".megaignore",
    ".~tmp~",
    ".tmp.drivedownload",
    ".tmp.driveupload",
];

/// Temporary and bookkeeping files, by the names their makers give them;
/// FORMAT.md, section 12, says whose they are.
fn is_client_temp(entry: &[u8]) -> bool {
    let starts = |prefix: &&str| entry.starts_with(prefix.as_bytes());
    let ends = |suffix: &&str| entry.ends_with(suffix.as_bytes());
    TEMP_PREFIXES.iter().any(starts)
        || TEMP_SUFFIXES.iter().any(ends)
        || TEMP_NAMES.iter().any(|name| entry == name.as_bytes())
        || (starts(&".syncthing.") || starts(&"~syncthing~")) && ends(&".tmp")
        || is_marked(entry, b".~", |end| {
            !end.is_empty() && end.iter().all(u8::is_ascii_hexdigit)
        })
        || is_marked(entry, b".", |end| {
            end.len() == 6 && end.iter().all(u8::is_ascii_alphanumeric)
        })
}

/// `.NAME`, the mark, and an end of this kind.
fn is_marked(entry: &[u8], mark: &[u8], end: impl Fn(&[u8]) -> bool) -> bool {
    let Some(at) = entry.windows(mark.len()).rposition(|found| found == mark) else {
        return false;
    };
    entry.starts_with(b".") && at > 1 && end(&entry[at + mark.len()..])
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a failed test may panic")]
    use proptest::prelude::*;

    use super::*;

    fn of(entry: &[u8]) -> RawEntry {
        classify(&RawName::new(entry))
    }

    /// A cipher name of the given legal length.
    fn cipher(len: usize) -> String {
        let text = text::encode(&vec![0xa7; len * 3 / 4]);
        assert_eq!(text.len(), len);
        text
    }

    #[test]
    fn legal_lengths_are_those_of_whole_blocks() {
        let lens: Vec<usize> = (1..=8).map(|n| text::encoded_len(16 + 16 * n)).collect();
        assert_eq!(lens, SHORT_LENS);
        assert_eq!(LONG_LEN, 44);
        for len in 0..=255 {
            let entry = "A".repeat(len);
            let legal = SHORT_LENS.contains(&len);
            assert_eq!(
                matches!(of(entry.as_bytes()), RawEntry::Short(_)),
                legal,
                "{len}"
            );
        }
    }

    #[test]
    fn names_and_side_files_are_told_apart() {
        let digits = cipher(43);
        let short = ShortName::parse(digits.as_bytes()).unwrap();
        assert_eq!(short.entry(), digits);
        assert_eq!(of(digits.as_bytes()), RawEntry::Short(short));
        let entry = format!("={digits}");
        let long = LongName::parse(entry.as_bytes()).unwrap();
        assert_eq!(long.entry(), entry);
        assert_eq!(of(entry.as_bytes()), RawEntry::Long(long.clone()));
        assert_eq!(
            of(long.side_name().as_bytes()),
            RawEntry::SideFile(long.clone())
        );
        let copy = format!("{} (conflicted copy)", long.side_name());
        assert_eq!(of(copy.as_bytes()), RawEntry::Internal);
        assert_eq!(conflict_bases(&RawName::new(copy.as_bytes())).count(), 0);
    }

    #[test]
    fn text_that_is_not_canonical_is_no_name() {
        // The last of 43 characters carries four bits: two of its six are zero.
        let good = format!("{}A", "A".repeat(42));
        let bad = format!("{}B", "A".repeat(42));
        assert!(matches!(of(good.as_bytes()), RawEntry::Short(_)));
        assert_eq!(of(bad.as_bytes()), RawEntry::Other);
        assert_eq!(of(format!("={bad}").as_bytes()), RawEntry::Other);
        assert_eq!(of("+".repeat(43).as_bytes()), RawEntry::Other);
        assert_eq!(of(&[0xff; 43]), RawEntry::Other);
        assert_eq!(of(b""), RawEntry::Other);
    }

    #[test]
    fn files_of_keepfs_are_internal_with_their_conflict_copies() {
        for name in [
            PIN_NAME,
            VAULT_FILE,
            SLOTS_DIR,
            "keepfs.rm-0123456789abcdef",
            "~keepfs-00112233445566778899aabbccddeeff.tmp",
            "keepfs.dir (conflicted copy 2026-01-01 120000)",
            "keepfs.sync-conflict-20260101-120000-ABCDEFG.vault",
            "keepfs",
        ] {
            assert_eq!(of(name.as_bytes()), RawEntry::Internal, "{name}");
        }
        let unlucky = format!("keepfs{}A", "A".repeat(36));
        assert!(matches!(of(unlucky.as_bytes()), RawEntry::Short(_)));
    }

    #[test]
    fn temporary_files_of_clients_are_known() {
        let name = cipher(64);
        for temp in [
            format!(".syncthing.{name}.tmp"),
            format!("~syncthing~{name}.tmp"),
            format!(".{name}.~1a2b3c"),
            format!("{name}.1f2e3d4c.partial"),
            ".nfs000000000003d5f100000001".to_owned(),
            ".fuse_hidden0000000a00000001".to_owned(),
            ".dropbox.cache".to_owned(),
            ".sync_0123abcd.db".to_owned(),
            "._sync_0123abcd.db-wal".to_owned(),
            ".stfolder".to_owned(),
            format!("{name}~"),
            format!("{name}.part"),
            format!("{name}.nextcloud"),
            format!(".{name}.a1B2c3"),
            ".unison.x.tmp".to_owned(),
        ] {
            assert_eq!(of(temp.as_bytes()), RawEntry::ClientTemp, "{temp}");
        }
        for other in [
            name.clone() + ".tmp",
            format!("{name}.~1a"),
            format!(".{name}.~xyz"),
            ".hidden".to_owned(),
            ".~1".to_owned(),
            "..~a".to_owned(),
            "..abcdef".to_owned(),
            format!(".{name}.abcde"),
        ] {
            assert_eq!(of(other.as_bytes()), RawEntry::Other, "{other}");
        }
    }

    #[test]
    fn conflict_copies_offer_their_bases_longest_first() {
        let entry = format!("{}.sync-conflict-20260101-120000-ABCDEFG", cipher(107));
        let raw = RawName::new(entry.as_bytes());
        assert_eq!(of(entry.as_bytes()), RawEntry::Other);
        let lens: Vec<usize> = conflict_bases(&raw)
            .map(|(base, suffix)| {
                let ConflictBase::Short(short) = base else {
                    panic!("not a long name");
                };
                assert!(entry.starts_with(short.entry()));
                assert_eq!(suffix, &entry.as_bytes()[short.entry().len()..]);
                short.entry().len()
            })
            .collect();
        assert_eq!(lens.first(), Some(&107));
        assert!(lens.is_sorted_by(|a, b| a > b));
        assert!(lens.contains(&64), "64 characters are always canonical");

        let long = format!("={} (1)", cipher(43));
        let raw = RawName::new(long.as_bytes());
        let bases: Vec<_> = conflict_bases(&raw).collect();
        let base = LongName::parse(&long.as_bytes()[..44]).unwrap();
        assert_eq!(bases, [(ConflictBase::Long(base), &b" (1)"[..])]);
    }

    #[test]
    fn a_plain_cipher_name_is_no_conflict_copy_of_itself() {
        let entry = cipher(43);
        assert_eq!(conflict_bases(&RawName::new(entry.as_bytes())).count(), 0);
        let entry = format!("={}", cipher(43));
        assert_eq!(conflict_bases(&RawName::new(entry.as_bytes())).count(), 0);
    }

    #[test]
    fn names_of_slot_files_come_back() {
        let id = SlotId::new([0x0a; 16]);
        let name = slot_file_name(id);
        assert_eq!(name, format!("{}.slot", "0a".repeat(16)));
        assert_eq!(slot_of_file(&RawName::new(name.as_bytes())), Some(id));
        for bad in [
            name.to_uppercase(),
            name.replace(".slot", ""),
            format!("0{name}"),
            name[2..].to_owned(),
            format!("+{}", &name[1..]),
            format!("{name} (1)"),
        ] {
            assert_eq!(slot_of_file(&RawName::new(bad.as_bytes())), None, "{bad}");
        }
    }

    proptest! {
        /// Whatever the keys make of a name is never hidden.
        #[test]
        fn no_legal_cipher_name_is_internal_or_temporary(
            blocks in 2usize..=9,
            seed in proptest::collection::vec(any::<u8>(), 144),
        ) {
            let entry = text::encode(&seed[..16 * blocks]);
            prop_assert!(matches!(of(entry.as_bytes()), RawEntry::Short(_)));
        }

        #[test]
        fn any_bytes_have_a_class_and_every_base_a_suffix(
            entry in proptest::collection::vec(any::<u8>(), 0..300),
            digits in "=?[A-Za-z0-9_-]{40,200}[.=~]?[A-Za-z]{0,9}",
        ) {
            for entry in [&entry[..], digits.as_bytes()] {
                let raw = RawName::new(entry);
                let class = classify(&raw);
                prop_assert_eq!(&class, &classify(&raw));
                for (base, suffix) in conflict_bases(&raw) {
                    let start = match &base {
                        ConflictBase::Short(short) => short.entry(),
                        ConflictBase::Long(long) => long.entry(),
                    };
                    prop_assert!(!suffix.is_empty());
                    prop_assert_eq!([start.as_bytes(), suffix].concat(), entry);
                }
            }
        }
    }
}
