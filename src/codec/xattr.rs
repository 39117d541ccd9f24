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

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a failed test may panic")]
    use proptest::prelude::*;

    use super::*;
    use crate::codec::testing::{bit_flips, tree};

    const FILE: XattrOwner = XattrOwner::File(FileId::new([1; 16]));
    const DIR: XattrOwner = XattrOwner::Dir(DirId::new([2; 16]));

    #[test]
    fn names_and_values_belong_to_their_owner_and_each_other() {
        let tree = tree();
        let raw = tree.seal_xattr_name(FILE, b"comment").unwrap();
        assert!(raw.starts_with(XATTR_PREFIX));
        assert_eq!(raw, tree.seal_xattr_name(FILE, b"comment").unwrap());
        assert_eq!(
            tree.open_xattr_name(FILE, raw.as_bytes()).unwrap(),
            b"comment"
        );
        let moved = tree.open_xattr_name(DIR, raw.as_bytes());
        assert!(matches!(moved, Err(XattrError::NotAuthentic)));

        let value = tree.seal_xattr_value(FILE, b"comment", b"text").unwrap();
        let bytes = value.sealed().bytes();
        assert_eq!(bytes.len(), 4 + XATTR_VALUE_OVERHEAD);
        assert_eq!(
            tree.open_xattr_value(FILE, b"comment", bytes).unwrap(),
            b"text"
        );
        for (owner, name) in [
            (DIR, &b"comment"[..]),
            (FILE, b"comments"),
            (FILE, b"commen"),
        ] {
            let moved = tree.open_xattr_value(owner, name, bytes);
            assert!(matches!(moved, Err(XattrError::NotAuthentic)));
        }
    }

    #[test]
    fn every_flipped_bit_is_refused() {
        let tree = tree();
        let value = tree.seal_xattr_value(DIR, b"n", b"value").unwrap();
        for flipped in bit_flips(value.sealed().bytes()) {
            let refused = tree.open_xattr_value(DIR, b"n", &flipped);
            assert!(matches!(refused, Err(XattrError::NotAuthentic)));
        }
        let raw = tree.seal_xattr_name(DIR, b"n").unwrap();
        for flipped in bit_flips(raw.as_bytes()) {
            assert!(tree.open_xattr_name(DIR, &flipped).is_err());
        }
    }

    #[test]
    fn limits_are_exact() {
        let tree = tree();
        let longest = vec![b'x'; XATTR_NAME_MAX];
        let raw = tree.seal_xattr_name(FILE, &longest).unwrap();
        assert!(raw.len() <= 255);
        assert_eq!(tree.open_xattr_name(FILE, raw.as_bytes()).unwrap(), longest);
        let long = tree.seal_xattr_name(FILE, &[b'x'; XATTR_NAME_MAX + 1]);
        assert!(matches!(long, Err(XattrError::NameTooLong { len: 160 })));
        assert!(matches!(
            tree.seal_xattr_name(FILE, b""),
            Err(XattrError::EmptyName)
        ));
        assert!(matches!(
            tree.seal_xattr_name(FILE, b"a\0"),
            Err(XattrError::BadName)
        ));
        let full = tree
            .seal_xattr_value(FILE, b"n", &vec![0; XATTR_VALUE_MAX])
            .unwrap();
        assert_eq!(full.sealed().len(), 65_536);
        let long = tree.seal_xattr_value(FILE, b"n", &vec![0; XATTR_VALUE_MAX + 1]);
        assert!(matches!(long, Err(XattrError::ValueTooLong { .. })));
        let empty = tree.seal_xattr_value(FILE, b"n", b"").unwrap();
        assert_eq!(
            tree.open_xattr_value(FILE, b"n", empty.sealed().bytes())
                .unwrap(),
            b""
        );
    }

    #[test]
    fn what_is_no_sealed_attribute_is_named_so() {
        let tree = tree();
        for bad in [
            &b"user.comment"[..],
            b"user.keepfs.+",
            b"user.keepfs.A",
            b"",
        ] {
            let refused = tree.open_xattr_name(FILE, bad);
            assert!(matches!(refused, Err(XattrError::Malformed)), "{bad:?}");
        }
        let refused = tree.open_xattr_value(FILE, b"n", &[0; 39]);
        assert!(matches!(refused, Err(XattrError::Malformed)));
        // Authentic, but a name that sealing refuses.
        for bad in [&b""[..], b"a\0", &[b'x'; 160]] {
            let sealed = siv::seal(&tree.xattr_names, FILE.id(), &text::pad(bad));
            let raw = format!("{XATTR_PREFIX}{}", text::encode(&sealed));
            assert!(tree.open_xattr_name(FILE, raw.as_bytes()).is_err());
        }
    }

    proptest! {
        #[test]
        fn attributes_come_back(
            name in proptest::collection::vec(1u8.., 1..=XATTR_NAME_MAX),
            value in proptest::collection::vec(any::<u8>(), 0..200),
        ) {
            let tree = tree();
            let raw = tree.seal_xattr_name(DIR, &name).unwrap();
            prop_assert_eq!(&tree.open_xattr_name(DIR, raw.as_bytes()).unwrap(), &name);
            let sealed = tree.seal_xattr_value(DIR, &name, &value).unwrap();
            let opened = tree.open_xattr_value(DIR, &name, sealed.sealed().bytes()).unwrap();
            prop_assert_eq!(opened, value);
        }
    }
}
