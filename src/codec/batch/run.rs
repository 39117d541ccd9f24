//! Which slots a run has.

use crate::codec::geometry::Geometry;
use crate::types::ChunkNo;

use super::{ChunkDamage, DamageKind, SealError, Tail};

/// Consecutive slots of one file: numbers, and the split into full slots and
/// the file's last one.
#[derive(Clone, Copy)]
pub(super) struct Run {
    pub(super) g: Geometry,
    first: u64,
    /// Number of full slots.
    pub(super) full: usize,
    /// Bytes of plaintext in the file's last chunk, if the run ends with it.
    pub(super) last: Option<usize>,
}

impl Run {
    /// The run that `len` bytes of plaintext make.
    pub(super) fn of_plain(
        g: Geometry,
        first: ChunkNo,
        len: usize,
        tail: Tail,
    ) -> Result<Self, SealError> {
        let (full, rest) = (len / g.chunk_size(), len % g.chunk_size());
        let last = match tail {
            Tail::Inside if rest != 0 => return Err(SealError::PartialChunk { len }),
            Tail::Inside => None,
            Tail::Last => Some(rest),
        };
        Self::numbered(g, first, full, last).ok_or(SealError::TooManyChunks)
    }

    /// The run that `len` bytes of slots are.
    pub(super) fn of_cipher(
        g: Geometry,
        first: ChunkNo,
        len: usize,
        tail: Tail,
    ) -> Result<Self, ChunkDamage> {
        let (full, rest) = (len / g.slot_size(), len % g.slot_size());
        let last = match tail {
            Tail::Inside => (rest == 0).then_some(None),
            Tail::Last => rest.checked_sub(Geometry::SLOT_OVERHEAD).map(Some),
        };
        let run = last.and_then(|last| Self::numbered(g, first, full, last));
        run.ok_or_else(|| ChunkDamage {
            chunk: ChunkNo::new(first.get().saturating_add(wide(full))),
            kind: DamageKind::WrongLength,
        })
    }

    fn numbered(g: Geometry, first: ChunkNo, full: usize, last: Option<usize>) -> Option<Self> {
        first.get().checked_add(wide(full))?;
        Some(Self {
            g,
            first: first.get(),
            full,
            last,
        })
    }

    pub(super) fn slots(self) -> usize {
        self.full + usize::from(self.last.is_some())
    }

    pub(super) fn plain_len(self) -> usize {
        self.full * self.g.chunk_size() + self.last.unwrap_or(0)
    }

    pub(super) fn cipher_len(self) -> usize {
        let last = self.last.map_or(0, |len| len + Geometry::SLOT_OVERHEAD);
        self.full * self.g.slot_size() + last
    }

    pub(super) fn chunk(self, index: usize) -> ChunkNo {
        ChunkNo::new(self.first + wide(index))
    }

    pub(super) fn damage(self, index: usize, kind: DamageKind) -> ChunkDamage {
        ChunkDamage {
            chunk: self.chunk(index),
            kind,
        }
    }
}

pub(super) fn wide(count: usize) -> u64 {
    u64::try_from(count).expect("Linux counts memory in at most 64 bits")
}
