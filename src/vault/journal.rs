//! The journal of a mount: overwrites stand in it before they stand in their
//! files, so that nothing that was safe is ever torn. DURABILITY.md.
//!
//! * this file: the journal being written
//! * `scan`: what a journal says of each file
//! * [`replay`]: journals that a crash left, brought into their files
//! * `find`: the file that a journal tells of
//!
//! **Locks**: one mutex over the end of the journal, a leaf. Flushing is done
//! without it.

mod find;
pub mod replay;
mod scan;
mod teller;

use std::collections::HashSet;
use std::io;
use std::ops::RangeInclusive;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use parking_lot::Mutex;

use crate::codec::journal::{FrameHead, JournalBytes, JournalHead, Record};
use crate::codec::keys::KeyTree;
use crate::codec::{RandomError, Sealed};
use crate::store::StoreDir;
use crate::store::journal::JournalFile;
use crate::sys::process::machine_name;
use crate::types::{CipherLen, CipherOff};

/// From a length within these bounds on, what is in the journal shall be put in
/// place: an eighth of what the backing has free. Later costs room there and
/// time after a crash, sooner a second write of everything at once.
const FULL: RangeInclusive<u64> = 64 << 20..=512 << 20;

/// So many zeros are written behind the end for who flushes. A record that makes the
/// file no longer is flushed by one write, without the file system's own log.
const AHEAD: usize = 1 << 20;

/// A flush that takes longer waits for a disk.
const DISK: Duration = Duration::from_micros(50);

/// Why something could not be written to the journal. Nothing was changed.
#[derive(Debug, thiserror::Error)]
pub enum AppendError {
    /// The backing said no.
    #[error("the journal cannot be written: {0}")]
    Backing(#[from] io::Error),
    /// The system gave no random bytes.
    #[error(transparent)]
    Random(#[from] RandomError),
}

/// A record that was written.
#[derive(Debug)]
pub struct Appended {
    /// The journal it is in.
    pub journal: Arc<JournalFile>,
    /// Where its slots begin there.
    pub data_at: CipherOff,
    /// Its place in the order of records.
    pub sequence: u64,
}

/// The journal of one mount; made when first needed.
pub struct Journal {
    root: Arc<StoreDir>,
    keys: Arc<KeyTree>,
    end: Mutex<End>,
    /// See [`Self::is_full`].
    full: AtomicBool,
    /// See [`Self::takes_notes`].
    takes_notes: AtomicBool,
    /// How often what stood in it became void.
    rounds: AtomicU64,
    /// Whether each record may be a round trip.
    is_remote: bool,
}

/// Says of a file something that nobody waits for, as long as it stands.
#[derive(Clone, Copy, Debug)]
pub struct Note {
    nr: u64,
    round: u64,
}

impl Note {
    /// The file's number.
    #[must_use]
    pub const fn nr(self) -> u64 {
        self.nr
    }
}

#[derive(Debug, Default)]
struct End {
    current: Option<Current>,
    next_sequence: u64,
    next_nr: u64,
    /// Files with something that is not yet safe in its place.
    live: HashSet<u64>,
    /// Everything before this sequence number is on the disk.
    synced: u64,
    /// Flushing failed: what the disk has of the journal is not known.
    broken: bool,
    /// The last flush waited for no disk.
    flushes_at_once: bool,
    idle_since: Option<Instant>,
}

#[derive(Debug)]
struct Current {
    file: Arc<JournalFile>,
    head: JournalHead,
    /// Where the next record goes.
    at: u64,
    /// Where it is full.
    full_at: u64,
    /// How far the file reaches; what is behind `at` is void. `u64::MAX` where it
    /// could not be made to reach further.
    reaches: u64,
}

impl Current {
    /// Makes the file reach further than its records, if it does not.
    fn reach_ahead(&mut self) {
        if self.reaches > self.at {
            return;
        }
        let (void, at) = (JournalBytes::void(AHEAD), CipherOff::new(self.at));
        self.reaches = match self.file.file().write_at(&[void.sealed()], at) {
            Ok(()) => self.at + to_u64(AHEAD),
            Err(error) => {
                // Records need the room more, and will say so. No second try.
                tracing::debug!(%error, "nothing is written ahead of the journal's end");
                let _left_there = self.file.file().truncate(CipherLen::new(self.at));
                u64::MAX
            }
        };
    }
}

impl std::fmt::Debug for Journal {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Journal").finish_non_exhaustive()
    }
}

impl End {
    fn new_nr(&mut self) -> u64 {
        self.next_nr += 1;
        self.next_nr
    }

