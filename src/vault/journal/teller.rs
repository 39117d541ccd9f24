//! One file brought to the last state that a journal has of it. FORMAT.md, journal.

use std::collections::{BTreeMap, BTreeSet, HashSet};
use std::io;

use super::scan::{Change, Story};
use crate::codec::batch::{Holes, SlotBuf, Tail, Workers, open_slots, seal_slots};
use crate::codec::geometry::Geometry;
use crate::codec::header::{Header, OpenFlag, seal_header};
use crate::codec::journal::{NewSlot, Replaced, SlotTag};
use crate::codec::keys::FileKeys;
use crate::store::StoreFile;
use crate::types::{ChunkNo, CipherLen, CipherOff, PlainLen};
use crate::vault::Vault;

/// What became of one file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Told {
    /// It is as the journal says, or was taken away.
    Settled,
    Changed,
    /// It is not the file the journal is about any more.
    Left,
    /// It may be there, and was not to be found.
    Unclear,
}

/// One file and what the journal says of it.
pub(super) struct Teller<'a> {
    g: Geometry,
    keys: FileKeys,
    story: &'a Story,
    journal: &'a StoreFile,
    file: StoreFile,
    /// Every slot that a chunk had before or has now.
    known: HashSet<(ChunkNo, SlotTag)>,
    /// Every chunk that was the file's last one, and the length of its slot.
    last_lens: BTreeSet<(ChunkNo, usize)>,
}

/// A chunk's newest slot.
type Latest = BTreeMap<ChunkNo, (Replaced, Option<CipherOff>)>;

impl<'a> Teller<'a> {
    pub(super) fn new(
        vault: &Vault,
        story: &'a Story,
        journal: &'a StoreFile,
        file: StoreFile,
    ) -> Self {
        let g = vault.geometry();
        let replaced = story.changes.iter().flat_map(|change| &change.replaced);
        let known = replaced
            .flat_map(|(one, _)| [(one.chunk, one.old), (one.chunk, one.new_tag())])
            .collect();
        let states =
            std::iter::once(&story.base).chain(story.changes.iter().map(|change| &change.header));
        let last_lens = states
            .map(|state| {
                let len = g.last_chunk_len(state.size) + Geometry::SLOT_OVERHEAD;
                (g.last_chunk(state.size), len)
            })
            .collect();
        Self {
            g,
            keys: vault.keys().file_keys(story.base.file_id),
            story,
            journal,
            file,
            known,
            last_lens,
        }
    }

    /// Brings the file to its last state; if it was `emptied` after that, that is
    /// for the story of its emptying to tell.
    pub(super) fn tell(&self, vault: &Vault, emptied: bool) -> io::Result<Told> {
        let head = self.file.read_head(Geometry::HEADER_LEN)?;
        if emptied && head.len() < Geometry::HEADER_LEN {
            return Ok(Told::Settled);
        }
        let found = vault.keys.identify(&head).ok().map(|(_, header)| header);
        if found.is_some_and(|header| !self.is_known(&header)) {
            return Ok(if self.is_older_than(found) {
                Told::Settled
            } else {
                Told::Left
            });
        }
        self.settle(found)
    }

    /// Whether the header in place is from before, during or right after the
    /// checkpoint of these changes.
    fn is_known(&self, header: &Header) -> bool {
        let base = &self.story.base;
        let newest = self.newest_generation();
        if header.file_id != base.file_id || header.generation > newest.saturating_add(2) {
            return false;
        }
        let states = self.story.changes.iter().map(|change| &change.header);
        header.open == OpenFlag::Open
            || std::iter::once(base)
                .chain(states)
                .any(|state| (state.seal, state.size) == (header.seal, header.size))
    }

    /// Whether the file went on after these changes were in place.
    fn is_older_than(&self, found: Option<Header>) -> bool {
        found.is_some_and(|header| {
            header.file_id == self.story.base.file_id
                && header.generation > self.newest_generation().saturating_add(2)
        })
    }

    fn newest_generation(&self) -> u64 {
        let changes = self.story.changes.last();
        changes.map_or(self.story.base.generation, |last| last.header.generation)
    }

