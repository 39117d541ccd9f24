//! Former states of regular files, whole and in parts, and files for one
//! another.

use std::fs::{self, File, OpenOptions};
use std::os::unix::fs::FileExt;
use std::path::Path;

use crate::victim::*;

/// Writes over part of a file in a mount.
fn overwrite(path: &Path, at: u64, text: &str) {
    let file = OpenOptions::new().write(true).open(path).unwrap();
    file.write_all_at(text.as_bytes(), at).unwrap();
}

/// A vault whose `letter` has a new second and third chunk, and its former state.
fn rewritten() -> (Victim, Kept) {
    let mut victim = Victim::new();
    let kept = victim.keep();
    victim.edit(|m| {
        let newer = lines("a newer letter", 2 * CHUNK);
        overwrite(&m.join("letter"), 4096, &newer);
    });
    victim.check_finds(&[]);
    (victim, kept)
}

#[test]
fn a_chunk_put_back_to_an_older_state_is_found_by_check_and_strict() {
    let (victim, kept) = rewritten();
    let file = victim.at("letter");
    put(&file, slot_at(1), &slot(&kept.of(&victim, &file), 1));
    victim.opens();
    // Reading without --strict shows the mix: chunk 1 old, chunk 2 new.
    let mut mix = victim.text("letter").to_owned();
    mix.replace_range(CHUNK..2 * CHUNK, &lines("letter", 20_000)[CHUNK..2 * CHUNK]);
    assert_ne!(mix, victim.text("letter"));
    victim.reads("letter", &mix);
    victim.others_read_right(&["letter"]);
    victim.check_finds(&[("wrong-seal", "part", Some("letter"))]);
    victim.strict_refuses("letter");
}

#[test]
fn an_older_chunk_is_still_found_after_later_honest_writes() {
    let (mut victim, kept) = rewritten();
    let file = victim.at("letter");
    put(&file, slot_at(1), &slot(&kept.of(&victim, &file), 1));
    // The owner writes: beside it, over it, behind it; cuts and appends.
    for (at, len) in [(10_000, 100), (5000, 10), (19_000, 9000)] {
        victim.edit(|m| overwrite(&m.join("letter"), at, &lines("honest", len)));
        victim.check_finds(&[("wrong-seal", "part", Some("letter"))]);
        victim.strict_refuses("letter");
    }
}

#[test]
fn an_older_header_alone_is_found_by_check_and_strict() {
    let (victim, kept) = rewritten();
    let file = victim.at("letter");
    let old = fs::read(kept.of(&victim, &file)).unwrap();
    put(&file, 0, &old[..128]);
    victim.opens();
    victim.reads("letter", victim.text("letter"));
    victim.check_finds(&[("wrong-seal", "part", Some("letter"))]);
    victim.strict_refuses("letter");
}

#[test]
fn an_older_and_longer_tail_put_back_is_found_by_check_and_strict() {
    let mut victim = Victim::new();
    let long = fs::read(victim.at("letter")).unwrap();
    victim.edit(|m| {
        let file = OpenOptions::new().write(true).open(m.join("letter"));
        file.unwrap().set_len(9000).unwrap();
    });
    let from = usize::try_from(slot_at(2)).unwrap();
    splice(&victim.at("letter"), |bytes| {
        bytes.truncate(from);
        bytes.extend_from_slice(&long[from..]);
    });
    victim.opens();
    victim.reads("letter", &lines("letter", 20_000));
    victim.check_finds(&[("longer", "unproven", Some("letter"))]);
    victim.strict_refuses("letter");
}

#[test]
fn an_open_header_over_a_mix_of_chunks_is_found_by_check_and_strict() {
    let mut victim = Victim::new();
    let file = victim.at("letter");
    let mut open = Vec::new();
    let mut kept = Vec::new();
    victim.edit_with(&["--no-journal"], |m| {
        let letter = OpenOptions::new().write(true).open(m.join("letter"));
        let letter = letter.unwrap();
        let older = lines("older", CHUNK);
        letter.write_all_at(older.as_bytes(), 8192).unwrap();
        letter.sync_all().unwrap();
        // The keeper looks while the owner has the file open.
        open = fs::read(&file).unwrap()[..128].to_vec();
        kept = slot(&file, 2);
        let newer = lines("newer", CHUNK);
        letter.write_all_at(newer.as_bytes(), 8192).unwrap();
    });
    victim.check_finds(&[]);
    put(&file, 0, &open);
    put(&file, slot_at(2), &kept);
    victim.opens();
    let mut mix = victim.text("letter").to_owned();
    mix.replace_range(2 * CHUNK..3 * CHUNK, &lines("older", CHUNK));
    victim.reads("letter", &mix);
    victim.others_read_right(&["letter"]);
    victim.check_finds(&[("left-open", "unproven", Some("letter"))]);
    victim.strict_refuses("letter");
    // Nor does a later writer bless it.
    victim.edit(|m| overwrite(&m.join("letter"), 0, "honest"));
    victim.check_finds(&[("left-open", "unproven", Some("letter"))]);
}

#[test]
fn chunks_exchanged_between_a_file_and_its_copy_are_found_by_check_and_strict() {
    let mut victim = Victim::new();
    // A copy on the backing has the keys of its original.
    fs::copy(victim.at("letter"), victim.at("other")).unwrap();
    victim.edit(|m| overwrite(&m.join("other"), 4096, &lines("the copy", CHUNK)));
    victim.check_finds(&[]);
    put(
        &victim.at("letter"),
        slot_at(1),
        &slot(&victim.at("other"), 1),
    );
    victim.opens();
    let mut mix = victim.text("letter").to_owned();
    mix.replace_range(CHUNK..2 * CHUNK, &lines("the copy", CHUNK));
    victim.reads("letter", &mix);
    victim.others_read_right(&["letter"]);
    victim.check_finds(&[("wrong-seal", "part", Some("letter"))]);
    victim.strict_refuses("letter");
}

