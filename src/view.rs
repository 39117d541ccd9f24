//! File-system operations in our own types, over an unlocked vault.
//!
//! * [`inodes`]: the objects the kernel knows
//! * [`handles`]: open files and directories
//! * `directories`: directory descriptors, a bounded number of them
//! * `ascent`: the way upward to the root
//! * `namespace`: lookup, create, link, rename, remove
//! * `attributes`: stat, chmod, chown, times, sizes; extended attributes
//! * `files`: open, read, write, sync
//! * [`sealing`]: close, and what is sealed and put in place when
//! * `listing`: directories read out
//! * `underneath`: changes of the backing told apart, ours and others
//! * `watches`: the directories that are followed for that
//!
//! Every method may be called from any thread. The kernel checks permissions
//! (`default_permissions`); nothing here does.

pub mod handles;
pub mod inodes;
pub mod sealing;

mod ascent;
mod attributes;
pub mod belief;
mod directories;
mod ends;
mod files;
mod listing;
mod looks;
mod namespace;
mod object;
mod underneath;
mod watches;
mod xattrs;

use std::io;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use self::directories::Directories;
use self::handles::Handles;
use self::inodes::{Inodes, Node};
use self::underneath::Removed;
use self::watches::Watches;
use crate::codec::RandomError;
use crate::codec::geometry::Geometry;
use crate::codec::link::LinkError;
use crate::sys::fs::is_not_regular;
use crate::types::{FileKind, Ino, SetTime, Time};
use crate::vault::Vault;
use crate::vault::dir::DirError;
use crate::vault::file::{Damage, FileError};

pub use self::files::{Fallocate, HandleAccess, OpenHow, Opened, PageCache, Truncate, WriteCaller};
pub use self::listing::DirItem;
pub use self::underneath::Change;
pub use crate::sys::fs::XattrMode;
pub use crate::vault::file::SeekTo;

