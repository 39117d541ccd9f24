//! From a passphrase to a key: Argon2id version 0x13 with 32 bytes of output,
//! within bounds; RFC 9106.

use argon2::{Algorithm, Argon2, Block, Params, Version};
use unicode_normalization::UnicodeNormalization;
use zeroize::{Zeroize, Zeroizing};

use super::secret::{Secret, wipe_stack};

/// Longest that NFC makes a text in UTF-8, times; Unicode Standard Annex #15.
const NFC_GROWTH: usize = 3;

/// What one derivation costs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct KdfCost {
    /// Memory, in KiB.
    pub memory_kib: u32,
    /// Passes over the memory.
    pub passes: u32,
    /// Lanes, which can be computed in parallel.
    pub lanes: u32,
}

/// The machine's part of the bounds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct KdfCaps {
    /// How much memory the machine has, in KiB.
    pub ram_kib: u64,
}

/// One of the three parts of a cost.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum CostPart {
    /// `memory_kib`
    MemoryKib,
    /// `passes`
    Passes,
    /// `lanes`
    Lanes,
}

impl std::fmt::Display for CostPart {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::MemoryKib => "KiB of memory",
            Self::Passes => "passes",
            Self::Lanes => "lanes",
        })
    }
}

/// Why a derivation was not done.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum KdfError {
    /// More than this machine, or any, should pay.
    #[error("Argon2id would cost {wanted} {part}; at most {cap} are allowed here")]
    AboveCap {
        /// Which part.
        part: CostPart,
        /// What was asked for.
        wanted: u64,
        /// What is allowed.
        cap: u64,
    },
    /// So little that the passphrase could be guessed.
    #[error("Argon2id with {wanted} {part} is too weak; the least is {floor}")]
    BelowFloor {
        /// Which part.
        part: CostPart,
        /// What was asked for.
        wanted: u64,
        /// The least.
        floor: u64,
    },
    /// The memory cannot be had.
    #[error("there is not enough memory for Argon2id ({memory_kib} KiB)")]
    OutOfMemory {
        /// What was asked for.
        memory_kib: u32,
    },
    /// The passphrase has 4 GiB or more.
    #[error("the passphrase is too long")]
    PassphraseTooLong,
}

impl KdfCost {
    /// What a key without a passphrase costs: all zero.
    pub const NONE: Self = Self {
        memory_kib: 0,
        passes: 0,
        lanes: 0,
    };
    /// Least memory: 64 MiB.
    pub const MIN_MEMORY_KIB: u32 = 64 * 1024;
    /// Most memory: 4 GiB.
    pub const MAX_MEMORY_KIB: u32 = 4 * 1024 * 1024;
    /// Fewest passes.
    pub const MIN_PASSES: u32 = 3;
    /// Most passes.
    pub const MAX_PASSES: u32 = 20;
    /// Fewest lanes.
    pub const MIN_LANES: u32 = 1;
    /// Most lanes.
    pub const MAX_LANES: u32 = 16;

    /// Refuses what is above the caps of the format.
    ///
    /// # Errors
    /// The first part that is.
    pub fn check_format_caps(&self) -> Result<(), KdfError> {
        at_most(
            CostPart::MemoryKib,
            self.memory_kib,
            u64::from(Self::MAX_MEMORY_KIB),
        )?;
        at_most(CostPart::Passes, self.passes, u64::from(Self::MAX_PASSES))?;
        at_most(CostPart::Lanes, self.lanes, u64::from(Self::MAX_LANES))
    }

    /// Refuses what is above the caps of the format or three quarters of the
    /// machine's memory.
    ///
    /// # Errors
    /// The first part that is.
    pub fn check_caps(&self, caps: &KdfCaps) -> Result<(), KdfError> {
        self.check_format_caps()?;
        at_most(CostPart::MemoryKib, self.memory_kib, caps.ram_kib / 4 * 3)
    }

    /// Refuses what is too weak for a passphrase.
    ///
    /// # Errors
    /// The first part that is.
    pub fn check_floor(&self) -> Result<(), KdfError> {
        at_least(CostPart::MemoryKib, self.memory_kib, Self::MIN_MEMORY_KIB)?;
        at_least(CostPart::Passes, self.passes, Self::MIN_PASSES)?;
        at_least(CostPart::Lanes, self.lanes, Self::MIN_LANES)
    }
}

fn at_most(part: CostPart, wanted: u32, cap: u64) -> Result<(), KdfError> {
    let wanted = u64::from(wanted);
    if wanted > cap {
        return Err(KdfError::AboveCap { part, wanted, cap });
    }
    Ok(())
}

