//! Listings of a vault without a mount.

use super::{Located, PlainPath, ToolError};
use crate::codec::link::target_plain_len;
use crate::sys::fs::Stat;
use crate::types::{CipherLen, FileKind};
use crate::vault::Vault;
use crate::vault::dir::VaultDir;

/// One object, for a line of a listing.
#[derive(Debug)]
pub struct Line {
    /// Its path in the vault.
    pub path: PlainPath,
    /// What it is; `None` for what no vault holds.
    pub kind: Option<FileKind>,
    /// What the backing knows of it.
    pub stat: Stat,
    /// Bytes in plain: contents of a file, target of a link, else 0.
    pub size: u64,
    /// Where a symbolic link leads, if that opens.
    pub target: Option<Vec<u8>>,
}

/// How deep a listing goes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Depth {
    /// The directory's own entries.
    Flat,
    /// And all that is below.
    Recursive,
}

/// Hands out what is at `path`: an object that is no directory itself, else
/// the entries of the directory, by name, each followed by what is inside it.
///
/// # Errors
/// `path` is not there; a directory cannot be read; what `each` says.
pub fn list<E: From<ToolError>>(
    vault: &Vault,
    path: &PlainPath,
    depth: Depth,
    each: &mut dyn FnMut(Line) -> Result<(), E>,
) -> Result<(), E> {
    let failed = |error| ToolError::Dir {
        path: path.shown(),
        error,
    };
    match path.locate(vault)? {
        Located::Root(dir) => inside(vault, &dir, path, depth, each),
        Located::Entry {
            parent, name, stat, ..
        } => {
            if stat.kind() == Some(FileKind::Directory) {
                let dir = parent.open_child(vault, &name).map_err(failed)?;
                return inside(vault, &dir, path, depth, each);
            }
            let target = target(vault, &parent, path, stat.kind());
            each(line(vault, path.clone(), stat, target))
        }
    }
}

fn inside<E: From<ToolError>>(
    vault: &Vault,
    dir: &VaultDir,
    path: &PlainPath,
    depth: Depth,
    each: &mut dyn FnMut(Line) -> Result<(), E>,
) -> Result<(), E> {
    // An explicit stack: a tree may be deeper than this thread's.
    let mut open = vec![entries(vault, dir, path)?];
    while let Some((dir, left)) = open.last_mut() {
        let Some((path, stat)) = left.pop() else {
            open.pop();
            continue;
        };
        let name = path.0.last().expect("an entry has a name").clone();
        let target = target(vault, dir, &path, stat.kind());
        let below = (depth == Depth::Recursive && stat.kind() == Some(FileKind::Directory))
            .then(|| dir.open_child(vault, &name))
            .transpose()
            .map_err(|error| ToolError::Dir {
                path: path.shown(),
                error,
            })?;
        each(line(vault, path.clone(), stat, target))?;
        if let Some(below) = below {
            open.push(entries(vault, &below, &path)?);
        }
    }
    Ok(())
}

/// A directory and what is left of its entries, the first one last.
type Open = (VaultDir, Vec<(PlainPath, Stat)>);

fn entries(vault: &Vault, dir: &VaultDir, path: &PlainPath) -> Result<Open, ToolError> {
    let failed = |error| ToolError::Dir {
        path: path.shown(),
        error,
    };
    let mut listed = dir.list(vault).map_err(failed)?.entries;
    listed.sort_by(|a, b| b.name.cmp(&a.name));
    let mut entries = Vec::with_capacity(listed.len());
    for entry in listed {
        let stat = dir.store().stat(&entry.entry);
        let stat = stat.map_err(|error| failed(error.into()))?;
        entries.push((path.join(entry.name), stat));
    }
    Ok((dir.clone(), entries))
}

fn target(
    vault: &Vault,
    dir: &VaultDir,
    path: &PlainPath,
    kind: Option<FileKind>,
) -> Option<Vec<u8>> {
    let name = path.0.last()?;
    (kind == Some(FileKind::Symlink))
        .then(|| dir.read_link(vault, name).ok())
        .flatten()
}

fn line(vault: &Vault, path: PlainPath, stat: Stat, target: Option<Vec<u8>>) -> Line {
    Line {
        path,
        kind: stat.kind(),
        size: size_of(vault, &stat),
        stat,
        target,
    }
}

/// Bytes in plain: contents of a file, target of a link, else 0.
pub(super) fn size_of(vault: &Vault, stat: &Stat) -> u64 {
    match stat.kind() {
        Some(FileKind::Regular) => {
            let len = CipherLen::new(stat.size);
            vault.geometry().longest_legal_prefix(len).get()
        }
        Some(FileKind::Symlink) => target_plain_len(stat.size).unwrap_or(0),
        Some(
            FileKind::Directory
            | FileKind::Fifo
            | FileKind::Socket
            | FileKind::CharDevice
            | FileKind::BlockDevice,
        )
        | None => 0,
    }
}
