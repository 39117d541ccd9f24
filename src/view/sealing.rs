//! Files whose last writer is gone, or rests: their content is sealed, and what
//! the journal has of them is put in place.
//!
//! **Locks**: `open` of one node at a time, over the flushing of its file.
//!
//! **Durability**: what is put in place is safe there before the journal lets
//! go of it.

use std::io;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::thread;
use std::time::Duration;

use parking_lot::Mutex;

use super::inodes::{Node, OpenState};
use super::watches::Suspect;
use super::{FsError, View};
use crate::types::{Fh, SetTime};
use crate::vault::file::{File, FileError, SEEN_AFTER};
use crate::vault::journal::Journal;

/// How long a file that is open for writing must have rested before it is sealed.
pub const IDLE_BEFORE_SEAL: Duration = Duration::from_secs(10);

/// How long the header of a file says that its slots are about to be replaced
/// before they are: what was being copied is whole by then.
pub const ANNOUNCED_BEFORE_CHANGE: Duration = Duration::from_millis(900);

/// Flushes of so many files are asked for at once: the backing's file system
/// makes one of them.
const FLUSHES_AT_ONCE: usize = 8;

/// Which changed files are sealed.
#[derive(Clone, Copy, Debug)]
enum Due {
    /// All.
    Now,
    /// Those that nobody changed for so long, and the closed ones; if the journal
    /// has changes of them, in two rounds.
    Idle(Duration),
}

impl Due {
    fn includes(self, open: &OpenState, file: &File) -> bool {
        // Nobody writes to it any more: it is to be let go, sealed or not.
        let is_closed = open.writers == 0;
        let rested = file.unsealed_for();
        is_closed
            || match self {
                Self::Now => rested.is_some(),
                Self::Idle(idle) => {
                    file.is_announced() || rested.is_some_and(|rested| rested >= idle)
                }
            }
    }
}

impl View {
    /// Closes a handle. When the last one that may write goes, the file is
    /// sealed: at once if it stands in its place, and soon if changes of it are
    /// in the journal, which are as safe there.
    pub fn release(&self, fh: Fh) {
        let Some(handle) = self.handles.remove_file(fh) else {
            return;
        };
        let (node, file) = (&handle.node, &handle.file);
        let mut open = node.open.lock();
        open.handles = open.handles.saturating_sub(1);
        if handle.access.writes() {
            open.writers = open.writers.saturating_sub(1);
        }
        if open.writers > 0 {
            return;
        }
        let may_wait = node.link().is_some() && file.is_in_journal();
        if may_wait || (file.is_writable() && self.finish(node, file, &open).is_err()) {
            // Kept, with its changes accounted for.
            return;
        }
        self.let_go(node, &mut open, file);
    }

    /// Nobody writes to the file and nothing of it is left to be sealed.
    fn let_go(&self, node: &Arc<Node>, open: &mut OpenState, file: &File) {
        self.writing.lock().remove(&node.ino);
        if open.handles == 0 {
            open.file = None;
            if std::mem::take(&mut open.changed_underneath) {
                self.suspect(Suspect::File(node.ino));
            }
            self.inodes.collect(node, open);
        } else if let Err(error) = file.drop_writer() {
            tracing::warn!(%error, "a writable descriptor is kept longer than needed");
        }
    }

    /// The last name of a file seems to be gone. If it is, and nobody has it open
    /// either, what the journal has of it is void.
    pub(super) fn forget_closed(&self, node: &Arc<Node>) {
        let mut open = node.open.lock();
        if open.handles == 0
            && let Some(file) = open.file.clone()
            // Another thread may have given it a second name meanwhile.
            && file.store().is_ok_and(|store| store.stat().is_ok_and(|stat| stat.nlink == 0))
        {
            file.abandon();
            self.let_go(node, &mut open, &file);
        }
    }

    /// Seals a file unless it is deleted, and records how the backing looks.
    fn finish(&self, node: &Node, file: &File, open: &OpenState) -> Result<(), FsError> {
        self.changing_object(node);
        let result = file.store().and_then(|store| {
            // Asked only where no name is known: on a backing over a network it
            // is a round trip after each write.
            let is_deleted = || match store.stat() {
                Ok(stat) => Ok::<_, FileError>(stat.nlink == 0),
                Err(error) if is_forgotten(&error) => Ok(true),
                Err(error) => Err(error.into()),
            };
            if node.link().is_none() && is_deleted()? {
                return Self::finish_deleted(file, open);
            }
            let (_, asked) = file.pending_times();
            if let Some(rested) = file.unsealed_for() {
                node.leave_behind();
                if file.is_in_journal() || rested > SEEN_AFTER {
                    // Sync clients may have seen it as it is now; those for
                    // which newer wins shall take what it becomes.
                    let look = store.stat()?;
                    node.leave_behind_as(&look);
                    file.become_later_than(look.mtime);
                }
            }
            match file.seal() {
                // Somebody else deleted it underneath.
                Err(_) if is_deleted()? => return Self::finish_deleted(file, open),
                sealed => sealed?,
            }
            node.saw_times(&store.stat()?, |mtime| {
                store.set_times(SetTime::Omit, mtime)?;
                store.stat()
            });
            node.note_moved(asked);
            *node.cached.lock() = file.content_mark();
            Ok(())
        });
        result.map_err(|error| self.kept(file, error))
    }

