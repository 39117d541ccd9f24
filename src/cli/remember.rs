//! What this machine remembers of a vault between runs: which slot opened it
//! last, so that it is tried first. No secret, and nothing breaks without it.
//!
//! `$XDG_STATE_HOME/keepfs/VAULT_ID/slot`, by default below `~/.local/state`:
//! 32 hexadecimal digits and the end of the line.

use std::env;
use std::ffi::OsString;
use std::fs;
use std::io::{self, Read, Write};
use std::path::PathBuf;

use super::slots::parse_id;
use crate::types::{SlotId, VaultId};

/// The slot that opened the vault last; `None` where nobody knows.
#[must_use]
pub fn last_slot(vault: VaultId) -> Option<SlotId> {
    let mut text = String::new();
    let file = fs::File::open(directory(vault)?.join("slot")).ok()?;
    file.take(64).read_to_string(&mut text).ok()?;
    parse_id(text.trim_end())
}

/// Remembers it. Where that is impossible the others are tried in turn.
pub fn store(vault: VaultId, slot: SlotId) {
    if last_slot(vault) == Some(slot) {
        return;
    }
    if let Some(directory) = directory(vault)
        && let Err(error) = write(&directory, slot)
    {
        tracing::debug!("the slot that opened the vault is not remembered: {error}");
    }
}

fn write(directory: &PathBuf, slot: SlotId) -> io::Result<()> {
    fs::create_dir_all(directory)?;
    let mut file = tempfile::NamedTempFile::new_in(directory)?;
    writeln!(file, "{slot}")?;
    file.persist(directory.join("slot"))?;
    Ok(())
}

fn directory(vault: VaultId) -> Option<PathBuf> {
    let absolute = |path: OsString| Some(PathBuf::from(path)).filter(|path| path.is_absolute());
    let state = env::var_os("XDG_STATE_HOME")
        .and_then(absolute)
        .or_else(|| Some(env::var_os("HOME").and_then(absolute)?.join(".local/state")))?;
    Some(state.join("keepfs").join(vault.to_string()))
}
