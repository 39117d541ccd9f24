//! The view under test, driven as the kernel would drive it: lookups from the
//! root, a handle for each operation, forgets for every answer.

use std::collections::BTreeMap;
use std::fs;
use std::ops::ControlFlow;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use keepfs::codec::geometry::Geometry;
use keepfs::codec::kdf::{KdfCaps, KdfCost};
use keepfs::codec::vault::{Credential, KeyFile};
use keepfs::mount::Overwrites;
use keepfs::name::PlainName;
use keepfs::types::{Caller, Fh, FileKind, Ino, RenameMode, SetTime, Time};
use keepfs::vault::file::SizeRule;
use keepfs::vault::init::{InitOptions, init};
use keepfs::vault::{LockedVault, SlotChoice, Vault};
use keepfs::view::{
    Fallocate, FsError, HandleAccess, Mutability, OpenHow, SetAttr, Strictness, Truncate, View,
    ViewOptions, WriteCaller, XattrMode,
};

use tempfile::TempDir;

use super::backing::{Backing, new_dir};
use super::ops::{Mode, Op, bytes, name, target, xattr_name, xattr_value};
use super::reference::{
    Failure, Outcome, Reference, Tree, describe_dir, describe_file, describe_link,
};

pub(crate) struct Subject {
    vault: Arc<Vault>,
    view: View,
    held: Option<(Fh, Ino)>,
    chunk: usize,
    /// Stands for the root.
    base: PlainName,
    backing: TempDir,
}

const CALLER: Caller = Caller {
    uid: 0,
    gid: 0,
    umask: 0o022,
};

const READ_WRITE: OpenHow = OpenHow {
    access: HandleAccess::ReadWrite,
    truncate: Truncate::Keep,
};

fn view(vault: &Arc<Vault>) -> View {
    let options = ViewOptions {
        mutability: Mutability::ReadWrite,
        strictness: Strictness::Strict,
        freshness: Duration::from_secs(1),
        followed: Duration::from_secs(1),
    };
    View::new(Arc::clone(vault), options).unwrap()
}

fn key_file() -> Credential {
    Credential::KeyFile(KeyFile::from_bytes(b"model".to_vec()).unwrap())
}

/// A vault of its own for each sequence. A key file opens it: deriving a key
/// from a passphrase takes longer than the operations.
fn new_vault(backing: &Path, geometry: Geometry) -> Arc<Vault> {
    let options = InitOptions {
        geometry,
        cost: KdfCost {
            memory_kib: 64 * 1024,
            passes: 3,
            lanes: 4,
        },
        label: String::new(),
        credential: key_file(),
    };
    init(backing, &options).unwrap();
    let vault = LockedVault::open(backing)
        .unwrap()
        .unlock(&key_file(), &KdfCaps { ram_kib: 1 << 22 }, SlotChoice::Any)
        .unwrap();
    Arc::new(vault)
}

impl Subject {
    pub(crate) fn new(geometry: Geometry, overwrites: Overwrites) -> Self {
        let backing = new_dir();
        let vault = new_vault(backing.path(), geometry);
        if overwrites == Overwrites::Journalled {
            vault.begin_journal();
        }
        let view = view(&vault);
        let base = plain(b"base");
        let made = view.mkdir(&CALLER, Ino::ROOT, &base, 0o755).unwrap();
        view.forget(made.attr.ino, 1);
        Self {
            view,
            vault,
            base,
            held: None,
            chunk: geometry.chunk_size(),
            backing,
        }
    }

