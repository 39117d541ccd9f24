//! Gaps, holes, and space reserved.

use super::*;

#[test]
fn a_gap_filled_later_leaves_a_dense_file() {
    let world = World::new();
    let plain = pattern(1, 8 * C + 9);
    let file = world.create("f");
    // As writeback sends them: the later pages first.
    for piece in [6, 2, 7, 8, 4, 0, 5, 1, 3] {
        let bytes = &plain[piece * C..plain.len().min((piece + 1) * C)];
        file.write(off(piece * C), bytes).unwrap();
    }
    assert_eq!(world.header("f").sparse, SparseFlag::Dense);
    file.sync().unwrap();
    file.seal().unwrap();
    drop(file);
    world.assert_sealed("f", &plain);
    let header = world.header("f");
    assert_eq!((header.sparse, header.holes), (SparseFlag::Dense, 0));
}

#[test]
fn a_gap_that_remains_is_declared_at_the_seal() {
    let world = World::new();
    let file = world.create("f");
    file.write(off(10), b"start").unwrap();
    file.write(off(6 * C + 1), b"end").unwrap();
    let mut plain = Vec::new();
    overlay(&mut plain, 10, b"start");
    overlay(&mut plain, 6 * C + 1, b"end");
    assert_eq!(content(&file), plain);
    file.write(off(3 * C), b"middle").unwrap();
    overlay(&mut plain, 3 * C, b"middle");
    assert_eq!(world.header("f").sparse, SparseFlag::Dense);
    file.seal().unwrap();
    drop(file);
    world.assert_sealed("f", &plain);
    assert_eq!(world.header("f").holes, 4);
}

#[test]
fn a_gap_that_remains_is_declared_by_sync() {
    let world = World::new();
    let file = world.create("f");
    file.set_len(len(5 * C)).unwrap();
    file.sync().unwrap();
    let header = world.header("f");
    assert_eq!(
        (header.open, header.sparse),
        (OpenFlag::Open, SparseFlag::Sparse)
    );
    // What was synced reads after a crash.
    assert_eq!(content(&world.unsealed("f")), vec![0; 5 * C]);
    // Filled in the end, the file is dense again.
    let plain = pattern(1, 5 * C);
    file.write(off(0), &plain).unwrap();
    file.seal().unwrap();
    drop(file);
    world.assert_sealed("f", &plain);
    assert_eq!(world.header("f").sparse, SparseFlag::Dense);
}

/// Punches and compares, at every interesting place; returns the file's blocks.
fn punch_everywhere(armed: bool) {
    let world = World::new();
    let size = 5 * C + 100;
    let points = [0, 1, C - 1, C, C + 1, 3 * C - 1, 3 * C, 5 * C, size, 7 * C];
    for (i, &from) in points.iter().enumerate() {
        for &to in &points[i..] {
            let name = format!("{from}-{to}");
            let mut plain = pattern(1, size);
            world.with(&name, &plain);
            let file = world.sealed(&name);
            {
                let plan = Plan::fail(Mutation::PunchHole, libc::EOPNOTSUPP);
                let _armed = armed.then(|| arm(Scope::Thread, plan));
                file.punch_hole(off(from), wide(to - from)).unwrap();
            }
            let end = to.min(size);
            if from < end {
                plain[from..end].fill(0);
            }
            assert!(content(&file) == plain, "{name}");
            file.seal().unwrap();
            drop(file);
            world.assert_sealed(&name, &plain);
            let whole = (end / C).saturating_sub(from.div_ceil(C));
            assert_eq!(world.header(&name).holes, wide(whole), "{name}");
        }
    }
}

#[test]
fn punched_ranges_read_as_zeros_and_whole_chunks_become_holes() {
    punch_everywhere(false);
}

#[test]
fn where_the_backing_cannot_punch_zeros_are_written() {
    punch_everywhere(true);
}

#[test]
fn a_punched_chunk_can_be_written_again() {
    let world = World::new();
    let mut plain = pattern(1, 4 * C);
    world.with("f", &plain);
    let file = world.sealed("f");
    file.punch_hole(off(0), wide(4 * C)).unwrap();
    assert_eq!(world.header("f").sparse, SparseFlag::Sparse);
    plain.fill(0);
    file.write(off(C + 10), b"island").unwrap();
    overlay(&mut plain, C + 10, b"island");
    // Once more over holes and data.
    file.punch_hole(off(2 * C), wide(2 * C)).unwrap();
    file.seal().unwrap();
    drop(file);
    world.assert_sealed("f", &plain);
    assert_eq!(world.header("f").holes, 3);
}