    fn is_gone(&self) -> bool {
        let stat = self.current.as_ref().map(|now| now.file.file().stat());
        stat.is_some_and(|stat| stat.is_ok_and(|stat| stat.nlink == 0))
    }
}

impl Journal {
    /// A journal in the vault's `root`; nothing is written yet.
    #[must_use]
    pub fn new(root: Arc<StoreDir>, keys: Arc<KeyTree>) -> Self {
        Self {
            is_remote: root.is_remote().unwrap_or(false),
            root,
            keys,
            end: Mutex::default(),
            full: AtomicBool::new(false),
            takes_notes: AtomicBool::new(false),
            rounds: AtomicU64::new(0),
        }
    }

    /// Whether there is a file of it already, in which a note costs next to nothing.
    pub fn takes_notes(&self) -> bool {
        self.takes_notes.load(Ordering::Relaxed)
    }

    /// Writes down which file a new number stands for. Unlike after [`Self::enter`]
    /// the journal does not wait for its end: the note is gone once the changes of
    /// all other files are in their place. `None` if it could not be written.
    pub fn note(&self, record: impl FnOnce(u64) -> Option<Record>) -> Option<Note> {
        let nr = self.end.lock().new_nr();
        let record = record(nr)?;
        let mut end = self.end.lock();
        // Changes need the room.
        let has_room = |now: &Current| now.at < now.full_at / 2;
        if !end.current.as_ref().is_some_and(has_room) {
            return None;
        }
        match self.append_to(&mut end, &record, &[]) {
            Ok(_) => Some(Note {
                nr,
                round: self.rounds.load(Ordering::Relaxed),
            }),
            Err(error) => {
                tracing::debug!(%error, "a note was not written to the journal");
                None
            }
        }
    }

    /// Whether a note stands there still.
    pub fn has(&self, note: Note) -> bool {
        note.round == self.rounds.load(Ordering::Relaxed)
    }

    /// What a note says is so no longer.
    pub fn strike(&self, note: Note) {
        let mut end = self.end.lock();
        let done = Record::Done { nr: note.nr };
        if self.has(note)
            && end.current.is_some()
            && let Err(error) = self.append_to(&mut end, &done, &[])
        {
            // Replay sees that the file went on.
            tracing::debug!(%error, "a note was not struck out in the journal");
        }
    }

    /// Nothing that stood in it counts any more, or there is another file of it.
    fn begin_anew(&self, end: &End) {
        self.rounds.fetch_add(1, Ordering::Relaxed);
        let takes_notes = end.current.is_some() && !self.is_remote;
        self.takes_notes.store(takes_notes, Ordering::Relaxed);
    }

    /// A number for a file that is about to change. From here until
    /// [`Self::leave`] nothing of the journal is given up.
    #[must_use]
    pub fn enter(&self) -> u64 {
        let mut end = self.end.lock();
        let nr = end.new_nr();
        end.live.insert(nr);
        end.idle_since = None;
        nr
    }

    /// Everything of file `nr` is in its place and safe there, or does not
    /// matter any more.
    pub fn leave(&self, nr: u64) {
        let mut end = self.end.lock();
        if !end.live.remove(&nr) {
            return;
        }
        if end.live.is_empty() && end.is_gone() {
            end.current = None;
        }
        if end.live.is_empty() {
            // What stands there says nothing that the files do not say.
            if let Some(current) = &mut end.current {
                current.at = to_u64(JournalHead::LEN);
            }
            self.begin_anew(&end);
            end.idle_since = Some(Instant::now());
            self.full.store(false, Ordering::Relaxed);
        }
        // Also the end of all others if it now stands before them: what
        // follows it is not its successor.
        if end.current.is_some()
            && let Err(error) = self.append_to(&mut end, &Record::Done { nr }, &[])
        {
            // Only a hint: replaying it once more changes nothing.
            tracing::debug!(%error, "the end of a file's changes was not noted");
        }
    }

