//! `keepfs key`: every way into a vault, and no other.

use std::fs::{OpenOptions, read, write};
use std::os::unix::fs::PermissionsExt;
use std::os::unix::process::ExitStatusExt;
use std::process::Command;

use keepfs::codec::kdf::KdfCaps;
use keepfs::codec::vault::{Credential, KeyFile};
use keepfs::vault::{LockedVault, SlotChoice};
use serde_json::Value;

use crate::harness::*;

/// Options for a passphrase that costs as little as the format allows.
const CHEAP: &[&str] = &["--kdf-memory", "64MiB", "--kdf-passes", "3"];

fn keys(place: &Place) -> Vec<Value> {
    let list = place.run(&["key", "list", "--json", "v"]).json();
    list["slots"].as_array().unwrap().clone()
}

fn id(place: &Place, label: &str) -> String {
    let keys = keys(place);
    let key = keys.iter().find(|key| key["label"] == label);
    key.expect("a key of that label")["id"]
        .as_str()
        .unwrap()
        .to_owned()
}

/// Mounts with these words and this input, and unmounts again.
#[track_caller]
pub(crate) fn opens(place: &Place, words: &[&str], input: &str) {
    let words = [&["mount", "v", "m"], words].concat();
    run(&mut place.command(&words), input.as_bytes()).done();
    place.run(&["unmount", "m"]).done();
}

/// Does not open the vault, and says so in these words.
#[track_caller]
fn refused(place: &Place, words: &[&str], input: &str, code: i32, says: &str) {
    let words = [&["mount", "v", "m"], words].concat();
    run(&mut place.command(&words), input.as_bytes()).failed(code, &[says]);
    assert!(place.entry().is_none());
}

#[test]
fn every_kind_of_key_is_added_listed_and_opens() {
    let place = with_key_file();
    write(place.root().join("second"), "another key file").unwrap();
    let add = |words: &[&str], input: &str| {
        let words = [&["key", "add", "v", "--keyfile", "key"], words, CHEAP].concat();
        run(&mut place.command(&words), input.as_bytes())
    };
    let added = add(&["--label", "phone"], "phone phrase\n");
    added.done();
    assert!(added.stdout.contains("(passphrase)"), "{}", added.stdout);
    add(&["--label", "stick", "--new-keyfile", "second"], "").done();
    add(
        &[
            "--label",
            "both",
            "--new-keyfile",
            "second",
            "--ask-new-passphrase",
        ],
        "both phrase\n",
    )
    .done();
    let made = add(&["--label", "safe", "--new-recovery", "--json"], "").json();
    let code = made["recovery_code"].as_str().unwrap().to_owned();
    let listed: Vec<(String, String)> = keys(&place)
        .iter()
        .map(|key| {
            let text = |field: &str| key[field].as_str().unwrap().to_owned();
            assert!(text("modified").starts_with("20"), "{key}");
            (text("label"), text("kind"))
        })
        .collect();
    for (label, kind) in [
        ("", "key file"),
        ("phone", "passphrase"),
        ("stick", "key file"),
        ("both", "passphrase with key file"),
        ("safe", "recovery code"),
    ] {
        assert!(
            listed.contains(&(label.to_owned(), kind.to_owned())),
            "{label}: {listed:?}"
        );
    }
    let shown = place.run(&["key", "list", "v"]);
    shown.done();
    assert_eq!(shown.stdout.lines().count(), 5, "{}", shown.stdout);
    opens(&place, &[], "phone phrase\n");
    opens(&place, &["--keyfile", "second"], "");
    opens(&place, &["-o", "keyfile=second"], "");
    opens(&place, &["--recovery"], &format!("{code}\n"));
    // The vault knows a key that is both, so it is asked for where this key
    // file alone opens nothing.
    place
        .run(&["key", "remove", "--yes", "v", &id(&place, "stick")])
        .done();
    opens(&place, &["--keyfile", "second"], "both phrase\n");
    opens(
        &place,
        &["--keyfile", "second", "--ask-passphrase"],
        "both phrase\n",
    );
    write(place.root().join("phrase"), "both phrase\n").unwrap();
    opens(&place, &["--keyfile", "second", "--passfile", "phrase"], "");
    let wrong = code::WRONG_PASSPHRASE;
    refused(
        &place,
        &["--keyfile", "second"],
        "wrong\n",
        wrong,
        "wrong passphrase",
    );
    refused(
        &place,
        &["--passfile", "phrase"],
        "",
        wrong,
        "wrong passphrase",
    );
    refused(
        &place,
        &["--recovery"],
        "00000-00000-00000",
        code::BAD_RECOVERY,
        "group 2",
    );
}

