//! Between fuser's types and ours, both ways. Nothing here has state.

use std::ffi::OsStr;
use std::ops::ControlFlow;
use std::os::unix::ffi::OsStrExt;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use fuser::{
    FileAttr, FileHandle, FileType, FopenFlags, INodeNo, OpenAccMode, OpenFlags, RenameFlags,
    TimeOrNow,
};

use super::errno::BadRequest;
use crate::name::{BadName, PlainName};
use crate::types::{Caller, Fh, FileKind, Ino, RenameMode, SetTime, Time};
use crate::vault::file::SizeRule;
use crate::view::{
    Attr, Fallocate, HandleAccess, OpenHow, Opened, PageCache, SeekTo, SetAttr, Truncate, XattrMode,
};

/// The twelve bits of a mode that chmod(2) sets.
const PERMISSIONS: u32 = 0o7777;

/// "Leave it" in place of a uid or gid; chown(2).
const NO_ID: u32 = u32::MAX;

/// A node id of a request.
pub(super) const fn ino(node: INodeNo) -> Ino {
    Ino::new(node.0)
}

/// A handle of a request.
pub(super) const fn fh(handle: FileHandle) -> Fh {
    Fh::new(handle.0)
}

/// A name of a request; see [`PlainName`] for what is refused.
pub(super) fn name(name: &OsStr) -> Result<PlainName, BadName> {
    PlainName::new(name.as_bytes())
}

/// On whose behalf the request is made. `umask` is 0 where the operation
/// carries none.
pub(super) fn caller(request: &fuser::Request, umask: u32) -> Caller {
    Caller {
        uid: request.uid(),
        gid: request.gid(),
        umask,
    }
}

/// Undoes how fuser 0.18 decodes a time of SETATTR: from `secs < 0` and
/// `nanos` it makes `1970 - (-secs + nanos)`, where the kernel meant
/// `1970 + secs + nanos`. From the distance to 1970 both fields are read back
/// exactly.
pub(super) fn time_from_request(decoded: SystemTime) -> Time {
    match decoded.duration_since(UNIX_EPOCH) {
        Ok(after) => Time {
            secs: i64::try_from(after.as_secs()).unwrap_or(i64::MAX),
            nanos: after.subsec_nanos(),
        },
        Err(before) => Time {
            secs: 0_i64
                .checked_sub_unsigned(before.duration().as_secs())
                .unwrap_or(i64::MIN),
            nanos: before.duration().subsec_nanos(),
        },
    }
}

/// A time for a reply; fuser encodes these correctly on either side of 1970.
/// Saturates to 1970 where the system's clock type cannot hold it.
pub(super) fn time_for_reply(time: Time) -> SystemTime {
    let whole = Duration::from_secs(time.secs.unsigned_abs());
    let second = if time.secs < 0 {
        UNIX_EPOCH.checked_sub(whole)
    } else {
        UNIX_EPOCH.checked_add(whole)
    };
    second
        .and_then(|s| s.checked_add(Duration::from_nanos(time.nanos.into())))
        .unwrap_or(UNIX_EPOCH)
}

/// One timestamp of a SETATTR.
pub(super) fn set_time(asked: Option<TimeOrNow>) -> SetTime {
    match asked {
        None => SetTime::Omit,
        Some(TimeOrNow::Now) => SetTime::Now,
        Some(TimeOrNow::SpecificTime(time)) => SetTime::At(time_from_request(time)),
    }
}

/// The fields of a SETATTR as fuser hands them over.
pub(super) struct RawSetAttr {
    pub(super) mode: Option<u32>,
    pub(super) uid: Option<u32>,
    pub(super) gid: Option<u32>,
    pub(super) size: Option<u64>,
    pub(super) atime: Option<TimeOrNow>,
    pub(super) mtime: Option<TimeOrNow>,
    pub(super) ctime: Option<SystemTime>,
}

/// What a SETATTR changes. Type bits of the mode are dropped; an id of -1
/// means "leave it".
pub(super) fn set_attr(raw: RawSetAttr) -> SetAttr {
    let id = |id: Option<u32>| id.filter(|&id| id != NO_ID);
    SetAttr {
        mode: raw.mode.map(|mode| mode & PERMISSIONS),
        uid: id(raw.uid),
        gid: id(raw.gid),
        size: raw.size,
        atime: set_time(raw.atime),
        mtime: set_time(raw.mtime),
        ctime: raw.ctime.map(time_from_request),
    }
}

/// The mode of a MKDIR or CREATE, without type bits.
pub(super) const fn permissions(mode: u32) -> u32 {
    mode & PERMISSIONS
}

/// The type of a directory entry or attribute.
pub(super) const fn file_type(kind: FileKind) -> FileType {
    match kind {
        FileKind::Regular => FileType::RegularFile,
        FileKind::Directory => FileType::Directory,
        FileKind::Symlink => FileType::Symlink,
        FileKind::Fifo => FileType::NamedPipe,
        FileKind::Socket => FileType::Socket,
        FileKind::CharDevice => FileType::CharDevice,
        FileKind::BlockDevice => FileType::BlockDevice,
    }
}

