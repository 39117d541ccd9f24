//! Sizes and durations as people write them, sizes and fingerprints as people
//! read them.

use std::time::Duration;

use crate::codec::geometry::Geometry;
use crate::codec::kdf::KdfCost;
use crate::codec::vault::Slot;

/// A number of bytes: digits, then nothing, `B`, or `K`, `M`, `G` with an
/// optional `iB` or `B`; always powers of 1024, in any case.
///
/// # Errors
/// What is wrong with the text.
pub fn bytes(text: &str) -> Result<u64, String> {
    let digits = text.trim_end_matches(|letter: char| !letter.is_ascii_digit());
    let unit = text[digits.len()..].trim().to_ascii_lowercase();
    let factor: u64 = match unit.as_str() {
        "" | "b" => 1,
        "k" | "kb" | "kib" => 1 << 10,
        "m" | "mb" | "mib" => 1 << 20,
        "g" | "gb" | "gib" => 1 << 30,
        _ => return Err(format!("{unit} is no unit; use KiB, MiB or GiB")),
    };
    let number: u64 = digits
        .parse()
        .map_err(|_| "a size is a number and a unit, like 64KiB".to_owned())?;
    number
        .checked_mul(factor)
        .ok_or_else(|| "the size is too large".to_owned())
}

/// A chunk size: a power of two from 4 KiB to 1 MiB.
///
/// # Errors
/// What is wrong with the text.
pub fn chunk_size(text: &str) -> Result<Geometry, String> {
    let size = bytes(text)?;
    let log2 = u8::try_from(size.checked_ilog2().unwrap_or(0)).unwrap_or(0);
    match Geometry::from_log2(log2) {
        Ok(geometry) if size.is_power_of_two() => Ok(geometry),
        Ok(_) | Err(_) => Err("a chunk size is a power of two from 4KiB to 1MiB".to_owned()),
    }
}

/// Memory for Argon2id, in KiB, within the bounds of the format.
///
/// # Errors
/// What is wrong with the text.
pub fn kdf_memory(text: &str) -> Result<u32, String> {
    let kib = u32::try_from(bytes(text)? / 1024).unwrap_or(u32::MAX);
    if (KdfCost::MIN_MEMORY_KIB..=KdfCost::MAX_MEMORY_KIB).contains(&kib) {
        Ok(kib)
    } else {
        Err("the memory must be from 64MiB to 4GiB".to_owned())
    }
}

/// A slot's label: at most 64 bytes, no control characters.
///
/// # Errors
/// What is wrong with the text.
pub fn label(text: &str) -> Result<String, String> {
    if text.len() > Slot::MAX_LABEL_LEN {
        Err(format!("a label has at most {} bytes", Slot::MAX_LABEL_LEN))
    } else if text.chars().any(char::is_control) {
        Err("a label has no control characters".to_owned())
    } else {
        Ok(text.to_owned())
    }
}

/// The first digits of a slot's id, or all 32.
///
/// # Errors
/// What is wrong with the text.
pub fn slot_digits(text: &str) -> Result<String, String> {
    let digits = text.to_ascii_lowercase();
    if (1..=32).contains(&digits.len()) && digits.bytes().all(|b| b.is_ascii_hexdigit()) {
        Ok(digits)
    } else {
        Err("a key slot's id is up to 32 hexadecimal digits, see keepfs key list".to_owned())
    }
}

/// A number of seconds, with decimals if need be, up to a day.
///
/// # Errors
/// What is wrong with the text.
pub fn seconds(text: &str) -> Result<Duration, String> {
    let seconds = text.strip_suffix('s').unwrap_or(text);
    let number: f64 = seconds
        .parse()
        .map_err(|_| "a number of seconds is expected, like 1 or 0.5".to_owned())?;
    match Duration::try_from_secs_f64(number) {
        Ok(duration) if duration <= Duration::from_secs(24 * 60 * 60) => Ok(duration),
        Ok(_) | Err(_) => Err("the time must be from 0 to 86400 seconds".to_owned()),
    }
}

/// A number of bytes for a person to read: exact, in the largest unit that
/// divides it.
#[must_use]
pub fn shown(bytes: u64) -> String {
    for (shift, unit) in [(30, "GiB"), (20, "MiB"), (10, "KiB")] {
        if bytes >= 1 << shift && bytes.is_multiple_of(1 << shift) {
            return format!("{} {unit}", bytes >> shift);
        }
    }
    format!("{bytes} bytes")
}

/// The groups of a fingerprint, four a row, for eyes that compare.
#[must_use]
pub fn in_rows(fingerprint: &str) -> String {
    let groups: Vec<&str> = fingerprint.split_whitespace().collect();
    let rows = groups.chunks(4).map(|row| format!("    {}", row.join(" ")));
    rows.collect::<Vec<_>>().join("\n")
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests may fail loudly")]
    use super::*;

    #[test]
    fn sizes_are_read_in_every_common_spelling() {
        for text in ["4096", "4k", "4K", "4KiB", "4kb", "4 KiB", "4096B"] {
            assert_eq!(bytes(text), Ok(4096), "{text}");
        }
        assert_eq!(bytes("2G"), Ok(2 << 30));
        for text in ["", "k", "4x", "-1", "4.5k", "18446744073709551615k", "k4"] {
            assert!(bytes(text).is_err(), "{text}");
        }
    }

    #[test]
    fn chunk_sizes_are_powers_of_two_within_bounds() {
        assert_eq!(chunk_size("4KiB").unwrap(), Geometry::DEFAULT);
        assert_eq!(chunk_size("1MiB").unwrap().chunk_size(), 1 << 20);
        for text in ["0", "2KiB", "2MiB", "5000", "12KiB", "x"] {
            assert!(chunk_size(text).is_err(), "{text}");
        }
    }

    #[test]
    fn memory_for_argon2_has_bounds() {
        assert_eq!(kdf_memory("64MiB"), Ok(64 * 1024));
        assert_eq!(kdf_memory("4GiB"), Ok(4 * 1024 * 1024));
        assert!(kdf_memory("63MiB").is_err());
        assert!(kdf_memory("5GiB").is_err());
        assert!(kdf_memory("9999999999GiB").is_err());
    }

    #[test]
    fn seconds_may_have_decimals_and_end_in_s() {
        assert_eq!(seconds("1"), Ok(Duration::from_secs(1)));
        assert_eq!(seconds("0.5s"), Ok(Duration::from_millis(500)));
        assert_eq!(seconds("0"), Ok(Duration::ZERO));
        for text in ["", "-1", "NaN", "inf", "1e9", "1m"] {
            assert!(seconds(text).is_err(), "{text}");
        }
    }

    #[test]
    fn labels_are_short_and_printable() {
        assert_eq!(label("laptop").as_deref(), Ok("laptop"));
        assert!(label(&"x".repeat(65)).is_err());
        assert!(label("a\nb").is_err());
    }

    #[test]
    fn sizes_are_shown_exactly() {
        assert_eq!(shown(4096), "4 KiB");
        assert_eq!(shown(256 << 20), "256 MiB");
        assert_eq!(shown(4097), "4097 bytes");
    }

    #[test]
    fn a_fingerprint_is_shown_in_rows_of_four() {
        assert_eq!(in_rows("1 2 3 4 5 6 7 8"), "    1 2 3 4\n    5 6 7 8");
    }
}
