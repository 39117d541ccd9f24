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

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a failed test may panic")]
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn every_byte_string_has_exactly_one_text() {
        assert_eq!(encode(b"\xff\xef\xfe"), "_-_-");
        assert_eq!(decode(b"_-_-").unwrap(), b"\xff\xef\xfe");
        assert_eq!(encode(b"a"), "YQ");
        for bad in [
            &b"YR"[..],
            b"YQ==",
            b"YQ=",
            b"Y",
            b"YQ ",
            b" YQ",
            b"YQ\n",
            b"+/+/",
            b"Y\xc3\xa4",
        ] {
            assert_eq!(decode(bad), None, "{bad:?}");
        }
    }

    #[test]
    fn padding_fills_the_block_and_is_never_empty() {
        assert_eq!(pad(b""), [&[0x80][..], &[0; 15]].concat());
        assert_eq!(pad(&[1; 15]), [&[1; 15][..], &[0x80]].concat());
        assert_eq!(pad(&[1; 16]).len(), 32);
        assert_eq!(pad(&[1; 127]).len(), 128);
        assert_eq!(pad(&[1; 128]).len(), 144);
    }

    #[test]
    fn padding_of_another_form_is_refused() {
        let two_blocks = [&b"name\x80"[..], &[0; 27]].concat();
        let no_mark = [&b"name"[..], &[0; 12]].concat();
        let wrong_mark = [&b"name\x81"[..], &[0; 11]].concat();
        let ragged = [&b"name\x80"[..], &[0; 10]].concat();
        for bad in [
            &two_blocks[..],
            &no_mark,
            &wrong_mark,
            &ragged,
            &[0; 16],
            &[],
        ] {
            assert_eq!(unpad(bad), None, "{bad:?}");
        }
    }

    proptest! {
        #[test]
        fn texts_and_bytes_are_one_to_one(
            bytes in proptest::collection::vec(any::<u8>(), 0..300),
            text in "[A-Za-z0-9_-]{0,60}",
        ) {
            let encoded = encode(&bytes);
            prop_assert_eq!(encoded.len(), encoded_len(bytes.len()));
            prop_assert_eq!(decode(encoded.as_bytes()), Some(bytes));
            if let Some(decoded) = decode(text.as_bytes()) {
                prop_assert_eq!(encode(&decoded), text);
            }
        }

        #[test]
        fn padding_comes_off_again(bytes in proptest::collection::vec(any::<u8>(), 0..300)) {
            let padded = pad(&bytes);
            prop_assert_eq!(padded.len() % 16, 0);
            prop_assert_eq!(padded.len(), padded_len(bytes.len()));
            prop_assert_eq!(unpad(&padded), Some(&bytes[..]));
        }
    }
}
