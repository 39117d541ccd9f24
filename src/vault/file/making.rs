//! New files that a kill may leave torn. A write of more than a page can stop in
//! the middle of a slot, and then nobody can tell the end of the file from
//! damage. The journal, if there is one already, says beforehand that the file is
//! in the making: replay then ends it behind its last whole slot. DURABILITY.md.

use super::{File, State};
use crate::codec::header::OpenFlag;
use crate::types::{CipherOff, PlainLen};

/// A kill stops a write between two of these, whatever the machine's pages.
const PAGE: u64 = 4096;

impl File {
    /// `len` bytes are about to be written from `at` on, in place.
    pub(super) fn note_making(&self, at: CipherOff, len: u64) {
        let Some(journal) = self.journal.as_ref().filter(|journal| journal.has_begun()) else {
            return;
        };
        if at.get() % PAGE + len <= PAGE || self.place.lock().is_empty() {
            return;
        }
        let mut state = self.state.lock();
        let is_new = state.header.open == OpenFlag::Open && state.header.size == PlainLen::new(0);
        if state.making.is_some() || !is_new {
            return;
        }
        let nr = journal.enter();
        let noted = self
            .told(state.header, nr)
            .and_then(|record| Ok(journal.append(&record, &[])?));
        match noted {
            Ok(_) => state.making = Some(nr),
            Err(error) => {
                journal.leave(nr);
                // Nothing is promised of it.
                tracing::debug!(%error, "a file in the making was not noted in the journal");
            }
        }
    }

    /// It is sealed, or gone.
    pub(super) fn end_making(&self, state: &mut State) {
        if let (Some(journal), Some(nr)) = (&self.journal, state.making.take()) {
            journal.leave(nr);
        }
    }
}
