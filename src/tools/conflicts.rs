//! Conflict copies that sync clients made: which objects have some, and ending
//! that in favour of one version or all.

use super::list::size_of;
use super::{Located, PlainPath, ToolError, kind_in_words, shown};
use crate::name::{PlainName, RawName};
use crate::sys::fs::Stat;
use crate::types::{Access, FileKind, RenameMode};
use crate::vault::dir::{ConflictCopy, DirError, VaultDir};
use crate::vault::file::{Damage, File, FileError, SealVerdict, Standing};
use crate::vault::{LockedVault, Vault};

/// One version of an object that two devices changed.
#[derive(Debug)]
pub struct Version {
    /// The path it is shown at.
    pub path: PlainPath,
    /// What the backing knows of it.
    pub stat: Stat,
    /// Bytes in plain.
    pub size: u64,
    /// If it is a conflict copy: what is known of it.
    pub copy: Option<ConflictCopy>,
}

/// An object with conflict copies.
#[derive(Debug)]
pub struct Conflict {
    /// The path that all versions are versions of.
    pub path: PlainPath,
    /// The one that has it, unless that is gone.
    pub itself: Option<Version>,
    /// The others, by name.
    pub copies: Vec<Version>,
}

/// Which versions stay.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Keep {
    /// The one that was changed last.
    Newest,
    /// The one under the name itself.
    Mine,
    /// The conflict copy.
    Theirs,
    /// All, each under a name of its own.
    Both,
}

/// Why a conflict was not resolved. Nothing was changed then.
#[derive(Debug, thiserror::Error)]
pub enum ResolveError {
    /// Something cannot be read or written.
    #[error(transparent)]
    Tool(#[from] ToolError),
    /// There is nothing to resolve.
    #[error("{0} has no conflict copies")]
    NoConflict(String),
    /// Nothing has the name itself.
    #[error(
        "no version has the name {0} itself any more; --keep newest or theirs gives it to a copy"
    )]
    NoneHasTheName(String),
    /// More than one copy could be meant.
    #[error("{path} has {copies} conflict copies; say the path of the one that is to stay")]
    Ambiguous {
        /// The path that was said.
        path: String,
        /// How many.
        copies: usize,
    },
    /// A directory with something in it would have to go.
    #[error(
        "{0} is a directory and not empty; move what you need out of it in a mount, or --keep both"
    )]
    FullDirectory(String),
    /// The versions are not of one kind.
    #[error("{path} is a {this} and {other} a {that}; --keep both, or delete one in a mount")]
    Kinds {
        /// One version.
        path: String,
        /// What it is.
        this: &'static str,
        /// Another version.
        other: String,
        /// What that is.
        that: &'static str,
    },
    /// The version that is to stay is not whole.
    #[error("{path}, which is to stay, is not whole: {damage}; look at it before another goes")]
    NotWhole {
        /// Which version.
        path: String,
        /// What is wrong.
        damage: Damage,
    },
    /// Chunks of the version that is to stay are damaged.
    #[error(
        "{path}, which is to stay, has {chunks} damaged chunks; keep another or see keepfs check"
    )]
    DamagedChunks {
        /// Which version.
        path: String,
        /// How many.
        chunks: u64,
    },
    /// Directories are moved by one program at a time.
    #[error("directories are resolved while the vault is not mounted; or rename them in the mount")]
    DirectoryInUse,
}

/// What resolving did.
#[derive(Debug)]
pub struct Resolved {
    /// The versions that stayed, and where they are now.
    pub kept: Vec<PlainPath>,
    /// The paths at which versions were that are gone.
    pub removed: Vec<PlainPath>,
}

/// Whether another program may be working on the vault.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Alone {
    /// The vault is locked for this one.
    Yes,
    /// A mount may be using it.
    No,
}

impl Alone {
    /// Locks the vault for this program, if that can be.
    #[must_use]
    pub fn lock(vault: &LockedVault) -> Self {
        if vault.lock_exclusive().is_ok() {
            Self::Yes
        } else {
            Self::No
        }
    }
}

