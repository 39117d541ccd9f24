//! Cipher names, directory ids and pins; FORMAT.md, names and directories.
//!
//! ```text
//! sealed name  = AES-256-SIV(K(names); AD = dir_id; name padded to 16)
//! short entry  = base64url(sealed name)                   names of 1 to 127 bytes
//! long entry   = "=" || base64url(SHA-256(sealed name))   names of 128 to 255 bytes
//! side file    = long entry || "=", holds the sealed name
//! place(child) = HMAC-SHA-256(K(dirs), dir_id(parent) || name)[0..16]
//! pin record   = AES-256-SIV(K(pins); AD = place; dir_id)
//! ```

use hmac::{Hmac, KeyInit, Mac};
use sha2::Sha256;

use crate::name::PlainName;
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
        let open = |record: &[u8; PIN_RECORD_LEN]| {
            let id: [u8; 16] = siv::open(&self.pins, place.bytes(), record)?
                .try_into()
                .ok()?;
            Some(DirId::new(id))
        };
        let mut ids = records.iter().filter_map(open);
        let id = ids.next();
        if ids.next().is_some() {
            return Err(PinError::Ambiguous);
        }
        Ok(id)
    }
}