#[test]
fn the_old_passphrase_is_the_first_line_and_the_new_one_the_second() {
    let place = Place::new();
    let input = format!("{PASSPHRASE}\nnew one\n");
    let words = [&["key", "add", "v"], CHEAP].concat();
    run(&mut place.command(&words), input.as_bytes()).done();
    opens(&place, &[], "new one\n");
    opens(&place, &[], &format!("{PASSPHRASE}\n"));
    let words = [&["key", "change", "v"], CHEAP].concat();
    let changed = run(&mut place.command(&words), b"new one\nnewer one\n");
    changed.done();
    assert!(changed.stdout.contains("copy of the old slot file"));
    opens(&place, &[], "newer one\n");
    refused(
        &place,
        &[],
        "new one\n",
        code::WRONG_PASSPHRASE,
        "wrong passphrase",
    );
    // Without a second line nothing is changed.
    let before = snapshot(&place.vault());
    run(&mut place.command(&words), b"newer one\n").failed(code::NO_PASSPHRASE, &["empty"]);
    run(&mut place.command(&words), b"wrong\nx\n").failed(code::WRONG_PASSPHRASE, &["wrong"]);
    assert_eq!(snapshot(&place.vault()), before);
}

#[test]
fn a_changed_key_keeps_its_label_and_the_others_stay() {
    let place = with_key_file();
    write(place.root().join("other"), "other").unwrap();
    let add = [
        "key",
        "add",
        "v",
        "--keyfile",
        "key",
        "--new-keyfile",
        "other",
        "--label",
        "x",
    ];
    place.run(&add).done();
    let old = id(&place, "x");
    let change = ["key", "change", "v", "--keyfile", "other"];
    // A key file is not typed anew.
    place.run(&change).failed(code::USAGE, &["--new-keyfile"]);
    write(place.root().join("third"), "third").unwrap();
    let words = [&change[..], &["--new-keyfile", "third", "--json"]].concat();
    let changed = place.run(&words).json();
    assert_eq!(changed["replaced"], old.as_str());
    assert_eq!(changed["label"], "x");
    assert_ne!(id(&place, "x"), old);
    assert_eq!(keys(&place).len(), 2);
    opens(&place, &["--keyfile", "third"], "");
    opens(&place, &["--keyfile", "key"], "");
    refused(
        &place,
        &["--keyfile", "other"],
        "",
        code::WRONG_PASSPHRASE,
        "wrong key file",
    );
}

#[test]
fn a_changed_passphrase_with_key_file_goes_on_with_its_key_file() {
    let place = Place::bare();
    write(place.root().join("key"), "key").unwrap();
    let words = [
        &["init", "v", "--keyfile", "key", "--ask-passphrase"],
        CHEAP,
    ]
    .concat();
    run(&mut place.command(&words), b"old\n").done();
    assert_eq!(keys(&place)[0]["kind"], "passphrase with key file");
    let words = [&["key", "change", "v", "--keyfile", "key"], CHEAP].concat();
    run(&mut place.command(&words), b"old\nnew\n").done();
    assert_eq!(keys(&place)[0]["kind"], "passphrase with key file");
    opens(&place, &["--keyfile", "key"], "new\n");
    refused(
        &place,
        &["--keyfile", "key"],
        "old\n",
        code::WRONG_PASSPHRASE,
        "wrong",
    );
    refused(&place, &[], "new\n", code::WRONG_PASSPHRASE, "no key slot");
}