/// Attributes as the kernel wants them.
pub(super) fn file_attr(attr: &Attr) -> FileAttr {
    let mtime = time_for_reply(attr.mtime);
    FileAttr {
        ino: INodeNo(attr.ino.get()),
        size: attr.size,
        blocks: attr.blocks,
        atime: time_for_reply(attr.atime),
        mtime,
        ctime: time_for_reply(attr.ctime),
        crtime: mtime,
        kind: file_type(attr.kind),
        perm: u16::try_from(attr.perm & PERMISSIONS).expect("twelve bits fit sixteen"),
        nlink: attr.nlink,
        uid: attr.uid,
        gid: attr.gid,
        rdev: attr.rdev,
        blksize: attr.blksize,
        flags: 0,
    }
}

/// Attributes of nothing: with the number 0 an entry reply says "no such
/// name, and you may remember that"; in a listing, "no attributes given".
pub(super) const fn no_attr(ino: Ino, kind: FileKind) -> FileAttr {
    FileAttr {
        ino: INodeNo(ino.get()),
        size: 0,
        blocks: 0,
        atime: UNIX_EPOCH,
        mtime: UNIX_EPOCH,
        ctime: UNIX_EPOCH,
        crtime: UNIX_EPOCH,
        kind: file_type(kind),
        perm: 0,
        nlink: 0,
        uid: 0,
        gid: 0,
        rdev: 0,
        blksize: 0,
        flags: 0,
    }
}

/// The flags of open(2) that matter here. `O_APPEND` does not: the kernel
/// computes the offsets, and under the writeback cache the daemon's idea of
/// the end would be late.
pub(super) fn open_how(flags: OpenFlags) -> OpenHow {
    let access = match flags.acc_mode() {
        OpenAccMode::O_RDONLY => HandleAccess::Read,
        OpenAccMode::O_WRONLY => HandleAccess::Write,
        OpenAccMode::O_RDWR => HandleAccess::ReadWrite,
    };
    let truncate = match flags.0 & libc::O_TRUNC {
        0 => Truncate::Keep,
        _ => Truncate::ToZero,
    };
    OpenHow { access, truncate }
}

/// Whether open(2) demands that the name be new.
pub(super) const fn is_exclusive(flags: i32) -> bool {
    flags & libc::O_EXCL != 0
}

/// Whether the kernel may go on using the pages it has of this file.
pub(super) const fn file_flags(opened: Opened) -> FopenFlags {
    match opened.cache {
        PageCache::Keep => FopenFlags::FOPEN_KEEP_CACHE,
        PageCache::Drop => FopenFlags::empty(),
    }
}

/// The kernel may keep a listing; `Keep` lets it use one it has already.
pub(super) const fn directory_flags(opened: Opened) -> FopenFlags {
    match opened.cache {
        PageCache::Keep => FopenFlags::FOPEN_CACHE_DIR.union(FopenFlags::FOPEN_KEEP_CACHE),
        PageCache::Drop => FopenFlags::FOPEN_CACHE_DIR,
    }
}

/// The flags of renameat2(2).
pub(super) fn rename_mode(flags: RenameFlags) -> Result<RenameMode, BadRequest> {
    if flags == RenameFlags::empty() {
        Ok(RenameMode::Replace)
    } else if flags == RenameFlags::RENAME_NOREPLACE {
        Ok(RenameMode::NoReplace)
    } else if flags == RenameFlags::RENAME_EXCHANGE {
        Ok(RenameMode::Exchange)
    } else {
        Err(BadRequest::RenameFlags)
    }
}

/// The modes of fallocate(2) that are kept: allocate and zero, either with or
/// without `KEEP_SIZE`, and punching holes, which demands it.
pub(super) fn fallocate(mode: i32) -> Result<Fallocate, BadRequest> {
    const KEEP: i32 = libc::FALLOC_FL_KEEP_SIZE;
    const PUNCH: i32 = libc::FALLOC_FL_PUNCH_HOLE | KEEP;
    const ZERO: i32 = libc::FALLOC_FL_ZERO_RANGE;
    const ZERO_KEEP: i32 = ZERO | KEEP;
    match mode {
        0 => Ok(Fallocate::Allocate(SizeRule::Grow)),
        KEEP => Ok(Fallocate::Allocate(SizeRule::Keep)),
        PUNCH => Ok(Fallocate::PunchHole),
        ZERO => Ok(Fallocate::ZeroRange(SizeRule::Grow)),
        ZERO_KEEP => Ok(Fallocate::ZeroRange(SizeRule::Keep)),
        _ => Err(BadRequest::FallocateMode),
    }
}

/// The flags of setxattr(2).
pub(super) fn xattr_mode(flags: i32) -> Result<XattrMode, BadRequest> {
    match flags {
        0 => Ok(XattrMode::Any),
        libc::XATTR_CREATE => Ok(XattrMode::Create),
        libc::XATTR_REPLACE => Ok(XattrMode::Replace),
        _ => Err(BadRequest::XattrFlags),
    }
}

