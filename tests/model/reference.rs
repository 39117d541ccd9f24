//! What a file system should do, in memory, as simply as possible.

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::rc::Rc;

use super::ops::{Mode, Op, bytes, name, target, xattr_name, xattr_value};

/// How an operation ended; both sides must agree.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Outcome {
    Done,
    Read(Vec<u8>),
    Failed(Failure),
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Failure {
    NotFound,
    Exists,
    NotEmpty,
    NotDirectory,
    IsDirectory,
    NoAttribute,
    /// EPERM, EINVAL and others whose exact number the kernel decides before us.
    Refused,
}

#[derive(Debug, Default)]
pub(crate) struct Content {
    pub(crate) bytes: Vec<u8>,
    pub(crate) xattrs: BTreeMap<Vec<u8>, Vec<u8>>,
}

#[derive(Clone, Debug)]
pub(crate) enum Object {
    File(Rc<RefCell<Content>>),
    /// Shared, since a symbolic link may have several names too.
    Symlink(Rc<Vec<u8>>),
    Dir(Rc<RefCell<Dir>>),
}

#[derive(Debug, Default)]
pub(crate) struct Dir {
    pub(crate) entries: BTreeMap<Vec<u8>, Object>,
    pub(crate) xattrs: BTreeMap<Vec<u8>, Vec<u8>>,
}

/// One line per object, for comparison.
pub(crate) type Tree = BTreeMap<Vec<u8>, String>;

pub(crate) struct Reference {
    root: Rc<RefCell<Dir>>,
    held: Option<Rc<RefCell<Content>>>,
}

type DirRef = Rc<RefCell<Dir>>;

impl Reference {
    pub(crate) fn new() -> Self {
        Self {
            root: Rc::default(),
            held: None,
        }
    }

    /// All directories with their paths, root first, in a fixed order.
    pub(crate) fn dirs(&self) -> Vec<(Vec<Vec<u8>>, DirRef)> {
        let mut found = vec![(Vec::new(), Rc::clone(&self.root))];
        let mut at = 0;
        while at < found.len() {
            let (path, dir) = found[at].clone();
            for (name, object) in &dir.borrow().entries {
                if let Object::Dir(child) = object {
                    let mut path = path.clone();
                    path.push(name.clone());
                    found.push((path, Rc::clone(child)));
                }
            }
            at += 1;
        }
        found
    }

    /// The path of the directory a pick means now.
    pub(crate) fn path_of(&self, pick: usize) -> Vec<Vec<u8>> {
        let dirs = self.dirs();
        dirs[pick % dirs.len()].0.clone()
    }

    fn dir(&self, pick: usize) -> DirRef {
        let dirs = self.dirs();
        Rc::clone(&dirs[pick % dirs.len()].1)
    }

    fn get(&self, (dir, pick): (usize, usize)) -> Result<Object, Failure> {
        let dir = self.dir(dir);
        let dir = dir.borrow();
        dir.entries
            .get(&name(pick))
            .cloned()
            .ok_or(Failure::NotFound)
    }

    fn file(&self, at: (usize, usize)) -> Result<Rc<RefCell<Content>>, Failure> {
        match self.get(at)? {
            Object::File(content) => Ok(content),
            Object::Dir(_) => Err(Failure::IsDirectory),
            Object::Symlink(_) => Err(Failure::Refused),
        }
    }

    /// Whether an operation takes a name away from the file that is held.
    pub(crate) fn ends_held(&self, op: &Op) -> bool {
        let gone = match *op {
            Op::Unlink(d, n) => self.get((d, n)),
            Op::Rename(_, to, Mode::Replace) => self.get(to),
            _ => return false,
        };
        match (gone, &self.held) {
            (Ok(Object::File(gone)), Some(held)) => Rc::ptr_eq(&gone, held),
            _ => false,
        }
    }

    /// Whether an operation may succeed although it is not offered: a rename
    /// of a name to itself.
    pub(crate) fn is_no_change(&self, op: &Op) -> bool {
        match *op {
            Op::Rename(from, to, _) => from.1 == to.1 && self.path_of(from.0) == self.path_of(to.0),
            _ => false,
        }
    }

    pub(crate) fn apply(&mut self, op: &Op, chunk: usize) -> Outcome {
        match self.try_apply(op, chunk) {
            Ok(None) => Outcome::Done,
            Ok(Some(read)) => Outcome::Read(read),
            Err(failure) => Outcome::Failed(failure),
        }
    }

