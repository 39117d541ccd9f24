//! The one place where live slots and headers are replaced: everything that
//! changes a file in its place ends in [`File::replace_slots`] or
//! [`File::replace_header`].

use std::io;
use std::sync::atomic::Ordering;

use super::{File, FileError, Front, Phase, State};
use crate::codec::Sealed;
use crate::codec::header::{self, Header, OpenFlag, SparseFlag};
use crate::store::file::PartialWrite;
use crate::types::{ChunkNo, CipherOff};

impl File {
    /// The first change to a sealed file marks it OPEN on the backing.
    pub(super) fn begin_change(&self, need: SparseFlag) -> Result<(), FileError> {
        if self.is_journalled() {
            // Nothing is changed in its place.
            if need == SparseFlag::Sparse {
                self.sparse.store(true, Ordering::Release);
            }
            return Ok(());
        }
        let mut state = self.state.lock();
        let sparse = match need {
            SparseFlag::Sparse => SparseFlag::Sparse,
            SparseFlag::Dense => state.header.sparse,
        };
        if state.front == Front::Missing {
            self.write_front(&mut state)?;
        }
        if state.header.open == OpenFlag::Closed
            || state.header.sparse != sparse
            || state.front == Front::Torn
        {
            let header = Header {
                open: OpenFlag::Open,
                sparse,
                generation: state.header.generation.saturating_add(1),
                ..state.header
            };
            self.replace_header(&mut state, header)?;
        }
        if sparse == SparseFlag::Sparse {
            self.sparse.store(true, Ordering::Release);
        }
        state.phase = Phase::Changed;
        Ok(())
    }

    /// Writes a header over the live one. If only a part of it gets there,
    /// the next change, sync or seal writes it again.
    pub(super) fn replace_header(
        &self,
        state: &mut State,
        header: Header,
    ) -> Result<(), FileError> {
        let image = header::seal_header(&self.keys, &header)?;
        let written = self
            .writer()?
            .write_at(&[image.sealed()], CipherOff::new(0));
        if let Err(partial) = written {
            if partial.written > 0 {
                state.front = Front::Torn;
                state.phase = Phase::Changed;
            }
            return Err(partial.into());
        }
        state.header = header;
        state.front = Front::Whole;
        Ok(())
    }

    /// Writes slots over live ones, or behind the last.
    pub(super) fn replace_slots(
        &self,
        first: ChunkNo,
        slots: &[Sealed<'_>],
    ) -> Result<(), PartialWrite> {
        let at = self.geometry.slot_start(first);
        let writer = self.writer().map_err(|_| PartialWrite {
            written: 0,
            source: io::ErrorKind::PermissionDenied.into(),
        })?;
        writer.write_at(slots, at)
    }
}
