//! The seal, recomputed from what the backing holds. FORMAT.md, seal.

use super::write::{to_u64, to_usize};
use super::{Damage, File, FileError, Tracking};
use crate::codec::batch::{SealSum, SlotTerms, Tail, slot_terms, workers_for};
use crate::codec::geometry::Geometry;
use crate::types::{ChunkNo, CipherOff};

/// Slots are read in pieces of about this many bytes.
pub(super) const TERM_BYTES: usize = 1 << 20;

impl File {
    /// Compares the header's seal with the slots as they stand: reads the
    /// whole file, decrypts nothing.
    ///
    /// # Errors
    /// [`Damage::NotSealed`] if the file is open or was found so,
    /// [`Damage::WrongSeal`] if a slot is not the one that was sealed; the backing's.
    pub fn verify_seal(&self) -> Result<(), FileError> {
        let _all = self
            .ranges
            .shared(ChunkNo::new(0), super::ranges::RangeLock::END);
        let Tracking::Exact { seal, holes } = self.state.lock().tracking else {
            return Err(Damage::NotSealed.into());
        };
        let last = self.geometry.last_chunk(self.size());
        let stored = self.stored_terms(ChunkNo::new(0), last, Tail::Last)?;
        if stored.seal == seal && stored.holes == holes {
            Ok(())
        } else {
            Err(Damage::WrongSeal.into())
        }
    }

    /// Terms and holes of slots `first..=last`, read in pieces; regions that
    /// the backing never stored are skipped. `tail` tells whether `last` is
    /// the file's last slot. The caller holds a lock on the range.
    pub(super) fn stored_terms(
        &self,
        first: ChunkNo,
        last: ChunkNo,
        tail: Tail,
    ) -> Result<SlotTerms, FileError> {
        let g = self.geometry;
        let store = self.store()?;
        let per_piece = to_u64((TERM_BYTES / g.slot_size()).max(1));
        let mut sum = SlotTerms {
            seal: SealSum::ZERO,
            holes: 0,
        };
        let mut bytes = Vec::new();
        let mut chunk = first;
        while chunk <= last {
            if chunk < last {
                let data = store.seek_data(g.slot_start(chunk))?;
                let next = data.and_then(|at| g.slot_at(at)).unwrap_or(last);
                let next = next.clamp(chunk, last);
                sum.holes += next.get() - chunk.get();
                chunk = next;
            }
            let count = per_piece.min(last.get() - chunk.get() + 1);
            let piece_last = ChunkNo::new(chunk.get() + count - 1);
            let (len, piece_tail) = if piece_last == last {
                self.slots_len(chunk, last, tail)
            } else {
                (to_usize(count) * g.slot_size(), Tail::Inside)
            };
            bytes.resize(len, 0);
            let read = store.read_at(&mut bytes, g.slot_start(chunk))?;
            if read < len {
                return Err(Damage::Missing(chunk).into());
            }
            let workers = workers_for(len);
            let terms = slot_terms(&self.keys, g, chunk, &bytes, piece_tail, workers)?;
            sum.seal = sum.seal.combine(terms.seal);
            sum.holes += terms.holes;
            chunk = piece_last.next();
        }
        Ok(sum)
    }

    fn slots_len(&self, first: ChunkNo, last: ChunkNo, tail: Tail) -> (usize, Tail) {
        let g = self.geometry;
        let whole = to_usize(last.get() - first.get());
        let last_len = match tail {
            Tail::Inside => g.slot_size(),
            Tail::Last => g.last_chunk_len(self.size()) + Geometry::SLOT_OVERHEAD,
        };
        debug_assert!(CipherOff::new(0) <= g.slot_start(first));
        (whole * g.slot_size() + last_len, tail)
    }
}
