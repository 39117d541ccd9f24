//! The journal: what shall replace live slots, written before they are
//! replaced. FORMAT.md, journal.
//!
//! ```text
//! head, 128 bytes: "KPJ1" || 0 x 4 || journal_id 16 || nonce 24 || XC(host 16 || 0 x 48)
//! frame:  u32 m || u32 d || u64 sequence || nonce 24 || XC(record), m bytes || slots, d bytes
//! ```
//! Slots stand in it as they will stand in their file, so they are encrypted
//! already; the record proves which they are by their tags.

use hmac::{Hmac, KeyInit, Mac};
use sha2::Sha256;

use super::Sealed;
use super::aead::{self, Ad, NONCE_LEN, Nonce, TAG_LEN};
use super::geometry::Geometry;
use super::header::{self, FIELDS_LEN, Header};
use super::keys::KeyTree;
use super::parts::Parts;
use super::random::{self, RandomError};
use crate::types::{ChunkNo, FileId};

const MAGIC: [u8; 4] = *b"KPJ1";
const AD_HEAD: &[u8] = b"keepfs journal";
const PUBLIC_LEN: usize = 24;
const HOST_LEN: usize = 16;
const ID_LEN: usize = 16;
const HEAD_FIELDS_LEN: usize = 64;
/// Lengths and sequence number: what of a frame is not encrypted.
const FRAME_PUBLIC_LEN: usize = 16;

const KIND_FILE: u8 = 1;
const KIND_CHANGE: u8 = 2;
const KIND_DONE: u8 = 3;
const STORED: u8 = 1;
const PLACED: u8 = 2;
const HOLE: u8 = 3;
/// Kind, zeros, number.
const RECORD_HEAD_LEN: usize = 16;
const ENTRY_LEN: usize = 41;

/// Names one journal; random.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct JournalId([u8; 16]);

/// Stands for the machine a journal was written on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct HostTag([u8; HOST_LEN]);

/// A slot's tag; zeros where there is a hole or nothing.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct SlotTag([u8; TAG_LEN]);

impl SlotTag {
    /// No slot: a hole, or beyond the end.
    pub const NONE: Self = Self([0; TAG_LEN]);

    /// The tag of a slot as it stands on the backing. What is too short for a
    /// slot, and what is zeros, has none.
    #[must_use]
    pub fn of(slot: &[u8]) -> Self {
        slot.split_last_chunk()
            .map_or(Self::NONE, |(_, tag)| Self(*tag))
    }
}

/// What the first bytes of a journal say.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct JournalHead {
    /// Enters the associated data of every frame.
    pub id: JournalId,
    /// Where it was written.
    pub host: HostTag,
}

/// Where the new content of a chunk is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum NewSlot {
    /// In the frame's data.
    Stored(SlotTag),
    /// In its file already, behind everything that was there.
    Placed(SlotTag),
    /// Nowhere: the chunk becomes a hole.
    Hole,
}

/// One chunk that a change replaces.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Replaced {
    /// Which.
    pub chunk: ChunkNo,
    /// The slot it had before.
    pub old: SlotTag,
    /// The slot it has now.
    pub new: NewSlot,
}

/// One record of a journal. `nr` is the file's number in this journal.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Record {
    /// Changes of a file will follow.
    File {
        /// The number it has from here on.
        nr: u64,
        /// Its inode number on the backing; a hint.
        ino: u64,
        /// Its header as it stands.
        base: Header,
        /// Its place: entries of the backing from the root downward, joined
        /// by `/`; a hint, possibly empty.
        place: Vec<u8>,
    },
    /// The file is to be so from here on.
    Change {
        /// Its number.
        nr: u64,
        /// The header to seal it with; OPEN if it must not be sealed.
        header: Header,
        /// The slots that differ from before.
        replaced: Vec<Replaced>,
    },
    /// All of this file is in place, or the file is gone.
    Done {
        /// Its number.
        nr: u64,
    },
}