    /// Brings the file to the newest state all of whose slots are there.
    fn settle(&self, found: Option<Header>) -> io::Result<Told> {
        let length = self.file.stat()?.size;
        let whole = self.newest_whole()?;
        let newest = whole.is_some_and(|(count, _)| count == self.story.changes.len());
        let base = self.story.base;
        let untouched = found.is_some_and(|found| self.is_untouched(&found));
        // A checkpoint, or a replay, began with what counts or with less: nothing
        // later has gone in place.
        let on_the_way = found.zip(whole).is_some_and(|(found, (_, counts))| {
            found.open == OpenFlag::Open && found.generation <= counts.generation.saturating_add(1)
        });
        if !newest && !untouched && !on_the_way {
            // Further than what is left of the journal: never back. One that is
            // never sealed says so by its generation alone.
            let ended = found.is_some_and(|header| {
                let last = self.newest_generation().saturating_add(2);
                header.open == OpenFlag::Closed
                    || base.open == OpenFlag::Open && header.generation == last
            });
            return Ok(if ended { Told::Settled } else { Told::Left });
        }
        let Some((count, header)) = whole else {
            return self.go_back(length, found);
        };
        let latest = self.latest(count);
        let mut work = Vec::new();
        for (chunk, (one, at)) in &latest {
            if *chunk > self.g.last_chunk(header.size) {
                continue;
            }
            match self.verdict(*chunk, one, &header)? {
                Verdict::Done => {}
                Verdict::Write => work.push((*chunk, one, *at)),
                Verdict::Foreign => return Ok(Told::Left),
            }
        }
        if base.open == OpenFlag::Open
            && found.is_some()
            && !self.is_as_long(length, count, &latest, &header)?
        {
            return Ok(Told::Left);
        }
        let end = self.g.cipher_len(header.size).map_or(0, |len| len.get());
        let stands = found.is_some_and(|found| {
            (found.open, found.seal, found.size) == (header.open, header.seal, header.size)
        });
        if work.is_empty() && stands && length == end {
            return Ok(Told::Settled);
        }
        self.put(&work, &header)?;
        Ok(Told::Changed)
    }

    /// Whether the header in place is still the one that the changes began with: no
    /// slot was replaced.
    fn is_untouched(&self, found: &Header) -> bool {
        let base = &self.story.base;
        if self.story.is_in_the_making() {
            // It may have said that it has holes.
            let generations = base.generation..=base.generation.saturating_add(1);
            return (found.open, found.size) == (base.open, base.size)
                && generations.contains(&found.generation);
        }
        match base.open {
            // What it says of the length is void.
            OpenFlag::Open => {
                let size = base.size;
                Header { size, ..*found } == *base
            }
            OpenFlag::Closed => {
                let open = OpenFlag::Closed;
                Header { open, ..*found } == *base
            }
        }
    }

    /// No change counts: what stands behind the end that the file had is void.
    fn go_back(&self, length: u64, found: Option<Header>) -> io::Result<Told> {
        let base = self.story.base;
        if self.story.is_in_the_making() {
            return self.end_the_making(length);
        }
        let Some(end) = self.g.cipher_len(base.size) else {
            return Ok(Told::Settled);
        };
        let announced = base.open == OpenFlag::Closed && found != Some(base);
        if length > end.get() {
            // If the last slot was replaced, nobody knows where the file ends: it was
            // so before.
            let last = self.g.last_chunk(base.size);
            if !self.ends_there(last, self.slot_len(last, &base))? {
                return Ok(Told::Settled);
            }
            self.file.truncate(end)?;
        } else if !announced {
            return Ok(Told::Settled);
        }
        if announced {
            self.put_header(&base)?;
        }
        self.file.sync_all()?;
        Ok(Told::Changed)
    }

    /// Ends a file that was in the making behind its last whole slot.
    fn end_the_making(&self, length: u64) -> io::Result<Told> {
        let slot = u64::try_from(self.g.slot_size()).unwrap_or(u64::MAX);
        let slots = length.saturating_sub(self.g.slot_start(ChunkNo::new(0)).get());
        let (last, rest) = (ChunkNo::new(slots / slot), slots % slot);
        if self.ends_there(last, usize::try_from(rest).unwrap_or(0))? {
            return Ok(Told::Settled);
        }
        let mut end = SlotBuf::default();
        let (tail, one) = (Tail::Last, Workers::One);
        seal_slots(&self.keys, self.g, last, &[], tail, one, &mut end).map_err(io::Error::other)?;
        self.file
            .truncate(CipherLen::new(self.g.slot_start(last).get()))?;
        self.file
            .write_at(&[end.sealed()], self.g.slot_start(last))
            .map_err(|partial| partial.source)?;
        self.file.sync_all()?;
        Ok(Told::Changed)
    }

