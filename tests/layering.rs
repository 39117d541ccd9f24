//! The rules of docs/ARCHITECTURE.md that the compiler cannot check: a table
//! and a loop over the sources.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::fs;
use std::path::{Path, PathBuf};

/// Each room and its floor. A room may use those on lower floors and itself.
const FLOORS: &[(&str, u8)] = &[
    ("types", 0),
    ("name", 0),
    ("tasks", 0),
    ("codec", 1),
    ("sys", 1),
    ("store", 2),
    ("vault", 3),
    ("view", 4),
    ("check", 4),
    ("tools", 4),
    ("fuse", 5),
    ("mount", 6),
    ("cli", 7),
    ("lib", 8),
    ("main", 8),
];

/// A word that may stand only in some places, and why. Places are prefixes of
/// paths below `src`.
struct Confined {
    word: &'static str,
    to: &'static [&'static str],
    why: &'static str,
}

const CONFINED: &[Confined] = &[
    Confined {
        word: "rustix::",
        to: &["sys"],
        why: "only sys makes system calls",
    },
    Confined {
        word: "unsafe ",
        to: &["sys"],
        why: "only sys has unsafe code",
    },
    Confined {
        word: "fuser::",
        to: &["fuse.rs", "fuse/"],
        why: "only fuse sees fuser",
    },
    Confined {
        word: "getrandom::",
        to: &["codec/random.rs"],
        why: "randomness has one entrance",
    },
    Confined {
        word: "anyhow::",
        to: &["cli", "main.rs"],
        why: "lower floors have typed errors",
    },
    Confined {
        word: "Errno::E",
        to: &["fuse/errno.rs", "fuse/seek.rs", "sys"],
        why: "one errno table",
    },
    Confined {
        word: "ExitCode::",
        to: &["cli", "main.rs"],
        why: "exit codes are the command line's",
    },
];

/// What the pure core must not name.
const NOT_IN_CODEC: &[&str] = &[
    "std::fs",
    "std::net",
    "std::process",
    "std::time",
    "std::thread",
    "tracing::",
    "println!",
];

/// Longest source file, in lines.
const MOST_LINES: usize = 600;

struct Source {
    /// Below `src`, with slashes.
    path: String,
    room: String,
    /// Lines before the test module, without comments; numbers from 1.
    code: Vec<(usize, String)>,
    lines: usize,
}

fn sources() -> Vec<Source> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
    let mut files = Vec::new();
    collect(&root, &mut files);
    assert!(files.len() >= 10, "the sources were not found");
    files.iter().map(|file| read(&root, file)).collect()
}

fn collect(dir: &Path, files: &mut Vec<PathBuf>) {
    for entry in fs::read_dir(dir).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            collect(&path, files);
        } else if path.extension().is_some_and(|e| e == "rs") {
            files.push(path);
        }
    }
}

fn read(root: &Path, file: &Path) -> Source {
    let text = fs::read_to_string(file).unwrap();
    let path = file
        .strip_prefix(root)
        .unwrap()
        .to_str()
        .unwrap()
        .to_owned();
    let room = path.split(['/', '.']).next().unwrap().to_owned();
    // Modules of tests alone are called tests.rs.
    let only_tests = path.ends_with("/tests.rs");
    let code = text
        .lines()
        .take_while(|_| !only_tests)
        .take_while(|line| line.trim() != "#[cfg(test)]")
        .enumerate()
        .map(|(i, line)| {
            (
                i + 1,
                line.split("//").next().unwrap_or_default().to_owned(),
            )
        })
        .collect();
    Source {
        path,
        room,
        code,
        lines: text.lines().count(),
    }
}

fn floor(room: &str) -> u8 {
    let known = FLOORS.iter().find(|(name, _)| *name == room);
    known
        .unwrap_or_else(|| panic!("room {room} has no floor: add it to the table"))
        .1
}

/// The rooms that a line names by `crate::room` or `crate::{room, room::x}`.
fn rooms_named(line: &str) -> Vec<String> {
    let mut rooms = Vec::new();
    for rest in line.split("crate::").skip(1) {
        let listed = rest
            .strip_prefix('{')
            .map_or_else(|| vec![rest], |l| l.split(',').collect());
        for item in listed {
            let word: String = item
                .trim()
                .chars()
                .take_while(|c| c.is_alphanumeric() || *c == '_')
                .collect();
            if FLOORS.iter().any(|(name, _)| *name == word) {
                rooms.push(word);
            }
        }
    }
    rooms
}

fn report(breaches: &[String]) {
    assert!(breaches.is_empty(), "\n{}\n", breaches.join("\n"));
}

