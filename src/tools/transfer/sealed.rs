//! A vault as a [`Tree`].

use std::io;
use std::ops::Range;

use super::tree::{
    ACLS, Attribute, Attributes, Begin, Identity, Listing, Look, Tree, TreeError, USER, dress,
    listed, open_up,
};
use crate::codec::xattr::{XATTR_PREFIX, XattrOwner};
use crate::name::PlainName;
use crate::store::{StoreNode, Unfinished, XattrValue};
use crate::sys::fs::{Stat, XattrMode};
use crate::types::{Access, CipherLen, FileKind, PlainLen, PlainOff, RenameMode};
use crate::vault::Vault;
use crate::vault::dir::VaultDir;
use crate::vault::file::{File, FileError, SeekTo};

/// An unlocked vault.
pub(super) struct SealedTree<'a>(pub(super) &'a Vault);

/// An object without a name.
pub(super) struct Draft {
    unfinished: Unfinished,
    /// What attributes of a regular file are encrypted under.
    owner: Option<XattrOwner>,
    identity: Identity,
}

impl SealedTree<'_> {
    /// With the size in plain.
    fn plain(&self, stat: Stat) -> Stat {
        let size = match stat.kind() {
            Some(FileKind::Regular) => {
                let len = CipherLen::new(stat.size);
                self.0.geometry().longest_legal_prefix(len).get()
            }
            Some(
                FileKind::Directory
                | FileKind::Symlink
                | FileKind::Fifo
                | FileKind::Socket
                | FileKind::CharDevice
                | FileKind::BlockDevice,
            )
            | None => stat.size,
        };
        Stat { size, ..stat }
    }

    fn attributes(
        &self,
        owner: XattrOwner,
        names: io::Result<Vec<Vec<u8>>>,
        value: impl Fn(&[u8]) -> io::Result<Vec<u8>>,
    ) -> Result<Attributes, TreeError> {
        let keys = self.0.keys();
        let mut read = Attributes::default();
        for raw in listed(names)? {
            let opened = if ACLS.contains(&raw.as_slice()) {
                value(&raw)
                    .map_err(TreeError::Io)
                    .map(|value| Attribute { name: raw, value })
            } else if raw.starts_with(XATTR_PREFIX.as_bytes()) {
                value(&raw).map_err(TreeError::Io).and_then(|sealed| {
                    let name = keys.open_xattr_name(owner, &raw)?;
                    let value = keys.open_xattr_value(owner, &name, &sealed)?;
                    let name = [USER, &name].concat();
                    Ok(Attribute { name, value })
                })
            } else {
                continue;
            };
            match opened {
                Ok(attribute) => read.found.push(attribute),
                Err(error) => read.lost.push(error),
            }
        }
        Ok(read)
    }

    fn put(
        &self,
        node: &StoreNode,
        owner: Option<XattrOwner>,
        attribute: &Attribute,
    ) -> Result<(), TreeError> {
        let Attribute { name, value } = attribute;
        match (name.strip_prefix(USER), owner) {
            (Some(name), Some(owner)) => {
                let keys = self.0.keys();
                let cipher_name = keys.seal_xattr_name(owner, name)?;
                let sealed = keys.seal_xattr_value(owner, name, value)?;
                let value = XattrValue::Sealed(sealed.sealed());
                node.set_xattr(cipher_name.as_bytes(), value, XattrMode::Any)?;
            }
            // The store refuses names of people's attributes here.
            (Some(_) | None, _) => {
                node.set_xattr(name, XattrValue::Metadata(value), XattrMode::Any)?;
            }
        }
        Ok(())
    }
}

