//! Files of keepfs itself: few, small, under fixed names, and never changed in
//! place. A new one is written under a temporary name, synced, renamed.

use std::borrow::Cow;
use std::io;

use super::{StoreDir, StoreFile};
use crate::codec::Sealed;
use crate::codec::entry::{NAMES_DIR, PIN_NAME, SLOTS_DIR, VAULT_FILE, slot_file_name};
use crate::codec::names::{MAX_SIDE_LEN, PIN_RECORD_LEN, PinNote, SideFile};
use crate::codec::vault::{Slot, VaultFile};
use crate::name::RawName;
use crate::sys::fs::random_suffix;
use crate::sys::inotify::{Inotify, Told, WatchId};
use crate::types::{Access, CipherOff, RenameMode, SlotId, Time};

/// What a temporary name begins with; 32 hexadecimal digits follow.
pub const TEMPORARY_PREFIX: &str = "~keepfs-";
/// What a temporary name ends with.
pub const TEMPORARY_SUFFIX: &str = ".tmp";

/// An internal file, by its role.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Internal {
    /// `keepfs.vault`, in a vault's root.
    Vault,
    /// A key slot, in `keepfs.slots`.
    Slot(SlotId),
    /// `keepfs.dir`, the pin of a directory.
    Pin,
}

impl Internal {
    fn name(self) -> Cow<'static, str> {
        match self {
            Self::Vault => VAULT_FILE.into(),
            Self::Slot(id) => slot_file_name(id).into(),
            Self::Pin => PIN_NAME.into(),
        }
    }

    /// Longest legal contents, in bytes.
    fn max_len(self) -> usize {
        match self {
            Self::Vault => VaultFile::LEN,
            Self::Slot(_) => Slot::MAX_LEN,
            Self::Pin => 2 * PIN_RECORD_LEN,
        }
    }
}

/// Whether `name` is one that keepfs gives to files and directories it has not
/// finished.
#[must_use]
pub fn is_temporary(name: &RawName) -> bool {
    is_numbered(name, TEMPORARY_PREFIX)
}

/// Whether `name` is `prefix`, 32 lower-case hexadecimal digits and the suffix
/// of temporary names.
pub(in crate::store) fn is_numbered(name: &RawName, prefix: &str) -> bool {
    name.bytes()
        .strip_prefix(prefix.as_bytes())
        .and_then(|rest| rest.strip_suffix(TEMPORARY_SUFFIX.as_bytes()))
        .is_some_and(|digits| {
            digits.len() == 32
                && digits
                    .iter()
                    .all(|b| matches!(b, b'0'..=b'9' | b'a'..=b'f'))
        })
}

impl StoreDir {
    /// What an internal file holds, or the beginning of it: what is longer
    /// than legal is cut one byte behind that, so its length still tells.
    ///
    /// # Errors
    /// What the backing says; [`crate::sys::fs::is_not_regular`].
    pub fn read_internal(&self, which: Internal) -> io::Result<Vec<u8>> {
        self.read_bounded(which.name().as_bytes(), which.max_len())
    }

    /// Opens an internal file for reading, to lock it.
    ///
    /// # Errors
    /// What the backing says; [`crate::sys::fs::is_not_regular`].
    pub fn open_internal(&self, which: Internal) -> io::Result<StoreFile> {
        self.dir
            .open_file(which.name().as_bytes(), Access::Read)
            .map(StoreFile::new)
    }

    /// Puts an internal file in place of an older one, or of none; atomic and
    /// durable.
    ///
    /// # Errors
    /// What the backing says; the older one is untouched then, unless only the
    /// last step failed, which makes the new one durable.
    pub fn replace_internal(&self, which: Internal, bytes: Sealed<'_>) -> io::Result<()> {
        self.replace(which.name().as_bytes(), bytes)
    }

    /// Writes a file under a temporary name and syncs it. Nothing stays behind
    /// if that fails, as far as the backing allows.
    ///
    /// # Errors
    /// What the backing says.
    pub fn write_temporary(&self, bytes: Sealed<'_>, mode: u32) -> io::Result<RawName> {
        let temporary = temporary_name()?;
        let file = StoreFile::new(self.dir.create_file(temporary.bytes(), mode)?);
        let written = file
            .write_at(&[bytes], CipherOff::new(0))
            .map_err(|partial| partial.source)
            .and_then(|()| file.sync_all());
        if let Err(error) = written {
            // What failed first is what matters.
            let _left_behind = self.dir.unlink(temporary.bytes());
            return Err(error);
        }
        Ok(temporary)
    }

