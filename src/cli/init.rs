//! `keepfs init`

use std::io;
use std::path::Path;
use std::time::{Duration, Instant};

use anyhow::Context;
use serde::Serialize;

use super::args::InitArgs;
use super::size;
use super::unlock::{self, Ask};
use crate::codec::entry::VAULT_FILE;
use crate::codec::kdf::{KdfCaps, KdfCost, KdfError, Passphrase, derive_once};
use crate::codec::vault::Credential;
use crate::sys::process;
use crate::vault::{InitError, InitOptions, init};

/// What unlocking should take.
const TARGET: Duration = Duration::from_secs(1);
/// Memory that unlocking takes where the machine has four times as much.
const MEMORY_KIB: u32 = 256 * 1024;
/// Lanes: what a small machine can compute side by side.
const LANES: u32 = 4;

/// What `--json` prints. Fields are added, never changed.
#[derive(Serialize)]
struct Report {
    vault: String,
    fingerprint: String,
    chunk_size: usize,
    kdf_memory_kib: u32,
    kdf_passes: u32,
    kdf_lanes: u32,
}

/// `keepfs init`
///
/// # Errors
/// Whatever keeps the vault from coming to be; there is none then.
pub fn run(words: InitArgs) -> anyhow::Result<()> {
    let failed = || format!("cannot make a vault in {}", words.vault.display());
    check_target(&words.vault).with_context(failed)?;
    process::forbid_dumps()?;
    let caps = KdfCaps {
        ram_kib: process::total_ram_kib(),
    };
    let typed = unlock::passphrase(&words.passphrase, Ask::Twice)?;
    let passphrase = Passphrase::from_bytes(typed.into_bytes())?;
    let cost = cost(words.kdf_memory, words.kdf_passes, &caps)?;
    let fingerprint = init(
        &words.vault,
        &InitOptions {
            geometry: words.chunk_size,
            cost,
            label: words.label,
            credential: Credential::Passphrase(passphrase),
        },
    )
    .with_context(failed)?;
    if words.json {
        return super::print_json(&Report {
            vault: words.vault.display().to_string(),
            fingerprint: fingerprint.to_string(),
            chunk_size: words.chunk_size.chunk_size(),
            kdf_memory_kib: cost.memory_kib,
            kdf_passes: cost.passes,
            kdf_lanes: cost.lanes,
        });
    }
    super::print(&format!(
        "Made a vault in {vault}.\n\
         Unlocking takes {memory} and {passes} passes of Argon2id.\n\
         Its fingerprint, to compare on your other devices:\n\n{fingerprint}\n\n\
         Mount it with:  keepfs mount {vault} MOUNTPOINT\n\
         Without the passphrase nobody can open it; there is no other way in.\n",
        vault = words.vault.display(),
        memory = size::shown(u64::from(cost.memory_kib) * 1024),
        passes = cost.passes,
        fingerprint = size::in_rows(&fingerprint.to_string()),
    ))
}

/// Refuses a place that cannot become a vault before anybody types a
/// passphrase; [`init()`] has the last word.
fn check_target(path: &Path) -> Result<(), InitError> {
    let entries = match std::fs::read_dir(path) {
        Ok(entries) => entries,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
        Err(error) if error.kind() == io::ErrorKind::NotADirectory => {
            return Err(InitError::NotADirectory);
        }
        Err(error) => return Err(error.into()),
    };
    let mut strange = false;
    for entry in entries {
        let name = entry?.file_name();
        if name == VAULT_FILE {
            return Err(InitError::AlreadyAVault);
        }
        let name = name.to_string_lossy();
        // A killed attempt leaves names like these; they do no harm.
        strange |= !name.starts_with("keepfs") && !name.starts_with("~keepfs");
    }
    if strange {
        Err(InitError::NotEmpty)
    } else {
        Ok(())
    }
}

/// The cost of the new passphrase: what was asked for, else what fits this
/// machine.
fn cost(memory: Option<u32>, passes: Option<u32>, caps: &KdfCaps) -> Result<KdfCost, KdfError> {
    let mut cost = KdfCost {
        memory_kib: memory.unwrap_or_else(|| default_memory_kib(caps)),
        passes: passes.unwrap_or(KdfCost::MIN_PASSES),
        lanes: LANES,
    };
    cost.check_caps(caps)?;
    if passes.is_none() {
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
        let asked = cost(Some(70_000), Some(4), &caps);
        assert!(asked.is_ok_and(|cost| cost.memory_kib == 70_000 && cost.passes == 4));
        assert!(matches!(
            cost(Some(1 << 20), Some(3), &caps),
            Err(KdfError::AboveCap { .. })
        ));
    }
}
