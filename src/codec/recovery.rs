//! Recovery codes, and the shares a code can be split into.
//!
//! | file | what it holds |
//! |---|---|
//! | this file | [`RecoveryCode`], [`Share`], and the bits they are written as |
//! | `letters` | those bits as groups of letters that catch typing errors |
//!
//! ```text
//! code    kind 0 (4 bits) || code (256)                                    52 letters
//! share   kind 1 (4) || threshold (8) || number (8) || set (16)
//!         || share of the code (256) || zero (8)                           60 letters
//! ```
//! Most significant bit first. FORMAT.md, recovery codes.

mod letters;

use blahaj::{Share as Point, Sharks};
use rand_core::{TryCryptoRng, TryRng, UnwrapErr};
use zeroize::{Zeroize, Zeroizing};

use super::random::{self, RandomError};
use super::secret::Secret;
use letters::BitWriter;
pub use letters::LettersError;

/// 256 random bits that open a slot of kind 4.
pub struct RecoveryCode(Secret<32>);

/// One of several parts of a recovery code. As many as its threshold make the
/// code; fewer tell nothing about it.
pub struct Share {
    threshold: u8,
    number: u8,
    set: u16,
    part: Secret<32>,
}

/// What somebody typed, as far as it goes.
pub enum Typed {
    /// A whole recovery code.
    Code(RecoveryCode),
    /// A whole share of one.
    Share(Share),
    /// The beginning of either.
    Incomplete {
        /// Groups to come; `None` before the first one, which tells which it is.
        missing: Option<usize>,
    },
}

/// How a code is split.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SplitPlan {
    threshold: u8,
    shares: u8,
}

/// Why a code cannot be split like that.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum SplitPlanError {
    /// One share alone would be the code.
    #[error("a threshold is at least 2: with 1, each share alone would open the vault")]
    ThresholdTooLow,
    /// There would never be enough.
    #[error("{shares} shares can never reach a threshold of {threshold}")]
    TooFewShares {
        /// Shares asked for.
        shares: u8,
        /// Threshold asked for.
        threshold: u8,
    },
}

/// Why shares make no code.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum CombineError {
    /// Fewer than the threshold.
    #[error("{given} of {threshold} shares are not enough")]
    TooFew {
        /// Different shares given.
        given: usize,
        /// Shares needed.
        threshold: u8,
    },
    /// They were not made together.
    #[error("this share is of another set than the first one")]
    OtherSet,
    /// One number with two contents.
    #[error("two different shares have the number {0}")]
    SameNumber(u8),
}

/// Why a text is neither a code nor a share.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum RecoveryTextError {
    /// It is typed wrongly, or cut, or too long.
    #[error(transparent)]
    Letters(#[from] LettersError),
    /// Well typed, but of a kind this version does not know.
    #[error("this code needs a newer keepfs (kind {0})")]
    UnknownKind(u8),
    /// Well typed, but no share has such fields.
    #[error("this is not a share that keepfs prints")]
    BadShare,
}

/// The kind in the first four bits.
const KIND_CODE: u8 = 0;
const KIND_SHARE: u8 = 1;
/// Letters that carry bits, without those that check them.
const CODE_LETTERS: usize = 52;
const SHARE_LETTERS: usize = 60;

impl RecoveryCode {
    /// A new code.
    ///
    /// # Errors
    /// No randomness.
    pub fn generate() -> Result<Self, RandomError> {
        Secret::try_make(|bytes| random::fill(bytes)).map(Self)
    }

    /// Takes over the 32 bytes of a recovery code and wipes them.
    #[must_use]
    pub fn from_bytes(mut code: [u8; 32]) -> Self {
        let secret = Secret::make(|bytes| bytes.copy_from_slice(&code));
        code.zeroize();
        Self(secret)
    }

    pub(in crate::codec) fn from_secret(secret: Secret<32>) -> Self {
        Self(secret)
    }

    pub(in crate::codec) fn secret(&self) -> &Secret<32> {
        &self.0
    }

    /// As it is shown once and typed later: 14 groups of five letters.
    #[must_use]
    pub fn to_text(&self) -> Zeroizing<String> {
        let mut bits = BitWriter::new();
        bits.push(KIND_CODE, 4);
        bits.push_bytes(self.0.bytes());
        letters::encode(&bits.finish())
    }

    /// Splits the code into shares, by Shamir's scheme over GF(2^8), each byte
    /// apart; `1, 2, ...` are their numbers.
    ///
    /// # Errors
    /// No randomness.
    pub fn split(&self, plan: SplitPlan) -> Result<Vec<Share>, RandomError> {
        let set = u16::from_be_bytes(random::array()?);
        let mut rng = Drawn::default();
        // The dealer draws all its coefficients before its first share.
        let dealer =
            Sharks(plan.threshold).dealer_rng(&self.0.bytes()[..], &mut UnwrapErr(&mut rng));
        let points: Vec<Point> = dealer.take(usize::from(plan.shares)).collect();
        if let Some(error) = rng.failed {
            return Err(error);
        }
        Ok(points
            .iter()
            .map(|point| {
                let mut bytes = Zeroizing::new(Vec::from(point));
                let (number, part) = bytes.split_first_mut().expect("a point has an x");
                Share {
                    threshold: plan.threshold,
                    number: *number,
                    set,
                    part: Secret::make(|bytes| bytes.copy_from_slice(part)),
                }
            })
            .collect())
    }
}

