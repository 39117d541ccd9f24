//! One regular file, changed: its header, its chunks, its length.

use std::fs;

use crate::filled::{cut, flip};
use crate::victim::*;

/// Refused whole when it is opened, and named by `check`.
#[track_caller]
fn is_refused_whole(victim: &Victim, finding: Found<'_>) {
    victim.opens();
    victim.refuses(finding.2.unwrap(), 0);
    victim.others_read_right(&[finding.2.unwrap()]);
    victim.check_finds(&[finding]);
}

/// Refused from this chunk on, and named by `check`.
#[track_caller]
fn chunk_is_refused(victim: &Victim, plain: &str, first: usize) {
    victim.opens();
    victim.refuses(plain, first * CHUNK);
    victim.others_read_right(&[plain]);
    victim.check_finds(&[("chunks", "part", Some(plain))]);
}

/// What was put behind `letter` is not read, and all of it is.
#[track_caller]
fn letter_reads_no_further(victim: &Victim) {
    victim.opens();
    victim.others_read_right(&[]);
    victim.check_finds(&[("longer", "unproven", Some("letter"))]);
}

#[test]
fn a_bit_of_a_chunk_is_refused_where_it_is_read() {
    for at in [0, 24, 2000, 4135] {
        let victim = Victim::new();
        flip(&victim.at("letter"), slot_at(2) + at);
        chunk_is_refused(&victim, "letter", 2);
        // Behind it the file still reads.
        let rest = victim.run(&["cat", "v:letter", "--offset", "12KiB"]);
        assert!(rest.done().stdout == victim.text("letter")[3 * CHUNK..]);
    }
}

#[test]
fn a_bit_of_any_byte_of_a_header_makes_the_file_refused() {
    let victim = Victim::new();
    let file = victim.at("letter");
    let whole = fs::read(&file).unwrap();
    for at in 0..HEADER {
        flip(&file, at);
        victim.refuses("letter", 0);
        fs::write(&file, &whole).unwrap();
    }
    flip(&file, 100);
    is_refused_whole(&victim, ("header", "whole", Some("letter")));
}

#[test]
fn the_header_of_another_file_makes_the_file_refused() {
    let victim = Victim::new();
    let header = fs::read(victim.at("other")).unwrap()[..128].to_vec();
    put(&victim.at("letter"), 0, &header);
    // It opens under its own keys, but no chunk does.
    chunk_is_refused(&victim, "letter", 0);
}

#[test]
fn two_chunks_exchanged_are_refused_at_read() {
    let victim = Victim::new();
    let file = victim.at("letter");
    let (second, third) = (slot(&file, 1), slot(&file, 2));
    put(&file, slot_at(1), &third);
    put(&file, slot_at(2), &second);
    chunk_is_refused(&victim, "letter", 1);
}

#[test]
fn a_chunk_repeated_at_another_place_is_refused_at_read() {
    let victim = Victim::new();
    let file = victim.at("letter");
    put(&file, slot_at(3), &slot(&file, 0));
    chunk_is_refused(&victim, "letter", 3);
}

#[test]
fn a_chunk_of_another_file_is_refused_at_read() {
    let victim = Victim::new();
    put(
        &victim.at("letter"),
        slot_at(1),
        &slot(&victim.at("other"), 1),
    );
    chunk_is_refused(&victim, "letter", 1);
}

#[test]
fn a_zeroed_chunk_is_refused_at_read() {
    let victim = Victim::new();
    put(&victim.at("letter"), slot_at(1), &[0; SLOT]);
    chunk_is_refused(&victim, "letter", 1);
}

#[test]
fn a_chunk_removed_at_the_head_the_middle_or_the_end_makes_the_file_refused() {
    for removed in [0, 2, 3] {
        let victim = Victim::new();
        splice(&victim.at("letter"), |bytes| {
            let from = usize::try_from(slot_at(removed)).unwrap();
            bytes.drain(from..from + SLOT);
        });
        is_refused_whole(&victim, ("cut", "part", Some("letter")));
    }
}

