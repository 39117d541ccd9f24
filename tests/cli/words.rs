//! Help, usage, completions, manual pages and where a passphrase comes from.

use crate::harness::*;

#[test]
fn help_shows_examples_and_every_exit_code() {
    let help = run(&mut keepfs(&["--help"]), b"");
    help.done();
    assert!(help.stdout.contains("Examples:"));
    for exit in keepfs::cli::exit::Exit::ALL {
        let line = format!("{:>2}  {}", exit.code(), exit.meaning());
        assert!(help.stdout.contains(&line), "{line}");
    }
    for command in [
        "init",
        "mount",
        "unmount",
        "umount",
        "info",
        "status",
        "check",
        "ls",
        "cat",
        "path",
        "export",
        "import",
        "key",
        "completions",
    ] {
        let help = run(&mut keepfs(&[command, "--help"]), b"");
        help.done();
        assert!(help.stdout.contains("Examples:"), "{command}");
    }
    run(&mut keepfs(&["--version"]), b"").done();
}

#[test]
fn the_readme_lists_every_exit_code() {
    let readme =
        std::fs::read_to_string(concat!(env!("CARGO_MANIFEST_DIR"), "/README.md")).unwrap();
    for exit in keepfs::cli::exit::Exit::ALL {
        let line = format!("| {} | {} |", exit.code(), exit.meaning());
        assert!(readme.contains(&line), "{line}");
    }
}

#[test]
fn what_is_not_understood_is_a_usage_error() {
    let lines: &[&[&str]] = &[
        &[],
        &["nosuch"],
        &["init"],
        &["init", "a", "b"],
        &["init", "--chunk-size", "5000", "v"],
        &["init", "--chunk-size", "2MiB", "v"],
        &["init", "--kdf-memory", "1MiB", "v"],
        &["init", "--kdf-memory", "8GiB", "v"],
        &["init", "--kdf-passes", "2", "v"],
        &["init", "--kdf-passes", "21", "v"],
        &["init", "--label", "a\nb", "v"],
        &["init", "--passfile", "f", "--extpass", "c", "v"],
        &["mount", "v"],
        &["mount", "--cache-timeout", "-1", "v", "m"],
        &["mount", "--nosuch", "v", "m"],
        &["unmount"],
        &["completions", "nosuch"],
    ];
    for line in lines {
        assert_eq!(run(&mut keepfs(line), b"").code, code::USAGE, "{line:?}");
    }
}

#[test]
fn an_unknown_mount_option_is_a_usage_error_that_names_it() {
    let place = Place::new();
    let mount = |list| place.mount(&["-o", list]);
    mount("ro,nosuch").failed(code::USAGE, &["nosuch"]);
    mount("fsname").failed(code::USAGE, &["fsname="]);
    mount("ro=1").failed(code::USAGE, &["ro"]);
    mount("cache_timeout=soon").failed(code::USAGE, &["cache_timeout=soon"]);
    assert!(place.entry().is_none());
}

#[test]
fn completions_know_the_commands() {
    for shell in ["bash", "zsh", "fish", "elvish", "powershell"] {
        let script = run(&mut keepfs(&["completions", shell]), b"");
        script.done();
        assert!(script.stdout.contains("unmount"), "{shell}");
    }
}

#[test]
fn manual_pages_are_written_for_every_command() {
    let page = run(&mut keepfs(&["man"]), b"");
    page.done();
    assert!(page.stdout.contains(".TH keepfs 1"), "{}", page.stdout);
    let place = Place::bare();
    place.run(&["man", "m"]).done();
    for page in [
        "keepfs.1",
        "keepfs-mount.1",
        "keepfs-unmount.1",
        "keepfs-init.1",
    ] {
        assert!(place.point().join(page).exists(), "{page}");
    }
    place
        .run(&["man", "nosuch"])
        .failed(code::FAILURE, &["nosuch"]);
}

