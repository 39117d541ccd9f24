//! Plaintext in: which slots a write replaces, and what becomes of them.

use std::cell::RefCell;
use std::ops::Range;
use std::sync::atomic::Ordering;
use std::time::Instant;

use super::journalled::Change;
use super::mend::Before;
use super::ranges::RangeGuard;
use super::{Damage, File, FileError, State};
use crate::codec::batch::Holes;
use crate::codec::batch::{
    SealSum, SlotBuf, SlotTerms, Tail, Workers, open_slots, seal_slots, slot_terms, workers_for,
};
use crate::codec::geometry::Geometry;
use crate::codec::header::SparseFlag;
use crate::store::file::PartialWrite;
use crate::types::{ChunkNo, CipherOff, PlainLen, PlainOff};

/// Buffers of one thread, reused by every request it serves.
#[derive(Default)]
pub(super) struct Scratch {
    /// Old slots as read from the backing.
    old: Vec<u8>,
    /// One chunk of plaintext being put together.
    chunk: Vec<u8>,
    /// The former last slot, padded to a full one, before a gap.
    former_last: SlotBuf,
    head: SlotBuf,
    full: SlotBuf,
    tail: SlotBuf,
}

thread_local! {
    static SCRATCH: RefCell<Scratch> = RefCell::default();
}

/// New plaintext for a range.
#[derive(Clone, Copy)]
pub(super) enum Content<'a> {
    Bytes(&'a [u8]),
    Zeros,
}

/// A range of plaintext bytes, `start..end`.
#[derive(Clone, Copy, Debug)]
pub(super) struct Span {
    pub(super) start: PlainOff,
    pub(super) end: PlainOff,
}

/// Chunks that the content covers entirely, already sealed in `Scratch::full`.
struct FullChunks {
    range: Range<u64>,
    seal: SealSum,
}

impl FullChunks {
    const NONE: Self = Self {
        range: 0..0,
        seal: SealSum::ZERO,
    };

    fn contain(&self, chunk: ChunkNo) -> bool {
        self.range.contains(&chunk.get())
    }
}

/// Which slots a change replaces. `size` is the old plaintext length, `grown`
/// the new one.
pub(super) struct Plan {
    pub(super) size: PlainLen,
    grown: PlainLen,
    /// The first chunk the content touches.
    first: ChunkNo,
    /// The last slot written.
    last: ChunkNo,
    /// Whether `last` is the last slot of the file, and so a short one.
    tail: Tail,
    /// The former last chunk, if the content begins beyond it.
    gap_after: Option<ChunkNo>,
    /// Old slots that are replaced.
    old_first: ChunkNo,
    old_bytes: Range<CipherOff>,
}

impl File {
    /// Replaces plaintext from `at` on, growing the file where it ends before.
    /// A gap between the old end and `at` reads as zeros.
    ///
    /// # Errors
    /// The backing's: the old content is then back in place, or the chunks
    /// concerned fail to authenticate until they are written again.
    pub fn write(&self, at: PlainOff, bytes: &[u8]) -> Result<(), FileError> {
        if bytes.is_empty() {
            return Ok(());
        }
        let span = self.checked_span(at, u64::try_from(bytes.len()).unwrap_or(u64::MAX))?;
        SCRATCH.with_borrow_mut(|scratch| {
            // Whole chunks are encrypted before anybody has to wait.
            let full = self.seal_full_chunks(scratch, span, bytes)?;
            let (_guard, size) = self.lock_for_change(span);
            let grown = size.max(PlainLen::new(span.end.get()));
            self.rewrite(scratch, span, Content::Bytes(bytes), size, grown, &full)
        })
    }

    /// `at..at+len`, if the format can hold a file that long.
    pub(super) fn checked_span(&self, at: PlainOff, len: u64) -> Result<Span, FileError> {
        at.get()
            .checked_add(len)
            .filter(|&end| end <= self.geometry.max_plain_len().get())
            .map(|end| Span {
                start: at,
                end: PlainOff::new(end),
            })
            .ok_or(FileError::TooBig)
    }

    /// Replaces `span` (within or beyond the old end) by zeros, slot by slot.
    /// The caller holds the lock and has begun the change. An empty span at
    /// the new end grows the file.
    pub(super) fn rewrite_zeros(
        &self,
        span: Span,
        size: PlainLen,
        grown: PlainLen,
    ) -> Result<(), FileError> {
        SCRATCH.with_borrow_mut(|scratch| {
            self.rewrite(
                scratch,
                span,
                Content::Zeros,
                size,
                grown,
                &FullChunks::NONE,
            )
        })
    }

