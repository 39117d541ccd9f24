//! The file that a journal tells of: at the place the journal names, or
//! wherever it has been moved since.

use std::io;
use std::sync::Arc;

use super::scan::Story;
use crate::codec::geometry::Geometry;
use crate::name::RawName;
use crate::store::{RawDirEntry, StoreDir, StoreFile};
use crate::sys::fs::is_not_regular;
use crate::types::{Access, FileId, FileKind};
use crate::vault::Vault;

/// Where a file of a journal is.
pub(super) enum Found {
    File(StoreFile),
    Gone,
    /// Something that does not say what it is stands at its place, or not all
    /// of the vault could be searched.
    Unclear,
}

impl Vault {
    /// The file: at its place, or wherever it was moved.
    pub(super) fn find(&self, story: &Story) -> io::Result<Found> {
        let mut unclear = false;
        let placed = match self.at_place(&story.place) {
            Err(error) if is_not_ours(&error) => {
                unclear = true;
                None
            }
            placed => placed?,
        };
        if let Some(file) = placed {
            let head = file.read_head(Geometry::HEADER_LEN)?;
            match self.keys.claimed_keys(&head) {
                Ok(keys) if keys.file_id() == story.base.file_id => return Ok(Found::File(file)),
                Ok(_) => {}
                // Its first bytes are torn, or it is something else.
                Err(_) if file.stat()?.ino == story.ino => return Ok(Found::File(file)),
                Err(_) => unclear = true,
            }
        }
        let Search {
            mut found, saw_all, ..
        } = self.search(story.base.file_id);
        if found.len() > 1 {
            // Copies of one file: the one that the journal's owner had.
            found.retain(|file| file.stat().is_ok_and(|stat| stat.ino == story.ino));
        }
        Ok(match found.pop() {
            Some(file) => Found::File(file),
            None if unclear || !saw_all => Found::Unclear,
            None => Found::Gone,
        })
    }

    fn at_place(&self, place: &[u8]) -> io::Result<Option<StoreFile>> {
        let mut entries = place.split(|&byte| byte == b'/').map(RawName::new);
        let Some(last) = entries.next_back().filter(|name| !name.bytes().is_empty()) else {
            return Ok(None);
        };
        let mut dir: Option<StoreDir> = None;
        for entry in entries {
            let next = dir.as_ref().unwrap_or(&self.root).open_dir(&entry);
            match next {
                Ok(next) => dir = Some(next),
                Err(error) if is_gone(&error) => return Ok(None),
                Err(error) => return Err(error),
            }
        }
        match dir.as_ref().unwrap_or(&self.root).open_file_as_owner(&last) {
            Ok(file) => Ok(Some(file)),
            Err(error) if is_gone(&error) || is_not_regular(&error) => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// Every file of the vault that says it has this id.
    fn search(&self, id: FileId) -> Search {
        let mut search = Search {
            id,
            found: Vec::new(),
            saw_all: true,
            below: Vec::new(),
        };
        let mut next = Some(Arc::clone(&self.root));
        loop {
            if let Some(dir) = next.take()
                && self.search_in(&dir, &mut search).is_err()
            {
                search.saw_all = false;
            }
            let Some((parent, name)) = search.below.pop() else {
                return search;
            };
            match parent.open_dir(&name) {
                Ok(dir) => next = Some(Arc::new(dir)),
                Err(error) => search.saw_all &= is_gone(&error),
            }
        }
    }

    fn search_in(&self, dir: &Arc<StoreDir>, search: &mut Search) -> io::Result<()> {
        for entry in dir.list()? {
            search.saw_all &= self.search_at(dir, entry, search).is_ok();
        }
        Ok(())
    }

    fn search_at(
        &self,
        dir: &Arc<StoreDir>,
        entry: RawDirEntry,
        search: &mut Search,
    ) -> io::Result<()> {
        let kind = match entry.kind {
            Some(kind) => Some(kind),
            None => dir.stat(&entry.name)?.kind(),
        };
        match kind {
            Some(FileKind::Directory) => search.below.push((Arc::clone(dir), entry.name)),
            Some(FileKind::Regular) => {
                let file = dir.open_file(&entry.name, Access::Read)?;
                let head = file.read_head(Geometry::HEADER_LEN)?;
                let claimed = self.keys.claimed_keys(&head);
                if claimed.is_ok_and(|keys| keys.file_id() == search.id) {
                    search.found.push(dir.open_file_as_owner(&entry.name)?);
                }
            }
            Some(_) | None => {}
        }
        Ok(())
    }
}

/// A search through the whole vault. A tree may be deeper than the stack; of
/// each directory on the way one descriptor is held.
struct Search {
    id: FileId,
    found: Vec<StoreFile>,
    /// Whether everything could be looked at.
    saw_all: bool,
    /// Directories still to be looked into.
    below: Vec<(Arc<StoreDir>, RawName)>,
}

fn is_gone(error: &io::Error) -> bool {
    matches!(
        error.kind(),
        io::ErrorKind::NotFound | io::ErrorKind::NotADirectory
    )
}

pub(super) fn is_not_ours(error: &io::Error) -> bool {
    error.kind() == io::ErrorKind::PermissionDenied
}
