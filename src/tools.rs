//! Floor 4: a vault without a mount: for scripts, for rescue, and for machines
//! that cannot mount. Writes nothing to the vault, but for an import and where a
//! conflict is resolved.
//!
//! | file | what it holds |
//! |---|---|
//! | this file | finding an object by its plain path, or by its path on the backing |
//! | [`list`] | listings |
//! | [`read`] | contents of regular files |
//! | [`conflicts`] | conflict copies that sync clients made, and ending them |
//! | [`transfer`] | whole trees out of a vault and into it |

pub mod conflicts;
pub mod list;
pub mod read;
pub mod transfer;

use std::io;

use crate::name::{BadName, PlainName, RawName};
use crate::sys::fs::Stat;
use crate::types::{DirId, FileKind};
use crate::vault::Vault;
use crate::vault::dir::{DirError, Meaning, VaultDir};
use crate::vault::file::FileError;

/// Why an object cannot be shown.
#[derive(Debug, thiserror::Error)]
pub enum ToolError {
    /// No object has that path.
    #[error("there is no {0} in the vault")]
    NotFound(String),
    /// A part of the path is no directory.
    #[error("{0} is not a directory")]
    NotADirectory(String),
    /// It has no contents.
    #[error("{path} is a {what}, not a regular file")]
    NotAFile {
        /// Which path.
        path: String,
        /// What it is.
        what: &'static str,
    },
    /// A part of the path cannot be a name.
    #[error("{path} is not a path: {why}")]
    BadPath {
        /// Which path.
        path: String,
        /// What is wrong.
        why: BadName,
    },
    /// A path on the backing that leads to no object of the vault.
    #[error("{0} on the backing is no object of the vault")]
    NoObject(String),
    /// A directory cannot be read.
    #[error("{path}: {error}")]
    Dir {
        /// Which path.
        path: String,
        /// Why.
        #[source]
        error: DirError,
    },
    /// A file cannot be read.
    #[error("{path}: {error}")]
    File {
        /// Which path.
        path: String,
        /// Why.
        #[source]
        error: FileError,
    },
}

/// A path inside a vault, in plain; the root has no parts.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct PlainPath(Vec<PlainName>);

/// An object that was found.
pub enum Located {
    /// The root directory.
    Root(VaultDir),
    /// Anything else.
    Entry {
        /// The directory it is in.
        parent: VaultDir,
        /// Its name there.
        name: PlainName,
        /// Its name on the backing.
        entry: RawName,
        /// What the backing knows of it.
        stat: Stat,
    },
}

impl PlainPath {
    /// Takes a path with slashes; empty parts and `.` mean nothing.
    ///
    /// # Errors
    /// [`ToolError::BadPath`], for `..` too.
    pub fn parse(path: &[u8]) -> Result<Self, ToolError> {
        let parts = path.split(|&byte| byte == b'/');
        parts
            .filter(|part| !part.is_empty() && *part != b".")
            .map(|part| {
                PlainName::new(part).map_err(|why| ToolError::BadPath {
                    path: shown(path),
                    why,
                })
            })
            .collect::<Result<_, _>>()
            .map(Self)
    }

    /// The path of `name` inside this one.
    #[must_use]
    pub fn join(&self, name: PlainName) -> Self {
        Self(self.0.iter().cloned().chain([name]).collect())
    }

    /// The bytes, with slashes between; nothing for the root.
    #[must_use]
    pub fn bytes(&self) -> Vec<u8> {
        let parts: Vec<&[u8]> = self.0.iter().map(PlainName::bytes).collect();
        parts.join(&b'/')
    }

    /// The id that a directory had when it was made at this path, as far as
    /// the directories above are still where they were.
    #[must_use]
    pub fn place(&self, vault: &Vault) -> DirId {
        let mut above = Some(vault.root_dir());
        let mut id = vault.keys().root_dir_id();
        for part in &self.0 {
            let place = vault.keys().place(id, part);
            above = above.and_then(|dir| dir.open_child(vault, part).ok());
            id = above.as_ref().map_or(place, VaultDir::id);
        }
        id
    }

    fn shown(&self) -> String {
        shown(&self.bytes())
    }

