//! inotify(7): what happens to the entries of directories, told by the kernel
//! of this machine. Changes that another machine makes on a network backing
//! are not among it.

use std::io;
use std::mem::MaybeUninit;
use std::os::fd::{BorrowedFd, OwnedFd};

use parking_lot::Mutex;
use rustix::event::{EventfdFlags, PollFd, PollFlags, eventfd, poll};
use rustix::fs::inotify::{self, CreateFlags, ReadFlags, Reader, WatchFlags};
use rustix::io::Errno;

use super::fs::proc_path;

/// Room for some 600 events with names of the usual length.
const BUFFER: usize = 64 << 10;

/// A watched directory.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct WatchId(i32);

/// What of a directory's entries is told.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Told {
    /// That they come, go, or are closed by somebody who could write to them.
    Names,
    /// Changes of attributes and single writes, too, of which our own are many:
    /// telling them of every directory cost more than all the rest when measured.
    Everything,
}

/// What happened.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Event<'a> {
    /// Something that is told of an entry.
    Entry(WatchId, &'a [u8]),
    /// The directory is gone, or is no longer watched.
    Ended(WatchId),
    /// Events were lost.
    Overflow,
}

/// A queue of events, and a bell that wakes whoever waits for it.
#[derive(Debug)]
pub struct Inotify {
    queue: OwnedFd,
    bell: OwnedFd,
    buffer: Mutex<Box<[MaybeUninit<u8>]>>,
}

impl Inotify {
    /// An empty queue.
    ///
    /// # Errors
    /// What inotify_init1(2) and eventfd(2) say.
    pub fn new() -> io::Result<Self> {
        Ok(Self {
            queue: inotify::init(CreateFlags::CLOEXEC | CreateFlags::NONBLOCK)?,
            bell: eventfd(0, EventfdFlags::CLOEXEC | EventfdFlags::NONBLOCK)?,
            buffer: Mutex::new(vec![MaybeUninit::uninit(); BUFFER].into()),
        })
    }

    /// Watches an open directory. The watch goes with the directory, not with
    /// the descriptor; watching it again is the same watch, with what is told
    /// from then on.
    ///
    /// # Errors
    /// What inotify_add_watch(2) says, `ENOSPC` where the user has no more.
    pub(super) fn watch(&self, dir: BorrowedFd<'_>, told: Told) -> io::Result<WatchId> {
        let names = WatchFlags::CREATE
            | WatchFlags::DELETE
            | WatchFlags::MOVE
            | WatchFlags::CLOSE_WRITE
            | WatchFlags::EXCL_UNLINK
            | WatchFlags::ONLYDIR;
        let what = match told {
            Told::Names => names,
            Told::Everything => names | WatchFlags::ATTRIB | WatchFlags::MODIFY,
        };
        Ok(WatchId(inotify::add_watch(
            &self.queue,
            proc_path(dir),
            what,
        )?))
    }

    /// Watches it no longer.
    pub fn unwatch(&self, watch: WatchId) {
        // An error says that it has ended by itself.
        let _ended = inotify::remove_watch(&self.queue, watch.0);
    }

    /// Ends a [`wait`](Self::wait), or the next one if nobody waits.
    pub fn ring(&self) {
        // Any number but 0 rings; full means that it rings already.
        let _rings = rustix::io::write(&self.bell, &[1; 8]);
    }

    /// Waits for an event or the bell.
    ///
    /// # Errors
    /// What poll(2) says.
    pub fn wait(&self) -> io::Result<()> {
        let mut fds = [
            PollFd::new(&self.queue, PollFlags::IN),
            PollFd::new(&self.bell, PollFlags::IN),
        ];
        match poll(&mut fds, None) {
            Ok(_) | Err(Errno::INTR) => {}
            Err(error) => return Err(error.into()),
        }
        let mut count = [0; 8];
        // Nothing there means that it did not ring.
        let _heard = rustix::io::read(&self.bell, &mut count);
        Ok(())
    }

    /// Hands out the events that are there, in their order.
    ///
    /// # Errors
    /// What read(2) says.
    pub fn read(&self, each: &mut dyn FnMut(Event<'_>)) -> io::Result<()> {
        let mut buffer = self.buffer.lock();
        let mut events = Reader::new(&self.queue, &mut buffer);
        loop {
            let event = match events.next() {
                Ok(event) => event,
                Err(Errno::AGAIN) => return Ok(()),
                Err(Errno::INTR) => continue,
                Err(error) => return Err(error.into()),
            };
            let watch = WatchId(event.wd());
            if event.events().contains(ReadFlags::QUEUE_OVERFLOW) {
                each(Event::Overflow);
            } else if event.events().contains(ReadFlags::IGNORED) {
                each(Event::Ended(watch));
            } else if let Some(name) = event.file_name() {
                each(Event::Entry(watch, name.to_bytes()));
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::os::fd::AsFd;

    use super::*;

    #[test]
    fn entries_that_come_and_go_are_told_by_name_and_the_bell_ends_a_wait() {
        let dir = tempfile::tempdir().expect("a directory");
        let opened = std::fs::File::open(dir.path()).expect("it opens");
        let inotify = Inotify::new().expect("inotify is there");
        let watch = inotify
            .watch(opened.as_fd(), Told::Names)
            .expect("it is watched");
        std::fs::write(dir.path().join("a"), b"x").expect("it is written");
        std::fs::remove_file(dir.path().join("a")).expect("it is removed");
        inotify.wait().expect("it waits");
        let mut names = 0;
        inotify
            .read(&mut |event| {
                assert_eq!(event, Event::Entry(watch, b"a"));
                names += 1;
            })
            .expect("it reads");
        assert_eq!(names, 3);
        inotify.ring();
        inotify.wait().expect("it rang");
        inotify.unwatch(watch);
        let mut ended = false;
        inotify
            .read(&mut |event| ended |= event == Event::Ended(watch))
            .expect("it reads");
        assert!(ended);
    }
}
