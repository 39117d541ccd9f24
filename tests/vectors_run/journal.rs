//! Journals; section 15.

use keepfs::codec::batch::SealSum;
use keepfs::codec::header::{Header, OpenFlag, SparseFlag};
use keepfs::codec::journal::{FrameHead, JournalError, NewSlot, Record, Replaced, SlotTag};
use keepfs::types::{ChunkNo, DirId, FileId, PlainLen};

use super::case::{Case, Refusal, run, same, unhex};
use super::same_seal;

fn refusal(error: JournalError) -> Refusal {
    Refusal(match error {
        JournalError::NotAJournal => &["not-a-journal"],
        JournalError::NotAuthentic => &["not-authentic"],
        JournalError::Newer => &["newer"],
    })
}

#[test]
fn heads() {
    run("journal", |case| {
        let keys = case.keys();
        let opened = keys.open_journal_head(&case.bytes("head"));
        let Some(head) = case.judge(opened.map_err(refusal))? else {
            return Ok(());
        };
        same("host", &head.host, &keys.host_tag(&case.bytes("machine")))
    });
}

#[test]
fn frames() {
    run("frame", |case| {
        let keys = case.keys();
        let head = keys.open_journal_head(&case.bytes("head")).unwrap();
        let bytes = case.bytes("frame");
        let found = bytes.first_chunk().and_then(FrameHead::parse);
        let opened = found.and_then(|frame| {
            let record = bytes.get(..FrameHead::LEN + frame.record_len())?;
            Some((frame, keys.open_frame(head.id, record)?))
        });
        let opened = opened.ok_or(Refusal(&["not-a-frame"]));
        let Some((frame, record)) = case.judge(opened)? else {
            return Ok(());
        };
        same("sequence", &frame.sequence, &case.number("sequence"))?;
        same("bytes of slots", &frame.data_len, &case.number("data_len"))?;
        let seal = match &record {
            Record::File { base: header, .. } | Record::Change { header, .. } => Some(header.seal),
            Record::Done { .. } => None,
        };
        same("record", &record, &stated(case, seal))?;
        seal.map_or(Ok(()), |seal| same_seal(seal, case.array("seal")))
    });
}

/// What the case states; a sum cannot be made, so it is compared apart.
fn stated(case: &Case, seal: Option<SealSum>) -> Record {
    let nr = case.number("nr");
    match case.text("record") {
        "file" => Record::File {
            nr,
            ino: case.number("ino"),
            base: header(case, seal),
            place: case.bytes("place"),
        },
        "change" => Record::Change {
            nr,
            header: header(case, seal),
            replaced: case.all("replaced").map(replaced).collect(),
        },
        "done" => Record::Done { nr },
        other => panic!("{}: no record is called {other}", case.path),
    }
}

fn header(case: &Case, seal: Option<SealSum>) -> Header {
    Header {
        file_id: FileId::new(case.array("file_id")),
        open: match case.text("open") {
            "yes" => OpenFlag::Open,
            _ => OpenFlag::Closed,
        },
        sparse: match case.text("sparse") {
            "yes" => SparseFlag::Sparse,
            _ => SparseFlag::Dense,
        },
        generation: case.number("generation"),
        size: PlainLen::new(case.number("size")),
        seal: seal.unwrap_or(SealSum::ZERO),
        birth_dir: DirId::new(case.array("birth_dir_id")),
        holes: case.number("holes"),
    }
}

fn replaced(line: &str) -> Replaced {
    let words: Vec<&str> = line.split(' ').collect();
    let [how, chunk, old, new] = words[..] else {
        panic!("{line} has not four parts");
    };
    let new = SlotTag::of(&unhex(new));
    Replaced {
        chunk: ChunkNo::new(chunk.parse().unwrap()),
        old: SlotTag::of(&unhex(old)),
        new: match how {
            "1" => NewSlot::Stored(new),
            "2" => NewSlot::Placed(new),
            _ => NewSlot::Hole,
        },
    }
}
