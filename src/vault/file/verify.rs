//! The seal, recomputed from what the backing holds. FORMAT.md, seal.

use std::io;

use zeroize::{Zeroize, Zeroizing};

use super::write::{to_u64, to_usize};
use super::{Damage, File, FileError, Tracking};
use crate::codec::batch::{
    Holes, SealSum, SlotTerms, Tail, Workers, open_slots, slot_terms, workers_for,
};
use crate::codec::geometry::Geometry;
use crate::codec::keys::FileKeys;
use crate::store::StoreFile;
use crate::types::{ChunkNo, CipherOff, PlainLen};

/// Slots are read in pieces of about this many bytes.
pub(super) const TERM_BYTES: usize = 1 << 20;

/// What no slots contribute.
const NO_TERMS: SlotTerms = SlotTerms {
    seal: SealSum::ZERO,
    holes: 0,
};

/// A stretch of a file's slots, as it lies on the backing.
enum Piece<'a> {
    /// So many full slots that the backing never stored.
    Holes { first: ChunkNo, count: u64 },
    /// Slots, to be verified.
    Slots {
        first: ChunkNo,
        bytes: &'a [u8],
        tail: Tail,
    },
}

/// What a file's contents are worth.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Contents {
    /// Runs of chunks that do not authenticate, first and last of each, in
    /// order; no more than [`Contents::MAX_RUNS`].
    pub damaged: Vec<(ChunkNo, ChunkNo)>,
    /// How many chunks that are.
    pub damaged_chunks: u64,
    /// Whether the slots are the sealed ones.
    pub seal: SealVerdict,
}

/// Whether the slots are those that were sealed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SealVerdict {
    /// They are.
    Matches,
    /// One at least is not.
    Differs,
    /// The file is open, or was left open.
    Unsealed,
}

impl Contents {
    /// How many runs of damaged chunks are told apart.
    pub const MAX_RUNS: usize = 1000;

    fn add_damage(&mut self, first: ChunkNo, last: ChunkNo) {
        self.damaged_chunks += last.get() - first.get() + 1;
        let runs = self.damaged.len();
        match self.damaged.last_mut() {
            Some((_, end)) if end.next() == first => *end = last,
            Some(_) | None if runs < Self::MAX_RUNS => self.damaged.push((first, last)),
            Some(_) | None => {}
        }
    }
}

/// Whether the last slot of a file of this length is there. Where it is, what
/// stands behind it does not count: it was written by whoever was making the
/// file longer when it was copied, or by nobody.
pub(super) fn ends_with(
    g: Geometry,
    keys: &FileKeys,
    store: &StoreFile,
    size: PlainLen,
) -> io::Result<bool> {
    let last = g.last_chunk(size);
    let mut plain = Zeroizing::new(vec![0; g.last_chunk_len(size)]);
    let mut slot = vec![0; plain.len() + Geometry::SLOT_OVERHEAD];
    let read = store.read_at(&mut slot, g.slot_start(last))?;
    let (holes, one) = (Holes::Refused, Workers::One);
    let opened = open_slots(keys, g, last, &slot, Tail::Last, holes, one, &mut plain);
    Ok(read == slot.len() && opened.is_ok())
}

impl File {
    /// Verifies every chunk and the seal in one pass over the whole file, and
    /// goes on behind damage. `progress` hears how many bytes of the backing
    /// were dealt with, piece by piece.
    ///
    /// # Errors
    /// The backing's; [`Damage::Missing`] if the file was cut meanwhile.
    pub fn check(&self, progress: impl FnMut(u64)) -> Result<Contents, FileError> {
        Ok(self.examine(progress)?.0)
    }