    fn insert(&self, (dir, pick): (usize, usize), object: Object) -> Result<(), Failure> {
        let dir = self.dir(dir);
        let mut dir = dir.borrow_mut();
        if dir.entries.contains_key(&name(pick)) {
            return Err(Failure::Exists);
        }
        dir.entries.insert(name(pick), object);
        Ok(())
    }

    fn try_apply(&mut self, op: &Op, chunk: usize) -> Result<Option<Vec<u8>>, Failure> {
        match *op {
            Op::Create(d, n) => self.insert((d, n), Object::File(Rc::default()))?,
            Op::Mkdir(d, n) => self.insert((d, n), Object::Dir(Rc::default()))?,
            Op::Symlink(d, n, t) => self.insert((d, n), Object::Symlink(Rc::new(target(t))))?,
            Op::Link(from, to) => {
                let object = self.get(from)?;
                if matches!(object, Object::Dir(_)) {
                    return Err(Failure::Refused);
                }
                self.insert(to, object)?;
            }
            Op::Unlink(d, n) => {
                if matches!(self.get((d, n))?, Object::Dir(_)) {
                    return Err(Failure::IsDirectory);
                }
                self.dir(d).borrow_mut().entries.remove(&name(n));
            }
            Op::Rmdir(d, n) => {
                match self.get((d, n))? {
                    Object::Dir(dir) if dir.borrow().entries.is_empty() => {}
                    Object::Dir(_) => return Err(Failure::NotEmpty),
                    Object::File(_) | Object::Symlink(_) => return Err(Failure::NotDirectory),
                }
                self.dir(d).borrow_mut().entries.remove(&name(n));
            }
            Op::Rename(from, to, mode) => self.rename(from, to, mode)?,
            Op::Write(d, n, at, len, seed) => {
                let file = self.file((d, n))?;
                write(&file, at.get(chunk), &bytes(seed, len.get(chunk)));
            }
            Op::Truncate(d, n, size) => {
                let file = self.file((d, n))?;
                let size = size.get(chunk) as usize;
                file.borrow_mut().bytes.resize(size, 0);
            }
            Op::OpenTruncate(d, n) => self.file((d, n))?.borrow_mut().bytes.clear(),
            Op::Punch(d, n, at, len) => {
                let file = self.file((d, n))?;
                zero(&file, at.get(chunk), len.get(chunk), true);
            }
            Op::ZeroRange(d, n, at, len, keep) => {
                let file = self.file((d, n))?;
                zero(&file, at.get(chunk), len.get(chunk), keep);
            }
            Op::Read(d, n, at, len) => {
                let file = self.file((d, n))?;
                return Ok(Some(read(&file, at.get(chunk), len.get(chunk))));
            }
            Op::Copy(from, to, x, y, len) => {
                let (from, to) = (self.file(from)?, self.file(to)?);
                if Rc::ptr_eq(&from, &to) {
                    return Err(Failure::Refused);
                }
                let bytes = read(&from, x.get(chunk), len.get(chunk));
                write(&to, y.get(chunk), &bytes);
            }
            Op::SetXattr(d, n, x, v) => {
                self.with_xattrs((d, n), |map| {
                    map.insert(xattr_name(x), xattr_value(v));
                    Ok(())
                })?;
            }
            Op::RemoveXattr(d, n, x) => {
                self.with_xattrs((d, n), |map| {
                    map.remove(&xattr_name(x)).ok_or(Failure::NoAttribute)?;
                    Ok(())
                })?;
            }
            Op::Hold(d, n) => self.held = Some(self.file((d, n))?),
            Op::WriteHeld(at, len, seed) => {
                let held = self.held.as_ref().ok_or(Failure::Refused)?;
                write(held, at.get(chunk), &bytes(seed, len.get(chunk)));
            }
            Op::ReadHeld(at, len) => {
                let held = self.held.as_ref().ok_or(Failure::Refused)?;
                return Ok(Some(read(held, at.get(chunk), len.get(chunk))));
            }
            Op::Release | Op::Remount => self.held = None,
            Op::AnnounceIdle | Op::SealIdle => {}
        }
        Ok(None)
    }

    fn with_xattrs(
        &self,
        at: (usize, usize),
        change: impl FnOnce(&mut BTreeMap<Vec<u8>, Vec<u8>>) -> Result<(), Failure>,
    ) -> Result<(), Failure> {
        match self.get(at)? {
            Object::File(content) => change(&mut content.borrow_mut().xattrs),
            Object::Dir(dir) => change(&mut dir.borrow_mut().xattrs),
            Object::Symlink(_) => Err(Failure::Refused),
        }
    }

