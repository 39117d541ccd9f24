//! A plain directory as a [`Tree`]. Every step is one component relative to an
//! open directory and follows no symbolic link, so nothing that is planted in
//! the tree leads out of it.

use std::io;
use std::ops::{ControlFlow, Range};

use super::tree::{
    ACLS, Attribute, Attributes, Begin, Identity, Listing, Look, Tree, TreeError, USER, dress,
    listed, open_up,
};
use crate::name::PlainName;
use crate::sys::fs::{DirFd, FileFd, NodeFd, Stat, XattrMode, random_suffix};
use crate::types::{Access, FileKind, RenameMode};

/// What an unfinished object's name begins with; 32 hexadecimal digits follow.
const PREFIX: &[u8] = b".~keepfs-";

/// An object under a temporary name.
pub(super) struct Draft {
    name: Vec<u8>,
    identity: Identity,
}

/// A plain tree, which must not lead into a vault's directory.
pub(super) struct PlainTree {
    /// Device and inode of the vault's directory.
    vault: (u64, u64),
}

impl PlainTree {
    pub(super) fn new(vault: &Stat) -> Self {
        Self {
            vault: (vault.dev, vault.ino),
        }
    }

    /// Refuses the vault's directory.
    pub(super) fn admit(&self, dir: DirFd) -> Result<DirFd, TreeError> {
        let stat = dir.stat_itself()?;
        if (stat.dev, stat.ino) == self.vault {
            return Err(TreeError::TheVault);
        }
        Ok(dir)
    }
}

fn is_temporary(name: &[u8]) -> bool {
    name.strip_prefix(PREFIX).is_some_and(|digits| {
        digits.len() == 32
            && digits
                .iter()
                .all(|b| matches!(b, b'0'..=b'9' | b'a'..=b'f'))
    })
}

fn temporary() -> io::Result<Vec<u8>> {
    Ok([PREFIX, random_suffix()?.as_bytes()].concat())
}

fn names(dir: &DirFd) -> io::Result<Vec<(Vec<u8>, Option<FileKind>)>> {
    let mut names = Vec::new();
    dir.scan(|entry| {
        names.push((entry.name.to_vec(), entry.kind));
        ControlFlow::Continue(())
    })?;
    Ok(names)
}

/// The attributes that a vault can hold.
fn attributes(
    names: io::Result<Vec<Vec<u8>>>,
    value: impl Fn(&[u8]) -> io::Result<Vec<u8>>,
) -> Result<Attributes, TreeError> {
    let mut read = Attributes::default();
    for name in listed(names)? {
        if name.starts_with(USER) || ACLS.contains(&name.as_slice()) {
            match value(&name) {
                Ok(value) => read.found.push(Attribute { name, value }),
                Err(error) => read.lost.push(error.into()),
            }
        }
    }
    Ok(read)
}

fn put(node: &NodeFd, attribute: &Attribute) -> Result<(), TreeError> {
    Ok(node.set_xattr(&attribute.name, &attribute.value, XattrMode::Any)?)
}

impl Tree for PlainTree {
    type Dir = DirFd;
    type File = FileFd;
    type Draft = Draft;

    fn list(&self, dir: &DirFd) -> Result<Listing, TreeError> {
        let mut listing = Listing::default();
        for (name, kind) in names(dir)? {
            if is_temporary(&name) {
                continue;
            }
            match PlainName::new(&name) {
                Ok(name) => listing.entries.push((name, kind)),
                Err(_) => listing.lost += 1,
            }
        }
        Ok(listing)
    }

    fn find(&self, dir: &DirFd, name: &PlainName) -> Result<Option<Stat>, TreeError> {
        match dir.stat(name.bytes()) {
            Ok(stat) => Ok(Some(stat)),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(error) => Err(error.into()),
        }
    }

    fn stat_file(&self, file: &FileFd) -> Result<Stat, TreeError> {
        Ok(file.stat()?)
    }

    fn open_dir(&self, dir: &DirFd, name: &PlainName) -> Result<DirFd, TreeError> {
        self.admit(dir.open_dir(name.bytes())?)
    }

    fn open_file(&self, dir: &DirFd, name: &PlainName) -> Result<FileFd, TreeError> {
        Ok(dir.open_file(name.bytes(), Access::Read)?)
    }

    fn read_link(&self, dir: &DirFd, name: &PlainName) -> Result<Vec<u8>, TreeError> {
        Ok(dir.read_link(name.bytes())?)
    }