    /// [`Self::check`], with the terms of all slots.
    pub(super) fn examine(
        &self,
        mut progress: impl FnMut(u64),
    ) -> Result<(Contents, SlotTerms), FileError> {
        let _all = self
            .ranges
            .shared(ChunkNo::new(0), super::ranges::RangeLock::END);
        let g = self.geometry;
        let holes = self.holes_policy();
        let mut contents = Contents {
            damaged: Vec::new(),
            damaged_chunks: 0,
            seal: SealVerdict::Unsealed,
        };
        let mut sum = NO_TERMS;
        let mut plain = Vec::new();
        let last = g.last_chunk(self.size());
        self.stored_pieces(ChunkNo::new(0), last, Tail::Last, |piece| {
            match piece {
                Piece::Holes { first, count } => {
                    sum.holes += count;
                    progress(count * to_u64(g.slot_size()));
                    if holes == Holes::Refused {
                        let end = ChunkNo::new(first.get() + count - 1);
                        contents.add_damage(first, end);
                    }
                }
                Piece::Slots { first, bytes, tail } => {
                    sum = sum.combine(slot_terms(&self.keys, g, first, bytes, tail)?);
                    self.verify_slots((first, bytes, tail), holes, &mut plain, &mut contents);
                    progress(to_u64(bytes.len()));
                }
            }
            Ok(())
        })?;
        plain.zeroize();
        if let Tracking::Exact { seal, holes } = self.state.lock().tracking {
            contents.seal = if sum == (SlotTerms { seal, holes }) {
                SealVerdict::Matches
            } else {
                SealVerdict::Differs
            };
        }
        Ok((contents, sum))
    }

    /// Opens slots and throws the plaintext away; where one does not open, the
    /// rest is tried one by one.
    fn verify_slots(
        &self,
        (first, bytes, tail): (ChunkNo, &[u8], Tail),
        holes: Holes,
        plain: &mut Vec<u8>,
        contents: &mut Contents,
    ) {
        let g = self.geometry;
        let count = bytes.len().div_ceil(g.slot_size());
        plain.resize(bytes.len() - count * Geometry::SLOT_OVERHEAD, 0);
        let workers = workers_for(plain.len());
        let all = open_slots(&self.keys, g, first, bytes, tail, holes, workers, plain);
        if all.is_ok() {
            return;
        }
        for (index, slot) in bytes.chunks(g.slot_size()).enumerate() {
            let chunk = ChunkNo::new(first.get() + to_u64(index));
            let tail = if index + 1 == count {
                tail
            } else {
                Tail::Inside
            };
            let plain = &mut plain[..slot.len() - Geometry::SLOT_OVERHEAD];
            let one = open_slots(&self.keys, g, chunk, slot, tail, holes, Workers::One, plain);
            if one.is_err() {
                contents.add_damage(chunk, chunk);
            }
        }
    }

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
        if stored == (SlotTerms { seal, holes }) {
            Ok(())
        } else {
            Err(Damage::WrongSeal.into())
        }
    }

    /// Terms and holes of slots `first..=last`. `tail` tells whether `last` is
    /// the file's last slot. The caller holds a lock on the range.
    pub(super) fn stored_terms(
        &self,
        first: ChunkNo,
        last: ChunkNo,
        tail: Tail,
    ) -> Result<SlotTerms, FileError> {
        let mut sum = NO_TERMS;
        self.stored_pieces(first, last, tail, |piece| {
            match piece {
                Piece::Holes { count, .. } => sum.holes += count,
                Piece::Slots { first, bytes, tail } => {
                    let terms = slot_terms(&self.keys, self.geometry, first, bytes, tail)?;
                    sum = sum.combine(terms);
                }
            }
            Ok(())
        })?;
        Ok(sum)
    }

    /// Hands out slots `first..=last` in pieces; regions that the backing
    /// never stored are skipped. The caller holds a lock on the range.
    fn stored_pieces(
        &self,
        first: ChunkNo,
        last: ChunkNo,
        tail: Tail,
        mut each: impl FnMut(Piece<'_>) -> Result<(), FileError>,
    ) -> Result<(), FileError> {
        let g = self.geometry;
        let per_piece = to_u64((TERM_BYTES / g.slot_size()).max(1));
        let mut bytes = Vec::new();
        let mut chunk = first;
        while chunk <= last {
            if chunk < last {
                let next = self.next_data(chunk)?.unwrap_or(last).min(last);
                let count = next.get() - chunk.get();
                if count > 0 {
                    each(Piece::Holes {
                        first: chunk,
                        count,
                    })?;
                }
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
            let read = self.load(chunk, &mut bytes)?;
            if read < len {
                return Err(Damage::Missing(chunk).into());
            }
            each(Piece::Slots {
                first: chunk,
                bytes: &bytes,
                tail: piece_tail,
            })?;
            chunk = piece_last.next();
        }
        Ok(())
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
