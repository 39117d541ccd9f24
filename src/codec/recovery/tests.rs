#![allow(clippy::unwrap_used, reason = "a failed test may panic")]

use proptest::prelude::*;

use super::*;

fn code(seed: u8) -> RecoveryCode {
    let mut bytes = [0; 32];
    for (at, byte) in (0u8..).zip(&mut bytes) {
        *byte = at.wrapping_mul(37) ^ seed;
    }
    RecoveryCode::from_bytes(bytes)
}

fn whole_code(text: &str) -> RecoveryCode {
    match Typed::parse(text).unwrap() {
        Typed::Code(code) => code,
        Typed::Share(_) | Typed::Incomplete { .. } => panic!("no code: {text}"),
    }
}

fn whole_share(text: &str) -> Share {
    match Typed::parse(text).unwrap() {
        Typed::Share(share) => share,
        Typed::Code(_) | Typed::Incomplete { .. } => panic!("no share: {text}"),
    }
}

fn refused(text: &str) -> RecoveryTextError {
    match Typed::parse(text) {
        Err(error) => error,
        Ok(_) => panic!("accepted: {text}"),
    }
}

fn plan(threshold: u8, shares: u8) -> SplitPlan {
    SplitPlan::new(threshold, shares).unwrap()
}

#[test]
fn a_code_is_fourteen_groups_and_reads_back() {
    let text = code(0x5a).to_text();
    assert_eq!(text.len(), 14 * 6 - 1);
    assert!(text.split('-').all(|group| group.len() == 5), "{}", *text);
    assert_eq!(whole_code(&text).0.bytes(), code(0x5a).0.bytes());
    assert!(text.starts_with(['0', '1']));
}

#[test]
fn case_separators_and_lookalikes_do_not_matter() {
    let text = code(3).to_text();
    let bytes = code(3);
    let bare = text.replace('-', "");
    let rows = format!("  {}\n{}\n", &text[..42], &text[42..]);
    let lookalikes = text.to_lowercase().replace('0', "o").replace('1', "l");
    for same in [bare.as_str(), &rows, &lookalikes, &bare.replace('1', "I")] {
        assert_eq!(whole_code(same).0.bytes(), bytes.0.bytes(), "{same}");
    }
}

#[test]
fn what_is_not_whole_yet_says_how_much_is_missing() {
    let text = code(9).to_text();
    for len in 0..text.len() {
        match Typed::parse(&text[..len]).unwrap() {
            Typed::Incomplete { missing } => {
                let whole = (len + 1) / 6;
                let expected = (whole > 0).then_some(14 - whole);
                assert_eq!(missing, expected, "{len} characters");
            }
            Typed::Code(_) | Typed::Share(_) => panic!("whole after {len} characters"),
        }
    }
}

#[test]
fn every_wrong_letter_is_found_where_it_is() {
    let text = code(0x77).to_text();
    for (at, right) in text.char_indices().filter(|(_, letter)| *letter != '-') {
        for wrong in "0123456789ABCDEFGHJKMNPQRSTVWXYZ".chars() {
            let mut bent = text.to_string();
            bent.replace_range(at..=at, &wrong.to_string());
            if wrong == right {
                assert!(matches!(Typed::parse(&bent), Ok(Typed::Code(_))));
                continue;
            }
            let group = at / 6 + 1;
            match refused(&bent) {
                RecoveryTextError::Letters(LettersError::BadGroup { group: found }) => {
                    assert_eq!(found, group, "{bent}");
                }
                other @ (RecoveryTextError::Letters(_)
                | RecoveryTextError::UnknownKind(_)
                | RecoveryTextError::BadShare) => {
                    panic!("{bent}: {other}")
                }
            }
        }
    }
}

#[test]
fn exchanged_letters_and_groups_are_found() {
    let text = code(0x21).to_text();
    let groups: Vec<&str> = text.split('-').collect();
    for a in 0..groups.len() {
        for b in a + 1..groups.len() {
            let mut bent = groups.clone();
            bent.swap(a, b);
            if bent == groups {
                continue;
            }
            assert!(Typed::parse(&bent.join("-")).is_err(), "groups {a} and {b}");
        }
        for (one, other) in [(0, 1), (1, 2), (2, 3), (3, 4), (0, 4)] {
            let mut letters: Vec<char> = groups[a].chars().collect();
            letters.swap(one, other);
            let bent: String = letters.iter().collect();
            if bent == groups[a] {
                continue;
            }
            let mut all: Vec<&str> = groups.clone();
            all[a] = &bent;
            assert!(Typed::parse(&all.join("-")).is_err(), "group {a}: {bent}");
        }
    }
}

#[test]
fn a_forgotten_or_foreign_letter_is_found_where_it_is() {
    let text = code(0x42).to_text();
    let mut groups: Vec<String> = text.split('-').map(str::to_owned).collect();
    groups[4].pop();
    assert_eq!(
        refused(&groups.join(" ")),
        LettersError::GroupLength {
            group: 5,
            letters: 4
        }
        .into()
    );
    let bent = text.replacen(&text[12..13], "U", 1);
    assert!(matches!(
        refused(&bent),
        RecoveryTextError::Letters(LettersError::BadLetter { letter: 'U', .. })
    ));
    assert_eq!(
        refused(&format!("{}-00000", *text)),
        LettersError::TooLong { groups: 14 }.into()
    );
    let mut bits = BitWriter::new();
    bits.push_bytes(&[0xf0; 5]);
    let newer = letters::encode(&bits.finish());
    assert_eq!(refused(&newer), RecoveryTextError::UnknownKind(15));
}

