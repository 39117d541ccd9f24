//! What a new passphrase costs to try: what was asked for, else what fits this
//! machine.

use std::time::{Duration, Instant};

use super::args::CostArgs;
use super::progress::Waiting;
use crate::codec::kdf::{KdfCaps, KdfCost, KdfError, derive_once};
use crate::codec::vault::SlotKind;

/// What unlocking should take.
const TARGET: Duration = Duration::from_secs(1);
/// Memory that unlocking takes where the machine has four times as much.
const MEMORY_KIB: u32 = 256 * 1024;
/// Lanes: what a small machine can compute side by side.
const LANES: u32 = 4;

/// What a new key of this kind shall cost.
///
/// # Errors
/// As of [`cost`].
pub fn of_kind(kind: SlotKind, words: &CostArgs, caps: &KdfCaps) -> Result<KdfCost, KdfError> {
    if kind.takes_passphrase() {
        let _waiting = Waiting::begin("Finding out what this machine can pay");
        cost(words, caps)
    } else {
        Ok(KdfCost::NONE)
    }
}

/// The cost of a new passphrase. Takes about a second to find out, unless the
/// passes are given.
///
/// # Errors
/// What was asked for is more than this machine should pay.
pub fn cost(words: &CostArgs, caps: &KdfCaps) -> Result<KdfCost, KdfError> {
    let mut cost = KdfCost {
        memory_kib: words.kdf_memory.unwrap_or_else(|| default_memory_kib(caps)),
        passes: words.kdf_passes.unwrap_or(KdfCost::MIN_PASSES),
        lanes: LANES,
    };
    cost.check_caps(caps)?;
    if words.kdf_passes.is_none() {
        let start = Instant::now();
        derive_once(&cost, caps)?;
        cost.passes = passes_for(cost.passes, start.elapsed());
    }
    Ok(cost)
}

/// 256 MiB, or a quarter of the machine's memory if that is less, but never
/// below the floor of the format.
fn default_memory_kib(caps: &KdfCaps) -> u32 {
    let quarter = u32::try_from(caps.ram_kib / 4).unwrap_or(u32::MAX);
    MEMORY_KIB.min(quarter).max(KdfCost::MIN_MEMORY_KIB)
}

/// How many passes take [`TARGET`], where `tried` of them took `time`.
fn passes_for(tried: u32, time: Duration) -> u32 {
    let wanted = u128::from(tried) * TARGET.as_nanos() / time.as_nanos().max(1);
    u32::try_from(wanted)
        .unwrap_or(u32::MAX)
        .clamp(KdfCost::MIN_PASSES, KdfCost::MAX_PASSES)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn memory_follows_the_machine_down_to_the_floor() {
        let of = |ram_kib| default_memory_kib(&KdfCaps { ram_kib });
        assert_eq!(of(64 << 20), 256 * 1024);
        assert_eq!(of(1 << 20), 256 * 1024);
        assert_eq!(of(512 * 1024), 128 * 1024);
        assert_eq!(of(128 * 1024), 64 * 1024);
    }

    #[test]
    fn passes_are_those_that_take_a_second() {
        assert_eq!(passes_for(3, Duration::from_millis(500)), 6);
        assert_eq!(passes_for(3, Duration::from_secs(9)), 3);
        assert_eq!(passes_for(3, Duration::ZERO), 20);
    }

    #[test]
    fn what_is_asked_for_is_taken_without_a_trial() {
        let caps = KdfCaps { ram_kib: 1 << 20 };
        let words = |memory, passes| CostArgs {
            kdf_memory: Some(memory),
            kdf_passes: Some(passes),
        };
        let asked = cost(&words(70_000, 4), &caps);
        assert!(asked.is_ok_and(|cost| cost.memory_kib == 70_000 && cost.passes == 4));
        assert!(matches!(
            cost(&words(1 << 20, 3), &caps),
            Err(KdfError::AboveCap { .. })
        ));
    }
}
