//! XChaCha20-Poly1305 for one message, with associated data that says what
//! kind of message it is; draft-irtf-cfrg-xchacha-03, RFC 8439.
//!
//! `XChaCha20-Poly1305(key, nonce 24)` is `ChaCha20-Poly1305` under
//! `HChaCha20(key, nonce[0..16])` with the nonce `0000 || nonce[16..24]`. With
//! the feature `fast-aead` aws-lc-rs computes the second step; without it the
//! crate chacha20poly1305 does. The bytes are the same.
//!
//! Built with `--cfg keepfs_without_cipher`, by scripts/bench alone, a message
//! is a copy under a fixed tag: what everything but the cipher costs. What such a
//! program writes opens nowhere else, and it opens nothing else.

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
    if cfg!(keepfs_without_cipher) {
        return *key.bytes();
    }
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

#[cfg(keepfs_without_cipher)]
use copying as backend;
#[cfg(all(feature = "fast-aead", not(keepfs_without_cipher)))]
use fast as backend;
#[cfg(not(any(feature = "fast-aead", keepfs_without_cipher)))]
use portable as backend;

#[cfg(keepfs_without_cipher)]
mod copying {
    use super::{NotAuthentic, TAG_LEN, Tag};

    const MARK: Tag = *b"no cipher at all";
    const _: () = assert!(MARK.len() == TAG_LEN);

    pub(super) fn seal(
        _key: &[u8; 32],
        _nonce: &[u8; 12],
        _ad: &[u8],
        plain: &[u8],
        cipher: &mut [u8],
    ) -> Tag {
        cipher.copy_from_slice(plain);
        MARK
    }

    pub(super) fn open(
        _key: &[u8; 32],
        _nonce: &[u8; 12],
        _ad: &[u8],
        cipher: &[u8],
        tag: &Tag,
        plain: &mut [u8],
    ) -> Result<(), NotAuthentic> {
        plain.copy_from_slice(cipher);
        if *tag == MARK {
            Ok(())
        } else {
            Err(NotAuthentic)
        }
    }
}

#[cfg(all(feature = "fast-aead", not(keepfs_without_cipher)))]
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

