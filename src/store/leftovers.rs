//! Directories that are empty to people but not to the backing: pins, side
//! files whose entries are gone, unfinished temporary files, and directories
//! like that which a crash left under `keepfs.rm-…`.

use std::collections::HashSet;
use std::io;

use super::internal::{is_temporary, temporary_name};
use super::{RawDirEntry, StoreDir};
use crate::codec::entry::{ASIDE_PREFIX, LongName, PIN_NAME, RawEntry, classify};
use crate::name::RawName;
use crate::sys::fs::random_suffix;
use crate::types::{FileKind, RenameMode};

/// What a directory holds that may go with it.
struct Leftovers {
    files: Vec<RawName>,
    /// Earlier directories, renamed aside.
    dirs: Vec<RawName>,
    pinned: bool,
}

/// A directory of leftovers under a name of its own, out of people's sight.
/// To be ended by one of its three methods; after a crash, `check` ends it.
pub(super) struct Aside<'a> {
    parent: &'a StoreDir,
    dir: StoreDir,
    name: RawName,
    original: &'a RawName,
}

/// Whether a directory could not be removed or replaced because it is not
/// empty; some file systems say `EEXIST`.
pub(super) fn is_not_empty(error: &io::Error) -> bool {
    matches!(error.raw_os_error(), Some(libc::ENOTEMPTY | libc::EEXIST))
}

/// [`is_not_empty`] of a rename. SFTP has no number for it: `EPERM` stands for
/// every failure there.
pub(super) fn may_be_not_empty(error: &io::Error) -> bool {
    is_not_empty(error) || error.raw_os_error() == Some(libc::EPERM)
}

impl StoreDir {
    /// [`Self::set_aside`] after a rename that ended with `error`, which is the
    /// answer where it was about something else.
    pub(super) fn set_aside_instead<'a>(
        &'a self,
        entry: &'a RawName,
        error: io::Error,
    ) -> io::Result<Option<Aside<'a>>> {
        match self.set_aside(entry) {
            Err(_) if !is_not_empty(&error) => Err(error),
            other => other,
        }
    }

    /// Renames the directory `entry` aside if all it holds may go with it;
    /// `None`, and no change, if not.
    pub(super) fn set_aside<'a>(&'a self, entry: &'a RawName) -> io::Result<Option<Aside<'a>>> {
        let dir = self.open_dir(entry)?;
        if dir.leftovers()?.is_none() {
            return Ok(None);
        }
        let name = RawName::new(format!("{ASIDE_PREFIX}{}", random_suffix()?).as_bytes());
        self.dir
            .rename(entry.bytes(), &self.dir, name.bytes(), RenameMode::Replace)?;
        let aside = Aside {
            parent: self,
            dir,
            name,
            original: entry,
        };
        // Something may have arrived between the look and the rename.
        match aside.dir.leftovers() {
            Ok(Some(_)) => Ok(Some(aside)),
            Ok(None) => aside.put_back().map(|()| None),
            Err(error) => {
                aside.put_back()?;
                Err(error)
            }
        }
    }

    /// Runs `work`; if the directory's own mode forbids it, runs it again with
    /// the owner's rights added for that time.
    ///
    /// # Errors
    /// What `work` says.
    pub fn with_owner_access<T>(&self, work: impl Fn() -> io::Result<T>) -> io::Result<T> {
        match work() {
            Err(error) if error.kind() == io::ErrorKind::PermissionDenied => {
                let node = self.itself()?;
                let mode = node.stat()?.perm();
                if mode & 0o700 == 0o700 || node.set_mode(mode | 0o700).is_err() {
                    return Err(error);
                }
                let done = work();
                node.set_mode(mode)?;
                done
            }
            other => other,
        }
    }

    /// What the directory holds, if all of it may go with the directory.
    fn leftovers(&self) -> io::Result<Option<Leftovers>> {
        let entries = self.with_owner_access(|| self.list())?;
        let mut left = Leftovers {
            files: Vec::new(),
            dirs: Vec::new(),
            pinned: false,
        };
        let mut sides: Vec<LongName> = Vec::new();
        let mut long: HashSet<LongName> = HashSet::new();
        for RawDirEntry { name, kind, .. } in entries {
            let kind = match kind {
                Some(kind) => Some(kind),
                None => self.stat(&name)?.kind(),
            };
            match (classify(&name), kind) {
                (RawEntry::SideFile(of), Some(FileKind::Regular)) => sides.push(of),
                (RawEntry::Long(entry), _) => {
                    long.insert(entry);
                }
                (RawEntry::Internal, Some(FileKind::Regular))
                    if name.bytes() == PIN_NAME.as_bytes() =>
                {
                    left.pinned = true;
                }
                (RawEntry::Internal, Some(FileKind::Regular)) if is_worthless(&name) => {
                    left.files.push(name);
                }
                (
                    RawEntry::Internal,
                    Some(
                        FileKind::Symlink
                        | FileKind::Fifo
                        | FileKind::Socket
                        | FileKind::CharDevice
                        | FileKind::BlockDevice,
                    ),
                ) if is_temporary(&name) => left.files.push(name),
                (RawEntry::Internal, Some(FileKind::Directory))
                    if name.bytes().starts_with(ASIDE_PREFIX.as_bytes()) =>
                {
                    if self.open_dir(&name)?.leftovers()?.is_none() {
                        return Ok(None);
                    }
                    left.dirs.push(name);
                }
                (
                    RawEntry::Short(_)
                    | RawEntry::SideFile(_)
                    | RawEntry::Internal
                    | RawEntry::ClientTemp
                    | RawEntry::Other,
                    _,
                ) => return Ok(None),
            }
        }
        if !long.is_empty() {
            return Ok(None);
        }
        left.files.extend(
            sides
                .iter()
                .map(|of| RawName::new(of.side_name().as_bytes())),
        );
        Ok(Some(left))
    }

    /// Removes the leftovers other than the pin, without which the directory
    /// cannot be put back as it was.
    fn clear(&self, left: &Leftovers) -> io::Result<()> {
        for file in &left.files {
            self.unlink(file)?;
        }
        for name in &left.dirs {
            let dir = self.open_dir(name)?;
            if let Some(left) = dir.leftovers()? {
                dir.with_owner_access(|| dir.clear(&left))?;
                if left.pinned {
                    dir.with_owner_access(|| dir.dir.unlink(PIN_NAME.as_bytes()))?;
                }
            }
            self.dir.remove_dir(name.bytes())?;
        }
        Ok(())
    }
}

