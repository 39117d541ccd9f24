//! What a person at a terminal is asked and told.

use std::process::Command;

use serde_json::{Value, json};

use crate::harness::*;

/// Runs the command on a terminal; returns what it showed and its exit code.
#[track_caller]
fn on_terminal(place: &Place, words: &[&str], steps: &[(&str, &str)]) -> (String, i64) {
    let program = program();
    let mut argv = vec![program.to_str().unwrap()];
    argv.extend(words);
    let job = json!({ "argv": argv, "steps": steps });
    let mut python = Command::new("python3");
    python
        .arg(concat!(
            env!("CARGO_MANIFEST_DIR"),
            "/tests/cli/terminal.py"
        ))
        .current_dir(place.root())
        .env("XDG_STATE_HOME", place.root().join("state"));
    let ran = run(&mut python, job.to_string().as_bytes());
    assert_eq!(ran.code, 0, "{}", ran.stderr);
    let told: Value = serde_json::from_str(&ran.stdout).unwrap();
    assert_eq!(told["echo"], true, "the terminal was left silent");
    let shown = told["shown"].as_str().unwrap().to_owned();
    (shown, told["code"].as_i64().unwrap())
}

#[test]
fn a_new_passphrase_is_asked_for_twice_and_a_weak_one_warned_about() {
    let place = Place::bare();
    let words = ["init", "v", "--kdf-memory", "64MiB", "--kdf-passes", "3"];
    let twice = |first, second| {
        let steps = [("New passphrase: ", first), ("The same again: ", second)];
        on_terminal(&place, &words, &steps)
    };
    let (shown, code) = twice("letmein", "letmeout");
    assert_eq!(code, i64::from(code::NO_PASSPHRASE), "{shown}");
    assert!(!place.vault().exists());
    let (shown, code) = twice("letmein", "letmein");
    assert_eq!(code, 0, "{shown}");
    assert!(shown.contains("this passphrase is weak"), "{shown}");
    assert!(!shown.contains("letmein"), "it was shown: {shown}");
    // A strong one passes without a word.
    let words = [
        "key",
        "change",
        "v",
        "--kdf-memory",
        "64MiB",
        "--kdf-passes",
        "3",
    ];
    let strong = "amber tortoise violin quarry";
    let steps = [
        ("Passphrase: ", "letmein"),
        ("New passphrase: ", strong),
        ("The same again: ", strong),
    ];
    let (shown, code) = on_terminal(&place, &words, &steps);
    assert_eq!(code, 0, "{shown}");
    assert!(!shown.contains("weak"), "{shown}");
}

#[test]
fn the_interrupt_key_ends_a_question_and_gives_the_terminal_back() {
    let place = Place::bare();
    let (shown, code) = on_terminal(&place, &["init", "v"], &[("New passphrase: ", "\u{3}")]);
    assert_eq!(code, -2, "{shown}");
    assert!(!place.vault().exists());
}

#[test]
fn a_removal_is_proven_and_confirmed() {
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
    let keys = place.run(&["key", "list", "--json", "v"]).json();
    let id = keys["slots"][0]["id"].as_str().unwrap();
    let words = ["key", "remove", "v", id, "--keyfile", "key"];
    let before = snapshot(&place.vault());
    let (shown, code) = on_terminal(&place, &words, &[("Type yes to go on: ", "no")]);
    assert_eq!(code, i64::from(code::NOT_CONFIRMED), "{shown}");
    assert!(shown.contains(&format!("- {id}")), "{shown}");
    assert_eq!(snapshot(&place.vault()), before);
    let (shown, code) = on_terminal(&place, &words, &[("Type yes to go on: ", "yes")]);
    assert_eq!(code, 0, "{shown}");
    assert!(shown.contains("kept a copy"), "{shown}");
}

#[test]
fn a_slip_in_a_recovery_code_costs_a_line_or_all_of_it() {
    let place = with_key_file();
    let words = [
        "key",
        "add",
        "v",
        "--keyfile",
        "key",
        "--new-recovery",
        "--json",
    ];
    let made = place.run(&words).json();
    let code = made["recovery_code"].as_str().unwrap();
    let groups: Vec<&str> = code.split('-').collect();
    let (first, second) = (groups[..7].join("-"), groups[7..].join("-"));
    let slip = format!("{}-ZZZZZ", groups[7..13].join("-"));
    let steps = [
        ("Recovery code, or a share of one: ", &groups[0][..4]),
        ("Go on: ", &groups[1..7].join("-")),
        ("all of it again: ", &first),
        ("7 groups more: ", &slip),
        ("that line again: ", &second),
    ];
    let (shown, code) = on_terminal(&place, &["ls", "--recovery", "v"], &steps);
    assert_eq!(code, 0, "{shown}");
    assert!(shown.contains("group 1 has 4 letters"), "{shown}");
    assert!(shown.contains("group 14 has a typing error"), "{shown}");
}

#[test]
fn a_new_recovery_code_must_be_typed_back_before_anything_changes() {
    let place = with_key_file();
    let before = snapshot(&place.vault());
    let words = ["key", "add", "v", "--keyfile", "key", "--new-recovery"];
    let wrong = ("to be sure: ", "AAAAA");
    let (shown, code) = on_terminal(&place, &words, &[wrong; 5]);
    assert_eq!(code, i64::from(code::NOT_CONFIRMED), "{shown}");
    assert!(shown.contains("nothing was changed"), "{shown}");
    assert_eq!(snapshot(&place.vault()), before);
}