fn at_least(part: CostPart, wanted: u32, floor: u32) -> Result<(), KdfError> {
    if wanted < floor {
        return Err(KdfError::BelowFloor {
            part,
            wanted: u64::from(wanted),
            floor: u64::from(floor),
        });
    }
    Ok(())
}

/// A passphrase, never empty. Wiped on drop.
pub struct Passphrase(Zeroizing<Vec<u8>>);

/// A passphrase without a single byte.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the passphrase is empty")]
pub struct EmptyPassphrase;

impl Passphrase {
    /// Takes over what was typed and wipes it. Text in UTF-8 is normalised to
    /// NFC, so that it is the same from every keyboard; other bytes stay.
    ///
    /// # Errors
    /// There are no bytes.
    pub fn from_bytes(typed: Vec<u8>) -> Result<Self, EmptyPassphrase> {
        let typed = Zeroizing::new(typed);
        if typed.is_empty() {
            return Err(EmptyPassphrase);
        }
        Ok(Self(match std::str::from_utf8(&typed) {
            Ok(text) => {
                // Roomy enough never to be moved, which would leave a copy.
                let mut normal = String::with_capacity(text.len().saturating_mul(NFC_GROWTH));
                normal.extend(text.nfc());
                Zeroizing::new(normal.into_bytes())
            }
            Err(_) => typed,
        }))
    }

    pub(in crate::codec) fn bytes(&self) -> &[u8] {
        &self.0
    }
}

/// `Argon2id(passphrase, salt, cost)`, 32 bytes, within the caps of the format.
///
/// # Errors
/// The cost is above the caps or cannot be paid.
pub(in crate::codec) fn argon2id(
    passphrase: &Passphrase,
    salt: &[u8],
    cost: &KdfCost,
) -> Result<Secret<32>, KdfError> {
    cost.check_format_caps()?;
    at_least(CostPart::Passes, cost.passes, 1)?;
    at_least(CostPart::Lanes, cost.lanes, KdfCost::MIN_LANES)?;
    at_least(
        CostPart::MemoryKib,
        cost.memory_kib,
        Params::MIN_M_COST * KdfCost::MAX_LANES,
    )?;
    let params = Params::new(cost.memory_kib, cost.passes, cost.lanes, Some(32))
        .expect("checked above: every part is within Argon2's own bounds");
    let mut memory = Memory::take(params.block_count()).ok_or(KdfError::OutOfMemory {
        memory_kib: cost.memory_kib,
    })?;
    let argon2 = Argon2::new(Algorithm::Argon2id, Version::V0x13, params);
    let derived = Secret::try_make(|out| {
        argon2.hash_password_into_with_memory(passphrase.bytes(), salt, out, &mut memory.0)
    });
    wipe_stack();
    // Everything else that Argon2 refuses was checked above.
    derived.map_err(|_| KdfError::PassphraseTooLong)
}

/// The memory of one derivation. Wiped before it is given back: the last
/// blocks are as good as the key.
struct Memory(Vec<Block>);

impl Memory {
    /// `None` where there is not that much.
    fn take(blocks: usize) -> Option<Self> {
        let mut memory = Vec::new();
        memory.try_reserve_exact(blocks).ok()?;
        memory.resize(blocks, Block::default());
        Some(Self(memory))
    }
}

impl Drop for Memory {
    fn drop(&mut self) {
        self.0.iter_mut().for_each(Zeroize::zeroize);
    }
}

