//! XChaCha20-Poly1305 for one message, with associated data that says what
//! kind of message it is; draft-irtf-cfrg-xchacha-03, RFC 8439.
//!
//! `XChaCha20-Poly1305(key, nonce 24)` is `ChaCha20-Poly1305` under
//! `HChaCha20(key, nonce[0..16])` with the nonce `0000 || nonce[16..24]`. With
//! the feature `fast-aead` aws-lc-rs computes the second step; without it the
//! crate chacha20poly1305 does. The bytes are the same.

use chacha20::{R20, hchacha};
use zeroize::Zeroize;

use crate::types::ChunkNo;

use super::secret::Secret;

/// Length of a nonce, in bytes.
pub(in crate::codec) const NONCE_LEN: usize = 24;
/// Length of a tag, in bytes.
pub(in crate::codec) const TAG_LEN: usize = 16;

/// A nonce; never used twice with one key, because it is random.
pub(in crate::codec) type Nonce = [u8; NONCE_LEN];
/// A tag.
pub(in crate::codec) type Tag = [u8; TAG_LEN];

/// The message is not what was sealed, or this is not its key or place.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::codec) struct NotAuthentic;

/// Associated data: what a message is and where it belongs.
pub(in crate::codec) enum Ad<'a> {
    /// `0x00 || bytes 0..24` of the header of a file.
    Header([u8; 25]),
    /// `0x01 || u64 i`: chunk i of a file.
    Chunk([u8; 9]),
    /// A fixed string.
    Constant(&'static [u8]),
    /// An owner's id followed by an attribute's name.
    OwnedName(&'a [u8]),
}

impl<'a> Ad<'a> {
    /// For the header of a file that begins with `public`.
    pub(in crate::codec) fn header(public: &[u8; 24]) -> Self {
        let mut bytes = [0; 25];
        bytes[1..].copy_from_slice(public);
        Self::Header(bytes)
    }

    /// For chunk `chunk` of a file.
    pub(in crate::codec) fn chunk(chunk: ChunkNo) -> Self {
        let mut bytes = [1; 9];
        bytes[1..].copy_from_slice(&chunk.get().to_le_bytes());
        Self::Chunk(bytes)
    }

    /// For the target of a symbolic link.
    pub(in crate::codec) fn link() -> Self {
        Self::Constant(b"keepfs link")
    }

    /// For a wrapped key: everything that belongs to it went into the key
    /// that wraps it.
    pub(in crate::codec) fn wrapped_key() -> Self {
        Self::Constant(b"")
    }

    /// For the value of an extended attribute; `owner_and_name` is the
    /// owner's id (16 bytes) followed by the attribute's name.
    pub(in crate::codec) fn xattr_value(owner_and_name: &'a [u8]) -> Self {
        Self::OwnedName(owner_and_name)
    }

    fn bytes(&self) -> &[u8] {
        match self {
            Self::Header(bytes) => bytes,
            Self::Chunk(bytes) => bytes,
            Self::Constant(bytes) => bytes,
            Self::OwnedName(bytes) => bytes,
        }
    }
}

/// Encrypts `plain` into `cipher`, which must have the same length, and
/// returns the tag.
pub(in crate::codec) fn seal(
    key: &Secret<32>,
    nonce: &Nonce,
    ad: &Ad<'_>,
    plain: &[u8],
    cipher: &mut [u8],
) -> Tag {
    let mut subkey = subkey(key, nonce);
    let tag = backend::seal(&subkey, &inner_nonce(nonce), ad.bytes(), plain, cipher);
    subkey.zeroize();
    tag
}

/// Decrypts `cipher` into `plain`, which has the same length, if `tag` proves
/// it. On failure `plain` holds zeros.
///
/// # Errors
/// The message is not authentic, or the lengths differ.
pub(in crate::codec) fn open(
    key: &Secret<32>,
    nonce: &Nonce,
    ad: &Ad<'_>,
    cipher: &[u8],
    tag: &Tag,
    plain: &mut [u8],
) -> Result<(), NotAuthentic> {
    let mut subkey = subkey(key, nonce);
    let opened = if plain.len() == cipher.len() {
        backend::open(&subkey, &inner_nonce(nonce), ad.bytes(), cipher, tag, plain)
    } else {
        Err(NotAuthentic)
    };
    subkey.zeroize();
    if opened.is_err() {
        plain.fill(0);
    }
    opened
}

/// `nonce || ciphertext || tag`, as links, attribute values and wrapped keys
/// are stored.
pub(in crate::codec) fn seal_message(
    key: &Secret<32>,
    nonce: &Nonce,
    ad: &Ad<'_>,
    plain: &[u8],
) -> Vec<u8> {
    let mut message = vec![0; NONCE_LEN + plain.len() + TAG_LEN];
    let (head, rest) = message.split_at_mut(NONCE_LEN);
    let (cipher, tail) = rest.split_at_mut(plain.len());
    head.copy_from_slice(nonce);
    tail.copy_from_slice(&seal(key, nonce, ad, plain, cipher));
    message
}

/// Takes `nonce || ciphertext || tag` apart; `None` if it is too short.
pub(in crate::codec) fn split_message(message: &[u8]) -> Option<(&Nonce, &[u8], &Tag)> {
    let (nonce, rest) = message.split_first_chunk()?;
    let (cipher, tag) = rest.split_last_chunk()?;
    Some((nonce, cipher, tag))
}

/// The inverse of [`seal_message`]; the plaintext is 40 bytes shorter.
///
/// # Errors
/// The message is shorter than 40 bytes or not authentic.
pub(in crate::codec) fn open_message(
    key: &Secret<32>,
    ad: &Ad<'_>,
    message: &[u8],
) -> Result<Vec<u8>, NotAuthentic> {
    let (nonce, cipher, tag) = split_message(message).ok_or(NotAuthentic)?;
    let mut plain = vec![0; cipher.len()];
    open(key, nonce, ad, cipher, tag, &mut plain)?;
    Ok(plain)
}

/// `HChaCha20(key, nonce[0..16])`.
fn subkey(key: &Secret<32>, nonce: &Nonce) -> [u8; 32] {
    let (input, _) = nonce
        .split_first_chunk::<16>()
        .expect("a nonce has 24 bytes");
    hchacha::<R20>(key.bytes().into(), input.into()).into()
}

/// `0000 || nonce[16..24]`.
fn inner_nonce(nonce: &Nonce) -> [u8; 12] {
    let mut inner = [0; 12];
    inner[4..].copy_from_slice(&nonce[16..]);
    inner
}

#[cfg(feature = "fast-aead")]
use fast as backend;
#[cfg(not(feature = "fast-aead"))]
use portable as backend;

#[cfg(feature = "fast-aead")]
mod fast {
    use aws_lc_rs::aead::{Aad, CHACHA20_POLY1305, LessSafeKey, Nonce, UnboundKey};

    use super::{NotAuthentic, TAG_LEN, Tag};

    fn prepare(key: &[u8; 32]) -> LessSafeKey {
        let key = UnboundKey::new(&CHACHA20_POLY1305, key);
        LessSafeKey::new(key.expect("the key has 32 bytes"))
    }

    pub(super) fn seal(
        key: &[u8; 32],
        nonce: &[u8; 12],
        ad: &[u8],
        plain: &[u8],
        cipher: &mut [u8],
    ) -> Tag {
        let mut tag = [0; TAG_LEN];
        prepare(key)
            .seal_out_of_place_scatter(
                Nonce::assume_unique_for_key(*nonce),
                Aad::from(ad),
                plain,
                cipher,
                &[],
                &mut tag,
            )
            .expect("equal lengths, far below the cipher's limit");
        tag
    }

    pub(super) fn open(
        key: &[u8; 32],
        nonce: &[u8; 12],
        ad: &[u8],
        cipher: &[u8],
        tag: &Tag,
        plain: &mut [u8],
    ) -> Result<(), NotAuthentic> {
        prepare(key)
            .open_separate_gather(
                Nonce::assume_unique_for_key(*nonce),
                Aad::from(ad),
                cipher,
                tag,
                plain,
            )
            .map_err(|_| NotAuthentic)
    }
}

#[cfg(any(test, not(feature = "fast-aead")))]
mod portable {
    use chacha20poly1305::aead::AeadInOut;
    use chacha20poly1305::aead::inout::InOutBuf;
    use chacha20poly1305::{ChaCha20Poly1305, KeyInit};

    use super::{NotAuthentic, Tag};

    pub(super) fn seal(
        key: &[u8; 32],
        nonce: &[u8; 12],
        ad: &[u8],
        plain: &[u8],
        cipher: &mut [u8],
    ) -> Tag {
        let buffer = InOutBuf::new(plain, cipher).expect("equal lengths");
        ChaCha20Poly1305::new(key.into())
            .encrypt_inout_detached(nonce.into(), ad, buffer)
            .expect("far below the cipher's limit")
            .into()
    }

    pub(super) fn open(
        key: &[u8; 32],
        nonce: &[u8; 12],
        ad: &[u8],
        cipher: &[u8],
        tag: &Tag,
        plain: &mut [u8],
    ) -> Result<(), NotAuthentic> {
        let buffer = InOutBuf::new(cipher, plain).map_err(|_| NotAuthentic)?;
        ChaCha20Poly1305::new(key.into())
            .decrypt_inout_detached(nonce.into(), ad, buffer, tag.into())
            .map_err(|_| NotAuthentic)
    }
}
