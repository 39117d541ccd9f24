//! An object's own metadata, however it is best reached: through its open
//! file, which works after it was deleted, or by its place.

use std::io;
use std::sync::Arc;

use super::inodes::{BackingKey, Node};
use super::{FsError, View};
use crate::store::{StoreFile, StoreNode, XattrValue};
use crate::sys::fs::{Stat, XattrMode};
use crate::types::{Fh, FileKind};
use crate::vault::file::File;

/// Owner, mode, times and raw attributes of one object.
pub(super) enum Object {
    /// An open regular file.
    Open(Arc<File>, Arc<StoreFile>),
    /// Anything, by its place.
    Placed(StoreNode),
}

impl View {
    /// The open file of a node: the handle's, or the one that others opened.
    pub(super) fn open_file_of(&self, node: &Node, fh: Option<Fh>) -> Option<Arc<File>> {
        if node.kind != FileKind::Regular {
            return None;
        }
        fh.and_then(|fh| self.handles.file(fh).ok())
            .filter(|handle| handle.node.ino == node.ino)
            .map(|handle| Arc::clone(&handle.file))
            .or_else(|| node.open.lock().file.clone())
    }

    /// Reaches a node's object on the backing.
    ///
    /// # Errors
    /// [`FsError::Stale`] if it is gone, or another one is in its place.
    pub(super) fn object(&self, node: &Arc<Node>, fh: Option<Fh>) -> Result<Object, FsError> {
        if let Some(file) = self.open_file_of(node, fh) {
            let store = file.store()?;
            return Ok(Object::Open(file, store));
        }
        if node.kind == FileKind::Directory {
            return Ok(Object::Placed(self.dir(node)?.store().itself()?));
        }
        let (link, dir) = self.place_of(node)?;
        let placed = dir
            .node(&self.vault, &link.name)
            .map_err(|error| FsError::from(error).stale_if_gone())?;
        if BackingKey::of(&placed.stat()?) == node.key() {
            Ok(Object::Placed(placed))
        } else {
            Err(FsError::Stale)
        }
    }
}

impl Object {
    pub(super) fn stat(&self) -> io::Result<Stat> {
        match self {
            Self::Open(_, store) => store.stat(),
            Self::Placed(node) => node.stat(),
        }
    }

    pub(super) fn set_mode(&self, mode: u32) -> io::Result<()> {
        match self {
            Self::Open(_, store) => store.set_mode(mode),
            Self::Placed(node) => node.set_mode(mode),
        }
    }

    pub(super) fn set_owner(&self, uid: Option<u32>, gid: Option<u32>) -> io::Result<()> {
        match self {
            Self::Open(_, store) => store.set_owner(uid, gid),
            Self::Placed(node) => node.set_owner(uid, gid),
        }
    }

    pub(super) fn get_xattr(&self, name: &[u8]) -> io::Result<Vec<u8>> {
        match self {
            Self::Open(_, store) => store.get_xattr(name),
            Self::Placed(node) => node.get_xattr(name),
        }
    }

    pub(super) fn list_xattrs(&self) -> io::Result<Vec<Vec<u8>>> {
        match self {
            Self::Open(_, store) => store.list_xattrs(),
            Self::Placed(node) => node.list_xattrs(),
        }
    }

    pub(super) fn set_xattr(
        &self,
        name: &[u8],
        value: XattrValue<'_>,
        mode: XattrMode,
    ) -> io::Result<()> {
        match self {
            Self::Open(_, store) => store.set_xattr(name, value, mode),
            Self::Placed(node) => node.set_xattr(name, value, mode),
        }
    }

    pub(super) fn remove_xattr(&self, name: &[u8]) -> io::Result<()> {
        match self {
            Self::Open(_, store) => store.remove_xattr(name),
            Self::Placed(node) => node.remove_xattr(name),
        }
    }
}
