//! `keepfs.vault` and `keepfs.slots`: nothing that is put there opens the vault
//! another way, or makes it another vault.

use std::fs;
use std::os::unix::fs::symlink;
use std::path::PathBuf;

use crate::filled::flip;
use crate::harness::*;
use crate::victim::*;

fn vault_file(victim: &Victim) -> PathBuf {
    victim.place.vault().join("keepfs.vault")
}

fn slots(victim: &Victim) -> PathBuf {
    victim.place.vault().join("keepfs.slots")
}

/// What `key list` says; it needs no secret.
#[track_caller]
fn key_list(victim: &Victim, code: i32, words: &[&str]) -> String {
    let listed = victim.place.run(&["key", "list", "v"]);
    let said = format!("{}{}", listed.stdout, listed.stderr);
    assert_eq!(listed.code, code, "{said}");
    for word in words {
        assert!(said.contains(word), "no {word:?} in {said}");
    }
    said
}

#[test]
fn a_bit_of_any_byte_of_the_vault_file_opens_nothing() {
    let victim = Victim::new();
    for at in 0..64 {
        flip(&vault_file(&victim), at);
        let ran = victim.run(&["ls", "v"]);
        let expected = match at {
            0..8 => [code::NOT_A_VAULT, code::VAULT_DAMAGED],
            8..10 => [code::NEEDS_NEWER; 2],
            _ => [code::VAULT_DAMAGED; 2],
        };
        assert!(expected.contains(&ran.code), "byte {at}: {}", ran.stderr);
        assert_eq!(ran.stdout, "");
        flip(&vault_file(&victim), at);
    }
    victim.is_untouched();
}

#[test]
fn a_changed_chunk_size_is_named_and_opens_nothing() {
    let victim = Victim::new();
    for log2 in [13, 16, 20] {
        put(&vault_file(&victim), 10, &[log2]);
        victim.opens_not(code::VAULT_DAMAGED, &["keepfs.vault"]);
    }
}

#[test]
fn a_vault_file_cut_or_gone_opens_nothing() {
    for len in [0, 9, 32, 63] {
        let victim = Victim::new();
        splice(&vault_file(&victim), |bytes| bytes.truncate(len));
        let ran = victim.run(&["ls", "v"]);
        let refused = [code::NOT_A_VAULT, code::VAULT_DAMAGED];
        assert!(refused.contains(&ran.code), "{len}: {}", ran.stderr);
    }
    let victim = Victim::new();
    remove(&vault_file(&victim));
    victim.opens_not(code::NOT_A_VAULT, &["keepfs.vault"]);
}

#[test]
fn the_vault_file_of_another_vault_opens_nothing() {
    let (victim, other) = (Victim::new(), Victim::another());
    fs::copy(vault_file(&other), vault_file(&victim)).unwrap();
    victim.opens_not(code::VAULT_DAMAGED, &[]);
}

#[test]
fn a_bit_of_any_byte_of_a_slot_opens_nothing() {
    let victim = Victim::new();
    let slot = victim.place.slot();
    let len = fs::metadata(&slot).unwrap().len();
    assert!(len >= 204);
    for at in 0..len {
        flip(&slot, at);
        let ran = victim.run(&["ls", "v"]);
        let refused = [
            code::VAULT_DAMAGED,
            code::NEEDS_NEWER,
            code::WRONG_PASSPHRASE,
            code::SLOT_DAMAGED,
            // Byte 10: a key file that wants a passphrase with it.
            code::NO_PASSPHRASE,
        ];
        assert!(refused.contains(&ran.code), "byte {at}: {}", ran.stderr);
        assert_eq!(ran.stdout, "");
        flip(&slot, at);
    }
    victim.is_untouched();
}

#[test]
fn a_slot_that_is_longer_or_shorter_opens_nothing_and_is_named() {
    let victim = Victim::new();
    let whole = fs::read(victim.place.slot()).unwrap();
    let longer = [whole.clone(), vec![0; 48]].concat();
    for bytes in [&longer, &whole[..whole.len() - 1], &whole[..100], &[]] {
        fs::write(victim.place.slot(), bytes).unwrap();
        victim.opens_not(code::SLOT_DAMAGED, &[]);
        key_list(&victim, code::SLOT_DAMAGED, &["NOT VALID"]);
    }
}

