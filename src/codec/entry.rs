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
    pub(in crate::codec) fn names_side(&self, side: &[u8]) -> bool {
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

/// Temporary and bookkeeping files, by the names their makers give them. All
/// contain a character that base64url has not, in a place where no conflict
/// copy has it.
fn is_client_temp(entry: &[u8]) -> bool {
    let starts = |prefix: &[u8]| entry.starts_with(prefix);
    let ends = |suffix: &[u8]| entry.ends_with(suffix);
    // NFS and FUSE: open files that were removed.
    starts(b".nfs")
        || starts(b".fuse_hidden")
        // Syncthing
        || (starts(b".syncthing.") && ends(b".tmp"))
        || (starts(b"~syncthing~") && ends(b".tmp"))
        || starts(b".stfolder")
        || starts(b".stversions")
        || entry == b".stignore"
        // Nextcloud and ownCloud: `.NAME.~HEX`, and their journals.
        || is_nextcloud_temp(entry)
        || starts(b".sync_")
        || starts(b"._sync_")
        || starts(b".csync_journal.db")
        || starts(b".owncloudsync.log")
        // Dropbox
        || matches!(entry, b".dropbox" | b".dropbox.attr" | b".dropbox.cache")
        // rclone and the OneDrive client: `NAME.partial`
        || ends(b".partial")
}

/// `.NAME.~HEX`
fn is_nextcloud_temp(entry: &[u8]) -> bool {
    let Some(mark) = entry.windows(2).rposition(|pair| pair == b".~") else {
        return false;
    };
    let digits = &entry[mark + 2..];
    entry.starts_with(b".")
        && mark > 0
        && !digits.is_empty()
        && digits.iter().all(u8::is_ascii_hexdigit)
}