    /// What the journal has of a deleted file is put in its place while somebody
    /// may read it there, and void after.
    fn finish_deleted(file: &File, open: &OpenState) -> Result<(), FileError> {
        let is_forgotten = file
            .store()?
            .stat()
            .is_err_and(|error| is_forgotten(&error));
        if open.handles == 0 || is_forgotten {
            file.abandon();
        } else if file.is_in_journal() || file.unsealed_for().is_none() {
            file.seal()?;
        }
        Ok(())
    }

    /// Counts a failed seal: the changes stay where they are, for the next try.
    fn kept(&self, file: &File, error: FileError) -> FsError {
        self.counters.failed_seals.fetch_add(1, Ordering::Relaxed);
        tracing::error!(file_id = %file.keys().file_id(), %error, "a file could not be sealed");
        error.into()
    }

    /// For how long the file has said that it is about to change; says so if it
    /// did not. `None` if there is nothing to say.
    fn announce(&self, node: &Node, file: &File) -> Result<Option<Duration>, FileError> {
        if file.is_in_journal() {
            node.leave_behind_as(&file.store()?.stat()?);
        }
        file.announce_change()
    }

    /// Seals every file that nobody changed for `idle`, and those that were
    /// closed; all if that is zero. To be called about once a second.
    pub fn seal_idle(&self, idle: Duration) {
        // What fails is logged and counted, and tried again next time.
        let _ = self.seal_where(if idle.is_zero() {
            Due::Now
        } else {
            Due::Idle(idle)
        });
        self.relieve_journal(Journal::is_gone);
        if let Some(journal) = self.vault.journal() {
            journal.tidy(idle);
        }
    }

    /// Puts everything in place if it is `due` for the journal; one thread does,
    /// the others go on.
    pub(super) fn relieve_journal(&self, due: impl FnOnce(&Journal) -> bool) {
        if self.vault.journal().is_some_and(|journal| due(journal))
            && let Some(_turn) = self.relieving.try_lock()
        {
            // What fails is logged and counted, and stays in the journal.
            let _ = self.seal_where(Due::Now);
        }
    }

    /// Makes a change of a file; if the backing has no room for it, once more
    /// after everything in the journal was put in place, which makes some there.
    pub(super) fn with_room<T>(
        &self,
        change: impl Fn() -> Result<T, FileError>,
    ) -> Result<T, FileError> {
        match change() {
            Err(error) if error.is_no_room() && self.empty_journal() => change(),
            changed => changed,
        }
    }

    /// Whether there was something in the journal that could be put in place.
    fn empty_journal(&self) -> bool {
        let _turn = self.relieving.lock();
        let has_changes = |journal: &Arc<Journal>| !journal.is_empty();
        self.vault.journal().is_some_and(has_changes) && self.seal_where(Due::Now).is_ok()
    }

    /// Seals every changed file: after the session has ended, whatever the
    /// kernel did not get to say any more.
    ///
    /// # Errors
    /// The first failure; all files are tried.
    pub fn seal_all(&self) -> Result<(), FsError> {
        let sealed = self.seal_where(Due::Now);
        if let Some(journal) = self.vault.journal() {
            journal.tidy(Duration::ZERO);
        }
        sealed
    }

    fn seal_where(&self, due: Due) -> Result<(), FsError> {
        let mut nodes: Vec<_> = self.writing.lock().values().cloned().collect();
        nodes.retain(|node| {
            let open = node.open.lock();
            let file = open.file.as_ref();
            file.is_some_and(|file| due.includes(&open, file))
        });
        let threads = nodes.len().min(FLUSHES_AT_ONCE);
        let left = Mutex::new(nodes.into_iter());
        let next = || left.lock().next();
        let seal_some = || {
            let mut result = Ok(());
            while let Some(node) = next() {
                result = result.and(self.seal_node(&node, due));
            }
            result
        };
        thread::scope(|scope| {
            let helpers: Vec<_> = (1..threads)
                .filter_map(|_| thread::Builder::new().spawn_scoped(scope, seal_some).ok())
                .collect();
            let own = seal_some();
            helpers
                .into_iter()
                .fold(own, |result, helper| match helper.join() {
                    Ok(sealed) => result.and(sealed),
                    Err(panic) => std::panic::resume_unwind(panic),
                })
        })
    }

    fn seal_node(&self, node: &Arc<Node>, due: Due) -> Result<(), FsError> {
        let mut open = node.open.lock();
        let Some(file) = open.file.clone() else {
            return Ok(());
        };
        if !due.includes(&open, &file) {
            return Ok(());
        }
        if let Due::Idle(_) = due {
            let announced = self.announce(node, &file);
            if let Some(since) = announced.map_err(|error| self.kept(&file, error))?
                && since < ANNOUNCED_BEFORE_CHANGE
            {
                // The next round puts it in place.
                return Ok(());
            }
        }
        self.finish(node, &file, &open)?;
        if open.writers == 0 {
            self.let_go(node, &mut open, &file);
        }
        Ok(())
    }
}

/// Whether a backing over a network has forgotten a file, open or not: nobody can
/// read it any more.
fn is_forgotten(error: &io::Error) -> bool {
    matches!(error.raw_os_error(), Some(libc::ESTALE | libc::ENOENT))
}
