//! `keepfs status`

use std::fmt::Write;
use std::path::Path;
use std::time::Duration;

use serde::Serialize;

use super::args::StatusArgs;
use crate::mount::control::{self, ControlError, Status};
use crate::mount::statistics::Statistics;
use crate::mount::table::{self, MountEntry, printable};
use crate::mount::unmount;
use crate::sys::mount::is_dead;

/// What `--json` prints. Fields are added, never changed.
#[derive(Serialize)]
struct Report {
    mounts: Vec<Mount>,
}

#[derive(Serialize)]
struct Mount {
    mountpoint: String,
    /// What mountinfo shows as the source.
    source: String,
    read_only: bool,
    /// Whether a daemon answers; without one the fields below are null.
    alive: bool,
    vault: Option<String>,
    pid: Option<u32>,
    since: Option<String>,
    strict: Option<bool>,
    open_for_writing: Option<u64>,
    unsealed_met: Option<u64>,
    damaged_met: Option<u64>,
    undecryptable_names: Option<u64>,
    failed_seals: Option<u64>,
    version: Option<String>,
    /// Only with `--stats`.
    #[serde(skip_serializing_if = "Option::is_none")]
    statistics: Option<Statistics>,
    #[serde(skip)]
    trouble: Option<String>,
}

impl Mount {
    fn ask(entry: &MountEntry, words: &StatusArgs) -> Self {
        let (status, mut trouble) = match control::status(entry) {
            Ok(status) => (Some(status), None),
            Err(error) => (None, Some(error)),
        };
        let mut statistics = None;
        if words.stats && status.is_some() {
            match control::statistics(entry) {
                Ok(told) => statistics = Some(told),
                // A daemon of an older version.
                Err(error) => trouble = Some(error),
            }
        }
        let trouble = trouble.map(|error| match error {
            ControlError::Unreachable if is_dead(&entry.point) => {
                "dead: its process is gone; keepfs unmount cleans it up".to_owned()
            }
            ControlError::Unreachable
            | ControlError::Vanished
            | ControlError::Garbled
            | ControlError::Io(_) => error.to_string(),
        });
        let field = |get: fn(&Status) -> u64| status.as_ref().map(get);
        Self {
            mountpoint: printable(entry.point.as_os_str()),
            source: printable(&entry.source),
            read_only: entry.is_read_only(),
            alive: status.is_some(),
            pid: status.as_ref().map(|status| status.pid),
            since: status.as_ref().map(|status| utc(status.since)),
            strict: status.as_ref().map(|status| status.strict),
            open_for_writing: field(|status| status.open_for_writing),
            unsealed_met: field(|status| status.unsealed_met),
            damaged_met: field(|status| status.damaged_met),
            undecryptable_names: field(|status| status.undecryptable_names),
            failed_seals: field(|status| status.failed_seals),
            version: status.as_ref().map(|status| status.version.clone()),
            statistics,
            vault: status.map(|status| status.vault),
            trouble,
        }
    }

    fn shown(&self) -> String {
        let mut text = format!("{}\n", self.mountpoint);
        let mut line = |name: &str, value: &str| {
            writeln!(text, "  {name:<17} {value}").expect("a String takes everything");
        };
        line("vault", self.vault.as_ref().unwrap_or(&self.source));
        let access = if self.read_only {
            "read-only"
        } else {
            "read and write"
        };
        match self.strict {
            Some(true) => line("access", &format!("{access}, sealed files only")),
            Some(false) | None => line("access", access),
        }
        if let Some(trouble) = &self.trouble {
            line("state", trouble);
        }
        if let Some(since) = &self.since {
            line("since", since);
        }
        let numbers = [
            ("pid", self.pid.map(u64::from)),
            ("open for writing", self.open_for_writing),
            ("unsealed", self.unsealed_met),
            ("damaged", self.damaged_met),
            ("unreadable names", self.undecryptable_names),
            ("failed seals", self.failed_seals),
        ];
        for (name, value) in numbers {
            if let Some(value) = value {
                line(name, &value.to_string());
            }
        }
        if let Some(statistics) = &self.statistics {
            text.push('\n');
            text.push_str(&requests(statistics));
        }
        text
    }
}