/// Hands out every object below `path` that has conflict copies, directory by
/// directory, by name. What cannot be read is returned at the end.
///
/// # Errors
/// `path` is not there; what `each` says.
pub fn find<E: From<ToolError>>(
    vault: &Vault,
    path: &PlainPath,
    each: &mut dyn FnMut(Conflict) -> Result<(), E>,
) -> Result<Vec<ToolError>, E> {
    let mut unread = Vec::new();
    let dir = match path.locate(vault)? {
        Located::Root(dir) => dir,
        Located::Entry {
            parent, name, stat, ..
        } => {
            if stat.kind() != Some(FileKind::Directory) {
                if let Some(conflict) = conflict_of(vault, path)? {
                    each(conflict)?;
                }
                return Ok(unread);
            }
            parent.open_child(vault, &name).map_err(failed(path))?
        }
    };
    // An explicit stack: a tree may be deeper than this thread's.
    let mut open = vec![(dir, path.clone(), None)];
    while let Some((dir, path, left)) = open.pop() {
        let mut left = match left {
            Some(left) => left,
            None => match entries(vault, &dir, &path) {
                Ok((conflicts, below)) => {
                    for conflict in conflicts {
                        each(conflict)?;
                    }
                    below
                }
                Err(error) => {
                    unread.push(error);
                    continue;
                }
            },
        };
        let Some(name) = left.pop() else {
            continue;
        };
        let child = dir.open_child(vault, &name);
        let below = path.join(name);
        open.push((dir, path, Some(left)));
        match child {
            Ok(child) => open.push((child, below, None)),
            Err(error) => unread.push(failed(&below)(error)),
        }
    }
    Ok(unread)
}

/// The conflict that `path` is a version of, with all others.
fn conflict_of(vault: &Vault, path: &PlainPath) -> Result<Option<Conflict>, ToolError> {
    let Some((name, above)) = path.0.split_last() else {
        return Ok(None);
    };
    let above = PlainPath(above.to_vec());
    let dir = directory(vault, &above)?;
    let found = dir.lookup(vault, name).map_err(failed(path))?;
    let original = found.and_then(|found| found.copy).map(|copy| copy.of);
    let original = above.join(original.unwrap_or_else(|| name.clone()));
    let (conflicts, _) = entries(vault, &dir, &above)?;
    Ok(conflicts.into_iter().find(|found| found.path == original))
}

fn directory(vault: &Vault, path: &PlainPath) -> Result<VaultDir, ToolError> {
    match path.locate(vault)? {
        Located::Root(dir) => Ok(dir),
        Located::Entry { parent, name, .. } => {
            parent.open_child(vault, &name).map_err(failed(path))
        }
    }
}

/// The conflicts of a directory by name, and the directories in it, the first
/// one last.
fn entries(
    vault: &Vault,
    dir: &VaultDir,
    path: &PlainPath,
) -> Result<(Vec<Conflict>, Vec<PlainName>), ToolError> {
    let mut listed = dir.list(vault).map_err(failed(path))?.entries;
    listed.sort_by(|a, b| a.name.cmp(&b.name));
    let version = |name: &PlainName, entry: &RawName, copy: Option<&ConflictCopy>| {
        let path = path.join(name.clone());
        let stat = dir.store().stat(entry);
        let stat = stat.map_err(|error| failed(&path)(error.into()))?;
        Ok(Version {
            size: size_of(vault, &stat),
            path,
            stat,
            copy: copy.cloned(),
        })
    };
    let mut conflicts: Vec<Conflict> = Vec::new();
    for entry in &listed {
        let Some(copy) = entry.copy.as_deref() else {
            continue;
        };
        let original = path.join(copy.of.clone());
        let this = version(&entry.name, &entry.entry, Some(copy))?;
        match conflicts.iter_mut().find(|c| c.path == original) {
            Some(known) => known.copies.push(this),
            None => {
                let own = |e: &&crate::vault::dir::Listed| e.copy.is_none() && e.name == copy.of;
                let itself = listed.iter().find(own);
                let itself = itself
                    .map(|e| version(&e.name, &e.entry, None))
                    .transpose()?;
                conflicts.push(Conflict {
                    path: original,
                    itself,
                    copies: vec![this],
                });
            }
        }
    }
    let below = listed.into_iter().rev();
    let below = below.filter(|entry| entry.kind == FileKind::Directory);
    Ok((conflicts, below.map(|entry| entry.name).collect()))
}

