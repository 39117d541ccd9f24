//! Targets of symbolic links: `base64url(nonce 24 || ciphertext || tag 16)`
//! under K(links), associated data `keepfs link`.

use super::aead::{self, Ad, NONCE_LEN, TAG_LEN};
use super::keys::KeyTree;
use super::random::{self, RandomError};
use super::{Sealed, text};

const OVERHEAD: u64 = 40;
const _: () = assert!(NONCE_LEN + TAG_LEN == 40);

/// A target as it stands on the backing.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SealedTarget(String);

impl SealedTarget {
    /// The text that becomes the target of the link on the backing.
    #[must_use]
    pub fn text(&self) -> &str {
        &self.0
    }

    /// The same as bytes.
    #[must_use]
    pub fn sealed(&self) -> Sealed<'_> {
        Sealed::new(self.0.as_bytes())
    }
}

/// Why the target of a link on the backing is none of ours.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum LinkError {
    /// It is not the text form of a sealed target.
    #[error("the link's target is not an encrypted one")]
    Malformed,
    /// It was not sealed for this vault, or is damaged.
    #[error("the link's target is damaged or forged")]
    NotAuthentic,
    /// It is authentic, but empty or with a NUL byte, which Linux never allows.
    #[error("the link's target is not a path")]
    NotAPath,
}

impl KeyTree {
    /// Encrypts a target under a fresh nonce.
    ///
    /// # Errors
    /// No randomness.
    pub fn seal_target(&self, plain: &[u8]) -> Result<SealedTarget, RandomError> {
        let nonce = random::array()?;
        let message = aead::seal_message(&self.links, &nonce, &Ad::link(), plain);
        Ok(SealedTarget(text::encode(&message)))
    }

    /// Decrypts the target of a link on the backing.
    ///
    /// # Errors
    /// It is none of this vault's.
    pub fn open_target(&self, raw: &[u8]) -> Result<Vec<u8>, LinkError> {
        let message = text::decode(raw).ok_or(LinkError::Malformed)?;
        aead::split_message(&message).ok_or(LinkError::Malformed)?;
        let plain = aead::open_message(&self.links, &Ad::link(), &message)
            .map_err(|aead::NotAuthentic| LinkError::NotAuthentic)?;
        if plain.is_empty() || plain.contains(&0) {
            return Err(LinkError::NotAPath);
        }
        Ok(plain)
    }
}

/// Length of the plain target of a link whose target on the backing has
/// `cipher_text_len` characters; `None` if no target has that length.
#[must_use]
pub fn target_plain_len(cipher_text_len: u64) -> Option<u64> {
    let tail = match cipher_text_len % 4 {
        0 => 0,
        2 => 1,
        3 => 2,
        _ => return None,
    };
    let message = cipher_text_len / 4 * 3 + tail;
    message.checked_sub(OVERHEAD).filter(|&len| len > 0)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a failed test may panic")]
    use proptest::prelude::*;

    use super::*;
    use crate::codec::testing::{bit_flips, tree};

    #[test]
    fn every_flipped_bit_is_refused() {
        let tree = tree();
        let sealed = tree.seal_target(b"../elsewhere").unwrap();
        for flipped in bit_flips(&text::decode(sealed.text().as_bytes()).unwrap()) {
            let refused = tree.open_target(text::encode(&flipped).as_bytes());
            assert_eq!(refused, Err(LinkError::NotAuthentic));
        }
        for flipped in bit_flips(sealed.sealed().bytes()) {
            assert!(tree.open_target(&flipped).is_err());
        }
    }

    #[test]
    fn what_is_no_sealed_target_is_named_so() {
        let tree = tree();
        for bad in [&b""[..], b"/etc/passwd", b"AAAA", b"\xff\xff"] {
            assert_eq!(tree.open_target(bad), Err(LinkError::Malformed), "{bad:?}");
        }
        for bad in [&b""[..], b"a\0b"] {
            let sealed = tree.seal_target(bad).unwrap();
            let refused = tree.open_target(sealed.sealed().bytes());
            assert_eq!(refused, Err(LinkError::NotAPath));
        }
    }

    #[test]
    fn limits_of_file_systems_are_what_the_format_says() {
        // XFS keeps targets of up to 1024 bytes, ext4 of up to 4095.
        assert_eq!(target_plain_len(1023), Some(727));
        assert_eq!(target_plain_len(4095), Some(3031));
        for none in [0, 1, 5, 54, 57] {
            assert_eq!(target_plain_len(none), None, "{none}");
        }
        assert_eq!(target_plain_len(55), Some(1));
        assert_eq!(target_plain_len(u64::MAX), Some(u64::MAX / 4 * 3 + 2 - 40));
    }

    proptest! {
        #[test]
        fn targets_come_back_and_their_lengths_are_known(
            target in proptest::collection::vec(1u8.., 1..300),
        ) {
            let tree = tree();
            let sealed = tree.seal_target(&target).unwrap();
            let len = u64::try_from(sealed.text().len()).unwrap();
            prop_assert_eq!(target_plain_len(len), u64::try_from(target.len()).ok());
            prop_assert_eq!(tree.open_target(sealed.text().as_bytes()), Ok(target));
        }

        #[test]
        fn any_bytes_are_refused(raw in proptest::collection::vec(any::<u8>(), 0..200)) {
            prop_assert!(tree().open_target(&raw).is_err());
        }
    }
}