    /// Writes a record and the slots that belong to it behind all others.
    ///
    /// # Errors
    /// Nothing was written then, as far as replay is concerned.
    pub fn append(&self, record: &Record, slots: &[Sealed<'_>]) -> Result<Appended, AppendError> {
        self.append_to(&mut self.end.lock(), record, slots)
    }

    fn append_to(
        &self,
        end: &mut End,
        record: &Record,
        slots: &[Sealed<'_>],
    ) -> Result<Appended, AppendError> {
        if end.current.is_none() {
            end.current = Some(self.begin()?);
            self.begin_anew(end);
        }
        let sequence = end.next_sequence;
        let current = end.current.as_mut().expect("made above");
        let data_len = slots.iter().map(|part| part.len()).sum();
        if !FrameHead::fits(record, data_len) {
            return Err(io::Error::from(io::ErrorKind::InvalidInput).into());
        }
        let frame = self
            .keys
            .seal_frame(current.head.id, sequence, record, data_len)?;
        let mut parts = vec![frame.sealed()];
        parts.extend_from_slice(slots);
        current
            .file
            .file()
            .write_at(&parts, CipherOff::new(current.at))
            .map_err(|partial| partial.source)?;
        let data_at = current.at + to_u64(frame.sealed().len());
        current.at = data_at + to_u64(data_len);
        current.reaches = current.reaches.max(current.at);
        end.next_sequence += 1;
        if current.at > current.full_at {
            self.full.store(true, Ordering::Relaxed);
        }
        Ok(Appended {
            journal: Arc::clone(&current.file),
            data_at: CipherOff::new(data_at),
            sequence,
        })
    }

    fn begin(&self) -> Result<Current, AppendError> {
        let head = JournalHead::generate(&self.keys, &machine_name())?;
        let bytes = self.keys.seal_journal_head(&head)?;
        let file = self.root.create_journal(bytes.sealed())?;
        Ok(Current {
            file: Arc::new(file),
            head,
            at: to_u64(JournalHead::LEN),
            full_at: self.allowance(),
            reaches: to_u64(JournalHead::LEN),
        })
    }

    fn allowance(&self) -> u64 {
        let free = self
            .root
            .stat_fs()
            .map_or(0, |fs| fs.blocks_available.saturating_mul(fs.fragment_size));
        (free / 8).clamp(*FULL.start(), *FULL.end())
    }

    /// Makes every record up to `sequence` survive a power cut.
    ///
    /// # Errors
    /// The backing's; nothing can be said of those records then.
    pub fn sync(&self, sequence: u64) -> io::Result<()> {
        let (file, written) = {
            let mut end = self.end.lock();
            let (broken, synced, written) = (end.broken, end.synced, end.next_sequence);
            let reach = !end.flushes_at_once && !self.is_remote;
            match &mut end.current {
                Some(_) if broken => return Err(io::Error::from_raw_os_error(libc::EIO)),
                Some(current) if sequence >= synced => {
                    if reach {
                        current.reach_ahead();
                    }
                    (Arc::clone(&current.file), written)
                }
                Some(_) | None => return Ok(()),
            }
        };
        let began = Instant::now();
        let flushed = file.file().sync_data();
        let mut end = self.end.lock();
        end.flushes_at_once = began.elapsed() < DISK;
        if let Err(error) = flushed {
            // The kernel tells of a failed write-back once, and forgets it.
            end.broken |= error.raw_os_error() == Some(libc::EIO);
            return Err(error);
        }
        end.synced = end.synced.max(written);
        Ok(())
    }

    /// Whether so much is in it that it shall be put in place.
    #[must_use]
    pub fn is_full(&self) -> bool {
        self.full.load(Ordering::Relaxed)
    }

    /// Whether everything that was in it is in its place.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.end.lock().live.is_empty()
    }

    /// Whether somebody deleted it, as a sync client does where the other
    /// device has none. It can be read as before, but nobody would replay it:
    /// nothing can be promised by what is in it.
    #[must_use]
    pub fn is_gone(&self) -> bool {
        self.end.lock().is_gone()
    }

    /// Removes the journal if nothing was in it for so long.
    pub fn tidy(&self, idle: Duration) {
        let mut end = self.end.lock();
        let is_idle =
            end.live.is_empty() && end.idle_since.is_none_or(|since| since.elapsed() >= idle);
        let Some(current) = end.current.take_if(|_| is_idle) else {
            return;
        };
        self.begin_anew(&end);
        if let Err(error) = self.root.remove_journal(current.file.name())
            && error.kind() != io::ErrorKind::NotFound
        {
            tracing::warn!(%error, "an empty journal could not be removed");
        }
    }
}

fn to_u64(len: usize) -> u64 {
    u64::try_from(len).expect("usize has at most 64 bits")
}
