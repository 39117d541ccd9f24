//! What the journal has of a file, put in its place. DURABILITY.md.

use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use super::journalled::{Mode, Overlay, Patch};
use super::times::SEEN_AFTER;
use super::write::to_u64;
use super::{End, File, FileError, Phase, State, Tracking};
use crate::codec::geometry::Geometry;
use crate::codec::header::{Header, OpenFlag, SparseFlag};
use crate::store::StoreFile;
use crate::store::file::Piece;
use crate::types::{ChunkNo, CipherOff, PlainLen};

impl File {
    /// Puts everything in place and seals it there. When this returns the file
    /// is whole, in its place and safe, and the journal has nothing of it. If
    /// it fails the journal keeps all, and it may be tried again.
    ///
    /// The caller holds the state. Others may read meanwhile: what is being
    /// written over is read from the journal.
    pub(super) fn checkpoint(&self, state: &mut State) -> Result<(), FileError> {
        let (Some(journal), Some(nr)) = (&self.journal, state.pending.nr) else {
            return Ok(());
        };
        // Nothing may be written over before its successor is safe.
        let writer = self.writer()?;
        if state.pending.unsynced {
            writer.sync_data()?;
        }
        journal.sync(state.pending.sequence)?;
        let began = Instant::now();
        self.write_in_place(state, &writer)?;
        // At once: from its first byte on the file showed the moment of this.
        if began.elapsed() > SEEN_AFTER {
            state.times.become_later_than(writer.stat()?.mtime);
        }
        // A time must not keep it from its end: the seal sets it again, and says.
        if let Err(error) = state.times.apply(&writer) {
            tracing::debug!(%error, "a file in place does not show when it was written");
        }
        writer.sync_data()?;
        state.pending.unsynced = false;
        self.overlay.write().clear();
        state.pending.nr = None;
        state.pending.announced = None;
        journal.leave(nr);
        Ok(())
    }

    /// Whether changes are in the journal and not in their place.
    #[must_use]
    pub fn is_in_journal(&self) -> bool {
        let state = self.state.lock();
        state.pending.nr.is_some() && state.phase == Phase::Changed
    }

    /// Whether the header in place says that they are about to be put there.
    #[must_use]
    pub fn is_announced(&self) -> bool {
        self.state.lock().pending.announced.is_some()
    }

    /// Says in the header that the file is about to change, and returns for how
    /// long it has said so. Whoever began to copy the file before has what it
    /// was, whole, if only its slots are left alone for so long; whoever begins
    /// later copies a header that says OPEN. `None` if there is nothing to say:
    /// no slot is going to be replaced, or slots stand behind the end.
    ///
    /// # Errors
    /// The backing's.
    pub fn announce_change(&self) -> Result<Option<Duration>, FileError> {
        let mut state = self.state.lock();
        let replaces = !self.overlay.read().chunks.is_empty() || state.pending.cut;
        // OPEN, it would seem to reach as far as its slots, and the last that
        // counts so far is a short one.
        let grew = state.pending.free_from > self.geometry.last_chunk(state.header.size).next();
        let due = replaces && !grew;
        let (Some(journal), Some(_), true) = (&self.journal, state.pending.nr, due) else {
            return Ok(None);
        };
        if let Some(since) = state.pending.announced {
            return Ok(Some(since.elapsed()));
        }
        // Nothing that was safe may be found OPEN without what explains it.
        journal.sync(state.pending.sequence)?;
        // Of the same generation: replay knows by it that no slot was touched.
        let open = Header {
            open: OpenFlag::Open,
            ..state.header
        };
        let store = self.store()?;
        let was = store.stat()?.mtime;
        self.replace_header(&mut state, open)?;
        // Not the moment of this: the file has none of its newest bytes yet,
        // and they are older.
        Self::move_mtime(&store, was.next());
        state.pending.announced = Some(Instant::now());
        Ok(Some(Duration::ZERO))
    }

    /// Slots are about to be put behind the end of a file that said it would
    /// change: saying OPEN it would seem to reach as far as they do, while the
    /// last that counts is still a short one. It says what it was again.
    pub(super) fn take_back_announcement(&self, state: &mut State) -> Result<(), FileError> {
        // One that was found OPEN stays so.
        let was_sealed = matches!(state.tracking, Tracking::Exact { .. });
        if state.pending.announced.is_none() || !was_sealed {
            return Ok(());
        }
        let store = self.store()?;
        let was = store.stat()?.mtime;
        let closed = Header {
            open: OpenFlag::Closed,
            ..state.header
        };
        self.replace_header(state, closed)?;
        Self::move_mtime(&store, was.next());
        state.pending.announced = None;
        Ok(())
    }

