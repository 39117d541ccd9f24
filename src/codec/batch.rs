//! Runs of consecutive slots: many chunks in one call, on one thread or on
//! rayon's, in order, straight from one buffer into the other.
//!
//! Slot i is `nonce 24 || ciphertext || tag 16` under FK with the associated
//! data `0x01 || u64 i`. The seal is the XOR, over all slots that are not
//! holes, of `AES-256-CMAC(SK, u64 i || tag_i)`; NIST SP 800-38B, RFC 4493.
//!
//! `buf` has the reusable buffer, `run` the numbering of slots, `crew` who works on them.

mod buf;
mod crew;
mod run;

use aes::Aes256;
use cmac::{Cmac, Mac};

use crate::types::ChunkNo;

use super::aead::{self, Ad, NONCE_LEN, Nonce, Tag};
use super::geometry::Geometry;
use super::keys::FileKeys;
use super::random::RandomError;
use crew::Crew;
use run::Run;

pub use buf::SlotBuf;

/// From this many bytes on, several threads finish sooner than one. More than the
/// kernel reads at a time: those requests come side by side.
const RAYON_FROM: usize = 512 * 1024;

/// A sum of slots' terms. Adding a term twice removes it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SealSum([u8; 16]);

impl SealSum {
    /// The sum of no slots.
    pub const ZERO: Self = Self([0; 16]);

    pub(in crate::codec) const fn new(bytes: [u8; 16]) -> Self {
        Self(bytes)
    }

    pub(in crate::codec) const fn bytes(&self) -> &[u8; 16] {
        &self.0
    }

    /// The sum of both; also the difference of both.
    #[must_use]
    pub fn combine(self, other: Self) -> Self {
        let mut sum = self.0;
        for (byte, term) in sum.iter_mut().zip(other.0) {
            *byte ^= term;
        }
        Self(sum)
    }
}

impl std::ops::BitXorAssign for SealSum {
    fn bitxor_assign(&mut self, other: Self) {
        *self = self.combine(other);
    }
}

/// Whether a run of slots ends inside the file or with it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Tail {
    /// Full chunks only; none of them is the file's last.
    Inside,
    /// What remains after the full chunks, 0 to C - 1 bytes, is the file's last.
    Last,
}

/// What a full slot of zeros means.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Holes {
    /// Damage.
    Refused,
    /// A chunk of zeros.
    Allowed,
}

/// Who does the work.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Workers {
    /// The calling thread.
    One,
    /// The calling thread, and as many of rayon's current pool as other runs
    /// that are shared out leave free.
    Rayon,
}

/// The usual choice for `bytes` of plaintext: rayon from 512 KiB on.
#[must_use]
pub fn workers_for(bytes: usize) -> Workers {
    if bytes >= RAYON_FROM {
        Workers::Rayon
    } else {
        Workers::One
    }
}

/// Why slots could not be sealed.
#[derive(Debug, thiserror::Error)]
pub enum SealError {
    /// No nonces.
    #[error(transparent)]
    Random(#[from] RandomError),
    /// A run inside a file must consist of full chunks.
    #[error("{len} bytes are no whole number of chunks")]
    PartialChunk {
        /// Bytes that were given.
        len: usize,
    },
    /// The run ends beyond the last chunk number.
    #[error("the file would have too many chunks")]
    TooManyChunks,
}

/// What is wrong with a slot.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum DamageKind {
    /// It was not sealed for this place of this file.
    NotAuthentic,
    /// It is zeros where no hole is allowed.
    UnexpectedHole,
    /// It is cut short, or too long.
    WrongLength,
}

impl std::fmt::Display for DamageKind {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::NotAuthentic => "is damaged or forged",
            Self::UnexpectedHole => "was overwritten with zeros",
            Self::WrongLength => "has a wrong length",
        })
    }
}

/// The first chunk of a run that does not open.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("chunk {chunk} {kind}")]
pub struct ChunkDamage {
    /// Its number in the file.
    pub chunk: ChunkNo,
    /// What is wrong.
    pub kind: DamageKind,
}

/// What raw slots contribute to a file's seal, from their tags alone.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SlotTerms {
    /// Sum over the slots that are not holes.
    pub seal: SealSum,
    /// Number of full slots of zeros.
    pub holes: u64,
}

