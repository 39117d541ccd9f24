//! How long the kernel may believe what it is told.
//!
//! As long as the user says (`--cache-timeout`). If nothing is said, for a second,
//! and for a minute where this machine's kernel tells of every change in the
//! directory concerned: the thread that follows the backing then corrects what
//! was believed. That takes a watch on attributes and single writes, too, of
//! which our own are many; so a directory is watched so closely only once
//! nothing of ours has changed in it for a moment.
//!
//! **Locks**: none.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use super::View;
use super::inodes::Node;
use super::watches::Watches;
use crate::sys::fs::Stat;
use crate::types::FileKind;

/// So long nothing of ours must have changed in a directory before it is watched
/// closely.
const QUIET: Duration = Duration::from_millis(500);

/// What the kernel may believe of the entries of one directory that is followed.
#[derive(Debug)]
pub struct Belief {
    began: Instant,
    /// Whether it is watched closely.
    closely: AtomicBool,
    /// Until when something may be believed; like all times here, in milliseconds
    /// since the beginning.
    until: AtomicU64,
    /// When we last changed something in it.
    changed: AtomicU64,
}

impl Belief {
    pub(super) fn new() -> Self {
        Self {
            began: Instant::now(),
            closely: AtomicBool::new(false),
            until: AtomicU64::new(0),
            changed: AtomicU64::new(0),
        }
    }

    fn now(&self) -> u64 {
        millis(self.began.elapsed())
    }

    /// Whether every change in it is told.
    pub(super) fn is_close(&self) -> bool {
        self.closely.load(Ordering::SeqCst)
    }

    /// From here on every change in it is told, or no longer.
    pub(super) fn set_close(&self, closely: bool) {
        self.closely.store(closely, Ordering::SeqCst);
    }

    /// Whether the kernel may still believe something of it.
    pub(super) fn is_believed(&self) -> bool {
        self.until.load(Ordering::SeqCst) > self.now()
    }

    /// Has less told from here on, unless the kernel believes something of it.
    pub(super) fn let_go(&self) -> bool {
        self.set_close(false);
        let free = !self.is_believed();
        if !free {
            self.set_close(true);
        }
        free
    }

    fn is_quiet(&self) -> bool {
        self.now() >= self.changed.load(Ordering::Relaxed) + millis(QUIET)
    }

    fn is_told(&self, lifetime: Duration) {
        let until = self.now() + millis(lifetime);
        self.until.fetch_max(until, Ordering::SeqCst);
    }
}

fn millis(time: Duration) -> u64 {
    u64::try_from(time.as_millis()).unwrap_or(u64::MAX / 2)
}

/// A moment before the backing is looked at: what happens after it was told
/// only after it.
#[derive(Clone, Copy, Debug)]
pub(super) struct Moment(Option<u64>);

impl Moment {
    /// None that is worth remembering: what is told now changes soon.
    pub(super) const NONE: Self = Self(None);
}

impl View {
    /// Now.
    pub(super) fn moment(&self) -> Moment {
        let watches = self.watches.get();
        Moment(
            watches
                .filter(|watches| watches.miss_nothing())
                .map(Watches::round),
        )
    }

    /// How long the kernel may believe what `stat` has shown since `moment` of an
    /// object that nobody has open. Whoever is asked records first how the object
    /// looked.
    pub(super) fn lifetime(
        &self,
        moment: Moment,
        parent: Option<&Arc<Node>>,
        node: &Node,
        stat: &Stat,
    ) -> Duration {
        let usual = self.options.freshness;
        let (Some(watches), Moment(Some(round))) = (self.watches.get(), moment) else {
            return usual;
        };
        if self.options.followed <= usual {
            return usual;
        }
        // A file of more names may be changed by way of another directory.
        let other_ways = node.kind != FileKind::Directory && stat.nlink > 1;
        let is_told = !other_ways
            && parent.is_none_or(|parent| self.watch_closely(watches, parent))
            && (node.kind != FileKind::Directory || self.watch_closely(watches, node));
        // What was told meanwhile may have been about what `stat` does not show yet.
        if !is_told || watches.has_ended() || watches.round() != round {
            return usual;
        }
        for dir in parent.map(Arc::as_ref).into_iter().chain([node]) {
            if let Some(belief) = dir.belief.get() {
                belief.is_told(self.options.followed);
            }
        }
        // Only now: it may have been let go of before that was noted.
        let still = parent.is_none_or(|parent| is_close(parent))
            && (node.kind != FileKind::Directory || is_close(node));
        if still { self.options.followed } else { usual }
    }

    /// Whether every change in a directory has been told for a while. If not, and
    /// nothing of ours changes in it, it is from here on.
    fn watch_closely(&self, watches: &Watches, node: &Node) -> bool {
        let Some(belief) = node.belief.get() else {
            return false;
        };
        if !belief.is_quiet() || node.key().dev != self.inodes.device() {
            return false;
        }
        if belief.is_close() {
            return true;
        }
        if let Some(dir) = self.directories.find(node.ino) {
            watches.watch_closely(node.ino, belief, dir.store());
        }
        false
    }

    /// Something in a directory is about to be changed by us.
    pub(super) fn changing(&self, node: &Node) {
        let Some(belief) = node.belief.get() else {
            return;
        };
        belief.changed.store(belief.now(), Ordering::Relaxed);
        self.relax(node, belief);
    }

    /// Watches a directory less closely if the kernel believes nothing of it.
    pub(super) fn relax(&self, node: &Node, belief: &Belief) {
        if belief.is_close()
            && !belief.is_believed()
            && let (Some(watches), Some(dir)) =
                (self.watches.get(), self.directories.find(node.ino))
        {
            watches.watch_names(belief, dir.store());
        }
    }

    /// The same of the directory that an object is in.
    pub(super) fn changing_object(&self, node: &Node) {
        if let Some(link) = node.link() {
            self.changing(&link.parent);
        }
    }
}

fn is_close(node: &Node) -> bool {
    node.belief.get().is_some_and(|belief| belief.is_close())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_believed_is_not_let_go_of() {
        let belief = Belief::new();
        belief.set_close(true);
        belief.is_told(Duration::from_secs(60));
        assert!(!belief.let_go() && belief.is_close());
        let belief = Belief::new();
        belief.set_close(true);
        belief.is_told(Duration::ZERO);
        assert!(belief.let_go() && !belief.is_close());
    }

    #[test]
    fn a_directory_rests_once_nothing_of_ours_changes_in_it() {
        let belief = Belief::new();
        assert!(!belief.is_quiet(), "it was only just found");
        std::thread::sleep(QUIET + Duration::from_millis(20));
        assert!(belief.is_quiet());
        belief.changed.store(belief.now(), Ordering::Relaxed);
        assert!(!belief.is_quiet());
    }
}
