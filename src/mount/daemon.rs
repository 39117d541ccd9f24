//! The process that serves a mount: unlock, mount, answer, and at the end
//! make sure that every file is sealed and that whoever waits is told.
//!
//! Threads besides those that serve requests: `signals` waits for a request
//! to end, `idle` seals files nobody writes to, `control` answers questions,
//! `watch` tells the kernel of changes made underneath.

use std::io;
use std::os::fd::OwnedFd;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::mpsc::{self, RecvTimeoutError};
use std::thread;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use super::control::{Outcome, Server, Status};
use super::statistics::Statistics;
use super::surplus::Surplus;
use super::table::{self, printable};
use super::tuning;
use super::unmount::detach;
use super::watch::WatchThread;
use super::{MountPlan, Overwrites, Trust, Writes, holders};
use crate::codec::kdf::KdfCaps;
use crate::codec::vault::Credential;
use crate::fuse::counters::Counters;
use crate::fuse::session::{MAX_READ, Session, SessionError, SessionOptions, Writeback};
use crate::sys::mount::{self as sys, Detach, MountError, MountRequest};
use crate::sys::process::{self, EndSignals, Privilege};
use crate::types::SlotId;
use crate::vault::journal::replay::{Fate, Whose};
use crate::vault::{LockError, LockedVault, UnlockError, Vault, VaultError};
use crate::view::sealing::IDLE_BEFORE_SEAL;
use crate::view::{FsError, Mutability, Strictness, View, ViewOptions};

/// Descriptors that there is room for from the beginning: more than are open in
/// most mounts, at eight bytes each.
const DESCRIPTORS: u16 = 4096;
/// How often idle files are looked for.
const IDLE_ROUND: Duration = Duration::from_secs(1);