/// Pays `cost` once and throws the result away, so that a caller with a clock
/// can find out how long it takes. The floor does not apply.
///
/// # Errors
/// The cost is above the caps or cannot be paid.
pub fn derive_once(cost: &KdfCost, caps: &KdfCaps) -> Result<(), KdfError> {
    cost.check_caps(caps)?;
    let passphrase = Passphrase(Zeroizing::new(b"rehearsal".to_vec()));
    argon2id(&passphrase, &[0; 32], cost).map(drop)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a failed test may panic")]
    use argon2::ParamsBuilder;

    use super::*;
    use crate::codec::testing::hex;

    const FLOOR: KdfCost = KdfCost {
        memory_kib: KdfCost::MIN_MEMORY_KIB,
        passes: KdfCost::MIN_PASSES,
        lanes: KdfCost::MIN_LANES,
    };
    const CAPS: KdfCaps = KdfCaps {
        ram_kib: 16 * 1024 * 1024,
    };

    fn passphrase(text: &str) -> Passphrase {
        Passphrase::from_bytes(text.as_bytes().to_vec()).unwrap()
    }

    /// RFC 9106, section 5.3. It has a secret and associated data, which the
    /// format leaves empty; all else is as we call it.
    #[test]
    fn the_published_vector_comes_out() {
        let mut params = ParamsBuilder::new();
        params.m_cost(32).t_cost(3).p_cost(4).output_len(32);
        params.data(argon2::AssociatedData::new(&[4; 12]).unwrap());
        let params = params.build().unwrap();
        let (id, version) = (Algorithm::Argon2id, Version::V0x13);
        let argon2 = Argon2::new_with_secret(&[3; 8], id, version, params).unwrap();
        let mut out = [0; 32];
        argon2
            .hash_password_into(&[1; 32], &[2; 16], &mut out)
            .unwrap();
        assert_eq!(
            out[..],
            hex("0d640df58d78766c08c037a34a8b53c9d01ef0452d75b65eb52520e96b01e659")
        );
    }

    /// From the test suite of the authors' own implementation, which has
    /// neither secret nor associated data.
    #[test]
    fn the_vector_of_the_authors_comes_out() {
        let cost = KdfCost { passes: 2, ..FLOOR };
        let key = argon2id(&passphrase("password"), b"somesalt", &cost).unwrap();
        assert_eq!(
            key.bytes()[..],
            hex("09316115d5cf24ed5a15a31a3ba326e5cf32edc24702987c02b6566f61913cf7")
        );
    }

    #[test]
    fn costs_are_bounded_on_both_sides() {
        assert_eq!(FLOOR.check_floor(), Ok(()));
        assert_eq!(FLOOR.check_caps(&CAPS), Ok(()));
        let top = KdfCost {
            memory_kib: KdfCost::MAX_MEMORY_KIB,
            passes: KdfCost::MAX_PASSES,
            lanes: KdfCost::MAX_LANES,
        };
        assert_eq!(top.check_caps(&CAPS), Ok(()));
        let memory = |memory_kib| KdfCost {
            memory_kib,
            ..FLOOR
        };
        let passes = |passes| KdfCost { passes, ..FLOOR };
        let lanes = |lanes| KdfCost { lanes, ..FLOOR };
        let huge = u32::MAX;
        for above in [
            memory(top.memory_kib + 1),
            memory(huge),
            passes(top.passes + 1),
            passes(huge),
            lanes(top.lanes + 1),
            lanes(huge),
        ] {
            let refused = above.check_caps(&CAPS);
            assert!(
                matches!(refused, Err(KdfError::AboveCap { .. })),
                "{above:?}"
            );
            let unpaid = argon2id(&passphrase("x"), &[0; 32], &above).err();
            assert_eq!(unpaid, refused.err());
            assert_eq!(derive_once(&above, &CAPS), refused);
        }
        for below in [memory(FLOOR.memory_kib - 1), passes(2), passes(0), lanes(0)] {
            let refused = below.check_floor();
            assert!(
                matches!(refused, Err(KdfError::BelowFloor { .. })),
                "{below:?}"
            );
        }
        for impossible in [memory(0), passes(0), lanes(0)] {
            assert!(argon2id(&passphrase("x"), &[0; 32], &impossible).is_err());
        }
    }

    #[test]
    fn a_quarter_of_the_memory_stays_free() {
        let caps = KdfCaps { ram_kib: 80 * 1024 };
        assert!(matches!(
            FLOOR.check_caps(&caps),
            Err(KdfError::AboveCap { part: CostPart::MemoryKib, cap, .. }) if cap == 60 * 1024
        ));
        let caps = KdfCaps { ram_kib: 96 * 1024 };
        assert_eq!(FLOOR.check_caps(&caps), Ok(()));
    }

    #[test]
    fn text_is_normalised_and_other_bytes_are_kept() {
        let composed = passphrase("caf\u{e9}");
        let decomposed = passphrase("cafe\u{301}");
        assert_eq!(composed.bytes(), decomposed.bytes());
        let raw = Passphrase::from_bytes(b"caf\xe9".to_vec()).unwrap();
        assert_eq!(raw.bytes(), b"caf\xe9");
        assert_eq!(
            Passphrase::from_bytes(Vec::new()).err(),
            Some(EmptyPassphrase)
        );
    }

    #[test]
    fn normalising_never_outgrows_its_room() {
        // U+0390 and U+1D160 are the characters that NFC makes longest.
        for worst in ["\u{1d160}", "\u{390}", "\u{fb2c}", "e\u{301}"] {
            let text = worst.repeat(50);
            let normal: String = text.nfc().collect();
            assert!(normal.len() <= text.len() * NFC_GROWTH);
            assert_eq!(passphrase(&text).bytes(), normal.as_bytes());
        }
    }
}