    /// Makes a file, and puts another one in its place on the backing. The
    /// number and the time that the kernel still knows.
    pub(crate) fn make_and_replace_underneath(&self) -> (Ino, Time) {
        let made = self
            .at(&[], |dir| {
                let (entry, opened) =
                    self.view
                        .create(&CALLER, dir, &plain(b"a"), 0o644, READ_WRITE)?;
                self.view.release(opened.fh);
                Ok(entry.attr.ino)
            })
            .unwrap();
        let seen = self.view.getattr(made, None).unwrap();
        let entries = |dir: &Path| {
            fs::read_dir(dir)
                .unwrap()
                .map(|entry| entry.unwrap().path())
        };
        let base = entries(self.backing.path())
            .find(|path| path.is_dir() && !path.to_string_lossy().contains("keepfs."))
            .unwrap();
        let file = entries(&base).next().unwrap();
        let other = self.backing.path().join("other");
        fs::copy(&file, &other).unwrap();
        fs::rename(&other, &file).unwrap();
        (made, seen.mtime)
    }

    pub(crate) fn set_mtime(&self, ino: Ino, mtime: Time) -> Result<(), FsError> {
        let change = SetAttr {
            size: None,
            mtime: SetTime::At(mtime),
            ..size_change(0)
        };
        self.view.setattr(&CALLER, ino, None, &change).map(drop)
    }

    /// A fresh view over the same backing; everything must have been sealed.
    pub(crate) fn remount(&mut self) {
        if let Some((fh, ino)) = self.held.take() {
            self.view.release(fh);
            self.view.forget(ino, 1);
        }
        self.view.seal_all().unwrap();
        assert_eq!(self.view.status().inodes, 1, "every answer was forgotten");
        assert_eq!(self.view.status().open_for_writing, 0);
        self.view = view(&self.vault);
    }

    pub(crate) fn apply(&mut self, op: &Op, reference: &Reference) -> Outcome {
        match self.try_apply(op, reference) {
            Ok(None) => Outcome::Done,
            Ok(Some(read)) => Outcome::Read(read),
            Err(error) => Outcome::Failed(failure(error)),
        }
    }

    /// Runs `f` on an object, with every lookup on the way forgotten after.
    fn at<T>(
        &self,
        path: &[Vec<u8>],
        f: impl FnOnce(Ino) -> Result<T, FsError>,
    ) -> Result<T, FsError> {
        let mut ino = Ino::ROOT;
        let mut answers = Vec::new();
        let mut found = Ok(());
        let components = path.iter().map(|component| plain(component));
        for component in std::iter::once(self.base.clone()).chain(components) {
            match self.view.lookup(ino, &component) {
                Ok(entry) => {
                    ino = entry.attr.ino;
                    answers.push(ino);
                }
                Err(error) => {
                    found = Err(error);
                    break;
                }
            }
        }
        let result = found.and_then(|()| f(ino));
        for ino in answers {
            self.view.forget(ino, 1);
        }
        result
    }

    fn file<T>(
        &self,
        path: &[Vec<u8>],
        pick: usize,
        f: impl FnOnce(Fh) -> Result<T, FsError>,
    ) -> Result<T, FsError> {
        self.at(&joined(path, pick), |ino| {
            self.must_be_file(ino)?;
            let fh = self.view.open(ino, READ_WRITE, &CALLER)?.fh;
            let result = f(fh);
            self.view.release(fh);
            result
        })
    }

    fn must_be_file(&self, ino: Ino) -> Result<(), FsError> {
        match self.view.getattr(ino, None)?.kind {
            FileKind::Regular => Ok(()),
            FileKind::Directory => Err(FsError::IsDirectory),
            _ => Err(FsError::NotPermitted),
        }
    }

