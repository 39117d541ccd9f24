#![allow(clippy::unwrap_used, reason = "tests stop at the first surprise")]

use std::collections::BTreeMap;
use std::fs;
use std::os::unix::fs::{FileExt, MetadataExt, symlink};
use std::path::{Path, PathBuf};

use super::ends::{Place, export, import};
use super::plain::PlainTree;
use super::sealed::SealedTree;
use super::tree::{Begin, Look};
use super::*;
use crate::codec::geometry::Geometry;
use crate::codec::kdf::{KdfCaps, KdfCost};
use crate::codec::vault::{Credential, KeyFile};
use crate::sys::fs::DirFd;
use crate::sys::fs::mutation::Mutation;
use crate::sys::fs::mutation::faults::{After, Fault, Plan, Scope, arm};
use crate::tools::PlainPath;
use crate::vault::{InitOptions, LockedVault, SlotChoice, Vault, init};

const HOW: How = How {
    privileges: Privileges::Keep,
    existing: Existing::Keep,
    compare: Compare::Times,
    run: Run::Real,
};

fn key() -> Credential {
    Credential::KeyFile(KeyFile::from_bytes(b"key".to_vec()).unwrap())
}

fn vault(path: &Path) -> Vault {
    let options = InitOptions {
        geometry: Geometry::DEFAULT,
        cost: KdfCost {
            memory_kib: KdfCost::MIN_MEMORY_KIB,
            passes: KdfCost::MIN_PASSES,
            lanes: 1,
        },
        label: String::new(),
        credential: key(),
    };
    init(path, &options).unwrap();
    let caps = KdfCaps { ram_kib: 1 << 20 };
    let vault = LockedVault::open(path).unwrap();
    vault.unlock(&key(), &caps, SlotChoice::Any).unwrap()
}

/// A small tree with every kind of step a copy takes.
fn tree(root: &Path) {
    fs::create_dir_all(root.join("dir/empty")).unwrap();
    fs::write(root.join("dir/file"), vec![7; 10_000]).unwrap();
    fs::hard_link(root.join("dir/file"), root.join("twin")).unwrap();
    fs::write(root.join("l".repeat(200)), "long").unwrap();
    symlink("anywhere", root.join("link")).unwrap();
    let sparse = fs::File::create(root.join("dir/sparse")).unwrap();
    sparse.set_len(300_000).unwrap();
    sparse.write_all_at(b"data", 200_000).unwrap();
}