/// Why an operation failed; `fuse/errno.rs` gives each its errno.
#[derive(Debug, thiserror::Error)]
pub enum FsError {
    /// No such entry.
    #[error("not found")]
    NotFound,
    /// The entry exists already.
    #[error("already exists")]
    Exists,
    /// The directory still has entries.
    #[error("the directory is not empty")]
    NotEmpty,
    /// A directory is needed.
    #[error("not a directory")]
    NotDirectory,
    /// A directory does not do.
    #[error("is a directory")]
    IsDirectory,
    /// The name, target or attribute does not fit the backing.
    #[error("the name is too long")]
    NameTooLong,
    /// The caller asked for something that makes no sense.
    #[error("invalid argument: {0}")]
    Invalid(&'static str),
    /// The mount is read-only.
    #[error("the mount is read-only")]
    ReadOnly,
    /// The caller may not do this.
    #[error("not permitted")]
    NotPermitted,
    /// The backing's bytes are not what was stored.
    #[error("damaged: {0}")]
    Damaged(Damage),
    /// What a directory or link holds does not authenticate.
    #[error("does not authenticate")]
    NotAuthentic,
    /// The object is no longer where it was.
    #[error("the object is gone or was replaced")]
    Stale,
    /// The backing or keepfs does not offer this.
    #[error("not supported")]
    NotSupported,
    /// No such extended attribute.
    #[error("no such attribute")]
    NoAttribute,
    /// The extended attribute does not fit.
    #[error("the attribute is too large")]
    AttributeTooLarge,
    /// The handle is not open, or not for this.
    #[error("bad handle")]
    BadHandle,
    /// The offset is beyond the end of the file.
    #[error("beyond the end of the file")]
    BeyondEnd,
    /// The file would be larger than the format allows.
    #[error("the file would be too large")]
    TooBig,
    /// The backing said no; its errno goes through.
    #[error(transparent)]
    Backing(#[from] io::Error),
    /// The system gave no random bytes.
    #[error(transparent)]
    Random(#[from] RandomError),
}

impl FsError {
    /// An object that was known is not found where it was: it is stale.
    fn stale_if_gone(self) -> Self {
        if matches!(self, Self::NotFound | Self::NotDirectory) {
            Self::Stale
        } else {
            self
        }
    }
}

impl From<FileError> for FsError {
    fn from(error: FileError) -> Self {
        match error {
            FileError::Io(io) => Self::Backing(io),
            FileError::Damaged(damage) => Self::Damaged(damage),
            FileError::TooBig => Self::TooBig,
            FileError::BeyondEnd => Self::BeyondEnd,
            FileError::Random(random) => Self::Random(random),
            FileError::NotWritable => Self::BadHandle,
        }
    }
}

impl From<DirError> for FsError {
    fn from(error: DirError) -> Self {
        match error {
            DirError::Backing(io) if is_not_regular(&io) => Self::Stale,
            DirError::Backing(io) => match io.raw_os_error() {
                Some(libc::ENOENT) => Self::NotFound,
                Some(libc::EEXIST) => Self::Exists,
                Some(libc::ENOTEMPTY) => Self::NotEmpty,
                Some(libc::ENOTDIR) => Self::NotDirectory,
                Some(libc::EISDIR) => Self::IsDirectory,
                Some(libc::ENAMETOOLONG) => Self::NameTooLong,
                Some(_) | None => Self::Backing(io),
            },
            DirError::PinUnreadable(io) => Self::Backing(io),
            DirError::PinMalformed(_) | DirError::NothingOpens => Self::NotAuthentic,
            DirError::Link(
                LinkError::Malformed | LinkError::NotAuthentic | LinkError::NotAPath,
            ) => Self::NotAuthentic,
            DirError::Random(random) => Self::Random(random),
        }
    }
}

/// Attributes of an object, in plain terms; stat(2).
#[derive(Clone, Copy, Debug)]
pub struct Attr {
    /// Number in the mount.
    pub ino: Ino,
    /// Plaintext bytes.
    pub size: u64,
    /// 512-byte blocks on the backing.
    pub blocks: u64,
    /// Last access.
    pub atime: Time,
    /// Last change of content.
    pub mtime: Time,
    /// Last change of anything.
    pub ctime: Time,
    /// What it is.
    pub kind: FileKind,
    /// Permission bits, with set-ID and sticky: `mode & 0o7777`.
    pub perm: u32,
    /// Number of names.
    pub nlink: u32,
    /// Owner.
    pub uid: u32,
    /// Group.
    pub gid: u32,
    /// Device numbers of a device node.
    pub rdev: u32,
    /// Preferred size of requests: the chunk size.
    pub blksize: u32,
    /// How long all this may be believed, and the name it was found by.
    pub lifetime: Duration,
}

/// What a lookup or creation answers.
#[derive(Clone, Copy, Debug)]
pub struct Entry {
    /// The object.
    pub attr: Attr,
    /// Generation of its number.
    pub generation: u64,
}

/// Attributes to change; setattr.
#[derive(Clone, Copy, Debug)]
pub struct SetAttr {
    /// New permission bits.
    pub mode: Option<u32>,
    /// New owner.
    pub uid: Option<u32>,
    /// New group.
    pub gid: Option<u32>,
    /// New plaintext size.
    pub size: Option<u64>,
    /// New access time.
    pub atime: SetTime,
    /// New modification time.
    pub mtime: SetTime,
    /// The ctime that goes with it. Where the two are equal the mtime is that of
    /// a write, which the kernel tells of now; else somebody chose it.
    pub ctime: Option<Time>,
}

/// Whether the mount may change the vault.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mutability {
    /// Yes.
    ReadWrite,
    /// No.
    ReadOnly,
}

/// What to do with files that are not sealed or whose seal is wrong.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Strictness {
    /// Serve what authenticates, chunk by chunk.
    Lenient,
    /// Refuse the file.
    Strict,
}

/// How a view behaves.
#[derive(Clone, Copy, Debug)]
pub struct ViewOptions {
    /// Whether the vault may be changed.
    pub mutability: Mutability,
    /// Whether files must be sealed.
    pub strictness: Strictness,
    /// How long what was seen on the backing may be believed; what the kernel
    /// is told, too.
    pub freshness: Duration,
    /// The same where every change in a directory is told.
    pub followed: Duration,
}

/// Figures of the file system, in plain terms; statvfs(3).
#[derive(Clone, Copy, Debug)]
pub struct StatFs {
    /// Bytes a block.
    pub block_size: u32,
    /// All blocks.
    pub blocks: u64,
    /// Free blocks.
    pub blocks_free: u64,
    /// Free blocks for ordinary users.
    pub blocks_available: u64,
    /// All inodes.
    pub files: u64,
    /// Free inodes.
    pub files_free: u64,
    /// Longest name in bytes.
    pub name_max: u32,
}

/// What `keepfs status` tells about the files.
#[derive(Clone, Copy, Debug, Default)]
pub struct ViewStatus {
    /// Files that some handle may write, or whose changes are yet to be put in
    /// place.
    pub open_for_writing: u64,
    /// Unsealed files opened so far.
    pub unsealed_met: u64,
    /// Damaged files and chunks met so far.
    pub damaged_met: u64,
    /// Names met that do not authenticate.
    pub undecryptable_names: u64,
    /// Seals that could not be written.
    pub failed_seals: u64,
    /// Objects the kernel knows.
    pub inodes: u64,
}

#[derive(Debug, Default)]
struct Counters {
    unsealed_met: AtomicU64,
    damaged_met: AtomicU64,
    undecryptable_names: AtomicU64,
    failed_seals: AtomicU64,
}

/// A mounted vault without the kernel: inodes, handles and the operations.
pub struct View {
    vault: Arc<Vault>,
    options: ViewOptions,
    inodes: Inodes,
    handles: Handles,
    directories: Directories,
    /// Nodes with a writable handle or an unsealed file.
    writing: parking_lot::Mutex<std::collections::HashMap<Ino, Arc<Node>>>,
    /// Held by whoever puts in place what a long journal holds.
    relieving: parking_lot::Mutex<()>,
    counters: Counters,
    proven_sizes: ends::ProvenSizes,
    /// Names that we removed, to tell our removals from those of others.
    removed: Removed,
    /// What is followed on the backing, if anything is.
    watches: OnceLock<Watches>,
}

impl std::fmt::Debug for View {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("View").finish_non_exhaustive()
    }
}

