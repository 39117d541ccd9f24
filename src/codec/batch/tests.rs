#![allow(clippy::unwrap_used, reason = "a failed test may panic")]
use proptest::prelude::*;

use super::run::wide;
use super::*;
use crate::codec::testing::{bit_flips, file_keys, tree};
use crate::types::{FileId, PlainLen};

const G: Geometry = Geometry::DEFAULT;
const C: usize = 4096;
const S: usize = C + 40;
const FIRST: ChunkNo = ChunkNo::new(0);
const BOTH: [Workers; 2] = [Workers::One, Workers::Rayon];

fn text(len: usize) -> Vec<u8> {
    (0u8..=250).cycle().take(len).collect()
}

fn seal(first: u64, plain: &[u8], tail: Tail, workers: Workers) -> (Vec<u8>, SealSum) {
    let mut out = SlotBuf::default();
    let keys = file_keys();
    let sum = seal_slots(
        &keys,
        G,
        ChunkNo::new(first),
        plain,
        tail,
        workers,
        &mut out,
    );
    (out.sealed().bytes().to_vec(), sum.unwrap())
}

fn open(first: u64, cipher: &[u8], tail: Tail, holes: Holes) -> Result<Vec<u8>, ChunkDamage> {
    let last = match tail {
        Tail::Inside => 0,
        Tail::Last => (cipher.len() % S).saturating_sub(40),
    };
    let mut results = BOTH.map(|workers| {
        let mut out = vec![0xee; cipher.len() / S * C + last];
        let keys = file_keys();
        let first = ChunkNo::new(first);
        open_slots(&keys, G, first, cipher, tail, holes, workers, &mut out)
            .map(|()| out.clone())
            .map_err(|damage| (damage, out))
    });
    results.sort_by_key(|result| result.is_ok());
    let [a, b] = results;
    assert_eq!(a, b, "one thread and several differ");
    a.map_err(|(damage, out)| {
        let at = usize::try_from(damage.chunk.get() - first).unwrap() * C;
        let unverified = out.get(at..).unwrap_or_default();
        assert!(
            unverified.iter().all(|&byte| byte == 0),
            "unverified bytes are left"
        );
        damage
    })
}

fn damage(chunk: u64, kind: DamageKind) -> ChunkDamage {
    let chunk = ChunkNo::new(chunk);
    ChunkDamage { chunk, kind }
}

#[test]
fn slots_have_the_lengths_of_the_geometry() {
    for len in [0, 1, C - 1, C, C + 1, 3 * C, 3 * C + 7] {
        for workers in BOTH {
            let (cipher, _) = seal(0, &text(len), Tail::Last, workers);
            let whole = G.cipher_len(PlainLen::new(wide(len))).unwrap();
            assert_eq!(wide(cipher.len()), whole.get() - 128, "{len}");
            assert_eq!(
                open(0, &cipher, Tail::Last, Holes::Refused).unwrap(),
                text(len)
            );
        }
    }
    let (cipher, _) = seal(0, &text(2 * C), Tail::Inside, Workers::One);
    assert_eq!(cipher.len(), 2 * S);
    let (none, sum) = seal(0, &[], Tail::Inside, Workers::One);
    assert_eq!((none.len(), sum), (0, SealSum::ZERO));
}

#[test]
fn a_run_inside_a_file_takes_whole_chunks_only() {
    let mut out = SlotBuf::default();
    let keys = file_keys();
    seal_slots(&keys, G, FIRST, b"x", Tail::Last, Workers::One, &mut out).unwrap();
    assert!(!out.is_empty());
    let refused = seal_slots(
        &keys,
        G,
        FIRST,
        &[0; C + 1],
        Tail::Inside,
        Workers::One,
        &mut out,
    );
    assert!(matches!(refused, Err(SealError::PartialChunk { len }) if len == C + 1));
    assert!(out.is_empty(), "slots of an earlier run are left");
    let last = ChunkNo::new(u64::MAX);
    let refused = seal_slots(&keys, G, last, &[0; C], Tail::Last, Workers::One, &mut out);
    assert!(matches!(refused, Err(SealError::TooManyChunks)));
    let measured = open(u64::MAX, &[1; S + 40], Tail::Last, Holes::Refused);
    assert_eq!(measured.unwrap_err().kind, DamageKind::WrongLength);
}