    /// Renames a finished temporary file to its final name.
    ///
    /// # Errors
    /// What the backing says; the temporary file is removed then.
    pub(in crate::store) fn settle(
        &self,
        temporary: &RawName,
        name: &[u8],
        mode: RenameMode,
    ) -> io::Result<()> {
        self.dir
            .rename(temporary.bytes(), &self.dir, name, mode)
            .inspect_err(|_| {
                // What failed first is what matters.
                let _left_behind = self.dir.unlink(temporary.bytes());
            })
    }

    /// Puts `keepfs.vault` in place from a finished temporary file, which must
    /// not replace another; durable once this returns.
    ///
    /// # Errors
    /// What the backing says; `EEXIST` if there is one.
    pub fn settle_vault(&self, temporary: &RawName) -> io::Result<()> {
        self.dir
            .rename_new(temporary.bytes(), &self.dir, VAULT_FILE.as_bytes())?;
        self.sync()
    }

    /// Makes a directory with the one slot `bytes` under a temporary name and
    /// syncs both.
    ///
    /// # Errors
    /// What the backing says.
    pub fn write_slots(&self, id: SlotId, bytes: Sealed<'_>) -> io::Result<RawName> {
        let temporary = temporary_name()?;
        self.dir.make_dir(temporary.bytes(), 0o755)?;
        let slots = self.open_dir(&temporary)?;
        let file = slots
            .dir
            .create_file(Internal::Slot(id).name().as_bytes(), 0o600)
            .map(StoreFile::new)?;
        file.write_at(&[bytes], CipherOff::new(0))
            .map_err(|partial| partial.source)?;
        file.sync_all()?;
        slots.sync()?;
        Ok(temporary)
    }

    /// Puts a finished directory of slots in place; durable once this returns.
    ///
    /// # Errors
    /// What the backing says; `EEXIST` if there is one.
    pub fn settle_slots(&self, temporary: &RawName) -> io::Result<()> {
        self.dir
            .rename_new(temporary.bytes(), &self.dir, SLOTS_DIR.as_bytes())?;
        self.sync()
    }

    /// The names of the notes in this root directory.
    ///
    /// # Errors
    /// What the backing says.
    pub fn notes(&self) -> io::Result<Vec<RawName>> {
        match self.open_dir(&RawName::new(NAMES_DIR.as_bytes())) {
            Ok(names) => Ok(names.list()?.into_iter().map(|entry| entry.name).collect()),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(Vec::new()),
            Err(error) => Err(error),
        }
    }