impl View {
    /// Opens the root of the vault.
    ///
    /// # Errors
    /// The backing's.
    pub fn new(vault: Arc<Vault>, options: ViewOptions) -> Result<Self, FsError> {
        let root = vault.root_dir();
        let stat = root.store().stat_itself()?;
        let inodes = Inodes::new(&stat);
        Ok(Self {
            directories: Directories::new(root),
            vault,
            options,
            inodes,
            handles: Handles::default(),
            writing: parking_lot::Mutex::default(),
            relieving: parking_lot::Mutex::default(),
            counters: Counters::default(),
            proven_sizes: ends::ProvenSizes::default(),
            removed: Removed::default(),
            watches: OnceLock::new(),
        })
    }

    /// Counters and gauges for `keepfs status`.
    #[must_use]
    pub fn status(&self) -> ViewStatus {
        let count = |n: usize| u64::try_from(n).unwrap_or(u64::MAX);
        ViewStatus {
            open_for_writing: count(self.writing.lock().len()),
            unsealed_met: self.counters.unsealed_met.load(Ordering::Relaxed),
            damaged_met: self.counters.damaged_met.load(Ordering::Relaxed),
            undecryptable_names: self.counters.undecryptable_names.load(Ordering::Relaxed),
            failed_seals: self.counters.failed_seals.load(Ordering::Relaxed),
            inodes: count(self.inodes.len()),
        }
    }

    /// Gives back the room that the tables of objects have and do not need.
    pub fn shrink(&self) {
        self.inodes.shrink();
    }

    /// The backing's figures, turned into plaintext terms.
    ///
    /// # Errors
    /// The backing's.
    pub fn statfs(&self) -> Result<StatFs, FsError> {
        let fs = self.vault.root_dir().store().stat_fs()?;
        let geometry = self.vault.geometry();
        let plain = |blocks: u64| plain_blocks(blocks, fs.fragment_size, geometry);
        Ok(StatFs {
            block_size: 4096,
            blocks: plain(fs.blocks),
            blocks_free: plain(fs.blocks_free),
            blocks_available: plain(fs.blocks_available),
            files: fs.files,
            files_free: fs.files_free,
            name_max: name_max(fs.name_max),
        })
    }

    fn node(&self, ino: Ino) -> Result<Arc<Node>, FsError> {
        self.inodes.get(ino).ok_or(FsError::Stale)
    }

    fn must_be_writable(&self) -> Result<(), FsError> {
        match self.options.mutability {
            Mutability::ReadWrite => Ok(()),
            Mutability::ReadOnly => Err(FsError::ReadOnly),
        }
    }
}

/// Blocks of 4 KiB of plaintext that fit `blocks` of the backing.
fn plain_blocks(blocks: u64, block_size: u64, geometry: Geometry) -> u64 {
    let bytes = u128::from(blocks) * u128::from(block_size);
    let wide = |n: usize| u128::try_from(n).unwrap_or(1);
    let plain = bytes * wide(geometry.chunk_size()) / wide(geometry.slot_size());
    u64::try_from(plain / 4096).unwrap_or(u64::MAX)
}

/// The longest plain name for which every cipher name fits the backing: 255
/// where a long name's side file (45 bytes) and the longest short name (192)
/// fit, else what the longest fitting short name holds.
fn name_max(backing: u64) -> u32 {
    const SHORT: [(u64, u32); 8] = [
        (43, 15),
        (64, 31),
        (86, 47),
        (107, 63),
        (128, 79),
        (150, 95),
        (171, 111),
        (192, 127),
    ];
    match SHORT.iter().rev().find(|(cipher, _)| *cipher <= backing) {
        Some((192, _)) => 255,
        Some((_, plain)) => *plain,
        None => 0,
    }
}