#[test]
fn a_buffer_keeps_its_memory_and_forgets_longer_runs() {
    let keys = file_keys();
    let mut out = SlotBuf::default();
    seal_slots(
        &keys,
        G,
        FIRST,
        &text(5 * C),
        Tail::Inside,
        Workers::One,
        &mut out,
    )
    .unwrap();
    let kept = out.sealed().bytes().as_ptr();
    seal_slots(
        &keys,
        G,
        FIRST,
        b"short",
        Tail::Last,
        Workers::One,
        &mut out,
    )
    .unwrap();
    assert_eq!(out.sealed().bytes().as_ptr(), kept);
    assert_eq!(out.len(), 45);
    assert_eq!(
        open(0, out.sealed().bytes(), Tail::Last, Holes::Refused).unwrap(),
        b"short"
    );
}

#[test]
fn every_flipped_bit_of_a_slot_is_refused() {
    let (cipher, _) = seal(3, b"a short last chunk", Tail::Last, Workers::One);
    for flipped in bit_flips(&cipher) {
        let refused = open(3, &flipped, Tail::Last, Holes::Allowed);
        assert_eq!(refused, Err(damage(3, DamageKind::NotAuthentic)));
    }
}

#[test]
fn the_lowest_failing_chunk_is_named_and_those_before_it_are_served() {
    let plain = text(40 * C);
    let (mut cipher, _) = seal(100, &plain, Tail::Inside, Workers::Rayon);
    for chunk in [31, 17, 25] {
        cipher[chunk * S + 500] ^= 0x10;
    }
    for workers in BOTH {
        let mut out = vec![0xee; plain.len()];
        let first = ChunkNo::new(100);
        let keys = file_keys();
        let holes = Holes::Refused;
        let tail = Tail::Inside;
        let refused = open_slots(&keys, G, first, &cipher, tail, holes, workers, &mut out);
        assert_eq!(refused, Err(damage(117, DamageKind::NotAuthentic)));
        assert_eq!(out[..17 * C], plain[..17 * C]);
        assert!(out[17 * C..].iter().all(|&byte| byte == 0));
    }
}

#[test]
fn a_slot_opens_only_in_its_place_of_its_file() {
    let (cipher, _) = seal(0, &text(2 * C), Tail::Inside, Workers::One);
    let (a, b) = cipher.split_at(S);
    let swapped = [b, a].concat();
    let not_authentic = Err(damage(0, DamageKind::NotAuthentic));
    assert_eq!(
        open(0, &swapped, Tail::Inside, Holes::Refused),
        not_authentic
    );
    let elsewhere = open(1, &cipher, Tail::Inside, Holes::Refused);
    assert_eq!(elsewhere, Err(damage(1, DamageKind::NotAuthentic)));
    let other = tree().file_keys(FileId::new([1; 16]));
    let mut out = vec![0; 2 * C];
    let (tail, holes) = (Tail::Inside, Holes::Refused);
    let refused = open_slots(
        &other,
        G,
        FIRST,
        &cipher,
        tail,
        holes,
        Workers::One,
        &mut out,
    );
    assert_eq!(refused, not_authentic.map(|_| ()));
}

#[test]
fn zeros_are_a_hole_only_where_holes_are_allowed_and_never_as_last_slot() {
    let (mut cipher, _) = seal(0, &text(3 * C), Tail::Last, Workers::One);
    cipher[S..2 * S].fill(0);
    let refused = open(0, &cipher, Tail::Last, Holes::Refused);
    assert_eq!(refused, Err(damage(1, DamageKind::UnexpectedHole)));
    let read = open(0, &cipher, Tail::Last, Holes::Allowed).unwrap();
    assert!(read[C..2 * C].iter().all(|&byte| byte == 0));
    assert_eq!(read[..C], text(3 * C)[..C]);
    assert_eq!(read[2 * C..], text(3 * C)[2 * C..]);
    cipher[3 * S..].fill(0);
    let refused = open(0, &cipher, Tail::Last, Holes::Allowed);
    assert_eq!(refused, Err(damage(3, DamageKind::NotAuthentic)));
    // One byte that is not zero, at either end, and it is no hole.
    for at in [0, S - 1] {
        let mut slot = vec![0; S];
        slot[at] = 1;
        let refused = open(0, &slot, Tail::Inside, Holes::Allowed);
        assert_eq!(refused, Err(damage(0, DamageKind::NotAuthentic)));
    }
}

