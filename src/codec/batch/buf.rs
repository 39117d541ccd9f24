//! The buffer that slots are sealed into.

use crate::codec::Sealed;
use crate::codec::aead::{NONCE_LEN, Nonce};
use crate::codec::geometry::Geometry;
use crate::codec::random::{self, RandomError};

use super::run::Run;

/// A reusable buffer of consecutive slots. Its memory is kept between uses.
#[derive(Default)]
pub struct SlotBuf {
    /// At least `len` bytes; grows only, so that nothing is zeroed twice.
    bytes: Vec<u8>,
    len: usize,
    nonces: Vec<u8>,
}

impl SlotBuf {
    /// The slots, ready to be written at the first one's start.
    #[must_use]
    pub fn sealed(&self) -> Sealed<'_> {
        Sealed::new(&self.bytes[..self.len])
    }

    /// Bytes of all slots together.
    #[must_use]
    pub fn len(&self) -> usize {
        self.len
    }

    /// Whether there are no slots.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// Forgets the slots and keeps the memory.
    pub fn clear(&mut self) {
        self.len = 0;
    }

    /// Holds `count` holes instead: what punching leaves, for backings that
    /// cannot punch.
    pub fn fill_with_holes(&mut self, g: Geometry, count: usize) {
        let len = count.saturating_mul(g.slot_size());
        grown(&mut self.bytes, len).fill(0);
        self.len = len;
    }

    /// Fresh nonces and room for the slots of `run`; empty until
    /// [`Self::finish`].
    pub(super) fn prepare(&mut self, run: Run) -> Result<(&[Nonce], &mut [u8]), RandomError> {
        let nonces = grown(&mut self.nonces, run.slots() * NONCE_LEN);
        random::fill(nonces)?;
        Ok((
            nonces.as_chunks().0,
            grown(&mut self.bytes, run.cipher_len()),
        ))
    }

    /// States that the slots of `run` have all been written.
    pub(super) fn finish(&mut self, run: Run) {
        self.len = run.cipher_len();
    }
}

/// The first `len` bytes of `buf`, which grows if it is shorter.
fn grown(buf: &mut Vec<u8>, len: usize) -> &mut [u8] {
    if buf.len() < len {
        buf.resize(len, 0);
    }
    &mut buf[..len]
}
