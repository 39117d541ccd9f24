//! Key files: reading one, making a good one.

use std::fs::{File, OpenOptions};
use std::io::{self, Read, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

use zeroize::Zeroizing;

use crate::codec::vault::KeyFile;
use crate::codec::vault::credential::EmptyKeyFile;

/// Longest key file, in bytes: 64 MiB.
const MAX_LEN: u64 = 64 << 20;

/// Why a key file cannot be used or made.
#[derive(Debug, thiserror::Error)]
pub enum KeyFileError {
    /// It cannot be read.
    #[error("cannot read the key file {}: {error}", .path.display())]
    Unreadable {
        /// Which file.
        path: PathBuf,
        /// What the system said.
        #[source]
        error: io::Error,
    },
    /// It is no key.
    #[error("the key file {} is empty", .0.display())]
    Empty(PathBuf),
    /// It is longer than any key file.
    #[error("the key file {} has more than 64 MiB; is it the right one?", .0.display())]
    TooLong(PathBuf),
    /// It cannot be made.
    #[error("cannot make the key file {}: {error}", .path.display())]
    Unwritable {
        /// Which file.
        path: PathBuf,
        /// What the system said.
        #[source]
        error: io::Error,
    },
}

/// Reads a key file, pipes included, and hashes it.
///
/// # Errors
/// [`KeyFileError`].
pub fn read(path: &Path) -> Result<KeyFile, KeyFileError> {
    let unreadable = |error| KeyFileError::Unreadable {
        path: path.to_owned(),
        error,
    };
    let file = File::open(path).map_err(unreadable)?;
    let expected = file.metadata().map_err(unreadable)?.len().min(MAX_LEN);
    // Room for all of it and the end: it seldom moves, which leaves copies.
    let room = usize::try_from(expected + 1).unwrap_or(0);
    let mut contents = Zeroizing::new(Vec::with_capacity(room));
    file.take(MAX_LEN + 1)
        .read_to_end(&mut contents)
        .map_err(unreadable)?;
    if u64::try_from(contents.len()).unwrap_or(u64::MAX) > MAX_LEN {
        return Err(KeyFileError::TooLong(path.to_owned()));
    }
    KeyFile::from_bytes(std::mem::take(&mut *contents))
        .map_err(|EmptyKeyFile| KeyFileError::Empty(path.to_owned()))
}

/// Makes a key file for its owner only, durably; replaces nothing.
///
/// # Errors
/// No randomness; [`KeyFileError::Unwritable`], and then no file is left.
pub fn generate(path: &Path) -> anyhow::Result<()> {
    let contents = KeyFile::generate()?;
    let unwritable = |error| KeyFileError::Unwritable {
        path: path.to_owned(),
        error,
    };
    let mut file = OpenOptions::new()
        .write(true)
        .create_new(true)
        .mode(0o400)
        .open(path)
        .map_err(unwritable)?;
    let written = file
        .write_all(&*contents)
        .and_then(|()| file.sync_all())
        .and_then(|()| sync_parent(path));
    written.map_err(|error| {
        // What failed first is what matters.
        let _left_behind = std::fs::remove_file(path);
        unwritable(error)
    })?;
    Ok(())
}

fn sync_parent(path: &Path) -> io::Result<()> {
    let parent = match path.parent() {
        Some(parent) if parent != Path::new("") => parent,
        Some(_) | None => Path::new("."),
    };
    match File::open(parent)?.sync_all() {
        // Some file systems do not sync directories, and say so.
        Err(error) if error.kind() == io::ErrorKind::InvalidInput => Ok(()),
        result => result,
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests may fail loudly")]
    use super::*;

    #[test]
    fn a_key_file_is_made_once_and_for_its_owner() {
        use std::os::unix::fs::PermissionsExt;
        let base = tempfile::tempdir().unwrap();
        let path = base.path().join("key");
        generate(&path).unwrap();
        let first = std::fs::read(&path).unwrap();
        assert_eq!(first.len(), 64);
        let mode = std::fs::metadata(&path).unwrap().permissions().mode();
        assert_eq!(mode & 0o777, 0o400);
        let again = generate(&path).unwrap_err();
        assert!(again.downcast_ref::<KeyFileError>().is_some());
        assert_eq!(std::fs::read(&path).unwrap(), first);
        assert!(read(&path).is_ok());
    }

    #[test]
    fn what_is_no_key_file_is_refused() {
        let base = tempfile::tempdir().unwrap();
        let path = base.path().join("key");
        assert!(matches!(read(&path), Err(KeyFileError::Unreadable { .. })));
        assert!(matches!(
            read(base.path()),
            Err(KeyFileError::Unreadable { .. })
        ));
        let file = File::create(&path).unwrap();
        assert!(matches!(read(&path), Err(KeyFileError::Empty(_))));
        file.set_len(MAX_LEN).unwrap();
        assert!(read(&path).is_ok());
        file.set_len(MAX_LEN + 1).unwrap();
        assert!(matches!(read(&path), Err(KeyFileError::TooLong(_))));
    }
}