    fn seal_full_chunks(
        &self,
        scratch: &mut Scratch,
        span: Span,
        bytes: &[u8],
    ) -> Result<FullChunks, FileError> {
        let g = self.geometry;
        scratch.full.clear();
        let skip = match g.within_chunk(span.start) {
            0 => 0,
            within => g.chunk_size() - within,
        };
        let count = bytes.len().saturating_sub(skip) / g.chunk_size();
        if count == 0 {
            return Ok(FullChunks::NONE);
        }
        let first = g.chunk_of(PlainOff::new(span.start.get() + to_u64(skip)));
        let whole = &bytes[skip..skip + count * g.chunk_size()];
        let workers = workers_for(whole.len());
        let seal = seal_slots(
            &self.keys,
            g,
            first,
            whole,
            Tail::Inside,
            workers,
            &mut scratch.full,
        )?;
        Ok(FullChunks {
            range: first.get()..first.get() + to_u64(count),
            seal,
        })
    }

    /// Locks what a change of `span` needs and tells the size that then holds:
    /// the chunks themselves, or the tail if the last chunk is among them.
    pub(super) fn lock_for_change(&self, span: Span) -> (RangeGuard<'_>, PlainLen) {
        let g = self.geometry;
        let first = g.chunk_of(span.start);
        loop {
            let size = self.size();
            let locked_from = first.min(g.last_chunk(size));
            let at_tail = self.touches_tail(span, size);
            let guard = if at_tail {
                self.ranges.tail(locked_from)
            } else {
                self.ranges.exclusive(first, self.last_touched(span))
            };
            // The file may have changed length while we waited; a longer one
            // needs no more than what is locked, a shorter one may.
            let now = self.size();
            let enough = if at_tail {
                locked_from <= g.last_chunk(now)
            } else {
                !self.touches_tail(span, now)
            };
            if enough {
                return (guard, now);
            }
        }
    }

    fn touches_tail(&self, span: Span, size: PlainLen) -> bool {
        let g = self.geometry;
        span.end > g.chunk_start(g.last_chunk(size))
    }

    fn last_touched(&self, span: Span) -> ChunkNo {
        let last_byte = span.end.get().saturating_sub(1).max(span.start.get());
        self.geometry.chunk_of(PlainOff::new(last_byte))
    }

    fn plan(&self, span: Span, size: PlainLen, grown: PlainLen) -> Plan {
        let g = self.geometry;
        let first = g.chunk_of(span.start);
        let old_last = g.last_chunk(size);
        let at_tail = grown > size || self.touches_tail(span, size);
        let (last, tail) = if at_tail {
            (g.last_chunk(grown), Tail::Last)
        } else {
            (self.last_touched(span), Tail::Inside)
        };
        let gap_after = (first > old_last).then_some(old_last);
        let old_first = gap_after.unwrap_or(first);
        let old_end = if at_tail {
            let len = g.last_chunk_len(size) + Geometry::SLOT_OVERHEAD;
            CipherOff::new(g.slot_start(old_last).get() + to_u64(len))
        } else {
            g.slot_start(last.next())
        };
        Plan {
            size,
            grown,
            first,
            last,
            tail,
            gap_after,
            old_first,
            old_bytes: g.slot_start(old_first)..old_end,
        }
    }