    fn try_apply(&mut self, op: &Op, reference: &Reference) -> Result<Option<Vec<u8>>, FsError> {
        let view = &self.view;
        let chunk = self.chunk;
        match *op {
            Op::Create(d, n) => self.at(&reference.path_of(d), |dir| {
                let (entry, opened) =
                    view.create(&CALLER, dir, &plain(&name(n)), 0o644, READ_WRITE)?;
                view.release(opened.fh);
                view.forget(entry.attr.ino, 1);
                Ok(())
            })?,
            Op::Mkdir(d, n) => self.at(&reference.path_of(d), |dir| {
                let entry = view.mkdir(&CALLER, dir, &plain(&name(n)), 0o755)?;
                view.forget(entry.attr.ino, 1);
                Ok(())
            })?,
            Op::Symlink(d, n, t) => self.at(&reference.path_of(d), |dir| {
                let entry = view.symlink(&CALLER, dir, &plain(&name(n)), &target(t))?;
                view.forget(entry.attr.ino, 1);
                Ok(())
            })?,
            Op::Link(from, to) => {
                self.at(&joined(&reference.path_of(from.0), from.1), |ino| {
                    if view.getattr(ino, None)?.kind == FileKind::Directory {
                        return Err(FsError::NotPermitted);
                    }
                    self.at(&reference.path_of(to.0), |dir| {
                        let entry = view.link(ino, dir, &plain(&name(to.1)))?;
                        view.forget(entry.attr.ino, 1);
                        Ok(())
                    })
                })?;
            }
            Op::Unlink(d, n) => self.at(&reference.path_of(d), |dir| {
                view.unlink(dir, &plain(&name(n)))
            })?,
            Op::Rmdir(d, n) => self.at(&reference.path_of(d), |dir| {
                view.rmdir(dir, &plain(&name(n)))
            })?,
            Op::Rename(from, to, mode) => {
                self.rename(
                    (reference.path_of(from.0), from.1),
                    (reference.path_of(to.0), to.1),
                    mode,
                )?;
            }
            Op::Write(d, n, at, len, seed) => self.file(&reference.path_of(d), n, |fh| {
                let bytes = bytes(seed, len.get(chunk));
                view.write(fh, at.get(chunk), &bytes, WriteCaller::KeepSuid)
            })?,
            Op::Truncate(d, n, size) => {
                self.at(&joined(&reference.path_of(d), n), |ino| {
                    self.must_be_file(ino)?;
                    let attr = view.setattr(&CALLER, ino, None, &size_change(size.get(chunk)))?;
                    assert_eq!(attr.size, size.get(chunk));
                    Ok(())
                })?;
            }
            Op::OpenTruncate(d, n) => self.at(&joined(&reference.path_of(d), n), |ino| {
                self.must_be_file(ino)?;
                let how = OpenHow {
                    access: HandleAccess::Write,
                    truncate: Truncate::ToZero,
                };
                let fh = view.open(ino, how, &CALLER)?.fh;
                view.release(fh);
                Ok(())
            })?,
            Op::Punch(d, n, at, len) => self.file(&reference.path_of(d), n, |fh| {
                let (at, len) = (at.get(chunk), len.get(chunk));
                view.fallocate(fh, at, len, Fallocate::PunchHole, &CALLER)
            })?,
            Op::ZeroRange(d, n, at, len, keep) => self.file(&reference.path_of(d), n, |fh| {
                let rule = if keep { SizeRule::Keep } else { SizeRule::Grow };
                let (at, len) = (at.get(chunk), len.get(chunk));
                if len == 0 {
                    return Ok(());
                }
                view.fallocate(fh, at, len, Fallocate::ZeroRange(rule), &CALLER)
            })?,
            Op::Read(d, n, at, len) => {
                return self.file(&reference.path_of(d), n, |fh| {
                    self.read(fh, at.get(chunk), len.get(chunk)).map(Some)
                });
            }
            Op::Copy(from, to, x, y, len) => {
                let (a, b) = (reference.path_of(from.0), reference.path_of(to.0));
                self.file(&a, from.1, |from_fh| {
                    self.file(&b, to.1, |to_fh| {
                        let inos = [&joined(&a, from.1), &joined(&b, to.1)]
                            .map(|path| self.at(path, Ok).unwrap());
                        if inos[0] == inos[1] {
                            return Err(FsError::NotPermitted);
                        }
                        let (from, to) = ((from_fh, x.get(chunk)), (to_fh, y.get(chunk)));
                        view.copy_range(from, to, len.get(chunk), &CALLER)
                    })
                })?;
            }
            Op::SetXattr(d, n, x, v) => self.at(&joined(&reference.path_of(d), n), |ino| {
                self.must_carry_xattrs(ino)?;
                view.setxattr(ino, &xattr_name(x), &xattr_value(v), XattrMode::Any)
            })?,
            Op::RemoveXattr(d, n, x) => self.at(&joined(&reference.path_of(d), n), |ino| {
                self.must_carry_xattrs(ino)?;
                view.removexattr(ino, &xattr_name(x))
            })?,
            Op::Hold(d, n) => {
                let path = joined(&reference.path_of(d), n);
                let held = self.at(&path, |ino| {
                    self.must_be_file(ino)?;
                    let fh = view.open(ino, READ_WRITE, &CALLER)?.fh;
                    // The kernel keeps an inode while it is open.
                    self.keep(ino, &path);
                    Ok((fh, ino))
                })?;
                self.let_go();
                self.held = Some(held);
            }
            Op::WriteHeld(at, len, seed) => {
                let (fh, ino) = self.held.ok_or(FsError::NotPermitted)?;
                let bytes = bytes(seed, len.get(chunk));
                view.write(fh, at.get(chunk), &bytes, WriteCaller::KeepSuid)?;
                view.getattr(ino, Some(fh))?;
            }
            Op::ReadHeld(at, len) => {
                let (fh, _) = self.held.ok_or(FsError::NotPermitted)?;
                return self.read(fh, at.get(chunk), len.get(chunk)).map(Some);
            }
            Op::Release => self.let_go(),
            Op::AnnounceIdle => view.seal_idle(Duration::from_nanos(1)),
            Op::SealIdle => view.seal_idle(Duration::ZERO),
            Op::Remount => self.remount(),
        }
        Ok(None)
    }