/// Why a journal's head does not open.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum JournalError {
    /// Shorter than its head, or other first bytes.
    #[error("it is no journal")]
    NotAJournal,
    /// Another vault's, damaged or forged.
    #[error("it is damaged, forged or another vault's")]
    NotAuthentic,
    /// Written by a newer keepfs.
    #[error("it needs a newer keepfs")]
    Newer,
}

/// Bytes of a journal, to be written.
pub struct JournalBytes(Vec<u8>);

impl JournalBytes {
    /// So many zeros: no frame begins so.
    #[must_use]
    pub fn void(len: usize) -> Self {
        Self(vec![0; len])
    }

    /// As they are written; the slots follow.
    #[must_use]
    pub fn sealed(&self) -> Sealed<'_> {
        Sealed::new(&self.0)
    }
}

/// A frame without its slots, as found.
#[derive(Debug)]
pub struct FrameHead {
    record_len: usize,
    /// Bytes of slots that follow the record.
    pub data_len: usize,
    /// Its place in the order of all frames.
    pub sequence: u64,
}

impl JournalHead {
    /// Bytes of a journal's head; the first frame follows.
    pub const LEN: usize = PUBLIC_LEN + NONCE_LEN + HEAD_FIELDS_LEN + TAG_LEN;

    /// A new journal for this machine, which `machine` names.
    ///
    /// # Errors
    /// No randomness.
    pub fn generate(keys: &KeyTree, machine: &[u8]) -> Result<Self, RandomError> {
        Ok(Self {
            id: JournalId(random::array()?),
            host: keys.host_tag(machine),
        })
    }
}

impl FrameHead {
    /// Bytes before the encrypted record.
    pub const LEN: usize = FRAME_PUBLIC_LEN + NONCE_LEN;
    /// The longest record: of a change of so many slots as there may be.
    const MAX_RECORD_LEN: usize =
        RECORD_HEAD_LEN + ID_LEN + FIELDS_LEN + ENTRY_LEN * Record::MAX_REPLACED + TAG_LEN;
    /// The most slots a frame carries, in bytes.
    const MAX_DATA_LEN: usize = 1 << 28;

    /// Whether a frame can carry so much.
    #[must_use]
    pub fn fits(record: &Record, data_len: usize) -> bool {
        let count = match record {
            Record::Change { replaced, .. } => replaced.len(),
            Record::File { .. } | Record::Done { .. } => 0,
        };
        count <= Record::MAX_REPLACED && data_len <= Self::MAX_DATA_LEN
    }

    /// Reads what is not encrypted; `None` if no frame begins so.
    #[must_use]
    pub fn parse(bytes: &[u8; Self::LEN]) -> Option<Self> {
        let mut parts = Parts::new(bytes);
        let record_len = usize::try_from(parts.u32()).ok()?;
        let data_len = usize::try_from(parts.u32()).ok()?;
        let sequence = parts.u64();
        let sane = (RECORD_HEAD_LEN + TAG_LEN..=Self::MAX_RECORD_LEN).contains(&record_len)
            && data_len <= Self::MAX_DATA_LEN;
        sane.then_some(Self {
            record_len,
            data_len,
            sequence,
        })
    }

    /// Bytes of the encrypted record.
    #[must_use]
    pub fn record_len(&self) -> usize {
        self.record_len
    }
}

impl Record {
    /// The most slots one change may replace.
    pub const MAX_REPLACED: usize = 1 << 17;