    fn write_in_place(&self, state: &mut State, writer: &StoreFile) -> Result<(), FileError> {
        let g = self.geometry;
        let size = self.size();
        let generation = state.pending.generation;
        let now = self.header_for(state, state.tracking, size);
        let overlay = self.overlay.read();
        if !overlay.chunks.is_empty() || state.pending.cut {
            // From here on there is nothing to take back.
            state.pending.announced = None;
            let open = Header {
                open: OpenFlag::Open,
                sparse: now.sparse,
                generation: generation.saturating_add(1),
                ..state.header
            };
            self.replace_header(state, open)?;
        }
        if let Some(journal) = &overlay.journal {
            let mut pieces = pieces(g, &overlay);
            // As the journal has them, so that it is read in one go.
            pieces.sort_unstable_by_key(|piece| piece.from);
            writer.copy_pieces(journal.file(), &pieces)?;
        }
        // Neighbours at once: one slot is no whole number of blocks to free.
        let holes: Vec<ChunkNo> = overlay
            .chunks
            .iter()
            .filter(|(_, patch)| matches!(patch, Patch::Hole))
            .map(|(&chunk, _)| chunk)
            .collect();
        for run in holes.chunk_by(|a, b| a.next() == *b) {
            self.make_holes(run[0], run[run.len() - 1].next())?;
        }
        drop(overlay);
        if state.pending.cut || state.end == End::Beyond {
            let len = g.cipher_len(size).ok_or(FileError::TooBig)?;
            writer.truncate(len)?;
            state.end = End::Exact;
            state.pending.cut = false;
        }
        state.pending.free_from = g.last_chunk(size).next();
        let sealed = Header {
            generation: generation.saturating_add(2),
            ..now
        };
        self.replace_header(state, sealed)?;
        state.pending.generation = sealed.generation;
        Ok(())
    }

    /// The header that belongs to a file of this length whose slots are
    /// tracked so; OPEN if it must not be sealed.
    pub(super) fn header_for(&self, state: &State, tracking: Tracking, size: PlainLen) -> Header {
        let next = Header {
            generation: state.header.generation.saturating_add(1),
            size,
            ..state.header
        };
        match tracking {
            Tracking::Exact { seal, holes } => Header {
                open: OpenFlag::Closed,
                sparse: if holes > 0 {
                    SparseFlag::Sparse
                } else {
                    SparseFlag::Dense
                },
                seal,
                holes,
                ..next
            },
            Tracking::Lost => Header {
                open: OpenFlag::Open,
                sparse: self.declared_sparse(state),
                ..next
            },
        }
    }

    /// The file is gone, or emptied: the journal's part of it is void.
    pub(super) fn forget_pending(&self, state: &mut State) {
        self.end_making(state);
        if let (Some(journal), Some(nr)) = (&self.journal, state.pending.nr.take()) {
            self.overlay.write().clear();
            state.pending.announced = None;
            journal.leave(nr);
        }
    }

    /// The file has no name any more: whatever the journal has of it is void.
    pub fn abandon(&self) {
        self.forget_pending(&mut self.state.lock());
    }

    /// From here on its slots are what a crash must leave; those of a file
    /// without content are not.
    pub(super) fn rely_on_contents(&self, state: &mut State) {
        if self.size() > PlainLen::new(0) {
            self.settle_down(state);
        }
    }

    /// Changes go through the journal from here on, if there is one.
    pub(super) fn settle_down(&self, state: &mut State) {
        if self.mode() == Mode::InPlace && self.journal.is_some() {
            self.set_mode(Mode::Journalled);
            state.pending.generation = state.header.generation;
            state.pending.free_from = self.geometry.last_chunk(self.size()).next();
            state.pending.cut = false;
            state.pending.unsynced = true;
        }
    }

    /// By whoever holds all chunks, and `state`.
    pub(super) fn set_mode(&self, mode: Mode) {
        let journalled = mode == Mode::Journalled;
        self.journalled.store(journalled, Ordering::Release);
    }
}

/// The slots of an overlay, neighbours together.
fn pieces(g: Geometry, overlay: &Overlay) -> Vec<Piece> {
    let mut pieces: Vec<Piece> = Vec::new();
    let mut next = None;
    for (&chunk, patch) in &overlay.chunks {
        let Patch::Stored { at, len } = *patch else {
            continue;
        };
        let len = to_u64(len);
        match pieces.last_mut() {
            Some(piece) if next == Some((chunk, at)) => piece.len += len,
            Some(_) | None => pieces.push(Piece {
                from: at,
                to: g.slot_start(chunk),
                len,
            }),
        }
        next =
            (len == to_u64(g.slot_size())).then(|| (chunk.next(), CipherOff::new(at.get() + len)));
    }
    pieces
}