    /// Looks an open file up once more, and does not forget the answer.
    fn keep(&self, ino: Ino, path: &[Vec<u8>]) {
        let (last, parents) = path.split_last().unwrap();
        self.at(parents, |dir| {
            let entry = self.view.lookup(dir, &plain(last))?;
            assert_eq!(entry.attr.ino, ino, "an open file keeps its number");
            Ok(())
        })
        .unwrap();
    }

    fn let_go(&mut self) {
        if let Some((fh, ino)) = self.held.take() {
            self.view.release(fh);
            self.view.forget(ino, 1);
        }
    }

    fn must_carry_xattrs(&self, ino: Ino) -> Result<(), FsError> {
        match self.view.getattr(ino, None)?.kind {
            FileKind::Regular | FileKind::Directory => Ok(()),
            _ => Err(FsError::NotPermitted),
        }
    }

    fn rename(
        &self,
        from: (Vec<Vec<u8>>, usize),
        to: (Vec<Vec<u8>>, usize),
        mode: Mode,
    ) -> Result<(), FsError> {
        let (source, goal) = (joined(&from.0, from.1), joined(&to.0, to.1));
        let exists = |path: &[Vec<u8>]| self.at(path, |_| Ok(())).is_ok();
        // What the kernel checks before it asks a file system.
        self.at(&source, |_| Ok(()))?;
        match mode {
            Mode::NoReplace if exists(&goal) => return Err(FsError::Exists),
            Mode::Exchange if !exists(&goal) => return Err(FsError::NotFound),
            Mode::Replace | Mode::NoReplace | Mode::Exchange => {}
        }
        if source == goal {
            return Ok(());
        }
        if goal.starts_with(&source) || source.starts_with(&goal) {
            return Err(FsError::NotPermitted);
        }
        let mode = match mode {
            Mode::Replace => RenameMode::Replace,
            Mode::NoReplace => RenameMode::NoReplace,
            Mode::Exchange => RenameMode::Exchange,
        };
        // The kernel has looked both up, and keeps them while it renames.
        self.at(&source, |_| {
            let rename = |_| {
                self.at(&from.0, |from_dir| {
                    self.at(&to.0, |to_dir| {
                        let (a, b) = (plain(&name(from.1)), plain(&name(to.1)));
                        self.view.rename((from_dir, &a), (to_dir, &b), mode)
                    })
                })
            };
            if exists(&goal) {
                self.at(&goal, rename)
            } else {
                rename(Ino::ROOT)
            }
        })
    }

