//! Notes of pins: which ids directories had at which places, kept apart from
//! the directories in `keepfs.names`. FORMAT.md, directories.
//!
//! A pin goes with its directory: another device that renames or removes the
//! directory takes it away from whoever fills the directory at that time. Its
//! note stays, so the new names still open.

use std::collections::HashMap;
use std::io;
use std::time::{Duration, Instant};

use parking_lot::{Mutex, MutexGuard};

use super::Vault;
use crate::codec::names::{NoteTag, PinNote, PinRecord};
use crate::store::StoreDir;
use crate::types::{DirId, Time};

/// How long the notes are believed to be all.
const FRESH: Duration = Duration::from_secs(1);
/// Notes read at most; whoever fills the directory shall not fill the memory.
const MOST_NOTES: usize = 1 << 18;
/// Ids taken from notes for one place at most.
const MOST_FOR_A_PLACE: usize = 16;

/// The notes as they were read last. A leaf lock.
#[derive(Debug, Default)]
pub(super) struct Notes(Mutex<Known>);

#[derive(Debug, Default)]
struct Known {
    looked: Option<Instant>,
    /// What the directory looked like.
    seen: Option<(Time, Time)>,
    by_tag: HashMap<NoteTag, Vec<PinRecord>>,
    /// Raised whenever others were read.
    version: u64,
}

impl Known {
    /// Reads the notes anew if there may be others. What cannot be read leaves
    /// those that are known.
    fn freshen(&mut self, root: &StoreDir) -> io::Result<()> {
        if self.looked.is_some_and(|looked| looked.elapsed() < FRESH) {
            return Ok(());
        }
        self.looked = Some(Instant::now());
        let now = root.notes_changed()?;
        if now == self.seen {
            return Ok(());
        }
        let mut names = root.notes()?;
        names.sort();
        self.by_tag.clear();
        for (tag, record) in names.iter().filter_map(PinNote::parse).take(MOST_NOTES) {
            let records = self.by_tag.entry(tag).or_default();
            if records.len() < MOST_FOR_A_PLACE && !records.contains(&record) {
                records.push(record);
            }
        }
        self.seen = now;
        self.version += 1;
        Ok(())
    }
}

impl Vault {
    /// The ids that notes state for `place`, bytewise by note. As fresh as one
    /// second; what cannot be read states nothing.
    pub(super) fn noted_ids(&self, place: DirId) -> Vec<DirId> {
        let known = self.fresh_notes();
        if known.by_tag.is_empty() {
            return Vec::new();
        }
        let records = known.by_tag.get(&self.keys.note_tag(place));
        let open = |record| self.keys.open_record(place, record);
        records.into_iter().flatten().filter_map(open).collect()
    }

    /// Changes when notes came that were not there before: names may open then
    /// that did not.
    pub fn notes_version(&self) -> u64 {
        self.fresh_notes().version
    }

    fn fresh_notes(&self) -> MutexGuard<'_, Known> {
        let mut known = self.notes.0.lock();
        if let Err(error) = known.freshen(&self.root) {
            tracing::warn!(%error, "keepfs.names cannot be read");
        }
        known
    }

    /// Notes that the directory at `place` has the id `id`.
    ///
    /// # Errors
    /// What the backing says.
    pub(super) fn note_pin(&self, place: DirId, id: DirId) -> io::Result<()> {
        self.root.add_note(&self.keys.pin_note(place, id))?;
        let mut known = self.notes.0.lock();
        let records = known.by_tag.entry(self.keys.note_tag(place)).or_default();
        let record = self.keys.seal_pin(place, id);
        if !records.contains(&record) {
            records.push(record);
        }
        Ok(())
    }
}