#[test]
fn renewing_one_half_of_a_key_keeps_the_other() {
    let place = Place::bare();
    write(place.root().join("key"), "key").unwrap();
    write(place.root().join("newer"), "newer").unwrap();
    let words = [
        &["init", "v", "--keyfile", "key", "--ask-passphrase"],
        CHEAP,
    ]
    .concat();
    run(&mut place.command(&words), b"phrase\n").done();
    let change = [
        "key",
        "change",
        "v",
        "--keyfile",
        "key",
        "--new-keyfile",
        "newer",
    ];
    let words = [&change[..], CHEAP].concat();
    run(&mut place.command(&words), b"phrase\n").done();
    assert_eq!(keys(&place)[0]["kind"], "passphrase with key file");
    opens(&place, &["--keyfile", "newer"], "phrase\n");
    refused(
        &place,
        &["--keyfile", "newer"],
        "other\n",
        code::WRONG_PASSPHRASE,
        "wrong",
    );
    // A key file that can be read only once.
    let script = format!(
        "echo phrase | '{}' ls --keyfile <(cat newer) v",
        program().display()
    );
    let mut shell = Command::new("bash");
    run(shell.args(["-c", &script]).current_dir(place.root()), b"").done();
}

#[test]
fn a_code_that_nobody_could_read_changes_nothing() {
    let place = with_key_file();
    let before = snapshot(&place.vault());
    let new = ["--keyfile", "key", "--new-recovery"];
    let commands = [
        [&["key", "change", "v"], &new[..]].concat(),
        [&["key", "change", "v", "--json"], &new[..]].concat(),
        [&["key", "add", "v"], &new[..]].concat(),
        [&["key", "add", "v", "--json"], &new[..]].concat(),
        vec![
            "key",
            "split",
            "v",
            "--threshold",
            "2",
            "--shares",
            "2",
            "--keyfile",
            "key",
        ],
    ];
    for words in commands {
        let full = OpenOptions::new().write(true).open("/dev/full").unwrap();
        let ran = place.command(&words).stdout(full).output().unwrap();
        assert_eq!(ran.status.code(), Some(code::FAILURE), "{words:?}");
        let says = String::from_utf8(ran.stderr).unwrap();
        assert!(says.contains("taken back"), "{says}");
        // A reader that is gone.
        let (reader, writer) = std::io::pipe().unwrap();
        drop(reader);
        let ran = place.command(&words).stdout(writer).output().unwrap();
        assert_eq!(ran.status.code(), Some(code::FAILURE), "{words:?}");
        assert_eq!(snapshot(&place.vault()), before, "{words:?}");
    }
    opens(&place, &["--keyfile", "key"], "");
}

#[test]
fn the_secret_of_a_key_that_goes_may_open_one_that_stays() {
    let place = with_key_file();
    let add = [
        "key",
        "add",
        "v",
        "--keyfile",
        "key",
        "--new-keyfile",
        "key",
        "--label",
        "b",
    ];
    place.run(&add).done();
    let words = [
        "key",
        "remove",
        "v",
        "--yes",
        &id(&place, ""),
        "--keyfile",
        "key",
    ];
    let removed = place.run(&words);
    removed.done();
    assert!(
        removed
            .stdout
            .contains(&format!("{} opens the vault", id(&place, "b"))),
        "{}",
        removed.stdout
    );
}

