//! `keepfs info`

use std::ffi::OsStr;
use std::fmt::Write;
use std::os::unix::ffi::OsStrExt;

use anyhow::Context;
use serde::Serialize;

use super::args::InfoArgs;
use super::size;
use crate::codec::vault::Slot;
use crate::mount::table::printable;
use crate::vault::{LockedVault, OddSlot, VaultInfo};

/// The format that this version reads.
const FORMAT: u16 = 1;

/// What `--json` prints. Fields are added, never changed.
#[derive(Serialize)]
struct Report {
    vault: String,
    format: u16,
    vault_id: String,
    chunk_size: usize,
    fingerprint: String,
    slots: Vec<SlotReport>,
    /// Entries of `keepfs.slots` that are no valid slot.
    invalid: Vec<InvalidReport>,
}

#[derive(Serialize)]
struct SlotReport {
    id: String,
    kind: String,
    label: String,
    /// What one attempt costs; null for kinds without a passphrase.
    kdf: Option<KdfReport>,
}

#[derive(Serialize)]
struct KdfReport {
    memory_kib: u32,
    passes: u32,
    lanes: u32,
}

#[derive(Serialize)]
struct InvalidReport {
    name: String,
    why: String,
}

impl SlotReport {
    fn new(slot: &Slot) -> Self {
        Self {
            id: slot.id().to_string(),
            kind: slot.kind().to_string(),
            label: printable(OsStr::new(slot.label())),
            kdf: slot.cost().map(|cost| KdfReport {
                memory_kib: cost.memory_kib,
                passes: cost.passes,
                lanes: cost.lanes,
            }),
        }
    }
}

impl InvalidReport {
    fn new(odd: &OddSlot) -> Self {
        Self {
            name: printable(OsStr::from_bytes(odd.name.bytes())),
            why: odd.why.to_string(),
        }
    }
}

impl Report {
    fn new(vault: String, info: &VaultInfo<'_>) -> Self {
        Self {
            vault,
            format: FORMAT,
            vault_id: info.description.vault_id().to_string(),
            chunk_size: info.description.geometry().chunk_size(),
            fingerprint: info.description.fingerprint().to_string(),
            slots: info.slots.iter().map(SlotReport::new).collect(),
            invalid: info.odd.iter().map(InvalidReport::new).collect(),
        }
    }

    fn shown(&self) -> Result<String, std::fmt::Error> {
        let mut text = String::new();
        writeln!(text, "vault        {}", self.vault)?;
        writeln!(text, "format       {}", self.format)?;
        writeln!(text, "id           {}", self.vault_id)?;
        let chunk = u64::try_from(self.chunk_size).unwrap_or(u64::MAX);
        writeln!(text, "chunk size   {}", size::shown(chunk))?;
        writeln!(text, "fingerprint")?;
        writeln!(text, "{}", size::in_rows(&self.fingerprint))?;
        writeln!(text, "key slots    {}", self.slots.len())?;
        for slot in &self.slots {
            write!(text, "    {}  {}", slot.id, slot.kind)?;
            if let Some(kdf) = &slot.kdf {
                let memory = size::shown(u64::from(kdf.memory_kib) * 1024);
                write!(text, "  Argon2id {memory}, {} passes", kdf.passes)?;
            }
            if !slot.label.is_empty() {
                write!(text, "  {}", slot.label)?;
            }
            writeln!(text)?;
        }
        for invalid in &self.invalid {
            writeln!(text, "    {}  NOT VALID: {}", invalid.name, invalid.why)?;
        }
        Ok(text)
    }
}

/// `keepfs info`
///
/// # Errors
/// No vault at that path, or one that cannot be read.
pub fn run(words: &InfoArgs) -> anyhow::Result<()> {
    let locked = LockedVault::open(&words.vault)
        .with_context(|| format!("cannot open the vault {}", words.vault.display()))?;
    let report = Report::new(printable(words.vault.as_os_str()), &locked.info());
    if words.json {
        return super::print_json(&report);
    }
    super::print(&report.shown()?)
}
