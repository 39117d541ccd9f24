//! Extended attributes of the `user.` namespace.
//!
//! ```text
//! name  = "user.keepfs." || base64url(AES-256-SIV(K(xattr-names); AD = owner; name padded to 16))
//! value = nonce 24 || ciphertext || tag 16 under K(xattr-values), AD = owner || name
//! ```
//! `owner` is the file_id of a file and the dir_id of a directory; `name` is
//! the attribute's name without `user.`.

use crate::types::{DirId, FileId};

use super::aead::{self, Ad};
use super::keys::KeyTree;
use super::random::{self, RandomError};
use super::{Sealed, siv, text};

/// How the names of our attributes begin on the backing.
pub const XATTR_PREFIX: &str = "user.keepfs.";
/// What a value is longer on the backing, in bytes.
pub const XATTR_VALUE_OVERHEAD: usize = 40;
/// Longest plain value, in bytes; Linux's XATTR_SIZE_MAX is 65 536.
pub const XATTR_VALUE_MAX: usize = 65_536 - XATTR_VALUE_OVERHEAD;
/// Longest plain name without `user.`, in bytes.
pub const XATTR_NAME_MAX: usize = 159;

const _: () = {
    const NAME_MAX: usize = 255;
    assert!(XATTR_VALUE_OVERHEAD == aead::NONCE_LEN + aead::TAG_LEN);
    assert!(sealed_name_len(XATTR_NAME_MAX) <= NAME_MAX);
    assert!(sealed_name_len(XATTR_NAME_MAX + 1) > NAME_MAX);
};

const fn sealed_name_len(plain: usize) -> usize {
    XATTR_PREFIX.len() + text::encoded_len(siv::SIV_LEN + text::padded_len(plain))
}

/// Whose attribute it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum XattrOwner {
    /// A regular file's.
    File(FileId),
    /// A directory's.
    Dir(DirId),
}

impl XattrOwner {
    fn id(&self) -> &[u8; 16] {
        match self {
            Self::File(id) => id.bytes(),
            Self::Dir(id) => id.bytes(),
        }
    }
}

/// A value as it stands on the backing.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SealedValue(Vec<u8>);

impl SealedValue {
    /// The bytes to be written.
    #[must_use]
    pub fn sealed(&self) -> Sealed<'_> {
        Sealed::new(&self.0)
    }
}

/// Why an attribute can be neither sealed nor opened.
#[derive(Debug, thiserror::Error)]
pub enum XattrError {
    /// The name has no bytes.
    #[error("the attribute's name is empty")]
    EmptyName,
    /// The name contains a NUL byte.
    #[error("the attribute's name contains a NUL byte")]
    BadName,
    /// The name does not fit once it is encrypted.
    #[error("the attribute's name has {len} bytes; {XATTR_NAME_MAX} fit after \"user.\"")]
    NameTooLong {
        /// Bytes it has, without `user.`.
        len: usize,
    },
    /// The value does not fit once it is encrypted.
    #[error("the attribute's value has {len} bytes; {XATTR_VALUE_MAX} fit")]
    ValueTooLong {
        /// Bytes it has.
        len: usize,
    },
    /// The attribute on the backing is not one of ours by its form.
    #[error("the attribute is not an encrypted one")]
    Malformed,
    /// It was not sealed for this owner and name, or is damaged.
    #[error("the attribute is damaged, forged or was moved here")]
    NotAuthentic,
    /// No nonce.
    #[error(transparent)]
    Random(#[from] RandomError),
}

fn check_name(name: &[u8]) -> Result<(), XattrError> {
    if name.is_empty() {
        Err(XattrError::EmptyName)
    } else if name.len() > XATTR_NAME_MAX {
        Err(XattrError::NameTooLong { len: name.len() })
    } else if name.contains(&0) {
        Err(XattrError::BadName)
    } else {
        Ok(())
    }
}

fn owner_and_name(owner: XattrOwner, name: &[u8]) -> Vec<u8> {
    [owner.id(), name].concat()
}

impl KeyTree {
    /// The attribute's full name on the backing; `name` is without `user.`.
    /// Deterministic.
    ///
    /// # Errors
    /// The name is empty, too long or contains NUL.
    pub fn seal_xattr_name(&self, owner: XattrOwner, name: &[u8]) -> Result<String, XattrError> {
        check_name(name)?;
        let sealed = siv::seal(&self.xattr_names, owner.id(), &text::pad(name));
        Ok(format!("{XATTR_PREFIX}{}", text::encode(&sealed)))
    }

    /// The plain name, without `user.`, of the attribute that is called `raw`
    /// on the backing.
    ///
    /// # Errors
    /// It is none of this owner's.
    pub fn open_xattr_name(&self, owner: XattrOwner, raw: &[u8]) -> Result<Vec<u8>, XattrError> {
        let digits = raw.strip_prefix(XATTR_PREFIX.as_bytes());
        let sealed = digits.and_then(text::decode).ok_or(XattrError::Malformed)?;
        let padded =
            siv::open(&self.xattr_names, owner.id(), &sealed).ok_or(XattrError::NotAuthentic)?;
        let name = text::unpad(&padded).ok_or(XattrError::Malformed)?;
        check_name(name)?;
        Ok(name.to_vec())
    }

    /// Encrypts a value under a fresh nonce; `name` is without `user.`.
    ///
    /// # Errors
    /// Name or value do not fit; no randomness.
    pub fn seal_xattr_value(
        &self,
        owner: XattrOwner,
        name: &[u8],
        value: &[u8],
    ) -> Result<SealedValue, XattrError> {
        check_name(name)?;
        if value.len() > XATTR_VALUE_MAX {
            return Err(XattrError::ValueTooLong { len: value.len() });
        }
        let nonce = random::array()?;
        let ad = owner_and_name(owner, name);
        let ad = Ad::xattr_value(&ad);
        let message = aead::seal_message(&self.xattr_values, &nonce, &ad, value);
        Ok(SealedValue(message))
    }

    /// Decrypts the value `raw` of the attribute `name` (without `user.`).
    ///
    /// # Errors
    /// It was not sealed for this owner and name.
    pub fn open_xattr_value(
        &self,
        owner: XattrOwner,
        name: &[u8],
        raw: &[u8],
    ) -> Result<Vec<u8>, XattrError> {
        check_name(name)?;
        aead::split_message(raw).ok_or(XattrError::Malformed)?;
        let ad = owner_and_name(owner, name);
        aead::open_message(&self.xattr_values, &Ad::xattr_value(&ad), raw)
            .map_err(|aead::NotAuthentic| XattrError::NotAuthentic)
    }
}