#[test]
fn one_entry_that_cannot_be_tidied_does_not_stop_the_others() {
    let place = with_key_file();
    let slots = place.vault().join("keepfs.slots");
    let first = id(&place, "");
    let copy = |suffix: &str| slots.join(format!("{first}{suffix}"));
    std::fs::create_dir(copy(" (1)")).unwrap();
    std::fs::copy(place.slot_named(&first), copy(" (2)")).unwrap();
    std::fs::copy(place.slot_named(&first), copy("-b")).unwrap();
    let tidied = place.run(&["key", "tidy", "--yes", "v"]);
    assert_eq!(tidied.code, code::SLOT_DAMAGED, "{}", tidied.stderr);
    assert_eq!(
        tidied.stdout.matches("removed").count(),
        2,
        "{}",
        tidied.stdout
    );
    assert!(tidied.stdout.contains("left for you"), "{}", tidied.stdout);
    assert!(!copy(" (2)").exists() && !copy("-b").exists());
    opens(&place, &["--keyfile", "key"], "");
}

#[test]
fn nobody_types_a_passphrase_that_no_slot_takes() {
    let place = with_key_file();
    refused(
        &place,
        &[],
        "never read\n",
        code::WRONG_PASSPHRASE,
        "no key slot that takes a passphrase",
    );
}

#[test]
fn a_key_is_removed_only_where_another_is_left() {
    let place = with_key_file();
    let only = id(&place, "");
    let remove = |words: &[&str]| place.run(&[&["key", "remove", "v"], words].concat());
    remove(&["--yes", &only]).failed(code::NO_SUCH_SLOT, &["last key slot"]);
    write(place.root().join("second"), "second").unwrap();
    place
        .run(&[
            "key",
            "add",
            "v",
            "--keyfile",
            "key",
            "--new-keyfile",
            "second",
            "--label",
            "b",
        ])
        .done();
    let second = id(&place, "b");
    let before = snapshot(&place.vault());
    // Nobody to ask, no such slot, not an id, the very key that is offered.
    remove(&[&second]).failed(code::NOT_CONFIRMED, &["--yes"]);
    let strange = if only.starts_with('f') { "0" } else { "f" };
    if !second.starts_with(strange) {
        remove(&["--yes", strange]).failed(code::NO_SUCH_SLOT, &["no key slot"]);
    }
    remove(&["--yes", "xyz"]).failed(code::USAGE, &["hexadecimal"]);
    remove(&["--yes", &second, "--keyfile", "second"]).failed(code::NO_SUCH_SLOT, &["very one"]);
    remove(&["--yes", &second, "--keyfile", "nosuch"]).failed(code::KEY_FILE, &["nosuch"]);
    assert_eq!(snapshot(&place.vault()), before);
    let removed = remove(&["--yes", &second, "--keyfile", "key"]);
    removed.done();
    for word in ["kept a copy", "make a new vault"] {
        assert!(removed.stdout.contains(word), "{}", removed.stdout);
    }
    opens(&place, &["--keyfile", "key"], "");
    refused(
        &place,
        &["--keyfile", "second"],
        "",
        code::WRONG_PASSPHRASE,
        "wrong key file",
    );
}

#[test]
fn a_removed_slot_that_comes_back_opens_the_vault_as_the_help_says() {
    let place = with_key_file();
    write(place.root().join("second"), "second").unwrap();
    place
        .run(&[
            "key",
            "add",
            "v",
            "--keyfile",
            "key",
            "--new-keyfile",
            "second",
            "--label",
            "b",
        ])
        .done();
    let second = id(&place, "b");
    let file = place.vault().join(format!("keepfs.slots/{second}.slot"));
    let kept = read(&file).unwrap();
    place
        .run(&["key", "remove", "--yes", "v", &second[..12]])
        .done();
    write(&file, kept).unwrap();
    opens(&place, &["--keyfile", "second"], "");
}

