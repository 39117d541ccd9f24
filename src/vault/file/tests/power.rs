//! Power cuts: of what was written and not flushed, any part may be missing
//! afterwards, whatever came before or after it. Worst cases and random ones.

use std::collections::HashMap;
use std::os::unix::ffi::OsStrExt as _;

use super::journal::{States, assert_whole_as, recover};
use super::workload::{Op, Start, apply, base, goes_by_parts, imagine};
use super::*;
use crate::sys::fs::mutation::record::{self, Event};

/// Bytes that a disk writes whole or not at all.
const SECTOR: usize = 512;

/// What of the unflushed changes reached the disk.
#[derive(Clone, Copy, Debug)]
enum Luck {
    None,
    All,
    /// The first so many.
    First(usize),
    /// All but this one.
    AllBut(usize),
    /// Each sector by a draw from this seed.
    Random(u64),
}

/// A generator good enough to vary a test; xorshift64.
struct Draw(u64);

impl Draw {
    fn yes(&mut self) -> bool {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0.is_multiple_of(2)
    }
}

fn set_len(bytes: &mut Vec<u8>, len: u64) {
    bytes.resize(usize::try_from(len).unwrap(), 0);
}

/// One write, of which some sectors may not have been reached.
fn write(bytes: &mut Vec<u8>, at: u64, new: &[u8], mut reached: impl FnMut() -> bool) {
    let at = usize::try_from(at).unwrap();
    let mut from = 0;
    while from < new.len() {
        let to = new.len().min(from + SECTOR - (at + from) % SECTOR);
        if reached() {
            if bytes.len() < at + to {
                bytes.resize(at + to, 0);
            }
            bytes[at + from..at + to].copy_from_slice(&new[from..to]);
        }
        from = to;
    }
}

/// The file after a cut. Lengths and freed space are metadata, which file
/// systems write in order: of those the first few count.
fn after_cut(before: &[u8], events: &[Event], luck: Luck) -> Vec<u8> {
    let mut bytes = before.to_vec();
    let safe = events.iter().rposition(|event| *event == Event::Sync);
    let safe = safe.map_or(0, |at| at + 1);
    let mut draw = Draw(match luck {
        Luck::Random(seed) => seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1,
        Luck::None | Luck::All | Luck::First(_) | Luck::AllBut(_) => 1,
    });
    let mut metadata_stopped = false;
    for (index, event) in events.iter().enumerate() {
        let unsafe_index = index.checked_sub(safe);
        let mut reached = || match (unsafe_index, luck) {
            (None, _) | (Some(_), Luck::All) => true,
            (Some(_), Luck::None) => false,
            (Some(at), Luck::First(count)) => at < count,
            (Some(at), Luck::AllBut(one)) => at != one,
            (Some(_), Luck::Random(_)) => draw.yes(),
        };
        match event {
            Event::Write(at, new) => write(&mut bytes, *at, new, reached),
            Event::Truncate(_) | Event::Punch(..) if metadata_stopped => {}
            Event::Truncate(_) | Event::Punch(..) if !reached() => metadata_stopped = true,
            Event::Truncate(len) => set_len(&mut bytes, *len),
            Event::Punch(at, len) => {
                let from = usize::try_from(*at).unwrap().min(bytes.len());
                let to = usize::try_from(at + len).unwrap().min(bytes.len());
                bytes[from..to].fill(0);
            }
            Event::Sync => {}
        }
    }
    bytes
}

/// Does `ops`, cuts the power, and leaves on the backing what the luck says.
/// `None` if nothing can be promised of the file: it was emptied.
fn cut(world: &mut World, start: Start, ops: &[Op], luck: Luck) -> Option<States> {
    let file = start.file(world);
    file.sync().unwrap();
    let name = world.backing("f").file_name().unwrap().as_bytes().to_vec();
    file.set_place(name);
    let file_before = world.bytes("f");
    record::begin();
    let mut states = vec![base()];
    let mut synced = 0;
    for (index, &op) in ops.iter().enumerate() {
        let mut plain = states.last().unwrap().clone();
        imagine(&mut plain, op, index + 2);
        apply(&file, op, index + 2).unwrap();
        states.push(plain);
        // A checkpoint flushes; the seal of a file in place does not.
        let flushes = matches!(op, Op::Sync)
            || matches!(op, Op::Seal) && !ops[..index].contains(&Op::SetLen(0));
        if flushes {
            synced = index + 1;
        }
    }
    let mut events: HashMap<u64, Vec<Event>> = HashMap::new();
    for (ino, event) in record::end() {
        events.entry(ino).or_default().push(event);
    }
    drop(file);
    for entry in fs::read_dir(&world.path).unwrap() {
        let entry = entry.unwrap();
        let ino = entry.metadata().unwrap().ino();
        let Some(events) = events.get(&ino) else {
            continue;
        };
        let is_file = entry.path() == world.backing("f");
        let before: &[u8] = if is_file { &file_before } else { &[] };
        fs::write(entry.path(), after_cut(before, events, luck)).unwrap();
    }
    let emptied = ops[synced..].iter().any(|op| matches!(op, Op::SetLen(0)));
    let by_parts = ops[synced..].iter().any(|&op| goes_by_parts(op));
    (!emptied).then(|| States::any_of(states.split_off(synced), by_parts))
}

fn all_luck(most: usize) -> Vec<Luck> {
    [Luck::None, Luck::All]
        .into_iter()
        .chain((0..most).flat_map(|n| [Luck::First(n), Luck::AllBut(n)]))
        .chain((0..20).map(Luck::Random))
        .collect()
}

#[test]
fn a_power_cut_leaves_what_was_synced_and_each_file_whole() {
    let cases = |start: Start| start.sequences().into_iter().map(move |ops| (start, ops));
    for (start, ops) in Start::ALL.into_iter().flat_map(cases) {
        // The cut comes after each operation.
        for count in 1..=ops.len() {
            for luck in all_luck(8) {
                let mut world = World::journalled();
                let Some(states) = cut(&mut world, start, &ops[..count], luck) else {
                    continue;
                };
                recover(&mut world);
                let what = format!("{start:?}, {:?}, {luck:?}", &ops[..count]);
                assert_whole_as(&world, start, |plain| states.allow(plain), &what);
            }
        }
    }
}
