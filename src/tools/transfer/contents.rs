//! The contents of one regular file: copied with their holes, or compared.

use std::cell::RefCell;

use super::tree::{Attributes, Tree};
use super::{Engine, Trouble};
use crate::sys::fs::Stat;

/// Read and written at once; large enough to be shared by all cores.
const PIECE: u64 = 1 << 20;

thread_local! {
    /// The piece on its way, and the one it is compared with.
    static PIECES: RefCell<(Vec<u8>, Vec<u8>)> = RefCell::default();
}

/// Tells of the bytes of one file: never of more, and in the end of all.
pub(super) struct Told<'a> {
    progress: &'a super::Progress<'a>,
    left: u64,
}

impl<'a> Told<'a> {
    pub(super) fn new(progress: &'a super::Progress<'a>, size: u64) -> Self {
        let left = size;
        Self { progress, left }
    }

    fn tell(&mut self, bytes: u64) {
        let bytes = bytes.min(self.left);
        self.left -= bytes;
        (self.progress)(bytes);
    }
}

impl Drop for Told<'_> {
    fn drop(&mut self) {
        self.tell(self.left);
    }
}

/// A regular file of the target, whole but without its name.
pub(super) struct Written<D> {
    pub(super) draft: D,
    pub(super) stat: Stat,
    pub(super) attributes: Attributes,
}

impl<S: Tree, T: Tree> Engine<'_, S, T> {
    /// Writes a copy of a file, which was opened and is not to change
    /// meanwhile, into `dir`.
    pub(super) fn write_copy(
        &self,
        from: &S::File,
        dir: &T::Dir,
        told: &mut Told<'_>,
    ) -> Result<Written<T::Draft>, Trouble> {
        let stat = self.source.stat_file(from).map_err(Trouble::Source)?;
        let attributes = self.source.file_attributes(from).map_err(Trouble::Source)?;
        let (draft, to) = self.target.begin_file(dir).map_err(Trouble::Target)?;
        let copied = self
            .copy(from, &to, stat.size, told)
            .and_then(|()| self.target.close(to, stat.size).map_err(Trouble::Target))
            .and_then(|()| self.source.stat_file(from).map_err(Trouble::Source));
        match copied {
            Ok(after) if (after.size, after.mtime) == (stat.size, stat.mtime) => Ok(Written {
                draft,
                stat,
                attributes,
            }),
            other => {
                self.discard(dir, &draft);
                Err(other.err().unwrap_or(Trouble::Changed))
            }
        }
    }

    /// Removes what did not become whole. If that fails, the next run does it.
    pub(super) fn discard(&self, dir: &T::Dir, draft: &T::Draft) {
        if let Err(error) = self.target.discard(dir, draft) {
            tracing::debug!(%error, "an unfinished object stays until the next run");
        }
    }

    fn copy(
        &self,
        from: &S::File,
        to: &T::File,
        size: u64,
        told: &mut Told<'_>,
    ) -> Result<(), Trouble> {
        let mut at = 0;
        while at < size {
            let data = self.source.data(from, at).map_err(Trouble::Source)?;
            let Some(data) = data else {
                break;
            };
            told.tell(data.start.saturating_sub(at));
            at = data.start;
            while at < data.end.min(size) {
                if self.is_stopped() {
                    return Err(Trouble::Stopped);
                }
                let len = PIECE.min(data.end.min(size) - at);
                PIECES.with_borrow_mut(|(piece, _)| {
                    self.read(from, at, len, piece)?;
                    self.target.write(to, at, piece).map_err(Trouble::Target)
                })?;
                told.tell(len);
                at += len;
            }
        }
        Ok(())
    }

    /// Reads exactly `len` bytes of the source.
    fn read(&self, from: &S::File, at: u64, len: u64, out: &mut Vec<u8>) -> Result<(), Trouble> {
        let len = usize::try_from(len).unwrap_or(usize::MAX);
        let read = self.source.read(from, at, len, out);
        read.map_err(Trouble::Source)?;
        if out.len() == len {
            Ok(())
        } else {
            Err(Trouble::Changed)
        }
    }

    /// Whether the first `size` bytes of two files are equal; a target that
    /// cannot be read is not.
    pub(super) fn same_bytes(
        &self,
        from: &S::File,
        to: &T::File,
        size: u64,
    ) -> Result<bool, Trouble> {
        let mut at = 0;
        loop {
            // Where both have a hole, both are zeros.
            let source = self.source.data(from, at).map_err(Trouble::Source)?;
            let Ok(target) = self.target.data(to, at) else {
                return Ok(false);
            };
            let next = [source, target]
                .into_iter()
                .flatten()
                .map(|data| data.start);
            at = match next.min() {
                Some(next) if next < size => next,
                Some(_) | None => return Ok(true),
            };
            let len = PIECE.min(size - at);
            let same = PIECES.with_borrow_mut(|(source, target)| {
                self.read(from, at, len, source)?;
                let read = self.target.read(to, at, source.len(), target);
                Ok(read.is_ok() && source == target)
            })?;
            if !same {
                return Ok(false);
            }
            at += len;
        }
    }
}
