//! The thread that tells the kernel of changes made underneath, as soon as
//! this machine's kernel tells of them (inotify). Where it does not (no
//! watches left, a backing over a network), they are seen after the cache timeout.
//!
//! It alone sleeps in calls that may wait for requests, and it holds no lock
//! meanwhile; nobody waits for it while the mount is served.

use std::io;
use std::sync::Arc;
use std::sync::mpsc::{Receiver, RecvTimeoutError, Sender, channel};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use crate::fuse::tell::Teller;
use crate::view::View;

/// After each round changes gather for so long and are dealt with together:
/// of many to one file, one is looked at.
const PACE: Duration = Duration::from_millis(50);

/// How long it may take to end, once the mount is off and nobody can keep it.
const PATIENCE: Duration = Duration::from_secs(1);

/// Follows the backing until this is dropped, after the session's end.
pub(super) struct WatchThread {
    view: Arc<View>,
    thread: Option<JoinHandle<()>>,
    /// Disconnected when the thread ends.
    running: Receiver<()>,
}

impl WatchThread {
    /// Begins to follow the directories that `view` uses. `None` where the
    /// kernel believes nothing for any time, where there is no inotify, or where it
    /// would tell of little but our own changes, to look at each of which is a round
    /// trip: on a network.
    pub(super) fn start(view: &Arc<View>, teller: Teller, timeout: Duration) -> Option<Self> {
        if timeout.is_zero() || view.is_on_remote_backing() {
            return None;
        }
        let (ends, running) = channel();
        let started = view
            .follow_changes()
            .and_then(|()| spawn(Arc::clone(view), teller, ends));
        match started {
            Ok(thread) => Some(Self {
                view: Arc::clone(view),
                thread: Some(thread),
                running,
            }),
            Err(error) => {
                tracing::warn!(
                    "changes made underneath are seen after the cache timeout only: {error}"
                );
                None
            }
        }
    }
}

fn spawn(view: Arc<View>, teller: Teller, ends: Sender<()>) -> io::Result<JoinHandle<()>> {
    thread::Builder::new()
        .name("watch".to_owned())
        .spawn(move || {
            let _dropped_at_the_end = ends;
            while view.wait_for_changes() {
                view.report_changes(&mut |change| teller.tell(change));
                thread::park_timeout(PACE);
            }
        })
}

impl Drop for WatchThread {
    fn drop(&mut self) {
        let Some(thread) = self.thread.take() else {
            return;
        };
        self.view.follow_no_longer();
        thread.thread().unpark();
        if self.running.recv_timeout(PATIENCE) == Err(RecvTimeoutError::Timeout) {
            tracing::warn!("the thread that follows the backing does not end");
        } else if thread.join().is_err() {
            tracing::error!("the thread that follows the backing panicked");
        }
    }
}