#[test]
fn whatever_is_no_key_slot_is_named_and_makes_the_code_non_zero() {
    let place = with_key_file();
    let slots = place.vault().join("keepfs.slots");
    let good = read(place.slot()).unwrap();
    let first = id(&place, "");
    let strange: &[(&str, &[u8], &str)] = &[
        ("notes.txt", b"x", "not that of a key slot"),
        (
            &format!("{first}.slot.conflict1"),
            &good,
            "sync client's copy",
        ),
        (
            "~keepfs-00000000000000000000000000000000.tmp",
            b"",
            "did not come to its end",
        ),
        (
            "00000000000000000000000000000000.slot",
            &good,
            "does not say",
        ),
        (
            "11111111111111111111111111111111.slot",
            &good[..99],
            "wrong length",
        ),
    ];
    for (name, bytes, says) in strange {
        let file = slots.join(name);
        write(&file, bytes).unwrap();
        let list = place.run(&["key", "list", "v"]);
        assert_eq!(list.code, code::SLOT_DAMAGED, "{name}");
        for word in [name, says, "NOT VALID", &first[..]] {
            assert!(list.stdout.contains(word), "{name}: {}", list.stdout);
        }
        assert!(list.stderr.contains("one entry"), "{}", list.stderr);
        let json = place.run(&["key", "list", "--json", "v"]);
        assert_eq!(json.code, code::SLOT_DAMAGED, "{name}");
        let json: Value = serde_json::from_str(&json.stdout).unwrap();
        assert_eq!(json["invalid"][0]["name"], *name);
        assert_eq!(json["slots"].as_array().unwrap().len(), 1);
        // It does no harm.
        place
            .run(&["mount", "-r", "v", "m", "--keyfile", "key"])
            .done();
        place.run(&["unmount", "m"]).done();
        std::fs::remove_file(file).unwrap();
    }
    place.run(&["key", "list", "v"]).done();
}

#[test]
fn tidying_says_what_it_would_do_and_does_it_when_told() {
    let place = with_key_file();
    let slots = place.vault().join("keepfs.slots");
    let nothing = place.run(&["key", "tidy", "v"]);
    nothing.done();
    assert!(nothing.stdout.contains("nothing but key slots"));
    let first = id(&place, "");
    let copy = slots.join(format!(
        "{first}.sync-conflict-20261122-101010-ABCDEFG.slot"
    ));
    std::fs::rename(place.slot(), &copy).unwrap();
    let mount = place.run(&["mount", "v", "m", "--keyfile", "key"]);
    mount.failed(code::SLOT_DAMAGED, &["keepfs key tidy"]);
    let dry = place.run(&["key", "tidy", "v"]);
    dry.done();
    assert!(dry.stdout.contains("would be put back"), "{}", dry.stdout);
    assert!(copy.exists());
    place.run(&["key", "tidy", "--yes", "v"]).done();
    assert!(!copy.exists());
    opens(&place, &["--keyfile", "key"], "");
    write(slots.join("notes"), "").unwrap();
    let left = place.run(&["key", "tidy", "--yes", "v"]);
    assert_eq!(left.code, code::SLOT_DAMAGED);
    assert!(left.stdout.contains("left for you"), "{}", left.stdout);
    assert!(slots.join("notes").exists());
}

#[test]
fn the_slot_that_opened_last_is_remembered_without_a_secret() {
    let place = with_key_file();
    write(place.root().join("second"), "second").unwrap();
    place
        .run(&[
            "key",
            "add",
            "v",
            "--keyfile",
            "key",
            "--new-keyfile",
            "second",
            "--label",
            "b",
        ])
        .done();
    let vault_id = place.run(&["info", "--json", "v"]).json()["vault_id"].clone();
    let file = place
        .root()
        .join("state/keepfs")
        .join(vault_id.as_str().unwrap())
        .join("slot");
    for (key, label) in [("key", ""), ("second", "b"), ("key", "")] {
        opens(&place, &["--keyfile", key], "");
        let remembered = std::fs::read_to_string(&file).unwrap();
        assert_eq!(remembered, format!("{}\n", id(&place, label)));
    }
    // Nonsense there does no harm.
    write(&file, "nonsense").unwrap();
    opens(&place, &["--keyfile", "second"], "");
    // One slot can be picked, and then no other is tried.
    let second = id(&place, "b");
    opens(&place, &["--keyfile", "second", "--slot", &second[..8]], "");
    let first = id(&place, "");
    let wrong = code::WRONG_PASSPHRASE;
    refused(
        &place,
        &["--keyfile", "second", "--slot", &first],
        "",
        wrong,
        "wrong key file",
    );
    refused(
        &place,
        &["--keyfile", "second", "-o", "slot=123456789abcdef"],
        "",
        code::NO_SUCH_SLOT,
        "no key slot",
    );
}

