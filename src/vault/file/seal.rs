//! The header that says what stands in a file, and what makes it safe.

use std::sync::atomic::Ordering;

use super::journalled::Mode;
use super::times::PendingTimes;
use super::{File, FileError, Front, Phase, State, Tracking};
use crate::codec::header::OpenFlag;
use crate::types::ChunkNo;

impl File {
    /// Writes the sealed header, then the pending times. Does nothing if
    /// nothing changed. A file found OPEN stays OPEN, and so does one whose
    /// failed write could not be undone.
    ///
    /// # Errors
    /// The backing's; the file then stays changed and may be sealed again.
    pub fn seal(&self) -> Result<(), FileError> {
        let _tail = self.ranges.tail(ChunkNo::new(0));
        let mut state = self.state.lock();
        if state.phase == Phase::Clean {
            return self.nothing_came(&mut state);
        }
        match self.mode() {
            Mode::InPlace => self.seal_in_place(&mut state)?,
            Mode::Journalled => self.checkpoint(&mut state)?,
        }
        if let Tracking::Exact { holes, .. } = state.tracking {
            self.sparse.store(holes > 0, Ordering::Release);
        }
        state.times.apply(&*self.writer()?)?;
        state.times = PendingTimes::NONE;
        state.held = None;
        state.empty_slot = None;
        state.phase = Phase::Clean;
        Ok(())
    }

    /// The header that says what stands in its place, over the one there; what
    /// is written from here on goes through the journal, if there is one.
    fn seal_in_place(&self, state: &mut State) -> Result<(), FileError> {
        if state.front == Front::Missing {
            self.write_front(state)?;
        }
        self.trim(state)?;
        match state.tracking {
            Tracking::Exact { seal, .. } => {
                let sealed = self.header_for(state, state.tracking, self.size());
                let stands = state.header.open == OpenFlag::Closed
                    && (state.header.seal, state.header.size) == (seal, sealed.size);
                if !stands || state.front == Front::Torn {
                    self.replace_header(state, sealed)?;
                }
            }
            Tracking::Lost => self.declare(state)?,
        }
        self.end_making(state);
        // Whatever went in place so far.
        state.pending.unsynced = true;
        self.rely_on_contents(state);
        Ok(())
    }

    /// Everything written so far survives a power cut when this returns.
    ///
    /// # Errors
    /// The backing's, ENOSPC and EIO among them.
    pub fn sync(&self) -> Result<(), FileError> {
        let Some(journal) = &self.journal else {
            let mut state = self.state.lock();
            if state.phase == Phase::Changed {
                self.declare(&mut state)?;
                if state.held.take().is_some() {
                    state.times.apply(&*self.writer()?)?;
                }
            }
            drop(state);
            return Ok(self.store()?.sync_data()?);
        };
        let newest = {
            let _tail = self.ranges.tail(ChunkNo::new(0));
            let mut state = self.state.lock();
            if self.mode() == Mode::InPlace && state.phase == Phase::Changed {
                self.seal_in_place(&mut state)?;
                if state.held.take().is_some() {
                    state.times.apply(&*self.writer()?)?;
                }
            }
            let unsynced = std::mem::take(&mut state.pending.unsynced);
            let newest = state.pending.nr.map(|_| state.pending.sequence);
            drop(state);
            if unsynced && let Err(error) = self.store().and_then(|store| Ok(store.sync_data()?)) {
                self.state.lock().pending.unsynced = true;
                return Err(error);
            }
            newest
        };
        match newest {
            Some(_) if journal.is_gone() => {
                let _tail = self.ranges.tail(ChunkNo::new(0));
                self.checkpoint(&mut self.state.lock())
            }
            Some(sequence) => Ok(journal.sync(sequence)?),
            None => Ok(()),
        }
    }
}
