//! The header of a regular file: 128 bytes, inside the first disk sector.
//!
//! | at | bytes | meaning |
//! |---|---|---|
//! | 0 | 4 | `KPF1` |
//! | 4 | 4 | zero |
//! | 8 | 16 | file_id |
//! | 24 | 24 | nonce |
//! | 48 | 64 | sealed fields, below |
//! | 112 | 16 | tag; associated data `0x00 \|\| bytes 0..24` |
//!
//! Sealed fields:
//!
//! | at | bytes | meaning |
//! |---|---|---|
//! | 0 | 1 | flags: bit 0 open, bit 1 sparse |
//! | 1 | 7 | zero |
//! | 8 | 8 | generation |
//! | 16 | 8 | size of the plaintext |
//! | 24 | 16 | seal |
//! | 40 | 16 | id of the directory the file was created in |
//! | 56 | 8 | number of hole slots |

use crate::types::{DirId, FileId, PlainLen};

use super::Sealed;
use super::aead::{self, Ad, NONCE_LEN, Nonce, Tag};
use super::batch::SealSum;
use super::geometry::Geometry;
use super::keys::{FileKeys, KeyTree};
use super::parts::Parts;
use super::random::{self, RandomError};

const MAGIC: [u8; 4] = *b"KPF1";
const ZERO_LEN: usize = 4;
const ID_LEN: usize = 16;
/// Magic, zeros and id: what is neither encrypted nor random.
const PUBLIC_LEN: usize = MAGIC.len() + ZERO_LEN + ID_LEN;
/// Length of the sealed fields, in bytes.
pub(in crate::codec) const FIELDS_LEN: usize = 64;

const FLAG_OPEN: u8 = 0x01;
const FLAG_SPARSE: u8 = 0x02;
/// The largest file Linux knows.
const MAX_SIZE: u64 = i64::MAX.unsigned_abs();

/// Whether a writer may have left size, seal and holes behind the contents.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum OpenFlag {
    /// Somebody writes, or died writing.
    Open,
    /// Size, seal and holes are current.
    Closed,
}

/// Whether a slot of zeros is a hole.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SparseFlag {
    /// It is damage.
    Dense,
    /// It is a hole, and reads as zeros.
    Sparse,
}

/// What the header of a regular file says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Header {
    /// Names the keys of the contents.
    pub file_id: FileId,
    /// Whether the fields below are current.
    pub open: OpenFlag,
    /// Whether holes are allowed.
    pub sparse: SparseFlag,
    /// Raised by every write of the header.
    pub generation: u64,
    /// Bytes of plaintext; at most `i64::MAX`.
    pub size: PlainLen,
    /// Sum over the slots that are not holes.
    pub seal: SealSum,
    /// Where the file was created; a hint for salvage.
    pub birth_dir: DirId,
    /// Number of slots that are holes.
    pub holes: u64,
}

/// A header as it is written: 128 bytes.
pub struct HeaderImage([u8; Geometry::HEADER_LEN]);

impl HeaderImage {
    /// The bytes to be written at offset 0.
    #[must_use]
    pub fn sealed(&self) -> Sealed<'_> {
        Sealed::new(&self.0)
    }
}

/// Why a header does not open.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum HeaderError {
    /// Fewer than 128 bytes.
    #[error("the file is shorter than its header")]
    TooShort,
    /// The first bytes are not those of a file of a vault.
    #[error("this is not an encrypted file of a vault")]
    BadMagic,
    /// A byte that must be zero is not.
    #[error("a reserved byte of the header is not zero")]
    ReservedNotZero,
    /// The header belongs to the keys of another file.
    #[error("the header belongs to file {claimed}, not to {expected}")]
    WrongFile {
        /// The id in the header.
        claimed: FileId,
        /// The id of the keys it was tried with.
        expected: FileId,
    },
    /// The tag does not prove the header.
    #[error("the header is damaged or forged")]
    NotAuthentic,
    /// An authentic header uses flags that this version does not know.
    #[error("the file needs a newer keepfs (header flags {0:#04x})")]
    UnknownFlags(u8),
    /// An authentic header states a size no file can have.
    #[error("the header states an impossible size of {0} bytes")]
    ImpossibleSize(u64),
}

