//! The journal's file: in the vault's root, under a name that sync clients
//! leave alone, locked by the mount that writes it.

use std::io;

use super::internal::{TEMPORARY_SUFFIX, is_numbered};
use super::{StoreDir, StoreFile};
use crate::codec::Sealed;
use crate::name::RawName;
use crate::sys::fs::{FileLock, random_suffix};
use crate::types::{Access, CipherOff, SetTime};

const PREFIX: &str = "~keepfs-journal-";

/// An open journal.
#[derive(Debug)]
pub struct JournalFile {
    name: RawName,
    file: StoreFile,
}

impl JournalFile {
    /// Its name in the root.
    #[must_use]
    pub fn name(&self) -> &RawName {
        &self.name
    }

    /// Its bytes.
    #[must_use]
    pub fn file(&self) -> &StoreFile {
        &self.file
    }
}

/// Whether `name` is one that journals have.
#[must_use]
pub fn is_journal(name: &RawName) -> bool {
    is_numbered(name, PREFIX)
}

impl StoreDir {
    /// Makes a journal that begins with `head`; durable and locked once this
    /// returns.
    ///
    /// # Errors
    /// What the backing says; nothing stays behind then, as far as it allows.
    pub fn create_journal(&self, head: Sealed<'_>) -> io::Result<JournalFile> {
        let digits = random_suffix()?;
        let name = RawName::new(format!("{PREFIX}{digits}{TEMPORARY_SUFFIX}").as_bytes());
        let file = self.unseen(|| {
            self.dir
                .create_file(name.bytes(), 0o600)
                .map(StoreFile::new)
        })?;
        let made = file
            .try_lock()
            .and_then(|_| {
                file.write_at(&[head], CipherOff::new(0))
                    .map_err(|partial| partial.source)
            })
            .and_then(|()| file.sync_all())
            .and_then(|()| self.sync());
        if let Err(error) = made {
            // What failed first is what matters.
            let _left_behind = self.dir.unlink(name.bytes());
            return Err(error);
        }
        Ok(JournalFile { name, file })
    }

    /// Changes the entries of this directory and sets its mtime back: nothing
    /// that is shown has changed. What others change in that instant gets the
    /// older mtime, too.
    fn unseen<T>(&self, change: impl FnOnce() -> io::Result<T>) -> io::Result<T> {
        let before = self.stat_itself()?.mtime;
        let done = change()?;
        // Not in somebody else's directory, where the mtime tells of it.
        let _restored = self
            .itself()
            .and_then(|dir| dir.set_times(SetTime::Omit, SetTime::At(before)));
        Ok(done)
    }

    /// The journals in this root directory.
    ///
    /// # Errors
    /// What the backing says.
    pub fn journals(&self) -> io::Result<Vec<RawName>> {
        let names = self.list()?.into_iter().map(|entry| entry.name);
        Ok(names.filter(is_journal).collect())
    }

    /// Opens a journal; `None` if a mount is writing it.
    ///
    /// # Errors
    /// What the backing says; [`crate::sys::fs::is_not_regular`].
    pub fn open_journal(&self, name: &RawName, access: Access) -> io::Result<Option<JournalFile>> {
        let file = StoreFile::new(self.dir.open_file(name.bytes(), access)?);
        match file.try_lock()? {
            FileLock::Busy => Ok(None),
            FileLock::Held | FileLock::Unsupported => Ok(Some(JournalFile {
                name: name.clone(),
                file,
            })),
        }
    }

    /// Removes a journal; not durable by itself, as one that is found again
    /// says nothing new.
    ///
    /// # Errors
    /// What the backing says; `InvalidInput` for any other name.
    pub fn remove_journal(&self, name: &RawName) -> io::Result<()> {
        if is_journal(name) {
            self.unseen(|| self.dir.unlink(name.bytes()))
        } else {
            Err(io::ErrorKind::InvalidInput.into())
        }
    }
}
