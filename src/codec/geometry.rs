//! Lengths, offsets and chunks: the one place where the two sides of a file
//! are converted into each other. FORMAT.md, regular files.
//!
//! ```text
//! header 128 | slot 0 | slot 1 | … | last slot
//! slot i     = nonce 24 | ciphertext of chunk i | tag 16, at 128 + i * (C + 40)
//! ```
//! Every chunk but the last has exactly C bytes; the last is always shorter,
//! possibly empty. So the length of a file tells the length of its plaintext,
//! one to one, and a file that was cut at a slot's end has an illegal length.

use crate::types::{ChunkNo, CipherLen, CipherOff, PlainLen, PlainOff};

/// Chunk size of a vault: C = 2^12 to 2^20 bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Geometry {
    chunk_log2: u8,
}

/// The logarithm of the chunk size is outside 12 to 20.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("a chunk size of 2^{0} bytes is not supported, only 2^12 to 2^20")]
pub struct BadChunkSize(pub u8);

/// No plaintext has this length on the backing.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0} bytes is not the length of any whole file")]
pub struct IllegalLen(pub CipherLen);

/// `HEADER_LEN` and `SLOT_OVERHEAD` in the width of file offsets.
const HEADER: u64 = 128;
const OVERHEAD: u64 = 40;
/// Largest length of a file, `off_t`.
const MAX_FILE_LEN: u64 = i64::MAX.unsigned_abs();

impl Geometry {
    /// 4 KiB chunks.
    pub const DEFAULT: Self = Self { chunk_log2: 12 };
    /// Length of a file's header, in bytes.
    pub const HEADER_LEN: usize = 128;
    /// What a slot is longer than its chunk: nonce 24, tag 16.
    pub const SLOT_OVERHEAD: usize = 40;
    /// Length on the backing of a file without contents: header, empty last slot.
    pub const EMPTY_FILE_LEN: usize = Self::HEADER_LEN + Self::SLOT_OVERHEAD;

    /// Chunks of `2^log2` bytes.
    ///
    /// # Errors
    /// `log2` is outside 12 to 20.
    pub fn from_log2(log2: u8) -> Result<Self, BadChunkSize> {
        if (12..=20).contains(&log2) {
            Ok(Self { chunk_log2: log2 })
        } else {
            Err(BadChunkSize(log2))
        }
    }

    /// Logarithm to base 2 of the chunk size.
    #[must_use]
    pub fn log2(self) -> u8 {
        self.chunk_log2
    }

    /// C: bytes of plaintext in a full chunk.
    #[must_use]
    pub fn chunk_size(self) -> usize {
        1 << self.chunk_log2
    }

    /// C + 40: bytes of a full slot.
    #[must_use]
    pub fn slot_size(self) -> usize {
        self.chunk_size() + Self::SLOT_OVERHEAD
    }

    fn chunk64(self) -> u64 {
        1 << self.chunk_log2
    }

    fn slot64(self) -> u64 {
        self.chunk64() + OVERHEAD
    }

    /// The chunk that holds the byte at `at`.
    #[must_use]
    pub fn chunk_of(self, at: PlainOff) -> ChunkNo {
        ChunkNo::new(at.get() >> self.chunk_log2)
    }

    /// Bytes between the start of its chunk and `at`.
    #[must_use]
    pub fn within_chunk(self, at: PlainOff) -> usize {
        usize::try_from(at.get() & (self.chunk64() - 1))
            .expect("less than the chunk size, at most 2^20")
    }

    /// Where chunk `chunk` begins; saturates at `u64::MAX`, beyond any file.
    #[must_use]
    pub fn chunk_start(self, chunk: ChunkNo) -> PlainOff {
        PlainOff::new(chunk.get().saturating_mul(self.chunk64()))
    }

    /// Where slot `chunk` begins; saturates at `u64::MAX`, beyond any file.
    #[must_use]
    pub fn slot_start(self, chunk: ChunkNo) -> CipherOff {
        CipherOff::new(
            chunk
                .get()
                .saturating_mul(self.slot64())
                .saturating_add(HEADER),
        )
    }

    /// The last chunk of a file of `len` bytes.
    #[must_use]
    pub fn last_chunk(self, len: PlainLen) -> ChunkNo {
        self.chunk_of(PlainOff::new(len.get()))
    }

    /// Bytes in the last chunk of a file of `len` bytes: 0 to C - 1.
    #[must_use]
    pub fn last_chunk_len(self, len: PlainLen) -> usize {
        self.within_chunk(PlainOff::new(len.get()))
    }

    /// Length on the backing of `len` bytes of plaintext,
    /// `128 + (n div C) * (C + 40) + 40 + (n mod C)`; `None` above `i64::MAX`.
    #[must_use]
    pub fn cipher_len(self, len: PlainLen) -> Option<CipherLen> {
        let rest = len.get() & (self.chunk64() - 1);
        (len.get() >> self.chunk_log2)
            .checked_mul(self.slot64())?
            .checked_add(HEADER + OVERHEAD + rest)
            .filter(|&total| total <= MAX_FILE_LEN)
            .map(CipherLen::new)
    }

    /// The longest plaintext that [`Self::cipher_len`] accepts.
    #[must_use]
    pub fn max_plain_len(self) -> PlainLen {
        self.longest_legal_prefix(CipherLen::new(MAX_FILE_LEN))
    }

    /// Length of the plaintext of a file of `len` bytes on the backing; the
    /// inverse of [`Self::cipher_len`].
    ///
    /// # Errors
    /// No plaintext has that length on the backing.
    pub fn plain_len(self, len: CipherLen) -> Result<PlainLen, IllegalLen> {
        let illegal = IllegalLen(len);
        if len.get() > MAX_FILE_LEN {
            return Err(illegal);
        }
        let slots = len.get().checked_sub(HEADER).ok_or(illegal)?;
        let last = (slots % self.slot64())
            .checked_sub(OVERHEAD)
            .ok_or(illegal)?;
        Ok(PlainLen::new(slots / self.slot64() * self.chunk64() + last))
    }

    /// Length of the plaintext of the longest legal file that is not longer
    /// than `len`; 0 if there is none.
    #[must_use]
    pub fn longest_legal_prefix(self, len: CipherLen) -> PlainLen {
        let Some(slots) = len.get().min(MAX_FILE_LEN).checked_sub(HEADER) else {
            return PlainLen::new(0);
        };
        let (full, rest) = (slots / self.slot64(), slots % self.slot64());
        PlainLen::new(match rest.checked_sub(OVERHEAD) {
            Some(last) => full * self.chunk64() + last,
            // Cut inside an overhead: the last full slot, one byte shorter,
            // is the end of a legal file.
            None => (full * self.chunk64()).saturating_sub(1),
        })
    }

    /// The slot that contains the byte at `at`; `None` inside the header.
    #[must_use]
    pub fn slot_at(self, at: CipherOff) -> Option<ChunkNo> {
        let slots = at.get().checked_sub(HEADER)?;
        Some(ChunkNo::new(slots / self.slot64()))
    }
}