    fn rewrite(
        &self,
        scratch: &mut Scratch,
        span: Span,
        content: Content<'_>,
        size: PlainLen,
        grown: PlainLen,
        full: &FullChunks,
    ) -> Result<(), FileError> {
        let g = self.geometry;
        let plan = self.plan(span, size, grown);
        // Before the header is replaced: a backing over a network would be asked
        // again for the slots it has just sent with the header.
        let old = self.read_old(scratch, &plan)?;
        self.begin_change(SparseFlag::Dense)?;
        if plan.tail == Tail::Last {
            self.trim(&mut self.state.lock())?;
        }

        scratch.former_last.clear();
        scratch.head.clear();
        scratch.tail.clear();
        if full.range.is_empty() {
            scratch.full.clear();
        }
        let mut added = full.seal;
        if let Some(former_last) = plan.gap_after {
            added = added.combine(self.compose(
                scratch,
                Piece::FormerLast,
                &plan,
                former_last,
                None,
            )?);
        }
        let overlay = Some((span, content));
        if !full.contain(plan.first) {
            added =
                added.combine(self.compose(scratch, Piece::Head, &plan, plan.first, overlay)?);
        }
        if plan.last != plan.first && !full.contain(plan.last) {
            added = added.combine(self.compose(scratch, Piece::Tail, &plan, plan.last, overlay)?);
        }

        let holes_made = match plan.gap_after {
            Some(former_last) => plan.first.get() - former_last.get() - 1,
            None => 0,
        };
        if holes_made > 0 {
            self.sparse.store(true, Ordering::Release);
        }
        if plan.size == PlainLen::new(0) {
            self.state.lock().empty_slot = None;
        }
        if self.is_journalled() {
            return self.put_in_journal(scratch, &plan, (old, added), holes_made);
        }
        let parts = [
            &scratch.former_last,
            &scratch.head,
            &scratch.full,
            &scratch.tail,
        ];
        let len = parts.iter().map(|part| to_u64(part.len())).sum();
        self.note_making(g.slot_start(plan.gap_after.unwrap_or(plan.first)), len);
        if let Err(failed) = self.put(scratch, &plan, holes_made) {
            let before = Before {
                first: plan.old_first,
                slots: &scratch.old,
                tail: plan.tail,
            };
            self.undo(before, &failed);
            if holes_made > 0 {
                self.forget_gap();
            }
            return Err(failed.into());
        }
        self.hold_mtime();
        self.account(&old, added, holes_made);
        if plan.grown > plan.size {
            self.size.store(plan.grown.get(), Ordering::Release);
        }
        debug_assert!(g.last_chunk(plan.grown) >= plan.last);
        Ok(())
    }

    /// Writes what was put together; the former last slot first, as its error
    /// leaves the least to undo.
    fn put(&self, scratch: &Scratch, plan: &Plan, holes_made: u64) -> Result<(), PartialWrite> {
        let former = scratch.former_last.sealed();
        let body = [
            scratch.head.sealed(),
            scratch.full.sealed(),
            scratch.tail.sealed(),
        ];
        match plan.gap_after {
            None => self.replace_slots(plan.first, &body),
            Some(former_last) if holes_made == 0 => {
                self.replace_slots(former_last, &[former, body[0], body[1], body[2]])
            }
            Some(former_last) => {
                self.replace_slots(former_last, &[former])?;
                self.replace_slots(plan.first, &body)
                    .map_err(|failed| PartialWrite {
                        written: failed.written + to_u64(former.len()),
                        ..failed
                    })
            }
        }
    }

    /// The same by way of the journal.
    fn put_in_journal(
        &self,
        scratch: &Scratch,
        plan: &Plan,
        (removed, added): (SlotTerms, SealSum),
        holes_made: u64,
    ) -> Result<(), FileError> {
        let mut runs = Vec::with_capacity(4);
        if let Some(former_last) = plan.gap_after {
            runs.push((former_last, scratch.former_last.sealed()));
        }
        let mut chunk = plan.first;
        for slots in [&scratch.head, &scratch.full, &scratch.tail] {
            if !slots.is_empty() {
                runs.push((chunk, slots.sealed()));
            }
            let count = slots.len().div_ceil(self.geometry.slot_size());
            chunk = ChunkNo::new(chunk.get() + to_u64(count));
        }
        self.commit(&Change {
            runs: &runs,
            old: (plan.old_first, &scratch.old),
            removed,
            added,
            holes: &[],
            holes_made,
            size: (plan.grown > plan.size).then_some(plan.grown),
        })
        .inspect_err(|_| {
            if holes_made > 0 {
                self.forget_gap();
            }
        })
    }

    /// Reads the slots that will be replaced and sums their terms.
    fn read_old(&self, scratch: &mut Scratch, plan: &Plan) -> Result<SlotTerms, FileError> {
        let range = &plan.old_bytes;
        let len = to_usize(range.end.get() - range.start.get());
        scratch.old.resize(len, 0);
        match self.known_empty_slot(plan)? {
            Some(slot) => scratch.old.copy_from_slice(&slot),
            None => {
                let read = self.load(plan.old_first, &mut scratch.old)?;
                if read < len {
                    return Err(Damage::Missing(plan.old_first).into());
                }
            }
        }
        let g = self.geometry;
        let old = &scratch.old;
        Ok(slot_terms(&self.keys, g, plan.old_first, old, plan.tail)?)
    }

