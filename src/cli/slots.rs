//! Key slots as people and scripts see them.

use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt;

use serde::Serialize;

use super::{size, status};
use crate::codec::entry::slot_of_file;
use crate::codec::vault::Slot;
use crate::mount::table::printable;
use crate::name::RawName;
use crate::types::SlotId;
use crate::vault::{OddSlot, OddSlotReason, StoredSlot};

/// Why no slot was picked.
#[derive(Debug, thiserror::Error)]
pub enum PickError {
    /// None begins like that.
    #[error("the vault has no key slot {0}; keepfs key list shows those it has")]
    Unknown(String),
    /// Several begin like that.
    #[error("{0} is the beginning of several key slots' ids; give more digits")]
    Ambiguous(String),
}

/// The slot whose id begins with `digits`.
///
/// # Errors
/// [`PickError`].
pub fn pick(digits: &str, slots: &[StoredSlot]) -> Result<SlotId, PickError> {
    let mut fitting = slots
        .iter()
        .map(|stored| stored.slot.id())
        .filter(|id| id.to_string().starts_with(digits));
    match (fitting.next(), fitting.next()) {
        (Some(id), None) => Ok(id),
        (None, _) => Err(PickError::Unknown(digits.to_owned())),
        (Some(_), Some(_)) => Err(PickError::Ambiguous(digits.to_owned())),
    }
}

/// An id from its 32 digits.
#[must_use]
pub fn parse_id(digits: &str) -> Option<SlotId> {
    slot_of_file(&RawName::new(format!("{digits}.slot").as_bytes()))
}

/// A slot, for `--json`. Fields are added, never changed.
#[derive(Serialize)]
pub struct SlotReport {
    id: String,
    kind: String,
    label: String,
    /// What one attempt costs; null for kinds without a passphrase.
    kdf: Option<KdfReport>,
    /// When the backing says that the file was written.
    modified: String,
}

#[derive(Serialize)]
struct KdfReport {
    memory_kib: u32,
    passes: u32,
    lanes: u32,
}

/// An entry of `keepfs.slots` that is no valid slot, for `--json`.
#[derive(Serialize)]
pub struct InvalidReport {
    name: String,
    why: String,
}

impl SlotReport {
    /// Describes a slot.
    #[must_use]
    pub fn new(stored: &StoredSlot) -> Self {
        let slot = &stored.slot;
        Self {
            id: slot.id().to_string(),
            kind: slot.kind().to_string(),
            label: label(slot),
            kdf: slot.cost().map(|cost| KdfReport {
                memory_kib: cost.memory_kib,
                passes: cost.passes,
                lanes: cost.lanes,
            }),
            modified: status::utc(u64::try_from(stored.modified.secs).unwrap_or(0)),
        }
    }
}

impl InvalidReport {
    /// Describes an odd entry.
    #[must_use]
    pub fn new(odd: &OddSlot) -> Self {
        Self {
            name: name(odd),
            why: odd.why.to_string(),
        }
    }

    /// A line about it.
    #[must_use]
    pub fn line(&self) -> String {
        format!("{}  NOT VALID: {}", self.name, self.why)
    }
}

/// The slot that a conflict copy is a copy of.
#[must_use]
pub fn copied_id(odd: &OddSlot) -> Option<SlotId> {
    if let OddSlotReason::ConflictCopy { of, .. } = odd.why {
        Some(of)
    } else {
        None
    }
}

/// The name of an odd entry, fit for a terminal.
#[must_use]
pub fn name(odd: &OddSlot) -> String {
    printable(OsStr::from_bytes(odd.name.bytes()))
}

fn label(slot: &Slot) -> String {
    printable(OsStr::new(slot.label()))
}

/// Slots as lines of a table, each column as wide as it must be.
#[must_use]
pub fn table(slots: &[StoredSlot]) -> Vec<String> {
    let rows: Vec<[String; 5]> = slots
        .iter()
        .map(|stored| {
            let slot = &stored.slot;
            let cost = slot.cost().map_or_else(String::new, |cost| {
                let memory = size::shown(u64::from(cost.memory_kib) * 1024);
                format!("Argon2id {memory}, {} passes", cost.passes)
            });
            let seconds = u64::try_from(stored.modified.secs).unwrap_or(0);
            let written = status::utc(seconds);
            let date = written.split('T').next().unwrap_or_default().to_owned();
            [
                slot.id().to_string(),
                slot.kind().to_string(),
                date,
                cost,
                label(slot),
            ]
        })
        .collect();
    let width = |column: usize| rows.iter().map(|row| row[column].chars().count()).max();
    let widths: Vec<usize> = (0..5).map(|column| width(column).unwrap_or(0)).collect();
    rows.iter()
        .map(|row| {
            let cells = row.iter().zip(&widths);
            let line: Vec<String> = cells
                .map(|(cell, &width)| format!("{cell:width$}"))
                .collect();
            line.join("  ").trim_end().to_owned()
        })
        .collect()
}
