//! Plaintext out of slots; where data and holes lie.

use std::cell::RefCell;

use super::write::{to_u64, to_usize};
use super::{Damage, File, FileError};
use crate::codec::batch::{Tail, open_slots, workers_for};
use crate::codec::geometry::Geometry;
use crate::types::{ChunkNo, CipherOff, PlainOff};

thread_local! {
    /// Ciphertext of the request this thread serves.
    static CIPHER: RefCell<Vec<u8>> = RefCell::default();
}

/// What [`File::seek`] looks for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SeekTo {
    /// The next byte that may be other than zero.
    Data,
    /// The next hole; the end of the file counts as one.
    Hole,
}

/// Slots examined at once when looking for holes in a sparse file.
const SEEK_SLOTS: u64 = 64;

impl File {
    /// Replaces `out` by the plaintext of `at..at+len`; shorter only where the
    /// file ends. Only authenticated bytes are ever returned.
    ///
    /// # Errors
    /// [`FileError::Damaged`] if a chunk of the range does not authenticate
    /// (`out` is then empty); the backing's.
    pub fn read(&self, at: PlainOff, len: usize, out: &mut Vec<u8>) -> Result<(), FileError> {
        let g = self.geometry;
        let result = self.read_chunks(at, len, out);
        match result {
            Ok(end) => {
                let skip = g.within_chunk(at);
                out.truncate(end);
                if skip > 0 {
                    out.drain(..skip.min(out.len()));
                }
            }
            Err(error) => {
                out.clear();
                return Err(error);
            }
        }
        Ok(())
    }

    /// Reads whole chunks to the front of `out`; returns where in `out` the
    /// wanted range ends.
    fn read_chunks(&self, at: PlainOff, len: usize, out: &mut Vec<u8>) -> Result<usize, FileError> {
        let g = self.geometry;
        let asked_end = at.get().saturating_add(to_u64(len));
        let first = g.chunk_of(at);
        let asked_last = g.chunk_of(PlainOff::new(asked_end.saturating_sub(1)));
        let _guard = self.ranges.shared(first, asked_last.max(first));
        let size = self.size();
        let end = asked_end.min(size.get());
        if end <= at.get() {
            return Ok(0);
        }
        let last = g.chunk_of(PlainOff::new(end - 1));
        let (plain_end, tail) = if last == g.last_chunk(size) {
            (size.get(), Tail::Last)
        } else {
            (g.chunk_start(last.next()).get(), Tail::Inside)
        };
        let start = g.chunk_start(first);
        let plain_len = to_usize(plain_end - start.get());
        let slots = to_usize(last.get() - first.get()) + 1;
        let cipher_len = plain_len + slots * Geometry::SLOT_OVERHEAD;
        // Never cleared in between: what a failed request leaves is dropped by
        // the caller, and zeroing a megabyte costs as much as reading it.
        if out.len() > plain_len {
            out.truncate(plain_len);
        } else {
            out.resize(plain_len, 0);
        }
        CIPHER.with_borrow_mut(|cipher| {
            if cipher.len() < cipher_len {
                cipher.resize(cipher_len, 0);
            }
            let cipher = &mut cipher[..cipher_len];
            let read = self.load(first, cipher)?;
            if read < cipher_len {
                let missing = first.get() + to_u64(read / g.slot_size());
                self.report(ChunkNo::new(missing));
                return Err(Damage::Missing(ChunkNo::new(missing)).into());
            }
            let holes = self.holes_policy();
            let workers = workers_for(plain_len);
            open_slots(&self.keys, g, first, cipher, tail, holes, workers, out)
                .inspect_err(|damage| self.report(damage.chunk))?;
            Ok(to_usize(end - start.get()))
        })
    }

    /// The next data or hole at or after `at`, by whole chunks; the end of the
    /// file is a hole. Answers from the backing, so callers flush first.
    ///
    /// # Errors
    /// [`FileError::BeyondEnd`] if `at` is not inside the file or no data
    /// follows; the backing's.
    pub fn seek(&self, at: PlainOff, to: SeekTo) -> Result<PlainOff, FileError> {
        let g = self.geometry;
        let _guard = self
            .ranges
            .shared(g.chunk_of(at), super::ranges::RangeLock::END);
        let size = self.size();
        if at.get() >= size.get() {
            return Err(FileError::BeyondEnd);
        }
        let found = match (self.holes_policy(), to) {
            (crate::codec::batch::Holes::Refused, SeekTo::Data) => at,
            (crate::codec::batch::Holes::Refused, SeekTo::Hole) => PlainOff::new(size.get()),
            (crate::codec::batch::Holes::Allowed, _) => self.seek_slots(at, to)?,
        };
        match to {
            SeekTo::Data if found.get() >= size.get() => Err(FileError::BeyondEnd),
            SeekTo::Data => Ok(found),
            SeekTo::Hole => Ok(PlainOff::new(found.get().min(size.get()))),
        }
    }

    /// Looks at slots from `at` on; the last slot is never a hole.
    fn seek_slots(&self, at: PlainOff, to: SeekTo) -> Result<PlainOff, FileError> {
        let g = self.geometry;
        let last = g.last_chunk(self.size());
        let mut chunk = g.chunk_of(at);
        let mut slots = Vec::new();
        while chunk < last {
            if to == SeekTo::Data {
                // Let the backing skip what it never stored.
                match self.next_data(chunk)? {
                    None => return Ok(PlainOff::new(self.size().get())),
                    Some(data) => chunk = data.min(last),
                }
            }
            let count = SEEK_SLOTS.min(last.get() - chunk.get());
            slots.resize(to_usize(count) * g.slot_size(), 0);
            let read = self.load(chunk, &mut slots)?;
            for slot in slots[..read].chunks_exact(g.slot_size()) {
                let is_hole = slot.iter().all(|&b| b == 0);
                if is_hole == (to == SeekTo::Hole) {
                    return Ok(PlainOff::new(g.chunk_start(chunk).get().max(at.get())));
                }
                chunk = chunk.next();
            }
            if read < slots.len() {
                return Err(Damage::Missing(chunk).into());
            }
        }
        match to {
            SeekTo::Data => Ok(PlainOff::new(g.chunk_start(last).get().max(at.get()))),
            SeekTo::Hole => Ok(PlainOff::new(self.size().get())),
        }
    }

    /// Offset of the first backing byte of the slot that holds `at`.
    pub(super) fn slot_offset(&self, at: PlainOff) -> CipherOff {
        self.geometry.slot_start(self.geometry.chunk_of(at))
    }
}
