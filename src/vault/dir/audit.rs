//! Every entry of a directory on the backing, with what it is: for `check`,
//! which must be able to name each of them.

use std::io;

use super::{ConflictCopy, DirError, VaultDir, pins};
use crate::codec::entry::{
    LongName, NAMES_DIR, PIN_NAME, RawEntry, SLOTS_DIR, VAULT_FILE, classify,
};
use crate::codec::names::NameError;
use crate::name::{PlainName, RawName};
use crate::store::RawDirEntry;
use crate::store::journal::is_journal;
use crate::types::{DirId, FileKind};
use crate::vault::Vault;

/// One entry of the backing.
#[derive(Debug)]
pub struct Audited {
    /// Its name there.
    pub entry: RawName,
    /// What it is; `None` where the backing does not say, or it is nothing
    /// that a vault holds.
    pub kind: Option<FileKind>,
    /// What it means.
    pub meaning: Meaning,
}

/// What an entry of the backing means.
#[derive(Debug)]
pub enum Meaning {
    /// An object of the vault.
    Object {
        /// Its plain name.
        name: PlainName,
        /// The id of the directory that the name opened under.
        under: DirId,
    },
    /// The form of a name, but it opens under none of the directory's ids.
    Undecryptable,
    /// A long name whose side file is missing.
    NoSideFile,
    /// A long name whose side file holds something else.
    WrongSideFile,
    /// An object of the vault that is shown under another name than its own.
    ConflictCopy(ConflictCopy),
    /// The side file of a long name that is there.
    SideFile,
    /// The side file of a long name that is not there.
    OrphanedSideFile,
    /// A file of keepfs itself, in its place.
    Internal,
    /// A journal.
    Journal,
    /// A file of keepfs itself that an interruption or a sync client left.
    Leftover,
    /// A temporary file of a sync client.
    ClientTemp,
    /// Nothing of the vault.
    Foreign,
}

impl Meaning {
    /// The plain name in the entry of an object of the vault, and what it
    /// opened under; of a conflict copy the original's.
    #[must_use]
    pub fn object(&self) -> Option<(&PlainName, DirId)> {
        match self {
            Self::Object { name, under } => Some((name, *under)),
            Self::ConflictCopy(copy) => Some((&copy.of, copy.under)),
            Self::Undecryptable
            | Self::NoSideFile
            | Self::WrongSideFile
            | Self::SideFile
            | Self::OrphanedSideFile
            | Self::Internal
            | Self::Journal
            | Self::Leftover
            | Self::ClientTemp
            | Self::Foreign => None,
        }
    }

    /// The conflict copy that it is.
    #[must_use]
    pub fn copy(&self) -> Option<&ConflictCopy> {
        match self {
            Self::ConflictCopy(copy) => Some(copy),
            Self::Object { .. }
            | Self::Undecryptable
            | Self::NoSideFile
            | Self::WrongSideFile
            | Self::SideFile
            | Self::OrphanedSideFile
            | Self::Internal
            | Self::Journal
            | Self::Leftover
            | Self::ClientTemp
            | Self::Foreign => None,
        }
    }

    /// The plain name under which an object of the vault is shown, unless
    /// another one takes it.
    #[must_use]
    pub fn shown(&self) -> Option<&PlainName> {
        self.copy()
            .map(|copy| &copy.shown)
            .or_else(|| self.object().map(|(name, _)| name))
    }
}

/// What a directory's pin is worth.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PinStanding {
    /// There is none; the id is the place.
    Absent,
    /// It states the id.
    Used,
    /// It states nothing for this place; the id is the place.
    Elsewhere,
}

impl VaultDir {
    /// Tells every entry apart, in the backing's order. Nothing is hidden.
    ///
    /// # Errors
    /// What the backing says.
    pub fn audit(&self, vault: &Vault) -> Result<Vec<Audited>, DirError> {
        let raw = self.store.list()?;
        raw.into_iter()
            .map(|raw| self.examine(vault, raw))
            .collect()
    }

