//! [`Remedy`]: what will be done to one object, in words.

use std::fmt;

use crate::check::finding::shown;
use crate::name::PlainName;
use crate::types::DirId;

/// Something that will be done to one object.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Remedy {
    /// Sealed as it stands.
    Seal,
    /// A torn end is copied out and cut off, the rest sealed.
    SealWithoutEnd {
        /// Bytes of plaintext that stay.
        keeps: u64,
        /// Of how many.
        of: u64,
    },
    /// What stands behind its sealed end is copied out and cut off.
    CutExtra {
        /// Bytes of the backing that are cut off.
        bytes: u64,
    },
    /// A directory gets a pin with the id that its names open under.
    Pin {
        /// The id.
        id: DirId,
        /// How many of its names open under it.
        opens: usize,
        /// Whether anything states the id.
        stated: Stated,
    },
    /// A pin that states nothing is taken out.
    DropPin,
    /// Exchanged with the other directory that stands at its place.
    Exchange {
        /// The other's path on the backing.
        cipher_path: Vec<u8>,
        /// Its path in plain, where it is known.
        plain_path: Option<Vec<u8>>,
    },
    /// Moved back to the directory it came from.
    MoveHome {
        /// That directory's path on the backing.
        cipher_dir: Vec<u8>,
        /// Its own path in plain, when it is back.
        plain_path: Vec<u8>,
    },
    /// Given a new name, since its own is lost.
    NewName {
        /// The name.
        name: PlainName,
    },
    /// A journal's changes are put in their place, and it is taken out.
    BringIn,
    /// Attributes that do not open are taken out.
    DropAttributes,
    /// Taken out of the vault.
    SetAside,
    /// Taken out of the vault: a directory that holds another one's names.
    SetAsideCopy {
        /// The other one's path in plain.
        of: Vec<u8>,
    },
}

/// Whether anything states the id of a directory.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Stated {
    /// A copy of its pin, or a person.
    Stated,
    /// Nothing but that all its names open under it.
    OnlyByItsNames,
}

impl Remedy {
    /// The word for it in `--json`; never changes.
    #[must_use]
    pub fn word(&self) -> &'static str {
        match self {
            Self::Seal => "seal",
            Self::SealWithoutEnd { .. } => "seal-without-end",
            Self::CutExtra { .. } => "cut-extra",
            Self::Pin { .. } => "pin",
            Self::DropPin => "drop-pin",
            Self::Exchange { .. } => "exchange",
            Self::MoveHome { .. } => "move-home",
            Self::NewName { .. } => "new-name",
            Self::BringIn => "bring-in",
            Self::DropAttributes => "drop-attributes",
            Self::SetAside | Self::SetAsideCopy { .. } => "set-aside",
        }
    }

    /// The path or name in plain that it concerns beside the object: where it
    /// goes, what it is exchanged with, whose names it holds.
    #[must_use]
    pub fn target(&self) -> Option<&[u8]> {
        match self {
            Self::Exchange { plain_path, .. } => plain_path.as_deref(),
            Self::MoveHome { plain_path, .. } => Some(plain_path),
            Self::NewName { name } => Some(name.bytes()),
            Self::SetAsideCopy { of } => Some(of),
            Self::Seal
            | Self::SealWithoutEnd { .. }
            | Self::CutExtra { .. }
            | Self::Pin { .. }
            | Self::DropPin
            | Self::BringIn
            | Self::DropAttributes
            | Self::SetAside => None,
        }
    }

    /// Whether it takes the object out of the vault, which is the last resort.
    #[must_use]
    pub fn takes_out(&self) -> bool {
        match self {
            Self::SetAside | Self::SetAsideCopy { .. } => true,
            Self::Seal
            | Self::SealWithoutEnd { .. }
            | Self::CutExtra { .. }
            | Self::Pin { .. }
            | Self::DropPin
            | Self::Exchange { .. }
            | Self::MoveHome { .. }
            | Self::NewName { .. }
            | Self::BringIn
            | Self::DropAttributes => false,
        }
    }

    /// Whether nothing else is to be done to the object before it is done.
    pub(super) fn settles_all(&self) -> bool {
        match self {
            Self::SetAside
            | Self::SetAsideCopy { .. }
            | Self::Pin { .. }
            | Self::DropPin
            | Self::Exchange { .. }
            | Self::MoveHome { .. } => true,
            Self::Seal
            | Self::SealWithoutEnd { .. }
            | Self::CutExtra { .. }
            | Self::NewName { .. }
            | Self::BringIn
            | Self::DropAttributes => false,
        }
    }
}

impl fmt::Display for Remedy {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Seal => f.write_str("seal it as it stands"),
            Self::SealWithoutEnd { keeps, of } => write!(
                f,
                "seal its first {keeps} of {of} bytes and move the torn rest to the quarantine"
            ),
            Self::CutExtra { bytes } => write!(
                f,
                "move the {bytes} bytes behind its sealed end to the quarantine"
            ),
            Self::Pin {
                opens,
                stated: Stated::Stated,
                ..
            } => write!(f, "restore its pin, under which {opens} of its names open"),
            Self::Pin { opens, .. } => write!(
                f,
                "pin it by its names, {opens} of which open under one id; look whether it is the \
                 directory you expect under this name"
            ),
            Self::DropPin => f.write_str("move its pin, which states nothing, to the quarantine"),
            Self::Exchange {
                cipher_path,
                plain_path,
            } => {
                let other = shown(plain_path.as_ref().unwrap_or(cipher_path));
                write!(f, "exchange it with {other}, which stands at its place")
            }
            Self::MoveHome { plain_path, .. } => {
                let to = shown(plain_path);
                write!(f, "move it back to where it came from: {to}")
            }
            Self::NewName { name } => write!(f, "give it the name {}", shown(name.bytes())),
            Self::BringIn => f.write_str(
                "put the changes it holds in their place, and move it to the quarantine",
            ),
            Self::DropAttributes => {
                f.write_str("move the attributes that do not open to the quarantine")
            }
            Self::SetAside => f.write_str("move it to the quarantine"),
            Self::SetAsideCopy { of } => write!(
                f,
                "move it to the quarantine: it holds the names of {}",
                shown(of)
            ),
        }
    }
}
