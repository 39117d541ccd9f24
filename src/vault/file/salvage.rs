//! What is left of a damaged file: every chunk that still authenticates,
//! whatever became of the header, the length and the chunks around it.

use zeroize::Zeroizing;

use super::write::{to_u64, to_usize};
use super::{Damage, FileError};
use crate::codec::batch::{Holes, Tail, Workers, open_slots};
use crate::codec::geometry::Geometry;
use crate::codec::header::{Header, OpenFlag, SparseFlag};
use crate::codec::keys::FileKeys;
use crate::store::StoreFile;
use crate::types::{ChunkNo, CipherLen, PlainLen, PlainOff};
use crate::vault::Vault;

/// A stretch of the plaintext, in order.
#[derive(Debug)]
pub enum Stretch<'a> {
    /// Authentic bytes.
    Bytes(&'a [u8]),
    /// So many bytes that were never written, and read as zeros.
    Hole(u64),
    /// So many bytes that are lost.
    Gap(u64),
}

/// What a damaged file says of itself.
struct Remains<'a> {
    geometry: Geometry,
    keys: FileKeys,
    store: &'a StoreFile,
    /// Length on the backing.
    stored: u64,
    header: Option<Header>,
    holes: Holes,
}

/// Hands out what is left of a file from its beginning to its end, and
/// returns the length of its plaintext, gaps included. Where the header does
/// not open, the id in it is tried all the same: chunks prove it.
///
/// # Errors
/// [`Damage`] if the beginning does not even name keys; the backing's, unless
/// it concerns one slot; what `each` says.
pub fn salvage<E: From<FileError>>(
    vault: &Vault,
    store: &StoreFile,
    mut each: impl FnMut(Stretch<'_>) -> Result<(), E>,
) -> Result<PlainLen, E> {
    let remains = Remains::find(vault, store)?;
    let g = remains.geometry;
    let mut at = PlainOff::new(0);
    let mut chunk = ChunkNo::new(0);
    let end = remains.end();
    let mut slot = vec![0; g.slot_size()];
    let mut plain = Zeroizing::new(vec![0; g.chunk_size()]);
    let mut advance = |at: &mut PlainOff, stretch: Stretch<'_>| {
        let len = match stretch {
            Stretch::Bytes(bytes) => to_u64(bytes.len()),
            Stretch::Hole(len) | Stretch::Gap(len) => len,
        };
        *at = PlainOff::new(at.get() + len);
        if len == 0 { Ok(()) } else { each(stretch) }
    };
    while at.get() < end {
        let unstored = remains.unstored(chunk)?.min(end - at.get());
        if unstored > 0 {
            advance(&mut at, remains.zeros(unstored))?;
            chunk = ChunkNo::new(chunk.get() + unstored / to_u64(g.chunk_size()));
            continue;
        }
        let expected = (end - at.get()).min(to_u64(g.chunk_size()));
        // What a failing disk does not give is lost, and the rest is not.
        let Ok(read) = store.read_at(&mut slot, g.slot_start(chunk)) else {
            advance(&mut at, Stretch::Gap(expected))?;
            chunk = chunk.next();
            continue;
        };
        let stretch = remains.open(chunk, &slot[..read], expected, &mut plain);
        let short = read < slot.len();
        advance(&mut at, stretch)?;
        if short {
            let left = end.saturating_sub(at.get());
            advance(&mut at, Stretch::Gap(left))?;
            break;
        }
        chunk = chunk.next();
    }
    Ok(PlainLen::new(at.get()))
}

impl<'a> Remains<'a> {
    fn find(vault: &Vault, store: &'a StoreFile) -> Result<Self, FileError> {
        let head = store.read_head(Geometry::HEADER_LEN)?;
        let keys = vault.keys();
        let (keys, header) = match keys.identify(&head) {
            Ok((keys, header)) => (keys, Some(header)),
            Err(_) => (keys.claimed_keys(&head).map_err(Damage::from)?, None),
        };
        let sparse = header.is_some_and(|header| header.sparse == SparseFlag::Sparse);
        Ok(Self {
            geometry: vault.geometry(),
            keys,
            store,
            stored: store.stat()?.size,
            header,
            holes: if sparse {
                Holes::Allowed
            } else {
                Holes::Refused
            },
        })
    }

    /// Length of the plaintext: as sealed, else as the length on the backing
    /// allows, a torn last chunk included.
    fn end(&self) -> u64 {
        match self.header {
            Some(header) if header.open == OpenFlag::Closed => header.size.get(),
            Some(_) | None => {
                let g = self.geometry;
                let slots = self.stored.saturating_sub(to_u64(Geometry::HEADER_LEN));
                let (full, rest) = (slots / to_u64(g.slot_size()), slots % to_u64(g.slot_size()));
                let rest = rest.saturating_sub(to_u64(Geometry::SLOT_OVERHEAD));
                let len = full * to_u64(g.chunk_size()) + rest;
                let legal = g.longest_legal_prefix(CipherLen::new(self.stored));
                len.max(legal.get())
            }
        }
    }

    /// How many bytes of plaintext from `chunk` on the backing never stored,
    /// in whole chunks.
    fn unstored(&self, chunk: ChunkNo) -> Result<u64, FileError> {
        let g = self.geometry;
        if g.slot_start(chunk).get() >= self.stored {
            return Ok(0);
        }
        let data = self.store.seek_data(g.slot_start(chunk))?;
        let next = match data {
            Some(at) => g.slot_at(at).unwrap_or(chunk).get(),
            None => (self.stored - to_u64(Geometry::HEADER_LEN)) / to_u64(g.slot_size()),
        };
        Ok(next.saturating_sub(chunk.get()) * to_u64(g.chunk_size()))
    }

    fn zeros<'b>(&self, len: u64) -> Stretch<'b> {
        match self.holes {
            Holes::Allowed => Stretch::Hole(len),
            Holes::Refused => Stretch::Gap(len),
        }
    }

    /// One slot, of which so many bytes of plaintext are expected.
    fn open<'b>(
        &self,
        chunk: ChunkNo,
        slot: &[u8],
        expected: u64,
        plain: &'b mut [u8],
    ) -> Stretch<'b> {
        let g = self.geometry;
        // A last slot ends where the file does, also if something follows.
        let is_full = expected == to_u64(g.chunk_size());
        let len = to_usize(expected) + Geometry::SLOT_OVERHEAD;
        let (slot, tail) = if is_full {
            (slot, Tail::Inside)
        } else {
            (slot.get(..len).unwrap_or(slot), Tail::Last)
        };
        if is_full && slot.len() == g.slot_size() && slot.iter().all(|&byte| byte == 0) {
            return self.zeros(expected);
        }
        let Some(plain) = slot
            .len()
            .checked_sub(Geometry::SLOT_OVERHEAD)
            .and_then(|len| plain.get_mut(..len))
        else {
            return Stretch::Gap(expected);
        };
        let opened = open_slots(
            &self.keys,
            g,
            chunk,
            slot,
            tail,
            Holes::Refused,
            Workers::One,
            plain,
        );
        match opened {
            Ok(()) if to_u64(plain.len()) == expected => Stretch::Bytes(plain),
            Ok(()) | Err(_) => Stretch::Gap(expected),
        }
    }
}