#[test]
fn a_file_cut_at_a_chunks_boundary_is_refused_when_opened() {
    for chunks in [1, 2, 4] {
        let victim = Victim::new();
        cut(&victim.at("letter"), slot_at(chunks));
        is_refused_whole(&victim, ("cut", "part", Some("letter")));
    }
}

#[test]
fn the_empty_last_chunk_cannot_be_cut_off() {
    let victim = Victim::new();
    cut(&victim.at("exact"), slot_at(2));
    is_refused_whole(&victim, ("cut", "part", Some("exact")));
}

#[test]
fn a_file_cut_inside_a_chunk_is_refused_when_opened() {
    for len in [slot_at(1) + 1, slot_at(2) + 100, slot_at(4) + 3000] {
        let victim = Victim::new();
        cut(&victim.at("letter"), len);
        is_refused_whole(&victim, ("cut", "part", Some("letter")));
    }
}

#[test]
fn a_file_cut_inside_its_header_is_refused_when_opened() {
    for len in [1, 127, 128, 167] {
        let victim = Victim::new();
        cut(&victim.at("letter"), len);
        is_refused_whole(&victim, ("too-short", "whole", Some("letter")));
    }
}

#[test]
fn an_emptied_file_is_refused_and_not_shown_as_an_empty_one() {
    let victim = Victim::new();
    cut(&victim.at("letter"), 0);
    is_refused_whole(&victim, ("interrupted-create", "whole", Some("letter")));
}

#[test]
fn a_file_replaced_by_other_bytes_is_refused_when_opened() {
    let random = (0..20_328_u32).map(|i| i.wrapping_mul(2_654_435_761).to_le_bytes()[3]);
    let random: Vec<u8> = random.collect();
    for (bytes, kind) in [
        (random.clone(), "header"),
        (vec![0; 20_328], "header"),
        (b"KPF1".repeat(5082), "header"),
        (random[..50].to_vec(), "too-short"),
        (b"\x7fELF plain text of the keeper\n".repeat(20), "header"),
    ] {
        let victim = Victim::new();
        fs::write(victim.at("letter"), bytes).unwrap();
        is_refused_whole(&victim, (kind, "whole", Some("letter")));
    }
}

#[test]
fn bytes_put_behind_the_end_are_never_read_and_found_by_check_and_strict() {
    let victim = Victim::new();
    let file = victim.at("letter");
    splice(&file, |bytes| bytes.extend_from_slice(b"more"));
    letter_reads_no_further(&victim);
    victim.strict_refuses("letter");
}

#[test]
fn a_file_extended_by_a_replay_of_its_own_chunks_reads_no_further() {
    let victim = Victim::new();
    let file = victim.at("letter");
    let again = fs::read(&file).unwrap()[128..].to_vec();
    splice(&file, |bytes| bytes.extend_from_slice(&again));
    letter_reads_no_further(&victim);
    victim.strict_refuses("letter");
}

#[test]
fn a_file_stretched_to_a_terabyte_reads_no_further_and_is_checked_at_once() {
    let victim = Victim::new();
    cut(&victim.at("letter"), 1 << 40);
    letter_reads_no_further(&victim);
}

#[test]
fn a_zeroed_chunk_of_a_sparse_file_is_found_by_check_and_strict() {
    let victim = Victim::new();
    put(&victim.at("sparse"), slot_at(5), &[0; SLOT]);
    victim.opens();
    // The file says that it has holes, so one more reads as zeros.
    victim.reads("sparse", &{
        let mut text = victim.text("sparse").to_owned();
        text.replace_range(5 * CHUNK..6 * CHUNK, &"\0".repeat(CHUNK));
        text
    });
    victim.check_finds(&[("wrong-seal", "part", Some("sparse"))]);
    victim.strict_refuses("sparse");
}
