//! New files that a kill may leave torn. A write of more than a page can stop in
//! the middle of a slot, and then nobody can tell the end of the file from
//! damage. The journal, if there is one already, says beforehand that the file is
//! in the making: replay then ends it behind its last whole slot. DURABILITY.md.

use super::{File, State};
use crate::codec::header::OpenFlag;
use crate::types::{CipherOff, PlainLen};
use crate::vault::journal::Note;

/// A kill stops a write between two of these, whatever the machine's pages.
const PAGE: u64 = 4096;

/// What the journal knows of a file that may be new.
#[derive(Clone, Copy, Debug)]
pub(super) enum Making {
    Unknown,
    Noted(Note),
    /// It could not be noted, and nothing was promised.
    Refused,
}

impl File {
    /// `len` bytes are about to be written from `at` on, in place.
    pub(super) fn note_making(&self, at: CipherOff, len: u64) {
        let Some(journal) = self.journal.as_ref().filter(|now| now.takes_notes()) else {
            return;
        };
        if at.get() % PAGE + len <= PAGE || self.place.lock().is_empty() {
            return;
        }
        let mut state = self.state.lock();
        let is_known = match state.making {
            Making::Unknown => false,
            Making::Noted(note) => journal.has(note),
            Making::Refused => true,
        };
        let is_new = state.header.open == OpenFlag::Open && state.header.size == PlainLen::new(0);
        if is_known || !is_new {
            return;
        }
        let record = |nr| self.told(state.header, nr).ok();
        state.making = journal.note(record).map_or(Making::Refused, Making::Noted);
    }

    /// It is sealed, or gone.
    pub(super) fn end_making(&self, state: &mut State) {
        if let (Some(journal), Making::Noted(note)) = (&self.journal, state.making) {
            journal.strike(note);
        }
        state.making = Making::Unknown;
    }
}
