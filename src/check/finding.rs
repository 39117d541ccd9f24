//! What can be wrong with a vault, ordered by what is lost.

use std::io;

use crate::codec::link::LinkError;
use crate::codec::names::PinError;
use crate::codec::xattr::XattrError;
use crate::vault::dir::DirError;
use crate::vault::file::{Contents, Damage};

/// Something that is not as it should be.
#[derive(Debug)]
pub struct Finding {
    /// The object's path on the backing, below the vault's directory.
    pub cipher_path: Vec<u8>,
    /// The object's path in plain, where it is known.
    pub plain_path: Option<Vec<u8>>,
    /// What is wrong.
    pub trouble: Trouble,
}

/// How much is lost, the least first.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Loss {
    /// Nothing: something is in the wrong place, or of no use.
    Nothing,
    /// Nothing that is known, but it cannot be proven.
    Unproven,
    /// It could not be looked at.
    Unknown,
    /// A part of the object.
    Part,
    /// The object, and what is inside it.
    Whole,
}

impl Loss {
    /// The word for it in `--json`; never changes.
    #[must_use]
    pub fn word(self) -> &'static str {
        match self {
            Self::Nothing => "nothing",
            Self::Unproven => "unproven",
            Self::Unknown => "unknown",
            Self::Part => "part",
            Self::Whole => "whole",
        }
    }
}