/// The two kinds of lseek(2) that the kernel asks a file system about, and
/// where to begin.
pub(super) fn seek(offset: i64, whence: i32) -> Result<(u64, SeekTo), BadRequest> {
    let from = u64::try_from(offset).map_err(|_| BadRequest::SeekOffset)?;
    match whence {
        libc::SEEK_DATA => Ok((from, SeekTo::Data)),
        libc::SEEK_HOLE => Ok((from, SeekTo::Hole)),
        _ => Err(BadRequest::Whence),
    }
}

/// How much of a COPY_FILE_RANGE is done at once. fuser knows no INTERRUPT: a
/// caller that is to be killed waits for the copy to end, so it is kept short;
/// the caller gets a short count and asks again.
pub(super) fn copy_len(asked: u64) -> u64 {
    const LIMIT: u64 = 16 << 20;
    asked.min(LIMIT)
}

/// fuser's "the buffer was full" in the terms of the view's callbacks. The
/// entry that did not fit was not added.
pub(super) const fn full(full: bool) -> ControlFlow<()> {
    if full {
        ControlFlow::Break(())
    } else {
        ControlFlow::Continue(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// fuser 0.18's decoding, restated so that its undoing can be tested.
    fn decoded_by_fuser(time: Time) -> SystemTime {
        if time.secs >= 0 {
            UNIX_EPOCH + Duration::new(time.secs.unsigned_abs(), time.nanos)
        } else {
            UNIX_EPOCH - Duration::new(time.secs.unsigned_abs(), time.nanos)
        }
    }

    #[test]
    fn times_on_both_sides_of_1970_survive_the_request() {
        for secs in [
            0,
            1,
            -1,
            -2,
            1_700_000_000,
            -1_700_000_000,
            i64::from(i32::MIN) - 7,
        ] {
            for nanos in [0, 1, 500_000_000, 999_999_999] {
                let time = Time { secs, nanos };
                assert_eq!(time_from_request(decoded_by_fuser(time)), time);
            }
        }
    }

    #[test]
    fn a_reply_before_1970_lies_nanos_after_its_second() {
        let time = Time {
            secs: -2,
            nanos: 250_000_000,
        };
        assert_eq!(
            time_for_reply(time),
            UNIX_EPOCH - Duration::from_millis(1750)
        );
        let time = Time {
            secs: 3,
            nanos: 250_000_000,
        };
        assert_eq!(
            time_for_reply(time),
            UNIX_EPOCH + Duration::from_millis(3250)
        );
    }

    #[test]
    fn times_that_do_not_fit_never_panic() {
        for secs in [i64::MIN, i64::MIN + 1, i64::MAX] {
            let _in_range = time_for_reply(Time {
                secs,
                nanos: 999_999_999,
            });
        }
    }

    #[test]
    fn an_id_of_minus_one_and_type_bits_are_dropped() {
        let set = set_attr(RawSetAttr {
            mode: Some(0o100_644),
            uid: Some(u32::MAX),
            gid: Some(7),
            size: None,
            atime: None,
            mtime: Some(TimeOrNow::Now),
            ctime: None,
        });
        assert_eq!((set.mode, set.uid, set.gid), (Some(0o644), None, Some(7)));
        assert_eq!((set.atime, set.mtime), (SetTime::Omit, SetTime::Now));
    }

    #[test]
    fn unknown_flags_are_refused() {
        let both = RenameFlags::RENAME_NOREPLACE | RenameFlags::RENAME_EXCHANGE;
        assert_eq!(rename_mode(both), Err(BadRequest::RenameFlags));
        assert_eq!(
            rename_mode(RenameFlags::RENAME_WHITEOUT),
            Err(BadRequest::RenameFlags)
        );
        assert_eq!(
            rename_mode(RenameFlags::from_bits_retain(64)),
            Err(BadRequest::RenameFlags)
        );
        for mode in [
            libc::FALLOC_FL_PUNCH_HOLE,
            libc::FALLOC_FL_COLLAPSE_RANGE,
            0x20,
            0x40,
            -1,
        ] {
            assert_eq!(fallocate(mode), Err(BadRequest::FallocateMode));
        }
        assert_eq!(xattr_mode(3), Err(BadRequest::XattrFlags));
        assert_eq!(seek(0, libc::SEEK_END), Err(BadRequest::Whence));
        assert_eq!(seek(-1, libc::SEEK_DATA), Err(BadRequest::SeekOffset));
    }

    #[test]
    fn append_is_stripped_and_truncation_is_seen() {
        let how = open_how(OpenFlags(libc::O_WRONLY | libc::O_APPEND | libc::O_TRUNC));
        assert_eq!(
            (how.access, how.truncate),
            (HandleAccess::Write, Truncate::ToZero)
        );
        let how = open_how(OpenFlags(libc::O_RDWR));
        assert_eq!(
            (how.access, how.truncate),
            (HandleAccess::ReadWrite, Truncate::Keep)
        );
    }
}
