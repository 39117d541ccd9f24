//! Files that nobody finished, brought to an end: what `check --repair` may
//! do to a file, and nothing else does. FORMAT.md, seal.

use std::sync::atomic::Ordering;

use zeroize::Zeroizing;

use super::verify::SealVerdict;
use super::{Contents, Damage, End, File, FileError, Phase, Standing, Tracking};
use crate::codec::batch::{Holes, SlotBuf, Tail, Workers, open_slots, seal_slots};
use crate::codec::header::{OpenFlag, SparseFlag};
use crate::store::StoreFile;
use crate::types::{ChunkNo, CipherLen, CipherOff, PlainLen};
use crate::vault::Vault;

/// How a file that is not sealed can be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Unfinished {
    /// Every chunk is its own: it can be sealed as it stands.
    Whole,
    /// The chunks from here on are torn, all before are its own.
    TornFrom {
        /// The length of what is its own, in bytes of plaintext.
        len: PlainLen,
        /// Where the torn part begins on the backing.
        at: CipherOff,
    },
    /// Chunks in the middle are damaged.
    Damaged,
}

impl File {
    /// How a file that is not sealed stands.
    ///
    /// # Errors
    /// The backing's.
    pub fn unfinished(&self) -> Result<Unfinished, FileError> {
        let contents = self.check(|_| {})?;
        let full = self.full_last_slot()?;
        Ok(self.judge(&contents, full))
    }

    /// The last slot, if it is a full one with none behind it: an append was
    /// torn there.
    pub(super) fn full_last_slot(&self) -> Result<Option<ChunkNo>, FileError> {
        let g = self.geometry;
        let store = self.store()?;
        let stored = CipherLen::new(store.stat()?.size);
        if g.cipher_len(self.size()) == Some(stored) {
            return Ok(None);
        }
        let last = g.last_chunk(self.size());
        let mut slot = vec![0; g.slot_size()];
        if store.read_at(&mut slot, g.slot_start(last))? < slot.len() {
            return Ok(None);
        }
        let mut plain = Zeroizing::new(vec![0; g.chunk_size()]);
        let opened = open_slots(
            &self.keys,
            g,
            last,
            &slot,
            Tail::Inside,
            Holes::Refused,
            Workers::One,
            &mut plain,
        );
        Ok(opened.is_ok().then_some(last))
    }

    /// Writes the empty last slot that belongs behind a full one.
    fn end_behind(&self, full: ChunkNo) -> Result<(), FileError> {
        let g = self.geometry;
        let last = full.next();
        let _tail = self.ranges.tail(full);
        self.begin_change(SparseFlag::Dense)?;
        let mut slot = SlotBuf::default();
        seal_slots(
            &self.keys,
            g,
            last,
            &[],
            Tail::Last,
            Workers::One,
            &mut slot,
        )?;
        self.replace_slots(last, &[slot.sealed()])?;
        self.size
            .store(g.chunk_start(last).get(), Ordering::Release);
        // What was behind the full slot was shorter than the slot written.
        self.state.lock().end = End::Exact;
        Ok(())
    }

    fn judge(&self, contents: &Contents, full: Option<ChunkNo>) -> Unfinished {
        let last = self.geometry.last_chunk(self.size());
        match *contents.damaged.as_slice() {
            [] => Unfinished::Whole,
            [(first, end)] if first == end && Some(end) == full => Unfinished::Whole,
            [(first, end)] if end == last => Unfinished::TornFrom {
                len: PlainLen::new(self.geometry.chunk_start(first).get()),
                at: self.geometry.slot_start(first),
            },
            _ => Unfinished::Damaged,
        }
    }

    /// Seals a file that was found OPEN or longer than it says, as it stands;
    /// a torn end is cut off. Its mtime becomes the present: no two states of
    /// a file share size and mtime. Needs a writable descriptor; durable once
    /// this returns.
    ///
    /// # Errors
    /// [`Damage::NotSealed`], and no change, if it is not as `expected`, or
    /// chunks in the middle are damaged; the backing's.
    pub fn seal_as_found(&self, expected: Unfinished) -> Result<(), FileError> {
        let found = self.unfinished()?;
        if found != expected || self.stands_sealed() {
            return Err(Damage::NotSealed.into());
        }
        match found {
            Unfinished::Whole => {
                if let Some(full) = self.full_last_slot()? {
                    self.end_behind(full)?;
                }
            }
            Unfinished::TornFrom { len, .. } => self.set_len(len)?,
            Unfinished::Damaged => return Err(Damage::NotSealed.into()),
        }
        let (contents, terms) = self.examine(|_| {})?;
        if contents.damaged_chunks > 0 {
            return Err(Damage::NotSealed.into());
        }
        {
            let mut state = self.state.lock();
            state.tracking = Tracking::Exact {
                seal: terms.seal,
                holes: terms.holes,
            };
            state.phase = Phase::Changed;
        }
        self.seal()?;
        Ok(self.store()?.sync_all()?)
    }

    /// Whether its header is closed and its length as stated there.
    #[must_use]
    pub fn stands_sealed(&self) -> bool {
        matches!(self.state.lock().tracking, Tracking::Exact { .. })
    }

    /// Opens a sealed file that has something behind its end as if it had
    /// not; `None` if what is in front of it is not what was sealed.
    ///
    /// # Errors
    /// The backing's; the header does not open.
    pub fn open_to_sealed_end(vault: &Vault, store: StoreFile) -> Result<Option<Self>, FileError> {
        let (file, standing) = Self::open(vault, store)?;
        let header = file.state.lock().header;
        if standing == Standing::Sealed || header.open == OpenFlag::Open {
            return Ok(None);
        }
        let store = file.store()?.reopen(file.store()?.access())?;
        let tracking = Tracking::Exact {
            seal: header.seal,
            holes: header.holes,
        };
        let front = Self::new(vault, file.keys, store, header, header.size, tracking);
        front.state.lock().end = End::Beyond;
        let contents = front.check(|_| {})?;
        let whole = contents.damaged_chunks == 0 && contents.seal == SealVerdict::Matches;
        Ok(whole.then_some(front))
    }

    /// Where the backing file should end.
    #[must_use]
    pub fn sealed_end(&self) -> CipherOff {
        let end = self.geometry.cipher_len(self.size());
        CipherOff::new(end.map_or(u64::MAX, CipherLen::get))
    }

    /// Cuts off what stands behind the end of a file from
    /// [`Self::open_to_sealed_end`]; durable once this returns.
    ///
    /// # Errors
    /// The backing's.
    pub fn cut_to_sealed_end(&self) -> Result<(), FileError> {
        self.trim(&mut self.state.lock())?;
        Ok(self.store()?.sync_all()?)
    }
}