/// Encrypts a header under a fresh nonce.
///
/// # Errors
/// No randomness.
pub fn seal_header(keys: &FileKeys, header: &Header) -> Result<HeaderImage, RandomError> {
    let mut image = [0; Geometry::HEADER_LEN];
    let (public, rest) = image
        .split_first_chunk_mut::<PUBLIC_LEN>()
        .expect("a header is longer than its public part");
    public[..MAGIC.len()].copy_from_slice(&MAGIC);
    public[MAGIC.len() + ZERO_LEN..].copy_from_slice(keys.file_id().bytes());
    let nonce: Nonce = random::array()?;
    let fields = encode_fields(header);
    let (nonce_at, rest) = rest.split_at_mut(NONCE_LEN);
    let (fields_at, tag_at) = rest.split_at_mut(FIELDS_LEN);
    let ad = Ad::header(public);
    nonce_at.copy_from_slice(&nonce);
    tag_at.copy_from_slice(&aead::seal(
        keys.file_key(),
        &nonce,
        &ad,
        &fields,
        fields_at,
    ));
    Ok(HeaderImage(image))
}

/// The id in the first bytes of a file, which names the keys to try. Nothing
/// proves it before [`open_header`] has succeeded with those keys.
///
/// # Errors
/// Fewer than 24 bytes, another magic, or reserved bytes that are not zero.
pub fn claimed_file_id(first_bytes: &[u8]) -> Result<FileId, HeaderError> {
    let (public, _) = first_bytes
        .split_first_chunk::<PUBLIC_LEN>()
        .ok_or(HeaderError::TooShort)?;
    let (magic, rest) = public.split_at(MAGIC.len());
    let (zero, id) = rest.split_at(ZERO_LEN);
    if magic != MAGIC {
        return Err(HeaderError::BadMagic);
    }
    if zero.iter().any(|&byte| byte != 0) {
        return Err(HeaderError::ReservedNotZero);
    }
    Ok(FileId::new(id.try_into().expect("16 of 24 bytes are left")))
}

impl KeyTree {
    /// The header that a file's first bytes hold, and the keys that it proves.
    ///
    /// # Errors
    /// Every kind; `TooShort` for fewer than 128 bytes.
    pub fn identify(&self, first_bytes: &[u8]) -> Result<(FileKeys, Header), HeaderError> {
        let bytes = first_bytes.first_chunk().ok_or(HeaderError::TooShort)?;
        let keys = self.file_keys(claimed_file_id(bytes)?);
        let header = open_header(&keys, bytes)?;
        Ok((keys, header))
    }

    /// The keys of the id that a file's first bytes claim. Nothing proves the
    /// id but the chunks that open under them: for salvage.
    ///
    /// # Errors
    /// `TooShort`, `BadMagic`, `ReservedNotZero`.
    pub fn claimed_keys(&self, first_bytes: &[u8]) -> Result<FileKeys, HeaderError> {
        Ok(self.file_keys(claimed_file_id(first_bytes)?))
    }
}

/// Verifies and decrypts a header.
///
/// # Errors
/// Every kind but `TooShort`.
pub fn open_header(
    keys: &FileKeys,
    bytes: &[u8; Geometry::HEADER_LEN],
) -> Result<Header, HeaderError> {
    let claimed = claimed_file_id(bytes)?;
    if claimed != keys.file_id() {
        return Err(HeaderError::WrongFile {
            claimed,
            expected: keys.file_id(),
        });
    }
    let mut parts = Parts::new(bytes);
    let ad = Ad::header(parts.take());
    let nonce: &Nonce = parts.take();
    let cipher: &[u8; FIELDS_LEN] = parts.take();
    let tag: &Tag = parts.take();
    let mut fields = [0; FIELDS_LEN];
    aead::open(keys.file_key(), nonce, &ad, cipher, tag, &mut fields)
        .map_err(|aead::NotAuthentic| HeaderError::NotAuthentic)?;
    parse_fields(claimed, &fields)
}