impl SplitPlan {
    /// `shares` parts, `threshold` of which make the code.
    ///
    /// # Errors
    /// See [`SplitPlanError`].
    pub fn new(threshold: u8, shares: u8) -> Result<Self, SplitPlanError> {
        if threshold < 2 {
            Err(SplitPlanError::ThresholdTooLow)
        } else if shares < threshold {
            Err(SplitPlanError::TooFewShares { shares, threshold })
        } else {
            Ok(Self { threshold, shares })
        }
    }

    /// How many shares make the code.
    #[must_use]
    pub fn threshold(self) -> u8 {
        self.threshold
    }

    /// How many shares there are.
    #[must_use]
    pub fn shares(self) -> u8 {
        self.shares
    }
}

impl Share {
    /// How many shares of its set make the code.
    #[must_use]
    pub fn threshold(&self) -> u8 {
        self.threshold
    }

    /// Its number, from 1.
    #[must_use]
    pub fn number(&self) -> u8 {
        self.number
    }

    /// As it is printed: 16 groups of five letters.
    #[must_use]
    pub fn to_text(&self) -> Zeroizing<String> {
        let mut bits = BitWriter::new();
        bits.push(KIND_SHARE, 4);
        bits.push_bytes(&[self.threshold, self.number]);
        bits.push_bytes(&self.set.to_be_bytes());
        bits.push_bytes(self.part.bytes());
        bits.push_bytes(&[0]);
        letters::encode(&bits.finish())
    }

    /// Puts the code together. The same share given twice counts once.
    ///
    /// # Errors
    /// [`CombineError`]. Whether it is the right code only a slot can tell.
    pub fn combine(shares: &[Self]) -> Result<RecoveryCode, CombineError> {
        let Some(first) = shares.first() else {
            return Err(CombineError::TooFew {
                given: 0,
                threshold: 2,
            });
        };
        let mut different: Vec<&Self> = Vec::new();
        for share in shares {
            if (share.set, share.threshold) != (first.set, first.threshold) {
                return Err(CombineError::OtherSet);
            }
            match different.iter().find(|other| other.number == share.number) {
                None => different.push(share),
                Some(same) if same.part.bytes() == share.part.bytes() => {}
                Some(_) => return Err(CombineError::SameNumber(share.number)),
            }
        }
        let threshold = usize::from(first.threshold);
        let too_few = CombineError::TooFew {
            given: different.len(),
            threshold: first.threshold,
        };
        let enough = different.get(..threshold).ok_or(too_few)?;
        let points: Vec<Point> = enough.iter().map(|share| share.point()).collect();
        let code = Sharks(first.threshold)
            .recover(&points)
            .map(Zeroizing::new)
            .expect("as many different points of one length as the threshold");
        Ok(RecoveryCode(Secret::make(|bytes| {
            bytes.copy_from_slice(&code);
        })))
    }

    fn point(&self) -> Point {
        let mut bytes = Zeroizing::new([self.number; 33]);
        bytes[1..].copy_from_slice(self.part.bytes());
        Point::try_from(&bytes[..]).expect("a number and a part are a point")
    }
}

impl Typed {
    /// Reads what was typed so far. Upper and lower case are the same, `O` is
    /// `0`, `I` and `L` are `1`; spaces and hyphens separate groups, and may be
    /// left out.
    ///
    /// # Errors
    /// [`RecoveryTextError`], as early as it shows.
    pub fn parse(text: &str) -> Result<Self, RecoveryTextError> {
        let typed = letters::read(text)?;
        let Some(kind) = typed.first_bits()? else {
            return Ok(Self::Incomplete { missing: None });
        };
        let len = match kind {
            KIND_CODE => CODE_LETTERS,
            KIND_SHARE => SHARE_LETTERS,
            unknown => return Err(RecoveryTextError::UnknownKind(unknown)),
        };
        let mut bits = match letters::decode(&typed, len)? {
            letters::Decoded::Whole(bits) => bits,
            letters::Decoded::Incomplete { missing } => {
                return Ok(Self::Incomplete {
                    missing: Some(missing),
                });
            }
        };
        bits.take(4);
        if kind == KIND_CODE {
            let secret = Secret::make(|bytes| bits.take_bytes(bytes));
            return Ok(Self::Code(RecoveryCode(secret)));
        }
        let (threshold, number) = (bits.take(8), bits.take(8));
        let mut set = [0; 2];
        bits.take_bytes(&mut set);
        let part = Secret::make(|bytes| bits.take_bytes(bytes));
        if threshold < 2 || number == 0 || bits.take(8) != 0 {
            return Err(RecoveryTextError::BadShare);
        }
        Ok(Self::Share(Share {
            threshold,
            number,
            set: u16::from_be_bytes(set),
            part,
        }))
    }
}

/// The one source of randomness, as the crate that splits codes wants it. A
/// failure is kept, since that crate has no word for it; zeros follow it, and
/// whoever drew must look.
#[derive(Default)]
struct Drawn {
    failed: Option<RandomError>,
}

impl TryRng for Drawn {
    type Error = std::convert::Infallible;

    fn try_next_u32(&mut self) -> Result<u32, Self::Error> {
        let mut bytes = Zeroizing::new([0; 4]);
        self.try_fill_bytes(&mut *bytes)?;
        Ok(u32::from_le_bytes(*bytes))
    }

    fn try_next_u64(&mut self) -> Result<u64, Self::Error> {
        let mut bytes = Zeroizing::new([0; 8]);
        self.try_fill_bytes(&mut *bytes)?;
        Ok(u64::from_le_bytes(*bytes))
    }

    fn try_fill_bytes(&mut self, out: &mut [u8]) -> Result<(), Self::Error> {
        if let Err(error) = random::fill(out) {
            self.failed = Some(error);
        }
        Ok(())
    }
}

impl TryCryptoRng for Drawn {}

#[cfg(test)]
mod tests;