    fn encode(&self) -> Vec<u8> {
        let (kind, nr) = match self {
            Self::File { nr, .. } => (KIND_FILE, nr),
            Self::Change { nr, .. } => (KIND_CHANGE, nr),
            Self::Done { nr } => (KIND_DONE, nr),
        };
        let entries = match self {
            Self::Change { replaced, .. } => replaced.len(),
            Self::File { .. } | Self::Done { .. } => 0,
        };
        let room = RECORD_HEAD_LEN + ID_LEN + FIELDS_LEN + ENTRY_LEN * entries;
        let mut bytes = Vec::with_capacity(room);
        bytes.extend_from_slice(&[kind, 0, 0, 0, 0, 0, 0, 0]);
        bytes.extend_from_slice(&nr.to_le_bytes());
        match self {
            Self::File {
                ino, base, place, ..
            } => {
                bytes.extend_from_slice(base.file_id.bytes());
                bytes.extend_from_slice(&ino.to_le_bytes());
                bytes.extend_from_slice(&header::encode_fields(base));
                bytes.extend_from_slice(place);
            }
            Self::Change {
                header, replaced, ..
            } => {
                bytes.extend_from_slice(header.file_id.bytes());
                bytes.extend_from_slice(&header::encode_fields(header));
                for one in replaced {
                    let (how, new) = match one.new {
                        NewSlot::Stored(tag) => (STORED, tag),
                        NewSlot::Placed(tag) => (PLACED, tag),
                        NewSlot::Hole => (HOLE, SlotTag::NONE),
                    };
                    bytes.push(how);
                    bytes.extend_from_slice(&one.chunk.get().to_le_bytes());
                    bytes.extend_from_slice(&one.old.0);
                    bytes.extend_from_slice(&new.0);
                }
            }
            Self::Done { .. } => {}
        }
        bytes
    }

    fn decode(bytes: &[u8]) -> Option<Self> {
        let (head, rest) = bytes.split_at_checked(RECORD_HEAD_LEN)?;
        let mut parts = Parts::new(head);
        let [kind, zeros @ ..] = *parts.take::<8>();
        let nr = parts.u64();
        if zeros != [0; 7] {
            return None;
        }
        match kind {
            KIND_FILE => {
                let (fixed, place) = rest.split_at_checked(ID_LEN + 8 + FIELDS_LEN)?;
                let mut parts = Parts::new(fixed);
                let id = FileId::new(*parts.take());
                let ino = parts.u64();
                let base = header::parse_fields(id, parts.take()).ok()?;
                Some(Self::File {
                    nr,
                    ino,
                    base,
                    place: place.to_vec(),
                })
            }
            KIND_CHANGE => {
                let (fixed, entries) = rest.split_at_checked(ID_LEN + FIELDS_LEN)?;
                let mut parts = Parts::new(fixed);
                let id = FileId::new(*parts.take());
                let header = header::parse_fields(id, parts.take()).ok()?;
                let (entries, []) = entries.as_chunks::<ENTRY_LEN>() else {
                    return None;
                };
                let replaced = entries
                    .iter()
                    .map(Replaced::decode)
                    .collect::<Option<_>>()?;
                Some(Self::Change {
                    nr,
                    header,
                    replaced,
                })
            }
            KIND_DONE if rest.is_empty() => Some(Self::Done { nr }),
            _ => None,
        }
    }
}

impl Replaced {
    fn decode(bytes: &[u8; ENTRY_LEN]) -> Option<Self> {
        let mut parts = Parts::new(bytes);
        let [how] = *parts.take();
        let chunk = ChunkNo::new(parts.u64());
        let old = SlotTag(*parts.take());
        let tag = SlotTag(*parts.take());
        let new = match how {
            STORED => NewSlot::Stored(tag),
            PLACED => NewSlot::Placed(tag),
            HOLE if tag == SlotTag::NONE => NewSlot::Hole,
            _ => return None,
        };
        Some(Self { chunk, old, new })
    }

    /// The tag it has now.
    #[must_use]
    pub fn new_tag(&self) -> SlotTag {
        match self.new {
            NewSlot::Stored(tag) | NewSlot::Placed(tag) => tag,
            NewSlot::Hole => SlotTag::NONE,
        }
    }
}

impl KeyTree {
    /// What stands for a machine in this vault's journals. Nobody else can
    /// tell whether two vaults were used on one machine.
    #[must_use]
    pub fn host_tag(&self, machine: &[u8]) -> HostTag {
        let mut mac = Hmac::<Sha256>::new_from_slice(self.journal.bytes())
            .expect("HMAC takes keys of any length");
        mac.update(b"host");
        mac.update(machine);
        let (tag, _) = <[u8; 32]>::from(mac.finalize().into_bytes())
            .split_first_chunk()
            .map(|(tag, rest)| (*tag, rest.len()))
            .expect("a hash has 32 bytes");
        HostTag(tag)
    }

