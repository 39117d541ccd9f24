//! Where a copy begins and ends: a directory or an object of the vault, and a
//! plain directory that has nothing to do with the vault's own.

use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use super::plain::PlainTree;
use super::sealed::SealedTree;
use super::tree::{Tree, TreeError};
use super::{Engine, How, Progress, Report, Run, Subject, measure};
use crate::name::PlainName;
use crate::sys::fs::{DirFd, Stat};
use crate::tools::{Located, PlainPath, ToolError, shown};
use crate::types::FileKind;
use crate::vault::Vault;
use crate::vault::dir::VaultDir;

/// Why a copy cannot begin.
#[derive(Debug, thiserror::Error)]
pub enum TransferError {
    /// The path in the vault leads nowhere.
    #[error(transparent)]
    Tool(#[from] ToolError),
    /// The plain directory or file cannot be used.
    #[error("{}: {error}", in_words(path))]
    Plain {
        /// Which path.
        path: PathBuf,
        /// Why.
        #[source]
        error: TreeError,
    },
    /// The plain side has no name that could be copied.
    #[error("{} has no name to be copied under", in_words(.0))]
    Nameless(PathBuf),
    /// The plain side is below the vault's directory.
    #[error("{} is inside the vault's own directory, among the ciphertext", in_words(.0))]
    InsideVault(PathBuf),
    /// The vault's directory is below what is to be copied into it.
    #[error("the vault itself is inside {}, which would be copied into it", in_words(.0))]
    VaultInside(PathBuf),
    /// A directory of the vault cannot be used as a target.
    #[error("{path} in the vault: {error}")]
    Target {
        /// Which path.
        path: String,
        /// Why.
        #[source]
        error: TreeError,
    },
}

/// An unlocked vault and where its directory is.
#[derive(Clone, Copy)]
pub struct Place<'a> {
    /// The vault.
    pub vault: &'a Vault,
    /// Its directory.
    pub path: &'a Path,
}

impl Place<'_> {
    fn stat(self) -> Result<Stat, TransferError> {
        let stat = self.vault.root_dir().store().stat_itself();
        stat.map_err(|error| plain_error(self.path, error))
    }
}

fn plain_error(path: &Path, error: impl Into<TreeError>) -> TransferError {
    TransferError::Plain {
        path: path.to_owned(),
        error: error.into(),
    }
}

/// Copies what is at `from` in the vault into the directory `to`, which is
/// made if it does not exist: the contents of a directory, or a single
/// object under its name. Writes nothing to the vault.
///
/// # Errors
/// The copy cannot begin. How it went is in the report.
pub fn export(
    place: Place<'_>,
    from: &PlainPath,
    to: &Path,
    how: How,
    progress: &Progress<'_>,
) -> Result<Report, TransferError> {
    let failed = |error: TreeError| plain_error(to, error);
    let sealed = SealedTree(place.vault);
    let plain = plain_tree(place)?;
    let (source, subject) = inside(place.vault, from)?;
    if is_inside(to, place)? {
        return Err(TransferError::InsideVault(to.to_owned()));
    }
    let made_with = match subject {
        Subject::Inside(_) => 0o700,
        Subject::Entry(_) => 0o777,
    };
    let opened = match how.run {
        Run::Dry => DirFd::open_path(to),
        Run::Real => DirFd::create_path(to, made_with),
    };
    let root = match opened {
        Err(error) if how.run == Run::Dry && error.kind() == io::ErrorKind::NotFound => None,
        other => Some(plain.admit(other.map_err(TreeError::Io).map_err(failed)?)),
    };
    let root = root.transpose().map_err(failed)?;
    if let (Some(root), Run::Real) = (&root, how.run) {
        plain.prepare_dir(root).map_err(failed)?;
    }
    let engine = Engine::new(&sealed, &plain, root.map(Arc::new), how, progress);
    Ok(engine.run(source, subject))
}

/// Copies what is at `from` into the directory `to` of the vault, which is
/// made if it does not exist: the contents of a directory, or a single object
/// under its name. Nothing else may be working on the vault.
///
/// # Errors
/// The copy cannot begin. How it went is in the report.
pub fn import(
    from: &Path,
    place: Place<'_>,
    to: &PlainPath,
    how: How,
    progress: &Progress<'_>,
) -> Result<Report, TransferError> {
    let sealed = SealedTree(place.vault);
    let plain = plain_tree(place)?;
    if is_inside(from, place)? {
        return Err(TransferError::InsideVault(from.to_owned()));
    }
    let (source, subject) = outside(from)?;
    if let Subject::Inside(stat) = &subject
        && leads_to(place.path, stat)?
    {
        return Err(TransferError::VaultInside(from.to_owned()));
    }
    let root = target_inside(&sealed, to, how.run)?;
    let engine = Engine::new(&plain, &sealed, root.map(Arc::new), how, progress);
    Ok(engine.run(source, subject))
}

/// How many bytes [`export`] will deal with, roughly.
///
/// # Errors
/// The copy cannot begin.
pub fn measure_export(vault: &Vault, from: &PlainPath) -> Result<u64, TransferError> {
    let tree = SealedTree(vault);
    let (dir, subject) = inside(vault, from)?;
    Ok(size(&tree, dir, &subject))
}