#[test]
fn init_prints_what_info_and_json_repeat() {
    let place = Place::bare();
    let made = place
        .unlock(
            &[
                CHEAP_INIT,
                &["--json", "--label", "lap\u{e4}top", "--chunk-size", "64k"],
            ]
            .concat(),
        )
        .json();
    assert_eq!(made["chunk_size"], 65536);
    assert_eq!(made["kdf_memory_kib"], 65536);
    assert_eq!(made["kdf_passes"], 3);
    let before = snapshot(&place.vault());
    let info = place.run(&["info", "--json", "v"]).json();
    assert_eq!(info["fingerprint"], made["fingerprint"]);
    assert_eq!(info["format"], 1);
    assert_eq!(info["chunk_size"], 65536);
    assert_eq!(info["slots"][0]["label"], "lap\u{e4}top");
    assert_eq!(info["slots"][0]["kdf"]["memory_kib"], 65536);
    assert_eq!(info["invalid"], serde_json::json!([]));
    let text = place.run(&["info", "v"]);
    text.done();
    let first_group = made["fingerprint"]
        .as_str()
        .unwrap()
        .split(' ')
        .next()
        .unwrap();
    assert!(
        text.stdout.contains(first_group) && text.stdout.contains("64 KiB"),
        "{}",
        text.stdout
    );
    assert_eq!(
        snapshot(&place.vault()),
        before,
        "looking changed something"
    );
}

#[test]
fn init_without_a_cost_takes_what_fits_the_machine() {
    let place = Place::bare();
    let made = place
        .unlock(&["init", "--kdf-memory", "64MiB", "--json", "v"])
        .json();
    let passes = made["kdf_passes"].as_u64().unwrap();
    assert!((3..=20).contains(&passes), "{passes}");
    assert_eq!(made["kdf_lanes"], 4);
}

#[test]
fn a_passphrase_comes_from_a_file_a_program_or_standard_input() {
    let place = Place::new();
    std::fs::write(place.root().join("key"), format!("{PASSPHRASE}\nignored\n")).unwrap();
    let sources: &[&[&str]] = &[
        &["--passfile", "key"],
        &["-o", "passfile=key"],
        &["--extpass", "sh -c 'echo correct horse'"],
        &["--extpass", "echo", "--extpass", PASSPHRASE],
    ];
    for source in sources {
        place.run(&[&["mount", "v", "m"], *source].concat()).done();
        place.run(&["unmount", "m"]).done();
    }
    place.mount(&[]).done();
    place.run(&["unmount", "m"]).done();
}

#[test]
fn without_a_passphrase_nothing_happens() {
    let place = Place::new();
    let refused = |words: &[&str], said: &str| {
        let words = [&["mount", "v", "m"], words].concat();
        place.run(&words).failed(code::NO_PASSPHRASE, &[said]);
        assert!(place.entry().is_none());
    };
    refused(&[], "standard input");
    refused(&["--passfile", "nosuch"], "nosuch");
    refused(&["--extpass", "false"], "false");
    refused(
        &["--extpass", "/nonexistent/program"],
        "/nonexistent/program",
    );
    refused(&["--extpass", "an 'open quote"], "quote");
    refused(&["--extpass", "true"], "empty");
    std::fs::write(place.root().join("long"), "x".repeat(5000)).unwrap();
    refused(&["--passfile", "long"], "4096");
    let bare = Place::bare();
    bare.run(CHEAP_INIT).failed(code::NO_PASSPHRASE, &["empty"]);
    assert!(!bare.vault().exists(), "nothing was made");
}

#[test]
fn a_passphrase_is_read_up_to_the_end_of_its_line_only() {
    let place = Place::new();
    let script = format!(
        "printf '%s\\nrest' '{PASSPHRASE}' | {{ '{}' mount v m && cat; }}",
        program().display()
    );
    let mut shell = std::process::Command::new("sh");
    let ran = run(shell.args(["-c", &script]).current_dir(place.root()), b"");
    assert_eq!(
        (ran.code, ran.stdout.as_str()),
        (0, "rest"),
        "{}",
        ran.stderr
    );
    place.run(&["unmount", "m"]).done();
}

#[test]
fn other_spellings_of_the_same_letters_unlock() {
    let place = Place::bare();
    run(&mut place.command(CHEAP_INIT), "caf\u{e9}\n".as_bytes()).done();
    run(
        &mut place.command(&["mount", "v", "m"]),
        "cafe\u{301}\n".as_bytes(),
    )
    .done();
    place.run(&["unmount", "m"]).done();
}