    fn read(&self, fh: Fh, at: u64, len: u64) -> Result<Vec<u8>, FsError> {
        let mut out = Vec::new();
        self.view.read(fh, at, len as usize, &mut out)?;
        Ok(out)
    }

    pub(crate) fn tree(&self) -> Tree {
        let mut tree = Tree::new();
        self.walk(&[], &mut tree);
        tree
    }

    fn walk(&self, path: &[Vec<u8>], tree: &mut Tree) {
        let mut names = Vec::new();
        self.at(path, |ino| {
            let fh = self.view.opendir(ino)?.fh;
            self.view.readdir(fh, 0, &mut |item| {
                names.push((item.name.to_vec(), item.ino, item.kind));
                ControlFlow::Continue(())
            })?;
            self.view.releasedir(fh);
            Ok(())
        })
        .unwrap();
        for (name, ino, kind) in names {
            if name == b"." || name == b".." {
                continue;
            }
            let mut full = path.to_vec();
            full.push(name);
            let line = self
                .at(&full, |found| {
                    let attr = self.view.getattr(found, None)?;
                    assert_eq!(attr.kind, kind, "as the listing said");
                    if Backing::get().lists_numbers {
                        assert_eq!(attr.ino, ino, "as the listing said");
                    }
                    self.describe(found, attr.kind, attr.size)
                })
                .unwrap();
            tree.insert(full.join(&b'/'), line);
            if kind == FileKind::Directory {
                self.walk(&full, tree);
            }
        }
    }

    fn describe(&self, ino: Ino, kind: FileKind, size: u64) -> Result<String, FsError> {
        Ok(match kind {
            FileKind::Regular => {
                let how = OpenHow {
                    access: HandleAccess::Read,
                    truncate: Truncate::Keep,
                };
                let fh = self.view.open(ino, how, &CALLER)?.fh;
                let bytes = self.read(fh, 0, size + 1)?;
                self.view.release(fh);
                assert_eq!(bytes.len() as u64, size);
                describe_file(&bytes, &self.xattrs(ino)?)
            }
            FileKind::Symlink => {
                let target = self.view.readlink(ino)?;
                assert_eq!(target.len() as u64, size);
                describe_link(&target)
            }
            _ => describe_dir(&self.xattrs(ino)?),
        })
    }

    fn xattrs(&self, ino: Ino) -> Result<BTreeMap<Vec<u8>, Vec<u8>>, FsError> {
        let names = self.view.listxattr(ino)?;
        names
            .into_iter()
            .map(|name| Ok((name.clone(), self.view.getxattr(ino, &name)?)))
            .collect()
    }
}

fn failure(error: FsError) -> Failure {
    match error {
        FsError::NotFound => Failure::NotFound,
        FsError::Exists => Failure::Exists,
        FsError::NotEmpty => Failure::NotEmpty,
        FsError::NotDirectory => Failure::NotDirectory,
        FsError::IsDirectory => Failure::IsDirectory,
        FsError::NoAttribute => Failure::NoAttribute,
        FsError::NotPermitted | FsError::NotSupported => Failure::Refused,
        // What the backing lacks.
        FsError::Backing(error)
            if matches!(
                error.raw_os_error(),
                Some(libc::EINVAL | libc::EPERM | libc::ENOSYS | libc::EOPNOTSUPP)
            ) =>
        {
            Failure::Refused
        }
        other => panic!("unexpected: {other}"),
    }
}

fn plain(bytes: &[u8]) -> PlainName {
    PlainName::new(bytes).unwrap()
}

fn joined(path: &[Vec<u8>], pick: usize) -> Vec<Vec<u8>> {
    let mut full = path.to_vec();
    full.push(name(pick));
    full
}

fn size_change(size: u64) -> SetAttr {
    SetAttr {
        mode: None,
        uid: None,
        gid: None,
        size: Some(size),
        atime: SetTime::Omit,
        mtime: SetTime::Omit,
        ctime: None,
    }
}
