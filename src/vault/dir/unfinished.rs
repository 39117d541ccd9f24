//! Objects that get their name only when they are whole. What a crash leaves
//! of them is no object of the vault and does no harm.

use super::{DirError, VaultDir};
use crate::name::PlainName;
use crate::store::{StoreFile, StoreNode, Unfinished};
use crate::types::RenameMode;
use crate::vault::Vault;

impl VaultDir {
    /// Creates an empty file of the backing, open for reading and writing, as
    /// [`Self::create_file`] does, but without a name.
    ///
    /// # Errors
    /// What the backing says.
    pub fn begin_file(&self) -> Result<(Unfinished, StoreFile), DirError> {
        Ok(self.store.begin_file()?)
    }

    /// Creates a symbolic link without a name.
    ///
    /// # Errors
    /// As of [`Self::symlink`].
    pub fn begin_symlink(&self, vault: &Vault, target: &[u8]) -> Result<Unfinished, DirError> {
        let target = vault.keys().seal_target(target)?;
        Ok(self.store.begin_symlink(&target)?)
    }

    /// Creates a FIFO, socket or device node without a name.
    ///
    /// # Errors
    /// As of [`Self::mknod`].
    pub fn begin_node(&self, mode: u32, rdev: u64) -> Result<Unfinished, DirError> {
        Ok(self.store.begin_node(mode, rdev)?)
    }

    /// Begins to give the object `name` of `from` a name here.
    ///
    /// # Errors
    /// As of [`Self::hard_link`].
    pub fn begin_link(
        &self,
        vault: &Vault,
        from: &Self,
        name: &PlainName,
    ) -> Result<Unfinished, DirError> {
        let entry = from.resolve(vault, name)?.entry();
        Ok(self.store.begin_link(&from.store, &entry)?)
    }

    /// An unfinished object with owner, mode, times and raw attributes.
    ///
    /// # Errors
    /// What the backing says.
    pub fn unfinished_node(&self, unfinished: &Unfinished) -> Result<StoreNode, DirError> {
        Ok(self.store.unfinished_node(unfinished)?)
    }

    /// Gives a whole object its name, atomically. Not durable by itself.
    ///
    /// # Errors
    /// What the backing says, `EEXIST` unless `mode` replaces;
    /// [`DirError::NothingOpens`]. The object stays unfinished then.
    pub fn finish(
        &self,
        vault: &Vault,
        unfinished: &Unfinished,
        name: &PlainName,
        mode: RenameMode,
    ) -> Result<(), DirError> {
        let at = match mode {
            RenameMode::NoReplace => self.resolve_new(vault, name)?,
            RenameMode::Replace | RenameMode::Exchange => self.resolve_target(vault, name)?,
        };
        Ok(self.store.finish(unfinished, at.target(), mode)?)
    }

    /// Removes an unfinished object.
    ///
    /// # Errors
    /// What the backing says.
    pub fn discard(&self, unfinished: &Unfinished) -> Result<(), DirError> {
        Ok(self.store.discard(unfinished)?)
    }
}
