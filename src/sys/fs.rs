//! The file system calls, all relative to an open directory and one component
//! at a time, never following a symbolic link of the backing.
//!
//! | room | what is kept there |
//! |---|---|
//! | `dir` | [`DirFd`]: an open directory and what happens to its entries |
//! | `file` | [`FileFd`]: an open regular file |
//! | `node` | [`NodeFd`]: any object by a path descriptor; owner, mode, times, xattrs |
//! | [`mutation`] | the choke point all changes pass, and its fault injection |
//!
//! Descriptors are opened again through `/proc/self/fd`, so a mounted `/proc`
//! is required.

mod dir;
mod file;
pub mod mutation;
mod node;

use std::io;

use rustix::fs::{FileType, Mode, Timespec, Timestamps, UTIME_NOW, UTIME_OMIT};

pub use dir::{DirEntry, DirFd, DirLock};
pub use file::{FileFd, FileLock};
pub use node::NodeFd;
pub(super) use node::proc_path;

use crate::types::{FileKind, SetTime, Time};

/// What stat(2) tells about one object.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Stat {
    /// Device that holds the object.
    pub dev: u64,
    /// Inode number on that device.
    pub ino: u64,
    /// Kind and permission bits, as `st_mode`.
    pub mode: u32,
    /// Number of hard links; saturates.
    pub nlink: u32,
    /// Owner.
    pub uid: u32,
    /// Group.
    pub gid: u32,
    /// Device number of a device node.
    pub rdev: u64,
    /// Length in bytes, on the backing.
    pub size: u64,
    /// Preferred size of a read or write, in bytes; saturates.
    pub blksize: u32,
    /// Blocks of 512 bytes that are allocated.
    pub blocks: u64,
    /// Last access.
    pub atime: Time,
    /// Last change of the contents.
    pub mtime: Time,
    /// Last change of anything.
    pub ctime: Time,
}

impl Stat {
    /// Of an empty file of a vault.
    #[cfg(test)]
    pub(crate) const fn of_empty_file(ino: u64, time: Time) -> Self {
        Self {
            dev: 1,
            ino,
            mode: 0o100_644,
            nlink: 1,
            uid: 0,
            gid: 0,
            rdev: 0,
            size: 168,
            blksize: 4096,
            blocks: 8,
            atime: time,
            mtime: time,
            ctime: time,
        }
    }

    /// The kind of the object; `None` for a kind Linux does not have.
    #[must_use]
    pub fn kind(&self) -> Option<FileKind> {
        kind_of(FileType::from_raw_mode(self.mode))
    }

    /// Permission bits with set-user-ID, set-group-ID and sticky: `07777`.
    #[must_use]
    pub fn perm(&self) -> u32 {
        self.mode & 0o7777
    }

    fn from_raw(raw: &rustix::fs::Stat) -> Self {
        let time = |secs: i64, nanos: u64| Time {
            secs,
            nanos: u32::try_from(nanos).unwrap_or(0),
        };
        // The fields' integer types differ between architectures.
        #[allow(
            clippy::useless_conversion,
            clippy::unnecessary_fallible_conversions,
            reason = "not useless on every architecture"
        )]
        Self {
            dev: u64::from(raw.st_dev),
            ino: u64::from(raw.st_ino),
            mode: raw.st_mode,
            nlink: u32::try_from(raw.st_nlink).unwrap_or(u32::MAX),
            uid: raw.st_uid,
            gid: raw.st_gid,
            rdev: u64::from(raw.st_rdev),
            size: u64::try_from(raw.st_size).unwrap_or(0),
            blksize: u32::try_from(raw.st_blksize).unwrap_or(u32::MAX),
            blocks: u64::try_from(raw.st_blocks).unwrap_or(0),
            atime: time(i64::from(raw.st_atime), u64::from(raw.st_atime_nsec)),
            mtime: time(i64::from(raw.st_mtime), u64::from(raw.st_mtime_nsec)),
            ctime: time(i64::from(raw.st_ctime), u64::from(raw.st_ctime_nsec)),
        }
    }
}

/// What statvfs(3) tells about the file system of the backing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct FsStat {
    /// Unit of the three block counts, in bytes.
    pub fragment_size: u64,
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
    /// Longest name, in bytes.
    pub name_max: u64,
}

/// What setting an extended attribute does with an existing one; setxattr(2).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum XattrMode {
    /// Create or replace.
    Any,
    /// Fail with `EEXIST` if it exists (`XATTR_CREATE`).
    Create,
    /// Fail with `ENODATA` unless it exists (`XATTR_REPLACE`).
    Replace,
}

/// An entry is not a regular file although one belongs there.
///
/// Travels inside an [`io::Error`]; [`is_not_regular`] finds it.
#[derive(Clone, Copy, Debug, thiserror::Error)]
#[error("not a regular file")]
pub struct NotRegular;

/// Whether `error` says that something else than a regular file was met.
#[must_use]
pub fn is_not_regular(error: &io::Error) -> bool {
    error
        .get_ref()
        .is_some_and(|inner| inner.is::<NotRegular>())
}

/// 32 hexadecimal digits from the operating system's random source, for
/// temporary names. Never key material.
///
/// # Errors
/// What getrandom(2) says.
pub fn random_suffix() -> io::Result<String> {
    let mut bytes = [0_u8; 16];
    let filled = rustix::rand::getrandom(&mut bytes[..], rustix::rand::GetRandomFlags::empty())?;
    if filled != bytes.len() {
        return Err(io::ErrorKind::UnexpectedEof.into());
    }
    Ok(u128::from_le_bytes(bytes)).map(|number| format!("{number:032x}"))
}

fn kind_of(kind: FileType) -> Option<FileKind> {
    match kind {
        FileType::RegularFile => Some(FileKind::Regular),
        FileType::Directory => Some(FileKind::Directory),
        FileType::Symlink => Some(FileKind::Symlink),
        FileType::Fifo => Some(FileKind::Fifo),
        FileType::Socket => Some(FileKind::Socket),
        FileType::CharacterDevice => Some(FileKind::CharDevice),
        FileType::BlockDevice => Some(FileKind::BlockDevice),
        FileType::Unknown => None,
    }
}

fn mode_bits(mode: u32) -> Mode {
    Mode::from_raw_mode(mode & 0o7777)
}

fn timestamps(atime: SetTime, mtime: SetTime) -> Timestamps {
    let spec = |time| match time {
        SetTime::Omit => Timespec {
            tv_sec: 0,
            tv_nsec: UTIME_OMIT,
        },
        SetTime::Now => Timespec {
            tv_sec: 0,
            tv_nsec: UTIME_NOW,
        },
        SetTime::At(at) => Timespec {
            tv_sec: at.secs,
            tv_nsec: at.nanos.into(),
        },
    };
    Timestamps {
        last_access: spec(atime),
        last_modification: spec(mtime),
    }
}

/// Runs `call` again as long as a signal interrupts it.
fn restart<T>(mut call: impl FnMut() -> rustix::io::Result<T>) -> rustix::io::Result<T> {
    loop {
        match call() {
            Err(rustix::io::Errno::INTR) => {}
            done => return done,
        }
    }
}

#[cfg(test)]
mod tests;
