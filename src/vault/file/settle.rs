//! Files that nobody finished, brought to an end: what `check --repair` may
//! do to a file, and nothing else does. FORMAT.md, seal.

use super::verify::SealVerdict;
use super::{Contents, Damage, End, File, FileError, Phase, Standing, Tracking};
use crate::codec::header::OpenFlag;
use crate::store::StoreFile;
use crate::types::{CipherOff, PlainLen, SetTime};
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
        Ok(self.judge(&self.check(|_| {})?))
    }

    fn judge(&self, contents: &Contents) -> Unfinished {
        let last = self.geometry.last_chunk(self.size());
        match *contents.damaged.as_slice() {
            [] => Unfinished::Whole,
            [(first, end)] if end == last => Unfinished::TornFrom {
                len: PlainLen::new(self.geometry.chunk_start(first).get()),
                at: self.geometry.slot_start(first),
            },
            _ => Unfinished::Damaged,
        }
    }

    /// Seals a file that was found OPEN or longer than it says, as it stands;
    /// a torn end is cut off. Its times stay. Needs a writable descriptor;
    /// durable once this returns.
    ///
    /// # Errors
    /// [`Damage::NotSealed`], and no change, if chunks in the middle are
    /// damaged; the backing's.
    pub fn seal_as_found(&self) -> Result<(), FileError> {
        match self.unfinished()? {
            Unfinished::Whole => {}
            Unfinished::TornFrom { len, .. } => {
                let (atime, mtime) = self.own_times()?;
                self.set_len(len)?;
                self.set_times(atime, mtime)?;
            }
            Unfinished::Damaged => return Err(Damage::NotSealed.into()),
        }
        let (contents, terms) = self.examine(|_| {})?;
        if contents.damaged_chunks > 0 {
            return Err(Damage::NotSealed.into());
        }
        let (atime, mtime) = self.own_times()?;
        {
            let mut state = self.state.lock();
            state.tracking = Tracking::Exact {
                seal: terms.seal,
                holes: terms.holes,
            };
            state.phase = Phase::Changed;
            if state.times.mtime == SetTime::Omit {
                (state.times.atime, state.times.mtime) = (atime, mtime);
            }
        }
        self.seal()?;
        Ok(self.store()?.sync_all()?)
    }

    fn own_times(&self) -> Result<(SetTime, SetTime), FileError> {
        let stat = self.store()?.stat()?;
        Ok((SetTime::At(stat.atime), SetTime::At(stat.mtime)))
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
        let front = Self::new(
            file.geometry,
            file.keys,
            store,
            header,
            header.size,
            tracking,
        );
        front.state.lock().end = End::Beyond;
        let contents = front.check(|_| {})?;
        let whole = contents.damaged_chunks == 0 && contents.seal == SealVerdict::Matches;
        Ok(whole.then_some(front))
    }

    /// Where the backing file should end.
    #[must_use]
    pub fn sealed_end(&self) -> CipherOff {
        let end = self.geometry.cipher_len(self.size());
        CipherOff::new(end.map_or(u64::MAX, crate::types::CipherLen::get))
    }

    /// Cuts off what stands behind the end of a file from
    /// [`Self::open_to_sealed_end`]. Its times stay; durable once this returns.
    ///
    /// # Errors
    /// The backing's.
    pub fn cut_to_sealed_end(&self) -> Result<(), FileError> {
        let (atime, mtime) = self.own_times()?;
        self.trim(&mut self.state.lock())?;
        let store = self.store()?;
        store.set_times(atime, mtime)?;
        Ok(store.sync_all()?)
    }
}
