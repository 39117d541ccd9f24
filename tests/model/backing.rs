//! Where the vaults of the model test are, and what that file system lacks.

use std::ffi::OsString;
use std::fs;
use std::os::unix::fs::{DirEntryExt, MetadataExt, symlink};
use std::path::Path;
use std::sync::OnceLock;

use rustix::fs::{CWD, RenameFlags, XattrFlags, renameat_with, setxattr};
use tempfile::TempDir;

use super::ops::{Mode, Op};

/// What a backing offers beyond what every file system does. Whatever it lacks,
/// keepfs refuses; what it has, must work.
#[derive(Clone, Copy, Debug)]
#[expect(clippy::struct_excessive_bools, reason = "each is a fact of its own")]
pub(crate) struct Backing {
    symlinks: bool,
    /// A second name of a file has the same inode number.
    hard_links: bool,
    xattrs: bool,
    rename_no_replace: bool,
    rename_exchange: bool,
    /// A file that is deleted while open leaves its directory empty.
    pub(crate) forgets_open_files: bool,
    /// Listings tell the numbers that stat(2) tells.
    pub(crate) lists_numbers: bool,
}

impl Backing {
    /// Of the directory that [`new_dir`] makes directories in. Found out once.
    pub(crate) fn get() -> Self {
        static FOUND: OnceLock<Backing> = OnceLock::new();
        *FOUND.get_or_init(|| {
            let dir = new_dir();
            let found = Self::probe(dir.path());
            eprintln!("backing {}: {found:?}", dir.path().display());
            found
        })
    }

    fn probe(dir: &Path) -> Self {
        let (file, other) = (dir.join("file"), dir.join("other"));
        fs::write(&file, b"probe").unwrap();
        fs::write(&other, b"probe").unwrap();
        let with = |flags| renameat_with(CWD, &file, CWD, dir.join("new"), flags).is_ok();
        let rename_no_replace = with(RenameFlags::NOREPLACE);
        if rename_no_replace {
            fs::rename(dir.join("new"), &file).unwrap();
        }
        let hard_links = fs::hard_link(&file, dir.join("link")).is_ok_and(|()| {
            fs::metadata(&file).unwrap().ino() == fs::metadata(dir.join("link")).unwrap().ino()
        });
        Self {
            symlinks: symlink("target", dir.join("symlink")).is_ok(),
            hard_links,
            xattrs: setxattr(&file, "user.probe", b"", XattrFlags::empty()).is_ok(),
            rename_no_replace,
            rename_exchange: renameat_with(CWD, &file, CWD, &other, RenameFlags::EXCHANGE).is_ok(),
            forgets_open_files: forgets_open_files(&dir.join("directory")),
            lists_numbers: fs::read_dir(dir).unwrap().all(|entry| {
                let entry = entry.unwrap();
                entry.ino() == fs::symlink_metadata(entry.path()).unwrap().ino()
            }),
        }
    }

    /// Whether an operation that would otherwise succeed can succeed here.
    pub(crate) fn offers(&self, op: &Op) -> bool {
        match op {
            Op::Symlink(..) => self.symlinks,
            Op::Link(..) => self.hard_links,
            Op::SetXattr(..) | Op::RemoveXattr(..) => self.xattrs,
            Op::Rename(_, _, Mode::NoReplace) => self.rename_no_replace,
            Op::Rename(_, _, Mode::Exchange) => self.rename_exchange,
            _ => true,
        }
    }
}

fn forgets_open_files(dir: &Path) -> bool {
    fs::create_dir(dir).unwrap();
    let _open = fs::File::create(dir.join("open")).unwrap();
    fs::remove_file(dir.join("open")).unwrap();
    fs::read_dir(dir).unwrap().next().is_none()
}

/// A directory for one vault: below `KEEPFS_TEST_BACKING`, a directory on any
/// file system, or else where temporary files are.
pub(crate) fn new_dir() -> TempDir {
    match std::env::var_os("KEEPFS_TEST_BACKING").filter(|value| *value != OsString::new()) {
        Some(parent) => tempfile::tempdir_in(parent).unwrap(),
        None => tempfile::tempdir().unwrap(),
    }
}