/// Why a mount did not come to be, or did not end well.
#[derive(Debug, thiserror::Error)]
pub enum ServeError {
    /// The process could not be prepared.
    #[error("cannot prepare the process ({what}): {error}")]
    Process {
        /// Which step.
        what: &'static str,
        /// What the system said.
        #[source]
        error: io::Error,
    },
    /// The vault cannot be opened.
    #[error("cannot open the vault {}: {error}", printable(.vault.as_os_str()))]
    Vault {
        /// The vault.
        vault: PathBuf,
        /// What stood against it.
        #[source]
        error: VaultError,
    },
    /// The vault cannot be had alone.
    #[error("cannot mount the vault {}: {error}; keepfs status shows what is mounted", printable(.vault.as_os_str()))]
    Lock {
        /// The vault.
        vault: PathBuf,
        /// What stood against it.
        #[source]
        error: LockError,
    },
    /// What was offered does not open the vault, or nothing does.
    #[error("cannot unlock the vault {}: {error}", printable(.vault.as_os_str()))]
    Unlock {
        /// The vault.
        vault: PathBuf,
        /// What stood against it.
        #[source]
        error: UnlockError,
    },
    /// What an earlier mount left could not be brought in.
    #[error(
        "cannot bring in the changes that an earlier mount left in its journal: {0}; they are kept \
         there, mount again when the cause is mended, or with --read-only"
    )]
    Replay(#[source] io::Error),
    /// The file-system view could not begin.
    #[error("cannot read the vault's root directory: {0}")]
    View(#[from] FsError),
    /// The kernel or its helper refused the mount.
    #[error("cannot mount on {}: {error}", printable(.point.as_os_str()))]
    Mount {
        /// The mount point.
        point: PathBuf,
        /// What stood against it.
        #[source]
        error: MountError,
    },
    /// The connection to the kernel did not begin or broke.
    #[error(transparent)]
    Session(#[from] SessionError),
    /// Nobody could be told that the mount answers.
    #[error("whoever asked for the mount is gone; it was taken off again")]
    Unheard(#[source] io::Error),
    /// Not every file could be sealed at the end.
    #[error("unmounted, but not everything is saved: {0}")]
    NotSaved(FsError),
}

/// Serves `plan` until it is unmounted. `announce` is called once, when the
/// mount answers, with the slot that opened the vault; if it fails the mount is taken off again. `signals` must
/// have been blocked before any other thread began.
///
/// # Errors
/// [`ServeError`]. The mount is off in every case.
pub fn serve(
    plan: &MountPlan,
    credential: Credential,
    signals: EndSignals,
    announce: impl FnOnce(SlotId) -> io::Result<()>,
) -> Result<(), ServeError> {
    harden()?;
    let vault = unlock(plan, credential)?;
    let slot = vault.opened_by();
    // A chunk is read as a whole.
    let max_read = MAX_READ.max(vault.geometry().chunk_size());
    prepare_journal(plan, &vault)?;
    let view = Arc::new(View::new(Arc::new(vault), view_options(plan))?);
    let device = attach(plan, max_read)?;
    let session = match Session::start(device, Arc::clone(&view), session_options(plan)) {
        Ok(session) => session,
        Err(error) => {
            // The connection is closed: whatever is there now is dead.
            drop(detach(&plan.point, Detach::Lazily));
            return Err(error.into());
        }
    };
    let mounted = Mounted::new(plan.point.clone());
    mounted.tune(&view);
    let server = mounted.answer_questions(plan, &view, session.counters());
    let idle = IdleThread::start(Arc::clone(&view));
    mounted.end_on(signals, Arc::clone(&view));
    let watch = WatchThread::start(&view, session.teller(), plan.cache_timeout);
    let heard = announce(slot);
    if heard.is_err() {
        mounted.detach(Detach::Lazily);
    }
    let served = session.run();
    let found_attached = mounted.is_attached();
    // Unmounting drops the kernel's RELEASE requests: seal from our own table.
    drop(idle);
    drop(watch);
    let sealed = view.seal_all();
    mounted.detach(Detach::Lazily);
    let ended = match served {
        // Unmounting writes everything out first; how the last threads then
        // learn of the end depends on where it meets them.
        Err(error) if !found_attached => {
            tracing::info!("the end of the mount was met as an error: {error}");
            conclude(Ok(()), sealed)
        }
        served => conclude(served, sealed),
    };
    if let Some(server) = server {
        server.finish(&match &ended {
            Ok(()) => Outcome::Saved,
            Err(error) => Outcome::NotSaved(error.to_string()),
        });
    }
    heard.map_err(ServeError::Unheard)?;
    ended
}

/// The worse of how serving and sealing ended.
fn conclude(
    served: Result<(), SessionError>,
    sealed: Result<(), FsError>,
) -> Result<(), ServeError> {
    if let Err(error) = sealed {
        tracing::error!("not every file could be sealed: {error}");
        return Err(ServeError::NotSaved(error));
    }
    if let Err(error) = served {
        tracing::error!("{error}");
        return Err(error.into());
    }
    Ok(())
}

/// Closes this process's memory to others, before it holds a key.
fn harden() -> Result<(), ServeError> {
    let step = |what| move |error| ServeError::Process { what, error };
    process::forbid_dumps().map_err(step("forbidding core dumps"))?;
    match process::privilege() {
        Privilege::Root => {
            process::forbid_new_privileges().map_err(step("giving up new privileges"))?;
        }
        // fusermount3 is set-user-ID and is needed again to unmount.
        Privilege::User => {}
    }
    if let Err(error) = process::raise_descriptor_limit() {
        tracing::warn!("the limit on open files stays low: {error}");
    }
    if let Err(error) = process::make_room_for_descriptors(DESCRIPTORS) {
        tracing::debug!("no room was made for open files: {error}");
    }
    process::settle().map_err(step("changing to /"))
}

/// Locks the vault for this machine and opens it.
fn unlock(plan: &MountPlan, credential: Credential) -> Result<Vault, ServeError> {
    let caps = KdfCaps {
        ram_kib: process::total_ram_kib(),
    };
    let path = || plan.vault.clone();
    let locked = LockedVault::open(&plan.vault).map_err(|error| ServeError::Vault {
        vault: path(),
        error,
    })?;
    match locked.lock_exclusive() {
        Ok(()) => {}
        // Some network backings: their users must take care themselves.
        Err(error @ LockError::LocksUnsupported) => tracing::warn!("{error}"),
        Err(error @ (LockError::AlreadyLocked | LockError::Backing(_))) => {
            return Err(ServeError::Lock {
                vault: path(),
                error,
            });
        }
    }
    let vault = locked
        .unlock(&credential, &caps, plan.slots)
        .map_err(|failed| ServeError::Unlock {
            vault: path(),
            error: failed.error,
        })?;
    for span in vault.key_spans() {
        if let Err(error) = process::protect_span(span.addr, span.len) {
            tracing::warn!("the keys may reach swap space: {error}");
            break;
        }
    }
    Ok(vault)
}

/// Brings in what an earlier mount could not put in place any more, and
/// begins a journal for this one.
fn prepare_journal(plan: &MountPlan, vault: &Vault) -> Result<(), ServeError> {
    if plan.is_read_only() {
        // Nothing may be changed.
        if vault.has_journals().map_err(ServeError::Replay)? {
            tracing::warn!(
                "a mount that did not end left changes in a journal; they show once the vault \
                 is mounted for writing"
            );
        }
        return Ok(());
    }
    let replays = vault
        .replay_journals(Whose::ThisMachines)
        .map_err(ServeError::Replay)?;
    for replay in replays {
        match replay.fate {
            Fate::Replayed { .. } => tracing::info!("{replay}"),
            Fate::InUse | Fate::Elsewhere => tracing::warn!("{replay}"),
            Fate::Left { .. } | Fate::Unreadable(_) | Fate::Unopened(_) => {
                tracing::error!("{replay}");
            }
        }
    }
    match plan.overwrites {
        Overwrites::Journalled => vault.begin_journal(),
        Overwrites::InPlace => {}
    }
    Ok(())
}

/// Mounts, by the means this user has.
fn attach(plan: &MountPlan, max_read: usize) -> Result<OwnedFd, ServeError> {
    let request = MountRequest {
        source: &plan.source,
        point: &plan.point,
        flags: &plan.flags,
        audience: plan.audience,
        max_read,
    };
    match process::privilege() {
        Privilege::Root => sys::mount_as_root(&request),
        Privilege::User => sys::mount_as_user(&request),
    }
    .map_err(|error| ServeError::Mount {
        point: plan.point.clone(),
        error,
    })
}

fn view_options(plan: &MountPlan) -> ViewOptions {
    ViewOptions {
        mutability: if plan.is_read_only() {
            Mutability::ReadOnly
        } else {
            Mutability::ReadWrite
        },
        strictness: match plan.trust {
            Trust::Lenient => Strictness::Lenient,
            Trust::Strict => Strictness::Strict,
        },
        freshness: plan.cache_timeout,
        followed: plan.followed_timeout,
    }
}

fn session_options(plan: &MountPlan) -> SessionOptions {
    SessionOptions {
        cache_timeout: plan.cache_timeout,
        writeback: match plan.writes {
            Writes::Gathered => Writeback::On,
            Writes::AtOnce => Writeback::Off,
        },
        ..SessionOptions::default()
    }
}

/// A mount that answers.
#[derive(Clone)]
struct Mounted {
    point: PathBuf,
    /// `None` if the mount is already gone from the table.
    device: Option<(u32, u32)>,
}

impl Mounted {
    /// Finds the mount just made, without sending it a request.
    fn new(point: PathBuf) -> Self {
        let device = match table::at(&point) {
            Ok(Some(entry)) if entry.is_keepfs() => Some(entry.device),
            Ok(_) | Err(_) => None,
        };
        Self { point, device }
    }

    /// Whether what is mounted at the mount point now is still this mount.
    fn is_attached(&self) -> bool {
        self.device.is_some()
            && table::at(&self.point)
                .ok()
                .flatten()
                .is_some_and(|entry| Some(entry.device) == self.device)
    }

    /// Takes the mount off if it is still there.
    fn detach(&self, how: Detach) {
        if self.is_attached()
            && let Err(error) = detach(&self.point, how)
        {
            tracing::warn!("cannot take the mount off: {error}");
        }
    }

    /// Has the kernel collect more of what is read and written, as far as it lets us.
    fn tune(&self, view: &View) {
        if let Some(device) = self.device {
            tuning::read_further_ahead(device);
            if !view.is_on_remote_backing() {
                tuning::keep_more_unwritten(device);
            }
        }
    }

    /// Begins to answer `keepfs status` and `keepfs unmount`.
    fn answer_questions(
        &self,
        plan: &MountPlan,
        view: &Arc<View>,
        counters: Arc<Counters>,
    ) -> Option<Server> {
        let since = SystemTime::now()
            .duration_since(UNIX_EPOCH)
            .map_or(0, |age| age.as_secs());
        let vault = printable(plan.vault.as_os_str());
        let (read_only, strict) = (plan.is_read_only(), plan.trust == Trust::Strict);
        let view = Arc::clone(view);
        let status = move || {
            let counts = view.status();
            Status {
                version: env!("CARGO_PKG_VERSION").to_owned(),
                vault: vault.clone(),
                pid: std::process::id(),
                since,
                read_only,
                strict,
                open_for_writing: counts.open_for_writing,
                unsealed_met: counts.unsealed_met,
                damaged_met: counts.damaged_met,
                undecryptable_names: counts.undecryptable_names,
                failed_seals: counts.failed_seals,
            }
        };
        let statistics = move || Statistics::of(&counters);
        match Server::start(self.device?, status, statistics) {
            Ok(server) => Some(server),
            Err(error) => {
                tracing::warn!("keepfs status will know nothing of this mount: {error}");
                None
            }
        }
    }

    /// Unmounts when a signal asks for it: cleanly at the first, lazily at the
    /// second.
    fn end_on(&self, signals: EndSignals, view: Arc<View>) {
        let mounted = self.clone();
        let spawned = thread::Builder::new()
            .name("signals".to_owned())
            .spawn(move || {
                let mut first = true;
                loop {
                    match signals.wait() {
                        Ok(signal) if first => {
                            first = false;
                            tracing::info!("{}: unmounting", signal.name());
                            // Apart, so that a second signal is heard if this hangs.
                            let (mounted, view) = (mounted.clone(), Arc::clone(&view));
                            thread::spawn(move || mounted.end_cleanly(&view));
                        }
                        Ok(signal) => {
                            tracing::warn!("{}: detaching lazily", signal.name());
                            mounted.detach(Detach::Lazily);
                        }
                        Err(error) => {
                            tracing::error!("cannot wait for signals: {error}");
                            return;
                        }
                    }
                }
            });
        if let Err(error) = spawned {
            tracing::error!("signals will not unmount: {error}");
        }
    }

    /// Brings everything onto the backing, then unmounts if nobody uses it.
    fn end_cleanly(&self, view: &View) {
        if let Err(error) = sys::sync(&self.point) {
            tracing::error!("not everything could be written: {error}");
        }
        // Whatever happens to this process now, nothing is left unsealed.
        view.seal_idle(Duration::ZERO);
        if !self.is_attached() {
            return;
        }
        match detach(&self.point, Detach::WhenIdle) {
            Ok(()) => {}
            Err(MountError::Busy) => tracing::warn!(
                "still in use{}; a second signal detaches it lazily",
                self.users()
            ),
            Err(error) => tracing::error!("cannot unmount: {error}"),
        }
    }

    /// ` by NAME (pid N, how)...` for a message.
    fn users(&self) -> String {
        let holders = self.device.map(holders::find).unwrap_or_default();
        let names: Vec<String> = holders.iter().map(ToString::to_string).collect();
        if names.is_empty() {
            String::new()
        } else {
            format!(" by {}", names.join(", "))
        }
    }
}

/// Seals idle files and gives back memory once a round, until dropped.
struct IdleThread {
    stop: Option<mpsc::Sender<()>>,
    thread: Option<thread::JoinHandle<()>>,
}

impl IdleThread {
    fn start(view: Arc<View>) -> Self {
        let (stop, stopped) = mpsc::channel::<()>();
        let thread = thread::Builder::new()
            .name("idle".to_owned())
            .spawn(move || {
                let mut surplus = Surplus::default();
                while let Err(RecvTimeoutError::Timeout) = stopped.recv_timeout(IDLE_ROUND) {
                    view.seal_idle(IDLE_BEFORE_SEAL);
                    surplus.give_back(&view);
                }
            })
            .inspect_err(|error| tracing::warn!("files are sealed at close only: {error}"))
            .ok();
        Self {
            stop: Some(stop),
            thread,
        }
    }
}

impl Drop for IdleThread {
    fn drop(&mut self) {
        self.stop = None;
        if let Some(thread) = self.thread.take()
            && thread.join().is_err()
        {
            tracing::error!("the thread that seals idle files panicked");
        }
    }
}
