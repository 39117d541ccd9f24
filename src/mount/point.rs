//! Is this directory fit to be mounted on? Each reason against it is an error
//! of its own, found before anybody is asked for a passphrase.

use std::io;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use super::table::{self, printable};
use super::unmount;
use crate::sys::mount::{Detach, MountError, is_dead};
use crate::sys::process::{Privilege, effective_uid, privilege};

/// What is mounted over a directory that already holds something.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum NonEmpty {
    /// The mount is refused; its contents would be hidden.
    Refused,
    /// Allowed (`-o nonempty`).
    Allowed,
}

/// Why a directory cannot be mounted on.
#[derive(Debug, thiserror::Error)]
pub enum PointError {
    /// There is nothing at that path.
    #[error("the mount point {} does not exist; create it with: mkdir {}", shown(.0), shown(.0))]
    Missing(PathBuf),
    /// It is something else than a directory.
    #[error("the mount point {} is not a directory", shown(.0))]
    NotDirectory(PathBuf),
    /// It holds files, which the mount would hide.
    #[error(
        "the mount point {} is not empty; use an empty directory, or -o nonempty to hide what is in it",
        shown(.0)
    )]
    NotEmpty(PathBuf),
    /// An ordinary user may only mount on a directory of theirs.
    #[error("the mount point {} belongs to another user; use a directory of your own", shown(.0))]
    NotOwned(PathBuf),
    /// Something is mounted there.
    #[error("{} is already a mount point, of {what}; unmount it first or use another directory", shown(.point))]
    AlreadyMounted {
        /// The directory.
        point: PathBuf,
        /// Type and source of what is there.
        what: String,
    },
    /// This very vault is mounted there.
    #[error("the vault {} is already mounted at {}", shown(.vault), shown(.point))]
    SameVault {
        /// The vault.
        vault: PathBuf,
        /// The directory.
        point: PathBuf,
    },
    /// The mount would hide the vault's own files.
    #[error(
        "the vault {} lies inside the mount point {}; the mount would hide it: use another directory",
        shown(.vault),
        shown(.point)
    )]
    VaultInside {
        /// The vault.
        vault: PathBuf,
        /// The directory.
        point: PathBuf,
    },
    /// The mount would show inside the vault's own files.
    #[error(
        "the mount point {} lies inside the vault {}; use a directory outside of it",
        shown(.point),
        shown(.vault)
    )]
    InsideVault {
        /// The vault.
        vault: PathBuf,
        /// The directory.
        point: PathBuf,
    },
    /// A mount whose daemon is gone could not be cleaned up.
    #[error("a dead mount at {} could not be cleaned up: {error}", shown(.point))]
    Dead {
        /// The directory.
        point: PathBuf,
        /// What stood against it.
        #[source]
        error: MountError,
    },
    /// The directory could not be looked at.
    #[error("cannot examine the mount point {}: {error}", shown(.point))]
    Io {
        /// The directory.
        point: PathBuf,
        /// What the system said.
        #[source]
        error: io::Error,
    },
}

fn shown(path: &Path) -> String {
    printable(path.as_os_str())
}

/// Checks `point` for mounting `vault`, whose path is absolute and free of
/// symbolic links, and returns the mount point in that form. A dead keepfs
/// mount left there by a daemon that was killed is taken off first.
///
/// # Errors
/// The first reason against it.
pub fn check(vault: &Path, point: &Path, non_empty: NonEmpty) -> Result<PathBuf, PointError> {
    let io = |error: io::Error| {
        let point = point.to_owned();
        if error.kind() == io::ErrorKind::NotFound {
            PointError::Missing(point)
        } else if error.kind() == io::ErrorKind::NotADirectory {
            PointError::NotDirectory(point)
        } else {
            PointError::Io { point, error }
        }
    };
    let resolved = table::resolve(point).map_err(io)?;
    clean_up_dead_mount(&resolved)?;
    if let Some(entry) = table::at(&resolved).map_err(io)? {
        if entry.is_keepfs() && entry.source == vault.as_os_str() {
            return Err(PointError::SameVault {
                vault: vault.to_owned(),
                point: resolved,
            });
        }
        let what = format!("{} ({})", printable(&entry.source), entry.fs_type);
        return Err(PointError::AlreadyMounted {
            point: resolved,
            what,
        });
    }
    let found = std::fs::metadata(&resolved).map_err(io)?;
    if !found.is_dir() {
        return Err(PointError::NotDirectory(resolved));
    }
    if privilege() == Privilege::User && found.uid() != effective_uid() {
        return Err(PointError::NotOwned(resolved));
    }
    if lies_inside(vault, &resolved).map_err(io)? {
        return Err(PointError::VaultInside {
            vault: vault.to_owned(),
            point: resolved,
        });
    }
    if lies_inside(&resolved, vault).map_err(io)? {
        return Err(PointError::InsideVault {
            vault: vault.to_owned(),
            point: resolved,
        });
    }
    if non_empty == NonEmpty::Refused {
        let mut entries = std::fs::read_dir(&resolved).map_err(io)?;
        if entries.next().is_some() {
            return Err(PointError::NotEmpty(resolved));
        }
    }
    Ok(resolved)
}

