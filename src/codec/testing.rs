//! What the tests of this room share.

use crate::types::{DirId, FileId, VaultId};

use super::keys::{FileKeys, KeyTree, MasterKey};
use super::secret::Secret;

/// Bytes from hexadecimal digits; white space is skipped.
pub(in crate::codec) fn hex(digits: &str) -> Vec<u8> {
    let nibbles: Vec<u8> = digits
        .chars()
        .filter(|c| !c.is_whitespace())
        .map(|c| u8::try_from(c.to_digit(16).expect("a hexadecimal digit")).expect("below 16"))
        .collect();
    let (pairs, rest) = nibbles.as_chunks();
    assert!(rest.is_empty(), "an odd number of digits");
    pairs.iter().map(|[high, low]| high << 4 | low).collect()
}

/// The same, with a length known to the caller.
pub(in crate::codec) fn hex_array<const N: usize>(digits: &str) -> [u8; N] {
    hex(digits)
        .try_into()
        .expect("as many digits as the test says")
}

/// Keys of a vault that is the same in every test.
pub(in crate::codec) fn tree() -> KeyTree {
    let master = MasterKey::from_secret(Secret::make(|bytes| bytes.fill(0x42)));
    KeyTree::derive(VaultId::new([0x17; 16]), &master)
}

/// Keys of a file that is the same in every test.
pub(in crate::codec) fn file_keys() -> FileKeys {
    tree().file_keys(FileId::new([0x33; 16]))
}

/// A directory.
pub(in crate::codec) const DIR: DirId = DirId::new([0x55; 16]);
/// Another directory.
pub(in crate::codec) const OTHER_DIR: DirId = DirId::new([0x56; 16]);

/// All copies of `bytes` in which one bit is flipped.
pub(in crate::codec) fn bit_flips(bytes: &[u8]) -> impl Iterator<Item = Vec<u8>> {
    (0..bytes.len() * 8).map(|bit| {
        let mut flipped = bytes.to_vec();
        flipped[bit / 8] ^= 1 << (bit % 8);
        flipped
    })
}
