//! One regular file of the vault: chunks of plaintext over slots of ciphertext.
//! FORMAT.md, regular files.
//!
//! * [`ranges`]: who may work on which chunks at the same time
//! * `read`: plaintext out, holes and data found
//! * `write`: plaintext in
//! * `replace`: the one place where live slots and headers are replaced
//! * `seal`: the header that says what stands there; flushing
//! * `resize`: longer, shorter, holes punched, space reserved
//! * `empty`: the image of a file without content
//! * `journalled`, `checkpoint`: changes of what a crash must leave whole
//! * `mend`: what a failure left, put right
//! * `times`: those that are set after the seal
//! * `verify`: every chunk and the seal, as the backing holds them
//! * [`settle`]: unfinished files brought to an end, for repair
//! * [`mod@salvage`]: what is left of a damaged file
//!
//! **Locks**, in the order they are taken: a range of chunks
//! ([`ranges::RangeLock`]; `tail` for whatever changes the length or the last
//! chunk), then `state`. The file descriptors' lock is never held over I/O.
//!
//! **Durability**: what `write` accepted is on the backing file (in its page
//! cache) when it returns; [`File::sync`] makes it survive a power cut.

mod checkpoint;
mod empty;
mod journalled;
mod making;
mod mend;
pub mod ranges;
mod read;
mod replace;
mod resize;
pub mod salvage;
mod seal;
pub mod settle;
mod times;
mod verify;
mod write;

use std::collections::HashSet;
use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant, SystemTime};

use parking_lot::{Mutex, RwLock};

use self::empty::{EmptySlot, empty_image};
use self::journalled::{Overlay, Pending};
use self::making::Making;
use self::ranges::RangeLock;
pub use self::read::SeekTo;
pub use self::resize::SizeRule;
use self::times::PendingTimes;
pub use self::times::{MtimeOf, SEEN_AFTER};
pub use self::verify::{Contents, SealVerdict};
use crate::codec::RandomError;
use crate::codec::batch::{ChunkDamage, SealError, SealSum, SlotTerms};
use crate::codec::geometry::Geometry;
use crate::codec::header::{Header, HeaderError, OpenFlag, SparseFlag};
use crate::codec::keys::FileKeys;
use crate::store::file::{PartialWrite, StoreFile};
use crate::types::{Access, ChunkNo, CipherLen, CipherOff, DirId, PlainLen, Time};
use crate::vault::Vault;
use crate::vault::journal::Journal;

/// Header and empty last slot: no legal file is shorter.
const EMPTY_FILE_LEN: u64 = 168;

