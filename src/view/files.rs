//! Open files: reading, writing, syncing, closing.

use std::io;
use std::sync::Arc;
use std::sync::atomic::Ordering;

use super::handles::FileHandle;
use super::inodes::{BackingKey, Node, OpenState};
use super::looks::Seen;
use super::{FsError, Strictness, View};
use crate::store::StoreFile;
use crate::sys::fs::Stat;
use crate::types::{Access, Caller, CipherLen, Fh, FileKind, Ino, PlainLen, PlainOff};
use crate::vault::file::{Damage, File, FileError, SeekTo, SizeRule, Standing};
use crate::vault::journal::Journal;

/// What a handle may do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum HandleAccess {
    /// `O_RDONLY`
    Read,
    /// `O_WRONLY`; the kernel may still read through it to fill its cache.
    Write,
    /// `O_RDWR`
    ReadWrite,
}

impl HandleAccess {
    /// Whether the handle may change the file.
    #[must_use]
    pub const fn writes(self) -> bool {
        match self {
            Self::Read => false,
            Self::Write | Self::ReadWrite => true,
        }
    }
}

/// What opening does to the content.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Truncate {
    /// Nothing.
    Keep,
    /// `O_TRUNC`; also works on a damaged file.
    ToZero,
}

/// How a file is opened.
#[derive(Clone, Copy, Debug)]
pub struct OpenHow {
    /// For what.
    pub access: HandleAccess,
    /// What happens to the content.
    pub truncate: Truncate,
}

/// What the kernel may do with pages it still has from an earlier open.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PageCache {
    /// The backing is as it was: keep them.
    Keep,
    /// Drop them.
    Drop,
}

/// An opened file or directory.
#[derive(Clone, Copy, Debug)]
pub struct Opened {
    /// Its handle.
    pub fh: Fh,
    /// What cached pages are worth.
    pub cache: PageCache,
}

/// Whether a write comes from somebody whose writes end set-ID bits.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum WriteCaller {
    /// Leave set-user-ID and set-group-ID.
    KeepSuid,
    /// Clear them.
    KillSuid,
}

/// What fallocate(2) is asked to do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fallocate {
    /// Reserve space.
    Allocate(SizeRule),
    /// Free space; reads as zeros afterwards.
    PunchHole,
    /// Make it read as zeros.
    ZeroRange(SizeRule),
}

/// Bytes copied at a time by [`View::copy_range`].
const COPY_PIECE: u64 = 1 << 20;
const SUID: u32 = 0o4000;
const SGID: u32 = 0o2000;
const GROUP_EXEC: u32 = 0o010;
const OWNER_RW: u32 = 0o600;

impl View {
    /// Opens a regular file.
    ///
    /// # Errors
    /// [`FsError::Damaged`] unless it is emptied; [`FsError::Stale`]; the backing's.
    pub fn open(&self, ino: Ino, how: OpenHow, caller: &Caller) -> Result<Opened, FsError> {
        if how.access.writes() || how.truncate == Truncate::ToZero {
            self.must_be_writable()?;
        }
        let node = self.node(ino)?;
        if node.kind != FileKind::Regular {
            return Err(FsError::Invalid("not a regular file"));
        }
        if how.access.writes() {
            self.changing_object(&node);
        }
        let mut open = node.open.lock();
        let (file, cache) = match &open.file {
            Some(file) => (Arc::clone(file), PageCache::Keep),
            None => self.open_backing(&node, how)?,
        };
        if (how.access.writes() || how.truncate == Truncate::ToZero) && !file.is_writable() {
            let store = file.store()?;
            file.add_writer(with_owner_rights(&store, || {
                store.reopen(Access::ReadWrite)
            })?);
        }
        if how.access.writes() && self.vault.journal().is_some() {
            file.set_place(self.cipher_place(&node));
        }
        let fh = self.register(&node, &mut open, Arc::clone(&file), how.access);
        drop(open);
        if how.truncate == Truncate::ToZero {
            self.writing.lock().insert(node.ino, Arc::clone(&node));
            let mut emptied = self
                .with_room(|| file.set_len(PlainLen::new(0)))
                .map_err(FsError::from);
            if emptied.is_ok() && caller.uid != 0 {
                emptied = clear_set_ids(&file);
            }
            if let Err(error) = emptied {
                self.release(fh);
                return Err(error);
            }
        }
        Ok(Opened { fh, cache })
    }

    /// Makes a just created file the open file of its node.
    pub(super) fn adopt(&self, node: &Arc<Node>, file: Arc<File>, access: HandleAccess) -> Opened {
        let mut open = node.open.lock();
        self.writing.lock().insert(node.ino, Arc::clone(node));
        let fh = self.register(node, &mut open, file, access);
        Opened {
            fh,
            cache: PageCache::Keep,
        }
    }

