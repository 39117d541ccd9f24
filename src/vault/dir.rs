//! [`VaultDir`]: one directory of a vault, in plain names. The only place
//! where names cross between plain and cipher.
//!
//! | room | what is kept there |
//! |---|---|
//! | this file | looking up, opening, creating and removing by name |
//! | `list` | listings, and whether a directory's id is the right one |
//! | `copies` | conflict copies, shown under names that say what they are |
//! | `audit` | every entry of the backing told apart, for `check` |
//! | `lost` | ids and names found again, for repair |
//! | `pins` | reading and writing the pin of a directory |
//! | `rename` | renames, which may need pins |
//! | `unfinished` | objects that get their name only when they are whole |
//!
//! # Ids and places
//!
//! A directory's *place* follows from its parent's id and its name; its *id*,
//! which its entries are encrypted under, is the place unless its pin says
//! otherwise. Where they differ, an entry that is not found under the id is
//! looked for under the place: another device may have created it before the
//! pin reached it. And it is looked for under every id that a note states for
//! the place: another device may have taken the pin away, with the directory,
//! while this one was filling it, or put another pin in its place.
//!
//! # What a `VaultDir` does not do
//!
//! It takes no locks. While a directory is renamed, its holder keeps creates
//! in it away, and afterwards goes on with [`VaultDir::after_move`]. An id is
//! as fresh as the last [`VaultDir::open_child`] or [`VaultDir::refresh`].

mod audit;
mod copies;
mod list;
mod lost;
mod pins;
mod rename;
mod unfinished;

use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use parking_lot::Mutex;

pub use audit::{Audited, Meaning, PinStanding};
pub use copies::ConflictCopy;
pub use list::{Listed, Listing, StandsFor};
pub use lost::Identity;
pub use rename::{Moved, Renamed};

use self::copies::KnownCopies;
use crate::codec::RandomError;
use crate::codec::conflict::CopyTag;
use crate::codec::link::LinkError;
use crate::codec::names::{CipherName, PinError};
use crate::name::{PlainName, RawName};
use crate::store::{StoreDir, StoreFile, StoreNode, Target, entry_of};
use crate::sys::fs::Stat;
use crate::types::{Access, DirId, SetTime};
use crate::vault::Vault;

/// One directory, open, with the id that its names are encrypted under.
#[derive(Clone, Debug)]
pub struct VaultDir {
    store: Arc<StoreDir>,
    place: DirId,
    id: DirId,
    /// Set once an entry, or the lack of any, has confirmed the id.
    confirmed: Arc<AtomicBool>,
    /// Conflict copies that were seen here. A leaf: nothing is called while
    /// it is held.
    copies: Arc<Mutex<KnownCopies>>,
}

/// An entry that was looked up.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Found {
    /// Its name on the backing.
    pub entry: RawName,
    /// What the backing knows of it.
    pub stat: Stat,
    /// If it is a conflict copy: of what.
    pub copy: Option<ConflictCopy>,
}