/// Takes a keepfs mount off `point` whose daemon is gone.
fn clean_up_dead_mount(point: &Path) -> Result<(), PointError> {
    let dead = |error: MountError| PointError::Dead {
        point: point.to_owned(),
        error,
    };
    // More than one can lie on top of each other.
    for _ in 0..16 {
        match table::at(point) {
            Ok(Some(entry)) if entry.is_keepfs() && is_dead(point) => {
                tracing::info!("taking off a dead mount at the mount point");
                unmount::detach(point, Detach::Lazily).map_err(dead)?;
            }
            Ok(_) | Err(_) => return Ok(()),
        }
    }
    Ok(())
}

/// Whether `inner` is `outer` or somewhere below it; by device and inode, so
/// that a bind mount of one of them is seen too.
fn lies_inside(inner: &Path, outer: &Path) -> io::Result<bool> {
    let outer = std::fs::metadata(outer)?;
    for ancestor in inner.ancestors() {
        let ancestor = std::fs::metadata(ancestor)?;
        if (ancestor.dev(), ancestor.ino()) == (outer.dev(), outer.ino()) {
            return Ok(true);
        }
    }
    Ok(false)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests may fail loudly")]
    use super::*;

    /// A temporary directory with a vault and a mount point in it.
    fn pair() -> (tempfile::TempDir, PathBuf, PathBuf) {
        let base = tempfile::tempdir().unwrap();
        let root = base.path().canonicalize().unwrap();
        let (vault, point) = (root.join("vault"), root.join("point"));
        std::fs::create_dir(&vault).unwrap();
        std::fs::create_dir(&point).unwrap();
        (base, vault, point)
    }

    #[test]
    fn an_empty_directory_is_fit_and_is_made_absolute() {
        let (_base, vault, point) = pair();
        let link = vault.with_file_name("link");
        std::os::unix::fs::symlink(&point, &link).unwrap();
        assert_eq!(check(&vault, &link, NonEmpty::Refused).unwrap(), point);
    }

    #[test]
    fn what_is_missing_or_no_directory_is_refused() {
        let (_base, vault, point) = pair();
        let missing = point.join("nothing");
        assert!(matches!(
            check(&vault, &missing, NonEmpty::Refused),
            Err(PointError::Missing(_))
        ));
        let file = point.join("file");
        std::fs::write(&file, b"").unwrap();
        assert!(matches!(
            check(&vault, &file, NonEmpty::Refused),
            Err(PointError::NotDirectory(_))
        ));
        assert!(matches!(
            check(&vault, &file.join("below"), NonEmpty::Refused),
            Err(PointError::NotDirectory(_))
        ));
    }

    #[test]
    fn a_directory_with_files_needs_permission() {
        let (_base, vault, point) = pair();
        std::fs::write(point.join("file"), b"").unwrap();
        assert!(matches!(
            check(&vault, &point, NonEmpty::Refused),
            Err(PointError::NotEmpty(_))
        ));
        assert!(check(&vault, &point, NonEmpty::Allowed).is_ok());
    }

    #[test]
    fn vault_and_mount_point_keep_apart() {
        let (_base, vault, point) = pair();
        let inside = vault.join("inside");
        std::fs::create_dir(&inside).unwrap();
        assert!(matches!(
            check(&vault, &inside, NonEmpty::Refused),
            Err(PointError::InsideVault { .. })
        ));
        assert!(matches!(
            check(&vault, &vault, NonEmpty::Refused),
            Err(PointError::VaultInside { .. })
        ));
        let hidden = point.join("vault");
        std::fs::create_dir(&hidden).unwrap();
        assert!(matches!(
            check(&hidden, &point, NonEmpty::Allowed),
            Err(PointError::VaultInside { .. })
        ));
    }

    #[test]
    fn a_mount_point_in_use_is_refused() {
        let (_base, vault, _point) = pair();
        assert!(matches!(
            check(&vault, Path::new("/proc"), NonEmpty::Allowed),
            Err(PointError::AlreadyMounted { .. })
        ));
    }
}
