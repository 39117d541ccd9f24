//! One method per request of the kernel.

use std::cell::RefCell;
use std::ffi::OsStr;
use std::io;
use std::os::unix::ffi::OsStrExt;
use std::path::Path;
use std::time::{Duration, SystemTime};

use fuser::{
    AccessFlags, BsdFileFlags, CopyFileRangeFlags, FileHandle, Filesystem, Generation, INodeNo,
    IoctlFlags, KernelConfig, LockOwner, OpenFlags, PollEvents, PollFlags, PollNotifier,
    RenameFlags, ReplyAttr, ReplyBmap, ReplyCreate, ReplyData, ReplyDirectory, ReplyDirectoryPlus,
    ReplyEmpty, ReplyEntry, ReplyIoctl, ReplyLock, ReplyLseek, ReplyOpen, ReplyPoll, ReplyStatfs,
    ReplyWrite, ReplyXattr, Request, TimeOrNow, WriteFlags,
};

use super::convert::{fh, ino};
use super::errno::BadRequest;
use super::seek::Question;
use super::session::negotiate;
use super::{Adapter, convert};
use crate::types::{FileKind, Ino};
use crate::view::{FsError, WriteCaller};

/// The kernel asks for this before writes to learn of file capabilities. It
/// is not among the attributes that are kept, so it never exists.
const CAPABILITY: &[u8] = b"security.capability";

thread_local! {
    /// What READ decrypts into; kept because fresh memory costs a page fault each 4 KiB.
    static READ_BUFFER: RefCell<Vec<u8>> = const { RefCell::new(Vec::new()) };
}