#[test]
fn key_files_that_are_none_have_their_own_code() {
    let place = with_key_file();
    refused(
        &place,
        &["--keyfile", "nosuch"],
        "",
        code::KEY_FILE,
        "nosuch",
    );
    write(place.root().join("empty"), "").unwrap();
    refused(&place, &["--keyfile", "empty"], "", code::KEY_FILE, "empty");
    let large = std::fs::File::create(place.root().join("large")).unwrap();
    large.set_len((64 << 20) + 1).unwrap();
    refused(
        &place,
        &["--keyfile", "large"],
        "",
        code::KEY_FILE,
        "64 MiB",
    );
    refused(&place, &["--keyfile", "v"], "", code::KEY_FILE, "v");
    place.run(&["key", "generate-file", "made"]).done();
    let made = place.root().join("made");
    assert_eq!(made.metadata().unwrap().permissions().mode() & 0o777, 0o400);
    place
        .run(&["key", "generate-file", "made"])
        .failed(code::KEY_FILE, &["made"]);
    place
        .run(&[
            "key",
            "add",
            "v",
            "--keyfile",
            "key",
            "--new-keyfile",
            "made",
        ])
        .done();
    opens(&place, &["--keyfile", "made"], "");
}

#[test]
fn a_systemd_credential_opens_the_vault() {
    let place = Place::new();
    let mount = |dir: Option<&str>, words: &[&str]| {
        let words = [&["mount", "v", "m"], words].concat();
        let mut command = place.command(&words);
        if let Some(dir) = dir {
            command.env("CREDENTIALS_DIRECTORY", dir);
        }
        run(&mut command, b"")
    };
    std::fs::create_dir(place.root().join("credentials")).unwrap();
    write(
        place.root().join("credentials/vault"),
        format!("{PASSPHRASE}\n"),
    )
    .unwrap();
    mount(None, &["--credential", "vault"]).failed(code::NO_PASSPHRASE, &["LoadCredential"]);
    mount(Some("credentials"), &["--credential", "other"]).failed(code::NO_PASSPHRASE, &["other"]);
    mount(Some("credentials"), &["--credential", "../v"]).failed(code::NO_PASSPHRASE, &["slash"]);
    for words in [&["--credential", "vault"][..], &["-o", "credential=vault"]] {
        mount(Some("credentials"), words).done();
        place.run(&["unmount", "m"]).done();
    }
}

#[test]
fn weak_passphrases_are_refused_where_that_is_asked_for() {
    let place = with_key_file();
    let add = |required: &str, phrase: &str| {
        let words = [
            "key",
            "add",
            "v",
            "--keyfile",
            "key",
            "--require-strength",
            required,
        ];
        run(
            &mut place.command(&[&words[..], CHEAP].concat()),
            phrase.as_bytes(),
        )
    };
    let before = snapshot(&place.vault());
    let refused = add("3", "password1\n");
    refused.failed(code::WEAK_PASSPHRASE, &["strength", "of 4"]);
    assert!(!refused.stderr.contains("password1"));
    add("5", "x\n").failed(code::USAGE, &["0..=4"]);
    assert_eq!(snapshot(&place.vault()), before);
    add("4", "amber tortoise violin quarry\n").done();
    let words = [&["init", "w", "--require-strength", "2"], CHEAP].concat();
    run(&mut place.command(&words), b"letmein\n").failed(code::WEAK_PASSPHRASE, &["strength"]);
    assert!(!place.root().join("w").exists());
}