#[test]
fn imports_go_downward_only() {
    let mut breaches = Vec::new();
    for source in sources() {
        let own = floor(&source.room);
        for (number, line) in &source.code {
            for room in rooms_named(line) {
                if room != source.room && floor(&room) >= own && own > 0 {
                    breaches.push(format!(
                        "src/{}:{number}: {} (floor {own}) uses {room} (floor {})",
                        source.path,
                        source.room,
                        floor(&room),
                    ));
                }
                if own == 0 && floor(&room) > 0 {
                    breaches.push(format!("src/{}:{number}: floor 0 uses {room}", source.path));
                }
            }
        }
    }
    report(&breaches);
}

#[test]
fn what_is_confined_stays_where_it_belongs() {
    let mut breaches = Vec::new();
    for source in sources() {
        for (number, line) in &source.code {
            for confined in CONFINED {
                let at_home = confined
                    .to
                    .iter()
                    .any(|place| source.path.starts_with(place));
                if !at_home && line.contains(confined.word) {
                    let (word, why) = (confined.word.trim(), confined.why);
                    breaches.push(format!("src/{}:{number}: {word}: {why}", source.path));
                }
            }
        }
    }
    report(&breaches);
}

/// libc's constants may be named anywhere; its functions only in sys.
#[test]
fn only_sys_calls_libc() {
    let mut breaches = Vec::new();
    for source in sources().iter().filter(|s| s.room != "sys") {
        for (number, line) in &source.code {
            for rest in line.split("libc::").skip(1) {
                let word = rest.find(|c: char| !c.is_alphanumeric() && c != '_');
                let (name, after) = rest.split_at(word.unwrap_or(rest.len()));
                if name.starts_with(char::is_lowercase) && after.starts_with('(') {
                    breaches.push(format!("src/{}:{number}: libc::{name}", source.path));
                }
            }
        }
    }
    report(&breaches);
}

#[test]
fn the_core_has_no_io_clock_or_log() {
    let mut breaches = Vec::new();
    for source in sources().iter().filter(|s| s.room == "codec") {
        for (number, line) in &source.code {
            for word in NOT_IN_CODEC {
                if line.contains(word) {
                    breaches.push(format!("src/{}:{number}: {word}", source.path));
                }
            }
        }
    }
    report(&breaches);
}

#[test]
fn no_file_is_longer_than_the_limit() {
    let too_long: Vec<String> = sources()
        .iter()
        .filter(|source| source.lines > MOST_LINES)
        .map(|source| format!("src/{}: {} lines", source.path, source.lines))
        .collect();
    report(&too_long);
}

/// The loop above is only worth something if it sees what it looks for.
#[test]
fn the_reader_of_imports_sees_them() {
    assert_eq!(rooms_named("use crate::view::View;"), ["view"]);
    assert_eq!(rooms_named("use crate::{codec::x, sys};"), ["codec", "sys"]);
    assert_eq!(
        rooms_named("    crate::mount::daemon::run(crate::cli::plan())"),
        ["mount", "cli"]
    );
    assert!(rooms_named("use other_crate::viewer;").is_empty());
}

#[test]
fn every_bullet_of_semantics_names_a_test_that_exists() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let text = fs::read_to_string(root.join("docs/SEMANTICS.md")).unwrap();
    let mut tests = String::new();
    for script in ["scripts/test", "tests/programs/run"] {
        tests.push_str(&fs::read_to_string(root.join(script)).unwrap());
    }
    let mut all = Vec::new();
    collect(&root.join("src"), &mut all);
    collect(&root.join("tests"), &mut all);
    for file in &all {
        tests.push_str(&fs::read_to_string(file).unwrap());
    }
    let mut breaches = Vec::new();
    assert!(
        text.matches("\n* ").count() >= 30,
        "the bullets were not found"
    );
    for bullet in text.split("\n* ").skip(1) {
        let bullet = bullet.split("\n\n").next().unwrap_or_default();
        let named: Vec<&str> = bullet
            .split("[test: ")
            .skip(1)
            .filter_map(|rest| rest.split(']').next())
            .flat_map(|list| list.split(", "))
            .collect();
        let start: String = bullet.chars().take(60).collect();
        if named.is_empty() {
            breaches.push(format!("no test named: {start}"));
        }
        for name in named {
            let name = name.trim();
            let forms = [
                format!("fn {name}("),
                format!("step {name} "),
                format!(
                    "
{name}() {{"
                ),
            ];
            if !forms.iter().any(|form| tests.contains(form)) {
                breaches.push(format!("no such test: {name}: {start}"));
            }
        }
    }
    report(&breaches);
}
