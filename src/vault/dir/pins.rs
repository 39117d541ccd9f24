//! The pin of a directory, `keepfs.dir` inside it: one or two records, each of
//! which opens at one place and states the id the directory has there
//! (FORMAT.md, directories).

use std::io;

use super::{DirError, VaultDir};
use crate::codec::names::{PinFile, PinRecord};
use crate::store::{Internal, StoreDir};
use crate::types::{DirId, SetTime};
use crate::vault::Vault;

/// What a directory's `keepfs.dir` holds, unverified; `None` if there is none.
pub(super) struct RawPin(Option<Vec<u8>>);

/// Reads a directory's pin. Only its absence means that there is none.
///
/// # Errors
/// `EACCES` of a directory that may not be searched, which is no damage; else
/// [`DirError::PinUnreadable`].
pub(super) fn read(dir: &StoreDir) -> Result<RawPin, DirError> {
    read_raw(dir).map_err(explain)
}

/// [`read`] for a directory that is about to move, also if its own mode
/// forbids its owner to look inside.
pub(super) fn read_as_owner(dir: &StoreDir) -> Result<RawPin, DirError> {
    dir.with_owner_access(|| read_raw(dir)).map_err(explain)
}

fn read_raw(dir: &StoreDir) -> io::Result<RawPin> {
    match dir.read_internal(Internal::Pin) {
        Ok(bytes) => Ok(RawPin(Some(bytes))),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(RawPin(None)),
        Err(error) => Err(error),
    }
}

fn explain(error: io::Error) -> DirError {
    if error.kind() == io::ErrorKind::PermissionDenied {
        DirError::Backing(error)
    } else {
        DirError::PinUnreadable(error)
    }
}

impl RawPin {
    /// Whether there is none.
    pub(super) fn is_absent(&self) -> bool {
        self.0.is_none()
    }

    /// The id that the pin states for a directory at `place`.
    pub(super) fn opens_at(&self, vault: &Vault, place: DirId) -> Result<Option<DirId>, DirError> {
        match &self.0 {
            Some(bytes) => Ok(vault.keys().open_pin(place, bytes)?),
            None => Ok(None),
        }
    }

    /// The id of a directory with this pin at `place`: the pin's, else the
    /// place itself.
    pub(super) fn id_at(&self, vault: &Vault, place: DirId) -> Result<DirId, DirError> {
        Ok(self.opens_at(vault, place)?.unwrap_or(place))
    }
}

/// Puts a pin in place: temporary name, fsync, rename, fsync of the directory,
/// whose mtime is restored, for it has not changed in people's eyes.
fn write(dir: &StoreDir, pin: &PinFile) -> io::Result<()> {
    let before = dir.stat_itself()?;
    dir.with_owner_access(|| dir.replace_internal(Internal::Pin, pin.sealed()))?;
    match dir
        .itself()?
        .set_times(SetTime::Omit, SetTime::At(before.mtime))
    {
        // Whoever may write a directory need not own it.
        Err(error) if error.kind() == io::ErrorKind::PermissionDenied => Ok(()),
        other => other,
    }
}

impl VaultDir {
    /// Gives the directory `dir`, which is at `here`, a pin for `there`: the
    /// record of the place it is at, if it has one there, and one for the other;
    /// `id` for both. What it says is noted first.
    pub(super) fn write_pin(
        vault: &Vault,
        dir: &StoreDir,
        current: Option<PinRecord>,
        (there, id): (DirId, DirId),
    ) -> Result<(), DirError> {
        vault.note_pin(there, id)?;
        let pin = PinFile::new(current, vault.keys().seal_pin(there, id));
        Ok(write(dir, &pin)?)
    }
}
