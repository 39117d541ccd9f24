//! AES-256-SIV with one string of associated data, for names, attribute names
//! and pins; RFC 5297. The output is `SIV 16 || ciphertext`.

use aes_siv::KeyInit;
use aes_siv::siv::Aes256Siv;

use super::secret::Secret;

/// What the output is longer than the input, in bytes.
pub(in crate::codec) const SIV_LEN: usize = 16;

/// Encrypts deterministically: equal inputs give equal outputs, and nothing
/// else is learned from them.
pub(in crate::codec) fn seal(key: &Secret<64>, ad: &[u8], plain: &[u8]) -> Vec<u8> {
    Aes256Siv::new(key.bytes().into())
        .encrypt([ad], plain)
        .expect("one associated string, and a Vec that can grow")
}

/// The inverse of [`seal`]; `None` unless `sealed` was made with this key and
/// associated data.
pub(in crate::codec) fn open(key: &Secret<64>, ad: &[u8], sealed: &[u8]) -> Option<Vec<u8>> {
    Aes256Siv::new(key.bytes().into())
        .decrypt([ad], sealed)
        .ok()
}
