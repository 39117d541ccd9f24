//! After failures: old content back in place, the header whole again, the
//! backing file no longer than it should be. FORMAT.md, order of writes.

use std::sync::atomic::Ordering;

use super::journalled::Mode;
use super::write::to_u64;
use super::{End, File, FileError, Front, State, Tracking};
use crate::codec::batch::{
    Holes, SealSum, SlotBuf, SlotTerms, Tail, open_slots, seal_slots, slot_terms, workers_for,
};
use crate::codec::geometry::Geometry;
use crate::codec::header::{Header, OpenFlag, SparseFlag};
use crate::store::file::PartialWrite;
use crate::types::ChunkNo;

/// Slots as they stood before a change that failed.
#[derive(Clone, Copy)]
pub(super) struct Before<'a> {
    pub(super) first: ChunkNo,
    /// The slots, as read from the backing.
    pub(super) slots: &'a [u8],
    /// Whether they end with the file's last slot.
    pub(super) tail: Tail,
}

impl File {
    /// After a write that failed from the first slot of `before` on: the old
    /// content back in place, freshly sealed, holes as holes, where the write
    /// touched it; the backing file as long as before. Where that fails too,
    /// the chunks concerned do not authenticate and the file is never sealed
    /// again. The caller still holds the lock it wrote under.
    pub(super) fn undo(&self, before: Before<'_>, failed: &PartialWrite) {
        if failed.written == 0 {
            return;
        }
        if before.tail == Tail::Last {
            let mut state = self.state.lock();
            state.end = End::Beyond;
            // First of all: it may give back the room that was missing.
            if let Err(error) = self.trim(&mut state) {
                tracing::warn!(file_id = %self.keys.file_id(), %error, "what a failed write added is still there");
            }
        }
        let touched = self.touched(before, failed.written);
        let restored = self
            .terms_of(touched)
            .and_then(|old| Ok((old, self.write_back(touched)?)));
        match restored {
            Ok((old, added)) => {
                // Zeros where no hole was known are damage; counting them as
                // holes now would make it good.
                if !self.knows_holes(old.holes) {
                    self.state.lock().tracking = Tracking::Lost;
                }
                self.account(&old, added, old.holes);
            }
            Err(error) => {
                tracing::error!(
                    file_id = %self.keys.file_id(),
                    %error,
                    "a failed write could not be undone"
                );
                self.state.lock().tracking = Tracking::Lost;
            }
        }
    }

    /// Whether so many holes are accounted for.
    fn knows_holes(&self, count: u64) -> bool {
        match self.state.lock().tracking {
            Tracking::Exact { holes, .. } => count <= holes,
            Tracking::Lost => true,
        }
    }

    /// Those of the slots that a write of so many bytes reached.
    fn touched<'a>(&self, before: Before<'a>, written: u64) -> Before<'a> {
        let slot = self.geometry.slot_size();
        let reached = usize::try_from(written.div_ceil(to_u64(slot)))
            .ok()
            .and_then(|slots| slots.checked_mul(slot))
            .unwrap_or(usize::MAX);
        match before.slots.get(..reached) {
            Some(slots) => Before {
                slots,
                // A last slot is shorter than a full one.
                tail: Tail::Inside,
                ..before
            },
            None => before,
        }
    }

    fn terms_of(&self, before: Before<'_>) -> Result<SlotTerms, FileError> {
        let Before { first, slots, tail } = before;
        Ok(slot_terms(&self.keys, self.geometry, first, slots, tail)?)
    }

    /// Holes first: they need no room and may give some back.
    fn write_back(&self, before: Before<'_>) -> Result<SealSum, FileError> {
        let g = self.geometry;
        let slots: Vec<&[u8]> = before.slots.chunks(g.slot_size()).collect();
        let is_hole = |slot: &&[u8]| slot.len() == g.slot_size() && slot.iter().all(|&b| b == 0);
        let runs = || slots.chunk_by(|a, b| is_hole(a) == is_hole(b));
        let end = ChunkNo::new(before.first.get() + to_u64(slots.len()));
        let mut first = before.first;
        for run in runs() {
            let next = ChunkNo::new(first.get() + to_u64(run.len()));
            if is_hole(&run[0]) {
                self.make_holes(first, next)?;
            }
            first = next;
        }
        let mut added = SealSum::ZERO;
        let mut resealed = SlotBuf::default();
        first = before.first;
        for run in runs() {
            let next = ChunkNo::new(first.get() + to_u64(run.len()));
            if !is_hole(&run[0]) {
                let tail = if next == end {
                    before.tail
                } else {
                    Tail::Inside
                };
                added ^= self.reseal(first, &run.concat(), tail, &mut resealed)?;
                self.replace_slots(first, &[resealed.sealed()])?;
            }
            first = next;
        }
        Ok(added)
    }

    /// Opens slots as they were and seals their content again.
    fn reseal(
        &self,
        first: ChunkNo,
        slots: &[u8],
        tail: Tail,
        out: &mut SlotBuf,
    ) -> Result<SealSum, FileError> {
        let g = self.geometry;
        let overhead = slots.len().div_ceil(g.slot_size()) * Geometry::SLOT_OVERHEAD;
        let mut plain = vec![0; slots.len() - overhead];
        let workers = workers_for(plain.len());
        open_slots(
            &self.keys,
            g,
            first,
            slots,
            tail,
            Holes::Refused,
            workers,
            &mut plain,
        )?;
        Ok(seal_slots(
            &self.keys, g, first, &plain, tail, workers, out,
        )?)
    }

    /// After a gap that failed: zeros are holes only where some remain.
    pub(super) fn forget_gap(&self) {
        let state = self.state.lock();
        let holes = match state.tracking {
            Tracking::Exact { holes, .. } => holes > 0,
            Tracking::Lost => true,
        };
        let sparse = holes || state.header.sparse == SparseFlag::Sparse;
        self.sparse.store(sparse, Ordering::Release);
    }

    /// Cuts what lies behind the last slot: the rest of a failed write, or of
    /// a slot that a crash cut. Such bytes must not end up inside a later gap.
    /// The caller holds the tail.
    pub(super) fn trim(&self, state: &mut State) -> Result<(), FileError> {
        if state.end == End::Beyond && self.mode() == Mode::InPlace {
            let len = self
                .geometry
                .cipher_len(self.size())
                .ok_or(FileError::TooBig)?;
            self.writer()?.truncate(len)?;
            state.end = End::Exact;
        }
        Ok(())
    }

    /// Whether zeros may be holes, whatever the header says so far.
    pub(super) fn declared_sparse(&self, state: &State) -> SparseFlag {
        if self.sparse.load(Ordering::Acquire) {
            SparseFlag::Sparse
        } else {
            state.header.sparse
        }
    }

    /// Brings an OPEN header up to date: after one that was written in part,
    /// and where a gap made the file sparse.
    pub(super) fn declare(&self, state: &mut State) -> Result<(), FileError> {
        let sparse = self.declared_sparse(state);
        match state.front {
            Front::Missing => self.write_front(state),
            Front::Whole if sparse == state.header.sparse => Ok(()),
            Front::Whole | Front::Torn => {
                let header = Header {
                    open: OpenFlag::Open,
                    sparse,
                    generation: state.header.generation.saturating_add(1),
                    ..state.header
                };
                self.replace_header(state, header)
            }
        }
    }
}