    /// Finds the object. Symbolic links on the way are not followed.
    ///
    /// # Errors
    /// It is not there, or something on the way cannot be read.
    pub fn locate(&self, vault: &Vault) -> Result<Located, ToolError> {
        let Some((name, parents)) = self.0.split_last() else {
            return Ok(Located::Root(vault.root_dir()));
        };
        let failed = |error| ToolError::Dir {
            path: self.shown(),
            error,
        };
        let mut parent = vault.root_dir();
        for part in parents {
            parent = parent
                .open_child(vault, part)
                .map_err(|error| match &error {
                    DirError::Backing(cause) if cause.kind() == io::ErrorKind::NotFound => {
                        ToolError::NotFound(self.shown())
                    }
                    DirError::Backing(cause) if cause.kind() == io::ErrorKind::NotADirectory => {
                        ToolError::NotADirectory(shown(part.bytes()))
                    }
                    DirError::Backing(_)
                    | DirError::PinUnreadable(_)
                    | DirError::PinMalformed(_)
                    | DirError::NothingOpens
                    | DirError::Link(_)
                    | DirError::Random(_) => failed(error),
                })?;
        }
        let found = parent.lookup(vault, name).map_err(failed)?;
        let found = found.ok_or_else(|| ToolError::NotFound(self.shown()))?;
        Ok(Located::Entry {
            parent,
            name: name.clone(),
            entry: found.entry,
            stat: found.stat,
        })
    }

    /// Where the object is on the backing, below the vault's directory.
    ///
    /// # Errors
    /// As of [`Self::locate`].
    pub fn on_backing(&self, vault: &Vault) -> Result<Vec<u8>, ToolError> {
        let mut path = Vec::new();
        for end in 1..=self.0.len() {
            let part = Self(self.0.iter().take(end).cloned().collect());
            if let Located::Entry { entry, .. } = part.locate(vault)? {
                if !path.is_empty() {
                    path.push(b'/');
                }
                path.extend_from_slice(entry.bytes());
            }
        }
        Ok(path)
    }

    /// The plain path of an object from its path on the backing.
    ///
    /// # Errors
    /// [`ToolError::NoObject`]; something on the way cannot be read.
    pub fn from_backing(vault: &Vault, path: &[u8]) -> Result<Self, ToolError> {
        let mut plain = Self::default();
        let mut dir = vault.root_dir();
        let mut parts = path
            .split(|&byte| byte == b'/')
            .filter(|part| !part.is_empty() && *part != b".")
            .peekable();
        while let Some(part) = parts.next() {
            let failed = |error| ToolError::Dir {
                path: shown(path),
                error,
            };
            let meaning = dir.meaning_of(vault, &RawName::new(part)).map_err(failed)?;
            let name = meaning.as_ref().and_then(Meaning::shown).cloned();
            let name = name.ok_or_else(|| ToolError::NoObject(shown(path)))?;
            if parts.peek().is_some() {
                dir = dir.open_child(vault, &name).map_err(failed)?;
            }
            plain = plain.join(name);
        }
        Ok(plain)
    }
}

impl Located {
    /// What it is; `None` for what no vault holds.
    #[must_use]
    pub fn kind(&self) -> Option<FileKind> {
        match self {
            Self::Root(_) => Some(FileKind::Directory),
            Self::Entry { stat, .. } => stat.kind(),
        }
    }
}

/// A kind of object in words.
#[must_use]
pub fn kind_in_words(kind: Option<FileKind>) -> &'static str {
    match kind {
        Some(FileKind::Regular) => "regular file",
        Some(FileKind::Directory) => "directory",
        Some(FileKind::Symlink) => "symbolic link",
        Some(FileKind::Fifo) => "named pipe",
        Some(FileKind::Socket) => "socket",
        Some(FileKind::CharDevice) => "character device",
        Some(FileKind::BlockDevice) => "block device",
        None => "unknown object",
    }
}

/// A path for a message, without control characters; the root is a slash.
fn shown(path: &[u8]) -> String {
    if path.is_empty() {
        "/".to_owned()
    } else {
        String::from_utf8_lossy(path).escape_debug().to_string()
    }
}