/// What is wrong with a file's bytes on the backing.
#[derive(Clone, Debug, thiserror::Error)]
pub enum Damage {
    /// No bytes at all: its creation was interrupted.
    #[error("it is empty: its creation was interrupted")]
    InterruptedCreate,
    /// Shorter than the shortest legal file.
    #[error("it is only {0} bytes long")]
    TooShort(CipherLen),
    /// The header does not open.
    #[error("its header does not open: {0}")]
    Header(#[from] HeaderError),
    /// Sealed, but shorter than its header says.
    #[error("it was cut: {is} bytes of plaintext are left of {was}")]
    Cut {
        /// Plaintext bytes the backing's length allows.
        is: PlainLen,
        /// Plaintext bytes the sealed header states.
        was: PlainLen,
    },
    /// One chunk does not authenticate.
    #[error("chunk {} does not authenticate", .0.chunk)]
    Chunk(ChunkDamage),
    /// The backing file ended where a slot should be.
    #[error("chunk {0} is missing")]
    Missing(ChunkNo),
    /// Not sealed, and only sealed files were asked for.
    #[error("it is not sealed")]
    NotSealed,
    /// The seal is not that of its slots: a chunk was put back to an older state.
    #[error("its seal does not match its chunks")]
    WrongSeal,
}

/// Why an operation on a file failed.
#[derive(Debug, thiserror::Error)]
pub enum FileError {
    /// The backing said no.
    #[error(transparent)]
    Io(#[from] io::Error),
    /// The backing's bytes are not what was stored.
    #[error("the file is damaged: {0}")]
    Damaged(#[from] Damage),
    /// Beyond the largest file the format can hold.
    #[error("the file would be too large")]
    TooBig,
    /// Seeking at or beyond the end.
    #[error("the offset is at or beyond the end of the file")]
    BeyondEnd,
    /// The system gave no random bytes.
    #[error(transparent)]
    Random(#[from] RandomError),
    /// Opened for reading only.
    #[error("the file is not open for writing")]
    NotWritable,
}

impl FileError {
    /// Whether the backing has no room, or grants none.
    #[must_use]
    pub fn is_no_room(&self) -> bool {
        match self {
            Self::Io(error) => {
                matches!(error.raw_os_error(), Some(libc::ENOSPC | libc::EDQUOT))
            }
            Self::Damaged(_)
            | Self::TooBig
            | Self::BeyondEnd
            | Self::Random(_)
            | Self::NotWritable => false,
        }
    }
}

impl From<PartialWrite> for FileError {
    fn from(partial: PartialWrite) -> Self {
        Self::Io(partial.source)
    }
}

impl From<SealError> for FileError {
    fn from(error: SealError) -> Self {
        match error {
            SealError::Random(random) => Self::Random(random),
            SealError::PartialChunk { .. } | SealError::TooManyChunks => Self::TooBig,
        }
    }
}

impl From<ChunkDamage> for FileError {
    fn from(damage: ChunkDamage) -> Self {
        Self::Damaged(Damage::Chunk(damage))
    }
}

/// How the bytes on the backing stood when the file was opened.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Standing {
    /// The header is closed and its length is the backing's.
    Sealed,
    /// Left open by a crash, or copied in the middle of a change. Served.
    Unsealed,
}

/// What is known of the sum over all slots.
#[derive(Clone, Copy, Debug)]
enum Tracking {
    /// Exactly the slots as they stand.
    Exact { seal: SealSum, holes: u64 },
    /// Unknown: the file was found open, or a failed write could not be undone.
    /// It stays OPEN; only a check with repair may seal it.
    Lost,
}

impl Tracking {
    /// After slots with these terms gave way to others.
    fn after(self, removed: &SlotTerms, added: SealSum, holes_made: u64) -> Self {
        match self {
            Self::Exact { seal, holes } => Self::Exact {
                seal: seal.combine(removed.seal).combine(added),
                holes: holes
                    .saturating_sub(removed.holes)
                    .saturating_add(holes_made),
            },
            Self::Lost => Self::Lost,
        }
    }
}

/// Stands for the contents of a sealed file: where two are equal, so are the
/// bytes. Taken from the header, whose seal is a sum over every slot.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ContentMark(Header);

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Phase {
    /// Nothing changed since the last seal (or since opening).
    Clean,
    /// Changed by us; the header on the backing says OPEN.
    Changed,
}

/// What the backing file begins with.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Front {
    /// The header.
    Whole,
    /// A header that was written in part: to be written again.
    Torn,
    /// Nothing: the file was emptied, its new image could not be written yet.
    Missing,
}

/// Where the backing file ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum End {
    /// With the last slot.
    Exact,
    /// Behind it: something is to be cut off before the file grows.
    Beyond,
}

#[derive(Debug)]
struct State {
    /// As it stands on the backing, or stood there last.
    header: Header,
    front: Front,
    end: End,
    /// The one slot of an empty file, if it was written since the file was
    /// opened and not replaced or sealed.
    empty_slot: Option<EmptySlot>,
    tracking: Tracking,
    phase: Phase,
    times: PendingTimes,
    /// The mtime that a new file has on the backing until it is sealed.
    held: Option<Time>,
    last_change: Instant,
    pending: Pending,
    making: Making,
}

#[derive(Debug)]
struct Descriptors {
    reader: Option<Arc<StoreFile>>,
    writer: Option<Arc<StoreFile>>,
}

/// An open regular file. Shared by every handle on its inode.
pub struct File {
    geometry: Geometry,
    keys: FileKeys,
    fds: RwLock<Descriptors>,
    ranges: RangeLock,
    /// Length of the plaintext; changed by holders of the tail only.
    size: AtomicU64,
    /// Whether a slot of zeros may be a hole.
    sparse: AtomicBool,
    state: Mutex<State>,
    journal: Option<Arc<Journal>>,
    /// Whether the mode is `Mode::Journalled`; changed by holders of all chunks
    /// only, so that it holds for whoever holds one.
    journalled: AtomicBool,
    /// What is not in its place yet. A leaf under `state`.
    overlay: RwLock<Overlay>,
    /// See [`File::set_place`].
    place: Mutex<Vec<u8>>,
    /// Chunks already reported, so that each makes one log line.
    reported: Mutex<HashSet<ChunkNo>>,
}

impl std::fmt::Debug for File {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("File")
            .field("file_id", &self.keys.file_id())
            .field("size", &self.size())
            .finish_non_exhaustive()
    }
}

