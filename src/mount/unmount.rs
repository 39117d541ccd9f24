//! Taking a mount off, and waiting until everything is on the backing and the
//! daemon is gone.

use std::io;
use std::path::{Path, PathBuf};
use std::thread;
use std::time::{Duration, Instant};

use super::control::{ControlError, Outcome, Watch};
use super::holders::{self, Holder};
use super::table::{self, MountEntry, printable};
use crate::sys::mount::{self as sys, Detach, MountError};
use crate::sys::process::{Privilege, privilege};

/// Who looks at a mount for a moment (an indexer, another `keepfs status`)
/// does not make it busy.
const PASSING_USE: Duration = Duration::from_secs(1);
const BETWEEN_TRIES: Duration = Duration::from_millis(50);

/// How many holders a message names.
const HOLDERS_SHOWN: usize = 8;

/// What taking a mount off came to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Unmounted {
    /// Everything is saved and the daemon is gone.
    Saved,
    /// A mount whose daemon was already gone was cleaned up.
    WasDead,
    /// Out of sight; its daemon ends when its last user does.
    Detached,
    /// Off this place, but mounted elsewhere too (a bind mount).
    MountedElsewhere,
    /// Off, but no daemon answered that could have been waited for.
    Unwatched,
}

/// Why a mount was not taken off, or not cleanly.
#[derive(Debug, thiserror::Error)]
pub enum UnmountError {
    /// Nothing is mounted there.
    #[error("nothing is mounted at {}; keepfs status lists what is", printable(.0.as_os_str()))]
    NotMounted(PathBuf),
    /// What is mounted there is not keepfs's.
    #[error("{} is not a keepfs mount but {what}; use umount for it", printable(.point.as_os_str()))]
    NotKeepfs {
        /// The mount point.
        point: PathBuf,
        /// Its type.
        what: String,
    },
    /// Somebody uses it.
    #[error("{} is in use{}", printable(.point.as_os_str()), list(.holders))]
    Busy {
        /// The mount point.
        point: PathBuf,
        /// Who, as far as this user may see.
        holders: Vec<Holder>,
    },
    /// Not everything could be written; it is still mounted.
    #[error(
        "not everything could be written to the vault ({error}); {} is still mounted: make room or mend the backing, write the affected files again, then unmount",
        printable(.point.as_os_str())
    )]
    NotSynced {
        /// The mount point.
        point: PathBuf,
        /// What writing said.
        #[source]
        error: io::Error,
    },
    /// It is unmounted, but the daemon could not save everything.
    #[error("unmounted, but not everything is saved: {0}")]
    NotSaved(String),
    /// It is unmounted, but the daemon ended without a word.
    #[error("unmounted, but the keepfs process ended without saying that everything is saved")]
    Vanished,
    /// It could not be taken off.
    #[error("cannot unmount {}: {error}", printable(.point.as_os_str()))]
    Mount {
        /// The mount point.
        point: PathBuf,
        /// What stood against it.
        #[source]
        error: MountError,
    },
    /// The mount point could not be looked at.
    #[error("cannot examine {}: {error}", printable(.point.as_os_str()))]
    Io {
        /// The mount point.
        point: PathBuf,
        /// What the system said.
        #[source]
        error: io::Error,
    },
}

fn list(holders: &[Holder]) -> String {
    if holders.is_empty() {
        return " (by another user, or by a mount below it); --lazy detaches it all the same"
            .to_owned();
    }
    let mut words = String::from(" by ");
    for (at, holder) in holders.iter().take(HOLDERS_SHOWN).enumerate() {
        if at > 0 {
            words.push_str(", ");
        }
        words.push_str(&holder.to_string());
    }
    if let Some(more) = holders.len().checked_sub(HOLDERS_SHOWN).filter(|&n| n > 0) {
        words.push_str(&format!(" and {more} more"));
    }
    words.push_str("; end what uses it, or use --lazy to detach it all the same");
    words
}

/// Takes the mount at `point` off the mount table, with the means this user has.
///
/// # Errors
/// [`MountError`].
pub fn detach(point: &Path, how: Detach) -> Result<(), MountError> {
    let detach = || match privilege() {
        Privilege::Root => sys::unmount_as_root(point, how),
        Privilege::User => sys::unmount_as_user(point, how),
    };
    let give_up = Instant::now() + PASSING_USE;
    loop {
        match detach() {
            Err(MountError::Busy) if Instant::now() < give_up => thread::sleep(BETWEEN_TRIES),
            other => return other,
        }
    }
}