/// How many bytes [`import`] will deal with, roughly.
///
/// # Errors
/// The copy cannot begin.
pub fn measure_import(from: &Path, place: Place<'_>) -> Result<u64, TransferError> {
    let (dir, subject) = outside(from)?;
    Ok(size(&plain_tree(place)?, dir, &subject))
}

fn size<T: Tree>(tree: &T, dir: T::Dir, subject: &Subject) -> u64 {
    match subject {
        Subject::Inside(_) => measure(tree, dir),
        Subject::Entry(name) => match tree.find(&dir, name) {
            Ok(Some(stat)) if stat.kind() == Some(FileKind::Regular) => stat.size,
            Ok(_) | Err(_) => 0,
        },
    }
}

fn plain_tree(place: Place<'_>) -> Result<PlainTree, TransferError> {
    Ok(PlainTree::new(&place.stat()?))
}

/// What `path` means in the vault.
fn inside(vault: &Vault, path: &PlainPath) -> Result<(VaultDir, Subject), TransferError> {
    let failed = |error| ToolError::Dir {
        path: path.shown(),
        error,
    };
    let dir = match path.locate(vault)? {
        Located::Root(dir) => dir,
        Located::Entry {
            parent, name, stat, ..
        } => {
            if stat.kind() != Some(FileKind::Directory) {
                return Ok((parent, Subject::Entry(name)));
            }
            parent.open_child(vault, &name).map_err(failed)?
        }
    };
    let stat = dir.store().stat_itself();
    let stat = stat.map_err(|error| failed(error.into()))?;
    Ok((dir, Subject::Inside(stat)))
}

/// What `path` means on the plain side. A link there is followed if it leads
/// to a directory: it is the user's own word.
fn outside(path: &Path) -> Result<(DirFd, Subject), TransferError> {
    let failed = |error: io::Error| plain_error(path, error);
    let not_a_dir = match DirFd::open_path(path) {
        Ok(dir) => {
            let stat = dir.stat_itself().map_err(failed)?;
            return Ok((dir, Subject::Inside(stat)));
        }
        Err(error) => error,
    };
    let Some(name) = path.file_name() else {
        return Err(failed(not_a_dir));
    };
    let name = PlainName::new(name.as_encoded_bytes())
        .map_err(|_| TransferError::Nameless(path.to_owned()))?;
    let parent = DirFd::open_path(parent_of(path)).map_err(failed)?;
    match parent.stat(name.bytes()).map_err(failed)?.kind() {
        Some(FileKind::Directory) => Err(failed(not_a_dir)),
        Some(_) | None => Ok((parent, Subject::Entry(name))),
    }
}

/// The target directory in the vault, made if it does not exist; `None` in a
/// dry run then.
fn target_inside(
    sealed: &SealedTree<'_>,
    path: &PlainPath,
    run: Run,
) -> Result<Option<VaultDir>, TransferError> {
    let failed = |error| TransferError::Target {
        path: path.shown(),
        error,
    };
    let prepared = |dir: VaultDir| {
        if run == Run::Real {
            sealed.prepare_dir(&dir).map_err(failed)?;
        }
        Ok(Some(dir))
    };
    let Some((name, parents)) = path.0.split_last() else {
        return prepared(sealed.0.root_dir());
    };
    let parent = PlainPath(parents.to_vec());
    let (parent, subject) = inside(sealed.0, &parent)?;
    if let Subject::Entry(_) = subject {
        return Err(ToolError::NotADirectory(path.shown()).into());
    }
    let there = sealed.find(&parent, name).map_err(failed)?;
    match (there.map(|stat| stat.kind()), run) {
        (None, Run::Dry) => return Ok(None),
        (None, Run::Real) => sealed.make_dir(&parent, name).map_err(failed)?,
        (Some(Some(FileKind::Directory)), _) => {}
        (Some(_), _) => return Err(ToolError::NotADirectory(path.shown()).into()),
    }
    prepared(sealed.open_dir(&parent, name).map_err(failed)?)
}

fn in_words(path: &Path) -> String {
    shown(path.as_os_str().as_encoded_bytes())
}

fn parent_of(path: &Path) -> &Path {
    match path.parent() {
        Some(parent) if parent != Path::new("") => parent,
        Some(_) | None => Path::new("."),
    }
}

/// Whether `path`, which need not exist, is the vault's directory or below it.
fn is_inside(path: &Path, place: Place<'_>) -> Result<bool, TransferError> {
    let from = if path.is_dir() { path } else { parent_of(path) };
    leads_to(from, &place.stat()?)
}

/// Whether the directory of `stat` is `path` or above it.
fn leads_to(path: &Path, stat: &Stat) -> Result<bool, TransferError> {
    let real = std::fs::canonicalize(path).map_err(|error| plain_error(path, error))?;
    Ok(real.ancestors().any(|above| {
        let above = DirFd::open_path(above).and_then(|dir| dir.stat_itself());
        above.is_ok_and(|above| (above.dev, above.ino) == (stat.dev, stat.ino))
    }))
}
