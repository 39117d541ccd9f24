//! The same through the kernel: what programs get from a mount.

use std::fs::{self, File, OpenOptions};
use std::io::{Read, Write};
use std::os::unix::fs::FileExt;

use crate::filled::{cut, flip};
use crate::victim::*;

fn is_eio(error: &std::io::Error) -> bool {
    error.raw_os_error() == Some(libc::EIO)
}

#[test]
fn a_damaged_chunk_is_an_error_in_a_mount_and_its_neighbours_read_right() {
    let victim = Victim::new();
    flip(&victim.at("letter"), slot_at(2) + 100);
    for options in [&[][..], &["--no-writeback"], &["--read-only"]] {
        victim.mounted(options, |m| {
            let file = File::open(m.join("letter")).unwrap();
            let text = victim.text("letter").as_bytes();
            let mut chunk = vec![0; CHUNK];
            for (index, right) in text.chunks_exact(CHUNK).enumerate() {
                let at = u64::try_from(index * CHUNK).unwrap();
                match file.read_exact_at(&mut chunk, at) {
                    Ok(()) => assert!(index != 2 && chunk == right, "chunk {index}"),
                    Err(error) => assert!(index == 2 && is_eio(&error), "chunk {index}"),
                }
            }
            let mut all = Vec::new();
            let ended = File::open(m.join("letter")).unwrap().read_to_end(&mut all);
            assert!(is_eio(&ended.unwrap_err()));
            assert!(text.starts_with(&all) && all.len() <= 2 * CHUNK);
        });
    }
    victim.mounted(&["--strict"], |m| {
        assert!(is_eio(&fs::read(m.join("letter")).unwrap_err()));
    });
}

#[test]
fn an_emptied_file_is_an_error_to_readers_and_begins_anew_for_writers() {
    let victim = Victim::new();
    cut(&victim.at("letter"), 0);
    victim.mounted(&[], |m| {
        let letter = m.join("letter");
        assert!(is_eio(&fs::read(&letter).unwrap_err()));
        let mut file = OpenOptions::new().append(true).open(&letter).unwrap();
        file.write_all(b"anew").unwrap();
        drop(file);
        assert_eq!(fs::read(&letter).unwrap(), b"anew");
    });
    victim.check_finds(&[]);
}

#[test]
fn a_cut_file_is_an_error_in_a_mount_and_never_a_shorter_file() {
    let victim = Victim::new();
    cut(&victim.at("letter"), slot_at(2));
    for options in [&[][..], &["--strict"]] {
        victim.mounted(options, |m| {
            let letter = m.join("letter");
            assert!(is_eio(&fs::read(&letter).unwrap_err()));
            let writing = OpenOptions::new().append(true).open(&letter);
            assert!(is_eio(&writing.unwrap_err()));
            // It can be seen and taken out of the way.
            assert_eq!(fs::metadata(&letter).unwrap().len(), 8191);
            assert_eq!(
                fs::read_to_string(m.join("other")).unwrap(),
                victim.text("other")
            );
        });
    }
}

#[test]
fn a_file_attacked_while_it_is_mounted_gives_what_was_written_or_an_error() {
    type Attack = fn(&std::path::Path);
    let attacks: [Attack; 5] = [
        |file| flip(file, slot_at(1) + 100),
        |file| put(file, slot_at(0), &[0; SLOT]),
        |file| put(file, slot_at(0), &slot(file, 1)),
        |file| cut(file, slot_at(3)),
        |file| splice(file, |bytes| bytes.extend_from_within(128..)),
    ];
    for attack in attacks {
        let victim = Victim::new();
        let file = victim.at("letter");
        let text = victim.text("letter").as_bytes();
        victim.mounted(&["--cache-timeout", "0"], |m| {
            let open = File::open(m.join("letter")).unwrap();
            let mut begin = [0; 10];
            open.read_exact_at(&mut begin, 0).unwrap();
            attack(&file);
            for again in [open, File::open(m.join("letter")).unwrap()] {
                let mut chunk = vec![0; CHUNK];
                for index in 0..8 {
                    let at = index * CHUNK;
                    // What is there no more is an error, or the end.
                    let offset = u64::try_from(at).unwrap();
                    if let Ok(read) = again.read_at(&mut chunk, offset) {
                        let right = text.get(at..).unwrap_or_default();
                        assert!(right.starts_with(&chunk[..read]), "chunk {index}");
                    }
                }
            }
        });
    }
}

#[test]
fn the_number_of_unsealed_files_is_told_by_status() {
    let victim = Victim::new();
    let file = victim.at("letter");
    splice(&file, |bytes| bytes.extend_from_slice(b"more"));
    victim.mounted(&[], |m| {
        let _refused = fs::read(m.join("letter"));
        assert_eq!(victim.place.status()["unsealed_met"], 1);
    });
}

#[test]
fn a_vault_without_attacks_reads_right_under_strict() {
    let victim = Victim::new();
    victim.mounted(&["--strict"], |m| {
        for plain in ["letter", "other", "exact", "sparse", "box/deep/bottom"] {
            assert!(fs::read_to_string(m.join(plain)).unwrap() == victim.text(plain));
        }
    });
}
