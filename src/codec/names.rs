//! Cipher names, directory ids and pins; FORMAT.md, names and directories.
//!
//! ```text
//! sealed name  = AES-256-SIV(K(names); AD = dir_id; name padded to 16)
//! short entry  = base64url(sealed name)                   names of 1 to 127 bytes
//! long entry   = "=" || base64url(SHA-256(sealed name))   names of 128 to 255 bytes
//! side file    = long entry || "=", holds the sealed name
//! place(child) = HMAC-SHA-256(K(dirs), dir_id(parent) || name)[0..16]
//! pin record   = AES-256-SIV(K(pins); AD = place; dir_id)
//! note         = base64url(HMAC-SHA-256(K(dirs), place || NUL "pin")[0..16])
//!                || "." || base64url(pin record), a name in keepfs.names
//! ```

use hmac::{Hmac, KeyInit, Mac};
use sha2::Sha256;

use crate::name::{PlainName, RawName};
use crate::types::DirId;

use super::entry::{LongName, MAX_SHORT_PLAIN, ShortName};
use super::keys::KeyTree;
use super::{Sealed, siv, text};

/// Bytes of one record of a pin.
pub const PIN_RECORD_LEN: usize = 32;

/// Longest side file, in bytes: a name of 255 bytes, padded, behind its SIV.
pub const MAX_SIDE_LEN: usize = siv::SIV_LEN + text::padded_len(PlainName::MAX_LEN);

/// A plain name as it stands on the backing.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CipherName {
    entry: String,
    side: Option<OwnedSide>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
struct OwnedSide {
    name: String,
    bytes: Vec<u8>,
}

/// The file beside a long entry that holds its name. It must be on the
/// backing before the entry.
#[derive(Clone, Copy)]
pub struct SideFile<'a> {
    /// Its name on the backing.
    pub name: &'a str,
    /// What it holds.
    pub bytes: Sealed<'a>,
}

impl CipherName {
    /// The entry's name on the backing.
    #[must_use]
    pub fn entry(&self) -> &str {
        &self.entry
    }

    /// The side file, if the name is a long one.
    #[must_use]
    pub fn side(&self) -> Option<SideFile<'_>> {
        self.side.as_ref().map(|side| SideFile {
            name: &side.name,
            bytes: Sealed::new(&side.bytes),
        })
    }
}

/// Why an entry is no name of a directory.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum NameError {
    /// It was not made for this directory, or is damaged.
    #[error("the entry does not belong to this directory")]
    NotAuthentic,
    /// The side file is not the one that the entry names.
    #[error("the side file does not match its entry")]
    WrongSideFile,
    /// It is authentic, but no name this format would have written.
    #[error("the entry holds no valid name")]
    Malformed,
}

/// One record of a pin: the id that a directory keeps at one place.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PinRecord([u8; PIN_RECORD_LEN]);

/// The contents of `keepfs.dir`: one record, or two.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PinFile(Vec<u8>);

impl PinFile {
    /// The current place's record, if the directory has one, and the record
    /// of the place it is about to move to. Equal records are written once.
    #[must_use]
    pub fn new(current: Option<PinRecord>, added: PinRecord) -> Self {
        let current = current.filter(|record| *record != added);
        let records = current.into_iter().chain([added]);
        Self(records.flat_map(|record| record.0).collect())
    }

    /// The bytes to be written.
    #[must_use]
    pub fn sealed(&self) -> Sealed<'_> {
        Sealed::new(&self.0)
    }
}

/// What outlives a pin: the name of a file in `keepfs.names` that says which id
/// a directory had at one place.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PinNote(String);

/// The part of a note by which it is found; it depends on the place alone.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct NoteTag([u8; NOTE_TAG_LEN]);

const NOTE_TAG_LEN: usize = 16;
/// What follows the place in the tag of a note; no name contains NUL.
const NOTE_LABEL: &[u8] = b"\0pin";

impl PinNote {
    /// Characters of a note.
    const LEN: usize = text::encoded_len(NOTE_TAG_LEN) + 1 + text::encoded_len(PIN_RECORD_LEN);

    /// The file's name.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.0
    }

    /// The tag and the record in a file name that begins as a note does; what
    /// a sync client appended is ignored. Unverified.
    #[must_use]
    pub fn parse(name: &RawName) -> Option<(NoteTag, PinRecord)> {
        let note = name.bytes().get(..Self::LEN)?;
        let (tag, rest) = note.split_at(text::encoded_len(NOTE_TAG_LEN));
        let record = rest.strip_prefix(b".")?;
        let tag = text::decode(tag)?.try_into().ok()?;
        let record = text::decode(record)?.try_into().ok()?;
        Some((NoteTag(tag), PinRecord(record)))
    }
}