impl Tree for SealedTree<'_> {
    type Dir = VaultDir;
    type File = File;
    type Draft = Draft;

    fn list(&self, dir: &VaultDir) -> Result<Listing, TreeError> {
        let listing = dir.list(self.0)?;
        let entries = listing.entries.into_iter();
        Ok(Listing {
            entries: entries
                .map(|entry| (entry.name, Some(entry.kind)))
                .collect(),
            lost: listing.undecryptable,
        })
    }

    fn find(&self, dir: &VaultDir, name: &PlainName) -> Result<Option<Stat>, TreeError> {
        let found = dir.lookup(self.0, name)?;
        Ok(found.map(|found| self.plain(found.stat)))
    }

    fn stat_file(&self, file: &File) -> Result<Stat, TreeError> {
        Ok(self.plain(file.store()?.stat()?))
    }

    fn open_dir(&self, dir: &VaultDir, name: &PlainName) -> Result<VaultDir, TreeError> {
        Ok(dir.open_child(self.0, name)?)
    }

    fn open_file(&self, dir: &VaultDir, name: &PlainName) -> Result<File, TreeError> {
        let store = dir.open_file(self.0, name, Access::Read)?;
        let (file, _) = File::open(self.0, store)?;
        Ok(file)
    }

    fn read_link(&self, dir: &VaultDir, name: &PlainName) -> Result<Vec<u8>, TreeError> {
        Ok(dir.read_link(self.0, name)?)
    }

    fn dir_attributes(&self, dir: &VaultDir) -> Result<Attributes, TreeError> {
        let node = dir.store().itself()?;
        let owner = XattrOwner::Dir(dir.id());
        self.attributes(owner, node.list_xattrs(), |name| node.get_xattr(name))
    }

    fn file_attributes(&self, file: &File) -> Result<Attributes, TreeError> {
        let store = file.store()?;
        let owner = XattrOwner::File(file.keys().file_id());
        self.attributes(owner, store.list_xattrs(), |name| store.get_xattr(name))
    }

    fn read(&self, file: &File, at: u64, len: usize, out: &mut Vec<u8>) -> Result<(), TreeError> {
        Ok(file.read(PlainOff::new(at), len, out)?)
    }

    fn data(&self, file: &File, at: u64) -> Result<Option<Range<u64>>, TreeError> {
        let start = match file.seek(PlainOff::new(at), SeekTo::Data) {
            Err(FileError::BeyondEnd) => return Ok(None),
            other => other?,
        };
        let end = file.seek(start, SeekTo::Hole)?;
        Ok(Some(start.get()..end.get()))
    }

    fn make_dir(&self, dir: &VaultDir, name: &PlainName) -> Result<(), TreeError> {
        Ok(dir.mkdir(self.0, name, 0o700)?)
    }

    fn prepare_dir(&self, dir: &VaultDir) -> Result<(), TreeError> {
        open_up(&dir.store().itself()?)?;
        Ok(dir.store().discard_leftovers()?)
    }

    fn open_target(&self, dir: &VaultDir, name: &PlainName) -> Result<VaultDir, TreeError> {
        // Before it is opened, which reads the pin in it.
        open_up(&dir.node(self.0, name)?)?;
        let opened = self.open_dir(dir, name)?;
        self.prepare_dir(&opened)?;
        Ok(opened)
    }

    fn begin_file(&self, dir: &VaultDir) -> Result<(Draft, File), TreeError> {
        let (unfinished, store) = dir.begin_file()?;
        let made = store.stat().map_err(FileError::Io).and_then(|stat| {
            let file = File::create(self.0, store, dir.id())?;
            Ok((file, Identity::of_file(&stat)))
        });
        let (file, identity) = match made {
            Ok(made) => made,
            Err(error) => {
                // What failed first is what matters.
                let _left_behind = dir.discard(&unfinished);
                return Err(error.into());
            }
        };
        let owner = Some(XattrOwner::File(file.keys().file_id()));
        let draft = Draft {
            unfinished,
            owner,
            identity,
        };
        Ok((draft, file))
    }

    fn begin(&self, dir: &VaultDir, what: Begin<'_, VaultDir>) -> Result<Draft, TreeError> {
        let unfinished = match what {
            Begin::Symlink(target) => dir.begin_symlink(self.0, target)?,
            Begin::Node { mode, rdev } => dir.begin_node(mode, rdev)?,
            Begin::Link(from, name) => dir.begin_link(self.0, from, name)?,
        };
        Ok(Draft {
            unfinished,
            owner: None,
            identity: Identity::OnlyName,
        })
    }

    fn write(&self, file: &File, at: u64, bytes: &[u8]) -> Result<(), TreeError> {
        Ok(file.write(PlainOff::new(at), bytes)?)
    }

    fn close(&self, file: File, len: u64) -> Result<(), TreeError> {
        if file.size() != PlainLen::new(len) {
            file.set_len(PlainLen::new(len))?;
        }
        Ok(file.seal()?)
    }

    fn dress(
        &self,
        dir: &VaultDir,
        draft: &Draft,
        look: &Look,
    ) -> Result<Vec<TreeError>, TreeError> {
        let node = dir.unfinished_node(&draft.unfinished)?;
        dress(&node, draft.identity, look, |attribute| {
            self.put(&node, draft.owner, attribute)
        })
    }

    fn dress_dir(&self, dir: &VaultDir, look: &Look) -> Result<Vec<TreeError>, TreeError> {
        let node = dir.store().itself()?;
        let owner = Some(XattrOwner::Dir(dir.id()));
        dress(&node, Identity::Held, look, |attribute| {
            self.put(&node, owner, attribute)
        })
    }

    fn finish(
        &self,
        dir: &VaultDir,
        draft: &Draft,
        name: &PlainName,
        mode: RenameMode,
    ) -> Result<(), TreeError> {
        Ok(dir.finish(self.0, &draft.unfinished, name, mode)?)
    }

    fn discard(&self, dir: &VaultDir, draft: &Draft) -> Result<(), TreeError> {
        Ok(dir.discard(&draft.unfinished)?)
    }

    fn sync(&self, dir: &VaultDir) -> Result<(), TreeError> {
        Ok(dir.store().sync_file_system()?)
    }
}