#[test]
fn a_slot_of_another_vault_opens_nothing_and_is_named() {
    let (victim, other) = (Victim::new(), Victim::another());
    let slot = other.place.slot();
    let planted = slots(&victim).join(slot.file_name().unwrap());
    fs::copy(&slot, &planted).unwrap();
    // Beside the right one it is passed over, and named.
    victim.opens();
    key_list(&victim, code::SLOT_DAMAGED, &["NOT VALID", "another vault"]);
    // In its place it opens nothing, even for the right key file of either.
    for entry in fs::read_dir(slots(&victim)).unwrap() {
        let path = entry.unwrap().path();
        if path != planted {
            fs::remove_file(path).unwrap();
        }
    }
    victim.opens_not(code::VAULT_DAMAGED, &[]);
}

#[test]
fn a_slot_under_another_name_is_not_used_and_is_named() {
    let victim = Victim::new();
    let slot = victim.place.slot();
    let moved = slots(&victim).join(format!("{:032x}.slot", 7));
    fs::rename(slot, &moved).unwrap();
    victim.opens_not(code::SLOT_DAMAGED, &[]);
    key_list(&victim, code::SLOT_DAMAGED, &["NOT VALID"]);
}

#[test]
fn a_planted_way_in_is_seen_in_the_list_of_keys() {
    let victim = Victim::new();
    let whole = fs::read(victim.place.slot()).unwrap();
    // Well-formed from end to end, of this vault, with an id of its own: all
    // that somebody without the master key can make.
    let mut made = whole.clone();
    made[16..32].copy_from_slice(&[0xab; 16]);
    let id = "ab".repeat(16);
    fs::write(slots(&victim).join(format!("{id}.slot")), &made).unwrap();
    victim.opens();
    key_list(&victim, code::DONE, &[&id]);
    // It opens nothing, not even for who has the right key file.
    let tried = victim.run(&["ls", "v", "--slot", &id]);
    tried.failed(code::WRONG_PASSPHRASE, &[]);
}

#[test]
fn what_is_no_slot_among_the_slots_is_named() {
    let victim = Victim::new();
    fs::write(slots(&victim).join("wrapped-for-the-keeper"), [7; 48]).unwrap();
    fs::create_dir(slots(&victim).join("dir")).unwrap();
    victim.opens();
    key_list(
        &victim,
        code::SLOT_DAMAGED,
        &["wrapped-for-the-keeper", "dir"],
    );
    let checked = victim.run(&["check", "v"]);
    assert_eq!(checked.code, code::DAMAGE_FOUND, "{}", checked.stderr);
}

#[test]
fn a_label_cannot_write_to_the_terminal() {
    let victim = Victim::new();
    let whole = fs::read(victim.place.slot()).unwrap();
    let label = "\x1b]0;mine\x07\u{202e}";
    let mut made = whole[..96].to_vec();
    made.extend_from_slice(&u16::try_from(label.len()).unwrap().to_le_bytes());
    made.extend_from_slice(&[0, 0]);
    made.extend_from_slice(label.as_bytes());
    made.extend_from_slice(&whole[whole.len() - 104..]);
    let len = u32::try_from(made.len()).unwrap();
    made[12..16].copy_from_slice(&len.to_le_bytes());
    fs::write(victim.place.slot(), made).unwrap();
    let said = key_list(&victim, code::DONE, &["mine"]);
    for odd in ['\x1b', '\x07', '\u{202e}'] {
        assert!(!said.contains(odd), "{said:?}");
    }
    victim.opens_not(code::WRONG_PASSPHRASE, &[]);
}

#[test]
fn a_vault_of_the_keepers_own_making_does_not_open_with_my_key() {
    let (victim, made) = (Victim::new(), Place::bare());
    fs::write(made.root().join("key"), "another key file").unwrap();
    made.run(&["init", "--keyfile", "key", "v"]).done();
    fs::remove_dir_all(victim.place.vault()).unwrap();
    fs::rename(made.vault(), victim.place.vault()).unwrap();
    victim.opens_not(code::WRONG_PASSPHRASE, &[]);
}