    fn rename(
        &mut self,
        from: (usize, usize),
        to: (usize, usize),
        mode: Mode,
    ) -> Result<(), Failure> {
        let (from_path, to_path) = (self.path_of(from.0), self.path_of(to.0));
        let (from_dir, to_dir) = (self.dir(from.0), self.dir(to.0));
        let source = self.get(from)?;
        let target = self.get(to).ok();
        let full = |path: &[Vec<u8>], pick| {
            let mut full = path.to_vec();
            full.push(name(pick));
            full
        };
        let (source_path, target_path) = (full(&from_path, from.1), full(&to_path, to.1));
        match (mode, &target) {
            (Mode::NoReplace, Some(_)) => return Err(Failure::Exists),
            (Mode::Exchange, None) => return Err(Failure::NotFound),
            _ => {}
        }
        // The kernel stops these before they reach a file system.
        if source_path == target_path {
            return Ok(());
        }
        if target_path.starts_with(&source_path) || source_path.starts_with(&target_path) {
            return Err(Failure::Refused);
        }
        if let (Mode::Exchange, Some(target)) = (mode, target.clone()) {
            from_dir.borrow_mut().entries.insert(name(from.1), target);
            to_dir.borrow_mut().entries.insert(name(to.1), source);
            return Ok(());
        }
        match (&source, &target) {
            (Object::File(a), Some(Object::File(b))) if Rc::ptr_eq(a, b) => return Ok(()),
            (Object::Symlink(a), Some(Object::Symlink(b))) if Rc::ptr_eq(a, b) => return Ok(()),
            (Object::Dir(_), Some(Object::Dir(dir))) if !dir.borrow().entries.is_empty() => {
                return Err(Failure::NotEmpty);
            }
            (Object::Dir(_), Some(Object::File(_) | Object::Symlink(_))) => {
                return Err(Failure::NotDirectory);
            }
            (Object::File(_) | Object::Symlink(_), Some(Object::Dir(_))) => {
                return Err(Failure::IsDirectory);
            }
            _ => {}
        }
        from_dir.borrow_mut().entries.remove(&name(from.1));
        to_dir.borrow_mut().entries.insert(name(to.1), source);
        Ok(())
    }

    pub(crate) fn tree(&self) -> Tree {
        let mut tree = Tree::new();
        for (path, dir) in self.dirs() {
            for (name, object) in &dir.borrow().entries {
                let mut full = path.clone();
                full.push(name.clone());
                let line = match object {
                    Object::File(content) => {
                        let content = content.borrow();
                        describe_file(&content.bytes, &content.xattrs)
                    }
                    Object::Symlink(target) => describe_link(target),
                    Object::Dir(dir) => describe_dir(&dir.borrow().xattrs),
                };
                tree.insert(full.join(&b'/'), line);
            }
        }
        tree
    }
}

type Xattrs = BTreeMap<Vec<u8>, Vec<u8>>;

pub(crate) fn describe_file(bytes: &[u8], xattrs: &Xattrs) -> String {
    let sum = bytes.iter().fold(0xcbf2_9ce4_8422_2325_u64, |hash, byte| {
        (hash ^ u64::from(*byte)).wrapping_mul(0x100_0000_01b3)
    });
    format!("file {} bytes, {sum:016x}, {xattrs:?}", bytes.len())
}

pub(crate) fn describe_link(target: &[u8]) -> String {
    format!("link {}", target.escape_ascii())
}

pub(crate) fn describe_dir(xattrs: &Xattrs) -> String {
    format!("directory {xattrs:?}")
}

fn write(file: &RefCell<Content>, at: u64, new: &[u8]) {
    if new.is_empty() {
        return;
    }
    let bytes = &mut file.borrow_mut().bytes;
    let (at, end) = (at as usize, at as usize + new.len());
    if bytes.len() < end {
        bytes.resize(end, 0);
    }
    bytes[at..end].copy_from_slice(new);
}

fn zero(file: &RefCell<Content>, at: u64, len: u64, keep_size: bool) {
    if len == 0 {
        return;
    }
    let bytes = &mut file.borrow_mut().bytes;
    let (at, end) = (at as usize, (at + len) as usize);
    if !keep_size && bytes.len() < end {
        bytes.resize(end, 0);
    }
    let end = end.min(bytes.len());
    if at < end {
        bytes[at..end].fill(0);
    }
}

fn read(file: &RefCell<Content>, at: u64, len: u64) -> Vec<u8> {
    let bytes = &file.borrow().bytes;
    let at = (at as usize).min(bytes.len());
    let end = (at + len as usize).min(bytes.len());
    bytes[at..end].to_vec()
}
