//! STUB of the view's interface, for type-checking the adapter only.
#![allow(
    missing_docs,
    clippy::todo,
    clippy::ptr_arg,
    unused_variables,
    reason = "stub"
)]
use crate::name::PlainName;
use crate::types::*;
use std::io;
use std::ops::ControlFlow;

#[derive(Debug, thiserror::Error)]
pub enum FsError {
    #[error("x")]
    NotFound,
    #[error("x")]
    Exists,
    #[error("x")]
    NotEmpty,
    #[error("x")]
    NotDirectory,
    #[error("x")]
    IsDirectory,
    #[error("x")]
    NameTooLong,
    #[error("x")]
    Invalid(&'static str),
    #[error("x")]
    ReadOnly,
    #[error("x")]
    NotPermitted,
    #[error("x")]
    Damaged(u8),
    #[error("x")]
    NotAuthentic,
    #[error("x")]
    Stale,
    #[error("x")]
    NotSupported,
    #[error("x")]
    NoAttribute,
    #[error("x")]
    AttributeTooLarge,
    #[error("x")]
    BadHandle,
    #[error("x")]
    BeyondEnd,
    #[error("x")]
    TooBig,
    #[error("x")]
    Random(#[source] std::fmt::Error),
    #[error("x")]
    Backing(#[from] io::Error),
}
pub type Result<T> = std::result::Result<T, FsError>;
#[derive(Clone, Copy, Debug)]
pub struct Attr {
    pub ino: Ino,
    pub size: u64,
    pub blocks: u64,
    pub atime: Time,
    pub mtime: Time,
    pub ctime: Time,
    pub kind: FileKind,
    pub perm: u32,
    pub nlink: u32,
    pub uid: u32,
    pub gid: u32,
    pub rdev: u32,
    pub blksize: u32,
}
#[derive(Clone, Copy, Debug)]
pub struct Entry {
    pub attr: Attr,
    pub generation: u64,
}
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PageCache {
    Keep,
    Drop,
}
#[derive(Clone, Copy, Debug)]
pub struct Opened {
    pub fh: Fh,
    pub cache: PageCache,
}
impl HandleAccess {
    pub const fn writes(self) -> bool {
        !matches!(self, Self::Read)
    }
}
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum HandleAccess {
    Read,
    Write,
    ReadWrite,
}
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Truncate {
    Keep,
    ToZero,
}
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct OpenHow {
    pub access: HandleAccess,
    pub truncate: Truncate,
}
#[derive(Clone, Copy, Debug)]
pub struct SetAttr {
    pub mode: Option<u32>,
    pub uid: Option<u32>,
    pub gid: Option<u32>,
    pub size: Option<u64>,
    pub atime: SetTime,
    pub mtime: SetTime,
}
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum WriteCaller {
    KeepSuid,
    KillSuid,
}
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum XattrMode {
    Any,
    Create,
    Replace,
}
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fallocate {
    Allocate(SizeRule),
    PunchHole,
    ZeroRange(SizeRule),
}
pub use crate::vault::file::SizeRule;
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SeekTo {
    Data,
    Hole,
}
pub struct DirItem<'a> {
    pub ino: Ino,
    pub cookie: u64,
    pub kind: FileKind,
    pub name: &'a [u8],
}
#[derive(Clone, Copy, Debug)]
pub struct StatFs {
    pub block_size: u32,
    pub blocks: u64,
    pub blocks_free: u64,
    pub blocks_available: u64,
    pub files: u64,
    pub files_free: u64,
    pub name_max: u32,
}
pub struct View {
    _x: u8,
}
impl View {
    pub fn lookup(&self, parent: Ino, name: &PlainName) -> Result<Entry> {
        todo!()
    }
    pub fn forget(&self, ino: Ino, count: u64) {
        todo!()
    }
    pub fn getattr(&self, ino: Ino, fh: Option<Fh>) -> Result<Attr> {
        todo!()
    }
    pub fn setattr(
        &self,
        caller: &Caller,
        ino: Ino,
        fh: Option<Fh>,
        set: &SetAttr,
    ) -> Result<Attr> {
        todo!()
    }
    pub fn readlink(&self, ino: Ino) -> Result<Vec<u8>> {
        todo!()
    }
    pub fn mknod(
        &self,
        c: &Caller,
        parent: Ino,
        name: &PlainName,
        mode: u32,
        rdev: u64,
    ) -> Result<Entry> {
        todo!()
    }
    pub fn mkdir(&self, c: &Caller, parent: Ino, name: &PlainName, mode: u32) -> Result<Entry> {
        todo!()
    }
    pub fn symlink(
        &self,
        c: &Caller,
        parent: Ino,
        name: &PlainName,
        target: &[u8],
    ) -> Result<Entry> {
        todo!()
    }
    pub fn link(&self, ino: Ino, parent: Ino, name: &PlainName) -> Result<Entry> {
        todo!()
    }
    pub fn unlink(&self, parent: Ino, name: &PlainName) -> Result<()> {
        todo!()
    }
    pub fn rmdir(&self, parent: Ino, name: &PlainName) -> Result<()> {
        todo!()
    }
    pub fn rename(
        &self,
        from: (Ino, &PlainName),
        to: (Ino, &PlainName),
        mode: RenameMode,
    ) -> Result<()> {
        todo!()
    }
    pub fn create(
        &self,
        c: &Caller,
        parent: Ino,
        name: &PlainName,
        mode: u32,
        how: OpenHow,
    ) -> Result<(Entry, Opened)> {
        todo!()
    }
    pub fn open(&self, ino: Ino, how: OpenHow, c: &Caller) -> Result<Opened> {
        todo!()
    }
    pub fn read(&self, fh: Fh, off: u64, len: usize, out: &mut Vec<u8>) -> Result<()> {
        todo!()
    }
    pub fn write(&self, fh: Fh, off: u64, bytes: &[u8], c: WriteCaller) -> Result<()> {
        todo!()
    }
    pub fn fsync(&self, fh: Fh) -> Result<()> {
        todo!()
    }
    pub fn release(&self, fh: Fh) {
        todo!()
    }
    pub fn opendir(&self, ino: Ino) -> Result<Opened> {
        todo!()
    }
    pub fn readdir(
        &self,
        fh: Fh,
        cookie: u64,
        f: &mut dyn FnMut(&DirItem<'_>) -> ControlFlow<()>,
    ) -> Result<()> {
        todo!()
    }
    pub fn readdirplus(
        &self,
        fh: Fh,
        cookie: u64,
        f: &mut dyn FnMut(&DirItem<'_>, Option<&Entry>) -> ControlFlow<()>,
    ) -> Result<()> {
        todo!()
    }
    pub fn releasedir(&self, fh: Fh) {
        todo!()
    }
    pub fn fsyncdir(&self, fh: Fh) -> Result<()> {
        todo!()
    }
    pub fn seal_all(&self) -> Result<()> {
        todo!()
    }
    pub fn statfs(&self) -> Result<StatFs> {
        todo!()
    }
    pub fn getxattr(&self, ino: Ino, name: &[u8]) -> Result<Vec<u8>> {
        todo!()
    }
    pub fn setxattr(&self, ino: Ino, name: &[u8], value: &[u8], mode: XattrMode) -> Result<()> {
        todo!()
    }
    pub fn listxattr(&self, ino: Ino) -> Result<Vec<Vec<u8>>> {
        todo!()
    }
    pub fn removexattr(&self, ino: Ino, name: &[u8]) -> Result<()> {
        todo!()
    }
    pub fn fallocate(&self, fh: Fh, off: u64, len: u64, mode: Fallocate, c: &Caller) -> Result<()> {
        todo!()
    }
    pub fn seek(&self, fh: Fh, off: u64, to: SeekTo) -> Result<u64> {
        todo!()
    }
    pub fn copy_range(&self, from: (Fh, u64), to: (Fh, u64), len: u64, c: &Caller) -> Result<u64> {
        todo!()
    }
}