#[test]
fn right_groups_of_two_codes_do_not_pass_for_one() {
    let (a, b) = (code(1).to_text(), code(2).to_text());
    let mixed = format!("{}{}", &a[..6], &b[6..]);
    assert_eq!(refused(&mixed), LettersError::BadSum.into());
}

#[test]
fn any_threshold_of_the_shares_makes_the_code() {
    let shares = code(0xee).split(plan(3, 5)).unwrap();
    assert_eq!(shares.len(), 5);
    let texts: Vec<_> = shares.iter().map(Share::to_text).collect();
    assert!(texts.iter().all(|text| text.len() == 16 * 6 - 1));
    for picked in [[0, 1, 2], [4, 2, 0], [1, 3, 4]] {
        let given: Vec<Share> = picked.map(|at| whole_share(&texts[at])).into();
        let made = Share::combine(&given).unwrap();
        assert_eq!(made.0.bytes(), code(0xee).0.bytes());
    }
    let numbers: Vec<u8> = shares.iter().map(Share::number).collect();
    assert_eq!(numbers, [1, 2, 3, 4, 5]);
    assert!(shares.iter().all(|share| share.threshold() == 3));
}

#[test]
fn every_size_of_a_set_works() {
    for (threshold, count) in [(2, 2), (2, 255), (255, 255), (16, 20)] {
        let shares = code(7).split(plan(threshold, count)).unwrap();
        let last = &shares[usize::from(count - threshold)..];
        let made = Share::combine(last).unwrap();
        assert_eq!(made.0.bytes(), code(7).0.bytes());
    }
}

#[test]
fn fewer_shares_make_nothing_and_strange_ones_are_refused() {
    let shares = code(1).split(plan(3, 4)).unwrap();
    let other = code(1).split(plan(3, 4)).unwrap();
    let again = |share: &Share| whole_share(&share.to_text());
    let fails = |shares: &[Share]| Share::combine(shares).err();
    assert_eq!(
        fails(&[]),
        Some(CombineError::TooFew {
            given: 0,
            threshold: 2
        })
    );
    // The same one twice counts once.
    assert_eq!(
        fails(&[again(&shares[0]), again(&shares[0]), again(&shares[1])]),
        Some(CombineError::TooFew {
            given: 2,
            threshold: 3
        })
    );
    // Two sets meet by chance once in 65 536 times.
    if shares[0].set != other[0].set {
        assert_eq!(
            fails(&[again(&shares[0]), again(&other[1]), again(&shares[2])]),
            Some(CombineError::OtherSet)
        );
    }
    let mut twin = again(&shares[1]);
    twin.number = 1;
    assert_eq!(
        fails(&[again(&shares[0]), twin, again(&shares[2])]),
        Some(CombineError::SameNumber(1))
    );
}

#[test]
fn two_splits_of_one_code_share_no_part() {
    let (a, b) = (
        code(4).split(plan(2, 3)).unwrap(),
        code(4).split(plan(2, 3)).unwrap(),
    );
    for (one, other) in a.iter().zip(&b) {
        assert_ne!(one.part.bytes(), other.part.bytes());
        assert_ne!(one.part.bytes(), code(4).0.bytes());
    }
}

#[test]
fn plans_that_protect_nothing_or_never_open_are_refused() {
    assert_eq!(SplitPlan::new(1, 3), Err(SplitPlanError::ThresholdTooLow));
    assert_eq!(SplitPlan::new(0, 0), Err(SplitPlanError::ThresholdTooLow));
    assert_eq!(
        SplitPlan::new(4, 3),
        Err(SplitPlanError::TooFewShares {
            shares: 3,
            threshold: 4
        })
    );
}

#[test]
fn a_share_with_impossible_fields_is_none() {
    let forge = |threshold: u8, number: u8, tail: u8| {
        let mut bits = BitWriter::new();
        bits.push(KIND_SHARE, 4);
        bits.push_bytes(&[threshold, number, 0, 0]);
        bits.push_bytes(&[9; 32]);
        bits.push_bytes(&[tail]);
        letters::encode(&bits.finish())
    };
    whole_share(&forge(2, 1, 0));
    for (threshold, number, tail) in [(1, 1, 0), (0, 1, 0), (2, 0, 0), (2, 1, 1)] {
        let text = forge(threshold, number, tail);
        assert_eq!(refused(&text), RecoveryTextError::BadShare);
    }
}

proptest! {
    #[test]
    fn any_text_is_read_or_refused(text in "\\PC*", digits in "[0-9A-Z -]{0,100}") {
        let _ = Typed::parse(&text);
        let _ = Typed::parse(&digits);
    }

    #[test]
    fn every_code_reads_back(bytes: [u8; 32]) {
        let text = RecoveryCode::from_bytes(bytes).to_text();
        let read = whole_code(&text);
        prop_assert_eq!(read.0.bytes(), &bytes);
    }
}
