//! Bits as letters that a person can copy: Crockford's 32 digits, in groups of
//! four and a fifth that checks them.
//!
//! ```text
//! group g, counted from 0:   s0 s1 s2 s3 c
//! c = a s0 + a^2 s1 + a^3 s2 + a^4 s3 + a^5 g     in GF(2^5) = GF(2)[a] / (a^5 + a^2 + 1)
//! last group:                the first five bits of each of the first four bytes of
//!                            SHA-256("keepfs v1 letters" || all s before, a byte each)
//! ```
//! One wrong letter, two letters exchanged within a group and two groups
//! exchanged always show, and where; anything else shows but for one chance in
//! 2^20 and more.

use sha2::{Digest, Sha256};
use zeroize::Zeroizing;

/// Crockford's base 32: no `I`, `L`, `O` and `U`.
const DIGITS: &[u8; 32] = b"0123456789ABCDEFGHJKMNPQRSTVWXYZ";
/// Digits of a group that carry bits.
const GROUP: usize = 4;
/// With the digit that checks them.
const CHECKED_GROUP: usize = GROUP + 1;
const SUM_LABEL: &[u8] = b"keepfs v1 letters";
/// `a^5` is `a^2 + 1`.
const REDUCED: u8 = 0b0_0101;

/// What is wrong with a text. Groups are counted from 1, as people do.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum LettersError {
    /// A letter that is none of the 32.
    #[error("group {group} has a character that no code has: {letter:?}")]
    BadLetter {
        /// Where.
        group: usize,
        /// Which.
        letter: char,
    },
    /// A group that was typed apart and has not five letters.
    #[error("group {group} has {letters} letters instead of 5")]
    GroupLength {
        /// Where.
        group: usize,
        /// How many it has.
        letters: usize,
    },
    /// The letters of a group do not fit together.
    #[error("group {group} has a typing error")]
    BadGroup {
        /// Where.
        group: usize,
    },
    /// Each group is right, and all together are not.
    #[error("the groups do not belong together: one of them is wrong, or of another code")]
    BadSum,
    /// More than a whole code.
    #[error("there is more than the {groups} groups of a whole code")]
    TooLong {
        /// Groups of a whole one.
        groups: usize,
    },
}

/// A text, read.
pub(super) enum Decoded {
    /// All of it, checked.
    Whole(BitReader),
    /// Right as far as it goes.
    Incomplete {
        /// Groups to come, the one that is begun included.
        missing: usize,
    },
}

/// Digits with the bits of a code, five in each. Wiped on drop.
type Symbols = Zeroizing<Vec<u8>>;

/// The text of whole groups of digits.
pub(super) fn encode(symbols: &Symbols) -> Zeroizing<String> {
    let mut all = Zeroizing::new(Vec::with_capacity(symbols.len() + GROUP));
    all.extend_from_slice(symbols);
    all.extend_from_slice(&sum(symbols));
    let (groups, _) = all.as_chunks::<GROUP>();
    let mut text = Zeroizing::new(String::with_capacity(groups.len() * (CHECKED_GROUP + 1)));
    for (number, group) in groups.iter().enumerate() {
        if number > 0 {
            text.push('-');
        }
        for &symbol in group.iter().chain([&check(number, group)]) {
            text.push(char::from(DIGITS[usize::from(symbol)]));
        }
    }
    text
}

/// A text whose letters are all known, and whose pieces have good lengths.
pub(super) struct Letters(Symbols);

/// Reads every letter of a text.
pub(super) fn read(text: &str) -> Result<Letters, LettersError> {
    symbols(text).map(Letters)
}

impl Letters {
    /// The first four bits, which say what the rest is; `None` before the
    /// first group is whole, since until then nothing checks them.
    pub(super) fn first_bits(&self) -> Result<Option<u8>, LettersError> {
        let Some([group @ .., checks]) = self.0.first_chunk::<CHECKED_GROUP>() else {
            return Ok(None);
        };
        if check(0, group) != *checks {
            return Err(LettersError::BadGroup { group: 1 });
        }
        Ok(Some(group[0] >> 1))
    }
}

/// Reads the text of `len` digits that carry bits.
pub(super) fn decode(typed: &Letters, len: usize) -> Result<Decoded, LettersError> {
    let groups = len / GROUP + 1;
    if typed.0.len() > groups * CHECKED_GROUP {
        return Err(LettersError::TooLong { groups });
    }
    let (whole, _begun) = typed.0.as_chunks::<CHECKED_GROUP>();
    let mut symbols = Zeroizing::new(Vec::with_capacity(len + GROUP));
    for (number, [group @ .., checks]) in whole.iter().enumerate() {
        if check(number, group) != *checks {
            return Err(LettersError::BadGroup { group: number + 1 });
        }
        symbols.extend_from_slice(group);
    }
    if whole.len() < groups {
        let missing = groups - whole.len();
        return Ok(Decoded::Incomplete { missing });
    }
    let stated = symbols.split_off(len);
    if stated != sum(&symbols) {
        return Err(LettersError::BadSum);
    }
    Ok(Decoded::Whole(BitReader { symbols, at: 0 }))
}

