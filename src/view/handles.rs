//! Open files and directories, by the number the kernel uses for them.

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use parking_lot::{Mutex, RwLock};

use super::FsError;
use super::files::HandleAccess;
use super::inodes::Node;
use super::listing::Snapshot;
use crate::types::Fh;
use crate::vault::file::File;

/// An open file.
#[derive(Debug)]
pub struct FileHandle {
    /// Whose file it is.
    pub node: Arc<Node>,
    /// The file, shared with other handles on the node.
    pub file: Arc<File>,
    /// What it was opened for.
    pub access: HandleAccess,
}

/// An open directory.
#[derive(Debug)]
pub struct DirHandle {
    /// Whose directory it is.
    pub node: Arc<Node>,
    /// The listing that cookies count in; made at the first read.
    pub snapshot: Mutex<Option<Arc<Snapshot>>>,
}

#[derive(Clone, Debug)]
enum Handle {
    File(Arc<FileHandle>),
    Dir(Arc<DirHandle>),
}

/// All handles of a mount.
#[derive(Debug, Default)]
pub struct Handles {
    next: AtomicU64,
    open: RwLock<HashMap<Fh, Handle>>,
}

impl Handles {
    fn insert(&self, handle: Handle) -> Fh {
        let fh = Fh::new(self.next.fetch_add(1, Ordering::Relaxed) + 1);
        self.open.write().insert(fh, handle);
        fh
    }

    /// Adds an open file.
    pub fn add_file(&self, handle: FileHandle) -> Fh {
        self.insert(Handle::File(Arc::new(handle)))
    }

    /// Adds an open directory.
    pub fn add_dir(&self, handle: DirHandle) -> Fh {
        self.insert(Handle::Dir(Arc::new(handle)))
    }

    /// The open file behind a number.
    ///
    /// # Errors
    /// [`FsError::BadHandle`]
    pub fn file(&self, fh: Fh) -> Result<Arc<FileHandle>, FsError> {
        match self.open.read().get(&fh) {
            Some(Handle::File(handle)) => Ok(Arc::clone(handle)),
            Some(Handle::Dir(_)) | None => Err(FsError::BadHandle),
        }
    }

    /// The open directory behind a number.
    ///
    /// # Errors
    /// [`FsError::BadHandle`]
    pub fn dir(&self, fh: Fh) -> Result<Arc<DirHandle>, FsError> {
        match self.open.read().get(&fh) {
            Some(Handle::Dir(handle)) => Ok(Arc::clone(handle)),
            Some(Handle::File(_)) | None => Err(FsError::BadHandle),
        }
    }

    /// Takes an open file out.
    pub fn remove_file(&self, fh: Fh) -> Option<Arc<FileHandle>> {
        let mut open = self.open.write();
        match open.get(&fh) {
            Some(Handle::File(_)) => match open.remove(&fh) {
                Some(Handle::File(handle)) => Some(handle),
                Some(Handle::Dir(_)) | None => None,
            },
            Some(Handle::Dir(_)) | None => None,
        }
    }

    /// Takes an open directory out.
    pub fn remove_dir(&self, fh: Fh) {
        self.open.write().remove(&fh);
    }
}
