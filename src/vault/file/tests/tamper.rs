//! What the holder of the backing may try, and where it shows.

use super::*;
use crate::codec::batch::Tail;
use crate::vault::file::mend::Before;

/// A dense file of three full chunks and a short one.
fn victim(world: &World) -> (Vec<u8>, Vec<u8>) {
    let plain = pattern(1, 3 * C + 50);
    world.with("f", &plain);
    (plain, world.bytes("f"))
}

fn slot(chunk: usize) -> std::ops::Range<usize> {
    slot_at(chunk)..slot_at(chunk + 1)
}

/// Only `chunk` fails; the others still read.
fn assert_only_chunk_lost(world: &World, plain: &[u8], lost: usize) {
    let file = world.sealed("f");
    for (chunk, expected) in plain.chunks(C).enumerate() {
        let got = read(&file, chunk * C, C);
        if chunk == lost {
            assert_eq!(chunk_damage(got), wide(chunk));
        } else {
            assert_eq!(got.unwrap(), expected);
        }
    }
    assert_eq!(chunk_damage(read(&file, 0, 4 * C)), wide(lost));
    let mut out = vec![1; 10];
    file.read(off(lost * C + 3), 5, &mut out).unwrap_err();
    assert!(out.is_empty(), "unverified bytes were handed out");
}

#[test]
fn a_flipped_bit_costs_its_chunk_alone() {
    let world = World::new();
    let (plain, bytes) = victim(&world);
    for chunk in 0..4 {
        let end = slot(chunk).end.min(bytes.len());
        for at in [slot_at(chunk), slot_at(chunk) + 30, end - 1] {
            let mut flipped = bytes.clone();
            flipped[at] ^= 0x10;
            world.put("f", &flipped);
            assert_only_chunk_lost(&world, &plain, chunk);
        }
    }
}

#[test]
fn chunks_cannot_change_places_within_a_file() {
    let world = World::new();
    let (plain, mut bytes) = victim(&world);
    let moved = bytes[slot(0)].to_vec();
    bytes[slot(1)].copy_from_slice(&moved);
    world.put("f", &bytes);
    assert_only_chunk_lost(&world, &plain, 1);
}

#[test]
fn a_chunk_of_another_file_is_refused() {
    let world = World::new();
    let (plain, mut bytes) = victim(&world);
    world.with("other", &plain);
    bytes[slot(1)].copy_from_slice(&world.bytes("other")[slot(1)]);
    world.put("f", &bytes);
    assert_only_chunk_lost(&world, &plain, 1);
}

#[test]
fn zeros_in_a_dense_file_are_damage() {
    let world = World::new();
    let (plain, mut bytes) = victim(&world);
    bytes[slot(2)].fill(0);
    world.put("f", &bytes);
    assert_only_chunk_lost(&world, &plain, 2);
    let file = world.sealed("f");
    file.verify_seal().unwrap_err();
}

#[test]
fn an_old_chunk_put_back_shows_in_the_seal_and_not_at_read() {
    let world = World::new();
    let (mut plain, old) = victim(&world);
    let file = world.sealed("f");
    file.write(off(C), &pattern(2, C)).unwrap();
    file.seal().unwrap();
    drop(file);
    let mut bytes = world.bytes("f");
    bytes[slot(1)].copy_from_slice(&old[slot(1)]);
    world.put("f", &bytes);
    let file = world.sealed("f");
    assert_eq!(content(&file), plain);
    let refused = file.verify_seal().unwrap_err();
    assert!(matches!(refused, FileError::Damaged(Damage::WrongSeal)));

    // Honest writes later, over that very chunk too, never make it right.
    for at in [10, C, 3 * C] {
        file.write(off(at), b"honest").unwrap();
        overlay(&mut plain, at, b"honest");
    }
    file.seal().unwrap();
    drop(file);
    let file = world.sealed("f");
    assert_eq!(content(&file), plain);
    let refused = file.verify_seal().unwrap_err();
    assert!(matches!(refused, FileError::Damaged(Damage::WrongSeal)));
}

#[test]
fn zeros_in_a_sparse_file_show_in_the_seal() {
    let world = World::new();
    let (mut plain, _) = victim(&world);
    let file = world.sealed("f");
    file.punch_hole(off(C), wide(C)).unwrap();
    file.seal().unwrap();
    drop(file);
    plain[C..2 * C].fill(0);
    world.assert_sealed("f", &plain);
    let mut bytes = world.bytes("f");
    bytes[slot(0)].fill(0);
    world.put("f", &bytes);
    let file = world.sealed("f");
    plain[..C].fill(0);
    assert_eq!(content(&file), plain);
    let refused = file.verify_seal().unwrap_err();
    assert!(matches!(refused, FileError::Damaged(Damage::WrongSeal)));
}

#[test]
fn a_damaged_chunk_can_be_written_over_but_not_in_part() {
    let world = World::new();
    let (mut plain, mut bytes) = victim(&world);
    bytes[slot_at(1) + 99] ^= 1;
    world.put("f", &bytes);
    let file = world.sealed("f");
    let refused = file.write(off(C + 1), b"part").unwrap_err();
    assert!(matches!(refused, FileError::Damaged(Damage::Chunk(_))));
    file.write(off(C), &pattern(3, C)).unwrap();
    overlay(&mut plain, C, &pattern(3, C));
    assert_eq!(content(&file), plain);
    file.seal().unwrap();
    drop(file);
    // The tag was whole, so its term was known, and the seal is right again.
    world.assert_sealed("f", &plain);
}

#[test]
fn a_file_cut_while_open_is_missing_chunks() {
    let world = World::new();
    let (plain, bytes) = victim(&world);
    let file = world.sealed("f");
    world.put("f", &bytes[..slot_at(2) + 100]);
    assert_eq!(read(&file, 0, 2 * C).unwrap(), plain[..2 * C]);
    let missing = read(&file, 0, 4 * C).unwrap_err();
    assert!(matches!(missing, FileError::Damaged(Damage::Missing(chunk)) if chunk.get() == 2));
    let missing = file.verify_seal().unwrap_err();
    assert!(matches!(missing, FileError::Damaged(Damage::Missing(_))));
}

#[test]
fn a_write_that_fails_does_not_make_zeroed_slots_good() {
    let world = World::new();
    let (plain, mut bytes) = victim(&world);
    bytes[slot(1)].fill(0);
    world.put("f", &bytes);
    let file = world.sealed("f");
    // A write over chunks 0 to 2 that got as far as two slots.
    file.begin_change(SparseFlag::Dense).unwrap();
    let before = Before {
        first: ChunkNo::new(0),
        slots: &bytes[slot(0).start..slot(2).end],
        tail: Tail::Inside,
    };
    let failed = PartialWrite {
        written: wide(2 * SLOT),
        source: io::Error::from_raw_os_error(libc::ENOSPC),
    };
    file.undo(before, &failed);
    file.seal().unwrap();
    drop(file);
    let (file, _) = world.try_open("f", Access::Read).unwrap();
    assert_eq!(chunk_damage(read(&file, C, C)), 1);
    assert_eq!(read(&file, 0, C).unwrap(), plain[..C]);
    assert_eq!(read(&file, 3 * C, 50).unwrap(), plain[3 * C..]);
}