impl File {
    /// Writes the image of an empty file (168 bytes) over `store`, which must
    /// be empty and writable, and opens it. The file is born OPEN.
    ///
    /// # Errors
    /// The backing's, or no random bytes.
    pub fn create(vault: &Vault, store: StoreFile, birth_dir: DirId) -> Result<Self, FileError> {
        let keys = vault.keys().new_file()?;
        Self::write_empty(vault, keys, store, birth_dir)
    }

    /// Opens an existing file and tells how it stands.
    ///
    /// # Errors
    /// [`FileError::Damaged`] if nothing of it can be served; the backing's.
    pub fn open(vault: &Vault, store: StoreFile) -> Result<(Self, Standing), FileError> {
        let geometry = vault.geometry();
        let stored = CipherLen::new(store.stat()?.size);
        if stored.get() == 0 {
            return Err(Damage::InterruptedCreate.into());
        }
        if stored.get() < EMPTY_FILE_LEN {
            return Err(Damage::TooShort(stored).into());
        }
        let head = store.read_head(Geometry::HEADER_LEN)?;
        let (keys, header) = vault.keys().identify(&head).map_err(Damage::from)?;
        let sealed_len = geometry.cipher_len(header.size);
        let is_longer =
            header.open == OpenFlag::Closed && sealed_len.is_some_and(|len| len < stored);
        let size = if is_longer && verify::ends_with(geometry, &keys, &store, header.size)? {
            header.size
        } else {
            geometry.longest_legal_prefix(stored)
        };
        let standing = match header.open {
            OpenFlag::Open => Standing::Unsealed,
            OpenFlag::Closed if size < header.size => {
                return Err(Damage::Cut {
                    is: size,
                    was: header.size,
                }
                .into());
            }
            OpenFlag::Closed if sealed_len == Some(stored) => Standing::Sealed,
            OpenFlag::Closed => Standing::Unsealed,
        };
        let tracking = match standing {
            Standing::Sealed => Tracking::Exact {
                seal: header.seal,
                holes: header.holes,
            },
            Standing::Unsealed => Tracking::Lost,
        };
        let file = Self::new(vault, keys, store, header, size, tracking);
        file.rely_on_contents(&mut file.state.lock());
        if geometry.cipher_len(size) != Some(stored) {
            file.state.lock().end = End::Beyond;
        }
        Ok((file, standing))
    }

    /// Empties a file, damaged or not: length 0, then the image of an empty
    /// file, under the same keys where the old header still proves them.
    /// `place` is as for [`Self::set_place`].
    ///
    /// # Errors
    /// The backing's, or no random bytes.
    pub fn reset(
        vault: &Vault,
        store: StoreFile,
        birth_dir: DirId,
        place: Vec<u8>,
    ) -> Result<Self, FileError> {
        let head = store.read_head(Geometry::HEADER_LEN)?;
        if let Ok((keys, header)) = vault.keys().identify(&head) {
            let none = PlainLen::new(0);
            let file = Self::new(vault, keys, store, header, none, Tracking::Lost);
            *file.place.lock() = place;
            let mut state = file.state.lock();
            file.settle_down(&mut state);
            file.write_anew(&mut state)?;
            drop(state);
            return Ok(file);
        }
        // An id that nothing proves may be another file's.
        let keys = vault.keys().new_file()?;
        store.truncate(CipherLen::new(0))?;
        Self::write_empty(vault, keys, store, birth_dir)
    }

    fn write_empty(
        vault: &Vault,
        keys: FileKeys,
        store: StoreFile,
        birth_dir: DirId,
    ) -> Result<Self, FileError> {
        let image = empty_image(vault.geometry(), &keys, birth_dir, 1)?;
        store.write_at(
            &[image.front.sealed(), image.slot.sealed()],
            CipherOff::new(0),
        )?;
        let size = image.header.size;
        let tracking = image.tracking();
        let file = Self::new(vault, keys, store, image.header, size, tracking);
        {
            let mut state = file.state.lock();
            state.phase = Phase::Changed;
            state.empty_slot = image.slot_bytes();
        }
        Ok(file)
    }

