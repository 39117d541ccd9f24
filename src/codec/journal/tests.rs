#![allow(clippy::unwrap_used, reason = "a failed test may panic")]
use super::*;
use crate::codec::batch::SealSum;
use crate::codec::header::{OpenFlag, SparseFlag};
use crate::codec::testing::{DIR, bit_flips, tree};
use crate::types::PlainLen;

const ID: JournalId = JournalId([0x71; 16]);

fn header() -> Header {
    Header {
        file_id: FileId::new([0x33; 16]),
        open: OpenFlag::Closed,
        sparse: SparseFlag::Dense,
        generation: 9,
        size: PlainLen::new(5000),
        seal: SealSum::new([0x77; 16]),
        birth_dir: DIR,
        holes: 0,
    }
}

fn records() -> [Record; 3] {
    let one = |chunk, old, new| Replaced {
        chunk: ChunkNo::new(chunk),
        old: SlotTag([old; 16]),
        new,
    };
    [
        Record::File {
            nr: 4,
            ino: 1234,
            base: header(),
            place: b"abc/def".to_vec(),
        },
        Record::Change {
            nr: 4,
            header: header(),
            replaced: vec![
                one(0, 1, NewSlot::Stored(SlotTag([2; 16]))),
                one(1, 0, NewSlot::Placed(SlotTag([3; 16]))),
                one(7, 5, NewSlot::Hole),
            ],
        },
        Record::Done { nr: 4 },
    ]
}

#[test]
fn every_record_comes_back() {
    for record in records() {
        let bytes = tree().seal_frame(ID, 77, &record, 4136).unwrap().0;
        let (head, _) = bytes.split_first_chunk().unwrap();
        let frame = FrameHead::parse(head).unwrap();
        assert_eq!((frame.sequence, frame.data_len), (77, 4136));
        assert_eq!(
            FrameHead::LEN - NONCE_LEN + frame.record_len() + NONCE_LEN,
            bytes.len()
        );
        assert_eq!(tree().open_frame(ID, &bytes), Some(record));
    }
}

#[test]
fn a_frame_of_another_journal_or_with_a_flipped_bit_is_none() {
    for record in records() {
        let bytes = tree().seal_frame(ID, 77, &record, 4136).unwrap().0;
        assert_eq!(tree().open_frame(JournalId([0x72; 16]), &bytes), None);
        for flipped in bit_flips(&bytes) {
            assert_eq!(tree().open_frame(ID, &flipped), None);
        }
        for len in 0..bytes.len() {
            assert_eq!(tree().open_frame(ID, &bytes[..len]), None);
        }
    }
}

#[test]
fn a_head_proves_vault_and_machine() {
    let head = JournalHead::generate(&tree(), b"machine").unwrap();
    assert_eq!(head.host, tree().host_tag(b"machine"));
    assert_ne!(head.host, tree().host_tag(b"another"));
    let bytes = tree().seal_journal_head(&head).unwrap().0;
    assert_eq!(bytes.len(), JournalHead::LEN);
    assert_eq!(tree().open_journal_head(&bytes), Ok(head));
    for flipped in bit_flips(&bytes) {
        assert!(tree().open_journal_head(&flipped).is_err());
    }
    assert_eq!(
        tree().open_journal_head(&bytes[..127]),
        Err(JournalError::NotAJournal)
    );
}

#[test]
fn lengths_no_journal_has_are_refused_before_anything_is_read() {
    let mut bytes = [0; FrameHead::LEN];
    bytes[..4].copy_from_slice(&u32::MAX.to_le_bytes());
    assert!(FrameHead::parse(&bytes).is_none());
    bytes[..4].copy_from_slice(&100u32.to_le_bytes());
    assert!(FrameHead::parse(&bytes).is_some());
    bytes[4..8].copy_from_slice(&u32::MAX.to_le_bytes());
    assert!(FrameHead::parse(&bytes).is_none());
}