impl Aside<'_> {
    /// Removes the directory; if anything is in it after all, puts it back.
    pub(super) fn remove(self) -> io::Result<()> {
        match self.try_remove() {
            Ok(()) => Ok(()),
            Err(error) => {
                self.put_back()?;
                Err(error)
            }
        }
    }

    /// Removes the directory, whose name is taken already. What fails is
    /// invisible, and `check` ends it.
    pub(super) fn remove_unseen(self) {
        let _left_for_check = self.try_remove();
    }

    /// Gives the directory its name back.
    pub(super) fn put_back(self) -> io::Result<()> {
        let back = |mode| {
            self.parent.dir.rename(
                self.name.bytes(),
                &self.parent.dir,
                self.original.bytes(),
                mode,
            )
        };
        match back(RenameMode::NoReplace) {
            // Without that mode, a directory only ever replaces an empty one.
            Err(error) if error.raw_os_error() == Some(libc::EINVAL) => back(RenameMode::Replace),
            other => other,
        }
    }

    /// Empties and removes the directory. Its pin waits outside until that has
    /// succeeded, and returns if it has not.
    fn try_remove(&self) -> io::Result<()> {
        let Some(left) = self.dir.leftovers()? else {
            return Err(io::Error::from_raw_os_error(libc::ENOTEMPTY));
        };
        self.dir.with_owner_access(|| self.dir.clear(&left))?;
        if !left.pinned {
            return self.parent.dir.remove_dir(self.name.bytes());
        }
        let (inside, outside) = (&self.dir.dir, &self.parent.dir);
        let waiting = temporary_name()?;
        let pin = PIN_NAME.as_bytes();
        self.dir.with_owner_access(|| {
            inside.rename(pin, outside, waiting.bytes(), RenameMode::Replace)
        })?;
        match outside.remove_dir(self.name.bytes()) {
            Ok(()) => {
                // Worthless from here on, and out of sight if it stays.
                let _left_behind = outside.unlink(waiting.bytes());
                Ok(())
            }
            Err(error) => {
                self.dir.with_owner_access(|| {
                    outside.rename(waiting.bytes(), inside, pin, RenameMode::Replace)
                })?;
                Err(error)
            }
        }
    }
}

/// Internal files that mean nothing without the directory they are in: copies
/// of pins and of side files, and temporary files. Others (`keepfs.vault`)
/// belong to something that is still in use.
fn is_worthless(name: &RawName) -> bool {
    [PIN_NAME.as_bytes(), b"~keepfs", b"="]
        .iter()
        .any(|start| name.bytes().starts_with(start))
}