    fn dir_attributes(&self, dir: &DirFd) -> Result<Attributes, TreeError> {
        let node = dir.itself()?;
        attributes(node.list_xattrs(), |name| node.get_xattr(name))
    }

    fn file_attributes(&self, file: &FileFd) -> Result<Attributes, TreeError> {
        attributes(file.list_xattrs(), |name| file.get_xattr(name))
    }

    fn read(&self, file: &FileFd, at: u64, len: usize, out: &mut Vec<u8>) -> Result<(), TreeError> {
        out.resize(len, 0);
        let read = file.read_at(out, at)?;
        out.truncate(read);
        Ok(())
    }

    fn data(&self, file: &FileFd, at: u64) -> Result<Option<Range<u64>>, TreeError> {
        let stat = file.stat()?;
        if at >= stat.size {
            return Ok(None);
        }
        // All blocks are there: no need to look for holes.
        if stat.blocks.saturating_mul(512) >= stat.size {
            return Ok(Some(at..stat.size));
        }
        let Some(start) = file.seek_data(at)? else {
            return Ok(None);
        };
        Ok(Some(start..file.seek_hole(start)?))
    }

    fn make_dir(&self, dir: &DirFd, name: &PlainName) -> Result<(), TreeError> {
        Ok(dir.make_dir(name.bytes(), 0o700)?)
    }

    fn prepare_dir(&self, dir: &DirFd) -> Result<(), TreeError> {
        open_up(&dir.itself()?)?;
        for (name, kind) in names(dir)? {
            if is_temporary(&name) && kind != Some(FileKind::Directory) {
                dir.unlink(&name)?;
            }
        }
        Ok(())
    }

    fn open_target(&self, dir: &DirFd, name: &PlainName) -> Result<DirFd, TreeError> {
        let opened = self.open_dir(dir, name)?;
        self.prepare_dir(&opened)?;
        Ok(opened)
    }

    fn begin_file(&self, dir: &DirFd) -> Result<(Draft, FileFd), TreeError> {
        let name = temporary()?;
        let file = dir.create_file(&name, 0o600)?;
        let identity = Identity::of_file(&file.stat()?);
        Ok((Draft { name, identity }, file))
    }

    fn begin(&self, dir: &DirFd, what: Begin<'_, DirFd>) -> Result<Draft, TreeError> {
        let name = temporary()?;
        match what {
            Begin::Symlink(target) => dir.make_symlink(&name, target)?,
            Begin::Node { mode, rdev } => dir.make_node(&name, mode, rdev)?,
            Begin::Link(from, old) => from.link(old.bytes(), dir, &name)?,
        }
        let identity = Identity::OnlyName;
        Ok(Draft { name, identity })
    }

    fn write(&self, file: &FileFd, at: u64, bytes: &[u8]) -> Result<(), TreeError> {
        file.write_at(&[bytes], at).map_err(|(_, error)| error)?;
        Ok(())
    }

    fn close(&self, file: FileFd, len: u64) -> Result<(), TreeError> {
        if file.stat()?.size != len {
            file.truncate(len)?;
        }
        Ok(())
    }

    fn dress(&self, dir: &DirFd, draft: &Draft, look: &Look) -> Result<Vec<TreeError>, TreeError> {
        let node = dir.node(&draft.name)?;
        dress(&node, draft.identity, look, |attribute| {
            put(&node, attribute)
        })
    }

    fn dress_dir(&self, dir: &DirFd, look: &Look) -> Result<Vec<TreeError>, TreeError> {
        let node = dir.itself()?;
        dress(&node, Identity::Held, look, |attribute| {
            put(&node, attribute)
        })
    }

    fn finish(
        &self,
        dir: &DirFd,
        draft: &Draft,
        name: &PlainName,
        mode: RenameMode,
    ) -> Result<(), TreeError> {
        match mode {
            RenameMode::NoReplace => dir.rename_new(&draft.name, dir, name.bytes())?,
            RenameMode::Replace | RenameMode::Exchange => {
                dir.rename(&draft.name, dir, name.bytes(), mode)?;
            }
        }
        Ok(())
    }

    fn discard(&self, dir: &DirFd, draft: &Draft) -> Result<(), TreeError> {
        Ok(dir.unlink(&draft.name)?)
    }

    fn sync(&self, dir: &DirFd) -> Result<(), TreeError> {
        Ok(dir.sync_file_system()?)
    }
}