#[test]
fn cutting_away_the_holes_makes_the_file_dense() {
    let world = World::new();
    let plain = pattern(1, C + 5);
    world.with("f", &plain);
    let file = world.sealed("f");
    file.set_len(len(9 * C)).unwrap();
    file.set_len(len(4 * C + 3)).unwrap();
    file.set_len(len(plain.len())).unwrap();
    file.seal().unwrap();
    drop(file);
    world.assert_sealed("f", &plain);
    assert_eq!(world.header("f").holes, 0);
}

#[test]
fn zero_range_and_allocate_grow_the_file_if_asked() {
    let world = World::new();
    for (rule, at, count) in [
        (SizeRule::Grow, C / 2, 4 * C),
        (SizeRule::Keep, C / 2, 4 * C),
        (SizeRule::Grow, 6 * C, C),
        (SizeRule::Keep, 6 * C, C),
        (SizeRule::Grow, 10, 20),
    ] {
        let size = 2 * C + 100;
        let (mut zeroed, mut reserved) = (pattern(1, size), pattern(2, size));
        let name = format!("{rule:?}-{at}");
        let other = format!("reserved-{name}");
        world.with(&name, &zeroed);
        world.with(&other, &reserved);
        let file = world.sealed(&name);
        file.zero_range(off(at), wide(count), rule).unwrap();
        file.seal().unwrap();
        let grown = match rule {
            SizeRule::Grow => size.max(at + count),
            SizeRule::Keep => size,
        };
        zeroed.resize(grown, 0);
        let end = grown.min(at + count);
        zeroed[at.min(end)..end].fill(0);
        world.assert_sealed(&name, &zeroed);

        let file = world.sealed(&other);
        file.allocate(off(at), wide(count), rule).unwrap();
        file.seal().unwrap();
        reserved.resize(grown, 0);
        world.assert_sealed(&other, &reserved);
    }
}

#[test]
fn refusals_to_reserve_are_passed_on_and_change_nothing() {
    let world = World::new();
    world.with("f", b"content");
    let file = world.sealed("f");
    for errno in [libc::ENOSPC, libc::EOPNOTSUPP] {
        let _armed = arm(Scope::Thread, Plan::fail(Mutation::Allocate, errno));
        let refused = file
            .allocate(off(0), wide(9 * C), SizeRule::Grow)
            .unwrap_err();
        assert!(matches!(refused, FileError::Io(e) if e.raw_os_error() == Some(errno)));
    }
    assert_eq!(content(&file), b"content");
    assert!(file.unsealed_for().is_none());
    world.assert_sealed("f", b"content");
}

#[test]
fn data_and_holes_are_found_by_chunk() {
    let world = World::new();
    let plain = pattern(1, 8 * C + 1);
    world.with("f", &plain);
    let file = world.sealed("f");
    let find = |at, to| file.seek(off(at), to).map(|found| found.get());
    assert_eq!(find(5, SeekTo::Data).unwrap(), 5);
    assert_eq!(find(5, SeekTo::Hole).unwrap(), wide(8 * C + 1));
    file.punch_hole(off(2 * C), wide(3 * C)).unwrap();
    assert_eq!(find(5, SeekTo::Data).unwrap(), 5);
    assert_eq!(find(5, SeekTo::Hole).unwrap(), wide(2 * C));
    assert_eq!(find(3 * C + 7, SeekTo::Hole).unwrap(), wide(3 * C + 7));
    assert_eq!(find(3 * C + 7, SeekTo::Data).unwrap(), wide(5 * C));
    assert_eq!(find(5 * C + 7, SeekTo::Hole).unwrap(), wide(8 * C + 1));
    for to in [SeekTo::Data, SeekTo::Hole] {
        let end = find(8 * C + 1, to).unwrap_err();
        assert!(matches!(end, FileError::BeyondEnd));
    }
}

#[test]
fn holes_that_were_asked_for_are_declared_before_any_sync() {
    let world = World::new();
    let file = world.create("f");
    file.set_len(len(20 * C + 5)).unwrap();
    drop(file);
    // A kill before the seal: the file still reads as the zeros it holds.
    let file = world.unsealed("f");
    assert_eq!(content(&file), vec![0; 20 * C + 5]);
}

#[test]
fn a_gap_that_could_not_be_written_leaves_a_dense_file() {
    let world = World::new();
    let plain = pattern(1, 2 * C + 5);
    world.with("f", &plain);
    let file = world.sealed("f");
    file.write(off(0), &plain[..1]).unwrap();
    {
        let _armed = arm(Scope::Thread, Plan::fail(Mutation::Write, libc::ENOSPC));
        file.write(off(9 * C), b"beyond").unwrap_err();
    }
    file.sync().unwrap();
    assert_eq!(world.header("f").sparse, SparseFlag::Dense);
    // So zeros in it are still damage.
    let mut bytes = world.bytes("f");
    bytes[slot_at(1)..slot_at(2)].fill(0);
    world.put("f", &bytes);
    assert_eq!(chunk_damage(read(&file, C, C)), 1);
}
