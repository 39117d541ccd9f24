//! The pin of a directory, `keepfs.dir` inside it: one or two records, each of
//! which opens at one place and states the id the directory has there
//! (FORMAT.md, directories).

use std::io;
use std::ops::ControlFlow;

use super::{DirError, VaultDir};
use crate::codec::entry::{ASIDE_PREFIX, PIN_NAME, SLOTS_DIR, VAULT_FILE};
use crate::codec::names::{PIN_RECORD_LEN, PinFile};
use crate::name::RawName;
use crate::store::{Internal, StoreDir};
use crate::types::{Access, DirId, SetTime};
use crate::vault::Vault;

/// Copies of a pin that are read at most.
const MOST_COPIES: usize = 16;
/// How the names of copies of a pin begin, wherever a client puts its mark.
const PIN_STEM: &str = "keepfs";

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
pub(super) fn write(dir: &StoreDir, pin: &PinFile) -> io::Result<()> {
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
    /// Whether anything here looks like a sync client's copy of the pin.
    pub(super) fn has_pin_copies(&self) -> io::Result<bool> {
        let mut met = false;
        let scanned = self.store.scan(|entry| {
            met = is_pin_copy(&entry.name);
            if met {
                ControlFlow::Break(())
            } else {
                ControlFlow::Continue(())
            }
        });
        match scanned {
            // What may not be listed was not listed before either.
            Err(error) if error.kind() == io::ErrorKind::PermissionDenied => Ok(false),
            scanned => scanned.map(|()| met),
        }
    }

    /// The ids that copies of the pin state, of a directory whose id comes
    /// from a pin, where they were not looked for yet: reads the directory. Any
    /// other is spared that; its copies are found when it is listed.
    pub(super) fn ids_of_a_pinned_one(&self, vault: &Vault) -> io::Result<Vec<DirId>> {
        if self.id == self.place || self.more_ids.get().is_some() {
            return Ok(Vec::new());
        }
        match self.look_for_ids(vault) {
            Err(error) if error.kind() == io::ErrorKind::PermissionDenied => Ok(Vec::new()),
            ids => ids,
        }
    }

    /// Reads the directory for copies of the pin, and returns the ids that
    /// they state for this place.
    pub(super) fn look_for_ids(&self, vault: &Vault) -> io::Result<Vec<DirId>> {
        let mut names = Vec::new();
        self.store.scan(|entry| {
            if is_pin_copy(&entry.name) {
                names.push(entry.name);
            }
            ControlFlow::Continue(())
        })?;
        Ok(self.learn_ids(vault, names.iter()))
    }

    /// Remembers the ids that the copies of the pin among `names` state for
    /// this place, bytewise by name. Looked for once; a fresh [`VaultDir`]
    /// looks again.
    pub(super) fn learn_ids<'n>(
        &self,
        vault: &Vault,
        names: impl Iterator<Item = &'n RawName>,
    ) -> Vec<DirId> {
        let ids = self.more_ids.get_or_init(|| {
            if self.place == vault.keys().root_dir_id() {
                return Box::default();
            }
            let mut copies: Vec<&RawName> = names.filter(|name| is_pin_copy(name)).collect();
            copies.sort();
            let stated = copies.into_iter().take(MOST_COPIES).filter_map(|name| {
                let file = self.store.open_file(name, Access::Read).ok()?;
                let bytes = file.read_head(2 * PIN_RECORD_LEN + 1).ok()?;
                vault.keys().open_pin(self.place, &bytes).ok().flatten()
            });
            stated.collect()
        });
        ids.to_vec()
    }
}

/// Whether a client may have made this name from `keepfs.dir`: it keeps the
/// beginning, or all but the extension.
fn is_pin_copy(name: &RawName) -> bool {
    let name = name.bytes();
    let starts = |start: &str| name.starts_with(start.as_bytes());
    let others = [VAULT_FILE, SLOTS_DIR, ASIDE_PREFIX];
    name != PIN_NAME.as_bytes() && starts(PIN_STEM) && !others.into_iter().any(starts)
}