/// Operations that are answered without looking at what they ask.
macro_rules! declined {
    ($($(#[$doc:meta])* $name:ident($($argument:ty),*) $reply:ty => $why:ident;)*) => {$(
        $(#[$doc])*
        fn $name(&self, _: &Request, $(_: $argument,)* reply: $reply) {
            reply.error(self.decline(&self.counters.$name, BadRequest::$why));
        }
    )*};
}

impl Filesystem for Adapter {
    fn init(&mut self, _request: &Request, config: &mut KernelConfig) -> io::Result<()> {
        negotiate(config, self.writeback);
        Ok(())
    }

    /// Nothing: whoever runs the session seals, also where this never comes.
    fn destroy(&mut self) {}

    fn lookup(&self, _request: &Request, parent: INodeNo, name: &OsStr, reply: ReplyEntry) {
        let _turn = self.readers.take();
        let outcome = self.run(&self.counters.lookup, |view| {
            match view.lookup(ino(parent), &convert::name(name)?) {
                Ok(entry) => Ok(Some(entry)),
                Err(FsError::NotFound) => Ok(None),
                Err(other) => Err(other.into()),
            }
        });
        match outcome {
            Ok(Some(entry)) => {
                let attr = convert::file_attr(&entry.attr);
                reply.entry(&entry.attr.lifetime, &attr, Generation(entry.generation));
            }
            Ok(None) => {
                // Node 0 is ENOENT with a lifetime: the kernel may remember it.
                self.counters.negative.hit();
                let nothing = convert::no_attr(Ino::new(0), FileKind::Regular);
                reply.entry(&self.ttl, &nothing, Generation(0));
            }
            Err(number) => reply.error(number),
        }
    }

    fn forget(&self, _request: &Request, node: INodeNo, count: u64) {
        let _turn = self.readers.take_silent();
        let _no_reply = self.run(&self.counters.forget, |view| {
            view.forget(ino(node), count);
            Ok(())
        });
    }

    fn getattr(&self, _: &Request, node: INodeNo, handle: Option<FileHandle>, reply: ReplyAttr) {
        self.attr(reply, &self.counters.getattr, |view| {
            Ok(view.getattr(ino(node), handle.map(fh))?)
        });
    }

    /// `ctime` is the backing's business; the other times and flags exist only
    /// on other systems.
    fn setattr(
        &self,
        request: &Request,
        node: INodeNo,
        mode: Option<u32>,
        uid: Option<u32>,
        gid: Option<u32>,
        size: Option<u64>,
        atime: Option<TimeOrNow>,
        mtime: Option<TimeOrNow>,
        ctime: Option<SystemTime>,
        handle: Option<FileHandle>,
        _crtime: Option<SystemTime>,
        _chgtime: Option<SystemTime>,
        _bkuptime: Option<SystemTime>,
        _flags: Option<BsdFileFlags>,
        reply: ReplyAttr,
    ) {
        let change = convert::set_attr(convert::RawSetAttr {
            mode,
            uid,
            gid,
            size,
            atime,
            mtime,
            ctime,
        });
        self.attr(reply, &self.counters.setattr, |view| {
            let caller = convert::caller(request, 0);
            Ok(view.setattr(&caller, ino(node), handle.map(fh), &change)?)
        });
    }

    fn readlink(&self, _request: &Request, node: INodeNo, reply: ReplyData) {
        self.bytes(reply, &self.counters.readlink, |view| {
            Ok(view.readlink(ino(node))?)
        });
    }

    fn mknod(
        &self,
        request: &Request,
        parent: INodeNo,
        name: &OsStr,
        mode: u32,
        umask: u32,
        rdev: u32,
        reply: ReplyEntry,
    ) {
        self.entry(reply, &self.counters.mknod, |view| {
            let caller = convert::caller(request, umask);
            Ok(view.mknod(
                &caller,
                ino(parent),
                &convert::name(name)?,
                mode,
                rdev.into(),
            )?)
        });
    }

    fn mkdir(
        &self,
        request: &Request,
        parent: INodeNo,
        name: &OsStr,
        mode: u32,
        umask: u32,
        reply: ReplyEntry,
    ) {
        self.entry(reply, &self.counters.mkdir, |view| {
            let caller = convert::caller(request, umask);
            let mode = convert::permissions(mode);
            Ok(view.mkdir(&caller, ino(parent), &convert::name(name)?, mode)?)
        });
    }

    fn unlink(&self, _request: &Request, parent: INodeNo, name: &OsStr, reply: ReplyEmpty) {
        self.unit(reply, &self.counters.unlink, |view| {
            Ok(view.unlink(ino(parent), &convert::name(name)?)?)
        });
    }

    fn rmdir(&self, _request: &Request, parent: INodeNo, name: &OsStr, reply: ReplyEmpty) {
        self.unit(reply, &self.counters.rmdir, |view| {
            Ok(view.rmdir(ino(parent), &convert::name(name)?)?)
        });
    }

    fn symlink(
        &self,
        request: &Request,
        parent: INodeNo,
        name: &OsStr,
        target: &Path,
        reply: ReplyEntry,
    ) {
        self.entry(reply, &self.counters.symlink, |view| {
            let caller = convert::caller(request, 0);
            let target = target.as_os_str().as_bytes();
            Ok(view.symlink(&caller, ino(parent), &convert::name(name)?, target)?)
        });
    }

    fn rename(
        &self,
        _request: &Request,
        parent: INodeNo,
        name: &OsStr,
        new_parent: INodeNo,
        new_name: &OsStr,
        flags: RenameFlags,
        reply: ReplyEmpty,
    ) {
        self.unit(reply, &self.counters.rename, |view| {
            let mode = convert::rename_mode(flags)?;
            let (from, to) = (convert::name(name)?, convert::name(new_name)?);
            Ok(view.rename((ino(parent), &from), (ino(new_parent), &to), mode)?)
        });
    }

    fn link(
        &self,
        _request: &Request,
        node: INodeNo,
        new_parent: INodeNo,
        new_name: &OsStr,
        reply: ReplyEntry,
    ) {
        self.entry(reply, &self.counters.link, |view| {
            Ok(view.link(ino(node), ino(new_parent), &convert::name(new_name)?)?)
        });
    }

    fn open(&self, request: &Request, node: INodeNo, flags: OpenFlags, reply: ReplyOpen) {
        let how = convert::open_how(flags);
        let _turn = self.readers.take();
        let outcome = self.run(&self.counters.open, |view| {
            Ok(view.open(ino(node), how, &convert::caller(request, 0))?)
        });
        match outcome {
            Ok(opened) => {
                self.note_open(ino(node), how);
                reply.opened(FileHandle(opened.fh.get()), convert::file_flags(opened));
            }
            Err(number) => reply.error(number),
        }
    }

    /// May come on a handle that was opened for writing only: the kernel
    /// completes a page before changing part of it.
    fn read(
        &self,
        _request: &Request,
        _node: INodeNo,
        handle: FileHandle,
        offset: u64,
        size: u32,
        _flags: OpenFlags,
        _lock_owner: Option<LockOwner>,
        reply: ReplyData,
    ) {
        let mut buffer = READ_BUFFER.take();
        let _turn = self.readers.take();
        let outcome = self.run(&self.counters.read, |view| {
            let len = usize::try_from(size).expect("Linux has no 16-bit usize");
            Ok(view.read(fh(handle), offset, len, &mut buffer)?)
        });
        match outcome {
            Ok(()) => reply.data(&buffer),
            Err(number) => reply.error(number),
        }
        READ_BUFFER.set(buffer);
    }

    fn write(
        &self,
        _request: &Request,
        _node: INodeNo,
        handle: FileHandle,
        offset: u64,
        bytes: &[u8],
        write_flags: WriteFlags,
        _flags: OpenFlags,
        _lock_owner: Option<LockOwner>,
        reply: ReplyWrite,
    ) {
        let caller = if write_flags.contains(WriteFlags::FUSE_WRITE_KILL_SUIDGID) {
            WriteCaller::KillSuid
        } else {
            WriteCaller::KeepSuid
        };
        self.written(reply, &self.counters.write, |view| {
            view.write(fh(handle), offset, bytes, caller)?;
            Ok(u32::try_from(bytes.len()).expect("a request is shorter than 17 MiB"))
        });
    }

    fn release(
        &self,
        _request: &Request,
        node: INodeNo,
        handle: FileHandle,
        flags: OpenFlags,
        _lock_owner: Option<LockOwner>,
        _flush: bool,
        reply: ReplyEmpty,
    ) {
        self.note_release(ino(node), convert::open_how(flags));
        self.unit(reply, &self.counters.release, |view| {
            view.release(fh(handle));
            Ok(())
        });
    }

    fn fsync(
        &self,
        _request: &Request,
        _node: INodeNo,
        handle: FileHandle,
        _datasync: bool,
        reply: ReplyEmpty,
    ) {
        self.flush_unit(reply, &self.counters.fsync, |view| {
            Ok(view.fsync(fh(handle))?)
        });
    }

    fn opendir(&self, _request: &Request, node: INodeNo, _flags: OpenFlags, reply: ReplyOpen) {
        let _turn = self.readers.take();
        match self.run(&self.counters.opendir, |view| Ok(view.opendir(ino(node))?)) {
            Ok(opened) => {
                reply.opened(
                    FileHandle(opened.fh.get()),
                    convert::directory_flags(opened),
                );
            }
            Err(number) => reply.error(number),
        }
    }

    fn readdir(
        &self,
        _request: &Request,
        _node: INodeNo,
        handle: FileHandle,
        cookie: u64,
        mut reply: ReplyDirectory,
    ) {
        let _turn = self.readers.take();
        let outcome = self.run(&self.counters.readdir, |view| {
            Ok(view.readdir(fh(handle), cookie, &mut |item| {
                let (node, kind) = (INodeNo(item.ino.get()), convert::file_type(item.kind));
                convert::full(reply.add(node, item.cookie, kind, OsStr::from_bytes(item.name)))
            })?)
        });
        match outcome {
            Ok(()) => reply.ok(),
            Err(number) => reply.error(number),
        }
    }

    /// For `.` and `..` the kernel takes the number from the attributes and
    /// ignores the rest. For any other entry without attributes the number
    /// must be 0, or the kernel would count a lookup that never was.
    fn readdirplus(
        &self,
        _request: &Request,
        _node: INodeNo,
        handle: FileHandle,
        cookie: u64,
        mut reply: ReplyDirectoryPlus,
    ) {
        let _turn = self.readers.take();
        let outcome = self.run(&self.counters.readdirplus, |view| {
            Ok(view.readdirplus(fh(handle), cookie, &mut |item, entry| {
                let (lifetime, attr, generation) = match entry {
                    Some(e) => (e.attr.lifetime, convert::file_attr(&e.attr), e.generation),
                    None => {
                        let is_dot = matches!(item.name, b"." | b"..");
                        let number = if is_dot { item.ino } else { Ino::new(0) };
                        (Duration::ZERO, convert::no_attr(number, item.kind), 0)
                    }
                };
                let name = OsStr::from_bytes(item.name);
                convert::full(reply.add(
                    attr.ino,
                    item.cookie,
                    name,
                    &lifetime,
                    &attr,
                    Generation(generation),
                ))
            })?)
        });
        match outcome {
            Ok(()) => reply.ok(),
            Err(number) => reply.error(number),
        }
    }

    fn releasedir(
        &self,
        _request: &Request,
        _node: INodeNo,
        handle: FileHandle,
        _flags: OpenFlags,
        reply: ReplyEmpty,
    ) {
        self.unit(reply, &self.counters.releasedir, |view| {
            view.releasedir(fh(handle));
            Ok(())
        });
    }

    fn fsyncdir(
        &self,
        _request: &Request,
        _node: INodeNo,
        handle: FileHandle,
        _datasync: bool,
        reply: ReplyEmpty,
    ) {
        self.flush_unit(reply, &self.counters.fsyncdir, |view| {
            Ok(view.fsyncdir(fh(handle))?)
        });
    }

    fn statfs(&self, _request: &Request, _node: INodeNo, reply: ReplyStatfs) {
        self.room(reply, &self.counters.statfs, |view| Ok(view.statfs()?));
    }

    fn setxattr(
        &self,
        _request: &Request,
        node: INodeNo,
        name: &OsStr,
        value: &[u8],
        flags: i32,
        _position: u32,
        reply: ReplyEmpty,
    ) {
        self.unit(reply, &self.counters.setxattr, |view| {
            let mode = convert::xattr_mode(flags)?;
            Ok(view.setxattr(ino(node), name.as_bytes(), value, mode)?)
        });
    }

    fn getxattr(&self, _: &Request, node: INodeNo, name: &OsStr, room: u32, reply: ReplyXattr) {
        if name.as_bytes() == CAPABILITY {
            let _turn = self.readers.take();
            reply.error(self.decline(&self.counters.getxattr, BadRequest::NoAttribute));
            return;
        }
        self.xattr(reply, room, &self.counters.getxattr, |view| {
            Ok(view.getxattr(ino(node), name.as_bytes())?)
        });
    }

    fn listxattr(&self, _request: &Request, node: INodeNo, room: u32, reply: ReplyXattr) {
        self.xattr(reply, room, &self.counters.listxattr, |view| {
            let mut list = Vec::new();
            for name in view.listxattr(ino(node))? {
                list.extend_from_slice(&name);
                list.push(0);
            }
            Ok(list)
        });
    }

    fn removexattr(&self, _request: &Request, node: INodeNo, name: &OsStr, reply: ReplyEmpty) {
        self.unit(reply, &self.counters.removexattr, |view| {
            Ok(view.removexattr(ino(node), name.as_bytes())?)
        });
    }

    fn create(
        &self,
        request: &Request,
        parent: INodeNo,
        name: &OsStr,
        mode: u32,
        umask: u32,
        flags: i32,
        reply: ReplyCreate,
    ) {
        let how = convert::open_how(OpenFlags(flags));
        let _turn = self.readers.take();
        let outcome = self.run(&self.counters.create, |view| {
            let caller = convert::caller(request, umask);
            let mode = convert::permissions(mode);
            match view.create(&caller, ino(parent), &convert::name(name)?, mode, how) {
                Ok(created) => Ok(created),
                Err(FsError::Exists) if !convert::is_exclusive(flags) => {
                    Err(BadRequest::CreateRace.into())
                }
                Err(other) => Err(other.into()),
            }
        });
        match outcome {
            Ok((entry, opened)) => {
                self.note_open(entry.attr.ino, how);
                let attr = convert::file_attr(&entry.attr);
                let (handle, flags) = (FileHandle(opened.fh.get()), convert::file_flags(opened));
                reply.created(
                    &entry.attr.lifetime,
                    &attr,
                    Generation(entry.generation),
                    handle,
                    flags,
                );
            }
            Err(number) => reply.error(number),
        }
    }

    fn fallocate(
        &self,
        request: &Request,
        _node: INodeNo,
        handle: FileHandle,
        offset: u64,
        len: u64,
        mode: i32,
        reply: ReplyEmpty,
    ) {
        self.unit(reply, &self.counters.fallocate, |view| {
            let what = convert::fallocate(mode)?;
            Ok(view.fallocate(fh(handle), offset, len, what, &convert::caller(request, 0))?)
        });
    }

    fn lseek(
        &self,
        _request: &Request,
        node: INodeNo,
        handle: FileHandle,
        offset: i64,
        whence: i32,
        reply: ReplyLseek,
    ) {
        let _turn = self.readers.take();
        // A sparse file may be read to its end.
        self.readers.let_another_read();
        match convert::seek(offset, whence) {
            Ok((from, to)) => {
                let question = Question {
                    node: ino(node),
                    handle: fh(handle),
                    from,
                    to,
                };
                self.seeker.answer(question, reply);
            }
            Err(bad) => reply.error(self.decline(&self.counters.lseek, bad)),
        }
    }

    fn copy_file_range(
        &self,
        request: &Request,
        _node_in: INodeNo,
        handle_in: FileHandle,
        offset_in: u64,
        _node_out: INodeNo,
        handle_out: FileHandle,
        offset_out: u64,
        len: u64,
        _flags: CopyFileRangeFlags,
        reply: ReplyWrite,
    ) {
        self.written(reply, &self.counters.copy_file_range, |view| {
            let (from, to) = ((fh(handle_in), offset_in), (fh(handle_out), offset_out));
            let caller = convert::caller(request, 0);
            let copied = view.copy_range(from, to, convert::copy_len(len), &caller)?;
            Ok(u32::try_from(copied).expect("no more is copied than asked for"))
        });
    }

    declined! {
        /// Declined once and never asked again. The kernel still writes out
        /// what is dirty at close and reports its errors there.
        flush(INodeNo, FileHandle, LockOwner) ReplyEmpty => LeftToKernel;
        /// The mount has `default_permissions`: the kernel checks.
        access(INodeNo, AccessFlags) ReplyEmpty => LeftToKernel;
        /// Never asked: the kernel keeps locks itself, for this machine.
        getlk(INodeNo, FileHandle, LockOwner, u64, u64, i32, u32) ReplyLock => LeftToKernel;
        /// Never asked: the kernel keeps locks itself, for this machine.
        setlk(INodeNo, FileHandle, LockOwner, u64, u64, i32, u32, bool) ReplyEmpty => LeftToKernel;
        /// For file systems on block devices only.
        bmap(INodeNo, u32, u64) ReplyBmap => LeftToKernel;
        /// None is defined. ENOTTY, as any program expects of a plain file.
        ioctl(INodeNo, FileHandle, IoctlFlags, u32, &[u8], u32) ReplyIoctl => NoIoctl;
        /// The kernel then calls regular files always ready.
        poll(INodeNo, FileHandle, PollNotifier, PollEvents, PollFlags) ReplyPoll => LeftToKernel;
    }
}
