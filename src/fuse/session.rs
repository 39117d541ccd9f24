//! The connection to the kernel: what is negotiated, how many threads serve
//! it, until it ends.

use std::io;
use std::os::fd::OwnedFd;
use std::sync::Arc;
use std::time::Duration;

use fuser::{Config, InitFlags, KernelConfig, SessionACL};

use super::Adapter;
use super::counters::Counters;
use super::readers::{Readers, Rest};
use super::seek::{FlushThread, Seeker};
use super::tell::Teller;
use crate::sys::fuse_device;
use crate::view::View;

/// Largest WRITE, in bytes.
const MAX_WRITE: u32 = 1 << 20;

/// Largest READ, in bytes, unless the vault's chunks are larger: what the kernel
/// reads ahead comes in several, which several threads decrypt side by side, each
/// in its processor's cache. Cold sequential reads gained a quarter over requests
/// of 1 MiB. An option of the mount says so to the kernel.
pub const MAX_READ: usize = 1 << 18;

/// Requests the kernel keeps in flight without a caller waiting: readahead,
/// writeback, asynchronous direct I/O.
const MAX_BACKGROUND: u16 = 64;

/// From this many on the kernel holds readahead back. Close to the maximum:
/// holding back early cost throughput when measured.
const CONGESTION: u16 = 60;

/// Whether the kernel may collect writes in its page cache.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Writeback {
    /// Writes return once they are in the page cache; close, fsync and
    /// unmounting write them out and report errors.
    On,
    /// Each write(2) is one request.
    Off,
}

/// How a mount is served.
#[derive(Clone, Copy, Debug)]
pub struct SessionOptions {
    /// How long the kernel may trust attributes, names and the absence of
    /// names before it asks again.
    pub cache_timeout: Duration,
    /// Whether writes are collected.
    pub writeback: Writeback,
    /// Number of reader threads; `None` chooses by the number of cores.
    pub threads: Option<usize>,
}

impl Default for SessionOptions {
    fn default() -> Self {
        Self {
            cache_timeout: Duration::from_secs(1),
            writeback: Writeback::On,
            threads: None,
        }
    }
}

