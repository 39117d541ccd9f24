//! Every entry of a directory on the backing, with what it is: for `check`,
//! which must be able to name each of them.

use std::io;

use super::{DirError, VaultDir, pins};
use crate::codec::entry::{
    ConflictBase, LongName, PIN_NAME, RawEntry, SLOTS_DIR, ShortName, VAULT_FILE, classify,
    conflict_bases,
};
use crate::codec::names::NameError;
use crate::name::{PlainName, RawName};
use crate::store::RawDirEntry;
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
        /// What the name opened under.
        under: Under,
    },
    /// The form of a name, but it opens neither under the directory's id nor
    /// under its place.
    Undecryptable,
    /// A long name whose side file is missing.
    NoSideFile,
    /// A long name whose side file holds something else.
    WrongSideFile,
    /// A conflict copy that a sync client made of the object of this name.
    ConflictCopy {
        /// The object's plain name.
        of: PlainName,
    },
    /// The side file of a long name that is there.
    SideFile,
    /// The side file of a long name that is not there.
    OrphanedSideFile,
    /// A file of keepfs itself, in its place.
    Internal,
    /// A file of keepfs itself that an interruption or a sync client left.
    Leftover,
    /// A temporary file of a sync client.
    ClientTemp,
    /// Nothing of the vault.
    Foreign,
}

impl Meaning {
    /// The plain name of an object of the vault, and what it opened under.
    #[must_use]
    pub fn object(&self) -> Option<(&PlainName, Under)> {
        match self {
            Self::Object { name, under } => Some((name, *under)),
            Self::Undecryptable
            | Self::NoSideFile
            | Self::WrongSideFile
            | Self::ConflictCopy { .. }
            | Self::SideFile
            | Self::OrphanedSideFile
            | Self::Internal
            | Self::Leftover
            | Self::ClientTemp
            | Self::Foreign => None,
        }
    }
}

/// Which id of a directory a name opened under.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Under {
    /// The directory's id.
    Id,
    /// Its place: the name was made where the pin was not known.
    Place,
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
            RawEntry::Short(short) => match self.open_short(vault, &short) {
                Some(opened) => self.object(opened),
                // A copy's suffix may happen to make another legal length.
                None => self.copy_of(vault, &raw.name, Meaning::Undecryptable),
            },
            RawEntry::Long(long) => self.examine_long(vault, &long),
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

    fn object(&self, (name, id): (PlainName, DirId)) -> Meaning {
        let under = if id == self.id {
            Under::Id
        } else {
            Under::Place
        };
        Meaning::Object { name, under }
    }

    fn examine_long(&self, vault: &Vault, long: &LongName) -> Meaning {
        let Ok(side) = self.store.read_side(long) else {
            return Meaning::NoSideFile;
        };
        for id in self.ids() {
            match vault.keys().open_long_name(id, long, &side) {
                Ok(name) => return self.object((name, id)),
                Err(NameError::WrongSideFile) => return Meaning::WrongSideFile,
                Err(_) => {}
            }
        }
        Meaning::Undecryptable
    }

    /// Whether a name is a conflict copy's, or else `otherwise`.
    fn copy_of(&self, vault: &Vault, entry: &RawName, otherwise: Meaning) -> Meaning {
        let open_short = |short: &ShortName| self.open_short(vault, short);
        let copied = conflict_bases(entry).find_map(|(base, _)| match base {
            ConflictBase::Short(short) => open_short(&short),
            ConflictBase::Long(long) => self.open_long(vault, &long),
        });
        match copied {
            Some((of, _)) => Meaning::ConflictCopy { of },
            None => otherwise,
        }
    }

    fn is_in_its_place(&self, vault: &Vault, entry: &RawName) -> bool {
        let name = entry.bytes();
        if self.is_root(vault) {
            name == VAULT_FILE.as_bytes() || name == SLOTS_DIR.as_bytes()
        } else {
            name == PIN_NAME.as_bytes()
        }
    }
}
