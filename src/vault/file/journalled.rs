//! Changes of a file whose bytes are safe already: they go to the journal,
//! and are read from there until `checkpoint` puts them in place.
//! DURABILITY.md.

use std::collections::BTreeMap;
use std::io;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Instant;

use super::making::Making;
use super::times::begun_after;
use super::write::{to_u64, to_usize};
use super::{End, File, FileError, Phase, State, Tracking, clock_now};
use crate::codec::Sealed;
use crate::codec::batch::{SealSum, SlotTerms};
use crate::codec::geometry::Geometry;
use crate::codec::header::{Header, OpenFlag};
use crate::codec::journal::{NewSlot, Record, Replaced, SlotTag, tags};
use crate::store::journal::JournalFile;
use crate::types::{ChunkNo, CipherLen, CipherOff, PlainLen};
use crate::vault::journal::{AppendError, Appended, Journal};

/// With so many chunks not in their place, they are put there: their list has
/// some megabytes then.
const MOST_CHUNKS: usize = 1 << 17;

impl From<AppendError> for FileError {
    fn from(error: AppendError) -> Self {
        match error {
            AppendError::Backing(error) => Self::Io(error),
            AppendError::Random(error) => Self::Random(error),
        }
    }
}

/// Whether live slots may be written over.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Mode {
    /// Nobody was promised them yet: the file is new or was emptied.
    InPlace,
    /// They are what a crash must leave: changes go through the journal.
    Journalled,
}

/// What the journal has of a file.
#[derive(Debug)]
pub(super) struct Pending {
    /// The file's number in the journal, from its first change to the
    /// checkpoint.
    pub(super) nr: Option<u64>,
    /// Since when the header in place says that the file is about to change.
    pub(super) announced: Option<Instant>,
    /// Of the newest change.
    pub(super) generation: u64,
    /// Where the newest change is in the order of records.
    pub(super) sequence: u64,
    /// The record that tells which file it is, until it was flushed.
    pub(super) told: Option<u64>,
    /// Slots from here on exist nowhere yet: they are written in place.
    pub(super) free_from: ChunkNo,
    /// The file has become shorter than what stands in its place.
    pub(super) cut: bool,
    /// Bytes written in place are not yet safe.
    pub(super) unsynced: bool,
}

impl Pending {
    pub(super) fn new(header: &Header, free_from: ChunkNo) -> Self {
        Self {
            nr: None,
            announced: None,
            told: None,
            generation: header.generation,
            sequence: 0,
            free_from,
            cut: false,
            unsynced: true,
        }
    }
}

/// One chunk that is not in its place yet.
#[derive(Clone, Copy, Debug)]
pub(super) enum Patch {
    /// Its slot is here in the journal.
    Stored { at: CipherOff, len: usize },
    /// It became a hole.
    Hole,
}

/// The chunks of a file that are not in their place yet.
#[derive(Debug, Default)]
pub(super) struct Overlay {
    pub(super) journal: Option<Arc<JournalFile>>,
    pub(super) chunks: BTreeMap<ChunkNo, Patch>,
    /// How often everything was put in place: what was known of the journal
    /// before is void.
    age: u64,
}

impl Overlay {
    /// Everything is in its place, or does not matter any more.
    pub(super) fn clear(&mut self) {
        *self = Self {
            age: self.age + 1,
            ..Self::default()
        };
    }

    /// The chunks from `first` on whose slots begin before `end`.
    fn patches(&self, g: Geometry, first: ChunkNo, end: CipherOff) -> Vec<(ChunkNo, Patch)> {
        self.chunks
            .range(first..)
            .take_while(|(chunk, _)| g.slot_start(**chunk) < end)
            .map(|(&chunk, &patch)| (chunk, patch))
            .collect()
    }
}

