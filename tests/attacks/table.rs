//! docs/SECURITY-MODEL.md names every test of this directory, and no other.

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;

/// The columns of a row behind the attack: one of them says when.
const ANSWERS: usize = 4;

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

/// Names of the functions that are tests.
fn tests() -> BTreeSet<String> {
    let mut found = BTreeSet::new();
    for entry in fs::read_dir(root().join("tests/attacks")).unwrap() {
        let path = entry.unwrap().path();
        if path.ends_with("table.rs") {
            continue;
        }
        let text = fs::read_to_string(&path).unwrap();
        for test in text.split("#[test]\nfn ").skip(1) {
            let name = test.split('(').next().unwrap();
            assert!(found.insert(name.to_owned()), "two tests {name}");
        }
    }
    found
}

/// Rows of the table of attacks: cells of each.
fn rows() -> Vec<Vec<String>> {
    let text = fs::read_to_string(root().join("docs/SECURITY-MODEL.md")).unwrap();
    let table = text.split("<!-- attacks: begin -->").nth(1).unwrap();
    let table = table.split("<!-- attacks: end -->").next().unwrap();
    let rows = table.lines().filter(|line| line.ends_with("` |"));
    rows.map(|row| {
        let cells = row.trim_matches('|').split(" | ");
        cells.map(|cell| cell.trim().to_owned()).collect()
    })
    .collect()
}

#[test]
fn the_security_model_names_every_attack_and_no_other() {
    let named: Vec<String> = rows()
        .iter()
        .map(|cells| cells.last().unwrap().trim_matches('`').to_owned())
        .collect();
    let set: BTreeSet<String> = named.iter().cloned().collect();
    let unnamed: Vec<_> = tests().difference(&set).cloned().collect();
    assert_eq!(unnamed, Vec::<String>::new(), "not in the document");
    let gone: Vec<_> = set.difference(&tests()).cloned().collect();
    assert_eq!(gone, Vec::<String>::new(), "no such test");
    assert_eq!(named.len(), set.len(), "a test has two rows");
    assert!(set.len() >= 80, "the table was not found");
}

/// A test whose name says that something is not noticed stands in a row that
/// says so too.
#[test]
fn what_is_not_noticed_is_said_in_both_places() {
    for cells in rows() {
        assert_eq!(cells.len(), ANSWERS + 2, "{cells:?}");
        let name = cells.last().unwrap();
        let admitted = !cells[ANSWERS].is_empty();
        if name.contains("not_noticed") {
            assert!(admitted, "{name} is not listed as not noticed");
        }
        if name.contains("found_by_check") {
            assert!(!cells[3].is_empty() && !admitted, "{name}: {cells:?}");
        }
        let any = cells[1..=ANSWERS].iter().any(|cell| !cell.is_empty());
        assert!(any, "{name}: no answer");
    }
}