#[cfg(not(any(all(feature = "fast-aead", not(test)), keepfs_without_cipher)))]
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

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a failed test may panic")]
    use proptest::prelude::*;

    use super::*;
    use crate::codec::testing::{bit_flips, hex, hex_array};

    fn secret(bytes: [u8; 32]) -> Secret<32> {
        Secret::make(|out| *out = bytes)
    }

    const SUNSCREEN: &[u8] = b"Ladies and Gentlemen of the class of '99: If I could offer you \
        only one tip for the future, sunscreen would be it.";
    const SUNSCREEN_CIPHER: &str = "
        bd6d179d3e83d43b9576579493c0e939572a1700252bfaccbed2902c21396cbb
        731c7f1b0b4aa6440bf3a82f4eda7e39ae64c6708c54c216cb96b72e1213b452
        2f8c9ba40db5d945b11b69b982c1bb9e3f3fac2bc369488f76b2383565d3fff9
        21f9664c97637da9768812f615c68b13b52e";

    /// draft-irtf-cfrg-xchacha-03, appendix A.3.1.
    #[test]
    fn the_published_vector_comes_out_and_opens() {
        let key = secret(hex_array(
            "808182838485868788898a8b8c8d8e8f909192939495969798999a9b9c9d9e9f",
        ));
        let nonce = hex_array("404142434445464748494a4b4c4d4e4f5051525354555657");
        let ad = hex("50515253c0c1c2c3c4c5c6c7");
        let ad = Ad::xattr_value(&ad);
        let message = seal_message(&key, &nonce, &ad, SUNSCREEN);
        let (sealed_nonce, cipher, tag) = split_message(&message).unwrap();
        assert_eq!(sealed_nonce, &nonce);
        assert_eq!(cipher, hex(SUNSCREEN_CIPHER));
        assert_eq!(tag[..], hex("c0875924c1c7987947deafd8780acf49"));
        assert_eq!(open_message(&key, &ad, &message).unwrap(), SUNSCREEN);
    }

    /// draft-irtf-cfrg-xchacha-03, section 2.2.1.
    #[test]
    fn the_published_subkey_comes_out() {
        let key = secret(hex_array(
            "000102030405060708090a0b0c0d0e0f101112131415161718191a1b1c1d1e1f",
        ));
        let nonce = hex_array("000000090000004a00000000314159270000000000000000");
        assert_eq!(
            subkey(&key, &nonce)[..],
            hex("82413b4227b27bfed30e42508a877d73a0f9e4d58a74a853c12ec41326d3ecdc")
        );
    }

    #[test]
    fn every_flipped_bit_is_noticed_and_nothing_is_left_behind() {
        let key = secret([9; 32]);
        let message = seal_message(&key, &[3; 24], &Ad::link(), b"somewhere else");
        for flipped in bit_flips(&message) {
            let (nonce, cipher, tag) = split_message(&flipped).unwrap();
            let mut plain = [0xaa; 14];
            let opened = open(&key, nonce, &Ad::link(), cipher, tag, &mut plain);
            assert_eq!(opened, Err(NotAuthentic));
            assert_eq!(plain, [0; 14]);
        }
    }

    #[test]
    fn a_message_opens_only_with_its_associated_data_and_key() {
        let key = secret([9; 32]);
        let chunk = |i| Ad::chunk(ChunkNo::new(i));
        let message = seal_message(&key, &[3; 24], &chunk(7), b"text");
        assert_eq!(open_message(&key, &chunk(7), &message).unwrap(), b"text");
        assert_eq!(open_message(&key, &chunk(8), &message), Err(NotAuthentic));
        assert_eq!(open_message(&key, &Ad::link(), &message), Err(NotAuthentic));
        assert_eq!(
            open_message(&secret([8; 32]), &chunk(7), &message),
            Err(NotAuthentic)
        );
    }

    #[test]
    fn kinds_of_associated_data_never_coincide() {
        assert_eq!(Ad::header(&[5; 24]).bytes(), [&[0][..], &[5; 24]].concat());
        assert_eq!(
            Ad::chunk(ChunkNo::new(0x0203)).bytes(),
            [1, 3, 2, 0, 0, 0, 0, 0, 0]
        );
        assert_eq!(Ad::link().bytes(), b"keepfs link");
        assert_eq!(Ad::wrapped_key().bytes(), b"");
    }

    #[test]
    fn messages_shorter_than_nonce_and_tag_are_refused() {
        let key = secret([9; 32]);
        for len in 0..40 {
            let opened = open_message(&key, &Ad::link(), &vec![0; len]);
            assert_eq!(opened, Err(NotAuthentic), "{len}");
        }
    }

    #[test]
    fn an_output_of_another_length_is_refused_and_zeroed() {
        let mut plain = [0xaa; 5];
        let opened = open(
            &secret([9; 32]),
            &[0; 24],
            &Ad::link(),
            b"four",
            &[0; 16],
            &mut plain,
        );
        assert_eq!(opened, Err(NotAuthentic));
        assert_eq!(plain, [0; 5]);
    }

    proptest! {
        /// The build's own path, the pure-Rust path and the crate that does all
        /// of XChaCha20-Poly1305 by itself agree on every byte.
        #[test]
        fn all_implementations_agree(
            key: [u8; 32],
            nonce: [u8; 24],
            ad in proptest::collection::vec(any::<u8>(), 0..80),
            plain in proptest::collection::vec(any::<u8>(), 0..5000),
        ) {
            use chacha20poly1305::aead::{Aead, KeyInit, Payload};
            let whole = chacha20poly1305::XChaCha20Poly1305::new((&key).into());
            let payload = Payload { msg: &plain, aad: &ad };
            let expected = whole.encrypt((&nonce).into(), payload).unwrap();

            let key = secret(key);
            let message = seal_message(&key, &nonce, &Ad::xattr_value(&ad), &plain);
            prop_assert_eq!(&message[24..], &expected[..]);
            prop_assert_eq!(
                open_message(&key, &Ad::xattr_value(&ad), &message).unwrap(),
                &plain[..]
            );

            let inner = (subkey(&key, &nonce), inner_nonce(&nonce));
            let mut cipher = vec![0; plain.len()];
            let tag = portable::seal(&inner.0, &inner.1, &ad, &plain, &mut cipher);
            prop_assert_eq!([&cipher[..], &tag].concat(), expected);
            let mut back = vec![0; plain.len()];
            portable::open(&inner.0, &inner.1, &ad, &cipher, &tag, &mut back).unwrap();
            prop_assert_eq!(&back, &plain);
            let mut wrong = tag;
            wrong[0] ^= 1;
            let refused = portable::open(&inner.0, &inner.1, &ad, &cipher, &wrong, &mut back);
            prop_assert_eq!(refused, Err(NotAuthentic));
        }
    }
}