impl SlotTerms {
    const NONE: Self = Self {
        seal: SealSum::ZERO,
        holes: 0,
    };
    const HOLE: Self = Self {
        seal: SealSum::ZERO,
        holes: 1,
    };

    /// What both runs contribute together.
    #[must_use]
    pub fn combine(self, other: Self) -> Self {
        Self {
            seal: self.seal.combine(other.seal),
            holes: self.holes.saturating_add(other.holes),
        }
    }
}

/// Encrypts `plain`, which begins at the start of chunk `first`, into `out`,
/// whose former contents are replaced; returns the sum of the new terms. On
/// failure `out` is empty.
///
/// # Errors
/// No randomness; with `Tail::Inside` a length that is no multiple of C.
pub fn seal_slots(
    keys: &FileKeys,
    g: Geometry,
    first: ChunkNo,
    plain: &[u8],
    tail: Tail,
    workers: Workers,
    out: &mut SlotBuf,
) -> Result<SealSum, SealError> {
    out.clear();
    let run = Run::of_plain(g, first, plain.len(), tail)?;
    let (nonces, slots) = out.prepare(run)?;
    let crew = Crew::of(run, workers);
    let share = |nth: usize, slots: &mut [u8]| {
        let mut mac = keys.seal_mac();
        let slots = (nth * crew.share..).zip(slots.chunks_mut(g.slot_size()));
        slots.fold(SealSum::ZERO, |sum, (index, slot)| {
            let from = index * g.chunk_size();
            let plain = &plain[from..plain.len().min(from + g.chunk_size())];
            let tag = seal_slot(keys, run.chunk(index), plain, &nonces[index], slot);
            sum.combine(term(&mut mac, run.chunk(index), &tag))
        })
    };
    let shares = slots.chunks_mut(crew.share * g.slot_size());
    let seal = crew.each(shares, share, SealSum::combine);
    out.finish(run);
    Ok(seal.unwrap_or(SealSum::ZERO))
}

/// Decrypts consecutive slots, of which `cipher` begins with number `first`,
/// into `out`, whose length must be that of the plaintext. A full slot of
/// zeros is a hole and reads as zeros if holes are allowed.
///
/// On failure `out` holds the verified chunks before the failing one, and
/// zeros from there on.
///
/// # Errors
/// The lowest chunk that does not open; the first one if `out` has the wrong
/// length.
#[allow(
    clippy::too_many_arguments,
    reason = "eight different types; a struct would only rename them"
)]
pub fn open_slots(
    keys: &FileKeys,
    g: Geometry,
    first: ChunkNo,
    cipher: &[u8],
    tail: Tail,
    holes: Holes,
    workers: Workers,
    out: &mut [u8],
) -> Result<(), ChunkDamage> {
    let opened = Run::of_cipher(g, first, cipher.len(), tail).and_then(|run| {
        if out.len() == run.plain_len() {
            open_run(keys, run, cipher, holes, workers, out)
        } else {
            Err(run.damage(0, DamageKind::WrongLength))
        }
    });
    if let Err(damage) = opened {
        let good = match damage.kind {
            DamageKind::WrongLength => 0,
            DamageKind::NotAuthentic | DamageKind::UnexpectedHole => {
                let chunks = usize::try_from(damage.chunk.get() - first.get());
                chunks.expect("an index into a slice") * g.chunk_size()
            }
        };
        out[good..].fill(0);
    }
    opened
}