/// Ends the conflict that `path` is a version of. If `path` is a copy's, it is
/// between that and the object itself; else between all versions.
///
/// What stays is read and proven whole before anything else goes.
///
/// # Errors
/// [`ResolveError`]; where the backing refuses a step, what went before stays
/// done, and the same call goes on from there.
pub fn resolve(
    vault: &Vault,
    path: &PlainPath,
    keep: Keep,
    alone: Alone,
) -> Result<Resolved, ResolveError> {
    let mut conflict =
        conflict_of(vault, path)?.ok_or_else(|| ResolveError::NoConflict(path.shown()))?;
    if conflict.copies.iter().any(|copy| copy.path == *path) {
        conflict.copies.retain(|copy| copy.path == *path);
    }
    let dirs = conflict
        .versions()
        .any(|v| v.kind() == Some(FileKind::Directory));
    if dirs && alone == Alone::No {
        return Err(ResolveError::DirectoryInUse);
    }
    let above = PlainPath(
        conflict
            .path
            .0
            .split_last()
            .map_or(Vec::new(), |(_, up)| up.to_vec()),
    );
    let dir = directory(vault, &above)?;
    let at = Resolver { vault, dir, above };
    if keep == Keep::Both {
        return at.keep_all(&conflict);
    }
    let winner = conflict.winner(keep)?;
    at.can_go(&conflict, winner)?;
    at.is_whole(winner)?;
    at.keep_one(&conflict, winner)
}

impl Version {
    fn kind(&self) -> Option<FileKind> {
        self.stat.kind()
    }

    fn name(&self) -> &PlainName {
        self.path.0.last().expect("the root is no version")
    }
}

impl Conflict {
    /// All of them, the object itself first.
    pub fn versions(&self) -> impl Iterator<Item = &Version> {
        self.itself.iter().chain(&self.copies)
    }

    /// The version that was changed last; of several the first.
    #[must_use]
    pub fn newest(&self) -> &Version {
        let mut newest = &self.copies[0];
        for version in self.itself.iter().chain(&self.copies) {
            let later = version.stat.mtime > newest.stat.mtime;
            let same = version.stat.mtime == newest.stat.mtime;
            if later || same && version.copy.is_none() {
                newest = version;
            }
        }
        newest
    }

    fn winner(&self, keep: Keep) -> Result<&Version, ResolveError> {
        match keep {
            Keep::Newest | Keep::Both => Ok(self.newest()),
            Keep::Mine => self
                .itself
                .as_ref()
                .ok_or_else(|| ResolveError::NoneHasTheName(self.path.shown())),
            Keep::Theirs => match &self.copies[..] {
                [copy] => Ok(copy),
                copies => Err(ResolveError::Ambiguous {
                    path: self.path.shown(),
                    copies: copies.len(),
                }),
            },
        }
    }

    fn losers<'a>(&'a self, winner: &'a Version) -> impl Iterator<Item = &'a Version> {
        self.versions()
            .filter(|version| version.path != winner.path)
    }
}

/// The directory in which a conflict is resolved.
struct Resolver<'a> {
    vault: &'a Vault,
    dir: VaultDir,
    above: PlainPath,
}

