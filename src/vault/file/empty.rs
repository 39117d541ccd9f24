//! A file without content: 168 bytes, written at once. FORMAT.md, order of
//! writes.

use std::sync::Arc;
use std::sync::atomic::Ordering;

use super::journalled::Mode;
use super::write::Plan;
use super::{End, File, FileError, Front, Phase, State, Tracking};
use crate::codec::batch::{SealSum, SlotBuf, Tail, Workers, seal_slots};
use crate::codec::geometry::Geometry;
use crate::codec::header::{self, Header, HeaderImage, OpenFlag, SparseFlag};
use crate::codec::journal::{NewSlot, Record, Replaced, SlotTag};
use crate::codec::keys::FileKeys;
use crate::types::{ChunkNo, CipherLen, CipherOff, DirId, PlainLen};
use crate::vault::journal::Journal;

/// A last slot without content.
pub(super) type EmptySlot = [u8; Geometry::SLOT_OVERHEAD];

/// The first 168 bytes of an empty file.
pub(super) struct EmptyImage {
    pub(super) header: Header,
    pub(super) front: HeaderImage,
    pub(super) slot: SlotBuf,
    seal: SealSum,
}

impl EmptyImage {
    pub(super) fn tracking(&self) -> Tracking {
        Tracking::Exact {
            seal: self.seal,
            holes: 0,
        }
    }

    /// The bytes of its one slot.
    pub(super) fn slot_bytes(&self) -> Option<EmptySlot> {
        self.slot.sealed().bytes().try_into().ok()
    }
}

/// An empty file, OPEN: header and last slot.
pub(super) fn empty_image(
    geometry: Geometry,
    keys: &FileKeys,
    birth_dir: DirId,
    generation: u64,
) -> Result<EmptyImage, FileError> {
    let header = Header {
        file_id: keys.file_id(),
        open: OpenFlag::Open,
        sparse: SparseFlag::Dense,
        generation,
        size: PlainLen::new(0),
        seal: SealSum::ZERO,
        birth_dir,
        holes: 0,
    };
    let mut slot = SlotBuf::default();
    let (first, last) = (ChunkNo::new(0), Tail::Last);
    let seal = seal_slots(keys, geometry, first, &[], last, Workers::One, &mut slot)?;
    let front = header::seal_header(keys, &header)?;
    Ok(EmptyImage {
        header,
        front,
        slot,
        seal,
    })
}

impl File {
    /// The image of this file without content.
    fn emptied(&self, state: &State, generation: u64) -> Result<EmptyImage, FileError> {
        let birth_dir = state.header.birth_dir;
        empty_image(self.geometry, &self.keys, birth_dir, generation)
    }

    /// Writes the image of an empty file at the start of the emptied backing
    /// file; nothing else is left, so everything is known of it.
    pub(super) fn write_front(&self, state: &mut State) -> Result<(), FileError> {
        let image = self.emptied(state, state.header.generation.saturating_add(1))?;
        self.writer()?.write_at(
            &[image.front.sealed(), image.slot.sealed()],
            CipherOff::new(0),
        )?;
        state.header = image.header;
        state.tracking = image.tracking();
        state.empty_slot = image.slot_bytes();
        state.front = Front::Whole;
        self.forget_pending(state);
        Ok(())
    }

    /// Where the file was safe, the journal says first that it is to be empty,
    /// so that a kill halfway does not leave a file that is none.
    fn note_emptying(&self, state: &State) -> Result<Option<(Arc<Journal>, u64)>, FileError> {
        let Some(journal) = self.journal_in_use() else {
            return Ok(None);
        };
        let image = self.emptied(state, state.pending.generation.saturating_add(1))?;
        let nr = journal.enter();
        let told = self
            .told(state.header, nr)
            .inspect_err(|_| journal.leave(nr))?;
        let chunk = ChunkNo::new(0);
        let tag = SlotTag::of(image.slot.sealed().bytes());
        let change = Record::Change {
            nr,
            header: Header {
                open: OpenFlag::Closed,
                seal: image.seal,
                ..image.header
            },
            replaced: vec![Replaced {
                chunk,
                old: SlotTag::NONE,
                new: NewSlot::Stored(tag),
            }],
        };
        let noted = journal
            .append(&told, &[])
            .and_then(|_| journal.append(&change, &[image.slot.sealed()]));
        match noted {
            Ok(_) => Ok(Some((Arc::clone(journal), nr))),
            Err(error) => {
                journal.leave(nr);
                Err(error.into())
            }
        }
    }

    /// The slot that a change of an empty file replaces, if it need not be read.
    /// Writes the image first where that is still to come.
    pub(super) fn known_empty_slot(&self, plan: &Plan) -> Result<Option<EmptySlot>, FileError> {
        if plan.size != PlainLen::new(0) {
            return Ok(None);
        }
        let mut state = self.state.lock();
        if state.front == Front::Missing {
            self.write_front(&mut state)?;
        }
        Ok(state.empty_slot)
    }

    /// Length 0 on the backing, then the image of an empty file. If only the
    /// first succeeds, the file is empty here and the image is written by
    /// whatever changes or seals it next.
    pub(super) fn write_anew(&self, state: &mut State) -> Result<(), FileError> {
        let intent = match self.note_emptying(state) {
            // Who empties a file on a full disk wants to make room there. A kill
            // before the next write would leave a file without a header.
            Err(error) if error.is_no_room() => None,
            noted => noted?,
        };
        if let Err(error) = self.writer()?.truncate(CipherLen::new(0)) {
            if let Some((journal, nr)) = intent {
                journal.leave(nr);
            }
            return Err(error.into());
        }
        if self.is_journalled() {
            // Whoever replays the journal sees that this is newer.
            state.header.generation = state.pending.generation.saturating_add(4);
            self.forget_pending(state);
            state.pending.nr = intent.map(|(_, nr)| nr);
            self.set_mode(Mode::InPlace);
        }
        self.size.store(0, Ordering::Release);
        self.sparse.store(false, Ordering::Release);
        state.phase = Phase::Changed;
        state.tracking = Tracking::Lost;
        state.front = Front::Missing;
        state.end = End::Exact;
        self.write_front(state)
    }
}
