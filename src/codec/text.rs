//! The text form of binary names, and the padding inside them.

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;

/// Block that names are padded to, in bytes.
const PAD_BLOCK: usize = 16;
const PAD_MARK: u8 = 0x80;

/// base64url without padding; RFC 4648 section 5.
pub(in crate::codec) fn encode(bytes: &[u8]) -> String {
    URL_SAFE_NO_PAD.encode(bytes)
}

/// The inverse of [`encode`], strict: every byte string has one text form, and
/// every other text is refused.
pub(in crate::codec) fn decode(text: &[u8]) -> Option<Vec<u8>> {
    URL_SAFE_NO_PAD.decode(text).ok()
}

/// Length of the text form of `len` bytes.
pub(in crate::codec) const fn encoded_len(len: usize) -> usize {
    (len * 4).div_ceil(3)
}

/// Appends `0x80` and as many zeros as make a multiple of 16; ISO/IEC 7816-4.
pub(in crate::codec) fn pad(bytes: &[u8]) -> Vec<u8> {
    let mut padded = Vec::with_capacity(padded_len(bytes.len()));
    padded.extend_from_slice(bytes);
    padded.push(PAD_MARK);
    padded.resize(padded_len(bytes.len()), 0);
    padded
}

/// Length of `len` bytes once they are padded.
pub(in crate::codec) const fn padded_len(len: usize) -> usize {
    (len / PAD_BLOCK + 1) * PAD_BLOCK
}

/// The inverse of [`pad`]; `None` unless the padding is exactly what [`pad`]
/// would have written.
pub(in crate::codec) fn unpad(padded: &[u8]) -> Option<&[u8]> {
    let mark = padded.iter().rposition(|&byte| byte != 0)?;
    let bytes = padded.get(..mark)?;
    (padded.get(mark) == Some(&PAD_MARK) && padded.len() == padded_len(mark)).then_some(bytes)
}