/// A table of the requests, the most time-consuming first.
fn requests(statistics: &Statistics) -> String {
    let mut text = format!(
        "  {:<17}{:>12}{:>12}{:>10}{:>10}{:>10}{:>10}\n",
        "request", "count", "time", "mean", "half <", "99% <", "99.9% <"
    );
    let mut operations: Vec<_> = statistics.operations.iter().collect();
    operations.sort_by_key(|one| std::cmp::Reverse(one.total_ns));
    let shown = |time: Option<Duration>| time.map_or_else(|| "-".to_owned(), brief);
    for one in operations {
        writeln!(
            text,
            "  {:<17}{:>12}{:>12}{:>10}{:>10}{:>10}{:>10}",
            one.name,
            one.count,
            brief(Duration::from_nanos(one.total_ns)),
            shown(one.mean()),
            shown(one.below(500)),
            shown(one.below(990)),
            shown(one.below(999)),
        )
        .expect("a String takes everything");
    }
    writeln!(
        text,
        "  {} lookups found nothing, {} requests were refused",
        statistics.negative_lookups, statistics.refused
    )
    .expect("a String takes everything");
    text
}

/// A time in three digits.
fn brief(time: Duration) -> String {
    let ns = time.as_nanos();
    let (value, unit) = match ns {
        0..1_000 => return format!("{ns} ns"),
        1_000..1_000_000 => (ns / 10, "us"),
        1_000_000..1_000_000_000 => (ns / 10_000, "ms"),
        1_000_000_000.. => (ns / 10_000_000, "s"),
    };
    // Hundredths of the unit.
    match value {
        0..1_000 => format!("{}.{:02} {unit}", value / 100, value % 100),
        1_000..10_000 => format!("{}.{} {unit}", value / 100, value % 100 / 10),
        10_000.. => format!("{} {unit}", value / 100),
    }
}

/// `keepfs status`
///
/// # Errors
/// No keepfs mount at the path that was given; those of reading the mount
/// table.
pub fn run(words: &StatusArgs) -> anyhow::Result<()> {
    let mounts: Vec<Mount> = find(words.mountpoint.as_deref())?
        .iter()
        .map(|entry| Mount::ask(entry, words))
        .collect();
    if words.json {
        return super::print_json(&Report { mounts });
    }
    if mounts.is_empty() {
        return super::print("nothing is mounted\n");
    }
    let shown: Vec<String> = mounts.iter().map(Mount::shown).collect();
    super::print(&shown.join("\n"))
}

fn find(point: Option<&Path>) -> anyhow::Result<Vec<MountEntry>> {
    if let Some(point) = point {
        return Ok(vec![unmount::find(point)?]);
    }
    let mut mounts = table::read()?;
    mounts.retain(MountEntry::is_keepfs);
    Ok(mounts)
}

/// Seconds since 1970 as `2026-11-23T22:48:24Z`; RFC 3339. The calendar is
/// the proleptic Gregorian one, counted in eras of 400 years from a March.
pub(super) fn utc(seconds: u64) -> String {
    const DAY: u64 = 24 * 60 * 60;
    const ERA_DAYS: u64 = 146_097;
    let (days, time) = (seconds / DAY, seconds % DAY);
    // Days since 0000-03-01.
    let days = days + 719_468;
    let (era, day) = (days / ERA_DAYS, days % ERA_DAYS);
    let year = (day - day / 1_460 + day / 36_524 - day / 146_096) / 365;
    let day = day - (365 * year + year / 4 - year / 100);
    // Months from March have 153 days in every five.
    let month = (5 * day + 2) / 153;
    let day = day - (153 * month + 2) / 5 + 1;
    let (month, carry) = if month < 10 {
        (month + 3, 0)
    } else {
        (month - 9, 1)
    };
    let year = era * 400 + year + carry;
    let (hour, minute, second) = (time / 3600, time / 60 % 60, time % 60);
    format!("{year:04}-{month:02}-{day:02}T{hour:02}:{minute:02}:{second:02}Z")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_are_shown_in_three_digits() {
        for (ns, text) in [
            (0, "0 ns"),
            (999, "999 ns"),
            (1_000, "1.00 us"),
            (12_345, "12.3 us"),
            (999_999, "999 us"),
            (1_048_576, "1.04 ms"),
            (61_000_000_000, "61.0 s"),
            (3_600_000_000_000, "3600 s"),
        ] {
            assert_eq!(brief(Duration::from_nanos(ns)), text);
        }
    }

    #[test]
    fn times_are_shown_in_utc() {
        assert_eq!(utc(0), "1970-01-01T00:00:00Z");
        assert_eq!(utc(951_782_399), "2000-02-28T23:59:59Z");
        assert_eq!(utc(951_782_400), "2000-02-29T00:00:00Z");
        assert_eq!(utc(951_868_800), "2000-03-01T00:00:00Z");
        assert_eq!(utc(1_735_689_599), "2024-12-31T23:59:59Z");
        assert_eq!(utc(4_107_542_400), "2100-03-01T00:00:00Z");
    }
}
