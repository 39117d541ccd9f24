//! Longer, shorter, holes punched, space reserved. FORMAT.md, order of writes.

use std::io;

use super::journalled::Change;
use super::mend::Before;
use super::ranges::RangeLock;
use super::verify::TERM_BYTES;
use super::write::{Span, to_u64, to_usize};
use super::{Damage, End, File, FileError, Tracking};
use crate::codec::batch::{
    SealSum, SlotBuf, SlotTerms, Tail, Workers, open_slots, seal_slots, slot_terms,
};
use crate::codec::geometry::Geometry;
use crate::codec::header::SparseFlag;
use crate::codec::journal::{SlotTag, tags};
use crate::store::file::PartialWrite;
use crate::types::{ChunkNo, PlainLen, PlainOff};

impl File {
    /// Makes the plaintext `len` bytes long; what is added reads as zeros.
    ///
    /// # Errors
    /// The backing's; [`FileError::TooBig`].
    pub fn set_len(&self, len: PlainLen) -> Result<(), FileError> {
        let g = self.geometry;
        let span = self.checked_span(PlainOff::new(len.get()), 0)?;
        let _tail = loop {
            let from = g.last_chunk(len.min(self.size()));
            let guard = self.ranges.tail(from);
            if from <= g.last_chunk(len.min(self.size())) {
                break guard;
            }
        };
        let size = self.size();
        let lost = matches!(self.state.lock().tracking, Tracking::Lost);
        if len.get() == 0 && (size > len || lost) {
            self.empty()
        } else if len == size {
            self.begin_change(SparseFlag::Dense)?;
            self.account(&NOTHING, SealSum::ZERO, 0);
            Ok(())
        } else if len > size {
            self.grow(size, len, span)
        } else {
            self.shrink(size, len)
        }
    }

    /// Zeros up to the new end. Unlike a gap that writes out of order leave
    /// for a moment, these holes were asked for: they are declared at once.
    /// `span` is empty and lies at the new end; the caller holds the tail.
    fn grow(&self, size: PlainLen, len: PlainLen, span: Span) -> Result<(), FileError> {
        let g = self.geometry;
        let leaves_holes = g.last_chunk(len) > g.last_chunk(size).next();
        self.begin_change(if leaves_holes {
            SparseFlag::Sparse
        } else {
            SparseFlag::Dense
        })?;
        self.rewrite_zeros(span, size, len)
    }

    /// Length 0: the backing file is emptied and the image of an empty file
    /// written. Nothing of the old content is left to account for, so a file
    /// that was found OPEN is exactly known again.
    fn empty(&self) -> Result<(), FileError> {
        self.write_anew(&mut self.state.lock())?;
        self.account(&NOTHING, SealSum::ZERO, 0);
        Ok(())
    }

    /// OPEN first, then the short last slot, then the length: cutting first
    /// would destroy a tag.
    fn shrink(&self, size: PlainLen, len: PlainLen) -> Result<(), FileError> {
        let g = self.geometry;
        let last = g.last_chunk(len);
        self.begin_change(SparseFlag::Dense)?;
        let removed = self.stored_terms(last, g.last_chunk(size), Tail::Last)?;

        let (old_len, old_tail) = if last == g.last_chunk(size) {
            (g.last_chunk_len(size), Tail::Last)
        } else {
            (g.chunk_size(), Tail::Inside)
        };
        let keep = g.last_chunk_len(len);
        let mut plain = vec![0; old_len];
        let mut old_slot = vec![0; old_len + Geometry::SLOT_OVERHEAD];
        let read = self.load(last, &mut old_slot)?;
        if read < old_slot.len() {
            return Err(Damage::Missing(last).into());
        }
        if keep > 0 {
            let holes = self.holes_policy();
            open_slots(
                &self.keys,
                g,
                last,
                &old_slot,
                old_tail,
                holes,
                Workers::One,
                &mut plain,
            )
            .inspect_err(|damage| self.report(damage.chunk))?;
        }
        let mut slot = SlotBuf::default();
        let added = seal_slots(
            &self.keys,
            g,
            last,
            &plain[..keep],
            Tail::Last,
            Workers::One,
            &mut slot,
        )?;
        if self.is_journalled() {
            return self.commit(&Change {
                runs: &[(last, slot.sealed())],
                old: (last, &old_slot),
                removed,
                added,
                holes: &[],
                holes_made: 0,
                size: Some(len),
            });
        }
        let cipher_len = g.cipher_len(len).ok_or(FileError::TooBig)?;
        let writer = self.writer()?;
        let cut = self.replace_slots(last, &[slot.sealed()]).and_then(|()| {
            writer.truncate(cipher_len).map_err(|source| PartialWrite {
                written: to_u64(slot.len()),
                source,
            })
        });
        if let Err(failed) = cut {
            let before = Before {
                first: last,
                slots: &old_slot,
                tail: old_tail,
            };
            self.undo(before, &failed);
            return Err(failed.into());
        }
        self.state.lock().end = End::Exact;
        self.account(&removed, added, 0);
        self.size
            .store(len.get(), std::sync::atomic::Ordering::Release);
        Ok(())
    }