#[test]
fn a_pipe_or_a_link_in_the_place_of_a_slot_or_the_vault_file_is_not_followed() {
    let victim = Victim::new();
    let aside = victim.place.root().join("aside");
    for (what, code) in [
        (vault_file(&victim), code::VAULT_DAMAGED),
        (victim.place.slot(), code::SLOT_DAMAGED),
    ] {
        fs::rename(&what, &aside).unwrap();
        tool("mkfifo", &[], &what);
        // With a bound: a program that opened the pipe would wait for ever.
        let program = program();
        let bounded = ["20", program.to_str().unwrap(), "ls", "--keyfile", "key"];
        let mut command = std::process::Command::new("timeout");
        let ran = run(
            command
                .args(bounded)
                .arg("v")
                .current_dir(victim.place.root())
                .env("XDG_STATE_HOME", victim.place.root().join("state")),
            b"",
        );
        ran.failed(code, &["regular file"]);
        fs::remove_file(&what).unwrap();
        symlink(&aside, &what).unwrap();
        victim.run(&["ls", "v"]).failed(code, &["regular file"]);
        fs::remove_file(&what).unwrap();
        fs::rename(&aside, &what).unwrap();
    }
    victim.is_untouched();
}

#[test]
fn no_slots_or_only_conflict_copies_of_them_open_nothing() {
    let victim = Victim::new();
    let slot = victim.place.slot();
    let copy = slot.with_extension("sync-conflict-20261122-101010-ABCDEFG.slot");
    fs::rename(&slot, &copy).unwrap();
    victim.opens_not(code::SLOT_DAMAGED, &[]);
    fs::remove_file(copy).unwrap();
    victim.opens_not(code::SLOT_DAMAGED, &[]);
    fs::remove_dir(slots(&victim)).unwrap();
    victim.opens_not(code::SLOT_DAMAGED, &[]);
}

#[test]
fn a_newer_format_is_not_taken_for_damage_and_opens_nothing() {
    let victim = Victim::new();
    put(&vault_file(&victim), 8, &[2]);
    victim.opens_not(code::NEEDS_NEWER, &["newer"]);
}

// ---- not noticed ----

#[test]
fn a_removed_slot_put_back_opens_the_vault_and_is_in_the_list() {
    let victim = Victim::new();
    let first = victim.place.slot();
    let kept = fs::read(&first).unwrap();
    let id = first.file_stem().unwrap().to_str().unwrap().to_owned();
    let root = victim.place.root();
    fs::write(root.join("second"), "the second key file").unwrap();
    victim
        .run(&["key", "add", "v", "--new-keyfile", "second"])
        .done();
    let second = ["--keyfile", "second"];
    let with_second = |words: &[&str]| victim.place.run(&[words, &second[..]].concat());
    with_second(&["key", "remove", "v", &id, "--yes"]).done();
    victim.run(&["ls", "v"]).failed(code::WRONG_PASSPHRASE, &[]);
    fs::write(&first, kept).unwrap();
    victim.run(&["ls", "v"]).done();
    with_second(&["ls", "v"]).done();
    key_list(&victim, code::DONE, &[&id]);
}

#[test]
fn planted_slots_can_keep_a_new_machine_out_until_the_slot_is_named() {
    let victim = Victim::new();
    let slot = victim.place.slot();
    let id = slot.file_stem().unwrap().to_str().unwrap().to_owned();
    let whole = fs::read(&slot).unwrap();
    for number in 0..40_u8 {
        let mut made = whole.clone();
        made[16..32].fill(0);
        made[31] = number;
        let name = format!("{number:032x}.slot");
        fs::write(slots(&victim).join(name), made).unwrap();
    }
    // A machine that opened the vault before tries its own slot first.
    victim.opens();
    fs::remove_dir_all(victim.place.root().join("state")).unwrap();
    victim.run(&["ls", "v"]).failed(code::WRONG_PASSPHRASE, &[]);
    victim.run(&["ls", "v", "--slot", &id]).done();
}
