//! Several threads on one file.

use std::sync::Barrier;

use super::*;

const ROUNDS: usize = 40;

/// Runs `work` on so many threads at once, each with its number.
fn at_once(threads: usize, work: impl Fn(usize) + Sync) {
    let start = Barrier::new(threads);
    std::thread::scope(|scope| {
        for number in 0..threads {
            let (start, work) = (&start, &work);
            scope.spawn(move || {
                start.wait();
                work(number);
            });
        }
    });
}

/// Which of the seeds 1 to 250 a chunk's bytes are all made of; 0 for zeros.
fn seed_of(chunk: &[u8]) -> u8 {
    let seed = chunk.first().copied().unwrap_or(0);
    assert!(
        chunk.iter().all(|&byte| byte == seed),
        "two writes are mixed in one chunk"
    );
    seed
}

fn filled(seed: usize, count: usize) -> Vec<u8> {
    vec![u8::try_from(seed).unwrap(); count]
}

#[test]
fn disjoint_ranges_are_all_written_also_within_one_chunk() {
    for world in [World::new(), World::journalled()] {
        let file = world.create("f");
        let plain = pattern(1, 6 * C + 123);
        let pieces: Vec<&[u8]> = plain.chunks(333).collect();
        at_once(4, |number| {
            for (index, piece) in pieces.iter().enumerate().skip(number).step_by(4) {
                file.write(off(index * 333), piece).unwrap();
            }
        });
        assert!(content(&file) == plain);
        file.seal().unwrap();
        drop(file);
        world.assert_sealed("f", &plain);
    }
}

#[test]
fn overlapping_writes_end_in_some_order_and_readers_see_whole_chunks() {
    for world in [World::new(), World::journalled()] {
        let chunks = 12;
        world.with("f", &filled(250, chunks * C));
        let file = world.sealed("f");
        at_once(6, |number| {
            for round in 0..ROUNDS {
                let first = (number * 5 + round * 3) % chunks;
                let count = (1 + (round + number) % 5).min(chunks - first);
                if number < 4 {
                    let seed = 1 + number * ROUNDS + round;
                    file.write(off(first * C), &filled(seed, count * C))
                        .unwrap();
                } else {
                    let got = read(&file, first * C, count * C).unwrap();
                    assert_eq!(got.len(), count * C);
                    got.chunks(C)
                        .for_each(|chunk| assert_ne!(seed_of(chunk), 0));
                }
            }
        });
        let plain = content(&file);
        plain
            .chunks(C)
            .for_each(|chunk| assert_ne!(seed_of(chunk), 0));
        file.seal().unwrap();
        drop(file);
        world.assert_sealed("f", &plain);
    }
}

#[test]
fn appends_cuts_and_holes_meet_readers_and_syncs() {
    for world in [World::new(), World::journalled()] {
        let file = world.create("f");
        at_once(6, |number| {
            for round in 0..ROUNDS {
                let chunk = (round * 7 + number) % 16;
                let seed = 1 + number * ROUNDS + round;
                match number {
                    0 => file.write(off(chunk * C), &filled(seed, 2 * C)).unwrap(),
                    1 => {
                        let end = usize::try_from(file.size().get()).unwrap() / C;
                        file.write(off(end * C), &filled(seed, C)).unwrap();
                    }
                    2 => file.set_len(len(chunk * C)).unwrap(),
                    3 => file.punch_hole(off(chunk * C), wide(3 * C)).unwrap(),
                    4 => {
                        file.sync().unwrap();
                        file.seal().unwrap();
                    }
                    _ => {
                        let got = read(&file, chunk * C, 6 * C).unwrap();
                        got.chunks(C).for_each(|chunk| {
                            seed_of(chunk);
                        });
                    }
                }
            }
        });
        let plain = content(&file);
        plain.chunks(C).for_each(|chunk| {
            seed_of(chunk);
        });
        file.seal().unwrap();
        file.verify_seal().unwrap();
        drop(file);
        world.assert_sealed("f", &plain);
    }
}

#[test]
fn a_failing_write_leaves_its_neighbours_alone() {
    for world in [World::new(), World::journalled()] {
        let file = world.create("f");
        file.write(off(0), &filled(250, 8 * C)).unwrap();
        at_once(4, |number| {
            for round in 0..ROUNDS {
                let seed = 1 + number * ROUNDS + round;
                let bytes = filled(seed, 2 * C);
                let at = off(number * 2 * C);
                if number == 0 {
                    // A gap behind the end, next to writers inside.
                    let _armed = arm(Scope::Thread, Plan::fail(Mutation::Write, libc::ENOSPC));
                    file.write(off(20 * C), &bytes).unwrap_err();
                } else if number == 1 {
                    let _armed = arm(
                        Scope::Thread,
                        Plan {
                            fault: crate::sys::fs::mutation::faults::Fault::Torn(SLOT, libc::EIO),
                            ..Plan::fail(Mutation::Write, libc::EIO)
                        },
                    );
                    file.write(at, &bytes).unwrap_err();
                } else {
                    file.write(at, &bytes).unwrap();
                }
            }
        });
        let mut plain = filled(250, 8 * C);
        for number in 2..4 {
            overlay(
                &mut plain,
                number * 2 * C,
                &filled((number + 1) * ROUNDS, 2 * C),
            );
        }
        assert!(content(&file) == plain);
        file.seal().unwrap();
        drop(file);
        world.assert_sealed("f", &plain);
        assert_eq!(world.header("f").sparse, SparseFlag::Dense);
    }
}
