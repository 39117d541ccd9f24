//! One object of the vault, examined.

use std::io;
use std::sync::Arc;

use super::{Checker, Depth, Place, Task, Trouble};
use crate::codec::xattr::{XATTR_PREFIX, XattrOwner};
use crate::name::{PlainName, RawName};
use crate::store::StoreNode;
use crate::types::{Access, DirId, FileKind};
use crate::vault::dir::{Audited, DirError, Meaning, PinStanding, VaultDir};
use crate::vault::file::{File, FileError, SealVerdict, Standing};

impl Checker<'_> {
    /// Opens a directory and examines it.
    pub(super) fn child(
        &self,
        parent: &VaultDir,
        entry: &RawName,
        name: (&PlainName, DirId),
        at: &Place,
    ) {
        match parent.open_entry(self.vault, entry, name) {
            Ok(dir) => self.dir(&Arc::new(dir), at),
            Err(error) => self.bad_dir(at, error),
        }
    }

    fn bad_dir(&self, at: &Place, error: DirError) {
        self.report(
            at,
            match error {
                DirError::Backing(error) | DirError::PinUnreadable(error) => {
                    Trouble::Unreadable(error)
                }
                DirError::PinMalformed(error) => Trouble::BadPin(error),
                other @ (DirError::NothingOpens | DirError::Link(_) | DirError::Random(_)) => {
                    Trouble::Directory(other)
                }
            },
        );
    }

    /// Examines a directory's pin, attributes and entries; what is inside
    /// becomes tasks.
    pub(super) fn dir(&self, dir: &Arc<VaultDir>, at: &Place) {
        Self::count(&self.counts.directories, 1);
        let pin = match dir.pin_standing(self.vault) {
            Ok(standing) => standing,
            Err(error) => return self.bad_dir(at, error),
        };
        match dir.store().itself() {
            Ok(node) => self.attributes(&node, XattrOwner::Dir(dir.id()), at),
            Err(error) => self.report(at, Trouble::Unreadable(error)),
        }
        let entries = match dir.audit(self.vault) {
            Ok(entries) => entries,
            Err(error) => return self.bad_dir(at, error),
        };
        let (mut opened, mut closed) = (0u64, 0u64);
        for entry in &entries {
            match entry.meaning {
                Meaning::Object { .. } | Meaning::ConflictCopy(_) => opened += 1,
                Meaning::Undecryptable => closed += 1,
                Meaning::NoSideFile
                | Meaning::WrongSideFile
                | Meaning::SideFile
                | Meaning::OrphanedSideFile
                | Meaning::Internal
                | Meaning::Journal
                | Meaning::Leftover
                | Meaning::ClientTemp
                | Meaning::Foreign => {}
            }
        }
        // The root's id is certain: what does not open there is not the vault's.
        let told_apart = opened > 0 || at.cipher.is_empty();
        if !told_apart && closed > 0 {
            self.report(at, Trouble::NothingOpens { entries: closed });
        } else {
            self.add_home(dir, at);
        }
        let by_note = |entry: &Audited| {
            let opened = entry.meaning.object();
            opened.is_some_and(|(_, id)| id != dir.id() && id != dir.place())
        };
        if pin != PinStanding::Used && entries.iter().any(by_note) {
            self.report(at, Trouble::LostPin);
        } else if pin == PinStanding::Elsewhere && opened > 0 {
            self.report(at, Trouble::IdlePin);
        }
        self.hidden(dir, at, &entries);
        let tasks = entries
            .into_iter()
            .filter_map(|entry| self.entry(dir, at, entry, told_apart));
        // Directories first, so that files are taken off the stack before them.
        let (files, dirs): (Vec<Task>, Vec<Task>) =
            tasks.partition(|task| matches!(task, Task::File { .. }));
        self.tasks.push(dirs.into_iter().chain(files).collect());
    }

    /// Names the conflict copies that are not shown, because another object has
    /// the name they would be shown under.
    fn hidden(&self, dir: &VaultDir, at: &Place, entries: &[Audited]) {
        for entry in entries {
            let Some(copy) = entry.meaning.copy() else {
                continue;
            };
            let found = dir.lookup(self.vault, &copy.shown);
            if found.is_ok_and(|found| found.is_some_and(|found| found.entry != entry.entry)) {
                self.report(&at.child(&entry.entry, Some(&copy.shown)), Trouble::Hidden);
            }
        }
    }

    /// Examines one entry; what takes longer becomes a task. `told_apart`:
    /// that others in the directory open, so that one that does not is said
    /// by itself.
    fn entry(
        &self,
        dir: &Arc<VaultDir>,
        at: &Place,
        entry: Audited,
        told_apart: bool,
    ) -> Option<Task> {
        let place = at.child(&entry.entry, entry.meaning.shown());
        let trouble = match entry.meaning {
            Meaning::Object { name, under } => {
                return self.object(dir, (name, under), entry.entry, entry.kind, place);
            }
            Meaning::SideFile | Meaning::Internal => return None,
            Meaning::Undecryptable if !told_apart => return None,
            Meaning::Undecryptable => Trouble::NameDoesNotOpen,
            Meaning::NoSideFile => Trouble::NoSideFile,
            Meaning::WrongSideFile => Trouble::WrongSideFile,
            Meaning::ConflictCopy(copy) => {
                let of = copy.of.bytes().to_vec();
                self.report(&place, Trouble::ConflictCopy { of });
                let name = (copy.of, copy.under);
                return self.object(dir, name, entry.entry, entry.kind, place);
            }
            Meaning::OrphanedSideFile => Trouble::OrphanedSideFile,
            Meaning::Journal => Trouble::Journal,
            Meaning::Leftover => Trouble::Leftover,
            Meaning::ClientTemp => Trouble::ClientTemp,
            Meaning::Foreign => Trouble::Foreign,
        };
        self.report(&place, trouble);
        None
    }

    fn object(
        &self,
        dir: &Arc<VaultDir>,
        (name, under): (PlainName, DirId),
        entry: RawName,
        kind: Option<FileKind>,
        at: Place,
    ) -> Option<Task> {
        let parent = Arc::clone(dir);
        match kind {
            Some(FileKind::Directory) => Some(Task::Child {
                parent,
                entry,
                name,
                under,
                at,
            }),
            Some(FileKind::Regular) => Some(Task::File { parent, entry, at }),
            Some(FileKind::Symlink) => {
                self.symlink(dir, &entry, &at);
                None
            }
            Some(
                FileKind::Fifo | FileKind::Socket | FileKind::CharDevice | FileKind::BlockDevice,
            ) => {
                Self::count(&self.counts.special, 1);
                None
            }
            None => {
                self.report(&at, Trouble::Foreign);
                None
            }
        }
    }

    fn symlink(&self, dir: &VaultDir, entry: &RawName, at: &Place) {
        Self::count(&self.counts.symlinks, 1);
        match dir.store().read_link(entry) {
            Ok(raw) => {
                if let Err(error) = self.vault.keys().open_target(&raw) {
                    self.report(at, Trouble::Link(error));
                }
            }
            Err(error) => self.report(at, Trouble::Unreadable(error)),
        }
    }

    /// Examines a regular file: header and length, and with [`Depth::Full`]
    /// every chunk, the seal and the attributes.
    pub(super) fn file(&self, parent: &VaultDir, entry: &RawName, at: &Place) {
        Self::count(&self.counts.files, 1);
        let opened = parent
            .store()
            .open_file(entry, Access::Read)
            .map_err(FileError::Io)
            .and_then(|store| {
                let len = store.stat()?.size;
                Ok((len, File::open(self.vault, store)))
            });
        let (len, opened) = match opened {
            Ok((len, opened)) => (len, opened),
            Err(error) => return self.bad_file(at, error),
        };
        Self::count(&self.counts.bytes, len);
        let mut left = len;
        match opened {
            Ok((file, standing)) => {
                match file.store().map(|store| store.list_xattrs()) {
                    Ok(names) => self.file_attributes(&file, names, at),
                    Err(error) => self.bad_file(at, error),
                }
                if standing == Standing::Unsealed {
                    self.unsealed(&file, at);
                }
                if self.depth == Depth::Full {
                    let checked = file.check(|bytes| {
                        left = left.saturating_sub(bytes);
                        self.progress.advance(bytes);
                    });
                    match checked {
                        Ok(contents) if contents.damaged_chunks > 0 => {
                            self.report(at, Trouble::Chunks(contents));
                        }
                        Ok(contents) if contents.seal == SealVerdict::Differs => {
                            self.report(at, Trouble::WrongSeal);
                        }
                        Ok(_) => {}
                        Err(error) => self.bad_file(at, error),
                    }
                }
            }
            Err(error) => self.bad_file(at, error),
        }
        self.progress.advance(left);
    }

    /// Tells a file that says of itself that it is open from one that is
    /// longer than it says.
    fn unsealed(&self, file: &File, at: &Place) {
        let trouble = if file.says_open() {
            Trouble::LeftOpen
        } else {
            Trouble::Longer
        };
        self.report(at, trouble);
    }

    fn bad_file(&self, at: &Place, error: FileError) {
        self.report(
            at,
            match error {
                FileError::Damaged(damage) => Trouble::File(damage),
                FileError::Io(error) => Trouble::Unreadable(error),
                other @ (FileError::TooBig
                | FileError::BeyondEnd
                | FileError::Random(_)
                | FileError::NotWritable) => Trouble::Unreadable(io::Error::other(other)),
            },
        );
    }

    fn file_attributes(&self, file: &File, names: io::Result<Vec<Vec<u8>>>, at: &Place) {
        let owner = XattrOwner::File(file.keys().file_id());
        let read = |name: &[u8]| match file.store() {
            Ok(store) => store.get_xattr(name),
            Err(error) => Err(io::Error::other(error)),
        };
        self.each_attribute(owner, names, read, at);
    }

    fn attributes(&self, node: &StoreNode, owner: XattrOwner, at: &Place) {
        self.each_attribute(owner, node.list_xattrs(), |name| node.get_xattr(name), at);
    }

    fn each_attribute(
        &self,
        owner: XattrOwner,
        names: io::Result<Vec<Vec<u8>>>,
        read: impl Fn(&[u8]) -> io::Result<Vec<u8>>,
        at: &Place,
    ) {
        let names = match names {
            Ok(names) => names,
            // The backing has none, and so has the vault.
            Err(error) if error.raw_os_error() == Some(libc::EOPNOTSUPP) => return,
            Err(error) => return self.report(at, Trouble::Unreadable(error)),
        };
        let keys = self.vault.keys();
        for raw in names {
            if !raw.starts_with(XATTR_PREFIX.as_bytes()) {
                continue;
            }
            let value = match read(&raw) {
                Ok(value) => value,
                Err(error) => {
                    self.report(at, Trouble::Unreadable(error));
                    continue;
                }
            };
            let opened = keys
                .open_xattr_name(owner, &raw)
                .and_then(|name| keys.open_xattr_value(owner, &name, &value));
            if let Err(error) = opened {
                self.report(at, Trouble::Attribute(error));
            }
        }
    }
}