    fn new(
        vault: &Vault,
        keys: FileKeys,
        store: StoreFile,
        header: Header,
        size: PlainLen,
        tracking: Tracking,
    ) -> Self {
        let store = Arc::new(store);
        let fds = match store.access() {
            Access::Read => Descriptors {
                reader: Some(store),
                writer: None,
            },
            Access::ReadWrite => Descriptors {
                reader: None,
                writer: Some(store),
            },
        };
        let geometry = vault.geometry();
        Self {
            geometry,
            keys,
            fds: RwLock::new(fds),
            ranges: RangeLock::default(),
            size: AtomicU64::new(size.get()),
            sparse: AtomicBool::new(header.sparse == SparseFlag::Sparse),
            state: Mutex::new(State {
                header,
                front: Front::Whole,
                end: End::Exact,
                empty_slot: None,
                tracking,
                phase: Phase::Clean,
                times: PendingTimes::NONE,
                held: None,
                last_change: Instant::now(),
                pending: Pending::new(&header, geometry.last_chunk(size).next()),
                making: Making::Unknown,
            }),
            journal: vault.journal().cloned(),
            journalled: AtomicBool::new(false),
            overlay: RwLock::default(),
            place: Mutex::default(),
            reported: Mutex::new(HashSet::new()),
        }
    }

    /// Length of the plaintext now.
    #[must_use]
    pub fn size(&self) -> PlainLen {
        PlainLen::new(self.size.load(Ordering::Acquire))
    }

    /// Whether the header on the backing says OPEN: whoever wrote the file did
    /// not come to its end.
    #[must_use]
    pub fn says_open(&self) -> bool {
        self.state.lock().header.open == OpenFlag::Open
    }

    /// The id that names its keys.
    #[must_use]
    pub fn keys(&self) -> &FileKeys {
        &self.keys
    }

    /// A descriptor for reading; also good for stat, times and attributes.
    ///
    /// # Errors
    /// None in practice: a file always holds at least one descriptor.
    pub fn store(&self) -> Result<Arc<StoreFile>, FileError> {
        let fds = self.fds.read();
        fds.reader
            .as_ref()
            .or(fds.writer.as_ref())
            .cloned()
            .ok_or(FileError::NotWritable)
    }

    fn writer(&self) -> Result<Arc<StoreFile>, FileError> {
        self.fds.read().writer.clone().ok_or(FileError::NotWritable)
    }

    /// Whether a writable descriptor is held.
    #[must_use]
    pub fn is_writable(&self) -> bool {
        self.fds.read().writer.is_some()
    }

    /// Adds a writable descriptor of the same backing file.
    pub fn add_writer(&self, store: StoreFile) {
        self.fds.write().writer = Some(Arc::new(store));
    }

    /// Gives the writable descriptor back, so that sync clients see the file
    /// closed; keeps one for reading if `keep_reading`. Call after [`seal`](Self::seal).
    ///
    /// # Errors
    /// The backing refused a descriptor for reading; then the writable one stays.
    pub fn drop_writer(&self) -> Result<(), FileError> {
        let mut fds = self.fds.write();
        if let (None, Some(writer)) = (&fds.reader, &fds.writer) {
            let reader = writer.reopen(Access::Read)?;
            fds.reader = Some(Arc::new(reader));
        }
        fds.writer = None;
        Ok(())
    }

    /// What its contents are known by; `None` while they are not sealed.
    #[must_use]
    pub fn content_mark(&self) -> Option<ContentMark> {
        let state = self.state.lock();
        let sealed = state.phase == Phase::Clean
            && state.header.open == OpenFlag::Closed
            && matches!(state.tracking, Tracking::Exact { .. });
        sealed.then_some(ContentMark(state.header))
    }

    /// Whether it has changes that are not sealed, and for how long none came.
    #[must_use]
    pub fn unsealed_for(&self) -> Option<Duration> {
        let state = self.state.lock();
        (state.phase == Phase::Changed).then(|| state.last_change.elapsed())
    }

    /// One log line for each damaged chunk of this open file.
    fn report(&self, chunk: ChunkNo) {
        if self.reported.lock().insert(chunk) {
            tracing::error!(
                file_id = %self.keys.file_id(),
                chunk = chunk.get(),
                "a chunk on the backing does not authenticate"
            );
        }
    }
}

/// The clock's reading, as a timestamp for files.
#[must_use]
pub fn clock_now() -> Time {
    match SystemTime::now().duration_since(SystemTime::UNIX_EPOCH) {
        Ok(since) => Time {
            secs: i64::try_from(since.as_secs()).unwrap_or(i64::MAX),
            nanos: since.subsec_nanos(),
        },
        Err(_) => Time { secs: 0, nanos: 0 },
    }
}

#[cfg(test)]
mod tests;
