//! The same random calls on a mount and on a plain directory: results,
//! errors, listings, attributes and contents must agree.

use std::collections::BTreeMap;
use std::fs::{self, OpenOptions};
use std::os::unix::fs::{FileExt, MetadataExt, symlink};
use std::path::{Path, PathBuf};

use proptest::prelude::*;
use rustix::fs::{CWD, FallocateFlags, RenameFlags, fallocate, renameat_with};

use crate::mounted::{Vault, pattern};

#[derive(Clone, Debug)]
enum Op {
    Write {
        path: usize,
        at: u64,
        len: usize,
        seed: u64,
    },
    Append {
        path: usize,
        len: usize,
        seed: u64,
    },
    Truncate {
        path: usize,
        len: u64,
    },
    Punch {
        path: usize,
        at: u64,
        len: u64,
    },
    Mkdir(usize),
    Rmdir(usize),
    Unlink(usize),
    Link(usize, usize),
    Symlink(usize, usize),
    Rename(usize, usize),
    Exchange(usize, usize),
    Chmod {
        path: usize,
        mode: u32,
    },
    Remount,
}

/// Few names, so that calls meet: three levels of two, and one long name.
fn path(number: usize) -> PathBuf {
    let names = ["a", "b", "a/a", "a/b", "b/a", "b/b", "a/a/a", "b/b/b"];
    if number == names.len() {
        PathBuf::from("long".repeat(50))
    } else {
        PathBuf::from(names[number])
    }
}

const PATHS: std::ops::Range<usize> = 0..9;

fn op() -> impl Strategy<Value = Op> {
    let len = prop_oneof![Just(0), Just(4095), Just(4096), Just(4097), 1..40_000_usize];
    let at = prop_oneof![Just(0), Just(4096), 0..60_000_u64];
    prop_oneof![
        4 => (PATHS, at.clone(), len.clone(), any::<u64>())
            .prop_map(|(path, at, len, seed)| Op::Write { path, at, len, seed }),
        2 => (PATHS, len, any::<u64>()).prop_map(|(path, len, seed)| Op::Append { path, len, seed }),
        2 => (PATHS, at.clone()).prop_map(|(path, len)| Op::Truncate { path, len }),
        1 => (PATHS, at, 1..30_000_u64).prop_map(|(path, at, len)| Op::Punch { path, at, len }),
        3 => PATHS.prop_map(Op::Mkdir),
        1 => PATHS.prop_map(Op::Rmdir),
        1 => PATHS.prop_map(Op::Unlink),
        1 => (PATHS, PATHS).prop_map(|(a, b)| Op::Link(a, b)),
        1 => (PATHS, PATHS).prop_map(|(a, b)| Op::Symlink(a, b)),
        3 => (PATHS, PATHS).prop_map(|(a, b)| Op::Rename(a, b)),
        1 => (PATHS, PATHS).prop_map(|(a, b)| Op::Exchange(a, b)),
        1 => (PATHS, 0o400..0o1000_u32).prop_map(|(path, mode)| Op::Chmod { path, mode: mode | 0o700 }),
        1 => Just(Op::Remount),
    ]
}

/// The outcome as the errno, 0 for success.
fn errno<T>(outcome: std::io::Result<T>) -> i32 {
    outcome.map_or_else(|error| error.raw_os_error().unwrap_or(-1), |_| 0)
}

fn apply(root: &Path, op: &Op) -> i32 {
    let at = |number: &usize| root.join(path(*number));
    match op {
        Op::Write {
            path,
            at: offset,
            len,
            seed,
        } => {
            let mut options = OpenOptions::new();
            let file = options
                .write(true)
                .create(true)
                .truncate(false)
                .open(at(path));
            errno(file.and_then(|f| f.write_all_at(&pattern(*len, *seed), *offset)))
        }
        Op::Append { path, len, seed } => {
            use std::io::Write;
            let file = OpenOptions::new().append(true).open(at(path));
            errno(file.and_then(|mut f| f.write_all(&pattern(*len, *seed))))
        }
        Op::Truncate { path, len } => errno(
            OpenOptions::new()
                .write(true)
                .open(at(path))
                .and_then(|f| f.set_len(*len)),
        ),
        Op::Punch {
            path,
            at: offset,
            len,
        } => {
            let mode = FallocateFlags::PUNCH_HOLE | FallocateFlags::KEEP_SIZE;
            let file = OpenOptions::new().write(true).open(at(path));
            errno(file.and_then(|f| Ok(fallocate(&f, mode, *offset, *len)?)))
        }
        Op::Mkdir(path) => errno(fs::create_dir(at(path))),
        Op::Rmdir(path) => errno(fs::remove_dir(at(path))),
        Op::Unlink(path) => errno(fs::remove_file(at(path))),
        Op::Link(from, to) => errno(fs::hard_link(at(from), at(to))),
        Op::Symlink(target, link) => errno(symlink(path(*target), at(link))),
        Op::Rename(from, to) => errno(fs::rename(at(from), at(to))),
        Op::Exchange(a, b) => {
            let flags = RenameFlags::EXCHANGE;
            errno(renameat_with(CWD, at(a), CWD, at(b), flags).map_err(Into::into))
        }
        Op::Chmod { path, mode } => {
            use std::os::unix::fs::PermissionsExt;
            errno(fs::set_permissions(
                at(path),
                fs::Permissions::from_mode(*mode),
            ))
        }
        Op::Remount => 0,
    }
}

/// Everything about a tree that must be equal: type, mode, links, size,
/// content or target.
fn picture(root: &Path) -> BTreeMap<PathBuf, (u32, u64, u64, Vec<u8>)> {
    let mut tree = BTreeMap::new();
    crate::mounted::walk(root, &mut |path| {
        let meta = fs::symlink_metadata(path).unwrap();
        let (links, size, content) = if meta.is_symlink() {
            (
                0,
                meta.len(),
                fs::read_link(path)
                    .unwrap()
                    .into_os_string()
                    .into_encoded_bytes(),
            )
        } else if meta.is_file() {
            (meta.nlink(), meta.len(), fs::read(path).unwrap())
        } else {
            (0, 0, Vec::new())
        };
        let name = path.strip_prefix(root).unwrap().to_owned();
        tree.insert(name, (meta.mode(), links, size, content));
    });
    tree
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 12, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn random_calls_end_as_on_a_plain_directory(
        ops in proptest::collection::vec(op(), 40..120),
        chunk in prop_oneof![Just("4KiB"), Just("64KiB")],
    ) {
        let vault = Vault::with(&["--chunk-size", chunk]);
        let plain = vault.plain_dir();
        let mut mounted = vault.mount();
        for (number, op) in ops.iter().enumerate() {
            if matches!(op, Op::Remount) {
                mounted = mounted.remount();
            }
            let (ours, theirs) = (apply(&mounted.path(""), op), apply(&plain, op));
            prop_assert_eq!(ours, theirs, "call {} of {:?}", number, op);
        }
        prop_assert!(picture(&mounted.path("")) == picture(&plain), "before the remount");
        mounted = mounted.remount();
        prop_assert!(picture(&mounted.path("")) == picture(&plain), "after the remount");
        mounted.unmount();
    }
}