    fn register(
        &self,
        node: &Arc<Node>,
        open: &mut OpenState,
        file: Arc<File>,
        access: HandleAccess,
    ) -> Fh {
        *node.file_id.lock() = Some(file.keys().file_id());
        open.file = Some(Arc::clone(&file));
        open.handles += 1;
        if access.writes() {
            open.writers += 1;
            self.writing.lock().insert(node.ino, Arc::clone(node));
        }
        self.handles.add_file(FileHandle {
            node: Arc::clone(node),
            file,
            access,
        })
    }

    fn open_backing(
        &self,
        node: &Arc<Node>,
        how: OpenHow,
    ) -> Result<(Arc<File>, PageCache), FsError> {
        let writes = how.access.writes() || how.truncate == Truncate::ToZero;
        let access = if writes {
            Access::ReadWrite
        } else {
            Access::Read
        };
        let store = self.open_store(node, access)?;
        let stat = store.stat()?;
        if BackingKey::of(&stat) != node.key() {
            return Err(FsError::Stale);
        }
        if node.looks_foreign(&stat) {
            // The kernel still has the size it knew: let it look again.
            return Err(FsError::Stale);
        }
        *node.seen.lock() = Some(Seen::of(&stat));
        let cached = node.cached.lock().take();
        // Of a file that a power cut left without its first bytes nothing can be
        // read; who wants to write may begin it anew, as if it had gone.
        let interrupted = stat.size == 0 && how.truncate == Truncate::Keep && writes;
        if interrupted {
            tracing::warn!(
                ino = node.ino.get(),
                "an empty file, whose creation was interrupted, begins anew"
            );
        }
        let truncate = if interrupted {
            Truncate::ToZero
        } else {
            how.truncate
        };
        let opened = match truncate {
            Truncate::Keep => File::open(&self.vault, store),
            Truncate::ToZero => {
                let (_, dir) = self.place_of(node)?;
                File::reset(&self.vault, store, dir.id(), self.cipher_place(node))
                    .map(|file| (file, Standing::Sealed))
            }
        };
        let (file, standing) = opened.map_err(|error| self.noted(error))?;
        if truncate == Truncate::Keep {
            self.told_size(node, &stat, &file)?;
        }
        if standing == Standing::Unsealed {
            self.counters.unsealed_met.fetch_add(1, Ordering::Relaxed);
        }
        if self.options.strictness == Strictness::Strict && truncate == Truncate::Keep {
            file.verify_seal().map_err(|error| self.noted(error))?;
        }
        // Size and mtime may be the same and the bytes others all the same.
        let mark = file.content_mark();
        let cache = if mark.is_some() && mark == cached {
            PageCache::Keep
        } else {
            PageCache::Drop
        };
        *node.cached.lock() = mark;
        Ok((Arc::new(file), cache))
    }

    /// Bytes behind a sealed end are void, but the backing's length counts them,
    /// and so did the kernel: it would show zeros in their place.
    ///
    /// # Errors
    /// [`FsError::Stale`] if it was told another size than that of the file.
    fn told_size(&self, node: &Node, stat: &Stat, file: &File) -> Result<(), FsError> {
        let size = file.size().get();
        let told = self.proven_sizes.of(stat).unwrap_or_else(|| {
            let stored = CipherLen::new(stat.size);
            self.vault.geometry().longest_legal_prefix(stored).get()
        });
        if told == size {
            return Ok(());
        }
        self.proven_sizes.prove(stat, size);
        node.begin_anew();
        Err(FsError::Stale)
    }

    fn open_store(&self, node: &Node, access: Access) -> Result<StoreFile, FsError> {
        let (link, dir) = self.place_of(node)?;
        dir.open_file(&self.vault, &link.name, access)
            .map_err(|error| FsError::from(error).stale_if_gone())
    }

    /// Counts damage on its way to the caller.
    fn noted(&self, error: FileError) -> FsError {
        if let FileError::Damaged(damage) = &error {
            self.counters.damaged_met.fetch_add(1, Ordering::Relaxed);
            match damage {
                Damage::Chunk(_) | Damage::Missing(_) => {}
                Damage::InterruptedCreate
                | Damage::TooShort(_)
                | Damage::Header(_)
                | Damage::Cut { .. }
                | Damage::NotSealed
                | Damage::WrongSeal => tracing::error!(%damage, "a damaged file was refused"),
            }
        }
        error.into()
    }

    /// Replaces `out` by up to `len` bytes from `at`; fewer at the end only.
    ///
    /// # Errors
    /// [`FsError::Damaged`]; the backing's.
    pub fn read(&self, fh: Fh, at: u64, len: usize, out: &mut Vec<u8>) -> Result<(), FsError> {
        let handle = self.handles.file(fh)?;
        handle
            .file
            .read(PlainOff::new(at), len, out)
            .map_err(|error| self.noted(error))
    }