    /// What one entry means; `None` if there is none of that name.
    ///
    /// # Errors
    /// What the backing says.
    pub fn meaning_of(&self, vault: &Vault, entry: &RawName) -> Result<Option<Meaning>, DirError> {
        let kind = match self.store.stat(entry) {
            Ok(stat) => stat.kind(),
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            Err(error) => return Err(error.into()),
        };
        let raw = RawDirEntry {
            name: entry.clone(),
            ino: 0,
            kind,
        };
        self.examine(vault, raw)
            .map(|audited| Some(audited.meaning))
    }

    /// What the pin is worth.
    ///
    /// # Errors
    /// It cannot be read, or is none.
    pub fn pin_standing(&self, vault: &Vault) -> Result<PinStanding, DirError> {
        if self.is_root(vault) {
            return Ok(PinStanding::Absent);
        }
        let pin = pins::read(&self.store)?;
        Ok(if pin.is_absent() {
            PinStanding::Absent
        } else if pin.opens_at(vault, self.place)?.is_some() {
            PinStanding::Used
        } else {
            PinStanding::Elsewhere
        })
    }

    fn is_root(&self, vault: &Vault) -> bool {
        self.place == vault.keys().root_dir_id()
    }

    fn examine(&self, vault: &Vault, raw: RawDirEntry) -> Result<Audited, DirError> {
        let meaning = match classify(&raw.name) {
            form @ RawEntry::Short(_) => match self.open(vault, &form) {
                Some(opened) => self.object(vault, &raw.name, opened)?,
                // A copy's suffix may happen to make another legal length.
                None => self.copy_of(vault, &raw.name, Meaning::Undecryptable),
            },
            RawEntry::Long(long) => self.examine_long(vault, &raw.name, &long)?,
            RawEntry::SideFile(long) => {
                let entry = RawName::new(long.entry().as_bytes());
                match self.store.stat(&entry) {
                    Ok(_) => Meaning::SideFile,
                    Err(error) if error.kind() == io::ErrorKind::NotFound => {
                        Meaning::OrphanedSideFile
                    }
                    Err(error) => return Err(error.into()),
                }
            }
            RawEntry::Internal => {
                if self.is_in_its_place(vault, &raw.name) {
                    Meaning::Internal
                } else if is_journal(&raw.name) && self.is_root(vault) {
                    Meaning::Journal
                } else {
                    Meaning::Leftover
                }
            }
            RawEntry::ClientTemp => Meaning::ClientTemp,
            RawEntry::Other => self.copy_of(vault, &raw.name, Meaning::Foreign),
        };
        let kind = match raw.kind {
            Some(kind) => Some(kind),
            None => self.store.stat(&raw.name)?.kind(),
        };
        Ok(Audited {
            entry: raw.name,
            kind,
            meaning,
        })
    }

    fn object(
        &self,
        vault: &Vault,
        entry: &RawName,
        (name, under): (PlainName, DirId),
    ) -> io::Result<Meaning> {
        Ok(match self.second_of_a_name(vault, entry, &name, under)? {
            Some(copy) => Meaning::ConflictCopy(copy),
            None => Meaning::Object { name, under },
        })
    }

    fn examine_long(&self, vault: &Vault, entry: &RawName, long: &LongName) -> io::Result<Meaning> {
        let Some(side) = self.read_side(vault, long) else {
            return Ok(Meaning::NoSideFile);
        };
        for id in self.ids(vault) {
            match vault.keys().open_long_name(id, long, &side) {
                Ok(name) => return self.object(vault, entry, (name, id)),
                Err(NameError::WrongSideFile) => return Ok(Meaning::WrongSideFile),
                Err(_) => {}
            }
        }
        Ok(Meaning::Undecryptable)
    }

    /// Whether a name is a conflict copy's, or else `otherwise`.
    fn copy_of(&self, vault: &Vault, entry: &RawName, otherwise: Meaning) -> Meaning {
        match self.suffixed_copy(vault, entry) {
            Some(copy) => Meaning::ConflictCopy(copy),
            None => otherwise,
        }
    }

    fn is_in_its_place(&self, vault: &Vault, entry: &RawName) -> bool {
        let name = entry.bytes();
        if self.is_root(vault) {
            [VAULT_FILE, SLOTS_DIR, NAMES_DIR]
                .map(str::as_bytes)
                .contains(&name)
        } else {
            name == PIN_NAME.as_bytes()
        }
    }
}