    /// Makes `at..at+len` read as zeros and frees whole chunks on the backing.
    /// What lies beyond the end is left alone.
    ///
    /// # Errors
    /// The backing's.
    pub fn punch_hole(&self, at: PlainOff, len: u64) -> Result<(), FileError> {
        let g = self.geometry;
        let asked = self.checked_span(at, len)?;
        let (_guard, size) = self.lock_for_change(asked);
        let span = Span {
            start: asked.start,
            end: PlainOff::new(asked.end.get().min(size.get())),
        };
        if span.end <= span.start {
            return Ok(());
        }
        let chunk_size = to_u64(g.chunk_size());
        let first = ChunkNo::new(span.start.get().div_ceil(chunk_size));
        let end = g.chunk_of(span.end).min(g.last_chunk(size));
        if first >= end {
            self.begin_change(SparseFlag::Dense)?;
            return self.rewrite_zeros(span, size, size);
        }
        self.begin_change(SparseFlag::Sparse)?;
        let before = Span {
            start: span.start,
            end: g.chunk_start(first),
        };
        let after = Span {
            start: g.chunk_start(end),
            end: span.end,
        };
        for edge in [before, after] {
            if edge.start < edge.end {
                self.rewrite_zeros(edge, size, size)?;
            }
        }
        self.punch_slots(first, end)
    }

    /// Turns slots `first..end` into holes.
    fn punch_slots(&self, first: ChunkNo, end: ChunkNo) -> Result<(), FileError> {
        if self.is_journalled() {
            return self.forget_slots(first, end);
        }
        let last = ChunkNo::new(end.get() - 1);
        let removed = self.stored_terms(first, last, Tail::Inside)?;
        match self.punch(first, end) {
            Ok(()) => {
                self.account(&removed, SealSum::ZERO, end.get() - first.get());
                Ok(())
            }
            Err(error) if error.raw_os_error() == Some(libc::EOPNOTSUPP) => {
                self.zero_slots(first, end)
            }
            Err(error) => {
                // Nearly always nothing has happened at all.
                let stored = self.stored_terms(first, last, Tail::Inside);
                if !stored.is_ok_and(|stored| stored == removed) {
                    self.state.lock().tracking = Tracking::Lost;
                }
                Err(error.into())
            }
        }
    }

    /// The same by way of the journal, piece by piece; holes stay as they are.
    fn forget_slots(&self, first: ChunkNo, end: ChunkNo) -> Result<(), FileError> {
        let g = self.geometry;
        let per_piece = to_u64((TERM_BYTES / g.slot_size()).max(1));
        let mut slots = Vec::new();
        let mut chunk = first;
        while let Some(from) = self.next_data(chunk)?.filter(|&from| from < end) {
            let count = per_piece.min(end.get() - from.get());
            slots.resize(to_usize(count) * g.slot_size(), 0);
            if self.load(from, &mut slots)? < slots.len() {
                return Err(Damage::Missing(from).into());
            }
            let removed = slot_terms(&self.keys, g, from, &slots, Tail::Inside)?;
            let holes: Vec<_> = tags(g, from, &slots)
                .filter(|(_, tag, _)| *tag != SlotTag::NONE)
                .map(|(chunk, tag, _)| (chunk, tag))
                .collect();
            self.commit(&Change {
                runs: &[],
                old: (from, &slots),
                removed,
                added: SealSum::ZERO,
                holes: &holes,
                holes_made: count,
                size: None,
            })?;
            chunk = ChunkNo::new(from.get() + count);
        }
        Ok(())
    }

    fn punch(&self, first: ChunkNo, end: ChunkNo) -> Result<(), io::Error> {
        let from = self.geometry.slot_start(first);
        let len = self.geometry.slot_start(end).get() - from.get();
        let writer = self.writer().map_err(|_| io::ErrorKind::PermissionDenied)?;
        writer.punch_hole(from, len)
    }

