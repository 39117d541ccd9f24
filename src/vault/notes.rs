//! What names need, kept a second time in `keepfs.names`: notes of pins, which
//! say which ids directories had at which places, and the side files of long
//! names. FORMAT.md, keepfs.names.
//!
//! A pin or a side file goes with its directory: another device that renames or
//! removes the directory takes it away from whoever fills the directory or
//! changes a file in it at that time. What is kept here stays, so names open.

use std::collections::HashMap;
use std::hash::Hash;
use std::io;
use std::time::{Duration, Instant};

use parking_lot::{Mutex, MutexGuard};

use super::Vault;
use crate::codec::entry::LongName;
use crate::codec::names::{NoteTag, PinNote, PinRecord, SideFile};
use crate::name::RawName;
use crate::store::StoreDir;
use crate::sys::inotify::{Inotify, WatchId};
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
    /// Second copies of side files, by the long entries they belong to: their
    /// names, which a sync client may have appended to.
    sides: HashMap<LongName, Vec<RawName>>,
    /// Raised whenever there were others than those that were known.
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
        let before = (
            std::mem::take(&mut self.by_tag),
            std::mem::take(&mut self.sides),
        );
        for name in names.iter().take(MOST_NOTES) {
            if let Some(long) = side_of(name) {
                self.sides.entry(long).or_default().push(name.clone());
            }
        }
        for (tag, record) in names.iter().filter_map(PinNote::parse).take(MOST_NOTES) {
            let records = self.by_tag.entry(tag).or_default();
            if records.len() < MOST_FOR_A_PLACE && !records.contains(&record) {
                records.push(record);
            }
        }
        self.seen = now;
        if !same(&before.0, &self.by_tag) || !same(&before.1, &self.sides) {
            self.version += 1;
        }
        Ok(())
    }

    /// Whatever it looks like, the directory is read at the next use.
    fn doubt(&mut self) {
        self.looked = None;
        self.seen = None;
    }

    /// Whether a file in the directory is one that was read, or written by us.
    fn has(&self, name: &RawName) -> bool {
        if let Some((tag, record)) = PinNote::parse(name) {
            return self
                .by_tag
                .get(&tag)
                .is_some_and(|all| all.contains(&record));
        }
        side_of(name).is_none_or(|long| self.sides.contains_key(&long))
    }
}

/// Whether both hold the same, in whatever order.
fn same<K: Eq + Hash, V: PartialEq>(a: &HashMap<K, Vec<V>>, b: &HashMap<K, Vec<V>>) -> bool {
    let within = |all: &Vec<V>, key: &K| {
        let others = b.get(key).map_or(&[][..], Vec::as_slice);
        all.len() == others.len() && all.iter().all(|one| others.contains(one))
    };
    a.len() == b.len() && a.iter().all(|(key, all)| within(all, key))
}

/// The long entry that a second copy of a side file belongs to.
fn side_of(name: &RawName) -> Option<LongName> {
    let (entry, rest) = name.bytes().split_at_checked(LongName::LEN)?;
    rest.starts_with(b"=").then(|| LongName::parse(entry))?
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

    /// Lets `inotify` tell of notes that come and go; `None` while there are
    /// none. What came before is looked for at the next use.
    ///
    /// # Errors
    /// What the backing says.
    pub fn watch_notes(&self, inotify: &Inotify) -> io::Result<Option<WatchId>> {
        let watch = self.root.watch_notes(inotify)?;
        self.notes.0.lock().doubt();
        Ok(watch)
    }

    /// Says that something happened to a file in `keepfs.names`: if that is no
    /// note of ours, all are looked at again at the next use.
    pub fn note_changed(&self, name: &RawName) {
        let mut known = self.notes.0.lock();
        if !known.has(name) {
            known.doubt();
        }
    }

    fn fresh_notes(&self) -> MutexGuard<'_, Known> {
        let mut known = self.notes.0.lock();
        if let Err(error) = known.freshen(&self.root) {
            tracing::warn!(%error, "keepfs.names cannot be read");
        }
        known
    }

    /// What the side file of a long entry holds, if a second copy of it is here.
    /// Whether it is the right one is for the caller to find out.
    pub(super) fn kept_sides(&self, long: &LongName) -> Vec<Vec<u8>> {
        let known = self.fresh_notes();
        let names = known.sides.get(long).cloned().unwrap_or_default();
        drop(known);
        let read = |name: &RawName| self.root.read_kept_side(name).ok();
        names
            .iter()
            .take(MOST_FOR_A_PLACE)
            .filter_map(read)
            .collect()
    }

    /// Keeps a second copy of a side file. Not durable by itself.
    ///
    /// # Errors
    /// What the backing says.
    pub(super) fn keep_side(&self, side: SideFile<'_>) -> io::Result<()> {
        let name = RawName::new(side.name.as_bytes());
        let Some(long) = side_of(&name) else {
            return Ok(());
        };
        let known = self.fresh_notes();
        if known.sides.contains_key(&long) {
            return Ok(());
        }
        drop(known);
        match self.root.keep_side(side) {
            // Somebody who may write elsewhere in the vault but not here.
            Err(error) if error.kind() == io::ErrorKind::PermissionDenied => return Ok(()),
            kept => kept?,
        }
        self.notes.0.lock().sides.insert(long, vec![name]);
        Ok(())
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
