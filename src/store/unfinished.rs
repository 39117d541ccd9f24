//! Objects of the vault that are not whole yet: under a temporary name, which
//! nobody is shown, until one rename puts them in their place. What a crash
//! leaves of them is a leftover that means nothing.

use std::io;

use super::internal::{is_temporary, temporary_name};
use super::{StoreDir, StoreFile, StoreNode, Target};
use crate::codec::link::SealedTarget;
use crate::name::RawName;
use crate::types::{FileKind, RenameMode};

/// An object under a temporary name. To be ended by [`StoreDir::finish`] or
/// [`StoreDir::discard`] of the directory it was made in.
#[derive(Debug)]
pub struct Unfinished(RawName);

impl StoreDir {
    /// Creates an empty regular file, open for reading and writing, that only
    /// its owner may use.
    ///
    /// # Errors
    /// What the backing says.
    pub fn begin_file(&self) -> io::Result<(Unfinished, StoreFile)> {
        let name = temporary_name()?;
        let file = self.dir.create_file(name.bytes(), 0o600)?;
        Ok((Unfinished(name), StoreFile::new(file)))
    }

    /// Creates a symbolic link.
    ///
    /// # Errors
    /// What the backing says; `ENAMETOOLONG` if it cannot hold the target.
    pub fn begin_symlink(&self, target: &SealedTarget) -> io::Result<Unfinished> {
        let name = temporary_name()?;
        self.dir
            .make_symlink(name.bytes(), target.sealed().bytes())?;
        Ok(Unfinished(name))
    }

    /// Creates a FIFO, socket or device node; `mode` carries the kind.
    ///
    /// # Errors
    /// What the backing says; `InvalidInput` for a regular file.
    pub fn begin_node(&self, mode: u32, rdev: u64) -> io::Result<Unfinished> {
        if matches!(mode & libc::S_IFMT, 0 | libc::S_IFREG) {
            return Err(io::ErrorKind::InvalidInput.into());
        }
        let name = temporary_name()?;
        self.dir.make_node(name.bytes(), mode, rdev)?;
        Ok(Unfinished(name))
    }

    /// Gives the object `entry` of `from` one more name, here.
    ///
    /// # Errors
    /// What the backing says.
    pub fn begin_link(&self, from: &Self, entry: &RawName) -> io::Result<Unfinished> {
        let name = temporary_name()?;
        from.dir.link(entry.bytes(), &self.dir, name.bytes())?;
        Ok(Unfinished(name))
    }

    /// An unfinished object with owner, mode, times and attributes.
    ///
    /// # Errors
    /// What the backing says.
    pub fn unfinished_node(&self, unfinished: &Unfinished) -> io::Result<StoreNode> {
        self.dir.node(unfinished.0.bytes()).map(StoreNode::new)
    }

    /// Gives a whole object its name, atomically: whoever looks sees all of
    /// it, or what was there before. Not durable by itself.
    ///
    /// # Errors
    /// What the backing says, `EEXIST` unless `mode` replaces; the object
    /// stays unfinished.
    pub fn finish(
        &self,
        unfinished: &Unfinished,
        target: Target<'_>,
        mode: RenameMode,
    ) -> io::Result<()> {
        let temporary = unfinished.0.bytes();
        self.with_side(target.name)?;
        let entry = target.entry();
        let name = entry.bytes();
        match mode {
            RenameMode::NoReplace => self.dir.rename_new(temporary, &self.dir, name),
            RenameMode::Replace | RenameMode::Exchange => {
                self.dir.rename(temporary, &self.dir, name, mode)
            }
        }
    }

    /// Removes an unfinished object.
    ///
    /// # Errors
    /// What the backing says.
    pub fn discard(&self, unfinished: &Unfinished) -> io::Result<()> {
        self.dir.unlink(unfinished.0.bytes())
    }

    /// Removes what earlier runs left unfinished here; other files of keepfs,
    /// and directories, stay. Nothing else may be working on the vault.
    ///
    /// # Errors
    /// What the backing says.
    pub fn discard_leftovers(&self) -> io::Result<()> {
        for entry in self.list()? {
            if is_temporary(&entry.name)
                && self.stat(&entry.name)?.kind() != Some(FileKind::Directory)
            {
                self.dir.unlink(entry.name.bytes())?;
            }
        }
        Ok(())
    }

    /// Everything on the backing's file system survives a power cut once this
    /// returns; syncfs(2).
    ///
    /// # Errors
    /// What the backing says.
    pub fn sync_file_system(&self) -> io::Result<()> {
        self.dir.sync_file_system()
    }
}