/// Why something in a directory cannot be done.
#[derive(Debug, thiserror::Error)]
pub enum DirError {
    /// The backing's own answer, with its errno.
    #[error(transparent)]
    Backing(#[from] io::Error),
    /// The pin is there and cannot be read, so the id is not known.
    #[error("the directory's pin cannot be read: {0}")]
    PinUnreadable(#[source] io::Error),
    /// The pin is not one.
    #[error(transparent)]
    PinMalformed(#[from] PinError),
    /// Entries, none of which opens under the directory's id: what is created
    /// now would be lost once the right id is back.
    #[error(
        "no name in the directory opens; it may have been moved on the backing, or its pin is missing"
    )]
    NothingOpens,
    /// A symbolic link's target.
    #[error(transparent)]
    Link(#[from] LinkError),
    /// No randomness.
    #[error(transparent)]
    Random(#[from] RandomError),
}

/// A shown name as it stands, or would stand, on the backing.
struct Resolved {
    cipher: CipherName,
    /// What follows it in the entry of a conflict copy; else empty.
    suffix: Box<[u8]>,
    /// The name that is encrypted there: of a conflict copy the original's.
    name: PlainName,
    /// The id it is encrypted under: the directory's, or its place.
    under: DirId,
    /// The name it is shown under, if it is a conflict copy.
    shown_as: Option<PlainName>,
}

impl Resolved {
    fn entry(&self) -> RawName {
        self.target().entry()
    }

    fn target(&self) -> Target<'_> {
        Target {
            name: &self.cipher,
            suffix: &self.suffix,
        }
    }

    /// The place of the directory that it is, or will be.
    fn place(&self, vault: &Vault) -> DirId {
        vault.keys().place(self.under, &self.name)
    }
}

impl VaultDir {
    pub(in crate::vault) fn root(store: Arc<StoreDir>, id: DirId) -> Self {
        Self::new(store, id, id)
    }

    fn new(store: Arc<StoreDir>, place: DirId, id: DirId) -> Self {
        Self {
            store,
            place,
            id,
            confirmed: Arc::new(AtomicBool::new(false)),
            copies: Arc::default(),
        }
    }

    /// The id that names here are encrypted under; not unique.
    #[must_use]
    pub fn id(&self) -> DirId {
        self.id
    }

    /// The open directory of the backing.
    #[must_use]
    pub fn store(&self) -> &Arc<StoreDir> {
        &self.store
    }

    /// Reads the pin again, which another device may have delivered since.
    /// The result shares the open directory.
    ///
    /// # Errors
    /// The pin cannot be read, or is none.
    pub fn refresh(&self, vault: &Vault) -> Result<Self, DirError> {
        if self.place == vault.keys().root_dir_id() {
            return Ok(self.clone());
        }
        let id = pins::read(&self.store)?.id_at(vault, self.place)?;
        if id == self.id {
            return Ok(self.clone());
        }
        Ok(Self::new(Arc::clone(&self.store), self.place, id))
    }

    /// This directory after a rename has moved it; shares the open directory.
    #[must_use]
    pub fn after_move(&self, moved: Moved) -> Self {
        Self::new(Arc::clone(&self.store), moved.place, moved.id)
    }

    /// Looks a name up: one encryption, one fstatat(2), no listing, unless it
    /// has the form of a conflict copy's. `None` if there is no such entry.
    ///
    /// # Errors
    /// What the backing says.
    pub fn lookup(&self, vault: &Vault, name: &PlainName) -> Result<Option<Found>, DirError> {
        let found = |entry: RawName, copy| match self.store.stat(&entry) {
            Ok(stat) => Ok(Some(Found { entry, stat, copy })),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(error) => Err(DirError::from(error)),
        };
        let under = |id| found(entry_of(&vault.keys().cipher_name(id, name)), None);
        if let Some(found) = under(self.id)? {
            return Ok(Some(found));
        }
        for id in self.ids(vault).into_iter().skip(1) {
            if let Some(found) = under(id)? {
                return Ok(Some(found));
            }
        }
        match self.find_copy(vault, name)? {
            Some(copy) => found(copy.clone().resolved(vault).entry(), Some(copy)),
            None => Ok(None),
        }
    }

    /// What the backing knows of an entry.
    ///
    /// # Errors
    /// What the backing says.
    pub fn stat_entry(&self, vault: &Vault, name: &PlainName) -> Result<Stat, DirError> {
        let found = self.lookup(vault, name)?;
        let found = found.ok_or_else(|| io::Error::from_raw_os_error(libc::ENOENT))?;
        Ok(found.stat)
    }

    /// Opens a directory inside this one and reads its pin.
    ///
    /// # Errors
    /// What the backing says; the pin cannot be read, or is none.
    pub fn open_child(&self, vault: &Vault, name: &PlainName) -> Result<Self, DirError> {
        let at = self.resolve(vault, name)?;
        let store = self.store.open_dir(&at.entry())?;
        let place = at.place(vault);
        let id = pins::read(&store)?.id_at(vault, place)?;
        Ok(Self::new(Arc::new(store), place, id))
    }

    /// Opens a regular file.
    ///
    /// # Errors
    /// What the backing says; [`crate::sys::fs::is_not_regular`].
    pub fn open_file(
        &self,
        vault: &Vault,
        name: &PlainName,
        access: Access,
    ) -> Result<StoreFile, DirError> {
        let entry = self.resolve(vault, name)?.entry();
        Ok(self.store.open_file(&entry, access)?)
    }

    /// Creates an empty file of the backing, open for reading and writing. It
    /// is no file of the vault before its image is written.
    ///
    /// # Errors
    /// What the backing says; [`DirError::NothingOpens`].
    pub fn create_file(
        &self,
        vault: &Vault,
        name: &PlainName,
        mode: u32,
    ) -> Result<StoreFile, DirError> {
        let at = self.resolve_new(vault, name)?;
        Ok(self.store.create_file(&at.cipher, mode)?)
    }

    /// The same without a name, until [`Self::give_name`]; `None` where the backing
    /// has no such files.
    ///
    /// # Errors
    /// What the backing says.
    pub fn create_unnamed(&self, mode: u32) -> Result<Option<StoreFile>, DirError> {
        Ok(self.store.create_unnamed(mode)?)
    }

    /// Gives a file of [`Self::create_unnamed`] its name.
    ///
    /// # Errors
    /// What the backing says, `EEXIST` among it; [`DirError::NothingOpens`].
    pub fn give_name(
        &self,
        vault: &Vault,
        file: &StoreFile,
        name: &PlainName,
    ) -> Result<(), DirError> {
        let at = self.resolve_new(vault, name)?;
        Ok(self.store.give_name(file, &at.cipher)?)
    }

    /// Creates a directory. Its id is its place.
    ///
    /// # Errors
    /// What the backing says; [`DirError::NothingOpens`].
    pub fn mkdir(&self, vault: &Vault, name: &PlainName, mode: u32) -> Result<(), DirError> {
        let at = self.resolve_new(vault, name)?;
        Ok(self.store.mkdir(&at.cipher, mode)?)
    }

    /// Creates a symbolic link.
    ///
    /// # Errors
    /// What the backing says, `ENAMETOOLONG` for a target it cannot hold
    /// encrypted; [`DirError::NothingOpens`].
    pub fn symlink(&self, vault: &Vault, name: &PlainName, target: &[u8]) -> Result<(), DirError> {
        let at = self.resolve_new(vault, name)?;
        let target = vault.keys().seal_target(target)?;
        Ok(self.store.symlink(&at.cipher, &target)?)
    }

    /// Creates a FIFO, socket or device node; `mode` carries the kind.
    ///
    /// # Errors
    /// What the backing says, `InvalidInput` for regular files;
    /// [`DirError::NothingOpens`].
    pub fn mknod(
        &self,
        vault: &Vault,
        name: &PlainName,
        mode: u32,
        rdev: u64,
    ) -> Result<(), DirError> {
        let at = self.resolve_new(vault, name)?;
        Ok(self.store.mknod(&at.cipher, mode, rdev)?)
    }

    /// Gives an object a second name.
    ///
    /// # Errors
    /// What the backing says; [`DirError::NothingOpens`] of the new name's
    /// directory.
    pub fn hard_link(
        vault: &Vault,
        from: (&Self, &PlainName),
        to: (&Self, &PlainName),
    ) -> Result<(), DirError> {
        let (from_dir, from_name) = from;
        let (to_dir, to_name) = to;
        let old = from_dir.resolve(vault, from_name)?;
        let new = to_dir.resolve_new(vault, to_name)?;
        Ok(from_dir
            .store
            .hard_link(&old.entry(), &to_dir.store, &new.cipher)?)
    }

    /// Removes an entry that is no directory.
    ///
    /// # Errors
    /// What the backing says.
    pub fn unlink(&self, vault: &Vault, name: &PlainName) -> Result<(), DirError> {
        let entry = self.resolve(vault, name)?.entry();
        Ok(self.store.unlink(&entry)?)
    }

    /// Removes a directory without entries; pins and orphaned side files in it
    /// go with it.
    ///
    /// # Errors
    /// What the backing says; `ENOTEMPTY` changes nothing.
    pub fn rmdir(&self, vault: &Vault, name: &PlainName) -> Result<(), DirError> {
        let entry = self.resolve(vault, name)?.entry();
        Ok(self.store.rmdir(&entry)?)
    }

    /// Target of a symbolic link, in plain.
    ///
    /// # Errors
    /// What the backing says; the target is none of this vault's.
    pub fn read_link(&self, vault: &Vault, name: &PlainName) -> Result<Vec<u8>, DirError> {
        let entry = self.resolve(vault, name)?.entry();
        let raw = self.store.read_link(&entry)?;
        Ok(vault.keys().open_target(&raw)?)
    }

    /// An entry as an object with owner, mode, times and raw attributes; a
    /// link itself.
    ///
    /// # Errors
    /// What the backing says.
    pub fn node(&self, vault: &Vault, name: &PlainName) -> Result<StoreNode, DirError> {
        let entry = self.resolve(vault, name)?.entry();
        Ok(self.store.node(&entry)?)
    }

    /// Sets the permission bits of an entry.
    ///
    /// # Errors
    /// What the backing says.
    pub fn set_mode(&self, vault: &Vault, name: &PlainName, mode: u32) -> Result<(), DirError> {
        Ok(self.node(vault, name)?.set_mode(mode)?)
    }

    /// Sets owner and group of an entry; `None` leaves that id.
    ///
    /// # Errors
    /// What the backing says.
    pub fn set_owner(
        &self,
        vault: &Vault,
        name: &PlainName,
        owner: (Option<u32>, Option<u32>),
    ) -> Result<(), DirError> {
        let (uid, gid) = owner;
        Ok(self.node(vault, name)?.set_owner(uid, gid)?)
    }

    /// Sets the times of an entry.
    ///
    /// # Errors
    /// What the backing says.
    pub fn set_times(
        &self,
        vault: &Vault,
        name: &PlainName,
        atime: SetTime,
        mtime: SetTime,
    ) -> Result<(), DirError> {
        Ok(self.node(vault, name)?.set_times(atime, mtime)?)
    }

    /// The id; the place where that is another; and what notes state for it.
    fn ids(&self, vault: &Vault) -> Vec<DirId> {
        let mut ids = vec![self.id];
        if self.place != vault.keys().root_dir_id() {
            for id in [self.place].into_iter().chain(vault.noted_ids(self.place)) {
                if !ids.contains(&id) {
                    ids.push(id);
                }
            }
        }
        ids
    }

    /// The name as it stands here: under the id; or under another id, or as a
    /// conflict copy, if only that exists. Looks at the backing only where one
    /// of those may be.
    fn resolve(&self, vault: &Vault, name: &PlainName) -> io::Result<Resolved> {
        let first = Self::resolved_as(vault, name, self.id);
        let may_be_copy = CopyTag::in_name(name).next().is_some();
        let ids = self.ids(vault);
        if ids.len() == 1 && !may_be_copy || self.is_there(&first.entry())? {
            return Ok(first);
        }
        for id in ids.into_iter().skip(1) {
            let other = Self::resolved_as(vault, name, id);
            if self.is_there(&other.entry())? {
                return Ok(other);
            }
        }
        let copy = self.find_copy(vault, name)?;
        Ok(copy.map_or(first, |copy| copy.resolved(vault)))
    }

    /// The name as it is, or would be, under the id or the place.
    /// The entry that a name has here as a rule; not looked up.
    #[must_use]
    pub fn usual_entry(&self, vault: &Vault, name: &PlainName) -> RawName {
        entry_of(&vault.keys().cipher_name(self.id, name))
    }

    fn resolved_as(vault: &Vault, name: &PlainName, under: DirId) -> Resolved {
        Resolved {
            cipher: vault.keys().cipher_name(under, name),
            suffix: Box::default(),
            name: name.clone(),
            under,
            shown_as: None,
        }
    }

    /// [`Self::resolve`] for a name that something is about to get.
    fn resolve_target(&self, vault: &Vault, name: &PlainName) -> Result<Resolved, DirError> {
        self.confirm(vault)?;
        let at = self.resolve(vault, name)?;
        if let Some(side) = at.cipher.side() {
            vault.keep_side(side)?;
        }
        Ok(at)
    }

    /// [`Self::resolve`] for a name that is about to be created.
    fn resolve_new(&self, vault: &Vault, name: &PlainName) -> Result<Resolved, DirError> {
        let at = self.resolve_target(vault, name)?;
        match at.shown_as {
            Some(_) => Err(io::Error::from_raw_os_error(libc::EEXIST).into()),
            None => Ok(at),
        }
    }

    fn is_there(&self, entry: &RawName) -> io::Result<bool> {
        match self.store.stat(entry) {
            Ok(_) => Ok(true),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(false),
            Err(error) => Err(error),
        }
    }

    /// Refuses a directory whose entries show that its id is not the right
    /// one. Looked at once; a fresh [`VaultDir`] looks again.
    fn confirm(&self, vault: &Vault) -> Result<(), DirError> {
        if self.confirmed.load(Ordering::Relaxed) {
            return Ok(());
        }
        if !self.id_is_plausible(vault)? {
            return Err(DirError::NothingOpens);
        }
        self.confirmed.store(true, Ordering::Relaxed);
        Ok(())
    }
}

#[cfg(test)]
mod tests;