#[test]
fn wrong_lengths_are_named_and_leave_nothing() {
    let (cipher, _) = seal(0, &text(2 * C + 10), Tail::Last, Workers::One);
    let cut = open(0, &cipher[..2 * S + 39], Tail::Last, Holes::Refused);
    assert_eq!(cut, Err(damage(2, DamageKind::WrongLength)));
    let cut = open(0, &cipher[..2 * S], Tail::Last, Holes::Refused);
    assert_eq!(cut, Err(damage(2, DamageKind::WrongLength)));
    let long = open(0, &cipher, Tail::Inside, Holes::Refused);
    assert_eq!(long, Err(damage(2, DamageKind::WrongLength)));
    let terms = slot_terms(&file_keys(), G, FIRST, &cipher[..5], Tail::Last);
    assert_eq!(terms, Err(damage(0, DamageKind::WrongLength)));
    let mut out = vec![0xee; 2 * C + 9];
    let (tail, holes) = (Tail::Last, Holes::Refused);
    let keys = file_keys();
    let refused = open_slots(
        &keys,
        G,
        FIRST,
        &cipher,
        tail,
        holes,
        Workers::One,
        &mut out,
    );
    assert_eq!(refused, Err(damage(0, DamageKind::WrongLength)));
    assert!(out.iter().all(|&byte| byte == 0));
}

#[test]
fn the_seal_is_the_sum_of_terms_and_leaves_holes_out() {
    let (mut cipher, sum) = seal(5, &text(4 * C + 1), Tail::Last, Workers::One);
    let keys = file_keys();
    let mut by_hand = SealSum::ZERO;
    for (index, slot) in (5u64..).zip(cipher.chunks(S)) {
        let mut mac = keys.seal_mac();
        mac.update(&[&index.to_le_bytes()[..], &slot[slot.len() - 16..]].concat());
        by_hand ^= SealSum(mac.finalize().into_bytes().into());
    }
    assert_eq!(sum, by_hand);
    let first = ChunkNo::new(5);
    let terms = slot_terms(&keys, G, first, &cipher, Tail::Last).unwrap();
    let whole = SlotTerms {
        seal: sum,
        holes: 0,
    };
    assert_eq!(terms, whole);
    let hole = &mut cipher[S..2 * S];
    let (_, tag) = hole.split_last_chunk().unwrap();
    let gone = term(&mut keys.seal_mac(), ChunkNo::new(6), tag);
    hole.fill(0);
    let terms = slot_terms(&keys, G, first, &cipher, Tail::Last).unwrap();
    let with_hole = SlotTerms {
        seal: sum.combine(gone),
        holes: 1,
    };
    assert_eq!(terms, with_hole);
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(48))]

    /// Written in runs cut at random chunks, read in runs cut elsewhere.
    #[test]
    fn runs_may_be_cut_anywhere(
        len in 0usize..20 * C,
        cuts in proptest::collection::vec(0usize..20, 0..4),
        read_cuts in proptest::collection::vec(0usize..20, 0..4),
        threads: bool,
    ) {
        let plain = text(len);
        let workers = if threads { Workers::Rayon } else { Workers::One };
        let runs = |mut cuts: Vec<usize>| {
            cuts.retain(|&cut| cut <= len / C);
            cuts.push(0);
            cuts.sort_unstable();
            cuts
        };
        let (mut cipher, mut sum) = (Vec::new(), SealSum::ZERO);
        let starts = runs(cuts);
        for (nth, &start) in starts.iter().enumerate() {
            let (end, tail) = match starts.get(nth + 1) {
                Some(&next) => (next * C, Tail::Inside),
                None => (len, Tail::Last),
            };
            let run = seal(wide(start), &plain[start * C..end], tail, workers);
            cipher.extend_from_slice(&run.0);
            sum ^= run.1;
        }
        let terms = slot_terms(&file_keys(), G, FIRST, &cipher, Tail::Last).unwrap();
        prop_assert_eq!(terms, SlotTerms { seal: sum, holes: 0 });
        let (mut read, starts) = (Vec::new(), runs(read_cuts));
        for (nth, &start) in starts.iter().enumerate() {
            let (end, tail) = match starts.get(nth + 1) {
                Some(&next) => (next * S, Tail::Inside),
                None => (cipher.len(), Tail::Last),
            };
            let part = &cipher[start * S..end];
            read.extend(open(wide(start), part, tail, Holes::Refused).unwrap());
        }
        prop_assert_eq!(read, plain);
    }

    #[test]
    fn a_flipped_bit_anywhere_names_its_chunk(len in 0usize..9 * C, at: prop::sample::Index, bit in 0u8..8) {
        let (mut cipher, _) = seal(0, &text(len), Tail::Last, Workers::One);
        let at = at.index(cipher.len());
        cipher[at] ^= 1 << bit;
        let refused = open(0, &cipher, Tail::Last, Holes::Allowed);
        prop_assert_eq!(refused, Err(damage(wide(at / S), DamageKind::NotAuthentic)));
    }
}
