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

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a failed test may panic")]
    use aes::Aes256;
    use aes::cipher::{BlockCipherEncrypt, KeyInit as _};
    use aes_siv::siv::Aes128Siv;
    use cmac::{Cmac, Mac};
    use proptest::prelude::*;

    use super::*;
    use crate::codec::testing::{bit_flips, hex, hex_array};

    /// RFC 5297, appendix A.1: one string of associated data, as we call it.
    /// The RFC has vectors for keys of 256 bits only.
    #[test]
    fn the_published_vector_for_the_shorter_key_comes_out() {
        let key: [u8; 32] =
            hex_array("fffefdfcfbfaf9f8f7f6f5f4f3f2f1f0f0f1f2f3f4f5f6f7f8f9fafbfcfdfeff");
        let ad = hex("101112131415161718191a1b1c1d1e1f2021222324252627");
        let sealed = Aes128Siv::new(&key.into())
            .encrypt([&ad], &hex("112233445566778899aabbccddee"))
            .unwrap();
        assert_eq!(
            sealed,
            hex("85632d07c6e8f37f950acd320a2ecc9340c02b9690c4dc04daef7f6afe5c")
        );
    }

    /// The same message under the key of 512 bits with which other
    /// implementations extend the RFC's vectors.
    #[test]
    fn the_vector_for_the_longer_key_comes_out_and_opens() {
        let key = Secret::make(|key| {
            *key = hex_array(
                "fffefdfcfbfaf9f8f7f6f5f4f3f2f1f06f6e6d6c6b6a69686766656463626160
                 f0f1f2f3f4f5f6f7f8f9fafbfcfdfeff000102030405060708090a0b0c0d0e0f",
            );
        });
        let ad = hex("101112131415161718191a1b1c1d1e1f2021222324252627");
        let plain = hex("112233445566778899aabbccddee");
        let sealed = seal(&key, &ad, &plain);
        assert_eq!(
            sealed,
            hex("f125274c598065cfc26b0e71575029088b035217e380cac8919ee800c126")
        );
        assert_eq!(open(&key, &ad, &sealed).unwrap(), plain);
    }

    #[test]
    fn every_flipped_bit_and_another_context_are_refused() {
        let key = Secret::make(|key| key.fill(5));
        let sealed = seal(&key, b"here", b"sixteen bytes...");
        for flipped in bit_flips(&sealed) {
            assert_eq!(open(&key, b"here", &flipped), None);
        }
        assert_eq!(open(&key, b"there", &sealed), None);
        assert_eq!(
            open(&Secret::make(|key| key.fill(6)), b"here", &sealed),
            None
        );
        for len in 0..sealed.len() {
            assert_eq!(open(&key, b"here", &sealed[..len]), None, "{len}");
        }
    }

    fn cmac(key: &[u8], message: &[u8]) -> [u8; 16] {
        let mut mac = Cmac::<Aes256>::new_from_slice(key).unwrap();
        mac.update(message);
        mac.finalize().into_bytes().into()
    }

    fn dbl(block: [u8; 16]) -> [u8; 16] {
        let number = u128::from_be_bytes(block);
        let carry = if number >> 127 == 1 { 0x87 } else { 0 };
        (number << 1 ^ carry).to_be_bytes()
    }

    fn xor(a: [u8; 16], b: [u8; 16]) -> [u8; 16] {
        (u128::from_be_bytes(a) ^ u128::from_be_bytes(b)).to_be_bytes()
    }

    /// RFC 5297, sections 2.4 to 2.6, written out for messages of whole blocks.
    fn by_the_rfc(key: &[u8; 64], ad: &[u8], plain: &[u8]) -> Vec<u8> {
        let (mac_key, ctr_key) = key.split_at(32);
        let d = xor(dbl(cmac(mac_key, &[0; 16])), cmac(mac_key, ad));
        let (before, last) = plain.split_last_chunk::<16>().unwrap();
        let iv = cmac(mac_key, &[before, &xor(*last, d)].concat());
        let mut counter = iv;
        counter[8] &= 0x7f;
        counter[12] &= 0x7f;
        let cipher = Aes256::new_from_slice(ctr_key).unwrap();
        let mut out = iv.to_vec();
        for (number, block) in (0..).zip(plain.as_chunks::<16>().0) {
            let mut stream = (u128::from_be_bytes(counter) + number).to_be_bytes().into();
            cipher.encrypt_block(&mut stream);
            out.extend_from_slice(&xor(*block, stream.into()));
        }
        out
    }

    proptest! {
        #[test]
        fn it_is_what_the_rfc_writes(
            key in proptest::collection::vec(any::<u8>(), 64),
            ad: [u8; 16],
            blocks in proptest::collection::vec(any::<[u8; 16]>(), 1..17),
        ) {
            let key: [u8; 64] = key.try_into().unwrap();
            let plain = blocks.concat();
            let sealed = seal(&Secret::make(|out| *out = key), &ad, &plain);
            prop_assert_eq!(sealed, by_the_rfc(&key, &ad, &plain));
        }
    }
}