    fn writable(&self, fh: Fh) -> Result<Arc<FileHandle>, FsError> {
        self.must_be_writable()?;
        let handle = self.handles.file(fh)?;
        if handle.access.writes() {
            Ok(handle)
        } else {
            Err(FsError::BadHandle)
        }
    }

    /// Writes all of `bytes` at `at`, growing the file if need be.
    ///
    /// # Errors
    /// [`FsError::TooBig`], [`FsError::Damaged`] where the rest of a chunk
    /// cannot be kept; the backing's (ENOSPC, EDQUOT, EIO).
    pub fn write(&self, fh: Fh, at: u64, bytes: &[u8], caller: WriteCaller) -> Result<(), FsError> {
        let handle = self.writable(fh)?;
        self.with_room(|| handle.file.write(PlainOff::new(at), bytes))
            .map_err(|error| self.noted(error))?;
        self.relieve_journal(Journal::is_full);
        if caller == WriteCaller::KillSuid {
            clear_set_ids(&handle.file)?;
        }
        Ok(())
    }

    /// Makes everything written to the file survive a power cut.
    ///
    /// # Errors
    /// The backing's.
    pub fn fsync(&self, fh: Fh) -> Result<(), FsError> {
        Ok(self.handles.file(fh)?.file.sync()?)
    }

    /// fallocate(2).
    ///
    /// # Errors
    /// ENOSPC and EOPNOTSUPP of the backing among others.
    pub fn fallocate(
        &self,
        fh: Fh,
        at: u64,
        len: u64,
        what: Fallocate,
        caller: &Caller,
    ) -> Result<(), FsError> {
        let handle = self.writable(fh)?;
        let at = PlainOff::new(at);
        let file = &handle.file;
        self.with_room(|| match what {
            Fallocate::Allocate(size) => file.allocate(at, len, size),
            Fallocate::PunchHole => file.punch_hole(at, len),
            Fallocate::ZeroRange(size) => file.zero_range(at, len, size),
        })
        .map_err(|error| self.noted(error))?;
        if caller.uid != 0 {
            clear_set_ids(file)?;
        }
        Ok(())
    }

    /// lseek(2) with `SEEK_DATA` or `SEEK_HOLE`.
    ///
    /// # Errors
    /// [`FsError::BeyondEnd`]; the backing's.
    pub fn seek(&self, fh: Fh, at: u64, to: SeekTo) -> Result<u64, FsError> {
        let handle = self.handles.file(fh)?;
        Ok(handle.file.seek(PlainOff::new(at), to)?.get())
    }

    /// Copies up to `len` bytes between two open files, inside the daemon;
    /// returns how many, fewer at the end of the source.
    ///
    /// # Errors
    /// As for reading and writing, if nothing was copied yet.
    pub fn copy_range(
        &self,
        from: (Fh, u64),
        to: (Fh, u64),
        len: u64,
        caller: &Caller,
    ) -> Result<u64, FsError> {
        let source = self.handles.file(from.0)?;
        let target = self.writable(to.0)?;
        let mut bytes = Vec::new();
        let mut copied = 0;
        while copied < len {
            let piece = usize::try_from(COPY_PIECE.min(len - copied)).unwrap_or(usize::MAX);
            let step = source
                .file
                .read(PlainOff::new(from.1 + copied), piece, &mut bytes)
                .and_then(|()| {
                    self.with_room(|| target.file.write(PlainOff::new(to.1 + copied), &bytes))
                });
            match step {
                Ok(()) if bytes.is_empty() => break,
                Ok(()) => {
                    copied += u64::try_from(bytes.len()).unwrap_or(0);
                    self.relieve_journal(Journal::is_full);
                }
                Err(error) if copied == 0 => return Err(self.noted(error)),
                Err(_) => break,
            }
        }
        if caller.uid != 0 {
            clear_set_ids(&target.file)?;
        }
        Ok(copied)
    }
}

/// Clears set-user-ID, and set-group-ID where the group may execute, as the
/// kernel does when a file's content changes.
pub(super) fn clear_set_ids(file: &File) -> Result<(), FsError> {
    let store = file.store()?;
    let mode = store.stat()?.mode & 0o7777;
    let mut kept = mode & !SUID;
    if mode & GROUP_EXEC != 0 {
        kept &= !SGID;
    }
    if kept != mode {
        store.set_mode(kept)?;
    }
    Ok(())
}

/// Runs `open`; where mode bits refuse the owner's own daemon, again with the
/// owner's read and write bits set for that moment.
fn with_owner_rights(
    store: &StoreFile,
    open: impl Fn() -> io::Result<StoreFile>,
) -> Result<StoreFile, FsError> {
    match open() {
        Err(error) if error.raw_os_error() == Some(libc::EACCES) => {
            let mode = store.stat()?.mode & 0o7777;
            store.set_mode(mode | OWNER_RW)?;
            let second_try = open();
            store.set_mode(mode)?;
            Ok(second_try?)
        }
        other => Ok(other?),
    }
}