/// Why a pin is not one.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum PinError {
    /// It is neither one record nor two.
    #[error("the directory's pin has {len} bytes instead of 32 or 64")]
    BadLength {
        /// Bytes it has.
        len: usize,
    },
    /// Both records open for the place.
    #[error("the directory's pin states two ids for one place")]
    Ambiguous,
}

impl KeyTree {
    /// The entry of `name` in the directory `dir`. Deterministic.
    #[must_use]
    pub fn cipher_name(&self, dir: DirId, name: &PlainName) -> CipherName {
        let sealed = siv::seal(&self.names, dir.bytes(), &text::pad(name.bytes()));
        if name.bytes().len() <= MAX_SHORT_PLAIN {
            return CipherName {
                entry: text::encode(&sealed),
                side: None,
            };
        }
        let long = LongName::of_side(&sealed);
        CipherName {
            entry: long.entry().to_owned(),
            side: Some(OwnedSide {
                name: long.side_name(),
                bytes: sealed,
            }),
        }
    }

    /// The name that a short entry of the directory `dir` stands for.
    ///
    /// # Errors
    /// The entry was not made for this directory.
    pub fn open_name(&self, dir: DirId, entry: &ShortName) -> Result<PlainName, NameError> {
        let name = self.open_sealed_name(dir, entry.siv())?;
        if name.bytes().len() > MAX_SHORT_PLAIN {
            return Err(NameError::Malformed);
        }
        Ok(name)
    }

    /// The name that a long entry of the directory `dir` stands for; `side`
    /// is what its side file holds.
    ///
    /// # Errors
    /// The entry was not made for this directory, or `side` not for the entry.
    pub fn open_long_name(
        &self,
        dir: DirId,
        entry: &LongName,
        side: &[u8],
    ) -> Result<PlainName, NameError> {
        if !entry.names_side(side) {
            return Err(NameError::WrongSideFile);
        }
        let name = self.open_sealed_name(dir, side)?;
        if name.bytes().len() <= MAX_SHORT_PLAIN {
            return Err(NameError::Malformed);
        }
        Ok(name)
    }

    fn open_sealed_name(&self, dir: DirId, sealed: &[u8]) -> Result<PlainName, NameError> {
        let padded = siv::open(&self.names, dir.bytes(), sealed).ok_or(NameError::NotAuthentic)?;
        let name = text::unpad(&padded).ok_or(NameError::Malformed)?;
        PlainName::new(name).map_err(|_| NameError::Malformed)
    }

    /// The id that a directory called `name` in `parent` has unless it is
    /// pinned.
    #[must_use]
    pub fn place(&self, parent: DirId, name: &PlainName) -> DirId {
        let mut mac = Hmac::<Sha256>::new_from_slice(self.dirs.bytes())
            .expect("HMAC takes keys of any length");
        mac.update(parent.bytes());
        mac.update(name.bytes());
        let code: [u8; 32] = mac.finalize().into_bytes().into();
        let (place, _) = code.split_first_chunk().expect("32 bytes hold 16");
        DirId::new(*place)
    }

    /// The record by which the directory at `place` keeps the id `id`.
    #[must_use]
    pub fn seal_pin(&self, place: DirId, id: DirId) -> PinRecord {
        let sealed = siv::seal(&self.pins, place.bytes(), id.bytes());
        PinRecord(sealed.try_into().expect("16 bytes of SIV and 16 of id"))
    }

    /// The note that the directory at `place` has, or had, the id `id`.
    #[must_use]
    pub fn pin_note(&self, place: DirId, id: DirId) -> PinNote {
        let tag = text::encode(&self.note_tag(place).0);
        let record = text::encode(&self.seal_pin(place, id).0);
        PinNote(format!("{tag}.{record}"))
    }

    /// The tag of all notes for `place`.
    #[must_use]
    pub fn note_tag(&self, place: DirId) -> NoteTag {
        let mut mac = Hmac::<Sha256>::new_from_slice(self.dirs.bytes())
            .expect("HMAC takes keys of any length");
        mac.update(place.bytes());
        mac.update(NOTE_LABEL);
        let code: [u8; 32] = mac.finalize().into_bytes().into();
        let (tag, _) = code.split_first_chunk().expect("32 bytes hold 16");
        NoteTag(*tag)
    }

    /// The id that a record states for `place`.
    #[must_use]
    pub fn open_record(&self, place: DirId, record: &PinRecord) -> Option<DirId> {
        let id = siv::open(&self.pins, place.bytes(), &record.0)?;
        Some(DirId::new(id.try_into().ok()?))
    }