/// What is wrong.
#[derive(Debug, thiserror::Error)]
pub enum Trouble {
    /// It cannot be read from the backing.
    #[error("it cannot be read: {0}")]
    Unreadable(#[source] io::Error),
    /// A directory that the vault cannot say anything about.
    #[error(transparent)]
    Directory(DirError),
    /// A name that opens nowhere here.
    #[error("its name does not open in this directory")]
    NameDoesNotOpen,
    /// Not one name of a directory opens.
    #[error("none of the {entries} names in it opens")]
    NothingOpens {
        /// How many have the form of a name.
        entries: u64,
    },
    /// The rest of a long name is missing.
    #[error("the side file with its long name is missing")]
    NoSideFile,
    /// The rest of a long name is another.
    #[error("the side file with its long name holds something else")]
    WrongSideFile,
    /// The pin of a directory is none.
    #[error("its pin (keepfs.dir) is damaged: {0}")]
    BadPin(#[source] PinError),
    /// A pin that is gone, or made for another place, where a note has what it
    /// said.
    #[error("its pin (keepfs.dir) is lost; names in it open by what keepfs.names has kept of it")]
    LostPin,
    /// A pin that says nothing here.
    #[error("its pin (keepfs.dir) was made for another place; the names in it open without one")]
    IdlePin,
    /// A regular file that cannot be served, or not all of it.
    #[error("{0}")]
    File(Damage),
    /// A regular file that was left open.
    #[error("it was not sealed: left open by a crash, or copied while it was written")]
    LeftOpen,
    /// A regular file with something behind its end.
    #[error("there are bytes behind its sealed end")]
    Longer,
    /// Chunks that do not authenticate.
    #[error("{} of its chunks are damaged, the first is chunk {}", .0.damaged_chunks, first(.0))]
    Chunks(Contents),
    /// All chunks are the file's own, but not those that were sealed.
    #[error("its seal does not match its chunks: some were put back to an older state")]
    WrongSeal,
    /// A symbolic link whose target does not open.
    #[error("its target does not open: {0}")]
    Link(#[source] LinkError),
    /// An attribute that does not open.
    #[error("an extended attribute of it does not open: {0}")]
    Attribute(#[source] XattrError),
    /// A copy that a sync client made.
    #[error("it is a sync client's conflict copy of {}", crate::check::finding::shown(.of))]
    ConflictCopy {
        /// Plain name of the original.
        of: Vec<u8>,
    },
    /// A side file without its entry.
    #[error("it holds a long name whose file is gone, or is still to arrive")]
    OrphanedSideFile,
    /// A second object of the same name.
    #[error("another object of the same name is shown instead of it")]
    Hidden,
    /// The journal of a mount that did not end.
    #[error("it holds the last changes of a mount that was killed")]
    Journal,
    /// A file of keepfs that is of no use any more.
    #[error("it was left by an interrupted keepfs or a sync client")]
    Leftover,
    /// A temporary file of a sync client.
    #[error("it is a sync client's temporary file")]
    ClientTemp,
    /// Nothing of the vault.
    #[error("it has nothing to do with the vault")]
    Foreign,
}

fn first(contents: &Contents) -> u64 {
    contents.damaged.first().map_or(0, |(first, _)| first.get())
}

pub(super) fn shown(name: &[u8]) -> String {
    String::from_utf8_lossy(name).escape_debug().to_string()
}

impl Trouble {
    /// How much is lost.
    #[must_use]
    pub fn loss(&self) -> Loss {
        match self {
            Self::IdlePin
            | Self::LostPin
            | Self::ConflictCopy { .. }
            | Self::Hidden
            | Self::OrphanedSideFile
            | Self::Leftover
            | Self::ClientTemp
            | Self::Foreign => Loss::Nothing,
            Self::LeftOpen | Self::Longer | Self::Journal => Loss::Unproven,
            Self::Unreadable(_) => Loss::Unknown,
            Self::Chunks(_) | Self::WrongSeal | Self::Attribute(_) => Loss::Part,
            Self::File(damage) => match damage {
                Damage::Cut { is, .. } if is.get() > 0 => Loss::Part,
                Damage::Cut { .. }
                | Damage::InterruptedCreate
                | Damage::TooShort(_)
                | Damage::Header(_) => Loss::Whole,
                Damage::Chunk(_) | Damage::Missing(_) | Damage::WrongSeal => Loss::Part,
                Damage::NotSealed => Loss::Unproven,
            },
            Self::Directory(_)
            | Self::NameDoesNotOpen
            | Self::NothingOpens { .. }
            | Self::NoSideFile
            | Self::WrongSideFile
            | Self::BadPin(_)
            | Self::Link(_) => Loss::Whole,
        }
    }

    /// The word for it in `--json`; never changes.
    #[must_use]
    pub fn word(&self) -> &'static str {
        match self {
            Self::Unreadable(_) => "unreadable",
            Self::Directory(_) => "directory",
            Self::NameDoesNotOpen => "name-does-not-open",
            Self::NothingOpens { .. } => "nothing-opens",
            Self::NoSideFile => "no-side-file",
            Self::WrongSideFile => "wrong-side-file",
            Self::BadPin(_) => "bad-pin",
            Self::LostPin => "lost-pin",
            Self::IdlePin => "idle-pin",
            Self::File(damage) => match damage {
                Damage::InterruptedCreate => "interrupted-create",
                Damage::TooShort(_) => "too-short",
                Damage::Header(_) => "header",
                Damage::Cut { .. } => "cut",
                Damage::Chunk(_) | Damage::Missing(_) => "chunk",
                Damage::NotSealed => "left-open",
                Damage::WrongSeal => "wrong-seal",
            },
            Self::LeftOpen => "left-open",
            Self::Longer => "longer",
            Self::Chunks(_) => "chunks",
            Self::WrongSeal => "wrong-seal",
            Self::Link(_) => "link",
            Self::Attribute(_) => "attribute",
            Self::ConflictCopy { .. } => "conflict-copy",
            Self::Hidden => "hidden",
            Self::OrphanedSideFile => "orphaned-side-file",
            Self::Journal => "journal",
            Self::Leftover => "leftover",
            Self::ClientTemp => "client-temp",
            Self::Foreign => "foreign",
        }
    }

    /// What can be done about it.
    #[must_use]
    pub fn advice(&self) -> &'static str {
        match self {
            Self::Unreadable(_) => "check again once the backing can be read",
            Self::Directory(_) | Self::BadPin(_) => {
                "put its keepfs.dir back from a backup or an older version at the provider, or \
                 see what --repair finds"
            }
            Self::NameDoesNotOpen | Self::NothingOpens { .. } => {
                "it was moved or renamed on the backing, or its directory's keepfs.dir has not \
                 arrived: wait for the sync client, or see what --repair finds"
            }
            Self::NoSideFile | Self::WrongSideFile => {
                "wait for the sync client, or put the side file back from a backup; --repair \
                 gives it a new name"
            }
            Self::LostPin => "--repair puts it back; nothing is lost meanwhile",
            Self::IdlePin | Self::Leftover | Self::OrphanedSideFile => "it does no harm",
            Self::File(_) if self.loss() == Loss::Whole => {
                "put the file back from a backup or an older version at the provider"
            }
            Self::File(_) | Self::Chunks(_) | Self::WrongSeal => {
                "put the file back from a backup or an older version at the provider; --salvage \
                 writes what is whole of it elsewhere"
            }
            Self::LeftOpen | Self::Longer => {
                "look at the file in a mount; --repair seals it as it is"
            }
            Self::Journal => {
                "mount the vault on the machine that was writing it: that puts them in their \
                 place, and so does --repair on any"
            }
            Self::Link(_) | Self::Attribute(_) => "set it anew in a mount, or use a backup",
            Self::ConflictCopy { .. } => {
                "a mount shows it under this name: rename it over the original or delete it; \
                 keepfs conflicts lists all of them"
            }
            Self::Hidden => "rename the one that is shown to see it",
            Self::ClientTemp => "the sync client will see to it",
            Self::Foreign => "move it out of the vault if it is yours",
        }
    }
}