/// Every digit of a text as its value. A group that was typed apart must be
/// whole, unless it is the last and may still be growing.
fn symbols(text: &str) -> Result<Symbols, LettersError> {
    let mut symbols = Zeroizing::new(Vec::with_capacity(text.len()));
    let mut pieces = text
        .split(separates)
        .filter(|piece| !piece.is_empty())
        .peekable();
    while let Some(piece) = pieces.next() {
        let group = symbols.len() / CHECKED_GROUP + 1;
        let letters = piece.chars().count();
        let is_one_group = letters < 2 * CHECKED_GROUP;
        if is_one_group && letters != CHECKED_GROUP && pieces.peek().is_some() {
            return Err(LettersError::GroupLength { group, letters });
        }
        for letter in piece.chars() {
            let at = symbols.len() / CHECKED_GROUP;
            symbols.push(value(letter, at)?);
        }
    }
    Ok(symbols)
}

fn separates(letter: char) -> bool {
    matches!(letter, ' ' | '\t' | '\r' | '\n' | '-')
}

/// The value of one digit in group `at`, counted from 0.
fn value(letter: char, at: usize) -> Result<u8, LettersError> {
    let digit = match letter.to_ascii_uppercase() {
        'O' => '0',
        'I' | 'L' => '1',
        other => other,
    };
    (0..)
        .zip(DIGITS)
        .find_map(|(value, &known)| (char::from(known) == digit).then_some(value))
        .ok_or(LettersError::BadLetter {
            group: at + 1,
            letter,
        })
}

/// The digit that checks group `number`.
fn check(number: usize, group: &[u8; GROUP]) -> u8 {
    let number = u8::try_from(number).expect("at most 16 groups");
    // Horner: the last factor is the lowest power.
    let powers = [number, group[3], group[2], group[1], group[0]];
    powers
        .into_iter()
        .fold(0, |sum, symbol| times_a(sum ^ symbol))
}

/// `a x` in GF(2^5).
fn times_a(x: u8) -> u8 {
    let doubled = x << 1;
    if doubled & 0b10_0000 == 0 {
        doubled
    } else {
        doubled & 0b1_1111 ^ REDUCED
    }
}

/// The digits of the last group.
fn sum(symbols: &[u8]) -> [u8; GROUP] {
    let mut hasher = Sha256::new();
    hasher.update(SUM_LABEL);
    hasher.update(symbols);
    let hash: [u8; 32] = hasher.finalize().into();
    [hash[0] >> 3, hash[1] >> 3, hash[2] >> 3, hash[3] >> 3]
}

/// Puts bits into digits, the most significant first.
pub(super) struct BitWriter {
    symbols: Symbols,
    begun: u8,
    bits: u32,
}

impl BitWriter {
    pub(super) fn new() -> Self {
        Self {
            // Room for a share: it never moves, which would leave a copy.
            symbols: Zeroizing::new(Vec::with_capacity(64)),
            begun: 0,
            bits: 0,
        }
    }

    /// Appends the lowest `count` bits.
    pub(super) fn push(&mut self, bits: u8, count: u32) {
        for at in (0..count).rev() {
            self.begun = self.begun << 1 | bits >> at & 1;
            self.bits += 1;
            if self.bits == 5 {
                self.symbols.push(self.begun);
                (self.begun, self.bits) = (0, 0);
            }
        }
    }

    pub(super) fn push_bytes(&mut self, bytes: &[u8]) {
        for &byte in bytes {
            self.push(byte, 8);
        }
    }

    /// The digits; the bits fill them and whole groups.
    pub(super) fn finish(self) -> Symbols {
        debug_assert!(self.bits == 0 && self.symbols.len().is_multiple_of(GROUP));
        self.symbols
    }
}

/// Takes bits out of digits, the most significant first; zeros behind the end.
pub(super) struct BitReader {
    symbols: Symbols,
    at: usize,
}

impl BitReader {
    /// The next `count` bits, at most 8.
    pub(super) fn take(&mut self, count: u32) -> u8 {
        let mut bits = 0;
        for _ in 0..count {
            let symbol = self.symbols.get(self.at / 5).copied().unwrap_or(0);
            bits = bits << 1 | symbol >> (4 - self.at % 5) & 1;
            self.at += 1;
        }
        bits
    }

    pub(super) fn take_bytes(&mut self, out: &mut [u8]) {
        for byte in out {
            *byte = self.take(8);
        }
    }
}
