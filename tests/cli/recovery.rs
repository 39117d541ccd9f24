//! Recovery codes and shares of them.

use crate::harness::*;
use crate::keys::opens;

/// Adds a recovery code and returns it.
fn recovery_code(place: &Place) -> String {
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
    made["recovery_code"].as_str().unwrap().to_owned()
}

fn with_input(place: &Place, words: &[&str], input: &str) -> Ran {
    run(&mut place.command(words), input.as_bytes())
}

#[test]
fn a_recovery_code_is_shown_once_and_opens_in_any_way_a_person_types_it() {
    let place = with_key_file();
    let before = snapshot(&place.vault());
    let words = [
        "key",
        "add",
        "v",
        "--keyfile",
        "key",
        "--new-recovery",
        "--qr",
    ];
    let shown = place.run(&words);
    shown.done();
    let rows: Vec<&str> = shown
        .stdout
        .lines()
        .filter(|line| line.starts_with("    ") && line.matches('-').count() == 6)
        .collect();
    assert_eq!(rows.len(), 2, "{}", shown.stdout);
    assert!(shown.stdout.contains('█'), "a QR code");
    let code = format!("{}\n{}\n", rows[0].trim(), rows[1].trim());
    for input in [
        code.clone(),
        code.to_lowercase(),
        code.replace(['-', '\n'], ""),
        code.replace('-', " "),
        code.replace('-', "\n"),
        format!("\n\n{}\n", code.replace('\n', "\n\n")),
    ] {
        opens(&place, &["--recovery"], &input);
    }
    opens(&place, &["--recover"], &code);
    // It is in no file of the vault, in no form.
    let bare = code.replace(['-', '\n'], "");
    for (file, bytes) in snapshot(&place.vault()) {
        if before.contains_key(&file) {
            continue;
        }
        let bytes = String::from_utf8_lossy(&bytes.unwrap()).into_owned();
        assert!(!bytes.contains(&bare[..10]), "{}", file.display());
    }
}

#[test]
fn a_typing_error_is_found_and_its_group_named() {
    let place = with_key_file();
    let code = recovery_code(&place);
    let mount = ["mount", "v", "m", "--recovery"];
    let mut groups: Vec<String> = code.split('-').map(str::to_owned).collect();
    let fifth = groups[4].clone();
    let wrong = if fifth.starts_with('Z') { "Y" } else { "Z" };
    groups[4].replace_range(..1, wrong);
    let says = |input: &str, words: &[&str]| {
        with_input(&place, &mount, input).failed(code::BAD_RECOVERY, words);
    };
    says(&groups.join("-"), &["group 5", "typing error"]);
    groups[4] = fifth[..4].to_owned();
    says(&groups.join("-"), &["group 5", "4 letters"]);
    groups[4] = fifth;
    says(&groups[..9].join("-"), &["ended"]);
    says("", &["ended"]);
    says(&format!("{code}-00000"), &["more than"]);
    assert!(place.entry().is_none());
    // Right in itself, and of another vault.
    let other = recovery_code(&with_key_file());
    with_input(&place, &mount, &other).failed(code::WRONG_PASSPHRASE, &["wrong recovery code"]);
    // A code unlocks changes too: the code first, the new passphrase behind it.
    let words = [
        "key",
        "add",
        "v",
        "--recovery",
        "--kdf-memory",
        "64MiB",
        "--kdf-passes",
        "3",
    ];
    with_input(&place, &words, &format!("{code}\nnew phrase\n")).done();
    opens(&place, &[], "new phrase\n");
}

#[test]
fn shares_open_the_vault_together_and_not_alone() {
    let place = with_key_file();
    let split = ["key", "split", "v", "--threshold", "2", "--shares", "3"];
    let words = [&split[..], &["--keyfile", "key", "--json"]].concat();
    let made = place.run(&words).json();
    assert_eq!(made["threshold"], 2);
    assert_eq!(made["kind"], "recovery code");
    assert_eq!(made["label"], "any 2 of 3 shares");
    let shares: Vec<String> = made["shares"]
        .as_array()
        .unwrap()
        .iter()
        .map(|share| share.as_str().unwrap().to_owned())
        .collect();
    assert_eq!(shares.len(), 3);
    for (a, b) in [(0, 1), (2, 0), (1, 2)] {
        opens(
            &place,
            &["--recovery"],
            &format!("{}\n{}\n", shares[a], shares[b]),
        );
    }
    let mount = ["mount", "v", "m", "--recovery"];
    let alone = format!("{}\n", shares[1]);
    with_input(&place, &mount, &alone).failed(code::BAD_RECOVERY, &["ended"]);
    let twice = format!("{alone}{alone}");
    with_input(&place, &mount, &twice).failed(code::BAD_RECOVERY, &["ended"]);
    let again = place.run(&words).json();
    let foreign = again["shares"][0].as_str().unwrap();
    let mixed = format!("{}\n{foreign}\n", shares[1]);
    // Another set, but for one chance in 65 536.
    let ran = with_input(&place, &mount, &mixed);
    assert!(
        [code::BAD_RECOVERY, code::WRONG_PASSPHRASE].contains(&ran.code),
        "{}",
        ran.stderr
    );
    // Printed for people, each with its number.
    let words = [&split[..], &["--keyfile", "key"]].concat();
    let printed = place.run(&words);
    printed.done();
    for word in [
        "Share 1 of 3",
        "Share 3 of 3",
        "any 2 of them",
        "stored nowhere",
    ] {
        assert!(printed.stdout.contains(word), "{}", printed.stdout);
    }
}

#[test]
fn a_code_that_exists_can_be_split_and_a_wrong_one_cannot() {
    let place = with_key_file();
    let code = recovery_code(&place);
    let before = snapshot(&place.vault());
    let split = [
        "key",
        "split",
        "v",
        "--threshold",
        "2",
        "--shares",
        "2",
        "--recovery",
        "--json",
    ];
    let made = run(&mut place.command(&split), format!("{code}\n").as_bytes()).json();
    assert_eq!(snapshot(&place.vault()), before, "no new key");
    let input: String = made["shares"]
        .as_array()
        .unwrap()
        .iter()
        .map(|share| format!("{}\n", share.as_str().unwrap()))
        .collect();
    opens(&place, &["--recovery"], &input);
    let other = recovery_code(&with_key_file());
    with_input(&place, &split, &other).failed(code::WRONG_PASSPHRASE, &["wrong recovery code"]);
    for (threshold, shares) in [("1", "3"), ("4", "3"), ("0", "0"), ("2", "300")] {
        let words = [
            "key",
            "split",
            "v",
            "--threshold",
            threshold,
            "--shares",
            shares,
        ];
        assert_eq!(
            place.run(&words).code,
            code::USAGE,
            "{threshold} of {shares}"
        );
    }
}
