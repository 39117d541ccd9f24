//! How a file is found, and what becomes of it.

use super::*;

fn damage(world: &World, name: &str) -> Damage {
    match world.try_open(name, Access::Read) {
        Err(FileError::Damaged(damage)) => damage,
        Err(other) => panic!("{other}"),
        Ok((_, standing)) => panic!("opened, {standing:?}"),
    }
}

#[test]
fn an_open_header_or_a_longer_file_is_unsealed_and_served() {
    let world = World::new();
    let plain = pattern(1, C + 20);
    let file = world.create("open");
    file.write(off(0), &plain).unwrap();
    drop(file);
    let file = world.unsealed("open");
    assert_eq!(content(&file), plain);
    let refused = file.verify_seal().unwrap_err();
    assert!(matches!(refused, FileError::Damaged(Damage::NotSealed)));

    // A copy taken in the middle of an append: old header, new slots.
    world.with("grown", &plain);
    let header = world.bytes("grown")[..128].to_vec();
    let file = world.sealed("grown");
    file.write(off(plain.len()), &pattern(2, 2 * C)).unwrap();
    file.seal().unwrap();
    let mut bytes = world.bytes("grown");
    bytes[..128].copy_from_slice(&header);
    world.put("grown", &bytes);
    let file = world.unsealed("grown");
    let all = [plain, pattern(2, 2 * C)].concat();
    assert_eq!(content(&file), all);
}

#[test]
fn every_kind_of_damage_has_its_name() {
    let world = World::new();
    let plain = pattern(1, 2 * C + 20);
    world.with("f", &plain);
    let bytes = world.bytes("f");
    world.put("f", &[]);
    assert!(matches!(damage(&world, "f"), Damage::InterruptedCreate));
    for short in [1, 127, 128, 167] {
        world.put("f", &bytes[..short]);
        let is = damage(&world, "f");
        assert!(matches!(is, Damage::TooShort(len) if len.get() == wide(short)));
    }
    for cut in [168, slot_at(1) - 1, slot_at(1), slot_at(2), bytes.len() - 1] {
        world.put("f", &bytes[..cut]);
        let Damage::Cut { is, was } = damage(&world, "f") else {
            panic!("{cut}");
        };
        let left = Geometry::DEFAULT.longest_legal_prefix(CipherLen::new(wide(cut)));
        assert_eq!((is, was), (left, len(plain.len())));
    }
    for bit in 0..128 * 8 {
        let mut flipped = bytes.clone();
        flipped[bit / 8] ^= 1 << (bit % 8);
        world.put("f", &flipped);
        assert!(matches!(damage(&world, "f"), Damage::Header(_)), "{bit}");
    }
    world.put("f", &bytes);
    world.assert_sealed("f", &plain);
}

#[test]
fn an_illegal_length_reads_as_the_longest_legal_prefix() {
    let world = World::new();
    let plain = pattern(1, 3 * C);
    let file = world.create("f");
    file.write(off(0), &plain).unwrap();
    drop(file);
    let bytes = world.bytes("f");
    for (cut, expected) in [
        (slot_at(2), 2 * C - 1),
        (slot_at(2) + 39, 2 * C - 1),
        (slot_at(2) + 41, 2 * C + 1),
    ] {
        world.put("f", &bytes[..cut]);
        let file = world.unsealed("f");
        assert_eq!(file.size(), len(expected));
        // The slot that was cut does not open; those before it do.
        assert_eq!(read(&file, 0, C).unwrap(), plain[..C]);
        let cut_chunk = wide(expected / C);
        assert_eq!(chunk_damage(read(&file, C, 2 * C)), cut_chunk);
    }
}

#[test]
fn what_lies_behind_the_last_slot_never_ends_up_in_a_gap() {
    let world = World::new();
    let plain = pattern(1, 2 * C);
    let file = world.create("f");
    file.write(off(0), &plain).unwrap();
    drop(file);
    // A crash 30 bytes into the third slot; its second lost its last byte too.
    world.put("f", &world.bytes("f")[..slot_at(2) + 30]);
    let file = world.unsealed("f");
    assert_eq!(file.size(), len(2 * C - 1));
    file.write(off(C), &pattern(2, C - 1)).unwrap();
    file.write(off(6 * C), b"beyond").unwrap();
    let mut expected = [&plain[..C], &pattern(2, C - 1)].concat();
    overlay(&mut expected, 6 * C, b"beyond");
    assert!(content(&file) == expected);
    file.seal().unwrap();
    drop(file);
    assert!(content(&world.unsealed("f")) == expected);
}

#[test]
fn a_writer_never_seals_a_file_it_found_open() {
    let world = World::new();
    let mut plain = pattern(1, 2 * C);
    let file = world.create("f");
    file.write(off(0), &plain).unwrap();
    drop(file);
    for round in 2..4 {
        let file = world.unsealed("f");
        file.write(off(10 * round), &pattern(round, C)).unwrap();
        overlay(&mut plain, 10 * round, &pattern(round, C));
        file.set_times(SetTime::Omit, SetTime::At(EARLY), MtimeOf::Choice)
            .unwrap();
        file.seal().unwrap();
        assert_eq!(mtime(&world, "f"), (1_000_000, 17));
        drop(file);
        assert_eq!(world.header("f").open, OpenFlag::Open);
        assert_eq!(content(&world.unsealed("f")), plain);
    }
}

#[test]
fn a_writer_on_an_unsealed_file_declares_the_holes_it_makes() {
    let world = World::new();
    let mut plain = pattern(1, C + 7);
    let file = world.create("f");
    file.write(off(0), &plain).unwrap();
    drop(file);
    let file = world.unsealed("f");
    file.write(off(5 * C), b"beyond").unwrap();
    overlay(&mut plain, 5 * C, b"beyond");
    file.seal().unwrap();
    drop(file);
    let header = world.header("f");
    assert_eq!(
        (header.open, header.sparse),
        (OpenFlag::Open, SparseFlag::Sparse)
    );
    assert_eq!(content(&world.unsealed("f")), plain);
}

#[test]
fn emptying_makes_an_unsealed_file_exactly_known_again() {
    let world = World::new();
    for (name, before) in [("long", pattern(1, 2 * C)), ("empty", Vec::new())] {
        let file = world.create(name);
        file.write(off(0), &before).unwrap();
        drop(file);
        let id = world.header(name).file_id;
        let file = world.unsealed(name);
        file.set_len(len(0)).unwrap();
        file.write(off(0), b"new").unwrap();
        file.seal().unwrap();
        drop(file);
        world.assert_sealed(name, b"new");
        assert_eq!(world.header(name).file_id, id);
    }
}

#[test]
fn reset_keeps_the_keys_only_where_the_old_header_proves_them() {
    let world = World::new();
    world.with("f", &pattern(1, C));
    let good = world.bytes("f");
    let id = world.header("f").file_id;
    let mut forged = good.clone();
    forged[127] ^= 1;
    let cases: [(&[u8], bool); 5] = [
        (&good, true),
        (&good[..150], true),
        (&good[..127], false),
        (&forged, false),
        (&[], false),
    ];
    for (bytes, kept) in cases {
        world.put("f", bytes);
        let file = world.reset("f");
        assert_eq!(world.bytes("f").len(), 168);
        assert_eq!(file.keys().file_id() == id, kept, "{} bytes", bytes.len());
        file.write(off(0), b"again").unwrap();
        file.seal().unwrap();
        drop(file);
        world.assert_sealed("f", b"again");
    }
}