/// Opens a run whose lengths all agree.
fn open_run(
    keys: &FileKeys,
    run: Run,
    cipher: &[u8],
    holes: Holes,
    workers: Workers,
    out: &mut [u8],
) -> Result<(), ChunkDamage> {
    let (chunk_size, slot_size) = (run.g.chunk_size(), run.g.slot_size());
    let (full_slots, last_slot) = cipher.split_at(run.full * slot_size);
    let (full_out, last_out) = out.split_at_mut(run.full * chunk_size);
    let crew = Crew::of(run, workers);
    let share = |nth: usize, (slots, plain): (&[u8], &mut [u8])| {
        let slots = slots.chunks(slot_size).zip(plain.chunks_mut(chunk_size));
        (nth * crew.share..)
            .zip(slots)
            .try_for_each(|(index, (slot, plain))| {
                open_full_slot(keys, run.chunk(index), slot, holes, plain)
                    .map_err(|kind| run.damage(index, kind))
            })
    };
    let shares = full_slots
        .chunks(crew.share * slot_size)
        .zip(full_out.chunks_mut(crew.share * chunk_size));
    crew.each(shares, share, Result::and).unwrap_or(Ok(()))?;
    if run.last.is_some() {
        open_slot(keys, run.chunk(run.full), last_slot, last_out)
            .map_err(|kind| run.damage(run.full, kind))?;
    }
    Ok(())
}

/// Terms and holes of raw slots, of which `cipher` begins with number `first`;
/// nothing is decrypted, and nothing proves the slots themselves.
///
/// # Errors
/// The chunk with a wrong length.
pub fn slot_terms(
    keys: &FileKeys,
    g: Geometry,
    first: ChunkNo,
    cipher: &[u8],
    tail: Tail,
) -> Result<SlotTerms, ChunkDamage> {
    let run = Run::of_cipher(g, first, cipher.len(), tail)?;
    let mut mac = keys.seal_mac();
    let slots = cipher.chunks(g.slot_size()).enumerate();
    let terms = slots.map(|(index, slot)| {
        if slot.len() == g.slot_size() && is_hole(slot) {
            return SlotTerms::HOLE;
        }
        let (_, tag) = slot
            .split_last_chunk()
            .expect("measured above: every slot is longer than its tag");
        SlotTerms {
            seal: term(&mut mac, run.chunk(index), tag),
            holes: 0,
        }
    });
    Ok(terms.fold(SlotTerms::NONE, SlotTerms::combine))
}

/// Seals one chunk into its slot and returns the tag.
fn seal_slot(keys: &FileKeys, chunk: ChunkNo, plain: &[u8], nonce: &Nonce, slot: &mut [u8]) -> Tag {
    let (nonce_at, rest) = slot.split_at_mut(NONCE_LEN);
    let (cipher_at, tag_at) = rest.split_at_mut(plain.len());
    let tag = aead::seal(keys.file_key(), nonce, &Ad::chunk(chunk), plain, cipher_at);
    nonce_at.copy_from_slice(nonce);
    tag_at.copy_from_slice(&tag);
    tag
}

fn open_full_slot(
    keys: &FileKeys,
    chunk: ChunkNo,
    slot: &[u8],
    holes: Holes,
    plain: &mut [u8],
) -> Result<(), DamageKind> {
    if !is_hole(slot) {
        return open_slot(keys, chunk, slot, plain);
    }
    match holes {
        Holes::Refused => Err(DamageKind::UnexpectedHole),
        Holes::Allowed => {
            plain.fill(0);
            Ok(())
        }
    }
}

/// Opens one slot; on failure `plain` holds zeros.
fn open_slot(
    keys: &FileKeys,
    chunk: ChunkNo,
    slot: &[u8],
    plain: &mut [u8],
) -> Result<(), DamageKind> {
    let (nonce, cipher, tag) = aead::split_message(slot).ok_or(DamageKind::WrongLength)?;
    aead::open(
        keys.file_key(),
        nonce,
        &Ad::chunk(chunk),
        cipher,
        tag,
        plain,
    )
    .map_err(|aead::NotAuthentic| DamageKind::NotAuthentic)
}

/// `AES-256-CMAC(SK, u64 i || tag)`; leaves `mac` ready for the next slot.
fn term(mac: &mut Cmac<Aes256>, chunk: ChunkNo, tag: &Tag) -> SealSum {
    mac.update(&chunk.get().to_le_bytes());
    mac.update(tag);
    SealSum(mac.finalize_reset().into_bytes().into())
}

/// Whether a slot is all zeros; a sealed one differs in its first bytes.
fn is_hole(slot: &[u8]) -> bool {
    slot.chunks(64)
        .all(|part| part.iter().fold(0, |any, byte| any | byte) == 0)
}

#[cfg(test)]
mod tests;