#[test]
fn a_changed_vault_file_is_told_from_a_wrong_key_to_whoever_has_the_right_one() {
    let place = with_key_file();
    write(place.root().join("wrong"), "wrong").unwrap();
    let file = place.vault().join("keepfs.vault");
    let good = read(&file).unwrap();
    for (at, xor, says) in [(10, 1, "4096"), (40, 1, "fingerprint")] {
        let mut changed = good.clone();
        changed[at] ^= xor;
        write(&file, changed).unwrap();
        let damaged = code::VAULT_DAMAGED;
        refused(&place, &["--keyfile", "key"], "", damaged, says);
        let wrong = code::WRONG_PASSPHRASE;
        refused(&place, &["--keyfile", "wrong"], "", wrong, "wrong key file");
    }
    // Another vault's file: its slots say that they belong elsewhere.
    let other = with_key_file();
    std::fs::copy(other.vault().join("keepfs.vault"), &file).unwrap();
    let words = ["--keyfile", "key"];
    refused(&place, &words, "", code::VAULT_DAMAGED, "another vault");
    write(&file, good).unwrap();
    opens(&place, &words, "");
}

#[test]
fn attacks_on_a_slot_end_where_they_should_and_cost_nothing() {
    let place = Place::new();
    let slot = place.slot();
    let good = read(&slot).unwrap();
    let with = |at: usize, bytes: &[u8]| {
        let mut changed = good.clone();
        changed[at..at + bytes.len()].copy_from_slice(bytes);
        changed
    };
    let wrong = (code::WRONG_PASSPHRASE, "wrong passphrase");
    let cost = (code::KDF_COST, "Argon2id");
    let damaged = (code::SLOT_DAMAGED, "key slot");
    assert_eq!(good.len(), 204, "made without a label");
    let cases: &[(&str, Vec<u8>, (i32, &str))] = &[
        (
            "cost below the floor",
            with(80, &1024u32.to_le_bytes()),
            cost,
        ),
        ("memory of 4 TiB", with(80, &u32::MAX.to_le_bytes()), cost),
        ("2^32 passes", with(84, &u32::MAX.to_le_bytes()), cost),
        ("2^32 lanes", with(88, &u32::MAX.to_le_bytes()), cost),
        ("one pass more", with(84, &4u32.to_le_bytes()), wrong),
        ("salt", with(48, &[!good[48]]), wrong),
        ("commitment", with(100, &[!good[100]]), wrong),
        ("wrapped key", with(160, &[!good[160]]), damaged),
        (
            "another vault's id",
            with(32, &[!good[32]]),
            (code::VAULT_DAMAGED, "another vault"),
        ),
        ("extension", with(98, &[1, 0]), damaged),
        ("label length", with(96, &[1, 0]), damaged),
        ("truncated", good[..good.len() - 1].to_vec(), damaged),
        ("extended", [&good[..], &[0]].concat(), damaged),
        ("kind", with(10, &[2]), damaged),
    ];
    for (what, bytes, (code, says)) in cases {
        write(&slot, bytes).unwrap();
        // 400 MB of address space: whoever pays before looking fails otherwise.
        let limited = format!(
            "ulimit -v 400000; echo '{PASSPHRASE}' | timeout 60 '{}' mount v m",
            program().display()
        );
        let mut shell = Command::new("bash");
        shell.args(["-c", &limited]).current_dir(place.root());
        println!("{what}");
        run(&mut shell, b"").failed(*code, &[says]);
        assert!(place.entry().is_none());
    }
}

#[test]
fn two_commands_do_not_change_the_keys_at_once() {
    let place = with_key_file();
    let script = format!(
        "flock keepfs.slots '{}' key remove --yes . 00",
        program().display()
    );
    let mut shell = Command::new("sh");
    shell.args(["-c", &script]).current_dir(place.vault());
    run(&mut shell, b"").failed(code::BUSY, &["another keepfs"]);
}