/// Why a connection did not begin, or how it broke.
#[derive(Debug, thiserror::Error)]
pub enum SessionError {
    /// The first exchange with the kernel failed; nothing is served.
    #[error("the kernel and keepfs could not agree on how to talk")]
    Handshake(#[source] io::Error),
    /// A thread could not be started.
    #[error("could not start a thread")]
    Thread(#[source] io::Error),
    /// Reading requests ended with an error instead of an unmount.
    #[error("the connection to the kernel broke: {0}")]
    Broken(#[source] io::Error),
}

/// A connection that has been negotiated: the mount answers from here on, and
/// waits until [`Session::run`] serves it.
pub struct Session {
    inner: fuser::Session<Adapter>,
    counters: Arc<Counters>,
    readers: Arc<Readers>,
    flusher: FlushThread,
}

impl Session {
    /// Answers the kernel's INIT on `fuse_fd`, an open `/dev/fuse` that is
    /// already mounted. Never unmounts, not even on failure: who mounted does.
    ///
    /// # Errors
    /// [`SessionError::Handshake`] or [`SessionError::Thread`].
    pub fn start(
        fuse_fd: OwnedFd,
        view: Arc<View>,
        options: SessionOptions,
    ) -> Result<Self, SessionError> {
        let counters = Arc::new(Counters::new());
        let (seeker, flusher) =
            Seeker::start(Arc::clone(&view), Arc::clone(&counters), options.writeback)
                .map_err(SessionError::Thread)?;
        let device = fuse_fd.try_clone().map_err(SessionError::Handshake)?;
        let rest = if view.is_on_remote_backing() {
            Rest::Never
        } else {
            Rest::Allowed
        };
        let readers = Readers::new(device, rest);
        let adapter = Adapter {
            readers: Arc::clone(&readers),
            view,
            ttl: options.cache_timeout,
            writeback: options.writeback,
            counters: Arc::clone(&counters),
            seeker,
        };
        let mut config = Config::default();
        config.n_threads = Some(options.threads.unwrap_or_else(reader_threads).max(1));
        config.clone_fd = fuse_device::can_reopen();
        // The kernel enforces allow_other. With a narrower list fuser would
        // refuse the kernel's own writeback requests, which carry no user.
        let inner = fuser::Session::from_fd(adapter, fuse_fd, SessionACL::All, config)
            .map_err(SessionError::Handshake)?;
        flusher.connect(inner.notifier());
        Ok(Self {
            inner,
            counters,
            readers,
            flusher,
        })
    }

    /// The counters of this mount; they may be read while it is served.
    #[must_use]
    pub fn counters(&self) -> Arc<Counters> {
        Arc::clone(&self.counters)
    }

    /// A way to speak to this mount's kernel, for a thread of its own.
    #[must_use]
    pub fn teller(&self) -> Teller {
        Teller::new(self.inner.notifier())
    }

    /// Serves requests until the file system is unmounted. Unmounting drops
    /// RELEASE requests: whatever this returns, the caller must then seal what
    /// the view still holds open ([`View::seal_all`]).
    ///
    /// # Errors
    /// [`SessionError::Broken`] if the connection ended otherwise.
    pub fn run(self) -> Result<(), SessionError> {
        self.readers.appoint_deputy();
        let outcome = self.inner.run();
        self.readers.close();
        self.flusher.join();
        outcome.map_err(SessionError::Broken)
    }
}

/// Twice the cores, from 4 to 16: a thread decrypts what it read and sleeps
/// in system calls of the backing meanwhile. Most rest mostly ([`super::readers`]).
fn reader_threads() -> usize {
    std::thread::available_parallelism().map_or(4, |cores| (cores.get() * 2).clamp(4, 16))
}

/// What is asked for, each only where the kernel offers it. Not asked for:
/// locks (the kernel keeps them, for this machine), `SETXATTR_EXT` (fuser 0.18
/// cannot decode it), splicing, and opening without telling us.
fn wanted(writeback: Writeback) -> impl Iterator<Item = InitFlags> {
    let by_cache = match writeback {
        Writeback::On => InitFlags::FUSE_WRITEBACK_CACHE,
        // Nothing of ours is in the kernel then: a changed mtime is a change
        // underneath, and the kernel drops its pages on its own.
        Writeback::Off => InitFlags::FUSE_AUTO_INVAL_DATA,
    };
    let always = InitFlags::FUSE_ASYNC_READ
        | InitFlags::FUSE_ASYNC_DIO
        | InitFlags::FUSE_ATOMIC_O_TRUNC
        | InitFlags::FUSE_BIG_WRITES
        | InitFlags::FUSE_CACHE_SYMLINKS
        | InitFlags::FUSE_DIRECT_IO_ALLOW_MMAP
        // Modes arrive unmasked, with the umask beside them: a default ACL
        // takes the umask's place, and only the backing knows whether it is there.
        | InitFlags::FUSE_DONT_MASK
        | InitFlags::FUSE_DO_READDIRPLUS
        | InitFlags::FUSE_READDIRPLUS_AUTO
        // Without it each write(2) costs a getxattr of security.capability.
        | InitFlags::FUSE_HANDLE_KILLPRIV_V2
        | InitFlags::FUSE_MAX_PAGES
        | InitFlags::FUSE_PARALLEL_DIROPS
        // Also turns default_permissions on.
        | InitFlags::FUSE_POSIX_ACL;
    (always | by_cache).iter()
}

/// Fills in the answer to INIT. Times are exact to the nanosecond and
/// readahead is as offered, which are fuser's defaults.
pub(super) fn negotiate(config: &mut KernelConfig, writeback: Writeback) {
    for flag in wanted(writeback) {
        // An error says that this kernel lacks it, and it stays off.
        let _offered = config.add_capabilities(flag);
    }
    config
        .set_max_write(MAX_WRITE)
        .expect("1 MiB is below fuser's limit of 16 MiB");
    config.set_max_background(MAX_BACKGROUND).expect("not zero");
    config
        .set_congestion_threshold(CONGESTION)
        .expect("not zero");
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn locks_and_what_fuser_cannot_decode_are_never_asked_for() {
        for writeback in [Writeback::On, Writeback::Off] {
            let never = InitFlags::FUSE_POSIX_LOCKS
                | InitFlags::FUSE_FLOCK_LOCKS
                | InitFlags::FUSE_SETXATTR_EXT
                | InitFlags::FUSE_HANDLE_KILLPRIV
                | InitFlags::FUSE_SECURITY_CTX;
            assert!(wanted(writeback).all(|flag| !never.intersects(flag)));
        }
    }

    #[test]
    fn the_writeback_cache_is_asked_for_exactly_when_it_is_on() {
        let asks = |writeback| wanted(writeback).any(|f| f == InitFlags::FUSE_WRITEBACK_CACHE);
        assert!(asks(Writeback::On) && !asks(Writeback::Off));
    }

    #[test]
    fn there_are_4_to_16_reader_threads() {
        assert!((4..=16).contains(&reader_threads()));
    }
}