    /// Puts one chunk together from its old content and the overlay, and seals it.
    fn compose(
        &self,
        scratch: &mut Scratch,
        piece: Piece,
        plan: &Plan,
        chunk: ChunkNo,
        overlay: Option<(Span, Content<'_>)>,
    ) -> Result<SealSum, FileError> {
        let g = self.geometry;
        let start = g.chunk_start(chunk).get();
        let (len, tail) = match plan.tail {
            Tail::Last if chunk == plan.last => (g.last_chunk_len(plan.grown), Tail::Last),
            Tail::Last | Tail::Inside => (g.chunk_size(), Tail::Inside),
        };
        scratch.chunk.clear();
        scratch.chunk.resize(g.chunk_size(), 0);
        if !self.covers_old(plan, chunk, overlay) {
            self.old_chunk(scratch, plan, chunk)?;
        }
        if let Some((span, content)) = overlay {
            let from = span.start.get().max(start);
            let to = span.end.get().min(start + to_u64(len));
            if from < to {
                let target = &mut scratch.chunk[to_usize(from - start)..to_usize(to - start)];
                match content {
                    Content::Zeros => target.fill(0),
                    Content::Bytes(bytes) => {
                        let skip = to_usize(from - span.start.get());
                        target.copy_from_slice(&bytes[skip..skip + target.len()]);
                    }
                }
            }
        }
        let out = match piece {
            Piece::FormerLast => &mut scratch.former_last,
            Piece::Head => &mut scratch.head,
            Piece::Tail => &mut scratch.tail,
        };
        let plain = &scratch.chunk[..len];
        Ok(seal_slots(
            &self.keys,
            g,
            chunk,
            plain,
            tail,
            Workers::One,
            out,
        )?)
    }

    /// Whether nothing of the chunk's old content survives the change; then a
    /// damaged chunk can still be written over.
    fn covers_old(
        &self,
        plan: &Plan,
        chunk: ChunkNo,
        overlay: Option<(Span, Content<'_>)>,
    ) -> bool {
        let start = self.geometry.chunk_start(chunk).get();
        let chunk_end = start + to_u64(self.geometry.chunk_size());
        let old_end = plan.size.get().min(chunk_end);
        old_end <= start
            || overlay
                .is_some_and(|(span, _)| span.start.get() <= start && span.end.get() >= old_end)
    }

    /// Decrypts the old content of `chunk` to the front of `scratch.chunk`;
    /// nothing if the file did not have that chunk.
    fn old_chunk(
        &self,
        scratch: &mut Scratch,
        plan: &Plan,
        chunk: ChunkNo,
    ) -> Result<(), FileError> {
        let g = self.geometry;
        let old_last = g.last_chunk(plan.size);
        if chunk < plan.old_first || chunk > old_last {
            return Ok(());
        }
        let (len, tail) = if chunk == old_last {
            (g.last_chunk_len(plan.size), Tail::Last)
        } else {
            (g.chunk_size(), Tail::Inside)
        };
        let from = to_usize(chunk.get() - plan.old_first.get()) * g.slot_size();
        let slot = &scratch.old[from..from + len + Geometry::SLOT_OVERHEAD];
        let out = &mut scratch.chunk[..len];
        let holes = self.holes_policy();
        open_slots(&self.keys, g, chunk, slot, tail, holes, Workers::One, out)
            .inspect_err(|damage| self.report(damage.chunk))?;
        Ok(())
    }

    pub(super) fn holes_policy(&self) -> Holes {
        if self.sparse.load(Ordering::Acquire) {
            Holes::Allowed
        } else {
            Holes::Refused
        }
    }

    /// Keeps the sum over all slots, the number of holes and the times current.
    pub(super) fn account(&self, removed: &SlotTerms, added: SealSum, holes_made: u64) {
        self.tally(&mut self.state.lock(), removed, added, holes_made);
    }

    /// [`Self::account`] for who holds the state.
    pub(super) fn tally(
        &self,
        state: &mut State,
        removed: &SlotTerms,
        added: SealSum,
        holes_made: u64,
    ) {
        state.tracking = state.tracking.after(removed, added, holes_made);
        state.last_change = Instant::now();
        state.times.note_write();
    }
}

#[derive(Clone, Copy)]
enum Piece {
    FormerLast,
    Head,
    Tail,
}

/// Lengths of buffers fit both ways on the 64-bit systems keepfs runs on.
pub(super) fn to_u64(n: usize) -> u64 {
    u64::try_from(n).expect("usize has at most 64 bits")
}

/// See [`to_u64`].
pub(super) fn to_usize(n: u64) -> usize {
    usize::try_from(n).expect("lengths within a request fit usize")
}
