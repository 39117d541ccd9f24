//! `keepfs info`

use std::fmt::Write;

use anyhow::Context;
use serde::Serialize;

use super::args::InfoArgs;
use super::size;
use super::slots::{self, InvalidReport, SlotReport};
use crate::mount::table::printable;
use crate::vault::{LockedVault, VaultInfo};

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

    fn shown(&self, table: &[String]) -> Result<String, std::fmt::Error> {
        let mut text = String::new();
        writeln!(text, "vault        {}", self.vault)?;
        writeln!(text, "format       {}", self.format)?;
        writeln!(text, "id           {}", self.vault_id)?;
        let chunk = u64::try_from(self.chunk_size).unwrap_or(u64::MAX);
        writeln!(text, "chunk size   {}", size::shown(chunk))?;
        writeln!(text, "fingerprint")?;
        writeln!(text, "{}", size::in_rows(&self.fingerprint))?;
        writeln!(text, "key slots    {}", self.slots.len())?;
        for line in table {
            writeln!(text, "    {line}")?;
        }
        for invalid in &self.invalid {
            writeln!(text, "    {}", invalid.line())?;
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
    super::print(&report.shown(&slots::table(locked.info().slots))?)
}