    fn put(
        &self,
        work: &[(ChunkNo, &Replaced, Option<CipherOff>)],
        header: &Header,
    ) -> io::Result<()> {
        let newest = self.newest_generation();
        let open = Header {
            open: OpenFlag::Open,
            generation: header.generation.saturating_add(1),
            ..*header
        };
        self.put_header(&open)?;
        let mut holes = Vec::new();
        for &(chunk, one, at) in work {
            let to = self.g.slot_start(chunk);
            let len = u64::try_from(self.slot_len(chunk, header)).unwrap_or(u64::MAX);
            match (one.new, at) {
                (NewSlot::Stored(_), Some(at)) => self
                    .file
                    .copy_from(self.journal, at, len, to)
                    .map_err(|partial| partial.source)?,
                (NewSlot::Hole, _) => holes.push(chunk),
                (NewSlot::Stored(_) | NewSlot::Placed(_), _) => {}
            }
        }
        // Neighbours at once: one slot is no whole number of blocks to free.
        for run in holes.chunk_by(|a, b| a.next() == *b) {
            self.punch(run)?;
        }
        let end = self.g.cipher_len(header.size);
        self.file.truncate(end.ok_or(io::ErrorKind::InvalidData)?)?;
        self.put_header(&Header {
            generation: newest.saturating_add(2),
            ..*header
        })?;
        self.file.sync_all()
    }

    /// Holes where this run of neighbours was; zeros where the backing cannot.
    fn punch(&self, run: &[ChunkNo]) -> io::Result<()> {
        let from = self.g.slot_start(run[0]);
        let end = self.g.slot_start(run[run.len() - 1].next());
        match self.file.punch_hole(from, end.get() - from.get()) {
            Err(error) if error.raw_os_error() == Some(libc::EOPNOTSUPP) => {
                let mut zeros = SlotBuf::default();
                zeros.fill_with_holes(self.g, 1);
                run.iter().try_for_each(|&chunk| {
                    self.file
                        .write_at(&[zeros.sealed()], self.g.slot_start(chunk))
                        .map_err(|partial| partial.source)
                })
            }
            other => other,
        }
    }

    fn put_header(&self, header: &Header) -> io::Result<()> {
        let image = seal_header(&self.keys, header).map_err(io::Error::other)?;
        self.file
            .write_at(&[image.sealed()], CipherOff::new(0))
            .map_err(|partial| partial.source)
    }

    /// The newest change up to which every slot is where it should be, and how
    /// many changes lead there. Slots that went in place without a flush may
    /// be missing after a power cut; they were never promised.
    fn newest_whole(&self) -> io::Result<Option<(usize, Header)>> {
        let mut missing: HashSet<ChunkNo> = HashSet::new();
        let mut whole = None;
        for (index, change) in self.story.changes.iter().enumerate() {
            for (one, at) in &change.replaced {
                let there = match (one.new, at) {
                    (NewSlot::Placed(tag), _) => {
                        self.is_placed(one.chunk, tag, &change.header, &self.file, None)?
                    }
                    (NewSlot::Stored(tag), Some(at)) => {
                        self.is_placed(one.chunk, tag, &change.header, self.journal, Some(*at))?
                    }
                    (NewSlot::Hole, _) => true,
                    (NewSlot::Stored(_), None) => false,
                };
                if there {
                    missing.remove(&one.chunk);
                } else {
                    missing.insert(one.chunk);
                }
            }
            if missing
                .iter()
                .all(|chunk| *chunk > self.g.last_chunk(change.header.size))
            {
                whole = Some((index + 1, change.header));
            }
        }
        Ok(whole)
    }

