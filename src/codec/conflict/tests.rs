#![allow(clippy::unwrap_used, reason = "a failed test may panic")]
use proptest::prelude::*;

use super::*;

fn name(bytes: &[u8]) -> PlainName {
    PlainName::new(bytes).unwrap()
}

/// The shown name of a copy of `of` whose entry is `E` and `suffix`.
fn shown(of: &[u8], suffix: &[u8]) -> Vec<u8> {
    let entry = RawName::new(&[b"E", suffix].concat());
    shown_name(&name(of), &entry, suffix).bytes().to_vec()
}

fn origin(suffix: &str) -> String {
    let origin = Origin::of(suffix.as_bytes());
    let client = origin.client.map_or("-", Client::name);
    format!("{client} {}", origin.when.as_deref().unwrap_or("-"))
}

#[test]
fn each_clients_suffix_is_known_by_its_whole_form() {
    let both = "2026-11-22 10:10";
    let day = "2026-11-22";
    for (client, when, suffixes) in [
        (
            "syncthing",
            both,
            &[
                ".sync-conflict-20261122-101042-ABCDEF7",
                ".sync-conflict-20261122-101042",
            ][..],
        ),
        (
            "nextcloud",
            both,
            &[
                " (conflicted copy 2026-11-22 101042)",
                " (conflicted copy ann 2026-11-22 101042)",
                " (case clash from 2026-11-22 101042)",
                "_conflict-20261122-101042",
                "_conflict_ann-20261122-101042",
            ],
        ),
        (
            "dropbox",
            day,
            &[
                " (conflicted copy 2026-11-22)",
                " (conflicted copy 2026-11-22 2)",
                " (laptop's conflicted copy 2026-11-22)",
                " (In Konflikt stehende Kopie von Laptop 2026-11-22)",
                " (Laptops in Konflikt stehende Kopie 2026-11-22)",
                " (Copie en conflit de portable 2026-11-22)",
                " (Copia conflictiva de casa 2026-11-22)",
            ],
        ),
        (
            "dropbox",
            "-",
            &[
                " (Case Conflict)",
                " (Case Conflict 1)",
                " (Selective Sync Conflict)",
                " (Unicode Encoding Conflict)",
            ],
        ),
        ("rclone", "-", &[".conflict1", ".path12", "..path1"]),
        ("onedrive", "-", &["-laptop-safeBackup-0001"]),
        ("google-drive", "-", &[" (1)"]),
        (
            "seafile",
            both,
            &[
                " (SFConflict ann@example.org 2026-11-22-10-10-42)",
                " (SFConflict 2026-11-22-10-10-42)",
                " (ann 2026-11-22-10-10-42)",
                " (2026-11-22-10-10-42)",
            ],
        ),
        ("seafile", "-", &[" (SFConflict ann)"]),
        (
            "pcloud",
            "-",
            &[
                " (conflicted)",
                " (conflicted 2)",
                "(conflicted)",
                " [conflicted]",
                ".conflicted",
            ],
        ),
        (
            "unison",
            day,
            &[
                " (conflict_on_2026-11-22)",
                " (conflict #2_on_2026-11-22)",
                " (conflict_on_2026-11-22_was_deleted)",
            ],
        ),
        ("resilio", "-", &[".Conflict", ".Conflict1"]),
        (
            "-",
            "-",
            &[
                "",
                ".conflict",
                ".conflict1x",
                ".sync-conflict-20261122-101042-abcdef7",
                ".sync-conflict-20261122-101042-ABCDEF7.conf",
                " (conflicted copy 2026-11-22 x)",
                " (conflicted copy 2026-1-22)",
                " (Case Conflict 1x)",
                " (2026-11-22-10-10)",
                ".html",
            ],
        ),
    ] {
        for suffix in suffixes {
            assert_eq!(origin(suffix), format!("{client} {when}"), "{suffix}");
        }
    }
}

#[test]
fn a_copy_is_shown_with_client_time_and_tag_before_the_extension() {
    let suffix = b".sync-conflict-20261122-101042-ABCDEF7";
    let entry = RawName::new(&[&b"E"[..], suffix].concat());
    let tag = String::from_utf8(CopyTag::of(&entry).0.to_vec()).unwrap();
    let wanted = format!("report [conflict syncthing 2026-11-22 10:10 {tag}].odt");
    assert_eq!(shown(b"report.odt", suffix), wanted.as_bytes());
    for (of, ext) in [
        ("a.tar.gz", ".gz"),
        (".bashrc", ""),
        ("dot.", ""),
        ("plain", ""),
    ] {
        let stem = of.strip_suffix(ext).unwrap();
        let shown = shown(of.as_bytes(), b"?");
        assert!(
            shown.starts_with(format!("{stem} [conflict ").as_bytes()),
            "{of}"
        );
        assert!(shown.ends_with(format!("]{ext}").as_bytes()), "{of}");
    }
}

#[test]
fn what_would_be_too_long_is_cut_in_the_stem_and_between_characters() {
    let long = "ä".repeat(124) + ".text";
    let copy = shown(long.as_bytes(), b" (1)");
    let copy = String::from_utf8(copy).unwrap();
    assert!(copy.len() == 255 || copy.len() == 254, "{}", copy.len());
    assert!(copy.ends_with("].text"));
    let ext = format!("s.{}", "x".repeat(240));
    let copy = String::from_utf8(shown(ext.as_bytes(), b" (1)")).unwrap();
    assert!(copy.starts_with("s [conflict ") && copy.ends_with(']'));
    let raw = [&[0xff; 250][..], b".c"].concat();
    assert_eq!(shown(&raw, b" (1)").len(), 255);
}

#[test]
fn two_long_names_cut_to_the_same_stem_have_different_tags() {
    let of = |end: &str| "n".repeat(250) + end;
    let copy =
        |of: &str, entry: &[u8]| shown_name(&name(of.as_bytes()), &RawName::new(entry), b" (1)");
    assert_ne!(copy(&of("a"), b"A (1)"), copy(&of("b"), b"B (1)"));
}

#[test]
fn only_names_of_a_copys_form_have_a_tag() {
    for (of, tags) in [
        ("report [conflict 1f3a9c02].odt", 1),
        ("report [conflict syncthing 2026-11-22 10:10 1f3a9c02]", 1),
        ("x [conflict 1f3a9c02].b [conflict 00000000]", 2),
        ("report.odt", 0),
        ("report [conflict ].odt", 0),
        ("report [conflict 1F3A9C02].odt", 0),
        ("report [conflict 1f3a9c0].odt", 0),
        ("[conflict 1f3a9c02]", 0),
    ] {
        assert_eq!(CopyTag::in_name(&name(of.as_bytes())).count(), tags, "{of}");
    }
}

proptest! {
    /// Every copy can be looked up by the name it is shown under.
    #[test]
    fn the_tag_of_the_entry_is_in_the_shown_name(
        of in proptest::collection::vec(any::<u8>(), 1..=255),
        entry in proptest::collection::vec(any::<u8>(), 0..=255),
        cut in 0usize..=255,
    ) {
        let Ok(of) = PlainName::new(&of) else {
            return Ok(());
        };
        let suffix = &entry[cut.min(entry.len())..];
        let entry = RawName::new(&entry);
        let shown = shown_name(&of, &entry, suffix);
        let tag = CopyTag::of(&entry);
        prop_assert!(CopyTag::in_name(&shown).any(|found| found == tag));
    }
}