/// Kind, time and contents of every object below `root`; without what is
/// unfinished, and without the times of directories if those may differ.
fn described(root: &Path, dirs: Dirs) -> BTreeMap<PathBuf, (u32, i64, Vec<u8>)> {
    let mut found = BTreeMap::new();
    let mut open = vec![root.to_owned()];
    while let Some(path) = open.pop() {
        let meta = fs::symlink_metadata(&path).unwrap();
        let name = path.strip_prefix(root).unwrap().to_owned();
        if name
            .to_string_lossy()
            .rsplit('/')
            .next()
            .unwrap()
            .starts_with(".~keepfs")
        {
            continue;
        }
        let mut time = meta.mtime_nsec();
        let mut mode = meta.mode();
        let bytes = if meta.is_dir() {
            open.extend(fs::read_dir(&path).unwrap().map(|e| e.unwrap().path()));
            if dirs == Dirs::Unfinished {
                (time, mode) = (0, 0);
            }
            Vec::new()
        } else if meta.is_symlink() {
            fs::read_link(&path)
                .unwrap()
                .into_os_string()
                .into_encoded_bytes()
        } else {
            fs::read(&path).unwrap()
        };
        found.insert(name, (mode, time, bytes));
    }
    found
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Dirs {
    Whole,
    Unfinished,
}

/// Copies in this thread alone, where faults are armed.
fn run_here<S: Tree, T: Tree>(from: (&S, S::Dir), to: (&T, T::Dir), look: Stat) -> Report {
    let engine = Engine::new(from.0, to.0, Some(Arc::new(to.1)), HOW, &|_| {});
    engine.start(from.1, Subject::Inside(look));
    engine.tasks.run_here(|task| engine.task(task));
    engine.conclude()
}

struct World {
    temp: tempfile::TempDir,
}

impl World {
    fn new() -> Self {
        let temp = tempfile::tempdir().unwrap();
        tree(&temp.path().join("src"));
        Self { temp }
    }

    fn path(&self, name: &str) -> PathBuf {
        self.temp.path().join(name)
    }

    fn src(&self, dirs: Dirs) -> BTreeMap<PathBuf, (u32, i64, Vec<u8>)> {
        described(&self.path("src"), dirs)
    }

    /// Imports the tree in this thread.
    fn import_here(&self, vault: &Vault) -> Report {
        let root = vault.root_dir();
        let plain = PlainTree::new(&root.store().stat_itself().unwrap());
        let source = DirFd::open_path(&self.path("src")).unwrap();
        let look = source.stat_itself().unwrap();
        run_here((&plain, source), (&SealedTree(vault), root), look)
    }

    /// Exports the vault into `out` in this thread.
    fn export_here(&self, vault: &Vault, out: &Path) -> Report {
        let root = vault.root_dir();
        let look = root.store().stat_itself().unwrap();
        let plain = PlainTree::new(&look);
        fs::create_dir_all(out).unwrap();
        let target = DirFd::open_path(out).unwrap();
        run_here((&SealedTree(vault), root), (&plain, target), look)
    }
}

fn went_well(report: &Report) {
    assert!(report.stopped.is_none(), "{:?}", report.stopped);
    assert!(report.failures.is_empty(), "{:?}", report.failures);
}

/// Everything that is there is as it should be, if not all of it.
fn is_part_of(world: &World, out: &Path) {
    let whole = world.src(Dirs::Unfinished);
    for (name, object) in described(out, Dirs::Unfinished) {
        assert!(whole.get(&name) == Some(&object), "{name:?} is half done");
    }
}

#[test]
fn an_import_killed_at_any_change_leaves_nothing_half_and_goes_on() {
    let world = World::new();
    for passed in 0.. {
        let path = world.path(&format!("v{passed}"));
        let vault = vault(&path);
        let place = Place {
            vault: &vault,
            path: &path,
        };
        let armed = arm(Scope::Thread, Plan::kill_after(passed));
        world.import_here(&vault);
        let killed = armed.fired();
        drop(armed);
        let part = world.path(&format!("part{passed}"));
        went_well(&export(place, &PlainPath::default(), &part, HOW, &|_| {}).unwrap());
        is_part_of(&world, &part);
        let root = PlainPath::default();
        went_well(&import(&world.path("src"), place, &root, HOW, &|_| {}).unwrap());
        let whole = world.path(&format!("whole{passed}"));
        went_well(&export(place, &root, &whole, HOW, &|_| {}).unwrap());
        assert_eq!(described(&whole, Dirs::Whole), world.src(Dirs::Whole));
        let left = fs::read_dir(&path).unwrap().map(|e| e.unwrap().file_name());
        assert!(
            left.into_iter()
                .all(|name| !name.to_string_lossy().contains("~keepfs-")),
            "something unfinished is left"
        );
        if !killed {
            assert!(passed > 40, "only {passed} changes");
            return;
        }
    }
}

#[test]
fn an_export_killed_at_any_change_leaves_nothing_half_and_goes_on() {
    let world = World::new();
    let path = world.path("v");
    let vault = vault(&path);
    went_well(&world.import_here(&vault));
    for passed in 0.. {
        let out = world.path(&format!("out{passed}"));
        let armed = arm(Scope::Thread, Plan::kill_after(passed));
        world.export_here(&vault, &out);
        let killed = armed.fired();
        drop(armed);
        is_part_of(&world, &out);
        let place = Place {
            vault: &vault,
            path: &path,
        };
        went_well(&export(place, &PlainPath::default(), &out, HOW, &|_| {}).unwrap());
        assert_eq!(described(&out, Dirs::Whole), world.src(Dirs::Whole));
        if !killed {
            assert!(passed > 30, "only {passed} changes");
            return;
        }
    }
}

#[test]
fn a_full_target_stops_the_copy_with_one_error() {
    let world = World::new();
    let path = world.path("v");
    let vault = vault(&path);
    let full = |skip| Plan {
        skip,
        only: Some(Mutation::Write),
        fault: Fault::Fail(libc::ENOSPC),
        after: After::Recover,
    };
    let stopped_by_space = |report: &Report| {
        let trouble = &report.stopped.as_ref().unwrap().trouble;
        let Trouble::Target(error) = trouble else {
            panic!("{trouble}");
        };
        assert_eq!(error.code(), Some(libc::ENOSPC));
        assert!(report.failures.is_empty(), "{:?}", report.failures);
    };
    let armed = arm(Scope::Thread, full(3));
    stopped_by_space(&world.import_here(&vault));
    drop(armed);
    went_well(&world.import_here(&vault));
    let out = world.path("out");
    let armed = arm(Scope::Thread, full(1));
    stopped_by_space(&world.export_here(&vault, &out));
    drop(armed);
    went_well(&world.export_here(&vault, &out));
    assert_eq!(described(&out, Dirs::Whole), world.src(Dirs::Whole));
}

#[test]
fn what_somebody_put_in_place_of_a_draft_gets_no_rights() {
    let world = World::new();
    let vault = vault(&world.path("v"));
    let root = vault.root_dir().store().stat_itself().unwrap();
    let plain = PlainTree::new(&root);
    let out = world.path("out");
    fs::create_dir(&out).unwrap();
    let dir = DirFd::open_path(&out).unwrap();
    let only = || fs::read_dir(&out).unwrap().next().unwrap().unwrap().path();
    let victim = world.path("victim");
    fs::write(&victim, "mine").unwrap();
    let swap = |link: &Path| {
        let draft = only();
        fs::remove_file(&draft).unwrap();
        fs::hard_link(link, draft).unwrap();
    };
    let before = fs::metadata(&victim).unwrap();
    let (draft, _file) = plain.begin_file(&dir).unwrap();
    swap(&victim);
    let source = DirFd::open_path(&world.path("src/dir")).unwrap();
    let look = Look::new(&source.stat(b"file").unwrap(), Vec::new());
    let dressed = plain.dress(&dir, &draft, &look);
    assert!(matches!(dressed, Err(TreeError::Replaced)));
    plain.discard(&dir, &draft).unwrap();
    let draft = plain.begin(&dir, Begin::Symlink(b"away")).unwrap();
    symlink("elsewhere", world.path("other")).unwrap();
    swap(&world.path("other"));
    let source = DirFd::open_path(&world.path("src")).unwrap();
    let look = Look::new(&source.stat(b"link").unwrap(), Vec::new());
    let dressed = plain.dress(&dir, &draft, &look);
    assert!(matches!(dressed, Err(TreeError::Replaced)));
    let after = fs::metadata(&victim).unwrap();
    assert_eq!(
        (after.mode(), after.mtime()),
        (before.mode(), before.mtime())
    );
}

#[test]
fn a_tree_deeper_than_any_stack_is_copied_and_dropped() {
    const DEPTH: usize = 700;
    let world = World::new();
    let deep = world.path("src");
    let mut dir = DirFd::open_path(&deep).unwrap();
    for _ in 0..DEPTH {
        dir.make_dir(b"d", 0o755).unwrap();
        dir = dir.open_dir(b"d").unwrap();
    }
    let path = world.path("v");
    let vault = vault(&path);
    let place = Place {
        vault: &vault,
        path: &path,
    };
    let root = PlainPath::default();
    crate::sys::process::raise_descriptor_limit().unwrap();
    let report = import(&deep, place, &root, HOW, &|_| {}).unwrap();
    went_well(&report);
    assert_eq!(report.counts.directories, u64::try_from(DEPTH).unwrap() + 3);
}