impl Resolver<'_> {
    /// Each copy becomes an object of its own; if nothing has the original's
    /// name, the newest gets it.
    fn keep_all(&self, conflict: &Conflict) -> Result<Resolved, ResolveError> {
        let heir = conflict.itself.is_none().then(|| conflict.newest().name());
        let mut kept: Vec<PlainPath> = conflict.itself.iter().map(|v| v.path.clone()).collect();
        for copy in &conflict.copies {
            if Some(copy.name()) == heir {
                self.give_name(conflict, copy, RenameMode::NoReplace)?;
                kept.push(conflict.path.clone());
            } else {
                let adopted = self.dir.adopt_copy(self.vault, copy.name());
                adopted.map_err(failed(&copy.path))?;
                kept.push(copy.path.clone());
            }
        }
        self.sync()?;
        Ok(Resolved {
            kept,
            removed: Vec::new(),
        })
    }

    fn keep_one(&self, conflict: &Conflict, winner: &Version) -> Result<Resolved, ResolveError> {
        if winner.copy.is_some() {
            self.give_name(conflict, winner, RenameMode::Replace)?;
        }
        // What the winner replaced is gone by now; copies are still there.
        for copy in conflict.losers(winner).filter(|v| v.copy.is_some()) {
            let gone = if copy.kind() == Some(FileKind::Directory) {
                self.dir.rmdir(self.vault, copy.name())
            } else {
                self.dir.unlink(self.vault, copy.name())
            };
            gone.map_err(failed(&copy.path))?;
        }
        self.sync()?;
        Ok(Resolved {
            kept: vec![conflict.path.clone()],
            removed: conflict.losers(winner).map(|v| v.path.clone()).collect(),
        })
    }

    fn give_name(
        &self,
        conflict: &Conflict,
        copy: &Version,
        mode: RenameMode,
    ) -> Result<(), ResolveError> {
        let own = conflict.path.0.last().expect("the root has no copies");
        VaultDir::rename(self.vault, (&self.dir, copy.name()), (&self.dir, own), mode)
            .map_err(failed(&copy.path))?;
        Ok(())
    }

    fn sync(&self) -> Result<(), ToolError> {
        let synced = self.dir.store().sync();
        synced.map_err(|error| failed(&self.above)(error.into()))
    }

    /// Whether all versions but the winner may go.
    fn can_go(&self, conflict: &Conflict, winner: &Version) -> Result<(), ResolveError> {
        for loser in conflict.losers(winner) {
            if loser.kind() != winner.kind() {
                return Err(ResolveError::Kinds {
                    path: winner.path.shown(),
                    this: kind_in_words(winner.kind()),
                    other: loser.path.shown(),
                    that: kind_in_words(loser.kind()),
                });
            }
            if loser.kind() == Some(FileKind::Directory) {
                let inside = self.dir.open_child(self.vault, loser.name());
                let inside = inside.map_err(failed(&loser.path))?;
                let listing = inside.list(self.vault).map_err(failed(&loser.path))?;
                if !listing.entries.is_empty() || listing.undecryptable > 0 || listing.foreign > 0 {
                    return Err(ResolveError::FullDirectory(loser.path.shown()));
                }
            }
        }
        Ok(())
    }

    /// Reads all of a regular file or link.
    fn is_whole(&self, version: &Version) -> Result<(), ResolveError> {
        let damaged = |damage| ResolveError::NotWhole {
            path: version.path.shown(),
            damage,
        };
        if version.kind() == Some(FileKind::Symlink) {
            let target = self.dir.read_link(self.vault, version.name());
            target.map_err(failed(&version.path))?;
        }
        if version.kind() != Some(FileKind::Regular) {
            return Ok(());
        }
        let unread = |error| match error {
            FileError::Damaged(damage) => damaged(damage),
            error @ (FileError::Io(_)
            | FileError::TooBig
            | FileError::BeyondEnd
            | FileError::Random(_)
            | FileError::NotWritable) => ToolError::File {
                path: version.path.shown(),
                error,
            }
            .into(),
        };
        let store = self.dir.open_file(self.vault, version.name(), Access::Read);
        let store = store.map_err(failed(&version.path))?;
        let (file, standing) = File::open(self.vault, store).map_err(unread)?;
        if standing == Standing::Unsealed {
            return Err(damaged(Damage::NotSealed));
        }
        let contents = file.check(|_| ()).map_err(unread)?;
        match (contents.damaged_chunks, contents.seal) {
            (0, SealVerdict::Matches) => Ok(()),
            (0, SealVerdict::Differs) => Err(damaged(Damage::WrongSeal)),
            (0, SealVerdict::Unsealed) => Err(damaged(Damage::NotSealed)),
            (_, SealVerdict::Matches | SealVerdict::Differs | SealVerdict::Unsealed) => {
                Err(ResolveError::DamagedChunks {
                    path: version.path.shown(),
                    chunks: contents.damaged_chunks,
                })
            }
        }
    }
}

fn failed(path: &PlainPath) -> impl Fn(DirError) -> ToolError {
    let path = shown(&path.bytes());
    move |error| ToolError::Dir {
        path: path.clone(),
        error,
    }
}