/// A change about to be made.
pub(super) struct Change<'a> {
    /// Runs of new slots, each beginning at its chunk, in order.
    pub(super) runs: &'a [(ChunkNo, Sealed<'a>)],
    /// The slots as they were, from this chunk on.
    pub(super) old: (ChunkNo, &'a [u8]),
    /// Their terms.
    pub(super) removed: SlotTerms,
    /// The terms of the new slots.
    pub(super) added: SealSum,
    /// Chunks that become holes, other than by being left out.
    pub(super) holes: &'a [(ChunkNo, SlotTag)],
    /// How many holes there are more.
    pub(super) holes_made: u64,
    /// The length it leads to, if it changes: others may change it while a
    /// change inside the file is being prepared.
    pub(super) size: Option<PlainLen>,
}

/// A change, taken apart.
struct Parts<'a> {
    /// Runs for the journal, each beginning at its chunk.
    stored: Vec<(ChunkNo, Sealed<'a>)>,
    /// Neighbouring runs behind everything, from this chunk on.
    placed_from: ChunkNo,
    placed: Vec<Sealed<'a>>,
    /// What is free once they are there.
    free_to: ChunkNo,
    replaced: Vec<Replaced>,
}

impl File {
    /// The journal, if changes of this file go through it now.
    pub(super) fn journal_in_use(&self) -> Option<&Arc<Journal>> {
        self.journal.as_ref().filter(|_| self.is_journalled())
    }

    pub(super) fn mode(&self) -> Mode {
        if self.is_journalled() {
            Mode::Journalled
        } else {
            Mode::InPlace
        }
    }

    pub(super) fn is_journalled(&self) -> bool {
        self.journalled.load(Ordering::Acquire)
    }

    /// Replaces slots, all or nothing: what exists already goes to the
    /// journal, what is behind everything goes in place. The caller holds the
    /// range, and the tail if the length changes.
    pub(super) fn commit(&self, change: &Change<'_>) -> Result<(), FileError> {
        let mut state = self.state.lock();
        let state = &mut *state;
        let size = change.size.unwrap_or(self.size());
        let grows_anew = state.pending.cut && size > self.size();
        // A file that was found OPEN seems to reach as far as its slots do: none is
        // put behind those that stand there. But a gap's holes are in no journal.
        let found_open = matches!(state.tracking, Tracking::Lost);
        let leaves_gap = change.size.is_some() && change.holes_made > 0;
        if grows_anew
            || (found_open && leaves_gap)
            || self.overlay.read().chunks.len() > MOST_CHUNKS
        {
            self.checkpoint(state)?;
        }
        let journal = Arc::clone(self.journal.as_ref().ok_or(FileError::NotWritable)?);
        if state.pending.nr.is_none() {
            self.cut_to_end(state)?;
        }
        let nr = self.enter(&journal, state)?;
        let free_from = if found_open && !leaves_gap {
            self.cut_behind_all(state)?;
            ChunkNo::new(u64::MAX)
        } else {
            state.pending.free_from
        };
        let parts = self.divide(change, free_from);
        if !parts.placed.is_empty() {
            self.place(state, &journal, &parts)?;
        }
        self.reserve(&parts.replaced);

        let tracking = state
            .tracking
            .after(&change.removed, change.added, change.holes_made);
        let header = Header {
            generation: state.pending.generation.saturating_add(1),
            ..self.header_for(state, tracking, size)
        };
        let slots: Vec<Sealed<'_>> = parts.stored.iter().map(|&(_, slots)| slots).collect();
        let record = Record::Change {
            nr,
            header,
            replaced: parts.replaced,
        };
        let appended = match journal.append(&record, &slots) {
            Ok(appended) => appended,
            Err(error) => {
                if !parts.placed.is_empty() {
                    state.end = End::Beyond;
                }
                return Err(error.into());
            }
        };
        state.phase = Phase::Changed;
        state.pending.cut |= size < self.size();
        state.pending.generation = header.generation;
        state.pending.sequence = appended.sequence;
        if !parts.placed.is_empty() {
            state.pending.free_from = parts.free_to;
        }
        self.lay_over(&parts.stored, change.holes, appended, size);
        self.tally(state, &change.removed, change.added, change.holes_made);
        self.size.store(size.get(), Ordering::Release);
        if found_open && leaves_gap {
            // What was its last slot is not any more.
            if let Err(error) = self.checkpoint(state) {
                tracing::debug!(%error, "a gap is not closed in its place yet");
            }
        }
        Ok(())
    }

