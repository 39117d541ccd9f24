//! Files that end before the backing's length tells: what stands behind a
//! sealed end is void, and only opening the file shows it.
//!
//! **Locks**: a leaf.

use std::collections::HashMap;

use parking_lot::RwLock;

use super::inodes::BackingKey;
use super::looks::Seen;
use crate::sys::fs::Stat;

/// So many are known at once; a vault in which there are more is searched anew.
const MOST: usize = 4096;

/// The lengths of such files, each for one look of its backing file. They outlive
/// what the kernel knows, which it forgets as soon as it was told a wrong length.
#[derive(Debug, Default)]
pub(super) struct ProvenSizes {
    known: RwLock<HashMap<BackingKey, (Seen, u64)>>,
}

impl ProvenSizes {
    /// The length of the plaintext, if it is known to be another than the
    /// backing's length tells.
    pub(super) fn of(&self, stat: &Stat) -> Option<u64> {
        let known = self.known.read();
        let (look, size) = known.get(&BackingKey::of(stat))?;
        (*look == Seen::of(stat)).then_some(*size)
    }

    /// Remembers a length.
    pub(super) fn prove(&self, stat: &Stat, size: u64) {
        let mut known = self.known.write();
        if known.len() >= MOST {
            known.clear();
        }
        known.insert(BackingKey::of(stat), (Seen::of(stat), size));
    }
}