    /// Holes on the backing where slots `first..end` were; whose accounts the
    /// caller keeps.
    pub(super) fn make_holes(&self, first: ChunkNo, end: ChunkNo) -> Result<(), FileError> {
        match self.punch(first, end) {
            Err(error) if error.raw_os_error() == Some(libc::EOPNOTSUPP) => {
                let mut zeros = SlotBuf::default();
                for (chunk, count) in self.pieces(first, end) {
                    zeros.fill_with_holes(self.geometry, count);
                    self.replace_slots(chunk, &[zeros.sealed()])?;
                }
                Ok(())
            }
            other => Ok(other?),
        }
    }

    /// Where the backing cannot punch, zeros are written; piece by piece, so
    /// that what one of them replaces can be put back.
    pub(super) fn zero_slots(&self, first: ChunkNo, end: ChunkNo) -> Result<(), FileError> {
        let g = self.geometry;
        let mut zeros = SlotBuf::default();
        let mut old = Vec::new();
        for (chunk, count) in self.pieces(first, end) {
            zeros.fill_with_holes(g, count);
            old.resize(zeros.len(), 0);
            if self.load(chunk, &mut old)? < old.len() {
                return Err(Damage::Missing(chunk).into());
            }
            let tail = Tail::Inside;
            let removed = slot_terms(&self.keys, g, chunk, &old, tail)?;
            if let Err(failed) = self.replace_slots(chunk, &[zeros.sealed()]) {
                let before = Before {
                    first: chunk,
                    slots: &old,
                    tail,
                };
                self.undo(before, &failed);
                return Err(failed.into());
            }
            self.account(&removed, SealSum::ZERO, to_u64(count));
        }
        Ok(())
    }

    /// Slots `first..end` in pieces of about [`TERM_BYTES`]: where each begins
    /// and how many slots it has.
    fn pieces(&self, first: ChunkNo, end: ChunkNo) -> impl Iterator<Item = (ChunkNo, usize)> {
        let per_piece = (TERM_BYTES / self.geometry.slot_size()).max(1);
        (first.get()..end.get())
            .step_by(per_piece)
            .map(move |chunk| {
                let left = to_usize(end.get() - chunk);
                (ChunkNo::new(chunk), left.min(per_piece))
            })
    }

    /// Makes `at..at+len` read as zeros; grows the file to `at+len` if asked.
    ///
    /// # Errors
    /// The backing's; [`FileError::TooBig`].
    pub fn zero_range(&self, at: PlainOff, len: u64, size: SizeRule) -> Result<(), FileError> {
        let span = self.checked_span(at, len)?;
        self.punch_hole(at, len)?;
        self.grow_to(span, size)
    }

    /// Reserves space on the backing for `at..at+len`; grows the file to
    /// `at+len` if asked.
    ///
    /// # Errors
    /// The backing's: ENOSPC if there is no room, EOPNOTSUPP if it cannot.
    pub fn allocate(&self, at: PlainOff, len: u64, size: SizeRule) -> Result<(), FileError> {
        let g = self.geometry;
        let span = self.checked_span(at, len)?;
        let from = self.slot_offset(span.start);
        let end = g
            .cipher_len(PlainLen::new(span.end.get()))
            .ok_or(FileError::TooBig)?;
        self.writer()?.allocate(from, end.get() - from.get())?;
        self.grow_to(span, size)
    }

    fn grow_to(&self, span: Span, rule: SizeRule) -> Result<(), FileError> {
        let len = PlainLen::new(span.end.get());
        match rule {
            SizeRule::Grow if len > self.size() => self.set_len_at_least(len),
            SizeRule::Grow | SizeRule::Keep => Ok(()),
        }
    }

    fn set_len_at_least(&self, len: PlainLen) -> Result<(), FileError> {
        let span = self.checked_span(PlainOff::new(len.get()), 0)?;
        let _all = self.ranges.exclusive(ChunkNo::new(0), RangeLock::END);
        let size = self.size();
        if len > size {
            self.grow(size, len, span)?;
        }
        Ok(())
    }
}

/// Whether fallocate(2) may make the file longer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SizeRule {
    /// Up to the end of the range.
    Grow,
    /// `FALLOC_FL_KEEP_SIZE`
    Keep,
}

const NOTHING: SlotTerms = SlotTerms {
    seal: SealSum::ZERO,
    holes: 0,
};