    /// Which of the new slots go where.
    fn divide<'a>(&self, change: &Change<'a>, free_from: ChunkNo) -> Parts<'a> {
        let g = self.geometry;
        let holes = change.holes.iter().map(|&(chunk, old)| Replaced {
            chunk,
            old,
            new: NewSlot::Hole,
        });
        let mut parts = Parts {
            stored: Vec::new(),
            placed_from: free_from,
            placed: Vec::new(),
            free_to: free_from,
            replaced: holes.collect(),
        };
        for &(first, run) in change.runs {
            let (kept, placed) = split_at_chunk(g, first, run, free_from);
            if !kept.is_empty() {
                parts.stored.push((first, kept));
            }
            if !placed.is_empty() {
                let at = first.max(free_from);
                if parts.placed.is_empty() {
                    parts.placed_from = at;
                }
                parts.placed.push(placed);
                let count = to_u64(placed.len().div_ceil(g.slot_size()));
                parts.free_to = ChunkNo::new(at.get() + count);
            }
            parts
                .replaced
                .extend(tags(g, first, run.bytes()).map(|(chunk, tag, _)| Replaced {
                    chunk,
                    old: old_tag(g, change.old, chunk),
                    new: if chunk < free_from {
                        NewSlot::Stored(tag)
                    } else {
                        NewSlot::Placed(tag)
                    },
                }));
        }
        parts
    }

    /// Writes slots behind everything that stands in the file: nobody misses
    /// them if this fails.
    fn place(
        &self,
        state: &mut State,
        journal: &Journal,
        parts: &Parts<'_>,
    ) -> Result<(), FileError> {
        self.take_back_announcement(state)?;
        self.cut_behind_all(state)?;
        // Whoever finds something behind the end after a power cut must find
        // in the journal that it is void.
        if let Some(sequence) = state.pending.told {
            journal.sync(sequence)?;
            state.pending.told = None;
        }
        state.pending.unsynced = true;
        self.replace_slots(parts.placed_from, &parts.placed)
            .map_err(|failed| {
                if failed.written > 0 {
                    state.end = End::Beyond;
                }
                failed.into()
            })
    }

    /// A change was refused and none came after it: the journal need not know of
    /// the file any more, and what was written behind its end goes.
    pub(super) fn nothing_came(&self, state: &mut State) -> Result<(), FileError> {
        if state.pending.nr.is_some() {
            self.cut_to_end(state)?;
            self.forget_pending(state);
        }
        Ok(())
    }

    /// What stands behind the end is void. Nothing of the file is in the journal.
    fn cut_to_end(&self, state: &mut State) -> Result<(), FileError> {
        if state.end == End::Beyond && self.full_last_slot()?.is_none() {
            let end = self.geometry.cipher_len(self.size());
            self.writer()?.truncate(end.ok_or(FileError::TooBig)?)?;
            state.end = End::Exact;
        }
        Ok(())
    }

    /// What a failed write left behind everything must not end up in a gap, or as
    /// somebody else's.
    fn cut_behind_all(&self, state: &State) -> Result<(), FileError> {
        if state.end == End::Beyond {
            let writer = self.writer()?;
            let end = self.geometry.slot_start(state.pending.free_from).get();
            if writer.stat()?.size > end {
                writer.truncate(CipherLen::new(end))?;
            }
        }
        Ok(())
    }

    /// From here on a change is read from the journal.
    fn lay_over(
        &self,
        stored: &[(ChunkNo, Sealed<'_>)],
        holes: &[(ChunkNo, SlotTag)],
        appended: Appended,
        size: PlainLen,
    ) {
        let mut overlay = self.overlay.write();
        let mut at = appended.data_at;
        overlay.journal = Some(appended.journal);
        for &(first, slots) in stored {
            for (chunk, _, slot) in tags(self.geometry, first, slots.bytes()) {
                let len = slot.len();
                overlay.chunks.insert(chunk, Patch::Stored { at, len });
                at = CipherOff::new(at.get() + to_u64(len));
            }
        }
        for &(chunk, _) in holes {
            overlay.chunks.insert(chunk, Patch::Hole);
        }
        let last = self.geometry.last_chunk(size);
        while overlay
            .chunks
            .last_key_value()
            .is_some_and(|(&chunk, _)| chunk > last)
        {
            let _gone_with_the_end = overlay.chunks.pop_last();
        }
    }

    /// The file's number in the journal; its first change tells which file it is.
    fn enter(&self, journal: &Journal, state: &mut State) -> Result<u64, FileError> {
        if let Some(nr) = state.pending.nr {
            return Ok(nr);
        }
        let nr = journal.enter();
        // The length in an OPEN header says nothing; what this file's is has to be
        // known if nothing comes of the change.
        let base = match state.header.open {
            OpenFlag::Open => Header {
                size: self.size(),
                ..state.header
            },
            OpenFlag::Closed => state.header,
        };
        let record = self.told(base, nr).inspect_err(|_| journal.leave(nr))?;
        match journal.append(&record, &[]) {
            Ok(told) => state.pending.told = Some(told.sequence),
            Err(error) => {
                journal.leave(nr);
                return Err(error.into());
            }
        }
        state.pending.nr = Some(nr);
        // Sync clients go by it: what comes from elsewhere meanwhile is a
        // conflict, and not simply newer.
        let store = self.store()?;
        let was = store.stat()?.mtime;
        Self::move_mtime(&store, begun_after(was, clock_now()));
        Ok(nr)
    }

    /// The record that tells which file `nr` is; of a second one for the same file
    /// its place alone counts.
    pub(super) fn told(&self, base: Header, nr: u64) -> Result<Record, FileError> {
        Ok(Record::File {
            nr,
            ino: self.store()?.stat()?.ino,
            base,
            place: self.place.lock().clone(),
        })
    }

    /// Where its entry is on the backing, for whoever replays the journal:
    /// entries from the root downward, joined by `/`.
    pub fn set_place(&self, place: Vec<u8>) {
        let mut known = self.place.lock();
        if *known == place {
            return;
        }
        *known = place;
        drop(known);
        let state = self.state.lock();
        let Some(journal) = &self.journal else {
            return;
        };
        let noted = match state.making {
            Making::Noted(note) => Some(note.nr()),
            Making::Unknown | Making::Refused => None,
        };
        for nr in state.pending.nr.into_iter().chain(noted) {
            let noted = self
                .told(state.header, nr)
                .and_then(|record| Ok(journal.append(&record, &[])?));
            if let Err(error) = noted {
                // A hint: replay looks for the file then.
                tracing::debug!(%error, "a new place was not noted in the journal");
            }
        }
    }

    /// Room on the backing for slots where there are none yet, so that putting them
    /// in place does not fail for want of it. Where the backing cannot
    /// reserve, nothing is lost: they stay in the journal until there is room.
    fn reserve(&self, replaced: &[Replaced]) {
        let g = self.geometry;
        let fills =
            |one: &&Replaced| one.old == SlotTag::NONE && matches!(one.new, NewSlot::Stored(_));
        let chunks: Vec<ChunkNo> = replaced.iter().filter(fills).map(|one| one.chunk).collect();
        let (false, Ok(writer)) = (chunks.is_empty(), self.writer()) else {
            return;
        };
        let was = writer.stat();
        let mut reserved = false;
        for run in chunks.chunk_by(|a, b| a.next() == *b) {
            let len = to_u64(run.len() * g.slot_size());
            reserved |= writer.allocate(g.slot_start(run[0]), len).is_ok();
        }
        // No byte of the file has changed.
        if let (true, Ok(was)) = (reserved, was) {
            Self::move_mtime(&writer, was.mtime);
        }
    }

    /// Reads slots as they stand, in place or in the journal, from that of
    /// chunk `first` on; returns how many bytes there are.
    ///
    /// The caller holds the chunks, so nobody changes them; whatever is put in
    /// place meanwhile stays as it is.
    pub(super) fn load(&self, first: ChunkNo, buf: &mut [u8]) -> Result<usize, FileError> {
        let g = self.geometry;
        let start = g.slot_start(first);
        let end = CipherOff::new(start.get() + to_u64(buf.len()));
        loop {
            // Not held over the reading: others have changes to lay over.
            let (journal, patches, age) = {
                let overlay = self.overlay.read();
                let patches = overlay.patches(g, first, end);
                (overlay.journal.clone(), patches, overlay.age)
            };
            let read = self.store()?.read_at(buf, start);
            let read = match journal {
                Some(journal) if !patches.is_empty() => {
                    read.and_then(|read| patch(g, first, buf, read, &journal, &patches))
                }
                Some(_) | None => read,
            };
            if self.overlay.read().age == age {
                return Ok(read?);
            }
        }
    }

    /// The next chunk from `chunk` on that may hold data, holes being skipped;
    /// `None` if only holes follow.
    pub(super) fn next_data(&self, chunk: ChunkNo) -> Result<Option<ChunkNo>, FileError> {
        let g = self.geometry;
        let overlay = self.overlay.read();
        let placed = self
            .store()?
            .seek_data(g.slot_start(chunk))?
            .map(|at| g.slot_at(at).unwrap_or(chunk).max(chunk));
        let pending = overlay
            .chunks
            .range(chunk..)
            .find(|(_, patch)| matches!(patch, Patch::Stored { .. }))
            .map(|(&chunk, _)| chunk);
        Ok(match (placed, pending) {
            (Some(placed), Some(pending)) => Some(placed.min(pending)),
            (placed, pending) => placed.or(pending),
        })
    }
}

/// Lays what the journal has over slots that were read from their place, from
/// that of `first` on; returns how many bytes there are then.
fn patch(
    g: Geometry,
    first: ChunkNo,
    buf: &mut [u8],
    mut read: usize,
    journal: &JournalFile,
    patches: &[(ChunkNo, Patch)],
) -> io::Result<usize> {
    for &(chunk, patch) in patches {
        let from = to_usize(g.slot_start(chunk).get() - g.slot_start(first).get());
        let rest = &mut buf[from..];
        let len = match patch {
            Patch::Stored { at, len } => {
                let len = len.min(rest.len());
                if journal.file().read_at(&mut rest[..len], at)? < len {
                    return Err(io::ErrorKind::UnexpectedEof.into());
                }
                len
            }
            Patch::Hole => {
                let len = g.slot_size().min(rest.len());
                rest[..len].fill(0);
                len
            }
        };
        if from <= read {
            read = read.max(from + len);
        }
    }
    Ok(read)
}

/// What of a run is in front of `chunk`, and what is from there on.
fn split_at_chunk<'a>(
    g: Geometry,
    first: ChunkNo,
    run: Sealed<'a>,
    chunk: ChunkNo,
) -> (Sealed<'a>, Sealed<'a>) {
    let slots = to_usize(chunk.get().saturating_sub(first.get()));
    let at = slots.saturating_mul(g.slot_size()).min(run.len());
    (run.part(0..at), run.part(at..run.len()))
}

fn old_tag(g: Geometry, (first, slots): (ChunkNo, &[u8]), chunk: ChunkNo) -> SlotTag {
    let Some(index) = chunk.get().checked_sub(first.get()) else {
        return SlotTag::NONE;
    };
    to_usize(index)
        .checked_mul(g.slot_size())
        .and_then(|from| slots.get(from..))
        .and_then(|rest| rest.chunks(g.slot_size()).next())
        .map_or(SlotTag::NONE, SlotTag::of)
}