/// Unmounts `point`. [`Detach::WhenIdle`] returns when everything is on the
/// backing and the daemon is gone; `slow` is called once if that takes a
/// while. [`Detach::Lazily`] does not wait.
///
/// # Errors
/// [`UnmountError`]; only its variants that say so leave it unmounted.
pub fn unmount(point: &Path, how: Detach, slow: impl FnOnce()) -> Result<Unmounted, UnmountError> {
    let entry = find(point)?;
    let point = entry.point.as_path();
    let mount = |error: MountError| UnmountError::Mount {
        point: point.to_owned(),
        error,
    };
    if sys::is_dead(point) {
        detach(point, Detach::Lazily).map_err(mount)?;
        return Ok(Unmounted::WasDead);
    }
    if how == Detach::Lazily {
        detach(point, how).map_err(mount)?;
        return Ok(Unmounted::Detached);
    }
    let watch = Watch::new(&entry);
    match sys::sync(point) {
        // Root may not enter another user's mount; umount itself flushes it.
        Err(error) if error.kind() != io::ErrorKind::PermissionDenied => {
            return Err(UnmountError::NotSynced {
                point: point.to_owned(),
                error,
            });
        }
        Ok(()) | Err(_) => {}
    }
    let table = || {
        table::read().map_err(|error| UnmountError::Io {
            point: point.to_owned(),
            error,
        })
    };
    // Looked for beforehand: afterwards the kernel may give the device number
    // to a mount that is made at that moment.
    let is_same = |other: &MountEntry| other.device == entry.device && other.id != entry.id;
    let elsewhere: Vec<u64> = table()?
        .iter()
        .filter(|e| is_same(e))
        .map(|e| e.id)
        .collect();
    match detach(point, how) {
        Ok(()) => {}
        Err(MountError::Busy) => {
            return Err(UnmountError::Busy {
                point: point.to_owned(),
                holders: holders::find(entry.device),
            });
        }
        Err(error) => return Err(mount(error)),
    }
    let is_left = |other: &MountEntry| is_same(other) && elsewhere.contains(&other.id);
    if !elsewhere.is_empty() && table()?.iter().any(is_left) {
        return Ok(Unmounted::MountedElsewhere);
    }
    let Ok(watch) = watch else {
        return Ok(Unmounted::Unwatched);
    };
    match watch.wait(slow) {
        Ok(Outcome::Saved) => Ok(Unmounted::Saved),
        Ok(Outcome::NotSaved(why)) => Err(UnmountError::NotSaved(why)),
        Err(
            ControlError::Unreachable
            | ControlError::Vanished
            | ControlError::Garbled
            | ControlError::Io(_),
        ) => Err(UnmountError::Vanished),
    }
}

/// The keepfs mount at `point`.
///
/// # Errors
/// [`UnmountError::NotMounted`], [`UnmountError::NotKeepfs`],
/// [`UnmountError::Io`].
pub fn find(point: &Path) -> Result<MountEntry, UnmountError> {
    let io = |error| UnmountError::Io {
        point: point.to_owned(),
        error,
    };
    let resolved = match table::resolve(point) {
        Ok(resolved) => resolved,
        Err(error) if error.kind() == io::ErrorKind::NotFound => {
            return Err(UnmountError::NotMounted(point.to_owned()));
        }
        Err(error) => return Err(io(error)),
    };
    match table::at(&resolved).map_err(io)? {
        None => Err(UnmountError::NotMounted(resolved)),
        Some(entry) if entry.is_keepfs() => Ok(entry),
        Some(entry) => Err(UnmountError::NotKeepfs {
            point: resolved,
            what: format!("{} ({})", printable(&entry.source), entry.fs_type),
        }),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::mount::holders::Use;

    #[test]
    fn a_message_names_the_holders() {
        let holder = |pid| Holder {
            pid,
            name: "bash".to_owned(),
            how: Use::WorkingDirectory,
        };
        let busy = |count| UnmountError::Busy {
            point: "/mnt".into(),
            holders: (1..=count).map(holder).collect(),
        };
        assert!(busy(0).to_string().contains("another user"));
        assert!(
            busy(1)
                .to_string()
                .contains("bash (pid 1, working directory);")
        );
        assert!(busy(11).to_string().contains("and 3 more"));
    }

    #[test]
    fn what_is_not_a_keepfs_mount_is_left_alone() {
        let unmounted = |point| unmount(Path::new(point), Detach::WhenIdle, || ());
        assert!(matches!(
            unmounted("/proc/self"),
            Err(UnmountError::NotMounted(_))
        ));
        assert!(matches!(
            unmounted("/proc"),
            Err(UnmountError::NotKeepfs { .. })
        ));
        assert!(matches!(
            unmounted("/nonexistent/keepfs"),
            Err(UnmountError::NotMounted(_))
        ));
    }
}
