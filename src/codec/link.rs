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