    /// Whether an OPEN file is no shorter and no longer than these changes found it or
    /// left it. Of a sealed one the header tells.
    fn is_as_long(
        &self,
        length: u64,
        count: usize,
        latest: &Latest,
        header: &Header,
    ) -> io::Result<bool> {
        let changes = self.story.changes[..count].iter();
        let sizes = changes.map(|change| change.header.size);
        let shortest = sizes.fold(self.story.base.size, PlainLen::min);
        if self
            .g
            .cipher_len(shortest)
            .is_none_or(|shortest| length < shortest.get())
        {
            return Ok(false);
        }
        let last = self.g.last_chunk(header.size);
        Ok(latest.contains_key(&last) || self.ends_there(last, self.slot_len(last, header))?)
    }

    /// Whether the last slot of a file that ends with this one is there: then
    /// what stands behind it is no part of the file.
    fn ends_there(&self, last: ChunkNo, len: usize) -> io::Result<bool> {
        let mut slot = vec![0; len];
        let read = self.file.read_at(&mut slot, self.g.slot_start(last))?;
        Ok(read == len && self.opens(last, &slot))
    }

    /// Whether the slot of this tag stands there and opens.
    fn is_placed(
        &self,
        chunk: ChunkNo,
        tag: SlotTag,
        header: &Header,
        file: &StoreFile,
        at: Option<CipherOff>,
    ) -> io::Result<bool> {
        let mut slot = vec![0; self.slot_len(chunk, header)];
        let at = at.unwrap_or_else(|| self.g.slot_start(chunk));
        let read = file.read_at(&mut slot, at)?;
        Ok(read == slot.len() && SlotTag::of(&slot) == tag && self.opens(chunk, &slot))
    }

    fn opens(&self, chunk: ChunkNo, slot: &[u8]) -> bool {
        let Some(len) = slot.len().checked_sub(Geometry::SLOT_OVERHEAD) else {
            return false;
        };
        let tail = if slot.len() == self.g.slot_size() {
            Tail::Inside
        } else {
            Tail::Last
        };
        let mut plain = zeroize::Zeroizing::new(vec![0; len]);
        let (holes, one) = (Holes::Refused, Workers::One);
        open_slots(
            &self.keys, self.g, chunk, slot, tail, holes, one, &mut plain,
        )
        .is_ok()
    }

    fn slot_len(&self, chunk: ChunkNo, header: &Header) -> usize {
        if chunk == self.g.last_chunk(header.size) {
            self.g.last_chunk_len(header.size) + Geometry::SLOT_OVERHEAD
        } else {
            self.g.slot_size()
        }
    }

    fn latest(&self, count: usize) -> Latest {
        self.story.changes[..count]
            .iter()
            .flat_map(|Change { replaced, .. }| replaced)
            .map(|&(one, at)| (one.chunk, (one, at)))
            .collect()
    }

    /// Whether a chunk's slot is to be written: if the one in place is one
    /// that this journal replaced, or does not open.
    fn verdict(&self, chunk: ChunkNo, one: &Replaced, header: &Header) -> io::Result<Verdict> {
        let mut slot = vec![0; self.g.slot_size()];
        let read = self.file.read_at(&mut slot, self.g.slot_start(chunk))?;
        slot.truncate(read);
        let mut foreign = false;
        // It may be the file's last, now or before, and so a short one.
        let short = self.last_lens.range((chunk, 0)..=(chunk, usize::MAX));
        for len in short.map(|&(_, len)| len).chain([self.g.slot_size()]) {
            let Some(slot) = slot.get(..len) else {
                continue;
            };
            let tag = SlotTag::of(slot);
            if slot.iter().all(|&byte| byte == 0) {
                let done = one.new == NewSlot::Hole && len == self.g.slot_size();
                return Ok(if done { Verdict::Done } else { Verdict::Write });
            }
            if !self.opens(chunk, slot) {
                continue;
            }
            if tag == one.new_tag() && len == self.slot_len(chunk, header) {
                return Ok(Verdict::Done);
            }
            foreign |= !self.known.contains(&(chunk, tag));
        }
        Ok(if foreign {
            Verdict::Foreign
        } else {
            Verdict::Write
        })
    }
}

enum Verdict {
    Done,
    Write,
    Foreign,
}