/// The sealed fields of a header.
pub(in crate::codec) fn encode_fields(header: &Header) -> [u8; FIELDS_LEN] {
    let open = match header.open {
        OpenFlag::Open => FLAG_OPEN,
        OpenFlag::Closed => 0,
    };
    let sparse = match header.sparse {
        SparseFlag::Sparse => FLAG_SPARSE,
        SparseFlag::Dense => 0,
    };
    let mut fields = [0; FIELDS_LEN];
    fields[0] = open | sparse;
    fields[8..16].copy_from_slice(&header.generation.to_le_bytes());
    fields[16..24].copy_from_slice(&header.size.get().to_le_bytes());
    fields[24..40].copy_from_slice(header.seal.bytes());
    fields[40..56].copy_from_slice(header.birth_dir.bytes());
    fields[56..64].copy_from_slice(&header.holes.to_le_bytes());
    fields
}

/// The inverse of [`encode_fields`].
///
/// # Errors
/// Flags, zeros or size are not as they must be.
pub(in crate::codec) fn parse_fields(
    file_id: FileId,
    fields: &[u8; FIELDS_LEN],
) -> Result<Header, HeaderError> {
    let mut parts = Parts::new(fields);
    let [flags] = *parts.take();
    if flags & !(FLAG_OPEN | FLAG_SPARSE) != 0 {
        return Err(HeaderError::UnknownFlags(flags));
    }
    if parts.take() != &[0; 7] {
        return Err(HeaderError::ReservedNotZero);
    }
    let generation = parts.u64();
    let size = parts.u64();
    if size > MAX_SIZE {
        return Err(HeaderError::ImpossibleSize(size));
    }
    Ok(Header {
        file_id,
        open: if flags & FLAG_OPEN == 0 {
            OpenFlag::Closed
        } else {
            OpenFlag::Open
        },
        sparse: if flags & FLAG_SPARSE == 0 {
            SparseFlag::Dense
        } else {
            SparseFlag::Sparse
        },
        generation,
        size: PlainLen::new(size),
        seal: SealSum::new(*parts.take()),
        birth_dir: DirId::new(*parts.take()),
        holes: parts.u64(),
    })
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a failed test may panic")]
    use proptest::prelude::*;

    use super::*;
    use crate::codec::testing::{DIR, bit_flips, file_keys, tree};

    fn header() -> Header {
        Header {
            file_id: file_keys().file_id(),
            open: OpenFlag::Closed,
            sparse: SparseFlag::Dense,
            generation: 3,
            size: PlainLen::new(4097),
            seal: SealSum::new([0x77; 16]),
            birth_dir: DIR,
            holes: 0,
        }
    }

    /// A header with arbitrary sealed fields, as only a holder of the key can
    /// make it.
    fn forge(fields: &[u8; 64]) -> [u8; 128] {
        let keys = file_keys();
        let mut image = seal_header(&keys, &header()).unwrap().0;
        let (public, _) = image.split_first_chunk().unwrap();
        let ad = Ad::header(public);
        let message = aead::seal_message(keys.file_key(), &[7; 24], &ad, fields);
        image[24..].copy_from_slice(&message);
        image
    }

    #[test]
    fn the_bytes_are_those_of_the_table() {
        let keys = file_keys();
        let image = seal_header(&keys, &header()).unwrap();
        let bytes = image.sealed().bytes();
        assert_eq!(bytes.len(), 128);
        assert_eq!(bytes[..8], *b"KPF1\0\0\0\0");
        assert_eq!(bytes[8..24], [0x33; 16]);
        let ad = [&[0][..], &bytes[..24]].concat();
        let ad = Ad::xattr_value(&ad);
        let fields = aead::open_message(keys.file_key(), &ad, &bytes[24..]).unwrap();
        let mut expected = vec![0; 8];
        expected.extend_from_slice(&3u64.to_le_bytes());
        expected.extend_from_slice(&4097u64.to_le_bytes());
        expected.extend_from_slice(&[0x77; 16]);
        expected.extend_from_slice(&[0x55; 16]);
        expected.extend_from_slice(&[0; 8]);
        assert_eq!(fields, expected);
    }

    #[test]
    fn every_flipped_bit_is_refused() {
        let keys = file_keys();
        let image = seal_header(&keys, &header()).unwrap();
        for flipped in bit_flips(&image.0) {
            assert!(open_header(&keys, &flipped.try_into().unwrap()).is_err());
        }
    }

    #[test]
    fn two_seals_of_one_header_have_different_nonces() {
        let keys = file_keys();
        let first = seal_header(&keys, &header()).unwrap();
        let second = seal_header(&keys, &header()).unwrap();
        assert_ne!(first.0[24..48], second.0[24..48]);
    }

    #[test]
    fn each_fault_has_its_own_name() {
        let keys = file_keys();
        let good = seal_header(&keys, &header()).unwrap().0;
        assert_eq!(claimed_file_id(&good[..24]), Ok(keys.file_id()));
        assert_eq!(claimed_file_id(&good[..23]), Err(HeaderError::TooShort));
        assert_eq!(claimed_file_id(&[0; 128]), Err(HeaderError::BadMagic));
        let mut reserved = good;
        reserved[7] = 1;
        assert_eq!(
            claimed_file_id(&reserved),
            Err(HeaderError::ReservedNotZero)
        );
        let other = tree().file_keys(FileId::new([1; 16]));
        let wrong = HeaderError::WrongFile {
            claimed: keys.file_id(),
            expected: other.file_id(),
        };
        assert_eq!(open_header(&other, &good), Err(wrong));
        let mut damaged = good;
        damaged[127] ^= 1;
        assert_eq!(open_header(&keys, &damaged), Err(HeaderError::NotAuthentic));
    }

    #[test]
    fn authentic_headers_from_the_future_or_out_of_range_are_named() {
        let keys = file_keys();
        let mut fields = encode_fields(&header());
        assert_eq!(open_header(&keys, &forge(&fields)), Ok(header()));
        fields[0] = 0x04;
        let newer = open_header(&keys, &forge(&fields));
        assert_eq!(newer, Err(HeaderError::UnknownFlags(4)));
        fields[0] = 0;
        for reserved in 1..8 {
            let mut fields = fields;
            fields[reserved] = 1;
            let refused = open_header(&keys, &forge(&fields));
            assert_eq!(refused, Err(HeaderError::ReservedNotZero));
        }
        fields[16..24].copy_from_slice(&(MAX_SIZE + 1).to_le_bytes());
        let huge = open_header(&keys, &forge(&fields));
        assert_eq!(huge, Err(HeaderError::ImpossibleSize(MAX_SIZE + 1)));
    }

    proptest! {
        #[test]
        fn every_header_comes_back(
            flags in 0u8..4,
            generation: u64,
            size in 0..=MAX_SIZE,
            seal: [u8; 16],
            birth_dir: [u8; 16],
            holes: u64,
        ) {
            let keys = file_keys();
            let header = Header {
                file_id: keys.file_id(),
                open: if flags & 1 == 0 { OpenFlag::Closed } else { OpenFlag::Open },
                sparse: if flags & 2 == 0 { SparseFlag::Dense } else { SparseFlag::Sparse },
                generation,
                size: PlainLen::new(size),
                seal: SealSum::new(seal),
                birth_dir: DirId::new(birth_dir),
                holes,
            };
            let image = seal_header(&keys, &header).unwrap();
            prop_assert_eq!(open_header(&keys, &image.0), Ok(header));
        }
    }
}