    /// What tells whether there are other notes than before; `None` if there
    /// are none.
    ///
    /// # Errors
    /// What the backing says.
    pub fn notes_changed(&self) -> io::Result<Option<(Time, Time)>> {
        match self.stat(&RawName::new(NAMES_DIR.as_bytes())) {
            Ok(stat) => Ok(Some((stat.mtime, stat.ctime))),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// Lets `inotify` tell what happens to the notes in this root directory;
    /// `None` if there are none.
    ///
    /// # Errors
    /// What the backing says.
    pub fn watch_notes(&self, inotify: &Inotify) -> io::Result<Option<WatchId>> {
        match self.open_dir(&RawName::new(NAMES_DIR.as_bytes())) {
            Ok(names) => names.watch(inotify, Told::Names).map(Some),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// Adds a note to this root directory, if it is not there; an empty file,
    /// so it is whole at once. Not durable by itself: it is needed only where
    /// the pin is lost that is written with it.
    ///
    /// # Errors
    /// What the backing says.
    pub fn add_note(&self, note: &PinNote) -> io::Result<()> {
        let (dir, mode) = self.names_dir()?;
        match dir.dir.create_file(note.name().as_bytes(), mode & 0o666) {
            Err(error) if !is_there(&error) => Err(error),
            Ok(_) | Err(_) => Ok(()),
        }
    }

    /// What a second copy of a side file in this root directory holds; see
    /// [`Self::read_side`].
    ///
    /// # Errors
    /// What the backing says.
    pub fn read_kept_side(&self, name: &RawName) -> io::Result<Vec<u8>> {
        self.open_dir(&RawName::new(NAMES_DIR.as_bytes()))?
            .read_bounded(name.bytes(), MAX_SIDE_LEN)
    }

    /// Puts a second copy of a side file into this root directory. Atomic, and
    /// not durable by itself: it is needed only where the first one is lost.
    ///
    /// # Errors
    /// What the backing says.
    pub fn keep_side(&self, side: SideFile<'_>) -> io::Result<()> {
        let (dir, mode) = self.names_dir()?;
        let temporary = temporary_name()?;
        let file = StoreFile::new(dir.dir.create_file(temporary.bytes(), mode & 0o666)?);
        let written = file.write_at(&[side.bytes], CipherOff::new(0));
        if let Err(partial) = written {
            // What failed first is what matters.
            let _left_behind = dir.dir.unlink(temporary.bytes());
            return Err(partial.source);
        }
        dir.settle(&temporary, side.name.as_bytes(), RenameMode::Replace)
    }

    /// `keepfs.names` of this root directory, made if need be, and the
    /// permissions of what is in it.
    fn names_dir(&self) -> io::Result<(Self, u32)> {
        let mode = self.stat_itself()?.mode & 0o777;
        let names = RawName::new(NAMES_DIR.as_bytes());
        let dir = match self.open_dir(&names) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                match self.dir.make_dir(names.bytes(), mode) {
                    Err(error) if !is_there(&error) => return Err(error),
                    Ok(()) | Err(_) => self.open_dir(&names)?,
                }
            }
            opened => opened?,
        };
        Ok((dir, mode))
    }

    /// Opens the directory of key slots.
    ///
    /// # Errors
    /// What the backing says.
    pub fn open_slots(&self) -> io::Result<Self> {
        self.open_dir(&RawName::new(SLOTS_DIR.as_bytes()))
    }

    /// Writes a new slot into this directory of slots; durable once this
    /// returns, and no other file is touched.
    ///
    /// # Errors
    /// What the backing says, `EEXIST` if there is one; no slot is left then,
    /// unless only the last step failed, which makes it durable.
    pub fn add_slot(&self, id: SlotId, bytes: Sealed<'_>) -> io::Result<()> {
        let temporary = self.write_temporary(bytes, 0o600)?;
        self.dir
            .rename_new(
                temporary.bytes(),
                &self.dir,
                Internal::Slot(id).name().as_bytes(),
            )
            .inspect_err(|_| {
                // What failed first is what matters.
                let _left_behind = self.dir.unlink(temporary.bytes());
            })?;
        self.sync()
    }

    /// Removes a slot from this directory of slots, durably.
    ///
    /// # Errors
    /// What the backing says.
    pub fn remove_slot(&self, id: SlotId) -> io::Result<()> {
        self.dir.unlink(Internal::Slot(id).name().as_bytes())?;
        self.sync()
    }

    /// Gives a sync client's copy of a slot the slot's own name, durably.
    ///
    /// # Errors
    /// What the backing says, `EEXIST` if the slot is there.
    pub fn restore_slot(&self, copy: &RawName, id: SlotId) -> io::Result<()> {
        self.dir.rename_new(
            copy.bytes(),
            &self.dir,
            Internal::Slot(id).name().as_bytes(),
        )?;
        self.sync()
    }

    /// Exchanges a sync client's copy of a slot and the slot's own file,
    /// durably.
    ///
    /// # Errors
    /// What the backing says, `EINVAL` if it cannot exchange names.
    pub fn exchange_slot(&self, copy: &RawName, id: SlotId) -> io::Result<()> {
        let slot = Internal::Slot(id).name();
        self.dir.rename(
            copy.bytes(),
            &self.dir,
            slot.as_bytes(),
            RenameMode::Exchange,
        )?;
        self.sync()
    }

    /// What a sync client's copy of a slot holds; see [`Self::read_internal`].
    ///
    /// # Errors
    /// What the backing says; [`crate::sys::fs::is_not_regular`].
    pub fn read_slot_copy(&self, copy: &RawName) -> io::Result<Vec<u8>> {
        self.read_bounded(copy.bytes(), Slot::MAX_LEN)
    }

    /// What a finished temporary file holds; see [`Self::read_internal`].
    ///
    /// # Errors
    /// What the backing says; `InvalidInput` for any other name.
    pub fn read_temporary(&self, name: &RawName, max: usize) -> io::Result<Vec<u8>> {
        if is_temporary(name) {
            self.read_bounded(name.bytes(), max)
        } else {
            Err(io::ErrorKind::InvalidInput.into())
        }
    }
}

fn is_there(error: &io::Error) -> bool {
    error.kind() == io::ErrorKind::AlreadyExists
}

pub(in crate::store) fn temporary_name() -> io::Result<RawName> {
    let digits = random_suffix()?;
    let name = format!("{TEMPORARY_PREFIX}{digits}{TEMPORARY_SUFFIX}");
    Ok(RawName::new(name.as_bytes()))
}