#[test]
fn a_file_copied_on_the_backing_while_it_is_written_is_found_by_check_and_strict() {
    let mut victim = Victim::new();
    let file = victim.at("letter");
    let mut half = Vec::new();
    victim.edit_with(&["--no-journal"], |m| {
        let letter = OpenOptions::new().append(true).open(m.join("letter"));
        let mut letter = letter.unwrap();
        std::io::Write::write_all(&mut letter, b"the first half").unwrap();
        letter.sync_all().unwrap();
        half = fs::read(&file).unwrap();
        std::io::Write::write_all(&mut letter, b", the second").unwrap();
    });
    fs::write(&file, half).unwrap();
    victim.opens();
    let text = victim.text("letter").strip_suffix(", the second").unwrap();
    victim.reads("letter", text);
    victim.check_finds(&[("left-open", "unproven", Some("letter"))]);
    victim.strict_refuses("letter");
}

#[test]
fn an_older_chunk_put_back_under_an_open_file_is_read_until_it_is_opened_anew() {
    let (victim, kept) = rewritten();
    let file = victim.at("letter");
    let old = slot(&kept.of(&victim, &file), 1);
    victim.mounted(&["--strict"], |m| {
        // The seal is proven when the file is opened; the keeper waits for that.
        let open = File::open(m.join("letter")).unwrap();
        put(&file, slot_at(1), &old);
        let mut chunk = vec![0; CHUNK];
        open.read_exact_at(&mut chunk, 4096).unwrap();
        let text = lines("letter", 20_000);
        assert!(chunk == text.as_bytes()[CHUNK..2 * CHUNK]);
    });
    victim.check_finds(&[("wrong-seal", "part", Some("letter"))]);
    victim.strict_refuses("letter");
}

// ---- not noticed ----

#[test]
fn a_whole_file_put_back_to_an_older_state_is_not_noticed() {
    let (victim, kept) = rewritten();
    let file = victim.at("letter");
    kept.put_back(&victim, &file);
    victim.opens();
    victim.reads("letter", &lines("letter", 20_000));
    assert_ne!(lines("letter", 20_000), victim.text("letter"));
    victim.others_read_right(&["letter"]);
    victim.check_finds(&[]);
    victim.mounted(&["--strict"], |m| {
        let read = fs::read_to_string(m.join("letter")).unwrap();
        assert!(read == lines("letter", 20_000));
    });
}

#[test]
fn the_contents_of_two_files_exchanged_are_not_noticed() {
    let victim = Victim::new();
    for (a, b) in [("letter", "other"), ("exact", "box/deep/bottom")] {
        exchange(&victim.at(a), &victim.at(b));
        victim.reads(a, victim.text(b));
        victim.reads(b, victim.text(a));
    }
    victim.opens();
    victim.check_finds(&[]);
    victim.mounted(&["--strict"], |m| {
        assert!(fs::read_to_string(m.join("letter")).unwrap() == victim.text("other"));
    });
}

#[test]
fn a_file_copied_over_another_is_not_noticed() {
    let victim = Victim::new();
    fs::copy(victim.at("letter"), victim.at("chest/inside")).unwrap();
    victim.opens();
    victim.reads("chest/inside", victim.text("letter"));
    victim.others_read_right(&["chest/inside"]);
    victim.check_finds(&[]);
}

#[test]
fn a_removed_file_put_back_is_not_noticed() {
    let mut victim = Victim::new();
    let file = victim.at("letter");
    let kept = victim.keep();
    victim.edit(|m| fs::remove_file(m.join("letter")).unwrap());
    victim.is_gone("letter");
    kept.put_back(&victim, &file);
    victim.opens();
    victim.reads("letter", &lines("letter", 20_000));
    victim.check_finds(&[]);
}

#[test]
fn a_removed_file_is_not_noticed() {
    let victim = Victim::new();
    for gone in ["letter", "box/inside"] {
        fs::remove_file(victim.at(gone)).unwrap();
        victim.is_gone(gone);
    }
    victim.opens();
    victim.others_read_right(&["letter", "box/inside"]);
    victim.check_finds(&[]);
}

#[test]
fn the_open_header_of_a_truncation_over_former_chunks_is_found_by_check_and_strict() {
    // The state between the two writes of a truncation, taken by the keeper:
    // a header that says OPEN over the former chunks.
    let victim = Victim::new();
    let file = victim.at("letter");
    let sealed = fs::read(&file).unwrap();
    victim.mounted(&["--no-journal"], |m| {
        let letter = OpenOptions::new().write(true).open(m.join("letter"));
        let letter: File = letter.unwrap();
        letter.set_len(10_000).unwrap();
        letter.sync_all().unwrap();
        let open = fs::read(&file).unwrap();
        assert_ne!(open[..128], sealed[..128]);
        fs::write(victim.place.root().join("open"), &open[..128]).unwrap();
    });
    let open = fs::read(victim.place.root().join("open")).unwrap();
    fs::write(&file, &sealed).unwrap();
    put(&file, 0, &open);
    victim.opens();
    victim.reads("letter", victim.text("letter"));
    victim.check_finds(&[("left-open", "unproven", Some("letter"))]);
    victim.strict_refuses("letter");
}
