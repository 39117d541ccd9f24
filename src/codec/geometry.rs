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

    /// Every chunk size there is, the smallest first.
    pub fn all() -> impl Iterator<Item = Self> {
        (12..=20).map(|chunk_log2| Self { chunk_log2 })
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

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a failed test may panic")]
    use proptest::prelude::*;

    use super::*;

    fn all() -> impl Iterator<Item = Geometry> {
        (12..=20).map(|log2| Geometry::from_log2(log2).unwrap())
    }

    fn any_geometry() -> impl Strategy<Value = Geometry> {
        (12u8..=20).prop_map(|log2| Geometry::from_log2(log2).unwrap())
    }

    #[test]
    fn only_chunks_of_4_kib_to_1_mib_exist() {
        for log2 in 0..=u8::MAX {
            let legal = (12..=20).contains(&log2);
            assert_eq!(Geometry::from_log2(log2).is_ok(), legal, "{log2}");
        }
        assert_eq!(Geometry::DEFAULT.chunk_size(), 4096);
        assert_eq!(Geometry::DEFAULT.slot_size(), 4136);
        assert_eq!(Geometry::EMPTY_FILE_LEN, 168);
    }

    #[test]
    fn lengths_are_those_of_the_format() {
        let g = Geometry::DEFAULT;
        for (plain, cipher) in [
            (0, 168),
            (1, 169),
            (4095, 4263),
            (4096, 128 + 4136 + 40),
            (4097, 128 + 4136 + 41),
            (8192, 128 + 2 * 4136 + 40),
        ] {
            let len = g.cipher_len(PlainLen::new(plain)).unwrap();
            assert_eq!(len, CipherLen::new(cipher), "{plain}");
            assert_eq!(g.plain_len(len), Ok(PlainLen::new(plain)));
        }
    }

    #[test]
    fn every_length_up_to_three_slots_is_legal_for_one_plaintext_or_none() {
        let g = Geometry::DEFAULT;
        let mut next_plain = 0;
        for len in (0..128 + 3 * 4136 + 41).map(CipherLen::new) {
            let legal = g.cipher_len(PlainLen::new(next_plain)) == Some(len);
            assert_eq!(g.plain_len(len).is_ok(), legal, "{len}");
            if legal {
                assert_eq!(g.plain_len(len), Ok(PlainLen::new(next_plain)));
                next_plain += 1;
            }
            let prefix = PlainLen::new(next_plain.saturating_sub(1));
            assert_eq!(g.longest_legal_prefix(len), prefix, "{len}");
        }
        assert_eq!(next_plain, 3 * 4096 + 1);
    }

    #[test]
    fn a_cut_at_the_end_of_a_slot_is_illegal() {
        for g in all() {
            for full in 1..4 {
                let cut = CipherLen::new(g.slot_start(ChunkNo::new(full)).get());
                assert_eq!(g.plain_len(cut), Err(IllegalLen(cut)));
            }
        }
    }

    #[test]
    fn the_longest_file_is_the_longest_that_linux_can_have() {
        for g in all() {
            let max = g.max_plain_len();
            let len = g.cipher_len(max).unwrap();
            assert_eq!(g.plain_len(len), Ok(max));
            assert!(len.get() <= MAX_FILE_LEN);
            assert_eq!(g.cipher_len(PlainLen::new(max.get() + 1)), None);
            assert_eq!(g.cipher_len(PlainLen::new(u64::MAX)), None);
            assert!(g.plain_len(CipherLen::new(u64::MAX)).is_err());
            assert_eq!(g.longest_legal_prefix(CipherLen::new(u64::MAX)), max);
        }
    }

    #[test]
    fn boundaries_of_every_chunk_size_are_where_the_format_says() {
        for g in all() {
            let size = u64::try_from(g.chunk_size()).unwrap();
            for chunk in [0, 1, 2, 1000] {
                let start = g.chunk_start(ChunkNo::new(chunk));
                assert_eq!(start.get(), chunk * size);
                assert_eq!(g.chunk_of(start), ChunkNo::new(chunk));
                assert_eq!(g.within_chunk(start), 0);
                let end = PlainOff::new(start.get() + size - 1);
                assert_eq!(g.chunk_of(end), ChunkNo::new(chunk));
                assert_eq!(g.within_chunk(end), g.chunk_size() - 1);
                let slot = g.slot_start(ChunkNo::new(chunk));
                assert_eq!(slot.get(), 128 + chunk * (size + 40));
                assert_eq!(g.slot_at(slot), Some(ChunkNo::new(chunk)));
                let before = g.slot_at(CipherOff::new(slot.get() - 1));
                assert_eq!(before, chunk.checked_sub(1).map(ChunkNo::new));
            }
            assert_eq!(g.last_chunk(PlainLen::new(size)), ChunkNo::new(1));
            assert_eq!(g.last_chunk_len(PlainLen::new(size)), 0);
            assert_eq!(g.last_chunk(PlainLen::new(size - 1)), ChunkNo::new(0));
            assert_eq!(
                g.last_chunk_len(PlainLen::new(size - 1)),
                g.chunk_size() - 1
            );
        }
    }

    #[test]
    fn numbers_beyond_any_file_saturate() {
        let last = ChunkNo::new(u64::MAX);
        assert_eq!(Geometry::DEFAULT.chunk_start(last), PlainOff::new(u64::MAX));
        assert_eq!(Geometry::DEFAULT.slot_start(last), CipherOff::new(u64::MAX));
    }

    proptest! {
        #[test]
        fn plain_and_cipher_lengths_are_one_to_one(g in any_geometry(), plain: u64) {
            match g.cipher_len(PlainLen::new(plain)) {
                Some(len) => prop_assert_eq!(g.plain_len(len), Ok(PlainLen::new(plain))),
                None => prop_assert!(plain > g.max_plain_len().get()),
            }
        }

        #[test]
        fn any_length_is_legal_or_has_a_shorter_legal_prefix(g in any_geometry(), len: u64) {
            let len = CipherLen::new(len);
            let prefix = g.longest_legal_prefix(len);
            match g.plain_len(len) {
                Ok(plain) => {
                    prop_assert_eq!(g.cipher_len(plain), Some(len));
                    prop_assert_eq!(prefix, plain);
                }
                Err(IllegalLen(illegal)) => {
                    prop_assert_eq!(illegal, len);
                    let legal = g.cipher_len(prefix).unwrap();
                    prop_assert!(legal < len || prefix.get() == 0);
                    let longer = g.cipher_len(PlainLen::new(prefix.get() + 1));
                    prop_assert!(longer.is_none_or(|longer| longer > len));
                }
            }
        }

        #[test]
        fn a_byte_lies_in_the_slot_of_its_chunk(g in any_geometry(), at in 0u64..1 << 50) {
            let at = PlainOff::new(at);
            let chunk = g.chunk_of(at);
            let within = u64::try_from(g.within_chunk(at)).unwrap();
            prop_assert_eq!(g.chunk_start(chunk).get() + within, at.get());
            let byte = CipherOff::new(g.slot_start(chunk).get() + 24 + within);
            prop_assert_eq!(g.slot_at(byte), Some(chunk));
        }
    }
}