    /// The first bytes of a journal.
    ///
    /// # Errors
    /// No randomness.
    pub fn seal_journal_head(&self, head: &JournalHead) -> Result<JournalBytes, RandomError> {
        let mut bytes = vec![0; PUBLIC_LEN];
        bytes[..4].copy_from_slice(&MAGIC);
        bytes[8..].copy_from_slice(&head.id.0);
        let mut fields = [0; HEAD_FIELDS_LEN];
        fields[..HOST_LEN].copy_from_slice(&head.host.0);
        let nonce = random::array()?;
        let ad = [AD_HEAD, &bytes].concat();
        let message = aead::seal_message(&self.journal, &nonce, &Ad::OwnedName(&ad), &fields);
        bytes.extend_from_slice(&message);
        Ok(JournalBytes(bytes))
    }

    /// Reads the first bytes of a journal.
    ///
    /// # Errors
    /// See [`JournalError`].
    pub fn open_journal_head(&self, bytes: &[u8]) -> Result<JournalHead, JournalError> {
        let bytes: &[u8; JournalHead::LEN] =
            bytes.first_chunk().ok_or(JournalError::NotAJournal)?;
        let (public, message) = bytes.split_at(PUBLIC_LEN);
        let mut parts = Parts::new(public);
        if parts.take() != &MAGIC || parts.take() != &[0; 4] {
            return Err(JournalError::NotAJournal);
        }
        let id = JournalId(*parts.take());
        let ad = [AD_HEAD, public].concat();
        let fields = aead::open_message(&self.journal, &Ad::OwnedName(&ad), message)
            .map_err(|aead::NotAuthentic| JournalError::NotAuthentic)?;
        let (host, zeros) = fields
            .split_first_chunk()
            .ok_or(JournalError::NotAuthentic)?;
        if zeros.iter().any(|&byte| byte != 0) {
            return Err(JournalError::Newer);
        }
        Ok(JournalHead {
            id,
            host: HostTag(*host),
        })
    }

    /// A frame of journal `id` up to its slots, of which `data_len` bytes
    /// follow.
    ///
    /// # Errors
    /// No randomness.
    pub fn seal_frame(
        &self,
        id: JournalId,
        sequence: u64,
        record: &Record,
        data_len: usize,
    ) -> Result<JournalBytes, RandomError> {
        let plain = record.encode();
        let length = |len: usize| u32::try_from(len).expect("bounded by MAX_REPLACED");
        let mut bytes = Vec::with_capacity(FrameHead::LEN + plain.len() + TAG_LEN);
        bytes.extend_from_slice(&length(plain.len() + TAG_LEN).to_le_bytes());
        bytes.extend_from_slice(&length(data_len).to_le_bytes());
        bytes.extend_from_slice(&sequence.to_le_bytes());
        let nonce: Nonce = random::array()?;
        let ad = frame_ad(id, &bytes);
        let message = aead::seal_message(&self.journal, &nonce, &Ad::OwnedName(&ad), &plain);
        bytes.extend_from_slice(&message);
        Ok(JournalBytes(bytes))
    }

    /// Reads a frame of journal `id`: `bytes` are its head and its encrypted
    /// record. `None` if it is not authentic, or not whole.
    #[must_use]
    pub fn open_frame(&self, id: JournalId, bytes: &[u8]) -> Option<Record> {
        let (public, message) = bytes.split_at_checked(FRAME_PUBLIC_LEN)?;
        let ad = frame_ad(id, public);
        let plain = aead::open_message(&self.journal, &Ad::OwnedName(&ad), message).ok()?;
        Record::decode(&plain)
    }
}

fn frame_ad(id: JournalId, public: &[u8]) -> Vec<u8> {
    [AD_HEAD, &id.0, public].concat()
}

/// The chunks of a run of slots as they stand: number and tag of each.
pub fn tags(
    g: Geometry,
    first: ChunkNo,
    slots: &[u8],
) -> impl Iterator<Item = (ChunkNo, SlotTag, &[u8])> {
    (first.get()..)
        .zip(slots.chunks(g.slot_size()))
        .map(|(chunk, slot)| (ChunkNo::new(chunk), SlotTag::of(slot), slot))
}

#[cfg(test)]
mod tests;
