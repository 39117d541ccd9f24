//! A journal read back: what it says of each file, as far as it is whole.

use std::collections::BTreeMap;
use std::io;

use crate::codec::geometry::Geometry;
use crate::codec::header::{Header, OpenFlag};
use crate::codec::journal::{FrameHead, JournalHead, NewSlot, Record, Replaced, SlotTag};
use crate::codec::keys::KeyTree;
use crate::store::StoreFile;
use crate::types::{CipherOff, PlainLen};

/// One change of a file.
#[derive(Debug)]
pub(super) struct Change {
    /// The header to seal it with.
    pub(super) header: Header,
    /// What it replaces; for a slot in the journal, where it begins there.
    pub(super) replaced: Vec<(Replaced, Option<CipherOff>)>,
}

/// What a journal says of one file.
#[derive(Debug)]
pub(super) struct Story {
    /// Its inode number.
    pub(super) ino: u64,
    /// Its header when the first change came.
    pub(super) base: Header,
    /// Where it was last.
    pub(super) place: Vec<u8>,
    /// Its changes, in order.
    pub(super) changes: Vec<Change>,
}

impl Story {
    /// Whether all it says is that the file was in the making: it had nothing in
    /// it that anybody was promised.
    pub(super) fn is_in_the_making(&self) -> bool {
        self.changes.is_empty()
            && self.base.open == OpenFlag::Open
            && self.base.size == PlainLen::new(0)
    }

    /// Whether all it says is that the file was about to be emptied.
    pub(super) fn empties(&self) -> bool {
        matches!(
            self.changes.as_slice(),
            [Change { header, replaced }]
                if header.size == PlainLen::new(0)
                    && replaced.iter().all(|(one, _)| one.old == SlotTag::NONE)
        )
    }
}

/// What a journal says of all files that are not done with, in the order in
/// which they began to change. Reading ends at the first frame that is not
/// whole: what follows it was never promised.
///
/// # Errors
/// The backing's.
pub(super) fn stories(
    keys: &KeyTree,
    g: Geometry,
    head: &JournalHead,
    journal: &StoreFile,
) -> io::Result<Vec<Story>> {
    let mut stories: BTreeMap<u64, Story> = BTreeMap::new();
    let mut at = u64::try_from(JournalHead::LEN).expect("it is 128");
    let mut expected = None;
    let length = journal.stat()?.size;
    while let Some((frame, record, data_at)) = read_frame(keys, head, journal, at, length)? {
        if expected.is_some_and(|expected| expected != frame.sequence) {
            break;
        }
        expected = frame.sequence.checked_add(1);
        at = data_at + u64::try_from(frame.data_len).unwrap_or(u64::MAX);
        if at > length {
            break;
        }
        match record {
            Record::File {
                nr,
                ino,
                base,
                place,
            } => {
                let story = stories.entry(nr).or_insert(Story {
                    ino,
                    base,
                    place: Vec::new(),
                    changes: Vec::new(),
                });
                story.place = place;
            }
            Record::Change {
                nr,
                header,
                replaced,
            } => {
                if let Some(story) = stories.get_mut(&nr)
                    && story.base.file_id == header.file_id
                {
                    story.changes.push(Change {
                        header,
                        replaced: located(g, replaced, data_at),
                    });
                }
            }
            Record::Done { nr } => {
                stories.remove(&nr);
            }
        }
    }
    Ok(stories.into_values().collect())
}

/// The frame at `at`, and where its slots begin; `None` if there is none.
fn read_frame(
    keys: &KeyTree,
    head: &JournalHead,
    journal: &StoreFile,
    at: u64,
    length: u64,
) -> io::Result<Option<(FrameHead, Record, u64)>> {
    let mut bytes = vec![0; FrameHead::LEN];
    if journal.read_at(&mut bytes, CipherOff::new(at))? < bytes.len() {
        return Ok(None);
    }
    let Some(frame) = bytes.first_chunk().and_then(FrameHead::parse) else {
        return Ok(None);
    };
    let end = FrameHead::LEN + frame.record_len();
    let record_end = at + u64::try_from(end).unwrap_or(u64::MAX);
    if record_end > length {
        return Ok(None);
    }
    bytes.resize(end, 0);
    let rest = CipherOff::new(at + u64::try_from(FrameHead::LEN).unwrap_or(0));
    if journal.read_at(&mut bytes[FrameHead::LEN..], rest)? < frame.record_len() {
        return Ok(None);
    }
    let record = keys.open_frame(head.id, &bytes);
    Ok(record.map(|record| (frame, record, record_end)))
}

/// Where each stored slot begins: one behind the other, in order; only the
/// last may be shorter than a full one.
fn located(
    g: Geometry,
    replaced: Vec<Replaced>,
    data_at: u64,
) -> Vec<(Replaced, Option<CipherOff>)> {
    let slot_size = u64::try_from(g.slot_size()).expect("at most 2^20 + 40");
    let mut at = data_at;
    replaced
        .into_iter()
        .map(|one| {
            let stored = matches!(one.new, NewSlot::Stored(_));
            let here = stored.then(|| CipherOff::new(at));
            if stored {
                at += slot_size;
            }
            (one, here)
        })
        .collect()
}
