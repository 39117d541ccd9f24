//! Floor 1: the format as pure functions, and the only code that touches key
//! bytes. No file, clock or log is used here; every function is total on any
//! bytes, and randomness enters through one function.
//!
//! | child | what it knows |
//! |---|---|
//! | [`secret`] | memory that holds keys |
//! | `random` | the one source of randomness |
//! | [`geometry`] | lengths, offsets and chunks |
//! | [`keys`] | the key tree and the keys of one file |
//! | `aead`, `siv`, `text` | the primitives as the format calls them |
//! | `parts` | a table of fields, taken apart |
//! | [`header`] | the header of a regular file |
//! | [`batch`] | runs of chunks, and the seal over them |
//! | [`journal`] | what shall replace live slots, before it does |
//! | [`names`], [`entry`] | cipher names, directory ids and pins; classes of entries |
//! | [`conflict`] | what the conflict copies of sync clients are called |
//! | [`link`], [`xattr`] | targets of symbolic links; extended attributes |
//! | [`kdf`], [`vault`] | passphrases; `keepfs.vault` and its slots |
//! | [`recovery`] | recovery codes, and shares of them |

mod aead;
pub mod batch;
pub mod conflict;
pub mod entry;
pub mod geometry;
pub mod header;
pub mod journal;
pub mod kdf;
pub mod keys;
pub mod link;
pub mod names;
mod parts;
mod random;
pub mod recovery;
pub mod secret;
mod siv;
#[cfg(test)]
mod testing;
mod text;
pub mod vault;
pub mod xattr;

use std::ops::Range;

pub use random::RandomError;

/// Bytes that are fit for the backing directory: encrypted or public by
/// design. Only `codec` can make one, so a function that takes it can never
/// be handed plaintext.
#[derive(Clone, Copy)]
pub struct Sealed<'a>(&'a [u8]);

impl<'a> Sealed<'a> {
    pub(in crate::codec) fn new(bytes: &'a [u8]) -> Self {
        Self(bytes)
    }

    /// The bytes to be written.
    #[must_use]
    pub fn bytes(self) -> &'a [u8] {
        self.0
    }

    /// Some of them.
    #[must_use]
    pub fn part(self, range: Range<usize>) -> Self {
        Self(&self.0[range])
    }

    /// How many bytes there are.
    #[must_use]
    pub fn len(self) -> usize {
        self.0.len()
    }

    /// Whether there are none.
    #[must_use]
    pub fn is_empty(self) -> bool {
        self.0.is_empty()
    }
}
