//! Floor 5: the adapter between the kernel and the view. Each operation
//! converts its arguments, calls the view once and replies; there is no
//! file-system logic here.
//!
//! * [`session`]: the connection: what is negotiated, how many threads.
//! * [`tell`]: telling the kernel what is outdated.
//! * [`counters`]: how many requests of each kind came.
//! * `operations`: one method per request, the whole of [`fuser::Filesystem`].
//! * `convert`: fuser's types to ours and back.
//! * `guard`: runs each request so that a defect costs that request alone.
//! * `readers`: which of the threads reads the next request, and how it waits.
//! * `errno`: the one table from errors to numbers.
//! * `seek`: SEEK_DATA and SEEK_HOLE on files with bytes only the kernel has.
//!
//! Every operation of [`fuser::Filesystem`] is overridden: the default
//! methods of fuser hand names to the `log` crate. keepfs installs no logger
//! for that crate, so nothing fuser says is ever written anywhere.

pub mod counters;
pub mod session;
pub mod tell;

mod convert;
mod errno;
mod guard;
mod operations;
mod readers;
mod seek;

use std::sync::Arc;
use std::time::Duration;

use fuser::{
    Errno, Generation, ReplyAttr, ReplyData, ReplyEmpty, ReplyEntry, ReplyStatfs, ReplyWrite,
    ReplyXattr,
};

use self::counters::{Counter, Counters};
use self::errno::{BadRequest, Refusal, errno};
use self::guard::guarded;
use self::readers::Readers;
use self::seek::Seeker;
use self::session::Writeback;
use crate::types::Ino;
use crate::view::{Attr, Entry, OpenHow, StatFs, View};

/// Largest value or list of names of extended attributes on Linux
/// (`XATTR_SIZE_MAX`), in bytes.
const XATTR_LIMIT: usize = 64 << 10;

/// Serves one mount. Shared by all reader threads; holds no lock of its own
/// while the view works.
pub struct Adapter {
    view: Arc<View>,
    ttl: Duration,
    writeback: Writeback,
    counters: Arc<Counters>,
    seeker: Seeker,
    readers: Arc<Readers>,
}

/// Runs a request and sends the reply that its kind calls for.
impl Adapter {
    fn run<T>(
        &self,
        counter: &Counter,
        work: impl FnOnce(&View) -> Result<T, Refusal>,
    ) -> Result<T, Errno> {
        guarded(&self.counters, counter, || work(&self.view))
    }

    fn decline(&self, counter: &Counter, why: BadRequest) -> Errno {
        counter.hit();
        errno(&why.into())
    }

    fn unit(
        &self,
        reply: ReplyEmpty,
        counter: &Counter,
        work: impl FnOnce(&View) -> Result<(), Refusal>,
    ) {
        let _turn = self.readers.take();
        match self.run(counter, work) {
            Ok(()) => reply.ok(),
            Err(number) => reply.error(number),
        }
    }

    /// The same for what waits for a disk, if there is one.
    fn flush_unit(
        &self,
        reply: ReplyEmpty,
        counter: &Counter,
        work: impl FnOnce(&View) -> Result<(), Refusal>,
    ) {
        self.unit(reply, counter, |view| self.readers.flush(|| work(view)));
    }

    fn entry(
        &self,
        reply: ReplyEntry,
        counter: &Counter,
        work: impl FnOnce(&View) -> Result<Entry, Refusal>,
    ) {
        let _turn = self.readers.take();
        match self.run(counter, work) {
            Ok(entry) => {
                let attr = convert::file_attr(&entry.attr);
                reply.entry(&entry.attr.lifetime, &attr, Generation(entry.generation));
            }
            Err(number) => reply.error(number),
        }
    }

    fn attr(
        &self,
        reply: ReplyAttr,
        counter: &Counter,
        work: impl FnOnce(&View) -> Result<Attr, Refusal>,
    ) {
        let _turn = self.readers.take();
        match self.run(counter, work) {
            Ok(attr) => reply.attr(&attr.lifetime, &convert::file_attr(&attr)),
            Err(number) => reply.error(number),
        }
    }

    fn room(
        &self,
        reply: ReplyStatfs,
        counter: &Counter,
        work: impl FnOnce(&View) -> Result<StatFs, Refusal>,
    ) {
        let _turn = self.readers.take();
        match self.run(counter, work) {
            Ok(room) => reply.statfs(
                room.blocks,
                room.blocks_free,
                room.blocks_available,
                room.files,
                room.files_free,
                room.block_size,
                room.name_max,
                room.block_size,
            ),
            Err(number) => reply.error(number),
        }
    }

    fn bytes(
        &self,
        reply: ReplyData,
        counter: &Counter,
        work: impl FnOnce(&View) -> Result<Vec<u8>, Refusal>,
    ) {
        let _turn = self.readers.take();
        match self.run(counter, work) {
            Ok(bytes) => reply.data(&bytes),
            Err(number) => reply.error(number),
        }
    }

    fn written(
        &self,
        reply: ReplyWrite,
        counter: &Counter,
        work: impl FnOnce(&View) -> Result<u32, Refusal>,
    ) {
        let _turn = self.readers.take();
        match self.run(counter, work) {
            Ok(count) => reply.written(count),
            Err(number) => reply.error(number),
        }
    }

    /// A value or list of an extended attribute: its size if `room` is 0,
    /// itself if it fits, else ERANGE; getxattr(2).
    fn xattr(
        &self,
        reply: ReplyXattr,
        room: u32,
        counter: &Counter,
        work: impl FnOnce(&View) -> Result<Vec<u8>, Refusal>,
    ) {
        let _turn = self.readers.take();
        let sized = self.run(counter, |view| {
            let bytes = work(view)?;
            match u32::try_from(bytes.len()) {
                Ok(len) if bytes.len() > XATTR_LIMIT => Err(BadRequest::HugeAnswer(len).into()),
                Ok(len) if room != 0 && room < len => Err(BadRequest::SmallBuffer.into()),
                Ok(len) => Ok((bytes, len)),
                Err(_) => Err(BadRequest::HugeAnswer(u32::MAX).into()),
            }
        });
        match sized {
            Ok((_, len)) if room == 0 => reply.size(len),
            Ok((bytes, _)) => reply.data(&bytes),
            Err(number) => reply.error(number),
        }
    }

    /// Remembers a handle that may write; see [`Seeker`].
    fn note_open(&self, node: Ino, how: OpenHow) {
        if how.access.writes() {
            self.seeker.writer_opened(node);
        }
    }

    /// Forgets a handle that might write.
    fn note_release(&self, node: Ino, how: OpenHow) {
        if how.access.writes() {
            self.seeker.writer_closed(node);
        }
    }
}
