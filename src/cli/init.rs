//! `keepfs init`

use std::io;
use std::path::Path;

use anyhow::Context;
use serde::Serialize;

use super::args::InitArgs;
use super::{cost, key_file, new_key, size, unlock};
use crate::codec::entry::VAULT_FILE;
use crate::sys::process;
use crate::vault::{InitError, InitOptions, init};

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
    let key_file = words.keyfile.as_deref().map(key_file::read).transpose()?;
    let wants_passphrase =
        key_file.is_none() || words.ask_passphrase || words.passphrase.names_a_source();
    let passphrase = wants_passphrase
        .then(|| new_key::passphrase(&words.passphrase, &words.strength))
        .transpose()?;
    let credential = new_key::combine(passphrase, key_file).expect("one of the two is there");
    let kind = credential.kind();
    let cost = cost::of_kind(kind, &words.cost, &unlock::caps())?;
    let fingerprint = init(
        &words.vault,
        &InitOptions {
            geometry: words.chunk_size,
            cost,
            label: words.label,
            credential,
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
         {unlocking}\n\
         Its fingerprint, to compare on your other devices:\n\n{fingerprint}\n\n\
         Mount it with:  keepfs mount {vault} MOUNTPOINT\n\
         Without the {kind} nobody can open it; there is no other way in until\n\
         you add one:    keepfs key add --new-recovery {vault}\n",
        vault = words.vault.display(),
        unlocking = if kind.takes_passphrase() {
            let memory = size::shown(u64::from(cost.memory_kib) * 1024);
            let passes = cost.passes;
            format!("Unlocking takes {memory} and {passes} passes of Argon2id.")
        } else {
            "Unlocking takes the key file.".to_owned()
        },
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