/// The key files, of those given, that open the vault `v` in `place`.
fn opening<'a>(place: &Place, vault: &str, keys: &[&'a str]) -> Vec<&'a str> {
    let locked = LockedVault::open(&place.root().join(vault)).unwrap();
    let caps = KdfCaps { ram_kib: 1 << 20 };
    let opens = |key: &&&str| {
        let contents = read(place.root().join(key)).unwrap();
        let credential = Credential::KeyFile(KeyFile::from_bytes(contents).unwrap());
        locked
            .open_slot(&credential, &caps, SlotChoice::Any)
            .is_ok()
    };
    keys.iter().filter(opens).copied().collect()
}

/// A real kill, by strace(1), at the n-th of each system call that changes the
/// backing, before it takes effect.
#[test]
fn keys_survive_kill_9() {
    let place = with_key_file();
    for key in ["second", "third"] {
        write(place.root().join(key), key).unwrap();
    }
    let words = [
        "key",
        "add",
        "v",
        "--keyfile",
        "key",
        "--new-keyfile",
        "second",
        "--label",
        "b",
    ];
    place.run(&words).done();
    let second = id(&place, "b");
    let commands: [(&[&str], &[&str]); 3] = [
        (
            &[
                "key",
                "add",
                "w",
                "--keyfile",
                "key",
                "--new-keyfile",
                "third",
            ],
            &["key", "second"],
        ),
        (
            &[
                "key",
                "change",
                "w",
                "--keyfile",
                "second",
                "--new-keyfile",
                "third",
            ],
            &["key"],
        ),
        (&["key", "remove", "--yes", "w", &second], &["key"]),
    ];
    for (command, untouched) in commands {
        let mut killed = 0;
        for call in ["openat", "pwritev", "fsync", "renameat2", "unlinkat"] {
            for nth in 1.. {
                let copied = Command::new("sh")
                    .args(["-c", "rm -rf w && cp -r v w"])
                    .current_dir(place.root())
                    .status();
                assert!(copied.unwrap().success());
                let inject = format!("inject={call}:signal=KILL:when={nth}");
                let mut strace = Command::new("strace");
                let trace = format!("trace={call}");
                strace.args(["-f", "-qq", "-o", "/dev/null", "-e", &trace, "-e", &inject]);
                strace
                    .arg(program())
                    .args(command)
                    .current_dir(place.root());
                // Nothing is remembered: that would be more calls to kill.
                strace.env_remove("HOME").env_remove("XDG_STATE_HOME");
                let ended = strace
                    .output()
                    .expect("strace is needed by this test")
                    .status;
                let opening = opening(&place, "w", &["key", "second", "third"]);
                let at = format!("{command:?} killed at {call} {nth}: {opening:?}");
                assert!(untouched.iter().all(|key| opening.contains(key)), "{at}");
                let concerned = opening.contains(&"second") || opening.contains(&"third");
                assert!(concerned || command[1] == "remove", "{at}");
                if ended.success() {
                    break;
                }
                assert_eq!(ended.signal().or(ended.code()), Some(9), "{at}");
                killed += 1;
            }
        }
        assert!(killed >= 4, "{command:?}: {killed} kills");
    }
}

#[test]
fn looking_at_keys_changes_nothing_and_needs_no_right_to_write() {
    let place = with_key_file();
    let before = snapshot(&place.vault());
    place.run(&["key", "list", "v"]).done();
    place.run(&["key", "tidy", "v"]).done();
    assert_eq!(snapshot(&place.vault()), before);
    place
        .run(&["key", "list", "nosuch"])
        .failed(code::NOT_A_VAULT, &["nosuch"]);
    place
        .run(&["key", "list", "m"])
        .failed(code::NOT_A_VAULT, &["keepfs.vault"]);
}