    /// The id that a pin states for `place`; `None` if it states none, as it
    /// does after it was carried elsewhere.
    ///
    /// # Errors
    /// It is no pin.
    pub fn open_pin(&self, place: DirId, pin_file: &[u8]) -> Result<Option<DirId>, PinError> {
        let (records, rest) = pin_file.as_chunks::<PIN_RECORD_LEN>();
        if !rest.is_empty() || !matches!(records.len(), 1 | 2) {
            return Err(PinError::BadLength {
                len: pin_file.len(),
            });
        }
        let records = records.iter().map(|record| PinRecord(*record));
        let mut ids = records.filter_map(|record| self.open_record(place, &record));
        let id = ids.next();
        if ids.next().is_some() {
            return Err(PinError::Ambiguous);
        }
        Ok(id)
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a failed test may panic")]
    use proptest::prelude::*;

    use super::*;
    use crate::codec::entry::{RawEntry, classify};
    use crate::codec::testing::{DIR, OTHER_DIR, bit_flips, tree};

    fn name(len: usize) -> PlainName {
        PlainName::new(&vec![b'n'; len]).unwrap()
    }

    fn short(entry: &str) -> ShortName {
        ShortName::parse(entry.as_bytes()).unwrap()
    }

    #[test]
    fn lengths_are_those_of_the_format() {
        for (len, chars) in [
            (1, 43),
            (15, 43),
            (16, 64),
            (31, 64),
            (32, 86),
            (48, 107),
            (64, 128),
            (80, 150),
            (96, 171),
            (112, 192),
            (127, 192),
            (128, 44),
            (255, 44),
        ] {
            let cipher = tree().cipher_name(DIR, &name(len));
            assert_eq!(cipher.entry().len(), chars, "{len}");
            assert_eq!(cipher.side().is_some(), len > 127, "{len}");
        }
        assert_eq!(MAX_SIDE_LEN, 272);
    }

    #[test]
    fn a_name_opens_in_its_own_directory_only() {
        let tree = tree();
        let entry = short(tree.cipher_name(DIR, &name(5)).entry());
        assert_eq!(tree.open_name(DIR, &entry), Ok(name(5)));
        assert_eq!(
            tree.open_name(OTHER_DIR, &entry),
            Err(NameError::NotAuthentic)
        );
        let long = tree.cipher_name(DIR, &name(200));
        let side = long.side().unwrap();
        let entry = LongName::parse(long.entry().as_bytes()).unwrap();
        let bytes = side.bytes.bytes();
        assert_eq!(tree.open_long_name(DIR, &entry, bytes), Ok(name(200)));
        let elsewhere = tree.open_long_name(OTHER_DIR, &entry, bytes);
        assert_eq!(elsewhere, Err(NameError::NotAuthentic));
        assert_eq!(side.name, entry.side_name());
    }

    #[test]
    fn every_flipped_bit_of_a_sealed_name_is_refused() {
        let tree = tree();
        let cipher = tree.cipher_name(DIR, &name(9));
        for flipped in bit_flips(&text::decode(cipher.entry().as_bytes()).unwrap()) {
            let entry = short(&text::encode(&flipped));
            assert_eq!(tree.open_name(DIR, &entry), Err(NameError::NotAuthentic));
        }
        let cipher = tree.cipher_name(DIR, &name(130));
        let side = cipher.side().unwrap();
        let entry = LongName::parse(cipher.entry().as_bytes()).unwrap();
        for flipped in bit_flips(side.bytes.bytes()) {
            let refused = tree.open_long_name(DIR, &entry, &flipped);
            assert_eq!(refused, Err(NameError::WrongSideFile));
            let forged = LongName::of_side(&flipped);
            let refused = tree.open_long_name(DIR, &forged, &flipped);
            assert_eq!(refused, Err(NameError::NotAuthentic));
        }
    }

    /// What a holder of the keys could write but this format never would.
    #[test]
    fn authentic_names_of_another_form_are_refused() {
        let tree = tree();
        let seal = |padded: &[u8]| siv::seal(&tree.names, DIR.bytes(), padded);
        for bad in [
            text::pad(b""),
            text::pad(b"a/b"),
            text::pad(b"a\0b"),
            text::pad(b"."),
            text::pad(b".."),
            [&b"name\x80"[..], &[0; 27]].concat(),
            [&b"name"[..], &[0; 12]].concat(),
            vec![b'x'; 16],
            vec![0; 16],
        ] {
            let entry = short(&text::encode(&seal(&bad)));
            assert_eq!(
                tree.open_name(DIR, &entry),
                Err(NameError::Malformed),
                "{bad:?}"
            );
        }
        // A short name behind a long entry.
        for len in [1, 127] {
            let side = seal(&text::pad(name(len).bytes()));
            let entry = LongName::of_side(&side);
            let refused = tree.open_long_name(DIR, &entry, &side);
            assert_eq!(refused, Err(NameError::Malformed));
        }
        // A name too long for any directory.
        let side = seal(&text::pad(&[b'n'; 256]));
        let refused = tree.open_long_name(DIR, &LongName::of_side(&side), &side);
        assert_eq!(refused, Err(NameError::Malformed));
    }

    #[test]
    fn a_place_depends_on_parent_and_name() {
        let tree = tree();
        let place = tree.place(DIR, &name(3));
        assert_eq!(place, tree.place(DIR, &name(3)));
        assert_ne!(place, tree.place(DIR, &name(4)));
        assert_ne!(place, tree.place(OTHER_DIR, &name(3)));
        let mut mac = Hmac::<Sha256>::new_from_slice(tree.dirs.bytes()).unwrap();
        mac.update(&[&DIR.bytes()[..], b"nnn"].concat());
        assert_eq!(place.bytes()[..], mac.finalize().into_bytes()[..16]);
    }

    #[test]
    fn a_pin_opens_at_its_place_only() {
        let tree = tree();
        let id = DirId::new([9; 16]);
        let here = tree.seal_pin(DIR, id);
        let one = PinFile::new(None, here);
        assert_eq!(one.sealed().len(), 32);
        assert_eq!(tree.open_pin(DIR, one.sealed().bytes()), Ok(Some(id)));
        assert_eq!(tree.open_pin(OTHER_DIR, one.sealed().bytes()), Ok(None));
        let two = PinFile::new(Some(here), tree.seal_pin(OTHER_DIR, id));
        assert_eq!(two.sealed().len(), 64);
        assert_eq!(tree.open_pin(DIR, two.sealed().bytes()), Ok(Some(id)));
        assert_eq!(tree.open_pin(OTHER_DIR, two.sealed().bytes()), Ok(Some(id)));
        assert_eq!(PinFile::new(Some(here), here), one);
    }

    #[test]
    fn every_flipped_bit_of_a_pin_is_refused() {
        let tree = tree();
        let pin = PinFile::new(None, tree.seal_pin(DIR, OTHER_DIR));
        for flipped in bit_flips(pin.sealed().bytes()) {
            assert_eq!(tree.open_pin(DIR, &flipped), Ok(None));
        }
    }

    #[test]
    fn a_pin_has_one_record_or_two_and_states_one_id() {
        let tree = tree();
        for len in (0..130).filter(|len| ![32, 64].contains(len)) {
            let refused = tree.open_pin(DIR, &vec![0; len]);
            assert_eq!(refused, Err(PinError::BadLength { len }));
        }
        let records = [DIR, OTHER_DIR].map(|id| tree.seal_pin(DIR, id).0);
        let refused = tree.open_pin(DIR, &records.concat());
        assert_eq!(refused, Err(PinError::Ambiguous));
    }

    #[test]
    fn a_note_is_found_by_its_place_and_opens_there_only() {
        let tree = tree();
        let id = DirId::new([9; 16]);
        let note = tree.pin_note(DIR, id);
        assert_eq!(note.name().len(), PinNote::LEN);
        for suffix in ["", " (1)", ".conflict1"] {
            let name = RawName::new(format!("{}{suffix}", note.name()).as_bytes());
            let (tag, record) = PinNote::parse(&name).unwrap();
            assert_eq!(tag, tree.note_tag(DIR));
            assert_ne!(tag, tree.note_tag(OTHER_DIR));
            assert_eq!(tree.open_record(DIR, &record), Some(id));
            assert_eq!(tree.open_record(OTHER_DIR, &record), None);
        }
        for bad in ["", "x", &note.name()[1..], &note.name().replace('.', "-")] {
            assert_eq!(PinNote::parse(&RawName::new(bad.as_bytes())), None);
        }
    }

    proptest! {
        #[test]
        fn every_name_comes_back_from_its_entry(
            bytes in proptest::collection::vec(any::<u8>(), 1..=255),
        ) {
            let Ok(name) = PlainName::new(&bytes) else {
                return Ok(());
            };
            let tree = tree();
            let cipher = tree.cipher_name(DIR, &name);
            prop_assert_eq!(&cipher, &tree.cipher_name(DIR, &name));
            let opened = match classify(&RawName::new(cipher.entry().as_bytes())) {
                RawEntry::Short(entry) => tree.open_name(DIR, &entry),
                RawEntry::Long(entry) => {
                    let side = cipher.side().unwrap();
                    let raw = RawName::new(side.name.as_bytes());
                    prop_assert_eq!(classify(&raw), RawEntry::SideFile(entry.clone()));
                    tree.open_long_name(DIR, &entry, side.bytes.bytes())
                }
                other @ (RawEntry::SideFile(_)
                | RawEntry::Internal
                | RawEntry::ClientTemp
                | RawEntry::Other) => panic!("{other:?}"),
            };
            prop_assert_eq!(opened, Ok(name));
        }
    }
}
