//! SEEK_DATA and SEEK_HOLE when the kernel has bytes we have not seen.
//!
//! With the writeback cache, lseek(2) reaches us without the file's dirty
//! pages being written first: what was written a moment ago would be called a
//! hole, and a copying program would lose it. So while a file is open for
//! writing, the kernel is told to give up its pages of it, which writes them
//! out, and only then is the question answered.
//!
//! Giving up pages means WRITE requests, and the thread that asked sleeps
//! until they are done. If reader threads did this, all of them could sleep
//! with nobody left to serve the writes. One thread of its own does it.

use std::collections::HashMap;
use std::io;
use std::sync::mpsc::{Receiver, Sender, channel};
use std::sync::{Arc, OnceLock};
use std::thread::JoinHandle;

use fuser::{Errno, INodeNo, Notifier, ReplyLseek};
use parking_lot::Mutex;

use super::counters::Counters;
use super::guard::guarded;
use super::session::Writeback;
use crate::types::{Fh, Ino};
use crate::view::{SeekTo, View};

/// What lseek(2) asks.
#[derive(Clone, Copy)]
pub(super) struct Question {
    pub(super) node: Ino,
    pub(super) handle: Fh,
    pub(super) from: u64,
    pub(super) to: SeekTo,
}

/// Answers questions: at once where the kernel can hold no unseen bytes,
/// through the flushing thread otherwise.
pub(super) struct Seeker {
    shared: Arc<Shared>,
    writeback: Writeback,
    writers: Writers,
    queue: Sender<(Question, ReplyLseek)>,
}

struct Shared {
    view: Arc<View>,
    counters: Arc<Counters>,
    /// Set once the session exists, before it serves its first request.
    notifier: OnceLock<Notifier>,
}

/// Open handles that may write, per file. The kernel holds dirty pages of no
/// other file: closing the last such handle writes them out first, and so
/// does unmapping. A leaf lock: nothing is called while it is held.
#[derive(Default)]
struct Writers(Mutex<HashMap<Ino, u64>>);

impl Writers {
    fn opened(&self, node: Ino) {
        *self.0.lock().entry(node).or_insert(0) += 1;
    }

    fn closed(&self, node: Ino) {
        let mut open = self.0.lock();
        let Some(count) = open.get_mut(&node) else {
            return;
        };
        *count -= 1;
        if *count == 0 {
            open.remove(&node);
        }
    }

    fn any(&self, node: Ino) -> bool {
        self.0.lock().contains_key(&node)
    }
}

/// The flushing thread. It ends when its [`Seeker`] is dropped.
pub(super) struct FlushThread {
    shared: Arc<Shared>,
    thread: JoinHandle<()>,
}

impl FlushThread {
    /// Hands over the way to talk to the kernel. Until then questions are
    /// answered without flushing; no file is open yet.
    pub(super) fn connect(&self, notifier: Notifier) {
        let _only_once = self.shared.notifier.set(notifier);
    }

    /// Waits for the thread to end. The session must be over.
    pub(super) fn join(self) {
        // Its work runs in the panic guard: there is no payload to look at.
        let _ended = self.thread.join();
    }
}

impl Seeker {
    /// Starts the flushing thread.
    ///
    /// # Errors
    /// No thread to be had.
    pub(super) fn start(
        view: Arc<View>,
        counters: Arc<Counters>,
        writeback: Writeback,
    ) -> io::Result<(Self, FlushThread)> {
        let shared = Arc::new(Shared {
            view,
            counters,
            notifier: OnceLock::new(),
        });
        let (queue, questions) = channel();
        let worker = Arc::clone(&shared);
        let thread = std::thread::Builder::new()
            .name("keepfs-seek".to_owned())
            .spawn(move || worker.serve(&questions))?;
        let flusher = FlushThread {
            shared: Arc::clone(&shared),
            thread,
        };
        Ok((
            Self {
                shared,
                writeback,
                writers: Writers::default(),
                queue,
            },
            flusher,
        ))
    }

    /// A handle that may write was opened.
    pub(super) fn writer_opened(&self, node: Ino) {
        self.writers.opened(node);
    }

    /// A handle that may write was released.
    pub(super) fn writer_closed(&self, node: Ino) {
        self.writers.closed(node);
    }

    /// Replies now or, from the flushing thread, as soon as the kernel's
    /// unseen bytes are written.
    pub(super) fn answer(&self, question: Question, reply: ReplyLseek) {
        let unseen = match self.writeback {
            Writeback::On => self.writers.any(question.node),
            Writeback::Off => false,
        };
        if !unseen {
            self.shared.reply(question, reply);
        } else if let Err(returned) = self.queue.send((question, reply)) {
            // The thread is gone, which it is not before the session's end.
            let (_question, reply) = returned.0;
            reply.error(Errno::EIO);
        }
    }
}

impl Shared {
    fn serve(&self, questions: &Receiver<(Question, ReplyLseek)>) {
        for (question, reply) in questions {
            if let Some(notifier) = self.notifier.get() {
                // An error means that the kernel holds nothing: no such node,
                // or no such mount any more.
                let _flushed = notifier.inval_inode(INodeNo(question.node.get()), 0, 0);
            }
            self.reply(question, reply);
        }
    }

    fn reply(&self, question: Question, reply: ReplyLseek) {
        let outcome = guarded(&self.counters, &self.counters.lseek, || {
            let found = self
                .view
                .seek(question.handle, question.from, question.to)?;
            Ok(i64::try_from(found).expect("the view keeps sizes below i64::MAX"))
        });
        match outcome {
            Ok(offset) => reply.offset(offset),
            Err(number) => reply.error(number),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_has_writers_until_the_last_one_closes() {
        let writers = Writers::default();
        let (a, b) = (Ino::new(2), Ino::new(3));
        writers.opened(a);
        writers.opened(a);
        writers.opened(b);
        writers.closed(a);
        assert!(writers.any(a) && writers.any(b));
        writers.closed(a);
        writers.closed(b);
        assert!(!writers.any(a) && !writers.any(b));
    }

    #[test]
    fn closing_more_than_was_opened_is_harmless() {
        let writers = Writers::default();
        writers.closed(Ino::ROOT);
        assert!(!writers.any(Ino::ROOT));
    }
}
